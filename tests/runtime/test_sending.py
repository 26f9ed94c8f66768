"""What is sent is what arrives: senders that go on changing their objects, readers that change what they received."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    Program,
    Reactor,
    State,
    Timer,
    connect,
    enclave,
    ms,
    ns,
    reaction,
    startup,
)  # fmt: skip
from reactornb.errors import ReactionError, SendingError, SharedValueError
from reactornb.testing import run_to_end


class Point(NamedTuple):
    name: str
    at: Any


@dataclass
class Message:
    count: int = 0
    items: list = field(default_factory=list)


@dataclass(frozen=True)
class Sealed:
    at: Any


def grow(value):
    value.append(len(value))


def masked():
    return np.ma.array([0, 1, 2], mask=[False, True, False])


# name: what makes it, how the sender changes its own, what a reader sees of it
SENT = {
    "list": (lambda: [0], grow, list),
    "list in a dict": (lambda: {"a": [0]}, lambda v: grow(v["a"]), lambda v: list(v["a"])),
    "list in a tuple": (lambda: ([0], 1), lambda v: grow(v[0]), lambda v: list(v[0])),
    "array in a list": (lambda: [np.zeros(2)], lambda v: v.__setitem__(0, v[0] + 1), lambda v: v[0].tolist()),
    "set": (lambda: {0}, lambda v: v.add(len(v)), sorted),
    "dict": (dict, lambda v: v.update({len(v): 1}), dict),
    "ordered dict": (OrderedDict, lambda v: v.update({len(v): 1}), dict),
    "deque": (deque, grow, list),
    "bytearray": (bytearray, lambda v: v.extend(b"x"), bytes),
    "dataclass": (Message, lambda v: setattr(v, "count", v.count + 1), lambda v: v.count),
    "list in a dataclass": (Message, lambda v: grow(v.items), lambda v: list(v.items)),
    "list in a frozen dataclass": (lambda: Sealed([0]), lambda v: grow(v.at), lambda v: list(v.at)),
    "view in a tuple": (lambda: (1, np.zeros(4)[1:]), lambda v: v[1].base.__iadd__(1), lambda v: v[1].tolist()),
    "empty dict in a tuple": (lambda: (1, {}), lambda v: v[1].update({len(v[1]): 1}), lambda v: dict(v[1])),
    "list in a named tuple": (lambda: Point("a", [0]), lambda v: grow(v.at), lambda v: (v.name, list(v.at))),
    "view of an array": (lambda: np.zeros(4)[1:], lambda v: v.base.__iadd__(1), lambda v: v.tolist()),
    "reshaped array": (lambda: np.zeros(4).reshape(2, 2), lambda v: v.base.__iadd__(1), lambda v: v.tolist()),
    "read-only view": (lambda: np.broadcast_to(np.zeros(3), (2, 3)), lambda v: v.base.base.__iadd__(1) if v.base.base is not None else v.base.__iadd__(1), lambda v: v.tolist()),
    "record array": (lambda: np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), lambda v: v.base.__setitem__(0, (9, 9)) if v.base is not None else None, lambda v: v.tolist()),
}  # fmt: skip


def sender_of(make, change, read, *, copy=None):
    class Sender(Reactor):
        out = Output(copy=copy)
        t = Timer(0, ms(1))

        @reaction(startup)
        def on_startup(self):
            self.mine = make()

        @reaction(t)
        def on_t(self, out):
            out.set(self.mine)
            change(self.mine)

    class Reader(Reactor):
        inp = Input()
        seen = Output()

        @reaction(inp)
        def on_inp(self, inp, seen):
            seen.set(repr(read(inp.value)))

    return Sender, Reader


@pytest.mark.parametrize("how", ["at once", "delayed", "enclave"])
@pytest.mark.parametrize("name", SENT)
def test_a_sender_that_goes_on_changing_its_own_changes_nothing_that_was_sent(name, how):
    make, change, read = SENT[name]
    sender, reader = sender_of(make, change, read)

    class Main(Reactor):
        a = enclave(sender()) if how == "enclave" else sender()
        b = reader()
        connect(a.out, b.inp, after=None if how == "at once" else ms(1))

    found = run_to_end(Main(), until=ms(3), workers=1).values("b.seen")
    expected, mine = [], make()
    for _ in range(4 if how == "at once" else 3):
        expected.append(repr(read(mine)))
        change(mine)
    assert [v for _, v in found] == expected


CHANGES = {
    "list": ([1], lambda v: v.append(2)),
    "dict": ({"a": 1}, lambda v: v.__setitem__("b", 2)),
    "nested list": ({"a": [1]}, lambda v: v["a"].sort()),
    "empty dict in a tuple": ((1, {}), lambda v: v[1].__setitem__("b", 2)),
    "array in a tuple": ((1, np.zeros(2)), lambda v: v[1].__setitem__(0, 1)),
    "set": ({1}, lambda v: v.clear()),
    "array": (np.zeros(2), lambda v: v.__setitem__(0, 1)),
    "array in a dict": ({"a": np.zeros(2)}, lambda v: v["a"].fill(1)),
    "masked array": (masked(), lambda v: v.__setitem__(0, 5)),
    "mask": (masked(), lambda v: v.__setitem__(0, np.ma.masked)),
    "mask that was none": (np.ma.array([1, 2]), lambda v: v.__setitem__(0, np.ma.masked)),
    "record array": (np.rec.array([(1, 2.0)], names="a,b"), lambda v: v.a.__setitem__(0, 9)),
    "matrix": (np.asmatrix(np.eye(2)), lambda v: v.__setitem__((0, 0), 7)),
    "array of a list": ([np.array([[], None], dtype=object)], lambda v: v[0][0].append(1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_reader_that_changes_what_several_share_is_an_error(name):
    value, change = CHANGES[name]

    class Sender(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(value)

    class Reader(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            change(inp.value)

    class Main(Reactor):
        a = Sender()
        b = Bank(Reader, 3)
        connect(a.out, b.inp)

    with pytest.raises(
        ReactionError, match=r"read-only|was sent on main.a.out is shared.*Input\(mutable=True\)"
    ) as info:
        Program(Main).run(workers=1, fast=True)
    assert isinstance(info.value.__cause__, (SharedValueError, ValueError))


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize("name", ["list", "dict", "nested list", "set", "array", "array in a dict", "masked array"])
def test_a_mutable_input_has_its_own_and_nobody_else_sees_what_it_does(name, readers):
    value, change = CHANGES[name]

    class Sender(Reactor):
        out = Output()
        mine = Output()
        t = Timer(0, ms(1))

        @reaction(t)
        def on_t(self, out, mine):
            if self.tag.time_ns == 0:
                out.set(value)
            mine.set(repr(out.value))

    class Reader(Reactor):
        inp = Input(mutable=True)

        @reaction(inp)
        def on_inp(self, inp):
            change(inp.value)

    class Main(Reactor):
        a = Sender()
        b = Bank(Reader, readers)
        connect(a.out, b.inp)

    before = repr(value)
    found = run_to_end(Main(), until=ms(1)).values("a.mine")
    assert [v for _, v in found] == [before, before]


def test_a_tuple_in_which_nothing_is_copied_arrives_itself_with_its_array_read_only():
    from reactornb.runtime.sending import settled

    step = (np.zeros(4, np.float32), 1.0, False)
    assert settled(step, "a.out") is step
    assert not step[0].flags.writeable
    assert settled(step, "a.out") is step


def test_what_was_received_is_a_list_like_any_other():
    class Sender(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set({"a": [1, 2], "b": {3}})

    class Reader(Reactor):
        inp = Input()
        seen = Output()

        @reaction(inp)
        def on_inp(self, inp, seen):
            v = inp.value
            assert isinstance(v, dict)
            assert v == {"a": [1, 2], "b": {3}}
            mine = v.copy()
            mine["c"] = [*v["a"], 3]
            mine["a"] = list(v["a"])
            mine["a"].append(9)
            own = v["b"] | {4}
            own.add(5)
            seen.set(repr((mine["a"], sorted(own), v["a"] + [3])))

    class Main(Reactor):
        a = Sender()
        b = Reader()
        connect(a.out, b.inp)

    assert run_to_end(Main()).values("b.seen")[0][1] == "([1, 2, 9], [3, 4, 5], [1, 2, 3])"


def test_a_value_that_was_sent_can_be_sent_on_and_has_the_fingerprint_of_a_plain_one():
    from reactornb.runtime.fingerprint import digest
    from reactornb.runtime.sending import settled

    plain = {"a": [1, {2}], "b": (np.arange(3), [4])}
    sent = settled(plain, "main.a.out")
    assert settled(sent, "main.b.out") is sent
    assert digest(sent) == digest(plain)


@pytest.mark.parametrize("what", ["port", "multiport", "action", "in a list"])
def test_sending_a_port_instead_of_its_value_is_an_error_with_the_fix(what):
    class Sender(Reactor):
        out = Output(width=2)
        act = LogicalAction()
        result = Output()

        @reaction(startup)
        def on_startup(self, out, act, result):
            result.set({"port": out[0], "multiport": out, "action": act, "in a list": [out[1]]}[what])

    with pytest.raises(ReactionError, match=r"sender.result was given .* itself.*(\.value|\.values)\)") as info:
        Program(Sender).run(workers=1, fast=True)
    assert isinstance(info.value.__cause__, SendingError)


def test_what_is_scheduled_is_settled_too():
    class Main(Reactor):
        act = LogicalAction()
        seen = Output()
        mine = State([0])

        @reaction(startup)
        def on_startup(self, act):
            act.schedule(ms(1), self.mine)
            self.mine.append(1)

        @reaction(act)
        def on_act(self, act, seen):
            seen.set(repr(act.value))

    assert run_to_end(Main()).values("seen")[0][1] == "[0]"


class Box:
    def __init__(self):
        self.n = 0


@pytest.mark.parametrize(("asked", "expected"), [(True, ["0", "1", "2"]), (False, ["1", "2", "3"])])
def test_output_copy_says_whether_objects_are_copied(asked, expected):
    sender, reader = sender_of(Box, lambda v: setattr(v, "n", v.n + 1), lambda v: v.n, copy=asked)

    class Main(Reactor):
        a = sender()
        b = reader()
        connect(a.out, b.inp)

    assert [v for _, v in run_to_end(Main(), until=ms(2)).values("b.seen")] == expected


def test_copy_false_leaves_arrays_writable():
    sender, reader = sender_of(lambda: np.zeros(1), lambda v: v.__iadd__(1), lambda v: float(v[0]), copy=False)

    class Main(Reactor):
        a = sender()
        b = Bank(reader, 2)
        connect(a.out, b.inp)

    assert len(run_to_end(Main(), until=ms(1)).values("seen")) == 4


@pytest.mark.parametrize("kind", ["cyclic", "deep"])
def test_containers_that_cannot_be_walked_go_as_they_are(kind):
    value: list = []
    if kind == "cyclic":
        value.append(value)
    else:
        for _ in range(100_000):
            value = [value]

    class Main(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(value)

    Program(Main).run(workers=1, fast=True)


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (0.5, r"bare number.*ms\(0.5\)"),
        (10, r"10 is a bare number.*ms\(10\)"),
        (1e6, r"bare number"),
        (np.int64(5), r"5 is a bare number.*ns\(5\)"),
        (ms(-1), "back in time"),
        (ns(10**30), "beyond the end of logical time"),
        ("1s", r"'1s' is text; write sec\(1\)"),
        (None, "no duration"),
        (True, "no duration"),
        (float("nan"), "bare number"),
    ],
)
@pytest.mark.parametrize("kind", ["LogicalAction", "PhysicalAction"])
def test_a_delay_that_is_none_is_an_error_at_schedule(delay, words, kind):
    import reactornb

    class Main(Reactor):
        act = getattr(reactornb, kind)()

        @reaction(startup)
        def on_startup(self, act):
            act.schedule(delay)

    with pytest.raises(ReactionError, match=rf"main.act.*{words}"):
        Program(Main).run(workers=1, fast=True, until=ms(1))


def test_durations_and_timedeltas_are_delays():
    class Main(Reactor):
        act = LogicalAction()
        out = Output()

        @reaction(startup)
        def on_startup(self, act):
            act.schedule(timedelta(milliseconds=1), 1)
            act.schedule(ms(2), 2)

        @reaction(act)
        def on_act(self, act, out):
            out.set((self.time_ns, act.value))

    assert [v for _, v in run_to_end(Main()).values("main.out")] == [(1_000_000, 1), (2_000_000, 2)]


@pytest.mark.parametrize(
    ("declared", "value", "fits"),
    [
        (int, "3", False), (int, 3, True), (int, np.int64(3), True), (int, 3.5, False), (int, None, False), (float, 3, True),
        (float, np.float32(1), True), (float, np.zeros(1), False), (str, 3, False), (int | None, None, True), (int | None, "x", False),
        (list[int], (1,), False), (list[int], [1], True), (np.ndarray, [1.0], False), (np.ndarray, np.zeros(1), True), (Any, "x", True),
        (bool, np.True_, True),
    ],
)  # fmt: skip
def test_what_is_sent_first_is_held_against_the_declared_type(declared, value, fits):
    class Main(Reactor):
        out = Output[declared]()

        @reaction(startup)
        def on_startup(self, out):
            out.set(value)

    if fits:
        Program(Main).run(workers=1, fast=True)
    else:
        with pytest.raises(ReactionError, match=r"main.out is declared as a port of .*was given") as info:
            Program(Main).run(workers=1, fast=True)
        assert isinstance(info.value.__cause__, SendingError)


@pytest.mark.parametrize(("checked", "after"), [(False, 3), (True, 20)])
def test_later_values_are_looked_at_with_check_values(checked, after):
    class Main(Reactor):
        out = Output[int]()
        t = Timer(0, ms(1))

        @reaction(t)
        def on_t(self, out):
            out.set("x" if self.time_ns == ms(after) else 1)

    with pytest.raises(ReactionError, match="declared as a port of int"):
        Program(Main).run(workers=1, fast=True, until=ms(30), check_values=checked)
