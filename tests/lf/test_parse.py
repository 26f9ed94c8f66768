"""The Lingua Franca parser: every construct, the places of things, the errors."""

import os
import pickle
import subprocess
import sys
import traceback

import pytest
from fuzz_parse import check, check_round_trip, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lf_programs import AT, LAYOUTS, programs

import reactornb.lf.parse
from reactornb.errors import LFSyntaxError, ReactorError
from reactornb.lf import syntax as ast
from reactornb.lf.parse import parse, parse_file
from reactornb.tags import forever, never


def lit(value):
    return ast.Literal(value, **AT)


def ns(value):
    return ast.Time(value, **AT)


def par(name):
    return ast.ParamRef(name, **AT)


def code(text):
    return ast.Code(text, **AT)


def ref(name, **more):
    *container, variable = name.split(".")
    return ast.VarRef(variable, container[0] if container else None, **more, **AT)


def type_(text):
    return ast.Type(text, **AT)


def seq(bracket, *items):
    return ast.ListExpr(items, bracket, **AT)


def width(*terms):
    return ast.Width(terms, **AT)


def on(kind):
    return ast.Builtin(kind, **AT)


def reactor(text):
    """The one reactor of a program."""
    (only,) = parse(text, file="f.lf").reactors
    return only


def body(text):
    """What a reactor with this body holds."""
    return reactor(f"main reactor {{\n{text}\n}}").body


def value(text):
    """The expression written so."""
    (state,) = body(f"state x = {text}")
    return state.init


def error(text):
    """The error of a text that is no program."""
    with pytest.raises(LFSyntaxError) as caught:
        parse(text, file="f.lf")
    return caught.value


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("fast: true", True),
        ("fast: False", False),
        ("timeout: 3 secs", ns(3 * 10**9)),
        ("timeout: forever", ns(forever)),
        ("workers: 4", 4),
        ("scale: -0.5", -0.5),
        ('cmake: "a b"', "a b"),
        ("coordination: de-central", "de-central"),
        ("files: ../include/a.py", "../include/a.py"),
        ("name: true-ish", "true-ish"),
        ("state: timer", "timer"),
        ('"quoted-key": 1', 1),
    ],
)
def test_a_target_property_is_a_number_time_string_truth_value_or_word(written, expected):
    target = parse(f"target Python {{ {written} }} main reactor {{}}", file="f.lf").target
    assert target.name == "Python"
    assert target.properties[0].value == (expected if isinstance(expected, ast.Time) else lit(expected))


def test_target_properties_nest_and_may_end_in_a_comma():
    target = parse(
        """target Python {
            docker: { from: "x", rti: { image: a/b } },
            files: ["a.py", lib/b.py,], # both
            nothing: {}, none: [],
        };
        main reactor {}""",
        file="f.lf",
    ).target
    docker, files, nothing, none = target.properties
    rti = ast.Property("rti", ast.PropertyMap((ast.Property("image", lit("a/b"), **AT),), **AT), **AT)
    assert docker.value == ast.PropertyMap((ast.Property("from", lit("x"), **AT), rti), **AT)
    assert files.value == ast.PropertyList((lit("a.py"), lit("lib/b.py")), **AT)
    assert nothing.value == ast.PropertyMap((), **AT)
    assert none.value == ast.PropertyList((), **AT)


def test_a_program_needs_no_target():
    assert parse("main reactor {}", file="f.lf").target is None


def test_imports_name_reactors_of_files_and_packages():
    first, second = parse(
        'import A, B as C from "lib/a.lf"\nimport D from <robots-2.0/src/D.lf>;\nmain reactor {}', file="f.lf"
    ).imports
    names = (ast.ImportedName("A", "A", **AT), ast.ImportedName("B", "C", **AT))
    assert first == ast.Import(names, "lib/a.lf", **AT)
    assert second == ast.Import((ast.ImportedName("D", "D", **AT),), "robots-2.0/src/D.lf", package=True, **AT)


def test_preambles_stand_in_files_and_in_reactors():
    program = parse("preamble {= a =} private preamble {= b =} reactor R { public preamble {= c =} }", file="f.lf")
    found = [(p.visibility, p.code.text) for p in (*program.preambles, *program.reactors[0].body)]
    assert found == [(None, "a"), ("private", "b"), ("public", "c")]


