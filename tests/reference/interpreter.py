"""What a program means, said as plainly as possible: a slow interpreter of a `Graph` that the scheduler is compared with.

It knows lists, dicts and the rules of Lingua Franca's handbook, and shares no code with `reactornb.runtime`: no compiled
schedule, no levels, no presence to clear, no threads. Where the handbook is silent, the C runtime decides (spacing of zero,
delayed connections that meet at one tag), and each such choice is marked "Choice:" below.

Every tag is run by walking through all reactions once, in an order in which each comes after what it depends on, and calling
those that something present triggers.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

from reactornb.tags import Tag

__all__ = ["EndlessError", "interpret", "leaves_open"]


MAX_EVENTS = 500


class EndlessError(Exception):
    """The program has more tags, or more events at once, than a test has time for."""


def interpret(graph, *, timeout, max_tags=3000):
    """Run `graph` up to `timeout` ns.

    Returns:
        (executions, writes): (tag, index of the reaction) and (tag, full name, value), each in the order in which they came.
    """
    run = _Interpretation(graph, timeout)
    run.run(max_tags)
    return run.executions, run.writes


def leaves_open(graph):
    """True if reactions of two reactors may write one port at the last tag: shutdown reactions do so in inactive modes too.

    Which of them is last is not said by the handbook; it only has to be the same for any number of workers.
    """
    ending = [r for r in graph.reactions if r.mode >= 0 and ("shutdown", -1) in r.triggers]
    reached = {r.index: reachable(graph, r.effects) for r in graph.reactions}
    return any(a.reactor != b.reactor and reached[a.index] & reached[b.index] for a in ending for b in graph.reactions)


class _Read:
    """A port, action or timer as a body reads it."""

    def __init__(self, run, key):
        self._run = run
        self._key = key

    @property
    def value(self):
        return self._run.values.get(self._key)

    @property
    def is_present(self):
        return self._key in self._run.present


class _Written(_Read):
    def set(self, value):
        self._run.written.add(self._key)
        self._run.write(self._key[1], value)


class _Action(_Read):
    def schedule(self, delay=0, value=None):
        self._run.schedule(self._run.graph.actions[self._key[1]], delay, value)


class _Mode:
    def __init__(self, run, index):
        self._run = run
        self._index = index

    def set(self, *, history=False):
        mode = self._run.graph.modes[self._index]
        self._run.next_mode[mode.reactor] = (mode.index, history)


class _Self:
    """A reactor's `self`."""

    def __init__(self, run, node):
        self._run = run
        self.bank_index = node.bank_index
        self.bank_width = node.bank_width
        for name, value in node.parameters.items():
            setattr(self, name, copy.deepcopy(value))
        for state in node.cls._spec.states.values():
            setattr(self, state.name, first_value(self, state))

    @property
    def tag(self):
        return self._run.tag

    def request_stop(self):
        self._run.stop_requested = True


def first_value(instance, state):
    return state.factory(instance) if state.factory is not None else copy.deepcopy(state.initial)


class _Event:
    """Something that becomes present at a tag: key is ("timer" | "action" | "edge" | "entry", number)."""

    def __init__(self, tag, key, value, mode):
        self.tag = tag
        self.key = key
        self.value = value
        self.mode = mode  # its local time stands still while this mode is inactive; -1: never


