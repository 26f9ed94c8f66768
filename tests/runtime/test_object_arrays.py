"""An array of objects that is sent by itself: what is in it is treated as in a list."""

import numpy as np
import pytest

from reactornb import Bank, Input, Output, Program, Reactor, connect, reaction, startup
from reactornb.errors import ReactionError


class Sender(Reactor):
    out = Output()

    @reaction(startup)
    def on_startup(self, out):
        inner = [1, np.zeros(2)]
        array = np.array([None, None], dtype=object)
        array[0] = inner
        out.set(array)
        inner.append("late")
        assert not inner[1].flags.writeable


class Reader(Reactor):
    inp = Input()
    changes: str = ""

    @reaction(inp)
    def on_inp(self, inp):
        self.got = [len(inp.value[0]), float(inp.value[0][1].sum())]
        if self.changes == "list":
            inp.value[0].append(1)
        elif self.changes == "array":
            inp.value[1] = 1
        elif self.changes == "inner":
            inp.value[0][1][0] = 1


class Main(Reactor):
    readers: int = 1
    changes: str = ""

    def compose(self):
        self.sender = Sender()
        self.reader = Bank(Reader, self.readers, changes=self.changes)
        connect(self.sender.out, self.reader.inp, broadcast=True)


@pytest.mark.parametrize("readers", [1, 3])  # each kind of port has a `set` of its own
def test_what_the_sender_changes_later_does_not_arrive(readers):
    program = Program(Main, readers=readers)
    program.run(workers=1)
    assert program.last_run.instance("reader[0]").got == [2, 0.0]


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("changes", ["list", "array", "inner"])
def test_a_reader_cannot_change_it(changes, readers):
    with pytest.raises(ReactionError):
        Program(Main, readers=readers, changes=changes).run(workers=1)
