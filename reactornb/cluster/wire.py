"""Messages as frames and back: fields that are checked one by one, and values that are encoded once, by `packing`.

A message class lists its fields with `on_wire(kind)`; what comes over a link is made of it only if every field fits its kind, else it is a
`WireError` that names the field. Nothing is unpickled, imported or called that the bytes name: fields are JSON, values are in the codec of
`reactornb.runtime.codec`.
"""

from __future__ import annotations

import binascii
import dataclasses
import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

from reactornb.cluster.errors import WireError
from reactornb.cluster.frames import Frame, parts_of
from reactornb.cluster.packing import Packed
from reactornb.runtime.codec.layout import Buffer
from reactornb.runtime.codec.write import to_json

__all__ = [
    "BLOB",
    "DONE_TAG",
    "FLAG",
    "PACKED",
    "TAG",
    "Kind",
    "Message",
    "MisfitError",
    "choice",
    "digest",
    "from_frame",
    "items",
    "on_wire",
    "optional",
    "row",
    "rows",
    "string",
    "table",
    "to_pieces",
    "whole",
]

_I64 = 1 << 63


# -- kinds of fields ------------------------------------------------------------------------------------------------------


class MisfitError(ValueError):
    """A field has no value of its kind.

    Attributes:
        path: which part of it, such as `[3].tag`; empty for all of it.
        reason: what does not fit.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class _Sending:
    """The values of a message that is written, each once."""

    __slots__ = ("numbers", "values")

    def __init__(self) -> None:
        self.values: list[Packed] = []
        self.numbers: dict[int, int] = {}

    def number(self, value: Packed) -> int:
        """Its place among the frame's values."""
        number = self.numbers.get(id(value))
        if number is None:
            number = self.numbers[id(value)] = len(self.values)
            self.values.append(value)
        return number


class _Received:
    """The values of a frame, each an object of its own only when a field asks for it."""

    __slots__ = ("made", "views")

    def __init__(self, views: tuple[Any, ...]) -> None:
        self.views = views
        self.made: list[Packed | None] = [None] * len(views)

    def value(self, number: int) -> Packed:
        made = self.made[number]
        if made is None:
            made = self.made[number] = Packed((self.views[number],), self.views[number].nbytes)
        return made


class Kind(NamedTuple):
    """What a field may be.

    Attributes:
        write: from the field's value to JSON; None: it is JSON as it is, where a tuple counts as a list.
        read: from JSON to the value; raises `MisfitError`.
    """

    write: Callable[[Any, _Sending], Any] | None
    read: Callable[[Any, _Received], Any]


def whole(low: int = 0, high: int = _I64 - 1) -> Kind:
    """An integer within bounds, both included."""

    def read(given: Any, _: _Received) -> int:
        if type(given) is not int:
            raise MisfitError(f"is {_short(given)} and not an integer")
        if not low <= given <= high:
            raise MisfitError(f"is {_short(given)}, where {low} to {high} are accepted")
        return given

    return Kind(None, read)


def string(most: int = 1 << 20) -> Kind:
    """A string of so many characters."""

    def read(given: Any, _: _Received) -> str:
        if type(given) is not str:
            raise MisfitError(f"is {_short(given)} and not a string")
        if len(given) > most:
            raise MisfitError(f"has {len(given):,} characters, where {most:,} are accepted")
        return given

    return Kind(lambda value, _: value.encode("utf-8", "replace").decode(), read)


def choice(*known: str) -> Kind:
    """One of these strings."""

    def read(given: Any, _: _Received) -> str:
        if type(given) is not str or given not in known:
            raise MisfitError(f"is {_short(given)} and none of {', '.join(known)}")
        return given

    return Kind(None, read)


def digest(length: int) -> Kind:
    """So many bytes, in hexadecimal."""

    def read(given: Any, _: _Received) -> bytes:
        if type(given) is not str or len(given) != 2 * length:
            raise MisfitError(f"is {_short(given)} and not {length} bytes in hexadecimal")
        try:
            return binascii.unhexlify(given)
        except ValueError:
            raise MisfitError(f"is {_short(given)} and not hexadecimal") from None

    return Kind(lambda value, _: value.hex(), read)


def optional(kind: Kind) -> Kind:
    """That, or None."""
    write_one, read_one = kind
    return Kind(
        None if write_one is None else lambda value, sending: None if value is None else write_one(value, sending),
        lambda given, received: None if given is None else read_one(given, received),
    )


