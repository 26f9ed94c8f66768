"""A connection that takes longer: a relay between the hosts of this machine and their hub, which keeps everything back for some milliseconds.

This kernel cannot delay packets (netem), so a relay stands for a distant machine. Each chunk is passed on so long after it came, in either direction; any
number of them may be under way, so that only time is added and nothing is throttled.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from dataclasses import replace
from typing import Any

from reactornb.cluster.hosts import Connections, Hosts
from reactornb.cluster.listener import LOOPBACK
from reactornb.cluster.local import LocalEngine
from reactornb.cluster.tickets import Ticket

__all__ = ["Relay", "SlowHosts"]

_CHUNK = 1 << 18
_LOOK_S = 0.1  # how often who waits for connections looks whether it is over


class Relay:
    """Listens on loopback and passes on what comes, later.

    Args:
        target: where to.
        delay_s: how much later, each way.

    Attributes:
        address: where it listens.

    # _sockets, _threads   under _lock, and _over is set there; sockets are shut down under it, threads are waited for outside of it
    """

    def __init__(self, target: tuple[str, int], delay_s: float) -> None:
        self._target = target
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server((LOOPBACK, 0))
        self._server.settimeout(_LOOK_S)
        self.address: tuple[str, int] = self._server.getsockname()[:2]
        self._start(self._accept)

    def _start(self, do: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=do, args=arguments, name="slow-link", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                ours, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                theirs = socket.create_connection(self._target, 5)
            except OSError:
                ours.close()  # whoever dialled tries again
                continue
            with self._lock:
                self._sockets += [ours, theirs]
                for one in (ours, theirs):
                    one.settimeout(None)
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._over.is_set():
                        _shut(one)
                for source, sink in ((ours, theirs), (theirs, ours)):
                    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                    self._start(self._take, source, under_way)
                    self._start(self._give, under_way, source, sink)

    def _take(self, source: socket.socket, under_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        chunk = b"?"
        while chunk:
            try:
                chunk = source.recv(_CHUNK)
            except OSError:
                chunk = b""
            under_way.put((time.monotonic() + self._delay_s, chunk))  # an empty one: the end

    def _give(
        self, under_way: queue.SimpleQueue[tuple[float, bytes]], source: socket.socket, sink: socket.socket
    ) -> None:
        while True:
            due, chunk = under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not chunk:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(chunk)
            except OSError:
                _shut(source)  # nobody is there: its sender is to notice
                return

    def close(self) -> None:
        """End all connections, and wait for the threads. May be called again."""
        with self._lock:
            self._over.set()
            for one in self._sockets:
                _shut(one)
        self._threads[0].join()  # then there are no new ones
        for thread in self._threads:
            thread.join()
        for one in (self._server, *self._sockets):
            one.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _SlowEngine(LocalEngine):
    """Subprocesses that dial a relay.

    # _relays   under _guard
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self._delay_s = delay_s
        self._guard = threading.Lock()
        self._relays: dict[tuple[str, int], Relay] = {}

    def start(self, ticket: Ticket) -> None:
        """See `Engine`."""
        with self._guard:
            for target in ticket.addresses:
                if target not in self._relays:
                    self._relays[target] = Relay(target, self._delay_s)
            there = tuple(self._relays[target].address for target in ticket.addresses)
        super().start(replace(ticket, addresses=there))

    def stop(self) -> None:
        """See `Engine`."""
        try:
            super().stop()
        finally:
            with self._guard:
                for relay in self._relays.values():
                    relay.close()


class SlowHosts(Hosts):
    """Subprocesses of this machine, as far away as `delay_s` says.

    Args:
        n: how many.
        delay_s: what a byte takes longer, each way.
        workers: threads of each.
    """

    def __init__(self, n: int, delay_s: float, *, workers: int = 1) -> None:
        super().__init__(n, workers=workers)
        self._delay_s = delay_s

    def open(self, shares: int, /) -> Connections:  # noqa: ARG002 - as `Hosts.open`
        """See `Hosts`."""
        return Connections(_SlowEngine(self._delay_s), address=LOOPBACK)
