"""Asynchronous advantage actor-critic, with its asynchrony declared: the same run, bit for bit, on any number of threads.

    Program(A3C(env="CartPole-v1")).run(seed=1)

In A3C every actor plays with weights of its own, computes a gradient, applies it to the shared weights whenever it is done, takes
their newest state, and goes on; meanwhile others have applied theirs. Who is how late is left to the operating system. Here it is
part of the program: actor i's gradient arrives `delays[i]` after it began to play (`after=` on a connection), the shared weights are
updated in that order, and the actor gets what they have become at that moment. Its gradient is as stale as the gradients that
arrived in between are many, which is what asynchrony does; but it is so in every run. Actors that begin at the same logical time
play in parallel.

Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3, and its shared RMSprop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from reactornb.model import Bank, Fixed, Input, LogicalAction, Output, Reactor, connect, per_member, reaction, startup
from reactornb.rl.a2c import A2CAlgorithm
from reactornb.rl.bodies import actor_critic
from reactornb.rl.config import (
    Rule,
    TrainingConfig,
    at_least,
    broken,
    check,
    config_of,
    flag,
    horizons,
    number,
    per_rollout,
    whole,
    widths,
)
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import spec_of
from reactornb.rl.errors import DivergenceError
from reactornb.rl.gradients import LossGradient
from reactornb.rl.layers import check_supported
from reactornb.rl.learner import check_rate, without_triton
from reactornb.rl.names import RENAMED
from reactornb.rl.networks import Flat
from reactornb.rl.normalization import Measured, Normalizer, normalizer_of, prepared
from reactornb.rl.optimizers import RMSprop
from reactornb.rl.ppo import actor_policy
from reactornb.rl.rollout import Rollout
from reactornb.rl.statistics import Moments
from reactornb.rl.steering import ACTOR_CRITIC, Learnt, Steered
from reactornb.rl.storage import Trajectory
from reactornb.rl.torch_draws import OwnGenerator
from reactornb.rl.training import Training, env_of, may_be_placed, steer, steered_by
from reactornb.tags import ms, us

__all__ = ["A3C", "A3CConfig", "Actor", "Gradient", "SharedWeights"]


_DELAYS = Rule(
    "None or a tuple of times in ns, such as (us(200), ms(1)), one for each actor",
    lambda v: v is None or (isinstance(v, Sequence) and all(whole(0).holds(d) for d in v)),
)


@dataclass(frozen=True, slots=True)
class A3CConfig(TrainingConfig):
    """Hyper-parameters; the defaults are those of A2C here, n_actors is of the paper's order.

    Attributes:
        total_timesteps: environment steps of a whole run, over all actors.
        n_actors: how many, each with weights of its own.
        n_envs: environments of each.
        n_steps: steps of each environment per gradient; the paper's t_max. A tuple has one number for each actor, fewer for those whose
            environments are slower.
        delays: for each actor the logical time in ns from new weights to its gradient's arrival; None: actor i needs
            (i + 1) / n_actors of a millisecond, and begins again with the next whole one, so that all of them play at the same
            logical time and their gradients arrive one after the other.
        learning_rate: RMSprop's learning rate; falls to 0 over the run, as in the paper.
        rms_prop_alpha: RMSprop's smoothing.
        rms_prop_eps: RMSprop's epsilon.
        gamma: discount.
        gae_lambda: trace decay of the advantages; 1: returns up to the trajectory's end, as in the paper.
        ent_coef: weight of the policy's entropy.
        vf_coef: weight of the value function's mean squared error.
        max_grad_norm: each gradient is cut to this.
        hidden: widths of the hidden layers; images get the network of Mnih et al. 2015.
        log_std_init: of continuous actions, at the beginning.
        network, eval_every, …: what all algorithms have; see `TrainingConfig`.
    """

    total_timesteps: int = 500_000
    n_actors: int = 8
    n_envs: int = 1
    n_steps: int | tuple[int, ...] = 20
    delays: tuple[int, ...] | None = None
    learning_rate: float = 1e-3
    anneal_lr: bool = True
    rms_prop_alpha: float = 0.99
    rms_prop_eps: float = 1e-5
    gamma: float = 0.99
    gae_lambda: float = 1.0
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0

    def __post_init__(self) -> None:
        check(
            self, total_timesteps=whole(1), n_actors=whole(1), n_envs=whole(1), n_steps=horizons, delays=_DELAYS, learning_rate=at_least(0),
            anneal_lr=flag, rms_prop_alpha=number(0, 1), rms_prop_eps=number(0, above=True), gamma=number(0, 1), gae_lambda=number(0, 1),
            ent_coef=at_least(0), vf_coef=at_least(0), max_grad_norm=number(0, above=True), hidden=widths, log_std_init=number(),
        )  # fmt: skip
        if self.delays is not None and len(self.delays) != self.n_actors:
            raise broken(
                self, f"{len(self.delays)} delays for {self.n_actors} actors: one for each.", "delays", "n_actors"
            )
        per_rollout(self, rollouts="n_actors")

    def delay(self, actor: int) -> tuple[int, int]:
        """Logical times in ns: from weights to the gradient's arrival, and from there to the next weights."""
        if self.delays is not None:
            return self.delays[actor], 0
        there = us(1000 * (actor + 1)) // self.n_actors
        return there, us(1000) - there


