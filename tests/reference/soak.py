"""Random programs against the interpreter for as long as you like, with other programs each time.

    python tests/reference/soak.py --minutes 10 [--apart] [--cut | --kept]

Ends with status 1 at the first program that differs, with the lines that the difference does not need left out.
"""

from __future__ import annotations

import argparse
import faulthandler
import secrets
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from compare import Different, check, check_apart
from cuts import check_cuts
from interpreter import EndlessError
from kept import check_kept
from programs import draw_program

from reactornb.errors import AssemblyError

HUNG_S = 120.0


def tried(drawn, counts, salt=None, *, cut=False, kept=False, apart=False):
    """Check one program and count what became of it; with a salt, its enclaves against none, or what follows its cuts or stops against the whole."""
    faulthandler.dump_traceback_later(HUNG_S, exit=True)
    try:
        if cut or kept:
            with tempfile.TemporaryDirectory(prefix="reactornb-") as root:
                resumed = (
                    check_kept(drawn, salt, Path(root), apart=apart) if kept else check_cuts(drawn, salt, apart=apart)
                )
            counts["programs that were cut" if isinstance(resumed, int) else resumed] += 1
            counts["resumed runs"] += resumed if isinstance(resumed, int) else 0
            return
        if salt is not None:
            counts[check_apart(drawn, salt)] += 1
            return
        ran = check(drawn)
        counts["programs"] += 1
        counts["reactions"] += ran
    except (AssemblyError, EndlessError) as error:
        counts[type(error).__name__] += 1
    finally:
        faulthandler.cancel_dump_traceback_later()


def smaller(drawn):
    """The same program without the lines that the difference does not need."""
    lines = drawn.source.splitlines()
    for size in (24, 12, 6, 3, 1, 3, 1, 1):
        at = 0
        while at < len(lines):
            rest = lines[:at] + lines[at + size :]
            if differs(replace(drawn, source="\n".join(rest))):
                lines = rest
            else:
                at += 1
    return replace(drawn, source="\n".join(lines))


def differs(drawn):
    try:
        tried(drawn, Counter())
    except Different:
        return True
    except Exception:  # noqa: BLE001 - most programs that lack a line are none
        return False
    return False


def chooser(seed):
    rng = np.random.default_rng(seed)
    return lambda n: int(rng.integers(n))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="of the first program; random unless given")
    parser.add_argument("--apart", action="store_true", help="with enclaves against without")
    parser.add_argument(
        "--cut", action="store_true", help="what follows a cut against the whole run; also with --apart"
    )
    parser.add_argument("--kept", action="store_true", help="the same, stopped and resumed from a folder")
    parser.add_argument("--programs", type=int, default=1 << 62, help="no more than so many that were cut")
    options = parser.parse_args()
    warnings.simplefilter("error")
    seed = secrets.randbelow(1 << 40) if options.seed is None else options.seed
    counts: Counter[str] = Counter()
    until = time.monotonic() + 60 * options.minutes
    while time.monotonic() < until and counts["programs that were cut"] < options.programs:
        drawn = draw_program(chooser(seed))
        try:
            salt = seed if options.apart or options.cut or options.kept else None
            tried(drawn, counts, salt, cut=options.cut, kept=options.kept, apart=options.apart)
        except Different:
            if salt is not None:
                sys.stdout.write(f"--seed {seed}\n")
                raise
            sys.stdout.write(f"--seed {seed}: a difference; looking for a smaller program with one …\n")
            tried(smaller(drawn), counts)
            raise
        except BaseException:
            sys.stdout.write(f"--seed {seed}: {drawn!r}\n")
            raise
        seed += 1
    sys.stdout.write(", ".join(f"{n:,} {what}" for what, n in sorted(counts.items())) + "\n")


if __name__ == "__main__":
    main()
