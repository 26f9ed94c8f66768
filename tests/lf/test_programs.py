"""Lingua Franca programs on the fake clock, as exact traces: parameters, state, time, actions, connections."""

import pytest
from lf_running import happened, loaded, run

from reactornb import Tag, ms
from reactornb.testing import FakeClock

SOURCE = """
reactor Source(offset = 0, period = 10 ms, step = 1) {
  output out
  state n = 0
  timer t(offset, period)
  reaction(t) -> out {=
    self.n += self.step
    out.set(self.n)
  =}
}
reactor Sink {
  input inp
  reaction(inp) {= see(lf.time.logical_elapsed() // 1000000, lf.tag().microstep, inp.value) =}
}
"""


# ---------------------------------------------------------------- parameters and state


def test_a_container_overrides_parameters_and_passes_its_own_down():
    text = """
      reactor Leaf(a = 1, b = 2) { reaction(startup) {= see(self.a, self.b) =} }
      reactor Middle(b = 5) { plain = new Leaf()
                              given = new Leaf(a = 7, b = b) }
      main reactor { default = new Middle()
                     other = new Middle(b = 6) }
    """
    assert run(text).seen == [(1, 2), (7, 5), (1, 2), (7, 6)]


def test_a_parameter_refers_to_those_before_it_and_to_bank_index():
    text = """
      reactor Leaf(bank_index = 0, step = {= 10 + bank_index =}, twice = {= 2 * step =}) {
        reaction(startup) {= see(self.bank_index, self.step, self.twice) =}
      }
      main reactor(base = 100) {
        leaf = new[2] Leaf()
        given = new[2] Leaf(step = {= self.base + bank_index =})
      }
    """
    assert run(text).seen == [(0, 10, 20), (1, 11, 22), (0, 100, 200), (1, 101, 202)]


def test_a_bank_gives_its_members_an_index_that_they_declare_without_a_default():
    text = """
      reactor Leaf(bank_index) { reaction(startup) {= see(self.bank_index) =} }
      main reactor { leaf = new[2] Leaf() }
    """
    assert run(text).seen == [0, 1]


@pytest.mark.parametrize(("attribute", "enclaves"), [("", 1), ("@enclave", 2), ("@enclave(each = true)", 4)])
def test_an_instance_can_be_an_enclave(attribute, enclaves):
    text = f"""
      reactor Leaf(bank_index = 0) {{
        input x
        output y
        reaction(x) -> y {{= y.set(x.value + self.bank_index) =}}
      }}
      reactor All {{
        input[3] x
        reaction(x) {{= see([port.value for port in x]) =}}
      }}
      main reactor {{
        {attribute}
        leaf = new[3] Leaf()
        all = new All()
        leaf.y -> all.x after 1 msec
        reaction(startup) -> leaf.x {{=
          for member in leaf:
            member.x.set(5)
        =}}
      }}
    """
    found = loaded(text)
    assert len(found.program().graph.enclaves) == enclaves
    assert run(text).seen == [[5, 6, 7]]


def test_the_main_reactor_takes_parameters():
    text = "main reactor(n = 3) { reaction(startup) {= see(self.n) =} }"
    assert run(text).seen == [3]
    assert happened(loaded(text), parameters={"n": 4}).seen == [4]


def test_state_begins_as_a_number_a_time_a_list_a_parameter_or_target_code():
    text = """
      preamble {= import math =}
      main reactor(p = 8) {
        state n = 1
        state word = "two"
        state later = 3 ms
        state some = [1, 2.5, "x"]
        state couple(4, 5)
        state one(6)
        state given = p
        state worked = {= math.floor(9.5) + self.p =}
        state nothing
        state truth = True
        reaction(startup) {=
          see(self.n, self.word, self.later, self.some, self.couple, self.one)
          see(self.given, self.worked, self.nothing, self.truth)
        =}
      }
    """
    assert run(text).seen == [(1, "two", 3_000_000, [1, 2.5, "x"], (4, 5), 6), (8, 17, None, True)]


def test_list_state_belongs_to_one_instance_and_one_run():
    program = loaded("""
      reactor Holder { state items = []
                       reaction(startup) {=
                         self.items.append(self.bank_index)
                         see(self.items)
                       =} }
      main reactor { holders = new[2] Holder() }
    """)
    assert happened(program).seen == [[0], [1]]
    assert happened(program).seen == [[0], [1]]


