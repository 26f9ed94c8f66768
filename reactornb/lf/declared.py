"""The names that one reactor declares, checked before its class is made: each is declared once, and none is a keyword or reserved."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from reactornb.errors import LFSyntaxError, Source, UnknownNameError, suggestion
from reactornb.lf import syntax as ast
from reactornb.lf.instances import contents_of
from reactornb.model import Reactor

__all__ = ["Names", "flat"]

# Attributes that the package itself uses on every reactor.
_OURS = frozenset(
    {
        "check_parameter", "compose", "self",
        "_children", "_composes", "_composing", "_connections", "_context", "_deadline", "_definition", "_lf", "_log", "_looked_at", "_mode", "_name", "_named",
        "_parameters", "_rng", "_run_seed", "_running", "_source", "_spec", "_translated",
    }
)  # fmt: skip
_KINDS: dict[type[ast.Node], str] = {
    ast.Action: "action",
    ast.Input: "input",
    ast.Instance: "contained reactor",
    ast.Method: "method",
    ast.Mode: "mode",
    ast.Output: "output",
    ast.State: "state",
    ast.Timer: "timer",
    ast.Watchdog: "watchdog",
}
_TRIGGERS = frozenset({"input", "action", "timer", "watchdog"})
_SOURCES = frozenset({"input", "action", "timer"})
_EFFECTS = frozenset({"output", "action", "watchdog", "mode"})
# Kinds that a reactor cannot inherit twice under one name.
_CONFLICTING = frozenset({"input", "output", "action", "timer"})


class Names:
    """What each name in a reactor stands for, inherited names included.

    Args:
        file: the file, for errors.
        declared: the reactor.
        bases: classes that it extends.

    Raises:
        LFSyntaxError: for a name that is declared twice, or that cannot be one.
    """

    def __init__(self, file: str, declared: ast.Reactor, bases: tuple[type[Reactor], ...]) -> None:
        self._file = file
        self._reactor = declared.name or "the main reactor"
        self._inherited: dict[str, str] = {}
        origin: dict[str, Any] = {}
        for base in bases:
            for name, (kind, declaration) in _of_class(base).items():
                if kind in _CONFLICTING and origin.setdefault(name, declaration) is not declaration:
                    problem = f"{self._reactor} extends two reactors that each declare the {kind} {name}"
                    raise LFSyntaxError(problem, file=file, line=declared.line, column=declared.column)
                self._inherited[name] = kind
        # A Python class may make children in `compose`, which only assembly sees.
        self._open = any(not vars(c).get("_translated") and c.compose is not Reactor.compose for c in bases)
        self.kinds = MappingProxyType(self._collect(declared))

    def _collect(self, declared: ast.Reactor) -> dict[str, str]:
        own: dict[str, str] = {}
        for p in declared.params:
            self._add(own, p.name, "parameter", p)
        for m in flat(declared.body):
            kind = _KINDS.get(type(m))
            name = getattr(m, "name", None)
            if kind is not None and name is not None:
                self._add(own, name, kind, m)
            elif isinstance(m, ast.Reaction) and name is not None:
                self._legal(name, m)
        return self._inherited | own

    def _add(self, own: dict[str, str], name: str, kind: str, node: ast.Node) -> None:
        self._legal(name, node)
        before = own.get(name)
        if before is None and kind in _CONFLICTING and self._inherited.get(name) in _CONFLICTING:
            before = f"{self._inherited[name]} of a reactor that it extends"
        if before is not None:
            problem = f"the {kind} {name} is declared already in {self._reactor}, as {_a(before)}"
            raise self._error(problem, node)
        own[name] = kind

    def _legal(self, name: str, node: ast.Node) -> None:
        if keyword.iskeyword(name):
            raise self._error(f"{name} is a keyword of Python, so that no body could use the name", node)
        if name.startswith("__") or name in _OURS:
            raise self._error(f"the name {name} is reserved", node)

    def _error(self, problem: str, node: ast.Node) -> LFSyntaxError:
        return LFSyntaxError(problem, file=self._file, line=node.line, column=node.column)

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of these kinds, in the order they are declared."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def check(self, reaction: ast.Reaction | ast.Watchdog) -> None:
        """Refuse a reaction that names what it cannot touch in that way.

        Raises:
            UnknownNameError: for a name that stands for nothing.
            LFSyntaxError: for one that stands for something else.
        """
        if isinstance(reaction, ast.Reaction):
            for trigger in reaction.triggers:
                if isinstance(trigger, ast.VarRef):
                    self._reference(trigger, _TRIGGERS, "trigger a reaction")
            for source in reaction.sources:
                self._reference(source, _SOURCES, "be read by a reaction")
        for effect in reaction.effects:
            if isinstance(effect, ast.ModeChange):
                if self.kinds.get(effect.mode) != "mode":
                    raise self._unknown(f"no mode {effect.mode!r}", effect.mode, self.of_kind("mode"), effect)
            else:
                self._reference(effect, _EFFECTS, "be an effect")

    def _reference(self, ref: ast.VarRef, fitting: frozenset[str], use: str) -> None:
        name = ref.container or ref.variable
        kind = self.kinds.get(name)
        if kind is None:
            if not self._open:
                what = "contained reactor" if ref.container else "port, action, timer or watchdog"
                raise self._unknown(f"no {what} {name!r}", name, self.kinds, ref)
        elif ref.container and kind != "contained reactor":
            raise self._error(f"{name} is {_a(kind)}, and no contained reactor", ref)
        elif not ref.container and kind not in fitting:
            raise self._error(f"{_a(kind)} cannot {use}: {name}", ref)

    def _unknown(self, problem: str, name: str, known: Iterable[str], node: ast.Node) -> UnknownNameError:
        where = Source(self._file, node.line)
        return UnknownNameError(
            f"{where}: {self._reactor} has {problem}. {suggestion(name, known)}", unknown=name, source=where
        )


def _of_class(cls: type[Reactor]) -> Mapping[str, tuple[str, Any]]:
    """Kind and declaration of every name of a class that is made."""
    spec = cls._spec
    kinds: dict[str, tuple[str, Any]] = dict.fromkeys(spec.parameters, ("parameter", None))
    for group in (spec.ports, spec.timers, spec.actions, spec.watchdogs, spec.modes, spec.states):
        for name, declaration in group.items():
            kinds[name] = (declaration.kind.rpartition(" ")[2], declaration)
    children = contents_of(cls).children if cls._translated else ()
    for name in (*spec.children, *children):
        kinds[name] = ("contained reactor", None)
    return kinds


def flat(body: Iterable[ast.Member]) -> list[ast.Member]:
    """All members, those of modes too."""
    members: list[ast.Member] = []
    for member in body:
        members.append(member)
        if isinstance(member, ast.Mode):
            members += flat(member.body)
    return members


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"
