"""What benchmarks share: turns, limits, ratios, reports, and the arithmetic that results are held against."""

import argparse
import itertools
import json
import threading
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactornb import doctor
from reactornb.bench.broadcast import Port, free_threads, plain_loop, threads_in_step
from reactornb.bench.measure import Report, in_threads, interleave, numbers, options
from reactornb.bench.micro import plain_client
from reactornb.bench.peers import PeerError
from reactornb.bench.peers.bodies import lateness, summary
from reactornb.bench.scale import heap_loop, period_ns
from reactornb.bench.straggler import best_makespan, makespan_in_order


def chosen(*argv, **more):
    return argparse.Namespace(**vars(options("micro", "", repeats=1).parse_args(argv)) | more)


def test_variants_take_turns_and_each_begins_one():
    order = []

    def variant(name):
        return lambda: order.append(name) or len(order)

    found = interleave({name: variant(name) for name in "abc"}, 3)
    # A first turn that does not count, then one that each begins.
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"
    assert found == {"a": [4, 9, 11], "b": [5, 7, 12], "c": [6, 8, 10]}


def test_the_threads_of_a_limit_run_at_once():
    together = threading.Barrier(3, timeout=20)

    def prepare(_):
        return together.wait  # passes only when all three are in it

    assert in_threads(3, prepare) > 0


def test_what_a_limit_raises_is_raised_and_its_threads_end():
    def prepare(index):
        if index == 1:
            raise ZeroDivisionError("in a part")
        return lambda: None

    with pytest.raises(ZeroDivisionError, match="in a part"):
        in_threads(2, prepare)
    assert not [t for t in threading.enumerate() if t.name.startswith("limit-")]


def test_a_ratio_is_the_median_of_the_ratios_of_turns():
    report = Report("nothing", {})
    report.add({"slow": [3.0, 40.0, 5.0], "fast": [1.0, 10.0, 1.0]}, "µs")
    report.speed("fast", "slow", at_least=4.5)
    report.ratio("slow", "fast", at_most=4.5)
    report.ratio("slow", "missing")
    report.bar("fast", 1.0)
    assert [r.values for r in report.ratios] == [[3.0, 4.0, 5.0], [3.0, 4.0, 5.0], [1.0, 10.0, 1.0]]
    assert [r.median for r in report.ratios] == [4.0, 4.0, 1.0]
    assert [r.of_lowest for r in report.ratios] == [3.0, 3.0, 1.0]
    assert [r.met for r in report.ratios] == [False, True, True]
    text = report.text()
    assert "at least 4.5, MISSED" in text
    assert "at most 4.5, met" in text
    assert "(3.000 to 5.000)" in text


def test_a_report_says_everything_as_json_and_check_turns_a_missed_bar_into_a_status(tmp_path, capsys):
    report = Report("nothing", {"rounds": 3})
    report.add({"one": [2.0, 1.0, 3.0]}, "s")
    report.bar("one", 1.5)
    file = tmp_path / "new" / "report.json"
    assert report.finish(chosen("--json", str(file))) == 0
    assert report.finish(chosen("--check")) == 1
    assert "one" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["figures"]["one"] == {
        "unit": "s",
        "median": 2.0,
        "lowest": 1.0,
        "highest": 3.0,
        "values": [2.0, 1.0, 3.0],
    }
    assert found["ratios"][0] | {"values": None} == {
        "name": "one, s", "values": None, "of_lowest": 1.0, "at_least": None, "at_most": 1.5, "median": 2.0, "met": False,
    }  # fmt: skip
    assert found["parameters"] == {"rounds": 3, "workers": [1, 2], "repeats": 1}
    assert {"python", "gil", "cores", "load_average"} <= set(found["machine"])


def test_a_busy_machine_is_said_so(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (3.2, 0.0, 0.0))
    assert "load average 3.2" in Report("nothing", {}).text()
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.0, 0.0))
    assert "busy" not in Report("nothing", {}).text()


def test_numbers_are_a_list_of_whole_ones():
    assert numbers("1,2,16") == (1, 2, 16)
    for text in ("", "0", "1,", "a", "-2", "1.5"):
        with pytest.raises(argparse.ArgumentTypeError):
            numbers(text)


def test_a_peer_that_cannot_be_started_is_noted_and_makes_the_status_one(monkeypatch, capsys):
    def fail(peer):
        raise PeerError(f"{peer.name} cannot be installed: no network")

    monkeypatch.setattr("reactornb.bench.peers.environment", fail)
    report = Report("micro", {})
    asked = chosen("--peers")
    assert "xronos" in asked.peers
    for _ in range(2):
        with report.opened(asked) as found:
            assert found == {}
    assert report.missing == asked.peers
    assert report.finish(asked) == 1
    assert capsys.readouterr().out.count("not measured: xronos cannot be installed: no network") == 1


