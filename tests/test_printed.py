"""What reactions print: all of it in `run.printed`, in a shown run's panel or below the cell that started it, and not too much there."""

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("IPython")

from IPython.utils.capture import capture_output

from reactornb import Bank, Program, Reactor, RunOptions, Timer, ms, reaction, startup
from reactornb.lf import loads
from reactornb.notebook.below import Below
from reactornb.notebook.output import Output
from reactornb.runtime import FakeClock
from reactornb.runtime.printed import Printed
from reactornb.runtime.threads import scheduler_of_thread
from reactornb.tags import Tag


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


class Says(Reactor):
    """Does at startup whatever it is given."""

    what = None

    @reaction(startup)
    def on_startup(self):
        self.what(self)


def says(what):
    return type("Says", (Says,), {"what": staticmethod(what)})


class Stream(io.StringIO):
    """As ipykernel's: it can be told on behalf of which cell a thread writes."""

    def __init__(self):
        super().__init__()
        self.parent_header = {"msg_id": "one"}
        self.cells = {}
        self._here = threading.local()

    def set_thread_parent(self, parent):
        before = getattr(self._here, "parent", None)
        self._here.parent = parent
        return before

    def reset_thread_parent(self, before):
        self._here.parent = before

    def write(self, text):
        cell = getattr(self._here, "parent", None) or self.parent_header
        self.cells[cell["msg_id"]] = self.cells.get(cell["msg_id"], "") + text
        return super().write(text)


@pytest.fixture
def streams():
    return SimpleNamespace(out=Stream(), err=Stream())


@pytest.fixture
def output(streams):
    """Tests install it themselves: pytest has streams of its own for each part of a test."""
    return Output(streams.out, streams.err)


@pytest.fixture
def replaced(output, streams):
    """Everything printed in the test's body goes to it."""

    @contextmanager
    def replaced():
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = streams.out, streams.err
        output.install()
        try:
            yield
            assert (sys.stdout, sys.stderr) == (streams.out, streams.err)
        finally:
            output.uninstall()
            sys.stdout, sys.stderr = before
        assert type(streams.out) is Stream

    return replaced


@pytest.fixture
def start(output, replaced):
    def start(root, timeout_ms=10, workers=2):
        """A run that is over, started as `%reactor start` does."""
        with replaced():
            output.keep_new(True)
            run = Program(root).start(workers=workers, clock=FakeClock(), until=ms(timeout_ms))
            output.undecided(run)
            output.keep_new(False)
            run.result(20)
        return run

    return start


