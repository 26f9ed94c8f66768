"""Hosts as tasks of a Dask cluster: one long task each, which starts a host's process on the worker's machine and waits for it.

A process of its own, because a worker's has the seed of hashes, the limits of threads and maybe the GIL of its start, and since a host ends at once
when its worker does: the pipe to it closes.

Each task prefers the worker that has fewest of this run's hosts, and may go to any: one that is pinned hangs when its worker is lost (distributed 8320,
7346). It secedes, so that a host which replaces another need not wait for a worker whose threads are taken by hosts: the scheduler gives a task to a
busy worker, too, and moves none of unknown duration to one that comes later. The scheduler starts a lost task again by itself; the host of such an
attempt is refused where the hub has begun another one.

# _futures, _places, _is_over   under _lock; the cluster is asked, and a future is cancelled, outside of it. `_keys` counts up: a key is used once
"""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
from typing import Any

from reactornb.cluster.local import HostProcess
from reactornb.cluster.tickets import Ended, Ticket

__all__ = ["DaskEngine", "run_on_worker"]

_LOOK_S = 0.5
_WAIT_S = 10.0


class DaskEngine:
    """An `Engine` of tasks.

    Args:
        client: a `distributed.Client`.
        closes: close it with the run.
    """

    def __init__(self, client: Any, *, closes: bool = False) -> None:
        self.ended: Ended = lambda *_: None
        self._client = client
        self._closes = closes
        self._run = secrets.token_hex(4)
        self._keys = itertools.count()
        self._lock = threading.Lock()
        self._futures: dict[int, Any] = {}
        self._places: dict[int, str] = {}
        self._is_over = False

    def start(self, ticket: Ticket) -> None:
        """See `Engine`."""
        self.lost(ticket.share)
        key = f"reactornb-host-{self._run}-{ticket.share}-{next(self._keys)}"
        workers = list(self._client.nthreads())
        with self._lock:
            if self._is_over:
                return
            where: dict[str, Any] = {}
            if workers:
                taken = list(self._places.values())
                place = self._places[ticket.share] = min(workers, key=taken.count)  # of equal ones the first
                where = {"workers": [place], "allow_other_workers": True}
            future = self._client.submit(run_on_worker, ticket.to_text(), key, key=key, pure=False, retries=0, **where)
            self._futures[ticket.share] = future
        future.add_done_callback(lambda done: self._tell(ticket, done))

    def _tell(self, ticket: Ticket, future: Any) -> None:
        status = future.status
        if status == "finished":
            reason = str(future.result())
        elif status == "error":
            reason = f"its task failed ({future.exception()!r:.300})"
        else:
            reason = f"its task was {status}"
        self.ended(ticket.share, ticket.attempt, reason)

    def lost(self, share: int) -> None:
        """See `Engine`."""
        with self._lock:
            future = self._futures.pop(share, None)
            self._places.pop(share, None)
        if future is not None:
            future.cancel(force=True)

    def stop(self) -> None:
        """See `Engine`. A host ends when the hub closes its link; what has not ended then is cancelled."""
        with self._lock:
            self._is_over = True
            futures, self._futures = list(self._futures.values()), {}
        for future in futures:
            if not future.done():
                future.cancel(force=True)
        if self._closes:
            self._client.close()


def run_on_worker(text: str, key: str) -> str:
    """The task: run a host until it ends, or the task is cancelled.

    Args:
        text: its ticket.
        key: of the task.

    Returns:
        How it ended, in words.
    """
    import distributed

    dask: Any = distributed  # untyped in part
    worker = dask.get_worker()
    dask.secede()
    said: list[str] = []
    process = HostProcess(Ticket.from_text(text), tuple(sys.path), lambda _share, _attempt, reason: said.append(reason))
    try:
        while not process.wait(_LOOK_S):
            task = worker.state.tasks.get(key)
            if task is None or task.state not in ("executing", "long-running"):
                break  # cancelled
    finally:
        process.kill()
        process.wait(_WAIT_S)
    return said[0] if said else "its task was cancelled"
