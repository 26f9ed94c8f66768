"""How a level is shared: fairly, the longest first, and only where that is faster."""

import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from reactornb import Bank, Input, Output, Program, Reactor, connect, cpu, per_member, reaction, startup
from reactornb.errors import ReactionError
from reactornb.runtime import level_runner, shared_calls, workers
from reactornb.runtime.batch import Batch
from reactornb.runtime.generators import Generators
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.shared_calls import SharedCalls, TimedItem
from reactornb.runtime.sharing import History, Policy, assign, decide
from reactornb.runtime.team import Call
from reactornb.runtime.workers import Worker
from reactornb.tags import forever

pytestmark = pytest.mark.alone  # how threads share the machine's time is part of what is asserted

WAIT = 10.0


def items(*costs):
    return [SimpleNamespace(cost_ns=cost) for cost in costs]


def loads(lists):
    return sorted(sum(item.cost_ns for item in part) for part in lists)


def test_the_longest_comes_first_and_the_work_is_even():
    lists = assign(items(*[10] * 15, 100), 2, Policy())
    assert loads(lists) == [120, 130]
    assert all(part[0].cost_ns == max(item.cost_ns for item in part) for part in lists)
    assert loads(assign(items(7, 6, 5, 4, 3, 2), 3, Policy(even_within=1.0))) == [9, 9, 9]
    assert sorted(map(len, assign(items(*[-1] * 7), 4, Policy()))) == [1, 2, 2, 2]  # nothing known yet


def test_what_costs_the_same_but_for_chance_is_dealt_out_in_turn():
    dealt = assign(items(9, 7, 8, 10, 8, 9, 7, 11), 2, Policy())
    assert [[item.cost_ns for item in part] for part in dealt] == [[9, 8, 8, 7], [11, 10, 9, 7]]
    assert loads(assign(items(*[90, 10] * 4), 2, Policy())) == [200, 200], (
        "in turn, one worker would get all that is long"
    )


def rounds_of(history, alone, shared, count):
    """Which of so many rounds were shared, where a reaction takes that long alone and shared."""
    chosen = []
    for _ in range(count):
        chosen.append(history.share_next)
        history.ran(shared=chosen[-1], each_ns=shared if chosen[-1] else alone)
    return chosen


def trials(chosen, *, shared):
    """The rounds in which a trial began of what is not usual; every trial takes four rounds."""
    assert all(len(list(run)) == 4 for way, run in itertools.groupby(chosen) if way == shared)
    return [i for i, way in enumerate(chosen) if way == shared and (i == 0 or chosen[i - 1] != way)]


@pytest.mark.parametrize(("alone", "tried"), [(220, [8, 28, 64, 132, 264]), (400, [8, 268, 528, 788])])
def test_running_alone_is_tried_rarely_where_it_was_slower_by_a_fifth(alone, tried):
    history = History(Policy())
    assert rounds_of(history, alone, 200, 2) == [True, False]
    assert trials(rounds_of(history, alone, 200, 1000), shared=False)[: len(tried)] == tried


def test_a_level_of_cheap_reactions_is_run_the_faster_way_and_the_other_is_tried_now_and_then():
    history = History(Policy())
    assert rounds_of(history, 200, 300, 2) == [True, False]  # both once, shared first
    chosen = rounds_of(history, 200, 300, 2000)
    assert trials(chosen, shared=True)[:3] == [8, 28, 64]
    assert len(trials(chosen, shared=True)) == 11
    assert rounds_of(history, 400, 300, 1200)[-900:].count(False) < 4 * 4  # what has changed is noticed


def test_the_first_rounds_of_a_trial_do_not_decide():
    """The other workers are woken, and find their code cold: sharing would never be found to pay where that takes longer than is gained."""
    history = History(Policy())
    rounds_of(history, 200, 3000, 2)
    assert rounds_of(history, 200, 3000, 8) == [False] * 8
    for took in (400, 250, 120, 120):
        assert history.share_next
        history.ran(shared=True, each_ns=took)
    assert rounds_of(history, 200, 120, 6) == [True] * 6


def test_one_slow_round_does_not_decide_how_a_level_is_run():
    history = History(Policy())
    rounds_of(history, 200, 1000, 1)  # the first time a level is shared it is also shared out
    rounds_of(history, 200, 100, 10)
    assert rounds_of(history, 200, 100, 100).count(False) < 6
    for long in (500, 10**9):  # another program had the core for a while
        history.ran(shared=True, each_ns=long)
        assert rounds_of(history, 200, 100, 100).count(False) < 6


