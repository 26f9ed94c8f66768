"""SAC, TD3 and DDPG as programs: the same for any number of workers, and they learn."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from reactornb import Program
from reactornb.rl import DDPG, SAC, TD3, DDPGConfig, SACConfig, TD3Config
from reactornb.rl.continuous import Parts
from reactornb.rl.errors import SpaceError
from reactornb.rl.layers import mlp
from reactornb.rl.networks import Flat
from reactornb.rl.optimizers import Adam

_SHORT = {
    "total_timesteps": 240,
    "learning_starts": 60,
    "batch_size": 16,
    "buffer_size": 200,
    "hidden": (8, 8),
    "eval_episodes": 2,
}
TINY = {
    "sac": (SAC, SACConfig(**_SHORT)),
    "sac, two rollouts": (SAC, SACConfig(**_SHORT, n_rollouts=2, n_envs=2, train_freq=(5, 3), gradient_steps=-1)),
    "sac, two shards, 3 steps": (SAC, SACConfig(**_SHORT, shards=2, n_steps=3, n_envs=2, train_freq=4, gradient_steps=2)),
    "sac, overlap": (SAC, SACConfig(**_SHORT, overlap=True, ent_coef=0.1, n_rollouts=2, train_freq=4)),
    "td3": (TD3, TD3Config(**_SHORT)),
    "td3, two shards": (TD3, TD3Config(**_SHORT, shards=2, policy_delay=3, train_freq=4, gradient_steps=4, max_grad_norm=1.0)),
    "ddpg": (DDPG, DDPGConfig(**_SHORT, n_rollouts=2)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_the_same_weights_and_fingerprint_on_1_2_and_8_workers(name):
    cls, config = TINY[name]
    program = Program(cls(env="Pendulum-v1", config=config))

    def outcome(workers, seed):
        run = program.start(workers=workers, seed=seed, fingerprint=True)
        result = run.result()
        return result.fingerprint, run.instance("learner").flat.publish().tobytes(), result.metrics

    first, *others = [outcome(workers, 1) for workers in (1, 2, 8)]
    for other in others:
        assert other == first
    assert len(first[2]["eval_mean"]) == 1
    assert {"loss", "qf_loss", "actor_loss", "value"} <= set(first[2])
    another = outcome(2, 2)
    assert another[0] != first[0]
    assert another[1] != first[1]


@pytest.mark.slow
def test_the_actor_and_the_targets_of_td3_move_every_second_update_only():
    run = Program(TD3(config=replace(TINY["td3"][1], total_timesteps=62))).start(seed=1, workers=1)
    run.result()
    odd = run.instance("learner")  # three updates: the actor and the targets have moved once
    assert odd.updates == 3
    actor, _, _ = odd.algo.network.sizes
    run = Program(TD3(config=replace(TINY["td3"][1], total_timesteps=61))).start(seed=1, workers=1)
    run.result()
    even = run.instance("learner")
    assert even.updates == 2
    ours, theirs = odd.flat.publish(), even.flat.publish()
    assert np.array_equal(ours[:actor], theirs[:actor])
    assert not np.array_equal(ours[actor:], theirs[actor:])
    assert np.array_equal(odd.target.publish(), even.target.publish())
    assert not np.array_equal(even.target.publish()[:actor], theirs[:actor])


class Aim(gymnasium.Env):
    """One step: the observation shows where to aim; the closer, the better. Learnt within seconds, or not at all."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(np.array([-3, 10], "f"), np.array([3, 20], "f"))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(-0.8, 0.8, 2).astype(np.float32)
        return self.shown, {}

    def step(self, action):
        assert self.action_space.contains(action)
        distance = (action - [0, 15]) / [3, 5] - self.shown
        return np.zeros(2, np.float32), 1.0 - float(np.abs(distance).sum()), True, False, {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "config"), [(SAC, SACConfig(learning_starts=100)), (TD3, TD3Config(learning_starts=200)), (DDPG, DDPGConfig(learning_starts=200))]
)  # fmt: skip
def test_it_learns_to_aim_at_what_it_sees(cls, config):
    """Chance earns about -0.2. A wrong sign anywhere earns less than nothing."""
    tuned = {
        "learning_rate": 3e-3,
        "qf_learning_rate": None,
        "hidden": (32, 32),
        "batch_size": 64,
        "gradient_steps": 4,
        "n_envs": 4,
    }
    config = replace(config, total_timesteps=4000, eval_episodes=40, **tuned)
    metrics = Program(cls(env=Aim, config=config)).run(seed=3, workers=2).metrics
    assert np.mean(list(metrics["episode_return"])[:50]) < 0.2
    assert metrics["eval_mean"][-1] > 0.8


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cls", [SAC, TD3, DDPG])
def test_it_swings_the_pendulum_up(cls):
    metrics = Program(cls(env="Pendulum-v1", total_timesteps=14_000)).run(seed=1).metrics
    assert metrics["eval_mean"][-1] > -250


