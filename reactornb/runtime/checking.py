"""`check_values=True`: every value is looked at when it is sent, before each reaction that reads it and after it, and who changed it is named.

Reactions run one at a time, those of other enclaves included. What cannot be changed in place, or is settled as `sending` says, cannot
differ; what is left are objects, tensors, and what `Output(copy=False)` sent as it is.
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

_FEW = 256
_KEPT = 64  # values of one port that are remembered: as many may be under way on delayed connections


class _Sent(NamedTuple):
    value: Any
    digest: str
    port: str
    sender: RunningReaction


class ValueChecks:
    """What one run knows of the values under way.

    # _lock       held while a reaction runs, by its worker: so one reaction at a time runs in the whole run
    # the others  belong to who holds it
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: RunningReaction | None = None
        self._sent: dict[int, _Sent] = {}  # by the value's id, which is its own while it stands here
        self._of_port: dict[str, deque[int]] = {}

    def sending(self, port: str, deliver: Callable[[Any], None]) -> Callable[[Any], None]:
        """What a port's `set` calls: `deliver`, with the value noted."""

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
        """`call`, alone in the run, with what it reads looked at before and after.

        Raises (the function made):
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
                # Of few values all are looked at, so that one who never received the value is named, too.
                looked_at = self._sent.values() if len(self._sent) <= _FEW else (*read.values(), *self._own(r))
                for sent in list(looked_at):
                    if self._differs(sent):
                        raise ValueChangedError(self._words(r, sent, read))

        return checked_call

    def _differs(self, sent: _Sent) -> bool:
        return digest(sent.value, strict=False) != sent.digest

    def _own(self, r: RunningReaction) -> list[_Sent]:
        return [sent for sent in self._sent.values() if sent.sender.node.reactor == r.node.reactor]

    def _read(self, r: RunningReaction) -> dict[str, _Sent]:
        """By the name of the port through which the reaction reads it."""
        found = {}
        for port in r.reads:
            sent = self._sent.get(id(port.value))
            if sent is not None and sent.value is port.value:
                found[port.name] = sent
        return found

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
