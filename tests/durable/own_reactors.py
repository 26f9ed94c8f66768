"""Reactors as users write them, with whatever came to their minds: each is kept and cut, and goes on exactly in another process, or is refused.

python own_reactors.py keep FOLDER        # prints, by name: the whole run, or why it was refused
python own_reactors.py resume FOLDER
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import enum
import functools
import heapq
import io
import itertools
import json
import logging
import os
import random  # noqa: TID251 - users do
import shutil
import sys
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from keeping_runs import kept_until, outcome
from tutorial_programs import drawn_tags

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
    ms,
    reaction,
    resume,
    startup,
)
from reactornb.durable import storage

__all__ = ["EXACT", "REFUSED"]

WORKERS = (1, 2, 8)
UNTIL = ms(12)


class Each(Reactor):
    """What all here are: each millisecond `step` says what it sees."""

    needs_physical_time = False
    every = Timer(0, ms(1))
    out = Output[object]()

    @reaction(startup)
    def on_startup(self):
        self.begin()

    @reaction(every)
    def on_every(self, out):
        seen = self.step()
        out.set(seen)
        self.log(seen=float(np.sum(seen)))

    def begin(self):
        """Startup."""

    def step(self):
        """A number, or an array."""


EXACT, REFUSED = [], []


def exact(cls):
    """It goes on as if nothing had been."""
    EXACT.append(cls)
    return cls


def refused(cls):
    """Its run fails at the first tag, and says why."""
    REFUSED.append(cls)
    return cls


def unseen(cls):
    """It goes on otherwise, and nothing says so: the process's own generators, and caches of what is drawn. `Reactor.rng` is there for it."""
    return cls


@exact
class DictOfDeques(Each):
    def begin(self):
        self.recent = collections.defaultdict(functools.partial(collections.deque, maxlen=3))

    def step(self):
        self.recent[f"k{self.rng.integers(4)}"].append(self.rng.random())
        return sum(sum(values) * (at + 1) for at, values in enumerate(self.recent.values()))


@exact
class LambdaFactory(Each):
    def begin(self):
        self.counts = collections.defaultdict(lambda: [0, 0.0])

    def step(self):
        entry = self.counts[int(self.rng.integers(5))]
        entry[0] += 1
        entry[1] += self.rng.random()
        return sum(n * x for n, x in self.counts.values())


@exact
class Views(Each):
    def begin(self):
        self.memory = np.zeros((4, 6), np.float32)
        self.rows = list(self.memory)
        self.column = self.memory[:, 2]
        self.tail = self.memory.reshape(-1)[5:]
        self.back = self.memory[::-1, ::2]

    def step(self):
        self.rows[int(self.rng.integers(4))] += self.rng.random(6, dtype=np.float32)
        self.column *= 0.5
        self.back[0] += 1
        self.tail[3] = self.rng.random()
        return self.memory.copy()


@dataclasses.dataclass
class Episode:
    number: int
    steps: list = dataclasses.field(default_factory=list)
    best: Episode | None = None

    @functools.cached_property
    def first(self):
        return self.steps[0] if self.steps else -1.0


@exact
class Dataclasses(Each):
    def begin(self):
        self.now, self.done = Episode(0), []

    def step(self):
        self.now.steps.append(self.rng.random())
        total = self.now.first + sum(self.now.steps)
        if len(self.now.steps) == 3:
            self.done.append(self.now)
            best = max(self.done, key=lambda episode: sum(episode.steps))
            self.now = Episode(self.now.number + 1, [], best)
        return total + (sum(self.now.best.steps) if self.now.best else 0.0)


class Node:
    __slots__ = ("__weakref__", "children", "parent", "value")

    def __init__(self, value, parent=None):
        self.value, self.parent, self.children = value, parent, []


