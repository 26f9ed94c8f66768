"""`reactornb check`, and the command line for Lingua Franca files."""

import re

import pytest

from reactornb.__main__ import main
from reactornb.errors import Source
from reactornb.lf import Problem, check

GOOD = "target Python { timeout: 20 msec } main reactor(n = 1) { timer t(0, 10 msec); output o; reaction(t) -> o {= o.set(self.n) =} }"


@pytest.fixture
def file(tmp_path):
    def write(text, name="p.lf"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_good_program_has_no_problems_and_does_not_run(file):
    assert check(file(GOOD.replace("o.set(self.n)", "exit(3)"))) == []


def test_an_error_has_its_place(file):
    path = file("main reactor {\n  timer t(0, 5)\n}")
    (found,) = check(path)
    assert (found.kind, found.source) == ("error", Source(str(path), 2))
    assert "5 is no time" in str(found)


def test_a_graph_that_cannot_be_is_an_error(file):
    path = file("reactor E { input i; output o\n reaction(i) -> o {= =} }\nmain reactor { e = new E()\n e.o -> e.i }")
    (found,) = check(path)
    assert "wait for each other" in found.message
    assert f"{path}, line 2" in found.message


def test_warnings_are_problems_too(file):
    (found,) = check(file("target Python { auth: true }\nmain reactor { }"))
    assert (found.kind, found.source.line) == ("warning", 1)


def test_each_reactor_of_a_library_is_checked_by_itself(file):
    path = file(
        "reactor A(n) { }\nreactor B { output o; output p\n o -> p }\nreactor C { timer t }\nreactor D {\n a = new A(n = 1); b = new B() }"
    )
    found = check(path)
    assert [(p.kind, p.source.line) for p in found] == [("skipped", 1), ("error", 3), ("error", 3)]
    assert "A cannot be checked by itself: its parameter 'n' has no default." in found[0].message


def test_a_preamble_that_raises_is_an_error_with_its_line(file):
    path = file("preamble {=\n  1 / 0\n=}\nmain reactor { }")
    assert check(path) == [
        Problem("error", f"{path}, line 2: ZeroDivisionError: division by zero", Source(str(path), 2))
    ]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        check(tmp_path / "none.lf")


# ---------------------------------------------------------------- the command line


def test_run_takes_defaults_from_the_target_and_parameters_from_the_line(file, capsys):
    assert main(["run", str(file(GOOD)), "n=4", "--workers", "1", "--fingerprint"]) == 0
    first = capsys.readouterr()
    assert "finished at tag (20 ms, 0)" in first.err
    assert main(["run", str(file(GOOD)), "n=4", "--workers", "2", "--fingerprint", "-q"]) == 0
    assert re.search("fingerprint [0-9a-f]+", first.out)[0] in capsys.readouterr().out


def test_the_line_overrides_the_target(file, capsys):
    assert main(["run", str(file(GOOD)), "--until", "1s", "--fast"]) == 0
    assert "finished at tag (1 s, 0)" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "status"), [("exit(0)", 0), ("exit(7)", 7), ("exit('sorry')", 1), ("1 / 0", 1)])
def test_the_exit_status_is_the_programs(file, code, status, capsys):
    assert main(["run", str(file(f"main reactor {{ reaction(startup) {{= {code} =}} }}")), "-q"]) == status
    said = capsys.readouterr().err
    assert ("sorry" in said) == ("sorry" in code)
    assert ("ZeroDivisionError" in said) == ("/" in code)


def test_a_mistake_is_one_line_and_status_2(file, capsys):
    path = file("main reactor { timer }")
    assert main(["run", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"reactornb: {path}:1:22: found '}}'")
    assert main(["run", str(path.with_name("none.lf"))]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["run", str(file("reactor A { }"))]) == 2
    assert "no main reactor: it is a library" in capsys.readouterr().err


def test_a_reactor_of_a_library_is_run_by_name(file):
    path = file("reactor A { reaction(startup) {= exit(4) =} }")
    assert main(["run", str(path), "--main", "A", "-q"]) == 4
    assert main(["run", str(path), "--main", "B", "-q"]) == 2


def test_graph_draws_a_program(file, tmp_path):
    assert main(["graph", str(file(GOOD)), "-o", str(tmp_path / "g.dot")]) == 0
    assert "digraph" in (tmp_path / "g.dot").read_text()


def test_check_takes_several_files_of_any_kind(file, capsys):
    good = file(GOOD)
    bad = file("main reactor {", "bad.lf")
    python = file("from reactornb import *\nclass Main(Reactor):\n    t = Timer()\n", "p.py")
    assert main(["check", str(good), str(python)]) == 0
    assert capsys.readouterr().out == f"{good}: good\n{python}: good\n"
    assert main(["check", str(bad), str(good), str(good.with_name("none.lf"))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", str(good), "error"]


@pytest.mark.slow
@pytest.mark.soak
def test_assembly_is_measured(file, capsys):
    assert main(["bench", "assembly", "--rounds", "1", str(file(GOOD))]) in (0, 1)
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["banks.lf"][2:4] == rows["written-out.lf"][2:4] == ["1001", "10000"]
    assert "p.lf" in rows
