"""The fingerprint: equal exactly when what was sent is equal, in whatever process; and what it refuses."""

import asyncio
import collections
import dataclasses
import functools
import io
import itertools
import os
import random  # noqa: TID251 - draws values, not what a reactor does
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    Program,
    Reactor,
    Timer,
    connect,
    enclave,
    ms,
    reaction,
    startup,
)
from reactornb.__main__ import main
from reactornb.errors import ReactionError, UnrecordableValueError
from reactornb.runtime.fingerprint import Fingerprint, RefusedValueError, digest, term
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import fingerprint_values  # noqa: E402 - beside this file
from fingerprint_values import Color, Crowd, Kept, Meters, Pair, Plain, Point, Renamed, Row, Slotted, Table, Twin  # noqa: E402

OTHER = HERE.parents[1] / ".venv-gil" / "bin" / "python"


@pytest.mark.slow
def test_values_have_one_digest_exactly_when_their_descriptions_are_equal():
    rng = random.Random(0)
    for left, right in fingerprint_values.pairs(7, 150):
        same = digest(fingerprint_values.build(rng, left)) == digest(fingerprint_values.build(rng, right))
        assert same == (left == right), (left, right)


@pytest.mark.slow
def test_2000_pairs_are_equal_exactly_when_equal_in_processes_with_other_hash_seeds_and_on_an_ordinary_build():
    command = ["-W", "ignore", str(HERE / "fingerprint_values.py"), "20", "2000"]
    processes = []
    for seed, python in ((1, sys.executable), (2, sys.executable), (3, str(OTHER))):
        if Path(python).exists():
            environment = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"} | {
                "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(HERE.parents[1]),
            }  # fmt: skip
            processes.append(subprocess.Popen([python, *command], env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=55)[0].splitlines() for process in processes]
    assert len(outputs[0]) == 2000
    for output in outputs[1:]:
        assert output == outputs[0]
    kinds = [line.split() for line in outputs[0]]
    assert all((left == right) == bool(int(same)) for left, right, same in kinds)
    assert {same for *_, same in kinds} == {"0", "1"}


def noted(value, **attributes):
    for name, attribute in attributes.items():
        setattr(value, name, attribute)
    return value


