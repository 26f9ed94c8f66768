"""Runs the parts that are not there yet, each in a process of its own, and says how far it is.

A part is there if its JSON names the same command and has all peers that were asked for, so a run that was ended goes on where it
was. A file is written whole or not at all.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from reactornb import files
from reactornb.bench.paper.experiments import Part, Settings
from reactornb.bench.peers import PEERS

__all__ = ["Failure", "Says", "is_there", "run_parts"]

PACKAGES = ("numpy", "torch", "gymnasium", "ale-py", "pettingzoo", "matplotlib")
POLL_S = 0.5
GRACE_S = 30.0  # a benchmark that is asked to end stops its peers first


class Says(Protocol):
    """Where progress goes; the command line's console."""

    @property
    def is_terminal(self) -> bool:
        """Whether a line can change in place."""

    def say(self, words: str) -> None:
        """Write a line."""

    def show(self, words: str) -> None:
        """Show a line until the next one."""


@dataclass(frozen=True)
class Failure:
    """A part that gave no result.

    Attributes:
        part: which.
        why: the last line that its benchmark said.
    """

    part: Part
    why: str


def is_there(part: Part, settings: Settings, folder: Path) -> bool:
    """Whether a finished result of the same command is in the folder."""
    try:
        found = json.loads((folder / f"{part.stem}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return found.get("paper", {}).get("words") == part.words(settings) and not found.get("missing")


def run_parts(
    parts: Sequence[Part],
    settings: Settings,
    folder: Path,
    says: Says,
    *,
    call: Callable[[list[str]], list[str]] | None = None,
) -> list[Failure]:
    """Measure these parts one after the other; each writes its JSON into the folder.

    Args:
        parts: what to measure.
        settings: as which.
        folder: for results, and for what the benchmarks print (`<part>.txt`).
        says: where progress goes.
        call: makes the command of a process from the words after `reactornb bench`; `python -m reactornb bench` unless given.

    Returns:
        Those that failed.
    """
    files.make_folder(folder)
    failures = []
    ahead = sum(part.expected_seconds(settings) for part in parts)
    done_s = expected_s = 0.0
    for place, part in enumerate(parts, 1):
        # Estimates are for idle cores: the parts so far say by how much this machine is slower now.
        slower = max(1.0, done_s / expected_s) if expected_s else 1.0
        expected = part.expected_seconds(settings)
        progress = _Progress(
            f"[{place}/{len(parts)}] {part.title}", expected * slower, (ahead - expected) * slower, says
        )
        says.say(f"{progress.title}: reactornb bench {' '.join(part.words(settings))}")
        began = time.perf_counter()
        failure = _run_part(part, settings, folder, progress, call or _command)
        took = time.perf_counter() - began
        done_s, expected_s, ahead = done_s + took, expected_s + expected, ahead - expected
        if failure is None:
            says.say(
                f"{progress.title}: done in {_clock(took)}; about {_clock(ahead * max(1.0, done_s / expected_s))} left"
            )
        else:
            says.say(f"{progress.title}: not measured: {failure.why}")
            failures.append(failure)
    return failures


@dataclass
class _Progress:
    """The line that says how far a part is."""

    title: str
    expected_s: float
    after_s: float
    says: Says

    def show(self, seconds: float) -> None:
        """After so many seconds of this part."""
        share = min(seconds / self.expected_s, 0.99) if self.expected_s else 0.0
        bar = f"{'█' * int(20 * share):░<20}"
        left = max(self.expected_s - seconds, 0.0) + self.after_s
        self.says.show(f"{self.title} {bar} {_clock(seconds)}, about {_clock(left)} left of all")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "reactornb", "bench", *words]


def _run_part(
    part: Part, settings: Settings, folder: Path, progress: _Progress, call: Callable[[list[str]], list[str]]
) -> Failure | None:
    words = part.words(settings)
    fresh, log = folder / f".{part.stem}.new.json", folder / f"{part.stem}.txt"
    fresh.unlink(missing_ok=True)
    began, began_s = datetime.datetime.now(datetime.UTC), time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(  # noqa: S603 - a command of our own making
            call([*words, "--json", str(fresh)]),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C comes to this process alone, which passes it on once
        )
        try:
            while True:
                try:
                    status = process.wait(POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if progress.says.is_terminal:
                        progress.show(time.perf_counter() - began_s)
        except BaseException:
            _end(process)
            fresh.unlink(missing_ok=True)
            raise
    if not fresh.exists():
        last = (log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines() or ["it said nothing"])[-1]
        return Failure(part, f"{last} (exit status {status}; all of it: {log})")
    data: dict[str, Any] = json.loads(fresh.read_text(encoding="utf-8"))
    data["paper"] = {
        "words": words,
        "command": f"reactornb bench {' '.join(words)}",
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - began_s, 1),
        "versions": _versions(settings),
    }
    files.write(folder / f"{part.stem}.json", json.dumps(data, indent=2) + "\n")
    fresh.unlink()
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a benchmark to end, which stops its peers; it is killed if it does not."""
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _versions(settings: Settings) -> dict[str, str]:
    found = {}
    for package in ("reactornb", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    for name in settings.peers:
        package, _, version = PEERS[name].requirements[0].partition("==")
        found[package] = version
    return found
