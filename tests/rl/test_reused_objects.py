"""Environments that write every observation and every info into the same objects, and infos that differ between environments."""

from functools import partial

import pytest

np = pytest.importorskip("numpy")
gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402
from gymnasium.vector import SyncVectorEnv  # noqa: E402

from reactornb.rl.envs import make_envs  # noqa: E402
from reactornb.rl.storage import Ring, Trajectory, own  # noqa: E402
from reactornb.rl.vector import ReactorVectorEnv  # noqa: E402
from reactornb.rl.watchdog import Watch  # noqa: E402


class Reuses(gymnasium.Env):
    """Counts its steps in one array and one info; an episode is three steps. `fresh` returns new objects instead."""

    observation_space = spaces.Box(0, 1000, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, number=0, fresh=False):
        self.number, self.fresh = number, fresh
        self.array = np.zeros(2, np.float32)
        self.info = {"count": 0, "inner": {"counts": np.zeros(1, int)}, "words": ["begun"]}
        self.episodes = 0

    def now(self):
        self.array[:] = self.number, 10 * self.episodes + self.count
        self.info["count"] = self.count
        self.info["inner"]["counts"][:] = self.count
        self.info["words"][:] = ["step", str(self.count)]
        return own((self.array, self.info)) if self.fresh else (self.array, self.info)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        self.episodes += 1
        return self.now()

    def step(self, action):
        self.count += 1
        seen, info = self.now()
        return seen, float(self.count), self.count == 3, False, info


class InDict(Reuses):
    """The same within a dict."""

    observation_space = spaces.Dict(at=Reuses.observation_space, count=spaces.Discrete(1000))

    def now(self):
        seen, info = super().now()
        self.dict = {} if self.fresh or "dict" not in self.__dict__ else self.dict
        self.dict.update(at=seen, count=self.count)
        return self.dict, info


def finals(envs):
    """What four steps say of the one episode that ends in each environment: final_obs and final_info."""
    envs.reset(seed=1)
    seen = [envs.step([0, 1])[4] for _ in range(4)][2]
    envs.close()
    return seen["final_obs"].tolist(), seen["final_info"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [Reuses, InDict])
def test_final_observations_and_infos_are_those_of_the_last_step_as_if_objects_were_new(kind, workers):
    reused, fresh = ([partial(kind, i, f) for i in range(2)] for f in (False, True))
    expected, told = finals(SyncVectorEnv(fresh, autoreset_mode="SameStep"))
    found, said = finals(ReactorVectorEnv(reused, autoreset_mode="SameStep", workers=workers))
    assert repr(found) == repr(expected)
    assert "13" in repr(found)  # the last step of episode 1
    assert said["count"].tolist() == told["count"].tolist() == [3, 3]
    assert said["inner"]["counts"].tolist() == [[3], [3]]
    assert said["words"].tolist() == told["words"].tolist() == [["step", "3"]] * 2


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("how", ["single", "ours", "gymnasium's"])
@pytest.mark.parametrize("kind", [Reuses, InDict])
def test_a_rollout_and_the_replay_buffer_see_the_same_transitions(kind, how, autoreset):
    def transitions(fresh):
        each = [partial(kind, i, fresh) for i in range(2)]
        vector = {"ours": partial(ReactorVectorEnv, workers=1), "gymnasium's": SyncVectorEnv}.get(how)
        mode = "SameStep" if autoreset == "same_step" else "NextStep"
        make = each[0] if vector is None else lambda: vector(each, autoreset_mode=mode)
        envs = make_envs(make, 2, autoreset=autoreset, watch=Watch("test", "it", 0))
        played = Trajectory.empty(envs.spec, 8, 2)
        envs.reset(1, played.observations[0])
        for t in range(8):
            played.actions[t] = 0
            envs.step(t, played)
        ring = Ring(played.observations[0, 0], played.actions[0, 0], 20, 1, 2)
        index = ring.write(0, played)
        envs.close()
        return ring.gather(index, 0.9)["next_observations"].tolist()

    found = transitions(False)
    assert found == transitions(True)
    rows = np.array(found).reshape(8, 2, -1)[:, 0]
    assert [r.max() for r in rows[:3]] == [11, 12, 13]  # not 20, which the reset of the next episode wrote


def test_a_copy_is_deep_in_containers_and_leaves_other_objects_alone():
    class Opaque:
        def __deepcopy__(self, memo):
            raise AssertionError("not to be copied")

    opaque, array = Opaque(), np.zeros(2)
    before = {"a": [array, (array, {"b": array})], "o": opaque, "w": "x", "n": None}
    after = own(before)
    array[:] = 1
    assert [after["a"][0].tolist(), after["a"][1][0].tolist(), after["a"][1][1]["b"].tolist()] == [[0, 0]] * 3
    assert after["o"] is opaque
    assert (after["w"], after["n"]) == ("x", None)


class Told(gymnasium.Env):
    """Says of each step what its environment's number says."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)
    said = (
        {"cost": 0, "flag": True, "word": "a", "inner": {"x": 1, "deep": {"y": 0}}, "array": np.zeros(1, int), "_own": 1},
        {"cost": 0.75, "flag": 0.25, "word": None, "inner": {"x": 1.5, "deep": {"y": "no"}}, "array": np.full(2, 0.5)},
        {"cost": None, "other": "only here", "inner": 3},
        {},
    )  # fmt: skip

    def __init__(self, number):
        self.number, self.count = number, 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {"begun": self.number + 0.5 if self.number else 0}

    def step(self, action):
        self.count += 1
        return np.ones(1, np.float32), 0.0, self.count % 3 == 0, False, self.said[self.number]


@pytest.mark.parametrize("make", [partial(ReactorVectorEnv, workers=2), SyncVectorEnv])
def test_stable_baselines3_gets_each_environment_s_own_info(make):
    pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is no dependency: pip install stable-baselines3")
    from reactornb.rl.sb3 import GymnasiumVecEnv

    envs = GymnasiumVecEnv(make([partial(Told, i) for i in range(4)], autoreset_mode="SameStep"))
    envs.reset()
    assert [info["begun"] for info in envs.reset_infos] == [0, 1.5, 2.5, 3.5]
    for step in range(3):
        envs.step_async(np.zeros(4, int))
        seen, _, dones, infos = envs.step_wait()
        for info, said in zip(infos, Told.said, strict=True):
            extra = {"TimeLimit.truncated", "terminal_observation"}
            assert info.keys() - extra == said.keys()
            assert {k: repr(v) for k, v in info.items() if k not in extra} == {k: repr(v) for k, v in said.items()}
            assert ("terminal_observation" in info) == (step == 2)
        assert dones.all() == (step == 2)
        assert seen.tolist() == [[0.0 if step == 2 else 1.0]] * 4
    assert [info["begun"] for info in envs.reset_infos] == [0, 1.5, 2.5, 3.5]
    envs.close()
