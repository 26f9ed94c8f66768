"""One process at a time writes the folder of a run.

The file `lock` is locked by the system (`lockf`), which lets go of it when the process ends, however it ends: so what a killed one left is
simply taken over. A child that was forked does not have it. `owner.json` beside it says who: process, the time it started, machine. It
is what others read, and what decides on file systems without locks: there a folder is free if its owner is a process of this
machine that is gone, or whose number another one has now.

# _held   the locks of this process, since the system never refuses one that the same process holds; changed under _lock
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import threading
from pathlib import Path
from typing import Any, NamedTuple

from reactornb.durable.errors import RunInUseError

__all__ = ["FolderLock", "Owner", "owner_of"]

_lock = threading.Lock()
_held: set[tuple[int, int]] = set()

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EOPNOTSUPP}


class Owner(NamedTuple):
    """A process that writes a folder.

    Attributes:
        pid: its number.
        started: when it started, as the system counts; "" if unknown.
        host: name of the machine.
        boot: identifies the machine since it was switched on; "" if unknown.
    """

    pid: int
    started: str
    host: str
    boot: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(os.getpid(), _started(os.getpid()), platform.node(), _boot())

    def is_gone(self) -> bool:
        """Whether it certainly runs no more; of a process on another machine that is not known."""
        if self.host != platform.node():
            return False
        if self.boot != _boot():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            pass
        return self.started != _started(self.pid)


def owner_of(folder: Path) -> Owner | None:
    """Who writes the folder now, as far as can be told; None if nobody does."""
    owner = _read(folder)
    return None if owner is None or owner.is_gone() else owner


class FolderLock:
    """The lock of a folder, held until it is released.

    Args:
        folder: the folder.

    Raises:
        RunInUseError: if someone else has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(folder / "lock", flags, 0o666)
        there = os.fstat(self._file)
        self._key = there.st_dev, there.st_ino
        with _lock:
            if self._key in _held:
                # Closing any descriptor of the file lets go of the lock that this process has: the holder's closes it.
                _spare.setdefault(self._key, []).append(self._file)
                raise RunInUseError(folder, os.getpid(), platform.node())
            try:
                self._take()
            except BaseException:
                os.close(self._file)
                raise
            _held.add(self._key)

    def _take(self) -> None:
        import fcntl

        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _read(self.folder)
            if error.errno not in _NO_LOCKS:
                raise RunInUseError(self.folder, *((owner.pid, owner.host) if owner else (None, None))) from error
            if owner is not None and not owner.is_gone():
                raise RunInUseError(
                    self.folder,
                    owner.pid,
                    owner.host,
                    f"Stop that run first; if it is gone, remove {self.folder / 'owner.json'}.",
                ) from error

    def sign(self, folder: Path | None = None) -> None:
        """Say in the folder who holds it; not before it has its final name, which is given if it was another one."""
        self.folder = folder or self.folder
        beside = self.folder / "owner.tmp"
        with contextlib.suppress(OSError):  # it is for others to read; a full disk must not end the run
            beside.write_text(json.dumps(Owner.here()._asdict()), encoding="utf-8")
            beside.replace(self.folder / "owner.json")

    def release(self) -> None:
        """Let go of it; more than once does nothing."""
        with _lock:
            file, self._file = self._file, -1
            if file < 0:
                return
            with contextlib.suppress(OSError):
                (self.folder / "owner.json").unlink()
            _held.discard(self._key)
            os.close(file)
            for spare in _spare.pop(self._key, []):
                os.close(spare)


_spare: dict[tuple[int, int], list[int]] = {}  # descriptors that are closed with the lock; changed under _lock


def _read(folder: Path) -> Owner | None:
    try:
        file = os.open(folder / "owner.json", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            data: Any = json.loads(os.read(file, 4096).decode())
        finally:
            os.close(file)
    except (OSError, ValueError, RecursionError):
        return None
    if type(data) is not dict or set(data) != set(Owner._fields):
        return None
    pid, *words = (data[field] for field in Owner._fields)
    if type(pid) is not int or pid <= 0 or any(type(word) is not str for word in words):
        return None
    return Owner(pid, *words)


def _started(pid: int) -> str:
    """When a process started, in ticks since the machine did; "" where the system does not say, and "gone" for one that only waits to be counted."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = line.rpartition(")")[2].split()
        return "gone" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
