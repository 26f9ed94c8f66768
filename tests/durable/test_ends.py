"""How a kept run ends where something goes wrong, and what is printed meanwhile."""

import io
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keeping_runs import ended, kept_until
from resumable import Training

from reactornb import Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction, resume, shutdown, startup
from reactornb.durable.keeping import Keeping
from reactornb.runtime import at_exit
from reactornb.runtime.quiet import quiet

pytestmark = [pytest.mark.usefixtures("runs"), pytest.mark.thread_unsafe(reason="changes the environment")]


class Talks(Reactor):
    """Says what it does."""

    needs_physical_time = False
    tick = Timer(0, ms(1))

    @reaction(startup)
    def begin(self):
        sys.stdout.write("begins\n")
        sys.stderr.write("warns\n")

    @reaction(tick)
    def on_tick(self):
        pass

    @reaction(shutdown)
    def end(self):
        sys.stdout.write("ends\n")


def test_startup_and_shutdown_that_run_once_more_print_nothing(capsys):
    run = kept_until(Program(Talks), (ms(3), 0), workers=1)
    run.stop()
    assert capsys.readouterr() == ("begins\nends\n", "warns\n")
    resume("r").stop()
    assert capsys.readouterr() == ("ends\n", "")
    assert not [s for s in (sys.stdout, sys.stderr) if hasattr(s, "thread")]


def test_only_the_thread_that_is_quiet_is_not_heard_also_by_a_stream_that_was_kept(monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stdout", heard)
    with quiet():
        kept = sys.stdout
        sys.stdout.write("this thread\n")
        other = threading.Thread(target=lambda: sys.stdout.write("another\n"))
        other.start()
        other.join()
        with quiet():
            sys.stdout.write("within\n")
    kept.writelines(["later\n"])
    assert sys.stdout is heard
    assert heard.getvalue() == "another\nlater\n"


def test_an_end_that_cannot_be_written_down_keeps_nobody_waiting(monkeypatch):
    def fails(*_):
        raise OverflowError("a fault of ours")

    run = kept_until(Program(Training), (ms(3), 0), workers=1, fingerprint=True, until=ms(20))
    monkeypatch.setattr(Keeping, "_write_end", fails)
    run.stop(20.0)
    assert run.state == "stopped"
    assert any("a fault of ours" in words for words in run.notices.words)
    monkeypatch.undo()
    monkeypatch.setenv("REACTORNB_RUNS", str(run.kept.parent))
    whole = Program(Training).run(workers=1, fingerprint=True, until=ms(20))
    assert ended().fingerprint == whole.fingerprint  # the folder was let go


def test_at_exit_what_is_left_of_a_run_is_written_however_long_that_takes(monkeypatch, capsys):
    monkeypatch.setattr(at_exit, "PATIENCE_S", 0.01)
    write_end, late = Keeping._write_end, threading.Event()

    def slowly(self, *args):
        late.wait(20.0)
        write_end(self, *args)

    monkeypatch.setattr(Keeping, "_write_end", slowly)
    monkeypatch.setattr(at_exit, "_say", lambda words: (sys.stdout.write(words), late.set()))
    run = kept_until(Program(Training), (ms(3), 0), workers=1, until=ms(20))
    run.request_stop()
    while not run._is_written:
        run._finished.wait(0.01)
    at_exit.end([run])
    assert run.state == "stopped"
    assert "is still written to" in capsys.readouterr().out


class Teaches(Reactor):
    """Answers whatever comes, five times, and is heard of two milliseconds later."""

    needs_physical_time = False
    played = Input[int]()
    weights = Output[int]()

    @reaction(startup)
    def on_startup(self, weights):
        weights.set(0)

    @reaction(played)
    def on_played(self, played, weights):
        self.log(played=played.value)
        if played.value < 5:
            weights.set(played.value)


class Plays(Reactor):
    weights = Input[int]()
    played = Output[int]()

    @reaction(weights)
    def on_weights(self, weights, played):
        played.set(weights.value + 1)


class Overlapping(Reactor):
    needs_physical_time = False
    teaches = enclave(Teaches())
    plays = Plays()
    connect(teaches.weights, plays.weights, after=ms(2))
    connect(plays.played, teaches.played)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_on_its_way_between_enclaves_at_the_first_cut_keeps_the_run_alive(workers):
    result = Program(Overlapping()).run(workers=workers, keep="r")
    assert list(result.metrics["played"]) == [1, 2, 3, 4, 5]
