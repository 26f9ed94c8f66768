"""Modal reactors in the corners: entry, local time, shutdown, connections; as exact traces on the fake clock."""

import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Mode,
    Output,
    Reactor,
    Tag,
    Timer,
    assemble,
    connect,
    ms,
    ns,
    reaction,
    reset,
    shutdown,
    startup,
)
from reactornb.errors import MultipleWritersError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy
from reactornb.testing import run_to_end


def test_entering_a_mode_leaves_no_mark_in_values_and_fingerprint():
    class Modal(Reactor):
        act = LogicalAction()
        one, two = Mode(initial=True), Mode()
        with one:
            tick = Timer(0)

            @reaction(tick)
            def leave(self, act, two):
                act.schedule(0, 1)
                two.set()

        with two:

            @reaction(reset)
            def on_reset(self):
                pass

        @reaction(act)
        def on_act(self):
            pass

    trace = run_to_end(Modal())
    assert trace.executions[1:] == [(Tag(0, 1), "modal.on_reset"), (Tag(0, 1), "modal.on_act")]
    assert trace.writes == [(Tag(0), "modal.tick", None), (Tag(0, 1), "modal.act", 1)]


def test_a_shutdown_reaction_in_a_mode_runs_once_when_something_else_triggers_it_too():
    class Modal(Reactor):
        one = Mode(initial=True)
        with one:
            tick = Timer(ms(1))

            @reaction(tick, shutdown)
            def on_end(self):
                pass

    assert run_to_end(Modal(), until=ms(1)).tags("on_end") == [Tag(ms(1))]
    assert run_to_end(Modal(), until=ms(2)).tags("on_end") == [Tag(ms(1)), Tag(ms(1), 1)]


def away(history, body=lambda self, act: None, spacing=ms(5)):
    """A reactor that schedules in mode one at 1 ms, is in mode two from 2 ms to 10 ms, and calls `body` in mode one at 11 ms."""

    class Modal(Reactor):
        out = Timer(ms(2))
        back = Timer(ms(10))
        late = Timer(ms(11))
        one, two = Mode(initial=True), Mode()
        with one:
            tick = Timer(ms(1))
            act = LogicalAction(0, spacing)
            first = LogicalAction()
            second = LogicalAction()

            @reaction(tick)
            def on_tick(self, act, first, second):
                act.schedule(ms(3), 1)
                for action in (first, second, second):
                    action.schedule(ms(2))

            @reaction(out)
            def on_out(self, two):
                two.set()

            @reaction(late)
            def on_late(self, act):
                body(self, act)

            @reaction(act, first, second)
            def on_events(self):
                pass

        with two:

            @reaction(back)
            def on_back(self, one):
                one.set(history=history)

    return run_to_end(Modal(), until=ms(30))


def test_events_come_back_as_far_apart_as_they_were():
    trace = away(True)
    assert trace.values("first") == [(Tag(ms(11)), None)]
    assert trace.values("second") == [(Tag(ms(11)), None), (Tag(ms(11), 1), None)]


def test_an_action_minds_its_spacing_in_the_local_time_of_its_mode():
    # Scheduled for 4 ms, which is 12 ms after eight milliseconds away; the next comes 5 ms later.
    trace = away(True, lambda self, act: act.schedule(0, 2))
    assert trace.values("act") == [(Tag(ms(12)), 1), (Tag(ms(17)), 2)]


def test_a_reset_mode_has_forgotten_what_it_scheduled():
    # The event of 4 ms is gone, and with it the spacing that would put off the next one to 24 ms.
    assert away(False, spacing=ms(20)).values("act") == [(Tag(ms(14)), 1)]


class Forward(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value)


def test_a_connection_in_a_mode_has_no_place_in_the_order_of_the_reactions_around_it():
    class Modal(Reactor):
        inp = Input()
        one = Mode(initial=True)
        with one:
            forward = Forward()
            connect(inp, forward.inp)

            @reaction(forward.out)
            def on_out(self, forward):
                pass

    class Top(Reactor):
        modal = Modal()

        @reaction(startup, effects=modal.inp)
        def on_startup(self, modal):
            modal.inp.set(1)

    trace = run_to_end(Top())
    assert trace.reactions() == ["top.on_startup", "top.modal.inp->inp", "top.modal.forward.on_inp", "top.modal.on_out"]


