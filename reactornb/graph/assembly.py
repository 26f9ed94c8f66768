"""From declarations to nodes: every reactor that a program contains, with what it declares, what it contains, and how that is connected.

`place` says what the names in one reactor stand for, `reactions` and `connections` add what refers to them, `checks` and `writers`
refuse what has no meaning.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from reactornb.errors import AssemblyError
from reactornb.graph.checks import check_class, check_late, check_template
from reactornb.graph.connections import add_connection
from reactornb.graph.enclaves import distances_of
from reactornb.graph.levels import levels_of
from reactornb.graph.nodes import (
    ActionNode,
    Flat,
    Graph,
    ModeNode,
    PortNode,
    ReactorNode,
    TimerNode,
    WatchdogNode,
)
from reactornb.graph.place import Place
from reactornb.graph.reactions import add_reaction
from reactornb.graph.writers import Writers
from reactornb.limits import MOST_CHANNELS, MOST_REACTORS
from reactornb.model import Bank, Connection, Input, Mode, Reactor, composing
from reactornb.model.ownership import needs_copy, owned, parameter_words

__all__ = ["assemble"]


class _Site(NamedTuple):
    """Where in the program a reactor is: what `ReactorNode` says of it, and the innermost mode around it."""

    name: str
    label: str
    group: str
    parent: int = -1
    mode: int = -1
    outer: int = -1
    bank: tuple[int, int] = (0, 1)
    enclave: int = 0


class _Assembly(Flat):
    """Adds the nodes of one program, depth first: a reactor's contents come between its own ports and its reactions."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: set[type] = set()
        self.copied: dict[int, Any] = {}  # id -> a parameter's value that was seen to be one that can be copied
        self.writers = Writers(self)

    def place(self, template: Reactor, site: _Site) -> Place:
        """Add one reactor and what it contains."""
        cls = type(template)
        values = template.__dict__
        check_template(template)
        if cls not in self.checked:
            check_late(cls, values["_source"])
        # `compose` gets a copy, so that assembling twice gives the same graph twice.
        copy = object.__new__(composing(cls))
        copy.__dict__.update(values)
        index, width = site.bank
        copy.__dict__.update(_connections=[], _children={}, _named=site.label, bank_index=index, bank_width=width)
        parameters = {name: values[name] for name in cls._spec.parameters}
        decided: dict[str, str] = {}
        node = ReactorNode(
            len(self.reactors), site.name, site.label, site.group, cls, parameters, site.parent, index, width, site.mode,
            values["_source"], site.enclave, decided,
        )  # fmt: skip
        composes = cls.compose is not Reactor.compose
        for parameter, value in parameters.items():
            if parameter not in cls._spec.shared and needs_copy(value) and (composes or id(value) not in self.copied):
                own = owned(value, partial(parameter_words, node, parameter))
                self.copied[id(value)] = value
                if composes:  # and may change it
                    parameters[parameter] = copy.__dict__[parameter] = own
        self.reactors.append(node)
        here = Place(node, copy, site.outer, decided)
        self._own(here)
        copy.compose()
        here.note("what the reactor is composed of")
        here.owners[id(copy)] = here.owners[id(template)] = [here]
        composed: dict[str, Any] = copy.__dict__["_children"]
        for child_label, child in {**cls._spec.children, **composed}.items():
            self._place_child(here, child, child_label)
        if cls not in self.checked:
            self.checked.add(cls)
            check_class(cls, site.name, {id(c): label for label, c in (*cls._spec.children.items(), *composed.items())})
        for order, item in enumerate(cls._spec.reactions):
            deadline = item.deadline
            if deadline is not None:
                deadline = here.duration(deadline, f"the deadline of reaction {item.name!r}", item.source)
            add_reaction(self, self.writers, here, item, order, deadline)
        connections: list[Connection] = list(cls._spec.own_connections) + copy.__dict__["_connections"]
        for child in {id(c): c for c in (*cls._spec.children.values(), *composed.values())}.values():
            connections += child.__dict__["_connections"]
        for connection in connections:
            after = connection.after
            if after is not None:
                after = here.duration(after, "the delay of a connection", connection.source)
            add_connection(self, self.writers, here, connection, after)
        return here

    def _own(self, here: Place) -> None:
        """Number the reactor's own modes, ports, timers, actions and watchdogs."""
        spec, name, duration, reactor = here.cls._spec, here.name, here.duration, here.index
        for m in spec.modes.values():
            here.modes[m.name] = len(self.modes)
            self.modes.append(ModeNode(len(self.modes), f"{name}.{m.name}", reactor, m.initial, here.outer))
        for port in spec.ports.values():
            kind = "input" if isinstance(port, Input) else "output"
            channels: tuple[int | None, ...] = (None,)
            if port.width is not None:
                what = f"the width of port {port.name!r}"
                width = here.number(port.width, what, port.source)
                if len(self.ports) + width > MOST_CHANNELS:
                    raise AssemblyError(
                        f"{port.source}: {what} of {name} is {width:,}: a program has at most {MOST_CHANNELS:,} ports, each channel of a "
                        f"multiport counted. Send one array instead."
                    )
                channels = tuple(range(width))
            first = len(self.ports)
            for i in channels:
                full = f"{name}.{port.name}" if i is None else f"{name}.{port.name}[{i}]"
                self.ports.append(PortNode(len(self.ports), full, reactor, port, i, kind))
            here.ports[port.name] = list(range(first, len(self.ports)))
        for t in spec.timers.values():
            here.timers[t.name] = index = len(self.timers)
            offset = duration(t.offset, f"the offset of timer {t.name!r}", t.source)
            period = duration(t.period, f"the period of timer {t.name!r}", t.source)
            self.timers.append(TimerNode(index, f"{name}.{t.name}", reactor, offset, period, here.mode_of(t)))
        for a in spec.actions.values():
            here.actions[a.name] = index = len(self.actions)
            delay = duration(a.min_delay, f"the delay of action {a.name!r}", a.source)
            spacing = a.min_spacing
            if spacing is not None:
                spacing = duration(spacing, f"the spacing of action {a.name!r}", a.source)
            full, mode = f"{name}.{a.name}", here.mode_of(a)
            self.actions.append(ActionNode(index, full, reactor, a.physical, delay, spacing, a.policy, mode))
        for w in spec.watchdogs.values():
            here.watchdogs[w.name] = index = len(self.watchdogs)
            timeout = duration(w.timeout, f"the timeout of watchdog {w.name!r}", w.source)
            self.watchdogs.append(WatchdogNode(index, f"{name}.{w.name}", reactor, timeout, here.mode_of(w)))

    def _place_child(self, here: Place, child: Reactor | Bank, label: str) -> None:
        mode_declared: Mode | None = child.__dict__["_mode"]
        mode = here.modes[mode_declared.name] if mode_declared is not None else -1
        inner = mode if mode >= 0 else here.outer
        apart: str = child.__dict__.get("_enclave", "")
        if apart and inner >= 0:
            raise AssemblyError(
                f"{child.__dict__['_source']}: {here.name}.{label} cannot be an enclave inside mode {self.modes[inner].name}: modes "
                f"switch at one tag, and an enclave has tags of its own. Put the mode into the enclave, or leave out enclave(…)."
            )
        group, enclave = child.__dict__.get("_listed", label), here.node.enclave
        if isinstance(child, Bank):
            places = self._place_bank(here, child, _Site("", label, group, here.index, mode, inner, enclave=enclave))
            here.banks.add(label)
        else:
            if apart:
                enclave = self._open_enclave()
                self.enclaves[enclave].append(len(self.reactors))
            bank = (child.__dict__.get("bank_index", 0), child.__dict__.get("bank_width", 1))
            site = _Site(f"{here.name}.{label}", label, group, here.index, mode, inner, bank, enclave)
            places = [self.place(child, site)]
        here.children[label] = places
        here.owners[id(child)] = places

    def _place_bank(self, here: Place, bank: Bank, site: _Site) -> list[Place]:
        """Add the members of a bank; `site` is that of the bank."""
        apart, width, enclave = bank.__dict__.get("_enclave", ""), len(bank), site.enclave
        if len(self.reactors) + width > MOST_REACTORS:
            raise AssemblyError(
                f"{bank.__dict__['_source']}: {here.name}.{site.label} is a bank of {width:,}, beside {len(self.reactors):,} reactors: a program "
                f"has at most {MOST_REACTORS:,}. Let each member do more."
            )
        if apart == "whole" and width:
            enclave = self._open_enclave()
        places: list[Place] = []
        for i in range(width):
            if apart == "each":
                enclave = self._open_enclave()
            if apart:
                self.enclaves[enclave].append(len(self.reactors))
            label = f"{site.label}[{i}]"
            name = f"{here.name}.{label}"
            places.append(
                self.place(bank.template(i), site._replace(name=name, label=label, bank=(i, width), enclave=enclave))
            )
        return places

    def _open_enclave(self) -> int:
        self.enclaves.append([])
        return len(self.enclaves) - 1


