"""What `reactornb run` shows while a program runs, and how it is told that its end will not come."""

import io
import os
import re
import subprocess
import sys
import time

import pytest

from reactornb import (
    Input,
    LogicalAction,
    Output,
    Program,
    Reactor,
    Timer,
    connect,
    enclave,
    ms,
    reaction,
    sec,
    startup,
)
from reactornb.cli.console import Console
from reactornb.cli.progress import Meter, follow
from reactornb.cli.signals import SignalHandler
from reactornb.runtime import standing

LOOP = """
from reactornb import *

class Main(Reactor):
    again = LogicalAction()

    @reaction(startup, again)
    def on_again(self, again):
        self.log(steps=5, episode_return=2.0)
        again.schedule(0)

    @reaction(shutdown)
    def on_shutdown(self):
        print("in order", flush=True)
"""


class Stands(Reactor):
    """Lives at time 0."""

    again = LogicalAction()

    @reaction(startup, again)
    def on_again(self, again):
        again.schedule(0)


class Later(Reactor):
    """Comes as far as 2 ms, and stays there."""

    tick = Timer(ms(2))
    again = LogicalAction()

    @reaction(tick, again)
    def on_again(self, again):
        again.schedule(0)


class Sink(Reactor):
    value = Input[int]()

    @reaction(value)
    def on_value(self, value):
        pass


class Half(Reactor):
    """Of two enclaves one goes on."""

    class Ticks(Reactor):
        tick = Timer(0, ms(1))
        out = Output[int]()

        @reaction(tick)
        def on_tick(self, out):
            out.set(1)

    def compose(self):
        self.ticks = enclave(Half.Ticks())
        self.stands = enclave(Stands())
        self.sink = Sink()
        connect(self.ticks.out, self.sink.value, after=ms(1))


class Goes(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        pass


def told(run):
    return [words for words in run.warnings if "logical time" in words]


@pytest.mark.slow
@pytest.mark.parametrize(("root", "at"), [(Stands, "0"), (Later, "2 ms"), (Half, "0")])
def test_an_end_in_logical_time_that_does_not_come_is_told(root, at, monkeypatch, caplog):
    monkeypatch.setattr(standing, "_STANDS_S", 0.05)
    run = Program(root).start(workers=2, until=sec(10))
    until = time.monotonic() + 20
    while not told(run) and time.monotonic() < until:
        run.wait(0.05)
    (words,) = told(run)
    assert re.search(rf"has stood at {at} for .*microstep [\d,]+ by now: the end at 10 s is logical time", words)
    assert "--walltime" in words
    assert run.is_alive
    # An enclave that stays at a time does not come to the tag at which all end together; that is another matter.
    run.abandon() if root is Half else run.stop()
    for scheduler in run._engine.schedulers:
        scheduler.request_stop()
    for worker in run._engine.workers:
        worker.thread.join(10)


@pytest.mark.slow
@pytest.mark.parametrize(("root", "until"), [(Stands, None), (Goes, sec(30))])
def test_without_an_end_or_with_time_that_goes_on_nothing_is_told(root, until, monkeypatch):
    monkeypatch.setattr(standing, "_STANDS_S", 0.05)
    run = Program(root).start(workers=1, until=until)
    for _ in range(8):
        run.wait(0.05)
    assert not told(run)
    run.stop()


def test_a_reaction_that_takes_long_is_no_loop(monkeypatch):
    monkeypatch.setattr(standing, "_STANDS_S", 0.0)

    class Long(Reactor):
        @reaction(startup)
        def on_startup(self):
            time.sleep(0.1)

    run = Program(Long).start(workers=1, until=sec(1), fast=True)
    while not run.wait(0.01):
        pass
    assert not told(run)


@pytest.mark.slow
def test_a_program_at_time_zero_is_told_on_the_command_line_and_ends_by_physical_time(tmp_path):
    (tmp_path / "f.py").write_text(LOOP, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", "run", "f.py", "--until", "1s", "--walltime", "3s", "--progress"],
        cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "in order\n"
    assert "logical time has stood at 0 for 2 s" in done.stderr
    assert "main stopped at tag (0, " in done.stderr
    assert re.search(
        r"reactornb: main 1 s, 0 of 1 s \(0 %\), steps [\d,]+, [\d,]+ steps/s, episode_return 2 ", done.stderr
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Trains(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        self.log(steps=10, episode_return=float(self.rng.integers(1, 3)))


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(Terminal, None, True), (io.StringIO, None, False), (io.StringIO, True, True), (Terminal, False, False)],
)
def test_progress_is_for_terminals_and_who_asks(stream, progress, shown, monkeypatch):
    monkeypatch.setattr("reactornb.cli.progress._EVERY_S", 0.02)
    monkeypatch.setattr("reactornb.cli.progress._POLL_S", 0.01)
    out = stream()
    run = Program(Trains).start(workers=1, until=ms(150))
    with SignalHandler() as signals:
        follow(run, signals, Console(stream=out), progress=progress)
    said = out.getvalue()
    assert ("trains" in said) is shown
    if shown:
        assert re.search(r"of 150 ms \(\d+ %", said)
        assert ("\n" in said) is (stream is io.StringIO)
    if stream is Terminal and shown:
        assert said.endswith("\r")


def test_the_line_says_steps_rate_and_the_mean_of_the_newest_returns():
    class Config:
        total_timesteps = 4000

    class Root(Trains):
        pass

    program = Program(Root)
    program.root.config = Config()
    run = program.start(workers=1, until=ms(199), fast=True)
    run.result()
    meter = Meter(run, Console(stream=io.StringIO()))
    line = meter.line()
    assert line.startswith("root ")
    assert "steps 2,000 of 4,000 (50 %" in line
    returns = list(run.metrics["episode_return"])[-100:]
    assert f"episode_return {sum(returns) / 100:.4g} (mean of 100)" in line
    assert "steps 2,000 of 4,000" in meter.line()  # read once


@pytest.mark.skipif(sys.platform == "win32", reason="terminals")
def test_what_a_program_prints_begins_on_a_free_line(monkeypatch):
    class Screen(Terminal):
        pass

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    console = Console()
    with console.sharing_terminal():
        console.show("half way")
        print("printed")  # noqa: T201
        console.say("said")
    lines = [line.rsplit("\r", 1)[-1] for line in screen.getvalue().split("\n")]
    assert lines == ["printed", "reactornb: said", ""]
    assert sys.stdout is screen


def test_a_terminal_that_is_gone_ends_nothing():
    class Gone(Terminal):
        def write(self, text):
            raise OSError(5, os.strerror(5))

    console = Console(stream=Gone())
    console.say("words")
    console.show("more")
    console.hide()
    assert not console.is_terminal
