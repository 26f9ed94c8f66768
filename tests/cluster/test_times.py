"""A profiled run on hosts: their reactions are counted as without hosts, each of their workers has a lane, and what does not fit is refused."""

import time
from itertools import groupby

import numpy
import pytest
from stepped import Stepped
from trainings import OPTIONS, Chain, Train

from reactornb import Program, ms
from reactornb.cluster import past, times
from reactornb.cluster.errors import WireError
from reactornb.cluster.loopback import LoopbackHosts
from reactornb.cluster.packing import pack
from reactornb.cluster.remote import RemoteScheduler
from reactornb.cluster.times import IncomingTimes, OutgoingTimes
from reactornb.runtime.profile import Profiler, Times
from reactornb.runtime.timeline import SpanLog, pack_span
from reactornb.viz.profile_table import profile_html
from reactornb.viz.timeline_view import TimelineView

WAIT = 60.0  # seconds; only ever reached when something is broken


def ended(root, workers=1, **options):
    run = Program(root).start(workers=workers, profile=True, **OPTIONS, **options)
    try:
        run.result(WAIT)
    finally:
        run.stop()
    return run


def counts(run):
    return {row.reaction: row.count for row in run.profile()}


# -- runs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected():
    return counts(ended(Train(), until=ms(6)))


@pytest.fixture(scope="module")
def placed():
    return ended(Train(), 2, until=ms(6), place={"play": LoopbackHosts(2)})


def test_every_reaction_is_counted_as_without_hosts_and_says_where_it_ran(placed, expected):
    assert counts(placed) == expected
    rows = {row.reaction: row for row in placed.profile()}
    assert set(rows["train.play[0].on_t"].workers) <= {"h0.0", "h0.1"}
    assert set(rows["train.play[3].on_t"].workers) <= {"h1.0", "h1.1"}
    assert set(rows["train.learn.on_episodes"].workers) <= {0, 1}
    assert all(sum(row.workers.values()) == row.count for row in rows.values())
    assert all(row.seconds > 0 and row.waiting >= 0 for row in rows.values() if row.count)
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    folded = {row.reaction: row for row in placed.profile().by_bank()}["train.play[*].on_t"]
    assert folded.count == 4 * 7
    assert {worker[:2] for worker in folded.workers} == {"h0", "h1"}
    assert "h1." in str(placed.profile())
    assert "h1." in profile_html(placed.profile().by_bank())


def test_each_worker_of_each_host_has_a_lane_after_those_of_the_run(placed, expected):
    timeline = placed.timeline()
    labels = [lane.where.label for lane in timeline.lanes]
    hosts = [f"host {host} · worker {worker}" for host in range(2) for worker in range(2)]
    assert labels == ["worker 0", "worker 1", *hosts]
    assert timeline.dropped == 0
    assert sum(lane.count for lane in timeline.lanes) == sum(expected.values())
    for lane in timeline.lanes:
        assert (lane.begin >= 0).all()
        assert (lane.begin <= lane.end).all()
        assert (lane.begin[1:] >= lane.end[:-1]).all()
        assert (lane.end <= placed.seconds * 1e9 + 1e9).all()
    play = [event for event in timeline.events if ".play[" in event[1]]
    assert {event[0] for event in play} <= {2, 3, 4, 5}
    assert {event[4].time_ns for event in play if event[1].endswith("on_t")} == {ms(k) for k in range(7)}
    again = timeline.anew()
    assert again.is_of(timeline)
    assert len(again.events) == len(timeline.events)
    assert sum(timeline.totals()) == pytest.approx(1e9 * sum(row.seconds for row in placed.profile()))


def test_the_pictures_and_the_trace_name_the_hosts(placed):
    timeline = placed.timeline()
    view = TimelineView(timeline)
    for shown in (view.svg(), view.text()):
        for label in ("worker 1", "host 0 · worker 0", "host 1 · worker 1"):
            assert label in shown
    events = timeline.chrome_trace()["traceEvents"]
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert named == {(pid, tid): f"worker {tid}" for pid in (1, 2, 3) for tid in (0, 1)}
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert processes == {1: timeline.title, 2: "host 0", 3: "host 1"}
    ran = {e["pid"] for e in events if e["ph"] == "X" and e["name"] == "train.play[3].on_t"}
    assert ran == {3}


def test_the_panel_gets_a_label_for_each_lane(placed):
    pytest.importorskip("anywidget")
    from reactornb.viz.timeline_panel import TimelinePanel

    panel = TimelinePanel(placed.timeline())
    assert panel.labels[0] == ["worker 0", "worker 0, not pinned to a core"]
    assert panel.labels[3] == ["host 0 · worker 1", "host 0 · worker 1"]
    assert len(panel.labels) == len(panel.frame["lanes"]) == 6
    panel.close()


