"""What reactions print: the log of a shown run, with reactor and tag, and not too much of it; below the cell otherwise."""

import io
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("IPython")

from reactornb import Bank, Program, Reactor, Timer, ms, reaction, startup
from reactornb.lf import loads
from reactornb.notebook.output import Output
from reactornb.runtime import FakeClock
from reactornb.tags import Tag
from reactornb.viz.printed import Printed


class Speaker(Reactor):
    tick = Timer(0, ms(10))

    @reaction(startup)
    def on_startup(self):
        print("hello,", end=" ")
        helped(self)

    @reaction(tick)
    def on_tick(self):
        print(self.bank_index)


def helped(_):
    """Not a method: its caller is the reactor."""
    print("world")


class Main(Reactor):
    speakers = Bank(Speaker, 2)


class Loud(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        print("one\ntwo\nthree")


@pytest.fixture
def output():
    """Tests install it themselves: pytest has a stream of its own for each part of a test."""
    return Output(io.StringIO())


@pytest.fixture
def replaced(output):
    """Everything printed in the test's body goes to it."""

    @contextmanager
    def replaced():
        before = sys.stdout
        output.install()
        yield
        assert sys.stdout is output
        output.uninstall()
        assert sys.stdout is output._real
        sys.stdout = before

    return replaced


@pytest.fixture
def start(output, replaced):
    def start(root, timeout_ms=10, workers=2):
        """A run that is over, started as `%reactor start` does."""
        with replaced():
            output.keep_new(True)
            run = Program(root).start(workers=workers, clock=FakeClock(), timeout=ms(timeout_ms))
            output.undecided(run)
            output.keep_new(False)
            run.result(20)
        return run

    return start


def test_each_line_comes_with_its_reactor_and_its_tag(output, start):
    run = start(Main)
    log = output.of(run)
    said = sorted(log.lines())
    assert said == sorted(
        [f"speakers[{i}] (0, 0): hello, world" for i in range(2)]
        + [f"speakers[{i}] ({t}, 0): {i}" for i in range(2) for t in ("0", "10 ms")]
    )
    assert (log.count, log.left_out) == (6, 0)
    assert output._real.getvalue() == ""


def test_a_run_that_nobody_shows_prints_as_python_does(output, start, replaced):
    start(Main)
    output.let_go()
    assert sorted(output._real.getvalue().split("\n")) == [
        "",
        "0",
        "0",
        "1",
        "1",
        "hello, world",
        "hello, world",
    ]  # kept till now
    with replaced():
        Program(Main).run(workers=2, clock=FakeClock(), timeout=0)
        assert output._real.getvalue().count("world") == 4
        print("from a cell")
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
    assert output._real.getvalue().endswith("from a cell\nfrom a thread\n")


def test_what_comes_too_fast_to_be_read_is_counted_and_left_out(output, start, monkeypatch):
    monkeypatch.setattr("reactornb.viz.printed.time.monotonic", lambda: 7.5)
    log = output.of(start(Loud, timeout_ms=999, workers=1))
    assert (log.count, log.left_out) == (3000, 2800)
    lines = log.lines()
    assert len(lines) == 201
    assert lines[199] == "loud (66 ms, 0): two"
    assert lines[200] == "… more than 200 lines in a second; the rest is left out"


def test_a_log_keeps_its_last_lines_only(monkeypatch):
    class Scheduler:
        def current_tag(self):
            from reactornb import Tag

            return Tag(0, 0)

    clock = iter(range(10**6))
    monkeypatch.setattr("reactornb.viz.printed.time.monotonic", lambda: next(clock))
    log = Printed()
    for i in range(5000):
        assert log.write(f"{i}\n", Scheduler()) == ""
    assert len(log.lines()) == Printed.kept
    assert log.lines(1) == [f"(0, 0, {threading.current_thread().name}): 4999"]
    log.write("begun, ", Scheduler())
    assert log.close()[-1] == "4999"
    assert log.write("ended\n", Scheduler()) == "begun, ended\n"


def test_bodies_of_lingua_franca_programs_say_where_they_are_too(output, start):
    made = loads(
        "target Python\nreactor A { reaction(startup) {= print('hi') =} }\nmain reactor { a = new[2] A() }", file="a.lf"
    )
    log = output.of(start(made.main, timeout_ms=0))
    assert sorted(log.lines()) == ["a[0] (0, 0): hi", "a[1] (0, 0): hi"]


def test_everything_else_is_asked_of_the_real_stream(output):
    output.writelines(["a", "b"])
    output.flush()
    assert output.getvalue() == "ab"


def test_what_was_kept_comes_before_what_is_printed_while_it_is_let_go(monkeypatch):
    scheduler = SimpleNamespace(workers=[], current_tag=lambda: Tag(0, 0))
    run = SimpleNamespace(_engine=SimpleNamespace(workers=scheduler.workers))
    monkeypatch.setattr("reactornb.notebook.output.current_scheduler", lambda: scheduler)
    written = []

    class Real:
        def write(self, text):
            if text.startswith("kept"):
                other.start()
                other.join(0.1)  # it cannot get ahead, however long this takes
            written.append(text)

    output = Output(Real())
    other = threading.Thread(target=output.write, args=("later\n",))
    output.undecided(run)
    output.write("kept\n")
    output.let_go()
    other.join(10)
    assert "".join(written) == "kept\nlater\n"