# ---------------------------------------------------------------- reactors


@pytest.mark.parametrize(
    ("written", "kind", "realtime", "name"),
    [
        ("main reactor", "main", False, None),
        ("main reactor M", "main", False, "M"),
        ("federated reactor", "federated", False, None),
        ("realtime main reactor", "main", True, None),
        ("main realtime reactor R", "main", True, "R"),
        ("reactor R", None, False, "R"),
    ],
)
def test_a_reactor_may_be_main_federated_realtime(written, kind, realtime, name):
    found = reactor(written + " {}")
    assert (found.kind, found.realtime, found.name) == (kind, realtime, name)


def test_the_head_of_a_reactor_has_types_parameters_a_host_and_superclasses():
    found = reactor("reactor R<T, {= U =}, V extends W>(a = 1) at me@some-host.org:8080 extends A, B {}")
    assert [t.text for t in found.type_params] == ["T", "U", "V extends W"]
    assert found.params == (ast.Parameter("a", None, lit(1), **AT),)
    assert found.host == "me@some-host.org:8080"
    assert [name.text for name in found.extends] == ["A", "B"]


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "10.0.0.1:80", "[fe80::1%2]:80", "user@raspberry-pi.local"])
def test_hosts_are_kept_as_written(host):
    assert reactor(f"federated reactor at {host} {{}}").host == host
    (instance,) = body(f"a = new A() at {host};")
    assert instance.host == host


@pytest.mark.parametrize(
    ("written", "kind", "init"),
    [
        ("a", None, None),
        ("a = 1", None, lit(1)),
        ("a: int", "int", None),
        ("a: int = 3", "int", lit(3)),
        ("a(5)", None, seq("(", lit(5))),
        ("a: time(10 ms)", "time", seq("(", ns(10**7))),
        ("a: {= list[int] =} = [1, 2,]", "list[int]", seq("[", lit(1), lit(2))),
        ("a{1, 2}", None, seq("{", lit(1), lit(2))),
        ("a = {= [3] =}", None, code("[3]")),
        ("a: string = 'x'", "string", lit("x")),
    ],
)
def test_parameters_and_states_share_their_forms(written, kind, init):
    expected = type_(kind) if kind else None
    assert reactor(f"reactor R({written}) {{}}").params == (ast.Parameter("a", expected, init, **AT),)
    assert body(f"state {written}") == (ast.State("a", expected, init, **AT),)


def test_a_state_may_be_reset_with_its_mode():
    assert body("reset state a = 1;") == (ast.State("a", None, lit(1), reset=True, **AT),)


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0", lit(0)),
        ("-12", lit(-12)),
        ("1.5", lit(1.5)),
        ("-.5", lit(-0.5)),
        ("3.14e-10", lit(3.14e-10)),
        ("true", lit(True)),
        ("False", lit(False)),
        ('"a // b"', lit("a // b")),
        ("'c'", lit("c")),
        ("'several'", lit("several")),
        ('"""two\nlines"""', lit("two\nlines")),
        (r'"\n\t\x41\u00fc\101\"\N{DIGIT ONE}\q"', lit('\n\tAüA"1\\q')),
        ("forever", ns(forever)),
        ("never", ns(never)),
        ("p", par("p")),
        ("{= f(1) =}", code("f(1)")),
        ("[]", seq("[")),
        ("(1, 2)", seq("(", lit(1), lit(2))),
        ("{p, [1 ms], {= x =}}", seq("{", par("p"), seq("[", ns(10**6)), code("x"))),
    ],
)
def test_expressions(written, expected):
    found = value(written)
    assert found == expected
    assert not isinstance(found, ast.Literal) or type(found.value) is type(expected.value)


@pytest.mark.parametrize(
    ("units", "length_ns"),
    [
        ("ns nsec nsecs", 1),
        ("us usec usecs", 10**3),
        ("ms msec msecs", 10**6),
        ("s sec secs second seconds", 10**9),
        ("min mins minute minutes", 60 * 10**9),
        ("h hour hours", 3600 * 10**9),
        ("d day days", 86400 * 10**9),
        ("wk week weeks", 7 * 86400 * 10**9),
    ],
)
def test_every_spelling_of_a_unit(units, length_ns):
    assert [value(f"7 {unit}") for unit in units.split()] == [ns(7 * length_ns)] * len(units.split())


