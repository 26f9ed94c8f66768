"""How a level is shared out: fairly, the longest first, where it ran before, and only where that is faster."""

import itertools
import threading
from types import SimpleNamespace

import pytest

from reactornb import Bank, Input, Output, Program, Reactor, connect, reaction, startup
from reactornb.errors import ReactionError
from reactornb.runtime.scheduler import Scheduler
from reactornb.runtime.workers import share_out

WAIT = 10.0


def items(*costs, workers=()):
    return [
        SimpleNamespace(cost_ns=cost, worker=worker, name=i)
        for i, (cost, worker) in enumerate(itertools.zip_longest(costs, workers, fillvalue=-1))
    ]


def loads(lists):
    return sorted(sum(item.cost_ns for item in part) for part in lists)


def test_the_longest_comes_first_and_the_work_is_even():
    lists = share_out(items(*[10] * 15, 500), 2)
    assert loads(lists) == [150, 500]
    assert all(part[0].cost_ns == max(item.cost_ns for item in part) for part in lists)
    assert loads(share_out(items(7, 6, 5, 4, 3, 2), 3)) == [9, 9, 9]
    assert sorted(map(len, share_out(items(*[-1] * 7), 4))) == [1, 2, 2, 2]  # nothing known yet


def test_what_ran_on_a_worker_runs_there_again_unless_that_is_unfair():
    where = [1, 0, 0, 1]
    lists = share_out(items(10, 10, 10, 10, workers=where), 2)
    assert [{item.name for item in part} for part in lists] == [{1, 2}, {0, 3}]
    assert loads(share_out(items(10, 10, 10, 10, workers=[0, 0, 0, 0]), 2)) == [20, 20]
    assert loads(share_out(items(10, 10, workers=[5, 5]), 2)) == [10, 10]  # a run with more workers came before


def test_a_level_of_cheap_reactions_is_run_the_faster_way_and_the_other_is_tried_now_and_then():
    tried = [0, 0, 0]
    assert Scheduler._pays(tried)  # shared first
    tried[1] = 300
    assert not Scheduler._pays(tried)
    tried[0] = 200
    chosen = [Scheduler._pays(tried) for _ in range(1024)]
    assert chosen.count(True) == 4
    tried[0] = 400
    assert [Scheduler._pays(tried) for _ in range(1024)].count(False) == 4


class Cheap(Reactor):
    inp = Input()
    out = Output()
    fails: int = -1

    @reaction(inp)
    def on_inp(self, inp, out):
        if self.bank_index == self.fails:
            raise ValueError("cheap")
        out.set(inp.value + self.bank_index)


class Gather(Reactor):
    ask = Output()
    replies = Input(width="n")
    n: int

    @reaction(startup)
    def on_startup(self, ask):
        self.rounds = 0
        self.threads = set()
        ask.set(0)

    @reaction(replies)
    def on_replies(self, replies, ask):
        self.threads.add(threading.current_thread().name)
        self.rounds += 1
        if self.rounds == 50:
            self.request_stop()
        else:
            ask.set(sum(replies.values) % 7)


class Wide(Reactor):
    n: int = 300
    fails: int = -1

    def compose(self):
        self.gather = Gather(n=self.n)
        self.cheap = Bank(Cheap, self.n, fails=self.fails)
        connect(self.gather.ask, self.cheap.inp, after=0, broadcast=True)
        connect(self.cheap.out, self.gather.replies)


def test_cheap_reactions_are_handed_out_together_with_the_same_result(monkeypatch):
    program = Program(Wide())
    first = program.run(workers=1, fingerprint=True, placement="none").fingerprint
    assert program.run(workers=3, fingerprint=True, placement="none").fingerprint == first
    monkeypatch.setattr(Scheduler, "share_above_ns", 1)  # shares whatever is not surely worth it, by trial
    assert program.run(workers=3, fingerprint=True, placement="none").fingerprint == first
    assert len(program.last_run.instance("gather").threads) == 1  # one worker leads throughout


@pytest.mark.parametrize("above_ns", [0, 1, 1 << 60])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_failure_among_many_names_its_own_reaction(workers, above_ns, monkeypatch):
    monkeypatch.setattr(Scheduler, "share_above_ns", above_ns)
    run = Program(Wide(fails=217)).start(workers=workers, placement="none")
    with pytest.raises(ReactionError, match="cheap") as info:
        run.result(WAIT)
    assert info.value.reaction == "wide.cheap[217].on_inp"
