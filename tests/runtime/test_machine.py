"""The machine of one enclave as tables: what it is told, and what it says comes next. No thread, no clock, no reaction runs."""

import itertools

import pytest

from reactornb import LogicalAction, Mode, PhysicalAction, Reactor, Timer, ns, reaction, reset, shutdown, startup
from reactornb.graph import assemble
from reactornb.runtime.machine import OVER, Machine, Open, Wait
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.trace import Recorder
from reactornb.tags import forever


class NoContext:
    """What a schedule asks of a scheduler before the first tag, where nothing is run."""

    def post(self, action, delay=0, value=None):
        raise AssertionError("no thread posts here")


class Handled:
    """A machine with the schedule of a program, driven by hand."""

    def __init__(self, root, *, stop_tag=None, keepalive=False, gated=False):
        graph = assemble(root)
        self.schedule = Schedule(graph, [NoContext()], 0)
        self.machine = Machine(stop_tag=stop_tag, keepalive=keepalive)
        self.machine.adopt(graph, 0, self.schedule, Recorder(), elapsed_ns=lambda: 0, gated=gated)
        self.signals = {signal.name.rpartition(".")[2]: signal for signal in self.schedule.signals}

    def next(self, now_ns=forever):
        """What comes next, in short: (tag, names of what is present or ready), `Wait`, `OVER`; a tag that opens is closed at once."""
        step = self.machine.next(now_ns)
        if not isinstance(step, Open):
            return step
        for signal, value in step.events:
            signal.deliver(value)
        self.machine.close()
        triggered = [r for signal, _ in step.events if signal.name == "mode entry" for r in signal.triggers]
        named = [signal.name for signal, _ in step.events if signal.name != "mode entry"]
        named += [r.name for r in itertools.chain(triggered, *step.starts)]
        return step.tag, sorted(name.rpartition(".")[2] for name in named)

    def open(self, now_ns=forever):
        """Open the next tag and leave it open."""
        return self.machine.next(now_ns).tag

    def post(self, name, at_ns, delay=0, value=None, floor_ns=0):
        self.machine.accept([(self.signals[name], at_ns, delay, value)], floor_ns)

    def ask(self, name, delay=0, value=None):
        self.machine.serve([(self.signals[name], delay, value)])


class Empty(Reactor):
    pass


class Starts(Reactor):
    @reaction(startup)
    def on_startup(self): ...

    @reaction(shutdown)
    def on_shutdown(self): ...


class Ticks(Reactor):
    once = Timer(ns(5))
    first = Timer(0, ns(10))
    later = Timer(ns(10), ns(10))

    @reaction(once)
    def on_once(self): ...

    @reaction(first)
    def on_first(self): ...

    @reaction(later)
    def on_later(self): ...

    @reaction(shutdown)
    def on_shutdown(self): ...


class Acts(Reactor):
    near = LogicalAction()
    far = LogicalAction(ns(20))
    press = PhysicalAction(ns(2))
    spaced = PhysicalAction(0, ns(10))

    @reaction(startup, near, far)
    def on_logical(self, near, far): ...

    @reaction(press)
    def on_press(self): ...

    @reaction(spaced)
    def on_spaced(self): ...


class Tuned(Reactor):
    rate: int = 1
    tick = Timer(ns(10), ns(10))

    @reaction("rate")
    def on_rate(self): ...

    @reaction(tick)
    def on_tick(self): ...


class Modal(Reactor):
    one, two = Mode(initial=True), Mode()
    rate: int = 1
    with one:
        slow = Timer(ns(100), ns(100))
        act = LogicalAction(ns(50))

        @reaction(startup)
        def on_startup(self, act, two): ...

        @reaction(slow)
        def on_slow(self): ...

        @reaction(act)
        def on_act(self): ...

    with two:
        quick = Timer(ns(7))

        @reaction(reset)
        def on_reset(self): ...

        @reaction(quick)
        def on_quick(self, one): ...

        @reaction("rate")
        def on_rate(self): ...


