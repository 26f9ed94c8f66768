"""From the syntax of one reactor to a reactor class: the very declarations that Python code makes.

Each reactor of the text becomes a subclass of `Reactor`, its contents depend on parameters and hence live in `compose`; graph, levels,
errors and runs are those of any other program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from reactornb import model
from reactornb.errors import DeclarationError, LFSyntaxError, Source, UnknownNameError, suggestion
from reactornb.lf import instances
from reactornb.lf import syntax as ast
from reactornb.lf.code import compile_body, run_block
from reactornb.lf.declared import Names
from reactornb.lf.literals import counted_ns
from reactornb.lf.names import LFInPort
from reactornb.lf.ports import path_of, port_ref, width_of
from reactornb.lf.scope import Scope, TargetCode
from reactornb.model import Bank, PortPath, Reactor, connect, enclave, per_member
from reactornb.model.spec import REQUIRED

__all__ = ["ClassBuilder"]

_BUILTINS = {"startup": model.startup, "shutdown": model.shutdown, "reset": model.reset}


class ClassBuilder:
    """Makes one class: its declarations first, then the steps of `compose`.

    Args:
        target: the program's code.
        find: the class that a reactor's name stands for in a scope; it may make that class.
        scope: the file of the reactor.
        declared: the reactor as syntax.
        name: what the class is called.
        bases: the classes that it extends.
    """

    def __init__(
        self,
        target: TargetCode,
        find: Callable[[Scope, str, Source], type[Reactor]],
        scope: Scope,
        declared: ast.Reactor,
        name: str,
        bases: tuple[type[Reactor], ...],
    ) -> None:
        self._target = target
        self._find = find
        self._scope = scope
        self._declared = declared
        self._name = name
        self._bases = bases
        self._names: dict[str, Any] = {}
        self._modes: dict[str, model.Mode] = {}
        for base in reversed(bases):
            self._modes.update(base._spec.modes)
        self._kinds = Names(scope.file, declared, bases)
        self._reactions = sum(len(base._spec.reactions) for base in bases)
        # The steps of `compose`, in order; each is called with the instance that is being composed.
        self._steps: list[Callable[[Reactor], None]] = []
        self._joins: list[Callable[[Reactor], None]] = []

    def make(self) -> type[Reactor]:
        """The class."""
        declared, scope, names = self._declared, self._scope, self._names
        for preamble in declared.body:
            if isinstance(preamble, ast.Preamble):
                run_block(preamble.code, scope.file, self._target.namespace, names)
        for trace in ("__annotations__", "__annotate__", "__annotate_func__", "__conditional_annotations__"):
            names.pop(trace, None)
        defaults = {p.name: self._target.thunk(scope, p.init) for p in declared.params if p.init is not None}
        names["__annotations__"] = {p.name: "Any" for p in declared.params}
        names["__module__"] = self._target.namespace["__name__"]
        names["__qualname__"] = self._name
        names["_definition"] = scope.source(declared)
        for p in declared.params:
            self._target.attributes(scope, p.attributes)
            if p.init is not None:
                names[p.name] = p.init.value if isinstance(p.init, ast.Literal) else None
        inherited: dict[str, Callable[[Any, int], Any]] = {}
        for base in reversed(self._bases):
            if base._translated:
                inherited |= instances.contents_of(base).defaults
        names["__init__"] = instances.initialise
        for event in instances.TRACING:
            names[event.__name__] = event
        for m in declared.body:
            if isinstance(m, ast.Mode):
                self._mode(m)
        self._one_initial_mode()
        self._members(declared.body)
        contained = self._kinds.of_kind("contained reactor")
        for name in contained:  # hides a property of that name, such as `seed`
            names.setdefault(name, None)
        steps = (*self._steps, *self._joins)
        names["_lf"] = instances.Contents(inherited | defaults, steps, tuple(contained))
        names["_translated"] = True
        names["compose"] = instances.compose
        try:
            reactor_class: type[Reactor] = type(self._name, self._bases, names)
        except TypeError as error:
            if isinstance(error, DeclarationError):
                raise
            raise DeclarationError(f"{scope.source(declared)}: {self._name} cannot extend these: {error}") from None
        return reactor_class

    def _one_initial_mode(self) -> None:
        initial = [m for m in self._modes.values() if m.initial]
        if self._modes and len(initial) != 1:
            problem = (
                f"{self._name} has {len(initial)} initial modes among {', '.join(self._modes)}; it needs exactly one"
            )
            raise self._error(problem, next(m for m in self._declared.body if isinstance(m, ast.Mode)))

    def _error(self, problem: str, node: ast.Node, hint: str | None = None) -> LFSyntaxError:
        return LFSyntaxError(problem, file=self._scope.file, line=node.line, column=node.column, hint=hint)

    # -- members ----------------------------------------------------------------------------------------------------

    def _mode(self, m: ast.Mode) -> None:
        if m.name is None:
            raise self._error("a mode needs a name", m)
        mode = self._declare(model.Mode(initial=m.initial), m.name, m)
        self._modes[m.name] = mode

    def _declare(self, declaration: Any, name: str, node: ast.Node) -> Any:
        declaration.source = self._scope.source(node)
        self._names[name] = declaration
        return declaration

    def _members(self, body: tuple[ast.Member, ...]) -> None:
        for m in body:
            self._target.attributes(self._scope, getattr(m, "attributes", ()))
            if isinstance(m, ast.Mode):
                assert m.name is not None
                with self._modes[m.name]:
                    self._members(m.body)
            elif isinstance(m, (ast.Input, ast.Output)):
                self._port(m)
            elif isinstance(m, ast.State):
                self._known(m.init)
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
                    m.code, self._scope.file, m.name, parameters, self._target.namespace, generator=True
                )
            elif isinstance(m, ast.Reaction):
                self._reaction(m)
            elif isinstance(m, ast.Instance):
                self._instance(m)
            elif isinstance(m, ast.Connection):
                self._connection(m)

    def _known(self, expression: ast.Expression | None) -> None:
        """Refuse unknown names in a state's initial value, which is computed only when a run begins."""
        if isinstance(expression, ast.ListExpr):
            for item in expression.items:
                self._known(item)
        elif isinstance(expression, ast.ParamRef):
            name, where = expression.name, self._scope.source(expression)
            known = self._kinds.of_kind("parameter", "state")
            if name not in (*known, "bank_index", "None") and name not in self._target.namespace:
                words = f"{where}: no parameter {name!r}. {suggestion(name, known)}"
                raise UnknownNameError(words, unknown=name, source=where)

    def _number(self, expression: ast.Expression | None) -> Any:
        """An expression as the model takes numbers: a function of the reactor."""
        thunk = self._target.thunk(self._scope, expression)
        return lambda self: thunk(self, self.bank_index)

    def _time(self, expression: ast.Expression | None) -> Any:
        if expression is None:
            return 0
        if isinstance(expression, ast.Literal) and expression.value != 0:
            hint = f"Write {expression.value} msec, for example." if isinstance(expression.value, int) else None
            raise self._error(f"{expression.value!r} is no time", expression, hint)
        number = self._number(expression)
        return lambda self: counted_ns(number(self))

    def _port(self, m: ast.Input | ast.Output) -> None:
        width = None if m.width is None else width_of(self._target, self._scope, m.width)
        port: model.Port[Any]
        if isinstance(m, ast.Input):
            port = model.Input(width=width, mutable=m.mutable)
            port.reader = LFInPort
        else:
            port = model.Output(width=width)
        self._declare(port, m.name, m)

    def _action(self, m: ast.Action) -> None:
        if m.origin is None:
            raise self._error(f"action {m.name} is neither logical nor physical", m, f"Write logical action {m.name}.")
        kind = model.PhysicalAction if m.origin == "physical" else model.LogicalAction
        spacing = None if m.min_spacing is None else self._time(m.min_spacing)
        policy = m.policy or "defer"
        if policy not in ("defer", "drop", "replace", "update"):
            raise self._error(f"policy {policy!r} is none of defer, drop, replace and update", m)
        self._declare(kind(self._time(m.min_delay), spacing, policy), m.name, m)

    def _watchdog(self, m: ast.Watchdog) -> None:
        self._kinds.check(m)
        watchdog = self._declare(model.Watchdog(self._time(m.timeout)), m.name, m)
        names, parameters, effects, history = self._effects(m.effects)
        fn = compile_body(m.code, self._scope.file, m.name, parameters, self._target.namespace)
        handler = model.Reaction(fn, triggers=(watchdog,), effects=effects, parameters=tuple(names), history=history)
        handler.source = self._scope.source(m)
        self._names[f"on_{m.name}"] = handler

    def _effects(
        self, effects: tuple[ast.Effect, ...]
    ) -> tuple[list[str | PortPath], list[str], tuple[PortPath | str, ...], frozenset[str]]:
        """Of a reaction's effects: what its parameters stand for, what the body calls them, paths of contained ports, and modes entered by history."""
        names: list[str | PortPath] = []
        called: list[str] = []
        paths: list[PortPath | str] = []
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
                    paths.append(path_of(effect))
        return names, called, tuple(paths), frozenset(history)

    @staticmethod
    def _see(ref: ast.VarRef, names: list[str | PortPath], called: list[str]) -> None:
        name = ref.container or ref.variable
        if name not in names:
            names.append(name)
            called.append(ref.alias or name if not ref.container else name)

    def _reaction(self, m: ast.Reaction) -> None:
        self._kinds.check(m)
        scope, where = self._scope, self._scope.source(m)
        self._reactions += 1
        name = m.name or f"reaction_{self._reactions}"
        if m.mutation:
            self._target.warn(f"{where}: a mutation runs as a reaction; reactors do not change while they run.")
        if m.late is not None:
            self._target.warn(f"{where}: {m.late.keyword} has no meaning in one process; messages are never tardy.")
        if m.code is None:
            self._target.warn(f"{where}: reaction {name} is declared without a body; it does nothing.")
        names: list[str | PortPath] = []
        called: list[str] = []
        triggers: list[Any] = []
        timers = self._kinds.of_kind("timer")
        for trigger in m.triggers:
            if isinstance(trigger, ast.Builtin):
                triggers.append(_BUILTINS[trigger.kind])
            else:
                triggers.append(path_of(trigger))
                if trigger.container or trigger.variable not in timers:
                    self._see(trigger, names, called)
        if not m.triggers:
            inputs = self._kinds.of_kind("input")
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
        namespace = self._target.namespace
        fn = compile_body(m.code or empty, scope.file, name, called, namespace)
        reaction = model.Reaction(
            fn,
            triggers=tuple(triggers),
            uses=tuple(path_of(s) for s in m.sources if s.container),
            effects=effects,
            deadline=None if m.deadline is None else self._time(m.deadline.delay),
            parameters=tuple(names),
            history=history,
        )
        reaction.source = where
        if m.deadline is not None:
            reaction.handler = compile_body(m.deadline.code, scope.file, f"{name}_late", called, namespace)
        reaction.name = name
        # A unique attribute: a subclass's first reaction must not replace the first one of its base.
        self._names[f"{name}__{self._name_of_class()}"] = reaction

    @staticmethod
    def _underscored(m: ast.Reaction, names: list[str | PortPath], called: list[str]) -> None:
        """Bodies may also say `container_port`, as Lingua Franca's generated code does, and an alias stands for the port itself."""
        bodies = (m.code.text if m.code else "") + (m.deadline.code.text if m.deadline else "")
        for ref in (*m.triggers, *m.sources, *m.effects):
            if isinstance(ref, ast.VarRef) and ref.container:
                other = f"{ref.container}_{ref.variable}"
                if other in bodies and other not in called:
                    names.append(PortPath(ref.container, ref.variable))
                    called.append(other)
                if ref.alias and ref.alias not in called:
                    names.append(PortPath(ref.container, ref.variable))
                    called.append(ref.alias)

    def _name_of_class(self) -> str:
        return f"{self._name}_{self._declared.line}_{self._reactions}"

    # -- what compose does ------------------------------------------------------------------------------------------

    def _instance(self, m: ast.Instance) -> None:
        where = self._scope.source(m)
        cls = self._find(self._scope, m.reactor, where)
        values = {a.name: self._target.thunk(self._scope, a.value) for a in m.args}
        self._arguments(m, cls)
        width = None if m.width is None else width_of(self._target, self._scope, m.width)
        mode = model.declarations.current_mode()
        apart = next((a for a in m.attributes if a.name == "enclave"), None)
        each = apart is not None and any(
            arg.name == "each" and isinstance(arg.value, ast.Literal) and arg.value.value is True for arg in apart.args
        )

        def make(self: Reactor) -> None:
            with mode or nullcontext():
                child: Reactor | Bank
                if width is None:
                    child = cls(**{name: thunk(self, 0) for name, thunk in values.items()})
                else:
                    of_members = {
                        name: per_member(lambda i, thunk=thunk: thunk(self, i))  # type: ignore[misc]
                        for name, thunk in values.items()
                    }
                    child = Bank(cls, width(self), **of_members)
            child.__dict__["_source"] = where
            if apart is not None:
                enclave(child, each=each)
            setattr(self, m.name, child)

        self._steps.append(make)

    def _arguments(self, m: ast.Instance, cls: type[Reactor]) -> None:
        """Refuse arguments that the class does not take, here where the line is known."""
        declared = cls._spec.parameters
        given: set[str] = set()
        for a in m.args:
            where = self._scope.source(a)
            if a.name not in declared and a.name != "bank_index":
                words = f"{where}: {m.reactor} has no parameter {a.name!r}. {suggestion(a.name, declared)}"
                raise UnknownNameError(words, unknown=a.name, source=where)
            if a.name in given:
                raise self._error(f"the parameter {a.name} is given twice", a)
            given.add(a.name)
        for name, default in declared.items():
            if default is REQUIRED and name not in given and name != "bank_index":
                raise DeclarationError(
                    f"{self._scope.source(m)}: {m.reactor} needs its parameter {name!r}: it has no default."
                )

    def _connection(self, m: ast.Connection) -> None:
        where = self._scope.source(m)
        after = None if m.delay is None else self._time(m.delay)
        mode = model.declarations.current_mode()
        if m.serializer:
            self._target.warn(
                f"{where}: serializer {m.serializer!r} has no meaning in one process; values pass by reference."
            )
        left, right = m.left, m.right

        def join(self: Reactor) -> None:
            with mode or nullcontext():
                connect(
                    [self_port(self, ref) for ref in left],
                    [self_port(self, ref) for ref in right],
                    after=after(self) if callable(after) else after,
                    physical=m.physical,
                    broadcast=m.iterated,
                    strict=False,
                    made_at=where,
                )

        def self_port(self: Reactor, ref: ast.VarRef) -> Any:
            return port_ref(self, ref, where)

        self._joins.append(join)
