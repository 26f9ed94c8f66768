"""`FingerprintLog`: a hash of each value that a run wrote, so that two runs with different fingerprints can be told where they parted.

It is filled by `trace.Recorder`, compared by `reactornb diff`, and knows nothing of values.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from reactornb.errors import MalformedDataError
from reactornb.files import whole
from reactornb.graph import Graph
from reactornb.tags import Tag

__all__ = ["Difference", "FingerprintLog"]

_FORMAT, _VERSION = "reactornb fingerprint log", 1
_FIRST_LEVEL = -1
"""Of what is there when a tag begins: timers, actions, changed parameters."""

Row = tuple[int, int, int, int]
"""Time in ns, microstep, number of what was written, 64 bits of the hash of its value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs parted.

    Attributes:
        tag: the first tag at which they differ.
        name: what differs there; of several the one that is written first: a later one may follow from it.
        writer: the reaction that writes it, with its place; "" for timers and actions.
        hashes: 16 digits of each run, or None where it wrote nothing there.
        others: what else differs at that tag.
    """

    tag: Tag
    name: str
    writer: str
    hashes: tuple[str | None, str | None]
    others: tuple[str, ...]


class FingerprintLog:
    """A hash of each write, in the order of tags.

    # Written by the thread that ends a tag: the leader, or under the gate's lock where there are several enclaves. Read at any time: the
    # lists only grow, and a row counts when its hash is there.

    Args:
        program: the program's name.
        seed: the run's seed.
    """

    def __init__(self, program: str, seed: int) -> None:
        self.program = program
        self.seed = seed
        self._names: dict[int, str] = {}  # by number
        self._writers: dict[str, tuple[int, str]] = {}  # by name: level, reaction and its place
        self._times, self._hashes = array("q"), array("Q")
        self._microsteps, self._numbers = array("q"), array("q")
        self._last = (-1, -1)
        self._is_ordered = True  # an enclave into which something comes from outside may go back behind others

    def introduce(self, graph: Graph) -> None:
        """Take in who writes what."""
        nodes = {channel: r for r in reversed(graph.reactions) for channel in r.effects}
        for port in graph.ports:
            r = nodes.get(port.index)
            if r is not None:
                self._writers[port.name] = (r.level, f"{r.name} ({r.source})")

    def add(self, tag: tuple[int, int], written: Iterable[tuple[int, str, int]]) -> None:
        """Add what was written at a tag: (number, name, hash of the value) each."""
        self._is_ordered = self._is_ordered and self._last <= tag
        self._last = max(self._last, tag)
        for number, name, hashed in sorted(written):
            self._names[number] = name
            self._append((*tag, number, hashed))

    def look(self, tag: tuple[int, int], name: str, value: Any) -> None:
        """What is written at a tag, while it is there; any leader. For logs that keep more of values than their hashes."""

    def _append(self, row: Row) -> None:
        time_ns, microstep, number, hashed = row
        self._times.append(time_ns)
        self._microsteps.append(microstep)
        self._numbers.append(number)
        self._hashes.append(hashed)

    def __len__(self) -> int:
        """How many writes."""
        return len(self._hashes)  # appended last: of a run that goes on, these are complete

    def _rows(self) -> Iterator[Row]:
        rows, count = zip(self._times, self._microsteps, self._numbers, self._hashes, strict=False), len(self)
        return islice(rows, count) if self._is_ordered else iter(sorted(islice(rows, count)))

    # -- files ------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write it to a file, for `reactornb diff`: a line of JSON, then a line for each write.

        Raises:
            FileError: if it cannot be written.
        """
        count, rows = len(self), self._rows()
        names = dict(self._names)
        known = set(names.values())
        head = {
            "format": _FORMAT, "version": _VERSION, "program": self.program, "seed": self.seed, "writes": count,
            "names": names, "writers": {name: writer for name, writer in self._writers.items() if name in known},
        }  # fmt: skip
        with whole(path, "w") as file:
            file.write(json.dumps(head, ensure_ascii=False) + "\n")
            file.writelines(f"{ns} {step} {number} {hashed:016x}\n" for ns, step, number, hashed in islice(rows, count))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> FingerprintLog:
        """Read what `save` wrote.

        Raises:
            OSError: if the file cannot be read.
            MalformedDataError: if it is no such file, or damaged.
        """
        at = 1
        try:
            with Path(path).open(encoding="utf-8") as file:
                head = json.loads(file.readline())
                if head["format"] != _FORMAT or head["version"] != _VERSION:
                    raise ValueError("the format is another one")
                log = cls(_of(str, head["program"]), _of(int, head["seed"]))
                log._names = {int(number): _of(str, name) for number, name in head["names"].items()}
                log._writers = {n: (_of(int, level), _of(str, who)) for n, (level, who) in head["writers"].items()}
                before = (-1, -1)
                for at, line in enumerate(file, 2):  # noqa: B007 - said in the error
                    ns, step, number, hashed = line.split()
                    log._append((int(ns), int(step), int(number), int(hashed, 16)))
                    tag = (int(ns), int(step))
                    if tag < before or int(number) not in log._names:
                        raise ValueError("a write out of order, or of something without a name")
                    before = tag
                if len(log) != head["writes"]:
                    raise ValueError(f"{head['writes']:,} writes were to be there")
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
            raise MalformedDataError(f"{path}, line {at}: this is no fingerprint log ({error}).") from error
        return log

    # -- comparing --------------------------------------------------------------------------------------------------------

    def difference(self, other: FingerprintLog) -> Difference | None:
        """Where two runs parted; None if they wrote the same.

        Args:
            other: the log of another run.
        """
        mine, others = self._by_tag(), other._by_tag()
        left, right = next(mine, None), next(others, None)
        while left is not None or right is not None:
            if left != right:
                return self._parted(other, left, right)
            left, right = next(mine, None), next(others, None)
        return None

    def _by_tag(self) -> Iterator[tuple[tuple[int, int], Mapping[str, int]]]:
        for tag, rows in groupby(self._rows(), lambda row: row[:2]):
            yield tag, {self._names[number]: hashed for _, _, number, hashed in rows}

    def _parted(self, other: FingerprintLog, left: Any, right: Any) -> Difference:
        tag = min(side[0] for side in (left, right) if side is not None)
        here, there = (side[1] if side is not None and side[0] == tag else {} for side in (left, right))
        numbers = {name: number for log in (other, self) for number, name in log._names.items()}
        differing = [name for name in {**here, **there} if here.get(name) != there.get(name)]
        writers = {**other._writers, **self._writers}
        differing.sort(key=lambda name: (writers.get(name, (_FIRST_LEVEL,))[0], numbers[name]))
        name = differing[0]
        hashes = tuple(None if name not in side else f"{side[name]:016x}" for side in (here, there))
        return Difference(Tag(*tag), name, writers.get(name, (0, ""))[1], (hashes[0], hashes[1]), tuple(differing[1:]))


def _of[T](kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise ValueError(f"{value!r:.40} is no {kind.__name__}")
    return value
