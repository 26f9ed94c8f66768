"""A real JupyterLab in Debian's Chromium: the panels appear, move, follow the theme, and the page has nothing to complain of."""

import json
import shutil
import time
from pathlib import Path

from screen import OUT, marks, open_and_run, theme

pytestmark = marks(600)

CELLS = [
    "%load_ext reactornb",
    """%%reactor Rollout
\"\"\"Play an episode with the newest weights.\"\"\"
weights = Input[float]()
episode = Output[float]()

@reaction(weights)
def on_weights(self, weights, episode):
    total = 0.0
    for _ in range(3000):
        total += 0.001
    self.log(steps=3000)
    episode.set(weights.value + self.rng.normal())""",
    """%%reactor Learner
episodes = Input[float](width=8)
weights = Output[float]()
skill = 0.0

@reaction(startup, episodes)
def on_episodes(self, episodes, weights):
    if episodes.is_present:
        self.skill += 0.02 * (1 - self.skill / 200)
        self.log(episode_return=100 * sum(episodes.values) / 8, loss=abs(self.rng.normal()) / (1 + self.skill))
    weights.set(self.skill)""",
    """%%reactor Main
rollouts = Bank(Rollout, 8)
learner = Learner()
connect(rollouts.episode, learner.episodes)
connect(learner.weights, rollouts.weights, after=ms(5))""",
    "%reactor graph",
    "%reactor start --workers 2 --until 60s",
    "6 * 7",
]


# Without `dot` the page lays the graph out; three runs are overlaid; a run that prints is driven by its buttons.
MORE = [
    *CELLS[:4],
    "import reactornb.viz.dot\nreactornb.viz.dot.shutil.which = lambda _: None",
    "%reactor graph",
    """from reactornb import Program, ms
runs = [Program(Main).start(seed=seed, until=ms(1500), fast=True) for seed in range(3)]
for each in runs:
    each.wait()
%reactor curves runs""",
    """%%reactor Talker
tick = Timer(0, ms(100))

@reaction(tick)
def on_tick(self):
    print("hello from", self.full_name)
    self.log(count=self.time_ns / 1e9)""",
    "%reactor start Talker --workers 1",
]

# A slider, a box and a list change what a program does; so does a line typed, which the slider shows.
TUNED = [
    CELLS[0],
    """%%reactor Signal
from typing import Literal
gain: float = 2.5e-3
bias: int = 2
loud: bool = False
shape: Literal["sine", "square"] = "sine"
tick = Timer(0, ms(20))

@reaction(tick)
def on_tick(self):
    self.log(value=self.gain, bias=self.bias)""",
    """%%reactor Tuned
signals = Bank(Signal, 2)""",
    "run = %reactor start Tuned --workers 1\nrun",
    "%reactor set signals.gain --widget",
    "%reactor set signals.bias --widget --max 10\n%reactor set signals.loud --widget\n%reactor set signals[0].shape --widget",
    "len(run.changes)",
]


# A run whose times are taken, looked at while it goes on; it is stopped so soon that the picture is small.
TIMELINE = [
    *CELLS[:4],
    "run = %reactor start --workers 2 --until 60s --profile",
    "%reactor timeline",
    "%reactor profile",
    "import time\nwhile run.tags < 50: time.sleep(0.05)\nrun.profile()",
]


def test_the_panels_appear_move_and_follow_the_theme_and_a_saved_notebook_has_their_pictures(page):
    open_and_run(page, "panels", CELLS)
    graph = page.locator(".rnb-picture svg")
    graph.wait_for()
    assert "rollouts" in graph.text_content()
    assert "×8" in graph.text_content()
    assert page.locator(".rnb-graph").count() == 1
    assert not page.locator(".rnb-graph").is_visible(), "the picture for pages without the widget is hidden"

    panel = page.locator(".rnb-run")
    panel.wait_for()
    panel.locator("canvas").nth(1).wait_for()
    facts = panel.locator(".rnb-fact:not(.rnb-doing)").first
    before = facts.text_content()
    picture = panel.locator(".rnb-chart").first.screenshot()
    page.wait_for_timeout(2500)
    assert facts.text_content() != before, "the numbers do not move"
    until = time.monotonic() + 20.0  # on a busy machine a round takes long
    while (moved := panel.locator(".rnb-chart").first.screenshot()) == picture and time.monotonic() < until:
        page.wait_for_timeout(500)
    assert moved != picture, "the curve does not move"
    assert panel.locator(".rnb-state").text_content() == "running"
    page.screenshot(path=OUT / "lab-light.png")

    theme(page, "JupyterLab Dark")
    assert page.evaluate("document.body.dataset.jpThemeLight") == "false"
    page.screenshot(path=OUT / "lab-dark.png")

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("%reactor stop")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('.rnb-state').textContent === 'stopped'")
    assert page.complaints == []

    # Opened where the kernel of the widgets is no more; the picture for that comes a moment after the panel's last words.
    page.locator("[data-rnb-of] svg", has_text="stopped").wait_for(state="attached")
    page.keyboard.press("Control+S")
    saved = page.jupyter.folder / "panels.ipynb"
    until = time.monotonic() + 60
    while "stopped" not in saved.read_text() and time.monotonic() < until:
        page.wait_for_timeout(500)
    (page.jupyter.folder / "saved.ipynb").write_text(saved.read_text())
    page.goto(page.jupyter.address("saved.ipynb"))
    page.locator(".rnb-graph svg").wait_for()
    curves = page.locator("[data-rnb-of] svg", has_text="episode_return")
    curves.wait_for()
    assert "stopped" in curves.text_content()
    page.screenshot(path=OUT / "lab-saved.png")
    assert page.complaints == []


