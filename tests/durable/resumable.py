"""Programs that are cut and go on, for tests of resuming in this process and in others. Nothing in them knows that they are kept."""

import dataclasses
import os
import signal
import sys
import threading
import traceback

import numpy as np

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Mode,
    Output,
    PhysicalAction,
    Reactor,
    State,
    Timer,
    Watchdog,
    connect,
    enclave,
    ms,
    reaction,
    shutdown,
    startup,
)


@dataclasses.dataclass
class Sample:
    """What travels between reactors."""

    number: int
    values: np.ndarray


class Source(Reactor):
    """Draws at random intervals, remembers what it drew."""

    samples = Output[Sample]()
    again = LogicalAction(min_delay=ms(1))
    scale: float = 1.0
    count = State(0)

    @reaction(startup)
    def begin(self, again):
        self.drawn = []
        self.latest = None
        again.schedule(value=0)

    @reaction(again)
    def on_again(self, samples, again):
        self.count += 1
        self.latest = Sample(self.count, self.scale * self.rng.standard_normal(4))
        self.drawn.append(self.latest)
        del self.drawn[:-5]
        samples.set(self.latest)
        again.schedule(ms(int(self.rng.integers(0, 3))), self.count)


class Learner(Reactor):
    """A flat parameter with views of it, as a network has; a replay ring; a mean that is logged now and then."""

    samples = Input[Sample]()
    weights = Output[np.ndarray]()
    rate: float = 0.1

    @reaction(startup)
    def begin(self):
        self.flat = np.zeros(6)
        self.views = [self.flat[:4], self.flat[4:]]
        self.ring = np.zeros((64, 4))
        self.at = 0

    @reaction(samples)
    def on_samples(self, samples, weights):
        got = samples.value
        self.ring[self.at % 64] = got.values
        self.at += 1
        self.views[0] += self.rate * (self.ring[self.rng.integers(0, min(self.at, 64))] - self.views[0])
        self.views[1][0] = got.number
        weights.set(self.flat.copy())
        self.log(steps=1.0, norm=float(np.square(self.flat[:4]).sum()))
        if self.at % 7 == 0:
            self.log(mean=float(self.ring.mean()), at=float(self.at))


class Player(Reactor):
    """Hears the weights later."""

    weights = Input[np.ndarray]()
    heard = Output[float]()
    total = State(0.0)

    @reaction(weights)
    def on_weights(self, weights, heard):
        self.total += float(weights.value.sum()) + self.rng.random()
        heard.set(self.total)
        self.log(total=self.total)


class Training(Reactor):
    """A source, a learner, four players that hear it after a delay."""

    needs_physical_time = False
    source = Source()
    learner = Learner()
    players = Bank(Player, 4)
    connect(source.samples, learner.samples)
    connect(learner.weights, players.weights, after=ms(2))


class Apart(Reactor):
    """The same, with the learner and the players in enclaves of their own."""

    needs_physical_time = False
    source = Source()
    learner = enclave(Learner())
    players = Bank(Player, 2)
    connect(source.samples, learner.samples, after=ms(1))
    connect(learner.weights, players.weights, after=ms(2))


class Light(Reactor):
    """Modes: a timer that stands still while its mode is not active, and one that begins anew."""

    needs_physical_time = False
    out = Output[int]()
    red = Mode(initial=True)
    green = Mode()
    count = State(0)

    with red:
        wait = Timer(ms(1), ms(2))

        @reaction(wait)
        def on_wait(self, out, green):
            self.count += 1
            out.set(self.count)
            if self.rng.random() < 0.4:
                green.set()

    with green:
        go = Timer(ms(1), ms(3))

        @reaction(go)
        def on_go(self, out, red):
            self.count += 100
            out.set(self.count)
            self.log(count=float(self.count))
            if self.rng.random() < 0.5:
                red.set()


class Listening(Reactor):
    """Counts what comes from outside, and reads the clock. It waits for physical time."""

    heard = PhysicalAction()
    out = Output[object]()
    tick = Timer(ms(1), ms(5))
    count = State(0)
    gain: float = 1.0

    @reaction(startup)
    def begin(self, heard):
        self.post = heard.schedule

    @reaction(heard)
    def on_heard(self, heard, out):
        self.count += 1
        out.set((heard.value, self.physical_time_ns, self.gain))
        self.log(count=float(self.count))

    @reaction(tick)
    def on_tick(self, out):
        out.set(self.count)


class Ends(Reactor):
    """Ends by itself, and says so."""

    needs_physical_time = False
    tick = Timer(0, ms(1))
    out = Output[int]()
    last: int = 20
    count = State(0)

    @reaction(tick)
    def on_tick(self, out):
        self.count += 1
        out.set(self.count)
        self.log(count=float(self.count))
        if self.count == self.last:
            self.request_stop()

    @reaction(shutdown)
    def end(self, out):
        out.set(-self.count)
        self.log(ended=1.0)


class Fails(Reactor):
    """Raises at a tag, unless it is told not to."""

    needs_physical_time = False
    tick = Timer(0, ms(1))
    out = Output[int]()
    at: int = 20
    count = State(0)

    @reaction(tick)
    def on_tick(self, out):
        self.count += 1
        self.log(count=float(self.count))
        if self.count == self.at:
            raise ValueError("it was told to")
        out.set(self.count)


class Watched(Reactor):
    """A watchdog and a deadline on the real clock."""

    out = Output[str]()
    tick = Timer(ms(1), ms(2))
    dog = Watchdog(ms(6))
    count = State(0)

    @reaction(tick, deadline=ms(1))
    def on_tick(self, out, dog):
        self.count += 1
        out.set(f"in time {self.count}")
        if self.count % 9 == 0:
            dog.start()

    @on_tick.missed
    def was_late(self, out, dog):
        self.count += 1
        out.set(f"late {self.count}")
        if self.count % 9 == 0:
            dog.start()

    @dog
    def on_dog(self, out):
        out.set(f"watchdog {self.count}")


def tell_stacks(*_):
    """End a process that hangs, with what each of its threads is in: faulthandler shows but one where there is no GIL."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        print(names.get(ident, ident), *traceback.format_stack(frame), sep="\n", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(70)


if "TELL_STACKS" in os.environ:
    signal.signal(signal.SIGUSR1, tell_stacks)
