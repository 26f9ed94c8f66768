"""Atari: the preprocessing against one of our own, ALE's builds against each other, and one thread to an emulator."""

import functools
import hashlib
import json
import os
import sys
import threading
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("ale_py", reason="no Atari here: make atari builds it")

from gymnasium.vector import AutoresetMode, VectorEnv  # noqa: E402

from reactornb import Bank, Output, Program, Reactor, Timer, connect, ms, reaction  # noqa: E402
from reactornb.errors import ReactorError  # noqa: E402
from reactornb.rl import atari  # noqa: E402
from reactornb.rl.atari import MACHADO_2018, MNIH_2015, EmulatorBusyError, make_atari, make_frames  # noqa: E402
from reactornb.rl.errors import UnknownEnvironmentError  # noqa: E402
from reactornb.rl.rollout import Rollout  # noqa: E402

pytestmark = pytest.mark.skipif(atari.missing() is not None, reason=str(atari.missing()))


@pytest.fixture
def closing():
    """Closes what is handed to it."""
    made = []
    yield lambda env: made.append(env) or env
    for env in made:
        env.close()


def area_mean(screen, size):
    """Scale by averaging over areas, as published; each source pixel weighs as much as its share of the target's area."""

    def weights(n):
        edges = np.arange(size + 1) * n / size
        low, high = edges[:-1, None], edges[1:, None]
        pixels = np.arange(n)[None, :]
        return np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None) * size / n

    return weights(screen.shape[0]) @ screen.astype(float) @ weights(screen.shape[1]).T


@pytest.mark.slow
def test_the_preprocessing_is_the_published_one(closing):
    # The same game twice: through ALE's preprocessing, and frame by frame with the published steps written out here.
    games = closing(make_atari("Pong", 1, noop_max=0))
    raw = closing(
        make_frames("Pong", frameskip=1, repeat_action_probability=0.0, obs_type="grayscale", full_action_space=False)
    )
    seen, _ = games.reset(seed=5)
    first, _ = raw.reset(seed=5)
    screens = [np.zeros((84, 84))] * 3 + [area_mean(first, 84)]
    assert np.abs(seen[0] - np.stack(screens)).max() <= 1.0
    rng = np.random.default_rng(0)
    total = 0.0
    for _ in range(120):
        action = int(rng.integers(6))
        seen, rewards, *_ = games.step(np.array([action]))
        frames, reward = [], 0.0
        for _ in range(4):
            frame, got, *_ = raw.step(action)
            frames.append(frame)
            reward += got
        screens = [*screens[1:], area_mean(np.maximum(frames[-1], frames[-2]), 84)]
        assert np.abs(seen[0] - np.stack(screens)).max() <= 1.0  # rounding
        assert rewards[0] == reward
        total += reward
    assert total < 0  # a point was lost: rewards were compared, not only zeros


# Computed with the stock wheels of ale-py 0.12.1 for ordinary CPython 3.13. The suite's second run does that again.
STOCK = {
    "pong": ("Pong", "12d25673592c93c9", "df1e3ac425922229"),
    "ms_pacman": ("MsPacman", "98518739a382b026", "d3beaa4c6232f51c"),
    "space_invaders": ("SpaceInvaders", "03aaa1c69e0336a3", "b799ab704502f02a"),
    "breakout": ("Breakout", "9b31e321c30417d4", "ec186bcf27c9f3c7"),
}


@pytest.mark.slow
@pytest.mark.parametrize("rom", STOCK)
def test_frames_and_preprocessed_games_are_those_of_the_stock_wheels(rom, closing):
    name, frames_digest, games_digest = STOCK[rom]
    env = closing(make_frames(name))
    rng, frames = np.random.default_rng(1), hashlib.sha256()
    frames.update(env.reset(seed=3)[0].tobytes())
    for _ in range(200):
        seen, reward, terminated, truncated, _ = env.step(int(rng.integers(4)))
        frames.update(seen.tobytes())
        frames.update(str((float(reward), terminated, truncated)).encode())
        if terminated:
            env.reset()
    games = closing(make_atari(name, 2, clip_rewards=True))
    rng, seens = np.random.default_rng(1), hashlib.sha256()
    seens.update(games.reset(seed=3)[0].tobytes())
    for _ in range(100):
        seen, rewards, *_ = games.step(rng.integers(4, size=2))
        seens.update(seen.tobytes())
        seens.update(rewards.tobytes())
    assert (frames.hexdigest()[:16], seens.hexdigest()[:16]) == (frames_digest, games_digest)


