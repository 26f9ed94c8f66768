"""`Learner`: gradient descent in torch on what arrives, for any algorithm that says its loss."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from reactornb.model import Fixed, Input, LogicalAction, Output, Reactor, reaction, startup
from reactornb.rl.config import at_least, check_parameters, flag, number, optional, whole
from reactornb.rl.dynamo import defer
from reactornb.rl.errors import DivergenceError
from reactornb.rl.names import RENAMED
from reactornb.rl.networks import Flat, OwnGenerator
from reactornb.tags import ms

__all__ = ["Algorithm", "Learner", "MakeAlgorithm", "check_rate", "without_triton"]

defer()  # the optimizers made here need none of torch's compiler


class Algorithm(Protocol):
    """What the learner is told: a network, how to cut minibatches, and their loss.

    A minibatch of B rows that may be cut by rows has a length, B, and `minibatch[a:b]`, which gives the minibatch of those rows. Losses
    and metrics are means over rows; whatever depends on the whole minibatch, such as normalised advantages, `minibatches` computes.

    Attributes:
        network: its parameters, in order, are the published weights.
        target: a second network that follows the first, or None.

    Optional:
        analytic: bool; whether `gradient` answers. Without it, False: the gradient is autograd's, of `loss`.

        gradient(minibatch, weights, out, target=None): the gradient of `loss`, without torch.

            Args: minibatch; weights, float32 [P], perhaps read-only, not changed during the call; out, float32 [P], overwritten; target,
            float32 [P], the target network's weights, where the algorithm has a target.

            Returns: metrics as Python floats, means over the minibatch's rows, "loss" among them.

            It reads neither `network` nor `target`, and uses buffers of this object's own: several threads may call it at once, each on an
            object of its own (made by the same `MakeAlgorithm`), with the same weights.

        joined(feedbacks): where several objects computed a round's gradients: what goes back for the list of what `feedback` returned on
            each after each piece (None left out), in the order of updates, and within an update of pieces. Without it, nothing does.
    """

    network: nn.Module
    target: nn.Module | None

    def minibatches(self, received: list[Any], rng: np.random.Generator, progress: float) -> Iterable[Any]:
        """Cut what arrived at one tag into minibatches, one update each.

        Args:
            received: the values of the input's channels, in order.
            rng: the learner's own generator.
            progress: 0 at the first round, towards 1 at the last.
        """

    def loss(self, minibatch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor | float]]:
        """A scalar to be minimised, and metrics that are logged, averaged over the round."""

    def feedback(self) -> Any:
        """What goes back on the learner's `feedback` output for the minibatches since the last call, or None."""


MakeAlgorithm = Callable[[torch.Generator, torch.device], Algorithm]


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
        sums: dict[str, float] = {}
        count = 0
        parameter = self.flat.parameter
        gradient = parameter.grad
        assert gradient is not None
        for minibatch in self.algo.minibatches(received, self.rng, progress):
            loss, metrics = self.algo.loss(minibatch)
            count += 1
            self.updates += 1
            gradient.zero_()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(gradient.norm())
            value = float(loss.detach())
            if not (np.isfinite(value) and np.isfinite(norm)):
                raise self.diverged(value, norm)
            if self.max_grad_norm is not None and norm > self.max_grad_norm:
                gradient.mul_(self.max_grad_norm / (norm + 1e-6))
            self.optimizer.step()
            if self.target is not None and self.target_every and self.updates % self.target_every == 0:
                self.follow(self.target)
            for name, metric in (("loss", value), ("gradient_norm", norm), *metrics.items()):
                value = metric.item() if isinstance(metric, torch.Tensor) else metric
                sums[name] = sums.get(name, 0.0) + value
        steps = sum(getattr(r, "steps", 0) for r in received)
        if steps:
            self.log(steps=steps)
        if count:
            self.log(**{name: total / count for name, total in sums.items()})

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
