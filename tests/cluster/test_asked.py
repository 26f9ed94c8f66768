"""Hosts as they are asked for in a notebook and on the command line: the same fingerprint as without."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("IPython")

from IPython.core.error import UsageError
from shells import loaded_shell

from reactornb.__main__ import main
from reactornb.cluster.loopback import LoopbackHosts

SHIPPED = str(Path(__file__).with_name("shipped.py"))
CELLS = [
    "%load_ext reactornb",
    """%%reactor Play
weights = Input()
played = Output()

@reaction(weights)
def on_weights(self, weights, played):
    played.set(weights.value + float(self.rng.random()))
""",
    """%%reactor Learn
n: int
played = Input(width="n")
weights = Output()
again = LogicalAction()
w = State(0.0)

@reaction(startup, played)
def on_played(self, played, weights):
    self.w += sum(played.values) if played.is_present else 0.0
    self.log(w=self.w)
    weights.set(self.w)
""",
    """%%reactor Main
n: int = 4

def compose(self):
    self.learn = Learn(n=self.n)
    self.play = enclave(Bank(Play, self.n), each=True)
    connect(self.learn.weights, self.play.weights, after=ms(1), broadcast=True)
    connect(self.play.played, self.learn.played)
""",
]


START = "%reactor start Main --workers 1 --fast --fingerprint --until 20ms"


@pytest.fixture
def cells():
    with loaded_shell() as loaded:
        for cell in CELLS:
            loaded.ok(cell)
        yield loaded


def fingerprint(cells, options=""):
    cells.ok(f"run = {START} {options}")
    return cells.names["run"].result(60).fingerprint


def test_a_variable_with_hosts_is_named_in_a_cell(cells):
    expected = fingerprint(cells)
    cells.names["cluster"] = LoopbackHosts(2)
    assert fingerprint(cells, "--place play=cluster") == expected
    assert [row.reactors for row in cells.names["run"].hosts] == [
        ("main.play[0]", "main.play[1]"),
        ("main.play[2]", "main.play[3]"),
    ]
    out = cells(f"{START} --place play")
    assert isinstance(cells.error, UsageError)
    assert "--place play=WHERE" in out
    assert "'nothing' is no enclave of main" in cells(f"{START} --place nothing=cluster")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_reactors_of_cells_are_executed_in_other_processes(cells):
    assert fingerprint(cells, "--place play=2") == fingerprint(cells)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_command_line_has_hosts_of_its_own(capsys):
    words = ["run", SHIPPED, "n=3", "--until", "20ms", "--fast", "--fingerprint", "-q"]
    assert main(words) == 0
    expected = capsys.readouterr().out
    assert "fingerprint" in expected
    for hosts in (["--hosts", "2"], ["--place", "rollouts", "--hosts", "1"]):
        assert main([*words, *hosts]) == 0
        assert capsys.readouterr().out == expected


def test_who_asks_for_no_cluster_imports_none():
    code = (
        "import sys, reactornb\n"
        "from reactornb import Bank, Program, Reactor\n"
        "class Main(Reactor):\n    pass\n"
        "Program(Main).run(workers=1, fast=True)\n"
        "assert not [name for name in sys.modules if name.startswith('reactornb.cluster')]\n"
        "assert reactornb.Hosts.local(2).count == 2\n"
        "assert not {'dask', 'distributed', 'cloudpickle'} & {*sys.modules}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (["--hosts", "0"], "from 1 to 4096, not 0"), (["--place", "learner=2"], "'learner' is no enclave of main: its enclaves are rollouts"),
        (["--place", "rollouts=cluster"], "not 'cluster'"), (["--place", "rollouts"], "not None"), (["--scheduler", "here"], "not 'here'"),
    ],
)  # fmt: skip
def test_hosts_that_there_are_not_are_a_mistake_in_the_command_line(hosts, said, capsys):
    assert main(["run", SHIPPED, "--fast", *hosts]) == 2
    assert said in capsys.readouterr().err
