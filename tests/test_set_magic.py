"""`%reactor set` on a real shell, and the widget that it shows."""

import re

import pytest

pytest.importorskip("IPython")

from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from shells import Cells, loaded_shell
from stepping import Stepped, settle

WAIT = 20.0
CELLS = [
    "%load_ext reactornb",
    """%%reactor Player
from typing import Literal
epsilon: float | None = None
kind: Literal["greedy", "soft"] = "greedy"
width: int = 8
env: Fixed[str] = "CartPole-v1"
""",
    """%%reactor Learner
n: int
lr: float = 2.5e-4
anneal: bool = False
ins = Input(width="n")
call = PhysicalAction()

@reaction("lr")
def on_lr(self):
    self.log(lr=self.lr)
""",
    """%%reactor Main
def compose(self):
    self.learner = Learner(n=0)
    self.players = Bank(Player, 3)
""",
]


class Tuned(Cells):
    """Cells of which one has started a run."""

    @property
    def run(self):
        return self.shell.user_ns["run"]

    def changed(self, count):
        """Once so many changes are made: path and value of the last."""
        while len(self.run.changes) < count:
            assert not self.run.wait(0.01)
        return self.run.changes[-1].path, self.run.changes[-1].new


@pytest.fixture
def cells():
    with loaded_shell() as loaded:
        tuned = Tuned(loaded.shell)
        for cell in CELLS:
            tuned.ok(cell)
        tuned.ok("run = %reactor start Main --workers 1")
        yield tuned


def test_a_parameter_is_set_and_the_change_recorded(cells):
    assert cells.ok("%reactor set learner.lr 1e-4") == "learner.lr: 0.00025 -> 0.0001 from its next tag on\n"
    assert cells.changed(1) == ("main.learner.lr", 1e-4)
    assert cells.ok("%reactor set learner.lr") == "main.learner.lr = 0.0001\n"
    cells.ok("best = 0.5")
    assert (
        cells.ok("%reactor set players.epsilon best")
        == "players.epsilon of 3 reactors: None -> 0.5 from its next tag on\n"
    )
    assert cells.changed(4) == ("main.players[2].epsilon", 0.5)
    cells.ok("%reactor set players[1].kind soft")
    assert cells.changed(5) == ("main.players[1].kind", "soft")
    assert "lr = 0.0001  (set while it runs; 0.00025 at the start)" in cells.ok("%reactor inspect learner")
    assert cells.ok("%reactor set") == (
        "learner.lr = 0.0001\nlearner.anneal = False\nplayers.epsilon = 0.5  (3 reactors)\n"
        "players.kind = differs  (3 reactors)\nplayers.width = 8  (3 reactors)\n"
    )


def test_a_paused_run_says_that_it_waits_and_negative_numbers_are_no_options(cells):
    cells.ok("%reactor pause")
    assert cells.ok("%reactor set players.width -3").endswith("8 -> -3 when the run goes on\n")
    assert cells.ok("%reactor set players.epsilon -1e-3").endswith("None -> -0.001 when the run goes on\n")
    cells.ok("%reactor resume")
    cells.changed(6)
    assert set(cells.run.parameters("players.epsilon").values()) == {-1e-3}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("learner.anneall 1", "main.learner .Learner. has no parameter 'anneall'. Did you mean 'anneal'?"),
        ("lerner.lr 1", "Did you mean 'learner'?"),
        ("learner.n 3", "decides the width of port 'ins'"),
        ("players.env Pong", "only looked at when the program starts"),
        ("learner.lr fast", "main.learner.lr cannot be 'fast': Learner declares it as float"),
        ("players.kind hard", "one of 'greedy', 'soft'"),
        ("learner.lr=1e-4", "no = between the two: %reactor set learner.lr 1e-4"),
        ("learner.lr 1 --log", "--log belongs to a slider: %reactor set learner.lr --widget --log"),
        ("--widget", "%reactor set learner.learning_rate --widget"),
        ("learner.lr 1 Nobody", "'Nobody' has no run yet"),
        ("learner.lr --min x --widget", "--min"),
        ("learner.lr --widget", "there are no widgets here; set it with %reactor set learner.lr VALUE"),
    ],
)
def test_mistakes_are_one_line(cells, line, words):
    out = cells(f"%reactor set {line}")
    assert type(cells.error) is UsageError
    assert re.search(words.replace("?", r"\?"), str(cells.error)), cells.error
    assert len(out.strip().splitlines()) == 1


def test_nothing_runs(cells):
    cells.ok("%reactor stop")
    cells("%reactor set learner.lr 1")
    assert "nothing is running" in str(cells.error)
    assert "learner.lr = 0.00025" in cells.ok("%reactor set"), "what the last run has can still be looked at"


def completions(cells, text):
    with provisionalcompleter():
        return [c.text for c in cells.shell.Completer.completions(text, len(text))]


