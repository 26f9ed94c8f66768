"""The command line: `reactornb run | graph | check | demo | bench | doctor`.

Nothing heavy is imported before a command needs it, so that `reactornb --help` is quick. What a program file is, `loading`
says; this module parses, calls, and turns what happened into lines and an exit status.

Exit status: 0; 1 if a program, a check or the demo failed, or a file could not be written; 2 for a mistake in the command line or in
the program file; 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP; what a reaction passed to `sys.exit` passes through.
"""

from __future__ import annotations

import argparse
import ast
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.cli.console import Console, discard_stdout, is_stdout_error
from reactornb.cli.restart import settle_interpreter
from reactornb.cli.signals import SignalHandler, Signalled
from reactornb.errors import AssemblyError, DeclarationError, FileExitedError, LFSyntaxError, ReactorError
from reactornb.files import check_writable
from reactornb.options import add_arguments, given_options
from reactornb.tags import parse_duration

if TYPE_CHECKING:
    from reactornb.runtime import Program, Run

FAILED, MISTAKE = 1, 2

_console = Console()

_RUNNABLE = """\
A program FILE is a .py file or a notebook. What it declares is loaded, not what it does: `if __name__ == "__main__":` stays
out, and of a notebook the %%reactor and %%lf cells, imports, functions, classes, programs, what these need, and cells tagged "program".
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
    chosen = _parser().parse_args(argv)
    if argv is None and chosen.needs_no_gil:
        settle_interpreter()
    chosen.signals = signals
    try:
        return int(chosen.call(chosen))
    except FileExitedError as error:
        _say(str(error))
        return error.status
    except ReactorError as error:
        if signals.count:
            raise Signalled from error
        _say(str(error))
        return MISTAKE if isinstance(error, (DeclarationError, AssemblyError, LFSyntaxError, ValueError)) else FAILED
    except OSError as error:
        if not is_stdout_error(error):
            raise
        discard_stdout(error, _console)
        return FAILED


def _say(words: str) -> None:
    _console.say(words)


def _flush() -> bool:
    """Write what was printed; false if nobody takes it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        discard_stdout(error, _console)
        return False
    return True


# -- the parser -----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reactornb", description="Deterministic, parallel reactor programs.")
    parser.add_argument("--version", action="version", version=_version())
    parser.set_defaults(needs_no_gil=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: Any, about: str, **options: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=about, description=about, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )
        made.set_defaults(call=call)
        return made

    run = command("run", _run, "Run a program without a notebook.", epilog=_RUNNABLE)
    run.set_defaults(needs_no_gil=True)
    run.add_argument("file", type=Path)
    run.add_argument("parameters", nargs="*", type=_parameter, metavar="NAME=VALUE", help="parameters of the program")
    run.add_argument("--main", metavar="NAME", help="which reactor or program of the file")
    add_arguments(run, process_goes_on=False)
    run.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE",
        help="write who ran what when, for ui.perfetto.dev (Chrome trace format)",
    )
    run.add_argument(
        "--walltime", type=_seconds, metavar="T", help="physical time after which it is ended in order: 10s, 2min, 8h"
    )
    run.add_argument(
        "--progress", action="store_true", help="say on stderr how far it is, also where that is no terminal"
    )
    run.add_argument("-q", "--quiet", action="store_true", help="no line about the run")

    graph = command("graph", _graph, "Draw the action-port graph of a program.", epilog=_RUNNABLE)
    graph.set_defaults(needs_no_gil=True)
    graph.add_argument("file", type=Path)
    graph.add_argument("--main", metavar="NAME", help="which reactor or program of the file")
    graph.add_argument("-o", "--output", type=Path, metavar="FILE", help=".svg, .png, .dot or .txt; text unless given")
    graph.add_argument("--levels", action="store_true", help="write each reaction's level beside it")
    graph.add_argument("--depth", type=int, help="levels of the hierarchy below the root")

    check = command("check", _check, "Load and assemble programs without running them.", epilog=_RUNNABLE)
    check.set_defaults(needs_no_gil=True)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")

    demo = command("demo", _demo, "Train in the quick-start notebook, in a real kernel, headless.")
    demo.add_argument("--out", type=Path, default=Path("out"), help="folder for the page and the pictures")
    demo.add_argument("--notebook", type=Path, help="another notebook of the same form")
    demo.add_argument("--timeout", type=int, default=900, metavar="S", help="seconds a cell may take")

    bench = command("bench", _bench, "Measure. Without a name: what there is.")
    bench.set_defaults(needs_no_gil=True)
    bench.add_argument("name", nargs="?", help="a module of reactornb.bench")
    bench.add_argument("options", nargs=argparse.REMAINDER, help="its options; --help says which")

    doctor = command("doctor", _doctor, "Look at this machine and environment, and say what to mend.")
    doctor.add_argument("--json", action="store_true", help="the same, for programs")
    return parser


