"""Clients that sleep and return an array of 10 MB: what a round takes over the sleep; the paper's experiment 1.

"by reference": a client sends the array that it has. "copied": it sends a copy that it makes each round, as in the published program. A
sleeping client keeps a thread, so there are as many workers as clients. The limits are as many threads that call the same bodies and
meet at a barrier after each round. An array that an actor of Ray returns is copied once anyway, into the object store; --as-published
measures actors that make a copy before that, too.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reactornb import Input, Output, Program, Reactor, reaction, shutdown, startup
from reactornb.bench import peers
from reactornb.bench.broadcast import seconds_of, wire
from reactornb.bench.measure import Report, in_threads, interleave, numbers, options, positive
from reactornb.bench.peers.bodies import Sender

__all__ = ["KINDS", "Case", "Senders", "add_options", "available_bytes", "main", "measure", "threads_at_a_barrier"]

SIZE = 10 * 2**20  # 1,310,720 float64
AT_MOST = 1 / 20  # of Ray's overhead, 16 clients
KINDS = {False: "by reference", True: "copied"}
UNIT = "ms per round over the sleep"
RAY_STORE_FROM = (
    2**30
)  # bytes a round: from here on Ray is started with a store that holds them, and ended after each measurement


class Client(Reactor):
    """`Sender` as a reactor."""

    inp = Input[int]()
    out = Output[Any](doc="float64 [size / 8]")
    size: int = SIZE
    sleep_s: float = 0.5
    copied: bool = False

    @reaction(startup)
    def on_startup(self):  # type: ignore[no-untyped-def]
        self.sender = Sender(self.size)

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: ARG002
        out.set(self.sender.reply(self.sleep_s, self.copied))

    @reaction(shutdown)
    def on_shutdown(self):  # type: ignore[no-untyped-def]
        del self.sender  # the run's objects outlive it; gigabytes must not


class Senders(Reactor):
    """A server and clients that sleep and send, in a loop with a delay of one microstep."""

    clients: int = 16
    size: int = SIZE
    sleep_s: float = 0.5
    copied: bool = False
    rounds: int = 10

    def compose(self) -> None:
        """Broadcast, gather."""
        wire(self, Client, self.clients, self.rounds, size=self.size, sleep_s=self.sleep_s, copied=self.copied)


def threads_at_a_barrier(*, clients: int, size: int, sleep_s: float, copied: bool, rounds: int) -> float:
    """Seconds of `clients` threads that each call the body of a client and wait for all others after each round."""
    barrier = threading.Barrier(clients)
    # replies: each thread writes its own place; nobody reads, they keep a round's arrays alive as ports do
    replies: list[Any] = [None] * clients

    def prepare(index: int) -> Callable[[], None]:
        sender = Sender(size)

        def run() -> None:
            try:
                for _ in range(rounds):
                    replies[index] = sender.reply(sleep_s, copied)
                    barrier.wait()
            except BaseException:
                barrier.abort()  # so that the other threads do not wait for this one
                raise

        return run

    return in_threads(clients, prepare)


def available_bytes() -> int | None:
    """Memory that programs can still have without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None


@dataclass(frozen=True)
class Case:
    """What is measured together: so many clients with arrays of that size.

    Attributes:
        label: of its figures, such as "16 clients, ".
        clients: how many.
        size: of an array, in bytes.
    """

    label: str
    clients: int
    size: int

    def needs(self, what: str) -> int:
        """Bytes that a kind of ours takes at the most (copies: the arrays, and those of this round and the last), or a peer (arrays, store)."""
        arrays = self.clients * self.size
        return {"by reference": arrays, "copied": 3 * arrays}.get(what, arrays + self._store)

    @property
    def store_bytes(self) -> int:
        """Size of Ray's object store for it; 0: the one that Ray chooses itself holds it."""
        return self._store if self.clients * self.size >= RAY_STORE_FROM else 0

    @property
    def _store(self) -> int:
        return self.clients * self.size * 6 // 5 + 2**28


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that experiments 1 and 2 share."""
    parser.add_argument("--sleep", type=float, default=0.5, metavar="S", help="of a client, per round (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=10, help="of one measurement (%(default)s)")
    parser.add_argument(
        "--as-published", action="store_true", help="a peer's actors return a copy, as well as what they have"
    )


def measure(report: Report, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
    """Measure all cases in turns, and add what their rounds take over the sleep. What would not fit into the memory is noted."""
    memory = available_bytes()
    report.machine["available_gb"] = None if memory is None else round(memory / 2**30, 1)
    variants: dict[str, Callable[[], float]] = {}
    with report.opened(chosen) as opened:
        for case in cases:
            for name, kind, run in _variants(chosen, case, opened):
                needed = case.needs(kind)
                if memory is not None and needed > 0.8 * memory:
                    has, free = f"{needed / 2**30:.0f} GB", f"{memory / 2**30:.0f}"
                    report.notes.append(f"{case.label}{name}: not measured, it needs {has} and {free} are free")
                else:
                    variants[case.label + name] = run
        seconds = interleave(variants, chosen.repeats) if variants else {}
    report.add(
        {name: [1e3 * (s / chosen.rounds - chosen.sleep) for s in values] for name, values in seconds.items()}, UNIT
    )


def _variants(
    chosen: argparse.Namespace, case: Case, opened: Mapping[str, peers.PeerProcess]
) -> Iterator[tuple[str, str, Callable[[], float]]]:
    """The ways to do a case: name, what of the memory it needs (`Case.needs`), and a function that measures it once."""
    sizes: dict[str, Any] = {
        "clients": case.clients, "size": case.size, "rounds": chosen.rounds, "sleep_s": chosen.sleep,
    }  # fmt: skip
    for copied, kind in KINDS.items():
        yield f"threads, {kind}", kind, partial(threads_at_a_barrier, copied=copied, **sizes)
        yield f"reactors, {kind}", kind, partial(_reactors, copied=copied, **sizes)
    for name, peer in opened.items():
        timeout = 300.0 + chosen.rounds * (chosen.sleep + 10.0)
        asked = partial(peer.seconds, "actors", timeout=timeout, store_bytes=case.store_bytes, **sizes)
        yield name, "peer", partial(asked, copied=False)
        if chosen.as_published:
            yield f"{name}, as published", "peer", partial(asked, copied=True)


def _reactors(**parameters: Any) -> float:
    # A program of its own each time: what a run held is freed with it.
    return seconds_of(Program(Senders, **parameters), parameters["clients"])


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("actors", __doc__, repeats=3, workers=None)
    parser.add_argument("--clients", type=numbers, default=(2, 4, 8, 16), metavar="N,N", help="(2,4,8,16)")
    parser.add_argument("--size", type=positive, default=SIZE, metavar="BYTES", help="of an array (%(default)s)")
    add_options(parser)
    chosen = parser.parse_args(argv)
    report = Report("actors", {name: getattr(chosen, name) for name in ("clients", "size", "sleep", "rounds")})
    cases = [Case(f"{clients} clients, ", clients, chosen.size) for clients in chosen.clients]
    measure(report, chosen, cases)
    for case in cases:
        for kind in KINDS.values():
            report.ratio(f"reactors, {kind}", f"threads, {kind}", case.label)
        for name in chosen.peers:
            bar = AT_MOST if (name, case.clients, case.size) == ("ray", 16, SIZE) else None
            report.ratio("reactors, by reference", name, case.label, at_most=bar)
            report.ratio("reactors, copied", name, case.label)
    return report.finish(chosen)
