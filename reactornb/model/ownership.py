"""Copies of mutable values: every instance of every run begins with its own parameters, first values of states and class attributes.

The rule:
    copied      whatever can be changed in place: arrays, lists, dicts, tensors, `torch.nn.Module`s, generators of random numbers, objects
    as it is    what nothing can change, or is made to be used from several threads: numbers, text, classes, modules, functions and partials, enum
                members, locks, events, barriers and queues, ports' and actions' handles; and arrays that are read-only down to their memory
                (a data set for a whole bank: `data.setflags(write=False)`)
    refused     what cannot be copied: open files, iterators, most environments, objects that hold a lock. Give a function that makes one,
                and call it in startup; or annotate the parameter as `Shared[...]`: then all who have it share it, and that the
                result does not depend on who touches it first is the program's own business.

A class attribute without annotation is one object for all instances. Lists, dicts, sets and arrays can be read there; changing
one through `self` is an error at that line. What changes whenever it is used is refused at assembly.
"""

from __future__ import annotations

import copy
import enum
import functools
import io
import types
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence, MutableSet
from typing import Any, ClassVar, NoReturn

import numpy

from reactornb.errors import AssemblyError, ReactorError, SharedValueError

__all__ = [
    "Guarded",
    "attribute_refusal",
    "guarded",
    "is_frozen",
    "needs_copy",
    "needs_guard",
    "owned",
    "parameter_words",
    "refused_attribute",
    "thawed",
]

_AS_IT_IS: frozenset[type] = frozenset(
    {
        int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range, slice, type,
        types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.ModuleType,
        types.GenericAlias, types.UnionType, numpy.ufunc, functools.partial,
    }
)  # fmt: skip


# Modules whose objects are made to be shared by threads; and ours that reach out of a program.
_FOR_THREADS = frozenset(
    {
        "threading",
        "_thread",
        "queue",
        "_queue",
        "reactornb.runtime.handles",
        "reactornb.runtime.program",
        "reactornb.runtime.run",
    }
)


def _stays(value: Any, kind: type) -> bool:
    return kind in _AS_IT_IS or kind.__module__ in _FOR_THREADS or isinstance(value, (type, enum.Enum))


