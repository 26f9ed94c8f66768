"""Values as bytes: a JSON text plus raw buffers, for checkpoints, journals and the way to other machines.

`encode(value, classes)` gives an `Encoded`; `decode(data, classes)` gives an equal value, of the same fingerprint. **Decoding executes nothing
that the data name**: no import, no call of a constructor, no attribute of a module. Classes and functions are looked up in the `Classes` that
the caller declares; whatever does not fit exactly is a `MalformedDataError`.

What can be encoded:

- None, booleans, integers of any size, floats by their bits, complex numbers, text (lone surrogates too), bytes, bytearrays, `...`, ranges, slices;
- lists, tuples, dictionaries with any keys, in their order, sets, frozensets, deques, `OrderedDict`, `defaultdict`, `Counter`, mapping proxies;
- decimals, fractions, dates, times, durations, fixed time zones, UUIDs, paths;
- NumPy: arrays of every dtype (structured, of objects, of text, dates, any byte order, no elements), scalars, masked arrays, record arrays,
  dtypes, generators, `RandomState`, bit generators, seed sequences; `random.Random`;
- torch, where the program has imported it: dense tensors, parameters, gradients of leaves, generators, dtypes, devices, sizes;
- values of declared classes (`Classes`): dataclasses, NamedTuples, enums, plain classes with a dictionary or slots, subclasses of Python's
  containers and of arrays; declared classes and functions themselves.

One object that is met twice in a value is one object again, also where it contains itself (but for tuples, frozensets and what
else is complete only when all its parts are). Views of one memory become arrays of their own. Memory layout is not kept: arrays come back in C order.
Strings and numbers count as values: whether two equal ones are one object is not kept.

`layout` has the bytes, `write` and `read` the JSON text: a flat list of tokens, each value before its parts, so that no depth is too large.
A JSON scalar stands for itself; every other value is a list, a tag first.
"""

from __future__ import annotations

from reactornb.runtime.codec.classes import Classes
from reactornb.runtime.codec.layout import HEADER_BYTES, Encoded, total_bytes
from reactornb.runtime.codec.read import decode
from reactornb.runtime.codec.write import encode

__all__ = ["HEADER_BYTES", "Classes", "Encoded", "decode", "encode", "total_bytes"]
