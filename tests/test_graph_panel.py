"""The graph's panel without a page: what it asks of a run, when, and what it says of which part of the picture."""

import re
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("anywidget")

from reactornb import Bank, Input, Output, Program, Reactor, connect, ms, reaction, startup
from reactornb.runtime.sampling import Window
from reactornb.viz import dot
from reactornb.viz.fold import fold
from reactornb.viz.graph_panel import GraphPanel
from reactornb.viz.heat import Heat

WAIT = 10.0


class Worker(Reactor):
    inp = Input[int](doc="the question")
    out = Output[int]()

    @reaction(inp)
    def on_inp(self, inp, out):
        """Work."""
        out.set(sum(range(2000)))


class Team(Reactor):
    """Holds workers."""

    inp = Input[int]()
    out = Output[int](width=3)
    workers = Bank(Worker, 3)
    connect(inp, workers.inp, broadcast=True)
    connect(workers.out, out)


class Asker(Reactor):
    answers = Input(width=3)
    question = Output()
    rounds: int
    gate: object = None
    count = 0

    @reaction(startup, answers)
    def ask(self, question):
        self.count += 1
        if self.count == 3 and self.gate is not None:
            self.gate(self)
        if self.count < self.rounds:
            question.set(self.count)


class Main(Reactor):
    gate: object = None
    rounds: int = 100

    def compose(self):
        self.asker = Asker(rounds=self.rounds, gate=self.gate)
        self.team = Team()
        connect(self.asker.question, self.team.inp)
        connect(self.team.out, self.asker.answers, after=0)


@pytest.fixture
def held(monkeypatch):
    """A run that stands in its third reaction of `ask` until it is let go, and one window to its end."""
    monkeypatch.setattr(Window, "least_ns", 1 << 60)
    stands, go = threading.Event(), threading.Event()

    def gate(_):
        stands.set()
        assert go.wait(WAIT)

    program = Program(Main(gate=gate))
    run = program.start(workers=1, fast=True, placement="none")
    assert stands.wait(WAIT)
    run.let_go = go.set
    yield run
    go.set()
    run.stop()


def classes(text, prefix):
    return [line for line in text.splitlines() if f"class={prefix}" in line or f' {prefix}"' in line]


def test_reactions_lines_and_closed_boxes_have_numbers_in_the_picture():
    graph = Program(Main()).graph
    text = dot.dot(graph, depth=1)
    assert '"main.asker.ask" [class=r0, ' in text
    assert 'class="b2"' in text, "the team's workers are not drawn, so their time is the team's"
    assert 'class="b' not in dot.dot(graph, depth=2)
    picture = fold(graph)
    lines = [line for line in dot.write(picture).splitlines() if "->" in line]
    numbers = [int(re.search(r"class=l(\d+)\]", line)[1]) for line in lines]
    assert numbers == sorted(numbers), "a line back has several parts, which follow each other"
    assert set(numbers) == set(range(len(picture.lines)))
    assert [s.reactions for s in picture.symbols.values() if s.kind == "reaction"] == [[0], [1, 2, 3]]


def test_the_tooltip_of_a_reactor_says_its_ports_with_types_and_docstrings():
    picture = fold(Program(Main()).graph)
    assert "input inp: int (the question)" in picture.boxes["main.team.workers"].tooltip
    assert "output out: int" in picture.boxes["main.team"].tooltip


@pytest.mark.parametrize("depth", [None, 1])
def test_shares_rates_and_values_are_those_of_the_run(held, depth):
    heat = Heat(held)
    assert not heat.look()
    assert heat.of(fold(held.program.graph)) == {}
    held.let_go()
    held.wait(WAIT)
    assert heat.look()
    picture = fold(held.program.graph, depth=depth)
    found = heat.of(picture)
    ask, *rest = found["reactions"]
    inside = found["boxes"][list(picture.boxes).index("main.team")]
    works = rest[0] if depth is None else inside
    assert ask[0] + works[0] == pytest.approx(1, abs=0.01)
    assert works[0] > ask[0], "it does the work"
    assert works[1] == pytest.approx(3 * ask[1], rel=0.05), "three workers for each question"
    if depth is None:
        assert inside == [0, 0, 0], "what is drawn is not shown twice"
    by_ends = {(line.tail, line.head): rate for line, rate in zip(picture.lines, found["lines"], strict=True)}
    assert by_ends["main.asker.question", "main.team.inp"] == pytest.approx(ask[1], rel=0.05)
    back = by_ends["main.team.out", "main.asker.answers"]
    assert back == pytest.approx(3 * ask[1], rel=0.05), "through the team's own port, from where it is written"
    assert by_ends["main.asker.startup", "main.asker.ask"] is None


