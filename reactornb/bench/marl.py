"""Multi-agent inference in TrafficJunction; the paper's experiment 6, with the same bodies as a peer's actors.

"same bodies" are agents that call what a peer's actors call (peers/experiments.py): a torch network of the joint observation, a softmax and
an argmax. "NumPy" is the same program with `reactornb.rl.marl`'s own policy. The limit is a plain loop over the same bodies. The
environment is TrafficJunction's medium level with 4 and 10 cars, whose joint observations have 324 and 1350 numbers. Nothing is
printed in the timed part, which leaves out making environments and networks on all sides.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from reactornb import Input, Program, Reactor, Timer, connect, reaction
from reactornb.bench import peers
from reactornb.bench.measure import Report, interleave, numbers, options, workers_word
from reactornb.bench.peers.experiments import Chooser
from reactornb.rl.marl import Choose, MultiAgent
from reactornb.rl.traffic_junction import TrafficJunction

__all__ = ["Timed", "main", "plain_loop", "same_body"]

AT_LEAST = 10.0  # times as fast as Ray, with the same bodies


class Clock(Reactor):
    """Notes when joint observations arrive: the first and the newest time."""

    joint = Input[Any]()
    begin = Timer(0)

    @reaction(begin)
    def on_begin(self):  # type: ignore[no-untyped-def]
        self.first = 0.0

    @reaction(joint)
    def on_joint(self, joint):  # type: ignore[no-untyped-def]  # noqa: ARG002
        self.last = time.perf_counter()
        self.first = self.first or self.last


class Timed(MultiAgent):
    """Multi-agent inference and a clock beside the agents."""

    def compose(self) -> None:
        """See the class."""
        super().compose()
        self.clock = Clock()
        connect(self.world.joint, self.clock.joint, after=0)


def same_body(number: int, inputs: int, actions: int, rng: np.random.Generator) -> Choose:  # noqa: ARG001 - seeded as the peer's are
    """What a peer's actor calls, for the agent of that number."""
    return Chooser(inputs, actions, 1 + number).choose


def plain_loop(*, cars: int, rounds: int, seed: int) -> float:
    """Seconds of a loop in one thread that calls the same bodies."""
    env = TrafficJunction("medium", cars=cars)
    choosers = [Chooser(env.state_space.shape[0], 2, seed + i) for i in range(cars)]
    env.reset(seed=seed)
    agents, joint = env.agents, env.state()
    began = time.perf_counter()
    for _ in range(rounds):
        env.step({agent: chooser.choose(joint) for agent, chooser in zip(agents, choosers, strict=True)})
        if not env.agents:
            env.reset()
        joint = env.state()
    return time.perf_counter() - began


def _seconds(program: Program, workers: int) -> float:
    run = program.start(workers=workers, fast=True)
    run.result()
    clock: Any = run.instance("clock")
    return float(clock.last - clock.first)


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("marl", __doc__, repeats=9)
    parser.add_argument("--cars", type=numbers, default=(4, 10), metavar="N,N", help="agents (4,10)")
    parser.add_argument("--rounds", type=int, default=500, help="steps of one measurement (%(default)s)")
    chosen = parser.parse_args(argv)
    report = Report("marl", {"cars": chosen.cars, "rounds": chosen.rounds})
    with report.opened(chosen) as opened:
        for cars in chosen.cars:
            _measure(report, chosen, opened, cars)
    return report.finish(chosen)


def _measure(report: Report, chosen: argparse.Namespace, opened: dict[str, peers.PeerProcess], cars: int) -> None:
    rounds = chosen.rounds
    make = partial(TrafficJunction, "medium", cars=cars)
    policies = [partial(same_body, i) for i in range(cars)]
    # One step more: the times are those of arrivals, from the first to the last.
    same = Program(Timed, env=make, total_timesteps=rounds + 1, policies=policies)
    plain = Program(Timed, env=make, total_timesteps=rounds + 1)
    parameters = {"cars": cars, "rounds": rounds, "seed": 1}
    variants: dict[str, Callable[[], float]] = {"plain loop, same bodies": partial(plain_loop, **parameters)}
    for count in chosen.workers:
        variants[f"same bodies, {workers_word(count)}"] = partial(_seconds, same, count)
        variants[f"NumPy, {workers_word(count)}"] = partial(_seconds, plain, count)
    for name, peer in opened.items():
        variants[name] = partial(peer.seconds, "marl", timeout=120.0 + rounds, **parameters)
    seconds = interleave(variants, chosen.repeats)
    label = f"{cars} agents, "
    report.add({label + name: [s * 1e6 / rounds for s in values] for name, values in seconds.items()}, "µs per step")
    most = workers_word(max(chosen.workers))
    for name in opened:
        at_least = AT_LEAST if name == "ray" and cars in (4, 10) else None
        report.speed(f"same bodies, {most}", name, label, at_least=at_least)
        report.speed(f"NumPy, {most}", name, label)
    report.speed(f"same bodies, {most}", "plain loop, same bodies", label)
