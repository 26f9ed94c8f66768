"""Generators of the whole process: who draws from one is named, with the line; who does not is left alone."""

import random  # noqa: TID251 - that it is not to be used is what this is about
import sys
from pathlib import Path

import numpy as np
import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction, startup
from reactornb.runtime.generators import states

OPTIONS = {"timeout": ms(6), "fast": True}


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


@pytest.mark.parametrize("check", [False, True])
def test_a_draw_after_the_first_tags_is_found_under_check_values(check):
    run = Program(Late).start(workers=2, timeout=ms(70), fast=True, check_values=check)
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
    for tags in (0, 5, 10**6):
        monkeypatch.setattr("reactornb.runtime.generators.Generators.tags", tags)
        run = Program(Chain).start(workers=workers, timeout=ms(40), fast=True, fingerprint=True)
        prints.add((run.result().fingerprint, run.reactions))
        assert run.warnings == []
    assert len(prints) == 1


def test_each_draw_changes_what_is_compared_and_nothing_else_does():
    before = states()
    assert states() == before
    for draw, name in [(random.random, "random"), (np.random.rand, "numpy.random")]:
        for _ in range(1300):  # twice around all 624 words
            was = states()
            draw()
            now = states()
            assert [key for key in now if was[key] != now[key]] == [name]
    assert "torch" in sys.modules or "torch's global generator" not in before
