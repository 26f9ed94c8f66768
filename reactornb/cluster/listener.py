"""`Listener`: where a hub's hosts dial in. On loopback, unless another address is asked for.

A thread accepts; each connection is introduced on a thread of its own, at most `_MOST` at a time, so that peers which say nothing keep nobody out for
longer than a handshake may take.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from reactornb.cluster import messages
from reactornb.cluster.errors import UnreachableError
from reactornb.cluster.handshake import TIMEOUT_S, Judge, admit, ended_by
from reactornb.cluster.link import HUB_SILENCE_S, Link
from reactornb.cluster.messages import Hello
from reactornb.errors import ReactorError

__all__ = ["LOOPBACK", "Listener"]

LOOPBACK = "127.0.0.1"
_MOST = 64


class Listener:
    """Takes hosts in.

    Args:
        secret: of the run, `handshake.SECRET_BYTES` long.
        judge: as for `handshake.admit`; called on a thread of the handshake.
        arrived: called with what a host said and its link, on that thread; the link is the callee's from then on.
        address: where to listen; "" or "0.0.0.0": at every address of this machine.
        port: 0: a free one.
        silence_s: as for `Link`.
        timeout_s: for a handshake.
        on_lost: as for `Link`, with share and attempt in front of the reason.

    Raises:
        UnreachableError: if the address or the port is not to be had.

    Attributes:
        address: (host, port).
        turned_away: how many connections came to nothing, by why; for display.

    # _connections, turned_away, _is_closed   under _lock
    """

    def __init__(
        self,
        secret: bytes,
        judge: Judge,
        arrived: Callable[[Hello, Link], None],
        *,
        address: str = LOOPBACK,
        port: int = 0,
        silence_s: float = HUB_SILENCE_S,
        timeout_s: float = TIMEOUT_S,
        on_lost: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self._secret = secret
        self._judge = judge
        self._arrived = arrived
        self._silence_s = silence_s
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(_MOST)
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._is_closed = False
        self.turned_away: dict[str, int] = {}
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._sock = socket.create_server((address, port), family=family, backlog=_MOST)
        except OSError as error:
            raise UnreachableError(
                f"the hub cannot listen at {address or 'any address'} port {port}: {error.strerror or error}. Give an address of this machine, and "
                f"a port that nobody uses (0: any).",
                tried={f"{address}:{port}": str(error)},
            ) from error
        host, port = self._sock.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._thread = threading.Thread(target=self._accept, name="reactornb-listener", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                sock, _ = self._sock.accept()
            except OSError:
                with self._lock:
                    if self._is_closed:
                        return
                self._room.release()
                continue  # a connection that was gone before it was taken
            thread = threading.Thread(target=self._introduce, args=(sock,), name="reactornb-handshake", daemon=True)
            with self._lock:
                if self._is_closed:
                    sock.close()
                    return
                self._connections[sock] = thread
                thread.start()

    def _introduce(self, sock: socket.socket) -> None:
        try:
            hello = admit(sock, secret=self._secret, judge=self._judge, timeout_s=self._timeout_s)
        except (ReactorError, OSError, EOFError) as error:
            self._done(sock, error)
            sock.close()
            return
        on_lost = self._on_lost
        heard = None if on_lost is None else lambda reason: on_lost(hello.share, hello.attempt, reason)
        link = Link(sock, f"host {hello.share}", messages.FROM_HOST, silence_s=self._silence_s, on_lost=heard)
        if self._done(sock, None):
            link.close()
        else:
            self._arrived(hello, link)

    def _done(self, sock: socket.socket, error: BaseException | None) -> bool:
        """A handshake is over; whether the listener is, too."""
        with self._lock:
            self._connections.pop(sock, None)
            if error is not None:
                reason = ended_by(error)
                self.turned_away[reason] = self.turned_away.get(reason, 0) + 1
            self._room.release()
            return self._is_closed

    def close(self) -> None:
        """Listen no more, and give up connections that are being introduced. Links that were handed out stay."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            waiting = dict(self._connections)
        with contextlib.suppress(OSError):  # wakes `accept`
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for sock in waiting:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for thread in waiting.values():
            if thread is not threading.current_thread():
                thread.join()
