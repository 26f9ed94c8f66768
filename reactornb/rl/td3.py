"""Twin delayed DDPG: a deterministic policy for actions in a Box, from a replay buffer, with twin critics, noise on what they aim at, and an actor
that learns less often.

    Program(TD3(env="Pendulum-v1")).run(seed=1)

Source: Fujimoto et al. 2018, arXiv:1802.09477; CleanRL's td3_continuous_action.py. `continuous.py` says in which order an update goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reactornb.rl.analytic import written_out
from reactornb.rl.bounded import Bounds, NoisyPolicy
from reactornb.rl.config import at_least, check, config_of, number, whole
from reactornb.rl.continuous import COMMON, ContinuousConfig, Noised, noised, wire
from reactornb.rl.continuous_networks import ActorAndCritics
from reactornb.rl.continuous_passes import ContinuousPass
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.policies import Policy
from reactornb.rl.storage import Batch
from reactornb.rl.training import Training, env_of

__all__ = ["TD3", "TD3Config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TD3Config(ContinuousConfig):
    """Hyper-parameters; the defaults are CleanRL's td3_continuous_action.py.

    Attributes:
        exploration_noise: deviation of the noise on the actions of rollouts, which are in [-1, 1] before they are stretched to their Box.
        policy_delay: updates of the critics for one of the actor and of the targets.
        target_policy_noise: deviation of the noise on the actions that critics aim at.
        target_noise_clip: it is cut to this.
        total_timesteps, …: see `ContinuousConfig`.
    """

    exploration_noise: float = 0.1
    policy_delay: int = 2
    target_policy_noise: float = 0.2
    target_noise_clip: float = 0.5

    def __post_init__(self) -> None:
        check(
            self, **COMMON, exploration_noise=at_least(0), policy_delay=whole(1), target_policy_noise=at_least(0),
            target_noise_clip=number(0),
        )  # fmt: skip
        self.check_rounds()


# RL Baselines3 Zoo, td3.yml.
_MUJOCO = TD3Config(total_timesteps=1_000_000, learning_starts=10_000, learning_rate=1e-3, hidden=(400, 300))
TD3Config.presets = {
    "Pendulum-v1": TD3Config(
        total_timesteps=20_000, learning_starts=10_000, learning_rate=1e-3, gamma=0.98, buffer_size=20_000, hidden=(400, 300)
    ),
    **{f"{name}-v{version}": _MUJOCO for name in ("Ant", "HalfCheetah", "Hopper", "Walker2d") for version in (4, 5)},
}  # fmt: skip


class TD3Algorithm:
    """TD3's loss; see `Algorithm`. `config` is a `TD3Config`, or has its fields.

    `gradient` is used for perceptrons on the CPU; whoever overrides `loss` alone gets autograd's.
    """

    name = "TD3"
    outputs = 1
    critics = 2

    def __init__(self, spec: EnvSpec, config: Any, generator: torch.Generator, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.bounds = Bounds.of(spec, self.name)
        self.network = self._own = self.networks(spec, config, generator)
        self.target = self.networks(spec, config, None)
        self.updates = 0
        self._in_numpy = device.type == "cpu" and config.network is None
        if self._in_numpy:
            self._pass = ContinuousPass(spec, config.hidden, outputs=1, critics=self.critics, judges=1)
            self._actor = slice(0, self.network.sizes[0])

    @classmethod
    def networks(cls, spec: EnvSpec, config: Any, generator: torch.Generator | None) -> ActorAndCritics:
        """See `Kind`."""
        return ActorAndCritics(spec, config.hidden, generator, critics=cls.critics, network=config.network)

    @classmethod
    def player(cls, forward: Any, bounds: Bounds, config: Any, warm_up: int) -> Policy:
        """See `Kind`."""
        return NoisyPolicy(forward, bounds, warm_up, config.exploration_noise)

    @property
    def analytic(self) -> bool:
        """See `Algorithm`; False also where a subclass has put another network in the place of this one."""
        return self._in_numpy and self.network is self._own and written_out(type(self))

    def minibatches(self, received: list[list[Batch]], rng: np.random.Generator, progress: float) -> list[Noised]:  # noqa: ARG002 - as every `Algorithm` has it
        """Those that the replay buffer drew, with noise for the actions that critics aim at. `Parts` and the targets count as this does."""
        made = []
        for batch in received[0]:
            self.updates += 1
            made.append(noised(batch, rng, 1, self.bounds.size, self.updates % self.config.policy_delay == 0))
        return made

    def loss(self, minibatch: Noised) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """Of the critics, and of the actor where it is its turn; each depends on its own weights alone."""
        m, c, network = minibatch, self.config, self.network
        taken = np.empty((len(m.actions), self.bounds.size), np.float32)
        self.bounds.from_box(m.actions, taken)
        observations, next_observations, actions, rewards, discounts, noise = (
            # Copies: what was sent is read-only, which torch's tensors cannot be.
            torch.tensor(a, device=self.device)
            for a in (m.observations, m.next_observations, taken, m.rewards, m.discounts, m.noise)
        )
        with torch.no_grad():
            near = (noise[:, 0] * c.target_policy_noise).clamp(-c.target_noise_clip, c.target_noise_clip)
            next_actions = (torch.tanh(self.target.actor(next_observations)) + near).clamp(-1, 1)
            goals = rewards + discounts * self.target.values(next_observations, next_actions).amin(0)
        values = network.values(observations, actions)
        loss = ((values - goals) ** 2).mean(1).sum()
        metrics: dict[str, torch.Tensor | float] = {"qf_loss": loss.detach(), "value": values.detach().mean()}
        if m.actor:
            own_actions = torch.tanh(network.actor(observations))
            actor_loss = -network.frozen_values(observations, own_actions, 1).mean()
            loss = loss + actor_loss
            metrics["actor_loss"] = actor_loss.detach()
        return loss, metrics

    def gradient(self, minibatch: Noised, weights: np.ndarray, out: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """That of `loss`, written out."""
        m, c, net = minibatch, self.config, self._pass
        rows = len(m.rewards)
        taken = np.empty((rows, self.bounds.size), np.float32)
        self.bounds.from_box(m.actions, taken)
        with np.errstate(over="ignore", invalid="ignore"):  # the learner looks for what is not finite, and says so
            net.begin(m.observations, m.next_observations)
            next_actions = np.tanh(net.act_next(target))
            near = m.noise[:, 0].T * np.float32(c.target_policy_noise)
            next_actions += np.clip(near, -c.target_noise_clip, c.target_noise_clip)
            next_values = net.judge_next(target, np.clip(next_actions, -1.0, 1.0))
            goals = np.minimum.reduce(next_values, axis=0)
            goals *= m.discounts
            goals += m.rewards
            values = net.judge(weights, taken)
            errors = values - goals
            loss = float(np.dot(errors.ravel(), errors.ravel())) / rows
            metrics = {"qf_loss": loss, "value": float(np.add.reduce(values, axis=None)) / values.size}
            errors *= np.float32(2.0 / rows)
            net.backward_critics(out, errors)
            if m.actor:
                actions = np.tanh(net.act(weights))
                actor_loss = -float(np.add.reduce(net.judge_own(weights, actions), axis=None)) / rows
                toward = net.toward_actions(-1.0 / rows)
                toward *= 1 - actions * actions
                net.backward_actor(out, toward)
                loss += actor_loss
                metrics["actor_loss"] = actor_loss
            else:
                out[self._actor] = 0.0
        return {"loss": loss, **metrics}

    def feedback(self) -> None:
        """None."""


class TD3(Training, config_type=TD3Config):
    """Twin delayed DDPG: learns continuous actions from a replay buffer, with a deterministic policy and noise on what it does.

        result = Program(TD3(env="Pendulum-v1")).run(seed=1)

    Parameters:
        env: a Gymnasium id ("Pendulum-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array, but frames; actions a Box
            with bounds.
        config: hyper-parameters, a `TD3Config` (`TD3Config?` lists all with their defaults). None, the default:
            `TD3Config.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `TD3Config` by its name, instead of what `config` says: `TD3(learning_rate=1e-3)`. `TD3(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss` (the sum of all), `qf_loss`, `actor_loss`, `value`, and at the end `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Fujimoto et al. 2018, arXiv:1802.09477.
    """

    env: Any = "Pendulum-v1"
    config: TD3Config | None = None

    def compose(self) -> None:
        """Learner -> rollouts -> replay buffer -> learner, and an evaluation at the end."""
        c = config_of(self, TD3Config)
        wire(self, c, spec_of(env_of(self, c)), TD3Algorithm, c.policy_delay)