class _Interpretation:
    def __init__(self, graph, timeout):
        self.graph = graph
        self.tag = Tag(0, 0)
        self.stop = Tag(timeout, 0)
        self.stop_requested = False
        self.events = []
        self.values = {}  # key -> newest value, kept while absent
        self.present = set()  # keys at this tag
        self.written = set()  # ports that a reaction set at this tag, as opposed to those that a connection filled
        self.last_scheduled = {}  # action -> tag of its newest event, if it minds its spacing
        self.executions = []
        self.writes = []
        self.instances = [_Self(self, node) for node in graph.reactors]
        self.order = in_order(graph)
        self.reactor_mode = [self.innermost(node.index) for node in graph.reactors]
        # Modes: which one each modal reactor is in, and the local time of those that are not active.
        self.current = {m.reactor: m.index for m in graph.modes if m.initial}
        self.next_mode = {}  # reactor -> (mode, by history)
        self.started = set()
        self.owes_reset = set()  # entered by a reset transition, but not active since
        # Events of inactive modes with their tags, and the tag after which the mode was left; None: nothing to catch up.
        self.frozen = {m.index: None if self.is_active(m.index) else [] for m in graph.modes}
        self.left = {m.index: Tag(0, -1) for m in graph.modes}

    # -- one tag after the other ------------------------------------------------------------------------------------

    def run(self, max_tags):
        self.started |= {m.index for m in self.graph.modes if self.is_active(m.index)}
        for timer in self.graph.timers:
            event = _Event(Tag(timer.offset, 0), ("timer", timer.index), None, timer.mode)
            (self.events if self.is_active(timer.mode) else self.frozen[timer.mode]).append(event)
        for _ in range(max_tags):
            self.run_tag()
            if len(self.events) > MAX_EVENTS:  # delayed connections in a loop multiply what runs round in them
                raise EndlessError
            if self.tag == self.stop:
                return
            if self.stop_requested:
                self.stop = min(self.stop, self.tag.delay(0))
            following = min((e.tag for e in self.events), default=None)
            if following is None:
                following = self.stop = self.tag.delay(0)  # starvation
            self.tag = min(following, self.stop)
        raise EndlessError

    def run_tag(self):
        due = [e for e in self.events if e.tag == self.tag]
        self.events = [e for e in self.events if e.tag != self.tag]
        self.present = set()
        self.written = set()
        entered = set()
        for event in due:
            kind, index = event.key
            if kind == "entry":
                entered.add(index)
            elif kind == "edge":
                self.write(self.graph.edges[index].destination, event.value)
            else:
                self.present.add(event.key)
                self.values[event.key] = event.value
                if kind == "timer" and self.graph.timers[index].period:
                    again = Tag(self.tag.time_ns + self.graph.timers[index].period, 0)
                    self.events.append(_Event(again, event.key, None, event.mode))
        for r in self.order:
            if self.is_triggered(r) or r.index in entered:
                self.executions.append((self.tag, r.index))
                self.execute(r)
        for key in sorted(self.present):
            if key[0] != "port" or key in self.written:
                self.writes.append((self.tag, self.name_of(key), self.values[key]))
        self.leave_through_delays()
        self.change_modes()

    def name_of(self, key):
        kind, index = key
        return {"port": self.graph.ports, "timer": self.graph.timers, "action": self.graph.actions}[kind][index].name

    def is_triggered(self, r):
        kinds = [kind for kind, _ in r.triggers]
        if "shutdown" in kinds and self.tag == self.stop and (r.mode < 0 or r.mode in self.started):
            return True  # whatever mode is active
        if not self.is_active(r.mode):
            return False
        if "startup" in kinds and self.tag == Tag(0, 0):
            return True
        return any(trigger in self.present for trigger in r.triggers)

    def execute(self, r):
        arguments = [self.argument(a) for a in r.arguments]
        if r.declaration is None:  # a connection inside a mode
            source, destination = arguments
            destination.set(source.value)
        else:
            r.declaration.fn(self.instances[r.reactor], *arguments)

    def argument(self, a):
        kind = a[0]
        if kind == "port":
            _, channels, writable, multi = a
            made = [(_Written if writable else _Read)(self, ("port", c)) for c in channels]
            return made if multi else made[0]
        if kind in ("read", "write"):
            return (_Written if kind == "write" else _Read)(self, ("port", a[1]))
        if kind == "child":
            _, _, channels, members, is_bank, *empty = a
            views = [self.view(m, channels, *empty) for m in members]
            return views if is_bank else views[0]
        if kind == "mode":
            return _Mode(self, a[1])
        return _Action(self, (kind, a[1]))

    def view(self, reactor, channels, empty=()):
        ports = {name: {} for name in empty}
        for channel, writable in channels:
            node = self.graph.ports[channel]
            if node.reactor == reactor:
                handle = (_Written if writable else _Read)(self, ("port", channel))
                if node.channel is None:
                    ports[node.port.name] = handle
                else:
                    ports.setdefault(node.port.name, {})[node.channel] = handle
        return SimpleNamespace(
            **{name: [p[i] for i in sorted(p)] if isinstance(p, dict) else p for name, p in ports.items()}
        )

    # -- ports, connections, actions --------------------------------------------------------------------------------

    def write(self, channel, value):
        """A value on a port is at once on every port that connections without delay lead to."""
        self.values["port", channel] = value
        self.present.add(("port", channel))
        for edge in self.graph.edges:
            if edge.source == channel and edge.after is None:
                self.write(edge.destination, value)

    def leave_through_delays(self):
        for number, edge in enumerate(self.graph.edges):
            key = ("port", edge.source)
            if edge.after is not None and key in self.present and self.is_active(edge.mode):
                # Choice: values that would meet at one tag follow each other in microsteps, as an action's would.
                tag = self.free_tag(("edge", number), self.tag.delay(edge.after))
                self.events.append(_Event(tag, ("edge", number), self.values[key], edge.mode))

    def pending(self, key, tag):
        return next((e for e in self.events if e.key == key and e.tag == tag), None)

    def free_tag(self, key, tag):
        while self.pending(key, tag):
            tag = Tag(tag.time_ns, tag.microstep + 1)
        return tag

    def schedule(self, action, delay, value):
        key = ("action", action.index)
        tag = self.tag.delay(action.min_delay + delay)
        last = self.last_scheduled.get(action.index)
        if action.min_spacing is not None and last is not None:
            distance = tag.time_ns - last.time_ns
            # Choice: with a spacing of zero the policy applies to events of one time.
            if distance < action.min_spacing or distance == action.min_spacing == 0:
                previous = self.pending(key, last)
                if action.policy == "drop":
                    return
                if action.policy == "replace" and previous is not None:
                    previous.value = value
                    return
                if action.policy == "update" and previous is not None:
                    self.events.remove(previous)
                else:
                    tag = Tag(last.time_ns + action.min_spacing, 0)
        if tag <= self.tag:
            tag = self.tag.delay(0)
        tag = self.free_tag(key, tag)
        self.last_scheduled[action.index] = tag
        self.events.append(_Event(tag, key, value, action.mode))

    # -- modes ------------------------------------------------------------------------------------------------------

    def innermost(self, reactor):
        """The innermost mode around a reactor, or -1."""
        node = self.graph.reactors[reactor]
        if node.mode >= 0 or node.parent < 0:
            return node.mode
        return self.innermost(node.parent)

    def is_active(self, mode):
        if mode < 0:
            return True
        node = self.graph.modes[mode]
        return self.current[node.reactor] == mode and self.is_active(node.outer)

    def change_modes(self):
        if not self.next_mode:
            return
        modes = self.graph.modes
        before = {m.index: self.is_active(m.index) for m in modes}
        # Resetting a mode resets the modal reactors in it to their initial modes; outer reactors come first.
        for initial in (m for m in modes if m.initial):
            around = modes[initial.outer] if initial.outer >= 0 else None
            if around is not None and self.next_mode.get(around.reactor) == (around.index, False):
                self.next_mode[initial.reactor] = (initial.index, False)
        for mode, _ in self.next_mode.values():
            self.current[modes[mode].reactor] = mode
        for m in modes:
            if before[m.index] and not self.is_active(m.index):
                self.freeze(m.index)
        for mode, by_history in self.next_mode.values():
            if by_history:
                self.owes_reset.discard(mode)
            else:
                self.reset(mode)
        self.next_mode = {}
        for m in modes:
            if self.is_active(m.index):
                self.thaw(m.index)
                self.welcome(m.index)

    def freeze(self, mode):
        self.left[mode] = self.tag
        self.frozen[mode] = [e for e in self.events if e.mode == mode]
        self.events = [e for e in self.events if e.mode != mode]

    def reset(self, mode):
        """As if the mode had never been executed."""
        self.owes_reset.add(mode)
        self.events = [e for e in self.events if e.mode != mode]
        self.left[mode] = Tag(0, -1)
        timers = [t for t in self.graph.timers if t.mode == mode]
        self.frozen[mode] = [_Event(Tag(t.offset, 0), ("timer", t.index), None, mode) for t in timers]
        for action in self.graph.actions:
            if action.mode == mode:
                self.last_scheduled.pop(action.index, None)
        for node, instance in zip(self.graph.reactors, self.instances, strict=True):
            for state in node.cls._spec.states.values():
                if state.reset and mode == self.mode_of_state(node, state):
                    setattr(instance, state.name, first_value(instance, state))

    def mode_of_state(self, node, state):
        if state.mode is None:
            return self.reactor_mode[node.index]
        (found,) = (m.index for m in self.graph.modes if m.name == f"{node.name}.{state.mode.name}")
        return found

    def thaw(self, mode):
        """Go on with the delays that were left when the mode was: a time is as far from now as it was from then."""
        left, now = self.left[mode], self.tag

        def shifted(tag):
            # Choice: microsteps keep their distance too, so that what came one after the other still does.
            ahead = tag.time_ns - left.time_ns
            return Tag(now.time_ns + ahead, tag.microstep + (now.microstep - left.microstep if ahead == 0 else 0))

        if self.frozen[mode] is None:
            return
        for event in self.frozen[mode]:
            self.events.append(_Event(shifted(event.tag), event.key, event.value, mode))
        for action in self.graph.actions:
            if action.mode == mode and action.index in self.last_scheduled:
                self.last_scheduled[action.index] = shifted(self.last_scheduled[action.index])
        self.frozen[mode] = None

    def welcome(self, mode):
        """Startup when a mode becomes active for the first time, reset when a reset transition led to it."""
        kinds = set()
        if mode not in self.started:
            self.started.add(mode)
            kinds.add("startup")
        if mode in self.owes_reset:
            self.owes_reset.remove(mode)
            kinds.add("reset")
        for r in self.graph.reactions:
            if r.mode == mode and any(kind in kinds for kind, _ in r.triggers):
                self.events.append(_Event(self.tag.delay(0), ("entry", r.index), None, -1))


