"""Random legal Lingua Franca programs: as syntax trees, and the text that must parse to them.

`programs()` draws trees, `write` puts one into text. Trees compare without their places, so `parse(write(tree)) == tree` is the property.
The text is made of tokens, between which `write` puts whatever layout it is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from hypothesis import strategies as st

from reactornb.lf import syntax as ast
from reactornb.tags import forever, never

KEYWORDS = frozenset(
    """STAA STP action after as at const deadline extends false federated forever from history import initial input interleaved logical main
    method mode mutable mutation never new output physical preamble private public reaction reactor realtime reset serializer shutdown
    startup state tardy target timer true watchdog widthof""".split()  # noqa: SIM905 - a paragraph of words
) | {"False", "True"}
AT = {"line": 0, "column": 0}

LAYOUTS = (" ", "\n", "  \t", " // {= \" ' }\n", " /* timer\n */ ", " # it's\n", "\n''' new\n'''\n")

# Bodies that end where only strings and comments can say; the first line of each has the least indentation.
CODES = (
    "",
    "x = 1",
    "self.n += {'a': 1}['a']",
    "if x:\n    pass\n\n\nelse:\n\ty = 2",
    "a = '=}'\nb = \"{= =}\"\nc = '''\n=}'''",
    "pass  # don't =}\npass",
    'f"{n=}"',
    "q = n // 2",
    'print("unbalanced: \'{")',
    '"""doc\n\n=} \\""" """',
)
TYPES = ("int", "time", "std::vector<int>", "a.b.C", "int*", "float[]", "char[3]", "m<a, b<c>>**[2]")
CODE_TYPES = ("list[int]", "dict[str, tuple[int, ...]]")
WORDS = ("true-ish", "../include/a.py", "centralized", "a/b.c", "a_b")


# Drawn from lists, since hypothesis takes ten times as long for patterns: units of time, exponents, and what begins like a keyword.
names = st.sampled_from(("a", "Bc", "_", "s", "ms", "e5", "news", "state1", "inputs", "time", "x_1", "Main"))
kebabs = st.sampled_from(("fast", "time-out", "a-b-c", "timer", "x1", "true-ish", "at"))
codes = st.sampled_from(CODES).map(lambda text: ast.Code(text, **AT))
types = st.sampled_from(TYPES + CODE_TYPES).map(lambda text: ast.Type(text, **AT))
hosts = st.sampled_from(("localhost", "10.0.0.1:8080", "user@some-host.org:80", "[::1]", "fe80::7:8%1"))
characters = st.characters(exclude_categories=("Cs",))
strings = st.text(characters, max_size=8)


def node(kind: type, *parts: st.SearchStrategy, **named: st.SearchStrategy) -> st.SearchStrategy:
    """A strategy for a kind of node from those for its fields."""
    return st.builds(lambda *a, **k: kind(*a, **k, **AT), *parts, **named)


def tuples(of: st.SearchStrategy, least: int = 0, most: int = 2) -> st.SearchStrategy:
    return st.lists(of, min_size=least, max_size=most).map(tuple)


