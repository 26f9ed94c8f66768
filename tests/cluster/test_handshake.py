"""The handshake: both sides prove the secret, old attempts stay out, machines that differ are refused; and the listener that takes hosts in."""

import contextlib
import dataclasses
import pickle
import socket
import threading
import time

import pytest
from test_link import in_thread

from reactornb.cluster import handshake
from reactornb.cluster import messages as m
from reactornb.cluster.errors import LinkLostError, RefusedHostError, UnreachableError, WireError
from reactornb.cluster.frames import NORMAL, receive_frame
from reactornb.cluster.handshake import Attempts, admit, differing, introduce, mismatch
from reactornb.cluster.link import Link
from reactornb.cluster.listener import LOOPBACK, Listener
from reactornb.cluster.messages import Refused
from reactornb.durable.canary import canary
from reactornb.interpreter import environment

SECRET = bytes(range(32))


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def hello_of(attempt=1, share=0, **facts):
    return m.Hello(share, attempt, b"n" * 32, b"p" * 32, {**environment(), **facts}, canary())


def both(pair, hub_secret=SECRET, host_secret=SECRET, judge=lambda hello: None, attempt=1):
    """Both sides at once: what each returned or raised."""
    thread, host = in_thread(lambda: introduce(pair[1], secret=host_secret, share=3, attempt=attempt, timeout_s=10))
    try:
        hub = admit(pair[0], secret=hub_secret, judge=judge, timeout_s=10)
    except Exception as error:  # noqa: BLE001 - what the test looks at
        hub = error
        pair[0].close()
    thread.join(10)
    return hub, host[0]


def test_both_sides_know_the_secret_and_then_a_link_works(pair):
    hub, host = both(pair, attempt=4)
    assert (hub.share, hub.attempt, host) == (3, 4, None)
    assert hub.facts == environment()
    assert hub.canary == canary()
    ours = Link(pair[0], "host", m.FROM_HOST, silence_s=10)
    theirs = Link(pair[1], "hub", m.FROM_HUB, silence_s=10)
    theirs.send(m.Ready())
    assert isinstance(ours.receive(10), m.Ready)
    ours.close()
    theirs.close()


def test_a_host_without_the_secret_gets_no_answer(pair):
    hub, host = both(pair, host_secret=b"x" * 32)
    assert isinstance(hub, RefusedHostError)
    assert hub.reason == "proof"
    assert isinstance(host, EOFError)


def test_a_hub_without_the_secret_is_found_out(pair, monkeypatch):
    made = handshake._proof

    def proof(secret, label, said):  # the hub takes any host, and proves what it can
        return made(SECRET if label == handshake._HOST else secret, label, said)

    thread, host = in_thread(lambda: introduce(pair[1], secret=SECRET, share=3, attempt=1, timeout_s=10))
    monkeypatch.setattr(handshake, "_proof", proof)
    admit(pair[0], secret=b"x" * 32, judge=lambda hello: None, timeout_s=10)
    thread.join(10)
    monkeypatch.undo()
    # The host's proofs are made by the same function here, with its own secret.
    assert isinstance(host[0], RefusedHostError)
    assert host[0].reason == "proof"


@pytest.mark.parametrize("changed", ["share", "attempt", "facts", "canary", "nonce", "proof"])
def test_a_proof_covers_every_field(pair, changed):
    thread, hub = in_thread(lambda: admit(pair[0], secret=SECRET, judge=lambda hello: None, timeout_s=10))
    greeting = m.parse(m_bytes(pair[1]))
    nonce = b"n" * 32
    facts, rounding = environment(), canary()
    said = handshake._said(greeting.nonce, nonce, 3, 1, facts, rounding)
    hello = m.Hello(3, 1, nonce, handshake._proof(SECRET, handshake._HOST, said), facts, rounding)
    other = {
        "share": 2,
        "attempt": 2,
        "facts": {**facts, "gil": "odd"},
        "canary": {},
        "nonce": b"m" * 32,
        "proof": b"p" * 32,
    }
    hello = dataclasses.replace(hello, **{changed: other[changed]})
    pair[1].sendall(b"".join(m.frame(hello)))
    thread.join(10)
    assert hub[0].reason == "proof"


