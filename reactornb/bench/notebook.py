"""The cost of the panels, and how fast the notebook answers: `reactornb bench notebook`.

A real kernel, and for the page a real JupyterLab in Chromium. One program logs 100,000 values a second of 20 metrics while its
two workers are always busy; measured meanwhile are a trivial cell, frames of the page with a million points in its panel, and the
panel's share of a core. A training program runs the same rounds with and without its panel open, in turns. An hour's worth of
updates of a panel is made as fast as possible, and the memory that stays allocated is counted.

Cell, speed and cost are measured in a kernel without a browser, which would use part of the same two cores. The page's figures
are measured with kernel and browser together, while the workers are busy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from reactornb.bench.latency import CELLS, Kernel
from reactornb.bench.measure import Ratio, Report, options
from reactornb.errors import ReactorError
from reactornb.testing.jupyter import Jupyter, chromium, notebook, opened_page, run_all

__all__ = ["LOAD", "main"]

METRICS = 20
VALUES = 100_000  # a second, by both workers
LOAD = (
    "%load_ext reactornb",
    f"""%%reactor Busy
import sys
import time
rate: int = {VALUES // 2}
tick = Timer(0, ms(1))

@reaction(startup)
def on_startup(self):
    self.began, self.logged = time.perf_counter(), 0
    self.names = [sys.intern(f"metric_{{i:02}}") for i in range({METRICS})]  # as the names of keywords are

@reaction(tick)
def on_tick(self):
    now = time.perf_counter()
    due = int((now - self.began) * self.rate)
    while self.logged < due:
        values = self.rng.normal(size={METRICS}).tolist()
        self.log(**dict(zip(self.names, values)))
        self.logged += {METRICS}
    total = 0
    while time.perf_counter() < now + 0.002:
        total += 1
""",
    "%%reactor Load\nbusy = Bank(Busy, 2)\n",
)

# Seconds of processor time used by the threads of this process that are not workers of `run`.
OTHERS = """
import asyncio, gc, json, os, sys, threading, time
from pathlib import Path
from IPython.display import display
from reactornb import Program, ms
from reactornb.notebook import current_session

def used_by_others(run):
    workers = {worker.thread.native_id for worker in run._engine.workers}
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) not in workers:
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9

def logged(run):
    return sum(len(column.values) for log in run.logs for column in log.columns().values())

async def share_used(run, seconds):
    await asyncio.sleep(1.5)  # a panel that was just opened reads all that was logged before
    began, before = time.perf_counter(), used_by_others(run)
    await asyncio.sleep(seconds)
    return (used_by_others(run) - before) / (time.perf_counter() - began)

def close_panels():
    displays = current_session().displays
    for panel in list(displays._open):
        panel.layout.close()
        panel.close()
    displays._open.clear()
    displays._panels.clear()
    displays._looks.clear()
