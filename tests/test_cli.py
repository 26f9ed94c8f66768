"""The command line: what it runs, what it says, and with which exit status it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from reactornb.__main__ import main

COUNTER = """
from reactornb import *

class Counter(Reactor):
    tick = Timer(0, ms(10))
    n: int = 3
    @reaction(tick)
    def on_tick(self, tick):
        self.seen = getattr(self, "seen", 0) + 1
        self.log(seen=self.seen)
        if self.seen >= self.n:
            self.request_stop()
"""

PAIR = """
from reactornb import *

class Source(Reactor):
    out = Output()
    @reaction(startup)
    def on_startup(self, out):
        out.set(self.rng.random())

class Sink(Reactor):
    value = Input()
    @reaction(value)
    def on_value(self, value):
        print("got", value.value)

class Pair(Reactor):
    def compose(self):
        self.source = Source()
        self.sink = Sink()
        connect(self.source.out, self.sink.value)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text, name="program.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def notebook(*cells, tags=()):
    made = [
        {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": c.strip("\n").splitlines(keepends=True)}
        for c in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})


def test_run_says_what_happened_and_ends_with_zero(write, capsys):
    assert main(["run", write(COUNTER), "--workers", "1", "--fast"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    # request_stop ends the run at the next microstep of the third tick.
    assert "counter finished at tag (20 ms, 1)" in said.err
    assert "seen 3" in said.err


def test_parameters_are_literals_or_text(write, capsys):
    assert main(["run", write(COUNTER), "n=5", "--fast", "-q"]) == 0
    assert main(["run", write(COUNTER), "n=5", "--fast"]) == 0
    assert "seen 5" in capsys.readouterr().err


def test_parameters_may_stand_before_between_and_after_options(write, capsys):
    path = write(COUNTER)
    for words in ([path, "--fast", "n=5"], ["--fast", path, "n=5"], [path, "n=4", "--fast", "n=5"]):
        assert main(["run", *words]) == 0
        assert "seen 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["n=5", "--bogus", "1"], "unrecognized arguments: --bogus 1"),
        (["--fast", "five"], "'five' is not NAME=VALUE"),
    ],
)
def test_what_is_neither_an_option_nor_a_parameter_is_refused(write, capsys, words, said):
    with pytest.raises(SystemExit) as end:
        main(["run", write(COUNTER), *words])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_the_outermost_reactor_is_the_program(write, capsys):
    assert main(["run", write(PAIR), "-q"]) == 0
    assert capsys.readouterr().out.startswith("got 0.")


def test_a_global_program_is_run_as_it_is(write, capsys):
    path = write(PAIR + "\nprogram = Program(Source)\n")
    assert main(["run", path]) == 0
    assert "source finished" in capsys.readouterr().err
    assert main(["run", path, "n=1"]) == 2
    assert "made already" in capsys.readouterr().err


def test_main_option_chooses_a_reactor(write, capsys):
    assert main(["run", write(PAIR), "--main", "Source"]) == 0
    assert main(["run", write(PAIR), "--main", "Sorce"]) == 2
    assert "Did you mean 'Source'?" in capsys.readouterr().err


def test_several_candidates_ask_for_a_choice(write, capsys):
    assert main(["run", write(COUNTER + COUNTER.replace("Counter", "Other"))]) == 2
    assert "Counter, Other" in capsys.readouterr().err


def test_the_main_guard_stays_out(write, capsys):
    assert main(["run", write(COUNTER + '\nif __name__ == "__main__":\n    raise SystemExit(9)\n'), "--fast"]) == 0


def test_timeout_ends_the_run(write, capsys):
    assert main(["run", write(COUNTER), "n=1000", "--until", "15ms", "--fast"]) == 0
    assert "tag (15 ms, 0)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["run", write(COUNTER), "--until", "15 parsecs"])
    assert "is not a duration" in capsys.readouterr().err


def test_a_profile_is_printed_and_a_timeline_written(write, capsys, tmp_path):
    trace = tmp_path / "t.json"
    assert main(["run", write(PAIR), "-q", "--profile", "--timeline", str(trace), "-w", "2"]) == 0
    out, err = capsys.readouterr()
    assert "\nreaction " in out
    assert "100.0%" in out or out.count("%") > 1
    assert str(trace) in err
    assert any(event["ph"] == "X" for event in json.loads(trace.read_text())["traceEvents"])


def test_the_fingerprint_goes_to_stdout_and_depends_on_the_seed_only(write, capsys):
    found = {}
    for workers in ("1", "2", "8"):
        for seed in ("0", "1"):
            main(["run", write(PAIR), "-q", "--fingerprint", "-w", workers, "--seed", seed])
            found[workers, seed] = capsys.readouterr().out.splitlines()[-1]
    assert len({found[w, "0"] for w in ("1", "2", "8")}) == 1
    assert len({found[w, "1"] for w in ("1", "2", "8")}) == 1
    assert found["1", "0"] != found["1", "1"]
    assert found["1", "0"].startswith("fingerprint ")


