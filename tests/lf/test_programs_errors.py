"""Every mistake in a Lingua Franca program is an error of ours that names the file and the line."""

import re

import pytest
from fuzz_assemble import check, damaged
from lf_running import happened, loaded, run

from reactornb.errors import LFSyntaxError, ReactorError

R = "reactor R(n = 1) { input inp; output out; state s = 0 }\n"


def M(members):  # noqa: N802 - reads as a template
    return f"{R}main reactor {{\n{members}\n}}"


MISTAKES = [
    # text; what the message says; its line
    (M("reaction(startup) {= x = = =}"), "Python says: invalid syntax", 3),
    (M("reaction(startup) {=\n  ok = 1\n  if ok\n    pass\n=}"), "Python says: expected ':'", 5),
    (M("reaction(startup) {= nonlocal x =}"), "Python says", 3),
    (M("reaction(startup) {= yield 1 =}"), "yield", 3),
    (M("state x = {= 1 + =}"), "Python says", 3),
    (M("timer t(0, {= 1/0 =})"), "this expression raises ZeroDivisionError", 3),
    (M("r = new[{= [][0] =}] R()"), "this expression raises IndexError", 3),
    (M("x = new Q()"), "no reactor 'Q'. Known here: R.", 3),
    (M("x = new R(m = 1)"), "R has no parameter 'm'", 3),
    (M("x = new R(n = 1, n = 2)"), "the parameter n is given twice", 3),
    ("reactor R(n) { }\nmain reactor {\nx = new R() }", "R needs its parameter 'n'", 3),
    (M("x = new R()\nreaction(x.outt) {= =}"), "x has no port 'outt'. Did you mean 'out'?", 4),
    (M("x = new R()\nreaction(y.out) {= =}"), "no contained reactor 'y'", 4),
    (M("x = new R()\nx.out -> x.inpt"), "R has no port 'inpt'. Did you mean 'inp'?", 4),
    (M("x = new R()\nx.out -> y.inp"), "contains no 'y'", 4),
    (M("state s = 0; x = new R()\ns.out -> x.inp"), "contains no 's'", 4),
    (M("x = new R()\nx.inp -> x.out"), "cannot be the source", 4),
    (M("x = new R()\nx.out -> nothing"), "no port 'nothing'", 4),
    (M("reaction(tick) {= =}"), "no port, action, timer or watchdog 'tick'", 3),
    (M("output out\nreaction(out) {= =}"), "an output cannot trigger a reaction: out", 4),
    (M("input inp\nreaction(startup) -> inp {= =}"), "an input cannot be an effect: inp", 4),
    (M("timer t\nreaction(startup) -> t {= =}"), "a timer cannot be an effect: t", 4),
    (M("state s = 1\nreaction(s) {= =}"), "a state cannot trigger a reaction: s", 4),
    (M("timer t\nreaction(t.x) {= =}"), "t is a timer, and no contained reactor", 4),
    (M("x = new R()\nreaction(x.inp) {= =}"), "a container writes its children's inputs", 4),
    (M("x = new R()\nreaction(startup) -> x.out {= =}"), "a container writes its children's inputs", 4),
    (M("initial mode A { }\nreaction(startup) -> reset(B) {= =}"), "no mode 'B'. Known here: A", 4),
    (M("initial mode A { }\ninitial mode B { }"), "2 initial modes", 3),
    (M("initial mode { }"), "a mode needs a name", 3),
    (M("timer t\nstate t = 0"), "the state t is declared already in the main reactor, as a timer", 4),
    (M("timer t\ninitial mode A {\n state t = 0 }"), "the state t is declared already", 5),
    ("reactor R { }\nreactor R { }\nmain reactor { }", "reactor R is declared twice", 2),
    ("main reactor { }\nmain reactor { }", "a second main reactor", 2),
    ("main reactor A { }\nreactor B { a = new A() }", "A is a main reactor, which no other one contains", 2),
    ("reactor A {\na = new A() }\nmain reactor { }", "reactor A contains or extends itself", 2),
    ("reactor A { b = new B() }\nreactor B { a = new A() }\nmain reactor { }", "contains or extends itself", 2),
    ("reactor A extends A { }\nmain reactor { }", "contains or extends itself", 1),
    ("reactor A extends B { }\nmain reactor { }", "no reactor 'B'", 1),
    ("reactor A { input x }\nreactor B { input x }\nreactor C extends A, B { }\nmain reactor { }", "each declare the input x", 3),
    ("reactor A { input x }\nreactor C extends A {\ninput x }\nmain reactor { }", "as an input of a reactor that it extends", 3),
    ("reactor Q { }\nmain reactor(n) { }", "needs its parameter 'n'", 2),
    ("reactor D(p = {= exit(3) =}) { }\nmain reactor { d = new D() }", "this expression raises SystemExit: 3", 1),
    (M("timer t(0, 100)"), "100 is no time. Write 100 msec", 3),
    (M("timer t(-1)"), "-1 is no time", 3),
    (M('timer t("soon")'), "'soon' is no time", 3),
    ('reactor T(p = "soon") {\ntimer t(p) }\nmain reactor { t = new T() }', "'soon' is no duration", 2),
    ("reactor T(p = -5) {\ntimer t(p) }\nmain reactor { t = new T() }", "it cannot be negative", 2),
    (M("state s = [1, nowhere]"), "no parameter 'nowhere'", 3),
    (M("timer t(0, nowhere)"), "no parameter 'nowhere'", 3),
    (M("x = new R(); y = new R()\nx.out -> y.inp after nowhere"), "no parameter 'nowhere'", 4),
    (M("x = new R(); y = new R()\nx.out -> y.inp after -1"), "-1 is no time", 4),
    (M('logical action a(0, 0, "never")'), "policy 'never' is none of defer, drop, replace and update", 3),
    (M("action a"), "action a is neither logical nor physical", 3),
    (M("x = new[-1] R()"), None, 3),
    (M('x = new[n] R()'), "no parameter 'n'", 3),
    ('reactor T(n = "two") {\ninput[n] inp }\nmain reactor { t = new T() }', "a width is a whole number from 0 to 1,000,000, not 'two'", 2),
    ("reactor T(n = -2) {\ninput[n] inp }\nmain reactor { t = new T() }", "a width is a whole number from 0 to 1,000,000, not -2", 2),
    ("reactor T(n = forever) {\ninput[n] inp }\nmain reactor { t = new T() }", "a width is a whole number from 0 to 1,000,000", 2),
    (M("x = new[widthof(y.out)] R()"), "contains no 'y'", 3),
    (M("input[] inp"), "a width left open", 3),
    (M("state class = 1"), "class is a keyword of Python", 3),
    (M("state __x = 1"), "the name __x is reserved", 3),
    (M("state compose = 1"), "the name compose is reserved", 3),
    (M("reaction lambda(startup) {= =}"), "lambda is a keyword of Python", 3),
    (M("method f(def) {= =}"), "Python cannot take these names: def", 3),
    (M("input t; input u\nreaction(t as x, u as x) {= =}"), None, 4),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words", "line"), MISTAKES, ids=[re.sub(r"\s+", " ", t)[-50:] for t, _, _ in MISTAKES]
)
def test_mistakes_are_named_with_their_line(text, words, line):
    with pytest.raises(ReactorError) as caught:
        loaded(text).program()
    message = str(caught.value)
    assert words is None or words in message
    assert re.search(rf"p\.lf(, line |:){line}\b", message), message


