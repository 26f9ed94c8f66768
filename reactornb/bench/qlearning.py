"""Parallel Q-learning on Blackjack; the paper's experiment 5, with the same bodies as a peer's actors, and with our own reactors.

"same bodies" are reactions that call what a peer's actors call (peers/experiments.py): a network asked state by state, transitions as
tuples of tensors, as in the published program (--arrays packs them into arrays first). "ours" is `reactornb.rl.experiment5`: the same algorithm over Rollout, ReplayBuffer and Learner. The limit is a
plain loop over the same bodies. Every measurement is a run from the first weights on, `--rounds` long; nothing is printed in
the timed part, which leaves out making environments and networks on all sides. --learn SEEDS trains tabular Q-learning instead.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, per_member, reaction
from reactornb.bench import peers
from reactornb.bench.measure import Ratio, Report, interleave, numbers, options, workers_word
from reactornb.bench.peers.experiments import ArrayMemory, BlackjackPlayer, Memory, QLearner, Weights
from reactornb.rl.experiment5 import Experiment5
from reactornb.rl.qlearning import QLearning

__all__ = ["SameBodies", "main", "plain_loop"]

BARS = {"same bodies": 0.5, "ours": 0.2}  # of Ray's time, at K = 500
LEAST_RETURN = -0.06  # the best policy there is has -0.0466, by dynamic programming (tests/rl/test_qlearning.py)


class Learner(Reactor):
    """`QLearner` as a reactor; begins when all that starts up has done so."""

    begin = Timer(ms(1))
    batch = Input[Any](doc="list[Transition], or Arrays")
    weights = Output[Weights]()
    rounds: int
    first: int = 0
    arrays: bool = False

    @reaction(begin)
    def on_begin(self, weights):  # type: ignore[no-untyped-def]
        self.learner = QLearner(self.first)
        self.update = self.learner.update_arrays if self.arrays else self.learner.update
        self.round = 0
        self.began = time.perf_counter()
        weights.set(self.learner.weights())

    @reaction(batch)
    def on_batch(self, batch, weights):  # type: ignore[no-untyped-def]
        self.loss = self.update(batch.value)
        self.round += 1
        if self.round < self.rounds:
            weights.set(self.learner.weights())
        else:
            self.ended = time.perf_counter()
            self.request_stop()


class Rollout(Reactor):
    """`BlackjackPlayer` as a reactor."""

    weights = Input[Weights]()
    played = Output[Any](doc="list[Transition], or Arrays")
    begin = Timer(0)
    first: int = 0
    steps: int = 100
    arrays: bool = False

    @reaction(begin)
    def on_begin(self):  # type: ignore[no-untyped-def]
        player = BlackjackPlayer(self.first, self.steps)
        self.play = player.play_arrays if self.arrays else player.play

    @reaction(weights)
    def on_weights(self, weights, played):  # type: ignore[no-untyped-def]
        played.set(self.play(weights.value))


class Replay(Reactor):
    """`Memory` as a reactor."""

    played = Input[Any](width="rollouts")
    batch = Output[Any]()
    begin = Timer(0)
    rollouts: int
    size: int = 500
    first: int = 0
    as_published: bool = False
    arrays: bool = False

    @reaction(begin)
    def on_begin(self):  # type: ignore[no-untyped-def]
        kind = ArrayMemory if self.arrays else Memory
        self.memory = kind(self.first, self.size, self.as_published)

    @reaction(played)
    def on_played(self, played, batch):  # type: ignore[no-untyped-def]
        batch.set(self.memory.exchange(*played.values))


class SameBodies(Reactor):
    """Experiment 5 over the bodies that actors call; parameters and seeds as in the peer's function."""

    rollouts: int = 16
    steps: int = 100
    batch: int = 500
    rounds: int = 25
    first: int = 1
    as_published: bool = False
    arrays: bool = False

    def compose(self) -> None:
        """Learner -> rollouts -> replay -> learner."""
        seed, arrays = self.first, self.arrays
        self.learner = Learner(rounds=self.rounds, first=seed, arrays=arrays)
        seeds = per_member(lambda i: seed + 1 + i)
        self.players = Bank(Rollout, self.rollouts, steps=self.steps, first=seeds, arrays=arrays)
        self.replay = Replay(
            rollouts=self.rollouts,
            size=self.batch,
            first=seed + 1 + self.rollouts,
            as_published=self.as_published,
            arrays=arrays,
        )
        connect(self.learner.weights, self.players.weights, after=0, broadcast=True)
        connect(self.players.played, self.replay.played)
        connect(self.replay.batch, self.learner.batch)


def plain_loop(
    *, rollouts: int, steps: int, batch: int, rounds: int, seed: int, as_published: bool, arrays: bool
) -> float:
    """Seconds of a loop in one thread that calls the same bodies."""
    learner, kind = QLearner(seed), ArrayMemory if arrays else Memory
    memory: Any = kind(seed + 1 + rollouts, batch, as_published)
    players = [BlackjackPlayer(seed + 1 + i, steps) for i in range(rollouts)]
    plays: list[Any] = [p.play_arrays if arrays else p.play for p in players]
    update: Any = learner.update_arrays if arrays else learner.update
    began = time.perf_counter()
    for _ in range(rounds):
        weights = learner.weights()
        update(memory.exchange(*(play(weights) for play in plays)))
    return time.perf_counter() - began


