"""Environments whose state nobody can read: what they were asked since their last reset is recorded, and asked again where a run goes on.

A checkpoint takes an environment's state from the environment's own `save_state`, from ALE, or from its attributes; see
`reactornb.durable.objects`. One that hides it in objects of C, as a physics engine does, is brought back by its own steps instead: another one of its kind gets
the generators' states as they were at the last reset, or the seed, and then the same actions, and its last observation must be the same. This is recorded
in runs that are kept, and nowhere else.

A vector environment begins its episodes by itself, so it would have to be asked all that it was asked since the run began: `by_replay` asks for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import update_wrapper
from itertools import islice, pairwise
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper

from reactornb.durable.objects import Known, NotSavableError, capture
from reactornb.rl.errors import EnvironmentStateError
from reactornb.rl.storage import own

__all__ = [
    "ByReplay",
    "Recorded",
    "RecordedGames",
    "Tape",
    "Taped",
    "by_replay",
    "can_be_read",
    "need_readable",
    "recorded",
    "same",
]


BLOCK = 4096
"""Actions that are packed into one array, so that a long tape takes little memory, and a checkpoint writes only what is new."""


class Tape:
    """What an environment was asked since a reset.

    Attributes:
        resets: (how many actions came before it, seed, options) of each.
        generators: states of the environment's random generators before the first reset, by name.
        seen: the last observation; None: not known.
    """

    def __init__(self) -> None:
        self.resets: list[tuple[int, Any, Any]] = []
        self.generators: dict[str, Any] = {}
        self.seen: Any = None
        self._blocks: list[
            tuple[str, str, np.ndarray]
        ] = []  # kind and dtype of the actions, and they, of the smallest dtype that holds them
        self._recent: list[Any] = []
        self._packs = True  # whether actions are of a kind that can be packed

    def __len__(self) -> int:
        return BLOCK * len(self._blocks) + len(self._recent)

    def begin(self, seed: Any, options: Any) -> None:
        """Forget what was asked before this reset."""
        self.resets = [(0, seed, own(options))]
        self._blocks, self._recent, self._packs = [], [], True

    def add(self, action: Any) -> None:
        """The environment is asked to take an action."""
        self._recent.append(own(action))
        if self._packs and len(self._recent) == BLOCK:
            block = packed(self._recent)
            self._packs = block is not None
            if block is not None:
                self._blocks.append(block)
                self._recent = []

    def save(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "resets": list(self.resets),
            "blocks": list(self._blocks),
            "recent": list(self._recent),
            "packs": self._packs,
            "generators": self.generators,
            "seen": self.seen,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what `save` gave."""
        self.resets = [tuple(one) for one in saved["resets"]]
        self._blocks, self._recent = [tuple(one) for one in saved["blocks"]], list(saved["recent"])
        self._packs, self.generators, self.seen = saved["packs"], dict(saved["generators"]), saved["seen"]

    def actions(self) -> Iterator[Any]:
        """All of them, in order."""
        for kind, dtype, block in self._blocks:
            yield from block.tolist() if kind == "ints" else block.astype(dtype)
        yield from self._recent

    def ask(self, env: Any) -> Any:
        """Ask an environment all of it again.

        Returns:
            The last observation; None where nothing was asked.
        """
        seen, actions, done = None, self.actions(), 0
        resets = [*self.resets, (len(self), None, None)]
        for (_, seed, options), (until, _, _) in pairwise(resets):
            seen = env.reset(seed=seed, options=options)[0]
            for action in islice(actions, until - done):
                seen = env.step(action)[0]
            done = until
        return seen


def packed(actions: list[Any]) -> tuple[str, str, np.ndarray] | None:
    """Actions as one array, if they are whole numbers of Python's or arrays of one kind."""
    first = actions[0]
    if all(type(a) is int for a in actions):
        kind = "ints"
    elif type(first) is np.ndarray and not first.dtype.hasobject:
        if not all(type(a) is np.ndarray and a.dtype == first.dtype and a.shape == first.shape for a in actions):
            return None
        kind = "rows"
    else:
        return None
    block = np.array(actions)
    if block.dtype == object:  # larger than 64 bits
        return None
    dtype = block.dtype.str
    if block.dtype.kind in "iu" and block.size and block.min() >= 0 and block.max() < 256:
        block = block.astype(np.uint8)
    block.flags.writeable = False
    return kind, dtype, block


