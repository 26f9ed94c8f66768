"""The benchmarks as programs of xronos 0.15 (xronos.com), its Python SDK over a C++ runtime. Runs in its environment.

xronos has no multiport: the server has one input per client and its reaction is triggered by all of them.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

import xronos
import xronos.experimental
from bodies import Player, lateness, now, poke_from_a_thread, show, spin, summary
from serve import serve


class Server(xronos.Reactor):
    """Asks all clients and waits for all replies, `rounds` times."""

    ask = xronos.OutputPortDeclaration[int]()

    def __init__(self, clients: int, rounds: int, first: Any, shows: bool) -> None:
        super().__init__()
        self.rounds = rounds
        self.shows = shows
        self.first = first
        self.round = 0
        self.began = self.ended = 0.0
        self.replies = [xronos.experimental.InputPort[Any](f"reply{i}", self) for i in range(clients)]

    @xronos.reaction
    def on_startup(self, ctx: Any) -> Callable[[], None]:  # noqa: D102
        ctx.add_trigger(self.startup)
        ask = ctx.add_effect(self.ask)

        def handler() -> None:
            self.began = now()
            ask.set(self.first)

        return handler

    @xronos.reaction
    def on_replies(self, ctx: Any) -> Callable[[], None]:  # noqa: D102
        replies = [ctx.add_trigger(reply) for reply in self.replies]
        ask = ctx.add_effect(self.ask)
        shutdown = ctx.add_effect(self.shutdown)

        def handler() -> None:
            self.round += 1
            if self.round < self.rounds:
                ask.set(self.round)
            else:
                self.ended = now()
                shutdown.trigger_shutdown()

        def showing() -> None:
            show(reply.get() for reply in replies)
            handler()

        return showing if self.shows else handler


class Client(xronos.Reactor):
    """Replies with what `body` makes of the question."""

    inp = xronos.InputPortDeclaration[int]()
    out = xronos.OutputPortDeclaration[Any]()

    def __init__(self, make: Callable[[Any, Any], Callable[[], None]]) -> None:
        super().__init__()
        self.make = make

    @xronos.reaction
    def on_inp(self, ctx: Any) -> Callable[[], None]:  # noqa: D102
        return self.make(ctx.add_trigger(self.inp), ctx.add_effect(self.out))


def _run(
    clients: int, rounds: int, make: Callable[[int], Callable[[Any, Any], Callable[[], None]]], *, shows: bool = False
) -> dict[str, Any]:
    env = xronos.Environment(fast=True)
    server = env.create_reactor("server", Server, clients=clients, rounds=rounds, first=0, shows=shows)
    for i in range(clients):
        client = env.create_reactor(f"client{i}", Client, make=make(i))
        env.connect(server.ask, client.inp, delay=datetime.timedelta(0))
        env.connect(client.out, server.replies[i])
    env.execute()
    if server.round != rounds:
        raise RuntimeError(f"{server.round} rounds of {rounds}")
    return {"seconds": server.ended - server.began, "reactions": 1 + rounds * (clients + 1)}


def micro(*, clients: int, rounds: int) -> dict[str, Any]:
    """Every client replies with the question plus one."""

    def make(_: int) -> Callable[[Any, Any], Callable[[], None]]:
        def bind(inp: Any, out: Any) -> Callable[[], None]:
            def handler() -> None:
                out.set(inp.get() + 1)

            return handler

        return bind

    return _run(clients, rounds, make)


def heavy(*, clients: int, rounds: int, turns: int) -> dict[str, Any]:
    """Every client computes for a while."""

    def make(_: int) -> Callable[[Any, Any], Callable[[], None]]:
        def bind(inp: Any, out: Any) -> Callable[[], None]:
            def handler() -> None:
                out.set(spin(inp.get(), turns))

            return handler

        return bind

    return _run(clients, rounds, make)


def gym(*, env: str, envs: int, rounds: int, steps: int, as_published: bool = False) -> dict[str, Any]:
    """Every client steps an environment; as published, all have one seed and the server prints what they see."""
    players = [Player(env, 0 if as_published else i) for i in range(envs)]

    def make(index: int) -> Callable[[Any, Any], Callable[[], None]]:
        player = players[index]

        def bind(inp: Any, out: Any) -> Callable[[], None]:
            def handler() -> None:
                inp.get()
                out.set(player.play(steps))

            return handler

        return bind

    try:
        return _run(envs, rounds, make, shows=as_published)
    finally:
        for player in players:
            player.close()


class Sleeper(xronos.Reactor):
    """Waits for a physical event that a thread triggers."""

    poke = xronos.PhysicalEventDeclaration[float]()

    def __init__(self, pokes: int) -> None:
        super().__init__()
        self.pokes = pokes
        self.delays: list[float] = []

    @xronos.reaction
    def on_startup(self, ctx: Any) -> Callable[[], None]:  # noqa: D102
        ctx.add_trigger(self.startup)

        def handler() -> None:
            self.thread = poke_from_a_thread(self.poke.trigger, self.pokes)

        return handler

    @xronos.reaction
    def on_poke(self, ctx: Any) -> Callable[[], None]:  # noqa: D102
        poke = ctx.add_trigger(self.poke)
        shutdown = ctx.add_effect(self.shutdown)

        def handler() -> None:
            self.delays.append(time.perf_counter() - poke.get())
            if len(self.delays) == self.pokes:
                shutdown.trigger_shutdown()

        return handler


class Ticker(xronos.Reactor):
    """Keeps how late each tick of its timer is."""

    tick = xronos.PeriodicTimerDeclaration()

    def __init__(self, period: int, ticks: int) -> None:
        super().__init__()
        self.tick.period = datetime.timedelta(milliseconds=period)
        self.tick.offset = datetime.timedelta(milliseconds=20)
        self.ticks = ticks
        self.lags: list[float] = []

    @xronos.reaction
    def on_tick(self, ctx: Any) -> Callable[[], None]:  # noqa: D102
        ctx.add_trigger(self.tick)
        shutdown = ctx.add_effect(self.shutdown)

        def handler() -> None:
            self.lags.append(ctx.lag.total_seconds())
            if len(self.lags) == self.ticks:
                shutdown.trigger_shutdown()

        return handler


def wake(*, part: str, pokes: int = 0, period: int = 0, ticks: int = 0) -> dict[str, Any]:
    """How soon a physical event is handled (part "wake"), how late a timer is (part "timer")."""
    env = xronos.Environment()
    if part == "wake":
        sleeper = env.create_reactor("sleeper", Sleeper, pokes=pokes)
        env.execute()
        sleeper.thread.join()
        return summary(sleeper.delays)
    ticker = env.create_reactor("ticker", Ticker, period=period, ticks=ticks)
    env.execute()
    return lateness(ticker.lags, period)


if __name__ == "__main__":
    serve(micro=micro, heavy=heavy, gym=gym, wake=wake)
