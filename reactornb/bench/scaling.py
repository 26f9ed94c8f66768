"""What more workers give, up to all cores: micro, heavy, gym, vector and train with 1, 2, 4, 8, 16 workers, in a few minutes.

Each benchmark's own program with 64 members, so that every number of workers has enough of them; each measurement takes about --seconds
with one worker. "limit" are threads that never wait for each other and run the bodies of heavy. Numbers of workers above the
usable cores are left out. --pack FOLDER writes a folder that measures the same on a machine without network or Python (`pack.py`);
training needs torch, which is not in it.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reactornb import Program, cpu
from reactornb.bench import gym, heavy, micro
from reactornb.bench.broadcast import free_threads, seconds_of
from reactornb.bench.measure import Report, interleave, options, workers_word
from reactornb.bench.pack import LIMIT_BYTES, pack

__all__ = ["main"]

CASES = ("micro", "heavy", "gym", "vector", "train")
MEMBERS = 64
WORKERS = "1,2,4,8,16"
TURNS = 20_000  # of a loop of heavy

type Measure = Callable[[int, int], float]
"""Seconds of so many rounds with so many workers."""


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("scaling", __doc__, repeats=5, workers=WORKERS)
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated (all of them)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement with one worker (%(default)s)")
    parser.add_argument(
        "--pack", type=Path, metavar="FOLDER", help="write a folder for another machine, measure nothing"
    )
    chosen = parser.parse_args(argv)
    if chosen.pack is not None:
        return _pack(chosen.pack)
    report = Report("scaling", {"seconds": chosen.seconds, "members": MEMBERS})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = [count for count in chosen.workers if count <= cores]
    above = [str(count) for count in chosen.workers if count > cores]
    if above:
        report.notes.append(f"not measured: {', '.join(above)} workers, since {cores} cores can be used")
    report.machine["cpus"] = [str(core) for core in cpu.place(max(counts)).cpus] if counts else []
    for case in (chosen.case or CASES) if counts else ():
        if case == "train" and importlib.util.find_spec("torch") is None:
            report.notes.append("train is left out: torch is not installed")
            continue
        measures, unit, scale = _case(case)
        _measure(report, chosen, case, counts, measures, unit, scale)
    return report.finish(chosen)


def _pack(folder: Path) -> int:
    size = pack(folder)
    print(f"{folder}: {size / 1e6:.1f} MB; on the other machine: {folder.name}/measure --json table.json")
    return int(size > LIMIT_BYTES)


def _measure(
    report: Report, chosen: Any, case: str, counts: Sequence[int], measures: dict[str, Measure], unit: str, scale: float
) -> None:
    """One case with every number of workers, in turns, and its limit if it has one."""
    first = next(iter(measures.values()))
    rounds = 1
    while (seconds := first(1, rounds)) < chosen.seconds / 4:
        rounds = max(rounds + 1, min(rounds * 8, int(rounds * chosen.seconds / 2 / max(seconds, 1e-9))))
    rounds = max(1, round(rounds * chosen.seconds / seconds))
    variants = {
        f"{case}, {workers_word(count)}{kind}": partial(measure, count, rounds)
        for kind, measure in measures.items()
        for count in counts
    }
    found = interleave(variants, chosen.repeats)
    report.add({name: [s * 1e6 / (rounds * scale) for s in values] for name, values in found.items()}, unit)
    for kind in measures:
        one = f"{case}, {workers_word(1)}{kind}"
        for count in counts:
            name = f"{case}, {workers_word(count)}{kind}"
            if count > 1 and one in found:
                report.ratio(one, name, name=f"{name}: times one")


def _case(case: str) -> tuple[dict[str, Measure], str, float]:
    """What is measured: name's ending -> function, unit, and how many of the unit a round has."""
    if case == "micro":
        return {"": _program(micro.Micro, clients=MEMBERS)}, "µs per reaction", MEMBERS + 1
    if case == "heavy":
        limit = partial(_free, lambda _: heavy.plain_client(TURNS))
        return {"": _program(heavy.Heavy, clients=MEMBERS, turns=TURNS), ", limit": limit}, "µs per client", MEMBERS
    if case == "gym":
        limit = partial(_free, lambda index: gym.plain_client("CartPole-v1", index, 10))
        return {"": _program(gym.Gym, envs=MEMBERS, steps=10), ", limit": limit}, "µs per step", MEMBERS * 10
    if case == "vector":
        return {"": _vector}, "µs per step", MEMBERS
    return {"": _train}, "µs per step", MEMBERS * 32


def _program(root: Any, **parameters: Any) -> Measure:
    return lambda workers, rounds: seconds_of(Program(root, rounds=rounds, **parameters), workers)


def _free(make: Any, workers: int, rounds: int) -> float:
    return free_threads(make, MEMBERS, rounds, workers)


def _vector(workers: int, rounds: int) -> float:
    import gymnasium
    import numpy as np

    from reactornb.rl.vector import ReactorVectorEnv

    envs = ReactorVectorEnv([partial(gymnasium.make, "CartPole-v1")] * MEMBERS, workers=workers)
    try:
        envs.reset(seed=1)
        actions = np.random.default_rng(0).integers(0, 2, (rounds + 5, MEMBERS))
        for row in actions[:5]:
            envs.step(row)
        began = time.perf_counter()
        for row in actions[5:]:
            envs.step(row)
        return time.perf_counter() - began
    finally:
        envs.close()


def _train(workers: int, rounds: int) -> float:
    """PPO with the settings of `bench train`'s ppo-cartpole, on 64 environments in 16 rollouts."""
    from reactornb.bench.train_cases import CASES as TRAININGS

    case = TRAININGS["ppo-cartpole"]
    case = replace(case, settings={**case.settings, "n_envs": MEMBERS})
    program = case.program(n_rollouts=16, total_timesteps=rounds * case.round_steps)
    return float(Program(program).run(workers=workers, seed=1).seconds)
