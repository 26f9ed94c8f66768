"""The commands of `reactornb`: each takes the parsed command line and returns the exit status.

Nothing heavy is imported before a command needs it, so that `reactornb --help` is quick.
"""

from __future__ import annotations

import argparse
import ast
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reactornb
from reactornb.cli.console import Console
from reactornb.cli.signals import SignalHandler, Signalled
from reactornb.errors import DeclarationError, ReactorError
from reactornb.files import check_writable
from reactornb.options import given_options

if TYPE_CHECKING:
    from reactornb.runtime import Program, Run

__all__ = [
    "FAILED",
    "MISTAKE",
    "bench",
    "check",
    "console",
    "demo",
    "diff",
    "doctor",
    "finish",
    "graph",
    "load",
    "mistakes_in",
    "paper",
    "run",
]

FAILED, MISTAKE = 1, 2

console = Console()


def load(path: Path, name: str | None, /, **parameters: Any) -> Program:
    """The program in a file, whatever kind of file it is."""
    from reactornb import loading
    from reactornb.runtime import Program

    if path.suffix == ".lf":
        return _load_lf(path, name, parameters)[0]
    with mistakes_in(path):
        root = loading.load(path).root(name, parameters=bool(parameters))
        if isinstance(root, type):
            return Program(loading.make(root, parameters))
    if parameters:
        raise DeclarationError(f"{path}: its program is made already; NAME=VALUE needs a class.")
    return root if isinstance(root, Program) else Program(root)


@contextmanager
def mistakes_in(path: Path) -> Iterator[None]:
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
        warnings.showwarning = lambda message, *_: console.say(str(message))
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
    package = str(Path(reactornb.__file__).parent)
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(package)]


def run(chosen: argparse.Namespace) -> int:
    """Run a program and report on it."""
    return finish(chosen, lambda signals: _start(chosen, signals))


def finish(chosen: argparse.Namespace, start: Callable[[SignalHandler], Run]) -> int:
    """Start a run, follow it to its end, and report on it.

    Args:
        chosen: the command line.
        start: starts the run.
    """
    from reactornb.cli.progress import follow
    from reactornb.cli.report import report
    from reactornb.runtime.crashes import crash_report

    signals: SignalHandler = chosen.signals
    for path in (chosen.timeline, chosen.fingerprint_log):
        if path is not None:
            check_writable(path)
    with crash_report():
        run = start(signals)
        try:
            follow(run, signals, console, progress=_wants_progress(chosen), walltime_s=chosen.walltime)
        except BaseException:  # a handler of the program's own has raised
            run.stop(None)
            raise
    return report(
        run, signals, console, quiet=chosen.quiet, profile=getattr(chosen, "profile", False), timeline=chosen.timeline,
        fingerprint_log=chosen.fingerprint_log,
    )  # fmt: skip


def _start(chosen: argparse.Namespace, signals: SignalHandler) -> Run:
    from reactornb.cli.progress import begin

    parameters = dict(chosen.parameters)
    target: dict[str, Any] = {}
    if chosen.file.suffix == ".lf":
        program, target = _load_lf(chosen.file, chosen.main, parameters)
    else:
        program = load(chosen.file, chosen.main, **parameters)
    if signals.count:  # something has caught the signal's exception
        raise Signalled
    given = given_options({name: value for name, value in vars(chosen).items() if name != "fingerprint_log"})  # a file
    if chosen.timeline is not None:
        given["profile"] = True
    if chosen.fingerprint_log is not None:
        given["fingerprint_log"] = True
    return begin(program, **{**target, **given})


def _wants_progress(chosen: argparse.Namespace) -> bool | None:
    return False if chosen.quiet and not chosen.progress else (chosen.progress or None)


def graph(chosen: argparse.Namespace) -> int:
    """Draw the graph of a program."""
    from reactornb.viz import dot

    graph = load(chosen.file, chosen.main).graph
    if chosen.output is None:
        print(dot.text(graph, depth=chosen.depth).rstrip())
    else:
        console.say(f"wrote {dot.save(graph, chosen.output, levels=chosen.levels, depth=chosen.depth)}")
    return 0


