"""Lingua Franca programs on the fake clock: modes, their transitions, and what happens in them."""

from lf_running import PORTS, run

from reactornb import ms

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
    assert run(text, until=ms(50)).seen == [(0, 1, 1), (10, 2, 2), (35, 3, 1), (45, 4, 2)]


def test_a_history_transition_resumes_them():
    text = SWITCH.replace("TRANSITION", "reset").replace("KIND", "history")
    assert run(text, until=ms(60)).seen == [(0, 1, 1), (10, 2, 2), (40, 3, 3), (50, 4, 4)]


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
    assert run(text, until=ms(20)).seen == ["A startup", "B startup", "B reset", "A reset"]


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
    seen = run(text, until=ms(40)).seen
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
