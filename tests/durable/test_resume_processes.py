"""A kept run whose process was killed, or stopped, goes on in another process, by the command line, with the fingerprint of one that nobody touched."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from resumable import Apart, Training

from reactornb import Program, sec
from reactornb.durable.folder import RunFolder
from reactornb.durable.history import History

HERE = Path(__file__).parent
END = sec(8)

pytestmark = [pytest.mark.slow, pytest.mark.thread_unsafe(reason="starts processes")]


@pytest.fixture
def place(tmp_path):
    shutil.copy(HERE / "resumable.py", tmp_path / "resumable.py")
    return tmp_path


def command(place, *words):
    """`reactornb` with these words, in that folder."""
    environment = {
        **os.environ,
        "REACTORNB_RUNS": str(place / "runs"),
        "PYTHONHASHSEED": "0",
        "PYTHON_GIL": "0",
        "TELL_STACKS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "reactornb", *words], cwd=place, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def fingerprint(process):
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)  # it hangs: says where each thread is; see the end of resumable.py
        _, err = process.communicate(timeout=30)
        raise AssertionError(err) from None
    assert process.returncode == 0, err
    return next(word for word in out.split() if len(word) == 64)


def newest(place):
    """The tag of the newest checkpoint."""
    path = place / "runs" / "pong"
    infos = RunFolder.open(path).checkpoints(skip_damaged=True) if path.exists() else []
    return infos[-1].tag if infos else (-1, 0)


def gone_on(process, place, tag):
    """Wait until a run has a checkpoint of a later tag; gives that."""
    until = time.monotonic() + 60.0
    while newest(place) <= tag:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return newest(place)


@pytest.mark.parametrize("root", [Training, Apart])
def test_a_killed_run_goes_on_by_the_command_line(root, place):
    expected = Program(root).run(workers=1, fingerprint=True, until=END)
    # Often enough that a fast machine, which is done in half a second, has not come to the end before it is killed three times.
    keep = ["--keep", "pong", "--checkpoint", "20ms", "--fingerprint", "--until", "8s", "-w", "1"]
    process = command(place, "run", "resumable.py", "--main", root.__name__, *keep)
    tag = (0, 0)
    # The last life has one worker: it executes most tags, and on a busy machine two hand over from enclave to enclave for minutes.
    for workers in (2, 2, 1):
        tag = gone_on(process, place, tag)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = command(place, "resume", "pong", "resumable.py", "-w", str(workers))
    assert fingerprint(process) == expected.fingerprint
    with RunFolder.open(place / "runs" / "pong") as folder:
        history = History(folder.journal.records())
    assert history.metrics == expected.metrics
    assert len(history.resumed) == 3


def test_a_stopped_run_says_how_it_goes_on_and_does(place):
    expected = Program(Training).run(workers=1, fingerprint=True, until=END)
    keep = ["--keep", "pong", "--fingerprint", "--until", "8s"]
    process = command(place, "run", "resumable.py", "--main", "Training", *keep)
    gone_on(process, place, (-1, 0))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "reactornb resume pong" in err
    process = command(place, "resume", "pong")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "reactornb resume pong FILE" in err
    assert fingerprint(command(place, "resume", "pong", "resumable.py")) == expected.fingerprint
    process = command(place, "resume", "pong", "resumable.py")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is finished" in err


def test_a_run_whose_code_was_changed_goes_on_only_as_a_branch(place):
    process = command(place, "run", "resumable.py", "--main", "Training", "--keep", "pong", "--until", "50ms")
    process.communicate(timeout=60)
    assert process.returncode == 0
    file = place / "resumable.py"
    file.write_text(
        file.read_text().replace("self.count += 1\n        self.latest", "self.count += 2\n        self.latest")
    )
    process = command(place, "resume", "pong", "resumable.py", "--until", "80ms")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "resumable.Source.on_again" in err
    process = command(
        place, "resume", "pong", "resumable.py", "--changed", "allow", "--branch", "other", "--at", "20ms"
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    with RunFolder.open(place / "runs" / "other") as folder:
        assert folder.about["parent"]["run"] == "pong"


def test_a_comment_changes_no_code(place):
    process = command(place, "run", "resumable.py", "--main", "Training", "--keep", "pong", "--until", "50ms")
    process.communicate(timeout=60)
    assert process.returncode == 0
    file = place / "resumable.py"
    file.write_text("# a comment\n\n" + file.read_text().replace("self.count += 1", "self.count += 1  # one more"))
    process = command(place, "resume", "pong", "resumable.py", "--until", "80ms")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.mark.timeout(170)
def test_a_training_that_is_killed_ten_times_is_the_one_that_nobody_killed():
    pytest.importorskip("torch")
    pytest.importorskip("gymnasium")
    subprocess.run(
        [sys.executable, str(HERE / "kill_training.py"), "--times", "10", "--steps", "3000"], check=True, timeout=160,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHON_GIL": "0", "TELL_STACKS": "1"},
    )  # fmt: skip
