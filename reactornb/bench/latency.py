"""How long a trivial cell takes while a program trains: `reactornb bench latency`.

A real kernel, as JupyterLab talks to it: a program of eight CartPole rollouts and a learner is declared in cells, started
with its live panel shown, and `6 * 7` is executed again and again. What is measured is what a user waits for, from
sending the cell until the kernel is idle again. The same is measured before the start, for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from reactornb.errors import ReactorError

__all__ = ["main", "measure"]

CELLS = (
    "%load_ext reactornb",
    """%%reactor Rollout
import gymnasium
import numpy
weights = Input[numpy.ndarray]()
episode = Output[tuple]()

@reaction(startup)
def on_startup(self):
    self.env = gymnasium.make("CartPole-v1")

@reaction(weights)
def on_weights(self, weights, episode):
    observation, _ = self.env.reset(seed=int(self.rng.integers(2**31)))
    seen, total, over = [], 0.0, False
    while not over and len(seen) < 200:
        seen.append(observation)
        explore = self.rng.random() < 0.1
        action = int(self.rng.integers(2)) if explore else int(observation @ weights.value > 0)
        observation, reward, ended, cut, _ = self.env.step(action)
        total, over = total + reward, ended or cut
    self.log(episode_return=total, steps=len(seen))
    episode.set((numpy.array(seen), total))
""",
    """%%reactor Learner
import numpy
import torch
episodes = Input[tuple](width=8)
weights = Output[numpy.ndarray]()

@reaction(startup)
def on_startup(self, weights):
    self.net = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    self.best, self.best_return = self.rng.normal(size=4), -1.0
    self.tried = self.best
    self.optimizer = torch.optim.Adam(self.net.parameters())
    weights.set(self.tried)

@reaction(episodes)
def on_episodes(self, episodes, weights):
    mean = sum(total for _, total in episodes.values) / len(episodes.values)
    if mean > self.best_return:
        self.best, self.best_return = self.tried, mean
    states = torch.as_tensor(numpy.concatenate([s for s, _ in episodes.values]), dtype=torch.float32)
    loss = ((self.net(states) - mean) ** 2).mean()
    self.optimizer.zero_grad()
    loss.backward()
    self.optimizer.step()
    self.log(loss=float(loss.detach()), mean_return=mean)
    self.tried = self.best + 0.3 * self.rng.normal(size=4)
    weights.set(self.tried)
""",
    """%%reactor Main
rollouts = Bank(Rollout, 8)
learner = Learner()
connect(rollouts.episode, learner.episodes)
connect(learner.weights, rollouts.weights, after=0)
""",
)


class Kernel:
    """A kernel of this very interpreter, and cells executed in it. A context manager.

    Args:
        environment: variables for it, besides those of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager()
        self._environment = {"PYTHON_GIL": os.environ.get("PYTHON_GIL", "0")} if _free() else {}
        self._environment |= environment or {}
        self._client: Any = None

    def __enter__(self) -> Self:
        # As the registered kernel is started: see .ci/setup.py.
        self.manager.start_kernel(
            extra_arguments=["--IPKernelApp.log_level=40"],  # its remarks on transports are no part of the result
            env={**os.environ, **self._environment},
        )
        self._client = self.manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.cleanup_resources()

    def run(self, code: str, timeout: float = 120, hear: Callable[[Any], None] | None = None) -> float:
        """Execute a cell; seconds until the kernel is idle again.

        Raises:
            ReactorError: if the cell fails.
        """
        began = time.perf_counter()
        reply = self._client.execute_interactive(code, timeout=timeout, output_hook=hear or _ignore)
        took = time.perf_counter() - began
        content = reply["content"]
        if content["status"] != "ok":
            raise ReactorError(f"a cell failed in the kernel: {content.get('ename')}: {content.get('evalue')}")
        return took

    def value(self, code: str, timeout: float = 120) -> Any:
        """Execute a cell that prints JSON as its last line; what that says.

        Raises:
            ReactorError: if the cell fails.
        """
        said: list[str] = []

        def hear(message: Any) -> None:
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                said.append(message["content"]["text"])

        self.run(code, timeout, hear)
        return json.loads("".join(said).strip().splitlines()[-1])


def _ignore(_: Any) -> None:
    return None


def _free() -> bool:
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def measure(cells: int = 50, workers: int = 2) -> dict[str, Any]:
    """Measure; times in ms.

    Args:
        cells: trivial cells to execute, before the program starts and while it trains.
        workers: threads of the program.
    """
    with Kernel() as kernel:
        for code in CELLS:
            kernel.run(code)
        idle = [kernel.run("6 * 7") for _ in range(cells)]
        kernel.run(f"%reactor start Main --workers {workers}")
        # Past the imports, which take half a minute where nothing is compiled and nothing compiled is kept.
        kernel.run(
            "import time\nfrom reactornb.runtime import live_runs\nwhile live_runs()[0].tag == (0, 0): time.sleep(0.1)"
        )
        time.sleep(1.0)  # and the first gradients
        busy = []
        for _ in range(cells):
            busy.append(kernel.run("6 * 7"))
            time.sleep(0.05)  # a user's cells do not come back to back; the program goes on in between
        kernel.run("assert [r.workers for r in live_runs()], 'the program ended early'")
        kernel.run("%reactor stop")
    return {
        "cells": cells,
        "workers": workers,
        "idle": _summary(idle),
        "training": _summary(busy),
        "cores": os.cpu_count(),
    }


def _summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(s * 1e3 for s in seconds)
    return {
        "median_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1),
        "max_ms": round(ordered[-1], 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; the exit status is 1 if the median while training is above the limit.

    Args:
        argv: words of the command line.
    """
    parser = argparse.ArgumentParser(prog="reactornb bench latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=50, help="trivial cells to execute (default 50)")
    parser.add_argument("-w", "--workers", type=int, default=2, help="threads of the program (default 2)")
    parser.add_argument("--limit", type=float, default=100.0, metavar="MS", help="what the median may be (default 100)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    chosen = parser.parse_args(argv)
    measured = measure(chosen.cells, chosen.workers)
    if chosen.json:
        words = json.dumps(measured)
    else:
        idle, busy = measured["idle"], measured["training"]
        words = (
            f"trivial cell, {measured['cells']} times: median {busy['median_ms']} ms, p95 {busy['p95_ms']} ms, longest "
            f"{busy['max_ms']} ms while {measured['workers']} workers train on {measured['cores']} cores; median {idle['median_ms']} ms, "
            f"p95 {idle['p95_ms']} ms before"
        )
    sys.stdout.write(words + "\n")
    return 0 if measured["training"]["median_ms"] <= chosen.limit else 1


if __name__ == "__main__":
    sys.exit(main())
