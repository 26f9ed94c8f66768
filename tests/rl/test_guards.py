"""Environments that draw from generators of the process, or ignore their seed, are named; no other ones are."""

import random  # noqa: TID251 - environments here draw from it
import threading
import warnings
from functools import partial

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("cloudpickle")

from gymnasium.vector import SyncVectorEnv  # noqa: E402
from ticks import Ticks  # noqa: E402

from reactornb import Bank, Program, Reactor, connect, ms  # noqa: E402
from reactornb.rl import guards, isolated, spec_of  # noqa: E402
from reactornb.rl.envs import is_isolated, plain_source  # noqa: E402
from reactornb.rl.errors import ReproducibilityWarning  # noqa: E402
from reactornb.rl.rollout import Rollout  # noqa: E402

pytestmark = pytest.mark.thread_unsafe(reason="looks at generators of the process")


class Proper(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    length = 5

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.np_random.random()], np.float32)

    def step(self, action):
        self.t += 1
        return self.seen(), 1.0, self.t >= self.length, False, {}


class InReset(Proper):
    def reset(self, *, seed=None, options=None):
        returned = super().reset(seed=seed)
        random.shuffle([1, 2, 3])
        return returned


class InStep(Proper):
    def step(self, action):
        if self.t == 3:
            helped()
        return super().step(action)


def helped():
    np.random.normal(size=3)  # noqa: NPY002 - that is what it is for


class InTorch(Proper):
    def step(self, action):
        import torch

        torch.rand(1)
        return super().step(action)


class Ignores(Proper):
    def reset(self, *, seed=None, options=None):
        self._np_random = np.random.default_rng()
        self.t = 0
        return self.seen(), {}


class Always(Proper):
    """Takes no seed and needs none."""

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def seen(self):
        return np.zeros(1, np.float32)


class Playing(Reactor):
    needs_physical_time = False
    env: object = None
    n_envs: int = 2

    def compose(self):
        spec_of(self.env)
        self.ticks = Ticks()
        self.rollouts = Bank(Rollout, 2, env=self.env, n_envs=self.n_envs, n_steps=9)
        connect(self.ticks.weights, self.rollouts.weights, broadcast=True)


def played(env, **options):
    run = Program(Playing(env=env)).start(**{"workers": 2, "until": ms(5), **options})
    run.result()
    return run


def line_of(function, words):
    import inspect

    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if words in line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "generator", "line"),
    [
        (InReset, "random", line_of(InReset, "random.shuffle")),
        (InStep, "numpy.random", line_of(helped, "np.random.normal")),
        (InTorch, "torch's global generator", line_of(InTorch, "torch.rand")),
        (lambda: SyncVectorEnv([InStep] * 2), "numpy.random", line_of(helped, "np.random.normal")),
    ],
    ids=["reset", "step", "torch", "vector"],
)
def test_an_environment_that_draws_is_named_once_with_the_line_and_the_fix(env, generator, line):
    if env is InTorch:
        pytest.importorskip("torch")
    run = played(env)
    about = [words for words in run.warnings if "draws from" in words or "drew from" in words]
    assert len(about) == 1, about
    assert f"draws from {generator} (" in about[0]
    assert f"test_guards.py, line {line})" in about[0]
    assert "self.np_random" in about[0]
    assert "isolate=True" in about[0]


@pytest.mark.slow
def test_nobody_is_accused_for_what_another_thread_draws():
    over = threading.Event()
    drawn = threading.Event()

    def draws():
        while not over.is_set():
            np.random.random()  # noqa: NPY002 - that is what it is for
            random.random()
            drawn.set()

    thread = threading.Thread(target=draws)
    thread.start()
    try:
        drawn.wait(10)
        run = played(Proper, until=ms(3))
    finally:
        over.set()
        thread.join()
    assert not [words for words in run.warnings if "Proper" in words]


def test_a_proper_environment_is_not_asked_elsewhere_and_after_its_first_episode_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(guards, "_look", lambda *_: pytest.fail("it draws nothing"))
    compared = []
    monkeypatch.setattr(guards, "states", lambda: compared.append(1) or (0, 0, 0))
    for env in (Proper, partial(SyncVectorEnv, [Proper] * 2)):
        compared.clear()
        run = played(env, until=ms(9))
        assert not run.warnings
        envs = run.instance("rollouts[0]").envs
        assert getattr(envs, "_looks", None) in (None, [])
        assert getattr(envs, "_look", None) is None
        assert "step" not in vars(envs)
        # Before and after the reset and each of five steps, in each of two rollouts; singles in each of two environments.
        assert len(compared) == 2 * 6 * (4 if env is Proper else 2)


def test_an_environment_that_cannot_be_sent_is_not_accused(monkeypatch):
    lock = threading.Lock()

    def make():
        assert lock is not None
        return InReset()

    warned = played(make, until=ms(2)).warnings
    assert not [words for words in warned if "draws from" in words]
    assert any("drew from random" in words for words in warned)  # the search for reactions goes on


def test_a_reset_that_ignores_its_seed_is_said_at_assembly_and_in_the_run():
    with pytest.warns(
        ReproducibilityWarning, match="two resets with the same seed give different observations"
    ) as caught:
        program = Program(Playing(env=Ignores))
    assert caught[0].filename == __file__
    run = program.start(until=ms(2))
    run.result()
    assert [words for words in run.warnings if words.startswith("Ignores") and "super().reset(seed=seed)" in words]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Program(Playing(env=Ignores))  # each kind is looked at once


def test_the_warning_can_be_made_an_error():
    class Other(Ignores):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error", ReproducibilityWarning)
        with pytest.raises(ReproducibilityWarning):
            spec_of(Other)


@pytest.mark.parametrize("env", [Proper, Always, "CartPole-v1"])
def test_others_are_not_warned_of(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec_of(env)


def test_what_an_environment_raises_in_the_look_is_left_to_the_run():
    class Raises(Proper):
        def reset(self, *, seed=None, options=None):
            raise KeyError("later")

    assert spec_of(Raises).name.startswith("Raises")


def test_what_plays_in_a_process_of_its_own_is_not_looked_at_here():
    source = isolated(InReset)
    assert isolated(source) is source
    assert plain_source(source) is InReset
    assert repr(source) == "isolated(InReset)"
    assert repr(isolated("CartPole-v1")) == "isolated('CartPole-v1')"
    assert is_isolated(source)
    assert not is_isolated(InReset)