@exact
class Tree(Each):
    def begin(self):
        self.root = Node(0.0)
        self.leaf = self.root
        self.loop = [self.root]
        self.loop.append(self.loop)
        self.seen = weakref.ref(self.root)

    def step(self):
        child = Node(self.rng.random(), self.leaf)
        self.leaf.children.append(child)
        self.leaf = child if self.rng.random() < 0.7 else self.root
        up, total = child, 0.0
        while up is not None:
            total, up = total + up.value, up.parent
        return total + len(self.loop[1][1]) + self.seen().value


@exact
class ClosureInStartup(Each):
    def begin(self):
        total = 0.0
        history = []

        def add(x):
            nonlocal total
            total += x
            history.append(x)
            return total + len(history)

        self.add = add

    def step(self):
        return self.add(self.rng.random())


@exact
class Counting(Each):
    def begin(self):
        self.ids = itertools.count(10, 3)
        self.next_id = itertools.count().__next__

    def step(self):
        return next(self.ids) * self.rng.random()


@exact
class HeapOfTuples(Each):
    def begin(self):
        self.heap, self.tie = [], 0

    def step(self):
        self.tie += 1
        heapq.heappush(self.heap, (self.rng.random(), self.tie, {"at": self.tie}))
        return heapq.heappop(self.heap)[2]["at"] if self.tie % 3 == 0 else self.heap[0][0]


class Kind(enum.IntEnum):
    LOW = 1
    HIGH = 2


@exact
class EnumsAndSets(Each):
    def begin(self):
        self.kinds = {Kind.LOW: 0, Kind.HIGH: 0}
        self.visited = set()
        self.frozen = frozenset()

    def step(self):
        kind = Kind.LOW if self.rng.random() < 0.5 else Kind.HIGH
        self.kinds[kind] += 1
        self.visited.add((int(self.rng.integers(9)), kind))
        self.frozen |= {kind}
        return self.kinds[Kind.HIGH] + 0.1 * len(self.visited) + 0.01 * len(self.frozen)


class Ring:
    """A buffer of a user's own, with properties and an index."""

    def __init__(self, size):
        self._data, self._at, self._size = np.zeros(size), 0, size

    def __len__(self):
        return min(self._at, self._size)

    def __getitem__(self, at):
        return self._data[at % self._size]

    def add(self, x):
        self._data[self._at % self._size] = x
        self._at += 1

    @property
    def mean(self):
        return float(self._data[: len(self)].mean())


@exact
class OwnBuffer(Each):
    size: int = 5

    def begin(self):
        self.ring = Ring(self.size)

    def step(self):
        self.ring.add(self.rng.random())
        return self.ring.mean + self.ring[0]


@exact
class OwnGenerators(Each):
    def begin(self):
        self.numpy = np.random.default_rng(self.seed)
        self.children = self.numpy.spawn(2)
        self.old = np.random.RandomState(7)
        self.python = random.Random(3)
        self.same = self.numpy

    def step(self):
        return (
            self.numpy.random()
            + self.children[1].normal()
            + self.old.normal()
            + self.python.gauss(0, 1)
            + self.same.random()
        )


@exact
class Lazily(Each):
    """Makes what it needs when it needs it."""

    def step(self):
        if not hasattr(self, "cache"):
            self.cache = {}
        key = int(self.rng.integers(4))
        if key not in self.cache:
            self.cache[key] = Ring(3)
        self.cache[key].add(self.rng.random())
        return sum(ring.mean for ring in self.cache.values())


class Base(Each):
    def begin(self):
        self.__secret = 1.0
        self.level = 0

    def step(self):
        self.__secret *= 1.5
        self.level += 1
        return self.__secret


@exact
class Derived(Base):
    def begin(self):
        super().begin()
        self.__secret = [0]

    def step(self):
        self.__secret.append(self.level)
        return super().step() + len(self.__secret)

    @property
    def level(self):
        return self._level

    @level.setter
    def level(self, value):
        self._level = value


