"""Connections between ports, and enclaves, as a program declares them; assembly judges both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reactornb.errors import DeclarationError, Source
from reactornb.model.callers import class_body, running_reactor
from reactornb.model.declarations import Mode, Port, PortRef, as_tuple, current_mode
from reactornb.model.durations import DurationSpec, duration
from reactornb.model.spec import ReactorBase, Template

__all__ = ["Connection", "connect", "enclave"]


@dataclass(frozen=True, slots=True)
class Connection:
    """`sources -> destinations`, recorded where it was made; widths are judged at assembly."""

    sources: tuple[Any, ...]
    destinations: tuple[Any, ...]
    after: DurationSpec | None
    physical: bool
    broadcast: bool | None
    mode: Mode | None
    source: Source
    strict: bool = True


def connect(
    source: Any,
    destination: Any,
    *,
    after: DurationSpec | None = None,
    physical: bool = False,
    broadcast: bool | None = None,
    strict: bool = True,
    made_at: Source | None = None,
) -> None:
    """Connect ports of contained reactors (or of the reactor itself) inside a class body or in `compose`.

    Args:
        source: a port, or a list of ports whose channels are put one after the other.
        destination: likewise.
        after: delay in logical time, such as ms(10); 0 is one microstep; None is no delay at all.
        physical: deliver at physical time instead of logical time.
        broadcast: true repeats the source's channels until the destination is full; None (the default) does so for a
            source of width one; false never does.
        strict: false makes a width mismatch a warning.
        made_at: where the connection stands, if not where this is called.

    Raises:
        DeclarationError: for something that is not a port.
    """
    sources, destinations = as_tuple(source), as_tuple(destination)
    where = made_at or Source.caller()
    home: Any = None
    running = running_reactor()
    if running is not None:
        raise DeclarationError(
            f"{where}: {running[0].full_name} calls connect while it runs. The graph of a running program is final: connect in the class body or in compose."
        )
    for end in (*sources, *destinations):
        if isinstance(end, PortRef):
            home = home or end.owner
        elif not isinstance(end, Port):
            raise DeclarationError(
                f"{where}: connect takes ports, such as learner.weights, not {end!r} (a {type(end).__name__})."
            )
    after = duration(after, "after", where)
    connection = Connection(sources, destinations, after, physical, broadcast, current_mode(), where, strict)
    if home is None:  # both ends are the class's own ports, in its body
        body = class_body()
        if body is None:
            raise DeclarationError(
                f"{where}: connect joins ports of instances, and {sources[0].name!r} and {destinations[0].name!r} belong to classes. Inside a reactor, make "
                f"children, a = A(), b = B(), and connect(a.{sources[0].name}, b.{destinations[0].name})."
            )
        body.setdefault("__declared__", []).append(connection)
    else:
        home.__dict__["_connections"].append(connection)


def enclave[T: Template](child: T, *, each: bool = False) -> T:
    """Give a contained reactor tags of its own.

    Write `self.learner = enclave(Learner())`. Everything in it has a current tag of its own and may be ahead of the rest, or
    behind, as far as the delays of the connections between them allow. What it computes, and the run's fingerprint, stay the
    same, except for the end that it asks for itself; what changes is what may run at the same time. Where rollouts play a round each ms,
    and weights reach them `after=ms(2)`, the learner works on one round while the rollouts play the next.

    Args:
        child: a reactor or a bank, when it is made.
        each: of a bank, every member an enclave of its own instead of all members in one.

    Raises:
        DeclarationError: if it is something else.

    Assembly refuses enclaves inside modes, and connections through which a message could come back without any delay.
    `request_stop` in an enclave takes effect when every other one can know: at the next microstep, or later by the
    longest delay from it to another.
    """
    if not isinstance(child, Template):
        raise DeclarationError(
            f"{Source.caller()}: enclave takes a reactor or a bank, not {child!r}: enclave(Learner())."
        )
    child.__dict__["_enclave"] = "each" if each and not isinstance(child, ReactorBase) else "whole"
    return child
