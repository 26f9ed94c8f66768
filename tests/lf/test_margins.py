"""What stands left of a body's margin: comments, strings and continuations may, statements may not."""

import pytest
from lf_running import run

from reactornb.errors import LFSyntaxError
from reactornb.lf import loads

BODIES = {
    "a comment": """
        a = 1
  # left of all
        see(a)
""",
    "a comment first": """
  # left of all
        a = 1
        see(a)
""",
    "a string": '''
        a = """x
1
"""
        see(len(a) - 3)
''',
    "an f-string with a bracket": '''
        b = 0
        a = f"""{
b
}1
"""
        see(int(a))
''',
    "the rest of a call": """
        a = int(
    "1"
)
        see(a)
""",
    "the rest of a list in a block": """
        if True:
            a = [
  # one
  1]
            see(a[0])
""",
    "after a backslash": """
        a = 0 + \\
  1
        see(a)
""",
    "quotes in a comment": """
        a = 1  # don't (
  # nor \"\"\"
        see(a)
""",
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("where", ["reaction(startup)", "method"])
def test_what_is_no_statement_may_stand_left_of_the_margin(kind, where):
    body = BODIES[kind]
    if where == "method":
        text = f"main reactor {{ method go() {{={body}=}} reaction(startup) {{= self.go() =}} }}"
    else:
        text = f"main reactor {{ reaction(startup) {{={body}=}} }}"
    assert run(f"target Python\n{text}").seen == [1]


def test_a_string_keeps_what_is_right_of_the_margin():
    happened = run('target Python\nmain reactor { reaction(startup) {=\n    see("""\n      a\n  b\n""")\n=} }')
    assert happened.seen == ["\n  a\nb\n"]


def test_a_preamble_may_have_a_string_left_of_its_margin():
    text = 'target Python\npreamble {=\n    TEXT = """\nx"""\n    def one():\n        return len(TEXT) - 1\n=}\n'
    assert run(text + "main reactor { reaction(startup) {= see(one()) =} }").seen == [1]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("\n    a = 1\n  b = 2\n", 4),
        ('\n    a = """\n"""\n    c = 3\n  b = 2\n', 6),
        ("\n    if True:\n        a = (1,\n2)\n  # so\n   b = 2\n", 7),
    ],
)
def test_a_statement_left_of_the_first_one_is_named(body, line):
    with pytest.raises(LFSyntaxError, match=rf"f.lf:{line}:.*left of the first one"):
        loads("target Python\nmain reactor { reaction(startup) {=" + body + "=} }", file="f.lf")


@pytest.mark.parametrize("body", ["\n    a = ')\n  b = (\n", "\n   )\n  a\n", '\n    """\n  x\n', "\n  \x00\n a\n"])
def test_what_is_no_python_is_an_error_of_lingua_franca(body):
    with pytest.raises(LFSyntaxError):
        loads("target Python\nmain reactor { reaction(startup) {=" + body + "=} }", file="f.lf")
