"""A sweep in JupyterLab: its curves move while trials run, its table sorts, one configuration is drawn alone, the metric is chosen, it is stopped."""

from screen import OUT, marks, open_and_run

pytestmark = marks(240)

CELLS = [
    "%load_ext reactornb",
    """%%reactor Walk
rate: float = 1.0
tick = Timer(0, ms(10))
rounds: int = 60

@reaction(tick)
def on_tick(self):
    self.at = getattr(self, "at", 0.0) + self.rate * (1 + 0.3 * self.rng.normal())
    self.done = getattr(self, "done", 0) + 1
    self.log(episode_return=self.at, steps=10)
    self.log(loss=1 / self.done)
    if self.done >= self.rounds:
        self.request_stop()""",
    "found = %reactor sweep Walk rate=[1.0,3.0,2.0] rounds=[60,100000] --seeds 2 --at-once 6\nfound",
]

COLUMN = """name => {
  const table = document.querySelector(".rnb-trials table");
  const place = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === name);
  return [...table.tBodies[0].rows].map((row) => row.cells[place].textContent);
}"""
LINES = "() => document.querySelector('.rnb-sweep .rnb-canvas').getAttribute('aria-label')"


def test_a_sweep_moves_sorts_and_is_stopped(page):
    open_and_run(page, "sweep", CELLS)
    panel = page.locator(".rnb-sweep")
    panel.locator(".u-over").wait_for()
    assert page.locator(".rnb-trials tbody tr").count() == 12
    before = page.evaluate(LINES)
    page.wait_for_function(f"before => ({LINES})() !== before", arg=before)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.rnb-trials tr')].filter((r) => r.dataset.state === 'finished').length >= 3",
        timeout=60_000,
    )

    assert page.evaluate(COLUMN, "trial") == [str(i) for i in range(1, 13)]
    heads = panel.locator("thead th")
    heads.filter(has_text="rate").get_by_role("button").click()
    assert page.evaluate(COLUMN, "rate") == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
    heads.filter(has_text="rate").get_by_role("button").click()
    assert page.evaluate(COLUMN, "rate") == ["3"] * 4 + ["2"] * 4 + ["1"] * 4
    heads.filter(has_text="score").get_by_role("button").click()
    page.screenshot(path=OUT / "lab-sweep.png")
    scores = [float(score) for score in page.evaluate(COLUMN, "score") if score]
    assert scores == sorted(scores, reverse=True)

    rows = panel.locator("tbody tr")
    rows.first.get_by_role("button").click()
    assert page.locator(".rnb-trials tr[data-faded=true]").count() == 10, "a configuration has two seeds"
    rows.first.get_by_role("button").click()
    assert page.locator(".rnb-trials tr[data-faded=true]").count() == 0

    panel.get_by_label("metric").select_option("loss")
    panel.locator(".rnb-chart h4", has_text="loss").wait_for()
    panel.get_by_role("button", name="Stop").click()
    panel.locator(".rnb-state[data-state=stopped]").wait_for(timeout=60_000)
    assert not page.locator(".rnb-trials tr[data-state=running]").count()
    page.screenshot(path=OUT / "lab-sweep-stopped.png")
    assert page.complaints == []
