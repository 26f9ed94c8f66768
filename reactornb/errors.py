"""Every exception class of the package, and the places in source code that they name.

An error says what is wrong, where (cell and line), and what to do; the facts are attributes. This module imports
nothing of the package.
"""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

# Written once, when the notebook session starts, before any run; read when an error is worded. It turns a file name
# and a line into the words of the place ("cell 4, line 12") or None where the file is not a cell.
_describe: Callable[[str, int], str | None] | None = None

# Likewise: what lines IPython shows for an error of ours; None outside notebooks.
_render: Callable[[ReactorError], list[str]] | None = None

_FOLDER = __file__.removesuffix("errors.py")
_NOT_USERS = ("reactornb", "reactornb_magics", "IPython")


def in_package(frame: Any) -> bool:
    """Whether a stack frame is this package's own, its magics' or what calls magics, and so not its user's."""
    return _is_ours(frame.f_globals.get("__name__", ""))


@functools.cache
def _is_ours(module: Any) -> bool:
    return str(module).partition(".")[0] in _NOT_USERS


def set_source_describer(describe: Callable[[str, int], str | None] | None) -> None:
    """Let a notebook say how its cells are called; None takes it back."""
    global _describe  # noqa: PLW0603 - one hook a process, documented above
    _describe = describe


def set_traceback_renderer(render: Callable[[ReactorError], list[str]] | None) -> None:
    """Let a notebook say which lines it shows for a `ReactorError`; None takes it back."""
    global _render  # noqa: PLW0603 - one hook a process, documented above
    _render = render


@dataclass(frozen=True, slots=True)
class Source:
    """A place in source code.

    Attributes:
        file: name of the file or of the notebook cell's code object.
        line: line in it, from 1.
    """

    file: str
    line: int

    def __str__(self) -> str:
        named = _describe(self.file, self.line) if _describe is not None else None
        return named or f"{_module_of(self.file) or self.file}, line {self.line}"

    @classmethod
    def of_class(cls, made: type) -> Source:
        """Where the class is declared that is being made: in this package too, whose classes a user's cell only imports."""
        if made.__module__.split(".")[0] in _NOT_USERS:
            frame = sys._getframe(1)
            while frame.f_back is not None and frame.f_globals.get("__name__") != made.__module__:
                frame = frame.f_back
            if frame.f_globals.get("__name__") == made.__module__:
                return cls(frame.f_code.co_filename, frame.f_lineno)
        return cls.caller()

    @classmethod
    def caller(cls, *, past: tuple[str, ...] = ()) -> Source:
        """The nearest place up the stack that its user wrote: not in this package, its magics or what calls magics.

        Args:
            past: top-level packages that are not the user's either.
        """
        frame = sys._getframe(1)
        while frame.f_back is not None and (
            in_package(frame) or (past and frame.f_globals.get("__name__", "").partition(".")[0] in past)
        ):
            frame = frame.f_back
        return cls(frame.f_code.co_filename, frame.f_lineno)


def is_library(file: str) -> bool:
    """Whether a file is one of this package."""
    return _module_of(file) is not None


def _module_of(file: str) -> str | None:
    """`reactornb.rl.ppo` for a file of this package, None for any other."""
    if not file.startswith(_FOLDER) or not file.endswith(".py"):
        return None
    return "reactornb." + file[len(_FOLDER) :].removesuffix(".py").replace("/", ".").replace("\\", ".")


def suggestion(name: str, known: Iterable[str], renamed: Mapping[str, str] = MappingProxyType({})) -> str:
    """`Did you mean 'x'?`, or what there is, or that there is nothing.

    Args:
        name: what was asked for.
        known: what there is.
        renamed: old names and what they are called now, maybe with a remark after a space; such a name is answered with the new one.
    """
    known = sorted(known)
    new, _, remark = renamed.get(name, "").partition(" ")
    if new in known:
        return f"It is called {new!r} now{remark and f' {remark}'}."
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known here: {', '.join(known)}." if known else "Nothing of that kind is declared here."


