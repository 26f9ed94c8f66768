"""Mistakes in a class body that Python accepts, found when the class is made: names bound twice, shadowed, reserved or assigned in vain.

Everything here looks at functions and names, runs nothing, and knows nothing of graphs.
"""

from __future__ import annotations

import dis
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from reactornb.errors import DeclarationError, Source, with_article
from reactornb.model.callers import place_of
from reactornb.model.declarations import Action, Declaration, Port, Reaction
from reactornb.model.spec import ReactorBase, Template, is_built_in

__all__ = ["check_body", "check_called", "check_signature"]


def _written_names(fn: types.FunctionType) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """The names that a body assigns, with their lines, and the attributes, as (object, attribute), with theirs."""
    names: dict[str, int] = {}
    attributes: dict[tuple[str, str], int] = {}
    before: Any = None
    line = fn.__code__.co_firstlineno
    for i in dis.get_instructions(fn):
        line = getattr(i, "line_number", None) or (i.positions.lineno if i.positions else None) or line
        if i.opname in ("STORE_FAST", "STORE_DEREF", "STORE_FAST_MAYBE_NULL"):
            names.setdefault(str(i.argval), line)
        elif i.opname.startswith("STORE_FAST_"):
            both = i.argval if isinstance(i.argval, tuple) else ()
            for name in both if i.opname == "STORE_FAST_STORE_FAST" else both[:1]:
                names.setdefault(name, line)
        elif i.opname == "STORE_ATTR" and before is not None:
            attributes.setdefault((before, str(i.argval)), line)
        before = None
        if i.opname.startswith(("LOAD_FAST", "LOAD_DEREF")):
            before = i.argval[-1] if isinstance(i.argval, tuple) else i.argval
        elif i.opname.startswith("STORE_FAST_LOAD_FAST") and isinstance(i.argval, tuple):
            before = i.argval[-1]
    return names, attributes


def check_called(cls: type[ReactorBase]) -> None:
    """Refuse `out = Output[int]` and `t = Timer`, which name a class and make nothing.

    Raises:
        DeclarationError: with the brackets that are missing.
    """
    for name, value in vars(cls).copy().items():
        kind = typing.get_origin(value) or value
        if isinstance(kind, type) and _in_package(kind.__module__) and kind.__name__ in _MADE:
            given = (
                f"[{', '.join(getattr(a, '__name__', str(a)) for a in typing.get_args(value))}]"
                if value is not kind
                else ""
            )
            raise DeclarationError(
                f"{cls._definition}: {cls.__name__}.{name} is the class {kind.__name__}{given} and no {kind.__name__.lower()}: brackets are missing. Write "
                f"{name} = {kind.__name__}{given}()."
            )


_MADE = frozenset({"Input", "Output", "Timer", "LogicalAction", "PhysicalAction", "Mode", "State", "Watchdog"})


# -- the whole class ----------------------------------------------------------------------------------------------


def check_body(cls: type[ReactorBase], declared: Iterable[Any]) -> None:
    """Refuse declarations in a class body that have no effect.

    Args:
        cls: a class whose `_spec` is made.
        declared: the declarations made in its body, in order.

    Raises:
        DeclarationError: names the class, the place and the fix.
    """
    where = cls._definition
    namespace = vars(cls)
    _wrapped(cls, where, namespace)
    for item in declared:
        bound = item.name or item.__dict__.get("attribute")
        if not bound:
            second = next(
                (
                    v
                    for v in namespace.values()
                    if type(v) is type(item) and getattr(v, "fn", v) is not v and _same(v, item)
                ),
                None,
            )
            if second is not None:
                raise DeclarationError(
                    f"{second.source}: {cls.__name__} declares the reaction {second.name!r} twice, first at {item.source}; the second would "
                    f"replace the first. Give each a name of its own."
                )
            raise DeclarationError(
                f"{item.source}: {cls.__name__} makes {with_article(item.kind)} here and binds it to no name, or binds the name again further down. Every declaration "
                f"has a name of its own in the class body: name = {type(item).__name__}(…); of several alike, use width= or a Bank."
            )
    _overridden(cls, where)
    _reserved(cls, where, namespace)
    if not _in_package(cls.__module__) and not namespace.get("_translated"):
        for value in namespace.values():
            fn = getattr(value, "fn", value)
            if isinstance(fn, types.FunctionType):
                _bindings(cls, fn, getattr(value, "parameters", None))
                if fn is not value and getattr(value, "handler", None) is not None:
                    _bindings(cls, value.handler, value.parameters)


def _same(a: Any, b: Any) -> bool:
    return getattr(a.fn, "__name__", 0) == getattr(b.fn, "__name__", 1)