def test_a_level_whose_better_way_has_changed_is_tried_again_soon():
    history = History(Policy())
    rounds_of(history, 400, 200, 300)  # running it alone is far slower, so it is tried rarely
    for _ in range(40):
        history.ran(shared=True, each_ns=1000)
        if not history.sharing_pays:
            break
    assert not history.sharing_pays
    assert rounds_of(history, 400, 200, 40)[8:].count(False) <= 4


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
    last: int = 50

    @reaction(startup)
    def on_startup(self, ask):
        self.rounds = 0
        self.threads = set()
        ask.set(0)

    @reaction(replies)
    def on_replies(self, replies, ask):
        self.threads.add(threading.current_thread().name)
        self.rounds += 1
        if self.rounds == self.last:
            self.request_stop()
        else:
            ask.set(sum(replies.values) % 7)


class Wide(Reactor):
    n: int = 300
    fails: int = -1
    last: int = 50

    def compose(self):
        self.gather = Gather(n=self.n, last=self.last)
        self.cheap = Bank(Cheap, self.n, fails=self.fails)
        connect(self.gather.ask, self.cheap.inp, after=0, broadcast=True)
        connect(self.cheap.out, self.gather.replies)


def test_cheap_reactions_are_handed_out_together_with_the_same_result(monkeypatch):
    program = Program(Wide())
    first = program.run(workers=1, fingerprint=True, placement="none").fingerprint
    assert program.run(workers=3, fingerprint=True, placement="none").fingerprint == first
    monkeypatch.setattr(
        LevelRunner, "policy", Policy(share_above_ns=1)
    )  # shares whatever is not surely worth it, by trial
    assert program.run(workers=3, fingerprint=True, placement="none").fingerprint == first
    assert len(program.last_run.instance("gather").threads) == 1  # one worker leads throughout


@pytest.fixture(autouse=True)
def no_look_at_generators(monkeypatch):
    """At whose end levels are shared out anew."""
    monkeypatch.setattr(Generators, "tags", 0)


def tell_when_planned(monkeypatch, told):
    """Have `told(plan, costs, history)` called each time that a level is planned anew, before the plan is used."""

    def decide_and_tell(costs, history, width):
        plan = decide(costs, history, width)
        if plan.parts is not None and (history.plan is None or plan.parts is not history.plan.parts):
            told(plan, costs, history)
        return plan

    monkeypatch.setattr(level_runner, "decide", decide_and_tell)


def size_of(costs):
    return sum(item.size for item in costs)


@pytest.mark.parametrize(("due_ns", "times"), [(0, 50), (1 << 62, 1)])
def test_a_level_is_not_planned_anew_before_planning_has_paid_for_itself(due_ns, times, monkeypatch):
    plans = []
    planned = History.planned

    def stale_at_once(history, plan, planning_ns):
        planned(history, plan, planning_ns)
        history.replan_not_before_ns, history.cost_changed = due_ns, True

    tell_when_planned(monkeypatch, lambda plan, costs, _: plans.append(size_of(costs)))
    monkeypatch.setattr(History, "planned", stale_at_once)
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0, profile_ns=0))  # each round is a profile round
    Program(Wide()).run(workers=2, placement="none")
    assert plans.count(300) == times


def test_a_level_is_planned_anew_ever_more_rarely(monkeypatch):
    rounds, plans = itertools.count(), []
    profile_round = History.profile_round

    def profiled(history, each_ns, **_):
        profile_round(history, each_ns, saw_outlier=False, cost_changed=False)
        next(rounds)

    tell_when_planned(monkeypatch, lambda *_: plans.append(next(rounds)))
    monkeypatch.setattr(History, "profile_round", profiled)
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0, profile_ns=0, overhead=0))
    Program(Wide(n=20, last=500)).run(workers=2, placement="none")
    between = [b - a - 1 for a, b in itertools.pairwise(plans)]
    assert between == [16, 32, 64, 128, 256]


