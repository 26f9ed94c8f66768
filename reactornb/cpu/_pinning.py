"""Pin the calling thread to one CPU, and restore its former mask.

Linux: the affinity mask of the thread. Windows: its selected CPU sets. macOS has no pinning; the quality-of-service class
says which kind of core suits. On other systems nothing happens, and the `Pin` says so. Missing permission raises no error:
a run on unpinned threads is only slower.

Threads and child processes that a pinned thread starts inherit its mask. An unpinned worker and a forked child (without exec)
reset it; other child processes keep it. Thread pools and environments in processes are mostly made when a
program starts up: so a worker's thread is `loosen`ed during startup, and pinned only after that.
"""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from reactornb.cpu._records import Cpu, format_ids

# _held         what the calling thread is pinned to and the mask it had before; no other thread can see it
# _pinned_cpus  native thread id -> CPU, for all threads that are pinned now; an entry is written and deleted by its thread
#
# Single operations on a dict are atomic with and without the GIL, and readers copy it first. A slightly old copy is good
# enough: two runs that start at the same moment may share a CPU, which costs time, but does not change results. The same holds of other
# processes, which are looked at when a run is placed, and again when a worker is pinned after its startup.
# Linux only: other systems do not tell a thread's CPU. A fork copies both, and the child clears them.
_pinned_cpus: dict[int, int] = {}


class _Held(threading.local):
    cpu: int | None = None
    before: frozenset[int] | None = None


_held = _Held()
_fork_hook: list[bool] = []  # holds one element once it is set; setting it twice would do no harm, hence no lock

_QOS_USER_INITIATED = 0x19  # performance cores first
_QOS_UTILITY = 0x11  # efficiency cores first


class Pin:
    """A thread's pinning, and how to undo it; a context manager that releases at its end.

    Attributes:
        cpu: the CPU that the thread is pinned to; None if it is not pinned.
        reason: why it is not pinned, in words; "" if it is.
        allowed: the CPUs it may use while it is loosened; empty if it cannot be loosened.
        gives_way: it stays loose if another process's worker has taken the CPU meanwhile.
    """

    allowed: frozenset[int] = frozenset()
    gives_way = False

    def __init__(self, cpu: int | None, reason: str, undo: Callable[[], None] | None) -> None:
        """Made by `pin_current_thread` and `Placement.pin`, not by hand."""
        self.cpu = cpu
        self.reason = reason
        self._undo = undo

    def loosen(self) -> bool:
        """Let the thread run on all of `allowed` until `tighten`; threads it starts meanwhile keep that mask. Its CPU stays reserved.

        Returns:
            False if there is nothing to loosen: the thread is not pinned, or its threads do not inherit the mask (not Linux).
        """
        return self.cpu is not None and bool(self.allowed) and _set_mask(self.allowed)

    def tighten(self) -> None:
        """Pin the thread to its CPU again; or leave it as it is, see `gives_way`."""
        if self.cpu is not None and not (self.gives_way and self.cpu in pinned_elsewhere()):
            _set_mask(frozenset({self.cpu}))

    def release(self) -> None:
        """Give the thread the mask it had before; a second call, or one from another thread, does nothing."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()
            self.cpu, self.reason = None, "released"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Pin cpu={self.cpu}>" if self._undo and self.cpu is not None else f"<Pin: {self.reason}>"


def pin_current_thread(cpu: Cpu | int) -> Pin:
    """Pin the calling thread to one CPU.

    Args:
        cpu: a CPU of `topology()`, or its id. macOS and Windows need the former (kind and native id).

    Returns:
        A `Pin`; `with pin_current_thread(cpu):` releases at the end. If the system refuses or has no pinning, the thread is
        unchanged and `Pin.reason` says why.
    """
    number = cpu if isinstance(cpu, int) else cpu.id
    if hasattr(os, "sched_setaffinity"):
        return _pin_linux(frozenset({number}), number)
    if isinstance(cpu, int):
        return Pin(None, f"{sys.platform} cannot pin to a bare number; pass a Cpu of topology()", None)
    if sys.platform == "darwin":
        return _pin_macos(cpu)
    if sys.platform == "win32":
        return _pin_windows(cpu)
    return Pin(None, f"{sys.platform} has no call to pin a thread", None)


def free_current_thread(allowed: frozenset[int]) -> Pin:
    """Let the calling thread run on all of `allowed`, even if it inherited the mask of a pinned thread.

    Args:
        allowed: ids of CPUs, not empty.

    Returns:
        A `Pin` whose `cpu` is None; releasing it gives back the mask that was there before.
    """
    if hasattr(os, "sched_setaffinity") and allowed and os.sched_getaffinity(0) != allowed:
        return _pin_linux(allowed, None)
    return Pin(None, "not placed", None)


def nice_current_thread(levels: int) -> None:
    """Lower the priority of the calling thread, and of threads it starts, by so many levels of niceness; this cannot be undone.

    Linux has a niceness per thread; on other systems, and if the system refuses, nothing happens.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + levels)


def pinned_cpus() -> frozenset[int]:
    """The CPUs that threads of this process are pinned to now, so that a second run can stay clear of them (Linux)."""
    return frozenset(_pinned_cpus.copy().values())


