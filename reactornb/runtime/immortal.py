"""What all workers touch is no longer counted: on free-threaded Python the reference count of a shared object is a hidden lock.

Taking and dropping a reference to an object that another thread made writes to that object's shared count. Two workers that do so in
turns pass its cache line to and fro: a call of `np.cos` took 1.05 µs beside another thread's instead of 0.7. Found on CPython 3.14t, with
two workers on two cores, by watching the counts of all objects while CartPole was stepped:

- constants of code that was compiled in this process: a cell, or a module that had no `.pyc` file. (Those of a `.pyc` are immortal.)
  A loop with one `& 0xFFFF` in it was 0.77 times as fast on two threads as on one; with an immortal constant 1.97 times;
- the dictionary of a module that has a `__getattr__`, as numpy's: every `np.cos` takes and drops a reference to it;
- numpy's ufuncs, built-in functions that are called through an attribute, functions found by `super()` and its cells, properties.

An immortal object (PEP 683) is never counted. All that modules hold for good is made immortal before several workers begin, and what
startup reactions import once they are done: a step of CartPole beside another thread took 41 µs where it takes 35.5 alone, and now takes as
long as alone (36.1 and 36.1 µs).

`_Py_SetImmortal` is CPython's own function; it becomes `PyUnstable_SetImmortal` in 3.15. Where there is neither, or a GIL, nothing
happens here but that two workers are slower.

# Ownership: CPython holds it safe to make an object immortal for the thread that owns it, and for all where nobody does
#            (`can_immortalize_safely` in unicodeobject.c). Another thread counts in the shared field only: whether it is about to
#            take a reference or to drop one, it finds the object immortal, or changes a field that is not read any more. So an
#            object of another thread is passed over; that thread's own look may find it.
# _done      read and written under _lock, of which a forked child has its own: another thread may have held it
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

# Reentrant, and not waited for without end: the main thread may be interrupted between taking it and giving it back. What is not made
# immortal costs a little time, no more.
_lock = threading.RLock()
_PATIENCE_S = 1.0
# Modules and classes that were looked at and are immortal: no other object will ever have the same id.
_done: set[int] = set()

_SCALARS = (int, float, complex, str, bytes)
_FIELDS = (GetSetDescriptorType, MemberDescriptorType)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by Python, not part of a library's C code


def immortalize(code: Iterable[Any] = ()) -> None:
    """Make immortal what modules hold for good, as far as this thread owns it: themselves, their classes, functions and numbers.

    Of `__main__`, where cells are run again and again, only numbers, strings and constants of code.

    Args:
        code: functions, and classes with methods, whose constants are to be so, too, wherever they were made.
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
                    _settle_code(value, make)
                continue
            make(vars(module))
            if make(module):
                _done.add(id(module))
            for value in values:
                _settle(value, make)
        for value in code:
            _settle_code(value, make)
    finally:
        _lock.release()


def _maker() -> Callable[[Any], bool] | None:
    """What makes an object immortal if this thread may do so, and says whether it is; None where that cannot be done."""
    if getattr(sys, "_is_gil_enabled", lambda: True)() or not hasattr(sys, "_is_immortal"):
        return None
    api = ctypes.pythonapi
    found = getattr(api, "PyUnstable_SetImmortal", None) or getattr(api, "_Py_SetImmortal", None)
    if found is None:
        return None
    found.argtypes, found.restype = [ctypes.py_object], None
    is_immortal, owner_at = sys._is_immortal, ctypes.c_size_t.from_address
    made_here = object()
    mine = owner_at(id(made_here)).value  # of an object the first field says which thread owns it; 0: none

    def make(value: Any) -> bool:
        if is_immortal(value):
            return True
        if owner_at(id(value)).value not in (mine, 0):
            return False
        found(value)
        return True

    return make


def _settle(value: Any, make: Callable[[Any], bool]) -> None:
    """What a module holds, and nothing that may be large or is made anew now and then: a list, an instance."""
    kind = type(value)
    if issubclass(kind, type):
        if id(value) not in _done and make(value):
            _done.add(id(value))
            members = kind is enum.EnumType
            for held in vars(value).copy().values():
                if members and isinstance(held, value):
                    make(held)
                elif not isinstance(held, type):
                    _settle(held, make)
        return
    if sys._is_immortal(value):  # type: ignore[attr-defined]  # of 3.14; where there is none, `_maker` has given up
        return  # a number or a string; or it was found before, with what it holds
    functions = _functions(value)
    # Besides functions what a library's C code calls: built-in functions, ufuncs, methods' descriptors.
    if functions or kind in _SCALARS or kind in _FIELDS or (callable(value) and not kind.__flags__ & _HEAP_TYPE):
        make(value)
    for function in functions:
        make(function)
        _constants(function.__code__.co_consts, make)
        for cell in function.__closure__ or ():
            make(cell)


def _settle_code(value: Any, make: Callable[[Any], bool]) -> None:
    """Of what a cell left: a number or a string, or the constants in the code of a function or of a class's methods."""
    if type(value) in _SCALARS:
        make(value)
    held = vars(value).copy().values() if issubclass(type(value), type) else (value,)
    for function in itertools.chain.from_iterable(map(_functions, held)):
        _constants(function.__code__.co_consts, make)


def _functions(value: Any) -> tuple[FunctionType, ...]:
    """What a function, method or property runs. By type: asking an unknown object for an attribute could run anything."""
    kind = type(value)
    if kind is FunctionType:
        return (value,)
    if kind is property:
        return _functions(value.fget) + _functions(value.fset)
    if kind in (staticmethod, classmethod):
        return _functions(value.__func__)
    return ()


def _constants(found: tuple[Any, ...] | frozenset[Any], make: Callable[[Any], bool]) -> None:
    """`found`, and what is in it. In a tuple that is immortal all is: so are the constants of a `.pyc`, which are most of them."""
    is_immortal = sys._is_immortal  # type: ignore[attr-defined]  # see `_settle`
    for value in found:
        if is_immortal(value):
            continue
        if isinstance(value, CodeType):
            _constants(value.co_consts, make)
            continue
        if isinstance(value, (tuple, frozenset)):
            _constants(value, make)
        make(value)


def _free_child() -> None:
    """In a forked child no other thread looks through the modules. What one had not yet done by then is found by the next look."""
    global _lock  # noqa: PLW0603 - there is one thread
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_child)
