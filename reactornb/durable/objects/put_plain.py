"""Containers of Python's own, references and iterators, back from nodes; see `putting`."""

from __future__ import annotations

import array
import collections
import gc
import itertools
import types
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from reactornb.durable.objects.putting import MISSING, Fill, Make, Match, Putter, pending
from reactornb.durable.objects.tree import Node, Unfit, is_leaf
from reactornb.model.ownership import GUARDS

__all__ = ["FILLS", "MAKES", "MATCHES", "by_key", "pairs"]

_PLAIN: dict[str, Any] = {
    "list": list, "dict": dict, "set": set, "OrderedDict": collections.OrderedDict, "defaultdict": collections.defaultdict,
    "deque": collections.deque, "bytearray": bytearray, "namespace": types.SimpleNamespace,
}  # fmt: skip
_FIXED: dict[str, Any] = {"tuple": tuple, "frozenset": frozenset}


def pairs(parts: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    """Keys with their values."""
    return zip(parts[::2], parts[1::2], strict=True)


def _fits_items(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    kind = _PLAIN.get(node[0]) or _FIXED[node[0]]
    if type(live) is not kind or (kind is tuple and len(live) != len(node[2])):
        return None
    if kind is collections.deque and live.maxlen != node[1]:
        return None
    return () if kind in (set, frozenset, bytearray) else list(live)


def _fits_dict(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    if type(live) is not _PLAIN[node[0]]:
        return None
    if node[0] == "defaultdict":
        return [live.default_factory, *by_key(node[2][1:], live)]
    return by_key(node[2], live)


def by_key(parts: Sequence[Any], live: Any) -> list[Any]:
    """The live keys and values for parts: by key where that is a leaf, in order among the others."""
    others = iter([key for key in dict.__iter__(live) if not is_leaf(key)])
    found = []
    for key in parts[::2]:
        own = next(others, MISSING) if type(key) is list else key
        try:
            found += [own, dict.get(live, own, MISSING)]
        except TypeError:
            found += [MISSING, MISSING]
    return found


def _make_plain(_: Putter, node: Node, live: Any) -> Any:
    if live is not MISSING:
        return live
    return collections.deque(maxlen=node[1]) if node[0] == "deque" else _PLAIN[node[0]]()


def _fill_list(_: Putter, __: Node, made: Any, parts: list[Any]) -> Any:
    made[:] = parts
    return made


def _fill_set(_: Putter, __: Node, made: Any, parts: list[Any]) -> Any:
    made.clear()
    made.update(parts)
    return made


def _fill_dict(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    items = parts
    if node[0] == "defaultdict":
        made.default_factory, items = parts[0], parts[1:]
        if not (parts[0] is None or callable(parts[0])):
            raise Unfit(node, "is damaged (a default_factory that cannot be called)")
    made.clear()
    made.update(pairs(items))
    return made


def _fill_deque(_: Putter, __: Node, made: Any, parts: list[Any]) -> Any:
    made.clear()
    made.extend(parts)
    return made


def _fill_bytearray(_: Putter, node: Node, made: Any, __: list[Any]) -> Any:
    made[:] = node[1]
    return made


def _fill_namespace(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    vars(made).clear()
    vars(made).update(zip(node[1], parts, strict=True))
    return made


def _fill_fixed(putter: Putter, node: Node, _: Any, parts: list[Any]) -> Any:
    live = putter.live.get(id(node), MISSING)
    if node[0] == "tuple" and live is not MISSING and all(a is b for a, b in zip(live, parts, strict=True)):
        return live
    return _FIXED[node[0]](parts)


def _fill_guarded(_: Putter, node: Node, __: Any, parts: list[Any]) -> Any:
    kind, refusal = node[1]
    plain = {"list": list, "dict": dict, "set": set}[kind]
    made: Any = GUARDS[plain](pairs(parts) if plain is dict else parts)
    made._refusal = str(refusal)
    return made


def _fits_namespace(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    return [vars(live).get(name, MISSING) for name in node[1]] if type(live) is types.SimpleNamespace else None


def _fits_array_array(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    return () if type(live) is array.array and live.typecode == node[1][0] else None


def _make_array_array(_: Putter, node: Node, live: Any) -> Any:
    made = array.array(node[1][0]) if live is MISSING else live
    del made[:]
    made.frombytes(node[1][1])
    return made


def _fill_proxy(_: Putter, __: Node, ___: Any, parts: list[Any]) -> Any:
    return types.MappingProxyType(parts[0])


def _fill_weakref(putter: Putter, node: Node, _: Any, parts: list[Any]) -> Any:
    live = putter.live.get(id(node), MISSING)
    if live is not MISSING and live() is parts[0]:
        return live
    return weakref.ref(set()) if parts[0] is None else weakref.ref(parts[0])


def _fits_weakref(_: Putter, __: Node, live: Any) -> Sequence[Any] | None:
    return [live()] if type(live) is weakref.ref else None


def _fits_proxy(_: Putter, __: Node, live: Any) -> Sequence[Any] | None:
    return gc.get_referents(live)[:1] if type(live) is types.MappingProxyType else None


def _fill_slice(_: Putter, __: Node, ___: Any, parts: list[Any]) -> Any:
    return slice(*parts)


_OVER: dict[str, Any] = {
    "list_iterator": list,
    "tuple_iterator": tuple,
    "range_iterator": range,
    "str_iterator": str,
    "str_ascii_iterator": str,
}


def _fill_iterator(_: Putter, node: Node, __: Any, parts: list[Any]) -> Any:
    kind, index = node[1]
    (over,) = parts
    if not isinstance(over, _OVER[kind]):
        raise Unfit(node, "is damaged (an iterator over something else)")
    made: Any = iter(over)
    if index is not None:
        made.__setstate__(index)
    return made


def _make_count(_: Putter, node: Node, __: Any) -> Any:
    start, step = node[1]
    return itertools.count(int(start), int(step))


MATCHES: dict[str, Match] = {
    **dict.fromkeys(("list", "tuple", "set", "frozenset", "deque", "bytearray"), _fits_items),
    **dict.fromkeys(("dict", "OrderedDict", "defaultdict"), _fits_dict),
    "namespace": _fits_namespace,
    "array.array": _fits_array_array,
    "proxy": _fits_proxy,
    "weakref": _fits_weakref,
}

MAKES: dict[str, Make] = {
    **dict.fromkeys(_PLAIN, _make_plain),
    **dict.fromkeys(("tuple", "frozenset", "guarded", "proxy", "weakref", "slice", "iterator"), pending),
    "array.array": _make_array_array,
    "count": _make_count,
}

FILLS: dict[str, Fill] = {
    "list": _fill_list,
    "set": _fill_set,
    "deque": _fill_deque,
    "bytearray": _fill_bytearray,
    "namespace": _fill_namespace,
    **dict.fromkeys(("dict", "OrderedDict", "defaultdict"), _fill_dict),
    **dict.fromkeys(_FIXED, _fill_fixed),
    "guarded": _fill_guarded,
    "proxy": _fill_proxy,
    "weakref": _fill_weakref,
    "slice": _fill_slice,
    "iterator": _fill_iterator,
}
