"""What tests of kept runs share: folders of their own."""

import pytest

from reactornb.durable import storage


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Where runs are kept meanwhile; nothing is synced, since no test here takes the power away."""
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    return tmp_path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An index of runs of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
