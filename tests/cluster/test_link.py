"""Links: messages in both directions, life and death noticed, nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy
import pytest

from reactornb.cluster import link as links
from reactornb.cluster import messages as m
from reactornb.cluster.errors import LinkLostError, WireError
from reactornb.cluster.link import Link, linked_pair
from reactornb.cluster.packing import pack
from reactornb.cluster.waking import Bell


@pytest.fixture
def pair():
    hub, host = linked_pair()
    yield hub, host
    hub.close()
    host.close()


class NoWatch:
    """In place of the thread that watches links."""

    def add(self, link):
        pass

    def remove(self, link):
        pass


@pytest.fixture
def unwatched(monkeypatch):
    """Links that are made after this give no signs of life, which count as received and not as sent."""
    monkeypatch.setattr(links, "_watch", NoWatch())


@pytest.fixture
def raw(monkeypatch):
    """A link whose other end is a plain socket, and that nobody watches but the test."""
    monkeypatch.setattr(links, "_watch", NoWatch())
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    link = Link(ours, "the test", m.FROM_HOST, silence_s=30)
    yield link, theirs
    link.close()
    theirs.close()


def in_thread(call):
    """A call on a thread of its own, and what becomes of it."""
    result = []

    def go():
        try:
            result.append(call())
        except Exception as error:  # noqa: BLE001 - what the test looks at
            result.append(error)

    thread = threading.Thread(target=go, name="reactornb-test")
    thread.start()
    return thread, result


def blocked_sender(link):
    """A thread that sends more than the system takes, and what becomes of it; once it has begun."""
    state = pack(numpy.zeros(4_000_000))
    thread, result = in_thread(lambda: link.send(m.Saved(1, state)))
    while not link._sending.locked():
        time.sleep(0.001)
    return thread, result


def test_messages_pass_in_both_directions_and_in_order(unwatched, pair):
    hub, host = pair
    for seq in range(5):
        hub.send(m.Halt(seq))
    assert [host.receive(10).seq for _ in range(5)] == list(range(5))
    host.send(m.Saved(7, pack(numpy.arange(1000.0))))
    assert hub.receive(10).state.value()[999] == 999.0
    assert hub.bytes_received == host.bytes_sent > 8000


def test_nothing_comes_in_time(pair):
    assert pair[0].receive(0) is None
    assert pair[0].receive(0.01) is None


def test_frames_of_many_threads_are_not_mixed(pair):
    hub, host = pair
    state = pack(numpy.zeros(40_000))
    senders = [in_thread(lambda k=k: [host.send(m.Saved(k, state)) for _ in range(20)]) for k in range(4)]
    counts = [0] * 4
    for _ in range(80):
        counts[hub.receive(10).seq] += 1
    for thread, _ in senders:
        thread.join()
    assert counts == [20] * 4


def test_a_message_sent_before_the_end_is_received_and_then_the_end(pair):
    hub, host = pair
    host.send(m.Ready())
    host.close()
    assert isinstance(hub.receive(10), m.Ready)
    with pytest.raises(LinkLostError) as lost:
        hub.receive(10)
    assert lost.value.reason == "end of file"
    assert hub.is_lost
    with pytest.raises(LinkLostError):
        hub.send(m.Halt(1))


def test_closing_wakes_who_receives():
    hub, host = linked_pair()
    thread, result = in_thread(hub.receive)
    hub.close()
    thread.join(10)
    host.close()
    assert isinstance(result[0], LinkLostError)
    assert result[0].reason == "closed here"
    with pytest.raises(LinkLostError):
        hub.receive(0)
    hub.close()


def test_closing_wakes_who_sends_to_a_peer_that_does_not_read():
    hub, host = linked_pair()
    state = pack(numpy.zeros(4_000_000))
    thread, result = in_thread(lambda: hub.send(m.Restore(1, state)))
    host.receive  # noqa: B018 - which is not called
    hub.close()
    thread.join(10)
    host.close()
    assert isinstance(result[0], LinkLostError)


def test_who_sends_to_a_peer_that_has_closed_its_own_side_and_does_not_read_is_told(raw):
    link, theirs = raw
    thread, result = blocked_sender(link)
    theirs.sendall(b"".join(m.frame(m.Ready())))
    theirs.shutdown(socket.SHUT_WR)  # as a proxy does whose other connection has ended
    assert isinstance(link.receive(10), m.Ready)
    with pytest.raises(LinkLostError, match="end of file"):
        link.receive(10)
    thread.join(10)
    assert isinstance(result[0], LinkLostError)


def test_who_does_not_receive_is_told_of_the_end_at_once():
    told = threading.Event()
    reasons = []

    def on_lost(reason):
        reasons.append(reason)
        told.set()

    hub, host = linked_pair(on_lost=on_lost)
    host.send(m.Ready())  # unread: the end behind it is noticed all the same
    began = time.monotonic()
    host.close()
    assert told.wait(10)
    noticed = time.monotonic() - began
    assert reasons == ["end of file"]
    assert isinstance(hub.receive(10), m.Ready)
    hub.close()
    assert reasons == ["end of file"]
    assert noticed < 5  # a hang; how soon it is, is measured by bench


def test_what_is_no_message_ends_the_link_and_is_named(raw):
    link, theirs = raw
    theirs.sendall(b"".join(m.frame(m.Ready())) + b"GET / HTTP/1.1\r\n\r\n" + bytes(100))
    assert isinstance(link.receive(10), m.Ready)
    with pytest.raises(WireError, match=r"frame\.magic"):
        link.receive(10)
    assert link.is_lost
    with pytest.raises(LinkLostError, match="magic"):
        link.receive(10)


def test_a_message_of_the_other_direction_ends_the_link(raw):
    link, theirs = raw
    theirs.sendall(b"".join(m.frame(m.Halt(1))))
    with pytest.raises(WireError, match=r"frame\.kind"):
        link.receive(10)


def test_a_beat_is_no_message(raw):
    link, theirs = raw
    link._beat()
    got = theirs.recv(1000)
    assert isinstance(m.parse(got[: len(links._BEAT)]), m.Beat)
    theirs.sendall(b"".join(m.frame(m.Beat())) * 3 + b"".join(m.frame(m.Ready())))
    assert isinstance(link.receive(10), m.Ready)


def test_a_bell_ends_a_wait_also_where_a_beat_comes_at_the_same_time(raw):
    link, theirs = raw
    bell = Bell()
    for _ in range(3):
        bell.ring()
        theirs.sendall(b"".join(m.frame(m.Beat())))
        assert link.receive(30, bell) is None
    bell.ring()
    theirs.sendall(b"".join(m.frame(m.Ready("here"))))
    assert link.receive(None, bell) == m.Ready("here")
    assert link.receive(None, bell) is None
    assert link.receive(0.002, bell) is None  # it was rung once


def test_two_sides_that_send_much_at_once_do_not_wait_for_each_other(unwatched, pair):
    much = pack(numpy.zeros(8_000_000))
    count = 3

    def speak(link, message):
        for _ in range(count):
            link.send(message)
        return [link.receive(30) for _ in range(count)]

    hub, hub_got = in_thread(lambda: speak(pair[0], m.Restore(1, much)))
    host, host_got = in_thread(lambda: speak(pair[1], m.Saved(1, much)))
    for thread in (hub, host):
        thread.join(60)
        assert not thread.is_alive()
    assert [type(one) for one in hub_got[0]] == [m.Saved] * count
    assert [type(one) for one in host_got[0]] == [m.Restore] * count


@pytest.fixture
def many_descriptors():
    """So many are open that new ones have numbers above those that `select` takes."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 2000:
        pytest.skip("the system gives fewer than 2,000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2000), limits[1]))
    taken = [os.dup(2)]
    try:
        while taken[-1] < 1100:
            taken.append(os.dup(2))
        yield
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_link_and_its_bell_have_any_number_as_descriptors(many_descriptors, unwatched):
    hub, host = linked_pair()
    bell = Bell()
    assert min(bell.fileno(), hub._sock.fileno()) > 1024
    assert hub.receive(0.005, bell) is None
    host.send(m.Ready())
    assert isinstance(hub.receive(0.005, bell), m.Ready)
    bell.ring()
    assert hub.receive(10, bell) is None
    bell.ring()
    bell.wait(10)
    hub.close()
    host.close()


def test_beats_are_sent_unasked(pair):
    hub, host = pair
    heard_ns = hub.heard_ns
    until = time.monotonic() + 20
    while hub.heard_ns == heard_ns and time.monotonic() < until:
        assert hub.receive(0.01) is None
    assert hub.heard_ns > heard_ns
    assert host.bytes_sent == 0


def test_silence_ends_a_link_and_bytes_that_wait_are_no_silence(raw):
    link, theirs = raw
    later = link.heard_ns + 31_000_000_000
    theirs.sendall(b"".join(m.frame(m.Ready()))[:10])
    link._judge(later)
    assert not link.is_lost  # we are late, not they
    assert link.heard_ns == later
    thread, result = in_thread(link.receive)
    while link._has_unread():
        time.sleep(0.001)
    link._judge(link.heard_ns + 29_000_000_000)
    assert not link.is_lost
    link._judge(link.heard_ns + 31_000_000_000)
    thread.join(10)
    assert link.lost_reason == "silence"
    assert result[0].reason == "silence"


def test_silence_wakes_who_sends(raw):
    link, _theirs = raw
    thread, result = blocked_sender(link)
    link._judge(link.heard_ns + 31_000_000_000)
    thread.join(10)
    assert result[0].reason == "silence"


def test_a_beat_never_waits_and_its_rest_comes_first(raw):
    link, theirs = raw
    link._sock.setblocking(False)
    sent, size = 0, 100_000
    while size:  # until the system takes not a byte more
        try:
            sent += link._sock.send(bytes(size))
        except BlockingIOError:
            size //= 2
    link._sock.setblocking(True)
    link._beat()
    assert not link.is_lost
    assert not link._unsent
    link._unsent = links._BEAT[5:]  # as if the system had taken the first five
    thread, _ = in_thread(lambda: link.send(m.Ready()))
    while sent:
        sent -= len(theirs.recv(min(sent, 1 << 20)))
    got = b""
    while len(got) < len(links._BEAT) - 5 + len(b"".join(m.frame(m.Ready()))):
        got += theirs.recv(1000)
    thread.join(10)
    assert got.startswith(links._BEAT[5:])
    assert isinstance(m.parse(got[len(links._BEAT) - 5 :][: len(b"".join(m.frame(m.Ready())))]), m.Ready)


def test_no_thread_is_left_when_the_last_link_is_closed(pair):
    watcher = links._watch._thread
    assert watcher.is_alive()
    pair[0].close()
    pair[1].close()
    watcher.join(10)
    assert not watcher.is_alive()
    hub, host = linked_pair()  # and a new one comes with a new link
    assert links._watch._thread.is_alive()
    hub.close()
    host.close()


_PEER = """
import socket, sys, time
from reactornb.cluster import messages as m
from reactornb.cluster.link import Link
link = Link(socket.socket(fileno=int(sys.argv[1])), "the test", m.FROM_HUB, silence_s=30)
link.send(m.Ready())
while link.receive() is not None:
    pass
"""


@pytest.mark.slow
def test_a_stopped_process_is_silent_and_a_killed_one_has_closed():
    for sent, reason in ((signal.SIGSTOP, "silence"), (signal.SIGKILL, "end of file")):
        ours, theirs = socket.socketpair()
        os.set_inheritable(theirs.fileno(), True)
        process = subprocess.Popen([sys.executable, "-c", _PEER, str(theirs.fileno())], close_fds=False)
        theirs.close()
        link = Link(ours, "a process", m.FROM_HOST, silence_s=60)
        try:
            assert isinstance(link.receive(60), m.Ready)
            heard_ns = link.heard_ns
            while link.heard_ns == heard_ns:  # it beats
                assert link.receive(0.2) is None
            process.send_signal(sent)
            link._silence_ns = 3_000_000_000
            with pytest.raises(LinkLostError) as lost:
                link.receive(30)
            assert lost.value.reason == reason
        finally:
            link.close()
            process.kill()
            process.wait()
