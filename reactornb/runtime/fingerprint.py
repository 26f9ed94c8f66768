"""What was sent, in 32 bytes: the sum modulo 2^256 of BLAKE2b-256(tag, order, value) over all writes.

A sum needs no order: workers, enclaves and machines each add up what they saw, `merge` puts the parts together, and `state` can be
stored half-way. (Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", 1997, call it AdHASH.) This module knows
nothing of runs; `trace.py` says when what is added.

**When two values are equal.** Values are walked by structure, never pickled, and no code of theirs is asked but `__reduce_ex__`:

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

What cannot be judged is refused (`RefusedValueError`): functions that have no name of their own, what is different in each process
(locks, files, running generators, bare `object()`), and sets of objects that are hashed by their address.

**Encoding.** Each value becomes bytes that say where they end: a tag of one byte, a type's name where there are several, counts in
front of contents. Whatever takes more than `_LIMIT` bytes is replaced by its hash, so a large value takes no more memory
than its widest level, and a part that hangs in many places is walked once. The walk is a loop, not a recursion: depth has no limit.
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
from hashlib import blake2b
from typing import Any

import numpy

from reactornb.model.ownership import Guarded
from reactornb.runtime import arrays
from reactornb.runtime.arrays import Node

__all__ = ["Fingerprint", "RefusedValueError", "digest", "hopeless", "term"]

_SIZE = 32
_MODULUS = 1 << 256
_LIMIT = 512  # bytes
_MOST_CLASSES = (
    4096  # that are kept; of classes made after that, by a cell that is run again and again, each value is looked at
)

_float = struct.Struct("<cd").pack
_complex = struct.Struct("<cdd").pack
_int = struct.Struct("<cq").pack
_count = struct.Struct("<Q").pack
_place = struct.Struct("<qqq").pack
_placed_float = struct.Struct("<qqqcd").pack


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


class Fingerprint:
    """The sum over all writes; 32 bytes of state. One thread adds; any thread may read (the sum is one reference, replaced whole).

    Args:
        state: what `state` gave, of the same run or of another part of it.
    """

    __slots__ = ("_sum",)

    def __init__(self, state: bytes = bytes(_SIZE)) -> None:
        if len(state) != _SIZE:
            raise ValueError(f"the state of a fingerprint has {_SIZE} bytes, not {len(state)}.")
        self._sum = int.from_bytes(state, "little")

    def add(self, terms: int) -> None:
        """Add a `term`, or the sum of several."""
        self._sum = (self._sum + terms) % _MODULUS

    def merge(self, other: Fingerprint) -> None:
        """Add what another one has seen."""
        self.add(other._sum)

    @property
    def state(self) -> bytes:
        """All that there is to store; 32 bytes."""
        return self._sum.to_bytes(_SIZE, "little")

    def hexdigest(self) -> str:
        """The state as 64 hexadecimal digits."""
        return self.state.hex()


def term(tag: tuple[int, int], order: int, value: Any) -> int:
    """What one write adds to a fingerprint.

    Args:
        tag: time in ns and microstep.
        order: the number of what was written.
        value: the value.

    Raises:
        RefusedValueError: if it cannot be judged.
    """
    kind = type(value)
    if kind is float:  # these two are done with one call less
        written = _placed_float(*tag, order, b"f", value)
    elif kind is numpy.ndarray and type(encoded := arrays.plain(b"A", value)) is bytes:
        written = _place(*tag, order) + encoded
    else:
        leaf = _LEAVES.get(kind)
        written = _place(*tag, order) + (leaf(value) if leaf is not None else _Walk().encode(value))
    return int.from_bytes(blake2b(written, digest_size=_SIZE).digest(), "little")


def digest(value: Any, *, strict: bool = True) -> str:
    """A hash of one value, 64 hexadecimal digits: the same for equal values, in whatever process.

    Args:
        value: the value.
        strict: refuse what cannot be judged; else it counts by its identity, for who compares within one process.

    Raises:
        RefusedValueError: if it cannot be judged, and `strict`.
    """
    return blake2b(_Walk(strict=strict).encode(value), digest_size=_SIZE).hexdigest()


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
    return encoded if len(encoded) <= _LIMIT else b"#" + blake2b(encoded, digest_size=_SIZE).digest()


def _of_text(value: str) -> bytes:
    return _sized(b"s", value.encode("utf-8", "surrogatepass"))


_LEAVES: dict[type, Callable[[Any], bytes]] = {
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


def _name(module: str | None, name: str) -> bytes:
    """A program's own module may be a script, imported, loaded by the command line, or a notebook: its file says which it is."""
    if module in ("__main__", "__mp_main__", "reactornb_program"):
        file = pathlib.PurePath(getattr(sys.modules.get(module), "__file__", None) or "")
        module = file.stem if file.suffix == ".py" else ""
    raw = f"{module or ''}:{name}".encode("utf-8", "surrogatepass")
    return _count(len(raw)) + raw


