"""Reactions of a program: what triggers each, what it reads and writes, and what its parameters stand for."""

from __future__ import annotations

from typing import Any

from reactornb.errors import AssemblyError, UnknownNameError, suggestion
from reactornb.graph.nodes import Flat, ParameterNode, ReactionNode
from reactornb.graph.place import Place
from reactornb.graph.writers import Writers
from reactornb.model import Action, Builtin, Output, PortPath, PortRef, Reaction, Timer, Watchdog

__all__ = ["add_reaction"]


def add_reaction(work: Flat, writers: Writers, here: Place, item: Reaction, number: int, deadline: int | None) -> None:
    """Add the node of a reaction.

    Args:
        work: the program's nodes so far.
        writers: who writes each channel so far.
        here: its reactor, the reactors that it contains already added.
        item: the reaction.
        number: its place in the order of its reactor's reactions.
        deadline: its deadline in ns, or None.

    Raises:
        UnknownNameError: for a name that stands for nothing.
        AssemblyError: for a port that it cannot use in that way; `MultipleWritersError` for a port that another reactor writes.
    """
    touched = _Touched(work, here, item)
    arguments = tuple(touched.argument(name) for name in item.parameters)  # which adds to uses and effects
    mode = here.mode_of(item)
    name = f"{here.name}.{item.name}"
    effects = tuple(dict.fromkeys(touched.effects))
    for channel in effects:
        writers.add(channel, here.index, mode, name, item.source)
    triggers, uses = tuple(dict.fromkeys(touched.triggers)), tuple(dict.fromkeys(touched.uses))
    index = len(work.reactions)
    work.reactions.append(
        ReactionNode(
            index, name, here.index, number, item, triggers, uses, effects, arguments, deadline, mode, item.source
        )
    )


