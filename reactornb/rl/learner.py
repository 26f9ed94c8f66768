"""`Learner`: gradient descent in torch on what arrives, for any algorithm that says its loss."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from reactornb.model import Fixed, Input, LogicalAction, Output, Reactor, reaction, startup
from reactornb.rl.config import at_least, check_parameters, flag, number, optional, whole
from reactornb.rl.dynamo import defer
from reactornb.rl.errors import DivergenceError
from reactornb.rl.gradients import Algorithm, LossGradient, MakeAlgorithm, Means, Metrics
from reactornb.rl.names import RENAMED
from reactornb.rl.networks import Flat, OwnGenerator
from reactornb.tags import ms

__all__ = ["Algorithm", "Learner", "MakeAlgorithm", "check_rate", "without_triton"]

defer()  # the optimizers made here need none of torch's compiler


class Learner(Reactor):
    """Updates a network on what arrives and publishes its weights as one read-only flat float32 array.

    Logs `loss`, `gradient_norm`, `steps` (environment steps that arrived) and the algorithm's own metrics, once a round.

    Parameters:
        algorithm: makes an `Algorithm` from a generator for the first weights and a device; called at startup. What it draws without
            that generator, as torch's own layers do, comes from one of this reactor, never from torch's global one.
        writers: channels of `batches`.
        optimizer_class: makes a `torch.optim.Optimizer` from a list of one flat parameter and `lr`.
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

    Raises (in its reactions, so the run says at which tag):
        DivergenceError: if a loss or a gradient is not finite.
        RuntimeError: if CUDA is asked for and there is none.
    """

    batches = Input[Any](width="writers")
    weights = Output[np.ndarray](doc="float32 [P], read-only")
    final = Output[np.ndarray](doc="the weights after the last round")
    feedback = Output[Any](doc="back to where the batches come from, such as priorities")
    prime = LogicalAction(min_delay=ms(1))

    _renamed = RENAMED

    algorithm: Fixed[MakeAlgorithm]
    writers: int = 1
    optimizer_class: Fixed[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam
    learning_rate: float = 2.5e-4
    anneal_lr: bool = False
    max_grad_norm: float | None = None
    target_every: int = 0
    tau: float = 1.0
    rounds: int | None = None
    staleness: Fixed[int] = 0
    device: Fixed[str] = "cpu"

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run."""
        if name == "learning_rate":
            check_rate(value)
        if name == "tau" and not 0 <= value <= 1:
            raise ValueError("tau is in [0, 1].")

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
        with without_triton():
            self.optimizer = self.optimizer_class([self.flat.parameter], lr=self.learning_rate)
        self.round = self.updates = 0
        first = self.flat.publish()
        weights.set(first)
        more = self.staleness if self.rounds is None else min(self.staleness, self.rounds - 1)
        if more:
            prime.schedule(0, (more, first))

    @reaction("learning_rate")
    def on_learning_rate(self) -> None:
        """Called after `%reactor set learner.learning_rate`: the optimizer has its own copy."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    @reaction(prime)
    def on_prime(self, prime: Any, weights: Any) -> None:
        """Send the first weights again, for the rounds that may be ahead."""
        left, first = prime.value
        weights.set(first)
        if left > 1:
            prime.schedule(0, (left - 1, first))

    @reaction(batches)
    def on_batches(self, batches: Any, weights: Any, final: Any, feedback: Any) -> None:
        """One round: an update for each minibatch."""
        received = batches.values
        progress = self.round / self.rounds if self.rounds else 0.0
        if self.anneal_lr:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * (1.0 - progress)
        self.learn(received, progress)
        self.round += 1
        if self.target is not None and not self.target_every:
            self.follow(self.target)
        back = self.algo.feedback()
        if back is not None:
            feedback.set(back)
        published = self.flat.publish()
        if self.rounds is not None and self.round >= self.rounds:
            # Not on `weights`: a last round would be played and learnt from at the run's last microstep.
            final.set(published)
            self.request_stop()
        elif self.rounds is None or self.round + self.staleness < self.rounds:
            weights.set(published)

    def learn(self, received: list[Any], progress: float) -> None:
        """The updates of a round."""
        for minibatch in self.algo.minibatches(received, self.rng, progress):
            self.update(self.gradient.compute(minibatch))
        steps = sum(getattr(r, "steps", 0) for r in received)
        if steps:
            self.log(steps=steps)
        means = self.means.take()
        if means:
            self.log(**means)

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

    def diverged(self, loss: float, norm: float) -> DivergenceError:
        """What is wrong, and what can be done."""
        return DivergenceError(
            f"{self.full_name}: update {self.updates} has the loss {loss} and a gradient of norm {norm}. Look for rewards or "
            f"observations that are not finite; else lower learning_rate (it is {self.learning_rate:g}) or max_grad_norm.",
            update=self.updates,
            loss=loss,
        )


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
