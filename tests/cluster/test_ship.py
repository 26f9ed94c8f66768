"""Programs on their way to hosts: they arrive, with the lines of their cells; what cannot travel is named before anything runs."""

import functools
import importlib
import io
import linecache
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from reactornb import Input, Output, Program, Reactor, Shared, Timer, connect, ms, reaction
from reactornb.cluster.errors import ShipError
from reactornb.cluster.ship import pack_program, unpack_program
from reactornb.durable.code import graph_digest

pytest.importorskip("cloudpickle")

HERE = Path(__file__).parent
UNTIL = ms(5)


def fingerprint(program):
    return program.run(until=UNTIL, fast=True, fingerprint=True, seed=3).fingerprint


class Local(Reactor):
    """Declared here, in a module that pytest has loaded by its file: its code travels."""

    out = Output[int]()
    note: Shared[object] = None
    tick = Timer(ms(0), ms(1))

    @reaction(tick)
    def on_tick(self, out):
        out.set(int(self.rng.integers(1000)))


class Sink(Reactor):
    numbers = Input[int]()

    @reaction(numbers)
    def on_numbers(self, numbers):
        self.log(number=numbers.value)


class Outer(Reactor):
    needs_physical_time = False
    note: Shared[object] = None

    def compose(self):
        self.local = Local(note=self.note)
        self.sink = Sink()
        connect(self.local.out, self.sink.numbers, after=ms(1))


def test_a_program_arrives_with_its_graph_and_its_fingerprint():
    program = Program(Outer)
    there = unpack_program(pack_program(program))
    assert there is not program
    assert graph_digest(there.graph) == graph_digest(program.graph)
    assert fingerprint(there) == fingerprint(program)


def test_a_running_program_can_be_packed():
    program = Program(Outer)
    run = program.start(fast=True, until=ms(10_000))
    data = pack_program(program)
    run.stop()
    run.wait()
    assert graph_digest(unpack_program(data).graph) == graph_digest(program.graph)


_THERE = """
import sys
from reactornb.cluster.ship import unpack_program
from reactornb import ms
program = unpack_program(sys.stdin.buffer.read())
result = program.run(until=ms(5), fast=True, fingerprint=True, seed=3)
print(result.fingerprint)
"""


def elsewhere(data, code=_THERE, **more):
    """What another process says, which cannot import what is declared here."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            p for p in sys.path if p.endswith(("/magics",)) or (Path(p) / "reactornb").is_dir()
        ),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=False, env=environment, cwd="/"
    )
    return done.returncode, done.stdout.decode().strip(), done.stderr.decode()


@pytest.mark.slow
def test_another_process_computes_the_same_fingerprint():
    program = Program(Outer)
    status, out, err = elsewhere(pack_program(program, by_value=[__name__]))
    assert status == 0, err
    assert out == str(fingerprint(program))


def declared_in_cells(text, name):
    """What a notebook does: code compiled under the name of a cell, whose text `linecache` has; in a module that no other process has."""
    file = f"/tmp/ipykernel_1/{name}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), names)
    return names


CELL = textwrap.dedent(
    """\
    from reactornb import Reactor, Timer, ms, reaction

    factor = 7

    class Failing(Reactor):
        needs_physical_time = False
        tick = Timer(ms(0), ms(1))

        @reaction(tick)
        def on_tick(self):
            raise ValueError("in the cell", factor)
    """
)


@pytest.mark.slow
def test_an_error_in_another_process_shows_the_line_of_the_cell():
    names = declared_in_cells(CELL, "failing")
    data = pack_program(Program(names["Failing"]))
    status, _, err = elsewhere(data)
    assert status == 1
    assert 'File "/tmp/ipykernel_1/failing.py", line 11, in on_tick' in err
    assert 'raise ValueError("in the cell", factor)' in err
    assert "('in the cell', 7)" in err


@pytest.mark.slow
def test_a_module_that_is_missing_there_is_named_with_two_ways_out(tmp_path):
    (tmp_path / "mine.py").write_text("from reactornb import Reactor\n\nclass Mine(Reactor):\n    n: int = 3\n")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import mine
from reactornb import Program
from reactornb.cluster.ship import pack_program
sys.stdout.buffer.write(pack_program(Program(mine.Mine), by_value={{}}))
"""
    packed = [
        subprocess.run(
            [sys.executable, "-c", code.replace("{}", names)], capture_output=True, timeout=60, check=True
        ).stdout
        for names in ("()", "('mine',)")
    ]
    status, _, err = elsewhere(packed[0])
    assert status == 1
    assert "ShipError" in err
    assert "needs the module mine" in err
    assert 'ship=["mine"]' in err
    status, _, err = elsewhere(packed[1])
    assert status == 0, err


