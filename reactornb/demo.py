"""`reactornb demo`: the quick-start notebook executed in a real kernel, headless, its pictures written, its result checked.

It knows one convention: the notebook leaves its finished training run in the variable `run`, of a program whose reactor
`replay` counts the environment's steps in `stored`.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any, Self

from reactornb import files
from reactornb.errors import ReactorError
from reactornb.loading import quickstart

__all__ = ["KERNEL", "DemoError", "run_demo"]

KERNEL = "reactornb"
LEAST_RETURN = 150.0
MOST_SECONDS = 180.0
_COLOR = re.compile(r"\x1b\[[0-9;]*m")

# Runs in the kernel after the last cell, and is no part of the page.
_PROBE = """
def _probe(run, graph, curve):
    import json, sys
    from reactornb.viz import curves, dot
    dot.save(run.program.graph, graph)
    curves.plot(run, [m for m in ("mean_return", "episode_return", "loss", "epsilon") if m in run.metrics]).save(curve)
    returns = list(run.metrics["episode_return"])
    print(json.dumps(dict(
        state=run.state, seconds=run.seconds, workers=run.workers, seed=run.seed, fingerprint=run.fingerprint,
        steps=run.instance("replay").stored, episodes=len(returns),
        first=sum(returns[:20]) / len(returns[:20]), last=sum(returns[-20:]) / len(returns[-20:]),
        gil=getattr(sys, "_is_gil_enabled", lambda: True)())))
