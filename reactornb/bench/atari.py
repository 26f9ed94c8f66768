"""Atari games as they are, frames of 210×160×3, one environment per client and one step per round; the paper's experiment 4.

Bodies, limits and peers are those of `bench gym`: distinct seeds, episodes begun anew by hand, nothing printed in the
timed part. Preprocessed games are measured by `bench vector`.
ALE gives each frame memory of its own, which NumPy cannot know, so rollouts send frames by `Output(copy=False)`: a copy of 100 KB would be 4 % of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reactornb import Output
from reactornb.bench.broadcast import compare
from reactornb.bench.gym import Gym, Rollout, plain_client
from reactornb.bench.measure import Report, in_step_word, options, peers_asked_for, threads_word, workers_word
from reactornb.rl.atari import missing

__all__ = ["main"]

GAMES = ("Pong", "MsPacman", "SpaceInvaders")


class Screens(Rollout):
    """Replies with the screen, as ALE gave it."""

    out = Output[Any](copy=False)


class Games(Gym):
    """`Gym` with screens."""

    rollout = Screens


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("atari", __doc__, repeats=5)
    parser.add_argument("--game", action="append", metavar="NAME", help=f"may be repeated ({', '.join(GAMES)})")
    parser.add_argument("--envs", type=int, default=15, help="how many (%(default)s)")
    parser.add_argument("--steps", type=int, default=1, help="steps of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=500, help="rounds of one measurement (%(default)s)")
    chosen = parser.parse_args(argv)
    chosen.lf = False
    games = tuple(chosen.game or GAMES)
    why = missing(vector=False)
    if why is not None:
        parser.error(f"no Atari here: {why}")
    report = Report("atari", {"games": games, "envs": chosen.envs, "steps": chosen.steps, "rounds": chosen.rounds})
    one, *more = [workers_word(count) for count in chosen.workers]
    for game in games:
        env, label = f"ALE/{game}-v5", f"{game}, "
        compare(
            report,
            chosen,
            Games,
            lambda index, env=env: plain_client(env, index, chosen.steps),  # type: ignore[misc]
            {"env": env, "envs": chosen.envs, "rounds": chosen.rounds, "steps": chosen.steps},
            clients=chosen.envs,
            units=chosen.rounds * chosen.envs * chosen.steps,
            unit="µs per step",
            limit=True,
            in_step=True,
            label=label,
        )
        report.speed(one, "plain loop", label)
        for name, count in zip(more, chosen.workers[1:], strict=True):
            report.speed(name, "plain loop", label)
            report.speed(name, threads_word(count), label)
            report.speed(name, in_step_word(count), label)
        for name in peers_asked_for(chosen):
            bar = 8.0 if (name, game) == ("ray", "Pong") else None
            report.speed((more or [one])[-1], name, label, at_least=bar)
    return report.finish(chosen)
