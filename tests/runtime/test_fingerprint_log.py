"""A hash of each write: two runs are told where they parted, and `reactornb diff` says it."""

import pytest

from reactornb import Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction
from reactornb.__main__ import main
from reactornb.errors import MalformedDataError, RunError
from reactornb.runtime.fingerprint_log import FingerprintLog
from reactornb.runtime.trace import Recorder, Written
from reactornb.tags import Tag


class Source(Reactor):
    out = Output[list]()
    tick = Timer(0, ms(1))
    odd: int = -1

    @reaction(tick)
    def on_tick(self, out):
        now = self.time_ns // 10**6
        out.set([now, -0.0 if now == self.odd else 0.0])


class Relay(Reactor):
    into = Input()
    out = Output()

    @reaction(into)
    def on_into(self, into, out):
        out.set(into.value * 2)


class Main(Reactor):
    odd: int = -1
    apart: bool = False

    def compose(self):
        self.a_last = (
            enclave(Relay()) if self.apart else Relay()
        )  # before its source: the order of the declaration is not that of the writes
        self.source = Source(odd=self.odd)
        self.relay = Relay()
        connect(self.source.out, self.relay.into)
        connect(self.relay.out, self.a_last.into)


def log(workers=1, until=8, **parameters):
    run = Program(Main, **parameters).start(workers=workers, until=ms(until), fast=True, fingerprint_log=True)
    run.result()
    return run.fingerprint_log


def test_runs_that_wrote_the_same_have_no_difference_for_any_number_of_workers():
    first = log()
    assert len(first) == 4 * 9
    for workers in (1, 2, 8):
        assert first.difference(log(workers)) is None


def test_enclaves_leave_the_log_as_it_is():
    for workers in (1, 2, 8):
        assert log(odd=5).difference(log(workers, odd=5, apart=True)) is None


def test_the_first_tag_and_port_are_named_though_later_ones_follow_and_come_first_in_the_declaration():
    one, other = log(), log(odd=5)
    found = one.difference(other)
    assert (found.tag, found.name) == (Tag(5_000_000, 0), "main.source.out")
    assert found.writer.startswith("main.source.on_tick (")
    assert found.hashes[0] != found.hashes[1]
    assert found.others == ("main.relay.out", "main.a_last.out")
    assert other.difference(one).hashes == found.hashes[::-1]


def test_a_run_that_ended_earlier_wrote_nothing_at_the_next_tag():
    found = log(until=8).difference(log(until=3))
    assert (found.tag, found.name, found.writer, found.hashes[1]) == (Tag(4_000_000, 0), "main.source.tick", "", None)


def test_a_run_with_a_log_has_the_fingerprint_of_one_without():
    without = Program(Main).run(workers=1, until=ms(3), fast=True, fingerprint=True)
    assert without.fingerprint == Program(Main).run(workers=2, until=ms(3), fast=True, fingerprint_log=True).fingerprint
    run = Program(Main).start(workers=1, until=ms(3), fast=True, fingerprint=True)
    run.result()
    with pytest.raises(RunError, match="start it with fingerprint_log=True"):
        run.fingerprint_log  # noqa: B018


def test_a_log_comes_back_from_its_file(tmp_path):
    kept = log(odd=5)
    there = FingerprintLog.load(kept.save(tmp_path / "a.log"))
    assert there.difference(kept) is None
    assert there.difference(log()) == kept.difference(log())
    assert (there.program, there.seed, len(there)) == ("main", 0, len(kept))


def test_a_damaged_log_is_refused_with_its_line(tmp_path):
    lines = log(until=3).save(tmp_path / "good").read_text().splitlines(keepends=True)
    assert len(lines) == 17
    bad = tmp_path / "bad"
    for damaged, line in {
        "nothing": ([], 1),
        "another file": (["{}\n"], 1),
        "no JSON": (["hello\n"], 1),
        "a line lost": (lines[:-1], 16),
        "a line cut": ([*lines[:-1], lines[-1][:9]], 17),
        "no number": ([*lines[:5], "0 0 x 0\n", *lines[6:]], 6),
        "a number without a name": ([*lines[:5], "0 0 999 0\n", *lines[6:]], 6),
        "out of order": ([lines[0], *lines[:0:-1]], 6),
        "a hash too long": ([*lines[:5], f"0 0 0 {'f' * 17}\n", *lines[6:]], 6),
    }.values():
        bad.write_text("".join(damaged))
        with pytest.raises(MalformedDataError, match=f"line {line}: this is no fingerprint log"):
            FingerprintLog.load(bad)
    bad.write_bytes(b"\xff\xfe" * 40)
    with pytest.raises(MalformedDataError):
        FingerprintLog.load(bad)


PROGRAM = """
from reactornb import Output, Reactor, Timer, ms, reaction

class Main(Reactor):
    needs_physical_time = False
    out = Output[int]()
    tick = Timer(0, ms(1))
    odd: int = -1

    @reaction(tick)
    def on_tick(self, out):
        out.set(7 if self.time_ns == self.odd else 6)
"""


def test_the_command_line_writes_and_compares(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.py").write_text(PROGRAM)
    for name, words in {"a": [], "b": [], "c": ["odd=3000000", "--seed", "2"]}.items():
        assert main(["run", "it.py", "--until", "6ms", "-q", "--fingerprint-log", name, *words]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[1] == printed[3] != printed[5]
    assert main(["diff", "a", "b"]) == 0
    assert capsys.readouterr().out == "no difference: 14 writes\n"
    assert main(["diff", "a", "c"]) == 1
    said = capsys.readouterr()
    first, a, c = said.out.splitlines()
    assert first.startswith("the first difference: tag (3 ms, 0), main.out, written by main.on_tick (")
    assert "it.py, line 10" in first
    assert a.split()[1:] == ["a"]
    assert c.split()[1:] == ["c"]
    assert "two seeds: 0 and 2" in said.err


def test_the_command_line_says_what_it_cannot_read(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("text")
    assert main(["diff", "text", "text"]) == 2
    assert "text, line 1: this is no fingerprint log" in capsys.readouterr().err
    assert main(["diff", "nowhere", "text"]) == 2
    assert "nowhere: No such file or directory." in capsys.readouterr().err


def test_what_an_enclave_writes_that_went_back_behind_others_has_its_place(tmp_path):
    rows = [((0, 0), (0, "a", 1)), ((5, 0), (0, "a", 2)), ((5, 0), (1, "b", 3)), ((7, 1), (0, "a", 4))]
    orders = [rows, [rows[0], rows[3], rows[2], rows[1]]]
    logs = [FingerprintLog("main", 0) for _ in orders]
    for log, order in zip(logs, orders, strict=True):
        for tag, row in order:
            log.add(tag, [row])
    assert logs[0].difference(logs[1]) is None
    assert FingerprintLog.load(logs[1].save(tmp_path / "log")).difference(logs[0]) is None
    recorder = Recorder(trace=True)
    recorder.apart = True
    for tag, (number, name, _) in orders[1]:
        recorder.end_of_tag(tag, [Written(0, [(number, name, None)], [])])
    recorder.finish()
    assert recorder.trace.writes == [(Tag(*tag), name, None) for tag, (_, name, _) in rows]
