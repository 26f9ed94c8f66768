"""Atari games: the published preprocessing and raw frames, both through the Arcade Learning Environment (ALE).

    rollouts = Bank(Rollout, 2, env=partial(make_atari, "Pong", num_envs=8, **MNIH_2015))
    env = make_frames("MsPacman")            # one environment, frames of 210×160×3

`make_atari` gives ALE's own vector environment, whose preprocessing is compiled, in place of Gymnasium's `AtariPreprocessing`,
which needs `cv2` (no wheel for free-threaded Python). ALE itself has none either: `make atari` builds it. The games are in ALE's
package.
"""

from __future__ import annotations

import re
import threading
from importlib import util
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from reactornb.errors import ReactorError, suggestion
from reactornb.rl.errors import UnknownEnvironmentError
from reactornb.rl.shared import is_kept

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MACHADO_2018", "MNIH_2015", "AtariUnavailableError", "EmulatorBusyError", "games", "make_atari", "make_frames", "missing"]  # fmt: skip

MNIH_2015: dict[str, Any] = {
    "noop_max": 30,
    "frame_skip": 4,
    "sticky_actions": 0.0,
    "terminal_on_life_loss": True,
    "clip_rewards": True,
    "full_action_space": False,
    "max_frames": 18_000,
}
"""How DQN was trained: a random start of up to 30 no-ops, four frames an action, an episode a life, rewards in [-1, 1], the
game's own actions, five minutes an episode at most. Mnih et al. 2015, doi:10.1038/nature14236, Methods and Extended Data Table 1.
For its evaluation set `terminal_on_life_loss` and `clip_rewards` to false."""

MACHADO_2018: dict[str, Any] = {
    "noop_max": 0,
    "frame_skip": 5,
    "sticky_actions": 0.25,
    "terminal_on_life_loss": False,
    "clip_rewards": False,
    "full_action_space": True,
    "max_frames": 18_000,
}
"""The evaluation protocol recommended since: randomness from sticky actions instead of a random start, whole games, all 18 actions,
five frames an action, five minutes an episode. Machado et al. 2018, arXiv:1709.06009. Rewards are those of the game; agents clip
them in their own update."""


class AtariUnavailableError(UnknownEnvironmentError):
    """ALE, or the part of it that is asked for, is not installed."""


class EmulatorBusyError(ReactorError, RuntimeError):
    """Two threads used one emulator at once.

    Attributes:
        environment: its name.
        threads: the names of both, first the one that came first.
    """

    def __init__(self, message: str, *, environment: str, threads: tuple[str, str]) -> None:
        super().__init__(message)
        self.environment = environment
        self.threads = threads


def missing(*, vector: bool = True) -> str | None:
    """Why there is no Atari here, in words, or None if there is.

    Args:
        vector: ask for the preprocessed games of `make_atari`, not only for `make_frames`.
    """
    if util.find_spec("ale_py") is None:
        return "ale-py is not installed (make atari builds it for free-threaded Python; elsewhere: pip install ale-py)"
    import ale_py

    if vector and not hasattr(ale_py, "ALEVectorInterface"):
        return (
            "this ale-py was built without its vector environment, for want of OpenCV "
            "(apt-get install libopencv-core-dev libopencv-imgproc-dev, then make atari)"
        )
    return None


def games() -> list[str]:
    """The names of all games, such as "ms_pacman".

    Raises:
        AtariUnavailableError: without ALE.
    """
    _need(vector=False)
    from ale_py import roms

    return sorted(roms.get_all_rom_ids())


