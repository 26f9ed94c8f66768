"""Experiments 1 and 2: what clients send, what fits into the memory, and the bars; small, with a peer that only answers."""

import argparse
import contextlib
import json

import numpy as np
import pytest

from reactornb import Program, Reactor, reaction
from reactornb.bench import actors, objects
from reactornb.bench.actors import Case, Senders, threads_at_a_barrier
from reactornb.bench.broadcast import Server, wire
from reactornb.bench.measure import Report
from reactornb.bench.peers import PEERS
from reactornb.bench.peers.bodies import Sender

SMALL = {"clients": 3, "size": 80, "sleep_s": 0.0, "rounds": 4}


class Answering:
    """Stands for a peer's process; its seconds are those of the sleep and `over` more per round."""

    def __init__(self, over):
        self.over = over
        self.asked = []

    def seconds(self, benchmark, *, timeout, **parameters):
        self.asked.append((benchmark, parameters))
        return parameters["rounds"] * (parameters["sleep_s"] + self.over)


@pytest.fixture
def ray(monkeypatch):
    """Peers of any report: one that needs a second a round."""
    peer = Answering(1.0)
    monkeypatch.setattr(
        Report, "opened", lambda self, chosen: contextlib.nullcontext(dict.fromkeys(chosen.peers, peer))
    )
    return peer


def test_a_sender_hands_out_what_it_has_or_a_copy():
    sender = Sender(80)
    assert sender.array.dtype == np.float64
    assert sender.array.shape == (10,)
    assert sender.reply(0.0, False) is sender.array
    copy = sender.reply(0.0, True)
    assert np.array_equal(copy, sender.array)
    assert not np.shares_memory(copy, sender.array)


@pytest.mark.parametrize("copied", [False, True])
def test_all_clients_send_in_every_round_with_any_number_of_workers(copied):
    found = [
        Program(Senders, copied=copied, **SMALL).run(workers=workers, fast=True, fingerprint=True, trace=True)
        for workers in (1, 2, 8)
    ]
    assert len({result.fingerprint for result in found}) == 1
    sent = [value for _, name, value in found[0].trace.writes if name.endswith(".out")]
    assert [np.asarray(value).tolist() for value in sent] == [[1.0] * 10] * 12


class Keeping(Server):
    """Keeps the second client's replies."""

    @reaction(Server.replies)
    def on_replies(self, replies, ask):
        self.kept = [*getattr(self, "kept", ()), replies.values[1]]
        self.round += 1
        if self.round < self.rounds:
            ask.set(self.round)
        else:
            self.request_stop()


@pytest.mark.parametrize("copied", [False, True])
def test_by_reference_all_rounds_send_one_memory_and_nothing_of_it_stays_with_the_client(copied):
    class Root(Reactor):
        def compose(self):
            wire(self, actors.Client, 3, 4, server=Keeping, size=80, sleep_s=0.0, copied=copied)

    program = Program(Root)
    program.run(workers=2, fast=True)
    kept = program.last_run.instance("server").kept
    assert [value.tolist() for value in kept] == [[1.0] * 10] * 4
    assert all(np.shares_memory(value, kept[0]) for value in kept[1:]) is not copied
    assert not any(value.flags.writeable for value in kept)
    assert not hasattr(program.last_run.instance("client[1]"), "sender")


def test_threads_meet_after_each_round_and_an_error_ends_them_all(monkeypatch):
    assert threads_at_a_barrier(copied=True, **SMALL) > 0

    def fail(self, sleep_s, copied):
        raise ZeroDivisionError

    monkeypatch.setattr(Sender, "reply", fail)
    with pytest.raises(ZeroDivisionError):
        threads_at_a_barrier(copied=True, **SMALL)


def test_both_benchmarks_have_ray_as_their_peer():
    assert {"actors", "objects"} <= set(PEERS["ray"].benchmarks)


@pytest.mark.slow
def test_actors_measures_both_kinds_beside_threads_and_a_peer(ray, tmp_path):
    file = tmp_path / "found.json"
    words = "--clients 2,3 --size 80 --sleep 0.001 --rounds 2 --repeats 1 --peers ray --as-published --check --json"
    assert actors.main([*words.split(), str(file)]) == 0
    found = json.loads(file.read_text())
    kinds = ("threads, by reference", "reactors, by reference", "threads, copied", "reactors, copied", "ray")
    assert {f"{n} clients, {kind}" for n in (2, 3) for kind in (*kinds, "ray, as published")} == set(found["figures"])
    assert found["figures"]["2 clients, ray"]["median"] == pytest.approx(1000.0)
    assert {parameters["copied"] for _, parameters in ray.asked} == {False, True}
    assert all(ratio["met"] is None for ratio in found["ratios"])  # not the paper's sizes


@pytest.mark.slow
def test_a_missed_bar_is_the_exit_status(ray, monkeypatch):
    monkeypatch.setattr(actors, "SIZE", 80)
    words = [
        "--clients",
        "16",
        "--size",
        "80",
        "--sleep",
        "0",
        "--rounds",
        "1",
        "--repeats",
        "1",
        "--peers",
        "ray",
        "--check",
    ]
    ray.over = 1e6
    assert actors.main(words) == 0
    ray.over = 1e-9  # a peer that is faster than any scheduler
    assert actors.main(words) == 1


@pytest.mark.slow
def test_objects_compares_the_largest_with_the_smallest_size(tmp_path):
    file = tmp_path / "found.json"
    words = "--clients 2 --sizes 4KB,1KB --sleep 0.001 --rounds 2 --repeats 1 --json"
    assert objects.main([*words.split(), str(file)]) == 0
    found = json.loads(file.read_text())
    assert "reactors, by reference: 4 KB / 1 KB" in {ratio["name"] for ratio in found["ratios"]}
    assert "1 KB, reactors, copied" in found["figures"]


@pytest.mark.slow
def test_what_does_not_fit_is_left_out_and_said(monkeypatch, ray, capsys):
    monkeypatch.setattr(actors, "available_bytes", lambda: 10_000)
    assert (
        objects.main(
            [
                "--clients",
                "2",
                "--sizes",
                "1KB,2KB,8KB",
                "--sleep",
                "0",
                "--rounds",
                "1",
                "--repeats",
                "1",
                "--peers",
                "ray",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "\n1 KB, reactors, copied " in said
    assert "\n2 KB, reactors, by reference " in said
    for name in ("1 KB, ray", "2 KB, reactors, copied", "8 KB, reactors, by reference"):
        assert f"note: {name}: not measured, it needs " in said
        assert f"\n{name}  " not in said


def test_a_large_case_has_a_store_of_its_own_size():
    small, large = Case("", 16, 10 * 2**20), Case("", 16, 500 * 2**20)
    assert small.store_bytes == 0
    assert 16 * large.size < large.store_bytes < large.needs("peer") - 16 * large.size + 1
    assert large.needs("by reference") == 16 * large.size == large.needs("copied") // 3


@pytest.mark.parametrize(("text", "size"), [("1KB", 1024), ("10 MB", 10_485_760), ("4096", 4096), ("8B", 8)])
def test_sizes_are_read_as_they_are_written(text, size):
    assert objects.size_in_bytes(text) == size
    assert objects.size_in_bytes(objects.size_word(size)) == size


@pytest.mark.parametrize("text", ["", "KB", "7", "12B", "1.5MB", "-8"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no size such as 1KB"):
        objects.size_in_bytes(text)
