"""The codec: values as a JSON text plus buffers, and back, with the same fingerprint; damaged bytes are refused and execute nothing."""

import collections
import dataclasses
import datetime
import io
import json
import math
import os
import random  # noqa: TID251 - its state is kept
import struct
import subprocess
import sys
import threading
import types
import zoneinfo
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import codec_values
import fingerprint_values as values

from reactornb.errors import MalformedDataError, UnencodableValueError
from reactornb.model.ownership import guarded
from reactornb.runtime.codec import HEADER_BYTES, Classes, Encoded, decode, encode, total_bytes
from reactornb.runtime.fingerprint import digest

HERE = Path(__file__).parent
ORDINARY = Path(__file__).parents[2] / ".venv-gil" / "bin" / "python"


def again(value, classes=None, **options):
    return decode(encode(value, classes).to_bytes(), classes, **options)


# -- round trips ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_values_of_every_kind_come_back_with_their_fingerprint():
    rng, classes = random.Random(1), codec_values.declared()
    for left, right in values.pairs(11, 400):
        for description in (left, right):
            value = values.build(rng, description)
            assert digest(again(value, classes)) == digest(value), description


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_20000_values_of_every_kind_come_back_with_their_fingerprint():
    rng, classes = random.Random(2), codec_values.declared()
    for left, _ in values.pairs(12, 20_000):
        value = values.build(rng, left)
        assert digest(again(value, classes)) == digest(value), left