def make_atari(
    game: str,
    num_envs: int = 1,
    *,
    noop_max: int = 30,
    frame_skip: int | None = None,
    max_pool: bool = True,
    stack: int = 4,
    screen_size: int = 84,
    grayscale: bool = True,
    terminal_on_life_loss: bool = False,
    sticky_actions: float | None = None,
    clip_rewards: bool = False,
    full_action_space: bool | None = None,
    fire_reset: bool = False,
    max_frames: int = 108_000,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    threads: int = 1,
) -> VectorEnv[Any, Any, Any]:
    """Games with the published preprocessing, stepped together.

    Args:
        game: "Pong", "ms_pacman" or "MsPacman" (see `games`), or an id, whose frame skip, sticky actions and actions then count
            unless they are given: "ALE/Pong-v5" has sticky actions of 0.25, a bare name none. A NoFrameskip id leaves the skip to this function.
        num_envs: how many emulators.
        noop_max: a new game begins with 0 to `noop_max - 1` no-ops (Mnih et al.: 1 to 30), drawn from the environment's seed.
        frame_skip: frames an action is repeated for; the last two count. None: what an id says, else 4.
        max_pool: each pixel is the brighter one of the last two frames, since some games draw sprites on every other one.
        stack: how many of the last screens make an observation; those before the first are black.
        screen_size: height and width that screens are scaled to (area averaging).
        grayscale: one channel of luminance instead of three of colour.
        terminal_on_life_loss: a lost life ends the episode.
        sticky_actions: probability that a frame repeats the action before it instead of the one given. None: what an id says, else 0.
        clip_rewards: into [-1, 1].
        full_action_space: all 18 actions instead of those with an effect in this game. None: what an id says, else false.
        fire_reset: a new game begins with FIRE, where there is such an action; no part of either protocol.
        max_frames: frames after which an episode is truncated.
        autoreset_mode: of Gymnasium's, NEXT_STEP or SAME_STEP.
        threads: ALE's own, for these environments. One where several rollouts run in parallel: the scheduler's workers are
            the parallelism, and a second layer of threads would only compete with them.

    Returns:
        A vector environment: observations uint8 [num_envs, stack, screen_size, screen_size] (with a last axis of 3 in colour),
        rewards int32, actions Discrete. Its infos are `lives`, `frame_number`, `episode_frame_number` and `env_id`, int32.

    Raises:
        AtariUnavailableError: if ALE is not here, or not with its vector environment.
        UnknownEnvironmentError: for an unknown game, or a value that means nothing.
        EmulatorBusyError: while in use, if a second thread comes in.
    """
    _need(vector=True)
    from ale_py.vector_env import AtariVectorEnv

    spec = _published(game)
    said = spec.kwargs if spec is not None else {}
    rom = _rom(game)
    mode = AutoresetMode(autoreset_mode)
    given = {"frameskip": frame_skip, "repeat_action_probability": sticky_actions}
    contradicted = _contradictions(
        spec.id if spec is not None else "ALE/", said, {k: v for k, v in given.items() if v is not None}
    )
    # A NoFrameskip id says that whoever preprocesses its frames skips them, which is what happens here.
    contradicted = [
        words for words in contradicted if not (said.get("frameskip") == 1 and "stands for frameskip=" in words)
    ]
    if frame_skip is None:
        frame_skip = 4 if said.get("frameskip", 1) == 1 else said["frameskip"]
        if not isinstance(frame_skip, int):
            contradicted.append(
                f"{game} skips {frame_skip[0]} to {frame_skip[1] - 1} frames at random, which ALE's preprocessing cannot; name {game.replace('-v', 'NoFrameskip-v')} or give make_frames this id"
            )
            frame_skip = 4
    sticky_actions = float(said.get("repeat_action_probability", 0.0)) if sticky_actions is None else sticky_actions
    full_action_space = bool(said.get("full_action_space", False)) if full_action_space is None else full_action_space
    wrong = [
        *(f"{n} must be at least 1, not {v!r}" for n, v in (("num_envs", num_envs), ("frame_skip", frame_skip), ("stack", stack), ("threads", threads)) if v < 1),
        *([f"sticky_actions is a probability, not {sticky_actions!r}"] if not 0.0 <= sticky_actions <= 1.0 else []),
        *(["ALE resets by itself: autoreset_mode is NEXT_STEP or SAME_STEP"] if mode is AutoresetMode.DISABLED else []),
        *contradicted,
    ]  # fmt: skip
    if wrong:
        raise UnknownEnvironmentError(f"make_atari({game!r}): {'; '.join(wrong)}.", env=game)
    if "metadata" not in AtariVectorEnv.__dict__:
        # Its constructor writes into `self.metadata`, which is one dict for all vector environments of the process.
        AtariVectorEnv.metadata = {}
    games = AtariVectorEnv(
        rom,
        num_envs,
        num_threads=threads,
        max_num_frames_per_episode=max_frames,
        repeat_action_probability=sticky_actions,
        full_action_space=full_action_space,
        autoreset_mode=mode,
        img_height=screen_size,
        img_width=screen_size,
        grayscale=grayscale,
        stack_num=stack,
        frameskip=frame_skip,
        maxpool=max_pool,
        noop_max=noop_max,
        episodic_life=terminal_on_life_loss,
        reward_clipping=clip_rewards,
        use_fire_reset=fire_reset,
    )
    games.metadata = {"autoreset_mode": mode}
    made = _Games(games, rom)
    if not is_kept():
        return made
    from reactornb.rl.recorded import RecordedGames

    return RecordedGames(made)  # ALE has no way to read these games' states


