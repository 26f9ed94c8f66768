"""What a saved policy is made of: its network, its spaces, how it chooses. One description, from which it is computed, written and exported.

A `Blueprint` gives a JSON text and named arrays; `policy_reading` makes one of these, and refuses what does not fit together. Perceptrons and tables
are computed here, with NumPy; networks on frames, alone or among other parts, are torch's, which is imported for them alone. Nothing here knows of
runs or files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from reactornb.rl.action_mask import ActionMask
from reactornb.rl.bounded import Bounds
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ObservationError
from reactornb.rl.policy_spaces import Space
from reactornb.rl.statistics import normal

__all__ = ["BESIDE", "NO_ACTOR", "SQUASHED", "Blueprint"]

SQUASHED = ("squashed_gaussian", "noisy")
NO_ACTOR = ("critic.", "log_std", "critics.", "coefficient.", "state_value.", "deviations.")
"""How the names of parameters begin which no action depends on, or which a file has elsewhere."""
BESIDE = ("offset", "span", "mean", "var", "log_std")
"""The names of arrays that are no layer's."""


@dataclass(frozen=True)
class Blueprint:
    """A policy as data.

    Attributes:
        observation: the space of what it is shown.
        action: that of what it answers: a Discrete, a Box, or one of several choices, such as a MultiDiscrete.
        network: {"kind": "mlp", "sizes", "activation"}, {"kind": "table", "states"}, {"kind": "frames", "head"}: the convolutions of Mnih et al. 2015
            with a policy's or action values' outputs; {"kind": "parts", "head", "hidden"}: these for each part that is frames, and a perceptron on
            what they find and on all other numbers; {"kind": "own", "head", "made_by"}: a module of the user's own with those outputs, or with one layer for
            actions within bounds ("bounded"), which `make` makes; or {"kind": "recurrent", "size", "hidden"}: an LSTM of that size and a perceptron on what it gives,
            with what comes before it as in the other kinds. With a "clip" what it sees is cut to [-clip, clip]; see `offset`. With a "mask" observations say
            which actions are possible, from that of their numbers on; the network does not see it.
        choice: {"kind": "categorical"}, {"kind": "multi_categorical"}, {"kind": "gaussian"} or {"kind": "epsilon_greedy", "epsilon"}; where a tanh
            keeps actions within their Box's bounds, {"kind": "squashed_gaussian"} (the network gives means and deviations) or {"kind": "noisy", "noise"}, a
            deviation for all numbers of an action, or a list with one for each.
        tensors: the weights, torch's way round (a layer's matrix is [out, in]), and
            offset, span: a network sees (x - offset) / span; where integers have bounds, or, with a "clip", where training normalised observations;
            mean, var: of observations, where the environment was in Gymnasium's NormalizeObservation; they come before all else;
            log_std: of a Gaussian choice; strides: of a table, what makes an observation a row's number.
        epsilon: NormalizeObservation's, beside `var`.
        about: where it comes from; see `save_policy`.
        make: the function that the program had as `network=`; it is not in the file.
    """

    observation: Space
    action: Space
    network: Mapping[str, Any]
    choice: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]
    epsilon: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)
    make: Any = field(default=None, compare=False, repr=False)

    # -- as text -----------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All but the arrays, as JSON."""
        described = {
            "version": 1 + self._is_new,
            "observation": self.observation.to_json(),
            "action": self.action.to_json(),
            "network": dict(self.network),
            "choice": dict(self.choice),
            "epsilon": self.epsilon,
            "about": dict(self.about),
        }
        return json.dumps(described, separators=(",", ":"), allow_nan=False)

    @property
    def _is_new(self) -> bool:
        """Whether readers of version 1 would misunderstand it."""
        choices = ("multi_categorical", *SQUASHED)
        return (
            not self.network.keys().isdisjoint(("clip", "mask"))
            or self.network["kind"] in ("parts", "recurrent")
            or self.choice["kind"] in choices
        )

    # -- sizes -------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> int:
        """Numbers in an encoded observation."""
        return math.prod(self.observation.encoded_shape)

    @property
    def outputs(self) -> int:
        """How many scores: one for each action, of several choices for each that they have; or the numbers of an action, and as many deviations."""
        if self.choice["kind"] == "multi_categorical":
            return sum(self.action.choices)
        return self.action.size * (2 if self.choice["kind"] == "squashed_gaussian" else 1)

    @property
    def spec(self) -> EnvSpec:
        """What networks know of an environment."""
        normalised = "clip" in self.network
        scaling = (
            (self.tensors["offset"], self.tensors["span"]) if "offset" in self.tensors and not normalised else None
        )
        action, several = self.action, self.choice["kind"] == "multi_categorical"
        box = action.kind == "Box"
        low, high = (action.bound(w).astype(np.float32) for w in ("low", "high")) if box else (None, None)
        discrete = action.kind == "Discrete"
        dtype = np.dtype(np.float32) if normalised or "mean" in self.tensors else self.observation.encoded_dtype
        return EnvSpec(
            str(self.about.get("env", "")), self.observation.encoded_shape, dtype, self.outputs if discrete else None,
            (len(action.choices),) if several else action.shape, low, high, None, int(action.low[0]) if discrete else 0, scaling,
            action.choices if several else (), action.decode if several or (box and action.dtype != "float32") else None,
            self.observation.frames, mask=self.mask,
        )  # fmt: skip

    @cached_property
    def mask(self) -> ActionMask | None:
        """Where observations say which actions are possible; None: all are."""
        if "mask" not in self.network:
            return None
        return ActionMask(
            self.network["mask"], self.action.choices if self.choice["kind"] == "multi_categorical" else (self.outputs,)
        )

    @property
    def seen(self) -> int:
        """How many numbers of an encoded observation the network sees."""
        return self.inputs - (self.outputs if "mask" in self.network else 0)

    # -- what it computes --------------------------------------------------------------------------------------------

    def rows(self, observation: Any) -> tuple[np.ndarray, bool]:
        """Observations as the network takes them, [N, *encoded_shape], and whether they are several.

        Raises:
            ObservationError: if they are none, or hold a number that is not finite.
        """
        rows, several = self.observation.encode(observation, plain="mean" in self.tensors)
        rows = self.rows_of(rows)
        if rows.dtype.kind == "f" and not np.isfinite(rows).all():
            raise ObservationError(
                "an observation holds a NaN or an infinite number: no action follows from it.",
                env=-1, step=0, shape=rows.shape[1:], expected=rows.shape[1:],
            )  # fmt: skip
        return rows, several

    def rows_of(self, encoded: np.ndarray) -> np.ndarray:
        """Encoded observations as the network takes them: normalised, where training or the environment did that."""
        if "clip" in self.network:
            offset, span = (self.tensors[name].reshape(self.observation.encoded_shape) for name in ("offset", "span"))
            return normal(encoded, offset, span, np.float32(self.network["clip"]))
        if "mean" not in self.tensors:
            return encoded
        # As the wrapper computes it, type by type.
        by_wrapper = (encoded - self.tensors["mean"]) / np.sqrt(self.tensors["var"] + self.epsilon)
        rows: np.ndarray = by_wrapper.astype(np.float32)
        return rows

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """What the choice is made by: logits, action values, or a Gaussian's means; float32 [N, outputs], a new array. Any thread."""
        kind = self.network["kind"]
        self.check_possible(rows)
        if kind == "recurrent":  # as at the beginning of an episode
            first: np.ndarray = self.remembering()(rows)
            return first
        if kind == "table":
            return self._looked_up(rows)
        scores: np.ndarray = self._module(rows) if kind in ("frames", "parts", "own") else self._perceptron(rows)
        return scores

    def check_possible(self, rows: np.ndarray) -> None:
        """Refuse masks that let nothing be done.

        Raises:
            ObservationError: if there is such a row.
        """
        if self.mask is not None and self.mask.empty(rows).any():
            raise ObservationError(
                "the action mask of an observation lets no action be taken.", env=-1, step=0, shape=rows.shape[1:], expected=rows.shape[1:],
            )  # fmt: skip

    @property
    def remembers(self) -> bool:
        """Whether what it answers depends on what it was shown before."""
        return bool(self.network["kind"] == "recurrent")

    def best(self, scores: np.ndarray) -> np.ndarray:
        """The best actions: their numbers, int64 [N], or float32 [N, *shape]; bounds of a Box and the first action's number are not looked at."""
        kind = self.choice["kind"]
        if kind in SQUASHED:
            return self.bounds.to_box(np.tanh(scores[:, : self.bounds.size]))
        return scores.reshape(-1, *self.action.shape) if kind == "gaussian" else scores.argmax(axis=1)

    @cached_property
    def bounds(self) -> Bounds:
        """Of actions that a tanh keeps within them."""
        low, high = (self.action.bound(which).astype(np.float32) for which in ("low", "high"))
        return Bounds(low, high)

    def warm(self) -> None:
        """Make what is made once, before several threads ask for it."""
        if self.network["kind"] in ("frames", "parts", "own", "recurrent"):
            self._module  # noqa: B018 - made by being looked at

    def _perceptron(self, x: np.ndarray) -> np.ndarray:
        """As `policies.Mlp`, operation by operation, but in arrays of this call alone."""
        x = x.reshape(len(x), -1)
        if "offset" in self.tensors and "clip" not in self.network:
            x = x - self.tensors["offset"]
            x /= self.tensors["span"]
        elif x.dtype != np.float32:
            x = x.astype(np.float32)
        shown = x
        if self.mask is not None:
            x = self.mask.rest(shown)
        relu = self.network["activation"] == "relu"
        *hidden, (matrix, bias) = self._layers
        for w, b in hidden:
            x = np.dot(x, w)
            x += b
            x = np.maximum(x, 0.0, out=x) if relu else np.tanh(x, out=x)
        x = np.dot(x, matrix)
        x += bias
        if self.mask is not None:
            self.mask.forbid(x, shown)
        return x

    def _looked_up(self, rows: np.ndarray) -> np.ndarray:
        table = self.tensors["table"]
        states = (rows.reshape(len(rows), -1) @ self.tensors["strides"]).astype(np.intp)
        if not ((states >= 0) & (states < len(table))).all():
            raise ObservationError(
                f"an observation is none of the table's {len(table)} states.",
                env=-1, step=0, shape=rows.shape[1:], expected=rows.shape[1:],
            )  # fmt: skip
        scores: np.ndarray = table[states]
        return scores

    @cached_property
    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(matrix [in, out], bias [out]) of each layer. Perhaps made by two threads at once, both the same."""
        count = len(self.network["sizes"]) - 1
        return [
            (np.ascontiguousarray(self.tensors[f"layers.{i}.weight"].T), self.tensors[f"layers.{i}.bias"])
            for i in range(count)
        ]

    @cached_property
    def _module(self) -> Any:
        """A network of torch's, as a function of rows; of one that remembers, the module itself. Only read once it is made.

        Raises:
            ContainerError: if it is one of the user's own, and the weights are those of another one.
        """
        from reactornb.rl.policies import TorchForward
        from reactornb.rl.policy_modules import loaded_module

        own = {name: tensor for name, tensor in self.tensors.items() if name not in BESIDE}
        make = partial(loaded_module, self, own, NO_ACTOR)
        if self.remembers:
            return make()
        return TorchForward(make, {"actor": "logits", "bounded": "act"}.get(self.network["head"], "forward"))

    def remembering(self) -> Any:
        """Its network with a memory of its own, a `RecurrentForward`; all of them share the weights, which nobody changes."""
        from reactornb.rl.recurrent_networks import RecurrentForward

        return RecurrentForward(lambda: self._module)
