"""Something that a rollout may be sent where nobody learns."""

import numpy as np

from reactornb import Output, Reactor, Timer, ms, reaction

__all__ = ["Ticks"]


class Ticks(Reactor):
    """Weights that nobody needs, now and then."""

    every = Timer(0, ms(1))
    weights = Output[np.ndarray]()

    @reaction(every)
    def on_every(self, weights):
        weights.set(np.zeros(0, np.float32))
