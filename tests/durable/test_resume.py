"""A kept run that was stopped goes on, in this process: with the values, the fingerprint and the metrics of one that was never interrupted."""

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keeping_runs import ended, held, kept_until, whole
from resumable import Apart, Ends, Fails, Light, Listening, Sample, Training, Watched

from reactornb import (
    LogicalAction,
    Program,
    Reactor,
    ReactorError,
    Run,
    State,
    Tag,
    Timer,
    enclave,
    ms,
    reaction,
    resume,
    rewind,
    startup,
)
from reactornb.durable import canary
from reactornb.durable.errors import (
    AnotherProcessorError,
    NoSuchRunError,
    ProgramNotFoundError,
    RunExistsError,
    RunFinishedError,
    RunInUseError,
    SourceChangedError,
)
from reactornb.durable.folder import RunFolder
from reactornb.durable.history import History
from reactornb.durable.inputs import Past
from reactornb.durable.keeping import Keeping, type_of
from reactornb.durable.objects import Known
from reactornb.errors import ReactionError, RunError, RunOptionError, UnknownNameError

pytestmark = [pytest.mark.usefixtures("runs"), pytest.mark.thread_unsafe(reason="changes the environment")]

END = ms(60)


def records(path):
    with RunFolder.open(path) as folder:
        return list(folder.journal.records())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("root", [Training, Apart, Light])
def test_a_run_that_was_stopped_goes_on_as_if_it_never_had_been(root, workers):
    expected = whole(root, until=END)
    run = kept_until(Program(root), (ms(23), 0), workers=1, fingerprint=True, until=END)
    run.stop()
    assert run.state == "stopped"
    rest = ended(workers=workers)
    assert rest.fingerprint == expected.fingerprint
    assert rest.metrics == expected.metrics
    assert rest.reactions == expected.reactions


@pytest.mark.slow
def test_a_run_of_which_some_enclaves_have_not_begun_is_kept_too(runs):
    expected = whole(Apart, until=END)
    for name in map(str, range(50)):  # whether the other one has begun by then is chance
        run = kept_until(Program(Apart), (0, 0), name, workers=1, fingerprint=True, until=END)
        info = run.checkpoint("early")
        run.stop()
        if sorted(tag[1] for tag in info.extra["tags"]) == [-1, 0]:
            break
    else:
        pytest.fail("of fifty runs each had begun in all enclaves")
    rest = resume(name, at="early", workers=2).result(20.0)
    assert (rest.fingerprint, rest.metrics) == (expected.fingerprint, expected.metrics)
    assert len(RunFolder.open(runs / f"{name}-2").checkpoints()) >= 1


class Begins(Reactor):
    """Its first tag is as long as `goes_on` is not set."""

    again = LogicalAction(min_delay=ms(1))
    count = State(0)
    is_there, goes_on = threading.Event(), threading.Event()

    @reaction(startup)
    def begin(self, again):
        self.is_there.set()
        assert self.goes_on.wait(20.0)
        again.schedule()

    @reaction(again)
    def on_again(self, again):
        self.count += 1
        self.log(count=self.count)
        again.schedule()


class BeginsApart(Reactor):
    """The same, beside an enclave."""

    one = Begins()
    two = enclave(Light())


@pytest.mark.parametrize("root", [Begins, BeginsApart])
@pytest.mark.parametrize("asks", [Run.request_stop, lambda run: run._engine.request_cut()], ids=["stop", "cut"])
def test_a_run_that_was_stopped_before_its_first_tag_and_cut_after_it_goes_on(root, asks, monkeypatch):
    Begins.goes_on.set()
    expected = whole(root, until=END)
    Begins.goes_on.clear()
    Begins.is_there.clear()
    begin = Keeping.begin
    with monkeypatch.context() as patched:
        patched.setattr(Keeping, "begin", lambda self, run: (begin(self, run), run.request_stop()))
        run = Program(root).start(keep="r", workers=1, fingerprint=True, until=END)
    assert Begins.is_there.wait(20.0)
    asks(run)
    Begins.goes_on.set()
    run.result(20.0)
    assert (run.state, run.metrics) == ("stopped", {})
    rest = ended()
    assert (rest.fingerprint, rest.metrics) == (expected.fingerprint, expected.metrics)


class Ticks(Reactor):
    """Has a tag each millisecond."""

    needs_physical_time = False
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        pass