@dataclass(frozen=True, slots=True)
class Gradient:
    """What an actor sends.

    Attributes:
        values: float32 [P], read-only.
        steps: environment steps behind it.
        version: which weights it was computed for.
        loss: their loss.
    """

    values: np.ndarray
    steps: int
    version: int
    loss: float


@dataclass(frozen=True, slots=True)
class MeasuredGradient(Gradient):
    """A gradient, with the moments of what it was computed from; see `Measured`."""

    seen: Moments | None
    returns: Moments | None


class ActorLearner(Rollout):
    """Plays and computes the gradient for what it saw, with a network of its own.

    Normalised rewards are divided by what came with the weights, as observations are by the statistics at their end.
    """

    weights = Input[Any](
        doc="(version, float32 [P], values of hyper-parameters); where something is normalised, and the moments of discounted returns"
    )
    gradient = Output[Gradient]()

    make: Fixed[Callable[[], A2CAlgorithm]]

    @reaction(startup)
    def on_made(self) -> None:
        """The network whose gradients are taken."""
        with OwnGenerator(self.seed):
            self.algo = self.make()
        self.flat = Flat(self.algo.network, gradients=True)
        self.descent = LossGradient(self.algo, self.flat)

    @reaction(weights)
    def on_weights(self, weights: Any, trajectory: Any, gradient: Any) -> None:
        """Play, then differentiate."""
        version, values, tuned, *returns = weights.value
        self.algo.retune(tuned)
        self.actor.load(values)
        statistics = None if self.normalizer is None else self.normalizer.statistics()
        self.flat.load(values if statistics is None else statistics.load(values, *returns))
        with self.watch.at(self.tag):
            played = self.play().freeze()
        trajectory.set(played)
        learnt = played if statistics is None else prepared(statistics, played)
        flat_gradient = self.flat.parameter.grad
        assert flat_gradient is not None
        flat_gradient.zero_()  # a trajectory without a step that counts has no minibatch
        loss = 0.0
        for minibatch in self.algo.minibatches([learnt], self.rng, 0.0):
            loss = self.descent.compute(minibatch)["loss"]
        norm = self.descent.norm()
        if not np.isfinite(norm):
            raise DivergenceError(
                f"{self.full_name}: the gradient for weights {version} has the norm {norm}, their loss is {loss}. Look for rewards "
                f"or observations that are not finite; else lower learning_rate.",
                update=version,
                loss=loss,
            )
        limit = self.algo.config.max_grad_norm
        sent: np.ndarray = flat_gradient.numpy() * np.float32(min(1.0, limit / (norm + 1e-6)))
        sent.flags.writeable = False
        if isinstance(played, Measured):
            gradient.set(MeasuredGradient(sent, played.steps, version, loss, played.seen, played.returns))
        else:
            gradient.set(Gradient(sent, played.steps, version, loss))


class Actor(Reactor):
    """An actor-learner and how long it takes: `there` ns for its gradient to arrive, `back` ns for the new weights."""

    weights = Input[Any]()
    gradient = Output[Gradient]()
    trajectory = Output[Trajectory]()

    there: int = 0
    back: int = 0
    env: Any = "CartPole-v1"
    policy: Any = None
    make: Any = None
    n_envs: int = 1
    n_steps: int = 20
    shows: bool = False
    normalizer: Any = None

    def compose(self) -> None:
        """The delays stand on the connections. What it plays is shown outside if somebody wants to see it."""
        self.learner = ActorLearner(
            env=self.env,
            policy=self.policy,
            make=self.make,
            n_envs=self.n_envs,
            n_steps=self.n_steps,
            normalizer=self.normalizer,
        )
        connect(self.weights, self.learner.weights, after=self.back)
        connect(self.learner.gradient, self.gradient, after=self.there)
        if self.shows:
            connect(self.learner.trajectory, self.trajectory)


