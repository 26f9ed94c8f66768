"""Large buffers as pieces that checkpoints share: of a replay buffer, only what changed since the last checkpoint is written.

A buffer is cut into pieces of 128 KiB at fixed places; a piece is known by its SHA-256. Those that no kept checkpoint has are written
one behind the other into one new file, `segments/<number>.seg`, so a checkpoint costs one sync however many pieces it has. A table says
where each piece of a state lies, 48 bytes each:

    bytes 0..31   SHA-256 of the piece                            all numbers are little-endian and unsigned
          32..35  number of the segment
          36..39  length
          40..47  where it begins in the segment

A segment that no kept checkpoint names is removed; of one that is mostly not named any more, what is still needed is written again with
the next checkpoint, so that the folder is at most about twice what the checkpoints need.

Segments are trusted only if the table of a complete checkpoint names them: whatever else a crash left is removed. Everything here belongs
to the thread that writes checkpoints; reading needs no `Pieces`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from reactornb.durable.errors import DamagedRunError
from reactornb.durable.storage import Storage

__all__ = ["PIECE", "Extent", "Pieces", "pack", "read_buffer", "unpack"]

PIECE = 1 << 17
_row = struct.Struct("<32sIIQ")
_SMALL = 4 << 20  # bytes of a segment that is not written again

Buffer = bytes | bytearray | memoryview


class Extent(NamedTuple):
    """Where a piece lies.

    Attributes:
        digest: of its bytes.
        segment: number of the file.
        length: bytes.
        at: where it begins in the file.
    """

    digest: bytes
    segment: int
    length: int
    at: int


def pack(extents: Iterable[Extent]) -> bytes:
    """A table as bytes."""
    return b"".join(_row.pack(*extent) for extent in extents)


def unpack(table: bytes) -> list[Extent]:
    """The rows of a table; ValueError if it is none."""
    if len(table) % _row.size:
        raise ValueError("a table of pieces ends within a row")
    return [Extent(*row) for row in _row.iter_unpack(table)]


def name_of(segment: int) -> str:
    """The file of a segment."""
    return f"{segment:08}.seg"


def number_of(name: str) -> int | None:
    """Which segment a file is; None if it is none."""
    number = name.removesuffix(".seg")
    return (
        int(number)
        if number.isascii() and number.isdigit() and len(number) < 11 and name_of(int(number)) == name
        else None
    )


class Pieces:
    """The segments of a run that is written.

    Args:
        storage: where they are.
        folder: the folder `segments`.
        tables: those of the complete checkpoints, each with a key.

    Attributes:
        wrote: bytes that the last `add` wrote.
    """

    def __init__(self, storage: Storage, folder: str, tables: Iterable[tuple[str, Sequence[Extent]]]) -> None:
        self._storage, self._folder = storage, folder
        self._tables: dict[str, Sequence[Extent]] = {}
        self._where: dict[bytes, Extent] = {}
        self._sparse: set[int] = set()
        self.wrote = 0
        numbers = [number for name in storage.names(folder) if (number := number_of(name)) is not None]
        self._next = max(numbers, default=0) + 1
        for key, table in tables:
            self._tables[key] = table
        self._look()

    def _look(self) -> None:
        """Find again where pieces are, and which segments are mostly in the way."""
        used: dict[int, dict[int, int]] = {}
        self._where = {}
        for table in self._tables.values():
            for extent in table:
                self._where[extent.digest] = extent
                used.setdefault(extent.segment, {})[extent.at] = extent.length
        self._sparse = set()
        for number, pieces in used.items():
            size = self._storage.size(f"{self._folder}/{name_of(number)}") or 0
            if size > _SMALL and 2 * sum(pieces.values()) < size:
                self._sparse.add(number)

    def add(self, key: str, buffers: Iterable[memoryview]) -> list[Extent]:
        """Write what is new of these buffers, synced together with the names of the files; gives their table.

        Nothing but `keep(key)` makes it permanent; after `forget(key)` the next `sweep` removes what was written.

        Raises:
            OSError: if the disk is full; `forget(key)` is still to be called.
        """
        table: list[Extent] = []
        self._tables[key] = table
        new: dict[bytes, Extent] = {}
        number, end, file = 0, 0, None
        self.wrote = 0
        try:
            for buffer in buffers:
                for at in range(0, buffer.nbytes, PIECE):
                    piece = buffer[at : at + PIECE]
                    digest = sha256(piece).digest()
                    extent = new.get(digest) or self._where.get(digest)
                    if extent is None or extent.segment in self._sparse:
                        if file is None:
                            number, end = self._next, 0
                            self._next += 1
                            file = self._storage.create(f"{self._folder}/{name_of(number)}")
                        file.write(piece, end)
                        extent = new[digest] = Extent(digest, number, len(piece), end)
                        end += len(piece)
                        self.wrote += len(piece)
                    table.append(extent)
            if file is not None:
                file.sync()
        finally:
            if file is not None:
                file.close()
        if file is not None:
            self._storage.sync_folder(self._folder)
        return table

    def keep(self, key: str) -> None:
        """The checkpoint of that key is complete: its pieces may be named by others."""
        for extent in self._tables[key]:
            self._where[extent.digest] = extent

    def forget(self, key: str) -> None:
        """The checkpoint of that key is gone for good, or was never completed."""
        if self._tables.pop(key, None) is not None:
            self._look()

    def sweep(self) -> None:
        """Remove the segments that nothing names.

        Raises:
            OSError: if the system refuses; what is left is tried again the next time.
        """
        needed = {extent.segment for table in self._tables.values() for extent in table}
        for name in self._storage.names(self._folder):
            if number_of(name) not in needed:
                self._storage.remove(f"{self._folder}/{name}")


def read_buffer(storage: Storage, folder: str, extents: Iterator[Extent], length: int) -> bytearray:
    """Put a buffer together from the next pieces of a table.

    Raises:
        DamagedRunError: if a piece is missing or not what was written.
    """
    data = bytearray()
    while len(data) < length:
        extent = next(extents, None)
        if extent is None or extent.length != min(PIECE, length - len(data)):
            raise DamagedRunError(storage.path(folder), "a table does not have the pieces that a state needs")
        at = f"{folder}/{name_of(extent.segment)}"
        try:
            piece = storage.read(at, extent.at, extent.length)
        except FileNotFoundError:
            raise DamagedRunError(storage.path(at), "it is missing") from None
        if len(piece) != extent.length or sha256(piece).digest() != extent.digest:
            raise DamagedRunError(storage.path(at), f"the piece at byte {extent.at:,} is not what was written there")
        data += piece
    return data
