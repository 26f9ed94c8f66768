"""A sweep that is kept: what is done is not done again, what was stopped goes on, and more is added to it."""

import pytest
from sweep_programs import Broken, Climb, Counted, Never, begun

from reactornb import Program, Runs, ns
from reactornb.durable import storage
from reactornb.errors import RunError
from reactornb.sweeps import sweep

pytestmark = pytest.mark.thread_unsafe(reason="changes the environment")


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    monkeypatch.setattr(storage, "_fsync", lambda *_: None)
    begun.clear()
    return tmp_path


def ended(program, /, **asked):
    made = sweep(program, **asked)
    assert made.wait(30)
    return made


@pytest.mark.slow
def test_finished_rows_are_not_run_again_and_look_the_same():
    first = ended(Counted, rate=[1.0, 2.0], seeds=2, keep="lr", fingerprint=True)
    assert len(begun) == 4
    again = ended(Counted, rate=[1.0, 2.0], seeds=2, keep="lr", fingerprint=True)
    assert len(begun) == 4
    assert all(t.was_there for t in again)
    for name in ("state", "score", "fingerprint", "kept", "seed", "swept"):
        assert [getattr(t, name) for t in again] == [getattr(t, name) for t in first]
    assert [list(t.metrics["episode_return"]) for t in again] == [list(t.metrics["episode_return"]) for t in first]


def test_more_seeds_and_values_add_rows():
    ended(Counted, rate=[1.0], seeds=1, keep="lr")
    more = ended(Counted, rate=[2.0, 1.0], seeds=2, keep="lr")
    assert len(begun) == 4
    assert [t.was_there for t in more] == [False, True, False, False]


def test_its_runs_are_in_the_store_with_its_name_as_label():
    made = ended(Climb, rate=[1.0, 2.0], keep="lr")
    assert {run.id for run in Runs().where(label="lr")} == {t.kept for t in made}
    assert len(made.runs) == 2
    assert made.runs.where("rate > 1")[0].seed == 0
    with pytest.raises(RunError, match="keep="):
        _ = ended(Climb).runs


def test_what_was_stopped_goes_on_as_if_it_had_not_been():
    made = sweep(Never, rate=[1.0, 2.0], at_once=1, keep="long", fingerprint=True)
    while made[0].run is None or made[0].run.tags < 5:
        assert not made.wait(0.01)
    made.stop()
    stood = made[0].kept
    at = Runs()[stood].tag
    assert [t.state for t in made] == ["stopped", "waiting"]
    again = sweep(Never, rate=[1.0, 2.0], at_once=1, keep="long", fingerprint=True)
    while again[0].run is None or again[0].run.tag <= at:
        assert not again.wait(0.01)
    again.stop()
    assert again[0].kept == stood
    row = again[0]
    last = Runs()[stood].tag
    alone = Program(Never, **row.given).run(seed=row.seed, until=ns(last.time_ns), fast=True)
    assert list(alone.metrics["episode_return"])[: len(row.metrics["episode_return"])] == list(
        row.metrics["episode_return"]
    )


def test_what_failed_stays_a_row_unless_it_is_tried_again(monkeypatch):
    first = ended(Broken, rate=[1.0, 3.0], keep="b")
    assert [t.state for t in first] == ["finished", "failed"]
    again = ended(Broken, rate=[1.0, 3.0], keep="b")
    assert [(t.state, t.was_there) for t in again] == [("finished", True), ("failed", True)]
    assert "it burst" in again[1].failure
    once_more = ended(Broken, rate=[1.0, 3.0], keep="b", retry=True)
    assert once_more[1].kept == f"{first[1].kept}-2"
    assert [t.was_there for t in once_more] == [True, False]


def test_rows_that_were_run_with_other_code_are_told():
    def changed(factor):
        namespace = {"__name__": "own_program"}
        exec(  # a class that was changed and has the same name
            "from reactornb import *\nclass Own(Reactor):\n    tick = Timer(0, ms(1))\n    needs_physical_time = False\n    @reaction(tick)\n"
            f"    def on_tick(self):\n        self.log(episode_return={factor}.0)\n        self.request_stop()\n",
            namespace,
        )
        return namespace["Own"]

    assert ended(changed(1), keep="own").warnings == []
    assert ended(changed(1), keep="own").warnings == []
    assert "other code" in ended(changed(2), keep="own").warnings[0]
