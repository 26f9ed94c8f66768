"""Hosts that are processes are killed, stopped and cut off at any moment: others go on, and nobody notices."""

import os
import random  # noqa: TID251 - chooses when
import signal
import time

import pytest
from losing import (
    WAIT,
    Boundaries,
    EarlyDeaths,
    Killer,
    OnEngine,
    Proxied,
    Zombies,
    alone,
    is_alive,
    silence,
    start,
    wait_until,
)
from trainings import OPTIONS, Train
from trainings import alone as train_alone

from reactornb import Program, ms
from reactornb.cluster import past
from reactornb.cluster.hosts import Hosts
from reactornb.cluster.local import LocalEngine
from reactornb.cluster.loopback import LoopbackConnections, LoopbackHosts

UNTIL = 400  # ms of logical time
SILENCE_S = 3.0  # a host that has nothing to say still beats each second


@pytest.fixture(scope="module")
def expected():
    """The results without hosts, by how long."""
    found = {}

    def of(until):
        if until not in found:
            result = alone(until)
            found[until] = result.fingerprint, result.tag, result.metrics
        return found[until]

    return of


def ended(run):
    """Fingerprint, last tag and metrics of a run; and how often its hosts were replaced."""
    try:
        found = run.result(WAIT)
    finally:
        run.stop()
    return (found.fingerprint, found.tag, found.metrics), sum(row.restarts for row in run.hosts)


def engine_of(run):
    (connections,) = run._engine._placed.connections.values()
    return connections._engine


def kill_at_random(run, shares, times, seed):
    """Kill hosts whenever the run has come to a random tag and a moment later, and some of their replacements at any moment of their start."""
    draw = random.Random(seed)
    killer = Killer(engine_of(run))
    for at in sorted(draw.randrange(UNTIL * 3 // 4) for _ in range(times)):
        wait_until(lambda at=at: run.tag.time_ns >= ms(at) or not run.is_alive)
        time.sleep(draw.random() * 0.01)
        share = draw.randrange(shares)
        killer.kill(share, lambda: not run.is_alive)
        while draw.random() < 0.5:
            wait_until(lambda share=share: killer.new(share) is not None or not run.is_alive)
            time.sleep(draw.random() * 0.8)
            killer.kill(share, lambda: not run.is_alive)
    return killer.kills


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("hosts", "workers", "times"),
    [(2, 1, 2), *(pytest.param(h, w, 17, marks=pytest.mark.soak) for h in (1, 2, 4) for w in (1, 2))],
)
def test_hosts_are_killed_at_random_moments(hosts, workers, times, monkeypatch, expected):
    monkeypatch.setattr(
        past, "_MOST_BATCHES", 30 if workers == 2 else 10_000
    )  # go on from a state, or from the beginning
    run = start(Hosts.local(hosts, restarts=1000), UNTIL, workers)
    kills = kill_at_random(run, hosts, times, 10 * hosts + workers)
    found, restarts = ended(run)
    assert found == expected(UNTIL)
    assert kills >= times
    assert restarts >= times
    assert any(member._past.seq for member in run._engine._placed.members) == (workers == 2)


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [{2, 3}, {1, 2}])
def test_a_host_is_killed_before_it_says_hello(attempts, expected):
    engine = EarlyDeaths(attempts)
    run = start(OnEngine(1, engine), UNTIL)
    if 1 not in attempts:
        assert Killer(engine).kill(0)
    found, restarts = ended(run)
    assert found == expected(UNTIL)
    assert engine.killer.kills == 2
    assert restarts == 3 - (1 in attempts)


@pytest.mark.slow
def test_a_host_that_is_killed_is_missed_without_waiting_for_its_silence(monkeypatch, expected):
    silence(monkeypatch, 1e6)
    run = start(Hosts.local(1), UNTIL)
    wait_until(lambda: run.tag.time_ns >= ms(20))
    assert Killer(engine_of(run)).kill(0)
    assert ended(run) == (expected(UNTIL), 1)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before the other one is there", "after"])
def test_a_host_that_is_stopped_is_replaced_and_when_it_comes_back_nothing_changes(when, monkeypatch, expected):
    silence(monkeypatch, SILENCE_S)
    again = []

    def come_back():
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: not is_alive(pid))  # it finds its link closed, and ends
        again.append(engine.start_again())

    engine = Zombies(come_back if when.startswith("before") else lambda: None)
    run = start(OnEngine(1, engine), UNTIL)
    wait_until(lambda: run.tag.time_ns >= ms(20))
    pid = engine.processes()[0]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: engine.processes()[0] != pid)
    if when == "after":
        assert is_alive(pid)
        wait_until(lambda: run.tag.time_ns >= ms(50) or not run.is_alive)
        os.kill(pid, signal.SIGCONT)
    found, restarts = ended(run)
    assert found == expected(UNTIL)
    assert restarts >= 1
    wait_until(lambda: not is_alive(pid))
    assert all("was replaced by attempt 2" in "".join(one.lines) for one in again)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["freeze", "reset"])
def test_a_link_is_taken_down(how, monkeypatch, expected):
    silence(monkeypatch, SILENCE_S if how == "freeze" else 1e6)
    engine = Proxied()
    run = start(OnEngine(2, engine), UNTIL)
    wait_until(lambda: run.tag.time_ns >= ms(20))
    getattr(engine.proxy, how)()
    found, restarts = ended(run)
    assert found == expected(UNTIL)
    assert restarts >= 2


# -- at every message ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hosts", "saved_after", "again"),
    [(1, 10_000, 0), (2, 2, 2), *(pytest.param(2, s, a, marks=pytest.mark.soak) for s in (10_000, 2) for a in (0, 1, 3, 5))],
)  # fmt: skip
@pytest.mark.parametrize("which", ["sent", "heard"])
@pytest.mark.parametrize("before", [True, False])
def test_a_host_is_lost_at_every_message_and_maybe_again_soon(hosts, saved_after, again, which, before, monkeypatch):
    monkeypatch.setattr(past, "_MOST_BATCHES", saved_after)
    until = ms(6)
    without = train_alone(Train(n=2), until=until)
    made = LoopbackConnections.__init__
    boundaries = None

    def init(connections, unpack):
        nonlocal boundaries
        made(connections, unpack)
        boundaries = Boundaries(connections, {at, at + again}, which, before=before, lose=lambda _, link: link.cut())

    monkeypatch.setattr(LoopbackConnections, "__init__", init)
    for at in range(1, 10_000):
        run = Program(Train(n=2)).start(workers=1, place={"play": LoopbackHosts(hosts)}, until=until, **OPTIONS)
        found, restarts = ended(run)
        assert found == (without.fingerprint, without.tag, without.metrics), at
        assert restarts <= boundaries.reached
        if not boundaries.reached:
            break
    assert at > 6


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("which", ["sent", "heard"])
@pytest.mark.parametrize("before", [True, False])
def test_a_process_is_killed_at_every_message(which, before, expected):
    class Losing(OnEngine):
        def open(self, shares):
            connections = super().open(shares)
            killer = Killer(self.engine)
            self.boundaries = Boundaries(
                connections, {at}, which, before=before, lose=lambda share, _: killer.kill(share)
            )
            return connections

    for at in range(1, 10_000):
        hosts = Losing(2, LocalEngine())
        found, restarts = ended(start(hosts, 8))
        assert found == expected(8), at
        assert restarts <= hosts.boundaries.reached
        if not hosts.boundaries.reached:
            break
    assert at > 6
