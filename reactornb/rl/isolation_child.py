"""The process of an isolated environment: makes it, and does what the other side asks. See `isolated`.

Started by `isolated` alone, with the file descriptors of a socket (what is asked, and answers), of a pipe that closes when the other side is gone, and of a file
for the place where Python stood if the process crashes.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import os
import pickle
import random  # noqa: TID251 - seeded for environments that draw from it
import signal
import socket
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO, cast

import numpy as np

from reactornb.model import Reactor
from reactornb.rl.isolation import dumped, receive, send
from reactornb.runtime.generators import GENERATORS, states

__all__ = ["main"]

_MORE = 200  # steps beyond those that an environment was asked, in the search for draws


class _Holder(Reactor):
    """What a checkpoint's means take apart: a reactor with an environment."""

    env: Any = None


class _Collected:
    """A stream whose text goes to the other side with the next answer."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, number: int, parts: list[tuple[int, str]]) -> None:
        self._number, self._parts = number, parts

    def write(self, text: str) -> int:
        self._parts.append((self._number, text))
        return len(text)

    def flush(self) -> None:
        """Nothing waits here."""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._number


class _Server:
    """The environment, and the calls that reach it.

    Args:
        payload: see `Isolated`.
    """

    def __init__(self, payload: bytes) -> None:
        import gymnasium

        from reactornb.rl.envs import make_env

        made_by, spec, self.kept, files = pickle.loads(payload)  # noqa: S301 - from the process that started this one
        for name, file in files.items():  # what data of checkpoints call the program's classes depends on these
            module: Any = sys.modules.setdefault(name, types.ModuleType(name))
            module.__file__ = file
        if spec is not None:
            gymnasium.registry.setdefault(
                made_by, spec
            )  # what a module registered that only the other side has imported
        _seed_all(0)
        self.env = make_env(made_by)
        self.vector = isinstance(self.env, gymnasium.vector.VectorEnv)
        self._known: Any = None
        self._to_record = self.kept
        self._record(None)

    def facts(self) -> dict[str, Any]:
        """What does not change."""
        env = self.env
        names = ["observation_space", "action_space", "metadata", "render_mode"]
        if self.vector:
            names += ["num_envs", "single_observation_space", "single_action_space"]
        facts = {name: getattr(env, name, None) for name in names}
        facts["kind"] = "vector" if self.vector else "one"
        try:
            dumped(env.spec)
            facts["spec"] = env.spec
        except Exception:  # noqa: BLE001 - a spec may hold anything; few ask for it
            facts["spec"] = None
        return facts

    def _record(self, seed: Any) -> None:
        """In a kept run: make sure that a checkpoint can bring it back, once when it is made and once when it was first reset."""
        if not self.kept:
            return
        from reactornb.rl.recorded import need_readable, recorded

        if self.vector:
            need_readable(self.env, seed)
        else:
            self.env = recorded(self.env, seed)

    def reset(self, seed: Any, options: Any) -> Any:
        if seed is not None:
            _seed_all(seed if isinstance(seed, int) else next((one for one in seed if one is not None), 0))
        returned = self.env.reset(seed=seed, options=options)
        if self._to_record:
            self._to_record = False
            self._record(seed)
        return returned

    def step(self, action: Any) -> Any:
        return self.env.step(action)

    def draws(self, seed: Any, actions: list[Any]) -> dict[str, tuple[str, int] | None]:
        """From which generators of the process the environment draws in these calls, and where."""
        finder = _DrawFinder()
        with contextlib.suppress(Exception):  # what it has done up to there counts
            finder.call(partial(self.env.reset, seed=seed))
            self.env.action_space.seed(0)
            more = (self.env.action_space.sample() for _ in range(_MORE))
            for action in itertools.chain(actions, more):  # what it was asked, and on to its end
                returned: Any = finder.call(partial(self.env.step, action))
                if finder.is_over or np.any(returned[2]) or np.any(returned[3]):
                    break
        return finder.found

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()

    def need_fixed_statistics(self, name: str) -> None:
        from reactornb.rl.normalization import refuse_running_statistics

        refuse_running_statistics(self.env, name)

    def has(self, name: str) -> bool:
        return hasattr(self.env, name) if self.vector else bool(self.env.has_wrapper_attr(name))

    def get(self, name: str) -> Any:
        return getattr(self.env, name) if self.vector else self.env.get_wrapper_attr(name)

    def set(self, name: str, value: Any, force: bool) -> bool:
        if self.vector:
            setattr(self.env, name, value)
            return True
        return bool(self.env.set_wrapper_attr(name, value, force=force))

    # -- checkpoints --

    def _held(self) -> tuple[Any, Any]:
        """A reactor that holds the environment, and what its data may name."""
        import gymnasium

        from reactornb.durable.objects import Known
        from reactornb.durable.objects.take import Taking
        from reactornb.graph import assemble
        from reactornb.runtime.instances import make_instance

        holder = make_instance(assemble(_Holder()).reactors[0], cast("Any", None), 0)
        holder.env = self.env  # type: ignore[attr-defined]
        if self._known is None:
            inner: Any = self.env
            classes: list[type] = [_Holder, type(inner)]
            while isinstance(inner, (gymnasium.Wrapper, gymnasium.vector.VectorWrapper)):
                inner = inner.env
                classes.append(type(inner))
            self._known = Known(classes)
        Taking(self._known, None, strict=False, learn=True).take([holder])
        return holder, self._known

    def save(self) -> bytes:
        from reactornb.durable.objects import capture
        from reactornb.runtime.codec import encode

        holder, known = self._held()
        torch: Any = sys.modules.get("torch")
        state = {
            "env": capture([holder], known, strict=False),
            "random": random.getstate(),
            "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 - an environment may draw from it
            "torch": None if torch is None else torch.get_rng_state().numpy(),
        }
        return encode(state).to_bytes()

    def load(self, saved: bytes) -> None:
        from reactornb.durable.objects import restore
        from reactornb.runtime.codec import Encoded, decode

        state = decode(Encoded.from_bytes(saved))
        holder, known = self._held()
        restore([state["env"]], [holder], known)
        self.env = holder.env
        random.setstate(state["random"])
        np.random.set_state(state["numpy"])  # noqa: NPY002 - likewise
        if state["torch"] is not None:  # it may not be imported yet where the class came from elsewhere
            import torch

            torch.set_rng_state(torch.from_numpy(state["torch"].copy()))


class _DrawFinder:
    """Makes calls, and compares the states of the process's generators before each line of Python.

    Attributes:
        found: by generator, file and line of what drew; None where that is not Python's, or another thread's.
    """

    _patience_s = 20.0

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, int] | None] = {}
        self._began = time.monotonic()
        self._last: tuple[Any, ...] = ()
        self._at: tuple[Any, int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be found, or the time is up."""
        return len(self.found) == len(GENERATORS) or time.monotonic() - self._began > self._patience_s

    def call(self, function: Callable[[], Any]) -> Any:
        """Make one call, and return what it does."""
        self._last, self._at = states(), None
        sys.settrace(self._trace)
        try:
            return function()
        finally:
            sys.settrace(None)
            self._compare()

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        self._compare()
        if event == "line":
            self._at = frame, frame.f_lineno
        return self._trace

    def _compare(self) -> None:
        """What has changed was drawn by the line before."""
        now = states()
        if now == self._last:
            return
        drawn = [name for name, a, b in zip(GENERATORS, self._last, now, strict=True) if a != b and a is not None]
        self._last = now
        place = None
        if self._at is not None:
            frame, line = self._at
            while frame is not None and _is_librarys(frame.f_code.co_filename):
                frame = frame.f_back
                line = 0 if frame is None else frame.f_lineno
            place = None if frame is None or frame.f_code.co_filename == __file__ else (frame.f_code.co_filename, line)
        for name in drawn:
            self.found.setdefault(name, place)


