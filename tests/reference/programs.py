"""Random legal reactor programs, as Python text: what a failing example shows is a program that can be run by itself.

A program is a few classes, each made of those before it: reactors with timers, actions, modes, state and several reactions;
containers with children, banks (also of containers with banks), connections with and without delay, inside modes and outside.
Bodies are one function, `behave`: what a reaction writes, schedules and enters is a hash of everything it can see.
Programs stay within the scopes of Lingua Franca; a few are refused at assembly (loops), as they should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

import reactornb
from reactornb import ns

__all__ = ["Drawn", "behave", "make", "programs"]

LAST_MICROSTEP = 6  # bodies do nothing later than this at one time, so that every time ends
MASK = (1 << 64) - 1


# -- bodies ---------------------------------------------------------------------------------------------------------


def mix(h, value):
    h = ((h ^ value) * 0x9E3779B97F4A7C15 + 1) & MASK
    return h ^ (h >> 29)


def flat(handles):
    for handle in handles:
        if isinstance(handle, (list, tuple)):
            yield from flat(handle)
        else:
            yield handle


# What `behave` was called for, where somebody wants to know without the run recording anything.
seen: list | None = None


def behave(self, salt, reads, sets=(), schedules=(), enters=(), stops=0, states=()):
    """Write, schedule and change modes as a hash of tag, state and `reads` says.

    Args:
        reads: ports, actions and timers.
        sets, schedules, enters: ports, actions and modes, each with a likelihood in percent.
        stops: likelihood of a stop request, per thousand.
        states: names of further state variables.
    """
    time_ns, microstep = self.tag
    h = mix(mix(mix(salt, time_ns), microstep), 31 * self.bank_index + self.k)
    for name in ("x", *states):
        h = mix(h, getattr(self, name))
    for handle in flat(reads):
        h = mix(h, 2 * (handle.value or 0) + handle.is_present)
    for name in ("x", *states):
        setattr(self, name, h & 0xFFFF)
    if seen is not None:
        seen.append((time_ns, microstep, self.full_name, salt, h))
    if microstep > LAST_MICROSTEP:
        return
    for handle in flat([port for port, _ in sets]):
        h = mix(h, handle.is_present)
    for target, percent in sets:
        for port in flat([target]):
            h = mix(h, 1)
            if h % 100 < percent:
                port.set(h >> 8 & 0xFFF)
                if h >> 32 & 7 == 0:
                    port.set(h >> 9 & 0xFFF)
    for action, percent in schedules:
        for _ in range(2):
            h = mix(h, 2)
            if h % 100 < percent:
                action.schedule(ns((0, 0, 1, 2, 3)[(h >> 8) % 5]), h >> 16 & 0xFFF)
    for mode, percent in enters:
        h = mix(h, 3)
        if h % 100 < percent:
            mode.set(history=bool(h >> 8 & 1))
    h = mix(h, 4)
    if h % 1000 < stops:
        self.request_stop()


def make(source):
    """The root class of a drawn program."""
    names = {name: getattr(reactornb, name) for name in reactornb.__all__}
    names.update(behave=behave, __name__="drawn")
    exec(compile(source, "<drawn>", "exec"), names)
    return names["Main"]


# -- drawing --------------------------------------------------------------------------------------------------------


@dataclass
class Drawn:
    """A program and how to run it."""

    source: str
    timeout: int
    fast: bool

    def __repr__(self):
        return f"\n{self.source}\n# timeout={self.timeout} fast={self.fast}\n"


@dataclass
class End:
    """Something that can stand in a connection or reaction, with its number of channels."""

    text: str
    width: int
    child: int = -1  # position among the children of one container; -1: the reactor's own
    argument: str = ""  # parameter of a reaction
    read: str = ""  # how a body reaches it


@dataclass
class Scope:
    """The reactor's own level, or one of its modes."""

    mode: str = ""
    timers: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    outputs: list[End] = field(default_factory=list)  # of children
    inputs: list[End] = field(default_factory=list)  # of children, for reactions to write


@dataclass
class Shape:
    """A finished class, as its users see it."""

    name: str
    inputs: dict[str, int | None]
    outputs: dict[str, int | None]
    reactions: int
    depth: int
    scopes: list[Scope]
    count: int  # reactions written in it and its bases


