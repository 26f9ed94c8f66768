"""What other threads post and command, each class by itself: no scheduler, no clock."""

import threading

import pytest

from reactornb.errors import InboxFullError
from reactornb.runtime.clock import Wake
from reactornb.runtime.commands import Commands
from reactornb.runtime.inbox import Inbox
from reactornb.runtime.signals import Action


class Window:
    """Stands for a window of sampling."""


def test_what_is_posted_is_taken_in_order_with_the_time_of_the_call():
    wake, times = Wake(), iter((5, 6, 7))
    inbox, action = Inbox(wake, lambda: next(times)), Action("act", 0)
    inbox.post(action, 2, "a")
    inbox.post_change(["targets"])
    inbox.put(action, 0, "c")
    assert wake.is_set()
    assert list(inbox.take()) == [(action, 5, 2, "a"), (None, 6, 0, ["targets"]), (action, 7, 0, "c")]
    assert not len(inbox)


def test_what_comes_while_the_inbox_is_emptied_is_taken_too():
    inbox, action = Inbox(Wake(), lambda: 0), Action("act", 0)
    inbox.post(action, value=0)
    taken = []
    for _, _, _, value in inbox.take():
        taken.append(value)
        if value < 3:
            inbox.post(action, value=value + 1)
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("queued", [0, 2])
def test_a_full_inbox_refuses_and_counts_and_takes_again_once_it_is_emptied(queued, monkeypatch):
    monkeypatch.setattr(Inbox, "limit", 3)
    inbox, action = Inbox(Wake(), lambda: 0), Action("act", 0)
    action.pending.update((tag, 0) for tag in range(queued))
    for _ in range(3 - queued):
        inbox.post(action)
    with pytest.raises(InboxFullError, match="act: 3 scheduled events wait") as refusal:
        inbox.post(action)
    assert refusal.value.action == "act"
    assert inbox.refused == 1
    inbox.put(action, 0, None)  # the runtime's own have no limit
    assert len(list(inbox.take())) == 4 - queued
    inbox.post(action)


def test_changes_have_the_limit_too(monkeypatch):
    monkeypatch.setattr(Inbox, "limit", 1)
    inbox = Inbox(Wake(), lambda: 0)
    inbox.post_change([])
    with pytest.raises(InboxFullError, match="a change of parameters"):
        inbox.post_change([])


def test_after_the_end_nothing_is_kept_and_nothing_refused(monkeypatch):
    monkeypatch.setattr(Inbox, "limit", 1)
    inbox, action = Inbox(Wake(), lambda: 0), Action("act", 0)
    inbox.post(action)
    inbox.close()
    inbox.post(action)
    inbox.post(action)
    assert (len(inbox), inbox.refused) == (0, 0)


def test_threads_that_post_at_once_lose_nothing_and_keep_their_order():
    inbox, action = Inbox(Wake(), lambda: 0), Action("act", 0)
    ready = threading.Barrier(5)

    def post(who):
        ready.wait()
        for i in range(500):
            inbox.post(action, value=(who, i))

    threads = [threading.Thread(target=post, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    taken = []
    while len(taken) < 2000:
        taken += [value for _, _, _, value in inbox.take()]
    for thread in threads:
        thread.join()
    for who in range(4):
        assert [i for w, i in taken if w == who] == list(range(500))


# name: commands in order -> (stop, goes_on) of each look before a tag
ORDERS = {
    "nothing": ([], [(False, True)]),
    "stop": ([{"stop": True}], [(True, True), (False, True)]),
    "pause": ([{"paused": True}], [(False, False), (False, False)]),
    "pause and resume": ([{"paused": True}, {"paused": False}], [(False, True)]),
    "two steps of a paused run": (
        [{"paused": True}, {"steps": 1}, {"steps": 1}],
        [(False, True), (False, True), (False, False)],
    ),
    "resuming forgets steps that are left": (
        [{"paused": True}, {"steps": 5}, {"paused": False}, {"paused": True}],
        [(False, False)],
    ),
    "stop ends a pause": ([{"paused": True}, {"stop": True}], [(True, True), (False, True)]),
}


@pytest.mark.parametrize(("commands", "orders"), ORDERS.values(), ids=ORDERS)
def test_commands_are_carried_out_before_the_next_tag(commands, orders):
    wake = Wake()
    given = Commands(wake)
    for command in commands:
        given.give(**command)
    assert wake.is_set() == given.given == bool(commands)
    assert [given.take()[:2] for _ in orders] == orders
    assert given.given == given.paused


def test_a_command_that_comes_while_others_are_carried_out_is_seen_before_the_next_tag():
    for late in (
        lambda c: c.nudge(),
        lambda c: c.watch(Window()),
        lambda c: c.give(paused=True),
        lambda c: c.ask_again(),
    ):
        commands = Commands(Wake())
        commands.give(stop=True)
        commands.take()
        late(commands)
        assert commands.given


def test_a_window_is_looked_at_before_each_tag_until_it_is_closed():
    commands, window, another = Commands(Wake()), Window(), Window()
    commands.watch(window)
    for _ in range(3):
        assert commands.take().window is window
        assert commands.given
    commands.window_closed(another)
    assert commands.take().window is window
    commands.window_closed(window)
    assert commands.take().window is None
    assert not commands.given


def test_sampling_and_nudging_wake_nobody():
    wake = Wake()
    commands = Commands(wake)
    commands.nudge()
    commands.watch(Window())
    assert not wake.is_set()


def test_in_a_forked_child_nothing_waits_for_a_thread_that_is_gone():
    wake = Wake()
    commands, inbox = Commands(wake), Inbox(wake, lambda: 0)
    commands._lock.acquire()
    threading.Thread(target=inbox._refusing.acquire).start()
    commands.abandon()
    inbox.abandon(Wake())
    commands.give(stop=True)
    inbox.post(Action("act", 0))
    assert (commands.take().stop, len(inbox)) == (True, 0)