class Sparse(Reactor):
    """What it schedules comes 10 ms later, or, where two are too close, 5 ms after the one before."""

    needs_physical_time = False
    far = LogicalAction(min_delay=ms(10), min_spacing=ms(5))
    count = State(0)

    @reaction(startup)
    def begin(self, far):
        far.schedule()

    @reaction(far)
    def on_far(self, far):
        self.count += 1
        self.log(count=self.count)
        far.schedule()
        if self.count % 2:
            far.schedule()


class SparseAndTicks(Reactor):
    """Both."""

    ticks = Ticks()
    sparse = Sparse()


class SparseApart(Reactor):
    """Both, as enclaves."""

    ticks = enclave(Ticks())
    sparse = enclave(Sparse())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("root", [Sparse, SparseAndTicks, SparseApart])
def test_a_run_that_gets_a_later_end_has_what_was_scheduled_beyond_the_earlier_one(root, workers):
    expected = whole(root, until=END)
    run = kept_until(Program(root), (ms(22), 0), workers=workers, fingerprint=True, until=ms(25))
    run.checkpoint("late")
    run.resume()
    assert run.result(20.0).tag == Tag(ms(25), 0)
    rest = ended(until=END)
    assert (rest.fingerprint, rest.metrics) == (expected.fingerprint, expected.metrics)


@pytest.mark.slow
def test_a_run_may_be_stopped_many_times():
    expected = whole(Training, until=END)
    run = kept_until(Program(Training), (ms(3), 0), workers=1, fingerprint=True, until=END)
    run.stop()
    for at in (7, 8, 20, 41):
        with held((ms(at), 0)):
            run = resume("r", workers=1 + at % 2)
        assert run._kept.held.wait(20.0)
        run.stop()
    rest = ended()
    assert (rest.fingerprint, rest.metrics) == (expected.fingerprint, expected.metrics)


@pytest.mark.slow
def test_metrics_on_disk_are_those_of_the_run_neither_doubled_nor_missing(runs):
    expected = whole(Training, until=END)
    run = kept_until(Program(Training), (ms(31), 0), workers=1, fingerprint=True, until=END)
    run.checkpoint("middle")
    run.stop()
    ended()
    history = History(records(runs / "r"))
    assert history.metrics == expected.metrics
    assert history.end["state"] == "finished"
    assert history.end["fingerprint"] == expected.fingerprint


def test_a_checkpoint_is_made_as_asked_and_one_with_a_name_stays(runs):
    run = kept_until(Program(Training), (ms(5), 0), until=END)
    info = run.checkpoint("before")
    assert info.name == "before"
    assert info.path.is_dir()
    run.stop()
    assert "before" in [one.name for one in RunFolder.open(runs / "r").checkpoints()]
    with pytest.raises(RunError, match="is over"):
        run.checkpoint()


@pytest.mark.slow
def test_a_branch_from_a_tag_has_its_own_folder_and_remembers_its_parent(runs):
    expected = whole(Training, until=END)
    kept_until(Program(Training), (ms(50), 0), workers=1, fingerprint=True, until=END).stop()
    before = records(runs / "r")
    other = resume("r", at=ms(30), set={"learner.rate": 0.5})
    result = other.result(20.0)
    assert other.kept == runs / "r-2"
    assert result.fingerprint != expected.fingerprint
    until = [n for n, tag in enumerate(expected.metrics["norm"].tags) if tag <= Tag(ms(30))]
    assert (result.metrics["norm"].values[: len(until)] == expected.metrics["norm"].values[: len(until)]).all()
    assert result.metrics["norm"].tags == expected.metrics["norm"].tags
    assert [(change.path, change.new) for change in other.changes] == [("training.learner.rate", 0.5)]
    assert other.changes[0].tag > Tag(ms(30))
    assert len(records(runs / "r")) == len(before)
    with RunFolder.open(runs / "r-2") as folder:
        assert folder.about["parent"]["run"] == "r"
    assert History(records(runs / "r-2")).metrics == result.metrics


@pytest.mark.slow
def test_a_branch_can_be_stopped_and_go_on_too(runs):
    kept_until(Program(Training), (ms(40), 0), workers=1, fingerprint=True, until=END).stop()
    straight = resume("r", at=ms(30), set={"source.scale": 2.0}, keep="straight").result(20.0)
    resume("r", at=ms(30), set={"source.scale": 2.0}, keep="broken", until=ms(45)).result(20.0)
    rest = ended("broken", until=END)
    assert (rest.fingerprint, rest.metrics) == (straight.fingerprint, straight.metrics)


