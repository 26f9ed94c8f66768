"""Each rule of the reactor model, as an exact trace on the fake clock."""

import numpy
import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Mode,
    Output,
    Program,
    Reactor,
    State,
    Tag,
    Timer,
    connect,
    forever,
    ms,
    reaction,
    reset,
    sec,
    shutdown,
    startup,
)
from reactornb.errors import ReactionError, UndeclaredEffectError
from reactornb.testing import FakeClock, logged, run_to_end


def times(trace, name):
    return [tag.time_ns // 1_000_000 for tag in trace.tags(name)]


class Ramp(Reactor):
    """Counts on a timer."""

    out = Output[int]()
    tick = Timer("offset", "period")
    offset: int = 0
    period: int = ms(10)
    count = State(0)

    @reaction(tick)
    def on_tick(self, out):
        self.count += 1
        out.set(self.count)


class Probe(Reactor):
    inp = Input[int]()

    @reaction(inp)
    def on_inp(self, inp):
        self.seen.append((self.tag, inp.value))

    seen = State([])


def probe(delay=None, physical=False, **options):
    class Top(Reactor):
        ramp = Ramp()
        probe = Probe()
        connect(ramp.out, probe.inp, after=delay, physical=physical)

    return run_to_end(Top(), **options)


def test_a_timer_fires_at_its_offset_and_then_every_period():
    trace = run_to_end(Ramp(offset=ms(5), period=ms(10)), until=ms(30))
    assert trace.tags("ramp.on_tick") == [Tag(ms(5)), Tag(ms(15)), Tag(ms(25))]


def test_a_timer_without_period_fires_once_and_the_run_starves():
    result = Program(Ramp(period=0)).run(trace=True, clock=FakeClock())
    assert result.trace.tags("on_tick") == [Tag(0)]
    assert result.tag == Tag(0, 1)


def test_the_timeout_is_the_last_tag_and_still_executes():
    assert times(probe(until=ms(20)), "probe.on_inp") == [0, 10, 20]


def test_a_delay_moves_values_later():
    assert probe(ms(3), until=ms(15)).tags("probe.on_inp") == [Tag(ms(3)), Tag(ms(13))]


def test_a_delay_of_zero_is_one_microstep():
    assert probe(ms(0), until=ms(15)).tags("probe.on_inp") == [Tag(0, 1), Tag(ms(10), 1)]


def test_at_the_timeout_no_further_microstep_happens():
    assert probe(ms(0), until=ms(10)).tags("probe.on_inp") == [Tag(0, 1)]


def test_a_physical_connection_delivers_at_physical_time():
    class Top(Reactor):
        ramp = Ramp(period=0)
        probe = Probe()
        connect(ramp.out, probe.inp, physical=True)

    (tag,) = run_to_end(Top()).tags("probe.on_inp")
    assert tag.time_ns > 0


def test_startup_is_first_and_shutdown_is_last():
    class Ends(Reactor):
        tick = Timer(0, ms(10))

        @reaction(startup)
        def on_startup(self):
            pass

        @reaction(tick)
        def on_tick(self):
            pass

        @reaction(shutdown)
        def on_shutdown(self):
            pass

    trace = run_to_end(Ends(), until=ms(10))
    assert trace.executions == [
        (Tag(0), "ends.on_startup"), (Tag(0), "ends.on_tick"),
        (Tag(ms(10)), "ends.on_tick"), (Tag(ms(10)), "ends.on_shutdown"),
    ]  # fmt: skip


def test_a_timeout_of_zero_starts_and_ends_at_one_tag():
    class Both(Reactor):
        @reaction(startup)
        def a(self):
            pass

        @reaction(shutdown)
        def b(self):
            pass

    assert run_to_end(Both(), until=0).executions == [(Tag(0), "both.a"), (Tag(0), "both.b")]


def test_request_stop_ends_at_the_next_microstep():
    class Stopper(Reactor):
        tick = Timer(0, ms(10))

        @reaction(tick)
        def on_tick(self):
            if self.time_ns == ms(20):
                self.request_stop()

        @reaction(shutdown)
        def on_shutdown(self):
            pass

    trace = run_to_end(Stopper())
    assert trace.tags("on_shutdown") == [Tag(ms(20), 1)]
    assert trace.tags("on_tick")[-1] == Tag(ms(20))


def test_a_port_is_present_only_at_its_tag_and_keeps_its_value():
    seen = []

    class Look(Reactor):
        inp = Input()
        tick = Timer(0, ms(5))

        @reaction(tick)
        def on_tick(self, inp):
            seen.append((inp.is_present, inp.value))

    class Top(Reactor):
        ramp = Ramp(period=ms(10))
        look = Look()
        connect(ramp.out, look.inp)

    run_to_end(Top(), until=ms(10))
    assert seen == [(True, 1), (False, 1), (True, 2)]


def test_setting_twice_at_one_tag_keeps_the_last_value():
    class Twice(Reactor):
        out = Output()

        @reaction(startup)
        def a(self, out):
            out.set(1)
            out.set(2)

        @reaction(startup)
        def b(self, out):
            assert (out.is_present, out.value) == (True, 2)
            out.set(3)

    class Top(Reactor):
        twice = Twice()
        now = Probe()
        later = Probe()
        connect(twice.out, now.inp)
        connect(twice.out, later.inp, after=ms(1))

    program = Program(Top())
    program.run(clock=FakeClock())
    assert program.last_run.instance("now").seen == [(Tag(0), 3)]
    assert program.last_run.instance("later").seen == [(Tag(ms(1)), 3)]


def action_program(body, **options):
    class Act(Reactor):
        act = LogicalAction(**options)

        @reaction(startup)
        def on_startup(self, act):
            body(act)

        @reaction(act)
        def on_act(self, act):
            seen.append((self.tag, act.value))

    seen = []
    run_to_end(Act())
    return seen


def test_an_action_is_scheduled_with_its_delay_and_value():
    assert action_program(lambda a: a.schedule(ms(2), "x"), min_delay=ms(5)) == [(Tag(ms(7)), "x")]


def test_scheduling_with_zero_delay_is_the_next_microstep():
    assert action_program(lambda a: a.schedule(0, "x")) == [(Tag(0, 1), "x")]


def test_without_spacing_events_of_one_tag_pile_up_in_microsteps():
    def body(a):
        a.schedule(ms(1), "x")
        a.schedule(ms(1), "y")
        a.schedule(0, "z")
        a.schedule(0, "w")

    assert action_program(body) == [(Tag(0, 1), "z"), (Tag(0, 2), "w"), (Tag(ms(1)), "x"), (Tag(ms(1), 1), "y")]


SPACING = [
    ("defer", [(Tag(ms(10)), 1), (Tag(ms(20)), 2), (Tag(ms(30)), 3)]),
    ("drop", [(Tag(ms(10)), 1)]),
    ("replace", [(Tag(ms(10)), 3)]),
    ("update", [(Tag(ms(12)), 3)]),
]


@pytest.mark.parametrize(("policy", "expected"), SPACING)
def test_what_becomes_of_events_that_come_too_early(policy, expected):
    def body(a):
        a.schedule(ms(10), 1)
        a.schedule(ms(11), 2)
        a.schedule(ms(12), 3)

    assert action_program(body, min_spacing=ms(10), policy=policy) == expected


def test_an_action_is_present_only_when_it_fires():
    seen = []

    class Act(Reactor):
        act = LogicalAction()
        tick = Timer(0, ms(1))

        @reaction(act, tick)
        def on_either(self, act):
            seen.append(act.is_present)
            if not self.count:
                act.schedule(0)
            self.count += 1

        count = State(0)

    run_to_end(Act(), until=ms(1))
    assert seen == [False, True, False]


def test_banks_multiports_and_their_order():
    class Num(Reactor):
        out = Output(width=2)

        @reaction(startup)
        def on_startup(self, out):
            for i, port in enumerate(out):
                port.set(10 * self.bank_index + i)

    class Gather(Reactor):
        inp = Input(width=6)

        @reaction(inp)
        def on_inp(self, inp):
            seen.append((inp.width, inp.values, inp.present[4]))

    class Top(Reactor):
        nums = Bank(Num, 3)
        gather = Gather()
        connect(nums.out, gather.inp)

    seen = []
    run_to_end(Top())
    assert seen == [(6, [0, 1, 10, 11, 20, 21], (4, 20))]


def test_a_container_reads_and_writes_its_childrens_ports():
    class Double(Reactor):
        x = Input()
        y = Output()

        @reaction(x)
        def on_x(self, x, y):
            y.set(2 * x.value)

    class Top(Reactor):
        doubles = Bank(Double, 2)

        @reaction(startup, effects=doubles.x)
        def on_startup(self, doubles):
            for i, d in enumerate(doubles):
                d.x.set(i + 1)

        @reaction(doubles.y)
        def on_y(self, doubles):
            seen.append([d.y.value for d in doubles])

    seen = []
    trace = run_to_end(Top())
    assert seen == [[2, 4]]
    assert trace.reactions() == ["top.on_startup", "top.doubles[0].on_x", "top.doubles[1].on_x", "top.on_y"]


def test_a_reaction_cannot_touch_what_it_does_not_declare():
    class Child(Reactor):
        a = Output()
        b = Output()

        @reaction(startup)
        def on_startup(self, a):
            a.set(1)

    class Top(Reactor):
        child = Child()

        @reaction(child.a)
        def on_a(self, child):
            child.b  # noqa: B018

    with pytest.raises(ReactionError, match=r"touches top.child.b without declaring it \(it declares: a\)") as caught:
        run_to_end(Top())
    assert isinstance(caught.value.__cause__, UndeclaredEffectError)


@pytest.mark.parametrize("access", ["self.out.set(1)", "self.inp.value", "self.child.out", "inp.set(1)"])
def test_ports_are_reached_through_the_signature_only(access):
    class Child(Reactor):
        out = Output()

    names = {
        "Reactor": Reactor,
        "Input": Input,
        "Output": Output,
        "Child": Child,
        "reaction": reaction,
        "startup": startup,
    }
    exec(
        "class Top(Reactor):\n inp = Input()\n out = Output()\n child = Child()\n @reaction(startup)\n"
        f" def on_startup(self, inp):\n  {access}",
        names,
    )
    with pytest.raises(ReactionError) as caught:
        run_to_end(names["Top"]())
    assert isinstance(caught.value.__cause__, UndeclaredEffectError)


def test_arrays_are_handed_over_read_only_without_a_copy():
    array = numpy.zeros(3)

    class Send(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(array)

    class Top(Reactor):
        send = Send()
        probes = Bank(Probe, 2)
        connect(send.out, probes.inp)

    program = Program(Top())
    program.run(clock=FakeClock())
    for i in range(2):
        ((_, got),) = program.last_run.instance(f"probes[{i}]").seen
        assert got is array
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_a_mutable_input_has_its_own_copy_unless_it_is_the_only_reader():
    class Send(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(numpy.zeros(2))

    class Change(Reactor):
        inp = Input(mutable=True)

        @reaction(inp)
        def on_inp(self, inp):
            inp.value += 1
            seen.append(inp.value.tolist())

    class Top(Reactor):
        send = Send()
        changes = Bank(Change, 2)
        probe = Probe()
        connect(send.out, changes.inp)
        connect(send.out, probe.inp)

    seen = []
    program = Program(Top())
    program.run(clock=FakeClock())
    assert seen == [[1, 1], [1, 1]]
    assert program.last_run.instance("probe").seen[0][1].tolist() == [0, 0]


def test_state_is_made_anew_for_each_instance_and_each_run():
    class Keep(Reactor):
        items = State([])
        start = State(factory=lambda self: self.first * 2)
        first: int = 1

        @reaction(startup)
        def on_startup(self):
            self.items.append(self.start)
            seen[self.full_name].append(list(self.items))

    class Top(Reactor):
        a = Keep(first=1)
        b = Keep(first=5)

    seen = {"top.a": [], "top.b": []}  # one level, so the two may run at the same time and in either order
    program = Program(Top())
    for _ in range(2):
        program.run(clock=FakeClock())
    assert seen == {"top.a": [[2], [2]], "top.b": [[10], [10]]}


def test_a_missed_deadline_runs_its_handler_instead():
    clock = FakeClock()

    class Late(Reactor):
        tick = Timer(0, ms(10))
        out = Output()
        slow: bool = False

        @reaction(tick)
        def on_tick(self):
            if self.time_ns == ms(10):
                clock.advance(ms(3))

        @reaction(tick, deadline=ms(2))
        def on_tick_in_time(self, out):
            out.set("in time")

        @on_tick_in_time.missed
        def on_tick_late(self, out):
            out.set("late")

    trace = run_to_end(Late(), clock=clock, until=ms(20))
    assert [v for _, v in trace.values("late.out")] == ["in time", "late", "in time"]


def test_a_modal_reactor_switches_one_microstep_later():
    class Cycle(Reactor):
        tick = Timer(0, ms(10))
        out = Output()
        one, two = Mode(initial=True), Mode()
        with one:

            @reaction(tick)
            def in_one(self, out, two):
                out.set(1)
                two.set()

        with two:

            @reaction(tick)
            def in_two(self, out, one):
                out.set(2)
                one.set()

    trace = run_to_end(Cycle(), until=ms(30))
    assert trace.values("out") == [(Tag(0), 1), (Tag(ms(10)), 2), (Tag(ms(20)), 1), (Tag(ms(30)), 2)]


def modal_timer(history):
    class Modal(Reactor):
        switch = Timer(ms(10), ms(10))
        one, two = Mode(initial=True), Mode()
        with one:
            fast = Timer(ms(4), ms(4))
            count = State(0, reset=True)

            @reaction(fast)
            def on_fast(self):
                self.count += 1
                seen.append((self.time_ns // ms(1), self.count))

            @reaction(switch)
            def to_two(self, two):
                two.set()

        with two:

            @reaction(switch)
            def to_one(self, one):
                one.set(history=history)

    seen = []
    run_to_end(Modal(), until=ms(25))
    return seen


def test_entering_by_reset_restarts_timers_and_state():
    assert modal_timer(history=False) == [(4, 1), (8, 2), (24, 1)]


def test_entering_by_history_resumes_what_was_left():
    # Left at 10 with 2 ms to go; entered again at 20.
    assert modal_timer(history=True) == [(4, 1), (8, 2), (22, 3)]


def test_startup_reset_and_shutdown_in_modes():
    class Modal(Reactor):
        switch = Timer(ms(10), ms(10))
        one, two, three = Mode(initial=True), Mode(), Mode()
        with one:

            @reaction(startup)
            def one_starts(self):
                pass

            @reaction(switch)
            def to_two(self, two, three):
                two.set()

        with two:

            @reaction(startup)
            def two_starts(self):
                pass

            @reaction(reset)
            def two_resets(self):
                pass

            @reaction(switch)
            def again(self, two):
                two.set()

            @reaction(shutdown)
            def two_ends(self):
                pass

        with three:

            @reaction(shutdown)
            def three_ends(self):
                pass

    trace = run_to_end(Modal(), until=ms(25))
    assert trace.tags("one_starts") == [Tag(0)]
    assert trace.tags("two_starts") == [Tag(ms(10), 1)]
    assert trace.tags("two_resets") == [Tag(ms(10), 1), Tag(ms(20), 1)]
    assert trace.tags("two_ends") == [Tag(ms(25))]
    assert trace.tags("three_ends") == []


def test_children_in_a_mode_stop_with_it():
    class Modal(Reactor):
        switch = Timer(ms(15), 0)
        one, two = Mode(initial=True), Mode()
        out = Output()
        with one:
            ramp = Ramp(period=ms(10))
            connect(ramp.out, out)

            @reaction(switch)
            def to_two(self, two):
                two.set()

    class Top(Reactor):
        modal = Modal()
        probe = Probe()
        connect(modal.out, probe.inp)

    assert times(run_to_end(Top(), until=ms(40)), "probe.on_inp") == [0, 10]


def test_a_connection_in_a_mode_carries_values_only_there():
    class Gate(Reactor):
        inp = Input()
        out = Output()
        switch = Timer(ms(15), 0)
        opened, closed = Mode(initial=True), Mode()
        with opened:
            connect(inp, out)

            @reaction(switch)
            def shut(self, closed):
                closed.set()

    class Top(Reactor):
        ramp = Ramp()
        gate = Gate()
        probe = Probe()
        connect(ramp.out, gate.inp)
        connect(gate.out, probe.inp)

    assert times(run_to_end(Top(), until=ms(40)), "probe.on_inp") == [0, 10]


def test_each_reactor_has_its_own_random_stream_whatever_the_rest_does():
    class Dice(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(int(self.rng.integers(1 << 60)))

    class Top(Reactor):
        n: int = 2

        def compose(self):
            self.dice = Bank(Dice, self.n)

    def rolls(n, seed):
        return [v for _, v in run_to_end(Top(n=n), seed=seed).values("out")]

    assert rolls(2, 0) == rolls(4, 0)[:2]
    assert len(set(rolls(4, 0) + rolls(4, 1))) == 8


def test_metrics_are_ordered_by_tag_then_reactor():
    class Log(Reactor):
        tick = Timer(0, ms(10))

        @reaction(tick)
        def on_tick(self):
            self.log(index=self.bank_index, time=self.time_ns)

    class Top(Reactor):
        logs = Bank(Log, 3)

    result = Program(Top()).run(clock=FakeClock(), until=ms(10), workers=2)
    assert logged(result, "index") == [(Tag(t), i) for t in (0, ms(10)) for i in range(3)]


def test_forever_is_a_delay_that_never_comes():
    assert probe(forever, until=sec(1)).tags("probe.on_inp") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_at_a_first_tag_that_is_the_last_each_reaction_runs_once_recorded_or_not(workers):
    """Startup and shutdown made groups of their own there, with a reaction twice in one or in two of them."""
    ran = []

    class Both(Reactor):
        @reaction(startup, shutdown)
        def on_both(self):
            ran.append("both")

    class Either(Reactor):
        tick = Timer()

        @reaction(tick, startup)
        def on_tick(self):
            ran.append("tick")

    class Last(Reactor):
        @reaction(shutdown)
        def on_end(self):
            ran.append("end")

    class Main(Reactor):
        first, second, third = Both(), Either(), Last()

    for main in (Main, Both):
        ran.clear()
        Program(main).run(until=ms(0), workers=workers)
        assert sorted(ran) == (["both"] if main is Both else ["both", "end", "tick"])
