"""The state of a share: one cut of one enclave, as `durable` writes it, with what its gate knows; and back into a replacement.

The hub keeps the bytes and gives them to the next attempt: it looks into nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reactornb.cluster.errors import WireError
from reactornb.cluster.messages import Restore
from reactornb.cluster.packing import Packed, checked, pack
from reactornb.cluster.share import ShareGate
from reactornb.durable.objects import Known, capture, restore
from reactornb.graph import Graph
from reactornb.model import Reactor
from reactornb.runtime.codec import Classes
from reactornb.runtime.cut import CUT_CLASSES, Cut
from reactornb.runtime.restoring import restore as restore_run
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.workers import Worker

__all__ = ["ShareKeeper", "restore_share", "saved_share"]

CLASSES = Classes(CUT_CLASSES)


class ShareKeeper:
    """Saves the objects of a share; a `Keeper`.

    Args:
        known: the classes of the program.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._own: Sequence[Reactor] = ()

    def capture(self, _: int, instances: Sequence[Reactor], values: Sequence[Any]) -> Any:
        """See `Keeper`."""
        return capture(instances, self._known, values=values)

    def taken(self, cut: Cut) -> None:
        """See `Keeper`: a share is cut when the hub asks."""

    def restore(self, objects: Sequence[Any], instances: Sequence[Reactor]) -> Sequence[Sequence[Any]]:
        """See `Keeper`."""
        own = [i for i in instances if hasattr(i._context, "machine")]
        return restore(list(objects), own, self._known)


def saved_share(scheduler: Scheduler, gate: ShareGate) -> Packed:
    """The state of a share; on its leader, between two tags, with nothing to report.

    Raises:
        NotSavableError: if it cannot be saved.
    """
    assert scheduler.cutter is not None
    part = scheduler.cutter.part([], ())
    machine = scheduler.machine
    return pack({"part": part, "gate": gate.saved(), "stop": machine.asked}, CLASSES)


def restore_share(
    message: Restore, graph: Graph, scheduler: Scheduler, keeper: ShareKeeper, worker: Worker, gate: ShareGate
) -> None:
    """Make a share that has not begun what another host saved.

    Raises:
        RunError: if it does not fit the program.
        ReactionError: if a startup reaction raises.
        WireError: if the data are none of `saved_share`.
    """
    saved = checked("Restore.state", message.state, CLASSES, copy=True)
    if type(saved) is not dict or saved.keys() != {"part", "gate", "stop"}:
        raise WireError("Restore.state", "is no state of a share")
    cut = Cut([saved["part"]], elapsed_ns=0, start_time_ns=scheduler.start_time_ns, stop_tag=saved["stop"])
    restore_run(
        cut, graph, scheduler.schedule, [scheduler], worker,
        keeper=keeper, gate=None, recorder=scheduler.recorder, clock=scheduler.clock, begin_ns=0,
    )  # fmt: skip
    gate.load(saved["gate"])
