"""Rollouts and learners of every algorithm on hosts: the fingerprint is that of one process, and of rollouts that are no enclaves."""

import pytest

pytest.importorskip("torch")

from reactornb import Program, rl
from reactornb.cluster.loopback import LoopbackHosts

SMALL = {"eval_episodes": 2, "hidden": (8,)}
ALGORITHMS = {
    "ppo": (rl.PPO, {"env": "CartPole-v1", "total_timesteps": 512, "n_steps": 32, "batch_size": 32, "n_rollouts": 3, "eval_every": 200}),
    "ppo, overlap": (rl.PPO, {"env": "CartPole-v1", "total_timesteps": 512, "n_steps": 32, "batch_size": 32, "n_rollouts": 3, "overlap": True}),
    "normalized": (rl.PPO, {"env": "Pendulum-v1", "total_timesteps": 512, "n_steps": 32, "batch_size": 32, "n_rollouts": 2, "normalize_observations": True, "normalize_rewards": True}),
    "recurrent": (rl.RecurrentPPO, {"env": "CartPole-v1", "total_timesteps": 512, "n_steps": 32, "n_rollouts": 2}),
    "a2c": (rl.A2C, {"env": "CartPole-v1", "total_timesteps": 512, "n_rollouts": 3, "staleness": 1}),
    "impala": (rl.IMPALA, {"env": "CartPole-v1", "total_timesteps": 512, "n_rollouts": 3}),
    "appo": (rl.APPO, {"env": "CartPole-v1", "total_timesteps": 512, "n_steps": 32, "batch_size": 32, "n_rollouts": 2}),
    "dqn": (rl.DQN, {"env": "CartPole-v1", "total_timesteps": 400, "learning_starts": 100, "n_rollouts": 2, "overlap": True}),
    "sac": (rl.SAC, {"env": "Pendulum-v1", "total_timesteps": 120, "learning_starts": 60, "n_rollouts": 2, "batch_size": 16}),
    "td3": (rl.TD3, {"env": "Pendulum-v1", "total_timesteps": 120, "learning_starts": 60, "n_rollouts": 2, "batch_size": 16}),
    "multi-agent": (rl.MultiAgentPPO, {"env": rl.SimpleSpread, "total_timesteps": 400, "n_steps": 25, "n_rollouts": 2}),
}  # fmt: skip


def result(name, place=None, **changes):
    algorithm, settings = ALGORITHMS[name]
    program = Program(algorithm, **{**SMALL, **settings, **changes})
    return program.run(workers=1, fast=True, fingerprint=True, placement="none", place=place)


def fingerprint(name, place=None, **changes):
    return result(name, place, **changes).fingerprint


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_rollouts_on_hosts_play_what_they_play_here(name):
    here = fingerprint(name)
    assert fingerprint(name, placeable=True) == here
    assert fingerprint(name, {"rollouts": LoopbackHosts(2)}, placeable=True) == here


@pytest.mark.timeout(120)
def test_a_learner_is_an_enclave_with_overlap():
    hosts = {"learner": LoopbackHosts(1), "rollouts": LoopbackHosts(2)}
    assert fingerprint("ppo, overlap", hosts, placeable=True) == fingerprint("ppo, overlap")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_actors_of_a3c_on_hosts_end_where_they_end_as_enclaves():
    def run(place=None):
        program = Program(
            rl.A3C, env="CartPole-v1", total_timesteps=600, n_actors=3, eval_episodes=0, placeable=True, hidden=(8,)
        )
        return program.run(workers=1, fast=True, fingerprint=True, placement="none", place=place)

    here, there = run(), run({"actors": LoopbackHosts(2)})
    assert (there.fingerprint, there.tag) == (here.fingerprint, here.tag)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["ppo", "sac", "multi-agent"])
def test_gradients_of_shards_on_hosts_are_added_in_their_order(name):
    here = result(name, shards=3)
    apart = result(name, shards=3, placeable=True)
    there = result(name, {"learner.shard": LoopbackHosts(2), "rollouts": LoopbackHosts(1)}, shards=3, placeable=True)
    assert there.fingerprint == apart.fingerprint
    for metric in ("loss", "gradient_norm", "eval_return"):
        assert there.metrics[metric].values.tolist() == apart.metrics[metric].values.tolist(), metric
        assert there.metrics[metric].values.tolist() == here.metrics[metric].values.tolist(), metric