def _same(program: Program, workers: int) -> float:
    run = program.start(workers=workers, fast=True)
    run.result()
    learner: Any = run.instance("learner")
    return float(learner.ended - learner.began)


class Clock(Reactor):
    """Notes when weights arrive."""

    weights = Input[Any]()
    begin = Timer(0)

    @reaction(begin)
    def on_begin(self):  # type: ignore[no-untyped-def]
        self.times: list[float] = []

    @reaction(weights)
    def on_weights(self, weights):  # type: ignore[no-untyped-def]  # noqa: ARG002
        self.times.append(time.perf_counter())


class Timed(Experiment5):
    """Experiment 5 and a clock beside the rollouts."""

    def compose(self) -> None:
        """See the class."""
        super().compose()
        self.clock = Clock()
        connect(self.learner.weights, self.clock.weights, after=0)


def _ours(program: Program, workers: int, rounds: int) -> float:
    run = program.start(workers=workers, fast=True)
    run.result()
    clock: Any = run.instance("clock")
    return float(clock.times[rounds] - clock.times[0])  # from arrival to arrival: that many rounds


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("qlearning", __doc__, repeats=7)
    parser.add_argument("--batch", type=numbers, default=(500,), metavar="K,K", help="transitions per update (500)")
    parser.add_argument("--rollouts", type=int, default=16, help="how many play (%(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of each rollout per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=25, help="of one measurement (%(default)s)")
    parser.add_argument(
        "--as-published", action="store_true", help="same bodies: the first K transitions instead of a draw"
    )
    parser.add_argument(
        "--arrays", action="store_true", help="same bodies: transitions travel as five arrays, not as tuples of tensors"
    )
    parser.add_argument("--learn", type=numbers, default=(), metavar="SEED,SEED", help="train tabular Q-learning")
    chosen = parser.parse_args(argv)
    if chosen.learn:
        return _learn(chosen)
    sizes = {name: getattr(chosen, name) for name in ("rollouts", "steps", "batch", "rounds", "as_published", "arrays")}
    report = Report("qlearning", sizes)
    with report.opened(chosen) as opened:
        for batch in chosen.batch:
            _measure(report, chosen, opened, batch)
    return report.finish(chosen)


def _measure(report: Report, chosen: argparse.Namespace, opened: dict[str, peers.PeerProcess], batch: int) -> None:
    rounds = chosen.rounds
    sizes = {name: getattr(chosen, name) for name in ("rollouts", "steps", "as_published", "arrays")} | {"batch": batch}
    parameters = sizes | {"rounds": rounds, "seed": 1}
    same = Program(SameBodies, rounds=rounds, first=1, **sizes)
    ours = Program(
        Timed, batch_size=batch, rounds=rounds + 1, n_rollouts=chosen.rollouts, n_steps=chosen.steps
    )  # one round more, as `_ours` takes the times
    variants: dict[str, Callable[[], float]] = {"plain loop, same bodies": partial(plain_loop, **parameters)}
    for count in chosen.workers:
        variants[f"same bodies, {workers_word(count)}"] = partial(_same, same, count)
        variants[f"ours, {workers_word(count)}"] = partial(_ours, ours, count, rounds)
    for name, peer in opened.items():
        variants[name] = partial(peer.seconds, "qlearning", timeout=60.0 + 10.0 * rounds, **parameters)
    seconds = interleave(variants, chosen.repeats)
    label = f"K = {batch}, "
    report.add({label + name: [s * 1e3 / rounds for s in values] for name, values in seconds.items()}, "ms per round")
    most = workers_word(max(chosen.workers))
    for kind, bar in BARS.items():
        for name in opened:
            paper = (
                name == "ray" and batch == 500 and (chosen.rollouts, chosen.steps) == (16, 100) and not chosen.arrays
            )
            at_most = bar if paper else None
            report.ratio(f"{kind}, {most}", name, label, f"{kind}: share of {name}'s time", at_most=at_most)
    report.speed(f"same bodies, {most}", "plain loop, same bodies", label)
    report.speed(f"ours, {most}", "plain loop, same bodies", label)


def _learn(chosen: argparse.Namespace) -> int:
    """Tabular Q-learning with each seed: mean return of 100,000 greedy games."""
    report = Report("qlearning", {"learn": chosen.learn})
    means, seconds = [], []
    for seed in chosen.learn:
        result = Program(QLearning).run(workers=max(chosen.workers), seed=seed, fast=True)
        means.append(statistics.fmean(result.metrics["eval_mean"]))
        seconds.append(result.seconds)
    report.add({"mean return of 100,000 greedy games": means}, "per game")
    report.add({"training and evaluation": seconds}, "s")
    report.ratios.append(Ratio("mean return of the worst seed", [min(means)], at_least=LEAST_RETURN))
    report.notes.append("the best policy there is has a mean return of -0.0466 (dynamic programming over the rules)")
    return report.finish(chosen)
