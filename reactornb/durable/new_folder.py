"""The folder of a run that begins: under a name that is free, and gone again if the run does not begin."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reactornb.durable.errors import RunExistsError
from reactornb.durable.folder import RunFolder

__all__ = ["folder_for", "free_name", "remove"]


def folder_for(root: Path, name: str, about: Mapping[str, Any], cells: Mapping[str, str]) -> RunFolder:
    """The folder of a new run.

    Raises:
        RunExistsError: if there is one of that name; says what to do.
        RunNameError: for a name that no file can have everywhere.
    """
    try:
        return RunFolder.create(root, name, about, cells)
    except RunExistsError as error:
        words = (
            f"there is a run {name!r} already, in {error.path}. Go on with it: resume({name!r}) (reactornb resume {name}); or keep this one under "
            f"another name: keep={free_name(root, name)!r}; or remove it: reactornb runs remove {name}."
        )
        error.args = (words,)
        raise


def free_name(root: Path, name: str) -> str:
    """A name that no run has: `name`, or the first free one of `name-2`, `name-3`, …"""
    taken = {path.name for path in root.glob("*")}
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def remove(path: Path) -> None:
    """Take back the folder of a run that did not begin."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path)
