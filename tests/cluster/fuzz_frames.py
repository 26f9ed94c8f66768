"""Damaged frames: a receiver gets a message or a `WireError` (or the end of the stream), calls nothing, imports nothing, and takes little memory.

As a script: `fuzz_frames.py SEED COUNT` tries so many, and prints how many were refused, how many gave a message and how many ended early.
"""

import json
import random  # noqa: TID251 - what damages bytes is no reactor
import socket
import struct
import sys
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from wire_values import one_of_each

from reactornb.cluster import messages as m
from reactornb.cluster.errors import WireError
from reactornb.cluster.frames import Limits, frame_in, parts_of, receive_frame
from reactornb.cluster.packing import Packed, checked
from reactornb.cluster.wire import from_frame

LIMITS = Limits(frame=1 << 20, fields=1 << 16, parts=64)
MOST_MEMORY = 8 << 20
MOST_WORDS = 700
FORBIDDEN = (
    "import",
    "compile",
    "exec",
    "open",
    "os.",
    "subprocess.",
    "pickle.",
    "marshal.",
    "ctypes.",
    "code.__new__",
)
SCALARS = [None, True, False, 0, 1, -1, 2, 63, 1 << 31, 1 << 62, 1 << 63, 1 << 200, 0.5, 1e308, "", "a", "ab" * 16, "zz" * 32, [], {}, [[]], [0, 0], [0, -1], "é\ud800"]  # fmt: skip
KNOWN = {type(one).KIND: type(one) for one in one_of_each()}


def _replaced(rng, value):
    """A JSON value with one part of it changed."""
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        choice = rng.randrange(5)
        if choice == 0:
            return value[:at] + value[at + 1 :]
        if choice == 1:
            return [*value[:at], rng.choice(SCALARS), *value[at:]]
        return [*value[:at], _replaced(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(list(value))
        return {**value, name: _replaced(rng, value[name])}
    if type(value) is int and rng.random() < 0.5:
        return value + rng.choice([-1, 1, 1 << 40])
    if type(value) is str and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("0ag\0é") + value[at + 1 :]
    return rng.choice(SCALARS)


def _flipped(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 6])):
        at = rng.randrange(min(len(data), 64)) if rng.random() < 0.6 else rng.randrange(len(data))
        choice = rng.randrange(5)
        if choice == 0:
            del data[at:]
        elif choice == 1:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif choice == 2 and at + 8 <= len(data):
            data[at : at + 8] = struct.pack(
                "<Q", rng.choice([0, 1, 24, 64, len(data), 1 << 20, 1 << 40, (1 << 64) - 1])
            )
        else:
            data[at] ^= 1 << rng.randrange(8)
        if not data:
            break
    return bytes(data)


def attempts(seed, count):
    """So many damaged frames."""
    rng = random.Random(seed)
    whole = []
    for message in one_of_each():
        data = b"".join(m.frame(message))
        frame = frame_in(data, LIMITS)
        whole.append((data, message.KIND, json.loads(frame.fields), [bytes(view) for view in frame.values]))
    for _ in range(count):
        data, kind, fields, values = rng.choice(whole)
        choice = rng.randrange(4)
        if choice == 0:
            yield _flipped(rng, data)
            continue
        if choice == 1 and values:
            at = rng.randrange(len(values))
            values = [*values[:at], _flipped(rng, values[at]), *values[at + 1 :]]
        else:
            for _ in range(rng.choice([1, 1, 3])):
                fields = _replaced(rng, fields)
        if rng.random() < 0.1:
            kind = rng.choice([*KNOWN, 0, 99])
        yield b"".join(parts_of(kind, json.dumps(fields).encode(), [(len(v), [v]) for v in values]))


def _look_into(message):
    for name in message.__dataclass_fields__:
        held = getattr(message, name)
        for packed in held if isinstance(held, tuple) else (held,):
            if isinstance(packed, Packed):
                checked(name, packed)


def received(data):
    """What a receiver makes of these bytes: "refused", "made" or "ended"."""
    left, right = socket.socketpair()
    with left, right:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        left.sendall(data)
        left.close()
        right.settimeout(10)
        result = "ended"
        try:
            while (frame := receive_frame(right, LIMITS)) is not None:
                _look_into(from_frame(frame, KNOWN))
                result = "made"
        except WireError as error:
            words = str(error)
            if len(words) >= MOST_WORDS:
                raise AssertionError(words) from error
            return "refused"
        except EOFError:
            return "ended"
        return result


def main(seed, count):
    counted = {"refused": 0, "made": 0, "ended": 0}
    seen = []
    watched = [False]

    def audit(event, arguments):
        if watched[0] and event.startswith(FORBIDDEN):
            seen.append((event, str(arguments)[:200]))

    received(b"".join(m.frame(one_of_each()[6])))  # imports what the first use imports
    inputs = list(attempts(seed, count))
    sys.addaudithook(audit)
    tracemalloc.start()
    for data in inputs:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        watched[0] = True
        result = received(data)
        watched[0] = False
        counted[result] += 1
        assert tracemalloc.get_traced_memory()[1] - before < MOST_MEMORY, data
        assert not seen, (seen, data)
    sys.stdout.write(f"{counted['refused']} {counted['made']} {counted['ended']}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
