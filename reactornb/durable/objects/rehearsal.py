"""A rehearsal: whether what was captured comes back the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reactornb.durable.objects.compare import differences
from reactornb.durable.objects.errors import CannotRestoreError, NotSavableError
from reactornb.durable.objects.known import Known
from reactornb.durable.objects.put import Putting
from reactornb.durable.objects.take import Taking
from reactornb.durable.objects.tree import Tree
from reactornb.errors import UnencodableValueError
from reactornb.model import Reactor
from reactornb.runtime.codec import decode, encode

__all__ = ["Trial", "put_on_trial", "rehearse"]


def rehearse(
    instances: Sequence[Reactor],
    shadow: Sequence[Reactor],
    known: Known,
    *,
    anchors: Mapping[str, Any] | None = None,
    shadow_anchors: Mapping[str, Any] | None = None,
) -> Tree:
    """Capture, encode, decode, restore into other instances, capture these, compare: whether the run could be resumed.

    Args:
        instances: of the run, at a tag.
        shadow: others of the same names, on which startup has just been run; more than those of `instances` do no harm.
        known: of this program; knows after this what startup makes.
        anchors: of `instances`; see `capture`.
        shadow_anchors: of `shadow`.

    Returns:
        What was captured.

    Raises:
        NotSavableError: if it could not; says which part.
    """
    trial = Trial(instances, known, anchors=anchors)
    put_on_trial([trial], shadow, known, anchors=shadow_anchors)
    return trial.tree


class Trial:
    """A capture of some reactors that remembers of what objects it is, to be put on trial.

    Args:
        instances, known, values, anchors: see `capture`.

    Attributes:
        tree: what was captured.

    Raises:
        NotSavableError: if something cannot be saved.
    """

    def __init__(
        self,
        instances: Sequence[Reactor],
        known: Known,
        *,
        values: Sequence[Any] = (),
        anchors: Mapping[str, Any] | None = None,
    ) -> None:
        self.by_name = {instance.full_name: instance for instance in instances}
        self._taking = Taking(known, anchors, strict=False)
        self.tree = self._taking.take(instances, values)

    def refused(self, reactor: str, words: str, reason: str, fix: str) -> NotSavableError:
        """What is there cannot be saved."""
        return self._taking.refused(self.tree, self.by_name, reactor, words, reason, fix)


def put_on_trial(
    trials: Sequence[Trial], shadow: Sequence[Reactor], known: Known, *, anchors: Mapping[str, Any] | None = None
) -> None:
    """Encode what was captured, decode it, restore it into other instances, capture these, and compare.

    Args:
        trials: of all reactors of a run, in one or several parts.
        shadow, known: see `rehearse`.
        anchors: of `shadow`.

    Raises:
        NotSavableError: if it did not come back; says which part.
    """
    owners = {name: trial for trial in trials for name in trial.by_name}
    twins = [instance for instance in shadow if instance.full_name in owners]
    try:
        trees = decode(encode([trial.tree for trial in trials]))
        values = Putting(trees, twins, known, anchors).put()
    except UnencodableValueError as error:
        raise AssertionError(f"what was captured is no plain data: {error}") from error
    except CannotRestoreError as error:
        if not error.attribute:
            raise
        reason = str(error).removeprefix(f"{error.reactor}: ").removeprefix(f"{error.attribute} ").rstrip(".")
        raise _owner(trials, owners, error.reactor).refused(
            error.reactor,
            error.attribute,
            f"which {reason}",
            "Make it in startup, declare its class with reactornb.durable.savable, or leave it out: {transient}",
        ) from error
    for trial, own in zip(trials, values, strict=True):
        mine = [instance for instance in twins if instance.full_name in trial.by_name]
        found = differences(trial.tree, Taking(known, anchors, strict=False).take(mine, own))
        if found:
            reactor, _, words = found[0].partition(": ")
            raise trial.refused(
                reactor,
                words or "self",
                "which did not come back as it was when it was put back on trial",
                "Say how it is saved: reactornb.durable.savable(..., save=..., load=...), or leave it out: {transient}",
            )


def _owner(trials: Sequence[Trial], owners: Mapping[str, Trial], reactor: str) -> Trial:
    return owners.get(reactor) or trials[0]
