"""`Hosts`: where the hosts of a run come from, as a user says it, and the connections of one run to them.

place={"rollouts": Hosts.local(4)}                    subprocesses on this machine
place={"rollouts": Hosts(client, n=4, patience=60)}   tasks of a Dask cluster
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from reactornb.cluster import handshake
from reactornb.cluster.errors import HostLostError, UnreachableError
from reactornb.cluster.link import Link
from reactornb.cluster.listener import LOOPBACK, Listener
from reactornb.cluster.local import LocalEngine, same_environment
from reactornb.cluster.messages import Hello, Refused
from reactornb.cluster.ship import pack_program
from reactornb.cluster.tickets import Engine, Ticket
from reactornb.errors import ReactorError, RunOptionError
from reactornb.runtime import Program

__all__ = ["Connections", "Hosts", "hosts_of"]

_MOST_HOSTS = 4096


class Hosts:
    """Hosts for parts of a program; one object serves any number of runs.

    Args:
        where: a `distributed.Client`; the address of a Dask scheduler, "tcp://10.0.0.1:8786"; or how many subprocesses of this machine.
        n: how many hosts; None: one for each worker that the cluster has now.
        workers: threads of each host; None: as many as the run has.
        patience: seconds to wait for a host to come, also for one that replaces another.
        restarts: how often the host of each part is replaced, after which its loss ends the run.
        ship: names of modules whose code travels with the program, because hosts cannot import them.
        canary: "error": a host whose CPU rounds otherwise is refused; "warn": it is taken, and the fingerprint may be another one.
        address: where this process listens for hosts; None: on loopback, unless the cluster is elsewhere: then at the address at which this
            machine reaches it.
        port: 0: a free one.

    Raises:
        RunOptionError: for a value that does not fit.

    Attributes:
        count: how many hosts.
        workers, restarts: as given.
    """

    def __init__(
        self,
        where: Any,
        n: int | None = None,
        *,
        workers: int | None = None,
        patience: float = 60.0,
        restarts: int = 10,
        ship: Sequence[str] = (),
        canary: str = "error",
        address: str | None = None,
        port: int = 0,
    ) -> None:
        if type(where) is int:
            if n is not None:
                raise RunOptionError("Hosts takes one number of hosts: Hosts.local(4), or Hosts(client, n=4).")
            where, n = None, where
        elif not (_is_client(where) or _is_address(where)):
            raise RunOptionError(
                f"Hosts takes a distributed.Client, the address of a Dask scheduler, or how many subprocesses, not {where!r:.80}: "
                f'Hosts(client, n=4), Hosts("tcp://10.0.0.1:8786"), Hosts.local(4).'
            )
        if n is None:
            n = _count_workers(where)
            if not n:
                raise RunOptionError(
                    "the cluster has no workers yet: client.wait_for_workers(4), or say Hosts(client, n=4)."
                )
        if not (type(n) is int and 1 <= n <= _MOST_HOSTS):
            raise RunOptionError(f"the number of hosts is a whole number from 1 to {_MOST_HOSTS}, not {n!r}.")
        if workers is not None and not (type(workers) is int and workers >= 1):
            raise RunOptionError(f"workers= of hosts is a whole number of at least 1, not {workers!r}.")
        if canary not in ("error", "warn"):
            raise RunOptionError(f'canary= is "error" or "warn", not {canary!r}.')
        if isinstance(ship, str):
            raise RunOptionError(f'ship= is a list of names of modules, such as ["{ship}"].')
        if not patience > 0:
            raise RunOptionError(f"patience= is a number of seconds above 0, not {patience!r}.")
        if not (type(restarts) is int and restarts >= 0):
            raise RunOptionError(f"restarts= is a whole number of at least 0, not {restarts!r}.")
        self.count = n
        self.workers = workers
        self.restarts = restarts
        self._client = where
        self._patience_s = float(patience)
        self._ship = tuple(ship)
        self._canary_only_warns = canary == "warn"
        self._address = address
        self._port = port

    @classmethod
    def local(cls, n: int, **options: Any) -> Self:
        """Subprocesses on this machine; options as those of `Hosts`."""
        return cls(n, **options)

    def __repr__(self) -> str:
        return f"<Hosts: {self.count} {'subprocesses' if self._client is None else f'tasks of {self._client!r}'}>"

    def pack(self, program: Program) -> bytes:
        """A program for the way to these hosts.

        Raises:
            ShipError: if it cannot travel.
        """
        return pack_program(program, self._ship)

    def open(self, shares: int, /) -> Connections:  # noqa: ARG002 - hosts are started one by one, when they are asked for
        """Listen for the hosts of a run.

        Raises:
            UnreachableError: if this machine does not have the address or the port.
        """
        if self._client is None:
            engine: Engine = LocalEngine()
            address = self._address or LOOPBACK
        else:
            from reactornb.cluster.dask_engine import DaskEngine

            is_ours = _is_address(self._client)
            client = _connected(self._client) if is_ours else self._client
            engine = DaskEngine(client, closes=is_ours)
            address = self._address or _own_address(client.scheduler.address)
        return Connections(
            engine,
            address=address,
            port=self._port,
            patience_s=self._patience_s,
            canary_only_warns=self._canary_only_warns,
        )


def hosts_of(where: Any) -> Any:
    """What `place=` was given for a name, as hosts: a `Hosts` or the like as it is; a client of a cluster, a scheduler's address, alone or with how many
    hosts, or a number of subprocesses, also as text.

    Raises:
        RunOptionError: if it is none of them.
        UnreachableError: if no scheduler answers there.
    """
    if hasattr(where, "open") and type(getattr(where, "count", None)) is int:
        return where
    if isinstance(where, str) and where.isdecimal():
        return Hosts(int(where))
    return Hosts(*where) if type(where) is tuple and len(where) == 2 else Hosts(where)


def _is_client(where: Any) -> bool:
    return hasattr(where, "submit") and hasattr(where, "nthreads")


def _is_address(where: Any) -> bool:
    return isinstance(where, str) and "://" in where


def _connected(address: str) -> Any:
    """A client of a cluster, for one run.

    Raises:
        RunOptionError: if Dask is not installed, or this is no address.
        UnreachableError: if no scheduler answers there.
    """
    try:
        import distributed
    except ModuleNotFoundError:
        raise RunOptionError(
            f"hosts of {address} need Dask: pip install reactornb[cluster]. Hosts.local(4) does without."
        ) from None
    try:
        dask: Any = distributed  # untyped in part
        return dask.Client(address, set_as_default=False)
    except ValueError as error:
        raise RunOptionError(f"{address} is no address of a Dask scheduler: {error}.") from None
    except OSError as error:
        raise UnreachableError(
            f"no Dask scheduler answers at {address} ({error}).", tried={address: str(error)}
        ) from error


def _count_workers(where: Any) -> int:
    if _is_client(where):
        return len(where.nthreads())
    with _connected(where) as client:
        return len(client.nthreads())


def _own_address(scheduler: str) -> str:
    """The address of this machine at which a scheduler's machine is reached: nothing listens at others."""
    parts = urlsplit(scheduler)
    host = parts.hostname
    if parts.scheme == "inproc" or host is None or host in ("localhost", "::1") or host.startswith("127."):
        return LOOPBACK
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, parts.port or 9))  # sends nothing: the system chooses the way
            return str(sock.getsockname()[0])
    except OSError as error:
        raise UnreachableError(
            f"this machine does not reach the scheduler at {scheduler} ({error.strerror or error}). Say where hosts reach it: Hosts(client, address=…).",
            tried={scheduler: str(error)},
        ) from error


