"""`verify`: runs the beginning of a program twice or more, with other numbers of workers, and names the first value that differs.

    verify(PPO, env="CartPole-v1")
    print(verify(program, workers=(1, 2, 8), tags=500))

What comes from outside in the first run (physical actions, the clock, changes, its stop) is replayed in the others, so that only what the program does itself can
differ; see `outside`. The values of two runs are compared by their hashes (`fingerprint_log`), and shown in words. The runs are made of the program's root
anew, so a run of that program that is under way goes on undisturbed.

It finds what differs between threads of one process. What differs between processes (`PYTHONHASHSEED`, files, versions) it does not see.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reactornb import cpu
from reactornb.errors import ReactionError, ReplayError, RunOptionError, UnrecordableValueError
from reactornb.model import Reactor
from reactornb.options import RunOptions
from reactornb.runtime.fingerprint_log import Difference, FingerprintLog
from reactornb.runtime.program import Program
from reactornb.runtime.run import Run
from reactornb.runtime.value_words import Parts, parts_of
from reactornb.tags import DurationLike, Tag, seconds_of

__all__ = ["Compared", "Verification", "verify"]

_POLL_S = 0.005
_SHOWN = 4  # parts of a value that differ, ports, warnings


class _Look(FingerprintLog):
    """A log that knows in words what each value was.

    # looks   an entry per write, put in by the thread that ends the tag in the write's enclave (a dict's item is set atomically), read after the run
    """

    def __init__(self, program: str, seed: int) -> None:
        super().__init__(program, seed)
        self.looks: dict[tuple[tuple[int, int], str], Parts] = {}

    def look(self, tag: tuple[int, int], name: str, value: Any) -> None:
        """See `FingerprintLog`."""
        self.looks[tag, name] = parts_of(value)


class _Looked(Program):
    """A program whose runs keep such logs."""

    _log_type = _Look


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the runs.

    Attributes:
        workers: how many.
        tags: how many it executed.
        tag: the last.
        writes: how many values were compared.
        inputs: events from outside; all runs but the first had them replayed.
        fingerprint: of all it wrote.
        failure: what ended it; "" for nothing.
    """

    workers: int
    tags: int
    tag: Tag
    writes: int
    inputs: int
    fingerprint: str
    failure: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. True if all runs were the same.

    Attributes:
        program: its name.
        seed: of all runs.
        runs: the first one, and those that were compared with it, up to the first that differed.
        ports: how many ports, actions and timers were written.
        difference: where the last of `runs` parted from the first; None: nowhere.
        values: parts of the two values that differ, in words: path within the value, in the first run, in the other.
        warnings: what the runs warned of, which may say why.
    """

    program: str
    seed: int
    runs: tuple[Compared, ...]
    ports: int
    difference: Difference | None
    values: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all runs were the same: values, fingerprints, and how they ended."""
        return self.difference is None and len({(run.fingerprint, run.failure) for run in self.runs}) == 1

    def __bool__(self) -> bool:
        return self.same

    def __repr__(self) -> str:
        first, other = self.runs[0], self.runs[-1]
        of = f"{self.program}, seed {self.seed}"
        ports = f"{self.ports:,} port{'s' if self.ports != 1 else ''}, actions and timers"
        if self.same:
            workers = ", ".join(str(run.workers) for run in self.runs[:-1]) + f" and {other.workers}"
            inputs = f", {first.inputs:,} inputs from outside replayed" if first.inputs else ""
            failed = f", which all end with: {first.failure}" if first.failure else ""
            compared = f"{first.writes:,} values of {ports}, at {first.tags:,} tags up to {first.tag}"
            lines = [
                f"all equal: {of}: {compared}, with {workers} workers{inputs}{failed}",
                f"fingerprint {first.fingerprint}",
            ]
            return "\n".join((*lines, *self._warned()))
        lines = [f"they differ: {of}, with {first.workers} and with {other.workers} workers"]
        parted = self.difference
        if parted is not None:
            lines.append(f"first at tag {parted.tag}: {parted.name}{parted.writer and f', written by {parted.writer}'}")
            width = max(len(str(run.workers)) for run in (first, other))
            for path, here, there in self.values[:_SHOWN]:
                for words, run in ((here, first), (there, other)):
                    lines.append(f"  {run.workers:{width}} worker{'s' if run.workers > 1 else ' '}  {path}{words}")
            lines += _more(self.values, "parts of it differ")
            if parted.others:
                lines.append(f"at that tag also: {', '.join(parted.others[:_SHOWN])}")
                lines += _more(parted.others, "ports")
        lines += [
            f"with {run.workers} worker{'s' if run.workers > 1 else ''} the run ends at {run.tag} with: {run.failure}"
            for run in (first, other)
            if run.failure
        ]
        return "\n".join((*lines, *self._warned()))

    def _warned(self) -> list[str]:
        return [f"warning: {words}" for words in self.warnings[:_SHOWN]] + _more(self.warnings, "warnings")