def make_frames(game: str, **options: Any) -> gymnasium.Env[np.ndarray, np.int64]:
    """One game with its frames as they are: uint8 [210, 160, 3] (a few games: 250 rows).

    An id is taken at its word, from ALE's own registration: "PongNoFrameskip-v4" shows every frame and has no sticky actions, "Pong-v4" skips
    2 to 4 frames at random, "PongNoFrameskip-v0" has sticky actions of 0.25, "ALE/Pong-v5" a frame skip of 4 and sticky actions of 0.25. A
    game's bare name means the latter.

    Args:
        game: a game's name, as for `make_atari`, or an id; `gymnasium.spec(id).kwargs` says what it stands for.
        options: for `gymnasium.make`, such as `frameskip`, `repeat_action_probability`, `full_action_space`, `obs_type`.

    Raises:
        AtariUnavailableError: if ALE is not here.
        UnknownEnvironmentError: for an unknown game or id, one without a single player's mode, values that mean nothing, and options
            that contradict what an id of old (-v0, -v4) says.
        EmulatorBusyError: while in use, if a second thread comes in.
    """
    _need(vector=False)
    import ale_py

    spec = _published(game)
    env_id = spec.id if spec is not None else f"ALE/{_rom(game).title().replace('_', '')}-v5"
    said = spec.kwargs if spec is not None else {}
    wrong = _impossible(options.get("frameskip"), options.get("repeat_action_probability"))
    wrong += _contradictions(env_id, said, options)
    if wrong:
        raise UnknownEnvironmentError(f"make_frames({game!r}): {'; '.join(wrong)}.", env=game)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Warning)  # it would say its name once for each game
    try:
        return _Frames(gymnasium.make(env_id, disable_env_checker=True, **options))
    except (gymnasium.error.Error, TypeError) as error:
        raise UnknownEnvironmentError(f"make_frames({game!r}): {error}", env=game) from error


def _published(game: str) -> Any:
    """ALE's own registration of an id, or None for a game's bare name.

    Raises:
        UnknownEnvironmentError: for an id of a known game that ALE does not have.
    """
    import ale_py

    gymnasium.register_envs(ale_py)  # does nothing: the import registered them
    spec = gymnasium.registry.get(game)
    if spec is not None and str(spec.entry_point).startswith("ale_py"):
        return spec
    if not re.search(r"^ALE/|-v\d+$|-ram", game):
        return None
    rom = _rom(game)  # raises for an unknown game
    same = [
        i
        for i, spec in gymnasium.registry.items()
        if spec.kwargs.get("game") == rom and "ale_py" in str(spec.entry_point)
    ]
    hint = ' For its memory give make_frames a name and obs_type="ram".' if "-ram" in game else ""
    raise UnknownEnvironmentError(f"ALE has no {game!r}. Of this game it has {', '.join(same)}.{hint}", env=game)


def _impossible(frame_skip: Any, sticky: Any) -> list[str]:
    """What is wrong with a frame skip (a number or a range of numbers) and a probability of sticky actions; None is not given."""
    wrong = []
    skips = frame_skip if isinstance(frame_skip, (tuple, list)) else (1 if frame_skip is None else frame_skip,)
    plain = all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) and k >= 1 for k in skips)
    if not plain or len(skips) > 2 or (len(skips) == 2 and skips[0] >= skips[1]):
        wrong.append(f"a frame skip is at least 1, or a range (from, below), not {frame_skip!r}")
    if sticky is not None and not 0.0 <= sticky <= 1.0:
        wrong.append(f"sticky actions are a probability in [0, 1], not {sticky!r}")
    return wrong


