"""The folder of a run: what it is about, the sources of its cells, its journal, its checkpoints.

    <root>/<id>/run.json                       what the run is about; never changed
                notes.json                     what its user says about it: changed at any time, by anyone
                cells/*                        sources
                journal.rnj                    journal.py
                segments/*.seg                 pieces.py
                checkpoints/<ns>.<microstep>/  checkpoints.py
                lock, owner.json               lock.py

A folder that has its name is complete: it is made as `.<id>.<random>.tmp`, all of it is synced, then it is renamed, and the folder above is
synced; checkpoints likewise. So what a crash leaves half-written is named as such, and removed when the run is opened for writing
(`incomplete`); whatever else is not as it was written is damage, and one error says so.

Only the thread that writes may call what writes; reading may be done by any, of this process or another, meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from reactornb.durable.checkpoints import CheckpointInfo, Checkpoints
from reactornb.durable.errors import DamagedRunError, NoSuchRunError, RunExistsError
from reactornb.durable.journal import Journal, Tag
from reactornb.durable.lock import FolderLock, Owner, owner_of
from reactornb.durable.sealed import read_sealed, seal
from reactornb.durable.storage import Disk, Storage, check_name, is_name, read_whole, write_synced
from reactornb.runtime.codec import Encoded

__all__ = ["CheckpointInfo", "RunFolder", "run_folders", "runs_root"]

_FORMAT = 2  # 1: fingerprints and pieces by BLAKE2b


def runs_root() -> Path:
    """Where runs are kept: `$REACTORNB_RUNS`, or `runs` in the working directory."""
    return Path(os.environ.get("REACTORNB_RUNS") or "runs")


def run_folders(root: Path | None = None) -> list[Path]:
    """The folders of runs in a folder, by name; those that were made only in part are not among them."""
    root = runs_root() if root is None else root
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if is_name(entry.name) and entry.is_dir())
    except OSError:
        return []
    return [root / name for name in names if (root / name / "run.json").is_file()]


class RunFolder:
    """The folder of one run; `create` and `open` give it.

    Attributes:
        id: its name.
        path: where it is.
        journal: its journal.
        is_writable: whether this process may write it, and no other one.
    """

    def __init__(self, storage: Storage, name: str, lock: FolderLock | None = None) -> None:
        self.id = name
        self.path = storage.path(name)
        self.is_writable = False
        self.journal = Journal(storage, f"{name}/journal.rnj", self._journal_floor)
        self._storage = storage
        self._lock = lock
        self._about: dict[str, Any] | None = None
        self._checkpoints = Checkpoints(storage, name, self.journal)

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        about: Mapping[str, Any],
        cells: Mapping[str, str] | None = None,
        *,
        storage: Storage | None = None,
    ) -> Self:
        """Make the folder of a new run, open for writing.

        Args:
            root: the folder of all runs; made if there is none.
            name: of the run.
            about: what JSON can say.
            cells: sources by the names of their files.
            storage: tests'; None: the disk.

        Raises:
            RunExistsError: if there is a run of that name.
            RunNameError: for a name that no file can have everywhere.
            OSError: if the system refuses.
        """
        check_name(name)
        cells = {check_name(file): source for file, source in (cells or {}).items()}
        if storage is None:
            root.mkdir(parents=True, exist_ok=True)
            storage = Disk(root.resolve())
        at = beside = f".{name}.{secrets.token_hex(4)}.tmp"
        lock: FolderLock | None = None
        try:
            for folder in ("", "/cells", "/segments", "/checkpoints"):
                storage.make_folder(beside + folder)
            lock = storage.lock(beside)
            for file, source in cells.items():
                write_synced(storage, f"{beside}/cells/{file}", _bytes_of(source))
            content = {
                "format": _FORMAT,
                "about": dict(about),
                "cells": {
                    file: blake2b(_bytes_of(source), digest_size=32).hexdigest() for file, source in cells.items()
                },
            }
            write_synced(storage, f"{beside}/run.json", seal(content))
            Journal.create(storage, f"{beside}/journal.rnj")
            for folder in ("/cells", "/segments", "/checkpoints", ""):
                storage.sync_folder(beside + folder)
            try:
                storage.rename(beside, name)
            except OSError as error:
                if name in storage.names(""):
                    raise RunExistsError(storage.path(name)) from error
                raise
            at = name
            storage.sync_folder("")
            made = cls(storage, name, lock)
            made._begin()
        except BaseException:
            if lock is not None:
                lock.release()
            with contextlib.suppress(OSError):
                storage.remove(at)
            raise
        return made

    @classmethod
    def open(cls, path: Path, *, writable: bool = False, storage: Storage | None = None) -> Self:
        """Open the folder of an existing run.

        Args:
            path: the folder; may be a link to it.
            writable: lock it, remove what a crash left half-written, and make ready to append to the journal.
            storage: tests'; None: the disk.

        Raises:
            NoSuchRunError: if there is none.
            DamagedRunError: if it is damaged in a part that is read now: `run.json`; if writable, also the journal and the manifests.
            RunInUseError: if writable, and another one writes it.
            OSError: if the system refuses.
        """
        if storage is None:
            path = path.resolve()
            storage = Disk(path.parent)
        made = cls(storage, path.name)
        if path.name.startswith(".") or not storage.names(path.name):
            near = ", ".join(folder.name for folder in run_folders(path.parent)[:20])
            raise NoSuchRunError(path, f"Runs in {path.parent}: {near or 'none'}.")
        made._about = made._read_about()
        if writable:
            made._lock = storage.lock(path.name)
            try:
                made._begin()
            except BaseException:
                made.close()
                raise
        return made

    def _begin(self) -> None:
        if self._lock is not None:
            self._lock.sign(self.path)
        self._storage.sync_folder("")  # a process that made or renamed it may have been killed before it synced that
        self.journal.begin()
        self._checkpoints.begin()
        self.is_writable = True

    def _journal_floor(self) -> int:
        return self._checkpoints.journal_floor()

    def close(self) -> None:
        """Sync and close the journal, and unlock; more than once does nothing.

        Raises:
            OSError: if the last records could not be written; it is closed nevertheless.
        """
        self.is_writable = False
        self._checkpoints.end()
        try:
            self.journal.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def owner(self) -> Owner | None:
        """The process that writes it now, as far as can be told; None if there is none."""
        return owner_of(self.path)

    # -- what it is about --------------------------------------------------------------------------------------------

    @property
    def about(self) -> dict[str, Any]:
        """What was given to `create`.

        Raises:
            DamagedRunError: if it is not that.
        """
        if self._about is None:
            self._about = self._read_about()
        about: dict[str, Any] = self._about["about"]
        return about

    @property
    def cells(self) -> dict[str, str]:
        """Sources by file.

        Raises:
            DamagedRunError: if one is missing or is not what it was.
        """
        if self._about is None:
            self._about = self._read_about()
        sources = {}
        for name, digest in self._about["cells"].items():
            at = f"{self.id}/cells/{name}"
            data = read_whole(self._storage, at)
            if blake2b(data, digest_size=32).hexdigest() != digest:
                raise DamagedRunError(self._storage.path(at), "it is not what was written there")
            sources[name] = data.decode("utf-8", "surrogatepass")
        return sources

    def _read_about(self) -> dict[str, Any]:
        at = f"{self.id}/run.json"
        content = read_sealed(self._storage, at)
        cells = content.get("cells")
        written = content.get("format")
        if written != _FORMAT:
            older = type(written) is int and written < _FORMAT
            raise DamagedRunError(
                self._storage.path(at),
                f"it has format {written!r:.40}, and this reactornb reads {_FORMAT}",
                "An older reactornb wrote it, and can go on with it."
                if older
                else "Perhaps a newer reactornb wrote it.",
            )
        if type(content.get("about")) is not dict or type(cells) is not dict or not all(map(is_name, cells)):
            raise DamagedRunError(self._storage.path(at), "something is missing in it")
        return content

    @property
    def notes(self) -> dict[str, Any]:
        """What was given to the last `set_notes`; nothing before.

        Raises:
            DamagedRunError: if it is no JSON.
        """
        at = f"{self.id}/notes.json"
        if self._storage.size(at) is None:
            return {}
        try:
            notes = json.loads(read_whole(self._storage, at).decode())  # of bytes, json would guess the encoding
        except (ValueError, RecursionError) as error:
            raise DamagedRunError(
                self._storage.path(at), f"it is no JSON ({error})", "Correct or remove it."
            ) from error
        if type(notes) is not dict:
            raise DamagedRunError(self._storage.path(at), "it is no JSON object", "Correct or remove it.")
        return notes

    def set_notes(self, notes: Mapping[str, Any]) -> None:
        """Replace the notes: name tags and the like. Anyone may, also while the run is written; the last one counts.

        Raises:
            OSError: if the system refuses; the former ones are kept.
        """
        beside = f"{self.id}/notes.{secrets.token_hex(4)}.tmp"
        try:
            write_synced(self._storage, beside, json.dumps(dict(notes), indent=1).encode())
            self._storage.rename(beside, f"{self.id}/notes.json")
        except BaseException:
            with contextlib.suppress(OSError):
                self._storage.remove(beside)
            raise
        self._storage.sync_folder(self.id)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def checkpoints(self, *, skip_damaged: bool = False) -> list[CheckpointInfo]:
        """The complete checkpoints, by tag; of one tag, as they were made.

        Args:
            skip_damaged: leave out those whose manifest is damaged.

        Raises:
            DamagedRunError: at a damaged manifest.
        """
        return self._checkpoints.all(skip_damaged=skip_damaged)

    def incomplete(self) -> list[str]:
        """Folders of checkpoints that were being made or removed when something went wrong."""
        return self._checkpoints.incomplete()

    def write_checkpoint(
        self, tag: Tag, state: Encoded, extra: Mapping[str, Any] | None = None, name: str | None = None
    ) -> CheckpointInfo:
        """Write a checkpoint; when this returns, it outlives the machine, and so does the journal up to now.

        Args:
            tag: time in ns and microstep.
            state: its buffers must not change before this returns.
            extra: what JSON can say.
            name: what the user calls it: any text.

        Raises:
            CheckpointNotWrittenError: if the disk is full or broken; the earlier ones are as they were.
        """
        return self._checkpoints.write(tag, state, extra, name)

    def read_checkpoint(self, info: CheckpointInfo) -> Encoded:
        """The state of a checkpoint.

        Raises:
            DamagedRunError: if a part of it is missing or is not what was written.
        """
        return self._checkpoints.read(info)

    def prune(self, keep: int = 3) -> None:
        """Remove all checkpoints but the newest and the named ones.

        Args:
            keep: how many of those without a name stay.

        Raises:
            OSError: if the system refuses; nothing that stays is touched.
        """
        self._checkpoints.prune(keep)

    def remove_checkpoint(self, info: CheckpointInfo) -> None:
        """Remove one.

        Raises:
            OSError: if the system refuses.
        """
        self._checkpoints.remove(info)


def _bytes_of(source: str) -> bytes:
    return source.encode("utf-8", "surrogatepass")
