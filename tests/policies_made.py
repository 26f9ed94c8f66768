"""Saved policies of each kind with weights drawn at random, for tests that need no training."""

import copy
import itertools
import json

import numpy as np

from reactornb.rl.errors import DamagedPolicyError, ObservationError
from reactornb.rl.policy_blueprint import Blueprint
from reactornb.rl.policy_file import pack
from reactornb.rl.policy_spaces import Space
from reactornb.rl.saved_policy import policy_from

SEEN = Space("Box", (3,), "float32", (-2.0, -float("inf"), 0.0), (2.0, float("inf"), 1.0))
WHOLE = Space("Box", (2, 2), "int16", (-5,), (10,))
TWO = Space("Discrete", (), "int64", (3,), (2,))
MOVES = Space("Box", (2,), "float32", (-1.0,), (1.0,))
GRIPS = Space("Box", (2, 1), "float64", (-3.0, 0.0), (1.0, 5.0))
TUPLE = Space("Tuple", parts=(Space("Discrete", (), "int64", (0,), (4,)), Space("Discrete", (), "int64", (0,), (3,))))
MIXED = Space(
    "Dict",
    parts=(SEEN, TUPLE, Space("MultiDiscrete", (2,), "int64", (1, 0), (2, 3)), Space("MultiBinary", (3,), "int8")),
    names=("seen", "cards", "counts", "bits"),
)
SEVERAL = Space("MultiDiscrete", (2,), "int64", (1, 0), (2, 3))
STEPS = Space("Box", (2,), "int16", (-1,), (2,))
PICTURES = Space(
    "Dict",
    parts=(
        MOVES,
        Space("Box", (40, 36, 3), "uint8", (0,), (255,)),
        Space("Discrete", (), "int64", (0,), (3,)),
        Space("Box", (1, 36, 36), "uint8", (0,), (255,)),
    ),
    names=("at", "ahead", "which", "behind"),
)
FRAMES = Space("Box", (40, 36, 3), "uint8", (0,), (255,))


def mlp(rng, sizes):
    found = {}
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        found[f"layers.{i}.weight"] = rng.standard_normal((m, n)).astype(np.float32)
        found[f"layers.{i}.bias"] = rng.standard_normal(m).astype(np.float32)
    return {"kind": "mlp", "sizes": list(sizes), "activation": "tanh"}, found


def frames(rng, head, actions=3):
    body = "features" if head == "actor" else "body"
    shapes = {"1": (32, 3, 8, 8), "3": (64, 32, 4, 4), "5": (64, 64, 3, 3), "8": (512, 64)}
    layers = {f"{body}.{name}": shape for name, shape in shapes.items()}
    layers["actor" if head == "actor" else "advantage"] = (actions, 512)
    if head == "duelling":
        layers["value"] = (1, 512)
    found = {"offset": np.zeros((), np.float32), "span": np.full((), 255, np.float32)}
    for name, shape in layers.items():
        deviation = np.prod(shape[1:]) ** -0.5
        found[f"{name}.weight"] = (deviation * rng.standard_normal(shape)).astype(np.float32)
        found[f"{name}.bias"] = (0.1 * rng.standard_normal(shape[0])).astype(np.float32)
    return {"kind": "frames", "head": head}, found


def blueprints(seed=0):
    """By name, without those on frames."""
    rng = np.random.default_rng(seed)
    about = {"env": "Test-v0", "program": {"class": "PPO"}, "metrics": {"loss": {"last": 0.5}}}
    made = {}
    network, tensors = mlp(rng, (3, 8, 8, 2))
    made["categorical"] = Blueprint(SEEN, TWO, network, {"kind": "categorical"}, tensors, about=about)
    network, tensors = mlp(rng, (3, 8, 2))
    statistics = {"mean": rng.standard_normal(3), "var": rng.random(3) + 0.5, "log_std": np.full(2, -1, np.float32)}
    made["gaussian"] = Blueprint(SEEN, MOVES, network, {"kind": "gaussian"}, {**tensors, **statistics}, 1e-8, about)
    network, tensors = mlp(rng, (4, 2))
    tensors["layers.0.bias"] = (
        -tensors["layers.0.weight"].sum(axis=1) / 2
    )  # so that the middle of the space decides nothing
    scaling = {"offset": np.full((), -5, np.float32), "span": np.full((), 15, np.float32)}
    greedy = {"kind": "epsilon_greedy", "epsilon": 0.25}
    made["scaled"] = Blueprint(
        WHOLE, TWO, {**network, "activation": "relu"}, greedy, {**tensors, **scaling}, about=about
    )
    network, tensors = mlp(rng, (MIXED.size, 8, 2))
    made["mixed"] = Blueprint(MIXED, TWO, network, greedy, tensors, about=about)
    table = {"table": rng.standard_normal((12, 2)).astype(np.float32), "strides": np.array([3, 1], np.float32)}
    made["table"] = Blueprint(TUPLE, TWO, {"kind": "table", "states": 12}, greedy, table, about=about)
    network, tensors = mlp(rng, (3, 8, 5))
    made["several"] = Blueprint(SEEN, SEVERAL, network, {"kind": "multi_categorical"}, tensors, about=about)
    network, tensors = mlp(rng, (3, 8, 2))
    normal = {"offset": rng.standard_normal(3), "span": rng.random(3) + 0.1}
    tensors |= {name: a.astype(np.float32) for name, a in normal.items()}
    made["normalised"] = Blueprint(SEEN, TWO, {**network, "clip": 2.0}, {"kind": "categorical"}, tensors, about=about)
    network, tensors = mlp(rng, (3, 8, 2))
    tensors["log_std"] = np.full(2, -1, np.float32)
    made["rounded"] = Blueprint(SEEN, STEPS, network, {"kind": "gaussian"}, tensors, about=about)
    network, tensors = mlp(rng, (3, 8, 4))
    made["squashed"] = Blueprint(
        SEEN, GRIPS, {**network, "activation": "relu"}, {"kind": "squashed_gaussian"}, tensors, about=about
    )
    network, tensors = mlp(rng, (3, 8, 2))
    made["noisy"] = Blueprint(
        SEEN,
        GRIPS,
        {**network, "activation": "relu"},
        {"kind": "noisy", "noise": 0.1},
        {**tensors, **{k: statistics[k] for k in ("mean", "var")}},
        1e-8,
        about,
    )
    return made


