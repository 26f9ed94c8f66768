"""What reactors change outside of themselves refuses a kept run in its first tags; constants, and what startup alone changes, do not."""

import numpy as np
import pytest

from reactornb import Program, Reactor, Timer, ms, reaction, startup
from reactornb.durable.objects import NotSavableError

pytestmark = [pytest.mark.usefixtures("runs"), pytest.mark.thread_unsafe(reason="changes the environment")]

COUNT = 0
TABLE = {"a": 1, "b": np.zeros(3)}
CACHE = {}


class Tool:
    made = 0

    def __init__(self):
        type(self).made += 1


def remembers(x, seen=[]):  # noqa: B006 - what is tested
    seen.append(x)
    return len(seen)


def counts():
    counts.calls = getattr(counts, "calls", 0) + 1


class Each(Reactor):
    needs_physical_time = False
    every = Timer(0, ms(1))
    total = 0

    @reaction(startup)
    def on_startup(self):
        self.tool = Tool()

    @reaction(every)
    def on_every(self):
        self.step()

    def step(self):
        self.x = TABLE["a"]


class Global(Each):
    def step(self):
        global COUNT  # noqa: PLW0603
        COUNT += 1


class OfAModule(Each):
    def step(self):
        CACHE[len(CACHE)] = 1


class OwnClass(Each):
    def step(self):
        type(self).total += 1


class OtherClass(Each):
    def step(self):
        Tool()


class Default(Each):
    def step(self):
        remembers(1)


class OfAFunction(Each):
    def step(self):
        counts()


class Declared(OfAModule):
    transient = ("CACHE",)


@pytest.mark.parametrize(
    ("root", "name"),
    [(Global, "COUNT"), (OfAModule, "CACHE"), (OwnClass, "total"), (OtherClass, "Tool.made"), (Default, "remembers"), (OfAFunction, "counts.")],
    ids=lambda one: getattr(one, "__name__", ""),
)  # fmt: skip
def test_what_changes_outside_of_reactors_is_refused_with_its_name_and_place(root, name):
    run = Program(root).start(keep=True, until=ms(50), workers=1)
    with pytest.raises(NotSavableError) as caught:
        run.result(20.0)
    assert name in caught.value.attribute
    assert caught.value.source is not None
    assert "transient" in caught.value.fix


@pytest.mark.parametrize("root", [Each, Declared])
def test_constants_and_what_startup_changes_and_what_is_declared_are_no_matter(root):
    run = Program(root).start(keep=True, until=ms(50), workers=1)
    run.result(20.0)
    assert not [words for words in run.notices.words if "belongs to no reactor" in words]
