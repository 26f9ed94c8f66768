"""Random values for a fingerprint, from descriptions that say by themselves whether two values are equal.

A description is a tree of tuples. `build` makes a value of it, each time another object: sharing, memory layout, padding, the order in
which a set was filled and what a mask hides are drawn anew. Two values are equal exactly if their descriptions are.

As a script: `fingerprint_values.py SEED COUNT` prints, a line each, the digests of pairs and whether their descriptions are equal.
"""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import random  # noqa: TID251 - what makes values is no reactor
import struct
import sys
import uuid

import numpy as np

__all__ = ["build", "describe", "mutate", "pairs"]


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Bits(enum.Flag):
    A = 1
    B = 2
    C = 4


class Level(enum.IntEnum):
    LOW = 2
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: object
    y: object


@dataclasses.dataclass
class Spot:
    x: object
    y: object


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: object
    y: object


class Plain:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Kept:
    """Takes itself apart in a way of its own."""

    def __init__(self, x, y):
        self.x, self.y, self.lock = x, y, open

    def __reduce__(self):
        return (Kept, (self.x, self.y))


Pair = collections.namedtuple("Pair", "x y")  # noqa: PYI024 - what programs use
Twin = collections.namedtuple("Twin", "x y")  # noqa: PYI024
Renamed = collections.namedtuple("Pair", "x z")  # noqa: PYI024


class Table(dict):
    pass


class Row(list):
    pass


class Crowd(set):
    pass


class Word(str):  # noqa: SLOT000 - it carries attributes
    pass


class Meters(np.ndarray):
    pass


PAIRED = {
    "point": Point, "spot": Spot, "slotted": Slotted, "plain": Plain, "kept": Kept, "pair": Pair, "twin": Twin, "renamed": Renamed,
}  # fmt: skip
SEQUENCES = {"list": list, "tuple": tuple, "deque": collections.deque, "row": Row}
TABLES = {
    "dict": dict, "table": Table, "ordered": collections.OrderedDict, "default": lambda items: collections.defaultdict(int, items),
}  # fmt: skip
SETS = {"set": set, "frozenset": frozenset, "crowd": Crowd}
RANDOMS = {
    "generator": lambda seed: np.random.Generator(np.random.PCG64(seed)),
    "philox": lambda seed: np.random.Generator(np.random.Philox(seed)),
    "state": np.random.RandomState,
    "seeds": np.random.SeedSequence,
    "random": random.Random,
}
DTYPES = {
    "?": 2, "i1": 100, "u1": 100, "<i4": 9999, ">i4": 9999, "<i8": 9999, "<f2": 99, "<f4": 999, "<f8": 999, "<c16": 999, "g": 999, "G": 999, "M8[ns]": 999,
    "M8[D]": 999, "m8[s]": 999, "U3": 99, "U5": 99, "S4": 99,
}  # fmt: skip
FIELDS = {
    "aligned": np.dtype([("a", "i1"), ("b", "<f8")], align=True),
    "named": np.dtype([("a", "i1"), ("c", "<f8")], align=True),
    "nested": np.dtype([("a", "i1"), ("b", np.dtype([("c", "u1"), ("d", "<i4")], align=True), (2,))], align=True),
    "objects": np.dtype([("a", "i1"), ("b", object)], align=True),
}


# -- descriptions -------------------------------------------------------------------------------------------------------


def describe(rng, depth=3):
    """A random description."""
    return rng.choice(LEAVES if depth == 0 or rng.random() < 0.3 else INNER)(rng, depth)


def _int(rng, _):
    bits = rng.choice([3, 31, 62, 63, 64, 65, 20_000])
    return ("int", rng.getrandbits(bits) * rng.choice([1, -1]))


def _float(rng, _):
    special = [0, 1 << 63, 0x7FF8 << 48, 0xFFF8 << 48, (0x7FF8 << 48) + 5, 0x7FF0 << 48, 0xFFF0 << 48]
    return ("float", rng.choice([*special, struct.unpack("<Q", struct.pack("<d", rng.random()))[0]]))


def _text(rng):
    return "".join(rng.choice("abcäß\0 😀") for _ in range(rng.choice([0, 1, 2, 5, 700])))


def _key(rng, depth=1):
    """What can be hashed, and is equal to nothing of another kind."""
    which = rng.randrange(5 if depth else 3)
    if which == 0:
        return ("int", rng.randrange(10, 10**6))
    if which == 1:
        return ("str", _text(rng))
    if which == 2:
        return ("color", rng.choice(["RED", "BLUE"]))
    if which == 3:
        return ("tuple", tuple(_key(rng, 0) for _ in range(rng.randrange(3))))
    return ("frozenset", _members(rng, 0))


