"""Over what curves are drawn: environment steps, the wall clock, episodes or the tag; in which order, in which groups, with which marks."""

from types import SimpleNamespace

import numpy as np
import pytest

from reactornb import Program, Reactor, Tag, Timer, ms, reaction
from reactornb.errors import ReactorError
from reactornb.runtime import FakeClock
from reactornb.runtime.logs import Log
from reactornb.runtime.metrics import metrics_of, rows_until
from reactornb.viz.axes import axes_of, checked_axis, in_order, resolved, shown
from reactornb.viz.curves import plot, series_of
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import legends, marks_of
from reactornb.viz.run_view import RunsView, RunView
from reactornb.viz.series import LogReader, Series, episodes_in_mean, rolling_mean


class Player(Reactor):
    """Two episodes end at each tick, after eight steps; every fourth tick is evaluated."""

    lr: float = 0.1
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        n = self.time_ns // ms(1)
        for i in range(2):
            self.log(episode_return=2.0 * n + i, episode_length=4)
        self.log(steps=8)
        self.log(loss=self.lr / (1 + n))
        if n % 4 == 3:
            for i in range(3):
                self.log(eval_return=10.0 + n + i)
            self.log(eval_mean=11.0 + n)


class Plain(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        self.log(loss=1.0)


def finished(root, ticks=20, **options):
    run = Program(root).start(workers=1, clock=FakeClock(), until=ms(ticks - 1), **options)
    assert run.wait(20)
    return run


def changed(ticks=20):
    """A run whose learning rate is another one from its tenth tick on."""
    program = Program(Player())
    run = program.start(workers=1, clock=FakeClock(), until=ms(ticks - 1), fast=True)
    assert run.wait(20)
    from reactornb.runtime.tuning import Change

    again = program.start(
        workers=1, clock=FakeClock(), until=ms(ticks - 1), replay=[Change(Tag(ms(9), 0), "player.lr", 0.1, 0.01)]
    )
    assert again.wait(20)
    return again


# -- places on the axes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["microsteps of one time", "times alone", "both"])
def test_rows_are_counted_up_to_and_at_a_tag(kind):
    random = np.random.default_rng(1)

    def tags(count):
        times = random.integers(0, 1 if kind.startswith("micro") else 6, count)
        steps = random.integers(0, 1 if kind.startswith("times") else 6, count)
        order = np.lexsort((steps, times))
        return times[order], steps[order]

    for counts in ((0, 5), (5, 0), (1, 1), (30, 40), (40, 30)):
        first, second = map(tags, counts)
        pairs = list(zip(*first, strict=True))
        expected = [sum(pair <= tag for pair in pairs) for tag in zip(*second, strict=True)]
        assert rows_until(*first, *second).tolist() == expected


def test_an_episode_is_counted_by_itself_and_anything_else_by_the_episodes_that_ended():
    metrics = finished(Player(), 8).metrics
    assert metrics["episode_return"].episodes.tolist() == list(range(1, 17))
    assert metrics["episode_length"].episodes.tolist() == list(range(1, 17))
    assert metrics["loss"].episodes.tolist() == list(range(2, 17, 2))
    assert metrics["eval_return"].episodes.tolist() == [8] * 3 + [16] * 3
    assert metrics["eval_return"].steps.tolist() == [32] * 3 + [64] * 3
    assert [metrics[name].is_of_episodes for name in ("episode_length", "loss")] == [True, False]
    assert finished(Plain()).metrics["loss"].episodes.tolist() == [0] * 20


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_what_is_read_while_a_run_goes_on_stands_where_its_metrics_say(piece):
    random = np.random.default_rng(piece)
    logs = [Log() for _ in range(3)]
    run = type("Rows", (), {"logs": logs, "tag": (0, 0), "is_alive": True, "began_s": -5.0})()
    reader = LogReader(run, 8000)
    for number in range(600):
        tag = number // 4 // 10, number // 4 % 10
        log = logs[int(random.integers(3))]
        what = int(random.integers(4))
        names = [{"episode_return": 1.0, "episode_length": 2}, {"steps": number}, {"loss": 1.0}, {"eval_return": 3.0}]
        log.add(tag, names[what])
        if number % piece == 0:
            run.tag = tag
            reader.read()
    run.is_alive = False
    reader.read()
    metrics = metrics_of(logs, -5.0)
    assert reader.series.keys() == metrics.keys()
    for name, metric in metrics.items():
        rows, _ = reader.series[name].buckets()
        whole = Series(8000)
        whole.extend_by(metric)
        assert np.array_equal(rows, whole.buckets()[0])
        assert rows[2].tolist() == metric.steps.tolist()
        assert rows[3].tolist() == metric.wall_s.tolist()
        assert rows[4].tolist() == metric.episodes.tolist()
        assert reader.series[name].is_of_episodes == metric.is_of_episodes == name.startswith("episode")


def test_all_that_has_one_number_of_steps_is_one_point():
    series = series_of(finished(Player(), 6))
    x, mean, least, greatest = series["episode_return"].points("steps")
    assert x.tolist() == [8, 16, 24, 32, 40, 48]
    assert mean.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert (greatest - least).tolist() == [1] * 6
    assert [len(series["episode_return"].points(axis)[0]) for axis in ("time", "episodes", "sample")] == [6, 12, 12]
    assert series["eval_return"].points("steps")[1].tolist() == [14.0]


@pytest.mark.parametrize("axis", ["time", "microstep", "steps", "wall", "episodes", "sample"])
def test_x_never_falls_and_a_point_is_found_again_by_it(axis):
    series = Series(8)
    count = 41
    tags = [(i // 4 * 10**9, i % 4) for i in range(count)]
    series.extend(
        *zip(*tags, strict=True), range(count), steps=np.arange(count) // 3 * 5, wall=np.arange(count) / 7, episodes=np.arange(count) // 2
    )  # fmt: skip
    x, *_ = series.points(axis)
    assert (np.diff(x) >= 0).all()
    ends = {tags[min((i + 1) * series.per_bucket, count) - 1] for i in range(-(-count // series.per_bucket))}
    assert all(series.tag_near(float(at), axis) in ends for at in x)


# -- which axis, which order -------------------------------------------------------------------------------------------------


def test_environment_steps_are_the_default_where_any_were_logged_and_else_the_tag():
    assert axes_of(series_of(finished(Player())).values()) == ["steps", "wall", "episodes", "tag"]
    plain = series_of(finished(Plain()))
    assert axes_of(plain.values()) == ["tag", "wall"]
    assert resolved(None, plain.values()) == resolved("tag", plain.values()) == "time"
    assert resolved("wall", plain.values()) == "wall"
    with pytest.raises(ReactorError, match=r"no x axis 'step'\. Did you mean 'steps'"):
        checked_axis("step")


def test_returns_come_first_training_beside_evaluation_and_the_mean_of_an_evaluation_is_its_curve():
    names = ["entropy", "loss", "eval_mean", "steps", "mean_reward", "eval_return", "episode_length", "episode_return"]
    assert in_order(names) == ["episode_return", "eval_return", "eval_mean", "mean_reward", "entropy", "loss", "steps", "episode_length"]  # fmt: skip
    assert shown(names) == ["episode_return", "eval_return", "mean_reward", "entropy", "loss", "episode_length"]
    assert shown(["eval_mean", "loss"]) == ["eval_mean", "loss"]
    assert list(series_of(finished(Player()), ["loss", "eval_mean"])) == ["loss", "eval_mean"], "who asks gets it"


@pytest.mark.slow  # Matplotlib
@pytest.mark.parametrize(
    ("axis", "title", "last"),
    [(None, "environment steps", 160), ("episodes", "episodes", 40), ("tag", "logical time, s", 0.019)],
)
def test_a_figure_has_the_axis_that_was_asked_for(axis, title, last):
    pytest.importorskip("matplotlib")
    axes = plot(finished(Player()), x=axis).figure.axes
    assert [a.get_title(loc="left") for a in axes] == ["episode_return", "eval_return", "episode_length", "loss"]
    assert {a.get_xlabel() for a in axes} == {title}
    assert axes[0].lines[-1].get_xdata()[-1] == pytest.approx(last)
    assert axes[0].get_shared_y_axes().joined(axes[0], axes[1]), "training and evaluation have one scale"


@pytest.mark.slow  # Matplotlib
def test_a_figure_over_the_wall_clock_begins_at_the_start_of_the_run():
    pytest.importorskip("matplotlib")
    run = finished(Player())
    x = plot(run, ["loss"], x="wall").figure.axes[0].lines[-1].get_xdata()
    assert 0 < x[0] <= x[-1] <= run.seconds
    assert x.tolist() == run.metrics["loss"].wall_s.tolist()


def test_a_saved_picture_says_what_it_is_over():
    assert "160 steps</text>" in curves_svg(series_of(finished(Player())))
    assert "40 episodes</text>" in curves_svg(series_of(finished(Player())), axis="episodes")


# -- trends ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 5, 12, 1000])
def test_a_rolling_mean_is_over_the_fewest_last_points_with_so_many_values(window):
    random = np.random.default_rng(window)
    values, weight = random.normal(size=60), random.integers(1, 6, 60).astype(float)
    values[random.integers(60, size=7)] = np.nan
    for at, found in enumerate(rolling_mean(values, weight, window)):
        first = at
        while first > 0 and weight[first : at + 1][np.isfinite(values[first : at + 1])].sum() < window:
            first -= 1
        there = np.isfinite(values[first : at + 1])
        if there.any():
            expected = np.average(values[first : at + 1][there], weights=weight[first : at + 1][there])
            assert found == pytest.approx(expected)
        else:
            assert np.isnan(found)


@pytest.mark.parametrize(("count", "window"), [(1, 1), (14, 1), (15, 2), (300, 30), (1000, 100), (10**6, 100)])
def test_the_trend_of_episodes_is_over_the_last_100_but_at_most_a_tenth_of_all(count, window):
    assert episodes_in_mean(count) == window
    assert episodes_in_mean(count, 0.0) == 1


@pytest.mark.slow  # Matplotlib
def test_a_figure_says_over_how_many_episodes_its_mean_is():
    pytest.importorskip("matplotlib")
    axes = plot(finished(Player(), 100), ["episode_return", "loss"]).figure.axes
    labels = [axis.get_legend_handles_labels()[1] for axis in axes]
    assert labels == [["mean of 20 episodes"], ["mean of 3"]]
    trend = axes[0].lines[-1].get_ydata()
    returns = np.arange(200.0)
    assert trend[-1] == returns[-20:].mean()


# -- groups, legends, marks --------------------------------------------------------------------------------------------------


@pytest.mark.slow  # Matplotlib
def test_groups_have_the_names_that_they_were_given():
    pytest.importorskip("matplotlib")
    groups = {"slow": [finished(Player(), seed=seed) for seed in (1, 2)], "fast": [finished(Player(lr=0.5))]}
    (axes,) = plot(groups, ["loss"]).figure.axes
    assert axes.get_legend_handles_labels()[1] == ["least to greatest, slow", "mean of 2 runs, slow", "fast"]
    overlaid = plot(groups, ["loss"], mean=False).figure.axes[0]
    assert [line.get_label() for line in overlaid.lines] == ["slow, seed 1", "slow, seed 2", "fast, seed 0"]
    assert RunsView(groups).groups() == ["slow", "slow", "fast"]
    results = {"a": [run.result() for run in groups["slow"]]}
    assert plot(results, ["loss"]).figure.axes[0].get_legend_handles_labels()[1][-1] == "mean of 2 runs, a"
    with pytest.raises(ReactorError, match=r"not of 3 \(a int\)"):
        plot({"a": [3]})


@pytest.mark.slow  # Matplotlib
def test_a_figure_of_interquartile_means_says_so_and_its_band_holds_the_curve():
    pytest.importorskip("matplotlib")
    runs = [finished(Player(lr=lr / 10)) for lr in range(1, 7)]
    (axes,) = plot({"all": runs}, ["loss"], iqm=True).figure.axes
    assert axes.get_legend_handles_labels()[1] == ["95 % interval, all", "interquartile mean of 6 runs, all"]
    assert axes.lines[-1].get_ydata()[0] == pytest.approx(0.35)
    few = plot({"all": runs[:3]}, ["loss"], iqm=True).figure.axes[0]
    assert few.get_legend_handles_labels()[1][-1] == "mean of 3 runs, all"


def test_a_dict_of_lists_of_runs_is_groups_to_a_session_and_one_of_runs_is_not():
    pytest.importorskip("IPython")
    from reactornb.notebook.session import Session

    run = finished(Player(), 2)
    session = Session.__new__(Session)
    session.shell = SimpleNamespace(
        user_ns={"groups": {0.1: [run], "b": (run, run)}, "seeds": {1: run}, "empty": {"a": []}, "none": {}, "run": run}
    )
    assert session.groups("groups") == {"0.1": [run], "b": [run, run]}
    assert [session.groups(*names) for names in (("seeds",), ("empty",), ("none",), ("run",), ("groups", "run"), ())] == [None] * 6  # fmt: skip


def test_a_legend_has_what_differs_and_a_number_only_where_that_is_not_enough():
    runs = [finished(Player(lr=lr), seed=seed) for lr in (0.1, 0.2) for seed in (1, 2)]
    groups = ["lr=0.1", "lr=0.1", "lr=0.2", "lr=0.2"]
    assert legends(runs, groups) == ["lr=0.1, seed 1", "lr=0.1, seed 2", "lr=0.2, seed 1", "lr=0.2, seed 2"]
    assert legends(runs[::2], ["lr=0.1", "lr=0.2"]) == ["lr=0.1", "lr=0.2"], "one seed tells nothing"
    twice = [runs[0], finished(Player(), seed=1)]
    assert legends(twice, ["", ""]) == [f"run {run.number}" for run in twice]
    assert legends([run.result() for run in twice], ["", ""]) == ["run 1", "run 2"]


@pytest.mark.slow  # Matplotlib
def test_a_change_is_marked_where_the_run_stood_before_it():
    run = changed()
    (mark,) = marks_of(run)
    assert (mark.tag, mark.words) == ((ms(9), 0), "lr 0.1 → 0.01")
    view = RunsView([run])
    view.refresh()
    ((place, words, at),) = view.marks()
    assert (place, words) == (0, mark.words)
    assert (at["steps"], at["episodes"], at["time"]) == (72, 18, 0.009)
    before, after = run.metrics["loss"].wall_s[8:10]
    assert before <= at["wall"] < after
    pytest.importorskip("matplotlib")
    axes = plot(run).figure.axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [72]
    assert mark.words in [text.get_text() for text in axes.texts]


def test_a_panel_has_marks_groups_progress_and_what_is_on_each_axis():
    pytest.importorskip("anywidget")
    from reactornb.viz.run_panel import RunPanel

    run = changed()
    panel = RunPanel({"tuned": [run], "not": [finished(Player())]}, axis="episodes")
    assert [name for name, _ in panel.axes] == ["episodes", "steps", "wall", "tag"]
    assert [(one["group"], one["legend"]) for one in panel.runs] == [("tuned", "tuned"), ("not", "not")]
    (mark,) = panel.marks
    assert (mark["run"], mark["words"], mark["at"]["steps"], mark["at"]["tag"]) == (0, "lr 0.1 → 0.01", 72, 0.009)
    places = {curve["name"]: curve["place"] for curve in panel.curves}
    assert places == {"episode_return": 0, "eval_return": 1, "episode_length": 2, "loss": 3}
    assert {curve["name"] for curve in panel.curves if curve["of_episodes"]} == {"episode_return", "episode_length"}
    at = 0
    for curve in panel.curves:
        n = curve["points"]
        table = np.frombuffer(panel.points, "<f4", 7 * n, at).reshape(7, n)
        at += table.nbytes
        metric = panel.view.views[curve["run"]].run.metrics[curve["name"]]
        for name, row in zip(panel.sent, table[:4], strict=True):
            exact = {"steps": metric.steps, "wall": metric.wall_s, "episodes": metric.episodes, "tag": metric.time_ns / 1e9}[name]  # fmt: skip
            assert np.allclose(curve["begin"][name] + row, exact, rtol=1e-6)
        assert np.allclose(table[4], metric.values)
    assert at == len(panel.points)
    again = finished(Player())
    panel.add(again, group="tuned")
    panel.refresh()
    assert [one["group"] for one in panel.runs] == ["tuned", "not", "tuned"]
    panel.close()
    with pytest.raises(ReactorError, match="is a result"):
        RunPanel(run.result())


def test_a_view_says_how_far_a_training_is():
    class Trains(Player):
        total_timesteps: int = 320

    run = finished(Trains(), 20)
    view = RunView(run)
    view.refresh()
    assert view.status()["progress"] == 1.0
    assert view.status()["ahead"] == "19 ms of 19 ms (100 %) · steps 160 of 320 (50 %)"
