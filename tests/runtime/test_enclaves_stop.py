"""A stop from outside ends every enclave, also one that never reaches the tag at which the others end."""

import threading

import pytest

from reactornb import (
    Input,
    Output,
    Program,
    Reactor,
    Timer,
    connect,
    enclave,
    hours,
    ms,
    ns,
    reaction,
    shutdown,
    startup,
)
from reactornb.runtime.enclaves import Gate

WAIT = 30.0  # seconds; only ever reached when something is broken


class Clockwork(Reactor):
    """Is far ahead of all that takes its time, where no enclave waits for physical time."""

    far: object = None
    shutdowns = 0
    tick = Timer(0, hours(1))
    out = Output[int]()

    @reaction(tick)
    def on_tick(self, out):
        if self.time_ns:
            self.far.set()
            out.set(1)

    @reaction(shutdown)
    def on_shutdown(self):
        self.shutdowns += 1


class Loops(Reactor):
    """Sends to itself without end: at one time, or a little later each time."""

    far: object = None
    shutdowns = 0
    inp = Input[int]()
    heard = Input[int]()
    out = Output[int]()

    @reaction(startup)
    def on_startup(self, out):
        assert self.far.wait(WAIT), "the other enclave needs nothing of this one"
        out.set(0)

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value + 1)

    @reaction(heard)
    def on_heard(self):
        pass

    @reaction(shutdown)
    def on_shutdown(self):
        self.shutdowns += 1


class Both(Reactor):
    far: object = None
    every: int = ns(0)
    is_heard: bool = False

    def compose(self):
        self.clockwork = enclave(Clockwork(far=self.far))
        self.loops = enclave(Loops(far=self.far))
        connect(self.loops.out, self.loops.inp, after=self.every)
        if self.is_heard:
            connect(self.clockwork.out, self.loops.heard, after=ms(1))


@pytest.mark.parametrize("is_heard", [False, True])
@pytest.mark.parametrize("every", [ns(0), ns(1)])
def test_an_enclave_that_stays_behind_ends_at_its_own_next_microstep(monkeypatch, every, is_heard):
    monkeypatch.setattr(Gate, "patience_ns", 20_000_000)
    far = threading.Event()
    run = Program(Both(far=far, every=every, is_heard=is_heard)).start(
        workers=2, fast=True, placement="none", fingerprint=True
    )
    assert far.wait(WAIT)
    run.stop(WAIT)
    assert run.state == "stopped"
    assert [run.instance(name).shutdowns for name in ("clockwork", "loops")] == [1, 1]
    assert run.fingerprint is not None
    assert not any(worker.thread.is_alive() for worker in run._engine.workers)


def test_enclaves_that_reach_the_common_end_in_time_end_there(monkeypatch):
    monkeypatch.setattr(Gate, "patience_ns", int(WAIT * 1e9))

    class Ticks(Reactor):
        tick = Timer(0, ms(1))
        last = None

        @reaction(tick)
        def on_tick(self):
            pass

        @reaction(shutdown)
        def on_shutdown(self):
            self.last = self.tag

    class Two(Reactor):
        def compose(self):
            self.first, self.second = enclave(Ticks()), enclave(Ticks())

    run = Program(Two).start(workers=2, placement="none")
    while run.tags < 20:
        assert run.is_alive
    run.stop(WAIT)
    assert run.instance("first").last == run.instance("second").last


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("asks", [False, True])
def test_a_message_that_arrives_at_the_last_tag_is_heard(workers, asks):
    """The sender asks for the end, which comes when the receiver can know: with the message. Or the run's time is over then."""

    class Sends(Reactor):
        asks: bool
        out = Output[int]()

        @reaction(startup)
        def on_startup(self, out):
            out.set(7)
            if self.asks:
                self.request_stop()

    class Hears(Reactor):
        inp = Input[int]()
        heard = None

        @reaction(inp)
        def on_inp(self, inp):
            self.heard = self.time_ns, inp.value

    class Pair(Reactor):
        def compose(self):
            self.sends = enclave(Sends(asks=asks))
            self.hears = Hears()
            connect(self.sends.out, self.hears.inp, after=ms(2))

    run = Program(Pair()).start(workers=workers, fast=True, until=None if asks else ms(2))
    run.result()
    assert run.instance("hears").heard == (ms(2), 7)