def _members(rng, depth=1):
    return tuple(sorted({_key(rng, depth) for _ in range(rng.randrange(6))}, key=repr))


def _array(rng, _):
    dtype = rng.choice(list(DTYPES))
    shape = rng.choice([(), (), (0,), (0, 2), (1,), (3,), (2, 2), (4, 1), (1, 4), (2, 3, 2), (40, 8)])
    kind = "scalar" if shape == () and rng.random() < 0.5 else rng.choice(["array", "array", "meters", "masked"])
    size = int(np.prod(shape))
    values = tuple(rng.randrange(DTYPES[dtype]) for _ in range(size))
    if kind == "masked":
        mask = tuple(rng.randrange(2) for _ in range(size))
        return (kind, dtype, shape, tuple(0 if m else v for v, m in zip(values, mask, strict=True)), mask)
    return (kind, dtype, shape, values)


def _structured(rng, _):
    fields = rng.choice(list(FIELDS))
    size = rng.randrange(4)
    kind = rng.choice(["structured", "record"]) if fields != "objects" else "structured"
    return (kind, fields, tuple((rng.randrange(9), rng.randrange(9)) for _ in range(size)))


def _cycle(rng, _):
    return ("cycle", rng.choice(["list", "dict", "object", "long"]), rng.randrange(5), rng.randrange(3))


LEAVES = [
    lambda rng, _: ("none",),
    lambda rng, _: ("bool", rng.random() < 0.5),
    lambda rng, _: ("ellipsis",),
    _int, _int, _float, _float,
    lambda rng, _: ("complex", rng.randrange(9), rng.randrange(9)),
    lambda rng, _: ("str", _text(rng)), lambda rng, _: ("word", _text(rng)),
    lambda rng, _: (rng.choice(["bytes", "bytearray"]), _text(rng).encode()),
    lambda rng, _: ("color", rng.choice(["RED", "BLUE"])),
    lambda rng, _: ("bits", rng.randrange(8)), lambda rng, _: ("level", rng.choice(["LOW", "HIGH"])),
    lambda rng, _: ("range", rng.randrange(9), rng.randrange(9)),
    lambda rng, _: ("decimal", rng.randrange(99), rng.randrange(5)),
    lambda rng, _: ("fraction", rng.randrange(1, 9) * 7**5000, 11),
    lambda rng, _: ("date", rng.randrange(1, 28)),
    lambda rng, _: ("path", rng.choice(["a", "a/b", "/a"])),
    lambda rng, _: ("uuid", rng.randrange(9)),
    lambda rng, _: (rng.choice(list(RANDOMS)), rng.randrange(5), rng.randrange(2)),
    lambda rng, _: ("type", rng.choice(["int", "Point", "Pair", "Twin"])),
    lambda rng, _: ("function", rng.choice(["len", "build", "sin", "describe"])),
    _array, _array, _array, _array, _structured, _structured, _cycle,
    lambda rng, _: ("strings", tuple(_text(rng) for _ in range(rng.randrange(4)))),
    lambda rng, _: (rng.choice(list(SETS)), _members(rng)),
    lambda rng, _: ("deep", rng.randrange(200, 210)),
]  # fmt: skip
INNER = [
    lambda rng, d: (rng.choice(list(SEQUENCES)), tuple(describe(rng, d - 1) for _ in range(rng.randrange(4)))),
    lambda rng, d: (rng.choice(list(TABLES)), tuple((k, describe(rng, d - 1)) for k in _members(rng))),
    lambda rng, d: (rng.choice(list(PAIRED)), describe(rng, d - 1), describe(rng, d - 1)),
    lambda rng, d: (rng.choice(["table+", "row+", "crowd+", "word+", "point+", "meters+"]), rng.randrange(3), describe(rng, d - 1)),
    lambda rng, d: ("objects", tuple(describe(rng, d - 1) for _ in range(rng.randrange(4)))),
    lambda rng, d: ("twice", describe(rng, d - 1)),
]  # fmt: skip
SIBLINGS = [
    set(SEQUENCES), set(TABLES), set(SETS), set(PAIRED), {"array", "meters"}, {"bytes", "bytearray"}, {"str", "word"},
    {"structured", "record"}, set(RANDOMS), {"table+", "row+", "crowd+", "word+", "point+", "meters+"},
]  # fmt: skip


def mutate(rng, description):
    """A description that differs in one place."""
    for _ in range(1000):
        made = _mutated(rng, description)
        if made != description:
            return made
    raise AssertionError(description)


