"""One thread per operation: in a reaction, torch, BLAS and OpenMP compute on the reaction's own thread only.

A sum that is split over two threads is rounded differently, so a result would depend on the number of cores; and the workers of a run
already use the cores. Every thread that runs reactions calls this module: workers, and the callers of
`ReactorVectorEnv.step`, whose own thread counts are restored afterwards. A vector environment steps too often to change the
process's thread counts each time (12 us of a step of 200): it holds them at one until it is closed.

There are two kinds of thread counts, and both are set to one:

- **per thread**: torch's, OpenMP's, MKL's. A thread that never used torch gets torch's process-wide default at its first use, and
  `torch.set_num_threads` changes that default along with the calling thread's own count. So while a run is active the default
  is one, too: for threads that a reaction starts, and for a worker that waits in `import torch` for another thread's import.
- **per process**: OpenBLAS's with its own thread pool, BLIS's, FlexiBLAS's. They are one while any run is active, for cells too.

`threadpoolctl` finds the libraries. `import_hook` calls `library_loaded` and `torch_imported`, so a library imported by a reaction
is limited before its import returns. A reaction that asks for more threads gets a warning instead. If a cell changes a per-process
count while a run is active, the change takes effect when no run is active any more.

# _lock       orders all changes of the names below; nothing is imported, and no library looked for, while it is held: the import hook
#             takes it under import locks
# _holds      number of active workers and `hold`s; changed under _lock, read without it where a stale value does no harm
# _lasting    how many of them are `hold`s; under _lock
# _released   one entry for each `hold` that ended; appended to by any thread, taken from under _lock. A thread that appends then tries
#             the lock, and a thread that frees the lock then looks here, so no entry stays behind
# _turns      how often _holds went from 0 to 1; under _lock
# _process, _thread
#             the libraries; replaced as a whole under _lock, read by anyone
# _asked      library path -> its thread count while no run is active; changed under _lock
# _stale      a library may have been loaded since the last search; set by any thread, cleared before each search
# _torch      once torch is imported: its functions, and its default while no run is active; changed under _lock
# _main_known the main thread has its own thread count in torch; written by the main thread only
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

__all__ = [
    "Limits", "enter", "enter_thread", "heal", "hold", "leave_thread", "library_loaded", "refresh", "release", "torch_imported", "watch",
]  # fmt: skip


class Watcher(Protocol):
    """A worker, or a run with its leaders, that must call `refresh` after a library was loaded."""

    def nudge(self) -> None:
        """Have it `refresh` before it runs another level; any thread."""
        ...


class Library:
    """A library that computes with several threads.

    Args:
        path: its file.
        get, set: read and write the thread count, of the calling thread or of the process.
    """

    __slots__ = ("get", "path", "set")

    def __init__(self, path: str, get: Callable[[], int], set_: Callable[[int], object]) -> None:
        self.path, self.get, self.set = path, get, set_


class Torch:
    """The finished torch.

    Args:
        module: torch.
        default: the thread count that a thread gets at its first use of torch while no run is active.
    """

    __slots__ = ("default", "get", "set")

    def __init__(self, module: Any) -> None:
        self.get: Callable[[], int] = module.get_num_threads
        self.set: Callable[[int], object] = module.set_num_threads
        self.default = self.get()


Limits = tuple[int, tuple[tuple[Library, int], ...]]
"""What a thread had before `enter_thread`: torch's number, 0 if it was not there; those of libraries."""

_lock = threading.Lock()
_holds = _lasting = _turns = 0
_released: deque[None] = deque()
_process: tuple[Library, ...] = ()
_thread: tuple[Library, ...] = ()
_asked: dict[str, int] = {}
_stale = True
_torch: Torch | None = None
_main_known = False
_guarded = False
# Nudged after a library was loaded, by the thread that found it. Added to and iterated under _lock.
_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _nobody() -> Callable[[str], object] | None:
    return None


# Returns None on a thread that runs no reaction, else a function that warns the reaction. Set once, by `workers`.
who = _nobody


# -- for threads that run reactions -----------------------------------------------------------------------------------------------


def hold() -> None:
    """Keep the process's thread counts at one until `release`; for an object that runs reactions again and again."""
    global _lasting  # noqa: PLW0603 - a process has one count
    if _stale:
        _look()
    with _lock:
        _lasting += 1
        _limit_process()
    _settle()


def release() -> None:
    """Undo one `hold`. A finalizer may call this at any point, even while this thread holds _lock, so it never blocks."""
    _released.append(None)
    _settle()


def enter() -> None:
    """This thread starts to run reactions: set its own thread counts to one, and those of the process."""
    if _stale:
        _look()
    enter_thread()
    with _lock:
        _limit_process()
    if _released:
        _settle()


