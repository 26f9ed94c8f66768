"""A run with inputs from outside, in real time, goes on from a cut with those that came after it: the same run, for any number of workers."""

import threading
import time

import pytest
from cut_keeper import Copies, kept, through_codec

from reactornb import (
    Input,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Watchdog,
    connect,
    enclave,
    ms,
    reaction,
    startup,
    us,
)

TURN = threading.Semaphore(0)  # the test posts ten more


class Source(Reactor):
    """Takes what the test posts, and tells when it did."""

    act = PhysicalAction()
    dog = Watchdog(us(200))
    out = Output[int]()
    rate: int = 1
    sum = State(0)

    @reaction(startup)
    def on_startup(self, act):
        type(self).schedule = act.schedule
        TURN.release()

    @reaction(act, deadline=us(300))
    def on_act(self, act, dog, out):
        self.sum = (self.sum * 31 + act.value * self.rate + self.check_deadline(False)) & 0xFFFFFF
        out.set(self.sum + self.lag_ns)
        dog.start()
        if act.value % 10 == 9:
            TURN.release()

    @reaction(dog)
    def on_dog(self, out):
        self.sum += 1
        out.set(-self.sum)


class Sink(Reactor):
    inp = Input[int]()
    heard = State(0)

    @reaction(inp)
    def on_inp(self, inp):
        self.heard = (self.heard * 7 + inp.value) & 0xFFFFFF


class Live(Reactor):
    apart: bool

    def compose(self):
        self.source = enclave(Source()) if self.apart else Source()
        self.sink = enclave(Sink()) if self.apart else Sink()
        connect(self.source.out, self.sink.inp, after=ms(1))


def start(apart, workers, keeper, cut=None, rows=None):
    with kept(keeper, cut, rows):
        return Program(Live(apart=apart)).start(
            workers=workers, fingerprint=True, trace=True, record_outside=cut is None, placement="none"
        )


def wait_for_a_cut(keeper):
    until = time.monotonic() + 20.0
    while not keeper.cuts:
        assert time.monotonic() < until, "no cut was taken"
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_what_came_from_outside_after_a_cut_is_replayed_in_the_resumed_run(apart):
    while TURN.acquire(blocking=False):
        pass
    keeper = Copies()
    run = start(apart, 2, keeper)
    for value in range(400):
        if value % 10 == 0:
            assert TURN.acquire(timeout=20.0)
        Source.schedule(value=value)
        if value % 50 == 10:
            keeper.engine.request_cut()
        if value == 10:  # the first one is there before most of what is to be replayed
            wait_for_a_cut(keeper)
        if value % 90 == 30:
            run.set("source.rate", value)
    run.stop()
    left = run.result()
    assert keeper.cuts[-1].before_stop
    for cut, workers in zip([keeper.cuts[0], *keeper.cuts[-2:]], (1, 2, 8), strict=True):
        again = start(apart, workers, Copies(), through_codec(cut), run.outside)
        try:
            found = again.result(20.0)
        finally:
            again.stop()
        assert found.fingerprint == left.fingerprint
        tags = {name: part.tag for name, part in zip(("live", "live.source", "live.sink"), cut.enclaves, strict=False)}
        expected = [
            (tag, name) for tag, name in left.trace.executions if tag > tags.get(name.rpartition(".")[0], tags["live"])
        ]
        assert found.trace.executions == expected
