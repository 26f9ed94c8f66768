"""What may go wrong between machines: refused before a run begins, or while it runs."""

from __future__ import annotations

from typing import Any

from reactornb.errors import ReactorError, RunError, Source

__all__ = [
    "HostLostError",
    "HostMismatchError",
    "LinkLostError",
    "NotAnEnclaveError",
    "RefusedHostError",
    "RemoteError",
    "RemotePhysicalError",
    "ReplayMismatchError",
    "ShipError",
    "UnreachableError",
    "WireError",
]


class WireError(ReactorError, ValueError):
    """What came over a link is not what the protocol has there; nothing of the frame was used, and the link was closed.

    Attributes:
        field: what does not fit, such as `Report.head` or `frame.length`.
        reason: why.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(
            f"{field}, which came over a link between hub and host, {reason}. Nothing of that frame was used. Both sides must run the same "
            f"reactornb, and nobody else may speak at that port."
        )
        self.field = field
        self.reason = reason


class LinkLostError(ReactorError, ConnectionError):
    """A link is closed: by the other side, by this one, or because nothing was heard for too long.

    Attributes:
        peer: who was at the other end, in words.
        reason: "end of file", "silence", "closed here", or the words of the system or of a `WireError`.
    """

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"the link to {peer} is closed: {reason}.")
        self.peer = peer
        self.reason = reason


class HostLostError(RunError):
    """A host was lost more often than it is replaced.

    Attributes:
        host: its number.
        restarts: how often it was started again.
        reason: why it was lost the last time.
    """

    def __init__(self, host: int, restarts: int, reason: str) -> None:
        super().__init__(
            f"host {host} was lost {restarts + 1} times, at last because of {reason}. Look at its output for why; restarts= allows more."
        )
        self.host = host
        self.restarts = restarts
        self.reason = reason


class RefusedHostError(ReactorError, ConnectionError):
    """A hub and a host did not accept each other.

    Attributes:
        reason: why; "fenced" means that this host has been replaced.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class HostMismatchError(ReactorError, RuntimeError):
    """A host would not compute the same bits as the hub, or cannot run the program.

    Attributes:
        host: which one, in words.
        differing: by what differs, the hub's value and the host's.
    """

    def __init__(self, host: str, differing: dict[str, tuple[str, str]], words: str) -> None:
        listed = ", ".join(f"{name} is {there} there and {here} here" for name, (here, there) in differing.items())
        super().__init__(f"{host} does not match this process: {listed}. {words}")
        self.host = host
        self.differing = differing


class ShipError(ReactorError, TypeError):
    """Something in a program cannot travel to another process.

    Attributes:
        path: where it is held, such as `main.rollouts.make_env, closure variable log`.
        kind: its type, in words.
        source: the place in the program.
    """

    def __init__(self, message: str, *, path: str, kind: str, source: Source | None) -> None:
        super().__init__(message)
        self.path = path
        self.kind = kind
        self.source = source


class NotAnEnclaveError(ReactorError, ValueError):
    """What is to be placed on other machines is no enclave of the program.

    Attributes:
        name: what was asked for.
        known: the enclaves that there are.
    """

    def __init__(self, message: str, *, name: str, known: tuple[str, ...]) -> None:
        super().__init__(message)
        self.name = name
        self.known = known


class RemotePhysicalError(ReactorError, ValueError):
    """Something that depends on physical time is to run on another machine, whose clock is another one.

    Attributes:
        what: full names of the actions, watchdogs, reactions and ports.
        source: the place of the first.
    """

    def __init__(self, message: str, *, what: tuple[str, ...], source: Source | None) -> None:
        super().__init__(message)
        self.what = what
        self.source = source


class UnreachableError(ReactorError, ConnectionError):
    """Hub and hosts cannot connect to each other.

    Attributes:
        tried: address by address, what happened.
    """

    def __init__(self, message: str, *, tried: dict[str, Any]) -> None:
        super().__init__(message)
        self.tried = tried


class RemoteError(ReactorError, RuntimeError):
    """What a host raised; the cause of the error that the hub raises for it.

    Attributes:
        host: where, in words.
        kind: the class of the exception there.
        traceback: its traceback, in words.
    """

    def __init__(self, host: str, kind: str, traceback: str) -> None:
        super().__init__(f"on {host}: {kind}\n{traceback}".rstrip())
        self.host = host
        self.kind = kind
        self.traceback = traceback


class ReplayMismatchError(RunError):
    """A host was replaced, and what its replacement computed again is not what it was: something that it executes is not deterministic.

    Attributes:
        share: its number.
        tag: the first that differs.
        reactors: the reactors at the top of the share, by full name.
    """

    def __init__(self, share: int, tag: Any, reactors: tuple[str, ...], what: str) -> None:
        named = ", ".join(reactors[:3]) + (", …" if len(reactors) > 3 else "")
        super().__init__(
            f"share {share} ({named}) was restarted on another host, and at tag {tag} {what} differs from the first time: a reaction there is "
            f"not deterministic. Draw random numbers from self.rng, iterate over no sets of strings, and read no clock."
        )
        self.share = share
        self.tag = tag
        self.reactors = reactors
