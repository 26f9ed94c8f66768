"""What the parts found, read from their JSON: charts as plain data, and a table of ratios.

A ratio is that of two figures of the same turn; its value is the median over turns, its spread the lowest and the highest. It knows
the names that the benchmarks give their figures; nothing here draws or measures.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reactornb.bench.measure import is_met
from reactornb.bench.paper import published
from reactornb.bench.paper.experiments import PARTS
from reactornb.bench.peers import PEERS

__all__ = ["Chart", "Result", "Row", "Series", "charts", "read", "rows"]

NAMES = {"ray": "Ray", "xronos": "xronos"}


@dataclass(frozen=True)
class Result:
    """What one part found.

    Attributes:
        number: of the experiment.
        data: the JSON of its benchmark, with how it was made under "paper".
    """

    number: int
    data: Mapping[str, Any]

    def values(self, name: str) -> list[float] | None:
        """A figure, one per turn; None if it was not measured."""
        found = self.data["figures"].get(name)
        return None if found is None else list(found["values"])

    def labels(self, ending: str) -> list[str]:
        """What stands before an ending in the figures' names, in their order: the groups of which there is this figure."""
        return [name.removesuffix(f", {ending}") for name in self.data["figures"] if name.endswith(f", {ending}")]

    @property
    def workers(self) -> list[int]:
        """Numbers of workers that were measured."""
        return list(self.data["parameters"].get("workers") or ())

    @property
    def peers(self) -> list[str]:
        """Peers that were measured."""
        return [name for name in PEERS if name in self.data["machine"].get("peers", {})]


