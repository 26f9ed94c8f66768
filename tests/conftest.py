"""What every test must leave behind: no thread of ours, and the GIL as it was."""

import sys
import threading
import time

import pytest

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def _ours():
    return [t for t in threading.enumerate() if t.name.startswith("reactornb-") and t.is_alive()]


def pytest_collection_modifyitems(config, items):
    """In lanes, what takes long begins first: then no lane ends long after the others. (`sort` keeps the order of equals.)"""
    if getattr(config, "workerinput", None) is not None:
        items.sort(key=lambda item: -sum(item.get_closest_marker(name) is not None for name in ("e2e", "soak", "slow")))


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    until = time.monotonic() + 5.0
    while (left := _ours()) and time.monotonic() < until:
        left[0].join(0.05)
    assert not left, f"threads outlived the test: {left}"
    if FREE_THREADED:
        assert not sys._is_gil_enabled(), "something turned the GIL back on"
