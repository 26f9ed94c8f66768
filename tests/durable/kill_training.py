"""Kills a training of DQN with prioritised replay, that makes a checkpoint each second, at random moments, and lets it go on each time.

    .venv/bin/python tests/durable/kill_training.py --times 1000

Each process is a copy of one that has only imported what it takes. When a training has come to its end in spite of its kills, its fingerprint and
its metrics, in memory and on disk, have to be those of one that nobody killed; then the next begins.
"""

import argparse
import hashlib
import json
import os
import random  # noqa: TID251 - when to kill
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("PYTHONHASHSEED", "0")

from reactornb import Program, resume, sec
from reactornb.durable.errors import RunFinishedError
from reactornb.durable.folder import RunFolder
from reactornb.durable.history import History
from reactornb.rl.dqn import DQN

__all__ = ["Training", "hunt"]

NAME = "killed"


class Training:
    """What is trained, in a folder for each way to train it.

    Args:
        root: of all its folders.
        steps: of the environment.
    """

    def __init__(self, root, steps):
        self.root = Path(root)
        self.steps = steps

    def _program(self):
        return Program(
            DQN(
                env="CartPole-v1", total_timesteps=self.steps, buffer_size=5_000, learning_starts=200, prioritised=True, double=True,
                duelling=True, hidden=(64, 64), batch_size=32, eval_episodes=2,
            )
        )  # fmt: skip

    def go(self, folder, *, kept):
        """Begin or go on, until the end; leave there what came of it."""
        os.environ["REACTORNB_RUNS"] = str(self.root / folder)
        options = {"workers": 1 + int.from_bytes(os.urandom(1), "little") % 2}
        if not kept:
            run = self._program().start(seed=3, fingerprint=True, **options)
        elif (self.root / folder / NAME).exists():
            try:
                run = resume(NAME, program=self._program(), **options)
            except RunFinishedError:  # killed after its end was written down, before it could say so here
                self._leave(folder, self._finished(folder), self.on_disk(folder))
                return
        else:
            run = self._program().start(seed=3, fingerprint=True, keep=NAME, checkpoint=sec(1), **options)
        result = run.result()
        self._leave(folder, result.fingerprint, digest(result.metrics))

    def _leave(self, folder, fingerprint, metrics):
        (self.root / folder).mkdir(exist_ok=True)
        beside = self.root / folder / "result.tmp"
        beside.write_text(json.dumps([fingerprint, metrics]), encoding="utf-8")
        beside.rename(self.root / folder / "result.json")

    def _finished(self, folder):
        """The fingerprint that its journal has."""
        with RunFolder.open(self.root / folder / NAME) as opened:
            return History(opened.journal.records()).end["fingerprint"]

    def result(self, folder):
        """What came of it; None if it has not come to its end."""
        path = self.root / folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def on_disk(self, folder):
        """The metrics that its journal has."""
        with RunFolder.open(self.root / folder / NAME) as opened:
            return digest(History(opened.journal.records()).metrics)

    def checkpoints(self, folder):
        """How many it has, and how many are half-written."""
        if not (self.root / folder / NAME).exists():
            return 0, 0
        with RunFolder.open(self.root / folder / NAME) as opened:
            return len(opened.checkpoints()), len(opened.incomplete())


def digest(metrics):
    """A hash of all values with their tags."""
    taken = hashlib.blake2b(digest_size=16)
    for name, metric in sorted(metrics.items()):
        taken.update(name.encode())
        for array in (metric.time_ns, metric.microstep, metric.values):
            taken.update(array.tobytes())
    return taken.hexdigest()


def fork(function, *args, **options):
    """A copy of this process, which has no other threads, that does this; its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        function(*args, **options)
        status = 0
    except BaseException:  # noqa: BLE001 - the parent says it
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
    return 0


def killed(pid, after_s):
    """Kill a process after that time; false if it had come to its end. An end that is no good one is an error."""
    until = time.monotonic() + after_s
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"a training failed by itself: status {status}"
            return False
        threading.Event().wait(min(0.01, max(until - time.monotonic(), 0)))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        assert status == 0, f"a training failed by itself: status {status}"
        return False
    return True


def hunt(training, times, *, seed=0, most_s=3.0, tell=print):
    """Kill that often, let each training come to its end, and compare.

    Args:
        training: a `Training`.
        times: how many kills.
        seed: of the moments.
        most_s: the longest life.
        tell: takes a line about each training.

    Returns:
        How many trainings came to their ends.
    """
    pid = fork(training.go, "whole", kept=False)
    assert os.waitpid(pid, 0)[1] == 0
    expected = training.result("whole")
    chance = random.Random(seed)
    kills = ended = half_written = 0
    while kills < times:
        folder, own = f"run{ended}", 0
        while training.result(folder) is None:
            pid = fork(training.go, folder, kept=True)
            last = kills >= times
            if killed(pid, 1e9 if last else chance.random() * most_s):
                kills += 1
                own += 1
                half_written += training.checkpoints(folder)[1] > 0
        ended += 1
        assert training.result(folder) == expected, f"{folder} after {own} kills, seed {seed}: another result"
        assert training.on_disk(folder) == expected[1], (
            f"{folder} after {own} kills, seed {seed}: other metrics on disk"
        )
        tell(
            f"training {ended}: {own} kills, the same fingerprint and metrics; {kills} kills so far, {half_written} half-written checkpoints"
        )
        shutil.rmtree(training.root / folder)
    return ended


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=float, default=3.0, metavar="S", help="the longest life of a process")
    args = parser.parse_args()
    root = tempfile.mkdtemp(prefix="reactornb-kill-")
    try:
        hunt(Training(root, args.steps), args.times, seed=args.seed, most_s=args.most)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    sys.exit(main())
