"""`network=`: a plain torch module in every algorithm, the same for any number of workers; saved, and refused where it cannot be right."""

import math
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
import numpy as np
import torch
from steered_programs import ALL, made, run_of, weights
from torch import nn

from reactornb import Program
from reactornb.errors import ReactionError
from reactornb.rl import PPO, PPOConfig, load_policy, save_policy
from reactornb.rl.errors import ConfigError, DamagedPolicyError
from reactornb.rl.networks import ActorCritic
from reactornb.rl.policy_file import ContainerError
from reactornb.rl.policy_reading import check_blueprint
from reactornb.rl.torch_draws import OwnGenerator

pytestmark = pytest.mark.timeout(300)


class Own(nn.Module):
    """Two branches that are added, which no chain of layers is."""

    def __init__(self, spec):
        super().__init__()
        inputs = math.prod(spec.observation_shape)
        self.straight = nn.Linear(inputs, 12)
        self.bent = nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), nn.LayerNorm(12))

    def forward(self, x):
        assert x.dtype == torch.float32
        return self.straight(x) + self.bent(x)


def lazy(spec):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(6), nn.ReLU())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_algorithm_learns_with_it_the_same_on_1_2_and_8_workers(name):
    program = made(name, network=Own)
    torch.manual_seed(1)
    first = run_of(program, 1, fingerprint=True)
    before = torch.random.get_rng_state()
    for workers in (2, 8):
        torch.manual_seed(workers)
        assert run_of(program, workers, fingerprint=True).fingerprint == first.fingerprint
    torch.manual_seed(1)
    run_of(program, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    own = sum(p.numel() for p in Own(first.instance("evaluator").envs.spec).parameters())
    assert len(weights(first)) > own


def test_the_rollouts_play_with_the_network_that_learns():
    run = run_of(made("ppo", network=Own, total_timesteps=40))
    learnt, actor = run.instance("learner").algo.network, run.instance("rollouts[0]").actor
    seen = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    actor.load(weights(run))
    with torch.no_grad():
        assert np.array_equal(actor._forward(seen), learnt.logits(torch.tensor(seen)).numpy())


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_a_lazy_layer_gets_its_size_from_the_observations(env):
    config = PPOConfig(
        total_timesteps=40, n_rollouts=1, n_envs=2, n_steps=10, batch_size=10, eval_episodes=1, network=lazy
    )
    run = run_of(Program(PPO(env=env, config=config)))
    assert run.instance("learner").algo.network.features.width == 6
    assert np.isfinite(weights(run)).all()


class Pictures(gymnasium.Env):
    """Small frames, bytes."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.integers(0, 256, (8, 8, 3), np.uint8), {}

    def step(self, action):
        return self.np_random.integers(0, 256, (8, 8, 3), np.uint8), 1.0, self.np_random.random() < 0.2, False, {}


def test_bytes_come_as_numbers_from_0_to_1_in_their_own_shape():
    seen = []

    class Looks(nn.Module):
        def __init__(self, spec):
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            seen.append((tuple(x.shape[1:]), float(x.min()), float(x.max())))
            return self.layer(x.permute(0, 3, 1, 2))

    config = PPOConfig(
        total_timesteps=40, n_rollouts=1, n_envs=2, n_steps=10, batch_size=10, eval_episodes=0, network=Looks
    )
    run_of(Program(PPO(env=Pictures, config=config)))
    assert {shape for shape, _, _ in seen} == {(8, 8, 3)}
    assert min(low for _, low, _ in seen) >= 0.0
    assert 0.9 < max(high for _, _, high in seen) <= 1.0


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            lambda spec: nn.Linear(7, 3),
            r"does not take observations of CartPole-v1, float32 \[B, 4\]: .*shapes cannot be multiplied",
        ),
        (lambda spec: 3, r"makes a int and no torch\.nn\.Module"),
        (lambda spec: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), "has a BatchNorm1d, whose running statistics"),
        (lambda spec: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), "has a Dropout, which draws"),
    ],
)
def test_a_module_that_cannot_be_right_is_refused_with_its_line(network, words):
    with pytest.raises((ReactionError, ConfigError), match=words) as caught:
        run_of(made("ppo", network=network))
    assert "test_networks_of_ones_own.py, line " in str(caught.value)


@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("name", ["ppo", "dqn", "a3c", "sac", "td3", "ddpg"])
def test_a_policy_with_it_is_saved_and_loaded_with_the_function_that_makes_it(name, normal, tmp_path):
    run = run_of(made(name, network=Own, normalize_observations=normal))
    path = save_policy(run, tmp_path / "own.safetensors")
    with pytest.raises(ConfigError, match=r"load_policy\(path, network=…\)"):
        load_policy(path)
    state = torch.random.get_rng_state()
    policy = load_policy(path, network=Own)
    assert torch.equal(state, torch.random.get_rng_state())
    judge = run.instance("evaluator")
    seen = np.random.default_rng(1).normal(size=(200, *judge.envs.spec.observation_shape)).astype(np.float32)
    # It evaluated the last weights.
    assert np.array_equal(policy(seen), judge.actor.greedy(seen))
    drawn, again = (policy.sample(seen, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, policy(seen))
    heads = {"actor", "values", "duelling", "bounded"} - {policy.blueprint.network["head"]}
    for head in heads if name != "dqn" else heads - {"duelling"}:
        with pytest.raises(ContainerError, match="no head"):
            check_blueprint(replace(policy.blueprint, network={**policy.blueprint.network, "head": head}))
    with pytest.raises(DamagedPolicyError, match="of another network"):
        load_policy(path, network=lazy)


def test_a_function_for_a_network_that_the_file_describes_is_refused(tmp_path):
    path = save_policy(run_of(made("ppo")), tmp_path / "plain.safetensors")
    with pytest.raises(ConfigError, match="leave network= out"):
        load_policy(path, network=Own)


def test_it_is_initialised_by_its_own_layers_from_the_learners_seed():
    run = run_of(made("ppo", network=Own, total_timesteps=40, learning_rate=0.0))
    learner = run.instance("learner")
    with OwnGenerator(learner.seed):
        first = Own(run.instance("evaluator").envs.spec)
    kept = learner.algo.network
    assert isinstance(kept, ActorCritic)
    assert torch.equal(kept.features.own.straight.weight, first.straight.weight)