def items(kind: Kind, most: int = 1 << 20) -> Kind:
    """A tuple of any length up to `most`."""
    write_one, read_one = kind

    def read(given: Any, received: _Received) -> tuple[Any, ...]:
        if type(given) is not list:
            raise MisfitError(f"is {_short(given)} and not a list")
        if len(given) > most:
            raise MisfitError(f"has {len(given):,} items, where {most:,} are accepted")
        made: list[Any] = []
        try:
            made.extend(read_one(one, received) for one in given)
        except MisfitError as misfit:
            raise MisfitError(misfit.reason, f"[{len(made)}]{misfit.path}") from None
        return tuple(made)

    return Kind(
        None if write_one is None else lambda value, sending: [write_one(one, sending) for one in value],
        read,
    )


def row(**columns: Kind) -> Kind:
    """A tuple with one value per column."""
    kinds = list(columns.items())
    writers = [(at, kind.write) for at, (_, kind) in enumerate(kinds) if kind.write is not None]

    def write(value: Any, sending: _Sending) -> Any:
        return _written(value, writers, sending)

    def read(given: Any, received: _Received) -> tuple[Any, ...]:
        if type(given) is not list or len(given) != len(kinds):
            raise MisfitError(f"is {_short(given)} and not a list of {', '.join(columns)}")
        made = []
        for part, (name, kind) in zip(given, kinds, strict=True):
            try:
                made.append(kind.read(part, received))
            except MisfitError as misfit:
                raise MisfitError(misfit.reason, f".{name}{misfit.path}") from None
        return tuple(made)

    return Kind(write if writers else None, read)


def _written(parts: Any, writers: list[tuple[int, Any]], sending: _Sending) -> list[Any]:
    given = list(parts)
    for at, write in writers:
        given[at] = write(given[at], sending)
    return given


def rows(most: int = 1 << 20, **columns: tuple[int, int]) -> Kind:
    """A tuple of rows of integers, with bounds for each column: what `items(row(...))` of `whole` does, four times as fast."""
    one_by_one = items(row(**{name: whole(*bounds) for name, bounds in columns.items()}), most)
    bounds, width = tuple(columns.values()), len(columns)

    def read(given: Any, received: _Received) -> Any:
        if type(given) is not list or len(given) > most:
            return one_by_one.read(given, received)
        for one in given:
            if type(one) is not list or len(one) != width:
                return one_by_one.read(given, received)
            for part, (low, high) in zip(one, bounds, strict=True):
                if type(part) is not int or not low <= part <= high:
                    return one_by_one.read(given, received)  # which says what does not fit
        return tuple(map(tuple, given))

    return Kind(None, read)


def table(kind: Kind, most: int = 1 << 10) -> Kind:
    """A dictionary with strings as keys."""

    def read(given: Any, received: _Received) -> dict[str, Any]:
        if type(given) is not dict:
            raise MisfitError(f"is {_short(given)} and not a table")
        if len(given) > most:
            raise MisfitError(f"has {len(given):,} entries, where {most:,} are accepted")
        made = {}
        for name, part in given.items():
            try:
                made[name] = kind.read(part, received)
            except MisfitError as misfit:
                raise MisfitError(misfit.reason, f"[{name!r:.40}]{misfit.path}") from None
        return made

    write_one = kind.write
    return Kind(
        None
        if write_one is None
        else lambda value, sending: {name: write_one(part, sending) for name, part in value.items()},
        read,
    )


def _read_flag(given: Any, _: _Received) -> bool:
    if type(given) is not bool:
        raise MisfitError(f"is {_short(given)} and neither true nor false")
    return given


def _read_tag(given: Any, _: _Received) -> tuple[int, int]:
    if type(given) is not list or len(given) != 2 or type(given[0]) is not int or type(given[1]) is not int:
        raise MisfitError(f"is {_short(given)} and not a tag: [ns, microstep]")
    ns, microstep = given
    if not (0 <= ns < _I64 and 0 <= microstep < _I64):
        raise MisfitError(f"is {_short(given)}, and a tag's numbers are from 0 to 2**63 - 1")
    return ns, microstep


def _read_done(given: Any, received: _Received) -> tuple[int, int]:
    return (0, -1) if given == [0, -1] and type(given[0]) is int else _read_tag(given, received)


def _read_blob(given: Any, received: _Received) -> bytes:
    return _read_packed(given, received).to_bytes()


def _write_blob(value: Any, sending: _Sending) -> Any:
    return sending.number(Packed((value,), len(value)))


