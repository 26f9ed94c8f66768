"""How NumPy's and torch's values are written. torch is never imported: a program that has tensors has imported it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy

from reactornb.runtime.codec.dtypes import describe
from reactornb.runtime.codec.parts import Part, RefusedPartError, Writing, data_of

__all__ = ["BIT_GENERATORS", "find_writer"]

Writer = Callable[[Writing, Any], Part]

_RANDOM = numpy.random
BIT_GENERATORS: dict[str, type] = {
    cls.__name__: cls for cls in (_RANDOM.MT19937, _RANDOM.PCG64, _RANDOM.PCG64DXSM, _RANDOM.Philox, _RANDOM.SFC64)
}


def find_writer(cls: type) -> Writer | None:
    """How values of a class are written, if it is one of NumPy's or torch's."""
    writer = _WRITERS.get(cls)
    if writer is not None:
        return writer
    if issubclass(cls, numpy.generic):
        return _scalar
    if issubclass(cls, numpy.dtype):
        return _dtype
    if issubclass(cls, numpy.ndarray) and cls.__module__.partition(".")[0] == "numpy":
        return _no_such_array
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return None
    if issubclass(cls, torch.Tensor):
        return _tensor
    return {
        torch.Generator: _torch_rng,
        torch.dtype: _torch_dtype,
        torch.device: _torch_device,
        torch.Size: _torch_size,
    }.get(cls)


# -- NumPy ----------------------------------------------------------------------------------------------------------------


def _memory(writing: Writing, array: Any) -> Any:
    if not array.nbytes:
        return ""
    return data_of(writing, memoryview(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)))


def _array(writing: Writing, value: Any) -> Part:
    dtype, shape = value.dtype, list(value.shape)
    if dtype.kind == "T":
        has_na = hasattr(dtype, "na_object")
        parts = ([dtype.na_object] if has_na else []) + value.reshape(-1).tolist()
        return Part(["strings", dtype.coerce, has_na, shape], parts, None, True)
    if not dtype.hasobject:
        return Part(["array", describe(dtype), shape, _memory(writing, value)])
    if dtype.names is None:
        return Part(["objects", shape], value.reshape(-1).tolist(), None, True)
    return Part(["fields", describe(dtype), shape], [value[name] for name in dtype.names], list(dtype.names), True)


def _scalar(writing: Writing, value: Any) -> Part:
    if isinstance(value, numpy.str_):
        return Part(["numpy.str"], [str.__getitem__(value, slice(None))])  # its own `str` drops zeros at the end
    if isinstance(value, numpy.bytes_):
        return Part(["numpy.bytes"], [bytes(value)])
    array = numpy.asarray(value)
    if array.dtype.hasobject:
        return Part(["numpy.void"], [array])
    return Part(["scalar", describe(array.dtype), _memory(writing, array)])


def _dtype(_: Writing, value: Any) -> Part:
    return Part(["dtype", describe(value)])


def _masked(_: Writing, value: Any) -> Part:
    mask = None if value.mask is numpy.ma.nomask else numpy.asarray(value.mask)
    filled = value._fill_value
    data = value.data.view(numpy.ndarray)
    return Part(["masked", value.hardmask], [data, mask, filled], ["data", "mask", "fill_value"], True)


def _no_such_array(_: Writing, value: Any) -> Part:
    raise RefusedPartError(
        "arrays of this class stand for something else than their elements; use numpy.array(value)", value
    )


def _rng(_: Writing, value: Any) -> Part:
    bits: Any = getattr(value, "bit_generator", None) or getattr(value, "_bit_generator", value)
    if type(bits) not in BIT_GENERATORS.values():
        raise RefusedPartError(f"its bit generator is none of {', '.join(BIT_GENERATORS)}", value)
    seeds = bits.seed_seq
    if seeds is not None and type(seeds) is not _RANDOM.SeedSequence:
        raise RefusedPartError("it was seeded by something else than a numpy.random.SeedSequence", value)
    legacy = isinstance(value, _RANDOM.RandomState)
    state = value.get_state(legacy=False) if legacy else bits.state  # with the normal number it keeps
    kind = "BitGenerator" if value is bits else type(value).__name__
    # The bit generator is an object of its own: two generators may draw from one.
    if value is bits:
        return Part(["rng", kind, type(bits).__name__], [state, seeds], ["state", "seed_seq"], True)
    more = [state.get("has_gauss"), state.get("gauss")] if legacy else []
    return Part(["rng", kind, type(bits).__name__], [bits, *more], ["bit_generator", "has_gauss", "gauss"], True)


def _seeds(_: Writing, value: Any) -> Part:
    names = ["entropy", "spawn_key", "pool_size", "n_children_spawned"]
    return Part(["seeds"], [getattr(value, name) for name in names], names, True)


_WRITERS: dict[type, Writer] = {
    numpy.ndarray: _array,
    numpy.recarray: lambda _, value: Part(["recarray"], [value.view(numpy.ndarray)], None, True),
    numpy.ma.MaskedArray: _masked,
    _RANDOM.Generator: _rng,
    _RANDOM.RandomState: _rng,
    **dict.fromkeys(BIT_GENERATORS.values(), _rng),
    _RANDOM.SeedSequence: _seeds,
}


# -- torch ----------------------------------------------------------------------------------------------------------------


def _tensor(writing: Writing, value: Any) -> Part:
    torch: Any = sys.modules["torch"]
    kinds = {torch.Tensor: "Tensor", torch.nn.Parameter: "Parameter"}
    kind = kinds.get(type(value))
    if kind is None:
        raise RefusedPartError(
            "only torch.Tensor and torch.nn.Parameter are encoded, not classes derived from them", value
        )
    if value.layout is not torch.strided or value.is_quantized or value.is_nested or value.device.type == "meta":
        raise RefusedPartError("only dense tensors are encoded; use value.to_dense() or value.dequantize()", value)
    state = dict(value.__dict__)
    if value.is_leaf and value.grad is not None:
        state["grad"] = value.grad
    name = str(value.dtype).removeprefix("torch.")
    dense = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    if dense.numel() and dense.stride(0) != 1:  # a single element counts as contiguous whatever its stride
        dense = dense.clone(memory_format=torch.contiguous_format)
    raw = data_of(writing, memoryview(dense.view(torch.uint8).numpy())) if dense.numel() else ""
    token = ["tensor", kind, name, value.device.type, value.requires_grad, list(value.shape), raw, list(state)]
    return Part(token, list(state.values()), list(state))


def _torch_rng(writing: Writing, value: Any) -> Part:
    if value.device.type != "cpu":
        raise RefusedPartError("it is the generator of another device than the CPU", value)
    return Part(["torch.rng", data_of(writing, memoryview(value.get_state().numpy()))])


def _torch_dtype(_: Writing, value: Any) -> Part:
    return Part(["torch.dtype", str(value).removeprefix("torch.")])


def _torch_device(_: Writing, value: Any) -> Part:
    return Part(["torch.device", value.type, value.index])


def _torch_size(_: Writing, value: Any) -> Part:
    return Part(["torch.Size", list(value)])
