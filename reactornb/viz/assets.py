"""The files that go to the page with our widgets: all of them are in this package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["asset"]

_HERE = Path(__file__).parent


@cache
def asset(*names: str) -> str:
    """The text of these files, one after the other."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
