"""The thread that writes what a kept run leaves: it syncs the journal and makes checkpoints, so that no reaction waits for a disk.

Records go to the system at once, by the thread that has them (`Writer.write`), and are synced together ten times a second; a checkpoint is
encoded and written here. A disk that is full or broken ends no run: its user is told once, what could not be written is kept
and tried again each second, and the earlier checkpoints stay.

# _jobs, _is_dirty, _is_closing, _is_failing   under _wake, by any thread; _is_failing by the writer's only
# what the folder writes                       the writer's thread, and whoever calls `write` or `sync`: the journal has locks of its own
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from reactornb.durable.folder import CheckpointInfo, RunFolder
from reactornb.durable.journal import Tag
from reactornb.errors import ReactorError
from reactornb.runtime.codec import Encoded

__all__ = ["Writer"]

_AGAIN_S = 1.0  # after a failure


@dataclass(frozen=True, slots=True)
class _Job:
    tag: Tag
    state: Callable[[], Encoded]
    extra: Mapping[str, Any]
    name: str | None
    done: Future[CheckpointInfo]


class Writer:
    """Writes a run's folder from a thread of its own, until it is closed.

    Args:
        folder: open for writing; closed with the writer.
        notice: told of each kind of trouble once, by a key and words. Any thread.
        collect: called on the writer's thread each `collect_every_s`, before each checkpoint and at the end: to `write` what is to be
            written from time to time, such as metrics.
        sync_every_s: how long a record may wait until it outlives the machine.
        collect_every_s: see `collect`.
        keep: how many checkpoints without a name stay.

    Attributes:
        wrote_s: how long the last checkpoint took.
        rested: the moment (`time.monotonic`) at which the disk has rested for as long as the last checkpoint took. Both are written and read by the
            writer's thread.
    """

    def __init__(
        self,
        folder: RunFolder,
        notice: Callable[[str, str], object],
        *,
        collect: Callable[[], None] | None = None,
        sync_every_s: float = 0.1,
        collect_every_s: float = 1.0,
        keep: int = 3,
    ) -> None:
        self.folder = folder
        self._notice = notice
        self._collect = collect
        self._sync_every_s, self._collect_every_s = sync_every_s, collect_every_s
        self._keep = keep
        self._wake = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._is_dirty = self._is_closing = self._is_failing = False
        self.wrote_s = self.rested = 0.0
        self._thread = threading.Thread(target=self._go, name=f"reactornb-keep-{folder.id}", daemon=True)
        self._thread.start()

    # -- any thread --------------------------------------------------------------------------------------------------

    def write(self, kind: str, tag: Tag, body: Any, *, durable: bool = False) -> None:
        """Add a record to the journal. It outlives this process at once, and the machine soon. Never raises for a disk.

        Args:
            kind, tag, body: see `Journal.append`.
            durable: return only when it outlives the machine, or the disk fails.
        """
        self.folder.journal.append(kind, tag, body)
        if durable:
            self._sync()
        elif (
            not self._is_dirty
        ):  # read without the lock: the writer clears it before it syncs, so what was appended before is synced
            with self._wake:
                self._is_dirty = True
                self._wake.notify()

    def checkpoint(
        self,
        tag: Tag,
        state: Encoded | Callable[[], Encoded],
        extra: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Future[CheckpointInfo]:
        """Have a checkpoint written. One without a name that still waits when the next one comes is dropped, its future cancelled.

        Args:
            tag, extra, name: see `RunFolder.write_checkpoint`.
            state: the state, or what encodes it, called on the writer's thread. Nothing of it may change before it is written.

        Returns:
            When it is safe, what it is; or CheckpointNotWrittenError, of which a notice was given.

        Raises:
            ValueError: if the writer was closed.
        """
        encode = state if callable(state) else lambda: state
        done: Future[CheckpointInfo] = Future()
        job = _Job(tag, encode, extra or {}, name, done)
        dropped: Future[CheckpointInfo] | None = None
        with self._wake:
            if self._is_closing:
                raise ValueError("the run is over: it takes no more checkpoints.")
            if self._jobs and self._jobs[-1].name is None:
                dropped = self._jobs.pop().done
            self._jobs.append(job)
            self._wake.notify()
        if dropped is not None:
            dropped.cancel()
        return done

    def sync(self) -> bool:
        """Let all that was written so far outlive the machine; whether that is so. A notice was given if not."""
        return self._sync()

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Write what is waiting, close the folder, end the thread. More than once does nothing. Never raises for a disk.

        Args:
            last: called when that is written and the thread is gone, to `write` how the run ended.
        """
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()
        try:
            if last is not None:
                last()
        finally:
            try:
                self.folder.close()
            except OSError as error:
                self._notice("journal", self._words(error))

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _go(self) -> None:
        collect_at = time.monotonic() + self._collect_every_s
        sync_at = 0.0
        while True:
            with self._wake:
                now = time.monotonic()
                while not self._jobs and not self._is_closing:
                    until = min(
                        collect_at if self._collect is not None else now + 3600.0,
                        max(sync_at, now) if self._is_dirty else now + 3600.0,
                    )
                    if until <= now:
                        break
                    self._wake.wait(until - now)
                    now = time.monotonic()
                job = self._jobs.popleft() if self._jobs else None
                is_over = job is None and self._is_closing
            if job is not None or is_over or now >= collect_at:
                self._collected()
                collect_at = now + self._collect_every_s
            if job is not None:
                self._write_checkpoint(job)
            if is_over:
                self._sync()
                return
            if self._is_dirty and now >= sync_at:
                with self._wake:
                    self._is_dirty = False
                is_synced = self._sync()
                sync_at = time.monotonic() + (self._sync_every_s if is_synced else _AGAIN_S)
                if not is_synced:
                    with self._wake:
                        self._is_dirty = True

    def _collected(self) -> None:
        if self._collect is not None:
            try:
                self._collect()
            except Exception as error:  # noqa: BLE001 - the run's metrics are worth less than the run
                self._notice("collect", f"what the run logs cannot be kept ({type(error).__name__}: {error}).")

    def _write_checkpoint(self, job: _Job) -> None:
        if not job.done.set_running_or_notify_cancel():
            return
        began = time.monotonic()
        try:
            info = self.folder.write_checkpoint(job.tag, job.state(), job.extra, job.name)
            self.folder.journal.append("checkpoint", job.tag, {"folder": info.path.name, "name": job.name})
            with self._wake:
                self._is_dirty = True
        except Exception as error:  # noqa: BLE001 - it is given to whoever waits, and the run goes on
            words = (
                str(error) if isinstance(error, ReactorError) else f"no checkpoint ({type(error).__name__}: {error})."
            )
            self._notice("checkpoint", f"{words} The run goes on.")
            job.done.set_exception(error)
            return
        finally:
            ended = time.monotonic()
            self.wrote_s = ended - began
            self.rested = ended + self.wrote_s
        job.done.set_result(info)
        try:
            self.folder.prune(self._keep)
        except (OSError, ReactorError) as error:
            self._notice("prune", f"old checkpoints in {self.folder.path} could not be removed: {error}")

    def _sync(self) -> bool:
        try:
            self.folder.journal.sync()
        except OSError as error:
            self._is_failing = True
            self._notice("journal", self._words(error))
            return False
        if self._is_failing:
            self._is_failing = False
            self._notice("journal again", f"the journal of {self.folder.path} is written again.")
        return True

    def _words(self, error: OSError) -> str:
        return (
            f"the journal of {self.folder.path} cannot be written: {error.strerror or error}. The run goes on, and what happens "
            "is written as soon as that is possible again."
        )
