"""Hosts on a Dask cluster of this machine: one on each worker, gone with its worker, replaced on another."""

import os
import signal
import textwrap
from pathlib import Path
from unittest.mock import patch

import pytest
from test_connections import is_alive, wait_until

from reactornb.cluster import local
from reactornb.cluster.errors import HostLostError, LinkLostError
from reactornb.cluster.hosts import Hosts

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("dask")]

# A host that says whose child it is, and then waits for the end; in place of one that executes a share.
HOST = textwrap.dedent(
    """
    import os, sys, types
    from reactornb.cluster import messages as m

    def serve(link, unpack):
        link.send(m.Refused(f"{os.getppid()} {os.getpid()}", ""))
        while not isinstance(link.receive(), (m.Bye, m.Abort)):
            pass

    module = types.ModuleType("reactornb.cluster.host")
    module.serve = serve
    sys.modules["reactornb.cluster.host"] = module
    from reactornb.cluster.dialing import main
    sys.exit(main(["host"]))
    """
)


class Command(distributed.WorkerPlugin):
    """What a host's process is on each worker, also on those that come later."""

    name = "what a host is"

    def __init__(self, *command):
        self.command = command

    def setup(self, worker):
        local.COMMAND = self.command


@pytest.fixture(scope="module")
def client():
    with (
        patch.dict(
            os.environ
        ),  # Dask sets OMP_NUM_THREADS and the like for its workers, in this process, and leaves them
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster, timeout=120) as client,
    ):
        yield client


@pytest.fixture
def connections(client):
    client.wait_for_workers(2, timeout=120)
    client.register_plugin(Command("-c", HOST))
    hosts = Hosts(client, patience=120)
    assert hosts.count == 2
    connections = hosts.open(2)
    yield connections
    connections.close()


def process_of(link):
    """The worker and the host's own process."""
    worker, host = map(int, link.receive(120).reason.split())
    return worker, host


def test_hosts_are_one_on_each_worker_and_listen_to_loopback_only(client, connections):
    assert connections.address[0] == "127.0.0.1"
    found = [process_of(connections.link(share)) for share in range(2)]
    assert sorted(worker for worker, _ in found) == sorted(client.run(os.getpid).values())
    for _, host in found:
        assert connections._secret.hex().encode() not in Path(f"/proc/{host}/cmdline").read_bytes()
    connections.close()
    wait_until(lambda: not any(is_alive(host) for _, host in found), 120)


def test_a_host_is_lost_with_its_worker_and_replaced_on_another(client, connections):
    link = connections.link(0)
    worker, host = process_of(link)
    other = connections.link(1)
    _, other_host = process_of(other)
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(LinkLostError) as lost:
        link.receive(60)
    assert lost.value.reason == "end of file"
    wait_until(lambda: not is_alive(host))
    again = None
    while again is None:  # the scheduler may give it to the lost worker before it knows
        try:
            again = connections.link(0, attempt=1)
        except HostLostError:
            continue
    assert process_of(again)[0] != worker
    assert is_alive(other_host)
    assert not other.is_lost


def test_a_host_that_is_given_up_is_ended_and_frees_its_worker(client, connections):
    _, first = process_of(connections.link(0))
    os.kill(first, signal.SIGSTOP)  # it would never end by itself
    link = connections.link(0, attempt=1)
    _, second = process_of(link)
    wait_until(lambda: not is_alive(first), 120)
    assert is_alive(second)


def test_a_host_that_cannot_start_is_told_with_its_last_line(client, connections):
    client.register_plugin(Command("-c", "raise SystemExit('no such thing')"))
    with pytest.raises(HostLostError, match=r"exit status 1.*no such thing"):
        connections.link(0)
