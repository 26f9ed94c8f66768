"""Small programs whose players may be placed."""

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Output,
    Program,
    Reactor,
    State,
    Timer,
    connect,
    enclave,
    ms,
    reaction,
    shutdown,
    startup,
    us,
)
from reactornb.runtime.workers import current_scheduler

__all__ = ["OPTIONS", "Chain", "Count", "Counting", "Pipe", "Train", "alone"]

OPTIONS = {"fast": True, "fingerprint": True, "placement": "none"}


class Play(Reactor):
    """Plays one round per tick with the newest weights."""

    weights = Input()
    episode = Output()
    t = Timer(0, ms(1))
    gain: float = 1.0
    fail_at: int = -1
    stop_at: int = -1
    say: bool = False
    outer: object = None
    w = State(0.0)

    @reaction(startup)
    def on_startup(self):
        self.began = self.time_ns

    @reaction(weights)
    def on_weights(self, weights):
        self.w = weights.value

    @reaction(t)
    def on_t(self, episode):
        round_ = self.time_ns // 1_000_000
        if round_ == self.fail_at and self.bank_index == 1:
            raise ValueError(f"round {round_}")
        if round_ == self.stop_at and self.bank_index == 1:
            self.request_stop()
        if self.say:
            scheduler = current_scheduler()
            scheduler.printed.write(f"round {round_}\n", scheduler)
        drawn = float(self.rng.random())
        if self.outer is not None:
            drawn += self.outer(self.bank_index, round_)
        self.log(played=drawn)
        episode.set((round_, self.w * self.gain, drawn))


class Learn(Reactor):
    episodes = Input(width="n")
    weights = Output()
    n: int
    w = State(0.0)

    @reaction(episodes)
    def on_episodes(self, episodes, weights):
        self.w += sum(value[2] + 0.001 * value[1] for value in episodes.values)
        self.log(w=self.w)
        weights.set(self.w)

    @reaction(shutdown)
    def on_shutdown(self):
        self.log(at_end=self.w)


class Train(Reactor):
    """A learner behind a declared delay."""

    n: int = 4
    fail_at: int = -1
    stop_at: int = -1
    say: bool = False
    outer: object = None

    def compose(self):
        play = Bank(
            Play, self.n, fail_at=self.fail_at, stop_at=self.stop_at, say=self.say, outer=self.outer
        )  # fmt: skip
        self.play = enclave(play, each=True)
        self.learn = enclave(Learn(n=self.n))
        connect(self.play.episode, self.learn.episodes)
        connect(self.learn.weights, self.play.weights, after=ms(2), broadcast=True)


class Count(Reactor):
    """Sends without waiting for anybody, until it has sent so many."""

    out = Output()
    again = LogicalAction(ms(1))
    most: int = 1 << 60
    sent = State(0)

    @reaction(startup, again)
    def on_again(self, out, again):
        self.sent += 1
        out.set(self.sent)
        if self.sent < self.most:
            again.schedule()


class Add(Reactor):
    inp = Input()
    out = Output()
    gain: int = 1
    total = State(0)

    @reaction(inp)
    def on_inp(self, inp, out):
        self.total += self.gain * inp.value
        out.set(self.total)


class Counting(Reactor):
    """What is placed waits for nobody, and nobody waits for it: it may go as far ahead as it likes."""

    most: int = 1 << 60

    def compose(self):
        self.count = enclave(Count(most=self.most))
        self.add = Add()
        connect(self.count.out, self.add.inp)


class Chain(Reactor):
    """From enclave to enclave, without delays, and back with one."""

    def compose(self):
        self.count = Count(most=30)
        self.first = enclave(Add())
        self.second = enclave(Add())
        self.last = Add()
        connect(self.count.out, self.first.inp)
        connect(self.first.out, self.second.inp)
        connect(self.second.out, self.last.inp, after=ms(1))


class Clocked(Add):
    """Adds, and looks at the sum when nobody asks."""

    t = Timer(us(500), ms(1))

    @reaction(t)
    def on_t(self):
        self.log(total=self.total)


class Pipe(Reactor):
    """What is placed stands between two that go on by themselves."""

    def compose(self):
        self.count = enclave(Count(most=30))
        self.first = enclave(Add())
        self.last = enclave(Clocked())
        connect(self.count.out, self.first.inp)
        connect(self.first.out, self.last.inp)


def alone(root, **options):
    """The result without hosts."""
    return Program(root).run(workers=1, **OPTIONS, **options)
