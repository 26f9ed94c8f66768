"""The measurements that start a kernel run, print what they say, and leave nothing behind."""

import json

import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
pytest.importorskip("psutil")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("kernel")]


@pytest.mark.soak
def test_the_latency_bench_runs_and_prints_one_line(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("gymnasium")
    from reactornb.bench.latency import main as latency

    assert latency(["--cells", "3", "--limit", "10000"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("trivial cell, 3 times: median ")
    assert said.count("\n") == 1


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_notebook_bench_measures_the_cell_the_panel_and_what_is_left(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("gymnasium")
    from reactornb.bench.notebook import main as bench

    file = tmp_path / "found.json"
    small = "--repeats 1 --cells 2 --seconds 0.5 --pairs 1 --rounds 3 --refreshes 100 --cycles 2"
    assert bench(["--only", "cell,speed,cost,memory", *small.split(), "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    # Times are the machine's of this minute; what must be gone is gone on every machine.
    left = {ratio["name"]: ratio["met"] for ratio in found["ratios"] if "left by" in ratio["name"]}
    assert len(left) == 2
    assert all(left.values())
    assert found["missing"] == []
    assert "trivial cell, p95" in capsys.readouterr().out
