"""Hosts: a message there and back beside raw TCP, whole rounds beside Ray's and Dask's actors, heavy bodies, distant hosts, killed ones.

`--only` chooses among five parts. All hosts are processes of this machine, and one machine has one speed: no network is measured.

wire: 100 KB of weights one way, 8 answers of 1 KB the other, over loopback, each side a process. What a run costs on top is not in it.
- raw: a length and the bytes, with `sendmsg` and `recv_into`; the limit.
- wire: the same values as a `Batch` and a `Report` of the cluster's protocol: encoded, checked, decoded. The weights are other ones each round.
- wire, fingerprint: both sides also add what they send to a fingerprint.

rounds: the same as a placed program: 8 players on 1 and 2 hosts, and in this process; the median round, as in wire. `--peers ray,dask` measures eight actors and an actor for each of two
hosts that has four players. Ray has no free-threaded build and runs on its own Python, with a GIL; Dask on ours, its eight actors on two workers.

heavy: 8 bodies of 20 ms on hosts of one worker each, beside one and two workers of one process, and two threads that never wait for each other.

delay: 2 hosts behind a relay that keeps everything back for 0, 5 and 50 ms each way. Weights are one round old, a round is 40 ms on each host: of bodies that
wait, so that nothing else of this machine counts, and of bodies that compute.

recovery: one of two hosts is killed some seconds after the first round, and after the first state that was saved; until the loss is noticed, and until the
run goes on, which replays what came since.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy

from reactornb.bench.hosts_runs import in_two_threads, recovery, round_seconds, turns_of
from reactornb.bench.measure import Report, interleave, numbers, options, peers_asked_for, positive
from reactornb.bench.slow_link import SlowHosts
from reactornb.cluster import messages
from reactornb.cluster.hosts import Hosts
from reactornb.cluster.link import Link
from reactornb.cluster.messages import Batch, Bye
from reactornb.cluster.messages import Report as HostReport
from reactornb.cluster.packing import pack
from reactornb.runtime.fingerprint import Fingerprint, term

__all__ = ["KINDS", "main", "rounds"]

KINDS = ("raw", "wire", "wire, fingerprint")
_REPLY_FLOATS = 256
_length = struct.Struct("<Q")


def rounds(kind: str, count: int, *, weights: int = 100_000, replies: int = 8) -> float:
    """Milliseconds of a round, the median of `count`.

    Args:
        kind: one of `KINDS`.
        count: rounds that are measured; a tenth as many come before.
        weights: bytes that go to the host, float32.
        replies: how many values of 1 KB come back.

    Raises:
        ValueError: for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"a kind of round is one of {', '.join(KINDS)}, not {kind!r}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = subprocess.Popen(  # noqa: S603 - this interpreter
            [
                sys.executable,
                "-m",
                __spec__.name,
                "--peer",
                kind,
                str(server.getsockname()[1]),
                str(weights),
                str(replies),
            ]
        )
        try:
            server.settimeout(120)
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(None)
            array = numpy.arange(weights // 4, dtype="<f4")
            taken: list[float] = []
            with _hub(kind, sock, array, replies) as once:
                for number in range(-(count // 10) - 1, count):
                    array[0] = number
                    began = time.perf_counter()
                    once(number)
                    if number >= 0:
                        taken.append(time.perf_counter() - began)
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                peer.wait(10)
            peer.kill()
            peer.wait()
    return 1e3 * sorted(taken)[len(taken) // 2]


# -- the hub's side ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _hub(
    kind: str, sock: socket.socket, array: numpy.typing.NDArray[numpy.float32], replies: int
) -> Iterator[Callable[[int], None]]:
    if kind == "raw":
        came = bytearray(replies * 4 * _REPLY_FLOATS)
        with sock:
            yield lambda _: _raw_round(sock, memoryview(array).cast("B"), came)
        return
    link = Link(sock, "the peer", messages.FROM_HOST, silence_s=60)
    seen = Fingerprint() if kind != "wire" else None

    def once(number: int) -> None:
        at = number + 1_000_000
        if seen is not None:
            seen.add(term((at, 0), 0, array))
        batch = Batch(at, (at + 1, 0), (at, 0), None, 0, ((at, 0, 1, 0),), (pack(array),), ())
        link.send(batch)
        report = link.receive()
        assert isinstance(report, HostReport)
        for *_, value in report.messages:
            report.values[value].value()
        if seen is not None:
            for *_, added in report.sums:
                seen.add(int.from_bytes(added, "little"))

    try:
        yield once
        link.send(Bye("measured"))
    finally:
        link.close()


def _raw_round(sock: socket.socket, weights: memoryview, came: bytearray) -> None:
    left = [memoryview(_length.pack(weights.nbytes)), weights]
    while left:
        sent = sock.sendmsg(left)
        while left and sent >= left[0].nbytes:
            sent -= left.pop(0).nbytes
        if sent:
            left[0] = left[0][sent:]
    _fill(sock, came)


def _fill(sock: socket.socket, memory: bytearray) -> bool:
    view, at = memoryview(memory), 0
    while at < len(memory):
        got = sock.recv_into(view[at:])
        if not got:
            return False
        at += got
    return True


# -- the host's side, in a process of its own ---------------------------------------------------------------------------------


def _peer(kind: str, port: int, weights: int, replies: int) -> None:
    sock = socket.create_connection(("127.0.0.1", port), 60)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = [numpy.arange(_REPLY_FLOATS, dtype="<f4") for _ in range(replies)]
    if kind == "raw":
        head, came = bytearray(_length.size), bytearray(weights)
        with sock:
            while _fill(sock, head) and _fill(sock, came):
                sock.sendall(b"".join(answers))
        return
    link = Link(sock, "the hub", messages.FROM_HUB, silence_s=60)
    tags = 0
    while isinstance(batch := link.receive(), Batch):
        first = batch.values[batch.messages[0][3]].value()[0]
        tags += 1
        at, seen = batch.below[0], Fingerprint()
        for number, answer in enumerate(answers):
            answer[0] = first
            if kind != "wire":
                seen.add(term((at, 0), number, answer))
        sums = ((at, 0, seen.state),) if kind != "wire" else ()
        sent = tuple((at, 0, number, number) for number in range(replies))
        values = tuple(map(pack, answers))
        link.send(HostReport(batch.seq, True, None, (at, 0), False, tags, tags * replies, sums, sent, values, None, None, None, None, 0))  # fmt: skip
    link.close()


# -- whole runs ---------------------------------------------------------------------------------------------------------------


def _wire(report: Report, chosen: argparse.Namespace) -> None:
    measured = partial(rounds, count=chosen.rounds, weights=chosen.bytes, replies=chosen.replies)
    report.add(interleave({kind: partial(measured, kind) for kind in KINDS}, chosen.repeats), "ms")
    report.ratio("wire", "raw", at_most=2.0)
    report.ratio("wire, fingerprint", "raw", at_most=3.0)


def _rounds(report: Report, chosen: argparse.Namespace) -> None:
    count, players = chosen.rounds, chosen.replies
    sizes = {"players": players, "size": chosen.bytes, "floats": _REPLY_FLOATS}

    def median(hosts: int, *, fingerprint: bool = False) -> float:
        where = Hosts.local(hosts, workers=1) if hosts else None
        return statistics.median(round_seconds(where, count, fingerprint=fingerprint, **sizes))

    variants: dict[str, Callable[[], float]] = {"here": partial(median, 0)}
    for hosts in (1, 2):
        variants[_hosts_word(hosts)] = partial(median, hosts)
        variants[f"{_hosts_word(hosts)}, fingerprint"] = partial(median, hosts, fingerprint=True)
    with report.opened(chosen) as opened:
        for name, peer in opened.items():
            for actors, word in ((players, _actors_word(players)), (2, _PER_HOST)):
                variants[f"{name}, {word}"] = partial(
                    peer.seconds, "hosts", timeout=120 + count, actors=actors, hosts=2, rounds=count, **sizes
                )
        seconds = interleave(variants, chosen.repeats)
    label = "rounds, "
    report.add({label + name: [1e3 * s for s in values] for name, values in seconds.items()}, "ms")
    for name in peers_asked_for(chosen):
        is_ray = name == "ray"
        for ours in ("2 hosts", "2 hosts, fingerprint"):
            report.speed(ours, f"{name}, {_actors_word(players)}", label, at_least=10.0 if is_ray else None)
            report.speed(ours, f"{name}, {_PER_HOST}", label, at_least=4.0 if is_ray else None)


def _heavy(report: Report, chosen: argparse.Namespace) -> None:
    count, turns = chosen.heavy_rounds, turns_of(chosen.body)
    sizes = {"players": chosen.replies, "floats": _REPLY_FLOATS, "turns": turns}

    def mean(where: Hosts | None, workers: int) -> float:
        return statistics.mean(round_seconds(where, count, workers=workers, **sizes))

    label = "heavy, "
    variants: dict[str, Callable[[], float]] = {
        _hosts_word(hosts): partial(mean, Hosts.local(hosts, workers=1), 1) for hosts in chosen.hosts
    }
    variants |= {
        "1 worker": partial(mean, None, 1),
        "2 workers": partial(mean, None, 2),
        "2 threads": lambda: in_two_threads(count, **sizes),
    }
    seconds = interleave(variants, chosen.repeats)
    report.add({label + name: [1e3 * s for s in values] for name, values in seconds.items()}, "ms")
    if 2 in chosen.hosts:
        for limit in ("2 workers", "2 threads"):
            report.speed("2 hosts", limit, label, at_least=0.9)
    report.details["heavy, turns of a body"] = turns
    if (report.machine["load_average"] or 0) > 0.5:
        report.notes.append("heavy: hosts come out too fast here: a busy Linux divides its cores among sessions first, and each host is one")  # fmt: skip


def _delay(report: Report, chosen: argparse.Namespace) -> None:
    sizes = {"players": 4, "staleness": 1, "size": chosen.bytes, "floats": _REPLY_FLOATS}
    kinds = {
        "bodies that wait": {"waits": chosen.body / 1e3},
        "bodies that compute": {"turns": turns_of(chosen.body)},
    }

    def mean(delay_ms: float | None, parameters: dict[str, Any]) -> float:
        where = Hosts.local(2, workers=1) if delay_ms is None else SlowHosts(2, delay_ms / 1e3)
        return statistics.mean(round_seconds(where, chosen.delay_rounds, **sizes, **parameters))

    delays = dict.fromkeys((None, 0.0, *map(float, chosen.delays)))
    variants = {
        f"delay, {kind}, {_delay_word(delay)}": partial(mean, delay, parameters)
        for kind, parameters in kinds.items()
        for delay in delays
    }
    seconds = interleave(variants, chosen.repeats)
    report.add({name: [1e3 * s for s in values] for name, values in seconds.items()}, "ms")
    for kind in kinds:
        for delay in delays:
            if delay is not None:
                report.speed(
                    _delay_word(delay), _delay_word(None), f"delay, {kind}, ", at_least=0.95 if delay == 5 else None
                )


def _recovery(report: Report, chosen: argparse.Namespace) -> None:
    parameters = {"players": chosen.replies, "size": chosen.bytes, "floats": _REPLY_FLOATS, "turns": turns_of(1.0)}
    variants = {
        f"recovery, {after:g} s after the first round": partial(recovery, after, **parameters)
        for after in chosen.kills
    } | {
        f"recovery, {after:g} s after a saved state": partial(recovery, after, batches=_SAVED_AFTER, **parameters)
        for after in chosen.kills[:1]
    }  # fmt: skip
    found = interleave(variants, chosen.repeats)
    for name, ones in found.items():
        report.add({f"{name}: noticed": [1e3 * one.noticed_s for one in ones]}, "ms")
        report.add({f"{name}: replayed": [one.replayed_s for one in ones]}, "s")
        report.add({f"{name}: goes on": [one.seconds for one in ones]}, "s")
        over = f"{name}: goes on, less 1.2 times replayed"
        report.add({over: [one.over_s for one in ones]}, "s")
        report.bar(over, 2.0)
        report.bar(f"{name}: noticed", 100.0)


_PER_HOST = "an actor per host"
_SAVED_AFTER = 200
_PARTS = {"wire": _wire, "rounds": _rounds, "heavy": _heavy, "delay": _delay, "recovery": _recovery}


def _hosts_word(count: int) -> str:
    return f"{count} host{'s' if count > 1 else ''}"


def _actors_word(count: int) -> str:
    return f"{count} actors"


def _delay_word(milliseconds: float | None) -> str:
    return "no relay" if milliseconds is None else f"{milliseconds:g} ms"


def _parts(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in _PARTS:
            raise argparse.ArgumentTypeError(f"there is no part {name!r}; there are {', '.join(_PARTS)}")
    return chosen


def _seconds(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,2.5") from None


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    if list(argv[:1]) == ["--peer"]:
        kind, *sizes = argv[1:]
        _peer(kind, *map(int, sizes))
        return 0
    parser = options("hosts", __doc__, repeats=5, workers=None)
    parser.add_argument("--only", type=_parts, default=[*_PARTS], metavar="PART,PART", help=f"({','.join(_PARTS)})")
    parser.add_argument("--rounds", type=positive, default=400, help="of one measurement of wire and rounds (%(default)s)")  # fmt: skip
    parser.add_argument("--bytes", type=positive, default=100_000, help="of weights (%(default)s)")
    parser.add_argument("--replies", type=positive, default=8, help="of 1 KB each, one of each player (%(default)s)")
    parser.add_argument("--body", type=float, default=20.0, metavar="MS", help="of a player, in heavy and delay (%(default)s)")  # fmt: skip
    parser.add_argument("--hosts", type=numbers, default=[2], metavar="1,2,4", help="of heavy (2)")
    parser.add_argument("--heavy-rounds", type=positive, default=10, metavar="N", help="(%(default)s)")
    parser.add_argument("--delay-rounds", type=positive, default=25, metavar="N", help="(%(default)s)")
    parser.add_argument("--delays", type=_seconds, default=[5.0, 50.0], metavar="MS,MS", help="each way (5,50)")
    parser.add_argument("--kills", type=_seconds, default=[1.0, 2.0, 4.0], metavar="S,S", help="(1,2,4)")
    chosen: argparse.Namespace = parser.parse_args(argv)
    names = ("only", "rounds", "bytes", "replies", "body", "hosts", "heavy_rounds", "delay_rounds", "delays", "kills")
    report = Report("hosts", {name: getattr(chosen, name) for name in names})
    for name in chosen.only:
        _PARTS[name](report, chosen)
    return report.finish(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
