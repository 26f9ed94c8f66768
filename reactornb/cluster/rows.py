"""What reactors of a share log, print and have had changed, on its way into the logs, lines and changes of the hub's run.

    logs    {"clock": perf_counter of the host, "rows": [(reactor, kinds, bytes)], "changes": [(tag, number, reactor, parameter, path, old, new)]}
    prints  [(line's fields, origin's fields)]

# Outgoing   read by the share's leader between two tags
# Incoming   the share's driver
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, override

from reactornb.cluster.errors import WireError
from reactornb.cluster.packing import Packed, checked, pack
from reactornb.errors import UnencodableValueError
from reactornb.model import Reactor
from reactornb.runtime.logs import Log
from reactornb.runtime.origins import Origin
from reactornb.runtime.printed import Line, Printed
from reactornb.runtime.trace import Recorder
from reactornb.runtime.tuning import Change
from reactornb.tags import Tag

__all__ = ["Incoming", "Lines", "Outgoing"]


class Lines(Printed):
    """What a share prints; it also keeps the lines that are to be sent."""

    def __init__(self) -> None:
        super().__init__()
        self._new: list[Line] = []

    @override
    def _add(self, line: Line) -> None:
        super()._add(line)
        self._new.append(line)

    def take(self) -> list[Line]:
        """The lines since the last call."""
        with self._lock:
            new, self._new = self._new, []
        return new


class Outgoing:
    """Packs what is new of a share.

    Args:
        instances: of the share, by number.
        lines: what it prints.
        recorder: has the changes of its parameters.
    """

    def __init__(self, instances: Mapping[int, Reactor], lines: Lines, recorder: Recorder) -> None:
        self._instances = instances
        self._lines = lines
        self._recorder = recorder
        self._read = {index: len(instance._log) for index, instance in instances.items()}
        self._changes = len(recorder.changes)

    def logs(self) -> Packed | None:
        """The rows and changes since the last call; None: nothing."""
        rows = []
        for index, instance in self._instances.items():
            start, end = self._read[index], len(instance._log)
            if end > start:
                kinds, data = instance._log.packed(start, end)
                rows.append((index, [list(names) for names in kinds], data))
                self._read[index] = end
        changes = []
        for tag, order, change in self._recorder.changes[self._changes :]:
            changes.append((tuple(tag), order, change.path, _plain(change.old), _plain(change.new)))
        self._changes += len(changes)
        if not rows and not changes:
            return None
        return pack({"clock": time.perf_counter(), "rows": rows, "changes": changes})

    def prints(self) -> Packed | None:
        """The lines since the last call; None: none."""
        lines = [(tuple(line[:-1]), tuple(line.origin)) for line in self._lines.take()]
        return pack(lines) if lines else None


class Incoming:
    """Adds what comes from a share to the run of the hub.

    Args:
        logs: of all reactors of the run.
        names: (reactor, parameter) by the path of a parameter, as `Change` has it.
        printed: of the run.
        recorder: of the run.
    """

    def __init__(self, instances: Sequence[Reactor], printed: Printed, recorder: Recorder) -> None:
        self._instances = instances
        self._by_name = {instance.full_name: instance for instance in instances}
        self._printed = printed
        self._recorder = recorder
        self.rows: dict[int, int] = {}  # by reactor, how many have come
        self.lines = self.changes = 0
        self._repeated: dict[int, int] = {}  # how many of them are still to come again
        self._repeated_lines = self._repeated_changes = 0

    def again(self, since: tuple[dict[int, int], int, int]) -> None:
        """The host was replaced: what came after that comes again.

        Args:
            since: what `mark` gave.
        """
        rows, lines, changes = since
        self._repeated = {index: count - rows.get(index, 0) for index, count in self.rows.items()}
        self._repeated_lines, self._repeated_changes = self.lines - lines, self.changes - changes

    def mark(self) -> tuple[dict[int, int], int, int]:
        """How much the present host has told, in all."""
        rows = {index: count - self._repeated.get(index, 0) for index, count in self.rows.items()}
        return rows, self.lines - self._repeated_lines, self.changes - self._repeated_changes

    def take(self, logs: Packed | None, prints: Packed | None) -> None:
        """Add what a report has.

        Raises:
            WireError: if it is not what `Outgoing` gives.
        """
        try:
            if logs is not None:
                self._take_logs(checked("Report.logs", logs))
            if prints is not None:
                self._take_lines(checked("Report.prints", prints))
        except WireError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise WireError("Report.logs", f"does not fit ({error!r:.200})") from error

    def _take_logs(self, given: Any) -> None:
        shift = time.perf_counter() - float(given["clock"])
        if abs(shift) < 0.5:  # the same clock, a moment later
            shift = 0.0
        for index, kinds, rows in given["rows"]:
            log, data = self._instances[index]._log, rows
            drop = self._repeated.get(index, 0)
            if drop:
                came = Log()
                count = came.extend(kinds, rows, 0.0)
                self._repeated[index] = max(drop - count, 0)
                _, data = came.packed(min(drop, count), count)
            if data:
                self.rows[index] = self.rows.get(index, 0) + log.extend(kinds, data, shift)
        for tag, order, path, old, new in given["changes"]:
            if self._repeated_changes:
                self._repeated_changes -= 1
                continue
            self.changes += 1
            made = Tag(*tag)
            self._recorder.changes.append((made, order, Change(made, path, old, new)))
            owner, _, name = path.rpartition(".")
            object.__setattr__(self._by_name[owner], name, new)

    def _take_lines(self, given: Any) -> None:
        drop = min(self._repeated_lines, len(given))
        self._repeated_lines -= drop
        lines = [Line._make((*fields, Origin(*origin))) for fields, origin in given[drop:]]
        self.lines += len(lines)
        self._printed.take_lines(lines)


def _plain(value: Any) -> Any:
    try:
        pack(value)
    except UnencodableValueError:
        return repr(value)
    return value
