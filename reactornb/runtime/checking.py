"""`check_values=True`: finds the reaction that changes a value which was sent.

A value is hashed when it is sent, before each reaction that reads it, and after it. Reactions run one at a time, those of other enclaves
included. A value that cannot be changed in place, or that `sending` copies or freezes, cannot differ; the check finds changes of objects, of
tensors, and of what `Output(copy=False)` sends as it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from reactornb.errors import ValueChangedError
from reactornb.runtime.fingerprint import digest
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.sending import PLAIN

__all__ = ["ValueChecks"]

_FEW = 256  # if no more values are remembered, all are compared after each reaction
_KEPT = 64  # values of one port that are remembered; so many may wait on delayed connections


class _Sent(NamedTuple):
    value: Any
    digest: str
    port: str
    sender: RunningReaction


class ValueChecks:
    """The values of one run that were sent and may still be read.

    # _lock       held by the worker while a reaction runs, so that one reaction at a time runs in the whole run
    # the others  read and written by the thread that holds it
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: RunningReaction | None = None
        self._sent: dict[int, _Sent] = {}  # by the value's id, which no other object has while it is kept here
        self._of_port: dict[str, deque[int]] = {}

    def sending(self, port: str, deliver: Callable[[Any], None]) -> Callable[[Any], None]:
        """`deliver` for a port's `set`, which also remembers the value."""

        def noted(value: Any) -> None:
            sender = self._running
            if type(value) not in PLAIN and sender is not None:
                self._note(_Sent(value, digest(value, strict=False), port, sender))
            deliver(value)

        return noted

    def _note(self, sent: _Sent) -> None:
        kept = self._of_port.setdefault(sent.port, deque())
        number = id(sent.value)
        if number not in self._sent or self._sent[number].port != sent.port:
            kept.append(number)
        self._sent[number] = sent
        if len(kept) > _KEPT:
            old = kept.popleft()
            if old in self._sent and self._sent[old].port == sent.port:
                del self._sent[old]

    def checked(self, r: RunningReaction, call: Callable[[], None]) -> Callable[[], None]:
        """`call`, with the values that the reaction reads compared before and after; no other reaction runs meanwhile.

        Raises (the returned function):
            ValueChangedError: for a value that is not what was sent.
        """

        def checked_call() -> None:
            with self._lock:
                read = self._read(r)
                for sent in {id(s): s for s in (*read.values(), *self._own(r))}.values():
                    if self._differs(sent):
                        raise ValueChangedError(
                            f"the value that {sent.sender.name} ({sent.sender.node.source}) sent on {sent.port} was changed before {r.name} begins, and "
                            f"not by {r.name}: an object that is also kept elsewhere, in a global, another reactor or a thread. Send a "
                            f"copy: Output(copy=True)."
                        )
                self._running = r
                try:
                    call()
                finally:
                    self._running = None
                # If there are few, all are compared: the reaction may have changed a value that it never received.
                compared = self._sent.values() if len(self._sent) <= _FEW else (*read.values(), *self._own(r))
                for sent in list(compared):
                    if self._differs(sent):
                        raise ValueChangedError(self._words(r, sent, read))

        return checked_call

    def _differs(self, sent: _Sent) -> bool:
        return digest(sent.value, strict=False) != sent.digest

    def _own(self, r: RunningReaction) -> list[_Sent]:
        return [sent for sent in self._sent.values() if sent.sender.node.reactor == r.node.reactor]

    def _read(self, r: RunningReaction) -> dict[str, _Sent]:
        """The values that a reaction reads, by the name of the port."""
        values = {}
        for port in r.reads:
            sent = self._sent.get(id(port.value))
            if sent is not None and sent.value is port.value:
                values[port.name] = sent
        return values

    @staticmethod
    def _words(r: RunningReaction, sent: _Sent, read: dict[str, _Sent]) -> str:
        who = f"{r.name} ({r.node.source}) changed"
        for port, value in read.items():
            if value is sent:
                return (
                    f"{who} the value that it read from {port}. Values are shared with other readers: copy before changing, or declare "
                    f"Input(mutable=True)."
                )
        if sent.sender.node.reactor == r.node.reactor:
            when = "after it had sent it" if sent.sender is r else f"after {sent.sender.name} had sent it"
            return (
                f"{who} a value {when} on {sent.port}: its readers, and what is under way, see the change. Send a copy, or let the port copy what is "
                f"sent: Output(copy=True)."
            )
        return (
            f"{who} the value that {sent.sender.name} sent on {sent.port}, which it did not get from a port: both hold one object. Reactors share "
            f"nothing: send a copy, or let the port copy what is sent: Output(copy=True)."
        )
