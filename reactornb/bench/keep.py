"""What it costs to keep a run: the pause at a checkpoint, the speed of training, the time to go on, the table of 1,000 runs.

The state of `dqn` is a replay ring of `--mb`, of frames that nobody can compress and that are all new at each checkpoint; that of `ppo` is small. A pause is
what the leader of the run is held at a cut; it is compared with copies of the same arrays by NumPy, made at the same place. Speed is compared in turns of a
few seconds: a run that is not kept, one that is, and that one with a checkpoint, each while the other run is paused. What one checkpoint costs gives the
speed at one a minute. `--against FOLDER`, a checkout of an earlier commit, measures programs that are not kept here and there, each in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from reactornb import Program, Run, hours, resume
from reactornb.bench.measure import Ratio, Report, interleave, options, positive
from reactornb.durable.runs import Runs
from reactornb.errors import ReactorError
from reactornb.rl.dqn import DQN
from reactornb.rl.ppo import PPO
from reactornb.runtime.codec import encode
from reactornb.runtime.cut import EnclaveCut
from reactornb.runtime.cutting import Cutter

__all__ = ["Frames", "main"]

_SIZE = 84 * 84
_EPISODE = 200
_NEVER = 1 << 40  # steps


class Frames(gymnasium.Env[Any, Any]):
    """Observations of random bytes, as large as a frame of Atari; an episode ends after 200 steps."""

    observation_space = gymnasium.spaces.Box(0, 255, (_SIZE,), np.uint8)
    action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed, options=options)
        self.steps = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        """The next frame."""
        self.steps += 1
        return self._seen(), float(action == self.steps % 4), self.steps == _EPISODE, False, {}

    def _seen(self) -> Any:
        return np.frombuffer(self.np_random.bytes(_SIZE), np.uint8)


def dqn(megabytes: float) -> Program:
    """Deep Q-learning from a replay ring of about so many million bytes."""
    rows = max(int(megabytes * 1e6) // (_SIZE + 20), 64)
    return Program(
        DQN(env=Frames, total_timesteps=_NEVER, buffer_size=rows, learning_starts=32, batch_size=32, hidden=(16,), eval_episodes=0)
    )  # fmt: skip


def ppo() -> Program:
    """PPO on CartPole."""
    return Program(PPO(env="CartPole-v1", total_timesteps=_NEVER, eval_episodes=0))


class Pauses:
    """Times how long leaders are held at cuts, and copies of what they took.

    # All of it belongs to the leader of the one run whose cuts are taken.

    Attributes:
        held: seconds of each cut.
        copied: seconds of the copy of its arrays.
        nbytes: of the arrays of the last one.
    """

    def __init__(self) -> None:
        self.held: list[float] = []
        self.copied: list[float] = []
        self.nbytes = 0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time the cuts of a run that is one enclave."""
        take, part = Cutter.take, Cutter.part
        beside = 0.0

        def timed_part(cutter: Cutter, *given: Any) -> EnclaveCut:
            nonlocal beside
            made = part(cutter, *given)
            began = time.perf_counter()
            # Here, since the writer's thread begins to read what was taken as soon as the cut is complete.
            arrays = [np.asarray(buffer) for buffer in encode(made.objects["tree"]).buffers]
            copying = time.perf_counter()
            copies = [array.copy() for array in arrays]
            self.copied.append(time.perf_counter() - copying)
            self.nbytes = sum(copy.nbytes for copy in copies)
            del copies
            beside = time.perf_counter() - began
            return made

        def timed_take(cutter: Cutter, *, before_stop: bool) -> None:
            began = time.perf_counter()
            take(cutter, before_stop=before_stop)
            self.held.append(time.perf_counter() - began - beside)

        cuts: Any = Cutter
        cuts.take, cuts.part = timed_take, timed_part
        try:
            yield
        finally:
            cuts.take, cuts.part = take, part


def _wait(run: Run, reactions: int) -> None:
    """Until a run has executed so many more reactions.

    Raises:
        ReactorError: if it ends before.
    """
    until = run.reactions + reactions
    while run.reactions < until:
        if not run.is_alive:
            raise ReactorError(f"bench keep: {run} ended: {run.status()}")
        time.sleep(0.001)


