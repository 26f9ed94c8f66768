"""A duration has a unit: a bare number is refused wherever one is asked for, with what to write instead."""

import copy
import json
import pickle
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactornb import (
    Duration,
    Input,
    LogicalAction,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    Timer,
    Watchdog,
    connect,
    days,
    forever,
    hours,
    loading,
    minutes,
    ms,
    ns,
    reaction,
    sec,
    startup,
    us,
    weeks,
)
from reactornb.errors import AssemblyError, DeclarationError, ParameterError, ReactionError, SendingError
from reactornb.model import from_text
from reactornb.tags import as_duration, format_ns, parse_duration
from reactornb.testing import FakeClock, run_to_end

UNITS = {ns: 1, us: 1_000, ms: 10**6, sec: 10**9, minutes: 60 * 10**9, hours: 3600 * 10**9, days: 86_400 * 10**9}
UNITS[weeks] = 7 * UNITS[days]
whole = st.integers(-(10**12), 10**12)


@pytest.mark.parametrize("unit", UNITS)
def test_a_duration_is_the_int_of_its_nanoseconds(unit):
    made = unit(3)
    assert type(made) is Duration
    assert made == 3 * UNITS[unit]
    assert hash(made) == hash(3 * UNITS[unit])
    assert unit(0.5) == UNITS[unit] // 2


@given(whole, whole, st.integers(-1000, 1000))
def test_arithmetic_of_durations_is_that_of_timedelta_and_gives_durations(a, b, n):
    x, y = ns(a), ns(b)
    for made, value in ((x + y, a + b), (x - y, a - b), (x * n, a * n), (n * x, a * n), (-x, -a), (abs(x), abs(a))):
        assert type(made) is Duration
        assert made == value
    assert sum([x, y], start=0) == a + b
    assert type(sum([x, y])) is Duration
    assert type(0 - x) is type(x - 0) is Duration
    if b:
        assert type(x // y) is int
        assert x // y == a // b
        assert type(x % y) is Duration
        assert x % y == a % b
    if n:
        assert type(x // n) is Duration
        assert x // n == a // n
    assert x / 1e9 == a / 1e9


@pytest.mark.parametrize(
    ("value", "words"), [(ms(10) + 5, 10_000_005), (5 + ms(10), 10_000_005), (ms(10) - 5, 9_999_995)]
)
def test_a_sum_with_a_bare_number_is_a_bare_number(value, words):
    assert type(value) is int
    assert value == words
    assert as_duration(value) is None


def test_a_duration_times_a_duration_is_no_duration():
    with pytest.raises(TypeError):
        ms(2) * ms(3)


@given(st.integers(-(10**15), 10**15))
def test_what_a_duration_shows_makes_it_again(value):
    made = ns(value)
    assert eval(repr(made)) == value
    for copied in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert type(copied) is Duration
        assert copied == value
    assert json.loads(json.dumps({"after": made})) == {"after": value}
    assert str(made) == f"{made}" == format_ns(value)
    assert f"{made:,}" == f"{value:,}"


@pytest.mark.parametrize(
    ("text", "value"), [("10s", sec(10)), ("500 ms", ms(500)), ("1.5 h", hours(1.5)), ("0", 0), ("forever", forever)]
)
def test_text_is_read_as_a_duration(text, value):
    assert type(parse_duration(text)) is Duration
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (forever, forever),
        (ms(10), 10**7),
        (timedelta(milliseconds=10), 10**7),
        (timedelta(days=1, seconds=2, microseconds=3), 86_402_000_003_000),
        (timedelta(microseconds=-1), -1000),
        (10, None),
        (-1, None),
        (0.0, None),
        (1e6, None),
        (True, None),
        (False, None),
        ("10s", None),
        (None, None),
        (np.int64(10), None),
    ],
)
def test_what_counts_as_a_duration(value, expected):
    made = as_duration(value)
    assert made == expected
    assert expected is None or type(made) is Duration


class Source(Reactor):
    out = Output()


class Sink(Reactor):
    inp = Input()


def joined(after):
    class Top(Reactor):
        a = Source()
        b = Sink()
        connect(a.out, b.inp, after=after)


def with_deadline(value):
    class Late(Reactor):
        @reaction(startup, deadline=value)
        def on_startup(self):
            pass


DECLARED = {
    "a timer's offset": Timer,
    "a timer's period": lambda v: Timer(0, v),
    "an action's least delay": LogicalAction,
    "an action's spacing": lambda v: PhysicalAction(0, v),
    "a watchdog's time": Watchdog,
    "a deadline": with_deadline,
    "the delay of a connection": joined,
}


@pytest.mark.parametrize("declare", DECLARED.values(), ids=DECLARED)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (10, r"10 is a bare number without a unit; write ns\(10\), us\(10\), ms\(10\) or sec\(10\)"),
        (1.5, r"1.5 is a bare number.* ms\(1.5\)"),
        (np.int64(7), r"7 is a bare number"),
        (True, "True .*is no duration"),
    ],
)
def test_a_declaration_refuses_a_bare_number_and_says_what_to_write(declare, value, words):
    with pytest.raises(DeclarationError, match=words) as caught:
        declare(value)
    assert "line" in str(caught.value), "the cell or file, and the line"


@pytest.mark.parametrize("declare", DECLARED.values(), ids=DECLARED)
@pytest.mark.parametrize("value", [0, ms(10), forever, timedelta(seconds=1)])
def test_a_declaration_takes_durations_timedeltas_zero_and_forever(declare, value):
    declare(value)


