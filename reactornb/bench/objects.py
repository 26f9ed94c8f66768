"""Sixteen clients that sleep and return arrays of 1 KB to 500 MB: what a round takes over the sleep; the paper's experiment 2.

Programs, limits and peers are those of `bench actors`; 1 KB are 1,024 bytes. By reference the size must not matter; a copy may take what
threads need that make it without a scheduler. Sizes that the memory here does not hold are left out and named.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from reactornb.bench.actors import KINDS, Case, add_options, measure
from reactornb.bench.measure import Ratio, Report, options, positive

__all__ = ["main", "size_in_bytes", "size_word"]

SIZES = "1KB,100KB,1MB,10MB,100MB,300MB,500MB"
UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}
WITHIN = 2.0  # times the smallest size's overhead, by reference
COPY_WITHIN = 1.2  # times that of threads that copy, from COPY_FROM on
COPY_FROM = 10 * 2**20


def size_in_bytes(text: str) -> int:
    """A size such as 1KB, 10MB or 4096.

    Raises:
        argparse.ArgumentTypeError: if it is none, or not whole numbers of eight bytes.
    """
    found = re.fullmatch(r"(\d+) ?([KMG]?B)?", text.strip())
    size = int(found[1]) * UNITS[found[2] or "B"] if found else 0
    if size < 8 or size % 8:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 1KB or 10MB, a multiple of 8 bytes")
    return size


def size_word(size: int) -> str:
    """The shortest way to write a size: 10 MB."""
    unit = next(unit for unit in reversed(UNITS) if size >= UNITS[unit] and size % UNITS[unit] == 0)
    return f"{size // UNITS[unit]} {unit}"


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(size_in_bytes(word) for word in text.split(","))


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("objects", __doc__, repeats=3, workers=None)
    parser.add_argument("--sizes", type=_sizes, default=_sizes(SIZES), metavar="SIZE,SIZE", help=f"({SIZES})")
    parser.add_argument("--clients", type=positive, default=16, help="how many (%(default)s)")
    add_options(parser)
    chosen = parser.parse_args(argv)
    sizes = sorted(set(chosen.sizes))
    report = Report(
        "objects", {"sizes": sizes, **{name: getattr(chosen, name) for name in ("clients", "sleep", "rounds")}}
    )
    cases = [Case(f"{size_word(size)}, ", chosen.clients, size) for size in sizes]
    measure(report, chosen, cases)
    for case in cases:
        for kind in KINDS.values():
            bar = COPY_WITHIN if kind == KINDS[True] and case.size >= COPY_FROM else None
            report.ratio(f"reactors, {kind}", f"threads, {kind}", case.label, at_most=bar)
        for name in chosen.peers:
            report.ratio("reactors, by reference", name, case.label)
            report.ratio("reactors, copied", name, case.label)
    _compare_sizes(report, cases)
    return report.finish(chosen)


def _compare_sizes(report: Report, cases: Sequence[Case]) -> None:
    """By reference: the largest size that was measured beside the smallest one."""
    name = "reactors, by reference"
    there = [case for case in cases if case.label + name in report.figures]
    if len(there) < 2:
        return
    smallest, largest = there[0], there[-1]
    one, other = report.figures[largest.label + name], report.figures[smallest.label + name]
    bar = WITHIN if (smallest.size, largest.size) == (2**10, 500 * 2**20) else None
    title = f"{name}: {size_word(largest.size)} / {size_word(smallest.size)}"
    values = [a / b for a, b in zip(one, other, strict=True)]
    report.ratios.append(Ratio(title, values, at_most=bar, of_lowest=min(one) / min(other)))
