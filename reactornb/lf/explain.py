"""Syntax errors in the handbook's words: what was found, what was expected, and hints for common slips."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from lark import Token

from reactornb.errors import LFSyntaxError
from reactornb.lf.literals import UNITS

_LITERALS = frozenset({"STRING", "FLOAT", "INT", "NEGATIVE", "BOOL", "TIME", "forever", "never"})
_DECLARATIONS = frozenset(
    ("const", "history", "initial", "input", "interleaved", "logical", "method", "mode", "mutable", "mutation", "output", "physical",
     "preamble", "private", "public", "reaction", "reset", "state", "timer", "action", "watchdog", "@", "(", "ID")
)  # fmt: skip

# Several things that may stand at one place, and the words for all of them together. An entry applies when all of it is expected.
_TOGETHER: tuple[tuple[frozenset[str], frozenset[str], str], ...] = (
    (frozenset({"state", "timer", "reaction"}), _DECLARATIONS, "a declaration (input, state, timer, reaction, connection, …)"),
    (frozenset({"main", "federated", "reactor"}), frozenset({"main", "federated", "realtime", "reactor", "@"}), "a reactor"),
    (frozenset({"preamble", "private"}), frozenset({"preamble", "private", "public"}), "a preamble"),
    (frozenset({"->", "~>", "="}), frozenset({"->", "~>", "=", ",", ".", "as"}), "= (an instance) or -> (a connection) after the name"),
    (frozenset({"->", "~>"}), frozenset({"->", "~>"}), "an arrow (-> or ~>)"),
    (frozenset({"startup", "shutdown"}), frozenset({"startup", "shutdown", "reset", "interleaved", "ID"}),
     "a trigger (startup, shutdown, reset, or the name of a port, action or timer)"),
    (frozenset({"history", "ID"}), frozenset({"history", "reset", "interleaved", "ID"}), "the name of a port, action or mode"),
    (frozenset({"interleaved", "ID"}), frozenset({"interleaved", "ID"}), "the name of a port"),
    (_LITERALS | {"CODE", "ID"}, _LITERALS | {"CODE", "ID", "[", "{", "("}, "a value"),
    (frozenset({"STRING", "WORD", "INT"}), _LITERALS | {"WORD", "[", "{"}, "a value"),
    (frozenset({"STRING", "INT", "TIME"}), _LITERALS, "a literal or a time"),
    (frozenset({"INT", "CODE", "ID"}), frozenset({"INT", "CODE", "ID", "widthof"}), "a width (a number, a parameter, or {= … =})"),
    (frozenset({"WORD", "STRING"}), frozenset({"WORD", "STRING"}), "the name of a target property"),
)  # fmt: skip
_WORDS = {
    "ID": "a name",
    "CODE": "a body {= … =}",
    "STRING": "a string",
    "INT": "a number",
    "HOST": "a host",
    "PACKAGE": "the path of a file in a package",
    "$END": "the end of the program",
}
OPENING, CLOSING = frozenset("([{<"), frozenset(")]}>")
_FOUND = {"ID": "the name", "WORD": "the word", "STRING": "the string", "TIME": "the time", "CODE": "the body"}
_FOUND |= dict.fromkeys(("INT", "NEGATIVE", "FLOAT"), "the number")

_UNITS_MEANT = {
    "m": "min", "hr": "hours", "hrs": "hours", "milli": "msec", "millis": "msec", "millisecond": "msec", "micro": "usec", "micros": "usec",
    "microsecond": "usec", "nano": "nsec", "nanos": "nsec", "nanosecond": "nsec", "mu": "usec",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Slip:
    """The facts that hints are chosen by. A terminal with a fixed text goes by that text, any other by its name in the grammar."""

    kind: str  # of the token found
    value: str
    line: int
    before: tuple[Token, ...]  # the tokens before it
    kinds: tuple[str, ...]  # theirs
    expected: frozenset[str]
    open: tuple[tuple[str, int], ...]  # the brackets not closed, and their lines
    rest: str  # the text from the token on

    def follows(self, *kinds: str) -> bool:
        """Whether the tokens just before are of these kinds, on the line of the last of them."""
        count = len(kinds)
        return self.kinds[-count:] == kinds and self.before[-count].line == self.before[-1].line


def explain(
    token: Token, before: Sequence[Token], accepted: AbstractSet[str], names: Mapping[str, str], text: str
) -> LFSyntaxError:
    """The error for a token that cannot stand where it does.

    Args:
        token: the token; of type `$END` where the text ends.
        before: the tokens before it.
        accepted: terminals that could stand there.
        names: terminal -> its text, of those that are keywords and signs.
        text: what was parsed.

    Returns:
        An error without file name and line of text.
    """
    at_end = token.type == "$END"
    line, column = token.line or 1, token.column or 1
    if at_end and before:
        line, column = before[-1].end_line or 1, before[-1].end_column or 1

    kind = names.get(token.type, token.type)
    if token.isidentifier() and _in_properties(before):
        kind = "WORD"
    slip = _Slip(
        kind=kind,
        value=str(token),
        line=line,
        before=tuple(before),
        kinds=tuple(names.get(t.type, t.type) for t in before),
        expected=frozenset(names.get(name, name) for name in accepted),
        open=tuple(_open_brackets(before)),
        rest="" if at_end else text[token.start_pos :],
    )
    found, wanted = _describe(slip.kind, slip.value), _together(slip.expected)
    problem = (
        f"found {found}, expected {_alternatives(wanted)}" if wanted else f"found {found}, which has no meaning here"
    )
    hint = next((hint for hint in (rule(slip) for rule in _HINTS) if hint), None)
    return LFSyntaxError(problem, line=line, column=column, found=found, expected=wanted, hint=hint)


def explain_character(text: str, at: int, line: int, column: int) -> LFSyntaxError:
    """The error for a place where no token begins: something is not closed, or a character is foreign.

    Args:
        text: what was parsed.
        at: the place, in characters from the start.
        line, column: the same from 1.

    Returns:
        An error without file name and line of text.
    """
    rest = text[at : at + 3]
    if rest.startswith("{="):
        return _unclosed_body(text, at, line, column)
    if rest.startswith("/*"):
        return LFSyntaxError("this comment is never closed", line=line, column=column, hint="Close it with */.")
    if rest in ('"""', "'''") or rest[:1] in "\"'":
        quote = rest if rest in ('"""', "'''") else rest[0]
        hint = f"Close it with {quote} on the same line; longer texts stand between three double quotes."
        return LFSyntaxError("this string is never closed", line=line, column=column, hint=hint)
    found = repr(text[at])
    problem = f"found {found}, which has no meaning here"
    worked_out = "A value that has to be worked out is target code: {= … =}." if text[at] in "-/%&|!" else None
    return LFSyntaxError(problem, line=line, column=column, found=found, hint=worked_out)


