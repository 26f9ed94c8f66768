"""MuJoCo's robots: trained on any number of threads with the same result, without the GIL, and no file left behind."""

import sys
import warnings
from importlib.util import find_spec

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")
pytest.importorskip("mujoco")

from reactornb import Program
from reactornb.rl import PPO, SAC, SACConfig, physics, spec_of
from reactornb.rl.errors import UnknownEnvironmentError

ROBOTS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")
SHORT = {
    "total_timesteps": 160,
    "learning_starts": 60,
    "batch_size": 16,
    "hidden": (8,),
    "eval_episodes": 0,
    "n_rollouts": 2,
    "train_freq": 4,
}


@pytest.mark.slow
@pytest.mark.parametrize("robot", ROBOTS)
def test_a_robot_learns_with_one_fingerprint_on_1_2_and_8_workers(robot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SACConfig.for_env(robot).total_timesteps == 1_000_000
    program = Program(SAC(env=robot, **SHORT))
    prints = {program.run(workers=workers, seed=1, fingerprint=True).fingerprint for workers in (1, 2, 8)}
    assert len(prints) == 1
    assert not list(tmp_path.iterdir())  # such as MuJoCo's MUJOCO_LOG.TXT
    if "free-threading" in sys.version:
        assert not sys._is_gil_enabled()


@pytest.mark.slow
def test_other_algorithms_take_robots_too():
    metrics = (
        Program(PPO(env="InvertedPendulum-v5", total_timesteps=256, n_steps=32, hidden=(8,), eval_episodes=2))
        .run()
        .metrics
    )
    assert len(metrics["eval_return"]) == 2


def test_a_warning_of_the_engine_is_one_of_pythons_but_for_the_one_that_only_gymnasium_can_mend():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        physics._warn("compiler attribute 'settotalmass' is deprecated")
    with pytest.warns(RuntimeWarning, match="MuJoCo: Nan, Inf or huge value in QACC"):
        physics._warn("Nan, Inf or huge value in QACC at DOF 0")


def test_what_is_missing_is_said_before_anything_runs(monkeypatch):
    monkeypatch.setattr(physics, "find_spec", lambda name: None if name == "mujoco" else find_spec(name))
    with pytest.raises(UnknownEnvironmentError, match=r"Hopper-v5.* needs MuJoCo.*pip install 'reactornb\[mujoco\]'"):
        spec_of("Hopper-v5")
