"""Generators of random numbers, arrays and tensors, back from nodes; see `putting`. `placing` says where arrays lie."""

from __future__ import annotations

import random  # noqa: TID251 - its state is put back, nothing is drawn
import sys
from collections.abc import Sequence
from typing import Any

import numpy

from reactornb.durable.objects.known import full_name
from reactornb.durable.objects.putting import (
    MISSING,
    PENDING,
    Fill,
    Make,
    Match,
    Putter,
    fits_type,
    pending,
    set_attributes,
)
from reactornb.durable.objects.take_arrays import BIT_GENERATORS
from reactornb.durable.objects.tree import Node, Unfit, said_of_array

__all__ = ["FILLS", "MAKES", "MATCHES"]

_RANDOM = numpy.random


def _fits_rng(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    kinds: dict[str, Any] = {"Generator": _RANDOM.Generator, "RandomState": _RANDOM.RandomState}
    if type(live) is not kinds.get(node[1][0]):
        return None
    bits = live._bit_generator if node[1][0] == "RandomState" else live.bit_generator
    return [bits] if node[2] and type(bits).__name__ == node[2][0][1][0] else None


def _fill_rng(putter: Putter, node: Node, _: Any, parts: list[Any]) -> Any:
    kind, spare = node[1]
    live, (bits,) = putter.live.get(id(node), MISSING), parts
    if not isinstance(bits, _RANDOM.BitGenerator):
        raise Unfit(node, "is damaged (no bit generator)")
    own = None if live is MISSING else live._bit_generator if kind == "RandomState" else live.bit_generator
    if kind == "Generator":
        return live if own is bits else _RANDOM.Generator(bits)
    made = live if own is bits else _RANDOM.RandomState(bits)
    state = made.get_state(legacy=False)
    made.set_state({**state, "has_gauss": spare[0], "gauss": spare[1]})
    return made


def _fits_bits(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    return [live.seed_seq] if type(live) is BIT_GENERATORS.get(node[1][0]) else None


def _make_bits(_: Putter, node: Node, live: Any) -> Any:
    return BIT_GENERATORS[node[1][0]](0) if live is MISSING else live


def _fill_bits(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    made.__setstate__((node[1][1], parts[0]))
    return made


def _make_seeds(_: Putter, node: Node, live: Any) -> Any:
    entropy, spawn_key, pool_size, spawned = node[1]
    if type(live) is _RANDOM.SeedSequence:
        same = (live.entropy, tuple(live.spawn_key), live.pool_size, live.n_children_spawned)
        if type(live.entropy) is int and same == (entropy, tuple(spawn_key), pool_size, spawned):
            return live
    return _RANDOM.SeedSequence(
        list(entropy) if type(entropy) is tuple else entropy,
        spawn_key=tuple(spawn_key),
        pool_size=pool_size,
        n_children_spawned=spawned,
    )


def _make_random(_: Putter, node: Node, live: Any) -> Any:
    made = random.Random(0) if live is MISSING else live  # noqa: S311 - what it draws is reproduced
    made.setstate(node[1])
    return made


def _fits_torch_rng(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    torch: Any = sys.modules.get("torch")
    return () if torch is not None and type(live) is torch.Generator and str(live.device) == node[1][0] else None


def _make_torch_rng(_: Putter, node: Node, live: Any) -> Any:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        raise Unfit(node, "is a generator of torch's, and the program does not import torch")
    device, state = node[1]
    made = torch.Generator(device) if live is MISSING else live
    if len(state) != made.get_state().numel():
        raise Unfit(node, "is damaged (no state of a generator)")
    made.set_state(torch.from_numpy(numpy.frombuffer(state, numpy.uint8).copy()))
    return made


# -- arrays and tensors ---------------------------------------------------------------------------------------------------


def _fits_array(putter: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    if not isinstance(live, numpy.ndarray) or live.dtype.hasobject or live.dtype.kind == "T":
        return None
    if node[0] == "array":
        data, order, _, name, names = said_of_array(node)
        dtype, shape = data.dtype, data.shape if order == "C" else data.shape[::-1]
        lies = live.flags.c_contiguous if order == "C" else live.flags.f_contiguous
        first: tuple[Any, ...] = ()
    else:
        dtype, shape, strides, _, _, name, names = node[1]
        lies, first = live.strides == tuple(strides), (MISSING,)
    if live.dtype != dtype or live.shape != tuple(shape) or not lies:
        return None
    if (None if type(live) is numpy.ndarray else full_name(type(live))) != name:
        return None
    own = putter.known.layouts.of(live) if name is not None else {}
    return [*first, *(own.get(one, MISSING) for one in names)]


def _make_array(putter: Putter, node: Node, live: Any) -> Any:
    return putter.places.make(node, putter) if live is MISSING else live


def _make_view(_: Putter, __: Node, live: Any) -> Any:
    return PENDING if live is MISSING else live


def _fill_array(putter: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    if made is MISSING:
        made = putter.places.make(node, putter)
    names, own = (said_of_array(node)[4], parts) if node[0] == "array" else (node[1][6], parts[1:])
    if names:
        set_attributes(made, putter.known.layouts.of(made), dict(zip(names, own, strict=True)))
    return made


def _make_block(_: Putter, node: Node, __: Any) -> Any:
    return node[1]


def _make_objects(_: Putter, node: Node, live: Any) -> Any:
    return numpy.empty(node[1][0], object) if live is MISSING else live


def _fits_objects(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    if (
        type(live) is not numpy.ndarray
        or live.dtype != object
        or live.shape != tuple(node[1][0])
        or not live.flags.writeable
    ):
        return None
    return list(live.reshape(-1).tolist())


def _fill_objects(_: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    flat = numpy.empty(len(parts), object)
    for at, part in enumerate(parts):  # one by one: a list among them is an element, not a dimension
        flat[at] = part
    made[...] = flat.reshape(made.shape)
    made.flags.writeable = bool(node[1][1])
    return made


def _fits_tensor(_: Putter, node: Node, live: Any) -> Sequence[Any] | None:
    torch: Any = sys.modules.get("torch")
    if torch is None or type(live) not in (torch.Tensor, torch.nn.Parameter) or live.layout is not torch.strided:
        return None
    kind, dtype, shape, stride, _, device, requires_grad, names = node[1]
    own = (
        type(live).__name__,
        live.dtype,
        tuple(live.shape),
        tuple(live.stride()),
        str(live.device),
        live.requires_grad,
    )
    if own != (kind, dtype, tuple(shape), tuple(stride), device, requires_grad):
        return None
    return [MISSING, live.grad if live.is_leaf else None, *(vars(live).get(name, MISSING) for name in names)]


def _fill_tensor(putter: Putter, node: Node, made: Any, parts: list[Any]) -> Any:
    if made is MISSING:
        made = putter.places.make_tensor(node)
    if made.is_leaf and made.grad is not parts[1]:
        made.grad = parts[1]
    state = dict(zip(node[1][7], parts[2:], strict=True))
    own = vars(made)
    for name in [name for name in own if name not in state]:
        del own[name]
    own.update((name, part) for name, part in state.items() if own.get(name, MISSING) is not part)
    return made


MATCHES: dict[str, Match] = {
    "rng": _fits_rng,
    "bits": _fits_bits,
    "seeds": fits_type(numpy.random.SeedSequence),
    "random": fits_type(random.Random),
    "torch.rng": _fits_torch_rng,
    "array": _fits_array,
    "view": _fits_array,
    "objects": _fits_objects,
    "tensor": _fits_tensor,
}

MAKES: dict[str, Make] = {
    "rng": pending,
    "bits": _make_bits,
    "seeds": _make_seeds,
    "random": _make_random,
    "torch.rng": _make_torch_rng,
    "array": _make_array,
    "view": _make_view,
    "tensor": _make_view,
    "block": _make_block,
    "objects": _make_objects,
}

FILLS: dict[str, Fill] = {
    "rng": _fill_rng,
    "bits": _fill_bits,
    "array": _fill_array,
    "view": _fill_array,
    "objects": _fill_objects,
    "tensor": _fill_tensor,
}
