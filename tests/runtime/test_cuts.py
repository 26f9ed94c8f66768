"""A run that is cut between two tags, and runs that start from there: what belongs to a cut, what startup does again, how a run is held."""

import sys
import threading
from dataclasses import replace

import numpy
import pytest
from cut_keeper import Copies, kept, through_codec

from reactornb import (
    Input,
    LogicalAction,
    Mode,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Timer,
    Watchdog,
    connect,
    enclave,
    hours,
    ms,
    reaction,
    sec,
    shutdown,
    startup,
    us,
)
from reactornb.errors import ReactionError, RunError
from reactornb.runtime.restoring import Shadow
from reactornb.testing import FakeClock


class Counts(Reactor):
    """Adds up, and sends the sum."""

    out = Output[int]()
    total = State(0)
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self, out):
        self.total += 1 + self.time_ns % 7
        out.set(self.total)


class Hears(Reactor):
    """Hears of it later, and thinks about it even later."""

    inp = Input[int]()
    late = LogicalAction(us(300))
    heard = State(0)

    @reaction(inp)
    def on_inp(self, inp, late):
        self.heard += inp.value
        late.schedule(value=inp.value)

    @reaction(late)
    def on_late(self, late):
        self.heard = 3 * self.heard + late.value & 0xFFFF
        self.log(heard=self.heard)


class Pair(Reactor):
    apart: bool = False

    def compose(self):
        self.counts = enclave(Counts()) if self.apart else Counts()
        self.hears = enclave(Hears()) if self.apart else Hears()
        connect(self.counts.out, self.hears.inp, after=us(2500))


def begin(root, keeper, cut=None, **options):
    options = {"workers": 1, "clock": FakeClock(), "placement": "none", "until": ms(20), **options}
    with kept(keeper, cut):
        return Program(root).start(fingerprint=True, trace=True, **options)


def finished(run):
    """Its fingerprint, what ran, and what was written."""
    try:
        result = run.result(20.0)
    finally:
        run.stop()
    return result.fingerprint, result.trace.executions, result.trace.writes


def whole(root, **options):
    return finished(begin(root, Copies(), **options))


def cut_at(root, *tags, **options):
    """The cuts of a run that is held after each of these tags, and what the run leaves."""
    keeper = Copies(tags=[(int(tag), 0) for tag in tags])
    run = begin(root, keeper, **options)
    keeper.cut_at_tags(run)
    return keeper.cuts, finished(run)


def resumed(root, cut, **options):
    return finished(begin(root, Copies(), through_codec(cut), **options))


def rest(left, *tags):
    """What a run leaves after a tag, or after one for each of the enclaves of `Pair`."""
    fingerprint, *rows = left
    of = (lambda _: tags[0]) if len(tags) == 1 else (lambda name: tags[1 + name.startswith("pair.hears")])
    return fingerprint, *([row for row in some if row[0] > of(row[1])] for some in rows)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("apart", [False, True])
def test_what_follows_a_cut_is_what_follows_in_the_whole_run(apart, workers):
    expected = whole(Pair(apart=apart), workers=workers)
    cuts, left = cut_at(Pair(apart=apart), ms(3), us(5800), ms(12), workers=workers)
    assert left == expected
    assert [len(cut.enclaves) for cut in cuts] == [1 + 2 * apart] * 3
    for cut in cuts:
        tags = [part.tag for part in cut.enclaves]
        assert resumed(Pair(apart=apart), cut, workers=workers) == rest(expected, *tags)


def test_a_resumed_run_may_be_cut_and_resumed_again():
    expected = whole(Pair())
    (first,), _ = cut_at(Pair(), ms(3))
    keeper = Copies(tags=[(int(ms(9)), 0)])
    run = begin(Pair(), keeper, first)
    keeper.cut_at_tags(run)
    finished(run)
    (second,) = keeper.cuts
    assert (first.tag, second.tag) == ((int(ms(3)), 0), (int(ms(9)), 0))
    assert second.enclaves[0].tags_done > first.enclaves[0].tags_done
    assert resumed(Pair(), second) == rest(expected, second.tag)


def test_a_run_is_held_exactly_before_the_first_later_tag():
    for apart in (False, True):
        keeper = Copies(tags=[(int(ms(3)), 0)])
        run = begin(Pair(apart=apart), keeper)
        assert keeper.held.wait(20.0)
        assert (run.state, tuple(run.tag)) == ("paused", (int(ms(3)), 0))
        done = keeper.engine.run_to((int(us(3799)), 0))  # of which 2.5 to 3.5 ms and 2.8 ms are over
        assert done.wait(20.0)
        assert (run.state, tuple(run.tag)) == ("paused", (int(us(3500)), 0))
        over = keeper.engine.run_to((int(sec(1)), 0))
        assert over.wait(20.0)
        assert finished(run) == whole(Pair(apart=apart))


