"""A round between hub and host over loopback: 100 KB of weights one way, 8 replies the other, each side a process.

- raw: a length and the bytes, with `sendmsg` and `recv_into`; the limit.
- wire: the same values as a `Batch` and a `Report` of the cluster's protocol: encoded, checked, decoded. The weights are other ones each round.
- wire, fingerprint: both sides also add what they send to a fingerprint.

What a whole run costs on top (scheduler, gate, log of the batches) is not in it.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy

from reactornb.bench.measure import Report, interleave, options
from reactornb.cluster import messages
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


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    if list(argv[:1]) == ["--peer"]:
        kind, *numbers = argv[1:]
        _peer(kind, *map(int, numbers))
        return 0
    parser = options("hosts", __doc__, repeats=5, workers=None)
    parser.add_argument("--rounds", type=int, default=400, help="of one measurement (%(default)s)")
    parser.add_argument("--bytes", type=int, default=100_000, help="of weights (%(default)s)")
    parser.add_argument("--replies", type=int, default=8, help="of 1 KB each (%(default)s)")
    chosen: argparse.Namespace = parser.parse_args(argv)
    report = Report("hosts", {"rounds": chosen.rounds, "bytes": chosen.bytes, "replies": chosen.replies})
    measured = partial(rounds, count=chosen.rounds, weights=chosen.bytes, replies=chosen.replies)
    report.add(interleave({kind: partial(measured, kind) for kind in KINDS}, chosen.repeats), "ms")
    report.ratio("wire", "raw", at_most=2.0)
    report.ratio("wire, fingerprint", "raw", at_most=3.0)
    chosen.workers = getattr(chosen, "workers", None)
    return report.finish(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
