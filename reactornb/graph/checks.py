"""Mistakes that only a whole program shows: unreachable modes, ports that a signature does not reach, shared class attributes, late declarations."""

from __future__ import annotations

import dis
import types
import warnings

from reactornb.errors import AssemblyError, DeclarationError, Source
from reactornb.model import Bank, Declaration, Mode, PortPath, PortRef, Reactor
from reactornb.model.ownership import needs_guard, refused_attribute

__all__ = ["check_class"]


def check_class(cls: type[Reactor], name: str, children: dict[int, str]) -> None:
    """Refuse declarations of a class that can only be mistakes.

    Args:
        cls: a reactor's class.
        name: the instance's full name.
        children: id of a contained template -> its name.

    Raises:
        AssemblyError: for a mode that no transition reaches; for a port of a contained reactor that a reaction declares and
            cannot touch, because its signature lacks the reactor. In a class that a front end made from
            another language, the first is a warning.
    """
    _modes(cls, name)
    _attributes(cls)
    for item in cls._spec.reactions:
        for declared in (*item.uses, *item.effects):
            child = _child(declared, children)
            reached = {p.child if isinstance(p, PortPath) else p for p in item.parameters}
            if child and child not in reached:
                words = str(declared) if isinstance(declared, PortPath) else f"{child}.{declared.port.name}"
                raise AssemblyError(
                    f"{item.source}: reaction {name}.{item.name} declares {words} but cannot touch it: its signature lacks "
                    f"{child!r}. Write def {item.name}(self, …, {child}), or drop the declaration."
                )


_TEMPLATE = frozenset(
    {
        "_connections",
        "_mode",
        "_source",
        "_children",
        "_named",
        "_parameters",
        "_enclave",
        "_listed",
        "_looked_at",
        "bank_index",
        "bank_width",
    }
)


def check_template(template: Reactor) -> None:
    """Refuse attributes that were set on a template and would be lost: a run makes new instances.

    Raises:
        DeclarationError: for an `__init__` that does not call ours; for attributes, children and declarations set on an instance.
    """
    cls, values = type(template), template.__dict__
    where = values["_source"]
    if "_parameters" not in values:
        init = cls.__init__
        code = getattr(init, "__code__", None)
        place = Source(code.co_filename, code.co_firstlineno) if code is not None else where
        raise DeclarationError(
            f"{place}: {cls.__name__}.__init__ does not call super().__init__(**parameters), so that the reactor has no parameters. Better leave __init__ out: what "
            f"is annotated in the class body, n: int = 3, is a parameter; children are made in compose, other things in a reaction to startup."
        )
    for name, value in values.items():
        if name in _TEMPLATE or name in cls._spec.parameters:
            continue
        items = value if isinstance(value, (list, tuple)) and value else (value,)
        if all(isinstance(item, (Reactor, Bank)) for item in items):
            fix = f"is no child of it: make children in the class body, {name} = {type(items[0]).__name__}(…), or in compose"
        elif isinstance(value, Declaration):
            fix = f"is no {value.kind} of it: declare it in the class body, {name} = {type(value).__name__}(…)"
        else:
            fix = (
                f"is lost when a run begins, which makes its instances anew: declare a parameter, {name}: {type(value).__name__} = …, or a state, "
                f"{name} = State(…), or set it in a reaction to startup"
            )
        raise DeclarationError(f"{where}: {name}, which was set on this {cls.__name__} after it was made, {fix}.")


def check_late(cls: type[Reactor], where: Source) -> None:
    """Refuse declarations that a class got after it was made; `where` is an instance's.

    Raises:
        DeclarationError: naming class and attribute.
    """
    for base in cls.__mro__:
        if base is Reactor or not issubclass(base, Reactor):
            continue
        # A copy of the dict: several threads may assemble programs of one class at once, and assembly stores results in the class.
        for name, value in vars(base).copy().items():
            if isinstance(value, (Declaration, Reactor, Bank)) and name not in base._spec.names:
                raise DeclarationError(
                    f"{getattr(value, 'source', where)}: {base.__name__}.{name} was set after the class was made ({base._definition}), too late to be part of it. "
                    f"Declare it in the class body."
                )


