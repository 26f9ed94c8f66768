"""The kinds of declaration: ports, timers, actions, watchdogs, modes, state, reactions, and the built-in triggers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_origin, overload

from reactornb.errors import DeclarationError, Source, UndeclaredEffectError, with_article
from reactornb.model.callers import check_function, class_body, running_reactor
from reactornb.model.durations import DurationSpec, duration
from reactornb.model.port_path import PortPath, as_path

Spec = int | str | Callable[[Any], int]
"""A number known at assembly: itself, the name of a parameter, or a function of the reactor."""
POLICIES = ("defer", "drop", "replace", "update")

# The innermost `with mode:` block of this thread. Only the thread itself reads and writes it.
_scope = threading.local()


def current_mode() -> Mode | None:
    """The mode whose `with` block this thread is in."""
    return getattr(_scope, "mode", None)


@contextmanager
def outside_modes() -> Iterator[None]:
    """Suspend the current mode: a class that is made inside another class's `with mode:` does not belong to that mode."""
    outer, _scope.mode = current_mode(), None
    try:
        yield
    finally:
        _scope.mode = outer


class Declaration:
    """Something that a reactor class declares under a name; it records its place and its mode."""

    kind: ClassVar[str] = "declaration"

    def __init__(self) -> None:
        self.name = ""
        self.source = Source.caller()
        self.mode = current_mode()
        running = running_reactor()
        if running is not None:
            raise DeclarationError(
                f"{running[1]}: {running[0].full_name} declares {with_article(self.kind)} while it runs. The graph of a running program is "
                f"final: declare it in the class body, name = {type(self).__name__}(…)."
            )
        body = class_body()
        if body is not None:
            body.setdefault("__declared__", []).append(self)

    def __set_name__(self, owner: type, name: str) -> None:
        # An alias of an inherited declaration keeps its first name.
        self.name = self.name or name

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name or '?'}>"


class _Reserved(Declaration):
    """A declaration that a running instance does not offer as an attribute: reactions reach it through their parameters."""

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is not None and instance._running:
            raise self._unreachable(instance)
        return self

    def _instead(self) -> str:
        verb = {"input": "value", "output": "set(…)", "mode": "set()", "timer": "is_present"}.get(
            self.kind, "schedule(…)"
        )
        return f"Name {self.name!r} in the reaction's signature and use {self.name}.{verb}."

    def _unreachable(self, instance: Any) -> Exception:
        return UndeclaredEffectError(
            f"{type(instance).__name__}: a reaction or method reads self.{self.name}, {with_article(self.kind)}. It is reached through "
            f"the reaction's parameters only: add {self.name!r} to the signature, and use {self.name} instead of self.{self.name}."
        )


class _Final(_Reserved):
    """A reserved declaration whose name cannot be assigned either. The handle of an action, a watchdog or a mode may be stored under its name."""

    def __set__(self, instance: Any, value: Any) -> None:
        raise UndeclaredEffectError(
            f"{type(instance).__name__}: self.{self.name} = {value!r:.60} changes nothing: {self.name} is {with_article(self.kind)}, "
            f"declared at {self.source}. {self._instead()}"
        )


class Port[T](_Final):
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

    @property
    def scalar_type(self) -> type | None:
        """The declared type if it is one of Python's numbers or strings, of which values are rarely anything else; None otherwise."""
        return {"int": int, "float": float, "bool": bool, "str": str}.get(self.type_name)

    @overload
    def __get__(self, instance: None, owner: type) -> Port[T]: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> PortRef: ...
    def __get__(self, instance: Any, owner: type) -> Port[T] | PortRef:
        if instance is None:
            return self
        if instance._running:
            raise UndeclaredEffectError(
                f"{type(instance).__name__}: a reaction or method reads self.{self.name}. Ports are reached through the "
                f"reaction's parameters only: add {self.name!r} to the signature."
            )
        return PortRef(instance, self)


class Input[T](Port[T]):
    """An input port. With `mutable=True` the reader gets a copy of its own, which it may change and nobody else sees."""

    kind = "input"

    def __init__(self, *, width: Spec | None = None, mutable: bool = False, doc: str = "") -> None:
        super().__init__(width=width, doc=doc)
        self.mutable = mutable
        self.reader: Any = None  # the class of the handle that reactions read it through; None: the runtime's own


