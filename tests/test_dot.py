"""The drawing of a graph: Lingua Franca's notation, folded banks, the same text for the same graph, any text in a label."""

import functools
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

import reactornb
from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Mode,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Timer,
    Watchdog,
    connect,
    enclave,
    ms,
    reaction,
    reset,
    sec,
    shutdown,
    startup,
)
from reactornb.viz import dot
from reactornb.viz.fold import fold

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="no Graphviz here: apt-get install graphviz")


class Rollout(Reactor):
    """Play an episode."""

    weights = Input[dict]()
    episode = Output[list](doc='one "trajectory" <b> & \\N \\ more')
    horizon: int = 100

    @reaction(weights)
    def on_weights(self, weights, episode): ...


class Learner(Reactor):
    batch = Input(width="n")
    weights = Output()
    n: int = 8
    tick = Timer(ms(10), sec(1))
    again = LogicalAction(ms(5))
    key = PhysicalAction()
    dog = Watchdog(sec(2))

    @reaction(startup)
    def on_startup(self, weights, dog): ...

    @reaction(batch)
    def on_batch(self, weights, again): ...

    @reaction(tick, again, key)
    def on_tick(self, batch): ...

    @dog
    def on_dog(self): ...

    @reaction(shutdown)
    def on_shutdown(self): ...


class Main(Reactor):
    rollouts = Bank(Rollout, 8)
    learner = Learner()
    connect(rollouts.episode, learner.batch)
    connect(learner.weights, rollouts.weights, after=ms(10))


class Modal(Reactor):
    x = Input()
    a = Mode(initial=True)
    b = Mode()
    with a:
        t = Timer()

        @reaction(t)
        def leave(self, b): ...

    with b:

        @reaction(reset)
        def again(self): ...

        @reaction(x)
        def back(self, a): ...


class Physical(Reactor):
    learner = Learner(n=1)
    modal = Modal()
    connect(learner.weights, modal.x, physical=True)


class Chain(Reactor):
    n: int = 3

    def compose(self):
        self.stage = [Rollout() for _ in range(self.n)]
        for left, right in zip(self.stage, self.stage[1:], strict=False):
            connect(left.episode, right.weights)


class Flat(Reactor):
    n: int = 3

    def compose(self):
        for i in range(self.n):
            setattr(self, f"stage_{i}", Rollout())


class Deep(Reactor):
    depth: int = 3

    def compose(self):
        for i in range(12 if self.depth else 0):
            setattr(self, f"sub{i}", Deep(depth=self.depth - 1))


def graph(root):
    return Program(root).graph


def node(text, key):
    """The attributes of a node."""
    return next(line for line in text.splitlines() if line.startswith(f'"{key}" ['))


def test_a_bank_is_one_box_with_its_width():
    text = dot.dot(graph(Main()))
    assert text.count("<b>rollouts</b> : Rollout  <b>×8</b>") == 1
    assert text.count('"main.rollouts.on_weights" [') == 1
    assert 'label="▸ batch[8]"' in text


def test_a_bank_can_be_drawn_member_by_member():
    text = dot.dot(graph(Main()), expanded=["main.rollouts"])
    assert [i for i in range(8) if f"<b>rollouts[{i}]</b>" in text] == list(range(8))
    assert "×8" not in text


def test_an_enclave_is_marked_and_what_is_in_it_is_not():
    class Pair(Reactor):
        a, b = Enclosed(), Enclosed()

    class Apart(Reactor):
        beside, pair = Enclosed(), enclave(Pair())

    text = dot.dot(graph(Apart()))
    assert text.count("<i>enclave</i>") == 1
    assert re.search(r"<b>pair</b>  <font[^>]*><i>enclave</i>", text)
    assert "an enclave: its tags are its own" in text


class Enclosed(Reactor):
    tick = Timer(ms(1))

    @reaction(tick)
    def on_tick(self): ...


def test_each_kind_has_its_symbol():
    text = dot.dot(graph(Main()))
    assert "shape=cds" in node(text, "main.learner.on_batch")
    assert 'label="2  on_batch"' in node(text, "main.learner.on_batch")
    assert "◷" in node(text, "main.learner.tick")
    assert "tick (10 ms, 1 s)" in node(text, "main.learner.tick")
    assert "△" in node(text, "main.learner.again")
    assert "L again (5 ms)" in node(text, "main.learner.again")
    assert "P key" in node(text, "main.learner.key")
    assert "◎" in node(text, "main.learner.dog")
    assert "shape=circle" in node(text, "main.learner.startup")
    assert "shape=diamond" in node(text, "main.learner.shutdown")


def test_connections_are_solid_with_their_delay_and_dependencies_dashed():
    lines = dot.dot(graph(Main())).splitlines()
    back = next(
        line
        for line in lines
        if line.startswith('"main.rollouts.weights is turned to":w -> "main.learner.weights turns":e')
    )
    assert 'label=" after 10 ms "' in back
    assert "dashed" not in back
    inside = next(
        line for line in lines if line.startswith('"main.rollouts.weights":e -> "main.rollouts.on_weights":w')
    )
    assert "style=dashed" in inside
    read = next(line for line in lines if line.startswith('"main.learner.batch":e -> "main.learner.on_tick":w'))
    assert "arrowhead=odot" in read


