"""What a fingerprint takes in of a value: its content, whatever the object."""

import dataclasses

import numpy as np

from reactornb.runtime.fingerprint import digest


@dataclasses.dataclass
class Pair:
    left: object
    right: object


def test_equal_contents_have_one_digest_and_others_another():
    values = [
        None, True, 0, 1, 1.0, "1", b"1", (1,), (1, 2), {"a": 1}, {1, 2}, np.zeros(3), np.zeros((3, 1)), np.zeros(3, np.float32),
        np.zeros((0, 4)), np.zeros((0, 5)), np.zeros(()), Pair(1, np.zeros(0)), Pair(1, np.zeros(1)),
    ]  # fmt: skip
    digests = [digest(v) for v in values]
    assert len(set(digests)) == len(values)
    again = [v.copy() if isinstance(v, np.ndarray) else v for v in values]
    assert [digest(v) for v in again] == digests
    assert digest([1, 2]) != digest((1, 2))
    assert digest(np.arange(6).reshape(2, 3).T) == digest(np.ascontiguousarray(np.arange(6).reshape(2, 3).T))
