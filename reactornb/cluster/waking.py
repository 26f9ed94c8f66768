"""`LinkWake`: one thread waits for the messages of a link and for whoever wakes it.

The leader of a share does, on either side. With a thread of its own for the link each message would wake two, one after the other, and where all
cores are busy each of them waits for its turn.

It knows nothing of what messages mean.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from typing import Protocol, override

from reactornb.cluster.wire import Message
from reactornb.runtime.clock import Wake

__all__ = ["Bell", "LinkWake", "Receiving"]


class Bell:
    """What a thread can wait for along with a socket. Any thread rings it, also in a signal handler.

    # It is closed with its last reference, so that nobody can ring at a number that belongs to another file meanwhile.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """A descriptor that can be read once it was rung."""
        return self._read

    def ring(self) -> None:
        """Wake who waits, or will."""
        with contextlib.suppress(BlockingIOError):  # it was rung more often than anybody counts
            os.write(self._write, b"\0")

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it is rung, at most so many seconds."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        poller.poll(None if timeout_s is None else timeout_s * 1e3)
        self.quiet()

    def quiet(self) -> None:
        """Take note."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Receiving(Protocol):
    """The end of a link, for who receives."""

    def receive(self, timeout_s: float | None = None, bell: Bell | None = None) -> Message | None:
        """The next message; None after so many seconds without one, or once the bell is rung.

        Raises:
            Exception: if the link is over.
        """
        ...


class LinkWake(Wake):
    """A flag as `Wake`; who waits for it takes messages of a link meanwhile. `took` is called with each, and last with the error that ended the link.

    # _link, _took   written and read by the thread that waits; or written before that has started
    # _bell          None once nobody waits any more; written by who has joined that thread. Who rings at that moment holds the bell itself
    """

    def __init__(self) -> None:
        super().__init__()
        self._bell: Bell | None = Bell()
        self._link: Receiving | None = None
        self._took: Callable[[Message | Exception], None]

    def listen(self, link: Receiving, took: Callable[[Message | Exception], None]) -> None:
        """Wait at this link from now on."""
        self._took = took
        self._link = link

    @override
    def set(self) -> None:
        self._fence()
        if self._taken.locked():
            try:
                self._taken.release()
            except RuntimeError:  # another thread has just released it, and rings
                return
            bell = self._bell
            if bell is not None:
                bell.ring()

    @override
    def wait(self, timeout: float | None = None) -> bool:
        """See `Wake`; it may also return false a little before."""
        if self.is_set():
            return True
        if self._link is None:
            return super().wait(timeout)
        return self._receive(timeout) or self.is_set()

    def close(self) -> None:
        """The thread that waited is gone. Its descriptors go now, and not with the last reference to the run."""
        self._link = self._bell = None

    def look(self) -> None:
        """Take the messages that have come, without waiting."""
        while self._link is not None and self._receive(0):
            pass

    def _receive(self, timeout: float | None) -> bool:
        assert self._link is not None
        message: Message | Exception | None
        try:
            message = self._link.receive(timeout, self._bell)
        except Exception as error:  # noqa: BLE001 - a link that says what it should not is as good as lost
            self._link = None
            message = error
        if message is not None:
            self._took(message)
        return message is not None
