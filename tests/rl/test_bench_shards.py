"""`reactornb bench shards` on something tiny."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

from reactornb.bench import shards


@pytest.mark.slow
def test_the_benchmark_measures_every_number_of_shards_and_workers(tmp_path, capsys):
    file = tmp_path / "found.json"
    small = "--networks 8x8 --rows 8 --shards 1,2 --updates 3 --repeats 1 --json"
    assert shards.main([*small.split(), str(file)]) == 0
    figures = json.loads(file.read_text())["figures"]
    assert set(figures) == {f"8x8, 8 rows, {n} shards, {w}" for n in (1, 2) for w in ("1 worker", "2 workers")}
    said = capsys.readouterr().out
    assert all(label in said for label in figures)
    assert all(figure["values"][0] > 0 for figure in figures.values())