def test_hosts_of_several_shares_in_a_row_are_counted():
    hosts = LoopbackHosts(1)
    one = ended(Chain(), place={"first": LoopbackHosts(1), "second": LoopbackHosts(1, 2)})
    assert counts(one) == counts(ended(Chain())) == counts(ended(Chain(), place={"first": hosts, "second": hosts}))
    assert [lane.where.label for lane in one.timeline().lanes][1:] == [
        "host 0 · worker 0",
        "host 1 · worker 0",
        "host 1 · worker 1",
    ]


class Losing:
    """Loses three hosts of a run: each of two, and the first one again, maybe before it has told all that was told before."""

    def __init__(self, stepped):
        first, second = stepped.hub.members
        self.stepped = stepped
        self.left = [(first, ms(6)), (second, ms(8)), (first, ms(9))]
        self.saved = []  # batches in the state, whenever one was lost

    def __call__(self, _, draw):
        for one in self.left[:]:
            member, at = one
            if member._past.done[0] >= at and not member.machine.is_over and draw.random() < 0.2:
                self.left.remove(one)
                self.saved.append(member._past.seq)
                self.stepped.kill(member.share)


@pytest.mark.parametrize("saved_after", [10_000, 3])
def test_what_a_replacement_executes_again_is_counted_once(saved_after, monkeypatch):
    monkeypatch.setattr(past, "_MOST_BATCHES", saved_after)
    expected = counts(ended(Train(n=2), until=ms(12)))
    saved = []
    for seed in range(3):
        stepped = Stepped(Train(n=2), ["play"], 2, until=ms(12), profile=True)
        losing = Losing(stepped)
        run = stepped.go(seed, each=losing)
        assert run.failure is None
        assert counts(run) == expected, seed
        saved += losing.saved
        assert sum(lane.count for lane in run.timeline().lanes) > sum(expected.values()), "the timeline has both"
    assert 6 <= len(saved) <= 9
    assert any(saved) == (saved_after == 3)


def test_a_host_of_a_run_that_is_not_profiled_takes_no_times(monkeypatch):
    seen, take = [], RemoteScheduler._take_report

    def taken(self, told):
        seen.append(told.spans)
        take(self, told)

    monkeypatch.setattr(RemoteScheduler, "_take_report", taken)
    stepped = Stepped(Train(n=2), ["play"], 2, until=ms(3))
    assert stepped.go(1).failure is None
    assert set(seen) == {None}
    for host in stepped.hosts_by_share.values():
        assert host.share._profiler is None
        assert not host.share.scheduler.level_runner.profiled


def test_a_host_that_tells_what_does_not_fit_ends_the_run(monkeypatch):
    monkeypatch.setattr(times.OutgoingTimes, "pack", lambda _: pack({"clock": 1}))
    run = Program(Train()).start(workers=1, profile=True, place={"play": LoopbackHosts(2)}, **OPTIONS)
    with pytest.raises(WireError, match=r"Report\.spans"):
        run.result(WAIT)


# -- parts --------------------------------------------------------------------------------------------------------------


def incoming(workers=2, kept=1_000_000):
    """Reactions 1 and 3 of five are the share's."""
    into = Times(5, workers, kept)
    return into, IncomingTimes(into, [1, 3], 5, 1000)


def told(**changes):
    """Two spans of reaction 3 and one of reaction 1, of a host with a clock that is a million seconds late."""
    given = {
        "clock": 500,
        "totals": numpy.array([[3, 2, 20, 1], [1, 1, 30, 0]]),
        "workers": numpy.array([[3, 0, 1], [3, 1, 1], [1, 1, 1]]),
        "spans": [numpy.array([[3, 100, 110, 7, 0]]), numpy.array([[3, 100, 110, 7, 1], [1, 200, 230, 8, 0]])],
    }
    return pack({**given, **changes})


ONE = [[3, 1, 1, 0]]