@pytest.mark.parametrize("between", ["", " ", "\n\n", " // why\n", " /* why */ ", "\t# why\n"])
def test_layout_may_stand_between_number_and_unit(between):
    assert value(f"7{between}ms") == ns(7 * 10**6)


@pytest.mark.parametrize("next_line", ["s = new S()", "s.out -> t.in", "s -> t"])
def test_a_name_on_the_next_line_is_no_unit(next_line):
    state, _ = body(f"state a = 1\n{next_line}")
    assert state.init == lit(1)


# ---------------------------------------------------------------- what reactors hold


def test_ports():
    assert body("input a; output b: int mutable input[2] c\ninput[n + {= m =} + widthof(x.y)] d: int* output[] e") == (
        ast.Input("a", **AT),
        ast.Output("b", type_("int"), **AT),
        ast.Input("c", None, width(lit(2)), mutable=True, **AT),
        ast.Input("d", type_("int*"), width(par("n"), code("m"), ast.WidthOf(ref("x.y"), **AT)), **AT),
        ast.Output("e", None, width(), **AT),
    )


@pytest.mark.parametrize("text", ["int", "a.b::C", "vector<int, map<a, b>>", "int**", "int[]", "int[10]", "T<x>*[3]"])
def test_types_are_kept_as_written(text):
    (found,) = body(f"input a: {text}")
    assert found.type == type_(text)


@pytest.mark.parametrize(
    ("written", "timing"),
    [("t", (None, None)), ("t(1 ms)", (ns(10**6), None)), ("t(0, p)", (lit(0), par("p")))],
)
def test_timers(written, timing):
    assert body(f"timer {written}") == (ast.Timer("t", *timing, **AT),)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("action a", ast.Action("a", **AT)),
        ("logical action a: int", ast.Action("a", "logical", type=type_("int"), **AT)),
        ("physical action a(1 ms)", ast.Action("a", "physical", ns(10**6), **AT)),
        ("logical action a(0, p)", ast.Action("a", "logical", lit(0), par("p"), **AT)),
        (
            'physical action a(0, 1 s, "drop"): T',
            ast.Action("a", "physical", lit(0), ns(10**9), "drop", type_("T"), **AT),
        ),
    ],
)
def test_actions(written, expected):
    assert body(written) == (expected,)


def test_methods():
    assert body("method f() {= pass =} const method g(a, b: int): float {= return a =}") == (
        ast.Method("f", (), code("pass"), **AT),
        ast.Method(
            "g",
            (ast.Parameter("a", **AT), ast.Parameter("b", type_("int"), **AT)),
            code("return a"),
            type_("float"),
            const=True,
            **AT,
        ),
    )


def test_watchdogs():
    assert body("watchdog w(10 ms) -> a, b.c {= x =}") == (
        ast.Watchdog("w", ns(10**7), code("x"), (ref("a"), ref("b.c")), **AT),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("reaction(startup) {= x =}", ast.Reaction((on("startup"),), code=code("x"), **AT)),
        ("reaction() {==}", ast.Reaction((), code=code(""), **AT)),
        ("mutation(a) {= x =}", ast.Reaction((ref("a"),), code=code("x"), mutation=True, **AT)),
        ("reaction r(reset, shutdown);", ast.Reaction((on("reset"), on("shutdown")), name="r", **AT)),
        (
            "reaction(t, a.b) c, d.e -> f, g.h {= x =}",
            ast.Reaction((ref("t"), ref("a.b")), (ref("c"), ref("d.e")), (ref("f"), ref("g.h")), code("x"), **AT),
        ),
        (
            "reaction(t) -> M, reset(N), history(O) {= x =}",
            ast.Reaction(
                (ref("t"),),
                (),
                (ref("M"), ast.ModeChange("reset", "N", **AT), ast.ModeChange("history", "O", **AT)),
                code("x"),
                **AT,
            ),
        ),
        (
            "reaction(a) {= x =} deadline(10 ms) {= y =}",
            ast.Reaction((ref("a"),), code=code("x"), deadline=ast.Deadline(ns(10**7), code("y"), **AT), **AT),
        ),
        (
            "reaction(a) {= x =} STAA(p) {= y =}",
            ast.Reaction((ref("a"),), code=code("x"), late=ast.Late("STAA", par("p"), code("y"), **AT), **AT),
        ),
        (
            "reaction(a) {= x =} STP(0) {= y =} deadline(p) {= z =}",
            ast.Reaction(
                (ref("a"),),
                code=code("x"),
                late=ast.Late("STP", lit(0), code("y"), **AT),
                deadline=ast.Deadline(par("p"), code("z"), **AT),
                **AT,
            ),
        ),
        (
            "reaction(a) {= x =} tardy {= y =}",
            ast.Reaction((ref("a"),), code=code("x"), late=ast.Late("tardy", None, code("y"), **AT), **AT),
        ),
        ("reaction(a) {= x =} tardy", ast.Reaction((ref("a"),), code=code("x"), late=ast.Late("tardy", None, None, **AT), **AT)),
    ],
)  # fmt: skip
def test_reactions(written, expected):
    assert body(written) == (expected,)


