"""Enclaves: reactors that advance tags of their own, and leave the same trace all the same."""

import threading

import pytest

from reactornb import (
    Bank,
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
    reaction,
    sec,
    shutdown,
    startup,
)
from reactornb.errors import AssemblyError, DeclarationError, ReactionError, RunError
from reactornb.testing import logged

WAIT = 10.0  # seconds; only ever reached when something is broken


class Play(Reactor):
    """Plays one round per tick with the newest weights."""

    weights = Input()
    episode = Output()
    t = Timer(0, ms(1))
    w = State(0.0)
    meet: object = None

    @reaction(weights)
    def on_weights(self, weights):
        self.w = weights.value

    @reaction(t)
    def on_t(self, episode):
        if self.meet is not None and self.time_ns >= ms(2):
            self.meet("play", self.time_ns)
        episode.set((self.time_ns, self.w, float(self.rng.random())))


class Learn(Reactor):
    episodes = Input(width="n")
    weights = Output()
    n: int
    meet: object = None
    w = State(0.0)

    @reaction(episodes)
    def on_episodes(self, episodes, weights):
        if self.meet is not None and self.time_ns >= ms(1):
            self.meet("learn", self.time_ns)
        self.w += sum(value[2] for value in episodes.values)
        self.log(w=self.w)
        weights.set(self.w)

    @reaction(shutdown)
    def on_shutdown(self):
        self.log(at_end=self.w)


class Train(Reactor):
    """A learner behind a declared delay: weights of round k are played with from round k + 2 on."""

    n: int = 3
    apart: bool = True
    each: bool = False
    meet: object = None

    def compose(self):
        play = Bank(Play, self.n, meet=self.meet)
        learn = Learn(n=self.n, meet=self.meet)
        self.play = enclave(play, each=True) if self.each else play
        self.learn = enclave(learn) if self.apart else learn
        connect(self.play.episode, self.learn.episodes)
        connect(self.learn.weights, self.play.weights, after=ms(2), broadcast=True)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_a_learner_of_its_own_leaves_the_same_trace(workers, each):
    options = {"until": ms(20), "fast": True, "trace": True, "fingerprint": True, "placement": "none"}
    plain = Program(Train(apart=False)).run(workers=1, **options)
    found = Program(Train(each=each)).run(workers=workers, **options)
    assert found.fingerprint == plain.fingerprint
    assert found.trace.writes == plain.trace.writes
    assert found.trace.executions == plain.trace.executions
    assert found.metrics == plain.metrics
    assert found.tag == plain.tag == Tag(ms(20))


def test_the_learner_works_on_one_round_while_the_next_is_played():
    # Each waits for the other: the learner at round k, the player at round k + 1. That ends only if they overlap.
    barrier = threading.Barrier(2)
    seen = []

    def meet(who, time_ns):
        if time_ns < ms(8):
            barrier.wait(WAIT)
            seen.append((who, time_ns))

    # The learner's tag 1 ms meets the player's tag 2 ms, and so on; the player's last round has no partner.
    def partner(who, time_ns):
        if who == "learn" or time_ns > ms(1):
            meet(who, time_ns if who == "play" else time_ns + ms(1))

    Program(Train(n=1, meet=partner)).run(workers=2, until=ms(10), fast=True, placement="none")
    assert sorted(seen) == sorted((who, ms(k)) for who in ("learn", "play") for k in range(2, 8))


def test_without_an_enclave_the_same_program_cannot_overlap():
    barrier = threading.Barrier(2)

    def meet(who, time_ns):
        barrier.wait(0.2)

    with pytest.raises(ReactionError) as info:
        Program(Train(n=1, apart=False, meet=meet)).run(workers=2, until=ms(4), fast=True, placement="none")
    assert isinstance(info.value.__cause__, threading.BrokenBarrierError)


def test_a_message_may_not_come_back_at_the_tag_at_which_it_was_sent():
    class Echo(Reactor):
        inp = Input()
        out = Output()

        @reaction(inp)
        def on_inp(self, inp, out):
            out.set(inp.value)

    class Both(Reactor):
        def compose(self):
            self.a = enclave(Echo())
            self.b = enclave(Echo())
            self.last = Echo()
            connect(self.a.out, self.b.inp)
            connect(self.b.out, self.a.inp, after=0)
            connect(self.b.out, self.last.inp)

    Program(Both())  # a microstep is a delay

    class Around(Reactor):
        """No reaction waits for itself, but the two enclaves do."""

        def compose(self):
            self.a = enclave(Pair())
            self.b = enclave(Echo())
            connect(self.a.out, self.b.inp)
            connect(self.b.out, self.a.inp)

    class Pair(Reactor):
        inp = Input()
        out = Output()

        @reaction(startup)
        def first(self, out):
            out.set(1)

        @reaction(inp)
        def second(self, inp):
            pass

    with pytest.raises(AssemblyError, match=r"(?s)enclaves wait for each other.*after=ms\(1\)"):
        Program(Around())


