"""`run.metrics`: arrays of what was logged, with the tag, the physical time and the environment steps of each value."""

import subprocess
import sys
import types

import numpy as np
import pytest

from reactornb import Bank, Program, Reactor, State, Tag, Timer, ms, reaction
from reactornb.errors import MissingPackageError, ReactorError
from reactornb.testing import FakeClock, logged


class Learns(Reactor):
    tick = Timer(0, ms(1))
    n = State(0)

    @reaction(tick)
    def on_tick(self):
        self.n += 1
        self.log(steps=10.0, loss=1.0 / self.n)
        if self.n % 2 == 0:
            self.log(eval_mean=float(self.n))


class Two(Reactor):
    learners = Bank(Learns, 2)


@pytest.fixture(scope="module")
def result():
    return Program(Two).run(workers=1, clock=FakeClock(), until=ms(3))


def test_a_metric_is_arrays_of_one_length_ordered_by_tag_then_reactor(result):
    loss = result.metrics["loss"]
    assert loss.values.tolist() == [1, 1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 4, 1 / 4]
    assert loss.time_ns.tolist() == [t for t in (0, ms(1), ms(2), ms(3)) for _ in range(2)]
    assert loss.microstep.tolist() == [0] * 8
    kinds = {"values": "f8", "time_ns": "i8", "microstep": "i8", "wall_s": "f8", "steps": "i8"}
    for name, kind in kinds.items():
        array = getattr(loss, name)
        assert array.dtype == kind
        assert array.shape == (8,)
        assert not array.flags.writeable


def test_steps_count_what_was_logged_up_to_and_at_each_values_tag(result):
    assert result.metrics["loss"].steps.tolist() == [20, 20, 40, 40, 60, 60, 80, 80]
    assert result.metrics["eval_mean"].steps.tolist() == [40, 40, 80, 80]
    assert result.metrics["steps"].steps.tolist() == [20, 20, 40, 40, 60, 60, 80, 80]


def test_without_logged_steps_there_are_none():
    class Quiet(Reactor):
        tick = Timer(0, ms(1))

        @reaction(tick)
        def on_tick(self):
            self.log(x=1)

    assert Program(Quiet).run(workers=1, clock=FakeClock(), until=ms(2)).metrics["x"].steps.tolist() == [0, 0, 0]


def test_wall_time_rises_within_a_reactor_and_lies_within_the_run(result):
    wall = result.metrics["loss"].wall_s
    assert (np.diff(wall[::2]) >= 0).all()
    assert 0 < wall.min() <= wall.max() <= result.seconds


def test_a_metric_is_a_sequence_of_its_values(result):
    loss = result.metrics["loss"]
    assert len(loss) == 8
    assert list(loss) == loss.values.tolist()
    assert (loss[0], loss[-1]) == (1.0, 0.25)
    assert loss[2:4].tolist() == [0.5, 0.5]
    assert np.mean(loss) == np.mean(loss.values)
    assert loss.tags[-1] == Tag(ms(3))
    assert logged(result, "loss")[0] == (Tag(0), 1.0)
    assert repr(loss).startswith("<metric loss: 8 values, from 1 to 0.25 at (3 ms, 0)")
    assert not Program(Two).start(workers=1, until=0, fast=True).metrics.get("nothing", [])


def test_metrics_are_equal_if_tags_and_values_are_whatever_the_time_they_took(result):
    again = Program(Two).run(workers=2, clock=FakeClock(), until=ms(3))
    assert again.metrics == result.metrics
    assert (again.metrics["loss"].wall_s != result.metrics["loss"].wall_s).any()
    longer = Program(Two).run(workers=1, clock=FakeClock(), until=ms(4))
    assert longer.metrics["loss"] != result.metrics["loss"]
    assert result.metrics["loss"] != result.metrics["steps"]
    assert result.metrics["loss"] != [1.0]


def test_a_frame_has_the_arrays_as_columns_and_the_values_under_the_metrics_name(result, monkeypatch):
    fake = types.ModuleType("pandas")
    fake.DataFrame = dict
    monkeypatch.setitem(sys.modules, "pandas", fake)
    frame = result.metrics["loss"].to_frame()
    assert list(frame) == ["time_ns", "microstep", "wall_s", "steps", "loss"]
    assert frame["loss"] is result.metrics["loss"].values or (frame["loss"] == result.metrics["loss"].values).all()
    assert list(result.metrics["steps"].to_frame()) == ["time_ns", "microstep", "wall_s", "steps"]


def test_without_pandas_a_frame_is_refused_with_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match=r"'loss' needs pandas: pip install pandas"):
        result.metrics["loss"].to_frame()
    assert issubclass(MissingPackageError, (ReactorError, ImportError))


@pytest.mark.slow
def test_a_run_and_a_result_plot_without_a_notebook_and_nothing_is_drawn_before():
    pytest.importorskip("matplotlib")
    code = """
import sys
from reactornb import Program, Reactor, Timer, ms, reaction, Run, Result
own = set(vars(Run)) | set(vars(Result))
class Logs(Reactor):
    tick = Timer(0, ms(1))
    @reaction(tick)
    def on_tick(self):
        self.log(loss=self.time_ns / 1e6)
program = Program(Logs)
result = program.run(workers=1, fast=True, until=ms(20))
assert "matplotlib" not in sys.modules and not any(m.startswith("reactornb.viz") for m in sys.modules)
for plotted in (program.last_run.plot(), result.plot(["loss"], title="a run")):
    assert plotted._repr_png_().startswith(b"\\x89PNG")
try:
    result.plot(["los"])
except Exception as error:
    assert "no metric 'los' was logged" in str(error), error
else:
    raise AssertionError
assert set(vars(Run)) | set(vars(Result)) == own
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_a_notebook_session_leaves_the_classes_of_the_runtime_as_they_are():
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    from reactornb import Result, Run
    from reactornb.notebook.load import load, unload

    before = {cls: dict(vars(cls)) for cls in (Program, Run, Result)}
    shell = InteractiveShell.instance()
    try:
        load(shell)
        assert {cls: dict(vars(cls)) for cls in before} == before
    finally:
        unload()
        InteractiveShell.clear_instance()


def test_a_thread_that_has_work_while_it_waits_does_it_and_other_threads_do_not():
    import threading

    from reactornb.runtime.run import meanwhiles

    class Work:
        seconds = 0.005

        def __init__(self):
            self.told = []

        def __enter__(self):
            self.told.append("in")

        def __exit__(self, *_):
            self.told.append("out")

        def look(self):
            self.told.append("look")
            release.set()

    release = threading.Event()

    class Holds(Reactor):
        tick = Timer(0)

        @reaction(tick)
        def on_tick(self):
            release.wait(20)

    work = Work()
    meanwhiles[threading.get_ident()] = work
    try:
        run = Program(Holds).start(workers=1)
        other = threading.Thread(target=run.wait, args=(0.02,))
        other.start()
        other.join(20)
        assert work.told == [], "it is this thread's work"
        assert run.wait(20), "its look lets the run end"
        assert (work.told[0], work.told[-1]) == ("in", "out")
        assert set(work.told[1:-1]) == {"look"}
        told = len(work.told)
        run.result(20)
        assert (work.told[told], work.told[-1]) == ("in", "out")
    finally:
        release.set()
        del meanwhiles[threading.get_ident()]
