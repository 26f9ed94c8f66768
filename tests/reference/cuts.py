"""One program cut at some of its tags, or as often as it goes, and resumed from each cut: the rest of it is the rest of the whole run."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from unittest.mock import patch

import numpy
import programs
from compare import WAYS, Different, compare, place_once, put_apart, without_deadlines
from cut_keeper import Copies, kept, through_codec
from interpreter import interpret
from programs import make

from reactornb import Program, cpu, ns
from reactornb.errors import AssemblyError, ReactionError, RunError
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.sharing import Policy
from reactornb.testing import FakeClock

__all__ = ["check_cuts"]


class Ran:
    """What a run did: rows that begin with a tag and an enclave, and how it ended."""

    def __init__(self, program, running, seen):
        result = running.result(20.0)
        self.tag, self.fingerprint = result.tag, result.fingerprint
        if result.trace is None:
            reactors = {node.name: node.enclave for node in program.graph.reactors}
            self.rows = sorted(((time, step), reactors[name], name, salt, h) for time, step, name, salt, h in seen)
            return
        schedule = running._engine.schedule
        enclaves = {r.name: r.enclave for r in schedule.reactions} | {s.name: s.enclave for s in schedule.signals}
        self.rows = [(tuple(tag), enclaves[name], name) for tag, name in result.trace.executions]
        self.rows += [(tuple(tag), enclaves[name], name, value) for tag, name, value in result.trace.writes]

    def after(self, cut):
        """What came after a cut, and the end."""
        tags = [part.tag for part in cut.enclaves]
        return [row for row in self.rows if row[0] > tags[row[1]]], self.tag, self.fingerprint


@contextlib.contextmanager
def a_way(way):
    """Runs that begin and end meanwhile go one way of `WAYS`; gives the number of workers."""
    workers, above_ns, fused = way
    with (
        patch.object(LevelRunner, "policy", Policy(share_above_ns=above_ns)),
        patch.object(Scheduler, "fused", fused),
        patch.object(cpu, "place", place_once),
    ):
        yield workers


def ran(program, drawn, way, *, record, keeper=None, cut=None):
    """Run a program to its end.

    Args:
        program, drawn, way: what, and how.
        record: keep trace and fingerprint; else what `programs.seen` has is compared, and the fused loop takes its short ways.
        keeper, cut: who keeps it, and from where it goes on.
    """
    programs.seen = seen = []
    try:
        with a_way(way) as workers, contextlib.nullcontext() if keeper is None else kept(keeper, cut):
            running = program.start(
                workers=workers, until=ns(drawn.timeout), fast=drawn.fast, clock=FakeClock(), placement="none",
                trace=record, fingerprint=record,
            )  # fmt: skip
            try:
                if keeper is not None:
                    keeper.cut_at_tags(running)
                return Ran(program, running, seen)
            finally:
                running.stop()
    finally:
        programs.seen = None


def check_cuts(drawn, salt, *, apart=False):
    """Cut a program at random tags, and as often as it goes, and compare what follows with the whole run.

    Args:
        drawn: `programs.Drawn`.
        salt: decides about tags, ways and enclaves.
        apart: put some of its reactors into enclaves.

    Returns:
        How many cuts were resumed from, or why none.

    Raises:
        AssemblyError, EndlessError, Different: as `compare.check`.
    """

    def check(program, drawn, draw):
        return sum(_check(program, drawn, draw, record=record) for record in (True, False))

    return checked(drawn, salt, check, apart=apart)


def checked(drawn, salt, check, *, apart):
    """Have a program checked, if it is one that ends, with some of its reactors in enclaves if it is to be.

    Args:
        drawn, salt, apart: as of `check_cuts`.
        check: takes a program, what it was drawn as, and a generator.

    Returns:
        What `check` returns, or why it was not called.

    Raises:
        AssemblyError, EndlessError: as `compare.check`.
    """
    interpret(Program(make(drawn.source)).graph, timeout=drawn.timeout)  # ends, that is
    if apart:
        drawn = without_deadlines(drawn)
        source = put_apart(drawn.source, salt)
        if source == drawn.source:
            return "nothing to put apart"
        drawn = replace(drawn, source=source)
    try:
        program = Program(make(drawn.source))
    except AssemblyError:
        if apart:
            return "messages could come back at once"
        raise
    try:
        return check(program, drawn, numpy.random.default_rng(salt))
    except (ReactionError, RunError) as error:
        if "cannot end the run" not in str(error):
            raise
        return "nothing leads back"


def _check(program, drawn, draw, *, record):
    def a_way_of():
        return [*WAYS, (8, 0, True)][draw.integers(len(WAYS) + 1)]

    whole = ran(program, drawn, a_way_of(), record=record)
    tags = sorted({row[0] for row in whole.rows})
    some = sorted({tags[i] for i in draw.integers(len(tags), size=3)}) if tags else []
    resumed = 0
    for keeper in (Copies(tags=some), Copies(most=30)):
        run = ran(program, drawn, a_way_of(), record=record, keeper=keeper)
        if (run.rows, run.tag, run.fingerprint) != (whole.rows, whole.tag, whole.fingerprint):
            raise Different(f"a run that is kept is another one:\n{drawn!r}")
        for i in draw.integers(len(keeper.cuts), size=2) if keeper.most else range(len(keeper.cuts)):
            cut = keeper.cuts[i]
            way = a_way_of()
            rest = ran(program, drawn, way, record=record, keeper=Copies(), cut=through_codec(cut))
            expected, found = whole.after(cut), rest.after(cut)
            what = f"the rest after {cut.tag}, recorded: {record}, {way},"
            compare(expected[0], found[0], what, drawn)
            if expected != found:
                raise Different(f"{what} ends as {found[1:]}, not {expected[1:]}:\n{drawn!r}")
            resumed += 1
    return resumed
