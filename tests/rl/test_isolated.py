"""Environments in processes of their own: what differs from one in this process is what is meant to."""

import contextlib
import gc
import os
import random  # noqa: TID251 - environments here draw from it
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("cloudpickle")

from gymnasium.vector import SyncVectorEnv  # noqa: E402
from ticks import Ticks  # noqa: E402

from reactornb import Bank, Program, Reactor, connect, ms  # noqa: E402
from reactornb.errors import ReactionError, ReactorError  # noqa: E402
from reactornb.rl import ReactorVectorEnv, isolated, spec_of  # noqa: E402
from reactornb.rl.errors import ConfigError, EnvironmentCrashError, EnvironmentHangError, UnknownEnvironmentError  # noqa: E402
from reactornb.rl.isolation import IsolatedEnv, IsolatedVectorEnv  # noqa: E402
from reactornb.rl.rollout import Rollout  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.thread_unsafe(reason="starts processes")]


class Odd(gymnasium.Env):
    """Does what its action says."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(6)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 7}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.marks = {"seen": 0}

    def seen(self):
        drawn = [random.random(), np.random.random(), self.np_random.random()]  # noqa: NPY002 - that is what it is for
        return np.array(drawn, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if options:
            raise LookupError(options)
        return self.seen(), {"marks": Mark(3)}

    def step(self, action):
        self.marks["seen"] += 1
        if action == 1:
            raise Refusal("no", 2)
        if action == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        if action == 3:
            os._exit(7)
        if action == 4:
            while True:
                pass
        if action == 5:
            print("a word")  # noqa: T201 - that is what it is for
            import warnings

            warnings.warn("take care", RuntimeWarning, stacklevel=1)
        return self.seen(), 1.5, False, False, {}

    def render(self):
        return np.full((4, 5, 3), self.marks["seen"], np.uint8)


class Refusal(Exception):  # noqa: N818 - as users name theirs
    """Takes two arguments and gives one, so that pickle could not make it again."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


class Mark:
    def __init__(self, number):
        self.number = number


@contextlib.contextmanager
def made(source, count=1):
    envs = [source() for _ in range(count)]
    try:
        yield envs[0] if count == 1 else envs
    finally:
        for env in envs:
            env.close()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def gone(pid, seconds=20.0):
    until = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


def test_it_does_what_the_environment_does_in_this_process():
    here = gymnasium.make("CartPole-v1", render_mode=None)
    with made(isolated("CartPole-v1")) as there:
        assert isinstance(there, IsolatedEnv)
        assert there.pid != os.getpid()
        assert there.observation_space == here.observation_space
        assert there.action_space == here.action_space
        assert there.spec.id == "CartPole-v1"
        assert there.metadata == here.metadata
        assert there.reset(seed=7)[0].tobytes() == here.reset(seed=7)[0].tobytes()
        for t in range(60):
            a, b = there.step(t % 2), here.step(t % 2)
            assert a[0].tobytes() == b[0].tobytes()
            assert a[0].dtype == b[0].dtype
            assert a[1:] == b[1:]
            assert [type(part) for part in a] == [type(part) for part in b]
            if a[2]:
                assert there.reset()[0].tobytes() == here.reset()[0].tobytes()
        assert there.get_wrapper_attr("length") == 0.5
        there.set_wrapper_attr("length", 0.7)
        assert there.get_wrapper_attr("length") == 0.7
        assert not there.has_wrapper_attr("nothing")
        assert there.np_random.random() == here.unwrapped.np_random.random()


def test_a_vector_environment_too():
    def make():
        return SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3)

    here = make()
    with made(isolated(make)) as there:
        assert isinstance(there, IsolatedVectorEnv)
        assert there.num_envs == 3
        assert there.single_observation_space == here.single_observation_space
        assert np.array_equal(there.reset(seed=2)[0], here.reset(seed=2)[0])
        for _ in range(40):
            a, b = (env.step(np.array([0, 1, 0])) for env in (there, here))
            assert all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_generators_of_the_process_are_seeded_by_the_reset():
    with made(isolated(Odd), 2) as (one, other):
        first = one.reset(seed=3)[0], one.step(0)[0]
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - of this process, not of theirs
        again = other.reset(seed=3)[0], other.step(0)[0]
        assert np.array_equal(first, again)
        assert not np.array_equal(one.reset(seed=4)[0], first[0])


