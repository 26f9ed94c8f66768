"""Who makes a declaration: the class body, `compose`, or a reaction that runs already; and which functions can be reactions.

Everything here looks at frames and functions, and runs nothing.
"""

from __future__ import annotations

import dis
import inspect
import itertools
import sys
import types
from typing import Any

from reactornb.errors import DeclarationError, Source, in_package

__all__ = ["assigned_to", "check_function", "class_body", "place_of", "refuse_child_of_run", "running_reactor"]

_NEVER_RUNS = (
    (inspect.CO_ASYNC_GENERATOR, "an async generator"),
    (inspect.CO_COROUTINE, "a coroutine (async def)"),
    (inspect.CO_GENERATOR, "a generator (it contains yield)"),
)


def place_of(code: types.CodeType) -> Source:
    """Where a function begins."""
    return Source(code.co_filename, code.co_firstlineno)


def check_function(fn: Any, what: str = "reaction") -> None:
    """Refuse functions that a scheduler cannot call: generators, coroutines, and objects that are no plain functions.

    Raises:
        DeclarationError: for anything but a plain function whose call runs its body.
    """
    if not isinstance(fn, types.FunctionType):
        kind = type(fn).__name__
        inner = getattr(fn, "__func__", None) or getattr(fn, "fget", None) or getattr(fn, "fn", None)
        name = getattr(inner, "__name__", "")
        where = place_of(inner.__code__) if isinstance(inner, types.FunctionType) else Source.caller()
        raise DeclarationError(
            f"{where}: a {what} is a plain function of self and what it touches{f', and {name!r} is a {kind}' if name else f', not a {kind}'}. "
            f"Leave out @{kind.lower()}: a {what} is called by the scheduler only."
        )
    for flag, words in _NEVER_RUNS:
        if fn.__code__.co_flags & flag:
            fix = (
                "Write def instead of async def"
                if "async" in words
                else "Take out the yield, or schedule an action for what comes later"
            )
            raise DeclarationError(
                f"{place_of(fn.__code__)}: {what} {fn.__name__} is {words}: calling it runs nothing of its body. {fix}; what waits for the outside "
                f"belongs into a thread that schedules a physical action."
            )


def _users_frame() -> types.FrameType | None:
    """The innermost frame of the user's own code."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and in_package(frame):
        frame = frame.f_back
    return frame


def class_body() -> dict[str, Any] | None:
    """The names of the class body from which the declaration is made, or None."""
    frame = _users_frame()
    if frame is None or frame.f_locals is frame.f_globals or "__qualname__" not in frame.f_code.co_names:
        return None
    names = frame.f_locals
    return names if "__module__" in names and "__qualname__" in names else None


def running_reactor() -> tuple[Any, str] | None:
    """The running reactor in whose reaction or method this is called, and the place; None elsewhere."""
    frame = _users_frame()
    if frame is None or not frame.f_code.co_argcount or frame.f_code.co_name == "<module>":
        return None
    first: Any = frame.f_locals.get(frame.f_code.co_varnames[0])
    if getattr(type(first), "_spec", None) is None or isinstance(first, type) or not first._running:
        return None
    return first, str(Source(frame.f_code.co_filename, frame.f_lineno))


def assigned_to() -> str:
    """The attribute that the user's frame is about to assign, `kid` in `self.kid = A()`; "" if the next step is no such assignment."""
    frame = _users_frame()
    if frame is None or not frame.f_code.co_argcount:
        return ""
    after = [
        i for i in dis.get_instructions(frame.f_code) if i.offset > frame.f_lasti and i.opname not in ("CACHE", "NOP")
    ][:3]
    for load, store in itertools.pairwise(after):
        if (
            store.opname == "STORE_ATTR"
            and load.opname.startswith("LOAD_FAST")
            and load.argval == frame.f_code.co_varnames[0]
        ):
            return str(store.argval)
        if load.opname not in ("BUILD_LIST", "BUILD_TUPLE"):
            break
    return ""


def refuse_child_of_run(name: str) -> None:
    """Refuse `self.kid = A()` in a reaction: the graph of a running program is final, so the reactor would never become a child.

    Args:
        name: the class that is called.

    Raises:
        DeclarationError: with the place and the fix.
    """
    running = running_reactor()
    attribute = assigned_to() if running is not None else ""
    if running is not None and attribute:
        raise DeclarationError(
            f"{running[1]}: {running[0].full_name} makes a child, self.{attribute} = {name}(…), while it runs, and the graph of a running program is final. Make it "
            f"in the class body, {attribute} = {name}(…), or in compose."
        )
