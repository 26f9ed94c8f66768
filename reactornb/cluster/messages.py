"""What hub and host say to each other; `frame` and `parse` are its bytes.

A tag is (ns, microstep). An exclusive bound may be (`reactornb.tags.forever`, 0). Values travel as `Packed`; messages between enclaves and changes
of parameters refer to them by their place in `values`, so that one value for many receivers travels once.

    hub -> host   Greeting, Welcome, Program, Restore, Batch, Halt, Save, Abort, Bye, Refused
    host -> hub   Hello, Ready, Report, Saved, Failed, Refused
    both          Beat
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from reactornb.cluster.frames import NORMAL, frame_in
from reactornb.cluster.packing import Packed
from reactornb.cluster.wire import (
    BLOB,
    DONE_TAG,
    FLAG,
    PACKED,
    TAG,
    Message,
    MisfitError,
    digest,
    from_frame,
    items,
    on_wire,
    optional,
    row,
    rows,
    string,
    table,
    to_pieces,
    whole,
)
from reactornb.runtime.codec.layout import Buffer

__all__ = [
    "FROM_HOST",
    "FROM_HUB",
    "Abort",
    "Batch",
    "Beat",
    "Bye",
    "Failed",
    "Greeting",
    "Halt",
    "Hello",
    "Program",
    "Ready",
    "Refused",
    "Report",
    "Restore",
    "Save",
    "Saved",
    "Welcome",
    "frame",
    "parse",
]

NONCE_BYTES = 32
PROOF_BYTES = 32
SUM_BYTES = 32

_TagKey = tuple[int, int]
_COUNT = whole()
_MOST_SHARES = (1 << 16) - 1
_MOST = (1 << 63) - 1
_MESSAGES = rows(time_ns=(0, _MOST), microstep=(0, _MOST), edge=(0, (1 << 31) - 1), value=(0, _MOST))
_FACTS = table(string(400), 64)


def _refer(field: str, numbers: Sequence[int], values: Sequence[Packed]) -> None:
    """Refuse a number of a value that is not there."""
    if max(numbers, default=0) < len(values):
        return
    for at, number in enumerate(numbers):
        if number >= len(values):
            raise MisfitError(f"is {number}, and there are {len(values)} values", f"{field}[{at}].value")


# -- the handshake --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greeting(Message):
    """The hub begins.

    Attributes:
        nonce: drawn for this connection; what the host proves contains it.
    """

    KIND: ClassVar[int] = 1
    nonce: bytes = on_wire(digest(NONCE_BYTES))


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """A host says who it is.

    Attributes:
        share: which share it is to execute.
        attempt: how often that share was started before; an older one is refused.
        nonce: drawn for this connection.
        proof: see `handshake`.
        facts: what its results may depend on, as `reactornb.interpreter.environment` says it.
        canary: how it rounds, as `reactornb.durable.canary` says it.
    """

    KIND: ClassVar[int] = 2
    share: int = on_wire(whole(0, _MOST_SHARES))
    attempt: int = on_wire(_COUNT)
    nonce: bytes = on_wire(digest(NONCE_BYTES))
    proof: bytes = on_wire(digest(PROOF_BYTES))
    facts: dict[str, str] = on_wire(_FACTS)
    canary: dict[str, str] = on_wire(_FACTS)


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """The hub takes the host.

    Attributes:
        share, attempt: as in its `Hello`.
        proof: that the hub knows the secret, too.
    """

    KIND: ClassVar[int] = 3
    share: int = on_wire(whole(0, _MOST_SHARES))
    attempt: int = on_wire(_COUNT)
    proof: bytes = on_wire(digest(PROOF_BYTES))


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """This side does not go on: the hub after a `Hello`, or the host before `Ready`, with the error that says why the share cannot run there.

    Attributes:
        reason: the class of the error, or a word such as "fenced".
        text: its message.
    """

    KIND: ClassVar[int] = 4
    reason: str = on_wire(string(200))
    text: str = on_wire(string(1 << 16))


# -- from the hub ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program(Message):
    """What to execute. A host unpickles `program`; nothing else on either side is unpickled.

    Attributes:
        share: which share this host has.
        shares: of each share, the numbers of its enclaves.
        program: as `ship.pack_program` gives it.
        seed, workers, until_ns, fingerprint, keepalive: as the run's options.
        start_time_ns: when the run began, in ns since the epoch.
        kept_spans: how many spans of each worker the run keeps, where it takes the time of every reaction; 0: it does not.
    """

    KIND: ClassVar[int] = 5
    share: int = on_wire(whole(0, _MOST_SHARES))
    shares: tuple[tuple[int, ...], ...] = on_wire(items(items(whole(0, (1 << 31) - 1)), _MOST_SHARES))
    program: bytes = on_wire(BLOB)
    seed: int = on_wire(whole(-(1 << 127), (1 << 127) - 1))
    workers: int = on_wire(whole(1, 1 << 16))
    until_ns: int | None = on_wire(optional(_COUNT))
    fingerprint: bool = on_wire(FLAG)
    start_time_ns: int = on_wire(_COUNT)
    keepalive: bool = on_wire(FLAG)
    kept_spans: int = on_wire(whole(0, (1 << 31) - 1))

    def check(self) -> None:
        """Refuse references to what is not there."""
        if self.share >= len(self.shares):
            raise MisfitError(f"is {self.share}, and there are {len(self.shares)} shares", "share")


@dataclass(frozen=True, slots=True)
class Restore(Message):
    """Go on from a state.

    Attributes:
        seq: batches up to this one are in it.
        state: as `Saved` brought it.
    """

    KIND: ClassVar[int] = 6
    seq: int = on_wire(_COUNT)
    state: Packed = on_wire(PACKED)


@dataclass(frozen=True, slots=True)
class Batch(Message):
    """How far the host may go, and what has come for it.

    Attributes:
        seq: 1, 2, 3, … for each share; goes on over attempts.
        below: every earlier tag may be executed.
        report_from: after a tag from here on that sent something, a report is wanted at once.
        stop: the run ends at this tag; None: not known yet.
        seen: how many messages of this host were taken in when `below` was computed.
        messages: time, microstep, number of the edge, place in `values`.
        values: what the messages and changes carry.
        changes: time, microstep, number of the reactor, name of the parameter, place in `values`.
    """

    KIND: ClassVar[int] = 7
    seq: int = on_wire(_COUNT)
    below: _TagKey = on_wire(TAG)
    report_from: _TagKey = on_wire(TAG)
    stop: _TagKey | None = on_wire(optional(TAG))
    seen: int = on_wire(_COUNT)
    messages: tuple[tuple[int, int, int, int], ...] = on_wire(_MESSAGES)
    values: tuple[Packed, ...] = on_wire(items(PACKED))
    changes: tuple[tuple[int, int, int, str, int], ...] = on_wire(
        items(
            row(
                time_ns=whole(),
                microstep=whole(),
                reactor=whole(0, (1 << 31) - 1),
                parameter=string(1000),
                value=whole(),
            )
        )
    )

    def check(self) -> None:
        """Refuse references to what is not there."""
        _refer("messages", [one[3] for one in self.messages], self.values)
        _refer("changes", [one[4] for one in self.changes], self.values)


@dataclass(frozen=True, slots=True)
class Halt(Message):
    """End the batch `seq` before the next tag, and report: the run pauses, stops, or a parameter is changed."""

    KIND: ClassVar[int] = 8
    seq: int = on_wire(_COUNT)


@dataclass(frozen=True, slots=True)
class Save(Message):
    """Take the state when the batches up to `seq` are done."""

    KIND: ClassVar[int] = 9
    seq: int = on_wire(_COUNT)


@dataclass(frozen=True, slots=True)
class Beat(Message):
    """I am here. Each side's link sends one a second, unasked, and takes those of the other."""

    KIND: ClassVar[int] = 10


