"""Ways to lose hosts: engines whose processes are killed, stopped or come back; a proxy between hub and hosts; links that end at a chosen message."""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import shipped

from reactornb import Program, ms
from reactornb.cluster.errors import LinkLostError
from reactornb.cluster.hosts import Connections, Hosts
from reactornb.cluster.listener import Listener
from reactornb.cluster.local import HostProcess, LocalEngine

__all__ = [
    "WAIT",
    "Boundaries",
    "EarlyDeaths",
    "Killer",
    "OnEngine",
    "Proxied",
    "Zombies",
    "alone",
    "is_alive",
    "silence",
    "start",
    "wait_until",
]

WAIT = 120.0  # seconds; only ever reached when something is broken


def wait_until(condition):
    """Wait for what another thread or process does."""
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def is_alive(pid):
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def silence(monkeypatch, seconds):
    """How long the hub waits for a silent host."""
    monkeypatch.setitem(Listener.__init__.__kwdefaults__, "silence_s", seconds)


def options(until):
    """Of every run here."""
    return {"until": ms(until), "fast": True, "fingerprint": True, "seed": 3}


def alone(until):
    """The result without hosts."""
    return Program(shipped.Main, n=4).run(workers=1, **options(until))


def start(hosts, until, workers=1):
    """The same program on hosts."""
    return Program(shipped.Main, n=4).start(workers=workers, place={"rollouts": hosts}, **options(until))


class OnEngine(Hosts):
    """Subprocesses of this machine that an engine of the test starts.

    Args:
        n: how many.
        engine: which one.
    """

    def __init__(self, n, engine, **given):
        super().__init__(n, **given)
        self.engine = engine

    def open(self, _):
        """See `Hosts`."""
        return Connections(self.engine, address="127.0.0.1", patience_s=self._patience_s)


class Killer:
    """Kills processes of an engine, each at most once.

    Args:
        engine: whose.
    """

    def __init__(self, engine):
        self.kills = 0
        self._engine = engine
        self._killed = set()

    def new(self, share):
        """The process of a share that was not killed yet; None: there is none."""
        pid = self._engine.processes().get(share)
        return None if pid in self._killed else pid

    def kill(self, share, is_over=lambda: False):
        """Kill the process of a share, as soon as there is one; whether it was before the run is over."""
        while (pid := self.new(share)) is None:
            if is_over():
                return False
            time.sleep(0.001)
        self._killed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
        return True


class Zombies(LocalEngine):
    """Processes that are given up live on, as those on a machine do which is out of reach.

    Args:
        meanwhile: called while the first replacement is on its way.

    Attributes:
        tickets: that were given.
    """

    def __init__(self, meanwhile=lambda: None):
        super().__init__()
        self.tickets = []
        self._meanwhile = meanwhile

    def start(self, ticket):
        """See `Engine`."""
        self.tickets.append(ticket)
        super().start(ticket)
        if len(self.tickets) == 2:
            self._meanwhile()

    def lost(self, _):
        """See `Engine`."""

    def start_again(self):
        """Start a host with the first ticket once more, as Dask does with a lost task; its process, which has ended."""
        process = HostProcess(self.tickets[0], tuple(sys.path), self.ended)
        assert process.wait(WAIT)
        return process


class EarlyDeaths(LocalEngine):
    """Kills some of the processes right after their start.

    Args:
        attempts: which ones, of every share.
    """

    def __init__(self, attempts):
        super().__init__()
        self.killer = Killer(self)
        self._attempts = attempts

    def start(self, ticket):
        """See `Engine`."""
        super().start(ticket)
        if ticket.attempt in self._attempts:
            assert self.killer.kill(ticket.share)


