"""The report on a finished run, its files and its exit status: the end of `reactornb run`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from reactornb.cli.console import Console, discard_stdout, is_stdout_error
from reactornb.cli.signals import SignalHandler
from reactornb.errors import ReactionError
from reactornb.files import FileError
from reactornb.runtime import Run
from reactornb.runtime.result import exit_code
from reactornb.viz.run_view import describe_failure

__all__ = ["report"]


def report(
    run: Run,
    signals: SignalHandler,
    console: Console,
    *,
    quiet: bool,
    profile: bool,
    timeline: Path | None,
    fingerprint_log: Path | None = None,
) -> int:
    """Report on a run: failure, summary, fingerprint, profile, timeline. A part that fails does not keep the others.

    Args:
        run: the run; it is over, or abandoned.
        signals: the handler of signals.
        console: for messages; fingerprint and profile go to standard output.
        quiet: no summary.
        profile: print how often and how long each reaction ran.
        timeline: the file to write the timeline to, or None.
        fingerprint_log: likewise for the hashes of what was sent.

    Returns:
        The exit status: that of the run, or 1 if something could not be written.
    """
    parts: list[Callable[[], None]] = [lambda: _tell_failure(run, console)]
    if not quiet:
        parts.append(lambda: console.say(_summary(run)))
        if run.kept is not None and run.state != "finished":
            parts.append(
                lambda: console.say(f"kept in {run.kept}: reactornb resume {run.kept and run.kept.name} FILE goes on")
            )
    parts.append(lambda: _print_fingerprint(run, console))
    if profile:
        parts.append(lambda: print(run.profile(), flush=True))  # noqa: T201 - what a command is asked for
    if timeline is not None:
        parts.append(lambda: console.say(f"wrote {run.timeline().save(timeline)}"))
    if fingerprint_log is not None and run.state != "abandoned":  # else it is being written
        parts.append(lambda: console.say(f"wrote {run.fingerprint_log.save(fingerprint_log)}"))
    status = 0
    for part in parts:
        try:
            part()
        except FileError as error:
            console.say(str(error))
            status = 1
        except OSError as error:
            if not is_stdout_error(error):
                raise
            discard_stdout(error, console)
            status = 1
    signals.phase("free")  # threads of the program may go on for ever: a signal ends the process
    return (0 if signals.count else run.exit_status()) or status


def _tell_failure(run: Run, console: Console) -> None:
    failure = run.failure
    if run.state == "abandoned":
        console.say(str(failure))
    elif isinstance(failure, ReactionError) and isinstance(failure.__cause__, SystemExit):
        if isinstance(failure.__cause__.code, str):
            console.write(failure.__cause__.code)  # as Python does
    elif failure is not None:
        console.write(describe_failure(failure))


def _print_fingerprint(run: Run, console: Console) -> None:
    if run.fingerprint is not None and not exit_code(run.failure):
        print(f"fingerprint {run.fingerprint}", flush=True)  # noqa: T201 - likewise
    elif run.fingerprint is not None:
        why = "was abandoned" if run.state == "abandoned" else "failed"
        console.say(f"no fingerprint, since the run {why}; that of the tags before is {run.fingerprint}")


def _summary(run: Run) -> str:
    words = [
        f"{run.program.name} {_state(run)} at tag {run.tag}",
        f"{run.seconds:.1f} s",
        f"{run.reactions:,} reactions",
        f"{run.workers} worker{'s' if run.workers > 1 else ''}",
        f"GIL {'on' if getattr(sys, '_is_gil_enabled', lambda: True)() else 'off'}",
    ]
    words += [f"{name} {metric[-1]:.4g}" for name, metric in run.metrics.items()]
    return ", ".join(words)


def _state(run: Run) -> str:
    """The state in words. A reaction that calls `sys.exit` ends the run without its shutdown reactions: that is no failure."""
    cause = getattr(run.failure, "__cause__", None)
    if isinstance(run.failure, ReactionError) and isinstance(cause, SystemExit):
        code = "" if cause.code is None else repr(cause.code)
        return f"ended by sys.exit({code}) in {run.failure.reaction}"
    return run.state
