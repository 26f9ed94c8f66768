"""`Returning`: gives a run back the state of a cut, from which it goes on in memory. What also writes it is `keeping.Keeping`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactornb.durable.folder import CheckpointInfo
from reactornb.durable.history import History
from reactornb.durable.log_rows import fill
from reactornb.durable.objects import Known, restore
from reactornb.errors import RunError
from reactornb.model import Reactor
from reactornb.runtime.cut import Cut
from reactornb.runtime.launch import Done
from reactornb.runtime.outside_rows import OutsideLog, Replay

__all__ = ["Returning"]

Tag = tuple[int, int]


class Returning:
    """A run that goes on from a cut, in memory only: gives it back its state. See `runtime.kept.Kept`.

    Args:
        known: the classes that saved state may name.
        cut: from which the run goes on; None: from the first tag.
        replay: what came from outside after that.
        history: metrics and changes up to the cut.
        seconds: for how long the run had run.
        hold_at: hold it before the first tag that is later than this one.
        notices: what its user is to be told.

    Attributes:
        held: happens when the run is held there, or over; None if it is not to be held.
    """

    path: Path | None = None

    def __init__(
        self,
        known: Known,
        *,
        cut: Cut | None = None,
        replay: Replay | None = None,
        history: History | None = None,
        seconds: float = 0.0,
        hold_at: Tag | None = None,
        notices: Sequence[str] = (),
    ) -> None:
        self.start_from = cut
        self.outside_replay = replay
        self.outside_log: OutsideLog | None = None
        self.began_s = time.perf_counter() - seconds
        self.held: Done | None = None
        self._known = known
        self._history = history
        self._hold_at = hold_at
        self._told_first = notices
        self._run: Any = None
        self._engine: Any = None

    def restore(self, objects: Sequence[Any], instances: Sequence[Reactor]) -> Sequence[Sequence[Any]]:
        """See `Keeper`."""
        values = restore([one["tree"] for one in objects], instances, self._known)
        if self._history is not None:
            for index, instance in enumerate(instances):
                fill(instance._log, self._history.rows_of(index), self.began_s)
        return values

    def begin(self, run: Any) -> None:
        """See `Kept`."""
        self._run, self._engine = run, run._engine
        if self._hold_at is not None:
            self.held = self._engine.run_to(self._hold_at)
        self.start_from = None  # what it holds may be large

    def tell(self) -> None:
        """Give the notices of the beginning; on the thread that starts the run."""
        for number, words in enumerate(self._told_first):
            self._run.notices.add(("resumed", number), words)

    def capture(self, enclave: int, instances: Sequence[Reactor], values: Sequence[Any]) -> Any:
        """See `Keeper`: nothing is kept."""

    def taken(self, cut: Cut) -> None:
        """See `Keeper`."""

    def checkpoint(self, name: str | None, timeout: float | None) -> CheckpointInfo:  # noqa: ARG002 - as `Kept` has it
        """See `Kept`."""
        raise RunError(
            f"{self._run} is not kept, so there is nowhere to put a checkpoint: rewind(…, keep=NAME) keeps what goes on."
        )

    def ended(self, failure: BaseException | None, *, abandoned: bool = False) -> None:
        """See `Kept`."""

    def give_up(self) -> None:
        """See `Kept`."""

    def leave_behind(self) -> None:
        """See `Kept`."""
