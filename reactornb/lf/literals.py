"""The values of numbers, times and strings, and the text of a body.

The functions raise ValueError with the words for the user; the caller knows the place.
"""

from __future__ import annotations

import re
import tokenize
import unicodedata

from reactornb.tags import Duration, forever

_S = 10**9
_UNITS = (
    (1, ("ns", "nsec", "nsecs")),
    (10**3, ("us", "usec", "usecs")),
    (10**6, ("ms", "msec", "msecs")),
    (_S, ("s", "sec", "secs", "second", "seconds")),
    (60 * _S, ("min", "mins", "minute", "minutes")),
    (3600 * _S, ("h", "hour", "hours")),
    (24 * 3600 * _S, ("d", "day", "days")),
    (7 * 24 * 3600 * _S, ("wk", "week", "weeks")),
)
UNITS = {name: length_ns for length_ns, names in _UNITS for name in names}
"""Every spelling of a unit of time, and its length in nanoseconds."""

_NUMBER_AND_UNIT = re.compile(r"([0-9]+).*?([a-z]+)\Z", re.DOTALL)
_MOST_DIGITS = 1000  # below the 4300 at which Python refuses a number, and beyond any that is meant

_BLANK = " \t\f\v"  # what Python's scanner takes for white space within a line
_ESCAPE = re.compile(
    r"\\(\n|[\\'\"abfnrtv]|[0-7]{1,3}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|N\{[^}]*\}|[xuUN])"
)
_ONE_CHARACTER = dict(
    zip("\n\\'\"abfnrtv", ("", "\\", "'", '"', "\a", "\b", "\f", "\n", "\r", "\t", "\v"), strict=True)
)


def integer(text: str) -> int:
    """The value of decimal digits, perhaps with a sign."""
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"this number has more than {_MOST_DIGITS} digits")
    return int(text)


def time_ns(text: str) -> int:
    """The nanoseconds of a number and its unit, whatever stands between the two."""
    match = _NUMBER_AND_UNIT.match(text)
    assert match is not None, text  # the grammar's terminal says so
    value_ns = integer(match[1]) * UNITS[match[2]]
    if value_ns > forever:
        raise ValueError("this time is longer than 292 years, the longest there is; write forever")
    return value_ns


def counted_ns(value: object) -> object:
    """A time as the model takes it: Lingua Franca's are bare numbers of ns. What is no whole number is left for the model to refuse."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return Duration(int(value)) if whole and not isinstance(value, bool) else value  # type: ignore[call-overload]


def string(text: str) -> str:
    """The value of a string in its quotes, with Python's escape sequences."""
    quotes = 3 if text.startswith('"""') else 1
    text = text[quotes:-quotes]
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    """One escape sequence. Not ast.literal_eval, which warns of unknown ones, at no place the user could see."""
    escape = match[1]
    if escape in _ONE_CHARACTER:
        return _ONE_CHARACTER[escape]
    try:
        if escape[0] == "N":
            return unicodedata.lookup(escape[2:-1])
        value = chr(int(escape[1:], 16)) if escape[0] in "xuU" else chr(int(escape, 8))
        value.encode()  # half a surrogate pair is no character
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"the escape sequence {match[0]} stands for no character") from None
    return value


def dedent(body: str, line: int, column: int) -> tuple[str, int, int]:
    """The code between `{=` and `=}`, freed of the white space its lines share.

    The rule of Lingua Franca's Python target: what follows `{=` on its line is the first line of the code, without the white space
    before it, unless it is blank or a comment. Every line loses as many characters as the least indented statement begins with in white
    space; a comment, a string of several lines or the rest of a bracket may stand further left, and loses what it has.

    Args:
        body: the text between the delimiters.
        line: the line on which it starts.
        column: the column at which it starts.

    Returns:
        The code, without blank lines around it, and the line and column where its first character stands.
    """
    first, *others = body.split("\n")
    lead = first.lstrip(_BLANK)
    if lead and not (lead.startswith("#") and others):
        indent = 0
        column += len(first) - len(lead)
        lines = [lead, *others]
    else:
        lines = others
        line += 1
        indent = _margin(lines)
        blank = 0
        while blank < len(lines) and not lines[blank].strip(_BLANK):
            blank += 1
        if blank == len(lines):
            return "", line - 1, column
        lines = lines[blank:]
        line += blank
        column = indent + 1
    # Blank lines become empty ones; a backslash at a line's end keeps meaning what it did.
    text = "\n".join(
        text[min(indent, len(text) - len(text.lstrip(_BLANK))) :] if text.strip(_BLANK) else "" for text in lines
    )
    return text.rstrip(_BLANK + "\n"), line, column


def _margin(lines: list[str]) -> int:
    """How many characters of white space the least indented statement begins with."""
    indents = [len(text) - len(text.lstrip(_BLANK)) for text in lines]
    filled = [n for n, text in enumerate(lines) if text.strip(_BLANK)]
    code = [n for n in filled if lines[n][indents[n]] != "#"]
    if not code:
        return min((indents[n] for n in filled), default=0)
    first = indents[code[0]]
    if all(indents[n] >= first for n in code):  # nearly always
        return first
    begins = statement_lines("\n".join(lines))
    return min(indents[n] for n in code if n in begins)


def statement_lines(text: str) -> set[int]:
    """The lines, counted from 0, on which a statement may begin: not within a string or brackets, nor after a backslash.

    Of a text that is no Python, all that follows the fault.
    """
    # Within brackets Python's tokenizer minds no indentation, which is what is asked for; an end of a line that ends a statement
    # elsewhere is an NL there, and after a backslash there is none.
    starts: set[int] = set()
    depth = row = 0
    begins = False
    lines = ["(\n", *text.splitlines(keepends=True), "\n", ")\n"]
    try:
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type == tokenize.NL:
                begins = depth == 1
                continue
            if begins and token.type != tokenize.COMMENT:
                starts.add(token.start[0] - 2)
                begins = False
            row = token.end[0] - 1
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
                if depth < 1:
                    break
    except (tokenize.TokenError, SyntaxError):
        return starts | set(range(row, len(lines)))
    return starts