def test_none_true_and_false_are_pythons():
    text = """
      main reactor(p = None) { state a = None
                               state b = false
                               reaction(startup) {= see(self.p, self.a, self.b) =} }
    """
    assert run(text).seen == [(None, None, False)]


# ---------------------------------------------------------------- time


def test_timers_take_offset_and_period_from_parameters():
    text = SOURCE + "main reactor { s = new Source(offset = 5 ms, period = 20 ms) }"
    assert run(text, until=ms(50)).sent == ["5 s.out=1", "25 s.out=2", "45 s.out=3"]


def test_a_timer_without_arguments_fires_once():
    assert run("main reactor { timer t  reaction(t) {= =} }").ran == ["0 reaction_1"]


def test_time_is_counted_from_the_epoch_and_from_the_start():
    text = """
      main reactor {
        timer t(10 ms)
        reaction(t) {=
          see(lf.time.logical() - lf.time.start(), lf.time.logical_elapsed())
          see(lf.time.physical() - lf.time.start() == lf.time.physical_elapsed())
          see(lf.tag().time == lf.time.logical(), lf.tag().microstep)
        =}
      }
    """
    assert run(text).seen == [(MSEC10, MSEC10), True, (True, 0)]


MSEC10 = 10_000_000


def test_what_is_due_for_ever_never_comes():
    text = (
        SOURCE
        + """
      main reactor {
        timer t(forever, 1 ms)
        timer u(0, forever)
        logical action a(forever)
        s = new Source(period = forever); k = new Sink()
        s.out -> k.inp after forever
        reaction(t, a) {= see("never") =}
        reaction(u) -> a {= a.schedule(0); see("once") =}
      }
    """
    )
    tale = run(text)
    assert tale.seen == ["once"]
    assert tale.run.tag == Tag(0, 1)


def test_tags_are_compared():
    text = """
      main reactor {
        logical action a
        state first
        reaction(startup) -> a {= self.first = lf.tag(); a.schedule(0) =}
        reaction(a) {=
          now = lf.tag()
          see(lf.tag_compare(self.first, now), lf.tag_compare(now, self.first), lf.tag_compare(now, now))
          see(now == Tag(lf.time.start(), 1), now > self.first)
        =}
      }
    """
    assert run(text).seen == [(-1, 1, 0), (True, True)]


def test_units_of_time_are_functions_in_target_code():
    text = "main reactor { reaction(startup) {= see(MSEC(1), SEC(2), MINUTES(1), USECS(3), NSEC(4), FOREVER > WEEKS(9)) =} }"
    assert run(text).seen == [(10**6, 2 * 10**9, 60 * 10**9, 3000, 4, True)]


# ---------------------------------------------------------------- actions


def test_a_logical_action_adds_its_delay_and_carries_a_value():
    text = """
      main reactor(d = 5 ms) {
        logical action a(d)
        reaction(startup) -> a {=
          a.schedule(0, "soon")
          a.schedule(MSEC(10), "later")
        =}
        reaction(a) {= see(lf.time.logical_elapsed() // MSEC(1), a.is_present, a.value) =}
      }
    """
    assert run(text).seen == [(5, True, "soon"), (15, True, "later")]


def test_an_action_without_delay_is_one_microstep_later():
    text = """
      main reactor {
        logical action a
        state n = 0
        reaction(startup, a) -> a {=
          self.n += 1
          if self.n < 3: a.schedule(0)
        =}
      }
    """
    assert run(text).ran == ["0 reaction_1", "0+1 reaction_1", "0+2 reaction_1"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("defer", [(0, 1), (10, 2), (20, 3)]),
        ("drop", [(0, 1)]),
        ("replace", [(0, 1), (10, 3)]),
    ],
)
def test_spacing_and_policy(policy, expected):
    text = """
      main reactor {
        logical action a(0, 10 ms, "POLICY")
        timer t(0, 2 ms)
        state n = 0
        reaction(t) -> a {=
          self.n += 1
          if self.n <= 3: a.schedule(0, self.n)
        =}
        reaction(a) {= see(lf.time.logical_elapsed() // MSEC(1), a.value) =}
      }
    """
    assert run(text.replace("POLICY", policy), until=ms(25)).seen == expected


def test_a_physical_action_is_tagged_by_the_clock():
    clock = FakeClock()
    text = """
      main reactor {
        physical action p(1 ms)
        timer t(10 ms)
        reaction(t) -> p {= p.schedule(0, 7) =}
        reaction(p) {= see(p.value, lf.time.logical_elapsed() >= MSEC(11)); request_stop() =}
      }
    """
    assert run(text, clock=clock).seen == [(7, True)]


