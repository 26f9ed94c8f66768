"""Datasets on disk: what `record` writes is what Minari reads, and what Minari writes is what `read_dataset` gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("minari")
pytest.importorskip("h5py")
pytest.importorskip("pyarrow")

import gymnasium
import minari
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

sys.path.insert(0, str(Path(__file__).parent))

from recorded_episodes import made_up_episode

from reactornb.rl.datasets import DatasetError, OfflineDataset
from reactornb.rl.errors import ConfigError
from reactornb.rl.minari_files import FORMATS, dataset_of, read_dataset, record


@pytest.fixture(autouse=True)
def minaris_own(tmp_path, monkeypatch):
    """Where Minari keeps datasets, in this test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


class Walk(gymnasium.Env):
    """A Dict is seen, a Tuple is done, and all of it is written into the same arrays; an episode has five steps."""

    observation_space = spaces.Dict(
        at=spaces.Box(-9, 9, (2,), np.float32), door=spaces.Discrete(3), view=spaces.Box(0, 255, (40, 40), np.uint8)
    )
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,), np.float32)))

    def __init__(self):
        self.seen = {"at": np.zeros(2, np.float32), "door": 0, "view": np.zeros((40, 40), np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        self.seen["at"][:] = self.np_random.uniform(-1, 1, 2)
        return self.seen, {}

    def step(self, action):
        go, by = action
        self.count += 1
        self.seen["at"] += go * by
        self.seen["door"] = self.count % 3
        self.seen["view"][:] = self.np_random.integers(256, size=(40, 40))
        return self.seen, float(self.seen["at"].sum()), False, self.count == 5, {}


class Steps(Walk):
    """The same with actions that algorithms take."""

    action_space = spaces.MultiDiscrete([2, 3])

    def step(self, action):
        return super().step((action[0], np.full(2, 0.1 * action[1], np.float32)))


@pytest.mark.parametrize("data_format", FORMATS)
def test_what_is_recorded_is_read_by_minari_and_by_us(data_format, tmp_path):
    folder = record(
        None, Steps, 3, tmp_path / "steps", seed=7, data_format=data_format, author="A. Uthor", metadata={"ref_min_score": -1.0},
    )  # fmt: skip
    theirs, ours = minari.MinariDataset(folder), read_dataset(folder)
    assert (theirs.total_episodes, theirs.total_steps) == (ours.episodes, len(ours)) == (3, 15)
    assert (theirs.observation_space, theirs.action_space) == (Steps.observation_space, Steps.action_space)
    assert (ours.observation_space, ours.action_space) == (Steps.observation_space, Steps.action_space)
    told = theirs.storage.metadata
    assert told["author"] == {"A. Uthor"}
    assert told["algorithm_name"] == "random"
    assert told["ref_min_score"] == -1.0
    assert [m["seed"] for m in theirs.storage.get_episode_metadata(range(3))] == [7, 8, 9]
    encoded = OfflineDataset.from_episodes(
        theirs.observation_space, theirs.action_space, [vars(episode) for episode in theirs.iterate_episodes()]
    )
    assert encoded.digest == ours.digest
    # The first episode again, step by step: views of one array were not what was written.
    env = Steps()
    seen, _ = env.reset(seed=7)
    episode = next(theirs.iterate_episodes())
    for t in range(5):
        for name, value in seen.items():
            assert np.array_equal(episode.observations[name][t], value), (t, name)
        seen, reward, _, truncated, _ = env.step(episode.actions[t])
        assert episode.rewards[t] == reward
        assert episode.truncations[t] == truncated
    assert not list(tmp_path.glob(".steps*"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Minari's, of whatever is not told
@pytest.mark.parametrize("data_format", FORMATS)
def test_what_minari_writes_is_read(data_format):
    observed = spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2, 2), np.float32)))
    acted = spaces.Dict(go=spaces.MultiBinary(2), way=spaces.Discrete(3, start=-1))
    rng = np.random.default_rng(1)
    episodes = [made_up_episode(rng, observed, acted, steps, i) for i, steps in enumerate((4, 6))]
    minari.create_dataset_from_buffers(
        "made/up-v3", [EpisodeBuffer(**episode) for episode in episodes], observation_space=observed, action_space=acted, data_format=data_format
    )  # fmt: skip
    ours = read_dataset("made/up-v3")
    assert ours.digest == OfflineDataset.from_episodes(observed, acted, episodes).digest
    assert ours.env is None
    assert ours.source == "made/up-v3"


