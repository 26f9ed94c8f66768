"""How long a Lingua Franca program takes from text to a graph that can run: `reactornb bench assembly`.

Three programs of growing size, and any files given: parsing, and everything until the program could be started. The large ones
have a thousand reactors and ten thousand connected channels, once as two banks joined by a few lines, once written out, which is a
text of eleven thousand statements. Medians over a few rounds, after one that fills the caches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reactornb.lf import loads, parse

__all__ = ["main", "measure"]

SMALL = """
target Python { timeout: 1 sec }
reactor Count(offset = 0, period = 1 sec) {
  state count = 1
  output out
  timer t(offset, period)
  reaction(t) -> out {=
    out.set(self.count)
    self.count += 1
  =}
}
reactor Check(expected = 10) {
  input inp
  state seen = 0
  reaction(inp) {=
    self.seen += 1
    if inp.value != self.seen:
      raise ValueError(inp.value)
  =}
  reaction(shutdown) {=
    print(self.seen, "of", self.expected)
  =}
}
main reactor {
  count = new Count(period = 100 msec)
  check = new Check()
  count.out -> check.inp after 1 msec
}
"""

BANKS = """
target Python
reactor Node(bank_index = 0, width = 10) {
  input[width] inp
  output[width] out
  state seen = 0
  reaction(startup) -> out {= pass =}
  reaction(inp) {= self.seen += 1 =}
}
main reactor {
  a = new[500] Node()
  b = new[500] Node()
  a.out -> b.inp
  b.out -> interleaved(a.inp) after 1 msec
}
"""


def written_out(reactors: int = 1000, ports: int = 10) -> str:
    """The text of a ring in which every connection is a statement of its own."""
    lines = ["target Python", "reactor Node {"]
    lines += [f"  input i{p}\n  output o{p};" for p in range(ports)]
    lines += [f"  reaction(startup) -> {', '.join(f'o{p}' for p in range(ports))} {{= pass =}}", "}", "main reactor {"]
    lines += [f"  n{r} = new Node()" for r in range(reactors)]
    lines += [f"  n{r}.o{p} -> n{(r + 1) % reactors}.i{p}" for r in range(reactors) for p in range(ports)]
    return "\n".join([*lines, "}"])


def measure(text: str, file: str, rounds: int) -> dict[str, Any]:
    """Median milliseconds of parsing a text and of making a program of it, and what the program has.

    Args:
        text: the program; one without a main reactor is only loaded.
        file: its name.
        rounds: how often each is measured.
    """
    loaded = loads(text, file=file)
    graph = loaded.program().graph if loaded.main is not None else None
    return {
        "program": Path(file).name,
        "lines": text.count("\n") + 1,
        "reactors": len(graph.reactors) if graph else 0,
        "connections": len(graph.edges) if graph else 0,
        "parse_ms": _median_ms(lambda: parse(text, file=file), rounds),
        "total_ms": _median_ms(lambda: _all(text, file), rounds),
    }


def _all(text: str, file: str) -> None:
    loaded = loads(text, file=file)
    if loaded.main is not None:
        loaded.program()


def _median_ms(run: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        took.append(time.perf_counter() - begun)
    return round(statistics.median(took) * 1e3, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; the exit status is 1 if a bar is missed: 150 ms for the median file, 1 s for the banks.

    Args:
        argv: words of the command line.
    """
    parser = argparse.ArgumentParser(prog="reactornb bench assembly", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help=".lf files to measure as well")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default 5)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    chosen = parser.parse_args(argv)
    warnings.simplefilter("ignore")  # warnings about ignored target properties do not matter here
    programs = [(SMALL, "small.lf"), (BANKS, "banks.lf"), (written_out(), "written-out.lf")]
    results = [measure(text, name, chosen.rounds) for text, name in programs]
    file_results = [measure(path.read_text(encoding="utf-8"), str(path), chosen.rounds) for path in chosen.files]
    median = statistics.median([f["total_ms"] for f in file_results] or [results[0]["total_ms"]])
    if chosen.json:
        print(json.dumps({"programs": results, "files": file_results, "median_ms": median}))
    else:
        print(f"{'program':16} {'lines':>6} {'reactors':>8} {'connections':>11} {'parse ms':>9} {'total ms':>9}")
        for f in results + (file_results if len(file_results) <= 10 else []):
            print(
                f"{f['program'][:16]:16} {f['lines']:6} {f['reactors']:8} {f['connections']:11} {f['parse_ms']:9} {f['total_ms']:9}"
            )
        if file_results:
            print(f"median of {len(file_results)} files: {median:.1f} ms")
    return int(median > 150 or results[1]["total_ms"] > 1000)


if __name__ == "__main__":
    sys.exit(main())
