"""Levels: the order of reactions at one tag, and the error for a loop, where there is no order."""

from __future__ import annotations

from typing import Any

from reactornb.errors import CausalityError
from reactornb.graph.nodes import Edge, Flat, ReactionNode, declared_path, short

__all__ = ["levels_of"]


def levels_of(work: Flat) -> tuple[list[int], int]:
    """The level of each reaction, and how many levels there are: the longest path of reactions that must run before it.

    Raises:
        CausalityError: for reactions that wait for each other; it names one loop.
    """
    reactions = work.reactions
    # Channels reached at the same tag, following connections without delay.
    undelayed: dict[int, list[int]] = {}
    for edge in work.edges:
        if edge.after is None and not edge.physical:
            undelayed.setdefault(edge.source, []).append(edge.destination)
    readers: dict[int, list[int]] = {}
    for r in reactions:
        for kind, index in r.triggers:
            if kind == "port":
                readers.setdefault(index, []).append(r.index)
        for channel in r.uses:
            readers.setdefault(channel, []).append(r.index)
    after: list[dict[int, int]] = [{} for _ in reactions]  # reaction -> (later reaction -> channel, or -1 for order)
    by_reactor: dict[int, list[ReactionNode]] = {}
    for r in reactions:
        if r.declaration is not None:  # a connection inside a mode has no place in the order of its reactor's reactions
            by_reactor.setdefault(r.reactor, []).append(r)
        for channel in r.effects:
            _reach(channel, undelayed, readers, r.index, after)
    for group in by_reactor.values():
        _order(sorted(group, key=lambda r: (r.number, r.index)), work, after)
    _order_shutdown(work, undelayed, after)
    waiting = [0] * len(reactions)
    for targets in after:
        for target in targets:
            waiting[target] += 1
    levels = [0] * len(reactions)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    for i in ready:  # grows while it is walked
        for target in after[i]:
            levels[target] = max(levels[target], levels[i] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    if len(ready) < len(reactions):
        raise _loop(work, after, {i for i, n in enumerate(waiting) if n})
    return levels, max(levels, default=-1) + 1


def _reach(channel: int, undelayed: Any, readers: Any, writer: int, after: list[dict[int, int]]) -> None:
    stack, seen = [channel], {channel}
    while stack:
        at = stack.pop()
        for reader in readers.get(at, ()):
            if reader != writer or at != channel:
                after[writer].setdefault(reader, at)
        for following in undelayed.get(at, ()):
            if following not in seen:
                seen.add(following)
                stack.append(following)


def _order(group: list[ReactionNode], work: Flat, after: list[dict[int, int]]) -> None:
    """Reactions of one reactor run in the order they are written, unless their modes exclude each other."""
    last_common: int | None = None
    last_in: dict[int, int] = {}
    for r in group:
        own = r.mode if r.mode >= 0 and work.modes[r.mode].reactor == r.reactor else -1
        # A shutdown reaction runs whatever the mode, so it is ordered with all the others.
        common = own < 0 or any(kind == "shutdown" for kind, _ in r.triggers)
        before = list(last_in.values()) if common else [last_in[own]] if own in last_in else []
        for b in before or ([] if last_common is None else [last_common]):
            after[b].setdefault(r.index, -1)
        if common and before and last_common is not None:
            after[last_common].setdefault(r.index, -1)
        if common:
            last_common, last_in = r.index, {}
        else:
            last_in[own] = r.index


def _order_shutdown(work: Flat, undelayed: Any, after: list[dict[int, int]]) -> None:
    """Order shutdown reactions that write one channel: they run in inactive modes, too, so several may write it at the last tag.

    The order is that of the declarations, or the reverse where other dependencies already require that.
    """
    ending = {r.index for r in work.reactions if r.mode >= 0 and any(kind == "shutdown" for kind, _ in r.triggers)}
    if not ending:
        return
    writers: dict[int, list[int]] = {}
    for r in work.reactions:
        for channel in _closure(r.effects, undelayed):
            writers.setdefault(channel, []).append(r.index)
    for of_channel in writers.values():
        for i, first in enumerate(of_channel):
            for second in of_channel[i + 1 :]:
                if work.reactions[first].reactor != work.reactions[second].reactor and ending & {first, second}:
                    a, b = (second, first) if first in _closure((second,), after) else (first, second)
                    after[a].setdefault(b, -1)


def _closure(starts: Any, successors: Any) -> dict[int, None]:
    reached = dict.fromkeys(starts)
    stack = list(reached)
    while stack:
        at = stack.pop()
        for following in successors[at] if isinstance(successors, list) else successors.get(at, ()):
            if following not in reached:
                reached[following] = None
                stack.append(following)
    return reached


def _loop(work: Flat, after: list[dict[int, int]], stuck: set[int]) -> CausalityError:
    # Walk backwards from any reaction that is never ready: it waits for another such reaction, so the walk comes to a loop.
    before = {t: i for i in stuck for t in after[i] if t in stuck}
    at = min(stuck)
    seen: list[int] = []
    while at not in seen:
        seen.append(at)
        at = before[at]
    loop = seen[seen.index(at) :][::-1]
    names = [work.reactions[i] for i in loop]
    edges: list[Edge] = []
    by_destination: dict[int, list[Edge]] = {}
    for e in work.edges:
        if e.after is None and not e.physical:
            by_destination.setdefault(e.destination, []).append(e)
    orders: list[str] = []
    for i, r in enumerate(names):
        following = names[(i + 1) % len(names)]
        channel = after[r.index][following.index]
        if channel < 0:
            orders.append(f"{r.name} is written before {following.name}")
            continue
        path: list[Edge] = []
        while channel not in r.effects and channel in by_destination:
            edge = by_destination[channel][0]
            path.append(edge)
            channel = edge.source
        edges += reversed(path)
    width = max(len(short(r.name)) for r in names)
    lines = ["these reactions wait for each other at one tag:"]
    lines += [f"  {short(r.name):<{width}}  {r.source}" for r in names]
    through = [f"{short(work.ports[e.source].name)} -> {short(work.ports[e.destination].name)}" for e in edges]
    if through:
        lines += ["through these connections:", *(f"  {t}" for t in through)]
        e = edges[0]
        lines.append(
            f"Break the loop with a delay: connect({declared_path(work, work.ports[e.source])}, {declared_path(work, work.ports[e.destination])}, "
            f"after=ms(0))"
        )
    if orders:
        lines += ["and through the order of reactions in one reactor:", *(f"  {o}" for o in orders)]
        if not through:
            lines.append("Change their order, or schedule an action instead of writing the port.")
    return CausalityError("\n".join(lines), reactions=tuple(r.name for r in names), connections=tuple(through))
