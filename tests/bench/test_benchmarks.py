"""Each benchmark runs, small; and its program as Lingua Franca text does what the one in Python does."""

import itertools
import json
import subprocess
import sys
import time
from importlib import import_module, util

import pytest

from reactornb import Program, ns
from reactornb.__main__ import main
from reactornb.bench.heavy import Heavy
from reactornb.bench.measure import lf_program
from reactornb.bench.micro import Micro
from reactornb.bench.peers.bodies import now, spin
from reactornb.bench.scale import Timers, heap_loop
from reactornb.bench.straggler import Straggler
from reactornb.bench.wake import Sleeper, Ticker
from reactornb.lf import load

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()
MICRO = {"clients": 5, "rounds": 7}
HEAVY = {"clients": 3, "rounds": 4, "turns": 50}
STRAGGLER = {"clients": 4, "rounds": 60, "turns": 1, "factor": 3}


def run_text(name, parameters, capsys, *options):
    """The fingerprint and the number of reactions of a text, as the command line gives them."""
    words = [f"{key}={value}" for key, value in parameters.items()]
    assert main(["run", str(lf_program(name)), *words, "--fingerprint", *options]) == 0
    said = capsys.readouterr()
    reactions = next(word for word in said.err.split(", ") if word.endswith(" reactions"))
    return said.out.split()[-1], int(reactions.split()[0].replace(",", ""))


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize(("root", "name", "parameters"), [(Micro, "micro", MICRO), (Heavy, "heavy", HEAVY)])
def test_text_and_python_send_the_same_values_at_the_same_tags(root, name, parameters, workers, capsys):
    ours = Program(root, **parameters).run(workers=workers, fast=True, fingerprint=True)
    assert run_text(name, parameters, capsys, "--fast", "--workers", str(workers)) == (ours.fingerprint, ours.reactions)
    # The first question, and in every round the clients and the server.
    assert ours.reactions == 1 + parameters["rounds"] * (parameters["clients"] + 1)


def test_what_is_sent_is_what_the_bodies_say():
    def values(root, parameters):
        trace = Program(root, **parameters).run(workers=2, fast=True, trace=True).trace
        return sorted((tag.microstep, value) for tag, name, value in trace.writes if name.endswith("client[0].out"))

    assert values(Micro, MICRO) == [(i + 1, i + 1) for i in range(MICRO["rounds"])]
    assert values(Heavy, HEAVY) == [(i + 1, spin(i, HEAVY["turns"])) for i in range(HEAVY["rounds"])]


@pytest.mark.parametrize("stay", [25, 0])
def test_stragglers_are_in_the_same_places_in_text_and_python(stay):
    def places(program, workers):
        result = program.run(workers=workers, fast=True, trace=True)
        found = [value for _, name, value in result.trace.writes if name.endswith("referee.ask")]
        return found, result.reactions, len(program.last_run.instance("referee").levels)

    ours = places(Program(Straggler, stay=stay, **STRAGGLER), 1)
    assert places(load(lf_program("straggler")).program(stay=stay, **STRAGGLER), 2) == ours
    found, reactions, levels = ours
    assert (len(found), reactions, levels) == (60, 1 + 60 * 5, 60)
    moves = sum(a != b for a, b in itertools.pairwise(found))
    assert moves == 2 if stay else moves > 20  # it stays 25 levels, or is drawn for each
    assert set(found) <= set(range(4))


@pytest.mark.parametrize("workers", [1, 2])
def test_timers_tick_as_often_in_text_and_python_as_in_the_heap_loop(workers):
    until = 100_000_000
    ticks = heap_loop(30, until)[1]
    for program in (Program(Timers, timers=30), load(lf_program("timers")).program(timers=30)):
        result = program.run(workers=workers, fast=True, until=ns(until))
        assert result.reactions == ticks + 2  # startup and shutdown of the root
        assert sum(program.last_run.instance(f"clockwork[{i}]").count for i in range(30)) == ticks


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_no_poke_is_lost_in_text_and_python(workers):
    for program in (Program(Sleeper, pokes=20), load(lf_program("wake")).program(pokes=20)):
        result = program.run(workers=workers)
        delays = program.last_run.instance(program.name).delays
        assert result.reactions == 22  # startup and shutdown
        assert len(delays) == 20
        assert min(delays) >= 0


@pytest.mark.slow
def test_lags_are_never_early_in_text_and_python():
    for program in (Program(Ticker, period=2, ticks=20), load(lf_program("timer")).program(period=2, ticks=20)):
        program.run(workers=1)
        lags = program.last_run.instance(program.name).lags
        assert len(lags) == 20
        assert min(lags) >= 0


# -- whole benchmarks -----------------------------------------------------------------------------------------------------

SMALL = {
    "micro": "--rounds 20 --lf",
    "heavy": "--rounds 2 --clients 3,4 --turns 20 --lf",
    "straggler": "--rounds 30 --turns 2 --lf",
    "wake": "--pokes 5 --seconds 0.05 --periods 2 --lf",
    "scale": "--sizes 4,40 --timers 30 --reactions 400 --lf",
}
EXPECTED = {
    "micro": {"plain loop", "1 worker", "2 workers", "1 worker, .lf", "2 workers, .lf"},
    "heavy": {
        f"{n} clients, {what}"
        for n in (3, 4)
        for what in ("plain loop", "2 free threads", "1 worker", "2 workers", "1 worker, .lf", "2 workers, .lf")
    },
    "straggler": {
        f"{kind}, {w}{form}: {what}"
        for kind in ("predictable", "unpredictable")
        for w in ("1 worker", "2 workers")
        for form in ("", ", .lf")
        for what in ("level", "best", "in order")
    },
    "wake": {
        *(f"wake, {w}: {what}" for w in ("a thread", "1 worker", "2 workers, .lf") for what in ("median", "p95")),
        *(f"2 ms timer, {w}: {what}" for w in ("a thread", "1 worker", "2 workers, .lf") for what in ("p95", "drift")),
        *(f"idle, {w}: use" for w in ("no run", "1 worker", "2 workers")),
    },
    "scale": {
        *(f"{n} reactors, {w}" for n in (4, 40) for w in ("plain loop", "1 worker", "2 workers", "1 worker, .lf")),
        *(f"timers, {w}" for w in ("heapq loop", "1 worker", "2 workers", "1 worker, .lf")),
        *(f"{what} of 40 reactors" for what in ("assembly", "start")),
    },
}


