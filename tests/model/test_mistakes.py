"""What Python takes in silence and would do nothing: an error at the earliest moment, with place and fix."""

import functools  # noqa: F401 - in the text of classes
from dataclasses import dataclass

import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Timer,
    connect,
    ms,
    reaction,
    startup,
)  # fmt: skip
from reactornb.errors import DeclarationError, ReactionError, ReactorError, UndeclaredEffectError
from reactornb.testing import run_to_end

HERE = r"test_mistakes.py, line \d+"


class A(Reactor):
    x = Input()
    out = Output()
    act = LogicalAction()
    t = Timer(0, ms(1))
    n: int = 3

    @reaction(x)
    def on_x(self, x, out):
        out.set(x.value)


class B(Reactor):
    inp = Input()


def declared(body, bases="Reactor"):
    """A class made of source text: bodies that only differ in one line."""
    text = f"class Made({bases}):\n" + "\n".join("    " + line for line in body.splitlines())
    names = dict(globals())
    exec(compile(text, "test_mistakes.py", "exec"), names)
    return names["Made"]


WRONG = {
    "async def": ("Reactor", "@reaction(startup)\nasync def f(self): pass", "coroutine.*def instead of async def"),
    "generator": ("Reactor", "@reaction(startup)\ndef f(self): yield", "generator.*yield"),
    "async generator": ("Reactor", "@reaction(startup)\nasync def f(self): yield", "async generator"),
    "async compose": ("Reactor", "async def compose(self): pass", "compose compose is a coroutine"),
    "async handler": (
        "Reactor",
        "@reaction(startup, deadline=ms(1))\ndef f(self): pass\n@f.missed\nasync def g(self): pass",
        "handler g is a coroutine",
    ),
    "staticmethod above": (
        "Reactor",
        "@staticmethod\n@reaction(startup)\ndef f(self): pass",
        "under @staticmethod.*topmost",
    ),
    "classmethod above": ("Reactor", "@classmethod\n@reaction(startup)\ndef f(self): pass", "under @classmethod"),
    "property above": ("Reactor", "@property\n@reaction(startup)\ndef f(self): pass", "under @property"),
    "cached_property above": (
        "Reactor",
        "@functools.cached_property\n@reaction(startup)\ndef f(self): pass",
        "under @cached_property.*topmost",
    ),
    "staticmethod below": (
        "Reactor",
        "@reaction(startup)\n@staticmethod\ndef f(self): pass",
        "'f' is a staticmethod.*Leave out @staticmethod",
    ),
    "reaction twice above": ("Reactor", "@reaction(startup)\n@reaction(startup)\ndef f(self): pass", "plain function"),
    "two of one name": (
        "Reactor",
        "@reaction(startup)\ndef f(self): pass\n@reaction(startup)\ndef f(self): pass",
        "'f' is declared twice",
    ),
    "a port and a reaction of one name": (
        "Reactor",
        "f = Input()\n@reaction(startup)\ndef f(self): pass",
        "'f' is declared twice.*an input",
    ),
    "a port bound again": (
        "Reactor",
        "x = Input()\nx = Output()",
        "makes an input here and binds it to no name, or binds the name again",
    ),
    "a port replaced by a number": ("Reactor", "x = Input()\nx = 3", "makes an input here"),
    "a reaction replaced by a method": (
        "Reactor",
        "@reaction(startup)\ndef f(self): pass\ndef f(self): pass",
        "makes a reaction here",
    ),
    "a port without a name": ("Reactor", "Input()", "binds it to no name"),
    "a base's reaction as a method": (
        "A",
        "def on_x(self, x): pass",
        "'on_x', a reaction of its base A, to a plain method.*@reaction",
    ),
    "a base's reaction as None": ("A", "on_x = None", "'on_x', a reaction of its base A, to None"),
    "a base's port as a number": ("A", "out = 5", "'out', an output of its base A, to 5"),
    "a base's timer as a number": ("A", "t = 5", "'t', a timer of its base A"),
    "a base's action as a port": ("A", "act = Input()", "'act', a logical action of its base A, to an input"),
    "a list of children": ("Reactor", "kids = [A(), A()]", r"kids is a list of declarations.*Bank\(A, n\)"),
    "a dict of children": ("Reactor", "kids = {'a': A()}", "kids is a dict of declarations"),
    "a list of ports": ("Reactor", "ports = [Input(), Input()]", r"ports is a list of declarations.*Input\(width=n\)"),
    "connect of classes": ("Reactor", "connect(A.out, B.inp)", "'out', a port of a class.*make children|Make children"),
    "a port called compose": ("Reactor", "compose = Input()", "'compose'.*makes children"),
    "a port called log": ("Reactor", "log = Output()", "'log'.*records metrics"),
    "a parameter called seed": ("Reactor", "seed: int = 3", "'seed'.*the reactor's seed"),
    "a child called rng": ("Reactor", "rng = A()", "'rng'"),
    "a class attribute _log": ("Reactor", "_log = 3", "'_log'.*such as log_"),
    "a method _label": ("Reactor", "def _label(self): pass", "'_label'"),
    "self._log": (
        "Reactor",
        "@reaction(startup)\ndef f(self):\n    self._log = []",
        "assigns to self._log, which is Reactor's own",
    ),
    "self._name in a method": ("Reactor", "def f(self):\n    self._name = 'x'", "assigns to self._name"),
    "self.log": (
        "Reactor",
        "@reaction(startup)\ndef f(self):\n    self.log = []",
        "assigns to self.log.*records metrics",
    ),
    "self.out": (
        "Reactor",
        "out = Output()\n@reaction(startup)\ndef f(self, out):\n    self.out = 5",
        r"assigns to self.out.*an output.*out.set",
    ),
    "out = 3": (
        "Reactor",
        "out = Output()\n@reaction(startup)\ndef f(self, out):\n    out = 3",
        r"line 5: .*binds its own name 'out'.*out.set\(",
    ),
    "for out in": (
        "Reactor",
        "out = Output()\n@reaction(startup)\ndef f(self, out):\n    for out in range(3): pass",
        "binds its own name 'out'",
    ),
    "out.value =": (
        "Reactor",
        "out = Output()\n@reaction(startup)\ndef f(self, out):\n    out.value = 3",
        r"assigns to out.value.*out.set\(",
    ),
    "inp.value =": (
        "Reactor",
        "inp = Input()\n@reaction(inp)\ndef f(self, inp):\n    inp.value = 3",
        "assigns to inp.value",
    ),
    "without self": ("Reactor", "x = Input()\n@reaction(x)\ndef on_x(x): pass", r"lacks self.*def on_x\(self, x\)"),
    "Output[int] without brackets": (
        "Reactor",
        "out = Output[int]\n@reaction(startup)\ndef f(self, out): pass",
        r"out = Output\[int\]\(\)",
    ),
    "Timer without brackets": ("Reactor", "t = Timer", r"t = Timer\(\)"),
    "Input[int] as a trigger": (
        "Reactor",
        "x = Input[int]\n@reaction(x)\ndef f(self, x): pass",
        "is the class Input itself: brackets",
    ),
    "starttup": ("Reactor", "@reaction('starttup')\ndef f(self): pass", "Did you mean 'startup'"),
    "a port class as a trigger": (
        "Reactor",
        "@reaction(Input)\ndef f(self): pass",
        "is the class Input itself: brackets",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_class_that_would_do_nothing_is_an_error_when_it_is_made(name):
    bases, body, words = WRONG[name]
    with pytest.raises(DeclarationError, match=rf"(?s){HERE}.*{words}|{words}") as info:
        declared(body, bases)
    assert "test_mistakes.py, line" in str(info.value)


RIGHT = {
    "reading into the port's own name": "x = Input()\n@reaction(x)\ndef f(self, x):\n    x = x.value",
    "overriding a reaction by a reaction": "x = Input()\n@reaction(x)\ndef f(self, x): pass",
    "an alias": "x = Input()\ny = x",
    "a handler of the same name": "@reaction(startup, deadline=ms(1))\ndef f(self): pass\n@f.missed\ndef f_late(self): pass",
    "a method called log": "def log(self, **m): pass",
    "own attributes": "@reaction(startup)\ndef f(self):\n    self.mine = self._own = 3",
    "own ports connected": "x = Input()\nout = Output()\nconnect(x, out)",
    "ports made in a loop": "for i in range(3):\n    locals()[f'x{i}'] = Input()\ndel i",
    "a wrapped function below": "@reaction(startup)\n@functools.wraps(len)\ndef f(self): pass",
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_no_mistake_is_taken(name):
    Program(declared(RIGHT[name]))


def test_a_subclass_may_override_reactions_and_connect_inherited_ports():
    class C(A):
        more = Output()
        connect(A.x, more)

        @reaction(A.x)
        def on_x(self, x, out):
            out.set(x.value + 1)

    assert len(C._spec.reactions) == 1
    assert len(C._spec.own_connections) == 1
    assert len(A._spec.own_connections) == 0


def test_a_mixin_that_declares_and_is_no_reactor_is_an_error():
    class Mixin:
        y = Input()

    with pytest.raises(DeclarationError, match=r"Mixin, a base of Made, declares 'y' and is no reactor"):

        class Made(Mixin, Reactor):
            pass


def test_connect_on_classes_outside_a_reactor_is_an_error():
    with pytest.raises(DeclarationError, match=rf"{HERE}: connect joins ports of instances.*a.out, b.inp"):
        connect(A.out, B.inp)


def test_a_port_of_another_class_in_compose_is_an_error():
    class Main(Reactor):
        inp = Input()

        def compose(self):
            self.a = A()
            connect(self.a.out, B.inp)

    with pytest.raises(ReactorError, match="no port 'inp'"):
        Program(Main)


@pytest.mark.parametrize("made", ["A()", "Bank(A, 2)", "[A(), A()]"])
def test_a_child_made_in_a_reaction_is_an_error(made):
    cls = declared(f"@reaction(startup)\ndef f(self):\n    self.kids = {made}")
    with pytest.raises(ReactionError, match=r"main|made.*self.kids.*while it runs.*class body"):
        Program(cls).run(workers=1, fast=True)


@pytest.mark.parametrize("line", ["self.p = Input()", "connect(A.out, B.inp)", "x = Timer(0)"])
def test_declaring_and_connecting_while_it_runs_is_an_error(line):
    cls = declared(f"@reaction(startup)\ndef f(self):\n    {line}")
    with pytest.raises(ReactionError, match="while it runs"):
        Program(cls).run(workers=1, fast=True)


def test_a_reaction_may_run_a_program_of_its_own():
    class Inner(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(1)

    class Outer(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            inner = Inner()
            out.set(Program(inner).run(workers=1, fast=True).reactions)

    assert [v for _, v in run_to_end(Outer()).values("outer.out")] == [1]


def test_children_and_attributes_of_an_instance_are_errors_at_assembly():
    class Late(Reactor):
        def __init__(self, **parameters):
            super().__init__(**parameters)
            self.kid = A()

    with pytest.raises(DeclarationError, match=rf"{HERE}: kid, which was set on this Late.*no child"):
        Program(Late)

    for name, value, words in (
        ("p", Input(), "no input"),
        ("kids", [A(), A()], "no child"),
        ("speed", 5, "is lost.*speed: int"),
    ):
        a = A()
        setattr(a, name, value)
        with pytest.raises(DeclarationError, match=words):
            Program(a)


def test_a_port_given_to_a_class_afterwards_is_an_error_at_assembly():
    class C(Reactor):
        pass

    C.late = Output()
    with pytest.raises(DeclarationError, match=r"C\.late was set after the class was made"):
        Program(C)


def test_a_port_made_in_compose_is_an_error():
    class C(Reactor):
        def compose(self):
            self.p = Input()

    with pytest.raises(DeclarationError, match=r"compose of C makes an input, p\."):
        Program(C)


def test_an_init_without_super_is_named():
    class C(Reactor):
        def __init__(self):
            self.n = 3

    class Main(Reactor):
        c = C()

    for root in (C, Main):
        with pytest.raises(DeclarationError, match=rf"{HERE}: C.__init__ does not call super"):
            Program(root)


def test_a_dataclass_is_no_reactor():
    @dataclass
    class C(Reactor):
        n: int = 3

    with pytest.raises(DeclarationError, match=rf"{HERE}: C is a reactor under @dataclass"):
        Program(C)
    with pytest.raises(DeclarationError, match="@dataclass"):
        Bank(C, 2)


@pytest.mark.parametrize(
    ("value", "fits"),
    [(5, True), ("five", False), (5.0, True), (5.5, False), (True, True)],
)
def test_a_parameter_of_a_plain_type_refuses_another_one(value, fits):
    if fits:
        A(n=value)
        Bank(A, 2, n=value)
        return
    with pytest.raises(DeclarationError, match=rf"{HERE}: A takes n as an int, not {value!r}"):
        A(n=value)
    with pytest.raises(DeclarationError, match="A takes n as an int"):
        Bank(A, 2, n=value)
    with pytest.raises(DeclarationError, match="A takes n as an int"):
        Program(A, n=value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("self.act.schedule(0)", "reads self.act, a logical action.*use act instead of self.act"),
        ("self.t.is_present", "reads self.t, a timer"),
        ("self.on_x()", "self.on_x is a reaction, which the scheduler calls"),
        ("self.out.set(1)", "out"),
        ("setattr(self, 'out', 3)", "changes nothing.*out.set"),
    ],
)
def test_what_is_reached_through_self_in_vain_says_how_to_reach_it(line, words):
    cls = declared(f"@reaction(startup)\ndef f(self):\n    {line}", "A")
    with pytest.raises(ReactionError, match=words) as info:
        Program(cls).run(workers=1, fast=True)
    assert isinstance(info.value.__cause__, UndeclaredEffectError)


def test_a_state_is_read_and_written_as_ever():
    class C(Reactor):
        s = State(1)
        p = PhysicalAction()
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            self.s += 1
            out.set(self.s)

    assert run_to_end(C(), keepalive=False).values("c.out")[0][1] == 2
