"""A saved policy as ONNX: one file that other runtimes compute, held against the policy itself.

    input   observation   encoded observations, [N, …]: float32, or uint8 for frames; statistics and scaling are in the graph
    output  action        as the environment takes it: int64 [N]; or of the space's type, [N, …], within its bounds; of a Tuple or a Dict int64 [N, choices]
    output  scores        what it was chosen by: logits, action values, means; float32 [N, outputs]

Needs the package `onnx`, which has wheels for free-threaded Python that leave the GIL off; the check is computed by `onnxruntime` where it is installed,
else by `onnx` itself. This module knows a policy by its `blueprint`, and nothing of runs.

Source: the operators of ONNX, set 17, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from reactornb.errors import MissingPackageError, ReactorError
from reactornb.files import write
from reactornb.rl.env_spec import frames_in
from reactornb.rl.errors import ConfigError
from reactornb.rl.policy_blueprint import SQUASHED, Blueprint

__all__ = ["OnnxMismatchError", "model_bytes", "random_rows", "to_onnx"]

OPSET, IR_VERSION = 17, 8
"""Of 2022: whatever reads ONNX reads these."""


class OnnxMismatchError(ReactorError, RuntimeError):
    """A file does not choose as the policy that it was made from.

    Attributes:
        checked: how many observations were compared.
        different: for how many of them the action was another.
    """

    def __init__(self, checked: int, different: int, computed_by: str) -> None:
        super().__init__(
            f"for {different} of {checked} observations the ONNX file, computed by {computed_by}, gives another action than the policy. Nothing was "
            f"written; this is a mistake of reactornb or of {computed_by}: please report it."
        )
        self.checked = checked
        self.different = different


def to_onnx(policy: Any, path: str | Path, *, check: int = 1000) -> Path:
    """Write a policy as ONNX.

    Args:
        policy: a `SavedPolicy`.
        path: the file.
        check: on so many random observations its actions are held against the policy's before it is written; 0: not at all.

    Raises:
        MissingPackageError: without the package `onnx`.
        ConfigError: for a network of the user's own, whose layers are not known here; for a policy that heeds action masks, or remembers.
        OnnxMismatchError: if an action differs, other than by rounding where two actions are worth the same.
        FileError: if the file cannot be written.
    """
    if policy.blueprint.network["kind"] == "own":
        raise ConfigError(
            f"the network of this policy is one of the user's own ({policy.blueprint.network.get('made_by')!s:.80}): write its module with torch.onnx.export.",
            fields=("network",),
        )
    masks, remembers = policy.blueprint.mask is not None, policy.blueprint.remembers
    if masks or remembers:
        raise ConfigError(
            f"this policy {'heeds action masks' if masks else 'remembers'}, which the graph that is written here does not: use it through load_policy.",
            fields=("env",),
        )
    content = model_bytes(policy.blueprint)
    if check:
        _compare(policy.blueprint, content, check)
    return write(path, content)


def model_bytes(blueprint: Blueprint) -> bytes:
    """The file's bytes.

    Raises:
        MissingPackageError: without the package `onnx`.
    """
    try:
        onnx: Any = import_module("onnx")
    except ModuleNotFoundError as error:
        raise MissingPackageError("ONNX is written by the package onnx: pip install 'reactornb[onnx]'.") from error
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = _Graph(onnx)
    spec = blueprint.spec
    uint8 = blueprint.observation.encoded_dtype == np.uint8 or (
        "mean" in blueprint.tensors and blueprint.observation.dtype == "uint8"
    )
    scores = _network(graph, blueprint, "observation", uint8)
    graph.add("Identity", [scores], "scores")
    acts, shape = _action(graph, blueprint, scores)
    kind = kinds.UINT8 if uint8 else kinds.FLOAT
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        graph.nodes,
        "policy",
        [value("observation", kind, ["N", *spec.observation_shape])],
        [value("action", acts, ["N", *shape]), value("scores", kinds.FLOAT, ["N", blueprint.outputs])],
        graph.constants,
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="reactornb"
    )
    helper.set_model_props(model, {"reactornb.policy": blueprint.text})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Graph:
    """Nodes and constants of a graph, named one after the other."""

    def __init__(self, onnx: Any) -> None:
        self._helper, self._from_array = onnx.helper, onnx.numpy_helper.from_array
        self.float: int = onnx.TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """A node; returns the name of its output."""
        name = output or f"x{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, array: np.ndarray, name: str = "") -> str:
        """An array; returns its name."""
        name = name or f"c{len(self.constants)}"
        self.constants.append(self._from_array(np.ascontiguousarray(array), name))
        return name

    def kind(self, dtype: str) -> int:
        """ONNX's number of a type."""
        number: int = self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return number

    def columns(self, x: str, begin: int, end: int) -> str:
        """Of [N, …]."""
        at = [self.constant(np.array([k], np.int64)) for k in (begin, end, 1)]
        return self.add("Slice", [x, *at])

    def layer(self, x: str, blueprint: Blueprint, name: str) -> str:
        """A linear layer."""
        weight, bias = (
            self.constant(blueprint.tensors[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias")
        )
        return self.add("Gemm", [x, weight, bias], transB=1)


def _action(graph: _Graph, blueprint: Blueprint, scores: str) -> tuple[int, tuple[int, ...]]:
    """From scores to what the environment takes; its type in ONNX and its shape."""
    space, spec = blueprint.action, blueprint.spec
    if spec.n_actions is not None:
        best = graph.add("ArgMax", [scores], axis=1, keepdims=0)
        graph.add("Add", [best, graph.constant(np.array(spec.action_start, np.int64))], "action")
        return graph.kind("int64"), ()
    if spec.choices:
        columns, end = [], 0
        for count in spec.choices:
            columns.append(graph.add("ArgMax", [graph.columns(scores, end, end + count)], axis=1, keepdims=1))
            end += count
        chosen = graph.add(
            "Add", [graph.add("Concat", columns, axis=1), graph.constant(np.array(space.starts, np.int64))]
        )
        dtype, shape = (
            (space.dtype, space.shape)
            if space.kind in ("MultiDiscrete", "MultiBinary")
            else ("int64", spec.action_shape)
        )
    else:
        dtype, shape = space.dtype, space.shape
        wide = dtype != "float32"  # clipped and rounded as `Space.decode` does it
        x = scores
        if blueprint.choice["kind"] in SQUASHED:
            x = graph.add("Tanh", [graph.columns(scores, 0, space.size)])
            x = graph.add("Mul", [x, graph.constant(blueprint.bounds.half)])
            x = graph.add("Add", [x, graph.constant(blueprint.bounds.middle)])
        if wide:
            x = graph.add("Cast", [x], to=graph.kind("float64"))
        low, high = (np.ravel(bound) for bound in space.limits)
        kept = np.float64 if wide else np.float32
        chosen = graph.add("Max", [x, graph.constant(low.astype(kept))])
        chosen = graph.add("Min", [chosen, graph.constant(high.astype(kept))])
        if np.dtype(dtype).kind != "f":
            chosen = graph.add("Round", [chosen])
    if dtype != "float32":
        chosen = graph.add("Cast", [chosen], to=graph.kind(dtype))
    graph.add("Reshape", [chosen, graph.constant(np.array([-1, *shape], np.int64))], "action")
    return graph.kind(dtype), shape


def _network(graph: _Graph, blueprint: Blueprint, x: str, uint8: bool) -> str:
    """From observations to scores."""
    tensors, kind = blueprint.tensors, blueprint.network["kind"]
    if uint8:
        x = graph.add("Cast", [x], to=graph.float)
    if "mean" in tensors:
        deviation = np.sqrt(tensors["var"] + blueprint.epsilon).astype(np.float32)
        x = graph.add("Sub", [x, graph.constant(tensors["mean"].astype(np.float32))])
        x = graph.add("Div", [x, graph.constant(deviation)])
    if kind != "frames":
        x = graph.add("Reshape", [x, graph.constant(np.array([-1, blueprint.inputs], np.int64))])
    if "offset" in tensors:
        x = graph.add("Sub", [x, graph.constant(tensors["offset"])])
        x = graph.add("Div", [x, graph.constant(tensors["span"])])
    if "clip" in blueprint.network:
        clip = np.array(blueprint.network["clip"], np.float32)
        x = graph.add("Min", [graph.add("Max", [x, graph.constant(-clip)]), graph.constant(clip)])
    if kind == "parts":
        return _parts(graph, blueprint, x)
    if kind == "frames":
        return _frames(graph, blueprint, x)
    if kind == "table":
        state = graph.add("MatMul", [x, graph.constant(tensors["strides"][:, None])])
        state = graph.add("Squeeze", [graph.add("Cast", [state], to=7), graph.constant(np.array([1], np.int64))])
        return graph.add("Gather", [graph.constant(tensors["table"], "table"), state], axis=0)
    activation = "Relu" if blueprint.network["activation"] == "relu" else "Tanh"
    count = len(list(pairwise(blueprint.network["sizes"])))
    for i in range(count):
        x = graph.layer(x, blueprint, f"layers.{i}")
        if i < count - 1:
            x = graph.add(activation, [x])
    return x


def _frames(graph: _Graph, blueprint: Blueprint, x: str) -> str:
    """The convolutions of `nature_cnn` and a head."""
    from reactornb.rl.layers import frames_of

    frames = frames_of(blueprint.spec)
    assert frames is not None
    head = blueprint.network["head"]
    x = _convolved(graph, blueprint, x, frames, "features" if head == "actor" else "body")
    return _head(graph, blueprint, x, "actor")


def _parts(graph: _Graph, blueprint: Blueprint, x: str) -> str:
    """`layers.Features`, its perceptron and a head."""
    is_actor = blueprint.network["head"] == "actor"
    found, others, end = [], [], 0
    for k, (begin, shape) in enumerate(blueprint.observation.frames):
        frames = frames_in(shape)
        assert frames is not None
        if begin > end:
            others.append(graph.columns(x, end, begin))
        end = begin + math.prod(shape)
        part = graph.add("Reshape", [graph.columns(x, begin, end), graph.constant(np.array([-1, *shape], np.int64))])
        found.append(_convolved(graph, blueprint, part, frames, f"{'features' if is_actor else 'body.0'}.parts.{k}"))
    if end < blueprint.inputs:
        others.append(graph.columns(x, end, blueprint.inputs))
    x = graph.add("Concat", [*found, *others], axis=1)
    for i in range(len(blueprint.network["hidden"])):
        x = graph.layer(x, blueprint, f"actor.{1 + 2 * i}" if is_actor else f"body.{2 + 2 * i}")
        x = graph.add("Tanh" if is_actor else "Relu", [x])
    return _head(graph, blueprint, x, f"actor.{1 + 2 * len(blueprint.network['hidden'])}")


def _convolved(
    graph: _Graph, blueprint: Blueprint, x: str, frames: tuple[int, int, int, tuple[int, ...]], body: str
) -> str:
    """Frames through `nature_cnn`, whose layers are called `body`."""
    channels, height, width, order = frames
    x = graph.add("Transpose", [x], perm=[0, *(k + 1 for k in order)])
    x = graph.add("Reshape", [x, graph.constant(np.array([-1, channels, height, width], np.int64))])
    for i, stride in ((1, 4), (3, 2), (5, 1)):
        name = f"{body}.{i}"
        layer = [graph.constant(blueprint.tensors[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias")]
        x = graph.add("Relu", [graph.add("Conv", [x, *layer], strides=[stride, stride])])
    return graph.add("Relu", [graph.layer(graph.add("Flatten", [x]), blueprint, f"{body}.8")])


def _head(graph: _Graph, blueprint: Blueprint, x: str, actor: str) -> str:
    """Features to scores; `actor`: what a policy's last layer is called."""
    head = blueprint.network["head"]
    if head == "actor":
        return graph.layer(x, blueprint, actor)
    advantages = graph.layer(x, blueprint, "advantage")
    if head == "values":
        return advantages
    together = graph.add("Add", [graph.layer(x, blueprint, "value"), advantages])
    return graph.add("Sub", [together, graph.add("ReduceMean", [advantages], axes=[1], keepdims=1)])


# -- the check -------------------------------------------------------------------------------------------------------------


def random_rows(blueprint: Blueprint, count: int, rng: np.random.Generator) -> np.ndarray:
    """Encoded observations as they might be, [count, *encoded_shape]: within their bounds, or of a normal distribution."""
    space, shape = blueprint.observation, (count, *blueprint.observation.encoded_shape)
    if space.kind == "Box":
        low, high = (space.bound(which).astype(np.float64) for which in ("low", "high"))
        bounded = (low > -1e6) & (high < 1e6)
        drawn = np.where(bounded, rng.uniform(np.where(bounded, low, 0), np.where(bounded, high, 1), shape), 0.0)
        drawn = np.where(bounded, drawn, np.clip(rng.standard_normal(shape), low, high))
        whole = np.floor(drawn) if np.dtype(space.dtype).kind in "biu" else drawn
        kept: np.ndarray = whole.astype(np.uint8 if space.dtype == "uint8" else np.float32)
        return kept
    if space.kind in ("MultiDiscrete", "MultiBinary"):
        counts = np.array(space.high, np.int64).reshape(space.shape) if space.high else 2
        starts = np.array(space.low, np.int64).reshape(space.shape) if space.low else 0
        drawn = rng.integers(counts, size=shape) + starts
    elif space.is_plain_tuple:
        counts = np.array([part.high[0] for part in space.parts], np.int64)
        drawn = rng.integers(counts, size=shape) + np.array([part.low[0] for part in space.parts], np.int64)
    elif space.kind == "Discrete":
        drawn = np.eye(space.size)[rng.integers(space.size, size=count)]
    else:
        drawn = rng.standard_normal(shape)
    rows: np.ndarray = drawn.astype(np.float32)
    return rows


def _compare(blueprint: Blueprint, content: bytes, count: int) -> None:
    computed_by = "onnxruntime" if find_spec("onnxruntime") is not None else "onnx"
    run: Any
    if computed_by == "onnxruntime":
        runtime: Any = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        run = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run
    else:
        run = import_module("onnx.reference").ReferenceEvaluator(content).run
    rng = np.random.default_rng(0)
    different = 0
    for begin in range(0, count, 500):
        raw = random_rows(blueprint, min(500, count - begin), rng)
        rows = blueprint.rows_of(raw)
        actions, scores = run(["action", "scores"], {"observation": raw})
        different += int(_differ(blueprint, blueprint.scores(rows), actions, scores).sum())
    if different:
        raise OnnxMismatchError(count, different, computed_by)


def _differ(blueprint: Blueprint, ours: np.ndarray, actions: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For which rows an action is another, bool [N], but where the two best are worth the same but for rounding."""
    spec = blueprint.spec
    tolerance = 1e-4 * (1.0 + np.abs(ours).max(axis=1))
    wrong: np.ndarray = np.abs(ours - scores).max(axis=1) > tolerance
    if spec.choices:
        starts = np.array(blueprint.action.starts, np.int64)
        picked, end = actions.reshape(len(ours), -1).astype(np.int64) - starts, 0
        for i, count in enumerate(spec.choices):
            own = ours[:, end : end + count]
            wrong |= own.max(axis=1) - np.take_along_axis(own, picked[:, i : i + 1], axis=1)[:, 0] > tolerance
            end += count
    elif spec.n_actions is None:
        low, high = blueprint.action.limits
        clipped = np.clip(blueprint.best(ours), low, high)
        # A number that lies in the middle between two of the type is rounded to either.
        kept = np.dtype(blueprint.action.dtype)
        step = np.finfo(kept).eps * np.abs(clipped) if kept.kind == "f" else 0.5
        distance = np.abs(clipped - actions.astype(np.float64)) - step
        wrong |= distance.reshape(len(ours), -1).max(axis=1) > tolerance
    else:
        chosen = np.take_along_axis(ours, (actions - spec.action_start)[:, None], axis=1)[:, 0]
        wrong |= ours.max(axis=1) - chosen > tolerance
    return wrong
