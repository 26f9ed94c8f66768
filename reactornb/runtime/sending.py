"""How a value is protected between `set`, or `schedule`, and its readers, so that what arrives is what was sent.

    numbers, text, None          as they are
    arrays                       made read-only; copied first if they are views of memory that the sender can still write
    lists, dicts, sets, tuples,  copied, with what they contain treated likewise; the copies of lists, dicts and sets can be read and
    dataclasses                  copied as ever, and changing one is an error
    tensors, networks            copied (PyTorch cannot make a tensor read-only: its readers must not change it; `check_values=True` finds
                                 one that does)
    other objects                as they are: neither sender nor reader may change them (`check_values` finds the one that does)

That holds whatever type the port declares: an array on an `Output[int]` becomes read-only, too.

`Output(copy=False)` sends everything as it is, `Output(copy=True)` copies objects, too. A reader that wants to change what it
receives has a copy of its own with `Input(mutable=True)`.

`tests/runtime/test_sending.py` holds the rule. For what is copied the copy itself is most of the cost: a large `state_dict` that is sent each
round, and not changed afterwards, goes by `Output(copy=False)`.

# _RULES    from a type to its rule; written by any worker, always with the same entry for one type; read by all. A dict's own
#           lock orders the two on free-threaded builds
"""

from __future__ import annotations

import array
import collections
import copy
import dataclasses
import sys
import types
from collections.abc import Callable
from typing import Any, cast

import numpy

from reactornb.errors import SendingError
from reactornb.model.durations import duration_ns
from reactornb.model.ownership import GUARDS, Guarded, is_frozen
from reactornb.tags import Duration

__all__ = ["PLAIN", "apart", "copied", "delay_of", "freeze_array", "ndarray", "settled"]

Rule = Callable[[Any, str], Any]
"""From a value, and the name of what it is sent on, to what its readers get."""

# Makes an array read-only: by position and not looked up in the array, that takes a sixth of the time of `flags.writeable = False`, and
# after an environment's step, which leaves no other code in the caches, 0.4 µs instead of the 0.6 of `value.setflags(False)`.
ndarray = numpy.ndarray
freeze_array = cast("Callable[[Any, bool], None]", ndarray.setflags)

PLAIN: frozenset[type] = frozenset(
    {int, Duration, float, complex, bool, str, bytes, type(None), range, frozenset, types.FunctionType, type}
    | {numpy.dtype(code).type for code in "?bBhHiIlLqQefdgFDG"}
)
"""Types of which nothing can be changed, so that `set` looks no further."""


def settled(value: Any, name: str) -> Any:
    """What the readers get.

    Args:
        value: what was given to `set` or `schedule`.
        name: full name of the port or action.

    Raises:
        SendingError: for a port, an action or another handle.
    """
    try:
        return _tuple(value, name) if type(value) is tuple else _inside(value, name)
    except RecursionError:  # it contains itself, or is thousands deep: like any other object
        return value


def copied(value: Any, name: str) -> Any:
    """The same with copies of all objects: what `Output(copy=True)` means."""
    return settled(value if type(value).__module__ == _HANDLES else copy.deepcopy(value), name)


def apart(array: Any) -> Any:
    """An array that shares no memory which somebody can still write: itself, or a copy."""
    base = array.base
    return array if base is None or is_frozen(base) else array.copy("K")


def _inside(value: Any, name: str) -> Any:
    kind = type(value)
    if kind in PLAIN:
        return value
    rule = _RULES.get(kind)
    if rule is None:
        rule = _RULES[kind] = _rule_for(kind)
    return rule(value, name)


def _as_it_is(value: Any, _: str) -> Any:
    return value


def _array(value: Any, _: str) -> Any:
    value = apart(value)
    freeze_array(value, False)
    if value.dtype.hasobject:
        return _objects(value, _)
    return value


def _objects(value: Any, name: str) -> Any:
    """An array of objects: with what it holds treated likewise."""
    copied_array = value.copy()
    for index in numpy.ndindex(copied_array.shape) if copied_array.dtype == object else ():
        copied_array[index] = _inside(value[index], name)
    freeze_array(copied_array, False)
    return copied_array


def _other_array(value: Any, _: str) -> Any:
    """An array of a subclass."""
    if isinstance(value, numpy.ma.MaskedArray):
        sent: Any = value.copy()
        if sent._mask is numpy.ma.nomask:  # or whoever masks an element would give it a mask
            sent._mask = numpy.zeros(sent.shape, numpy.ma.make_mask_descr(sent.dtype))
        freeze_array(sent._mask, False)
    elif is_frozen(value):
        return value
    elif isinstance(value, numpy.memmap):
        sent = numpy.array(value)
    else:
        sent = value if value.base is None else value.copy()
    freeze_array(sent, False)
    if isinstance(sent.base, ndarray):
        freeze_array(sent.base, False)
    return sent


_LIST, _DICT, _SET = (cast("Any", GUARDS[kind]) for kind in (list, dict, set))


def _list(value: Any, name: str) -> Any:
    guarded = _LIST([item if type(item) in PLAIN else _inside(item, name) for item in value])
    guarded._refusal = name
    return guarded


def _dict(value: Any, name: str) -> Any:
    guarded = _DICT({key: item if type(item) in PLAIN else _inside(item, name) for key, item in value.items()})
    guarded._refusal = name
    return guarded


