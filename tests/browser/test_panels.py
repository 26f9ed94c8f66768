"""The graph's panel at every size and while a run is alive, and the run's panel when something goes wrong, in a real JupyterLab."""

import itertools
import re
import time

from screen import OUT, marks, open_and_run, theme

pytestmark = marks(600)

SIZES = [
    "%load_ext reactornb",
    """%%reactor Worker
\"\"\"Answer a question.\"\"\"
question = Input[float](doc="what is asked")
answer = Output[float]()
depth: int = 0

@reaction(question)
def on_question(self, question, answer):
    \"\"\"Think, and say it.\"\"\"
    answer.set(question.value)""",
    """%%reactor Pair
def compose(self):
    self.asks, self.answers = Worker(), Worker()
    connect(self.asks.answer, self.answers.question)
    connect(self.answers.answer, self.asks.question, after=ms(1))""",
    """%%reactor Twenty
def compose(self):
    self.pairs = [Pair() for _ in range(3)]
    self.stages = [Worker() for _ in range(7)]
    for a, b in zip(self.stages, self.stages[1:]):
        connect(a.answer, b.question)
    self.bank = Bank(Worker, 3)""",
    """%%reactor Thousands
def compose(self):
    self.first = Worker()
    self.bank = Bank(Worker, 1000)
    self.pairs = [Pair() for _ in range(300)]
    for i in range(99):
        setattr(self, f"stage_{i}", Worker())
    self.last = [Worker() for _ in range(2)]
    connect(self.first.answer, self.bank.question, broadcast=True)""",
    "%reactor graph Pair",
    "%reactor graph Twenty",
    "%reactor graph Thousands",
]

# One reaction takes nearly all of the time, and one line carries nearly all of the values.
LIVE = [
    "%load_ext reactornb",
    """%%reactor Busy
\"\"\"Take long.\"\"\"
inp = Input[int]()
out = Output[int]()

@reaction(inp)
def works(self, inp, out):
    out.set(sum(range(20_000)))""",
    """%%reactor Idle
inp = Input[int]()
rare = Output[int]()
n = 0

@reaction(inp)
def waits(self, inp, rare):
    self.n += 1
    if self.n % 10 == 0:
        rare.set(self.n)""",
    """%%reactor Source
tick = Timer(0, ms(5))
go = Output[int]()

@reaction(tick)
def on_tick(self, go):
    go.set(1)""",
    """%%reactor Watched
source = Source()
busy = Bank(Busy, 4)
idle = Idle()
hears = Idle()
connect(source.go, busy.inp, broadcast=True)
connect(source.go, idle.inp)
connect(idle.rare, hears.inp)""",
    "%reactor graph",
    "%reactor start --workers 2",
]

# It prints more than can be read, misses deadlines, and fails when it is told to.
FAILS = [
    "%load_ext reactornb",
    """%%reactor Fails
tick = Timer(0, ms(20))
fail = PhysicalAction()

@reaction(startup)
def begin(self, fail):
    global fail_now
    fail_now = fail.schedule

@reaction(tick)
def on_tick(self):
    for i in range(20):
        print("line", i)
    self.log(count=self.time_ns / 1e9, other=self.rng.normal())

@reaction(tick, deadline=ns(1))
def on_time(self): ...

@on_time.missed
def late(self):
    self.log(late=1.0)

@reaction(fail)
def on_fail(self):
    raise ValueError("told to fail")""",
    "%reactor start --workers 2 --until 600s",
    "6 * 7",
]