def _unclosed_body(text: str, at: int, line: int, column: int) -> LFSyntaxError:
    """The error for a `{=` whose `=}` is missing, or hidden."""
    end = text.find("=}", at)
    again = text.find("{=", at + 2)
    if again >= 0 and (end < 0 or again < end):
        hint = f"Close it with =}}: another {{= begins on line {line + text.count(chr(10), at, again)}."
    elif end >= 0:
        hint = f"The =}} on line {line + text.count(chr(10), at, end)} is inside a string or a comment; put it on a line of its own."
    else:
        hint = "Close it with =}."
    return LFSyntaxError("this {= is never closed", line=line, column=column, hint=hint)


def _in_properties(before: Sequence[Token]) -> bool:
    """Whether these tokens begin a program and end among its target properties, where there are words and no names."""
    if [t.type for t in before[:3]] != ["TARGET", "ID", "_LBRACE"]:
        return False
    depths = itertools.accumulate((t in OPENING) - (t in CLOSING) for t in before[2:])
    return all(depth > 0 for depth in depths)


def _describe(kind: str, value: str) -> str:
    if kind == "$END":
        return "the end of the program"
    first, *others = value.split("\n")
    shown = first if len(first) <= 40 and not others else first[:40] + "…"
    if kind in _FOUND:
        return f"{_FOUND[kind]} {shown}"
    return f"the keyword {shown!r}" if kind.isidentifier() else f"{shown!r}"


def _together(expected: frozenset[str]) -> tuple[str, ...]:
    """The words for a set of terminals, those that go together in one."""
    words = []
    for needed, covered, phrase in _TOGETHER:
        if needed <= expected:
            words.append(phrase)
            expected -= covered
    if words or len(expected) > 1:
        expected -= {";"}  # may always stand at the end of a declaration, and never must
    one_by_one = sorted(expected, key=lambda name: (name not in _WORDS, name))
    return (*words, *(_WORDS.get(name, repr(name)) for name in one_by_one))


