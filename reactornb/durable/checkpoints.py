"""The checkpoints of a run.

    checkpoints/<ns>.<microstep>/  state.rnb     a value of the codec without its large buffers
                                   pieces.bin    the table of these: pieces.py
                                   manifest.json tag, name, and what belongs to it: lengths and hashes of the two, and of itself

It is made as `<tag>.tmp`: segments, state, table and manifest are written and synced, then the folder, which is renamed, and the folder
above synced. Before that the journal is synced, and what the manifest says of its length tells later that none of that is missing. A
second one at the same tag is called `<ns>.<microstep>.1`.

One that is removed is renamed to `<tag>.old` first, and that synced, before a file of it or a segment goes.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from reactornb.durable.errors import CheckpointNotWrittenError, DamagedRunError
from reactornb.durable.journal import Journal, Tag
from reactornb.durable.pieces import PIECE, Extent, Pieces, pack, read_buffer, unpack
from reactornb.durable.sealed import read_sealed, seal
from reactornb.durable.storage import Storage, read_whole, write_synced
from reactornb.errors import MalformedDataError
from reactornb.runtime.codec import Encoded

__all__ = ["CheckpointInfo", "Checkpoints"]

_FORMAT = 2
_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str, type(None)),
    "nbytes": (int,),
    "wrote": (int,),
    "wall_time": (float, int),
    "journal": (int,),
    "extra": (dict,),
}
_TAG_FOLDER = re.compile(r"(-1|0|[1-9]\d{0,18})\.(-1|0|[1-9]\d{0,18})(?:\.([1-9]\d{0,8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A complete checkpoint.

    Attributes:
        tag: time in ns and microstep.
        name: what the user called it; such a one is kept. None for those that are made from time to time.
        path: its folder.
        nbytes: size of the state.
        wrote: bytes of it that were new.
        wall_time: when it was made, in seconds since 1970.
        journal: how many bytes of the journal were synced before.
        extra: what was given with it.
    """

    tag: Tag
    name: str | None
    path: Path
    nbytes: int
    wrote: int
    wall_time: float
    journal: int
    extra: dict[str, Any] = field(repr=False)