@pytest.mark.slow
def test_rewind_gives_a_paused_run_at_exactly_that_tag_and_leaves_the_other_alone(runs):
    expected = whole(Training, until=END)
    run = kept_until(Program(Training), (ms(50), 0), workers=1, fingerprint=True, until=END)
    there = rewind(run, ms(20))
    assert there.state == "paused"
    assert there.tag <= Tag(ms(20), 1 << 62)
    counts = [tag for tag in expected.metrics["norm"].tags if tag <= Tag(ms(20), 1 << 62)]
    assert there.instance("learner").at == len(counts)
    assert there.metrics["norm"].tags == counts
    there.resume()
    assert there.result(20.0).fingerprint == expected.fingerprint
    assert there.kept is None
    run.resume()
    assert run.result(20.0).fingerprint == expected.fingerprint
    assert [path.name for path in runs.iterdir()] == ["r"]
    named = rewind("r", Tag(0))
    assert named.tag == Tag(0)
    named.stop()


@pytest.mark.slow
def test_a_run_that_ended_by_itself_is_finished():
    expected = whole(Ends)
    program = Program(Ends)
    result = program.run(keep="r", fingerprint=True, workers=1)
    assert result.fingerprint == expected.fingerprint
    with pytest.raises(RunFinishedError, match="its own end"):
        resume("r")
    with pytest.raises(RunFinishedError, match="its own end"):
        resume("r", until=ms(100))
    half = resume("r", at=ms(10)).result(20.0)
    assert (half.fingerprint, half.metrics) == (expected.fingerprint, expected.metrics)


@pytest.mark.slow
def test_a_run_that_came_to_its_end_goes_on_to_a_later_one():
    expected = whole(Training, until=END)
    Program(Training).run(keep="r", fingerprint=True, workers=1, until=ms(25))
    with pytest.raises(RunFinishedError, match="later one"):
        resume("r")
    with pytest.raises(RunFinishedError, match="later one"):
        resume("r", until=ms(25))
    rest = ended(until=END)
    assert (rest.fingerprint, rest.metrics) == (expected.fingerprint, expected.metrics)


@pytest.mark.slow
def test_a_run_that_failed_goes_on_from_the_checkpoint_before_once_it_is_told_otherwise(runs):
    expected = Program(Fails, at=-1).run(workers=1, fingerprint=True, until=ms(40))
    with pytest.raises(ReactionError, match="it was told to"):
        Program(Fails).run(keep="r", workers=1, fingerprint=True, until=ms(40))
    assert History(records(runs / "r")).end["state"] == "failed"
    with pytest.raises(ReactionError, match="it was told to"):
        resume("r").result(20.0)
    rest = resume("r", at=ms(12), set={"at": -1}).result(20.0)
    assert rest.metrics == expected.metrics


@pytest.mark.slow
def test_what_came_from_outside_after_the_last_checkpoint_is_repeated(runs):
    run = kept_until(Program(Listening), (0, 0), fingerprint=True, workers=1)
    post = run.instance("listening").post
    for value in range(5):
        post(value=value)
    run.resume()
    heard(run, 5)
    run.checkpoint("five")
    for value in range(5, 9):
        post(value=Sample(value, np.arange(value)))
    run.set("gain", 3.0)
    heard(run, 9)
    run.stop()
    with RunFolder.open(runs / "r", writable=True) as folder:  # as if the newest checkpoint had not been written
        folder.remove_checkpoint(folder.checkpoints()[-1])
    again = resume("r", workers=2)
    heard(again, 9)
    again.pause()
    assert again.metrics["count"].values[:9].tolist() == list(range(1, 10))
    assert again.metrics["count"].tags[:9] == run.metrics["count"].tags
    assert again.changes == run.changes
    again.stop()
    assert History(records(runs / "r")).metrics["count"].tags == again.metrics["count"].tags


