"""Banks: several copies of one reactor, as a program declares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from reactornb.errors import DeclarationError, Source, UnknownNameError, suggestion
from reactornb.limits import MOST_REACTORS
from reactornb.model.callers import refuse_child_of_run
from reactornb.model.declarations import PortRef, current_mode
from reactornb.model.reactor import Reactor, member_source
from reactornb.model.spec import Template

__all__ = ["Bank", "BankMember", "per_member"]


class per_member[T]:  # noqa: N801 - reads as a word of the declaration language
    """A parameter that differs between the members of a bank: `Bank(Rollout, 4, epsilon=per_member(lambda i: 0.1 * i))`."""

    def __init__(self, fn: Callable[[int], T]) -> None:
        self.fn = fn


class Bank(Template):
    """`width` copies of a reactor, each with its `bank_index`; ports are reached for all members at once or for one.

    Args:
        cls: the reactor's class.
        width: number of members.
        parameters: parameters for every member; `per_member(fn)` gives each its own.
    """

    def __init__(self, cls: Any, width: Any, /, **parameters: Any) -> None:
        where = Source.caller()
        refuse_child_of_run("Bank")
        if not (isinstance(cls, type) and issubclass(cls, Reactor)):
            raise DeclarationError(f"{where}: Bank takes a reactor class, not {cls!r}: Bank(Rollout, 8, horizon=100).")
        if isinstance(width, bool) or not isinstance(width, int) or width < 0:
            raise DeclarationError(f"{where}: a bank's width is a whole number of at least 0, not {width!r}.")
        if width > MOST_REACTORS:
            raise DeclarationError(
                f"{where}: a bank of {width:,} {cls.__name__}: a program has at most {MOST_REACTORS:,} reactors. Let each member do more."
            )
        values = self.__dict__
        values.update(
            cls=cls, width=width, _parameters=parameters, _connections=[], _mode=current_mode(), _source=where
        )
        values.update(_named="", _members={})
        given = {k: v.fn(0) if isinstance(v, per_member) else v for k, v in parameters.items()}
        cls(**{"bank_index": 0, "bank_width": width, **given})  # wrong names are found here

    def __getattr__(self, name: str) -> PortRef:
        port = self.__dict__["cls"]._spec.ports.get(name)
        if port is None:
            cls = self.__dict__["cls"]
            raise UnknownNameError(
                f"{cls.__name__} has no port {name!r}. {suggestion(name, cls._spec.ports)}", unknown=name
            )
        return PortRef(self, port)

    def __len__(self) -> int:
        return cast("int", self.__dict__["width"])

    def template(self, index: int) -> Reactor:
        """A reactor with the parameters of one member."""
        cls, given, width = (self.__dict__[name] for name in ("cls", "_parameters", "width"))
        values = {k: v.fn(index) if isinstance(v, per_member) else v for k, v in given.items()}
        member_source.set(self.__dict__["_source"])
        try:
            member: Reactor = cls(**{"bank_index": index, "bank_width": width, **values})
        finally:
            member_source.set(None)
        return member

    def __getitem__(self, index: int) -> BankMember:
        if not 0 <= index < len(self):
            raise IndexError(
                f"bank {self._label()} has {len(self)} members, 0 to {len(self) - 1}; there is no [{index}]"
            )
        return BankMember(self, index)

    def __iter__(self) -> Iterator[BankMember]:
        return (BankMember(self, i) for i in range(len(self)))

    def _label(self) -> str:
        return self.__dict__["_named"] or f"Bank({self.__dict__['cls'].__name__})"

    def __repr__(self) -> str:
        return f"Bank({self.__dict__['cls'].__name__}, {len(self)})"


class BankMember:
    """One member of a bank, as it stands in `connect`."""

    def __init__(self, bank: Bank, index: int) -> None:
        self.bank = bank
        self.position: int = index
        self._connections = bank.__dict__["_connections"]

    def __getattr__(self, name: str) -> PortRef:
        return PortRef(self, getattr(self.bank, name).port)

    def _label(self) -> str:
        return f"{Bank._label(self.bank)}[{self.position}]"
