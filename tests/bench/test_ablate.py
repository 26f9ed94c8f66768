"""`reactornb bench ablate`: each heuristic is a switch that exists, and is measured beside all of them."""

import json
from dataclasses import fields

import pytest

from reactornb.bench import ablate
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy


def test_every_switch_of_the_policy_is_a_heuristic_that_is_measured():
    switches = {field.name for field in fields(Policy) if isinstance(field.default, bool)}
    assert switches == set(ablate.HEURISTICS)


@pytest.mark.slow
def test_each_heuristic_is_measured_beside_all_of_them_and_turned_on_again(tmp_path, capsys, monkeypatch):
    made, used = [], []

    def make(member):
        made.append(member)
        return lambda turn: used.append(LevelRunner.policy)

    monkeypatch.setattr(ablate, "CASES", {"small": (4, 12, make)})
    file = tmp_path / "measured.json"
    words = ["--repeats", "1", "--runs", "1", "--json", str(file)]
    assert ablate.main(words) == 0
    measured = json.loads(file.read_text())
    assert set(measured["figures"]) == {"small, all", *(f"small, no {name}" for name in ablate.HEURISTICS)}
    assert {ratio["name"] for ratio in measured["ratios"]} == {f"small, without {name}" for name in ablate.HEURISTICS}
    assert "small, without pieces" in capsys.readouterr().out
    assert {policy for policy in used if policy != Policy()} == {Policy(**{name: False}) for name in ablate.HEURISTICS}
    assert LevelRunner.policy == Policy()
    assert sorted(set(made)) == [0, 1, 2, 3]
