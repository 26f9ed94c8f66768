"""What the hub knows of a share that a host executes: the same to the gate as the machine of a local enclave.

It stands between what was reported and what was granted: its next tag is the next one that the host has reported, or, if that is earlier, the
tag of a message that the host has not been given, or has not told of having taken in.

# All of it belongs to the share's driver; what others look at (`begun`, and under the gate's lock) is as `Machine` has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, override

from reactornb.runtime.events import EventQueue
from reactornb.runtime.machine import Machine, Message, Posted
from reactornb.runtime.signals import DelayedEdge, TagKey
from reactornb.runtime.tuning import Target

__all__ = ["ShareMachine"]


class _Arrivals(EventQueue):
    """Takes what arrives for a share, for its next batch."""

    __slots__ = ("arrivals",)

    def __init__(self, stop_tag: TagKey | None) -> None:
        super().__init__(stop_tag)
        self.arrivals: list[Message] = []

    @override
    def arrive(self, edge: DelayedEdge, tag: TagKey, value: Any) -> None:
        self.arrivals.append((tag, edge, value))


class ShareMachine(Machine):
    """What is known of one share.

    Attributes:
        head: the next event that the host has reported; None: it has none.
        received: how many messages have come from it.
        sums: (tag, sum) of what it has executed, for the gate.
        changes: of parameters, not sent yet.
        hurried: it was told to end at once.
    """

    __slots__ = ("_unknown", "changes", "head", "hurried", "received", "sums")

    def __init__(self, *, stop_tag: TagKey | None, keepalive: bool) -> None:
        super().__init__(stop_tag=stop_tag, keepalive=keepalive)
        self.queue: _Arrivals = _Arrivals(stop_tag)
        self.head: TagKey | None = None
        self.received = 0
        self.sums: list[tuple[TagKey, int]] = []
        self.changes: list[Target] = []
        self.hurried = False
        # Of the batches that the host has not told of: number, and the first tag of the messages in it.
        self._unknown: deque[tuple[int, TagKey]] = deque()

    @override
    def earliest(self) -> TagKey | None:
        if not self.begun:
            return (0, 0)
        tags = [tag for tag, _, _ in self.queue.arrivals] + [tag for _, tag in self._unknown]
        if self.head is not None:
            tags.append(self.head)
        return min(tags, default=None)

    @override
    def accept(self, posted: Iterable[Posted], floor_ns: int = 0) -> None:
        for action, _, _, value in posted:
            assert action is None  # physical actions of shares are refused
            self.changes += value

    def take_arrivals(self) -> list[Message]:
        """What has come for the share, to be sent."""
        arrivals, self.queue.arrivals = self.queue.arrivals, []
        return arrivals

    def sent(self, seq: int, messages: list[Message]) -> None:
        """These were sent in that batch."""
        if messages:
            self._unknown.append((seq, min(tag for tag, _, _ in messages)))

    def again(self, sent: Iterable[tuple[int, Iterable[TagKey]]]) -> None:
        """The host is replaced, and takes in again what was sent: numbers of batches, and the tags of their messages.

        What it tells before it has taken in all of them may leave a message out that the lost one had told of.
        """
        done = self.queue.now if self.begun else (0, -1)
        later = [(seq, [tag for tag in tags if tag > done]) for seq, tags in sent]
        self._unknown = deque((seq, min(tags)) for seq, tags in later if tags)

    def told(self, seq: int, head: TagKey | None, done: TagKey) -> None:
        """The host has taken in all batches up to that one; its next event, and the tag that it has executed last."""
        while self._unknown and self._unknown[0][0] <= seq:
            self._unknown.popleft()
        self.head = head
        if done[1] >= 0:
            self.begun = True
            self.queue.time_ns, self.queue.microstep = done
