"""Shared by all benchmarks: taking turns, ratios with their spread, options, a table and JSON.

A machine's speed drifts by half between minutes, so nothing is compared across runs: all variants take turns within one run,
with many short measurements, and a ratio is the median of the ratios of measurements from the same turn.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reactornb import files
from reactornb.bench import peers
from reactornb.doctor import build
from reactornb.errors import ReactorError

__all__ = [
    "Ratio",
    "Report",
    "in_step_word",
    "in_threads",
    "interleave",
    "lf_program",
    "numbers",
    "options",
    "peers_asked_for",
    "positive",
    "summary",
    "threads_word",
    "workers_word",
]


def interleave[T](variants: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Measure each variant `repeats` times, in turns, after one turn that is not counted.

    Args:
        variants: name -> a function that measures once and returns a figure, or several.
        repeats: turns; each begins with another variant, so that a machine that warms up or gets busy favours none.

    Returns:
        name -> its figures, one per turn.
    """
    names = list(variants)
    figures: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(-1, repeats):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()  # so that no variant collects another one's garbage
            figure = variants[name]()
            if turn >= 0:
                figures[name].append(figure)
    return figures


def in_threads(count: int, prepare: Callable[[int], Callable[[], object]]) -> float:
    """Seconds that `count` threads need for their parts without synchronising: the limit for as many workers.

    Args:
        count: threads.
        prepare: called in each thread with its index; makes the objects of its part and returns a function that runs it.
    """
    # began, ended: each thread writes its own place; read after the joins.
    began, ended = [0.0] * count, [0.0] * count
    failures: list[BaseException] = []
    ready = threading.Barrier(count)

    def part(index: int) -> None:
        try:
            run = prepare(index)
            ready.wait()
            began[index] = time.perf_counter()
            run()
            ended[index] = time.perf_counter()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=part, args=(i,), name=f"limit-{i}") for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise next((f for f in failures if not isinstance(f, threading.BrokenBarrierError)), failures[0])
    return max(ended) - min(began)


def is_met(value: float, at_least: float | None, at_most: float | None) -> bool | None:
    """Whether a figure meets its bar; None without one."""
    if at_least is None and at_most is None:
        return None
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