@pytest.mark.parametrize(
    ("is_unusual", "in_pieces"),
    [
        (lambda turn: turn % 16 == 0, [False, True, True, True]),  # at first no cost is known
        (lambda turn: turn % 4 == 0, [False, False, False, False]),
        (lambda turn: turn > 20 and turn % 2 == 0, [False, True, False, False]),  # noticed before the next plan was due
    ],
)
def test_reactions_whose_times_vary_are_handed_out_singly(is_unusual, in_pieces, monkeypatch):
    turns, plans = itertools.count(), []
    profile_round = History.profile_round

    def profiled(history, each_ns, **_):
        profile_round(history, each_ns, saw_outlier=is_unusual(next(turns)), cost_changed=False)

    tell_when_planned(monkeypatch, lambda plan, *_: plans.append(plan.in_pieces))
    monkeypatch.setattr(History, "profile_round", profiled)
    monkeypatch.setattr(History, "share_next", True)
    # Whatever they cost, they are cheap.
    policy = Policy(share_above_ns=1, surely_worth_ns=1 << 40, profile_ns=0, overhead=0)
    monkeypatch.setattr(LevelRunner, "policy", policy)
    Program(Wide(n=20, last=600)).run(workers=2, placement="none")
    assert plans[:4] == in_pieces


class Taking:
    """An item of a batch that takes the times it is given, in ns, on a clock of its own."""

    def __init__(self, monkeypatch, *times, cost_ns=1000):
        self.clock, self.times = SimpleNamespace(now=0, perf_counter_ns=lambda: self.clock.now), list(times)
        monkeypatch.setattr(shared_calls, "time", self.clock)
        self.cost_ns, self.outlier = cost_ns, False

    def call(self):
        self.clock.now += self.times.pop(0)

    def told(self, policy):
        """(estimate, saw an outlier, cost changed) after each time."""
        told = []
        while self.times:
            calls = SimpleNamespace(saw_outlier=False, cost_changed=False, policy=policy)
            TimedItem(self, calls).call()
            told.append((self.cost_ns, calls.saw_outlier, calls.cost_changed))
        return told


def test_an_unusual_time_is_ignored_once_and_believed_the_second_time(monkeypatch):
    # An environment that resets now and then; one whose steps have become longer for good.
    assert Taking(monkeypatch, 5000, 104, 5000, 5000, 5000, cost_ns=100).told(Policy()) == [
        (100, True, False),
        (101, False, False),
        (101, True, False),
        (5000, False, True),
        (5000, False, False),
    ]


def test_without_outliers_each_unusual_time_is_a_changed_cost(monkeypatch):
    assert Taking(monkeypatch, 5000, 5000, 1200, cost_ns=100).told(Policy(outliers=False)) == [
        (5000, False, True),
        (5000, False, False),
        (1200, False, True),
    ]


class Steps:
    """Calls of known times, carried out as `Team.job` does; one of them may take another time in some rounds."""

    def __init__(self, monkeypatch, *, unusual_in=(), policy=None):
        self.clock = SimpleNamespace(now=0, perf_counter_ns=lambda: self.clock.now)
        monkeypatch.setattr(shared_calls, "time", self.clock)
        self.calls, self.unusual_in = [], unusual_in
        self.leader = Worker(0, "test", lambda index: None, 1, patient=False)
        self.items = [Call(lambda i=i: self.call(i)) for i in range(4)]
        for item in self.items:
            item.cost_ns = 1000
        self.history = History(policy or Policy(share_above_ns=0, pieces=False, trials=False))
        self.shared = None

    def call(self, number):
        self.calls.append(number)
        self.clock.now += 50_000 if number == 3 and (len(self.calls) - 1) // 4 in self.unusual_in else 1000

    def rounds(self, count):
        """Of so many rounds, those in which times were taken."""
        profiled, history = [], self.history
        for turn in range(count):
            if self.shared is not None and self.shared.prebuilt_batches:
                self.shared.run()
                continue
            profiled.append(turn)
            history.now_ns = self.clock.now
            plan = decide(self.items, history, 2)
            if history.plan is None or plan.parts is not history.plan.parts:
                self.shared = SharedCalls((self.items[:2], self.items[2:]), None, self.leader, [self.leader], history)
                history.planned(plan, 1 << 40)
            self.shared.profile_round(plan.unmeasured)
        assert self.calls == [0, 1, 2, 3] * count
        return profiled


def test_times_are_taken_ever_more_rarely(monkeypatch):
    steps = Steps(monkeypatch)
    assert steps.rounds(40) == [0, 2, 5, 9, 14, 20, 27, 35]
    assert steps.shared.cost_ns == 4000
    assert (steps.history.outlier_rounds, steps.history.cost_changed) == (0, False)


def test_times_are_taken_more_often_where_that_costs_little(monkeypatch):
    # A hundredth of three rounds that two workers share.
    policy = Policy(share_above_ns=0, pieces=False, trials=False, profile_ns=60)
    assert Steps(monkeypatch, policy=policy).rounds(20) == [0, 2, 5, 9, 13, 17]


