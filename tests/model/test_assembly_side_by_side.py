"""Programs of the same classes are assembled on several threads at once."""

import sys
import threading

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction


@pytest.mark.thread_unsafe(reason="has threads of its own")
def test_one_class_is_assembled_by_eight_threads_at_one_moment_and_each_graph_is_whole():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):

            class Sender(Reactor):
                tick = Timer(0, ms(1))
                out = Output[int]()

                @reaction(tick)
                def on_tick(self, out):
                    out.set(1)

            class Receiver(Reactor):
                inp = Input[int](width=3)

                @reaction(inp)
                def on_inp(self):
                    pass

            class Main(Reactor):
                def compose(self):
                    self.senders, self.receiver = Bank(Sender, 3), Receiver()
                    connect(self.senders.out, self.receiver.inp)

            together, graphs, failures = threading.Barrier(8), [], []

            def assemble(cls=Main, together=together, graphs=graphs, failures=failures):
                together.wait()
                try:
                    graphs.append(Program(cls).graph)
                except BaseException as error:  # noqa: BLE001 - told below
                    failures.append(error)

            threads = [threading.Thread(target=assemble) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures
            assert [(len(g.reactors), len(g.reactions)) for g in graphs] == [(5, 4)] * 8
    finally:
        sys.setswitchinterval(before)
