"""Values that every instance of every run has for itself: parameters, states, class attributes."""

import queue
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from reactornb import Bank, Output, Program, Reactor, Shared, State, per_member, reaction, startup
from reactornb.errors import AssemblyError, ReactionError
from reactornb.testing import run_to_end


@dataclass
class Weights:
    rows: list = field(default_factory=lambda: [0])


def counted(holder: Any) -> list:
    """What four members and two runs of one program see of a value that each of them changes."""
    program = Program(holder)
    seen = []
    for _ in range(2):
        result = program.run(workers=1, fast=True, trace=True)
        seen.append([value for _, value in result.trace.values("out")])
    return seen


def member(value, change, read):
    class Member(Reactor):
        out = Output()
        it: Any = value

        @reaction(startup)
        def on_startup(self, out):
            change(self.it)
            out.set(read(self.it))

    return Member


MUTABLE = {
    "an array": (np.zeros(2), lambda v: np.add(v, 1, out=v), lambda v: float(v[0]), 1.0),
    "an array of objects": (np.array([[], None], dtype=object), lambda v: v[0].append(1), lambda v: len(v[0]), 1),
    "a masked array": (
        np.ma.array([1, 2], mask=[0, 0]),
        lambda v: v.__setitem__(0, np.ma.masked),
        lambda v: int(v.mask.sum()),
        1,
    ),
    "a deque": (deque(), lambda v: v.append(1), len, 1),
    "a defaultdict": (defaultdict(list), lambda v: v["x"].append(1), lambda v: len(v["x"]), 1),
    "a dataclass": (Weights(), lambda v: v.rows.append(1), lambda v: len(v.rows), 2),
    "a bytearray": (bytearray(b"a"), lambda v: v.append(1), len, 2),
    "nested lists": ([[0]], lambda v: v[0].append(1), lambda v: len(v[0]), 2),
    "a generator of random numbers": (np.random.default_rng(0), lambda v: v.random(), lambda v: v.random(), None),
}


@pytest.mark.parametrize("name", MUTABLE)
@pytest.mark.parametrize("given", ["default", "one argument for a bank", "per member"])
def test_every_member_of_every_run_begins_with_its_own(name, given):
    value, change, read, expected = MUTABLE[name]
    cls = member(value, change, read)
    more = {"default": {}, "one argument for a bank": {"it": value}, "per member": {"it": per_member(lambda i: value)}}[
        given
    ]

    class Main(Reactor):
        members = Bank(cls, 4, **more)

    first, second = counted(Main)
    assert first == second
    assert len(first) == 4
    assert len(set(first)) == 1
    if expected is not None:
        assert first[0] == expected


def test_what_compose_changes_stays_in_that_assembly():
    class Main(Reactor):
        out = Output()
        names: list = []  # noqa: RUF012 - what is tested

        def compose(self):
            self.names.append("a")

        @reaction(startup)
        def on_startup(self, out):
            out.set(tuple(self.names))

    for _ in range(2):
        assert run_to_end(Main()).values("out")[0][1] == ("a",)


def test_an_array_that_is_read_only_is_one_for_all():
    data = np.arange(4.0)
    data.setflags(write=False)
    seen = []

    class Reader(Reactor):
        data: np.ndarray
        into: Shared[list] = seen

        @reaction(startup)
        def on_startup(self):
            self.into.append(self.data)

    class Main(Reactor):
        readers = Bank(Reader, 2, data=data)

    Program(Main).run(workers=1, fast=True)
    assert seen[0] is seen[1] is data


def test_a_view_of_a_writable_array_is_not_taken_for_read_only():
    base = np.zeros(3)
    view = base[:]
    view.setflags(write=False)

    class Reader(Reactor):
        out = Output()
        data: np.ndarray = view

        @reaction(startup)
        def on_startup(self, out):
            base[0] += 1
            out.set(float(self.data[0]))

    class Main(Reactor):
        readers = Bank(Reader, 2)

    assert [v for _, v in run_to_end(Main()).values("out")] == [0.0, 0.0]


class Held:
    def __init__(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    "value", [(i for i in range(3)), [threading.Event()], Held()], ids=["generator", "in a list", "in an object"]
)
def test_what_cannot_be_copied_is_an_error_that_names_parameter_and_place(value):
    class Holder(Reactor):
        it: Any = None

    class Main(Reactor):
        holders = Bank(Holder, 2, it=value)

    with pytest.raises(
        AssemblyError, match=r"test_ownership.py, line \d+: the parameter 'it' of main.holders\[0\] is .*Shared"
    ):
        Program(Main)


