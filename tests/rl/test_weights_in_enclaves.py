"""Weights that an enclave sends while it goes on training in place: each reader has them as they were when they were sent."""

import itertools
import threading

import pytest

torch = pytest.importorskip("torch")

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction, startup  # noqa: E402
from reactornb.rl.dynamo import defer  # noqa: E402

defer()  # or the first optimizer turns the GIL on: it imports triton

WORKERS = (1, 2, 8)
PERIODS = 6

# How the weights are sent, and the tensors that a reader looks at. None of them is copied by who sends.
SENT = {
    "state_dict": (lambda net, _: net.state_dict(), lambda sent: list(sent.values())),
    "parameters": (lambda net, _: list(net.parameters()), list),
    "named parameters": (lambda net, _: dict(net.named_parameters()), lambda sent: list(sent.values())),
    "view of a parameter": (lambda net, _: net[0].weight.data.view(-1)[1:], lambda sent: [sent]),
    "detached": (lambda net, _: net[0].weight.detach(), lambda sent: [sent]),
    "nested dict": (
        lambda net, _: {"policy": {"body": net[0].state_dict(), "head": (net[2].weight.T, [net[2].bias])}, "step": 1},
        lambda sent: [*sent["policy"]["body"].values(), sent["policy"]["head"][0], *sent["policy"]["head"][1]],
    ),
    "state of the optimizer": (
        lambda _, optimizer: optimizer.state_dict(),
        lambda sent: [part for own in sent["state"].values() for part in own.values()],
    ),
}


def program(name, progress):
    """A learner that trains in place, ahead of actors that read what it sent only once it has trained on."""
    send, tensors = SENT[name]

    class Learner(Reactor):
        step = Timer(0, ms(1))
        weights = Output()

        @reaction(startup)
        def on_startup(self):
            made = torch.Generator().manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
            with torch.no_grad():
                for parameter in self.net.parameters():
                    parameter.copy_(torch.randn(parameter.shape, generator=made))
            self.inputs = torch.randn(16, 8, generator=made)
            self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.05)
            self.train()

        def train(self):
            self.optimizer.zero_grad()
            self.net(self.inputs).square().mean().backward()
            self.optimizer.step()

        @reaction(step)
        def on_step(self, weights):
            weights.set(send(self.net, self.optimizer))
            for _ in range(3):
                self.train()
            progress.sent()

    class Actor(Reactor):
        weights = Input()
        total = Output()

        @reaction(weights)
        def on_weights(self, weights, total):
            progress.seen()
            total.set([float(t.detach().double().square().sum()) for t in tensors(weights.value)])

    class Main(Reactor):
        learner = enclave(Learner())
        actors = Bank(Actor, 2)
        connect(learner.weights, actors.weights, after=ms(2), broadcast=True)

    return Main


class Progress:
    """The actors read for the first time when the learner has gone on for two steps, if it has a worker of its own."""

    def __init__(self, apart):
        self.apart = apart
        self.steps = 0
        self.ahead = threading.Event()

    def sent(self):
        self.steps += 1
        if self.steps == 3:
            self.ahead.set()

    def seen(self):
        if self.apart:
            assert self.ahead.wait(20)


def ran(name, workers):
    run = Program(program(name, Progress(workers > 1))).start(
        workers=workers, fast=True, fingerprint=True, trace=True, until=ms(PERIODS)
    )
    result = run.result(40)
    return result.fingerprint, [value for _, value in result.trace.values("actors[0].total")]


@pytest.mark.slow
@pytest.mark.parametrize("name", SENT)
def test_what_actors_see_is_what_was_sent_for_any_number_of_workers_and_each_time(name):
    found = [ran(name, workers) for workers in WORKERS for _ in range(2)]
    found += [ran(name, 2) for _ in range(2)]  # four of them with two
    assert found[1:] == found[:-1]
    seen = found[0][1]
    assert len(seen) == PERIODS - 2 + 1
    assert all(a != b for a, b in itertools.pairwise(seen)), "the learner learns"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["state_dict", "parameters", "nested dict", "view of a parameter"])
def test_what_arrives_equals_a_copy_made_when_it_was_sent(name):
    send, tensors = SENT[name]

    def copied(net, optimizer):
        kept.append([float(t.detach().clone().double().square().sum()) for t in tensors(send(net, optimizer))])
        return send(net, optimizer)

    kept = []
    SENT["copied"] = copied, tensors
    try:
        _, seen = ran("copied", 2)
    finally:
        del SENT["copied"]
    assert seen == kept[: len(seen)]
