"""The fingerprint of torch's values: every way in which a tensor stores its elements, modules, optimizers, generators."""

import copy
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from reactornb import Output, Program, Reactor, Timer, ms, reaction, startup  # noqa: E402
from reactornb.errors import UnrecordableValueError  # noqa: E402
from reactornb.runtime.fingerprint import RefusedValueError, digest  # noqa: E402

# Torch says it once in a process, in whichever test is the first.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")


class Net(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.layer = torch.nn.Linear(2, width)
        self.scale = 1.0
        self.register_buffer("seen", torch.zeros(1))


def net(width=3, seed=0):
    torch.manual_seed(seed)
    return Net(width)


def hook(module, inputs, output):
    """Registered on a module."""


def tensors():
    """Tensors of which no two are equal, new each time."""
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    complex_ = torch.tensor([1 + 2j, 3 - 4j])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse and nested tensors are called prototypes
        return [
            base, base.double(), base.half(), base.bfloat16(), base.to(torch.float8_e4m3fn), base.to(torch.float8_e5m2), base.int(), base.bool(), base.byte(),
            base.t(), base.reshape(-1), base + 1, -base, torch.tensor(1.0), torch.tensor([1.0]), torch.tensor([[1.0]]), torch.tensor(True), torch.zeros(0), torch.zeros(0, 3),
            torch.tensor([float("nan")]), torch.tensor([0.0]), torch.tensor([-0.0]), complex_, complex_.conj(), complex_.imag, complex_.conj().imag,
            base.to_sparse(), base.to_sparse_csr(), base.to_sparse_csc(), (base + 1).to_sparse(), torch.sparse_coo_tensor([[0], [0]], [1.0], (2, 2)), torch.sparse_coo_tensor([[0], [0]], [1.0], (2, 3)),
            torch.quantize_per_tensor(base, 0.5, 0, torch.qint8), torch.quantize_per_tensor(base, 0.25, 0, torch.qint8), torch.quantize_per_tensor(base, 0.5, 1, torch.quint8),
            torch.quantize_per_channel(base, torch.tensor([0.5, 0.5]), torch.tensor([0, 0]), 0, torch.qint8),
            torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]), torch.nested.nested_tensor([torch.zeros(2), torch.zeros(1)]),
            torch.empty(2, 3, device="meta"), torch.empty(3, 2, device="meta"), torch.nn.Parameter(base.clone()), base.clone().requires_grad_(),
        ]  # fmt: skip


def others():
    """Of the rest of torch."""
    made = net()
    made.layer(torch.ones(2)).sum().backward()
    hooked = net()
    hooked.register_forward_hook(hook)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.Generator().manual_seed(1)
    torch.rand(1, generator=drawn)
    adam = torch.optim.Adam(made.parameters())
    stepped = torch.optim.Adam(net().parameters())
    net_ = net()
    stepped = torch.optim.Adam(net_.parameters())
    net_.layer(torch.ones(2)).sum().backward()
    stepped.step()
    evaluated = net().eval()
    return [
        net(), net(4), net(seed=1), made, hooked, evaluated, net().state_dict(), net(seed=1).state_dict(), net().layer, dict(net().named_parameters()),
        generator, drawn, torch.Generator().manual_seed(2), adam, stepped, adam.state_dict(), stepped.state_dict(), torch.float32, torch.float64, torch.device("cpu"), torch.Size([1]), (1,),
        torch.distributions.Normal(torch.zeros(2), torch.ones(2)), np.zeros((2, 3), np.float32), [torch.zeros(1), np.zeros(1)], {"a": torch.zeros(1)}, torch.nn.Sequential(net(), net()),
    ]  # fmt: skip


@pytest.mark.slow
def test_no_two_of_many_values_have_one_digest_and_each_has_it_again():
    digests = [digest(value) for value in (*tensors(), *others())]
    twice = [i for i, found in enumerate(digests) if digests.index(found) != i]
    assert not twice, [(*tensors(), *others())[i] for i in twice]
    assert [digest(value) for value in (*tensors(), *others())] == digests


def test_how_a_tensor_is_stored_does_not_count():
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert digest(base.t().contiguous().t()) == digest(base)
    assert digest(torch.arange(12, dtype=torch.float32)[:6].reshape(2, 3)) == digest(base)
    assert digest(torch.tensor([1 - 2j]).conj()) == digest(torch.tensor([1 + 2j]))
    assert digest(torch.tensor([1 + 2j]).conj().imag) == digest(torch.tensor([-2.0]))
    twice = torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, 2.0], (2, 2))
    assert digest(twice) == digest(torch.sparse_coo_tensor([[0], [1]], [3.0], (2, 2)))
    assert digest((base * 1).detach()) == digest(base)


def test_a_module_and_its_copy_are_equal_and_a_step_changes_it():
    one = net()
    other = copy.deepcopy(one)
    assert digest(one) == digest(other)
    with torch.no_grad():
        other.layer.weight[0, 0] += 1
    assert digest(one) != digest(other)
    assert digest(one.state_dict()) != digest(other.state_dict())


def test_sets_of_tensors_and_hooks_without_a_name_are_refused():
    with pytest.raises(RefusedValueError, match="hashed by their address"):
        digest({torch.zeros(1)})
    hooked = net()
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(RefusedValueError) as caught:
        digest([hooked])
    assert caught.value.path == "value[0]._forward_hooks[0]"


class Learner(Reactor):
    tick = Timer(offset=0, period=ms(1))
    out = Output()
    bad: bool = False

    @reaction(startup)
    def on_startup(self):
        self.net = Net()
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.fill_(self.rng.random())

    @reaction(tick)
    def on_tick(self, out):
        with torch.no_grad():
            self.net.layer.weight += 1
        out.set((self.net, self.net.layer.weight.detach().bfloat16(), {torch.zeros(1)} if self.bad else None))


@pytest.mark.slow
def test_healthy_runs_that_send_modules_and_tensors_have_one_fingerprint():
    found = {
        Program(Learner).run(workers=n, fast=True, until=ms(3), fingerprint=True, seed=1).fingerprint for n in (1, 2, 2)
    }
    assert len(found) == 1
    with pytest.raises(UnrecordableValueError, match=r"value\[2\]"):
        Program(Learner, bad=True).run(fast=True, until=ms(3), fingerprint=True)


def test_a_trace_keeps_tensors_as_they_were():
    class Changes(Reactor):
        tick = Timer(offset=0, period=ms(1))
        out = Output()

        @reaction(tick)
        def on_tick(self, out):
            if self.time_ns == 0:
                self.held = torch.zeros(1, requires_grad=True) * 1  # no leaf: it cannot be copied like others
            self.held = self.held + 1
            out.set([self.held.detach(), self.held])

    trace = Program(Changes).run(fast=True, until=ms(2), trace=True, workers=1).trace
    assert [[float(v.detach()) for v in value] for _, value in trace.values("out")] == [[1, 1], [2, 2], [3, 3]]


def test_torch_is_not_imported_for_a_fingerprint():
    assert "torch" not in sys.modules["reactornb.runtime.fingerprint"].__dict__
    assert "torch" not in sys.modules["reactornb.runtime.arrays"].__dict__
