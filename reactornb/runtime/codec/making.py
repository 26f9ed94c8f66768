"""What readers of tokens work with."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from reactornb.runtime.codec.classes import Classes

__all__ = ["Making", "Many", "Open", "Unfinished", "whole"]


class Unfinished:
    """Stands for a value that is complete only when all its parts are there."""


class Many:
    """Several parts at once of the value that is open.

    Attributes:
        values: the parts.
    """

    __slots__ = ("values",)

    def __init__(self, values: list[Any]) -> None:
        self.values = values


class Open:
    """A value whose parts are still to come.

    Attributes:
        need: how many parts.
        build: makes the value of them.
        early: the value itself, where it can be referred to before its parts are there.
        parts: those that have come.
        number: its number among those that can be referred to; -1 if it has none.
    """

    __slots__ = ("build", "early", "need", "number", "parts")

    def __init__(self, need: Any, build: Callable[[list[Any]], Any], early: Any = Unfinished) -> None:
        self.need = whole(need)
        self.build = build
        self.early = early
        self.parts: list[Any] = []
        self.number = -1


class Making:
    """One value that is decoded; all of it belongs to the thread that decodes.

    Attributes:
        classes: what the data may name.
        copy: arrays get memory of their own.
        device: where tensors are put; None: on the kind of device they were on.
        made: values by their numbers.
        at: the position of the token that is read.
        nbytes: how many bytes there are.
    """

    def __init__(
        self, classes: Classes, buffers: tuple[Any, ...], text: int, *, copy: bool, device: str | None
    ) -> None:
        self.classes = classes
        self.copy = copy
        self.device = device
        self.made: list[Any] = []
        self.at = 0
        self.nbytes = text + sum(buffer.nbytes for buffer in buffers)
        self._buffers = buffers

    def data(self, where: Any) -> Any:
        """The bytes that `data_of` wrote."""
        if type(where) is str:
            return base64.b64decode(where, validate=True)
        return self._buffers[whole(where)]

    def named(self, name: Any, kind: type | tuple[type, ...]) -> Any:
        """A class or function that the data name.

        Raises:
            LookupError: if it is not declared.
            TypeError: if it is of another kind.
        """
        found = self.classes.named(name)
        if found is None:
            raise LookupError(f"{name!r:.80} is not declared. Give it to Classes([...]), if it is the program's")
        if not isinstance(found, kind):
            raise TypeError(f"{name} is something else than the data say")
        return found


def whole(value: Any) -> int:
    """A count.

    Raises:
        ValueError: if it is none.
    """
    if type(value) is not int or value < 0:
        raise ValueError("a number is missing")
    return value