def m_bytes(sock):
    """The bytes of the next frame."""
    head = sock.recv(32, socket.MSG_WAITALL)
    return head + sock.recv(int.from_bytes(head[8:16], "little") - 32, socket.MSG_WAITALL)


def test_a_proof_that_was_overheard_is_of_no_use_on_another_connection(pair):
    first = socket.socketpair()
    thread, hub = in_thread(lambda: admit(first[0], secret=SECRET, judge=lambda hello: None, timeout_s=10))
    said = []
    relay = in_thread(lambda: introduce(pair[1], secret=SECRET, share=3, attempt=1, timeout_s=10))
    pair[0].sendall(m_bytes(first[1]))
    said.append(m_bytes(pair[0]))
    first[1].sendall(said[0])
    pair[0].sendall(m_bytes(first[1]))
    relay[0].join(10)
    thread.join(10)
    assert hub[0].share == 3
    second = socket.socketpair()
    thread, hub = in_thread(lambda: admit(second[0], secret=SECRET, judge=lambda hello: None, timeout_s=10))
    m_bytes(second[1])
    second[1].sendall(said[0])
    thread.join(10)
    assert hub[0].reason == "proof"
    for sock in (*first, *second):
        sock.close()


def test_a_malicious_pickle_instead_of_a_hello_is_a_wire_error(pair):
    class Evil:
        def __reduce__(self):
            return (time.sleep, (100,))

    thread, hub = in_thread(lambda: admit(pair[0], secret=SECRET, judge=lambda hello: None, timeout_s=10))
    pair[1].sendall(pickle.dumps(Evil()) + bytes(100))
    thread.join(10)
    assert isinstance(hub[0], WireError)


def test_a_peer_that_says_nothing_or_trickles_is_given_up(pair):
    with pytest.raises(TimeoutError):
        admit(pair[0], secret=SECRET, judge=lambda hello: None, timeout_s=0.05)
    left, right = socket.socketpair()
    frame = b"".join(m.frame(hello_of()))
    thread, hub = in_thread(lambda: admit(left, secret=SECRET, judge=lambda hello: None, timeout_s=0.1))
    for at in range(0, len(frame), 8):
        if hub:
            break
        try:
            right.sendall(frame[at : at + 8])
        except OSError:
            break
        thread.join(0.02)
    thread.join(10)
    assert isinstance(hub[0], TimeoutError)
    left.close()
    right.close()


def test_a_peer_that_promises_a_huge_frame_is_refused_before_it_is_read(pair):
    thread, hub = in_thread(lambda: admit(pair[0], secret=SECRET, judge=lambda hello: None, timeout_s=10))
    frame = bytearray(b"".join(m.frame(hello_of())))
    frame[8:16] = (1 << 33).to_bytes(8, "little")
    pair[1].sendall(frame)
    thread.join(10)
    assert hub[0].field == "frame.length"


def test_a_host_is_told_why_it_is_refused(pair):
    hub, host = both(pair, judge=lambda hello: Refused("fenced", "attempt 1 was replaced by attempt 2."))
    assert (hub.reason, host.reason) == ("fenced", "fenced")
    assert "replaced" in str(host)


def test_a_zombie_of_an_old_attempt_stays_out():
    attempts = Attempts()
    assert attempts.begin(0) == 1
    assert attempts.take(0, 1) is None
    assert attempts.take(0, 1).reason == "taken"
    assert attempts.begin(0) == 2
    assert not attempts.is_current(0, 1)
    assert attempts.take(0, 1).reason == "fenced"
    assert attempts.take(0, 2) is None
    assert attempts.take(0, 3).reason == "fenced"
    assert attempts.take(1, 1).reason == "unknown"


def test_a_host_of_another_version_gil_or_hash_seed_is_refused_with_a_fix():
    here = environment()
    assert mismatch("host 2", hello_of()) is None
    error = mismatch("host 2", hello_of(python="3.13.1", numpy="1.0"))
    assert set(error.differing) == {"python", "numpy"}
    assert "3.13.1 there" in str(error)
    assert "host 2" in str(error)
    other = "on" if here["gil"] == "off" else "off"
    assert f"PYTHON_GIL={'1' if here['gil'] == 'on' else '0'}" in str(mismatch("host 2", hello_of(gil=other)))
    facts = hello_of().facts
    del facts["numpy"]
    assert mismatch("h", m.Hello(0, 1, b"", b"", facts, {})).differing["numpy"][1] == "missing"


