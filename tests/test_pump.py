"""The timer that moves panels: on the loop's thread only, not too often, and no panel stops another."""

import itertools
import threading

import pytest

pytest.importorskip("IPython")

from reactornb.notebook.pump import Pump


class Loop:
    """A kernel's loop that does things when it is told to."""

    def __init__(self):
        self.later = []
        self.soon = []

    def call_later(self, seconds, fn):
        self.later.append((seconds, fn))
        return self.later[-1]

    def remove_timeout(self, handle):
        self.later.remove(handle)

    def add_callback(self, fn, *args):
        self.soon.append((threading.get_ident(), fn, args))

    def turn(self):
        """Do what is due; how long it was waited for."""
        ((seconds, fn),) = self.later
        self.later.clear()
        fn()
        return seconds


class Panel:
    is_open = True
    sent_bytes = 0

    def __init__(self, turns, fails=False):
        self.turns = turns
        self.fails = fails
        self.seen = self.looks = 0

    @property
    def run_is_alive(self):
        return self.turns > 0

    def refresh(self):
        if self.fails:
            raise ValueError("cannot be shown")
        self.seen += 1
        self.turns -= 1
        return self.turns > 0

    def look(self):
        self.looks += 1


@pytest.fixture
def loop():
    return Loop()


def test_a_panel_moves_until_its_run_is_over_and_then_the_pump_rests(loop):
    pump, panel = Pump(loop), Panel(3)
    pump.add(panel, panel.look)
    pump.add(panel, panel.look)
    assert [loop.turn() for _ in range(3)] == pytest.approx([0.1] * 3, abs=0.09)
    assert (panel.seen, panel.looks, loop.later) == (3, 1, [])


def test_a_panel_that_cannot_be_shown_leaves_and_the_others_go_on(loop, caplog):
    pump, broken, well = Pump(loop), Panel(9, fails=True), Panel(9)
    pump.add(broken, broken.look)
    pump.add(well, well.look)
    loop.turn()
    loop.turn()
    assert (well.seen, broken.looks) == (2, 0)
    assert caplog.text.count("a panel cannot be shown any more") == 1


def test_what_sends_much_moves_less_often_than_a_server_cuts_off(loop):
    pump, panel = Pump(loop), Panel(9)
    panel.sent_bytes = 800_000
    pump.add(panel, panel.look)
    loop.turn()
    assert loop.later[0][0] >= 2.0


@pytest.mark.parametrize(("cost", "pause"), [(0.001, 0.1), (0.008, 0.4), (0.03, 1.0), (0.2, 2.0)])
def test_what_takes_long_moves_less_often_so_that_a_run_is_hardly_slower(cost, pause, loop, monkeypatch):
    used = iter((1.0, 1.0 + cost))
    monkeypatch.setattr("reactornb.notebook.pump.time.thread_time", lambda: next(used))
    pump, panel = Pump(loop), Panel(9)
    pump.add(panel, panel.look)
    loop.turn()
    assert loop.later[0][0] == pytest.approx(pause)


def test_a_panel_shown_on_another_thread_is_handed_to_the_loops(loop):
    pump, panel = Pump(loop), Panel(1)
    thread = threading.Thread(target=pump.add, args=(panel, panel.look))
    thread.start()
    thread.join()
    assert loop.later == []
    ((_, fn, args),) = loop.soon
    fn(*args)
    assert len(loop.later) == 1


def test_a_cell_that_waits_keeps_panels_moving_only_on_the_loops_thread_and_when_it_is_time(loop):
    pump, panel = Pump(loop), Panel(9)
    pump.beat_while_waiting()
    pump.add(panel, panel.look)
    pump.beat_while_waiting()
    assert panel.seen == 1
    pump.beat_while_waiting()
    assert panel.seen == 1, "not due yet"
    pump._due = 0.0
    thread = threading.Thread(target=pump.beat_while_waiting)
    thread.start()
    thread.join()
    assert panel.seen == 1, "another thread touches nothing"
    panel.turns = 0
    pump.finish_ended()
    assert panel.looks == 1


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_picture_that_the_timer_sent_is_sent_once_more_as_output_of_the_cell_that_runs(turns, loop):
    pump, panel = Pump(loop), Panel(turns)
    pump.add(panel, panel.look)
    for _ in range(turns):
        loop.turn()
    assert (panel.looks, loop.later) == (1, []), "its run is over, and its last picture went out during no cell"
    pump.finish_ended()
    assert panel.looks == 2
    pump.finish_ended()
    assert panel.looks == 2, "nothing has changed since"


def test_the_picture_of_a_living_run_goes_with_each_cell_but_not_more_than_once_a_second(loop, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("reactornb.notebook.pump.time.perf_counter", lambda: now[0])
    pump, panel = Pump(loop), Panel(99)
    pump.add(panel, panel.look)
    looks = []
    for moment in (0.5, 1.5, 1.6, 1.7, 3.0):
        now[0] = moment
        pump.finish_ended()
        looks.append(panel.looks)
    assert looks == [0, 1, 1, 1, 2]


def test_the_picture_is_brought_up_to_date_now_and_then(loop):
    pump, panel = Pump(loop), Panel(99)
    pump.picture_seconds = 0.0
    pump.add(panel, panel.look)
    loop.turn()
    loop.turn()
    assert panel.looks == 2
    pump.close()
    assert loop.later == []


def test_the_picture_of_a_young_panel_is_renewed_soon_and_later_ever_less_often(loop, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("reactornb.notebook.pump.time.perf_counter", lambda: now[0])
    pump, panel = Pump(loop), Panel(10_000)
    pump.add(panel, panel.look)
    looks = []
    for tenth in range(1, 1200):
        now[0] = tenth / 10
        before = panel.looks
        pump._beat()
        if panel.looks > before:
            looks.append(now[0])
    assert looks[0] < 1.0, "a notebook may be saved right after a run began"
    gaps = [round(b - a, 1) for a, b in itertools.pairwise(looks)]
    assert gaps == sorted(gaps)
    assert max(gaps) <= Pump.picture_seconds + 0.2
    assert len(looks) < 15
