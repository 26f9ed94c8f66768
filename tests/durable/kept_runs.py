"""Folders of runs as a run leaves them, made from logs, for tests of what reads them. Nothing is synced: that takes most of the time."""

import contextlib
import os
from unittest import mock

from reactornb.durable.folder import RunFolder
from reactornb.durable.metric_rows import pack
from reactornb.runtime.logs import Log
from reactornb.tags import ms

BEGAN = 1_790_000_000.0  # 2026, in seconds since 1970


@contextlib.contextmanager
def unsynced():
    """Without waiting for the disk."""
    with mock.patch.object(os, "fsync", return_value=None):
        yield


def rows(start, end, scale=1.0, every=1):
    """A log's rows of `start` to `end`, one a millisecond: a rising return, a falling loss, 64 steps each."""
    log = Log()
    for step in range(start, end):
        log.add((ms(step), 0), {"steps": 64, "episode_return": scale * step, "loss": 1 / (1 + step)})
        if step % 10 == 0:
            log.add((ms(step), 0), {"eval_return": scale * step + 1})
    return log


def keep(
    below, name, *, seed=1, lr=0.01, scale=1.0, steps=40, batches=4, ended=True, state="finished", said=(), **about
):
    """Write a run's folder; returns its path. Without `ended` it is left as a killed process leaves it."""
    facts = {
        "program": "ppo",
        "root": "PPO",
        "seed": seed,
        "began": BEGAN + 60 * seed,
        "parameters": {
            "main.lr": lr,
            "main.learner.lr": lr,
            "main.learner.gamma": 0.99,
            "main.rollouts[0].epsilon": 0.1,
            "main.rollouts[1].epsilon": 0.2,
            "main.env": "CartPole-v1",
            "main.network": {"words": "a function"},
        },
        "versions": {"python": "3.14t", "numpy": "2.5"},
        "graph": "0f" * 32,
        **about,
        **dict(said),
    }
    with unsynced(), RunFolder.create(below, name, facts, {"cell_1.py": f"class PPO:\n    lr = {lr}\n"}) as folder:
        journal = folder.journal
        size = steps // batches
        for start in range(0, steps, size):
            journal.append(
                "metrics", (ms(start + size - 1), 0), pack(0, rows(start, start + size, scale).columns(), 0.0)
            )
        if ended:
            end = {
                "state": state,
                "failure": "boom" if state == "failed" else None,
                "seconds": 12.5,
                "wall": BEGAN + 72.5,
            }
            journal.append("ended", (ms(steps - 1), 0), {**end, "fingerprint": f"{seed:064x}"})
    return below / name


def append(path, *records):
    """More records at the end of a run's journal."""
    with unsynced(), RunFolder.open(path, writable=True) as folder:
        for record in records:
            folder.journal.append(*record)
