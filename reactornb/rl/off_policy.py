"""How an algorithm with a replay buffer is connected: learner -> rollouts -> replay buffer -> learner, and what `steer` puts around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reactornb.model import Bank, connect, enclave, per_member
from reactornb.rl.config import per_rollout
from reactornb.rl.learner import Learner
from reactornb.rl.replay import ReplayBuffer
from reactornb.rl.rollout import Rollout
from reactornb.rl.training import env_of, may_be_placed, rounds_ahead, steer, steered_by, weights_after

__all__ = ["wire"]


def wire(
    program: Any, c: Any, *, policy: Sequence[Any], normalizer: Any, learner: Mapping[str, Any], replay: Mapping[str, Any]
) -> None:  # fmt: skip
    """Make the reactors, as children of a program, and connect them.

    Args:
        program: whose reactors these become; its `env` is played.
        c: its configuration, with the fields that `DQNConfig` and `ContinuousConfig` share.
        policy: what each rollout plays with; the first one is evaluated.
        normalizer: of observations and rewards; None: neither is normalised.
        learner: what the algorithm decides of the learner: `algorithm`, `optimizer_class`, `target_every`, `shards`.
        replay: and of the replay buffer: `gradient_steps`, and whether and how it is `prioritised`.
    """
    horizon = per_rollout(c, "train_freq")
    made = Learner(
        **learner,
        learning_rate=c.learning_rate,
        anneal_lr=c.anneal_lr,
        max_grad_norm=c.max_grad_norm,
        tau=c.tau,
        rounds=c.rounds,
        staleness=rounds_ahead(c),
        device=c.device,
        normalizer=normalizer,
        placeable=c.placeable,
        **steered_by(c),
    )
    program.learner = enclave(made) if c.overlap else made
    rollouts = Bank(
        Rollout,
        c.n_rollouts,
        env=env_of(program, c),
        policy=per_member(lambda i: policy[i]),
        n_envs=c.n_envs,
        n_steps=per_member(lambda i: horizon[i]),
        normalizer=normalizer,
    )
    program.rollouts = may_be_placed(c, rollouts)
    program.replay = ReplayBuffer(
        writers=c.n_rollouts,
        buffer_size=c.buffer_size,
        batch_size=c.batch_size,
        learning_starts=c.learning_starts,
        gamma=c.gamma,
        n_steps=c.n_steps,
        rounds=c.rounds,
        **replay,
    )
    after = weights_after(c)
    connect(program.learner.weights, program.rollouts.weights, after=after)
    connect(program.rollouts.trajectory, program.replay.trajectories)
    connect(program.replay.batches, program.learner.batches)
    if replay.get("prioritised"):
        connect(program.learner.feedback, program.replay.priorities, after=after)
    steer(
        program, c, program.learner, program.learner.weights, program.rollouts.trajectory, c.n_rollouts, policy=policy[0], after=after,
        later=after if c.overlap else None, eval_every=c.eval_every, steps_per_round=c.steps_per_round, untrained=1 + rounds_ahead(c),
    )  # fmt: skip