class Taped:
    """What recorded environments of all kinds have in common: `env`, and the tape of what it was asked."""

    env: Any
    tape: Tape

    def save(self) -> dict[str, Any]:
        """What it was asked; see `reactornb.durable.objects`."""
        return self.tape.save()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Ask the environment the same.

        Raises:
            EnvironmentStateError: if its last observation is another one.
        """
        self.tape.load(saved)
        if not self.tape.resets:
            return
        _put_generators(self.env, self.tape.generators)
        seen = self.tape.ask(self.env)
        if self.tape.seen is not None and not same(seen, self.tape.seen):
            name = _name(self.env)
            raise EnvironmentStateError(
                f"{name}: the actions since its last reset lead to another observation than in the run that was saved, so something in it depends on "
                f"more than its generator and its actions. Give it save_state() and load_state(state).",
                env=name,
            )

    def _begins(self, seed: Any, options: Any) -> None:
        """A reset from which on is recorded."""
        tape = self.tape
        tape.begin(seed, options)
        tape.generators = {name: _state(generator) for name, generator in _generators(self.env)}

    def begun(self, seed: Any) -> None:
        """The environment has just been reset with this seed, before anybody recorded it."""
        self.tape.begin(seed, None)


class Recorded(Taped, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records what the environment below it is asked since its last reset."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        gymnasium.Wrapper.__init__(self, env)
        self.tape = Tape()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env`."""
        self._begins(seed, options)
        returned: Any = self.env.reset(seed=seed, options=options)
        self.tape.seen = own(returned[0])
        return returned  # type: ignore[no-any-return]

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env`."""
        self.tape.add(action)
        returned = self.env.step(action)
        self.tape.seen = returned[0]
        return returned


class RecordedGames(Taped, VectorWrapper):
    """Records all that a vector environment is asked since it was last reset as a whole, with a seed: it begins episodes by itself."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        VectorWrapper.__init__(self, env)
        self.tape = Tape()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """See `gymnasium.vector.VectorEnv`."""
        tape = self.tape
        if not tape.resets or (seed is not None and not options):
            self._begins(seed, options)
        else:
            tape.resets.append((len(tape), own(seed), own(options)))
        returned = self.env.reset(seed=seed, options=options)
        tape.seen = own(returned[0])
        return returned

    def step(self, actions: Any) -> Any:
        """See `gymnasium.vector.VectorEnv`."""
        self.tape.add(actions)
        returned = self.env.step(actions)
        self.tape.seen = own(returned[0])
        return returned


class ByReplay:
    """Makes vector environments that are brought back by asking them all that they were asked; see `by_replay`."""

    def __init__(self, make: Callable[[], VectorEnv[Any, Any, Any]]) -> None:
        self.make = make
        update_wrapper(self, make)

    def __call__(self) -> VectorEnv[Any, Any, Any]:
        """Make one."""
        return RecordedGames(self.make())


def by_replay(make: Callable[[], VectorEnv[Any, Any, Any]]) -> ByReplay:
    """Let vector environments that a checkpoint cannot read be brought back by all of their steps, one after the other.

        PPO(env=by_replay(lambda: AsyncVectorEnv([make] * 8)))

    Resuming takes as long as these steps took. They must depend on seeds and actions alone, and are recorded in memory: so many bytes as actions have.

    Args:
        make: makes the vector environment.
    """
    return ByReplay(make)


def can_be_read(thing: Any) -> bool:
    """Whether a checkpoint can take an environment's state from it as it is."""
    return _why_not(thing) is None


def _why_not(thing: Any) -> NotSavableError | None:
    try:
        capture((), Known(()), values=[thing], strict=False)
    except NotSavableError as error:
        return error
    return None


def recorded(env: gymnasium.Env[Any, Any], seed: int | None = None) -> gymnasium.Env[Any, Any]:
    """An environment that a checkpoint can bring back: itself, or with a recorder beneath all of its wrappers, whose own fields are read.

    Args:
        env: it has just been made, or just been reset.
        seed: with which it was reset; None: it has just been made.
    """
    if isinstance(env, Recorded) or can_be_read(env):
        return env
    outer = None
    inner: Any = env
    while isinstance(inner, gymnasium.Wrapper):
        outer, inner = inner, inner.env
    if isinstance(outer, Recorded):
        return env
    tape = Recorded(inner)
    if seed is not None:
        tape.begun(seed)
    if outer is None:
        return tape
    outer.env = tape
    return env


def need_readable(env: VectorEnv[Any, Any, Any], seed: int | None = None) -> None:
    """Make sure that a checkpoint can bring a vector environment back; its own environments, where it has them in this process, are recorded if need be.

    Args:
        env: it has just been made, or just been reset.
        seed: with which it was reset; None: it has just been made.

    Raises:
        EnvironmentStateError: if not; says what to do.
    """
    if isinstance(env, RecordedGames):
        return
    inner: Any = env.unwrapped
    name = type(inner).__name__
    # Its environments can be asked (`call`), but not how far each of their processes is in an episode's end.
    away = isinstance(inner, AsyncVectorEnv)
    why = None if away else _why_not(env)
    if why is not None and isinstance(inner, SyncVectorEnv):
        for i, one in enumerate(inner.envs):
            safe = recorded(one, None if seed is None else seed + i)
            if safe is not one:
                _replace(inner, i, safe)
        why = _why_not(env)
    if away or why is not None:
        where = "its environments are in other processes" if away else str(why)
        raise EnvironmentStateError(
            f"{name}: this run is kept, and a checkpoint cannot read the state of this vector environment: {where}. Use ReactorVectorEnv, which has "
            f"its environments in this process; or give the program env=by_replay(make) (from reactornb.rl), which asks it again all that it "
            f"was asked when the run is resumed.",
            env=name,
        ) from why


def _replace(envs: Any, i: int, env: Any) -> None:
    if hasattr(envs, "replace"):
        envs.replace(i, env)  # a ReactorVectorEnv, whose threads know its environments, too
    else:
        envs.envs[i] = env


def same(one: Any, other: Any) -> bool:
    """Whether two observations are the same to the bit."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    a, b = np.asarray(one), np.asarray(other)
    if a.dtype.hasobject or b.dtype.hasobject:
        return bool(one == other)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _holders(env: Any) -> dict[str, Any]:
    """Who may hold generators, by how their names begin: the environment and its spaces, where they are one for all agents."""
    return {
        "": env,
        "action_space.": getattr(env, "action_space", None),
        "observation_space.": getattr(env, "observation_space", None),
    }


def _generators(env: Any) -> Iterator[tuple[str, Any]]:
    """The random generators that an environment and its spaces hold, by name."""
    for prefix, holder in _holders(env).items():
        for name, value in sorted(getattr(holder, "__dict__", {}).items()):
            if isinstance(value, (np.random.Generator, np.random.RandomState)) or hasattr(type(value), "getstate"):
                yield prefix + name, value


def _put_generators(env: Any, states: Mapping[str, Any]) -> None:
    """Put generators' states back. One that the environment has not made yet, since it was never reset, is made."""
    there = dict(_generators(env))
    for full, state in states.items():
        if full in there:
            _put(there[full], state)
            continue
        prefix, _, name = full.rpartition(".")
        holder = _holders(env).get(f"{prefix}." if prefix else "")
        kind = state.get("bit_generator") if isinstance(state, dict) else None
        if kind in _BITS and "has_gauss" not in state and getattr(holder, name, _BITS) is None:
            generator = np.random.Generator(_BITS[kind]())
            _put(generator, state)
            setattr(holder, name, generator)


_BITS: dict[Any, Any] = {
    made.__name__: made
    for made in (np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64)
}


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.getstate()


def _put(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)  # Python's own


def _name(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return str(spec.id) if spec is not None else type(getattr(env, "unwrapped", env)).__name__
