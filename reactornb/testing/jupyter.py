"""A Jupyter server of this interpreter and a page of it in Chromium, for tests and measurements of the page.

It needs Playwright and Debian's Chromium, and loads nothing from the net. It knows JupyterLab and Notebook 7, whose pages differ
in where the menus are and how a notebook is addressed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reactornb.errors import ReactorError

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Errors of Notebook 7.6 itself when it loads its settings, also on a page without a cell of ours and with default settings.
_NOT_OURS: dict[str, set[str]] = {"notebook": {"Cannot read properties of undefined (reading 'schema')"}, "lab": set()}

__all__ = ["Jupyter", "chromium", "notebook", "opened_page", "run_all"]


def chromium() -> str | None:
    """The path of Chromium, or None."""
    return shutil.which("chromium")


def notebook(sources: Sequence[str]) -> str:
    """A notebook with these code cells, for this interpreter's own kernel, as the text of a file."""
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for i, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


class Jupyter:
    """A server with its own settings. A context manager.

    Args:
        folder: what it serves; its log, settings and workspaces go into a hidden folder there.
        app: "lab" or "notebook".

    Attributes:
        url: its address, without a slash at the end.

    Raises:
        ReactorError: if it does not come up.
    """

    def __init__(self, folder: Path, app: str = "lab") -> None:
        self.folder, self.app = folder, app
        self._own = folder / ".jupyter-server"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self._token = secrets.token_hex()

    def __enter__(self) -> Self:
        own = self._own
        settings = own / "settings" / "@jupyterlab"
        for extension, words in (
            ("apputils-extension/notification", '{"fetchNews": "false", "checkForUpdates": false}'),
            # All cells are in the page, as they are after scrolling through it: a test looks at the last one.
            ("notebook-extension/tracker", '{"windowingMode": "none"}'),
        ):
            file = settings / f"{extension}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(words, encoding="utf-8")
        env = {
            **os.environ,
            "JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"),
            "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        }
        module = {"lab": "jupyterlab", "notebook": "notebook"}[self.app]
        options = ["--no-browser", "--allow-root", "--ServerApp.port_retries=0", f"--ServerApp.port={self._port}"]
        access = [f"--IdentityProvider.token={self._token}", f"--ServerApp.root_dir={self.folder}"]
        with (own / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *options, *access], env=env, stdout=log, stderr=log, cwd=self.folder
            )
        until = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/api", timeout=2):
                return self
            if self._process.poll() is not None or time.monotonic() > until:
                self.__exit__()
                said = (own / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ReactorError(f"jupyter {self.app} did not come up in {self.folder}: {said}")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()  # a server ends its kernels
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def address(self, path: str) -> str:
        """The page of a notebook in the folder."""
        page = f"lab/tree/{path}?reset&" if self.app == "lab" else f"notebooks/{path}?"
        return f"{self.url}/{page}token={self._token}"

    def kernel_is_idle(self, path: str) -> bool:
        """Whether the kernel of a notebook has answered, and a page is connected to it."""
        kernels = [session["kernel"] for session in self._sessions() if session["path"] == path]
        return any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels)

    def _sessions(self) -> Any:
        with self._ask("sessions") as answer:
            return json.load(answer)

    def forget_theme(self) -> None:
        """Restore the default theme."""
        (self._own / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings").unlink(True)

    def end_kernels(self) -> None:
        """End the kernels of all notebooks that were opened."""
        for session in self._sessions():
            self._ask(f"sessions/{session['id']}", "DELETE").close()

    def _ask(self, what: str, method: str = "GET") -> Any:
        words = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(f"{self.url}/api/{what}", method=method, headers=words)
        return urllib.request.urlopen(request, timeout=60)


@contextlib.contextmanager
def opened_page(jupyter: Jupyter, *, width: int = 1250, height: int = 1500) -> Iterator[tuple[Page, list[str]]]:
    """A page in Chromium, and a list of its problems: errors on its console, and requests to other machines.

    Args:
        jupyter: the server whose pages it will open.
        width, height: of the window, in pixels.

    Raises:
        ReactorError: without Chromium.
    """
    from playwright.sync_api import sync_playwright

    program = chromium()
    if program is None:
        raise ReactorError("there is no chromium on the PATH; make setup-tests installs it.")
    complaints: list[str] = []

    def hear(words: str, url: str = "") -> None:
        # A server answers a request for its kernels with an error while one of them starts; the page then retries.
        is_list_of_kernels = url.startswith(f"{jupyter.url}/api/kernels?")
        if words not in _NOT_OURS[jupyter.app] and not is_list_of_kernels:
            complaints.append(words)

    def outside(request: Any) -> None:
        if not request.url.startswith((jupyter.url, "data:", "blob:")):
            complaints.append(f"asked for {request.url}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("console", lambda m: hear(m.text, m.location.get("url", "")) if m.type == "error" else None)
            page.on("pageerror", lambda error: hear(str(error)))
            page.on("request", outside)
            page.set_default_timeout(90_000)  # a machine may be busy with other things
            yield page, complaints
        finally:
            browser.close()


def run_all(page: Page, jupyter: Jupyter, path: str) -> None:
    """Open a notebook, wait for its kernel and start all its cells; does not wait for the cells."""
    page.goto(jupyter.address(path))
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    # Notebook 7 runs nothing while there is no kernel, without a message.
    until = time.monotonic() + 90
    while not jupyter.kernel_is_idle(path):
        if time.monotonic() > until:
            raise ReactorError(
                f"the kernel of {path} did not come up in 90 s; see {jupyter.folder}/.jupyter-server/log"
            )
        page.wait_for_timeout(200)
    if jupyter.app == "lab":
        page.get_by_text("| Idle").wait_for()
    else:
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first.wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
