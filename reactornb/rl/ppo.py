"""Proximal policy optimization, for discrete and for continuous actions.

    Program(PPO(env="CartPole-v1")).run(seed=1)

Rollouts play with the newest weights and send trajectories with the log-probabilities of what they did; the learner estimates
advantages and takes several epochs of clipped steps on them.

Source: Schulman et al. 2017, arXiv:1707.06347; details as in Huang et al. 2022, "The 37 implementation details of proximal policy
optimization", and CleanRL's ppo.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from reactornb.model import Bank, connect, enclave, per_member
from reactornb.rl.action_mask import MaskedForward
from reactornb.rl.analytic import ActorCriticPass, written_out
from reactornb.rl.bodies import actor_critic
from reactornb.rl.config import (
    Rule,
    TrainingConfig,
    at_least,
    check,
    config_of,
    device,
    flag,
    horizons,
    number,
    optional,
    per_rollout,
    whole,
    widths,
)
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.layers import check_supported, has_frames
from reactornb.rl.learner import ActorCriticLearner, adam
from reactornb.rl.losses import (
    clipped_ppo,
    clipped_ppo_gradient,
    clipped_value,
    clipped_value_gradient,
    gae,
)
from reactornb.rl.minibatches import Chosen, Epochs, Minibatch, tensors
from reactornb.rl.normalization import normalizer_of
from reactornb.rl.policies import CategoricalPolicy, GaussianPolicy, Mlp, MultiCategoricalPolicy, Policy, TorchForward
from reactornb.rl.rollout import Rollout
from reactornb.rl.shards import shards_of
from reactornb.rl.storage import Trajectory, aligned
from reactornb.rl.training import Training, env_of, may_be_placed, rounds_ahead, steer, steered_by, weights_after

__all__ = ["PPO", "Chosen", "Epochs", "Minibatch", "PPOConfig"]


PPO_RULES: dict[str, Rule] = {
    "total_timesteps": whole(1), "n_rollouts": whole(1), "n_envs": whole(1), "n_steps": horizons, "n_epochs": whole(1), "batch_size": whole(1),
    "learning_rate": at_least(0), "anneal_lr": flag, "adam_eps": number(0, above=True), "gamma": number(0, 1), "gae_lambda": number(0, 1),
    "clip_range": number(0, above=True), "anneal_clip_range": flag, "clip_vloss": flag, "ent_coef": at_least(0), "vf_coef": at_least(0),
    "normalize_advantage": flag, "max_grad_norm": optional(number(0, above=True)), "hidden": widths, "log_std_init": number(), "staleness": whole(0),
    "overlap": flag, "device": device, "shards": optional(whole(1)),
}  # fmt: skip
"""What each field of `PPOConfig` may be."""


@dataclass(frozen=True, slots=True)
class PPOConfig(TrainingConfig):
    """Hyper-parameters; the defaults are CleanRL's ppo.py, those of `for_env` the RL Baselines3 Zoo's ppo.yml.

    Attributes:
        total_timesteps: environment steps of a whole run.
        n_rollouts: reactors that play. Workers take one after the other, so that several for each core even out what takes uneven time: if a
            step takes more than 0.1 ms, 4 for each core with few environments each; below, one for each core, whose calls of the
            network serve more environments at once.
        n_envs: environments of each: `n_rollouts * n_envs` in all.
        n_steps: steps of each environment per round; a tuple has one number for each rollout, such as (128, 32): fewer for those whose
            environments are slower, so that the others need not wait.
        n_epochs: how often a round's steps are used.
        batch_size: steps of an update.
        learning_rate: Adam's learning rate; `anneal_lr` lets it fall to 0.
        adam_eps: Adam's epsilon.
        gamma: discount.
        gae_lambda: trace decay of the advantages.
        clip_range: how far the probability ratio may go from 1; `anneal_clip_range` lets it fall to 0.
        clip_vloss: clip the value function's steps likewise.
        ent_coef: weight of the policy's entropy.
        vf_coef: weight of the value function's loss, which is half its mean squared error, as in CleanRL.
        normalize_advantage: per minibatch.
        max_grad_norm: the gradient is cut to this.
        hidden: widths of the hidden layers; images get the network of Mnih et al. 2015.
        log_std_init: of continuous actions, at the beginning.
        staleness: rounds that rollouts may be ahead of the learner: 1 means that round n + 1 is played with the weights that round
            n was played with already, not with those learnt from it; see `Learner`.
        overlap: learn from a round while the next ones are played: the learner is an enclave, and `staleness` at least 1. The result
            depends on the staleness alone.
        device: of the learner.
        shards: reactors that compute the gradient of one minibatch at the same time; None: as many as `default_shards` says for this network
            and minibatch, on any machine. Results of different numbers differ by rounding, those of one are the same for any number of workers.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`.
    """

    total_timesteps: int = 500_000
    n_rollouts: int = 2
    n_envs: int = 2
    n_steps: int | tuple[int, ...] = 128
    n_epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 2.5e-4
    anneal_lr: bool = True
    adam_eps: float = 1e-5
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    anneal_clip_range: bool = False
    clip_vloss: bool = True
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    normalize_advantage: bool = True
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0
    staleness: int = 0
    overlap: bool = False
    device: str = "cpu"
    shards: int | None = None

    def __post_init__(self) -> None:
        check(self, **PPO_RULES)
        per_rollout(self)

    @property
    def rounds(self) -> int:
        """Rounds of a whole run."""
        return max(1, self.total_timesteps // (self.n_envs * sum(per_rollout(self))))


PPOConfig.presets = {
    # RL Baselines3 Zoo, hyperparams/ppo.yml: 8 environments x 32 steps, 20 epochs of one batch. Its vf_coef of 0.5 weights the whole squared
    # error, so it is 1.0 here; likewise below.
    "CartPole-v1": PPOConfig(
        total_timesteps=100_000, n_envs=4, n_steps=32, n_epochs=20, batch_size=256, learning_rate=1e-3, anneal_clip_range=True,
        gamma=0.98, gae_lambda=0.8, ent_coef=0.0, vf_coef=1.0, adam_eps=1e-5, clip_vloss=False,
    ),
    # CleanRL's defaults, more environments at once.
    "Acrobot-v1": PPOConfig(n_envs=4),
    # RL Baselines3 Zoo, hyperparams/ppo.yml: 4 environments x 1024 steps, but for its state-dependent exploration.
    "Pendulum-v1": PPOConfig(
        total_timesteps=100_000, n_envs=2, n_steps=1024, n_epochs=10, batch_size=64, learning_rate=1e-3, anneal_lr=False,
        gamma=0.9, ent_coef=0.0, vf_coef=1.0, clip_vloss=False,
    ),
    # RL Baselines3 Zoo, hyperparams/ppo.yml: 16 environments x 16 steps, normalised.
    "MountainCar-v0": PPOConfig(
        total_timesteps=1_000_000, n_envs=8, n_steps=16, batch_size=64, learning_rate=3e-4, anneal_lr=False, gae_lambda=0.98, ent_coef=0.0,
        vf_coef=1.0, clip_vloss=False, normalize_observations=True, normalize_rewards=True,
    ),
    # CleanRL's ppo_continuous_action.py, whose one environment's 2048 steps are played by two.
    **dict.fromkeys(
        ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5"),
        PPOConfig(
            total_timesteps=1_000_000, n_envs=1, n_steps=1024, n_epochs=10, batch_size=64, learning_rate=3e-4, ent_coef=0.0,
            normalize_observations=True, normalize_rewards=True,
        ),
    ),
}  # fmt: skip


class ActorCriticAlgorithm:
    """What the algorithms of PPO and A2C have in common: the network, and what it makes of observations.

    A subclass says `loss` and `gradient`, which is used where the network is two perceptrons on the CPU; whoever overrides `loss` alone gets
    autograd's gradient.

    Args:
        spec: the environment's spaces.
        config: with `hidden` and `log_std_init`.
        generator: for the first weights; None leaves them empty.
        device: where the network is.
    """

    target = None
    transient = ("config",)  # what is live of it, the learner tells anew before each round
    network: Any  # an `ActorCritic`, or what a subclass puts in its place
    _own: Any  # the one that was made here

    def __init__(self, spec: EnvSpec, config: Any, generator: torch.Generator | None, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.network = self._own = actor_critic(spec, config.hidden, generator, config.log_std_init, config.network)
        in_numpy = device.type == "cpu" and config.network is None and not has_frames(spec)
        self._written = ActorCriticPass(spec, config.hidden) if in_numpy else None

    def retune(self, values: Mapping[str, Any]) -> None:
        """Go on with other hyper-parameters."""
        if any(getattr(self.config, name) != value for name, value in values.items()):
            self.config = replace(self.config, **values)

    @property
    def written(self) -> ActorCriticPass | None:
        """The network in NumPy; None where it is for torch: on frames, on another device, or where a subclass has put another one in its place."""
        return self._written if self.network is self._own else None

    @property
    def analytic(self) -> bool:
        """See `Algorithm`."""
        return self.written is not None and written_out(type(self))

    def value(self, observations: np.ndarray) -> np.ndarray:
        """[B, *observation_shape] -> float32 [B], with the weights of the moment."""
        written = self.written
        if written is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                return written.values(self.weights(), observations)
        with torch.no_grad():
            values: np.ndarray = self.network.value(torch.from_numpy(observations).to(self.device)).cpu().numpy()
        return values

    def log_probs(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Log-probabilities of actions [B, *action_shape], float32 [B], likewise."""
        written = self.written
        if written is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                return written.forward(self.weights(), observations, actions)[0]
        with torch.no_grad():
            log_probs: np.ndarray = self.network.evaluate(*tensors(self.device, observations, actions))[0].cpu().numpy()
        return log_probs

    def weights(self) -> np.ndarray:
        """The network's, float32 [P]; a copy: the parameters lie in an array of the learner's that is another one than when this was made."""
        return np.concatenate([p.detach().numpy().reshape(-1) for p in self.network.parameters()])

    def feedback(self) -> None:
        """Nothing goes back."""


class PPOAlgorithm(ActorCriticAlgorithm):
    """PPO's minibatches and loss; see `Algorithm`."""

    config: PPOConfig

    def minibatches(self, received: list[Trajectory], rng: np.random.Generator, progress: float) -> Epochs:
        """Advantages first, then `n_epochs` times all steps in a new order."""
        config = self.config
        whole, valid = self.prepare(received, config.clip_range * (1.0 - progress if config.anneal_clip_range else 1.0))
        return Epochs(whole, np.flatnonzero(valid), rng, config, None if self.analytic else self.device)

    def prepare(self, received: list[Trajectory], clip: float) -> tuple[Minibatch, np.ndarray]:
        """All steps of a round as arrays, rows in the order [T, N], and which of them were taken."""
        config = self.config
        received = aligned(received)
        observations, values, advantages, valid = estimate(
            self.value, received, gamma=config.gamma, gae_lambda=config.gae_lambda
        )

        def rows(array: np.ndarray) -> np.ndarray:
            return array.reshape(-1, *array.shape[2:])

        return Minibatch(
            observations,
            rows(np.concatenate([r.actions for r in received], axis=1)),
            rows(np.concatenate([r.log_probs for r in received], axis=1)),
            rows(advantages),
            rows(values),
            rows(advantages + values),
            clip,
        ), valid

    def loss(self, minibatch: Minibatch) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Surrogate, value loss and entropy bonus."""
        config, m = self.config, minibatch
        log_probs, entropies, values = self.network.evaluate(m.observations, m.actions)
        policy_loss, kl = clipped_ppo(log_probs, m.log_probs, m.advantages, m.clip)
        if config.clip_vloss:
            value_loss = clipped_value(values, m.values, m.returns, m.clip)
        else:
            value_loss = 0.5 * ((values - m.returns) ** 2).mean()
        entropy = entropies.mean()
        loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "kl": kl}

    def gradient(self, minibatch: Minibatch, weights: np.ndarray, out: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        config, m, net = self.config, minibatch, self.written
        assert net is not None
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            log_probs, entropy, values = net.forward(weights, m.observations, m.actions)
            policy_loss, kl, d_log_probs = clipped_ppo_gradient(log_probs, m.log_probs, m.advantages, m.clip)
            old_values = m.values if config.clip_vloss else None
            value_loss, d_values = clipped_value_gradient(values, old_values, m.returns, m.clip)
            d_values *= np.float32(config.vf_coef)
            net.backward(out, d_log_probs, -config.ent_coef, d_values)
        loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
        return {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "kl": kl}


def evaluate(
    value: Callable[[np.ndarray], np.ndarray], received: list[Trajectory]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of everything that was seen, in one pass.

    Args:
        value: [B, *observation_shape] -> float32 [B].
        received: trajectories of one length.

    Returns:
        Observations [T * N, …], values float32 [T, N], and those of the observations that the steps led to.
    """
    seen = np.concatenate([r.observations for r in received], axis=1)
    steps, n = seen.shape[0] - 1, seen.shape[1]
    all_rows = seen.reshape(-1, *seen.shape[2:])
    values = value(all_rows).reshape(steps + 1, n)
    next_values = values[1:].copy()
    column = 0
    for trajectory in received:
        if trajectory.finals:
            t, i, finals = zip(*trajectory.finals, strict=True)
            next_values[np.array(t), column + np.array(i)] = value(np.stack(finals))
        column += trajectory.rewards.shape[1]
    return all_rows[: steps * n], values[:-1], next_values


def estimate(
    value: Callable[[np.ndarray], np.ndarray], received: list[Trajectory], *, gamma: float, gae_lambda: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What an actor-critic makes of a round.

    Args:
        value: see `evaluate`.
        received: likewise.
        gamma: discount per step.
        gae_lambda: trace decay.

    Returns:
        Observations [T * N, …], values and generalised advantages float32 [T, N], and which steps were taken, bool [T, N].
    """
    observations, values, next_values = evaluate(value, received)
    valid = np.concatenate([r.valid for r in received], axis=1)
    advantages = gae(
        np.concatenate([r.rewards for r in received], axis=1),
        values,
        next_values,
        np.concatenate([r.terminated for r in received], axis=1),
        np.concatenate([r.ended for r in received], axis=1) | ~valid,
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    return observations, values, advantages, valid


def compose_actor_critic(
    program: Any, config: Any, algorithm: Any, optimizer_class: Any, policy: Callable[[EnvSpec], Policy] | None = None
) -> None:
    """Learner -> rollouts -> learner, and an evaluation at the end: what PPO and A2C have in common.

    Args:
        program: the reactor that is composed; its `env` is played.
        config: of either.
        algorithm: makes an `Algorithm` from an `EnvSpec`, the configuration, a generator and a device.
        optimizer_class: as for `Learner`.
        policy: makes what rollouts play with; None: `actor_policy`.
    """
    c, env = config, env_of(program, config)
    horizon = per_rollout(c)
    spec = spec_of(env)
    check_supported(spec)
    normalizer = normalizer_of(c, spec)
    policy = policy or partial(actor_policy, c.hidden, network=c.network)
    if normalizer is not None:
        spec, policy = normalizer.spec, normalizer.policy(policy)
    learner = ActorCriticLearner(
        algorithm=partial(algorithm, spec, c),
        writers=c.n_rollouts,
        optimizer_class=optimizer_class,
        learning_rate=c.learning_rate,
        anneal_lr=c.anneal_lr,
        max_grad_norm=c.max_grad_norm,
        rounds=c.rounds,
        staleness=rounds_ahead(c),
        device=c.device,
        shards=shards_of(c, spec, getattr(c, "batch_size", c.n_envs * sum(horizon)), networks=2),
        normalizer=normalizer,
        gamma=c.gamma,
        gae_lambda=c.gae_lambda,
        ent_coef=c.ent_coef,
        vf_coef=c.vf_coef,
        clip_range=getattr(c, "clip_range", None),
        placeable=c.placeable,
        **steered_by(c),
    )
    program.learner = enclave(learner) if c.overlap else learner
    rollouts = Bank(
        Rollout,
        c.n_rollouts,
        env=env,
        policy=policy,
        n_envs=c.n_envs,
        n_steps=per_member(lambda i: horizon[i]),
        normalizer=normalizer,
    )
    program.rollouts = may_be_placed(c, rollouts)
    connect(program.learner.weights, program.rollouts.weights, after=weights_after(c))
    connect(program.rollouts.trajectory, program.learner.batches)
    after = weights_after(c)
    steer(
        program, c, program.learner, program.learner.weights, program.rollouts.trajectory, c.n_rollouts, policy=policy,
        after=after, later=after if c.overlap else None, eval_every=c.eval_every, steps_per_round=c.n_envs * sum(horizon),
        untrained=1 + rounds_ahead(c),
    )  # fmt: skip


def actor_policy(hidden: tuple[int, ...], spec: EnvSpec, network: Any = None) -> Policy:
    """The policy of an `ActorCritic` for a rollout: NumPy, or torch where there are frames, and for a network of the user's own."""
    deviations = spec.outputs if spec.is_box else 0
    forward: Any
    if network is not None or has_frames(spec):
        forward = TorchForward(partial(actor_critic, spec, hidden, None, 0.0, network), "logits")
    else:
        seen = spec.unmasked
        inputs = int(np.prod(seen.observation_shape))
        forward = Mlp((inputs, *hidden, spec.outputs), "tanh", offset=deviations, scaling=seen.scaling)
        if spec.mask is not None:
            forward = MaskedForward(forward, spec.mask)
    made: Policy = choosing(forward, spec)
    return made


def choosing(forward: Any, spec: EnvSpec) -> Any:
    """The policy that chooses by a network's outputs, for actions of this kind; log-deviations are the first of the weights."""
    if spec.choices:
        return MultiCategoricalPolicy(forward, spec.choices)
    return CategoricalPolicy(forward) if spec.n_actions is not None else GaussianPolicy(forward, 0, spec.action_shape)


class PPO(Training, config_type=PPOConfig):
    """Proximal policy optimization: learns a policy and a value function from what its rollouts play with the newest weights.

        result = Program(PPO(env="CartPole-v1", total_timesteps=50_000)).run(seed=1)

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array (frames, also in a Dict or Tuple, go
            through the network of Mnih et al. 2015); actions Discrete, a Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of whole numbers.
        config: hyper-parameters, a `PPOConfig` (`PPOConfig?` lists all with their defaults). None, the default:
            `PPOConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `PPOConfig` by its name, instead of what `config` says: `PPO(learning_rate=1e-3)`. `PPO(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss`, `policy_loss`, `value_loss`, `entropy`, `kl`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Schulman et al. 2017, arXiv:1707.06347; Huang et al. 2022, "The 37 implementation details of proximal policy optimization".
    """

    env: Any = "CartPole-v1"
    config: PPOConfig | None = None

    def compose(self) -> None:
        """See `compose_actor_critic`."""
        c = config_of(self, PPOConfig)
        compose_actor_critic(self, c, PPOAlgorithm, adam(c.device, eps=c.adam_eps))
