"""Placed programs on hosts that are processes of this machine: one fingerprint."""

import os
import signal
import time

import pytest
import shipped

from reactornb import Program, ms
from reactornb.cluster.hosts import Hosts


def options(until):
    return {"until": ms(until), "fast": True, "fingerprint": True, "seed": 3}


def alone(until, workers=1):
    return Program(shipped.Main, n=4).run(workers=workers, **options(until)).fingerprint


def test_the_program_that_is_placed_here_has_one_fingerprint_for_any_number_of_workers():
    assert alone(5) == alone(5, workers=2) == alone(5, workers=8)
    assert alone(5) != alone(6)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("hosts", "workers"), [(1, 1), (2, 2), (3, 1)])
def test_processes_compute_the_fingerprint_of_one(hosts, workers):
    placed = Program(shipped.Main, n=4).run(workers=workers, place={"rollouts": Hosts.local(hosts)}, **options(50))
    assert placed.fingerprint == alone(50)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_are_profiled_and_one_that_is_killed_counts_once():
    def counts(run):
        return {row.reaction: row.count for row in run.profile()}

    here = Program(shipped.Main, n=4).start(workers=1, profile=True, **options(400))
    expected = here.result(60).fingerprint
    run = Program(shipped.Main, n=4).start(
        workers=1, profile=True, placement="none", place={"rollouts": Hosts.local(2, workers=2)}, **options(400)
    )
    try:
        (connections,) = run._engine._placed.connections.values()
        until = time.monotonic() + 60
        while run.tag.time_ns < ms(50):
            assert time.monotonic() < until
            time.sleep(0.002)
        os.kill(connections._engine.processes()[0], signal.SIGKILL)
        assert run.result(120).fingerprint == expected
    finally:
        run.stop()
    assert [member.attempt for member in run._engine._placed.members] == [1, 0]
    assert counts(run) == counts(here)
    timeline = run.timeline()
    hosts = [f"host {host} · worker {worker}" for host in range(2) for worker in range(2)]
    assert [lane.where.label for lane in timeline.lanes] == ["worker 0", *hosts]
    for lane in timeline.lanes:
        assert lane.where.worker or lane.count, lane.where.label
        assert (lane.begin >= 0).all()
        assert (lane.begin[1:] >= lane.end[:-1]).all()
    assert timeline.end_ns <= run.seconds * 1e9 + 1e9