def different():
    """Values of which no two are equal, new each time."""
    aligned = np.dtype([("a", "i1"), ("b", "<f8")], align=True)
    return [
        1, True, 1.0, 1 + 0j, "1", b"1", bytearray(b"1"), memoryview(b"1"), np.int64(1), np.int32(1), np.float64(1), np.bool_(True), np.array(1), np.array([1]),
        np.str_("1"), np.bytes_(b"1"), None, ..., NotImplemented, 0.0, -0.0, float("inf"), 10**5000, -(10**5000), 10**5000 + 1,
        [], (), {}, set(), frozenset(), collections.deque(), collections.deque(maxlen=3), collections.OrderedDict(), collections.Counter(), collections.defaultdict(int),
        collections.defaultdict(list), [[]], [()], ([],), "", b"", [""], ["", ""], ["a", "b"], ["ab", ""], ["ab"], ["a", ["b"]],
        {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": {"b": 2}}, range(3), range(0, 3, 2), slice(3), slice(0, 3),
        Pair(1, 2), Twin(1, 2), Renamed(1, 2), (1, 2), Point(1, 2), Slotted(1, 2), Plain(1, 2), Kept(1, 2), noted(Point(1, 2), z=3), noted(Point(1, 2), z=4),
        Table(a=1), noted(Table(a=1), z=1), noted(Row([1]), z=1), Row([1]), [1], Crowd([1]), noted(Crowd([1]), z=1), {1},
        noted(collections.Counter("ab"), z=1), collections.Counter("ab"), noted(collections.OrderedDict(), z=1),
        Color.RED, Color.BLUE, "RED", Color, Point, int, len, np.sin, digest, functools.partial(max, 1), functools.partial(max, 2),
        np.zeros(2), np.zeros(3), np.zeros((3, 1)), np.zeros((1, 3)), np.zeros((0, 4)), np.zeros((0, 5)), np.zeros(3, "f4"), np.zeros(3, ">f8"), np.zeros(3, "i8"), np.zeros(3, object), [0, 0, 0],
        np.array([None, 0, 0]), np.array([np.nan, 0.0]), np.array([-0.0, 0.0]), np.zeros(2).view(Meters), noted(np.zeros(2).view(Meters), z=1),
        np.zeros(2, "M8[s]"), np.zeros(2, "M8[ms]"), np.zeros(2, "m8[s]"), np.datetime64(0, "s"), np.datetime64("NaT", "s"), np.timedelta64("NaT", "s"),
        np.array(["a", "b"]), np.array(["a", "b"], "U2"), np.array([b"a", b"b"]), np.array(["a", "b"], np.dtypes.StringDType()), np.array(["a", "b"], object),
        np.zeros(2, aligned), np.zeros(2, [("a", "i1"), ("c", "<f8")]), np.zeros(2, [("a", "i1"), ("b", "<f4")]), np.zeros(2, aligned).view(np.recarray), np.zeros(2, aligned)[0],
        np.zeros(2, "V3"), np.zeros(2, [("a", object)]), np.array([([],), (0,)], [("a", object)]),
        np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.ma.array([1, 2]), np.ma.array([1, 2], fill_value=7), np.ma.masked,
        np.ma.array([(1, 2)], mask=[(0, 1)], dtype=[("a", int), ("b", int)]), np.ma.array([(1, 2)], mask=[(1, 0)], dtype=[("a", int), ("b", int)]),
        np.longdouble(1), np.longdouble(1) + np.finfo(np.longdouble).eps, np.clongdouble(1),
        np.random.default_rng(1), np.random.default_rng(2), np.random.Generator(np.random.Philox(1)), np.random.PCG64(1), np.random.RandomState(1), np.random.SeedSequence(1),
        random.Random(1), random.Random(2), {1, "1"}, {1: {2: set()}}, frozenset({frozenset()}), {frozenset(), 1}, ValueError("a"), ValueError("b"), KeyError("a"),
        io.BytesIO(b"a"), io.BytesIO(b"b"), np, sys, itertools,
    ]  # fmt: skip


def test_no_two_of_many_values_have_one_digest_and_each_has_it_again():
    digests = [digest(value) for value in different()]
    twice = [i for i, found in enumerate(digests) if digests.index(found) != i]
    assert not twice, [different()[i] for i in twice]
    assert [digest(value) for value in different()] == digests


def test_what_cannot_be_seen_does_not_count():
    padded = np.frombuffer(b"\xff" * 32, np.uint8).view(np.dtype([("a", "i1"), ("b", "<f8")], align=True)).copy()
    padded["a"], padded["b"] = 0, 0
    assert digest(padded) == digest(np.zeros(2, [("a", "i1"), ("b", "<f8")]))
    assert digest(np.asfortranarray(np.arange(6).reshape(2, 3))) == digest(np.arange(6).reshape(2, 3))
    assert digest(np.ma.array([1, 2], mask=[0, 1])) == digest(np.ma.array([1, 99], mask=[0, 1]))
    assert digest(np.ma.array([1, 2])) == digest(np.ma.array([1, 2], mask=[0, 0]))
    text = str(b"abc", "ascii")
    assert digest([text, text]) == digest(["abc", str(b"abc", "ascii")])
    shared = [1]
    assert digest([shared, shared]) == digest([[1], [1]])
    kept = noted(Plain(1, 2), z=3)
    other = Plain.__new__(Plain)
    other.z, other.y, other.x = 3, 2, 1
    assert digest(kept) == digest(other)


def test_generators_count_by_where_they_stand():
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    one.random()
    assert digest(one) != digest(other)
    other.random()
    assert digest(one) == digest(other)
    one.spawn(1)
    assert digest(one) != digest(other)


def test_records_and_fields_of_one_layout_differ_whichever_was_seen_first():
    layout = np.dtype([("seen in this test only", "i1")])
    fields, records = np.zeros(2, layout), np.zeros(2, np.dtype((np.record, layout)))
    assert fields.dtype == records.dtype  # as NumPy sees it
    first, second = digest(fields), digest(records)
    assert first != second
    assert digest([fields, (records,)]) != digest([records, (fields,)])


def test_a_random_state_counts_with_the_normal_number_that_it_keeps_for_the_next_call():
    one, other, again = (np.random.RandomState(1) for _ in range(3))
    one.randn()  # draws two and keeps one
    other.randn(2)
    again.randn()
    assert digest(one) != digest(other)
    assert digest(one) == digest(again)


@pytest.mark.slow
def test_deep_wide_and_shared_values_are_walked_without_recursion_and_each_part_once():
    deep, ring = [], []
    for _ in range(20_000):
        deep = [deep]
    shared = [0]
    for _ in range(200):
        shared = [shared, (shared, {"again": shared})]
    for _ in range(30):  # each knows all others: more simple paths than any walk could try
        ring.append(Plain(len(ring), ring))
    for value in (deep, shared, ring, (ring, shared, ring)):
        assert len(digest(value)) == 64
    assert digest([deep]) != digest(deep)


def circle(n):
    made = [n]
    made += [{"me": made, "more": (made,)}]
    return made


def test_a_value_that_contains_itself_counts_by_its_shape():
    assert digest(circle(1)) == digest(circle(1)) != digest(circle(2))
    one = circle(1)
    assert digest([one, one]) == digest([circle(1), circle(1)]) == digest([one, circle(1)])
    loop, longer = [], [[]]
    loop.append(loop)
    longer[0].append(longer)
    assert len({digest(loop), digest(longer), digest([loop]), digest([[]])}) == 4
    held = Plain(1, 2)
    held.x = frozenset([Held(held)])
    with pytest.raises(RefusedValueError, match="by way of a set"):
        digest(held)


@dataclasses.dataclass(frozen=True)
class Held:
    by: object

    def __hash__(self):
        return 1


def test_members_of_a_set_that_contain_themselves_are_walked():
    made = [Held([]), Held([])]
    for member in made:
        member.by.append(member)
    assert digest({made[0]}) == digest({made[1]}) != digest({made[0], 1})


def local():
    def inner():
        """Has no name by which it could be found."""

    return inner


REFUSED = {
    "lock": (threading.Lock, "value"),
    "lambda": (lambda: [1, lambda: 0], "value[1]"),
    "inner function": (lambda: {"a": (1, local())}, "value['a'][1]"),
    "generator": (lambda: Point(1, (i for i in ())), "value.y"),
    "file": (lambda: Pair([sys.__stdout__], 2), "value.x[0]"),
    "address": (lambda: {Plain(1, 2)}, "value"),
    "object": (object, "value"),
    "event": (threading.Event, "value._cond._lock"),
    "lambda's table": (lambda: collections.defaultdict(lambda: 0), "value[#0]"),
    "array": (lambda: np.array([1, threading.Lock()], dtype=object), "value[1]"),
    "attribute": (lambda: noted(np.zeros(2).view(Meters), lock=threading.Lock()), "value.lock"),
    "in a cycle": (lambda: noted(Plain(1, 2), z=[circle(1), threading.Lock()]), "value.z[1]"),
    "a raising object": (lambda: [Bad()], "value[0]"),
}


class Bad:
    def __reduce__(self):
        raise ZeroDivisionError("mine")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_judged_is_refused_by_its_place(name):
    make, path = REFUSED[name]
    with pytest.raises(RefusedValueError) as caught:
        digest(make())
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} is a ")
    value = make()
    assert digest(value, strict=False) == digest(value, strict=False)
    assert len(digest(make(), strict=False)) == 64


