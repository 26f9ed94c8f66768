"""Hosts of this machine: they come with the secret, end with the hub, and are missed at once when they end before they came."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from reactornb.cluster import handshake, local
from reactornb.cluster import messages as m
from reactornb.cluster.dialing import dial
from reactornb.cluster.errors import HostLostError, HostMismatchError, LinkLostError, RefusedHostError, UnreachableError
from reactornb.cluster.hosts import Connections, Hosts, _own_address, hosts_of
from reactornb.cluster.local import LocalEngine
from reactornb.cluster.tickets import Ticket
from reactornb.errors import RunOptionError

SECRET = bytes(range(32))

# A host that answers what it is sent, in place of one that executes a share.
HOST = textwrap.dedent(
    """
    import sys, types
    from reactornb.cluster import messages as m

    def serve(link, unpack):
        link.send(m.Ready())
        while not isinstance(link.receive(), (m.Bye, m.Abort)):
            link.send(m.Ready())

    module = types.ModuleType("reactornb.cluster.host")
    module.serve = serve
    sys.modules["reactornb.cluster.host"] = module
    from reactornb.cluster.dialing import main
    sys.exit(main(["host"]))
    """
)


class FakeEngine:
    """An engine whose hosts are threads of this process, which dial as a process would."""

    def __init__(self):
        self.tickets = []
        self.gone = []
        self.links = []
        self.threads = []
        self.stopped = False
        self.on_start = self.dial
        self.ended = None

    def start(self, ticket):
        self.tickets.append(ticket)
        thread = threading.Thread(target=self.on_start, args=(ticket,), name="reactornb-test")
        self.threads.append(thread)
        thread.start()

    def dial(self, ticket):
        link = dial(ticket)
        self.links.append(link)
        with contextlib.suppress(LinkLostError):  # it is replaced already
            link.send(m.Ready())

    def lost(self, share):
        self.gone.append(share)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(10)
        for link in self.links:
            link.close()


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def connections(engine):
    connections = Connections(engine, address="127.0.0.1", patience_s=10)
    yield connections
    connections.close()
    assert engine.stopped


def test_a_host_comes_and_what_it_says_arrives(connections, engine):
    link = connections.link(3)
    assert isinstance(link.receive(10), m.Ready)
    ticket = engine.tickets[0]
    assert (ticket.share, ticket.attempt) == (3, 1)
    assert ticket.addresses == (connections.address,)
    assert ticket.addresses[0][0] == "127.0.0.1"
    assert engine.gone == []


def test_a_host_that_is_replaced_stays_out(connections, engine):
    first = connections.link(0)
    second = connections.link(0, attempt=1)
    assert first.is_lost
    assert engine.gone == [0]
    assert [one.attempt for one in engine.tickets] == [1, 2]
    with pytest.raises(RefusedHostError, match="fenced"):
        dial(engine.tickets[0])
    assert isinstance(second.receive(10), m.Ready)
    assert first is not second


def test_a_host_that_ends_before_it_came_is_missed_at_once(connections, engine):
    engine.on_start = lambda ticket: engine.ended(ticket.share, ticket.attempt, "its process ended (exit status 1)")
    with pytest.raises(HostLostError, match="exit status 1"):
        connections.link(0)
    engine.on_start = engine.dial
    assert isinstance(connections.link(0, attempt=1).receive(10), m.Ready)
    engine.ended(0, 1, "an old one")  # which nobody waits for
    engine.ended(5, 1, "a strange one")


def test_hosts_that_do_not_come_are_told_with_what_to_do(connections, engine):
    engine.on_start = lambda ticket: None
    with pytest.raises(UnreachableError, match="no host for share 0 came within") as error:
        connections.link(0, timeout_s=0.05)
    assert "patience=" in str(error.value)
    assert list(error.value.tried) == [f"127.0.0.1:{connections.address[1]}"]
    with pytest.raises(RefusedHostError, match="fenced"):  # it was given up
        dial(engine.tickets[0])


def test_a_host_that_differs_is_refused_on_both_sides(connections, engine, monkeypatch):
    there = []

    def differ(ticket):
        try:
            dial(ticket)
        except RefusedHostError as error:
            there.append(error)

    engine.on_start = differ
    monkeypatch.setattr(
        handshake,
        "canary",
        lambda: {"numpy": "0" * 32} if threading.current_thread().name == "reactornb-test" else {"numpy": "1" * 32},
    )
    with pytest.raises(HostMismatchError, match="rounding of numpy"):
        connections.link(0)
    engine.threads[0].join(10)
    assert there[0].reason == "HostMismatchError"
    assert 'canary="warn"' in str(there[0])


@pytest.mark.filterwarnings("ignore:.*rounds otherwise")
def test_a_host_that_rounds_otherwise_is_taken_where_that_only_warns(engine, monkeypatch):
    monkeypatch.setattr(
        handshake,
        "canary",
        lambda: {"numpy": "0" * 32} if threading.current_thread().name == "reactornb-test" else {"numpy": "1" * 32},
    )
    connections = Connections(engine, address="127.0.0.1", patience_s=10, canary_only_warns=True)
    assert isinstance(connections.link(0).receive(10), m.Ready)
    connections.close()


def test_closing_wakes_who_waits_for_a_host(engine):
    connections = Connections(engine, address="127.0.0.1", patience_s=60)
    begun = threading.Event()
    engine.on_start = lambda ticket: begun.set()
    failures = []

    def wait():
        try:
            connections.link(0)
        except HostLostError as error:
            failures.append(error)

    thread = threading.Thread(target=wait, name="reactornb-test")
    thread.start()
    assert begun.wait(10)
    connections.close()
    thread.join(10)
    assert failures
    with pytest.raises(HostLostError):
        connections.link(1)


def test_a_ticket_is_one_line_and_keeps_its_secret_to_itself():
    ticket = Ticket((("127.0.0.1", 80), ("::1", 81)), SECRET, 2, 3, ("numpy",), (("PYTHON_GIL", "0"),), 5.0)
    assert Ticket.from_text(ticket.to_text()) == ticket
    assert "\n" not in ticket.to_text()
    assert SECRET.hex() not in repr(ticket)
    for wrong in ("", "{}", "[1]", ticket.to_text()[:-1], ticket.to_text().replace(SECRET.hex(), "00")):
        with pytest.raises(ValueError, match="no ticket") as error:
            Ticket.from_text(wrong)
        assert SECRET.hex() not in str(error.value)


@pytest.mark.parametrize(
    ("where", "options", "words"),
    [
        (0, {}, "from 1"), (-1, {}, "from 1"), ("four", {}, "distributed.Client"), (2, {"n": 3}, "one number"), (2, {"workers": 0}, "workers="),
        (2, {"canary": "no"}, "canary="), (2, {"ship": "mine"}, "ship="), (2, {"patience": 0}, "patience="), (2, {"restarts": -1}, "restarts="), (True, {}, "distributed.Client"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(where, options, words):
    with pytest.raises(RunOptionError, match=words):
        Hosts(where, **options)


def test_a_number_or_a_client_is_enough_for_place():
    assert hosts_of(3).count == hosts_of("3").count == 3
    hosts = Hosts.local(2, workers=4)
    assert hosts_of(hosts) is hosts
    assert (hosts.count, hosts.workers) == (2, 4)

    class Client:
        def submit(self):
            pass

        def nthreads(self):
            return {"a": 2, "b": 2}

    assert hosts_of(Client()).count == 2
    assert Hosts(Client(), n=5).count == 5


def test_the_hub_listens_on_loopback_unless_the_cluster_is_elsewhere():
    for scheduler in ("tcp://127.0.0.1:8786", "inproc://10.0.0.1/1/2", "tcp://localhost:1"):
        assert _own_address(scheduler) == "127.0.0.1"
    with pytest.raises(UnreachableError, match="Hosts\\(client, address="):
        _own_address("tcp://no-such-host.invalid:8786")


# -- processes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch):
    """Connections to subprocesses that are hosts."""
    monkeypatch.setattr(local, "COMMAND", ("-c", HOST))
    engine = LocalEngine()
    connections = Connections(engine, address="127.0.0.1", patience_s=60)
    yield connections, engine
    connections.close()
    assert engine.processes() == {}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, limit_s=60):
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_a_process_comes_is_killed_and_is_replaced(processes):
    connections, engine = processes
    link = connections.link(0)
    assert isinstance(link.receive(60), m.Ready)
    pid = engine.processes()[0]
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert connections._secret.hex().encode() not in command
    assert connections._secret.hex().encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LinkLostError) as lost:
        link.receive(60)
    assert lost.value.reason == "end of file"
    assert time.monotonic() - began < 30
    again = connections.link(0, attempt=1)
    assert isinstance(again.receive(60), m.Ready)
    again.send(m.Bye("over"))
    wait_until(lambda: engine.processes() == {})  # it ended by itself


@pytest.mark.slow
def test_a_process_that_cannot_start_is_told_with_its_last_line(processes, monkeypatch, capfd):
    monkeypatch.setattr(local, "COMMAND", ("-c", "raise SystemExit('no such thing')"))
    connections, _ = processes
    with pytest.raises(HostLostError, match=r"exit status 1.*no such thing"):
        connections.link(0)


@pytest.mark.slow
def test_a_stopped_process_is_killed_when_it_is_replaced(processes):
    connections, engine = processes
    assert isinstance(connections.link(0).receive(60), m.Ready)
    pid = engine.processes()[0]
    os.kill(pid, signal.SIGSTOP)
    assert isinstance(connections.link(0, attempt=1).receive(60), m.Ready)
    assert not is_alive(pid)


PARENT = textwrap.dedent(
    """
    import sys, time
    from reactornb.cluster import local
    from reactornb.cluster.hosts import Connections
    local.COMMAND = ("-c", sys.argv[1])
    engine = local.LocalEngine()
    connections = Connections(engine, address="127.0.0.1", patience_s=60)
    for share in range(2):
        connections.link(share).receive(60)
    print(*engine.processes().values(), flush=True)
    time.sleep(1000)
    """
)


@pytest.mark.slow
def test_no_host_outlives_a_hub_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, HOST], stdout=subprocess.PIPE, text=True)
    try:
        hosts = list(map(int, parent.stdout.readline().split()))
        assert len(hosts) == 2
        assert all(map(is_alive, hosts))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    wait_until(lambda: not any(map(is_alive, hosts)))


@pytest.mark.slow
def test_the_command_without_a_ticket_says_what_it_is_for():
    for argv, given in ((["host"], "nonsense\n"), ([], "")):
        done = subprocess.run(
            [sys.executable, "-m", "reactornb.cluster", *argv],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "ticket" in done.stderr


def test_a_host_that_finds_no_hub_says_where_it_looked():
    with pytest.raises(UnreachableError, match=r"did not reach the hub.*127\.0\.0\.1:1") as error:
        dial(Ticket((("127.0.0.1", 1),), SECRET, 0, 1, patience_s=0.01))
    assert list(error.value.tried) == ["127.0.0.1:1"]