def _mutated(rng, description):
    kind, *rest = description
    inner = [i for i, part in enumerate(rest) if _is_description(part)]
    listed = [i for i, part in enumerate(rest) if part and type(part) is tuple and all(map(_is_description, part))]
    if kind not in SETS and inner and rng.random() < 0.7:
        i = rng.choice(inner)
        rest[i] = _mutated(rng, rest[i])
        return (kind, *rest)
    if kind not in SETS and listed and rng.random() < 0.8:
        i = rng.choice(listed)
        parts = list(rest[i])
        at = rng.randrange(len(parts))
        choice = rng.randrange(3)
        if choice == 0:
            del parts[at]
        elif choice == 1:
            parts.insert(at, describe(rng, 0))
        else:
            parts[at] = _mutated(rng, parts[at])
        return (kind, *rest[:i], tuple(parts), *rest[i + 1 :])
    for siblings in SIBLINGS:
        if kind in siblings and rng.random() < 0.5 and not (kind == "structured" and rest[0] == "objects"):
            return (rng.choice(sorted(siblings)), *rest)
    if kind in ("array", "scalar", "structured", "masked") and rng.random() < 0.5:
        fresh = _array(rng, 0) if kind != "structured" else _structured(rng, 0)
        return fresh if rng.random() < 0.3 or not rest[-1] else _nudged(rng, description)
    return describe(rng, 0)


def _nudged(rng, description):
    """One element of an array changed."""
    kind, dtype, shape, *values = description
    if kind not in ("array", "scalar"):
        return description
    (elements,) = map(list, values)
    elements[rng.randrange(len(elements))] = rng.randrange(DTYPES[dtype])
    return (kind, dtype, shape, tuple(elements))


def _is_description(part):
    return type(part) is tuple and bool(part) and type(part[0]) is str and part[0] in KNOWN


# -- values ---------------------------------------------------------------------------------------------------------------


def build(rng, description):  # noqa: C901 - one case a kind
    """A value of this description; what does not count is drawn."""
    kind, *rest = description
    match kind, rest:
        case "none", _:
            return None
        case "ellipsis", _:
            return ...
        case "bool" | "int", [value]:
            return (
                int.from_bytes(value.to_bytes(9000, "little", signed=True), "little", signed=True)
                if kind == "int"
                else value
            )
        case "float", [bits]:
            return struct.unpack("<d", struct.pack("<Q", bits))[0]
        case "complex", [real, imag]:
            return complex(real, imag)
        case "str", [text]:
            return rng.choice([text, text.encode().decode()])
        case "word", [text]:
            return Word(text)
        case "bytes" | "bytearray", [raw]:
            return {"bytes": bytes, "bytearray": bytearray}[kind](raw)
        case "color", [name]:
            return Color[name]
        case "bits", [value]:
            return Bits(value)
        case "level", [name]:
            return Level[name]
        case "range", [start, stop]:
            return range(start, start + stop + 1)
        case "decimal", [digits, exponent]:
            return decimal.Decimal(digits).scaleb(exponent)
        case "fraction", [above, below]:
            return fractions.Fraction(above, below)
        case "date", [day]:
            return datetime.datetime(2020, 1, day, tzinfo=datetime.UTC)
        case "path", [name]:
            return pathlib.PurePosixPath(name)
        case "uuid", [number]:
            return uuid.UUID(int=number)
        case "type", [name]:
            return {"int": int, "Point": Point, "Pair": Pair, "Twin": Twin}[name]
        case "function", [name]:
            return {"len": len, "build": build, "sin": np.sin, "describe": describe}[name]
        case "deep", [depth]:
            value = []
            for _ in range(depth):
                value = [value]
            return value
        case "strings", [texts]:
            return np.array(texts, dtype=np.dtypes.StringDType())
        case "objects", [parts]:
            made = np.empty(len(parts), dtype=object)
            for i, part in enumerate(parts):
                made[i] = build(rng, part)
            return made
        case "twice", [part]:
            value = build(rng, part)
            return [value, value if rng.random() < 0.5 else build(rng, part)]
        case "cycle", _:
            return _circle(*rest)
    if kind in RANDOMS:
        made = RANDOMS[kind](rest[0])
        if rest[1]:
            if kind == "seeds":
                made.spawn(1)
            else:
                made.random()
        return made
    if kind in SEQUENCES:
        return SEQUENCES[kind](build(rng, part) for part in rest[0])
    if kind in TABLES:
        return TABLES[kind]((build(rng, key), build(rng, part)) for key, part in rest[0])
    if kind in SETS:
        members = [build(rng, part) for part in rest[0]]
        rng.shuffle(members)
        return SETS[kind](members)
    if kind in PAIRED:
        return PAIRED[kind](*(build(rng, part) for part in rest))
    if kind.endswith("+"):
        return _extended(rng, kind, *rest)
    if kind in ("structured", "record"):
        return _fields(rng, kind, *rest)
    return _elements(rng, kind, *rest)


