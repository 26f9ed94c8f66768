"""Shared objects are made immortal: on free-threaded Python the reference count of an object that several threads use is a hidden lock.

Taking and dropping a reference to an object that another thread made writes to that object's shared count. If two workers do so
alternately, the cache line moves between their cores: a call of `np.cos` took 1.05 µs beside another thread's calls instead of 0.7. On
CPython 3.14t, with two workers on two cores, the counts of all objects were watched while CartPole was stepped. The contended ones were:

- constants of code that was compiled in this process: a cell, or a module that had no `.pyc` file. (Those of a `.pyc` are immortal.)
  A loop with one `& 0xFFFF` in it was 0.77 times as fast on two threads as on one; with an immortal constant 1.97 times;
- the dictionary of a module that has a `__getattr__`, as numpy's: every `np.cos` takes and drops a reference to it;
- numpy's ufuncs, built-in functions that are called through an attribute, functions found by `super()` and its cells, properties.

The reference count of an immortal object (PEP 683) is never written. All that modules hold is made immortal before the workers start;
modules that startup reactions import follow once these reactions are done. A step of CartPole beside another thread took 41 µs, alone 35.5;
now both take 36.1 µs.

A single worker gains, too: it is not the thread that imported the modules, so it counts their objects in the field for other threads. One step of 16
CartPoles a round, in a fresh process: 13.7 µs a step instead of 14.6 (`bench gym --fresh`, lowest hundredth of each run's times, median of six runs in
turns). It costs 50 ms of a process once, 200 with torch.

This is an optimisation and nothing else: results, fingerprints and memory do not depend on it. `REACTORNB_IMMORTAL=0` in the environment
turns it off; so do a GIL, and a CPython that has neither `PyUnstable_SetImmortal` (3.15) nor its predecessor `_Py_SetImmortal`.

# Ownership: CPython considers it safe to make an object immortal on the thread that owns it, and on any thread if no thread owns it
#            (`can_immortalize_safely` in unicodeobject.c). Other threads count in the shared field only: a thread that takes or drops
#            a reference meanwhile either sees the object as immortal, or changes a field that is no longer read. So an object that
#            another thread owns is skipped; that thread's own call of `immortalize` may reach it.
# _done      read and written under _lock; a forked child gets a new lock, since another thread may have held the old one
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

__all__ = ["immortalize"]

# Reentrant, and waited for with a timeout: the main thread may be interrupted between acquire and release. An object that
# is not made immortal costs a little time, no more.
_lock = threading.RLock()
_PATIENCE_S = 1.0
# Modules and classes that were visited and are immortal: no other object will ever have the same id.
_done: set[int] = set()

_SCALARS = (int, float, complex, str, bytes)
_FIELDS = (GetSetDescriptorType, MemberDescriptorType)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by Python, not part of a library's C code


def immortalize(code: Iterable[Any] = ()) -> None:
    """Make modules immortal, with their classes, functions and numbers, as far as this thread owns them.

    Of `__main__`, where cells are run again and again, only numbers, strings and constants of code.

    Args:
        code: functions, and classes with methods, whose constants are made immortal too, wherever they were defined.
    """
    make = _maker()
    if make is None:
        return
    if not _lock.acquire(timeout=_PATIENCE_S):
        return
    try:
        for name, module in sys.modules.copy().items():
            if not issubclass(type(module), ModuleType) or id(module) in _done:
                continue
            values = vars(module).copy().values()
            if name == "__main__":
                for value in values:
                    _visit_code(value, make)
                continue
            make(vars(module))
            if make(module):
                _done.add(id(module))
            for value in values:
                _visit(value, make)
        for value in code:
            _visit_code(value, make)
    finally:
        _lock.release()


def _maker() -> Callable[[Any], bool] | None:
    """A function that makes an object immortal if this thread may, and returns whether it is; None if CPython has none, or if it is off."""
    if os.environ.get("REACTORNB_IMMORTAL") == "0":
        return None
    if getattr(sys, "_is_gil_enabled", lambda: True)() or not hasattr(sys, "_is_immortal"):
        return None
    api = ctypes.pythonapi
    set_immortal = getattr(api, "PyUnstable_SetImmortal", None) or getattr(api, "_Py_SetImmortal", None)
    if set_immortal is None:
        return None
    set_immortal.argtypes, set_immortal.restype = [ctypes.py_object], None
    is_immortal, owner_at = sys._is_immortal, ctypes.c_size_t.from_address
    made_here = object()
    mine = owner_at(id(made_here)).value  # of an object the first field says which thread owns it; 0: none

    def make(value: Any) -> bool:
        if is_immortal(value):
            return True
        if owner_at(id(value)).value not in (mine, 0):
            return False
        set_immortal(value)
        return True

    return make


def _visit(value: Any, make: Callable[[Any], bool]) -> None:
    """Make a module's contents immortal, except objects that may be large or short-lived: no list, no instance."""
    kind = type(value)
    if issubclass(kind, type):
        if id(value) not in _done and make(value):
            _done.add(id(value))
            members = kind is enum.EnumType
            for held in vars(value).copy().values():
                if members and isinstance(held, value):
                    make(held)
                elif not isinstance(held, type):
                    _visit(held, make)
        return
    if sys._is_immortal(value):  # type: ignore[attr-defined]  # of 3.14; else `_maker` returned None
        return  # a number or a string; or it was visited before, with what it holds
    functions = _functions(value)
    # Besides functions: callables of C code, such as built-in functions, ufuncs, and descriptors of methods.
    if functions or kind in _SCALARS or kind in _FIELDS or (callable(value) and not kind.__flags__ & _HEAP_TYPE):
        make(value)
    for function in functions:
        make(function)
        _constants(function.__code__.co_consts, make)
        for cell in function.__closure__ or ():
            make(cell)


def _visit_code(value: Any, make: Callable[[Any], bool]) -> None:
    """For a cell's variable: make a number or a string immortal, or the constants in the code of a function or of a class's methods."""
    if type(value) in _SCALARS:
        make(value)
    held = vars(value).copy().values() if issubclass(type(value), type) else (value,)
    for function in itertools.chain.from_iterable(map(_functions, held)):
        _constants(function.__code__.co_consts, make)


def _functions(value: Any) -> tuple[FunctionType, ...]:
    """The functions that a function, method or property runs. By type: reading an attribute of an unknown object could run any code."""
    kind = type(value)
    if kind is FunctionType:
        return (value,)
    if kind is property:
        return _functions(value.fget) + _functions(value.fset)
    if kind in (staticmethod, classmethod):
        return _functions(value.__func__)
    return ()


def _constants(constants: tuple[Any, ...] | frozenset[Any], make: Callable[[Any], bool]) -> None:
    """Make constants and their members immortal. An immortal tuple has immortal members: most constants come from a `.pyc` and are."""
    is_immortal = sys._is_immortal  # type: ignore[attr-defined]  # see `_visit`
    for value in constants:
        if is_immortal(value):
            continue
        if isinstance(value, CodeType):
            _constants(value.co_consts, make)
            continue
        if isinstance(value, (tuple, frozenset)):
            _constants(value, make)
        make(value)


def _free_child() -> None:
    """Called in a forked child: make a new lock. Objects that the old lock's holder had not visited yet are visited by the next call."""
    global _lock  # noqa: PLW0603 - there is one thread
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_child)
