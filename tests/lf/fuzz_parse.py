"""Fuzzing the Lingua Franca parser: whatever the text, a program or an LFSyntaxError with its place, in reasonable time.

    python tests/lf/fuzz_parse.py --minutes 10

Legal programs are drawn, written with random layout, and damaged: characters changed, pieces cut, doubled and exchanged. The test-suite
runs a few hundred of the same examples.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from lf_programs import KEYWORDS, LAYOUTS, programs, tokens, write

from reactornb.errors import LFSyntaxError
from reactornb.lf.parse import parse

PIECES = (
    *sorted(KEYWORDS), "{=", "=}", "{", "}", "(", ")", "[", "]", "<", ">", "->", "~>", "=", ":", ";", ",", ".", "+", "*", "@", "-", "/*", "*/",
    "//", "#", "'''", '"""', '"', "'", "\\", "\n", "\t", "\r", "\0", "\ud800", "\ufeff", "10 msec", "10 parsecs", "1e5", "9" * 5000, "0.5",
    "-1", "ü", "(" * 100, "[" * 2000, "\\x", "{= x", '"\\N{no such}"', "x", "f", "s", "10",
)  # fmt: skip
SLOW_S = 5.0  # a text of this size takes milliseconds; the bound leaves room for a busy machine


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A legal program to which something has happened."""
    layout = draw(st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3))
    pieces = list(tokens(draw(programs())))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(pieces)))
        match draw(st.sampled_from(("insert", "delete", "replace", "double", "cut", "swap"))):
            case "insert":
                pieces.insert(at, draw(st.sampled_from(PIECES)))
            case "delete":
                del pieces[at : at + draw(st.integers(1, 3))]
            case "replace":
                pieces[at : at + 1] = [draw(st.sampled_from(PIECES))]
            case "double":
                pieces[at:at] = pieces[at : at + draw(st.integers(1, 5))]
            case "cut":
                text = layout[0].join(pieces)
                pieces = [text[: draw(st.integers(0, len(text)))]]
            case "swap":
                pieces[at : at + 2] = reversed(pieces[at : at + 2])
    text = "".join(piece + layout[at % len(layout)] for at, piece in enumerate(pieces))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.characters() | st.just("")) + text[at + draw(st.integers(0, 1)) :]
    return text


texts = damaged() | st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join) | st.text(st.characters())


def check(text: str) -> str:
    """Parse, and check what comes out.

    Returns:
        "program", or the problem without what is particular to the text.
    """
    begun = time.perf_counter()
    try:
        tree = parse(text, file="f.lf")
    except LFSyntaxError as error:
        check_error(error, text)
        outcome = "found …" if error.found else error.problem
    else:
        assert tree.reactors
        outcome = "program"
    took = time.perf_counter() - begun
    assert took < SLOW_S, f"{took:.1f} s for {len(text)} characters"
    return outcome


def check_error(error: LFSyntaxError, text: str) -> None:
    """An error names a place that there is, and stays readable."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert error.file == "f.lf"
    assert 1 <= error.line <= len(lines), error
    assert 1 <= error.column <= len(lines[error.line - 1]) + 2, error
    assert error.msg
    assert len(error.msg) < 1000, error


def check_round_trip(tree: object, layout: list[str]) -> None:
    """A legal program comes back as it was, whatever its layout."""
    assert parse(write(tree, layout), file="f.lf") == tree


def main() -> None:
    """Fuzz for some minutes, and say what was seen."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    end = time.monotonic() + 60 * options.parse_args().minutes
    seen: Counter[str] = Counter()
    thorough = settings(
        max_examples=1000,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    @thorough
    @given(texts)
    def any_text(text: str) -> None:
        seen[check(text)] += 1

    @thorough
    @given(programs(), st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3))
    def legal_text(tree: object, layout: list[str]) -> None:
        check_round_trip(tree, layout)
        seen["legal"] += 1

    while time.monotonic() < end:
        any_text()
        legal_text()
        print(sum(seen.values()), "texts:", dict(seen.most_common()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
