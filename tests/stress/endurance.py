"""A long run keeps its memory, for as many rounds as you like.

    python tests/stress/endurance.py --rounds 1000000

Prints memory ten times; ends with status 1 if what the interpreter has allocated, or what the process has in memory, grew
by more from the first half to the second than a run that keeps nothing can explain.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from churn import Churn, Source

from reactornb import Program, Reactor, Shared, reaction
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

__all__ = ["BLOCKS", "KB", "grown", "soak"]

# What may differ from one moment to another in a program of four members: arrays and events in flight, free lists. One block
# kept in each round would be a thousand from one half to the other in the shortest of these runs.
BLOCKS = 600
KB = 2048


class Watched(Source):
    """Looks at the memory between two rounds, when no other reaction runs."""

    look: Shared[object]

    @reaction(Source.replies)
    def on_round(self):
        self.look(self.done)


def memory() -> tuple[int, int]:
    """(blocks allocated by the interpreter, kB of this process in memory)."""
    gc.collect()
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    except OSError:
        resident = 0
    return sys.getallocatedblocks(), resident


class Soaked(Churn):
    """`Churn`, watched."""

    look: Shared[object]

    def source_of(self) -> Reactor:
        """See `Churn`."""
        return Watched(n=self.n, rounds=self.rounds, look=self.look)


def soak(
    rounds: int, workers: int, looks: int = 10, say: Callable[[str], object] = lambda _: None
) -> list[tuple[int, int, int]]:
    """Run; returns (round, blocks, kB) after each part of the rounds.

    Args:
        rounds: of a program with four members, with delays, actions, timers, modes and arrays.
        workers: threads.
        looks: parts.
        say: told of each look.
    """
    seen = []
    every = rounds // looks
    began = time.monotonic()

    def look(done: int) -> None:
        if done % every == 0:
            seen.append((done, *memory()))
            say(f"{done:>9,} rounds {time.monotonic() - began:7.1f} s {seen[-1][1]:>9,} blocks {seen[-1][2]:>9,} kB\n")

    Program(Soaked(n=4, rounds=rounds, look=look)).run(workers=workers, fast=True, placement="none")
    return seen


def grown(seen: list[tuple[int, int, int]]) -> tuple[int, int]:
    """By how many blocks and kB the least of the later half of the looks is above the least of the earlier half.

    What is kept for good raises every look after it; what is in flight at one look is gone at another.
    """
    half = len(seen) // 2
    blocks, kb = ([look[k] for look in seen] for k in (1, 2))
    return min(blocks[half:]) - min(blocks[:half]), min(kb[half:]) - min(kb[:half])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--share", action="store_true", help="share every level, however cheap")
    options = parser.parse_args()
    if options.share:
        LevelRunner.policy = Policy(share_above_ns=0)
    blocks, kb = grown(soak(options.rounds, options.workers, say=sys.stdout.write))
    sys.stdout.write(f"grown by {blocks:,} blocks and {kb:,} kB from the first half of the looks to the second\n")
    return int(blocks > BLOCKS or kb > KB)


if __name__ == "__main__":
    sys.exit(main())
