"""A host's process, from its ticket to its end: it reaches the hub, introduces itself, executes, and ends when the hub is gone."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module

from reactornb.cluster import messages
from reactornb.cluster.errors import RefusedHostError, UnreachableError, WireError
from reactornb.cluster.handshake import introduce
from reactornb.cluster.link import HOST_SILENCE_S, Link
from reactornb.cluster.tickets import Ticket

__all__ = ["dial", "main", "run_host"]

GRACE_S = 5.0
"""How long a host may take to end by itself once its hub is gone."""
_CONNECT_S = 5.0
_HOST, _SHIP = "reactornb.cluster.host", "reactornb.cluster.ship"  # load the runtime: after the hub has taken this host
_STATUS_REFUSED, _STATUS_UNREACHABLE, _STATUS_ALONE = 3, 4, 5


def dial(ticket: Ticket, on_lost: Callable[[str], None] | None = None) -> Link:
    """Reach the hub and introduce this process.

    Args:
        ticket: where and who.
        on_lost: as for `Link`.

    Raises:
        UnreachableError: if none of the addresses answers in time.
        RefusedHostError: if the hub does not take this host.
    """
    until = time.monotonic() + ticket.patience_s
    tried: dict[str, str] = {}
    pause_s = 0.05
    while True:
        for host, port in ticket.addresses:
            try:
                sock = socket.create_connection((host, port), _CONNECT_S)
            except OSError as error:
                tried[f"{host}:{port}"] = error.strerror or str(error)
                continue
            try:
                introduce(
                    sock, secret=ticket.secret, share=ticket.share, attempt=ticket.attempt, libraries=ticket.libraries
                )
            except RefusedHostError:
                sock.close()
                raise
            except (OSError, EOFError, WireError) as error:
                sock.close()
                tried[f"{host}:{port}"] = (
                    f"somebody answers, but not this run's hub ({str(error) or type(error).__name__})"
                )
                continue
            return Link(sock, "the hub", messages.FROM_HUB, silence_s=HOST_SILENCE_S, on_lost=on_lost)
        if time.monotonic() >= until:
            listed = "; ".join(f"{address}: {why}" for address, why in tried.items())
            raise UnreachableError(
                f"host {ticket.share} did not reach the hub within {ticket.patience_s:.0f} s ({listed}). Hosts dial the hub: its machine must accept "
                f"connections from theirs (Hosts(…, address=…, port=…) says where it listens), or run the notebook inside the cluster.",
                tried=tried,
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 1.0)


def run_host(ticket: Ticket) -> int:
    """Execute a share until the run is over or the hub is gone.

    Returns:
        The exit status.
    """
    try:
        link = dial(ticket, on_lost=lambda _: _end_soon("the hub is gone"))
    except RefusedHostError as error:
        _say(error)
        return _STATUS_REFUSED
    except UnreachableError as error:
        _say(error)
        return _STATUS_UNREACHABLE
    try:
        import_module(_HOST).serve(link, import_module(_SHIP).unpack_program)
    finally:
        link.close()
    return 0


def _say(words: object) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - a process of its own


def _end_soon(reason: str) -> None:
    """End this process within `GRACE_S`, whatever its threads do: a host without a hub has nothing to lose."""

    def end() -> None:
        _say(f"host ends: {reason}")
        os._exit(_STATUS_ALONE)

    timer = threading.Timer(GRACE_S, end)
    timer.daemon = True
    timer.start()


def _first_line(descriptor: int) -> bytes:
    """The first line of a pipe, which stays open."""
    line = b""
    while not line.endswith(b"\n") and (got := os.read(descriptor, 1 << 16)):
        line += got
    return line


def _watch_parent(descriptor: int) -> None:
    """End this process at once when whoever started it is gone or lets go: its end of the pipe closes then."""

    def wait() -> None:
        while os.read(
            descriptor, 4096
        ):  # not through sys.stdin, whose lock this thread would hold while the interpreter ends
            pass
        os._exit(_STATUS_ALONE)

    threading.Thread(target=wait, name="reactornb-parent", daemon=True).start()


def main(argv: list[str]) -> int:
    """`python -m reactornb.cluster host`, with the ticket as the first line of standard input."""
    if argv != ["host"]:
        _say("usage: python -m reactornb.cluster host  (started by a hub, with a ticket on standard input)")
        return 2
    stdin = sys.stdin.fileno()
    try:
        ticket = Ticket.from_text(_first_line(stdin).decode())
    except ValueError as error:
        _say(error)
        return 2
    _watch_parent(stdin)
    return run_host(ticket)