IN_ANOTHER_PROCESS = """
import sys, codec_values
from pathlib import Path
from reactornb.runtime.codec import Encoded, decode
from reactornb.runtime.fingerprint import digest
classes, data = codec_values.declared(), Path(sys.argv[1]).read_bytes()
for one in decode(data, classes):
    print(digest(decode(one, classes)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("build", ["this build", "an ordinary build"])
def test_another_process_decodes_the_same_values(build, tmp_path):
    if build == "an ordinary build" and not ORDINARY.exists():
        pytest.skip("no ordinary CPython is set up")
    rng, classes = random.Random(3), codec_values.declared()
    made = [values.build(rng, left) for left, _ in values.pairs(13, 150)]
    file = tmp_path / "values"
    file.write_bytes(encode([encode(value, classes).to_bytes() for value in made]).to_bytes())
    root = HERE.parents[1]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"}
    environment |= {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join([str(HERE), str(root)])}
    interpreter = sys.executable if build == "this build" else str(ORDINARY)
    done = subprocess.run(
        [interpreter, "-c", IN_ANOTHER_PROCESS, str(file)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [digest(value) for value in made]


NAN = struct.unpack("<d", struct.pack("<Q", (0x7FF8 << 48) + 5))[0]
EXACT = [
    None, True, False, 0, 1, -1, 2**62, -(2**63), 2**63, -(2**64), 10**5000, 0.0, -0.0, 1e-320, math.pi, math.inf, -math.inf, NAN, complex(-0.0, NAN), "", "ä\0😀", "\ud800", "\ud83d\ude00", "\U0001f600", b"", b"\0" * 5,
    bytes(5000), bytearray(3), bytearray(5000), ..., NotImplemented, range(3, 9, 2), slice(None, 2), int, np.float32, np.dtype("<M8[s]"), np.dtype([("a", "<f8", (2, 3)), (("title", "b"), "S3")]), np.dtype("O"),
    datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC, fold=1), datetime.time(1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=-3), "x")), datetime.date(1, 1, 1), datetime.timedelta(-1, 2, 3),
    {1: "a", "1": "b", None: "c", (1, 2.0): "d", b"1": "e"}, {3, 1, 2}, frozenset({"a", 1.5}), collections.Counter("abca"), collections.OrderedDict([(2, 1), (1, 2)]), collections.deque([1, 2], maxlen=2),
    types.MappingProxyType({1: [2]}), [1.0] * 20, [True, None] * 9, list(range(20)), [2**63] * 9, [2**63] * 40, [NAN, -0.0, math.inf, 1.5] * 40, tuple(range(-20, 20)), {i: i + 1 for i in range(50)}, dict.fromkeys(range(50), 1.5), [list(range(40)), [1.5] * 40, 3], [math.nan] * 9, ["a"] * 9, ["ä", "\ud800"] * 9, [1, 2.5, "x"] * 5,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(EXACT)))
def test_plain_values_come_back_with_type_and_bits(number):
    value = EXACT[number]
    there = again(value)
    assert type(there) is type(value)
    assert digest(there, strict=False) == digest(value, strict=False)
    assert encode(there).to_bytes() == encode(value).to_bytes()


ARRAYS = {
    "zero elements": np.zeros((0, 3), "<f4"), "no dimensions": np.array(3.5), "the other byte order": np.arange(5, dtype=">i4"), "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every second": np.arange(100.0)[::2], "backwards": np.arange(100)[::-1], "broadcast": np.broadcast_to(np.arange(3), (40, 3)), "text": np.array(["a", "ä😀"]), "bytes": np.array([b"a\0b"]), "dates": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "25 seconds": np.array([1, 2], "m8[25s]"), "long doubles": np.arange(3, dtype="g"), "half": np.arange(3, dtype="e"), "objects": np.array([1, "a", None, [2]], dtype=object), "no objects": np.zeros((0, 2), object),
    "fields": np.zeros(50, np.dtype([("a", "i1"), ("b", "<f8", (2,))], align=True)), "fields at odd places": np.zeros(3, np.dtype({"names": ["a", "b"], "formats": ["i1", "<f4"], "offsets": [3, 9], "itemsize": 20})),
    "records": np.zeros(2, [("a", "i1")]).view(np.recarray), "masked": np.ma.MaskedArray([1, 2], mask=[0, 1], fill_value=7, hard_mask=True), "masked fields": np.ma.MaskedArray(np.zeros(2, [("a", "i1"), ("b", "f8")]), mask=[(0, 1), (1, 0)]),
    "strings": np.array(["a", "b" * 50], dtype=np.dtypes.StringDType()), "strings that may be missing": np.array(["a", None], dtype=np.dtypes.StringDType(na_object=None)), "no elements of no bytes": np.zeros(3, "V0"),
    "strings with NaN": np.array(["a", math.nan], dtype=np.dtypes.StringDType(na_object=math.nan, coerce=False)),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_with_dtype_shape_and_elements(name):
    value = ARRAYS[name]
    there = again(value)
    assert type(there) is type(value)
    assert there.dtype == value.dtype
    assert there.shape == value.shape
    assert digest(there) == digest(value)
    assert there.flags.writeable
    assert there.flags.c_contiguous


def test_scalars_of_numpy_keep_their_type():
    record = np.zeros((), [("a", "i1"), ("b", object)])
    for value in [np.float32(-0.0), np.int64(3), np.bool_(True), np.str_("a\0"), np.bytes_(b"a\0"), np.datetime64("NaT", "s"), np.clongdouble(1j), record[()]]:  # fmt: skip
        there = again(value)
        assert type(there) is type(value)
        assert digest(there) == digest(value)


def test_without_copies_large_arrays_are_read_only_views_of_the_bytes():
    value = {"small": np.arange(3), "large": np.arange(1000.0), "bytes": bytes(range(200)), "more": np.arange(999)}
    data = bytearray(encode(value).to_bytes())
    there = decode(data, copy=False)
    start = np.frombuffer(data, np.uint8).ctypes.data
    for name in ("large", "more"):
        assert np.shares_memory(there[name], np.frombuffer(data, np.uint8))
        assert not there[name].flags.writeable
        assert (there[name].ctypes.data - start) % 64 == 0
    assert digest(there) == digest(value)


def test_large_arrays_are_not_copied_when_they_are_encoded():
    value = np.arange(1000.0)
    (buffer,) = encode(value).buffers
    assert np.shares_memory(np.asarray(buffer), value)


BIT_GENERATORS = [np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64]


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_a_generator_goes_on_as_the_original_would(kind):
    one = np.random.Generator(kind(5))
    one.random(7, dtype=np.float32)  # leaves half a word over
    one.spawn(2)
    there = again(one)
    assert digest(there) == digest(one)
    assert there.random(3, dtype=np.float32).tobytes() == one.random(3, dtype=np.float32).tobytes()
    assert there.standard_normal(700).tobytes() == one.standard_normal(700).tobytes()
    assert there.spawn(1)[0].random() == one.spawn(1)[0].random()


def test_generators_of_every_other_kind_go_on_too():
    old, seeds, python = np.random.RandomState(3), np.random.SeedSequence([1, 2**70], spawn_key=(4,)), random.Random(4)
    old.randn(), python.gauss(0, 1)
    keyed = np.random.Philox(key=9)
    there_old, there_seeds, there_python, there_keyed = again((old, seeds, python, keyed))
    assert there_old.randn(5).tobytes() == old.randn(5).tobytes()
    assert there_seeds.spawn(1)[0].generate_state(4).tobytes() == seeds.spawn(1)[0].generate_state(4).tobytes()
    assert there_python.gauss(0, 1) == python.gauss(0, 1)
    assert there_keyed.random_raw() == keyed.random_raw()


def test_two_generators_that_draw_from_one_stream_do_so_again():
    bits = np.random.PCG64(1)
    one, other = again([np.random.Generator(bits), np.random.Generator(bits)])
    expected = np.random.default_rng(1)
    assert [one.random(), other.random(), one.random()] == [expected.random() for _ in range(3)]


# -- objects --------------------------------------------------------------------------------------------------------------


def test_one_object_that_is_met_twice_is_one_object_again():
    shared, array, pair = [1], np.arange(3), (4, [5])
    ring = {"me": None}
    ring["me"] = [ring]
    point = values.Plain(1, None)
    point.y = point
    there = again([shared, shared, array, array, pair, pair, ring, point], codec_values.declared())
    assert there[0] is there[1]
    assert there[2] is there[3]
    assert there[4] is there[5]
    assert there[6]["me"][0] is there[6]
    assert there[7].y is there[7]


def test_a_value_shared_in_many_places_stays_as_small_as_it_is():
    value = (1, 2)
    for _ in range(60):
        value = (value, value)
    encoded = encode(value)
    assert encoded.nbytes < 5000
    there = decode(encoded)
    assert there[0] is there[1]
    assert digest(there) == digest(value)


@pytest.mark.slow
def test_no_depth_is_too_large():
    value = []
    for _ in range(20_000):
        value = [value]
    assert digest(again(value)) == digest(value)


def test_values_of_declared_classes_are_made_without_their_constructors():
    value = object.__new__(codec_values.Touchy)
    object.__setattr__(value, "note", 3)
    there = again(value, codec_values.declared())
    assert (type(there), there.note, codec_values.touched) == (codec_values.Touchy, 3, [])


def test_what_was_sent_is_encoded_as_the_plain_container():
    for value in ([1, [2]], {"a": {1, 2}}):
        assert again(guarded(value, "no")) == value


def test_a_class_may_say_how_it_is_saved():
    there = again([values.Kept(1, [2])] * 2, codec_values.declared())
    assert (there[0].x, there[0].y, there[0].lock) == (1, [2], open)
    assert there[0] is there[1]


@dataclasses.dataclass
class Undeclared:
    x: int


class Broken:
    def __reduce__(self):
        raise AssertionError("nothing asks for it")


class Numbers(collections.OrderedDict):
    pass


def refused():
    ring = []
    ring.append((ring, ring[:]))
    loop = ([],)
    loop[0].append(loop)
    return {
        "lambda": ([1, {"a": lambda: 1}], "value[1]['a'] is a builtins.function: the function", "is not declared. Give it to Classes(["),
        "class": ({"x": Undeclared(1)}, "value['x'] is a test_codec.Undeclared: the class test_codec.Undeclared is not declared. Give it to Classes([Undeclared, ...])", ""),
        "lock": ([threading.Lock()], "value[0] is a _thread.lock: ", "cannot pickle '_thread.lock' object"),
        "file": (io.BytesIO(), "value is a _io.BytesIO: ", "classes.add(BytesIO, save=..., load=...)"),
        "generator": ((x for x in ()), "value is a builtins.generator: what it holds is not in its attributes", ""),
        "object": (object(), "value is a builtins.object: a bare object()", ""),
        "own way": (Broken(), "value is a test_codec.Broken: its class says by itself", "classes.add(Broken, save=..., load=...)"),
        "derived from C": (Numbers(), "value is a test_codec.Numbers: ", "classes.add(Numbers"),
        "time zone": (datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), "value is a datetime.datetime: ", "astimezone(datetime.UTC)"),
        "tuple in itself": (loop, "value[0][0] is a builtins.tuple: it contains itself", "use a list"),
        "module": (math, "value is a builtins.module: ", ""),
        "bound method": ([].append, "value is a builtins.builtin_function_or_method: ", ""),
        "undeclared builtin": (eval, "value is a builtins.builtin_function_or_method: the function builtins.eval is not declared", ""),
        "attribute": (types.SimpleNamespace(a=values.Plain(1, object())), "value is a types.SimpleNamespace: ", ""),
        "slot": (values.Slotted([0, threading.Lock()], 1), "value.x[1] is a _thread.lock", ""),
        "another class of that name": (type("Plain", (), {"__module__": "fingerprint_values"})(), "value is a fingerprint_values.Plain: the class", "is not declared"),
    }  # fmt: skip


@pytest.mark.parametrize("name", refused())
def test_what_cannot_be_encoded_is_refused_with_place_type_and_fix(name):
    value, begins, contains = refused()[name]
    with pytest.raises(UnencodableValueError) as caught:
        encode(value, codec_values.declared())
    words = str(caught.value).replace(f"{__name__}.", "test_codec.")
    assert words.startswith(begins), words
    assert contains in words
    assert words.startswith(caught.value.path)


def test_two_classes_of_one_name_cannot_both_be_declared():
    with pytest.raises(ValueError, match="two different classes or functions are called fingerprint_values:Pair"):
        Classes([values.Pair, values.Renamed])
    with pytest.raises(TypeError, match="neither a class nor a function"):
        Classes([3])


# -- damaged data ---------------------------------------------------------------------------------------------------------


def tokens(*listed, buffers=()):
    return Encoded(json.dumps(listed).encode(), tuple(map(memoryview, buffers))).to_bytes()


def test_every_beginning_of_an_encoding_is_refused():
    data = encode({"a": [1, 2.5, "x"], "b": np.arange(100)}).to_bytes()
    for length in range(len(data)):
        with pytest.raises(MalformedDataError):
            decode(data[:length])
    with pytest.raises(MalformedDataError, match="has 928 bytes by its header, and 929 are there"):
        decode(data + b"\0")


def test_lengths_are_checked_before_memory_is_taken():
    data = bytearray(encode([1]).to_bytes())
    for at, length in ((8, 8), (16, 8), (24, 4)):
        huge = data.copy()
        huge[at : at + length] = b"\xff" * length
        with pytest.raises(MalformedDataError):
            decode(huge)
    header = encode(np.zeros(10**6)).to_bytes()[:HEADER_BYTES]
    assert total_bytes(header) > 8 * 10**6
    with pytest.raises(MalformedDataError, match="more than the 1,000 accepted"):
        total_bytes(header, most=1000)


GOOD_STATE = np.random.MT19937(0).state

MALFORMED = {
    "no tokens": (),
    "two values": (1, 2),
    "a part too few": (["list", 2], 1),
    "a part too many": (["list", 1], 1, 2),
    "a count beyond all": (["list", 1 << 60],),
    "a negative count": (["list", -1],),
    "a count that is none": (["list", True], 1),
    "a JSON object": ({"a": 1},),
    "floats too many": (["list", 39], ["floats", 40, 1]),
    "floats too few": (["list", 41], ["floats", 40, 1]),
    "floats of another number": (["list", 40], ["floats", 41, 1]),
    "floats that are in nothing": (["floats", 40, 1],),
    "floats behind the value": (["list", 1], 1, ["floats", 40, 1]),
    "an unknown tag": (["nothing"],),
    "a tag that is none": ([3],),
    "an empty token": ([],),
    "a reference to nothing": (["^", 0],),
    "a reference to what is not complete": (["tuple", 1], ["^", 0]),
    "a key that has no hash": (["dict", 1], ["list", 0], 1),
    "a key twice": (["dict", 2], 1, 2, 1, 3),
    "a class that is not declared": (["object", "os:system", []],),
    "a function in a class's place": (["object", "builtins:len", []],),
    "attributes of a list": (["object", "builtins:list", []],),
    "an attribute __class__": (["object", "fingerprint_values:Plain", ["__class__"]], ["class", "builtins:int"]),
    "an object whose attributes are not all": (["object", "codec_values:Reducing", []],),
    "a NamedTuple with a field too few": (["namedtuple", "fingerprint_values:Pair", 1, []], 1),
    "content of another kind": (["extended", "fingerprint_values:Row", []], 3),
    "no member": (["enum", "fingerprint_values:Color", "GREEN"],),
    "an array of pointers": (["array", "|O", [1], "AAAAAAAAAAA="],),
    "pointers in a field": (["array", ["fields", 8, False, [["a", 0, "|O"]]], [1], "AAAAAAAAAAA="],),
    "an array larger than its bytes": (["array", "<f8", [1 << 40], "AAAA"],),
    "an array of nothing, larger than memory": (["array", "|V0", [1 << 62], ""],),
    "an array of no text, larger than memory": (["array", "<U0", [1 << 40], ""],),
    "dimensions whose product is none": (["array", "<f8", [0, 1 << 62, 1 << 62], ""],),
    "a dtype of two": (["array", "<f8,<f8", [1], "AAAAAAAAAAAAAAAAAAAAAA=="],),
    "a boolean of two": (["array", "|b1", [1], "Ag=="],),
    "a letter beyond Unicode": (["array", "<U1", [1], "AAARAA=="],),
    "fields beyond their element": (["array", ["fields", 4, False, [["a", 0, "<f8"]]], [1], "AAAAAA=="],),
    "objects larger than memory": (["objects", [1 << 60]],),
    "a buffer that is not there": (["bytes", 2],),
    "no base64": (["bytes", "*"],),
    "a position outside of a generator": (["rng", "BitGenerator", "MT19937"], ["dict", 2], "bit_generator", "MT19937", "state", ["dict", 2], "key", ["array", "<u4", [624], 0], "pos", 10**6, None),
    "a seed sequence with a huge pool": (["seeds"], 1, ["tuple", 0], 1 << 30, 0),
    "a seed sequence from the system's noise": (["seeds"], None, ["tuple", 0], 4, 0),
    "a fraction by zero": (["Fraction"], 1, 0),
    "a day that is none": (["date", 2020, 2, 30],),
    "a factory that is none": (["defaultdict", 0], 3),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_data_that_encode_does_not_write_is_refused(name):
    data = tokens(*MALFORMED[name], buffers=[GOOD_STATE["state"]["key"].tobytes(), bytes(320)])
    with pytest.raises(MalformedDataError) as caught:
        decode(data, codec_values.declared())
    assert len(str(caught.value)) < 600
    assert codec_values.touched == []


def test_the_control_of_these_a_good_generator_is_decoded():
    good = list(MALFORMED["a position outside of a generator"])
    good[-2] = 624
    decode(tokens(*good, buffers=[GOOD_STATE["state"]["key"].tobytes()]))


def test_text_that_is_no_json_is_refused():
    for text in (
        b"",
        b"[",
        b"nan",
        b"[NaN]",
        b"[" * 200_000,
        b"[1" + b"0" * 5000 + b"]",
        b"\xff",
        '["a"]'.encode("utf-16"),
    ):
        with pytest.raises(MalformedDataError):
            decode(Encoded(text, ()))


def _fuzz(seed, count, limit_s):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz_codec.py"), str(seed), str(count)],
        capture_output=True, text=True, env=environment, timeout=limit_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    refused_, made = map(int, done.stdout.split())
    assert refused_ + made == count
    assert made > count // 20
    assert refused_ > count // 2


@pytest.mark.slow
def test_damaged_encodings_are_refused_or_decoded_and_execute_nothing():
    _fuzz(1, 3000, 100)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_quarter_of_a_million_damaged_encodings_are_refused_or_decoded_and_execute_nothing():
    for seed in range(2, 7):
        _fuzz(seed, 50_000, 900)