class SharedWeights(Steered):
    """Applies gradients in the order in which they arrive (at one tag: in the order of the actors), and answers each.

    Logs `loss`, `steps` and `staleness`, the updates that a gradient's weights had missed.

    Parameters:
        n_actors: how many send gradients.
        spec: of the environment.
        config: as for `A3C`.
        optimizer_class: as for `Learner`.
        learning_rate, gamma, gae_lambda, ent_coef, vf_coef: as in the configuration; `%reactor set` changes them, for the weights that go out next.
        normalizer: as for `Learner`; what actors measured counts from the weights on that their gradients lead to.
        listens_to, reports, max_seconds: see `Steered`.
    """

    gradients = Input[Gradient](width="n_actors")
    weights = Output[Any](width="n_actors", doc="(version, float32 [P], values of hyper-parameters)")
    judged = Output[np.ndarray](doc="float32 [P], each `eval_every` environment steps")
    filmed = Output[np.ndarray](doc="float32 [P], each `video_every` environment steps")
    begin = LogicalAction()

    _renamed = RENAMED

    n_actors: int
    spec: Fixed[EnvSpec]
    config: A3CConfig
    optimizer_class: Fixed[Callable[..., Any]]
    learning_rate: float
    gamma: float
    gae_lambda: float
    ent_coef: float
    vf_coef: float
    normalizer: Fixed[Normalizer | None] = None

    live = tuple(name for name in ACTOR_CRITIC if name != "clip_range")

    def check_parameter(self, name: str, value: Any) -> None:
        """See `Learner`."""
        if name == "learning_rate":
            check_rate(value)
        super().check_parameter(name, value)

    def changed(self, name: str) -> None:
        """See `Steered`."""
        if name == "learning_rate":
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate

    def published(self) -> np.ndarray:
        """See `Steered`; with the statistics that belong to these weights at their end."""
        weights = self.flat.publish()
        return weights if self.statistics is None else self.statistics.beside(weights)

    @reaction(startup)
    def on_startup(self, begin: Any) -> None:
        """Make the shared network."""
        c = self.config
        generator = torch.Generator().manual_seed(self.seed)
        with OwnGenerator(self.seed):
            network = actor_critic(self.spec, c.hidden, generator, c.log_std_init, c.network)
        self.flat = Flat(network, gradients=True)
        with without_triton():
            self.optimizer = self.optimizer_class([self.flat.parameter], lr=self.learning_rate)
        self.statistics = None if self.normalizer is None else self.normalizer.statistics()
        self.version = self.steps = 0
        for actor in range(self.n_actors):
            # Whatever the way back takes: everybody begins at the same logical time.
            begin.schedule(us(1000) - min(us(1000), c.delay(actor)[1]), actor)

    @reaction("learning_rate")
    def on_learning_rate(self) -> None:
        """Called after `%reactor set shared.learning_rate`: the optimizer has its own copy."""
        self.changed("learning_rate")

    @reaction(begin)
    def on_begin(self, begin: Any, weights: Any) -> None:
        """The first weights, for one actor."""
        weights[begin.value].set(self.numbered())

    @reaction(gradients)
    def on_gradients(self, gradients: Any, weights: Any, final: Any, judged: Any, filmed: Any, learnt: Any) -> None:
        """One step of descent for each gradient."""
        if self.over:
            return
        config = self.config
        flat_gradient = self.flat.parameter.grad
        assert flat_gradient is not None
        before = self.steps
        losses = []
        for actor, gradient in gradients.present:
            flat_gradient.numpy()[:] = gradient.values
            if config.anneal_lr:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.learning_rate * max(0.0, 1.0 - self.steps / config.total_timesteps)
            self.optimizer.step()
            losses.append(gradient.loss)
            if self.statistics is not None and isinstance(gradient, MeasuredGradient):
                self.statistics.merge_returns([gradient.returns])
                self.statistics.merge_observations([gradient.seen])
            self.log(loss=gradient.loss, staleness=self.version - gradient.version)
            self.version += 1
            self.steps += gradient.steps
            if self.steps < config.total_timesteps:
                weights[actor].set(self.numbered())
        self.log(steps=self.steps - before)
        if self.reports:
            learnt.set(Learnt(self.version, {"loss": sum(losses) / len(losses)}, self.published()))
        if self.steps >= config.total_timesteps or self.is_late:
            final.set(self.published())
            self.end_now()
            return
        for every, port in ((config.eval_every, judged), (config.video_every, filmed)):
            if every and self.steps // every > before // every:
                port.set(self.published())

    def numbered(self) -> tuple[Any, ...]:
        """They, as actors get them."""
        if self.statistics is None:
            return self.version, self.published(), self.tuned()
        return self.version, self.published(), self.tuned(), self.statistics.returns


