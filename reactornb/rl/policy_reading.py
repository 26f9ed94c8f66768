"""Descriptions of saved policies read and checked: a file may come from anywhere, so nothing is computed with a `Blueprint` whose parts do not fit together.

What is checked: spaces against the choice, the network's sizes against the spaces, and every array's name, shape and numbers against the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from reactornb.rl.env_spec import frames_in
from reactornb.rl.errors import ConfigError, SpaceError
from reactornb.rl.policy_blueprint import BESIDE, SQUASHED, Blueprint
from reactornb.rl.policy_file import ContainerError, json_value, whole_numbers
from reactornb.rl.policy_spaces import space_from_json

__all__ = ["check_blueprint", "read_blueprint"]

VERSIONS = (1, 2)
"""Of descriptions: 2 may have a `clip`, several choices, a tanh around actions, and networks on observations of several parts. What needs none of these is written as 1."""

CHOICES = ("categorical", "multi_categorical", "gaussian", "squashed_gaussian", "noisy", "epsilon_greedy")
MOST_CHOICES = 2**16
"""At once."""


def read_blueprint(text: str, tensors: Mapping[str, np.ndarray], make: Any = None) -> Blueprint:
    """Make a `Blueprint` of its `text` and arrays; and of the function that makes its network, where that is one of the user's own.

    Raises:
        ContainerError: if they do not describe a policy, down to the last array.
        ConfigError: if there is a function too many, or too few.
    """
    described = json_value(text, "its description")
    names = {"version", "observation", "action", "network", "choice", "epsilon", "about"}
    if not isinstance(described, dict) or set(described) != names:
        raise ContainerError("its description lacks a part")
    if type(described["version"]) is not int or described["version"] not in VERSIONS:
        raise ContainerError(
            f"it is of version {described['version']!r:.20}, and this reactornb reads versions up to {VERSIONS[-1]}"
        )
    network, choice, epsilon, about = (described[name] for name in ("network", "choice", "epsilon", "about"))
    if not all(isinstance(part, dict) for part in (network, choice, about)):
        raise ContainerError("its description lacks a part")
    if not _is_number(epsilon, 0.0):
        raise ContainerError("its epsilon is no number")
    observation, action = (space_from_json(described[name]) for name in ("observation", "action"))
    blueprint = Blueprint(observation, action, network, choice, dict(tensors), float(epsilon), about, make)
    check_blueprint(blueprint)
    if ("made_by" in network) != (make is not None):
        said = (
            f"its network is one of the user's own ({network.get('made_by')!s:.80}), and a file holds its weights alone: load_policy(path, network=…), with the "
            f"function that the program had as network="
            if make is None
            else "its network is described in the file: leave network= out"
        )
        raise ConfigError(f"{said}.", fields=("network",))
    return blueprint


def check_blueprint(blueprint: Blueprint) -> None:
    """Hold the parts of a policy against each other.

    Raises:
        ContainerError: if they do not fit.
    """
    _check_action(blueprint)
    _check_mask(blueprint)
    kind = blueprint.network.get("kind")
    if kind == "mlp":
        shapes = _check_mlp(blueprint)
    elif kind == "table":
        shapes = _check_table(blueprint)
    elif kind == "frames":
        shapes = _check_frames(blueprint)
    elif kind == "own":
        shapes = _check_own(blueprint)
    elif kind == "parts":
        shapes = _check_parts(blueprint)
    elif kind == "recurrent":
        shapes = _check_recurrent(blueprint)
    else:
        raise ContainerError(f"its network is of the kind {kind!r:.40}")
    if blueprint.choice["kind"] == "gaussian":
        shapes["log_std"] = (blueprint.outputs,)
    if "offset" in blueprint.tensors:
        own = blueprint.tensors["offset"].shape
        shapes["offset"] = shapes["span"] = own
        if own not in ((), (blueprint.inputs,)):
            raise ContainerError(f"its offset is of shape {list(own)}")
    if "clip" in blueprint.network:
        _check_clip(blueprint, str(kind))
    doubles = set()
    if "mean" in blueprint.tensors:
        shapes["mean"] = shapes["var"] = blueprint.observation.encoded_shape
        doubles = {"mean", "var"}
        if blueprint.observation.kind != "Box" or not (
            (np.asarray(blueprint.tensors.get("var", -1.0)) >= 0).all() and blueprint.epsilon > 0
        ):
            raise ContainerError("its statistics are not of its observations")
    found = {name: tensor.shape for name, tensor in blueprint.tensors.items()}
    if found != shapes:
        wrong = sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
        raise ContainerError(f"its arrays are not those of its network: {', '.join(wrong)[:120]}")
    if any(t.dtype != np.float32 for name, t in blueprint.tensors.items() if name not in doubles):
        raise ContainerError("its weights are not float32")
    if not all(np.isfinite(t).all() for t in blueprint.tensors.values()):
        raise ContainerError("its weights are not finite numbers")


def _check_action(blueprint: Blueprint) -> None:
    kind, action = blueprint.choice.get("kind"), blueprint.action
    if kind == "multi_categorical":  # counted first: a file may claim millions
        fits = action.kind != "Discrete" and action.numbers_of_one <= MOST_CHOICES and bool(action.choices)
    else:
        fits = action.kind == ("Box" if kind == "gaussian" or kind in SQUASHED else "Discrete")
    if kind not in CHOICES or not fits:
        raise ContainerError(f"it chooses by {kind!r:.40} from {action!s:.80}")
    most = np.finfo(np.float32).max  # beyond it no float32 is finite
    if kind in SQUASHED and not all(
        (np.abs(action.bound(w).astype(np.float64)) <= most).all() for w in ("low", "high")
    ):
        raise ContainerError(f"it chooses by {kind!r:.40} from {action!s:.80}, which has no bounds")
    if kind == "noisy":
        noise = blueprint.choice.get("noise")
        each = noise if isinstance(noise, list) and len(noise) == action.size else [noise]
        if not all(_is_number(one, 0.0) for one in each):
            raise ContainerError("its noise has no deviation")
    if kind == "epsilon_greedy" and not _is_number(blueprint.choice.get("epsilon"), 0.0, 1.0):
        raise ContainerError("its epsilon is no probability")


def _check_mask(blueprint: Blueprint) -> None:
    begin = blueprint.network.get("mask")
    if begin is None:
        return
    if blueprint.choice["kind"] not in ("categorical", "multi_categorical", "epsilon_greedy"):
        raise ContainerError("its actions are none that a mask could forbid")
    if not whole_numbers([begin]) or len(blueprint.observation.encoded_shape) != 1 or "mean" in blueprint.tensors:
        raise ContainerError("its mask has no place")
    if (
        begin + blueprint.outputs > blueprint.inputs
        or blueprint.inputs == blueprint.outputs
        or blueprint.network["kind"] in ("table", "frames")
    ):
        raise ContainerError("its mask has no place in its observations")


def _check_mlp(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    sizes = blueprint.network.get("sizes")
    if not whole_numbers(sizes, 1, 1000) or blueprint.network.get("activation") not in ("relu", "tanh"):
        raise ContainerError("its perceptron has no sizes or no activation")
    assert isinstance(sizes, list)
    if len(sizes) < 2 or sizes[0] != blueprint.seen or sizes[-1] != blueprint.outputs:
        raise ContainerError(f"its perceptron of {sizes!s:.80} is for other observations or actions")
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (n, m) in enumerate(pairwise(sizes)):
        shapes[f"layers.{i}.weight"] = (m, n)
        shapes[f"layers.{i}.bias"] = (m,)
    return shapes


def _check_table(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    states = blueprint.network.get("states")
    if (
        not whole_numbers([states], 1)
        or blueprint.choice["kind"] in ("gaussian", *SQUASHED)
        or "offset" in blueprint.tensors
    ):
        raise ContainerError("its table has no size")
    return {"table": (int(states), blueprint.outputs), "strides": (blueprint.inputs,)}  # type: ignore[arg-type]  # it is an int


def _check_frames(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    head = _check_head(blueprint)
    if "mean" in blueprint.tensors:
        raise ContainerError("its statistics are not of its observations")
    from reactornb.rl.layers import check_supported, features_of, frames_of

    spec = blueprint.spec
    frames = frames_of(spec)
    if frames is None or blueprint.tensors.get("offset", np.zeros(1)).shape != ():
        raise ContainerError(f"its network is for frames, and its observations are {blueprint.observation!s:.80}")
    try:
        check_supported(spec)
    except SpaceError as error:
        raise ContainerError(f"its network is too large: {error}") from error
    body = "features" if head == "actor" else "body"
    layers = _convolutions(body, frames[0], features_of(frames))
    layers["actor" if head == "actor" else "advantage"] = (blueprint.outputs, 512)
    if head == "duelling":
        layers["value"] = (1, 512)
    return _with_biases(layers)


def _check_parts(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    head, hidden = _check_head(blueprint), blueprint.network.get("hidden")
    if not whole_numbers(hidden, 1, 1000) or "mean" in blueprint.tensors:
        raise ContainerError("its network has no hidden layers")
    if not blueprint.observation.frames:
        raise ContainerError(f"its network is for frames, and its observations are {blueprint.observation!s:.80}")
    from reactornb.rl.layers import check_supported, features_of

    try:
        check_supported(blueprint.spec)
    except SpaceError as error:
        raise ContainerError(f"its network is too large: {error}") from error
    is_actor = head == "actor"
    layers: dict[str, tuple[int, ...]] = {}
    width = blueprint.seen
    for k, (_, shape) in enumerate(blueprint.observation.frames):
        frames = frames_in(shape)
        assert frames is not None
        layers |= _convolutions(f"{'features' if is_actor else 'body.0'}.parts.{k}", frames[0], features_of(frames))
        width += 512 - math.prod(shape)
    assert isinstance(hidden, list)
    for i, (n, m) in enumerate(pairwise((width, *hidden, *((blueprint.outputs,) if is_actor else ())))):
        layers[f"actor.{1 + 2 * i}" if is_actor else f"body.{2 + 2 * i}"] = (m, n)
    if not is_actor:
        layers["advantage"] = (blueprint.outputs, (width, *hidden)[-1])
    if head == "duelling":
        layers["value"] = (1, (width, *hidden)[-1])
    return _with_biases(layers)


def _check_clip(blueprint: Blueprint, kind: str) -> None:
    shape = (blueprint.inputs,)
    offset, span = (blueprint.tensors.get(name, np.zeros(0)) for name in ("offset", "span"))
    if kind not in ("mlp", "parts", "own", "recurrent") or not _is_number(blueprint.network["clip"], 1e-6, 1e6):
        raise ContainerError("its clip is no number")
    if offset.shape != shape or span.shape != shape or not (span > 0).all() or "mean" in blueprint.tensors:
        raise ContainerError("its statistics are not of its observations")


def _check_head(blueprint: Blueprint) -> str:
    """What a module ends in: `networks.ActorCritic`, `networks.QNetwork`, or the actor of `continuous_networks`, which has a body of the user's own here."""
    choice, kind = blueprint.choice["kind"], blueprint.network["kind"]
    if choice in SQUASHED:
        heads: tuple[str, ...] = ("bounded",) if kind == "own" else ()
    else:
        heads = ("values", "duelling") if choice == "epsilon_greedy" else ("actor",)
    head = blueprint.network.get("head")
    if head not in heads:
        raise ContainerError("its network has no head")
    return str(head)