# -- order ----------------------------------------------------------------------------------------------------------


def in_order(graph):
    """All reactions, each after those it depends on; of those that could come next always the one written first."""
    waiting = list(graph.reactions)
    reached = {r.index: reachable(graph, r.effects) for r in waiting}
    before = {r.index: {e.index for e in waiting if must_precede(graph, e, r, reached[e.index])} for r in waiting}
    order = []
    while waiting:
        ready = next(r for r in waiting if not any(w.index in before[r.index] for w in waiting if w is not r))
        waiting.remove(ready)
        order.append(ready)
    return order


def must_precede(graph, first, second, reached):
    reads = {index for kind, index in second.triggers if kind == "port"} | set(second.uses)
    if first is not second and reads & reached:
        return True
    if first.reactor != second.reactor or first.declaration is None or second.declaration is None:
        return False
    return first.number < second.number and not exclusive(graph, first, second)


def reachable(graph, channels):
    found = set(channels)
    while more := {e.destination for e in graph.edges if e.after is None and e.source in found} - found:
        found |= more
    return found


def exclusive(graph, a, b):
    """Reactions of one reactor in different modes of it are never active together; shutdown reactions may be."""
    own = [graph.modes[r.mode].reactor == r.reactor if r.mode >= 0 else False for r in (a, b)]
    ends = any(kind == "shutdown" for r in (a, b) for kind, _ in r.triggers)
    return all(own) and a.mode != b.mode and not ends
