"""`overlap=True`: rollouts play the next round while the learner works on this one, with the same result as one after the other."""

import threading
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from reactornb import Program, ms
from reactornb.rl import A2C, APPO, DQN, IMPALA, PPO, A2CConfig, APPOConfig, DQNConfig, IMPALAConfig, PPOConfig
from reactornb.rl.ppo import PPOAlgorithm

_PPO = PPOConfig(total_timesteps=400, n_rollouts=2, n_envs=2, n_steps=10, batch_size=20, hidden=(8,), eval_episodes=2)
_DQN = DQNConfig(
    total_timesteps=300, n_rollouts=2, train_freq=5, gradient_steps=2, batch_size=16, buffer_size=60, learning_starts=20, learning_rate=0.05,
    exploration_initial_eps=0.1, hidden=(8,), eval_episodes=2,
)  # fmt: skip
TINY = {
    "ppo": (PPO, _PPO),
    "ppo, two rounds ahead": (PPO, replace(_PPO, staleness=2)),
    "ppo, two shards": (PPO, replace(_PPO, shards=2)),
    "a2c": (A2C, A2CConfig(total_timesteps=200, n_envs=2, learning_rate=0.05, hidden=(8,), eval_episodes=2)),
    "impala": (IMPALA, IMPALAConfig(total_timesteps=200, n_envs=2, n_steps=5, hidden=(8,), eval_episodes=2)),
    "appo": (
        APPO,
        APPOConfig(total_timesteps=400, n_envs=2, n_steps=10, batch_size=20, hidden=(8,), eval_episodes=2),
    ),
    "dqn": (DQN, _DQN),
    "dqn, prioritised": (DQN, replace(_DQN, prioritised=True)),
}


def outcome(cls, config, workers, **options):
    run = Program(cls(env="CartPole-v1", config=config)).start(workers=workers, seed=1, fingerprint=True, **options)
    result = run.result()
    logged = {name: list(metric) for name, metric in result.metrics.items()}
    return result.fingerprint, run.instance("learner").flat.publish().tobytes(), logged


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_overlap_has_the_same_fingerprint_on_1_2_and_8_workers_and_learns_what_staleness_alone_does(name):
    cls, config = TINY[name]
    first, *others = [outcome(cls, replace(config, overlap=True), workers) for workers in (1, 2, 8)]
    for other in others:
        assert other == first
    assert outcome(cls, replace(config, staleness=max(1, config.staleness), overlap=False), 2) == first
    assert outcome(cls, replace(config, staleness=0, overlap=False), 2)[1] != first[1]


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_every_round_is_learnt_and_none_is_played_in_vain(rounds, overlap):
    config = replace(_PPO, total_timesteps=40 * rounds, staleness=2, overlap=overlap)
    run = Program(PPO(env="CartPole-v1", config=config)).start(workers=2, seed=1, trace=True)
    result = run.result()
    assert run.instance("learner").round == rounds
    assert [tag.time_ns for tag in result.trace.tags("rollouts[0].on_weights")] == [ms(3 + k) for k in range(rounds)]
    assert len(result.metrics["eval_mean"]) == 1


def test_a_round_is_played_before_the_learner_is_done_with_the_one_before(monkeypatch, scripted):
    """The learner waits in its round n until a rollout plays round n + 1: without the overlap it would wait for ever."""
    rounds, began = 4, [threading.Event() for _ in range(5)]
    learnt = []

    class Counting(scripted):
        steps = 0

        def __init__(self):
            super().__init__(lengths=(1000,))

        def step(self, action):
            began[min(self.steps // 10, rounds)].set()
            self.steps += 1
            return super().step(action)

    def minibatches(self, received, rng, progress):
        following = len(learnt) + 1
        if following < rounds and not began[following].wait(30):
            raise AssertionError(f"round {following} is not played while the learner works on the one before")
        learnt.append(following)
        return original(self, received, rng, progress)

    original = PPOAlgorithm.minibatches
    monkeypatch.setattr(PPOAlgorithm, "minibatches", minibatches)
    config = replace(_PPO, total_timesteps=10 * rounds, n_rollouts=1, n_envs=1, eval_episodes=0, overlap=True)
    run = Program(PPO(env=Counting, config=config)).start(workers=2, seed=1, profile=True)
    run.result()
    assert learnt == [1, 2, 3, 4]
    spans = {
        (reaction, tag.time_ns // ms(1)): (begin, end) for _, reaction, begin, end, tag, _ in run.timeline().events
    }
    for round_ in range(2, 1 + rounds):
        begins, _ = spans["ppo.rollouts[0].on_weights", round_ + 1]
        _, ends = spans["ppo.learner.on_batches", round_]
        assert begins < ends


@pytest.mark.parametrize("workers", [1, 2])
def test_a_live_run_with_overlap_is_set_paused_stepped_and_stopped(workers):
    config = replace(_PPO, total_timesteps=10**9, anneal_lr=False, eval_episodes=0, overlap=True)
    run = Program(PPO(env="CartPole-v1", config=config)).start(workers=workers, seed=1)
    learner = run.instance("learner")

    def wait_for(happened):
        while not happened():
            assert not run.wait(0.01)

    try:
        wait_for(lambda: "loss" in run.metrics)
        run.set("learner.learning_rate", 1e-4)
        wait_for(lambda: learner.optimizer.param_groups[0]["lr"] == 1e-4)
        run.pause()
        run.step()
        run.resume()
        rounds = learner.round
        wait_for(lambda: learner.round > rounds)
    finally:
        run.stop(timeout=30)
    assert len(run.result().metrics["loss"]) == learner.round
