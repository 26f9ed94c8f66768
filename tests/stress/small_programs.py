"""The programs that are started, interrupted and ended again and again, and a look at the threads that are left."""

import threading

from reactornb import Input, Output, Reactor, State, Timer, connect, enclave, ms, reaction, startup

__all__ = ["Pair", "Sink", "Source", "own_threads"]


class Source(Reactor):
    """Sends at each millisecond and never ends by itself."""

    tick = Timer(0, ms(1))
    out = Output[int]()
    made = State(factory=lambda self: list(range(1000)))

    @reaction(startup)
    def on_startup(self):
        pass

    @reaction(tick)
    def on_tick(self, out):
        out.set(1)


class Sink(Reactor):
    value = Input[int]()

    @reaction(value)
    def on_value(self, value):
        pass


class Pair(Reactor):
    """A source and what reads it, in two enclaves if `apart`."""

    apart: bool = False

    def compose(self):
        self.source = enclave(Source()) if self.apart else Source()
        self.sink = Sink()
        connect(self.source.out, self.sink.value, after=ms(1))


def own_threads():
    """The threads that runs of this process have."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("reactornb-") and thread.is_alive()]
