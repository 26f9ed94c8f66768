"""A run is started whole or not at all, whatever interrupts `start`, and wherever the system has no more threads."""

import contextlib
import random as at_random  # noqa: TID251 - moments of signals, no results
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_programs import Pair, Source, own_threads

import reactornb
from reactornb import Program, Reactor, State, ms, reaction, startup
from reactornb.errors import RunError
from reactornb.runtime import live_runs
from reactornb.runtime.launch import Done
from reactornb.runtime.team import Team

PACKAGE = str(Path(reactornb.__file__).parent)


class Interrupter:
    """Raises KeyboardInterrupt at the n-th line that this thread executes in the package."""

    def __init__(self, at, only):
        self.left = at
        self.only = only
        self.where = None

    def __enter__(self):
        sys.settrace(self.enter)

    def __exit__(self, *_):
        sys.settrace(None)

    def enter(self, frame, event, arg):
        name = frame.f_code.co_filename
        if not (name.startswith(PACKAGE) and Path(name).name in self.only):
            return None
        return self.look

    def look(self, frame, event, arg):
        if event == "line":
            self.left -= 1
            if self.left < 0 and self.where is None:
                self.where = (Path(frame.f_code.co_filename).name, frame.f_code.co_name, frame.f_lineno)
                sys.settrace(None)
                raise KeyboardInterrupt
        return self.look


def check_whole_or_nothing(program, run):
    """What must hold after an interrupt: a run that is registered and goes on, or nothing."""
    alive = live_runs()
    if alive:
        assert alive == [program.last_run]
        alive[0].stop(10)
    assert not own_threads(), own_threads()
    program.run(workers=2, until=ms(1), fast=True)
    assert not live_runs()


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="counts the process's threads and traces")
def test_an_interrupt_at_any_line_of_start_leaves_a_whole_run_or_nothing():
    program = Program(Source)
    seen, at = set(), 0
    while True:
        interrupter = Interrupter(at, {"program.py", "run.py", "launch.py", "engine.py"})
        try:
            with interrupter:
                run = program.start(workers=2)
        except KeyboardInterrupt:
            seen.add(interrupter.where[:2])
            check_whole_or_nothing(program, None)
        else:
            run.stop()
            break
        at += 1
    assert {("program.py", "start"), ("engine.py", "prepare"), ("launch.py", "run")} <= seen


@pytest.mark.thread_unsafe(reason="counts the process's threads and traces")
@pytest.mark.parametrize("first", range(2, 14, 2))
def test_an_interrupt_in_the_moment_of_launch_leaves_a_whole_run_or_nothing(first):
    program = Program(Source)
    interrupter = Interrupter(first, {"launch.py"})
    try:
        with interrupter:
            run = program.start(workers=2)
    except KeyboardInterrupt:
        check_whole_or_nothing(program, None)
    else:
        run.stop()


@pytest.mark.thread_unsafe(reason="counts the process's threads and traces")
@pytest.mark.parametrize("first", range(2, 14, 2))
def test_an_interrupt_while_a_team_begins_leaves_no_thread(first):
    interrupter = Interrupter(first, {"launch.py"})
    team = None
    try:
        with interrupter:
            team = Team(3, "test")
    except KeyboardInterrupt:
        assert not own_threads(), own_threads()
    else:
        team.close()


class NoThread(threading.Thread):
    left = 0

    def start(self):
        if type(self).left == 0:
            raise RuntimeError("can't start new thread")
        type(self).left -= 1
        super().start()


@pytest.mark.thread_unsafe(reason="counts the process's threads")
@pytest.mark.parametrize("position", range(4))
def test_where_the_system_has_no_more_threads_nothing_is_left(position, monkeypatch):
    program = Program(Source)
    with monkeypatch.context() as patch:
        patch.setattr(NoThread, "left", position)
        patch.setattr(threading, "Thread", NoThread)
        with pytest.raises(RunError, match=r"no thread for worker .*fewer workers"):
            program.start(workers=4)
        assert program.last_run is None
    assert not own_threads()
    check_whole_or_nothing(program, None)


@pytest.mark.thread_unsafe(reason="counts the process's threads")
@pytest.mark.parametrize("position", range(2))
def test_a_team_without_threads_leaves_nothing(position, monkeypatch):
    monkeypatch.setattr(NoThread, "left", position)
    monkeypatch.setattr(threading, "Thread", NoThread)
    with pytest.raises(RunError, match="no thread for worker"):
        Team(3, "test")
    assert not own_threads()


@pytest.mark.thread_unsafe(reason="replaces what all threads use")
def test_without_a_thread_for_the_start_itself_nothing_is_left(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    program = Program(Source)
    with monkeypatch.context() as patch:
        patch.setattr("_thread.start_new_thread", refuse)
        with pytest.raises(RuntimeError):
            program.start(workers=1)
    check_whole_or_nothing(program, None)


def test_a_factory_that_raises_leaves_nothing():
    class Broken(Reactor):
        made = State(factory=lambda self: 1 / 0)

        @reaction(startup)
        def on_startup(self):
            pass

    program = Program(Broken)
    with pytest.raises(ZeroDivisionError):
        program.start(workers=3)
    assert not own_threads()
    assert not live_runs()


def signals(count, seed):
    """How many of so many interrupts came before `start` or `run` had returned; see `interrupting.py`."""
    script = Path(__file__).with_name("interrupting.py")
    # A shell's background job ignores interrupts, and so would its children: what is handled here is the default there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = subprocess.run(
            [sys.executable, str(script), str(count), str(seed)],
            capture_output=True, text=True, timeout=50 + count, check=False,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupts_of_every_kind_at_random_moments_of_start():
    assert signals(30, at_random.randrange(1000)) > 5


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_interrupts_at_random_moments_of_start(seed):
    assert signals(300, seed) > 30


def test_an_interrupted_wait_blocks_no_other():
    done = Done()
    done._lock.release()
    done._is_set = False  # as an interrupt between two lines may leave it: taken, and nobody to give it back
    done._lock.acquire()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert not done.wait(0.01)
    done.set()
    assert done.wait(5)
    thread.join(5)
    assert not thread.is_alive()
    done._lock.acquire(blocking=False)  # again
    assert done.wait(0)


@pytest.mark.thread_unsafe(reason="traces")
@pytest.mark.parametrize("line", range(9))
def test_an_interrupt_at_any_line_of_a_wait_for_the_end_leaves_a_run_that_ends(line):
    run = Program(Source).start(workers=1)
    with contextlib.suppress(KeyboardInterrupt), Interrupter(line, {"launch.py"}):
        run.wait(0.02)
    run.stop(10)
    assert run.state == "stopped"
    assert run.wait(1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_run_of_several_enclaves_stops_however_they_stand(workers):
    program = Program(Pair, apart=True)
    for turns in range(15):
        run = program.start(workers=workers)
        time.sleep(turns % 5 * 0.001)
        assert run.stop(10).state == "stopped"
