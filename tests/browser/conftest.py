"""The tests here share a module with each other, and a page in a browser."""

import sys
from pathlib import Path

import pytest

from reactornb.bench.jupyter import Jupyter, opened_page

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def page(tmp_path):
    """A page of a JupyterLab of its own; `complaints` has what goes wrong in it, `jupyter` is the server."""
    from screen import OUT

    for module in ("jupyterlab", "playwright.sync_api"):
        pytest.importorskip(module)
    OUT.mkdir(exist_ok=True)
    with Jupyter(tmp_path) as jupyter, opened_page(jupyter) as (page, complaints):
        page.jupyter, page.complaints = jupyter, complaints
        try:
            yield page
        finally:
            page.screenshot(path=OUT / "lab-last.png")  # what there was to see when a test failed
