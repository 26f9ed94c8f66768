"""From syntax trees to reactor classes: the very declarations that Python code makes.

Each reactor of the text becomes a subclass of `Reactor`, its contents depend on parameters and hence live in `compose`; graph, levels,
errors and runs are those of any other program. All files of a program share one namespace of target code, as they do in
Lingua Franca's own Python target.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from reactornb import model
from reactornb.errors import AssemblyError, LFSyntaxError, Source, UnknownNameError, suggestion
from reactornb.lf import syntax as ast
from reactornb.lf.code import compile_body, compile_expression, run_block
from reactornb.model import Bank, PortRef, Reactor, connect, per_member

__all__ = ["Builder", "Scope"]

Thunk = Callable[[Any, int], Any]
"""The value of an expression, given the reactor it stands in and the index of the bank member it is for."""

_BUILTINS = {"startup": model.startup, "shutdown": model.shutdown, "reset": model.reset}
# Attributes that only tell a diagram how to draw.
_DRAWING = {"label", "icon", "side", "layout", "color", "sparse", "property", "hidden"}


class Scope:
    """What the names in one file stand for.

    Attributes:
        file: its path or the name of the cell.
        declared: reactor classes of the file, by name, as syntax.
        imported: name here -> (scope of the other file, name there).
        outside: Python reactor classes that the text may instantiate.
    """

    def __init__(self, file: str, program: ast.Program, outside: Mapping[str, Any]) -> None:
        self.file = file
        self.program = program
        self.declared = {r.name: r for r in program.reactors if r.name is not None}
        self.imported: dict[str, tuple[Scope, str]] = {}
        self.outside = outside
        self.made: dict[str, type[Reactor]] = {}

    def source(self, node: ast.Node) -> Source:
        """Where a node stands."""
        return Source(self.file, node.line)


class Builder:
    """Makes the reactor classes of one program.

    Args:
        namespace: the globals of its target code.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._making: list[tuple[str, str]] = []
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        """Say once what has no meaning here."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, stacklevel=2)

    def find(self, scope: Scope, name: str, source: Source) -> type[Reactor]:
        """The class that a name stands for in a file.

        Raises:
            UnknownNameError: if it stands for none.
            AssemblyError: if a reactor contains or extends itself.
        """
        if name in scope.imported:
            other, there = scope.imported[name]
            return self.find(other, there, source)
        if name in scope.made:
            return scope.made[name]
        declared = scope.declared.get(name)
        if declared is None:
            found = scope.outside.get(name)
            if isinstance(found, type) and issubclass(found, Reactor):
                return found
            known = [*scope.declared, *scope.imported]
            raise UnknownNameError(
                f"{source}: no reactor {name!r}. {suggestion(name, known)}", unknown=name, source=source
            )
        if (scope.file, name) in self._making:
            raise AssemblyError(f"{source}: reactor {name} contains or extends itself.")
        self._making.append((scope.file, name))
        try:
            with model.declarations.outside_modes():
                made = scope.made[name] = self.reactor(scope, declared, name)
        finally:
            self._making.pop()
        return made

    def reactor(self, scope: Scope, declared: ast.Reactor, name: str) -> type[Reactor]:
        """Make the class of one reactor."""
        where = scope.source(declared)
        if declared.host is not None or any(i.host for i in _instances(declared.body)):
            self.warn(f"{where}: `at …` has no meaning in one process; everything runs here.")
        if declared.realtime:
            self.warn(f"{where}: `realtime` has no meaning here.")
        self._attributes(scope, declared.attributes)
        # Lingua Franca takes inherited contents from the first superclass first; Python's order of lookup, reversed,
        # says the same when the bases are given the other way round.
        bases = tuple(self.find(scope, b.text, scope.source(b)) for b in reversed(declared.extends)) or (Reactor,)
        return _ClassBuilder(self, scope, declared, name, bases).make()

    def _attributes(self, scope: Scope, attributes: tuple[ast.Attribute, ...]) -> None:
        for attribute in attributes:
            if attribute.name not in _DRAWING:
                self.warn(f"{scope.source(attribute)}: @{attribute.name} has no meaning here.")

    def thunk(self, scope: Scope, expression: ast.Expression | None) -> Thunk:
        """What computes an expression; target code in it is compiled now, so that its mistakes show now."""
        if expression is None:
            return lambda _self, _i: None
        if isinstance(expression, ast.Literal):
            value = expression.value
            return lambda _self, _i: value
        if isinstance(expression, ast.Time):
            ns = expression.value_ns
            return lambda _self, _i: ns
        if isinstance(expression, ast.ListExpr):
            items = [self.thunk(scope, item) for item in expression.items]
            if expression.bracket == "(":
                if len(items) == 1:
                    return items[0]
                return lambda self, i: tuple(item(self, i) for item in items)
            return lambda self, i: [item(self, i) for item in items]
        if isinstance(expression, ast.Code):
            code, namespace = compile_expression(expression, scope.file), self.namespace
            return lambda self, i: eval(code, namespace, {**_visible(self), "self": self, "bank_index": i})  # noqa: S307 - the user's program
        return self._parameter(scope, expression)

    def _parameter(self, scope: Scope, reference: ast.ParamRef) -> Thunk:
        name, where, namespace = reference.name, scope.source(reference), self.namespace

        def look_up(self: Any, index: int) -> Any:
            values = _visible(self)
            if name in values:
                return values[name]
            if name == "bank_index":
                return getattr(self, "bank_index", index)
            if name in namespace:
                return namespace[name]
            raise UnknownNameError(
                f"{where}: no parameter {name!r}. {suggestion(name, values)}", unknown=name, source=where
            )

        return look_up


def _visible(self: Any) -> dict[str, Any]:
    """A reactor's parameters and states by name."""
    return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}


