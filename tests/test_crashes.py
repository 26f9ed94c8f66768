"""A process that crashes in C code says in which reaction, and what the other workers were in."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
]

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

PROGRAM = """
import ctypes, os, time
from reactornb import *

WAYS = {
    "a null pointer": lambda: ctypes.string_at(0),
    "one while the thread is out of Python": lambda: ctypes.CDLL(None).strlen(None),
    "an abort": os.abort,
    "a signal": lambda: os.kill(os.getpid(), 11),
}

class Rollout(Reactor):
    tick = Timer(ms(5))

    @reaction(tick)
    def on_tick(self):
        if self.bank_index == 1:
            time.sleep(0.2)
            crash()
        end = time.perf_counter() + 30
        while time.perf_counter() < end:
            sum(range(1000))

def crash():
    WAYS[os.environ["HOW"]]()
    time.sleep(30)

class Main(Reactor):
    def compose(self):
        self.rollouts = Bank(Rollout, 2)
"""


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("a null pointer", signal.SIGSEGV),
        ("one while the thread is out of Python", signal.SIGSEGV),
        ("an abort", signal.SIGABRT),
    ],
)
def test_a_crash_names_the_reaction_of_each_worker_and_its_line(how, number, tmp_path):
    (tmp_path / "f.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", "run", "f.py", "--main", "Main", "-w", "2"],
        cwd=tmp_path, env=os.environ | {"HOW": how}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == -number, done.stderr
    assert "Fatal Python error" in done.stderr
    if GIL:  # the stacks of all threads
        assert done.stderr.count(" in on_tick\n") == 2
        return
    assert f"the process crashed ({number.name}) in reaction main.rollouts[1].on_tick (" in done.stderr
    assert "f.py, line 19; worker " in done.stderr
    assert "At that moment others ran: main.rollouts[0].on_tick (" in done.stderr


def test_a_crash_signal_from_outside_ends_the_process_too(tmp_path):
    (tmp_path / "f.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", "run", "f.py", "--main", "Main", "-w", "2"],
        cwd=tmp_path, env=os.environ | {"HOW": "a signal"}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGSEGV
    assert GIL or "the process crashed (SIGSEGV)" in done.stderr


CELL = """
%load_ext reactornb
import ctypes
from reactornb import *
class Crashes(Reactor):
    @reaction(startup)
    def on_startup(self):
        ctypes.string_at(0)
Program(Crashes).run()
"""


@pytest.mark.timeout(120)
def test_a_kernel_that_crashes_says_so_on_its_own_stderr(tmp_path):
    manager = pytest.importorskip("jupyter_client.manager")
    with (tmp_path / "stderr").open("w", encoding="utf-8") as stderr:
        kernel = manager.KernelManager()
        kernel.kernel_spec.argv[0] = sys.executable
        kernel.start_kernel(stderr=stderr, env=os.environ | {"REACTORNB_PRELOAD": "0"})
        client = kernel.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            client.execute(CELL)
            kernel.provisioner.process.wait(60)
        finally:
            client.stop_channels()
            kernel.shutdown_kernel(now=True)
    said = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert "Fatal Python error: Segmentation fault" in said
    assert GIL or "the process crashed (SIGSEGV) in reaction crashes.on_startup (cell 1, line 7; worker 0" in said
