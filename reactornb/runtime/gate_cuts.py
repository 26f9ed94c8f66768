"""The gate's part of cuts and of what is restored: which enclaves have been cut, and what was in flight; see `cut.py`.

This is the part of `Gate` that only runs that are kept come to; `enclaves.py` says what the fields mean, and by whom they are touched.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from reactornb.runtime.clock import Wake
from reactornb.runtime.commands import Commands
from reactornb.runtime.cut import Cut, Keeper
from reactornb.runtime.cutting import Cutter, Cutting
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.machine import Machine, Message, Open, Over, Wait
from reactornb.runtime.signals import TagKey
from reactornb.runtime.trace import Recorder, Written
from reactornb.tags import forever

__all__ = ["NEVER", "GateCuts", "Member", "Passage"]

NEVER = (forever, 0)


class Member(Protocol):
    """What the gate asks of an enclave: its scheduler.

    Attributes:
        wake: its leader's.
        cutter: takes cuts of it, if somebody keeps them.
    """

    enclave: int
    machine: Machine
    inbox: Inbox
    commands: Commands
    cutter: Cutter | None
    wake: Wake
    start_time_ns: int

    @property
    def replays(self) -> bool:
        """Whether what came to it from outside in an earlier run is still to come."""
        ...

    def miss_replayed(self) -> None:
        """Nothing can happen any more, in any enclave, so that never comes.

        Raises:
            ReplayError: which says so.
        """
        ...

    @property
    def shares_leader(self) -> bool:
        """Whether its leader leads other enclaves, too."""
        ...

    def accept(self, floor_ns: int = 0) -> None:
        """Queue what was posted up to now."""
        ...


class Passage(Protocol):
    """What a scheduler asks where its enclave is one of several: of the `Gate`, or, where the others are in another process, of what speaks for it."""

    def next(self, me: int, /) -> Open | Wait | Over:
        """See `Gate`."""
        ...

    def record(self, me: int, written: Written, /) -> None:
        """See `Gate`."""
        ...

    def stop_from(self, me: int, /, *, outside: bool = False) -> None:
        """See `Gate`."""
        ...

    def cut(self, me: int, /) -> None:
        """See `Gate`."""
        ...

    def failed(self, me: int, /) -> None:
        """See `Gate`."""
        ...

    def ended(self, me: int, /) -> None:
        """See `Gate`."""
        ...


class GateCuts:
    """The part of `Gate` that takes cuts, and begins with one."""

    if TYPE_CHECKING:
        _members: Sequence[Member]
        _recorder: Recorder
        _elapsed_ns: Callable[[], int]
        _keeper: Keeper | None
        _cutting: Cutting | None
        _lock: threading.Lock
        _heads: list[TagKey]
        _busy: list[bool]
        _over: list[bool]
        _real: list[bool]
        _last: list[TagKey]
        _arrived: list[list[Message]]
        _later: list[list[Message]]
        _stop_tag: TagKey | None
        _patient_until_ns: int | None
        _final: bool
        _failed: list[int]
        _records: list[tuple[TagKey, int, Written]]
        _order: Iterator[int]
        _promised: list[int]

        def _send(self, me: int, outbox: list[Message]) -> None: ...
        def _receive(self, me: int) -> None: ...
        def _head(self, me: int) -> TagKey: ...
        def _wake_others(self, me: int) -> None: ...

    def ask_cut(self) -> None:
        """Somebody wants a cut: each enclave is cut when it comes between two tags, or now if it is there; its leader must be woken."""
        with self._lock:
            if self._patient_until_ns is None:  # else the last cut has been asked for
                self._ask_cut(before_stop=False)

    def _ask_cut(self, *, before_stop: bool) -> None:
        if self._cutting is not None:
            self._cutting.before_stop |= before_stop
        elif not self._failed and not all(self._over):
            self._cutting = Cutting(
                self._over,
                stop_tag=self._stop_tag,
                fingerprint=self._recorder.state,
                pending=[(tag, written.terms) for tag, _, written in self._records],
                before_stop=before_stop,
            )

    def cut(self, me: int) -> None:
        """Cut an enclave that is paused, if that was asked for; its leader."""
        with self._lock:
            line = None if self._cutting is None else self._pass(me, self._cutting)
        if line is not None:
            self._copy(me, *line)

    def load(self, cut: Cut) -> None:
        """Begin as the run that was cut; before the first tag. The machines have been loaded, and have what was in flight."""
        with self._lock:
            for me, part in enumerate(cut.enclaves):
                if part.begun:
                    self._last[me] = part.tag
                    self._heads[me] = (part.tag[0], part.tag[1] + 1)
                if part.is_over:
                    self._over[me], self._real[me], self._heads[me] = True, False, NEVER
            self._promised = [max(own, told) for own, told in zip(self._promised, cut.promised, strict=True)]
            self._stop_tag, self._final = cut.stop_tag, cut.stop_tag is not None
            for tag, terms in cut.pending:
                heapq.heappush(self._records, (tag, next(self._order), Written(terms, [], [])))

    def _pass(self, me: int, cutting: Cutting) -> tuple[list[tuple[int, int]], Cutting] | None:
        """Cut an enclave here, between two of its tags, unless that is done; returns what `_copy` needs.

        From now on what it does comes after the cut. What others have sent it before theirs is received, hence in its queue.
        """
        if cutting.passed[me]:
            return None
        member = self._members[me]
        machine = member.machine
        self._busy[me] = False
        self._last[me] = machine.queue.now
        self._send(me, machine.outbox)
        line = self._cutter(me).line(self._promised[me])
        self._receive(me)
        self._draw(me, cutting)
        # Others may go on while it is copied. An end that was asked for it takes over in `next`, and may then be earlier than this.
        head = self._head(me)
        self._heads[me] = head if self._stop_tag is None else min(head, self._heads[me])
        self._wake_others(me)
        return line, cutting

    def _cutter(self, enclave: int) -> Cutter:
        cutter = self._members[enclave].cutter
        assert cutter is not None
        return cutter

    def _draw(self, me: int, cutting: Cutting) -> None:
        cutting.passed[me] = True
        self._arrived[me] += self._later[me]
        self._later[me].clear()
        if cutting.is_drawn:
            cutting.drawn(self._elapsed_ns(), self._promised)
            self._cutting = None

    def _copy(self, me: int, line: list[tuple[int, int]], cutting: Cutting) -> None:
        """Copy an enclave that has just been cut, and complete the cut if it is the last; on its leader, without the lock."""
        part = self._cutter(me).part(line, cutting.sent[me])
        with self._lock:
            cutting.parts[me] = part
            if cutting.is_missing_parts:
                return
        for enclave, was_over in enumerate(cutting.over):
            if was_over:
                cutting.parts[enclave] = self._cutter(enclave).part([], ())
        assert self._keeper is not None
        self._keeper.taken(cutting.whole(self._members[0].start_time_ns))
