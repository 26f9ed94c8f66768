"""Python reactors in Lingua Franca text, and reactors of a text in Python."""

import pytest
from lf_running import PORTS, loaded, run

from reactornb import Bank, Input, Output, Program, Reactor, connect, reaction, startup
from reactornb.testing import run_to_end

# ---------------------------------------------------------------- Python and Lingua Franca together


class Doubler(Reactor):
    inp = Input[int]()
    out = Output[int]()
    factor: int = 2

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(self.factor * inp.value)


class Group(Reactor):
    """Makes its contents in `compose`."""

    inp = Input[int]()
    out = Output[int]()
    n: int = 2

    def compose(self):
        self.chain = Bank(Doubler, self.n)
        ends = [self.inp_port, *(m.out for m in self.chain)]
        for left, right in zip(ends[:-1], self.chain, strict=True):
            connect(left, right.inp)
        connect(ends[-1], type(self).out)

    @property
    def inp_port(self):
        return type(self).inp


MIXED = """
  reactor Read { input inp; reaction(inp) {= see(inp.value) =} }
  reactor Start(v = 1) { output out; reaction(startup) -> out {= out.set(self.v) =} }
"""


def test_text_instantiates_python_reactors():
    text = (
        MIXED
        + """
      main reactor { s = new Start(v = 3); d = new Doubler(factor = 5); r = new Read()
                     s.out -> d.inp
                     d.out -> r.inp }
    """
    )
    assert run(text, outside={"Doubler": Doubler}).seen == [15]


def test_text_makes_banks_of_python_reactors():
    text = (
        MIXED
        + """
      main reactor { s = new[2] Start(v = {= bank_index + 1 =}); d = new[2] Doubler(factor = {= 10 + bank_index =})
                     r = new[2] Read()
                     s.out -> d.inp
                     d.out -> r.inp }
    """
    )
    assert run(text, outside={"Doubler": Doubler}).seen == [10, 22]


def test_text_extends_a_python_reactor():
    text = (
        MIXED
        + """
      reactor Shout extends Doubler { reaction(inp) {= see("shout", inp.value, self.factor) =} }
      main reactor { s = new Start(v = 3); d = new Shout(); r = new Read()
                     s.out -> d.inp
                     d.out -> r.inp }
    """
    )
    assert run(text, outside={"Doubler": Doubler}).seen == [("shout", 3, 2), 6]


def test_python_contains_reactors_from_text():
    program = loaded(MIXED + "main reactor { }")
    start, read = program.reactors["Start"], program.reactors["Read"]
    seen = program.namespace["seen"] = []
    program.namespace["see"] = seen.append

    class Top(Reactor):
        begin = start(v=4)
        double = Doubler()
        end = read()
        connect(begin.out, double.inp)
        connect(double.out, end.inp)

    trace = run_to_end(Top())
    assert seen == [8]
    assert trace.reactions() == ["top.begin.reaction_1", "top.double.on_inp", "top.end.reaction_1"]


def test_python_makes_banks_of_reactors_from_text():
    program = loaded(PORTS + "main reactor { }")
    seen = []
    program.namespace["see"] = lambda *values: seen.append(values)

    class Top(Reactor):
        ones = Bank(program.reactors["One"], 3, base=5)
        end = program.reactors["Get"](n=3)
        connect(ones.out, end.inp)

        @reaction(startup)
        def on_startup(self):
            pass

    Program(Top()).run(workers=1)
    assert seen == [(0, [(0, 5), (1, 6), (2, 7)])]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_fingerprint_does_not_depend_on_workers(workers):
    text = (
        PORTS
        + """
      reactor Work(bank_index = 0) { input inp; output out; state n = 0
        logical action again(1 ms)
        reaction(inp, again) -> out, again {=
          self.n += 1
          out.set((self.bank_index, self.n, self.rng.random()))
          if self.n < 5: again.schedule(0)
        =} }
      main reactor { s = new Send(n = 8); w = new[8] Work(); g = new Get(n = 8)
                     s.out -> w.inp
                     w.out -> g.inp }
    """
    )
    program = loaded(text)
    program.namespace["see"] = lambda *_: None
    fingerprint = program.program().run(workers=workers, fingerprint=True, fast=True).fingerprint
    assert fingerprint == loaded_fingerprint(text)


def loaded_fingerprint(text):
    program = loaded(text)
    program.namespace["see"] = lambda *_: None
    return program.program().run(workers=1, fingerprint=True, fast=True).fingerprint
