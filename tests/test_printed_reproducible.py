"""`run.printed` once the run is over: the same for 1, 2 and 8 workers, whether a reaction has raised or not."""

import asyncio
import concurrent.futures
import functools
import io
import itertools
import logging
import multiprocessing.pool
import sys
import threading
import traceback
from types import SimpleNamespace

import pytest

pytest.importorskip("IPython")

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction, startup
from reactornb.errors import ReactionError
from reactornb.notebook.output import Output as Session
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.origins import Origin
from reactornb.runtime.printed import Printed
from reactornb.runtime.sharing import Policy
from reactornb.tags import Tag

WORKERS = (1, 2, 8)


class Stream(io.StringIO):
    """Of a class of its own, as a kernel's."""


class Tapped:
    """Within it, what runs print goes to `Run.printed`, as in a notebook. pytest has streams of its own for each part of a test."""

    def __init__(self):
        self.out, self.err = Stream(), Stream()
        self.session = Session(self.out, self.err)

    def __enter__(self):
        self.before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self.out, self.err
        self.session.install()
        return self

    def __exit__(self, *_):
        self.session.uninstall()
        sys.stdout, sys.stderr = self.before

    @property
    def text(self):
        """All that was shown below cells."""
        return self.out.getvalue() + self.err.getvalue()


@pytest.fixture
def tapped():
    return Tapped()


@pytest.fixture
def share_all(monkeypatch):
    """Share every level among all workers."""
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))


def ended(tapped, root, workers, **options):
    with tapped:
        run = Program(root).start(workers=workers, fast=True, **options)
        run.wait(30)
    return run


LOGGER = logging.getLogger("of a reaction")


def by_print(text):
    print(text)


def by_pieces(text):
    sys.stdout.write(text[:3])
    sys.stdout.write(text[3:])
    sys.stdout.write("\n")


def by_stderr(text):
    print(text, file=sys.stderr)


def by_logging(text):
    LOGGER.error(text)


def by_traceback(text):
    traceback.print_exception(ValueError(text))


def by_thread(text):
    thread = threading.Thread(target=print, args=(text,), name=f"thread of {text}")
    thread.start()
    thread.join()


def by_timer(text):
    timer = threading.Timer(0.0, print, (text,))
    timer.name = f"timer of {text}"
    timer.start()
    timer.join()


def by_pool(text):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"pool of {text}") as pool:
        pool.submit(print, text).result()


def by_asyncio(text):
    asyncio.run(asyncio.to_thread(print, text))


def by_pool_of_threads(text):
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.apply(print, (text,))


def by_no_end(text):
    print(text, end=" ")


def by_bar(text):
    sys.stderr.write(f"\r1 of {text}")
    sys.stderr.write(f"\r2 of {text}")


WAYS = (by_print, by_pieces, by_stderr, by_logging, by_traceback, by_thread, by_timer, by_pool, by_no_end, by_bar)


def decorated(fn):
    @functools.wraps(fn)
    def wrapper(self, go):
        return fn(self, go)

    return wrapper