def maybe(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | of


naturals = node(ast.Literal, st.integers(0, 10**12))
numbers = node(ast.Literal, st.integers(-(10**20), 10**20) | st.integers(-(10**9), 10**9).map(lambda n: n / 1000))
literals = numbers | node(ast.Literal, strings | st.booleans())
times = node(ast.Time, st.integers(0, 10**15) | st.sampled_from((forever, never)))
params = node(ast.ParamRef, names)
expressions = st.recursive(
    literals | times | params | codes,
    lambda inner: node(ast.ListExpr, tuples(inner), st.sampled_from("[{(")),
    max_leaves=4,
)
refs = node(ast.VarRef, names, maybe(names), st.booleans(), maybe(names))
widths = node(ast.Width, tuples(naturals | params | codes | node(ast.WidthOf, refs)))
attributes = tuples(
    node(
        ast.Attribute,
        names,
        tuples(node(ast.AttributeArg, maybe(names), literals | times) | node(ast.AttributeArg, names, st.none())),
    ),
    most=2,
)
effects = tuples(refs | node(ast.ModeChange, st.sampled_from(("reset", "history")), names))
lates = node(ast.Late, st.sampled_from(("STP", "STAA")), expressions, codes)
lates |= node(ast.Late, st.just("tardy"), st.none(), maybe(codes))


@st.composite
def actions(draw: st.DrawFn) -> ast.Action:
    delay = draw(maybe(expressions))
    spacing = draw(maybe(expressions)) if delay else None
    policy = draw(maybe(st.sampled_from(("defer", "drop", "replace", "update")))) if spacing else None
    origin = draw(st.sampled_from(("logical", "physical", None)))
    return ast.Action(draw(names), origin, delay, spacing, policy, draw(maybe(types)), draw(attributes), **AT)


@st.composite
def timers(draw: st.DrawFn) -> ast.Timer:
    offset = draw(maybe(expressions))
    return ast.Timer(draw(names), offset, draw(maybe(expressions)) if offset else None, draw(attributes), **AT)


states = node(ast.State, names, maybe(types), maybe(expressions), st.booleans(), attributes)
reactions = node(
    ast.Reaction,
    tuples(refs | node(ast.Builtin, st.sampled_from(("startup", "shutdown", "reset")))),
    tuples(refs),
    effects,
    maybe(codes),
    maybe(names),
    maybe(lates),
    maybe(node(ast.Deadline, expressions, codes)),
    st.booleans(),
    attributes,
)
watchdogs = node(ast.Watchdog, names, expressions, codes, effects, attributes)
arguments = node(ast.Argument, names, expressions)
instances = node(ast.Instance, names, names, tuples(arguments), maybe(widths), tuples(types), maybe(hosts), attributes)
connections = node(
    ast.Connection,
    tuples(refs, 1),
    tuples(refs, 1),
    st.booleans(),
    st.booleans(),
    maybe(expressions),
    maybe(strings),
    attributes,
)
inner = states | timers() | actions() | watchdogs | instances | connections | reactions
ports = node(ast.Input, names, maybe(types), maybe(widths), st.booleans(), attributes)
ports |= node(ast.Output, names, maybe(types), maybe(widths), attributes)
methods = node(ast.Method, names, tuples(node(ast.Parameter, names, maybe(types))), codes, maybe(types), st.booleans())
modes = node(ast.Mode, maybe(names), st.booleans(), tuples(inner))
preambles = node(ast.Preamble, codes, st.sampled_from(("public", "private", None)))
parameters = node(ast.Parameter, names, maybe(types), maybe(expressions), attributes)


@st.composite
def reactors(draw: st.DrawFn) -> ast.Reactor:
    kind = draw(st.sampled_from(("main", "federated", None)))
    return ast.Reactor(
        draw(names) if kind is None else draw(maybe(names)),
        draw(tuples(inner | ports | methods | modes | preambles, most=4)),
        kind,
        draw(st.booleans()),
        draw(tuples(node(ast.Type, st.sampled_from(("T", "T extends A", "A B"))))),
        draw(tuples(parameters)),
        draw(maybe(hosts)),
        draw(tuples(node(ast.Name, names))),
        draw(attributes),
        **AT,
    )


values = st.recursive(
    literals | times | node(ast.Literal, st.sampled_from(WORDS)),
    lambda of: node(ast.PropertyList, tuples(of)) | node(ast.PropertyMap, tuples(node(ast.Property, kebabs, of))),
    max_leaves=4,
)
targets = node(ast.Target, st.just("Python"), tuples(node(ast.Property, kebabs, values)))
imports = node(ast.Import, tuples(node(ast.ImportedName, names, names), 1), strings) | node(
    ast.Import,
    tuples(node(ast.ImportedName, names, names), 1),
    st.sampled_from(("lib/A.lf", "a-b_1.0/src/B.lf")),
    st.just(value=True),
)


def programs() -> st.SearchStrategy[ast.Program]:
    """Legal programs, with the file name "f.lf"."""
    return node(
        ast.Program, st.just("f.lf"), maybe(targets), tuples(imports), tuples(preambles, most=2), tuples(reactors(), 1)
    )


# ---------------------------------------------------------------- trees to text


def write(tree: ast.Program, layout: Sequence[str] = (" ",)) -> str:
    """The text of a program.

    Args:
        tree: the program.
        layout: what to put between its tokens, in turn; each begins or ends with white space.
    """
    return "".join(itertools.chain.from_iterable(zip(tokens(tree), itertools.cycle(layout), strict=False)))


def tokens(tree: ast.Program) -> Iterator[str]:
    """The tokens of a program."""
    if tree.target:
        yield from ("target", tree.target.name)
        if tree.target.properties:
            yield from _value(ast.PropertyMap(tree.target.properties, **AT))
    for part in tree.imports:
        yield "import"
        yield from _list(
            ((name.name, "as", name.alias) if name.alias != name.name else (name.name,)) for name in part.names
        )
        yield "from"
        yield from ("<", part.path, ">") if part.package else (_string(part.path),)
    for part in (*tree.preambles, *tree.reactors):
        yield from _declaration(part)


def _list(parts: Iterable[Iterable[str]], comma: str = ",") -> Iterator[str]:
    for at, part in enumerate(parts):
        if at:
            yield comma
        yield from part


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _code(code: ast.Code) -> str:
    if "\n" not in code.text and "#" not in code.text:
        return f"{{= {code.text} =}}"
    lines = [f"      {line}" if line else line for line in code.text.split("\n")]
    return "\n".join(("{=", "", *lines, "    =}"))


def _type(kind: ast.Type) -> str:
    return f"{{= {kind.text} =}}" if kind.text in CODE_TYPES else kind.text


def _value(value: object) -> Iterator[str]:
    match value:
        case ast.Literal(str(text)):
            yield text if text in WORDS else _string(text)
        case ast.Literal(bool(truth)):
            yield str(truth).lower()
        case ast.Literal(number):
            yield str(number)
        case ast.Time():
            yield {forever: "forever", never: "never"}.get(value.value_ns, f"{value.value_ns} ns")
        case ast.ParamRef(name):
            yield name
        case ast.Code():
            yield _code(value)
        case ast.WidthOf(port):
            yield from ("widthof", "(", *_ref(port), ")")
        case ast.ListExpr(items, bracket):
            yield from (bracket, *_list(map(_value, items)), {"[": "]", "{": "}", "(": ")"}[bracket])
        case ast.PropertyList(items):
            yield from ("[", *_list(map(_value, items)), "]")
        case ast.PropertyMap(items):
            yield from (
                ("{", *_list((item.name, ":", *_value(item.value)) for item in items), ",", "}") if items else "{}"
            )


def _ref(ref: ast.VarRef | ast.Builtin | ast.ModeChange) -> Iterator[str]:
    match ref:
        case ast.Builtin(kind):
            yield kind
        case ast.ModeChange(kind, mode):
            yield from (kind, "(", mode, ")")
        case ast.VarRef():
            name = (ref.container, ".", ref.variable) if ref.container else (ref.variable,)
            yield from ("interleaved", "(", *name, ")") if ref.interleaved else name
            if ref.alias:
                yield from ("as", ref.alias)


def _typed(kind: ast.Type | None) -> tuple[str, ...]:
    return (":", _type(kind)) if kind else ()


def _given(value: object | None) -> tuple[str, ...]:
    return ("=", *_value(value)) if value is not None else ()


def _width(width: ast.Width | None) -> tuple[str, ...]:
    return ("[", *_list(map(_value, width.terms), "+"), "]") if width else ()


def _parameter(param: ast.Parameter) -> tuple[str, ...]:
    return (*_attributes(param), param.name, *_typed(param.type), *_given(param.init))


def _attributes(declared: object) -> Iterator[str]:
    for attribute in getattr(declared, "attributes", ()):
        yield from ("@", attribute.name, "(")
        for arg in attribute.args:
            if arg.value is None:
                yield arg.name
            else:
                yield from (*((arg.name, "=") if arg.name else ()), *_value(arg.value))
            yield ","
        yield ")"


def _flag(word: str, present: object) -> tuple[str, ...]:
    return (word,) if present else ()


def _effects(effects: tuple[ast.Effect, ...]) -> tuple[str, ...]:
    return ("->", *_list(map(_ref, effects))) if effects else ()


def _timing(*values: object) -> tuple[str, ...]:
    given = [value for value in values if value is not None]
    return ("(", *_list(map(_value, given)), ")") if given else ()


def _types(kinds: tuple[ast.Type, ...]) -> tuple[str, ...]:
    return ("<", *_list((_type(kind),) for kind in kinds), ">") if kinds else ()


def _declaration(part: object) -> Iterator[str]:
    yield from _attributes(part)
    match part:
        case ast.Preamble(code, visibility):
            yield from (*_flag(str(visibility), visibility), "preamble", _code(code))
        case ast.State():
            yield from (*_flag("reset", part.reset), "state", part.name, *_typed(part.type), *_given(part.init), ";")
        case ast.Input():
            yield from (*_flag("mutable", part.mutable), "input", *_width(part.width), part.name, *_typed(part.type))
        case ast.Output():
            yield from ("output", *_width(part.width), part.name, *_typed(part.type), ";")
        case ast.Timer():
            yield from ("timer", part.name, *_timing(part.offset, part.period), ";")
        case ast.Action():
            policy = ast.Literal(part.policy, **AT) if part.policy else None
            timing = _timing(part.min_delay, part.min_spacing, policy)
            yield from (*_flag(str(part.origin), part.origin), "action", part.name, *timing, *_typed(part.type), ";")
        case ast.Watchdog():
            yield from ("watchdog", part.name, *_timing(part.timeout), *_effects(part.effects), _code(part.code))
        case ast.Method():
            params = _list(map(_parameter, part.params))
            yield from (*_flag("const", part.const), "method", part.name, "(", *params, ")", *_typed(part.returns))
            yield _code(part.code)
        case ast.Reaction():
            yield from _reaction(part)
        case ast.Instance():
            yield from (part.name, "=", "new", *_width(part.width), part.reactor, *_types(part.type_args), "(")
            yield from (*_list((arg.name, *_given(arg.value)) for arg in part.args), ")")
            yield from (*(("at", part.host) if part.host else ()), ";")
        case ast.Connection():
            left = tuple(_list(map(_ref, part.left)))
            yield from ("(", *left, ")", "+") if part.iterated else left
            yield from ("~>" if part.physical else "->", *_list(map(_ref, part.right)))
            yield from (*_flag("after", part.delay), *(_value(part.delay) if part.delay else ()))
            yield from ("serializer", _string(part.serializer)) if part.serializer is not None else ()
            yield ";"
        case ast.Mode():
            yield from (*_flag("initial", part.initial), "mode", *_flag(str(part.name), part.name), "{")
            yield from itertools.chain.from_iterable(map(_declaration, part.body))
            yield "}"
        case ast.Reactor():
            yield from (*_flag("realtime", part.realtime), *_flag(str(part.kind), part.kind), "reactor")
            yield from (*_flag(str(part.name), part.name), *_types(part.type_params))
            yield from ("(", *_list(map(_parameter, part.params)), ")") if part.params else ()
            yield from ("at", part.host) if part.host else ()
            yield from ("extends", *_list((name.text,) for name in part.extends)) if part.extends else ()
            yield from ("{", *itertools.chain.from_iterable(map(_declaration, part.body)), "}")


def _reaction(part: ast.Reaction) -> Iterator[str]:
    yield from ("mutation" if part.mutation else "reaction", *_flag(str(part.name), part.name))
    yield from ("(", *_list(map(_ref, part.triggers)), ")", *_list(map(_ref, part.sources)), *_effects(part.effects))
    if part.code:
        yield _code(part.code)
    if part.late:
        yield part.late.keyword
        yield from _timing(part.late.offset)
        yield from (_code(part.late.code),) if part.late.code else ()
    if part.deadline:
        yield from ("deadline", *_timing(part.deadline.delay), _code(part.deadline.code))
    yield ";"