def test_a_run_that_is_over_is_held_nowhere():
    keeper = Copies()
    run = begin(Pair(), keeper)
    finished(run)
    assert keeper.engine.run_to((0, 0)).wait(20.0)
    assert run.state == "finished"


@pytest.mark.parametrize("apart", [False, True])
def test_a_paused_run_gives_a_cut_at_once_and_stays_where_it_is(apart):
    keeper = Copies(tags=[(int(ms(3)), 0)])
    run = begin(Pair(apart=apart), keeper)
    assert keeper.held.wait(20.0)
    run.pause()
    for count in (1, 2):
        keeper.engine.request_cut()
        keeper.wait(count)
    assert (run.state, run.tag) == ("paused", (int(ms(3)), 0))
    assert keeper.cuts[0] == keeper.cuts[1] or keeper.cuts[0].elapsed_ns <= keeper.cuts[1].elapsed_ns
    run.resume()
    assert finished(run) == whole(Pair(apart=apart))


class Waits(Reactor):
    """Hears nothing, for as long as it likes."""

    act = PhysicalAction()
    began = threading.Event()

    @reaction(startup)
    def on_startup(self):
        self.began.set()

    @reaction(act)
    def on_act(self):
        raise AssertionError("nobody posts")


class Idle(Reactor):
    def compose(self):
        self.one, self.two = enclave(Waits()), Waits()


@pytest.mark.parametrize("root", [Waits, Idle])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_waits_gives_a_cut_at_once_and_when_it_is_stopped(root, workers):
    keeper = Copies()
    run = begin(root(), keeper, clock=None, until=None, fast=False, workers=workers)
    assert Waits.began.wait(20.0)
    for count in (1, 2):
        keeper.engine.request_cut()
        keeper.wait(count)
    run.stop()
    assert [cut.before_stop for cut in keeper.cuts] == [False, False, True]
    assert {part.is_over for cut in keeper.cuts for part in cut.enclaves} == {False}


@pytest.mark.parametrize("apart", [False, True])
def test_a_run_that_is_stopped_goes_on_as_if_it_never_had_been(apart):
    expected = whole(Pair(apart=apart))
    keeper = Copies(tags=[(int(ms(7)), 0)])
    run = begin(Pair(apart=apart), keeper)
    assert keeper.held.wait(20.0)
    run.stop()
    (cut,) = keeper.cuts
    assert (cut.before_stop, cut.stop_tag, run.state) == (True, None, "stopped")
    assert resumed(Pair(apart=apart), cut) == rest(expected, *(part.tag for part in cut.enclaves))


def test_a_run_may_be_cut_before_its_first_tag():
    for apart in (False, True):
        keeper = Copies(tags=[(-1, 0)])
        run = begin(Pair(apart=apart), keeper)
        keeper.cut_at_tags(run)
        expected = finished(run)
        (cut,) = keeper.cuts
        assert cut.tag == (0, -1)
        assert resumed(Pair(apart=apart), cut) == expected


def test_a_run_that_ends_by_itself_is_not_cut():
    for apart in (False, True):
        keeper = Copies()
        finished(begin(Pair(apart=apart), keeper))
        assert keeper.cuts == []


def test_a_run_that_nobody_keeps_cannot_be_cut():
    run = Program(Pair()).start(until=ms(1), workers=1)
    run.wait()
    with pytest.raises(RunError, match="nobody keeps"):
        run._engine.request_cut()


# -- startup ------------------------------------------------------------------------------------------------------------


class Starts(Reactor):
    """Does all that a startup reaction may do."""

    out = Output[int]()
    soon = LogicalAction(ms(30))
    outside = PhysicalAction()
    dog = Watchdog(hours(1))
    made = State(0)
    ends: bool = False
    tick = Timer(ms(1), ms(1))
    heard = State(0)

    @reaction(startup)
    def on_startup(self, out, soon, outside, dog):
        self.made += 1
        self.tool = [self.made]
        out.set(7)
        soon.schedule(value="never twice")
        outside.schedule(value="never twice")
        dog.start()
        self.log(started=1)
        sys.stdout.write("started\n")
        if self.ends and self.time_ns == 0 and type(self).again:
            self.request_stop()

    again = False

    @reaction(tick)
    def on_tick(self, dog):
        self.made += 10
        dog.stop()

    @reaction(outside, soon)
    def on_outside(self):
        self.heard += 1

    @reaction(dog)
    def on_dog(self):
        self.heard += 100


