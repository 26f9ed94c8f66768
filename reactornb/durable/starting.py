"""From where a kept run goes on: a checkpoint, what came from outside after it, and what it had logged before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reactornb.durable.errors import DamagedRunError
from reactornb.durable.folder import CheckpointInfo, RunFolder
from reactornb.durable.history import History
from reactornb.durable.inputs import Past
from reactornb.durable.journal import Position, Record
from reactornb.durable.keeping import BEFORE, CLASSES
from reactornb.durable.metric_rows import pack
from reactornb.durable.objects import Known
from reactornb.errors import MalformedDataError, RunOptionError, UnknownNameError, suggestion
from reactornb.graph import Graph
from reactornb.runtime.codec import Encoded, decode, encode
from reactornb.runtime.cut import Cut
from reactornb.runtime.outside_rows import BETWEEN_TAGS, Replay, Row
from reactornb.tags import Tag, as_duration

__all__ = ["LAST", "Place", "Start", "start_of"]

Place = Any
"""A tag, as `Tag` or (ns, microstep); a duration: all tags up to that time; the name of a checkpoint, or a `CheckpointInfo`."""
TagKey = tuple[int, int]
_COPIED = "copied"
"""Stands in `CheckpointInfo.extra` of the one that a branch begins from: it is its parent's."""
LAST = 1 << 62
"""A microstep after all of an instant."""


@dataclass(frozen=True, slots=True)
class Start:
    """From where a run goes on.

    Attributes:
        tag: up to which it is known; it is held there, if that is wanted.
        info, encoded, cut: the checkpoint; None: from the first tag.
        replay: what came from outside after it; None: nothing is to be repeated.
        given: changes of parameters (tag, full name, value) that the run was begun with and that are not in the cut, since it was another run's.
        history: of the run up to the cut.
        inputs: how many records of inputs count.
    """

    tag: TagKey
    info: CheckpointInfo | None
    encoded: Encoded | None
    cut: Cut | None
    replay: Replay | None
    given: list[tuple[TagKey, str, Any]]
    history: History
    inputs: int

    @property
    def seconds(self) -> float:
        """For how long the run had run at the cut."""
        seconds = self.info.extra.get("seconds") if self.info is not None else None
        return float(seconds) if isinstance(seconds, (int, float)) else 0.0

    def resumed(self, graph: Graph) -> dict[str, Any]:
        """The body of the record "resumed"."""
        checkpoint = None if self.info is None else self.info.path.name
        return {"tags": _reactor_tags(graph, self.cut), "inputs": self.inputs, "checkpoint": checkpoint}

    def copy_to(self, folder: RunFolder, graph: Graph) -> None:
        """Give a branch the checkpoint from which it begins, and the metrics before it."""
        for node in graph.reactors:
            columns = self.history.rows_of(node.index)
            if columns:
                last = max((int(c.times_ns[-1]), int(c.microsteps[-1])) for c in columns.values())
                folder.journal.append("metrics", last, pack(node.index, columns))
        if self.info is not None and self.encoded is not None:
            folder.write_checkpoint(self.info.tag, self.encoded, {**self.info.extra, _COPIED: True}, self.info.name)


def _reactor_tags(graph: Graph, cut: Cut | None) -> list[TagKey]:
    """Per reactor, the tag of its enclave in a cut, as the journal has tags."""
    if cut is None:
        return [BEFORE] * len(graph.reactors)
    tags = [part.tag if part.begun else BEFORE for part in cut.enclaves]
    return [tags[node.enclave] for node in graph.reactors]


def _forget_after(history: History, tag: TagKey, tags: Sequence[TagKey]) -> None:
    """Leave in a history what was before a cut."""
    body = encode({"tags": [list(tag) for tag in tags]}).to_bytes()
    history.add([Record("resumed", tag, body, is_value=True, position=Position(0, 0))])


