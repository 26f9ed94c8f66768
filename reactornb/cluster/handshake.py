"""How a hub and a host come to trust a new connection: both prove that they know the run's secret, which never travels on it.

    hub   Greeting  a nonce
    host  Hello     share, attempt, a nonce, what its results depend on, and a proof: HMAC-SHA256 of all that and both nonces
    hub   Welcome   its own proof over the same, under another label, so that a proof cannot be sent back to whoever made it
          or Refused, to a host that has proved itself: an attempt that was replaced, another version, a CPU that rounds otherwise

A peer that cannot prove itself gets no answer; before its proof at most `frames.BEFORE_PROOF` is read, as JSON, within `TIMEOUT_S`. Afterwards the
connection is trusted as far as its network is: it is not encrypted.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from importlib import import_module

from reactornb.cluster.errors import HostMismatchError, RefusedHostError, WireError
from reactornb.cluster.frames import BEFORE_PROOF, receive_frame, send_all
from reactornb.cluster.messages import NONCE_BYTES, Greeting, Hello, Refused, Welcome
from reactornb.cluster.wire import Message, from_frame, to_pieces
from reactornb.durable.canary import canary
from reactornb.interpreter import environment

__all__ = [
    "SECRET_BYTES",
    "TIMEOUT_S",
    "Attempts",
    "admit",
    "differing",
    "introduce",
    "mismatch",
    "shared_libraries",
]

SECRET_BYTES = 32
TIMEOUT_S = 10.0
"""How long a handshake may take in all."""

_LIBRARIES = ("numpy", "torch", "gymnasium")
_HOST, _HUB = b"reactornb host 1\0", b"reactornb hub 1\0"

Judge = Callable[[Hello], Refused | None]


def introduce(
    sock: socket.socket,
    *,
    secret: bytes,
    share: int,
    attempt: int,
    libraries: Iterable[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> None:
    """The host's side, on a connected socket; when it returns, a `Link` can take the socket.

    Args:
        sock: connected.
        secret: of the run.
        share, attempt: as in the ticket.
        libraries: what is imported first, if it is here, so that hub and host compare the same ones.
        timeout_s: for all of it.

    Raises:
        RefusedHostError: if the hub says no, or does not know the secret.
        WireError, OSError, EOFError: if there is no hub at the other end.
    """
    for name in libraries:
        if name in _LIBRARIES:  # the other side cannot make a host import anything else
            with contextlib.suppress(ImportError):
                import_module(name)
    until = time.monotonic() + timeout_s
    greeting = _expect(sock, Greeting, until)
    nonce = secrets.token_bytes(NONCE_BYTES)
    facts, rounding = environment(), canary()
    said = _said(greeting.nonce, nonce, share, attempt, facts, rounding)
    _send(sock, Hello(share, attempt, nonce, _proof(secret, _HOST, said), facts, rounding))
    answer = _expect(sock, Welcome, until, Refused)
    if isinstance(answer, Refused):
        raise RefusedHostError(answer.reason, f"the hub refuses this host ({answer.reason}): {answer.text}")
    proved = hmac.compare_digest(answer.proof, _proof(secret, _HUB, said))
    if not proved or (answer.share, answer.attempt) != (share, attempt):
        raise RefusedHostError(
            "proof", "who answers at the hub's address does not know the run's secret, so nothing was taken from it."
        )


def admit(sock: socket.socket, *, secret: bytes, judge: Judge, timeout_s: float = TIMEOUT_S) -> Hello:
    """The hub's side, on an accepted socket; when it returns, a `Link` can take the socket.

    Args:
        sock: connected.
        secret: of the run.
        judge: asked about a host that has proved itself; None takes it, a `Refused` is sent to it.
        timeout_s: for all of it.

    Returns:
        What the host said.

    Raises:
        RefusedHostError: if the peer does not know the secret, or `judge` says no.
        WireError, OSError, EOFError: if the peer speaks otherwise, or not at all.
    """
    until = time.monotonic() + timeout_s
    ours = secrets.token_bytes(NONCE_BYTES)
    sock.settimeout(timeout_s)
    _send(sock, Greeting(ours))
    hello = _expect(sock, Hello, until)
    said = _said(ours, hello.nonce, hello.share, hello.attempt, hello.facts, hello.canary)
    if not hmac.compare_digest(hello.proof, _proof(secret, _HOST, said)):
        raise RefusedHostError("proof", f"{_peer(sock)} does not know the run's secret; it got no answer.")
    refused = judge(hello)
    if refused is not None:
        with contextlib.suppress(OSError):
            _send(sock, refused)
        raise RefusedHostError(
            refused.reason,
            f"attempt {hello.attempt} at share {hello.share} was refused ({refused.reason}): {refused.text}",
        )
    _send(sock, Welcome(hello.share, hello.attempt, _proof(secret, _HUB, said)))
    return hello


def _said(
    ours: bytes, theirs: bytes, share: int, attempt: int, facts: Mapping[str, str], rounding: Mapping[str, str]
) -> bytes:
    """All that a proof covers: lengths are fixed but for the last part."""
    rest = json.dumps([sorted(facts.items()), sorted(rounding.items())], separators=(",", ":")).encode()
    return ours + theirs + share.to_bytes(8, "little") + attempt.to_bytes(8, "little") + sha256(rest).digest()


def _proof(secret: bytes, label: bytes, said: bytes) -> bytes:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, this one {len(secret)}.")
    return hmac.digest(secret, label + said, "sha256")


def _send(sock: socket.socket, message: Message) -> None:
    send_all(sock, to_pieces(message))


def _expect[M: Message, N: Message](
    sock: socket.socket, cls: type[M], until: float, other: type[N] | None = None
) -> M | N:
    """One message of these classes, before a moment in time however the bytes trickle in."""

    def in_time() -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the other side takes too long to introduce itself")
        sock.settimeout(left)

    in_time()
    frame = receive_frame(sock, BEFORE_PROOF, in_time)
    if frame is None:
        raise EOFError("the other side closed the connection instead of introducing itself")
    known: dict[int, type[Message]] = {cls.KIND: cls}
    if other is not None:
        known[other.KIND] = other
    message = from_frame(frame, known)
    assert isinstance(message, (cls, other) if other is not None else cls)
    return message


def _peer(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "a peer that is gone"
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else "a peer on this machine"


# -- who is to be taken ---------------------------------------------------------------------------------------------------


class Attempts:
    """Which attempt at each share is the current one: a host that was given up cannot come back.

    # _current and _taken are written and read under _lock, by the hub's thread that begins an attempt and by those of handshakes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: dict[int, int] = {}
        self._taken: set[int] = set()

    def begin(self, share: int) -> int:
        """A new attempt at a share; from now on hosts of older ones are refused. The first is 1."""
        with self._lock:
            attempt = self._current[share] = self._current.get(share, 0) + 1
            self._taken.discard(share)
            return attempt

    def is_current(self, share: int, attempt: int) -> bool:
        """Whether this is the newest attempt at the share."""
        with self._lock:
            return self._current.get(share) == attempt

    def take(self, share: int, attempt: int) -> Refused | None:
        """Let a host in, once an attempt; a `Refused` says why not."""
        with self._lock:
            current = self._current.get(share)
            if current is None:
                return Refused("unknown", f"there is no share {share} in this run.")
            if attempt != current:
                return Refused("fenced", f"attempt {attempt} was replaced by attempt {current}.")
            if share in self._taken:
                return Refused("taken", f"another host has come with attempt {attempt} already.")
            self._taken.add(share)
            return None


