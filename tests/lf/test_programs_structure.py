"""Lingua Franca programs on the fake clock: banks, multiports, inheritance, modes, and Python reactors among them."""

import pytest
from lf_running import happened, loaded, run

from reactornb import Bank, Input, Output, Program, Reactor, connect, ms, reaction, startup
from reactornb.errors import CausalityError, LFSyntaxError, MultipleWritersError
from reactornb.testing import run_to_end

PORTS = """
reactor Send(n = 1, base = 0) {
  output[n] out
  reaction(startup) -> out {=
    for i, port in enumerate(out): port.set(self.base + i)
  =}
}
reactor Get(bank_index = 0, n = 1) {
  input[n] inp
  reaction(inp) {= see(self.bank_index, [(i, p.value) for i, p in enumerate(inp) if p.is_present]) =}
}
reactor One(bank_index = 0, base = 0) {
  output out
  reaction(startup) -> out {= out.set(self.base + self.bank_index) =}
}
"""


# ---------------------------------------------------------------- banks and multiports


def test_a_multiport_feeds_a_bank_channel_by_channel():
    assert run(PORTS + "main reactor { s = new Send(n = 3); g = new[3] Get(); s.out -> g.inp }").seen == [
        (0, [(0, 0)]),
        (1, [(0, 1)]),
        (2, [(0, 2)]),
    ]


def test_a_bank_feeds_a_multiport():
    assert run(PORTS + "main reactor { s = new[3] One(base = 7); g = new Get(n = 3); s.out -> g.inp }").seen == [
        (0, [(0, 7), (1, 8), (2, 9)])
    ]


def test_several_sources_fill_the_destinations_from_left_to_right():
    text = (
        PORTS
        + """
      main reactor { a = new Send(n = 2); b = new One(base = 9); g = new Get(n = 2); h = new Get(bank_index = 5)
                     a.out, b.out -> g.inp, h.inp }
    """
    )
    assert run(text).seen == [(0, [(0, 0), (1, 1)]), (5, [(0, 9)])]


def test_a_broadcast_repeats_the_left_side():
    text = PORTS + "main reactor { a = new Send(n = 2); g = new[4] Get(); (a.out)+ -> g.inp }"
    assert sorted(run(text).seen) == [(i, [(0, i % 2)]) for i in range(4)]


def test_interleaving_takes_channels_first_and_members_second():
    text = (
        PORTS
        + """
      main reactor { a = new[2] Send(n = 2, base = {= 10 * bank_index =}); g = new Get(n = 4); h = new Get(n = 4)
                     a.out -> g.inp
                     interleaved(a.out) -> h.inp }
    """
    )
    assert run(text).seen == [
        (0, [(0, 0), (1, 1), (2, 10), (3, 11)]),
        (0, [(0, 0), (1, 10), (2, 1), (3, 11)]),
    ]


def test_widths_are_sums_of_numbers_parameters_ports_and_target_code():
    text = (
        PORTS
        + """
      reactor Wide(n = 2) { input[n + 1] a; output[n + {= self.n * 2 =} + 1] b
                            output[widthof(a) + 1] c
                            reaction(startup) {= see(self.n, a.width, b.width, c.width) =} }
      main reactor(n = 2) {
        w = new Wide()
        v = new[2] Wide(n = {= 3 + bank_index =})
        all = new Get(n = 9)
        s = new[widthof(v.b)] One()
        reaction(startup) {= see(len(self.s) if hasattr(self, "s") else None) =}
      }
    """
    )
    text = text.replace("reaction(startup) {= see(self.n, a", "reaction(startup) a -> b, c {= see(self.n, a")
    text = text.replace('        reaction(startup) {= see(len(self.s) if hasattr(self, "s") else None) =}\n', "")
    program = loaded(text)
    tale = happened(program)
    assert tale.seen == [(2, 3, 7, 4), (3, 4, 10, 5), (4, 5, 13, 6)]
    assert sum(r.cls.__name__ == "One" for r in tale.run.program.graph.reactors) == 23


def test_a_bank_of_banks_computes_from_the_outer_index():
    text = (
        PORTS
        + """
      reactor Row(bank_index = 0, rows = 2) { one = new[2] One(base = {= 10 * self.bank_index =})
                                              output[2] out
                                              one.out -> out }
      main reactor { row = new[2] Row(); g = new Get(n = 4); row.out -> g.inp }
    """
    )
    assert run(text).seen == [(0, [(0, 0), (1, 1), (2, 10), (3, 11)])]


