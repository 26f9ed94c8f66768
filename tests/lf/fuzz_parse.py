"""Fuzzing the Lingua Franca parser: whatever the text, a program or an LFSyntaxError with its place, in reasonable time.

    python tests/lf/fuzz_parse.py --minutes 10

Legal programs are drawn and written with random layout, and must come back as they were; then they are damaged: characters changed,
pieces cut, doubled, exchanged. The test-suite runs a few hundred of the same examples.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
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
CODE_POINTS = np.array([*range(1, 128), *range(1, 128), 0, 0x85, 0xA0, 0xFC, 0x2028, 0xD800, 0xFEFF, 0x1F600])
SLOW_S = 5.0  # a text of this size takes milliseconds; the bound leaves room for a busy machine


def damage(pieces: list[str], layout: list[str], rng: np.random.Generator) -> str:
    """The text of a legal program to which something has happened.

    Args:
        pieces: its tokens.
        layout: what stands between them.
        rng: decides what happens. Not hypothesis, which would take longer for the decisions than the parser for the text.
    """
    pieces = list(pieces)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, len(pieces) + 1))
        some = int(rng.integers(1, 6))
        match rng.integers(0, 6):
            case 0:
                pieces.insert(at, PIECES[rng.integers(0, len(PIECES))])
            case 1:
                del pieces[at : at + some]
            case 2:
                pieces[at : at + 1] = [PIECES[rng.integers(0, len(PIECES))]]
            case 3:
                pieces[at:at] = pieces[at : at + some]
            case 4:
                pieces[at : at + some] = reversed(pieces[at : at + some])
            case 5:
                at = min(at, max(len(pieces) - 1, 0))
                pieces[at : at + 1] = [piece[: rng.integers(0, len(piece) + 1)] for piece in pieces[at : at + 1]]
    text = "".join(piece + layout[at % len(layout)] for at, piece in enumerate(pieces))
    for _ in range(rng.integers(0, 4)):
        at = int(rng.integers(0, len(text) + 1))
        text = text[:at] + chr(rng.choice(CODE_POINTS)) + text[at + rng.integers(0, 2) :]
    if rng.random() < 0.1:
        text = text[: rng.integers(0, len(text) + 1)]
    return text


layouts = st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=3)
seeds = st.integers(0, 2**32 - 1)
texts = st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join) | st.text(st.characters())


def check(text: str) -> str:
    """Parse, and check what comes out.

    Returns:
        "program", or the problem without what is particular to the text.
    """
    begun = time.perf_counter()
    try:
        tree = parse(text, file="f.lf")
    except Exception as error:
        if not isinstance(error, LFSyntaxError):
            error.add_note(f"The text: {text!r}")
            raise
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


def check_damaged(tree: object, layout: list[str], seed: int, count: int) -> Counter[str]:
    """Check `count` texts that a legal program becomes by accident; what came out of them."""
    rng = np.random.default_rng(seed)
    pieces = list(tokens(tree))
    return Counter(check(damage(pieces, layout, rng)) for _ in range(count))


def main() -> None:
    """Fuzz for some minutes, and say what was seen."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    end = time.monotonic() + 60 * options.parse_args().minutes
    seen: Counter[str] = Counter()
    # No shrinking: it changes the seed, and with it the damage; the failing text is in the error's notes.
    thorough = settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @thorough
    @given(texts)
    def any_text(text: str) -> None:
        seen[check(text)] += 1

    @thorough
    @given(programs(), layouts, seeds)
    def legal_and_damaged(tree: object, layout: list[str], seed: int) -> None:
        check_round_trip(tree, layout)
        seen["legal"] += 1
        seen.update(check_damaged(tree, layout, seed, 30))

    rounds = 0
    while time.monotonic() < end:
        any_text()
        legal_and_damaged()
        rounds += 1
        if rounds % 5 == 0 or time.monotonic() >= end:
            print(sum(seen.values()), "texts:", dict(seen.most_common()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