def _more(things: Sequence[Any], words: str) -> list[str]:
    return [f"  … and {len(things) - _SHOWN:,} more {words}"] if len(things) > _SHOWN else []


def verify(
    program: Program | Reactor | type[Reactor], /, *,
    workers: Sequence[int] | None = None, tags: int = 100, seconds: float = 10.0, seed: int = 0, until: DurationLike | None = None,
    fast: bool | None = None, **parameters: Any,
) -> Verification:  # fmt: skip
    """Run the beginning of a program with several numbers of workers, and say whether it did the same.

    Args:
        program: a `Program`, a reactor, or a class; a run of it that is under way is not touched. Objects that parameters marked `Shared` hold are
            the same in all runs.
        workers: with how many each of the runs is made, at least two; (1, all usable cores, but at least 2) unless given.
        tags: after so many the runs end.
        seconds: the first run ends after so much physical time, if that comes first, but not before its second tag; the others go as far.
        seed, until, fast: see `RunOptions`.
        parameters: of a class.

    Returns:
        What was compared, and the first difference: print it.

    Raises:
        RunOptionError: for fewer than two runs, or a limit that is none.
        UnrecordableValueError: if the program sends what cannot be compared.
        ReactorError: if the program cannot be assembled.
    """
    counts = (1, max(2, cpu.default_workers())) if workers is None else tuple(workers)
    if len(counts) < 2:
        raise RunOptionError(f"verify compares two runs or more, such as workers=(1, 2), not {counts}.")
    if isinstance(tags, bool) or not hasattr(tags, "__index__") or tags < 1:
        raise RunOptionError(f"tags must be a whole number of at least 1, not {tags!r}.")
    limit = seconds_of(seconds)
    root = program.root if isinstance(program, Program) else Program(program, **parameters).root
    options = RunOptions(seed=seed, until=until, fast=fast, fingerprint_log=True, record_outside=True)
    made: list[tuple[Run, Compared]] = []
    for count in counts:
        looked = _Looked(root)
        if not made:
            run = looked.start(options, workers=count)
            _follow(run, tags, limit)
        else:
            first = made[0][0]
            run = looked.start(options, workers=count, replay=first.outside)
            # It ends where the first did, unless it goes another way.
            _follow(run, 2 * first.tags + 100, None)
        made.append((run, _compared(run)))
        log: Any = run.fingerprint_log
        if len(made) > 1 and (
            log.difference(made[0][0].fingerprint_log) is not None or made[-1][1].failure != made[0][1].failure
        ):
            break
    return _verification(made)


def _follow(run: Run, tags: int, seconds: float | None) -> None:
    """Wait until a run has done so much, and end it."""
    began = time.monotonic()
    try:
        while not run.wait(_POLL_S):
            done = run.tags
            if done >= tags or (seconds is not None and done >= 2 and time.monotonic() - began >= seconds):
                run.stop(None)
    except BaseException:
        run.request_stop()
        raise


def _compared(run: Run) -> Compared:
    failure = ""
    try:
        run.result()
    except UnrecordableValueError:
        raise
    except ReplayError as error:
        failure = f"it did not go as the first run did ({error})"
    except (ReactionError, SystemExit) as error:  # compared like a value
        failure = str(error) if isinstance(error, ReactionError) else f"sys.exit({error})"
    assert run.fingerprint_log is not None
    assert run.fingerprint is not None
    inputs = [row for row in run.outside or () if row[0] not in ("start", "end", "stop")]
    return Compared(run.workers, run.tags, run.tag, len(run.fingerprint_log), len(inputs), run.fingerprint, failure)


def _verification(made: Sequence[tuple[Run, Compared]]) -> Verification:
    runs = [run for run, _ in made]
    first: Any = runs[0].fingerprint_log
    other: Any = runs[-1].fingerprint_log
    parted = first.difference(other)
    values: list[tuple[str, str, str]] = []
    if parted is not None:
        here, there = (log.looks.get((tuple(parted.tag), parted.name), {}) for log in (first, other))
        for path in dict.fromkeys((*here, *there)):
            a, b = here.get(path), there.get(path)
            if a != b:
                words = ("nothing" if a is None else a[0], "nothing" if b is None else b[0])
                values.append((f"{path}: " if path else "", *words))
    warnings = tuple(dict.fromkeys(words for run in runs for words in run.warnings))
    ports = len({name for _, name in first.looks})
    return Verification(
        runs[0].program.name, runs[0].seed, tuple(c for _, c in made), ports, parted, tuple(values), warnings
    )
