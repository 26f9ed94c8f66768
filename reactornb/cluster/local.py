"""Hosts that are subprocesses of this process, on this machine.

The ticket goes to a host's standard input, which stays open: when this process is gone, however it ended, the pipe closes and the host ends. What a
host's process prints to its own output and errors goes to this process's standard error, a line at a time, and the last lines are kept for messages;
what reactors print travels over the link.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Iterable, Mapping

from reactornb.cluster.tickets import Ended, Ticket
from reactornb.interpreter import environment

__all__ = ["COMMAND", "HostProcess", "LocalEngine", "environment_of_host", "same_environment"]

COMMAND = ("-m", "reactornb.cluster", "host")
_KEPT_LINES = 40
_WAIT_S = 5.0


def same_environment() -> tuple[tuple[str, str], ...]:
    """Variables that a host's process must have as this one does, for the same results: the state of the GIL, and the seed of hashes where it is fixed."""
    facts = environment()
    wanted = {}
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        wanted["PYTHON_GIL"] = "1" if facts["gil"] == "on" else "0"
    if facts["hash_seed"] != "random":  # not of os.environ: a LocalCluster of this process changes it there
        wanted["PYTHONHASHSEED"] = facts["hash_seed"]
    return tuple(wanted.items())


def environment_of_host(ticket: Ticket, path: Iterable[str] = ()) -> Mapping[str, str]:
    """The environment of a host's process.

    Args:
        ticket: its ticket.
        path: where it imports from, before what its own interpreter has.
    """
    environment = {**os.environ, **dict(ticket.environment)}
    entries = [entry or os.getcwd() for entry in path]  # noqa: PTH109 - of this process, as `sys.path` means it
    entries += [e for e in os.environ.get("PYTHONPATH", "").split(os.pathsep) if e]
    if entries:
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(entries))
    return environment


class HostProcess:
    """One host's process.

    # lines   appended to by the thread that reads its output, read for messages; a deque's methods are atomic
    """

    def __init__(self, ticket: Ticket, path: Iterable[str], ended: Ended) -> None:
        self.share, self.attempt = ticket.share, ticket.attempt
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ended = ended
        self.popen = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment_of_host(ticket, path), start_new_session=True,  # an interrupt in a terminal is for this process: hosts end with it
        )  # fmt: skip
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(f"{ticket.to_text()}\n".encode())
            self.popen.stdin.flush()
        except OSError:
            pass  # it has ended already: its thread tells
        self._thread = threading.Thread(target=self._read, name=f"reactornb-host-{self.share}-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\n")
                self.lines.append(line)
                with contextlib.suppress(OSError, ValueError):
                    print(f"host {self.share}: {line}", file=sys.stderr, flush=True)  # noqa: T201 - where a process's own output goes
        status = self.popen.wait()
        last = self.lines[-1] if self.lines else ""
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        self._ended(self.share, self.attempt, f"its process ended ({how}){': ' + last if last else ''}")

    def let_go(self) -> None:
        """Close its standard input, upon which it ends by itself."""
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):
            self.popen.stdin.close()

    def kill(self) -> None:
        """End it now."""
        self.let_go()
        with contextlib.suppress(OSError):
            self.popen.kill()

    def wait(self, timeout_s: float) -> bool:
        """Whether it is gone, and its output is read."""
        try:
            self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        return True


class LocalEngine:
    """An `Engine` of subprocesses.

    Args:
        path: where hosts import from first; None: as this process.

    # _processes, _is_over   under _lock; a process is killed and waited for outside of it
    """

    def __init__(self, path: Iterable[str] | None = None) -> None:
        self.ended: Ended = lambda *_: None
        self._path = path
        self._lock = threading.Lock()
        self._processes: list[HostProcess] = []
        self._is_over = False

    def start(self, ticket: Ticket) -> None:
        """See `Engine`."""
        self.lost(ticket.share)
        path = tuple(sys.path) if self._path is None else tuple(self._path)
        with self._lock:
            if not self._is_over:
                self._processes.append(HostProcess(ticket, path, self._tell))

    def _tell(self, share: int, attempt: int, reason: str) -> None:
        self.ended(share, attempt, reason)

    def lost(self, share: int) -> None:
        """See `Engine`."""
        with self._lock:
            given_up = [one for one in self._processes if one.share == share]
        self._end(given_up, at_once=True)

    def stop(self) -> None:
        """See `Engine`."""
        with self._lock:
            self._is_over = True
            left = list(self._processes)
        self._end(left, at_once=False)

    def _end(self, processes: list[HostProcess], *, at_once: bool) -> None:
        for one in processes:
            if at_once:
                one.kill()
            else:
                one.let_go()
        for one in processes:
            if not one.wait(_WAIT_S):
                one.kill()
                one.wait(_WAIT_S)
        with self._lock:
            self._processes = [one for one in self._processes if one not in processes]

    def processes(self) -> dict[int, int]:
        """By share, the number of its process; for tests that end them, and for display."""
        with self._lock:
            return {one.share: one.popen.pid for one in self._processes if one.popen.poll() is None}
