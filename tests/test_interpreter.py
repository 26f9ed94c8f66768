"""How commands start their interpreter, and what a run says of its own."""

import itertools
import os
import subprocess
import sys
import sysconfig

import pytest

from reactornb import Program, Reactor, Timer, ms, reaction

PROGRAM = """
from reactornb import Output, Reactor, reaction, startup
import os, sys
class Main(Reactor):
    out = Output()
    @reaction(startup)
    def on_startup(self, out):
        out.set(list({f"agent_{i}" for i in range(20)}))
        print("seen", os.environ.get("PYTHONHASHSEED"), sys.argv[1:2])
        if os.environ.get("LEAVE"):
            sys.exit(int(os.environ["LEAVE"]))
"""


def run(tmp_path, *words, **env):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONHASHSEED", "PYTHON_GIL")}
    return subprocess.run(
        [sys.executable, "-m", "reactornb", "run", str(file), "--fingerprint", *words],
        env=kept | env, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_sets_of_strings_have_one_order_in_every_run_of_the_command(tmp_path):
    first, second = run(tmp_path), run(tmp_path)
    # An interpreter that cannot do without a GIL refuses to begin.
    gil_said = run(tmp_path, PYTHON_GIL="0") if sysconfig.get_config_var("Py_GIL_DISABLED") else second
    assert first.returncode == 0, first.stderr
    assert "seen 0" in first.stdout
    assert first.stdout == second.stdout == gil_said.stdout


@pytest.mark.slow
def test_a_seed_that_is_given_stays_and_what_the_program_exits_with_passes_through(tmp_path):
    done = run(tmp_path, PYTHONHASHSEED="7", LEAVE="5")
    assert "seen 7" in done.stdout
    assert done.returncode == 5


class Steady(Reactor):
    t = Timer(0, ms(1))

    @reaction(t)
    def on_t(self):
        pass


def test_a_run_records_versions_gil_and_hash_seed():
    run = Program(Steady).start(until=ms(1), fast=True)
    run.result()
    found = run.environment
    assert found["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert found["gil"] == ("on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off")
    assert "numpy" in found
    assert found["hash_seed"] == (os.environ.get("PYTHONHASHSEED") or "random")
    assert run.status()["environment"] == found


@pytest.mark.parametrize("check", [False, True])
def test_check_values_says_that_the_order_of_sets_is_another_in_each_process(check, monkeypatch):
    monkeypatch.setattr("reactornb.runtime.run.environment", lambda: {"hash_seed": "random"})
    run = Program(Steady).start(until=ms(1), fast=True, check_values=check)
    run.result()
    assert any("PYTHONHASHSEED" in said for said in run.warnings) is check


def told_of_hashes(**options):
    run = Program(Steady).start(until=ms(1), fast=True, **options)
    run.result()
    return [said for said in run.warnings if "PYTHONHASHSEED" in said]


def test_the_first_run_of_a_process_that_keeps_a_fingerprint_says_it_and_no_other(monkeypatch):
    monkeypatch.setattr("reactornb.runtime.run.environment", lambda: {"hash_seed": "random"})
    monkeypatch.setattr("reactornb.runtime.run._hash_told", itertools.count())
    assert told_of_hashes() == []
    (said,) = told_of_hashes(fingerprint=True)
    assert "perhaps the fingerprint" in said
    assert "\n" not in said
    assert told_of_hashes(fingerprint=True) == []
    assert len(told_of_hashes(fingerprint=True, check_values=True)) == 1


@pytest.mark.parametrize("seed", ["0", "7"])
def test_where_hashes_are_fixed_nothing_is_said(seed, monkeypatch):
    monkeypatch.setattr("reactornb.runtime.run.environment", lambda: {"hash_seed": seed})
    monkeypatch.setattr("reactornb.runtime.run._hash_told", itertools.count())
    assert told_of_hashes(fingerprint=True) == told_of_hashes(check_values=True) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_run_whose_gil_is_on_says_so_and_what_turned_it_on(late, monkeypatch):
    from reactornb.runtime import import_hook

    back = [not late]
    monkeypatch.setattr(import_hook, "gil_is_back", lambda: back[0])
    monkeypatch.setattr(import_hook, "turned_on", "triton._C.libtriton")
    run = Program(Steady).start(workers=1)
    back[0] = True
    for call in import_hook.on_gil:
        call()
    run.stop()
    (said,) = run.warnings
    assert "the GIL is on (the import of triton._C.libtriton turned it on)" in said
    assert "take turns" in said
