"""`reactornb bench train`: its statistics on numbers made by hand, what it refuses, and a whole tiny training."""

import argparse
import contextlib
import json
import runpy
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from reactornb.bench import peers, train
from reactornb.bench.peers.usage import Usage
from reactornb.bench.train import WINDOW, _reached, covered, interquartile_mean, parse_fields, seconds_to
from reactornb.bench.train_cases import CASES
from reactornb.errors import ReactorError
from reactornb.rl import PPOConfig


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([100.0, 2.0, 4.0], 106 / 3),  # fewer than four: nothing is left out
        ([0.0, 10.0, 20.0, 900.0], 15.0),
        ([500.0, 10.0, 30.0, -400.0, 20.0], 20.0),
        ([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 40.0], 5.25),  # of 3, 5, 6, 7
    ],
)
def test_the_interquartile_mean_leaves_out_a_quarter_on_either_side(values, mean):
    assert interquartile_mean(values) == pytest.approx(mean)


def test_a_return_is_reached_when_the_mean_of_the_last_episodes_is_as_high():
    low, high = [(float(i), 0.0) for i in range(WINDOW)], [(100.0 + i, 10.0) for i in range(WINDOW)]
    assert seconds_to(10.0, low + high) == 100.0 + WINDOW - 1
    assert seconds_to(5.0, low + high) == 100.0 + WINDOW / 2 - 1
    assert seconds_to(0.0, low + high) == WINDOW - 1.0
    assert seconds_to(10.1, low + high) is None
    assert seconds_to(0.0, low[1:]) is None


def test_the_return_of_a_peer_that_only_reports_means_is_reached_by_those():
    run = {"episodes": [], "means": [(1.0, 5.0), (2.0, 20.0), (3.0, 10.0)]}
    assert _reached(10.0, run) == 2.0
    assert _reached(30.0, run) is None
    assert _reached(10.0, {"episodes": [(float(i), 10.0) for i in range(WINDOW)]}) == WINDOW - 1.0


def test_time_in_which_two_workers_overlap_counts_once():
    def spans(*pairs):
        return np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], np.int64)

    assert covered([]) == 0
    assert covered([spans((0, 10), (20, 30))]) == 20
    assert covered([spans((0, 10), (20, 30)), spans((5, 12), (22, 25))]) == 22
    assert covered([spans((0, 100)), spans((10, 20), (90, 120))]) == 120
    assert covered([(np.empty(0, np.int64), np.empty(0, np.int64))]) == 0


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("default", {}),
        ("n_steps=64", {"n_steps": 64}),
        ("gamma=0.5,hidden=(8, 8),anneal_lr=False", {"gamma": 0.5, "hidden": (8, 8), "anneal_lr": False}),
        ("overlap=true,device=cpu,max_grad_norm=none", {"overlap": True, "device": "cpu", "max_grad_norm": None}),
    ],
)
def test_fields_are_read_as_in_a_call(text, fields):
    assert parse_fields(text) == fields


