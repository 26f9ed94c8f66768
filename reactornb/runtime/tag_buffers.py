"""What the reactions of one enclave leave for its leader while a tag is executed."""

from __future__ import annotations

from typing import Any

from reactornb.runtime.groups import Group
from reactornb.runtime.handles import InPort
from reactornb.runtime.signals import Signal

__all__ = ["TagBuffers"]


class TagBuffers:
    """What the reactions of one enclave leave for its leader.

    # levels, cleared, fired, requests
    #     lists that reactions add to through closures: list.append and list.extend by a tuple are atomic, on free-threaded builds
    #     through the list's own lock. Within a shared level any worker adds; the leader reads and empties them after the level's
    #     batch is over, or while it runs a level by itself.

    Attributes:
        levels: per level, the groups that are ready.
        plain: per level, whether no two groups that can be ready there have a reaction in common.
        cleared: handles to mark absent when the tag ends.
        fired: signals with `at_tag_end` that were present at this tag.
        requests: (action, delay, value) of scheduled actions, (None, mode, history) of mode changes, since the last level.
    """

    __slots__ = ("cleared", "fired", "levels", "plain", "requests")

    def __init__(self) -> None:
        self.levels: list[list[Group]] = []
        self.plain: list[bool] = []
        self.cleared: list[InPort] = []
        self.fired: list[Signal] = []
        self.requests: list[tuple[Any, Any, Any]] = []
