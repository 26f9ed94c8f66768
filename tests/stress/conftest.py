"""The tests here share modules with each other and with the reference; and they leave no thread at all behind."""

import sys
import threading
import time
from pathlib import Path

import pytest

from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "reference")]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            # Seconds each on two idle cores; but these tests are slow on purpose, and more so on a busy machine.
            item.add_marker(pytest.mark.timeout(180))
            item.add_marker(pytest.mark.alone)


@pytest.fixture(autouse=True)
def no_thread_left():
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + 5.0
    while not set(threading.enumerate()) <= before and time.monotonic() < until:
        time.sleep(0.01)  # a launch's helper thread ends a little after its caller goes on
    assert set(threading.enumerate()) <= before


@pytest.fixture
def always_share(monkeypatch):
    """Offer every level to all workers, however cheap it is."""
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
