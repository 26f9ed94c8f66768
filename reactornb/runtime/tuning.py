"""Changes of parameters while a program runs: which parameters may change, how a change takes effect, how it is replayed.

`Run.set` posts a change like a physical action, into the inbox of the enclave that holds the reactor. The change takes effect
between two tags, before any reaction: at the enclave's next tag, or at a tag of its own at the physical time of the call if
that is earlier. A `Change` records the old and new value and the tag; the same changes at the same tags give the same run.

# Tuning        one per enclave; used only by its scheduler's leader once the run has begun
# changes       appended to by all leaders (list.append is atomic), read by any thread
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from reactornb.errors import DeclarationError, ParameterError
from reactornb.graph import Graph, ReactorNode, find_parameter
from reactornb.model import Reactor, fitting
from reactornb.model.ownership import owned
from reactornb.runtime.cut import Named, Values
from reactornb.runtime.events import EventQueue
from reactornb.runtime.handles import InPort
from reactornb.runtime.schedule import Schedule
from reactornb.runtime.signals import Parameter, Queued, TagKey
from reactornb.runtime.trace import Recorder
from reactornb.tags import Tag

__all__ = ["Change", "Target", "Tuning", "refusal", "replayed", "targets_of"]

Target = tuple[int, str, Any]
"""Index of a reactor, name of its parameter, the new value."""


class Change(NamedTuple):
    """A change of a parameter that took effect.

    Attributes:
        tag: before the reactions of this tag.
        path: the parameter's full name, such as `main.rollouts[3].epsilon`.
        old, new: its value before and after.
    """

    tag: Tag
    path: str
    old: Any
    new: Any


def refusal(node: ReactorNode, name: str) -> str | None:
    """The reason why this parameter cannot be changed during a run; None if it can."""
    if name in node.decided:
        return f"it decides {node.decided[name]}, and the graph of a running program is final"
    if name in node.cls._spec.fixed:
        return "it is only looked at when the program starts"
    return None


def targets_of(graph: Graph, path: str, value: Any, instances: Sequence[Reactor] = ()) -> list[Target]:
    """The parameters that a call of `Run.set` changes.

    Args:
        graph: the program.
        path: see `find_parameter`.
        value: the new value; a list, dict, set or array is copied now.
        instances: the running reactors, each of which may refuse the value.

    Raises:
        UnknownNameError: if the path leads nowhere.
        ParameterError: if the value does not fit, or the parameter cannot be changed.
    """
    nodes, name = find_parameter(graph, path)
    value = _own(value)
    targets: list[Target] = []
    for node in nodes:
        full = f"{node.name}.{name}"
        reason = refusal(node, name)
        if reason is not None:
            raise ParameterError(
                f"{full} cannot be changed now: {reason}. Start the program again with another {name}.",
                parameter=full,
                value=value,
            )
        try:
            fitted = fitting(node.cls, name, value)
            if instances:
                instances[node.index].check_parameter(name, fitted)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{full} cannot be {value!r}: {error}", parameter=full, value=value) from error
        targets.append((node.index, name, fitted))
    return targets


def replayed(graph: Graph, changes: Iterable[Any]) -> list[tuple[tuple[int, int], list[Target]]]:
    """The changes to replay, with their tags.

    Args:
        graph: the program.
        changes: `Run.changes` of another run, or (tag, path, old, new) in any form.

    Raises:
        DeclarationError: if it is something else, or a tag is not one.
        UnknownNameError, ParameterError: see `targets_of`.
    """
    replay = []
    for item in changes:
        try:
            (time_ns, microstep), path, _, new = item
            tag = (int(time_ns), int(microstep))
        except (TypeError, ValueError):
            raise DeclarationError(
                f"replay takes changes, as run.changes has them: (tag, path, old, new), not {item!r}."
            ) from None
        if min(tag) < 0:
            raise DeclarationError(f"replay: {path} cannot be changed at {tag}, before the first tag.")
        replay.append((tag, targets_of(graph, path, new)))
    return replay


class Tuning:
    """Carries changes out in one enclave; a `TagSource`.

    Args:
        graph: the running program.
        schedule: the schedule of the graph.
        queue: the enclave's event queue.
        recorder: records the run, including its changes.
        opens_tags: whether a change may have a tag of its own. False if there are several enclaves: others may already rely on the
            enclave's next event being its earliest, so a change waits for that event.
    """

    def __init__(
        self, graph: Graph, schedule: Schedule, queue: EventQueue, recorder: Recorder, *, opens_tags: bool
    ) -> None:
        self._graph = graph
        self._schedule = schedule
        self._queue = queue
        self._recorder = recorder
        self._opens_tags = opens_tags
        self._waiting: list[tuple[int, list[Target]]] = []  # (physical time of the call in ns, targets): no tag yet
        self._parameters: dict[tuple[int, str], Parameter] = {}
        self._made: list[tuple[Tag, int, Change]] = []  # of this enclave; the recorder has those of all

    def accept(self, posted_ns: int, targets: list[Target]) -> None:
        """Add changes that were posted at this physical time; they take effect at the next tag that opens."""
        self._waiting.append((posted_ns, targets))

    def events(self, targets: Iterable[Target]) -> list[Queued]:
        """These changes as events for a given tag."""
        return [(self._parameter(reactor, name), value) for reactor, name, value in targets]

    def next_tag(self, earliest: TagKey | None) -> TagKey | None:
        """See `TagSource`: the physical time of the first call, or one microstep from now if that is later."""
        if not self._waiting or not self._opens_tags:
            return earliest
        posted_ns, queue = self._waiting[0][0], self._queue
        soon = (posted_ns, 0) if posted_ns > queue.time_ns else queue.next_microstep
        if queue.stop_tag is not None and soon > queue.stop_tag:
            return earliest
        return soon if earliest is None or soon < earliest else earliest

    def take(self) -> Sequence[Queued]:
        """See `TagSource`: take all waiting changes, whichever tag opens."""
        if not self._waiting:
            return ()
        taken = [event for _, targets in self._waiting for event in self.events(targets)]
        self._waiting.clear()
        return taken

    def close(self) -> None:
        """See `TagSource`."""

    def saved(self, values: Values) -> dict[str, Any]:
        """Between two tags, the changes that wait for the next one, and those that were made; for a cut."""
        return {
            "waiting": [
                (posted_ns, [(reactor, name, values.add(value)) for reactor, name, value in targets])
                for posted_ns, targets in self._waiting
            ],
            "made": [
                (tuple(tag), order, change.path, values.add(change.old), values.add(change.new))
                for tag, order, change in self._made
            ],
        }

    def load(self, saved: dict[str, Any], named: Named) -> None:
        """Begin with what `saved` gave. The changed parameters themselves are attributes of the instances."""
        self._waiting[:] = [
            (posted_ns, [(reactor, name, named.value(place)) for reactor, name, place in targets])
            for posted_ns, targets in saved["waiting"]
        ]
        self._made[:] = [
            (tag := Tag(*made), order, Change(tag, path, named.value(old), named.value(new)))
            for made, order, path, old, new in saved["made"]
        ]
        self._recorder.changes += self._made

    def numbered(self, order: int) -> Parameter:
        """The signal of a parameter, by its number."""
        for reactor, node in enumerate(self._graph.reactors):
            for name in node.cls._spec.parameters:
                if self._schedule.parameter_order(reactor, name) == order:
                    return self._parameter(reactor, name)
        raise LookupError(f"no parameter has the number {order}")

    def _parameter(self, reactor: int, name: str) -> Parameter:
        """The signal of a parameter, which is recorded and triggers reactions; created when the parameter first changes."""
        parameter = self._parameters.get((reactor, name))
        if parameter is None:
            parameter = self._schedule.parameters.get((reactor, name))
            if parameter is None:
                node = self._graph.reactors[reactor]
                parameter = Parameter(f"{node.name}.{name}", node.enclave)
                parameter.state = InPort(parameter.name)
                parameter.order = self._schedule.parameter_order(reactor, name)
                parameter.at_tag_end = self._recorder.records_values
            self._parameters[reactor, name] = parameter
            parameter.deliver = functools.partial(self._change, parameter, self._schedule.instances[reactor], name)
        return parameter

    def _change(self, parameter: Parameter, instance: Reactor, name: str, value: Any) -> None:
        """Called when the tag opens, while no reaction of the enclave runs."""
        tag = Tag(*self._queue.now)
        old = getattr(instance, name)
        object.__setattr__(instance, name, _own(value))
        made = (tag, parameter.order, Change(tag, parameter.name, old, value))
        self._made.append(made)
        self._recorder.changes.append(made)
        parameter.state.value = value


def _own(value: Any) -> Any:
    """A copy of a mutable value, so that reactors share none."""
    return owned(value, lambda: "the new value")