class A3C(Training, config_type=A3CConfig):
    """Asynchronous advantage actor-critic, its asynchrony declared as delays: actors learn a policy and a value function together.

        result = Program(A3C(env="CartPole-v1", n_actors=4)).run(seed=1)

    Parameters:
        env: a Gymnasium id ("CartPole-v1" by default), or a function that makes an environment or a vector environment, such as
            `lambda: MyEnv(size=8)`; each rollout makes its own. Observations of any kind that becomes one array (frames, also in a Dict or Tuple, go
            through the network of Mnih et al. 2015); actions Discrete, a Box, MultiDiscrete, MultiBinary, or a Tuple or Dict of whole numbers.
        config: hyper-parameters, an `A3CConfig` (`A3CConfig?` lists all with their defaults). None, the default:
            `A3CConfig.for_env(env)`, what is known to work for that id.
        learning_rate, gamma, …: each field of `A3CConfig` by its name, instead of what `config` says: `A3C(learning_rate=1e-3)`. `A3C(…).settings` shows
            what comes of both.

    Logs `episode_return`, `episode_length`, `loss`, `staleness`, and with each evaluation `eval_return` and `eval_mean`.

    Raises:
        UnknownEnvironmentError: at assembly, for an environment that cannot be made.
        SpaceError: at assembly, for observations or actions that it does not take.
        ConfigError: at assembly, for another configuration.

    Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3.
    """

    env: Any = "CartPole-v1"
    config: A3CConfig | None = None

    def compose(self) -> None:
        """Shared weights <-> actors, and an evaluation at the end."""
        c = config_of(self, A3CConfig)
        env = env_of(self, c)
        spec = spec_of(env)
        check_supported(spec)
        normalizer = normalizer_of(c, spec)
        policy: Any = partial(actor_policy, c.hidden, network=c.network)
        if normalizer is not None:
            spec, policy = normalizer.spec, normalizer.policy(policy)
        self.shared = SharedWeights(
            n_actors=c.n_actors,
            spec=spec,
            config=c,
            optimizer_class=partial(RMSprop, alpha=c.rms_prop_alpha, eps=c.rms_prop_eps),
            learning_rate=c.learning_rate,
            normalizer=normalizer,
            gamma=c.gamma,
            gae_lambda=c.gae_lambda,
            ent_coef=c.ent_coef,
            vf_coef=c.vf_coef,
            **steered_by(c),
        )
        horizon = per_rollout(c, rollouts="n_actors")
        actors = Bank(
            Actor,
            c.n_actors,
            there=per_member(lambda i: c.delay(i)[0]),
            back=per_member(lambda i: c.delay(i)[1]),
            env=env,
            policy=policy,
            make=partial(A2CAlgorithm, spec, c, None, torch.device("cpu")),
            n_envs=c.n_envs,
            n_steps=per_member(lambda i: horizon[i]),
            normalizer=normalizer,
            shows=bool(c.callbacks) or (c.stop_at_return is not None and not c.eval_every),
        )
        self.actors = may_be_placed(c, actors)
        connect(self.shared.weights, self.actors.weights)
        connect(self.actors.gradient, self.shared.gradients)
        # Without the microstep, an evaluation would have to end the round of which it judges the weights.
        steer(
            self, c, self.shared, self.shared.judged, self.actors.trajectory, c.n_actors, policy=policy, after=ms(0),
            filmed=self.shared.filmed, every=1,
        )  # fmt: skip