def start_of(
    folder: RunFolder, past: Past, at: Place | None, known: Known, graph: Graph, *, replayed: bool, notices: list[str]
) -> Start:
    """The newest checkpoint that fits, and all that belongs to it.

    Args:
        folder: of the run.
        past: what its journal says; its history is cut off where the run goes on.
        at: the last tag that counts; None: all that is known.
        known: of the program.
        graph: of the program.
        replayed: repeat what came from outside after the checkpoint.
        notices: gets what the user is to be told.

    Raises:
        DamagedRunError: if no checkpoint can be read though there are some.
        UnknownNameError: if `at` names a checkpoint that there is not.
    """
    infos = folder.checkpoints(skip_damaged=True)
    until, infos = _until(at, infos)
    info, encoded, cut = _newest(folder, infos, notices)
    rows = past.rows(known) if replayed else []
    if past.lost and replayed:
        notices.append(
            f"what came from outside is known only in part ({past.lost}): the run goes on otherwise from there on."
        )
    if until is not None:
        rows = [row for row in rows if _is_up_to(row, until)]
    reached = past.reached if until is None else until
    since = (
        None
        if cut is None
        else [(part.objects["position"], part.tag if part.begun else BEFORE) for part in cut.enclaves]
    )
    replay = (
        Replay(rows, since=since, until=reached, stops=False) if replayed and (rows or reached is not None) else None
    )
    _forget_after(past.history, BEFORE if cut is None else cut.tag, _reactor_tags(graph, cut))
    given = _given(rows) if info is not None and info.extra.get(_COPIED) is True else []
    tag = until or max(reached or BEFORE, BEFORE if cut is None else cut.tag)
    return Start(tag, info, encoded, cut, replay, given, past.history, past.inputs)


def _until(at: Place | None, infos: list[CheckpointInfo]) -> tuple[TagKey | None, list[CheckpointInfo]]:
    """The last tag that counts, and the checkpoints up to it."""
    if at is None:
        return None, infos
    if isinstance(at, CheckpointInfo):
        return at.tag, [info for info in infos if info.path.name == at.path.name]
    if isinstance(at, str):
        named = [info for info in infos if info.name == at]
        if not named:
            names = [info.name for info in infos if info.name is not None]
            raise UnknownNameError(f"the run has no checkpoint {at!r}. {suggestion(at, names)}", unknown=at)
        return named[-1].tag, named
    duration = as_duration(at)
    if duration is not None:
        until = (int(duration), LAST)
    else:
        try:
            time_ns, microstep = at
            until = (int(time_ns), int(microstep))
        except (TypeError, ValueError):
            raise RunOptionError(
                f"at= takes a tag, such as Tag(sec(3), 0) or (3_000_000_000, 0), a duration, such as sec(3), or the name of a checkpoint, not {at!r:.100}."
            ) from None
    if until < (0, 0):
        raise RunOptionError(f"there is nothing before the first tag: at={at!r}.")
    return until, [info for info in infos if info.tag <= until]


def _newest(
    folder: RunFolder, infos: list[CheckpointInfo], notices: list[str]
) -> tuple[CheckpointInfo | None, Encoded | None, Cut | None]:
    """The newest checkpoint that can be read."""
    damage: Exception | None = None
    for info in reversed(infos):
        try:
            encoded = folder.read_checkpoint(info)
            cut = decode(encoded, CLASSES)
            if not isinstance(cut, Cut) or not all(isinstance(part.objects, dict) for part in cut.enclaves):
                raise DamagedRunError(info.path, "it is no state of a run")
        except (DamagedRunError, MalformedDataError) as error:
            damage = damage or error
            notices.append(
                f"checkpoint {Tag(*info.tag)} cannot be read, so the run goes on from an earlier one: {error}"
            )
            continue
        return info, encoded, cut
    if damage is not None:
        raise damage
    return None, None, None


def _given(rows: list[Row]) -> list[tuple[TagKey, str, Any]]:
    """The changes that a branch was begun with, each once: who goes on from its first checkpoint writes them down again."""
    found = {(row[3], row[4][0]): row[4][1] for row in rows if row[0] == "given"}
    return [(tag, name, value) for (tag, name), value in found.items()]


def _is_up_to(row: Row, until: TagKey) -> bool:
    """Whether a row is of the time up to a tag: what was accepted after it is not."""
    return row[3] < until if row[0] in BETWEEN_TAGS else row[3] <= until
