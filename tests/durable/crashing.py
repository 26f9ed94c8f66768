"""A file system that loses what was not synced, and fails when told to: the twin of `storage.Disk` for tests.

It is in memory, and remembers of each file the writes since it was last synced, and of each folder the names that were made, renamed or removed
since that. `survivors(choose)` is what a crash of the machine may leave: any of these may be lost, each for itself, a write also in
part; that is more than any file system does (compare Pillai et al. 2014, "All File Systems Are Not Created Equal"), and so is
enough. A process that is killed loses nothing: go on with the same object.
"""

import contextlib
import errno
import os
import threading
from pathlib import PurePosixPath

from reactornb.durable.errors import DamagedRunError

__all__ = ["Killed", "Memory"]


# A bytearray that one thread copies cannot be made longer by another; of a file, reads and writes exclude each other likewise.
_files = threading.RLock()


class Killed(BaseException):
    """The process ends here. No `except Exception` holds it, and what runs in `finally` finds that nothing works any more."""


class File:
    def __init__(self, durable=b""):
        self.durable = bytes(durable)
        self.data = bytearray(durable)
        self.unsynced = []  # ("write", at, bytes) or ("truncate", size)


class Folder:
    def __init__(self, durable=()):
        self.durable = dict(durable)
        self.entries = dict(durable)
        self.unsynced = []  # ("set", name, node), ("drop", name), ("rename", name, to, node)


def _apply(data, change):
    with _files:
        _apply_alone(data, change)


def _apply_alone(data, change):
    if change[0] == "truncate":
        size = change[1]
        del data[size:]
        data.extend(bytes(size - len(data)))
    else:
        _, at, written = change
        if len(data) < at:
            data.extend(bytes(at - len(data)))
        data[at : at + len(written)] = written


def _apply_name(entries, change):
    if change[0] == "set":
        entries[change[1]] = change[2]
    elif change[0] == "drop":
        entries.pop(change[1], None)
    else:
        entries.pop(change[1], None)
        entries[change[2]] = change[3]