class _Class:
    """One class while it is drawn."""

    def __init__(self, below, name, shapes, *, container, root):
        self.below = below
        self.name = name
        self.container = container
        self.root = root
        self.shapes = shapes
        self.lines: list[str] = []
        self.late: list[tuple[str, list[str]]] = []  # (mode, lines), to be mixed
        self.base: Shape | None = None
        self.inputs: dict[str, int | None] = {}
        self.outputs: dict[str, int | None] = {}
        self.scopes = [Scope()]
        self.reactions = 0
        self.depth = 0
        self.count = 0
        self.children = 0
        self.inherited: set[str] = set()

    def chance(self, percent):
        return self.below(100) < percent

    def one(self, items):
        return items[self.below(len(items))]

    def some(self, items, percent):
        return [item for item in items if self.chance(percent)]

    def delay(self):
        return self.one([0, 0, 1, 2, 3])

    def draw(self):
        if not self.container and not self.root and self.chance(20):
            leaves = [s for s in self.shapes if s.depth == 0 and s.count < 5]
            if leaves:
                self.extend(self.one(leaves))
        self.lines.append(f'"""{"A reactor" if self.base is None else "More of the same"}."""')
        if self.base is None:
            self.lines += ["k: int = 1", "x = State(0)"]
        self.ports()
        if self.base is None and self.chance(45):
            modes = [f"m{i}" for i in range(2 + self.chance(30))]
            declared = ", ".join(f"Mode({'initial=True' if i == 0 else ''})" for i in range(len(modes)))
            self.lines.append(f"{', '.join(modes)} = {declared}")
            self.scopes += [Scope(mode) for mode in modes]
        for scope in self.scopes:
            self.own(scope)
        if self.container:
            self.contain()
        self.connect()
        for scope in self.scopes:
            least = 1 if self.base is None and (scope.mode or not self.container) else 0
            for i in range(least + self.below(3)):
                self.reaction(scope, first=i == 0)
        self.mingle()
        base = self.base.name if self.base else "Reactor"
        text = "\n".join([f"class {self.name}({base}):", *("    " + line for line in self.lines), ""])
        return text, Shape(self.name, self.inputs, self.outputs, self.reactions, self.depth, self.scopes, self.count)

    def extend(self, base):
        self.base = base
        self.inputs, self.outputs = dict(base.inputs), dict(base.outputs)
        self.reactions, self.count = base.reactions, base.count
        self.scopes = [Scope(s.mode, list(s.timers), list(s.actions), list(s.states)) for s in base.scopes]
        self.inherited = {*base.inputs, *base.outputs}
        for s in base.scopes:
            self.inherited |= {s.mode, *s.timers, *s.actions}

    def ref(self, name):
        """A name of this class or of its base, as the class body can write it."""
        return f"{self.base.name}.{name}" if name in self.inherited else name

    def ports(self):
        if self.root:
            return
        for kind, ports, letter in (("Input", self.inputs, "i"), ("Output", self.outputs, "o")):
            for _ in range(self.below(3) if self.base is None else self.below(2)):
                name = f"{letter}{len(ports)}"
                ports[name] = self.one([None, None, None, 1, 2, 3])
                width = "" if ports[name] is None else f"width={ports[name]}"
                self.lines.append(f"{name} = {kind}({width})")

    def own(self, scope):
        """Timers, actions and state of one scope."""
        lines = []
        tag = scope.mode or "r"
        more = "b" if self.base else ""
        for i in range((self.below(3) if scope.mode else 1 + self.below(2)) if self.base is None else self.below(2)):
            name = f"t_{tag}{more}{i}"
            period = self.one(["0", "0", "ns(1)", "ns(2)", "ns(3)", "ns(5)", "lambda self: ns(self.k)"])
            lines.append(f"{name} = Timer(ns({self.one([0, 0, 0, 1, 2, 4])}), {period})")
            scope.timers.append(name)
        for i in range(self.below(3) if not self.base else self.below(2)):
            name = f"a_{tag}{more}{i}"
            spacing = self.one([None, None, 0, 1, 2, 3])
            policy = self.one(["defer", "drop", "replace", "update"])
            arguments = "" if spacing is None else f', ns({spacing}), "{policy}"'
            lines.append(f"{name} = LogicalAction(ns({self.one([0, 0, 1, 2])}){arguments})")
            scope.actions.append(name)
        if not self.base and self.chance(30):
            name = f"y_{tag}"
            lines.append(f"{name} = State({self.below(5)}, reset={self.chance(70)})")
            scope.states.append(name)
        self.inside(scope, lines)

    def inside(self, scope, lines):
        if scope.mode and lines:
            self.lines.append(f"with {self.ref(scope.mode)}:")
            self.lines += ["    " + line for line in lines]
        else:
            self.lines += lines

    def contain(self):
        for scope in self.scopes:
            for _ in range(self.below(3) + (1 if scope is self.scopes[0] and len(self.scopes) == 1 else 0)):
                shape = self.one(self.shapes)
                width = self.one([None, None, None, 1, 2, 3])
                if self.reactions + shape.reactions * (width or 1) > 30:
                    continue
                self.reactions += shape.reactions * (width or 1)
                self.depth = max(self.depth, shape.depth + 1)
                name = f"c{self.children}"
                k = self.one(["", "", ", k=2", ", k=3"])
                if width is None:
                    made = f"{shape.name}({k[2:]})"
                else:
                    k = ", k=per_member(lambda i: i + 1)" if self.chance(30) else k
                    made = f"Bank({shape.name}, {width}{k})"
                self.inside(scope, [f"{name} = {made}"])
                for port, channels in shape.outputs.items():
                    scope.outputs += self.child_ends(name, port, channels, width)
                for port, channels in shape.inputs.items():
                    scope.inputs += self.child_ends(name, port, channels, width)
                self.children += 1

    def child_ends(self, name, port, channels, width):
        each = channels or 1
        if width is None:
            return [End(f"{name}.{port}", each, self.children, name, f"{name}.{port}")]
        if self.chance(25):
            return [End(f"{name}[{i}].{port}", each, self.children, name, f"{name}[{i}].{port}") for i in range(width)]
        turned = ".interleaved" if self.chance(30) else ""
        return [End(f"{name}.{port}{turned}", each * width, self.children, name, f"[v.{port} for v in {name}]")]

    # -- connections ------------------------------------------------------------------------------------------------

    def own_ends(self, ports):
        return [End(self.ref(name), width or 1, -1, name, name) for name, width in ports.items()]

    def connect(self):
        """Decide for every port that can be written here who writes it: a connection, one in each of some modes, or reactions."""
        outer, *modes = self.scopes
        self.writable = {scope.mode: [] for scope in self.scopes}
        if self.base is not None:
            for scope in self.scopes:
                self.writable[scope.mode] = self.own_ends(self.outputs)
            return
        for end in [*self.own_ends(self.outputs), *outer.inputs]:
            way = self.below(10)
            if way < 5 and self.container and self.connection(outer, end):
                continue
            if way in (5, 6) and self.container and modes:
                for scope in modes:
                    if not (self.chance(70) and self.connection(scope, end)):
                        self.writable[scope.mode].append(end)
                continue
            for scope in self.scopes:
                self.writable[scope.mode].append(end)
        for scope in modes:
            for end in scope.inputs:
                if not (self.chance(60) and self.connection(scope, end)):
                    self.writable[scope.mode].append(end)

    def connection(self, scope, end):
        visible = [*self.own_ends(self.inputs), *self.scopes[0].outputs]
        if scope.mode:
            visible += scope.outputs
        exact = [e for e in visible if e.width == end.width]
        fitting = exact + [e for e in visible if e.width == 1 and end.width > 1]
        if len(visible) > 1:
            a, b = self.one(visible), self.one(visible)
            if a.width + b.width == end.width:
                fitting.append(End(f"[{a.text}, {b.text}]", end.width, max(a.child, b.child)))
        if not fitting:
            return False
        source = self.one(fitting)
        forward = source.child < 0 or end.child < 0 or source.child < end.child
        after = self.one([None, None, None, 0, 0, 1, 2, 3]) if forward or self.chance(10) else self.delay()
        more = "" if after is None else f", after=ns({after})"
        self.inside(scope, [f"connect({source.text}, {end.text}{more})"])
        return True

    # -- reactions --------------------------------------------------------------------------------------------------

    def reaction(self, scope, first):
        outer = self.scopes[0]
        scopes = [outer] if scope is outer else [outer, scope]
        own_inputs = self.own_ends(self.inputs)
        timers = [End(self.ref(t), 1, -1, t, t) for s in scopes for t in s.timers]
        actions = [End(self.ref(a), 1, -1, a, a) for s in scopes for a in s.actions]
        contained = [e for s in scopes for e in s.outputs]
        builtin = [End("startup", 1), End("shutdown", 1), End("reset", 1)]
        likely = [*timers, *actions, *own_inputs, *contained]
        triggers = [self.one(likely) if likely and not self.chance(12) else self.one(builtin)]
        while self.chance(35):
            triggers.append(self.one([*likely, *builtin]))
        triggers = list({e.text: e for e in triggers}.values())
        texts = {e.text for e in triggers}
        reads = [e for e in triggers if e.argument]
        uses = [e for e in self.some(own_inputs, 25) if e.text not in texts]
        child_uses = [e for e in self.some(contained, 15) if e.text not in texts]
        last = max([e.child for e in [*reads, *child_uses]], default=-1)
        sets = [
            e
            for e in self.writable[scope.mode]
            if self.chance(60) and (e.child < 0 or e.child > last or self.chance(8))
        ]
        child_effects = [e for e in sets if e.child >= 0]
        schedules = self.some(actions, 40)
        modes = [s.mode for s in self.scopes[1:]]
        enters = self.some(modes, 40) if scope.mode else []
        if scope.mode and first and self.base is None:  # a mode that cannot be reached is refused
            enters = list(dict.fromkeys([*enters, modes[(modes.index(scope.mode) + 1) % len(modes)]]))
        states = [y for s in scopes for y in s.states if self.chance(60)]
        arguments = dict.fromkeys([*(e.argument for e in (*reads, *uses, *child_uses, *sets, *schedules)), *enters])
        decorator = [e.text for e in triggers]
        for word, ends in (("uses", child_uses), ("effects", child_effects)):
            if ends:
                decorator.append(f"{word}=({', '.join(e.text for e in ends)},)")
        if self.chance(8):
            decorator.append(f"deadline=ns({self.below(3)})")
        call = [f"[{', '.join(e.read for e in (*reads, *uses, *child_uses))}]"]
        for word, items in (
            ("sets", [e.read for e in sets]), ("schedules", [e.read for e in schedules]), ("enters", enters),
        ):  # fmt: skip
            if items:
                call.append(f"{word}=[{', '.join(f'({i}, {self.one([30, 50, 70, 95])})' for i in items)}]")
        if self.chance(4):
            call.append(f"stops={self.one([30, 200])}")
        if states:
            call.append(f"states={tuple(states)!r}")
        inherited = self.base is not None and self.chance(15)
        name = f"r{self.below(self.base.count)}" if inherited else f"r{self.count}"
        if inherited and any(line.startswith(f"def {name}(") for _, lines in self.late for line in lines):
            return
        if not inherited:
            self.count += 1
            self.reactions += 1
        self.late.append((
            scope.mode,
            [
                f"@reaction({', '.join(decorator)})",
                f"def {name}({', '.join(['self', *arguments])}):",
                f"    behave(self, {self.below(1000)}, {', '.join(call)})",
            ],
        ))  # fmt: skip

    def mingle(self):
        """Reactions of all scopes in any order; the order within a reactor is part of what a program means."""
        rest = list(self.late)
        while rest:
            mode, lines = rest.pop(self.below(len(rest)) if self.chance(50) else 0)
            if mode:
                self.lines += [f"with {self.ref(mode)}:", *("    " + line for line in lines)]
            else:
                self.lines += lines


def draw_program(below):
    """A program; `below(n)` gives a number from 0 to n - 1."""
    shapes: list[Shape] = []
    texts = []
    layers = [1 + below(3), below(3), below(2)]
    for depth, number in enumerate(layers):
        for _ in range(number):
            made = _Class(below, f"R{len(shapes)}", shapes, container=depth > 0, root=False)
            text, shape = made.draw()
            texts.append(text)
            shapes.append(shape)
    text, _ = _Class(below, "Main", shapes, container=True, root=True).draw()
    return Drawn("\n".join([*texts, text]), below(16), below(2) == 1)


@st.composite
def programs(draw):
    """Random programs."""
    return draw_program(lambda n: draw(st.integers(0, n - 1)) if n > 1 else 0)
