"""Routes printed text: a reaction's output goes to its run (`Run.printed`) and to the run's panel or the cell that started it; all other
output goes to the running cell, as usual.

The `write` methods of the kernel's own stream objects are replaced, so that objects which already hold a stream, such as a handler of
`logging`, are covered too. A redirection (`contextlib.redirect_stdout`, `%%capture`) captures what its own cell prints, but not the output of
runs that were started earlier. A redirection inside a reaction captures what that reaction prints.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from IPython.utils import capture

from reactornb.notebook.below import Below
from reactornb.runtime import Run, live_runs
from reactornb.runtime.printed import OpenLine
from reactornb.runtime.run import on_new
from reactornb.runtime.threads import scheduler_of_thread
from reactornb.runtime.workers import current_scheduler

__all__ = ["Output"]

# Stands among a redirection's previous targets: a reaction made the redirection, which changed only this thread's list of targets.
_INNER = object()

_LONG = 4000  # characters; a longer line is shown before its end arrives


class Tap:
    """Intercepts `write` of one kernel stream and routes each text.

    The stream gets a class of its own, in which `write` is a property: for each cell IPython installs a function there that
    records what the cell prints, and removes it afterwards. That function is called for a cell's output, not for a run's.

    # _wrapper    IPython's function; written by the thread that runs cells, read by any thread
    # _here       thread-local: each thread reads and writes its own

    Args:
        real: the stream.
        name: "stdout" or "stderr".
        output: routes text that was written outside Python, by C code or a child process.
    """

    def __init__(self, real: Any, name: str, output: Output) -> None:
        self.real = real
        self.name = name
        self.error = name == "stderr"
        self._output = output
        self._kind = type(real)
        self._own: Callable[[str], Any] = self._kind.write.__get__(real)
        self._wrapper: Callable[[str], Any] | None = None
        # Per thread: the redirections of the reaction that it runs, and whether it is inside the wrapper.
        self._here = threading.local()
        # Up to 3.13.2 and 3.12.9, `print` holds no reference to `sys.stdout`: when another thread replaces it meanwhile, the object
        # must stay alive (CPython issue 130163).
        self._asides: deque[Aside] = deque(maxlen=4)
        # ipykernel's thread that reads what C code writes to the file descriptor.
        self._outside = getattr(real, "watch_fd_thread", None)

    def install(self) -> None:
        """Start to intercept `write`."""
        vars(self.real).pop("write", None)
        replaced = property(lambda _: self.write, lambda _, by: self._wrap(by), lambda _: self._wrap(None))
        self.real.__class__ = type(self._kind.__name__, (self._kind,), {"write": replaced})

    def _wrap(self, by: Callable[[str], Any] | None) -> None:
        self._wrapper = None if by in (self.write, self._own) else by

    def uninstall(self) -> None:
        """Restore the stream's own `write`."""
        self.real.__class__ = self._kind

    def write(self, text: str) -> int:
        """Write to the run that this thread works for, or below the running cell."""
        scheduler = scheduler_of_thread()
        if scheduler is None or not isinstance(text, str):
            if self._outside is not None and threading.current_thread() is self._outside:
                return self._output.from_outside(text, self)
            return self._write(text)
        inner = getattr(self._here, "targets", None)
        if inner:
            inner[-1].write(text)
            return len(text)
        return self.write_of(scheduler, text)

    def _write(self, text: str) -> int:
        """Write what the cell prints, or a thread that belongs to no run."""
        wrapper, here = self._wrapper, self._here
        written: int
        if wrapper is None or getattr(here, "wrapped", False):
            written = self._own(text)
            return written
        here.wrapped = True  # the wrapper writes in turn
        try:
            written = wrapper(text)
            return written
        finally:
            here.wrapped = False

    def write_of(self, scheduler: Any, text: str) -> int:
        """Write what a run prints."""
        printed = scheduler.printed
        below = printed.below
        begun: OpenLine = printed.open(scheduler, self.error, self)
        if below is not None and below.holds and "\n" not in text and "\r" not in text and len(begun.text) < _LONG:
            # `print` calls `write` several times; only the last piece, with the end of the line, is shown.
            begun.text += text
            printed.version += 1
            if not below.due:
                below.wait()
            return len(text)
        whole = begun.text + text
        end = printed.add(whole, begun)
        if below is None:
            begun.text, begun.shown = whole[end:], len(whole) - end
            self._own(text)
        else:
            below.write(whole, end, text, begun)
        return len(text)

    def put(self, text: str, cell: Any) -> None:
        """Write below the cell with this header; None means the running cell."""
        if cell is None:
            self._own(text)
            return
        before = self.real.set_thread_parent(cell)
        try:
            self._own(text)
        finally:
            self.real.reset_thread_parent(before)

    def header(self) -> Any:
        """The running cell's parent header, which identifies it; None if the stream has none."""
        return (getattr(self.real, "parent_header", None) or None) if hasattr(self.real, "set_thread_parent") else None

    def aside(self, target: Any) -> Aside:
        """A stand-in for a cell's redirection, to be put into `sys.stdout`."""
        stand_in = Aside(target, self)
        self._asides.append(stand_in)
        return stand_in

    def inner(self) -> list[Any]:
        """The redirections of the reaction that this thread runs."""
        if not hasattr(self._here, "targets"):
            self._here.targets = []
        targets: list[Any] = self._here.targets
        return targets


