"""The benchmarks as programs of Ray 2.60 (ray.io), written as its documentation advises. Runs in Ray's environment.

What is the same for all actors of a round is put into the object store once, results are waited for together, and results that another
actor needs are handed on by reference, not through the driver.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

# Before Ray is imported: no reports, and actors of the same priority as everybody else, not 15 below it as is Ray's habit.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import ray
from serve import serve

__all__ = ["gym", "hosts", "marl", "qlearning", "senders"]


_kept: dict[str, list[Any]] = {}
_store: dict[str, Any] = {"bytes": 0, "folder": ""}
"""Of the Ray that runs: the size of its object store, 0 for Ray's own choice; and where its logs and sockets are."""


def _start(store_bytes: int = 0) -> None:
    """Start Ray, or start it anew where its object store is to be of another size."""
    if ray.is_initialized():
        if not store_bytes or store_bytes == _store["bytes"]:
            return
        _end()
    _store["bytes"] = store_bytes
    size = {"object_store_memory": store_bytes} if store_bytes else {}
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=_store["folder"], **size)


def _end() -> None:
    """End Ray and its actors; the memory of its object store is the system's again."""
    _kept.clear()
    ray.shutdown()
    _store["bytes"] = 0


def _actors(cls: type, makings: list[tuple[Any, ...]]) -> list[Any]:
    """An actor for each tuple of arguments; an existing process is reused, and its object is initialised again.

    A process that imports torch needs seconds to start, too long for every turn.
    """
    kept = _kept.setdefault(cls.__name__, [])

    class Actor(cls):
        def again(self, *arguments: Any) -> None:
            self.__init__(*arguments)  # type: ignore[misc]

    Actor.__name__ = Actor.__qualname__ = cls.__name__
    ray.get([actor.again.remote(*arguments) for actor, arguments in zip(kept, makings, strict=False)])
    remote = ray.remote(num_cpus=0)(Actor)  # all of them at once, on however many cores there are
    for arguments in makings[len(kept) :]:
        kept.append(remote.remote(*arguments))
        ray.get(kept[-1].__ray_ready__.remote())  # one after the other: so many at once are too much for two cores
    return kept[: len(makings)]


def gym(*, env: str, envs: int, rounds: int, steps: int, as_published: bool = False) -> dict[str, Any]:
    """Every client steps an environment; as published, all have one seed and the driver prints what they see."""
    from bodies import Player, show

    players = _actors(Player, [(env, 0 if as_published else i) for i in range(envs)])
    began = time.perf_counter()
    for _ in range(rounds):
        observations = ray.get([p.play.remote(steps) for p in players])
        if as_published:
            show(observations)
    return {"seconds": time.perf_counter() - began}


def senders(
    *, clients: int, size: int, rounds: int, sleep_s: float, copied: bool, store_bytes: int = 0
) -> dict[str, Any]:
    """Every client sleeps and returns an array, which Ray puts into its object store: the paper's experiments 1 and 2.

    Args:
        clients: actors.
        size: of an array, in bytes.
        rounds: of the measurement.
        sleep_s: how long a client sleeps.
        copied: whether it returns a copy.
        store_bytes: size of the object store, so that nothing spills; Ray is started for this measurement and ended after it. 0: the Ray
            that runs already.
    """
    from bodies import Sender

    _start(store_bytes)
    actors = _actors(Sender, [(size,)] * clients)
    ray.get([a.reply.remote(0.0, copied) for a in actors])  # the store's pages are touched for the first time
    began = time.perf_counter()
    for _ in range(rounds):
        ray.get([a.reply.remote(sleep_s, copied) for a in actors])
    seconds = time.perf_counter() - began
    if store_bytes:
        del actors
        _end()
        _start()
    return {"seconds": seconds}


def hosts(*, actors: int, players: int, hosts: int, rounds: int, size: int, floats: int) -> dict[str, Any]:  # noqa: ARG001 - an actor is a process
    """All players answer weights, other ones each round; the median of the rounds.

    Args:
        actors: how many, each with its part of the players.
        players: how many.
        hosts: how many.
        rounds: of the measurement; a tenth as many come before.
        size: of the weights, in bytes.
        floats: of an answer.
    """
    import numpy as np
    from bodies import Answers

    there = _actors(Answers, [(len(range(i, players, actors)), floats) for i in range(actors)])
    weights = np.zeros(size // 4, np.float32)
    taken = []
    for number in range(-(rounds // 10) - 1, rounds):
        began = time.perf_counter()
        weights = weights + 1
        shared = ray.put(weights)
        ray.get([actor.answers.remote(shared) for actor in there])
        if number >= 0:
            taken.append(time.perf_counter() - began)
    return {"seconds": statistics.median(taken)}


def vector(*, task: str, envs: int, rounds: int, threads: int) -> dict[str, Any]:  # noqa: ARG001 - an actor is a process
    """All environments take a step, again and again."""
    return gym(env=task, envs=envs, rounds=rounds, steps=1)


def qlearning(
    *, rollouts: int, steps: int, batch: int, rounds: int, seed: int, as_published: bool, arrays: bool
) -> dict[str, Any]:
    """The paper's experiment 5; the learner is the driver, as in the published program."""
    from experiments import ArrayMemory, BlackjackPlayer, Memory, QLearner

    learner = QLearner(seed)
    update: Any = learner.update_arrays if arrays else learner.update
    players = _actors(BlackjackPlayer, [(seed + 1 + i, steps) for i in range(rollouts)])
    plays = [p.play_arrays if arrays else p.play for p in players]
    (memory,) = _actors(ArrayMemory if arrays else Memory, [(seed + 1 + rollouts, batch, as_published)])
    loss = 0.0
    began = time.perf_counter()
    for _ in range(rounds):
        weights = ray.put(learner.weights())
        played = [play.remote(weights) for play in plays]
        loss = update(ray.get(memory.exchange.remote(*played)))
    return {"seconds": time.perf_counter() - began, "loss": loss}


def marl(*, cars: int, rounds: int, seed: int) -> dict[str, Any]:
    """The paper's experiment 6; the environment is the driver's."""
    from experiments import Chooser

    _borrow("reactornb", "reactornb.rl")
    from reactornb.rl.traffic_junction import TrafficJunction

    env = TrafficJunction("medium", cars=cars)
    inputs = env.state_space.shape[0]
    choosers = _actors(Chooser, [(inputs, 2, seed + i) for i in range(cars)])
    env.reset(seed=seed)
    agents, joint = env.agents, env.state()
    total = 0.0
    began = time.perf_counter()
    for _ in range(rounds):
        state = ray.put(joint)
        actions = ray.get([c.choose.remote(state) for c in choosers])
        _, rewards, *_ = env.step(dict(zip(agents, actions, strict=True)))
        total += sum(rewards.values())
        if not env.agents:
            env.reset()
        joint = env.state()
    return {"seconds": time.perf_counter() - began, "reward": total}


def _borrow(*packages: str) -> None:
    """Make modules of reactornb importable, which is not installed here, without running its packages' own code."""
    root = Path(__file__).resolve().parents[3]
    for name in packages:
        if name in sys.modules:
            continue
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = package


if __name__ == "__main__":
    # Its logs and sockets would stay in /tmp/ray otherwise.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        _store["folder"] = folder
        _start()
        serve(
            actors=senders, objects=senders, gym=gym, atari=gym, hosts=hosts, qlearning=qlearning, marl=marl, vector=vector
        )  # fmt: skip
        ray.shutdown()
