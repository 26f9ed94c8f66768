"""Deadlines: a handler instead of a body that would begin too late.

# limit_ns, missed   written by the worker that runs the reaction; reactions of one reactor run one at a time. Read by any, for display.
"""

from __future__ import annotations

from collections.abc import Callable

from reactornb.model import Reactor
from reactornb.runtime.context import ReactionContext

__all__ = ["Deadline"]


class Deadline:
    """The deadline of one reaction.

    Args:
        context: of its enclave.
        limit_ns: by how much physical time may have passed the tag when it begins.
        late: what runs instead; None: the body, which may ask by `check_deadline`.

    Attributes:
        limit_ns: likewise; a body may change it.
        missed: how often it began too late.
    """

    def __init__(self, context: ReactionContext, limit_ns: int, late: Callable[[], None] | None) -> None:
        self._context = context
        self.limit_ns = limit_ns
        self.late = late
        self.missed = 0

    def is_missed(self) -> bool:
        """True once physical time has passed the tag by more than the deadline."""
        return self._context.elapsed_ns() - self._context.time_ns > self.limit_ns

    def guarded(self, body: Callable[[], None], instance: Reactor) -> Callable[[], None]:
        """A call that runs `late` instead of `body` once the deadline is missed."""

        def call() -> None:
            if self.is_missed():
                self.missed += 1
                if self.late is not None:
                    self.late()
                    return
            # For check_deadline and update_deadline in the body; reactions of one reactor run one at a time.
            object.__setattr__(instance, "_deadline", self)
            try:
                body()
            finally:
                object.__setattr__(instance, "_deadline", None)

        return call