class _Touched:
    """What one reaction touches, as it is read off its decorator and its signature.

    Attributes:
        triggers: as in `ReactionNode`.
        uses: channels that it reads and that do not trigger it.
        effects: channels that it writes.
    """

    def __init__(self, work: Flat, here: Place, item: Reaction) -> None:
        self._work = work
        self._here = here
        self._item = item
        self.triggers: list[tuple[str, int]] = []
        self.uses: list[int] = []
        self.effects: list[int] = []
        self._triggering: set[int] = set()  # channels
        self._of_child: dict[str, list[tuple[int, bool]]] = {}  # child -> (channel, whether it is written)
        self._empty: dict[str, set[str]] = {}  # child -> its ports without channels: of width 0, or in a bank of none
        for trigger in item.triggers:
            self._trigger(trigger)
        for use in item.uses:
            channels, contained = here.channels(use, item.source)
            self.uses += [c for c in channels if c not in self._triggering]
            if contained:
                self._allow(use, channels, writable=False)
        for effect in item.effects:
            channels, contained = here.channels(effect, item.source)
            if contained:
                self._need_kind(channels, "input", "write")
                self._allow(effect, channels, writable=True)
            self.effects += channels

    # -- the decorator ----------------------------------------------------------------------------------------------

    def _trigger(self, trigger: Any) -> None:
        here = self._here
        if isinstance(trigger, str):
            for table, kind in ((here.timers, "timer"), (here.actions, "action"), (here.watchdogs, "watchdog")):
                if trigger in table:
                    self.triggers.append((kind, table[trigger]))
                    return
            if trigger in here.cls._spec.parameters:
                self.triggers.append(("parameter", self._parameter(trigger)))
            else:
                self._port_trigger(trigger)
        elif isinstance(trigger, Builtin):
            self.triggers.append((trigger.name, -1))
        elif isinstance(trigger, Timer):
            self.triggers.append(("timer", here.timers[trigger.name]))
        elif isinstance(trigger, Action):
            self.triggers.append(("action", here.actions[trigger.name]))
        elif isinstance(trigger, Watchdog):
            self.triggers.append(("watchdog", here.watchdogs[trigger.name]))
        else:
            self._port_trigger(trigger)

    def _parameter(self, name: str) -> int:
        here, parameters = self._here, self._work.parameters
        if name not in here.parameters:
            here.parameters[name] = len(parameters)
            parameters.append(ParameterNode(len(parameters), f"{here.name}.{name}", here.index, name))
        return here.parameters[name]

    def _port_trigger(self, trigger: Any) -> None:
        channels, contained = self._here.channels(trigger, self._item.source)
        self.triggers += [("port", c) for c in channels]
        self._triggering.update(channels)
        if contained:
            self._need_kind(channels, "output", "be triggered by")
            self._allow(trigger, channels, writable=False)

    def _need_kind(self, channels: list[int], kind: str, verb: str) -> None:
        for channel in channels:
            port = self._work.ports[channel]
            if port.kind != kind:
                raise AssemblyError(
                    f"{self._item.source}: reaction {self._item.name} cannot {verb} {port.name}, an {port.kind} of a "
                    f"contained reactor; a container writes its children's inputs and reads their outputs."
                )

    def _allow(self, end: PortPath | PortRef, channels: list[int], *, writable: bool) -> None:
        """Let the body reach these channels through the parameter that stands for the contained reactor."""
        if not channels:
            child, port = self._here.child_and_port(end)
            self._of_child.setdefault(child, [])
            self._empty.setdefault(child, set()).add(port)
        for channel in channels:
            child = self._work.reactors[self._work.ports[channel].reactor].group
            self._of_child.setdefault(child, []).append((channel, writable))

    # -- the signature ----------------------------------------------------------------------------------------------

    def argument(self, name: str | PortPath) -> tuple[Any, ...]:
        """What a parameter stands for, as in `ReactionNode.arguments`; a port that it names is used or written."""
        here, item = self._here, self._item
        if isinstance(name, PortPath):
            return self._port_of_child(name)
        if name in here.ports:
            return self._own_port(name)
        if name in here.actions:
            return ("action", here.actions[name])
        if name in here.timers:
            return ("timer", here.timers[name])
        if name in here.modes:
            return ("mode", here.modes[name], name in item.history)
        if name in here.watchdogs:
            return ("watchdog", here.watchdogs[name])
        if name in here.children:
            return self._child(name)
        known = [*here.ports, *here.actions, *here.timers, *here.modes, *here.watchdogs, *here.children]
        raise UnknownNameError(
            f"{item.source}: reaction {here.name}.{item.name} names {name!r} in its signature, which {here.cls.__name__} does not "
            f"declare. {suggestion(name, known)}",
            unknown=name,
            source=item.source,
        )

    def _own_port(self, name: str) -> tuple[Any, ...]:
        channels, port = self._here.ports[name], self._here.cls._spec.ports[name]
        writable = isinstance(port, Output)
        if writable:
            self.effects += channels
        else:
            self.uses += [c for c in channels if c not in self._triggering]
        return ("port", tuple(channels), writable, port.width is not None)

    def _child(self, name: str) -> tuple[Any, ...]:
        here, item = self._here, self._item
        if name not in self._of_child:
            raise AssemblyError(
                f"{item.source}: reaction {here.name}.{item.name} takes the contained reactor {name!r} but declares no port of it; "
                f"name what it touches: @reaction(…, uses={name}.port) or effects={name}.port."
            )
        channels = tuple(dict.fromkeys(self._of_child[name]))
        members = tuple(place.index for place in here.children[name])
        empty = tuple(sorted(self._empty.get(name, ())))
        return ("child", name, channels, members, name in here.banks, empty)

    def _port_of_child(self, path: PortPath) -> tuple[Any, ...]:
        """One port of a contained reactor as a parameter of its own."""
        ports = self._work.ports
        touched = [(c, written) for c, written in self._of_child.get(path.child, ()) if ports[c].port.name == path.port]
        channels = tuple(dict.fromkeys(c for c, _ in touched))
        single = len(self._here.children[path.child]) == 1 and channels and ports[channels[0]].channel is None
        return ("port", channels, any(written for _, written in touched), not single)