def _is_librarys(file: str) -> bool:
    """Whether a line of this file is not what a user can change."""
    return file == random.__file__ or "site-packages" in file or file.startswith("<")


def _seed_all(seed: int) -> None:
    """Seed the generators of the process: what draws from them plays the same in every run."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - an environment may draw from it
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def main(socket_fd: int, until_fd: int, trace_fd: int) -> None:
    """Serve one environment until it is closed, or nobody is on the other side."""
    faulthandler.enable(os.fdopen(trace_fd, "w"), all_threads=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    threading.Thread(target=_until_gone, args=(until_fd,), daemon=True).start()
    end = socket.socket(fileno=socket_fd)
    printed: list[tuple[int, str]] = []
    warned: list[tuple[Any, ...]] = []
    sys.stdout, sys.stderr = (cast("TextIO", _Collected(number, printed)) for number in (1, 2))
    warnings.filterwarnings("ignore", message="The global interpreter lock")  # is of this process only
    warnings.showwarning = lambda message, category, filename, line, *_: warned.append(
        (str(message), category, filename, line)
    )

    def answer(call: Callable[[], Any]) -> bool:
        """Send what a call returns or raises; returns whether it returned."""
        kind, value = "returned", None
        try:
            value = call()
        except Exception as error:  # noqa: BLE001 - the other side raises it
            kind, value = "raised", _raised(error)
        try:
            data = dumped((kind, value, printed, warned))
        except Exception as error:  # noqa: BLE001 - what was returned cannot be sent
            kind = "raised"
            data = dumped(
                (
                    kind,
                    _raised(TypeError(f"what it returned cannot be sent to another process: {error}")),
                    printed,
                    warned,
                )
            )
        send(end, data)
        printed.clear()
        warned.clear()
        return kind == "returned"

    server: Any = None

    def begin() -> Any:
        nonlocal server
        from reactornb.runtime import intraop

        intraop.hold()
        intraop.enter()
        server = _Server(receive(end))
        return server.facts()

    try:
        if not answer(begin):
            return
        while True:
            name, args = pickle.loads(receive(end))  # noqa: S301 - likewise
            answer(partial(getattr(server, name), *args))
            if name == "close":
                return
    except (EOFError, ConnectionError):
        pass
    finally:
        os._exit(0)  # threads of the environment's are not waited for


def _raised(error: Exception) -> tuple[Any, str]:
    """What an exception is made of, and its traceback as text, from the environment's own frames on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, _ENVS):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    parts = type(error), error.args, dict(error.__dict__)
    try:
        dumped(parts)
    except Exception:  # noqa: BLE001 - it holds what cannot be sent: its words are
        parts = RuntimeError, (f"{type(error).__name__}: {error}",), {}
    return parts, text


_ENVS = __file__.replace("isolation_child", "envs")


def _until_gone(fd: int) -> None:
    os.read(fd, 1)
    os._exit(1)
