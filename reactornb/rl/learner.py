"""`Learner`: gradient descent in torch on what arrives, for any algorithm that says its loss."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from reactornb.model import Bank, Fixed, Input, LogicalAction, Output, connect, enclave, reaction, startup
from reactornb.rl.config import at_least, check_parameters, flag, number, optional, whole
from reactornb.rl.dynamo import defer
from reactornb.rl.errors import ConfigError, DivergenceError
from reactornb.rl.gradients import InOrder, LossGradient, MakeAlgorithm, Means, Metrics, in_order
from reactornb.rl.names import RENAMED
from reactornb.rl.networks import Flat
from reactornb.rl.normalization import Normalizer
from reactornb.rl.optimizers import Adam, RMSprop
from reactornb.rl.shards import GradientShard, Piece, PieceSender, cut, weighted
from reactornb.rl.shared import is_kept
from reactornb.rl.steering import ACTOR_CRITIC, Learnt, Steered
from reactornb.rl.torch_draws import OwnGenerator
from reactornb.tags import ms

__all__ = ["ActorCriticLearner", "Learner", "adam", "check_rate", "rms_prop", "without_triton"]

defer()  # the optimizers made here need none of torch's compiler


class Learner(Steered):
    """Updates a network on what arrives and publishes its weights as one read-only flat float32 array.

    Logs `loss`, `gradient_norm`, `steps` (environment steps that arrived) and the algorithm's own metrics, once a round; at the start `shards`, if
    there is more than one.

    Parameters:
        algorithm: makes an `Algorithm` from a generator for the first weights and a device; called at startup. What it draws without
            that generator, as torch's own layers do, comes from one of this reactor, never from torch's global one.
        writers: channels of `batches`.
        optimizer_class: makes an optimizer from a list of one flat parameter and `lr`: a class of `torch.optim`, or of `reactornb.rl.optimizers`, which
            need a fifth of the time for small networks on the CPU.
        learning_rate: learning rate; while the program runs, `%reactor set learner.learning_rate 1e-4` reaches the optimizer before the next round.
        anneal_lr: let it fall to 0 linearly over the rounds.
        max_grad_norm: the gradient's norm is cut to this; None: never.
        target_every: updates after which the target network is replaced; 0: after every round.
        tau: how much of the network the target takes over then; 1: all.
        rounds: after so many the weights go out on `final`, instead of `weights`, and the run ends; None: it does not by itself.
        staleness: rounds that rollouts may be ahead of the learner: so many more copies of the first weights are sent, one each
            millisecond of logical time, and of a run of `rounds` the last so many weights are not, since no round would be learnt
            from that is played with them. With `connect(learner.weights, rollouts.weights, after=ms(1 + staleness))` the rollouts of
            a round do not depend on the update before it; with the learner in an `enclave`, too, they are played at the same time.
        device: "cpu" or "cuda" ("cuda:1").
        shards: reactors that compute the gradient of one minibatch at the same time, each for a block of its rows; see `shards.py`. The
            result depends on it by rounding, and never on the number of workers. 1: the learner's own reaction computes it.
        placeable: shards are enclaves, which hosts may execute: `start(place={"learner.shard": …})`. Their pieces take a microstep more.
        normalizer: what of observations and rewards is normalised before it is learnt from, by statistics that are published at the end of the weights; None:
            nothing. The rollouts have the same one.
        listens_to, reports, max_seconds: see `Steered`.

    What an algorithm needs to work with shards, each of which has one of its own: minibatches that can be cut by rows; a `loss` that depends on
    the minibatch and the weights alone, and is a mean over rows; noise in it that comes from the generator that the algorithm was made with. BatchNorm
    and dropout are refused.

    Raises (in its reactions, so the run says at which tag):
        DivergenceError: if a loss or a gradient is not finite.
        RuntimeError: if CUDA is asked for and there is none.
    """

    batches = Input[Any](width="writers")
    weights = Output[np.ndarray](doc="float32 [P], read-only")
    feedback = Output[Any](doc="back to where the batches come from, such as priorities")
    prime = LogicalAction(min_delay=ms(1))
    next_update = LogicalAction()

    _renamed = RENAMED

    algorithm: Fixed[MakeAlgorithm]
    writers: int = 1
    optimizer_class: Fixed[Callable[..., Any]] = torch.optim.Adam
    learning_rate: float = 2.5e-4
    anneal_lr: bool = False
    max_grad_norm: float | None = None
    target_every: int = 0
    tau: float = 1.0
    rounds: int | None = None
    staleness: Fixed[int] = 0
    device: Fixed[str] = "cpu"
    shards: Fixed[int] = 1
    placeable: Fixed[bool] = False
    normalizer: Fixed[Normalizer | None] = None

    def compose(self) -> None:
        """The shards; none of them if there is one, which is computed in the learner's own reaction."""
        check_parameters(type(self).__name__, shards=(self.shards, whole(1)))
        if self.shards > 1 and self.device != "cpu":
            raise ConfigError(
                f"{type(self).__name__}: shards={self.shards} on device={self.device!r}: shards share the cores of the CPU. Set shards=1.",
                fields=("shards", "device"),
            )
        count = self.shards if self.shards > 1 else 0
        self.sender = Bank(PieceSender, count)
        shard = Bank(GradientShard, count, algorithm=self.algorithm)
        self.shard = enclave(shard, each=True) if self.placeable else shard
        connect(self.sender.sent, self.shard.piece, after=0 if self.placeable else None)

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run."""
        if name == "learning_rate":
            check_rate(value)
        if name == "tau" and not 0 <= value <= 1:
            raise ValueError("tau is in [0, 1].")
        super().check_parameter(name, value)

    def changed(self, name: str) -> None:
        """See `Steered`."""
        if name == "learning_rate":
            self.set_rate()

    def published(self) -> np.ndarray:
        """See `Steered`; with the statistics that belong to these weights at their end."""
        weights = self.flat.publish()
        return weights if self.normal is None else self.normal.beside(weights)

    @reaction(startup)
    def on_startup(self, weights: Any, prime: Any) -> None:
        """Make the network and publish its first weights."""
        check_parameters(
            self.full_name,
            learning_rate=(self.learning_rate, at_least(0)),
            anneal_lr=(self.anneal_lr, flag),
            max_grad_norm=(self.max_grad_norm, optional(number(0, above=True))),
            target_every=(self.target_every, whole(0)),
            tau=(self.tau, number(0, 1)),
            rounds=(self.rounds, optional(whole(1))),
            staleness=(self.staleness, whole(0)),
            max_seconds=(self.max_seconds, optional(number(0, above=True))),
        )
        device = torch.device(self.device)
        with OwnGenerator(self.seed):
            self.algo = self.algorithm(torch.Generator().manual_seed(self.seed), device)
        self.algo.network.to(device)
        self.flat = Flat(self.algo.network, gradients=True)
        self.target: Flat | None = None
        if self.algo.target is not None:
            self.algo.target.to(device)
            self.target = Flat(self.algo.target)
            self.target.parameter.data.copy_(self.flat.parameter.data)
        self.gradient = LossGradient(self.algo, self.flat, self.target)
        self.means = Means()
        self.normal = None if self.normalizer is None else self.normalizer.for_learner()
        with without_triton():
            self.optimizer = self.optimizer_class([self.flat.parameter], lr=self.learning_rate)
        self.round = self.updates = self.steps = 0
        self.progress = 0.0
        # With shards a round takes several microsteps; what arrives meanwhile waits.
        self.waiting: deque[list[Any]] = deque()
        self.busy = False
        self.minibatches: Iterator[Any] = InOrder(())
        self.minibatch: Any = None
        self.outdated = set(range(self.shards))  # shards that do not have the target network's newest weights
        self.back: list[Any] = []
        if self.shards > 1:
            self.log(shards=self.shards)
        first = self.published()
        weights.set(first)
        more = self.staleness if self.rounds is None else min(self.staleness, self.rounds - 1)
        if more:
            prime.schedule(0, (more, first))

    @reaction("learning_rate")
    def on_learning_rate(self) -> None:
        """Called after `%reactor set learner.learning_rate`: the optimizer has its own copy."""
        self.set_rate()

    @reaction(prime)
    def on_prime(self, prime: Any, weights: Any) -> None:
        """Send the first weights again, for the rounds that may be ahead."""
        left, first = prime.value
        weights.set(first)
        if left > 1:
            prime.schedule(0, (left - 1, first))

    @reaction(batches)
    def on_batches(self, batches: Any, weights: Any, final: Any, feedback: Any, learnt: Any, next_update: Any) -> None:
        """One round, an update for each minibatch; with shards its beginning, an update per microstep follows."""
        if self.over:
            return
        if self.shards > 1:
            self.waiting.append(batches.values)
            if not self.busy:
                self.busy = True
                next_update.schedule(0)
            return
        self.begin(batches.values)
        while self.minibatch is not None:
            self.update(self.gradient.compute(self.minibatch))
            self.minibatch = next(self.minibatches, None)
        self.end(weights, final, feedback, learnt)

    @reaction(next_update, effects="sender.piece")
    def on_update(self, weights: Any, final: Any, feedback: Any, learnt: Any, next_update: Any, sender: Any) -> None:
        """Send each shard its piece of the next minibatch."""
        if self.over:
            return
        if self.minibatch is None:
            self.begin(self.waiting.popleft())
        if self.minibatch is None:  # a round without updates
            self.end(weights, final, feedback, learnt)
            if self.busy:
                next_update.schedule(0)
            return
        values = self.gradient.weights()
        pieces = cut(self.minibatch, self.shards, self.full_name)  # fewer than shards where there are fewer rows
        tuned = self.tuned() if self.live else None
        target = None
        if self.target is not None and self.outdated:
            target = self.target.publish()
        for i, (rows, share) in enumerate(pieces):
            sender[i].piece.set(Piece(rows, share, values, target if i in self.outdated else None, tuned))
        if target is not None:
            self.outdated -= set(range(len(pieces)))

    @reaction("shard.gradient")
    def on_gradients(self, shard: Any, weights: Any, final: Any, feedback: Any, learnt: Any, next_update: Any) -> None:
        """An update with the sum of the shards' gradients."""
        if self.over:
            return
        computed = [member.gradient.value for member in shard if member.gradient.is_present]
        self.gradient.add([gradient.values for gradient in computed])
        self.back += [gradient.feedback for gradient in computed if gradient.feedback is not None]
        self.update(weighted(computed))
        self.minibatch = next(self.minibatches, None)
        if self.minibatch is None:
            self.end(weights, final, feedback, learnt)
        if self.busy:
            next_update.schedule(0)

    def begin(self, received: list[Any]) -> None:
        """A round begins: `minibatch` is its first, or None."""
        self.progress = self.round / self.rounds if self.rounds else 0.0
        if self.anneal_lr:
            self.set_rate()
        self.steps = sum(getattr(r, "steps", 0) for r in received)
        if self.steps:
            self.log(steps=self.steps)
        if self.live:
            self.algo.retune(self.tuned())  # type: ignore[attr-defined]  # see `ActorCriticLearner`
        if self.normal is not None:
            received = self.normal.take(received)
        self.minibatches = in_order(self.algo.minibatches(received, self.rng, self.progress))
        if self.shards > 1 and isinstance(self.minibatches, Generator) and is_kept():
            raise ConfigError(
                f"{self.full_name}: {type(self.algo).__name__}.minibatches is a generator, and with shards={self.shards} a checkpoint may fall between "
                f"two of its minibatches, where nothing can save it. Let it return a list, or an object with __next__ as reactornb.rl.minibatches.Epochs; or set "
                f"shards=1.",
                fields=("shards",),
            )
        self.minibatch = next(self.minibatches, None)

    def end(self, weights: Any, final: Any, feedback: Any, learnt: Any) -> None:
        """A round ends: log, and publish."""
        self.minibatches = InOrder(())  # frees what arrived
        self.busy = bool(self.waiting)
        means = self.means.take()
        if means:
            self.log(**means)
        self.round += 1
        if self.target is not None and not self.target_every:
            self.follow(self.target)
        back = self.algo.feedback()
        if self.back and hasattr(self.algo, "joined"):
            back = self.algo.joined(self.back)
        self.back = []
        if back is not None:
            feedback.set(back)
        if self.normal is not None:
            self.normal.end_round()
        published = self.published()
        if self.reports:
            learnt.set(Learnt(self.round, means, published))
        if (self.rounds is not None and self.round >= self.rounds) or self.is_late:
            # Not on `weights`: a last round would be played and learnt from at the run's last microstep.
            final.set(published)
            self.busy = False
            self.end_now()
        elif self.rounds is None or self.round + self.staleness < self.rounds:
            weights.set(published)

    def set_rate(self) -> None:
        """Tell the optimizer the learning rate."""
        rate = self.learning_rate * (1.0 - self.progress) if self.anneal_lr else self.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def update(self, metrics: Metrics) -> None:
        """One step of the optimizer, along the flat gradient as it stands, of which these are the metrics."""
        self.updates += 1
        gradient, loss = self.gradient, metrics["loss"]
        norm = gradient.norm()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self.diverged(loss, norm)
        if self.max_grad_norm is not None and norm > self.max_grad_norm:
            gradient.scale(self.max_grad_norm / (norm + 1e-6))
        self.optimizer.step()
        if self.target is not None and self.target_every and self.updates % self.target_every == 0:
            self.follow(self.target)
        self.means.add({"loss": loss, "gradient_norm": norm, **metrics})

    def follow(self, target: Flat) -> None:
        """Move the target network towards the network."""
        target.parameter.data.lerp_(self.flat.parameter.data, self.tau)
        self.outdated = set(range(self.shards))

    def diverged(self, loss: float, norm: float) -> DivergenceError:
        """What is wrong, and what can be done."""
        return DivergenceError(
            f"{self.full_name}: update {self.updates} has the loss {loss} and a gradient of norm {norm}. Look for rewards or "
            f"observations that are not finite; else lower learning_rate (it is {self.learning_rate:g}) or max_grad_norm.",
            update=self.updates,
            loss=loss,
        )


