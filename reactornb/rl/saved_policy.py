"""`load_policy`: a policy from a file, used without the run, the program or the library that it was trained with.

    policy = load_policy("p.safetensors")
    action = policy(observation)                        # the best that it knows, as `env.step` takes it
    action = policy.sample(observation, rng)            # chosen as in training

Loading executes nothing that is in the file. Perceptrons and tables need NumPy alone, networks on frames torch.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from reactornb.rl.action_mask import NAME
from reactornb.rl.bounded import NoisyPolicy, SquashedGaussianPolicy
from reactornb.rl.choices import MultiCategoricalPolicy
from reactornb.rl.errors import DamagedPolicyError, ObservationError
from reactornb.rl.policy_blueprint import Blueprint
from reactornb.rl.policy_file import ContainerError, unpack
from reactornb.rl.policy_reading import read_blueprint

__all__ = ["RecurrentPolicy", "SavedPolicy", "load_policy", "policy_from", "policy_from_blueprint"]


def load_policy(path: str | Path, *, network: Any = None) -> SavedPolicy:
    """Read a policy that `save_policy` wrote.

    Args:
        path: the file; it may come from a stranger: nothing in it is executed, and nothing outside of it is read.
        network: of a program with a network of its own, the function that it had as `network=`: a file holds the weights alone.

    Raises:
        ConfigError: if there is such a network and no function, or the other way round.
        DamagedPolicyError: if it is no policy, or not as it was written.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DamagedPolicyError(str(path), "it is no regular file")
    return policy_from(path.read_bytes(), str(path), network)


def policy_from(content: bytes, name: str = "policy", network: Any = None) -> SavedPolicy:
    """A policy from the bytes of its file; `name` is for messages, `network` as for `load_policy`.

    Raises:
        DamagedPolicyError: see `load_policy`.
    """
    try:
        tensors, text = unpack(content)
        return policy_from_blueprint(read_blueprint(text, tensors, network))
    except ContainerError as error:
        raise DamagedPolicyError(name, str(error)) from error


def policy_from_blueprint(blueprint: Blueprint) -> SavedPolicy:
    """The policy of a blueprint: one with a memory, where its network has one.

    Raises:
        ContainerError: if its weights are those of another network.
    """
    return (RecurrentPolicy if blueprint.remembers else SavedPolicy)(blueprint)


