r"""The journal of a run: records one behind the other, of which a crash costs at most the last ones that were not synced.

    bytes 0..7    b"\x93RNJ", version 1 (2 bytes), 0 (2 bytes)                all numbers are little-endian
    each record   b"RNJ!"
                  crc32 of all that follows in the record, and of where the record begins
                  crc32 of the record before, 0 for the first
                  length of the body
                  tag: time in ns, microstep (signed, 8 bytes each)
                  how much of the file was synced when the record was written (8 bytes)
                  length of the kind (1 byte), how the body is encoded (1 byte: 0 bytes, 1 a value of the codec), 0 (2 bytes)
                  kind (ASCII), body

So a record is known for what it is, where it is, and behind which one: neither what an earlier crash left at the end of the file nor a copy
from elsewhere passes. A bad record at the end is what a crash leaves, and the journal ends before it; a bad one of which a later one
knows that it was synced is damage, and an error.

What the kinds mean is said by those who write them (durable/keeping.py); two are this module's: `gap` stands where records are
missing since the disk was full, and its body says how many.

# One thread reads and one writes, or many: _lock guards all that is below, but for the syncing itself, which goes on beside appends.
# _base       behind the last record that was synced; changed by the thread that has _syncing, with _lock
# _pending    the records after it (earlier ones may still be in it): kept until they are synced, since a failed sync may lose them
# _written    how far the file has been written
#
# Each step is one assignment or one `append`, so that an exception that comes from outside between two of them, as Ctrl-C does in the
# main thread, leaves a chain of whole records.
"""

from __future__ import annotations

import contextlib
import re
import struct
import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reactornb.durable.errors import DamagedRunError
from reactornb.durable.storage import OpenFile, Storage, write_synced
from reactornb.runtime.codec import Classes, decode, encode

__all__ = ["GAP", "Journal", "Position", "Record"]

GAP = "gap"

_HEADER = b"\x93RNJ\x01\x00\x00\x00"
_MAGIC = b"RNJ!"
_head = struct.Struct("<4sIIIqqQBBH")
_KIND = re.compile(r"[a-z][a-z_]{0,30}")
_BLOCK = 1 << 20
_MOST_BODY = 1 << 30
_MOST_PENDING = 64 << 20  # bytes kept while the disk is full

Buffer = bytes | bytearray | memoryview
Tag = tuple[int, int]


class Position(NamedTuple):
    """Between two records of a journal: from here one may read on.

    Attributes:
        at: bytes from the start of the file.
        crc: of the record before.
    """

    at: int
    crc: int


START = Position(len(_HEADER), 0)


@dataclass(frozen=True, slots=True)
class Record:
    """A record.

    Attributes:
        kind: what it is.
        tag: time in ns and microstep.
        body: its bytes.
        is_value: whether the body is a value of the codec.
        position: behind it.
    """

    kind: str
    tag: Tag
    body: bytes = field(repr=False)
    is_value: bool
    position: Position

    def value(self, classes: Classes | None = None) -> Any:
        """The body decoded; of a record that was appended as bytes, these.

        Raises:
            MalformedDataError: if it names classes that were not declared.
        """
        return decode(self.body, classes) if self.is_value else self.body


