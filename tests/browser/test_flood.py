"""A run that prints as fast as it can, with a panel and without: the page goes on answering, and says how much is not shown."""

from screen import OUT, marks, open_and_run

pytestmark = marks(300)

CELLS = [
    "%load_ext reactornb",
    """%%reactor Flood
tick = Timer(0, ms(10))

@reaction(tick)
def on_tick(self):
    for i in range(1000):  # 100,000 lines a second, if a core does that
        print("line", i, "of", self.time_ns // 10_000_000)""",
    "'ready'",
]

# How long, in ms, the page takes from a click to the second frame after it, each 50 ms: the middle one of 41.
ANSWER = """async () => {
  const box = document.body.appendChild(document.createElement("button")), taken = [];
  for (let i = 0; i < 41; i++) {
    await new Promise((go) => setTimeout(go, 50));
    const begun = performance.now();
    await new Promise((go) => {
      box.onclick = () => requestAnimationFrame(() => requestAnimationFrame(go));
      setTimeout(() => box.click(), 0);
    });
    taken.push(performance.now() - begun);
  }
  box.remove();
  return taken.sort((a, b) => a - b)[20];
}"""


def execute(page, text, says):
    """Run another text in the last cell; returns its output area once it says something."""
    last = page.locator(".jp-CodeCell").last
    last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type(text)
    page.keyboard.press("Control+Enter")
    output = last.locator(".jp-OutputArea").first
    output.get_by_text(says).first.wait_for()
    return output


def test_a_flood_leaves_the_page_answering_and_is_counted(page):
    open_and_run(page, "flood", CELLS)
    page.get_by_text("'ready'").wait_for()
    quiet = page.evaluate(ANSWER)

    below = execute(page, "run = %reactor start Flood --workers 1", "lines not shown: run.printed has")
    flooded = page.evaluate(ANSWER)
    page.wait_for_timeout(2000)
    page.screenshot(path=OUT / "flood-below.png")
    shown = below.text_content()
    assert shown.startswith("line 0 of 0\nline 1 of 0\n")
    assert len(shown) < 400_000, "a few hundred lines a second"
    execute(page, "run.stop(); print(run.printed.count > 20_000, len(run.printed) > 10_000)", "True True")

    execute(page, "run = %reactor start Flood --workers 1\nrun", "running")
    panel = page.locator(".rnb-run")
    panel.locator(".rnb-printed summary", has_text="lines not shown: run.printed has").wait_for()
    shown_in_panel = page.evaluate(ANSWER)
    page.screenshot(path=OUT / "flood-panel.png")
    assert len(panel.locator(".rnb-printed pre").text_content().splitlines()) <= 200
    panel.get_by_role("button", name="Stop", exact=True).click()
    panel.locator(".rnb-state", has_text="stopped").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=OUT / "flood-stopped.png")

    # Seen: 17 ms in all three cases on two cores; before there was a limit, minutes.
    assert flooded < 10 * quiet, (quiet, flooded)
    assert shown_in_panel < 10 * quiet, (quiet, shown_in_panel)
    assert page.complaints == []
