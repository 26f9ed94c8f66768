"""What reactors hold of torch: parameters that show one memory, gradients, optimizers, generators."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from standing_reactors import carried_one, known_of, standing  # noqa: E402
from torch import nn  # noqa: E402

from reactornb import Reactor  # noqa: E402
from reactornb.durable.objects import CannotRestoreError, Known, NotSavableError, capture, rehearse, restore  # noqa: E402
from reactornb.rl.learner import without_triton  # noqa: E402
from reactornb.rl.networks import Flat  # noqa: E402
from reactornb.rl.optimizers import Adam  # noqa: E402


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x - self.mean))))


class Learning(Reactor):
    """A flat network with torch's Adam, one with ours, a third with momentum and a schedule of its rate."""

    def begin(self):
        with without_triton():
            self.net, self.other, self.third = Net(), Net(), Net()
            self.flat = Flat(self.net, gradients=True)
            self.adam = torch.optim.Adam([self.flat.parameter], lr=1e-2)
            self.own_flat = Flat(self.other, gradients=True)
            self.own = Adam([self.own_flat.parameter], lr=1e-2)
            self.sgd = torch.optim.SGD(self.third.parameters(), lr=0.1, momentum=0.9)
            self.schedule = torch.optim.lr_scheduler.StepLR(self.sgd, 3, gamma=0.5)
        self.weights = self.flat.parameter.data.numpy()
        self.chance = torch.Generator().manual_seed(5)

    def learn(self, count):
        losses = []
        for _ in range(count):
            x = torch.randn(16, 4, generator=self.chance)
            self.flat.parameter.grad.zero_()
            self.own_flat.parameter.grad.zero_()
            self.sgd.zero_grad()
            for net in (self.net, self.other, self.third):
                loss = (net(x) - 1).pow(2).mean()
                loss.backward()
                losses.append(loss.item())
            self.adam.step()
            self.own.step()
            self.sgd.step()
            self.schedule.step()
            self.net.mean += x.mean(0) * 0.1
            losses.append(float(self.weights.sum()))
        return losses


@pytest.mark.slow
def test_learning_goes_on_bit_for_bit_whatever_optimizer():
    one, other = carried_one(Learning, lambda one: one.learn(5))
    assert one.learn(6) == other.learn(6)


def test_tensors_of_every_kind_come_back():
    def work(one):
        one.column = torch.arange(6.0).reshape(3, 2)[:, 1]
        one.half = torch.ones(3, dtype=torch.bfloat16)
        one.flags = torch.tensor([True, False])
        one.scalar, one.empty = torch.tensor(3.0), torch.zeros(0, 3)
        one.leaf = nn.Parameter(torch.ones(2))
        one.leaf.grad = torch.full((2,), 3.0)
        one.noted = torch.ones(1)
        one.noted.note = ["x"]
        one.kinds = torch.float16, torch.device("cpu"), torch.Size([1, 2])
        one.layer = nn.Linear(2, 2)
        one.detached = (one.leaf * 2).detach()

    class Main(Reactor):
        pass

    one, other = carried_one(Main, work)
    assert other.column.tolist() == [1, 3, 5]
    assert other.column.stride() == one.column.stride()
    assert other.half.dtype is torch.bfloat16
    assert other.leaf.grad.tolist() == [3, 3]
    assert other.leaf.requires_grad
    assert type(other.leaf) is nn.Parameter
    assert other.noted.note == ["x"]
    assert torch.equal(one.layer(one.leaf), other.layer(other.leaf))
    assert other.detached.tolist() == [2, 2]


def test_arrays_and_tensors_that_show_one_memory_still_do():
    class Main(Reactor):
        def begin(self):
            self.tensor = torch.zeros(6)
            self.array = self.tensor.numpy()

    def work(one):
        one.tensor += torch.arange(6.0)
        one.part = one.tensor[2:4]
        one.late = np.arange(5.0)
        one.of_late = torch.from_numpy(one.late)
        one.of_part = one.part.numpy()

    _, other = carried_one(Main, work)
    other.array[2] = 70
    assert other.tensor[2] == other.part[0] == other.of_part[0] == 70
    other.late[0] = 9
    assert other.of_late[0] == 9


def test_a_network_is_filled_in_place_and_its_flat_parameter_still_is_its_weights():
    class Main(Reactor):
        def begin(self):
            self.net = nn.Linear(3, 2)
            self.flat = Flat(self.net, gradients=True)

    (one,) = standing(Main)
    with torch.no_grad():
        one.flat.parameter.fill_(2)
    (other,) = standing(Main)
    weight, parameter = other.net.weight, other.flat.parameter
    restore([capture([one], known_of([one]), strict=False)], [other], known_of([other]))
    assert other.net.weight is weight
    assert other.flat.parameter is parameter
    assert weight.tolist() == [[2, 2, 2]] * 2
    with torch.no_grad():
        parameter.fill_(5)
    assert weight.tolist() == [[5, 5, 5]] * 2
    other.net(torch.ones(1, 3)).sum().backward()
    assert parameter.grad.sum() != 0


def test_a_tensor_of_a_graph_of_gradients_is_refused():
    class Main(Reactor):
        def begin(self):
            weight = nn.Parameter(torch.ones(2))
            self.hidden = weight * 2

    (one,) = standing(Main)
    with pytest.raises(NotSavableError, match=r"Keep \.detach\(\) of it"):
        rehearse([one], standing(Main), known_of([one]))


@pytest.mark.parametrize(
    "head",
    [
        ("Tensor", torch.float32, (9,), (1,), 0, "cpu", False, ()),
        ("Tensor", torch.float32, (2,), (100,), 0, "cpu", False, ()),
        ("Tensor", torch.float32, (2,), (1,), -8, "cpu", False, ()),
        ("Tensor", torch.float32, (2,), (1,), 3, "cpu", False, ()),
        ("Tensor", "float32", (2,), (1,), 0, "cpu", False, ()),
        ("Tensor", torch.int64, (1,), (1,), 0, "cpu", True, ()),
        ("Tensor", torch.float32, (2,), (1,), 0, "nowhere", False, ()),
    ],
    ids=["too long", "too far", "before", "between", "no dtype", "no gradients", "no device"],
)
def test_forged_tensors_are_one_named_error(head):
    class Main(Reactor):
        def begin(self):
            self.thing = None

    (one,) = standing(Main)
    tree = capture([one], known_of([one]), strict=False)
    name, cls, names, _ = tree["reactors"][0]
    tree["reactors"] = [(name, cls, names, [["tensor", head, [["block", np.zeros(16, np.uint8), ()], None]]])]
    with pytest.raises(CannotRestoreError):
        restore([tree], [one], Known({Main}))


@pytest.mark.slow
def test_nothing_here_imports_torch():
    import subprocess

    code = "import sys, reactornb.durable.objects; sys.exit('torch' in sys.modules or 'gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
