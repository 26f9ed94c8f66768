"""`check_values=True` names who changed a value that was sent: its reader, its sender, or nobody of the two."""

import pytest

from reactornb import Bank, Input, Output, Reactor, Timer, connect, enclave, ms, reaction
from reactornb.errors import ReactionError, ValueChangedError
from reactornb.testing import run_to_end


class Box:
    def __init__(self):
        self.items = []


class Sender(Reactor):
    out = Output(copy=False)
    t = Timer(0, ms(1))
    changes: bool = False
    late: bool = False

    @reaction(t)
    def on_t(self, out):
        if self.tag.time_ns == 0:
            self.mine = Box()
            out.set(self.mine)
            if self.late:
                self.mine.items.append("at once")
        elif self.changes:
            self.mine.items.append("later")


class Reader(Reactor):
    inp = Input()
    changes: bool = False

    @reaction(inp)
    def on_inp(self, inp):
        if self.changes and self.bank_index == 1:
            inp.value.items.append(1)


def main(*, sender=None, reader=None, apart=False, after=None):
    class Main(Reactor):
        a = enclave(Sender(**(sender or {}))) if apart else Sender(**(sender or {}))
        b = Bank(Reader, 3, **(reader or {}))
        connect(a.out, b.inp, after=after)

    return Main()


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"reader": {"changes": True}},
            r"main.b\[1\].on_inp \(.*\) changed the value that it read from main.b\[[1*]\].inp",
        ),
        ({"sender": {"late": True}}, r"main.a.on_t \(.*\) changed a value after it had sent it on main.a.out"),
        (
            {"sender": {"changes": True}, "after": ms(5)},
            r"main.a.on_t \(.*\) changed a value after it had sent it on main.a.out",
        ),
    ],
    ids=["a reader", "the sender at once", "the sender while it is under way"],
)
def test_who_changes_a_value_is_named(options, words, apart):
    with pytest.raises(ReactionError, match=words) as info:
        run_to_end(main(apart=apart, **options), until=ms(10), check_values=True, workers=2)
    assert isinstance(info.value.__cause__, ValueChangedError)


def test_a_third_one_that_changes_a_value_is_named_and_not_its_reader():
    kept = []

    class Third(Reactor):
        t = Timer(ms(1))

        @reaction(t)
        def on_t(self):
            kept[0].items.append(3)

    class Keeping(Sender):
        @reaction(Sender.t)
        def on_t(self, out):
            if self.tag.time_ns == 0:
                kept.append(Box())
                out.set(kept[0])

    class Main(Reactor):
        a = Keeping()
        b = Reader()
        third = Third()
        connect(a.out, b.inp, after=ms(2))

    with pytest.raises(
        ReactionError, match=r"main.third.on_t \(.*\) changed the value that main.a.on_t sent on main.a.out.*not get"
    ):
        run_to_end(Main(), until=ms(5), check_values=True)


@pytest.mark.parametrize("apart", [False, True])
def test_values_that_nobody_changes_pass(apart):
    run_to_end(main(apart=apart, after=ms(1)), until=ms(5), check_values=True, workers=2)
