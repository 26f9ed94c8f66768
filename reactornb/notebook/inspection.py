"""Describes reactors as plain text, for `%reactor inspect` and `list`: a class's declarations, and a reactor's state in a program."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from IPython.core.error import UsageError

from reactornb.errors import suggestion
from reactornb.graph import ReactorNode
from reactornb.model import Bank, Builtin, PortPath, PortRef, Reaction, Reactor
from reactornb.runtime import Program, Run
from reactornb.tags import format_ns

__all__ = ["describe_class", "describe_member", "describe_node", "inspect_name", "one_line"]

_WIDTH = 100


def inspect_name(name: str, names: Mapping[str, Any], program: Program | None) -> str:
    """Describe the class, reactor, port, parameter or reaction that a name refers to.

    Args:
        name: see `Session.inspect`.
        names: the user's namespace.
        program: the program in which paths are looked up.

    Raises:
        UsageError: if the name refers to none.
    """
    __tracebackhide__ = True
    head, _, path = name.partition(".")
    value = names.get(head)
    if isinstance(value, type) and issubclass(value, Reactor):
        words = describe_member(value, path) if path else describe_class(value)
        if words is None:
            spec = value._spec
            known = [*spec.ports, *spec.parameters, *(r.name for r in spec.reactions)]
            raise UsageError(f"%reactor inspect: {head} has no {path!r}. {suggestion(path, known)}")
        return words
    run: Run | None = None
    if isinstance(value, Run):
        run, program = value, value.program
    elif isinstance(value, Program):
        program = value
    else:
        path = name
    nodes = () if program is None else program.graph.reactors
    for node in nodes:
        if path in (node.name, node.name.partition(".")[2]):
            return describe_node(node, run or (program.last_run if program is not None else None))
    classes = [n for n, v in names.items() if isinstance(v, type) and issubclass(v, Reactor) and v is not Reactor]
    known = [*classes, *(node.name for node in nodes)]
    raise UsageError(f"%reactor inspect: there is no reactor class or reactor {name!r}. {suggestion(name, known)}")


def one_line(name: str, cls: type[Reactor]) -> str:
    """A class in one line."""
    spec = cls._spec
    parts = [f"{len(spec.ports)} ports", f"{len(spec.reactions)} reactions"]
    if spec.children:
        inside = ", ".join(f"{k}: {_child_words(v)}" for k, v in spec.children.items())
        parts.append(f"contains {inside}")
    return f"{name}  ({', '.join(parts)})  {cls._definition}"


def describe_class(cls: type[Reactor]) -> str:
    """A class's declarations, as text."""
    spec = cls._spec
    lines = [f"{cls.__name__}: reactor class, {cls._definition}", *_doc(cls)]
    lines += _section("inputs", [_port_words(p) for p in spec.ports.values() if p.kind == "input"])
    lines += _section("outputs", [_port_words(p) for p in spec.ports.values() if p.kind == "output"])
    lines += _section("parameters", [f"{name} = {_brief(value)}" for name, value in spec.parameters.items()])
    lines += _section("state", [f"{name} = {_brief(s.initial)}" for name, s in spec.states.items()])
    lines += _section(
        "timers", [f"{t.name}: first at {_time(t.offset)}{_every(t.period)}" for t in spec.timers.values()]
    )
    lines += _section("actions", [f"{a.name}: {a.kind}, delay {_time(a.min_delay)}" for a in spec.actions.values()])
    lines += _section("watchdogs", [f"{w.name}: {_time(w.timeout)}" for w in spec.watchdogs.values()])
    lines += _section("modes", [f"{m.name}{' (initial)' if m.initial else ''}" for m in spec.modes.values()])
    lines += _section("contains", [f"{name}: {_child_words(child)}" for name, child in spec.children.items()])
    return "\n".join(lines + _section("reactions", _reactions(cls)))


