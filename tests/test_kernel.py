"""A real kernel: cells answer while a run trains, an interrupt ends the cell only, shutting down ends everything in order."""

import os
import sys
import time

import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
pytest.importorskip("psutil")

import psutil
from jupyter_client.manager import KernelManager

from reactornb.bench.latency import main as latency

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WIDGET = "application/vnd.jupyter.widget-view+json"
CELLS = (
    "%load_ext reactornb",
    """%%reactor Rollout
weights = Input[float]()
episode = Output[float]()
fails: bool = False

@reaction(weights)
def on_weights(self, weights, episode):
    total = 0.0
    for _ in range(2000):
        total += 0.001
    if self.fails and weights.value > 20:
        raise ValueError("bad weights")
    episode.set(weights.value + total)""",
    """%%reactor Learner
import pathlib
episodes = Input[float](width=4)
weights = Output[float]()
file: str = ""
count = 0

@reaction(startup, episodes)
def on_episodes(self, episodes, weights):
    self.count += 1
    self.log(loss=1 / self.count)
    weights.set(float(self.count))

@reaction(shutdown)
def on_shutdown(self):
    if self.file:
        pathlib.Path(self.file).write_text(f"ended in order after {self.count}")""",
    """%%reactor Main
file: str = ""
fails: bool = False

def compose(self):
    self.rollouts = Bank(Rollout, 4, fails=self.fails)
    self.learner = Learner(file=self.file)
    connect(self.rollouts.episode, self.learner.episodes)
    connect(self.learner.weights, self.rollouts.weights, after=ms(1))""",
)


class Kernel:
    """A kernel of this interpreter; what it says can be looked at."""

    def __init__(self):
        self.manager = KernelManager()
        env = {**os.environ}
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            env["PYTHON_GIL"] = "0"
        self.manager.start_kernel(env=env)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.pid = int(self.value("__import__('os').getpid()"))
        self.process = psutil.Process(self.pid)

    def run(self, code, timeout=30):
        """Execute a cell; the messages it published."""
        self.messages = []
        reply = self.client.execute_interactive(code, timeout=timeout, output_hook=self.messages.append)
        return reply["content"]

    def ok(self, code):
        content = self.run(code)
        assert content["status"] == "ok", "\n".join(content.get("traceback", [])) or self.text()
        return self.text()

    def value(self, code):
        """What the last expression of a cell is worth, as text."""
        self.ok(code)
        return next(m["content"]["data"]["text/plain"] for m in self.messages if m["msg_type"] == "execute_result")

    def text(self):
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    def listen(self, seconds):
        """The messages that come while no cell runs."""
        found, until = [], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                found.append(self.client.get_iopub_msg(timeout=left))
            except Exception:  # noqa: BLE001 - queue.Empty, or whatever the client's version raises
                break
        return found

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.cleanup_resources()


@pytest.fixture
def kernel():
    made = Kernel()
    try:
        for cell in CELLS:
            made.ok(cell)
        yield made
    finally:
        made.close()
    assert not made.process.is_running(), "the kernel outlived its test"


def test_cells_answer_while_a_run_trains_and_its_panel_moves(kernel):
    kernel.ok("%reactor start --workers 2")
    (shown,) = [m["content"] for m in kernel.messages if m["msg_type"] == "display_data"]
    assert {WIDGET, "image/svg+xml", "text/plain"} == set(shown["data"])
    assert kernel.value("6 * 7") == "42"
    before = kernel.ok("%reactor status")
    assert "running" in before
    updates = [m for m in kernel.listen(1.5) if m["msg_type"] == "comm_msg"]
    assert 3 <= len(updates) <= 16, "ten a second at most, and not far less"
    assert any("points" in path for m in updates for path in map(str, m["content"]["data"]["buffer_paths"]))
    assert kernel.ok("%reactor status") != before

    # The picture that stays in the notebook is the one of the end, and comes with the cell that ended the run.
    kernel.ok("%reactor stop")
    (last,) = [m["content"] for m in kernel.messages if m["msg_type"] == "update_display_data"]
    assert last["transient"]["display_id"] == shown["transient"]["display_id"]
    assert "finished" in last["data"]["text/plain"]
    assert "loss" in last["data"]["image/svg+xml"]
    kernel.listen(0.5)
    assert not [m for m in kernel.listen(0.5) if m["msg_type"] == "comm_msg"], "the pump rests when nothing runs"
    assert (
        kernel.value("[t.name for t in __import__('threading').enumerate() if t.name.startswith('reactornb')]") == "[]"
    )


def test_an_interrupt_ends_the_cell_and_not_the_run(kernel):
    kernel.ok("run = %reactor start --workers 2")
    # Otherwise the kernel drops, for a moment after the interrupt, whatever it is sent.
    waiting = kernel.client.execute("run.wait()", stop_on_error=False)
    time.sleep(1.0)  # until the cell waits: an interrupt before that would find nothing to interrupt
    kernel.manager.interrupt_kernel()
    while (reply := kernel.client.get_shell_msg(timeout=20))["parent_header"]["msg_id"] != waiting:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.value("run.state") == "'running'"
    tags = int(kernel.value("run.tags"))
    time.sleep(0.2)
    assert int(kernel.value("run.tags")) > tags
    kernel.ok("%reactor stop")


def test_a_reaction_that_raises_is_shown_by_the_panel_with_the_cells_line(kernel):
    kernel.ok("run = %reactor start Main fails=True --workers 2")
    kernel.ok("run")
    found = kernel.listen(3.0)
    states = [
        m["content"]["data"]["state"] for m in found if m["msg_type"] == "comm_msg" and "state" in m["content"]["data"]
    ]
    failures = [s["status"]["failure"] for s in states if s.get("status", {}).get("failure")] or [
        kernel.ok("%reactor status")
    ]
    assert "cell 3, line 12, in on_weights" in failures[-1]
    assert "ValueError: bad weights" in failures[-1]
    content = kernel.run("run.result()")
    assert content["ename"] == "ReactionError"
    shown = "\n".join(content["traceback"])
    assert "scheduler.py" not in shown
    assert "bad weights" in shown
    assert kernel.value("6 * 7") == "42"


def test_shutting_the_kernel_down_ends_the_run_in_order(kernel, tmp_path):
    file = tmp_path / "end"
    kernel.ok(f"run = %reactor start Main file={file} --workers 2")
    kernel.ok("6 * 7")
    began = time.monotonic()
    kernel.client.shutdown()
    kernel.process.wait(20)
    assert file.read_text().startswith("ended in order after ")
    assert time.monotonic() - began < 10


def test_the_latency_bench_runs_and_prints_one_line(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("gymnasium")
    assert latency(["--cells", "3", "--limit", "10000"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("trivial cell, 3 times: median ")
    assert said.count("\n") == 1
