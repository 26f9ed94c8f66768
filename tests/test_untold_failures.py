"""A run in the background that failed and of which nobody asked how it ended: a line on stderr tells when the interpreter ends."""

import os
import subprocess
import sys

import pytest

MAIN = """
import os, sys, threading, time
from reactornb import *

class Main(Reactor):
    fails: bool = True

    @reaction(startup)
    def on_startup(self):
        if self.fails:
            raise ValueError("of the reaction")

def over(run):
    while run.is_alive:
        time.sleep(0.001)
"""


def script(body, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(MAIN + body)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=50, check=False, env=env)
    return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("reactornb:")], done


LINE = (
    "reactornb: main#{} failed, and nobody asked how it ended: reaction main.on_startup raised at tag (0, 0), {}, line 11: "
    "ValueError: of the reaction; run.result() raises it, with its traceback."
)

# Each leaves one run that has failed, of number 1, and does not ask how it ended.
UNASKED = {
    "held": "run = Program(Main).start(workers=2); over(run)",
    "forgotten": "import gc\nover(Program(Main).start(workers=1)); gc.collect()",
    "stopped": "run = Program(Main).start(workers=1); over(run); run.stop()",
    "looked at otherwise": "run = Program(Main).start(workers=1); over(run); run.metrics, run.tag, run.warnings, run.printed",
    "of a thread": "t = threading.Thread(target=lambda: over(Program(Main).start(workers=1))); t.start(); t.join()",
    "in time": "run = Program(Main).start(workers=1, seed=1); over(run)\nassert not run.is_alive",
}


@pytest.mark.slow
def test_each_failure_that_nobody_asked_for_is_one_line_with_run_place_and_reason(tmp_path):
    status, said, done = script("\n".join(UNASKED.values()), tmp_path)
    assert (status, done.stdout) == (0, "")
    assert said == [LINE.format(i + 1, tmp_path / "script.py") for i in range(len(UNASKED))]
    assert done.stderr.splitlines() == said


ASKED = {
    "result": "try: a.result()\nexcept ReactorError: pass",
    "wait": "a.wait()",
    "wait for a while": "a.wait(20)",
    "state": "a.state",
    "repr": "repr(a)",
    "failure": "a.failure",
    "status": "a.status()",
    "exit_status": "a.exit_status()",
    "run": "try: Program(Main).run(workers=1)\nexcept ReactorError: pass\na.failure",
    "a thread that goes on": """
slow = threading.Thread(target=lambda a=a: (threading.main_thread().join(), a.wait()), daemon=False)
slow.start()""",
    "a panel": "from reactornb.viz.run_view import RunView\nRunView(a).text()",
}


@pytest.mark.slow
def test_whoever_asked_in_any_way_is_not_told_again(tmp_path):
    body = "\n".join(f"a = Program(Main).start(workers=1); over(a)\n{how}" for how in ASKED.values())
    status, _, done = script("from reactornb.errors import ReactorError\n" + body, tmp_path)
    assert (status, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_run_that_did_not_fail_or_was_ended_by_sys_exit_0_or_abandoned_or_never_began_says_nothing(tmp_path):
    status, _, done = script(
        """
class Exits(Reactor):
    @reaction(startup)
    def on_startup(self):
        sys.exit(0)
class Hangs(Reactor):
    @reaction(startup)
    def on_startup(self):
        threading.Event().wait()
class Broken(Reactor):
    x = State(factory=lambda self: 1 / 0)
    @reaction(startup)
    def on_startup(self):
        pass
try: Program(Broken).start(workers=2)
except ZeroDivisionError: pass
else: raise AssertionError
for root in (Main(fails=False), Exits()):
    over(Program(root).start(workers=2))
Program(Hangs).start(workers=1).abandon()
""",
        tmp_path,
    )
    assert (status, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_end_of_a_forked_child_tells_nothing_of_its_parents_runs(tmp_path):
    status, said, done = script(
        """
run = Program(Main).start(workers=1); over(run)
goes_on = Program(Main(fails=False)).start(workers=1, keepalive=True)
sys.stderr.flush()
import warnings
warnings.simplefilter("ignore")
child = os.fork()
if child:
    os.waitpid(child, 0)
    goes_on.stop()
else:
    sys.exit(0)
""",
        tmp_path,
    )
    assert (status, said) == (0, [LINE.format(1, tmp_path / "script.py")]), done.stderr


@pytest.mark.slow
def test_of_many_the_first_ten_are_told_and_the_others_counted(tmp_path):
    status, said, _ = script("for _ in range(25): over(Program(Main).start(workers=1))", tmp_path)
    assert status == 0
    assert [line.split()[1] for line in said] == [*(f"main#{i + 1}" for i in range(10)), "15"]
    assert said[-1] == "reactornb: 15 more runs failed, and nobody asked how they ended."


@pytest.mark.slow
def test_a_script_that_raises_has_its_traceback_and_status_and_then_the_line(tmp_path):
    status, said, done = script("over(Program(Main).start(workers=1))\nraise KeyError('of the script')", tmp_path)
    assert (status, said) == (1, [LINE.format(1, tmp_path / "script.py")])
    assert done.stderr.splitlines()[-2:] == ["KeyError: 'of the script'", said[0]]