def test_a_coroutine_is_refused():
    async def later():
        """Never awaited."""

    made = later()
    with pytest.raises(RefusedValueError, match="different in each process"):
        digest([made])
    asyncio.run(made)


def test_parts_are_added_in_any_order_and_the_state_is_32_bytes():
    writes = [((0, 0), 1, "a"), ((0, 0), 2, "a"), ((5, 1), 1, [1.5]), ((5, 1), 1, [1.5])]
    whole = Fingerprint()
    for write in writes:
        whole.add(term(*write))
    for order in itertools.permutations(writes):
        left, right = Fingerprint(), Fingerprint()
        for write in order[:2]:
            left.add(term(*write))
        right.add(sum(term(*write) for write in order[2:]))
        again = Fingerprint(left.state)
        again.merge(right)
        assert again.hexdigest() == whole.hexdigest() == again.state.hex()
        assert len(again.state) == 32
    assert len({term(*write) for write in writes}) == 3
    assert term((1, 0), 2, 3) != term((0, 1), 2, 3) != term((0, 2), 1, 3)
    with pytest.raises(ValueError, match="32 bytes"):
        Fingerprint(b"short")


# -- of runs --------------------------------------------------------------------------------------------------------------


class Sender(Reactor):
    tick = Timer(offset=0, period=ms(1))
    out = Output()

    @reaction(tick)
    def on_tick(self, out):
        names = {f"name {self.rng.integers(9)}" for _ in range(5)}
        out.set({"at": self.time_ns, "names": names, "noise": self.rng.random(3), "to": Pair(self.bank_index, None)})


