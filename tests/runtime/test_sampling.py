"""Watching a run in windows: what is counted is what ran, nothing else changes, and in between everything is as it was."""

import threading

import numpy
import pytest
from stepping import Stepped, settle

from reactornb import Bank, Input, LogicalAction, Mode, Output, Program, Reactor, Timer, connect, ms, reaction, startup
from reactornb.errors import ReactionError
from reactornb.graph import assemble
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sampling import Window
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.sharing import Policy

pytestmark = pytest.mark.alone  # how threads share the machine's time is part of what is asserted

WAIT = 10.0


class Client(Reactor):
    inp = Input()
    out = Output()
    fail_at: int = -1

    @reaction(inp)
    def on_inp(self, inp, out):
        if inp.value == self.fail_at:
            raise ValueError("enough")
        out.set(inp.value + self.rng.integers(9))


class Server(Reactor):
    n: int
    rounds: int
    replies = Input(width="n")
    question = Output()
    rare = Output()
    gate: object = None
    count = 0

    @reaction(startup, replies)
    def on_replies(self, replies, question, rare):
        self.count += 1
        if self.count == 3 and self.gate is not None:
            self.gate(self)
        if self.count <= self.rounds:
            question.set(self.count)
        if self.count % 4 == 0:
            rare.set(None)

    @reaction(replies)
    def after(self, replies, rare):
        if self.count % 2 == 0:
            rare.set(None)


class Loop(Reactor):
    n: int = 4
    rounds: int = 200
    fail_at: int = -1
    gate: object = None

    def compose(self):
        self.server = Server(n=self.n, rounds=self.rounds, gate=self.gate)
        self.clients = Bank(Client, self.n, fail_at=self.fail_at)
        connect(self.server.question, self.clients.inp, broadcast=True)
        connect(self.clients.out, self.server.replies, after=0)


@pytest.fixture
def always(monkeypatch):
    """Windows follow each other at once."""
    monkeypatch.setattr(Window, "pause", 0)


def sampled(root, **options):
    """Run to the end, watched from the third round on."""
    held, go = threading.Event(), threading.Event()

    def gate(_):
        held.set()
        assert go.wait(WAIT)

    root.gate = gate
    run = Program(root).start(fast=True, placement="none", **options)
    assert held.wait(WAIT)
    run.sample()
    go.set()
    run.wait(WAIT)
    return run


def by_name(run, what):
    return {node.name.partition(".")[2]: int(v) for node, v in zip(run.program.graph.reactions, what, strict=True)}


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_what_is_counted_is_what_ran_and_what_was_written(workers, shared, monkeypatch):
    monkeypatch.setattr(Window, "least_ns", 1 << 60)  # one window to the end
    if shared:
        monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
    run = sampled(Loop(), workers=workers)
    seen = run.sample()
    counts = by_name(run, seen.counts)
    # The window opens before the fourth round.
    assert counts["server.on_replies"] == 201 - 3
    assert counts["clients[0].on_inp"] == counts["clients[3].on_inp"] == 200 - 3
    values = {p.name: int(v) for p, v in zip(run.program.graph.ports, seen.values, strict=True)}
    assert values["loop.server.question"] == values["loop.clients[1].out"] == 197
    assert values["loop.server.rare"] == 100 - 1, "two reactions write it at one tag: one value"
    assert values["loop.clients[0].inp"] == 0, "what is only connected is counted where it is written"
    assert (seen.busy[seen.counts > 0] > 0).all()
    assert seen.watched.shape == (1,)
    assert seen.watched[0] > 0


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_watched_run_has_the_same_fingerprint(workers, always, monkeypatch):
    monkeypatch.setattr(Window, "least_ns", 0)
    monkeypatch.setattr(Window, "least_tags", 3)
    expected = Program(Loop(rounds=1000)).run(workers=1, fast=True, fingerprint=True).fingerprint
    asked = threading.Event()
    program = Program(Loop(rounds=1000, gate=lambda _: asked.wait(WAIT)))
    run = program.start(workers=workers, fast=True, fingerprint=True, placement="none")

    def watch():
        while run.is_alive:
            run.sample()
            asked.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert run.result(WAIT).fingerprint == expected
    watcher.join()
    assert run.sample().counts.sum() > 0