class Proxy:
    """Forwards what comes, until it is told to do otherwise. Its thread does all of it; what it is told comes as a byte.

    Args:
        to: where to.

    Attributes:
        address: where it listens.
    """

    def __init__(self, to):
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()[:2]
        self._tell, self._told = socket.socketpair()
        self._other = {}
        self._frozen = set()
        self._thread = threading.Thread(target=self._go, name="reactornb-test-proxy")
        self._thread.start()

    def freeze(self):
        """Forward nothing more of the connections that there are, and close none."""
        self._tell.send(b"f")

    def reset(self):
        """End the connections that there are as a router does that has forgotten them."""
        self._tell.send(b"r")

    def close(self):
        """End it, and all connections."""
        self._tell.close()
        self._thread.join()

    def _go(self):
        while True:
            for sock in select.select([self._server, self._told, *(self._other.keys() - self._frozen)], [], [])[0]:
                if sock is self._server:
                    self._connect()
                elif sock is not self._told:
                    self._forward(sock)
                elif not self._obey(sock.recv(1)):
                    return

    def _obey(self, what):
        if what == b"f":
            self._frozen.update(self._other)
            return True
        for sock in self._other:
            if what == b"r":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self._other.clear()
        self._frozen.clear()
        if not what:
            self._server.close()
            self._told.close()
        return bool(what)

    def _connect(self):
        near = self._server.accept()[0]
        try:
            far = socket.create_connection(self._to)
        except OSError:  # the hub is gone
            near.close()
            return
        self._other.update({near: far, far: near})

    def _forward(self, sock):
        if sock not in self._other:
            return  # ended in this round
        other = self._other[sock]
        try:
            data = sock.recv(1 << 16)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (sock, other):
                del self._other[one]
                self._frozen.discard(one)
                one.close()


class Proxied(LocalEngine):
    """Processes that reach the hub through a proxy.

    Attributes:
        proxy: made with the first of them; under _making, since the hosts of a run are started at one time.
    """

    def __init__(self):
        super().__init__()
        self._making = threading.Lock()
        self.proxy = None

    def start(self, ticket):
        """See `Engine`."""
        with self._making:
            self.proxy = self.proxy or Proxy(ticket.addresses[0])
        super().start(replace(ticket, addresses=(self.proxy.address,)))

    def stop(self):
        """See `Engine`."""
        super().stop()
        if self.proxy is not None:
            self.proxy.close()


class Boundaries:
    """Loses the host whose link has the message of a number, of all that the hub sends or hears.

    Args:
        connections: of the run; its links are wrapped.
        at: the numbers; `which`: "sent" or "heard"; before or after that message.
        lose: called with the share and the link.

    Attributes:
        reached: how many of them there were.

    # _count   under _lock; by drivers
    """

    def __init__(self, connections, at, which, *, before, lose):
        self.reached = 0
        self._lock = threading.Lock()
        self._count = 0
        self._at, self._which, self._before, self._lose = at, which, before, lose
        self._link = connections.link
        connections.link = self.link

    def link(self, share, *args, **given):
        """See `Connections`."""
        return LosingLink(self._link(share, *args, **given), share, self)

    def is_at(self, which):
        """Count a message; whether it is the one."""
        if which != self._which:
            return False
        with self._lock:
            self._count += 1
            found = self._count in self._at
            self.reached += found
        return found


class LosingLink:
    """A link of `Boundaries`."""

    def __init__(self, link, share, boundaries):
        self._of = link
        self._share = share
        self._boundaries = boundaries

    def __getattr__(self, name):
        return getattr(self._of, name)

    def send(self, message):
        """See `Link`."""
        found, boundaries = self._boundaries.is_at("sent"), self._boundaries
        if found and boundaries._before:
            boundaries._lose(self._share, self._of)
        self._of.send(message)
        if found and not boundaries._before:
            boundaries._lose(self._share, self._of)

    def receive(self, timeout_s=None, bell=None):
        """See `Link`. A message before which the host is lost was never received."""
        message = self._of.receive(timeout_s, bell)
        if message is not None and self._boundaries.is_at("heard"):
            self._boundaries._lose(self._share, self._of)
            if self._boundaries._before:
                raise LinkLostError(self._of.peer, "end of file")
        return message
