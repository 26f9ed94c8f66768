"""Helpers of all steps: messages, commands, locks, disk space, checksums."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
XDG_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
CACHE = Path(os.environ.get("REACTORNB_CACHE") or os.path.join(XDG_CACHE, "reactornb")).expanduser().absolute()

GB = 1e9

# Variables that would make an interpreter find another one's modules, or an ordinary one refuse to start.
ENV = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "PYTHON_GIL", "VIRTUAL_ENV")}


class SetupError(Exception):
    """One line: what is wrong, and what to do."""


def say(text):
    print("setup: " + text, flush=True)


def minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def output_of(command):
    """The command's standard output, or None when it cannot be run or fails."""
    try:
        done = subprocess.run(command, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def run(what, command, log, *, cwd=None, env=None, progress=None, fix="see the log", quiet=False):
    """Run a long command with its output in `log`, and a line on the screen every ten seconds.

    Args:
        progress: a function whose text ends each of these lines; the log's last line without it.
        fix: what to do when the command fails; said after the log's tail.
        quiet: do not show the log's tail on failure, because there is an alternative.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with open(log, "ab") as out:
        out.write(("\n$ " + " ".join(map(str, command)) + "\n").encode())
        out.flush()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env={**ENV, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=10)
                    break
                except subprocess.TimeoutExpired:
                    note = progress() if progress else last_line(log)
                    say(f"  {minutes(time.monotonic() - start)}  {what}, {note}")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        if not quiet:
            tail = log.read_text(errors="replace").splitlines()[-25:]
            print("\n".join("    " + line for line in tail), flush=True)
        raise SetupError(f"{what} failed with status {status} (log: {log}); {fix}")


def last_line(log):
    lines = log.read_text(errors="replace").split("\n")
    # The address of a package index says nothing here, so only file names are shown.
    words = next((line for line in reversed(lines) if line.strip()), "").split()
    return " ".join(word.rsplit("/", 1)[-1] for word in words)[:80]


def files_below(folder):
    """Every file below a folder that another program is filling; files that vanish meanwhile are skipped."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry


@contextlib.contextmanager
def locked(name):
    """Hold the machine-wide lock `name`; the kernel drops it when the process ends, however it ends."""
    path = CACHE / "locks" / (name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another set-up holds {path}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def need_disk(folder, size, what):
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise SetupError(
            f"{what} needs {size / GB:.0f} GB of disk at {folder}, which has {free / GB:.1f} free; make room"
            " (REACTORNB_CACHE moves the cache)"
        )


def unpacked(archive, folder):
    """The folder that an archive holds, below an empty one."""
    with tarfile.open(archive) as tar:
        # Python 3.14's default, for which 3.12 and 3.13 want to be asked and which a 3.9 may not know.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)
    return next(folder.iterdir())


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
