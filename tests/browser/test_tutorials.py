"""Every tutorial, run from top to bottom as a user does it: all of them in JupyterLab, one in Notebook 7."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from screen import marks, theme

from reactornb.testing.jupyter import Jupyter, notebook, opened_page, run_all

for module in ("jupyterlab", "notebook", "playwright", "torch", "gymnasium"):
    pytest.importorskip(module)

REPO = Path(__file__).parents[2]
OUT = REPO / "out" / "screenshots"
NOTEBOOKS = sorted(path.name for path in (REPO / "notebooks").glob("*.ipynb"))
LONGEST = 300  # seconds that all cells of a tutorial may take on a busy machine

# One server a module and front end, so one lane.
pytestmark = marks(LONGEST + 120)

# `make test` executes the tutorials in a kernel (tests/test_tutorials.py), and on a page the first; `make test-all` all of them.
ON_A_PAGE = [NOTEBOOKS[0], *(pytest.param(name, marks=pytest.mark.soak) for name in NOTEBOOKS[1:])]

# null while cells run, else what went wrong. A cell tagged raises-exception shows an error on purpose; a cell without code
# keeps its empty prompt.
ENDED = """() => {
  const cells = Array.from(document.querySelectorAll(".jp-Notebook .jp-CodeCell"));
  const prompts = cells.map((cell) => cell.querySelector(".jp-InputPrompt").textContent);
  if (prompts.some((prompt) => prompt.includes("*"))) return null;
  const errors = cells.map((cell) => cell.querySelector("[data-mime-type='application/vnd.jupyter.error']"))
    .map((error, i) => error && `${prompts[i]} ${error.textContent.slice(-600)}`).filter(Boolean);
  if (!errors.length && !prompts.slice(-2).some((prompt) => /\\d/.test(prompt))) return null;
  return { errors };
}"""

PANELS = [
    "%load_ext reactornb",
    """%%reactor Rollout
weights = Input[float]()
episode = Output[float]()

@reaction(weights)
def on_weights(self, weights, episode):
    episode.set(weights.value + self.rng.normal())""",
    """%%reactor Learner
episodes = Input[float](width=8)
weights = Output[float]()
skill = 0.0

@reaction(startup, episodes)
def on_episodes(self, episodes, weights):
    if episodes.is_present:
        self.skill += 0.02 * (1 - self.skill / 200)
        self.log(episode_return=100 * sum(episodes.values) / 8)
    weights.set(self.skill)""",
    """%%reactor Main
rollouts = Bank(Rollout, 8)
learner = Learner()
connect(rollouts.episode, learner.episodes)
connect(learner.weights, rollouts.weights, after=ms(5))""",
    "%reactor graph",
    "%reactor start --workers 1",
]


@pytest.fixture(scope="module")
def jupyter(request, tmp_path_factory):
    """A server with a copy of the notebooks, whose outputs are nobody's."""
    folder = tmp_path_factory.mktemp("tutorials")
    shutil.copytree(REPO / "notebooks", folder, dirs_exist_ok=True)
    (folder / "panels.ipynb").write_text(notebook(PANELS), encoding="utf-8")
    with Jupyter(folder, request.param) as server:
        yield server


@pytest.fixture(autouse=True)
def no_kernel_left(jupyter):
    """The next tutorial gets the cores and the memory of this one's kernel."""
    yield
    jupyter.end_kernels()


def expected_errors(name):
    """How many cells of a notebook show an error on purpose."""
    book = json.loads((REPO / "notebooks" / name).read_text(encoding="utf-8"))
    return sum("raises-exception" in cell["metadata"].get("tags", []) for cell in book["cells"])


def picture(page, file):
    """A picture of the page with all of the notebook in it."""
    height = page.evaluate(
        "Math.max(...Array.from(document.querySelectorAll('.jp-Cell'), (n) => n.offsetTop + n.offsetHeight))"
    )
    page.set_viewport_size({"width": 1250, "height": int(min(height + 400, 14_000))})
    # The last cell was scrolled into view; there is room for the first ones now.
    page.evaluate("document.querySelectorAll('.jp-WindowedPanel-outer').forEach((n) => { n.scrollTop = 0; })")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    OUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUT / file)


def run_to_the_end(page, jupyter, name, complaints):
    """Run all cells, and judge what there is to see then."""
    run_all(page, jupyter, name)
    errors = page.wait_for_function(ENDED, timeout=LONGEST * 1000).json_value()["errors"]
    assert len(errors) == expected_errors(name), "\n".join(errors)
    assert complaints == []


@contextlib.contextmanager
def pictured(page, file):
    """A picture of what there is to see at the end, of a failure, too."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # which must not hide the failure
            picture(page, file)


@pytest.mark.parametrize("name", ON_A_PAGE)
@pytest.mark.parametrize("jupyter", ["lab"], indirect=True)
def test_a_tutorial_runs_from_top_to_bottom_in_jupyterlab(jupyter, name):
    with opened_page(jupyter) as (page, complaints):
        with pictured(page, f"lab-{name.removesuffix('.ipynb')}.png"):
            run_to_the_end(page, jupyter, name, complaints)
        if name == NOTEBOOKS[0]:
            theme(page, "JupyterLab Dark")
            picture(page, f"lab-{name.removesuffix('.ipynb')}-dark.png")
            theme(page, "JupyterLab Light")
            assert complaints == []


@pytest.mark.soak
@pytest.mark.parametrize("jupyter", ["notebook"], indirect=True)
def test_a_tutorial_runs_from_top_to_bottom_in_notebook_7(jupyter):
    with opened_page(jupyter) as (page, complaints), pictured(page, "notebook7-tutorial.png"):
        run_to_the_end(page, jupyter, NOTEBOOKS[0], complaints)


@pytest.mark.parametrize("jupyter", ["notebook"], indirect=True)
def test_the_panels_appear_move_unfold_and_obey_in_notebook_7(jupyter):
    with opened_page(jupyter) as (page, complaints), pictured(page, "notebook7-panels-dark.png"):
        run_all(page, jupyter, "panels.ipynb")
        graph = page.locator(".rnb-picture svg")
        graph.wait_for()
        assert "×8" in graph.text_content()
        page.locator("[data-unfolds='main.rollouts']").first.focus()
        page.keyboard.press("Enter")
        page.locator(".rnb-picture").get_by_text("rollouts[7]").wait_for()

        panel = page.locator(".rnb-run")
        panel.locator("canvas").first.wait_for()
        facts = panel.locator(".rnb-fact:not(.rnb-doing)").first
        moved = "([node, before]) => node.textContent !== before"
        page.wait_for_function(moved, arg=[facts.element_handle(), facts.text_content()])
        assert panel.locator(".rnb-state").text_content() == "running"
        picture(page, "notebook7-panels.png")
        theme(page, "JupyterLab Dark")
        panel.get_by_role("button", name="Pause", exact=True).click()
        page.wait_for_function("document.querySelector('.rnb-state').textContent === 'paused'")
        panel.get_by_role("button", name="Resume", exact=True).click()
        page.wait_for_function("document.querySelector('.rnb-state').textContent === 'running'")
        panel.get_by_role("button", name="Stop", exact=True).click()
        page.wait_for_function("document.querySelector('.rnb-state').textContent === 'stopped'")
        assert complaints == []
