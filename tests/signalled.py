"""Programs that are sent a signal at a random moment of `reactornb run`, and what must be there afterwards."""

import json
import os
import random as at_random  # noqa: TID251 - moments of signals, no results
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

COMMON = """
import os, time
from pathlib import Path
from reactornb import *

def mark(name):
    Path(os.environ["MARKS"], name).touch()

class Marked(Reactor):
    @reaction(startup)
    def on_startup(self):
        mark("began")

    @reaction(shutdown)
    def on_shutdown(self):
        mark("ended")
"""

TIMERS = (
    COMMON
    + """
class Main(Marked):
    tick = Timer(0, ms(5))
    out = Output[int]()

    @reaction(tick)
    def on_tick(self, out):
        out.set(1)
        self.log(seen=1.0)
"""
)

BUSY = (
    COMMON
    + """
class Works(Reactor):
    tick = Timer(0, ms(1))
    out = Output[int]()

    @reaction(tick)
    def on_tick(self, out):
        out.set(sum(range(20_000)))

class Main(Marked):
    def compose(self):
        self.works = Bank(Works, 4)
"""
)

ENCLAVES = (
    COMMON
    + """
class Source(Reactor):
    tick = Timer(0, ms(2))
    out = Output[int]()

    @reaction(tick)
    def on_tick(self, out):
        out.set(1)

class Sink(Reactor):
    value = Input[int]()

    @reaction(value)
    def on_value(self, value):
        self.log(got=value.value)

class Main(Marked):
    def compose(self):
        self.source = enclave(Source())
        self.sink = Sink()
        connect(self.source.out, self.sink.value, after=ms(1))
"""
)

SLOW_TO_LOAD = (
    TIMERS
    + """
try:
    time.sleep(0.5)
except BaseException:  # as some libraries do
    pass
"""
)

LF = """
target Python { timeout: 2 s };
preamble {=
import os
from pathlib import Path
def mark(name):
    Path(os.environ["MARKS"], name).touch()
=}
main reactor {
  timer tick(0, 5 ms)
  output out
  reaction(startup) {= mark("began") =}
  reaction(tick) -> out {= out.set(1) =}
  reaction(shutdown) {= mark("ended") =}
}
"""

PROGRAMS = {
    "timers.py": (TIMERS, ["--until", "2s", "--workers", "2"]),
    "busy.py": (BUSY, ["--until", "400ms", "--fast", "--workers", "2"]),
    "enclaves.py": (ENCLAVES, ["--until", "2s", "--workers", "2"]),
    "slow.py": (SLOW_TO_LOAD, ["--until", "300ms", "--workers", "1"]),
    "driven.lf": (LF, ["--workers", "2"]),
}


def command(folder, name, extra=()):
    text, options = PROGRAMS[name]
    (folder / "marks").mkdir(parents=True)
    (folder / name).write_text(text, encoding="utf-8")
    words = [sys.executable, "-m", "reactornb", "run", name, *options, *extra]
    return subprocess.Popen(
        [*words, "--fingerprint", "--profile", "--timeline", "out/t.json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env=os.environ | {"MARKS": str(folder / "marks")},
    )  # fmt: skip


def files_of(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and "marks" not in p.parts and p.suffix != ".pyc")


def judge(folder, name, number, status, out, err):
    """Raise unless what is there is what must be; returns in which part of the command the signal came."""
    marks = {p.name for p in (folder / "marks").iterdir()}
    about = f"{name} {signal.Signals(number).name} status {status} marks {marks} files {files_of(folder)}\n{out}\n{err}"
    assert status in (128 + number, -number, 0) or (status == 1 and "init_import_site" in err), about
    if "Traceback" in err or status == 1:
        # Python has not yet come to a line of ours: nobody but Python can say how it ends.
        assert number == signal.SIGINT, about
        assert not marks, about
        assert not re.search(r"reactornb.*\.py\"", err), about
        return "before Python had started"
    assert not [f for f in files_of(folder) if f.endswith(".tmp")], about
    if "began" not in marks:
        assert status != 0, about
        assert files_of(folder) == [name], about
        assert "at tag" not in err, about
        return "before the run"
    assert "ended" in marks, about
    assert re.search(r"(main|driven) (stopped|finished) at tag \(", err), about
    assert re.search(r"^fingerprint [0-9a-f]{64}$", out, re.MULTILINE), about
    assert "\nreaction " in out, about
    events = json.loads((folder / "out" / "t.json").read_text(encoding="utf-8"))["traceEvents"]
    assert any(event["ph"] == "X" for event in events), about
    assert "wrote out/t.json" in err, about
    if status == 0:
        return "after the end"
    return "during the run" if " stopped at tag" in err else "while it was written"


def once(folder, name, number, delay, after_start):
    process = command(folder, name)
    while after_start and process.poll() is None and not (folder / "marks" / "began").exists():
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return judge(folder, name, number, process.returncode, out, err)


def how_long(folder, name):
    began = time.monotonic()
    process = command(folder, name)
    out, err = process.communicate(timeout=120)
    took = time.monotonic() - began
    assert process.returncode == 0, err
    assert "fingerprint" in out
    return took


def many(folder, count, *, seed, lanes=2):
    """That many signals, each in a process of its own; returns how many came in which part of the command."""
    draw = at_random.Random(seed)
    names = list(PROGRAMS)[: max(1, min(len(PROGRAMS), count // 5))]
    # A shell's background job ignores interrupts, and so would its children: what is handled here is the default there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(lanes) as pool:
            lengths = dict(zip(names, pool.map(lambda n: how_long(folder / f"whole-{n}", n), names), strict=True))
            jobs = []
            for i in range(count):
                name, number = names[i % len(names)], SIGNALS[i % 3]
                # Half of them from the first moment of the process on, half from the first reaction on.
                after_start = i % 2 == 1
                delay = draw.random() * (1.2 if after_start else 1.1 * lengths[name])
                jobs.append(pool.submit(once, folder / str(i), name, number, delay, after_start))
            return Counter(job.result() for job in jobs)
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    import tempfile

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = many(Path(folder), int(sys.argv[1]), seed=int(sys.argv[2]))
    sys.stdout.write(f"{dict(found)} in {time.monotonic() - began:.0f} s\n")