class ActorCriticLearner(Learner):
    """Teaches a policy and a value function; what their loss is made of can be changed while it learns, and counts from the next round on.

    Parameters:
        gamma, gae_lambda, ent_coef, vf_coef, clip_range: as in the configuration of PPO; `%reactor set learner.ent_coef 0.001`. A clip_range of None
            means that the algorithm has none.
    """

    live = tuple(ACTOR_CRITIC)

    gamma: float = 0.99
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    clip_range: float | None = None

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run, or change nothing."""
        if name == "clip_range" and self.clip_range is None:
            raise ValueError("this algorithm clips nothing.")
        super().check_parameter(name, value)


def adam(device: str, **options: Any) -> Callable[..., Any]:
    """An `optimizer_class`: Adam with these options, on flat arrays on the CPU and torch's elsewhere."""
    return partial(Adam, **options) if device == "cpu" else partial(torch.optim.Adam, fused=True, **options)


def rms_prop(device: str, **options: Any) -> Callable[..., Any]:
    """An `optimizer_class`: RMSprop, as `adam`."""
    return partial(RMSprop if device == "cpu" else torch.optim.RMSprop, **options)


def check_rate(learning_rate: float) -> None:
    """Refuse a value that is no learning rate.

    Raises:
        ValueError: if it is not finite or below 0.
    """
    if not 0 <= learning_rate < np.inf:
        raise ValueError("a learning rate is finite and at least 0.")


@contextmanager
def without_triton() -> Iterator[None]:
    """Making the first optimizer imports triton, which would turn the GIL on for every thread.

    Where nothing prevents that (`PYTHON_GIL=0` does, which our kernel and command line set) and nobody imported it before, it is
    hidden for that moment: nothing here compiles.
    """
    off = not getattr(sys, "_is_gil_enabled", lambda: True)()
    kept_off = os.environ.get("PYTHON_GIL") == "0" or sys._xoptions.get("gil") == "0"
    hide = off and not kept_off and "triton" not in sys.modules
    if hide:
        sys.modules["triton"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            sys.modules.pop("triton", None)
