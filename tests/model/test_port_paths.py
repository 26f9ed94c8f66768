"""Paths to ports of contained reactors: in parts from the text of a decorator or of a front end to the graph."""

import re
from pathlib import Path

import pytest

from reactornb import Bank, Input, Output, Reactor, reaction, startup
from reactornb.errors import AssemblyError, UnknownNameError
from reactornb.graph import assemble
from reactornb.model import PortPath
from reactornb.model.port_path import as_path

ROOT = Path(__file__).parents[2]


class Source(Reactor):
    out = Output[int]()
    wide = Output[int](width=2)
    inp = Input[int]()


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("counter.count", PortPath("counter", "count")),
        ("rollouts[3].episode", PortPath("rollouts", "episode", 3)),
        ("interleaved(rollouts.episode)", PortPath("rollouts", "episode", None, True)),
        ("interleaved(rollouts[0].episode)", PortPath("rollouts", "episode", 0, True)),
    ],
)
def test_text_in_a_decorator_is_taken_apart_once_and_comes_back_the_same(written, path):
    assert as_path(written) == path
    assert str(path) == written


@pytest.mark.parametrize("written", ["lr", "a.b.c", "interleaved(a.b", "a.b)", "a[x].b", "a[1]", "", "."])
def test_text_that_is_no_path_stays_a_name(written):
    assert as_path(written) == written


def triggers(decorator, *, width=3):
    class Top(Reactor):
        def compose(self):
            self.sources = Bank(Source, width)
            self.single = Source()
            self.some = [Source(), Source()]

        @decorator
        def on_it(self):
            pass

    graph = assemble(Top())
    return [graph.ports[i].name.removeprefix("top.") for _, i in graph.reaction("top.on_it").triggers]


@pytest.mark.parametrize(
    ("written", "channels"),
    [
        ("sources.out", ["sources[0].out", "sources[1].out", "sources[2].out"]),
        ("sources[1].out", ["sources[1].out"]),
        ("single.out", ["single.out"]),
        ("some[1].out", ["some[1].out"]),
        ("single.wide", ["single.wide[0]", "single.wide[1]"]),
        (
            "interleaved(sources.wide)",
            [f"sources[{member}].wide[{channel}]" for channel in range(2) for member in range(3)],
        ),
    ],
)
def test_a_path_in_a_decorator_means_these_channels(written, channels):
    assert triggers(reaction(written)) == channels


@pytest.mark.parametrize(
    ("written", "unknown"),
    [
        ("source.out", "source"),
        ("sources.outs", "outs"),
        ("sources[3].out", "sources[3]"),
        ("some[2].out", "some[2]"),
        ("sources.out.x", "sources.out.x"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_by_the_part_that_is_unknown(written, unknown):
    with pytest.raises(UnknownNameError) as caught:
        triggers(reaction(written))
    assert caught.value.unknown == unknown


def test_a_path_to_an_input_triggers_nothing():
    with pytest.raises(AssemblyError, match=r"cannot be triggered by top\.single\.inp, an input"):
        triggers(reaction("single.inp"))


def test_a_declared_path_needs_the_reactor_in_the_signature():
    class Top(Reactor):
        sources = Bank(Source, 2)

        @reaction(startup, effects="sources[0].inp")
        def begin(self):
            pass

    words = r"declares sources\[0\]\.inp but cannot touch it: its signature lacks 'sources'"
    with pytest.raises(AssemblyError, match=words):
        assemble(Top())


def test_model_and_graph_name_no_front_end_s_language():
    for folder in ("model", "graph"):
        for file in (ROOT / "reactornb" / folder).glob("*.py"):
            found = re.findall(r"lingua|franca|\blf\b|_lf", file.read_text(), re.IGNORECASE)
            assert found == [], file