class Journal:
    """The journal of one run.

    Args:
        storage: where it is.
        at: the file.
        floor: gives how much of it is known to have been synced, by a checkpoint.

    Attributes:
        failure: why the last attempt to write failed, None after a success; what was appended is kept and written with the next attempt.
        torn: after all records were read: how many bytes at the end are what a crash left.
    """

    def __init__(self, storage: Storage, at: str, floor: Callable[[], int] = lambda: 0) -> None:
        self.failure: OSError | None = None
        self.torn = 0
        self._storage, self._at, self._floor = storage, at, floor
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._file: OpenFile | None = None
        self._base = START
        self._pending: list[tuple[bytes, Position]] = []  # each with the position behind it
        self._written = START.at
        self._missing = 0  # records that were not taken because the disk was full
        self._last = (0, 0)  # tag of the last one of them

    @staticmethod
    def create(storage: Storage, at: str) -> None:
        """Make an empty one, synced; its name is not."""
        write_synced(storage, at, _HEADER)

    # -- writing ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make ready to append behind the last good record; what a crash left after it is cut off.

        Raises:
            DamagedRunError: if it is damaged.
            OSError: if the system refuses.
        """
        last = START
        for record in self.records():
            last = record.position
        file = self._storage.open(self._at)
        try:
            if self.torn:
                file.truncate(last.at)
            file.sync()  # what another process wrote and did not sync counts from now on
        except BaseException:
            file.close()
            raise
        with self._lock:
            self._base, self._written = last, last.at
            self._file = file

    def append(self, kind: str, tag: Tag, body: Any) -> int:
        """Add a record: given to the system at once, so that it outlives the process; `sync` lets it outlive the machine.

        Never raises for a disk that is full or broken, and then keeps the record (see `failure`). Any thread.

        Args:
            kind: lower-case letters and `_`.
            tag: time in ns and microstep.
            body: bytes, or a value of the codec's.

        Returns:
            The file's length with it: `sync() >= that` means that it is synced.

        Raises:
            UnencodableValueError: if the body cannot be encoded.
        """
        if _KIND.fullmatch(kind) is None:
            raise ValueError(f"{kind!r} is no kind of a record: lower-case letters and '_', 31 at most.")
        is_value = not isinstance(body, (bytes, bytearray, memoryview))
        data = encode(body).to_bytes() if is_value else bytes(body)
        if len(data) > _MOST_BODY:
            raise ValueError(f"a record of the journal has {_MOST_BODY:,} bytes at most, and this one {len(data):,}.")
        with self._lock:
            if self._file is None:
                raise ValueError("the journal is not open for writing.")
            if self.failure is not None and self._waiting() + len(data) > _MOST_PENDING:
                self._missing += 1
                self._last = tag
                return self._end().at + 1  # not synced before the gap is
            if self._missing:
                self._add_gap(tag)
            end = self._add(kind, tag, data, is_value)
            if self.failure is None:
                try:
                    self._write()
                except OSError as error:
                    self.failure = error
            is_much = self._waiting() > _MOST_PENDING and self.failure is None
        if is_much:
            with contextlib.suppress(OSError):  # it is in `failure`
                self.sync()
        return end

    # These are called with _lock.

    def _end(self) -> Position:
        """Behind the last record."""
        return self._pending[-1][1] if self._pending else self._base

    def _waiting(self) -> int:
        """How many bytes are not synced."""
        return max(self._end().at - self._base.at, 0)

    def _add(self, kind: str, tag: Tag, body: bytes, is_value: bool) -> int:
        name, last = kind.encode(), self._end()
        head = _head.pack(_MAGIC, 0, last.crc, len(body), *tag, self._base.at, len(name), is_value, 0)[8:]
        crc = _crc_of(last.at, head, name, body)
        record = b"".join((_MAGIC, crc.to_bytes(4, "little"), head, name, body))
        end = last.at + len(record)
        self._pending.append((record, Position(end, crc)))
        return end

    def _add_gap(self, tag: Tag) -> None:
        self._add(GAP, tag, encode({"records": self._missing}).to_bytes(), is_value=True)
        self._missing = 0

    def _write(self) -> None:
        assert self._file is not None
        new = []
        for record, end in reversed(self._pending):
            if end.at <= self._written:
                break
            new.append(record)
        if new:
            self._file.write(b"".join(reversed(new)), self._written)
            self._written = self._end().at

    def sync(self) -> int:
        """Let all that was appended before outlive the machine. Any thread.

        Returns:
            How much of the file is synced.

        Raises:
            OSError: if the disk is full or broken; the next call tries all of it again.
        """
        with self._syncing:
            try:
                with self._lock:
                    if self._file is None:
                        raise ValueError("the journal is not open for writing.")
                    self._write()
                    if self._missing:
                        self._add_gap(self._last)
                        self._write()
                    target, file = self._end(), self._file
                    nothing_new = target == self._base
                if not nothing_new:
                    file.sync()
            except OSError as error:
                with self._lock:
                    self.failure = error
                    self._written = self._base.at
                raise
            with self._lock:
                self.failure = None
                self._base = target
                del self._pending[: bisect_right(self._pending, target.at, key=lambda entry: entry[1].at)]
            return target.at

    @property
    def is_synced(self) -> bool:
        """Whether nothing was appended since it was synced."""
        with self._lock:
            return self._end() == self._base and not self._missing

    @property
    def synced(self) -> int:
        """How much of the file is synced, in bytes."""
        with self._lock:
            return self._base.at

    def close(self) -> None:
        """Sync and close; more than once does nothing.

        Raises:
            OSError: if the last records could not be written; it is closed nevertheless.
        """
        with self._lock:
            if self._file is None:
                return
        try:
            self.sync()
        finally:
            with self._syncing, self._lock:
                file, self._file = self._file, None
                if file is not None:
                    file.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    def records(self, after: Position = START) -> Iterator[Record]:
        """The records, oldest first; they end before the first one that a crash left incomplete (see `torn`).

        A journal may be read while another process, or this one, writes it.

        Args:
            after: where to begin: `Record.position` of one that was read before.

        Raises:
            DamagedRunError: at a record that was synced and is not what was written, after those before it; if records are missing.
        """
        self.torn = 0
        floor = self._floor()  # before reading: what is synced meanwhile is not missing
        reader = _Reader(self._storage, self._at)
        reader.check_header()
        place = after
        while (record := reader.record(place)) is not None:
            yield record
            place = record.position
        left = reader.size() - place.at
        if left > 0 and (reader.is_known_to_be_synced(place.at) or place.at < floor):
            if (record := _Reader(self._storage, self._at).record(place)) is None:  # it may have been written meanwhile
                raise self._damaged(f"the record at byte {place.at:,} is not what was written there")
            yield record
            yield from self.records(record.position)
            return
        if place.at < floor:
            raise self._damaged(f"it ends at byte {place.at:,}, and a checkpoint knows of {floor:,}")
        self.torn = max(left, 0)

    def _damaged(self, reason: str) -> DamagedRunError:
        return DamagedRunError(self._storage.path(self._at), reason)


class _Reader:
    """Reads blocks of a file that may grow."""

    def __init__(self, storage: Storage, at: str) -> None:
        self._storage, self._at = storage, at
        self._start, self._block = 0, b""

    def check_header(self) -> None:
        try:
            header = self._bytes(0, len(_HEADER))
        except FileNotFoundError:
            raise DamagedRunError(self._storage.path(self._at), "it is missing") from None
        if header != _HEADER:
            raise DamagedRunError(self._storage.path(self._at), "it does not begin as a journal of version 1 does")

    def size(self) -> int:
        return self._storage.size(self._at) or 0

    def _bytes(self, at: int, count: int) -> bytes:
        offset = at - self._start
        if offset < 0 or offset + count > len(self._block):
            self._block, self._start = self._storage.read(self._at, at, max(count, _BLOCK)), at
            offset = 0
        return self._block[offset : offset + count]

    def record(self, place: Position) -> Record | None:
        """The record there, None if there is no whole one behind that one."""
        return self._record(place.at, place.crc)

    def _record(self, at: int, before: int | None) -> Record | None:
        head = self._bytes(at, _head.size)
        if len(head) < _head.size or head[:4] != _MAGIC:
            return None
        _, crc, previous, length, time, microstep, _, named, is_value, zero = _head.unpack(head)
        if length > _MOST_BODY or is_value > 1 or zero or (before is not None and previous != before):
            return None
        if length > _BLOCK and at + _head.size + named + length > self.size():
            return None  # before memory is made ready for it
        data = self._bytes(at + _head.size, named + length)
        if len(data) < named + length or _crc_of(at, head[8:], data) != crc or not data[:named].isascii():
            return None
        end = Position(at + _head.size + named + length, crc)
        return Record(data[:named].decode("ascii"), (time, microstep), data[named:], bool(is_value), end)

    def is_known_to_be_synced(self, bad: int) -> bool:
        """Whether a later record says that the file was synced beyond a place."""
        at, tail = bad + 1, b""
        while block := self._storage.read(self._at, at, _BLOCK):
            data, start = tail + block, at - len(tail)
            found = data.find(_MAGIC)
            while found >= 0:
                if self._record(start + found, None) is not None:
                    synced = int(_head.unpack(self._bytes(start + found, _head.size))[6])
                    if synced > bad:
                        return True
                found = data.find(_MAGIC, found + 1)
            tail, at = data[-3:], at + len(block)
        return False


def _crc_of(at: int, *parts: Buffer) -> int:
    crc = zlib.crc32(at.to_bytes(8, "little"))
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc
