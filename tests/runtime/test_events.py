"""The event queue in the corners: events taken back, events that meet, spacing; as exact traces on the fake clock."""

import pytest

from reactornb import (
    Input,
    LogicalAction,
    Mode,
    Output,
    Program,
    Reactor,
    Tag,
    Timer,
    connect,
    ms,
    reaction,
    shutdown,
    startup,
)
from reactornb.testing import FakeClock, run_to_end


def test_a_tag_whose_events_were_taken_back_does_not_happen():
    class Sooner(Reactor):
        act = LogicalAction(0, ms(10), "update")

        @reaction(startup)
        def on_startup(self, act):
            act.schedule(ms(9), "late")
            act.schedule(ms(5), "early")

        @reaction(act)
        def on_act(self):
            pass

        @reaction(shutdown)
        def on_shutdown(self):
            pass

    trace = run_to_end(Sooner())
    assert trace.values("act") == [(Tag(ms(5)), "early")]
    assert trace.tags("on_shutdown") == [Tag(ms(5), 1)]


def test_a_microstep_whose_events_went_with_their_mode_does_not_come_back():
    class Modal(Reactor):
        kept = LogicalAction()
        one, two = Mode(initial=True), Mode()
        with one:
            tick = Timer(ms(1))
            gone = LogicalAction()

            @reaction(startup)
            def on_startup(self, gone):
                gone.schedule(ms(1))
                gone.schedule(ms(1))

            @reaction(tick)
            def on_tick(self, kept, two):
                kept.schedule(0)
                two.set()

        @reaction(kept)
        def on_kept(self):
            pass

        @reaction(shutdown)
        def on_shutdown(self):
            pass

    trace = run_to_end(Modal())
    assert trace.executions[-2:] == [(Tag(ms(1), 1), "modal.on_kept"), (Tag(ms(1), 2), "modal.on_shutdown")]


class Burst(Reactor):
    """Three values in three microsteps of one time."""

    out = Output()
    act = LogicalAction()

    @reaction(startup, act)
    def on_act(self, out, act):
        out.set(self.tag.microstep)
        if self.tag.microstep < 2:
            act.schedule(0)


class Sink(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value)


def test_values_that_a_delay_brings_to_one_time_follow_each_other_in_microsteps():
    class Top(Reactor):
        burst = Burst()
        sink = Sink()
        connect(burst.out, sink.inp, after=ms(5))

    assert run_to_end(Top()).values("sink.out") == [(Tag(ms(5)), 0), (Tag(ms(5), 1), 1), (Tag(ms(5), 2), 2)]


def test_a_delayed_connection_hears_nothing_while_its_mode_is_inactive():
    class Gate(Reactor):
        inp = Input()
        out = Output()
        switch = Timer(ms(2))
        closed, opened = Mode(initial=True), Mode()
        with closed:

            @reaction(switch)
            def to_opened(self, opened):
                opened.set()

        with opened:
            connect(inp, out, after=ms(3))

    class Every(Reactor):
        out = Output()
        tick = Timer(0, ms(2))

        @reaction(tick)
        def on_tick(self, out):
            out.set(self.time_ns)

    class Top(Reactor):
        every = Every()
        gate = Gate()
        sink = Sink()
        connect(every.out, gate.inp)
        connect(gate.out, sink.inp)

    assert run_to_end(Top(), until=ms(9)).values("sink.out") == [(Tag(ms(7)), ms(4)), (Tag(ms(9)), ms(6))]


SPACED = [
    # Of one time, two microsteps: the tags grow all the same.
    ("defer", 0, [ms(5), ms(5)], [(Tag(ms(5)), 0), (Tag(ms(5), 1), 1)]),
    # The third takes the second's place, on the first's tag: it follows the first.
    ("update", ms(2), [ms(5), ms(7), ms(5)], [(Tag(ms(5)), 0), (Tag(ms(5), 1), 2)]),
]


@pytest.mark.parametrize(("policy", "spacing", "delays", "expected"), SPACED)
def test_two_events_of_an_action_are_never_at_one_tag(policy, spacing, delays, expected):
    class Act(Reactor):
        act = LogicalAction(0, spacing, policy)

        @reaction(startup)
        def on_startup(self, act):
            for i, delay in enumerate(delays):
                act.schedule(delay, i)

        @reaction(act)
        def on_act(self):
            pass

    assert run_to_end(Act()).values("act") == expected


def test_an_event_queued_long_ago_for_the_next_microstep_can_still_be_updated():
    class Act(Reactor):
        act = LogicalAction(0, ms(2), "update")

        @reaction(startup)
        def on_startup(self, act):
            for delay, value in ((5, "a"), (7, "b"), (5, "c")):
                act.schedule(ms(delay), value)

        @reaction(act)
        def on_act(self, act):
            if act.value == "a":
                act.schedule(0, "d")

    assert run_to_end(Act()).values("act") == [(Tag(ms(5)), "a"), (Tag(ms(5), 1), "d")]


def test_a_reaction_in_a_hurry_still_waits_for_what_it_reads_without_being_triggered():
    class Send(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(7)

    class Hurry(Reactor):
        inp = Input()
        out = Output()

        @reaction(startup, deadline=ms(1))
        def on_startup(self, inp, out):
            out.set(inp.value)

    class Top(Reactor):
        send = Send()
        hurry = Hurry()
        connect(send.out, hurry.inp)

    assert run_to_end(Top()).values("hurry.out") == [(Tag(0), 7)]


def test_a_body_asks_about_a_deadline_that_has_no_handler():
    """It called itself again and again in the place of a handler."""
    clock, seen = FakeClock(), []

    class Slow(Reactor):
        @reaction(startup, deadline=ms(1))
        def on_startup(self):
            seen.append(self.check_deadline())
            clock.advance(ms(2))
            seen.append(self.check_deadline())

    Program(Slow).run(clock=clock)
    assert seen == [False, True]
