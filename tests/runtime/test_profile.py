"""Where a run's time goes: counts, shares, waiting, and the timeline's file."""

import json
import threading

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction
from reactornb.errors import RunError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

WAIT = 10.0


class Work(Reactor):
    inp = Input()
    out = Output()
    barrier: object = None

    @reaction(inp)
    def on_inp(self, inp, out):
        if self.barrier is not None:
            self.barrier.wait(WAIT)
        out.set(sum(range(2000)))


class Source(Reactor):
    go = Output()
    t = Timer(0, ms(1))

    @reaction(t)
    def on_t(self, go):
        go.set(0)


class Main(Reactor):
    n: int = 4
    barrier: object = None

    def compose(self):
        self.source = Source()
        self.work = Bank(Work, self.n, barrier=self.barrier)
        self.sink = Sink(n=self.n)
        connect(self.source.go, self.work.inp, broadcast=True)
        connect(self.work.out, self.sink.inp)


class Sink(Reactor):
    inp = Input(width="n")
    n: int

    @reaction(inp)
    def on_inp(self, inp):
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_every_reaction_is_counted_and_the_shares_are_of_the_whole(workers):
    program = Program(Main())
    options = {"workers": workers, "until": ms(9), "fast": True, "fingerprint": True, "placement": "none"}
    run = program.start(profile=True, **options)
    result = run.result(WAIT)
    rows = {row.reaction: row for row in run.profile()}
    assert {name: row.count for name, row in rows.items()} == {
        "main.source.on_t": 10, "main.sink.on_inp": 10, **{f"main.work[{i}].on_inp": 10 for i in range(4)}
    }  # fmt: skip
    assert sum(row.count for row in rows.values()) == result.reactions
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    assert all(sum(row.workers.values()) == row.count and row.seconds > 0 and row.waiting >= 0 for row in rows.values())
    assert set().union(*(row.workers for row in rows.values())) <= set(range(workers))
    seconds = [row.seconds for row in run.profile()]
    assert seconds == sorted(seconds, reverse=True)
    table = str(run.profile()).splitlines()
    assert table[0].split()[:2] == ["reaction", "count"]
    assert len(table) == 7
    # Taking times changes nothing else.
    assert program.run(**options).fingerprint == result.fingerprint


def test_the_timeline_says_who_ran_what_when_and_where(tmp_path, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
    barrier = threading.Barrier(2)
    run = Program(Main(n=2, barrier=barrier)).start(workers=2, until=ms(4), fast=True, profile=True, placement="none")
    run.result(WAIT)
    timeline = run.timeline()
    assert timeline.dropped == 0
    assert len(timeline.events) == 5 * 4
    for tag in {event[4] for event in timeline.events}:
        meeting = [event for event in timeline.events if event[4] == tag and ".work[" in event[1]]
        # They met at a barrier: at the same time, on two workers.
        assert {event[0] for event in meeting} == {0, 1}
        assert max(event[2] for event in meeting) < min(event[3] for event in meeting)
    trace = json.loads(timeline.save(tmp_path / "t.json").read_text())
    complete = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert len(complete) == 20
    assert all(e["dur"] >= 0 and {"name", "ts", "pid", "tid", "args"} <= e.keys() for e in complete)
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"]
    assert names == ["worker 0", "worker 1"]


def test_a_run_that_takes_no_times_says_how_to():
    run = Program(Main()).start(workers=1, until=ms(1), fast=True, placement="none")
    run.result(WAIT)
    for ask in (run.profile, run.timeline):
        with pytest.raises(RunError, match="profile=True"):
            ask()
