"""What reactors hold, as data and back: every kind of thing, and what is one object with what."""

import array
import collections
import dataclasses
import enum
import functools
import gc
import itertools
import logging
import pathlib
import queue
import random  # noqa: TID251 - its objects are held, nothing here is left to chance
import re
import threading
import types
import typing
import weakref

import numpy as np
import pytest
from standing_reactors import carried, carried_one, known_of, standing

from reactornb import Bank, Reactor, Shared
from reactornb.durable.objects import CannotRestoreError, Known, capture, differences, rehearse, restore, transient
from reactornb.durable.objects.tree import said_of_array
from reactornb.runtime.codec import decode, encode

MISSING = object()


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float


@dataclasses.dataclass
class Record:
    count: int = 0
    items: list = dataclasses.field(default_factory=list)


class Pair(typing.NamedTuple):
    first: int
    second: object


class OwnDict(dict):
    pass


class OwnList(list):
    pass


class OwnArray(np.ndarray):
    pass


class Number(float):
    pass


class Plain:
    def __init__(self, value=1):
        self.value = value
        self.me = self

    def get(self):
        return self.value


class Slots:
    __slots__ = ("a", "b")


class Counting:
    """Says by itself what of it is state."""

    def __init__(self):
        self.count = 0
        self.cache = {}

    def save(self):
        return {"count": self.count}

    def load(self, state):
        self.count = state["count"]
        self.cache = {}


def function():
    return 3


class Holder(Reactor):
    """Holds one thing, which a test puts there after startup."""

    def begin(self):
        self.items = [1, 2]


def restored(make, *more):
    """What `make(reactor)` gave, and that of the restored reactor."""

    def work(one):
        one.thing = make(one)

    one, other = carried_one(Holder, work, *more)
    return one.thing, other.thing


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, 10**40, -0.0, float("nan"), 1 + 2j, "täxt", b"bytes", ..., (1, ("a", 2.0)), range(3), slice(1, None, 2),
        np.float32(2.5), np.int64(3), np.dtype("f4"), pathlib.PurePosixPath("a/b"), Colour.BLUE, Rights.READ | Rights.WRITE, Plain, function, np.tanh,
        [1, [2, [3]]], {"a": {1: 2}, (1, 2): "b"}, {1, 2, "x"}, frozenset([1, (2, 3)]), bytearray(b"xy"),
        collections.OrderedDict(b=1, a=2), collections.Counter("abba"), collections.deque([1, [2]], maxlen=5), collections.defaultdict(list, {1: [2]}),
        array.array("d", [1.0, 2.0]), types.SimpleNamespace(x=1, y=[2]), types.MappingProxyType({"a": [1]}), re.compile("a+", re.IGNORECASE),
        Point(1, 2.0), Record(3, [Point(2, 3.0)]), Pair(1, [2]), Number(2.5), functools.partial(function), logging.getLogger("reactornb.tests"),
        np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(10)[::3], np.arange(4)[::-1], np.zeros(0), np.array(3.0),
        np.array(["a", "bb"]), np.zeros(3, [("a", "i4"), ("b", "f8")]), np.array([None, [1], 2], object), np.broadcast_to(np.arange(3), (2, 3)),
        np.array(["a", "bb"], np.dtypes.StringDType()), np.ma.array([1, 2, 3], mask=[0, 1, 0]), np.datetime64("2026-01-02"), np.array([True, False]),
        random.Random(3), np.random.RandomState(3), np.random.default_rng(3), np.random.SeedSequence(5).spawn(2), np.random.PCG64DXSM(4),
    ],
    ids=lambda value: type(value).__name__,  # not what a set holds, whose order is another in each process
)  # fmt: skip
def test_a_thing_made_after_startup_comes_back(value):
    before, after = restored(lambda _: value)
    assert type(after) is type(before)
    if isinstance(value, np.ndarray):
        assert after.dtype == before.dtype
        assert after.strides == before.strides
        assert after.flags.writeable == before.flags.writeable


def test_a_float_comes_back_by_its_bits_and_a_subclass_as_itself():
    _, after = restored(lambda _: [float("nan"), -0.0, Number(2.5)])
    assert np.isnan(after[0])
    assert str(after[1]) == "-0.0"
    assert type(after[2]) is Number
    assert after[2] == 2.5