class Echo(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set([inp.value["noise"].sum(), inp.value["names"]])


class Many(Reactor):
    def compose(self):
        self.senders = Bank(Sender, 12)
        self.echoes = Bank(Echo, 12)
        connect(self.senders.out, self.echoes.inp, after=ms(2))


@pytest.mark.slow
def test_one_fingerprint_for_any_number_of_workers(monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
    program = Program(Many)
    options = {"fast": True, "fingerprint": True, "seed": 3, "until": ms(10)}
    found = {program.run(workers=workers, **options).fingerprint for workers in (1, 2, 8, 32)}
    assert len(found) == 1
    assert program.run(workers=2, **{**options, "seed": 4}).fingerprint not in found
    assert program.run(workers=2, **{**options, "until": ms(9)}).fingerprint not in found


def two(*, apart):
    class Root(Reactor):
        def compose(self):
            self.sender = Sender()
            self.echo = enclave(Echo()) if apart else Echo()
            self.other = enclave(Sender()) if apart else Sender()
            connect(self.sender.out, self.echo.inp, after=ms(2))

    return Program(Root)


@pytest.mark.slow
def test_enclaves_leave_the_fingerprint_as_it_is():
    options = {"fast": True, "fingerprint": True, "until": ms(20)}
    found = {two(apart=apart).run(workers=n, **options).fingerprint for apart in (False, True) for n in (1, 2, 8, 32)}
    assert len(found) == 1


class Grows(Reactor):
    """Goes on changing what it has sent."""

    tick = Timer(offset=0, period=ms(1))
    out = Output(copy=False) if "copy" in Output.__init__.__code__.co_varnames else Output()

    @reaction(startup)
    def on_startup(self):
        self.seen = []

    @reaction(tick)
    def on_tick(self, out):
        self.seen.append(len(self.seen))
        out.set(self.seen)


def test_a_trace_keeps_what_was_sent_though_the_sender_goes_on_changing_it():
    trace = Program(Grows).run(fast=True, trace=True, until=ms(2), workers=1).trace
    assert [value for _, value in trace.values("out")] == [[0], [0, 1], [0, 1, 2]]


def test_a_trace_keeps_arrays_and_nested_values_as_they_were():
    class Changes(Reactor):
        tick = Timer(offset=0, period=ms(1))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            if self.time_ns == 0:
                self.held = {"a": [np.zeros(2)], "lock": threading.Lock()}
            self.held["a"] = [*self.held["a"], 1]
            out.set((self.held["a"], Point(self.held["a"], 0)))

    values = [v for _, v in Program(Changes).run(fast=True, trace=True, until=ms(2), workers=1).trace.values("out")]
    assert [len(held) for held, _ in values] == [len(point.x) for _, point in values] == [2, 3, 4]


class Sends(Reactor):
    tick = Timer(offset=0, period=ms(1))
    out = Output()

    @reaction(tick)
    def on_tick(self, out):
        out.set({"n": [1, threading.Lock() if self.time_ns == ms(2) else 0]})


def test_a_value_that_cannot_be_judged_ends_the_run_at_its_tag_and_says_where():
    for root in (Sends, Sends()):
        for workers in (1, 2):
            run = Program(root).start(fast=True, fingerprint=True, until=ms(9), workers=workers)
            with pytest.raises(UnrecordableValueError) as caught:
                run.result(30)
            error = caught.value
            assert isinstance(error, ReactionError)
            assert (error.port, error.path, error.reaction) == ("sends.out", "value['n'][1]", "sends.on_tick")
            assert error.tag == (ms(2), 0)
            assert error.kind is type(threading.Lock())
            assert error.source.file == __file__
            for word in (
                "sends.out",
                "sends.on_tick",
                f"line {error.source.line}",
                "value['n'][1]",
                "lock",
                str(error.tag),
            ):
                assert word in str(error)
            two = Program(Sends).run(fast=True, fingerprint=True, until=ms(1), workers=1).fingerprint
            assert run.fingerprint == two  # of the tags before
    assert Program(Sends).run(fast=True, until=ms(3), trace=True).trace.tags("on_tick")


def test_the_value_of_an_action_that_cannot_be_judged_names_who_scheduled_it():
    class Schedules(Reactor):
        later = LogicalAction()

        @reaction(startup)
        def on_startup(self, later):
            later.schedule(ms(1), lambda: 0)

        @reaction(later)
        def on_later(self, later):
            """Never comes to see it recorded."""

    with pytest.raises(
        UnrecordableValueError, match=r"schedules\.later was given a value by schedules\.on_startup"
    ) as caught:
        Program(Schedules).run(fast=True, fingerprint=True)
    assert caught.value.tag == (ms(1), 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_enclave_that_sends_what_cannot_be_judged_ends_the_run(workers):
    class Apart(Reactor):
        a = enclave(Sends())
        b = enclave(Sender())

    found = set()
    for _ in range(3):
        run = Program(Apart).start(fast=True, fingerprint=True, until=ms(50), workers=workers)
        with pytest.raises(UnrecordableValueError, match=r"apart\.a\.out"):
            run.result(30)
        found.add(run.fingerprint)
    assert len(found) == 1


@dataclasses.dataclass
class Carries:
    lock: threading.Lock
    n: int


@pytest.mark.parametrize(
    "declared", [threading.Lock, collections.abc.Generator, list[threading.Event], dict[str, io.TextIOWrapper], Carries, threading.Lock | io.BytesIO]
)  # fmt: skip
def test_a_declared_type_of_which_no_value_could_be_judged_is_refused_at_the_start(declared):
    class Declares(Reactor):
        out = Output[declared]()

        @reaction(startup)
        def on_startup(self, out):
            """Sends nothing."""

    program = Program(Declares)
    with pytest.raises(UnrecordableValueError, match=r"declares\.out carries") as caught:
        program.start(fingerprint=True)
    assert caught.value.reaction == "declares.on_startup"
    assert program.last_run is None
    program.run()


@pytest.mark.parametrize("declared", [int, np.ndarray, list[int], object, threading.Lock | None, Point, "Later", dict])
def test_other_declared_types_are_not_refused(declared):
    class Declares(Reactor):
        out = Output[declared]()

        @reaction(startup)
        def on_startup(self, out):
            """Sends nothing."""

    assert Program(Declares).run(fingerprint=True).fingerprint


def test_check_values_goes_on_with_values_that_cannot_be_judged():
    class Both(Reactor):
        def compose(self):
            self.sends = Sends()
            self.reads = Echoes()
            connect(self.sends.out, self.reads.inp)

    run = Program(Both).run(fast=True, check_values=True, until=ms(4))
    assert run.reactions == 10


class Echoes(Reactor):
    inp = Input()

    @reaction(inp)
    def on_inp(self, inp):
        """Reads it."""


def test_the_command_line_prints_no_fingerprint_of_a_run_that_failed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "reactornb_program", raising=False)
    file = tmp_path / "program.py"
    file.write_text(
        "import threading\nfrom reactornb import *\nclass Main(Reactor):\n    out = Output()\n    @reaction(startup)\n"
        "    def on_startup(self, out):\n        out.set(threading.Lock())\n"
    )
    assert main(["run", str(file), "--fingerprint"]) == 1
    out, err = capsys.readouterr()
    assert "fingerprint" not in out
    assert "main.out" in err
    assert "no fingerprint, since the run failed" in err
