"""A team: calls made at the same time for a thread that waits, and what becomes of its threads."""

import threading

import pytest

from reactornb.runtime.team import Call, Team
from reactornb.runtime.workers import Worker, current_scheduler

pytestmark = pytest.mark.alone  # how threads share the machine's time is part of what is asserted

WAIT = 20.0


@pytest.fixture
def teams():
    """Makes teams, and ends them."""
    made = []

    def make(workers):
        made.append(Team(workers, "test"))
        return made[-1]

    yield make
    for team in made:
        team.close()


def test_calls_are_made_at_the_same_time_and_all_are_made(teams):
    together, made = threading.Barrier(2, timeout=WAIT), []
    job = teams(2).job(
        [Call(together.wait), Call(together.wait), *(Call(lambda i=i: made.append(i)) for i in range(9))]
    )
    for _ in range(20):
        made.clear()
        job()
        assert sorted(made) == list(range(9))


def test_a_job_without_calls_is_done_at_once(teams):
    for workers in (1, 2):
        teams(workers).job([])()


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_team_of_one_is_the_thread_that_asks(teams):
    before, threads = threading.active_count(), []
    team = teams(1)
    team.job([Call(lambda: threads.append(threading.current_thread())) for _ in range(3)])()
    assert threads == [threading.current_thread()] * 3
    assert threading.active_count() == before


def test_what_one_has_not_begun_another_takes_over(teams):
    others, names = threading.Semaphore(0), []

    def blocks():
        for _ in range(3):
            assert others.acquire(timeout=WAIT)

    def note():
        names.append(threading.current_thread())
        others.release()

    # One worker is held until the other has made all other calls.
    job = teams(2).job([Call(blocks), Call(note), Call(note), Call(note)])
    job()
    assert len(names) == 3
    assert len(set(names)) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_all_calls_are_made_and_what_the_first_raised_is_raised(workers, teams):
    made = []

    def call(number):
        made.append(number)
        if number in (2, 5):
            raise ValueError(f"number {number}")

    job = teams(workers).job([Call(lambda i=i: call(i)) for i in range(7)])
    for _ in range(5):
        made.clear()
        with pytest.raises(ValueError, match="number 2"):
            job()
        assert sorted(made) == list(range(7))


def test_an_interrupt_is_raised_once_no_other_thread_makes_a_call(teams, monkeypatch):
    begun, told, ended = threading.Event(), threading.Event(), []

    def long():
        begun.set()
        assert told.wait(WAIT)
        ended.append(threading.current_thread())

    def interrupted(batch, worker):
        assert begun.wait(WAIT)
        threading.Timer(0.1, told.set).start()
        raise KeyboardInterrupt

    team = teams(2)
    job = team.job([Call(lambda: begun.wait(WAIT)), Call(long)])
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job()
    assert ended == [team.workers[1].thread]
    job()  # and it goes on
    assert len(ended) == 2


def test_a_call_belongs_to_no_run(teams):
    seen = []
    teams(2).job([Call(lambda: seen.append(current_scheduler())) for _ in range(2)])()
    assert seen == [None, None]


@pytest.mark.thread_unsafe(reason="counts the threads of the process")
def test_a_team_that_is_forgotten_leaves_no_thread():
    before = set(threading.enumerate())
    team = Team(3, "test")
    team.job([Call(lambda: None) for _ in range(4)])()
    assert len(set(threading.enumerate()) - before) == 2
    del team
    assert set(threading.enumerate()) == before
