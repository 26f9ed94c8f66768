"""`reactornb sweep PROGRAM NAME=[A,B,…] …`: many runs of a program, on all cores; a line says how far they are, and a table at the end how good.

A signal ends the runs in order, a second one gives them up; those that are kept go on when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.cli.commands import FAILED, console, load, mistakes_in
from reactornb.cli.signals import SignalHandler
from reactornb.errors import DeclarationError, suggestion
from reactornb.model import Reactor

if TYPE_CHECKING:
    from reactornb.sweeps.running import Sweep

__all__ = ["FILES", "add_sweep", "class_of", "sweep"]

_EPILOG = """\
  reactornb sweep PPO env=CartPole-v1 'learning_rate=[1e-3,3e-4,1e-4]' --seeds 5 --keep lr
  reactornb sweep program.py 'rate=between(1e-5,1e-2,log)' --samples 20
  reactornb sweep PPO env=CartPole-v1 'learning_rate=between(1e-5,1e-2,log)' --trials 50 --prune

PROGRAM is an algorithm of reactornb.rl, or a program file as for reactornb run. A list is swept, anything else is the same in all runs. The table
goes to standard output. The status is 1 if a trial failed.
"""
_POLL_S = 0.1
FILES = (".py", ".ipynb", ".lf")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `reactornb sweep` its arguments."""
    from reactornb.sweeps.asked import add_sweep_arguments

    parser.epilog = _EPILOG
    parser.add_argument("program", metavar="PROGRAM", help="PPO, DQN, …, or a file")
    parser.add_argument("words", nargs="*", type=_parameter, metavar="NAME=VALUES", help="parameters; lists are swept")
    parser.add_argument("--main", metavar="NAME", help="which reactor of the file")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each trial")
    parser.add_argument("--json", action="store_true", help="print a row for each trial as JSON instead of the table")
    parser.add_argument("--progress", action="store_true", help="say how far it is, also where stderr is no terminal")
    add_sweep_arguments(parser)


def _parameter(word: str) -> tuple[str, Any]:
    from reactornb.sweeps.asked import axis_value

    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUES")
    try:
        return name, axis_value(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def sweep(chosen: argparse.Namespace) -> int:
    """Perform a sweep, and say what came of it."""
    from reactornb.files import check_writable, write
    from reactornb.sweeps.asked import begin

    if chosen.csv is not None:
        check_writable(chosen.csv)
    cls = class_of(chosen.program, chosen.main, chosen.words)
    made: Sweep = begin(cls, dict(chosen.words), vars(chosen))
    signals: SignalHandler = chosen.signals
    try:
        _follow(made, signals, progress=chosen.progress)
    except BaseException:  # a handler of the program's own has raised
        made.request_stop()
        raise
    signals.phase("writing")
    for words in made.warnings:
        console.say(words)
    for trial in made.trials:
        if trial.state == "failed":
            console.say(f"trial {trial.number} failed ({trial.code}): {trial.failure}")
    rows = [_row(trial) for trial in made.trials]
    if chosen.csv is not None:
        write(chosen.csv, _csv(rows).encode())
    print(json.dumps(rows, indent=1) if chosen.json else made.summary)  # noqa: T201 - the command line prints
    console.say(made.heading())
    return FAILED if any(trial.state == "failed" for trial in made.trials) else 0


def class_of(program: str, name: str | None, words: list[tuple[str, Any]]) -> type[Reactor]:
    """The class of a program of this package, or in a file."""
    path = Path(program)
    if path.suffix not in FILES and not path.exists():
        from importlib import import_module

        rl = import_module("reactornb.rl")  # by its name: `python -m reactornb.rl` is a command above this package
        known = [own for own in rl.__all__ if own.isupper() or own == "QLearning"]
        found = next((own for own in known if own.lower() == program.lower()), None)
        cls = None if found is None else getattr(rl, found)
        if not (isinstance(cls, type) and issubclass(cls, Reactor)):
            raise DeclarationError(
                f"there is no program {program!r}. {suggestion(program.upper(), known)} A file ends in .py, .ipynb or .lf."
            )
        return cls
    if path.suffix == ".lf":
        return type(load(path, name).root)
    from reactornb import loading

    with mistakes_in(path):
        root = loading.load(path).root(name, parameters=bool(words))
    if not isinstance(root, type):
        raise DeclarationError(f"{path}: its program is made already; a class is needed.")
    return root


def _follow(made: Sweep, signals: SignalHandler, *, progress: bool) -> None:
    """Wait until a sweep is over. A signal ends it in order, a second one gives its runs up."""
    from reactornb.sweeps.progress import Progress

    signals.phase("running")
    shown = Progress(made)
    terminal, said_s = console.is_terminal, 0.0
    asked = False
    with console.sharing_terminal():
        while not made._wait(_POLL_S):
            if signals.count and not asked:
                asked = True
                made.request_stop()
            elif signals.count > 1:
                for trial in made.trials:
                    run = trial.run
                    if run is not None:
                        run.abandon()
            if (terminal or progress) and made.seconds - said_s >= (1.0 if terminal else max(2.0, made.seconds / 10)):
                said_s = made.seconds
                (console.show if terminal else console.say)(shown.line())


def _row(trial: Any) -> dict[str, Any]:
    """A trial as JSON has it."""
    return {
        "trial": trial.number,
        "program": trial.program,
        **{name: _plain(value) for name, value in trial.parameters.items()},
        "seed": trial.seed,
        "state": trial.state,
        "score": trial.score,
        "seconds": round(trial.seconds, 3),
        "fingerprint": trial.fingerprint,
        "kept": trial.kept or None,
        "failure": trial.failure or None,
        "code": trial.code,
    }


def _plain(value: Any) -> Any:
    from reactornb.sweeps.trial import worded

    return value if value is None or isinstance(value, (bool, int, float, str)) else worded(value)


def _csv(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    import csv
    import io

    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