@dataclass(frozen=True)
class Ratio:
    """One comparison: the median of `values`, and the bar it must meet, if any.

    Attributes:
        name: names the two figures.
        values: one per turn.
        at_least, at_most: the bar, for the median.
        of_lowest: the ratio of the two figures' lowest values, which other programs disturb least; for a single figure, its lowest.
    """

    name: str
    values: list[float]
    at_least: float | None = None
    at_most: float | None = None
    of_lowest: float | None = None

    @property
    def median(self) -> float:
        """The median over turns."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        return is_met(self.median, self.at_least, self.at_most)


@dataclass
class Report:
    """Everything one benchmark measured, to be printed and written.

    Attributes:
        benchmark: its name.
        parameters: the options it was run with.
        figures: name -> figures, one per turn.
        units: name -> unit of the figures.
        ratios: comparisons.
        notes: remarks for the reader.
        missing: requested peers that could not be measured.
        machine: interpreter, cores, load average before, and the peers' interpreters.
        tables: texts to print above the notes.
        details: more plain data for the JSON file.
    """

    benchmark: str
    parameters: dict[str, Any]
    figures: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The load of other programs, taken before the benchmark starts.
        self.machine = {
            "python": platform.python_version(),
            "build": build(),
            "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
            "cores": os.cpu_count(),
            "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "system": platform.system(),
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        }
        load = self.machine["load_average"]
        if load is not None and load > 0.5:
            self.notes.append(
                f"the machine is busy already (load average {load:.1f}): ratios between workers will come out too low"
            )
        if self.machine["gil"]:
            self.notes.append("this interpreter has a GIL: Python bodies take turns, a second worker gives nothing")

    @contextlib.contextmanager
    def opened(self, chosen: argparse.Namespace) -> Iterator[dict[str, peers.PeerProcess]]:
        """The requested peers, started. A peer that cannot start is noted and makes the exit status 1; the others are measured."""
        with contextlib.ExitStack() as stack:
            started: dict[str, peers.PeerProcess] = {}
            for name in peers_asked_for(chosen):
                if name in self.missing or (getattr(chosen, "cpu_time", False) and not peers.PEERS[name].cpu_time):
                    continue
                try:
                    started |= stack.enter_context(peers.opened(self.benchmark, [name]))
                    self.machine.setdefault("peers", {})[name] = started[name].facts
                except peers.PeerError as error:
                    self.missing.append(name)
                    self.notes.append(f"not measured: {error}")
            yield started

    def add(self, figures: Mapping[str, list[float]], unit: str) -> None:
        """Add figures, in `unit`."""
        self.figures.update(figures)
        self.units.update(dict.fromkeys(figures, unit))

    def ratio(
        self,
        above: str,
        below: str,
        label: str = "",
        name: str = "",
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add the ratio of two figures, turn by turn; none if one of them was not measured.

        Args:
            above: the figure divided.
            below: by this one.
            label: put before both names.
            name: of the ratio; "`above` / `below`" unless given.
            at_least: the bar, if a large ratio is good.
            at_most: the bar, if a small one is.
        """
        one, other = self.figures.get(label + above), self.figures.get(label + below)
        if one is not None and other is not None:
            values = [a / b for a, b in zip(one, other, strict=True)]
            self.ratios.append(
                Ratio(label + (name or f"{above} / {below}"), values, at_least, at_most, min(one) / min(other))
            )

    def speed(self, fast: str, slow: str, label: str = "", *, at_least: float | None = None) -> None:
        """Add how many times as fast one is as the other; figures are times."""
        self.ratio(slow, fast, label, f"{fast}: speed over {slow}", at_least=at_least)

    def bar(self, name: str, at_most: float) -> None:
        """Set a bar for a single figure."""
        if name in self.figures:
            values = self.figures[name]
            self.ratios.append(Ratio(f"{name}, {self.units[name]}", values, at_most=at_most, of_lowest=min(values)))

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "benchmark": self.benchmark,
            "parameters": self.parameters,
            "machine": self.machine,
            "figures": {
                name: {"unit": self.units[name], **summary(values), "values": values}
                for name, values in self.figures.items()
            },
            "ratios": [asdict(r) | {"median": r.median, "met": r.met} for r in self.ratios],
            "missing": self.missing,
            "notes": self.notes,
            **({"details": self.details} if self.details else {}),
        }

    def text(self) -> str:
        """A table of figures, one of ratios, and the notes."""
        lines = []
        if self.figures:
            width = max(len(name) for name in self.figures)
            lines.append(f"{'':{width}}  {'median':>10}  {'lowest':>10}  {'highest':>10}")
            for name, values in self.figures.items():
                figures = "  ".join(f"{_short(v):>10}" for v in summary(values).values())
                lines.append(f"{name:{width}}  {figures}  {self.units[name]}")
        if self.ratios:
            width = max(len(ratio.name) for ratio in self.ratios)
            lines += ["", f"{'':{width}}  {'median':>8}  {'of lowest':>9}"]
            for ratio in self.ratios:
                lowest = "" if ratio.of_lowest is None else _short(ratio.of_lowest)
                spread = f"({_short(min(ratio.values))} to {_short(max(ratio.values))})"
                lines.append(
                    f"{ratio.name:{width}}  {_short(ratio.median):>8}  {lowest:>9}  {spread:20}{_bar(ratio)}".rstrip()
                )
        for table in self.tables:
            lines += ["", table]
        machine = self.machine
        gil = "on" if machine["gil"] else "off"
        cores = f"{machine['usable_cores']} of {machine['cores']} cores"
        lines += ["", f"{self.benchmark}: CPython {machine['python']} ({machine['build']} build), GIL {gil}, {cores}"]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines).lstrip("\n")

    def finish(self, chosen: argparse.Namespace) -> int:
        """Print, write JSON if asked for; the exit status is 1 if a peer is missing, or `--check` was given and a bar is missed."""
        if getattr(chosen, "cpu_time", False):
            self.notes.append("processor time, not physical time: how fast one worker is while it has a core")
        self.parameters |= {"workers": chosen.workers, "repeats": chosen.repeats}
        sys.stdout.write(self.text() + "\n")
        if chosen.json is not None:
            files.write(chosen.json, json.dumps(self.as_dict(), indent=2) + "\n")
        return int(bool(self.missing) or (chosen.check and any(ratio.met is False for ratio in self.ratios)))