def pictured(rng, head, hidden=(8,), actions=2):
    """On two pictures and some numbers: needs torch to be computed."""
    body = "features" if head == "actor" else "body.0"
    layers = {}
    for k, channels in enumerate((3, 1)):
        shapes = {"1": (32, channels, 8, 8), "3": (64, 32, 4, 4), "5": (64, 64, 3, 3), "8": (512, 64)}
        layers |= {f"{body}.parts.{k}.{name}": shape for name, shape in shapes.items()}
    sizes = (2 * 512 + 5, *hidden, *((actions,) if head == "actor" else ()))
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        layers[f"actor.{1 + 2 * i}" if head == "actor" else f"body.{2 + 2 * i}"] = (m, n)
    if head != "actor":
        layers["advantage"] = (actions, sizes[-1])
    if head == "duelling":
        layers["value"] = (1, sizes[-1])
    inputs = PICTURES.size
    found = {"offset": np.zeros(inputs, np.float32), "span": np.ones(inputs, np.float32)}
    for begin, shape in PICTURES.frames:
        found["span"][begin : begin + np.prod(shape)] = 255
    for name, shape in layers.items():
        found[f"{name}.weight"] = (np.prod(shape[1:]) ** -0.5 * rng.standard_normal(shape)).astype(np.float32)
        found[f"{name}.bias"] = (0.1 * rng.standard_normal(shape[0])).astype(np.float32)
    return {"kind": "parts", "head": head, "hidden": list(hidden)}, found


def content(blueprint):
    """Its file's bytes."""
    return pack(blueprint.tensors, blueprint.text)


def policy(blueprint):
    """As loaded from its file."""
    return policy_from(content(blueprint))


# -- damage ------------------------------------------------------------------------------------------------------------

STRANGE = [
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    2**63,
    2**70,
    1e308,
    -0.5,
    "",
    "Box",
    "__import__",
    "inf",
    [],
    [1],
    {},
    {"kind": "Dict"},
    [[1]],
]


def places(tree, found):
    """All (container, key) of a JSON value."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        found.append((tree, key))
        if isinstance(tree[key], (dict, list)):
            places(tree[key], found)
    return found


def meaning_damaged(rng, blueprint):
    """A file whose hash is right and whose content is not: what someone who means harm writes."""
    tree = {
        "text": json.loads(blueprint.text),
        "arrays": {name: list(a.shape) for name, a in blueprint.tensors.items()},
    }
    for _ in range(int(rng.integers(1, 4))):
        found = places(tree, [])
        if not found:  # everything was deleted
            break
        container, key = found[int(rng.integers(len(found)))]
        if isinstance(container, dict) and rng.random() < 0.2:
            del container[key]
        else:
            container[key] = copy.deepcopy(STRANGE[int(rng.integers(len(STRANGE)))])
    arrays = {}
    shapes = tree.get("arrays")
    for name, shape in shapes.items() if isinstance(shapes, dict) else ():
        whole = isinstance(shape, list) and all(type(k) is int and 0 <= k < 100 for k in shape)
        arrays[name] = np.ones(shape if whole else (3,), np.float32 if rng.random() < 0.95 else np.float64)
    return pack(arrays, json.dumps(tree.get("text")))


def bytes_damaged(rng, file):
    data = bytearray(file)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data)))
        if rng.random() < 0.5:
            at = int(rng.integers(min(len(data), 2500)))  # the header, more often than its share
        match int(rng.integers(5)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                del data[at : at + int(rng.integers(1, 9))]
            case 4:
                data[at : at + 8] = rng.bytes(8)
        if not data:
            break
    return bytes(data)


def try_damaged(seed, count):
    """Load so many damaged files: each gives the one error, or a policy that computes. Returns how many did the latter."""
    rng = np.random.default_rng(seed)
    made = blueprints()
    names = list(made)
    whole = {name: content(made[name]) for name in names}
    loaded = 0
    for _ in range(count):
        name = names[int(rng.integers(len(names)))]
        by_hand = rng.random() < 0.5
        file = meaning_damaged(rng, made[name]) if by_hand else bytes_damaged(rng, whole[name])
        try:
            found = policy_from(file)
        except DamagedPolicyError:
            continue
        loaded += 1
        if not by_hand:  # such as a space more between two words: what it means is what was written
            assert found.blueprint.text == made[name].text
            assert all((found.blueprint.tensors[key] == a).all() for key, a in made[name].tensors.items())
        rows = np.zeros((2, *found.blueprint.observation.encoded_shape), found.blueprint.observation.encoded_dtype)
        with np.errstate(all="ignore"):
            try:
                scores = found.blueprint.scores(found.blueprint.rows_of(rows))
            except ObservationError:
                continue
        assert scores.shape == (2, found.blueprint.outputs)
        assert repr(found)
    return loaded