def _instances(body: tuple[ast.Member, ...]) -> list[ast.Instance]:
    found: list[ast.Instance] = []
    for member in body:
        if isinstance(member, ast.Instance):
            found.append(member)
        elif isinstance(member, ast.Mode):
            found += _instances(member.body)
    return found


class _ClassBuilder:
    """Makes one class: first its own declarations, then what `compose` does."""

    def __init__(
        self, builder: Builder, scope: Scope, declared: ast.Reactor, name: str, bases: tuple[type[Reactor], ...]
    ) -> None:
        self._builder = builder
        self._scope = scope
        self._declared = declared
        self._name = name
        self._bases = bases
        self._names: dict[str, Any] = {}
        self._modes: dict[str, model.Mode] = {}
        self._ports: dict[str, model.Port[Any]] = {}
        for base in reversed(bases):
            self._modes.update(base._spec.modes)
            self._ports.update(base._spec.ports)
        self._reactions = sum(len(base._spec.reactions) for base in bases)
        # What `compose` does, in order: each step is called with the instance that is being composed.
        self._steps: list[Callable[[Reactor], None]] = []
        self._joins: list[Callable[[Reactor], None]] = []

    def make(self) -> type[Reactor]:
        declared, scope, names = self._declared, self._scope, self._names
        for preamble in declared.body:
            if isinstance(preamble, ast.Preamble):
                run_block(preamble.code, scope.file, self._builder.namespace, names)
        names.pop("__annotations__", None)
        defaults = {p.name: self._builder.thunk(scope, p.init) for p in declared.params}
        names["__annotations__"] = dict.fromkeys(defaults, "Any")
        names["__module__"] = self._builder.namespace["__name__"]
        names["__qualname__"] = self._name
        for p in declared.params:
            self._builder._attributes(scope, p.attributes)
            names[p.name] = p.init.value if isinstance(p.init, ast.Literal) else None
        inherited: dict[str, Thunk] = {}
        for base in reversed(self._bases):
            inherited |= getattr(base, "_lf_defaults", {})
        names["_lf_defaults"] = inherited | defaults
        names["__init__"] = _init
        for trace in (register_user_trace_event, tracepoint_user_event, tracepoint_user_value):
            names[trace.__name__] = trace
        for m in _flat(declared.body):
            if isinstance(m, ast.Mode):
                self._mode(m)
        self._members(declared.body)
        if not self._bases or self._steps or self._joins or len(self._bases) > 1:
            names["compose"] = self._compose()
        made: type[Reactor] = type(self._name, self._bases, names)
        made._definition = scope.source(declared)
        return made

    def _compose(self) -> Callable[[Reactor], None]:
        steps, joins, bases = self._steps, self._joins, self._bases

        def compose(self: Reactor) -> None:
            for base in reversed(bases):
                base.compose(self)
            for step in (*steps, *joins):
                step(self)

        return compose

    # -- members ----------------------------------------------------------------------------------------------------

    def _mode(self, m: ast.Mode) -> None:
        if m.name is None:
            raise LFSyntaxError("a mode needs a name", file=self._scope.file, line=m.line, column=m.column)
        made = self._declare(model.Mode(initial=m.initial), m.name, m)
        self._modes[m.name] = made

    def _declare(self, made: Any, name: str, node: ast.Node) -> Any:
        made.source = self._scope.source(node)
        self._names[name] = made
        return made

    def _members(self, body: tuple[ast.Member, ...]) -> None:
        for m in body:
            self._builder._attributes(self._scope, getattr(m, "attributes", ()))
            if isinstance(m, ast.Mode):
                assert m.name is not None
                with self._modes[m.name]:
                    self._members(m.body)
            elif isinstance(m, (ast.Input, ast.Output)):
                self._port(m)
            elif isinstance(m, ast.State):
                self._declare(model.State[Any](factory=self._number(m.init), reset=m.reset), m.name, m)
            elif isinstance(m, ast.Timer):
                self._declare(model.Timer(self._time(m.offset), self._time(m.period)), m.name, m)
            elif isinstance(m, ast.Action):
                self._action(m)
            elif isinstance(m, ast.Watchdog):
                self._watchdog(m)
            elif isinstance(m, ast.Method):
                parameters = [p.name for p in m.params]
                self._names[m.name] = compile_body(
                    m.code, self._scope.file, m.name, parameters, self._builder.namespace
                )
            elif isinstance(m, ast.Reaction):
                self._reaction(m)
            elif isinstance(m, ast.Instance):
                self._instance(m)
            elif isinstance(m, ast.Connection):
                self._connection(m)

    def _number(self, expression: ast.Expression | None) -> Any:
        """An expression as the model takes numbers: a function of the reactor."""
        thunk = self._builder.thunk(self._scope, expression)
        return lambda self: thunk(self, self.bank_index)

    def _time(self, expression: ast.Expression | None) -> Any:
        return 0 if expression is None else self._number(expression)

    def _port(self, m: ast.Input | ast.Output) -> None:
        width = None if m.width is None else self._width(m.width)
        made: model.Port[Any]
        if isinstance(m, ast.Input):
            made = model.Input(width=width, mutable=m.mutable)
            made.settable = True
        else:
            made = model.Output(width=width)
        self._ports[m.name] = self._declare(made, m.name, m)

    def _width(self, width: ast.Width) -> Callable[[Any], int]:
        terms: list[Callable[[Any], int]] = []
        if not width.terms:
            raise AssemblyError(
                f"{self._scope.source(width)}: a width left open ([]) is not supported; give the number."
            )
        for term in width.terms:
            if isinstance(term, ast.WidthOf):
                terms.append(self._width_of(term))
            else:
                thunk = self._builder.thunk(self._scope, term)
                terms.append(lambda self, thunk=thunk: thunk(self, self.bank_index))  # type: ignore[misc]
        return lambda self: sum(t(self) for t in terms)

    def _width_of(self, term: ast.WidthOf) -> Callable[[Any], int]:
        ref, where = term.port, self._scope.source(term)

        def width(self: Any) -> int:
            owner = getattr(self, ref.container) if ref.container else self
            copies = len(owner) if isinstance(owner, Bank) else 1
            cls = owner.__dict__["cls"] if isinstance(owner, Bank) else type(owner)
            port = cls._spec.ports.get(ref.variable)
            if port is None:
                raise UnknownNameError(f"{where}: no port {ref.variable!r}.", unknown=ref.variable, source=where)
            if port.width is None:
                return copies
            member = cls(**owner.__dict__["_parameters"]) if isinstance(owner, Bank) else owner
            return copies * (port.width(member) if callable(port.width) else int(port.width))

        return width

    def _action(self, m: ast.Action) -> None:
        kind = model.PhysicalAction if m.origin == "physical" else model.LogicalAction
        spacing = None if m.min_spacing is None else self._number(m.min_spacing)
        policy = m.policy or "defer"
        if policy not in ("defer", "drop", "replace", "update"):
            raise AssemblyError(
                f"{self._scope.source(m)}: policy {policy!r} is none of defer, drop, replace and update."
            )
        self._declare(kind(self._time(m.min_delay), spacing, policy), m.name, m)

    def _watchdog(self, m: ast.Watchdog) -> None:
        made = self._declare(model.Watchdog(self._number(m.timeout)), m.name, m)
        names, parameters, effects, history = self._effects(m.effects)
        fn = compile_body(m.code, self._scope.file, m.name, parameters, self._builder.namespace)
        handler = model.Reaction(fn, triggers=(made,), effects=effects, parameters=tuple(names), history=history)
        handler.source = self._scope.source(m)
        self._names[f"on_{m.name}"] = handler

    def _effects(self, effects: tuple[ast.Effect, ...]) -> tuple[list[str], list[str], tuple[str, ...], frozenset[str]]:
        """Names a body sees through its effects, what it calls them, paths of contained ports, and modes by history."""
        names: list[str] = []
        called: list[str] = []
        paths: list[str] = []
        history: set[str] = set()
        for effect in effects:
            if isinstance(effect, ast.ModeChange):
                names.append(effect.mode)
                called.append(effect.mode)
                if effect.kind == "history":
                    history.add(effect.mode)
            else:
                self._see(effect, names, called)
                if effect.container:
                    paths.append(_path(effect))
        return names, called, tuple(paths), frozenset(history)

    @staticmethod
    def _see(ref: ast.VarRef, names: list[str], called: list[str]) -> None:
        name = ref.container or ref.variable
        if name not in names:
            names.append(name)
            called.append(ref.alias or name if not ref.container else name)

    def _reaction(self, m: ast.Reaction) -> None:
        scope, where = self._scope, self._scope.source(m)
        self._reactions += 1
        name = m.name or f"reaction_{self._reactions}"
        if m.mutation:
            self._builder.warn(f"{where}: a mutation runs as a reaction; reactors do not change while they run.")
        if m.late is not None:
            self._builder.warn(f"{where}: {m.late.keyword} has no meaning in one process; messages are never tardy.")
        if m.code is None:
            self._builder.warn(f"{where}: reaction {name} is declared without a body; it does nothing.")
        names: list[str] = []
        called: list[str] = []
        triggers: list[Any] = []
        for trigger in m.triggers:
            if isinstance(trigger, ast.Builtin):
                triggers.append(_BUILTINS[trigger.kind])
            else:
                triggers.append(_path(trigger))
                if trigger.container or trigger.variable not in self._timers():
                    self._see(trigger, names, called)
        if not m.triggers:
            inputs = [p.name for p in self._ports.values() if isinstance(p, model.Input)]
            triggers, names, called = list(inputs), list(inputs), list(inputs)
        for source in m.sources:
            self._see(source, names, called)
        more, more_called, effects, history = self._effects(m.effects)
        for n, c in zip(more, more_called, strict=True):
            if n not in names:
                names.append(n)
                called.append(c)
        self._underscored(m, names, called)
        empty = ast.Code("", line=m.line, column=m.column)
        namespace = self._builder.namespace
        fn = compile_body(m.code or empty, scope.file, name, called, namespace)
        made = model.Reaction(
            fn,
            triggers=tuple(triggers),
            uses=tuple(_path(s) for s in m.sources if s.container),
            effects=effects,
            deadline=None if m.deadline is None else self._number(m.deadline.delay),
            parameters=tuple(names),
            history=history,
        )
        made.source = where
        if m.deadline is not None:
            made.handler = compile_body(m.deadline.code, scope.file, f"{name}_late", called, namespace)
        made.name = name
        # An own attribute for each, so that a subclass's first reaction does not replace its base's first.
        self._names[f"{name}__{self._name_of_class()}"] = made

    @staticmethod
    def _underscored(m: ast.Reaction, names: list[str], called: list[str]) -> None:
        """Bodies may also say `container_port`, as Lingua Franca's generated code does."""
        bodies = (m.code.text if m.code else "") + (m.deadline.code.text if m.deadline else "")
        for ref in (*m.triggers, *m.sources, *m.effects):
            if isinstance(ref, ast.VarRef) and ref.container:
                other = f"{ref.container}_{ref.variable}"
                if other in bodies and other not in called:
                    names.append(f"{ref.container}.{ref.variable}")
                    called.append(other)

    def _name_of_class(self) -> str:
        return f"{self._name}_{self._declared.line}_{self._reactions}"

    def _timers(self) -> set[str]:
        own = {n for n, v in self._names.items() if isinstance(v, model.Timer)}
        return own.union(*(base._spec.timers for base in self._bases))

    # -- what compose does ------------------------------------------------------------------------------------------

    def _instance(self, m: ast.Instance) -> None:
        where = self._scope.source(m)
        cls = self._builder.find(self._scope, m.reactor, where)
        values = {a.name: self._builder.thunk(self._scope, a.value) for a in m.args}
        width = None if m.width is None else self._width(m.width)
        mode = model.declarations.current_mode()

        def make(self: Reactor) -> None:
            with mode or nullcontext():
                child: Reactor | Bank
                if width is None:
                    child = cls(**{name: thunk(self, 0) for name, thunk in values.items()})
                else:
                    each = {
                        name: per_member(lambda i, thunk=thunk: thunk(self, i))  # type: ignore[misc]
                        for name, thunk in values.items()
                    }
                    child = Bank(cls, width(self), **each)
            child.__dict__["_source"] = where
            setattr(self, m.name, child)

        self._steps.append(make)

    def _connection(self, m: ast.Connection) -> None:
        where = self._scope.source(m)
        after = None if m.delay is None else self._builder.thunk(self._scope, m.delay)
        mode = model.declarations.current_mode()
        if m.serializer:
            self._builder.warn(
                f"{where}: serializer {m.serializer!r} has no meaning in one process; values pass by reference."
            )
        left, right = m.left, m.right

        def join(self: Reactor) -> None:
            with mode or nullcontext():
                connect(
                    [self_port(self, ref) for ref in left],
                    [self_port(self, ref) for ref in right],
                    after=None if after is None else after(self, self.bank_index),
                    physical=m.physical,
                    broadcast=m.iterated,
                    strict=False,
                    made_at=where,
                )

        def self_port(self: Reactor, ref: ast.VarRef) -> Any:
            return _port_ref(self, ref, where)

        self._joins.append(join)