@pytest.mark.parametrize("cls", [SAC, TD3, DDPG])
def test_discrete_actions_and_frames_are_refused_before_anything_runs(cls):
    with pytest.raises(SpaceError, match=rf"{cls.__name__} chooses numbers .*CartPole-v1"):
        Program(cls(env="CartPole-v1"))

    class Pictures(Aim):
        observation_space = gymnasium.spaces.Box(0, 255, (40, 40), np.uint8)

    with pytest.raises(SpaceError, match=rf"{cls.__name__} has perceptrons.*\(40, 40\)\. Use PPO.*network="):
        Program(cls(env=Pictures))


def test_the_presets_are_the_zoos():
    sac, td3 = SACConfig.for_env("Pendulum-v1"), TD3Config.for_env("Pendulum-v1")
    assert (sac.learning_rate, sac.qf_learning_rate, sac.gradient_steps, sac.hidden) == (1e-3, None, 1, (256, 256))
    assert (td3.gamma, td3.learning_starts, td3.hidden) == (0.98, 10_000, (400, 300))
    assert SACConfig.for_env("HalfCheetah-v5").learning_starts == 10_000
    assert SACConfig().qf_learning_rate == 1e-3
    assert SACConfig(n_rollouts=2, train_freq=3, gradient_steps=-1).updates_per_round == 6


# -- the optimizer --------------------------------------------------------------------------------------------------------


def stepped(make, steps=4):
    """Weights after some steps along gradients that are drawn."""
    flat = Flat(mlp((3, 4, 2), "relu", torch.Generator().manual_seed(1)), gradients=True)
    optimizer = make(flat.parameter)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        flat.parameter.grad.copy_(torch.tensor(rng.standard_normal(flat.parameter.numel()).astype(np.float32)))
        optimizer.step()
    return flat.publish(), optimizer


def test_parts_with_one_rate_are_adam_on_the_whole():
    whole, _ = stepped(lambda p: Adam([p], lr=0.01))
    parts, _ = stepped(lambda p: Parts([p], 0.01, [(5, 1.0, 1), (0, 9.0, 1), (21, 1.0, 1)]))
    assert np.array_equal(parts, whole)


def test_a_part_has_its_own_rate_and_takes_its_own_steps():
    slow, _ = stepped(lambda p: Adam([p], lr=0.01))
    fast, _ = stepped(lambda p: Adam([p], lr=0.03))
    found, optimizer = stepped(lambda p: Parts([p], 0.01, [(5, 1.0, 1), (11, 3.0, 1), (10, 1.0, 5)]))
    before, _ = stepped(lambda p: Adam([p], lr=0.01), 0)
    assert np.array_equal(found[:5], slow[:5])
    assert np.array_equal(found[5:16], fast[5:16])
    assert np.array_equal(found[16:], before[16:])
    with pytest.raises(ValueError, match=r"parts of 5 weights, and 26 weights\."):
        stepped(lambda p: Parts([p], 0.01, [(5, 1.0, 1)]))
    assert optimizer.param_groups[0]["lr"] == 0.01
