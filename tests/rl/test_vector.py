"""`ReactorVectorEnv`: the same as Gymnasium's own vector environments, on threads, and what happens when an environment fails.

Gymnasium's own vector tests pass with it in `SyncVectorEnv`'s place (`gymnasium_suite.py` runs them); what is here is what they do
not ask.
"""

import gc
import json
import subprocess
import sys
import threading

import pytest

np = pytest.importorskip("numpy")
gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402
from gymnasium.error import ClosedEnvironmentError  # noqa: E402
from gymnasium.utils.env_checker import data_equivalence  # noqa: E402
from gymnasium.vector import AutoresetMode, SyncVectorEnv  # noqa: E402

from reactornb import Output, Program, Reactor, reaction, startup  # noqa: E402
from reactornb.rl.vector import ReactorVectorEnv, _edges  # noqa: E402


@pytest.fixture
def closing():
    """Closes what is handed to it."""
    made = []
    yield lambda env: made.append(env) or env
    for env in made:
        env.close()


class Counts(gymnasium.Env):
    """Counts its steps; an episode takes `length` of them. Says everything that it is asked."""

    action_space = spaces.Discrete(4)
    observation_space = spaces.Box(0, 1000, (2,), np.float32)

    def __init__(self, number=0, length=5, log=None):
        self.number, self.length, self.log = number, length, [] if log is None else log
        self.count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._seen(), {"options": options} if options else {}

    def step(self, action):
        self.count += 1
        over = self.count == self.length
        return self._seen(), float(action), over and self.number % 2 == 0, over and self.number % 2 == 1, {}

    def _seen(self):
        return np.array([self.number, self.count], np.float32)

    def close(self):
        self.log.append(self.number)


class Told(Counts):
    """`Counts` with observations in a dict and infos of every kind."""

    observation_space = spaces.Dict(count=spaces.Discrete(1000), seen=Counts.observation_space)

    def _seen(self):
        return {"count": self.count, "seen": super()._seen()}

    def step(self, action):
        seen, reward, terminated, truncated, _ = super().step(action)
        told = {"number": self.number, "array": np.arange(3) + self.count, "inner": {"word": "a" * self.count}}
        return seen, reward, terminated, truncated, told if self.count % 2 else {}


KINDS = {
    "Box": lambda i: lambda: gymnasium.make("CartPole-v1", max_episode_steps=12),
    "Discrete": lambda i: lambda: gymnasium.make("FrozenLake-v1", is_slippery=True),
    "Tuple": lambda i: lambda: gymnasium.make("Blackjack-v1"),
    "Box action": lambda i: lambda: gymnasium.make("Pendulum-v1", max_episode_steps=9),
    "Dict": lambda i: lambda: Told(i, 4 + i),
    "truncated": lambda i: lambda: Counts(i, 3 + i),
}


