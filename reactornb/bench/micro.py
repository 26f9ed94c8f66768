"""What a reaction costs: 15 clients reply to a server with its question plus one, and nothing else is done.

The limit is a plain loop that calls the same sixteen bodies as methods, each of which reads an attribute of one object and sets that
of another through a method.
"""

from __future__ import annotations

from collections.abc import Sequence

from reactornb import Input, Output, Reactor, reaction
from reactornb.bench.broadcast import Body, Port, compare, wire
from reactornb.bench.measure import Report, options, peers_asked_for, workers_word

__all__ = ["Client", "Micro", "main", "plain_client"]


class Client(Reactor):
    """Replies with the question plus one."""

    inp = Input[int]()
    out = Output[int]()

    @reaction(inp)
    def on_inp(self, inp, out):  # type: ignore[no-untyped-def]  # noqa: D102
        out.set(inp.value + 1)


class Micro(Reactor):
    """A server and its clients in a loop with a delay of one microstep."""

    clients: int = 15
    rounds: int = 1000

    def compose(self) -> None:
        """Broadcast, gather."""
        wire(self, Client, self.clients, self.rounds)


class PlainClient:
    """`Client`, called by a loop."""

    def on_inp(self, inp: Port, out: Port) -> None:
        """The client's reaction."""
        out.set(inp.value + 1)


def plain_client(_: int) -> Body:
    """The body of a client in a plain loop."""
    return PlainClient().on_inp


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("micro", __doc__, repeats=11, lf=True, cpu_time=True)
    parser.add_argument("--clients", type=int, default=15, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5000, help="rounds of one measurement (%(default)s)")
    chosen = parser.parse_args(argv)
    parameters = {"clients": chosen.clients, "rounds": chosen.rounds}
    report = Report("micro", parameters)
    compare(
        report,
        chosen,
        Micro,
        plain_client,
        parameters,
        clients=chosen.clients,
        units=chosen.rounds * (chosen.clients + 1),
        unit="µs per reaction",
        limit=False,
    )
    one, *more = [workers_word(count) for count in chosen.workers]
    report.bar(one, 0.5)
    report.ratio(one, "plain loop", at_most=3.5)
    for name in more:
        report.speed(name, one, at_least=0.95)
    for name in (one, *more) if chosen.lf else ():
        report.speed(f"{name}, .lf", name)
    for name in peers_asked_for(chosen):
        report.speed(one, name, at_least=5.0 if name == "xronos" else None)
    return report.finish(chosen)
