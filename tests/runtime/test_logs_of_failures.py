"""What counts of a reactor's logs when a level fails: what it logged at earlier levels of that tag does, for any number of workers."""

import threading

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction
from reactornb.errors import ReactionError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.logs import Log
from reactornb.runtime.sharing import Policy

MET = threading.Event()


class Clock(Reactor):
    tick = Timer(0, ms(1))
    first = Output[int]()
    out = Output[int]()
    ready = Input[int]()

    @reaction(tick)
    def on_tick(self, first):
        first.set(self.time_ns // ms(1))

    @reaction(ready)
    def on_ready(self, out):
        out.set(self.time_ns // ms(1))


class Member(Reactor):
    """Logs at two levels of each tag: first each member does, and then they all go on."""

    early = Input[int]()
    late = Input[int]()
    said = Output[int]()
    fails_at: int = 2
    waits: bool = True

    @reaction(early)
    def on_early(self, early, said):
        self.log(early=early.value)
        if self.bank_index == 0:
            said.set(early.value)

    @reaction(late)
    def on_late(self, late):
        if self.bank_index == 0:
            if late.value == self.fails_at:
                if self.waits:  # until another worker's member has logged, if there is another worker
                    MET.wait(0.2)
                raise ValueError("as planned")
        else:
            self.log(late=late.value)
            if late.value == self.fails_at:
                MET.set()


class Two(Reactor):
    n: int = 8
    fails_at: int = 2
    waits: bool = True

    def compose(self):
        self.clock = Clock()
        self.members = Bank(Member, self.n, fails_at=self.fails_at, waits=self.waits)
        connect(self.clock.first, self.members.early, broadcast=True)
        connect(self.members[0].said, self.clock.ready)
        connect(self.clock.out, self.members.late, broadcast=True)


def rows(run, name):
    """(time in ms, value) of all members, in order."""
    metric = run.metrics[name]
    return sorted(zip((metric.time_ns // 1_000_000).tolist(), metric.values.tolist(), strict=True))


@pytest.mark.thread_unsafe(reason="one event, and a policy of the class")
@pytest.mark.parametrize("share_above_ns", [0, None])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("fails_at", [0, 2])
def test_what_was_logged_at_an_earlier_level_of_the_tag_counts(fails_at, trace, workers, share_above_ns, monkeypatch):
    if share_above_ns is not None:
        monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=share_above_ns))
    MET.clear()
    waits = workers > 1 and share_above_ns == 0
    run = Program(Two, fails_at=fails_at, waits=waits).start(workers=workers, fast=True, trace=trace)
    with pytest.raises(ReactionError, match=r"members\[0\].on_late"):
        run.result(30)
    assert rows(run, "early") == [(t, float(t)) for t in range(fails_at + 1) for _ in range(8)]
    late = rows(run, "late") if fails_at else run.metrics.get("late")
    assert late == ([(t, float(t)) for t in range(fails_at) for _ in range(7)] or None)
    if waits and fails_at:
        assert MET.is_set(), "another worker's member had logged by then"


class Leaf(Reactor):
    tick = Timer(0, ms(1))
    fails_at: int = 99

    @reaction(tick)
    def on_tick(self):
        self.log(seen=self.time_ns // ms(1))
        if self.time_ns // ms(1) == self.fails_at:
            raise ValueError("as planned")


class Enclaves(Reactor):
    def compose(self):
        self.bad = enclave(Leaf(fails_at=3))
        self.good = enclave(Leaf())


def test_what_other_enclaves_logged_from_the_failures_tag_on_does_not_count():
    run = Program(Enclaves).start(workers=2, fast=True, until=ms(20))
    with pytest.raises(ReactionError, match="as planned"):
        run.result(30)
    assert max(run.metrics["seen"].time_ns) == ms(3)
    assert run.metrics["seen"].time_ns.tolist().count(ms(3)) == 1


@pytest.mark.parametrize("rows_before", [0, 5, Log.size - 1, Log.size, 3 * Log.size + 1])
def test_rows_are_told_by_when_they_were_logged(rows_before, monkeypatch):
    now = 0.0
    monkeypatch.setattr("reactornb.runtime.logs._now", lambda: now)
    log = Log()
    for _ in range(rows_before):
        log.add((0, 0), {"x": 1.0})
    now = 2.0
    log.add((5, 0), {"x": 2.0})
    now = 3.0
    log.add((5, 0), {"x": 3.0})
    log.add((5, 0), {"y": 4.0})
    log.forget((5, 0), 3_000_000_000)
    assert len(log) == rows_before + 1
    log.forget((5, 0))
    assert len(log) == rows_before
