"""PyTorch cannot make a tensor read-only: a reader that changes one is found by `check_values=True`, wherever the tensor is."""

from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from reactornb import Input, Output, Program, Reactor, connect, reaction, startup  # noqa: E402
from reactornb.errors import ReactionError  # noqa: E402


@dataclass
class Batch:
    states: object


SHAPES = {
    "a tensor": (lambda: torch.zeros(3), lambda v: v),
    "in a tuple": (lambda: (1, torch.zeros(3)), lambda v: v[1]),
    "in a dict": (lambda: {"weight": torch.zeros(3)}, lambda v: v["weight"]),
    "in a dataclass": (lambda: Batch(torch.zeros(3)), lambda v: v.states),
}


@pytest.mark.parametrize(("make", "tensor"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("annotation", [object, torch.Tensor])
def test_a_reader_that_changes_a_tensor_is_found_and_the_senders_is_not_touched(make, tensor, annotation):
    kept = []

    class Sender(Reactor):
        out = Output[annotation]()

        @reaction(startup)
        def on_startup(self, out):
            kept.append(make())
            out.set(kept[-1])

    class Reader(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            tensor(inp.value).add_(1)

    class Top(Reactor):
        sender = Sender()
        reader = Reader()
        connect(sender.out, reader.inp)

    Program(Top).run(workers=1, fast=True)
    assert tensor(kept[-1]).tolist() == [0, 0, 0]
    with pytest.raises(ReactionError, match=r"top\.reader\.on_inp.*changed the value"):
        Program(Top).run(workers=1, fast=True, check_values=True)