class Memory:
    """Storage in memory.

    Attributes:
        done: how many changes there were: writes, syncs, names. Each is a place to stop at.
        kill_at: the change at which the process is killed, half-way through if it is a write.
        fail: called with the number of a change and its name; gives an error to raise, or None.
        skips: says of a sync whether it is forgotten, though it says that it was done.
        log: what was done.
    """

    def __init__(self, root=None):
        self.root = root or Folder()
        self.done = 0
        self.kill_at = None
        self.fail = lambda number, name: None
        self.skips = lambda name: False
        self.log = []
        self.is_dead = False

    # -- the changes ------------------------------------------------------------------------------------------------------

    def _step(self, name, partly=None, on_failure=None):
        if self.is_dead:
            raise Killed
        number = self.done
        self.done += 1
        self.log.append(name)
        if number == self.kill_at:
            if partly is not None:
                partly()
            self.is_dead = True
            raise Killed
        error = self.fail(number, name)
        if error is not None:
            if on_failure is not None:
                on_failure()
            raise error

    def _find(self, at):
        node = self.root
        for name in at.split("/") if at else []:
            if not isinstance(node, Folder):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), at)
            if name not in node.entries:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), at)
            node = node.entries[name]
        return node

    def _parent(self, at):
        folder, _, name = at.rpartition("/")
        return self._find(folder), name

    def _change(self, folder, change):
        _apply_name(folder.entries, change)
        folder.unsynced.append(change)

    # -- Storage ------------------------------------------------------------------------------------------------------------

    def path(self, at):
        return PurePosixPath("/memory") / at

    def names(self, folder):
        try:
            node = self._find(folder)
        except OSError:
            return []
        return sorted(node.entries) if isinstance(node, Folder) else []

    def size(self, at):
        try:
            node = self._find(at)
        except OSError:
            return None
        return len(node.data) if isinstance(node, File) else None

    def read(self, at, start=0, length=None):
        node = self._find(at)
        if not isinstance(node, File):
            raise DamagedRunError(self.path(at), "it is no file")
        with _files:
            return bytes(node.data[start:] if length is None else node.data[start : start + length])

    def create(self, at):
        self._step(f"create {at}")
        folder, name = self._parent(at)
        if name in folder.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), at)
        file = File()
        self._change(folder, ("set", name, file))
        return Opened(self, file, at)

    def open(self, at):
        return Opened(self, self._find(at), at)

    def make_folder(self, at):
        self._step(f"make_folder {at}")
        folder, name = self._parent(at)
        if name in folder.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), at)
        self._change(folder, ("set", name, Folder()))

    def rename(self, at, to):
        self._step(f"rename {at} {to}")
        folder, name = self._parent(at)
        other, new = self._parent(to)
        assert folder is other, "across folders a rename is two changes: not used"
        node = folder.entries[name]
        there = folder.entries.get(new)
        if isinstance(there, Folder) and there.entries:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), to)
        self._change(folder, ("rename", name, new, node))

    def remove(self, at):
        try:
            folder, name = self._parent(at)
        except FileNotFoundError:
            return
        node = folder.entries.get(name)
        if isinstance(node, Folder):  # as rmtree does it: file by file
            for inner in sorted(node.entries):
                self.remove(f"{at}/{inner}")
        if node is not None:
            self._step(f"remove {at}")
            self._change(folder, ("drop", name))

    def sync_folder(self, at):
        self._step(f"sync_folder {at}")
        if self.skips(f"sync_folder {at}"):
            return
        folder = self._find(at)
        folder.durable = dict(folder.entries)
        folder.unsynced.clear()

    def lock(self, folder):
        return None

    # -- after a crash ------------------------------------------------------------------------------------------------------

    def unsynced(self):
        """How many changes a crash may lose."""
        return sum(len(node.unsynced) for node in self._nodes(self.root, {}).values())

    def _nodes(self, node, seen):
        """Every file and folder that anything may still lead to, by identity."""
        if id(node) not in seen:
            seen[id(node)] = node
            if isinstance(node, Folder):
                for inner in [
                    *node.durable.values(),
                    *node.entries.values(),
                    *(c[-1] for c in node.unsynced if c[0] != "drop"),
                ]:
                    self._nodes(inner, seen)
        return seen

    def survivors(self, choose):
        """What a crash leaves, as a file system of its own.

        Args:
            choose: called for each change that was not synced, in an order that is always the same; says how much of it survives:
                0 nothing, 1 all, between them a part of a write.
        """
        made = {}

        def survive(node):
            if id(node) in made:
                return made[id(node)]
            if isinstance(node, File):
                data = bytearray(node.durable)
                for change in node.unsynced:
                    share = choose()
                    if share >= 1 or (share and change[0] == "truncate"):
                        _apply(data, change)
                    elif share:
                        written = change[2]
                        half = int(len(written) * share)
                        # One half of the parts keeps the beginning, the other the end, with zeros before.
                        kept = ("write", change[1], written[:half] if share < 0.5 else bytes(half) + written[half:])
                        _apply(data, kept)
                made[id(node)] = File(data)
            else:
                folder = made[id(node)] = Folder()
                entries = dict(node.durable)
                for change in node.unsynced:
                    if choose():
                        _apply_name(entries, change)
                folder.entries = {name: survive(inner) for name, inner in entries.items()}
                folder.durable = dict(folder.entries)
            return made[id(node)]

        return Memory(survive(self.root))


class Opened:
    def __init__(self, memory, file, at):
        self._memory, self._file, self._at = memory, file, at

    def write(self, data, at):
        data = bytes(data)

        def partly():
            change = ("write", at, data[: len(data) // 2])
            _apply(self._file.data, change)
            self._file.unsynced.append(change)

        self._memory._step(f"write {self._at} {at}+{len(data)}", partly, partly)
        change = ("write", at, data)
        _apply(self._file.data, change)
        self._file.unsynced.append(change)

    def truncate(self, size):
        self._memory._step(f"truncate {self._at}")
        change = ("truncate", size)
        _apply(self._file.data, change)
        self._file.unsynced.append(change)

    def sync(self):
        # After a failure Linux keeps the pages, says that they are clean, and never writes them: only a write makes them dirty again.
        self._memory._step(f"sync {self._at}", on_failure=self._file.unsynced.clear)
        if self._memory.skips(f"sync {self._at}"):
            return
        with _files:
            self._file.durable = bytes(self._file.data)
        self._file.unsynced.clear()

    def close(self):
        with contextlib.suppress(AttributeError):
            del self._file