@pytest.mark.slow
@pytest.mark.parametrize("root", [Watched, Listening])
def test_what_the_journal_has_of_all_lives_of_a_run_is_the_whole_run(root, runs):
    program = Program(root)
    run = kept_until(program, (0, 0), fingerprint=True, workers=1, until=ms(80))
    for at in (15, 40):
        held_again = run._engine.run_to((ms(at), 0))
        if root is Listening:
            for value in range(3):
                run.instance("listening").post(value=Sample(value, np.arange(value)))
        assert held_again.wait(20.0)
        run.stop()
        with held((ms(at), 0)):  # or else, on a busy machine, it might have ended before it is told where to
            run = resume("r", workers=2)
        assert run._kept.held.wait(20.0)
    run.resume()
    result = run.result(20.0)
    rows = Past(records(runs / "r")).rows(Known(type_of(program)))
    # A machine that is too busy for the deadline may be too busy for the watchdog.
    assert {row[0] for row in rows} & ({"missed", "watchdog"} if root is Watched else {"action"})
    for workers in (1, 8):
        again = Program(root).run(replay=rows, fingerprint=True, workers=workers, until=ms(80))
        assert (again.fingerprint, again.tag, again.metrics) == (result.fingerprint, result.tag, result.metrics)


def heard(run, count):
    until = time.monotonic() + 20.0
    while len(run.metrics.get("count", ())) < count:
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_time_and_nothing_else(runs):
    expected = whole(Training, until=END)
    run = kept_until(Program(Training), (ms(10), 0), workers=1, fingerprint=True, until=END)
    run.checkpoint()
    assert run._engine.run_to((ms(40), 0)).wait(20.0)
    run.stop()
    newest = RunFolder.open(runs / "r").checkpoints()[-1]
    (newest.path / "state.rnb").write_bytes(b"nothing")
    again = resume("r")
    assert any("cannot be read" in words for words in again.warnings)
    rest = again.result(20.0)
    assert (rest.fingerprint, rest.metrics) == (expected.fingerprint, expected.metrics)


def test_a_machine_that_rounds_otherwise_is_told(monkeypatch):
    kept_until(Program(Training), (ms(5), 0), until=ms(10), fingerprint=True).stop()
    monkeypatch.setattr(canary, "canary", lambda: {"numpy": "other"})
    with pytest.raises(AnotherProcessorError, match="numpy compute other last bits"):
        resume("r")
    run = resume("r", exact="warn")
    assert any("round otherwise" in words for words in run.warnings)
    run.result(20.0)


def test_a_name_that_is_taken_is_refused_with_what_to_do():
    kept_until(Program(Training), (ms(5), 0), until=END).stop()
    with pytest.raises(RunExistsError, match=r"resume\('r'\).*keep='r-2'"):
        Program(Training).start(keep="r")
    again = Program(Training).start(keep=True, until=ms(1))
    again.result(20.0)
    assert again.kept.name == "training"


def test_a_run_that_goes_on_somewhere_is_not_resumed_a_second_time():
    run = kept_until(Program(Training), (ms(5), 0), until=END)
    with pytest.raises(RunInUseError):
        resume("r", program=Program(Training))
    run.stop()


def test_mistakes_are_told_with_what_to_do():
    kept_until(Program(Training), (ms(5), 0), until=END).stop()
    with pytest.raises(NoSuchRunError, match=r"Runs in .*: r"):
        resume("q")
    with pytest.raises(UnknownNameError, match="no checkpoint 'x'"):
        resume("r", at="x")
    with pytest.raises(RunOptionError, match="seed"):
        resume("r", seed=1)
    with pytest.raises(RunOptionError, match="changed is one of"):
        resume("r", changed="no")
    with pytest.raises(RunOptionError, match="takes a tag"):
        resume("r", at=3.5)
    with pytest.raises(SourceChangedError, match="another graph"):
        resume("r", program=Apart)
    with pytest.raises(ProgramNotFoundError, match="program="):
        resume("r", program=3)
    with pytest.raises(RunError, match="is not kept"):
        Program(Training).start(until=ms(1)).checkpoint()


def test_nothing_is_left_of_a_run_that_could_not_begin(runs):
    class Broken(Ends):
        @property
        def needs(self):
            return 0

    with pytest.raises(ReactorError):
        Program(Broken).start(keep="r", replay=[(Tag(0), "nothing.there", 0, 1)])
    assert list(runs.iterdir()) == []


def test_a_change_of_a_parameter_is_known_once_however_often_the_run_goes_on(runs):
    run = kept_until(Program(Training), (ms(3), 0), workers=1, fingerprint=True, until=END)
    run.set("learner.rate", 0.5)
    run.step(4)
    run.checkpoint()
    for _ in range(2):
        run.stop()
        with held((ms(9), 0)):
            run = resume("r", workers=1)
        assert run._kept.held.wait(20.0)
        assert [(change.path, change.new) for change in run.changes] == [("training.learner.rate", 0.5)]
    run.stop()
    assert len(History(records(runs / "r")).changes) == 1
