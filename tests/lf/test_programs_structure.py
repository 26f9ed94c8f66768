"""Lingua Franca programs on the fake clock: banks, multiports, inheritance, and what cannot be assembled."""

import pytest
from lf_running import PORTS, happened, loaded, run

from reactornb.errors import CausalityError, LFSyntaxError, MultipleWritersError

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
