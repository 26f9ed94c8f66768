"""A placed run without threads: the test says who moves next, so that any order in which hub, hosts and links may do something can be tried.

Movers are the leaders of local enclaves, the drivers of shares, the hosts, and each direction of each link, which delivers one message a move.
"""

from __future__ import annotations

import random  # noqa: TID251 - chooses who moves

from reactornb import Program
from reactornb.cluster.errors import LinkLostError
from reactornb.cluster.host import Share
from reactornb.cluster.loopback import LoopbackHosts, Pair
from reactornb.cluster.messages import Abort, Bye, Restore
from reactornb.cluster.messages import Program as ProgramMessage
from reactornb.options import RunOptions
from reactornb.runtime.workers import act_as

__all__ = ["Stepped", "StuckError"]


class StuckError(AssertionError):
    """Nobody can move, and the run is not over."""


class _Connections:
    """Gives links whose other end the test moves."""

    def __init__(self, stepped):
        self._stepped = stepped

    def link(self, share, attempt, timeout_s=None):
        host = _Host(share, attempt, self._stepped.hosts.unpack)
        self._stepped.hosts_by_share[share] = host
        return host.pair.hub

    def close(self):
        pass


class _Host:
    """A host that moves when it is told to."""

    def __init__(self, number, attempt, unpack):
        self.pair = Pair(number)
        self.attempt = attempt
        self.share = None
        self.over = False
        self._unpack = unpack
        self._restore = None

    def receive(self):
        """Take one message in; whether there was one."""
        if self.over or not self.pair.host.waiting:
            return False
        message = self.pair.host.receive(0)
        if isinstance(message, Restore):
            self._restore = message
        elif isinstance(message, ProgramMessage):
            self.share = Share(self._unpack(message.program).graph, message, self.pair.host.send)
            with_worker(self.share.workers[0], self.share.scheduler, lambda: self.share.build(self._restore))
        elif isinstance(message, (Bye, Abort)):
            self.over = True
        else:
            self.share.take(message)
        return True

    def move(self):
        """Execute what may be executed; whether something was."""
        if self.share is None or self.over:
            return False
        before = self.state()
        try:
            self.share.move()
        except LinkLostError:
            self.over = True
        return self.state() != before

    def state(self):
        scheduler = self.share.scheduler
        return scheduler.tags_done, scheduler.over, self.pair.hub.waiting, len(self.share.gate.inbox)


def with_worker(worker, scheduler, call):
    before = act_as(worker)
    try:
        worker.scheduler = scheduler
        return call()
    finally:
        act_as(before)


class Stepped:
    """One placed run.

    Args:
        root: the outermost reactor.
        place: names of enclaves.
        hosts: how many.
        options: of the run.
    """

    def __init__(self, root, place, hosts, **options):
        self.hosts = LoopbackHosts(hosts, 1)
        self.hosts.open = lambda _: _Connections(self)
        self.hosts_by_share = {}
        program = Program(root)
        chosen = RunOptions(
            workers=1, fast=True, fingerprint=True, placement="none", place=dict.fromkeys(place, self.hosts), **options
        )
        self.run = program._made(program._decided(chosen), None)
        self.engine = self.run._engine
        self.hub = self.engine._placed
        worker = self.engine.workers[0]
        with_worker(worker, None, self.engine._open)
        if self.engine._broken is not None:
            raise self.engine._broken
        self.hub.prepare(self.engine)
        for member in self.hub.members:
            member.listens = False
            member.open()
        self.local = [s for s in self.engine.schedulers if s.enclave not in self.hub.elsewhere]

    # -- movers: each returns whether it did anything --------------------------------------------------------------------

    def _lead(self, scheduler, worker):
        if scheduler.over:
            return False
        before = self.state()
        with_worker(worker, scheduler, lambda: scheduler.go(worker))
        return self.state() != before

    def _deliver(self, share):
        """One message from a host to the hub."""
        member, host = self.hub.members[share], self.hosts_by_share[share]
        if not host.pair.hub.waiting:
            return False
        message = host.pair.hub.receive(0)
        member.heard.append((host.attempt, message))
        return True

    def movers(self):
        """What can be called."""
        worker = self.engine.workers[0]
        for scheduler in self.local:
            yield lambda s=scheduler: self._lead(s, worker)
        for share, member in enumerate(self.hub.members):
            yield lambda m=member, d=self.hub._drivers[share]: self._lead(m, d)
            host = self.hosts_by_share[share]
            yield host.receive
            yield host.move
            yield lambda s=share: self._deliver(s)

    def state(self):
        """What changes when anything moves."""
        gate = self.engine.gate
        links = [(h.pair.hub.waiting, h.pair.host.waiting) for h in self.hosts_by_share.values()]
        shares = [(len(m.heard), m._seq, m.halting, m.attempt, m._idle) for m in self.hub.members]
        counts = [(s.tags_done, s.over, s.machine.queue.now) for s in self.engine.schedulers]
        return links, shares, counts, list(gate._heads), list(gate._busy), gate._stop_tag

    def kill(self, share):
        """Lose a host, with what is on its way to it; what it has sent may still come."""
        host = self.hosts_by_share[share]
        host.over = True
        host.pair.hub.close("end of file")
        self.hub.members[share].heard.append((host.attempt, LinkLostError(f"share {share}", "end of file")))

    def go(self, seed, *, most=1_000_000, each=None):
        """Move at random until the run is over.

        Args:
            seed: of the choice.
            most: moves.
            each: called before each move with its number and the random numbers.

        Raises:
            StuckError: if nothing moves any more.
        """
        draw = random.Random(seed)
        for moves in range(most):
            if self.run._finished.is_set():
                return self.run
            if each is not None:
                each(moves, draw)
            movers = list(self.movers())
            # Some seeds favour one mover for a while: queues grow long before anybody looks.
            first = draw.randrange(len(movers))
            for _ in range(draw.choice((1, 1, 1, 2, 8))):
                if not movers[first]():
                    break
            else:
                continue
            if not (self._moves(draw) or self._moves(draw)) and not self.run._finished.is_set():
                raise StuckError(f"after {moves} moves: {self.state()}")
        raise StuckError(f"not over after {most} moves: {self.state()}")

    def _moves(self, draw):
        """Whether anybody moves. Asked twice: a local leader passes its turn now and then, to others that it leads."""
        movers = list(self.movers())  # another host may have come
        return any(mover() for mover in draw.sample(movers, len(movers)))

    @property
    def fingerprint(self):
        return self.run.fingerprint
