"""Messages with something in every field, for tests of the link."""

import numpy

from reactornb.cluster import messages as m
from reactornb.cluster.packing import pack

FOREVER = (2**63 - 1, 0)


def one_of_each():
    """A message of every class, with no field left empty."""
    weights, note = pack(numpy.arange(4000, dtype="<f4")), pack({"lr": 1e-3, "names": ["a", "ä"]})
    return [
        m.Greeting(bytes(range(32))),
        m.Hello(3, 2, b"n" * 32, b"p" * 32, {"python": "3.14.7t"}, {"numpy": "ab"}),
        m.Welcome(3, 2, b"q" * 32),
        m.Refused("fenced", "attempt 1 was replaced"),
        m.Program(1, ((0, 2), (1,)), b"\x80\x05N.", 17, 2, 5_000, True, 1_700_000_000_000_000_000, False, 20_000),
        m.Restore(4, note),
        m.Batch(
            7, FOREVER, (3, 1), (9, 0), 5, ((3, 0, 11, 0), (3, 1, 12, 1), (4, 0, 11, 0)), (weights, note), ((3, 0, 5, "lr", 1),)
        ),
        m.Halt(7),
        m.Save(7),
        m.Abort("another host has the share"),
        m.Bye("the run is over"),
        m.Ready("node7, 4711"),
        m.Report(
            7, True, (5, 0), (0, -1), False, 12, 96, ((3, 0, b"s" * 32), (3, 1, b"t" * 32)), ((4, 0, 2, 0),), (weights,),
            (9, 0), note, note, note, 123_456,
        ),
        m.Saved(7, note),
        m.Beat(),
        m.Failed(3, 1, "main.rollouts[3].on_weights", 4, 9, "ValueError", "no", "<ipython-input-4>", 12, "Traceback …"),
    ]  # fmt: skip


def plain(message):
    """A message as a tuple that compares by content."""

    def taken(value):
        if hasattr(value, "to_bytes") and hasattr(value, "pieces"):
            return ("packed", value.to_bytes())
        return tuple(map(taken, value)) if isinstance(value, tuple) else value

    return (type(message).__name__, *(taken(getattr(message, name)) for name in message.__dataclass_fields__))
