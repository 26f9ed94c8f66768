"""Kills a process that writes checkpoints, again and again, and looks each time whether all that it announced is there and right.

    .venv/bin/python tests/durable/kill.py --kills 1000

Each process goes on in the folder that the killed one left. `hunt` is for any program that announces lines: give it what starts the
process and what judges its folder.
"""

import argparse
import os
import random  # noqa: TID251 - when to kill
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from reactornb.durable.folder import RunFolder
from reactornb.durable.lock import owner_of
from reactornb.durable.writer import Writer
from reactornb.runtime.codec import decode, encode

RING = 2 << 20
KEEP = 3


class Child:
    """A process and the pipe of what it announces.

    Attributes:
        pid: its number.
        lines: what it has announced, whole lines only; filled by `kill`.
    """

    def __init__(self, pid, pipe, process=None):
        self.pid, self._pipe, self._process = pid, pipe, process
        self.lines = []

    def kill(self, lines, after_s):
        """Let it announce some lines, wait, and kill it; then all that it had announced is in `lines`."""
        text = b""
        while text.count(b"\n") < lines:
            assert select.select([self._pipe], [], [], 60)[0], "the process announced nothing for a minute"
            part = os.read(self._pipe, 1 << 16)
            if not part:
                break
            text += part
        threading.Event().wait(after_s)
        os.kill(self.pid, signal.SIGKILL)
        while part := os.read(self._pipe, 1 << 16):
            text += part
        os.close(self._pipe)
        if self._process is None:
            status = os.waitpid(self.pid, 0)[1]
            assert os.WIFSIGNALED(status), f"the process ended by itself: {text.decode()[-2000:]}"
        else:
            assert self._process.wait() == -signal.SIGKILL, f"the process ended by itself: {text.decode()[-2000:]}"
        self.lines = text.decode().rpartition("\n")[0].split("\n")


def fork(function, *args):
    """A child that is a copy of this process, which must have no other threads: it begins at once."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            function(*args, lambda line: os.write(write, f"{line}\n".encode()))
        except BaseException as error:  # noqa: BLE001 - the parent says it
            os.write(write, f"failed: {error!r}\n".encode())
        os._exit(1)
    os.close(write)
    return Child(pid, read)


def spawn(command):
    """A child that begins from nothing, and announces on its standard output."""
    read, write = os.pipe()
    process = subprocess.Popen(command, stdout=write)
    os.close(write)
    return Child(process.pid, read, process)


def hunt(start, judge, kills, seed=0, most_lines=4, most_s=0.03):
    """Start, kill, judge.

    Args:
        start: gives a `Child`.
        judge: called with its lines; raises if a promise is broken.
        kills: how many.
        seed: of the moments.
        most_lines, most_s: the longest life: so many lines, and then so long.
    """
    chance = random.Random(seed)
    for number in range(kills):
        child = start()
        child.kill(chance.randint(1, most_lines), chance.random() * most_s)
        try:
            judge(child.lines)
        except BaseException as error:
            error.add_note(f"after kill {number} of seed {seed}; last lines: {child.lines[-3:]}")
            raise


# -- checkpoints of a ring -----------------------------------------------------------------------------------------------------


def ring_at(step):
    """The ring after so many steps, each of which writes a 64th of it."""
    ring = np.zeros(RING, np.uint8)
    for i in range(max(step - 63, 0), step + 1):
        ring[i % 64 * (RING // 64) :][: RING // 64] = i % 251 + 1
    return ring


def write_for_ever(root, tell):
    """Go on from the newest checkpoint: a record and a checkpoint a step, every tenth with a name; each is announced once it is safe."""
    path = Path(root) / "pong"
    folder = RunFolder.open(path, writable=True) if path.exists() else RunFolder.create(Path(root), "pong", {"seed": 1})
    there = folder.checkpoints()
    step = there[-1].tag[0] + 1 if there else 0
    writer = Writer(folder, lambda key, words: tell(f"failed: {key}: {words}"), keep=KEEP)
    while True:
        writer.write("input", (step, 0), {"step": step})
        tell(f"record {step}")
        name = f"at {step}" if step % 10 == 0 else None
        writer.checkpoint((step, 0), encode({"ring": ring_at(step), "step": step}), {"step": step}, name).result()
        tell(f"checkpoint {step}")
        step += 1


class Judge:
    """Holds a folder against what was announced by all processes so far."""

    def __init__(self, root):
        self.path = Path(root) / "pong"
        self.newest, self.named, self.half_written, self.announced = -1, set(), 0, 0

    def __call__(self, lines):
        steps = {}
        for line in lines:
            kind, _, step = line.partition(" ")
            assert kind in ("record", "checkpoint"), line
            steps.setdefault(kind, []).append(int(step))
        done = steps.get("checkpoint", [])
        self.announced += len(done)
        self.newest = max([self.newest, *done])
        self.named |= {step for step in done if step % 10 == 0}
        if not self.path.exists():
            assert not lines
            return
        folder = RunFolder.open(self.path)
        assert owner_of(self.path) is None
        self.half_written += bool(folder.incomplete())
        infos = folder.checkpoints()
        tags = [info.tag[0] for info in infos]
        assert self.named <= set(tags)
        assert self.newest == -1 or tags[-1] in (self.newest, self.newest + 1)
        assert len([tag for tag in tags if tag % 10]) >= min(KEEP, self.newest - self.newest // 10)
        for info in infos[-KEEP - 1 :] + infos[:1]:
            value = decode(folder.read_checkpoint(info))
            assert value["step"] == info.tag[0] == info.extra["step"]
            assert (value["ring"] == ring_at(info.tag[0])).all()
        records = {record.tag[0] for record in folder.journal.records() if record.kind == "input"}
        assert records >= set(steps.get("record", []))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", metavar="FOLDER", help="be the process that writes")
    args = parser.parse_args()
    if args.write:
        write_for_ever(args.write, lambda line: os.write(1, f"{line}\n".encode()))
    root = tempfile.mkdtemp(prefix="reactornb-kill-")
    try:
        judge = Judge(root)
        hunt(lambda: fork(write_for_ever, root), judge, args.kills, args.seed)
        print(  # noqa: T201 - a script
            f"{args.kills} kills, {judge.announced} checkpoints announced, none lost; {judge.half_written} half-written folders were left"
        )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    sys.exit(main())