class SavedPolicy:
    """Chooses actions as a trained program did. Never changes, so any number of threads may use one; but see `RecurrentPolicy`.

    An observation is what the environment gives: an array, a number, a dict, as its space says. Several at once, as a vector environment
    gives them, have one more axis in front; so have the actions then.

    Attributes:
        blueprint: what it is made of.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        choice = blueprint.choice
        self._kind: str = choice["kind"]
        self._epsilon: float = choice.get("epsilon", 0.0)
        action = blueprint.action
        self._start = int(action.low[0]) if action.kind == "Discrete" else 0
        self._several = self._kind == "multi_categorical"
        blueprint.warm()

    @property
    def about(self) -> dict[str, Any]:
        """Where it comes from, a copy: "program" (class and hyper-parameters), "run" (seed, tag, fingerprint), "versions", "metrics", "env"."""
        return deepcopy(dict(self.blueprint.about))

    @property
    def observation_space(self) -> Any:
        """The space of its observations, of Gymnasium, which must be installed."""
        return self.blueprint.observation.to_gymnasium()

    @property
    def action_space(self) -> Any:
        """That of its actions, likewise."""
        return self.blueprint.action.to_gymnasium()

    def __call__(self, observation: Any, *, action_mask: Any = None) -> Any:
        """The best action that it knows: of the highest value or probability, or without noise.

        Args:
            observation: one, or several; see the class.
            action_mask: of a policy that was trained with `masked`, which actions are possible, such as `info["action_mask"]`; None: the observation has it, as
                the masked environment gives it.

        Returns:
            What the environment takes: an int, an array of the action's shape and type, or a tuple or dict of such; for several what a vector environment takes,
            such as int64 [N], or float32 [N, …].

        Raises:
            ObservationError: if it is no observation of the policy's space, or its mask lets nothing be done.
            TypeError: for an action mask where the policy heeds none.
        """
        rows, several = self._rows(observation, action_mask)
        if self._several:
            return self._answer(self._actor(0.0).greedy(rows), several)
        return self._answer(self.blueprint.best(self._scores(rows)), several)

    def reset(self, rows: np.ndarray | None = None) -> None:
        """A new episode begins. To be called then of any policy; it does something for one that remembers, see `RecurrentPolicy`."""

    def sample(
        self, observation: Any, rng: np.random.Generator, epsilon: float | None = None, *, action_mask: Any = None
    ) -> Any:
        """An action as in training: drawn from the policy's distribution, or at random with probability epsilon.

        Args:
            observation: one, or several.
            rng: the same state of it gives the same actions.
            epsilon: of a policy that acts at random now and then, how often; None: as at the end of training.
            action_mask: as for a call.

        Returns:
            As for a call.

        Raises:
            ObservationError: likewise.
            TypeError: for an epsilon or an action mask where there is none.
        """
        if epsilon is not None and self._kind != "epsilon_greedy":
            raise TypeError(f"this policy draws its actions otherwise ({self._kind}): it has no epsilon.")
        rows, several = self._rows(observation, action_mask)
        actions, _ = self._actor(self._epsilon if epsilon is None else epsilon).act(rows, rng)
        return self._answer(actions, several)

    def scores(self, observation: Any) -> np.ndarray:
        """What it chooses by: logits (of several choices one after the other), action values (of a duelling perceptron its advantages), or means; float32 [outputs], or
        [N, outputs].
        """
        rows, several = self.blueprint.rows(observation)
        scores = self._scores(rows)
        return scores if several else scores[0]

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """What the choice is made by; float32 [N, outputs], a new array."""
        return self.blueprint.scores(rows)

    def _rows(self, observation: Any, action_mask: Any) -> tuple[np.ndarray, bool]:
        """Observations as the network takes them; the mask among them."""
        if action_mask is not None:
            if self.blueprint.mask is None:
                raise TypeError("this policy was trained without action masks, and heeds none: leave action_mask out.")
            observation = {NAME: np.asarray(action_mask), "observation": observation}
        elif self.blueprint.mask is not None and not isinstance(observation, dict):
            raise ObservationError(
                'this policy heeds action masks: give it one beside the observation, policy(observation, action_mask=info["action_mask"]).',
                env=-1, step=0, shape=np.shape(observation), expected=self.blueprint.observation.encoded_shape,
            )  # fmt: skip
        return self.blueprint.rows(observation)

    def _actor(self, epsilon: float) -> Any:
        """A policy of a rollout's kind, for one call: what such a one remembers belongs to one thread."""
        if self._several:
            return MultiCategoricalPolicy(_Scores(self._scores), self.blueprint.action.choices)
        from reactornb.rl.policies import (  # and with it the runtime
            CategoricalPolicy,
            EpsilonGreedyPolicy,
            GaussianPolicy,
        )

        scores = _Scores(self._scores)
        if self._kind == "squashed_gaussian":
            return SquashedGaussianPolicy(scores, self.blueprint.bounds)
        if self._kind == "noisy":
            return NoisyPolicy(scores, self.blueprint.bounds, noise=self.blueprint.choice["noise"])
        if self._kind == "categorical":
            return CategoricalPolicy(scores)
        if self._kind == "epsilon_greedy":
            return EpsilonGreedyPolicy(scores, self.blueprint.outputs, lambda _: epsilon, self.blueprint.mask)
        gaussian = GaussianPolicy(scores, 0, self.blueprint.action.shape)
        gaussian.load(self.blueprint.tensors["log_std"])
        return gaussian

    def _answer(self, actions: np.ndarray, several: bool) -> Any:
        """Actions as an environment takes them."""
        space = self.blueprint.action
        if space.kind == "Box" and not self._several:
            fitted = space.decode(actions.reshape(-1, *space.shape), True)
            return fitted if several else np.array(fitted[0])
        if self._several:
            return space.decode(actions, True) if several else space.decode(actions[:1], False)[0]
        actions = actions + self._start
        return actions if several else int(actions[0])

    def evaluate(
        self, env: Any, episodes: int = 10, seed: int = 0, *, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Play whole episodes.

        Args:
            env: a Gymnasium id, a function that makes an environment or a vector environment, or one of these (which stays open).
            episodes: how many; a vector environment's environments share them.
            seed: of the first reset; the others go on from it.
            rng: sample the actions with it; None: the best ones.

        Returns:
            The episodes' returns, float64 [episodes].

        Raises:
            SpaceError: if the environment's spaces are not the policy's.
        """
        from reactornb.rl.watching import evaluate

        returns: np.ndarray = evaluate(self, env, episodes, seed, rng)
        return returns

    def watch(self, env: Any, seed: int = 0, *, steps: int = 1000, rng: np.random.Generator | None = None) -> Any:
        """Play one episode and keep what it looked like; a notebook shows it as a player. `reactornb.rl.watch` plays several.

        Args:
            env: a Gymnasium id or a function that makes an environment (called with `render_mode="rgb_array"` where it takes that), or an
                environment made with that mode; of a vector environment the first one is seen.
            seed: of the reset.
            steps: after so many it is over in any case.
            rng: see `evaluate`.

        Returns:
            A `Watched`: `frames`, `actions`, `rewards`, `save("episode.mp4")`.

        Raises:
            SpaceError: likewise.
            ValueError: if the environment draws nothing, and nothing here draws it.
        """
        from reactornb.rl.watching import play

        return play(self, env, seed, steps, rng)

    def to_onnx(self, path: str | Path, *, check: int = 1000) -> Path:
        """Write it as ONNX; see `onnx_export.to_onnx`.

        Args:
            path: the file.
            check: on so many random observations the file's actions are held against this policy's; 0: not at all.

        Raises:
            MissingPackageError: without the package `onnx`.
            OnnxMismatchError: if an action differs.
        """
        from reactornb.rl.onnx_export import to_onnx

        return to_onnx(self, path, check=check)

    def __copy__(self) -> SavedPolicy:
        return self

    def __deepcopy__(self, memo: Any) -> SavedPolicy:
        return self

    def __repr__(self) -> str:
        network = self.blueprint.network
        shape = " → ".join(map(str, network["sizes"])) if network["kind"] == "mlp" else network["kind"]
        program, env = (self.blueprint.about.get(name) for name in ("program", "env"))
        words = f" of {program.get('class', '')!s:.60}" if isinstance(program, dict) else ""
        words += f" for {env!s:.80}" if env else ""
        return f"<policy{words}: {self.blueprint.observation} → {self.blueprint.action}, {shape}, {self._kind}>"


class RecurrentPolicy(SavedPolicy):
    """A policy that remembers the episode: each call is the next step of it.

        policy.reset()
        observation, info = env.reset(seed=1)
        while True:
            observation, reward, terminated, truncated, info = env.step(policy(observation))
            …

    With several observations in a call, each row is an episode of its own. For one thread at a time; `copy.copy(policy)` gives one with a memory of its own.

    # _forward   the network and its memory: read and written by whoever calls the policy. Two threads would mix two episodes in it, hence a copy each.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self._forward = blueprint.remembering()
        self._rows_of_episode = 0  # how many rows the last call had; 0: none since the reset

    def reset(self, rows: np.ndarray | None = None) -> None:
        """New episodes begin.

        Args:
            rows: bool [N], in which of several rows; None: in all, and the next call may have any number of them.
        """
        self._forward.forget(rows)
        if rows is None:
            self._rows_of_episode = 0

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        if self._rows_of_episode not in (0, len(rows)):
            raise ObservationError(
                f"this policy remembers {self._rows_of_episode} episodes, and is asked about {len(rows)}: call policy.reset() where new ones begin.",
                env=-1, step=0, shape=rows.shape[1:], expected=rows.shape[1:],
            )  # fmt: skip
        self.blueprint.check_possible(rows)
        self._rows_of_episode = len(rows)
        scores: np.ndarray = self._forward(rows)
        return scores

    def __copy__(self) -> RecurrentPolicy:
        return RecurrentPolicy(self.blueprint)

    def __deepcopy__(self, memo: Any) -> RecurrentPolicy:
        return RecurrentPolicy(self.blueprint)


class _Scores:
    """What a policy chooses by, as the policies of rollouts call their networks."""

    def __init__(self, scores: Callable[[np.ndarray], np.ndarray]) -> None:
        self._scores = scores

    def load(self, weights: np.ndarray) -> None:
        """It has them."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self._scores(rows)