class Output[T](Port[T]):
    """An output port. What is sent is what arrives, whatever sender or reader do with their objects afterwards.

    Numbers and text go as they are. Arrays of every kind become read-only (views are copied first, if the memory that they show can
    still be written). Lists, dicts, sets, tuples and dataclasses are copied with all that they contain, and the copies of lists, dicts and
    sets refuse to be changed; tensors, `state_dict()`s and networks are copied. Any other object goes as it is, and nobody may change
    it: `check_values=True` finds who does.

    Args:
        width, doc: see `Port`.
        copy: True: objects of every kind are copied, deeply, when they are sent. False: nothing is copied or made read-only, and
            the program answers for it that nobody changes what was sent. None, the default: the rule above.
    """

    kind = "output"

    def __init__(self, *, width: Spec | None = None, copy: bool | None = None, doc: str = "") -> None:
        super().__init__(width=width, doc=doc)
        self.copy = copy


class Timer(_Final):
    """Fires at `offset` and then every `period` of logical time: `Timer(0, ms(10))`. A period of 0: once."""

    kind = "timer"

    def __init__(self, offset: DurationSpec = 0, period: DurationSpec = 0) -> None:
        super().__init__()
        self.offset = duration(offset, "offset", self.source)
        self.period = duration(period, "period", self.source)


class Action(_Reserved):
    """Something a reaction schedules for later.

    Args:
        min_delay: least delay, such as ms(5), added to the one given when scheduling.
        min_spacing: least time between two events; None: no minimum, and events of one tag pile up in microsteps.
        policy: what becomes of an event that comes too early: "defer", "drop", "replace" or "update".
    """

    physical: ClassVar[bool] = False

    def __init__(
        self, min_delay: DurationSpec = 0, min_spacing: DurationSpec | None = None, policy: str = "defer"
    ) -> None:
        super().__init__()
        if policy not in POLICIES:
            raise DeclarationError(f"{self.source}: policy {policy!r} is none of {', '.join(POLICIES)}.")
        self.min_delay = duration(min_delay, "min_delay", self.source)
        self.min_spacing = duration(min_spacing, "min_spacing", self.source)
        self.policy = policy


class LogicalAction(Action):
    """Scheduled relative to the current logical time."""

    kind = "logical action"


class PhysicalAction(Action):
    """Scheduled relative to physical time, from any thread; a bounded number of events may wait (`ActionHandle.schedule`)."""

    kind = "physical action"
    physical = True


class Watchdog(_Reserved):
    """A timer of physical time that calls `handler(self)` unless it is restarted or stopped before `timeout`, such as sec(1), is over.

    A reaction that names it calls `start(extra=0)`, with a duration such as ms(5) as extra, and `stop()`. The handler runs as a reaction of its own, at a tag no
    earlier than the expiry; `effects` are what its parameters name.
    """

    kind = "watchdog"

    def __init__(self, timeout: DurationSpec) -> None:
        super().__init__()
        self.timeout = duration(timeout, "timeout", self.source)
        self.handler: Reaction | None = None

    def __call__(self, fn: Callable[..., None]) -> Reaction:
        """Decorate the handler."""
        self.handler = Reaction(fn, triggers=(self,))
        return self.handler


class Mode(_Reserved):
    """One of a reactor's mutually exclusive modes; `with mode:` in the class body (or in `compose`) fills it."""

    kind = "mode"

    def __init__(self, *, initial: bool = False) -> None:
        super().__init__()
        self.initial = initial
        self._outer: Mode | None = None

    def __enter__(self) -> Self:
        if current_mode() is not None:
            raise DeclarationError(f"{Source.caller()}: modes do not nest; put a modal reactor into the mode instead.")
        _scope.mode = self
        return self

    def __exit__(self, *_: object) -> None:
        _scope.mode = None


class State[T](Declaration):
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


