"""The machine or the process ends at any change of any file, and the disk is full or fails at any: no promise is broken."""

import copy
import errno
import itertools
import os
import random  # noqa: TID251 - what survives a crash
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import scripted_runs as runs
from crashing import Killed, Memory

from reactornb.durable.errors import CheckpointNotWrittenError
from reactornb.durable.folder import RunFolder

STEPS = range(9)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    runs.small_pieces(monkeypatch)


def killed_at(number, life, memory=None, promises=None):
    """A life whose process is killed at a change; None if it has fewer."""
    memory, promises = memory or Memory(), promises or runs.Promises()
    memory.kill_at = number
    try:
        life(memory, promises, STEPS)
    except Killed:
        return memory, promises
    return None


def choices(memory, seed, most):
    """Ways in which unsynced changes survive: none, all, every combination if they are few, else some; also parts of writes."""
    count = memory.unsynced()
    shares = [0, 1, 0.3, 0.7]
    yield itertools.repeat(0)
    yield itertools.repeat(1)
    if 4**count <= most:
        yield from map(iter, itertools.product(shares, repeat=count))
    elif 2**count <= most:
        yield from map(iter, itertools.product([0, 1], repeat=count))
    else:
        chance = random.Random(seed)
        for _ in range(most):
            yield iter([chance.choice(shares) for _ in range(count)])


def crash_everywhere(life, most, begin=lambda: (Memory(), runs.Promises()), every=1):
    tried = found = 0
    for number in itertools.count(step=every):
        stopped = killed_at(number, life, *begin())
        if stopped is None:
            return tried, found
        memory, promises = stopped
        for ways in choices(memory, number, most):
            after = memory.survivors(lambda ways=ways: next(ways))
            tried += 1
            if runs.check(after, promises):
                found += 1
                if tried % 3:
                    continue
                again = copy.deepcopy(promises)
                runs.go_on(after, again, range(30, 33))
                runs.check(after, again)
    return None


def test_after_a_crash_at_some_changes_all_that_was_announced_is_there_and_right():
    tried, found = crash_everywhere(runs.whole_life, 1, every=23)
    assert tried > 20
    assert 10 < found < tried


@pytest.mark.slow
def test_after_a_crash_at_any_change_all_that_was_announced_is_there_and_right():
    tried, found = crash_everywhere(runs.whole_life, 6)
    assert tried > 800
    assert found > 500


@pytest.mark.slow
@pytest.mark.parametrize("first", [75, 131])
def test_a_process_goes_on_after_one_that_was_killed_and_then_the_machine_crashes(first):
    def begin():
        memory, promises = killed_at(first, runs.whole_life)
        memory.is_dead = False
        memory.done = 0
        return memory, promises

    def life(memory, promises, steps):
        runs.go_on(memory, promises, range(20, 25))

    tried, found = crash_everywhere(life, 3, begin)
    assert found > 50
    assert tried == found


def test_the_check_finds_what_is_wrong():
    """Without the sync of folders, of files or of the journal promises are broken, and the check says so."""
    for forgotten in (
        "sync_folder pong/checkpoints",
        "sync pong/checkpoints",
        "sync pong/segments",
        "sync pong/journal",
    ):
        memory, promises = Memory(), runs.Promises()
        memory.skips = lambda name, forgotten=forgotten: name.startswith(forgotten)
        runs.whole_life(memory, promises, STEPS)
        with pytest.raises((AssertionError, ValueError)):
            runs.check(memory.survivors(lambda: 0), promises)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def with_failures(steps, fails):
    """A life that goes on whatever the disk says, as the writer does."""
    memory, promises = Memory(), runs.Promises()
    folder = RunFolder.create(Path("unused"), "pong", runs.ABOUT, runs.CELLS, storage=memory)
    promises.created = True
    memory.done = 0
    memory.fail = fails
    failed = 0
    for i in steps:
        try:
            runs.write(folder, promises, [i])
        except (OSError, CheckpointNotWrittenError):
            failed += 1
        runs.check(memory, _without_journal(promises))
    count = memory.done
    memory.fail = lambda number, name: None
    folder.close()
    promises.synced = len(promises.appended)
    for ways in choices(memory, 0, 8):
        runs.check(memory.survivors(lambda ways=ways: next(ways)), promises)
    return count, failed


def _without_journal(promises):
    """While the disk is full records wait in memory."""
    relaxed = copy.deepcopy(promises)
    relaxed.synced = 0
    return relaxed


def test_a_disk_that_fails_once_at_a_change_costs_at_most_that_checkpoint():
    count, _ = with_failures(STEPS, lambda number, name: None)
    assert count > 60
    for at in range(1, count, 29):
        with_failures(STEPS, lambda number, name, at=at: FULL if number == at else None)


@pytest.mark.slow
def test_a_disk_that_fails_once_at_any_change_costs_at_most_that_checkpoint():
    count, _ = with_failures(STEPS, lambda number, name: None)
    for at in range(count):
        with_failures(STEPS, lambda number, name, at=at: FULL if number == at else None)


@pytest.mark.slow
def test_a_disk_that_is_full_from_any_change_on_loses_nothing_once_there_is_room_again():
    count, _ = with_failures(STEPS, lambda number, name: None)
    some = 0
    for at in range(count):
        for length in (5, 10**6):
            some += with_failures(
                STEPS,
                lambda number, name, at=at, length=length: (
                    FULL if at <= number < at + length and not name.startswith("remove") else None
                ),
            )[1]
    assert some > count
