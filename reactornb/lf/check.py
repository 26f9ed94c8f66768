"""Checking Lingua Franca files without running them: what an editor, a commit hook or `reactornb check` shows."""

from __future__ import annotations

import os
import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactornb.errors import LFSyntaxError, ReactorError, Source
from reactornb.lf.program import LFProgram, load
from reactornb.model import Reactor
from reactornb.model.spec import REQUIRED
from reactornb.runtime import Program

__all__ = ["Problem", "check"]

# How our messages begin when they know their place, and how a SyntaxError's do.
_PLACE = re.compile(r"^(?P<file>.*?)(?:, line (?P<line>\d+)|:(?P<at>\d+):\d+): ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something found in a file.

    Attributes:
        kind: "error", "warning", or "skipped" for a reactor that could not be checked by itself.
        message: what it is, its place included where it is known.
        source: the place; None where it is known only to the message.
    """

    kind: str
    message: str
    source: Source | None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def check(path: str | os.PathLike[str]) -> list[Problem]:
    """Parse a file and assemble it, without running it.

    A file without a main reactor is a library: each of its reactors is assembled by itself, with its default parameters.

    Args:
        path: the `.lf` file. Its preambles are executed, as its imports may be needed to judge the rest.

    Returns:
        What was found, in the order of the file; none is good.

    Raises:
        OSError: if the file cannot be read.
    """
    problems: list[Problem] = []
    with _noting(problems):
        program = load(path)
        for declared in _to_assemble(program, problems):
            with _noting(problems):
                Program(declared)
    # Reactors of a library contain each other, so that one mistake is met several times.
    return list(dict.fromkeys(problems))


def _to_assemble(program: LFProgram, problems: list[Problem]) -> Iterator[type[Reactor]]:
    reactors = program.reactors if program.main is None else {program.main.__name__: program.main}
    for name, declared in reactors.items():
        missing = [p for p, default in declared._spec.parameters.items() if default is REQUIRED]
        if missing:
            where = declared._definition
            words = f"{where}: {name} cannot be checked by itself: its parameter {missing[0]!r} has no default."
            problems.append(Problem("skipped", words, where))
        else:
            yield declared


@contextmanager
def _noting(problems: list[Problem]) -> Iterator[None]:
    """Record warnings and errors of a program as problems."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        problem: Problem | None = None
        try:
            yield
        except ReactorError as error:
            problem = _of_error(error)
        except OSError:
            raise
        except Exception as error:
            # An error in a preamble; an exception out of this package's code is a bug of ours.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            if Path(frame.filename).is_relative_to(Path(__file__).parents[1]):
                raise
            source = Source(frame.filename, frame.lineno or 1)
            problem = Problem("error", f"{source}: {type(error).__name__}: {error}", source)
    problems += [Problem("warning", str(w.message), _place(str(w.message))) for w in caught]
    if problem is not None:
        problems.append(problem)


def _of_error(error: ReactorError) -> Problem:
    if isinstance(error, LFSyntaxError):
        return Problem("error", str(error), Source(error.file, error.line))
    source: Source | None = getattr(error, "source", None)
    return Problem("error", str(error), source or _place(str(error)))


def _place(message: str) -> Source | None:
    match = _PLACE.match(message)
    return Source(match["file"], int(match["line"] or match["at"])) if match else None