def test_a_seed_of_hashes_counts_where_it_is_fixed_here():
    fixed, drawn = {"hash_seed": "0"}, {"hash_seed": "random"}
    assert differing(fixed, drawn) == {"hash_seed": ("0", "random")}
    assert not differing(drawn, fixed)
    assert not differing(drawn, drawn)
    assert not differing({}, {"torch": "2.9"})


def test_a_cpu_that_rounds_otherwise_is_refused_or_taken_with_a_warning():
    hello = m.Hello(0, 1, b"", b"", environment(), {**canary(), "numpy": "00" * 16})
    error = mismatch("host 2", hello)
    assert list(error.differing) == ["rounding of numpy"]
    assert 'canary="warn"' in str(error)
    assert mismatch("host 2", hello, canary_only_warns=True) is None


class Hub:
    """A listener and what came to it."""

    def __init__(self, **options):
        self.attempts = Attempts()
        self.arrived = []
        self.lost = []
        self.there = threading.Event()
        self.gone = threading.Event()
        self.listener = Listener(
            SECRET,
            lambda hello: self.attempts.take(hello.share, hello.attempt),
            self._arrived,
            on_lost=self._lost,
            **options,
        )

    def _arrived(self, hello, link):
        self.arrived.append((hello, link))
        self.there.set()

    def _lost(self, *words):
        self.lost.append(words)
        self.gone.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for _, link in self.arrived:
            link.close()


def test_a_host_dials_in_and_has_a_link():
    with Hub() as hub:
        attempt = hub.attempts.begin(5)
        assert hub.listener.address[0] == LOOPBACK == "127.0.0.1"
        with socket.create_connection(hub.listener.address, 10) as sock:
            introduce(sock, secret=SECRET, share=5, attempt=attempt)
            link = Link(sock, "hub", m.FROM_HUB, silence_s=30)
            assert hub.there.wait(10)
            hello, ours = hub.arrived[0]
            assert (hello.share, hello.attempt) == (5, 1)
            link.send(m.Ready())
            assert isinstance(ours.receive(10), m.Ready)
            link.close()
            assert hub.gone.wait(10)
            assert hub.lost == [(5, 1, "end of file")]


def test_strangers_and_old_attempts_are_turned_away_and_counted():
    with Hub() as hub:
        hub.attempts.begin(0)
        hub.attempts.begin(0)
        for secret, attempt, reason in ((b"x" * 32, 2, EOFError), (SECRET, 1, RefusedHostError)):
            with socket.create_connection(hub.listener.address, 10) as sock, pytest.raises((reason, ConnectionError)):
                introduce(sock, secret=secret, share=0, attempt=attempt)
        with socket.create_connection(hub.listener.address, 10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(50))
            frame = receive_frame(sock, NORMAL)  # the greeting, and nothing else
            assert frame.kind == m.Greeting.KIND
            sock.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(10) == b""
        assert hub.listener.turned_away == {"proof": 1, "fenced": 1, "frame.magic": 1}
        assert not hub.arrived


def test_closing_ends_handshakes_and_leaves_links():
    hub = Hub()
    hub.attempts.begin(0)
    with (
        socket.create_connection(hub.listener.address, 10) as silent,
        socket.create_connection(hub.listener.address, 10) as sock,
    ):
        introduce(sock, secret=SECRET, share=0, attempt=1)
        assert hub.there.wait(10)
        receive_frame(silent, NORMAL)  # its handshake has begun
        hub.listener.close()
        hub.listener.close()
        ours = hub.arrived[0][1]
        theirs = Link(sock, "hub", m.FROM_HUB, silence_s=30)
        ours.send(m.Halt(1))
        assert theirs.receive(10).seq == 1
        theirs.close()
        with pytest.raises(LinkLostError):
            ours.receive(10)
        ours.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(hub.listener.address, 1)


def test_an_address_that_is_not_ours_is_named():
    with pytest.raises(UnreachableError, match=r"192\.0\.2\.1") as refused:
        Listener(SECRET, lambda hello: None, lambda hello, link: None, address="192.0.2.1")
    assert list(refused.value.tried) == ["192.0.2.1:0"]
