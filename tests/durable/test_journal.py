"""The journal: what was appended is read again, up to where a crash cut it off; damage is told from that."""

import errno
import itertools
import linecache
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from crashing import Memory

from reactornb.durable import journal as journal_module
from reactornb.durable.errors import DamagedRunError
from reactornb.durable.journal import GAP, Journal

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def new(storage=None, **options):
    storage = storage or Memory()
    Journal.create(storage, "j")
    storage.sync_folder("")
    journal = Journal(storage, "j", **options)
    journal.begin()
    return storage, journal


def bodies(storage, after=journal_module.START):
    return [record.value() for record in Journal(storage, "j").records(after)]


def set_bytes(storage, data):
    storage.root.entries["j"].data[:] = data


def data_of(storage):
    return bytes(storage.root.entries["j"].data)


def test_records_come_back_with_kind_tag_and_body():
    storage, journal = new()
    given = [
        ("begun", (0, 0), {"a": [1, 2.5]}),
        ("input", (5, 3), b"bytes"),
        ("note", (-1, 0), b""),
        ("input", (2**62, 2**62), "x" * 3_000_000),
    ]
    for entry in given:
        journal.append(*entry)
    journal.close()
    read = list(Journal(storage, "j").records())
    assert [(r.kind, r.tag, r.value()) for r in read] == given
    assert [r.is_value for r in read] == [True, False, False, True]


def test_a_record_is_with_the_system_before_it_is_synced():
    storage, journal = new()
    journal.append("input", (1, 0), 1)
    assert bodies(storage) == [1]
    assert not journal.is_synced
    assert bodies(storage.survivors(lambda: 0)) == []
    journal.sync()
    assert journal.is_synced
    assert bodies(storage.survivors(lambda: 0)) == [1]


def test_a_reader_goes_on_where_it_stopped():
    storage, journal = new()
    for i in range(5):
        journal.append("input", (i, 0), i)
    last = list(Journal(storage, "j").records())[-1].position
    for i in range(5, 9):
        journal.append("input", (i, 0), i)
    assert bodies(storage, last) == [5, 6, 7, 8]


@pytest.mark.parametrize("cut", [1, 43, 50])
def test_a_torn_record_at_the_end_is_left_out_and_cut_off_when_the_run_goes_on(cut):
    storage, journal = new()
    for i in range(3):
        journal.append("input", (i, 0), i)
    set_bytes(storage, data_of(storage)[:-cut])
    again = Journal(storage, "j")
    assert [record.value() for record in again.records()] == [0, 1]
    assert again.torn > 0
    again.begin()
    again.append("input", (9, 0), 9)
    assert bodies(storage) == [0, 1, 9]


def test_what_an_earlier_crash_left_behind_the_end_does_not_come_back():
    storage, journal = new()
    for i in range(6):
        journal.append("input", (i, 0), i)
    old = data_of(storage)
    place = list(Journal(storage, "j").records())[2].position.at
    set_bytes(storage, old[:place])
    again = Journal(storage, "j")
    again.begin()
    again.append("input", (7, 0), 7)  # as long as the record that was there
    set_bytes(storage, data_of(storage) + old[len(data_of(storage)) :])
    assert bodies(storage) == [0, 1, 2, 7]


def test_a_bad_record_that_was_synced_is_damage_and_one_that_was_not_is_the_end():
    storage, journal = new()
    for i in range(4):
        journal.append("input", (i, 0), i)
    at = list(Journal(storage, "j").records())[1].position.at
    unsynced = bytearray(data_of(storage))
    unsynced[at + 50] ^= 1
    set_bytes(storage, unsynced)
    assert bodies(storage) == [0, 1]
    unsynced[at + 50] ^= 1
    set_bytes(storage, unsynced)
    journal.sync()
    journal.append("input", (4, 0), 4)  # knows that those before are synced
    damaged = bytearray(data_of(storage))
    damaged[at + 50] ^= 1
    set_bytes(storage, damaged)
    read = []
    with pytest.raises(DamagedRunError, match="not what was written there"):
        read.extend(record.value() for record in Journal(storage, "j").records())
    assert read == [0, 1]
    with pytest.raises(DamagedRunError):
        Journal(storage, "j").begin()


def test_a_journal_that_is_shorter_than_a_checkpoint_knows_is_damaged():
    storage, journal = new()
    journal.append("input", (0, 0), 0)
    journal.append("input", (1, 0), 1)
    floor = journal.sync()
    end = next(iter(Journal(storage, "j").records())).position.at
    set_bytes(storage, data_of(storage)[:end])
    with pytest.raises(DamagedRunError, match="a checkpoint knows of"):
        list(Journal(storage, "j", lambda: floor).records())