def test_reactions_without_a_body_end_at_the_next_keyword_or_semicolon():
    assert body("reaction(a) -> b\nreaction r(c); x.y -> z") == (
        ast.Reaction((ref("a"),), (), (ref("b"),), **AT),
        ast.Reaction((ref("c"),), name="r", **AT),
        ast.Connection((ref("x.y"),), (ref("z"),), **AT),
    )


def test_instances():
    assert body("a = new A() b = new[n] B<int, {= T =}>(x = 1, y(2 s), z{3}); c = new C()") == (
        ast.Instance("a", "A", **AT),
        ast.Instance(
            "b",
            "B",
            (
                ast.Argument("x", lit(1), **AT),
                ast.Argument("y", seq("(", ns(2 * 10**9)), **AT),
                ast.Argument("z", seq("{", lit(3)), **AT),
            ),
            width(par("n")),
            (type_("int"), type_("T")),
            **AT,
        ),
        ast.Instance("c", "C", **AT),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a -> b", ast.Connection((ref("a"),), (ref("b"),), **AT)),
        ("a.x ~> b.y;", ast.Connection((ref("a.x"),), (ref("b.y"),), physical=True, **AT)),
        ("a, b.x -> c.y, d", ast.Connection((ref("a"), ref("b.x")), (ref("c.y"), ref("d")), **AT)),
        ("(a, b)+ -> c", ast.Connection((ref("a"), ref("b")), (ref("c"),), iterated=True, **AT)),
        ("(a) -> c", ast.Connection((ref("a"),), (ref("c"),), **AT)),
        ("a -> b after 10 ms", ast.Connection((ref("a"),), (ref("b"),), delay=ns(10**7), **AT)),
        ("a -> b after p", ast.Connection((ref("a"),), (ref("b"),), delay=par("p"), **AT)),
        ('a -> b after 0 serializer "x"', ast.Connection((ref("a"),), (ref("b"),), delay=lit(0), serializer="x", **AT)),
        ("a.x -> interleaved(b.y)", ast.Connection((ref("a.x"),), (ref("b.y", interleaved=True),), **AT)),
        ("a as c -> b.y as d", ast.Connection((ref("a", alias="c"),), (ref("b.y", alias="d"),), **AT)),
    ],
)
def test_connections(written, expected):
    assert body(written) == (expected,)


def test_modes():
    assert body("initial mode A { reset state n = 0 reaction(t) -> B {= x =} } mode B { timer u } mode {}") == (
        ast.Mode(
            "A",
            True,
            (
                ast.State("n", None, lit(0), reset=True, **AT),
                ast.Reaction((ref("t"),), (), (ref("B"),), code("x"), **AT),
            ),
            **AT,
        ),
        ast.Mode("B", False, (ast.Timer("u", **AT),), **AT),
        ast.Mode(None, False, (), **AT),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("@enclave", ()),
        ("@enclave()", ()),
        ('@label("x")', (ast.AttributeArg(None, lit("x"), **AT),)),
        ("@maxwait(10 ms)", (ast.AttributeArg(None, ns(10**7), **AT),)),
        ("@maxwait(forever)", (ast.AttributeArg(None, ns(forever), **AT),)),
        ("@style(bold)", (ast.AttributeArg("bold", None, **AT),)),
        ("@side(a = 1, b,)", (ast.AttributeArg("a", lit(1), **AT), ast.AttributeArg("b", None, **AT))),
    ],
)
def test_attributes(written, expected):
    (instance,) = body(f"{written} a = new A()")
    assert [attribute.args for attribute in instance.attributes] == [expected]


