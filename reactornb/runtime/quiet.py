"""`quiet`: what the calling thread prints meanwhile is not shown. Other threads print as ever.

For startup and shutdown reactions that run once more, of a run that goes on from a cut or beside a run: on a terminal their lines would say that
something happens again that does not. In a notebook they come to the run's `Printed`, which is replaced for as long; nothing is done there.

# _Gate.thread   the number of the thread that is not heard, -1 once it is heard again; written by that thread only, read by all that print
# sys.stdout, sys.stderr   replaced and put back by the thread that is not heard. Two that overlap may put them back in any order: what is left
#                over then passes everything on
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Let what this thread prints to stdout and stderr go nowhere, unless it is a notebook's."""
    gates: list[_Gate] = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, (io.TextIOBase, _Gate)):
            gate = _Gate(stream)
            gates.append(gate)
            setattr(sys, name, gate)
    try:
        yield
    finally:
        for gate in gates:
            gate.thread = -1
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            while type(stream) is _Gate and stream.thread == -1:
                stream = stream.stream
            setattr(sys, name, stream)


class _Gate:
    """Stands for a stream, also for who keeps it: a handler of `logging` that a startup reaction makes, for example."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.thread = threading.get_ident()

    def write(self, text: str) -> int:
        """See `io.TextIOBase`."""
        return len(text) if threading.get_ident() == self.thread else int(self.stream.write(text) or 0)

    def writelines(self, lines: Any) -> None:
        """See `io.TextIOBase`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        self.stream.flush()

    def __iter__(self) -> Iterator[str]:
        return iter(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
