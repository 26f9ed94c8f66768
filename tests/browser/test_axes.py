"""What RL people read in the panel, in a real JupyterLab: the x axis switches, returns come first, changes are marked, groups have names."""

import numpy as np
from screen import OUT, marks, open_and_run

from reactornb.viz.assets import asset
from reactornb.viz.series import episodes_in_mean, moving_mean, rolling_mean
from reactornb.viz.statistics import interquartile_mean

pytestmark = marks(300)

CELLS = [
    "%load_ext reactornb",
    """%%reactor Trains
lr: float = 0.1
total_timesteps: int = 100_000_000
tick = Timer(0, ms(10))

@reaction(tick)
def on_tick(self):
    n = self.time_ns / 1e9
    self.log(loss=1 / (1 + n) + 0.1 * self.rng.normal())
    for _ in range(3):
        self.log(episode_return=200 * n / (1 + n) + 20 * self.rng.normal() + 100 * self.lr, episode_length=30)
    self.log(steps=90)
    if int(n * 100) % 20 == 0:
        for _ in range(5):
            self.log(eval_return=220 * n / (1 + n) + 5 * self.rng.normal())
        self.log(eval_mean=1.0)""",
    "%reactor start Trains --workers 1",
    "%reactor set lr 0.7",
]

GROUPS = [
    "%load_ext reactornb",
    CELLS[1],
    """from reactornb import Program, sec
groups = {name: [Program(Trains(lr=lr)).start(seed=seed, fast=True, until=sec(4)) for seed in range(5)] for name, lr in (("lr small", 0.1), ("lr large", 0.9))}
for own in groups.values():
    for run in own:
        run.wait()""",
    "%reactor curves groups -m episode_return,loss",
]


def test_the_x_axis_switches_returns_come_first_and_a_change_is_marked(page):
    open_and_run(page, "axes", CELLS)
    panel = page.locator(".rnb-run")
    charts = panel.locator(".rnb-chart:visible")
    charts.nth(3).locator(".u-over").wait_for()
    named = charts.locator("h4 > div")
    by_place = sorted(range(4), key=lambda at: charts.nth(at).evaluate("e => Number(e.style.order)"))
    assert [named.nth(at).text_content() for at in by_place] == [
        "episode_return",
        "eval_return",
        "loss",
        "episode_length",
    ]
    returns = charts.nth(by_place[0]).locator(".rnb-canvas")
    page.wait_for_function(
        "document.querySelector('.rnb-canvas').getAttribute('aria-label').includes('lr 0.1 → 0.7 at')"
    )
    assert "x axis: environment steps." in returns.get_attribute("aria-label")
    assert "of 100,000,000 (0 %" in panel.locator(".rnb-ahead").text_content()

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("%reactor stop")
    page.keyboard.press("Control+Enter")
    panel.locator(".rnb-state[data-state=stopped]").wait_for()
    page.wait_for_timeout(1000)
    choose = panel.get_by_label("x axis", exact=True)
    offered = choose.locator("option").all_text_contents()
    assert offered == ["environment steps", "wall-clock, s", "episodes", "logical time, s"]
    seen = []
    for name, title in zip(("steps", "wall", "episodes", "tag"), offered, strict=True):
        choose.select_option(name)
        assert f"x axis: {title}." in returns.get_attribute("aria-label"), "at once, without the kernel"
        seen.append(charts.first.screenshot())
        panel.screenshot(path=OUT / f"axes-{name}.png")
    assert len(set(seen)) == 4
    choose.select_option("steps")
    scales = [charts.nth(at).locator(".u-axis").count() for at in by_place[:2]]
    assert scales == [2, 2]
    assert page.complaints == []


def test_groups_have_names_and_their_interquartile_means_have_intervals(page):
    open_and_run(page, "groups", GROUPS)
    panel = page.locator(".rnb-run")
    chart = panel.locator(".rnb-chart", has_text="episode_return")
    chart.get_by_text("mean of 5, lr small").wait_for()
    labels = chart.locator(".rnb-legend li span").all_text_contents()
    assert labels[:5] == [f"lr small, seed {seed}" for seed in range(5)]
    before = chart.screenshot()
    panel.get_by_label("interquartile mean").check()
    chart.get_by_text("interquartile mean of 5, lr large").wait_for()
    assert chart.screenshot() != before
    panel.screenshot(path=OUT / "axes-groups.png")
    assert page.complaints == []


def test_the_page_computes_the_same_curves_as_python(page):
    """What is drawn live is what is printed: trends, and the interquartile mean with its interval."""
    rng = np.random.default_rng(4)
    values, weight = rng.normal(size=90), rng.integers(1, 5, 90).astype(float)
    runs = rng.normal(size=9)
    found = page.evaluate(
        """([code, values, weight, runs]) => new Function("values", "weight", "runs", code + `
             ;values = Float64Array.from(values);
             return { rolling: [...rollingMean(values, weight, 17)], moving: [...movingMean(values, 0.1)], windows: [1, 14, 15, 300, 5000].map((n) => episodesInMean(n, 1 / 30)),
                      middle: middleOf(runs), on: pointsOn({ columns: { tag: [1, 1, 2, 2, 2, 3] }, mean: [1, 2, 3, 4, 5, 6], least: [0, 1, 2, 3, 4, 5], greatest: [2, 3, 4, 5, 6, 7], weight: [1, 3, 1, 1, 1, 2] }, "tag") };`)
           (values, weight, runs)""",
        [asset("page.js", "curves.js"), values.tolist(), weight.tolist(), runs.tolist()],
    )
    assert np.allclose(found["rolling"], rolling_mean(values, weight, 17))
    assert np.allclose(found["moving"], moving_mean(values, 0.1)[0])
    assert found["windows"] == [episodes_in_mean(count) for count in (1, 14, 15, 300, 5000)]
    middle, low, high = found["middle"]
    assert np.isclose(middle, interquartile_mean(runs))
    drawn = rng.integers(9, size=(20_000, 9))
    exact = np.quantile(interquartile_mean(runs[drawn], axis=1), (0.025, 0.975))
    assert np.allclose((low, high), exact, atol=0.15)
    on = {name: list(column.values()) if isinstance(column, dict) else column for name, column in found["on"].items()}
    assert on["x"] == [1, 2, 3]
    assert on["mean"] == [1.75, 4, 6]
    assert (on["least"], on["greatest"], on["weight"]) == ([0, 2, 5], [3, 6, 7], [4, 3, 2])