def test_an_attribute_of_a_subclass_of_a_container_or_an_array_comes_back():
    def make(_):
        made = [OwnDict(x=1), OwnList([1, 2]), np.arange(6.0).reshape(2, 3).view(OwnArray)]
        for one in made:
            one.note = made
        return made

    _, after = restored(make)
    assert [type(one) for one in after] == [OwnDict, OwnList, OwnArray]
    assert all(one.note is after for one in after)
    assert after[0] == {"x": 1}
    assert after[2].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_is_one_object_stays_one_in_all_reactors_and_what_contains_itself_does():
    shared = []

    class Part(Reactor):
        def begin(self):
            self.mine = shared

    class Main(Reactor):
        a, b = Part(), Part()

        def begin(self):
            self.both = {"shared": shared}

    instances = standing(Main)
    shared.append(shared)
    shared.append(Plain())
    fresh = standing(Main)
    # Startup of another process makes a list of its own.
    again = []
    for one in fresh:
        if hasattr(one, "mine"):
            one.mine = again
        else:
            one.both = {"shared": again}
    known = known_of(instances)
    tree = capture(instances, known, strict=False)
    restore([decode(encode(tree).to_bytes())], fresh, known)
    main, *parts = fresh
    assert again[0] is again
    assert type(again[1]) is Plain
    assert again[1].me is again[1]
    assert all(part.mine is again for part in parts)
    assert main.both["shared"] is again


def test_views_show_the_memory_they_showed_before():
    class Main(Reactor):
        def begin(self):
            self.ring = np.zeros(10)
            self.head = self.ring[2:5]
            self.back = self.ring[::-1]

    def work(one):
        one.ring[:] = np.arange(10)
        one.late = one.ring[1:3]
        one.grid = one.ring.reshape(2, 5)[:, 1]

    _, other = carried_one(Main, work)
    ring, head, back = other.ring, other.head, other.back
    ring[:] = range(100, 110)
    assert head.tolist() == [102, 103, 104]
    assert back[0] == 109
    assert other.late.tolist() == [101, 102]
    assert other.grid.tolist() == [101, 106]


def test_an_array_that_startup_made_is_filled_in_place():
    class Main(Reactor):
        def begin(self):
            self.ring = np.zeros(4)
            self.read = lambda: float(self.ring.sum())
            self.rows = []
            self.append = self.rows.append

    (one,) = standing(Main)
    one.ring[:] = 1
    one.rows.append("x")
    (other,) = standing(Main)
    ring, rows = other.ring, other.rows
    carried([one], [other])
    assert other.ring is ring
    assert other.rows is rows
    assert ring.tolist() == [1, 1, 1, 1]
    other.append("y")
    assert rows == ["x", "y"]
    assert other.read() == 4


def test_arrays_that_startup_makes_one_and_the_run_has_made_two_come_apart():
    class Main(Reactor):
        def begin(self):
            self.a = np.zeros(4)
            self.b = self.a[1:3]
            self.c = self.d = [0]

    def work(one):
        one.a = np.arange(4.0)
        one.b = np.array([7.0, 8.0])
        one.c = [1]

    _, other = carried_one(Main, work)
    other.b[:] = 9
    other.c.append(2)
    assert other.a.tolist() == [0, 1, 2, 3]
    assert other.d == [0]


def test_arrays_that_startup_makes_two_and_the_run_has_made_one_come_together():
    class Main(Reactor):
        def begin(self):
            self.a, self.b = np.zeros(4), np.zeros(4)
            self.c, self.d = [0], [1]

    def work(one):
        one.b = one.a
        one.d = one.c
        one.a[:] = 3

    _, other = carried_one(Main, work)
    assert other.b is other.a
    assert other.d is other.c
    assert other.a.tolist() == [3, 3, 3, 3]


