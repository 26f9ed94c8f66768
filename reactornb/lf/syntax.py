"""The abstract syntax of a Lingua Franca program: what was written, and where, as plain data.

`parse` makes these records, the builder turns them into the declarations that Python code makes. They know nothing of reactors at
run time, and no name in them has been looked up. Positions do not take part in comparison: two programs that differ only in layout
are equal. Names, hosts and types are strings; what is absent is None, or an empty tuple where there could be several.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place in the source.

    Attributes:
        line: where it starts, from 1.
        column: where it starts in that line, in characters, from 1.
    """

    line: int = field(kw_only=True, compare=False, repr=False)
    column: int = field(kw_only=True, compare=False, repr=False)


# ---------------------------------------------------------------- pieces


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name written where only its place distinguishes it from a string: a superclass, a mode, an imported reactor."""

    text: str


@dataclass(frozen=True, slots=True)
class Code(Node):
    """Target code between `{=` and `=}`, freed of the indentation its lines share.

    Attributes:
        text: the code, from its first line that is not blank; empty when there is none.
        line: the line of the source on which `text` starts.
        column: the column of the source at which `text` starts.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Type(Node):
    """A type. Python bodies do not need it; `text == "time"` is the one that the language itself understands."""

    text: str


@dataclass(frozen=True, slots=True)
class VarRef(Node):
    """A port, action, timer, mode or watchdog, as reactions and connections name it.

    Attributes:
        variable: its name.
        container: the contained reactor it belongs to, if any.
        interleaved: written `interleaved(container.variable)`.
        alias: the name after `as`.
    """

    variable: str
    container: str | None = None
    interleaved: bool = False
    alias: str | None = None


# ---------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number, string or truth value."""

    value: int | float | str | bool


@dataclass(frozen=True, slots=True)
class Time(Node):
    """A time with its unit, or `forever` or `never` (their values in `reactornb.tags`). A bare 0 is a Literal."""

    value_ns: int


@dataclass(frozen=True, slots=True)
class ParamRef(Node):
    """A parameter of the enclosing reactor."""

    name: str


@dataclass(frozen=True, slots=True)
class ListExpr(Node):
    """Several expressions in brackets.

    Attributes:
        items: the expressions.
        bracket: which bracket opens it: "[", "{" or "(".
    """

    items: tuple[Expression, ...]
    bracket: str = "["


Expression = Literal | Time | ParamRef | Code | ListExpr


@dataclass(frozen=True, slots=True)
class WidthOf(Node):
    """`widthof(port)`."""

    port: VarRef


WidthTerm = Literal | ParamRef | Code | WidthOf


@dataclass(frozen=True, slots=True)
class Width(Node):
    """The width of a multiport or bank: the sum of its terms. No terms (`[]`) leaves it open."""

    terms: tuple[WidthTerm, ...]


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """`name = value`, where a reactor is instantiated."""

    name: str
    value: Expression


# ---------------------------------------------------------------- attributes


@dataclass(frozen=True, slots=True)
class AttributeArg(Node):
    """One argument of an attribute: a value, a named value, or a bare name (value None)."""

    name: str | None
    value: Literal | Time | None


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`@name(args)`, written before what it applies to."""

    name: str
    args: tuple[AttributeArg, ...] = ()


# ---------------------------------------------------------------- the target


@dataclass(frozen=True, slots=True)
class Property(Node):
    """One target property."""

    name: str
    value: PropertyValue


@dataclass(frozen=True, slots=True)
class PropertyMap(Node):
    """`{ name: value, … }`."""

    items: tuple[Property, ...]


@dataclass(frozen=True, slots=True)
class PropertyList(Node):
    """`[ value, … ]`."""

    items: tuple[PropertyValue, ...]


PropertyValue = Literal | Time | PropertyMap | PropertyList
"""A bare word or path is a Literal string: `files: a.py` and `files: "a.py"` say the same."""


@dataclass(frozen=True, slots=True)
class Target(Node):
    """`target Python { … }`."""

    name: str
    properties: tuple[Property, ...] = ()


# ---------------------------------------------------------------- what a reactor holds


@dataclass(frozen=True, slots=True)
class Preamble(Node):
    """Code that runs once. `visibility` is "public", "private" or None."""

    code: Code
    visibility: str | None = None


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """A parameter of a reactor, or (never with `init`) an argument of a method."""

    name: str
    type: Type | None = None
    init: Expression | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class State(Node):
    """A state variable; `reset` when entering its mode by reset gives it its first value again."""

    name: str
    type: Type | None = None
    init: Expression | None = None
    reset: bool = False
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Method(Node):
    """A method of the reactor's class."""

    name: str
    params: tuple[Parameter, ...]
    code: Code
    returns: Type | None = None
    const: bool = False


