"""The journal of a run as its reader wants it: metrics, changes, notes, how it ended, without what a resume made void.

It takes records one after the other, so a live run is followed by adding the new ones. It knows records, not files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from reactornb.durable.journal import Position, Record
from reactornb.durable.metric_rows import MetricRows, unpack
from reactornb.durable.summary import MetricSummary, Summary, facts_of, plain
from reactornb.runtime.logs import Column
from reactornb.runtime.metrics import Metrics
from reactornb.runtime.tuning import Change
from reactornb.tags import Tag

__all__ = ["History", "Note"]


class Note(NamedTuple):
    """Something that the run's user was told.

    Attributes:
        tag: at which tag.
        text: what.
    """

    tag: Tag
    text: str


class History:
    """What happened in a run, up to the last record that was added.

    Attributes:
        position: behind the last record that was read; None before the first.
        tag: of the last record.
        end: the body of the record that ended the run; None while there is none, and after it was resumed.
        resumed: the tags at which the run was resumed.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.position: Position | None = None
        self.tag = Tag(0, 0)
        self.end: dict[str, Any] | None = None
        self.resumed: list[Tag] = []
        self._rows = MetricRows()
        self._changes: list[tuple[Change, int]] = []  # and the reactor's index, -1 if unknown
        self._notes: list[Note] = []
        self._metrics: Metrics | None = None
        self.add(records)

    def add(self, records: Iterable[Record]) -> bool:
        """Take in records, in the journal's order; returns whether there were any."""
        before, record = self.position, None
        for record in records:
            if record.kind == "metrics":  # nearly all are
                self._rows.add(unpack(record.body))
            else:
                self._take(record)
        if record is None:
            return False
        self._metrics = None
        self.position = record.position
        self.tag = Tag(*record.tag)
        return self.position != before

    def _take(self, record: Record) -> None:
        tag = Tag(*record.tag)
        match record.kind:
            case "resumed":
                self._resume(tag, facts_of(record))
            case "void":
                self._forget_rows(tag, facts_of(record))
            case "change":
                body = facts_of(record)
                change = Change(tag, str(body.get("path", "?")), body.get("old"), body.get("new"))
                reactor = body.get("reactor")
                self._changes.append((change, reactor if isinstance(reactor, int) else -1))
            case "note":
                self._notes.append(Note(tag, str(facts_of(record).get("text", ""))))
            case "ended":
                self.end = facts_of(record)

    def _resume(self, tag: Tag, facts: Mapping[str, Any]) -> None:
        """Forget what followed the tag, or the tags at which the reactors' enclaves were cut."""
        tags = self._forget_rows(tag, facts)
        self._changes = [
            (change, reactor)
            for change, reactor in self._changes
            if change.tag <= (tags[reactor] if 0 <= reactor < len(tags) else tag)
        ]
        self._notes = [note for note in self._notes if note.tag <= tag]
        self.resumed.append(tag)
        self.end = None

    def _forget_rows(self, tag: Tag, facts: Mapping[str, Any]) -> list[Tag]:
        tags = _tags(facts.get("tags"))
        self._rows.forget_after(tag, tags)
        return tags

    @property
    def metrics(self) -> Metrics:
        """What reactors logged, as `Run.metrics`."""
        if self._metrics is None:
            self._metrics = self._rows.metrics()
        return self._metrics

    def rows_of(self, reactor: int) -> dict[str, Column]:
        """What one reactor logged, in its order, by metric."""
        return self._rows.of_reactor(reactor)

    @property
    def changes(self) -> list[Change]:
        """The parameters that were changed, by tag."""
        return sorted((change for change, _ in self._changes), key=lambda change: change.tag)

    @property
    def notes(self) -> list[Note]:
        """What its user was told, by tag."""
        return list(self._notes)

    def summary(self) -> Summary:
        """The same in a few facts."""
        made = Summary()
        made.position, made.tag = self.position, (self.tag.time_ns, self.tag.microstep)
        made.end = None if self.end is None else plain(self.end)
        made.changes, made.resumed = len(self._changes), len(self.resumed)
        made.wall_s = self._rows.wall_s
        for name, column in sorted(self._rows.columns().items()):
            made.metrics[name] = MetricSummary()
            made.metrics[name].extend(column.values)
        return made


def _tags(value: Any) -> list[Tag]:
    """Tags by reactor, as the record of a resume has them; none if it has none."""
    try:
        return [Tag(int(time_ns), int(microstep)) for time_ns, microstep in value or ()]
    except (TypeError, ValueError):
        return []