@dataclass(frozen=True, slots=True)
class Abort(Message):
    """End this attempt now; nothing is saved."""

    KIND: ClassVar[int] = 11
    reason: str = on_wire(string(1 << 16))


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """The run is over."""

    KIND: ClassVar[int] = 12
    reason: str = on_wire(string(1 << 16))


# -- from a host ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """The share's schedule is built.

    Attributes:
        machine: on which the host is, and the number of its process.
    """

    KIND: ClassVar[int] = 13
    machine: str = on_wire(string(400), default="")


@dataclass(frozen=True, slots=True)
class Report(Message):
    """What was executed.

    Attributes:
        seq: of the newest batch that was taken in.
        idle: all tags below its `below` are done.
        head: the next event; None if there is none.
        done: the tag that was executed last; (0, -1) before the first.
        over: the share's execution has ended.
        tags, reactions: how many were executed since the run began.
        sums: time, microstep, and what the tag adds to the fingerprint (32 bytes, little-endian), in the order of tags.
        messages, values: as in `Batch`.
        stop: a reaction has asked for the end, which is this tag; None: no.
        logs, prints, spans: what was logged and printed, and how long reactions took, as `rows` and `times` pack it; None: nothing.
        cpu_ns: processor time of the process.
    """

    KIND: ClassVar[int] = 14
    seq: int = on_wire(_COUNT)
    idle: bool = on_wire(FLAG)
    head: _TagKey | None = on_wire(optional(TAG))
    done: _TagKey = on_wire(DONE_TAG)
    over: bool = on_wire(FLAG)
    tags: int = on_wire(_COUNT)
    reactions: int = on_wire(_COUNT)
    sums: tuple[tuple[int, int, bytes], ...] = on_wire(
        items(row(time_ns=whole(), microstep=whole(), sum=digest(SUM_BYTES)))
    )
    messages: tuple[tuple[int, int, int, int], ...] = on_wire(_MESSAGES)
    values: tuple[Packed, ...] = on_wire(items(PACKED))
    stop: _TagKey | None = on_wire(optional(TAG))
    logs: Packed | None = on_wire(optional(PACKED))
    prints: Packed | None = on_wire(optional(PACKED))
    spans: Packed | None = on_wire(optional(PACKED))
    cpu_ns: int = on_wire(_COUNT)

    def check(self) -> None:
        """Refuse references to what is not there."""
        _refer("messages", [one[3] for one in self.messages], self.values)


@dataclass(frozen=True, slots=True)
class Saved(Message):
    """The state after the batch `seq`; only the host that gets it back looks into it."""

    KIND: ClassVar[int] = 15
    seq: int = on_wire(_COUNT)
    state: Packed = on_wire(PACKED)


@dataclass(frozen=True, slots=True)
class Failed(Message):
    """A reaction raised.

    Attributes:
        time_ns, microstep: the tag.
        reaction: full name of the reaction; `reactor` and `number` the graph's numbers of its reactor and of itself, -1: none.
        kind: class of the exception; `text` its message, `traceback` its traceback in words.
        file, line: the deepest line of the user's code.
    """

    KIND: ClassVar[int] = 16
    time_ns: int = on_wire(_COUNT)
    microstep: int = on_wire(_COUNT)
    reaction: str = on_wire(string(10_000))
    reactor: int = on_wire(whole(-1, (1 << 31) - 1))
    number: int = on_wire(whole(-1, (1 << 31) - 1))
    kind: str = on_wire(string(1000))
    text: str = on_wire(string())
    file: str = on_wire(string(10_000))
    line: int = on_wire(whole(0, (1 << 31) - 1))
    traceback: str = on_wire(string())


FROM_HUB: dict[int, type[Message]] = {cls.KIND: cls for cls in (Program, Restore, Batch, Halt, Save, Beat, Abort, Bye)}
"""What a host accepts after the handshake."""
FROM_HOST: dict[int, type[Message]] = {cls.KIND: cls for cls in (Ready, Report, Saved, Beat, Failed, Refused)}
"""What the hub accepts after the handshake."""

_ALL = {**FROM_HUB, **FROM_HOST, **{cls.KIND: cls for cls in (Greeting, Hello, Welcome)}}


def frame(message: Message) -> list[Buffer]:
    """The pieces of a message's bytes in order; arrays are the memory of the values themselves."""
    return to_pieces(message)


def parse(data: Buffer, known: dict[int, type[Message]] | None = None) -> Message:
    """The message that is exactly these bytes; its values are views of them.

    Args:
        data: the bytes in one piece.
        known: which messages may come; None: all.

    Raises:
        WireError: if they are no message, naming the field.
    """
    return from_frame(frame_in(data, NORMAL), _ALL if known is None else known)
