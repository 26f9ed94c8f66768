"""`reactornb check` and `reactornb run` with notebooks: the tutorials, cells of every kind, and what is no notebook."""

import json
from pathlib import Path

import pytest

from reactornb.__main__ import main

TUTORIALS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
REACTOR = "%%reactor Main\nn: int = 1\n@reaction(startup)\ndef on_startup(self):\n    print('got', {value})"
RUN = "run = %reactor start Main\nvalue = run.result()"


@pytest.fixture
def book(tmp_path):
    def write(*cells, tags=()):
        made = [{"cell_type": "code", "metadata": {"tags": list(tags)}, "source": cell} for cell in cells]
        path = tmp_path / "book.ipynb"
        path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}), "utf-8")
        return str(path)

    return write


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_good(path, capsys):
    pytest.importorskip("gymnasium")
    pytest.importorskip("torch")
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good\n"


@pytest.mark.parametrize(
    "cells",
    [
        (
            "import math\nHALF = math.pi / 2\ntable = {}\ntable['x'] = HALF",
            REACTOR.format(value="round(table['x'], 1)"),
        ),
        ("FULL = False\nx = 9.9 if FULL else 1.6", "def value():\n    return x", REACTOR.format(value="value()")),
        ("%%time\nx = sum([1, 0.6])", "\n\n" + REACTOR.format(value="x")),
        ("try:\n    import nothing_there\nexcept ImportError:\n    x = 1.6", REACTOR.format(value="x")),
    ],
)
def test_what_a_reactor_needs_is_made(cells, book, capfd):
    assert main(["run", book("%load_ext reactornb", *cells, RUN), "-w", "1"]) == 0
    assert "got 1.6" in capfd.readouterr().out


def test_what_nobody_needs_is_left_out(book, capsys):
    path = book(
        REACTOR.format(value=1), "open('/nowhere/at/all')", "x = open('/nowhere/at/all')", RUN, "def f(y=x): pass"
    )
    assert main(["check", path]) in (0, 1)
    assert main(["check", book(REACTOR.format(value=1), "x = open('/nowhere')", RUN, "def f(y=value): pass")]) == 0


def test_a_name_that_only_a_run_makes_is_an_error_with_both_cells(book, capsys):
    path = book("import math", "x = math.run()", "%%reactor Main\nn: int = x")
    assert main(["check", path]) == 1
    said = capsys.readouterr().out
    assert "cell 3, line 2: x is not there: cell 2, line 1 makes it and is not executed, since it calls .run(…)" in said


def test_a_program_of_the_library_is_checked_and_run(book, capsys):
    cells = (
        "%%lf\ntarget Python\nreactor A { output o:int }\nmain reactor Hello(n=1) { a = new A() }",
        "%reactor graph Hello",
    )
    assert main(["check", book(*cells)]) == 0
    assert main(["run", book(*cells), "-w", "1"]) == 0
    assert "hello finished" in capsys.readouterr().err.lower()


def test_what_a_notebook_expects_to_fail_may_fail(book, capsys):
    loop = (
        "%%reactor A\ni = Input()\no = Output()\n@reaction(i)\ndef on_i(self, i, o):\n    o.set(1)",
        "%%reactor Loop\na = A()\nconnect(a.o, a.i)",
        REACTOR.format(value=1),
    )
    assert main(["check", book(*loop)]) == 1
    assert main(["check", book(*loop, "try:\n    Program(Loop)\nexcept ReactorError as error:\n    print(error)")]) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a notebook"),
        ("{", "is not a notebook"),
        ("[" * 100_000, "is not a notebook"),
        ("[1]", "no list of cells"),
        ('{"cells": 3}', "no list of cells"),
        ('{"worksheets": [], "nbformat": 3}', "format 3"),
        ('{"cells": [7]}', "its cell 1 (of all kinds) is a number"),
        ('{"cells": [{"cell_type": "code"}]}', "code cell 1 has nothing for its source"),
        ('{"cells": [{"cell_type": "code", "source": {}}]}', "code cell 1 has an object"),
        ('{"cells": [{"cell_type": "code", "source": [1]}]}', "code cell 1 has a list"),
        ('{"cells": [{"cell_type": "code", "source": "", "metadata": []}]}', "declares no reactor"),
        ('{"cells": [{"cell_type": "code", "source": "", "metadata": {"tags": 5}}]}', "declares no reactor"),
    ],
)
def test_what_is_no_notebook_is_said_in_one_line(text, words, tmp_path, capsys):
    path = tmp_path / "book.ipynb"
    path.write_text(text)
    assert main(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_files_that_cannot_be_read_are_said_in_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "round.py").symlink_to(tmp_path / "round.py")
    there = tmp_path / "closed.py"
    there.write_text("x = 1")
    read = Path.read_text

    def closed(path, *args, **options):
        if path == there:
            raise PermissionError(13, "Permission denied")
        return read(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", closed)
    for name in ("folder.py", "round.py", "closed.py", "missing.ipynb", "missing.lf", "x" * 300 + ".py"):
        assert main(["run", str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert name in said
        assert said.count("\n") == 1, said
        assert main(["check", str(tmp_path / name)]) == 1
        assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(("code", "status"), [("", 0), ("0", 0), ("3", 3), ("'no'", 1)])
@pytest.mark.parametrize("kind", ["py", "ipynb", "lf"])
def test_sys_exit_while_a_file_is_loaded_is_told_and_its_status_passes(kind, code, status, tmp_path, book, capsys):
    path = tmp_path / f"f.{kind}"
    text = f"import sys\nsys.exit({code})"
    if kind == "py":
        path.write_text(text)
    elif kind == "lf":
        path.write_text(f"target Python\npreamble {{=\n{text}\n=}}\nmain reactor {{ }}")
    else:
        path = book(text, tags=["program"])
    assert main(["run", str(path)]) == status
    assert "ended the file while it was loaded" in capsys.readouterr().err
    assert main(["check", str(path)]) == 1


@pytest.mark.parametrize("words", ["nn=3", "n=x"])
def test_a_wrong_parameter_is_said_of_the_line_of_the_class(words, tmp_path, capsys):
    path = tmp_path / "f.py"
    path.write_text("from reactornb import Reactor\n\n\nclass Main(Reactor):\n    n: int = 3\n")
    assert main(["run", str(path), words]) == 2
    assert f"reactornb: {path}, line 4: " in capsys.readouterr().err
    path = tmp_path / "f.lf"
    path.write_text("target Python\n\nmain reactor Main(n: int = 3) { }\n")
    if words == "nn=3":
        assert main(["run", str(path), words]) == 2
        assert f"reactornb: {path}, line 3: " in capsys.readouterr().err


@pytest.mark.parametrize(("code", "status"), [("", 0), ("0", 0), ("3", 3)])
def test_sys_exit_in_a_reaction_is_no_failure_and_is_named(code, status, tmp_path, capsys):
    path = tmp_path / "f.py"
    path.write_text(
        "import sys\nfrom reactornb import Reactor, reaction, startup\n\nclass Main(Reactor):\n"
        f"    @reaction(startup)\n    def on_startup(self):\n        sys.exit({code})\n"
    )
    assert main(["run", str(path), "-w", "1"]) == status
    said = capsys.readouterr().err
    assert f"main ended by sys.exit({code}) in main.on_startup at tag (0, 0)" in said
    assert "failed" not in said
