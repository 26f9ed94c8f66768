"""Generators of the whole process: who draws from one is named, with the line; who does not is left alone."""

import random  # noqa: TID251 - that it is not to be used is what this is about
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction, startup
from reactornb.runtime.generators import _INSTEAD, Generators, _line, states

pytestmark = pytest.mark.thread_unsafe(reason="the generators are those of the process")

OPTIONS = {"until": ms(6), "fast": True}


def line_of(words):
    return next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if words in line)


class Python(Reactor):
    t = Timer(0, ms(1))

    @reaction(t)
    def on_t(self):
        self.rng.random()
        random.random()  # Python's


class Numpy(Reactor):
    t = Timer(0, ms(1))

    @reaction(t)
    def on_t(self):
        if self.rng.random() >= 0:
            np.random.rand()  # NumPy's  # noqa: NPY002


class Seeds(Reactor):
    @reaction(startup)
    def on_startup(self):
        np.random.seed(3)  # seeds  # noqa: NPY002


def deeper():
    return random.randint(0, 9)


class Deeper(Reactor):
    t = Timer(0, ms(1))

    @reaction(t)
    def on_t(self):  # deeper
        deeper()


class Own(Reactor):
    t = Timer(0, ms(1))

    @reaction(startup)
    def on_startup(self):
        self.mine = random.Random(self.seed)
        self.generator = np.random.RandomState(1)

    @reaction(t)
    def on_t(self):
        self.mine.random()
        self.generator.rand()
        self.rng.random()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("kind", "generator", "where"),
    [
        (Python, "random", "random.random()  # Python's"),
        (Numpy, "numpy.random", "np.random.rand()  # NumPy's"),
        (Seeds, "numpy.random", "np.random.seed(3)  # seeds"),
        (Deeper, "random", "@reaction(t)\n"),
    ],
)
def test_who_draws_from_a_generator_of_the_process_is_named_with_the_line(kind, generator, where, workers):
    np.random.rand()  # what is seeded again as it was cannot be seen  # noqa: NPY002

    class Main(Reactor):
        own = Bank(Own, 3)
        drawing = Bank(kind, 2)

    run = Program(Main).start(workers=workers, **OPTIONS)
    run.result()
    (said,) = run.warnings
    assert f"drew from {generator}, which" in said
    assert "main.drawing[" in said
    assert "own" not in said.partition(" drew from ")[0]
    if kind is not Deeper:
        assert f"line {line_of(where)})" in said
    assert "self.rng" in said


def test_generators_of_ones_own_are_no_news():
    run = Program(Own).start(workers=2, **OPTIONS)
    run.result()
    assert run.warnings == []


class Late(Reactor):
    t = Timer(0, ms(1))
    count: int = 0

    @reaction(t)
    def on_t(self):
        self.count += 1
        if self.count == 60:
            random.random()


class Tenth(Reactor):
    t = Timer(0, ms(1))
    count: int = 0

    @reaction(t)
    def on_t(self):
        self.count += 1
        if self.count == 10:
            np.random.rand()  # once  # noqa: NPY002


class FromTheTenth(Reactor):
    t = Timer(0, ms(1))
    count: int = 0

    @reaction(t)
    def on_t(self):  # again and again
        self.count += 1
        if self.count >= 10:
            deeper()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("kind", "generator", "where"),
    [
        (Tenth, "numpy.random", "np.random.rand()  # once"),
        (FromTheTenth, "random", "@reaction(t)\n    def on_t(self):  # again"),
    ],
)
def test_who_begins_to_draw_between_two_tags_that_are_compared_as_a_whole_is_named_too(kind, generator, where, workers):
    class Main(Reactor):
        own = Bank(Own, 3)
        drawing = kind()

    run = Program(Main).start(workers=workers, until=ms(40), fast=True)
    run.result()
    (said,) = run.warnings
    line = Path(__file__).read_text().partition(where)[0].count("\n") + 1
    assert said.startswith("main.drawing.on_t (")
    assert f"line {line}) drew from {generator}, which" in said


def test_a_class_of_the_module_is_not_taken_for_its_generator():
    class Main(Reactor):
        @reaction(startup)
        def on_startup(self):
            from random import Random  # noqa: TID251

            self.mine = random.Random(self.seed), Random(self.seed), np.random.default_rng(self.seed)

        @reaction(startup)
        def and_draw(self):
            from random import shuffle  # noqa: TID251

            shuffle([])  # draws

    never, draws = (SimpleNamespace(node=node) for node in Program(Main).graph.reactions)
    assert _line(never, "random") is _line(never, "numpy.random") is None
    assert _line(draws, "random") == line_of("shuffle([])  # draws") - 2


@pytest.mark.parametrize("check", [False, True])
def test_a_draw_after_the_first_tags_is_found_under_check_values(check):
    run = Program(Late).start(workers=2, until=ms(70), fast=True, check_values=check)
    run.result()
    assert any("main.on_t" in said or "late.on_t" in said for said in run.warnings) is check


class Sender(Reactor):
    t = Timer(0, ms(1))
    out = Output()

    @reaction(t)
    def on_t(self, out):
        out.set(int(self.rng.integers(100)))


class Adder(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value + 1)


class Chain(Reactor):
    senders = Bank(Sender, 70)  # more than are called line by line
    adders = Bank(Adder, 70)

    connect(senders.out, adders.inp)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_look_leaves_the_run_as_it_is(workers, monkeypatch):
    prints = set()
    for tags, close in [(0, 3), (5, 3), (10**6, 3), (10**6, 10**6)]:
        monkeypatch.setattr(Generators, "tags", tags)
        monkeypatch.setattr(Generators, "close", close)
        run = Program(Chain).start(workers=workers, until=ms(40), fast=True, fingerprint=True)
        prints.add((run.result().fingerprint, run.reactions))
        assert [said for said in run.warnings if "PYTHONHASHSEED" not in said] == []  # the process's first
    assert len(prints) == 1


def test_each_draw_changes_what_is_compared_and_nothing_else_does():
    before = states()
    assert states() == before
    for draw, name in [(random.random, "random"), (np.random.rand, "numpy.random")]:
        for _ in range(1300):  # twice around all 624 words
            was = states()
            draw()
            now = states()
            assert [key for key, a, b in zip(_INSTEAD, was, now, strict=True) if a != b] == [name]
    assert "torch" in sys.modules or before[2] is None


def test_a_half_imported_torch_is_not_asked_for_its_generator(monkeypatch):
    """It crashes the process: seen in a kernel, whose torch is imported in the background while a first run begins."""
    import sys
    from types import ModuleType, SimpleNamespace

    from reactornb.runtime.generators import states

    class Generator:
        def get_state(self):
            raise AssertionError("asked")

    half = ModuleType("torch")
    half.default_generator = Generator()
    half.__spec__ = SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "torch", half)
    before = states()
    assert states() == before
    half.__spec__ = SimpleNamespace(_initializing=False)
    with pytest.raises(AssertionError, match="asked"):
        states()