class Reads(Reactor):
    inp = Input[int]()
    seen = State(None)

    @reaction(inp)
    def on_inp(self, inp):
        self.seen = inp.value


class Started(Reactor):
    def compose(self):
        self.starts, self.reads = Starts(ends=True), Reads()
        connect(self.starts.out, self.reads.inp)


def test_startup_runs_again_and_nothing_of_what_it_asks_for_happens_again(monkeypatch):
    options = {"until": ms(40), "fast": True}
    expected = whole(Started(), **options)
    cuts, _ = cut_at(Started(), ms(3), ms(33), **options)
    monkeypatch.setattr(Starts, "again", True)  # also asks for the end, which it did not do before
    for cut in cuts:
        keeper = Copies(tags=[cut.tag])
        run = begin(Started(), keeper, through_codec(cut), **options)
        keeper.cut_at_tags(run)
        assert finished(run) == rest(expected, cut.tag)
        (part,) = keeper.cuts[0].enclaves
        assert replace(part, logged=[0, 1, 0]) == cut.enclaves[0]  # nothing was posted, started or logged again
        starts = run._engine.schedule.instances[1]
        assert starts.tool == [1]  # what it makes on the instance is there
        assert starts.made == 1 + 10 * 40  # and its state that of the run
        assert starts.heard == 2
        assert len(starts._log) == 0
        assert run.printed.lines() == []


def test_a_startup_that_raises_when_it_runs_again_ends_the_start(monkeypatch):
    (cut,), _ = cut_at(Started(), ms(3), until=ms(5), fast=True)

    class Other(Starts):
        @reaction(startup)
        def on_startup(self, out, soon, outside, dog):
            raise ValueError("the device is gone")

    class Changed(Reactor):
        def compose(self):
            self.starts, self.reads = Other(ends=True), Reads()
            connect(self.starts.out, self.reads.inp)

    with pytest.raises(ReactionError, match="the device is gone"):
        begin(Changed(), Copies(), cut)


# -- what belongs to a cut ---------------------------------------------------------------------------------------------


class Listens(Reactor):
    """Answers what comes from outside, and is asked to end by one of these."""

    act = PhysicalAction(ms(1))
    rate: int = 3
    sum = State(0)

    @reaction(startup)
    def on_startup(self, act):
        type(self).schedule = act.schedule

    @reaction(act)
    def on_act(self, act):
        self.sum = self.sum * self.rate + act.value
        self.log(sum=self.sum)

    @reaction("rate")
    def on_rate(self):
        self.sum += 1000

    @reaction(shutdown)
    def at_end(self):
        self.log(sum=self.sum + 0.5)


def test_what_was_posted_before_a_cut_belongs_to_it():
    keeper = Copies(tags=[(0, 0)])
    run = begin(Listens(), keeper, until=ms(8), keepalive=True)
    assert keeper.held.wait(20.0)
    for value in (1, 2, 3):
        Listens.schedule(value=value)
    run.set("rate", 5)
    keeper.engine.request_cut()
    keeper.wait(1)
    run.resume()
    left = finished(run)
    (cut,) = keeper.cuts
    assert run._engine.schedule.instances[0].sum == ((1000 * 5 + 1) * 5 + 2) * 5 + 3
    again = begin(Listens(), Copies(), through_codec(cut), until=ms(8), keepalive=True)
    assert finished(again) == rest(left, (0, 0))
    assert again._engine.schedule.instances[0].sum == ((1000 * 5 + 1) * 5 + 2) * 5 + 3
    assert [change[1:] for change in again.changes] == [("listens.rate", 3, 5)]


def test_changes_that_were_made_are_known_to_the_resumed_run():
    keeper = Copies(tags=[(0, 0)])
    run = begin(Listens(), keeper, until=ms(8), keepalive=True)
    assert keeper.held.wait(20.0)
    run.set("rate", 5)
    assert keeper.engine.run_to((1000, 0)).wait(20.0)
    keeper.engine.request_cut()
    keeper.wait(1)
    run.resume()
    left = finished(run)
    (cut,) = keeper.cuts
    again = begin(Listens(), Copies(), through_codec(cut), until=ms(8), keepalive=True)
    assert finished(again) == rest(left, cut.tag)
    assert again.changes == run.changes
    assert again._engine.schedule.instances[0].rate == 5


