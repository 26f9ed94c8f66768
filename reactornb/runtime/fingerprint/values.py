"""How a value becomes bytes, by its type.

**When two values are equal.** Values are walked by structure, never pickled, and no code of theirs is called but `__reduce_ex__`:

- Types count: 1, 1.0, True and `numpy.int64(1)` differ; so do list and tuple, set and frozenset, an array without dimensions and
  a scalar, two classes of another name or module. (The module in which a program itself lives counts by its file's name.)
- Numbers count by their bits: 0.0 and -0.0 differ, and NaNs by their payload. An array counts by dtype, shape and elements,
  never by its strides, flags, or padding. What a mask hides does not count.
- Dictionaries count with the order of their keys, which a reader sees; sets without any, so that PYTHONHASHSEED leaves no
  mark; attributes of objects by name.
- It does not count whether two equal parts are one object: `[a, a]` equals `[a, b]` if a equals b. Of what contains itself, the
  parts that lie on its cycles are told by the positions of their first visits.
- Functions, classes and modules count by their name; hooks of a `torch.nn.Module` as a list; the graph behind a tensor's gradient,
  and whose memory it shares, not at all.

What cannot be compared is refused (`RefusedValueError`): functions that have no name of their own, what is different in each process
(locks, files, running generators, bare `object()`), and sets of objects that are hashed by their address.

**Encoding.** Each value becomes bytes that say where they end: a tag of one byte, a type's name where there are several, counts in
front of contents. Whatever takes more than `LIMIT` bytes is replaced by its hash, so a large value takes no more memory
than its widest level, and a part that hangs in many places is walked once.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import fractions
import io
import pathlib
import struct
import sys
import threading
import types
import typing
import weakref
from collections import abc
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Protocol

from reactornb.model.ownership import Guarded
from reactornb.runtime import arrays
from reactornb.runtime.arrays import Node

__all__ = [
    "ENCODERS",
    "HASH_BYTES",
    "LEAVES",
    "LIMIT",
    "MODULUS",
    "RefusedValueError",
    "encoder",
    "module_name",
    "type_refusal",
]

HASH_BYTES = 32
MODULUS = 1 << 256
LIMIT = 512
"""A part that takes more bytes is replaced by its hash."""

# So many classes are kept with how their values are encoded. Of classes made after that, by a cell that runs again and again, each value is
# looked at.
_MOST_CLASSES = 4096

_float = struct.Struct("<cd").pack
_complex = struct.Struct("<cdd").pack
_int = struct.Struct("<cq").pack
_count = struct.Struct("<Q").pack


class RefusedValueError(TypeError):
    """A value, or a part of one, of which no two processes could say whether it is equal.

    Attributes:
        path: the part, such as `value.policy[3]`.
        kind: the part's type.
        reason: why.
    """

    def __init__(self, reason: str, kind: type, path: str = "value") -> None:
        super().__init__(f"{path} is a {kind.__module__}.{kind.__qualname__}: {reason}")
        self.reason = reason
        self.kind = kind
        self.path = path


class Walking(Protocol):
    """What an encoder may ask of the walk that calls it."""

    @property
    def strict(self) -> bool:
        """Refuse what cannot be compared; else it counts by its identity."""
        ...


Encoder = Callable[[Walking, Any], Any]
"""Gives the bytes of a value, or a `Node` whose parts are to be encoded first."""


# -- leaves ---------------------------------------------------------------------------------------------------------------


def _of_int(value: int) -> bytes:
    try:
        return _int(b"i", value)
    except struct.error:
        raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)  # no str(): any number of digits
        return _sized(b"I", raw)


def _sized(tag: bytes, raw: bytes) -> bytes:
    return _short(tag + _count(len(raw)) + raw)


def _short(encoded: bytes) -> bytes:
    return encoded if len(encoded) <= LIMIT else b"#" + sha256(encoded).digest()


def _of_text(value: str) -> bytes:
    return _sized(b"s", value.encode("utf-8", "surrogatepass"))


LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _of_int,
    float: lambda value: _float(b"f", value),
    complex: lambda value: _complex(b"c", value.real, value.imag),
    str: _of_text,
    bytes: lambda value: _sized(b"b", value),
    bytearray: lambda value: _sized(b"B", bytes(value)),
    type(Ellipsis): lambda _: b".",
    type(NotImplemented): lambda _: b"!",
}


# -- names ----------------------------------------------------------------------------------------------------------------


# Names of classes and ways to walk them: written by any thread, each time the same; one access of a dict is atomic.
_type_names: dict[type, bytes] = {}


def _type_name(cls: type) -> bytes:
    known = _type_names.get(cls)
    if known is None:
        known = _name(cls.__module__, cls.__qualname__)
        if len(_type_names) < _MOST_CLASSES:
            _type_names[cls] = known
    return known


def module_name(module: str | None) -> str:
    """A module's name. A program's own may be a script, imported, loaded by the command line, or a notebook: its file says which it is."""
    if module in ("__main__", "__mp_main__", "reactornb_program"):
        file = pathlib.PurePath(getattr(sys.modules.get(module), "__file__", None) or "")
        module = file.stem if file.suffix == ".py" else ""
    return module or ""


def _name(module: str | None, name: str) -> bytes:
    raw = f"{module_name(module)}:{name}".encode("utf-8", "surrogatepass")
    return _count(len(raw)) + raw


def _named(_: Walking, value: Any) -> bytes:
    """A function: as long as its name leads to it."""
    name, module = value.__qualname__, value.__module__
    named: Any = types.SimpleNamespace(**value.__globals__)
    for part in name.split("."):
        named = getattr(named, part, None)
    if getattr(named, "__func__", named) is not value and getattr(named, "__wrapped__", None) is not value:
        raise RefusedValueError(
            f"{name} is a function without a name of its own, so that the same function cannot be found in another run. Use a "
            f"function defined at the top of a module or a cell",
            type(value),
        )
    return b"q" + _name(module, name)


# -- containers and objects -----------------------------------------------------------------------------------------------


def _sequence(tag: bytes) -> Encoder:
    return lambda _, value: Node(value, tag, iter(value))


def _pairs(value: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    for key, item in value:
        yield key
        yield item


def _dict(_: Walking, value: Any) -> Node:
    return Node(value, b"d", _pairs(value.items()))


def _set(walk: Walking, value: Any) -> Node:
    kind = type(value)
    base = frozenset if isinstance(value, frozenset) else set
    torch = sys.modules.get("torch")
    classes: set[Any] = {type(member) for member in base.__iter__(value)}
    for cls in classes:
        by_address = cls.__hash__ is object.__hash__ and not issubclass(cls, (type, types.ModuleType, *_FUNCTIONS))
        if (by_address and cls not in LEAVES) or issubclass(cls, getattr(torch, "Tensor", ())):
            if not walk.strict:
                return Node(value, b"?e", iter([id(value)]))
            raise RefusedValueError(
                f"its members, of class {cls.__qualname__}, are hashed by their address, so they come in another order in each run. Send "
                f"a list, or give the class __eq__ and __hash__",
                kind,
            )
    tag = b"E" if base is frozenset else b"e"
    if kind is not base:
        extras = _attributes(value)
        inner = Node(base.copy(value) if base is set else frozenset(value), tag, base.__iter__(value), unordered=True)
        return Node(value, b"x" + _type_name(kind) + _names(extras), iter([inner, *extras.values()]))
    return Node(value, tag, base.__iter__(value), unordered=True)


def _attributes(value: Any) -> dict[str, Any]:
    """What stands on an object beside the content of its base, by name."""
    attributes = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and not slot.startswith("__") and hasattr(value, slot):
                attributes[slot] = getattr(value, slot)
    return dict(sorted(attributes.items()))


def _names(attributes: Iterable[str]) -> bytes:
    raw = [str(name).encode("utf-8", "surrogatepass") for name in attributes]
    return _count(len(raw)) + b"".join(_count(len(name)) + name for name in raw)


def _named_tuple(_: Walking, value: Any) -> Node:
    kind = type(value)
    extras = dict(sorted(getattr(value, "__dict__", {}).items()))
    head = b"n" + _type_name(kind) + _names(kind._fields) + _names(extras)
    return Node(value, head, iter([*tuple.__iter__(value), *extras.values()]), [*kind._fields, *extras])


def _enum(_: Walking, value: Any) -> Any:
    kind = type(value)
    if isinstance(value, enum.Flag):
        return Node(value, b"U" + _type_name(kind), iter([value._value_]))
    return _short(b"u" + _type_name(kind) + _of_text(value.name))


def _object(_: Walking, value: Any) -> Any:
    """What `__reduce_ex__` names: what makes the object, with which arguments, its state, its items."""
    kind = type(value)
    if kind is object:
        raise RefusedValueError("a bare object() is equal to nothing but itself", kind)
    reducer = copyreg.dispatch_table.get(kind)
    reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return b"q" + _name(getattr(value, "__module__", None) or kind.__module__, reduced)
    make, arguments, state, items, pairs = (tuple(reduced) + (None,) * 3)[:5]
    head = b"o"
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        head += _type_name(arguments[0])
        arguments = arguments[1:]
    elif isinstance(make, type):
        head += b"k" + _type_name(make)
    else:
        head += b"q" + _name(getattr(make, "__module__", None), getattr(make, "__qualname__", repr(type(make))))
    if state is None and isinstance(value, _CONTAINERS):  # such as collections.Counter, which forgets attributes
        state = getattr(value, "__dict__", None)
    torch_nn = getattr(sys.modules.get("torch"), "nn", None)
    if torch_nn is not None and isinstance(value, torch_nn.Module) and type(state) is dict:
        state = {n: list(v.values()) if n.endswith("_hooks") and isinstance(v, dict) else v for n, v in state.items()}
    children, labels = list(arguments), [f"#{i}" for i in range(len(arguments))]
    head += _count(len(children))
    parts = state if type(state) is tuple and len(state) == 2 and type(state[1]) is dict else (state,)
    for part in parts:
        if type(part) is dict and all(type(name) is str for name in part):
            names = sorted(part)
            head += b"a" + _names(names)
            children += [part[name] for name in names]
            labels += names
        else:
            head += b"s"
            children.append(part)
            labels.append("state")
    for tag, more in ((b"l", items), (b"d", None if pairs is None else _pairs(pairs))):
        added = list(more or ())
        head += tag + _count(len(added))
        children += added
        labels += ["item"] * len(added)
    return Node(value, head, iter(children), labels)


def _refuse(_: Walking, value: Any) -> bytes:
    raise RefusedValueError("it is different in each process", type(value))


# No value of these types can be compared between processes.
_NEVER_ACCEPTED = (
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.TracebackType, abc.Generator, abc.Coroutine,
    abc.AsyncGenerator, io.IOBase, typing.IO, weakref.ref, threading.Thread, threading.Event, threading.Condition,
    threading.Semaphore, type(threading.Lock()), type(threading.RLock()),
)  # fmt: skip


def type_refusal(annotation: Any, seen: tuple[Any, ...] = ()) -> RefusedValueError | None:
    """Why no value of a declared type could be compared; None if one may be. Generic types, unions and dataclasses are looked into."""
    if annotation in seen:
        return None
    seen = (*seen, annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        refusals = [type_refusal(argument, seen) for argument in arguments]
        return refusals[0] if all(refusals) else None
    kind = origin or annotation
    if isinstance(kind, type):
        if issubclass(kind, _NEVER_ACCEPTED):
            return RefusedValueError("it is different in each process", kind)
        if dataclasses.is_dataclass(kind):
            try:
                arguments = tuple(typing.get_type_hints(kind)[field.name] for field in dataclasses.fields(kind))
            except Exception:  # noqa: BLE001 - a name that is not defined yet: values are looked at in any case
                return None
        elif not issubclass(kind, abc.Collection):
            return None
    return next((why for argument in arguments if (why := type_refusal(argument, seen)) is not None), None)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
_CONTAINERS = (dict, list, tuple, str, bytes, int, float, complex)

ENCODERS: dict[type, Encoder] = {
    list: _sequence(b"l"),
    tuple: _sequence(b"t"),
    dict: _dict,
    set: _set,
    frozenset: _set,
    types.FunctionType: _named,
    types.ModuleType: lambda _, value: b"m" + _name(value.__name__, ""),
    types.GeneratorType: _refuse,
    types.CoroutineType: _refuse,
    types.AsyncGeneratorType: _refuse,
    memoryview: lambda _, value: Node(value, b"v", iter([value.format, value.shape, value.tobytes()])),
    types.MappingProxyType: lambda _, value: Node(value, b"p", _pairs(value.items())),
    fractions.Fraction: lambda _, value: Node(value, b"/", iter([value.numerator, value.denominator])),
}


def encoder(cls: type) -> Encoder:
    """How values of a class are encoded."""
    known = ENCODERS.get(cls)
    if known is None:
        known = _new_encoder(cls)
        if len(ENCODERS) < _MOST_CLASSES:
            ENCODERS[cls] = known
    return known


def _new_encoder(cls: type) -> Encoder:
    if issubclass(cls, Guarded):  # a list, dict or set that was sent
        plain, kind = cls.plain, ENCODERS[cls.plain]
        return lambda walk, value: kind(walk, plain(value))
    if issubclass(cls, type):
        return lambda _, value: b"k" + _type_name(value)
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, pathlib.PurePath):  # whose module moves between versions of Python
        return lambda _, value: _short(
            b"P" + _count(len(type(value).__name__)) + type(value).__name__.encode() + _of_text(str(value))
        )
    if issubclass(cls, (set, frozenset)):
        return _set
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and cls.__reduce_ex__ is object.__reduce_ex__:
        return _named_tuple
    return arrays.kind(cls, _type_name, _attributes, _names) or _object