def test_a_capture_is_independent_of_what_is_changed_later_and_copies_no_array_that_nobody_can_change():
    class Main(Reactor):
        def begin(self):
            self.array = np.zeros(3)
            self.rows = [[1]]
            self.fixed = np.arange(5)
            self.fixed.flags.writeable = False

    (one,) = standing(Main)
    known = known_of([one])
    tree = capture([one], known, strict=False)
    before = encode(tree).to_bytes()
    one.array += 1
    one.rows[0].append(2)
    assert encode(tree).to_bytes() == before
    held = [x for part in tree["reactors"][0][3] if part[0] == "array" for x in [said_of_array(part)[0]]]
    assert any(np.shares_memory(x, one.fixed) for x in held)
    assert not any(np.shares_memory(x, one.array) for x in held)


def test_generators_go_on_where_they_were_also_two_that_draw_from_one():
    class Main(Reactor):
        def begin(self):
            self.bits = np.random.PCG64(4)
            self.pair = np.random.Generator(self.bits), np.random.Generator(self.bits)
            self.old = np.random.RandomState(3)
            self.plain = random.Random(5)
            self.seeds = np.random.SeedSequence(6)

        def draw(self):
            a, b = self.pair
            drawn = [self.rng.random(), a.random(), b.integers(100), self.old.normal(), self.plain.gauss(0, 1)]
            return [*drawn, np.random.default_rng(self.seeds.spawn(1)[0]).random(), self.rng.spawn(1)[0].random()]

    one, other = carried_one(Main, lambda one: [one.draw() for _ in range(3)])
    assert [one.draw() for _ in range(4)] == [other.draw() for _ in range(4)]


def test_a_generator_that_was_not_used_yet_is_made_later():
    one, other = carried_one(Holder, lambda _: None)
    assert one.rng.random() == other.rng.random()


def test_functions_partials_methods_and_iterators_come_back():
    class Main(Reactor):
        def begin(self):
            count = 0

            def counter():
                nonlocal count
                count += 1
                return count, self

            self.counter = counter
            self.plain = Plain(5)
            self.method = self.plain.get

    def work(one):
        one.counter()
        one.late = one.plain.get
        one.partial = functools.partial(function, one.plain, x=one.late)
        one.left = iter([1, 2, 3])
        next(one.left)
        one.ids = itertools.count(4, 2)
        next(one.ids)
        one.weak = weakref.ref(one.plain)

    _, other = carried_one(Main, work)
    assert other.counter() == (2, other)
    assert other.method.__self__ is other.plain
    assert other.late.__self__ is other.plain
    assert other.partial.func is function
    assert other.partial.args[0] is other.plain
    assert other.partial.keywords["x"].__self__ is other.plain
    assert list(other.left) == [2, 3]
    assert next(other.ids) == 6
    assert other.weak() is other.plain


def test_objects_are_keys_and_members_as_before():
    def make(one):
        one.point, one.plain = Point(1, 2.0), Plain()
        return {one.point: "p", one.plain: "o", (1, one.point): [one.plain]}, {one.point, one.plain}

    def work(one):
        one.thing = make(one)

    _, other = carried_one(Holder, work)
    by_key, members = other.thing
    assert by_key[other.point] == "p"
    assert by_key[other.plain] == "o"
    assert by_key[1, Point(1, 2.0)][0] is other.plain
    assert other.plain in members


def test_a_bare_object_of_a_module_is_that_one_and_another_stays_another():
    class Main(Reactor):
        def begin(self):
            self.own = object()
            self.same = self.own

    def work(one):
        one.late = MISSING

    _, other = carried_one(Main, work)
    assert other.late is MISSING
    assert other.own is other.same
    assert other.own is not MISSING


def test_an_attribute_that_startup_makes_and_the_run_has_deleted_is_deleted():
    class Main(Reactor):
        def begin(self):
            self.first, self.plain = 1, Plain()

    def work(one):
        del one.first
        del one.plain.value

    _, other = carried_one(Main, work)
    assert not hasattr(other, "first")
    assert not hasattr(other.plain, "value")


def test_what_is_transient_stays_as_startup_made_it():
    class Tool:
        def __init__(self):
            self.used = 0
            self.handle = (x for x in ())

    transient(Tool, "handle")

    class Main(Reactor):
        transient = ("lock",)

        def begin(self):
            self.lock = (x for x in ())
            self.tool = Tool()

    (one,) = standing(Main)
    one.tool.used = 5
    (other,) = standing(Main)
    lock, handle = other.lock, other.tool.handle
    carried([one], [other])
    assert other.lock is lock
    assert other.tool.handle is handle
    assert other.tool.used == 5


