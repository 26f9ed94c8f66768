"""What came to a run from outside, as rows of plain data: to be kept, written, and replayed.

With program, seed and options given, a run depends on its inputs only: which events came, between which two tags, and with which times. So a row
tells an input together with its place:

    kind, enclave, number, tag, data

| kind | tag | data |
|---|---|---|
| start | (-1, 0) | when the run began, ns since the epoch |
| given | at which it is changed | full name of a parameter, its value: changes that the run was started with |
| action | after which it was accepted | full name, physical ns of the call, ns of its tag, number of the call if a reaction made it (else -1), value |
| watchdog | after which it was accepted | full name, physical ns, ns of its tag, whether it had been started again by then |
| change | after which it was accepted | physical ns of the call, pairs of full name and value, number of the call as above |
| stop | after which it was accepted | ns and microstep of the last tag, whether it is that of all enclaves |
| end | the last one | None |
| missed | which is executed | full name of a reaction that found its deadline passed |
| clock | which is executed | full name of a reactor, the physical ns that it was told |
| connection | which is executed | number of a physical connection, physical ns at which its value arrives |
| refused | which is executed | full name of an action, of which a reaction's call found the inbox full |

The rows from `action` to `stop` are accepted by an enclave's leader between two tags, and numbered in their order. The other numbers tell apart
what happens several times at one tag: the deadline's questions of one reaction, the clock reads of one reactor. What is not `missed` was in time.

`outside.py` makes these rows and repeats them. This module does not know files or processes; whoever keeps rows there gets each as it
comes (`OutsideLog`).

# OutsideLog.rows   appended to by leaders and workers, which is atomic
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reactornb.errors import ReplayError
from reactornb.runtime.signals import TagKey

__all__ = ["BEFORE", "BETWEEN_TAGS", "OutsideLog", "Replay", "Row", "are_rows", "is_after", "without_stops"]

Row = tuple[str, int, int, TagKey, Any]
"""(kind, enclave, number, tag, data); see above."""

BEFORE: TagKey = (-1, 0)
"""Stands for a tag where something came before the first one."""

BETWEEN_TAGS = frozenset({"action", "watchdog", "change", "stop"})
"""Kinds of rows that a leader accepts between two tags."""

_KINDS = BETWEEN_TAGS | {"start", "given", "end", "missed", "clock", "connection", "refused"}


def are_rows(items: Sequence[Any]) -> bool:
    """Whether these are rows, as `Run.outside` has them, and not changes, as `Run.changes` has them."""
    first = items[0] if items else None
    return isinstance(first, (tuple, list)) and len(first) == 5 and isinstance(first[0], str) and first[0] in _KINDS


class OutsideLog:
    """Takes the rows of a run.

    Args:
        on_row: called with each row at once, and with whether the run repeats it from a replay. By any thread of the run, by several at
            a time, before what the row tells has an effect. It must be quick, and must not raise.
        keep: also keep them in `rows`.

    Attributes:
        rows: those of one enclave between its tags in their order.
    """

    def __init__(self, on_row: Callable[[Row, bool], None] | None = None, *, keep: bool = True) -> None:
        self._on_row = on_row
        self._keep = keep
        self.rows: list[Row] = []

    def add(self, row: Row, *, again: bool) -> None:
        """One more."""
        if self._keep:
            self.rows.append(row)
        if self._on_row is not None:
            self._on_row(row, again)


class Replay:
    """The rows of an earlier run, to be repeated.

    Args:
        rows: of the whole run, or all that are known of it; those of an enclave between tags in any order.
        since: for a run that goes on from a cut, per enclave `Border.position` and the current tag there: what came before is
            in the cut. None: from the first tag.
        until: the latest tag that the run is known to have reached, if the rows may know of earlier ones only.
        through: repeat only what belongs to this tag or an earlier one: the run goes its own way from there. None: all.
        stops: repeat that the run was stopped, too. False: it goes on as if it never had been.

    Attributes:
        enclaves: one more than the highest number of an enclave in the rows.
        start_time_ns: when the run began; None if the rows do not tell.
        horizon: up to this tag the earlier run counts.
        stop_tag: of all enclaves, if the run was stopped.
        given: changes of parameters that it was started with: tag, full name, value.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        *,
        since: Sequence[tuple[int, TagKey]] | None = None,
        until: TagKey | None = None,
        through: TagKey | None = None,
        stops: bool = True,
    ) -> None:
        known = [_row(item) for item in rows]
        self.enclaves = max((row[1] for row in known), default=-1) + 1
        self.start_time_ns: int | None = next((row[4] for row in known if row[0] == "start"), None)
        if since is not None:
            known = [row for row in known if is_after(row, *since[row[1]])]
        if through is not None:
            known = [row for row in known if row[3] <= through]
        if not stops:
            known = without_stops(known)
        self.given: list[tuple[TagKey, str, Any]] = [(row[3], *row[4]) for row in known if row[0] == "given"]
        self.horizon = max((row[3] for row in known if row[0] != "given"), default=BEFORE)
        if until is not None:
            self.horizon = max(self.horizon, until)
        stop_tags = [(row[4][0], row[4][1]) for row in known if row[0] == "stop" and row[4][2]]
        self.stop_tag: TagKey | None = min(stop_tags, default=None)
        self._rows = known
        self._since = since

    def rows(self, enclave: int, *kinds: str) -> list[Row]:
        """Those of an enclave and of these kinds, by number."""
        mine = [row for row in self._rows if row[1] == enclave and row[0] in kinds]
        return sorted(mine, key=lambda row: row[2])

    def position(self, enclave: int) -> int:
        """The number of the first row between tags that may come in an enclave."""
        return 0 if self._since is None else self._since[enclave][0]

    def latest_ns(self, *, fast: bool) -> int:
        """The latest physical time that the rows know; unless the run does not wait for physical time, no earlier than the horizon."""
        times = [0 if fast else self.horizon[0]]
        for kind, _, _, _, data in self._rows:
            if kind in ("action", "watchdog", "clock", "connection"):
                times.append(data[1])
            elif kind == "change":
                times.append(data[0])
        return max(times)


def _row(item: Any) -> Row:
    """A row as the module has it, of one that was decoded."""
    try:
        kind, enclave, number, (time_ns, microstep), data = item
        if kind not in _KINDS:
            raise ValueError(kind)
        return str(kind), int(enclave), int(number), (int(time_ns), int(microstep)), data
    except (TypeError, ValueError):
        raise ReplayError(f"replay takes rows, as run.outside has them: (kind, enclave, number, tag, data), not {item!r:.200}.") from None  # fmt: skip


def is_after(row: Row, position: int, tag: TagKey) -> bool:
    """Whether a row is from after a cut."""
    if row[0] in BETWEEN_TAGS:
        return row[2] >= position
    return row[0] not in ("start", "given") and row[3] > tag


def without_stops(rows: list[Row]) -> list[Row]:
    """Leave out that the run was stopped, and what happened at the last tag and after it."""
    ends: dict[int, TagKey] = {}
    everywhere: TagKey | None = None
    for kind, enclave, _, _, data in rows:
        if kind == "stop":
            tag = (data[0], data[1])
            ends[enclave] = min(tag, ends.get(enclave, tag))
            if data[2]:
                everywhere = tag if everywhere is None else min(tag, everywhere)
    left = []
    for row in rows:
        end = ends.get(row[1], everywhere)
        if row[0] not in ("stop", "end") and (end is None or row[3] < end or row[0] in ("start", "given")):
            left.append(row)
    return left
