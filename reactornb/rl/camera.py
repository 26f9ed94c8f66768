"""`Camera`: films an episode now and then while a program trains; `videos`: what it has filmed.

    program = Program(PPO(env="CartPole-v1", video_every=20_000))
    program.run(seed=1)
    for episode in videos(program):
        episode.save(f"after-{episode.trained}.mp4")

It knows of no algorithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reactornb.model import Fixed, Input, Reactor, reaction, startup
from reactornb.rl.acting import Acting
from reactornb.rl.config import check_parameters, whole
from reactornb.rl.envs import spec_of
from reactornb.rl.episodes import Watched
from reactornb.rl.policies import Policy, RandomPolicy, own_draws
from reactornb.rl.rollout import MakePolicy
from reactornb.rl.saving_policies import run_of
from reactornb.rl.watching import check_draws, play

__all__ = ["Camera", "films_of", "has_camera", "videos"]

MOST = 100


class Camera(Reactor):
    """Plays an episode without chance, in an environment of its own, and keeps what it looked like, as MP4 where there is ffmpeg.

    It changes nothing in a training, and plays while the rollouts play the next round. Of more than 100 episodes every other one is dropped.

    Parameters:
        env, policy: as for `Rollout`; the environment must draw itself, or be one that is drawn here.
        eval_every, steps_per_round, untrained: which weights are filmed, as for `Evaluator`; the final ones are in any case.
        steps: after so many an episode is over in any case.

    Attributes:
        videos: the episodes, from the first on.

    Raises (at startup):
        ValueError: if the environment draws nothing.
    """

    weights = Input[np.ndarray](doc="float32 [P]")
    final = Input[np.ndarray](doc="the last weights: filmed in any case")

    env: Fixed[Any] = "CartPole-v1"
    policy: Fixed[MakePolicy] = RandomPolicy
    eval_every: int = 0
    steps_per_round: Fixed[int] = 1
    untrained: Fixed[int] = 1
    steps: int = 1000

    @reaction(startup)
    def on_startup(self) -> None:
        """Look at the environment once."""
        check_parameters(
            self.full_name,
            eval_every=(self.eval_every, whole(0)),
            steps_per_round=(self.steps_per_round, whole(1)),
            untrained=(self.untrained, whole(0)),
            steps=(self.steps, whole(1)),
        )
        check_draws(self.env)
        self.spec = spec_of(self.env)
        with own_draws(self.seed):
            self.actor: Policy = self.policy(self.spec)
        self.seen = 0
        self.last: np.ndarray | None = None  # the last weights that came
        self.filmed: np.ndarray | None = None  # the weights of the last episode
        self.videos: list[Watched] = []

    @reaction(weights)
    def on_weights(self, weights: Any) -> None:
        """Film those that are due."""
        self.seen += 1
        self.last = weights.value
        if self.is_due():
            self.film(weights.value)

    @reaction(final)
    def on_final(self, final: Any) -> None:
        """Film the last weights, unless they have been."""
        if self.last is None or not np.array_equal(self.last, final.value):
            self.seen += 1  # another round led to them
        if self.filmed is None or not np.array_equal(self.filmed, final.value):
            self.film(final.value, "at the end")

    def is_due(self) -> bool:
        """Whether the weights that have come now are to be filmed, as an `Evaluator` says."""
        steps = (self.seen - self.untrained) * self.steps_per_round
        due = steps // self.eval_every > (steps - self.steps_per_round) // self.eval_every if self.eval_every else False
        return due and steps > 0

    def film(self, weights: np.ndarray, label: str = "") -> None:
        """Play, and keep it; called by how long was trained, unless a label is given."""
        self.actor.load(weights)
        self.filmed = weights
        trained = max(0, (self.seen - self.untrained) * self.steps_per_round)
        seed = int(self.rng.integers(2**31))
        episode = play(
            Acting(self.spec, self.actor), self.env, seed, self.steps, None, label or f"after {trained:,} steps"
        )
        episode.trained = trained
        self.videos = with_one_more(self.videos, episode.packed())


def with_one_more(films: list[Watched], film: Watched) -> list[Watched]:
    """Films and a new one, every other one of them if there are too many. A new list: whoever looks at the old one meanwhile, another thread, sees it as it was."""
    return [*(films[::2] if len(films) >= MOST else films), film]


def films_of(video_every: int, when: dict[str, Any]) -> dict[str, int]:
    """The parameters of a `Camera` that is sent weights as an evaluator is, `when` saying which are evaluated; where all that are sent are due, all are filmed."""
    if "steps_per_round" in when:
        return {"eval_every": video_every, "steps_per_round": when["steps_per_round"], "untrained": when["untrained"]}
    return {"eval_every": video_every, "steps_per_round": video_every, "untrained": 0}


def has_camera(run: Any) -> bool:
    """Whether a run, or a program, has a `Camera`."""
    program = getattr(run, "program", run)
    return any(issubclass(node.cls, Camera) for node in program.graph.reactors)


def videos(run: Any) -> list[Watched]:
    """What the cameras of a run have filmed so far, from the first episode on; empty where there is none.

    Args:
        run: a run, alive or over, or a program, of which the last one counts.

    Raises:
        PolicyNotSavableError: of a program that has not been started.
    """
    run = run_of(run)
    cameras = [run.instance(node.name) for node in run.program.graph.reactors if issubclass(node.cls, Camera)]
    episodes = [episode for camera in cameras for episode in camera.__dict__.get("videos", ())]
    return sorted(episodes, key=lambda episode: episode.trained or 0)
