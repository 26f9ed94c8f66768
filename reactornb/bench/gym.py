"""Sampling from Gymnasium: one environment per client, stepped by a random policy; the paper's experiment 3.

Environments and policies have distinct seeds; episodes are begun anew by hand; nothing is printed in the timed part. The
limits are a plain loop over the same players, as many threads as workers that never wait for each other, and as many that wait for each
other after each round, in a loop written by hand. `--fresh` measures the same as a user's first program: see fresh.py. The paper's own
sizes are `--envs 15 --env Blackjack-v1 --env CartPole-v1 --env Pendulum-v1 --steps 1 --rounds 10000`.
In the paper's programs the server prints all observations within the time that is taken, and all environments have one seed: --as-published
measures that as well, with the printing to nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reactornb import Input, Output, Reactor, per_member, reaction, shutdown, startup
from reactornb.bench.broadcast import Body, PlainShowing, Port, Server, Showing, compare, wire
from reactornb.bench.fresh import compare_fresh
from reactornb.bench.measure import (
    Report,
    in_step_word,
    numbers,
    options,
    peers_asked_for,
    threads_word,
    workers_word,
)
from reactornb.bench.peers.bodies import Player

__all__ = ["Gym", "Rollout", "main", "plain_client"]


class Rollout(Reactor):
    """Replies with the observation after `steps` more steps."""

    inp = Input[int]()
    out = Output[Any]()
    env: str = "CartPole-v1"
    steps: int = 1
    number: int = 0

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.player = Player(self.env, self.number)

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: ARG002, D102
        out.set(self.player.play(self.steps))

    @reaction(shutdown)
    def on_shutdown(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.player.close()


class Gym(Reactor):
    """A server and one rollout per environment in a loop with a delay of one microstep."""

    env: str = "CartPole-v1"
    envs: int = 16
    rounds: int = 100
    steps: int = 1
    as_published: bool = False
    rollout = Rollout

    def compose(self) -> None:
        """Broadcast, gather."""
        published = self.as_published
        numbered = per_member(lambda index: 0 if published else index)
        server = Showing if published else Server
        wire(self, self.rollout, self.envs, self.rounds, server=server, env=self.env, steps=self.steps, number=numbered)


def plain_client(env: str, number: int, steps: int) -> Body:
    """The body of a rollout in a plain loop."""
    player = Player(env, number)

    def on_inp(inp: Port, out: Port) -> None:  # noqa: ARG001
        out.set(player.play(steps))

    return on_inp


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("gym", __doc__, repeats=7, lf=True, cpu_time=True)
    parser.add_argument("--env", action="append", metavar="ID", help="an environment; may be repeated (CartPole-v1)")
    parser.add_argument("--envs", type=int, default=16, help="how many (%(default)s)")
    parser.add_argument("--steps", type=numbers, default=(1, 100), metavar="N,N", help="steps of a round (1,100)")
    parser.add_argument("--rounds", type=int, help="rounds of one measurement (600 steps' worth, at least 8)")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="one step a round as .lf text run by `reactornb run`, and the plain loop, each in a fresh process",
    )
    parser.add_argument(
        "--as-published", action="store_true", help="also with one seed for all and every observation printed"
    )
    chosen = parser.parse_args(argv)
    if chosen.as_published and (chosen.fresh or chosen.lf):
        parser.error("--as-published: there is no such text; leave out --lf and --fresh")
    chosen.env = chosen.env or ["CartPole-v1"]
    report = Report("gym", {"env": chosen.env, "envs": chosen.envs, "steps": chosen.steps, "rounds": chosen.rounds})
    if chosen.fresh:
        rounds = chosen.rounds or 3000
        for env in chosen.env:
            compare_fresh(report, chosen, env, rounds, warm_up=min(200, rounds // 4))
        return report.finish(chosen)
    for env in chosen.env:
        for steps in chosen.steps:
            rounds = chosen.rounds or max(600 // steps, 8)
            parameters = {"env": env, "envs": chosen.envs, "rounds": rounds, "steps": steps}
            _measure(report, chosen, parameters)
            if chosen.as_published:
                _measure_published(report, chosen, parameters | {"as_published": True})
    return report.finish(chosen)


def _measure(report: Report, chosen: Any, parameters: dict[str, Any]) -> None:
    env, envs, rounds, steps = (parameters[name] for name in ("env", "envs", "rounds", "steps"))
    label = f"{env}, {steps} step{'s' if steps > 1 else ''}, "
    compare(
        report,
        chosen,
        Gym,
        lambda index: plain_client(env, index, steps),
        parameters,
        clients=envs,
        units=rounds * envs * steps,
        unit="µs per step",
        limit=True,
        in_step=True,
        label=label,
    )
    one, *more = [workers_word(count) for count in chosen.workers]
    cart = env == "CartPole-v1" and envs == 16  # what the bars are for
    report.speed(one, "plain loop", label, at_least=0.95 if cart and steps == 1 else None)
    for name, count in zip(more, chosen.workers[1:], strict=True):
        report.speed(name, "plain loop", label, at_least=1.75 if cart and steps == 1 and count == 2 else None)
        report.speed(name, threads_word(count), label, at_least=0.97 if cart and steps >= 100 else None)
        report.speed(name, in_step_word(count), label)
        report.speed(in_step_word(count), "plain loop", label)
    for name in (one, *more) if chosen.lf else ():
        report.speed(f"{name}, .lf", name, label)
    for name in peers_asked_for(chosen):
        report.speed((more or [one])[-1], name, label)


def _measure_published(report: Report, chosen: Any, parameters: dict[str, Any]) -> None:
    """What a step takes in the paper's program, beside ours."""
    env, envs, rounds, steps = (parameters[name] for name in ("env", "envs", "rounds", "steps"))
    ours = f"{env}, {steps} step{'s' if steps > 1 else ''}, "
    label = f"{ours}as published, "
    compare(
        report,
        chosen,
        Gym,
        lambda _: plain_client(env, 0, steps),
        parameters,
        clients=envs,
        units=rounds * envs * steps,
        unit="µs per step",
        limit=True,
        server=PlainShowing,
        label=label,
    )
    for name in ("plain loop", *map(workers_word, chosen.workers), *peers_asked_for(chosen)):
        report.ratio(f"as published, {name}", name, ours, f"{name}: as published / without printing")
    for name in peers_asked_for(chosen):
        report.speed(workers_word(max(chosen.workers)), name, label)