def test_modes_hold_what_lives_in_them_and_transitions_lead_to_them():
    picture = fold(graph(Physical()))
    assert picture.symbols["physical.modal.leave"].mode == "physical.modal.a"
    assert picture.symbols["physical.modal.t"].mode == "physical.modal.a"
    found = {(line.tail, line.head) for line in picture.lines if line.kind == "schedule"}
    assert ("physical.modal.leave", "physical.modal.b") in found
    assert ("physical.modal.back", "physical.modal.a") in found


def test_a_physical_connection_is_marked():
    lines = dot.dot(graph(Physical())).splitlines()
    (line,) = [line for line in lines if line.startswith('"physical.learner.weights":e -> "physical.modal.x"')]
    assert "style=dotted" in line
    assert "~" in line


def test_levels_are_written_on_demand():
    assert "L0" not in dot.dot(graph(Main()))
    assert 'label="1  on_weights  L0"' in dot.dot(graph(Main()), levels=True)


def test_tooltips_say_type_docstring_parameters_and_place():
    text = dot.dot(graph(Main()))
    assert "Play an episode." in text
    assert "horizon = 100" in text
    assert re.search(r'tooltip="input weights: dict"', text)
    assert re.search(r"test_dot\.py, line \d+", node(text, "main.rollouts.on_weights"))


def test_the_same_program_gives_the_same_text_in_another_process():
    script = f"import sys; sys.path.insert(0, {str(__file__).rpartition('/')[0]!r}); import test_dot as t; print(t.dot.dot(t.graph(t.Main())), end='')"
    texts = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@needs_dot
def test_any_text_can_stand_in_a_label():
    picture = ElementTree.fromstring(dot.svg(graph(Main())))
    titles = [e.get("{http://www.w3.org/1999/xlink}title", "").replace("\u2060", "") for e in picture.iter()]
    assert any('one "trajectory" <b> & \\N \\ more' in t for t in titles)


@needs_dot
def test_svg_has_a_text_alternative_and_no_prologue():
    svg = dot.svg(graph(Main()))
    assert svg.startswith('<svg role="img" aria-label="Action-port graph of main: 10 reactors,')
    assert "<!--" not in svg


@needs_dot
@pytest.mark.parametrize(
    ("root", "reactors", "label"),
    [
        (Chain(n=2), 3, "stage[1]"),
        (Chain(n=20), 21, "×20"),
        (Chain(n=2000), 2001, "×2000"),
        (Flat(n=20), 21, "stage_19"),
        (Flat(n=2000), 2001, "stage_0 … stage_1999"),
        (Deep(), 1885, "+ 156 inside"),
    ],
    ids=["2", "20", "2000 in a list", "20 names", "2000 names", "1885 nested"],
)
def test_it_is_drawn_at_2_at_20_and_at_2000_reactors(root, reactors, label):
    made = graph(root)
    assert len(made.reactors) == reactors
    began = time.monotonic()
    svg = dot.svg(made)
    assert label in svg
    assert time.monotonic() - began < 10
    assert svg.count('class="cluster"') <= 130


@needs_dot
def test_saving_goes_by_the_ending(tmp_path):
    made = graph(Main())
    assert dot.save(made, tmp_path / "new" / "g.png").read_bytes().startswith(b"\x89PNG")
    assert dot.save(made, tmp_path / "g.svg").read_text().startswith("<svg")
    assert dot.save(made, tmp_path / "g.dot").read_text() == dot.dot(made)
    assert dot.save(made, tmp_path / "g.txt").read_text() == dot.text(made)
    with pytest.raises(dot.DrawingError, match=r"saved as \.svg, \.png, \.dot or \.txt"):
        dot.save(made, tmp_path / "g.bmp")


def test_without_graphviz_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(dot.DrawingError, match="apt-get install graphviz"):
        dot.svg(graph(Main()))


def test_the_outline_needs_no_graphviz():
    assert dot.text(graph(Main())) == (
        "10 reactors, 13 reactions on 5 levels, 16 connections\n"
        "main: Main\n"
        "  rollouts ×8: Rollout\n"
        "    1 on_weights(weights) -> episode  level 0\n"
        "  learner: Learner\n"
        "    1 on_startup(startup) -> weights, dog  level 0\n"
        "    2 on_batch(batch) -> weights, again  level 1\n"
        "    3 on_tick(tick, again, key)  level 2\n"
        "    4 on_dog(dog)  level 3\n"
        "    5 on_shutdown(shutdown)  level 4\n"
        "connections\n"
        "  rollouts.episode -> learner.batch  ×8\n"
        "  learner.weights -> rollouts.weights after 10 ms  ×8\n"
    )


