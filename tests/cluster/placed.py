"""One random program, as it is and with some of its enclaves on hosts that move in a random order; the fingerprint is the same."""

from __future__ import annotations

import random  # noqa: TID251 - chooses who moves
import re
from unittest.mock import patch

from compare import Different, place_once, put_apart, without_deadlines
from interpreter import interpret
from programs import make
from stepped import Stepped

from reactornb import Program, cpu, ns
from reactornb.cluster.errors import RemotePhysicalError
from reactornb.errors import AssemblyError, ReactionError, RunError

__all__ = ["check_placed"]


def check_placed(drawn, salt, seeds=2):
    """Run a program without hosts, then with some of its enclaves on hosts, and compare.

    Returns:
        What became of it: "compared", or why it was not.

    Raises:
        AssemblyError, EndlessError: if the program is of no use.
        Different: if a result is.
    """
    drawn = without_deadlines(drawn)
    apart = put_apart(drawn.source, salt)
    if apart == drawn.source:
        return "nothing to put apart"
    interpret(Program(make(drawn.source)).graph, timeout=drawn.timeout)  # ends, that is
    try:
        program = Program(make(apart))
    except AssemblyError:
        return "messages could come back at once"
    if any(a.physical for a in program.graph.actions):
        return "physical"
    draw = random.Random(salt)
    root = program.graph.reactors[0].name
    tops = [program.graph.reactors[top[0]].name.removeprefix(f"{root}.") for top in program.graph.enclaves[1:]]
    names = sorted({re.sub(r"\[\d+\]$", "", top) for top in tops})
    if not names:
        return "no enclave"
    options = {"until": ns(drawn.timeout)}
    with patch.object(cpu, "place", place_once):
        try:
            expected = program.run(workers=1, fast=True, fingerprint=True, placement="none", **options)
            failed = None
        except (ReactionError, RunError) as error:
            expected, failed = None, error
        for seed in range(seeds):
            chosen = draw.sample(names, draw.randint(1, len(names)))
            try:
                placed = Stepped(make(apart), chosen, draw.randint(1, 3), **options)
            except AssemblyError:
                return "hosts would wait for each other"
            except RemotePhysicalError:
                return "physical"
            shares = len(placed.hub.members)
            kill_at = draw.randrange(60) if seed else -1

            def maybe_kill(moves, _, kill_at=kill_at, shares=shares, placed=placed):
                if moves == kill_at:
                    placed.kill(moves % shares)

            run = placed.go(salt + seed, each=maybe_kill)
            if failed is not None:
                if type(run.failure) is not type(failed):
                    raise Different(f"{failed!r} became {run.failure!r}\n{apart}")
                continue
            if run.failure is not None:
                raise Different(f"it failed on {chosen}: {run.failure}\n{apart}") from run.failure
            if (run.fingerprint, run.tag) != (expected.fingerprint, expected.tag):
                raise Different(
                    f"with {chosen} on {shares} hosts, seed {salt + seed}, until {drawn.timeout}: {run.tag}, not {expected.tag}; "
                    f"fingerprint {run.fingerprint == expected.fingerprint}\n{apart}"
                )
    return "compared" if failed is None else "compared a failure"