def test_a_container_reads_and_writes_a_bank():
    text = (
        PORTS
        + """
      main reactor {
        g = new[3] Get(); s = new[2] One(base = 4)
        reaction(startup) -> g.inp {=
          for i, member in enumerate(g): member.inp[0].set(i)
        =}
        reaction(s.out) {= see([member.out.value for member in s], [p.value for p in s_out]) =}
      }
    """
    )
    assert sorted(map(str, run(text).seen)) == ["(0, [(0, 0)])", "(1, [(0, 1)])", "(2, [(0, 2)])", "([4, 5], [4, 5])"]


def test_widths_that_differ_are_a_warning_with_the_line():
    program = loaded(PORTS + "main reactor {\n s = new Send(n = 3); g = new[2] Get()\n s.out -> g.inp }")
    with pytest.warns(UserWarning, match=r"p.lf, line 17: widths differ, .*s.out \(width 3\) -> g.inp \(width 2\)"):
        assert happened(program).seen == [(0, [(0, 0)]), (1, [(0, 1)])]


def test_multiport_presence_is_per_channel():
    text = (
        PORTS
        + """
      main reactor { g = new Get(n = 3)
                     reaction(startup) -> g.inp {= g.inp[1].set("x") =} }
    """
    )
    assert run(text).seen == [(0, [(1, "x")])]


# ---------------------------------------------------------------- inheritance


def test_a_reactor_extends_another_and_overrides_its_parameter():
    text = """
      reactor Base(n = 1) { output out
                            state s = n
                            timer t
                            reaction(t) -> out {= out.set(self.s) =} }
      reactor More(n = 5) extends Base { reaction(out2) {= =}
                                         logical action out2
                                         reaction(t) {= see("more", self.n, self.s) =} }
      reactor Read { input inp; reaction(inp) {= see(inp.value) =} }
      main reactor { b = new Base(); m = new More(); o = new More(n = 8); r = new[3] Read()
                     b.out, m.out, o.out -> r.inp }
    """
    assert sorted(run(text).seen, key=str) == [("more", 5, 5), ("more", 8, 8), 1, 5, 8]


def test_of_several_bases_the_first_ones_reactions_come_first():
    text = """
      reactor A { timer t; reaction(t) {= see("a") =} }
      reactor B { timer u; reaction(u) {= see("b") =} }
      reactor C extends A, B { reaction(t, u) {= see("c") =} }
      main reactor { c = new C() }
    """
    assert run(text).seen == ["a", "b", "c"]


def test_what_two_bases_both_extend_is_there_once():
    text = """
      reactor Inner { input inp; reaction(inp) {= see(inp.value) =} }
      reactor Root { output out; i = new Inner(); out2 = new Inner()
                     reaction(startup) -> i.inp {= i.inp.set("root") =} }
      reactor Left extends Root { l = new Inner()
                                  reaction(startup) -> l.inp {= l.inp.set("left") =} }
      reactor Right extends Root { r = new Inner(); input inp
                                   inp -> r.inp }
      reactor Both extends Left, Right, Root { }
      main reactor { b = new Both()
                     reaction(startup) -> b.inp {= b.inp.set("right") =} }
    """
    assert sorted(run(text).seen) == ["left", "right", "root"]


def test_methods_and_state_are_inherited():
    text = """
      reactor Base { state n = 3
                     method twice() {= return 2 * self.n =} }
      reactor Sub extends Base { reaction(startup) {= see(self.twice()) =} }
      main reactor extends Sub { }
    """
    assert run(text).seen == [6]


# ---------------------------------------------------------------- modes

SWITCH = """
reactor Counter {
  output out
  state n = 0
  reset state fresh = 0
  timer t(0, 10 ms)
  reaction(t) -> out {=
    self.n += 1
    self.fresh += 1
    see(lf.time.logical_elapsed() // MSEC(1), self.n, self.fresh)
  =}
}
main reactor {
  timer flip(15 ms, 20 ms)
  initial mode One {
    c = new Counter()
    reaction(flip) -> TRANSITION(Two) {= Two.set() =}
  }
  mode Two {
    reaction(flip) -> KIND(One) {= One.set() =}
  }
}
"""


def test_a_reset_transition_starts_timers_and_reset_state_again():
    text = SWITCH.replace("TRANSITION", "reset").replace("KIND", "reset")
    assert run(text, timeout=ms(50)).seen == [(0, 1, 1), (10, 2, 2), (35, 3, 1), (45, 4, 2)]


def test_a_history_transition_resumes_them():
    text = SWITCH.replace("TRANSITION", "reset").replace("KIND", "history")
    assert run(text, timeout=ms(60)).seen == [(0, 1, 1), (10, 2, 2), (40, 3, 3), (50, 4, 4)]


