"""Shards: how long one of the learner's updates takes, for numbers of shards and of workers.

PPO's updates on made-up trajectories, without any environment: `--networks` are perceptrons (the widths of their hidden layers, for instance
64x64) or `cnn`, the network of Mnih et al. 2015 on frames of 4 x 84 x 84. An update is everything from one minibatch to the next; a figure is the
lowest twentieth of a round's. `reactornb.rl.shards.default_shards` has what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

from reactornb import Input, Output, Program, Reactor, Shared, connect, ms, reaction
from reactornb.bench.measure import Report, interleave, numbers, options, positive, workers_word

__all__ = ["Again", "Updates", "main"]


class Again(Reactor):
    """Sends the same trajectory for all weights that arrive."""

    weights = Input[Any]()
    trajectory = Output[Any](copy=False)
    played: Shared[Any]

    @reaction(weights)
    def on_weights(self, trajectory):  # type: ignore[no-untyped-def]  # noqa: D102
        trajectory.set(self.played)


class Updates(Reactor):
    """A learner, and the same trajectory for each of its rounds."""

    algorithm: Shared[Any]
    optimizer: Shared[Any]
    played: Shared[Any]
    shards: int = 1
    rounds: int = 2

    def compose(self) -> None:  # noqa: D102
        from reactornb.rl import Learner

        self.learner = Learner(
            algorithm=self.algorithm, optimizer_class=self.optimizer, max_grad_norm=0.5, rounds=self.rounds, shards=self.shards,
        )  # fmt: skip
        self.again = Again(played=self.played)
        connect(self.learner.weights, self.again.weights, after=ms(0))
        connect(self.again.trajectory, self.learner.batches)


def made(network: str, rows: int, updates: int) -> dict[str, Any]:
    """Algorithm, optimizer and trajectory, as `Updates` takes them, of a round of at least so many updates."""
    import numpy as np

    from reactornb.rl import optimizers
    from reactornb.rl.env_spec import EnvSpec
    from reactornb.rl.ppo import PPOAlgorithm, PPOConfig
    from reactornb.rl.storage import Trajectory

    frames = network == "cnn"
    shape, dtype = ((4, 84, 84), np.uint8) if frames else ((4,), np.float32)
    spec = EnvSpec(network, shape, np.dtype(dtype), 4, (), None, None, None)
    hidden = () if frames else tuple(int(width) for width in network.split("x"))
    rng = np.random.default_rng(1)
    played = Trajectory.empty(spec, rows, 1)
    played.observations[:] = rng.integers(0, 255, played.observations.shape)
    played.actions[:] = rng.integers(0, 4, played.actions.shape)
    played.rewards[:] = rng.standard_normal(played.rewards.shape)
    played.log_probs[:] = np.log(0.25)
    config = PPOConfig(batch_size=rows, n_epochs=updates, hidden=hidden)
    return {
        "algorithm": partial(PPOAlgorithm, spec, config),
        "optimizer": optimizers.Adam,
        "played": played.freeze(),
    }


def update(parts: dict[str, Any], shards: int, workers: int) -> float:
    """Microseconds that an update takes: the lowest twentieth of those of two rounds."""
    began: list[list[float]] = []

    class Timed:
        """The algorithm; notes when each minibatch is asked for."""

        def __init__(self, *given: Any) -> None:
            self.__dict__["_own"] = parts["algorithm"](*given)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._own, name)

        def minibatches(self, *given: Any) -> Any:
            times: list[float] = []
            began.append(times)
            for minibatch in self._own.minibatches(*given):
                times.append(perf_counter())
                yield minibatch

    Program(Updates(**{**parts, "algorithm": Timed}, shards=shards)).run(workers=workers, seed=1, fast=True)
    took = sorted(b - a for times in began for a, b in pairwise(times))
    return 1e6 * took[len(took) // 20]


def main(argv: Sequence[str]) -> int:
    """See the module.

    Args:
        argv: words of the command line.
    """
    parser = options("shards", __doc__, repeats=5)
    parser.add_argument("--networks", default="64x64,256x256,cnn", metavar="NAME,NAME", help="(%(default)s)")
    parser.add_argument("--rows", type=numbers, default=(256,), metavar="N,N", help="of a minibatch (256)")
    parser.add_argument("--shards", type=numbers, default=(1, 2, 4), metavar="N,N", help="(1,2,4)")
    parser.add_argument("--updates", type=positive, default=20, help="of a round; a tenth of it for cnn (%(default)s)")
    chosen = parser.parse_args(argv)
    report = Report("shards", {name: getattr(chosen, name) for name in ("networks", "rows", "shards", "updates")})
    variants: dict[str, Callable[[], float]] = {}
    for network in chosen.networks.split(","):
        for rows in chosen.rows:
            parts = made(network, rows, max(2, chosen.updates // 10) if network == "cnn" else chosen.updates)
            for shards in chosen.shards:
                for workers in chosen.workers:
                    label = f"{network}, {rows} rows, {shards} shards, {workers_word(workers)}"
                    variants[label] = partial(update, parts, shards, workers)
    report.add(interleave(variants, chosen.repeats), "µs")
    first = f"{chosen.shards[0]} shards, {workers_word(chosen.workers[0])}"
    for label in variants:
        case, _, what = label.partition(" rows, ")
        if what != first:
            report.speed(what, first, f"{case} rows, ")
    return report.finish(chosen)
