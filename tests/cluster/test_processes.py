"""Placed programs on hosts that are processes of this machine: one fingerprint."""

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