def refused(note):
    with pytest.raises(ShipError) as error:
        pack_program(Program(Outer(note=note)))
    return error.value


class Holder:
    def __init__(self, held):
        self.held = held


def test_an_open_file_in_a_parameter_is_named_with_place_and_fix(tmp_path):
    (tmp_path / "x").write_text("x")
    with (tmp_path / "x").open() as file:  # cloudpickle alone would send what is left to read of it
        error = refused(Holder([1, file]))
    assert error.path == "parameter note of outer, note.held[1]"
    assert error.kind.startswith("an open file (")
    assert error.source.file == __file__
    assert "open it in a reaction to startup" in str(error)
    assert str(error).startswith(str(error.source))


def test_what_belongs_to_one_process_is_named():
    left, right = socket.socketpair()
    with left, right:
        assert "socket" in refused({"a": left}).kind
    assert refused({"lock": threading.Lock()}).path == "parameter note of outer, note['lock']"
    generator = (i for i in range(3))
    error = refused(generator)
    assert error.kind == "a generator (<genexpr>)"
    assert "Give the function that makes it" in str(error)
    with io.BytesIO(b"memory is no file") as memory:
        pack_program(Program(Outer(note=memory)))


def test_a_closure_variable_is_named():
    lock = threading.Lock()

    def make():
        return lock

    error = refused(make)
    assert error.path == "parameter note of outer, closure variable lock"
    assert "made for threads" in error.kind
    assert refused(functools.partial(print, make)).path == "parameter note of outer, argument 0, closure variable lock"


def test_a_global_of_a_reaction_is_named_with_the_line_of_its_cell():
    names = declared_in_cells(CELL.replace("factor = 7", "import threading\nfactor = threading.Lock()"), "holding")
    with pytest.raises(ShipError) as error:
        pack_program(Program(names["Failing"]))
    assert error.value.path == "Failing.on_tick, global factor"
    assert error.value.source.file == "/tmp/ipykernel_1/holding.py"
    assert error.value.source.line == 10


def test_another_graph_there_is_refused():
    names = declared_in_cells(
        """\
from reactornb import Reactor

class Child(Reactor):
    pass

counted = []

class Fickle(Reactor):
    def compose(self):
        counted.append(1)
        for i in range(len(counted)):
            setattr(self, f"child{i}", Child())
""",
        "fickle",
    )
    data = pack_program(Program(names["Fickle"]))
    with pytest.raises(ShipError, match="another graph"):
        unpack_program(data)


def test_the_data_of_another_form_are_refused():
    with pytest.raises(ShipError, match="form 99"):
        unpack_program(pickle.dumps((99, b"", "", {})))


def test_the_registry_of_cloudpickle_is_left_as_it_was():
    import cloudpickle

    before = set(cloudpickle.list_registry_pickle_by_value())
    pack_program(Program(Outer))
    assert set(cloudpickle.list_registry_pickle_by_value()) == before


@pytest.mark.slow
def test_the_programs_of_the_suite_arrive_with_their_graphs(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE.parent / "reference"))
    monkeypatch.syspath_prepend(str(HERE.parent / "golden"))
    golden = importlib.import_module("golden_programs")
    for name, one in golden.GOLDEN.items():
        program = one.make()
        there = unpack_program(pack_program(program, by_value=["golden_programs", "programs"]))
        assert graph_digest(there.graph) == graph_digest(program.graph), name
    assert len(golden.GOLDEN) > 20