def _contradictions(env_id: str, said: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """Settings that an id's name stands for and that are given otherwise; those of ALE/…-v5 are defaults, so nothing contradicts them."""
    if env_id.startswith("ALE/"):
        return []
    fixed = {k: v for k, v in said.items() if k in ("frameskip", "repeat_action_probability")}
    return [
        f"{env_id} stands for {name}={value!r}, but {options[name]!r} was given: leave it out, or name ALE/…-v5, whose settings are free"
        for name, value in fixed.items()
        if name in options and options[name] != value
    ]


def _need(*, vector: bool) -> None:
    why = missing(vector=vector)
    if why is not None:
        raise AtariUnavailableError(f"no Atari here: {why}.", env="ALE")


def _rom(game: str) -> str:
    """ALE's name of a game; its identifiers are in snake case, Gymnasium's in camel case."""
    word = re.sub(r"^ALE/|(-ram)?(NoFrameskip|Deterministic)?-v\d+$|-ram$", "", game)
    known = games()
    plain = {name.replace("_", ""): name for name in known}
    rom = plain.get(word.replace("_", "").lower())
    if rom is None:
        raise UnknownEnvironmentError(f"there is no game {game!r}. {suggestion(word.lower(), known)}", env=game)
    return rom


class _OneThread:
    """A claim on an emulator for the length of one call.

    # An emulator is not safe for two threads, and says nothing: it goes on with a corrupted machine. Different threads one after
    # the other are fine, and usual, since a reactor's reactions run on whatever worker takes them, one at a time.
    #
    # _held   maps 0 to the call that is in the emulator. `setdefault` is one atomic step (the dict's own lock on free-threaded
    #         builds, the GIL elsewhere): of two threads that come at once exactly one finds its own call there, and the other
    #         finds that one's, hence its name. Whoever got in takes it out; the same lock orders what it wrote before
    #         what the next one reads. A claim, not a lock to wait on: two callers at once are a mistake in the program,
    #         and waiting would only make its result depend on who came first.
    """

    __slots__ = ("_held", "name")
    transient = ("_held", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._held: dict[int, tuple[str, str]] = {}

    def __call__[T](self, what: str, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        mine = (threading.current_thread().name, what)
        other = self._held.setdefault(0, mine)
        if other is not mine:
            raise EmulatorBusyError(
                f"{self.name}: thread {mine[0]!r} calls {what} while thread {other[0]!r} is in {other[1]}. One emulator belongs to "
                f"one reactor (or one thread) at a time: make an environment for each.",
                environment=self.name,
                threads=(other[0], mine[0]),
            )
        try:
            return call(*args, **kwargs)
        finally:
            del self._held[0]


class _Frames(gymnasium.Wrapper[np.ndarray, np.int64, np.ndarray, np.int64]):
    """A single game that only one thread can be in."""

    def __init__(self, env: gymnasium.Env[np.ndarray, np.int64]) -> None:
        super().__init__(env)
        self._claim = _OneThread(env.spec.id if env.spec is not None else str(env))

    def step(self, action: np.int64) -> Any:
        """See `gymnasium.Env`."""
        return self._claim("step", self.env.step, action)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See `gymnasium.Env`."""
        return self._claim("reset", self.env.reset, seed=seed, options=options)

    def render(self) -> Any:
        """See `gymnasium.Env`."""
        return self._claim("render", self.env.render)

    def close(self) -> None:
        """See `gymnasium.Env`."""
        self._claim("close", self.env.close)


class _Games(VectorWrapper):
    """ALE's vector environment, which only one thread can be in, with its actions checked and its threads ended on close."""

    def __init__(self, env: VectorEnv[Any, Any, Any], rom: str) -> None:
        super().__init__(env)
        self._claim = _OneThread(f"{rom} ({env.num_envs} games)")
        self._actions = int(cast("gymnasium.spaces.Discrete", env.single_action_space).n)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """See `gymnasium.vector.VectorEnv`; game i gets seed + i."""
        self._open()
        if isinstance(seed, (list, tuple)):
            seed = np.asarray(seed)
        return self._claim("reset", self.env.reset, seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        """See `gymnasium.vector.VectorEnv`.

        Raises:
            ValueError: for actions of the wrong shape, or out of range (on which ALE itself would wait for ever).
        """
        self._open()
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"{self._claim.name}: actions are {self.num_envs} integers, not {actions.dtype}{list(actions.shape)}."
            )
        if actions.min() < 0 or actions.max() >= self._actions:
            at = int(np.flatnonzero((actions < 0) | (actions >= self._actions))[0])
            raise ValueError(
                f"{self._claim.name}: action {actions[at]} of game {at} is not in 0 to {self._actions - 1}."
            )
        return self._claim("step", self.env.step, actions.astype(np.int32, copy=False))

    def close(self, **_: Any) -> None:
        """End ALE's threads."""
        if not self.env.closed:
            self._claim("close", self._end)

    def _end(self) -> None:
        self.env.closed = True
        del self.env.ale  # type: ignore[attr-defined]  # its destructor joins them

    def _open(self) -> None:
        if self.env.closed:
            raise gymnasium.error.ClosedEnvironmentError(f"{self._claim.name} is closed.")
