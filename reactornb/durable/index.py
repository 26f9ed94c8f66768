"""A list of all runs below a folder, quick to ask for again: SQLite in the user's cache folder, which can be deleted at any time.

The run folders are the truth. The index keeps, for each run, what stood in its files when they were looked at, and the files' stamps
(inode, size, time of change); a run is read again if a stamp differs, a journal from where the last look ended. SQLite's write-ahead log
needs shared memory, which network file systems do not have, and home folders may be on one: a rollback journal is used instead. Where
the index cannot be used (no permission, locked, damaged beyond removal), the runs are read without it: slower, never wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from reactornb.durable.storage import is_name
from reactornb.durable.summary import Summary, finite
from reactornb.errors import MalformedDataError

__all__ = ["Index", "Row", "cache_folder", "index_file"]

_VERSION = 1  # of the table; another one is made anew
_PATIENCE_S = 5.0  # for another process that writes the index
_READERS = 8  # threads that read runs that the index does not have yet


class Row:
    """What the index knows of a run.

    Args:
        name: see `id`.
        text: of `to_text`; decoded when something of it is asked for, since most rows of a long table are not.

    Attributes:
        id: the name of its folder.
        about: what stands in its `run.json`.
        summary: of its journal.
        labels: the words that its user tagged it with.
        checkpoints: how many there are.
        problem: why it cannot be read, in words; "" if it can.
    """

    __slots__ = ("_facts", "_text", "began", "id")

    def __init__(self, name: str, began: float, text: str = "", facts: Facts | None = None) -> None:
        self.id = name
        self.began = began
        self._text = text
        self._facts = facts

    @classmethod
    def of(
        cls,
        name: str,
        about: dict[str, Any],
        summary: Summary,
        labels: tuple[str, ...] = (),
        checkpoints: int = 0,
        problem: str = "",
    ) -> Row:
        """A row of what was read."""
        began = about.get("began")
        facts = Facts(about, summary, labels, checkpoints, problem)
        return cls(name, finite(began), facts=facts)

    @property
    def text(self) -> str:
        """For the index."""
        if not self._text:
            about, summary, *others = self.facts
            self._text = json.dumps([about, summary.to_json(), *others])
        return self._text

    @property
    def facts(self) -> Facts:
        """What it is made of.

        Raises:
            MalformedDataError: if the index's text is something else.
        """
        if self._facts is None:
            try:
                about, summary, labels, checkpoints, problem = json.loads(self._text)
            except (ValueError, RecursionError) as error:
                raise MalformedDataError(f"the index's row of {self.id} is damaged: {error}.") from error
            self._facts = Facts(about, Summary.of_json(summary), tuple(labels), checkpoints, problem)
        return self._facts


class Facts(NamedTuple):
    """The attributes of a `Row`."""

    about: dict[str, Any]
    summary: Summary
    labels: tuple[str, ...]
    checkpoints: int
    problem: str


Stored = tuple[str, str, float, int, str]  # a row of the table
Read = Callable[[Path, Row | None], Row]
"""Reads a run's folder; the second argument is what the index knew, if its journal only grew since."""


