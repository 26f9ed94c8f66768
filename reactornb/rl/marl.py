"""Multi-agent inference: every agent sees what all of them see and chooses its action, in parallel; the paper's experiment 6.

    world ──joint observation, one microstep later──▶ agents[n] ──actions──▶ world

    Program(MultiAgent(env=lambda: TrafficJunction(cars=4), total_timesteps=1000)).run(seed=1)

Any PettingZoo parallel environment with discrete actions will do.

Source: Kwok, Lohstroh, Lee 2023, arXiv:2312.04704, section 5, whose agents have one hidden layer of 64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from reactornb.model import Bank, Input, Output, Reactor, connect, per_member, reaction, shutdown, startup
from reactornb.rl.checks import name_of
from reactornb.rl.config import check_parameters, whole
from reactornb.rl.errors import ObservationError, SpaceError
from reactornb.rl.names import RENAMED
from reactornb.rl.parallel_envs import (
    RecordedParallel,
    broken,
    check_agents,
    finite_reward,
    make_parallel,
    unpacked_reset,
    unpacked_step,
)
from reactornb.rl.policies import Mlp, own_draws
from reactornb.rl.recorded import can_be_read
from reactornb.rl.shared import claim, is_kept

__all__ = ["Agent", "Choose", "MakeChoose", "MultiAgent", "World", "mlp_choice"]

Choose = Callable[[np.ndarray], int]
"""From a joint observation, float32 [inputs], to an action, counted from 0."""

MakeChoose = Callable[[int, int, np.random.Generator], Choose]
"""From the number of inputs, the number of actions and a generator for the first weights."""


class MlpChoice:
    """The action that a perceptron gives the highest value; what `mlp_choice` makes.

    An object and no closure, whose perceptron a checkpoint would not find.
    """

    def __init__(self, net: Mlp) -> None:
        self.net = net

    def __call__(self, joint: np.ndarray) -> int:
        """See `Choose`."""
        return int(self.net(joint[None]).argmax())


def mlp_choice(
    inputs: int, actions: int, rng: np.random.Generator, *, hidden: int = 64, weights: np.ndarray | None = None
) -> Choose:
    """The most probable action of inputs → hidden → softmax over actions, in NumPy.

    A softmax keeps the order of its inputs, so it is left out.

    Args:
        inputs: size of the joint observation.
        actions: how many.
        rng: draws the weights, uniform within 1/sqrt(inputs of the layer), unless they are given.
        hidden: width of the hidden layer.
        weights: float32 [P]: matrix [hidden, inputs] and bias, matrix [actions, hidden] and bias, as torch has them.
    """
    net = Mlp((inputs, hidden, actions), "relu")
    if weights is None:
        first, second = inputs**-0.5, hidden**-0.5
        parts = [
            rng.uniform(-first, first, hidden * (inputs + 1)),
            rng.uniform(-second, second, actions * (hidden + 1)),
        ]
        weights = np.concatenate(parts).astype(np.float32)
    net.load(weights)
    return MlpChoice(net)


class World(Reactor):
    """The environment: sends the joint observation out, takes a step when the actions are there.

    The joint observation holds every possible agent's, in PettingZoo's order, flattened; zeros of one that is not there: not yet in
    the environment's `agents`, or no more, or terminated or truncated. Only those that are there act, and only possible agents' rewards
    count. An episode is over, and the next one begins at once, when nobody is there any more, whether the environment empties its
    `agents` or only says that all have ended (in a key `__all__` too). Logs `episode_return`, the sum over agents, of every episode.

    Parameters:
        env: makes the environment.
        n: how many agents there can be.
        total_timesteps: steps after which the run ends.
    """

    actions = Input[int](width="n")
    joint = Output[np.ndarray](doc="float32 [inputs]")

    _renamed = RENAMED
    transient = ("boxes", "called", "names", "sizes", "spaces", "start")

    env: Callable[[], ParallelEnv[Any, Any, Any]]
    n: int
    total_timesteps: int = 1000

    @reaction(startup)
    def on_startup(self, joint: Any) -> None:
        """Begin the first episode."""
        check_parameters(self.full_name, total_timesteps=(self.total_timesteps, whole(1)))
        self.parallel_env = self.env()
        claim([self.parallel_env], self.full_name, name_of(self.env))
        self.names = list(self.parallel_env.possible_agents)
        self.spaces = [self.parallel_env.observation_space(name) for name in self.names]
        self.start = [int(self.parallel_env.action_space(name).start) for name in self.names]
        self.sizes = [_size(space) for space in self.spaces]
        self.boxes = all(isinstance(space, spaces.Box) for space in self.spaces)
        self.called = name_of(self.env)
        self.taken = 0
        self.present: list[Any] = []
        seed = int(self.rng.integers(2**31))
        joint.set(self.begin(seed))
        if is_kept() and not can_be_read(self.parallel_env):
            self.parallel_env = RecordedParallel(self.parallel_env)
            self.parallel_env.begun(seed)

    @reaction(actions)
    def on_actions(self, actions: Any, joint: Any) -> None:
        """One step."""
        present = self.present
        chosen = {
            name: channel.value + start
            for name, channel, start in zip(self.names, actions, self.start, strict=True)
            if name in present
        }
        told = seen, rewards, terminations, truncations = unpacked_step(self.called, self.parallel_env.step(chosen))
        words = ("observations", "rewards", "terminations", "truncations")
        for word, said in zip(words, told, strict=True):
            check_agents(self.called, self.names, word, said)
        for name in self.names:  # in PettingZoo's order: a sum of floats depends on it
            if name in rewards and name not in self.ended:
                self.total += finite_reward(self.called, name, rewards[name], self.taken)
        self.taken += 1
        self.ended.update(name for said in (terminations, truncations) for name, over in said.items() if over)
        self.present = [name for name in self.parallel_env.agents if name not in self.ended]
        if "__all__" in self.ended or not self.present:
            self.log(episode_return=self.total)
            together = self.begin(None)
        else:
            together = self.together(seen)
        if self.taken < self.total_timesteps:
            joint.set(together)
        else:
            self.request_stop()

    def begin(self, seed: int | None) -> np.ndarray:
        """Begin an episode.

        Returns:
            Its first joint observation.
        """
        returned: Any = self.parallel_env.reset(seed=seed) if seed is not None else self.parallel_env.reset()
        seen = unpacked_reset(self.called, returned)
        check_agents(self.called, self.names, "observations", seen, "reset")
        self.total = 0.0
        self.ended: set[Any] = set()
        self.present = list(self.parallel_env.agents)
        if not self.present:
            raise broken(
                self.called, "reset", "after reset its `agents` is empty: nobody can act. Set self.agents in reset."
            )
        return self.together(seen)

    @reaction(shutdown)
    def on_shutdown(self) -> None:
        """Close the environment."""
        parallel_env = self.__dict__.get("parallel_env")
        if parallel_env is not None:
            parallel_env.close()

    def together(self, seen: dict[Any, Any]) -> np.ndarray:
        """All observations as one new array, float32 [inputs].

        Raises:
            ObservationError: if one has another size than its space says.
            ContractError: if one holds a number that is not finite.
        """
        parts = []
        for i, (name, space, size) in enumerate(zip(self.names, self.spaces, self.sizes, strict=True)):
            if name not in seen or name in self.ended:
                parts.append(np.zeros(size, np.float32))
                continue
            observation: Any = seen[name] if self.boxes else spaces.flatten(space, seen[name])
            part = np.ravel(observation)
            if len(part) != size:
                raise ObservationError(
                    f"{self.called}: {name} observed {len(part)} numbers after {self.taken} steps; its space says {size}. Mend the environment, or "
                    f"its observation_space.",
                    env=i,
                    step=self.taken,
                    shape=np.shape(seen[name]),
                    expected=space.shape or (size,),
                )
            parts.append(part)
        joint = np.concatenate(parts, dtype=np.float32, casting="same_kind")
        if not np.isfinite(joint).all():
            at = int(np.flatnonzero(~np.isfinite(joint))[0])
            name = self.names[int(np.searchsorted(np.cumsum(self.sizes), at, side="right"))]
            raise broken(self.called, "step", f"the observation of {name} holds {joint[at]} after {self.taken} steps.")
        return joint


class Agent(Reactor):
    """Chooses its action from the joint observation.

    Parameters:
        inputs: size of the joint observation.
        choices: number of actions.
        policy: makes what chooses, at startup, with this reactor's own generator; `mlp_choice` unless given.
    """

    joint = Input[np.ndarray]()
    action = Output[int]()

    inputs: int
    choices: int
    policy: MakeChoose = mlp_choice

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the policy."""
        with own_draws(self.seed):
            self.choose = self.policy(self.inputs, self.choices, self.rng)

    @reaction(joint)
    def on_joint(self, joint: Any, action: Any) -> None:
        """Choose."""
        action.set(self.choose(joint.value))


