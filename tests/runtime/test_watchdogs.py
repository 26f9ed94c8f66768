"""Watchdogs: in physical time, on one thread, which is gone when the run is."""

import threading

import pytest

from reactornb import (
    LogicalAction,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Watchdog,
    hours,
    ms,
    reaction,
    sec,
    startup,
)
from reactornb.errors import ReactionError

pytestmark = pytest.mark.alone  # how threads share the machine's time is part of what is asserted

WAIT = 20.0  # seconds; only ever reached when something is broken


def watching():
    return [t for t in threading.enumerate() if "watchdogs" in t.name]


class Petted(Reactor):
    """Starts its watchdogs again and again, and lets them expire in the end."""

    act = LogicalAction()
    dog = Watchdog(hours(1))
    other = Watchdog(ms(1))
    often: int = 1000

    @reaction(startup, act)
    def on_act(self, act, dog):
        dog.start()
        self.threads.append(len(watching()))
        if len(self.threads) < self.often:
            act.schedule(0)
        else:
            dog.start(-hours(1))  # due at once: the thread, asleep for an hour, must be woken

    @dog
    def on_dog(self, other):
        self.barked.append("dog")
        other.start(ms(2))

    @other
    def on_other(self):
        self.barked.append("other")
        self.request_stop()

    threads = State([])
    barked = State([])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.thread_unsafe(reason="counts threads")
def test_a_watchdog_that_is_started_often_has_one_thread(workers):
    program = Program(Petted())
    program.run(workers=workers, keepalive=True)
    petted = program.last_run.instance("petted")
    assert petted.barked == ["dog", "other"]
    assert set(petted.threads) == {1}
    assert not watching()


@pytest.mark.thread_unsafe(reason="no thread of that name can be started meanwhile")
def test_where_the_system_has_no_thread_for_watchdogs_the_run_ends_and_says_so(monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if "watchdogs" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ReactionError, match="can't start new thread"):
        Program(Petted()).run(workers=1, keepalive=True)


class Stopped(Reactor):
    dog = Watchdog(ms(20))  # far longer than from one line of a reaction to the next, however busy the machine
    never = Watchdog(sec(3600))
    call = PhysicalAction()
    fails: bool = False

    @reaction(startup)
    def on_startup(self, dog, never, call):
        never.start()
        dog.start()
        dog.stop()
        dog.stop()
        call.schedule(ms(60))

    @dog
    def on_dog(self):
        raise AssertionError("it was stopped")

    @never
    def on_never(self):
        raise AssertionError("an hour has passed")

    @reaction(call)
    def on_call(self):
        if self.fails:
            raise ZeroDivisionError
        self.request_stop()


@pytest.mark.thread_unsafe(reason="counts threads")
def test_the_end_of_a_run_is_the_end_of_its_watchdogs():
    Program(Stopped()).run(workers=1)
    assert not watching()
    with pytest.raises(ReactionError) as caught:
        Program(Stopped(fails=True)).run(workers=2)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert not watching()
