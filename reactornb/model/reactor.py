"""Reactors and banks as a user writes them: templates with parameters, children and connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from reactornb.errors import DeclarationError, Source, UnknownNameError, suggestion
from reactornb.limits import MOST_REACTORS
from reactornb.model.declarations import Declaration, Mode, Port, PortRef, Spec, as_tuple, current_mode
from reactornb.model.mistakes import assigned_to, class_body, running_reactor
from reactornb.model.spec import REQUIRED, ClassSpec, collect

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True, slots=True)
class Connection:
    """`sources -> destinations`, recorded where it was made; widths are judged at assembly."""

    sources: tuple[Any, ...]
    destinations: tuple[Any, ...]
    after: Spec | None
    physical: bool
    broadcast: bool | None
    mode: Mode | None
    source: Source
    strict: bool = True


def connect(
    source: Any,
    destination: Any,
    *,
    after: Spec | None = None,
    physical: bool = False,
    broadcast: bool | None = None,
    strict: bool = True,
    made_at: Source | None = None,
) -> None:
    """Connect ports of contained reactors (or of the reactor itself) inside a class body or in `compose`.

    Args:
        source: a port, or a list of ports whose channels are put one after the other.
        destination: likewise.
        after: delay in ns of logical time; 0 is one microstep; None is no delay at all.
        physical: deliver at physical time instead of logical time.
        broadcast: true repeats the source's channels until the destination is full; None (the default) does so for a
            source of width one; false never does.
        strict: false makes a width mismatch a warning, as in Lingua Franca.
        made_at: where the connection stands, if not where this is called.

    Raises:
        DeclarationError: for something that is not a port.
    """
    sources, destinations = as_tuple(source), as_tuple(destination)
    where = made_at or Source.caller()
    home: Any = None
    late = running_reactor()
    if late is not None and isinstance(late[0], Reactor):
        raise DeclarationError(
            f"{where}: {late[0].full_name} calls connect while it runs. The graph of a running program is final: connect in the class body or in compose."
        )
    for end in (*sources, *destinations):
        if isinstance(end, PortRef):
            home = home or end.owner
        elif not isinstance(end, Port):
            raise DeclarationError(
                f"{where}: connect takes ports, such as learner.weights, not {end!r} (a {type(end).__name__})."
            )
    made = Connection(sources, destinations, after, physical, broadcast, current_mode(), where, strict)
    if home is None:  # both ends are the class's own ports, in its body
        body = class_body()
        if body is None:
            raise DeclarationError(
                f"{where}: connect joins ports of instances, and {sources[0].name!r} and {destinations[0].name!r} belong to classes. Inside a reactor, make "
                f"children, a = A(), b = B(), and connect(a.{sources[0].name}, b.{destinations[0].name})."
            )
        body.setdefault("__declared__", []).append(made)
    else:
        home.__dict__["_connections"].append(made)


def enclave[T: Reactor | Bank](child: T, *, each: bool = False) -> T:
    """Give a contained reactor tags of its own.

    Write `self.learner = enclave(Learner())`. Everything in it has a current tag of its own and may be ahead of the rest, or
    behind, as far as the delays of the connections between them allow. What it computes, and the run's fingerprint, stay the
    same, but for the end that it asks for itself; what changes is what may run at the same time. Where rollouts play a round each ms, and weights reach them `after=ms(2)`, the learner works on one round
    while the rollouts play the next.

    Args:
        child: a reactor or a bank, when it is made.
        each: of a bank, every member an enclave of its own instead of all members in one.

    Raises:
        DeclarationError: if it is something else.

    Assembly refuses enclaves inside modes, and connections through which a message could come back without any delay.
    `request_stop` in an enclave takes effect when every other one can know: at the next microstep, or later by the
    longest delay from it to another.
    """
    if not isinstance(child, (Reactor, Bank)):
        raise DeclarationError(
            f"{Source.caller()}: enclave takes a reactor or a bank, not {child!r}: enclave(Learner())."
        )
    child.__dict__["_enclave"] = "each" if each and isinstance(child, Bank) else "whole"
    return child


type Fixed[T] = Annotated[T, "decided when the program starts"]
"""A parameter that a running program cannot change, because it is only looked at when it starts: `env_id: Fixed[str] = "CartPole-v1"`.

What decides the graph (a width, a delay, whatever `compose` reads) need not say so: assembly sees it.
"""


type Shared[T] = Annotated[T, "one object for all"]
"""A parameter whose value is passed on as it is, instead of copied for each instance: `stop: Shared[threading.Event]`.

