"""The command line: `reactornb run | sweep | resume | graph | check | verify | diff | runs | demo | bench | paper | doctor`.

This module parses the command line, calls `commands`, and turns errors into lines and an exit status. What a program file is, `loading`
defines.

Exit status: 0; 1 if a program, a check or the demo failed, or a file could not be written; 2 for a mistake in the command line or in
the program file; 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP; what a reaction passed to `sys.exit` passes through.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactornb.cli import commands, runs
from reactornb.cli import resume as resuming
from reactornb.cli import sweep as sweeping
from reactornb.cli import verify as verifying
from reactornb.cli.commands import FAILED, MISTAKE, console
from reactornb.cli.console import discard_stdout, is_stdout_error
from reactornb.cli.restart import settle_interpreter
from reactornb.cli.signals import SignalHandler, Signalled
from reactornb.errors import AssemblyError, DeclarationError, FileExitedError, LFSyntaxError, ReactorError
from reactornb.options import add_arguments, add_hosts, add_verify_arguments, parameter_value
from reactornb.tags import parse_duration

__all__ = ["main"]

_RUNNABLE = """\
A program FILE is a .py file or a notebook. Only its declarations are executed: not what stands under `if __name__ == "__main__":`, and of a
notebook the %%reactor and %%lf cells, imports, functions, classes, programs, what these need, and cells tagged "program".
The program is --main NAME, or a global called program or main, or the reactor class that no other one contains (Main where there are several).
An .lf file is a Lingua Franca program with Python as its target; what its target declaration says (timeout, fast, keepalive, workers)
holds unless the command line says otherwise.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: words of the command line; those of this process unless given.

    Returns:
        The exit status.
    """
    with SignalHandler() as signals:
        try:
            status = _call(argv, signals)
            if not _flush():
                status = status or FAILED
        except KeyboardInterrupt:  # a signal's, which has been said
            status = 128 + signal.SIGINT
        if argv is None:
            signals.restore_defaults()
        return status if signals.status is None else signals.status


def _call(argv: Sequence[str] | None, signals: SignalHandler) -> int:
    chosen = _parsed(argv)
    if argv is None and chosen.needs_no_gil:
        settle_interpreter()
    chosen.signals = signals
    try:
        return int(chosen.call(chosen))
    except FileExitedError as error:
        console.say(str(error))
        return error.status
    except ReactorError as error:
        if signals.count:
            raise Signalled from error
        console.say(str(error))
        return MISTAKE if isinstance(error, (DeclarationError, AssemblyError, LFSyntaxError, ValueError)) else FAILED
    except OSError as error:
        if not is_stdout_error(error):
            raise
        discard_stdout(error, console)
        return FAILED


def _flush() -> bool:
    """Flush standard output; false if it is closed or full."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        discard_stdout(error, console)
        return False
    return True


