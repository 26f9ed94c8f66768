"""How a notebook shows errors: one short block that says what, where and what to do, without this package's own frames.

IPython calls an exception's `_render_traceback_` for the lines to show. `install` gives this method to `ReactorError`, so outside
notebooks tracebacks stay as they are.
"""

from __future__ import annotations

import linecache
from pathlib import Path
from types import TracebackType
from typing import Any

from reactornb.errors import ReactionError, ReactorError, Source, set_traceback_renderer

__all__ = ["install", "own_traceback", "show_deepest", "uninstall"]

_PACKAGE = str(Path(__file__).parent.parent)
_RED, _DIM, _PLAIN = "\x1b[1;31m", "\x1b[2m", "\x1b[0m"


def install(shell: Any) -> None:
    """Show `ReactorError`s of this shell in one block."""

    def render(error: ReactorError) -> list[str]:
        return _block(shell, error)

    set_traceback_renderer(render)


def uninstall() -> None:
    """Back to ordinary tracebacks."""
    set_traceback_renderer(None)


def own_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame outside this package on: the scheduler's frames do not help a user."""
    at = traceback
    while at is not None and at.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        at = at.tb_next
    return at or traceback


def show_deepest(shell: Any, error: BaseException) -> None:
    """Show only the line at which a class body failed: the frames above it are the same cell again, as magic and as class statement."""

    def render() -> list[str]:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        shown: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, at)
        return shown

    error._render_traceback_ = render  # type: ignore[attr-defined]  # IPython's protocol


def _block(shell: Any, error: ReactorError) -> list[str]:
    lines: list[str] = []
    cause = error.__cause__ if isinstance(error, ReactionError) else None
    if cause is not None:
        # The user's own error first, as Python shows a chain; ours, last, says which reactor, reaction and tag.
        shown = shell.InteractiveTB.structured_traceback(type(cause), cause, own_traceback(cause.__traceback__))
        lines += [*shown, ""]
    lines.append(f"{_RED}{type(error).__name__}{_PLAIN}: {error}")
    source = getattr(error, "source", None)
    if cause is None and isinstance(source, Source):
        lines += [f"{_DIM}{line}{_PLAIN}" for line in _excerpt(source)]
    raised = _cell_of(shell, error.__traceback__)
    if raised is not None and f"{str(raised).partition(',')[0]}," not in str(error):
        lines.append(f"{_DIM}(run by {raised}){_PLAIN}")
    return lines


def _excerpt(source: Source) -> list[str]:
    """The line itself; for a decorator also the lines up to the `def`."""
    excerpt: list[str] = []
    for number in range(source.line, source.line + 6):
        text = linecache.getline(source.file, number).rstrip()
        if not text or text in "".join(excerpt):
            break
        excerpt.append(f"{number:>6} {text}")
        if not text.lstrip().startswith("@"):
            break
    return excerpt


def _cell_of(shell: Any, traceback: TracebackType | None) -> Source | None:
    """The innermost line of a cell in a traceback: the line that the user ran."""
    deepest: Source | None = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if shell.compile.format_code_name(file):
            deepest = Source(file, traceback.tb_lineno)
        traceback = traceback.tb_next
    return deepest
