"""The doctor: what it looks at, and how it says what to mend. No test depends on what this machine happens to have."""

import json
import sys

import pytest

from reactornb import doctor
from reactornb.doctor import Finding


@pytest.fixture
def findings(monkeypatch):
    def give(*found):
        monkeypatch.setattr(doctor, "examine", lambda: list(found))

    return give


def test_each_problem_comes_with_its_fix(findings, capsys):
    findings(Finding("dot", "warning", "no dot", "apt-get install graphviz"), Finding("cores", "ok", "2 cores"))
    assert doctor.main() == 0
    said = capsys.readouterr().out
    assert "-> apt-get install graphviz" in said
    assert "1 to mend." in said


def test_something_broken_is_status_one(findings, capsys):
    findings(Finding("kernel", "broken", "no kernel", "make setup"))
    assert doctor.main() == 1
    assert doctor.main(as_json=True) == 1
    said = capsys.readouterr().out
    told = json.loads(said[said.index("{") :])
    assert told["ok"] is False
    assert told["findings"][0]["fix"] == "make setup"


def test_the_machine_is_described():
    cores, limits = doctor._cores()
    assert cores.facts["default_workers"] >= 1
    assert limits.facts.keys() == {"affinity", "quota", "quota_from"}


def test_a_check_that_fails_is_a_finding(monkeypatch):
    def strange():
        raise OSError("no such machine")

    for name in ("_interpreter", "_gil", "_cores", "_packages", "_atari", "_graphviz", "_chromium", "_kernel"):
        monkeypatch.setattr(doctor, name, strange)
    found = doctor.examine()
    assert len(found) == 8
    assert all("no such machine" in f.words for f in found)


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        ("True 108", "ok", "108 games, raw and preprocessed"),
        ("False 108", "note", "raw frames only"),
        ("ImportError: libopencv_core.so.406: cannot open shared object file", "broken", "cannot be imported"),
    ],
)
def test_atari_is_looked_at(monkeypatch, said, state, words):
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "0.12.1")
    monkeypatch.setattr(doctor, "_version_of", lambda _: said)
    (found,) = doctor._atari()
    assert found.state == state
    assert words in found.words


def test_no_atari_is_a_note(monkeypatch):
    def absent(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", absent)
    (found,) = doctor._atari()
    assert (found.state, "make atari" in found.fix or "pip install" in found.fix) == ("note", True)


def test_a_missing_dot_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert doctor._graphviz()[0].state == "warning"
    assert doctor._chromium()[0].state == "note"


def test_a_missing_core_package_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "WANTED", {"numpy": "", "nothing-of-that-name": "", "nor-that": "rl"})
    states = {f.words: f.state for f in doctor._packages()}
    assert states["missing: nothing-of-that-name"] == "broken"
    assert states["not installed: nor-that"] == "note"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    if doctor.util.find_spec("ipykernel") is None:
        pytest.skip("needs ipykernel")
    monkeypatch.setattr(doctor.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(doctor, "_free_threaded", lambda: True)
    folder = tmp_path / "share" / "jupyter" / "kernels" / doctor.KERNEL
    folder.mkdir(parents=True)

    def write(text):
        (folder / "kernel.json").write_text(text if isinstance(text, str) else json.dumps(text))
        (found,) = doctor._kernel()
        return found

    return write


def test_the_kernel_must_be_this_python_without_a_gil(kernel):
    good = {"argv": [sys.executable, "-m", "ipykernel_launcher"], "env": {"PYTHON_GIL": "0"}, "display_name": "ours"}
    assert kernel(good).state == "ok"
    assert kernel(good | {"env": {}}).state == "warning"
    other = kernel(good | {"argv": ["/bin/sh"]})
    assert other.state == "broken"
    assert "ipykernel install" in other.fix
    assert kernel("{").state == "broken"


def test_the_kernel_that_a_new_notebook_preselects_must_keep_the_gil_off_too(kernel, tmp_path):
    good = {"argv": [sys.executable, "-m", "ipykernel_launcher"], "env": {"PYTHON_GIL": "0"}}
    kernel(good)
    other = tmp_path / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    other.parent.mkdir()
    for env, states in [
        ({}, ["ok", "warning"]),
        ({"PYTHON_GIL": "0"}, ["ok"]),
        ({"PYTHON_GIL": "1"}, ["ok", "warning"]),
    ]:
        other.write_text(json.dumps(good | {"env": env}))
        found = doctor._kernel()
        assert [one.state for one in found] == states
    assert "--env PYTHON_GIL 0" in found[1].fix
    assert "first optimizer" in found[1].words


def test_a_kernel_that_is_not_registered_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(doctor, "_free_threaded", lambda: True)
    monkeypatch.setattr(doctor.util, "find_spec", lambda _: object())
    (found,) = doctor._kernel()
    assert found.state == "broken"
    assert "--name reactornb" in found.fix


@pytest.mark.slow
def test_who_turns_the_gil_on_is_tried_in_another_process():
    if not doctor._free_threaded():
        pytest.skip("this interpreter has a GIL")
    assert doctor._turns_gil_on("import numpy") == ("", "")
    culprit, failure = doctor._turns_gil_on("import nothing_of_that_name")
    assert culprit == ""
    assert "ModuleNotFoundError" in failure
    warns = (
        "warnings.warn(\"The global interpreter lock (GIL) has been enabled to load module 'old._ext', which\"); "
        "sys._is_gil_enabled = lambda: True"
    )
    assert doctor._turns_gil_on(warns) == ("old._ext", "")