def pinned_elsewhere() -> frozenset[int]:
    """The CPUs that workers of this user's other processes are pinned to now, such as those of another notebook's kernel (Linux).

    They are known by their threads' names, which CPython tells the system from 3.14 on. It takes half a millisecond where there are a
    hundred processes, most of which have one thread and are not looked into.
    """
    if sys.platform != "linux":
        return frozenset()
    own, user = str(os.getpid()), os.getuid()
    others = (name for name in os.listdir("/proc") if name.isdecimal() and name != own)  # noqa: PTH208 - see `_text`
    return frozenset(cpu for process in others for cpu in _pins_of(process, user))


def _pins_of(process: str, user: int) -> set[int]:
    """The CPUs that our threads of a process are pinned to, if it is this user's."""
    found: set[int] = set()
    folder = f"/proc/{process}/task"
    with contextlib.suppress(OSError):  # it may end meanwhile
        about = os.stat(folder)  # noqa: PTH116 - see `_text`
        if about.st_nlink > _ONE_THREAD and about.st_uid == user:
            for thread in os.listdir(folder):  # noqa: PTH208 - see `_text`
                with contextlib.suppress(OSError):
                    if _text(f"{folder}/{thread}/comm").startswith(_NAME):
                        found.update(map(int, _ONE_CPU.findall(_text(f"{folder}/{thread}/status"))))
    return found


_NAME = "reactornb-"  # how the names of all our threads begin
_ONE_CPU = re.compile(r"^Cpus_allowed_list:\s*(\d+)$", re.MULTILINE)
_ONE_THREAD = 3  # links of the folder of a process's threads: two of its own, and one of each thread


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - hundreds of them at the start of a run
        return file.read()


def unpinned_affinity() -> frozenset[int] | None:
    """The calling thread's mask as it was before it was pinned here; None where there are no masks."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return _held.before or frozenset(os.sched_getaffinity(0))


def _pin_linux(mask: frozenset[int], cpu: int | None) -> Pin:
    thread = threading.get_native_id()
    before = frozenset(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, mask)
    except (OSError, ValueError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Pin(None, f"the system refused CPU {format_ids(mask)}: {why}", None)
    outer = (_held.cpu, _held.before)
    if cpu is not None:
        if not _fork_hook:
            _fork_hook.append(True)
            os.register_at_fork(after_in_child=_free_child)
        _held.cpu, _held.before = cpu, _held.before or before
        _pinned_cpus[thread] = cpu

    def undo() -> None:
        if threading.get_native_id() != thread:  # another thread, or a forked child: not its mask
            return
        _held.cpu, _held.before = outer
        if _held.cpu is None:
            _pinned_cpus.pop(thread, None)
        else:
            _pinned_cpus[thread] = _held.cpu
        # Fails only if every CPU of the old mask has gone offline since; then the kernel has chosen a mask already.
        _set_mask(before)

    return Pin(cpu, "" if cpu is not None else "not placed", undo)


def _set_mask(mask: frozenset[int]) -> bool:
    """Give the calling thread a mask; false where the system refuses or knows none."""
    try:
        os.sched_setaffinity(0, mask)
    except (AttributeError, OSError):
        return False
    return True


def _free_child() -> None:
    """In a forked child, which is no worker: restore the mask that its thread had before it was pinned."""
    before, _held.cpu, _held.before = _held.before, None, None
    _pinned_cpus.clear()
    if before:
        _set_mask(before)


def _pin_macos(cpu: Cpu) -> Pin:
    system = _load_libsystem()
    if system is None:
        return Pin(None, "macOS's quality-of-service call was not found", None)
    wanted = _QOS_USER_INITIATED if cpu.kind == "performance" else _QOS_UTILITY
    before = system.qos_class_self()
    if system.pthread_set_qos_class_self_np(wanted, 0) != 0:
        return Pin(None, "macOS refused the quality-of-service class", None)

    def undo() -> None:
        system.pthread_set_qos_class_self_np(before, 0)

    return Pin(None, f"macOS chooses the core; quality of service set for {cpu.kind} cores", undo)


def _load_libsystem() -> Any | None:
    import ctypes

    try:
        system = ctypes.CDLL(None)
        system.qos_class_self.restype = ctypes.c_uint
        system.pthread_set_qos_class_self_np.argtypes = [ctypes.c_uint, ctypes.c_int]
    except (OSError, AttributeError):
        return None
    return system


def _pin_windows(cpu: Cpu) -> Pin:
    from reactornb.cpu._windows import load_kernel32

    kernel32 = load_kernel32()
    if kernel32 is None or cpu.native_id is None:
        return Pin(None, "Windows told no CPU set for this CPU", None)
    import ctypes

    thread = ctypes.c_void_p(kernel32.GetCurrentThread())
    held = (ctypes.c_ulong * 1024)()  # more CPU sets than any Windows machine has
    count = ctypes.c_ulong()
    kernel32.GetThreadSelectedCpuSets(thread, held, len(held), ctypes.byref(count))
    chosen = (ctypes.c_ulong * 1)(cpu.native_id)
    if not kernel32.SetThreadSelectedCpuSets(thread, chosen, 1):
        return Pin(None, f"Windows refused CPU {cpu.id}", None)

    def undo() -> None:
        # Without CPU sets of its own (count 0), a thread follows its process, as before.
        kernel32.SetThreadSelectedCpuSets(thread, held if count.value else None, count.value)

    return Pin(cpu.id, "", undo)
