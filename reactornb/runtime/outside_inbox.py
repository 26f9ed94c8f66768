"""Where reactions and other threads meet the border of a run that is recorded or replayed: its inbox, and its deadlines; see `outside.py`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from reactornb.errors import InboxFullError
from reactornb.runtime.clock import Wake
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.deadlines import Deadline
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.machine import Posted
from reactornb.runtime.signals import Action

__all__ = ["SET", "FromReaction", "LivePosts", "deadline_behind", "inbox_behind"]

SET = ""
"""Stands for `Run.set` among the names of physical actions."""


class Guard(Protocol):
    """What is asked of a border.

    Attributes:
        is_live: nothing is replayed any more.
    """

    is_live: bool

    def is_due(self, posts: int) -> bool:
        """Whether there is something to be accepted before the next tag, with so many posts waiting."""
        ...

    def is_reaction(self) -> bool:
        """Whether the calling thread runs reactions of this run."""
        ...

    def call(self, name: str) -> tuple[str, int]:
        """A physical action is scheduled, or a parameter changed."""
        ...

    def refused(self, name: str, number: int, *, again: bool) -> None:
        """A reaction's call found the inbox full."""
        ...

    def decide(self, name: str, is_missed: Callable[[], bool]) -> bool:
        """Whether a reaction's deadline is missed."""
        ...


class FromReaction(NamedTuple):
    """The value of a physical action that a reaction scheduled, with the number of that call."""

    value: Any
    number: int


class _Posts(deque[Posted]):
    """What is posted during a replay. True if something is to be accepted before the next tag: the loop looks at nothing else."""

    __slots__ = ("border",)

    border: Guard

    def __bool__(self) -> bool:
        return self.border.is_due(len(self))


class LivePosts(deque[Posted]):
    """The same object once the replay is over: as fast as any deque."""

    __slots__ = ("border",)


class BorderInbox(Inbox):
    """The inbox of an enclave that is recorded or replays.

    Args:
        wake, elapsed_ns: see `Inbox`.
        border: of the enclave.
    """

    __slots__ = ("_border",)

    def __init__(self, wake: Wake, elapsed_ns: Callable[[], int], border: Guard) -> None:
        super().__init__(wake, elapsed_ns)
        self._border = border
        if not border.is_live:
            posts = self._posts = _Posts()
            posts.border = border

    def post(self, action: Action, delay: int = 0, value: Any = None) -> None:
        """See `Inbox`."""
        self._let_in(action, action.name, len(action.pending), delay, value)

    def post_change(self, targets: Any) -> None:
        """See `Inbox`."""
        self._let_in(None, SET, 0, 0, targets)

    def _let_in(self, action: Action | None, name: str, pending: int, delay: int, value: Any) -> None:
        border = self._border
        what, number = border.call(name)
        if what == "drop":
            return
        shown = name or "a change of parameters"
        if what == "refuse":
            border.refused(name, number, again=True)
            self._refuse(shown)
        try:
            self._refuse_beyond_limit(pending, shown)
        except InboxFullError:
            if number >= 0:
                border.refused(name, number, again=False)
            raise
        self.put(action, delay, value if number < 0 else FromReaction(value, number))

    def take(self) -> Iterator[Posted]:
        """See `Inbox`."""
        while len(self._posts):
            yield self._posts.popleft()


class RecordedDeadline(Deadline):
    """A deadline of which each miss is recorded, or replayed.

    Args:
        context, limit_ns, late: see `Deadline`.
        border: of the enclave.
        name: of the reaction.
    """

    def __init__(
        self, context: ReactionContext, limit_ns: int, late: Callable[[], None] | None, border: Guard, name: str
    ) -> None:
        super().__init__(context, limit_ns, late)
        self._border = border
        self._name = name

    def is_missed(self) -> bool:
        """See `Deadline`."""
        by_the_clock = super().is_missed
        return self._border.decide(self._name, by_the_clock) if self._border.is_reaction() else by_the_clock()


def inbox_behind(border: Guard | None, wake: Wake, elapsed_ns: Callable[[], int]) -> Inbox:
    """The inbox of an enclave; without a border, any."""
    return Inbox(wake, elapsed_ns) if border is None else BorderInbox(wake, elapsed_ns, border)


def deadline_behind(
    border: Guard | None, context: ReactionContext, limit_ns: int, late: Callable[[], None] | None, name: str
) -> Deadline:
    """The deadline of a reaction, given by its name; without a border, any."""
    if border is None:
        return Deadline(context, limit_ns, late)
    return RecordedDeadline(context, limit_ns, late, border, name)