@pytest.mark.parametrize(
    "declaration",
    [
        "state s",
        "input a",
        "output b",
        "timer t",
        "action a",
        "watchdog w(0) {==}",
        "reaction(a) {==}",
        "a = new A()",
        "a -> b",
    ],
)
def test_what_may_carry_attributes(declaration):
    (found,) = body(f"@a @b(1)\n{declaration}")
    assert [attribute.name for attribute in found.attributes] == ["a", "b"]
    assert found.line == 3


def test_reactors_and_parameters_may_carry_attributes():
    found = reactor("@a reactor R(@b p = 1) {}")
    assert [part.attributes[0].name for part in (found, *found.params)] == ["a", "b"]


@pytest.mark.parametrize("comment", ["// c {\n", "# c {=\n", "/* c\n * } */", "''' c\n\" '''"])
def test_comments(comment):
    assert body(f"{comment} timer {comment} t {comment}") == (ast.Timer("t", **AT),)


def test_line_ends_may_be_those_of_other_systems():
    unix = "\ufeffmain reactor {\n  reaction(startup) {=\n    a\n    b\n  =}\n}"
    for ending in ("\r\n", "\r"):
        assert parse(unix.replace("\n", ending), file="f.lf") == parse(unix, file="f.lf")


# ---------------------------------------------------------------- bodies


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
    found = parse(f"preamble {written} reactor R {{}}", file="f.lf").preambles[0].code
    assert (found.text, found.line, found.column) == (text, line, column + len("preamble ")) if line == 1 else True
    assert (found.text, found.line) == (text, line)
    assert line == 1 or found.column == column


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


# ---------------------------------------------------------------- errors

M = "main reactor {{ {} }}".format

ERRORS = [
    # text, words of the message
    ("", ("the end of the program", "expected a reactor", "main reactor")),
    ("target Python", ("main reactor",)),
    ("main {}", ("found '{'", "expected a reactor", "main reactor {")),
    ("main reactor {\n timer t\n", ("the end of the program", "The { on line 1 is not closed.")),
    ("main reactor {}\n}", ("There is no { that this } closes.",)),
    ("timer t(0)", ("found the keyword 'timer'", "inside it: main reactor")),
    ("main reactor {} target Python", ("The order in a file is",)),
    ("reactor {}", ("has no name",)),
    ("main federated reactor {}", ("cannot be added",)),
    ("reaktor A {}", ("found the name reaktor", "expected a reactor")),
    (M("timer t(0, 10 milliseconds)"), ("found the name milliseconds", "Did you mean 10 msec?")),
    (M("timer t(0, 10 MSEC)"), ("Did you mean 10 msec?",)),
    (M("timer t(0, 10 hrs)"), ("Did you mean 10 hours?",)),
    (M("timer t(0, 10 parsecs)"), ("The units of time are nsec",)),
    ("target Python { timeout: 10 millis } main reactor {}", ("found the word millis", "Did you mean 10 msec?")),
    (M("state x = 1e5"), ("1.0e5",)),
    (M("state x = 2 * y"), ("found '*'", "{= … =}")),
    (M("state x = y + 1"), ("{= … =}",)),
    (M("state x = -y"), ("found '-'", "{= … =}")),
    (M("state timer = 0"), ("the keyword 'timer'", "expected a name", "is a keyword")),
    (M("input int x"), ("A type follows the name", "x: int")),
    (M("a.b => c.d"), ("expected an arrow", "a.out -> b.in")),
    (M("a.b <- c.d"), ("a.out -> b.in",)),
    (M("a[0].b -> c.d"), ("connected whole",)),
    (M("a.b -> "), ("found '}'", "the name of a port")),
    (M("a = new A"), ("new A()",)),
    (M("a = new A(x)"), ("given by name: x = …",)),
    (M("reaction startup {= x =}"), ("reaction(startup)",)),
    (M("reaction(startup) { x }"), ("found '{'", "a body {= … =}", "between {= and =}")),
    (M("reaction(5) {= x =}"), ("found the number 5", "expected a trigger")),
    (M("reaction(t) print() =}"), ("closes no body", "is its {= missing")),
    (M("reaction(t) {= x"), ("this {= is never closed", "Close it with =}.")),
    (M("reaction(t) {= x\nreaction(u) {= y =}"), ("never closed", "another {= begins on line 2")),
    (M("reaction(t) {= x # =}"), ("never closed", "inside a string or a comment")),
    (M("timer t(0, 1 ms"), ("expected ')'",)),
    (M('state s = "abc'), ("this string is never closed",)),
    (M("/* abc"), ("this comment is never closed",)),
    (M('state s = "\\x4"'), ("escape sequence \\x",)),
    (M('state s = "\\ud800"'), ("stands for no character",)),
    (M("state s = " + "9" * 9999), ("more than 1000 digits",)),
    (M("state s = 1" + "0" * 30 + " s"), ("292 years",)),
    (M("state s = " + "[" * 5000), ("nest more than 64 deep",)),
    (M("mode A { input x }"), ("found the keyword 'input'",)),
    (M('@label("x") method f() {==}'), ("found the keyword 'method'",)),
    (M("logical action a(0, 0, drop)"), ("expected a string",)),
    (M("x $ y"), ("found '$'", "no meaning here")),
    ("import A from b.lf main reactor {}", ("expected a string or '<'",)),
    ("target Python { a.b: 1 } main reactor {}", ("a.b is not the name of a target property",)),
    ("main reactor {}\0", ("found '\\x00'",)),
    ("main reactor {}\ud800", ("found '\\ud800'",)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), ERRORS, ids=[text[:40] for text, _ in ERRORS])