def enter_thread() -> Limits:
    """`enter` during a `hold`: set only this thread's own counts."""
    torch = _torch
    had = 0
    if torch is not None:
        had = torch.get()
        if had != 1:
            torch.set(1)
    if not _thread:
        return had, ()
    libraries = tuple((library, library.get()) for library in _thread)
    for library, number in libraries:
        if number != 1:
            library.set(1)
    return had, libraries


def leave_thread(had: Limits) -> None:
    """Restore this thread's own counts."""
    torch = _torch
    if torch is not None:
        number = had[0] or torch.default  # 0: torch arrived meanwhile
        if torch.get() != number:
            with _lock:
                torch.set(number)
    for library, number in had[1]:
        if number != 1:
            library.set(number)


def end_thread() -> None:
    """A thread that runs reactions is about to end: restore the process's counts if it was the last such thread; its own need not be."""
    global _holds  # noqa: PLW0603
    with _lock:
        _holds -= 1
        if not _holds:
            _let_go()
            if _torch is not None:
                _torch.set(_torch.default)
    if _released:
        _settle()


def refresh() -> None:
    """Limit this thread in libraries loaded since `enter`. Called by a worker between two reactions, after `nudge`."""
    torch = _torch
    if torch is not None and torch.get() != 1:
        torch.set(1)
    for library in _thread:
        if library.get() != 1:
            library.set(1)


def heal() -> None:
    """Give the main thread torch's usual count if it first used torch while a run had set the default to one.

    Called by a thread that waits for a run.
    """
    global _main_known  # noqa: PLW0603 - written by the main thread only
    torch = _torch
    if torch is None or _main_known or threading.current_thread() is not threading.main_thread() or who() is not None:
        return
    _main_known = True
    with _lock:
        if torch.get() == 1 != torch.default:
            torch.set(torch.default)
            if _holds:
                _set_default(torch, 1)


def watch(watcher: Watcher) -> None:
    """Nudge it after each load of a library, for as long as it lives."""
    with _lock:
        _watchers.add(watcher)


# -- for the import hook --------------------------------------------------------------------------------------------------


def library_loaded() -> None:
    """An extension was imported, which may have loaded libraries. Called on the importing thread, before the import returns."""
    global _stale  # noqa: PLW0603
    _stale = True
    if _holds:
        _look()
        if who() is not None:
            refresh()


def torch_imported(module: Any) -> None:
    """The import of torch is complete. Called on the importing thread, before the import returns."""
    global _torch, _main_known  # noqa: PLW0603
    with _lock:
        if _torch is not None:
            return
        torch = Torch(module)
        _guard_torch(module, torch)
        here = threading.current_thread()
        if here is threading.main_thread():
            _main_known = True
        if _holds:
            if who() is None and here is threading.main_thread():
                _set_default(torch, 1)
            else:
                torch.set(1)
        _torch = torch
        for watcher in _watchers:
            watcher.nudge()


# -- libraries ------------------------------------------------------------------------------------------------------------


def _limit_process() -> None:
    """Count one more holder that needs the process's thread counts to be one. Under _lock."""
    global _holds, _turns  # noqa: PLW0603
    _holds += 1
    if _holds == 1:
        _turns += 1
        if not _turns & 255:  # a number may have been set past threadpoolctl; asking each time costs as much as setting
            for library in _process:
                _asked[library.path] = library.get()
        for library in _process:
            library.set(1)


def _settle() -> None:
    """Subtract `release`d holds from the count. If the lock is taken, its holder does so after freeing it."""
    global _holds, _lasting  # noqa: PLW0603
    while _released and _lock.acquire(blocking=False):
        try:
            while _released:
                _released.pop()
                _lasting -= 1
                _holds -= 1
                if not _holds:
                    _let_go()
        finally:
            _lock.release()


def _let_go() -> None:
    for library in _process:
        library.set(_asked[library.path])


def _look() -> None:
    """Search for loaded libraries. Without _lock: two simultaneous searches find the same."""
    global _stale, _process, _thread  # noqa: PLW0603
    _stale = False
    _adopt_torch()
    try:
        import threadpoolctl  # type: ignore[import-untyped]

        _guard_threadpoolctl(threadpoolctl)
        controllers = threadpoolctl.ThreadpoolController().lib_controllers
    except Exception:  # noqa: BLE001 - a library that cannot be queried must not end a worker
        return
    process: list[Library] = []
    thread: list[Library] = []
    for controller in controllers:
        if controller.num_threads is None or os.sep + "torch" + os.sep in controller.filepath:
            continue  # torch's own OpenMP follows torch's thread count
        (thread if _is_of_thread(controller) else process).append(_library(controller))
    with _lock:
        known = {library.path for library in (*_process, *_thread)}
        new = [library for library in process if library.path not in known]
        if not new and all(library.path in known for library in thread):
            return
        _process += tuple(new)
        _thread += tuple(library for library in thread if library.path not in known)
        for library in new:
            _asked[library.path] = library.get()
            if _holds:
                library.set(1)
        for watcher in _watchers:
            watcher.nudge()


