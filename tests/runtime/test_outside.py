"""What comes to a run from outside is recorded, and a replay of it is the same run: trace and fingerprint, with any number of workers."""

import functools
import threading
from unittest.mock import patch

import pytest
from cut_keeper import Copies, kept, through_codec
from outside_programs import WAIT, RestlessClock, Zoo, disturbed, replayed, same
from stepping import Stepped

from reactornb import (
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Tag,
    Timer,
    Watchdog,
    connect,
    enclave,
    hours,
    ms,
    reaction,
    startup,
    us,
)
from reactornb.errors import InboxFullError, ReplayError, RunError
from reactornb.runtime.codec import Classes, decode, encode
from reactornb.runtime.enclaves import Gate
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.outside_rows import OutsideLog, Replay, are_rows, is_after
from reactornb.runtime.scheduler import Scheduler
from reactornb.testing import FakeClock


class Echo(Reactor):
    """Schedules its physical action from its own reactions, and reads the clock."""

    again = PhysicalAction(min_delay=us(10))
    most: int = 5

    @reaction(startup)
    def on_startup(self, again):
        again.schedule(0, 0)

    @reaction(again)
    def on_again(self, again):
        self.log(at=self.physical_time_ns)
        if again.value == self.most:
            self.request_stop()
        else:
            again.schedule(ms(1), again.value + 1)


def finished(root, **options):
    """A recorded run of one worker, which is over."""
    chosen = {"workers": 1, "trace": True, "fingerprint": True, "record_outside": True, "placement": "none"}
    run = Program(root).start(**{**chosen, **options})
    assert run.wait(WAIT)
    assert run.failure is None
    return run


def rows_of(run, kind):
    return [row for row in run.outside if row[0] == kind]


def test_rows_tell_what_came_and_after_which_tag():
    run = Program(Echo(most=1)).start(clock=FakeClock(), workers=1, record_outside=True)
    assert run.wait(20)
    assert are_rows(run.outside)
    assert run.outside == [
        ("start", 0, -1, (-1, 0), FakeClock.epoch_ns),
        ("action", 0, 0, (0, 0), ("echo.again", 0, us(10), 0, 0)),
        ("clock", 0, 0, (us(10), 0), ("echo", us(10))),
        ("action", 0, 1, (us(10), 0), ("echo.again", us(10), us(10) + ms(1) + us(10), 1, 1)),
        ("clock", 0, 0, (us(20) + ms(1), 0), ("echo", us(20) + ms(1))),
        ("end", 0, -1, (us(20) + ms(1), 1), None),
    ]
    assert run.tag == Tag(us(20) + ms(1), 1)


def test_a_run_that_records_nothing_says_how_it_would():
    run = Program(Echo).start(fast=True, workers=1)
    assert run.wait(20)
    with pytest.raises(RunError, match="record_outside=True"):
        run.outside  # noqa: B018 - the property raises


# -- all of it at once, on the real clock -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_run_is_repeated_whatever_came_from_outside(seed, apart):
    clock = RestlessClock() if seed % 2 else None
    run = disturbed(Zoo(apart=apart), seed, clock=clock)
    rows = run.outside
    for workers, fast in [(1, False), (2, False), (8, False), (1, True), (2, True), (8, True)]:
        same(run, replayed(Zoo(apart=apart), rows, workers=workers, fast=fast, seed=seed))


@pytest.mark.slow
def test_the_plain_loop_repeats_what_the_fused_one_recorded():
    run = disturbed(Zoo(), 5)
    with patch.object(Scheduler, "fused", False):
        same(run, replayed(Zoo(), run.outside, workers=2, seed=5))


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_what_a_replay_records_can_be_replayed_again_and_differs_in_no_write(apart):
    run = disturbed(Zoo(apart=apart), 6, fingerprint_log=True)
    again = replayed(Zoo(apart=apart), run.outside, workers=1, seed=6, fingerprint_log=True)
    assert again.fingerprint_log.difference(run.fingerprint_log) is None
    same(run, replayed(Zoo(apart=apart), again.outside, workers=8, fast=True, seed=6))


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_rows_are_plain_data_and_come_one_by_one(apart):
    class Told(OutsideLog):
        def __init__(self):
            self.told = []
            super().__init__(lambda row, again: self.told.append((row, again)), keep=True)

    def each_once(run, *, again):
        return sorted(((row, again) for row in run.outside), key=repr)

    with patch("reactornb.runtime.program.OutsideLog", Told):
        run = disturbed(Zoo(apart=apart), 7)
        # Several workers tell of rows at once: in which order is not said.
        assert sorted(run._outside_log.told, key=repr) == each_once(run, again=False)
        rows = decode(encode(run.outside, Classes()), Classes())
        assert rows == run.outside
        again = replayed(Zoo(apart=apart), rows, workers=2, seed=7)
    same(run, again)
    assert sorted(again._outside_log.told, key=repr) == each_once(again, again=True)