def shared_libraries() -> tuple[str, ...]:
    """Which of the libraries that compute this process has imported: hosts import them, too, before they are compared."""
    return tuple(name for name in _LIBRARIES if name in sys.modules)


def mismatch(host: str, hello: Hello, *, canary_only_warns: bool = False) -> HostMismatchError | None:
    """Why a host would not compute what this process computes; None if it would.

    Args:
        host: which one, in words.
        hello: what it said.
        canary_only_warns: take it though its CPU rounds otherwise.
    """
    facts = differing(environment(), hello.facts)
    if facts:
        return HostMismatchError(host, facts, _advice(facts))
    here = canary()
    rounding = {
        f"rounding of {name}": (here[name][:8], hello.canary[name][:8])
        for name in sorted(here.keys() & hello.canary.keys())
        if here[name] != hello.canary[name]
    }
    if rounding and not canary_only_warns:
        return HostMismatchError(
            host, rounding, "Its CPU has other instructions, so the last bits of results would differ. Choose machines of one kind, or "
            'Hosts(…, canary="warn") goes on without the same fingerprint.',
        )  # fmt: skip
    return None


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The facts that must be equal and are not: (here, there) by name.

    A library that only one side has imported counts only if this one has. A seed of hashes that is drawn anew for each process cannot be equal.
    """
    found = {}
    for name in ("reactornb", "python", "gil", "machine", "hash_seed", *_LIBRARIES):
        ours, theirs = here.get(name), there.get(name, "missing")
        if ours is None or ours == theirs or (name == "hash_seed" and ours == "random"):
            continue
        found[name] = (ours, theirs)
    return found


def _advice(facts: Mapping[str, tuple[str, str]]) -> str:
    words = []
    if "gil" in facts:
        words.append(f"Start its process with PYTHON_GIL={'1' if facts['gil'][0] == 'on' else '0'}.")
    if "hash_seed" in facts:
        words.append(f"Start its process with PYTHONHASHSEED={facts['hash_seed'][0]}.")
    if facts.keys() - {"gil", "hash_seed"}:
        words.append("Install the same versions there as here, for instance from one lock file or image.")
    return " ".join(words)


def refused(error: Exception) -> Refused:
    """An error as what the other side is told."""
    return Refused(type(error).__name__, str(error)[: 1 << 15])


def ended_by(error: BaseException) -> str:
    """How a handshake failed, in a few words."""
    if isinstance(error, RefusedHostError):
        return error.reason
    if isinstance(error, WireError):
        return error.field
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__
