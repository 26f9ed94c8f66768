"""A run's folder written by a script that says what it has promised, and a check that a folder keeps such promises."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reactornb.durable import checkpoints, pieces
from reactornb.durable.errors import NoSuchRunError
from reactornb.durable.folder import RunFolder
from reactornb.runtime.codec import decode, encode

ABOUT = {"seed": 3, "parameters": {"lr": 0.5}}
CELLS = {"cell-1.py": "x = 1\n", "naïve.py": "# \udcff\n"}
PIECE = 64


def small_pieces(monkeypatch):
    """Let a few bytes be a large buffer, and segments be written again."""
    monkeypatch.setattr(pieces, "PIECE", PIECE)
    monkeypatch.setattr(checkpoints, "PIECE", PIECE)
    monkeypatch.setattr(pieces, "_SMALL", PIECE)


def state(i):
    """A state with a ring that changes in one place, arrays too small to be pieces, and text."""
    ring = np.zeros(6 * PIECE, np.uint8)
    for step in range(i + 1):
        at = step % 6 * PIECE + 5
        ring[at : at + 10] = step + 1
    return {"i": i, "ring": ring, "small": np.arange(5) * i, "other": np.full(PIECE // 8, i, np.int64), "text": "é" * i}


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@dataclass
class Promises:
    """What was announced.

    Attributes:
        created: the folder is there.
        appended: the bodies of records that were given to the journal.
        synced: how many of them were synced.
        announced: the checkpoints that are complete.
        begun: those of which the writing began.
        leaving: those of which the removal began.
    """

    created: bool = False
    appended: list = field(default_factory=list)
    synced: int = 0
    announced: set = field(default_factory=set)
    begun: set = field(default_factory=set)
    leaving: set = field(default_factory=set)


def write(folder, promises, steps, keep=2):
    """Records, and every other step a checkpoint; the first one has a name."""
    for i in steps:
        promises.appended.append(i)
        folder.journal.append("input", (i, 0), {"i": i})
        if i % 3 == 0:
            folder.journal.sync()
            promises.synced = len(promises.appended)
        if i % 2 == 0:
            promises.begun.add(i)
            folder.write_checkpoint((i, 0), encode(state(i)), {"i": i}, "first" if i == 0 else None)
            promises.announced.add(i)
            promises.synced = len(promises.appended)
            unnamed = [
                info.tag[0] for info in folder.checkpoints() if info.name is None
            ]  # also one that appeared unannounced
            promises.leaving |= set(unnamed[:-keep])
            folder.prune(keep)
            promises.announced -= promises.leaving


def whole_life(storage, promises, steps):
    folder = RunFolder.create(Path("unused"), "pong", ABOUT, CELLS, storage=storage)
    promises.created = True
    write(folder, promises, steps)
    folder.close()


def go_on(storage, promises, steps):
    folder = RunFolder.open(Path("/memory/pong"), writable=True, storage=storage)
    assert folder.incomplete() == []
    promises.appended = [record.value()["i"] for record in folder.journal.records()]
    promises.synced = len(promises.appended)
    promises.announced = {info.tag[0] for info in folder.checkpoints()}
    write(folder, promises, steps)
    folder.close()


def check(storage, promises):
    """Whatever is there is right, and all that was announced is there. Reads only; returns whether there is a run."""
    try:
        folder = RunFolder.open(Path("/memory/pong"), storage=storage)
    except NoSuchRunError:
        assert not promises.created
        return False
    assert folder.about == ABOUT
    assert folder.cells == CELLS
    bodies = [record.value()["i"] for record in folder.journal.records()]
    assert bodies == promises.appended[: len(bodies)]
    assert len(bodies) >= promises.synced
    there = folder.checkpoints()
    tags = {info.tag[0] for info in there}
    assert promises.announced - promises.leaving <= tags <= promises.begun
    for info in there:
        assert info.extra == {"i": info.tag[0]}
        assert info.name == ("first" if info.tag[0] == 0 else None)
        assert equal(decode(folder.read_checkpoint(info)), state(info.tag[0]))
    return True
