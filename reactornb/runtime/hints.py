"""The message of a failed reaction: the exception in Python's words, with its notes and causes, and hints for common mistakes with ports."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator

__all__ = ["carried", "hint", "said"]

_HANDLES = re.compile(
    r"'(?:InPort|LFInPort|OutPort|SingleOutPort|ScalarOutPort|AsIsOutPort|FeedingOutPort|FirstOutPort|AskedOutPort|ActionHandle|Multiport)'|\bInPort\b"
)
_MOST = 10  # members, causes and notes that are shown


def said(error: BaseException) -> str:
    """Type and words of an exception, with Python's own suggestion, as `KeyError: 'x'`; also of one whose `__str__` raises."""
    kind = type(error)
    if isinstance(error, SyntaxError):
        return f"{kind.__name__}: {error}"
    words = traceback.TracebackException(kind, error, error.__traceback__, lookup_lines=False, compact=True)
    words.__notes__ = None
    lines = "".join(words.format_exception_only()).rstrip()
    prefix = f"{kind.__module__}.{kind.__qualname__}"
    text = kind.__name__ + lines[len(prefix) :] if lines.startswith(prefix) else lines
    return text[len(kind.__qualname__) - len(kind.__name__) :] if text.startswith(kind.__qualname__ + ":") else text


def carried(error: BaseException) -> str:
    """Notes, members of a group and causes, one a line, indented; "" if there are none."""
    lines = list(_carried(error, 1))
    if len(lines) > _MOST:
        lines = [*lines[:_MOST], f"  … and {len(lines) - _MOST} more"]
    return "".join("\n" + line for line in lines)


def _carried(error: BaseException, depth: int) -> Iterator[str]:
    if depth > 5:
        return
    pad = "  " * depth
    notes = getattr(error, "__notes__", ())
    for note in notes if isinstance(notes, (list, tuple)) else (notes,):
        yield f"{pad}{note!s:.300}"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield f"{pad}- {said(member)}"
            yield from _carried(member, depth + 1)
    cause = error.__cause__
    if cause is not None and cause is not error:
        yield f"{pad}caused by {said(cause)}"
        yield from _carried(cause, depth + 1)
    elif error.__context__ is not None and not error.__suppress_context__ and error.__context__ is not error:
        yield f"{pad}while {said(error.__context__)} was handled"
        yield from _carried(error.__context__, depth + 1)


def hint(error: BaseException) -> str:
    """What to do, beginning with ". "; "" for an exception of which nothing is known here."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - its own __str__ raises
        return ""
    if isinstance(error, ValueError) and "read-only" in words:
        return (
            ". An array that was sent or received is shared, and read-only: change a copy, x = inp.value.copy(), or declare Input(mutable=True), whose "
            "reader gets its own; a sender sends a copy, out.set(a.copy()), of what it goes on changing"
        )
    if isinstance(error, AttributeError) and "has no setter" in words and "'value'" in words:
        return ". A value is sent with out.set(…), not by assigning to out.value"
    if isinstance(error, (TypeError, AttributeError)) and _HANDLES.search(words):
        return ". That is the port or action itself: its value is inp.value; of a multiport, outs[0] is a channel and ins.values are the values present"
    return ""
