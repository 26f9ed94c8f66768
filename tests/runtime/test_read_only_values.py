"""An array that is sent can be read, not written, whatever type its port declares and however deep it is in what is sent."""

import collections
import dataclasses
import types
from typing import NamedTuple

import numpy as np
import pytest

from reactornb import Input, LogicalAction, Output, Program, Reactor, State, Timer, connect, ms, reaction
from reactornb.errors import ReactionError
from reactornb.runtime.handles import LOOKED_AT


@dataclasses.dataclass
class Open:
    part: object


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    part: object


class Named(NamedTuple):
    part: object


def array():
    return np.arange(3.0)


SHAPES = {
    "an array": (array, lambda v: v),
    "a view of memory that can be written": (lambda: np.arange(6.0)[::2], lambda v: v),
    "an array without dimensions": (lambda: np.array(3.0), lambda v: v),
    "a structured array": (lambda: np.zeros(2, [("a", int)]), lambda v: v),
    "an array of objects": (lambda: np.array([array(), None], dtype=object), lambda v: v[0]),
    "in a tuple": (lambda: (1, array()), lambda v: v[1]),
    "in a named tuple": (lambda: Named(array()), lambda v: v.part),
    "in a list": (lambda: [array()], lambda v: v[0]),
    "in a deque": (lambda: collections.deque([array()]), lambda v: v[0]),
    "in a dict": (lambda: {"a": array()}, lambda v: v["a"]),
    "in a dict of a subclass": (lambda: collections.defaultdict(list, a=array()), lambda v: v["a"]),
    "in a read-only view of a dict": (lambda: types.MappingProxyType({"a": array()}), lambda v: v["a"]),
    "in a dataclass": (lambda: Open(array()), lambda v: v.part),
    "in a frozen dataclass with slots": (lambda: Frozen(array()), lambda v: v.part),
    "deep within": (lambda: {"x": (1, Open([Frozen(array())]))}, lambda v: v["x"][1].part[0].part),
}


def received(annotation, make, *, readers=1, after=None, **options):
    """What readers see of values sent on a port of that type, once those that the type is judged by are past."""
    seen = []

    class Sender(Reactor):
        out = Output[annotation](**options)
        tick = Timer(0, ms(1))
        n = State(0)

        @reaction(tick)
        def on_tick(self, out):
            self.n += 1
            plain = self.n <= LOOKED_AT and annotation is not object
            out.set(annotation(1) if plain else make())

    class Reader(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            if not isinstance(inp.value, (int, float, str)):
                seen.append(inp.value)

    class Top(Reactor):
        def compose(self):
            self.sender = Sender()
            for i in range(readers):
                setattr(self, f"reader{i}", Reader())
                connect(self.sender.out, getattr(self, f"reader{i}").inp, after=after)

    Program(Top).run(workers=1, fast=True, until=ms(LOOKED_AT + 2))
    assert len(seen) >= 2 * readers
    return seen


@pytest.mark.parametrize("annotation", [int, float, bool, str, object])
@pytest.mark.parametrize(("make", "part"), SHAPES.values(), ids=SHAPES)
def test_an_array_that_travels_is_read_only_whatever_the_port_declares(make, part, annotation):
    for value in received(annotation, make):
        assert not part(value).flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            part(value)[...] = 0


@pytest.mark.parametrize(
    "way", [{"readers": 2}, {"after": ms(1)}, {"after": 0}], ids=["two readers", "later", "next microstep"]
)
def test_that_holds_for_every_way_a_value_takes(way):
    for value in received(int, lambda: (array(),), **way):
        assert not value[0].flags.writeable


def test_a_port_that_asks_for_its_values_as_they_are_gets_them_so():
    assert all(value.flags.writeable for value in received(int, array, copy=False))


def test_what_an_action_brings_is_read_only_too():
    seen = []

    class Acts(Reactor):
        act = LogicalAction()
        tick = Timer(0)

        @reaction(tick)
        def on_tick(self, act):
            act.schedule(ms(1), Open((array(),)))

        @reaction(act)
        def on_act(self, act):
            seen.append(act.value.part[0].flags.writeable)

    Program(Acts).run(workers=1, fast=True)
    assert seen == [False]


def test_a_reader_that_writes_fails_with_its_name():
    class Sender(Reactor):
        out = Output[int]()
        tick = Timer(0, ms(1))
        n = State(0)

        @reaction(tick)
        def on_tick(self, out):
            self.n += 1
            out.set(1 if self.n <= LOOKED_AT else array())

    class Reader(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            if not isinstance(inp.value, int):
                inp.value[0] = 5.0

    class Top(Reactor):
        sender = Sender()
        reader = Reader()
        connect(sender.out, reader.inp)

    with pytest.raises(ReactionError, match=r"top.reader.on_inp.*read-only"):
        Program(Top).run(workers=1, fast=True, until=ms(20))


def test_numbers_and_text_of_any_kind_go_as_they_are():
    for value in (np.float64(2.5), 2.5, "text", None, ms(3), 10**30):
        found = received(object, lambda value=value: [value])
        assert all(type(v[0]) is type(value) for v in found)