def test_peers_are_asked_for_by_name(capsys):
    assert chosen().peers == []
    assert chosen("--peers", "xronos").peers == ["xronos"]
    with pytest.raises(SystemExit):
        chosen("--peers", "xronis")
    assert "there is no peer 'xronis'" in capsys.readouterr().err


# -- limits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit",
    [
        plain_loop,
        *(partial(free_threads, threads=n) for n in (1, 2, 3)),
        *(partial(threads_in_step, threads=n) for n in (1, 2, 3)),
    ],
)
def test_a_limit_calls_every_client_once_a_round_with_the_newest_question(limit):
    calls = {client: [] for client in range(5)}  # each written by the one thread that has that client

    def make(client):
        def body(inp: Port, out: Port) -> None:
            calls[client].append(inp.value)
            out.set(inp.value + 1)

        return body

    assert limit(make, 5, 4) > 0
    assert calls == {client: [0, 1, 2, 3] for client in range(5)}


@pytest.mark.parametrize("fails", [0, 1])
def test_threads_in_step_do_not_wait_for_one_that_has_raised(fails):
    def make(client):
        def body(inp: Port, out: Port) -> None:
            if client == fails and inp.value == 2:
                raise ValueError("out of step")

        return body

    with pytest.raises(ValueError, match="out of step"):
        threads_in_step(make, 4, 10, 2)
    assert not [t for t in threading.enumerate() if t.name.startswith("limit-")]


def test_the_plain_client_replies_with_the_question_plus_one():
    inp, out = Port(), Port()
    inp.set(41)
    plain_client(0)(inp, out)
    assert out.value == 42


def test_the_heap_loop_ticks_as_often_as_its_periods_say():
    until = 100_000_000
    assert heap_loop(20, until)[1] == sum(until // period_ns(i) for i in range(20))
    assert len({period_ns(i) for i in range(200)}) == 200
    assert all(10_000_000 <= period_ns(i) < 30_000_000 for i in range(200))


# -- schedules ------------------------------------------------------------------------------------------------------------

jobs = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5)
few = settings(deadline=None, max_examples=50)  # a deadline would judge the machine


def shortest(durations, workers):
    """By trying everything."""
    ways = itertools.product(range(workers), repeat=len(durations))
    return min(
        max(sum(d for d, w in zip(durations, way, strict=True) if w == i) for i in range(workers)) for way in ways
    )


@few
@given(jobs, st.integers(1, 2))
def test_the_best_schedule_on_one_and_two_cores_is_exact(durations, workers):
    assert best_makespan(durations, workers) == pytest.approx(shortest(durations, workers))


@few
@given(jobs)
def test_the_best_schedule_on_three_cores_is_a_lower_bound(durations):
    assert best_makespan(durations, 3) <= shortest(durations, 3) * (1 + 1e-9)


@few
@given(jobs, st.integers(1, 3))
def test_jobs_taken_in_order_take_no_less_than_the_best_and_no_more_than_twice_it(durations, workers):
    took = makespan_in_order(durations, workers)
    best = shortest(durations, workers)
    assert best * (1 - 1e-9) <= took <= 2 * best * (1 + 1e-9)  # Graham 1966: 2 - 1/workers


def test_a_straggler_that_comes_last_costs_what_was_done_before_it():
    durations = [1.0] * 15 + [50.0]
    assert best_makespan(durations, 2) == 50.0
    assert makespan_in_order(durations, 2) == 57.0
    assert makespan_in_order(durations[::-1], 2) == 50.0


# -- lags -----------------------------------------------------------------------------------------------------------------


def test_median_and_95th_percentile_are_in_microseconds():
    assert summary([i / 1e6 for i in range(100, 0, -1)]) == pytest.approx({"median": 50.5, "p95": 95.0})
    assert summary([3e-6]) == pytest.approx({"median": 3.0, "p95": 3.0})


def test_drift_is_what_lags_grow_by_in_a_second():
    growing = [i * 5e-3 * 7e-6 for i in range(1000)]  # 7 µs later with every second, one tick in 5 ms
    assert lateness(growing, 5)["drift"] == pytest.approx(7.0)
    assert lateness([1e-5] * 8, 5)["drift"] == 0.0
    assert lateness([1e-5], 5)["drift"] == 0.0


def test_a_benchmark_prints_and_writes_the_build_it_ran_on():
    report = Report("made", {})
    assert report.as_dict()["machine"]["build"] == doctor.build()
    assert f"({doctor.build()} build)" in report.text()
