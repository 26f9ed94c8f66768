"""A cell means the same in Jupyter and to `reactornb run`: one table of cells, each taken by a real shell and by the loader of files."""

import json
import linecache

import pytest

pytest.importorskip("IPython")

from shells import loaded_shell

from reactornb.__main__ import main
from reactornb.errors import DeclarationError
from reactornb.loading import load
from reactornb.model import Reactor
from reactornb.testing import run_to_end

BODY = "out = Output[float]()\n\n@reaction(startup)\ndef on_startup(self, out):\n    out.set({value})\n"


def reactor(value, name="Main", above=""):
    return f"%%reactor {name}\n{above}{BODY.format(value=value)}"


# What it shows: cells, and what `Main.out` sends.
GOOD = {
    "an import at the top": ([reactor("math.pi", above="import math\n")], 3.141592653589793),
    "an import from a package at the top": ([reactor("tau", above="from math import tau\n")], 6.283185307179586),
    "an import below the docstring": (
        [reactor("math.floor(1.5)", above='"""Rounds."""\nimport math\n')],
        1,
    ),
    "an import that the cell's own parameters use": (
        [reactor("self.x", above="import math\nx: float = math.floor(2.5)\n")],
        2,
    ),
    "an import that a later plain cell uses": (
        [reactor("twice(1)", above="import math\n"), "def twice(x):\n    return 2 * math.floor(x)"],
        2,
    ),
    "annotations from the future in the cell": (
        ["x = 3", reactor("x", above="from __future__ import annotations\ndef f(self, y: NothingOfTheKind): ...\n")],
        3,
    ),
    "annotations from the future in a cell before": (
        ["from __future__ import annotations", "def f(x: NothingOfTheKind): return 4", reactor("f(1)")],
        4,
    ),
    "a decorator of the notebook's own": (
        [
            "def doubled(f):\n    f.factor = 2\n    return f",
            "%%reactor Main\nout = Output[float]()\n@reaction(startup)\n@doubled\ndef on_startup(self, out):\n    out.set(5)",
        ],
        5,
    ),
    "comments and blank lines at the top": ([reactor(6, above="# why\n\n# wherefore\n")], 6),
    "blank lines above the magic": (["\n  \n" + reactor(7)], 7),
    "an indented cell": (["\n".join("  " + line for line in reactor(8).split("\n"))], 8),
    "text whose lines must not move": ([reactor("len(self.TEXT)", above="TEXT = '''a\nb'''\n")], 3),
    "an f-string whose lines must not move": ([reactor("len(self.TEXT)", above="TEXT = f'''{1}\nb'''\n")], 3),
    "a base": (["%%reactor Sender\nout = Output[float]()", "%%reactor Main Sender\nn: int = 1\n@reaction(startup)\ndef go(self):\n    pass"], None),
    "the option --doc": ([reactor(9).replace("%%reactor Main", "%%reactor Main --doc")], 9),
    "the option --doc before the name": ([reactor(9).replace("%%reactor Main", "%%reactor --doc Main")], 9),
    "a quoted name": ([reactor(9).replace("%%reactor Main", '%%reactor "Main"')], 9),
    "a question for help declares nothing": (["%%reactor Main --help\nx = nothing", reactor(10)], 10),
    "below %%time": (["%%time\n" + reactor(11)], 11),
    "below %%capture and a blank line": (["%%capture\n\n" + reactor(12)], 12),
    "an empty body": (["%%reactor Main\n# nothing yet"], None),
    "names of the package that a cell before has its own of": (["sec = 13", reactor("sec")], 13),
    "a contained class that is declared again": (
        [
            reactor(1, "Sender"),
            "%%reactor Main\nout = Output[float]()\nsender = Sender()\nconnect(sender.out, out)",
            reactor(14, "Sender"),
        ],
        14,
    ),
    "a base that is declared again": (
        [reactor(1, "Base"), "%%reactor Main Base\npass", reactor(15, "Base")],
        15,
    ),
    "Lingua Franca with a name for its main reactor": (
        ["%%lf Main\ntarget Python\nmain reactor { }", "%%lf Other\ntarget Python\nmain reactor { }"],
        None,
    ),
    "Lingua Franca that contains a reactor of Python, declared again": (
        [reactor(16, "Sender"), "%%lf\ntarget Python\nmain reactor Main { output out\n s = new Sender()\n s.out -> out }"],
        16,
    ),
}  # fmt: skip