def test_errors_say_what_was_found_what_was_expected_and_what_to_do(text, words):
    message = str(error(text))
    assert [word for word in words if word not in message] == []
    assert "ANON" not in message


def test_errors_name_file_line_and_column():
    found = error("main reactor {\n  state x = @\n}")
    assert (found.file, found.line, found.column) == ("f.lf", 2, 13)
    assert (found.found, found.expected) == ("'@'", ("a value",))
    assert str(found).startswith("f.lf:2:13: found '@', expected a value")


def test_errors_are_python_syntax_errors_that_show_the_line():
    found = error("main reactor {\n  state x = @\n}")
    assert isinstance(found, SyntaxError)
    assert isinstance(found, ReactorError)
    shown = "".join(traceback.format_exception_only(found))
    assert 'File "f.lf", line 2' in shown
    assert "state x = @" in shown


def test_files_are_read_as_utf8(tmp_path):
    file = tmp_path / "a.lf"
    file.write_bytes("main reactor { state s = 'ü' }".encode())
    assert parse_file(file).file == str(file)
    file.write_bytes(b"main reactor {\n state s = '\xff' }")
    with pytest.raises(LFSyntaxError, match="0xff") as caught:
        parse_file(file)
    assert (caught.value.line, caught.value.column) == (2, 13)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        parse_file(tmp_path / "none.lf")


# ---------------------------------------------------------------- the cache of the parser's tables


@pytest.mark.slow
def test_tables_are_kept_for_the_next_process_and_made_anew_when_damaged(tmp_path):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    program = "from reactornb.lf.parse import parse; parse('main reactor {}', file='f.lf'); print('parsed')"

    def run():
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)

    assert run().stdout == "parsed\n"
    (file,) = (tmp_path / "reactornb").iterdir()
    tables = file.read_bytes()
    file.write_bytes(tables[: len(tables) // 2])
    damaged = run()
    assert (damaged.stdout, damaged.stderr) == ("parsed\n", "")
    made_anew = file.read_bytes()
    assert len(made_anew) > len(tables) // 2
    assert run().stdout == "parsed\n"
    assert file.read_bytes() == made_anew
    assert list((tmp_path / "reactornb").iterdir()) == [file]


def test_a_cache_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "reactornb").mkdir()
    (tmp_path / "reactornb").chmod(0o777)
    assert reactornb.lf.parse._cache_folder() is None


# ---------------------------------------------------------------- any text

quick = settings(
    max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@quick
@given(programs(), st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3))
def test_legal_programs_come_back_as_they_were_written(tree, layout):
    check_round_trip(tree, layout)


@pytest.mark.slow
@quick
@given(texts)
def test_any_text_is_a_program_or_a_syntax_error(text):
    check(text)
