"""Hosts that are threads of this process: what is sent goes through the bytes of the real frames, so that nothing is shared by accident.

For tests, and to try how a program does on hosts before there are any. `Pair` has the two ends of a link.

# _frames, _closed, _bell   under _changed: written by the other end's threads, read by the one that receives
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from reactornb.cluster.errors import LinkLostError
from reactornb.cluster.host import serve
from reactornb.cluster.messages import FROM_HOST, FROM_HUB, frame, parse
from reactornb.cluster.waking import Bell
from reactornb.cluster.wire import Message
from reactornb.runtime.program import Program

__all__ = ["LoopbackConnections", "LoopbackHosts", "LoopbackLink", "Pair"]


class LoopbackLink:
    """One end of a link within this process.

    Args:
        peer: who is at the other end, in words.
        known: what may come from there.
    """

    def __init__(self, peer: str, known: dict[int, type[Message]]) -> None:
        self.peer = peer
        self.other: LoopbackLink
        self.bytes_sent = self.bytes_received = 0
        self._known = known
        self._changed = threading.Condition()
        self._frames: deque[bytes] = deque()
        self._closed = ""
        self._bell: Bell | None = None

    def send(self, message: Message) -> None:
        """See `Link`."""
        data = b"".join(frame(message))
        self.bytes_sent += len(data)
        self.other._take(data)

    def _take(self, data: bytes) -> None:
        with self._changed:
            if self._closed:
                raise LinkLostError(self.other.peer, self._closed)
            self._frames.append(data)
            self._changes()

    def _changes(self) -> None:
        """Wake who receives."""
        self._changed.notify_all()
        if self._bell is not None:
            self._bell.ring()

    def receive(self, timeout_s: float | None = None, bell: Bell | None = None) -> Message | None:
        """See `Link`. What was sent before the link was closed still comes."""
        if bell is not None:
            with self._changed:
                self._bell = None if self._closed else bell  # rung for what comes from now on, too
                has_come = self._frames or self._closed
            if not has_come:
                bell.wait(timeout_s)
            timeout_s = 0
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed, timeout_s)
            if not self._frames:
                if self._closed:
                    raise LinkLostError(self.peer, self._closed)
                return None
            data = self._frames.popleft()
        self.bytes_received += len(data)
        return parse(data, self._known)

    @property
    def waiting(self) -> int:
        """How many messages have come and were not received."""
        return len(self._frames)

    def cut(self, reason: str = "end of file") -> None:
        """Lose the link, with what is on its way here: the other end is killed, as it were."""
        with self._changed:
            self._frames.clear()
        self.close(reason)

    def close(self, reason: str = "closed") -> None:
        """See `Link`."""
        for end in (self, self.other):
            with end._changed:
                end._closed = end._closed or reason
                end._changes()
                end._bell = None


class Pair:
    """A link.

    Attributes:
        hub, host: its ends.
    """

    def __init__(self, share: int) -> None:
        self.hub = LoopbackLink(f"share {share}", FROM_HOST)
        self.host = LoopbackLink("the hub", FROM_HUB)
        self.hub.other, self.host.other = self.host, self.hub


class LoopbackHosts:
    """Hosts that are threads of this process.

    Args:
        count: how many.
        workers: of each; None: as many as the run has.
        restarts: see `HostEngine`.

    # _programs   written by who starts a run, read by its hosts; a dict's methods are atomic
    """

    def __init__(self, count: int, workers: int | None = None, restarts: int = 10) -> None:
        self.count = count
        self.workers = workers
        self.restarts = restarts
        self._programs: dict[bytes, Any] = {}

    def pack(self, program: Any) -> bytes:
        """A program for the way: only its name travels, since a host of this process assembles it anew of the same classes."""
        name = f"{program.name} {id(program.root)}".encode()
        self._programs[name] = program.root
        return name

    def unpack(self, name: bytes) -> Any:
        """The program that was packed."""
        return Program(self._programs[name])

    def open(self, _: int) -> LoopbackConnections:
        """Make ready for so many shares."""
        return LoopbackConnections(self.unpack)


class LoopbackConnections:
    """The links of one run.

    Args:
        unpack: see `serve`.

    # _threads, _pairs   under _lock; added to by the drivers of shares
    """

    def __init__(self, unpack: Callable[[bytes], Any]) -> None:
        self._unpack = unpack
        self._lock = threading.Lock()
        self._pairs: dict[int, Pair] = {}
        self._threads: list[threading.Thread] = []

    def link(self, share: int, attempt: int, timeout_s: float | None = None) -> Any:  # noqa: ARG002 - as hosts elsewhere have it
        """A host that is to execute a share."""
        pair = Pair(share)
        thread = threading.Thread(
            target=serve, args=(pair.host, self._unpack), name=f"reactornb-host-{share}", daemon=True
        )
        with self._lock:
            self._pairs[share] = pair
            self._threads.append(thread)
        thread.start()
        return pair.hub

    def kill(self, share: int) -> None:
        """Lose a host, as if its process were killed."""
        with self._lock:
            pair = self._pairs[share]
        pair.hub.cut()

    def close(self) -> None:
        """The run is over: wait for the hosts."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