def test_enclaves_stay_outside_modes():
    class Modal(Reactor):
        one = Mode(initial=True)
        with one:
            play = enclave(Play())

    with pytest.raises(AssemblyError, match=r"play cannot be an enclave inside mode modal\.one"):
        Program(Modal())
    with pytest.raises(DeclarationError, match="takes a reactor or a bank, not 3"):
        enclave(3)


class Stopper(Reactor):
    """Stops the run at its third round."""

    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value)
        if inp.value == 3:
            self.request_stop()


class Counter(Reactor):
    back = Input()
    out = Output()
    t = Timer(0, ms(1))
    k = State(0)

    @reaction(t)
    def on_t(self, out):
        self.k += 1
        out.set(self.k)

    @reaction(back)
    def on_back(self, back):
        pass

    @reaction(shutdown)
    def on_shutdown(self):
        self.log(rounds=self.k)


class Stopping(Reactor):
    leads_back: bool = True

    def compose(self):
        self.counter = Counter()
        self.stopper = enclave(Stopper())
        connect(self.counter.out, self.stopper.inp)
        if self.leads_back:
            connect(self.stopper.out, self.counter.back, after=ms(2))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_stop_takes_effect_when_every_enclave_can_know(workers):
    result = Program(Stopping()).run(workers=workers, fast=True, trace=True, placement="none")
    # Asked for at 2 ms; the counter may be ahead by the 2 ms of the connection back.
    assert result.tag == Tag(ms(4))
    assert logged(result, "rounds") == [(Tag(ms(4)), 5.0)]


def test_an_enclave_from_which_nothing_leads_back_cannot_end_the_run():
    with pytest.raises(
        RunError, match=r"stopping\.stopper cannot end the run: nothing leads from it to the enclave stopping.*until="
    ):
        Program(Stopping(leads_back=False)).run(workers=2, fast=True, until=sec(1), placement="none")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_ends_all_enclaves_at_its_tag(workers):
    class Fail(Reactor):
        episodes = Input(width=3)
        weights = Output()

        @reaction(episodes)
        def on_episodes(self, episodes, weights):
            weights.set(0.0)
            if self.time_ns == ms(3):
                raise ValueError("three")

    class Main(Reactor):
        def compose(self):
            self.play = Bank(Play, 3)
            self.learn = enclave(Fail())
            connect(self.play.episode, self.learn.episodes)
            connect(self.learn.weights, self.play.weights, after=ms(1), broadcast=True)

    run = Program(Main()).start(workers=workers, fast=True, placement="none")
    with pytest.raises(ReactionError, match="three") as info:
        run.result(WAIT)
    assert info.value.tag == Tag(ms(3))
    assert info.value.reaction == "main.learn.on_episodes"
    assert not any(w.thread.is_alive() for w in run._engine.workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_run_ends_when_no_enclave_has_anything_left(workers):
    class Short(Reactor):
        out = Output()
        act = LogicalAction()

        @reaction(startup)
        def first(self, act):
            act.schedule(ms(3))

        @reaction(act)
        def then(self, out):
            out.set(1)

    class Main(Reactor):
        def compose(self):
            self.a = enclave(Short())
            self.b = enclave(Stopper())
            connect(self.a.out, self.b.inp, after=ms(2))

    result = Program(Main()).run(workers=workers, fast=True, until=sec(1), placement="none")
    assert result.tag == Tag(ms(5), 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_stopping_pausing_and_stepping_reach_every_enclave(workers):
    run = Program(Train()).start(workers=workers, placement="none")
    run.pause()
    assert run.state == "paused"
    run.step(2)
    run.resume()
    run.stop(WAIT)
    assert run.state == "stopped"
    assert not any(w.thread.is_alive() for w in run._engine.workers)


def test_what_comes_from_outside_reaches_the_enclaves_behind():
    heard = []
    all_heard = threading.Event()
    calls = []

    class Ask(Reactor):
        out = Output()
        call = PhysicalAction()

        @reaction(startup)
        def first(self, call):
            calls.append(call)

        @reaction(call)
        def on_call(self, call, out):
            out.set(call.value)

    class Hear(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            heard.append((self.tag, inp.value))
            if len(heard) == 20:
                all_heard.set()

    class Main(Reactor):
        def compose(self):
            self.ask = enclave(Ask())
            self.hear = enclave(Hear())
            connect(self.ask.out, self.hear.inp, after=ms(1))

    run = Program(Main()).start(workers=2, trace=True, placement="none")
    while not calls:
        assert run.is_alive
    for i in range(20):
        calls[0].schedule(0, i)
    assert all_heard.wait(WAIT)
    run.stop(WAIT)
    assert [value for _, value in heard] == list(range(20))
    sent = [tag for tag, _ in run.trace.values("ask.out")]
    assert [tag.time_ns for tag, _ in heard] == [tag.time_ns + ms(1) for tag in sent]
