"""`reactornb verify` and `%reactor verify`: what they print, their status, and that they leave alone what runs."""

import textwrap

import pytest

pytest.importorskip("IPython")

from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from shells import loaded_shell

from reactornb.__main__ import main
from reactornb.runtime import live_runs

PROGRAM = """
import itertools
from reactornb import *

counter = itertools.count()

class Main(Reactor):
    tick = Timer(0, ms(1))
    out = Output()
    rate: float = 1.0
    unlike: bool = False
    needs_physical_time = False
    @reaction(tick)
    def on_tick(self, out):
        out.set(self.rate * self.rng.random() + (next(counter) if self.unlike else 0))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return str(path)


def test_the_command_says_that_all_is_equal(file, capsys):
    assert main(["verify", file, "--tags", "20", "--workers", "1,2,3", "--seed", "4", "rate=2.0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("all equal: main, seed 4: ")
    assert "with 1, 2 and 3 workers" in said


def test_the_command_names_what_differs_and_its_status_is_1(file, capsys):
    assert main(["verify", file, "unlike=True", "--until", "5ms"]) == 1
    said = capsys.readouterr().out
    assert "first at tag (0, 0): main.out, written by main.on_tick (" in said
    assert "program.py, line 13)" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "there is no program 'nothing'"),
        (["FILE", "--workers", "2"], "two runs or more"),
        (["FILE", "--tags", "0"], "tags must be"),
        (["FILE", "speed=1"], "speed"),
    ],
)
def test_a_mistake_is_one_line(words, said, file, capsys):
    assert main(["verify", *(file if word == "FILE" else word for word in words)]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def cells():
    with loaded_shell() as loaded:
        loaded.ok(PROGRAM)
        yield loaded


def test_the_magic_leaves_a_run_alone_and_it_stays_the_one_that_is_meant(cells):
    cells.ok("run = %reactor start Main rate=3.0")
    run = cells.names["run"]
    cells.ok("found = %reactor verify Main rate=2.0 --tags 20 -w 1,2")
    assert cells.names["found"]
    assert live_runs() == [run]
    assert run.is_alive
    assert "rate = 3" in cells.ok("%reactor set rate")
    cells.ok("%reactor stop")


def test_the_magic_names_what_differs_in_its_cell(cells):
    cells.ok("found = %reactor verify Main unlike=True --tags 10")
    assert cells.names["found"].difference.name == "main.out"
    cells.ok("program = Program(Main)\nfound = %reactor verify program --tags 10")
    assert cells.names["found"].same


def test_the_magic_refuses_in_one_line(cells):
    cells.ok("program = Program(Main)")
    for line, words in (
        ("verify Nobody", "there is no reactor or program 'Nobody'"),
        ("verify Main --workers 1", "two runs or more"),
        ("verify program rate=1.0", "program is made already"),
        ("verify Main speed=1", "speed"),
    ):
        cells(f"%reactor {line}")
        assert words in str(cells.error)
        assert isinstance(cells.error, UsageError)


def complete(cells, line):
    with provisionalcompleter():
        return [c.text for c in cells.shell.Completer.completions(line, len(line))]


def test_help_and_completion_know_it(cells):
    assert "%reactor verify" in cells.ok("%reactor help")
    assert "--tags" in cells.ok("%reactor verify --help")
    assert "verify" in complete(cells, "%reactor ver")
    assert "Main" in complete(cells, "%reactor verify Ma")
    assert "rate=" in complete(cells, "%reactor verify Main ra")
    assert "--workers" in complete(cells, "%reactor verify Main --w")
