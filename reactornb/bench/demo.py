"""The quick start's program: the gain of a second worker, equal fingerprints for 1, 2 and 8 workers, learning over seeds.

The reactors are those of the notebook's own cells. The sampling part is the program with no update between rounds: rollouts and
replay buffer work as always, the learner only repeats its weights. One and two workers alternate in one process, so that
what else the machine does hits both; the ratio is the median over pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactornb import Program, Run, files
from reactornb.loading import load, quickstart

__all__ = ["fingerprints", "learning", "main", "sampling"]

FINGERPRINT_WORKERS = (1, 2, 8)


def sampling(root: Any, *, pairs: int, rounds: int, workers: int = 2) -> dict[str, Any]:
    """Seconds of the sampling part with one and with several workers, interleaved.

    Args:
        root: the notebook's `Main`.
        pairs: how often each is measured.
        rounds: of one measurement.
        workers: how many are compared with one.

    Returns:
        `ratio` (median over pairs), `ratios`, `one_seconds`, `many_seconds`, `steps_per_second` of the many.
    """
    program = Program(root, gradient_steps=0, rounds=rounds, target=float("inf"))
    program.run(workers=workers)  # warm-up: imports and allocations at first use
    seconds: dict[int, list[float]] = {1: [], workers: []}
    steps = 0
    for pair in range(pairs):
        # Each goes first in turn: a machine that warms up or gets busy favours neither.
        for count in (1, workers) if pair % 2 else (workers, 1):
            run = program.start(workers=count, seed=pair)
            run.result()
            seconds[count].append(run.seconds)
            steps = _steps(run)
    one, many = seconds[1], seconds[workers]
    ratios = [a / b for a, b in zip(one, many, strict=True)]
    return {
        "workers": workers,
        "rounds": rounds,
        "steps": steps,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "one_seconds": one,
        "many_seconds": many,
        "steps_per_second": steps / statistics.median(many),
    }


def _steps(run: Run) -> int:
    """Steps taken in the environments, as the replay buffer counted them."""
    replay: Any = run.instance("replay")
    return int(replay.stored)


def fingerprints(root: Any, *, rounds: int, seed: int = 1) -> dict[str, str | None]:
    """Fingerprints of a short run with 1, 2 and 8 workers, and with another seed."""
    program = Program(root, rounds=rounds)
    prints = {str(w): program.run(workers=w, seed=seed, fingerprint=True).fingerprint for w in FINGERPRINT_WORKERS}
    prints["again"] = program.run(workers=2, seed=seed, fingerprint=True).fingerprint
    prints["other seed"] = program.run(workers=2, seed=seed + 1, fingerprint=True).fingerprint
    return prints


def learning(root: Any, *, seed: int, workers: int | None = None) -> dict[str, Any]:
    """One whole training: returns of the first and of the last 20 episodes, steps, seconds, fingerprint."""
    run = Program(root).start(seed=seed, workers=workers, fingerprint=True)
    result = run.result()
    returns = list(result.metrics["episode_return"])
    return {
        "seed": seed,
        "workers": result.workers,
        "first": statistics.fmean(returns[:20]),
        "last": statistics.fmean(returns[-20:]),
        "episodes": len(returns),
        "steps": _steps(run),
        "seconds": result.seconds,
        "fingerprint": result.fingerprint,
    }


def main(argv: Sequence[str]) -> int:
    """Measure and print; the exit status is 1 if fingerprints that should be equal are not."""
    parser = argparse.ArgumentParser(
        prog="reactornb bench demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notebook", type=Path, help="another notebook with such a Main")
    parser.add_argument("--pairs", type=int, default=9, help="pairs of sampling runs; 0 measures no sampling")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of one sampling run")
    parser.add_argument("--workers", type=int, default=2, help="how many workers are compared with one")
    parser.add_argument(
        "--short", type=int, default=5, metavar="ROUNDS", help="rounds of a fingerprint run; 0 takes none"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="whole trainings with these seeds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    chosen = parser.parse_args(argv)
    root = load(chosen.notebook or quickstart()).root()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    measured: dict[str, Any] = {"gil": gil, "python": sys.version.split()[0]}
    if hasattr(os, "getloadavg"):
        busy = measured["load_average"] = os.getloadavg()[0]  # before ours: what a ratio has to put up with
        if busy > 0.5:
            print(
                f"note         the machine is busy already (load average {busy:.1f}): a ratio will come out too low",
                flush=True,
            )
    failed = False
    if chosen.short:
        prints = measured["fingerprints"] = fingerprints(root, rounds=chosen.short)
        same = {prints[str(w)] for w in FINGERPRINT_WORKERS} | {prints["again"]}
        failed = len(same) != 1 or prints["other seed"] in same
        for name, value in prints.items():
            print(f"fingerprint  {name + (' workers' if name.isdigit() else ''):12} {value}", flush=True)
        print(
            f"fingerprint  {'DIFFERENT' if failed else 'the same for 1, 2 and 8 workers, another one for another seed'}"
        )
    if chosen.pairs:
        part = measured["sampling"] = sampling(root, pairs=chosen.pairs, rounds=chosen.rounds, workers=chosen.workers)
        low, high = min(part["ratios"]), max(part["ratios"])
        print(
            f"sampling     {chosen.workers} workers {part['ratio']:.2f} times one (median of {chosen.pairs} pairs, {low:.2f} to {high:.2f}), "
            f"{part['steps_per_second']:,.0f} steps/s, GIL {'on' if gil else 'off'}",
            flush=True,
        )
    for seed in chosen.seeds:
        row = learning(root, seed=seed)
        measured.setdefault("learning", []).append(row)
        print(
            f"learning     seed {seed}: mean return {row['first']:.1f} -> {row['last']:.1f}, {row['episodes']} episodes, "
            f"{row['steps']:,} steps, {row['seconds']:.1f} s, {row['workers']} workers, fingerprint {row['fingerprint']}",
            flush=True,
        )
    if chosen.json is not None:
        files.write(chosen.json, json.dumps(measured, indent=2) + "\n")
    return int(failed)