def test_the_environment_comes_back_and_actions_that_no_algorithm_takes_are_refused_when_they_are_read(tmp_path):
    folder = record(None, "Pendulum-v1", 1, tmp_path / "pendulum")
    assert read_dataset(folder).env == "Pendulum-v1"
    short = gymnasium.make("Pendulum-v1", max_episode_steps=10, g=5.0)
    made = read_dataset(record(None, short, 1, tmp_path / "short")).env()
    assert (made.unwrapped.g, made.spec.max_episode_steps) == (5.0, 10)
    assert len(read_dataset(tmp_path / "short")) == 10
    folder = record(None, Walk, 1, tmp_path / "walk")
    assert len(minari.MinariDataset(folder)[0]) == 5
    with pytest.raises(TypeError, match=r"the actions of the dataset .*walk are"):
        read_dataset(folder)


def test_a_function_plays_and_its_episodes_follow_from_the_seed(tmp_path):
    def back_and_forth(observation):
        return int(observation[1] < 0)

    first = read_dataset(record(back_and_forth, "CartPole-v1", 2, tmp_path / "a", seed=3))
    again = read_dataset(record(back_and_forth, "CartPole-v1", 2, tmp_path / "b", seed=3))
    assert first.digest == again.digest
    assert np.array_equal(first.actions, first.observations[first._rows][:, 1] < 0)
    random = [read_dataset(record(None, "CartPole-v1", 2, tmp_path / name, seed=3)).digest for name in "cd"]
    assert random[0] == random[1] != first.digest
    assert minari.MinariDataset(tmp_path / "a").storage.metadata["algorithm_name"].startswith("back_and_forth")


def test_a_dataset_of_minaris_own_has_its_name(minaris_own):
    folder = record(None, "CartPole-v1", 1, dataset_id="cartpole/random-v0")
    assert folder == minaris_own / "cartpole" / "random-v0" / "data"
    assert minari.load_dataset("cartpole/random-v0").total_episodes == 1
    assert "cartpole/random-v0" in minari.list_local_datasets()
    assert read_dataset("cartpole/random-v0").episodes == 1


def test_runs_share_what_is_read_as_long_as_its_files_are_the_same(tmp_path):
    folder = record(None, "CartPole-v1", 1, tmp_path / "one")
    first = dataset_of(folder)
    assert dataset_of(str(folder)) is dataset_of(str(folder))
    assert dataset_of(folder) is first
    (folder / "metadata.json").write_text((folder / "metadata.json").read_text() + " ")
    assert dataset_of(folder) is not first
    both = dataset_of((folder, first))
    assert both.episodes == 2
    with pytest.raises(ConfigError, match="dataset=3 is none"):
        dataset_of(3)


def test_what_is_there_already_is_left_alone(tmp_path):
    folder = tmp_path / "there"
    record(None, "CartPole-v1", 1, folder)
    before = read_dataset(folder).digest
    with pytest.raises(DatasetError, match="something already"):
        record(None, "CartPole-v1", 1, folder, seed=1)
    assert read_dataset(folder).digest == before
    with pytest.raises(ConfigError, match="dataset_id='no version'"):
        record(None, "CartPole-v1", 1, tmp_path / "x", dataset_id="no version")
    with pytest.raises(ConfigError, match="data_format='csv' must be one of hdf5"):
        record(None, "CartPole-v1", 1, tmp_path / "x", data_format="csv")
    with pytest.raises(ConfigError, match="needs a path"):
        record(None, "CartPole-v1", 1)
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_read_says_so(tmp_path):
    with pytest.raises(
        DatasetError,
        match=r"nothing: there is no dataset of Minari; looked for metadata\.json in nothing, nothing/data, .*minari/nothing/data",
    ):
        read_dataset("nothing")
    folder = record(None, "CartPole-v1", 1, tmp_path / "cut")
    file = folder / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DatasetError, match="cut: Minari cannot read it"):
        read_dataset(folder)
    told = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({**told, "minari_version": "9.0"}))
    with pytest.raises(DatasetError, match="does not support"):
        read_dataset(folder)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled(), reason="on the free-threaded build")
def test_minari_and_its_formats_leave_the_gil_off(tmp_path):
    code = f"""
import sys
from reactornb.rl.minari_files import FORMATS, read_dataset, record
for name in FORMATS:
    read_dataset(record(None, "CartPole-v1", 1, {str(tmp_path)!r} + "/" + name, data_format=name))
sys.exit(int(sys._is_gil_enabled()))
"""
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr[-2000:]
