"""Text in, records of syntax.py out, or an LFSyntaxError that says where and what to do. Nothing is looked up, run or imported here."""

from __future__ import annotations

import functools
import os
import sys
import threading
from importlib import resources
from pathlib import Path
from typing import cast

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedToken
from lark.exceptions import VisitError
from lark.lexer import PatternRE, PatternStr, TerminalDef

from reactornb.errors import LFSyntaxError
from reactornb.lf import syntax as ast
from reactornb.lf.explain import CLOSING, OPENING, explain, explain_character
from reactornb.lf.transform import ToSyntax

__all__ = ["MAX_NESTING", "parse", "parse_file", "read"]

MAX_NESTING = 64
"""How deep brackets may nest: far more than programs need, and few enough for recursive functions over the syntax."""

_BOOLEANS = frozenset({"true", "True", "false", "False"})
_WORD_ENDS = "(?![A-Za-z0-9_])"
# Terminals that match nearly anything; where none of them may come next, lark tries them all the same, to word its errors.
_CATCH_ALL = frozenset({"WORD", "HOST", "PACKAGE"})

# Lark's lexer compiles its patterns when it first needs them, in attributes of its own: one text is parsed at a time.
_lock = threading.Lock()


def parse(text: str, *, file: str) -> ast.Program:
    """Parse a Lingua Franca program.

    Args:
        text: the program.
        file: its name, for errors and tracebacks; it need not exist.

    Returns:
        The program as written; names are not looked up, imports not followed.

    Raises:
        LFSyntaxError: if the text is not a program. Nothing else, whatever the text.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\ufeff" in text:  # a byte order mark; the text of a cell has blank lines above it
        above = len(text) - len(text.lstrip("\n"))
        text = text[:above] + text[above:].removeprefix("\ufeff")
    try:
        _check_characters(text)
        tree = _tree(text)
        try:
            return ToSyntax(text, file).transform(tree)
        except VisitError as error:  # lark's wrapping of what a method of ours raises
            raise error.orig_exc from None
    except LFSyntaxError as error:
        # Raised by parts that know neither the file nor the line's text.
        lines = text.split("\n")
        error.filename = file
        error.text = lines[error.line - 1] if error.line <= len(lines) else None
        raise


def parse_file(path: str | os.PathLike[str]) -> ast.Program:
    """Parse a file.

    Args:
        path: where it is.

    Returns:
        As for `parse`.

    Raises:
        LFSyntaxError: if it is not a program, or not text in UTF-8.
        OSError: if it cannot be read.
    """
    return parse(read(path), file=os.fspath(path))


def read(path: str | os.PathLike[str]) -> str:
    """The text of a file.

    Raises:
        LFSyntaxError: if it is not text in UTF-8.
        OSError: if it cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        problem = f"byte 0x{data[error.start]:02x} is not UTF-8 text"
        column = error.start - before.rfind(b"\n")
        raise LFSyntaxError(problem, line=before.count(b"\n") + 1, column=column, file=os.fspath(path)) from None


def _tree(text: str) -> Tree[Token]:
    """Lark's tree of a program.

    Raises:
        LFSyntaxError: if it does not fit the grammar, or its brackets nest too deeply. Without a file name.
    """
    tokens: list[Token] = []
    nesting = 0
    with _lock:
        parser = _parser()
        parsing = parser.parse_interactive(text)
        try:
            for token in parsing.iter_parse():  # each is fed to the parser when the next one is asked for
                tokens.append(token)
                if token in OPENING:
                    nesting += 1
                    if nesting > MAX_NESTING:
                        problem = f"brackets nest more than {MAX_NESTING} deep"
                        raise LFSyntaxError(problem, line=token.line or 1, column=token.column or 1)
                elif token in CLOSING:
                    nesting = max(nesting - 1, 0)
            end = Token.new_borrow_pos("$END", "", tokens[-1]) if tokens else Token("$END", "", 0, 1, 1)
            return cast("Tree[Token]", parsing.feed_token(end))
        except UnexpectedCharacters as error:
            raise explain_character(text, cast("int", error.pos_in_stream), error.line, error.column) from None
        except UnexpectedToken as error:
            token = error.token
            if token.type in _CATCH_ALL and token not in tokens[-1:]:
                raise explain_character(text, token.start_pos or 0, token.line or 1, token.column or 1) from None
            before = tokens[:-1] if tokens and tokens[-1] is token else tokens
            accepted: set[str] = parsing.accepts()  # type: ignore[no-untyped-call]
            names = {t.name: _written(t) for t in parser.terminals if _is_fixed(t)}
        raise explain(token, before, accepted, names, text)


def _check_characters(text: str) -> None:
    """Refuse characters that Python source cannot contain."""
    at = text.find("\0")
    if at < 0:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            at = error.start
        else:
            return
    problem = f"found {text[at]!r}, which is no text"
    raise LFSyntaxError(problem, line=text.count("\n", 0, at) + 1, column=at - text.rfind("\n", 0, at))


@functools.cache
def _parser() -> Lark:
    """The parser of grammar.lark: LALR, with lark's contextual lexer.

    Lark takes half a second to compute its tables, keeps them in a file of the user's cache folder, and computes them again when grammar,
    lark or Python have changed. In processor time (2-core virtual machine, CPython 3.14t) loading them and parsing a first program takes
    30 to 70 ms; each of the 309 programs of Lingua Franca's own Python tests then takes 2 ms (median; 27 ms at most).
    """
    grammar = resources.files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    folder = _cache_folder()
    return Lark(
        grammar,
        start="program",
        parser="lalr",
        propagate_positions=True,
        cache=str(folder / f"parser-{sys.implementation.cache_tag}") if folder is not None else False,
        edit_terminals=_end_with_the_word,
        lexer_callbacks={"ID": _reserve},
    )


def _end_with_the_word(terminal: TerminalDef) -> None:
    """Let keywords match whole words only, and before names: `reactorX` is a name even where only `reactor` may come next."""
    if isinstance(terminal.pattern, PatternStr) and terminal.pattern.value.isidentifier():
        terminal.pattern = PatternRE(terminal.pattern.value + _WORD_ENDS, raw=terminal.pattern.raw)
        terminal.priority = 1


def _reserve(token: Token) -> Token:
    """A keyword or a truth value is no name, also where the grammar would take only a name."""
    keyword = "BOOL" if token in _BOOLEANS else _keywords().get(token)
    return token if keyword is None else Token.new_borrow_pos(keyword, token, token)


@functools.cache
def _keywords() -> dict[str, str]:
    """Keyword -> its terminal."""
    return {_written(t): t.name for t in _parser().terminals if _is_fixed(t) and _written(t).isidentifier()}


def _is_fixed(terminal: TerminalDef) -> bool:
    """Whether a terminal is one text: a keyword or a sign."""
    value = terminal.pattern.value
    return (
        terminal.name == "_LBRACE"
        or isinstance(terminal.pattern, PatternStr)
        or value.removesuffix(_WORD_ENDS).isidentifier()
    )


def _written(terminal: TerminalDef) -> str:
    """The text of such a terminal."""
    return "{" if terminal.name == "_LBRACE" else terminal.pattern.value.removesuffix(_WORD_ENDS)


def _cache_folder() -> Path | None:
    """Where the tables are kept: a folder that nobody else can write, since they are a pickle. None if there is none."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "reactornb" / "lf"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        return None
    return folder
