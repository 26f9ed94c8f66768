"""Timelines on their way to a picture: bounded memory, nothing missed and nothing invented, whatever the zoom."""

import json
import struct
import threading
from xml.etree import ElementTree

import numpy as np
import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction
from reactornb.errors import ReactorError
from reactornb.runtime import FakeClock
from reactornb.runtime.profile import Profile, ProfileRow
from reactornb.runtime.timeline import Lane, SpanLog, Timeline, Where, pack_span
from reactornb.viz.profile_table import profile_html
from reactornb.viz.spans import decimate, tag_changes
from reactornb.viz.timeline_file import save_timeline
from reactornb.viz.timeline_view import TimelineView


class Source(Reactor):
    tick = Timer(0, ms(1))
    go = Output()

    @reaction(tick)
    def on_tick(self, go):
        go.set(sum(range(500)))


class Work(Reactor):
    go = Input()

    @reaction(go)
    def on_go(self, go):
        sum(range(500))


class Main(Reactor):
    def compose(self):
        self.source = Source()
        self.work = Bank(Work, 3)
        connect(self.source.go, self.work.go, broadcast=True)


@pytest.fixture(scope="module")
def run():
    run = Program(Main()).start(workers=2, clock=FakeClock(), until=ms(99), profile=True, placement="none")
    run.result(20)
    return run


def log_of(spans, keep=1_000_000):
    """What a worker keeps of (begin, end) or (begin, end, reaction, time, microstep)."""
    log = SpanLog(keep)
    for begin, end, *more in spans:
        reaction, time_ns, microstep = more or (0, 0, 0)
        log.last.append(pack_span(reaction, begin, end, time_ns, microstep))
        if len(log.last) == SpanLog.SIZE:
            log.close()
    return log


def lane_of(spans, keep=1_000_000):
    lane = Lane(log_of(spans, keep), 0, Where(0))
    lane.refresh()
    return lane


# -- what is kept -------------------------------------------------------------------------------------------------------


def test_a_log_keeps_the_newest_spans_and_says_how_many_it_dropped():
    log = log_of([(10 * i, 10 * i + 5) for i in range(10_000)], keep=3000)
    lane = Lane(log, 0, Where(0))
    assert lane.refresh()
    assert not lane.refresh()
    assert lane.dropped + lane.count == 10_000
    assert 3000 <= lane.count <= 3000 + 2 * SpanLog.SIZE
    assert lane.begin[-1] == 99_990
    assert lane.begin[0] == 10 * lane.dropped


def test_a_lane_that_is_read_often_stays_as_small_and_loses_no_span_in_between():
    log = SpanLog(4096)
    lane = Lane(log, 0, Where(0))
    most = 0
    for i in range(60_000):
        log.last.append(pack_span(i % 7, 10 * i, 10 * i + 4, i, 0))
        if len(log.last) == SpanLog.SIZE:
            log.close()
        if i % 777 == 0:
            lane.refresh()
            most = max(most, lane.count, lane._columns.shape[1])
    lane.refresh()
    assert most <= 4096 * 1.5
    assert lane.dropped + lane.count == 60_000
    assert (np.diff(lane.begin) == 10).all()
    assert (np.diff(lane.busy) == 4).all()
    assert lane.busy[0] == 4 * lane.dropped


def test_a_reader_that_was_away_too_long_shows_no_hole():
    log = SpanLog(1024)
    lane = Lane(log, 0, Where(0))
    log.last.append(pack_span(0, 1, 2, 0, 0))
    lane.refresh()
    for i in range(10_000):
        log.last.append(pack_span(0, 10 * i + 10, 10 * i + 14, 0, 0))
        if len(log.last) == SpanLog.SIZE:
            log.close()
    lane.refresh()
    assert lane.dropped + lane.count == 10_001
    assert (np.diff(lane.begin) == 10).all()


@pytest.mark.slow
def test_spans_read_while_they_are_written_are_whole_and_in_order():
    log, barrier = SpanLog(8192), threading.Barrier(2)

    def write():
        barrier.wait(10)
        for i in range(100_000):
            log.last.append(pack_span(i, i, i + 1, i, i))
            if len(log.last) == SpanLog.SIZE:
                log.close()

    writer = threading.Thread(target=write)
    writer.start()
    lane = Lane(log, 0, Where(0))
    barrier.wait(10)
    while lane.dropped + lane.count < 100_000:
        lane.refresh()
        assert (np.diff(lane.begin) == 1).all()
        assert (lane.begin == lane.reaction).all()
        assert (lane.microstep == lane.time_ns).all()
    writer.join()