def test_what_it_raises_is_raised_here_with_the_traceback_there_and_it_goes_on():
    with made(isolated(Odd)) as env:
        _, info = env.reset(seed=1)
        assert type(info["marks"]) is Mark
        assert info["marks"].number == 3
        with pytest.raises(LookupError, match="fast") as caught:
            env.reset(options={"fast": 1})
        note = caught.value.__notes__[0]
        assert note.startswith("raised in the process of Odd (")
        assert "raise LookupError(options)" in note
        assert "isolation_child.py" not in note
        with pytest.raises(Refusal, match="no 2") as caught:
            env.step(1)
        assert 'raise Refusal("no", 2)' in caught.value.__notes__[0]
        assert env.step(0)[1] == 1.5


@pytest.mark.parametrize(
    ("action", "words", "number"), [(2, "died of SIGSEGV in its step", signal.SIGSEGV), (3, "ended with status 7 in its step", None)]
)  # fmt: skip
def test_a_process_that_dies_is_named_with_its_signal_and_where_python_stood(action, words, number):
    with made(isolated(Odd)) as env:
        env.reset(seed=1)
        with pytest.raises(EnvironmentCrashError, match=words) as caught:
            env.step(action)
        assert caught.value.signal == number
        if number is not None:
            assert "test_isolated.py" in str(caught.value)
            assert "isolation_child.py" not in str(caught.value)
        with pytest.raises(EnvironmentCrashError, match="No call reaches it"):
            env.step(0)


def test_what_it_prints_and_warns_of_comes_from_the_thread_that_calls(capsys):
    with made(isolated(Odd)) as env:
        env.reset(seed=1)
        with pytest.warns(RuntimeWarning, match="take care"):
            env.step(5)
    assert capsys.readouterr().out == "a word\n"


def test_it_renders():
    with made(isolated(partial(Odd, render_mode="rgb_array"))) as env:
        env.reset(seed=1)
        env.step(0)
        assert env.render_mode == "rgb_array"
        assert np.array_equal(env.render(), np.full((4, 5, 3), 1, np.uint8))


def test_its_state_is_saved_and_comes_back_in_another_process():
    with made(isolated(Odd), 2) as (one, other):
        one.reset(seed=5)
        one.step(0)
        state = one.save()
        other.reset(seed=6)
        other.load(state)
        for _ in range(3):
            assert np.array_equal(one.step(0)[0], other.step(0)[0])
        assert other.get_wrapper_attr("marks") == {"seen": 4}


def test_its_process_ends_with_close_with_the_last_reference_and_with_this_process():
    source = isolated(Odd)
    closed, dropped = source(), source()
    closed_pid, dropped_pid = closed.pid, dropped.pid
    assert is_running(closed_pid)
    closed.close()
    closed.close()
    assert gone(closed_pid)
    del dropped
    assert gone(dropped_pid)
    with pytest.raises(EnvironmentCrashError, match="closed"):
        closed.reset()


