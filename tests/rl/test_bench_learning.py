"""`reactornb bench learning`: its table and its judgement, on runs far too short to learn anything."""

import json

import pytest

from reactornb.bench import learning


@pytest.mark.slow
def test_it_reports_each_seed_beside_what_is_published_and_fails_below_the_bar(tmp_path, capsys):
    file = tmp_path / "found.json"
    words = ["--algorithms", "a2c", "--seeds", "2", "--steps", "400", "--workers", "2", "--json", str(file)]
    assert learning.main(words) == 0
    assert learning.main([*words, "--check"]) == 1
    said = capsys.readouterr().out
    assert "RL Baselines3 Zoo" in said
    assert "bar: every seed at least 450, MISSED" in said
    rows = json.loads(file.read_text())["a2c"]
    assert [row["seed"] for row in rows] == [1, 2]
    assert all(row["greedy_episodes"] == 20 and row["steps"] <= 400 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "environment", "bar"),
    [("PPO", "Acrobot-v1", -100), ("A2C", "Acrobot-v1", None), ("A2C", "Pendulum-v1", -300)],
)
def test_a_run_too_short_for_an_episode_to_end_has_no_mean_of_training(
    algorithm, environment, bar, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(learning.TARGETS, "short", learning.Target(algorithm, environment, bar, "none found"))
    file = tmp_path / "found.json"
    # One update: fewer steps of each environment than an episode has, which is 500 with Acrobot and 200 with Pendulum.
    assert learning.main(["--algorithms", "short", "--seeds", "1", "--steps", "1", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["short"]
    assert (row["episodes"], row["training"]) == (0, None)
    assert row["greedy_episodes"] == 20
    assert "20 greedy episodes, no episode ended in training, " in capsys.readouterr().out


def test_a_name_that_is_not_there_is_answered_with_one_that_is(capsys):
    with pytest.raises(SystemExit):
        learning.main(["--algorithms", "dqm"])
    assert "Did you mean 'dqn'?" in capsys.readouterr().err


def test_every_bar_of_the_issue_is_held():
    bars = {name: target.bar for name, target in learning.TARGETS.items() if target.bar is not None}
    assert bars == {
        "dqn": 475, "ppo": 475, "ppo-acrobot": -100, "ppo-pendulum": -300, "a2c": 450, "impala": 475, "appo": 475, "sac": -245, "td3": -242, "bc": 475,
        "recurrent-ppo": 400, "mappo": -32.2,
    }  # fmt: skip
    assert set(learning.DEFAULT) == set(bars) - {"mappo"}  # which takes half an hour a seed


@pytest.mark.slow
def test_policies_calls_are_measured_for_both_libraries():
    found = learning.inference(rows=(2,), repeats=10)
    assert set(found) == {"numpy, 2 rows", "torch, 2 rows"}
    assert all(value > 0 for value in found.values())