class Checkpoints:
    """The checkpoints of one run. Whoever writes calls `begin` first, and is one thread.

    Args:
        storage: where they are.
        run: folder of the run.
        journal: its journal.
    """

    def __init__(self, storage: Storage, run: str, journal: Journal) -> None:
        self._storage = storage
        self._folder = f"{run}/checkpoints"
        self._segments = f"{run}/segments"
        self._journal = journal
        self._pieces: Pieces | None = None

    def begin(self) -> None:
        """Make ready to write: remove what a crash left.

        Raises:
            DamagedRunError: at a damaged manifest or table.
            OSError: if the system refuses.
        """
        # A process that was killed may not have synced the names that are seen here; what is removed below relies on them.
        self._storage.sync_folder(self._folder)
        infos = self.all()
        for name in self.incomplete():
            self._storage.remove(f"{self._folder}/{name}")
        self._pieces = Pieces(self._storage, self._segments, [(info.path.name, self._table(info)[1]) for info in infos])
        self._pieces.sweep()

    def end(self) -> None:
        """Write no more."""
        self._pieces = None

    def all(self, *, skip_damaged: bool = False) -> list[CheckpointInfo]:
        """The complete checkpoints, by tag; of one tag, as they were made.

        Args:
            skip_damaged: leave out those whose manifest is damaged.

        Raises:
            DamagedRunError: at a damaged manifest.
        """
        found = []
        for name in self._storage.names(self._folder):
            if (match := _TAG_FOLDER.fullmatch(name)) is not None:
                try:
                    info = self._info(name, (int(match[1]), int(match[2])))
                except DamagedRunError:
                    if self._is_gone(name) or skip_damaged:
                        continue
                    raise
                found.append((info.tag, int(match[3] or 0), info))
        return [info for _, _, info in sorted(found, key=lambda entry: entry[:2])]

    def _is_gone(self, name: str) -> bool:
        """Whether a checkpoint was removed while it was read."""
        return name not in self._storage.names(self._folder)

    def incomplete(self) -> list[str]:
        """Folders of checkpoints that were being made or removed when something went wrong."""
        return [name for name in self._storage.names(self._folder) if name.endswith((".tmp", ".old"))]

    def _manifest(self, name: str) -> dict[str, Any]:
        return read_sealed(self._storage, f"{self._folder}/{name}/manifest.json")

    def _info(self, name: str, tag: Tag) -> CheckpointInfo:
        content = self._manifest(name)
        path = self._storage.path(f"{self._folder}/{name}")
        if content.get("format") != _FORMAT or content.get("tag") != list(tag):
            raise DamagedRunError(
                path / "manifest.json", "it is of another checkpoint, or of another version of reactornb"
            )
        fields: dict[str, Any] = {field: content.get(field) for field in _FIELDS}
        if any(type(fields[field]) not in types for field, types in _FIELDS.items()):
            raise DamagedRunError(path / "manifest.json", "something is missing in it")
        return CheckpointInfo(tag=tag, path=path, **fields)

    def journal_floor(self) -> int:
        """How much of the journal was synced before the checkpoints that there are."""
        return max((info.journal for info in self.all(skip_damaged=True)), default=0)

    def write(
        self, tag: Tag, state: Encoded, extra: Mapping[str, Any] | None = None, name: str | None = None
    ) -> CheckpointInfo:
        """See `RunFolder.write_checkpoint`."""
        pieces = self._pieces
        if pieces is None:
            raise ValueError("the folder is not open for writing.")
        folder = self._folder
        there = set(self._storage.names(folder))
        plain = f"{tag[0]}.{tag[1]}"
        number = 0
        while (final := plain if not number else f"{plain}.{number}") in there:
            number += 1
        beside = f"{folder}/{final}.tmp"
        is_renamed = False
        try:
            journal = self._journal.sync()
            self._storage.remove(beside)
            self._storage.make_folder(beside)
            large = [(i, buffer) for i, buffer in enumerate(state.buffers) if buffer.nbytes >= PIECE]
            table = pack(pieces.add(final, (buffer for _, buffer in large)))
            rest = Encoded(state.tree, tuple(b for b in state.buffers if b.nbytes < PIECE)).to_bytes()
            content = {
                "format": _FORMAT,
                "tag": list(tag),
                "name": name,
                "nbytes": state.nbytes,
                "wrote": pieces.wrote + len(rest) + len(table),
                "wall_time": time.time(),
                "journal": journal,
                "extra": dict(extra or {}),
                "large": [[i, buffer.nbytes] for i, buffer in large],
                "files": {
                    file: {"bytes": len(data), "blake2b": blake2b(data, digest_size=32).hexdigest()}
                    for file, data in (("state.rnb", rest), ("pieces.bin", table))
                },
            }
            write_synced(self._storage, f"{beside}/state.rnb", rest)
            write_synced(self._storage, f"{beside}/pieces.bin", table)
            write_synced(self._storage, f"{beside}/manifest.json", seal(content))
            self._storage.sync_folder(beside)
            self._storage.rename(beside, f"{folder}/{final}")
            is_renamed = True
            self._storage.sync_folder(folder)
        except BaseException as error:
            if is_renamed:  # it is complete, but may be lost with the machine: what it names has to stay
                pieces.keep(final)
            else:
                with contextlib.suppress(OSError):
                    self._storage.remove(beside)
                with contextlib.suppress(OSError):
                    pieces.forget(final)
                    pieces.sweep()
            if isinstance(error, OSError):
                raise CheckpointNotWrittenError(self._storage.path(f"{folder}/{final}"), error) from error
            raise
        pieces.keep(final)
        return self._info(final, tag)

    def read(self, info: CheckpointInfo) -> Encoded:
        """The state of a checkpoint.

        Raises:
            DamagedRunError: if a part of it is missing or is not what was written.
        """
        content, table = self._table(info)
        folder = f"{self._folder}/{info.path.name}"
        rest = self._checked(f"{folder}/state.rnb", content)
        damaged = DamagedRunError(info.path / "manifest.json", "it does not fit its state")
        try:
            encoded = Encoded.from_bytes(rest)
            large = {int(i): int(length) for i, length in content["large"]}
        except MalformedDataError as error:
            raise DamagedRunError(info.path / "state.rnb", str(error)) from error
        except (TypeError, ValueError, KeyError) as error:
            raise damaged from error
        extents = iter(table)
        small = iter(encoded.buffers)
        buffers: list[memoryview] = []
        for i in range(len(large) + len(encoded.buffers)):
            if i in large:
                data = read_buffer(self._storage, self._segments, extents, large[i])
                buffers.append(memoryview(data))
            elif (buffer := next(small, None)) is not None:
                buffers.append(buffer)
        if len(buffers) != len(large) + len(encoded.buffers) or next(extents, None) is not None:
            raise damaged
        return Encoded(encoded.tree, tuple(buffers))

    def _table(self, info: CheckpointInfo) -> tuple[dict[str, Any], list[Extent]]:
        """The manifest, and where the pieces of the state are."""
        content = self._manifest(info.path.name)
        data = self._checked(f"{self._folder}/{info.path.name}/pieces.bin", content)
        try:
            return content, unpack(data)
        except ValueError as error:
            raise DamagedRunError(info.path / "pieces.bin", str(error)) from error

    def _checked(self, at: str, content: dict[str, Any]) -> bytes:
        """A file of a checkpoint that is what its manifest says."""
        data = read_whole(self._storage, at)
        try:
            said = content["files"][at.rpartition("/")[2]]
            is_right = said["bytes"] == len(data) and said["blake2b"] == blake2b(data, digest_size=32).hexdigest()
        except (KeyError, TypeError):
            is_right = False
        if not is_right:
            raise DamagedRunError(self._storage.path(at), "it is not what was written there")
        return data

    def prune(self, keep: int = 3) -> None:
        """Remove all checkpoints but the newest and the named ones.

        Args:
            keep: how many of those without a name stay.

        Raises:
            OSError: if the system refuses; nothing that stays is touched.
        """
        unnamed = [info for info in self.all() if info.name is None]
        self._remove(unnamed[: max(len(unnamed) - max(keep, 1), 0)])

    def remove(self, info: CheckpointInfo) -> None:
        """Remove one.

        Raises:
            OSError: if the system refuses.
        """
        self._remove([info])

    def _remove(self, infos: list[CheckpointInfo]) -> None:
        pieces = self._pieces
        if pieces is None:
            raise ValueError("the folder is not open for writing.")
        folder = self._folder
        if not infos:
            return
        for info in infos:
            self._storage.rename(f"{folder}/{info.path.name}", f"{folder}/{info.path.name}.old")
        self._storage.sync_folder(folder)
        for info in infos:
            pieces.forget(info.path.name)
            self._storage.remove(f"{folder}/{info.path.name}.old")
        pieces.sweep()