def equal(one, other):
    if isinstance(one, np.ndarray) and one.dtype != object:
        return one.dtype == other.dtype and np.array_equal(one, other)
    return data_equivalence(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_that_of_gymnasium_s_own(kind, mode, workers, closing):
    fns = [KINDS[kind](i) for i in range(5)]
    theirs = closing(SyncVectorEnv(fns, autoreset_mode=mode))
    ours = closing(ReactorVectorEnv(fns, autoreset_mode=mode, workers=workers))
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata == theirs.metadata
    assert all(map(equal, ours.reset(seed=7), theirs.reset(seed=7)))
    theirs.action_space.seed(3)
    for _ in range(40):
        actions = theirs.action_space.sample()
        got, expected = ours.step(actions), theirs.step(actions)
        assert all(map(equal, got, expected)), (got, expected)
    assert ours.np_random_seed == theirs.np_random_seed


def test_without_autoreset_some_are_reset_by_a_mask_and_the_others_keep_their_observation(closing):
    fns = [lambda i=i: Counts(i, 2 + i) for i in range(4)]
    theirs = closing(SyncVectorEnv(fns, autoreset_mode="Disabled"))
    ours = closing(ReactorVectorEnv(fns, autoreset_mode="Disabled", workers=2))
    for envs in (theirs, ours):
        envs.reset(seed=1)
        envs.step([0, 1, 2, 3])
    got, expected = ours.step([0, 1, 2, 3]), theirs.step([0, 1, 2, 3])
    assert all(map(equal, got, expected))
    with pytest.raises(AssertionError, match=r"\[0\] must be reset first"):
        ours.step([0, 1, 2, 3])
    got[0][:] = -1  # the caller's own: what comes later does not depend on it
    mask = np.array([True, False, False, False])
    options = {"reset_mask": mask, "level": 3}
    ours_again = ours.reset(seed=[9, 9, 9, 9], options=options)
    assert options["reset_mask"] is mask
    assert all(map(equal, ours_again, theirs.reset(seed=[9, 9, 9, 9], options=dict(options))))
    assert ours_again[0].tolist() == [[0, 0], [1, 2], [2, 2], [3, 2]]
    assert all(map(equal, ours.step([3] * 4), theirs.step([3] * 4)))


def test_observations_are_the_caller_s_own_unless_they_are_not_to_be_copied(closing):
    fns = [Counts, Counts]
    copied, shared = closing(ReactorVectorEnv(fns, workers=1)), closing(ReactorVectorEnv(fns, copy=False, workers=1))
    for envs, kept in ((copied, [[0, 0], [0, 0]]), (shared, [[0, 1], [0, 1]])):
        seen, _ = envs.reset()
        envs.step([0, 0])
        assert seen.tolist() == kept


def test_environments_may_hold_what_no_process_could_be_sent(closing):
    lock, order = threading.Lock(), []

    class Locked(Counts):
        def step(self, action):
            with lock:
                order.append(self.number)
            return super().step(action)

    envs = closing(ReactorVectorEnv([lambda i=i: Locked(i) for i in range(6)], workers=2))
    envs.reset()
    envs.step([0] * 6)
    assert sorted(order) == list(range(6))


@pytest.mark.parametrize("actions", [[0], [0, 0, 0], np.zeros(3, int)])
def test_another_number_of_actions_is_an_error_before_anything_is_stepped(actions, closing):
    envs = closing(ReactorVectorEnv([Counts, Counts], workers=1))
    envs.reset()
    with pytest.raises(ValueError, match=rf"{len(actions)} actions for 2 environments"):
        envs.step(actions)
    assert envs.step([0, 0])[0].tolist() == [[0, 1], [0, 1]]


# -- on threads -----------------------------------------------------------------------------------------------------------


class Meets(Counts):
    """Its step ends when another environment's has begun."""

    def __init__(self, barrier):
        super().__init__()
        self.barrier = barrier

    def step(self, action):
        self.barrier.wait(20)
        return super().step(action)


def test_environments_are_stepped_at_the_same_time(closing):
    barrier = threading.Barrier(2)
    envs = closing(ReactorVectorEnv([lambda: Meets(barrier)] * 4, workers=2, chunks=2))
    envs.reset()
    for _ in range(3):
        envs.step([0] * 4)
    assert not barrier.broken


def test_one_worker_is_the_calling_thread_and_makes_no_other(closing):
    class Says(Counts):
        def step(self, action):
            self.log.append(threading.current_thread())
            return super().step(action)

    before = threading.active_count()
    envs = closing(ReactorVectorEnv([Says] * 3, workers=1))
    envs.reset()
    envs.step([0] * 3)
    assert threading.active_count() == before
    assert envs.get_attr("log") == ([threading.current_thread()],) * 3


def test_no_thread_is_left_whether_it_is_closed_or_forgotten():
    before = set(threading.enumerate())
    envs = ReactorVectorEnv([Counts] * 4, workers=2)
    envs.reset()
    assert len(set(threading.enumerate()) - before) == 1
    envs.close()
    assert set(threading.enumerate()) == before
    log = []
    forgotten = ReactorVectorEnv([lambda i=i: Counts(i, log=log) for i in range(4)], workers=2)
    forgotten.reset()
    del forgotten
    gc.collect()
    assert log == [0, 1, 2, 3]
    assert set(threading.enumerate()) == before


def test_another_thread_may_go_on_with_it(closing):
    envs = closing(ReactorVectorEnv([Counts] * 4, workers=2))
    envs.reset()
    found = []
    thread = threading.Thread(target=lambda: found.append(envs.step([1] * 4)[0].tolist()))
    thread.start()
    thread.join()
    assert found == [[[0, 1]] * 4]
    assert envs.step([1] * 4)[0].tolist() == [[0, 2]] * 4


class Plays(Reactor):
    """A reactor with a vector environment in it: a run inside a reaction of another run."""

    seen = Output()

    @reaction(startup)
    def on_startup(self, seen):
        envs = ReactorVectorEnv([lambda i=i: Counts(i) for i in range(4)], workers=2)
        envs.reset(seed=1)
        seen.set([envs.step([1, 2, 3, 0])[0].tolist() for _ in range(6)])
        envs.close()


def test_a_run_inside_a_reaction_of_another_run():
    prints = {Program(Plays).run(workers=w, fast=True, fingerprint=True).fingerprint for w in (1, 2, 8)}
    assert len(prints) == 1


# -- environments that fail -----------------------------------------------------------------------------------------------


class Breaks(Counts):
    """Raises at some step, or at a reset with some seed."""

    def __init__(self, number, at, log, error=ValueError):
        super().__init__(number, log=log)
        self.at, self.error = at, error

    def step(self, action):
        if self.count == self.at:
            raise self.error(f"{self.number} is broken")
        return super().step(action)

    def reset(self, *, seed=None, options=None):
        if seed == 100 + self.number:
            raise self.error(f"{self.number} cannot be reset")
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_environment_that_raises_is_named_and_all_are_closed_in_order(workers):
    log = []
    at = {2: 1, 5: 1}
    envs = ReactorVectorEnv([lambda i=i: Breaks(i, at.get(i), log) for i in range(6)], workers=workers)
    envs.reset()
    envs.step([0] * 6)
    with pytest.raises(ValueError, match="2 is broken") as caught:  # the first of the two, whoever was first
        envs.step([0] * 6)
    assert caught.value.__notes__ == ["raised by environment 2 (Breaks) in its step; all 6 environments are closed"]
    assert log == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ClosedEnvironmentError, match="is closed"):
        envs.step([0] * 6)
    with pytest.raises(ClosedEnvironmentError):
        envs.reset()
    envs.close()
    assert log == [0, 1, 2, 3, 4, 5]


