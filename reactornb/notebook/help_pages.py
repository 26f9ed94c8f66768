"""`Rollout??` shows the source of a reactor class that a cell declares.

IPython asks `inspect` for it, which gives up on every class of `__main__`. So the shell gets an inspector that asks the class, which
knows where it was declared. Nothing of `inspect` is changed: `inspect.getsource(Rollout)` fails as for any class of a cell.
"""

from __future__ import annotations

from typing import Any

from IPython.core.oinspect import Inspector

from reactornb.loading.cell_magics import source_of_class
from reactornb.model import Reactor

__all__ = ["install", "uninstall"]


class ReactorInspector(Inspector):
    """IPython's inspector, which also finds the source of reactor classes.

    Attributes:
        before: the inspector that the shell had.
    """

    before: Any = None

    def info(self, obj: Any, oname: str = "", info: Any = None, detail_level: int = 0) -> Any:
        """See `Inspector.info`."""
        described = super().info(obj, oname=oname, info=info, detail_level=detail_level)
        if detail_level and not described["source"] and isinstance(obj, type) and issubclass(obj, Reactor):
            described["source"] = source_of_class(obj)
        return described


def install(shell: Any) -> None:
    """Give a shell the inspector, made as IPython makes its own."""
    inspector = ReactorInspector(theme_name=shell.colors, str_detail_level=shell.object_info_string_level, parent=shell)
    inspector.before = shell.inspector
    shell.inspector = inspector


def uninstall(shell: Any) -> None:
    """Give a shell its own inspector back."""
    if isinstance(shell.inspector, ReactorInspector):
        shell.inspector = shell.inspector.before
