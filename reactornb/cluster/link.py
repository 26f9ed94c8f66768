"""`Link`: one connection between hub and host, after the handshake: messages in, messages out, and whether the other side is still there.

Whoever receives reads the socket on its own thread: a message wakes one thread, not two. A thread may both send and receive: while the other
side does not read, `send` takes the bytes that come from there, so that two sides which send much at once do not wait for each other. The other side's life is judged by a thread per process
(`_Watch`), which never blocks: each second it sends a `Beat` on every link, and a link on which nothing came for `silence_s` is closed. Beats are
sent unasked, so a host that executes one reaction for minutes, and receives nothing meanwhile, is still alive; a stopped process is not.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from reactornb.cluster import messages
from reactornb.cluster.errors import LinkLostError, WireError
from reactornb.cluster.frames import NORMAL, Limits, receive_frame, send_all
from reactornb.cluster.waking import Bell
from reactornb.cluster.wire import Message, from_frame, to_pieces

__all__ = ["BEAT_S", "HOST_SILENCE_S", "HUB_SILENCE_S", "Link", "linked_pair"]

BEAT_S = 1.0
HUB_SILENCE_S = 9.0
"""How long the hub waits for a silent host. It looks once a second: silence is noticed within ten."""
HOST_SILENCE_S = 30.0
"""How long a host waits for a silent hub."""

_BEAT = b"".join(to_pieces(messages.Beat()))
_CLOSED = getattr(
    select, "POLLRDHUP", 0
)  # Linux says at once that the other side has closed, even while something is unread
_OVER = select.POLLHUP | select.POLLERR | select.POLLNVAL | _CLOSED
_ASK_AGAIN_MS = 100
_SHORT_NS = 20_000_000
_SELECTABLE = 1024  # `select` takes descriptors below
_NOT_NOW = (BlockingIOError, InterruptedError)


class Link:
    """One connection. `receive` is for one thread at a time; everything else for any.

    Args:
        sock: connected, blocking; it belongs to the link from now on.
        peer: who is at the other end, in words.
        known: the messages that may come, `messages.FROM_HOST` or `messages.FROM_HUB`.
        silence_s: the link is closed after so many seconds without a byte.
        on_lost: called once with the reason, on the thread that notices that the link is over; it must not block.
        limits: the most that is accepted.

    Attributes:
        peer: as given.
        bytes_sent, bytes_received: of whole frames.
        heard_ns: when the last bytes came, by `time.monotonic_ns`.

    # _sending   held while a frame is given to the system, so that frames are not mixed
    # _unsent    the rest of a beat that the system took only in part; under _sending
    # _reading   held by whoever receives; `close` takes both before it gives the descriptor back, so that no thread waits at a number that
    #            belongs to another file meanwhile
    # _no_more   nothing can be received any more; under _reading
    # _source    the socket, behind the bytes that came while something was sent; under _reading
    # _lost      written once, under _ending; read by anybody: a string is there or not
    # heard_ns, bytes_*   written by the thread that holds _reading (sent: _sending), heard_ns also by the watch; read for display and by the watch
    """

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        known: dict[int, type[Message]],
        *,
        silence_s: float,
        on_lost: Callable[[str], None] | None = None,
        limits: Limits = NORMAL,
    ) -> None:
        sock.settimeout(None)
        with contextlib.suppress(OSError):  # a pair within one machine has no such option
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = peer
        self.bytes_sent = self.bytes_received = 0
        self.heard_ns = time.monotonic_ns()
        self._sock = sock
        self._known = known
        self._limits = limits
        self._silence_ns = int(silence_s * 1e9)
        self._on_lost = on_lost
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._ending = threading.Lock()
        self._unsent = b""
        self._lost: str | None = None
        self._no_more = False
        self._source = _Source(sock)
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._bell: Bell | None = None  # registered, too
        _watch.add(self)

    @property
    def is_lost(self) -> bool:
        """Whether the link is over. Messages that came before can still be received."""
        return self._lost is not None

    @property
    def lost_reason(self) -> str | None:
        """Why it is over: "end of file", "silence", "closed here", or the system's words; None while it is not."""
        return self._lost

    def send(self, message: Message) -> None:
        """Send a message; waits where the other side does not read. Values are not copied, and may be changed when this returns.

        Raises:
            LinkLostError: if the link is over. Whether the message arrived is not known then.
        """
        pieces = to_pieces(message)
        with self._sending:
            if self._lost is not None:
                raise LinkLostError(self.peer, self._lost)
            try:
                if self._unsent:
                    pieces = [self._unsent, *pieces]
                    self._unsent = b""
                self.bytes_sent += send_all(self._sock, pieces, self._make_room)
            except OSError as error:
                raise LinkLostError(self.peer, self._end(_words(error))) from error

    def _make_room(self) -> None:
        """Wait until the system takes more. The other side may not read before it has sent something itself: take its bytes meanwhile."""
        either = select.poll()
        if not self._reading.acquire(blocking=False):  # there is a thread that reads
            either.register(self._sock, select.POLLOUT)
            either.poll(_ASK_AGAIN_MS)
            return
        try:
            either.register(self._sock, select.POLLOUT | select.POLLIN)
            if either.poll(_ASK_AGAIN_MS):
                self._source.take()
                self._heard()
        finally:
            self._reading.release()
        # A peer that has closed its own side may never read: once this side is shut down, too, the next try fails.
        if self._source.is_over:
            self._end("end of file")

    def receive(self, timeout_s: float | None = None, bell: Bell | None = None) -> Message | None:
        """The next message.

        Args:
            timeout_s: how long to wait for it; None: until it comes.
            bell: wait no longer once it is rung; always the same one.

        Returns:
            The message; None if none came in that time.

        Raises:
            LinkLostError: if the link is over and nothing is left to receive.
            WireError: if something came that is no message; the link is over.
        """
        until_ns = None if timeout_s is None else time.monotonic_ns() + int(timeout_s * 1e9)
        with self._reading:
            while not self._no_more:
                if not (until_ns is None and bell is None) and not self._wait(until_ns, bell):
                    return None
                message = self._next()
                if type(message) is not messages.Beat:
                    return message
            raise LinkLostError(self.peer, self._lost or "closed here")

    def _wait(self, until_ns: int | None, bell: Bell | None) -> bool:
        """Wait for bytes, at most until then, or until the bell is rung; returns whether some came."""
        if self._source.chunks:
            return True
        if bell is not None and self._bell is None:
            self._bell = bell
            self._readable.register(bell, select.POLLIN)
        own = self._sock.fileno()
        numbers = [own] if bell is None else [own, bell.fileno()]
        left_ns = None if until_ns is None else max(0, until_ns - time.monotonic_ns())
        # For a short time; `poll` would wait whole milliseconds.
        if left_ns is not None and 0 < left_ns < _SHORT_NS and max(numbers) < _SELECTABLE:
            ready = select.select(numbers, (), (), left_ns / 1e9)[0]
        else:
            ready = [number for number, _ in self._readable.poll(None if left_ns is None else left_ns / 1e6)]
        if own in ready:
            return True
        if bell is not None and ready:  # not before: what has come may be a beat, after which this waits again
            bell.quiet()
        return False

    def _next(self) -> Message:
        try:
            frame = receive_frame(self._source, self._limits, self._heard)
            if frame is None:
                raise LinkLostError(self.peer, self._end("end of file"))
            self.bytes_received += frame.nbytes
            return from_frame(frame, self._known)
        except WireError as error:
            self._no_more = True  # where the next frame would begin is not known
            self._end(f"{error.field} {error.reason}")
            raise
        except EOFError as error:
            raise LinkLostError(self.peer, self._end("end of file")) from error
        except LinkLostError:
            raise
        except OSError as error:
            raise LinkLostError(self.peer, self._end(_words(error))) from error

    def _heard(self) -> None:
        self.heard_ns = time.monotonic_ns()

    def close(self) -> None:
        """End the link, wake whoever waits at it, and give the socket back. May be called again, but not within `on_lost`.

        The system may drop what was sent last and not received yet, where something that came is unread here.
        """
        self._end("closed here")
        _watch.remove(self)
        with self._sending, self._reading:
            self._no_more = True
            self._bell = None
            self._sock.close()

    def _end(self, reason: str) -> str:
        """The link is over, for the first reason given. Threads that wait at it return; the descriptor stays theirs."""
        with self._ending:
            first = self._lost is None
            if first:
                self._lost = reason
        if first:
            # What came before the end can still be received; but who sends would wait for ever for a peer that has closed only its own side.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR if reason == "end of file" else socket.SHUT_RDWR)
            if self._on_lost is not None:
                self._on_lost(reason)
        return self._lost or reason

    # -- the watch's thread -----------------------------------------------------------------------------------------------

    def _fileno(self) -> int:
        return self._sock.fileno()

    def _beat(self) -> None:
        """Send a sign of life if that takes no time: whoever sends a frame now gives one by that."""
        if self._lost is not None or not self._sending.acquire(blocking=False):
            return
        try:
            waiting = self._unsent or _BEAT
            sent = self._sock.send(waiting, _DONT_WAIT)
            self._unsent = waiting[sent:]
        except _NOT_NOW:
            pass  # the system's buffers are full
        except OSError as error:
            self._end(_words(error))
        finally:
            self._sending.release()

    def _judge(self, now_ns: int) -> None:
        """End the link if nothing came for too long. Bytes that nobody has read yet have come."""
        if self._lost is None and now_ns - self.heard_ns > self._silence_ns:
            if self._has_unread():
                self.heard_ns = now_ns
            else:
                self._end("silence")

    def _has_unread(self) -> bool:
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK | _DONT_WAIT))
        except OSError:
            return False


