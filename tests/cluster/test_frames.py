"""Frames on a socket: whole pieces, no copies, nothing accepted that does not fit."""

import socket
import struct
import threading

import numpy
import pytest

from reactornb.cluster.errors import WireError
from reactornb.cluster.frames import (
    BEFORE_PROOF,
    HEADER_BYTES,
    NORMAL,
    Limits,
    frame_in,
    parts_of,
    receive_frame,
    send_all,
)

SMALL = Limits(frame=1 << 20, fields=1 << 10, parts=8)


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.settimeout(10)
    right.settimeout(10)
    with left, right:
        yield left, right


def joined(*arguments):
    return b"".join(parts_of(*arguments))


def test_a_frame_arrives_with_all_its_parts(pair):
    values = [(5, [b"ab", b"cde"]), (0, []), (70_000, [bytes(70_000)])]
    sent = send_all(pair[0], parts_of(7, b"[1]", values))
    frame = receive_frame(pair[1], SMALL)
    assert (frame.kind, frame.fields, frame.nbytes) == (7, b"[1]", sent)
    assert [bytes(view) for view in frame.values] == [b"abcde", b"", bytes(70_000)]


def test_frames_follow_each_other_and_then_the_stream_ends(pair):
    for kind in (1, 2, 3):
        send_all(pair[0], parts_of(kind, b"[]"))
    pair[0].close()
    assert [receive_frame(pair[1], SMALL).kind for _ in range(3)] == [1, 2, 3]
    assert receive_frame(pair[1], SMALL) is None


def test_long_memory_is_given_to_the_system_as_it_is():
    weights = numpy.arange(30_000, dtype="<f4")
    view = memoryview(weights).cast("B")
    pieces = parts_of(7, b"[0]", [(view.nbytes, [view])])
    assert pieces[1] is view
    assert len(pieces) == 2


def test_received_values_begin_at_multiples_of_64_and_are_read_only(pair):
    send_all(pair[0], parts_of(7, b"[0, 1]", [(100, [bytes(100)]), (4000, [bytes(4000)])]))
    frame = receive_frame(pair[1], SMALL)
    for view in frame.values:
        array = numpy.frombuffer(view, numpy.uint8)
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable


def test_a_frame_longer_than_every_buffer_of_the_system_arrives(pair):
    sent = numpy.arange(3_000_000, dtype="<u4")
    pieces = [memoryview(sent[i : i + 1000]).cast("B") for i in range(0, len(sent), 1000)]  # more than one call takes
    whole = parts_of(9, b"[]", [(sent.nbytes, pieces)])
    sender = threading.Thread(target=send_all, args=(pair[0], whole), name="reactornb-test")
    progressed = []
    sender.start()
    frame = receive_frame(pair[1], NORMAL, lambda: progressed.append(1))
    sender.join()
    assert numpy.array_equal(numpy.frombuffer(frame.values[0], "<u4"), sent)
    assert len(progressed) > 2  # bytes are heard while the frame is on its way


def damaged(position, data, frame=None):
    frame = bytearray(frame if frame is not None else joined(7, b"[1]", [(70, [bytes(70)])]))
    frame[position : position + len(data)] = data
    return bytes(frame)


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("frame.magic", damaged(0, b"GET ")),
        ("frame.magic", damaged(20, b"\1")),
        ("frame.version", damaged(4, b"\2")),
        ("frame.parts", damaged(16, b"\0")),
        ("frame.parts", damaged(16, b"\xff\xff\xff\xff")),
        ("frame.length", damaged(8, struct.pack("<Q", 1 << 62))),
        ("frame.length", damaged(8, struct.pack("<Q", HEADER_BYTES))),
        ("frame.fields", damaged(HEADER_BYTES, struct.pack("<Q", 1 << 11))),
        ("frame.lengths", damaged(HEADER_BYTES, struct.pack("<Q", 200))),
        ("frame.lengths", damaged(HEADER_BYTES + 8, struct.pack("<Q", 1 << 63))),
        ("frame.lengths", damaged(HEADER_BYTES + 8, struct.pack("<Q", 60))),
        ("frame.padding", damaged(HEADER_BYTES + 16, b"\1")),
        ("frame.padding", damaged(70, b"\1")),
    ],
)
def test_what_is_no_frame_is_refused_by_name_before_memory_is_taken(pair, field, data):
    pair[0].sendall(data)
    pair[0].close()
    with pytest.raises(WireError) as refused:
        receive_frame(pair[1], SMALL)
    assert refused.value.field == field
    with pytest.raises(WireError) as refused:
        frame_in(data, SMALL)
    assert refused.value.field in (field, "frame.length")


def test_a_frame_with_more_than_the_limit_is_refused(pair):
    send_all(pair[0], parts_of(7, bytes(20_000)))
    with pytest.raises(WireError, match=r"frame.length.*16,384"):
        receive_frame(pair[1], BEFORE_PROOF)


def test_a_stream_that_ends_within_a_frame_is_no_end_between_frames(pair):
    whole = joined(7, b"[1]", [(70, [bytes(70)])])
    for cut in (1, HEADER_BYTES + 8, HEADER_BYTES + 12, len(whole) - 1):
        left, right = socket.socketpair()
        with left, right:
            left.sendall(whole[:cut])
            left.close()
            with pytest.raises(EOFError):
                receive_frame(right, SMALL)


def test_bytes_in_one_piece_are_the_same_frame():
    data = joined(7, b"[1]", [(70, [b"x" * 70])])
    frame = frame_in(data, SMALL)
    assert (frame.kind, frame.fields, bytes(frame.values[0])) == (7, b"[1]", b"x" * 70)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(WireError, match=r"frame\.length"):
            frame_in(wrong, SMALL)
