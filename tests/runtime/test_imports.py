"""What a process imports, as the panel of a run says it: names, and whether the run waits for that."""

import sys
import threading
from types import ModuleType

import pytest

from reactornb import Program, Reactor, Timer, ms, reaction
from reactornb.runtime import imports
from reactornb.runtime.imports import Progress, in_progress


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    """A module that stands for a heavy one: its import goes on until `module.go` is set; `module.begun` says that it has begun."""
    name = f"heavy_{tmp_path.name}".replace("-", "_")
    gate = ModuleType("gate_of_" + name)
    gate.begun, gate.go = threading.Event(), threading.Event()
    (tmp_path / f"{name}.py").write_text(f"import gate_of_{name} as gate\ngate.begun.set()\ngate.go.wait(20)\n")
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(imports, "HEAVY", (name,))
    gate.name = name
    yield gate
    gate.go.set()
    sys.modules.pop(name, None)


def importing(name):
    thread = threading.Thread(target=__import__, args=(name,))
    thread.start()
    return thread


def test_a_package_is_in_progress_from_its_first_line_to_its_last_whatever_thread_imports_it(slow_module):
    assert in_progress() == ()
    thread = importing(slow_module.name)
    assert slow_module.begun.wait(20)
    assert in_progress() == (slow_module.name,)
    slow_module.go.set()
    thread.join()
    assert in_progress() == ()


def test_a_package_whose_import_fails_is_no_longer_in_progress(slow_module, tmp_path):
    (tmp_path / f"{slow_module.name}.py").write_text("raise ImportError('broken')\n")
    with pytest.raises(ImportError, match="broken"):
        __import__(slow_module.name)
    assert in_progress() == ()


def test_asking_imports_nothing_of_a_module_that_makes_its_attributes_on_demand(monkeypatch):
    class OnDemand(ModuleType):
        def __getattr__(self, name):
            raise AssertionError(f"asked for {name}")

    module = OnDemand("on_demand")
    del module.__spec__
    monkeypatch.setitem(sys.modules, "on_demand", module)
    monkeypatch.setattr(imports, "HEAVY", ("on_demand",))
    assert in_progress() == ()


def test_a_run_whose_first_reaction_imports_says_what_it_waits_for_and_then_nothing(slow_module):
    class Main(Reactor):
        tick = Timer(0, ms(1))

        @reaction(tick)
        def on_tick(self):
            __import__(slow_module.name)

    run = Program(Main).start(workers=1)
    try:
        assert slow_module.begun.wait(20)
        assert run.waiting_for == f"importing {slow_module.name}"
        assert run.status()["waiting_for"] == run.waiting_for
        slow_module.go.set()
        while not run.reactions:
            pass
        assert "importing" not in run.waiting_for
    finally:
        slow_module.go.set()
        run.stop()


def test_a_run_that_goes_on_beside_an_import_waits_for_nothing(slow_module, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(imports.time, "monotonic", lambda: now[0])
    thread = importing(slow_module.name)
    assert slow_module.begun.wait(20)
    progress, said = Progress(), []
    for reactions in (0, 5, 9, 9, 9, 12):  # a look every tenth of a second; at the third 9 it stands still
        said.append(progress.waiting_for(reactions))
        said.append(progress.waiting_for(reactions))  # two who look at the same moment hear the same
        now[0] += 0.11
    slow_module.go.set()
    thread.join()
    words = f"importing {slow_module.name}"
    assert said == [words, words, "", "", "", "", "", "", words, words, "", ""]
    assert progress.waiting_for(12) == ""