def test_it_ends_when_this_process_is_killed_even_while_it_computes(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import sys, threading, time
        import gymnasium
        from reactornb.rl import isolated

        class Busy(gymnasium.Env):
            observation_space = action_space = gymnasium.spaces.Discrete(2)
            def reset(self, *, seed=None, options=None):
                return 0, {}
            def step(self, action):
                while True:
                    pass

        idle, busy = isolated("CartPole-v1")(), isolated(Busy)()
        idle.reset(seed=1), busy.reset(seed=1)
        threading.Thread(target=busy.step, args=(0,), daemon=True).start()
        time.sleep(0.2)
        print(idle.pid, busy.pid, flush=True)
        time.sleep(60)
    """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
        parent.kill()
    for pid in pids:
        assert gone(pid)


def test_what_cannot_be_made_or_sent_is_said():
    with pytest.raises(UnknownEnvironmentError, match="CartPol-v1"):
        isolated("CartPol-v1")()
    with pytest.raises(ZeroDivisionError) as caught:
        isolated(lambda: 1 / 0)()
    assert any("1 / 0" in note for note in caught.value.__notes__)
    import threading

    lock = threading.Lock()
    with pytest.raises(ReactorError, match="cannot be sent to a process of its own"):
        isolated(lambda: lock)()
    assert isolated(isolated("CartPole-v1")).env == "CartPole-v1"
    normal = lambda: gymnasium.wrappers.NormalizeObservation(gymnasium.make("CartPole-v1"))  # noqa: E731
    with pytest.raises(ConfigError, match="NormalizeObservation"):
        spec_of(isolated(normal))


def test_several_are_stepped_together():
    make = partial(gymnasium.make, "CartPole-v1")
    envs, plain = ReactorVectorEnv([isolated(make)] * 3, workers=2), SyncVectorEnv([make] * 3)
    try:
        assert np.array_equal(envs.reset(seed=1)[0], plain.reset(seed=1)[0])
        for _ in range(30):
            actions = np.array([0, 1, 1])
            assert np.array_equal(envs.step(actions)[0], plain.step(actions)[0])
    finally:
        envs.close()
        plain.close()


# -- in programs --------------------------------------------------------------------------------------------------------------


class Playing(Reactor):
    needs_physical_time = False
    env: object = None
    isolate: bool = True
    hang_s: float = 60.0
    n_envs: int = 1

    def compose(self):
        self.ticks = Ticks()
        self.rollouts = Bank(
            Rollout,
            2,
            env=self.env,
            n_envs=self.n_envs,
            n_steps=9,
            isolate=self.isolate,
            policy=still,
            hang_s=self.hang_s,
        )
        connect(self.ticks.weights, self.rollouts.weights, broadcast=True)


class Still:
    """Always the first action, and more of the others where a test says so."""

    action = 0

    def __init__(self, spec):
        self.spec = spec

    def load(self, weights):
        pass

    def act(self, observations, rng):
        return np.full(len(observations), type(self).action), None

    def greedy(self, observations):
        return self.act(observations, None)[0]


def still(spec):
    return Still(spec)


def children():
    """The processes of environments that this one has."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[1]) == os.getpid() and b"isolation_child" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
    return found


def none_is_left(seconds=20.0):
    until = time.monotonic() + seconds
    while children() and time.monotonic() < until:
        time.sleep(0.02)
    return not children()


def test_environments_that_draw_from_shared_generators_play_the_same_with_any_number_of_workers():
    program = Program(Playing(env=Odd))
    found = {program.run(seed=2, workers=workers, until=ms(5), fingerprint=True).fingerprint for workers in (1, 2)}
    assert len(found) == 1
    assert program.run(seed=3, until=ms(5), fingerprint=True).fingerprint not in found
    assert none_is_left()


@pytest.mark.parametrize("env", ["CartPole-v1", partial(gymnasium.make, "CartPole-v1")])
def test_a_proper_environment_plays_the_same_with_and_without(env):
    prints = [
        Program(Playing(env=env, isolate=isolate, n_envs=2))
        .run(seed=2, workers=2, until=ms(5), fingerprint=True)
        .fingerprint
        for isolate in (True, False)
    ]
    assert prints[0] == prints[1]


@pytest.mark.parametrize(("action", "kind"), [(2, EnvironmentCrashError), (4, EnvironmentHangError)])
def test_an_environment_that_dies_or_hangs_ends_the_run_and_no_process_is_left(action, kind, monkeypatch):
    monkeypatch.setattr(Still, "action", action)
    program = Program(Playing(env=Odd, hang_s=10.0 if action == 4 else 60.0))
    run = program.start(seed=2, workers=2)
    with pytest.raises(ReactionError) as caught:
        run.result(100)
    assert isinstance(caught.value.__cause__, kind)
    del run, program, caught
    gc.collect()
    assert none_is_left()


SMALL = {"total_timesteps": 60, "eval_episodes": 0, "n_envs": 1}
TRAININGS = {
    "PPO": {**SMALL, "n_steps": 10, "batch_size": 10, "n_epochs": 1, "hidden": (8,)},
    "DQN": {**SMALL, "train_freq": 5, "learning_starts": 20, "batch_size": 8, "hidden": (8,)},
    "A3C": {**SMALL, "n_actors": 2, "n_steps": 10, "hidden": (8,)},
    "QLearning": {**SMALL, "n_rollouts": 2, "n_steps": 20},
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_has_the_same_fingerprint(name):
    pytest.importorskip("torch")
    from reactornb import rl

    prints = [
        Program(getattr(rl, name)(isolate=isolate, **TRAININGS[name]))
        .run(seed=1, workers=2, fingerprint=True)
        .fingerprint
        for isolate in (True, False)
    ]
    assert prints[0] == prints[1]
