"""A script that ends while runs go on: they end in order, nothing is said that is not so, and nothing hangs."""

import os
import subprocess
import sys

import pytest

MAIN = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from reactornb import *
from reactornb.runtime import at_exit
from reactornb.runtime.team import Team

class Main(Reactor):
    name: str = "main"
    tick = Timer(0, ms(5))

    @reaction(tick)
    def on_tick(self):
        pass

    @reaction(shutdown)
    def on_shutdown(self):
        sys.stdout.write(f"ended {self.name}\\n")
        sys.stdout.flush()

def program(name, cls=Main):
    return Program(cls(name=name))
"""

# Each begins a run that goes on, or leaves open what has threads.
LEFT = {
    "plain": "plain = program('plain').start(workers=2)",
    "forgotten": "program('forgotten').start(workers=2)",
    "in a cycle": "class Holder: pass\nholder = Holder(); holder.me = holder; holder.run = program('in a cycle').start(workers=1); del holder",
    "paused": "paused = program('paused').start(workers=2).pause()",
    "with a timeline": "timed = program('with a timeline').start(workers=2, profile=True); time.sleep(0.02); spans = timed.timeline()",
    "fast": "fast = program('fast').start(workers=1, fast=True)",
    "idle": "class Idle(Main):\n    tick = Timer(sec(1000))\nidle = program('idle', Idle).start(workers=2)",
    "of a thread": "t = threading.Thread(target=lambda: globals().update(other=program('of a thread').start(workers=1))); t.start(); t.join()",
    "with a watchdog": """
from reactornb.lf import loads
dog = Program(loads('''target Python
main reactor {
  timer t(0, 5 ms)
  watchdog w(10 s) {= print("barks") =}
  reaction(t) -> w {= w.start() =}
  reaction(shutdown) {= import sys; sys.stdout.write("ended with a watchdog" + chr(10)) =}
}''', file="a.lf").main).start(workers=2)""",
}
TEAM = "team = Team(3, 'team'); team.me = team\n"


def ended(body, timeout=50):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", MAIN + body], capture_output=True, text=True, timeout=timeout, check=False, env=env
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "status", "said"),
    [("", 0, ""), ("sys.exit(3)", 3, ""), ("raise ValueError('of the script')", 1, "ValueError: of the script")],
    ids=["its last line", "sys.exit", "an exception"],
)
def test_a_script_leaves_runs_of_every_kind_to_themselves(last, status, said):
    done = ended(TEAM + "\n".join(LEFT.values()) + "\ntime.sleep(0.1)\n" + last)
    assert sorted(done.stdout.splitlines()) == sorted(f"ended {name}" for name in LEFT)
    assert done.returncode == status
    errors = done.stderr.splitlines()
    assert (errors[-1] if said else done.stderr) == said
    assert not any("Exception ignored" in line or line.startswith("reactornb:") for line in errors)


@pytest.mark.slow
def test_shutdown_reactions_have_threads_and_pools_and_end_them():
    done = ended("""
class Owner(Main):
    @reaction(startup)
    def begin(self):
        self.over, self.pool = threading.Event(), ThreadPoolExecutor(1)
        self.thread = threading.Thread(target=self.over.wait, daemon=False)
        self.thread.start()
        self.pool.submit(int).result()

    @reaction(shutdown)
    def end(self):
        print("pool", self.pool.submit(int, "7").result())
        late = threading.Thread(target=print, args=("late",))
        late.start()
        late.join()
        self.over.set()
        self.thread.join()
        print("joined")

run = Program(Owner).start(workers=2)
""")
    assert done.stdout.splitlines() == ["ended main", "pool 7", "late", "joined"]
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.slow
def test_a_run_that_does_not_end_is_left_where_it_is_and_named_and_the_others_end():
    done = ended("""
at_exit.PATIENCE_S = 1.5
class Hung(Main):
    @reaction(startup)
    def hang(self):
        begun.wait()
        threading.Event().wait()

class Fails(Main):
    @reaction(shutdown)
    def end(self):
        raise ValueError("at the end")

begun = threading.Barrier(3)
hung = [program(f"hung {i}", Hung).start(workers=1) for i in range(2)]
begun.wait()
other, fails = program("other").start(workers=1), program("fails", Fails).start(workers=1)
""")
    assert sorted(done.stdout.splitlines()) == ["ended fails", "ended other"]
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert [line.split(":")[1] for line in said] == [
        " hung#1 had not ended 1.5 s after the script",
        " hung#2 had not ended 1.5 s after the script",
        " fails#4 failed when the script was over",
    ]
    assert all("hung.hang has been busy for" in line for line in said[:2])
    assert said[2].endswith("ValueError: at the end")