def cache_folder() -> Path:
    """The user's cache folder of this package: `$XDG_CACHE_HOME/reactornb`, or `~/.cache/reactornb`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "reactornb"


def index_file(root: Path) -> Path:
    """The index of the runs below a folder."""
    return (
        cache_folder()
        / "runs"
        / f"{hashlib.blake2b(os.fsencode(root.resolve()), digest_size=12).hexdigest()}-{_VERSION}.sqlite"
    )


class Index:
    """The index of one folder of runs. Each call opens and closes the file, so it may be used by any thread.

    Args:
        root: the folder.
        read: reads a run.
        file: the index; None for none.
    """

    def __init__(self, root: Path, read: Read, file: Path | None) -> None:
        self._root = root
        self._read = read
        self._file = file

    def rows(self) -> list[Row]:
        """All runs as they are now, in no order that means anything."""
        if self._file is None:
            return self._all({})
        for _ in range(2):
            try:
                with self._opened() as table:
                    return self._from(table)
            except sqlite3.OperationalError:
                break  # locked, no permission, a full disk
            except (sqlite3.DatabaseError, MalformedDataError):
                with contextlib.suppress(OSError):
                    self._file.unlink()
        return self._all({})

    def _from(self, table: sqlite3.Connection) -> list[Row]:
        """All runs, and the index brought up to date."""
        known = {
            name: (stamp, Row(name, began, text))
            for name, stamp, began, crc, text in table.execute("SELECT * FROM runs")
            if _crc_of(stamp, began, text) == crc  # SQLite notices damage to its own pages only
        }
        news: list[Stored] = []
        rows = self._all(known, news)
        gone = known.keys() - {row.id for row in rows}
        if news or gone:
            try:
                with table:
                    table.execute("BEGIN IMMEDIATE")
                    table.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", news)
                    table.executemany("DELETE FROM runs WHERE id = ?", [(name,) for name in gone])
            except sqlite3.OperationalError:
                pass  # someone else writes it, or it may not be written: the next look reads these runs again
        return rows

    def _all(self, known: dict[str, tuple[str, Row]], news: list[Stored] | None = None) -> list[Row]:
        rows: dict[str, Row] = {}
        reads: list[tuple[str, str, Row | None]] = []
        for name in _names(self._root):
            stamp = stamp_of(f"{self._root}/{name}")
            if stamp is None:
                continue  # no run, or one that was removed meanwhile
            before, row = known.get(name, ("", None))
            if row is not None and before == stamp:
                rows[name] = row
            else:
                reads.append((name, stamp, row if row is not None and _only_grown(before, stamp) else None))
        for row, (name, stamp, _) in zip(self._read_all(reads), reads, strict=True):
            rows[name] = row
            if news is not None and not row.facts.problem:  # which may be gone at the next look
                news.append((name, stamp, row.began, _crc_of(stamp, row.began, row.text), row.text))
        return list(rows.values())

    def _read_all(self, reads: list[tuple[str, str, Row | None]]) -> list[Row]:
        """Reads runs, several at a time where there are many: each of them touches its own folder only."""

        def read(one: tuple[str, str, Row | None]) -> Row:
            row = self._read(self._root / one[0], one[2])
            row.text  # noqa: B018 - worked out here, where several threads do
            return row

        workers = min(_READERS, _cpus(), len(reads) // 8)
        if workers < 2:
            return [read(one) for one in reads]
        with ThreadPoolExecutor(workers, "reactornb-index") as pool:
            return list(pool.map(read, reads))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        assert self._file is not None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(str(error)) from error
        with contextlib.closing(sqlite3.connect(self._file, timeout=_PATIENCE_S, isolation_level=None)) as table:
            table.execute("PRAGMA journal_mode = DELETE")
            table.execute("PRAGMA synchronous = OFF")  # after a power cut a damaged index is made anew
            table.execute(
                "CREATE TABLE IF NOT EXISTS runs"
                " (id TEXT PRIMARY KEY, stamp TEXT NOT NULL, began REAL NOT NULL, crc INTEGER NOT NULL, text TEXT NOT NULL)"
            )
            yield table


_FILES = ("run.json", "journal.rnj", "notes.json", "checkpoints")


def stamp_of(path: str) -> str | None:
    """What changes when one of the files does that a row is made of; None if the folder holds no run."""
    stamps: list[str] = []
    for name in _FILES:
        try:
            there = os.stat(f"{path}/{name}")  # noqa: PTH116 - 4,000 objects would take longer than the system does
        except OSError:
            if name == "run.json":
                return None
            stamps.append("-")
        else:
            stamps.append(f"{there.st_ino} {there.st_size} {there.st_mtime_ns}")
    return ",".join(stamps)


def _only_grown(before: str, now: str) -> bool:
    """Whether the journal is the same file with more at its end."""
    (about, journal, *_), (about_now, journal_now, *_) = before.split(","), now.split(",")
    if about != about_now or "-" in (journal, journal_now):
        return False
    (inode, size, _), (inode_now, size_now, _) = journal.split(), journal_now.split()
    return inode == inode_now and int(size) <= int(size_now)


def _names(root: Path) -> list[str]:
    """The folders in which runs may be; those that are being made or removed have no such names."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if is_name(e.name) and e.is_dir())
    except OSError:
        return []


def _crc_of(stamp: str, began: float, text: str) -> int:
    return zlib.crc32(f"{stamp} {began!r} {text}".encode("utf-8", "surrogatepass"))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