def play(games, steps, seed=0):
    rng, rewards, ended, lives = np.random.default_rng(seed), [], [], []
    _, infos = games.reset(seed=seed)
    lives.append(infos["lives"])
    for _ in range(steps):
        _, reward, terminated, _, infos = games.step(rng.integers(games.single_action_space.n, size=games.num_envs))
        rewards.append(reward)
        ended.append(terminated)
        lives.append(infos["lives"])
    return np.array(rewards), np.array(ended), np.array(lives)


@pytest.mark.slow
def test_a_lost_life_ends_the_episode_only_where_that_is_asked_for(closing):
    for ends in (True, False):
        games = closing(make_atari("Breakout", 4, terminal_on_life_loss=ends))
        _, ended, lives = play(games, 250)
        lost = (lives[1:] < lives[:-1]) & (lives[1:] > 0)
        assert lost.any()
        assert (ended[lost] == ends).all()


@pytest.mark.slow
def test_rewards_are_clipped_only_where_that_is_asked_for(closing):
    plain, _, _ = play(closing(make_atari("SpaceInvaders", 4)), 150)
    clipped, _, _ = play(closing(make_atari("SpaceInvaders", 4, clip_rewards=True)), 150)
    assert plain.max() > 1
    assert (clipped == np.clip(plain, -1, 1)).all()


@pytest.mark.slow
def test_a_sticky_action_is_the_one_before_it(closing):
    games = closing(make_atari("Breakout", 2, noop_max=0, sticky_actions=1.0))
    games.reset(seed=1)
    screens = [games.step([action, 0])[0] for action in (1, 2, 2, 3, 3, 3, 2, 2)]
    assert all((screen[0] == screen[1]).all() for screen in screens)  # no action of the first ever arrived


@pytest.mark.slow
def test_random_starts_differ_by_seed_and_repeat_with_it(closing):
    games = closing(make_atari("Pong", 8, **MNIH_2015))
    _, first = games.reset(seed=1)
    _, again = games.reset(seed=1)
    _, other = games.reset(seed=100)
    assert (first["frame_number"] == again["frame_number"]).all()
    assert len(set(first["frame_number"])) > 3
    assert (first["frame_number"] != other["frame_number"]).any()
    assert set(first["frame_number"]) <= set(range(30))


def test_the_protocols_are_those_of_their_papers(closing):
    games = closing(make_atari("Pong", **MACHADO_2018))
    assert games.single_action_space.n == 18
    games.reset(seed=1)
    assert games.step([0])[-1]["frame_number"][0] == 5
    assert closing(make_atari("Pong", **MNIH_2015)).single_action_space.n == 6


# -- one thread to an emulator --------------------------------------------------------------------------------------------