def _bar(ratio: Ratio) -> str:
    if ratio.met is None:
        return ""
    bars = [f"at least {ratio.at_least:g}"] if ratio.at_least is not None else []
    bars += [f"at most {ratio.at_most:g}"] if ratio.at_most is not None else []
    return f"  bar: {' and '.join(bars)}, {'met' if ratio.met else 'MISSED'}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}"


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def options(
    name: str,
    about: str | None,
    *,
    repeats: int,
    workers: str | None = "1,2",
    lf: bool = False,
    cpu_time: bool = False,
) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark.

    Args:
        name: of the benchmark.
        about: its module's docstring; the parser shows all of it.
        repeats: turns unless asked otherwise.
        workers: numbers of workers unless asked otherwise; None: the benchmark says itself how many there are.
        lf: whether it has its program as Lingua Franca text too.
        cpu_time: whether all its times are taken with `bodies.now`.
    """
    parser = argparse.ArgumentParser(
        prog=f"reactornb bench {name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    threads = parser.add_mutually_exclusive_group()
    if workers is None:
        parser.set_defaults(workers=())
    else:
        threads.add_argument("--workers", type=numbers, default=numbers(workers), metavar="N,N", help=f"({workers})")
    parser.add_argument("--repeats", type=positive, default=repeats, help="turns of everything (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    there = peers.names_for(name)
    if there:
        parser.add_argument(
            "--peers",
            nargs="?",
            const=there,
            default=[],
            type=_names(there),
            metavar="NAME,NAME",
            help=f"measure these as well, installed at first use: {', '.join(there)} (all of them without a name)",
        )
    if cpu_time:
        threads.add_argument(
            "--cpu-time",
            action=_CpuTime,
            nargs=0,
            default=False,
            help="take processor time, which a busy machine leaves alone, instead of physical time; one worker only",
        )
    if lf:
        parser.add_argument("--lf", action="store_true", help="measure the same program as Lingua Franca text as well")
    return parser


class _CpuTime(argparse.Action):
    """Times of one worker in seconds of the processor: of this process and, through the environment, of a peer's."""

    def __call__(self, _: object, chosen: argparse.Namespace, *__: object) -> None:
        os.environ["REACTORNB_BENCH_CLOCK"] = "cpu"
        chosen.cpu_time, chosen.workers = True, (1,)


def peers_asked_for(chosen: argparse.Namespace) -> list[str]:
    """The names given to `--peers`."""
    return list(getattr(chosen, "peers", []))


def lf_program(name: str) -> Path:
    """The file of a benchmark's program as Lingua Franca text, which ships with the package.

    Raises:
        ReactorError: if there is none.
    """
    path = Path(__file__).parent / f"{name}.lf"
    if not path.exists():
        raise ReactorError(f"{path} is not there: the package was installed without it.")
    return path


def workers_word(count: int) -> str:
    """The name of a figure with so many workers."""
    return f"{count} worker{'s' if count > 1 else ''}"


def threads_word(count: int) -> str:
    """The name of the limit for so many workers."""
    return f"{count} free threads"


def in_step_word(count: int) -> str:
    """The name of the limit whose threads wait for each other after each round."""
    return f"{count} threads in step"


def numbers(text: str) -> tuple[int, ...]:
    """Positive numbers with commas between them, from a command line."""
    try:
        return tuple(positive(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,2") from None


def _names(there: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in there:
                raise argparse.ArgumentTypeError(f"there is no peer {name!r}; there are {', '.join(there)}")
        return chosen

    return names


def positive(text: str) -> int:
    """A whole number of at least 1, from a command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number