# -- what is drawn ------------------------------------------------------------------------------------------------------


def test_few_spans_are_drawn_as_they_are():
    lane = lane_of([(100, 200), (300, 301), (500, 900)])
    drawn = decimate(lane, 0, 1000, 100)
    assert drawn.single.tolist() == [0, 1, 2]
    assert len(drawn.bins) == 0


def test_a_crowded_pixel_says_how_many_how_busy_and_the_longest():
    spans = [(i, i + 1, 0, 0, 0) for i in range(0, 400, 4)]  # a quarter busy
    spans += [(400 + 100 * i, 470 + 100 * i, 1, 0, 0) for i in range(2)]  # 70 of 100 each
    spans += [(480, 481, 0, 0, 0), (490, 491, 0, 0, 0)]
    lane = lane_of(sorted(spans))
    drawn = decimate(lane, 0, 1000, 10)
    assert drawn.bins.tolist() == [0, 1, 2, 3, 4]
    assert drawn.counts.tolist() == [25, 25, 25, 25, 3]
    assert drawn.busy == pytest.approx([0.25, 0.25, 0.25, 0.25, 0.72])
    assert lane.reaction[drawn.shown].tolist() == [0, 0, 0, 0, 1]
    assert lane.begin[drawn.single].tolist() == [500]