@pytest.mark.parametrize("text", ["", "64", "n_steps", "n_steps=", "n_steps=f(1)", "a=1;b=2"])
def test_what_is_no_list_of_fields_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"not a list of fields such as shards=2,overlap=True"):
        parse_fields(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ours", "n_step=64"], "PPOConfig has no field 'n_step'. Did you mean 'n_steps'?"),
        (["--ours", "n_rollouts=3"], "n_rollouts=3 does not divide the 8 environments of ppo-cartpole"),
        (["--ours", "gamma=2"], "gamma=2 must be a number from 0 to 1"),
        (["--peers", "sb4"], "there is no peer 'sb4'"),
        (["--case", "ppo-pole"], "invalid choice: 'ppo-pole'"),
        (["--seeds", "0"], "0 is not at least 1"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_before_anything_is_measured(words, said, capsys):
    with pytest.raises(SystemExit):
        train.main(words)
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_case_of_the_zoo_is_our_preset():
    assert CASES["ppo-cartpole"].lasting(None).config() == replace(
        PPOConfig.for_env("CartPole-v1"), eval_episodes=0, total_timesteps=99_840
    )


def test_the_case_of_cleanrl_is_what_our_defaults_are():
    assert CASES["ppo-acrobot"].config() == PPOConfig(total_timesteps=100_000, eval_episodes=0)


def test_a_case_lasts_whole_rounds_and_learns_in_time():
    short = CASES["dqn-cartpole"].lasting(1000)
    assert (short.steps, short.settings["learning_starts"]) == (768, 192)
    assert short.config().rounds == 3
    # Stable-Baselines3 replaces the target while it plays, that is before each round's 128 updates.
    assert short.config().target_every == 128
    assert CASES["dqn-cartpole"].lasting(None).settings["learning_starts"] == 1000
    assert CASES["ppo-cartpole"].lasting(1).steps == 256


@pytest.mark.parametrize("name", CASES)
def test_what_a_peer_is_told_can_be_sent(name):
    case = CASES[name]
    assert json.loads(json.dumps(case.request()))["settings"]["n_envs"] == case.settings["n_envs"]
    assert case.config(n_rollouts=1).n_envs == case.settings["n_envs"]


def test_fields_that_a_case_does_not_have_are_refused_by_name():
    with pytest.raises(ReactorError, match="DQNConfig has no field 'gae_lambda'"):
        CASES["dqn-cartpole"].config(gae_lambda=0.5)


def test_use_of_cores_and_processor_is_between_none_and_all():
    usage = Usage()
    used = usage.until_now()
    assert all(0 <= share <= 1 for share in used["cores"])
    assert used["processor"] >= 0


def test_a_peer_for_an_interpreter_that_is_not_there_says_which(monkeypatch, tmp_path):
    monkeypatch.setenv("REACTORNB_CACHE", str(tmp_path))
    monkeypatch.delenv("REACTORNB_GIL_PYTHON", raising=False)
    peer = peers.Peer("old", ("six==1.17.0",), ("train",), gil=True, pythons=("3.1",))
    with pytest.raises(peers.PeerError, match=r"no ordinary CPython 3\.1 here for this peer; REACTORNB_GIL_PYTHON"):
        peers.environment(peer)


@pytest.mark.slow
def test_a_tiny_training_is_measured_with_each_number_of_workers(tmp_path, capsys):
    file = tmp_path / "found.json"
    words = ["--steps", "512", "--seeds", "2", "--ours", "n_steps=64,hidden=(8,)", "--json", str(file)]
    assert train.main(words) == 0
    said = capsys.readouterr().out
    assert "ppo-cartpole, 2 workers, n_steps=64, hidden=(8,)" in said
    assert "final return (IQM, range)" in said
    found = json.loads(file.read_text())
    assert found["parameters"]["command"].startswith("reactornb bench train --steps 512")
    details = found["details"]["ppo-cartpole"]
    assert set(details["runs"]) == {f"{w}, n_steps=64, hidden=(8,)" for w in ("1 worker", "2 workers")}
    for name, runs in details["runs"].items():
        assert all(256 < run["steps"] <= 512 for run in runs)  # those that only reset do not count
        assert all(0 < run["learner"] + run["rollouts"] <= 2 * run["seconds"] for run in runs)
        assert all(len(run["busy"]) == int(name[0]) for run in runs)
    # The same seed ends in the same weights, however many workers there are.
    one, two = ([run["final"] for run in runs] for runs in details["runs"].values())
    assert one == two


def test_every_peer_s_script_can_be_read_without_its_library(monkeypatch):
    monkeypatch.syspath_prepend(str(peers.SCRIPTS))
    monkeypatch.setitem(
        sys.modules, "ray", types.ModuleType("ray")
    )  # the one that is imported at the top, for its environment variables
    for name in peers.names_for("train"):
        found = runpy.run_path(str(peers.SCRIPTS / peers.PEERS[name].file), run_name="read")
        assert {"train", "offers"} <= set(found)


class Library:
    """In the place of a peer's process: 100 steps a second with one thread, 200 with more, and it fails with seed 2 where it shall."""

    def __init__(self, fails=False):
        self.fails = fails
        self.seeds = []

    def measure(self, benchmark, *, timeout, **told):
        if benchmark == "offers":
            refused = None if told["algorithm"] == "PPO" else "it has no DQN"
            return {"variants": ["a", "b"], "threads": True, "refused": refused, "differs": ["its own CartPole"], "versions": {"sb3": "1"}}  # fmt: skip
        if self.fails and told["seed"] == 2:
            raise peers.PeerError("sb3: it ended")
        self.seeds.append((told["variant"], told["seed"], told["threads"], told["episodes"]))
        speed = (100 if told["threads"] == 1 else 200) * (2 if told["variant"] == "b" else 1)
        return {
            "seconds": told["steps"] / speed, "processor": 1.0, "cores": [0.5, 0.25], "learner": 1.0, "steps": told["steps"],
            "episodes": [(float(i), 450.0) for i in range(WINDOW)], "final": 100.0 * told["seed"] if told["episodes"] else None,
        }  # fmt: skip


def measured(monkeypatch, tmp_path, library, *words):
    def alone(case, seed, *, workers, changes=None, episodes=train.EPISODES):
        seconds = case.steps / (1000 * workers)
        return {"seconds": seconds, "processor": seconds, "cores": [], "learner": 0.1, "rollouts": 0.1, "busy": [0.9] * workers, "steps": case.steps, "episodes": [], "final": 500.0}  # fmt: skip

    @contextlib.contextmanager
    def opened(report, chosen):
        report.machine["peers"] = {"sb3": {"python": "3.12"}}
        yield {"sb3": library}

    monkeypatch.setattr(train, "ours", alone)
    monkeypatch.setattr(train.Report, "opened", opened)
    file = tmp_path / "found.json"
    status = train.main(["--peers", "sb3", "--threads", "1,2", "--steps", "5120", "--json", str(file), *words])
    return status, json.loads(file.read_text())


def test_a_peer_is_measured_with_its_best_threads_and_its_best_variant_is_what_the_bars_are_for(
    monkeypatch, tmp_path, capsys
):
    library = Library()
    status, found = measured(monkeypatch, tmp_path, library, "--seeds", "3", "--check")
    assert status == 0
    # Warmed up and tried with each number of threads, seed 0; then the seeds of the turns with the faster one, and an evaluation.
    assert [row for row in library.seeds if row[1] == 0] == [(v, 0, t, 0) for v in "ab" for t in (1, 1, 2, 2)]
    assert sorted(row for row in library.seeds if row[1]) == [
        (v, s, 2, train.EPISODES) for v in "ab" for s in (1, 2, 3)
    ]
    ratios = {ratio["name"]: (ratio["median"], ratio["at_least"]) for ratio in found["ratios"]}
    assert ratios["ppo-cartpole, 2 workers: speed over sb3's best, sb3 b"] == (5.0, 2.5)
    assert ratios["ppo-cartpole, 1 worker: speed over sb3's best, sb3 b"] == (2.5, 1.6)
    assert ratios["ppo-cartpole, 2 workers: speed over 1 worker"] == (2.0, 1.5)
    assert ratios["ppo-cartpole, 2 workers: speed over sb3 a"] == (10.0, None)
    details = found["details"]["ppo-cartpole"]
    assert details["interquartile_means"] == {"1 worker": 500.0, "2 workers": 500.0, "sb3 a": 200.0, "sb3 b": 200.0}
    said = capsys.readouterr().out
    assert "19.0 (3 of 3)" in said
    assert "200.0 (100.0 to 300.0)" in said
    assert "note: ppo-cartpole: with sb3, its own CartPole" in said


def test_a_peer_that_fails_in_the_middle_is_left_out_and_told(monkeypatch, tmp_path, capsys):
    status, found = measured(monkeypatch, tmp_path, Library(fails=True), "--seeds", "2")
    assert status == 1
    assert found["missing"] == ["sb3 a", "sb3 b"]
    assert set(found["details"]["ppo-cartpole"]["runs"]) == {"1 worker", "2 workers"}
    assert "not measured: ppo-cartpole, sb3 a: sb3: it ended" in capsys.readouterr().out


def test_a_case_that_a_peer_does_not_have_is_left_out_with_its_reason(monkeypatch, tmp_path, capsys):
    status, found = measured(monkeypatch, tmp_path, Library(), "--case", "dqn-cartpole", "--seeds", "1")
    assert status == 0
    assert set(found["details"]["dqn-cartpole"]["runs"]) == {"1 worker", "2 workers"}
    assert "note: dqn-cartpole: sb3 is left out: it has no DQN" in capsys.readouterr().out
