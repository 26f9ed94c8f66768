"""Metrics on their way to a picture: read once, in the order of tags, in bounded memory, at the values that were logged."""

import math
import threading
from xml.etree import ElementTree

import numpy as np
import pytest
from stepping import Stepped

from reactornb import PhysicalAction, Program, Reactor, Tag, Timer, ms, reaction
from reactornb.errors import ReactorError
from reactornb.runtime import FakeClock
from reactornb.runtime.logs import Log, merged
from reactornb.viz.axes import axis_of
from reactornb.viz.curves import plot, series_of
from reactornb.viz.curves_picture import curves_svg
from reactornb.viz.labels import number, told_apart
from reactornb.viz.run_view import RunView
from reactornb.viz.series import LogReader, Series, moving_mean, spread


class Logger(Reactor):
    tick = Timer(0, ms(1))
    twice: bool = False

    @reaction(tick)
    def on_tick(self):
        self.log(loss=1 / (1 + self.time_ns / 1e6), steps=4)
        if self.twice:
            self.log(loss=0.0)


class Fails(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        self.log(loss=2.0)
        raise ValueError("no more")


def logged(*rows):
    """What calls of `self.log` leave."""
    log = Log()
    for tag, metrics in rows:
        log.add(tag, metrics)
    return log


class Rows:
    """A run as a reader sees it."""

    began_s = 0.0

    def __init__(self, *logs, tag=(0, 0), is_alive=True):
        self.logs = list(logs)
        self.tag = tag
        self.is_alive = is_alive


def finished(root, ticks=100):
    run = Program(root).start(workers=1, clock=FakeClock(), until=ms(ticks - 1))
    run.wait(20)
    return run


def test_few_values_are_kept_exactly():
    series = Series(8)
    series.extend([0, 1_000_000_000, 2_000_000_000], [0, 0, 1], [3.0, 1.0, 2.0])
    x, mean, least, greatest = series.points()
    assert x.tolist() == [0, 1, 2]
    assert mean.tolist() == least.tolist() == greatest.tolist() == [3, 1, 2]
    assert (series.count, series.last, series.least, series.greatest, series.total) == (3, 2, 1, 3, 6)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize("piece", [1, 5, 10_000])
def test_many_values_keep_their_mean_and_extremes_in_few_buckets(count, piece):
    values = np.sin(np.arange(count) / 7) * np.arange(count)
    series = Series(8)
    for at in range(0, count, piece):
        part = np.arange(at, min(at + piece, count))
        series.extend(part * 10**9, part * 0, values[part])
    x, mean, least, greatest = series.points()
    per = series.per_bucket
    assert len(x) <= 9
    assert per * (len(x) - 1) < count <= per * len(x)
    for i in range(len(x)):
        own = values[i * per : (i + 1) * per]
        assert math.isclose(mean[i], own.mean(), rel_tol=1e-9, abs_tol=1e-9)
        assert (least[i], greatest[i]) == (own.min(), own.max())
    assert x[-1] == count - 1
    assert math.isclose(series.total, values.sum(), rel_tol=1e-9, abs_tol=1e-6)


def test_a_missing_value_is_a_gap_not_the_end_of_the_curve():
    series = Series(8)
    series.extend([0, 1, 2], [0, 0, 0], [1.0, math.nan, 3.0])
    assert (series.least, series.greatest) == (1, 3)
    assert np.isnan(series.points()[1]).tolist() == [False, True, False]
    assert not math.isnan(moving_mean(np.array([1.0, math.nan] * 100))[0][-1])


def test_the_axis_is_that_on_which_the_values_spread():
    def series(*tags):
        made = Series(8)
        for time_ns, microstep in tags:
            made.extend([time_ns], [microstep], [0.0])
        return made

    assert axis_of([series((0, 0), (5, 0), (9, 0))]) == "time"
    assert axis_of([series((0, 0), (0, 1), (0, 2))]) == "microstep"
    assert axis_of([series(*((t, m) for t in range(2) for m in range(50)))]) == "sample"
    assert axis_of([series(*((t, 0) for t in range(9) for _ in range(8)))]) == "time"
    assert axis_of([series((0, 0), (0, 0))]) == "sample"


def test_a_reader_goes_on_where_it_stopped_and_orders_by_tag_then_reactor():
    a, b = logged(((0, 0), {"m": 1.0}), ((2, 0), {"m": 3.0})), logged(((1, 0), {"m": 2.0}))
    run = Rows(a, b, tag=(3, 0))
    reader = LogReader(run)
    assert reader.read()
    assert not reader.read()
    b.add((3, 0), {"m": 5.0})
    a.add((3, 0), {"m": 4.0})
    a.add((3, 0), {"other": 9.0})
    run.tag = (4, 0)
    assert reader.read()
    assert reader.series["m"].points("sample")[1].tolist() == [1, 2, 3, 4, 5]
    assert list(reader.series) == ["m", "other"]


def test_what_was_logged_at_the_tag_in_progress_waits_for_its_end():
    log = logged(((0, 0), {"m": 1.0}), ((5, 2), {"m": 2.0}))
    run = Rows(log, tag=(5, 2))
    reader = LogReader(run)
    reader.read()
    assert reader.series["m"].count == 1
    run.is_alive = False
    reader.read()
    assert reader.series["m"].count == 2


def test_a_reader_agrees_with_the_runs_metrics():
    run = finished(Logger(twice=True))
    reader = LogReader(run)
    reader.read()
    loss = run.metrics["loss"]
    assert list(loss) == reader.series["loss"].points("sample")[1].tolist()
    assert ((loss[::2] + loss[1::2]) / 2).tolist() == (reader.series["loss"].points()[1].tolist()), (
        "two values at one tag are one point"
    )
    assert loss.tags[1] == Tag(0, 0)
    assert reader.series["steps"].total == 400


@pytest.mark.timeout(30)
def test_reading_while_a_thread_appends_loses_and_repeats_nothing():
    log = Log()
    run = Rows(log, tag=(1 << 62, 0))
    reader = LogReader(run, capacity=600)
    begin = threading.Barrier(2)

    def append():
        begin.wait()
        for i in range(50_000):
            log.add((i, 0), {"m": float(i)} if i % 97 else {"m": float(i), "other": 1.0})
        run.is_alive = False

    writer = threading.Thread(target=append)
    writer.start()
    begin.wait()
    while run.is_alive:
        reader.read()
    writer.join()
    reader.read()
    series = reader.series["m"]
    assert (series.count, series.total) == (50_000, sum(range(50_000)))
    assert reader.series["other"].total == len(range(0, 50_000, 97))
    x, *_ = series.points()
    assert (np.diff(x) > 0).all()


def test_a_million_values_take_no_more_memory_than_a_thousand():
    series = Series(600)
    for at in range(0, 1_000_000, 50_000):
        part = np.arange(at, at + 50_000)
        series.extend(part, part * 0, part.astype(float))
    assert len(series.points()[0]) <= 601
    assert series._buckets.nbytes + series._rest.nbytes < 200_000


@pytest.mark.parametrize(
    "kinds",
    [[["a"]], [["a", "b"]], [list("abcdefgh")], [["a", "b"], ["a"]], [["a", "b"], ["c"], ["b", "c"]]],
    ids=["one", "two", "eight", "one by itself, too", "three kinds"],
)
@pytest.mark.parametrize("calls", [1, 7, 5000])
def test_metrics_that_are_logged_together_are_read_as_if_one_by_one(kinds, calls):
    asked = [names for _ in range(calls) for names in kinds] + [["a"]] * 3  # the end breaks the pattern
    # Four microsteps at each time.
    rows = [
        ((i // 4 * 1000, i % 4), {name: float(i * 10 + place) for place, name in enumerate(names)})
        for i, names in enumerate(asked)
    ]
    log = Log()
    reader = LogReader(Rows(log, tag=(1 << 62, 0)), 8)
    for at in range(0, len(rows), 160):
        for tag, metrics in rows[at : at + 160]:
            log.add(tag, metrics)
        reader.read()
    for metric in {name for names in asked for name in names}:
        exact = Series(8)
        exact.extend(*zip(*((*tag, metrics[metric]) for tag, metrics in rows if metric in metrics), strict=True))
        made = reader.series[metric]
        assert (made.count, made.total, made.last) == (exact.count, exact.total, exact.last)
        for ours, theirs in zip(made.points(), exact.points(), strict=True):
            assert np.allclose(ours, theirs, rtol=1e-12)
        assert axis_of([made]) == axis_of([exact])


def test_logs_are_merged_by_tag_then_reactor_then_as_logged():
    random = np.random.default_rng(1)
    logs, expected = [], {}
    for reactor in range(3):
        log = Log()
        for position in range(200):
            tag = position // 4, position % 4 // 2
            metrics = {name: float(random.normal()) for name in "abcd" if random.random() < 0.6}
            if not metrics:
                continue
            log.add(tag, metrics)
            for name, value in metrics.items():
                expected.setdefault(name, []).append((tag, reactor, position, value))
        logs.append(log)
    found = merged(log.columns() for log in logs)
    assert found.keys() == expected.keys()
    for name, (times, microsteps, values, _) in found.items():
        made = list(zip(times.tolist(), microsteps.tolist(), values.tolist(), strict=True))
        assert made == [(*tag, value) for tag, _, _, value in sorted(expected[name])]


def test_whatever_is_a_number_can_be_logged_and_what_is_none_is_named():
    log = Log()
    log.add((0, 0), {"a": 1, "b": True, "c": np.float32(0.5), "d": np.array(3)})
    assert {name: column.values.tolist() for name, column in log.columns().items()} == {
        "a": [1.0], "b": [1.0], "c": [0.5], "d": [3.0]
    }  # fmt: skip
    with pytest.raises(TypeError, match=r"self\.log\(loss=…\) takes a number, not None"):
        log.add((1, 0), {"lr": 1.0, "loss": None})
    assert len(log) == 1


def test_the_spread_over_living_runs_ends_where_the_first_of_them_is():
    line = np.arange(11.0)
    curves = [(line, line), (line[:6], line[:6] + 2), (line, np.where(line == 3, np.nan, line + 4))]
    (x, mean, least, greatest), held = spread(curves, 6, [False, False, False])
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.allclose(mean, x + 2)
    assert np.allclose(least, x)
    assert np.allclose(greatest, x + 4)
    assert not held
    (x, *_), held = spread([(line, line), (line + 20, line)], ended=[False, False])
    assert (len(x), held) == (0, False)


@pytest.mark.parametrize("ends", [(4, 6, 10), (10, 4, 6), (2, 2, 10)])
def test_the_last_value_of_a_run_that_ended_counts_on_to_the_end_of_the_longest(ends):
    curves = [(np.arange(end + 1.0), np.where(np.arange(end + 1.0) < end, 100.0, 500.0)) for end in ends]
    (x, mean, least, greatest), held = spread(curves)
    assert (x[0], x[-1], held) == (0, 10, True)
    assert (mean[-1], least[-1], greatest[-1]) == (500, 500, 500), "all of them stand at 500"


def test_a_figure_of_several_runs_shows_each_their_mean_and_their_spread():
    pytest.importorskip("matplotlib")
    runs = [finished(Logger()) for _ in range(2)]
    axes = plot(runs).figure.axes[0]
    assert [line.get_label() for line in axes.lines][-1] == "mean of 2 runs"
    assert len(axes.lines) == 3
    assert len(axes.collections) == 1
    labels = [f"run {run.number}" for run in runs]
    overlaid = plot(runs, mean=False, log=True)
    assert [line.get_label() for line in overlaid.figure.axes[0].lines] == labels
    assert overlaid.figure.axes[0].get_yscale() == "log"
    assert all(label in repr(overlaid) for label in labels)


class Trains(Reactor):
    lr: float = 0.1
    seed_of_env: int = 0

    def compose(self):
        self.learner = Logger(twice=self.lr < 0.05)


def test_runs_are_averaged_with_those_that_differ_in_the_seed_alone():
    pytest.importorskip("matplotlib")
    runs = [finished(Trains(lr=lr, seed_of_env=seed)) for lr in (0.1, 0.01) for seed in (1, 2, 3)]
    assert told_apart(runs) == ["lr=0.1"] * 3 + ["lr=0.01"] * 3
    labels = [line.get_label() for line in plot(runs).figure.axes[0].lines]
    assert [label for label in labels if "mean" in label] == ["mean of 3 runs, lr=0.1", "mean of 3 runs, lr=0.01"]


def test_what_sets_runs_apart_is_their_program_or_a_parameter_within_where_nothing_outside_does():
    class Holds(Reactor):
        logger = Logger()

    class HoldsTwice(Holds):
        logger = Logger(twice=True)

    HoldsTwice.__name__ = "Holds"
    same, other = [Program(Holds()).start(workers=1, until=ms(1)) for _ in range(2)], finished(Logger())
    apart = Program(HoldsTwice()).start(workers=1, until=ms(1))
    for run in (*same, apart):
        run.wait(10)
    assert told_apart(same) == ["", ""]
    assert told_apart([*same, apart]) == ["logger.twice=False", "logger.twice=False", "logger.twice=True"]
    assert [words.split(",")[0] for words in told_apart([same[0], other])] == ["holds", "logger"]


def test_a_plot_is_a_figure_that_saves_itself(tmp_path):
    pytest.importorskip("matplotlib")
    run = finished(Logger())
    made = plot(run, title="one run")
    assert [a.get_title(loc="left") for a in made.figure.axes] == ["loss"]
    assert made.figure.axes[0].get_xlabel() == "environment steps"
    assert plot(run, x="tag").figure.axes[0].get_xlabel() == "logical time, s"
    assert made.save(tmp_path / "new" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert made._repr_png_().startswith(b"\x89PNG")
    assert repr(made) == "loss  0.01  (100 values, 0.01 to 1)"
    assert len(plot(run.result(), ["loss", "steps"]).figure.axes) == 2


def test_what_is_logged_at_one_tag_is_one_dot_with_its_spread_and_a_curve_as_a_line():
    class Judge(Reactor):
        tick = Timer(0, ms(1))

        @reaction(tick)
        def on_tick(self):
            self.log(skill=self.time_ns)
            if self.time_ns == ms(3):
                for value in range(20):
                    self.log(episode=value)

    pytest.importorskip("matplotlib")
    result = Program(Judge()).run(fast=True, until=ms(5), workers=1)
    made = plot(result)
    drawn = {axes.get_title(loc="left"): {line.get_marker() for line in axes.lines} for axes in made.figure.axes}
    assert drawn == {"skill": {"None"}, "episode": {"o"}}
    kept = curves_svg(series_of(result))
    assert (kept.count("<circle"), kept.count("<polyline")) == (1, 1)
    x, mean, least, greatest = series_of(result)["episode"].points()
    assert [v.tolist() for v in (x, mean, least, greatest)] == [[0.003], [9.5], [0.0], [19.0]]


@pytest.mark.parametrize("capacity", [8, 600])
@pytest.mark.parametrize("each", [1, 3, 10])
def test_several_values_at_each_tag_are_one_point_for_each_with_mean_and_spread(each, capacity):
    series = Series(capacity)
    for tag in range(5):
        series.extend([tag * 10**9] * each, [0] * each, [10.0 * tag + i for i in range(each)])
    x, mean, least, greatest = series.points()
    assert len(set(x.tolist())) == len(x), "no vertical line"
    if capacity > 5 * each:
        assert x.tolist() == [0, 1, 2, 3, 4]
        assert np.allclose(mean, [10 * tag + (each - 1) / 2 for tag in range(5)])
        assert np.allclose(greatest - least, each - 1)
    assert len(series.points("sample")[0]) == len(series.points("sample")[1])


def test_a_point_of_values_that_are_no_numbers_is_none_and_leaves_the_others():
    series = Series(8)
    series.extend([0, 0, 1, 1], [0] * 4, [float("nan")] * 2 + [1.0, float("nan")])
    _, mean, least, greatest = series.points()
    assert math.isnan(mean[0])
    assert (mean[1], least[1], greatest[1]) == (1, 1, 1)


def test_what_cannot_be_plotted_is_said():
    run = finished(Logger())
    with pytest.raises(ReactorError, match=r"no metric 'los' was logged; there are: loss, steps"):
        series_of(run, ["los"])
    with pytest.raises(ReactorError, match="nothing to plot"):
        plot(finished(Program(Silent()).root))


class Silent(Reactor):
    tick = Timer()

    @reaction(tick)
    def on_tick(self): ...


def test_the_saved_picture_is_svg_with_its_values_in_words():
    run = finished(Logger())
    view = RunView(run)
    view.refresh()
    picture = ElementTree.fromstring(view.svg())
    words = " ".join(e.text or "" for e in picture.iter())
    assert "finished" in words
    assert "loss  0.01  (100 values, 0.01 to 1)" in words
    assert ElementTree.fromstring(curves_svg({}, "nothing & <none>")) is not None


def test_a_view_says_state_rates_and_where_it_failed():
    run = finished(Fails())
    view = RunView(run)
    view.refresh()
    status = view.status()
    assert status["state"] == "failed"
    assert "ValueError: no more" in status["failure"]
    assert 'raise ValueError("no more")' in status["failure"]
    assert "scheduler.py" not in status["failure"]
    assert view.text().startswith(f"run {run.number} of fails: failed · tag 0, microstep 0")


def test_a_view_says_how_far_behind_a_run_is_what_waits_and_what_was_missed():
    class Late(Reactor):
        tick = Timer(0, ms(1))
        key = PhysicalAction()

        @reaction(tick, deadline=ms(2))
        def on_tick(self, key): ...

        @on_tick.missed
        def late(self, key): ...

    made = Stepped(Late())
    run = made.run
    view = RunView(run)
    try:
        assert (view.status()["pace"], view.status()["missed"]) == ("on time", "0 deadlines missed")
        assert view.status()["queues"] == "queue 1"
        made.advance(ms(4))
        assert view.status()["missed"] == "1 deadline missed"
        assert "1 deadline missed" in view.heading()
    finally:
        run.stop()
    assert view.status()["queues"] == view.status()["pace"] == ""


def test_steps_show_as_a_rate_not_as_a_curve():
    run = finished(Logger())
    view = RunView(run)
    view.refresh()
    assert list(view.curves) == ["loss"]
    assert math.isclose(view.rates()["steps"], 400 / run.seconds, rel_tol=1e-6)
    assert view.status()["progress"] == 1.0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (153.24, "153.2"),
        (1234567, "1,234,567"),
        (2.5e-5, "2.5e-05"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (0.5, "0.5"),
    ],
)
def test_numbers_are_short(value, words):
    assert number(value) == words


def test_the_panel_carries_what_the_view_has():
    pytest.importorskip("anywidget")
    from reactornb.viz.run_panel import RunPanel

    run = finished(Logger())
    panel = RunPanel(run)
    (curve,) = panel.curves
    n = curve["points"]
    table = np.frombuffer(panel.points, "<f4").reshape(-1, n)
    x = {name: curve["begin"][name] + row for name, row in zip(panel.sent, table, strict=False)}
    assert (curve["name"], curve["last"], n) == ("loss", "0.01", 100)
    assert panel.axes == [["steps", "environment steps"], ["wall", "wall-clock, s"], ["tag", "logical time, s"]]
    assert np.allclose(x["steps"], 4 * np.arange(1, 101))
    assert np.allclose(x["tag"], np.arange(100) / 1000)
    assert (np.diff(x["wall"]) >= 0).all()
    assert np.allclose(table[len(panel.sent)], 1 / (1 + np.arange(100)))
    assert len(table) == len(panel.sent) + 3
    assert panel.refresh() is False, "the run is over, and all of it has been sent"
    assert panel.sent_bytes >= len(panel.points)
    panel.close()
    assert not panel.is_open


def test_a_panel_of_several_runs_labels_their_curves_and_has_a_picture_for_pages_without_it():
    pytest.importorskip("anywidget")
    from reactornb.viz.run_panel import RunPanel

    runs = [finished(Logger()), finished(Logger(twice=True))]
    panel = RunPanel(runs, metrics=["loss"])
    assert [(c["name"], c["run"]) for c in panel.curves] == [("loss", 0), ("loss", 1)]
    labels = [f"run {run.number}, seed 0, twice={twice}" for run, twice in zip(runs, (False, True), strict=True)]
    assert [r["label"] for r in panel.runs] == labels
    assert [r["legend"] for r in panel.runs] == ["twice=False", "twice=True"]
    assert len({c["color"] for c in panel.curves}) == 2
    static = panel.static()
    picture = ElementTree.fromstring(static["image/svg+xml"])
    assert len([e for e in picture.iter() if e.tag.endswith("polyline")]) == 2
    assert all(f"run {run.number} of logger" in static["text/plain"] for run in runs)
    assert f'data-rnb-of="{panel.twin}"' in static["text/html"]
    panel.close()
