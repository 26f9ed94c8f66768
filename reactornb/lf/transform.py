"""From lark's tree to the records of syntax.py: one method for each rule of grammar.lark, with the rule's parts as its arguments.

What a grammar cannot say is said here: which numbers, strings and times have a value, and which modifiers go together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lark import Token, Transformer, v_args
from lark.tree import Meta

from reactornb.errors import LFSyntaxError
from reactornb.lf import literals
from reactornb.lf import syntax as ast
from reactornb.tags import forever, never

_KEY = re.compile(r"[A-Za-z_]\w*(?:-\w+)*", re.ASCII)
_Decorated = ast.State | ast.Input | ast.Output | ast.Timer | ast.Action | ast.Watchdog | ast.Instance | ast.Connection
_Decorated |= ast.Reaction | ast.Reactor | ast.Parameter


class Place:
    """Where a rule stands in the text: from its first token to its last; a rule without tokens stands nowhere.

    Args:
        meta: lark's, which has attributes only where there are tokens.
    """

    __slots__ = ("column", "end_pos", "line", "start_pos")

    def __init__(self, meta: Meta) -> None:
        self.line: int = 1 if meta.empty else meta.line
        self.column: int = 1 if meta.empty else meta.column
        self.start_pos: int = 0 if meta.empty else meta.start_pos  # in characters of the text
        self.end_pos: int = 0 if meta.empty else meta.end_pos


def _with_place(method: Callable[..., Any], _rule: str, parts: list[Any], meta: Meta) -> Any:
    return method(Place(meta), *parts)


@v_args(wrapper=_with_place)
class ToSyntax(Transformer[Token, ast.Program]):
    """Makes the records of one text. Lark calls the methods bottom-up; `m` is the place of the rule."""

    def __init__(self, text: str, file: str) -> None:
        """Remember where the tree came from.

        Args:
            text: the text that was parsed; types are cut out of it as they were written.
            file: its name.
        """
        super().__init__()
        self._text = text
        self._file = file

    # ------------------------------------------------------------ terminals

    # Named after the terminals, for lark.

    def STRING(self, token: Token) -> ast.Literal:  # noqa: N802
        return ast.Literal(_value(literals.string, token), **_place(token))

    def INT(self, token: Token) -> ast.Literal:  # noqa: N802
        return ast.Literal(_value(literals.integer, token), **_place(token))

    NEGATIVE = INT

    def FLOAT(self, token: Token) -> ast.Literal:  # noqa: N802
        return ast.Literal(float(token), **_place(token))

    def BOOL(self, token: Token) -> ast.Literal:  # noqa: N802
        return ast.Literal(token in ("true", "True"), **_place(token))

    def TIME(self, token: Token) -> ast.Time:  # noqa: N802
        return ast.Time(_value(literals.time_ns, token), **_place(token))

    def FOREVER(self, token: Token) -> ast.Time:  # noqa: N802
        return ast.Time(forever, **_place(token))

    def NEVER(self, token: Token) -> ast.Time:  # noqa: N802
        return ast.Time(never, **_place(token))

    def WORD(self, token: Token) -> ast.Literal | ast.Time:  # noqa: N802
        if token in ("forever", "never"):
            return ast.Time(forever if token == "forever" else never, **_place(token))  # noqa: S105 - no password
        truth = {"true": True, "True": True, "false": False, "False": False}
        return ast.Literal(truth.get(token, str(token)), **_place(token))

    def CODE(self, token: Token) -> ast.Code:  # noqa: N802
        place = _place(token)
        text, line, column = literals.dedent(token[2:-2], place["line"], place["column"] + 2)
        return ast.Code(text, line=line, column=column)

    # ------------------------------------------------------------ the file

    def program(self, m: Place, target: ast.Target | None, *rest: Any) -> ast.Program:
        return ast.Program(
            self._file,
            target,
            imports=tuple(part for part in rest if isinstance(part, ast.Import)),
            preambles=tuple(part for part in rest if isinstance(part, ast.Preamble)),
            reactors=tuple(part for part in rest if isinstance(part, ast.Reactor)),
            line=m.line,
            column=m.column,
        )

    def target(self, m: Place, name: Token, properties: ast.PropertyMap | None) -> ast.Target:
        return ast.Target(str(name), properties.items if properties else (), line=m.line, column=m.column)

    def properties(self, m: Place, *items: ast.Property) -> ast.PropertyMap:
        return ast.PropertyMap(items, line=m.line, column=m.column)

    def property(self, m: Place, name: ast.Literal | ast.Time, value: ast.PropertyValue) -> ast.Property:
        if not (isinstance(name, ast.Literal) and isinstance(name.value, str) and _KEY.fullmatch(name.value)):
            written = self._text[m.start_pos :].split(":")[0].strip()
            raise LFSyntaxError(f"{written} is not the name of a target property", line=m.line, column=m.column)
        return ast.Property(name.value, value, line=m.line, column=m.column)

    def property_list(self, m: Place, *items: ast.PropertyValue) -> ast.PropertyList:
        return ast.PropertyList(items, line=m.line, column=m.column)

    def imported(self, m: Place, name: Token, alias: Token | None) -> ast.ImportedName:
        return ast.ImportedName(str(name), str(alias or name), line=m.line, column=m.column)

    def import_statement(self, m: Place, *parts: Any) -> ast.Import:
        *names, path = parts
        package = isinstance(path, Token)
        return ast.Import(tuple(names), str(path if package else path.value), package, line=m.line, column=m.column)

    def preamble(self, m: Place, visibility: Token | None, code: ast.Code) -> ast.Preamble:
        return ast.Preamble(code, _text(visibility), line=m.line, column=m.column)

    # ------------------------------------------------------------ reactors

    def modifiers(self, _m: Place, *words: Token) -> tuple[Token, ...]:
        return words

    def reactor(
        self,
        m: Place,
        modifiers: tuple[Token, ...],
        name: Token | None,
        type_params: tuple[ast.Type, ...],
        params: tuple[ast.Parameter, ...],
        host: Token | None,
        extends: tuple[ast.Name, ...],
        *body: ast.Member,
    ) -> ast.Reactor:
        if len(set(modifiers)) < len(modifiers) or {"main", "federated"} <= set(modifiers):
            problem = f"a reactor cannot be {' and '.join(modifiers)}"
            raise LFSyntaxError(problem, line=m.line, column=m.column, hint="Is it main or federated?")
        kinds = [word for word in modifiers if word != "realtime"]
        if name is None and not kinds:
            problem, hint = "this reactor has no name", "Only a main or federated reactor may do without."
            raise LFSyntaxError(problem, line=m.line, column=m.column, hint=hint)
        return ast.Reactor(
            _text(name),
            body,
            kind=str(kinds[0]) if kinds else None,
            realtime=len(modifiers) > len(kinds),
            type_params=type_params,
            params=params,
            host=_text(host),
            extends=extends,
            line=m.line,
            column=m.column,
        )

    def _with_attributes(self, _m: Place, *parts: Any) -> _Decorated:
        # Called only where there are attributes: lark drops a rule that begins with `?` and has one part.
        *attributes, last = parts
        declared: _Decorated = last
        return replace(declared, attributes=tuple(attributes))

    declared_reactor = declaration = declared_port = declared_param = _with_attributes

    def extends(self, _m: Place, *names: ast.Name) -> tuple[ast.Name, ...]:
        return names

    def name(self, m: Place, text: Token) -> ast.Name:
        return ast.Name(str(text), line=m.line, column=m.column)

    def type_params(self, _m: Place, *types: ast.Type) -> tuple[ast.Type, ...]:
        return types

    def params(self, _m: Place, *params: ast.Parameter) -> tuple[ast.Parameter, ...]:
        return params

    def param(self, m: Place, name: Token, kind: ast.Type | None, init: ast.Expression | None = None) -> ast.Parameter:
        return ast.Parameter(str(name), kind, init, line=m.line, column=m.column)

    method_param = param
    method_params = params

    def method(
        self,
        m: Place,
        const: Token | None,
        name: Token,
        params: tuple[ast.Parameter, ...],
        returns: ast.Type | None,
        code: ast.Code,
    ) -> ast.Method:
        return ast.Method(str(name), params, code, returns, const is not None, line=m.line, column=m.column)

    def mode(self, m: Place, initial: Token | None, name: Token | None, *body: ast.Member) -> ast.Mode:
        return ast.Mode(_text(name), initial is not None, body, line=m.line, column=m.column)

    # ------------------------------------------------------------ attributes

    def attribute(self, m: Place, name: Token, *args: ast.AttributeArg | None) -> ast.Attribute:
        return ast.Attribute(str(name), tuple(arg for arg in args if arg), line=m.line, column=m.column)

    def attribute_value(self, m: Place, name: Token | None, value: ast.Literal | ast.Time) -> ast.AttributeArg:
        return ast.AttributeArg(_text(name), value, line=m.line, column=m.column)

    def attribute_name(self, m: Place, name: Token) -> ast.AttributeArg:
        return ast.AttributeArg(str(name), None, line=m.line, column=m.column)

    # ------------------------------------------------------------ what a reactor declares

    def input(
        self, m: Place, mutable: Token | None, width: ast.Width | None, name: Token, kind: ast.Type | None
    ) -> ast.Input:
        return ast.Input(str(name), kind, width, mutable is not None, line=m.line, column=m.column)

    def output(self, m: Place, width: ast.Width | None, name: Token, kind: ast.Type | None) -> ast.Output:
        return ast.Output(str(name), kind, width, line=m.line, column=m.column)

    def state(
        self, m: Place, reset: Token | None, name: Token, kind: ast.Type | None, init: ast.Expression | None
    ) -> ast.State:
        return ast.State(str(name), kind, init, reset is not None, line=m.line, column=m.column)

    def timer(self, m: Place, name: Token, offset: ast.Expression | None, period: ast.Expression | None) -> ast.Timer:
        return ast.Timer(str(name), offset, period, line=m.line, column=m.column)

    def action(
        self,
        m: Place,
        origin: Token | None,
        name: Token,
        min_delay: ast.Expression | None,
        min_spacing: ast.Expression | None,
        policy: ast.Literal | None,
        kind: ast.Type | None,
    ) -> ast.Action:
        return ast.Action(
            str(name),
            _text(origin),
            min_delay,
            min_spacing,
            str(policy.value) if policy else None,
            kind,
            line=m.line,
            column=m.column,
        )

    def watchdog(
        self, m: Place, name: Token, timeout: ast.Expression, effects: tuple[ast.Effect, ...], code: ast.Code
    ) -> ast.Watchdog:
        return ast.Watchdog(str(name), timeout, code, effects, line=m.line, column=m.column)

    def instance(
        self,
        m: Place,
        name: Token,
        width: ast.Width | None,
        reactor: Token,
        type_args: tuple[ast.Type, ...],
        args: tuple[ast.Argument, ...],
        host: Token | None,
    ) -> ast.Instance:
        return ast.Instance(str(name), str(reactor), args, width, type_args, _text(host), line=m.line, column=m.column)

    def arguments(self, _m: Place, *args: ast.Argument) -> tuple[ast.Argument, ...]:
        return args

    def argument(self, m: Place, name: Token, value: ast.Expression) -> ast.Argument:
        return ast.Argument(str(name), value, line=m.line, column=m.column)

    # ------------------------------------------------------------ connections

    def connection(
        self,
        m: Place,
        left: tuple[tuple[ast.VarRef, ...], bool],
        arrow: Token,
        right: tuple[ast.VarRef, ...],
        delay: ast.Expression | None,
        serializer: ast.Literal | None,
    ) -> ast.Connection:
        ports, iterated = left
        return ast.Connection(
            ports,
            right,
            physical=arrow == "~>",
            iterated=iterated,
            delay=delay,
            serializer=str(serializer.value) if serializer else None,
            line=m.line,
            column=m.column,
        )

    def left(self, _m: Place, *ports: ast.VarRef) -> tuple[tuple[ast.VarRef, ...], bool]:
        return ports, False

    def left_in_parentheses(self, _m: Place, *parts: Any) -> tuple[tuple[ast.VarRef, ...], bool]:
        *ports, plus = parts
        return tuple(ports), plus is not None

    def right(self, _m: Place, *ports: ast.VarRef) -> tuple[ast.VarRef, ...]:
        return ports

    def ref(self, m: Place, first: Token, second: Token | None, alias: Token | None) -> ast.VarRef:
        variable, container = (first, None) if second is None else (second, first)
        return ast.VarRef(str(variable), _text(container), alias=_text(alias), line=m.line, column=m.column)

    def interleaved(self, m: Place, first: Token, second: Token | None, alias: Token | None) -> ast.VarRef:
        return replace(self.ref(m, first, second, alias), interleaved=True)

    # ------------------------------------------------------------ reactions

    def reaction(
        self,
        m: Place,
        keyword: Token,
        name: Token | None,
        triggers: tuple[ast.Trigger, ...],
        sources: tuple[ast.VarRef, ...],
        effects: tuple[ast.Effect, ...],
        code: ast.Code | None,
        late: ast.Late | None,
        deadline: ast.Deadline | None,
    ) -> ast.Reaction:
        return ast.Reaction(
            triggers,
            sources,
            effects,
            code,
            _text(name),
            late,
            deadline,
            keyword == "mutation",
            line=m.line,
            column=m.column,
        )

    def triggers(self, _m: Place, *triggers: ast.Trigger) -> tuple[ast.Trigger, ...]:
        return triggers

    def sources(self, _m: Place, *sources: ast.VarRef) -> tuple[ast.VarRef, ...]:
        return sources

    def effects(self, _m: Place, *effects: ast.Effect) -> tuple[ast.Effect, ...]:
        return effects

    def builtin(self, m: Place, kind: Token) -> ast.Builtin:
        return ast.Builtin(str(kind), line=m.line, column=m.column)

    def mode_change(self, m: Place, kind: Token, mode: Token) -> ast.ModeChange:
        return ast.ModeChange(str(kind), str(mode), line=m.line, column=m.column)

    def deadline(self, m: Place, delay: ast.Expression, code: ast.Code) -> ast.Deadline:
        return ast.Deadline(delay, code, line=m.line, column=m.column)

    def late(self, m: Place, keyword: Token, offset: ast.Expression, code: ast.Code) -> ast.Late:
        return ast.Late(str(keyword), offset, code, line=m.line, column=m.column)

    def tardy(self, m: Place, keyword: Token, code: ast.Code | None) -> ast.Late:
        return ast.Late(str(keyword), None, code, line=m.line, column=m.column)

    # ------------------------------------------------------------ expressions, widths, types

    def param_ref(self, m: Place, name: Token) -> ast.ParamRef:
        return ast.ParamRef(str(name), line=m.line, column=m.column)

    def brackets(self, m: Place, *items: ast.Expression) -> ast.ListExpr:
        return ast.ListExpr(items, "[", line=m.line, column=m.column)

    def braces(self, m: Place, *items: ast.Expression) -> ast.ListExpr:
        return ast.ListExpr(items, "{", line=m.line, column=m.column)

    def parentheses(self, m: Place, *items: ast.Expression) -> ast.ListExpr:
        return ast.ListExpr(items, "(", line=m.line, column=m.column)

    def width(self, m: Place, *terms: ast.WidthTerm) -> ast.Width:
        return ast.Width(terms, line=m.line, column=m.column)

    def width_of(self, m: Place, port: ast.VarRef) -> ast.WidthOf:
        return ast.WidthOf(port, line=m.line, column=m.column)

    def type(self, m: Place, first: Token | ast.Code, *_rest: Any) -> ast.Type:
        written = first.text if isinstance(first, ast.Code) else self._text[m.start_pos : m.end_pos]
        return ast.Type(" ".join(written.split()), line=m.line, column=m.column)

    def type_param(self, m: Place, first: Token | ast.Code, *_rest: Any) -> ast.Type:
        return self.type(m, first)

    def type_args(self, _m: Place, *types: ast.Type) -> tuple[ast.Type, ...]:
        return types


def _text(token: Token | None) -> str | None:
    """A plain string: a token would keep the whole text alive, and is no string to some serialisers."""
    return None if token is None else str(token)


def _place(token: Token) -> dict[str, int]:
    """Where a token starts, as keyword arguments."""
    return {"line": token.line or 1, "column": token.column or 1}


def _value[T](meaning: Callable[[str], T], token: Token) -> T:
    """The value of a token, or the error that says why it has none, with its place."""
    try:
        return meaning(token)
    except ValueError as error:
        raise LFSyntaxError(str(error), line=token.line or 1, column=token.column or 1) from None
