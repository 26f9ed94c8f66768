"""Environments in a process of their own, behind the interface that they have: `isolated(env)`, or `isolate=True` of a configuration or a `Rollout`.

    PPO(env=draws_from_np_random, isolate=True)
    ReactorVectorEnv([isolated(make)] * 8)

For environments that threads of one process cannot share: they draw from a generator of the whole process (`random`, `numpy.random`, torch's), or use a native
library that cannot be loaded twice, is not safe in threads, turns the GIL on, or crashes. Each environment has a process, which is not forked (the parent
has threads) but started anew; what makes the environment is sent to it by cloudpickle, so a lambda or a class in a notebook's cell will do, and a script
needs no `if __name__ == "__main__"`. A step takes 0.1 to 0.2 ms more than without (on two busy cores, medians: CartPole 190 to 240 µs
beside 14; frames of 28 kB take no longer, so memory that is shared would gain nothing); a process half a second of processor time to start.

- Seeds: a `reset(seed=…)` also seeds the three generators of its process, so that an environment that draws from them plays the same in every run.
- What it raises is raised here, the traceback there as a note. A process that dies is an `EnvironmentCrashError`, with the signal and where Python stood.
- What it prints and warns of is printed and warned of by the calling thread.
- A process ends with its environment's `close`, with the last reference to the environment, and when the parent is gone, even if that was killed.
- In a kept run the process saves the environment's state as `Rollout` would in this one, and the generators'; see `recorded`.

- Episodes are watched and filmed (`watch`, `video_every`) in this process, one at a time.

The other side is `isolation_child`. One thread at a time uses an environment, as without isolation.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import warnings
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from reactornb.errors import ReactorError
from reactornb.rl.checks import name_of, who
from reactornb.rl.errors import EnvironmentCrashError
from reactornb.rl.shared import is_kept

__all__ = ["Isolated", "IsolatedEnv", "IsolatedVectorEnv", "dumped", "isolated", "receive", "send"]

_CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from reactornb.rl.isolation_child import main; main(*map(int, sys.argv[2:]))"
_SLICE_S, _SLICE_US = 0, 200_000  # so long a wait lasts before the interpreter can deliver an exception to this thread
_PATIENCE_S = 5.0  # for a process that was asked to end, or has closed its end of the socket
_HEAD = struct.Struct("<Q")
_UNIMPORTABLE = ("__main__", "__mp_main__", "reactornb_program")
"""Modules of a program's own that another process cannot import; see `fingerprint.values.module_name`."""


# -- messages ---------------------------------------------------------------------------------------------------------------


def send(end: socket.socket, data: bytes) -> None:
    """Send one message."""
    end.sendall(_HEAD.pack(len(data)) + data)


def receive(end: socket.socket) -> bytes:
    """Wait for one message.

    Raises:
        EOFError: if the other side is gone.
    """
    return bytes(_exactly(end, _HEAD.unpack(_exactly(end, _HEAD.size))[0]))


