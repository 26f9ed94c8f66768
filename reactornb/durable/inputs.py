"""What came to a run from outside, as records of its journal, and back.

A record of kind "input" is {"row": row} where the codec knows all that the row holds; {"row": row without its data, "tree": data} where the data
hold the program's own objects, as `objects.capture` has them; {"row": row without its data, "lost": words} where they could not be saved:
a replay goes no further. `Past` reads a journal: what is still true after the run was resumed, perhaps more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reactornb.durable.history import History
from reactornb.durable.journal import GAP, Record
from reactornb.durable.objects import Known, capture, restore
from reactornb.durable.summary import facts_of
from reactornb.errors import MalformedDataError, ReactorError, UnencodableValueError
from reactornb.runtime.codec import decode, encode
from reactornb.runtime.outside_rows import Row, without_stops

__all__ = ["INPUT", "Past", "body_of"]

INPUT = "input"
Tag = tuple[int, int]


def body_of(row: Row, known: Known, lost: Callable[[str], object]) -> bytes:
    """The body of a row's record, independent of the program from now on. Any thread; raises nothing.

    Args:
        row: what came.
        known: of the program.
        lost: told, in words, if the row holds what cannot be saved.
    """
    try:
        return encode({"row": row}).to_bytes()
    except UnencodableValueError:
        pass
    kind, enclave, number, tag, data = row
    head = (kind, enclave, number, tag, None)
    try:
        return encode({"row": head, "tree": capture((), known, values=[data])}).to_bytes()
    except Exception as error:  # noqa: BLE001 - a program's own `save` may raise anything, and the run goes on
        words = str(error) if isinstance(error, ReactorError) else f"{type(error).__name__}: {error}"
        lost(f"{kind} of {_name_in(data)}: {words}")
        return encode({"row": head, "lost": words}).to_bytes()


def _name_in(data: Any) -> str:
    return str(data[0]) if isinstance(data, tuple) and data else "the run"


class Past:
    """What a journal says of the time before.

    Args:
        records: of the journal, from its start.

    Attributes:
        history: metrics, changes, notes, how it ended.
        reached: the latest tag that anything is known of; None: of none.
        lost: why inputs are missing, and with them all that came after, in words; "" if none are.
        inputs: how many records of inputs count.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.history = History()
        self.reached: Tag | None = None
        self.lost = ""
        self.inputs = 0
        self._bodies: list[dict[str, Any] | None] = []  # None: what was stopped before this place goes on here
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        self.history.add((record,))
        match record.kind:
            case "input":
                self._add(record)
            case "resumed":
                self._resume(facts_of(record))
            case kind if kind == GAP:
                self.lost = self.lost or "the disk was full, and records are missing"
            case "metrics" | "checkpoint" | "change":
                if not self.lost:
                    tag = (self.history.tag[0], self.history.tag[1])
                    self.reached = tag if self.reached is None else max(self.reached, tag)

    def _add(self, record: Record) -> None:
        if self.lost:
            return
        body = decode(record.body)
        if type(body) is not dict or "row" not in body:
            raise MalformedDataError("a record of an input is damaged.")
        if "lost" in body:
            self.lost = f"{body['row'][0]} at {body['row'][3]}: {body['lost']}"
            return
        self._bodies.append(body)
        self.inputs += 1

    def _resume(self, facts: Mapping[str, Any]) -> None:
        count = facts.get("inputs")
        if isinstance(count, int) and count < self.inputs:
            while self.inputs > count:
                self.inputs -= self._bodies.pop() is not None
        self.lost = ""
        self._bodies.append(None)

    def rows(self, known: Known) -> list[Row]:
        """What came from outside, in the order in which it was written, without the ends of earlier times.

        Raises:
            CannotRestoreError, MalformedDataError: if the program does not have the classes of what came.
        """
        made: list[Row] = []
        for body in self._bodies:
            if body is None:
                made = without_stops(made)
                continue
            kind, enclave, number, (time_ns, microstep), data = body["row"]
            if "tree" in body:
                ((data,),) = restore([body["tree"]], (), known)
            made.append((kind, enclave, number, (time_ns, microstep), data))
        return made
