"""The Lingua Franca parser: what a reactor holds, declaration by declaration."""

import pytest
from lf_programs import AT
from lf_trees import body, code, lit, ns, on, par, reactor, ref, seq, type_, width

from reactornb.lf import syntax as ast
from reactornb.lf.parse import parse
from reactornb.tags import forever


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
