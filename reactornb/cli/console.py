"""Lines for who runs a command: on stderr, one of which may change in its place."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["Console", "give_up_stdout", "is_stdouts"]

_STDOUT_GONE = {errno.EPIPE, errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EDQUOT}


class Console:
    """Writes lines on stderr, and at most one that changes in its place.

    # _shown, _gone   under _lock: the run's threads print while the main thread draws

    Args:
        program: what each line begins with.
        stream: where to; stderr unless given.
    """

    def __init__(self, program: str = "reactornb", stream: TextIO | None = None) -> None:
        self._program = program
        self._stream = stream
        self._lock = threading.Lock()
        self._shown = self._gone = False

    @property
    def is_terminal(self) -> bool:
        """Whether somebody sees a line change."""
        return not self._gone and _is_terminal(self._out)

    @property
    def _out(self) -> Any:
        return sys.stderr if self._stream is None else self._stream

    def say(self, words: str) -> None:
        """A line of its own. Where nobody can read any more, as after SIGHUP, nothing."""
        self.write(f"{self._program}: {words}")

    def write(self, text: str) -> None:
        """Lines without a name before them."""
        self.hide()
        self._write(f"{text}\n")

    def show(self, words: str) -> None:
        """What is to be seen until the next line of any kind."""
        width = _columns() - 1
        with self._lock:
            self._shown = True
            self._write(f"\r{f'{self._program}: {words}'[:width]:<{width}}\r")

    def hide(self) -> None:
        """Take away what `show` has shown."""
        if self._shown:
            with self._lock:
                self._shown = False
                self._write(f"\r{'':<{_columns() - 1}}\r")

    def _write(self, text: str) -> None:
        if not self._gone:
            try:
                self._out.write(text)
                self._out.flush()
            except (OSError, ValueError):
                self._gone = True

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Let what is printed on the same terminal meanwhile begin on a line that is free."""
        if not self.is_terminal:
            yield
            return
        before = self._stream
        self._stream = self._out
        wrapped = {
            name: _Beside(getattr(sys, name), self) for name in ("stdout", "stderr") if _is_terminal(getattr(sys, name))
        }
        for name, stream in wrapped.items():
            setattr(sys, name, stream)
        try:
            yield
        finally:
            self.hide()
            for name, stream in wrapped.items():
                if getattr(sys, name) is stream:
                    setattr(sys, name, stream.stream)
            self._stream = before


class _Beside:
    """A standard stream that takes the changing line away before it writes."""

    def __init__(self, stream: TextIO, console: Console) -> None:
        self.stream = stream
        self._console = console

    def write(self, text: str) -> int:
        self._console.hide()
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def is_stdouts(error: OSError) -> bool:
    """Whether an error is that standard output takes no more: `print` and `flush` name no file."""
    return error.filename is None and error.errno in _STDOUT_GONE


def give_up_stdout(error: OSError, console: Console) -> None:
    """Nobody takes what is printed: say why, unless the reader of a pipe has seen enough, and have the interpreter say nothing more."""
    if error.errno != errno.EPIPE:
        console.say(f"cannot write the standard output: {error.strerror or error}")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _columns() -> int:
    for number in (2, 1):
        with contextlib.suppress(OSError):
            return os.get_terminal_size(number).columns or 80
    return 80
