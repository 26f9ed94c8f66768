"""What would hang is refused at once, with the limit."""

import subprocess
import sys
import time

import pytest

from reactornb import Bank, Output, Program, Reactor, Timer, lf, ms, reaction
from reactornb.errors import AssemblyError, DeclarationError, ReactorError, RunOptionError
from reactornb.graph import assembly
from reactornb.limits import MOST_CHANNELS, MOST_REACTORS, MOST_WORKERS
from reactornb.viz import dot


class Small(Reactor):
    t = Timer(0, ms(1))

    @reaction(t)
    def on_t(self):
        pass


class Wide(Reactor):
    n: int = 10**8
    out = Output(width="n")


class Nested(Reactor):
    inner = Bank(Small, 1000)


@pytest.fixture(autouse=True)
def at_once():
    began = time.process_time()
    yield
    assert time.process_time() - began < 10


def test_a_bank_of_too_many_is_refused_where_it_is_declared():
    with pytest.raises(
        DeclarationError, match=rf"test_limits.py, line \d+: a bank of 10,000,000 Small.*{MOST_REACTORS:,}"
    ):
        Bank(Small, 10**7)


def test_banks_within_banks_are_counted_together(monkeypatch):
    monkeypatch.setattr(assembly, "MOST_REACTORS", 2_500)

    class Main(Reactor):
        outer = Bank(Nested, 1000)

    with pytest.raises(AssemblyError, match=r"outer\[2\].inner is a bank of 1,000, beside 2,00\d reactors.*2,500"):
        Program(Main)


def test_multiports_are_counted_together(monkeypatch):
    with pytest.raises(AssemblyError, match=rf"the width of port 'out' of wide is 100,000,000.*{MOST_CHANNELS:,}"):
        Program(Wide)

    monkeypatch.setattr(assembly, "MOST_CHANNELS", 2_500)

    class Main(Reactor):
        several = Bank(Wide, 20, n=1000)

    with pytest.raises(AssemblyError, match="at most"):
        Program(Main)


@pytest.mark.parametrize("line", ["r = new[10000000] R();", "r = new[200000] R();"])
def test_lingua_franca_s_widths_have_the_same_limits(line):
    text = f"target Python; reactor R {{ timer t(0, 1 ms); reaction(t) {{= pass =}} }} main reactor {{ {line} }}"
    with pytest.raises(ReactorError, match=r"at most|0 to 1,000,000"):
        lf.loads(text, file="test.lf").program()


def test_a_multiport_in_lingua_franca_is_limited_too():
    text = "target Python; reactor R { output[10000000] out; } main reactor { r = new R(); }"
    with pytest.raises(ReactorError, match="1,000,000"):
        lf.loads(text, file="test.lf").program()


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, MOST_WORKERS + 1, 10**6])
def test_a_number_of_workers_that_does_not_fit_is_refused(workers):
    with pytest.raises(RunOptionError, match="workers must be a whole number"):
        Program(Small).start(workers=workers)


def test_a_negative_depth_is_refused_and_zero_is_the_root():
    graph = Program(Nested).graph
    for draw in (dot.dot, dot.text):
        with pytest.raises(DeclarationError, match="depth is how many levels"):
            draw(graph, depth=-1)
    assert dot.text(graph, depth=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["graph", "--depth", "-1"], ["run", "--workers", "1000000"], ["run", "--workers", "0"]]
)
def test_the_command_line_says_the_limit_and_has_the_status_of_a_mistake(words, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(
        "from reactornb import Reactor, reaction, startup\n"
        "class Main(Reactor):\n    @reaction(startup)\n    def on_startup(self): pass\n"
    )
    command, *options = words
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", command, str(file), *options],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "whole number" in done.stderr
    assert "Traceback" not in done.stderr