@exact
class Bound(Each):
    def begin(self):
        self.ways = {"up": self.up, "down": self.down}
        self.x = 0.0
        self.append = (items := []).append
        self.items = items

    def up(self):
        self.x += self.rng.random()

    def down(self):
        self.x -= 0.5

    def step(self):
        self.ways["up" if self.rng.random() < 0.6 else "down"]()
        self.append(self.x)
        return sum(self.items)


@exact
class SetattrOfNames(Each):
    def begin(self):
        for name in ("a", "b", "c"):
            setattr(self, f"net_{name}", np.zeros(2))
        vars(self)["d"] = 1.0

    def step(self):
        getattr(self, f"net_{'abc'[int(self.rng.integers(3))]}")[...] += self.rng.random()
        self.d *= 1.1
        return float(sum(getattr(self, f"net_{name}").sum() for name in "abc")) + self.d


@exact
class Iterators(Each):
    def begin(self):
        self.items = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
        self.turn = iter(self.items)
        self.numbers = iter(range(100, 200, 7))

    def step(self):
        return next(self.turn) + next(self.numbers)


@exact
class Structured(Each):
    def begin(self):
        self.table = np.zeros(4, [("x", "f8"), ("n", "i4")])
        self.masked = np.ma.masked_array(np.arange(4.0), [0, 1, 0, 0])
        self.objects = np.array([None, [1], {"a": 2}], object)
        self.scalar = np.float32(0.1)

    def step(self):
        row = int(self.rng.integers(4))
        self.table["x"][row] += self.rng.random()
        self.table[row]["n"] += 1
        self.masked[row] = self.rng.random()
        self.objects[1].append(row)
        self.scalar = self.scalar * np.float32(1.7)
        return (
            self.table["x"].sum()
            + self.table["n"].max()
            + float(self.masked.sum())
            + len(self.objects[1])
            + float(self.scalar)
        )


@exact
class Logging(Each):
    def begin(self):
        self.logger = logging.getLogger("own")
        self.key = functools.partial(max, 0.5)

    def step(self):
        self.logger.debug("x")
        return self.key(self.rng.random())


@refused
class InMemoryFile(Each):
    def begin(self):
        self.text = io.StringIO()

    def step(self):
        self.text.write(str(int(self.rng.integers(10))))
        return float(self.text.getvalue()[-9:])


class Worker(Reactor):
    go = Input[float]()
    found = Output[float]()
    gain: float = 1.0
    total = State(0.0)

    @reaction(go)
    def on_go(self, go, found):
        self.total += self.gain * go.value + self.rng.random()
        found.set(self.total + self.bank_index)


class Source(Reactor):
    again = LogicalAction(min_delay=ms(1))
    go = Output[float]()

    @reaction(startup, again)
    def on_again(self, go, again):
        go.set(self.rng.random())
        again.schedule(ms(int(self.rng.integers(0, 2))), value=[1, 2])


@exact
class BanksAndContained(Reactor):
    needs_physical_time = False
    width: int = 3
    gain: float = 0.5

    def compose(self):
        self.source = Source()
        self.workers = Bank(Worker, self.width, gain=self.gain)
        self.inner = Worker(gain=2.0)
        connect(self.source.go, self.workers.go, broadcast=True)
        connect(self.source.go, self.inner.go, after=ms(1))


@exact
class Modes(Reactor):
    needs_physical_time = False
    out = Output[float]()
    slow, quick = Mode(initial=True), Mode()
    count = State(0)

    with slow:
        seldom = Timer(ms(1), ms(3))
        while_slow = State(0)

        @reaction(seldom)
        def on_seldom(self, out, quick):
            self.count += 1
            self.while_slow += 1
            out.set(self.count + 0.1 * self.while_slow)
            quick.set()

    with quick:
        often = Timer(0, ms(1))

        @reaction(often)
        def on_often(self, out, slow):
            self.count += 10
            out.set(float(self.count))
            if self.rng.random() < 0.4:
                slow.set()


