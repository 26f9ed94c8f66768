"""The file of a saved policy: what is in it, that strangers' tools open it, and that damage is told by one error."""

import json
import os
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from policies_made import blueprints, content, policy, try_damaged

from reactornb.rl.errors import DamagedPolicyError
from reactornb.rl.policy_file import ContainerError, pack, unpack
from reactornb.rl.saved_policy import load_policy, policy_from

ALL = blueprints()


def parts(file):
    size = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + size]), file[8 + size :]


def joined(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_what_is_packed_comes_back():
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.standard_normal((2, 3)).astype(np.float32),
        "a": rng.standard_normal(5),
        "c": np.float32(2.5).reshape(()),
    }
    found, text = unpack(pack(arrays, '{"words": "grün"}'))
    assert text == '{"words": "grün"}'
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert (found[name] == array).all()
        assert not found[name].flags.writeable


def test_the_header_is_that_of_safetensors():
    file = content(ALL["gaussian"])
    header, data = parts(file)
    assert file[8:9] == b"{"
    metadata = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in metadata.values())
    at = 0
    for entry in header.values():  # without gaps, doubles first, so that each lies at a multiple of its width
        assert entry["data_offsets"][0] == at
        assert at % (8 if entry["dtype"] == "F64" else 4) == 0
        at = entry["data_offsets"][1]
    assert at == len(data)
    assert (len(file) - len(data)) % 8 == 0


@pytest.mark.parametrize("name", ALL)
def test_the_package_safetensors_opens_a_policy(name, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    (tmp_path / "p.safetensors").write_bytes(content(ALL[name]))
    found = safetensors.load_file(tmp_path / "p.safetensors")
    assert found.keys() == ALL[name].tensors.keys()
    assert all((found[key] == array).all() for key, array in ALL[name].tensors.items())


def test_weights_that_are_not_finite_are_no_policy():
    with pytest.raises(ContainerError, match="not finite"):
        unpack(pack({"a": np.array([1, np.nan], np.float32)}, "{}"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda h: h.pop("__metadata__"), "does not say that it is one"),
        (lambda h: h["__metadata__"].pop("blake2b"), "hash"),
        (lambda h: h["layers.0.bias"].pop("shape"), "incomplete"),
        (lambda h: h["layers.0.bias"].update(dtype="BF16"), "type 'BF16'"),
        (lambda h: h["layers.0.bias"].update(shape=[8.0]), "no whole numbers"),
        (lambda h: h["layers.0.bias"].update(shape=[-8]), "no whole numbers"),
        (lambda h: h["layers.0.bias"].update(shape=[2**40, 2**40]), r"in bytes"),
        (lambda h: h["layers.0.bias"].update(data_offsets=[10**9, 10**9 + 32]), "in bytes 1000000000"),
        (lambda h: h.update(again=dict(h["layers.0.bias"])), "of no array, or of two"),
        (lambda h: h.pop("layers.0.bias"), "of no array, or of two"),
    ],
)
def test_a_header_that_does_not_fit_its_data_is_refused(change, words):
    header, data = parts(content(ALL["categorical"]))
    change(header)
    with pytest.raises(DamagedPolicyError, match=words):
        policy_from(joined(header, data))


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x80\x04}q\x00.",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 6) + b"[1, 2]",
        struct.pack("<Q", 7) + b'{"a":1,',
        struct.pack("<Q", 13) + b'{"a":1,"a":2}',
        struct.pack("<Q", 9) + b'{"a":NaN}',
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 9000) + b"1" * 9000,
        struct.pack("<Q", 2) + b"\xff\xfe",
    ],
    ids=["empty", "pickle", "huge", "list", "half", "twice", "nan", "deep", "long", "binary"],
)
def test_what_is_no_such_file_is_refused(file, tmp_path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(file)
    with pytest.raises(DamagedPolicyError) as caught:
        load_policy(path)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(DamagedPolicyError, match="no regular file"):
            load_policy(path)
    with pytest.raises(FileNotFoundError):
        load_policy(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update(version=3), "version 3, and this reactornb reads versions up to 2"),
        (lambda t: t.pop("choice"), "lacks a part"),
        (lambda t: t["choice"].update(kind="by_pickle"), "chooses by 'by_pickle'"),
        (lambda t: t["network"].update(kind="module"), "kind 'module'"),
        (lambda t: t["network"].update(sizes=[3, 8, 8, 3]), "other observations or actions"),
        (lambda t: t["network"].update(sizes=[3, 9, 8, 2]), "arrays are not those of its network: layers.0.bias"),
        (lambda t: t["network"].update(activation="os.system"), "no activation"),
        (lambda t: t["observation"].update(shape=[2**40]), "bounds"),
        (lambda t: t["observation"].update(dtype="object"), "no type"),
        (lambda t: t["observation"].update(low=[0, 1]), "lacks bounds"),
        (lambda t: t["action"].update(high=[2**47]), "numbers"),
        (lambda t: t["action"].update(high=[2.5]), "no whole numbers"),
        (lambda t: t.update(epsilon=1e999), "no number|not finite|Infinity"),
    ],
)
def test_a_description_that_does_not_fit_its_arrays_is_refused(change, words):
    text = json.loads(ALL["categorical"].text)
    change(text)
    with pytest.raises(DamagedPolicyError, match=words):
        policy_from(pack(ALL["categorical"].tensors, json.dumps(text)))