def test_an_environment_that_cannot_be_reset_is_named():
    log = []
    envs = ReactorVectorEnv([lambda i=i: Breaks(i, None, log) for i in range(3)], workers=2)
    with pytest.raises(ValueError, match="1 cannot be reset") as caught:
        envs.reset(seed=[100 + 7, 101, 0])
    assert "environment 1 (Breaks) in its reset" in caught.value.__notes__[0]
    assert log == [0, 1, 2]


def test_an_environment_that_cannot_be_made_is_named_and_those_made_are_closed():
    log = []

    def broken():
        raise OSError("no display")

    with pytest.raises(OSError, match="no display") as caught:
        ReactorVectorEnv([lambda: Counts(0, log=log), lambda: Counts(1, log=log), broken], workers=2)
    assert caught.value.__notes__ == ["raised by env_fns[2], which was to make environment 2"]
    assert log == [0, 1]


def test_environments_that_do_not_fit_together_are_closed():
    log = []
    with pytest.raises(RuntimeError, match="observation spaces are not equivalent"):
        ReactorVectorEnv([lambda: Counts(0, log=log), lambda: Told(1, log=log)], workers=2)
    assert log == [0, 1]


def test_an_environment_that_cannot_be_closed_keeps_no_other_open():
    log = []

    class Stays(Counts):
        def close(self):
            super().close()
            raise RuntimeError("it stays")

    envs = ReactorVectorEnv([lambda i=i: (Stays if i == 1 else Counts)(i, log=log) for i in range(3)], workers=2)
    with pytest.raises(RuntimeError, match="it stays") as caught:
        envs.close()
    assert caught.value.__notes__ == ["raised by environment 1 in its close"]
    assert log == [0, 1, 2]
    assert envs.closed


def test_an_observation_of_another_shape_is_an_error_and_not_spread_over_the_row():
    class Shrinks(Counts):
        def _seen(self):
            return super()._seen() if self.count < 2 else np.ones(1, np.float32)

    envs = ReactorVectorEnv([Counts, Shrinks], workers=2)
    envs.reset()
    envs.step([0, 0])
    with pytest.raises(
        ValueError, match=r"an observation of shape \(1,\); its observation space says \(2,\)"
    ) as caught:
        envs.step([0, 0])
    assert "environment 1 (Shrinks)" in caught.value.__notes__[0]


def test_an_interrupt_in_a_step_closes_nothing(closing):
    log = []
    envs = closing(
        ReactorVectorEnv([lambda: Breaks(0, 1, log, KeyboardInterrupt), lambda: Counts(1, log=log)], workers=1)
    )
    envs.reset()
    envs.step([0, 0])
    with pytest.raises(KeyboardInterrupt):
        envs.step([0, 0])
    assert log == []
    assert envs.reset()[0].tolist() == [[0, 0], [1, 0]]


# -- in other people's programs -------------------------------------------------------------------------------------------


