"""Forking: a child has none of its parent's threads, so it may neither wait for them nor for what they hold."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

PREAMBLE = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that forking with threads is a risk is what is tested
from reactornb import *
from reactornb.errors import RunError
from reactornb.runtime import live_runs

class Count(Reactor):
    act = LogicalAction()
    rounds: int

    @reaction(startup, act)
    def on_act(self, act):
        self.done += 1
        if self.done < self.rounds:
            act.schedule(0)

    done = State(0)

class Many(Reactor):
    rounds: int = 100
    def compose(self):
        self.counts = Bank(Count, 4, rounds=self.rounds)

def reactions():
    return Program(Many(rounds=100)).run(workers=2, fast=True).reactions

def in_child(check):
    sys.stdout.flush()
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    check()
    sys.exit(7)  # with all that happens when an interpreter goes
"""


def python(body):
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            _, said = process.communicate(timeout=150)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the child that hangs
            raise
    assert process.returncode == 0, said
    assert said == ""


@pytest.mark.slow
def test_after_a_run_a_child_runs_programs_of_its_own():
    python("""
        assert reactions() == 400
        def check():
            assert reactions() == 400
        assert in_child(check) == 7
        assert reactions() == 400
    """)


@pytest.mark.slow
def test_while_a_run_is_alive_its_child_knows_that_it_stayed_behind():
    python("""
        program = Program(Many(rounds=1 << 60))
        run = program.start(workers=2, fast=True)
        def check():
            assert live_runs() == []
            assert run.state == "failed"
            run.stop()
            try:
                run.result()
            except RunError as error:
                assert "forked" in str(error)
            else:
                raise AssertionError
            program.start(workers=2, fast=True).stop()
            assert reactions() == 400
        assert [in_child(check) for _ in range(3)] == [7] * 3
        assert run.state == "running"
        run.stop()
        assert run.failure is None
    """)


@pytest.mark.slow
def test_a_child_of_a_waiting_run_goes_at_once():
    python("""
        ready = []
        class Waits(Reactor):
            call = PhysicalAction()
            @reaction(startup)
            def on_startup(self, call):
                ready.append(call)
            @reaction(call)
            def on_call(self):
                self.request_stop()
        run = Program(Waits()).start(workers=2)
        while not ready:
            pass
        def check():
            ready[0].schedule(0)
            assert live_runs() == []  # what is waited for when an interpreter goes
        assert in_child(check) == 7
        ready[0].schedule(0)
        run.result(20)
    """)


@pytest.mark.slow
def test_a_child_does_not_wait_for_a_thread_that_was_looking_through_the_modules():
    python("""
        import threading, types
        from reactornb.runtime.immortal import immortalize
        looking, forked = threading.Event(), threading.Event()
        class Stops(types.ModuleType):
            @property
            def __dict__(self):
                looking.set()
                assert forked.wait(60)
                return {}
        sys.modules["stops"] = Stops("stops")
        thread = threading.Thread(target=immortalize)
        thread.start()
        if sys._is_gil_enabled():  # there nobody looks
            looking.set()
        assert looking.wait(60)
        def check():
            forked.set()
            assert reactions() == 400
        assert in_child(check) == 7
        forked.set()
        thread.join()
    """)


@pytest.mark.slow
def test_a_child_of_a_thread_that_is_watched_has_a_watchdog_of_its_own():
    python("""
        import threading
        from reactornb.rl import watchdog
        from reactornb.rl.errors import EnvironmentHangError
        import logging
        logging.disable()
        held, forked = threading.Event(), threading.Event()
        def hold():
            with watchdog._changed:
                held.set()
                assert forked.wait(60)
        with watchdog.Watch("here", "it", 60):
            thread = threading.Thread(target=hold)
            thread.start()
            assert held.wait(60)
            def check():
                try:
                    with watchdog.Watch("there", "it", 0.1):
                        while True:
                            pass
                except EnvironmentHangError:
                    pass
            assert in_child(check) == 7
            forked.set()
        thread.join()
    """)


@pytest.mark.slow
def test_a_child_stops_a_run_of_several_enclaves_whose_leaders_were_just_talking():
    python("""
        class Two(Reactor):
            def compose(self):
                for i in range(2):
                    setattr(self, f"part{i}", enclave(Count(rounds=1 << 60)))
        run = Program(Two).start(workers=2, fast=True)
        def check():
            run.stop()
            assert run.state == "failed"
        with run._engine.gate._lock:
            assert in_child(check) == 7
        run.stop()
    """)


@pytest.mark.slow
def test_a_child_makes_a_team_s_calls_by_itself():
    python("""
        from reactornb.runtime.team import Call, Team
        made = []
        job = Team(2, "test").job([Call(lambda i=i: made.append(i)) for i in range(4)])
        def check():
            made.clear()
            job()
            assert sorted(made) == [0, 1, 2, 3]
        check()
        assert in_child(check) == 7
        check()
    """)