def _is_of_thread(controller: Any) -> bool:
    kind = controller.internal_api
    return kind in ("openmp", "mkl") or (kind == "openblas" and controller.threading_layer == "openmp")


def _library(controller: Any) -> Library:
    """The library's own functions: threadpoolctl lets one thread at a time change OpenBLAS, and looks names up at each call."""
    get, set_ = _plain(controller, "get_num_threads"), _plain(controller, "set_num_threads")
    if controller.internal_api == "openblas" and controller.threading_layer != "openmp":
        with contextlib.suppress(AttributeError):
            functions = [controller._get_symbol(f"openblas_{what}_num_threads") for what in ("get", "set")]
            if None not in functions:
                get, set_ = functions
    return Library(controller.filepath, get, set_)


def _plain(controller: Any, name: str) -> Callable[..., Any]:
    """A method of threadpoolctl's, past `_guarded_pair`."""
    function = getattr(type(controller), name)
    method: Callable[..., Any] = getattr(function, "__wrapped__", function).__get__(controller)
    return method


def _adopt_torch() -> None:
    """Register a torch that was imported before the hook was installed, or is being imported now."""
    module = sys.modules.get("torch")
    if module is None or _torch is not None:
        return
    spec: Any = getattr(module, "__spec__", None)
    if getattr(spec, "_initializing", False):
        if "exec_module" in getattr(spec.loader, "__dict__", ()):
            return  # the hook calls back
        module = importlib.import_module("torch")  # waits, unless it is this thread that imports it
        if getattr(spec, "_initializing", False):
            return
    if hasattr(module, "set_num_threads"):
        torch_imported(module)


def _set_default(torch: Torch, number: int) -> None:
    """Set torch's default without changing this thread's own count."""
    thread = threading.Thread(target=torch.set, args=(number,), name="reactornb-torch-default")
    thread.start()
    thread.join()


# -- requests for another thread count ------------------------------------------------------------------------------------------


def _guard_torch(module: Any, torch: Torch) -> None:
    """Replace those functions of torch that a reaction must not call. Under _lock."""
    plain = torch.set

    @functools.wraps(plain)
    def set_num_threads(number: int) -> None:
        global _main_known  # noqa: PLW0603
        tell = who()
        if tell is not None:
            if number != 1:
                tell(f"torch.set_num_threads({number})")
            return
        plain(number)
        with _lock:
            torch.default = number
            if threading.current_thread() is threading.main_thread():
                _main_known = True
            if _holds:
                _set_default(torch, 1)

    plain_interop = module.set_num_interop_threads

    @functools.wraps(plain_interop)
    def set_num_interop_threads(number: int) -> None:
        tell = who()
        if tell is None:
            plain_interop(number)
        else:
            tell(f"torch.set_num_interop_threads({number})")

    for place in (module, getattr(module, "_C", None)):
        for function in (set_num_threads, set_num_interop_threads):
            if hasattr(place, function.__name__):
                setattr(place, function.__name__, function)


def _guard_threadpoolctl(threadpoolctl: Any) -> None:
    """Wrap threadpoolctl's functions that set limits, once."""
    global _guarded  # noqa: PLW0603
    with _lock:
        if _guarded:
            return
        _guarded = True
        for kind in threadpoolctl.LibController.__subclasses__():
            kind.set_num_threads, kind.get_num_threads = _guarded_pair(kind)


def _guarded_pair(kind: Any) -> tuple[Callable[[Any, int], Any], Callable[[Any], Any]]:
    plain_set, plain_get = kind.set_num_threads, kind.get_num_threads

    @functools.wraps(plain_set)
    def set_num_threads(self: Any, num_threads: int) -> Any:
        if _holds:
            tell = who()
            if tell is not None:
                if num_threads != 1:
                    tell(f"a limit of {num_threads} threads for {os.path.basename(self.filepath)}")  # noqa: PTH119
                return None
            with _lock:
                if self.filepath in _asked and _holds:
                    _asked[self.filepath] = num_threads
                    return None
        got = plain_set(self, num_threads)
        if self.filepath in _asked:
            with _lock:
                if not _holds:
                    _asked[self.filepath] = plain_get(self)
        return got

    @functools.wraps(plain_get)
    def get_num_threads(self: Any) -> Any:
        if _holds and who() is None:
            with _lock:
                if self.filepath in _asked and _holds:
                    return _asked[self.filepath]
        return plain_get(self)

    return set_num_threads, get_num_threads


# -- fork -----------------------------------------------------------------------------------------------------------------


def _free_child() -> None:
    """In a forked child no run is active, unless a reaction forked: its thread goes on. Teams exist, but without their threads."""
    global _lock, _holds  # noqa: PLW0603 - there is one thread
    _lock = threading.Lock()
    if _holds and who() is None:
        _holds = _lasting
        if not _holds:
            _let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_child)
