"""`Reactor`, the base class of all reactors: what making an instance means, and what `compose` does with children and parameters."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, ClassVar, Self, cast

from reactornb.errors import DeclarationError, Source, UnknownNameError, suggestion, with_article
from reactornb.model.callers import refuse_child_of_run
from reactornb.model.collect import collect
from reactornb.model.declarations import Declaration, current_mode
from reactornb.model.live import LiveReactor
from reactornb.model.spec import REQUIRED, Template
from reactornb.model.values import kind_of
from reactornb.tags import Duration, as_duration, no_duration

__all__ = ["Reactor", "composing", "member_source"]

# Where the bank is declared of which a member is being made. Set by `Bank.template`, read by `Reactor.__new__` of the same context: finding the
# place by a walk up the stack for each of 10,000 members would take longer than everything else.
member_source: ContextVar[Source | None] = ContextVar("member_source", default=None)


class _Parameters:
    """What `inspect.signature`, and a notebook's `Rollout?`, show of a class: its parameters by name, with their defaults."""

    def __get__(self, instance: object, owner: type[Reactor]) -> Any:
        from inspect import Parameter, Signature

        if owner.__init__ is not Reactor.__init__:
            return None  # its own
        return Signature(
            [
                Parameter(name, Parameter.KEYWORD_ONLY, default=Parameter.empty if default is REQUIRED else default)
                for name, default in owner._spec.parameters.items()
            ]
        )


def _by_name(cls: type[Reactor], positional: tuple[Any, ...], parameters: dict[str, Any]) -> DeclarationError:
    """Parameters that were given without their names."""
    declared = list(cls._spec.parameters)
    said = f"{Source.caller()}: {cls.__name__} takes its parameters by name"
    if len(positional) > len(declared):
        return DeclarationError(
            f"{said}, and takes {len(declared)} parameters: {', '.join(declared) or 'none'}; {len(positional)} were given without one."
        )
    given = {**dict(zip(declared, positional, strict=False)), **parameters}
    return DeclarationError(f"{said}: {cls.__name__}({', '.join(f'{k}={v!r:.60}' for k, v in given.items())}).")