def test_after_a_round_with_an_outlier_times_are_taken_in_the_next_round_too(monkeypatch):
    steps = Steps(monkeypatch, unusual_in=[35, 36])
    assert steps.rounds(50) == [0, 2, 5, 9, 14, 20, 27, 35, 36, 46]
    # An outlier in round 35, a changed cost, as it seemed, in 36, and back again in 46.
    assert (steps.history.outlier_rounds, steps.history.cost_changed) == (2, True)


def test_times_are_taken_after_some_rounds_in_any_case_since_a_cost_may_have_changed(monkeypatch):
    policy = Policy(share_above_ns=0, pieces=False, trials=False, most_rounds=3)
    assert Steps(monkeypatch, policy=policy).rounds(20) == [0, 2, 5, 9, 13, 17]


class Two(Reactor):
    """Two of them: two groups on one level."""

    def compose(self):
        self.gather, self.other = Gather(n=4, last=100), Gather(n=4, last=100)
        for gather, bank in ((self.gather, "one"), (self.other, "another")):
            cheap = Bank(Cheap, 4)
            setattr(self, bank, cheap)
            connect(gather.ask, cheap.inp, after=0, broadcast=True)
            connect(cheap.out, gather.replies)


@pytest.mark.parametrize("options", [{"fingerprint": True}, {"trace": True}, {"profile": True}])
@pytest.mark.parametrize("root", [Wide(n=8, last=100), Two()], ids=["one group", "two groups"])
def test_a_level_with_an_unchanged_set_of_ready_reactions_is_mostly_run_without_taking_times(
    root, options, monkeypatch
):
    counts = {"run": 0, "profile_round": 0}

    def count(name):
        method = getattr(SharedCalls, name)

        def counted(calls, *unmeasured):
            counts[name] += len(calls.parts) == 2
            return method(calls, *unmeasured)

        monkeypatch.setattr(SharedCalls, name, counted)

    program = Program(root)

    def seen(workers):
        run = program.start(workers=workers, placement="none", **options)
        run.result(WAIT)
        gather = run.instance("gather")
        counted = {t.reaction: t.count for t in run.profile()} if "profile" in options else None
        return run.fingerprint, run.trace and run.trace.executions, counted, gather.rounds

    alone = seen(1)
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=0))
    count("run")
    count("profile_round")
    assert seen(2) == alone
    assert counts["run"] >= 100
    assert counts["profile_round"] < counts["run"]  # each profile round is a run, too


@pytest.mark.parametrize("above_ns", [0, 1, 1 << 60])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_failure_among_many_names_its_own_reaction(workers, above_ns, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=above_ns))
    run = Program(Wide(fails=217)).start(workers=workers, placement="none")
    with pytest.raises(ReactionError, match="cheap") as info:
        run.result(WAIT)
    assert info.value.reaction == "wide.cheap[217].on_inp"


class Picky(Reactor):
    """Refuses one number; passes the others on."""

    inp = Input[int]()
    out = Output[int]()
    refuses: int = -1

    @reaction(inp)
    def on_inp(self, inp, out):
        if inp.value == self.refuses:
            raise ValueError(f"{inp.value} is refused")
        out.set(inp.value)


class Asking(Reactor):
    """Asks a bank of which the last member but one refuses a question."""

    refused: int = 2

    def compose(self):
        self.source = Counting()
        self.bank = Bank(Picky, 5, refuses=per_member(lambda index: self.refused if index == 3 else -1))
        connect(self.source.out, self.bank.inp, after=0, broadcast=True)
        connect(self.bank.out, self.source.back)


class Counting(Reactor):
    """Counts as long as everybody answers."""

    back = Input[int](width=5)
    out = Output[int]()

    @reaction(startup)
    def on_startup(self, out):
        self.count = 0
        out.set(0)

    @reaction(back)
    def on_back(self, back, out):
        assert back.values == [self.count] * 5
        self.count += 1
        out.set(self.count)


