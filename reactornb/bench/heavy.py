"""What a second worker gives: the micro benchmark with a loop of 20,000 turns of pure Python in every client.

The limits are a plain loop in one thread, and as many threads as workers that never wait for each other and run the same bodies.
With 15 clients one of two workers has eight bodies where the other has seven: nothing is faster than 15/8 = 1.875 times
one; with 16 there is no such bound.
"""

from __future__ import annotations

from collections.abc import Sequence

from reactornb import Input, Output, Reactor, reaction
from reactornb.bench.broadcast import Body, Port, compare, wire
from reactornb.bench.measure import Report, numbers, options, peers_asked_for, threads_word, workers_word
from reactornb.bench.peers.bodies import spin

__all__ = ["Client", "Heavy", "main", "plain_client"]


class Client(Reactor):
    """Replies after `turns` turns of a loop."""

    inp = Input[int]()
    out = Output[int]()
    turns: int = 20_000

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: D102
        out.set(spin(inp.value, self.turns))


class Heavy(Reactor):
    """A server and its clients in a loop with a delay of one microstep."""

    clients: int = 15
    rounds: int = 20
    turns: int = 20_000

    def compose(self) -> None:
        """Broadcast, gather."""
        wire(self, Client, self.clients, self.rounds, turns=self.turns)


def plain_client(turns: int) -> Body:
    """The body of a client in a plain loop."""

    def on_inp(inp: Port, out: Port) -> None:
        out.set(spin(inp.value, turns))

    return on_inp


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("heavy", __doc__, repeats=7, lf=True, cpu_time=True)
    parser.add_argument("--clients", type=numbers, default=(15, 16), metavar="N,N", help="(15,16)")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of one measurement (%(default)s)")
    parser.add_argument("--turns", type=int, default=20_000, help="of a client's loop (%(default)s)")
    chosen = parser.parse_args(argv)
    report = Report("heavy", {"clients": chosen.clients, "rounds": chosen.rounds, "turns": chosen.turns})
    one, *more = [workers_word(count) for count in chosen.workers]
    for clients in chosen.clients:
        label = f"{clients} clients, "
        compare(
            report,
            chosen,
            Heavy,
            lambda _: plain_client(chosen.turns),
            {"clients": clients, "rounds": chosen.rounds, "turns": chosen.turns},
            clients=clients,
            units=chosen.rounds * clients,
            unit="µs per client",
            limit=True,
            label=label,
        )
        report.speed(one, "plain loop", label, at_least=0.98)
        for name, count in zip(more, chosen.workers[1:], strict=True):
            report.speed(name, threads_word(count), label, at_least=0.97)
            # 15 bodies on two workers: 15/8 at best.
            report.speed(name, one, label, at_least=1.9 if count == 2 and clients % 2 == 0 else None)
            report.speed(threads_word(count), "plain loop", label)
        for name in (one, *more) if chosen.lf else ():
            report.speed(f"{name}, .lf", name, label)
        for name in peers_asked_for(chosen):
            report.speed((more or [one])[-1], name, label)
    return report.finish(chosen)
