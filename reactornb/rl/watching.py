"""What a policy does in an environment: the returns of whole episodes, and episodes as they looked.

It knows of a policy only that it can be called, or sampled from. `showing` finds the policies of runs and files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from reactornb.rl import physics
from reactornb.rl.checks import name_of, takes_mode
from reactornb.rl.config import check_parameters, whole
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.envs import is_atari, make_env
from reactornb.rl.episodes import Watched
from reactornb.rl.errors import ConfigError, SpaceError
from reactornb.rl.frames import Frames
from reactornb.rl.normalization import normalization_of
from reactornb.rl.pictures import Pictures, action_names

__all__ = ["begin_episodes", "beside", "check_draws", "check_fits", "choice_of", "evaluate", "play"]


def evaluate(policy: Any, env: Any, episodes: int, seed: int, rng: np.random.Generator | None) -> np.ndarray:
    """See `SavedPolicy.evaluate`."""
    check_parameters("evaluate", episodes=(episodes, whole(1)))
    returns = np.zeros(episodes)
    choose = choice_of(policy, rng)
    with _made(env) as made:
        played = beside(policy, made, env)
        if hasattr(policy, "blueprint"):
            check_fits(policy, played, env)
        if hasattr(played, "num_envs"):
            return _together(policy, choose, played, episodes, seed)
        for i in range(episodes):
            observation, _ = played.reset(seed=seed) if i == 0 else played.reset()
            begin_episodes(policy)
            over = False
            while not over:
                observation, reward, terminated, truncated, _ = played.step(choose(observation))
                returns[i] += float(reward)
                over = bool(terminated or truncated)
    return returns


def _together(policy: Any, choose: Callable[[Any], Any], envs: Any, episodes: int, seed: int) -> np.ndarray:
    """The same in a vector environment; each of its environments plays its share, so that short episodes do not count more often than long ones."""
    n = envs.num_envs
    quota = np.full(n, episodes // n)
    quota[: episodes % n] += 1
    mode = _mode(envs)
    next_step = mode == "NEXT_STEP"
    returns: list[float] = []
    totals, resets = np.zeros(n), np.zeros(n, bool)
    observations, _ = envs.reset(seed=seed)
    begin_episodes(policy)
    while quota.any():
        observations, rewards, terminated, truncated, _ = envs.step(choose(observations))
        totals += np.where(resets, 0.0, rewards)
        over = (np.asarray(terminated) | np.asarray(truncated)) & ~resets
        for i in np.flatnonzero(over):
            if quota[i]:
                returns.append(float(totals[i]))
                quota[i] -= 1
            totals[i] = 0.0
        begin_episodes(policy, resets if next_step else over)
        resets = over if next_step else np.zeros(n, bool)
        if mode == "DISABLED" and over.any():
            observations, _ = envs.reset(options={"reset_mask": over})
    return np.array(returns)


def _mode(envs: Any) -> str:
    """When a vector environment begins the next episode: "NEXT_STEP", "SAME_STEP" or "DISABLED"."""
    # Gymnasium 1.x: an environment that says nothing resets at the next step, whose reward and end count for nothing.
    said = envs.metadata.get("autoreset_mode")
    mode = str(getattr(said, "name", said) or "NEXT_STEP").upper()
    return mode.replace("NEXTSTEP", "NEXT_STEP").replace("SAMESTEP", "SAME_STEP")


def play(policy: Any, env: Any, seed: int, steps: int, rng: np.random.Generator | None, label: str = "") -> Watched:
    """One episode; see `SavedPolicy.watch`. Of a vector environment all are stepped, and the first is seen."""
    choose = choice_of(policy, rng)
    frames = Frames()
    actions: list[Any] = []
    rewards: list[float] = []
    with _drawing(env) as (made, why):
        played = beside(policy, made, env)
        if hasattr(policy, "blueprint"):
            check_fits(policy, played, env)
        pictures = Pictures(played, env, why)
        several = hasattr(played, "num_envs")
        observation, _ = played.reset(seed=seed)
        begin_episodes(policy)
        resets: Any = False  # where the next step only resets
        frames.append(pictures.take(observation))
        over = False
        while not over and len(rewards) < steps:
            action = choose(observation)
            observation, reward, terminated, truncated, _ = played.step(action)
            if several:
                ends = (np.asarray(terminated) | np.asarray(truncated)) & ~np.asarray(resets)
                next_step = _mode(played) == "NEXT_STEP"
                begin_episodes(policy, np.broadcast_to(resets, ends.shape) if next_step else ends)
                resets = ends & next_step
                action, reward, terminated, truncated = action[0], reward[0], terminated[0], truncated[0]
            actions.append(action)
            rewards.append(float(reward))
            over = bool(terminated or truncated)
            begun = over and several and _mode(played) == "SAME_STEP"  # the next episode has begun already
            frames.append(frames[-1] if begun else pictures.take(observation))
        rate = getattr(played, "metadata", {}).get("render_fps", 30)
        return Watched(frames, actions, rewards, float(rate) if rate else 30.0, label, action_names(played))


def check_draws(env: Any) -> None:
    """Begin an episode and look at it, before a long training finds out that there is nothing to see.

    Raises:
        ValueError: if the environment draws nothing.
    """
    with _drawing(env) as (played, why):
        observation, _ = played.reset(seed=0)
        Pictures(played, env, why).take(observation)


def beside(policy: Any, env: Any, given: Any) -> Any:
    """The environment; for a policy that heeds action masks, with these beside its observations."""
    if getattr(getattr(policy, "blueprint", None), "mask", None) is None:
        return env
    from reactornb.rl.mask_wrapper import with_mask

    return with_mask(env, name_of(given))


def begin_episodes(policy: Any, rows: np.ndarray | None = None) -> None:
    """New episodes begin, in these rows of several: tell a policy of this package, of which some remember."""
    if hasattr(policy, "blueprint") or hasattr(policy, "memory"):
        policy.reset(rows)


def choice_of(policy: Any, rng: np.random.Generator | None) -> Callable[[Any], Any]:
    """From an observation to an action: the best one, or drawn."""
    if rng is None:
        return policy  # type: ignore[no-any-return]
    if not hasattr(policy, "sample"):
        raise ConfigError(f"{name_of(policy)} draws no actions, it has no `sample`: leave rng out.", fields=("rng",))
    return lambda observation: policy.sample(observation, rng)


@contextmanager
def _made(env: Any) -> Iterator[Any]:
    """An environment; closed afterwards unless it was given."""
    if hasattr(env, "step") and not isinstance(env, type):
        yield env
        return
    made = make_env(env)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def _drawing(env: Any) -> Iterator[tuple[Any, str]]:
    """The same, made to draw into arrays where it can; with why it cannot, where the environment says so."""
    if hasattr(env, "step") and not isinstance(env, type):
        yield env, ""
        return
    made, why = None, ""
    if isinstance(env, str) or takes_mode(env):
        try:
            made = _with_mode(env)
        except Exception as error:  # noqa: BLE001 - it may be made without, and then be drawn here
            why = f"{type(error).__name__}: {error}"
    if made is None:
        made = make_env(env)
    try:
        yield made, why
    finally:
        made.close()


def _with_mode(env: Any) -> Any:
    if not isinstance(env, str):
        return env(render_mode="rgb_array")
    if is_atari(env):
        from reactornb.rl.atari import make_frames

        return make_frames(env, render_mode="rgb_array")
    import gymnasium

    physics.prepare(env)
    return gymnasium.make(env, render_mode="rgb_array", disable_env_checker=True)


def check_fits(policy: Any, env: Any, given: Any) -> None:
    """Refuse an environment that the policy was not made for.

    Args:
        policy: a `SavedPolicy`.
        env: the environment.
        given: what made it, for the message.

    Raises:
        SpaceError: with both spaces.
    """
    from reactornb.rl.spaces import spec_from

    spec: EnvSpec = policy.blueprint.spec
    statistics = "mean" in policy.blueprint.tensors or "clip" in policy.blueprint.network
    if statistics and normalization_of([env], "")[1]:
        raise SpaceError(
            f"{name_of(given)} normalises its observations by statistics of its own, and the policy brings those that it was trained with. Give it the "
            f"environment without NormalizeObservation.",
            space=env.observation_space,
        )
    other = spec_from(env, name_of(given))
    wanted = (spec.observation_shape, spec.n_actions, spec.choices, spec.action_shape, spec.action_start)
    if (other.observation_shape, other.n_actions, other.choices, other.action_shape, other.action_start) != wanted:
        raise SpaceError(
            f"{other.name} has observations {env.observation_space} and actions {env.action_space}; the policy is one from "
            f"{policy.blueprint.observation} to {policy.blueprint.action}.",
            space=env.observation_space,
        )
