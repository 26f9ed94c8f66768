"""`Ticket`: what a host needs to know to dial in, and the three calls that an engine offers to whoever places hosts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from reactornb.cluster.handshake import SECRET_BYTES

__all__ = ["Ended", "Engine", "Ticket"]

Ended = Callable[[int, int, str], None]
"""Called with share, attempt and why, when a host has ended; on any thread."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """For one attempt at one share. It holds the run's secret: it travels by pipe or by the engine, never as an argument of a command.

    Attributes:
        addresses: where the hub listens, (host, port) each; tried in order.
        secret: of the run.
        share: which share.
        attempt: 1, 2, 3, …
        libraries: what the host imports before it introduces itself.
        environment: variables that its process has, which its results may depend on.
        patience_s: how long it tries to reach the hub.
    """

    addresses: tuple[tuple[str, int], ...]
    secret: bytes = field(repr=False)
    share: int
    attempt: int
    libraries: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    patience_s: float = 30.0

    def to_text(self) -> str:
        """As one line."""
        facts = {
            "addresses": self.addresses,
            "secret": self.secret.hex(),
            "share": self.share,
            "attempt": self.attempt,
            "libraries": self.libraries,
            "environment": self.environment,
            "patience_s": self.patience_s,
        }
        return json.dumps(facts)

    @classmethod
    def from_text(cls, text: str) -> Ticket:
        """What `to_text` gave.

        Raises:
            ValueError: for anything else.
        """
        try:
            facts: dict[str, Any] = json.loads(text)
            ticket = cls(
                addresses=tuple((str(host), int(port)) for host, port in facts["addresses"]),
                secret=bytes.fromhex(facts["secret"]),
                share=int(facts["share"]),
                attempt=int(facts["attempt"]),
                libraries=tuple(map(str, facts["libraries"])),
                environment=tuple((str(name), str(value)) for name, value in facts["environment"]),
                patience_s=float(facts["patience_s"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no ticket of a host: {type(error).__name__}") from None  # which has the secret in it
        if len(ticket.secret) != SECRET_BYTES or not ticket.addresses:
            raise ValueError("no ticket of a host: it lacks the secret or an address")
        return ticket


class Engine(Protocol):
    """What starts hosts, on this machine or a cluster. Calls come from any thread.

    Attributes:
        ended: set before the first `start`.
    """

    ended: Ended

    def start(self, ticket: Ticket, /) -> None:
        """Start a host; return at once. Of one share only the newest counts."""
        ...

    def lost(self, share: int, /) -> None:
        """The host of a share is given up: end what is left of it, without waiting long."""
        ...

    def stop(self) -> None:
        """The run is over: end all hosts, and wait until they are gone."""
        ...
