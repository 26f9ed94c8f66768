"""The thread that writes: what it was given is there when it says so, and a disk that fails ends nothing."""

import errno
import os
import sys
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from crashing import Memory

from reactornb.durable.errors import CheckpointNotWrittenError
from reactornb.durable.folder import RunFolder
from reactornb.durable.writer import Writer
from reactornb.runtime.codec import decode, encode

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Kept:
    """A writer over a file system in memory, and what it told."""

    def __init__(self, **options):
        self.memory = Memory()
        self.folder = RunFolder.create(Path("unused"), "pong", {}, storage=self.memory)
        self.told = []
        self.writer = Writer(self.folder, lambda key, words: self.told.append((key, words)), **options)

    def again(self):
        return RunFolder.open(Path("/memory/pong"), storage=self.memory)

    def bodies(self, kind="input"):
        return [record.value() for record in self.again().journal.records() if record.kind == kind]


@pytest.fixture
def kept():
    made = Kept()
    yield made
    made.memory.fail = lambda number, name: None
    made.writer.close()


def wait_for(condition):
    """Wait until another thread has made something true."""
    event = threading.Event()
    for _ in range(6000):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError("it never became true")


def test_a_record_is_with_the_system_at_once_and_synced_soon(kept):
    kept.writer.write("input", (1, 0), 1)
    assert kept.bodies() == [1]
    wait_for(lambda: kept.folder.journal.is_synced)


def test_a_durable_record_is_synced_when_it_was_written(kept):
    kept.writer.write("input", (1, 0), 1, durable=True)
    assert kept.folder.journal.is_synced


def test_records_of_many_threads_are_all_there_each_thread_s_in_its_order(kept):
    def write(thread):
        for i in range(200):
            kept.writer.write("input", (i, thread), [thread, i], durable=i % 50 == 0)

    threads = [threading.Thread(target=write, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.writer.close()
    read = kept.bodies()
    assert len(read) == 800
    for t in range(4):
        assert [i for thread, i in read if thread == t] == list(range(200))


def test_a_checkpoint_is_complete_when_its_future_is_and_the_journal_says_so(kept):
    info = kept.writer.checkpoint((3, 0), lambda: encode({"x": np.arange(5)}), {"a": 1}, "mine").result()
    assert kept.again().checkpoints() == [info]
    assert decode(kept.again().read_checkpoint(info))["x"].tolist() == [0, 1, 2, 3, 4]
    wait_for(lambda: kept.bodies("checkpoint") == [{"folder": "3.0", "name": "mine"}])


def test_old_checkpoints_go(kept):
    for i in range(6):
        last = kept.writer.checkpoint((i, 0), encode(i))
        last.result()
    kept.writer.close()
    assert [info.tag[0] for info in kept.again().checkpoints()] == [3, 4, 5]


def test_a_checkpoint_that_waits_gives_way_to_the_next_unless_it_has_a_name(kept):
    gate, busy = threading.Event(), threading.Event()

    def slow():
        busy.set()
        gate.wait()
        return encode(0)

    first = kept.writer.checkpoint((0, 0), slow)
    busy.wait()
    dropped = kept.writer.checkpoint((1, 0), encode(1))
    named = kept.writer.checkpoint((2, 0), encode(2), name="mine")
    last = kept.writer.checkpoint((3, 0), encode(3))
    gate.set()
    with pytest.raises(CancelledError):
        dropped.result()
    assert [future.result().tag[0] for future in (first, named, last)] == [0, 2, 3]


def test_what_is_logged_is_collected_before_each_checkpoint_and_at_the_end():
    made = []

    def collect():
        made.append(len(made))
        kept.writer.write("metrics", (0, 0), made[-1])

    kept = Kept(collect=collect, collect_every_s=1e6)
    kept.writer.checkpoint((0, 0), encode(0)).result()
    assert kept.bodies("metrics") == [0]
    assert kept.again().checkpoints()[0].journal > 0
    kept.writer.close()
    assert kept.bodies("metrics") == [0, 1]


def test_what_is_logged_is_collected_from_time_to_time():
    seen = []
    kept = Kept(collect=lambda: seen.append(1), collect_every_s=0.001)
    wait_for(lambda: len(seen) > 3)
    kept.writer.close()


def test_what_cannot_be_collected_or_encoded_is_told_and_ends_nothing():
    def collect():
        raise KeyError("x")

    kept = Kept(collect=collect, collect_every_s=1e6)
    with pytest.raises(ZeroDivisionError):
        kept.writer.checkpoint((0, 0), lambda: 1 // 0).result()
    kept.writer.checkpoint((1, 0), encode(1)).result()
    kept.writer.close()
    assert {key for key, _ in kept.told} == {"collect", "checkpoint"}


def test_a_full_disk_is_told_and_the_run_goes_on(kept):
    first = kept.writer.checkpoint((0, 0), encode(0)).result()
    kept.writer.sync()
    kept.memory.fail = lambda number, name: FULL if not name.startswith(("remove", "rename")) else None
    for i in range(5):
        kept.writer.write("input", (i, 0), i, durable=i == 3)
    with pytest.raises(CheckpointNotWrittenError):
        kept.writer.checkpoint((1, 0), encode(1)).result()
    assert kept.writer.sync() is False
    assert {"journal", "checkpoint"} <= {key for key, _ in kept.told}
    assert all("The run goes on" in words for _, words in kept.told)
    assert kept.again().checkpoints() == [first]
    kept.memory.fail = lambda number, name: None
    assert kept.writer.sync() is True
    assert kept.bodies() == [0, 1, 2, 3, 4]
    assert "journal again" in {key for key, _ in kept.told}
    assert kept.writer.checkpoint((1, 0), encode(1)).result().tag == (1, 0)


def test_a_disk_that_stays_full_does_not_keep_a_run_from_ending():
    kept = Kept()
    kept.memory.fail = lambda number, name: FULL
    kept.writer.write("input", (0, 0), 0)
    done = kept.writer.checkpoint((1, 0), encode(1))
    kept.writer.close()
    kept.writer.close()
    assert isinstance(done.exception(), CheckpointNotWrittenError)
    assert kept.told


def test_after_the_end_nothing_is_taken():
    kept = Kept()
    waiting = [kept.writer.checkpoint((i, 0), encode(i), name=str(i)) for i in range(4)]
    kept.writer.close()
    assert [future.result().tag[0] for future in waiting] == [0, 1, 2, 3]
    for call in (lambda: kept.writer.checkpoint((9, 0), encode(9)), lambda: kept.writer.write("input", (9, 0), 9)):
        with pytest.raises(ValueError, match=r"no more|not open"):
            call()