"""


class DemoError(ReactorError, RuntimeError):
    """The demo could not be executed, or its result is wrong."""


def run_demo(*, notebook: Path | None, out: Path, timeout: int) -> int:
    """Execute the notebook, write `quickstart.html`, `graph.svg` and `curve.png` into `out`, print a summary, and check the result.

    Args:
        notebook: the notebook to execute; the quick start if None.
        out: the folder.
        timeout: seconds that one cell may take.

    Returns:
        0, or 1 if anything failed.

    Raises:
        DemoError: if it cannot be executed here at all.
    """
    path = notebook or quickstart()
    files.make_folder(out)
    graph, curve, page = out / "graph.svg", out / "curve.png", out / "quickstart.html"
    for old in (graph, curve, page):
        old.unlink(missing_ok=True)  # so that a file that exists afterwards was written by this run
    try:
        import nbformat
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    except ImportError as error:
        raise DemoError(f"{error}. The demo needs the notebook extra: pip install reactornb[notebook,rl]") from None
    _check_kernel()
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    facts: dict[str, Any] = {}
    try:
        facts = _execute(
            book, path.parent, timeout, _PROBE + f"_probe(run, {str(graph.resolve())!r}, {str(curve.resolve())!r})"
        )
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(f"reactornb demo: {path}: {_COLOR.sub('', str(error))}", file=sys.stderr, flush=True)
    _write_page(book, page)
    if not facts:
        return 1
    print(summary(facts))
    wrong = problems(facts, (graph, curve, page))
    for words in wrong:
        print(f"reactornb demo: failed: {words}", file=sys.stderr)
    return 1 if wrong else 0


def summary(facts: dict[str, Any]) -> str:
    """The summary, in one line."""
    rate = facts["steps"] / facts["seconds"]
    return (
        f"demo: {facts['steps']:,} steps in {facts['seconds']:.1f} s, {rate:,.0f} steps/s, {facts['workers']} workers, "
        f"GIL {'on' if facts['gil'] else 'off'}, mean return of the last 20 episodes {facts['last']:.1f} "
        f"(first 20: {facts['first']:.1f}), fingerprint {facts['fingerprint']}"
    )


def problems(facts: dict[str, Any], files: tuple[Path, ...]) -> list[str]:
    """What is wrong with the result, in words."""
    wrong = []
    if facts["state"] != "finished":
        wrong.append(f"the run is {facts['state']}, not finished")
    if not facts["last"] >= LEAST_RETURN:
        wrong.append(f"the mean return of the last 20 episodes is {facts['last']:.1f}, below {LEAST_RETURN:.0f}")
    if facts["seconds"] > MOST_SECONDS:
        wrong.append(f"training took {facts['seconds']:.0f} s, more than {MOST_SECONDS:.0f}")
    if not facts["fingerprint"]:
        wrong.append("the run kept no fingerprint")
    if facts["gil"] and sysconfig.get_config_var("Py_GIL_DISABLED"):
        wrong.append("something turned the GIL on; reactornb doctor says what")
    wrong += [f"{file} was not written" for file in files if not file.is_file() or not file.stat().st_size]
    return wrong


def _check_kernel() -> None:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec = KernelSpecManager().get_kernel_spec(KERNEL)
    except NoSuchKernel:
        raise DemoError(
            f"no Jupyter kernel {KERNEL!r} is registered; make setup does it, reactornb doctor says more."
        ) from None
    # A venv's python is a link to a shared one: the folders tell environments apart, not what the links point to.
    if (
        Path(spec.argv[0]).is_absolute()
        and Path(spec.argv[0]).parent.resolve() != Path(sys.executable).parent.resolve()
    ):
        print(f"reactornb demo: the kernel runs {spec.argv[0]}, not this {sys.executable}", file=sys.stderr, flush=True)


def _execute(book: Any, folder: Path, timeout: int, probe: str) -> dict[str, Any]:
    """Execute every cell and then the probe; the output of cells is also printed."""
    import nbformat
    from nbclient import NotebookClient

    progress = _Progress(book)
    count = len(book.cells)

    class Client(NotebookClient):
        def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
            content = msg["content"]
            if msg["msg_type"] == "stream" and cell_index < count:
                progress.stream(content["text"])
            return super().output(outs, msg, display_id, cell_index)

    client = Client(
        book,
        kernel_name=KERNEL,
        timeout=timeout,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=40"],  # no messages about transports
    )
    with progress, client.setup_kernel():
        for index, cell in enumerate(book.cells):
            progress.begin(index, cell)
            client.execute_cell(cell, index)
        # Not in the book: the page ends with the notebook's own last cell.
        probe_cell = nbformat.v4.new_code_cell(probe)  # type: ignore[no-untyped-call]
        book.cells.append(probe_cell)
        try:
            client.execute_cell(probe_cell, len(book.cells) - 1, store_history=False)
        finally:
            book.cells.pop()
    text = "".join(part.get("text", "") for part in probe_cell.outputs)
    facts: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return facts


class _Progress:
    """Prints which cell runs, its output, and every ten seconds how long it has been running."""

    def __init__(self, book: Any) -> None:
        self._total = sum(cell.cell_type == "code" for cell in book.cells)
        self._count = 0
        self._began = time.monotonic()
        self._over = threading.Event()
        self._spoke = self._began
        # A daemon thread: it must not delay the end of a process that was interrupted.
        self._thread = threading.Thread(target=self._beat, name="demo-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(1.0):
            if time.monotonic() - self._spoke >= 10:
                self._say(f"  {time.monotonic() - self._began:.0f} s …")

    def _say(self, words: str) -> None:
        self._spoke = time.monotonic()
        print(words, flush=True)

    def begin(self, index: int, cell: Any) -> None:  # noqa: ARG002 - nbclient counts all cells, readers the code
        if cell.cell_type == "code":
            self._count += 1
            first = cell.source.strip().partition("\n")[0]
            self._say(f"[{self._count:2}/{self._total}] {first[:100]}")

    def stream(self, text: str) -> None:
        for line in text.splitlines():
            self._say(f"        {line}")


def _write_page(book: Any, page: Path) -> None:
    """Write the notebook as one HTML file that loads nothing; a live view is replaced by its static picture."""
    from nbconvert import HTMLExporter

    for cell in book.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if len(data) > 1:
                data.pop("application/vnd.jupyter.widget-view+json", None)
    book.metadata.pop("widgets", None)
    exporter = HTMLExporter(require_js_url="", jquery_url="", mathjax_url="")  # type: ignore[no-untyped-call]
    text, _ = exporter.from_notebook_node(book)
    files.write(page, text)