def cleanrl_style_a2c(make_envs):
    """A loop as CleanRL writes them, shortened: vector environment, wrapper for statistics, batched policy, one update a rollout."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(make_envs())
    agent = torch.nn.Linear(int(np.prod(envs.single_observation_space.shape)), int(envs.single_action_space.n) + 1)
    returns = []
    seen, _ = envs.reset(seed=1)
    for _ in range(3):
        terms = []
        for _ in range(16):
            out = agent(torch.as_tensor(seen))
            policy = torch.distributions.Categorical(logits=out[:, :-1])
            actions = policy.sample()
            seen, rewards, _, _, infos = envs.step(actions.numpy())
            terms.append((policy.log_prob(actions), out[:, -1], torch.as_tensor(rewards, dtype=torch.float32)))
            if "episode" in infos:
                returns += infos["episode"]["r"][infos["_episode"]].tolist()
        loss = sum((-logp * (r - value.detach()) + (r - value) ** 2).mean() for logp, value, r in terms)
        agent.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in agent.parameters():
                p.add_(p.grad, alpha=-1e-3)
    envs.close()
    return torch.cat([p.detach().flatten() for p in agent.parameters()]).numpy(), returns


@pytest.fixture
def one_torch_thread():
    """Torch's own threads only compete with a loop of tiny networks, badly so on a busy machine."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_torch_thread")
def test_a_loop_in_cleanrl_s_manner_learns_the_same_weights_with_ours_in_place():
    fns = [lambda: gymnasium.make("CartPole-v1")] * 4
    weights, returns = cleanrl_style_a2c(lambda: SyncVectorEnv(fns))
    assert returns
    for workers in (1, 2, 8):
        ours, same = cleanrl_style_a2c(lambda workers=workers: ReactorVectorEnv(fns, workers=workers))
        assert (ours == weights).all()
        assert same == returns


@pytest.mark.slow
@pytest.mark.usefixtures("one_torch_thread")
def test_stable_baselines3_learns_the_same_weights_with_ours_in_place():
    pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is no dependency: pip install stable-baselines3")
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from reactornb.rl.sb3 import GymnasiumVecEnv

    def make():
        return Monitor(gymnasium.make("CartPole-v1"))

    def learned(envs):
        ppo = PPO("MlpPolicy", envs, n_steps=32, batch_size=32, n_epochs=1, seed=3, device="cpu").learn(256)
        envs.close()
        parameters = torch.cat([p.detach().flatten() for p in ppo.policy.parameters()]).numpy()
        return parameters, [(info["r"], info["l"]) for info in ppo.ep_info_buffer]

    weights, episodes = learned(DummyVecEnv([make] * 4))
    ours, same = learned(GymnasiumVecEnv(ReactorVectorEnv([make] * 4, autoreset_mode="SameStep", workers=2)))
    assert (ours == weights).all()
    assert same == episodes
    with pytest.raises(ValueError, match="SameStep"):
        GymnasiumVecEnv(ReactorVectorEnv([make], workers=1))


# -- the benchmark --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.soak
def test_the_benchmark_sets_ours_beside_gymnasium_s_own(tmp_path):
    # In a process of its own: AsyncVectorEnv leaves a server of processes behind until the end of the one that used it.
    where = tmp_path / "vector.json"
    words = ["--case", "cartpole", "--envs", "2", "--rounds", "3", "--repeats", "1", "--json", str(where)]
    subprocess.run([sys.executable, "-m", "reactornb", "bench", "vector", *words], check=True, timeout=170)
    found = json.loads(where.read_text())["figures"]
    names = ("SyncVectorEnv", "AsyncVectorEnv", "1 worker", "2 workers")
    assert set(found) == {f"CartPole-v1, {name}" for name in names}
    assert all(figure["median"] > 0 for figure in found.values())


@pytest.mark.parametrize(
    ("envs", "workers", "chunks", "edges"),
    [
        (16, 2, None, [0, 6, 12, 14, 16]),
        (16, 1, None, [0, 16]),
        (16, 2, 3, [0, 5, 10, 16]),
        (3, 2, None, [0, 1, 2, 3]),
        (2, 2, None, [0, 1, 2]),
        (1, 1, None, [0, 1]),
        (4, 1, 9, [0, 1, 2, 3, 4]),
    ],
)
def test_each_worker_gets_most_of_its_environments_at_once(envs, workers, chunks, edges):
    assert _edges(envs, workers, chunks) == edges


def test_every_environment_is_in_one_part():
    for envs in range(1, 70):
        for workers in range(1, min(envs, 9) + 1):
            edges = _edges(envs, workers, None)
            assert (edges[0], edges[-1]) == (0, envs)
            assert edges == sorted(set(edges))
            assert len(edges) - 1 >= workers
