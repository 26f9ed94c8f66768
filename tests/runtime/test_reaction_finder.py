"""Which reaction a stack is in: members of banks, handlers, decorators, plain calls, other threads, other runs of the class."""

import functools
import sys
import threading

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction, startup
from reactornb.runtime.notices import whereabouts
from reactornb.runtime.reaction_finder import ReactionFinder
from reactornb.runtime.workers import current_scheduler
from reactornb.testing import FakeClock, run_to_end

pytestmark = pytest.mark.thread_unsafe(reason="reactions write into one list")
SEEN = []
CLOCK = FakeClock()


def here():
    """The reaction's name, the line's distance from `def`, and the innermost reactor, each from this stack."""
    finder = ReactionFinder(current_scheduler().schedule)
    sure = finder.find(sys._getframe(1), with_reactor=True)
    loose = finder.find(sys._getframe(1))
    return sure.name, loose.name, "" if sure.reactor is None else sure.reactor.full_name


def wrapped(f):
    @functools.wraps(f)
    def wrapper(self):
        return f(self)

    return wrapper


def helper():
    SEEN.append(here())


class Member(Reactor):
    tick = Timer(0, ms(1))

    @reaction(startup)
    def on_startup(self):
        helper()

    @reaction(tick)
    def on_tick(self):
        type(self).on_startup.fn(self)
        self.request_stop()


class Bankful(Reactor):
    def compose(self):
        self.members = Bank(Member, 2)


def test_members_of_a_bank_are_told_by_self_and_a_plain_call_counts_for_its_caller():
    SEEN.clear()
    run_to_end(Bankful)
    assert [name for name, _, _ in SEEN] == [
        "bankful.members[0].on_startup",
        "bankful.members[1].on_startup",
        "bankful.members[0].on_tick",
        "bankful.members[1].on_tick",
    ]
    assert all(name == loose for name, loose, _ in SEEN)
    assert [reactor for _, _, reactor in SEEN] == ["bankful.members[0]", "bankful.members[1]"] * 2


class Decorated(Reactor):
    """Two reactions whose outer functions are one code."""

    tick = Timer(0, ms(1))

    @reaction(startup)
    @wrapped
    def on_startup(self):
        helper()

    @reaction(tick)
    @wrapped
    def on_tick(self):
        helper()
        self.request_stop()


def test_reactions_of_one_decorator_are_told_by_what_it_wraps():
    SEEN.clear()
    run_to_end(Decorated)
    assert [name for name, _, _ in SEEN] == ["decorated.on_startup", "decorated.on_tick"]


class Late(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_early(self):
        CLOCK.advance(ms(3))

    @reaction(tick, deadline=ms(2))
    def on_tick(self):
        helper()

    @on_tick.missed
    def on_late(self):
        helper()
        self.request_stop()


class Hurried(Reactor):
    def compose(self):
        self.late = Late()


def test_a_deadlines_handler_is_its_reaction():
    SEEN.clear()
    run_to_end(Hurried, clock=CLOCK)
    assert [name for name, _, _ in SEEN] == ["hurried.late.on_tick"]


class Source(Reactor):
    out = Output()

    @reaction(startup)
    def on_startup(self, out):
        out.set(1)


class Reader(Reactor):
    inp = Input()

    @reaction(inp)
    def on_inp(self, inp):
        other = [None]
        thread = threading.Thread(target=lambda: other.append(whereabouts(current_scheduler())[0]))
        thread.start()
        thread.join()
        inner = Program(Member).start(workers=1, fast=True)
        inner.wait()
        SEEN.append((whereabouts(current_scheduler())[0], other[-1], ""))
        helper()


class Outer(Reactor):
    def compose(self):
        self.source = Source()
        self.reader = Reader()
        connect(self.source.out, self.reader.inp)


def test_another_thread_and_a_run_within_a_reaction_are_told_apart():
    SEEN.clear()
    run_to_end(Outer)
    assert SEEN == [
        ("member.on_startup", "member.on_startup", "member"),
        ("member.on_tick", "member.on_tick", "member"),
        ("outer.reader.on_inp", "", ""),
        ("outer.reader.on_inp", "outer.reader.on_inp", "outer.reader"),
    ]


class Losing(Reactor):
    """Its `self` is gone when it is looked at."""

    @reaction(startup)
    def on_startup(self):
        self = None  # noqa: F841, PLW0642 - what is tested
        helper()


class Loser(Reactor):
    def compose(self):
        self.lost = Bank(Losing, 3)


def test_members_that_cannot_be_told_apart_are_named_as_one_of_several():
    SEEN.clear()
    run_to_end(Loser)
    assert [(sure, loose) for sure, loose, _ in SEEN] == [
        ("", "one of loser.lost[0].on_startup to loser.lost[2].on_startup")
    ] * 3


def test_without_a_schedule_nothing_is_found_and_the_users_line_is():
    assert ReactionFinder(None).find(sys._getframe()).candidates == ()
    name, source = whereabouts(None)
    assert name == ""
    assert source.file == __file__


@pytest.mark.parametrize("workers", [1, 2])
def test_the_line_is_that_of_the_body(workers):
    places = []

    class Main(Reactor):
        @reaction(startup)
        def on_startup(self):
            places.append(
                (ReactionFinder(current_scheduler().schedule).find(sys._getframe()), sys._getframe().f_lineno)
            )

    run_to_end(Main, workers=workers)
    ((place, line),) = places
    assert (place.source.file, place.source.line) == (__file__, line)
    assert place.reaction is place.candidates[0]
