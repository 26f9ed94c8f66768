"""The other end of `PeerProcess`, in a peer's environment: one request per line in, one answer per line out."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["serve", "session"]

# After its processes are let go on: what they put off is done before a measurement begins.
CATCH_UP_S = 0.3


def serve(**benchmarks: Callable[..., dict[str, Any]]) -> None:
    """Answer requests until the input ends; the first line out says which interpreter this is.

    Args:
        benchmarks: name -> function of keyword arguments that returns what JSON can hold.
    """
    # What a library prints goes to the log, not between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    answers.write(json.dumps({"python": sys.version.split()[0], "gil": gil}) + "\n")
    answers.flush()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            if _signalled(signal.SIGCONT):
                time.sleep(CATCH_UP_S)
            try:
                answer = benchmarks[request["benchmark"]](**request["parameters"])
            except Exception:  # noqa: BLE001 - it is the other side's to judge
                answer = {"error": traceback.format_exc()}
            _signalled(signal.SIGSTOP)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    finally:  # also where nobody is there any more to take the answer: what stands still could not be ended
        _signalled(signal.SIGCONT)


def _signalled(number: int) -> int:
    """Send a signal to all other processes of the session that `PeerProcess` made for this one; returns how many there are.

    Idle daemons and actors of a peer such as Ray use a tenth of a core or more, which would slow down the others; so they are
    stopped while others are measured. This process does so, not `PeerProcess`, since it always notices when the other end has
    exited.
    """
    me, count = os.getpid(), 0
    for process in session(me):
        if process != me:
            try:
                os.kill(process, number)
                count += 1
            except (ProcessLookupError, PermissionError):  # over meanwhile
                pass
    return count


def session(leader: int) -> list[int]:
    """The processes of a session, its leader among them; none where there is no /proc."""
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 - as short as it is needed
        return []
    members = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        try:
            if name.isdigit() and os.getsid(int(name)) == leader:
                members.append(int(name))
        except (ProcessLookupError, PermissionError):
            pass
    return members
