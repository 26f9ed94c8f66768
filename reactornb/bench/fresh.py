"""`reactornb bench gym --fresh`: one step a round as a user first runs it, each measurement in a process of its own.

`fresh.lf` is text for `reactornb run`, its server reads what each environment replied, a tuple that holds an array, and the loop that
it is compared with runs in a process that knows nothing of reactors. Nothing that an earlier run left behind helps either side.
Both leave out the first rounds, in which CPython specialises code and the scheduler learns what reactions cost.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reactornb.bench.measure import Report, interleave, lf_program, workers_word
from reactornb.errors import ReactorError

__all__ = ["LOOP", "compare_fresh", "measured"]

LOOP = "plain loop"
_PRINTED = re.compile(r"seconds (\S+) total (\S+)")


def compare_fresh(report: Report, chosen: argparse.Namespace, env: str, rounds: int, warm_up: int) -> None:
    """Measure the program with each number of workers, and the loop, in turns, and add their figures to the report.

    Args:
        report: to add to.
        chosen: the options.
        env: Gymnasium's id.
        rounds: of one measurement.
        warm_up: how many of them are not timed.

    Raises:
        ReactorError: if a process fails, or if the two programs did not play the same games.
    """
    label = f"{env}, fresh: "
    steps = (rounds - warm_up) * chosen.envs
    loop = [Path(__file__).parent / "peers" / "fresh_loop.py", env, chosen.envs, rounds, warm_up]
    program: list[Any] = ["-m", "reactornb", "run", lf_program("fresh"), f"env={env}", f"envs={chosen.envs}"]
    program += [f"rounds={rounds}", f"warm_up={warm_up}", "--fast", "--workers"]
    totals: dict[str, set[str]] = {}
    variants: dict[str, Callable[[], float]] = {LOOP: partial(measured, LOOP, loop, totals)}
    for count in chosen.workers:
        name = workers_word(count)
        variants[name] = partial(measured, name, [*program, count], totals)
    figures = interleave(variants, chosen.repeats)
    if len(set.union(*totals.values())) > 1:
        raise ReactorError(f"bench gym --fresh: the programs played different games: {totals}")
    report.add({label + name: [s * 1e6 / steps for s in seconds] for name, seconds in figures.items()}, "µs per step")
    cart = env == "CartPole-v1" and chosen.envs == 16  # what the bars are for
    bars = {1: 0.95, 2: 1.4}
    for count in chosen.workers:
        report.speed(workers_word(count), LOOP, label, at_least=bars.get(count) if cart else None)


def measured(name: str, words: Sequence[Any], totals: dict[str, set[str]]) -> float:
    """Seconds that a process says its timed rounds took.

    Args:
        name: of the variant.
        words: what Python is called with.
        totals: takes the sum that it printed, by name.

    Raises:
        ReactorError: if it fails or prints something else.
    """
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own files
    printed = _PRINTED.search(done.stdout)
    if done.returncode or printed is None:
        raise ReactorError(
            f"bench gym --fresh: {name} ended with status {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    seconds, total = printed.groups()
    totals.setdefault(name, set()).add(total)
    return float(seconds)