def _in_package(module: str) -> bool:
    return module.partition(".")[0] == "reactornb"


def _is_declared(value: Any) -> bool:

    return isinstance(value, (Declaration, Template))


def _wrapped(cls: type, where: Source, namespace: Mapping[str, Any]) -> None:
    """Reactions under another decorator, declarations in a list."""
    for name, value in namespace.items():
        if isinstance(value, (list, tuple, dict, set)):
            items = value.values() if isinstance(value, dict) else value
            if any(_is_declared(item) for item in items):
                declaration = next(item for item in items if _is_declared(item))
                fix = (
                    f"{name} = Input(width=n) declares a multiport, and one thing goes to one name"
                    if isinstance(declaration, Declaration)
                    else f"{name} = Bank({type(declaration).__name__}, n) declares several alike; in compose, self.{name} = [A(), B()] makes children {name}[0], {name}[1]"
                )
                raise DeclarationError(
                    f"{where}: {cls.__name__}.{name} is a {type(value).__name__} of declarations, which nothing looks into: {fix}."
                )
        inner = _inner_reaction(value)
        if isinstance(inner, Reaction) and not isinstance(value, Reaction):
            kind = type(value).__name__ if not isinstance(value, types.FunctionType) else "another decorator"
            raise DeclarationError(
                f"{inner.source}: {cls.__name__}.{name} is a reaction under {kind if kind == 'another decorator' else '@' + kind}, so that it would never run. "
                f"@reaction(…) stands topmost, above a plain function."
            )


def _inner_reaction(value: Any) -> Any:

    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    if type(value).__module__ == "functools":
        return getattr(value, "func", None) or getattr(value, "__wrapped__", None)
    if isinstance(value, types.FunctionType):
        if isinstance(getattr(value, "__wrapped__", None), Reaction):
            return value.__dict__["__wrapped__"]
        for cell in value.__closure__ or ():
            try:
                if isinstance(cell.cell_contents, Reaction):
                    return cell.cell_contents
            except ValueError:
                continue
    return None


def _overridden(cls: type[ReactorBase], where: Source) -> None:
    """Refuse names that hide a base's declaration, and declarations in a base that is no reactor."""
    declared: dict[str, tuple[Any, type]] = {}
    for base in reversed(cls.__mro__):
        if is_built_in(base):
            continue
        for name, value in vars(base).copy().items():
            if isinstance(value, (Declaration, Template)):
                if not issubclass(base, ReactorBase):
                    raise DeclarationError(
                        f"{where}: {base.__name__}, a base of {cls.__name__}, declares {name!r} and is no reactor, so that nothing would see it. Write "
                        f"class {base.__name__}(Reactor)."
                    )
                before = declared.get(name)
                if before is not None and not _alike(before[0], value):
                    raise _hidden(cls, where, name, before, value)
                declared[name] = value, base
            elif name in declared:
                raise _hidden(cls, where, name, declared[name], value)


def _alike(old: Any, new: Any) -> bool:

    if not isinstance(old, Declaration) or not isinstance(new, Declaration):
        return not isinstance(old, Declaration) and not isinstance(new, Declaration)
    return any(isinstance(old, kind) and isinstance(new, kind) for kind in (Port, Action, type(old), type(new)))


def _hidden(cls: type, where: Source, name: str, old: tuple[Any, type], new: Any) -> DeclarationError:
    kind = getattr(old[0], "kind", "contained reactor")
    words = (
        "a plain method"
        if isinstance(new, types.FunctionType)
        else with_article(new.kind)
        if hasattr(new, "kind") and not isinstance(new, type)
        else f"{new!r:.40}"
    )
    fix = (
        "Put @reaction(…) above it to replace the base's body"
        if kind == "reaction"
        else f"Declare {name} as {with_article(kind)} again"
    )
    place = place_of(new.__code__) if isinstance(new, types.FunctionType) else where
    return DeclarationError(
        f"{place}: {cls.__name__} binds {name!r}, {with_article(kind)} of its base {old[1].__name__}, to {words}, which would change nothing: the graph has the base's. "
        f"{fix}, or give it another name."
    )


def _reserved(cls: type[ReactorBase], where: Source, namespace: Mapping[str, Any]) -> None:
    """Refuse names that `Reactor` itself uses."""
    if namespace.get("_translated"):
        return  # its front end has checked its names
    given = {
        "bank_index",
        "bank_width",
        "needs_physical_time",
        "_spec",
        "_definition",
        "_composing",
        "_composes",
        "_renamed",
    }
    built_in = filter(is_built_in, cls.__mro__)
    ours = ({n for base in built_in for n in vars(base) if not n.startswith("__")} | PRIVATE) - given
    names = {n: v for n, v in namespace.items() if n in ours} | {n: None for n in cls._spec.parameters if n in ours}
    for name, value in names.items():
        plain = isinstance(value, (types.FunctionType, property, staticmethod, classmethod))
        if plain and not name.startswith("_"):
            continue  # a method that takes the place of ours
        place = getattr(value, "source", where)
        raise DeclarationError(
            f"{place}: {cls.__name__} declares {name!r}, a name that every reactor has from Reactor already{_USES.get(name, '')}. Give it another one, such as {name.strip('_')}_."
        )