def test_a_reaction_that_raises_fails_the_run_and_shows_its_line(write, capsys):
    path = write(COUNTER.replace("self.request_stop()", "1 / 0"))
    assert main(["run", path, "--fast"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert f"{path}, line 12" in said
    assert "counter failed" in said


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("3", 3), ("'no'", 1), ("", 0)])
def test_the_status_of_sys_exit_passes_through(write, code, status):
    path = write("import sys\n" + COUNTER.replace("self.request_stop()", f"sys.exit({code})"))
    assert main(["run", path, "--fast", "-q"]) == status


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "declares no reactor"),
        ("import nothing_of_that_name\n", "ModuleNotFoundError"),
        ("class A(\n", "SyntaxError"),
        (COUNTER.replace("on_tick(self, tick)", "on_tick(self, tik)"), "Did you mean 'tick'?"),
        (PAIR.replace("connect(self.source.out", "connect(self.source.output"), "output"),
    ],
)
def test_a_mistake_in_the_file_is_one_message_and_status_two(write, capsys, text, words):
    assert main(["run", write(text)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "loading.py" not in said


@pytest.mark.parametrize("name", ["missing.py", "program.txt", "broken.ipynb"])
def test_what_is_no_program_file_is_said(tmp_path, capsys, name):
    if name != "missing.py":
        (tmp_path / name).write_text("{")
    assert main(["run", str(tmp_path / name)]) == 2
    assert name in capsys.readouterr().err


def test_of_a_notebook_what_it_declares_is_loaded(write, capsys):
    path = write(
        notebook(
            "%load_ext reactornb\nimport math",
            "LEAST = 2\nunused = open('/nowhere')",
            "%%reactor Counter\n'''Counts.'''\ntick = Timer(0, ms(10))\n@reaction(tick)\ndef on_tick(self, tick):\n"
            "    self.log(root=math.sqrt(LEAST))\n    self.request_stop()",
            "%%reactor Never Counter\npass",
            "run = %reactor start Counter\nrun.result()",
            "assert False",
        ),
        "program.ipynb",
    )
    assert main(["run", path, "--main", "Counter"]) == 0
    assert "root 1.414" in capsys.readouterr().err


def test_a_cell_tagged_program_is_executed_whole(write, capsys):
    path = write(notebook(COUNTER, "program = Program(Counter(n=1))\nprint('made')", tags=["program"]), "program.ipynb")
    assert main(["run", path, "--fast"]) == 0
    said = capsys.readouterr()
    assert said.out == "made\n"
    assert "seen 1" in said.err


def test_errors_in_a_notebook_name_cell_and_line(write, capsys):
    path = write(
        notebook("import math", "%%reactor Bad\nfast = Input()\n@reaction(fast)\ndef on_fast(self, fas):\n    pass"),
        "program.ipynb",
    )
    assert main(["run", path]) == 2
    assert f"{path}, cell 2, line 3" in capsys.readouterr().err


def test_graph_prints_an_outline(write, capsys):
    assert main(["graph", write(PAIR)]) == 0
    said = capsys.readouterr().out
    assert "source.out -> sink.value" in said


def test_graph_writes_a_file_of_the_kind_its_ending_names(write, tmp_path, capsys):
    assert main(["graph", write(PAIR), "-o", str(tmp_path / "graph.dot")]) == 0
    assert "digraph" in (tmp_path / "graph.dot").read_text()


def test_bench_lists_what_there_is_and_knows_no_other(capsys):
    assert main(["bench"]) == 0
    assert "reactornb bench demo" in capsys.readouterr().out
    assert main(["bench", "demoo"]) == 2
    assert "Did you mean 'demo'?" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    ["from reactornb.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass", "import reactornb.rl, reactornb.durable, reactornb.sweeps"],
    ids=["help", "imports"],
)  # fmt: skip
def test_what_everyone_waits_for_imports_nothing_heavy(code):
    code = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {
        "numpy",
        "torch",
        "gymnasium",
        "lark",
        "IPython",
        "matplotlib",
        "nbclient",
        "asyncio",
        "logging",
        "sqlite3",
        "reactornb.runtime",
    }


@pytest.mark.slow
def test_on_a_free_threaded_build_a_run_keeps_the_gil_off(write):
    if not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled():
        pytest.skip("this interpreter has a GIL")
    text = COUNTER.replace("self.log(seen=self.seen)", "import os; print(os.environ.get('PYTHON_GIL'))")
    env = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"}
    command = [sys.executable, "-m", "reactornb", "run", write(text), "n=1", "--fast"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (done.stdout, done.returncode) == ("0\n", 0)
    assert "GIL off" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, env={**env, "PYTHON_GIL": "1"}, check=False)
    assert "GIL on" in done.stderr


@pytest.mark.slow
def test_an_interrupt_ends_the_run_in_order(write):
    text = COUNTER.replace("self.seen = ", "print('tick', flush=True); self.seen = ") + (
        "\n    @reaction(shutdown)\n    def on_shutdown(self):\n        print('in order', flush=True)\n"
    )
    # A shell's background job ignores interrupts, and so would its children: what is handled here is the default there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "reactornb", "run", write(text), "n=100000"], stdout=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout.readline() == "tick\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert rest.endswith("in order\n")
    assert process.returncode == 130


def test_the_demo_judges_its_result(tmp_path):
    from reactornb.demo import problems, summary

    file = tmp_path / "curve.png"
    file.write_bytes(b"x")
    good = {"state": "finished", "seconds": 9.0, "workers": 2, "fingerprint": "ab", "steps": 900, "gil": False}
    good |= {"first": 20.0, "last": 200.0}
    assert problems(good, (file,)) == []
    assert "100 steps/s" in summary(good)
    assert "GIL off" in summary(good)
    for change in (
        {"state": "failed"},
        {"last": 149.0},
        {"last": float("nan")},
        {"seconds": 181.0},
        {"fingerprint": None},
    ):
        assert len(problems(good | change, (file,))) == 1, change
    assert "was not written" in problems(good, (Path(tmp_path / "missing"),))[0]


def test_the_example_of_the_readme_runs(write, capsys):
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]  # the others: tests/rl/test_readme.py
    assert main(["run", write(example), "-q"]) == 0
    totals, fingerprint, again = capsys.readouterr().out.splitlines()
    assert totals == again  # once by its own last line, once by ours: the same seed
    assert len(fingerprint) == 64
