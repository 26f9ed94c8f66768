"""The few things that a run asks of a file system, in one place: so that tests can put a file system there that loses what was not synced.

Files are named by paths relative to a root, with `/` between names; every name is checked (`check_name`), and no link below the
root is followed. Nothing here knows what the files contain.

What a crash may do, and so what callers reckon with (tests/durable/crashing.py does all of it): of the writes to a file since it was last
synced any may be lost, whole or in part; of the names that were made, renamed or removed in a folder since that folder was last
synced any may be lost. A rename within one folder happens or does not. `sync` of a file says nothing about its name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, override

from reactornb.durable.errors import DamagedRunError, RunNameError
from reactornb.durable.lock import FolderLock

__all__ = ["Disk", "OpenFile", "Storage", "check_name", "is_name", "read_whole", "write_synced"]

Buffer = bytes | bytearray | memoryview

_NAME = re.compile(r"\w[\w.+-]{0,99}")
_AT_ONCE = 1 << 24  # the most that one call of the system writes


def is_name(name: object) -> bool:
    """Whether this may be the name of a run or of a file in it."""
    return type(name) is str and _NAME.fullmatch(name) is not None and not name.endswith((".tmp", ".old", "."))


def check_name(name: object) -> str:
    """The name, if it may be one.

    Raises:
        RunNameError: if not.
    """
    if not is_name(name):
        raise RunNameError(name)
    assert isinstance(name, str)
    return name


class OpenFile(Protocol):
    """A file that is open for writing. One thread at a time, but for `sync`, during which another one may write."""

    def write(self, data: Buffer, at: int) -> None:
        """Put bytes at a position; where it raises OSError, any part of them may be there."""

    def truncate(self, size: int) -> None:
        """Cut the file off."""

    def sync(self) -> None:
        """What was written before survives a crash from now on. After an OSError it must be written again."""

    def close(self) -> None:
        """Close it; it is not synced."""


class Storage(Protocol):
    """A tree of files. Every method raises OSError where the system refuses."""

    def path(self, at: str) -> Path:
        """The file as a path, for messages."""

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; nothing if there is no such folder."""

    def size(self, at: str) -> int | None:
        """Bytes of a regular file; None if there is none of that name."""

    def read(self, at: str, start: int = 0, length: int | None = None) -> bytes:
        """Some of a file; fewer bytes where it ends.

        Raises:
            FileNotFoundError: if there is none.
            DamagedRunError: if it, or a folder above it, is a link or no file.
        """

    def create(self, at: str) -> OpenFile:
        """Make a new file; its name survives a crash once its folder is synced."""

    def open(self, at: str) -> OpenFile:
        """Open an existing file for writing."""

    def make_folder(self, at: str) -> None:
        """Make a new folder; likewise."""

    def rename(self, at: str, to: str) -> None:
        """Give a file or folder another name in its folder. A file of that name is replaced, a folder with something in it is not."""

    def remove(self, at: str) -> None:
        """Remove a file, or a folder with all that is in it. Nothing happens if there is none."""

    def sync_folder(self, at: str) -> None:
        """The names in a folder survive a crash from now on."""

    def lock(self, folder: str) -> FolderLock | None:
        """Lock a folder for this process, until it is released or the process ends.

        Raises:
            RunInUseError: if someone else holds it.
        """


def write_synced(storage: Storage, at: str, data: bytes) -> None:
    """Make a file with that content, synced; its name is not."""
    file = storage.create(at)
    try:
        file.write(data, 0)
        file.sync()
    finally:
        file.close()


def read_whole(storage: Storage, at: str) -> bytes:
    """All of a file.

    Raises:
        DamagedRunError: if there is none.
    """
    try:
        return storage.read(at)
    except FileNotFoundError:
        raise DamagedRunError(storage.path(at), "it is missing") from None


