"""Datasets on disk, in Minari's format: `record` plays a policy and writes what it did, `read_dataset` reads what anybody wrote.

    record(policy, "CartPole-v1", episodes=100, path="expert")             # a folder that Minari opens: MinariDataset("expert")
    record(None, "CartPole-v1", episodes=100, path="random")               # None: any action, evenly
    dataset = read_dataset("expert", "random")                             # one or several, as one OfflineDataset

Both go through the package `minari` itself, `pip install 'reactornb[offline]'`: it and what it imports leave the GIL off (Minari 0.5.4, h5py 3.16, pyarrow 26
on 3.14t). Its formats "hdf5", "arrow" and "parquet" are read; "hdf5", one file, is written unless asked. Nothing is downloaded.

Source: the dataset standard of Minari, "Dataset standards" in its documentation; Younis et al. 2024, "Minari", doi:10.5281/zenodo.13767625.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata as installed
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from reactornb.errors import MissingPackageError
from reactornb.files import FileError
from reactornb.rl.checks import name_of
from reactornb.rl.config import Rule, check_parameters, whole
from reactornb.rl.datasets import DatasetError, OfflineDataset
from reactornb.rl.envs import make_env
from reactornb.rl.errors import ConfigError
from reactornb.rl.storage import own
from reactornb.rl.trained import policy_of
from reactornb.rl.watching import begin_episodes, beside, check_fits, choice_of

__all__ = ["dataset_of", "read_dataset", "record"]

FORMATS = ("hdf5", "arrow", "parquet")

# Datasets that somebody still holds, by their files: runs of a sweep that learn from the same one share it. Read and written under _lock, by whatever thread
# assembles a program; what is read from files is read outside of it, so two threads may read the same one, and the first keeps its own.
_read: WeakValueDictionary[Any, OfflineDataset] = WeakValueDictionary()
_lock = threading.Lock()


def _minari() -> Any:
    try:
        import minari
        import minari.data_collector.episode_buffer
        import minari.dataset.minari_storage
    except ImportError as error:
        raise MissingPackageError(
            f"datasets are read and written by the package minari, which cannot be imported here ({error}): pip install 'reactornb[offline]'. Without it, "
            f"OfflineDataset.from_episodes makes a dataset of arrays."
        ) from error
    return minari


# -- reading --------------------------------------------------------------------------------------------------------------


def read_dataset(*sources: str | Path) -> OfflineDataset:
    """Read datasets of Minari, as one.

    Args:
        sources: folders, or ids such as "mujoco/hopper/expert-v0" of what lies where Minari keeps datasets (`MINARI_DATASETS_PATH`, or ~/.minari/datasets).

    Returns:
        Their episodes in order; its `env` is the environment that the first one was played in, where that is told.

    Raises:
        MissingPackageError: without the package `minari`, or the one that a format needs.
        DatasetError: if there is none, it is damaged, or their spaces differ.
        SpaceError: for spaces that no algorithm here works with.
    """
    if not sources:
        raise TypeError("read_dataset needs the folder of a dataset, or its id.")
    return OfflineDataset.joined([_one(source) for source in sources])


def dataset_of(given: Any) -> OfflineDataset:
    """What a program was given as `dataset=`: one, its folder or id, or several of these."""
    if isinstance(given, OfflineDataset):
        return given
    if isinstance(given, (str, Path)):
        return _one(given)
    if isinstance(given, Sequence) and given and all(isinstance(g, (str, Path, OfflineDataset)) for g in given):
        return OfflineDataset.joined([dataset_of(one) for one in given])
    raise ConfigError(
        f"dataset={given!r:.80} is none: give the folder of a Minari dataset, its id, an OfflineDataset, or a tuple of these.",
        fields=("dataset",),
    )


def _folder(source: str | Path) -> Path:
    """Where the data of a dataset lie."""
    path = Path(source).expanduser()
    tried = [path, path / "data"]
    if isinstance(source, str) and not path.is_absolute():
        root = os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets"
        tried.append(Path(root) / source / "data")
    found = next((folder for folder in tried if (folder / "metadata.json").is_file()), None)
    if found is None:
        raise DatasetError(
            str(source), f"there is no dataset of Minari; looked for metadata.json in {', '.join(map(str, tried))}"
        )
    return found.absolute()


def _one(source: str | Path) -> OfflineDataset:
    folder = _folder(source)
    files = sorted((str(p), s.st_size, s.st_mtime_ns) for p in folder.rglob("*") if p.is_file() for s in [p.stat()])
    key = (str(source), tuple(files))
    with _lock:
        known = _read.get(key)
    if known is not None:
        return known
    made = _load(folder, str(source))
    with _lock:
        return _read.setdefault(key, made)


def _load(folder: Path, source: str) -> OfflineDataset:
    minari = _minari()
    try:
        stored = minari.MinariDataset(folder)
        spaces = stored.observation_space, stored.action_space
        episodes = _episodes(stored.storage)
        env = _env_of(stored.env_spec)
        return OfflineDataset.from_episodes(*spaces, episodes, env=env, source=source)
    except DatasetError:
        raise
    except ImportError as error:
        raise MissingPackageError(f"{source}: {error}") from error
    except (AssertionError, KeyError, ValueError, OSError) as error:
        raise DatasetError(source, f"Minari cannot read it ({type(error).__name__}: {str(error)[:300]})") from error


def _episodes(storage: Any) -> Iterator[Mapping[str, Any]]:
    episodes: Iterator[Mapping[str, Any]] = storage.get_episodes(range(storage.total_episodes))
    yield from episodes


_TOLD = ("entry_point", "kwargs", "max_episode_steps", "additional_wrappers")
"""What of Gymnasium's `EnvSpec` says which environment it is."""


