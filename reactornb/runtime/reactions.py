"""A reaction of one instance, ready to be called: what the compiled schedule makes of a node of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactornb.runtime.handles import InPort

__all__ = ["RunningReaction"]


class RunningReaction:
    """A reaction of one instance, ready to be called.

    Attributes:
        call: runs the body with its arguments (or the deadline's handler).
        body, row: the plain function and its arguments where nothing stands between the scheduler and the body, else None, ().
        clears: handles that its `set` may make present and that are cleared after it ran whether it did or not; see `Schedule`.
        inactive: true while its mode is not active.
        reach: the highest level of what it may set off at the same tag, its own at least.
        cost_ns: running estimate of the body's time; `outlier`: its last time was far from that.
    """

    __slots__ = (
        "body", "call", "clears", "cost_ns", "enclave", "inactive", "index", "level", "mode", "name", "node", "outlier", "reach", "reads", "row", "size",
    )  # fmt: skip

    def __init__(self, node: Any) -> None:
        self.node = node
        self.index: int = node.index
        self.name: str = node.name
        self.level: int = node.level
        self.mode: int = node.mode
        self.call: Callable[[], None]
        self.body: Callable[..., None] | None = None
        self.row: tuple[Any, ...] = ()
        self.clears: tuple[InPort, ...] = ()
        self.enclave = 0
        self.inactive = False
        self.reach = -1
        self.reads: tuple[InPort, ...] = ()
        self.cost_ns = -1
        self.outlier = False
        self.size = 1

    def culprit(self, _: BaseException) -> RunningReaction:
        """What raised; of a group, see there."""
        return self

    def __repr__(self) -> str:
        return f"<reaction {self.name} level {self.level}>"
