"""`GradientShard`: computes the gradient for a piece of each of the learner's minibatches, so that several cores learn.

    learner.on_update ──piece──▶ sender[i] ──▶ shard[0], shard[1], … (one level, so at the same time) ──gradient──▶ learner.on_gradients

The pieces are row blocks that depend on the number of shards alone, and the learner adds the gradients in the order of the shards: the
sum is the same for any number of workers. It differs from that of another number of shards by rounding. Shards that hosts may
execute are enclaves, to which a piece takes a microstep: it stands on the connections from the senders.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from reactornb.model import Fixed, Input, Output, Reactor, reaction, startup
from reactornb.rl.env_spec import EnvSpec, frames_in
from reactornb.rl.errors import ConfigError
from reactornb.rl.gradients import LossGradient, MakeAlgorithm, Metrics
from reactornb.rl.layers import FRAME_FEATURES, frames_of, has_frames
from reactornb.rl.networks import Flat
from reactornb.rl.torch_draws import OwnGenerator

__all__ = [
    "GradientShard",
    "Piece",
    "PieceSender",
    "ShardGradient",
    "cut",
    "default_shards",
    "multiply_adds",
    "refuse_layers",
    "shards_of",
    "weighted",
]


class Piece:
    """What a shard gets for one update. No dataclass, whose arrays would be copied: all of them are read-only, or nobody changes them.

    Attributes:
        rows: a minibatch of consecutive rows of the learner's.
        share: its rows / those of the whole minibatch.
        weights: float32 [P], read-only, at which the gradient is taken.
        target: float32 [P], read-only, the target network's if it has moved since the last piece; else None.
        tuned: the learner's parameters that its algorithm is told; None: it has none.
    """

    __slots__ = ("rows", "share", "target", "tuned", "weights")

    def __init__(
        self,
        rows: Any,
        share: float,
        weights: np.ndarray,
        target: np.ndarray | None,
        tuned: dict[str, Any] | None = None,
    ) -> None:
        self.rows = rows
        self.share = share
        self.weights = weights
        self.target = target
        self.tuned = tuned


class ShardGradient:
    """What a shard returns. No dataclass, see `Piece`.

    Attributes:
        values: float32 [P], read-only: the gradient times the piece's share.
        share: that of the piece.
        metrics: means over the piece's rows, "loss" among them.
        feedback: the algorithm's for this piece, or None.
    """

    __slots__ = ("feedback", "metrics", "share", "values")

    def __init__(self, values: np.ndarray, share: float, metrics: Metrics, feedback: Any) -> None:
        self.values = values
        self.share = share
        self.metrics = metrics
        self.feedback = feedback


class GradientShard(Reactor):
    """Computes gradients for pieces of minibatches, with an algorithm of its own, made as the learner's is.

    Parameters:
        algorithm: as the learner's. The generator that it gets is this reactor's: noise that `loss` draws from it differs from shard to
            shard, and is the same in every run.

    Raises (in its reactions, so the run says at which tag):
        ConfigError: for a network whose layers compute with the whole minibatch (BatchNorm) or draw from torch's global generator (dropout).
    """

    piece = Input[Piece]()
    gradient = Output[ShardGradient](copy=False)

    algorithm: Fixed[MakeAlgorithm]

    @reaction(startup)
    def on_startup(self) -> None:
        """Make the algorithm; its weights come with every piece."""
        with OwnGenerator(self.seed):
            self.algo = self.algorithm(torch.Generator().manual_seed(self.seed), torch.device("cpu"))
        refuse_layers(self.full_name, self.algo.network)
        self.flat = Flat(self.algo.network, gradients=True)
        self.target = None if self.algo.target is None else Flat(self.algo.target)
        self.descent = LossGradient(self.algo, self.flat, self.target)

    @reaction(piece)
    def on_piece(self, piece: Any, gradient: Any) -> None:
        """The gradient for one piece."""
        sent = piece.value
        if self.target is not None and sent.target is not None:
            self.target.load(sent.target)
        if sent.tuned is not None:
            self.algo.retune(sent.tuned)  # type: ignore[attr-defined]  # see `ActorCriticLearner`
        descent = self.descent
        descent.load(sent.weights)
        metrics = descent.compute(sent.rows)
        if not descent.analytic:
            metrics = {name: m.item() if isinstance(m, torch.Tensor) else m for name, m in metrics.items()}
        gradient.set(ShardGradient(descent.times(sent.share), sent.share, metrics, self.algo.feedback()))


class PieceSender(Reactor):
    """Passes pieces on to a shard: a connection from here may have a delay, which what a reaction writes into a contained reactor cannot."""

    piece = Input[Piece]()
    sent = Output[Piece](copy=False)

    @reaction(piece)
    def on_piece(self, piece: Any, sent: Any) -> None:
        """Pass it on."""
        sent.set(piece.value)


def weighted(shards: Iterable[ShardGradient]) -> dict[str, float]:
    """The metrics of a whole minibatch: those of its pieces, weighted by their rows and added in the order of the shards."""
    sums: dict[str, float] = {}
    for shard in shards:
        for name, value in shard.metrics.items():
            sums[name] = sums.get(name, 0.0) + shard.share * value
    return sums


def cut(minibatch: Any, pieces: int, name: str) -> list[tuple[Any, float]]:
    """Cut a minibatch into blocks of consecutive rows, whose numbers differ by 1 at most.

    Args:
        minibatch: an array or tensor [B, …]; a tuple, list or dataclass, of whose fields arrays and tensors as long as the first one are cut
            and all others go into every piece; or anything else with a length and slices, which are minibatches.
        pieces: how many; with fewer rows, one for each row.
        name: the learner's, for the error.

    Returns:
        (piece, its share of the rows), in order.

    Raises:
        ConfigError: if it has no rows.
    """
    fields: list[Any] = []
    if isinstance(minibatch, (tuple, list)):
        fields = list(minibatch)
    elif hasattr(minibatch, "__getitem__") and hasattr(minibatch, "__len__"):
        if not isinstance(minibatch, (dict, str)) and len(minibatch):
            rows = len(minibatch)
            return [(minibatch[a:b], (b - a) / rows) for a, b in _blocks(rows, pieces)]
    elif dataclasses.is_dataclass(minibatch):
        fields = [getattr(minibatch, field.name) for field in dataclasses.fields(minibatch)]
    rows = next((n for n in map(_length, fields) if n), 0)
    if not rows:
        raise ConfigError(
            f"{name}: a minibatch that is a {type(minibatch).__name__} has no rows to be cut for {pieces} shards. Let `minibatches` give an array, a "
            f"tensor, a tuple or a dataclass of arrays of one length, or an object with a length and slices; or set shards=1.",
            fields=("shards",),
        )
    are_cut = [_length(field) == rows for field in fields]
    return [
        (
            _like(minibatch, [f[a:b] if c else f for f, c in zip(fields, are_cut, strict=True)]),
            (b - a) / rows,
        )
        for a, b in _blocks(rows, pieces)
    ]


def _blocks(rows: int, pieces: int) -> Iterable[tuple[int, int]]:
    """Where each block of rows begins and ends."""
    count = min(pieces, rows)
    return pairwise([rows * i // count for i in range(count + 1)])


def _length(field: Any) -> int:
    return len(field) if isinstance(field, (np.ndarray, torch.Tensor)) and field.ndim else 0


def _like(minibatch: Any, fields: list[Any]) -> Any:
    """A minibatch of the same kind with other fields."""
    if hasattr(minibatch, "_make"):
        return minibatch._make(fields)
    if isinstance(minibatch, (tuple, list)):
        return type(minibatch)(fields)
    piece = copy.copy(minibatch)
    for field, value in zip(dataclasses.fields(minibatch), fields, strict=True):
        object.__setattr__(piece, field.name, value)  # also of a frozen one
    return piece


def shards_of(config: Any, spec: EnvSpec, rows: int, *, networks: int) -> int:
    """The number of shards of a configuration: its `shards`, or the default for its network and minibatch.

    Args:
        config: of an algorithm; its `shards`, `hidden` and `device` count.
        spec: of the environment.
        rows: of a minibatch.
        networks: perceptrons of these hidden layers, such as 2 for an actor and a critic; of convolutions there is one stack.
    """
    if config.shards is not None:
        return int(config.shards)
    if config.device != "cpu" or config.network is not None:  # what a network of the user's own costs is not known
        return 1
    work = multiply_adds(spec, config.hidden)
    return default_shards(work if has_frames(spec) else networks * work, rows)


def default_shards(work: int, rows: int) -> int:
    """How many shards a network and its minibatch get: as many as cost one worker nothing, so that more than one can only gain.

    Args:
        work: multiply-adds of the network for one row.
        rows: of a minibatch.

    It depends on nothing else, so it is the same on every machine and for any number of workers. Measured on two cores, which others used, too,
    with `reactornb bench shards`: how many times as fast as with one shard an update is, by the lowest twentieth of the times.

        network, rows            multiply-adds   one shard   2 shards, workers 1   2     4 shards, workers 1   2
        2 x (64, 64), 256            2 million      0.7 ms              0.74   1.03
        2 x (64, 64), 2048          18 million      4.2 ms              0.93   1.70                0.88   1.54
        2 x (64, 64), 4096          36 million      9.6 ms              0.97   1.47                0.95   1.61
        2 x (256, 256), 256         36 million      4.1 ms              0.85   1.42                0.73   1.16
        2 x (256, 256), 2048       286 million     32   ms              0.97   1.48                0.83   1.22
        Nature CNN, 32             300 million     53   ms              0.84   1.14                0.63   0.93
        Nature CNN, 64             600 million     85   ms              0.81   1.56                0.66   1.05
        Nature CNN, 128           1200 million    171   ms              1.07   1.50                0.96   1.51
        Nature CNN, 256           2400 million    322   ms              1.0    1.3 to 2.05         0.92   1.33

    A pass over a small minibatch is mostly calls, which each shard makes: small networks lose with one worker what they may gain with two. They have
    `shards=2` for the asking.
    """
    return next((shards for shards, least in ((4, 4_000_000_000), (2, 1_000_000_000)) if work * rows >= least), 1)


def multiply_adds(spec: EnvSpec, hidden: Sequence[int]) -> int:
    """Of one observation on its way to the last hidden layer of a network of ours."""
    frames = frames_of(spec)
    if frames is not None:
        return _convolved(frames)
    inputs = math.prod(spec.observation_shape)
    total = 0
    for _, shape in spec.frames:
        part = frames_in(shape)
        assert part is not None
        total += _convolved(part)
        inputs += FRAME_FEATURES - math.prod(shape)
    return total + sum(n * m for n, m in pairwise((inputs, *hidden)))


def _convolved(frames: tuple[int, int, int, tuple[int, ...]]) -> int:
    """Of `nature_cnn`."""
    channels, *sides, _ = frames
    total = 0
    for filters, size, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        sides = [(side - size) // stride + 1 for side in sides]
        total += math.prod(sides) * filters * channels * size * size
        channels = filters
    return total + FRAME_FEATURES * channels * math.prod(sides)


def refuse_layers(name: str, network: nn.Module) -> None:
    """Refuse layers with which shards would not compute the gradient of the whole minibatch, or not the same in every run.

    Raises:
        ConfigError: for batch normalisation and dropout.
    """
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            reason = "computes with the mean of the whole minibatch, of which a shard has a piece; take nn.LayerNorm"
        elif isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            reason = "draws from torch's global generator, from which all shards would draw in any order; take it out"
        else:
            continue
        raise ConfigError(f"{name}: {type(layer).__name__} {reason}, or set shards=1.", fields=("shards",))