def test_an_object_with_save_and_load_is_asked_instead_of_its_attributes():
    class Main(Reactor):
        def begin(self):
            self.counting = Counting()

    def work(one):
        one.counting.count = 7
        one.counting.cache["key"] = (x for x in ())
        one.late = Counting()

    _, other = carried_one(Main, work)
    assert other.counting.count == 7
    assert other.counting.cache == {}
    assert other.late.count == 0


def test_a_reactor_with_save_and_load_keeps_its_generator_and_its_parameters():
    class Main(Reactor):
        rate: float = 0.5

        def begin(self):
            self.left = self.gone = 10

        def save(self):
            return [self.left]

        def load(self, state):
            (self.left,) = state
            self.gone = 0

    def work(one):
        one.left = 3
        object.__setattr__(one, "rate", 0.25)
        one.rng.random(5)

    one, other = carried_one(Main, work)
    assert (other.left, other.gone, other.rate) == (3, 0, 0.25)
    assert one.rng.random() == other.rng.random()


def test_data_that_the_program_is_given_are_not_written_again():
    given = np.arange(1000.0)
    given.flags.writeable = False

    class Main(Reactor):
        rows: Shared[np.ndarray] = given

        def begin(self):
            self.same = self.rows

    (one,) = standing(Main)
    tree = capture([one], known_of([one]), strict=False)
    assert encode(tree).nbytes < 1000
    one, other = carried_one(Main, lambda _: None)
    assert other.same is given


def test_a_bank_of_reactors_comes_back_each_with_its_own():
    class Part(Reactor):
        def begin(self):
            self.index = [self.bank_index]

    class Main(Reactor):
        parts = Bank(Part, 3)

    instances = standing(Main)
    for one in instances[1:]:
        one.index.append("x")
    fresh = carried(instances, standing(Main))
    assert [one.index for one in fresh[1:]] == [[0, "x"], [1, "x"], [2, "x"]]


def test_a_capture_asks_no_object_for_its_dictionary():
    class Main(Reactor):
        def begin(self):
            self.plain = Plain()
            self.count = 0

    (one,) = standing(Main)
    plain, known = one.plain, known_of([one])
    capture([one], known, strict=False)
    for value in (one, plain):
        assert not any(
            (type(seen) is dict and "me" in seen) or seen == vars(Main)
            for seen in gc.get_referents(value)
            if seen is not type(value)
        )
    seen = gc.get_referents(plain)
    assert any(part is plain for part in seen)  # its attributes lie in the object itself


def test_attributes_that_no_code_of_the_class_names_are_found():
    def work(one):
        setattr(one, "a" + "b", [1])
        one.plain = Plain()
        setattr(one.plain, "c" + "d", [2])
        one.looked = Plain()
        vars(one.looked)["e" + "f"] = [3]

    _, other = carried_one(Holder, work)
    assert other.ab == [1]
    assert other.plain.cd == [2]
    assert other.looked.ef == [3]


def test_an_attribute_that_is_the_same_as_the_classs_is_the_objects_own():
    class Main(Reactor):
        def begin(self):
            self.record = Record()

    _, other = carried_one(Main, lambda one: None)
    assert vars(other.record) == {"count": 0, "items": []}


def test_differences_names_the_first_thing_that_differs():
    (one,), (other,) = standing(Holder), standing(Holder)
    known = known_of([one])
    one.thing, other.thing = [Plain(1)], [Plain(True)]
    trees = [capture([x], known, strict=False) for x in (one, other)]
    assert differences(*trees) == ["holder: self.thing[0].value"]
    other.thing[0].value = 1
    other.thing.append(other.thing[0])
    one.thing.append(Plain(1))
    trees = [capture([x], known, strict=False) for x in (one, other)]
    assert differences(*trees) == ["holder: self.thing[1]"]


def test_memory_that_is_shared_differs_from_memory_that_is_not():
    (one,), (other,) = standing(Holder), standing(Holder)
    known = known_of([one])
    for x in (one, other):
        x.a = np.arange(6.0)
    one.b, other.b = one.a[1:3], other.a[1:3].copy()
    trees = [capture([x], known, strict=False) for x in (one, other)]
    assert differences(*trees) != []