For what cannot be copied, or reaches out of the program: queues, locks, connections, lists in which a test collects. The program then
answers for it that its result does not depend on which reactor touches the object first.
"""


class per_member[T]:  # noqa: N801 - reads as a word of the declaration language
    """A parameter that differs between the members of a bank: `Bank(Rollout, 4, epsilon=per_member(lambda i: 0.1 * i))`."""

    def __init__(self, fn: Callable[[int], T]) -> None:
        self.fn = fn


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


class Reactor:
    """Base class of all reactors.

    In the body: `name = Input[...]()`, `Output`, `Timer`, `LogicalAction`, `PhysicalAction`, `Mode`, `State`, other
    reactors and banks, `connect(...)`, functions decorated with `@reaction(...)`; an annotated name is a
    parameter, given by keyword when the reactor is made. Structure that depends on parameters goes into `compose`.

    While a reaction runs, `self` also has:
        rng: a `numpy.random.Generator` of its own, seeded by the run's seed and the reactor's full name.
        seed: that seed, an int below 2**63.
        tag, time_ns, physical_time_ns, lag_ns: where the run is in logical and physical time.

    Raises:
        UnknownNameError: for a parameter that the class does not declare.
        DeclarationError: for a required parameter that is missing.
    """

    needs_physical_time: ClassVar[bool] = True
    """Of a root reactor: whether its program waits for physical time, where `start` is not told by `fast=`. A program that only computes,
    and whose delays give an order, says `needs_physical_time = False`."""

    __signature__ = _Parameters()
    _renamed: ClassVar[Mapping[str, str]] = {}  # what parameters were called before -> what they are called
    _spec: ClassVar[ClassSpec] = ClassSpec()
    _definition: ClassVar[Source] = Source(__file__, 1)
    _running = False
    _rng: numpy.random.Generator | None = None
    _deadline: Any = None
    _composing: ClassVar[type[Reactor] | None] = None
    bank_index = 0
    bank_width = 1

    if TYPE_CHECKING:  # set on the running instance by reactornb.runtime
        _name: str
        _context: Any
        _log: Any
        _run_seed: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_composes" in cls.__dict__:
            return
        if "_definition" not in cls.__dict__:  # the front end for Lingua Franca says where its text has the class
            cls._definition = Source.of_class(cls)
        cls._spec = collect(cls)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A template. What must be there even if a subclass's `__init__` forgets ours is put here."""
        if "__dataclass_params__" in cls.__dict__ or "__attrs_attrs__" in cls.__dict__:
            raise DeclarationError(
                f"{cls._definition}: {cls.__name__} is a reactor under @dataclass, whose __init__ takes the place of the reactor's. Leave the decorator out: what "
                f"is annotated in the body, lr: float = 0.1, is a parameter already."
            )
        made = super().__new__(cls)
        where = _members_source.get()
        if where is None:
            where = Source.caller()
            _not_late(cls.__name__)
        else:
            _members_source.set(None)  # what a member's `__init__` makes has a place of its own
        made.__dict__.update(_connections=[], _mode=current_mode(), _source=where, _children=None, _named="")
        return made

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

    def compose(self) -> None:
        """Make children and connections that depend on parameters; called once per instance, at assembly.

        `self.worker = Worker(...)` or `self.workers = Bank(Worker, self.n)` adds a child of that name; `connect` joins
        their ports.
        """

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a new value for a parameter while the program runs; called by `Run.set`, on the thread that asks.

        To be overridden where a type alone does not say which values make sense. It may look at what does not change while the
        program runs, and changes nothing. A reaction with the parameter's name as its trigger, `@reaction("lr")`, then
        carries the change out, where reading `self.lr` anew is not enough.

        Raises:
            ValueError: with what is wrong with the value.
        """

    def __set_name__(self, owner: type, name: str) -> None:
        self.__dict__["_named"] = name

    def _label(self) -> str:
        return self.__dict__.get("_named") or type(self).__name__

    def __repr__(self) -> str:
        if self._running:
            return f"<{type(self).__name__} {self._name}>"
        given = ", ".join(f"{k}={v!r}" for k, v in self.__dict__.get("_parameters", {}).items())
        return f"{type(self).__name__}({given})"

    # What follows is for running instances: the runtime sets _context (its scheduler), _name, _log and _run_seed.

    @property
    def seed(self) -> int:
        """An int below 2**63 derived from the run's seed and the reactor's full name (BLAKE2b)."""
        from hashlib import blake2b

        digest = blake2b(f"{self._run_seed}\0{self._name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    @property
    def rng(self) -> numpy.random.Generator:
        """This reactor's own random generator (NumPy's PCG64), made on first use."""
        made = self._rng
        if made is None:
            import numpy

            made = numpy.random.default_rng(self.seed)
            object.__setattr__(self, "_rng", made)
        return made

    @property
    def full_name(self) -> str:
        """The path from the top, such as `main.rollouts[3]`."""
        return self._name

    @property
    def tag(self) -> Any:
        """The current `Tag`."""
        return self._context.current_tag()

    @property
    def time_ns(self) -> int:
        """Logical time since the start of the run, in ns."""
        return cast("int", self._context.current_tag().time_ns)

    @property
    def physical_time_ns(self) -> int:
        """Physical time since the start of the run, in ns."""
        return cast("int", self._context.physical_elapsed_ns())

    @property
    def lag_ns(self) -> int:
        """How far physical time is ahead of logical time, in ns."""
        return self.physical_time_ns - self.time_ns

    @property
    def start_time_ns(self) -> int:
        """Physical time at which the run began, in ns since the epoch."""
        return cast("int", self._context.start_time_ns)

    def check_deadline(self, invoke_handler: bool = True) -> bool:
        """True if the deadline of the reaction that runs has passed by now; false if it has none.

        Args:
            invoke_handler: also call the deadline's handler in that case, as in Lingua Franca.
        """
        limit = self._deadline
        if limit is None or not limit.is_missed():
            return False
        if invoke_handler:
            limit.late()
        return True

    def update_deadline(self, deadline: int) -> None:
        """Give the reaction that runs another deadline, in ns, from now on; nothing happens if it has none."""
        limit = self._deadline
        if limit is not None:
            limit.limit_ns = deadline

    def request_stop(self) -> None:
        """End the run at the next microstep, with its shutdown reactions."""
        self._context.request_stop()

    def log(self, **metrics: float) -> None:
        """Record metrics at the current tag; a run's `metrics` merges them by tag, whatever thread wrote them.

        Raises:
            TypeError: for a metric that is no number.
        """
        if metrics:
            self._log.add(self._context.current_tag(), metrics)


def _not_late(name: str) -> None:
    """Refuse `self.kid = A()` in a reaction: a child made while the program runs would never be one."""
    late = running_reactor()
    attribute = assigned_to() if late is not None else ""
    if late is not None and attribute:
        raise DeclarationError(
            f"{late[1]}: {late[0].full_name} makes a child, self.{attribute} = {name}(…), while it runs, and the graph of a running program is final. Make it "
            f"in the class body, {attribute} = {name}(…), or in compose."
        )


def _check_plain(cls: type[Reactor], name: str, value: Any, where: Source) -> None:
    """Refuse text for a number, a number for text, a fraction for a whole number: `n=five` for an int parameter."""
    if "_lf_defaults" in cls.__dict__ or name not in cls._spec.parameters:
        return
    from reactornb.model.values import kind_of  # imports this module

    wanted = kind_of(cls, name)
    fits = {
        int: not isinstance(value, str) and float(value).is_integer(),
        float: not isinstance(value, str),
        bool: isinstance(value, bool) or value in (0, 1),
        str: isinstance(value, str),
    }.get(wanted, True) if isinstance(wanted, type) else True  # fmt: skip
    if not fits and cls._spec.parameters[name] is not value:
        raise DeclarationError(
            f"{where}: {cls.__name__} takes {name} as {'an' if wanted is int else 'a'} {wanted.__name__}, not {value!r} (a {type(value).__name__})."
        )


def composing(cls: type[Reactor]) -> type[Reactor]:
    """The class of what `compose` is called on: a reactor or bank assigned to a name becomes a child, and a look at a parameter is noted.

    A class of its own, since a `__setattr__` would cost every assignment of every running reaction a call.
    """
    made = cls.__dict__.get("_composing")
    if made is None:
        names = {
            **{name: _Noted(name) for name in cls._spec.parameters},
            "__setattr__": _set_child,
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "_composes": True,
        }
        made = type(cls.__name__, (cls,), names)
        cls._composing = made
    return cast("type[Reactor]", made)


class _Noted:
    """Stands for a parameter while the graph is made: what is looked at then is part of the graph, and final."""

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
            f"{value.source}: compose of {type(self).__name__} makes {'an' if value.kind[0] in 'aio' else 'a'} {value.kind}, {name}. Ports, timers, actions and reactions are declared in the class body; a "
            f"number that depends on a parameter goes there, too: {name} = Input(width='n')."
        )
    if isinstance(value, (Reactor, Bank)):
        value.__dict__["_named"] = name
        children[name] = value
    elif isinstance(value, (list, tuple)) and value and all(isinstance(v, (Reactor, Bank)) for v in value):
        for i, child in enumerate(value):
            child.__dict__["_named"] = f"{name}[{i}]"
            children[f"{name}[{i}]"] = child
    object.__setattr__(self, name, value)


class Bank:
    """`width` copies of a reactor, each with its `bank_index`; ports are reached for all members at once or for one.

    Args:
        cls: the reactor's class.
        width: number of members.
        parameters: parameters for every member; `per_member(fn)` gives each its own.
    """

    def __init__(self, cls: Any, width: Any, /, **parameters: Any) -> None:
        where = Source.caller()
        _not_late("Bank")
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

    def __set_name__(self, owner: type, name: str) -> None:
        self.__dict__["_named"] = name

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
        _members_source.set(self.__dict__["_source"])
        try:
            made: Reactor = cls(**{"bank_index": index, "bank_width": width, **values})
        finally:
            _members_source.set(None)
        return made

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


# Where the bank is declared of which a member is being made: a walk up the stack for each of 10,000 members takes longer than the rest.
_members_source: ContextVar[Source | None] = ContextVar("_members_source", default=None)


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
