"""Messages of a command: lines on stderr, and one line that changes in place, for progress."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["Console", "discard_stdout", "is_stdout_error"]

_STDOUT_GONE = {errno.EPIPE, errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EDQUOT}


class Console:
    """Writes lines on stderr, and a status line that changes in place.

    # _shown, _gone   under _lock: threads of the run print while the main thread writes the status line

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
        """Whether the stream is a terminal, on which a line can change in place."""
        return not self._gone and _is_terminal(self._out)

    @property
    def _out(self) -> Any:
        return sys.stderr if self._stream is None else self._stream

    def say(self, words: str) -> None:
        """Write a line that begins with the program's name. Nothing if the stream is closed, as after SIGHUP."""
        self.write(f"{self._program}: {words}")

    def write(self, text: str) -> None:
        """Write lines as they are."""
        self.hide()
        self._write(f"{text}\n")

    def show(self, words: str) -> None:
        """Show a status line, until the next line of any kind."""
        width = _columns() - 1
        with self._lock:
            self._shown = True
            self._write(f"\r{f'{self._program}: {words}'[:width]:<{width}}\r")

    def hide(self) -> None:
        """Clear the status line."""
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
    def sharing_terminal(self) -> Iterator[None]:
        """Clear the status line whenever something else is printed on the terminal."""
        if not self.is_terminal:
            yield
            return
        before = self._stream
        self._stream = self._out
        wrapped = {
            name: _ClearingStream(getattr(sys, name), self)
            for name in ("stdout", "stderr")
            if _is_terminal(getattr(sys, name))
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


class _ClearingStream:
    """A standard stream that clears the status line before it writes."""

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


def is_stdout_error(error: OSError) -> bool:
    """Whether an error comes from writing to standard output: `print` and `flush` name no file."""
    return error.filename is None and error.errno in _STDOUT_GONE


def discard_stdout(error: OSError, console: Console) -> None:
    """Discard what is printed from now on: standard output is closed or full. Say why, unless the reader of a pipe has closed it."""
    if error.errno != errno.EPIPE:
        console.say(f"cannot write the standard output: {error.strerror or error}")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _columns() -> int:
    for number in (2, 1):
        with contextlib.suppress(OSError):
            return os.get_terminal_size(number).columns or 80
    return 80
