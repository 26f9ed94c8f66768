"""Hyper-parameters: every field of every configuration is held against its rule; unknown ids and other configurations are refused."""

import dataclasses
import inspect
import math
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from reactornb import Program, Reactor, connect, ms
from reactornb.errors import DeclarationError, ReactionError
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DDPG,
    DQN,
    IMPALA,
    PPO,
    SAC,
    TD3,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    DDPGConfig,
    DQNConfig,
    Evaluator,
    IMPALAConfig,
    Learner,
    PPOConfig,
    QLearning,
    QLearningConfig,
    RecurrentPPO,
    RecurrentPPOConfig,
    ReplayBuffer,
    Rollout,
    SACConfig,
    TD3Config,
)
from reactornb.rl.errors import ConfigError, UnknownEnvironmentError

CONFIGS = (
    PPOConfig,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    DQNConfig,
    IMPALAConfig,
    RecurrentPPOConfig,
    QLearningConfig,
    SACConfig,
    TD3Config,
    DDPGConfig,
)
FIELDS = [(cls, f.name) for cls in CONFIGS for f in dataclasses.fields(cls)]


@pytest.mark.parametrize(("cls", "field"), FIELDS, ids=lambda v: getattr(v, "__name__", v))
def test_no_field_takes_text_infinity_or_a_number_below_its_range(cls, field):
    default = getattr(cls(), field)
    for wrong in ("many", math.nan, -(10**6), object()):
        if (field, wrong) in (
            ("log_std_init", -(10**6)),
            ("stop_at_return", -(10**6)),
            ("target_entropy", -(10**6)),
            ("device", "many"),
        ):
            continue  # any number, any name of a device
        with pytest.raises(ConfigError) as caught:
            dataclasses.replace(cls(), **{field: wrong})
        assert caught.value.fields == (field,)
        assert f"{cls.__name__}: {field}={wrong!r} must be " in str(caught.value)
        assert "test_config.py, line " in str(caught.value)
    assert getattr(dataclasses.replace(cls(), **{field: default}), field) == default


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PPOConfig(n_envs=0), "n_envs=0 must be a whole number of at least 1"),
        (lambda: PPOConfig(n_envs=2.0), r"n_envs=2.0 must be a whole number of at least 1 \(write 2\)"),
        (lambda: PPOConfig(learning_rate="3e-4"), r"learning_rate='3e-4' must be a finite number of at least 0 \(write 0.0003 without quotes\)"),
        (lambda: PPOConfig(gamma=1.5), "gamma=1.5 must be a number from 0 to 1"),
        (lambda: PPOConfig(anneal_lr=1), "anneal_lr=1 must be True or False"),
        (lambda: PPOConfig(hidden=64), r"hidden=64 must be a tuple .*\(write \(64,\)\)"),
        (lambda: PPOConfig(hidden=(64, 0)), "hidden="),
        (lambda: PPOConfig(n_envs=True), "n_envs=True must be"),
        (lambda: PPOConfig(n_envs=0, n_steps=0, clip_range=0), "n_envs=0 .*; n_steps=0 .*; clip_range=0 must be a finite number above 0"),
        (lambda: A3CConfig(delays=(1, 2), n_actors=3), "2 delays for 3 actors"),
        (lambda: A3CConfig(delays=(0.5,), n_actors=1), "a tuple of times in ns"),
        (lambda: DQNConfig(total_timesteps=100, learning_starts=200), "there would be no update"),
        (lambda: DQNConfig(tau=0), "tau=0 must be a number above 0 and at most 1"),
        (lambda: DQNConfig(device=0), "name of a torch device"),
        (lambda: SACConfig(total_timesteps=100), "there would be no update"),
        (lambda: SACConfig(ent_coef="auto_0"), 'ent_coef=.* must be a number of at least 0, "auto", or "auto_"'),
        (lambda: SACConfig(learning_rate=0), "the one is a multiple of the other"),
        (lambda: TD3Config(gradient_steps=-2), "a whole number of at least 1, or -1"),
        (lambda: QLearningConfig(exploration_final_eps=1.5), "exploration_final_eps=1.5 must be a number from 0 to 1"),
        (lambda: QLearningConfig(omega=0.5), "omega=0.5 must be a number above 0.5 and at most 1"),
        (lambda: dataclasses.replace(PPOConfig(), total_timesteps=-5), "total_timesteps=-5"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_value_and_what_to_write_is_said_with_the_line(make, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make()
    assert f"test_config.py, line {make.__code__.co_firstlineno}: " in str(caught.value)


def test_numbers_of_numpy_and_lists_of_widths_are_taken():
    made = PPOConfig(n_envs=np.int64(3), learning_rate=np.float32(0.5), hidden=[8, 8], max_grad_norm=None)
    assert (made.n_envs, float(made.learning_rate), list(made.hidden)) == (3, 0.5, [8, 8])


ALGORITHMS = {
    PPO: PPOConfig,
    A2C: A2CConfig,
    A3C: A3CConfig,
    APPO: APPOConfig,
    DQN: DQNConfig,
    IMPALA: IMPALAConfig,
    RecurrentPPO: RecurrentPPOConfig,
    SAC: SACConfig,
    TD3: TD3Config,
    DDPG: DDPGConfig,
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_config_of_another_kind_is_refused_at_assembly(algorithm):
    own = ALGORITHMS[algorithm].__name__
    other = A2CConfig() if algorithm is PPO else PPOConfig()
    for wrong in (other, {"n_envs": 2}, PPOConfig, 3):
        with pytest.raises(ConfigError, match=f"must be a {own}: config={own}"):
            Program(algorithm(config=wrong))
    with pytest.raises(ConfigError, match="must be a QLearningConfig"):
        Program(QLearning(config=PPOConfig()))


@pytest.mark.parametrize("cls", ALGORITHMS.values())
def test_an_unknown_id_gets_no_defaults_unasked(cls):
    with pytest.raises(UnknownEnvironmentError, match=r'there is no environment.*Did you mean "CartPole-v1"'):
        cls.for_env("CartPoleX-v1")
    with pytest.raises(UnknownEnvironmentError, match=r"test_config\.py, line"):
        cls.for_env("NoneSuch")
    for wrong in (None, 5, gymnasium.make("CartPole-v1")):
        with pytest.raises(UnknownEnvironmentError, match="takes a Gymnasium id or a function"):
            cls.for_env(wrong)
    assert cls.for_env(lambda: gymnasium.make("CartPole-v1")) == cls()
    assert cls.for_env("Taxi-v4") == cls()


def test_an_id_without_a_version_means_the_newest():
    assert PPOConfig.for_env("Acrobot") == PPOConfig.for_env("Acrobot-v1") != PPOConfig()
    assert DQNConfig.for_env("CartPole") == DQNConfig.for_env("CartPole-v1") != DQNConfig()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (Rollout(n_envs=0), "n_envs=0 must be"),
        (Rollout(n_steps=0), "n_steps=0 must be"),
        (Rollout(hang_s=-1), "hang_s=-1 must be"),
        (Evaluator(episodes=0), "episodes=0 must be"),
        (ReplayBuffer(buffer_size=0, gamma=2), "buffer_size=0 must be .*; gamma=2 must be"),
        (Learner(algorithm=None, learning_rate=-1.0), "learning_rate=-1.0 must be a finite number of at least 0"),
        (Learner(algorithm=None, rounds=0), "rounds=0 must be a whole number of at least 1, or None"),
    ],
    ids=str,
)
def test_parameters_of_the_reactors_are_refused_when_the_run_starts(program, words):
    with pytest.raises(ReactionError, match=words) as caught:
        Program(program).run(fast=True)
    assert isinstance(caught.value.__cause__, ConfigError)


# -- what stands in a notebook --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, QLearning])
def test_a_positional_argument_is_answered_with_the_parameter_to_name(algorithm):
    with pytest.raises(DeclarationError, match=rf"{algorithm.__name__}\(env='CartPole-v1'\)") as caught:
        algorithm("CartPole-v1")
    assert "test_config.py, line " in str(caught.value)
    with pytest.raises(DeclarationError, match=rf"{algorithm.__name__}\(env='A-v1', config=5\)"):
        algorithm("A-v1", 5)
    with pytest.raises(DeclarationError, match=r"takes \d+ parameters: env, config, total_timesteps, "):
        algorithm(*range(99))


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, QLearning])
def test_the_question_mark_shows_signature_meaning_defaults_example_and_source(algorithm):
    shown = str(inspect.signature(algorithm))
    assert shown.startswith("(*, env=")
    assert "config=" in shown
    doc = inspect.getdoc(algorithm)
    for word in ("Parameters:", "env:", "config:", f"Program({algorithm.__name__}(", "Source", "Raises:", "default"):
        assert word in doc, word


