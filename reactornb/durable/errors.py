"""What may be wrong with the folder of a run."""

from __future__ import annotations

from pathlib import Path

from reactornb.errors import ReactorError

__all__ = [
    "AnotherProcessorError",
    "CheckpointNotWrittenError",
    "DamagedRunError",
    "NoSuchRunError",
    "ProgramNotFoundError",
    "RunExistsError",
    "RunFinishedError",
    "RunInUseError",
    "RunNameError",
    "SourceChangedError",
]


class DamagedRunError(ReactorError, ValueError):
    """A file of a run is not what was written there, or is missing; nothing of it was used.

    Attributes:
        path: the file or folder.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str, todo: str = "") -> None:
        super().__init__(f"{path} is damaged: {reason}. {todo or 'Restore it from a copy, or use another checkpoint.'}")
        self.path = path
        self.reason = reason


class NoSuchRunError(ReactorError, LookupError):
    """There is no run in that folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, todo: str) -> None:
        super().__init__(f"there is no run in {path}. {todo}")
        self.path = path


class RunExistsError(ReactorError, FileExistsError):
    """A run of that name is there already.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists already. Resume that run, choose another name, or remove the folder.")
        self.path = path


class RunInUseError(ReactorError, RuntimeError):
    """Another process, or another run of this one, writes that folder.

    Attributes:
        path: the folder.
        pid: the process, if known.
        host: the machine it is on, if known.
    """

    def __init__(self, path: Path, pid: int | None, host: str | None, todo: str = "") -> None:
        who = "another process" if pid is None else f"process {pid}" + (f" on {host}" if host else "")
        super().__init__(f"{path} is being written by {who}. {todo or 'Stop that run first.'}")
        self.path = path
        self.pid = pid
        self.host = host


class RunNameError(ReactorError, ValueError):
    """A name that cannot be that of a file on every system.

    Attributes:
        name: the name.
    """

    def __init__(self, name: object) -> None:
        super().__init__(
            f"{name!r:.120} is no name for a run or a file of it: letters, digits, '_', '-', '+' and '.' only, the first one no '.', "
            "'-' or '+', 100 at most, and no '.tmp' or '.old' at the end."
        )
        self.name = name


class CheckpointNotWrittenError(ReactorError, OSError):
    """A checkpoint could not be written; those before it are as they were.

    Attributes:
        path: its folder.
        errno: the system's number for the reason.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error) or type(error).__name__
        super().__init__(f"the checkpoint {path} could not be written: {reason}. Those before it are as they were.")
        self.path = path
        self.errno = error.errno


class ProgramNotFoundError(ReactorError, LookupError):
    """The program that a run was of is not in this process, or cannot be made again."""


class SourceChangedError(ReactorError, RuntimeError):
    """The program is not the one that was kept.

    Attributes:
        changed: what differs: full names of functions.
    """

    def __init__(self, changed: list[str], words: str = "") -> None:
        shown = ", ".join(changed[:8]) + (f" and {len(changed) - 8} more" if len(changed) > 8 else "")
        super().__init__(
            words
            or f"since this run was kept, its code was changed: {shown}. Going on would be another run. Take the code as it was (the texts are in "
            f'the run\'s folder, cells/), or go on as a branch, from the newest checkpoint: resume(…, changed="allow").'
        )
        self.changed = changed


class AnotherProcessorError(ReactorError, RuntimeError):
    """This machine rounds otherwise than the one that the run was on.

    Attributes:
        libraries: whose results differ.
    """

    def __init__(self, libraries: list[str]) -> None:
        super().__init__(
            f"{' and '.join(libraries)} compute other last bits on this machine than on the one where the run was kept, so it would not go on "
            f'exactly. resume(…, exact="warn") goes on nevertheless.'
        )
        self.libraries = libraries


class RunFinishedError(ReactorError, RuntimeError):
    """A run came to its own end: nothing is left to go on with.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path, words: str) -> None:
        super().__init__(words)
        self.path = path
