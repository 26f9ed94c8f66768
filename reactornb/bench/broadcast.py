"""The loop that three benchmarks share: a server asks, its clients reply, again and again; and its limits.

The server's question goes to all clients one microstep later, their replies come together in a multiport: the shape of
the paper's experiments (arXiv 2312.04704, section 5). What a client computes is the benchmark's. The limits call the
same bodies as methods or functions of plain objects: a loop in one thread, threads that never wait for each other, and threads that
do so once in a round. Times are taken from the server's first question to the last reply, on every side.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction
from reactornb.bench.measure import (
    Report,
    in_step_word,
    in_threads,
    interleave,
    lf_program,
    threads_word,
    workers_word,
)
from reactornb.bench.peers.bodies import now, show
from reactornb.lf import load

__all__ = [
    "Body",
    "PlainServer",
    "PlainShowing",
    "Port",
    "Server",
    "Showing",
    "compare",
    "free_threads",
    "plain_loop",
    "seconds_of",
    "threads_in_step",
    "wire",
]


class Server(Reactor):
    """Asks all clients and waits for all replies, `rounds` times; begins when all that starts up has done so."""

    begin = Timer(ms(1))
    replies = Input[Any](width="clients")
    ask = Output[int]()
    clients: int = 15
    rounds: int = 1000

    @reaction(begin)
    def on_begin(self, ask):  # type: ignore[no-untyped-def]  # noqa: D102
        self.round = 0
        self.began = now()
        ask.set(0)

    @reaction(replies)
    def on_replies(self, replies, ask):  # type: ignore[no-untyped-def]  # noqa: ARG002, D102
        self.round += 1
        if self.round < self.rounds:
            ask.set(self.round)
        else:
            self.ended = now()
            self.request_stop()


class Showing(Server):
    """Prints all replies, as the paper's programs do."""

    @reaction(Server.replies)
    def on_replies(self, replies, ask):  # type: ignore[no-untyped-def]  # noqa: D102
        show(replies.values)
        self.round += (
            1  # as in Server, whose reaction nobody else can call; a method of both would cost every round a call
        )
        if self.round < self.rounds:
            ask.set(self.round)
        else:
            self.ended = now()
            self.request_stop()


def wire(
    root: Any, client: type[Reactor], clients: int, rounds: int, *, server: type[Server] = Server, **parameters: Any
) -> None:
    """Put a server and a bank of clients into a reactor that is being composed; parameters are the clients'."""
    root.server = server(clients=clients, rounds=rounds)
    root.client = Bank(client, clients, **parameters)
    connect(root.server.ask, root.client.inp, after=0, broadcast=True)
    connect(root.client.out, root.server.replies)


def seconds_of(program: Program, workers: int) -> float:
    """Run a program with a `server` and return the seconds from its first question to the last reply."""
    run = program.start(workers=workers, fast=True)
    run.result()
    server: Any = run.instance("server")
    return float(server.ended - server.began)


# -- limits ---------------------------------------------------------------------------------------------------------------


class Port:
    """The simplest object with a value and a `set`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = 0

    def set(self, value: Any) -> None:
        """Set it."""
        self.value = value


type Body = Callable[[Port, Port], None]


class PlainServer:
    """`Server`, called by a loop."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.round = 0
        self.stopped = False

    def on_replies(self, replies: Sequence[Port], ask: Port) -> None:  # noqa: ARG002
        """The server's reaction."""
        self.round += 1
        if self.round < self.rounds:
            ask.set(self.round)
        else:
            self.stopped = True


class PlainShowing(PlainServer):
    """`Showing`, called by a loop."""

    def on_replies(self, replies: Sequence[Port], ask: Port) -> None:
        """See `PlainServer`."""
        show(reply.value for reply in replies)
        super().on_replies(replies, ask)


def _plain(make: Callable[[int], Body], clients: Sequence[int]) -> tuple[list[tuple[Body, Port]], list[Port]]:
    """The bodies of these clients, each with its output, and all outputs."""
    outs = [Port() for _ in clients]
    return [(make(client), out) for client, out in zip(clients, outs, strict=True)], outs


def _loop(
    make: Callable[[int], Body], clients: Sequence[int], rounds: int, kind: type[PlainServer] = PlainServer
) -> Callable[[], None]:
    """A function that calls the bodies of a server and of these clients, `rounds` times."""
    server, ask = kind(rounds), Port()
    calls, outs = _plain(make, clients)
    on_replies = server.on_replies

    def run() -> None:
        ask.set(0)
        while not server.stopped:
            for body, out in calls:
                body(ask, out)
            on_replies(outs, ask)

    return run


