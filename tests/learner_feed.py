"""A reactor that feeds a learner what a test has ready."""

from typing import Any

import numpy as np

from reactornb import Input, Output, Reactor, Shared, reaction, startup


class Feed(Reactor):
    """Sends its values one after the other, whenever weights arrive; keeps what came."""

    weights = Input[np.ndarray]()
    values = Output[Any]()
    send: Shared[list]
    keep: Shared[list]

    @reaction(startup)
    def on_startup(self):
        self.left = list(self.send)

    @reaction(weights)
    def on_weights(self, weights, values):
        self.keep.append((self.tag, weights.value))
        if self.left:
            values.set(self.left.pop(0))
