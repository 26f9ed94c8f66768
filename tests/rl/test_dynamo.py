"""torch's compiler is loaded by who needs it, and not by the first optimizer."""

import inspect
import subprocess
import sys
import threading
from types import ModuleType

import pytest

from reactornb.rl import dynamo


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A package that stands for torch, with a slow `_dynamo` in it, which counts how often it is loaded."""
    package = tmp_path / "made_torch"
    (package / "_dynamo").mkdir(parents=True)
    (package / "__init__.py").write_text("loads = []\n")
    (package / "_dynamo" / "__init__.py").write_text(
        "import made_torch, time\nmade_torch.loads.append(1)\ntime.sleep(0.05)\nbreaks = []\n"
        "def graph_break(msg=''): breaks.append(msg)\n"
        "def disable(fn=None, recursive=True):\n    return lambda *a, **k: ('disabled', fn(*a, **k))\n"
        "def optimize(): return 'compiled'\n"
    )
    (package / "_dynamo" / "testing.py").write_text("name = 'testing'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("REACTORNB_DEFER", raising=False)
    monkeypatch.setattr(dynamo, "NAME", "made_torch._dynamo")
    monkeypatch.setattr(dynamo, "PARENT", "made_torch")
    import made_torch

    yield made_torch
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_torch"]:
        del sys.modules[name]


def as_torch_does(made):
    import made_torch._dynamo

    made_torch._dynamo.graph_break()
    return made_torch._dynamo.disable(lambda x: x + 1, True)


def test_what_an_optimizer_asks_for_loads_nothing(compiler):
    assert dynamo.defer()
    assert as_torch_does(compiler)(1) == 2
    assert compiler.loads == []


def test_who_goes_through_all_modules_loads_nothing(compiler):
    dynamo.defer()
    inspect.getmodule(compile("1", "nowhere", "exec"))
    for module in list(sys.modules.values()):
        getattr(module, "__warningregistry__", None)
    assert inspect.getfile(sys.modules[dynamo.NAME]).endswith("_dynamo/__init__.py")
    assert compiler.loads == []


def test_whatever_else_is_asked_for_comes_from_the_real_one(compiler):
    dynamo.defer()
    held = sys.modules[dynamo.NAME]
    assert compiler._dynamo.optimize() == "compiled"
    assert compiler.loads == [1]
    assert compiler._dynamo is sys.modules[dynamo.NAME] is not held
    assert held.optimize() == "compiled"  # by whoever holds the other one still
    held.graph_break("here")
    assert compiler._dynamo.breaks == ["here"]
    assert dynamo.defer() is False  # too late, and no harm


def test_a_submodule_is_one_of_the_real_package(compiler):
    dynamo.defer()
    from made_torch._dynamo import testing

    assert testing.name == "testing"
    assert compiler._dynamo.testing is testing
    assert compiler.loads == [1]


def test_a_function_kept_from_compilation_is_kept_from_it_once_there_is_a_compiler(compiler):
    dynamo.defer()
    fn = as_torch_does(compiler)
    assert fn(1) == 2
    compiler._dynamo.optimize()
    assert fn(1) == ("disabled", 2)


def test_threads_that_need_it_at_once_load_it_once(compiler):
    dynamo.defer()
    held, barrier, answers = sys.modules[dynamo.NAME], threading.Barrier(4), []

    def ask():
        barrier.wait()
        answers.append(held.optimize())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["compiled"] * 4
    assert compiler.loads == [1]


def test_one_that_is_loaded_already_stays_and_deferring_can_be_switched_off(compiler, monkeypatch):
    monkeypatch.setenv("REACTORNB_DEFER", "0")
    assert dynamo.defer() is False
    assert dynamo.NAME not in sys.modules
    monkeypatch.delenv("REACTORNB_DEFER")
    as_torch_does(compiler)
    assert compiler.loads == [1]
    assert dynamo.defer() is False
    assert isinstance(sys.modules[dynamo.NAME], ModuleType)
    assert not isinstance(sys.modules[dynamo.NAME], dynamo.Deferred)


def python(code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


PROGRAMS = """
import sys
from dataclasses import replace
from reactornb import Program, sec
from reactornb.rl import A2C, A3C, DQN, PPO
for program in (A2C, A3C, DQN, PPO):
    run = Program(program).start(workers=2, fast=True)
    while run.is_alive and not any(map(len, run.logs)):
        run.wait(0.05)
    run.stop()
    assert run.failure is None
print(*(name for name in ("sympy", "triton", "torch._dynamo.config") if name in sys.modules))
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_algorithm_loads_the_compiler_or_what_only_it_needs():
    pytest.importorskip("torch")
    assert python(PROGRAMS) == []


TRAINED = """
import sys, torch
from reactornb.rl.dynamo import defer, _is_loaded
def trained(make):
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.fill_(0.1); layer.bias.fill_(0.2)
    optimizer = make(layer.parameters(), lr=0.1)
    for i in range(3):
        optimizer.zero_grad(); layer(torch.ones(2, 4) * (i + 1)).square().sum().backward(); optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return layer.weight.detach().numpy().tobytes()
def all_of_them():
    return [trained(make) for make in (torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD, torch.optim.AdamW)]
assert defer()
without = all_of_them()
assert not _is_loaded()
double = torch.compile(lambda x: torch.sin(x) * 2, backend="eager")
assert torch.equal(double(torch.ones(3)), torch.sin(torch.ones(3)) * 2)
assert _is_loaded() and torch._dynamo.config is not None
assert all_of_them() == without
layer = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
def step():
    optimizer.zero_grad(); layer(torch.ones(1, 2)).sum().backward(); optimizer.step()
before = layer.bias.detach().clone()
torch.compile(step, backend="eager")()
assert torch.allclose(layer.bias, before - 0.1)
print("done")
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_optimizers_compute_the_same_without_the_compiler_and_the_compiler_works_afterwards():
    pytest.importorskip("torch")
    assert python(TRAINED) == ["done"]
