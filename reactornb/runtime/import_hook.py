"""Import hook: after the import of torch or an extension, limit its threads and check the GIL, before the import returns.

A finder at the front of `sys.meta_path` lets the others find a module, and wraps the loader of an extension, or of torch, so that it
calls back once the module is complete. The finder finds no module itself and leaves all other modules alone.

# installed   once, when this module is imported; Python's import lock for this module orders two that import it at once
# on_gil      callbacks that get the name of the extension that turned the GIL on; appended to by any thread, read by the importing thread
# turned_on   that name; written once by the thread whose import turned the GIL on, read by any thread
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType
from typing import Any

from reactornb.runtime import intraop

__all__ = ["gil_is_back", "on_gil", "turned_on"]

on_gil: list[Callable[[], None]] = []
turned_on: str | None = None

_STANDARD = tuple(filter(None, (sysconfig.get_path("platstdlib"), sysconfig.get_path("stdlib"))))
_PACKAGES = tuple(filter(None, (sysconfig.get_path("platlib"), sysconfig.get_path("purelib"))))


def gil_is_back() -> bool:
    """Whether this is a free-threaded interpreter whose GIL is on."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and getattr(sys, "_is_gil_enabled", lambda: True)()


class Finder:
    """Wraps the loaders that other finders return."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if name == "torch" or isinstance(spec.loader, ExtensionFileLoader):
                    _attend(spec, name)
                return spec
        return None


def _attend(spec: ModuleSpec, name: str) -> None:
    """Wrap the loader so that it calls back when the module is complete."""
    loader: Any = spec.loader
    origin = spec.origin or ""
    if name != "torch" and origin.startswith(_STANDARD) and not origin.startswith(_PACKAGES):
        return  # Python's own extensions load no such library and do not turn the GIL on
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _arrived(name, module)

    try:
        loader.exec_module = exec_module
    except AttributeError:  # a loader whose attributes cannot be set: torch is then found when a reaction runs next
        return


def _arrived(name: str, module: ModuleType) -> None:
    global turned_on  # noqa: PLW0603 - said above
    if name == "torch":
        if hasattr(module, "set_num_threads"):
            intraop.torch_imported(module)
    else:
        intraop.library_loaded()
    if turned_on is None and gil_is_back():
        turned_on = name
        for call in on_gil.copy():
            call()


def _install() -> None:
    if not any(type(finder).__name__ == "Finder" and type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())


_install()