class _Awaited:
    """The host that a share waits for.

    # link, failure   written once, under `Connections._changed`
    """

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.link: Link | None = None
        self.failure: ReactorError | None = None


class Connections:
    """The hosts of one run: started by an engine, taken in by a listener.

    Args:
        engine: starts and ends them.
        address, port: where this process listens.
        patience_s: how long a host may take to come.
        canary_only_warns: take hosts whose CPU rounds otherwise.

    # _awaited, _is_closed   under _changed, which is notified when one of them changes; by threads of the run, of handshakes and of the engine
    """

    def __init__(
        self, engine: Engine, *, address: str, port: int = 0, patience_s: float = 60.0, canary_only_warns: bool = False
    ) -> None:
        self._engine = engine
        self._patience_s = patience_s
        self._canary_only_warns = canary_only_warns
        self._secret = secrets.token_bytes(handshake.SECRET_BYTES)
        self._attempts = handshake.Attempts()
        self._changed = threading.Condition()
        self._awaited: dict[int, _Awaited] = {}
        self._is_closed = False
        engine.ended = self._ended
        self._listener = Listener(self._secret, self._judge, self._arrived, address=address, port=port)

    @property
    def address(self) -> tuple[str, int]:
        """Where this process listens: (host, port)."""
        return self._listener.address

    def link(self, share: int, attempt: int = 0, timeout_s: float | None = None) -> Link:
        """Start a host for a share, and wait until it has come and proved itself. An earlier one of that share is ended and stays out.

        Args:
            share: its number.
            attempt: how often the share was started before, for messages.
            timeout_s: None: as long as `Hosts(patience=)` says.

        Raises:
            HostLostError: if the host ended before it came; another may be tried.
            HostMismatchError: if it would not compute the same.
            UnreachableError: if it did not come in time.
        """
        patience_s = self._patience_s if timeout_s is None else timeout_s
        number = self._attempts.begin(share)
        awaited = _Awaited(number)
        with self._changed:
            before = self._awaited.get(share)
            self._awaited[share] = awaited
            self._refuse_closed(share, attempt)
        if before is not None:
            if before.link is not None:
                before.link.close()
            self._engine.lost(share)
        host, port = self.address
        self._engine.start(
            Ticket(
                addresses=((_dialled(host), port),),
                secret=self._secret,
                share=share,
                attempt=number,
                libraries=handshake.shared_libraries(),
                environment=same_environment(),
                patience_s=patience_s,
            )
        )
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(
                lambda: awaited.link is not None or awaited.failure is not None or self._is_closed, patience_s
            )
            if awaited.link is not None:
                return awaited.link
            self._refuse_closed(share, attempt)
            if awaited.failure is not None:
                raise awaited.failure
        self._attempts.begin(share)  # whoever comes now is too late
        away = ", ".join(f"{why} {count}x" for why, count in self._listener.turned_away.items())
        raise UnreachableError(
            f"no host for share {share} came within {time.monotonic() - began:.0f} s to {host} port {port}"
            f"{f' (turned away: {away})' if away else ''}. Hosts dial this process: is the cluster busy or without workers (patience= waits longer), is "
            f"the port closed for its machines, or is this machine not to be reached from there? Then run the notebook inside the cluster.",
            tried={f"{host}:{port}": away or "nobody came"},
        )

    def _refuse_closed(self, share: int, attempt: int) -> None:
        if self._is_closed:
            raise HostLostError(share, attempt, "the end of the run")

    def _judge(self, hello: Hello) -> Refused | None:
        refused = self._attempts.take(hello.share, hello.attempt)
        if refused is not None:
            return refused
        where = f"the host of share {hello.share}"
        error = handshake.mismatch(where, hello, canary_only_warns=self._canary_only_warns)
        if error is not None:
            self._settle(hello.share, hello.attempt, lambda awaited: setattr(awaited, "failure", error))
            return handshake.refused(error)
        if self._canary_only_warns and handshake.mismatch(where, hello) is not None:
            warnings.warn(
                f"{where} rounds otherwise than this machine: results and fingerprint may differ from those of another run.",
                stacklevel=2,
            )
        return None

    def _arrived(self, hello: Hello, link: Link) -> None:
        if not self._settle(hello.share, hello.attempt, lambda awaited: setattr(awaited, "link", link)):
            link.close()

    def _ended(self, share: int, attempt: int, reason: str) -> None:
        """An engine's host has ended; one that had come is noticed by its link."""
        error = HostLostError(share, attempt - 1, reason)
        self._settle(share, attempt, lambda awaited: setattr(awaited, "failure", error))

    def _settle(self, share: int, attempt: int, do: Callable[[_Awaited], None]) -> bool:
        """What a share waits for has come, or will not; false if it waits for another attempt, or no more."""
        with self._changed:
            awaited = self._awaited.get(share)
            if awaited is None or awaited.attempt != attempt or awaited.link is not None or awaited.failure is not None:
                return False
            if self._is_closed:
                return False
            do(awaited)
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """The run is over: end all hosts, and listen no more. May be called again."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        self._listener.close()
        with self._changed:
            links = [one.link for one in self._awaited.values() if one.link is not None]
        for link in links:
            link.close()
        self._engine.stop()


def _dialled(host: str) -> str:
    """The address that hosts dial, of where this process listens."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
