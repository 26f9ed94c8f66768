"""`reactornb runs list | show | compare | export | tag | untag | remove`: the runs that were kept, without a notebook.

Each command takes the parsed command line and returns the exit status; what it shows goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactornb.cli.console import Console

if TYPE_CHECKING:
    from reactornb.durable.runs import Runs

__all__ = ["add_commands"]

_console = Console()
_MISTAKE = 2
_KINDS = ("csv", "parquet", "tensorboard", "mlflow", "wandb")  # as in durable.exports, which --help does not load


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `reactornb runs` its commands; without one it lists."""
    _add_root(parser)
    _add_list(parser)
    parser.set_defaults(runs=show_list)
    subparsers = parser.add_subparsers(metavar="COMMAND")

    def command(name: str, call: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=about, description=about)
        # Suppressed where not given: or it would replace what was given before the command.
        _add_root(made, argparse.SUPPRESS)
        made.set_defaults(runs=call)
        return made

    listed = command("list", show_list, "Runs as a table, the newest first.")
    _add_list(listed, argparse.SUPPRESS)
    show = command("show", show_one, "All that is known of a run.")
    show.add_argument("run")
    show.add_argument("--source", metavar="CELL", help="print the source of that cell instead")
    compare = command("compare", show_difference, "How runs differ: parameters, versions, sources, metrics.")
    compare.add_argument("names", nargs="+", metavar="RUN")
    export = command("export", write_export, "Write runs for other programs.")
    export.add_argument("names", nargs="*", metavar="RUN", help="all of them unless given")
    export.add_argument(
        "--to", required=True, choices=_KINDS, help="mlflow and wandb (offline) need their packages, parquet pyarrow"
    )
    export.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PATH", help="a file for csv and parquet, else a folder"
    )
    export.add_argument("--where", metavar="CONDITION", help="as for list")
    for name, call, about in (
        ("tag", add_labels, "Put words on a run, by which list finds it."),
        ("untag", remove_labels, "Take words off a run; all of them unless given."),
    ):
        labels = command(name, call, about)
        labels.add_argument("run")
        labels.add_argument("words", nargs="+" if name == "tag" else "*", metavar="WORD")
    remove = command("remove", remove_run, "Delete a run with all its checkpoints. Asks for its name once more.")
    remove.add_argument("run")
    remove.add_argument("--confirm", metavar="RUN", help="its name once more, where nobody can be asked")


def _add_root(parser: argparse.ArgumentParser, default: Any = None) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=default,
        metavar="FOLDER",
        help="the folder of the runs: $REACTORNB_RUNS or ./runs unless given",
    )


def _add_list(parser: argparse.ArgumentParser, default: Any = None) -> None:
    parser.add_argument(
        "--where",
        default=default,
        metavar="CONDITION",
        help="only these: \"learner.lr < 1e-3 and state == 'finished'\"",
    )
    parser.add_argument("--label", default=default, metavar="WORD", help="only those that were tagged with it")
    parser.add_argument("--sort", default=default, metavar="NAME", help="by a fact, a parameter or a metric")
    parser.add_argument("--reverse", action="store_true", default=default or False, help="the greatest first")
    parser.add_argument("--json", action="store_true", default=default or False, help="the same, for programs")


def _runs(chosen: argparse.Namespace) -> Runs:
    from reactornb.durable.runs import Runs

    return Runs(chosen.root)


def show_list(chosen: argparse.Namespace) -> int:
    """A table of runs."""
    runs = _runs(chosen)
    total = len(runs)
    if chosen.where or chosen.label:
        runs = runs.where(chosen.where, **({"label": chosen.label} if chosen.label else {}))
    if chosen.sort:
        runs = runs.sort(chosen.sort, reverse=chosen.reverse)
    if chosen.json:
        print(json.dumps([_plain(run) for run in runs], indent=1))
    elif total and not len(runs):
        _console.say(f"none of {total:,} runs is like that.")
    else:
        print(runs)
    return 0


def _plain(run: Any) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "id": run.id,
        "program": run.program,
        "state": run.state,
        "seed": run.seed,
        "began": None if run.began is None else run.began.isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "tag": list(run.tag),
        "labels": list(run.labels),
        "parent": None if run.parent is None else [run.parent.run, list(run.parent.tag)],
        "commit": run.commit,
        "fingerprint": run.fingerprint,
        "parameters": run.parameters,
        "last": {name: summary.last for name, summary in run.summaries.items()},
    }


def show_one(chosen: argparse.Namespace) -> int:
    """All that is known of a run, or one of its sources."""
    from reactornb.errors import suggestion
    from reactornb.viz.runs_view import run_text

    run = _runs(chosen)[chosen.run]
    if chosen.source is None:
        print(run_text(run))
        return 0
    sources = run.sources
    if chosen.source not in sources:
        _console.say(f"run {run.id} has no cell {chosen.source!r}. {suggestion(chosen.source, sources)}")
        return _MISTAKE
    print(sources[chosen.source].encode("utf-8", "replace").decode(), end="")
    return 0


def show_difference(chosen: argparse.Namespace) -> int:
    """How runs differ."""
    print(_runs(chosen).compare(*chosen.names))
    return 0


def write_export(chosen: argparse.Namespace) -> int:
    """Write runs for another program."""
    runs = _runs(chosen)
    if chosen.names:
        runs = runs.where(f"id in {[runs[name].id for name in chosen.names]!r}")
    if chosen.where:
        runs = runs.where(chosen.where)
    path = runs.export(chosen.to, chosen.output)
    _console.say(f"wrote {len(runs):,} run{'' if len(runs) == 1 else 's'} to {path}")
    return 0


def add_labels(chosen: argparse.Namespace) -> int:
    """Tag a run."""
    print(f"{chosen.run}: {', '.join(_runs(chosen).tag(chosen.run, *chosen.words).labels)}")
    return 0


def remove_labels(chosen: argparse.Namespace) -> int:
    """Take tags off a run."""
    print(f"{chosen.run}: {', '.join(_runs(chosen).untag(chosen.run, *chosen.words).labels) or 'no labels'}")
    return 0


def remove_run(chosen: argparse.Namespace) -> int:
    """Delete a run, once its name was repeated."""
    from reactornb.durable.runs import NotConfirmedError

    runs = _runs(chosen)
    run, confirm = runs[chosen.run], chosen.confirm
    if confirm is None and sys.stdin is not None and sys.stdin.isatty():
        size = f"{run.checkpoint_count} checkpoints, {run.nbytes / 1e6:,.1f} MB"
        confirm = input(f"Delete run {run.id} ({size})? It cannot be brought back. Type its name: ").strip()
    try:
        runs.delete(run, confirm=confirm or "")
    except NotConfirmedError:
        _console.say(f"run {run.id} stays: --confirm {run.id} deletes it.")
        return _MISTAKE
    _console.say(f"deleted run {run.id}")
    return 0