def is_frozen(array: Any) -> bool:
    """Whether an array is read-only down to its memory: nobody can write what it shows through the arrays it is a view of."""
    while isinstance(array, numpy.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or (isinstance(array, (bytes, memoryview)) and memoryview(array).readonly) or _is_mapped(array)


def _is_mapped(owner: Any) -> bool:
    try:
        return memoryview(owner).readonly  # a file that is mapped for reading
    except TypeError:
        return False


def needs_copy(value: Any) -> bool:
    """Whether `owned` would look for a copy, which may fail: false for numbers, text, functions, arrays of numbers."""
    kind = type(value)
    return not (_stays(value, kind) or (kind is numpy.ndarray and not value.dtype.hasobject))


def owned(value: Any, what: Callable[[], str]) -> Any:
    """A value that is this instance's own; see the module.

    Args:
        value: a parameter or the first value of a state.
        what: says whose it is and where that stands, for an error.

    Raises:
        AssemblyError: if it can neither be copied nor be shared.
    """
    kind = type(value)
    if _stays(value, kind):
        return value
    if isinstance(value, numpy.ndarray):
        if not value.dtype.hasobject and is_frozen(value):
            return value
        if kind is numpy.ndarray and not value.dtype.hasobject:
            return value.copy()
    try:
        # A partial is a function with arguments, and stays what it is, as a closure does; also in a list of such.
        items = value.values() if kind is dict else value if kind in (list, tuple) else ()
        return copy.deepcopy(value, {id(item): item for item in items if type(item) is functools.partial})
    except ReactorError:
        raise
    except Exception as error:
        words = (
            f"{what()} is a {kind.__module__}.{kind.__qualname__}, which every instance of every run needs for itself, and which cannot be "
            f"copied ({type(error).__name__}: {error}). Give a function that makes one and call it in startup, or, if it is meant to be "
            f"one object for all, annotate the parameter as Shared[…]."
        ).replace("a builtins.", "a ")
        raise AssemblyError(words) from error


_CHANGED_BY_USE = {
    "numpy.random._generator.Generator": "a generator of random numbers",
    "numpy.random.bit_generator.BitGenerator": "a generator of random numbers",
    "numpy.random.mtrand.RandomState": "a generator of random numbers",
    "random.Random": "a generator of random numbers",
    "torch._C.Generator": "a generator of random numbers",
    "torch.Tensor": "a tensor",
    "torch.nn.modules.module.Module": "a network",
    "torch.optim.optimizer.Optimizer": "an optimizer",
}

# -- class attributes ------------------------------------------------------------------------------------------------------


def refused_attribute(value: Any) -> str | None:
    """Why a class attribute is refused at assembly: in words, what it is; None for one that may stay."""
    kind = type(value)
    if kind in _AS_IT_IS or kind in GUARDS or isinstance(value, (type, numpy.ndarray)):
        return None
    # By name, since torch and random need not be imported to look for what is theirs.
    names = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
    for found, words in _CHANGED_BY_USE.items():
        if found in names:
            return words
    if isinstance(value, io.IOBase):
        return "an open file"
    if isinstance(value, Iterator):
        return "an iterator"
    if all(callable(getattr(kind, name, None)) for name in ("reset", "step")):
        return "an environment"
    if isinstance(value, (MutableSequence, MutableMapping, MutableSet, bytearray)):
        return f"a {kind.__name__}"
    return None


class Guarded:
    """A list, dict or set that stands for one that several share: it can be read like it, and says no to whatever would change it.

    A copy of it is an ordinary list, dict or set.

    Attributes:
        _refusal: the words of the error, whose it is and what to do; or the name of the port that it was sent on.
    """

    __slots__ = ()
    plain: ClassVar[type]
    _refusal: str

    def __repr__(self) -> str:
        return repr(self.plain(self))

    def __copy__(self) -> Any:
        return self.plain(self)

    def copy(self) -> Any:
        """An ordinary one with the same items."""
        return self.plain(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.plain(self), memo)

    def __reduce_ex__(self, _: Any) -> Any:
        return self.plain, (self.plain(self),)


def _refuse(self: Any, *_: Any, **__: Any) -> NoReturn:
    words = getattr(self, "_refusal", "what is shared")
    if " " not in words:  # the name of what it was sent on
        words = (
            f"the {type(self).__name__} that was sent on {words} is shared by all who read it. Change a copy, such as {type(self).__name__}(….value), "
            f"or declare Input(mutable=True): its reader gets a copy of its own."
        )
    raise SharedValueError(words)


def _guard(plain: type, names: str) -> type:
    refusing = dict.fromkeys(names.split(), _refuse)
    return type(plain.__name__, (Guarded, plain), {"__slots__": ("_refusal",), "plain": plain, **refusing})


GUARDS: dict[type, type] = {
    list: _guard(list, "append extend insert remove pop clear sort reverse __setitem__ __delitem__ __iadd__ __imul__"),
    dict: _guard(dict, "__setitem__ __delitem__ __ior__ clear pop popitem setdefault update"),
    set: _guard(
        set,
        "add discard remove pop clear update difference_update intersection_update symmetric_difference_update "
        "__iand__ __ior__ __isub__ __ixor__",
    ),
}


def guarded(value: Any, refusal: str) -> Any:
    """A list, dict, set or array as one that cannot be changed, containers inside it included; anything else as it is.

    Args:
        value: what several share.
        refusal: what the error says.
    """
    kind = type(value)
    if kind is tuple:
        return tuple(guarded(item, refusal) for item in value)
    if isinstance(value, numpy.ndarray):
        view = value.view()
        view.setflags(write=False)
        return view
    guard = GUARDS.get(kind)
    if guard is None:
        return value
    if kind is dict:
        guarded_copy = guard({key: guarded(item, refusal) for key, item in value.items()})
    elif kind is list:
        guarded_copy = guard([guarded(item, refusal) for item in value])
    else:
        guarded_copy = guard(value)
    guarded_copy._refusal = refusal
    return guarded_copy


def thawed(value: Any) -> Any:
    """A copy that can be changed and shares nothing with the value."""
    return value.copy() if type(value) is numpy.ndarray and not value.dtype.hasobject else copy.deepcopy(value)


def needs_guard(value: Any) -> bool:
    """Whether a class attribute is a list, dict, set or array that could be changed, or a tuple that holds one."""
    if type(value) is tuple:
        return any(map(needs_guard, value))
    return type(value) in GUARDS or (isinstance(value, numpy.ndarray) and value.flags.writeable)


def parameter_words(node: Any, name: str) -> str:
    """Which parameter it is, and where the reactor got it: `cell 3, line 4: the parameter env of main.a`."""
    return f"{node.source}: the parameter {name!r} of {node.name}"


def attribute_refusal(cls: type, name: str) -> str:
    """What is said when a class attribute is changed."""
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    where = getattr(owner, "_definition", cls.__dict__.get("_definition"))
    return (
        f"{owner.__name__}.{name} ({where}) is one object for all instances and all runs: what it holds would depend on which "
        f"runs first. Make it a state, {name} = State(…), or a parameter, {name}: {_kind_name(owner, name)} = …: each instance then has its own."
    )


def _kind_name(owner: type, name: str) -> str:
    return type(vars(owner).get(name)).__name__
