"""Keeps torch's optimizers from importing torch's compiler, which takes longer than torch itself and is used by no program here.

The first optimizer imports `torch._dynamo` (a thousand modules, sympy and triton among them) to call two of its functions, `disable` and
`graph_break`. Both do something only while a program is compiled, and nothing is compiled before that module is loaded. So
`defer` puts a module in its place that answers these two, and loads the real one at the first use of anything else:
`torch.compile`, a submodule, a name. A torch that asks for more when it makes an optimizer is slower, and as right as ever.

`REACTORNB_DEFER=0` in the environment switches it off.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["defer"]

PARENT, NAME = "torch", "torch._dynamo"


class Deferred(ModuleType):
    """Stands for `torch._dynamo` until it is needed.

    Any thread: the real module is made by the import system, whose lock lets one thread load it while others wait.
    """

    def __init__(self) -> None:
        super().__init__(NAME, "Stands for torch's compiler until it is needed; see reactornb.rl.dynamo.")
        # Read by code that goes through all modules, such as `inspect.getmodule` for a traceback. `__spec__` is None.
        self.__file__ = str(Path(sys.modules[PARENT].__path__[0]) / "_dynamo" / "__init__.py")
        self.__package__ = NAME

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Ends the graph that is compiled; nothing is, unless the real module is loaded."""
        if _is_loaded():
            import_module(NAME).graph_break(*([msg] if msg else []))  # not from sys.modules, where it may be unfinished

    @staticmethod
    def disable(fn: Any = None, *args: Any, **options: Any) -> Any:
        """`fn`, which is not to be compiled; the real module's version of it from the moment that this is loaded."""
        if _is_loaded() or fn is None or not callable(fn) or isinstance(fn, type):
            return _real().disable(fn, *args, **options)
        known: list[Callable[..., Any]] = []

        def call(*given: Any, **named: Any) -> Any:
            if not _is_loaded():
                return fn(*given, **named)
            if not known:
                known.append(import_module(NAME).disable(fn, *args, **options))
            return known[0](*given, **named)

        return update_wrapper(call, fn)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # which an import of a submodule asks for
            raise AttributeError(name)
        return getattr(_real(), name)


def _is_loaded() -> bool:
    return not isinstance(sys.modules.get(NAME), Deferred)


def _real() -> Any:
    with _TAKING_AWAY:
        if not _is_loaded():
            del sys.modules[NAME]
    return import_module(NAME)


_TAKING_AWAY = (
    threading.Lock()
)  # held while the stand-in is looked up and deleted, by the first thread that needs the real module


def defer() -> bool:
    """Let `torch._dynamo` wait until it is needed. Called once torch is imported; harmless if called again.

    Returns:
        False where it is loaded already, or deferring is switched off.
    """
    if os.environ.get("REACTORNB_DEFER") == "0":
        return False
    if NAME not in sys.modules:
        stands_for_it = Deferred()
        if sys.modules.setdefault(NAME, stands_for_it) is stands_for_it:
            # Found without torch's own __getattr__, which every step would go through; the real one puts itself there.
            sys.modules[PARENT]._dynamo = stands_for_it  # type: ignore[attr-defined]
    return not _is_loaded()