def _named(_: _Walk, value: Any) -> bytes:
    """A function: as long as its name leads to it."""
    name, module = value.__qualname__, value.__module__
    found: Any = types.SimpleNamespace(**value.__globals__)
    for part in name.split("."):
        found = getattr(found, part, None)
    if getattr(found, "__func__", found) is not value and getattr(found, "__wrapped__", None) is not value:
        raise RefusedValueError(
            f"{name} is a function without a name of its own, whose like in another run cannot be told from any other. Use a "
            f"function defined at the top of a module or a cell",
            type(value),
        )
    return b"q" + _name(module, name)


# -- containers and objects -----------------------------------------------------------------------------------------------


def _sequence(tag: bytes) -> Callable[[_Walk, Any], Node]:
    return lambda _, value: Node(value, tag, iter(value))


def _pairs(value: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    for key, item in value:
        yield key
        yield item


def _dict(_: _Walk, value: Any) -> Node:
    return Node(value, b"d", _pairs(value.items()))


def _set(walk: _Walk, value: Any) -> Node:
    kind = type(value)
    base = frozenset if isinstance(value, frozenset) else set
    torch = sys.modules.get("torch")
    classes: set[Any] = {type(member) for member in base.__iter__(value)}
    for cls in classes:
        by_address = cls.__hash__ is object.__hash__ and not issubclass(cls, (type, types.ModuleType, *_FUNCTIONS))
        if (by_address and cls not in _LEAVES) or issubclass(cls, getattr(torch, "Tensor", ())):
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
    found = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and not slot.startswith("__") and hasattr(value, slot):
                found[slot] = getattr(value, slot)
    return dict(sorted(found.items()))


def _names(attributes: Iterable[str]) -> bytes:
    raw = [str(name).encode("utf-8", "surrogatepass") for name in attributes]
    return _count(len(raw)) + b"".join(_count(len(name)) + name for name in raw)


def _named_tuple(_: _Walk, value: Any) -> Node:
    kind = type(value)
    extras = dict(sorted(getattr(value, "__dict__", {}).items()))
    head = b"n" + _type_name(kind) + _names(kind._fields) + _names(extras)
    return Node(value, head, iter([*tuple.__iter__(value), *extras.values()]), [*kind._fields, *extras])


def _enum(_: _Walk, value: Any) -> Any:
    kind = type(value)
    if isinstance(value, enum.Flag):
        return Node(value, b"U" + _type_name(kind), iter([value._value_]))
    return _short(b"u" + _type_name(kind) + _of_text(value.name))


def _object(_: _Walk, value: Any) -> Any:
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


def _refuse(_: _Walk, value: Any) -> bytes:
    raise RefusedValueError("it is different in each process", type(value))


# Of these no value can be judged.
_HOPELESS = (
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.TracebackType, abc.Generator, abc.Coroutine,
    abc.AsyncGenerator, io.IOBase, typing.IO, weakref.ref, threading.Thread, threading.Event, threading.Condition,
    threading.Semaphore, type(threading.Lock()), type(threading.RLock()),
)  # fmt: skip


def hopeless(annotation: Any, seen: tuple[Any, ...] = ()) -> RefusedValueError | None:
    """Why no value of a declared type could be judged; None if one may be. Looks into generic types, unions and dataclasses."""
    if annotation in seen:
        return None
    seen = (*seen, annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        found = [hopeless(argument, seen) for argument in arguments]
        return found[0] if all(found) else None
    kind = origin or annotation
    if isinstance(kind, type):
        if issubclass(kind, _HOPELESS):
            return RefusedValueError("it is different in each process", kind)
        if dataclasses.is_dataclass(kind):
            try:
                arguments = tuple(typing.get_type_hints(kind)[field.name] for field in dataclasses.fields(kind))
            except Exception:  # noqa: BLE001 - a name that is not defined yet: values are looked at in any case
                return None
        elif not issubclass(kind, abc.Collection):
            return None
    return next((why for argument in arguments if (why := hopeless(argument, seen)) is not None), None)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
_CONTAINERS = (dict, list, tuple, str, bytes, int, float, complex)

_KINDS: dict[type, Callable[[_Walk, Any], Any]] = {
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


def _kind(cls: type) -> Callable[[_Walk, Any], Any]:
    """How values of a class are walked."""
    known = _KINDS.get(cls)
    if known is not None:
        return known
    if issubclass(cls, Guarded):  # a list, dict or set that was sent
        plain, kind = cls.plain, _KINDS[cls.plain]
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


class _Walk:
    """One walk over a value.

    # Everything here belongs to the thread that walks.

    Args:
        strict: refuse what cannot be judged.
    """

    __slots__ = ("_component", "_known", "_laid", "_path", "_stack", "strict")

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self._stack: list[Node] = []
        self._path: set[int] = set()  # ids of what contains the part that is walked
        self._known: dict[
            int, tuple[Any, bytes]
        ] = {}  # what took more than _LIMIT bytes; with the object, so that its id stays its own
        # Of a value that contains itself, by id: the object, its bytes or its node, and its children; and which parts lie on cycles together.
        self._laid: dict[int, tuple[Any, Any, list[Any]]]
        self._component: dict[int, int] | None = None

    def encode(self, value: Any) -> bytes:
        """The value as bytes.

        Raises:
            RefusedValueError: if it cannot be judged.
        """
        leaf = _LEAVES.get(type(value))
        if leaf is not None:
            return leaf(value)
        try:
            try:
                return self._loop(value)
            except _CycleError:
                self._stack.clear()
                self._known.clear()
                self._find_components(value)
                return self._loop(value)
        except RefusedValueError as error:
            raise RefusedValueError(error.reason, error.kind, self._where()) from error.__cause__

    def _loop(self, value: Any) -> bytes:
        entered = self._enter(value, None)
        if type(entered) is bytes:
            return entered
        stack = self._stack
        stack.append(entered)
        while True:
            node = stack[-1]
            append = node.parts.append
            try:
                for child in node.children:
                    leaf = _LEAVES.get(type(child))
                    if leaf is not None:
                        append(leaf(child))
                        continue
                    entered = self._enter(child, node)
                    if type(entered) is bytes:
                        append(entered)
                        continue
                    stack.append(entered)
                    break
                else:
                    encoded = self._close(stack.pop())
                    if not stack:
                        return encoded
                    stack[-1].parts.append(encoded)
            except (RefusedValueError, _CycleError):
                raise
            except Exception as error:
                raise _unwalkable(type(node.value), error) from error

    def _enter(self, value: Any, around: Node | None) -> Any:
        """The bytes of a value, or a node whose children are to be walked first."""
        me = id(value)
        known = self._known.get(me)
        if known is not None:
            return known[1]
        if self._component is not None:
            return self._enter_laid(me, around)
        if me in self._path:
            raise _CycleError
        entered = self._open(value)
        if type(entered) is Node:
            if type(value) is not Node:
                entered.value = value  # not a copy that was laid out in its place
            self._path.add(id(entered.value))
        return entered

    def _open(self, value: Any) -> Any:
        cls = type(value)
        if cls is Node:  # content that another node has laid out
            return value
        kind = _KINDS.get(cls)
        if kind is None:
            kind = _kind(cls)
            if len(_KINDS) < _MOST_CLASSES:
                _KINDS[cls] = kind
        try:
            return kind(self, value)
        except RefusedValueError as error:
            return self._refused(error, value)
        except Exception as error:  # noqa: BLE001 - an object's own code may raise anything
            return self._refused(_unwalkable(cls, error), value)

    def _refused(self, error: RefusedValueError, value: Any) -> bytes:
        if self.strict:
            raise error
        return b"?" + _count(id(value))

    def _close(self, node: Node) -> bytes:
        """All children are walked."""
        me = id(node.value)
        self._path.discard(me)
        parts = node.parts
        if node.unordered:
            total = sum(int.from_bytes(blake2b(part, digest_size=_SIZE).digest(), "little") for part in parts)
            encoded = node.head + _count(len(parts)) + (total % _MODULUS).to_bytes(_SIZE, "little")
        else:
            encoded = b"".join((node.head, _count(len(parts)), *parts))
        if len(encoded) > _LIMIT:
            encoded = b"#" + blake2b(encoded, digest_size=_SIZE).digest()
            if node.closed:
                self._known[me] = (node.value, encoded)
        return encoded

    # -- what contains itself ---------------------------------------------------------------------------------------------

    def _enter_laid(self, me: int, around: Node | None) -> Any:
        component = self._component
        assert component is not None
        value, laid, children = self._laid[me]
        if type(laid) is bytes:
            return laid
        together = around is not None and component[me] == component[id(around.value)]
        numbers = around.numbers if together and around is not None else {}
        if me in numbers:
            return b"^" + _count(numbers[me])
        numbers[me] = len(numbers)
        if around is not None and around.unordered and together:
            raise RefusedValueError("it contains itself by way of a set, which has no order", type(value))
        # Positions are counted from the nearest mark.
        head = laid.head if together else b"@" + laid.head
        node = Node(value, head, iter(children), laid.labels, unordered=laid.unordered)
        node.numbers, node.closed = numbers, not together
        return node

    def _find_components(self, value: Any) -> None:
        """Which parts lie on cycles together: strongly connected components (Tarjan 1972), each object looked at once."""
        stack = self._stack
        laid: dict[int, tuple[Any, Any, list[Any]]] = {}
        component: dict[int, int] = {}
        found: dict[int, int] = {}  # position of first visit
        lowest: dict[int, int] = {}
        open_: list[int] = []

        def visit(value: Any) -> None:
            me = id(value)
            entered = self._open(value)
            children = list(entered.children) if type(entered) is Node else []
            laid[me] = (value, entered, children)
            found[me] = lowest[me] = len(found)
            open_.append(me)
            stack.append(Node(value, b"", iter(children), entered.labels if type(entered) is Node else None))

        visit(value)
        while stack:
            node = stack[-1]
            me = id(node.value)
            for child in node.children:
                if type(child) in _LEAVES:
                    node.parts.append(b"")
                elif id(child) not in found:
                    visit(child)
                    break
                else:
                    node.parts.append(b"")
                    if id(child) not in component:
                        lowest[me] = min(lowest[me], found[id(child)])
            else:
                stack.pop()
                if stack:
                    stack[-1].parts.append(b"")
                    around = id(stack[-1].value)
                    lowest[around] = min(lowest[around], lowest[me])
                if lowest[me] == found[me]:
                    while True:
                        member = open_.pop()
                        component[member] = found[me]
                        if member == me:
                            break
        self._laid, self._component = laid, component

    def _where(self) -> str:
        """The part that is walked, as one would write it in Python."""
        words = ["value"]
        for node in self._stack:
            done = len(node.parts)
            value = node.value
            if node.labels is not None:
                label = node.labels[done] if done < len(node.labels) else "?"
                words.append(f".{label}" if label.isidentifier() else f"[{label}]")
            elif isinstance(value, dict):
                keys = list(value)
                key = keys[done // 2] if done // 2 < len(keys) else "?"
                words.append(f"[{key!r:.40}]" if done % 2 else f".keys()[{done // 2}]")
            elif isinstance(value, (set, frozenset)):
                words.append(".member")
            else:
                words.append(f"[{done}]")
        return "".join(words if len(words) < 12 else [*words[:6], " … ", *words[-5:]])


def _unwalkable(cls: type, error: BaseException) -> RefusedValueError:
    made = RefusedValueError(f"it cannot be walked ({type(error).__name__}: {error})", cls)
    made.__cause__ = error
    return made


class _CycleError(Exception):
    """A value contains itself."""