def _set(value: Any, name: str) -> Any:
    guarded = _SET(value)
    guarded._refusal = name
    return guarded


def _tuple(value: Any, name: str) -> Any:
    """A tuple, such as what an environment's step returned: itself if nothing in it has to be copied.

    One loop without calls for arrays and numbers: after an environment's step, when little of this code is in the caches, that takes
    0.6 µs for an observation and a reward instead of the 2.6 of a list of all items and a comparison, and with the empty dict of a
    step's `info` 1.2 instead of 3.7.
    """
    items = None
    at = 0
    for item in value:
        kind = type(item)
        if kind not in PLAIN:
            if kind is ndarray and item.base is None and not item.dtype.hasobject:
                freeze_array(item, False)
            else:
                if kind is dict and not item:
                    sent = _DICT()
                    sent._refusal = name
                else:
                    sent = _inside(item, name)
                if sent is not item:
                    if items is None:
                        items = list(value)
                    items[at] = sent
        at += 1  # noqa: SIM113 - enumerate would make a tuple each time
    return value if items is None else tuple(items)


def _named_tuple(value: Any, name: str) -> Any:
    items = _tuple(value, name)
    return value if items is value else type(value)._make(items)


def _other_list(value: Any, name: str) -> Any:
    """A deque, or a list of a subclass."""
    copied_list = copy.copy(value)
    for i, item in enumerate(copied_list):
        copied_list[i] = _inside(item, name)
    return copied_list


def _other_dict(value: Any, name: str) -> Any:
    copied_dict = copy.copy(value)
    for key, item in list(copied_dict.items()):
        if type(item) not in PLAIN:
            copied_dict[key] = _inside(item, name)
    return copied_dict


def _proxy(value: Any, name: str) -> Any:
    return types.MappingProxyType(_dict(value, name))


def _copy(value: Any, _: str) -> Any:
    return copy.copy(value)


def _deep(value: Any, _: str) -> Any:
    return copy.deepcopy(value)


def _tensor(value: Any, _: str) -> Any:
    if value.grad_fn is not None:
        return value.clone()  # within its graph of gradients
    copied_tensor = value.detach().clone()
    if type(value) is not type(copied_tensor):
        return copy.deepcopy(value)
    return copied_tensor.requires_grad_() if value.requires_grad else copied_tensor


def _dataclass(kind: type) -> Rule:
    names = tuple(field.name for field in dataclasses.fields(kind))
    frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]

    def rule(value: Any, name: str) -> Any:
        changed = []
        for field in names:
            old = getattr(value, field, None)
            if type(old) not in PLAIN:
                new = _inside(old, name)
                if new is not old:
                    changed.append((field, new))
        if frozen and not changed:
            return value
        copied_object = copy.copy(value)
        for field, new in changed:
            object.__setattr__(copied_object, field, new)
        return copied_object

    return rule


def _handle(value: Any, name: str) -> Any:
    own = getattr(value, "name", "") or type(value).__name__
    short = own.rpartition(".")[2]
    words = {"ModeHandle": "a mode", "WatchdogHandle": "a watchdog", "View": "a contained reactor"}.get(
        type(value).__name__
    )
    fix = f"send its value: {name.rpartition('.')[2]}.set({short}.value)"
    if type(value).__name__ == "Multiport":
        fix, words = "send its values: .set(….values)", "a multiport"
    elif words is not None:
        fix = "send a value"
    raise SendingError(
        f"{name} was given {words or f'the port or action {own}'} itself, which lives on at other tags; {fix}."
    )


_HANDLES = "reactornb.runtime.handles"
_RULES: dict[type, Rule] = {
    **dict.fromkeys(PLAIN, _as_it_is),
    ndarray: _array,
    list: _list,
    dict: _dict,
    set: _set,
    tuple: _tuple,
    bytearray: _copy,
    array.array: _copy,
    collections.deque: _other_list,
    types.MappingProxyType: _proxy,
}


def _rule_for(kind: type) -> Rule:
    """Decided once for each type."""
    if issubclass(kind, Guarded):
        return _as_it_is
    if kind.__module__ in (_HANDLES, "reactornb.lf.ports") or any(b.__module__ == _HANDLES for b in kind.__mro__):
        return _handle
    if issubclass(kind, ndarray):
        return _other_array
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, tuple):
        return _named_tuple if hasattr(kind, "_make") else _as_it_is
    if issubclass(kind, dict):
        return _other_dict
    if issubclass(kind, (list, collections.deque)):
        return _other_list
    if issubclass(kind, (set, bytearray, array.array)):
        return _copy
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "nn"):
        if issubclass(kind, torch.Tensor):
            return _tensor
        if issubclass(kind, torch.nn.Module):
            return _deep
    return _as_it_is


def delay_of(delay: Any, name: str, *, bare: bool = False) -> int:
    """A delay given to `schedule`, in ns.

    Args:
        delay: what was given.
        name: full name of the action.
        bare: whether a bare number counts ns, as in Lingua Franca.

    Raises:
        SendingError: if it is no duration, lies in the past, or beyond the end of time.
    """
    try:
        return duration_ns(delay, f"{name}: the delay of schedule", bare=bare)
    except SendingError as error:
        short = name.rpartition(".")[2]
        raise SendingError(
            f"{error} The delay comes first, then the value: {short}.schedule({'ms(10)' if not bare else 'MSEC(10)'}, value); "
            f"{short}.schedule(0, value) comes at the next microstep."
        ) from None