def colors(page):
    """The fill of each chevron and the width of each line, by what they stand for."""
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".rnb-picture g.node, .rnb-picture g.edge")].map((part) => [
             part.querySelector("a")?.dataset.tip?.split("\\n")[0].trim() || "",
             part.classList.contains("edge") ? parseFloat(part.querySelector("path").style.strokeWidth || 0)
               : part.querySelector("path, polygon")?.style.fill || ""]))"""
    )


def test_a_graph_is_read_at_2_at_20_and_at_2000_reactors_by_pointer_and_by_keys(page):
    open_and_run(page, "sizes", SIZES)
    panels = page.locator(".rnb-net")
    panels.nth(2).locator(".rnb-picture svg").wait_for()
    for place, name in enumerate(("2", "20", "2000")):
        panel = panels.nth(place)
        panel.scroll_into_view_if_needed()
        panel.screenshot(path=OUT / f"graph-{name}.png")
        height = panel.locator(".rnb-part text").first.evaluate("t => t.getBoundingClientRect().height")
        assert height > 7, f"the words of {name} reactors are {height} pixels high"
    assert "bank : Worker \xa0×1000" in panels.nth(2).locator(".rnb-picture").text_content(), "a bank is no mere number"

    panel = panels.first
    panel.scroll_into_view_if_needed()
    panel.get_by_text("legend", exact=True).click()
    panel.get_by_text("reaction, with its order").wait_for()
    panel.locator(".rnb-picture").focus()
    told = []
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        told.append(page.locator(".rnb-tip:not(:empty)").text_content())
    assert all(one != other for one, other in itertools.pairwise(told)), "each press tells of another part"
    assert any("Answer a question." in words and "input question: float (what is asked)" in words for words in told)
    panel.screenshot(path=OUT / "graph-legend.png")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".rnb-tip:not(:empty)").text_content() == told[-2]
    assert panel.locator("[role=img][aria-label*='Think, and say it']").count() == 2
    assert page.complaints == []


def test_a_living_run_colors_its_graph_and_nobody_is_watched_whom_nobody_sees(page):
    open_and_run(page, "live", LIVE)
    panel = page.locator(".rnb-net")
    panel.locator(".rnb-following", has_text="running").wait_for()
    page.wait_for_function("document.querySelector('.rnb-picture .edge path').style.strokeWidth !== ''")
    page.wait_for_timeout(3000)
    found = colors(page)
    works = next(fill for tip, fill in found.items() if ", works" in tip)
    waits = next(fill for tip, fill in found.items() if ", waits" in tip)
    red = [int(re.findall(r"\d+", fill)[0]) for fill in (works, waits)]
    assert red[0] > 150 > red[1], (works, waits)
    often, rare = (
        found["watched.source.go → watched.busy.inp, 4 channels"],
        found["watched.idle.rare → watched.hears.inp"],
    )
    assert often > rare > 0.5, "widths say how much flows"
    panel.locator(".rnb-picture g.node", has_text="works").locator("text").hover()
    page.wait_for_function("/% of the time, .*runs.s, .* each/.test(document.querySelector('.rnb-tip').textContent)")
    page.screenshot(path=OUT / "graph-live.png")
    theme(page, "JupyterLab Dark")
    page.screenshot(path=OUT / "graph-live-dark.png")

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("%reactor stop")
    page.keyboard.press("Control+Enter")
    panel.locator(".rnb-following", has_text="stopped").wait_for()
    assert page.complaints == []


def test_a_failure_shows_at_once_with_its_line_and_a_notebook_saved_before_has_the_curves_so_far(page):
    open_and_run(page, "fails", FAILS)
    panel = page.locator(".rnb-run")
    panel.locator("canvas").nth(1).wait_for()
    panel.locator(".rnb-fact", has_text="deadlines missed").first.wait_for()
    panel.get_by_text("fails (").first.wait_for()
    panel.locator(".rnb-printed summary", has_text="lines not shown: run.printed has").wait_for()
    page.wait_for_timeout(4000)
    page.screenshot(path=OUT / "run-alive.png")

    # Saved while it runs, and opened where there is no kernel of it.
    page.keyboard.press("Control+S")
    saved, until = page.jupyter.folder / "fails.ipynb", time.monotonic() + 60
    while "polyline" not in saved.read_text() and time.monotonic() < until:
        page.wait_for_timeout(500)
        page.keyboard.press("Control+S")
    assert ": running" in saved.read_text()
    (page.jupyter.folder / "kept.ipynb").write_text(saved.read_text())

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("fail_now()")
    page.keyboard.press("Control+Enter")
    failure = panel.locator(".rnb-failure", has_text="told to fail")
    failure.wait_for(timeout=10_000)
    assert re.search(r"cell 2, line \d+", failure.text_content())
    assert panel.locator(".rnb-state").text_content() == "failed"
    panel.screenshot(path=OUT / "run-failed.png")
    assert page.complaints == []

    page.goto(page.jupyter.address("kept.ipynb"))
    curves = page.locator("[data-rnb-of] svg", has_text="count")
    curves.wait_for()
    assert curves.locator("polyline").count() >= 2
    page.screenshot(path=OUT / "run-saved.png")
