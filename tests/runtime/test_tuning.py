"""Parameters changed while a program runs: at which tag, before what, and the same again when it is replayed."""

import threading
from typing import Any, Literal

import numpy as np
import pytest
from stepping import Stepped, settle

from reactornb import (
    Bank,
    Fixed,
    Input,
    LogicalAction,
    Mode,
    Output,
    PhysicalAction,
    Program,
    Reactor,
    State,
    Tag,
    Timer,
    connect,
    enclave,
    ms,
    ns,
    reaction,
    sec,
    startup,
)
from reactornb.errors import DeclarationError, ParameterError, RunError, UnknownNameError
from reactornb.testing import FakeClock, logged

WAIT = 20.0
END = ms(60)
EMPTY = {}


class Player(Reactor):
    """Answers with what it has."""

    weights = Input()
    played = Output()
    epsilon: float = 0.5
    name: Fixed[str] = "player"

    @reaction(weights)
    def on_weights(self, weights, played):
        played.set((weights.value, self.epsilon))


class Coach(Reactor):
    """Sends its rate each 10 ms; what it notices of a change it logs, and tells."""

    n: int
    period: int = ms(10)
    rate: float = 0.1
    kind: Literal["sgd", "adam"] = "sgd"
    layers: tuple[int, ...] = (64, 64)
    table: dict = EMPTY
    limit: float | None = None
    anything: Any = None
    played = Input(width="n")
    weights = Output()
    told = Output()
    tick = Timer(0, "period")

    def check_parameter(self, name, value):
        if name == "rate" and value < 0:
            raise ValueError("a rate is at least 0.")

    @reaction("rate")
    def on_rate(self, told):
        told.set(self.rate)

    @reaction(tick)
    def on_tick(self, weights):
        weights.set(self.rate)

    @reaction(played)
    def on_played(self, played):
        self.log(epsilon=sum(e for _, e in played.values))


class Team(Reactor):
    size: int = 3
    apart: bool = False

    def compose(self):
        self.coach = Coach(n=self.size)
        players = Bank(Player, self.size)
        self.players = enclave(players) if self.apart else players
        connect(self.coach.weights, self.players.weights)
        connect(self.players.played, self.coach.played, after=ms(1))


class Recorded(Stepped):
    """A run whose clock is moved by hand, with fingerprint and trace."""

    def __init__(self, root, **options):
        super().__init__(root, fingerprint=True, trace=True, **options)

    def until(self, time_ns):
        """Let that much logical and physical time be over."""
        while self.clock.elapsed_ns() < time_ns:
            self.advance(ms(1))

    def end(self):
        self.run.stop()
        return self.run


def recorded(root=Team, *, until=END, **options):
    """A run during which three changes are made."""
    made = Recorded(root, until=until, **options)
    made.until(ms(12))
    made.run.set("coach.rate", 1)
    made.until(ms(25))
    made.run.set("players.epsilon", 0.25)
    made.until(ms(30))
    made.run.set("team.players[1].epsilon", 0.75)
    made.until(until)
    assert made.run.state == "finished"
    return made.run


# ---------------------------------------------------------------- tags


