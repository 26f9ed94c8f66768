"""Damaged encodings: `decode` gives a value or a `MalformedDataError`, calls nothing, imports nothing, opens nothing, and takes little memory.

As a script: `fuzz_codec.py SEED COUNT` tries so many and prints how many were refused and how many gave a value.
"""

import json
import random  # noqa: TID251 - what damages bytes is no reactor
import sys
import tracemalloc
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import codec_values
import fingerprint_values as values

from reactornb.errors import MalformedDataError
from reactornb.runtime.codec import Encoded, decode, encode

MOST_MEMORY = 32 << 20
"""Bytes that decoding some kilobytes may take."""

MOST_WORDS = 600
FORBIDDEN = (
    "import",
    "compile",
    "exec",
    "open",
    "os.",
    "subprocess.",
    "socket.",
    "pickle.",
    "marshal.",
    "ctypes.",
    "code.__new__",
)
TAGS = [
    "^", "floats", "ints", "int", "float", "complex", "str", "...", "list", "tuple", "set", "frozenset", "dict", "Counter", "OrderedDict", "defaultdict", "mappingproxy",
    "deque", "bytes", "bytearray", "range", "slice", "Decimal", "Fraction", "timedelta", "date", "time", "datetime", "timezone", "UUID", "path", "random", "class",
    "function", "enum", "flag", "object", "namedtuple", "saved", "extended", "array", "scalar", "objects", "fields", "strings", "numpy.str", "numpy.bytes",
    "numpy.void", "dtype", "masked", "recarray", "rng", "seeds", "tensor", "torch.rng", "torch.dtype", "torch.device", "torch.Size", "no such tag",
]  # fmt: skip
NAMES = [
    "builtins:eval",
    "os:system",
    "builtins:type",
    "builtins:list",
    "fingerprint_values:Point",
    "codec_values:Touchy",
    "codec_values:Reducing",
    "x",
]
SCALARS = [None, True, False, 0, 1, -1, 2, 3, 624, 625, 1 << 31, 1 << 40, 1 << 62, 1 << 63, 1 << 200, 0.5, -0.0, 1e308, "", "a", "O", "|O", "|O8", "<f8", "<U0", "<U999999999", "|V0", "<M8[s]", "AAAA", [], {}]  # fmt: skip
WORDS = ["__class__", "__dict__", "size", "x", "y", "note", "content"]


def damaged(rng, tokens, lengths):
    """A list of tokens with some of them changed."""
    tokens = json.loads(json.dumps(tokens))
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at = rng.randrange(len(tokens))
        choice = rng.randrange(9)
        if choice == 0:
            del tokens[at]
        elif choice == 1:
            tokens.insert(at, rng.choice(tokens))
        elif choice == 2:
            tokens[at] = rng.choice(SCALARS)
        elif choice == 3:
            tokens.insert(at, [rng.choice(TAGS), *rng.choices([*SCALARS, *NAMES, *WORDS, WORDS], k=rng.randrange(5))])
        elif choice == 4:
            tokens[at] = [rng.choice(["object", "namedtuple", "extended"]), rng.choice(NAMES), rng.sample(WORDS, 2)]
        elif choice == 5:
            tokens[at] = ["^", rng.randrange(len(tokens))]
        elif type(tokens[at]) is list and tokens[at]:
            _change(rng, tokens[at])
        if not tokens:
            return [None]
    return tokens


def _change(rng, token):
    at = rng.randrange(len(token))
    if type(token[at]) is list and token[at] and rng.random() < 0.7:
        _change(rng, token[at])
    elif rng.random() < 0.2:
        token[at] = rng.choice(TAGS)
    elif type(token[at]) is int and rng.random() < 0.5:
        token[at] += rng.choice([-1, 1, 8, 1 << 33])
    elif type(token[at]) is str and token[at] and rng.random() < 0.5:
        where = rng.randrange(len(token[at]))
        token[at] = token[at][:where] + rng.choice("0aA=|<>8fV[]{}\0é") + token[at][where + 1 :]
    else:
        token[at] = rng.choice([*SCALARS, *NAMES, *WORDS])


def flipped(rng, data):
    """Bytes of which some are changed, lost or more."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        choice, at = (
            rng.randrange(5),
            rng.randrange(min(len(data), 400)) if rng.random() < 0.5 else rng.randrange(len(data)),
        )
        if choice == 0:
            del data[at:]
        elif choice == 1:
            data[at:at] = rng.randbytes(rng.randrange(9))
        else:
            data[at] = rng.randrange(256) if choice == 2 else data[at] ^ 1 << rng.randrange(8)
        if not data:
            break
    return bytes(data)


def attempts(seed, count):
    """So many damaged encodings."""
    rng = random.Random(seed)
    classes = codec_values.declared()
    encoded = [
        (one, json.loads(one.tree)) for one in (encode([[1.5] * 40, {i: i for i in range(40)}, tuple(range(90))]),)
    ]
    while len(encoded) < 60:
        one = encode(values.build(rng, values.describe(rng)), classes)
        if one.nbytes < 20_000:
            encoded.append((one, json.loads(one.tree)))
    for _ in range(count):
        one, tokens = rng.choice(encoded)
        choice = rng.randrange(4)
        if choice == 0:
            yield flipped(rng, one.to_bytes())
        elif choice == 1:
            yield Encoded(flipped(rng, one.tree), one.buffers).to_bytes()
        else:
            buffers = tuple(memoryview(flipped(rng, b)) if rng.random() < 0.1 and len(b) else b for b in one.buffers)
            yield Encoded(json.dumps(damaged(rng, tokens, one.buffers)).encode(), buffers).to_bytes()


def main(seed, count):
    classes = codec_values.declared()
    inputs = list(attempts(seed, count))
    refused = made = 0
    seen = []
    watched = [False]

    def audit(event, arguments):
        if watched[0] and event.startswith(FORBIDDEN):
            seen.append((event, str(arguments)[:200]))

    sys.addaudithook(audit)
    warnings.simplefilter("ignore")
    tracemalloc.start()
    for data in inputs:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        words = ""
        watched[0] = True
        try:
            value = decode(data, classes)  # kept until memory is looked at
        except MalformedDataError as error:
            value, words = None, str(error)
        watched[0] = False
        made, refused = (made, refused + 1) if words else (made + 1, refused)
        assert len(words) < MOST_WORDS, words
        peak = tracemalloc.get_traced_memory()[1] - before
        assert peak < MOST_MEMORY, (peak, data)
        assert not seen, (seen, data)
        assert not codec_values.touched, (codec_values.touched, data)
        del value
    sys.stdout.write(f"{refused} {made}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
