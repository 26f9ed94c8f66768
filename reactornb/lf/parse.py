"""Text in, records of syntax.py out, or an LFSyntaxError that says where and what to do. Nothing is looked up, run or imported here."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import sys
from importlib import resources
from pathlib import Path

from lark import Lark, UnexpectedToken
from lark import __version__ as lark_version

from reactornb.errors import LFSyntaxError
from reactornb.lf import syntax as ast
from reactornb.lf.driver import Driver, Refused
from reactornb.lf.explain import explain
from reactornb.lf.lexer import LFLexer

_DIGEST_BYTES = 32


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
        try:
            return _driver().parse(text, file)
        except Refused:
            raise _explained(text) from None
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


def _explained(text: str) -> Exception:
    """Why a text does not fit the grammar. Lark reads it again: its errors know what could have stood there."""
    parser = _parser()
    try:
        parser.parse(text)
    except UnexpectedToken as error:
        return explain(error, text, parser)
    raise AssertionError("lark takes what its tables refuse")


@functools.cache
def _driver() -> Driver:
    return Driver(_parser())


def _check_characters(text: str) -> None:
    """Refuse what no body could be compiled with, before it is in one."""
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
    """The parser of grammar.lark.

    Working out its tables takes lark over a tenth of a second, so they are kept in the user's cache folder, under a name that says which
    grammar, lark and Python they are for, behind a digest that tells whether they are whole.
    """
    grammar = resources.files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    folder = _cache_folder()
    if folder is None:
        return _make_parser(grammar)
    versions = f"{lark_version} {sys.version_info[:2]} {grammar}"
    file = folder / f"tables-{hashlib.sha256(versions.encode()).hexdigest()[:16]}.pickle"
    with contextlib.suppress(OSError):
        kept = file.read_bytes()
        digest, tables = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(tables).digest() == digest:
            return Lark.load(io.BytesIO(tables))

    parser = _make_parser(grammar)
    buffer = io.BytesIO()
    parser.save(buffer)
    tables = buffer.getvalue()
    # Processes that start together must not read what another is still writing: each writes its own file, and moving it is atomic.
    mine = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        mine.write_bytes(hashlib.sha256(tables).digest() + tables)
        mine.replace(file)
    return parser


def _make_parser(grammar: str) -> Lark:
    return Lark(grammar, parser="lalr", lexer=LFLexer, start="program", propagate_positions=False)


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