def assemble(root: Any, name: str | None = None) -> Graph:
    """Flatten, check and level a program.

    Args:
        root: the outermost reactor, a template; it can be assembled any number of times.
        name: what full names begin with; the class's name in lower case unless given.

    Raises:
        AssemblyError: if the reactors do not form a legal graph; its subclasses say why.
        UnknownNameError: if a name stands for nothing.
    """
    if not isinstance(root, Reactor):
        hint = f" Make an instance: {root.__name__}()." if isinstance(root, type) else ""
        raise AssemblyError(f"the outermost reactor must be an instance of Reactor, not {root!r}.{hint}")
    work = _Assembly()
    name = name or _snake(type(root).__name__)
    work.place(root, _Site(name, name, name))
    levels, count = levels_of(work)
    reactions = tuple(replace(r, level=levels[r.index]) for r in work.reactions)
    return Graph(
        tuple(work.reactors), tuple(work.ports), tuple(work.timers), tuple(work.actions), tuple(work.watchdogs), tuple(work.modes),
        reactions, tuple(work.edges), count, tuple(map(tuple, work.enclaves)), distances_of(work, len(work.enclaves)),
        tuple(work.parameters),
    )  # fmt: skip


def _snake(name: str) -> str:
    """`QLearner` -> `qlearner`, `TreeLearner` -> `tree_learner`, `A2C` -> `a2c`, `TD3Agent` -> `td3_agent`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])", "_", name).lower()
