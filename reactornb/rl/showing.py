"""`watch`: episodes of whatever can play: runs, saved policies and their files, functions, and several of these side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reactornb.rl.acting import player_of
from reactornb.rl.config import check_parameters, whole
from reactornb.rl.episodes import Gallery
from reactornb.rl.errors import ConfigError
from reactornb.rl.saved_policy import SavedPolicy, load_policy
from reactornb.rl.watching import play

__all__ = ["watch"]


def watch(
    what: Any,
    env: Any = None,
    *,
    episodes: int = 1,
    seed: int = 0,
    steps: int = 1000,
    rng: np.random.Generator | None = None,
) -> Gallery:
    """Play episodes and keep what they looked like: in a notebook a player, several side by side; `save("episode.mp4")` in a script.

        watch(run)                                          # what it has learnt so far, also while it goes on
        watch("cartpole.safetensors", "CartPole-v1", episodes=4)
        watch({"lr 1e-3": run, "lr 1e-4": other})

    Args:
        what: a run or a program, a saved policy or the path of one, any function from an observation to an action; or several of them, in a list, or in a
            dict by what they are to be called.
        env: as for `SavedPolicy.watch`; unless given, the one that it was trained on.
        episodes: how many of each.
        seed: of the first episode's reset; the next one has seed + 1.
        steps: after so many an episode is over in any case.
        rng: draw the actions with it, as in training; None: the best ones.

    Raises:
        SpaceError: if the environment's spaces are not the policy's.
        PolicyNotSavableError: of a run that has no policy, or no weights yet.
        ConfigError: for a number that is none, or without an environment.
        ValueError: if the environment draws nothing.
    """
    check_parameters("watch", episodes=(episodes, whole(1)), seed=(seed, whole(0)), steps=(steps, whole(1)))
    played = []
    for label, policy, own in _players(what, env):
        for i in range(episodes):
            words = f"{label}, seed {seed + i}".removeprefix(", ") if episodes > 1 else label
            played.append(play(policy, own, seed + i, steps, rng, words))
    return Gallery(played)


def _players(what: Any, env: Any, label: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Whose episodes are asked for: what each is called, a policy, an environment."""
    if isinstance(what, dict):
        for name, one in what.items():
            yield from _players(one, env, str(name))
        return
    if isinstance(what, (list, tuple)):
        for one in what:
            yield from _players(one, env)
        return
    if isinstance(what, (str, Path)):
        label = label or Path(what).stem
        what = load_policy(what)
    if isinstance(what, SavedPolicy):
        own = env if env is not None else what.about.get("env_id")
    elif not callable(what) or hasattr(what, "last_run"):
        run, what, own = player_of(what)
        label, own = label or run.name, own if env is None else env
    else:
        own = env
    if own is None:
        raise ConfigError(
            f'watch: nothing says in which environment {label or what!r} is to play: watch(policy, "CartPole-v1").',
            fields=("env",),
        )
    yield label, what, own
