"""Peers: other systems that run the same benchmark, each in a virtual environment of its own, measured in turn with us.

A peer is one line in `PEERS` and one script beside this file, `<name>_peer.py`, which runs in the peer's environment, where
reactornb is not installed. It defines one function per benchmark and hands them to `serve`:

    from bodies import Player          # what both sides call; peers/bodies.py
    from serve import serve

    def gym(*, env: str, envs: int, rounds: int, steps: int) -> dict:
        ...                            # build, time the rounds only, print nothing
        return {"seconds": seconds}    # anything JSON can hold

    if __name__ == "__main__":
        serve(gym=gym)

A benchmark opens the peers it was asked for, once, and calls them whenever it is their turn:

    with report.opened(chosen) as peers:        # or opened("gym", ["xronos"])
        for name, peer in peers.items():
            variants[name] = partial(peer.seconds, "gym", env="CartPole-v1", envs=16, rounds=100, steps=1)

The environment is made at first use, in `peers/` of the cache folder (REACTORNB_CACHE, else $XDG_CACHE_HOME/reactornb, else
~/.cache/reactornb), with the interpreter that runs us, or with an ordinary CPython for a peer that has no free-threaded
build (`gil=True`; REACTORNB_GIL_PYTHON names one). Between two measurements the peer's process waits for a line and
uses no CPU of its own, and what it has started, daemons and actors, stands still (`serve.py`).
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reactornb.bench.peers.serve import session
from reactornb.errors import ReactorError

__all__ = ["PEERS", "Peer", "PeerError", "PeerProcess", "cache_folder", "names_for", "opened"]


class PeerError(ReactorError, RuntimeError):
    """A peer cannot be installed, started or measured here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One system to compare with.

    Attributes:
        name: its script is `<name>_peer.py` beside this module.
        requirements: what pip installs into its environment, its version pinned.
        benchmarks: those its script has.
        gil: it needs an ordinary CPython.
        pythons: of these versions, the first that is there.
        script: what its script is called if not as the peer.
        cpu_time: it works in one process and takes its times with `bodies.now`, so `--cpu-time` means the same for it.
    """

    name: str
    requirements: tuple[str, ...]
    benchmarks: tuple[str, ...]
    gil: bool = False
    cpu_time: bool = False
    pythons: tuple[str, ...] = ("3.13", "3.12")
    script: str = ""

    @property
    def file(self) -> str:
        """Name of the script's file."""
        return f"{self.script or self.name}_peer.py"


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        # The paper's peer; it has no free-threaded wheel. torch and PettingZoo are for what its actors run.
        Peer(
            "ray",
            ("ray==2.60.0", "gymnasium>=1.1", "pettingzoo>=1.25", "torch>=2.9", "ale-py>=0.12"),
            ("actors", "objects", "gym", "atari", "qlearning", "marl", "vector", "hosts"),
            gil=True,
        ),
        # Its actors; we only have it place hosts. The release that we do that with, on the same interpreter.
        Peer("dask", ("distributed==2026.8.0", "numpy>=2.1"), ("hosts",)),
        # The reference of `bench train`; its versions for the free-threaded build are the same, since it is pure Python.
        Peer(
            "sb3",
            ("stable-baselines3==2.9.2", "ale-py>=0.11", "opencv-python-headless>=4.10"),
            ("train",),
            gil=True,
            pythons=("3.12",),
        ),
        Peer("sb3-free", ("stable-baselines3==2.9.2",), ("train",), script="sb3"),
        # In JAX, and with a data plane in Rust.
        Peer("sbx", ("sbx-rl==0.28.0",), ("train",), gil=True, pythons=("3.12",)),
        Peer("rlox", ("rlox==1.2.0", "torch>=2.9"), ("train",), gil=True, pythons=("3.12",)),
        # The last release of CleanRL on the registry; gym 0.23, which it is written for, needs an old NumPy and an old Python.
        Peer("cleanrl", ("cleanrl==1.2.0", "numpy<1.24"), ("train",), gil=True, pythons=("3.10",)),
        Peer("rllib", ("ray[rllib]==2.60.0", "torch>=2.9"), ("train",), gil=True, pythons=("3.12",)),
        # The fastest vector environments there are: C++ throughout. No free-threaded wheel.
        Peer("envpool", ("envpool==1.2.7", "gymnasium>=1.1"), ("vector",), gil=True),
        # The only other reactor runtime for Python that we found; it has a wheel for 3.14t that keeps the GIL off.
        Peer("xronos", ("xronos==0.15.0", "gymnasium>=1.1"), ("micro", "heavy", "gym", "wake"), cpu_time=True),
    )
}

SCRIPTS = Path(__file__).parent


def names_for(benchmark: str) -> list[str]:
    """The peers that have a benchmark."""
    return [name for name, peer in PEERS.items() if benchmark in peer.benchmarks]


