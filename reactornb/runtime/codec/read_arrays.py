"""How tokens become NumPy's and torch's values. Memory is only taken for bytes that are there.

Anything that does not fit raises, whatever; `decode` makes one error of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy

from reactornb.runtime.codec.dtypes import STRINGS, check_elements, read_dtype, read_shape, shape_size
from reactornb.runtime.codec.making import Making, Many, Open, whole
from reactornb.runtime.codec.write_arrays import BIT_GENERATORS

__all__ = ["ARRAYS"]

Reader = Callable[[Making, list[Any]], Any]

_MOST_POOL = 1024
_MT_WORDS = 624
_PHILOX_WORDS = 4


def _memory(making: Making, dtype: Any, shape: tuple[int, ...], where: Any) -> Any:
    """An array of these bytes."""
    data = making.data(where)
    size = len(data)
    if dtype.hasobject or shape_size(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} does not take {size:,} bytes")
    array: Any = numpy.ndarray(shape, dtype, buffer=data)
    check_elements(array)
    if making.copy or type(where) is str:
        return array.copy()
    array.setflags(write=False)
    return array


def _array(making: Making, token: list[Any]) -> Any:
    _tag, described, shape, where = token
    return _memory(making, read_dtype(described), read_shape(shape), where)


def _scalar(making: Making, token: list[Any]) -> Any:
    _tag, described, where = token
    return _memory(making, read_dtype(described), (), where)[()]


def _objects(_: Making, token: list[Any]) -> Open:
    _tag, shape = token
    shape = read_shape(shape)

    def build(parts: list[Any]) -> Any:
        array = numpy.empty(shape, object)  # not before: now as many parts are there
        flat = array.reshape(-1)
        for i, part in enumerate(parts):
            flat[i] = part
        return array

    return Open(shape_size(shape), build)


def _fields(_: Making, token: list[Any]) -> Open:
    _tag, described, shape = token
    dtype, shape = read_dtype(described), read_shape(shape)
    if dtype.names is None or not dtype.hasobject:
        raise ValueError("an array of plain memory is written otherwise")

    def build(parts: list[Any]) -> Any:
        for name, part in zip(dtype.names, parts, strict=True):
            inner = dtype[name]
            base, more = inner.subdtype or (inner, ())
            if type(part) is not numpy.ndarray or part.dtype != base or part.shape != (*shape, *more):
                raise ValueError(f"the field {name} does not fit")
        array = numpy.empty(shape, dtype)
        for name, part in zip(dtype.names, parts, strict=True):
            array[name] = part
        return array

    return Open(len(dtype.names), build)


def _strings(_: Making, token: list[Any]) -> Open:
    _tag, coerce, has_na, shape = token
    if type(coerce) is not bool or type(has_na) is not bool:
        raise ValueError("no dtype of strings")
    shape = read_shape(shape)

    def build(parts: list[Any]) -> Any:
        texts: Any = parts
        options = {"coerce": coerce}
        if has_na:
            na, *texts = parts
            if na is not None and type(na) not in (str, float):
                raise ValueError("what stands for a missing string is None, a float or a string")
            options["na_object"] = na
        if not all(type(text) is str or (has_na and _is_same(text, parts[0])) for text in texts):
            raise ValueError("a string is missing")
        return numpy.array(texts, dtype=STRINGS(**options)).reshape(shape)

    return Open(shape_size(shape) + has_na, build)


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) is float and one != one and other != other)  # noqa: PLR0124 - a NaN


def _one(make: Callable[[Any], Any], kind: type) -> Reader:
    def read(_: Making, token: list[Any]) -> Open:
        (_tag,) = token

        def build(parts: list[Any]) -> Any:
            if type(parts[0]) is not kind:
                raise ValueError(f"no {kind.__name__}")
            return make(parts[0])

        return Open(1, build)

    return read


def _void(array: Any) -> Any:
    if array.shape != ():
        raise ValueError("a scalar has no dimensions")
    return array[()]


def _masked(_: Making, token: list[Any]) -> Open:
    _tag, hard = token
    if type(hard) is not bool:
        raise ValueError("no mask")

    def build(parts: list[Any]) -> Any:
        data, mask, filled = parts
        fits = mask is None or (
            type(mask) is numpy.ndarray
            and mask.shape == data.shape
            and mask.dtype == numpy.ma.make_mask_descr(data.dtype)
        )
        if type(data) is not numpy.ndarray or not fits or (filled is not None and type(filled) is not numpy.ndarray):
            raise ValueError("no masked array")
        value: Any = numpy.ma.MaskedArray(data, mask=numpy.ma.nomask if mask is None else mask, hard_mask=hard)
        if filled is not None:
            if filled.dtype != data.dtype or filled.shape != ():
                raise ValueError("the fill value of a masked array does not fit")
            value._fill_value = filled
        return value

    return Open(3, build)


# -- generators -----------------------------------------------------------------------------------------------------------


def _rng(_: Making, token: list[Any]) -> Open:
    _tag, kind, name = token
    cls: Any = BIT_GENERATORS[name]

    def build(parts: list[Any]) -> Any:
        if kind == "BitGenerator":
            return _bit_generator(cls, *parts)
        if type(parts[0]) is not cls:
            raise ValueError("no bit generator")
        if kind == "Generator":
            return numpy.random.Generator(parts[0])
        bits, has_gauss, gauss = parts
        if has_gauss not in (0, 1) or type(gauss) is not float:
            raise ValueError("no state of a RandomState")
        value = numpy.random.RandomState(bits)
        value.set_state({**bits.state, "has_gauss": has_gauss, "gauss": gauss})
        return value

    return Open({"BitGenerator": 2, "Generator": 1, "RandomState": 3}[kind], build)


def _bit_generator(cls: Any, state: Any, seeds: Any) -> Any:
    if seeds is not None and type(seeds) is not numpy.random.SeedSequence:
        raise ValueError("no seed sequence")
    _check_state(cls, state)
    if seeds is not None:
        bits = cls(seeds)
    elif cls is numpy.random.Philox:
        bits = cls(key=0)
    elif cls is numpy.random.MT19937:
        bits = numpy.random.RandomState(0)._bit_generator  # seeded in the old way
    else:
        raise ValueError("it has no seeds")
    bits.state = state
    return bits


def _check_state(cls: Any, state: Any) -> None:
    """NumPy takes positions in its buffers as they are given: they must lie within."""
    inner = state["state"]
    if type(state) is not dict or type(inner) is not dict or state["bit_generator"] != cls.__name__:
        raise ValueError("no state of a bit generator")
    if cls is numpy.random.MT19937:
        fits = _words(inner["key"], _MT_WORDS, numpy.uint32) and _within(inner["pos"], _MT_WORDS)
    elif cls is numpy.random.Philox:
        fits = (
            _words(inner["counter"], _PHILOX_WORDS, numpy.uint64)
            and _words(inner["key"], 2, numpy.uint64)
            and _words(state["buffer"], _PHILOX_WORDS, numpy.uint64)
            and _within(state["buffer_pos"], _PHILOX_WORDS)
        )
    elif cls is numpy.random.SFC64:
        fits = _words(inner["state"], 4, numpy.uint64)
    else:
        fits = all(type(inner[name]) is int and 0 <= inner[name] < 1 << 128 for name in ("state", "inc"))
    if not fits or (cls is not numpy.random.MT19937 and not _within(state["has_uint32"], 1)):
        raise ValueError("no state of a bit generator")


def _words(value: Any, count: int, kind: Any) -> bool:
    return type(value) is numpy.ndarray and value.shape == (count,) and value.dtype == kind


def _within(value: Any, last: int) -> bool:
    return type(value) is int and 0 <= value <= last


def _seeds(_: Making, token: list[Any]) -> Open:
    (_tag,) = token

    def build(parts: list[Any]) -> Any:
        entropy, spawn_key, pool, spawned = parts
        if entropy is None or not _within(pool, _MOST_POOL) or not _within(spawned, 1 << 32):
            raise ValueError("no seed sequence")
        return numpy.random.SeedSequence(entropy, spawn_key=spawn_key, pool_size=pool, n_children_spawned=spawned)

    return Open(4, build)


# -- torch ----------------------------------------------------------------------------------------------------------------


def _torch() -> Any:
    torch = sys.modules.get("torch")
    if torch is None:
        raise LookupError(
            "it is torch's, which this process has not imported; `import torch` first, if the program uses it"
        )
    return torch


def _torch_dtype_named(name: Any) -> Any:
    torch = _torch()
    dtype = vars(torch).get(name) if type(name) is str else None
    if type(dtype) is not torch.dtype:
        raise ValueError(f"no dtype of torch's: {name!r:.60}")
    return dtype


def _tensor(making: Making, token: list[Any]) -> Open:
    _tag, kind, name, device, requires_grad, shape, where, names = token
    torch = _torch()
    dtype, shape = _torch_dtype_named(name), read_shape(shape)
    data = making.data(where)
    if kind not in ("Tensor", "Parameter") or type(requires_grad) is not bool or type(device) is not str:
        raise ValueError("no tensor")
    if shape_size(shape) * dtype.itemsize != len(data):
        raise ValueError(f"a tensor of shape {shape} and dtype {dtype} does not take {len(data):,} bytes")
    if not all(type(n) is str and not n.startswith("__") for n in names):
        raise ValueError("no names of attributes")
    if len(data):
        raw = numpy.frombuffer(data, numpy.uint8).copy()  # torch knows no read-only memory
        if dtype is torch.bool:
            check_elements(raw.view(bool))
        value = torch.from_numpy(raw).view(dtype).reshape(shape)
    else:
        value = torch.empty(shape, dtype=dtype)
    where_to = making.device or device
    if where_to != "cpu":
        value = value.to(where_to)
    value = torch.nn.Parameter(value, requires_grad) if kind == "Parameter" else value.requires_grad_(requires_grad)

    def build(parts: list[Any]) -> Any:
        for attribute, part in zip(names, parts, strict=True):
            if attribute == "grad":
                if not isinstance(part, torch.Tensor):
                    raise ValueError("no gradient")
                value.grad = part
            else:
                value.__dict__[attribute] = part
        return value

    return Open(len(names), build, value)


def _torch_rng(making: Making, token: list[Any]) -> Any:
    _tag, where = token
    torch = _torch()
    generator = torch.Generator()
    raw = numpy.frombuffer(making.data(where), numpy.uint8).copy()
    if raw.size != generator.get_state().numel():
        raise ValueError("no state of a generator of torch's")
    generator.set_state(torch.from_numpy(raw))
    return generator


def _torch_dtype(_: Making, token: list[Any]) -> Any:
    _tag, name = token
    return _torch_dtype_named(name)


def _torch_device(_: Making, token: list[Any]) -> Any:
    _tag, kind, index = token
    if type(kind) is not str or (index is not None and type(index) is not int):
        raise ValueError("no device")
    return _torch().device(kind) if index is None else _torch().device(kind, index)


def _torch_size(_: Making, token: list[Any]) -> Any:
    _tag, shape = token
    return _torch().Size(read_shape(shape))


def _many(dtype: str) -> Reader:
    def read(making: Making, token: list[Any]) -> Many:
        _tag, count, where = token
        values = numpy.frombuffer(making.data(where), dtype)
        if len(values) != whole(count):
            raise ValueError("it has other numbers than it should")
        return Many(values.tolist())

    return read


ARRAYS: dict[str, Reader] = {
    "floats": _many("<f8"),
    "ints": _many("<i8"),
    "array": _array,
    "scalar": _scalar,
    "objects": _objects,
    "fields": _fields,
    "strings": _strings,
    "numpy.str": _one(numpy.str_, str),
    "numpy.bytes": _one(numpy.bytes_, bytes),
    "numpy.void": _one(_void, numpy.ndarray),
    "dtype": lambda _, token: read_dtype(token[1]),
    "masked": _masked,
    "recarray": _one(lambda array: array.view(numpy.recarray), numpy.ndarray),
    "rng": _rng,
    "seeds": _seeds,
    "tensor": _tensor,
    "torch.rng": _torch_rng,
    "torch.dtype": _torch_dtype,
    "torch.device": _torch_device,
    "torch.Size": _torch_size,
}
