"""A real JupyterLab in Debian's Chromium: the panels appear, move, follow the theme, and the page has nothing to complain of."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("jupyterlab")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
OUT = Path(__file__).parents[2] / "out"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

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
    "%reactor start --workers 2 --timeout 60s",
    "6 * 7",
]


def notebook() -> str:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for i, source in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab with the notebook in it."""
    (tmp_path / "panels.ipynb").write_text(notebook())
    port = free_port()
    # Its own settings and workspaces; no news, no checks on the net.
    env = {
        **os.environ,
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "s"),
    }
    news = tmp_path / "s" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.token=", "--ServerApp.password=",
         f"--port={port}", "--ServerApp.port_retries=0", f"--notebook-dir={tmp_path}"],
        env=env, stdout=log, stderr=log, cwd=tmp_path,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api", timeout=2):
                break
            assert server.poll() is None, (tmp_path / "lab.log").read_text()[-2000:]
            assert time.monotonic() < until, "JupyterLab did not come up"
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()  # a server ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


@pytest.fixture
def page(lab):
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1250, "height": 1500})
            page.complaints = []
            page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.outside = []
            page.on(
                "request", lambda r: None if r.url.startswith((lab, "data:", "blob:")) else page.outside.append(r.url)
            )
            OUT.mkdir(exist_ok=True)
            page.goto(f"{lab}/lab/tree/panels.ipynb?reset")
            yield page
        finally:
            page.screenshot(path=OUT / "lab-last.png")  # what there was to see when a test failed
            browser.close()


def test_the_panels_appear_move_and_follow_the_theme(page):
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()

    graph = page.locator(".rnb-graph svg")
    graph.wait_for(timeout=30_000)
    assert "rollouts" in graph.text_content()
    assert "×8" in graph.text_content()

    panel = page.locator(".rnb-run")
    panel.wait_for(timeout=10_000)
    panel.locator("canvas").nth(1).wait_for(timeout=10_000)
    facts = panel.locator(".rnb-fact").first
    before = facts.text_content()
    picture = panel.locator(".rnb-chart").first.screenshot()
    page.wait_for_timeout(2500)
    assert facts.text_content() != before, "the numbers do not move"
    assert panel.locator(".rnb-chart").first.screenshot() != picture, "the curve does not move"
    assert panel.locator(".rnb-state").text_content() == "running"
    page.screenshot(path=OUT / "lab-light.png")

    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'", timeout=10_000)
    page.wait_for_timeout(1000)
    page.screenshot(path=OUT / "lab-dark.png")

    page.locator(".jp-CodeCell").last.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.type("%reactor stop")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('.rnb-state').textContent === 'finished'", timeout=10_000)
    assert page.complaints == []
    assert page.outside == [], "something was loaded from the net"