def test_after_a_window_everything_is_called_as_before(always, monkeypatch):
    monkeypatch.setattr(Window, "least_ns", 0)
    monkeypatch.setattr(Window, "least_tags", 5)
    before = {}

    def state(schedule):
        return (
            [(r.call, r.body) for r in schedule.reactions],
            {g.index: g.caller for g in schedule.groups_in(0)},
        )

    root = Loop(rounds=100)
    original = Scheduler.adopt

    def adopt(self, schedule, *others):
        before["state"] = state(schedule)
        original(self, schedule, *others)

    monkeypatch.setattr(Scheduler, "adopt", adopt)
    run = sampled(root, workers=1)
    assert run.sample().counts.tolist() == [5] * 6
    assert state(run._engine.schedule) == before["state"]


def test_a_reaction_that_raises_in_a_window_is_named(always):
    run = sampled(Loop(fail_at=7), workers=1)
    with pytest.raises(ReactionError, match=r"loop\.clients\[0\]\.on_inp raised at tag \(0, 6\)"):
        run.result(WAIT)


def test_the_next_window_waits_until_fifty_times_the_cost_has_gone_by(monkeypatch):
    now = [0]
    monkeypatch.setattr("reactornb.runtime.sampling.time.perf_counter_ns", lambda: now[0])
    run = sampled(Loop(rounds=500), workers=1)
    ((_, window),) = run._engine._sampler._windows
    assert not window.due_ns, "it does not end while no time passes"
    window._context.reactions_done, window._ran, window._tags = 1000, 0, 99
    now[0] = Window.least_ns
    assert window.turn(True)
    assert window.due_ns == now[0] + Window.pause * (1000 * Window.reaction_ns + 100 * Window.tag_ns)
    assert window.watched_ns == now[0]


def test_a_paused_run_closes_its_window_and_a_later_one_opens():
    class Ticks(Reactor):
        tick = Timer(0, ms(1))

        @reaction(tick)
        def on_tick(self): ...

    made = Stepped(Ticks())
    run = made.run
    try:
        run.sample()
        made.advance(ms(1))
        assert run.sample().counts.tolist() == [1]
        settle(run.pause())
        scheduler = run._engine.schedulers[0]
        assert scheduler.commands._window is None
        settle(run.resume())
        assert not scheduler.commands.given
    finally:
        run.stop()


def test_modes_entered_in_a_window_are_watched_too(always, monkeypatch):
    monkeypatch.setattr(Window, "least_ns", 1 << 60)

    class Modal(Reactor):
        gate: object = None
        a = Mode(initial=True)
        b = Mode()
        again = LogicalAction()
        count = 0

        @reaction(startup)
        def begin(self, again):
            again.schedule()

        with a:

            @reaction(again)
            def in_a(self, b):
                self.count += 1
                if self.count == 3:
                    self.gate(self)
                b.set()

        with b:

            @reaction(again)
            def in_b(self, a):
                self.count += 1
                a.set()

        @reaction(again)
        def go_on(self, again):
            if self.count < 20:
                again.schedule()

    run = sampled(Modal(), workers=1)
    run.result(WAIT)
    counts = by_name(run, run.sample().counts)
    assert counts["in_a"] + counts["in_b"] >= 10
    assert numpy.isclose(counts["in_a"], counts["in_b"], atol=2)


def test_a_run_that_nobody_samples_has_no_sampler():
    run = Program(Loop(rounds=3)).start(workers=1, fast=True)
    run.result(WAIT)
    assert run._engine._sampler is None
    assert assemble(Loop()).levels
