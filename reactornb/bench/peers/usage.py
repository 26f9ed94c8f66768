"""How much of the machine a training used; the same code on both sides, standard library only."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Usage", "versions"]


class Usage:
    """Takes note of the counters when it is made; `until_now` says what was used since.

    Args:
        others: processes whose processor time counts as well, if they live from the beginning to the end.
    """

    def __init__(self, others: Sequence[int] = ()) -> None:
        self._others = [process for process in others if process != os.getpid()]
        self._cores, self._processor, self._began = _core_ticks(), self._processor_seconds(), time.perf_counter()

    def until_now(self) -> dict[str, Any]:
        """What was used since this object was made.

        Returns:
            `seconds`; `processor`: processor seconds of this process and the others; `cores`: busy share of each usable core, 0 to 1,
            whoever used it, empty where there is no /proc.
        """
        seconds = time.perf_counter() - self._began
        cores = [
            round((busy - busy_before) / max(1, total - total_before), 3)
            for (busy_before, total_before), (busy, total) in zip(self._cores, _core_ticks(), strict=True)
        ]
        return {"seconds": seconds, "processor": self._processor_seconds() - self._processor, "cores": cores}

    def _processor_seconds(self) -> float:
        seconds = time.process_time()
        for process in self._others:
            try:
                fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:  # over meanwhile
                continue
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds


def _core_ticks() -> list[tuple[int, int]]:
    """(busy, all) ticks of each usable core since the machine started."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    usable = os.sched_getaffinity(0)
    ticks = []
    for line in lines:
        name, *counts = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in usable:
            times = [int(count) for count in counts[:8]]  # the rest is part of the first two
            ticks.append((sum(times) - times[3] - times[4], sum(times)))  # without idle and waiting for a disk
    return ticks


def versions(*packages: str) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
