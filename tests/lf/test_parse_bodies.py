"""The Lingua Franca parser: where bodies end, how they are indented, where everything stands."""

import pickle

import pytest
from lf_trees import body, code, reactor, value

from reactornb.lf.parse import parse


@pytest.mark.parametrize(
    ("written", "text", "line", "column"),
    [
        ("{= a =}", "a", 1, 4),
        ("{=a=}", "a", 1, 3),
        ("{==}", "", 1, 3),
        ("{=\n\n  =}", "", 1, 3),
        ("{=\n  a\n  b\n=}", "a\nb", 2, 3),
        ("{=\n\n    if a:\n\n      b\n    c  \n  =}", "if a:\n\n  b\nc", 3, 5),
        ("{= # why\n  a\n=}", "a", 2, 3),
        ("{= if a:\n     b =}", "if a:\n     b", 1, 4),
        ("{=\n    a\n  b\n=}", "  a\nb", 2, 3),
        ("{=\n\ta\n\t\tb\n=}", "a\n\tb", 2, 2),
    ],
)
def test_a_body_loses_the_indentation_its_lines_share(written, text, line, column):
    found = parse(f"preamble\n{written} reactor R {{}}", file="f.lf").preambles[0].code
    assert (found.text, found.line - 1, found.column) == (text, line, column)


@pytest.mark.parametrize(
    "text",
    [
        "print('=}')",
        'print("=}")',
        'f"{n=}"',
        "f'{n=}'",
        "'''\n=}\n'''",
        '"""=} \\""" =}"""',
        "x = 1  # =} isn't the end\ny = 2",
        "{'a': {'b': 1}}",
        "a = b // c",
        "s = '{='",
        "x == {}",
        r"'\'=}'",
    ],
)
def test_a_body_ends_where_python_says(text):
    (found,) = body(f"reaction(t) {{=\n{text}\n=}}")
    assert found.code.text == text


def test_a_body_of_one_line_may_divide():
    assert value("{= n // 2 =}") == code("n // 2")


# ---------------------------------------------------------------- places


def test_everything_knows_its_line_and_column():
    found = reactor("  reactor R(\n    p = 1) {\n\n  @a\n  input x: int\n  reaction(x, y.z) {=\n\n    a\n  =}\n  }")
    port, reaction = found.body
    places = [
        (n.line, n.column) for n in (found, *found.params, port, port.type, reaction, *reaction.triggers, reaction.code)
    ]
    assert places == [(1, 3), (2, 5), (5, 3), (5, 12), (6, 3), (6, 12), (6, 15), (8, 5)]


def test_trees_compare_without_their_places():
    assert parse("main reactor { timer t }", file="f.lf") == parse("main\n reactor {\n timer t; }", file="f.lf")


def test_trees_hold_plain_strings_and_pickle():
    tree = parse("target Python main reactor(a = 1) at h { a = new A(b = a) a.x -> c serializer 'd' }", file="f.lf")
    assert type(tree.reactors[0].host) is str
    assert pickle.loads(pickle.dumps(tree)) == tree