def test_a_failed_sync_is_made_good_by_the_next_one():
    """The system says once that it failed, and then forgets what it had not written."""
    storage, journal = new()
    journal.append("input", (0, 0), 0)
    journal.sync()
    journal.append("input", (1, 0), 1)
    storage.fail = lambda number, name: OSError(errno.EIO, "broken") if name.startswith("sync") else None
    with pytest.raises(OSError, match="broken"):
        journal.sync()
    assert journal.failure is not None
    journal.append("input", (2, 0), 2)
    storage.fail = lambda number, name: None
    assert bodies(storage.survivors(lambda: 1)) == [0]
    journal.sync()
    assert journal.failure is None
    assert bodies(storage.survivors(lambda: 0)) == [0, 1, 2]


def test_while_the_disk_is_full_records_wait_and_beyond_a_limit_a_gap_says_how_many_are_missing(monkeypatch):
    monkeypatch.setattr(journal_module, "_MOST_PENDING", 1000)
    storage, journal = new()
    journal.append("input", (0, 0), b"0")
    storage.fail = lambda number, name: FULL if name.startswith(("write", "sync")) else None
    for i in range(1, 6):
        journal.append("input", (i, 0), bytes(400))
    assert isinstance(journal.failure, OSError)
    with pytest.raises(OSError, match="No space"):
        journal.sync()
    storage.fail = lambda number, name: None
    journal.sync()
    read = [(r.kind, r.tag, len(r.body)) for r in Journal(storage, "j").records()]
    assert [entry[:2] for entry in read] == [("input", (0, 0)), ("input", (1, 0)), ("input", (2, 0)), (GAP, (5, 0))]
    assert list(Journal(storage, "j").records())[-1].value() == {"records": 3}
    journal.append("input", (6, 0), b"6")
    journal.close()
    assert list(Journal(storage, "j").records())[-1].tag == (6, 0)


def test_a_burst_that_is_larger_than_the_limit_is_synced_and_not_dropped(monkeypatch):
    monkeypatch.setattr(journal_module, "_MOST_PENDING", 1000)
    storage, journal = new()
    for i in range(20):
        journal.append("input", (i, 0), bytes(400))
    assert len(bodies(storage)) == 20
    assert "sync j" in storage.log[4:]


@pytest.mark.parametrize("interrupted", ["append", "sync"])
def test_an_interrupt_at_any_line_leaves_a_journal_that_goes_on(interrupted):
    """But not at a bare `try`, nor where a `with` lets go of a lock: there Python does not look for signals."""
    for line in itertools.count():
        storage, journal = new()
        journal.append("input", (0, 0), 0)
        left = line

        def trace(frame, event, arg):
            nonlocal left
            if not frame.f_code.co_filename.endswith("journal.py"):
                return None
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            if event == "line" and not text.startswith(("with", "try")):
                left -= 1
                if left < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            if interrupted == "append":
                journal.append("input", (1, 0), 1)
            else:
                journal.sync()
            is_over = True
        except KeyboardInterrupt:
            is_over = False
        finally:
            sys.settrace(before)
        journal.append("input", (2, 0), 2)
        journal.append("input", (3, 0), 3)
        journal.sync()
        journal.append("input", (4, 0), 4)
        read = [body for body in bodies(storage) if body != 1]
        assert read == [0, 2, 3, 4]
        assert [body for body in bodies(storage.survivors(lambda: 0)) if body != 1] == [0, 2, 3]
        if is_over:
            assert line > 10
            return


def test_what_is_no_record_is_refused():
    _, journal = new()
    for kind in ("", "Input", "a b", "x" * 40, "é"):
        with pytest.raises(ValueError, match="no kind"):
            journal.append(kind, (0, 0), b"")
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="not open"):
        journal.append("input", (0, 0), b"")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 60])
def test_a_journal_without_its_beginning_is_damaged(size):
    storage, journal = new()
    journal.append("input", (0, 0), 0)
    set_bytes(storage, data_of(storage)[1:][:size])
    with pytest.raises(DamagedRunError, match="does not begin as a journal"):
        list(Journal(storage, "j").records())
    del storage.root.entries["j"]
    with pytest.raises(DamagedRunError, match="missing"):
        list(Journal(storage, "j").records())


def test_a_reader_beside_the_writer_never_takes_what_is_being_written_for_damage(monkeypatch):
    """Between two looks at the file its writer completes a record and syncs it: every such moment, one after the other."""
    monkeypatch.setattr(journal_module, "_BLOCK", 64)
    seen = set()
    for keep, moment in itertools.product(range(1, 60, 8), range(1, 14)):
        storage, journal = new()
        for i in range(3):
            journal.append("input", (i, 0), i)
        whole, real, reads = data_of(storage), storage.read, itertools.count(1)
        set_bytes(storage, whole[:-keep])  # the third record has only begun

        def read(*where, moment=moment, storage=storage, journal=journal, whole=whole, real=real, reads=reads):
            found = real(*where)
            if next(reads) == moment:
                set_bytes(storage, whole)
                journal.sync()
                journal.append("input", (9, 0), 9)
            return found

        storage.read = read
        got = [record.value() for record in Journal(storage, "j").records()]
        assert got[:2] == [0, 1]
        assert got == [0, 1, 2, 9][: len(got)]
        seen.add(len(got))
    assert seen in ({2, 4}, {2, 3, 4})
