"""What every test must leave behind: no thread of ours, and the GIL as it was."""

import sys
import threading
import time

import pytest

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def _ours():
    return [t for t in threading.enumerate() if t.name.startswith("reactornb-") and t.is_alive()]


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    until = time.monotonic() + 5.0
    while (left := _ours()) and time.monotonic() < until:
        left[0].join(0.05)
    assert not left, f"threads outlived the test: {left}"
    if FREE_THREADED:
        assert not sys._is_gil_enabled(), "something turned the GIL back on"