class Reaction(_Final):
    """A function of a reactor, what triggers it, what else it reads and what it may write.

    Made by the decorator `reaction`. Triggers, uses and effects are kept as declarations, built-ins, names of the reactor's own
    declarations, or paths to ports of contained reactors; so are parameters, whose names and paths a front end may give.
    """

    kind = "reaction"

    def __init__(
        self,
        fn: Callable[..., None],
        *,
        triggers: tuple[Any, ...],
        uses: tuple[Any, ...] = (),
        effects: tuple[Any, ...] = (),
        deadline: DurationSpec | None = None,
        parameters: tuple[str | PortPath, ...] | None = None,
        history: frozenset[str] = frozenset(),
    ) -> None:
        check_function(fn)
        super().__init__()
        self.fn = fn
        self.source = Source(fn.__code__.co_filename, fn.__code__.co_firstlineno)
        self.triggers = _paths(triggers)
        self.uses = _paths(uses)
        self.effects = _paths(effects)
        self.deadline = duration(deadline, "deadline", self.source)
        self.history = history  # modes whose `set()` means a history transition
        self.attribute = ""  # the name in the class body; `name` is the one shown
        self.handler: Callable[..., None] | None = None
        self.parameters: tuple[str | PortPath, ...] = signature(fn) if parameters is None else parameters
        self.__doc__ = fn.__doc__

    def missed(self, handler: Callable[..., None]) -> Reaction:
        """Decorate the handler that runs instead of the reaction when its deadline has passed; same parameters."""
        if self.deadline is None:
            raise DeclarationError(
                f"{self.source}: {self.fn.__name__} has no deadline; write @reaction(..., deadline=ms(10))."
            )
        check_function(handler, "handler")
        if signature(handler) != self.parameters:
            raise DeclarationError(
                f"{self.source}: the handler {handler.__name__} must take the same parameters as {self.fn.__name__}: "
                f"(self, {', '.join(map(str, self.parameters))})."
            )
        self.handler = handler
        return self

    def _instead(self) -> str:
        return "A reaction is declared in the class body and stays."

    def _unreachable(self, instance: Any) -> Exception:
        return UndeclaredEffectError(
            f"{type(instance).__name__}: self.{self.name} is a reaction, which the scheduler calls and nobody else. Put what both need into a method "
            f"without @reaction, and call that."
        )

    def __set_name__(self, owner: type, name: str) -> None:
        # `@on_x.missed def on_x_late` binds the same object to a second name: still one reaction.
        self.name = self.name or name
        self.attribute = self.attribute or name


def _paths(ends: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(as_path(end) if isinstance(end, str) else end for end in ends)


def signature(fn: Callable[..., None]) -> tuple[str, ...]:
    """Names of a reaction's parameters after `self`."""
    code = fn.__code__
    varargs = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    if code.co_flags & varargs or code.co_kwonlyargcount or code.co_argcount < 1:
        raise DeclarationError(
            f"{Source(code.co_filename, code.co_firstlineno)}: reaction {fn.__name__} must take self and then only the names of "
            f"what it touches, without *, ** or keywords."
        )
    return code.co_varnames[1 : code.co_argcount]


def reaction(
    *triggers: Any, uses: Any = (), effects: Any = (), deadline: DurationSpec | None = None
) -> Callable[[Callable[..., None]], Reaction]:
    """Declare a reaction.

    Args:
        triggers: inputs, actions, timers, `startup`, `shutdown`, `reset`, ports of contained reactors.
        uses: ports of contained reactors that are read without triggering.
        effects: inputs of contained reactors that are written.
        deadline: physical time after the tag, such as ms(10), by which the body must have begun; see `Reaction.missed`.

    Raises:
        DeclarationError: without a trigger, or for a signature with `*`, `**` or keyword-only parameters.
    """
    if not triggers or (len(triggers) == 1 and inspect.isfunction(triggers[0])):
        raise DeclarationError(
            f"{Source.caller()}: @reaction needs its triggers: @reaction(startup), @reaction(weights), …."
        )

    for trigger in triggers:
        kind = get_origin(trigger) or trigger
        if isinstance(kind, type) and kind.__module__.partition(".")[0] == "reactornb":
            raise DeclarationError(
                f"{Source.caller()}: a trigger of this reaction is the class {kind.__name__} itself: brackets are missing. Write x = {kind.__name__}() or "
                f"x = {kind.__name__}[int]()."
            )

    def decorate(fn: Callable[..., None]) -> Reaction:
        check_function(fn)
        body = class_body()
        before = body.get(fn.__name__) if body is not None else None
        if isinstance(before, Declaration):
            raise DeclarationError(
                f"{Source(fn.__code__.co_filename, fn.__code__.co_firstlineno)}: the name {fn.__name__!r} is declared twice in this class, first as "
                f"{with_article(before.kind)} at {before.source}, which would be lost. Give the reaction a name of its own."
            )
        return Reaction(fn, triggers=triggers, uses=as_tuple(uses), effects=as_tuple(effects), deadline=deadline)

    return decorate


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One thing or several, as a tuple."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


@dataclass(frozen=True, slots=True)
class PortRef:
    """A port of a template (or of every member of a bank), as it stands in `connect` and in a reaction's decorator."""

    owner: Any
    port: Port[Any]
    interleaved_: bool = False

    @property
    def interleaved(self) -> PortRef:
        """The same channels, ordered by channel first and by bank member second."""
        return PortRef(self.owner, self.port, True)

    def __str__(self) -> str:
        return f"{self.owner._label()}.{self.port.name}"
