"""Parameters that are changed while a program runs: what may be changed, how it is carried out, what is left to replay it.

`Run.set` posts a change as one posts a physical action, into the inbox of the enclave that holds the reactor. It takes effect
at the next tag that the enclave executes, or at the physical time of the call where that comes before anything else
that waits: between two tags, before any reaction. What it changed, and at which tag, is a `Change`; the same changes at the
same tags make the same run.

# Tuning        of one enclave; its scheduler's leader's, once the run has begun
# changes       appended to by all leaders (list.append is atomic), read by any thread
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reactornb.errors import DeclarationError, ParameterError
from reactornb.graph import Graph, ReactorNode, find_parameter
from reactornb.model import Reactor, fitting
from reactornb.model.ownership import owned
from reactornb.runtime.handles import InPort
from reactornb.runtime.signals import Action, Fanout, Parameter, Signal
from reactornb.tags import Tag

if TYPE_CHECKING:
    from reactornb.runtime.scheduler import Scheduler

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
    found: list[Target] = []
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
        found.append((node.index, name, fitted))
    return found


def replayed(graph: Graph, changes: Iterable[Any]) -> list[tuple[tuple[int, int], list[Target]]]:
    """Changes to be made again: at which tags, and what.

    Args:
        graph: the program.
        changes: `Run.changes` of another run, or (tag, path, old, new) in any form.

    Raises:
        DeclarationError: if it is something else, or a tag is not one.
        UnknownNameError, ParameterError: see `targets_of`.
    """
    found = []
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
        found.append((tag, targets_of(graph, path, new)))
    return found


class Tuning:
    """Carries changes out in one enclave.

    Args:
        scheduler: the enclave's.

    Attributes:
        signal: what a change is queued as; its value is a list of targets.
        waiting: (physical time of the call in ns, targets) of changes that have not got a tag yet.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.waiting: list[tuple[int, list[Target]]] = []
        self.signal = Action("a change of parameters", scheduler.enclave)
        self.signal.deliver = self._deliver
        self._parameters: dict[tuple[int, str], Parameter] = {}

    def soonest(self, tag: tuple[int, int] | None) -> tuple[int, int] | None:
        """The tag to be executed next, given the earliest one that something else is queued for: that, or one before it."""
        s = self._scheduler
        posted = self.waiting[0][0]
        now = (posted, 0) if posted > s.time_ns else (s.time_ns, s.microstep + 1)
        if s.stop_tag is not None and now > s.stop_tag:
            return tag
        return now if tag is None or now < tag else tag

    def take(self) -> list[tuple[Signal, Any]]:
        """What waits, as events of the tag that opens."""
        taken: list[tuple[Signal, Any]] = [(self.signal, targets) for _, targets in self.waiting]
        self.waiting.clear()
        return taken

    def _deliver(self, targets: list[Target]) -> None:
        """The tag opens: no reaction of the enclave runs."""
        s = self._scheduler
        tag = s.current_tag()
        changed = [self._signal(reactor, name) for reactor, name, _ in targets]
        for signal, (reactor, name, value) in zip(changed, targets, strict=True):
            instance = s.schedule.instances[reactor]
            old = getattr(instance, name)
            object.__setattr__(instance, name, _own(value))
            s.recorder.changes.append((tag, signal.order, Change(tag, signal.name, old, value)))
            signal.state.value = value
            if signal.at_tag_end and not signal.fired:
                signal.fired = True
                s.buffers.fired.append(signal)
            if s.modes is not None:
                s.modes.keep_for_later(signal.triggers)
        # Read by the scheduler once this has returned.
        triggers = tuple(r for signal in changed for r in signal.triggers)
        self.signal.fanout = Fanout(triggers, tuple(group for signal in changed for group in signal.fanout.groups))

    def _signal(self, reactor: int, name: str) -> Parameter:
        """What stands for a parameter in what is recorded, and triggers the reactions to it; made when it is first changed."""
        schedule = self._scheduler.schedule
        signal = schedule.parameters.get((reactor, name)) or self._parameters.get((reactor, name))
        if signal is None:
            signal = self._parameters[reactor, name] = Parameter(f"{schedule.graph.reactors[reactor].name}.{name}")
            signal.state = InPort(signal.name)
            signal.order = schedule.parameter_order(reactor, name)
            signal.at_tag_end = self._scheduler.recorder.records_values
        return signal


def _own(value: Any) -> Any:
    """Reactors share nothing: what can be changed in place is copied."""
    return owned(value, lambda: "the new value")
