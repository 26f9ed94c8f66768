"""What a run's panel says when nothing is well: a reaction that hangs, a kernel that is busy, restarted or gone, a page opened later."""

from screen import OUT, marks, open_and_run

pytestmark = marks(300)

CELLS = [
    "%load_ext reactornb",
    """%%reactor Hangs
import time
tick = Timer(0, ms(100))

@reaction(tick)
def on_tick(self):
    self.log(a=1.0)
    if self.time_ns >= 300_000_000:
        while True:
            time.sleep(0.1)""",
    "%reactor start Hangs -w 2",
    "1 + 1",
]


def test_a_panel_names_what_hangs_and_never_calls_a_run_running_whose_kernel_is_busy_or_gone(page):
    open_and_run(page, "truth", CELLS)
    panel = page.locator(".rnb-run")
    panel.locator(".rnb-doing", has_text="hangs.on_tick has been busy for").wait_for()
    panel.get_by_role("button", name="Abandon").click(timeout=60_000)
    panel.locator(".rnb-state", has_text="abandoned").wait_for()
    panel.get_by_role("button", name="Start again").click()
    state = panel.locator(".rnb-state").nth(1)
    panel.locator(".rnb-doing", has_text="run = %reactor run hangs#").wait_for()
    assert state.text_content() == "running"

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("import time; time.sleep(10)")
    page.keyboard.press("Control+Enter")
    panel.locator(".rnb-state", has_text="kernel busy with a cell: last update").wait_for()
    panel.locator(".rnb-state[data-state=hung], .rnb-state[data-state=running]").first.wait_for(timeout=60_000)
    page.keyboard.press("Control+S")
    page.wait_for_timeout(1000)

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.locator(".jp-Dialog .jp-mod-accept").first.click()
    panel.locator(".rnb-state[data-state=gone]", has_text="kernel gone: last seen at").wait_for()
    page.screenshot(path=OUT / "lab-gone.png")
    assert panel.get_by_role("button", name="Stop").count() == 0

    page.keyboard.press("Control+S")
    page.wait_for_timeout(1500)
    page.reload()
    picture = page.locator("[data-rnb-of] svg")
    picture.wait_for(timeout=90_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-OutputArea-output.jupyter-widgets')].some((e) => /not found/.test(e.textContent))",
        timeout=90_000,
    )
    words = page.locator(".jp-OutputArea-output.jupyter-widgets").first
    assert not words.is_visible(), "an error above a picture that says by itself of when it is"
    assert "as of 20" in picture.first.text_content()
    page.screenshot(path=OUT / "lab-gone-reopened.png")