_USES = {
    "compose": " (the method that makes children)", "log": " (self.log(loss=0.1) records metrics)", "seed": " (the reactor's seed)", "tag": " (the current tag)",
    "rng": " (the reactor's random generator)", "request_stop": " (the method that ends the run)",
}  # fmt: skip
PRIVATE = frozenset(
    {
        "_children", "_composing", "_composes", "_connections", "_context", "_deadline", "_definition", "_enclave", "_label", "_log", "_looked_at", "_mode", "_name", "_named",
        "_parameters", "_rng", "_run_seed", "_running", "_source", "_spec",
    }
)  # fmt: skip
_SET_BY_US = frozenset(
    {
        "log",
        "seed",
        "bank_seed",
        "rng",
        "tag",
        "time_ns",
        "physical_time_ns",
        "lag_ns",
        "full_name",
        "start_time_ns",
        "request_stop",
        "compose",
    }
)


def _bindings(cls: type[ReactorBase], fn: types.FunctionType, parameters: tuple[str, ...] | None) -> None:
    """Refuse assignments in a body or method that have no effect."""
    spec, code = cls._spec, fn.__code__
    arguments = code.co_varnames[1 : code.co_argcount] if parameters is not None else ()
    outputs = {
        a
        for a, p in zip(arguments, parameters or (), strict=False)
        if p in spec.ports and spec.ports[p].kind == "output"
    }
    ports = {a for a, p in zip(arguments, parameters or (), strict=False) if p in spec.ports or p in spec.actions}
    own = {*spec.ports, *spec.timers, *spec.children}  # the handle of an action may be kept: self.call = call
    suspects = (PRIVATE | _SET_BY_US | own | {"value", "is_present"}) & set(code.co_names)
    if not suspects and not outputs:
        return
    names, attributes = _written_names(fn)
    me = code.co_varnames[0] if code.co_argcount else ""
    for name in outputs & set(names):
        raise DeclarationError(
            f"{Source(code.co_filename, names[name])}: {cls.__name__}.{fn.__name__} binds its own name {name!r} to something else, which sends nothing. Write "
            f"{name}.set(…) to send a value; call a variable something else."
        )
    for (owner, attribute), line in attributes.items():
        at = Source(code.co_filename, line)
        if owner in ports and attribute in ("value", "is_present"):
            fix = (
                f"{owner}.set(…) sends a value"
                if owner in outputs
                else f"what was received is the others' too: x = {owner}.value"
            )
            raise DeclarationError(
                f"{at}: {cls.__name__}.{fn.__name__} assigns to {owner}.{attribute}, which sends nothing; {fix}."
            )
        if owner == me and attribute in own:
            raise DeclarationError(
                f"{at}: {cls.__name__}.{fn.__name__} assigns to self.{attribute}, which {cls.__name__} declares as {with_article(_kind(spec, attribute))}: that sends nothing. "
                f"Name {attribute!r} in the reaction's signature and write {attribute}.set(…), or give the variable another name."
            )
        if owner == me and attribute in PRIVATE | _SET_BY_US and fn.__name__ != "compose":
            raise DeclarationError(
                f"{at}: {cls.__name__}.{fn.__name__} assigns to self.{attribute}, which is Reactor's own{_USES.get(attribute, '')}. Give it another name, such as "
                f"self.{attribute.strip('_')}_."
            )


def _kind(spec: Any, name: str) -> str:
    for group in (spec.ports, spec.actions, spec.timers, spec.watchdogs, spec.modes):
        if name in group:
            return str(group[name].kind)
    return "contained reactor"


def check_signature(cls: type[ReactorBase], item: Reaction) -> None:
    """Refuse a body whose first parameter, which is the reactor, is called like a port: `def on_x(x)`.

    Raises:
        DeclarationError: with the signature that was meant.
    """
    code = item.fn.__code__
    first = code.co_varnames[0]
    if first in cls._spec.touchable and first != "self":
        given = ", ".join(code.co_varnames[: code.co_argcount])
        raise DeclarationError(
            f"{item.source}: reaction {cls.__name__}.{item.name} lacks self: its first parameter, {first!r}, would be the reactor. Write "
            f"def {item.fn.__name__}(self, {given})."
        )
