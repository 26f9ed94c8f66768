"""Fingerprints that must not change by themselves: not with the build of CPython, the number of workers, or the day."""

import json

import pytest
from golden_programs import FILE, GOLDEN, WORKERS, fingerprint

from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.sharing import Policy

KEPT = json.loads(FILE.read_text(encoding="utf-8"))


def test_a_fingerprint_is_kept_of_every_program_and_of_no_other_and_all_differ():
    assert list(KEPT) == list(GOLDEN)
    assert len(set(KEPT.values())) == len(KEPT)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", GOLDEN)
def test_the_fingerprint_is_the_one_that_is_kept(name, workers, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))  # with two workers, each level is two workers'
    assert fingerprint(name, workers) == KEPT[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_plain_loop_leaves_it_too(name, monkeypatch):
    monkeypatch.setattr(Scheduler, "fused", False)
    assert fingerprint(name, 2) == KEPT[name]
