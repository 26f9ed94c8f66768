"""What a published id of an Atari game says is what `make_frames`, `make_atari` and an algorithm's `env` give: held against ALE itself."""

import pytest

pytest.importorskip("ale_py", reason="ALE is optional: make atari")

import gymnasium
import numpy as np

from reactornb.rl.atari import MNIH_2015, make_atari, make_frames, missing
from reactornb.rl.envs import spec_of
from reactornb.rl.errors import UnknownEnvironmentError

IDS = ["PongNoFrameskip-v4", "PongNoFrameskip-v0", "Pong-v4", "Pong-v0", "ALE/Pong-v5", "ALE/MsPacman-v5", "Pong"]

preprocessed = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def settings(env):
    """What an emulator does, as it says itself."""
    ale = env.unwrapped.ale
    return {
        "frameskip": env.unwrapped._frameskip,
        "repeat_action_probability": round(ale.getFloat("repeat_action_probability"), 6),
        "actions": int(env.action_space.n),
        "shape": env.observation_space.shape,
    }


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("env_id", IDS)
def test_an_id_is_what_gymnasium_makes_of_it(env_id):
    ours, theirs = make_frames(env_id), gymnasium.make(env_id if "-v" in env_id else f"ALE/{env_id}-v5")
    assert settings(ours) == settings(theirs)
    spec = gymnasium.spec(theirs.spec.id)
    assert settings(ours)["frameskip"] == spec.kwargs["frameskip"]
    assert settings(ours)["repeat_action_probability"] == spec.kwargs["repeat_action_probability"]
    for env in (ours, theirs):
        env.close()


def test_a_step_of_a_noframeskip_id_is_one_frame_and_nothing_sticks():
    env = make_frames("PongNoFrameskip-v4")
    env.reset(seed=1)
    frames = [env.step(0)[4]["episode_frame_number"] for _ in range(3)]
    assert np.diff(frames).tolist() == [1, 1]
    env.close()


def test_an_algorithm_s_env_id_is_the_same_environment():
    assert spec_of("PongNoFrameskip-v4").name == "PongNoFrameskip-v4"
    from reactornb.rl.envs import _make

    env = _make("Breakout-v4")
    assert settings(env)["frameskip"] == (2, 5)
    assert settings(env)["repeat_action_probability"] == 0.0
    env.close()


def test_ram_and_other_options_are_ale_s_own():
    env = make_frames("Pong", obs_type="ram", frameskip=1, repeat_action_probability=0.0, full_action_space=True)
    assert settings(env) == {"frameskip": 1, "repeat_action_probability": 0.0, "actions": 18, "shape": (128,)}
    env.close()


@pytest.mark.parametrize(
    ("game", "options", "words"),
    [
        (
            "PongNoFrameskip-v4",
            {"frameskip": 4},
            "PongNoFrameskip-v4 stands for frameskip=1, but 4 was given.*ALE/…-v5",
        ),
        ("Pong-v0", {"repeat_action_probability": 0.0}, "Pong-v0 stands for repeat_action_probability=0.25"),
        ("Pong-v4", {"frameskip": 4}, r"stands for frameskip=\(2, 5\)"),
        ("Pong", {"frameskip": 0}, "a frame skip is at least 1.*not 0"),
        ("Pong", {"frameskip": (5, 2)}, r"a range \(from, below\), not \(5, 2\)"),
        ("ALE/Pong-v5", {"repeat_action_probability": 1.5}, r"a probability in \[0, 1\], not 1.5"),
        ("Pong", {"sticky": 1}, "sticky"),
        ("PongNoFrameskip-v9", {}, "ALE has no 'PongNoFrameskip-v9'. Of this game it has Pong-v0"),
        ("PongDeterministic-v4", {}, "ALE has no 'PongDeterministic-v4'"),
        ("Pong-ram-v4", {}, 'obs_type="ram"'),
        ("Pongg-v4", {}, "Did you mean 'pong'"),
    ],
)
def test_settings_that_contradict_an_id_or_mean_nothing_are_refused(game, options, words):
    with pytest.raises(UnknownEnvironmentError, match=words):
        make_frames(game, **options)


@preprocessed
@pytest.mark.parametrize(
    ("game", "options", "skip", "sticky"),
    [
        ("Pong", {}, 4, 0.0),
        ("ALE/Pong-v5", {}, 4, 0.25),
        ("ALE/Pong-v5", {"sticky_actions": 0.0, "frame_skip": 2}, 2, 0.0),
        ("PongNoFrameskip-v4", {}, 4, 0.0),
        ("PongNoFrameskip-v4", {"frame_skip": 3}, 3, 0.0),
        ("PongNoFrameskip-v0", {}, 4, 0.25),
        ("PongNoFrameskip-v4", MNIH_2015, 4, 0.0),
    ],
)
def test_preprocessing_takes_from_an_id_what_is_not_given(game, options, skip, sticky, monkeypatch):
    from ale_py import vector_env

    told = {}
    real = vector_env.AtariVectorEnv.__init__

    def init(self, *args, **kwargs):
        told.update(kwargs)
        real(self, *args, **kwargs)

    monkeypatch.setattr(vector_env.AtariVectorEnv, "__init__", init)
    games = make_atari(game, 1, **options)
    games.close()
    assert (told["frameskip"], told["repeat_action_probability"]) == (skip, sticky)


@preprocessed
@pytest.mark.parametrize(
    ("game", "options", "words"),
    [
        (
            "Pong-v4",
            {},
            "Pong-v4 skips 2 to 4 frames at random, which ALE's preprocessing cannot; name PongNoFrameskip-v4",
        ),
        ("Pong-v4", {"frame_skip": 4}, r"stands for frameskip=\(2, 5\), but 4 was given"),
        ("PongNoFrameskip-v4", {"sticky_actions": 0.25}, "stands for repeat_action_probability=0.0"),
        ("PongNoFrameskip-v0", MNIH_2015, "stands for repeat_action_probability=0.25"),
    ],
)
def test_preprocessing_that_contradicts_an_id_is_refused(game, options, words):
    with pytest.raises(UnknownEnvironmentError, match=words):
        make_atari(game, 1, **options)