def _version() -> str:
    from reactornb import __version__

    return __version__


def _parameter(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
    try:
        return name, ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return name, text


def _duration(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    return _duration(text) / 1e9


# -- commands -------------------------------------------------------------------------------------------------------------


def _load(path: Path, name: str | None, /, **parameters: Any) -> Program:
    """The program in a file, whatever kind of file it is."""
    from reactornb import loading
    from reactornb.runtime import Program

    if path.suffix == ".lf":
        return _load_lf(path, name, parameters)[0]
    with _mistakes_in(path):
        root = loading.load(path).root(name, parameters=bool(parameters))
        if isinstance(root, type):
            return Program(loading.make(root, parameters))
    if parameters:
        raise DeclarationError(f"{path}: its program is made already; NAME=VALUE needs a class.")
    return root if isinstance(root, Program) else Program(root)


@contextmanager
def _mistakes_in(path: Path) -> Iterator[None]:
    """What a file raises while it is loaded is its user's mistake: its own lines, and one of ours."""
    from reactornb import loading

    try:
        yield
    except ReactorError:
        raise
    except Exception as error:
        frames = _frames_of_the_file(error)
        if not frames and not isinstance(error, SyntaxError):
            raise  # a bug of ours
        print("".join(traceback.format_list(frames)), end="", file=sys.stderr)
        raise loading.ProgramFileError(f"{path}: {type(error).__name__}: {error}") from error


def _load_lf(path: Path, name: str | None, parameters: dict[str, Any]) -> tuple[Program, dict[str, Any]]:
    """A Lingua Franca program and the options of its target declaration; what has no meaning here is said in one line each."""
    import warnings

    from reactornb import lf, loading
    from reactornb.errors import UnknownNameError, suggestion
    from reactornb.runtime import Program

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(str(message))
        try:
            with loading.guard_exit(path):
                loaded = lf.load(path)
        except OSError as error:
            raise loading.ProgramFileError(f"{path}: {error.strerror or error}.") from None
        if name is None or (loaded.main is not None and loaded.main.__name__ == name):
            if parameters and loaded.main is not None:
                return Program(loading.make(loaded.main, parameters)), loaded.options
            return loaded.program(), loaded.options
        if name not in loaded.reactors:
            words = f"{path}: there is no reactor {name!r}. {suggestion(name, loaded.reactors)}"
            raise UnknownNameError(words, unknown=name)
        return Program(loading.make(loaded.reactors[name], parameters)), loaded.options


def _frames_of_the_file(error: Exception) -> list[traceback.FrameSummary]:
    """The traceback without our frames; empty if none is left."""
    package = str(Path(__file__).parent)
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(package)]


def _run(chosen: argparse.Namespace) -> int:
    from reactornb.cli.progress import follow
    from reactornb.cli.report import report
    from reactornb.runtime.crashes import crash_report

    signals: SignalHandler = chosen.signals
    if chosen.timeline is not None:
        check_writable(chosen.timeline)
    with crash_report():
        run = _start(chosen, signals)
        try:
            follow(run, signals, _console, progress=_wants_progress(chosen), walltime_s=chosen.walltime)
        except BaseException:  # a handler of the program's own has raised
            run.stop(None)
            raise
    return report(
        run, signals, _console, quiet=chosen.quiet, profile=getattr(chosen, "profile", False), timeline=chosen.timeline
    )


def _start(chosen: argparse.Namespace, signals: SignalHandler) -> Run:
    from reactornb.cli.progress import begin

    parameters = dict(chosen.parameters)
    target: dict[str, Any] = {}
    if chosen.file.suffix == ".lf":
        program, target = _load_lf(chosen.file, chosen.main, parameters)
    else:
        program = _load(chosen.file, chosen.main, **parameters)
    if signals.count:  # something has caught the signal's exception
        raise Signalled
    given = given_options(vars(chosen))
    if chosen.timeline is not None:
        given["profile"] = True
    return begin(program, **{**target, **given})


def _wants_progress(chosen: argparse.Namespace) -> bool | None:
    return False if chosen.quiet and not chosen.progress else (chosen.progress or None)


def _graph(chosen: argparse.Namespace) -> int:
    from reactornb.viz import dot

    graph = _load(chosen.file, chosen.main).graph
    if chosen.output is None:
        print(dot.text(graph, depth=chosen.depth).rstrip())
    else:
        _say(f"wrote {dot.save(graph, chosen.output, levels=chosen.levels, depth=chosen.depth)}")
    return 0


def _check(chosen: argparse.Namespace) -> int:
    from reactornb import lf, loading

    bad = 0
    for path in chosen.files:
        try:
            if path.suffix == ".lf":
                with loading.guard_exit(path):
                    found = [(problem.kind, str(problem.message)) for problem in lf.check(path)]
            else:
                found = _problems(path)
        except OSError as error:
            found = [("error", f"{path}: {error.strerror or error}.")]
        except (ReactorError, ValueError) as error:
            found = [("error", str(error))]
        bad += any(kind == "error" for kind, _ in found)
        for kind, words in found:
            print(f"{kind}: {words}")
        if not found:
            print(f"{path}: good")
    return FAILED if bad else 0


def _problems(path: Path) -> list[tuple[str, str]]:
    """What is wrong with the programs of a `.py` file or a notebook: kind and words."""
    from reactornb import loading
    from reactornb.model.spec import REQUIRED
    from reactornb.runtime import Program

    with _mistakes_in(path):
        loaded = loading.load(path)
    found = [("warning", words) for words in loaded.notes]
    found += [("error", str(error)) for name, error in loaded.problems.items() if name not in loaded.caught]
    programs = list(loaded.programs())
    for name, root, parameters in programs:
        try:
            with _mistakes_in(path):
                made = loading.make(root, parameters) if isinstance(root, type) else root
                if not isinstance(made, Program):
                    Program(made)
        except ReactorError as error:
            if name not in loaded.caught:
                found.append(("error", str(error)))
    for name, cls in loaded.outer().items():
        missing = [p for p, default in cls._spec.parameters.items() if default is REQUIRED]
        if missing:
            words = (
                f"{cls._definition}: {name} cannot be checked by itself: its parameter {missing[0]!r} has no default."
            )
            found.append(("skipped", words))
            programs.append((name, cls, {}))
    if not programs:
        loaded.root()  # says that there is none
    return list(dict.fromkeys(found))


def _demo(chosen: argparse.Namespace) -> int:
    from reactornb.demo import run_demo

    return run_demo(notebook=chosen.notebook, out=chosen.out, timeout=chosen.timeout)


def _bench(chosen: argparse.Namespace) -> int:
    from importlib import import_module

    from reactornb.errors import suggestion

    # Read, not imported: some need torch, and all of them together seconds. What they share has no `main`.
    files = Path(__file__).with_name("bench").glob("*.py")
    texts = {path.stem.replace("_", "-"): ast.parse(path.read_text(encoding="utf-8")) for path in files}
    there = sorted(
        name
        for name, text in texts.items()
        if any(isinstance(part, ast.FunctionDef) and part.name == "main" for part in text.body)
    )
    if chosen.name is None:
        for name in there:
            print(f"reactornb bench {name:11} {(ast.get_docstring(texts[name]) or '').partition(chr(10))[0]}")
        return 0
    if chosen.name not in there:
        _say(f"there is no benchmark {chosen.name!r}. {suggestion(chosen.name, there)}")
        return MISTAKE
    try:
        module = import_module(f"reactornb.bench.{chosen.name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if (error.name or "reactornb").startswith("reactornb"):
            raise  # a bug of ours
        _say(f"the benchmark {chosen.name} needs {error.name}: pip install reactornb[rl]")
        return MISTAKE
    return int(module.main(chosen.options) or 0)


def _doctor(chosen: argparse.Namespace) -> int:
    from reactornb.doctor import main as examine

    return examine(as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