def plain_loop(make: Callable[[int], Body], clients: int, rounds: int, kind: type[PlainServer] = PlainServer) -> float:
    """Seconds of a loop that calls the bodies of the server and of all clients.

    Args:
        make: the body of the client with an index.
        clients: how many.
        rounds: of the loop.
        kind: of the server.
    """
    run = _loop(make, range(clients), rounds, kind)
    began = now()
    run()
    return now() - began


def free_threads(
    make: Callable[[int], Body], clients: int, rounds: int, threads: int, kind: type[PlainServer] = PlainServer
) -> float:
    """Seconds of threads that each call the bodies of every `threads`-th client, never waiting for another one.

    If `threads` does not divide the number of clients, some threads call one client more: the best possible time for a level of
    that many equal reactions. Each thread has a server of its own, whose body takes negligible time.
    """
    return in_threads(threads, lambda index: _loop(make, range(index, clients, threads), rounds, kind))


def threads_in_step(make: Callable[[int], Body], clients: int, rounds: int, threads: int) -> float:
    """Seconds of threads that each call the bodies of every `threads`-th client and wait for each other after each round.

    The best hand-written loop for this program, whose server needs all replies before it asks again: thread 0 calls the server's
    body while the others spin.
    """
    server, ask = PlainServer(rounds), Port()
    # asked: written by thread 0, read by the others; done: each of them writes its own place, thread 0 reads; one thread's store of an
    # object is seen by another one's load together with all that was written before it
    asked, done = [0], [0] * threads

    def prepare(index: int) -> Callable[[], None]:
        calls, outs = _plain(make, range(index, clients, threads))

        def lead() -> None:
            others = range(1, threads)
            for turn in range(1, rounds + 1):
                asked[0] = turn
                for body, out in calls:
                    body(ask, out)
                for other in others:
                    while done[other] < turn:
                        if server.stopped:
                            return
                server.on_replies(outs, ask)

        def follow() -> None:
            for turn in range(1, rounds + 1):
                while asked[0] < turn:
                    if server.stopped:
                        return
                for body, out in calls:
                    body(ask, out)
                done[index] = turn

        def run() -> None:
            try:
                (follow if index else lead)()
            except BaseException:
                server.stopped = True  # so that the other threads do not wait for this one
                raise

        return run

    return in_threads(threads, prepare)


# -- measuring ------------------------------------------------------------------------------------------------------------


def compare(
    report: Report,
    chosen: argparse.Namespace,
    root: type[Reactor],
    make: Callable[[int], Body],
    parameters: Mapping[str, Any],
    *,
    clients: int,
    units: int,
    unit: str,
    limit: bool,
    in_step: bool = False,
    server: type[PlainServer] = PlainServer,
    label: str = "",
) -> None:
    """Measure a program, its limits, its text and its peers in turns, and add their figures to the report.

    Args:
        report: to add to.
        chosen: the options.
        root: the program.
        make: the body of a plain client.
        parameters: of the program, of its text, and of a peer's function; `rounds` among them.
        clients: how many.
        units: what the seconds of one measurement are divided by.
        unit: of the figures, such as "µs per step".
        limit: measure unsynchronised threads too.
        in_step: and threads that wait for each other after each round.
        server: of the plain loop and of the threads that never wait.
        label: put before the names of figures.

    Raises:
        PeerError: if a peer's function raises or takes too long.
    """
    rounds = parameters["rounds"]
    program = Program(root, **parameters)
    variants: dict[str, Callable[[], float]] = {"plain loop": partial(plain_loop, make, clients, rounds, server)}
    for count in chosen.workers if limit else ():
        if count > 1:
            variants[threads_word(count)] = partial(free_threads, make, clients, rounds, count, server)
            if in_step:
                variants[in_step_word(count)] = partial(threads_in_step, make, clients, rounds, count)
    for count in chosen.workers:
        variants[workers_word(count)] = partial(seconds_of, program, count)
    if chosen.lf:
        text = load(lf_program(report.benchmark)).program(**parameters)
        for count in chosen.workers:
            variants[f"{workers_word(count)}, .lf"] = partial(seconds_of, text, count)
    with report.opened(chosen) as opened:
        for name, peer in opened.items():
            variants[name] = partial(peer.seconds, report.benchmark, **parameters)
        seconds = interleave(variants, chosen.repeats)
    report.add({label + name: [s * 1e6 / units for s in values] for name, values in seconds.items()}, unit)
