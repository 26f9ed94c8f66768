"""What every test must leave behind: no thread of ours, and the GIL as it was."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # what test files share: signalled, shells

# Kernels that tests start import torch when a cell needs it, as most never do: five seconds of a core for each that does not.
os.environ.setdefault("REACTORNB_PRELOAD", "0")

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def _ours():
    return [t for t in threading.enumerate() if t.name.startswith("reactornb-") and t.is_alive()]


def pytest_collection_modifyitems(config, items):
    """A time limit tells a hang, not a busy machine; and in lanes, what takes long begins first, so that all end at one time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(180))
    if getattr(config, "workerinput", None) is not None:
        items.sort(key=lambda item: -sum(item.get_closest_marker(name) is not None for name in ("e2e", "soak", "slow")))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    """Groups that a pair of pytest and pytest-xdist forgets without a word would start each shared server once in every lane."""
    if getattr(session.config.option, "loadgroup", False):
        lost = [i.nodeid for i in session.items if i.get_closest_marker("xdist_group") and "@" not in i.nodeid]
        if lost:
            raise pytest.UsageError(f"pytest-xdist does not group {lost[0]} and {len(lost) - 1} other tests")


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    watchdog = sys.modules.get("reactornb.rl.watchdog")
    if watchdog is not None:  # its thread lingers for half a second, for which each test of a training would wait here
        watchdog._LINGER_S = 0.02
        with watchdog._changed:
            watchdog._changed.notify_all()
    until = time.monotonic() + 5.0
    while (left := _ours()) and time.monotonic() < until:
        left[0].join(0.05)
    assert not left, f"threads outlived the test: {left}"
    if FREE_THREADED:
        assert not sys._is_gil_enabled(), "something turned the GIL back on"