class Judged(Reactor):
    inp = Input()
    wide = Input(width=4)
    out = Output()

    @reaction(inp, wide, deadline=ms(5))
    def on_inp(self, out): ...

    @on_inp.missed
    def late(self, out): ...


class Bench(Reactor):
    players = Bank(Judged, 4)
    learner = Judged()
    connect(players.out, learner.wide)
    connect(learner.out, players.inp, after=ms(0), broadcast=True)


class ToItself(Reactor):
    alone = Judged()
    connect(alone.out, alone.inp, after=ms(10))


class Ring(Reactor):
    def compose(self):
        self.parts = [Judged() for _ in range(3)]
        connect(self.parts[0].out, self.parts[1].inp)
        connect(self.parts[1].out, self.parts[2].inp)
        connect(self.parts[2].out, self.parts[0].inp, after=ms(1))


def drawn_points(pos):
    """Points on a line: Graphviz gives the control points of cubic Bezier curves."""
    controls = [tuple(map(float, p.split(",")[-2:])) for p in pos.split() if p[0] not in "se"]
    for at in range(0, len(controls) - 3, 3):
        (a, b, c, d) = controls[at : at + 4]
        for t in (i / 20 for i in range(21)):
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            yield tuple(sum(w * p[k] for w, p in zip(weights, (a, b, c, d), strict=True)) for k in (0, 1))


def crossings(root, **options):
    """Lines back, and the boxes through which one of them is drawn."""
    laid = json.loads(dot._graphviz(dot.dot(graph(root), **options), "json"))
    boxes = [o for o in laid["objects"] if o["name"].startswith("cluster") and o.get("bb") and o["label"] != ""]
    inner = [b for b in boxes if b is not boxes[0]]
    names = {o["_gvid"]: o["name"] for o in laid["objects"]}
    back = [
        e for e in laid["edges"] if names[e["tail"]].endswith("is turned to") and names[e["head"]].endswith(" turns")
    ]
    found = []
    for edge in back:
        for x, y in drawn_points(edge["pos"]):
            for box in inner:
                left, low, right, high = map(float, box["bb"].split(","))
                if left < x < right and low < y < high:
                    found.append(box["name"])
    return len(back), found


@pytest.mark.skipif(not dot.is_installed(), reason="Graphviz's dot is not installed")
@pytest.mark.parametrize(
    ("root", "expanded", "count"),
    [(Bench(), (), 1), (Bench(), ("bench.players",), 4), (ToItself(), (), 1), (Ring(), (), 1)],
)
def test_a_line_back_goes_around_the_boxes_and_what_is_written_in_them(root, expanded, count):
    assert crossings(root, expanded=expanded) == (count, [])


@pytest.mark.skipif(not dot.is_installed(), reason="Graphviz's dot is not installed")
@pytest.mark.parametrize("width", [2, 4, 9])
def test_members_of_an_unfolded_bank_stand_in_their_order(width):
    class Wide(Reactor):
        players = Bank(Judged, width)
        learner = Judged()
        connect(learner.out, players.inp, after=ms(0), broadcast=True)

    laid = json.loads(dot._graphviz(dot.dot(graph(Wide()), expanded=["wide.players"]), "json"))
    heights = {o["name"]: float(o["pos"].split(",")[1]) for o in laid["objects"] if "pos" in o}
    own = [heights[f"wide.players[{i}].inp"] for i in range(width)]
    assert own == sorted(own, reverse=True)


def test_a_deadline_stands_on_its_reaction_and_on_no_other():
    text = dot.dot(graph(Bench()))
    assert "on_inp  ≤ 5 ms" in node(text, "bench.learner.on_inp")
    assert "≤" not in dot.dot(graph(Main()))


def test_a_partial_function_and_a_library_class_are_named_as_their_users_know_them():
    from reactornb.viz.fold import _brief

    assert _brief(functools.partial(divmod, 7, y=2)) == "divmod(7, y=2, …)"
    assert _brief(graph) == "graph"
    assert _brief(Bench) == "Bench"
    assert _brief([1, 2]) == "[1, 2]"


def test_a_class_of_the_library_is_where_it_stands_there_and_not_where_a_cell_imported_it():
    file = str(Path(reactornb.__file__).parent / "rl" / "made_up.py")
    names = {"__name__": "reactornb.rl.made_up", "Reactor": Reactor, "Bank": Bank}
    text = "\n" * 6 + "class Ready(Reactor):\n    lr: float = 0.1\n\nclass Holds(Reactor):\n    inner = Ready()\n"
    exec(compile(text, file, "exec"), names)
    assert str(names["Ready"]._definition) == "reactornb.rl.made_up, line 7"
    tips = {box.label: box.tooltip for box in fold(graph(names["Holds"]())).boxes.values()}
    assert tips["inner"].endswith("class Ready in reactornb.rl.made_up, line 7")
    assert "line 10" in tips["holds"]
    assert str(Judged._definition).startswith(__file__), "a user's own class"