# What is wrong: cells, and what both say about it.
BAD = {
    "no name": (["%%reactor\nx = Input()"], "a class needs a name"),
    "a name that is none": (["%%reactor 3x\nx = Input()"], "'3x' is not a valid class name"),
    "a name that is a keyword": (["%%reactor class\nx = Input()"], "'class' is not a valid class name"),
    "a word too many": (["%%reactor A Reactor C\nx = Input()"], "unrecognized arguments: C"),
    "an option that there is not": (["%%reactor A --dock\nx = Input()"], "unrecognized arguments: --dock"),
    "a quote that does not end": (["%%reactor A 'b\nx = Input()"], "No closing quotation"),
    "a base that is no reactor": (["class B: pass", "%%reactor A B\nx = Input()"], "the base 'B' is not a reactor class"),
    "a body that is no Python": (["%%reactor A\nx = = 1"], "line 2: invalid syntax"),
    "a magic in the body": (["%%reactor A\n%time x = 1"], "Magics and shell commands go into a cell of their own"),
    "a shell command in the body": (["%%reactor A\nx = Input()\n!ls"], "line 3: invalid syntax. Magics and shell"),
    "a name that nothing defines": (["%%reactor A\nx = Inptu()"], "name 'Inptu' is not defined"),
    "an import that there is not": (["%%reactor A\nimport nothing_of_the_kind"], "No module named 'nothing_of_the_kind'"),
    "a future feature that comes too late": (
        ["%%reactor A\nimport math\nfrom __future__ import annotations"],
        "must occur at the beginning",
    ),
    "a name of the package in a plain cell": (["class A(Reactor):\n    x = Input()"], "name 'Reactor' is not defined"),
    "Lingua Franca that is none": (["%%lf\ntarget Python\nmain reactor ( }"], "line 3"),
    "a word too many for Lingua Franca": (["%%lf A B\ntarget Python\nmain reactor { }"], "unrecognized arguments: B"),
}  # fmt: skip


@pytest.fixture
def jupyter():
    with loaded_shell() as cells:
        yield cells


@pytest.fixture
def book(tmp_path):
    def write(*cells):
        path = tmp_path / "book.ipynb"
        made = [{"cell_type": "code", "metadata": {}, "source": cell} for cell in cells]
        path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}), "utf-8")
        return path

    return write


def facts(cls):
    """What a reactor class declares, and what its `out` sends."""
    assert issubclass(cls, Reactor)
    spec = cls._spec
    sent = [value for _, name, value in run_to_end(cls()).writes if name.split(".")[-1] == "out"]
    return {
        "doc": cls.__doc__,
        "line": cls._definition.line,
        "parameters": dict(spec.parameters),
        "reactions": [(r.fn.__qualname__, r.source.line) for r in spec.reactions],
        "text": getattr(cls, "TEXT", None),
        "source": [linecache.getline(r.fn.__code__.co_filename, r.source.line) for r in spec.reactions],
        "sent": sent,
    }


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.thread_unsafe(reason="a process has one shell")
def test_a_cell_declares_the_same(case, jupyter, book):
    cells, sent = GOOD[case]
    said = "".join(map(jupyter, cells))
    assert "Main" in jupyter.names, said
    there = facts(jupyter.names["Main"])
    here = facts(load(book(*cells)).names["Main"])
    if "%%capture" in cells[0]:  # which runs what stands below it as a cell of its own, with lines of its own
        for differs in ("line", "reactions"):
            del here[differs], there[differs]
    assert there == here
    assert there["sent"][-1:] == ([] if sent is None else [sent])


@pytest.mark.parametrize("case", GOOD)
def test_the_command_line_takes_the_same_cells(case, book, capsys):
    cells, _ = GOOD[case]
    assert main(["run", str(book(*cells)), "--main", "Main", "--workers", "1", "--fast"]) == 0, capsys.readouterr()


@pytest.mark.parametrize("case", BAD)
@pytest.mark.thread_unsafe(reason="a process has one shell")
def test_a_wrong_cell_is_told_in_the_same_words(case, jupyter, book, capsys):
    cells, words = BAD[case]
    assert words in "".join(map(jupyter, cells))
    assert main(["run", str(book(*cells))]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("above", ["# a comment\n", "x = 1\n", "%precision 3\n"])
def test_a_cell_magic_below_other_lines_is_refused_as_jupyter_refuses_it(above, jupyter, book):
    cell = above + reactor(1)
    assert "Line magic function `%%reactor` not found" in jupyter(cell)
    assert "Main" not in jupyter.names
    with pytest.raises(DeclarationError, match=r"cell 1, line 2: %%reactor Main stands below other lines"):
        load(book(cell))


def test_a_class_that_no_longer_fits_the_one_declared_again_is_told(jupyter, book):
    cells = [
        reactor(1, "Sender"),
        "%%reactor Main\nsender = Sender()\nout = Output()\nconnect(sender.out, out)",
        "%%reactor Sender\nother = Output()",
    ]
    assert "Main uses Sender and no longer fits it" in "".join(map(jupyter, cells))
    (note,) = load(book(*cells)).notes
    assert note.startswith("Main uses Sender and no longer fits it")