def _alternatives(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _open_brackets(tokens: Sequence[Token]) -> list[tuple[str, int]]:
    opened: list[tuple[str, int]] = []
    for token in tokens:
        if token in OPENING:
            opened.append((str(token), token.line or 1))
        elif token in CLOSING and opened:
            opened.pop()
    return opened


# ---------------------------------------------------------------- hints: the first one that applies is shown


def _unit(slip: _Slip) -> str | None:
    if slip.kinds[-1:] == ("INT",) and slip.kind in ("ID", "WORD") and slip.before[-1].line == slip.line:
        number, unit = str(slip.before[-1]), slip.value
    elif slip.follows("INT", "ID") and "~>" in slip.expected:  # the word was taken for the beginning of a connection
        number, unit = str(slip.before[-2]), str(slip.before[-1])
    else:
        return None
    if unit[0] in "eE" and (unit[1:].isdigit() or len(unit) == 1):
        return f"A number with an exponent needs a point: {number}.0{unit}."
    small = unit.lower()
    meant = small if small in UNITS else _UNITS_MEANT.get(small) or _UNITS_MEANT.get(small.removesuffix("s"))
    meant = meant or next(iter(difflib.get_close_matches(small, UNITS, n=1)), None)
    known = "The units of time are nsec, usec, msec, sec, min, hour, day and week."
    return f"Did you mean {number} {meant}? {known}" if meant else known


def _parentheses(slip: _Slip) -> str | None:
    if slip.kinds[-1:] == ("reaction",) and slip.kind in ("startup", "shutdown", "reset"):
        return f"Triggers stand in parentheses: reaction({slip.value})."
    if "(" in slip.expected and slip.follows("new", "ID"):
        return f"A reactor is made with parentheses: new {slip.before[-1]}()."
    if slip.expected == {"(", "=", "{"} and slip.kind in (")", ","):
        return f"Arguments are given by name: {slip.before[-1]} = …."
    return None


def _unclosed(slip: _Slip) -> str | None:
    if slip.kind == "}" and not slip.open:
        return "There is no { that this } closes."
    if slip.kind != "$END" or not slip.open:
        return None
    bracket, line = slip.open[-1]
    return f"The {bracket} on line {line} is not closed."


def _outside(slip: _Slip) -> str | None:
    if slip.open:
        return None
    if slip.kind in ("$END", "{") and "reactor" in slip.expected:
        return "A program consists of reactors, one of which runs: main reactor { … }."
    if slip.kind in ("target", "import", "preamble", "public", "private"):
        return "The order in a file is: target, imports, preambles, reactors."
    if slip.kind in _DECLARATIONS - {"@", "(", "ID"}:
        return "What a reactor is made of stands inside it: main reactor { … }. Is there a } too many above?"
    return None


def _arrow(slip: _Slip) -> str | None:
    if "->" in slip.expected and slip.kind == "[" and slip.kinds[-1:] == ("ID",):
        return "A bank or multiport is connected whole; widths pair its channels."
    if "->" in slip.expected and slip.kind in ("<", ">", "="):
        return "A connection is written a.out -> b.in, its source on the left."
    return None


def _type_first(slip: _Slip) -> str | None:
    if "~>" in slip.expected and any(slip.follows(kind, "ID", "ID") for kind in ("input", "output", "state")):
        return f"A type follows the name, after a colon: {slip.before[-1]}: {slip.before[-2]}."
    return None


def _operator(slip: _Slip) -> str | None:
    if slip.kind in ("*", "+", ".", "NEGATIVE") and slip.kinds[-1:] and slip.kinds[-1] in _LITERALS | {"ID", ")"}:
        return "A value that has to be worked out is target code: {= … =}."
    return None


def _body(slip: _Slip) -> str | None:
    if "CODE" in slip.expected and slip.kind in ("{", ":") and not slip.expected >= _LITERALS:
        return "A body stands between {= and =}."
    return None


def _unopened_body(slip: _Slip) -> str | None:
    end = slip.rest.find("=}")
    if end < 0 or 0 <= slip.rest.find("{=") < end:
        return None
    line = slip.line + slip.rest.count("\n", 0, end)
    return f"The =}} on line {line} closes no body: is its {{= missing, or closed before?"


def _keyword_as_name(slip: _Slip) -> str | None:
    if slip.kind == slip.value and slip.kind.isidentifier() and "ID" in slip.expected and len(slip.expected) < 4:
        return f"{slip.value} is a keyword of Lingua Franca and cannot be a name."
    return None


_HINTS: tuple[Callable[[_Slip], str | None], ...] = (
    _unit, _parentheses, _unopened_body, _unclosed, _outside, _arrow, _type_first, _operator, _body, _keyword_as_name,
)  # fmt: skip
