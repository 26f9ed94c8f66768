"""Cutting the text of a Lingua Franca program into tokens, for the parser in grammar.lark.

The patterns come from the grammar; this file only knows where which of them apply. Lark's own contextual lexer would compile one
regular expression per parser state, which costs more than parsing: here there are four, whatever the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lark import Token
from lark.lexer import Lexer, PatternStr

from reactornb.errors import LFSyntaxError

if TYPE_CHECKING:
    from lark.common import LexerConf
    from lark.lexer import TerminalDef

MAX_NESTING = 64
"""How deep brackets may nest: far more than programs need, and few enough for recursive functions over the syntax."""

_OPENING = frozenset("([{<")
_CLOSING = frozenset(")]}>")

# Terminals that match what others are for, and what replaces the ordinary names and keywords where they apply.
_WORD, _HOST, _PACKAGE = "WORD", "HOST", "PACKAGE"


class LFLexer(Lexer):
    """Lingua Franca's tokens. Holds no state between texts, so one serves all threads."""

    def __init__(self, conf: LexerConf) -> None:
        """Compile the patterns of the grammar.

        Args:
            conf: lark's, with the grammar's terminals.
        """
        patterns = [t for t in conf.terminals if not isinstance(t.pattern, PatternStr) and t.name not in conf.ignore]
        strings = [t for t in conf.terminals if isinstance(t.pattern, PatternStr)]
        ignored = "|".join(t.pattern.to_regexp() for t in conf.terminals if t.name in conf.ignore)
        special = {t.name: t for t in patterns if t.name in (_WORD, _HOST, _PACKAGE)}
        signs = [t for t in strings if not t.pattern.value.isidentifier()]

        self._names = {t.pattern.value: t.name for t in strings}
        self._keywords = {text: name for text, name in self._names.items() if text.isidentifier()}
        ordinary = [t for t in patterns if t.name not in special]
        values = [t for t in ordinary if t.name not in ("ID", "BOOL")]  # WORD is both: `true-ish` is one word

        self._skip = re.compile(f"(?:{ignored})*")
        self._ordinary = _scanner([*ordinary, *signs])
        self._property = _scanner([*values, special[_WORD], *signs])
        self._host = _scanner([special[_HOST]])
        self._package = _scanner([special[_PACKAGE]])

    def lex(self, text: str) -> Iterator[Token]:  # type: ignore[override]  # lark hands a lexer of this kind the text alone
        """Cut a text into tokens.

        Args:
            text: the program, its lines ending in a plain newline.

        Yields:
            The tokens, without white space and comments.

        Raises:
            LFSyntaxError: at a character that begins no token, and where brackets nest too deeply. Without a file name.
        """
        keywords = self._keywords
        target_keyword, at_keyword, from_keyword, less_than = (
            self._names[text] for text in ("target", "at", "from", "<")
        )
        at, line, line_start = 0, 1, 0
        nesting = 0
        properties = 0  # the nesting at which the target properties began, plus one; 0 outside
        previous, before = "", ""  # the types of the last two tokens
        while True:
            skip = self._skip.match(text, at)
            if skip is not None and (end := skip.end()) > at:
                if newlines := text.count("\n", at, end):
                    line += newlines
                    line_start = text.rindex("\n", at, end) + 1
                at = end
            if at >= len(text):
                return

            scanner = self._property if properties else self._ordinary
            if previous == at_keyword:
                scanner = self._host
            elif previous == less_than and before == from_keyword:
                scanner = self._package
            match = scanner.match(text, at) or self._ordinary.match(text, at)
            if match is None or (match.lastgroup != "CODE" and text.startswith("{=", at)):
                raise self._unexpected(text, at, line, at - line_start + 1)
            kind, value, end = match.lastgroup or "", match.group(), match.end()
            if kind == "ID":
                kind = keywords.get(value, kind)
            column = at - line_start + 1

            if value in _OPENING:
                nesting += 1
                if nesting > MAX_NESTING:
                    raise LFSyntaxError(f"brackets nest more than {MAX_NESTING} deep", line=line, column=column)
                if value == "{" and previous == "ID" and before == target_keyword:
                    properties = nesting
            elif value in _CLOSING:
                if nesting == properties:
                    properties = 0
                nesting = max(nesting - 1, 0)

            start, first = at, line
            if newlines := text.count("\n", at, end):
                line += newlines
                line_start = text.rindex("\n", at, end) + 1
            at = end
            yield Token(kind, value, start, first, column, line, at - line_start + 1, at)
            previous, before = kind, previous

    def _unexpected(self, text: str, at: int, line: int, column: int) -> LFSyntaxError:
        """The error for a place where no token begins: something is not closed, or a character is foreign."""
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


def _scanner(terminals: list[TerminalDef]) -> re.Pattern[str]:
    """One pattern with a named group for each terminal, the higher priority and the longer fixed string first.

    Fixed strings come last: `{` behind CODE, `.` behind FLOAT.
    """
    ordered = sorted(terminals, key=lambda t: (isinstance(t.pattern, PatternStr), -t.priority, -len(t.pattern.value)))
    return re.compile("|".join(f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in ordered))


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
