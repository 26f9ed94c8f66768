"""Fuzzing the way from text to a graph: whatever stands there, a program or an error of ours with its place, in reasonable time.

    python tests/lf/fuzz_assemble.py --minutes 10

Programs that use every feature are damaged piece by piece (names exchanged, numbers made lists, lines doubled or lost), so that most of
them still parse; target code stays harmless. The test-suite runs a few hundred of them.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from lf_programs import KEYWORDS

from reactornb.errors import LFSyntaxError, ReactorError
from reactornb.lf import loads

PROGRAMS = (
    """
    target Python { timeout: 9 nsec, fast: true, keepalive: false, workers: 2, files: [a, b] }
    preamble {= K = 2 =}
    reactor Base(n = 1, d = 3 nsec) { input inp; output out; state s = n; timer t(d, d)
      method twice(x): int {= return 2 * x =}
      reaction(inp) -> out {= pass =} deadline(d) {= pass =} }
    reactor Sub(m = {= 2 =}) extends Base { reset state q = [1, 2]; mutable input more
      reaction first(t) more -> out {= pass =} }
    main reactor(w = 3) { a = new Base(n = 2); b = new[w] Sub(d = 2 nsec, m = {= bank_index =}); c = new[2] Base(n = w)
      a.out, b.out -> b.inp, a.inp after 1 nsec
      (c.out)+ -> b.more after 0
      reaction(startup, a.out) b.out -> c.inp {= pass =}
      reaction(shutdown) {= pass =} }
    """,
    """
    reactor Wide(n = 2, k = {= 1 =}) { input[n] a; input[n + 1] b; output[widthof(a) + k] c; output d
      reaction(a, b) -> c {= pass =}
      reaction(startup) a -> d {= pass =} }
    reactor Pass(bank_index = 0) { input[2] x; output y; input z
      w = new Wide(n = {= bank_index + 1 =})
      x -> w.b
      w.d -> y
      reaction() -> w.a {= pass =} }
    main reactor { p = new[2] Pass(); q = new[3] Wide(n = 2); r = new[widthof(q.c)] Pass()
      interleaved(q.c) -> p.x, r.x
      p.y ~> r.z after 2 nsec
      reaction(startup) -> q.a, interleaved(q.b) {= pass =}
      reaction(p.y as py, interleaved(q.c)) {= py =} }
    """,
    """
    reactor Inner { input i; output o; logical action a(1 nsec, 2 nsec, "drop"): int; physical action p
      reaction(i) -> a, p {= pass =}
      reaction(a, p) -> o {= pass =} }
    main reactor { timer t(0, 5 nsec); output v; state z(1); watchdog dog(3 nsec) -> reset(B) {= pass =}
      initial mode A { x = new Inner(); y = new Inner()
        x.o -> y.i
        reaction(t) -> reset(B), x.i {= pass =}
        reaction(reset) -> v, dog {= pass =} }
      mode B { u = new[2] Inner()
        timer s(1 nsec)
        reaction(s) -> history(A), u.i {= pass =}
        reaction(t, dog) -> v {= pass =} } }
    """,
)
VALUES = (
    "0", "1", "2", "-1", "3.5", '"x"', "true", "None", "forever", "4 nsec", "[1, 2]", "(1)", "(1, 2)", "{1}", "[]", "n", "d", "w", "self",
    "bank_index", "bank_width", "{= 1 =}", "{= [] =}", "{= None =}", '{= "x" =}', "{= 2.5 =}", "{= bank_index =}", "{= 1/0 =}", "{= self.n =}",
    "{= self =}", "{= pass =}", "{= =}", "{= K =}", "{= x.y =}", "{= -1 =}", "{= True =}", "{= return 1 =}", "{= yield =}",
)  # fmt: skip
WORDS = (
    "input", "output", "state", "timer", "logical action", "mode", "initial", "reset", "history", "extends", "widthof", "interleaved", "main",
    "mutable", "after", "new", "new[2]", "new[0]", "as", "reactor", "compose", "class", "seed", "_spec", "__init__", "log", "self", "->", "~>",
    "Reactor", "lambda", "startup",
)  # fmt: skip
SLOW_S = 5.0

_TOKEN = re.compile(r'\{=.*?=\}|"[^"]*"|\w+|\s+|->|~>|.', re.DOTALL)
_VALUE = re.compile(r'\{=|"|\d')


def damaged(seed: int) -> str:
    """A program to which something has happened."""
    rng = np.random.default_rng(seed)
    pieces = _TOKEN.findall(PROGRAMS[rng.integers(len(PROGRAMS))])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        # A name or a value, rarely a sign, never layout: most texts should come through the parser.
        some = rng.random() < 0.9
        at = int(
            rng.choice(
                [i for i, p in enumerate(pieces) if _VALUE.match(p) or p.isidentifier() or not (some or p.isspace())]
            )
        )
        names = [piece for piece in pieces if piece.isidentifier() and piece not in KEYWORDS]
        match rng.choice((0, 0, 0, 0, 0, 0, 3, 4, 5, 5)):
            case 0:
                if _VALUE.match(pieces[at]):
                    pieces[at] = str(rng.choice(VALUES))
                elif pieces[at].isidentifier() and pieces[at] not in KEYWORDS:
                    pieces[at] = str(rng.choice(names))
                elif not pieces[at].isidentifier():
                    pieces[at] = str(rng.choice(("", ",", ";", "(", ")", "[", "]", "=", ".", "->")))
            case 3:
                pieces[at] = str(rng.choice(WORDS + VALUES))
            case 4:
                del pieces[at : at + int(rng.integers(1, 4))]
            case _:  # a line is lost, or doubled, or moves
                text = "".join(pieces).split("\n")
                line = int(rng.integers(len(text)))
                kept = [text.pop(line)] if rng.random() < 0.5 else [text[line]]
                other = int(rng.integers(len(text)))
                text[other:other] = kept if rng.random() < 0.7 else []
                pieces = _TOKEN.findall("\n".join(text))
    return "".join(pieces)


def check(text: str) -> str:
    """Load and assemble, and check what comes out.

    Returns:
        "program", or the error's class.
    """
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loads(text, file="f.lf").program()
        except ReactorError as error:
            outcome = type(error).__name__
            message = str(error)
            assert len(message) < 3000, message
            placed = isinstance(error, LFSyntaxError) or "f.lf" in message
            assert placed, f"no place: {message!r}\n{text}"
        except Exception as error:
            if traceback.extract_tb(error.__traceback__)[-1].filename != "f.lf":
                error.add_note(f"The text: {text}")
                raise
            outcome = "a preamble's own error"
        else:
            outcome = "program"
    took = time.perf_counter() - begun
    assert took < SLOW_S, f"{took:.1f} s for:\n{text}"
    return outcome


def main() -> None:
    """Fuzz for some minutes, and say what was seen."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    end = time.monotonic() + 60 * given.minutes
    seen: Counter[str] = Counter()
    seed = given.seed
    while time.monotonic() < end:
        try:
            seen[check(damaged(seed))] += 1
        except BaseException:
            print(f"seed {seed}", flush=True)  # noqa: T201
            raise
        seed += 1
        if seed % 2000 == 0:
            print(seed, "texts:", dict(seen.most_common()), flush=True)  # noqa: T201
    print(seed, "texts:", dict(seen.most_common()))  # noqa: T201


if __name__ == "__main__":
    main()
