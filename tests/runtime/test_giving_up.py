"""A run in which a reaction does not return: it is named, its run can be given up, and nothing waits for it."""

import threading
import time

import pytest

from reactornb import Bank, PhysicalAction, Program, Reactor, Timer, ms, reaction, startup
from reactornb.errors import RunError

GATES: dict[str, threading.Event] = {}


class Hangs(Reactor):
    """Waits for the gate of its own name."""

    tick = Timer(0, ms(10))

    @reaction(tick)
    def on_tick(self):
        self.log(before=1.0)
        GATES.get(self.full_name, GATES["open"]).wait(30)


class Bench(Reactor):
    workers = Bank(Hangs, 3)


@pytest.fixture
def gate():
    """Closes a gate, and opens all at the end."""
    GATES.clear()
    GATES["open"] = threading.Event()
    GATES["open"].set()

    def close(name):
        GATES[name] = threading.Event()
        return GATES[name]

    yield close
    for event in GATES.values():
        event.set()


def busy_after(run, least):
    """What is busy once something has been for that many seconds."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = run.busy()
        if found and found[0].seconds >= least:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing is known to be busy in {run}")


def joined(run):
    for worker in run._engine.workers:
        worker.thread.join(10)
        assert not worker.thread.is_alive()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("root", "name", "gate_of"),
    [(Hangs, "hangs.on_tick", "hangs"), (Bench, "bench.workers[1].on_tick", "bench.workers[1]")],
)
def test_a_hung_reaction_is_named_with_its_line_and_for_how_long(root, name, gate_of, workers, gate):
    event = gate(gate_of)
    run = Program(root).start(workers=workers, until=ms(30))
    (found,) = busy_after(run, 0.6)
    assert found.reaction == name
    assert "test_giving_up.py, line" in found.where
    assert 0.6 <= found.seconds <= run.seconds
    event.set()
    assert run.wait(10)
    assert (run.state, run.busy()) == ("finished", [])


@pytest.mark.slow
def test_stop_names_what_hangs_and_how_to_give_the_run_up_which_frees_its_program(gate):
    event = gate("hangs")
    program = Program(Hangs)
    run = program.start(workers=2)
    with pytest.raises(RunError, match=r"hangs\.on_tick has been busy for .* s .*run\.abandon\(\)"):
        run.stop(timeout=0.8)
    assert run.is_alive
    run.abandon()
    assert (run.state, run.is_alive) == ("abandoned", False)
    with pytest.raises(RunError, match=r"hangs#\d+ was abandoned at tag .*hangs\.on_tick"):
        run.result(timeout=0)
    again = program.start(workers=1)
    assert again.is_alive
    event.set()
    assert again.stop(10).state == "stopped"
    joined(run)
    assert run.state == "abandoned", "its own end comes too late"


def test_a_run_that_is_over_is_not_abandoned(gate):
    program = Program(Hangs)
    run = program.start(workers=1, fast=True, until=ms(30))
    assert run.wait(10)
    assert run.abandon().state == "finished"


class Waits(Reactor):
    poke = PhysicalAction()
    late = Timer(ms(60_000))

    @reaction(poke)
    def on_poke(self): ...

    @reaction(late)
    def on_late(self): ...


class Asked(Reactor):
    poke = PhysicalAction()

    @reaction(poke)
    def on_poke(self): ...


@pytest.mark.parametrize(
    ("root", "words"), [(Waits, "physical time: 60 s until the next tag"), (Asked, "(asked.poke)")]
)
def test_a_run_that_waits_says_for_what_and_is_not_called_busy(root, words):
    run = Program(root).start(workers=1)
    try:
        until = time.monotonic() + 10
        while not run._engine.waiting and time.monotonic() < until:
            time.sleep(0.001)
        assert words.partition(": 60")[0] in run.waiting_for
        assert run.busy() == []
        run.pause()
        assert run.waiting_for == "resume() or step()"
    finally:
        run.stop()
    assert (run.state, run.waiting_for) == ("stopped", "")


class Ends(Reactor):
    @reaction(startup)
    def on_startup(self):
        self.log(loss=0.25, steps=3)
        self.request_stop()


@pytest.mark.parametrize(("workers", "words"), [(1, "1 worker,"), (2, "2 workers,")])
def test_a_result_is_shown_in_a_few_lines_whatever_was_logged(workers, words):
    result = Program(Ends).run(workers=workers, fast=True, fingerprint=True)
    shown = repr(result)
    assert words in shown
    assert f"fingerprint {result.fingerprint}" in shown
    assert "loss: 1 value, the last 0.25" in shown
    assert len(shown) < 400


def test_what_stops_itself_is_finished_and_not_stopped():
    run = Program(Ends).start(workers=1)
    run.wait(10)
    assert run.state == "finished"
    assert run.stop().state == "finished", "it was over before it was asked"
