"""From `%reactor start PPO` in a fresh kernel to the first point of a curve: `reactornb bench first-point`.

A real kernel for each figure, as JupyterLab starts it. What is timed begins with the cell that imports PPO and starts it, and ends when the
run has logged its first value. Before that cell: only `%load_ext reactornb`, and, in two of the variants, a pause in which a user
would read. Compared, in turns:

    as it was    torch is imported by that cell
    at once      the cell follows `%load_ext` without a pause
    after reading    the same after a pause, in which torch is imported beside the idle kernel

The old way is what `REACTORNB_PRELOAD=0 REACTORNB_DEFER=0` in the environment still does, but for one thing: PPO's optimizer was torch's, whose
first one imported torch's compiler and took as long as all the rest. PPO steps with an optimizer in NumPy since, so "as it was" is about
twice as fast as it was when the bars were set, and "at once" has nothing left to gain but what is imported at the same time. Files are in the
system's cache after the turn that is not counted.

`--imports` measures what everyone waits for instead: `import reactornb` and `import reactornb.rl`, each in a fresh interpreter, in processor time beyond one
that only starts, turn by turn; `python -X importtime -c "import reactornb"` says where it goes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from reactornb.bench.latency import Kernel
from reactornb.bench.measure import Report, interleave, options

__all__ = ["first_point", "importing", "main"]

OLD = {"REACTORNB_PRELOAD": "0", "REACTORNB_DEFER": "0"}
NEW = {"REACTORNB_PRELOAD": "1", "REACTORNB_DEFER": "1"}
START = "from reactornb.rl import PPO\n%reactor start PPO"
# Looked for from the kernel's own main thread: a message per look would be paid for by the run.
WAIT = """import time
from reactornb.runtime import live_runs
while not any(map(len, live_runs()[0].logs)):
    time.sleep(0.005)
"""


def first_point(environment: dict[str, str], reading: float) -> float:
    """Seconds from sending the cell that starts PPO to the first value that its run logs, in a kernel of its own.

    Args:
        environment: variables for the kernel.
        reading: seconds between `%load_ext` and that cell.
    """
    with Kernel(environment) as kernel:
        kernel.run("%load_ext reactornb")
        time.sleep(reading)
        began = time.perf_counter()
        kernel.run(START)
        kernel.run(WAIT)
        took = time.perf_counter() - began
        kernel.run("%reactor stop")
    return took


def importing(statement: str) -> float:
    """Milliseconds of processor time that a fresh interpreter needs for a statement, beyond those of one that only starts.

    Args:
        statement: such as "import reactornb".
    """

    def spent(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - its own interpreter
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    started = spent("pass")
    return spent(statement) - started


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures.

    Args:
        argv: words of the command line.
    """
    parser = options("first-point", __doc__, repeats=5, workers="2")
    parser.add_argument("--reading", type=float, default=10.0, metavar="S", help="the pause (default 10 s)")
    parser.add_argument("--imports", action="store_true", help="what the imports cost, instead")
    chosen = parser.parse_args(argv)
    if chosen.imports:
        bars = {"import reactornb": 100.0, "import reactornb.rl": 150.0}
        report = Report("first-point", {"imports": True})
        report.add(interleave({statement: partial(importing, statement) for statement in bars}, chosen.repeats), "ms")
        for statement, bar in bars.items():
            report.bar(statement, bar)
        return report.finish(chosen)
    report = Report("first-point", {"reading": chosen.reading})
    variants = {
        "as it was": partial(first_point, OLD, 0.0),
        "at once": partial(first_point, NEW, 0.0),
        "after reading": partial(first_point, NEW, chosen.reading),
    }
    report.add(interleave(variants, chosen.repeats), "s")
    report.ratio("at once", "as it was", at_most=0.5)
    report.ratio("after reading", "as it was", at_most=0.5)
    return report.finish(chosen)
