"""Names of a package that are imported when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["importer"]


def importer(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A function to be a package's `__getattr__`.

        __getattr__ = importer(__name__, {"PPO": "ppo"})

    Args:
        package: its name.
        homes: for each name, the module within the package that has it.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807 - Python calls it by this name
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return __getattr__