def _check_own(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    """Its layers are held against the module when that is made."""
    _check_head(blueprint)
    return {name: t.shape for name, t in blueprint.tensors.items() if name not in BESIDE}


def _check_recurrent(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    """What comes before its LSTM is held against the module when that is made; sizes are bounded by those of its arrays."""
    size, hidden = blueprint.network.get("size"), blueprint.network.get("hidden")
    if not whole_numbers([size], 1) or not whole_numbers(hidden, 1, 1000) or "mean" in blueprint.tensors:
        raise ContainerError("its LSTM has no size, or its network no hidden layers")
    if blueprint.choice["kind"] not in ("categorical", "multi_categorical", "gaussian"):
        raise ContainerError("its network has no head")
    assert isinstance(size, int)
    assert isinstance(hidden, list)
    shown = blueprint.tensors.get("lstm.weight_ih", np.zeros(0)).shape[-1:]
    layers = {f"actor.{1 + 2 * i}": (m, n) for i, (n, m) in enumerate(pairwise((size, *hidden, blueprint.outputs)))}
    return {
        "lstm.weight_ih": (1, 4 * size, *shown),
        "lstm.weight_hh": (1, 4 * size, size),
        "lstm.bias": (1, 4 * size),
        **_with_biases(layers),
        **{name: t.shape for name, t in blueprint.tensors.items() if name.startswith("features.")},
    }


def _convolutions(body: str, channels: int, features: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the matrices of `layers.nature_cnn`, by their names in a module."""
    return {
        f"{body}.1": (32, channels, 8, 8),
        f"{body}.3": (64, 32, 4, 4),
        f"{body}.5": (64, 64, 3, 3),
        f"{body}.8": (512, features),
    }


def _with_biases(layers: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays of layers with these matrices."""
    return {
        f"{name}.{part}": shape if part == "weight" else shape[:1]
        for name, shape in layers.items()
        for part in ("weight", "bias")
    }


def _is_number(value: Any, low: float, high: float = math.inf) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and low <= value <= high
