"""A port as a reaction names it before there are instances, in parts: nobody has to take a text apart to know what is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["PortPath", "as_path"]

_WRITTEN = re.compile(
    r"(?P<interleaved>interleaved\()?\s*(?P<child>[^.\[\]()]+?)\s*(?:\[(?P<member>\d+)\])?\.(?P<port>\w+)\s*(?P<close>\))?"
)


@dataclass(frozen=True, slots=True)
class PortPath:
    """A port of a contained reactor, or of the members of a contained bank.

    Attributes:
        child: name of the contained reactor or bank.
        port: name of its port.
        member: index of one member of the bank; None: all of them.
        interleaved: order the channels by channel first and by bank member second.
    """

    child: str
    port: str
    member: int | None = None
    interleaved: bool = False

    def __str__(self) -> str:
        path = f"{self.element}.{self.port}"
        return f"interleaved({path})" if self.interleaved else path

    @property
    def element(self) -> str:
        """The contained reactor, with the index of the member: `rollouts[3]`."""
        return self.child if self.member is None else f"{self.child}[{self.member}]"


def as_path(written: str) -> PortPath | str:
    """What a reaction's decorator was given as text: `"counter.count"` is a path; anything else stays as it is, such as a parameter's name."""
    match = _WRITTEN.fullmatch(written)
    if match is None or (match["interleaved"] is None) != (match["close"] is None):
        return written
    member = None if match["member"] is None else int(match["member"])
    return PortPath(match["child"], match["port"], member, match["interleaved"] is not None)