def cache_folder() -> Path:
    """Where environments are kept; the same folder as set-up's."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("REACTORNB_CACHE") or Path(base) / "reactornb").expanduser().absolute()


@contextlib.contextmanager
def opened(benchmark: str, names: Sequence[str]) -> Iterator[dict[str, PeerProcess]]:
    """Start these peers, installing missing packages, and end them afterwards.

    Raises:
        PeerError: if a peer is unknown, has no such benchmark, or cannot be installed or started.
    """
    with contextlib.ExitStack() as stack:
        started = {}
        for name in names:
            if name not in names_for(benchmark):
                there = ", ".join(names_for(benchmark)) or "none"
                raise PeerError(f"{benchmark}: there is no peer {name!r}; peers of this benchmark: {there}.")
            started[name] = stack.enter_context(PeerProcess(PEERS[name]))
        yield started


class PeerProcess:
    """A peer's script, running in its environment and waiting for requests. A context manager.

    Raises:
        PeerError: on entry, if the environment cannot be made or the script does not start.
    """

    GRACE = 20.0  # seconds to end by itself when nothing more is asked

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        folder = environment(self.peer)
        self._log = folder / "last-run.log"
        free = folder.name.split("-")[-2].endswith("t")
        # In a session of its own, so that all it starts can be ended with it.
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [folder / "bin" / "python", "-u", SCRIPTS / self.peer.file],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_clean_environment({"PYTHON_GIL": "0"} if free else {}),
                start_new_session=True,
            )
        try:
            self.facts = self._answer(120.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def measure(self, benchmark: str, *, timeout: float = 120.0, **parameters: Any) -> dict[str, Any]:
        """Run one of the script's functions and return what it returned.

        Args:
            benchmark: its name.
            timeout: seconds it may take.
            parameters: its keyword arguments; what JSON can hold.

        Raises:
            PeerError: if it raised, ended or took too long.
        """
        assert self._process.stdin is not None
        request = json.dumps({"benchmark": benchmark, "parameters": parameters}) + "\n"
        try:
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._error("ended") from None
        return self._answer(timeout)

    def seconds(self, benchmark: str, **parameters: Any) -> float:
        """What `measure` returns as "seconds"; raises what it raises."""
        return float(self.measure(benchmark, **parameters)["seconds"])

    def _answer(self, timeout: float) -> dict[str, Any]:
        # One line answers one request, so nothing is left in the buffer that `select` cannot see.
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise self._error(f"gave no answer within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._error("ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.peer.name}: {answer['error'].rstrip()}")
        return answer

    def _error(self, what: str) -> PeerError:
        last = self._log.read_text(errors="replace").rstrip().splitlines()[-5:]
        return PeerError("\n".join([f"{self.peer.name} {what}; see {self._log}:", *last]))

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # the script's loop ends at the end of its input
        try:
            self._process.wait(self.GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # It, if it hangs, and all it left behind; of that, some may have made themselves groups of their own.
            for process in session(self._process.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process.stdout.close()


# -- environments ---------------------------------------------------------------------------------------------------------

_making = threading.Lock()  # flock is between processes; this is between our own threads


def environment(peer: Peer) -> Path:
    """The folder of a peer's environment, which is made if it is not there; other requirements have another folder.

    Raises:
        PeerError: if there is no interpreter for it, or pip fails.
    """
    import fcntl  # not on Windows, where nothing but peers needs it

    base, tag = (
        _ordinary_python(peer.pythons) if peer.gil else (sys.executable, _tag(sys.version_info[:2], free=_free()))
    )
    wanted = hashlib.sha256("\n".join(peer.requirements).encode()).hexdigest()[:8]
    folder = cache_folder() / "peers" / f"{peer.name}-{tag}-{wanted}"
    python, done = folder / "bin" / "python", folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _making, (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)  # one that was not finished
        sys.stderr.write(f"reactornb: installing {', '.join(peer.requirements)} into {folder}\n")
        log = folder.parent / f"{folder.name}.log"
        with log.open("wb") as out:
            commands: list[list[str | Path]] = [[base, "-m", "venv", folder]]
            if peer.requirements:
                commands.append([python, "-m", "pip", "--disable-pip-version-check", "install", *peer.requirements])
            else:
                commands[0].insert(3, "--without-pip")
            for command in commands:
                if subprocess.run(command, stdout=out, stderr=out, env=_clean_environment(), check=False).returncode:
                    last = (log.read_text(errors="replace").rstrip().splitlines() or ["no output"])[-1]
                    raise PeerError(f"{peer.name} cannot be installed: {last} (all of it: {log})")
        done.touch()
    return folder


def _clean_environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Ours without what would make another interpreter find our modules, or refuse to start."""
    ours = ("PYTHONHOME", "PYTHONPATH", "PYTHON_GIL", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if k not in ours} | (more or {})


def _free() -> bool:
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def _tag(version: Sequence[int], *, free: bool) -> str:
    return f"{version[0]}.{version[1]}{'t' if free else ''}"


def _ordinary_python(versions: Sequence[str] = ("3.13", "3.12")) -> tuple[str, str]:
    """An ordinary CPython of one of these versions, and which: REACTORNB_GIL_PYTHON, on the PATH, or pyenv's."""
    candidates = [os.environ.get("REACTORNB_GIL_PYTHON")]
    for version in versions:
        below = os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python")  # noqa: PTH111 - for glob
        candidates += [shutil.which(f"python{version}"), *sorted(glob.glob(below))]  # noqa: PTH207
    probe = "import sys, sysconfig as s; print(sys.executable, '%d.%d' % sys.version_info[:2], s.get_config_var('Py_GIL_DISABLED') or 0, sep='|')"
    for candidate in filter(None, candidates):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [candidate, "-c", probe],
                capture_output=True,
                text=True,
                timeout=30,
                env=_clean_environment(),
                check=False,
            )
            executable, _, rest = done.stdout.strip().partition("|")
            found, _, free = rest.partition("|")
            if done.returncode == 0 and free == "0" and found in versions:
                return executable, found
    raise PeerError(
        f"there is no ordinary CPython {' or '.join(reversed(versions))} here for this peer; REACTORNB_GIL_PYTHON names one."
    )
