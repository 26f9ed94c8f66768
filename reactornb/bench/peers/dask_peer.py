"""A program of Dask's actors (distributed.dask.org). Runs in Dask's environment, on the interpreter that we run on.

A host is a worker, a process of its own; eight actors are dealt out to the workers. Weights go to each actor as an argument, since what is scattered takes
more messages.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import distributed
import numpy as np
from bodies import Answers
from serve import serve

__all__ = ["hosts"]


def hosts(*, actors: int, players: int, hosts: int, rounds: int, size: int, floats: int) -> dict[str, Any]:
    """All players answer weights, other ones each round; the median of the rounds. Arguments as those of Ray's.

    The cluster is started for the measurement and ended after it: workers that stand still for minutes are given up.
    """
    dask: Any = distributed  # untyped in part
    with (
        tempfile.TemporaryDirectory(prefix="dask-", ignore_cleanup_errors=True) as folder,
        dask.LocalCluster(
            n_workers=hosts, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=folder
        ) as cluster,
        dask.Client(cluster) as client,
    ):
        client.wait_for_workers(hosts, timeout=60)
        workers = list(client.nthreads())
        made = [
            client.submit(
                Answers, len(range(i, players, actors)), floats, actor=True, workers=[workers[i % hosts]], pure=False
            )
            for i in range(actors)
        ]
        there = [one.result(60) for one in made]
        weights = np.zeros(size // 4, np.float32)
        taken = []
        for number in range(-(rounds // 10) - 1, rounds):
            began = time.perf_counter()
            weights = weights + 1
            for asked in [actor.answers(weights) for actor in there]:
                asked.result()
            if number >= 0:
                taken.append(time.perf_counter() - began)
    return {"seconds": statistics.median(taken)}


if __name__ == "__main__":
    serve(hosts=hosts)