@dataclass(frozen=True, slots=True)
class Input(Node):
    """An input port; with a width, a multiport."""

    name: str
    type: Type | None = None
    width: Width | None = None
    mutable: bool = False
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Output(Node):
    """An output port; with a width, a multiport."""

    name: str
    type: Type | None = None
    width: Width | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Timer(Node):
    """A timer; no offset is 0, no period is once."""

    name: str
    offset: Expression | None = None
    period: Expression | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Action(Node):
    """An action. `origin` is "logical", "physical" or None; `policy` the string as written, not checked."""

    name: str
    origin: str | None = None
    min_delay: Expression | None = None
    min_spacing: Expression | None = None
    policy: str | None = None
    type: Type | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class ModeChange(Node):
    """An effect `reset(Mode)` or `history(Mode)`. A mode named bare is a VarRef, and means reset."""

    kind: str
    mode: str


@dataclass(frozen=True, slots=True)
class Builtin(Node):
    """A trigger `startup`, `shutdown` or `reset`."""

    kind: str


Trigger = Builtin | VarRef
Effect = VarRef | ModeChange


@dataclass(frozen=True, slots=True)
class Deadline(Node):
    """`deadline(delay) {= code =}`."""

    delay: Expression
    code: Code


@dataclass(frozen=True, slots=True)
class Late(Node):
    """The handler for a message that came after its tag.

    Attributes:
        keyword: "STP", "STAA" or "tardy", as written.
        offset: the time to wait, with STP and STAA.
        code: the handler; a bare `tardy` has none.
    """

    keyword: str
    offset: Expression | None
    code: Code | None


@dataclass(frozen=True, slots=True)
class Reaction(Node):
    """A reaction, or a mutation. Without `code` it only declares what a body elsewhere (`@_c_body`, a subclass) does."""

    triggers: tuple[Trigger, ...]
    sources: tuple[VarRef, ...] = ()
    effects: tuple[Effect, ...] = ()
    code: Code | None = None
    name: str | None = None
    late: Late | None = None
    deadline: Deadline | None = None
    mutation: bool = False
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Watchdog(Node):
    """A watchdog."""

    name: str
    timeout: Expression
    code: Code
    effects: tuple[Effect, ...] = ()
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance(Node):
    """A contained reactor; with a width, a bank of them."""

    name: str
    reactor: str
    args: tuple[Argument, ...] = ()
    width: Width | None = None
    type_args: tuple[Type, ...] = ()
    host: str | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Connection(Node):
    """A connection.

    Attributes:
        left: the ports it comes from.
        right: the ports it goes to.
        physical: written `~>`.
        iterated: written `(left)+`: the left side is repeated until the right side is served.
        delay: the expression behind `after`.
        serializer: its name, for federations.
    """

    left: tuple[VarRef, ...]
    right: tuple[VarRef, ...]
    physical: bool = False
    iterated: bool = False
    delay: Expression | None = None
    serializer: str | None = None
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Mode(Node):
    """A mode and what belongs to it. Never holds ports, methods, preambles or modes. The grammar lets it go without a name."""

    name: str | None
    initial: bool
    body: tuple[Member, ...]


Member = (
    Preamble | State | Method | Input | Output | Timer | Action | Watchdog | Instance | Connection | Reaction | Mode
)


# ---------------------------------------------------------------- the file


@dataclass(frozen=True, slots=True)
class ImportedName(Node):
    """A reactor class named in an import, and what it is called here."""

    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import A, B as C from "path"`; `package` when the path stands in angle brackets."""

    names: tuple[ImportedName, ...]
    path: str
    package: bool = False


@dataclass(frozen=True, slots=True)
class Reactor(Node):
    """A reactor class.

    Attributes:
        name: None only when `kind` is given.
        kind: "main", "federated" or None.
        realtime: declared `realtime`.
        type_params: the generic parameters, as text.
        params: the parameters, in the order written.
        host: where it runs, behind `at`.
        extends: the classes it inherits from.
        body: everything it holds, in the order written: the order of its reactions is their priority.
    """

    name: str | None
    body: tuple[Member, ...]
    kind: str | None = None
    realtime: bool = False
    type_params: tuple[Type, ...] = ()
    params: tuple[Parameter, ...] = ()
    host: str | None = None
    extends: tuple[Name, ...] = ()
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Program(Node):
    """One file, or one cell."""

    file: str
    target: Target | None
    imports: tuple[Import, ...]
    preambles: tuple[Preamble, ...]
    reactors: tuple[Reactor, ...]
