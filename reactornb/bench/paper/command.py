"""The command line of `reactornb paper`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reactornb.bench.paper import figures, page, results
from reactornb.bench.paper.experiments import PARTS, Part, Settings
from reactornb.bench.paper.running import is_there, run_parts
from reactornb.bench.peers import names_for
from reactornb.cli.console import Console
from reactornb.files import check_writable, make_folder

__all__ = ["main"]

ABOUT = """\
Measure the paper's six experiments, and what more workers and shards give, and write one page: figures beside the paper's own, ratios with
their spread, machine, versions and commands. --quick takes 4 minutes on two idle cores, and 15 with --peers ray,xronos; the whole half an hour
and an hour. A part whose JSON is there and names the same command is not measured again; so a run that was ended goes on.
"""


def main(argv: Sequence[str]) -> int:
    """Measure what is missing, and write the page.

    Args:
        argv: words of the command line.

    Returns:
        0; 1 if a part or a peer could not be measured, or with --check a bar is missed.
    """
    chosen = _parsed(argv)
    settings = Settings(chosen.quick, tuple(chosen.peers), chosen.as_published)
    console = Console()
    out: Path = chosen.out
    make_folder(out)
    check_writable(out / "index.html")
    wanted = [part for part in PARTS if part.number in chosen.only]
    missing = [] if chosen.draw else [part for part in wanted if chosen.again or not is_there(part, settings, out)]
    for part in wanted if not chosen.draw else ():
        if part not in missing:
            console.say(f"{part.number}. {part.title} is there already; --again measures it anew")
    failures = run_parts(missing, settings, out, console)
    found = results.read(out)
    absent = [f"{f.part.number}. {f.part.title} was not measured: {f.why}" for f in failures]
    absent += [
        f"{number}. {_named(number).title}: {', '.join(result.data['missing'])} was not measured"
        for number, result in found.items()
        if result.data["missing"]
    ]
    charts, rows = results.charts(found), results.rows(found)
    for chart in charts:
        figures.save(chart, out)
    written = page.write_page(out, charts, rows, found, absent)
    if chosen.markdown is not None:
        console.say(f"written: {page.write_markdown(chosen.markdown, rows, charts, found)}")
    for row in rows:
        if row.met is False:
            console.say(f"missed: {row.number}. {row.what}: {row.median:.3g}, {row.bar} was wanted")
    console.say(f"written: {written}")
    return int(bool(absent) or (chosen.check and any(row.met is False for row in rows)))


def _named(number: int) -> Part:
    return next(part for part in PARTS if part.number == number)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="reactornb paper", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    there = sorted({name for part in PARTS if part.takes_peers for name in names_for(part.benchmark)})
    parser.add_argument("--quick", action="store_true", help="short sizes")
    parser.add_argument(
        "--peers",
        type=lambda text: _peers(text, there),
        default=[],
        metavar="NAME,NAME",
        help=f"measure these as well where a part has them, installed at first use: {', '.join(there)}",
    )
    parser.add_argument(
        "--as-published",
        action="store_true",
        help="also the paper's own variants: copies made by actors; printing, one seed",
    )
    parser.add_argument(
        "--only",
        type=_experiments,
        default=tuple(part.number for part in PARTS),
        metavar="N,N",
        help="experiments (all)",
    )
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--draw", action="store_true", help="measure nothing: write the page from what is there")
    parser.add_argument("--out", type=Path, default=Path("out/paper"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument(
        "--markdown",
        nargs="?",
        type=Path,
        const=Path("MEASUREMENTS.md"),
        metavar="FILE",
        help="write the tables between two marks of a Markdown file, too (MEASUREMENTS.md)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    return parser.parse_args(argv)


def _peers(text: str, there: Sequence[str]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in there:
            raise argparse.ArgumentTypeError(f"there is no peer {name!r}; there are {', '.join(there)}")
    return names


def _experiments(text: str) -> tuple[int, ...]:
    numbers = {part.number for part in PARTS}
    words = text.split(",")
    if not all(word.isdigit() and int(word) in numbers for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of experiments, 1 to {max(numbers)}")
    return tuple(int(word) for word in words)