def test_a_change_has_the_physical_time_of_the_call_and_is_there_before_the_reactions_of_the_next_tag():
    run = recorded()
    assert run.changes[0] == (Tag(ms(12)), "team.coach.rate", 0.1, 1.0)
    assert [c[0] for c in run.changes] == [Tag(ms(12)), *[Tag(ms(25))] * 3, Tag(ms(30), 1)]
    assert [c.path for c in run.changes[1:4]] == [f"team.players[{i}].epsilon" for i in range(3)]
    assert [v for _, v in run.trace.values("coach.weights")] == [0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert run.trace.tags("on_rate") == [Tag(ms(12))]
    assert run.trace.values("coach.told") == [(Tag(ms(12)), 1.0)]
    assert [v for _, v in run.trace.values("players[1].played")][2:4] == [(1.0, 0.5), (1.0, 0.25)]
    assert run.trace.values("players[1].epsilon") == [(Tag(ms(25)), 0.25), (Tag(ms(30), 1), 0.75)]
    assert run.parameters("players[*].epsilon") == {
        "team.players[0].epsilon": 0.25,
        "team.players[1].epsilon": 0.75,
        "team.players[2].epsilon": 0.25,
    }


def test_what_is_behind_physical_time_is_not_waited_for():
    """A program that never leaves time 0 takes a change at its next microstep."""

    class Loop(Reactor):
        gain: int = 1
        again = LogicalAction()
        total = State(0)

        @reaction(startup, again)
        def on_again(self, again):
            self.total += self.gain
            self.log(total=self.total)
            if self.tag.microstep == 3:
                self.clock.advance(sec(5))
                self.tune("gain", 10)
            if self.tag.microstep < 6:
                again.schedule(0)

    Loop.clock = clock = FakeClock()
    program = Program(Loop)
    Loop.tune = lambda self, path, value: program.last_run.set(path, value)
    run = program.start(clock=clock, workers=1, placement="none")
    run.result(20)
    assert run.changes == [(Tag(0, 4), "loop.gain", 1, 10)]
    assert list(run.metrics["total"]) == [1, 2, 3, 4, 14, 24, 34]


def test_a_late_program_takes_a_change_at_the_tag_that_waits():
    made = Recorded(Team)
    made.run.pause()
    made.advance(ms(35))
    made.run.set("coach.rate", 2)
    settle(made.run.resume())
    assert made.run.changes == [(Tag(ms(1)), "team.coach.rate", 0.1, 2.0)]  # what players[*] played at 0
    made.end()


def test_changes_of_one_tag_keep_their_order():
    made = Recorded(Team)
    made.until(ms(3))
    made.run.pause()
    for rate in (1, 2, 3):
        made.run.set("coach.rate", rate)
    made.run.resume()
    made.until(ms(10))
    assert [(c.tag, c.old, c.new) for c in made.run.changes] == [
        (Tag(ms(3)), 0.1, 1.0),
        (Tag(ms(3)), 1.0, 2.0),
        (Tag(ms(3)), 2.0, 3.0),
    ]
    assert made.run.trace.tags("on_rate") == [Tag(ms(3))]
    made.end()


def test_a_paused_run_takes_a_change_when_it_goes_on():
    made = Recorded(Team)
    made.until(ms(3))
    made.run.pause()
    made.run.set("coach.rate", 4)
    made.until(ms(15))
    assert made.run.changes == []
    made.run.resume()
    made.until(ms(16))
    assert made.run.changes == [(Tag(ms(3)), "team.coach.rate", 0.1, 4.0)]
    made.end()


def test_a_program_that_has_nothing_left_ends_and_a_change_does_not_keep_it():
    class Once(Reactor):
        gain: int = 1

        @reaction(startup)
        def on_startup(self):
            self.log(gain=self.gain)

    result = Program(Once).run(
        fast=True, clock=FakeClock(), replay=[(Tag(ms(5)), "gain", 1, 2), (Tag(0), "gain", 1, 3)]
    )
    assert logged(result, "gain") == [(Tag(0), 3.0)]
    assert result.tag == Tag(ms(5), 1)


# ---------------------------------------------------------------- replay


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("apart", [True, False], ids=["enclaves", "one enclave"])
def test_a_replayed_run_has_the_fingerprint_of_the_recorded_one(workers, fast, apart):
    run = recorded()
    program = Program(Team(apart=apart))
    clock = FakeClock() if not apart else None
    result = program.run(
        replay=run.changes, workers=workers, fast=fast, until=ms(60), fingerprint=True, clock=clock, placement="none"
    )
    assert result.fingerprint == run.fingerprint
    assert program.last_run.changes == run.changes


def test_a_change_is_part_of_the_fingerprint_even_if_nobody_looks_at_it():
    options = {"fast": True, "until": ms(5), "fingerprint": True}
    plain = Program(Team).run(**options).fingerprint
    found = {
        Program(Team).run(**options, replay=[(Tag(ms(t)), path, None, new)]).fingerprint
        for t, path, new in (
            (2, "coach.limit", 1.0),
            (3, "coach.limit", 1.0),
            (2, "coach.limit", 2.0),
            (2, "coach.anything", 1.0),
        )
    }
    assert len(found | {plain}) == 5


def test_a_run_with_enclaves_is_recorded_and_replayed():
    made = Recorded(Team(apart=True), until=ms(60))
    made.until(ms(12))
    made.run.pause()
    made.run.set("coach.rate", 1)
    made.run.set("players.epsilon", 0.25)
    made.run.resume()
    made.until(ms(60))
    run = made.run
    assert run.state == "finished"
    # Each enclave takes it at the next tag that it executes.
    assert {c.path: c.tag for c in run.changes} == {
        "team.coach.rate": Tag(ms(20)),
        **{f"team.players[{i}].epsilon": Tag(ms(20)) for i in range(3)},
    }
    for apart in (True, False):
        again = Program(Team(apart=apart)).run(replay=run.changes, workers=2, fast=True, until=ms(60), fingerprint=True)
        assert again.fingerprint == run.fingerprint


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_free_run_tuned_from_several_threads_is_replayed(workers):
    class Free(Reactor):
        team = Team()
        call = PhysicalAction()
        ready: Any = None

        @reaction(startup)
        def on_startup(self):
            self.ready.set()

    ready = threading.Event()
    program = Program(Free(ready=ready))
    run = program.start(workers=workers, fingerprint=True, placement="none")
    assert ready.wait(WAIT)
    barrier = threading.Barrier(3)

    def tune(i):
        barrier.wait(WAIT)
        for k in range(20):
            run.set(f"team.players[{i}].epsilon", (k + 1) / 20)

    threads = [threading.Thread(target=tune, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    while len(run.changes) < 60:
        run.wait(0.01)
    run.stop()
    for i in range(3):
        mine = [c for c in run.changes if c.path == f"free.team.players[{i}].epsilon"]
        assert [c.new for c in mine] == [(k + 1) / 20 for k in range(20)]
        assert [c.old for c in mine] == [0.5, *[c.new for c in mine[:-1]]]
    last = run.tag
    results = [
        Program(Free(ready=ready)).run(
            replay=run.changes, until=ns(last.time_ns) + ms(1), fast=True, keepalive=False, workers=w, fingerprint=True
        )
        for w in (1, 2)
    ]
    assert results[0].fingerprint == results[1].fingerprint
    assert program.start(replay=run.changes, fast=True, until=ns(last.time_ns) + ms(1), keepalive=False).wait(WAIT)
    assert program.last_run.changes == run.changes


@pytest.mark.parametrize("bad", [5, (1, "coach.rate", 0, 1), (Tag(0), "coach.rate"), (Tag(-1), "coach.rate", 0, 1)])
def test_what_is_no_change_is_not_replayed(bad):
    with pytest.raises(DeclarationError, match="replay"):
        Program(Team).run(replay=[bad], fast=True, until=0)


# ---------------------------------------------------------------- modes


class Modal(Reactor):
    on = Mode(initial=True)
    off = Mode()
    tick = Timer(ms(10), ms(10))
    gain: int = 1

    with on:

        @reaction("gain")
        def on_gain(self):
            self.log(noticed=self.gain)

        @reaction(tick)
        def on_tick(self, off):
            self.log(on=self.gain)
            off.set()

    with off:

        @reaction(tick)
        def on_tick_off(self, on):
            self.log(off=self.gain)
            on.set()


def test_a_mode_that_is_not_active_notices_when_it_is_entered():
    changes = [(Tag(ms(15)), "gain", 1, 2), (Tag(ms(16)), "gain", 2, 3), (Tag(ms(25)), "gain", 3, 4)]
    result = Program(Modal).run(replay=changes, fast=True, until=ms(40))
    assert logged(result, "off") == [(Tag(ms(20)), 3.0), (Tag(ms(40)), 4.0)]
    assert logged(result, "on") == [(Tag(ms(10)), 1.0), (Tag(ms(30)), 4.0)]
    assert logged(result, "noticed") == [(Tag(ms(20), 1), 3.0), (Tag(ms(25)), 4.0)]


# ---------------------------------------------------------------- what cannot be set


@pytest.fixture
def team():
    run = Stepped(Team).run
    yield run
    run.stop()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("coach.n", 4, r"team\.coach\.n cannot be changed now: it decides the width of port 'played'"),
        ("coach.period", ms(5), r"it decides the period of timer 'tick'.*Start the program again with another period"),
        ("size", 4, r"team\.size .*decides what the reactor is composed of"),
        ("players.name", "x", r"players\[0\]\.name .*only looked at when the program starts"),
        ("coach.rate", "fast", r"team\.coach\.rate cannot be 'fast': Coach declares it as float\."),
        ("coach.rate", True, "declares it as float"),
        ("coach.rate", None, "declares it as float"),
        ("coach.rate", -1.0, "a rate is at least 0"),
        ("coach.kind", "rms", "one of 'sgd', 'adam'"),
        ("coach.layers", 64, r"declares it as tuple\[int, \.\.\.\]"),
        ("coach.limit", "no", r"declares it as float \| None"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_where_it_is_set(team, path, value, words):
    with pytest.raises(ParameterError, match=words) as caught:
        team.set(path, value)
    assert caught.value.value == value
    settle(team)
    assert team.changes == []
    assert team.state == "running"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("coach.rat", "team.coach .Coach. has no parameter 'rat'. Did you mean 'rate'?"),
        ("couch.rate", "team contains no reactor 'couch'. Did you mean 'coach'?"),
        ("players[3].epsilon", r"there is no players\[3\]: it has 3 members, 0 to 2"),
        ("coach[0].rate", "it is a single reactor"),
        ("rate", "team .Team. has no parameter 'rate'"),
        ("coach.weights", "has no parameter 'weights'"),
        ("players[x].epsilon", "contains no reactor"),
        ("", "no parameter ''"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(team, path, words):
    with pytest.raises(UnknownNameError, match=words):
        team.set(path, 1)


@pytest.mark.parametrize(
    ("path", "given", "kept"),
    [
        ("coach.rate", 1, 1.0),
        ("coach.rate", np.float32(0.5), 0.5),
        ("coach.limit", 2, 2.0),
        ("coach.limit", None, None),
        ("coach.kind", "adam", "adam"),
        ("coach.layers", (8, 8), (8, 8)),
        ("coach.anything", "what", "what"),
    ],
)
def test_a_value_becomes_what_its_parameter_is_declared_as(team, path, given, kept):
    team.set(path, given)
    settle(team)
    (value,) = team.parameters(path).values()
    assert (type(value), value) == (type(kept), kept)


def test_what_can_be_changed_in_place_is_nobody_elses(team):
    table = {"a": 1}
    team.set("coach.table", table)
    table["a"] = 2
    settle(team)
    held = team.instance("coach").table
    assert held == {"a": 1}
    held["a"] = 3
    assert team.changes[0].new == {"a": 1}
    assert EMPTY == {}


def test_a_run_that_is_over_says_so(team):
    team.stop()
    with pytest.raises(RunError, match=r"is over.*start the program again"):
        team.set("coach.rate", 1)


def test_a_reaction_to_something_that_is_no_parameter_is_refused_when_it_is_declared():
    with pytest.raises(UnknownNameError, match="'ratio'"):

        class Wrong(Reactor):
            rate: float = 1.0

            @reaction("ratio")
            def on_ratio(self):
                pass