# -- the parser -----------------------------------------------------------------------------------------------------------


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `reactornb run` takes NAME=VALUE after options, too, where argparse leaves them over."""
    parser = _parser()
    chosen, left_over = parser.parse_known_args(argv)
    if chosen.call is commands.paper:
        chosen.options = left_over  # those of `reactornb.bench.paper`, which is not loaded to parse others
        return chosen
    if left_over and (
        chosen.call not in (commands.run, verifying.verify) or any(word.startswith("-") for word in left_over)
    ):
        parser.error(f"unrecognized arguments: {' '.join(left_over)}")
    for word in left_over:
        try:
            chosen.parameters.append(_parameter(word))
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument NAME=VALUE: {error}")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reactornb", description="Deterministic, parallel reactor programs.")
    parser.add_argument("--version", action="version", version=_version())
    parser.set_defaults(needs_no_gil=False)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: Any, about: str, **options: Any) -> argparse.ArgumentParser:
        subparser = subparsers.add_parser(
            name, help=about, description=about, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )
        subparser.set_defaults(call=call)
        return subparser

    run = command("run", commands.run, "Run a program without a notebook.", epilog=_RUNNABLE)
    run.set_defaults(needs_no_gil=True)
    run.add_argument("file", type=Path)
    run.add_argument("parameters", nargs="*", type=_parameter, metavar="NAME=VALUE", help="parameters of the program")
    run.add_argument("--main", metavar="NAME", help="which reactor or program of the file")
    add_arguments(run, process_goes_on=False)
    add_hosts(run)
    _add_ends(run)

    resume = command("resume", resuming.resume, "Go on with a run that was kept (reactornb run --keep NAME).")
    resume.set_defaults(needs_no_gil=True)
    resuming.add_resume(resume)
    _add_ends(resume)

    sweep = command(
        "sweep",
        sweeping.sweep,
        "Run a program with all combinations of parameters and seeds, on all cores, or search for the best.",
    )
    sweep.set_defaults(needs_no_gil=True)
    sweeping.add_sweep(sweep)

    graph = command("graph", commands.graph, "Draw the action-port graph of a program.", epilog=_RUNNABLE)
    graph.set_defaults(needs_no_gil=True)
    graph.add_argument("file", type=Path)
    graph.add_argument("--main", metavar="NAME", help="which reactor or program of the file")
    graph.add_argument("-o", "--output", type=Path, metavar="FILE", help=".svg, .png, .dot or .txt; text unless given")
    graph.add_argument("--levels", action="store_true", help="write each reaction's level beside it")
    graph.add_argument("--depth", type=int, help="levels of the hierarchy below the root")

    check = command("check", commands.check, "Load and assemble programs without running them.", epilog=_RUNNABLE)
    check.set_defaults(needs_no_gil=True)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")

    verify = command(
        "verify", verifying.verify,
        "Run the beginning of a program twice, with one worker and with several, and name the first value that differs.", epilog=_RUNNABLE,
    )  # fmt: skip
    verify.set_defaults(needs_no_gil=True)
    verify.add_argument("program", type=Path, metavar="FILE", help="a program file, or PPO, DQN, …")
    verify.add_argument(
        "parameters", nargs="*", type=_parameter, metavar="NAME=VALUE", help="parameters of the program"
    )
    verify.add_argument("--main", metavar="NAME", help="which reactor or program of the file")
    add_verify_arguments(verify)

    diff = command(
        "diff", commands.diff, "Name the first tag and port at which two runs differ; the status is 1 if they do."
    )
    for side in ("a", "b"):
        diff.add_argument(
            side, type=Path, metavar=side.upper(), help="what reactornb run --fingerprint-log wrote of a run"
        )

    kept = command(
        "runs", lambda chosen: chosen.runs(chosen), "The runs that were kept: list, compare, export, tag, remove."
    )
    runs.add_commands(kept)

    demo = command("demo", commands.demo, "Train in the quick-start notebook, in a real kernel, headless.")
    demo.add_argument("--out", type=Path, default=Path("out"), help="folder for the page and the pictures")
    demo.add_argument("--notebook", type=Path, help="another notebook of the same form")
    demo.add_argument("--timeout", type=int, default=900, metavar="S", help="seconds a cell may take")

    bench = command("bench", commands.bench, "Measure. Without a name: what there is.")
    bench.set_defaults(needs_no_gil=True)
    bench.add_argument("name", nargs="?", help="a module of reactornb.bench")
    bench.add_argument("options", nargs=argparse.REMAINDER, help="its options; --help says which")

    paper = command(
        "paper", commands.paper, "Measure the experiments of the paper behind this project: one page.", add_help=False
    )
    paper.set_defaults(needs_no_gil=True)

    doctor = command("doctor", commands.doctor, "Look at this machine and environment, and say what to mend.")
    doctor.add_argument("--json", action="store_true", help="the same, for programs")
    return parser


def _add_ends(run: argparse.ArgumentParser) -> None:
    """What a command that runs a program does besides."""
    run.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE",
        help="write who ran what when, for ui.perfetto.dev (Chrome trace format)",
    )
    run.add_argument(
        "--fingerprint-log", type=Path, metavar="FILE", help="write a hash of everything sent, for reactornb diff"
    )
    run.add_argument(
        "--walltime", type=_seconds, metavar="T", help="physical time after which it is ended in order: 10s, 2min, 8h"
    )
    run.add_argument(
        "--progress", action="store_true", help="say on stderr how far it is, also where that is no terminal"
    )
    run.add_argument("-q", "--quiet", action="store_true", help="no line about the run")


def _version() -> str:
    from reactornb import __version__

    return __version__


def _parameter(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
    return name, parameter_value(text)


def _duration(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    return _duration(text) / 1e9