def _circle(kind, number, length):
    made = [number]
    if kind == "list":
        made += [made, [1, made]]
    elif kind == "dict":
        made = {"me": None, "n": number}
        made["me"] = (made,)
    elif kind == "object":
        made = Plain(number, None)
        made.y = [Plain(made, i) for i in range(length)]
        made.z = made
    else:
        end = made
        for i in range(length):
            end.append([i])
            end = end[-1]
        end.append(made)
    return made


def _extended(rng, kind, number, part):
    made = {
        "table+": lambda: Table(a=number),
        "row+": lambda: Row([number]),
        "crowd+": lambda: Crowd([number]),
        "word+": lambda: Word(number),
        "point+": lambda: Point(number, 0),
        "meters+": lambda: np.full(3, float(number)).view(Meters),
    }[kind]()
    made.note = build(rng, part)
    if rng.random() < 0.5:  # the order of attributes does not count
        del made.note
        made.other = 1
        made.note = build(rng, part)
        return made
    made.other = 1
    return made


def _noise(rng, shape, dtype):
    """An array whose every byte, padding too, is drawn."""
    if dtype.hasobject:
        return np.empty(shape, dtype)
    raw = np.frombuffer(rng.randbytes(int(np.prod(shape)) * dtype.itemsize), np.uint8)
    return raw.view(dtype).reshape(shape).copy() if raw.size else np.empty(shape, dtype)


def _fields(rng, kind, fields, rows):
    made = _noise(rng, (len(rows),), FIELDS[fields])
    for i, (a, b) in enumerate(rows):
        made["a"][i] = a
        if fields == "nested":
            made["b"]["c"][i] = b
            made["b"]["d"][i] = a
        elif fields == "named":
            made["c"][i] = b
        else:
            made["b"][i] = [b] if fields == "objects" else b
    return made.view(np.recarray) if kind == "record" else made


def _elements(rng, kind, dtype, shape, values, mask=()):
    plain = np.array(values, dtype=np.int64 if np.dtype(dtype).kind != "U" else object).reshape(shape)
    made = _noise(rng, shape, np.dtype(dtype))
    made[...] = plain.astype(dtype) if kind != "scalar" or np.dtype(dtype).kind not in "US" else str(plain)
    if kind == "scalar":
        return made[()]
    layout = rng.randrange(4)
    if layout == 1 and made.ndim:
        made = np.asfortranarray(made)
    elif layout == 2 and made.ndim:
        made = np.repeat(made, 2, axis=0)[::2]
    elif layout == 3:
        made.setflags(write=False)
    if kind == "meters":
        return made.view(Meters)
    if kind == "masked":
        hidden = np.array(mask, dtype=bool).reshape(shape)
        made = made.copy()
        made[hidden] = (
            _noise(rng, shape, np.dtype("u1"))[hidden].astype(np.dtype(dtype)) if made.dtype.kind not in "mM" else 0
        )
        none = np.ma.nomask if not hidden.any() and rng.random() < 0.5 else hidden
        return np.ma.MaskedArray(made, mask=none)
    return made


KNOWN = {
    "none", "ellipsis", "bool", "int", "float", "complex", "str", "word", "bytes", "bytearray", "color", "bits", "level", "range", "decimal",
    "fraction", "date", "path", "uuid", "type", "function", "deep", "strings", "objects", "twice", "cycle", "structured", "record", "array", "scalar",
    "meters", "masked", "table+", "row+", "crowd+", "word+", "point+", "meters+", *RANDOMS, *SEQUENCES, *TABLES, *SETS, *PAIRED,
}  # fmt: skip


def pairs(seed, count):
    """`count` pairs of descriptions: a third equal, a third that differ in one place, a third drawn apart."""
    rng = random.Random(seed)
    for i in range(count):
        left = describe(rng)
        yield left, (left if i % 3 == 0 else mutate(rng, left) if i % 3 == 1 else describe(rng))


def main(seed, count):
    from reactornb.runtime.fingerprint import digest

    rng = random.Random()
    for left, right in pairs(seed, count):
        sys.stdout.write(f"{digest(build(rng, left))} {digest(build(rng, right))} {int(left == right)}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