def with_article(noun: str) -> str:
    """`an input`, `a timer`."""
    return f"an {noun}" if noun[0] in "aeio" else f"a {noun}"


class ReactorError(Exception):
    """Base of every error that this package raises for a user's mistake or a failed run."""

    @property
    def _render_traceback_(self) -> Callable[[], list[str]]:
        """IPython's protocol: an exception that has this says how it is shown."""
        if _render is None:
            raise AttributeError("only a notebook shows errors in its own way")
        return functools.partial(_render, self)


class DeclarationError(ReactorError, TypeError):
    """A reactor class or connection is declared in a way that has no meaning."""


class UnknownNameError(DeclarationError, AttributeError):
    """A name that no port, action, timer, mode, child or parameter carries.

    Attributes:
        unknown: the name.
        source: where it is used.
    """

    def __init__(self, message: str, *, unknown: str = "", source: Source | None = None) -> None:
        super().__init__(message)
        self.unknown = unknown
        self.source = source


class UnknownMetricError(ReactorError, KeyError):
    """`run.metrics` has nothing of this name: nothing was logged under it so far.

    Attributes:
        metric: the name.
    """

    def __init__(self, message: str, *, metric: str = "") -> None:
        super().__init__(message)
        self.metric = metric

    __str__ = ReactorError.__str__  # a KeyError's would quote the message


class UndeclaredEffectError(ReactorError, AttributeError):
    """A reaction touches a port, action or mode that its signature does not name."""


class AssemblyError(ReactorError, ValueError):
    """The reactors do not form a legal graph."""


class WidthMismatchError(AssemblyError):
    """Two sides of a connection have different widths.

    Attributes:
        left: width of the source side, in channels.
        right: width of the destination side, in channels.
        source: where the connection was made.
    """

    def __init__(self, message: str, *, left: int, right: int, source: Source) -> None:
        super().__init__(message)
        self.left = left
        self.right = right
        self.source = source


class MultipleWritersError(AssemblyError):
    """A port is written from two places.

    Attributes:
        port: the port's full name.
        writers: what writes it, in words.
    """

    def __init__(self, message: str, *, port: str, writers: tuple[str, ...]) -> None:
        super().__init__(message)
        self.port = port
        self.writers = writers


class CausalityError(AssemblyError):
    """Reactions wait for each other at one tag.

    Attributes:
        reactions: full names along the loop.
        connections: the loop's connections, as `source -> destination`.
    """

    def __init__(self, message: str, *, reactions: tuple[str, ...], connections: tuple[str, ...]) -> None:
        super().__init__(message)
        self.reactions = reactions
        self.connections = connections


class ProgramFileError(ReactorError, ValueError):
    """A file holds no program that could be run."""