# name: (program, stop tag, keepalive, (physical time, what comes next)...)
WAITING = {
    "a program without events ends one microstep after its first tag": (
        Starts, None, False, (0, ((0, 0), ["on_startup"])), (0, ((0, 1), ["on_shutdown"])), (0, OVER),
    ),
    "one that is kept alive waits for what is posted": (Empty, None, True, (0, ((0, 0), [])), (9, Wait(forever))),
    "one that is kept alive ends at its stop tag": (
        Starts, (5, 0), True, (0, ((0, 0), ["on_startup"])), (4, Wait(5)), (5, ((5, 0), ["on_shutdown"])), (5, OVER),
    ),
    "one that is not ends when nothing is left": (
        Starts, (5, 0), False, (0, ((0, 0), ["on_startup"])), (0, ((0, 1), ["on_shutdown"])), (0, OVER),
    ),
    "one whose stop tag is the first has both reactions at it": (
        Starts, (0, 0), False, (0, ((0, 0), ["on_shutdown", "on_startup"])), (0, OVER),
    ),
    "timers come at their times, together where these agree, and never before": (
        Ticks, (20, 0), False, (0, ((0, 0), ["first"])), (4, Wait(5)), (5, ((5, 0), ["once"])), (5, Wait(10)), (12, ((10, 0), ["first", "later"])),
        (12, Wait(20)), (20, ((20, 0), ["first", "later", "on_shutdown"])), (20, OVER),
    ),
    "a run that does not wait for physical time never waits": (
        Ticks, (11, 0), False, (forever, ((0, 0), ["first"])), (forever, ((5, 0), ["once"])), (forever, ((10, 0), ["first", "later"])),
        (forever, ((11, 0), ["on_shutdown"])), (forever, OVER),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "stop_tag", "keepalive", "steps"), [(*case[:3], case[3:]) for case in WAITING.values()], ids=WAITING
)
def test_what_comes_next_follows_from_physical_time_and_the_stop_tag(program, stop_tag, keepalive, steps):
    handled = Handled(program(), stop_tag=stop_tag, keepalive=keepalive)
    assert [handled.next(now) for now, _ in steps] == [step for _, step in steps]


# name: (action, posted at, delay, floor) -> the tag, where the last one was (30, 0)
POSTED = {
    "a physical action is due at the time of the call plus its least delay": (("press", 40, 0, 0), (42, 0)),
    "its own delay comes on top": (("press", 40, 5, 0), (47, 0)),
    "one that comes too late is due at the next microstep": (("press", 10, 0, 0), (30, 1)),
    "one is not due before the time that others were told": (("press", 40, 0, 70), (70, 0)),
    "a negative delay is none": (("press", 40, -9, 0), (42, 0)),
}


@pytest.mark.parametrize(("posted", "tag"), POSTED.values(), ids=POSTED)
def test_what_is_posted_gets_its_tag_from_the_time_of_the_call(posted, tag):
    handled = Handled(Acts(), keepalive=True)
    handled.next()
    handled.post("press", 28)
    assert handled.next() == ((30, 0), ["press"])
    name, at_ns, delay, floor_ns = posted
    handled.post(name, at_ns, delay, floor_ns=floor_ns)
    assert handled.next() == (tag, [name])


# name: (what is asked for in order) -> the tags that follow the first
ASKED = {
    "no delay is one microstep": ([("near", 0)], [((0, 1), ["near"])]),
    "what is asked for twice comes twice": ([("near", 0), ("near", 0)], [((0, 1), ["near"]), ((0, 2), ["near"])]),
    "a least delay counts": ([("far", 0)], [((20, 0), ["far"])]),
    "what is due at one time comes together": ([("near", 20), ("far", 0)], [((20, 0), ["far", "near"])]),
    "order is that of time": ([("near", 30), ("near", 10)], [((10, 0), ["near"]), ((30, 0), ["near"])]),
    "what comes after the stop tag does not": ([("near", 51), ("near", 50)], [((50, 0), ["near"])]),
}