# One of them in make test.
@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.soak] * (name != "micro")) for name in SMALL])
def test_a_benchmark_measures_its_limit_itself_and_its_text(name, tmp_path, capsys):
    file = tmp_path / "found.json"
    module = import_module(f"reactornb.bench.{name}")
    assert module.main([*SMALL[name].split(), "--repeats", "1", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert EXPECTED[name] <= set(found["figures"])
    for label, figure in found["figures"].items():
        assert len(figure["values"]) == 1
        assert label in said
        if not label.endswith((": drift", ": use")):
            assert min(figure["values"]) > 0
    bars = [ratio for ratio in found["ratios"] if ratio["met"] is not None]
    assert bars
    assert all(ratio["name"] in said for ratio in found["ratios"])
    assert found["machine"]["gil"] is not FREE_THREADED


@pytest.mark.slow
def test_processor_time_is_that_of_one_worker_and_leaves_out_waiting(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REACTORNB_BENCH_CLOCK", "")  # restored afterwards
    before = now()
    time.sleep(0.05)
    assert now() - before >= 0.05
    file = tmp_path / "found.json"
    module = import_module("reactornb.bench.micro")
    assert module.main(["--cpu-time", "--rounds", "20", "--repeats", "1", "--json", str(file)]) == 0
    before = now()
    time.sleep(0.05)
    assert now() - before < 0.05
    found = json.loads(file.read_text())
    assert set(found["figures"]) == {"plain loop", "1 worker"}
    assert "processor time" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        module.main(["--cpu-time", "--workers", "2"])


GYM = """
import json, sys
from reactornb import Program
from reactornb.__main__ import main
from reactornb.bench.gym import Gym
from reactornb.bench.measure import lf_program

parameters = {"env": "CartPole-v1", "envs": 3, "rounds": 30, "steps": 2}
for workers in (1, 2, 8):
    ours = Program(Gym, **parameters).run(workers=workers, fast=True, fingerprint=True)
    print("python", ours.fingerprint, ours.reactions)
    words = [f"{k}={v}" for k, v in parameters.items()]
    assert main(["run", str(lf_program("gym")), *words, "--fast", "--fingerprint", "-w", str(workers)]) == 0
assert main(["bench", "gym", "--rounds", "3", "--steps", "1,2", "--envs", "2", "--lf", "--repeats", "1", "--json", sys.argv[1]]) == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("gymnasium") is None, reason="Gymnasium is not installed")
def test_environments_give_the_same_observations_in_text_and_python(tmp_path):
    command = [sys.executable, "-c", GYM, str(tmp_path / "found.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    ours = {line for line in lines if line.startswith("python ")}
    texts = {line for line in lines if line.startswith("fingerprint ")}
    assert len(ours) == len(texts) == 1
    _, fingerprint, reactions = ours.pop().split()
    assert texts == {f"fingerprint {fingerprint}"}
    # Each rollout starts up and shuts down.
    assert int(reactions) == 1 + 30 * (3 + 1) + 2 * 3
    figures = json.loads((tmp_path / "found.json").read_text())["figures"]
    assert {f"CartPole-v1, {s}, 2 workers, .lf" for s in ("1 step", "2 steps")} <= set(figures)


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("gymnasium") is None, reason="Gymnasium is not installed")
def test_what_keeping_a_run_costs_is_measured(tmp_path):
    file = tmp_path / "found.json"
    small = ["--mb", "1", "--seconds", "0.3", "--repeats", "1", "--runs", "20", "--json"]
    command = [sys.executable, "-m", "reactornb", "bench", "keep", *small, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    figures = {name.partition(",")[0] + name.partition(":")[2] for name in found["figures"]}
    assert figures >= {"dqn pause", "ppo pause", "dqn: a copy a copy", "not kept", "kept", "20 runs"}
    assert {ratio["name"] for ratio in found["ratios"]} >= {
        "dqn: pause / copy",
        "kept, one checkpoint a minute / not kept",
    }
    assert not list(tmp_path.glob("runs*"))


@pytest.mark.skipif(util.find_spec("gymnasium") is None, reason="needs Gymnasium")
def test_as_published_all_environments_are_one_and_every_observation_is_printed(monkeypatch):
    from reactornb.bench import broadcast
    from reactornb.bench.gym import Gym

    printed = []
    monkeypatch.setattr(broadcast, "show", lambda observations: printed.extend(map(list, observations)))
    parameters = {"envs": 3, "rounds": 5}
    found = [
        Program(Gym, as_published=True, **parameters).run(workers=n, fast=True, fingerprint=True).fingerprint
        for n in (1, 2, 8)
    ]
    assert len(set(found)) == 1
    assert len(printed) == 3 * 3 * 5
    assert printed[0] == printed[1] == printed[2]
    assert printed[0] != printed[3]
    Program(Gym, **parameters).run(workers=1, fast=True)
    assert len(printed) == 3 * 3 * 5