def test_a_signature_says_what_is_required_and_a_class_without_parameters_has_none():
    class Needs(Reactor):
        n: int
        m: int = 3

    assert str(inspect.signature(Needs)) == "(*, n, m=3)"
    assert str(inspect.signature(type("None_", (Reactor,), {}))) == "()"


# -- networks of one's own ------------------------------------------------------------------------------------------------


class Own(nn.Module):
    """Initialised as torch does it, from its global generator."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2))
        self.noise = nn.Parameter(0.1 * torch.randn(2))
        nn.init.orthogonal_(self.body[0].weight)
        nn.init.trunc_normal_(self.body[3].weight)

    def forward(self, x):
        return self.body(x) + self.noise


class Imitation:
    """An algorithm with that network; its loss does not matter."""

    target = None

    def __init__(self, generator, device):
        self.network = Own()

    def minibatches(self, received, rng, progress):
        yield torch.from_numpy(np.concatenate([r.observations.reshape(-1, 4) for r in received]))

    def loss(self, minibatch):
        return self.network(minibatch).square().mean(), {}

    def feedback(self):
        return None


class Random:
    """A policy with a network of its own that is never loaded."""

    def __init__(self, spec):
        self.net = Own()

    def load(self, weights):
        pass

    def act(self, observations, rng):
        with torch.no_grad():
            return self.net(torch.from_numpy(observations)).argmax(1).numpy(), None

    def greedy(self, observations):
        return self.act(observations, None)[0]


class Custom(Reactor):
    def compose(self):
        self.learner = Learner(algorithm=Imitation, rounds=3, optimizer_class=partial(torch.optim.SGD), writers=2)
        self.one = Rollout(policy=Random, n_steps=20)
        self.two = Rollout(policy=Random, n_steps=20)
        for rollout in (self.one, self.two):
            connect(self.learner.weights, rollout.weights, after=ms(0))
        connect([self.one.trajectory, self.two.trajectory], self.learner.batches)


def test_a_network_of_torch_s_own_layers_is_the_same_for_one_seed_whatever_the_global_generator_says():
    prints = []
    for state, workers in ((1, 1), (2, 2), (3, 8)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        prints.append(Program(Custom).run(workers=workers, seed=7, fast=True, fingerprint=True).fingerprint)
        assert torch.equal(torch.get_rng_state(), before)
    assert len(set(prints)) == 1
    assert Program(Custom).run(workers=1, seed=8, fast=True, fingerprint=True).fingerprint != prints[0]