def _child(declared: object, children: dict[int, str]) -> str:
    if isinstance(declared, PortPath):
        return declared.child
    if isinstance(declared, PortRef):
        return children.get(id(declared.owner), "")
    return ""


def _attributes(cls: type[Reactor]) -> None:
    """Refuse class attributes that every use changes, such as iterators, and default values that a method changes in place."""
    if cls._translated:
        return
    for attribute, (value, annotated) in cls._spec.attributes.items():
        words = None if annotated else refused_attribute(value)
        if words is not None:
            owner = next(base for base in cls.__mro__ if attribute in vars(base))
            raise AssemblyError(
                f"{getattr(owner, '_definition', cls._definition)}: {owner.__name__}.{attribute} is {words}, one for all instances and all runs: "
                f"what they compute would depend on which runs first. Make it in startup, self.{attribute} = …, or as a parameter "
                f"or state: {attribute} = State(factory=lambda self: …). If nothing ever changes it, say so: {attribute}: ClassVar = …."
            )
    for base in cls.__mro__:
        for method in vars(base).copy().values():
            function = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
            if base.__module__.partition(".")[0] != "reactornb" and isinstance(function, types.FunctionType):
                changed = _changed_default(function)
                if changed is not None:
                    code = function.__code__
                    raise AssemblyError(
                        f"{Source(code.co_filename, code.co_firstlineno)}: {base.__name__}.{code.co_name} changes the default of its argument {changed!r}, "
                        f"which is one object for all instances and all runs. Write {changed}=None, and {changed} = [] in the body."
                    )


_CHANGING = frozenset(
    [
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "clear",
        "sort",
        "reverse",
        "add",
        "discard",
        "update",
        "setdefault",
        "popitem",
        "appendleft",
        "popleft",
        "fill",
        "put",
    ]
)


def _changed_default(function: types.FunctionType) -> str | None:
    """An argument whose default is a list, dict, set or array and which the body changes in place."""
    code = function.__code__
    defaults = function.__defaults__ or ()
    first = code.co_argcount - len(defaults)
    named = dict(zip(code.co_varnames[first : code.co_argcount], defaults, strict=True)) | (
        function.__kwdefaults__ or {}
    )
    mutable = {n for n, v in named.items() if needs_guard(v) or refused_attribute(v) is not None}
    if not mutable:
        return None
    before: list[str] = []  # the names that the last instructions loaded
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and before and instruction.argval in _CHANGING:
            if before[-1] in mutable:
                return before[-1]
        elif instruction.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            changed = next((n for n in before[-2:] if n in mutable), None)
            if changed is not None:
                return changed
        if instruction.opname.startswith("LOAD_"):
            value = instruction.argval
            before += [str(v) for v in (value if isinstance(value, tuple) else (value,))]
    return None


def _modes(cls: type[Reactor], name: str) -> None:
    modes = cls._spec.modes
    reached = {m.name for m in modes.values() if m.initial}
    pending = [r for r in cls._spec.reactions if r.mode is None or r.mode.name in reached]
    while pending:
        new = {p for r in pending for p in r.parameters if isinstance(p, str) and p in modes} - reached
        reached |= new
        pending = [r for r in cls._spec.reactions if r.mode is not None and r.mode.name in new]
    for mode in modes.values():
        if mode.name not in reached:
            _unreachable(cls, name, mode)


def _unreachable(cls: type[Reactor], name: str, mode: Mode) -> None:
    words = (
        f"{mode.source}: mode {mode.name!r} of {name} cannot be reached: no reaction that can run takes it as a parameter. "
        f"Name it in the signature of one that should enter it."
    )
    if cls._translated:
        warnings.warn(words, stacklevel=2)
    else:
        raise AssemblyError(words)
