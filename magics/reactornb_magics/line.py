"""What stands behind `%reactor`: commands and options, parsed as IPython's own magics do."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from IPython.core.error import UsageError

from reactornb.tags import parse_duration

__all__ = ["COMMANDS", "HELP", "Asked", "duration", "parse"]

HELP = """Start, stop and look at reactor programs.

    %reactor start [Name] [options] [parameter=value ...]   Program(Name, parameter=value).start(...)
        -w, --workers N    threads (default: as many as there are usable cores)
        --seed S           all reactors' seeds derive from it (default 0)
        --timeout T        logical time at which it ends: 10s, 500ms, 2min
        --fast             do not wait for physical time
        --fingerprint      keep a running hash over tag, port and value
        --check-values     find a reaction that changes a value it was given
    %reactor stop [Name]           run.stop()
    %reactor pause [Name]          run.pause()
    %reactor resume [Name]         run.resume()
    %reactor step [N] [Name]       run.step(N): execute N tags
    %reactor status [Name]         run.status()
    %reactor graph [Name] [--levels] [--depth N] [--save FILE]   program.graph
    %reactor list                  reactor classes and runs
    %reactor help                  this text; %reactor COMMAND --help says more

Name is a reactor class, a reactor, a Program or a Run in your namespace; it may be left out where only one is meant.
`run = %reactor start Main` keeps the run; as the last line of a cell it shows its panel.
"""


@dataclass
class Asked:
    """A parsed line. `help` is the text to show instead of doing anything."""

    command: str
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    help: str | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}; see %reactor help")


def duration(text: str) -> int:
    """`10s`, `500ms`, `2min`, `1.5 h`: nanoseconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser(command: str, about: str) -> _Parser:
    return _Parser(prog=f"%reactor {command}", description=about, add_help=False)


def _commands() -> dict[str, _Parser]:
    made = {
        "start": _parser("start", "Start a program in the background."),
        "stop": _parser("stop", "End a run at its next microstep, with its shutdown reactions."),
        "pause": _parser("pause", "Hold a run before its next tag."),
        "resume": _parser("resume", "Let a paused run go on."),
        "step": _parser("step", "Execute so many tags of a run, and hold it."),
        "status": _parser("status", "State, tag, rates and metrics of the runs."),
        "graph": _parser("graph", "Show the graph of a program."),
        "list": _parser("list", "Reactor classes and runs."),
        "help": _parser("help", "Show all commands."),
    }
    start = made["start"]
    start.add_argument("-w", "--workers", type=int, help="threads")
    start.add_argument("--seed", type=int, default=0, help="all reactors' seeds derive from it")
    start.add_argument("--timeout", type=duration, metavar="T", help="logical time at which it ends: 10s, 500ms, 2min")
    start.add_argument("--fast", action="store_true", help="do not wait for physical time")
    start.add_argument("--fingerprint", action="store_true", help="keep a running hash over tag, port and value")
    start.add_argument("--check-values", action="store_true", help="find a reaction that changes a value it was given")
    start.add_argument("words", nargs="*", metavar="Name | parameter=value")
    made["step"].add_argument("tags", nargs="?", type=int, default=1, metavar="N")
    graph = made["graph"]
    graph.add_argument("--levels", action="store_true", help="write each reaction's level beside it")
    graph.add_argument("--depth", type=int, help="levels of the hierarchy below the root")
    graph.add_argument("--save", metavar="FILE", help="write it to a .svg, .png, .dot or .txt file")
    for name in ("stop", "pause", "resume", "step", "status", "graph"):
        made[name].add_argument("name", nargs="?", default="", metavar="Name")
    return made


COMMANDS = _commands()


def parse(line: str, namespace: Mapping[str, Any]) -> Asked:
    """Parse what follows `%reactor`.

    Args:
        line: the line.
        namespace: the user's; a parameter's value may be the name of a variable.

    Raises:
        UsageError: for anything that is no command, option or parameter.
    """
    try:
        command, *words = shlex.split(line) or ["help"]
    except ValueError as error:
        raise UsageError(f"%reactor: {error} in {line!r}") from None
    parser = COMMANDS.get(command)
    if parser is None:
        from reactornb.errors import suggestion

        raise UsageError(f"%reactor: there is no command {command!r}. {suggestion(command, COMMANDS)}")
    if command == "help" or "--help" in words or "-h" in words:
        return Asked(command, help=HELP if command == "help" else parser.format_help())
    given = vars(parser.parse_intermixed_args(words))
    asked = Asked(command, given.pop("name", ""), given)
    for word in given.pop("words", ()):
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            asked.parameters[name] = _value(value, namespace)
        elif equals or asked.name:
            raise UsageError(f"%reactor {command}: {word!r} is neither one Name nor parameter=value; see %reactor help")
        else:
            asked.name = word
    return asked


def _value(text: str, namespace: Mapping[str, Any]) -> Any:
    """A Python literal, a variable of the user's, or the text itself: `lr=1e-4 horizon=n env_id=CartPole-v1`."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return namespace.get(text, text)