NAMES = [
    "seed",
    "rng",
    "tag",
    "time_ns",
    "lag_ns",
    "log",
    "request_stop",
    "full_name",
    "start_time_ns",
    "physical_time_ns",
    "connect",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["state {} = 5", "{} = new R()", "logical action {}", "method {}() {{= return 5 =}}"])
def test_names_that_python_reactors_use_are_free_in_text(name, kind):
    check = {"s": f"self.{name} = self.{name} + 1; see(self.{name})", "m": f"see(self.{name}() + 1)"}.get(
        kind[0], "see(6)"
    )
    assert run(f"reactor R {{ }} main reactor {{ {kind.format(name)}\n reaction(startup) {{= {check} =}} }}").seen == [
        6
    ]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_ports_too(name):
    text = f"""
      reactor R({name} = 5) {{ reaction(startup) {{= see(self.{name}) =}} }}
      reactor P {{ input {name}; reaction({name}) {{= see({name}.value) =}} }}
      main reactor {{ r = new R({name} = 6); p = new P()
                      reaction(startup) -> p.{name} {{= p.{name}.set(7) =}} }}
    """
    assert sorted(run(text).seen) == [6, 7]


def test_a_preamble_with_annotations_declares_no_parameter():
    program = loaded(
        "reactor R { preamble {= x: int = 3 =}\n reaction(startup) {= see(self.x) =} } main reactor { r = new R() }"
    )
    assert happened(program).seen == [3]
    assert "x" not in program.reactors["R"]._spec.parameters


def test_a_preamble_that_raises_shows_its_own_error():
    with pytest.raises(ZeroDivisionError):
        loaded("preamble {= 1/0 =} main reactor { }")


def test_errors_can_be_caught_as_pythons_own():
    with pytest.raises(SyntaxError):
        loaded("main reactor { timer t(0, 5) }")
    with pytest.raises(LFSyntaxError):
        loaded("main reactor { timer t(0, 5) }")


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 800, 100))
def test_any_damaged_program_is_assembled_or_refused_by_an_error_of_ours(start):
    for seed in range(start, start + 100):
        check(damaged(seed))
