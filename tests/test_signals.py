"""Ctrl-C, SIGTERM and SIGHUP end `reactornb run` in order, wherever they find it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from signalled import SIGNALS, command, judge, many

from reactornb.__main__ import main
from reactornb.cli.signals import SignalHandler, Signalled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

HANGS = """
import os, time
from pathlib import Path
from reactornb import *

class Learner(Reactor):
    tick = Timer(ms(5))
    out = Output[int]()

    @reaction(startup)
    def on_startup(self, out):
        out.set(1)

    @reaction(tick)
    def on_tick(self):
        Path("hangs").touch()
        while not Path("go on").exists():
            time.sleep(0.01)

    @reaction(shutdown)
    def on_shutdown(self):
        Path("ended").touch()

class Main(Reactor):
    def compose(self):
        self.learners = Bank(Learner, {n})
"""


@pytest.fixture
def default_interrupts():
    # A shell's background job ignores interrupts, and so would its children: what is handled here is the default there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ours():
    """Processes that end with the test, however it ends."""
    made = []
    yield made
    for process in made:
        with process:
            process.kill()


def until(condition):
    end = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timers.py", "enclaves.py", "driven.lf"])
@pytest.mark.usefixtures("default_interrupts")
def test_a_signal_during_the_run_ends_it_with_all_there_is(name, tmp_path, ours):
    number = SIGNALS[["timers.py", "enclaves.py", "driven.lf"].index(name)]
    process = command(tmp_path, name)
    ours.append(process)
    until((tmp_path / "marks" / "began").exists)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert judge(tmp_path, name, number, process.returncode, out, err) == "during the run"
    assert process.returncode == 128 + number


def hanging(folder, n=1):
    (folder / "f.py").write_text(HANGS.replace("{n}", str(n)), encoding="utf-8")
    words = ["-w", "2", "--fast", "--fingerprint", "--timeline", "t.json"]
    return subprocess.Popen(
        [sys.executable, "-m", "reactornb", "run", "f.py", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
@pytest.mark.usefixtures("default_interrupts")
def test_a_reaction_that_holds_up_the_end_is_named_and_a_second_signal_gives_it_up(again, tmp_path, ours):
    process = hanging(tmp_path, 1 if again else 2)
    ours.append(process)
    until((tmp_path / "hangs").exists)
    process.send_signal(signal.SIGTERM)
    said = process.stderr.readline()
    assert "SIGTERM: main.learners[0].on_tick has been busy for" in said
    assert "f.py, line" in said
    assert "a second signal will give the run up" in said
    assert process.poll() is None
    if again:
        process.send_signal(signal.SIGHUP)
    else:
        (tmp_path / "go on").touch()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert (tmp_path / "ended").exists() is not again
    assert (tmp_path / "t.json").exists()
    assert "Traceback" not in err
    assert f"main {'abandoned' if again else 'stopped'} at tag (5 ms, " in err
    assert out.startswith("fingerprint ") is not again
    assert ("no fingerprint, since the run was abandoned; that of the tags before is " in err) is again


@pytest.mark.slow
@pytest.mark.usefixtures("default_interrupts")
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', sys.executable, "-c",
         "import signal; from reactornb.cli.signals import SignalHandler\nwith SignalHandler(): print(signal.getsignal(signal.SIGHUP))"],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert process.communicate(timeout=30)[0].strip() in ("Handlers.SIG_IGN", "1")


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
@pytest.mark.parametrize("number", SIGNALS)
def test_while_nothing_can_be_lost_a_signal_ends_a_command(number, tmp_path, capfd):
    file = tmp_path / "f.py"
    file.write_text(f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(20)\n", encoding="utf-8")
    before = [signal.getsignal(n) for n in SIGNALS]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for words in (["run", str(file)], ["graph", str(file)], ["check", str(file)]):
            assert main(words) == 128 + number
            assert capfd.readouterr().err == f"reactornb: interrupted ({number.name})\n"
            assert signal.getsignal(signal.SIGTERM) == before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_a_program_that_catches_everything_while_it_is_loaded_does_not_begin(tmp_path, capfd):
    file = tmp_path / "f.py"
    file.write_text(
        "import os\nfrom reactornb import *\ntry:\n    os.kill(os.getpid(), 15)\nexcept BaseException:\n    pass\n"
        "class Main(Reactor):\n    @reaction(startup)\n    def on_startup(self):\n        print('began')\n",
        encoding="utf-8",
    )
    assert main(["run", str(file)]) == 143
    assert capfd.readouterr().out == ""


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_while_files_are_written_the_first_signal_waits_and_the_second_does_not(monkeypatch):
    monkeypatch.setattr("reactornb.cli.signals._IGNORED_S", 0.0)
    with SignalHandler() as signals:
        signals.phase("writing")
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.count == 1
        with pytest.raises(Signalled):
            os.kill(os.getpid(), signal.SIGHUP)
    assert signals.status == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_signals_at_one_moment_are_one_wish():
    with SignalHandler() as signals:
        signals.phase("running")
        for _ in range(5):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (signals.count, signals.status, signals.name) == (1, 129, "SIGHUP")


def test_on_another_thread_commands_leave_signals_alone():
    from threading import Thread

    found = []

    def look():
        with SignalHandler() as signals:
            found.append((signals.status, signal.getsignal(signal.SIGTERM)))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(None, signal.getsignal(signal.SIGTERM))]


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_ten_signals_at_random_moments(tmp_path):
    found = many(tmp_path, 10, seed=16)
    assert found.total() == 10


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.thread_unsafe(reason="signals are the main thread's")
@pytest.mark.timeout(2400)
def test_two_hundred_signals_at_random_moments(tmp_path):
    found = many(tmp_path, 200, seed=int(os.environ.get("REACTORNB_SEED", "16")), lanes=3)
    assert found.total() == 200
    assert found["during the run"] > 20