def test_graphs_unfold_curves_lie_over_each_other_and_buttons_work(page):
    open_and_run(page, "more", MORE)
    picture = page.locator(".rnb-picture")
    picture.locator("svg").wait_for()
    folded = picture.screenshot()
    bank = picture.locator("[data-unfolds='main.rollouts']")
    bank.hover()
    assert "Rollout ×8" in page.locator(".rnb-tip").text_content()
    assert "Play an episode" in page.locator(".rnb-tip").text_content()
    page.screenshot(path=OUT / "lab-graph.png")
    place = bank.bounding_box()
    page.mouse.click(place["x"] + 20, place["y"] + 12)
    picture.get_by_text("rollouts[7]").wait_for()
    page.screenshot(path=OUT / "lab-graph-unfolded.png")
    picture.locator("[data-unfolds='main.rollouts']").first.focus()
    page.keyboard.press("Enter")
    picture.get_by_text("×8").wait_for()
    for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            page.locator(".rnb-net").get_by_role("button", name=kind, exact=True).click()
        assert Path(download.value.path()).read_bytes().startswith(start)
    page.locator(".rnb-net").get_by_role("checkbox", name="levels").check()
    picture.get_by_text("L1").wait_for()
    assert picture.screenshot() != folded

    overlaid = page.locator(".rnb-run").first
    overlaid.scroll_into_view_if_needed()
    overlaid.get_by_text("mean of 3").first.wait_for()
    chart = overlaid.locator(".rnb-chart", has_text="episode_return")
    seen = [chart.screenshot()]
    overlaid.get_by_label("smoothing").fill("0.2")
    seen.append(chart.screenshot())
    overlaid.get_by_label("mean and spread").uncheck()
    seen.append(chart.screenshot())
    overlaid.get_by_label("log y").check()
    overlaid.get_by_label("log x").check()
    seen.append(chart.screenshot())
    overlaid.get_by_label("log y").uncheck()
    overlaid.get_by_label("log x").uncheck()
    chart.locator(".rnb-canvas").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert "at " in chart.locator("h4 span").text_content()
    seen.append(chart.screenshot())
    page.screenshot(path=OUT / "lab-curves.png")
    page.keyboard.press("0")
    assert len(set(seen)) == len(seen), "a control changes nothing"
    assert page.locator(".jp-Notebook").get_by_text("Restart Kernel?").count() == 0, "keys are the chart's"

    panel = page.locator(".rnb-run").last
    panel.scroll_into_view_if_needed()
    state = panel.locator(".rnb-state")

    def press(button, then):
        panel.get_by_role("button", name=button, exact=True).click()
        page.wait_for_function("([n, t]) => n.textContent === t", arg=[state.element_handle(), then])

    panel.get_by_text("hello from talker").first.wait_for()
    assert "talker (" in panel.locator(".rnb-printed pre").text_content()
    press("Pause", "paused")
    tag = panel.locator(".rnb-fact:not(.rnb-doing)").first.text_content().partition(" · ")[0]
    panel.get_by_role("button", name="Step", exact=True).click()
    page.wait_for_timeout(1000)
    assert panel.locator(".rnb-fact:not(.rnb-doing)").first.text_content().partition(" · ")[0] != tag
    page.screenshot(path=OUT / "lab-paused.png")
    press("Resume", "running")
    press("Stop", "stopped")
    panel.get_by_role("button", name="Start again", exact=True).click()
    panel.locator(".rnb-state", has_text="running").wait_for()  # beside the one that was stopped
    assert panel.locator(".rnb-state", has_text="stopped").count() == 1
    panel.get_by_role("button", name="Stop", exact=True).locator("visible=true").last.click()
    page.wait_for_function("[...document.querySelectorAll('.rnb-run')].at(-1).textContent.split('stopped').length > 2")
    theme(page, "JupyterLab Dark")
    page.screenshot(path=OUT / "lab-more-dark.png")
    assert page.complaints == []
    assert page.complaints == []


