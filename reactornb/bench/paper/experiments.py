"""What `reactornb paper` measures: one benchmark per experiment, its words on a command line, and about how long it takes.

It knows the benchmarks by their names and options only; what they find is read from the JSON they write.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from reactornb.bench.peers import names_for

__all__ = ["PARTS", "Part", "Settings", "part", "usable_cores"]


@dataclass(frozen=True)
class Settings:
    """What a user asked for.

    Attributes:
        quick: the short sizes.
        peers: names of peers; each part takes those that it has.
        as_published: also the variants of the paper's own programs.
    """

    quick: bool = False
    peers: tuple[str, ...] = ()
    as_published: bool = False


@dataclass(frozen=True)
class Part:
    """One experiment: the benchmark that measures it.

    Attributes:
        number: of the experiment in the paper; 7 and 8 are ours.
        benchmark: of `reactornb bench`.
        title: for a reader.
        about: one or two sentences: what a client does, and what the sizes are.
        full, quick: its words, without workers and peers.
        seconds: of (full, quick), about, on two idle cores.
        peer_seconds: the same for Ray, in addition.
        takes_workers: whether numbers of workers are an option of the benchmark.
        takes_peers: whether peers are measured beside it.
        has_published: whether --as-published is one that measures more, instead of something else.
    """

    number: int
    benchmark: str
    title: str
    about: str
    full: str
    quick: str
    seconds: tuple[float, float]
    peer_seconds: tuple[float, float] = (0.0, 0.0)
    takes_workers: bool = True
    takes_peers: bool = True
    has_published: bool = False

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.number}-{self.benchmark}"

    def words(self, settings: Settings) -> list[str]:
        """Its words after `reactornb bench`."""
        words = [self.benchmark, *(self.quick if settings.quick else self.full).split()]
        if self.takes_workers:
            words += ["--workers", ",".join(map(str, worker_counts()))]
        there = [name for name in settings.peers if self.takes_peers and name in names_for(self.benchmark)]
        if there:
            words += ["--peers", ",".join(there)]
        if settings.as_published and self.has_published:
            words.append("--as-published")
        return words

    def expected_seconds(self, settings: Settings) -> float:
        """About how long it takes, on two idle cores."""
        at = int(settings.quick)
        return self.seconds[at] + self.peer_seconds[at] * ("ray" in settings.peers)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_counts(cores: int | None = None) -> Sequence[int]:
    """1, 2, 4, … up to the usable cores; 1 and 2 at least."""
    most = max(2, usable_cores() if cores is None else cores)
    return [1 << i for i in range(most.bit_length()) if 1 << i <= most]


PARTS = (
    Part(
        1,
        "actors",
        "Actors",
        "2, 4, 8 and 16 clients sleep and then send an array of 10 MB. What is drawn is a round's time over the sleep.",
        full="--rounds 10 --repeats 3",
        quick="--sleep 0.1 --rounds 5 --repeats 2",
        seconds=(330, 35),
        peer_seconds=(130, 60),
        takes_workers=False,
        has_published=True,
    ),
    Part(
        2,
        "objects",
        "Object size",
        "Sixteen clients sleep and then send arrays from 1 KB to 500 MB. What is drawn is a round's time over the sleep.",
        full="--rounds 5 --repeats 3",
        quick="--sizes 1KB,1MB,10MB,100MB --sleep 0.1 --rounds 3 --repeats 2",
        seconds=(420, 50),
        peer_seconds=(600, 150),
        takes_workers=False,
        has_published=True,
    ),
    Part(
        3,
        "gym",
        "Gymnasium",
        "15 environments take one step a round, with a random policy.",
        full="--env Blackjack-v1 --env CartPole-v1 --env Pendulum-v1 --envs 15 --steps 1 --rounds 3000 --repeats 5",
        quick="--env Blackjack-v1 --env CartPole-v1 --env Pendulum-v1 --envs 15 --steps 1 --rounds 200 --repeats 5",
        seconds=(200, 30),
        peer_seconds=(700, 150),
        has_published=True,
    ),
    Part(
        4,
        "atari",
        "Atari",
        "15 games take one step a round, frames of 210×160×3, with a random policy.",
        full="--envs 15 --rounds 200 --repeats 5",
        quick="--envs 15 --rounds 40 --repeats 2",
        seconds=(230, 60),
        peer_seconds=(160, 90),
    ),
    Part(
        5,
        "qlearning",
        "Parallel Q-learning",
        "A learner sends weights to 16 rollouts, which play 100 steps of Blackjack each; a replay buffer gives the learner K transitions.",
        full="--batch 500,1000,2000 --rounds 25 --repeats 5",
        quick="--batch 500,2000 --rounds 8 --repeats 2",
        seconds=(110, 20),
        peer_seconds=(220, 60),
    ),
    Part(
        6,
        "marl",
        "Multi-agent inference",
        "Every agent of TrafficJunction gets the joint observation and chooses an action with a network of its own.",
        full="--cars 4,10 --rounds 500 --repeats 7",
        quick="--cars 4,10 --rounds 200 --repeats 3",
        seconds=(40, 12),
        peer_seconds=(160, 50),
    ),
    Part(
        7,
        "shards",
        "More workers, and a learner in shards",
        "The same programs with 1, 2, … workers, and an update of a learner whose minibatch is split into shards.",
        full="--networks 64x64,256x256 --shards 1,2,4 --repeats 5",
        quick="--networks 256x256 --shards 1,2 --repeats 3",
        seconds=(60, 15),
    ),
    Part(
        8,
        "hosts",
        "More hosts",
        "Eight players of 20 ms each, on 1, 2 and 4 hosts: processes of this machine with one worker each. Beside them workers of one process.",
        full="--only heavy --hosts 1,2,4 --heavy-rounds 20 --repeats 5",
        quick="--only heavy --hosts 1,2,4 --heavy-rounds 5 --repeats 2",
        seconds=(150, 35),
        takes_workers=False,
        takes_peers=False,
    ),
)


def part(number: int) -> Part:
    """The part of an experiment."""
    return next(part for part in PARTS if part.number == number)
