"""Physical actions and changes of parameters on their way from any thread to the leader of an enclave.

# _posts        deque: appended to by any thread, taken from by the leader. Both are atomic (on free-threaded builds through the
#               deque's own lock), and nobody else takes: what the leader has seen at the front stays there until it takes it.
#               Every append is followed by the leader's wake.set(), and the leader clears `wake` before it looks here, so nothing is
#               slept over.
# refused       written under _refusing by any thread, read for display.
# _closed       set once by the leader, at the end; a post that misses it leaves an event that nobody takes, as if it had come later.
# No call waits for another thread, but for the time that it takes to count a refused event: a signal handler may post while its thread
# posts, and while it is being refused, hence the RLock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from reactornb.errors import InboxFullError
from reactornb.runtime.clock import Wake
from reactornb.runtime.machine import Posted
from reactornb.runtime.signals import Action

__all__ = ["Inbox"]


class Inbox:
    """What other threads ask of one enclave, in order.

    Args:
        wake: the leader's.
        elapsed_ns: physical time, which fixes the tag of what is posted.

    Attributes:
        refused: how many events found it full.
    """

    __slots__ = ("_closed", "_elapsed_ns", "_posts", "_refusing", "_wake", "refused")

    # How many events of one physical action may be waiting: not yet seen by the leader, whatever their action, or queued.
    limit = 2**16

    def __init__(self, wake: Wake, elapsed_ns: Callable[[], int]) -> None:
        self._wake = wake
        self._elapsed_ns = elapsed_ns
        self._posts: deque[Posted] = deque()
        self._closed = False
        self._refusing = threading.RLock()
        self.refused = 0

    @property
    def posts(self) -> deque[Posted]:
        """What has not been taken yet; for the leader's loop, to see whether it is empty."""
        return self._posts

    def __len__(self) -> int:
        return len(self._posts)

    def post(self, action: Action, delay: int = 0, value: Any = None) -> None:
        """Schedule a physical action; any thread, never blocking. Its tag is fixed by the physical time of this call.

        What was accepted is never lost while the run goes on; what comes after its end is ignored.

        Raises:
            InboxFullError: if `limit` events of that action wait already. Threads that post at the same instant may
                together exceed the limit by one each: nothing is locked.
        """
        self._refuse_beyond_limit(len(action.pending), action.name)
        self.put(action, delay, value)

    def post_change(self, targets: Any) -> None:
        """Change parameters, at a tag that comes soon; any thread.

        Raises:
            InboxFullError: if `limit` events wait already.
        """
        self._refuse_beyond_limit(0, "a change of parameters")
        self.put(None, 0, targets)

    def put(self, action: Action | None, delay: int, value: Any) -> None:
        """The same without a limit: what the runtime itself posts is bounded otherwise."""
        if not self._closed:
            self._posts.append((action, self._elapsed_ns(), delay, value))
            self._wake.set()

    def _refuse_beyond_limit(self, queued: int, name: str) -> None:
        if len(self._posts) + queued < self.limit or self._closed:
            return
        self._refuse(name)

    def _refuse(self, name: str) -> None:
        with self._refusing:
            self.refused += 1
        raise InboxFullError(
            f"{name}: {self.limit} scheduled events wait to be handled; this one is refused. The program does not keep "
            f"up: schedule less often, or give the action min_spacing and a policy. run.status()['refused'] counts these.",
            action=name,
        )

    def take(self) -> Iterator[Posted]:
        """Everything that has come up to now, and while it is taken; the leader."""
        while self._posts:
            yield self._posts.popleft()

    def close(self) -> None:
        """The run is over: ignore what comes, and what is here; the leader."""
        self._closed = True
        self._posts.clear()

    def abandon(self, wake: Wake) -> None:
        """In a forked child, where other threads may have held the locks."""
        self._refusing = threading.RLock()
        self._wake = wake
        self._closed = True