class Mutates(Reactor):
    """Changes its own copy of what it was sent, and reads it again later."""

    inp = Input[numpy.ndarray](mutable=True)
    tick = Timer(us(500), ms(1))

    @reaction(inp)
    def on_inp(self, inp):
        inp.value[0] += 100

    @reaction(tick, uses=inp)
    def on_tick(self, inp):
        inp.value[1] += 1
        self.log(first=inp.value[0], second=inp.value[1], present=inp.is_present)


class Sends(Reactor):
    out = Output[numpy.ndarray]()

    @reaction(startup)
    def on_startup(self, out):
        out.set(numpy.arange(3.0))


class Mutable(Reactor):
    def compose(self):
        self.sends, self.mutates = Sends(), Mutates()
        connect(self.sends.out, self.mutates.inp)


def logs(run, name):
    return [(tuple(tag), value) for tag, value in zip(run.metrics[name].tags, run.metrics[name], strict=True)]


def test_what_can_be_read_later_is_there_and_a_readers_copy_is_as_it_was_at_the_cut():
    keeper = Copies(tags=[(int(ms(3)), 0)])
    run = begin(Mutable(), keeper, until=ms(6))
    keeper.cut_at_tags(run)
    finished(run)
    again = begin(Mutable(), Copies(), through_codec(keeper.cuts[0]), until=ms(6))
    finished(again)
    for name in ("first", "second", "present"):
        assert logs(again, name) == [row for row in logs(run, name) if row[0] > keeper.cuts[0].tag]


class Pets(Reactor):
    dog = Watchdog(hours(1))
    tick = Timer(ms(1), ms(1))
    barked = State(0)

    @reaction(startup)
    def on_startup(self, dog):
        dog.start()

    @reaction(tick)
    def on_tick(self):
        pass

    @reaction(dog)
    def on_dog(self):
        self.barked += 1
        self.request_stop()


def test_a_watchdog_has_the_time_left_that_it_had():
    (cut,), _ = cut_at(Pets(), ms(3), until=ms(5), fast=True)
    ((order, left_ns),) = cut.enclaves[0].watchdogs
    assert 0 < left_ns < int(hours(1))
    cut.enclaves[0].watchdogs = [(order, 0)]
    run = begin(Pets(), Copies(), cut, until=None, keepalive=True, fast=False)
    finished(run)
    assert run._engine.schedule.instances[0].barked == 1


class Ends(Reactor):
    """Asks for the end, which comes a microstep later."""

    tick = Timer(0, ms(1))
    ended = State(0)

    @reaction(tick)
    def on_tick(self):
        if self.time_ns == ms(3):
            self.request_stop()

    @reaction(shutdown)
    def at_end(self):
        self.ended = 1


def test_the_end_that_the_program_asked_for_belongs_to_the_cut():
    expected = whole(Ends())
    (cut,), _ = cut_at(Ends(), ms(3))
    assert cut.stop_tag == (int(ms(3)), 1)
    assert resumed(Ends(), cut, until=None) == rest(expected, cut.tag)


class Late(Reactor):
    act = LogicalAction(ms(1))
    ran = State(0)

    @reaction(startup, act, deadline=ms(5))
    def on_act(self, act):
        self.ran += 1
        self.update_deadline(ms(1 + self.ran))
        act.schedule()


def test_a_deadline_that_was_changed_stays_changed():
    (cut,), _ = cut_at(Late(), ms(3))
    assert cut.enclaves[0].deadlines == [(int(ms(5)), 0)]
    assert resumed(Late(), cut) == rest(whole(Late()), cut.tag)


class Modal(Reactor):
    """A mode that is entered at the cut: its startup reaction is still to come."""

    one, two = Mode(initial=True), Mode()
    tick = Timer(ms(1), ms(1))
    entered = State(0)

    with one:

        @reaction(tick)
        def leave(self, two):
            two.set()

    with two:
        every = Timer(us(100), us(400))

        @reaction(startup)
        def on_startup(self):
            self.entered += 1

        @reaction(every)
        def on_every(self, one):
            if self.time_ns % 3 == 0:
                one.set(history=True)


@pytest.mark.parametrize("tag", [ms(1), us(1100), us(2500), ms(7)])
def test_modes_are_as_they_were(tag):
    expected = whole(Modal())
    (cut,), left = cut_at(Modal(), tag)
    assert left == expected
    assert resumed(Modal(), cut) == rest(expected, cut.tag)


# -- what does not fit -------------------------------------------------------------------------------------------------


def test_a_cut_of_another_program_is_refused():
    (cut,), _ = cut_at(Pair(), ms(3))
    with pytest.raises(RunError, match="another program"):
        begin(Pair(apart=True), Copies(), cut)
    cut.enclaves[0].handles.pop()
    with pytest.raises(RunError, match="another program, or the cut is damaged"):
        begin(Pair(), Copies(), cut)


