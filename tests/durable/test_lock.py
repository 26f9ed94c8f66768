"""One process writes a folder at a time; what a killed one left is taken over."""

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys

import pytest

from reactornb.durable import lock as lock_module
from reactornb.durable.errors import RunInUseError
from reactornb.durable.folder import RunFolder
from reactornb.durable.lock import FolderLock, Owner, owner_of

HOLD = """
import sys
from pathlib import Path
from reactornb.durable.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.sign()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_folder_that_another_process_writes_is_refused_with_its_number(tmp_path, holder):
    with pytest.raises(RunInUseError) as raised:
        FolderLock(tmp_path)
    assert (raised.value.pid, raised.value.host) == (holder.pid, platform.node())
    assert owner_of(tmp_path).pid == holder.pid


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "owner.json").exists()
    assert owner_of(tmp_path) is None
    lock = FolderLock(tmp_path)
    lock.sign()
    assert owner_of(tmp_path).pid == os.getpid()
    lock.release()
    lock.release()
    assert owner_of(tmp_path) is None


def test_one_process_does_not_lock_twice_and_the_attempt_does_not_unlock(tmp_path):
    lock = FolderLock(tmp_path)
    for _ in range(3):
        with pytest.raises(RunInUseError):
            FolderLock(tmp_path)
    other = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path)], input="", capture_output=True, text=True, check=False
    )
    assert "RunInUseError" in other.stderr
    lock.release()
    FolderLock(tmp_path).release()


def test_where_the_system_has_no_locks_the_owner_decides(tmp_path, holder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(RunInUseError) as raised:
        FolderLock(tmp_path)
    assert raised.value.pid == holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    FolderLock(tmp_path).release()


def test_a_number_that_another_process_has_now_does_not_hold_a_folder():
    here = Owner.here()
    assert not here.is_gone()
    assert here._replace(started="1").is_gone()
    assert here._replace(boot="before the machine was switched off").is_gone()
    assert not here._replace(host="another machine", started="1").is_gone()
    assert here._replace(pid=2**31 - 1).is_gone()


TRUE = '{"pid": true, "started": "1", "host": "here", "boot": ""}'


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", "null", '{"pid": -1}', TRUE, "[" * 4000])
def test_an_owner_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / "owner.json").write_text(content)
    assert owner_of(tmp_path) is None
    lock = FolderLock(tmp_path)
    lock.sign()
    lock.release()


def test_a_forked_child_does_not_keep_the_folder(tmp_path):
    """A worker of a vector environment that outlives its parent, say."""
    code = f"""
import os, sys
from pathlib import Path
from reactornb.durable.lock import FolderLock
lock = FolderLock(Path({str(tmp_path)!r}))
child = os.fork()
if child == 0:
    sys.stdin.read()
    os._exit(0)
print(child, flush=True)
os._exit(0)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert int(process.stdout.readline()) > 0
        process.wait()
        FolderLock(tmp_path).release()
        process.stdin.close()


def test_closing_a_run_lets_go_of_its_folder(tmp_path):
    folder = RunFolder.create(tmp_path, "pong", {})
    assert folder.owner().pid == os.getpid()
    folder.close()
    assert folder.owner() is None
    RunFolder.open(folder.path, writable=True).close()
    assert not lock_module._held
