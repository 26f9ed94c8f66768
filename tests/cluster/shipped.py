"""A program that travels, for tests: rollouts as enclaves, a learner that sums what they send."""

import numpy

from reactornb import Bank, Input, Output, Reactor, Timer, connect, enclave, ms, reaction

SCALE = 3


def scaled(x):
    return SCALE * x


class Rollout(Reactor):
    weights = Input[object]()
    episode = Output[object]()
    make: object = None

    @reaction(weights)
    def on_weights(self, weights, episode):
        value = self.make() if self.make is not None else 1
        episode.set(scaled(weights.value) + value + int(self.rng.integers(100)))


class Learner(Reactor):
    width: int = 2
    episode = Input[object](width="width")
    weights = Output[object]()
    tick = Timer(ms(0), ms(1))

    @reaction(tick)
    def on_tick(self, weights):
        weights.set(int(self.rng.integers(100)))

    @reaction(episode)
    def on_episode(self, episode):
        self.log(total=float(numpy.sum([one.value for one in episode if one.is_present])))


class Main(Reactor):
    needs_physical_time = False
    n: int = 2
    make: object = None

    def compose(self):
        self.learner = Learner(width=self.n)
        self.rollouts = enclave(Bank(Rollout, self.n, make=self.make), each=True)
        connect(self.learner.weights, self.rollouts.weights, after=ms(2))
        connect(self.rollouts.episode, self.learner.episode)