def describe_member(cls: type[Reactor], name: str) -> str | None:
    """A port, parameter or reaction of a class; None if it has none of that name."""
    spec = cls._spec
    if name in spec.ports:
        port = spec.ports[name]
        named = [r.name for r in spec.reactions if name in r.parameters or port in r.triggers]
        touched = f"  touched by {', '.join(named)}" if named else "  touched by no reaction"
        return f"{port.kind} {cls.__name__}.{_port_words(port)}\n{touched}\n  {port.source}"
    if name in spec.parameters:
        return f"parameter {cls.__name__}.{name} = {_brief(spec.parameters[name])}"
    for place, item in enumerate(spec.reactions):
        if item.name == name:
            return f"reaction {_reactions(cls)[place]}"
    return None


def describe_node(node: ReactorNode, run: Run | None) -> str:
    """A reactor of a program as text, with its state if its run is paused or over.

    A reaction that still runs when a run is paused may change the state while it is read, so the text may be inconsistent.
    """
    lines = [f"{node.name}: {node.cls.__name__}, made in {node.source}", *_doc(node.cls)]
    now = node.parameters if run is None else {k: getattr(run.instance(node.name), k) for k in node.parameters}
    lines += _section("parameters", [_parameter(k, now[k], value) for k, value in node.parameters.items()])
    if run is None:
        lines.append("state: there is no run of it yet")
    elif run.state == "running":
        lines.append(f"state: shown once run {run.number} is paused or over (%reactor pause)")
    else:
        values = dict(vars(run.instance(node.name)))
        state = [f"{k} = {_brief(v)}" for k, v in values.items() if k[0] != "_" and k not in node.parameters]
        lines += _section(f"state at {run.tag} (run {run.number}, {run.state})", state) or ["state: none"]
    return "\n".join(lines + _section("reactions", _reactions(node.cls)))


def _parameter(name: str, now: Any, first: Any) -> str:
    changed = "" if now is first or repr(now) == repr(first) else f"  (set while it runs; {_brief(first)} at the start)"
    return f"{name} = {_brief(now)}{changed}"


def _reactions(cls: type[Reactor]) -> list[str]:
    """One line per reaction: triggers, other ports it reads, ports it writes."""
    spec = cls._spec
    lines = []
    for number, item in enumerate(spec.reactions, start=1):
        triggers = [_path(t) for t in item.triggers]
        effects = [_path(t) for t in item.effects] + [
            n for n in map(str, item.parameters) if n not in triggers and not _is_read(cls, n)
        ]
        reads = [_path(t) for t in item.uses] + [
            n for n in map(str, item.parameters) if n not in triggers and _is_read(cls, n)
        ]
        words = f"{number} {item.name}({', '.join(triggers)})"
        words += f" reads {', '.join(reads)}" if reads else ""
        words += f" -> {', '.join(effects)}" if effects else ""
        words += f"  deadline {_time(item.deadline)}" if item.deadline is not None else ""
        lines.append(f"{words}  {item.source}{_summary(item)}")
    return lines


def _is_read(cls: type[Reactor], name: str) -> bool:
    spec = cls._spec
    return name in spec.ports and spec.ports[name].kind == "input"


def _path(trigger: Any) -> str:
    if isinstance(trigger, (str, PortPath, PortRef, Builtin)):
        return str(trigger)
    return str(trigger.name)


def _port_words(port: Any) -> str:
    width = "" if port.width is None else f"[{port.width if isinstance(port.width, (int, str)) else '…'}]"
    return (
        f"{port.name}{width}"
        + (f": {port.type_name}" if port.type_name else "")
        + (f"  {port.doc}" if port.doc else "")
    )


def _child_words(child: Any) -> str:
    return f"{child.__dict__['cls'].__name__} ×{len(child)}" if isinstance(child, Bank) else type(child).__name__


def _doc(cls: type[Reactor]) -> list[str]:
    text = inspect.cleandoc(cls.__doc__ or "")
    return [f"  {line}" for line in text.splitlines()]


def _summary(item: Reaction) -> str:
    text = inspect.cleandoc(item.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return f"\n      {text}" if text else ""


def _section(title: str, lines: Iterable[str]) -> list[str]:
    indented = [f"  {line}" for line in lines]
    return [title, *indented] if indented else []


def _time(spec: Any) -> str:
    return format_ns(spec) if isinstance(spec, int) else (spec if isinstance(spec, str) else "computed")


def _every(period: Any) -> str:
    return f", then every {_time(period)}" if period != 0 else ""


def _brief(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