@pytest.mark.parametrize("period", ["every", lambda self: self.every])
@pytest.mark.parametrize(
    ("every", "words"),
    [
        (10, "the period of timer 'tick' of ticks: 10 is a bare number"),
        ("10ms", r"the period of timer 'tick' of ticks: '10ms' is text; write ms\(10\)"),
        ("soon", "'soon' is no duration"),
    ],
)
def test_a_parameter_that_is_a_duration_is_judged_at_assembly(period, every, words):
    class Ticks(Reactor):
        tick = Timer(0, period)
        every: object = ms(1)

        @reaction(tick)
        def on_tick(self):
            pass

    with pytest.raises(AssemblyError, match=words):
        Program(Ticks, every=every)
    assert len(run_to_end(Ticks(every=ms(5)), until=ms(10)).executions) == 3
    assert len(run_to_end(Ticks(every=timedelta(milliseconds=2)), until=ms(10)).executions) == 6


@pytest.mark.parametrize("options", [{"until": 10}, {"until": "10s"}, {"until": 1e9}, {"until": np.int64(5)}])
def test_a_run_refuses_an_end_without_a_unit(options):
    class Ends(Reactor):
        @reaction(startup)
        def on_startup(self):
            pass

    program = Program(Ends)
    for begin in (program.start, program.run):
        with pytest.raises(ValueError, match=r"until: .*(bare number|is text)"):
            begin(**options)
    assert program.run(until=timedelta(seconds=1), fast=True, keepalive=True).tag.time_ns == 10**9


class Gives(Reactor):
    act = LogicalAction()
    dog = Watchdog(sec(100))
    what: object = None

    @reaction(startup, deadline=sec(100))
    def on_startup(self, act, dog):
        self.what(self, act, dog)

    @dog
    def on_dog(self):
        pass


@pytest.mark.parametrize(
    "give",
    [
        lambda self, act, dog: act.schedule(5),
        lambda self, act, dog: dog.start(5),
        lambda self, act, dog: self.update_deadline(5),
    ],
    ids=["schedule", "watchdog", "deadline"],
)
def test_a_reaction_that_gives_a_bare_number_fails_with_what_to_write(give):
    with pytest.raises(ReactionError, match=r"5 is a bare number without a unit; write ns\(5\)"):
        Program(Gives, what=give).run(workers=1, fast=True)


def test_a_reaction_gives_durations_timedeltas_and_zero():
    def give(self, act, dog):
        act.schedule()
        act.schedule(0)
        act.schedule(ms(5))
        act.schedule(timedelta(milliseconds=7))
        dog.start(timedelta(seconds=1))
        dog.start(-sec(1))
        dog.stop()
        self.update_deadline(sec(1))

    Program(Gives, what=give).run(workers=1, fast=True)


def test_a_fake_clock_advances_by_durations():
    clock = FakeClock()
    clock.advance(ms(5))
    clock.advance(timedelta(milliseconds=1))
    assert clock.elapsed_ns() == 6_000_000
    assert type(clock.elapsed_ns()) is int
    with pytest.raises(SendingError, match=r"FakeClock.advance: 5 is a bare number"):
        clock.advance(5)


def test_tags_hold_plain_integers_whatever_durations_led_there():
    seen = []

    class Counts(Reactor):
        act = LogicalAction(ms(1))
        tick = Timer(ms(1), ms(2))

        @reaction(tick)
        def on_tick(self, act):
            act.schedule(us(1))

        @reaction(act)
        def on_act(self):
            seen.append(self.tag)

    trace = run_to_end(Counts(), until=ms(8))
    assert len(seen) == 3
    for tag in (*seen, *(tag for tag, _ in trace.executions)):
        assert type(tag.time_ns) is int


class Paced(Reactor):
    act = LogicalAction()
    every: int = ms(1)
    wait: Duration = ms(2)
    count: int = 3

    @reaction(startup, act)
    def on_act(self, act):
        act.schedule(self.every)
        self.log(every=self.every)


@pytest.mark.parametrize("name", ["every", "wait"])
@pytest.mark.parametrize(
    ("value", "words"), [(10, "10 is a bare number"), (1.5, "1.5 is a bare number"), ("soon", "no duration")]
)
def test_a_parameter_whose_default_is_a_duration_takes_durations(name, value, words):
    with pytest.raises(DeclarationError, match=rf"Paced takes {name} as a duration: .*{words}"):
        Paced(**{name: value})
    assert Paced(**{name: ms(5)}) is not None
    assert Paced(count=7) is not None


def test_a_duration_that_is_set_while_a_program_runs_stays_one():
    run = Program(Paced).start(workers=1, fast=True, keepalive=True)
    run.pause()
    for value in (ms(3), "4ms", timedelta(milliseconds=5)):
        run.set("every", value)
    with pytest.raises(ParameterError, match=r"10 is a bare number"):
        run.set("every", 10)
    run.resume()
    while run.parameters("every") != {"paced.every": ms(5)}:
        assert run.is_alive
    assert type(run.parameters("every")["paced.every"]) is Duration
    assert run.stop().failure is None


@pytest.mark.parametrize("name", ["every", "wait"])
def test_text_of_a_command_line_is_a_duration_where_one_is_declared(name, tmp_path):
    assert from_text(Paced, {name: "10ms", "count": "10ms"}) == {name: ms(10), "count": "10ms"}
    assert from_text(Paced, {name: "soon"}) == {name: "soon"}
    file = tmp_path / "paced.py"
    file.write_text(
        "from reactornb import *\n"
        f"class Paced(Reactor):\n    tick = Timer(0, '{name}')\n    {name}: int = ms(1)\n"
        "    @reaction(tick)\n    def on_tick(self):\n        pass\n"
    )
    made = loading.make(loading.load(file).root(), {name: "10ms"})
    assert len(run_to_end(made, until=ms(20)).executions) == 3