class Disk(Storage):
    """Storage on the disk.

    Args:
        root: a folder; it and the folders above it may be links.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.fspath(root)

    @override
    def path(self, at: str) -> Path:
        return self.root / at if at else self.root

    def _at(self, at: str) -> str:
        """The same as text: a table of 1,000 runs would spend half its time on path objects."""
        return f"{self._root}/{at}" if at else self._root

    @override
    def names(self, folder: str) -> list[str]:
        try:
            self._check_folders(folder, whole=True)
            return sorted(os.listdir(self._at(folder)))  # noqa: PTH208 - names only, no objects
        except (FileNotFoundError, NotADirectoryError):
            return []

    @override
    def size(self, at: str) -> int | None:
        try:
            self._check_folders(at)
            there = os.lstat(self._at(at))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return there.st_size if stat.S_ISREG(there.st_mode) else None

    @override
    def read(self, at: str, start: int = 0, length: int | None = None) -> bytes:
        self._check_folders(at)
        try:
            # Without O_NONBLOCK a pipe of that name would wait for a writer.
            file = os.open(self._at(at), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DamagedRunError(self.path(at), "it is a link") from error
            if error.errno in (errno.ENXIO, errno.ENOTDIR):
                raise DamagedRunError(self.path(at), "it is no file") from error
            raise
        try:
            there = os.fstat(file)
            if not stat.S_ISREG(there.st_mode):
                raise DamagedRunError(self.path(at), "it is no file")
            left = max(there.st_size - start, 0)
            return _read(file, start, left if length is None else min(left, length))
        finally:
            os.close(file)

    @override
    def create(self, at: str) -> OpenFile:
        self._check_folders(at)
        return _DiskFile(os.open(self.path(at), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))

    @override
    def open(self, at: str) -> OpenFile:
        self._check_folders(at)
        return _DiskFile(os.open(self.path(at), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))

    @override
    def make_folder(self, at: str) -> None:
        self._check_folders(at)
        self.path(at).mkdir()

    @override
    def rename(self, at: str, to: str) -> None:
        self._check_folders(at)
        self.path(at).rename(self.path(to))

    @override
    def remove(self, at: str) -> None:
        self._check_folders(at)
        path = self.path(at)
        try:
            there = path.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode):
            import shutil  # not needed by runs that never prune

            shutil.rmtree(path)  # follows no link
        else:
            path.unlink()

    @override
    def sync_folder(self, at: str) -> None:
        file = os.open(self.path(at), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _sync_of_folders():
                os.fsync(file)
        finally:
            os.close(file)

    @override
    def lock(self, folder: str) -> FolderLock:
        return FolderLock(self.path(folder))

    def _check_folders(self, at: str, *, whole: bool = False) -> None:
        """No folder between the root and a file is a link."""
        names = at.split("/") if at else []
        folder = self._root
        for name in names if whole else names[:-1]:
            folder = f"{folder}/{name}"
            if stat.S_ISLNK(os.lstat(folder).st_mode):
                raise DamagedRunError(Path(folder), "it is a link, which is not followed")


class _DiskFile(OpenFile):
    def __init__(self, file: int) -> None:
        self._file = file

    @override
    def write(self, data: Buffer, at: int) -> None:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            wrote = os.pwrite(self._file, view[done : done + _AT_ONCE], at + done)
            if not wrote:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done += wrote

    @override
    def truncate(self, size: int) -> None:
        os.ftruncate(self._file, size)

    @override
    def sync(self) -> None:
        _fsync(self._file)

    @override
    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _fsync(file: int) -> None:
    import fcntl

    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync leaves the data in the disk's own cache
    if full is not None:
        try:
            fcntl.fcntl(file, full)
        except OSError:  # a file system without it
            pass
        else:
            return
    os.fsync(file)


@contextlib.contextmanager
def _sync_of_folders() -> Iterator[None]:
    """Some file systems (of networks, of other systems) cannot sync folders; their names are written in order anyway."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _read(file: int, start: int, length: int) -> bytes:
    data = os.pread(file, length, start)
    if len(data) == length or not data:
        return data
    parts = [data]
    length -= len(data)
    while length and (data := os.pread(file, length, start + sum(map(len, parts)))):
        parts.append(data)
        length -= len(data)
    return b"".join(parts)
