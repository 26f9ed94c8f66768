"""Running the tables of grammar.lark: tokens in, the records of one text out, in one pass.

Lark works the tables out and explains what does not fit them. Its own loop makes a tree with places first, which takes three times as
long as everything else in parsing; this one hands each rule's parts to transform.py at once.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from lark import Lark, Token
from lark.parsers.lalr_analysis import Shift

from reactornb.lf import syntax as ast
from reactornb.lf.lexer import LFLexer
from reactornb.lf.transform import Place, ToSyntax

__all__ = ["Driver", "Refused"]

# Terminals that have a value; the others stand for themselves.
_VALUES = ("STRING", "INT", "NEGATIVE", "FLOAT", "BOOL", "TIME", "FOREVER", "NEVER", "WORD", "CODE")
_END = Token("$END", "")


class Refused(Exception):  # noqa: N818 - no error of anyone's: lark is to say what was wrong
    """The text does not fit the grammar."""


@dataclass(frozen=True, slots=True)
class _Reduction:
    """What to do when a rule is complete, as lark's parse-tree builder would.

    Attributes:
        origin: the nonterminal.
        size: how many parts it has.
        parts: (index, whether the part is a list to be taken in, how many Nones stand before it); other parts are dropped.
        nones: how many stand at the end.
        method: its method of ToSyntax; empty for rules that are lists (their names begin with an underscore).
        single: true if a single part stands for itself.
    """

    origin: str
    size: int
    parts: tuple[tuple[int, bool, int], ...]
    nones: int
    method: str
    single: bool


class Driver:
    """The tables of one grammar. Holds no state between texts, so one serves all threads.

    Args:
        parser: lark's, of that grammar, with the lexer of lexer.py.
    """

    def __init__(self, parser: Lark) -> None:
        table = parser.parser.parser._parse_table
        reductions: dict[Any, _Reduction] = {}
        self._start: int = table.start_states["program"]
        self._end: int = table.end_states["program"]
        self._lexer = LFLexer(parser.lexer_conf)
        # state -> symbol -> the next state, or a rule that is complete
        self._actions: dict[int, dict[str, int | _Reduction]] = {}
        for state, actions in table.states.items():
            mine = self._actions[state] = {}
            for symbol, (action, target) in actions.items():
                if action is Shift:
                    mine[str(symbol)] = target
                else:
                    if target not in reductions:
                        reductions[target] = _reduction(target)
                    mine[str(symbol)] = reductions[target]
        self._methods = tuple({r.method for r in reductions.values() if r.method})

    def parse(self, text: str, file: str) -> ast.Program:
        """The program.

        Raises:
            Refused: if the text does not fit the grammar.
            LFSyntaxError: if something in it has no value, or begins no token. Without a file name.
        """
        make = ToSyntax(text, file)
        # A rule that only stands for its one part has none.
        methods: dict[str, Any] = {name: getattr(make, name, None) for name in self._methods}
        meanings = {name: getattr(make, name) for name in _VALUES}
        actions = self._actions
        states = [self._start]
        values: list[Any] = []
        firsts: list[Token | None] = []  # the first and the last token of each value
        lasts: list[Token | None] = []
        for token in itertools.chain(self._lexer.lex(text), (_END,)):
            kind = token.type
            while True:
                action = actions[states[-1]].get(kind)
                if action.__class__ is int:
                    meaning = meanings.get(kind)
                    states.append(action)
                    values.append(token if meaning is None else meaning(token))
                    firsts.append(token)
                    lasts.append(token)
                    break
                if action is None:
                    raise Refused
                rule: _Reduction = action  # type: ignore[assignment]
                size = rule.size
                first = last = None
                made: list[Any] = []
                if size:
                    given = values[-size:]
                    for first in firsts[-size:]:
                        if first is not None:
                            break
                    for last in reversed(lasts[-size:]):
                        if last is not None:
                            break
                    for index, taken_in, nones in rule.parts:
                        if nones:
                            made += [None] * nones
                        if not taken_in:
                            made.append(given[index])
                        elif made:
                            made += given[index]
                        else:
                            made = given[index]  # a list that grows by one is not copied each time
                    del values[-size:], firsts[-size:], lasts[-size:], states[-size:]
                if rule.nones:
                    made += [None] * rule.nones
                if not rule.method:
                    value: Any = made
                elif rule.single and len(made) == 1:
                    value = made[0]
                else:
                    value = methods[rule.method](Place(first, last), *made)
                states.append(actions[states[-1]][rule.origin])  # type: ignore[arg-type]
                values.append(value)
                firsts.append(first)
                lasts.append(last)
                if token is _END and states[-1] == self._end:
                    program: ast.Program = value
                    return program
        raise AssertionError("the end is a token like any other")


def _reduction(rule: Any) -> _Reduction:
    empty = "".join(str(int(absent)) for absent in rule.options.empty_indices)
    before = [len(ones) for ones in empty.split("0")] if empty else [0] * (len(rule.expansion) + 1)
    parts: list[tuple[int, bool, int]] = []
    nones = 0
    for index, symbol in enumerate(rule.expansion):
        nones += before[index]
        if not symbol.is_term or not symbol.filter_out:
            parts.append((index, not symbol.is_term and symbol.name.startswith("_"), nones))
            nones = 0
    origin = str(rule.origin.name)
    method = str(rule.alias or origin)
    return _Reduction(
        origin,
        len(rule.expansion),
        tuple(parts),
        nones + before[len(rule.expansion)],
        "" if method.startswith("_") else method,
        rule.options.expand1 and not rule.alias,
    )