class Tool:
    """Its class counts, its objects do not."""

    made = 0
    registry: dict = {}  # noqa: RUF012 - users do

    def __init__(self):
        type(self).made += 1
        self.number = self.made


@refused
class ClassAttributeOfOwn(Each):
    total = 0.0
    shared: list = []  # noqa: RUF012 - users do

    def step(self):
        type(self).total += self.rng.random()
        return type(self).total


@refused
class ClassAttributeOfAnother(Each):
    def step(self):
        return Tool().number


@refused
class ClassRegistry(Each):
    def step(self):
        Tool.registry[len(Tool.registry)] = self.rng.random()
        return sum(Tool.registry.values())


COUNT = 0
CACHE: dict = {}


@refused
class ModuleGlobal(Each):
    def step(self):
        global COUNT  # noqa: PLW0603
        COUNT += 1
        return COUNT


@refused
class ModuleCache(Each):
    def step(self):
        CACHE[len(CACHE)] = 1
        return len(CACHE)


def remembers(x, seen=[]):  # noqa: B006 - users do
    seen.append(x)
    return len(seen)


@refused
class MutableDefault(Each):
    def step(self):
        return remembers(1)


@refused
class FunctionAttribute(Each):
    def step(self):
        remembers.calls = getattr(remembers, "calls", 0) + 1
        return remembers.calls


@unseen
class GlobalNumpy(Each):
    def step(self):
        return np.random.random()  # noqa: NPY002


@unseen
class GlobalRandom(Each):
    def step(self):
        return random.random()


@refused
class Generators(Each):
    def begin(self):
        self.numbers = (x * x for x in range(100))

    def step(self):
        return next(self.numbers)


@refused
class Cycles(Each):
    def begin(self):
        self.turn = itertools.cycle([1, 2, 3])

    def step(self):
        return next(self.turn)


@refused
class OpenFile(Each):
    def begin(self):
        self.file = open(os.devnull, "w")  # noqa: PTH123, SIM115

    def step(self):
        return self.file.write("x")


@refused
class TemporaryFolder(Each):
    def begin(self):
        self.folder = tempfile.TemporaryFile()  # noqa: SIM115

    def step(self):
        return self.folder.write(b"x")


@unseen
class LruCache(Each):
    """What its cache holds is the outcome of a draw."""

    def begin(self):
        @functools.lru_cache
        def drawn(key):
            return self.rng.random()

        self.drawn = drawn

    def step(self):
        return self.drawn(int(self.rng.integers(3)))


@refused
class OwnThread(Each):
    class Line(threading.Thread):
        count = 0

    def begin(self):
        self.line = self.Line()

    def step(self):
        self.line.count += 1
        return self.line.count


EXTRA: dict = {}