def test_a_panel_asks_a_run_only_while_a_page_shows_it(held):
    asked = []
    panel = GraphPanel(held.program.graph, seen=asked.append)
    panel.follow(held)
    assert panel.following == f"run {held.number} of main: running"
    assert panel.refresh() is False
    assert held._engine._sampler is None, "nobody looks"
    panel._answer({"do": "seen", "view": "a", "seen": True})
    panel._answer({"do": "seen", "view": "b", "seen": True})
    panel._answer({"do": "seen", "view": "a", "seen": False})
    assert asked == [panel] * 3
    assert panel.refresh() is True
    assert held._engine._sampler is not None
    panel._answer({"do": "seen", "view": "b", "seen": False})
    assert panel.refresh() is False
    panel.close()


def test_a_panel_looks_at_most_twice_a_second_and_keeps_the_last_colors(held, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("reactornb.viz.graph_panel.time.perf_counter", lambda: now[0])
    panel = GraphPanel(held.program.graph)
    panel._answer({"do": "seen", "view": "a", "seen": True})
    panel.follow(held)
    looks = []
    original = panel._heat.look
    monkeypatch.setattr(panel._heat, "look", lambda: looks.append(now[0]) or original())
    for at in (100.0, 100.1, 100.4, 100.6, 100.9, 101.2):
        now[0] = at
        assert panel.refresh()
    assert looks == [100.0, 100.6, 101.2]
    held.let_go()
    held.wait(WAIT)
    panel._heat.look()
    panel._show_heat()
    assert panel.heat["reactions"]
    assert panel.sent_bytes > 0
    assert panel.refresh() is False
    assert panel.following.endswith("finished")
    panel._answer({"do": "look", "levels": False, "depth": 1})
    assert len(panel.heat["reactions"]) == 1, "another picture has other parts"
    panel.close()


def test_a_program_made_anew_of_the_same_classes_fits_and_another_does_not():
    panel = GraphPanel(Program(Main()).graph)
    same = Program(Main()).start(workers=1, fast=True)
    other = Program(Team()).start(workers=1, fast=True, until=ms(1))
    assert panel.fits(same)
    assert not panel.fits(other)
    for run in (same, other):
        run.stop()
    panel.close()


class PumpAtHand:
    """What `Displays` asks of a pump."""

    def __init__(self):
        self.thread = threading.get_ident()
        self.moved = []

    def add(self, panel, look):
        self.moved.append(panel)

    def call(self, fn):
        fn()


def test_graphs_that_are_seen_follow_the_newest_run_that_fits_as_soon_as_it_begins():
    pytest.importorskip("IPython")
    from reactornb.notebook.displays import Displays

    displays = Displays(SimpleNamespace(kernel=None))
    displays.pump = pump = PumpAtHand()
    seen, hidden, other = (GraphPanel(Program(root()).graph, seen=displays._follow) for root in (Main, Main, Team))
    displays._open += [seen, hidden, other]
    go = threading.Event()
    for panel in (seen, other):
        panel._answer({"do": "seen", "view": "a", "seen": True})
    assert pump.moved == []
    displays.output = SimpleNamespace(keep_new=lambda _: None, undecided=lambda _: None)
    run = displays.begin(lambda: Program(Main(gate=lambda _: go.wait(WAIT))).start(workers=1, fast=True))
    try:
        assert (seen.run, hidden.run, other.run) == (run, None, None)
        assert pump.moved == [seen]
        hidden._answer({"do": "seen", "view": "b", "seen": True})
        assert hidden.run is run
    finally:
        go.set()
        run.stop()
    for panel in (seen, hidden, other):
        panel.close()