class Waits(gymnasium.Env):
    """An environment whose step says that it has begun, and ends when it is told to."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(1)

    def __init__(self):
        self.inside, self.leave = threading.Event(), threading.Event()

    def step(self, action):
        self.inside.set()
        self.leave.wait()
        return 0, 0.0, False, False, {}

    def reset(self, *, seed=None, options=None):
        return 0, {}


def test_a_second_thread_in_an_emulator_is_an_error_that_names_both():
    inner = Waits()
    env = atari._Frames(inner)
    first = threading.Thread(target=env.step, args=(0,), name="first")
    first.start()
    inner.inside.wait()
    with pytest.raises(EmulatorBusyError, match="'MainThread' calls reset while thread 'first' is in step") as caught:
        env.reset()
    assert caught.value.threads == ("first", "MainThread")
    assert isinstance(caught.value, ReactorError)
    inner.leave.set()
    first.join()
    env.reset()  # one after the other is what workers do


@pytest.mark.slow
def test_threads_that_meet_in_an_emulator_never_both_get_in(closing):
    games = closing(make_atari("Pong", 1, noop_max=0))
    games.reset(seed=1)
    start, taken, refused = threading.Barrier(2), [], []

    def step():
        start.wait()
        for _ in range(60):
            try:
                games.step([0])
                taken.append(1)
            except EmulatorBusyError as error:
                refused.append(error)

    threads = [threading.Thread(target=step, name=f"stepper-{i}") for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) + len(refused) == 120
    assert all(set(error.threads) == {"stepper-0", "stepper-1"} for error in refused)
    _, infos = games.reset(options={"reset_mask": np.array([False])})
    assert infos["frame_number"][0] == 4 * len(taken)  # each step that got in was taken, once


# -- in rollouts ----------------------------------------------------------------------------------------------------------


class Plays(Reactor):
    """Two rollouts, and what gives them weights twice."""

    env: object

    def compose(self):
        self.gives = Gives()
        self.rollouts = Bank(Rollout, 2, env=self.env, n_steps=6, n_envs=2)
        connect(self.gives.weights, self.rollouts.weights, broadcast=True)


class Gives(Reactor):
    tick = Timer(0, ms(1))
    weights = Output()

    @reaction(tick)
    def on_tick(self, weights):
        weights.set(np.zeros(1, np.float32))
        if self.time_ns >= ms(1):
            self.request_stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "shape"),
    [
        (functools.partial(make_atari, "Pong", num_envs=3, **MNIH_2015), (7, 3, 4, 84, 84)),
        ("ALE/Pong-v5", (7, 2, 210, 160, 3)),
    ],
)
def test_rollouts_play_several_games_each_and_the_same_with_any_number_of_workers(env, shape):
    prints = set()
    for workers in (1, 2, 8):
        result = Program(Plays, env=env).run(workers=workers, fast=True, seed=4, fingerprint=True, trace=True)
        prints.add(result.fingerprint)
        played = [v for _, name, v in result.trace.writes if name.endswith("trajectory")]
        assert [p.observations.shape for p in played] == [shape] * 4
        assert (played[0].actions != played[1].actions).any()
    assert len(prints) == 1


# -- what is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MsPacman", "ms_pacman", "ALE/MsPacman-v5"])
def test_a_game_goes_by_all_its_usual_names(name, closing):
    assert closing(make_frames(name)).spec.id == "ALE/MsPacman-v5"


def test_an_unknown_game_says_what_was_meant():
    with pytest.raises(UnknownEnvironmentError, match=r"no game 'Pongg'. Did you mean 'pong'\?"):
        make_atari("Pongg")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, not 0"),
        ({"frame_skip": 0}, "frame_skip must be at least 1"),
        ({"sticky_actions": 1.5}, "sticky_actions is a probability, not 1.5"),
        ({"autoreset_mode": AutoresetMode.DISABLED}, "NEXT_STEP or SAME_STEP"),
    ],
)
def test_options_without_meaning_are_errors(options, words):
    with pytest.raises(UnknownEnvironmentError, match=words):
        make_atari("Pong", **options)


def test_an_action_out_of_range_is_an_error_instead_of_a_wait_without_end(closing):
    games = closing(make_atari("Pong", 2))
    games.reset(seed=1)
    with pytest.raises(ValueError, match=r"pong \(2 games\): action 6 of game 1 is not in 0 to 5"):
        games.step([0, 6])
    with pytest.raises(ValueError, match=r"actions are 2 integers, not int64\[3\]"):
        games.step([0, 1, 2])
    games.step([0, 5])


def test_without_ale_it_says_so_and_what_to_do(monkeypatch):
    monkeypatch.setattr(atari.util, "find_spec", lambda name: None)
    with pytest.raises(atari.AtariUnavailableError, match=r"no Atari here: ale-py is not installed \(make atari"):
        make_atari("Pong")


def test_a_build_without_the_vector_environment_still_has_frames(monkeypatch, closing):
    import ale_py

    monkeypatch.delattr(ale_py, "ALEVectorInterface")
    with pytest.raises(atari.AtariUnavailableError, match="built without its vector environment, for want of OpenCV"):
        make_atari("Pong")
    assert closing(make_frames("Pong")).observation_space.shape == (210, 160, 3)


# -- what is left ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_closing_ends_ale_s_threads():
    def count():
        return len(list(Path("/proc/self/task").iterdir()))

    before = count()
    games = make_atari("Pong", 2, threads=2)
    assert count() == before + min(2, os.cpu_count())
    games.close()
    assert count() == before
    games.close()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        games.step([0, 0])


def test_no_other_vector_environment_gets_its_metadata(closing):
    games = closing(make_atari("Pong", autoreset_mode="SameStep"))
    assert games.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert "autoreset_mode" not in VectorEnv.metadata


@pytest.mark.slow
def test_the_benchmark_measures_each_game_against_a_loop_and_threads(tmp_path):
    from reactornb.bench.atari import main

    where = tmp_path / "atari.json"
    words = ["--game", "Pong", "--rounds", "2", "--repeats", "1", "--envs", "2", "--workers", "1,2", "--json"]
    assert main([*words, str(where)]) == 0
    found = json.loads(where.read_text())
    kinds = ("plain loop", "2 free threads", "2 threads in step", "1 worker", "2 workers")
    assert set(found["figures"]) == {f"Pong, {n}" for n in kinds}
    assert all(figure["median"] > 0 for figure in found["figures"].values())
