"""Sweeps of trainings: a row is a run that can be repeated alone, beside whatever it ran."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

from reactornb import Program
from reactornb.rl import A2C, PPO, best_policy
from reactornb.sweeps import sweep

README = Path(__file__).parents[2] / "README.md"
TINY = {"total_timesteps": 400, "n_rollouts": 2, "n_envs": 2, "n_steps": 10, "hidden": (8,), "eval_episodes": 2}


@pytest.mark.slow
def test_a_training_of_a_sweep_is_the_one_that_its_row_says():
    made = sweep(
        PPO, env="CartPole-v1", learning_rate=[1e-3, 1e-2], batch_size=20, seeds=2, at_once=4, fingerprint=True, **TINY
    )
    assert made.result(120) is made
    assert {t.state for t in made} == {"finished"}
    assert len({t.fingerprint for t in made}) == 4
    for trial in made:
        alone = Program(PPO, **trial.given).run(seed=trial.seed, fingerprint=True, workers=2)
        assert alone.fingerprint == trial.fingerprint
        assert trial.total == 400
        assert trial.score == alone.metrics["eval_mean"][-1]


@pytest.mark.slow
def test_algorithms_and_environments_are_swept_and_a_wrong_one_is_a_row():
    made = sweep([PPO, A2C], env=["CartPole-v1", "Nowhere-v1"], total_timesteps=200, eval_episodes=1)
    assert made.wait(120)
    assert [t.state for t in made] == ["finished", "failed", "finished", "failed"]
    assert "Nowhere-v1" in made[1].failure


@pytest.mark.slow
def test_the_policy_of_each_training_is_taken_before_its_run_is_let_go():
    made = sweep(
        PPO, env="CartPole-v1", learning_rate=[1e-3, 1e-2], batch_size=20, keep_best=True, take=best_policy, **TINY
    )
    assert made.wait(120)
    assert [trial.note for trial in made] == ["", ""]
    assert made.best.taken.evaluate("CartPole-v1", episodes=2).shape == (2,)


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="starts a process")
def test_what_the_readme_shows_of_sweeps_is_executed_as_it_stands_there_but_for_fewer_steps(tmp_path):
    pytest.importorskip("optuna")
    text = README.read_text(encoding="utf-8").partition("## Many runs at once\n")[2]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    for long, short in (
        ("seeds=5, ", "seeds=1, total_timesteps=400, "),
        ("trials=50, ", "trials=2, total_timesteps=400, "),
    ):
        assert long in code
        code = code.replace(long, short)
    (tmp_path / "example.py").write_text(f"{code}\nprint(len(found.result()))\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=170,
        env={**os.environ, "REACTORNB_RUNS": str(tmp_path / "runs")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["learning_rate", "score", "least", "greatest", "trials"]
    assert "Program(PPO, env='CartPole-v1', learning_rate=" in done.stdout
    assert done.stdout.splitlines()[-1] == "2"
    assert len(list((tmp_path / "runs").glob("lr-*"))) == 3