class FileExitedError(ProgramFileError):
    """A program file called `sys.exit` while it was loaded.

    Attributes:
        status: the exit status that it asked for.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class RunError(ReactorError, RuntimeError):
    """A run was asked for something that its state does not allow, such as being started twice."""


class RunOverError(RunError):
    """A thread that a reaction started asks for something of its run, which has ended."""


class RunOptionError(RunError, ValueError):
    """An option of a run has a value that does not fit, such as 0 workers."""


class ReplayError(RunError):
    """A run was to repeat what came to an earlier one from outside, and does not go as that one did.

    Attributes:
        after: the tag of the earlier run after which something came that has no place in this one, in ns and microsteps.
    """

    def __init__(self, message: str, *, after: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.after = after


class MissingPackageError(ReactorError, ImportError):
    """Something was asked for that needs a package which is not installed."""


class InboxFullError(RunError):
    """A physical action was scheduled faster than its run handles it; the event was refused.

    Attributes:
        action: full name of the action.
    """

    def __init__(self, message: str, *, action: str) -> None:
        super().__init__(message)
        self.action = action


class ParameterError(RunError):
    """A parameter of a running program cannot be changed as asked.

    Attributes:
        parameter: its full name.
        value: what it should have become.
    """

    def __init__(self, message: str, *, parameter: str, value: Any = None) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.value = value


class ReactionError(RunError):
    """A reaction raised; the run stopped at that tag. The reaction's own exception is `__cause__`.

    Attributes:
        reaction: full name of the reaction.
        tag: the tag at which it raised, a `reactornb.tags.Tag`.
        source: the deepest line of the user's code in the traceback.
    """

    def __init__(self, message: str, *, reaction: str, tag: Any, source: Source | None) -> None:
        super().__init__(message)
        self.reaction = reaction
        self.tag = tag
        self.source = source


class UnrecordableValueError(ReactionError):
    """A run keeps a fingerprint, and a reaction sent a value that no two processes could compare; the run stopped at that tag.

    Attributes:
        port: full name of the port or action.
        kind: the type of the part that cannot be judged.
        path: that part, such as `value.policy[3]`.
    """

    def __init__(
        self, message: str, *, reaction: str, tag: Any, source: Source | None, port: str, kind: type, path: str
    ) -> None:
        super().__init__(message, reaction=reaction, tag=tag, source=source)
        self.port = port
        self.kind = kind
        self.path = path


class UnencodableValueError(ReactorError, TypeError):
    """A value cannot be written down, for a checkpoint or another machine; see `reactornb.runtime.codec`.

    Attributes:
        path: the part that cannot, such as `value.policy[3]`.
        kind: its type.
    """

    def __init__(self, message: str, *, path: str, kind: type) -> None:
        super().__init__(message)
        self.path = path
        self.kind = kind


class MalformedDataError(ReactorError, ValueError):
    """Bytes are no encoded value, or name a class that the program does not declare; nothing of them was executed."""


class SendingError(ReactorError, TypeError):
    """A value cannot be sent on a port, or scheduled, as it is: a port itself, a delay that is none, another type than declared."""


class ValueChangedError(RunError):
    """A value was changed after it had been sent on a port (found by `check_values=True`)."""


class SharedValueError(ValueChangedError, TypeError):
    """A list, dict or set that several reactors share is changed: one that was received, or a class attribute."""


class PlacementError(ReactorError, ValueError):
    """Workers cannot be placed on CPUs as asked.

    Attributes:
        placement: the placement that was asked for.
        workers: the number of workers that was asked for, where that is the mistake.
        cpus: ids of the CPUs that are wrong in it.
        allowed: ids of the CPUs that this process may use, where one lies outside.
    """

    def __init__(
        self,
        message: str,
        *,
        placement: Any = None,
        workers: Any = None,
        cpus: Iterable[int] = (),
        allowed: Iterable[int] = (),
    ) -> None:
        super().__init__(message)
        self.placement = placement
        self.workers = workers
        self.cpus = tuple(cpus)
        self.allowed = tuple(allowed)


class LFSyntaxError(ReactorError, SyntaxError):
    """A text is not a Lingua Franca program.

    Also a `SyntaxError`, so that Python, IPython and editors show file, line and caret as for Python's own.

    Attributes:
        problem: what is wrong.
        found: what stands there, in words; None where the place does not matter.
        expected: what could stand there, in words.
        hint: what to do about it, if that is clear.
    """

    def __init__(
        self,
        problem: str,
        *,
        line: int,
        column: int,
        file: str = "<lf>",
        text: str | None = None,
        found: str | None = None,
        expected: tuple[str, ...] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(f"{problem}. {hint}" if hint else problem, (file, line, column, text))
        self.problem = problem
        self.found = found
        self.expected = expected
        self.hint = hint

    @property
    def file(self) -> str:
        """Name of the file, or of the cell."""
        return self.filename or "<lf>"

    @property
    def line(self) -> int:
        """The line, from 1."""
        return self.lineno or 1

    @property
    def column(self) -> int:
        """The column, from 1."""
        return self.offset or 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.msg}"
