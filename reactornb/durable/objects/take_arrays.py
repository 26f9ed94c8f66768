"""How arrays, tensors and generators of random numbers become nodes; see `take_types`."""

from __future__ import annotations

import mmap
import sys
from typing import Any

import numpy

from reactornb.durable.objects.known import full_name
from reactornb.durable.objects.refusals import Refused
from reactornb.durable.objects.take_objects import state_of
from reactornb.durable.objects.tree import Node

__all__ = [
    "BIT_GENERATORS",
    "write_array",
    "write_bits",
    "write_random",
    "write_rng",
    "write_seeds",
    "write_tensor",
    "write_torch_rng",
]

Taker = Any  # a `take.Taking`

_RANDOM = numpy.random
BIT_GENERATORS: dict[str, Any] = {
    cls.__name__: cls for cls in (_RANDOM.MT19937, _RANDOM.PCG64, _RANDOM.PCG64DXSM, _RANDOM.Philox, _RANDOM.SFC64)
}


# -- generators of random numbers -----------------------------------------------------------------------------------------


def write_rng(taker: Taker, node: Node, value: Any) -> None:
    """A generator of NumPy's."""
    legacy = isinstance(value, _RANDOM.RandomState)
    bits = value._bit_generator if legacy else value.bit_generator
    spare: tuple[Any, ...] = ()
    if legacy:
        state = value.get_state(legacy=False)
        spare = (state["has_gauss"], state["gauss"])
    node[0], node[1], node[2] = "rng", (type(value).__name__, spare), [taker.refer(bits)]


def write_bits(taker: Taker, node: Node, value: Any) -> None:
    """What a generator of NumPy's draws bits from."""
    name = type(value).__name__
    if BIT_GENERATORS.get(name) is not type(value):
        raise Refused(value, "a bit generator that NumPy does not have", f"Use one of {', '.join(BIT_GENERATORS)}")
    node[0], node[1], node[2] = "bits", (name, value.state), [taker.refer(value.seed_seq)]


def write_seeds(_: Taker, node: Node, value: Any) -> None:
    """A sequence of seeds."""
    entropy = value.entropy
    if isinstance(entropy, (list, numpy.ndarray)):
        entropy = tuple(int(one) for one in entropy)
    node[0] = "seeds"
    node[1] = (entropy, tuple(value.spawn_key), int(value.pool_size), int(value.n_children_spawned))


def write_random(_: Taker, node: Node, value: Any) -> None:
    """A generator of Python's."""
    node[0], node[1] = "random", value.getstate()


def write_torch_rng(_: Taker, node: Node, value: Any) -> None:
    """A generator of torch's."""
    node[0], node[1] = "torch.rng", (str(value.device), value.get_state().numpy().tobytes())


# -- arrays and tensors ---------------------------------------------------------------------------------------------------


def write_array(taker: Taker, node: Node, value: Any) -> None:
    """An array, whose memory other arrays may share."""
    cls, dtype = type(value), value.dtype
    if cls is numpy.ndarray and value.base is None and not dtype.hasobject and dtype.kind != "T":
        if not taker.learn:
            taker.windows.add(node, value, None, ())
        return
    base = value
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None:
        _mapped_file(taker, node, value)
        return
    name, state = None, {}
    if cls is not numpy.ndarray:
        taker.note_class(value)
        name, state = full_name(cls), state_of(taker, value)
    node[2] = [taker.refer(part) for part in state.values()]
    if not dtype.hasobject and dtype.kind != "T":
        if not taker.learn:
            taker.windows.add(node, value, name, tuple(state))
        return
    if dtype.names is not None:
        raise Refused(value, "whose fields hold objects", "Keep an array of numbers and a list of the objects")
    if dtype.kind == "T":
        node[0], node[1] = "array", (value.copy(), "C", bool(value.flags.writeable), name, tuple(state))
        return
    if value.base is not None or name is not None:
        raise Refused(value, "a view of an array of objects", "Keep a list of the objects, or a copy of the view")
    node[0], node[1] = "objects", (value.shape, bool(value.flags.writeable))
    node[2] = taker.refer_all(value.reshape(-1).tolist())


def _mapped_file(taker: Taker, node: Node, value: Any) -> None:
    if value.flags.writeable:
        raise Refused(
            value,
            "which is a file that is mapped for writing",
            "Map it for reading (mode='r'), or keep an array in memory and write it yourself. {transient}",
        )
    taker.keep(node, value, f"mapped file {getattr(value, 'filename', '')} {value.dtype} {list(value.shape)}")


def write_tensor(taker: Taker, node: Node, value: Any) -> None:
    """A tensor or parameter, with its gradient and attributes."""
    torch: Any = sys.modules["torch"]
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise Refused(value, "a class of its own of tensors", "Keep a torch.Tensor or a torch.nn.Parameter")
    strided = value.layout is torch.strided and not (value.is_quantized or value.is_nested)
    if not strided or value.device.type == "meta" or value.is_conj() or value.is_neg():
        raise Refused(value, "which is not dense memory", "Keep value.to_dense(), dequantize() or resolve_conj() of it")
    if value.grad_fn is not None and not (value._is_view() and value._base.is_leaf):
        raise Refused(value, "which belongs to a graph of gradients, made by calls", "Keep .detach() of it")
    state = dict(vars(value))
    parts = [value.grad if value.is_leaf else None, *state.values()]
    node[2] = [taker.refer(part) for part in parts]
    if not taker.learn:
        taker.windows.add_tensor(node, value, tuple(state))
