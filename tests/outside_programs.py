"""A program to which everything can come from outside, and threads that see to it, at moments drawn from a seed."""

import itertools
import threading
import time

import numpy

from reactornb import (
    Bank,
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
    ms,
    ns,
    reaction,
    reset,
    shutdown,
    startup,
    us,
)
from reactornb.testing import FakeClock

__all__ = ["RestlessClock", "Sensor", "Zoo", "disturbed", "replayed", "same"]

WAIT = 20.0  # seconds; only ever reached when something is broken


class RestlessClock(FakeClock):
    """A clock on which some time passes whenever it is asked, mostly little: deadlines are missed and met on any machine."""

    def __init__(self):
        super().__init__()
        self._asked = itertools.count().__next__

    def elapsed_ns(self):
        """See `Clock`."""
        drawn = self._asked() * 0x9E3779B97F4A7C15 >> 20 & 0xFFF
        self._now += drawn if drawn & 15 else 1000 * drawn
        return self._now


class Sensor(Reactor):
    """Threads and its own reactions schedule physical actions, which come in three policies; each handler reads the clock."""

    posts: int = 20
    gain: float = 1.0
    rest = PhysicalAction()
    spaced = PhysicalAction(min_delay=us(50), min_spacing=us(200), policy="defer")
    updated = PhysicalAction(min_spacing=us(300), policy="update")
    dropped = PhysicalAction(min_spacing=us(300), policy="drop")
    beat = PhysicalAction(min_delay=us(400))
    dog = Watchdog(ms(1))
    out = Output()
    back = Input()
    tick = Timer(0, us(700))
    n = State(0)

    @reaction(startup)
    def on_startup(self, rest, spaced, updated, dropped, beat, dog):
        beat.schedule(0, 0)
        dog.start()
        actions = [rest, spaced, updated, dropped]

        def post(seed):
            draw = numpy.random.default_rng(seed)
            for i in range(self.posts):
                actions[draw.integers(4)].schedule(ns(draw.integers(500_000)), (seed, i))
                time.sleep(draw.random() * 0.001)

        for k in range(2):
            threading.Thread(target=post, args=(self.seed + k,), daemon=True).start()

    @reaction(rest)
    def on_rest(self, rest, out, dog):
        dog.start(us(self.n % 7 * 100))
        out.set((rest.value, self.gain, self.lag_ns))

    @reaction(spaced)
    def on_spaced(self, spaced, dog):
        self.n += 1
        if self.n % 5 == 0:
            dog.stop()

    @reaction(updated, dropped)
    def on_others(self, updated, dropped, out):
        out.set((updated.is_present, dropped.value, self.physical_time_ns))

    @reaction(beat)
    def on_beat(self, beat, out):
        self.log(beat=beat.value, at=self.physical_time_ns)
        out.set(beat.value)
        beat.schedule(us(beat.value % 3 * 100), beat.value + 1)

    @reaction(dog)
    def on_dog(self, dog, out):
        self.n += 100
        out.set("dog")
        dog.start()

    @reaction("gain")
    def on_gain(self):
        self.n += 1000

    @reaction(back)
    def on_back(self, back):
        self.n += back.value

    @reaction(tick, deadline=ms(2))
    def on_tick(self, out):
        # Ends by what it was answered or by a count: an end by a clock that is not asked through the run would be an input that no record has.
        for _ in range(self.n % 4 * 8):
            if self.check_deadline(invoke_handler=False):
                break
            until = time.perf_counter_ns() + 5_000
            while time.perf_counter_ns() < until:
                pass
        if self.n % 3 == 0:
            self.update_deadline(us(500 + self.n % 5 * 500))
        out.set(("in time", self.check_deadline(invoke_handler=False), self.n))

    @on_tick.missed
    def on_late(self, out):
        out.set(("late", self.n))

    @reaction(shutdown)
    def on_end(self, out):
        out.set((self.start_time_ns, self.n))


class Moody(Reactor):
    """Changes modes as it hears of what came; an action of a mode that is not active hears nothing."""

    heard = Input(width="width")
    width: int
    told = Output()
    count = State(0)
    one, two = Mode(initial=True), Mode()
    with one:
        call = PhysicalAction()
        tick = Timer(us(300), us(900))

        @reaction(heard)
        def hear(self, heard, two, call):
            self.count += len(heard.present)
            call.schedule(us(100), self.count)
            if self.count % 3 == 0:
                two.set()

        @reaction(call)
        def on_call(self, call, told):
            told.set(call.value)

        @reaction(tick)
        def on_tick(self, told):
            told.set(-1)

    with two:
        soon = LogicalAction()

        @reaction(reset)
        def on_two(self, soon):
            soon.schedule(us(200))

        @reaction(heard)
        def hear_two(self, heard, told):
            told.set(len(heard.values))

        @reaction(soon)
        def on_soon(self, one):
            one.set(history=self.count % 2 == 0)


class Zoo(Reactor):
    """Sensors, and one who listens: each for itself, or all in one enclave.

    Args:
        apart: in enclaves.
        size: how many sensors.
    """

    apart: bool = False
    size: int = 2
    posts: int = 20

    def compose(self):
        sensors = Bank(Sensor, self.size, posts=self.posts)
        moody = Moody(width=self.size)
        self.sensors = enclave(sensors, each=True) if self.apart else sensors
        self.moody = enclave(moody) if self.apart else moody
        connect(self.sensors.out, self.moody.heard, physical=True, after=us(20))
        connect(self.moody.told, self.sensors.back, after=us(200), broadcast=True)


def disturbed(root, seed, *, past=ms(10), look=None, **options):
    """A run of a program to which a thread does things from outside.

    Args:
        root, options: of the run.
        seed: of the run, and of what comes.
        past: the logical time after which it is stopped.
        look: called with the run, now and then.

    Returns:
        The run, which is over.
    """
    draw = numpy.random.default_rng(seed)
    chosen = {
        "workers": 2,
        "seed": seed,
        "trace": True,
        "fingerprint": True,
        "record_outside": True,
        "placement": "none",
    }
    run = Program(root).start(**{**chosen, **options})
    try:
        until = time.monotonic() + WAIT
        while run.tag.time_ns < past:
            assert time.monotonic() < until, f"{run} does not go on"
            time.sleep(draw.random() * 0.003)
            run.set(f"sensors[{draw.integers(2)}].gain", draw.random())
            if look is not None:
                look(run)
    finally:
        run.stop()
    return run


def replayed(root, rows, **options):
    """The run that repeats rows; it is over."""
    chosen = {"trace": True, "fingerprint": True, "record_outside": True, "placement": "none"}
    run = Program(root).start(replay=rows, **{**chosen, **options})
    try:
        assert run.wait(WAIT), f"{run} does not end"
    finally:
        run.stop()
    return run


def _of_the_run(warnings):
    """Without what is said once in a process, by whichever run is its first."""
    return [words for words in warnings if "PYTHONHASHSEED" not in words]


def same(run, other, *, rows=True):
    """Assert that two runs are the same one, and, with `rows`, that what came from outside was recorded alike."""
    assert other.failure is None, other.failure
    assert _of_the_run(other.warnings) == _of_the_run(run.warnings)
    assert by_level(other.trace) == by_level(run.trace)
    assert other.fingerprint == run.fingerprint
    assert other.tag == run.tag
    assert other.changes == run.changes
    if rows:
        assert sorted(other.outside, key=repr) == sorted(run.outside, key=repr)


def by_level(trace):
    """What ran and what was written; enclaves take turns as they come, which is no part of the run."""
    return sorted(trace.executions), trace.writes
