"""The codec with torch's values: dense tensors of every dtype, parameters, gradients, generators, the states of modules and optimizers."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reactornb.errors import MalformedDataError, UnencodableValueError  # noqa: E402
from reactornb.runtime.codec import decode, encode  # noqa: E402
from reactornb.runtime.fingerprint import digest  # noqa: E402


def again(value):
    return decode(encode(value).to_bytes())


def dense():
    """Dense tensors: every dtype that can be filled, every way to lie in memory."""
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    complex_ = torch.tensor([1 + 2j, 3 - 4j])
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8, torch.int16, torch.int64, torch.bool, torch.complex64]  # fmt: skip
    return [
        base, base.permute(2, 0, 1), base[::2, 1], base[1:2, :, :1], base.expand(2, 3, 4, 5), torch.tensor(1.0), torch.tensor([float("nan"), -0.0]),
        torch.zeros(0), torch.zeros(3, 0), complex_, complex_.conj(), complex_.conj().imag, torch.nn.Parameter(base.clone()), torch.nn.Parameter(base.clone(), requires_grad=False),
        base.clone().requires_grad_(), base.clone().requires_grad_() * 2, *(base.to(kind) for kind in kinds),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(dense())))
def test_a_dense_tensor_comes_back_with_type_dtype_shape_and_bits(number):
    value = dense()[number]
    there = again(value)
    assert type(there) is type(value)
    assert (there.dtype, there.shape, there.requires_grad) == (value.dtype, value.shape, value.requires_grad)
    assert digest(there) == digest(value)
    assert there.is_contiguous()


def test_a_tensor_has_memory_of_its_own_and_gradients_and_attributes():
    value = torch.nn.Parameter(torch.ones(300))
    (value * 2).sum().backward()
    value.note = ["a", 3]
    data = encode([value, value]).to_bytes()
    there, same = decode(data, copy=False)
    assert there is same
    assert there.note == ["a", 3]
    assert digest(there) == digest(value)
    with torch.no_grad():
        there += 1
    assert digest(decode(data)[0]) == digest(value)


def test_a_generator_goes_on_as_the_original_would():
    value = torch.Generator()
    value.manual_seed(5)
    torch.rand(3, generator=value)
    there = again(value)
    assert torch.equal(torch.rand(5, generator=there), torch.rand(5, generator=value))


@pytest.mark.slow
def test_states_of_modules_and_optimizers_train_on_alike():
    def made():
        torch.manual_seed(1)
        module = torch.nn.Sequential(torch.nn.Linear(3, 20), torch.nn.Tanh(), torch.nn.Linear(20, 2))
        return module, torch.optim.Adam(module.parameters(), lr=1e-2)

    def step(module, optimizer):
        optimizer.zero_grad()
        module(torch.ones(5, 3)).square().sum().backward()
        optimizer.step()

    one, other = made(), made()
    step(*one)
    states = again([part.state_dict() for part in one])
    for part, state in zip(other, states, strict=True):
        part.load_state_dict(state)
    step(*one), step(*other)
    assert digest(one[0].state_dict()) == digest(other[0].state_dict())


def test_small_things_of_torch_come_back():
    for value in (torch.float32, torch.device("cpu"), torch.device("cuda", 1), torch.Size([2, 3])):
        assert again(value) == value
        assert type(again(value)) is type(value)


def test_tensors_that_are_not_dense_are_refused():
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse tensors are called prototypes
        others = [base.to_sparse(), base.to_sparse_csr(), torch.quantize_per_tensor(base, 0.5, 0, torch.qint8), torch.empty(2, device="meta")]  # fmt: skip
    for value in others:
        with pytest.raises(UnencodableValueError, match=r"value\[0\] is a torch.Tensor: only dense tensors"):
            encode([value])
    with pytest.raises(UnencodableValueError, match="Linear"):
        encode(torch.nn.Linear(2, 2))


def test_tensors_that_encode_does_not_write_are_refused():
    good = encode(torch.ones(3))
    for old, new in [
        (b'"float32"', b'"float64"'), (b'"float32"', b'"nn"'), (b'"float32"', b'"no_grad"'), (b"[3]", b"[1099511627776]"), (b'"Tensor"', b'"Linear"'), (b"false", b"3"),
        (b'"cpu"', b'"nowhere"'), (b'"float32"', b'"bool"'),
    ]:  # fmt: skip
        assert old in good.tree
        damaged = type(good)(good.tree.replace(old, new), good.buffers)
        with pytest.raises(MalformedDataError):
            decode(damaged)
    state = encode(torch.Generator())
    with pytest.raises(MalformedDataError):
        decode(type(state)(state.tree, (memoryview(bytes(state.buffers[0].nbytes - 1)),)))
    with pytest.raises(MalformedDataError):
        decode(type(state)(state.tree, (memoryview(b"\xff" * state.buffers[0].nbytes),)))


WITHOUT_TORCH = """
import sys
from reactornb.errors import MalformedDataError
from reactornb.runtime.codec import decode, encode
import numpy
decode(encode([1, numpy.zeros(3), {"a": None}]))
try:
    decode(bytes.fromhex(sys.argv[1]))
except MalformedDataError as error:
    print(error)
assert "torch" not in sys.modules
"""


@pytest.mark.slow
def test_torch_is_not_imported_and_the_error_says_what_to_do():
    data = encode(torch.ones(3)).to_bytes().hex()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, data], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "import torch" in done.stdout


def test_tensors_and_arrays_lie_together_in_one_value():
    shared = np.arange(500.0)
    there = again({"array": shared, "tensor": torch.arange(500), "again": shared})
    assert there["array"] is there["again"]
    assert torch.equal(there["tensor"], torch.arange(500))