@pytest.fixture
def second(monkeypatch):
    """The clock by which lines are counted stands still; setting `second.now` moves it."""
    clock = SimpleNamespace(now=7.5)
    monkeypatch.setattr("reactornb.notebook.below.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_each_line_comes_with_its_reactor_and_its_tag(output, start, streams):
    run = start(Main)
    output.shown(run)
    assert sorted(run.printed.lines()) == sorted(
        [f"speakers[{i}] (0, 0): hello, world" for i in range(2)]
        + [f"speakers[{i}] ({t}, 0): {i}" for i in range(2) for t in ("0", "10 ms")]
    )
    assert (run.printed.count, len(run.printed), run.printed.dropped) == (6, 6, 0)
    assert streams.out.getvalue() == ""


def test_a_run_that_nobody_shows_prints_as_python_does(output, start, replaced, streams):
    start(Main)
    output.let_go()
    said = sorted(streams.out.getvalue().split("\n"))
    assert said == ["", "0", "0", "1", "1", "hello, world", "hello, world"], "held back till now"
    with replaced():
        Program(Main).run(workers=2, clock=FakeClock(), until=0)
        assert streams.out.getvalue().count("world") == 4
        print("from a cell")
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
    assert streams.out.getvalue().endswith("from a cell\nfrom a thread\n")


def by_print(_):
    for i in range(3000):
        print(f"line {i}")


def by_write(_):
    sys.stdout.write("".join(f"line {i}\n" for i in range(3000)))


def by_writelines(_):
    sys.stdout.writelines(f"line {i}\n" for i in range(3000))


def by_stderr(_):
    for i in range(3000):
        print(f"line {i}", file=sys.stderr)


def by_logging(_):
    for i in range(3000):
        HANDLER.emit(logging.makeLogRecord({"msg": f"line {i}"}))


def by_warnings(_):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: sys.stderr.write(f"{message}\n")
        for i in range(3000):
            warnings.warn(f"line {i}", stacklevel=1)


def by_two_pieces(_):
    for i in range(3000):
        sys.stdout.write("line ")
        sys.stdout.write(f"{i}\n")


HANDLER = logging.StreamHandler()


@pytest.mark.parametrize(
    "what",
    [by_print, by_write, by_writelines, by_stderr, by_logging, by_warnings, by_two_pieces],
    ids=lambda f: f.__name__,
)
def test_a_flood_is_cut_below_the_cell_whatever_prints_it_and_whole_in_printed(what, replaced, streams, output, second):
    HANDLER.setStream(streams.err)  # the stream itself, as it was before the session tapped it
    with replaced():
        run = Program(says(what)).start(workers=1, clock=FakeClock(), until=0)
        run.result(20)
        output.settle()
    assert run.printed.text == "".join(f"line {i}\n" for i in range(3000))
    shown = (streams.out.getvalue() + streams.err.getvalue()).splitlines()
    assert shown[:200] == [f"line {i}" for i in range(200)]
    assert shown[200] == f"… 2,780 lines not shown: run.printed has them (run {run.number} of says)"
    assert shown[201:] == [f"line {i}" for i in range(2980, 3000)]
    tail = run.printed.tail(10)
    assert (len(tail), tail[0]) == (11, "… 2,990 lines not shown: run.printed has them")
    assert tail[-1] == "says (0, 0): line 2999"


def test_a_second_later_the_next_lines_are_shown_behind_those_left_out(replaced, streams, second):
    def flood(_):
        by_print(_)
        second.now += 1
        print("later")

    with replaced():
        Program(says(flood)).run(workers=1, clock=FakeClock(), until=0)
    shown = streams.out.getvalue().splitlines()
    assert (len(shown), shown[200][:23], shown[-1]) == (222, "… 2,780 lines not shown", "later")


@pytest.mark.slow
def test_below_one_cell_there_is_an_end_to_it(replaced, streams, output, second):
    def for_hours(_):
        for i in range(12_000):
            second.now += 0.01
            print(i)

    with replaced():
        run = Program(says(for_hours)).start(workers=1, clock=FakeClock(), until=0)
        run.result(20)
        output.settle()
    shown = streams.out.getvalue().splitlines()
    assert shown[9_999:10_001] == [
        "9999",
        f"… run {run.number} of says has printed 10,000 lines here; the rest is in run.printed, and its last lines come here at the end. As the last line of a cell, the run shows itself in a panel.",
    ]
    assert shown[10_001].startswith("… 1,980 lines not shown")
    assert (shown[-1], len(shown)) == ("11999", 10_022)
    assert run.printed.count == len(run.printed) == 12_000


@pytest.mark.slow
def test_lines_without_end_and_progress_bars_are_cut_too_and_the_last_state_is_shown(replaced, streams, output, second):
    def bar(_):
        for i in range(5000):
            sys.stderr.write(f"\r{i:5} of 5000")
        sys.stderr.write("\n")
        print("x" * 300_000)
        for _ in range(12_000):
            print("no end", end=" ")

    with replaced():
        run = Program(says(bar)).start(workers=1, clock=FakeClock(), until=0)
        run.result(20)
        output.settle()
    assert run.printed.lines()[0] == "says (0, 0):  4999 of 5000", "what is seen of a line once it is over"
    assert "x" * 300_000 in run.printed.text
    shown = streams.out.getvalue() + streams.err.getvalue()
    assert "4999 of 5000" in shown
    assert len(shown) < 60_000
    assert len(run.printed.lines()[-1]) < Printed.longest_open + 100
    assert run.printed.text.count("no end") > 11_000


def test_an_open_line_is_among_those_a_panel_shows():
    log = Printed()
    scheduler = SimpleNamespace(current_tag=lambda: Tag(0, 0))
    for text in ("\r 1 of 9", "\r 2 of 9", "\x1b[32m!\x1b[0m"):
        log.write(text, scheduler, True)
    name = threading.current_thread().name
    assert log.lines() == [f"(0, 0, {name}):  2 of 9!"]
    version = log.version
    log.write("\r 3 of 9\x1b[A\r\n", scheduler, True)
    assert log.lines() == [f"(0, 0, {name}):  3 of 9"]
    assert (log.count, log.version > version) == (1, True)


@pytest.mark.slow
def test_what_is_kept_is_bounded_in_lines_and_in_characters():
    log = Printed()
    scheduler = SimpleNamespace(current_tag=lambda: Tag(0, 0))
    log.write("".join(f"{i}\n" for i in range(100_500)), scheduler)
    assert (len(log), log.count, log.dropped) == (100_000, 100_500, 500)
    assert log.text.startswith("500\n")
    assert log.tail(1)[0] == "… 100,499 lines not shown: run.printed has the last 100,000"
    for _ in range(20):
        log.write("x" * 1_000_000 + "\n", scheduler)
    assert (len(log), log.dropped) == (8, 100_512)
    log.write("y" * 20_000_000 + "\n", scheduler)
    assert len(log.text) == Printed.kept_chars + 1
    assert len("\n".join(log.tail())) < 30_000, "what a page gets"


@pytest.mark.parametrize(
    "capture", [capture_output, lambda: contextlib.redirect_stdout(io.StringIO())], ids=["%%capture", "redirect_stdout"]
)
def test_a_capture_takes_its_own_cells_lines_only(capture, replaced, streams):
    go, said, over = threading.Event(), threading.Event(), threading.Event()

    def speak(_):
        go.wait(20)
        print("of the run")
        said.set()
        over.wait(20)
        print("later")

    with replaced():
        run = Program(says(speak)).start(workers=1, clock=FakeClock(), until=0)
        streams.out.parent_header = {"msg_id": "two"}
        with capture() as captured:
            print("of the cell")
            go.set()
            assert said.wait(20)
        over.set()
        run.result(20)
        print("in the end")
    text = captured.stdout if hasattr(captured, "stdout") else captured.getvalue()
    assert text == "of the cell\n"
    assert streams.out.cells == {"one": "of the run\nlater\n", "two": "in the end\n"}
    assert run.printed.text == "of the run\nlater\n"


def test_a_run_that_is_started_in_a_capture_prints_there_all_of_it_and_to_the_end(replaced, streams):
    go = threading.Event()

    def speak(_):
        by_print(_)
        go.wait(20)
        print("later")

    with replaced():
        with capture_output() as captured:
            run = Program(says(speak)).start(workers=1, clock=FakeClock(), until=0)
        go.set()
        run.result(20)
        with contextlib.redirect_stdout(io.StringIO()) as file:
            Program(says(by_print)).run(workers=1, clock=FakeClock(), until=0)
        file.close()
    assert captured.stdout == "".join(f"line {i}\n" for i in range(3000)) + "later\n"
    assert run.printed.count == 3001
    assert streams.out.getvalue() == ""


def test_a_reactions_own_redirection_takes_what_that_reaction_prints(replaced, streams):
    """With Python's own, two threads that take turns leave `sys.stdout` redirected for ever."""
    both = threading.Barrier(2)

    class Quiet(Reactor):
        @reaction(startup)
        def on_startup(self):
            with contextlib.redirect_stdout(io.StringIO()) as own:
                both.wait(20)
                print(f"noise {self.bank_index}")
                both.wait(20)
            sys.stdout.write(f"had {own.getvalue()}")

    class Two(Reactor):
        quiet = Bank(Quiet, 2)

    with replaced():
        Program(Two).run(workers=2, clock=FakeClock(), until=0)
        assert sys.stdout is streams.out
    assert sorted(streams.out.getvalue().splitlines()) == ["had noise 0", "had noise 1"]


def test_a_thread_that_a_reaction_starts_prints_for_its_run(replaced, streams, second):
    def pool(self):
        thread = threading.Thread(target=by_print, args=(self,))
        thread.start()
        thread.join()

    with replaced():
        run = Program(says(pool)).start(workers=1, clock=FakeClock(), until=0)
        run.result(20)
    assert run.printed.count == 3000
    assert streams.out.getvalue().count("\n") == 200


def test_what_c_code_writes_is_a_runs_while_no_cell_executes(output, replaced, streams, second):
    gone = threading.Event()
    tap = output.taps["stdout"]

    def outside(text):
        tap._outside = threading.Thread(target=tap.real.write, args=(text,))
        tap._outside.start()
        tap._outside.join()

    with replaced():
        run = Program(says(lambda _: gone.wait(20))).start(workers=1, clock=FakeClock(), until=0)
        outside("of a cell, for all one knows\n")
        output.executing(False)
        outside("of the run\n" * 1000)
        output.executing(True)
        gone.set()
        run.result(20)
        output.executing(False)
        outside("of nobody\n")
    assert run.printed.count == 1000
    assert streams.out.getvalue().splitlines() == ["of a cell, for all one knows", *["of the run"] * 200, "of nobody"]


def test_bodies_of_lingua_franca_programs_say_where_they_are_too(start):
    made = loads(
        "target Python\nreactor A { reaction(startup) {= print('hi') =} }\nmain reactor { a = new[2] A() }", file="a.lf"
    )
    assert sorted(start(made.main, timeout_ms=0).printed.lines()) == ["a[0] (0, 0): hi", "a[1] (0, 0): hi"]


def test_what_was_held_back_comes_before_what_is_printed_while_it_is_let_go(output):
    written = []

    class Slow(Stream):
        def write(self, text):
            if text.startswith("held"):
                other.start()
                other.join(0.1)  # it cannot get ahead, however long this takes
            written.append(text)

    slow = output.taps["stdout"]
    slow._own = Slow().write
    run = SimpleNamespace(
        printed=Printed(), number=1, program=SimpleNamespace(name="main"), options=RunOptions(), is_alive=True
    )
    run = type("Run", (), vars(run))()
    below = run.printed.below = Below(run, None, {}, True, lambda _: None)
    begun = run.printed.open(SimpleNamespace(current_tag=lambda: Tag(0, 0)), False, slow)
    other = threading.Thread(target=below.write, args=("later\n", 6, "later\n", begun))
    output.undecided(run)
    below.write("held back\n", 10, "held back\n", begun)
    output.let_go()
    other.join(10)
    assert "".join(written) == "held back\nlater\n"


def test_on_the_command_line_nothing_is_cut_and_nothing_kept(capsys):
    run = Program(says(by_print)).start(workers=1, clock=FakeClock(), until=0)
    run.result(20)
    assert capsys.readouterr().out == "".join(f"line {i}\n" for i in range(3000))
    assert (run.printed.count, len(run.printed)) == (0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_a_reaction_forks_prints_whatever_another_thread_held(replaced, streams):
    seen = []

    def fork(self):
        log = scheduler_of_thread().printed
        with log._lock, log.below._lock:
            child = os.fork()
            if not child:
                print("in the child")
                os._exit(len(streams.out.getvalue()))
        seen.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    with replaced():
        Program(says(fork)).run(workers=1, clock=FakeClock(), until=0)
    assert seen == [len("in the child\n")]


def test_who_wraps_the_streams_write_for_a_cell_gets_the_cells_lines_only(replaced, streams):
    """IPython does, and keeps all that it sees."""
    wrapped = []
    with replaced():
        before = sys.stdout.write

        def write(text):
            wrapped.append(text)
            return before(text)

        sys.stdout.write = write
        print("of the cell")
        Program(says(lambda _: print("of the run"))).run(workers=1, clock=FakeClock(), until=0)
        sys.stdout.write = before
        print("of the next")
    assert "".join(wrapped) == "of the cell\n"
    assert streams.out.getvalue() == "of the cell\nof the run\nof the next\n"


def test_what_reactions_display_is_published_by_the_thread_that_runs_cells_below_the_right_cell_and_not_too_much(
    streams,
):
    seen = []

    class Publisher(Stream):
        def publish(self, data, metadata=None, **options):
            cell = getattr(self._here, "parent", None) or self.parent_header
            seen.append((data["text/plain"], cell["msg_id"], threading.current_thread() is threading.main_thread()))

    publisher = Publisher()
    output = Output(streams.out, streams.err, publisher=publisher)

    def show(_):
        for i in range(50):
            publisher.publish({"text/plain": f"figure {i}", "image/png": "x" * 1000})

    output.install()
    try:
        run = Program(says(show)).start(workers=1, clock=FakeClock(), until=0)
        run.result(20)
        publisher.parent_header = {"msg_id": "two"}
        assert seen == [], "no worker publishes"
        output.settle()
        publisher.publish({"text/plain": "of a cell"})
        large = Program(says(lambda _: [publisher.publish({"text/plain": s * 500_000}) for s in "abc"]))
        large.run(workers=1, clock=FakeClock(), until=0)
        output.settle()
    finally:
        output.uninstall()
    assert seen[:6] == [*((f"figure {i}", "one", True) for i in range(45, 50)), ("of a cell", "two", True)]
    assert [text[0] for text, *_ in seen[6:]] == ["c"], "the newest, and no more than a server lets through"
    assert streams.out.getvalue().splitlines() == [
        f"… 45 outputs of run {run.number} of says not shown",
        f"… 2 outputs of run {run.number + 1} of says not shown",
    ]
    assert run.printed.text == "".join(f"[figure {i}]\n" for i in range(50))
    assert publisher.publish.__func__ is Publisher.publish