def _env_of(spec: Any) -> Any:
    """An id where that says all, else a function that makes the environment; None without a spec."""
    if spec is None:
        return None
    import gymnasium

    plain = gymnasium.registry.get(spec.id)
    if plain is not None and all(getattr(plain, name) == getattr(spec, name) for name in _TOLD):
        return str(spec.id)
    return partial(gymnasium.make, spec, disable_env_checker=True)


# -- recording ------------------------------------------------------------------------------------------------------------


def record(
    policy: Any,
    env: Any,
    episodes: int = 100,
    path: str | Path | None = None,
    *,
    seed: int = 0,
    rng: np.random.Generator | None = None,
    dataset_id: str | None = None,
    author: str | None = None,
    author_email: str | None = None,
    algorithm_name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    data_format: str = "hdf5",
) -> Path:
    """Play whole episodes with a policy and write them as a dataset of Minari.

    Args:
        policy: a `SavedPolicy`, the file of one, a run or program (its newest weights), or a function from an observation to an action; None: any action of the
            space, each with the same probability.
        env: a Gymnasium id, a function that makes an environment, or one (which stays open). Its id goes into the dataset, so that the environment can be
            made again.
        episodes: how many.
        path: the folder; None: where Minari keeps datasets, under `dataset_id`.
        seed: episode i is reset with seed + i, which Minari keeps with it.
        rng: the policy's actions are drawn with it; None: the best ones. Of `policy=None` it may be left out: then it follows from the seed.
        dataset_id: Minari's name, "(namespace/)name-vN"; None: made of the environment's and the folder's.
        author, author_email, algorithm_name, description: what Minari asks of a dataset; the algorithm is that of a saved policy unless it is named.
        metadata: more for its metadata, such as `{"ref_min_score": 9.0, "ref_max_score": 500.0}`.
        data_format: "hdf5", "arrow" or "parquet"; pictures are written as they are, not as JPEG.

    Returns:
        The folder.

    Raises:
        MissingPackageError: without the package `minari`, or the one that the format needs.
        ConfigError: for a value that cannot be, an environment of several, or a name that Minari does not take.
        DatasetError: if there is something in the folder already, or Minari refuses the episodes.
        FileError: if it cannot be written.
        SpaceError: if the environment's spaces are not the policy's.
    """
    formats = Rule(f"one of {', '.join(FORMATS)}", lambda v: v in FORMATS)
    check_parameters("record", episodes=(episodes, whole(1)), seed=(seed, whole(0)), data_format=(data_format, formats))
    minari = _minari()
    if path is None and dataset_id is None:
        raise ConfigError("record needs a path, or a dataset_id of Minari's.", fields=("path", "dataset_id"))
    named = (
        dataset_id
        or f"{re.sub(r'[^-_A-Za-z0-9]+', '-', f'{name_of(env)}-{Path(path or "").name}').strip('-').lower()}-v0"
    )
    try:
        minari.dataset.minari_dataset.parse_dataset_id(named)
    except ValueError as error:
        raise ConfigError(f"dataset_id={named!r}: {error}", fields=("dataset_id",)) from error
    folder = Path(path).expanduser() if path is not None else _in_minaris_own(minari, named)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError(str(folder), "there is something already; take another path, or remove it")
    chosen = policy_of(policy, rng) if policy is not None else None
    is_given = hasattr(env, "step") and not isinstance(env, type)
    made = env if is_given else make_env(env)
    try:
        if hasattr(made, "num_envs"):
            raise ConfigError(
                "record plays one environment; this is a vector of several. Give it one of them.", fields=("env",)
            )
        played = beside(chosen, made, env)
        choose = _choice(chosen, played, env, seed, rng)
        buffers = []
        for i in range(episodes):
            begin_episodes(chosen)
            buffers.append(_played(minari, choose, played, seed + i))
        told = {
            "dataset_id": named,
            "minari_version": installed.version("minari"),
            "algorithm_name": algorithm_name or _algorithm(policy, chosen),
            "requirements": [f"gymnasium=={installed.version('gymnasium')}"],
            **({} if author is None else {"author": {author}}),
            **({} if author_email is None else {"author_email": {author_email}}),
            "description": description or f"{episodes} episodes of {name_of(env)}, recorded by reactornb, seeds {seed} to {seed + episodes - 1}.",
            **(metadata or {}),
        }  # fmt: skip
        return _written(minari, folder, played, buffers, told, data_format)
    finally:
        if not is_given:
            made.close()