def check(chosen: argparse.Namespace) -> int:
    """Load and assemble programs without running them."""
    from reactornb import lf, loading

    bad = 0
    for path in chosen.files:
        try:
            if path.suffix == ".lf":
                with loading.guard_exit(path):
                    problems = [(problem.kind, str(problem.message)) for problem in lf.check(path)]
            else:
                problems = _problems(path)
        except OSError as error:
            problems = [("error", f"{path}: {error.strerror or error}.")]
        except (ReactorError, ValueError) as error:
            problems = [("error", str(error))]
        bad += any(kind == "error" for kind, _ in problems)
        for kind, words in problems:
            print(f"{kind}: {words}")
        if not problems:
            print(f"{path}: good")
    return FAILED if bad else 0


def _problems(path: Path) -> list[tuple[str, str]]:
    """What is wrong with the programs of a `.py` file or a notebook: kind and words."""
    from reactornb import loading
    from reactornb.model.spec import REQUIRED
    from reactornb.runtime import Program

    with mistakes_in(path):
        loaded = loading.load(path)
    problems = [("warning", words) for words in loaded.notes]
    problems += [("error", str(error)) for name, error in loaded.problems.items() if name not in loaded.caught]
    programs = list(loaded.programs())
    for name, root, parameters in programs:
        try:
            with mistakes_in(path):
                program = loading.make(root, parameters) if isinstance(root, type) else root
                if not isinstance(program, Program):
                    Program(program)
        except ReactorError as error:
            if name not in loaded.caught:
                problems.append(("error", str(error)))
    for name, cls in loaded.outer().items():
        missing = [p for p, default in cls._spec.parameters.items() if default is REQUIRED]
        if missing:
            words = (
                f"{cls._definition}: {name} cannot be checked by itself: its parameter {missing[0]!r} has no default."
            )
            problems.append(("skipped", words))
            programs.append((name, cls, {}))
    if not programs:
        loaded.root()  # says that there is none
    return list(dict.fromkeys(problems))


def diff(chosen: argparse.Namespace) -> int:
    """Say where two runs parted."""
    from reactornb.runtime.fingerprint_log import FingerprintLog

    try:
        a, b = (FingerprintLog.load(path) for path in (chosen.a, chosen.b))
    except OSError as error:
        console.say(f"{error.filename}: {error.strerror or error}.")
        return MISTAKE
    if a.program != b.program:
        console.say(f"two programs: {a.program} and {b.program}")
    if a.seed != b.seed:
        console.say(f"two seeds: {a.seed} and {b.seed}")
    found = a.difference(b)
    if found is None:
        print(f"no difference: {len(a):,} writes")
        return 0
    print(f"the first difference: tag {found.tag}, {found.name}{found.writer and f', written by {found.writer}'}")
    for path, hashed in zip((chosen.a, chosen.b), found.hashes, strict=True):
        print(f"  {hashed or 'nothing':16}  {path}")
    if found.others:
        more = f", and {len(found.others) - 5} more" if len(found.others) > 5 else ""
        print(f"at that tag also: {', '.join(found.others[:5])}{more}")
    return FAILED


def demo(chosen: argparse.Namespace) -> int:
    """Execute the quick-start notebook."""
    from reactornb.demo import run_demo

    return run_demo(notebook=chosen.notebook, out=chosen.out, timeout=chosen.timeout)


def bench(chosen: argparse.Namespace) -> int:
    """Run a benchmark, or list them."""
    from importlib import import_module

    from reactornb.errors import suggestion

    # Read, not imported: some need torch, and all of them together seconds. What they share has no `main`.
    files = Path(reactornb.__file__).with_name("bench").glob("*.py")
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
        console.say(f"there is no benchmark {chosen.name!r}. {suggestion(chosen.name, there)}")
        return MISTAKE
    try:
        module = import_module(f"reactornb.bench.{chosen.name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if (error.name or "reactornb").startswith("reactornb"):
            raise  # a bug of ours
        console.say(f"the benchmark {chosen.name} needs {error.name}: pip install reactornb[rl]")
        return MISTAKE
    return int(module.main(chosen.options) or 0)


def paper(chosen: argparse.Namespace) -> int:
    """Measure the experiments of the paper, and write a page of them."""
    from importlib import import_module

    try:
        module = import_module("reactornb.bench.paper")  # by its name: nothing but the command line knows of benchmarks
    except ModuleNotFoundError as error:
        if (error.name or "reactornb").startswith("reactornb"):
            raise  # a bug of ours
        console.say(f"the paper's page needs {error.name}: pip install reactornb[notebook,rl]")
        return MISTAKE
    return int(module.main(chosen.options))


def doctor(chosen: argparse.Namespace) -> int:
    """Check this machine and environment."""
    from reactornb.doctor import main as examine

    return examine(as_json=chosen.json)
