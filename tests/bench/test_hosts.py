"""`reactornb bench hosts`: its relay, its program, and each of its parts, small."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from reactornb import Program, ms
from reactornb.bench import hosts, peers
from reactornb.bench.hosts_runs import Rounds, round_seconds
from reactornb.bench.measure import Report
from reactornb.bench.peers import opened
from reactornb.bench.peers.bodies import Answers
from reactornb.bench.slow_link import Relay

WAIT = 60.0  # seconds; only ever reached when something is broken


def test_a_relay_passes_everything_on_later_and_leaves_nothing():
    sent = os.urandom(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname()[:2], 0.02)
        began = time.monotonic()
        with socket.create_connection(relay.address, WAIT) as ours, server.accept()[0] as theirs:
            writer = threading.Thread(target=lambda: (ours.sendall(sent), ours.shutdown(socket.SHUT_WR)))
            writer.start()
            with theirs.makefile("rb") as came:
                assert came.read(1) == sent[:1]
                assert time.monotonic() - began >= 0.02
                assert came.read() == sent[1:]  # up to the end, which comes through, too
            writer.join()
            theirs.sendall(b"answer")
            assert ours.recv(6) == b"answer"
            relay.close()
            assert ours.recv(1) == b""
        relay.close()
    assert "slow-link" not in {thread.name for thread in threading.enumerate()}


def test_a_relay_to_where_nobody_listens_closes_who_dials():
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[:2]
    relay = Relay(nobody, 0.0)
    with socket.create_connection(relay.address, WAIT) as ours:
        assert ours.recv(1) == b""
    relay.close()


@pytest.mark.parametrize("staleness", [0, 1])
def test_every_round_has_an_answer_of_each_player_with_any_number_of_workers(staleness):
    parameters = {"players": 3, "size": 80, "floats": 2, "staleness": staleness}
    found = [
        Program(Rounds, **parameters).run(
            workers=workers, until=ms(5 + staleness), fast=True, fingerprint=True, trace=True
        )
        for workers in (1, 2, 8)
    ]
    assert len({result.fingerprint for result in found}) == 1
    answers = [(tag.time_ns, value[0]) for tag, name, value in found[0].trace.writes if name.endswith("[1].answer")]
    # A weight is the number of rounds that were over when it was sent: at the tag of a round, after it.
    assert [at for at, _ in answers] == [ms(1 + staleness + i) for i in range(5)]
    assert [weight for _, weight in answers] == [max(0, i - staleness) for i in range(5)]
    assert len(round_seconds(None, 4, **parameters)) == 4


def test_answers_are_as_long_as_asked_for():
    one, other = Answers(2, 3).answers([7.0])
    assert one.tolist() == other.tolist() == [7.0] * 3
    assert one.nbytes == 12


class Answering:
    """Stands for a peer's process, which needs a second a round."""

    def __init__(self):
        self.asked = []

    def seconds(self, benchmark, *, timeout, **parameters):
        self.asked.append((benchmark, parameters["actors"], parameters["players"]))
        return 1.0


RECOVERY = "recovery, 0.2 s after"
PARTS = {
    "wire": ("--rounds 5", {"raw", "wire", "wire, fingerprint"}),
    "rounds": (
        "--rounds 5 --peers ray,dask",
        {f"rounds, {n}{f}" for n in ("1 host", "2 hosts") for f in ("", ", fingerprint")}
        | {f"rounds, {peer}, {actors}" for peer in ("ray", "dask") for actors in ("4 actors", "an actor per host")}
        | {"rounds, here"},
    ),
    "heavy": ("--heavy-rounds 2", {f"heavy, {what}" for what in ("2 hosts", "1 worker", "2 workers", "2 threads")}),
    "delay": (
        "--delay-rounds 3 --delays 5",
        {f"delay, bodies that {do}, {d}" for do in ("wait", "compute") for d in ("no relay", "0 ms", "5 ms")},
    ),
    "recovery": (
        "--kills 0.2",
        {
            f"{RECOVERY} {what}: {figure}"
            for what in ("the first round", "a saved state")
            for figure in ("noticed", "replayed", "goes on", "goes on, less 1.2 times replayed")
        },
    ),
}
BARS = {"wire": 2, "rounds": 4, "heavy": 2, "delay": 2, "recovery": 4}


# Three of them in make test.
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", [pytest.param(p, marks=[pytest.mark.soak] * (p in {"wire", "heavy"})) for p in PARTS])
def test_each_part_is_measured_and_judged(part, tmp_path, monkeypatch, capsys):
    peer = Answering()
    monkeypatch.setattr(
        Report, "opened", lambda self, chosen: contextlib.nullcontext(dict.fromkeys(chosen.peers, peer))
    )
    words, expected = PARTS[part]
    file = tmp_path / "found.json"
    small = ["--only", part, "--replies", "4", "--bytes", "400", "--body", "2", "--repeats", "1", "--json", str(file)]
    assert hosts.main([*words.split(), *small]) == 0
    said = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert set(found["figures"]) == expected
    assert all(len(figure["values"]) == 1 for figure in found["figures"].values())
    bars = [ratio["name"] for ratio in found["ratios"] if ratio["met"] is not None]
    assert len(bars) == BARS[part]
    assert all(name in said for name in bars)
    if part == "rounds":
        assert set(peer.asked) == {("hosts", 4, 4), ("hosts", 2, 4)}
        assert found["figures"]["rounds, ray, 4 actors"]["median"] == 1000
    if part == "recovery":
        assert all(
            found["figures"][f"{RECOVERY} {w}: replayed"]["median"] > 0 for w in ("the first round", "a saved state")
        )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("peers")
@pytest.mark.parametrize("name", ["ray", "dask"])
def test_a_peer_takes_so_long_for_a_round(name):
    if not list((peers.cache_folder() / "peers").glob(f"{name}-*/complete")):
        pytest.skip(f"{name} is not installed: `reactornb bench hosts --peers {name}` does that")
    with opened("hosts", [name]) as found:
        for actors in (3, 2):
            assert found[name].seconds("hosts", actors=actors, players=3, hosts=2, rounds=3, size=400, floats=2) > 0


@pytest.mark.parametrize("words", [["--only", "wires"], ["--delays", "5;50"], ["--kills", ""]])
def test_words_that_do_not_fit_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        hosts.main(words)
    assert "is not a list" in (said := capsys.readouterr().err) or "there are wire, rounds" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("part", ["wire", "delay", "recovery"])
def test_nothing_is_left_of_a_benchmark_that_is_interrupted(part):
    mark = f"REACTORNB_TEST_MARK={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    command = [sys.executable, "-m", "reactornb", "bench", "hosts", "--only", part]
    with subprocess.Popen(
        command, env={**os.environ, name: value}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as bench:
        until = time.monotonic() + WAIT
        while len(marked(mark)) < (2 if part == "wire" else 3):
            assert time.monotonic() < until
            assert bench.poll() is None
            time.sleep(0.01)
        time.sleep(0.5)
        bench.send_signal(signal.SIGINT)
        bench.communicate(timeout=WAIT)
    while marked(mark):
        assert time.monotonic() < until + WAIT
        time.sleep(0.01)
    assert bench.returncode != 0


def marked(mark):
    """Processes that have this in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found