"""

FRAMES = """(seconds) => new Promise((done) => {
  const at = [];
  const words = document.querySelector(".rnb-run .rnb-fact"), drawn = new MutationObserver(() => { done.drawn = (done.drawn || 0) + 1; });
  drawn.observe(words, { childList: true, characterData: true, subtree: true });
  const frame = (now) => {
    at.push(now);
    if (now - at[0] < seconds * 1000) return requestAnimationFrame(frame);
    drawn.disconnect();
    let longest = 0;
    for (let i = 1; i < at.length; i++) longest = Math.max(longest, at[i] - at[i - 1]);
    done({ frames: (at.length - 1) / (at[at.length - 1] - at[0]) * 1000, longest, updates: (done.drawn || 0) / seconds });
  };
  requestAnimationFrame(frame);
})"""


def _cell(report: Report, chosen: argparse.Namespace) -> None:
    """A trivial cell while two workers log and a panel shows it."""
    medians, tails, rates = [], [], []
    with Kernel() as kernel:
        for code in (*LOAD, OTHERS):
            kernel.run(code)
        for _ in range(chosen.repeats):
            kernel.run("%reactor start Load --workers 2 --fast")
            time.sleep(1.0)  # the panel is up, and the workers at their pace
            took = []
            for _ in range(chosen.cells):
                took.append(kernel.run("6 * 7") * 1e3)
                time.sleep(0.05)  # a user's cells do not come back to back; the program goes on in between
            rates.append(
                kernel.value(
                    "run = current_session().last_run\nassert run.is_alive, run.state\n"
                    "json.dump(logged(run) / run.seconds, sys.stdout)"
                )
            )
            kernel.run("%reactor stop")
            took.sort()
            medians.append(median(took))
            tails.append(took[min(int(0.95 * len(took)), len(took) - 1)])
    report.add({"trivial cell, median": medians, "trivial cell, p95": tails}, "ms")
    report.add({"values logged meanwhile": rates}, "a second")
    report.bar("trivial cell, median", 100)
    report.bar("trivial cell, p95", 250)


def _page(report: Report, chosen: argparse.Namespace) -> None:
    """Frames per second of a page whose panel has a million points, and goes on."""
    try:
        if chromium() is None:
            raise ReactorError("there is no chromium here")
        import playwright.sync_api  # noqa: F401 - whether it is there
    except (ImportError, ReactorError) as error:
        report.missing.append("page")
        report.notes.append(f"the page was not measured: {error}; make setup-tests brings what it takes")
        return
    appeared, frames, longest, updates = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="reactornb-page-") as folder:
        (Path(folder) / "load.ipynb").write_text(
            notebook([*LOAD, "%reactor start Load --workers 2 --fast"]), encoding="utf-8"
        )
        with Jupyter(Path(folder)) as jupyter, opened_page(jupyter) as (page, complaints):
            run_all(page, jupyter, "load.ipynb")
            # The last cell's "[*]" turns into a number when it is done, which is when its panel was sent.
            page.wait_for_function(
                f"() => Array.from(document.querySelectorAll('.jp-InputPrompt')).some(p => p.textContent.includes('[{len(LOAD) + 1}]'))"
            )
            sent = time.perf_counter()
            page.locator(".rnb-run .rnb-line").first.wait_for()
            appeared.append(time.perf_counter() - sent)
            page.locator(".rnb-chart canvas").nth(METRICS - 1).wait_for()
            page.locator(".rnb-run").scroll_into_view_if_needed()
            # The points a panel has are in its charts' texts: "…, 50,012 values, …".
            page.wait_for_function(
                """least => Array.from(document.querySelectorAll(".rnb-canvas")).reduce((sum, chart) =>
                   sum + Number((chart.getAttribute("aria-label").match(/([\\d,]+) values/) || ["", "0"])[1].replaceAll(",", "")), 0) >= least""",
                arg=chosen.points,
                timeout=120_000,
            )
            for _ in range(chosen.repeats):
                counted = page.evaluate(FRAMES, chosen.seconds)
                frames.append(counted["frames"])
                longest.append(counted["longest"])
                updates.append(counted["updates"])
            if complaints:
                report.notes.append(f"the page complained: {complaints[:3]}")
    report.add({f"page, {chosen.points:,} points": frames}, "frames a second")
    report.add({"page, its longest frame": longest}, "ms")
    report.add({"page, until the panel is there": appeared}, "s after its cell")
    report.bar("page, until the panel is there", 2.0)
    report.add({"page, updates": updates}, "a second")
    report.ratios.append(Ratio("page, frames a second", frames, at_least=30))


def _speed(report: Report, chosen: argparse.Namespace) -> None:
    """The same rounds of a training program with its panel open and without, in turns."""
    times: dict[str, list[float]] = {"with its panel": [], "without": []}
    with Kernel() as kernel:
        # Logical time, and with it an end after some rounds, instead of microsteps.
        main_cell = CELLS[-1].replace("after=0", "after=ms(1)")
        for code in (*CELLS[:-1], main_cell, OTHERS):
            kernel.run(code)
        kernel.run(
            "async def rounds(count, shown):\n"
            "    gc.collect()\n"
            "    run = Program(Main).start(workers=2, seed=1, fast=True, until=ms(count))\n"
            "    if shown: display(run)\n"
            "    while run.is_alive: await asyncio.sleep(0.02)\n"  # the loop is free, as between cells
            "    run.result()\n"
            "    close_panels()\n"
            "    print(json.dumps(run.seconds))"
        )
        count = chosen.rounds
        kernel.run(f"await rounds({count}, True)")
        for turn in range(chosen.pairs):
            for shown in (turn % 2 == 0, turn % 2 == 1):
                figure = kernel.value(f"await rounds({count}, {shown})")
                times["with its panel" if shown else "without"].append(figure)
    report.add({f"{count} rounds of training, {name}": values for name, values in times.items()}, "s")
    report.speed(f"{count} rounds of training, with its panel", f"{count} rounds of training, without", at_least=0.97)


def _cost(report: Report, chosen: argparse.Namespace) -> None:
    """Processor time of the kernel's other threads: with the panel open, minus without it."""
    shares: dict[bool, list[float]] = {True: [], False: []}
    with Kernel() as kernel:
        for code in (*LOAD, OTHERS, "run = Program(Load).start(workers=2, fast=True)"):
            kernel.run(code)
        for turn in range(chosen.repeats):
            for shown in (turn % 2 == 0, turn % 2 == 1):
                kernel.run("display(run)" if shown else "close_panels()")
                shares[shown].append(100 * kernel.value(f"print(json.dumps(await share_used(run, {chosen.seconds})))"))
        rate = kernel.value("print(json.dumps(logged(run) / run.seconds))")
        kernel.run("run.stop()")
    report.add({"kernel besides its workers, panel open": shares[True], "…, none": shares[False]}, "% of a core")
    differences = [a - b for a, b in zip(shares[True], shares[False], strict=True)]
    report.add({f"the panel at {rate:,.0f} values a second": differences}, "% of a core")
    report.bar(f"the panel at {rate:,.0f} values a second", 3.0)