class Aside:
    """Stands in `sys.stdout` for the target of a cell's redirection: passes the cell's output to it, and a run's output to the run.

    Args:
        target: where the cell redirects its output to.
        tap: the stream that the cell redirects.
    """

    def __init__(self, target: Any, tap: Tap) -> None:
        self.target = target
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)

    def write(self, text: str) -> Any:
        """Write to the target, or to the run that this thread works for."""
        scheduler = scheduler_of_thread()
        if scheduler is None:
            return self.target.write(text)
        return self._tap.write(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)


class Output:
    """Routes output while the notebook session lasts.

    Args:
        stdout, stderr: the kernel's streams.
        publisher: the display publisher behind IPython's `display`.
        later: `later(seconds, fn)` calls `fn` on the loop's thread after that delay; any thread may call it.

    # _keeping, _undecided, _executing
    #             read and written by the thread that runs cells only
    # _due        the `Below`s that have omitted lines to show; changed under _lock, by runs' threads and by the one that runs cells
    """

    def __init__(
        self,
        stdout: Any,
        stderr: Any,
        later: Callable[[float, Callable[[], None]], None] = lambda *_: None,
        publisher: Any = None,
    ) -> None:
        self._publisher = publisher
        self.taps = {"stdout": Tap(stdout, "stdout", self), "stderr": Tap(stderr, "stderr", self)}
        self._later = later
        self._lock = threading.Lock()
        self._due: list[Below] = []
        self._keeping = False
        self._undecided: list[Run] = []
        self._executing = True  # the session begins in a cell
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        """Start to route the streams' output."""
        for tap in self.taps.values():
            tap.install()
        on_new.append(self._begun)
        kinds: dict[str, type] = {"stdout": contextlib.redirect_stdout, "stderr": contextlib.redirect_stderr}
        for name, kind in kinds.items():
            self._undo.append(_replace(kind, "__enter__", _entering(self.taps[name])))
            self._undo.append(_replace(kind, "__exit__", _leaving(self.taps[name])))
        self._undo.append(_replace(capture.capture_output, "__enter__", self._capturing))
        if self._publisher is not None:
            self._undo.append(self._tap_publisher(self._publisher))

    def uninstall(self) -> None:
        """Restore everything; runs then print as any other thread does."""
        for tap in self.taps.values():
            tap.uninstall()
        if self._begun in on_new:
            on_new.remove(self._begun)
        while self._undo:
            self._undo.pop()()
        for run in live_runs():
            run.printed.below = None

    def _capturing(self, enter: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def entered(which: Any) -> Any:
            captured = enter(which)
            if current_scheduler() is None:
                for name, tap in self.taps.items():
                    if getattr(which, name):
                        setattr(sys, name, tap.aside(getattr(sys, name)))
                if which.display and which.shell is not None and self._publisher is not None:
                    self._tap_publisher(which.shell.display_pub)
            return captured

        return entered

    def _tap_publisher(self, publisher: Any) -> Callable[[], None]:
        """Have the thread that runs cells publish what reactions display, below the cell that started the run and at a limited rate."""
        publish, real = publisher.publish, self._publisher.publish

        def published(data: Any, *args: Any, **options: Any) -> Any:
            scheduler = scheduler_of_thread()
            below: Below | None = None if scheduler is None else scheduler.printed.below
            if scheduler is None or below is None:
                return publish(data, *args, **options)
            scheduler.printed.write(f"[{data.get('text/plain', 'an output without text'):.200}]\n", scheduler)
            below.display(
                sum(len(d) for d in data.values() if isinstance(d, (str, bytes))), lambda: real(data, *args, **options)
            )
            return None

        publisher.publish = published

        def undo() -> None:
            del publisher.publish

        return undo

    def _within(self, cell: Any, show: Callable[[], Any]) -> None:
        """Call `show`, with its outputs going below this cell."""
        if cell is None or not hasattr(self._publisher, "set_thread_parent"):
            show()
            return
        before = self._publisher.set_thread_parent(cell)
        try:
            show()
        finally:
            self._publisher.reset_thread_parent(before)

    # -- runs -------------------------------------------------------------------------------------------------------

    def _begun(self, run: Run) -> None:
        """Called for each new run, on the thread that starts it."""
        targets: dict[Any, Any] = {}
        for name, tap in self.taps.items():
            at_present = getattr(sys, name)
            if isinstance(at_present, Aside):
                targets[tap] = at_present.target
        cell = self.taps["stdout"].header()
        run.printed.below = Below(run, cell, targets, self._keeping, self._behind, self._within, [self.taps["stdout"]])

    def _behind(self, below: Below) -> None:
        with self._lock:
            if below in self._due:
                return
            self._due.append(below)
            first = len(self._due) == 1
        if first:
            self._later(1.0, self._tick)

    def _tick(self) -> None:
        self.settle()
        with self._lock:
            again = bool(self._due)
        if again:
            self._later(1.0, self._tick)

    def settle(self) -> None:
        """Show the lines that runs omitted, where that is due; on the thread that runs cells."""
        with self._lock:
            due = self._due.copy()
        for below in due:
            # Removed before it is settled: a thread that omits lines meanwhile adds it again.
            with self._lock, contextlib.suppress(ValueError):
                self._due.remove(below)
            below.due = False
            if below.settle():
                below.wait()

    def from_outside(self, text: str, tap: Tap) -> int:
        """Route text that C code or a child process wrote. Its origin is unknown; while no cell executes, the newest live run gets it."""
        runs = [] if self._executing else live_runs()
        if not runs:
            written: int = tap._own(text)
            return written
        return tap.write_of(_Outside(runs[-1]), text)

    # -- called by the thread that runs cells -----------------------------------------------------------------------

    def executing(self, executing: bool) -> None:
        """Called when a cell begins or ends; a cell that waits for a run counts as not executing."""
        self._executing = executing

    def keep_new(self, keeping: bool) -> None:
        """While true, hold back the output of new runs: it is not yet known whether a panel will show them."""
        self._keeping = keeping

    def undecided(self, run: Run) -> None:
        """Hold back a run's output until `shown` or `let_go` is called."""
        self._undecided.append(run)

    def shown(self, run: Run) -> None:
        """Called when a panel shows a run: the run's output appears there, and no longer below the cell."""
        if run in self._undecided:
            self._undecided.remove(run)
        if run.printed.below is not None:
            run.printed.below.shown()

    def let_go(self) -> None:
        """Print the output of runs that no panel shows below their cell: what was held back now, and all that follows."""
        for run in self._undecided:
            if run.printed.below is not None:
                run.printed.below.let_go()
        self._undecided.clear()


class _Outside:
    """Stands in for the scheduler when C code or a child process wrote."""

    def __init__(self, run: Run) -> None:
        self.printed = run.printed
        self.current_tag = lambda: run.tag


def _entering(tap: Tap) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Have a redirection take the output of its own cell, or of the reaction that makes it."""

    def replaced(enter: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def entered(which: Any) -> Any:
            scheduler = current_scheduler()
            below = scheduler.printed.below if scheduler is not None else None
            if below is not None:
                which._old_targets.append(_INNER)
                tap.inner().append(which._new_target)
                return which._new_target
            target = enter(which)
            if target is not None and target is not tap.real:
                setattr(sys, tap.name, tap.aside(target))
            return target

        return entered

    return replaced


def _leaving(tap: Tap) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def replaced(leave: Callable[..., Any]) -> Callable[..., Any]:
        def left(which: Any, *why: Any) -> Any:
            if which._old_targets and which._old_targets[-1] is _INNER:
                which._old_targets.pop()
                tap.inner().pop()
                return None
            return leave(which, *why)

        return left

    return replaced


def _replace(kind: type, name: str, replaced: Callable[[Any], Any]) -> Callable[[], None]:
    """Put another function in the place of a class's own; returns what undoes it."""
    own, before = name in vars(kind), getattr(kind, name)
    setattr(kind, name, replaced(before))

    def undo() -> None:
        if own:
            setattr(kind, name, before)
        else:
            delattr(kind, name)

    return undo
