"""What threads are made of, as nodes: threads and locks belong to their process, so the one that goes on has those that its own startup makes.

What a thread does comes from outside: it is recorded where it arrives. What is data, an event's flag and what waits in a queue, is saved and put back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from reactornb.durable.objects.known import Way, full_name
from reactornb.durable.objects.refusals import Refused
from reactornb.durable.objects.tree import Node

__all__ = ["THREADS", "WAYS", "words_of"]

Taker = Any  # a `take.Taking`

_LOCKS: tuple[type, ...] = (type(threading.Lock()), type(threading.RLock()))
_HELD_S = 0.05  # somebody else's thread may hold a lock for a moment


def words_of(value: Any) -> str:
    """The class of a thread or a lock; "" for anything else."""
    cls = type(value)
    return full_name(cls) if cls in THREADS else ""  # not its target: a thread that has ended has none


def _startups_own(taker: Taker, node: Node, value: Any) -> None:
    words = words_of(value)
    node[0], node[1] = "of threads", words
    count = taker.counts[words] = taker.counts.get(words, 0) + 1
    taker.note(value, f"{words} number {count}")  # more than startup made are refused


def _lock(taker: Taker, node: Node, value: Any) -> None:
    if not taker.learn:
        until = time.monotonic() + _HELD_S
        while value.locked():
            if time.monotonic() > until:
                raise Refused(value, "which somebody holds", "Release it before the reaction returns")
            time.sleep(0.001)
    _startups_own(taker, node, value)


def _simple_queue(taker: Taker, node: Node, value: Any) -> None:
    if not taker.learn and not value.empty():
        raise Refused(value, "in which something waits that cannot be seen without taking it", "Use queue.Queue")
    _startups_own(taker, node, value)


THREADS: dict[type, Callable[[Taker, Node, Any], None]] = {
    **dict.fromkeys(_LOCKS, _lock),
    threading.Condition: _startups_own,
    threading.Thread: _startups_own,
    threading.Timer: _startups_own,
    queue.SimpleQueue: _simple_queue,
}
"""By class, how what only startup can make is written. Classes of a program's own that are derived from these are not here: they may hold more."""


def _save_event(event: Any) -> bool:
    return bool(event.is_set())


def _load_event(event: Any, is_set: Any) -> None:
    (event.set if is_set else event.clear)()


def _save_queue(waiting: Any) -> Any:
    with waiting.mutex:
        return [list(waiting.queue), waiting.unfinished_tasks, waiting.maxsize]


def _load_queue(waiting: Any, saved: Any) -> None:
    with waiting.mutex:
        kind = type(waiting.queue)
        waiting.queue = kind(saved[0])
        waiting.unfinished_tasks, waiting.maxsize = saved[1], saved[2]
        waiting.not_empty.notify_all()
        waiting.not_full.notify_all()


WAYS: dict[type, Way] = {
    threading.Event: Way(_save_event, _load_event),
    **dict.fromkeys((queue.Queue, queue.LifoQueue, queue.PriorityQueue), Way(_save_queue, _load_queue)),
}
"""By class, how what threads share is saved and put into one that startup made."""