def test_a_slider_changes_a_parameter(page):
    open_and_run(page, "tuned", TUNED)
    slider = page.locator(".widget-slider", has_text="signals.gain")
    slider.wait_for()
    line = page.locator(".widget-hbox", has=page.locator(".widget-slider", has_text="signals.gain"))
    said = line.locator(".widget-label").last
    readout = slider.locator(".widget-readout")
    assert readout.text_content() == "0.00250"
    slider.locator(".noUi-handle").focus()
    for _ in range(4):  # each a twentieth of an order of magnitude, to 10 ** -2.4
        page.keyboard.press("ArrowRight")
    page.wait_for_function("n => n.textContent === '0.00398'", arg=readout.element_handle())
    chart = page.locator(".rnb-chart", has_text="value")
    page.wait_for_function("n => n.textContent.includes('0.00398')", arg=chart.element_handle())
    bias = page.locator(".widget-slider", has_text="signals.bias")
    bias.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".widget-checkbox input").check()
    page.locator(".widget-dropdown select").select_option("square")

    def execute(text):
        page.locator(".jp-CodeCell").last.locator(".cm-content").click()
        page.keyboard.press("Control+A")
        page.keyboard.type(text)
        page.keyboard.press("Control+Enter")

    execute("[(c.path, c.new) for c in run.changes if c.path.startswith('tuned.signals[0]')][-3:]")
    page.get_by_text("('tuned.signals[0].shape', 'square')").wait_for()
    assert "('tuned.signals[0].bias', 3)" in page.locator(".jp-OutputArea-output").last.text_content()
    page.screenshot(path=OUT / "lab-tuned.png")
    execute("%reactor set signals.gain 1e-2")
    page.wait_for_function("n => n.textContent === '0.0100'", arg=readout.element_handle())
    theme(page, "JupyterLab Dark")
    execute("%reactor stop")
    page.locator(".widget-slider.widget-disabled, .widget-slider:has([disabled])").first.wait_for()
    page.wait_for_function("n => n.textContent.includes('is over')", arg=said.element_handle())
    page.screenshot(path=OUT / "lab-tuned-dark.png")


def test_a_timeline_follows_its_run_is_zoomed_told_by_keys_and_saved(page):
    open_and_run(page, "timeline", TIMELINE)
    panel = page.locator(".rnb-time")
    canvas = panel.locator("canvas")
    canvas.wait_for()
    table = page.locator(".rnb-profile").last
    table.get_by_text("main.rollouts[7].on_weights").wait_for()
    title = panel.locator(".rnb-time-title")
    panel.get_by_role("button", name="follow").wait_for()
    before, picture = title.text_content(), canvas.screenshot()
    page.wait_for_timeout(1500)
    assert title.text_content() != before, "the run goes on and the panel does not"
    assert canvas.screenshot() != picture, "the lanes do not move"
    panel.scroll_into_view_if_needed()
    page.screenshot(path=OUT / "lab-timeline-live.png")

    # Zoom in by dragging, by the wheel and by keys, until spans stand apart; the pointer is told which one it is on.
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] * 0.6, box["y"] + 35
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    assert panel.get_by_role("button", name="follow").get_attribute("aria-pressed") == "false"
    canvas.focus()
    page.mouse.move(x, y)
    for _ in range(2):
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(300)
    page.keyboard.press("n")
    tip = page.locator(".rnb-time-tip")
    page.wait_for_function("document.querySelector('.rnb-time-tip').textContent.includes('tag (')")
    assert "worker 0" in tip.text_content()
    assert tip.text_content() == panel.locator(".rnb-time-aloud").text_content()
    first = tip.text_content()
    page.keyboard.press("n")
    assert tip.text_content() != first
    page.screenshot(path=OUT / "lab-timeline-zoomed.png")
    seen = [canvas.screenshot()]
    panel.get_by_label("colors", exact=True).select_option("levels")
    panel.get_by_role("button", name="level 1").click()
    seen.append(canvas.screenshot())
    panel.get_by_label("colors", exact=True).select_option("reactions")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    page.wait_for_timeout(500)
    seen.append(canvas.screenshot())
    assert len(set(seen)) == len(seen), "a control changes nothing"

    for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            panel.get_by_role("button", name=kind, exact=True).click()
        assert Path(download.value.path()).read_bytes().startswith(start)
        shutil.copy(download.value.path(), OUT / f"lab-timeline.{kind.lower()}")
    panel.get_by_role("button", name="Trace", exact=True).click()
    panel.get_by_text("open it at ui.perfetto.dev").wait_for()
    (trace,) = page.jupyter.folder.glob("*-timeline.json")
    assert any(event["ph"] == "X" for event in json.loads(trace.read_text())["traceEvents"])

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("%reactor stop")
    page.keyboard.press("Control+Enter")
    panel.get_by_role("button", name="follow").wait_for(state="hidden")
    panel.get_by_role("button", name="all", exact=True).click()
    theme(page, "JupyterLab Dark")
    panel.scroll_into_view_if_needed()
    page.screenshot(path=OUT / "lab-timeline-dark.png")
    assert page.complaints == []
    assert page.complaints == []