def test_what_is_made_for_several_threads_is_passed_on_as_it_is():
    class Holder(Reactor):
        out = Output()
        gate: Any

        @reaction(startup)
        def on_startup(self, out):
            self.gate.put(1)

    gate = queue.SimpleQueue()

    class Main(Reactor):
        holders = Bank(Holder, 2, gate=gate)

    Program(Main).run(workers=1, fast=True)
    assert gate.qsize() == 2


def test_what_is_annotated_as_shared_is_passed_on_as_it_is():
    class Holder(Reactor):
        out = Output()
        it: Shared[Any]

        @reaction(startup)
        def on_startup(self, out):
            with self.it.lock:
                out.set(1)

    class Main(Reactor):
        holders = Bank(Holder, 2, it=Held())

    assert len(run_to_end(Main()).values("out")) == 2


def test_a_first_value_of_a_state_is_each_instances_own():
    class Holder(Reactor):
        out = Output()
        seen = State(deque())

        @reaction(startup)
        def on_startup(self, out):
            self.seen.append(1)
            out.set(len(self.seen))

    class Main(Reactor):
        holders = Bank(Holder, 3)

    assert counted(Main) == [[1, 1, 1]] * 2


GUARDED = {
    "list": ([], lambda v: v.append(1)),
    "dict": ({}, lambda v: v.update(x=1)),
    "set": (set(), lambda v: v.add(1)),
    "array": (np.zeros(2), lambda v: v.__setitem__(0, 1.0)),
    "list in a dict": ({"x": []}, lambda v: v["x"].append(1)),
    "list in a tuple": (([],), lambda v: v[0].append(1)),
}


@pytest.mark.parametrize("name", GUARDED)
def test_the_first_change_of_a_class_attribute_is_an_error_at_that_line(name):
    value, change = GUARDED[name]

    class Holder(Reactor):
        buffer = value

        @reaction(startup)
        def on_startup(self):
            change(self.buffer)

    class Main(Reactor):
        holders = Bank(Holder, 2)

    with pytest.raises(
        ReactionError, match=r"read-only|Holder.buffer \(.*test_ownership.py, line \d+\) is one object.*buffer = State"
    ):
        Program(Main).run(workers=1, fast=True)
    assert len(value) == len(GUARDED[name][0])


def test_class_attributes_that_are_only_read_are_no_mistake():
    class Holder(Reactor):
        out = Output()
        actions = ["left", "right"]  # noqa: RUF012 - what is tested
        prices = {"a": [1, 2]}  # noqa: RUF012
        table = np.eye(2)

        @reaction(startup)
        def on_startup(self, out):
            mine = [*self.actions, *self.prices["a"]]
            copied = self.prices.copy()
            copied["b"] = [*self.actions.copy(), 1]
            out.set((mine, sorted(copied), float(self.table.sum()), isinstance(self.actions, list)))

    assert run_to_end(Holder()).values("out")[0][1] == (["left", "right", 1, 2], ["a", "b"], 2.0, True)


class Env:
    def reset(self):
        return 0

    def step(self, action):
        return action


@pytest.mark.parametrize(
    "value", [np.random.default_rng(0), deque(), iter([1]), Env(), bytearray()], ids=lambda v: type(v).__name__
)
def test_a_class_attribute_that_changes_when_used_is_refused_at_assembly(value):
    class Holder(Reactor):
        it = value

    with pytest.raises(AssemblyError, match=r"test_ownership.py, line \d+: Holder.it is an? .*startup"):
        Program(Holder)


def test_a_constant_that_says_so_is_taken():
    class Holder(Reactor):
        it: ClassVar = deque([1])

    Program(Holder)


def test_a_method_that_changes_its_default_is_refused():
    class Holder(Reactor):
        def gather(self, x, into=[]):  # noqa: B006 - what is tested
            into.append(x)
            return into

    with pytest.raises(AssemblyError, match=r"Holder.gather changes the default of its argument 'into'.*into=None"):
        Program(Holder)


def test_a_method_that_reads_its_default_is_taken():
    class Holder(Reactor):
        def gather(self, x, among=[1, 2]):  # noqa: B006 - what is tested
            return [x, *among]

    Program(Holder)