@pytest.mark.parametrize("refused", [2, 100])  # at first, and when times are taken rarely
@pytest.mark.parametrize("above_ns", [0, 40_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_member_that_reads_what_all_read_is_named_when_it_raises(workers, above_ns, refused, monkeypatch):
    monkeypatch.setattr(LevelRunner, "policy", Policy(share_above_ns=above_ns))
    for number in range(refused, refused + 8):  # in rounds of all kinds
        with pytest.raises(ReactionError) as caught:
            Program(Asking(refused=number)).run(workers=workers, fast=True)
        assert caught.value.reaction.endswith("bank[3].on_inp")
        assert caught.value.tag.microstep == number + 1


def test_an_array_through_a_port_of_arrays_is_read_only_and_one_of_numbers_is_not_looked_at():
    class Source(Reactor):
        arrays = Output[np.ndarray]()
        numbers = Output[float]()

        @reaction(startup)
        def on_startup(self, arrays, numbers):
            self.sent = np.zeros(3)
            arrays.set(self.sent)
            numbers.set(1.5)

    class Sink(Reactor):
        arrays = Input[np.ndarray]()
        numbers = Input[float]()

        @reaction(arrays, numbers)
        def on_both(self, arrays, numbers):
            self.seen = (arrays.value.flags.writeable, numbers.value)

    class Main(Reactor):
        source, sink = Source(), Sink()
        connect(source.arrays, sink.arrays)
        connect(source.numbers, sink.numbers)

    run = Program(Main()).start(fast=True)
    run.result()
    assert run.instance("sink").seen == (False, 1.5)


def idle_worker():
    worker = Worker(1, "helper", lambda _: None, 1, patient=False)
    worker._spin_ns = 0
    return worker


def test_what_is_offered_just_before_a_worker_parks_is_not_slept_over(monkeypatch):
    worker, leader, made = idle_worker(), Worker(0, "leader", lambda _: None, 1, patient=False), []
    offered = [Batch([[Call(lambda i=i: made.append(i))]], None, leader) for i in range(3)]
    fence = worker._fence

    def meanwhile():
        fence()
        if offered:  # the leader has looked whether the worker is parked before it said so
            worker.offers[0] = worker.offered = offered.pop(0)

    monkeypatch.setattr(worker, "_fence", meanwhile)
    for _ in range(3):
        worker._wait(forever)  # or it hangs
        assert not worker.parked
        assert worker._help()
    assert made == [0, 1, 2]


def test_a_parked_worker_is_woken_by_an_offer_and_another_is_not_disturbed():
    worker, leader = idle_worker(), Worker(0, "leader", lambda _: None, 1, patient=False)
    batch = Batch((), None, leader)
    worker.offer(batch)
    assert not worker.wake.is_set()
    assert worker._help()
    assert not worker._help()
    waits = threading.Thread(target=worker._wait, args=(forever,))
    waits.start()
    while not worker.parked:
        time.sleep(0.001)
    worker.offer(Batch((), None, leader))
    waits.join(WAIT)
    assert not waits.is_alive()
    assert worker.wake.is_set()


def test_no_worker_spins_where_there_are_more_of_them_than_cores():
    crowd = workers.make_workers(2, "test", lambda _: None, 1, patient=False, crowded=True)
    assert [w._spin_ns for w in crowd] == [0, 0]
    placed = cpu.place(len(cpu.usable_cpus()) + 1)
    assert placed.is_crowded
    assert not cpu.place(1).is_crowded


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("ends_in", ["an offer", "nothing"])
def test_a_worker_whose_level_goes_on_gives_way_for_a_while_and_then_parks(patient, ends_in, monkeypatch):
    clock = [0]
    worker = Worker(1, "helper", lambda _: None, 1, patient=patient)
    worker._spin_ns = 10
    worker._patience_ns = 1000 if patient else 0
    batch = SimpleNamespace(over=False)
    worker._helped, worker._helped_ns = batch, -100
    gave_way, parked = [], []

    def give_way():
        gave_way.append(clock[0])
        clock[0] += 50
        batch.over = batch.over or len(gave_way) == 4
        if ends_in == "an offer" and len(gave_way) == 6:
            worker.wake.set()

    def now():
        clock[0] += 1
        return clock[0]

    class Lock:
        def __init__(self, wake):
            self.is_set, self.set, self.wait = wake.is_set, wake.set, lambda: parked.append(wake.is_set())

    worker.wake = Lock(worker.wake)
    monkeypatch.setattr(workers, "_give_way", give_way)
    monkeypatch.setattr("reactornb.runtime.workers.time.perf_counter_ns", now)
    worker._wait(forever)
    assert worker._helped is None, "a wait that follows no level is not patient"
    (was_set,) = parked
    assert was_set == (patient and ends_in == "an offer")
    if patient and ends_in == "nothing":
        # The level was over after about 200 ns, 300 after the helper had begun: it waits as long again.
        assert 8 <= len(gave_way) <= 12
    else:
        assert len(gave_way) == (6 if patient else 0)