def _read_packed(given: Any, received: _Received) -> Packed:
    if type(given) is not int or not 0 <= given < len(received.views):
        raise MisfitError(f"is {_short(given)} and not the number of one of the {len(received.views)} values")
    return received.value(given)


FLAG = Kind(None, _read_flag)
TAG = Kind(None, _read_tag)
"""A tag as (ns, microstep)."""
DONE_TAG = Kind(None, _read_done)
"""A tag, or (0, -1): before the first."""
BLOB = Kind(_write_blob, _read_blob)
"""Bytes of any length that are no encoded value."""
PACKED = Kind(lambda value, sending: sending.number(value), _read_packed)


def _short(given: Any) -> str:
    if type(given) is int and given.bit_length() > 80:
        return f"an integer of {given.bit_length()} bits"
    words = f"{given:.50}" if type(given) is str else str(given) if not isinstance(given, (list, dict)) else ""
    if isinstance(given, (list, dict)):
        return f"a {'list' if isinstance(given, list) else 'table'} of {len(given):,}"
    return repr(words) if type(given) is str else words


# -- messages -------------------------------------------------------------------------------------------------------------


class Message:
    """Base of all messages, which are frozen dataclasses with slots.

    Attributes:
        KIND: its number in a frame's header.
    """

    __slots__ = ()
    KIND: ClassVar[int]

    def check(self) -> None:
        """Refuse fields that fit one by one and not together.

        Raises:
            MisfitError: naming the field in `path`.
        """


def on_wire(kind: Kind, **options: Any) -> Any:
    """A field of a message; `options` as those of `dataclasses.field`."""
    return dataclasses.field(metadata={"wire": kind}, **options)


class _Fields(NamedTuple):
    """The fields of a message in order.

    Attributes:
        kinds: by name.
        values: of a message, as a sequence.
        writers: position and writer of those that are not JSON as they are.
    """

    kinds: list[tuple[str, Kind]]
    values: Callable[[Any], Any]
    writers: list[tuple[int, Any]]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name:.20} is none of our numbers")


_from_json = json.JSONDecoder(parse_constant=_no_constant).decode

_FIELDS: dict[type, _Fields] = {}


def _fields(cls: Any) -> _Fields:
    listed = _FIELDS.get(cls)
    if listed is None:
        kinds = [(one.name, one.metadata["wire"]) for one in dataclasses.fields(cls)]
        names = [name for name, _ in kinds]
        values = attrgetter(*names) if len(names) > 1 else lambda message: [getattr(message, name) for name in names]
        listed = _Fields(
            kinds, values, [(at, kind.write) for at, (_, kind) in enumerate(kinds) if kind.write is not None]
        )
        _FIELDS[cls] = listed  # whoever is first: all write the same
    return listed


def to_pieces(message: Message) -> list[Buffer]:
    """A message as the pieces of a frame."""
    fields, sending = _fields(type(message)), _Sending()
    given = _written(fields.values(message), fields.writers, sending)
    return parts_of(message.KIND, to_json(given).encode(), [(value.nbytes, value.pieces) for value in sending.values])


def from_frame(frame: Frame, known: dict[int, type[Message]]) -> Message:
    """The message that a frame holds.

    Args:
        frame: as `receive_frame` gives it.
        known: the messages that may come here, by `KIND`.

    Raises:
        WireError: if it is none of them, or a field does not fit; it names the field.
    """
    cls = known.get(frame.kind)
    if cls is None:
        raise WireError(
            "frame.kind", f"is {frame.kind}; expected here: {', '.join(sorted(c.__name__ for c in known.values()))}"
        )
    try:
        given = _from_json(frame.fields.decode())
    except (ValueError, RecursionError) as error:
        raise WireError(
            f"{cls.__name__}.fields", f"is no JSON of ours ({type(error).__name__}: {str(error)[:80]})"
        ) from None
    fields = _fields(cls).kinds
    if type(given) is not list or len(given) != len(fields):
        raise WireError(f"{cls.__name__}.fields", f"is {_short(given)} and not a list of {len(fields)}")
    received = _Received(frame.values)
    made = []
    try:
        for one, (_, kind) in zip(given, fields, strict=True):
            made.append(kind.read(one, received))
    except MisfitError as misfit:
        raise WireError(f"{cls.__name__}.{fields[len(made)][0]}{misfit.path}", misfit.reason) from None
    if None in received.made:
        raise WireError(f"{cls.__name__}.values", "has a value to which no field refers")
    message = cls(*made)
    try:
        message.check()
    except MisfitError as misfit:
        raise WireError(f"{cls.__name__}.{misfit.path}", misfit.reason) from None
    return message