def _port_ref(self: Reactor, ref: ast.VarRef, where: Source) -> Any:
    owner: Any = self
    if ref.container is not None:
        owner = self.__dict__.get(ref.container)
        if owner is None:
            children = self.__dict__["_children"]
            raise UnknownNameError(
                f"{where}: {type(self).__name__} contains no {ref.container!r}. {suggestion(ref.container, children)}",
                unknown=ref.container,
                source=where,
            )
    cls = owner.__dict__["cls"] if isinstance(owner, Bank) else type(owner)
    port = cls._spec.ports.get(ref.variable)
    if port is None:
        raise UnknownNameError(
            f"{where}: {cls.__name__} has no port {ref.variable!r}. {suggestion(ref.variable, cls._spec.ports)}",
            unknown=ref.variable,
            source=where,
        )
    return PortRef(owner, port, ref.interleaved)


def _path(ref: ast.VarRef) -> str:
    path = f"{ref.container}.{ref.variable}" if ref.container else ref.variable
    return f"interleaved({path})" if ref.interleaved else path


def _flat(body: tuple[ast.Member, ...]) -> list[ast.Member]:
    return [m for m in body if isinstance(m, ast.Mode)]


def _init(self: Any, **given: Any) -> None:
    """Parameters not given have their defaults computed, each able to refer to those before it."""
    values: dict[str, Any] = {}
    scope = SimpleNamespace(bank_index=given.get("bank_index", 0))
    for name, thunk in self._lf_defaults.items():
        if name in given:
            values[name] = given[name]
        elif name != "bank_index":
            values[name] = thunk(scope, scope.bank_index)
        else:
            continue
        scope.__dict__[name] = values[name]
    Reactor.__init__(self, **{**given, **values})


_descriptions: dict[int, str] = {}


def register_user_trace_event(_self: Any, description: str) -> int:
    """A handle for `tracepoint_user_event`; what is traced appears among the run's metrics under its description."""
    # A dict's setdefault is atomic, and the same description always has the same handle, whoever asks first.
    handle = zlib.crc32(description.encode()) or 1
    _descriptions.setdefault(handle, description)
    return handle


def tracepoint_user_event(self: Any, handle: int) -> None:
    """Trace an event."""
    tracepoint_user_value(self, handle, 1)


def tracepoint_user_value(self: Any, handle: int, value: float) -> None:
    """Trace a value."""
    Reactor.log(self, **{_descriptions.get(handle, str(handle)): value})