class _Source:
    """What can be received: first what was taken before its time, then what the socket gives.

    Attributes:
        chunks: taken before its time.
        is_over: nothing more can be taken so.
    """

    __slots__ = ("_sock", "chunks", "is_over", "recv_into")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.chunks: deque[memoryview] = deque()
        self.is_over = False
        self.recv_into: Callable[[memoryview], int] = sock.recv_into

    def take(self) -> None:
        """Take what has come, if anything has."""
        try:
            chunk = self._sock.recv(_CHUNK, _DONT_WAIT)
        except _NOT_NOW:
            return
        except OSError:
            chunk = b""
        if chunk:
            self.chunks.append(memoryview(chunk))
            self.recv_into = self._first
        else:
            self.is_over = True

    def _first(self, view: memoryview) -> int:
        chunk = self.chunks.popleft()
        count = min(len(chunk), len(view))
        view[:count] = chunk[:count]
        if count < len(chunk):
            self.chunks.appendleft(chunk[count:])
        elif not self.chunks:
            self.recv_into = self._sock.recv_into
        return count


_CHUNK = 1 << 20
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


def _words(error: OSError) -> str:
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "end of file"
    return error.strerror or type(error).__name__


class _Watch:
    """Signs of life, for all links of a process; its thread is there while a link is.

    # _links, _thread   under _lock
    # A link is ended outside of the lock: `on_lost` may call anything.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: dict[int, Link] = {}
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = -1, -1

    def add(self, link: Link) -> None:
        with self._lock:
            self._links[id(link)] = link
            if self._thread is None:
                self._wake_read, self._wake_write = os.pipe()
                os.set_blocking(self._wake_write, False)
                self._thread = threading.Thread(
                    target=self._go, args=(self._wake_read, self._wake_write), name="reactornb-links", daemon=True
                )
                self._thread.start()
            else:
                self._wake()

    def remove(self, link: Link) -> None:
        """Forget a link, which is over by now."""
        with self._lock:
            self._links.pop(id(link), None)
            if self._thread is not None:
                self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _go(self, wake_read: int, wake_write: int) -> None:
        beat_ns = 0
        looked_ns = time.monotonic_ns()
        while True:
            with self._lock:
                if not self._links:
                    self._thread = None
                    os.close(wake_read)
                    os.close(wake_write)
                    return
                links = [link for link in self._links.values() if not link.is_lost]
            poller = select.poll()
            poller.register(wake_read, select.POLLIN)
            numbers = {}
            for link in links:
                number = link._fileno()
                if number >= 0:
                    numbers[number] = link
                    poller.register(number, _CLOSED)
            now_ns = time.monotonic_ns()
            beat_due = now_ns >= beat_ns
            if not beat_due:
                for number, event in poller.poll((beat_ns - now_ns) / 1e6):
                    if number == wake_read:
                        os.read(wake_read, 4096)
                    elif event & _OVER:
                        self._with(numbers[number], lambda link: link._end("end of file"))
            now_ns = time.monotonic_ns()
            if now_ns - looked_ns > 5 * BEAT_S * 1e9:  # this process was stopped: that is nobody's silence
                for link in links:
                    link.heard_ns = now_ns
            looked_ns = now_ns
            if beat_due:
                beat_ns = now_ns + int(BEAT_S * 1e9)
                for link in links:
                    self._with(link, Link._beat)
                    self._with(link, lambda link: link._judge(time.monotonic_ns()))

    def _with(self, link: Link, do: Callable[[Link], object]) -> None:
        """Do something with a link unless it has been removed."""
        with self._lock:
            there = id(link) in self._links
        if there:
            do(link)


_watch = _Watch()


def linked_pair(*, silence_s: float = HUB_SILENCE_S, on_lost: Callable[[str], None] | None = None) -> tuple[Link, Link]:
    """The hub's and the host's end of a link within this process, over a pair of sockets; for tests and measurements."""
    ours, theirs = socket.socketpair()
    hub = Link(ours, "host 0 of a pair", messages.FROM_HOST, silence_s=silence_s, on_lost=on_lost)
    return hub, Link(theirs, "the hub of a pair", messages.FROM_HUB, silence_s=silence_s)