def _fill(run: Run) -> None:
    """Let a run fill its replay ring, or go through some rounds."""
    ring = next((i for i in run.program.graph.reactors if i.name.endswith("replay")), None)
    rows = 0 if ring is None else int(ring.parameters["buffer_size"])
    _wait(run, max(500, rows // 2))  # DQN's rounds are ten steps of environments and four reactions


def pauses(report: Report, name: str, program: Program, chosen: argparse.Namespace) -> Path:
    """Add the pauses of a program; gives the folder of its run, which was stopped."""
    found = Pauses()
    with found.timed():
        run = program.start(keep=name, checkpoint=hours(100), workers=chosen.workers[-1], seed=1, fast=True)
        _fill(run)
        found.held.clear()
        found.copied.clear()
        began, reactions = time.perf_counter(), run.reactions
        for _ in range(chosen.repeats):
            _wait(run, 200)
            run.checkpoint()
        per_s = (run.reactions - reactions) / (time.perf_counter() - began)
        run.stop()
    held, copied = found.held[: chosen.repeats], found.copied[: chosen.repeats]  # without the one at the stop
    size = f"{found.nbytes / 1e6:,.1f} MB"
    report.add({f"{name}, {size}: pause": [1e3 * s for s in held], f"{name}: a copy": [1e3 * s for s in copied]}, "ms")
    ratios = [a / b for a, b in zip(held, copied, strict=True)]
    # Of a small state nearly all is the walk, and the bar is for copies that one notices.
    bar = 2.5 if found.nbytes > 10e6 else None
    report.ratios.append(Ratio(f"{name}: pause / copy", ratios, at_most=bar, of_lowest=min(held) / min(copied)))
    report.notes.append(f"{name}: {per_s:,.0f} reactions a second, so {statistics.median(held) * per_s:.1f} in a pause")
    assert run.kept is not None
    return run.kept


def speeds(report: Report, chosen: argparse.Namespace) -> None:
    """Add how fast a training is that is not kept, that is kept, and with a checkpoint in each turn."""
    start: dict[str, Any] = {"workers": chosen.workers[-1], "seed": 1, "fast": True}
    plain = dqn(chosen.mb).start(**start)
    _fill(plain)
    plain.pause()
    kept = dqn(chosen.mb).start(keep="speed", checkpoint=hours(100), **start)
    _fill(kept)
    kept.pause()
    wrote: list[float] = []

    def window(run: Run, checkpoint: bool) -> tuple[float, float]:
        """Reactions in a second, and in a second of the processor."""
        run.resume()
        time.sleep(0.5)  # caches are the other run's, and old checkpoints are removed after the last one
        done, began, used = run.reactions, time.perf_counter(), time.process_time()
        if checkpoint:
            wrote.append(run.checkpoint().wrote / 1e6)
        time.sleep(max(chosen.seconds - (time.perf_counter() - began), 0.0))
        done, took, used = run.reactions - done, time.perf_counter() - began, time.process_time() - used
        run.pause()
        return done / took, done / used

    try:
        figures = interleave(
            {
                "not kept": partial(window, plain, checkpoint=False),
                "kept": partial(window, kept, checkpoint=False),
                "kept, a checkpoint": partial(window, kept, checkpoint=True),
            },
            chosen.repeats,
        )
    finally:
        kept.stop()
        plain.stop()
    for place, unit in enumerate(("reactions/s", "reactions/s of the processor")):
        label = "" if place == 0 else "processor: "
        report.add({label + name: [figure[place] for figure in found] for name, found in figures.items()}, unit)
        one, two, three = (report.figures[label + name] for name in figures)
        report.ratio("kept", "not kept", label)
        costs = [chosen.seconds * (1 - b / a) for a, b in zip(two, three, strict=True)]
        report.add({f"{label}a checkpoint costs": costs}, "s")
        cost = statistics.median(costs)
        ratios = [b / a * (1 - cost / 60) for a, b in zip(one, two, strict=True)]
        report.ratios.append(
            Ratio(f"{label}kept, one checkpoint a minute / not kept", ratios, at_least=None if place else 0.98)
        )
    report.notes.append(f"a checkpoint wrote {statistics.median(wrote):.0f} MB")
    assert kept.kept is not None
    size = (kept.kept / "journal.rnj").stat().st_size
    report.notes.append(f"the journal grows by {size / kept.seconds * 60 / 1e3:,.0f} kB a minute of training")


def going_on(
    report: Report, folders: Sequence[Path], programs: Sequence[Callable[[], Program]], chosen: argparse.Namespace
) -> None:
    """Add the time from `resume` until reactions are executed."""
    for folder, make in zip(folders, programs, strict=True):
        times = []
        for _ in range(min(chosen.repeats, 5)):
            program = make()
            began = time.perf_counter()
            run = resume(folder, program=program, workers=chosen.workers[-1])
            before = run.reactions
            while run.reactions == before and run.is_alive:
                time.sleep(0.0005)
            times.append(time.perf_counter() - began)
            run.stop()
        report.add({f"{folder.name}: to go on": times}, "s")


def index(report: Report, kept: Path, root: Path, count: int, repeats: int) -> None:
    """Add the time that a table of so many runs takes, without and with an index of them."""
    root.mkdir()
    for number in range(count):
        folder = root / f"run-{number}"
        shutil.copytree(kept, folder, ignore=shutil.ignore_patterns("segments", "lock", "owner.json"))
    times: dict[str, list[float]] = {"first": [], "again": []}
    cpu = []
    for turn in range(repeats):
        os.environ["XDG_CACHE_HOME"] = str(root.parent / f"cache-{turn}")
        for word, found in times.items():
            began, used = time.perf_counter(), time.process_time()
            if len(Runs(root)) != count:
                raise ReactorError("bench keep: the table does not have all runs")
            found.append(time.perf_counter() - began)
            if word == "first":
                cpu.append(time.process_time() - used)
    report.add({f"{count:,} runs, {word} look": found for word, found in times.items()}, "s")
    report.add({f"{count:,} runs, first look, processor": cpu}, "s")
    if count >= 1000:
        report.bar(f"{count:,} runs, first look", 1.0)


_ALONE = """
import sys, time
from reactornb import Program
from reactornb.bench.micro import Micro
from reactornb.rl.dqn import DQN
if sys.argv[1] == "micro":
    program = lambda n: Program(Micro, rounds=n)
    brief, whole = 2_000, 200_000
else:
    program = lambda n: Program(DQN(env="CartPole-v1", total_timesteps=n, learning_starts=500, eval_episodes=0))
    brief, whole = 2_000, 20_000
program(brief).run(workers=1, seed=1, fast=True)
began = time.process_time()
program(whole).run(workers=1, seed=1, fast=True)
print("used", time.process_time() - began)
"""


def against(report: Report, folder: Path, repeats: int) -> None:
    """Add the processor time of programs that are not kept, here and in another checkout, each in a process of its own."""
    here = Path(__file__).parents[2]

    def used(checkout: Path, program: str) -> float:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHON_GIL": "0", "PYTHONHASHSEED": "0"}
        words = [sys.executable, "-c", _ALONE, program]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=checkout, env=environment)  # noqa: S603 - our own text
        if done.returncode:
            raise ReactorError(f"bench keep: {program} in {checkout} failed: {done.stderr.strip()[-500:]}")
        return float(done.stdout.split()[-1])

    for program in ("micro", "dqn"):
        names = {f"{program} here": here, f"{program} in {folder.name}": folder}
        report.add(
            interleave({name: partial(used, checkout, program) for name, checkout in names.items()}, repeats),
            "s of the processor",
        )
        here_word, there_word = names
        report.ratio(here_word, there_word, name=f"{program}, not kept: this commit / {folder.name}")


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("keep", __doc__, repeats=9, workers="2")
    parser.add_argument("--mb", type=float, default=100.0, help="million bytes of DQN's replay ring (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn (%(default)s)")
    parser.add_argument("--runs", type=positive, default=1000, help="of the table (%(default)s)")
    parser.add_argument("--parts", default="pauses,speed,index", metavar="NAME,NAME", help="(%(default)s)")
    parser.add_argument(
        "--against", type=Path, metavar="FOLDER", help="a checkout of an earlier commit, for `--parts against`"
    )
    parser.add_argument("--processes", type=positive, default=5, help="of each program there and here (%(default)s)")
    chosen = parser.parse_args(argv)
    parts = chosen.parts.split(",") + ["against"] * (chosen.against is not None and "against" not in chosen.parts)
    report = Report("keep", {"mb": chosen.mb, "seconds": chosen.seconds, "parts": parts})
    with (
        tempfile.TemporaryDirectory(prefix="reactornb-keep-") as root,
        _environment(REACTORNB_RUNS=f"{root}/runs", XDG_CACHE_HOME=f"{root}/cache"),
    ):
        if "pauses" in parts:
            programs: list[Callable[[], Program]] = [partial(dqn, chosen.mb), ppo]
            folders = [
                pauses(report, name, make(), chosen) for name, make in zip(("dqn", "ppo"), programs, strict=True)
            ]
            going_on(report, folders, programs, chosen)
        if "speed" in parts:
            speeds(report, chosen)
        if "index" in parts:
            index(report, _little(Path(root)), Path(root) / "many", chosen.runs, chosen.repeats)
        if "against" in parts:
            against(report, chosen.against.resolve(), chosen.processes)
    return report.finish(chosen)


def _little(root: Path) -> Path:
    """The folder of a run of PPO that trained for some seconds."""
    Program(PPO(env="CartPole-v1", total_timesteps=20_000, eval_episodes=0)).run(keep="little", seed=1)
    return root / "runs" / "little"


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