class Reactor(LiveReactor):
    """Base class of all reactors.

    In the body: `name = Input[...]()`, `Output`, `Timer`, `LogicalAction`, `PhysicalAction`, `Mode`, `State`, other
    reactors and banks, `connect(...)`, functions decorated with `@reaction(...)`; an annotated name is a
    parameter, given by keyword when the reactor is made. Structure that depends on parameters goes into `compose`.

    While a reaction runs, `self` also has:
        rng: a `numpy.random.Generator` of its own, seeded by the run's seed and the reactor's full name.
        seed: that seed, an int below 2**63.
        bank_seed: the same for all members of its bank.
        tag, time_ns, physical_time_ns, lag_ns: where the run is in logical and physical time.

    Raises:
        UnknownNameError: for a parameter that the class does not declare.
        DeclarationError: for a required parameter that is missing.
    """

    needs_physical_time: ClassVar[bool] = True
    """Of a root reactor: whether its program waits for physical time, where `start` is not told by `fast=`. A program that only computes,
    and whose delays give an order, says `needs_physical_time = False`."""

    __signature__ = _Parameters()
    _composing: ClassVar[type[Reactor] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_composes" in cls.__dict__:
            return
        if "_definition" not in cls.__dict__:  # a front end says itself where its text has the class
            cls._definition = Source.of_class(cls)
        cls._spec = collect(cls)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make a template. Attributes that must exist even if a subclass's `__init__` does not call ours are set here."""
        if "__dataclass_params__" in cls.__dict__ or "__attrs_attrs__" in cls.__dict__:
            raise DeclarationError(
                f"{cls._definition}: {cls.__name__} is a reactor under @dataclass, whose __init__ takes the place of the reactor's. Leave the decorator out: what "
                f"is annotated in the body, learning_rate: float = 0.1, is a parameter already."
            )
        template = super().__new__(cls)
        where = member_source.get()
        if where is None:
            where = Source.caller()
            refuse_child_of_run(cls.__name__)
        else:
            member_source.set(None)  # reactors that a member's `__init__` makes have places of their own
        template.__dict__.update(_connections=[], _mode=current_mode(), _source=where, _children=None, _named="")
        return template

    def __init__(self, *positional: Any, **parameters: Any) -> None:
        if positional:
            raise _by_name(type(self), positional, parameters)
        values = self.__dict__
        declared = type(self)._spec.parameters
        for name in parameters:
            if name not in declared and name not in ("bank_index", "bank_width"):
                raise UnknownNameError(
                    f"{values['_source']}: {type(self).__name__} has no parameter {name!r}. {suggestion(name, declared, self._renamed)}",
                    unknown=name,
                    source=values["_source"],
                )
        for name, default in declared.items():
            value = parameters.get(name, default)
            if value is REQUIRED:
                raise DeclarationError(
                    f"{values['_source']}: {type(self).__name__} needs its parameter {name!r}: it has no default."
                )
            values[name] = value
        for name, value in parameters.items():
            if type(value) is str or type(value) in (bool, int, float):
                _check_plain(type(self), name, value, values["_source"])
        for name in ("bank_index", "bank_width"):
            if name in parameters:
                values[name] = parameters[name]
        values["_parameters"] = parameters

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a new value for a parameter while the program runs; called by `Run.set`, on the thread that asks.

        To be overridden where a type alone does not say which values make sense. It may look at what does not change while the
        program runs, and changes nothing. A reaction with the parameter's name as its trigger, `@reaction("learning_rate")`, then
        carries the change out, where reading `self.learning_rate` anew is not enough.

        Raises:
            ValueError: with what is wrong with the value.
        """

    def __repr__(self) -> str:
        if self._running:
            return f"<{type(self).__name__} {self._name}>"
        given = ", ".join(f"{k}={v!r}" for k, v in self.__dict__.get("_parameters", {}).items())
        return f"{type(self).__name__}({given})"


def _check_plain(cls: type[Reactor], name: str, value: Any, where: Source) -> None:
    """Refuse text for a number, a number for text, a fraction for a whole number: `n=five` for an int parameter."""
    if cls.__dict__.get("_translated") or name not in cls._spec.parameters:
        return
    wanted = kind_of(cls, name)
    if wanted is Duration and as_duration(value) is None:
        raise DeclarationError(f"{where}: {cls.__name__} takes {name} as a duration: {no_duration(value)}.")
    fits = {
        int: not isinstance(value, str) and float(value).is_integer(),
        float: not isinstance(value, str),
        bool: isinstance(value, bool) or value in (0, 1),
        str: isinstance(value, str),
    }.get(wanted, True) if isinstance(wanted, type) else True  # fmt: skip
    if not fits and cls._spec.parameters[name] is not value:
        raise DeclarationError(
            f"{where}: {cls.__name__} takes {name} as {with_article(wanted.__name__)}, not {value!r} (a {type(value).__name__})."
        )


def composing(cls: type[Reactor]) -> type[Reactor]:
    """The class of the object that `compose` is called on: it turns assigned reactors and banks into children, and records reads of parameters.

    A class of its own: a `__setattr__` in `Reactor` would slow down every assignment in every running reaction.
    """
    composed = cls.__dict__.get("_composing")
    if composed is None:
        names = {
            **{name: _Noted(name) for name in cls._spec.parameters},
            "__setattr__": _set_child,
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "_composes": True,
        }
        composed = type(cls.__name__, (cls,), names)
        cls._composing = composed
    return cast("type[Reactor]", composed)


class _Noted:
    """Records that `compose` reads a parameter: the graph depends on it, so a run cannot change it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return getattr(owner.__mro__[1], self._name)
        instance.__dict__.setdefault("_looked_at", set()).add(self._name)
        return instance.__dict__[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = value


def _set_child(self: Reactor, name: str, value: Any) -> None:
    children = self.__dict__["_children"]
    if isinstance(value, Declaration):
        raise DeclarationError(
            f"{value.source}: compose of {type(self).__name__} makes {with_article(value.kind)}, {name}. Ports, timers, actions and reactions are declared in the class body; a "
            f"number that depends on a parameter goes there, too: {name} = Input(width='n')."
        )
    if isinstance(value, Template):
        value.__dict__["_named"] = name
        children[name] = value
    elif isinstance(value, (list, tuple)) and value and all(isinstance(v, Template) for v in value):
        for i, child in enumerate(value):
            child.__dict__.update(_named=f"{name}[{i}]", _listed=name)
            children[f"{name}[{i}]"] = child
    object.__setattr__(self, name, value)
