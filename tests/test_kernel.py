"""A real kernel: cells answer while a run trains, an interrupt ends the cell only, shutting down ends everything in order."""

import contextlib
import os
import shutil
import sys
import time

import pytest

pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")
pytest.importorskip("psutil")

import psutil
from jupyter_client.manager import KernelManager

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("kernel")]

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

    def rest(self):
        """End what a test has started, and hear what is still said about it: the next test gets a quiet kernel."""
        self.ok("for run in __import__('reactornb').runtime.live_runs(): run.stop(20)")
        while self.listen(0.3):
            pass


@contextlib.contextmanager
def opened():
    made = Kernel()
    try:
        for cell in CELLS:
            made.ok(cell)
        yield made
    finally:
        made.close()
    assert not made.process.is_running(), "the kernel outlived its tests"


@pytest.fixture(scope="module")
def shared():
    with opened() as made:
        yield made


@pytest.fixture
def kernel(shared):
    """The module's kernel, in which nothing runs."""
    yield shared
    shared.rest()


@pytest.fixture
def own_kernel():
    """For what counts all there is in a kernel, or ends it."""
    with opened() as made:
        yield made


def test_cells_answer_while_a_run_trains_and_its_panel_moves(kernel):
    kernel.ok("%reactor start --workers 2")
    widget, shown = [m["content"] for m in kernel.messages if m["msg_type"] == "display_data"]
    assert {WIDGET, "text/plain"} == set(widget["data"])
    assert {"text/html", "image/svg+xml", "text/plain"} == set(shown["data"]), "the picture below it"
    assert kernel.value("6 * 7") == "42"
    before = kernel.ok("%reactor status")
    assert "running" in before
    updates, began = [], time.monotonic()
    while len(updates) < 5 and time.monotonic() < began + 30:
        updates += [m for m in kernel.listen(0.3) if m["msg_type"] == "comm_msg"]
    assert 5 <= len(updates) <= 10 * (time.monotonic() - began) + 2, "it moves, ten times a second at most"
    assert any("points" in path for m in updates for path in map(str, m["content"]["data"]["buffer_paths"]))
    assert kernel.ok("%reactor status") != before

    # The picture that stays in the notebook is the one of the end, and comes with the cell that ended the run.
    kernel.ok("%reactor stop")
    (last,) = [m["content"] for m in kernel.messages if m["msg_type"] == "update_display_data"]
    assert last["transient"]["display_id"] == shown["transient"]["display_id"]
    assert "stopped" in last["data"]["text/plain"]
    assert "loss" in last["data"]["image/svg+xml"]
    kernel.listen(0.5)
    assert not [m for m in kernel.listen(0.5) if m["msg_type"] == "comm_msg"], "the pump rests when nothing runs"
    assert (
        kernel.value("[t.name for t in __import__('threading').enumerate() if t.name.startswith('reactornb')]") == "[]"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux only")
def test_workers_stand_back_behind_the_kernels_own_threads(kernel):
    kernel.ok("run = %reactor start --workers 2")
    nice = """import os, threading
{t.name.startswith("reactornb-"): os.getpriority(os.PRIO_PROCESS, t.native_id) for t in threading.enumerate()}"""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert kernel.value(nice) == str({False: mine, True: min(mine + 5, 19)})


def test_a_kernel_completes_magics_and_the_bodies_of_reactor_cells(kernel):
    def offered(code):
        asked = kernel.client.complete(code)
        while (reply := kernel.client.get_shell_msg(timeout=20))["parent_header"]["msg_id"] != asked:
            pass
        content = reply["content"]
        return {code[: content["cursor_start"]] + match for match in content["matches"]}

    assert offered("%reactor res") == {"%reactor resume"}
    assert offered("%reactor start Main f") == {"%reactor start Main fails=", "%reactor start Main file="}
    assert offered("%reactor start --work") == {"%reactor start --workers"}
    body = "%%reactor Two\nparts = Bank(Rollout, 2)\nconnect(parts."
    assert offered(body) == {body + "weights", body + "episode"}


def test_panels_move_while_a_cell_waits_for_the_run(kernel):
    kernel.ok("run = %reactor start --workers 2")
    kernel.ok("run")
    kernel.ok("import threading; stopper = threading.Timer(1.5, run.stop); stopper.start()\nrun.wait(); stopper.join()")
    moved = [m for m in kernel.messages if m["msg_type"] == "comm_msg"]
    assert len(moved) >= 3, "the panel stood still while the cell waited"
    assert [m for m in kernel.messages if m["msg_type"] == "update_display_data"], (
        "its last picture came with that cell"
    )
    assert kernel.value("run.wait(0.01)") == "True"


def test_the_panels_buttons_pause_step_stop_and_start_again(kernel):
    kernel.ok("run = %reactor start --workers 2 --seed 3")
    kernel.ok("run")
    opened, _ = [m for m in kernel.messages if m["msg_type"] == "display_data"]
    model = opened["content"]["data"][WIDGET]["model_id"]

    def press(what):
        """What the page sends when a button is pressed, and what the panel says then."""
        data = {"method": "custom", "content": {"do": what, "run": 0}}
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", {"comm_id": model, "data": data}))
        return [
            run["state"]
            for m in kernel.listen(1.0)
            if m["msg_type"] == "comm_msg"
            for run in m["content"]["data"].get("state", {}).get("runs", ())
        ]

    assert press("pause")[-1] == "paused"
    tags = int(kernel.value("run.tags"))
    assert press("step")[-1] == "paused"
    assert int(kernel.value("run.tags")) == tags + 1
    assert press("resume")[-1] == "running"
    assert "start" not in press("start"), "a run that lives is not started again"
    assert kernel.value("run.state") == "'running'"
    assert press("stop")[-1] == "stopped"
    assert press("start")[-1] == "running"
    again = "__import__('reactornb').notebook.current_session().last_run"
    assert kernel.value(f"{again}.number > run.number, {again}.seed, {again}.workers") == "(True, 3, 2)"
    press("nonsense")
    kernel.ok("%reactor stop")


@pytest.mark.parametrize("dot", [True, False], ids=["dot", "no dot"])
def test_a_graphs_panel_unfolds_banks_and_leaves_its_picture(kernel, dot, request):
    if not dot:
        request.addfinalizer(lambda: kernel.ok("d.shutil.which = found"))
        kernel.ok("import reactornb.viz.dot as d; found = d.shutil.which; d.shutil.which = lambda _: None")
    elif shutil.which("dot") is None:
        pytest.skip("no Graphviz here: apt-get install graphviz")
    kernel.ok("%reactor graph Main")
    opened, picture = [m["content"] for m in kernel.messages if m["msg_type"] == "display_data"]
    model = opened["data"][WIDGET]["model_id"]
    assert ("image/svg+xml" in picture["data"]) == dot
    assert "rollouts ×4: Rollout" in picture["data"]["text/plain"]
    assert 'data-rnb-of="' in picture["data"]["text/html"] if dot else "text/html" not in picture["data"]

    def ask(**content):
        data = {"method": "custom", "content": content}
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", {"comm_id": model, "data": data}))
        return kernel.listen(2.0)

    def state(messages):
        return {
            k: v
            for m in messages
            if m["msg_type"] == "comm_msg"
            for k, v in m["content"]["data"].get("state", {}).items()
        }

    unfolded = ask(do="unfold", key="main.rollouts")
    assert "rollouts[3]" in state(unfolded)["dot"]
    assert bool(state(unfolded).get("svg")) == dot
    if dot:
        (update,) = [m["content"] for m in unfolded if m["msg_type"] == "update_display_data"]
        assert "rollouts[3]" in update["data"]["image/svg+xml"]
    else:
        (library,) = [m for m in ask(do="library") if m["msg_type"] == "comm_msg"]
        assert b"Graphviz" in bytes(library["buffers"][0])
        (update,) = [
            m["content"]
            for m in ask(do="drawn", dot=state(unfolded)["dot"], svg="<svg>drawn by the page</svg>")
            if m["msg_type"] == "update_display_data"
        ]
        assert update["data"]["image/svg+xml"] == "<svg>drawn by the page</svg>"
        assert not ask(do="drawn", dot="older", svg="<svg/>")[2:], "a picture of what is shown no more"
    assert "L0" in state(ask(do="look", levels=True, depth=1))["dot"]


SPEAKER = """%%reactor Speaker
tick = Timer(0, ms(20))

@reaction(tick)
def on_tick(self):
    print("tick", self.bank_index)
"""


def test_what_a_shown_run_prints_stands_in_its_panel_and_that_of_others_below_the_cell(kernel):
    kernel.ok(SPEAKER)
    kernel.ok("%%reactor Talk\nspeakers = Bank(Speaker, 2)")
    assert kernel.ok("%reactor start Talk --workers 2") == "", "the panel has it"
    printed, until = "", time.monotonic() + 20
    while "tick 1" not in printed and time.monotonic() < until:
        for message in kernel.listen(0.3):
            assert message["msg_type"] != "stream"
            printed = message["content"].get("data", {}).get("state", {}).get("printed", printed)
    assert any(line.startswith("speakers[1] (") and line.endswith(", 0): tick 1") for line in printed.splitlines())
    assert "from the cell" in kernel.ok("print('from the cell')")
    assert "speakers[0] (" in kernel.ok("%reactor stop")
    said = kernel.ok("run = %reactor start Talk --workers 2 --until 40ms\nrun.wait()\nprint('done')")
    # As Python does it: two threads may come between each other's words and line ends.
    assert (said.count("tick"), said.count("0"), said.count("1"), "done" in said) == (6, 3, 3, True), repr(said)


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


def test_old_panels_let_go_of_their_comms(own_kernel):
    kernel = own_kernel
    kernel.ok("d = __import__('reactornb').notebook.current_session().displays; d.kept = 2")
    for _ in range(6):
        kernel.ok("%reactor start --workers 1")
        kernel.ok("%reactor stop")
    assert int(kernel.value("len(d._open)")) == 3, "those kept, and the last one, which moved when it was shown"
    assert int(kernel.value("len(__import__('comm').get_comm_manager().comms)")) == 6, "a panel and its layout each"


def test_a_reaction_that_raises_is_shown_by_the_panel_with_the_cells_line(kernel):
    kernel.ok("run = %reactor start Main fails=True --workers 2")
    kernel.ok("run")
    found = kernel.listen(3.0)
    states = [
        m["content"]["data"]["state"] for m in found if m["msg_type"] == "comm_msg" and "state" in m["content"]["data"]
    ]
    failures = [run["failure"] for s in states for run in s.get("runs", ()) if run["failure"]] or [
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


def test_shutting_the_kernel_down_ends_the_run_in_order(own_kernel, tmp_path):
    kernel = own_kernel
    file = tmp_path / "end"
    kernel.ok(f"run = %reactor start Main file={file} --workers 2")
    kernel.ok("6 * 7")
    began = time.monotonic()
    kernel.client.shutdown()
    kernel.process.wait(20)
    assert file.read_text().startswith("ended in order after ")
    assert time.monotonic() - began < 10
