"""What reactors log is kept in parts: as many bytes as it has, read like one table, and by anybody while it grows."""

import sys
import threading

import numpy
import pytest

from reactornb import Program, Reactor, Timer, ms, reaction
from reactornb.runtime import FakeClock
from reactornb.runtime.logs import Log


def read(log, start=0, end=None):
    return {
        name: list(zip(c.times_ns.tolist(), c.microsteps.tolist(), c.values.tolist(), strict=True))
        for name, c in log.columns(start, end).items()
    }


def filled(rows):
    """(the log, its rows): rows of one kind, then of three, such that parts of all sorts come."""
    log, kept, rng = Log(), [], numpy.random.default_rng(3)
    for i in range(rows):
        metrics = {"a": float(i)}
        if i > 2 * Log.size and rng.random() < 0.5:
            metrics = [{"b": i}, {"a": i, "b": -i}, {"c": i, "a": 1, "d": True}][rng.integers(3)]
        log.add((i * 10, i % 3), metrics)
        kept.append((i * 10, i % 3, metrics))
    return log, kept


def expected(rows):
    found = {}
    for time_ns, microstep, metrics in rows:
        for name, value in metrics.items():
            found.setdefault(name, []).append((time_ns, microstep, float(value)))
    return found


@pytest.mark.parametrize("rows", [0, 1, Log.size - 1, Log.size, Log.size + 1, 2 * Log.size, 5 * Log.size + 7])
def test_any_window_of_a_log_is_what_was_logged_there(rows):
    log, kept = filled(rows)
    assert len(log) == rows
    rng = numpy.random.default_rng(rows)
    windows = [(0, rows), (0, Log.size), (Log.size - 1, Log.size + 1), (Log.size, 2 * Log.size), (rows, rows), (7, 7)]
    windows += [tuple(sorted(rng.integers(rows + 1, size=2).tolist())) for _ in range(40)]
    for start, end in windows:
        assert read(log, start, end) == expected(kept[start:end]), (start, end)
    for row in rng.integers(rows, size=20).tolist() if rows else ():
        assert log.tag(row) == kept[row][:2]


def test_rows_from_a_tag_on_are_forgotten_across_parts():
    log, kept = filled(3 * Log.size)
    place = Log.size + 17
    log.forget(kept[place][:2])
    assert len(log) == place
    assert read(log) == expected(kept[:place])


def test_who_reads_while_the_log_grows_sees_each_row_once_and_whole():
    log, begun, over = Log(), threading.Barrier(2), threading.Event()

    def write():
        begun.wait(10)
        for i in range(60_000):
            log.add((i, 0), {"a": i})
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(10)
    seen, last = [], False
    while not last:
        last = over.is_set()
        until = len(log)
        column = log.columns(len(seen), until).get("a")
        if column is not None:
            seen += column.values.tolist()
        assert len(seen) == until
    thread.join(10)
    assert seen == list(range(60_000))


@pytest.mark.thread_unsafe(reason="counts the blocks of the process")
def test_a_long_run_keeps_a_value_in_its_bytes_and_not_in_an_object_of_its_own():
    class Logs(Reactor):
        tick = Timer(0, ms(1))

        @reaction(tick)
        def on_tick(self):
            self.log(value=1.5)

    log = Log()
    log.add((0, 0), {"value": 1.0})
    before = sys.getallocatedblocks()
    for i in range(100 * Log.size):
        log.add((i, 0), {"value": 1.0})
    assert sys.getallocatedblocks() - before < 3 * Log.size
    assert sum(len(part.data) for part in log._parts) == 100 * Log.size * 40
    run = Program(Logs).start(workers=1, clock=FakeClock(), until=ms(3000))
    run.result(20)
    (log,) = run.logs
    assert len(run.metrics["value"]) == len(log) == 3001
    assert numpy.isclose(log.columns()["value"].values, 1.5).all()
