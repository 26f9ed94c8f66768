"""Programs for tests of sweeps: small, with a fingerprint, and with a return that their parameter decides."""

import threading
from types import SimpleNamespace

from reactornb import Input, Output, Reactor, Timer, connect, ms, reaction

__all__ = ["Broken", "Climb", "Counted", "Meeting", "Never", "begun", "meeting"]

begun = []  # by `Counted`: the rate of each run
meeting = SimpleNamespace(barrier=threading.Barrier(2), lock=threading.Lock(), now=0, most=0)  # of runs of `Meeting`


class Source(Reactor):
    """Sends what it draws, and logs an episode of 10 steps each time."""

    out = Output[float]()
    rate: float = 1.0
    rounds: int = 5
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self, out):
        self.done = getattr(self, "done", 0) + 1
        out.set(self.rate + 0.01 * self.rng.normal())
        self.log(episode_return=self.rate * self.done, steps=10)
        if self.done >= self.rounds:
            self.request_stop()


class Sink(Reactor):
    """Takes it."""

    value = Input[float]()

    @reaction(value)
    def on_value(self, value):
        self.last = value.value


class Climb(Reactor):
    """The return rises by `rate` with each episode."""

    rate: float = 1.0
    rounds: int = 5
    hidden: tuple[int, ...] = (8,)
    needs_physical_time = False

    def compose(self):
        self.source = Source(rate=self.rate, rounds=self.rounds)
        self.sink = Sink()
        connect(self.source.out, self.sink.value)

    @property
    def settings(self):
        return self

    @property
    def total_timesteps(self):
        return 10 * self.rounds


class Broken(Climb):
    """Does not assemble at one rate, and raises in its first reaction at another."""

    def compose(self):
        if self.rate == 2.0:
            raise ValueError("no such rate")
        super().compose()
        self.fault = Fault(rate=self.rate)


class Fault(Reactor):
    """Raises at a rate of 3."""

    rate: float = 1.0
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        if self.rate == 3.0:
            raise RuntimeError("it burst")


class Counted(Climb):
    """Notes which of it were run."""

    def compose(self):
        super().compose()
        self.note = Note(rate=self.rate)


class Note(Reactor):
    """Notes that it began."""

    rate: float = 1.0
    tick = Timer(0, ms(1_000))

    @reaction(tick)
    def on_tick(self):
        begun.append(self.rate)


class Meeting(Reactor):
    """Waits until as many runs of it are there as the barrier wants; knows how many there were at once."""

    rate: float = 1.0
    tick = Timer(0, ms(1))
    needs_physical_time = False

    @reaction(tick)
    def on_tick(self):
        with meeting.lock:
            meeting.now += 1
            meeting.most = max(meeting.most, meeting.now)
        meeting.barrier.wait(20)
        with meeting.lock:
            meeting.now -= 1
        self.request_stop()


class Never(Reactor):
    """Ends when it is stopped."""

    rate: float = 1.0
    tick = Timer(0, ms(1))
    needs_physical_time = False

    @reaction(tick)
    def on_tick(self):
        self.at = getattr(self, "at", 0.0) + self.rate * self.rng.normal()
        self.log(episode_return=self.at, steps=1)