def _exactly(end: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        try:
            got = end.recv_into(view[done:])
        except BlockingIOError:  # a slice of the wait is over
            continue
        except ConnectionError:
            got = 0
        if not got:
            raise EOFError
        done += got
    return data


def dumped(value: Any) -> bytes:
    """A value as bytes; by cloudpickle where pickle does not know it, such as an object of a class in a notebook's cell."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - pickle raises what it likes; cloudpickle says what is wrong
        return _cloudpickle().dumps(value, pickle.HIGHEST_PROTOCOL)  # type: ignore[no-any-return]


def _cloudpickle() -> Any:
    """The package, which comes with Gymnasium; a few milliseconds, so only where it is needed."""
    return import_module("cloudpickle")


# -- the process ------------------------------------------------------------------------------------------------------------


class _Child:
    """A process with an environment.

    # All fields belong to the thread that uses the environment. `_end` may run on any thread, when nothing refers to the environment any more.

    Args:
        payload: what makes the environment, pickled.
        name: the environment in words.
    """

    def __init__(self, payload: bytes, name: str) -> None:
        self.name = name
        self._call = "start"
        self._gone = ""
        here, there = socket.socketpair()
        # At its end the child learns that this process is gone, whatever it is doing then.
        until_read, until_write = os.pipe()
        self._trace = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process: where Python stood when it crashed
        with there:
            fds = there.fileno(), until_read, self._trace.fileno()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and code of ours
                    [sys.executable, *_flags(), "-c", _CODE, json.dumps([str(p) for p in sys.path]), *map(str, fds)],
                    pass_fds=fds,
                    stdin=subprocess.DEVNULL,
                    env=_environment(),
                )
            except BaseException:
                here.close()
                self._trace.close()
                os.close(until_write)
                raise
            finally:
                os.close(until_read)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SLICE_S, _SLICE_US))
        self._here = here
        self._warned: dict[Any, Any] = {}  # as a module's __warningregistry__
        self.end = weakref.finalize(self, _end, self._process, here, self._trace, until_write, os.getpid())
        send(here, payload)

    def ask(self, call: str, *args: Any) -> Any:
        """Have it do something, and wait.

        Raises:
            EnvironmentCrashError: if the process is gone.
            Exception: what the environment raises there.
        """
        self.tell(call, *args)
        return self.answer()

    def tell(self, call: str, *args: Any) -> None:
        """Have it do something; `answer` waits for it."""
        if self._gone:
            raise EnvironmentCrashError(f"{self.name}: {self._gone} No call reaches it any more.", signal=None)
        self._call = call
        # If it is gone, `answer` says so.
        with contextlib.suppress(ConnectionError):
            send(self._here, dumped((call, args)))

    def answer(self) -> Any:
        """Wait for what it returns."""
        try:
            kind, value, printed, warned = pickle.loads(receive(self._here))  # noqa: S301 - from our own child
        except EOFError:
            raise self._crashed() from None
        except BaseException:  # an interrupt, or the watchdog's: the answer would be taken for that of the next call
            self._gone = "its process was ended, since a call was interrupted."
            self.end()
            raise
        for number, text in printed:
            (sys.stderr if number == 2 else sys.stdout).write(text)
        for message, category, filename, line in warned:
            warnings.warn_explicit(message, category, filename, line, registry=self._warned)
        if kind == "raised":
            error, text = _rebuilt(*value[0]), value[1]
            error.add_note(f"raised in the process of {self.name}:\n{text.rstrip()}")
            raise error
        return value

    def _crashed(self) -> EnvironmentCrashError:
        number: int | None = None
        try:
            code = self._process.wait(_PATIENCE_S)
            number = -code if code < 0 else None
            died = f"died of {_signal_name(-code)}" if code < 0 else f"ended with status {code}"
        except subprocess.TimeoutExpired:
            died = "has closed its connection"
        lines = []
        if not self._trace.closed:
            self._trace.seek(0)
            lines = self._trace.read().decode(errors="replace").splitlines()
        frames = [line for line in lines if line.lstrip().startswith("File ")]
        ours = next((i for i, line in enumerate(frames) if "isolation_child.py" in line), len(frames))
        stood = "\n".join(frames[:ours])
        self._gone = f"its process {died}."
        self.end()
        asked = "while it was made" if self._call == "start" else f"in its {self._call}"
        more = f" Python stood at:\n{stood}" if stood else ""
        return EnvironmentCrashError(
            f"{self.name}: its process {died} {asked}. Look at what it calls outside of Python, or at the memory it takes; a new run "
            f"starts a new process.{more}",
            signal=number,
        )

    def close(self) -> None:
        """Have the environment closed, and end the process."""
        if self._gone:
            return
        try:
            self.ask("close")
        except EnvironmentCrashError:
            pass
        finally:
            self._gone = "it is closed."
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)
            self.end()


def _end(process: subprocess.Popen[bytes], here: socket.socket, trace: Any, until: int, owner: int) -> None:
    here.close()
    trace.close()
    os.close(until)
    if os.getpid() == owner:  # and no fork of it, whose exit comes here, too
        process.kill()
        process.wait()


def _rebuilt(cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An exception as it was, without calling its `__init__`, which may take other arguments."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _flags() -> list[str]:
    """Those of this interpreter, but for the GIL: a library that wants it has it there, where it is in nobody's way."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    kept: list[str] = []
    for flag in flags:
        if flag.startswith("gil="):
            kept.pop()  # the -X before it
        elif not flag.startswith("-Xgil"):
            kept.append(flag)
    return kept


def _environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    # One thread an operation, as where reactions run: more round otherwise.
    return env | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


# -- environments -----------------------------------------------------------------------------------------------------------


class _There:
    """What both kinds of environment have in common: facts that are known here, and calls that are made there."""

    transient = ("_child", "_facts")
    _child: _Child
    _facts: dict[str, Any] | None

    def _start(self, child: _Child, facts: dict[str, Any] | None) -> None:
        self._child = child
        self._facts = facts

    def _fact(self, name: str) -> Any:
        if self._facts is None:
            self._facts = self._child.answer()  # to what it was sent first
        return self._facts[name]

    def _asked(self, call: str, *args: Any) -> Any:
        self._fact("kind")
        return self._child.ask(call, *args)

    def need_fixed_statistics(self, name: str) -> None:
        """See `normalization.refuse_running_statistics`, which looks at it there."""
        self._asked("need_fixed_statistics", name)

    def has_wrapper_attr(self, name: str) -> bool:
        """See `gymnasium.Env`."""
        return bool(self._asked("has", name))

    def get_wrapper_attr(self, name: str) -> Any:
        """A copy of an attribute of the environment there; see `gymnasium.Env`."""
        return self._asked("get", name)

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        """See `gymnasium.Env`."""
        return bool(self._asked("set", name, value, force))

    def render(self) -> Any:
        """See `gymnasium.Env`."""
        return self._asked("render")

    def save(self) -> bytes:
        """Its state and that of its process's generators, for a checkpoint."""
        return self._asked("save")  # type: ignore[no-any-return]

    def load(self, state: bytes) -> None:
        """Take that over."""
        self._asked("load", state)

    def draws(self, seed: Any, actions: list[Any]) -> dict[str, tuple[str, int] | None]:
        """Have it play, and say from which generators of its process it draws; see `guards`."""
        return self._asked("draws", seed, actions)  # type: ignore[no-any-return]

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._child._process.pid


def _fact_of(name: str) -> Any:
    def read(self: _There) -> Any:
        return self._fact(name)

    return property(read, doc=f"The environment's `{name}`.")


class IsolatedEnv(_There, gymnasium.Env[Any, Any]):
    """A `gymnasium.Env` that is in another process; made by `isolated`."""

    observation_space = _fact_of("observation_space")
    action_space = _fact_of("action_space")
    metadata = _fact_of("metadata")
    spec = _fact_of("spec")
    render_mode = _fact_of("render_mode")

    def __init__(self, child: _Child, facts: dict[str, Any] | None = None) -> None:
        self._start(child, facts)

    @property
    def np_random(self) -> np.random.Generator:
        """A copy of the environment's generator."""
        return self._asked("get", "np_random")  # type: ignore[no-any-return]

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._asked("set", "np_random", value, True)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env`."""
        return self._asked("reset", seed, options)  # type: ignore[no-any-return]

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env`."""
        return self._asked("step", action)

    def close(self) -> None:
        """Close the environment and end its process."""
        self._child.close()

    def __repr__(self) -> str:
        return f"<{self._child.name}, isolated>"


class IsolatedVectorEnv(_There, VectorEnv[Any, Any, Any]):
    """A `gymnasium.vector.VectorEnv` that is in another process; made by `isolated`."""

    num_envs = _fact_of("num_envs")
    observation_space = _fact_of("observation_space")
    action_space = _fact_of("action_space")
    single_observation_space = _fact_of("single_observation_space")
    single_action_space = _fact_of("single_action_space")
    metadata = _fact_of("metadata")
    spec = _fact_of("spec")
    render_mode = _fact_of("render_mode")

    def __init__(self, child: _Child, facts: dict[str, Any] | None = None) -> None:
        self._start(child, facts)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.vector.VectorEnv`."""
        return self._asked("reset", seed, options)  # type: ignore[no-any-return]

    def step(self, actions: Any) -> Any:
        """See `gymnasium.vector.VectorEnv`."""
        return self._asked("step", actions)

    def close(self, **_: Any) -> None:
        """Close the environments and end their process."""
        self._child.close()
        self.closed = True

    def __del__(self) -> None:
        """Nothing: the process ends with the last reference."""

    def __repr__(self) -> str:
        return f"<{self._child.name}, isolated>"


class Isolated:
    """Makes environments of one kind, each in a process of its own; see `isolation`.

    # _kind   set by whatever thread makes the first environment; all set the same

    Attributes:
        env: what it was given.
    """

    makes_processes = True

    def __init__(self, env: str | Callable[[], Any]) -> None:
        self.env = env
        self.__name__ = env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)
        self.__wrapped__ = env
        self._kind: str | None = None

    def __call__(self, index: int = -1) -> Any:
        """Start a process, and have it make one.

        Args:
            index: number of the environment, for messages.

        Raises:
            UnknownEnvironmentError: if what it is given to make one makes none.
            EnvironmentCrashError: if the process dies.
            Exception: what making it raises there.
        """
        child = _Child(self._payload(), who(name_of(self.env), index))
        # From the second one on nothing is waited for until it is used: the processes of several start at the same time.
        facts = None if self._kind is not None else child.answer()
        kind = self._kind = self._kind or facts["kind"]  # type: ignore[index]
        return IsolatedVectorEnv(child, facts) if kind == "vector" else IsolatedEnv(child, facts)

    def _payload(self) -> bytes:
        cloudpickle = _cloudpickle()
        spec = gymnasium.registry.get(self.env) if isinstance(self.env, str) else None
        files = {name: getattr(sys.modules[name], "__file__", None) for name in _UNIMPORTABLE if name in sys.modules}
        for name in files.keys() - {"__main__"}:
            cloudpickle.register_pickle_by_value(sys.modules[name])
        try:
            return cloudpickle.dumps((self.env, spec, is_kept(), files))  # type: ignore[no-any-return]
        except Exception as error:
            raise ReactorError(
                f"{name_of(self.env)} cannot be sent to a process of its own ({type(error).__name__}: {error}). Let the function make what it "
                f"needs itself, instead of referring to something that only this process has."
            ) from error

    def __repr__(self) -> str:
        return f"isolated({self.env!r})" if isinstance(self.env, str) else f"isolated({self.__name__})"


def isolated(env: str | Callable[[], Any]) -> Isolated:
    """Let environments be made in processes of their own: something that stands wherever a function that makes an environment does.

    Args:
        env: a Gymnasium id, or a function that makes a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.
    """
    return env if isinstance(env, Isolated) else Isolated(env)