SLOW = """%%reactor Slow
tick = Timer(0, ms(1))

@reaction(tick)
def on_tick(self):
    self.log(one=self.rng.normal(), other=self.rng.normal())
"""

# Metrics' rows belong to the run and are wanted: count all memory except that allocated by the runtime and by cells.
MEMORY = """
import tracemalloc

def held():
    gc.collect()
    ours = [tracemalloc.Filter(False, "*/reactornb/runtime/*"), tracemalloc.Filter(False, "*/reactornb/model/*"),
            tracemalloc.Filter(False, "*/ipykernel_[0-9]*/*"), tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, "*/linecache.py")]
    return tracemalloc.take_snapshot().filter_traces(ours)

async def updates(panel, count):
    kernel = get_ipython().kernel
    for i in range(count):
        panel.refresh()
        if i % 50 == 0:  # as fast as they are sent, not faster: the hour has room for that
            sent = threading.Event()
            kernel.iopub_thread.schedule(sent.set)
            while not sent.is_set(): await asyncio.sleep(0.001)

async def an_hour(count):
    from ipywidgets import Widget
    import comm
    comms = len(comm.get_comm_manager().comms)
    run = Program(Slow).start(workers=1)
    display(run)
    (panel,) = [p for p in current_session().displays._open]
    current_session().displays.pump.close()  # its updates are made here
    tracemalloc.start()
    await updates(panel, 2000)  # until the panel's buckets are full, and every path was taken once
    before = held()
    began = time.perf_counter()
    await updates(panel, count)
    took = time.perf_counter() - began
    after = held()
    grown = sum(s.size for s in after.statistics("filename")) - sum(s.size for s in before.statistics("filename"))
    where = [str(s) for s in after.compare_to(before, "lineno")[:5]]
    tracemalloc.stop()
    values = logged(run)
    run.stop()
    opened = len(comm.get_comm_manager().comms) - comms
    close_panels()
    left = len(comm.get_comm_manager().comms) - comms
    print(json.dumps(dict(grown=grown / 2**20, took=took, values=values, opened=opened, left=left, where=where)))

def cycles(count):
    threads = lambda: (len(threading.enumerate()), len(list(Path("/proc/self/task").iterdir())))
    for turn in range(count + 1):
        if turn == 1:
            before = threads()  # torch, the timer of a pump and the like are there once
        run = Program(Slow).start(workers=2)
        display(run)
        while not run.tags: pass
        run.stop()
    until = time.monotonic() + 5
    while threads() > before and time.monotonic() < until: time.sleep(0.01)
    close_panels()
    print(json.dumps(max(0, *(b - a for a, b in zip(before, threads())))))
"""


def _memory(report: Report, chosen: argparse.Namespace) -> None:
    """Memory left by an hour's worth of updates, comms left by a closed panel, and threads left after starts and stops."""
    with Kernel() as kernel:
        for code in (
            LOAD[0],
            SLOW,
            OTHERS,
            MEMORY,
        ):
            kernel.run(code)
        grown: dict[str, Any] = kernel.value(f"await an_hour({chosen.refreshes})", timeout=1800)
        threads = kernel.value(f"cycles({chosen.cycles})", timeout=600)
    report.add({f"kernel grown by {chosen.refreshes:,} updates": [grown["grown"]]}, "MB")
    report.add(
        {"comms left by a closed panel": [grown["left"]], f"comms of {grown['opened']} opened": [grown["opened"]]}, ""
    )
    report.add({f"threads left by {chosen.cycles} runs": [threads]}, "")
    report.bar(f"kernel grown by {chosen.refreshes:,} updates", 1.0)
    report.bar("comms left by a closed panel", 0)
    report.bar(f"threads left by {chosen.cycles} runs", 0)
    report.notes.append(
        f"the updates took {grown['took']:.0f} s and saw {grown['values']:,} values; grown most: {'; '.join(grown['where'][:2])}"
    )


PARTS: dict[str, Callable[[Report, argparse.Namespace], None]] = {
    "cell": _cell,
    "page": _page,
    "speed": _speed,
    "cost": _cost,
    "memory": _memory,
}


def _parts(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    return names


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("notebook", __doc__, repeats=3, workers="2")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PART,PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--cells", type=int, default=60, help="trivial cells of one turn (%(default)s)")
    parser.add_argument("--points", type=int, default=1_000_000, help="points that the page has (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one turn of page and cost (%(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="of one turn of training (%(default)s)")
    parser.add_argument("--pairs", type=int, default=31, help="turns of training, with and without (%(default)s)")
    parser.add_argument(
        "--refreshes", type=int, default=36_000, help="updates of a panel (%(default)s: ten a second for an hour)"
    )
    parser.add_argument("--cycles", type=int, default=50, help="starts and stops (%(default)s)")
    chosen = parser.parse_args(argv)
    names = ("cells", "points", "seconds", "rounds", "pairs", "refreshes", "cycles")
    report = Report("notebook", {name: getattr(chosen, name) for name in names})
    for name in chosen.only:
        PARTS[name](report, chosen)
    return report.finish(chosen)