@pytest.mark.parametrize(("asked", "tags"), ASKED.values(), ids=ASKED)
def test_what_reactions_schedule_comes_at_its_tag(asked, tags):
    handled = Handled(Acts(), stop_tag=(50, 0), keepalive=True)
    assert handled.open() == (0, 0)
    for name, delay in asked:
        handled.ask(name, delay)
    handled.machine.close()
    assert [handled.next() for _ in tags] == tags


def test_events_closer_than_their_spacing_are_put_off():
    handled = Handled(Acts(), keepalive=True)
    handled.next()
    for at_ns in (40, 41, 55):
        handled.post("spaced", at_ns)
    assert [handled.next()[0] for _ in range(3)] == [(40, 0), (50, 0), (60, 0)]
    assert handled.next() == Wait(forever)


def test_the_earliest_end_that_was_asked_for_holds():
    handled = Handled(Ticks())
    handled.next()
    for tag in ((40, 3), (7, 0), (9, 0)):
        handled.machine.stop_by(tag)
    assert [handled.next(), handled.next(), handled.next()] == [((5, 0), ["once"]), ((7, 0), ["on_shutdown"]), OVER]


def test_a_change_of_parameters_opens_a_tag_at_the_time_of_the_call():
    handled = Handled(Tuned())
    handled.next()
    handled.machine.accept([(None, 4, 0, [(0, "rate", 2)]), (None, 6, 0, [(0, "rate", 3)])])
    (instance,) = handled.schedule.instances
    assert handled.next() == ((4, 0), ["rate", "rate"])
    assert instance.rate == 3
    assert handled.next() == ((10, 0), ["tick"])
    handled.machine.accept([(None, 8, 0, [(0, "rate", 4)])])
    assert handled.next() == ((10, 1), ["rate"])


def test_where_there_are_other_enclaves_a_change_waits_for_an_event():
    handled = Handled(Tuned(), gated=True)
    handled.next()
    handled.machine.accept([(None, 4, 0, [(0, "rate", 2)])])
    assert handled.next() == ((10, 0), ["rate", "tick"])


def test_a_change_that_is_replayed_has_the_tag_that_it_had():
    handled = Handled(Tuned())
    handled.machine.change_at((0, 0), [(0, "rate", 5)])
    handled.machine.change_at((15, 2), [(0, "rate", 6)])
    assert [handled.next() for _ in range(3)] == [((0, 0), ["rate"]), ((10, 0), ["tick"]), ((15, 2), ["rate"])]


def test_events_of_a_mode_wait_while_it_is_left_and_those_of_the_next_begin():
    handled = Handled(Modal())
    modes = {m.name.rpartition(".")[2]: m.index for m in handled.schedule.graph.modes}
    assert handled.open() == (0, 0)
    handled.ask("act")
    handled.machine.serve([(None, modes["two"], False)])
    handled.machine.close()
    assert handled.next() == ((0, 1), ["on_reset"])
    assert handled.open() == (7, 0)
    handled.machine.serve([(None, modes["one"], True)])
    handled.machine.close()
    # What `one` had to come is as far away as it was when it was left, 50 and 100 ns.
    assert [handled.next() for _ in range(3)] == [((57, 0), ["act"]), ((107, 0), ["slow"]), ((207, 0), ["slow"])]


def test_a_parameter_of_an_inactive_mode_is_reacted_to_when_that_is_entered():
    handled = Handled(Modal())
    modes = {m.name.rpartition(".")[2]: m.index for m in handled.schedule.graph.modes}
    handled.next()
    handled.machine.accept([(None, 3, 0, [(0, "rate", 2)])])
    assert handled.open() == (3, 0)
    handled.machine.serve([(None, modes["two"], False)])
    handled.machine.close()
    assert handled.next() == ((3, 1), ["on_rate", "on_reset"])


def test_what_is_over_stays_over():
    handled = Handled(Acts(), stop_tag=(0, 0))
    handled.next()
    handled.post("press", 40)
    assert handled.next() == OVER