def extra():
    """Those that need torch, gymnasium, PettingZoo."""
    try:
        import gymnasium
        import torch
        from gymnasium.wrappers import (
            FrameStackObservation,
            NormalizeObservation,
            NormalizeReward,
            RecordEpisodeStatistics,
        )
    except ImportError:
        return

    @exact
    class Training(Each):
        def begin(self):
            torch.manual_seed(int(self.seed) % 2**31)
            self.net = torch.nn.Sequential(
                torch.nn.Linear(3, 5),
                torch.nn.BatchNorm1d(5),
                torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(5, 1)),
            )
            self.target = copy.deepcopy(self.net)
            self.optimizer = torch.optim.AdamW(
                [{"params": self.net[0].parameters()}, {"params": self.net[2].parameters(), "lr": 1e-2}], lr=1e-3
            )
            self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 0.1, total_steps=50)
            self.steps = torch.optim.lr_scheduler.LambdaLR(
                torch.optim.SGD(self.target.parameters(), lr=0.1), lambda n: 0.9**n
            )
            self.generator = torch.Generator().manual_seed(5)
            self.best = None

        def step(self):
            x = torch.from_numpy(self.rng.standard_normal((4, 3)).astype(np.float32)) + torch.randn(
                4, 3, generator=self.generator
            )
            with torch.random.fork_rng():
                torch.manual_seed(int(self.rng.integers(1000)))
                loss = (self.net(x) - self.target(x).detach()).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.steps.optimizer.step()
            self.steps.step()
            for a, b in zip(self.target.parameters(), self.net.parameters(), strict=True):
                a.data.lerp_(b.data, 0.1)
            if self.best is None or loss.item() < self.best[0]:
                self.best = (loss.item(), {k: v.clone() for k, v in self.net.state_dict().items()})
            return loss.item() + self.best[0] + self.steps.get_last_lr()[0]

    @unseen
    class GlobalTorch(Each):
        def step(self):
            return torch.rand(()).item()

    @exact
    class Gym(Each):
        def begin(self):
            env = gymnasium.make("CartPole-v1")
            env = NormalizeReward(NormalizeObservation(RecordEpisodeStatistics(FrameStackObservation(env, 2))))
            self.env = env
            self.env.action_space.seed(3)
            self.now, _ = self.env.reset(seed=self.seed)

        def step(self):
            self.now, reward, over, late, _ = self.env.step(self.env.action_space.sample())
            if over or late:
                self.now, _ = self.env.reset()
            return float(self.now.sum() + reward)

    class Walk(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (1,))
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.path = [0.0]
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.path.append(self.path[-1] + self.np_random.normal())
            return np.array(self.path[-1:], np.float32), self.path[-1], len(self.path) > 5, False, {}

    Walk.__qualname__ = "Walk"
    EXTRA["Walk"] = Walk

    @exact
    class OwnGym(Each):
        def begin(self):
            self.env = Walk()
            self.env.reset(seed=self.seed)

        def step(self):
            seen, _, over, _, _ = self.env.step(0)
            if over:
                self.env.reset()
            return float(seen[0])

    try:
        from reactornb.rl import TrafficJunction
    except ImportError:
        return

    @exact
    class Zoo(Each):
        def begin(self):
            self.env = TrafficJunction("easy")
            self.env.reset(seed=int(self.seed) % 1000)

        def step(self):
            if not self.env.agents:
                self.env.reset()
            _, rewards, *_ = self.env.step({agent: int(self.rng.integers(2)) for agent in self.env.agents})
            return float(sum(rewards.values()))


extra()


def keep(folder):
    """By name: the outcome of the whole run, or why it was refused."""
    found = {}
    for number, cls in enumerate([*EXACT, *REFUSED]):
        options = {"seed": 1, "fingerprint": True, "until": UNTIL}
        name = cls.__name__
        run = Program(cls).start(workers=2, keep=f"{name}-whole", trace=True, **options)
        try:
            whole = outcome(run)
        except Exception as error:  # noqa: BLE001 - told
            found[name] = f"{type(error).__name__}: {error}"
            continue
        found[name] = whole
        tags = sorted({tuple(tag) for tag, _ in run.result().trace.executions})
        for cut, tag in enumerate(drawn_tags(tags, number)):
            run = kept_until(Program(cls), Tag(*tag), f"{name}-{cut}", workers=2, **options)
            run.stop()
            for workers in WORKERS:
                shutil.copytree(run.kept, folder / "copies" / name / f"{cut}" / f"{workers}")
    return found


def go_on(folder):
    """By name, cut and workers."""
    classes, found = {cls.__name__: cls for cls in [*EXACT, *REFUSED]}, {}
    for path in sorted((folder / "copies").glob("*/*/*")):
        name, cut, workers = path.parts[-3:]
        try:
            found[f"{name}/{cut}/{workers}"] = outcome(resume(path, program=classes[name], workers=int(workers)))
        except Exception as error:  # noqa: BLE001 - told
            found[f"{name}/{cut}/{workers}"] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    storage._fsync = lambda *_: None  # no test here takes the power away
    with contextlib.redirect_stdout(sys.stderr):
        done = {"keep": keep, "resume": go_on}[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write(json.dumps(done))
