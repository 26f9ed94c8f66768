"""What is said where state can be neither saved nor put back."""

from __future__ import annotations

from reactornb.errors import ReactorError, Source

__all__ = ["CannotRestoreError", "NotSavableError"]


class NotSavableError(ReactorError, TypeError):
    """Something that a reactor holds cannot be saved, so its run could not be resumed exactly.

    Attributes:
        reactor: full name of the reactor.
        attribute: how one gets from the reactor to it, as in `self.envs[0].lock`.
        kind: its type.
        source: where that attribute is assigned, or else where the class is declared; None if neither is known.
        fix: what to do.
    """

    def __init__(
        self, message: str, *, reactor: str, attribute: str, kind: type, source: Source | None, fix: str
    ) -> None:
        super().__init__(message)
        self.reactor = reactor
        self.attribute = attribute
        self.kind = kind
        self.source = source
        self.fix = fix


class CannotRestoreError(ReactorError, ValueError):
    """Saved state does not fit the program that it is to be put back into, or is damaged.

    Attributes:
        reactor: full name of the reactor; "" if it is about none.
        attribute: how one gets from the reactor to what does not fit; "" if it is about none.
    """

    def __init__(self, message: str, *, reactor: str = "", attribute: str = "") -> None:
        super().__init__(message)
        self.reactor = reactor
        self.attribute = attribute
