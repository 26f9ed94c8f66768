"""`%reactor sweep` on a real shell."""

import pytest

pytest.importorskip("IPython")

from IPython.core.error import UsageError
from shells import loaded_shell

from reactornb.sweeps.running import live_sweeps

pytestmark = pytest.mark.thread_unsafe(reason="one shell a process")

CELL = """%%reactor Walk
rate: float = 1.0
period: Duration = ms(1)
tick = Timer(0, "period")
needs_physical_time = False

@reaction(tick)
def on_tick(self):
    self.at = getattr(self, "at", 0.0) + self.rate
    self.log(episode_return=self.at)
    if self.at >= 5 * self.rate:
        self.request_stop()
"""


@pytest.fixture
def cells():
    with loaded_shell() as loaded:
        loaded.ok(CELL)
        yield loaded


def test_a_list_is_swept_and_the_sweep_shows_itself(cells):
    cells.ok("found = %reactor sweep Walk rate=[1.0,2.0] --seeds 2 --fingerprint")
    found = cells.names["found"]
    assert found.wait(30)
    assert [(t.swept["rate"], t.seed) for t in found] == [(1.0, 0), (2.0, 0), (1.0, 1), (2.0, 1)]
    assert all(t.fingerprint for t in found)
    said = cells.ok("found")
    assert "finished, 4 trials (4 finished)" in said
    assert "rate  score" in said


def test_seeds_ranges_and_variables_are_read_as_in_python(cells):
    cells.ok("few = [0.5, 0.25]")
    cells.ok("found = %reactor sweep Walk rate=few --seeds 3,5 --minimize --score episode_return")
    found = cells.names["found"]
    assert found.wait(30)
    assert [(t.swept["rate"], t.seed) for t in found] == [(0.5, 3), (0.25, 3), (0.5, 5), (0.25, 5)]
    assert found.best.swept == {"rate": 0.25}
    cells.ok("drawn = %reactor sweep Walk rate=between(1e-3,1,log) --samples 3")
    assert cells.names["drawn"].wait(30)
    assert len(cells.names["drawn"]) == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sweep Wolk rate=[1.0]", "no reactor class 'Wolk'. Did you mean 'Walk'"),
        ("sweep Walk rat=[1.0]", "no parameter 'rat'"),
        ("sweep Walk rate=between(1)", "between"),
        ("sweep Walk rate=between(0,1)", "samples"),
        ("sweep Walk --seeds many", "a number of seeds"),
        ("sweep Walk --seed 3", "seeds=5"),
    ],
)
def test_a_mistake_is_one_line(cells, line, words):
    said = cells(f"%reactor {line}")
    assert isinstance(cells.error, UsageError)
    assert words in said
    assert not live_sweeps()


def test_a_sweep_is_listed_and_stopped_by_its_variable_or_with_all(cells):
    cells.ok(CELL.replace("5 * self.rate", "float('inf')"))
    for command in ("stop found", "stop --all"):
        cells.ok("found = %reactor sweep Walk rate=[1.0,2.0,3.0] --at-once 1")
        found = cells.names["found"]
        while found[0].run is None:
            assert not found.wait(0.01)
        assert f"{found.name}: running, 3 trials" in cells.ok("%reactor list")
        cells.ok(f"%reactor {command}")
        assert not found.is_alive
        assert [t.state for t in found] == ["stopped", "waiting", "waiting"]


def test_help_has_the_twin_in_python(cells):
    assert "sweep(PPO" in cells.ok("%reactor sweep --help")
    assert "%reactor sweep" in cells.ok("%reactor help")
