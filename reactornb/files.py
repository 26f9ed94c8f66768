"""Writes files that a user asked for: completely or not at all, with an error of one line.

Every such file is written through `whole`. This module knows nothing of the contents.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from reactornb.errors import ReactorError

__all__ = ["FileError", "check_writable", "make_folder", "whole", "write"]


class FileError(ReactorError, OSError):
    """A file cannot be written; what was there before is unchanged.

    Attributes:
        path: the file.
        errno: the system's number for the reason, None if it gave none.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error) or type(error).__name__
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        super().__init__(f"cannot write {path}: {reason}{where}. No part of it was left there.")
        self.path = path
        self.errno = error.errno


@contextlib.contextmanager
def whole(path: str | Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name when the block has ended, or not at all.

    The data goes to a hidden file in the same folder, which is created if necessary. At the end of the block the hidden file is synced and
    replaces the file of that name; after an exception or an interrupt it is removed. A process that is killed meanwhile leaves the hidden
    file, never a part under the file's name. What is no regular file (a pipe, `/dev/stdout`) is written to directly.

    Args:
        path: the file; for a link, the file that it leads to.
        mode: "wb", or "w" for text.
        options: as for `open`; text is UTF-8 unless they say otherwise.

    Raises:
        FileError: if the system refuses any part of it: no such folder, no permission, a full disk.
    """
    path = Path(path)
    if "b" not in mode:
        options = {"encoding": "utf-8", **options}
    with _named(path):
        target, kept = _target(path)
        if target is None:
            with path.open(mode, **options) as file:
                yield file
            return
        beside = _beside(target)
        try:
            with os.fdopen(_make(beside), mode, **options) as file:
                yield file
                file.flush()
                if kept is not None and hasattr(os, "fchmod"):
                    with contextlib.suppress(OSError):  # a file system without permissions
                        os.fchmod(file.fileno(), kept)
                os.fsync(file.fileno())
            beside.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise


def write(path: str | Path, content: str | bytes) -> Path:
    """Write a file as `whole` does, and return its path.

    Raises:
        FileError: likewise.
    """
    with whole(path, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)
    return Path(path)


def check_writable(path: str | Path) -> None:
    """Raise before long work if its file could not be written afterwards; leaves nothing but the folder.

    Raises:
        FileError: if `whole` would raise it.
    """
    path = Path(path)
    with _named(path):
        target, _ = _target(path)
        if target is not None:
            beside = _beside(target)
            try:
                os.close(_make(beside))
            finally:
                with contextlib.suppress(FileNotFoundError):
                    beside.unlink()


def make_folder(path: str | Path) -> Path:
    """Create a folder and those above it, unless they exist.

    Raises:
        FileError: if the system refuses.
    """
    path = Path(path)
    with _named(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(path, error) from error


def _target(path: Path) -> tuple[Path | None, int | None]:
    """The regular file to replace, and the permissions of the existing one; (None, None) for what is written to directly."""
    try:
        there = path.stat()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(os.path.realpath(path)), None
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(there.st_mode):
        return None, None
    if not os.access(path, os.W_OK):  # replacing it would need the folder's permission only
        raise PermissionError(errno.EACCES, "it may not be changed", str(path))
    return Path(os.path.realpath(path)), stat.S_IMODE(there.st_mode)


def _beside(target: Path) -> Path:
    """An unused name in the folder of a file, short enough for any file system."""
    return target.with_name(f".{target.name[:60]}.{secrets.token_hex(4)}.tmp")


def _make(beside: Path) -> int:
    """Create an empty file with the permissions of any new file, and open it for writing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return os.open(beside, flags, 0o666)
