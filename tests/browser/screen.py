"""What the tests of a screen share: where pictures go, when they run, and a few things a user does."""

from pathlib import Path

import pytest

from reactornb.testing.jupyter import chromium, notebook, run_all

OUT = Path(__file__).parents[2] / "out"


def marks(seconds):
    """A module's `pytestmark`: what needs a browser, and takes its time."""
    return [
        pytest.mark.e2e,
        pytest.mark.slow,
        pytest.mark.xdist_group("browser"),  # one lane, so one JupyterLab
        pytest.mark.timeout(seconds),
        pytest.mark.skipif(chromium() is None, reason="no chromium here: apt-get install chromium"),
    ]


def open_and_run(page, name, cells):
    """Write a notebook with these cells where the page's server looks, open it, and run all cells."""
    (page.jupyter.folder / f"{name}.ipynb").write_text(notebook(cells), encoding="utf-8")
    run_all(page, page.jupyter, f"{name}.ipynb")


def theme(page, name):
    """Choose a theme in the menu."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text(name, exact=True).click()
    page.wait_for_function("t => document.body.dataset.jpThemeName === t", arg=name)
    page.wait_for_timeout(1000)  # its colors fade in