def failing(says, meet):
    """A program in which the reaction that raises waits until another of its level has printed, if there is another worker."""
    printed = threading.Event()

    class First(Reactor):
        go = Input[int]()

        @reaction(go)
        def on_go(self, go):
            says(f"first {go.value}")
            if go.value == 2:
                assert printed.wait(20) or not meet
                raise ValueError("first")

    class Second(Reactor):
        go = Input[int]()

        @reaction(startup)
        def on_startup(self):
            says("second starts")

        @reaction(go)
        @decorated
        def on_go(self, go):
            says(f"second {go.value}")
            if go.value == 2:
                printed.set()

    class Ticker(Reactor):
        tick = Timer(0, ms(1))
        out = Output[int]()

        @reaction(tick)
        def on_tick(self, out):
            says(f"tick {self.time_ns // ms(1)}")
            out.set(self.time_ns // ms(1))

    class Main(Reactor):
        ticker = Ticker()
        first = First()
        second = Second()
        connect(ticker.out, first.go)
        connect(ticker.out, second.go)

    if not meet:
        printed.set()
    return Main


@pytest.mark.parametrize("says", WAYS, ids=lambda f: f.__name__)
def test_what_a_reaction_printed_that_counts_as_not_run_is_taken_out(says, tapped, share_all, monkeypatch):
    handler = logging.StreamHandler(tapped.err)
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    monkeypatch.setattr(LOGGER, "propagate", False)
    found = []
    for workers in WORKERS:
        run = ended(tapped, failing(says, meet=workers > 1), workers, until=ms(9))
        with pytest.raises(ReactionError, match="first"):
            run.result()
        if workers > 1:
            assert "second 2" in tapped.text or says in (by_no_end, by_bar), "below the cell"
        found.append((str(run.printed), run.printed.text, run.printed.count, len(run.printed)))
    assert found[1:] == found[:-1]
    assert "second 2" not in found[0][0]
    if says not in (by_no_end, by_bar):
        assert [line.split(": ", 1)[1] for line in found[0][0].splitlines() if "second starts" not in line][-2:] == [
            line if says is not by_traceback else f"ValueError: {line}" for line in ("tick 2", "first 2")
        ]


def test_what_the_same_reactor_printed_on_an_earlier_level_of_the_tag_stays(tapped, share_all):
    met = threading.Event()

    class Early(Reactor):
        out = Output[int]()

        @reaction(startup)
        def on_startup(self, out):
            out.set(1)

    class Late(Reactor):
        inp = Input[int]()

        @reaction(startup)
        def on_startup(self):
            print("of the first level")

        @reaction(inp)
        def on_inp(self):
            print("of the second")
            met.set()

    class Echo(Reactor):
        inp = Input[int]()

        @reaction(inp)
        def on_inp(self):
            assert met.wait(20)
            raise ValueError("late")

    class Both(Reactor):
        early = Early()
        echo = Echo()
        late = Late()
        connect(early.out, echo.inp)
        connect(early.out, late.inp)

    found = []
    for workers in WORKERS:
        met.clear()
        if workers == 1:
            met.set()
        run = ended(tapped, Both, workers)
        with pytest.raises(ReactionError, match="late"):
            run.result()
        found.append(str(run.printed))
    assert found == ["late (0, 0): of the first level"] * 3


class Talker(Reactor):
    tick = Timer(0, ms(1))
    fails_at: int = -1

    @reaction(tick)
    def on_tick(self):
        print(self.time_ns // ms(1), end=" ")
        print("on", "out")
        print("on err", file=sys.stderr)
        if self.time_ns // ms(1) == self.fails_at:
            raise ValueError("talker")


@pytest.mark.parametrize("repeat", range(3))
def test_enclaves_that_are_ahead_of_one_that_fails_have_printed_nothing(repeat, tapped):
    class Apart(Reactor):
        a = enclave(Talker(fails_at=20))
        b = enclave(Talker())

    found = []
    for workers in WORKERS:
        run = ended(tapped, Apart, workers, until=ms(200))
        with pytest.raises(ReactionError, match=r"\.a"):
            run.result()
        found.append(str(run.printed))
    assert found[1:] == found[:-1]
    lines = found[0].splitlines()
    assert len(lines) == 2 * 21 + 2 * 20
    assert lines[-4:] == [
        "b (19 ms, 0): 19 on out",
        "b (19 ms, 0): on err",
        "a (20 ms, 0): 20 on out",
        "a (20 ms, 0): on err",
    ]


class Dots(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        print(self.bank_index, end="")
        print(f"line of {self.bank_index}", file=sys.stderr)

    @reaction(tick)
    def later(self):
        if self.time_ns == ms(20):
            print("!")


class Healthy(Reactor):
    dots = Bank(Dots, 12)


def test_a_run_that_ends_well_has_its_lines_in_one_order_and_a_reactors_open_line_is_its_own(tapped, share_all):
    found = [str(ended(tapped, Healthy, workers, until=ms(20)).printed) for workers in WORKERS]
    assert found[1:] == found[:-1]
    lines = found[0].splitlines()
    assert lines[:12] == [f"dots[{i}] (0, 0): line of {i}" for i in range(12)]
    assert lines[-12:] == [f"dots[{i}] (20 ms, 0): {str(i) * 21}!" for i in range(12)]


def test_a_thread_of_a_reaction_that_counts_as_not_run_adds_nothing_after_the_end(tapped, share_all):
    go = threading.Event()
    begun = []

    class First(Reactor):
        @reaction(startup)
        def on_startup(self):
            assert printed.wait(20)
            raise ValueError("first")

    class Second(Reactor):
        @reaction(startup)
        def on_startup(self):
            begun.append(threading.Thread(target=lambda: (go.wait(20), print("late")), name="late"))
            begun[-1].start()
            printed.set()

    class Both(Reactor):
        first = First()
        second = Second()

    printed = threading.Event()
    run = ended(tapped, Both, 2)
    with pytest.raises(ReactionError):
        run.result()
    with tapped:
        go.set()
        begun[0].join(20)
    assert (str(run.printed), run.printed.count) == ("", 0)
    assert tapped.out.getvalue() == "late\n"


@pytest.mark.parametrize(
    "says", [by_thread, by_timer, by_pool, by_asyncio, by_pool_of_threads], ids=lambda f: f.__name__
)
def test_threads_that_a_reaction_starts_print_for_its_run_and_so_do_theirs(says, tapped):
    class Starts(Reactor):
        @reaction(startup)
        def on_startup(self):
            inner = threading.Thread(target=lambda: (says("nested"), print("own")), name="own")
            inner.start()
            inner.join()

    run, other = ended(tapped, Starts, 1), ended(tapped, Healthy, 1, until=0)
    assert run.printed.text == "nested\nown\n"
    assert "nested" not in other.printed.text


def test_a_thread_that_outlives_its_run_goes_on_printing_for_it(tapped):
    go, begun = threading.Event(), []

    class Starts(Reactor):
        @reaction(startup)
        def on_startup(self):
            begun.append(threading.Thread(target=lambda: (go.wait(20), print("later"))))
            begun[0].start()
            print("now")

    with tapped:
        run = Program(Starts).start(workers=2)
        run.result(20)
        print("of the cell")
        go.set()
        begun[0].join(20)
    assert run.printed.text == "now\nlater\n"


def test_while_lines_are_taken_out_another_enclave_goes_on_printing():
    log = Printed()
    other = SimpleNamespace(current_tag=lambda: Tag(0, next(microsteps)), enclave=1)
    microsteps = itertools.count()
    for _ in range(3):
        log.write("begun ", other)

    class Moving(tuple):
        """A tag; whenever it is compared, the other enclave begins to print at one more."""

        __slots__ = ()

        def __eq__(self, _):
            log.opens[-1, threading.get_ident(), False].continue_as(
                line._replace(origin=Origin(0, next(microsteps), enclave=1))
            )
            return False

        __hash__ = tuple.__hash__

    line = log.opens[-1, threading.get_ident(), False].line
    log.forget(Moving((5, 0)), 0, [SimpleNamespace(index=1, node=SimpleNamespace(reactor=1))])
    assert [said.partition(": ")[2] for said in log.lines()] == ["begun begun begun "]


class Mixed(Reactor):
    """Prints whole lines, beginnings and ends of lines, on both streams."""

    tick = Timer(0, ms(1))
    out = Output[int]()
    fails_at: int = -1

    @reaction(tick)
    def on_tick(self, out):
        print(self.full_name[-2:], end=" ")
        if self.rng.random() < 0.4:
            print("line", self.time_ns, file=sys.stderr)
        if self.rng.random() < 0.3:
            print()
        if self.time_ns // ms(1) == self.fails_at:
            raise ValueError("mixed")
        out.set(0)


class MixedReader(Reactor):
    inp = Input[int]()
    fails_at: int = -1

    @reaction(inp)
    def on_inp(self, inp):
        print("read", end="." if self.rng.random() < 0.5 else "\n")
        if self.rng.random() < 0.3:
            by_thread("of a thread")
        if self.time_ns // ms(1) == self.fails_at:
            raise ValueError("reader")

    @reaction(inp)
    def then(self):
        print("second", end="\r" if self.rng.random() < 0.2 else "\n")


class Part(Reactor):
    sends: int = -1
    reads: int = -1

    def compose(self):
        self.good = Bank(Mixed, 4)
        self.bad = Mixed(fails_at=self.sends)
        self.readers = Bank(MixedReader, 4)
        self.reader = MixedReader(fails_at=self.reads)
        connect(self.good.out, self.readers.inp)
        connect(self.bad.out, self.reader.inp)


class Parts(Reactor):
    first: int = -1
    second: int = -1
    reads: int = -1

    def compose(self):
        self.a = enclave(Part(sends=self.first, reads=self.reads))
        self.b = enclave(Part(sends=self.second))
        self.c = enclave(Part())


@pytest.mark.slow
@pytest.mark.parametrize(
    "fails",
    [{}, {"reads": 11}, {"first": 17, "second": 17}, {"first": 19, "second": 12, "reads": 15}],
    ids=["none", "a reader", "two at one tag", "three"],
)
def test_enclaves_levels_threads_and_lines_without_end_all_at_once(fails, tapped, share_all):
    found = []
    for workers in (1, 2, 3, 8):
        with tapped:
            run = Program(Parts, **fails).start(workers=workers, fast=True, until=ms(20), seed=3)
            run.wait(60)
        found.append((str(run.printed), run.printed.text, run.printed.count, str(run.failure)))
    assert found[1:] == found[:-1]
    assert found[0][2] > 100
