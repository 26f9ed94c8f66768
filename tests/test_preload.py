"""What `%load_ext reactornb` imports beside the reader: who waits for it, who does not, and how it ends."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from reactornb.notebook import preload
from reactornb.runtime import imports

KERNEL = SimpleNamespace(kernel=object())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that stands for torch: `begun` is set when its import has begun, which goes on until `go` is set."""
    gate = SimpleNamespace(begun=threading.Event(), go=threading.Event(), threads=[])
    monkeypatch.setitem(sys.modules, "gate_of_slow", gate)
    (tmp_path / "slow_one.py").write_text(
        "import threading, gate_of_slow as gate\ngate.threads.append(threading.current_thread().name)\n"
        "gate.begun.set()\nassert gate.go.wait(20)\nanswer = 42\ndef ask():\n    return answer\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(preload, "PACKAGES", ("slow_one", "not_installed_here"))
    monkeypatch.setattr(imports, "HEAVY", ("slow_one",))
    monkeypatch.setenv("REACTORNB_PRELOAD", "1")
    yield gate
    gate.go.set()
    sys.modules.pop("slow_one", None)


def test_a_cell_that_imports_the_same_package_waits_for_the_thread_and_gets_a_whole_module(package):
    (thread,) = preload.start(KERNEL)
    assert package.begun.wait(20)
    assert imports.in_progress() == ("slow_one",)
    got = []
    cell = threading.Thread(target=lambda: got.append(__import__("slow_one").answer))
    cell.start()
    package.go.set()
    cell.join()
    thread.join()
    assert got == [42]
    assert package.threads == ["reactornb-preload-slow_one"]  # once, and not by the cell
    assert not any(isinstance(finder, preload._Brake) for finder in sys.meta_path)


@pytest.mark.skipif(
    not hasattr(sys, "_is_immortal") or sys._is_gil_enabled(), reason="with a GIL nothing is made immortal"
)
def test_what_the_thread_imported_is_immortal_when_it_ends_since_no_other_thread_may_make_it_so(package):
    package.go.set()
    for thread in preload.start(KERNEL):
        thread.join()
    import slow_one

    assert sys._is_immortal(slow_one)
    assert sys._is_immortal(slow_one.ask)


def test_an_import_that_fails_is_left_to_the_cell_to_say(package, tmp_path):
    (tmp_path / "slow_one.py").write_text("raise OSError('no such library')\n")
    for thread in preload.start(KERNEL):
        thread.join()
    with pytest.raises(OSError, match="no such library"):
        __import__("slow_one")


@pytest.mark.parametrize("case", ["no kernel", "switched off", "imported already", "not installed"])
def test_nothing_begins_without_a_kernel_or_anything_to_do(case, package, monkeypatch):
    if case == "switched off":
        monkeypatch.setenv("REACTORNB_PRELOAD", "0")
    if case == "imported already":
        monkeypatch.setattr(preload, "PACKAGES", ("sys", "threading"))
    if case == "not installed":
        monkeypatch.setattr(preload, "PACKAGES", ("not_installed_here",))
    assert preload.start(SimpleNamespace(kernel=None) if case == "no kernel" else KERNEL) == []


ENDING = """
import sys, threading, time, types
from reactornb.notebook import preload
sys.path.insert(0, sys.argv[1])
gate = sys.modules["gate"] = types.SimpleNamespace(begun=threading.Event(), modules=0)
preload.PACKAGES = ("many",)
preload.start(types.SimpleNamespace(kernel=object()))
assert gate.begun.wait(20)
print("over", flush=True)
"""


@pytest.mark.slow
def test_a_kernel_that_ends_meanwhile_waits_for_one_module_and_not_for_all(tmp_path):
    # Three hundred modules of a tenth of a second each.
    (tmp_path / "many.py").write_text(
        "import gate, importlib, time\ngate.begun.set()\n"
        "for i in range(300):\n    time.sleep(0.1)\n    importlib.import_module(f'part{i}')\n"
    )
    for i in range(300):
        (tmp_path / f"part{i}.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(tmp_path)], capture_output=True, text=True, timeout=25, check=False,
        env={**__import__("os").environ, "REACTORNB_PRELOAD": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