class Parting(Reactor):
    """Says its word at the end."""

    word: str
    out = Output()

    @reaction(shutdown)
    def on_shutdown(self, out):
        out.set(self.word)


class Partings(Reactor):
    out = Output()
    switch = Timer(ns(1))
    one, two = Mode(initial=True), Mode()
    with one:
        first = Parting(word="first")
        connect(first.out, out)

        @reaction(switch)
        def to_two(self, two):
            two.set()

    with two:
        second = Parting(word="second")
        connect(second.out, out)


@pytest.mark.parametrize("workers", [1, 2])
def test_shutdown_reactions_of_two_modes_that_write_one_port_have_an_order(workers, monkeypatch):
    class Top(Reactor):
        partings = Bank(Partings, 3)
        sinks = Bank(Forward, 3)
        connect(partings.out, sinks.inp)

    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
    trace = run_to_end(Top(), workers=workers)
    assert [v for _, v in trace.values("first.out")] == ["first"] * 3
    assert [v for _, v in trace.values("sinks[1].out")] == ["second"]
    assert len({level_of(Top(), name) for name in ("partings[0].first", "partings[0].second")}) == 2


def level_of(root, name):
    return assemble(root).reaction(f"top.{name}.on_shutdown").level


def test_a_mode_around_a_modal_reactor_does_not_exclude_that_reactors_own_modes():
    class Inner(Reactor):
        inp = Input()
        out = Output()
        own = Mode(initial=True)

        @reaction(startup)
        def on_startup(self, out):
            out.set(1)

        with own:
            connect(inp, out)

    class Outer(Reactor):
        around = Mode(initial=True)
        with around:
            inner = Inner()

    with pytest.raises(MultipleWritersError, match=r"outer\.inner\.out has two writers"):
        assemble(Outer())


def test_values_that_two_modes_send_into_one_delayed_connection_both_arrive():
    class Say(Reactor):
        word: str
        tick = Timer(0)
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            out.set(self.word)

    class Modal(Reactor):
        out = Output()
        more = Output()
        one, two = Mode(initial=True), Mode()
        with one:
            tick = Timer(0)
            first = Say(word="first")
            connect(first.out, out)
            connect(first.out, more)

            @reaction(tick)
            def to_two(self, two):
                two.set()

        with two:
            second = Say(word="second")
            connect(second.out, out)

    class Top(Reactor):
        modal = Modal()
        sink = Forward()
        another = Forward()
        connect(modal.out, sink.inp, after=ms(3))
        connect(modal.more, another.inp, after=ms(3))

    assert run_to_end(Top()).values("sink.out") == [(Tag(ms(3)), "first"), (Tag(ms(3), 1), "second")]


class Beat(Reactor):
    out = Output()
    tick = Timer(ns(1))

    @reaction(tick)
    def on_tick(self, out):
        out.set(7)


@pytest.mark.parametrize("after", [ns(1), ns(2)])
@pytest.mark.parametrize("read", [False, True])
def test_a_writer_sees_that_a_connection_of_another_mode_wrote_its_port(after, read):
    """Whether anybody reads the port makes no difference."""
    seen = []

    class Modal(Reactor):
        out = Output()
        beat = Beat()
        one, two = Mode(), Mode(initial=True)
        with one:
            connect(beat.out, out, after=after)

        with two:

            @reaction(startup)
            def to_one(self, one):
                one.set()

            @reaction(shutdown)
            def on_shutdown(self, out):
                seen.append((self.tag.time_ns, out.is_present, out.value))

    class Top(Reactor):
        modal = Modal()
        if read:
            sink = Forward()
            connect(modal.out, sink.inp)

    at = 1 + after
    run_to_end(Top(), until=ns(at))
    assert seen == [(at, True, 7)]
