"""Groups: what always becomes ready together is called together, in order, and whoever raises is named."""

import functools
from types import SimpleNamespace

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, ms, reaction, startup
from reactornb.errors import ReactionError
from reactornb.runtime.groups import Group
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy, pieces


def reactions(rows, body):
    """As much of a reaction as a group looks at."""
    return [
        SimpleNamespace(body=body, row=row, index=i, level=3, clears=(i,), call=lambda row=row: body(*row))
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize("count", [1, 2, 64, 65, 200])
def test_each_reaction_is_called_once_with_its_own_arguments_in_order(count):
    called = []

    def body(me, shared, out):
        called.append((me, shared, out))

    shared = object()
    rows = [(object(), shared, object()) for _ in range(count)]
    group = Group(reactions(rows, body))
    group.call()
    group.call()
    assert called == rows + rows
    assert group.clears == tuple(range(count))


@pytest.mark.parametrize("count", [1, 3, 64, 65])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_reaction_that_raised_is_found_by_the_trace(count, mixed):
    def body(me, same):
        if me is chosen:
            inner.call()  # a group within the body, of the same shape, is not mistaken for this one

    def fails(me, same):
        raise ValueError(me)

    inner = Group(reactions([(0, None)] * count, fails))
    members = [object() for _ in range(count)]
    made = reactions([(member, None) for member in members], body)
    if mixed:
        made[-1].body = functools.partial(body)
    group = Group(made)
    for at in {0, count // 2, count - 1}:
        chosen = members[at]
        with pytest.raises(ValueError, match="0") as caught:
            group.call()
        assert group.culprit(caught.value) is group.reactions[at]


def test_an_error_from_elsewhere_is_laid_to_the_first():
    group = Group(reactions([(0,), (1,)], print))
    assert group.culprit(ValueError("no trace")) is group.reactions[0]


class Member(Reactor):
    inp = Input[int]()
    out = Output[int]()
    fails: int = -1

    @reaction(inp)
    def on_inp(self, inp, out):
        if inp.value == 30 and self.bank_index == self.fails:
            raise ValueError("refused")
        out.set(inp.value + self.bank_index)


class Server(Reactor):
    back = Input[int](width="n")
    out = Output[int]()
    n: int = 1

    @reaction(startup)
    def on_startup(self, out):
        self.count, self.total = 0, 0
        out.set(0)

    @reaction(back)
    def on_back(self, back, out):
        self.count += 1
        self.total += sum(back.values)
        assert len(back.present) == self.n
        if self.count < 40:
            out.set(self.count)


class Main(Reactor):
    n: int = 1
    fails: int = -1

    def compose(self):
        self.server = Server(n=self.n)
        self.bank = Bank(Member, self.n, fails=self.fails)
        connect(self.server.out, self.bank.inp, after=0, broadcast=True)
        connect(self.bank.out, self.server.back)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [1, 9, 64, 65])
def test_a_bank_of_any_size_answers_and_its_failing_member_is_named(n, workers, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=1))  # with two workers in pieces, by trial
    run = Program(Main(n=n)).start(workers=workers, fast=True, placement="none")
    run.result()
    assert run.instance("server").total == n * sum(range(40)) + 40 * sum(range(n))
    for at in {0, n // 2, n - 1}:
        with pytest.raises(ReactionError) as caught:
            Program(Main(n=n, fails=at)).run(workers=workers, fast=True, placement="none")
        assert caught.value.reaction.endswith(f"bank[{at}].on_inp")
        assert caught.value.tag.microstep == 31


class Ticking(Reactor):
    """Timers that nobody else comes with, called past the queue; one of them fails at its third tick."""

    a = Timer(ms(2), ms(7))
    b = Timer(ms(3), ms(7))

    @reaction(startup)
    def on_startup(self):
        self.count = 0

    @reaction(a)
    def on_a(self):
        pass

    @reaction(b)
    def on_b(self):
        self.count += 1
        if self.count == 3:
            raise ValueError("the third tick")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_timer_s_reaction_that_is_called_at_once_is_named_when_it_raises(workers):
    with pytest.raises(ReactionError, match="the third tick") as caught:
        Program(Ticking()).run(workers=workers, fast=True, placement="none")
    assert caught.value.reaction.endswith("on_b")
    assert caught.value.tag.time_ns == ms(17)


@pytest.mark.parametrize(
    ("count", "each_ns", "sizes"),
    [
        (8, 20_000, [4, 2, 1, 1]),
        (8, 4_000, [4, 3, 1]),
        (8, 1_000, [8]),
        (1, 20_000, [1]),
        (100, 1_000, [50, 25, 12, 11, 2]),
        (100, 0, [100]),
    ],
)
def test_cheap_reactions_are_handed_out_in_pieces_that_become_smaller(count, each_ns, sizes):
    handed_out = list(pieces(range(count), Policy.smallest_item_ns // max(each_ns, 1) + 1))
    assert [len(piece) for piece in handed_out] == sizes
    assert [item for piece in handed_out for item in piece] == list(range(count))