@pytest.mark.parametrize(
    "value",
    [
        pack(None), pack([]), pack({"clock": 5}), told(more=1), told(clock=-1), told(clock=1.0), told(clock=True), told(clock=1 << 62),
        told(totals=ONE), told(totals=numpy.array(ONE, float)), told(totals=numpy.array(ONE, ">i8")), told(totals=numpy.array(ONE[0])),
        told(totals=numpy.array([[3, 1, 1]])), told(totals=numpy.array([[2, 1, 1, 0]])), told(totals=numpy.array([[5, 1, 1, 0]])),
        told(totals=numpy.array([[-2, 1, 1, 0]])), told(totals=numpy.array([[3, -1, 1, 0]])), told(totals=numpy.array([[3, 1, 1 << 62, 0]])),
        told(totals=numpy.ma.masked_array(ONE)), told(workers=numpy.array([[3, 2, 1]])), told(workers=numpy.array([[3, -1, 1]])),
        told(workers=numpy.array([[0, 1, 1]])), told(workers=None), told(spans={}), told(spans=[]), told(spans=[numpy.zeros((0, 5), int)] * 3),
        told(spans=[numpy.zeros((0, 5), int), None]), told(spans=[numpy.zeros((0, 5), int), numpy.zeros((1, 4), int)]),
        *(
            told(spans=[numpy.zeros((0, 5), int), numpy.array([row])])
            for row in ([0, 1, 2, 0, 0], [5, 1, 2, 0, 0], [-1, 1, 2, 0, 0], [3, 3, 2, 0, 0], [3, 1, 501, 0, 0], [3, -1, 2, 0, 0], [3, 1, 2, -1, 0],
                        [3, 1, 2, 0, -5], [3, 1, (1 << 63) - 1, 0, 0])
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_of_it_is_added(value):
    into, taking = incoming()
    with pytest.raises(WireError) as refused:
        taking.take(value)
    assert refused.value.field == "Report.spans"
    assert into.totals == Times.none(5)
    assert all(not len(log.since(0)[1]) for log in into.logs)


def spans(into):
    return [log.since(0)[1].tolist() for log in into.logs]


def test_the_spans_of_another_clock_are_moved_to_this_one_and_stay_in_order(monkeypatch):
    into, taking = incoming()
    now = iter([10**15 + 900, 10**15 + 700, 10**15 + 5000])
    monkeypatch.setattr(times.time, "perf_counter_ns", lambda: next(now))
    taking.take(told())
    shift = 10**15 + 400
    assert spans(into) == [
        [[3, 100 + shift, 110 + shift, 7, 0]],
        [[3, 100 + shift, 110 + shift, 7, 1], [1, 200 + shift, 230 + shift, 8, 0]],
    ]
    taking.take(told())  # which came faster: the spans are earlier, but never before those that are known
    last = 230 + shift
    assert spans(into)[1][2:] == [[3, last, last, 7, 1], [1, last, last, 8, 0]]
    taking.take(told())  # the shift of the fastest counts
    assert spans(into)[0][-1][1] == max(spans(into)[0][1][2], 100 + shift - 200)
    assert into.totals[3] == [6, 60, 3, {0: 3, 1: 3}]


def test_the_same_clock_a_moment_later_is_the_same_clock(monkeypatch):
    into, taking = incoming()
    monkeypatch.setattr(times.time, "perf_counter_ns", lambda: 10_000_500)
    taking.take(told(clock=10_000, spans=[numpy.array([[3, 2000, 2100, 0, 0]]), numpy.zeros((0, 5), int)]))
    assert spans(into)[0] == [[3, 2000, 2100, 0, 0]]
    taking.take(told(clock=10_000, spans=[numpy.array([[3, 10, 3000, 0, 0]]), numpy.array([[3, 10, 20, 0, 0]])]))
    assert spans(into)[0][1] == [3, 2100, 3000, 0, 0]
    assert spans(into)[1] == [[3, 1000, 1000, 0, 0]], "not before the run began"


def test_what_was_told_since_the_last_state_is_taken_back_when_the_replacement_tells():
    into, taking = incoming()
    taking.take(told())
    taking.mark()
    taking.take(told())
    taking.again()
    assert into.totals[3][0] == 4, "as long as nobody tells anything else"
    taking.again()
    taking.take(None)
    assert into.totals[3] == [2, 20, 1, {0: 1, 1: 1}]
    taking.take(told())
    assert into.totals[3][0] == 4
    taking.again()
    taking.take(told())
    assert into.totals[3][0] == 4
    assert into.totals[1] == [2, 60, 0, {1: 2}]


def test_a_host_tells_what_is_new_and_both_sides_keep_no_more_than_the_share():
    graph = Program(Train()).graph
    here = Profiler(graph, 2, 16_384, hosts=[1, 1])
    assert here.kept == 4096
    there = Profiler(graph, 1, here.kept)
    own = [1, 2]
    sending = OutgoingTimes(there.own, own)
    taking = IncomingTimes(here.hosts[1], own, len(graph.reactions), 0)
    assert sending.pack() is None
    for burst in (1, 10, 3000, 3000, 9000):
        for _ in range(burst):
            now = time.perf_counter_ns()
            there.own.totals[1][0] += 1
            there.own.totals[1][3][0] = there.own.totals[1][0]
            there.own.logs[0].extend(pack_span(1, now, now, 0, 0))
        taking.take(sending.pack())
        assert sending.pack() is None
    assert here.hosts[1].totals[1][0] == 15_011
    for log in (there.own.logs[0], here.hosts[1].logs[0]):
        assert 4096 <= len(log.since(0)[1]) <= 4096 + 2 * SpanLog.SIZE
    assert [name for name, _ in groupby(row[0] for row in spans(here.hosts[1])[0])] == [1]
