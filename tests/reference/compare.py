"""One program through the interpreter and through the scheduler with 1, 2 and 4 workers; what differs is told in words."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from itertools import zip_longest
from unittest.mock import patch

import numpy
import programs
from interpreter import interpret, leaves_open
from programs import make

from reactornb import Program, cpu, ns
from reactornb.errors import AssemblyError, ReactionError, RunError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.sharing import Policy
from reactornb.testing import FakeClock

__all__ = ["WAYS", "Different", "check", "check_apart", "compare", "place_once", "put_apart", "without_deadlines"]

DEFAULT_NS = Policy.share_above_ns
# (workers, the work in ns above which a level is shared, the fused loop): alone, always sharing, and as it comes
WAYS = [(1, DEFAULT_NS, True), (2, 0, True), (4, 0, True), (2, DEFAULT_NS, True), (1, DEFAULT_NS, False), (2, 0, False)]
# Looking at the machine's cores takes longer than one of these programs.
place_once = functools.cache(cpu.place)


class Different(AssertionError):  # noqa: N818 - what the test says, not something that went wrong in it
    """Two ways of running a program disagree."""


def check(drawn, ways=WAYS):
    """Run a program every way and compare.

    Args:
        drawn: `programs.Drawn`.

    Returns:
        How many reactions ran, or what assembly said.

    Raises:
        AssemblyError: if the program is refused.
        EndlessError: if it goes on for too long.
        Different: if a trace is not what it should be.
    """
    program = Program(make(drawn.source))
    graph = program.graph
    executions, writes = interpret(graph, timeout=drawn.timeout)
    names = [r.name for r in graph.reactions]
    expected = sorted((tag, names[i]) for tag, i in executions), sorted(writes, key=_by_tag_and_name)
    open_order = leaves_open(graph)
    first = None
    for workers, above_ns, fused in ways:
        way = f"{workers} workers, sharing above {above_ns} ns, the {'fused' if fused else 'plain'} loop"
        with (
            patch.object(Scheduler, "fused", fused),
            patch.object(LevelRunner, "policy", Policy(share_above_ns=above_ns)),
            patch.object(cpu, "place", place_once),
        ):
            result = run(program, drawn, workers)
            trace, fingerprint = result.trace, result.fingerprint
        if not open_order:
            compare(expected[0], sorted(trace.executions), f"reactions, {way}", drawn)
            compare(expected[1], sorted(trace.writes, key=_by_tag_and_name), f"values, {way}", drawn)
        this = trace.executions, trace.writes, fingerprint
        if first is not None and first != this:
            raise Different(f"the order of the trace or the fingerprint depends on the workers ({way}):\n{drawn!r}")
        first = this
    plain = unrecorded(program, drawn, 1, fused=False)
    for workers in (1, 2):
        fast = unrecorded(program, drawn, workers, fused=True)
        compare(plain, fast, f"nothing recorded, the plain loop and the fused one with {workers} workers,", drawn)
    return len(executions)


def unrecorded(program, drawn, workers, *, fused):
    """What each reaction read and became, in a run of which nothing is recorded: only then does the fused loop take its short ways."""
    programs.seen = behaved = []
    try:
        with patch.object(Scheduler, "fused", fused), patch.object(cpu, "place", place_once):
            running = program.start(
                workers=workers, until=ns(drawn.timeout), fast=drawn.fast, clock=FakeClock(), placement="none"
            )
            try:
                running.result(20.0)
            finally:
                running.stop()
    finally:
        programs.seen = None
    return sorted(behaved)


def check_apart(drawn, salt):
    """Put some of a program's reactors into enclaves, and compare with the program as it was.

    A stop that an enclave asks for comes when all can know of it, maybe later than without enclaves: then what was
    executed before the earlier end is compared, and the rest for different numbers of workers.

    Returns:
        What became of it: "compared", or why it was not.

    Raises:
        AssemblyError, EndlessError, Different: as `check`.
    """
    drawn = without_deadlines(drawn)
    apart = put_apart(drawn.source, salt)
    if apart == drawn.source:
        return "nothing to put apart"
    plain = Program(make(drawn.source))
    interpret(plain.graph, timeout=drawn.timeout)  # ends, that is
    try:
        program = Program(make(apart))
    except AssemblyError:
        return "messages could come back at once"
    first = None
    with patch.object(cpu, "place", place_once):
        expected = run(plain, drawn, 1)
        trace = expected.trace
        for workers, above_ns, fused in WAYS:
            with (
                patch.object(LevelRunner, "policy", Policy(share_above_ns=above_ns)),
                patch.object(Scheduler, "fused", fused),
            ):
                try:
                    result = run(program, drawn, workers)
                except (ReactionError, RunError) as error:
                    if "cannot end the run" not in str(error):
                        raise
                    return "nothing leads back"
            found, this = result.trace, result.fingerprint
            end = (1 << 62, 0) if result.tag == expected.tag else min(result.tag, expected.tag)
            shown = replace(drawn, source=apart)
            what = f"enclaves, {workers} workers, sharing above {above_ns} ns, fused: {fused}"
            compare(before(trace.executions, end), before(found.executions, end), f"reactions, {what}", shown)
            compare(before(trace.writes, end), before(found.writes, end), f"values, {what}", shown)
            if result.tag == expected.tag and this != expected.fingerprint:
                raise Different(f"the fingerprint is another one: {what}:\n{shown!r}")
            if first is not None and first != (found.executions, found.writes, this):
                raise Different(f"the trace depends on the workers: {what}:\n{shown!r}")
            first = found.executions, found.writes, this
    return "compared"


def without_deadlines(drawn):
    """The program without its deadlines: with enclaves, the fake clock jumps whenever some enclave waits."""
    return replace(drawn, source=re.sub(r"(, )?deadline=ns\(\d+\)", "", drawn.source))


def put_apart(source, salt):
    """A program with some of its reactors in enclaves of their own."""
    draw = numpy.random.default_rng(salt)
    return re.sub(
        r"^(    c\d+ = )(.*)$",
        lambda m: m[0] if draw.random() < 0.4 else f"{m[1]}enclave({m[2]}, each={draw.random() < 0.3})",
        source,
        flags=re.MULTILINE,
    )


def before(rows, end):
    return sorted(row for row in rows if row[0] < end)


def run(program, drawn, workers):
    running = program.start(
        workers=workers, until=ns(drawn.timeout), fast=drawn.fast, clock=FakeClock(), trace=True, fingerprint=True,
        placement="none",
    )  # fmt: skip
    try:
        result = running.result(20.0)
    finally:
        running.stop()
    return result


def compare(expected, found, what, drawn):
    if expected == found:
        return
    at = next(i for i, (a, b) in enumerate(zip_longest(expected, found)) if a != b)
    lines = [f"{what} differ after {at} that agree:"]
    for who, rows in (("interpreter", expected), ("scheduler", found)):
        lines.append(f"  {who}: " + "; ".join(" ".join(map(str, row)) for row in rows[at : at + 6]))
    raise Different("\n".join(lines) + f"\n{drawn!r}")


def _by_tag_and_name(row):
    return row[0], row[1]
