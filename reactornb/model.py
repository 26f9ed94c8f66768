"""Declarations: what a reactor class says of itself, recorded and checked, not yet judged as a graph.

A class body declares ports, actions, timers, modes, state, children and reactions; a reaction's parameters name what it
touches, so the signature is the graph. An instance made by a user is a *template*: its class, its parameters and the
connections made at it. `graph.assemble` instantiates templates; `runtime` makes the objects that run. Nothing
here knows of tags in progress, threads or notebooks.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, overload

from reactornb.errors import DeclarationError, Source, UndeclaredEffectError, UnknownNameError, suggestion

if TYPE_CHECKING:
    import numpy

__all__ = [
    "Bank",
    "Connection",
    "Input",
    "LogicalAction",
    "Mode",
    "Output",
    "PhysicalAction",
    "Reaction",
    "Reactor",
    "State",
    "Timer",
    "Watchdog",
    "connect",
    "per_member",
    "reaction",
    "reset",
    "shutdown",
    "startup",
]

T = TypeVar("T")
Spec = int | str | Callable[[Any], int]
"""A number known at assembly: itself, the name of a parameter, or a function of the reactor."""
POLICIES = ("defer", "drop", "replace", "update")

# The innermost `with mode:` of this thread; only the thread itself reads or writes it.
_scope = threading.local()


def _current_mode() -> Mode | None:
    return getattr(_scope, "mode", None)


class Declaration:
    """Something a reactor class declares under a name; it remembers where, and inside which mode."""

    kind: ClassVar[str] = "declaration"

    def __init__(self) -> None:
        self.name = ""
        self.source = Source.caller()
        self.mode = _current_mode()

    def __set_name__(self, owner: type, name: str) -> None:
        # An alias of an inherited declaration keeps its first name.
        self.name = self.name or name

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name or '?'}>"


class Port(Declaration, Generic[T]):
    """A named place where values enter or leave a reactor.

    Args:
        width: channels of a multiport (a number, a parameter's name, or a function of the reactor); None is a single port.
        doc: shown where the graph is drawn.
    """

    def __init__(self, *, width: Spec | None = None, doc: str = "") -> None:
        super().__init__()
        self.width = width
        self.doc = doc

    @property
    def type_name(self) -> str:
        """The type between the brackets of `Input[...]()`, as text; empty where none is given."""
        alias = getattr(self, "__orig_class__", None)
        if alias is None:
            return ""
        (arg,) = alias.__args__
        return getattr(arg, "__name__", None) or str(arg)

    @overload
    def __get__(self, instance: None, owner: type) -> Port[T]: ...
    @overload
    def __get__(self, instance: Reactor, owner: type) -> PortRef: ...
    def __get__(self, instance: Reactor | None, owner: type) -> Port[T] | PortRef:
        if instance is None:
            return self
        if instance._running:
            raise UndeclaredEffectError(
                f"{type(instance).__name__}: a reaction or method reads self.{self.name}. Ports are reached through the "
                f"reaction's parameters only: add {self.name!r} to the signature."
            )
        return PortRef(instance, self)


class Input(Port[T]):
    """An input port. With `mutable=True` the reader gets a copy of its own (none is made for the only reader)."""

    kind = "input"

    def __init__(self, *, width: Spec | None = None, mutable: bool = False, doc: str = "") -> None:
        super().__init__(width=width, doc=doc)
        self.mutable = mutable


class Output(Port[T]):
    """An output port."""

    kind = "output"


class Timer(Declaration):
    """Fires at `offset` and then every `period` (0: once), in ns of logical time."""

    kind = "timer"

    def __init__(self, offset: Spec = 0, period: Spec = 0) -> None:
        super().__init__()
        self.offset = offset
        self.period = period


class Action(Declaration):
    """Something a reaction schedules for later.

    Args:
        min_delay: least delay in ns, added to the one given when scheduling.
        min_spacing: least time in ns between two events; None: no minimum, and events of one tag pile up in microsteps.
        policy: what becomes of an event that comes too early: "defer", "drop", "replace" or "update".
    """

    physical: ClassVar[bool] = False

    def __init__(self, min_delay: Spec = 0, min_spacing: Spec | None = None, policy: str = "defer") -> None:
        super().__init__()
        if policy not in POLICIES:
            raise DeclarationError(f"{self.source}: policy {policy!r} is none of {', '.join(POLICIES)}.")
        self.min_delay = min_delay
        self.min_spacing = min_spacing
        self.policy = policy


class LogicalAction(Action):
    """Scheduled relative to the current logical time."""

    kind = "logical action"


class PhysicalAction(Action):
    """Scheduled relative to physical time, from any thread."""

    kind = "physical action"
    physical = True


class Watchdog(Declaration):
    """A timer of physical time that calls `handler(self)` unless it is restarted or stopped before `timeout` ns are over.

    A reaction that names it calls `start(extra=0)` and `stop()`. The handler runs as a reaction of its own, at a tag no
    earlier than the expiry; `effects` are what its parameters name.
    """

    kind = "watchdog"

    def __init__(self, timeout: Spec) -> None:
        super().__init__()
        self.timeout = timeout
        self.handler: Reaction | None = None

    def __call__(self, fn: Callable[..., None]) -> Reaction:
        """Decorate the handler."""
        self.handler = Reaction(fn, triggers=(self,))
        return self.handler


class Mode(Declaration):
    """One of a reactor's mutually exclusive modes; `with mode:` in the class body (or in `compose`) fills it."""

    kind = "mode"

    def __init__(self, *, initial: bool = False) -> None:
        super().__init__()
        self.initial = initial
        self._outer: Mode | None = None

    def __enter__(self) -> Mode:
        if _current_mode() is not None:
            raise DeclarationError(f"{Source.caller()}: modes do not nest; put a modal reactor into the mode instead.")
        _scope.mode = self
        return self

    def __exit__(self, *_: object) -> None:
        _scope.mode = None


class State(Declaration, Generic[T]):
    """A state variable: `self.<name>`, made anew for each instance.

    Args:
        initial: its first value; a list, dict or array is copied for each instance.
        factory: instead of `initial`, a function of the reactor that makes the first value.
        reset: true if entering the enclosing mode by a reset transition restores the first value.
    """

    kind = "state"

    def __init__(self, initial: Any = None, *, factory: Callable[[Any], T] | None = None, reset: bool = False) -> None:
        super().__init__()
        self.initial = initial
        self.factory = factory
        self.reset = reset


class Builtin:
    """One of the three triggers every reactor has."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


startup = Builtin("startup")
"""Triggers at the first tag (in a mode: when the mode is first entered)."""
shutdown = Builtin("shutdown")
"""Triggers at the last tag."""
reset = Builtin("reset")
"""Triggers when the enclosing mode is entered by a reset transition."""

Trigger = Declaration | Builtin | str


class Reaction(Declaration):
    """A function of a reactor, what triggers it, what else it reads and what it may write.

    Made by the decorator `reaction`. Triggers, uses and effects are kept as declarations, built-ins, or paths such as
    `"counter.count"` for a port of a contained reactor.
    """

    kind = "reaction"

    def __init__(
        self,
        fn: Callable[..., None],
        *,
        triggers: tuple[Any, ...],
        uses: tuple[Any, ...] = (),
        effects: tuple[Any, ...] = (),
        deadline: Spec | None = None,
        parameters: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        self.fn = fn
        self.source = Source(fn.__code__.co_filename, fn.__code__.co_firstlineno)
        self.triggers = triggers
        self.uses = uses
        self.effects = effects
        self.deadline = deadline
        self.handler: Callable[..., None] | None = None
        self.parameters = _parameters(fn) if parameters is None else parameters
        self.__doc__ = fn.__doc__

    def missed(self, handler: Callable[..., None]) -> Reaction:
        """Decorate the handler that runs instead of the reaction when its deadline has passed; same parameters."""
        if self.deadline is None:
            raise DeclarationError(f"{self.source}: {self.fn.__name__} has no deadline; write @reaction(..., deadline=ms(10)).")
        if _parameters(handler) != self.parameters:
            raise DeclarationError(
                f"{self.source}: the handler {handler.__name__} must take the same parameters as {self.fn.__name__}: "
                f"(self, {', '.join(self.parameters)})."
            )
        self.handler = handler
        return self

    def __set_name__(self, owner: type, name: str) -> None:
        # `@on_x.missed def on_x_late` binds the same object to a second name, which is not a second reaction.
        self.name = self.name or name


def _parameters(fn: Callable[..., None]) -> tuple[str, ...]:
    code = fn.__code__
    varargs = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    if code.co_flags & varargs or code.co_kwonlyargcount or code.co_argcount < 1:
        raise DeclarationError(
            f"{Source(code.co_filename, code.co_firstlineno)}: reaction {fn.__name__} must take self and then only the names of "
            f"what it touches, without *, ** or keywords."
        )
    return code.co_varnames[1 : code.co_argcount]


def reaction(
    *triggers: Any, uses: Any = (), effects: Any = (), deadline: Spec | None = None
) -> Callable[[Callable[..., None]], Reaction]:
    """Declare a reaction.

    Args:
        triggers: inputs, actions, timers, `startup`, `shutdown`, `reset`, ports of contained reactors.
        uses: ports of contained reactors that are read without triggering.
        effects: inputs of contained reactors that are written.
        deadline: ns of physical time after the tag by which the body must have begun; see `Reaction.missed`.

    Raises:
        DeclarationError: without a trigger, or for a signature with `*`, `**` or keyword-only parameters.
    """
    if not triggers or (len(triggers) == 1 and inspect.isfunction(triggers[0])):
        raise DeclarationError(f"{Source.caller()}: @reaction needs its triggers: @reaction(startup), @reaction(weights), ….")

    def decorate(fn: Callable[..., None]) -> Reaction:
        return Reaction(fn, triggers=triggers, uses=_tuple(uses), effects=_tuple(effects), deadline=deadline)

    return decorate


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


@dataclass(frozen=True, slots=True)
class PortRef:
    """A port of a template (or of every member of a bank), as it stands in `connect` and in a reaction's decorator."""

    owner: Reactor | Bank
    port: Port[Any]
    interleaved_: bool = False

    @property
    def interleaved(self) -> PortRef:
        """The same channels, ordered by channel first and by bank member second."""
        return PortRef(self.owner, self.port, True)

    def __str__(self) -> str:
        return f"{self.owner._label()}.{self.port.name}"


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

    Raises:
        DeclarationError: for something that is not a port.
    """
    sources, destinations = _tuple(source), _tuple(destination)
    where = Source.caller()
    home: Any = None
    for end in (*sources, *destinations):
        if isinstance(end, PortRef):
            home = home or end.owner
        elif not isinstance(end, Port):
            raise DeclarationError(
                f"{where}: connect takes ports, such as learner.weights, not {end!r} (a {type(end).__name__})."
            )
    made = Connection(sources, destinations, after, physical, broadcast, _current_mode(), where, strict)
    if home is None:  # both ends are the class's own ports, in its body
        sources[0].__dict__.setdefault("connections", []).append(made)
    else:
        home.__dict__["_connections"].append(made)


class per_member(Generic[T]):  # noqa: N801 - reads as a word of the declaration language
    """A parameter that differs between the members of a bank: `Bank(Rollout, 4, seed=per_member(lambda i: 100 + i))`."""

    def __init__(self, fn: Callable[[int], T]) -> None:
        self.fn = fn


@dataclass(frozen=True)
class ClassSpec:
    """What a reactor class declares, inherited declarations first.

    Attributes:
        parameters: name to default; `REQUIRED` where there is none.
        own_connections: connections between the class's own ports.
    """

    ports: Mapping[str, Port[Any]]
    timers: Mapping[str, Timer]
    actions: Mapping[str, Action]
    watchdogs: Mapping[str, Watchdog]
    modes: Mapping[str, Mode]
    states: Mapping[str, State[Any]]
    children: Mapping[str, Reactor | Bank]
    reactions: tuple[Reaction, ...]
    parameters: Mapping[str, Any]
    own_connections: tuple[Connection, ...] = ()
    touchable: frozenset[str] = field(default=frozenset())


class _Required:
    def __repr__(self) -> str:
        return "<required>"


REQUIRED = _Required()
_NOTHING = MappingProxyType({})  # type: ignore[var-annotated]  # shared empty mapping of any type


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

    spec: ClassVar[ClassSpec] = ClassSpec(*([_NOTHING] * 7), (), _NOTHING)  # type: ignore[arg-type]
    definition: ClassVar[Source] = Source(__file__, 1)
    _running = False
    bank_index = 0
    bank_width = 1

    if TYPE_CHECKING:  # set on the running instance by reactornb.runtime
        _name: str
        _context: Any
        _log: list[tuple[int, int, str, float]]
        _run_seed: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.definition = Source.caller()
        cls.spec = _collect(cls)

    def __init__(self, **parameters: Any) -> None:
        values = self.__dict__
        values["_connections"] = []
        values["_mode"] = _current_mode()
        values["_source"] = Source.caller()
        values["_children"] = None
        values["_named"] = ""
        declared = type(self).spec.parameters
        for name in parameters:
            if name not in declared and name not in ("bank_index", "bank_width"):
                raise UnknownNameError(
                    f"{values['_source']}: {type(self).__name__} has no parameter {name!r}. {suggestion(name, declared)}",
                    unknown=name,
                    source=values["_source"],
                )
        for name, default in declared.items():
            value = parameters.get(name, default)
            if value is REQUIRED:
                raise DeclarationError(f"{values['_source']}: {type(self).__name__} needs its parameter {name!r}: it has no default.")
            values[name] = value
        for name in ("bank_index", "bank_width"):
            if name in parameters:
                values[name] = parameters[name]
        values["_parameters"] = parameters

    def compose(self) -> None:
        """Make children and connections that depend on parameters; called once per instance, at assembly.

        `self.worker = Worker(...)` or `self.workers = Bank(Worker, self.n)` adds a child of that name; `connect` joins
        their ports.
        """

    def __set_name__(self, owner: type, name: str) -> None:
        self.__dict__["_named"] = name

    def __setattr__(self, name: str, value: Any) -> None:
        # While `compose` runs, a reactor or bank assigned to a name becomes a child.
        children = self.__dict__.get("_children")
        if children is not None and not self._running:
            if isinstance(value, (Reactor, Bank)):
                value.__dict__["_named"] = name
                children[name] = value
            elif isinstance(value, (list, tuple)) and value and all(isinstance(v, (Reactor, Bank)) for v in value):
                for i, child in enumerate(value):
                    child.__dict__["_named"] = f"{name}[{i}]"
                    children[f"{name}[{i}]"] = child
        object.__setattr__(self, name, value)

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
        made = self.__dict__.get("_rng")
        if made is None:
            import numpy

            made = self.__dict__["_rng"] = numpy.random.default_rng(self.seed)
        return cast("numpy.random.Generator", made)

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

    def request_stop(self) -> None:
        """End the run at the next microstep, with its shutdown reactions."""
        self._context.request_stop()

    def log(self, **metrics: float) -> None:
        """Record metrics at the current tag; a run's `metrics` merges them by tag, whatever thread wrote them."""
        time_ns, microstep = self._context.current_tag()
        append = self._log.append
        for name, value in metrics.items():
            append((time_ns, microstep, name, float(value)))


class Bank:
    """`width` copies of a reactor, each with its `bank_index`; ports are reached for all members at once or for one.

    Args:
        cls: the reactor's class.
        width: number of members.
        parameters: parameters for every member; `per_member(fn)` gives each its own.
    """

    def __init__(self, cls: type[Reactor], width: int, **parameters: Any) -> None:
        where = Source.caller()
        if not (isinstance(cls, type) and issubclass(cls, Reactor)):
            raise DeclarationError(f"{where}: Bank takes a reactor class, not {cls!r}: Bank(Rollout, 8, horizon=100).")
        if isinstance(width, bool) or not isinstance(width, int) or width < 0:
            raise DeclarationError(f"{where}: a bank's width is a whole number of at least 0, not {width!r}.")
        values = self.__dict__
        values.update(cls=cls, width=width, _parameters=parameters, _connections=[], _mode=_current_mode(), _source=where)
        values.update(_named="", _members={})
        cls(**{k: v.fn(0) if isinstance(v, per_member) else v for k, v in parameters.items()})  # wrong names are found here

    def __set_name__(self, owner: type, name: str) -> None:
        self.__dict__["_named"] = name

    def __getattr__(self, name: str) -> PortRef:
        port = self.__dict__["cls"].spec.ports.get(name)
        if port is None:
            cls = self.__dict__["cls"]
            raise UnknownNameError(f"{cls.__name__} has no port {name!r}. {suggestion(name, cls.spec.ports)}", unknown=name)
        return PortRef(self, port)

    def __len__(self) -> int:
        return cast("int", self.__dict__["width"])

    def __getitem__(self, index: int) -> BankMember:
        if not 0 <= index < len(self):
            raise IndexError(f"bank {self._label()} has {len(self)} members, 0 to {len(self) - 1}; there is no [{index}]")
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
        self.__dict__.update(bank=bank, index=index, _connections=bank.__dict__["_connections"])

    def __getattr__(self, name: str) -> PortRef:
        return PortRef(self, getattr(self.bank, name).port)  # type: ignore[arg-type]  # an owner like the other two

    def _label(self) -> str:
        return f"{self.bank._label()}[{self.index}]"


def _collect(cls: type[Reactor]) -> ClassSpec:
    """Gather the declarations of a class and its bases, and check every name that a reaction uses."""
    groups: dict[type, dict[str, Any]] = {k: {} for k in (Port, Timer, Action, Watchdog, Mode, State)}
    children: dict[str, Any] = {}
    reactions: dict[str, Reaction] = {}
    parameters: dict[str, Any] = {}
    connections: list[Connection] = []
    for base in reversed(cls.__mro__):
        if base in (object, Reactor) or not issubclass(base, Reactor):
            continue
        namespace = vars(base)
        for name in _annotated(base):
            if name not in ("spec", "definition"):
                parameters[name] = namespace.get(name, parameters.get(name, REQUIRED))
        for name, value in namespace.items():
            if name in parameters and not isinstance(value, Declaration):
                parameters[name] = value
            elif isinstance(value, (Reactor, Bank)):
                children[name] = value
            elif isinstance(value, Reaction):
                if value.name == name:
                    reactions[name] = value
            elif isinstance(value, Declaration):
                next(group for kind, group in groups.items() if isinstance(value, kind))[name] = value
                connections.extend(value.__dict__.get("connections", ()))
    initial = [m for m in groups[Mode].values() if m.initial]
    if groups[Mode] and len(initial) != 1:
        raise DeclarationError(
            f"{cls.definition}: {cls.__name__} has {len(initial)} initial modes among {', '.join(groups[Mode])}; it needs "
            f"exactly one: Mode(initial=True)."
        )
    touchable = {n for kind in (Port, Timer, Action, Watchdog, Mode) for n in groups[kind]} | set(children)
    spec = ClassSpec(
        *(MappingProxyType(groups[k]) for k in (Port, Timer, Action, Watchdog, Mode, State)),
        MappingProxyType(children),
        tuple(reactions.values()),
        MappingProxyType(parameters),
        tuple(connections),
        frozenset(touchable),
    )
    composed = cls.compose is not Reactor.compose
    for item in spec.reactions:
        _check_reaction(cls, spec, item, composed)
    return spec


def _annotated(cls: type) -> list[str]:
    """Names annotated in the class's own body, except `ClassVar`s, without evaluating what need not be defined yet."""
    if sys.version_info >= (3, 14):
        import annotationlib

        found = annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
    else:
        found = {k: v if isinstance(v, str) else repr(v) for k, v in vars(cls).get("__annotations__", {}).items()}
    return [name for name, text in found.items() if "ClassVar" not in text]


def _check_reaction(cls: type[Reactor], spec: ClassSpec, item: Reaction, composed: bool) -> None:
    def unknown(name: str, where: str) -> UnknownNameError:
        return UnknownNameError(
            f"{item.source}: reaction {cls.__name__}.{item.name} names {name!r} {where}, which {cls.__name__} does not declare. "
            f"{suggestion(name, spec.touchable)}",
            unknown=name,
            source=item.source,
        )

    for name in item.parameters:
        # Children made in `compose` are not known before assembly, which checks them again.
        if name not in spec.touchable and not composed:
            raise unknown(name, "in its signature")
    for trigger in (*item.triggers, *item.uses, *item.effects):
        if isinstance(trigger, str):
            if trigger.partition(".")[0].partition("[")[0] not in spec.touchable and not composed:
                raise unknown(trigger, "as a trigger")
        elif isinstance(trigger, Declaration):
            if isinstance(trigger, (Output, State, Mode, Reaction)):
                raise DeclarationError(f"{item.source}: {trigger.kind} {trigger.name!r} cannot trigger reaction {item.name}.")
            if not trigger.name:
                raise unknown(repr(trigger), "as a trigger")
        elif not isinstance(trigger, (Builtin, PortRef)):
            raise DeclarationError(
                f"{item.source}: {trigger!r} cannot trigger reaction {item.name}; triggers are inputs, actions, timers, "
                f"startup, shutdown, reset, and ports of contained reactors."
            )