def test_a_program_that_is_another_one_says_so():
    class Main(Reactor):
        def begin(self):
            self.point = Point(1, 2.0)

    class Other(Reactor):
        pass

    (one,) = standing(Main)
    tree = capture([one], known_of([one]), strict=False)
    (other,) = standing(Other)
    with pytest.raises(CannotRestoreError, match="which the program does not have"):
        restore([tree], [other], known_of([other]))
    with pytest.raises(CannotRestoreError, match="0 reactors, the program 1"):
        restore([], [one], known_of([one]))


def test_a_class_that_the_program_no_longer_has_is_named():
    (one,), (other,) = standing(Holder), standing(Holder)
    one.thing = Plain()
    tree = decode(encode(capture([one], known_of([one]), strict=False)))
    with pytest.raises(CannotRestoreError, match=r"holder: self\.thing is of the class .*Plain") as caught:
        restore([tree], [other], Known([]))
    assert caught.value.reactor == "holder"
    assert caught.value.attribute == "self.thing"


def test_a_rehearsal_gives_what_was_captured_and_leaves_the_reactors_as_they_are():
    (one,) = standing(Holder)
    one.items.append(one.items)
    items, known = one.items, known_of([one])
    tree = rehearse([one], standing(Holder), known)
    assert one.items is items
    assert differences(tree, capture([one], known)) == []


def test_values_that_were_sent_are_one_with_what_reactors_hold_of_them():
    sent = np.arange(5)
    sent.flags.writeable = False

    def make():
        (one,) = standing(Holder)
        return one

    one, other = make(), make()
    one.batch = {"rows": sent, "items": one.items}
    known = known_of([one])
    tree = capture([one], known, values=[sent, 7, one.items, [sent[1:3]]], strict=False)
    (values,) = restore([decode(encode(tree))], [other], known)
    rows, number, items, (part,) = values
    assert rows is other.batch["rows"]
    assert not rows.flags.writeable
    assert number == 7
    assert items is other.items
    assert np.shares_memory(part, rows)
    assert restore([capture((), known, values=[(1, [2])])], (), known) == [[(1, [2])]]


def test_a_deep_structure_is_no_problem():
    def make(_):
        deep = []
        for _ in range(3_000):
            deep = [deep]
        return deep

    _, after = restored(make)
    for _ in range(3_000):
        (after,) = after
    assert after == []


def test_a_parameter_that_is_a_class_of_another_module_is_the_same_before_and_after_startup_made_an_object_of_it():
    elsewhere = types.ModuleType("elsewhere_of_objects")
    exec("class Made:\n    pass\n", vars(elsewhere))

    class Main(Reactor):
        make: object = elsewhere.Made

        def begin(self):
            self.made = self.make()

    (one,), (twin,) = standing(Main), standing(Main)
    known = known_of([one])
    assert not known.has(elsewhere.Made)
    rehearse([one], [twin], known)
    assert known.has(elsewhere.Made)


class Working(Reactor):
    """Work that a thread does."""

    def begin(self):
        self.lock, self.changed = threading.Lock(), threading.Condition()
        self.stop, self.begun = threading.Event(), threading.Event()
        self.todo, self.best = queue.Queue(), queue.PriorityQueue(9)
        self.thread = threading.Thread(target=self.stop.wait)
        self.mailbox = queue.SimpleQueue()


def test_threads_and_locks_are_startups_and_events_and_queues_are_as_they_were():
    def work(one):
        one.begun.set()
        one.todo.put({"number": 3})
        one.todo.put([one.stop])
        one.todo.get()
        for number in (5, 2, 7):
            one.best.put(number)

    one, other = carried_one(Working, work)
    assert other.begun.is_set()
    assert not other.stop.is_set()
    assert other.todo.get_nowait() == [other.stop]
    assert [other.best.get_nowait() for _ in range(3)] == [2, 5, 7]
    assert other.todo.unfinished_tasks == 2
    assert other.thread is not one.thread
    assert other.lock is not one.lock
    assert other.mailbox.empty()