def test_startup_and_reset_reactions_of_modes():
    text = """
      main reactor {
        timer flip(0, 10 ms)
        initial mode A { reaction(startup) {= see("A startup") =}
                         reaction(reset) {= see("A reset") =}
                         reaction(flip) -> reset(B) {= B.set() =} }
        mode B { reaction(startup) {= see("B startup") =}
                 reaction(reset) {= see("B reset") =}
                 reaction(flip) -> reset(A) {= A.set() =} }
      }
    """
    assert run(text, timeout=ms(20)).seen == ["A startup", "B startup", "B reset", "A reset"]


def test_connections_in_a_mode_carry_values_only_while_it_is_active():
    text = (
        PORTS
        + """
      reactor Tick { output out; timer t(0, 10 ms); state n = 0
                     reaction(t) -> out {=
                       self.n += 1
                       out.set(self.n)
                     =} }
      main reactor {
        tick = new Tick(); g = new[2] Get()
        one = new Get(bank_index = 1); two = new Get(bank_index = 2)
        timer flip(15 ms, 20 ms)
        initial mode One { tick.out -> one.inp
                           reaction(flip) -> reset(Two) {= Two.set() =} }
        mode Two { tick.out -> two.inp
                   reaction(flip) -> reset(One) {= One.set() =} }
      }
    """
    )
    seen = run(text, timeout=ms(40)).seen
    assert seen == [(1, [(0, 1)]), (1, [(0, 2)]), (2, [(0, 3)]), (2, [(0, 4)]), (1, [(0, 5)])]


def test_two_modes_may_write_one_port():
    text = """
      reactor Modal { output out; input flip
                      initial mode A { reaction(startup) -> out {= out.set("A") =}
                                       reaction(flip) -> reset(B) {= B.set() =} }
                      mode B { reaction(reset) -> out {= out.set("B") =} } }
      main reactor { m = new Modal(); timer t(5 ms)
                     reaction(t) -> m.flip {= m.flip.set(1) =}
                     reaction(m.out) {= see(lf.time.logical_elapsed() // MSEC(1), lf.tag().microstep, m.out.value) =} }
    """
    assert run(text).seen == [(0, 0, "A"), (5, 1, "B")]


def test_an_inherited_mode_can_be_entered():
    text = """
      reactor Base { initial mode A { }
                     mode B { reaction(reset) {= see("B") =} } }
      reactor Sub extends Base { timer t
                                 reaction(t) -> reset(B) {= B.set() =} }
      main reactor { s = new Sub() }
    """
    assert run(text).seen == ["B"]


# ---------------------------------------------------------------- what cannot be


def test_a_loop_without_delay_names_the_lines():
    text = """
      reactor Echo { input inp; output out
        reaction(inp) -> out {= out.set(inp.value) =} }
      main reactor { a = new Echo(); b = new Echo()
        a.out -> b.inp
        b.out -> a.inp }
    """
    with pytest.raises(CausalityError) as caught:
        loaded(text).program()
    message = str(caught.value)
    assert "p.lf, line 2" in message
    assert "a.out -> b.inp" in message
    assert "after" in message


def test_a_delay_breaks_the_loop():
    text = """
      reactor Echo { input inp; output out
        reaction(inp) -> out {= out.set(inp.value) =} }
      main reactor { a = new Echo(); b = new Echo()
        a.out -> b.inp
        b.out -> a.inp after 0 }
    """
    assert run(text).seen == []


def test_two_writers_of_one_port_are_named_with_their_lines():
    text = PORTS + "main reactor {\n a = new One(); b = new One(); g = new Get()\n a.out -> g.inp\n b.out -> g.inp }"
    with pytest.raises(MultipleWritersError) as caught:
        loaded(text).program()
    assert "p.lf, line 17" in str(caught.value)
    assert "p.lf, line 18" in str(caught.value)


def test_one_initial_mode_and_no_fewer():
    with pytest.raises(LFSyntaxError, match="0 initial modes among A, B; it needs exactly one") as caught:
        loaded("main reactor {\n mode A { }\n mode B { } }")
    assert caught.value.line == 2


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


# ---------------------------------------------------------------- nothing at all


def test_widths_of_zero_are_nothing_to_read_and_nothing_to_write():
    text = """
      reactor R(n = 0) { input[n] i; output o; reaction(i) -> o {= see("never") =} }
      main reactor {
        none = new[0] R(); r = new R()
        reaction(none.o) {= see("never") =}
        reaction(startup) none.o -> none.i, r.i {= see(len(none), len(none_o), len(r.i), list(r_i)) =}
      }
    """
    assert run(text).seen == [(0, 0, 0, [])]