def test_paths_and_values_complete(cells):
    assert completions(cells, "%reactor se") == ["set"]
    assert completions(cells, "%reactor set lear") == ["learner.lr", "learner.anneal"]
    assert completions(cells, "%reactor set players.") == ["players.epsilon", "players.kind", "players.width"]
    assert completions(cells, "%reactor set players[1].e") == ["players[1].epsilon"]
    assert completions(cells, "%reactor set players.kind ") == ["greedy", "soft"]
    assert completions(cells, "%reactor set learner.anneal ") == ["True", "False"]
    assert "--widget" in completions(cells, "%reactor set learner.lr --")


def test_help_has_the_twin(cells):
    out = cells.ok("%reactor set --help")
    assert 'run.set("learner.learning_rate", 1e-4)' in out
    assert "replay=run.changes" in out
    assert "current_session().control(" in out


# -- the widget -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(cells):
    """A run that executed its first tags, and whose clock stands still."""
    cells.run.stop()
    run = Stepped(cells.shell.user_ns["Main"]).run
    yield run
    run.stop()


def control(run, path, **options):
    from reactornb.viz.control import Control

    return Control(run, path, **options)


@pytest.mark.parametrize(
    ("path", "options", "kind", "ends"),
    [
        ("learner.lr", {}, "FloatLogSlider", (-6, -2)),
        ("learner.lr", {"low": 1e-5, "high": 1e-1}, "FloatLogSlider", (-5, -1)),
        ("learner.lr", {"low": 0, "high": 0.1}, "FloatSlider", (0, 0.1)),
        ("players.epsilon", {}, "FloatSlider", (0, 1)),
        ("players.width", {}, "IntSlider", (0, 80)),
        ("players.width", {"low": 4, "high": 16, "step": 4}, "IntSlider", (4, 16)),
        ("learner.anneal", {}, "Checkbox", None),
        ("players.kind", {}, "Dropdown", None),
    ],
)
def test_the_widget_fits_the_parameter(held, path, options, kind, ends):
    made = control(held, path, **options)
    assert type(made.widget).__name__ == kind
    if ends is not None:
        assert (made.widget.min, made.widget.max) == pytest.approx(ends)
    made.close()


def test_what_is_moved_is_set_and_what_is_set_elsewhere_is_shown(held):
    made = control(held, "learner.lr")
    held.pause()
    settle(held)
    made.widget.value = 1e-3
    settle(held)
    assert held.changes == [], "a change waits for the next tag"
    held.resume()
    settle(held)
    assert made.refresh()
    assert (made.words(), made.present()) == ("", "0.001")
    held.set("learner.lr", 5e-4)
    settle(held)
    made.refresh()
    assert made.widget.value == pytest.approx(5e-4)
    held.set("learner.lr", 0.5)  # beyond its end
    settle(held)
    made.refresh()
    assert (made.widget.value, made.words()) == (pytest.approx(0.01), "is 0.5")
    assert [c.new for c in held.changes] == pytest.approx([1e-3, 5e-4, 0.5]), "showing a value sets nothing"
    held.stop()
    assert not made.refresh()
    assert made.widget.disabled
    assert "is over" in made.words()
    made.close()


@pytest.mark.parametrize(
    ("path", "options", "clicked", "moved"),
    [
        ("learner.lr", {}, 10 ** (-6 + 48 * 0.05), 10 ** (-6 + 49 * 0.05)),
        ("learner.lr", {"low": 0, "high": 0.001, "step": 1e-4}, 2e-4, 3e-4),
        ("players.width", {"low": 5, "high": 16, "step": 4}, 9, 13),
    ],
)
def test_a_click_on_a_slider_that_does_not_move_it_changes_nothing(held, path, options, clicked, moved):
    made = control(held, path, **options)
    before = next(iter(held.parameters(path).values()))
    made.widget.value = clicked  # the place on the slider's own grid that is nearest to what the parameter is
    settle(held)
    assert held.changes == []
    made.refresh()
    assert made.widget.value == pytest.approx(before), "it stands where the parameter is"
    made.widget.value = moved
    settle(held)
    assert {change.new for change in held.changes} == {made.widget.value}
    made.close()


def test_moving_a_slider_back_before_the_run_took_the_change_is_a_change(held):
    made = control(held, "learner.lr")
    held.pause()
    made.widget.value = 1e-3
    made.widget.value = 10 ** (-6 + 48 * 0.05)
    settle(held.resume())
    assert held.instance("learner").lr == pytest.approx(10 ** (-6 + 48 * 0.05))
    made.close()


def test_a_paused_run_keeps_what_the_slider_shows(held):
    made = control(held, "players.width")
    held.pause()
    made.widget.value = 12
    settle(held)
    made.refresh()
    assert made.widget.value == 12
    assert made.words() == "is 8 until the run goes on"
    settle(held.resume())
    made.refresh()
    assert (made.widget.value, made.words()) == (12, "")
    made.close()


def test_wrong_ends_are_refused(held):
    for options in ({"low": 1, "high": 0}, {"low": 0, "high": 1, "log": True}):
        with pytest.raises(ValueError, match="slider"):
            control(held, "learner.lr", **options)