class MultiAgent(Reactor):
    """The program; see the module.

    Parameters:
        env: makes a PettingZoo parallel environment.
        total_timesteps: steps after which the run ends.
        policies: one for each possible agent; `mlp_choice` for all of them unless given.

    Raises:
        UnknownEnvironmentError: at assembly, if what is made is no parallel environment.
        SpaceError: likewise, if an action space is not discrete or an observation cannot be made one array.
    """

    needs_physical_time = False
    _renamed = RENAMED

    env: Callable[[], ParallelEnv[Any, Any, Any]]
    total_timesteps: int = 1000
    policies: Sequence[MakeChoose] | None = None

    def compose(self) -> None:
        """Broadcast, gather."""
        example = make_parallel(self.env)
        try:
            names = list(example.possible_agents)
            inputs = sum(_size(example.observation_space(name)) for name in names)
            choices = [_choices(name, example.action_space(name)) for name in names]
        finally:
            example.close()
        policies = self.policies or [mlp_choice] * len(names)
        if len(policies) != len(names):
            raise ValueError(
                f"{len(policies)} policies were given for {len(names)} agents: {', '.join(map(str, names))}."
            )
        self.world = World(env=self.env, n=len(names), total_timesteps=self.total_timesteps)
        self.agents = Bank(
            Agent,
            len(names),
            inputs=inputs,
            choices=per_member(lambda i: choices[i]),
            policy=per_member(lambda i: policies[i]),
        )
        connect(self.world.joint, self.agents.joint, after=0, broadcast=True)
        connect(self.agents.action, self.world.actions)


def _size(space: spaces.Space[Any]) -> int:
    if not space.is_np_flattenable:
        raise SpaceError(
            f"an agent's observations are {space}, which cannot be made one array. Wrap the environment.", space=space
        )
    return int(spaces.flatdim(space))


def _choices(name: Any, space: spaces.Space[Any]) -> int:
    if not isinstance(space, spaces.Discrete):
        raise SpaceError(f"the actions of {name} are {space}; agents here choose among Discrete ones.", space=space)
    return int(space.n)
