"""What keeping a run means: what its folder says, what cannot be kept, what it costs who does not ask for it."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keeping_runs import held, kept_until
from resumable import Ends, Training

from reactornb import Program, Reactor, RunOptions, State, Timer, minutes, ms, reaction, startup
from reactornb.durable.folder import RunFolder
from reactornb.durable.objects import NotSavableError
from reactornb.errors import ReactionError, RunError, RunOptionError

pytestmark = [pytest.mark.usefixtures("runs"), pytest.mark.thread_unsafe(reason="changes the environment")]


def test_a_kept_run_says_what_it_is_about(runs):
    Program(Ends, last=3).run(keep="r", seed=7, workers=1)
    with RunFolder.open(runs / "r") as folder:
        about = folder.about
        assert any("class Ends(Reactor)" in text for text in folder.cells.values())
    assert (about["program"], about["root"], about["module"], about["seed"]) == ("ends", "Ends", "resumable", 7)
    assert about["parameters"] == {"ends.last": 3}
    assert about["parent"] is None
    assert {"python", "numpy", "reactornb"} <= set(about["versions"])
    assert "resumable.Ends.on_tick" in about["code"]["digests"]
    json.dumps(about)


class Holds(Reactor):
    """Holds what belongs to this process only."""

    needs_physical_time = False
    tick = Timer(0, ms(1))
    count = State(0)

    @reaction(startup)
    def begin(self):
        self.things = []

    @reaction(tick)
    def on_tick(self):
        self.count += 1
        self.things.append(threading.Lock())


def test_what_cannot_be_saved_ends_the_run_at_its_first_tag_and_says_where_it_is():
    with pytest.raises(NotSavableError, match=r"holds: self\.things\[0\] is a .*lock") as caught:
        Program(Holds).run(keep="r", workers=1, until=ms(100_000))
    assert caught.value.reactor == "holds"
    assert caught.value.source.file == __file__


class TurnsBad(Holds):
    """Begins well."""

    @reaction(Holds.tick)
    def on_tick(self):
        self.count += 1
        if self.count > 5:
            self.things.append(threading.Lock())


def test_what_cannot_be_saved_later_costs_the_checkpoint_and_not_the_run():
    run = kept_until(Program(TurnsBad), (ms(8), 0), workers=1, until=ms(20))
    with pytest.raises(NotSavableError):
        run.checkpoint("too late")
    assert any("no checkpoint can be made" in words for words in run.warnings)
    run.resume()
    assert run.result(20.0).tag.time_ns == ms(20)


def test_a_run_is_the_same_whether_it_is_kept_or_not():
    alone = Program(Training).run(workers=1, fingerprint=True, until=ms(20))
    kept = Program(Training).run(workers=1, fingerprint=True, until=ms(20), keep="r", checkpoint=ms(1))
    assert (kept.fingerprint, kept.metrics, kept.reactions) == (alone.fingerprint, alone.metrics, alone.reactions)


def test_whoever_asks_for_a_checkpoint_gets_one_that_is_no_older(runs):
    run = kept_until(Program(Training), (ms(5), 0), workers=1, until=ms(20))
    with ThreadPoolExecutor(8) as pool:
        infos = [asked.result(20.0) for asked in [pool.submit(run.checkpoint) for _ in range(20)]]
    assert all(info.tag >= (ms(4), 0) for info in infos)
    run.stop()
    with RunFolder.open(runs / "r") as folder:
        assert len(folder.checkpoints()) == 3


def test_a_run_that_is_paused_before_its_first_tag_has_no_checkpoint():
    with held((-1, 0)):
        run = Program(Training).start(keep="r", workers=1, until=ms(20))
    assert run._kept.held.wait(20.0)
    with pytest.raises(RunError, match="step"):
        run.checkpoint()
    run.step()
    assert run.checkpoint("first").tag == (0, 0)
    run.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_leaves_the_folder_alone(runs):
    run = kept_until(Program(Training), (ms(5), 0), workers=1, until=ms(20))
    pid = os.fork()
    if pid == 0:
        os._exit(int(run.is_alive or run.kept is not None))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert run.checkpoint("after").name == "after"
    run.stop()
    assert run.state == "stopped"
    with RunFolder.open(runs / "r") as folder:
        assert not folder.incomplete()


def test_abandoning_a_run_lets_go_of_its_folder(runs):
    returned = threading.Event()

    class Stuck(Ends):
        @reaction(Ends.tick)
        def on_tick(self):
            self.count += 1
            if self.count == 5:
                inside.set()
                returned.wait(20.0)

    inside = threading.Event()
    run = Program(Stuck).start(keep="r", workers=1, until=ms(20))
    assert inside.wait(20.0)
    run.abandon()
    with RunFolder.open(runs / "r", writable=True) as folder:
        assert [record.value()["state"] for record in folder.journal.records() if record.kind == "ended"] == [
            "abandoned"
        ]
    returned.set()
    run._engine.join()


def test_a_reaction_cannot_wait_for_a_checkpoint_of_its_own_run():
    class Asks(Ends):
        @reaction(Ends.tick)
        def on_tick(self):
            if run_there:
                run_there[0].checkpoint()

    run_there = []
    run = kept_until(Program(Asks), (0, 0), workers=1)
    run_there.append(run)
    run.resume()
    with pytest.raises(ReactionError, match="a reaction cannot wait"):
        run.result(20.0)


def test_the_options_of_keeping_are_checked():
    assert RunOptions(keep=False).keep is None
    assert RunOptions(checkpoint=minutes(5)).checkpoint == minutes(5)
    for wrong in ({"keep": 3}, {"checkpoint": 5}, {"checkpoint": ms(0)}):
        with pytest.raises(RunOptionError):
            RunOptions(**wrong)


@pytest.mark.slow
def test_a_run_that_is_not_kept_loads_nothing_of_it():
    code = (
        "import sys; from resumable import Ends; from reactornb import Program; Program(Ends).run(workers=1); "
        "assert not [name for name in sys.modules if name.startswith('reactornb.durable')], 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


class Counts(Reactor):
    """Counts the ticks of a clock, for ever."""

    tick = Timer(0, ms(1))
    count = State(0)

    @reaction(tick)
    def on_tick(self):
        self.count += 1


@pytest.mark.parametrize("growth", [1.0, 1.6])
def test_where_the_disk_is_slow_checkpoints_are_written_half_of_the_time_at_most(monkeypatch, growth):
    write, written = RunFolder.write_checkpoint, []

    def slowly(*given):
        began = time.monotonic()
        time.sleep(0.05 * growth ** len(written))
        info = write(*given)
        written.append((began, time.monotonic()))
        return info

    monkeypatch.setattr(RunFolder, "write_checkpoint", slowly)
    run = Program(Counts).start(keep="r", workers=1, checkpoint=ms(1))
    until = time.monotonic() + 60.0
    while len(written) < 8 and time.monotonic() < until:
        time.sleep(0.01)
    run.stop()
    between = written[1:8]  # the first is the rehearsal's
    assert len(between) == 7
    writing = sum(end - began for began, end in between[:-1])
    assert writing <= 0.6 * (between[-1][0] - between[0][0])
