"""A kept run in JupyterLab: stopped and resumed by its buttons, put back to a point of its curve, branched there; after the kernel's restart as it ended."""

from screen import OUT, marks, open_and_run

pytestmark = marks(300)

CELLS = [
    "import os; os.environ['REACTORNB_RUNS'] = os.path.abspath('kept')",
    "%load_ext reactornb",
    """%%reactor Walk
rate: float = 1.0
tick = Timer(0, ms(20))

@reaction(startup)
def on_startup(self):
    self.at = 0.0

@reaction(tick)
def on_tick(self):
    self.at += self.rate
    self.log(at=self.at)""",
    "%reactor start Walk --keep walk --workers 1",
    "%reactor list",
]


def test_a_kept_run_is_stopped_resumed_put_back_branched_and_there_after_the_kernel_was_restarted(page):
    open_and_run(page, "kept", CELLS)
    panel = page.locator(".rnb-run")
    lines = panel.locator(".rnb-line")
    panel.locator(".u-over").wait_for()
    lines.first.get_by_role("button", name="Stop").click()
    lines.first.locator(".rnb-state[data-state=stopped]").wait_for()
    assert lines.first.get_by_role("button", name="Start again").is_visible()
    lines.first.get_by_role("button", name="Resume").click()
    lines.first.locator(".rnb-state[data-state=running]").wait_for(timeout=60_000)
    assert lines.count() == 1, "it is the same run that goes on"

    over = panel.locator(".u-over")
    box = over.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    menu = panel.get_by_role("dialog")
    menu.wait_for()
    assert "(walk), seed 0: at " in menu.locator(".rnb-menu-title").text_content()
    page.screenshot(path=OUT / "lab-kept-menu.png")
    menu.get_by_role("button", name="Go here").click()
    lines.nth(1).locator(".rnb-state[data-state=paused]").wait_for(timeout=60_000)
    assert not menu.is_visible()

    box = over.bounding_box()  # the panel has grown
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    menu.get_by_role("textbox").fill("rate=-3.0")
    menu.get_by_role("button", name="Branch here").click()
    lines.nth(2).locator(".rnb-state[data-state=running]").wait_for(timeout=60_000)
    panel.locator(".rnb-legend", has_text="with rate=-3.0").wait_for()  # once it has logged something
    page.screenshot(path=OUT / "lab-kept-branch.png")

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.locator(".jp-Dialog .jp-mod-accept").first.click()
    lines.first.locator(".rnb-doing", has_text="kept as walk: %reactor curves walk shows it as it ended").wait_for()

    last = page.locator(".jp-CodeCell").last
    last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type(CELLS[0] + "\n%load_ext reactornb\n%reactor curves walk walk-2")
    page.keyboard.press("Control+Enter")
    again = last.locator(".rnb-run")
    again.locator(".rnb-state", has_text="stopped").first.wait_for(timeout=60_000)
    assert again.locator(".rnb-line").count() == 2
    assert again.get_by_role("button", name="Resume").count() == 2
    page.screenshot(path=OUT / "lab-kept-restarted.png")
    assert "walk-2, branch of walk at (" in again.locator(".rnb-legend").text_content()
    assert not page.complaints
