"""The tests here share a module with each other, and a page in a browser."""

import sys
from pathlib import Path

import pytest

from reactornb.testing.jupyter import Jupyter, opened_page

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """One JupyterLab: what a test leaves there are files of other names and a theme."""
    for module in ("jupyterlab", "playwright.sync_api"):
        pytest.importorskip(module)
    with Jupyter(tmp_path_factory.mktemp("lab")) as jupyter:
        yield jupyter


@pytest.fixture
def page(lab):
    """A page of JupyterLab, as a new user sees it; `complaints` has what goes wrong in it, `jupyter` is the server."""
    from screen import OUT

    OUT.mkdir(exist_ok=True)
    lab.forget_theme()
    with opened_page(lab) as (page, complaints):
        page.jupyter, page.complaints = lab, complaints
        try:
            yield page
        finally:
            page.screenshot(path=OUT / "lab-last.png")  # what there was to see when a test failed
            lab.end_kernels()
