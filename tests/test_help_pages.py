"""`Rollout??`: the source of what cells declare, without a patch of `inspect`."""

import inspect
import types

import pytest

pytest.importorskip("IPython")

from shells import loaded_shell

CELLS = {
    "%%reactor Main\nx: int = 3": "class Main(Reactor):\n    x: int = 3",
    "from reactornb import *\nclass Main(Reactor):\n    y: int = 4\n": "class Main(Reactor):\n    y: int = 4",
    "import math\n\n@reactor\nclass Main:\n    z: int = 5\n\nw = 6": "@reactor\nclass Main:\n    z: int = 5",
    "%%reactor Main\nimport math\nTEXT = '''a\nb'''": "class Main(Reactor):\n    import math\n    TEXT = '''a\nb'''",
}
MODULES = (inspect, types)


@pytest.fixture
def shell():
    before = [dict(vars(module)) for module in MODULES]
    with loaded_shell() as cells:
        inspector = cells.shell.inspector
        cells.ok("from reactornb import *")
        yield cells.shell
        assert [dict(vars(module)) for module in MODULES] == before
        shell = cells.shell
    assert shell.inspector is not inspector


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.thread_unsafe(reason="a process has one shell")
def test_two_question_marks_show_the_source_of_a_cells_reactor(cell, shell):
    shell.run_cell(cell, store_history=True)
    shown = shell.object_inspect_text("Main", detail_level=1)
    assert CELLS[cell] in shown


@pytest.mark.thread_unsafe(reason="a process has one shell")
def test_other_objects_are_shown_as_ipython_shows_them(shell):
    from reactornb.rl.rollout import Rollout

    shell.user_ns["Rollout"] = Rollout
    shell.run_cell("class Plain:\n    def f(self): return 7", store_history=True)
    assert "class Rollout" in shell.object_inspect_text("Rollout", detail_level=1)
    assert "return 7" in shell.object_inspect_text("Plain.f", detail_level=1)
    assert "Init signature" in shell.object_inspect_text("Plain", detail_level=0)