# -- damage at random --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_damaged_files_give_the_one_error_or_a_policy_that_works():
    assert 0 < try_damaged(1, 10_000) < 5_000


def test_a_few_damaged_files_do():
    try_damaged(2, 100)


AUDITED = """
    import sys
    from policies_made import blueprints, bytes_damaged, content, meaning_damaged
    import numpy as np
    from reactornb import load_policy
    from reactornb.rl.errors import DamagedPolicyError

    made, rng = list(blueprints().values()), np.random.default_rng(5)
    seen, told = [], ("import", "exec", "compile", "open", "os.", "subprocess.", "socket.", "pickle.", "marshal.", "ctypes.", "code.__new__")
    watching = False
    sys.addaudithook(lambda name, what: seen.append((name, what)) if watching and name.startswith(told) else None)
    for i in range(-1, 1000):  # the first one imports what there is to import
        blueprint = made[i % len(made)]
        file = meaning_damaged(rng, blueprint) if i % 2 else bytes_damaged(rng, content(blueprint))
        with open("p.safetensors", "wb") as out:
            out.write(file if i >= 0 else content(blueprint))
        watching = i >= 0
        try:
            load_policy("p.safetensors")
        except DamagedPolicyError:
            pass
        finally:
            watching = False
    opened = [what[0] for name, what in seen if name == "open"]
    assert len(opened) == 1000 and set(map(str, opened)) == {"p.safetensors"}, set(opened)
    assert {name for name, _ in seen} == {"open"}, {name for name, _ in seen}
    print("nothing else")
"""


@pytest.mark.slow
def test_loading_opens_the_file_and_does_nothing_else_whatever_is_in_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(AUDITED)], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "nothing else\n"


def test_every_flipped_bit_of_the_weights_is_noticed():
    file = content(ALL["table"])
    _, data = parts(file)
    rng = np.random.default_rng(3)
    for at in rng.integers(8 * len(data), size=200).tolist():
        damaged = bytearray(file)
        damaged[len(file) - len(data) + at // 8] ^= 1 << at % 8
        with pytest.raises(DamagedPolicyError, match=r"hash|finite"):
            policy_from(bytes(damaged))


def test_every_truncated_file_is_noticed():
    file = content(ALL["table"])
    for size in range(len(file)):
        with pytest.raises(DamagedPolicyError):
            policy_from(file[:size])


def test_a_whole_file_is_the_policy_that_was_written():
    for blueprint in ALL.values():
        assert policy(blueprint).blueprint.text == blueprint.text