def _in_minaris_own(minari: Any, dataset_id: str) -> Path:
    """Where Minari keeps a dataset of that name; its namespace is there afterwards."""
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = minari.dataset.minari_dataset.parse_dataset_id(dataset_id)[0]
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    return Path(minari.storage.get_dataset_path(dataset_id)) / "data"


def _choice(policy: Any, made: Any, env: Any, seed: int, rng: np.random.Generator | None) -> Callable[[Any], Any]:
    if policy is None:
        draws = np.random.default_rng(seed) if rng is None else rng
        made.action_space.seed(int(draws.integers(2**31)))
        return lambda _: made.action_space.sample()
    if hasattr(policy, "blueprint"):
        check_fits(policy, made, env)
    return choice_of(policy, rng)


def _algorithm(policy: Any, chosen: Any) -> str:
    if policy is None:
        return "random"
    program = getattr(chosen, "about", {}).get("program")
    return str(program["class"]) if isinstance(program, dict) and "class" in program else name_of(policy)


def _played(minari: Any, choose: Callable[[Any], Any], env: Any, seed: int) -> Any:
    """One episode, as Minari takes it."""
    observation, _ = env.reset(seed=seed)
    seen, actions, rewards, terminations, truncations = [own(observation)], [], [], [], []
    over = False
    while not over:
        action = choose(observation)
        actions.append(own(action))
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append(own(observation))
        rewards.append(float(reward))
        terminations.append(bool(terminated))
        truncations.append(bool(truncated))
        over = terminated or truncated
    return minari.data_collector.episode_buffer.EpisodeBuffer(
        seed=seed,
        observations=_stacked(env.observation_space, seen),
        actions=_stacked(env.action_space, actions),
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
        infos={},  # without, Minari's own episodes of "hdf5" cannot be shown
    )


def _stacked(space: Any, values: list[Any]) -> Any:
    """Values of a space as Minari has them: an array, and of a Dict or Tuple a dict or tuple of these."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return {name: _stacked(part, [value[name] for value in values]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_stacked(part, [value[i] for value in values]) for i, part in enumerate(space.spaces))
    return np.stack([np.asarray(value, space.dtype) for value in values])


def _written(minari: Any, folder: Path, env: Any, buffers: list[Any], told: dict[str, Any], data_format: str) -> Path:
    """Write into a folder beside it, which takes its name when all is there."""
    beside = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
        beside.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of an environment whose maker has no name: then there is no spec
            storage = minari.dataset.minari_storage.MinariStorage.new(
                beside, observation_space=env.observation_space, action_space=env.action_space, env_spec=env.spec, data_format=data_format,
                jpeg_encoding=False,
            )  # fmt: skip
        storage.update_metadata(told)
        storage.update_episodes(buffers)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise FileError(folder, error) from error
    except ImportError as error:
        raise MissingPackageError(f"data_format={data_format!r}: {error}") from error
    except (AssertionError, NotImplementedError, ValueError) as error:
        raise DatasetError(
            str(folder), f"Minari refuses these episodes ({type(error).__name__}: {str(error)[:300]})"
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return folder