def test_a_thread_schedules_a_physical_action():
    text = """
      preamble {= import threading =}
      main reactor {
        physical action p
        reaction(startup) -> p {=
          self.thread = threading.Thread(target=lambda: p.schedule(0, "from a thread"))
          self.thread.start()
        =}
        reaction(p) {= see(p.value); lf.request_stop() =}
        reaction(shutdown) {= self.thread.join() =}
      }
    """
    assert run(text).seen == ["from a thread"]


# ---------------------------------------------------------------- connections


def test_a_connection_delays_by_a_parameter():
    text = (
        SOURCE
        + """
      main reactor(d = 3 ms) { s = new Source(); k = new Sink()
                               s.out -> k.inp after d }
    """
    )
    assert run(text, until=ms(15)).seen == [(3, 0, 1), (13, 0, 2)]


def test_after_zero_is_one_microstep():
    text = SOURCE + "main reactor { s = new Source(); k = new Sink(); s.out -> k.inp after 0 }"
    assert run(text, until=ms(15)).seen == [(0, 1, 1), (10, 1, 2)]


def test_a_delay_may_be_target_code_or_come_from_the_container():
    text = (
        SOURCE
        + """
      reactor Delayed(d = 1 ms) { output out
                                  s = new Source()
                                  s.out -> out after {= 2 * self.d =} }
      main reactor { a = new Delayed(d = 4 ms); k = new Sink()
                     a.out -> k.inp }
    """
    )
    assert run(text, until=ms(9)).seen == [(8, 0, 1)]


def test_a_physical_connection_delivers_when_the_clock_says():
    text = SOURCE + "main reactor { s = new Source(period = 0); k = new Sink(); s.out ~> k.inp }"
    ((_, _, value),) = run(text).seen
    assert value == 1
    tale = run(text)
    assert not tale.ran[-1].startswith("0 ")


def test_a_hierarchy_passes_values_at_one_tag():
    text = (
        SOURCE
        + """
      reactor Add { input inp; output out
                    reaction(inp) -> out {= out.set(inp.value + 100) =} }
      reactor Wrap { input inp; output out
                     a = new Add(); b = new Add()
                     inp -> a.inp
                     a.out -> b.inp
                     b.out -> out }
      main reactor { s = new Source(); w = new Wrap(); k = new Sink()
                     s.out -> w.inp
                     w.out -> k.inp }
    """
    )
    assert run(text, until=ms(10)).seen == [(0, 0, 201), (10, 0, 202)]


def test_a_container_reads_and_writes_ports_of_what_it_contains():
    text = """
      reactor Echo { input inp; output out
                     reaction(inp) -> out {= out.set(inp.value * 2) =} }
      main reactor {
        e = new Echo()
        reaction(startup) -> e.inp {= e.inp.set(21) =}
        reaction(e.out) {= see(e.out.value, e.out.is_present, e_out.value) =}
      }
    """
    assert run(text).seen == [(42, True, 42)]


def test_a_source_is_read_without_triggering():
    text = """
      reactor R { input a; input b
                  reaction(a) b {= see(a.value, b.is_present, b.value) =} }
      main reactor {
        r = new R()
        timer x(0, 10 ms)
        timer y(10 ms, 5 ms)
        reaction(x) -> r.a {= r.a.set("a") =}
        reaction(y) -> r.b {= r.b.set("b") =}
      }
    """
    assert run(text, until=ms(15)).seen == [("a", False, None), ("a", True, "b")]


def test_a_reaction_without_triggers_takes_every_input():
    text = """
      reactor R { input a; input b
                  reaction() {= see(a.is_present, b.is_present) =} }
      main reactor { r = new R()
                     reaction(startup) -> r.b {= r.b.set(1) =} }
    """
    assert run(text).seen == [(False, True)]


def test_a_mutable_input_is_a_copy():
    text = """
      reactor Change { mutable input inp; output out
                       reaction(inp) -> out {= inp.value.append("changed"); out.set(inp.value) =} }
      reactor Look { input inp; reaction(inp) {= see(list(inp.value)) =} }
      main reactor {
        c = new Change(); l = new Look(); m = new Look()
        reaction(startup) -> c.inp, l.inp {=
          value = ["made"]
          c.inp.set(value)
          l.inp.set(value)
        =}
        c.out -> m.inp
      }
    """
    assert sorted(run(text).seen) == [["made"], ["made", "changed"]]