@dataclass(frozen=True)
class Series:
    """One system in a chart.

    Attributes:
        name: of the system.
        kind: "ours", "limit" or a peer's name; says the colour.
        points: group -> (median, lowest, highest).
    """

    name: str
    kind: str
    points: dict[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Chart:
    """One figure: groups along the axis, and systems.

    Attributes:
        number: of the experiment.
        title: above it.
        across, up: what the axes say.
        lines: lines over the groups, with logarithmic heights; bars otherwise.
        series: measured here.
        published: the paper's, group -> figure.
        more_is_better: whether high is good.
    """

    number: int
    title: str
    across: str
    up: str
    series: list[Series]
    lines: bool = False
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    more_is_better: bool = False

    @property
    def groups(self) -> list[str]:
        """Of what was measured, in order."""
        return list(dict.fromkeys(group for series in self.series for group in series.points))


def read(folder: Path) -> dict[int, Result]:
    """The results that are there, by experiment."""
    found = {}
    for part in PARTS:
        file = folder / f"{part.stem}.json"
        if file.exists():
            found[part.number] = Result(part.number, json.loads(file.read_text(encoding="utf-8")))
    return found


# -- charts ---------------------------------------------------------------------------------------------------------------


def charts(results: Mapping[int, Result]) -> list[Chart]:
    """A chart of each experiment that was measured, and those of ours."""
    drawn = [_chart(result) for number, result in sorted(results.items()) if number <= 6]
    scaling = _scaling(results)
    if scaling.series:
        drawn.append(scaling)
    if 7 in results:
        drawn.append(_shards(results[7]))
    if 8 in results:
        drawn.append(_hosts(results[8]))
    return [chart for chart in drawn if chart.series]


def _chart(result: Result) -> Chart:
    title = next(part.title for part in PARTS if part.number == result.number)
    across, up = {
        1: ("clients", "ms per round over the sleep"),
        2: ("size of an object, 16 clients", "ms per round over the sleep"),
        3: ("", "observations per second"),
        4: ("", "observations per second"),
        5: ("transitions per update", "seconds for 500 rounds"),
        6: ("", "seconds for 100,000 steps"),
    }[result.number]
    series = []
    for name, kind, ending in _systems(result):
        points = {
            _group(result.number, label): _point(values, _scale(result.number))
            for label in result.labels(ending)
            if "as published" not in label and (values := result.values(f"{label}, {ending}")) is not None
        }
        if points:
            series.append(Series(name, kind, points))
    shown = published.PUBLISHED.get(result.number, {})
    number = result.number
    return Chart(number, title, across, up, series, number <= 2, shown, more_is_better=number in (3, 4))


def _systems(result: Result) -> Iterator[tuple[str, str, str]]:
    """(name for a reader, kind, ending of its figures' names) of what a chart shows."""
    workers = [f"{count} worker{'s' if count > 1 else ''}" for count in result.workers]
    if result.number <= 2:
        yield "threads at a barrier, copied", "limit", "threads, copied"
        yield "reactornb, copied", "ours", "reactors, copied"
        yield "reactornb, by reference", "ours", "reactors, by reference"
    elif result.number <= 4:
        yield "plain loop", "limit", "plain loop"
        for count, word in zip(result.workers, workers, strict=True):
            if count > 1:
                yield f"{count} threads that never wait", "limit", f"{count} free threads"
            yield f"reactornb, {word}", "ours", word
    else:
        yield "plain loop", "limit", "plain loop, same bodies"
        for word in workers:
            yield f"reactornb, {word}", "ours", f"same bodies, {word}"
        own, short = ("reactornb's own parts", "ours") if result.number == 5 else ("reactornb, NumPy", "NumPy")
        yield f"{own}, {workers[-1]}", "ours", f"{short}, {workers[-1]}"
    for peer in result.peers:
        yield NAMES.get(peer, peer), peer, peer


def _group(number: int, label: str) -> str:
    """What a reader calls a group of figures: of "CartPole-v1, 1 step" the first part, of "16 clients" the number."""
    label = label.partition(",")[0]
    return label.removesuffix(" clients") if number == 1 else label


def _scale(number: int) -> Callable[[float], float]:
    """From a benchmark's unit to that of the chart."""
    if number in (3, 4):
        return lambda microseconds: 1e6 / microseconds
    if number == 5:
        return lambda milliseconds: milliseconds * 500 / 1e3
    if number == 6:
        return lambda microseconds: microseconds * 100_000 / 1e6
    return lambda milliseconds: milliseconds


def _point(values: Sequence[float], scale: Callable[[float], float]) -> tuple[float, float, float]:
    found = [scale(value) for value in values]
    return statistics.median(found), min(found), max(found)


def _ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    return _point([a / b for a, b in zip(above, below, strict=True)], float)


def _scaling(results: Mapping[int, Result]) -> Chart:
    """Speed with several workers over that of one, of the programs of experiments 3 to 6."""
    series = []
    for number in (3, 4, 5, 6):
        result = results.get(number)
        if result is None:
            continue
        inner = "" if number <= 4 else "same bodies, "
        for label in result.labels(f"{inner}1 worker"):
            one = result.values(f"{label}, {inner}1 worker")
            if one is None or "as published" in label:
                continue
            points = {}
            for count in result.workers:
                values = result.values(f"{label}, {inner}{count} worker{'s' if count > 1 else ''}")
                if values is not None:
                    points[str(count)] = _ratio(one, values)
            series.append(Series(_group(number, label), f"experiment {number}", points))
    return Chart(7, "More workers", "workers", "times one worker", series, more_is_better=True)


def _shards(result: Result) -> Chart:
    """Time of a learner's update, by shards."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name, figure in result.data["figures"].items():
        network, rows, shards, workers = name.split(", ")
        found.setdefault(f"{network}, {workers}", {})[f"{network}, {rows}, {shards}"] = _point(figure["values"], float)
    by_workers: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name, points in found.items():
        by_workers.setdefault(name.partition(", ")[2], {}).update(points)
    series = [Series(f"reactornb, {name}", "ours", points) for name, points in by_workers.items()]
    return Chart(7, "A learner in shards", "network, rows of a minibatch, shards", "µs per update", series)


def _hosts(result: Result) -> Chart:
    """Speed with hosts, and with workers of one process, over that of one worker."""
    one = result.values("heavy, 1 worker")
    found: dict[str, dict[str, tuple[float, float, float]]] = {"workers": {}, "hosts": {}, "threads": {}}
    for name in result.data["figures"]:
        count, _, what = name.removeprefix("heavy, ").partition(" ")
        values = result.values(name)
        if one is not None and values is not None:
            found[f"{what.removesuffix('s')}s"][count] = _ratio(one, values)
    words = {"workers": "workers of one process", "hosts": "hosts of one worker", "threads": "threads that never wait"}
    series = [
        Series(words[what], "limit" if what == "threads" else "ours", dict(sorted(found[what].items())))
        for what in words
    ]
    return Chart(8, "More hosts", "how many", "times one worker", series, more_is_better=True)


# -- ratios ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the table of ratios.

    Attributes:
        number: of the experiment.
        what: is compared.
        median, lowest, highest: of the ratios of figures from the same turn.
        at_least, at_most: the bar, for the median.
        paper: how many times as fast Lingua Franca was as Ray in the paper, in rows against Ray.
    """

    number: int
    what: str
    median: float
    lowest: float
    highest: float
    at_least: float | None = None
    at_most: float | None = None
    paper: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without one."""
        return is_met(self.median, self.at_least, self.at_most)

    @property
    def bar(self) -> str:
        """The bar in words, or nothing."""
        bars = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        bars += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        return " and ".join(bars)


def rows(results: Mapping[int, Result]) -> list[Row]:
    """The comparisons that the page shows, experiment by experiment."""
    return [row for number, result in sorted(results.items()) if number != 7 for row in _rows(result)]


def _rows(result: Result) -> Iterator[Row]:
    make = _Rows(result)
    number = result.number
    if number == 8:
        what = "2 hosts of one worker: of the speed of threads that never wait"
        yield from make.speed(what, "heavy", "2 hosts", "2 threads", at_least=0.9)
        return
    if number <= 2:
        yield from make.senders()
        return
    most = max(result.workers)
    word = f"{most} worker{'s' if most > 1 else ''}"
    ours = word if number <= 4 else f"same bodies, {word}"
    for label in result.labels(ours):
        shown = label.replace(", 1 step", "")
        # The plain loop, then the limit, then peers.
        bar = 1.5 if number == 3 and most == 2 and "as published" not in label else None
        loop = "plain loop" if number <= 4 else "plain loop, same bodies"
        yield from make.speed(f"{shown}, {word}: times the plain loop's speed", label, ours, loop, at_least=bar)
        if label.endswith(", as published"):
            without = label.removesuffix(", as published")
            for name in (ours, *result.peers):
                yield from make.times(
                    f"{shown}, {NAMES.get(name, name)}: a step's time, times that without printing",
                    f"{label}, {name}",
                    f"{without}, {name}",
                )
        bar = 0.97 if number == 4 and most == 2 else None
        yield from make.speed(
            f"{shown}, {word}: of the speed of threads that never wait",
            label,
            ours,
            f"{most} free threads",
            at_least=bar,
        )
        for peer in result.peers:
            name = NAMES.get(peer, peer)
            least = _least(number, label) if peer == "ray" else None
            paper = published.ratio(number, _group(number, label)) if peer == "ray" else None
            yield from make.speed(
                f"{shown}, {word}: times {name}'s speed", label, ours, peer, at_least=least, paper=paper
            )


def _least(number: int, label: str) -> float | None:
    """The bar against Ray, as times its speed."""
    if number == 5:
        return 5.0 if label == "K = 500" else None  # a fifth of its time
    return 10.0 if number == 6 else None


@dataclass(frozen=True)
class _Rows:
    """Makes rows of a result; a comparison of which one side was not measured gives none."""

    result: Result

    def speed(
        self, what: str, label: str, fast: str, slow: str, *, at_least: float | None = None, paper: float | None = None
    ) -> Iterator[Row]:
        """How many times as fast one is as the other; figures are times."""
        yield from self.times(what, f"{label}, {slow}", f"{label}, {fast}", at_least=at_least, paper=paper)

    def times(
        self,
        what: str,
        above: str,
        below: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        paper: float | None = None,
    ) -> Iterator[Row]:
        """One figure divided by another one."""
        one, other = self.result.values(above), self.result.values(below)
        if one is not None and other is not None:
            yield Row(self.result.number, what, *_ratio(one, other), at_least, at_most, paper)

    def senders(self) -> Iterator[Row]:
        """Experiments 1 and 2."""
        number = self.result.number
        labels = self.result.labels("reactors, by reference")
        for label in labels:
            for peer in self.result.peers:
                name = NAMES.get(peer, peer)
                paper = published.ratio(number, _group(number, label)) if peer == "ray" else None
                bar = 20.0 if (number, label, peer) == (1, "16 clients", "ray") else None
                for kind in ("by reference", "copied"):
                    yield from self.speed(
                        f"{label}, {kind}: {name}'s overhead, times ours", label, f"reactors, {kind}", peer,
                        at_least=bar if kind == "by reference" else None, paper=paper,
                    )  # fmt: skip
                yield from self.times(
                    f"{label}: {name}'s overhead if its actors copy, as published, times that if not",
                    f"{label}, {peer}, as published",
                    f"{label}, {peer}",
                )
            copied = f"{label}, reactors, copied"
            bar = 1.2 if number == 2 and label.endswith(" MB") and int(label.split()[0]) >= 10 else None
            yield from self.times(
                f"{label}, copied: overhead, times that of threads that copy",
                copied,
                f"{label}, threads, copied",
                at_most=bar,
            )
        if number == 2 and len(labels) > 1:
            small, large = (f"{labels[at]}, reactors, by reference" for at in (0, -1))
            whole = (labels[0], labels[-1]) == ("1 KB", "500 MB")
            yield from self.times(
                f"by reference: overhead of {labels[-1]}, times that of {labels[0]}",
                large,
                small,
                at_most=2.0 if whole else None,
            )
