"""Objects of a program's own classes, back from nodes; see `putting`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reactornb.durable.objects.adapters import adapter_of
from reactornb.durable.objects.known import declared_way, full_name
from reactornb.durable.objects.put_plain import by_key, pairs
from reactornb.durable.objects.putting import MISSING, PENDING, Fill, Make, Match, Putter, set_attributes
from reactornb.durable.objects.take_objects import content_base, own_way
from reactornb.durable.objects.tree import Node, Unfit

__all__ = ["FILLS", "MAKES", "MATCHES"]


def _fits_object(putter: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    name, names = node[1]
    if full_name(type(live)) != name or content_base(type(live)) is not object:
        return None
    own = putter.known.layouts.of(live)
    return [own.get(one, MISSING) for one in names]


def _class_of(putter: Putter, node: Node, name: Any) -> type:
    cls = putter.known.named(name)
    if not isinstance(cls, type):
        raise Unfit(
            node,
            f"is of the class {name!s:.100}, which neither the program's modules contain nor startup makes an object of. Declare it: "
            f"reactornb.durable.savable(...)",
        )
    if hasattr(cls, "__del__"):
        raise Unfit(node, f"is of the class {name!s:.100}, which has a __del__: startup has to make it")
    return cls


def _make_object(putter: Putter, node: Node, live: Any) -> Any:
    if live is not MISSING:
        return live
    cls = _class_of(putter, node, node[1][0])
    if content_base(cls) is not object:
        raise Unfit(node, "is damaged (an object that is more than its attributes)")
    return object.__new__(cls)


def _fill_object(putter: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    set_attributes(made, putter.known.layouts.of(made), dict(zip(node[1][1], parts, strict=True)))
    return made


_CHANGEABLE: dict[str, Any] = {"list": list, "dict": dict, "set": set, "bytearray": bytearray}
_UNCHANGEABLE: dict[str, Any] = {
    cls.__name__: cls for cls in (frozenset, tuple, str, bytes, int, float, complex)
}  # fmt: skip


def _fits_extended(putter: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    name, base, names, count = node[1]
    if full_name(type(live)) != name or getattr(content_base(type(live)), "__name__", "") != base:
        return None
    content: list[Any] = []
    if base == "dict":
        content = by_key(node[2][:count], live)
    elif base in ("list", "tuple"):
        content = list(list.__iter__(live) if base == "list" else tuple.__iter__(live))
        if base == "tuple" and len(content) != count:
            return None
    content = [*content[:count], *([MISSING] * (count - len(content)))]
    own = putter.known.layouts.of(live)
    return [*content, *(own.get(one, MISSING) for one in names)]


def _make_extended(putter: Putter, node: Node, live: Any) -> Any:
    name, base, _, _ = node[1]
    kind: Any = _CHANGEABLE.get(base)
    if kind is None:
        return PENDING
    if live is not MISSING:
        return live
    cls = _class_of(putter, node, name)
    if content_base(cls) is not kind:
        raise Unfit(node, f"is damaged (no {base!s:.20})")
    new: Any = kind.__new__
    return new(cls)


def _fill_extended(putter: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    name, base, names, count = node[1]
    content, state = parts[:count], dict(zip(names, parts[count:], strict=True))
    kind: Any = _CHANGEABLE.get(base) or _UNCHANGEABLE[base]
    if made is MISSING:
        live = putter.live.get(id(node), MISSING)
        if (
            live is not MISSING
            and base == "tuple"
            and all(a is b for a, b in zip(tuple.__iter__(live), content, strict=True))
        ):
            made = live
        else:
            cls: Any = _class_of(putter, node, name) if live is MISSING else type(live)
            if content_base(cls) is not kind:
                raise Unfit(node, f"is damaged (no {base!s:.20})")
            new: Any = kind.__new__
            made = new(cls, content if base in ("tuple", "frozenset") else content[0])
    elif base == "dict":
        dict.clear(made)
        dict.update(made, pairs(content))
    elif base == "set":
        set.clear(made)
        set.update(made, content)
    else:
        kind.__setitem__(made, slice(None), content if base == "list" else content[0])
    if state or names:
        set_attributes(made, putter.known.layouts.of(made), state)
    return made


def _fits_saved(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    name = node[1] if type(node[1]) is str else node[1][0]
    return () if full_name(type(live)) == name else None


def _make_saved(putter: Putter, node: Node, live: Any) -> Any:
    if live is not MISSING:
        return live
    cls = _class_of(putter, node, node[1][0])
    if own_way(cls) is None or content_base(cls) is not object:
        raise Unfit(node, f"is of {cls.__qualname__}, which cannot load itself")
    return object.__new__(cls)


def _fill_saved(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    way = own_way(type(made))
    if way is None or way != tuple(node[1][1:]):
        raise Unfit(node, f"was saved by {node[1][1]!s:.40}(), which its class does not have")
    getattr(made, way[1])(parts[0])
    return made


def _make_adapted(putter: Putter, node: Node, live: Any) -> Any:
    if live is not MISSING:
        return live
    cls = _class_of(putter, node, node[1])
    if declared_way(cls) is None or content_base(cls) is not object:
        raise Unfit(node, f"is a {cls.__qualname__}, which startup of this program does not make there")
    return object.__new__(cls)


def _fill_adapted(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    way = declared_way(type(made)) or adapter_of(type(made))
    if way is None:
        raise Unfit(node, f"is of {type(made).__qualname__}, of which nothing says how it is loaded")
    way.load(made, parts[0])
    return made


MATCHES: dict[str, Match] = {
    "object": _fits_object,
    "extended": _fits_extended,
    "saved": _fits_saved,
    "adapted": _fits_saved,
}

MAKES: dict[str, Make] = {
    "object": _make_object,
    "extended": _make_extended,
    "saved": _make_saved,
    "adapted": _make_adapted,
}

FILLS: dict[str, Fill] = {
    "object": _fill_object,
    "extended": _fill_extended,
    "saved": _fill_saved,
    "adapted": _fill_adapted,
}
