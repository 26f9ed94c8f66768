"""A training that films itself: which weights are filmed, that nothing changes by it, and that films are kept with the run."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium

from reactornb import Program, resume
from reactornb.durable import storage
from reactornb.errors import ReactionError
from reactornb.rl import A3C, DDPG, DQN, PPO, SAC, TD3, Watched, videos
from reactornb.rl.camera import MOST, has_camera, with_one_more
from reactornb.rl.errors import ConfigError

_PPO = {
    "total_timesteps": 400, "n_rollouts": 2, "n_envs": 2, "n_steps": 20, "batch_size": 40, "hidden": (8,), "n_epochs": 2, "eval_episodes": 0,
}  # fmt: skip
_DQN = {
    "total_timesteps": 400, "n_rollouts": 2, "train_freq": 20, "batch_size": 16, "buffer_size": 100, "learning_starts": 20, "hidden": (8,),
    "eval_episodes": 0,
}  # fmt: skip


def ppo(**more):
    return PPO(env="CartPole-v1", **{**_PPO, **more})


def seen(run):
    """What is in the films of a run."""
    return [(film.trained, film.label, film.rewards, film.actions) for film in videos(run)]


@pytest.mark.slow
def test_each_so_many_steps_the_weights_of_that_round_are_filmed_and_the_last_ones():
    run = Program(ppo(video_every=160)).start(workers=2, seed=1)
    run.result()
    films = videos(run)
    assert [film.trained for film in films] == [160, 320, 400]
    assert films[0].label == "after 160 steps"
    for film in films:
        assert film.count == len(film.rewards) + 1 == len(film.frames)
        assert film.total == len(film.rewards), "it is CartPole"
    assert has_camera(run)
    assert has_camera(run.program)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        ppo, lambda **more: ppo(overlap=True, **more), lambda **more: DQN(env="CartPole-v1", **{**_DQN, **more}),
        *(partial(cls, **_DQN) for cls in (SAC, TD3, DDPG)),
    ],
    ids=["ppo", "ppo, overlap", "dqn", "sac", "td3", "ddpg"],
)  # fmt: skip
def test_films_change_nothing_and_are_the_same_on_1_2_and_8_workers(make):
    runs = [Program(make(video_every=100)).start(workers=workers, seed=1, fingerprint=True) for workers in (1, 2, 8)]
    prints = [run.result().fingerprint for run in runs]
    assert len(set(prints)) == 1
    first, *others = [seen(run) for run in runs]
    assert len(first) >= 2
    assert others == [first, first]
    without = Program(make()).start(workers=2, seed=1)
    without.result()
    assert videos(without) == []
    assert np.array_equal(without.instance("learner").flat.publish(), runs[0].instance("learner").flat.publish())


@pytest.mark.slow
def test_a_kept_run_goes_on_with_its_films(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    whole = Program(ppo(video_every=80)).start(workers=1, seed=1, fingerprint=True)
    whole.result()
    run = Program(ppo(video_every=80)).start(workers=2, seed=1, fingerprint=True, keep="filmed")
    run.pause()
    run.stop()
    again = resume("filmed")
    assert again.result(60).fingerprint == whole.fingerprint
    assert seen(again) == seen(whole)
    assert np.array_equal(videos(again)[0].frames[-1], videos(whole)[0].frames[-1])


@pytest.mark.slow
def test_a3c_is_filmed_too():
    run = Program(A3C(env="CartPole-v1", total_timesteps=300, hidden=(8,), eval_episodes=0, video_every=100)).start(
        workers=2, seed=1
    )
    run.result()
    assert len(videos(run)) >= 1


class Blind(gymnasium.Env):
    """Nobody can see it."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


@pytest.mark.slow
def test_an_environment_that_draws_nothing_is_told_so_before_the_training():
    with pytest.raises(ReactionError, match=r"Blind .*draws no pictures"):
        Program(PPO(env=Blind, **{**_PPO, "video_every": 100})).run(seed=1)


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="video_every=-1 must be"):
        Program(ppo(video_every=-1))


def test_of_very_many_films_every_other_one_stays():
    films = [Watched([np.zeros((4, 4, 3), np.uint8)], [], [], 30, str(i)) for i in range(MOST + 1)]
    assert with_one_more(films[:5], films[5]) == films[:6]
    assert with_one_more(films[:MOST], films[MOST]) == [*films[:MOST:2], films[MOST]]