def test_an_end_that_is_not_later_than_the_cut_is_refused():
    (cut,), _ = cut_at(Pair(), ms(3))
    with pytest.raises(RunError, match=r"cut at tag \(3 ms, 0\).*until="):
        begin(Pair(), Copies(), cut, until=ms(3))


def test_enclaves_that_had_ended_stay_ended_and_others_end_with_them():
    keeper = Copies(tags=[(int(ms(20)) - 1, 0)])
    run = begin(Pair(apart=True), keeper)
    keeper.cut_at_tags(run)
    expected = finished(run)
    (cut,) = keeper.cuts
    with pytest.raises(RunError, match=r"had ended, at tag \(19 ms, 0\).*until=ns\(19000000\)"):
        begin(Pair(apart=True), Copies(), as_if_over(cut, 1))
    with pytest.raises(RunError, match="nothing to go on with"):
        begin(Pair(apart=True), Copies(), as_if_over(cut, 0, 1, 2))
    assert resumed(Pair(apart=True), cut) == rest(expected, *(part.tag for part in cut.enclaves))


def as_if_over(cut, *enclaves):
    parts = [replace(part, is_over=number in enclaves) for number, part in enumerate(cut.enclaves)]
    return replace(cut, enclaves=parts)


def test_a_run_without_a_fingerprint_cannot_go_on_with_one():
    (cut,), _ = cut_at(Pair(), ms(3))
    cut.fingerprint = None
    with pytest.raises(RunError, match="kept no fingerprint"):
        begin(Pair(), Copies(), cut)


@pytest.mark.parametrize("apart", [False, True])
def test_what_a_keeper_raises_ends_the_run(apart):
    class Refuses(Copies):
        def capture(self, enclave, instances, values):
            raise ValueError("a lock cannot be saved")

    run = begin(Pair(apart=apart), Refuses(most=1))
    with pytest.raises(ValueError, match="a lock cannot be saved"):
        run.result(20.0)


class Fails(Counts):
    @reaction(Counts.tick)
    def fail(self):
        if self.time_ns == ms(4):
            raise ValueError("no more")


class FailsApart(Reactor):
    def compose(self):
        self.counts, self.hears = enclave(Fails()), enclave(Hears())
        connect(self.counts.out, self.hears.inp, after=us(2500))


def test_a_run_that_fails_while_it_is_cut_again_and_again_fails_as_it_would():
    keeper = Copies(tags=[(int(ms(3)), 0)])
    run = begin(FailsApart(), keeper, workers=2)
    assert keeper.held.wait(20.0)
    keeper.most = 100
    keeper.engine.request_cut()
    keeper.wait(1)
    run.resume()
    with pytest.raises(ReactionError, match=r"tag \(4 ms, 0\)"):
        run.result(20.0)
    for cut in (keeper.cuts[0], keeper.cuts[-1]):
        again = begin(FailsApart(), Copies(), through_codec(cut), workers=2)
        with pytest.raises(ReactionError, match=r"tag \(4 ms, 0\)"):
            again.result(20.0)
        assert again.fingerprint == run.fingerprint


# -- rehearsals --------------------------------------------------------------------------------------------------------


HELD: list[object] = []


class Holds(Reactor):
    """Has something of its own from startup to shutdown."""

    act = PhysicalAction()
    later = LogicalAction()
    dog = Watchdog(ms(0))

    @reaction(startup, deadline=ms(0))
    def on_startup(self, act, later, dog):
        self.token = object()
        HELD.append(self.token)
        act.schedule()
        later.schedule()
        dog.start()
        self.begun = (self.tag, self.physical_time_ns, self.rng.random())
        self.request_stop()

    @reaction(later, act, dog)
    def on_later(self):
        raise AssertionError("this is no run")

    @reaction(shutdown)
    def at_end(self):
        HELD.remove(self.token)


class Two(Reactor):
    one, two = Mode(initial=True), Mode()
    with one:
        first = Holds()

        @reaction(startup)
        def leave(self, two):
            two.set()

    with two:
        second = Holds()


def test_a_shadow_has_what_startup_makes_and_leaves_nothing():
    program = Program(Two())
    (cut,), _ = cut_at(Pair(), ms(3))
    cut.enclaves[0].modes = {"started": [True, False]}
    shadow = Shadow(program.graph, 5, cut)
    _, first, second = shadow.instances
    assert [first.token] == HELD
    assert not hasattr(second, "token")  # its mode was never active
    assert first.begun[0] == (0, 0)
    shadow.end()
    assert HELD == []
