"""`reactornb verify FILE`: whether a program does the same with any number of workers; the status is 1 if it does not."""

from __future__ import annotations

import argparse
from typing import Any

from reactornb.cli.commands import FAILED, load
from reactornb.cli.sweep import FILES, class_of
from reactornb.options import given_options

__all__ = ["verify"]


def verify(chosen: argparse.Namespace) -> int:
    """Run the beginning of a program with several numbers of workers, and say what was compared and what differs."""
    from reactornb.runtime.crashes import crash_report
    from reactornb.runtime.verifying import verify as compare

    parameters: dict[str, Any] = dict(chosen.parameters)
    is_file = chosen.program.suffix in FILES or chosen.program.exists()
    program: Any
    if is_file:
        program, parameters = load(chosen.program, chosen.main, **parameters), {}
    else:
        program = class_of(str(chosen.program), chosen.main, [])
    given = vars(chosen)
    how = {name: given[name] for name in ("workers", "tags", "seconds") if name in given}
    with crash_report():
        found = compare(
            program, **how, **given_options({name: v for name, v in given.items() if name != "workers"}), **parameters
        )
    print(found)  # noqa: T201 - the command line prints
    return 0 if found else FAILED
