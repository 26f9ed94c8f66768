"""`optimize`: Optuna chooses; rows are reproducible, hopeless trials end early, a kept search goes on."""

import sys

import pytest
from sweep_programs import Broken, Climb, Never

from reactornb import Program
from reactornb.durable import storage
from reactornb.sweeps import between, optimize
from reactornb.sweeps.errors import SweepError, SweepOptionError

optuna = pytest.importorskip("optuna")

pytestmark = [pytest.mark.thread_unsafe(reason="changes the environment"), pytest.mark.xdist_group("optuna")]


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    return tmp_path


def ended(program, /, **asked):
    made = optimize(program, **asked)
    assert made.wait(60)
    assert not made.warnings
    return made


def test_a_search_finds_what_is_good_and_its_rows_can_be_repeated():
    made = ended(Climb, rate=between(0.0, 1.0), rounds=3, trials=12, at_once=1, fingerprint=True, score=peak)
    assert len(made) == 12
    assert {t.state for t in made} == {"finished"}
    assert abs(made.best.swept["rate"] - 0.5) < 0.2
    assert made.study.best_value == made.best.score
    row = made[5]
    assert Program(Climb, **row.given).run(seed=row.seed, fingerprint=True).fingerprint == row.fingerprint


def peak(metrics):
    """Best at a rate of 0.5."""
    return -((metrics["episode_return"][0] - 0.5) ** 2)


@pytest.mark.slow
def test_one_trial_at_a_time_the_same_search_tries_the_same():
    first, again = [ended(Climb, rate=between(0.0, 1.0), trials=6, at_once=1, score=peak) for _ in range(2)]
    assert [t.swept for t in first] == [t.swept for t in again]
    other = ended(Climb, rate=between(0.0, 1.0), trials=6, at_once=1, score=peak, search_seed=1)
    assert [t.swept for t in first] != [t.swept for t in other]


def test_choices_may_be_anything_and_whole_numbers_are_whole():
    made = ended(Climb, hidden=[(8,), (64, 64)], rounds=between(1, 4), trials=8, at_once=2)
    assert {type(t.given["hidden"]) for t in made} == {tuple}
    assert {type(t.given["rounds"]) for t in made} == {int}


def test_a_configuration_is_as_good_as_the_mean_over_its_seeds():
    made = ended(Climb, rate=[1.0, 2.0], trials=3, seeds=2, at_once=1)
    assert len(made) == 6
    assert [t.seed for t in made] == [0, 1] * 3
    assert [trial.value for trial in made.study.trials] == [
        pytest.approx((a.score + b.score) / 2) for a, b in zip(made[::2], made[1::2], strict=True)
    ]


def test_a_space_may_be_a_function_of_the_trial():
    def space(trial):
        rate = trial.suggest_float("rate", 0.0, 1.0)
        return {"rate": rate, "rounds": 2 if rate < 0.5 else 3}

    made = ended(Climb, space=space, trials=6, at_once=1)
    assert all(t.given["rounds"] == (2 if t.given["rate"] < 0.5 else 3) for t in made)


def test_a_trial_that_fails_is_a_row_and_the_search_goes_on():
    made = ended(Broken, rate=[1.0, 2.0, 3.0], trials=9, at_once=1, sampler=optuna.samplers.RandomSampler(seed=0))
    states = {t.swept["rate"]: t.state for t in made}
    assert states == {1.0: "finished", 2.0: "failed", 3.0: "failed"}
    assert len(made) == 9


def test_a_hopeless_trial_is_ended_early():
    class Worse(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1

    def space(trial):
        return {"rounds": 30 if trial.number == 0 else 1_000_000_000}

    made = ended(Climb, space=space, trials=2, at_once=1, prune=Worse(), prune_every=20)
    assert [t.state for t in made] == ["finished", "pruned"]
    assert [trial.state.name for trial in made.study.trials] == ["COMPLETE", "PRUNED"]
    assert list(made.study.trials[1].intermediate_values) == [1]


@pytest.mark.slow
def test_a_kept_search_goes_on_where_it_was():
    first = ended(Climb, rate=between(0.0, 1.0), trials=3, at_once=1, keep="search", score=peak)
    more = ended(Climb, rate=between(0.0, 1.0), trials=5, at_once=1, keep="search", score=peak)
    assert [t.swept for t in more][:3] == [t.swept for t in first]
    assert [t.was_there for t in more] == [True, True, True, False, False]
    assert len(more.study.trials) == 5
    assert [t.score for t in more][:3] == [t.score for t in first]


def test_a_trial_that_was_stopped_goes_on_when_the_search_does():
    made = optimize(Never, rate=between(0.0, 1.0), trials=2, at_once=1, keep="long")
    while not len(made) or made[0].run is None:
        assert not made.wait(0.01)
    made.stop()
    assert [trial.state.name for trial in made.study.trials] == ["RUNNING"]
    again = optimize(Never, rate=between(0.0, 1.0), trials=1, at_once=1, keep="long")
    while not len(again) or again[0].run is None:
        assert not again.wait(0.01)
    assert again[0].swept == made[0].swept
    assert again[0].run.kept.name == made[0].kept
    again.stop()


def test_a_space_that_raises_ends_the_search_with_its_error():
    made = optimize(Climb, space=lambda trial: {"rate": trial.number / 0}, trials=2, at_once=1)
    with pytest.raises(SweepError, match="ZeroDivisionError"):
        made.result(30)


def test_a_search_imports_no_database():
    ended(Climb, rate=[1.0, 2.0], trials=2, at_once=1, keep="search")
    assert "sqlalchemy" not in sys.modules


@pytest.mark.parametrize(
    ("asked", "words"), [({}, "nothing to search for"), ({"rate": [1.0], "trials": 0}, "at least 1")]
)
def test_what_no_search_can_be_is_refused(asked, words):
    with pytest.raises(SweepOptionError, match=words):
        optimize(Climb, **asked)
