"""Parameters that are changed while a program runs: what may be changed, how it is carried out, what is left to replay it.

`Run.set` posts a change as one posts a physical action, into the inbox of the enclave that holds the reactor. It takes effect
at the next tag that the enclave executes, or at the physical time of the call where that comes before anything else
that waits: between two tags, before any reaction. What it changed, and at which tag, is a `Change`; the same changes at the
same tags make the same run.

# Tuning        of one enclave; its scheduler's leader's, once the run has begun
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
    """What became of a parameter.

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
    """Why this parameter of a reactor cannot be changed while it runs; None if it can."""
    if name in node.decided:
        return f"it decides {node.decided[name]}, and the graph of a running program is final"
    if name in node.cls._spec.fixed:
        return "it is only looked at when the program starts"
    return None


def targets_of(graph: Graph, path: str, value: Any, instances: Sequence[Reactor] = ()) -> list[Target]:
    """What `Run.set` is to change.

    Args:
        graph: the program.
        path: see `find_parameter`.
        value: the new value; taken as it is now, if it is a list, dict, set or array.
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
    """Changes to be made again: at which tags, and what.

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
        graph: what runs.
        schedule: of the graph.
        queue: the enclave's events.
        recorder: what is recorded of the run, changes among it.
        opens_tags: whether a change may have a tag of its own. Not where there are several enclaves: others may have been told that
            nothing comes before the enclave's next event, so there a change waits for that.
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

    def accept(self, posted_ns: int, targets: list[Target]) -> None:
        """Changes that were posted at that physical time: they get a tag as soon as one opens."""
        self._waiting.append((posted_ns, targets))

    def events(self, targets: Iterable[Target]) -> list[Queued]:
        """These changes as events, of a tag that is known."""
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
        """See `TagSource`: all that waits, whatever tag opens."""
        if not self._waiting:
            return ()
        taken = [event for _, targets in self._waiting for event in self.events(targets)]
        self._waiting.clear()
        return taken

    def close(self) -> None:
        """See `TagSource`."""

    def _parameter(self, reactor: int, name: str) -> Parameter:
        """What stands for a parameter in what is recorded, and triggers the reactions to it; made when it is first changed."""
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
        """The tag opens: no reaction of the enclave runs."""
        tag = Tag(*self._queue.now)
        old = getattr(instance, name)
        object.__setattr__(instance, name, _own(value))
        self._recorder.changes.append((tag, parameter.order, Change(tag, parameter.name, old, value)))
        parameter.state.value = value


def _own(value: Any) -> Any:
    """Reactors share nothing: what can be changed in place is copied."""
    return owned(value, lambda: "the new value")