# -- one thing at a time -----------------------------------------------------------------------------------------------


def test_a_reaction_is_told_the_time_that_it_was_told():
    class Asks(Reactor):
        tick = Timer(0, ms(10))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            clock.advance(us(3))
            out.set((self.physical_time_ns, self.lag_ns, self.physical_time_ns, self.start_time_ns))

    clock = FakeClock()
    run = finished(Asks, until=ms(20), clock=clock)
    assert [ns for kind, *_, (_, ns) in rows_of(run, "clock")] == [us(3), us(3), us(3)] + [
        ms(k) + us(3) for k in (10, 10, 10, 20, 20, 20)
    ]
    clock = FakeClock()
    clock.epoch_ns = 7
    again = replayed(Asks, run.outside, until=ms(20), workers=1, clock=clock)
    same(run, again)


def deadlined(clock):
    class Deadlined(Reactor):
        """Misses what a clock says, asks again and again, and moves its deadline."""

        tick = Timer(0, ms(10))
        out = Output()

        @reaction(tick)
        def hold_up(self):
            clock.advance(ms(1) * (self.time_ns // ms(10)))

        @reaction(tick, deadline=ms(2))
        def on_tick(self, out):
            asked = 0
            while not self.check_deadline(invoke_handler=False) and asked < 4:
                clock.advance(us(600))
                asked += 1
            out.set(("in time", asked))
            self.update_deadline(ms(3))

        @on_tick.missed
        def on_late(self, out):
            out.set(("late", -1))

    return Deadlined


@pytest.mark.parametrize("workers", [1, 2])
def test_deadlines_are_missed_and_met_as_they_were(workers):
    clock = FakeClock()
    run = finished(deadlined(clock), until=ms(60), clock=clock)
    assert [v for _, v in run.trace.values("out")] == [
        ("in time", 4), ("in time", 4), ("in time", 2), ("in time", 1), ("late", -1), ("late", -1), ("late", -1)
    ]  # fmt: skip
    assert [(tag[0], number) for _, _, number, tag, _ in rows_of(run, "missed")] == [
        (0, 5), (ms(10), 5), (ms(20), 3), (ms(30), 2), (ms(40), 0), (ms(50), 0), (ms(60), 0)
    ]  # fmt: skip
    still = FakeClock()  # on which nothing is ever late
    again = replayed(deadlined(FakeClock()), run.outside, until=ms(60), workers=workers, clock=still)
    same(run, again)
    assert again.deadlines_missed == run.deadlines_missed == 3


class Dogs(Reactor):
    """One watchdog expires, one is started again in time, one is stopped; what expires may be started again before it is heard of."""

    short, long, off = Watchdog(ms(1)), Watchdog(hours(1)), Watchdog(hours(1))
    again = LogicalAction()
    barks: int = 3
    n = State(0)

    @reaction(startup, again)
    def on_start(self, short, long, off, again):
        off.start()
        off.stop()
        long.start()
        short.start()
        if self.n < self.barks:
            again.schedule(ms(1))

    @reaction(short)
    def on_short(self):
        self.n += 1
        if self.n == self.barks:
            self.request_stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_watchdogs_expire_where_they_did(workers):
    run = finished(Dogs, keepalive=True)
    assert run.instance("dogs").n == 3
    assert len(rows_of(run, "watchdog")) >= 3
    again = replayed(Dogs, run.outside, workers=workers, fast=True, keepalive=True)
    same(run, again)


def test_changes_from_outside_come_where_they_came():
    made = Stepped(Echo(most=30), record_outside=True, trace=True, fingerprint=True)
    for k in range(5):
        made.advance(ms(1))
        made.run.set("echo.most", 20 - k)
        made.advance(us(500))
    run = made.run
    while run.is_alive:
        made.advance(ms(1))
    assert [c.new for c in run.changes] == [20, 19, 18, 17, 16]
    for workers in (1, 2, 8):
        same(run, replayed(Echo(most=30), run.outside, workers=workers))


def test_changes_that_a_run_was_started_with_are_in_its_rows():
    # Both come before the second event, however fast the machine: that is 1,020 us after the start at the earliest.
    changes = [(Tag(us(1_015)), "echo.most", None, 7), (Tag(ms(1)), "echo.most", None, 3)]
    run = finished(Echo, replay=changes, fast=True)
    assert [v for _, v in run.trace.values("again")] == list(range(8))
    same(run, replayed(Echo, run.outside, workers=2))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_that_a_thread_of_the_program_asks_for_comes_where_it_came(workers):
    class Ends(Reactor):
        tick = Timer(0, us(10))
        seen = State(0)

        @reaction(startup)
        def on_startup(self):
            thread = threading.Thread(target=self.end, daemon=True)
            thread.start()

        @reaction(tick)
        def on_tick(self):
            self.seen += 1
            if self.seen == 50:
                reached.set()

        def end(self):
            if wait:
                reached.wait(WAIT)
            self.request_stop()

    reached, wait = threading.Event(), True
    run = finished(Ends, fast=True)
    assert len(rows_of(run, "stop")) == 1
    wait = False  # it asks at once, and the replay does not end before its time
    again = replayed(Ends, run.outside, workers=workers, fast=True)
    same(run, again)


def test_a_call_that_found_the_inbox_full_finds_it_full_again():
    class Floods(Reactor):
        tick = Timer(0, ms(1))
        call = PhysicalAction(min_delay=ms(10))
        out = Output()

        @reaction(tick)
        def on_tick(self, call, out):
            refused = 0
            for i in range(4):
                try:
                    call.schedule(0, i)
                except InboxFullError:
                    refused += 1
            out.set(refused)

        @reaction(call)
        def on_call(self, call):
            pass

    with patch.object(Inbox, "limit", 10):
        run = finished(Floods, until=ms(30), clock=FakeClock())
    told = [v for _, v in run.trace.values("out")]
    assert told[:6] == [0, 0, 2, 4, 4, 4]
    assert len(rows_of(run, "refused")) == sum(told)
    again = replayed(Floods, run.outside, until=ms(30), workers=2)  # with room for all of them
    same(run, again)


def test_times_of_physical_connections_are_those_that_they_were():
    class Sends(Reactor):
        tick = Timer(0, ms(1))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            clock.advance(us(10))
            out.set(self.time_ns)

    class Hears(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            pass

    class Both(Reactor):
        sends, hears = Sends(), Hears()
        connect(sends.out, hears.inp, physical=True, after=us(5))

    clock = FakeClock()
    run = finished(Both, until=ms(3), clock=clock)
    assert run.trace.tags("on_inp") == [Tag(ms(k) + us(15)) for k in range(3)]
    for workers in (1, 2):
        clock = FakeClock()
        clock.advance(hours(1))
        same(run, replayed(Both, run.outside, until=ms(3), workers=workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_reaction_does_with_its_own_run_is_not_done_twice(workers):
    class Tunes(Reactor):
        tick = Timer(0, ms(1))
        out = Output()
        gain: int = 0

        @reaction(tick)
        def on_tick(self, out):
            out.set(self.gain)
            run = program.last_run
            if self.time_ns == ms(5):
                run.request_stop()
            else:
                run.set("tunes.gain", self.gain + 1)

    program = Program(Tunes)
    run = program.start(workers=1, clock=FakeClock(), trace=True, fingerprint=True, record_outside=True)
    assert run.wait(WAIT)
    told = [v for _, v in run.trace.values("out")]
    assert told[-1] >= 3
    program = Program(Tunes)
    again = program.start(workers=workers, replay=run.outside, trace=True, fingerprint=True, record_outside=True)
    assert again.wait(WAIT)
    same(run, again)
    program = Program(Tunes)
    third = next(i for i, row in enumerate(run.outside) if row[0] == "change" and row[2] == 3)
    again = program.start(workers=1, replay=run.outside[:third], clock=FakeClock(), trace=True)
    assert again.wait(WAIT)  # what the record does not have is done when it is over
    assert [v for _, v in again.trace.values("out")] == told


def test_up_to_the_tag_that_a_run_is_known_to_have_reached_nothing_is_late():
    clock = FakeClock()
    rows = [
        row for row in finished(deadlined(clock), until=ms(60), clock=clock).outside if row[0] in ("start", "clock")
    ]
    for until, late in [(ms(60), 0), (ms(40), 2), (None, 3)]:
        clock = FakeClock()
        replay = Replay(rows, until=None if until is None else (until, 0))
        with patch("reactornb.runtime.program.Replay", lambda _, to=replay: to):
            again = replayed(deadlined(clock), rows, until=ms(60), workers=1, clock=clock)
        assert again.deadlines_missed == late


# -- from the middle ----------------------------------------------------------------------------------------------------


class Positions(Copies):
    """A keeper that keeps where in the record each enclave was cut."""

    def capture(self, enclave, instances, values):
        return self.engine.schedulers[enclave].border.position, super().capture(enclave, instances, values)

    def restore(self, objects, instances):
        return super().restore([kept for _, kept in objects], instances)


def since(cut):
    """See `Replay`."""
    return [(part.objects[0], part.tag) for part in cut.enclaves]


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_goes_on_from_a_cut_repeats_what_came_after_it(seed, apart):
    keeper = Positions()
    clock = RestlessClock() if seed % 2 else None
    with kept(keeper):
        run = disturbed(Zoo(apart=apart), seed, past=ms(4), clock=clock, look=lambda run: run._engine.request_cut())
    assert keeper.cuts[-1].before_stop
    where = {r.name: r.enclave for r in run._engine.schedule.reactions} | {
        s.name: s.enclave for s in run._engine.schedule.signals
    }
    for cut in [*keeper.cuts[:: max(len(keeper.cuts) // 3, 1)], keeper.cuts[-1]]:
        replay = Replay(run.outside, since=since(cut))
        cut_at = [part.tag for part in cut.enclaves]

        def rest(trace, cut_at=cut_at):
            ran = [(tuple(tag), name) for tag, name in trace.executions]
            written = [(tuple(tag), name, value) for tag, name, value in trace.writes]
            return sorted(row for row in ran if row[0] > cut_at[where[row[1]]]), [
                row for row in written if row[0] > cut_at[where[row[1]]]
            ]

        for workers, fast in [(1, True), (8, False)]:
            with (
                kept(Positions(), through_codec(cut)),
                patch("reactornb.runtime.program.Replay", lambda _, to=replay: to),
            ):
                again = replayed(Zoo(apart=apart), run.outside, workers=workers, fast=fast, seed=seed)
            assert again.failure is None
            assert rest(again.trace) == rest(run.trace)
            assert (again.fingerprint, again.tag) == (run.fingerprint, run.tag)
            assert again.changes == run.changes
            expected = [row for row in run.outside if is_after(row, *since(cut)[row[1]]) or row[0] == "start"]
            assert sorted(again.outside, key=repr) == sorted(expected, key=repr)


# -- a record that ends too early, or does not fit ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_any_beginning_of_a_record_is_repeated_and_then_the_run_goes_on(apart):
    run = disturbed(Zoo(apart=apart, posts=8), 8, past=ms(4))
    rows = [row for row in run.outside if row[3] < tuple(run.tag) and row[0] != "stop"]
    for count in range(1, len(rows), 7):
        horizon = Replay(rows[:count]).horizon
        again = Program(Zoo(apart=apart, posts=8)).start(
            replay=rows[:count], workers=2, seed=8, placement="none", record_outside=True, trace=True, fingerprint=True
        )
        try:
            # Its tag is that of the enclave that is furthest; what others have not repeated when it is stopped counts for nothing.
            while again.is_alive and (
                tuple(again.tag) <= horizon or any(scheduler.replays for scheduler in again._engine.schedulers)
            ):
                again.wait(0.001)
        finally:
            again.stop()
        assert again.failure is None
        assert again.tag > Tag(*horizon)
        new = again.outside
        assert {repr(row) for row in rows[:count]} <= {repr(row) for row in new}
        if not apart:  # apart, an enclave may be ahead of what others were known to have done
            for first, second in [
                (run.trace.executions, again.trace.executions),
                (run.trace.writes, again.trace.writes),
            ]:
                assert [x for x in first if tuple(x[0]) < horizon] == [x for x in second if tuple(x[0]) < horizon]
            # What is recorded of a run that was repeated in part is a record like any other.
            same(again, replayed(Zoo(posts=8), new, workers=1, seed=8))


def test_a_replay_that_is_stopped_early_ends_there_though_its_record_tells_of_a_later_end():
    real = Gate.stop_again

    def stopped_meanwhile(gate, tag):
        """As if somebody had stopped the run just before its record says that the earlier one was stopped."""
        gate._stop_everywhere()
        real(gate, tag)

    run = disturbed(Zoo(apart=True), 9)
    with patch.object(Gate, "stop_again", stopped_meanwhile):
        again = replayed(Zoo(apart=True), run.outside, seed=9, workers=1)
    assert again.failure is None
    assert max(tag for tag, _ in again.trace.executions) <= again.tag < run.tag


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_a_replay_can_be_stopped_at_any_time(apart):
    run = disturbed(Zoo(apart=apart), 9)
    for seconds in (0, 0.001, 0.005, 0.02):
        again = Program(Zoo(apart=apart)).start(
            replay=run.outside, workers=2, seed=9, placement="none", record_outside=True, trace=True, fingerprint=True
        )
        again.wait(seconds)
        again.stop()
        assert again.failure is None
        if not apart:
            before = [x for x in again.trace.writes if x[0] < again.tag]
            assert before == [x for x in run.trace.writes if x[0] < again.tag]
        same(
            again, replayed(Zoo(apart=apart), again.outside, workers=1, seed=9), rows=False
        )  # what comes too late counts for nothing


def test_a_call_of_a_reaction_whose_event_no_row_has_is_made_when_the_rows_are_over():
    run = finished(Echo(most=5), clock=FakeClock())
    calls = [i for i, row in enumerate(run.outside) if row[0] == "action"]
    for last in calls:
        again = replayed(Echo(most=5), run.outside[:last], workers=1, fast=True)
        assert [v for _, v in again.trace.values("again")] == list(range(6))


def test_a_run_that_was_stopped_can_be_repeated_as_if_it_never_had_been():
    made = Stepped(Echo(most=10), record_outside=True, trace=True)
    made.advance(ms(4))
    rows = made.run.stop().outside
    assert [row[0] for row in rows[-2:]] == ["stop", "end"]
    engine = functools.partial(Replay, rows, stops=False)
    with patch("reactornb.runtime.program.Replay", lambda _: engine()):
        again = replayed(Echo(most=10), rows, workers=1, clock=FakeClock())
    assert [v for _, v in again.trace.values("again")] == list(range(11))
    assert again.trace.writes[: len(made.run.trace.writes)] == made.run.trace.writes


def test_a_record_is_repeated_up_to_a_tag_and_no_further():
    rows = finished(Echo(most=6), clock=FakeClock()).outside
    third = [row for row in rows if row[0] == "clock"][2][3]
    replay = Replay(rows, through=third)
    assert replay.horizon == third
    assert [row[4][4] for row in replay.rows(0, "action")] == [0, 1, 2, 3]
    since = Replay(rows, since=[(2, third)])
    assert [row[4][4] for row in since.rows(0, "action")] == [2, 3, 4, 5, 6]
    assert since.rows(0, "clock")[0][3] > third


class Idle(Reactor):
    """Waits for what comes from outside, and ticks if it is told to."""

    call = PhysicalAction()
    tick = Timer(0, "period")
    period: int = 0

    @reaction(call, tick)
    def on_call(self):
        pass


class IdleApart(Reactor):
    """Two of them, which wait for each other's messages too."""

    def compose(self):
        self.one, self.two = enclave(Idle()), enclave(Idle())


@pytest.mark.parametrize(
    ("root", "end"), [(Idle, "idle"), (IdleApart, "idle_apart.one"), (Idle(period=us(200)), "idle")]
)
def test_a_run_that_goes_another_way_than_the_one_that_was_recorded_says_so(root, end):
    rows = [
        ("start", 0, -1, (-1, 0), 0),
        ("action", 0 if end == "idle" else 1, 0, (0, 0), (f"{end}.call", 0, us(5), -1, None)),
        ("action", 0 if end == "idle" else 1, 1, (ms(1), 2), (f"{end}.call", 0, ms(5), -1, None)),
    ]
    with pytest.raises(ReplayError, match="does not go as the one that is replayed") as refused:
        Program(root).run(replay=rows, workers=1)
    assert refused.value.after == (ms(1), 2)


def test_what_does_not_fit_the_program_is_not_replayed():
    rows = finished(Echo(most=5), clock=FakeClock()).outside
    with pytest.raises(ReplayError, match=r"echo\.other, which this program does not have"):
        Program(Echo).run(replay=[("action", 0, 0, (0, 0), ("echo.other", 0, 0, -1, None))])
    with pytest.raises(ReplayError, match="takes rows"):
        Program(Echo).run(replay=[rows[0], 5])


def test_a_replay_that_ends_too_early_is_warned_of():
    rows = finished(Echo(most=5), clock=FakeClock()).outside
    again = replayed(Echo(most=5), rows, until=ms(2), workers=1)
    assert again.failure is None
    assert any("events from outside are left" in words for words in again.warnings)
