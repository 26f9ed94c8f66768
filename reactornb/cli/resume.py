"""`reactornb resume NAME [FILE]`: a run that was kept goes on, as `reactornb run` would have gone on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reactornb.cli.commands import finish, load, mistakes_in
from reactornb.cli.signals import SignalHandler, Signalled
from reactornb.options import add_arguments, given_options, parameter_value
from reactornb.tags import parse_place

__all__ = ["add_resume", "resume"]

_EPILOG = """\
Without FILE the run is of a program of reactornb.rl. FILE is what it was declared in, as for reactornb run: a run's folder names its file, but
nothing that it names is loaded unless you say so. A run that is stopped by a signal, --walltime or kill -9 goes on exactly where it was.
"""


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `reactornb resume` its arguments."""
    parser.epilog = _EPILOG
    parser.add_argument("run", metavar="NAME", help="the run's name, or its folder")
    parser.add_argument("file", type=Path, nargs="?", help="the program file that it was declared in")
    parser.add_argument(
        "--at",
        type=_place,
        metavar="TAG",
        help="go on from there, as a branch: 90s, 90s,3 for a tag, or a checkpoint's name",
    )
    parser.add_argument(
        "--set",
        type=_change,
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a parameter there, as a branch",
    )
    parser.add_argument("--branch", metavar="NAME", help="the branch's name; NAME-2 and so on unless given")
    parser.add_argument(
        "--changed",
        choices=["error", "allow"],
        default="error",
        help="what to do if the code was changed: allow, as a branch",
    )
    parser.add_argument(
        "--exact", choices=["error", "warn"], default="error", help="what to do if this machine rounds otherwise"
    )
    add_arguments(parser, process_goes_on=False)


def resume(chosen: argparse.Namespace) -> int:
    """Go on with a run, and report on it."""
    from reactornb.durable.folder import RunFolder
    from reactornb.durable.resume import folder_of

    path = folder_of(chosen.run)
    with RunFolder.open(path) as folder:
        about = folder.about
    if chosen.file is None:
        _import_ours(about)
    program = None if chosen.file is None else _declared(chosen.file, about.get("root"))
    return finish(chosen, lambda signals: _begin(chosen, path, program, signals))


def _begin(chosen: argparse.Namespace, path: Path, program: Any, signals: SignalHandler) -> Any:
    from reactornb.durable.resume import resume as go_on

    if signals.count:  # something has caught the signal's exception
        raise Signalled
    given = given_options(
        {name: value for name, value in vars(chosen).items() if name not in ("fingerprint_log", "keep")}
    )
    return go_on(
        path, at=chosen.at, set=dict(chosen.set), program=program, keep=chosen.branch, changed=chosen.changed, exact=chosen.exact, **given,
    )  # fmt: skip


def _declared(file: Path, name: Any) -> Any:
    """What a file declares under the name of the run's outermost reactor: a class, a reactor, or a program."""
    from reactornb import loading

    name = name if isinstance(name, str) else None
    if file.suffix == ".lf":
        return type(load(file, name).root)
    with mistakes_in(file):
        return loading.load(file).root(name)


def _import_ours(about: Any) -> None:
    """Import the module of this package that the program is in: one that is there, whatever the run's folder says."""
    import pkgutil
    from importlib import import_module

    package = import_module("reactornb.rl")  # by its name: `python -m reactornb.rl` is a command above this package
    ours = {f"reactornb.rl.{found.name}" for found in pkgutil.iter_modules(package.__path__)}
    if about.get("module") in ours:
        import_module(str(about["module"]))


def _place(text: str) -> Any:
    try:
        return parse_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _change(word: str) -> tuple[str, Any]:
    path, equals, text = word.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(f"{word!r} is not PATH=VALUE")
    return path, parameter_value(text)