@pytest.mark.parametrize("seed", range(8))
def test_at_every_zoom_each_span_is_drawn_once_or_counted_once(seed):
    rng = np.random.default_rng(seed)
    gaps, lengths = rng.integers(0, 50, 5000), (rng.pareto(1.0, 5000) * 20 + 1).astype(int)
    begins = np.cumsum(gaps + np.concatenate(([0], lengths[:-1])))
    ends = begins + lengths
    lane = lane_of(zip(begins.tolist(), ends.tolist(), strict=True))
    whole = int(ends[-1])
    for begin, end in ((0, whole), (whole // 3, whole // 2), (whole // 3, whole // 3 + 5000), (begins[70], ends[90])):
        for bins in (50, 900):
            drawn = decimate(lane, int(begin), int(end), bins)
            inside = int(((begins >= begin) & (begins < end)).sum())
            before = int((begins[drawn.single] < begin).sum())
            assert len(drawn.single) - before + drawn.counts.sum() == inside
            assert before <= 1
            assert len(drawn.single) + len(drawn.bins) <= 2 * bins + 1
            wide = np.flatnonzero((begins < end) & (ends > begin) & (lengths > (end - begin) / bins + 1))
            assert set(wide) <= set(drawn.single.tolist())
            assert (drawn.busy > 0).all()


def test_tags_begin_with_their_first_span_on_any_worker():
    lanes = [
        lane_of([(100, 200, 0, 0, 0), (300, 400, 0, 5, 0), (600, 700, 0, 5, 1)]),
        lane_of([(250, 290, 0, 5, 0), (500, 550, 0, 5, 0)]),
    ]
    assert tag_changes(lanes, 0, 1000, 100, 10) == [(100, 0, 0), (250, 5, 0), (600, 5, 1)]
    assert tag_changes(lanes, 0, 1000, 100, 2) is None
    assert tag_changes(lanes, 450, 580, 100, 10) == [(250, 5, 0)], "the tag that is on as the window begins"


# -- pictures, words, files ---------------------------------------------------------------------------------------------


def test_the_view_says_what_each_worker_did_in_words_and_in_a_small_picture(run):
    view = TimelineView(run.timeline())
    assert view.kinds == ["Source.on_tick", "Work.on_go"]
    said = view.text()
    assert "400 reactions" in said
    assert "worker 0: " in said
    assert "Work.on_go" in said
    assert sum(share for _, share in view.shares()) == pytest.approx(1)
    picture = view.svg()
    root = ElementTree.fromstring(picture)
    assert root.get("role") == "img"
    assert "400 reactions" in root.find("{http://www.w3.org/2000/svg}title").text
    assert len(picture) < 60_000


def test_the_ending_of_the_file_says_how_a_timeline_is_saved(run, tmp_path):
    timeline = run.timeline()
    trace = json.loads(save_timeline(timeline, tmp_path / "new" / "t.json").read_text())
    assert trace == timeline.chrome_trace()
    assert save_timeline(timeline, tmp_path / "t.svg", ms(1)).read_text().startswith("<svg")
    with pytest.raises(ReactorError, match=r"t\.gif: a timeline is saved as \.json"):
        save_timeline(timeline, tmp_path / "t.gif")


def test_a_timeline_is_a_figure_for_papers(run, tmp_path):
    pytest.importorskip("matplotlib")
    assert save_timeline(run.timeline(), tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_of_one_microsecond_and_one_without_reactions_have_pictures():
    class Empty(Reactor):
        pass

    run = Program(Empty()).start(workers=1, clock=FakeClock(), profile=True, placement="none")
    run.result(20)
    view = TimelineView(run.timeline())
    assert "nothing yet" in view.text()
    assert view.svg().startswith("<svg")
    assert tag_changes([lane_of([(5, 6)])], 5, 6, 100, 10) == [(5, 0, 0)]


# -- the panel ----------------------------------------------------------------------------------------------------------


def unpacked(panel):
    """Per lane (begins, counts) of what was sent."""
    at, found = 0, []
    for n, m, _ in panel.frame["lanes"]:
        begins = struct.unpack_from(f"<{n}f", panel.spans, at + 8 * n)
        counts = struct.unpack_from(f"<{m}i", panel.spans, at + 24 * n + 8 * m)
        at += 24 * n + 16 * m
        found.append((begins, counts))
    assert at == len(panel.spans)
    return found


def test_the_panel_sends_what_the_page_asks_for_on_the_loops_thread(run):
    pytest.importorskip("anywidget")
    from reactornb.viz.timeline_panel import TimelinePanel

    later = []
    panel = TimelinePanel(run.timeline(), later=later.append)
    assert sum(len(b) + sum(c) for b, c in unpacked(panel)) == 400
    assert panel.state["follows"] is False
    begin, end = panel.frame["window"]
    half = (begin + end) // 2
    panel._on_message(panel, {"do": "look", "from": half, "to": end, "width": 700, "asked": "a:1"}, [])
    assert panel.frame["window"] == [begin, end], "on whatever thread the message came"
    later.pop()()
    assert panel.frame["window"] == [half, end]
    assert panel.frame["asked"] == "a:1"
    assert panel.frame["bins"] == 1400
    panel._answer({"do": "look", "from": "x", "to": None})
    panel._answer({"do": "look", "from": 0, "to": 1, "all": True})
    assert panel.frame["window"] == [begin, end]
    names = panel.frame["names"].values()
    assert [name for name, _, _ in names if name == "main.work[1].on_go"]
    assert panel.static()["image/svg+xml"].startswith("<svg")
    assert not panel.refresh()
    assert not panel.refresh()
    panel.close()


def test_the_panels_trace_is_saved_beside_the_notebook(run, tmp_path, monkeypatch):
    pytest.importorskip("anywidget")
    from reactornb.viz.timeline_panel import TimelinePanel

    monkeypatch.chdir(tmp_path)
    done = threading.Event()
    panel = TimelinePanel(run.timeline(), later=lambda fn: (fn(), done.set()))
    panel._answer({"do": "trace"})
    assert done.wait(20)
    (file,) = tmp_path.glob("main-*-timeline.json")
    assert f"saved {file.resolve()}" in panel.said
    assert len(json.loads(file.read_text())["traceEvents"]) == 403
    panel.close()


@pytest.mark.slow
def test_a_panel_of_a_million_spans_sends_no_more_than_its_pixels_show(run):
    pytest.importorskip("anywidget")
    from reactornb.viz.timeline_panel import TimelinePanel

    logs = [log_of((1000 * i, 1000 * i + 700, i % 4, i // 100, 0) for i in range(500_000)) for _ in range(2)]
    timeline = Timeline(
        "run 1 of main", run.program.graph, logs, 0, [Where(0), Where(1)], lambda: [1] * 4, lambda: False
    )
    panel = TimelinePanel(timeline)
    assert sum(len(b) + sum(c) for b, c in unpacked(panel)) == 1_000_000
    assert len(panel.spans) < 150_000
    panel.close()


# -- the table ----------------------------------------------------------------------------------------------------------


def test_a_profile_folds_banks_and_is_a_table_that_sums_up_what_is_too_long(run):
    folded = {row.reaction: row for row in run.profile().by_bank()}
    assert folded["main.work[*].on_go"].count == 300
    assert sum(row.share for row in folded.values()) == pytest.approx(1)
    table = profile_html(run.profile())
    assert table.count("<tr>") == 5
    assert "main.work[2].on_go" in table
    rows = Profile(ProfileRow(f"main.a[{i}].<on_x>", 1, 1.0, 0.01, 0.0, dict.fromkeys(range(9), 1)) for i in range(100))
    table = profile_html(rows)
    assert "60 others" in table
    assert "&lt;on_x&gt;" in table
    assert "and 5 more" in table
    assert profile_html(Profile()).count("<tr>") == 1
