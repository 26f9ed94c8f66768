"""How a training is steered from within: ended before its last round, changed while it goes on, and watched by listeners.

    Rollout.trajectory  -> Monitor.trajectories    what was played
    Evaluator.mean      -> Monitor.evaluated       what an evaluation gave
    learner.learnt      -> Monitor.learnt          each round: its metrics and weights
    Monitor.progress    -> Listener.progress       a `Progress`, once a round
    Listener.order      -> learner.orders          the end, or new values of its parameters, before the next round   (after=ms(0))
    Monitor.halt, Evaluator.halt -> learner.halt    the end: a mean return is reached

All of it are values on ports, at tags: the same in every run, for any number of workers. Only how late it is (`max_seconds`) comes from outside, as a
reading of the clock, which is recorded. None of it draws random numbers of the reactors that train: weights are the same with it and without.

It knows of no algorithm, and nothing of torch.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from reactornb.model import Fixed, Input, Output, Reactor, fitting, reaction, startup
from reactornb.rl.checks import name_of
from reactornb.rl.config import Rule, at_least, number
from reactornb.rl.errors import ConfigError
from reactornb.rl.storage import Trajectory, episode_sums

__all__ = ["ACTOR_CRITIC", "STOP", "Learnt", "Listener", "Monitor", "Progress", "Returns", "Steered", "listener"]

STOP = "stop"
"""What a listener answers that wants the training to end."""


ACTOR_CRITIC: Mapping[str, Rule] = {
    "gamma": number(0, 1),
    "gae_lambda": number(0, 1),
    "ent_coef": at_least(0),
    "vf_coef": at_least(0),
    "clip_range": number(0, above=True),
}
"""The hyper-parameters of an actor-critic that can be changed while it learns."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a learner tells of a round.

    Attributes:
        round: its number, from 1.
        metrics: what was logged of it.
        weights: float32 [P], those that it led to.
    """

    round: int
    metrics: dict[str, float]
    weights: np.ndarray


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come; what a listener is told after each round.

    Attributes:
        round: number of the round that has been learnt from, from 1.
        steps: environment steps that have been played, all environments together.
        total_timesteps: how many the whole training has.
        returns: of the episodes that ended in this round, in the order of the rollouts.
        mean_return: of the last 100 episodes; NaN before the first one ends.
        evaluation: mean return of the evaluation that was made since the last round, or None.
        metrics: what the learner logged of this round, such as "loss".
        weights: float32 [P], those that this round led to, read-only.
    """

    round: int
    steps: int
    total_timesteps: int
    returns: list[float]
    mean_return: float
    evaluation: float | None
    metrics: dict[str, float]
    weights: np.ndarray

    @property
    def fraction(self) -> float:
        """How much of the training is over, from 0 to 1."""
        return min(1.0, self.steps / self.total_timesteps)


class Steered(Reactor):
    """What a learner needs to be steered: the base of `Learner`, and of A3C's shared weights.

    Parameters:
        listens_to: channels of `orders`.
        reports: whether each round is told on `learnt`.
        max_seconds: the training ends with the first round that ends later than so many seconds after its beginning, physical time; None: never.
            A resumed run counts on from where it was cut.
    """

    halt = Input[Any](doc="end before this tag's round")
    orders = Input[Any](width="listens_to", doc="`STOP`, or new values of parameters by their names")
    learnt = Output[Learnt]()
    final = Output[np.ndarray](doc="the weights after the last round")

    listens_to: int = 0
    reports: Fixed[bool] = False
    max_seconds: float | None = None

    live: ClassVar[tuple[str, ...]] = ()
    """Of `ACTOR_CRITIC`, the parameters that the algorithm is told before each round."""

    @reaction(halt)
    def on_halt(self, final: Any) -> None:
        """End with the weights of the moment."""
        if not self.over:
            final.set(self.published())
            self.end_now()

    @reaction(orders)
    def on_orders(self, orders: Any, final: Any) -> None:
        """Before this tag's round: go on with other values, or end."""
        for who, order in orders.present:
            if isinstance(order, Mapping):
                for name, value in order.items():
                    self.change(name, value)
            elif order != STOP:
                raise ConfigError(
                    f"{self.full_name}: callback {who} answered {order!r:.80}; an answer is None, STOP, or new values such as {{'learning_rate': 1e-4}}.",
                    fields=("callbacks",),
                )
            elif not self.over:
                final.set(self.published())
                self.end_now()

    @property
    def over(self) -> bool:
        """Whether the last round was learnt from; what arrives afterwards counts for nothing."""
        return bool(self.__dict__.get("stopped", False))

    def end_now(self) -> None:
        """There is no further round."""
        self.stopped = True
        self.request_stop()

    @property
    def is_late(self) -> bool:
        """Whether the time is up. Reads the clock, which is recorded, only where there is a limit."""
        return self.max_seconds is not None and self.physical_time_ns >= self.max_seconds * 1e9

    def change(self, name: str, value: Any) -> None:
        """Give a parameter another value, as `Run.set` does, but from within the program: in every run at the same tag.

        Raises:
            ConfigError: if there is no such parameter, or it does not take that value.
        """
        spec = type(self)._spec
        known = [n for n in spec.parameters if n not in spec.fixed and n != "listens_to"]
        try:
            if name not in known:
                raise ValueError(f"it has {', '.join(known)}")
            fitted = fitting(type(self), name, value)
            self.check_parameter(name, fitted)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.full_name}: a listener asked for {name}={value!r:.80}: {error}", fields=("callbacks",)
            ) from error
        setattr(self, name, fitted)
        self.changed(name)

    def check_parameter(self, name: str, value: Any) -> None:
        """Refuse a value that would end the run."""
        if name in self.live and not ACTOR_CRITIC[name].holds(value):
            raise ValueError(f"it must be {ACTOR_CRITIC[name].words}.")
        if name == "max_seconds" and value is not None and not value > 0:
            raise ValueError("it must be above 0, or None.")

    def published(self) -> np.ndarray:
        """The weights of the moment, float32 [P], read-only."""
        raise NotImplementedError

    def changed(self, name: str) -> None:
        """A listener has given this parameter another value."""

    def tuned(self) -> dict[str, Any]:
        """The values of the `live` parameters that the algorithm has."""
        values = {name: getattr(self, name) for name in self.live}
        return {name: value for name, value in values.items() if value is not None}


class Returns:
    """Returns of the episodes that end in the trajectories of some rollouts, each of which goes on where its last one ended."""

    def __init__(self) -> None:
        self._open: dict[int, np.ndarray] = {}  # of the episodes that go on, per channel: float64 [N]

    def add(self, channel: int, played: Trajectory) -> list[float]:
        """Those that ended in this trajectory, in the order of their ends."""
        before = self._open.get(channel, np.zeros(played.rewards.shape[1]))
        returns, self._open[channel] = episode_sums(played.rewards, played.ended, before)
        return [float(value) for value in returns]


class Monitor(Reactor):
    """Puts together what listeners are told, and sees when the mean return of the last episodes is reached.

    Parameters:
        writers: channels of `trajectories`; 0: nothing is played, as where recorded episodes are learnt from.
        steps_per_round: where nothing is played, steps that a round counts.
        total_timesteps: of the whole training.
        stop_at_return: end the training as soon as the mean return of the last `window` episodes is at least this; None: never.
        window: how many episodes those are; it goes on at least until so many have ended.
    """

    trajectories = Input[Trajectory](width="writers")
    evaluated = Input[float]()
    learnt = Input[Learnt]()
    halt = Output[Any]()
    progress = Output[Progress]()

    writers: int = 1
    steps_per_round: Fixed[int] = 0
    total_timesteps: Fixed[int] = 1
    stop_at_return: float | None = None
    window: Fixed[int] = 100

    @reaction(startup)
    def on_startup(self) -> None:
        """Nothing has been played yet."""
        self.counted = Returns()
        self.last: deque[float] = deque(maxlen=self.window)
        self.ended: list[float] = []
        self.steps = 0
        self.evaluation: float | None = None

    @reaction(evaluated)
    def on_evaluated(self, evaluated: Any) -> None:
        """For the next `Progress`."""
        self.evaluation = float(evaluated.value)

    @reaction(trajectories)
    def on_trajectories(self, trajectories: Any, halt: Any) -> None:
        """Count, in the order of the channels."""
        for channel, played in trajectories.present:
            self.steps += played.steps
            ended = self.counted.add(channel, played)
            self.ended += ended
            self.last.extend(ended)
        if (
            self.stop_at_return is not None
            and len(self.last) == self.window
            and float(np.mean(self.last)) >= self.stop_at_return
        ):
            halt.set(STOP)

    @reaction(learnt)
    def on_learnt(self, learnt: Any, progress: Any) -> None:
        """A round is over."""
        told = learnt.value
        ended, self.ended = self.ended, []
        evaluation, self.evaluation = self.evaluation, None
        if not self.writers:
            self.steps += self.steps_per_round
        mean = float(np.mean(self.last)) if self.last else float("nan")
        progress.set(
            Progress(
                told.round, self.steps, self.total_timesteps, ended, mean, evaluation, dict(told.metrics), told.weights
            )
        )


class Listener(Reactor):
    """Is told of every round of a training, and may end or change it: the base of callbacks.

        class Slower(Listener):
            factor: float = 0.9

            def hear(self, progress):
                if progress.mean_return > 400:
                    return {"learning_rate": 1e-4}

        Program(PPO(env="CartPole-v1", callbacks=(Slower,)))

    It is a reactor as any: it may have parameters, a `startup` reaction, `self.rng`, `self.log(…)`, and is saved and resumed with the run. Of what it keeps in
    attributes, plain data comes back.

    Parameters:
        every: environment steps between two calls of `hear`; 0: after each round.
    """

    progress = Input[Progress]()
    order = Output[Any]()

    every: int = 0

    @reaction(progress)
    def on_progress(self, progress: Any, order: Any) -> None:
        """Hear, and answer."""
        told = progress.value
        due = told.steps // self.every if self.every else told.round
        if due == self.__dict__.get("heard", 0):
            return
        self.heard = due
        answer = self.hear(told)
        if answer is not None:
            order.set(dict(answer) if isinstance(answer, Mapping) else answer)

    def hear(self, progress: Progress) -> Any:
        """To be overridden.

        Returns:
            None; `STOP`, and the training ends with these weights; or new values of the learner's parameters, such as {"ent_coef": 0.0}, which the next
            round is learnt with.
        """


class FunctionListener(Listener):
    """A listener made of a function, by `listener`.

    Parameters:
        function: called with the progress, or with this reactor and the progress.
    """

    function: Fixed[Callable[..., Any]]
    with_reactor: Fixed[bool] = False

    def hear(self, progress: Progress) -> Any:
        """Ask the function."""
        return self.function(self, progress) if self.with_reactor else self.function(progress)


@dataclass(frozen=True)
class Made:
    """What `listener` makes of a function: called without arguments, it makes the reactor; with some, it is the function still.

    Attributes:
        function: as it was written.
        every: see `Listener`.
    """

    function: Callable[..., Any]
    every: int = 0

    @property
    def __name__(self) -> str:
        """The function's, for messages."""
        return str(getattr(self.function, "__name__", "listener"))

    def __call__(self, *arguments: Any) -> Any:
        """A new reactor, for the program that takes it as a callback; or what the function says to these arguments."""
        if arguments:
            return self.function(*arguments)
        with_reactor = len(inspect.signature(self.function).parameters) > 1
        return FunctionListener(function=self.function, every=self.every, with_reactor=with_reactor)


def listener(function: Callable[..., Any] | None = None, *, every: int = 0) -> Any:
    """Decorator: makes a callback of a function.

        @listener(every=10_000)
        def report(progress):
            print(progress.steps, progress.mean_return)

        @listener
        def enough(self, progress):                 # with `self`, the reactor: self.log(…), self.rng, attributes
            self.log(entropy_now=progress.metrics["entropy"])
            return STOP if progress.mean_return > 450 else None

        Program(PPO(env="CartPole-v1", callbacks=(report, enough)))

    Args:
        function: takes a `Progress`, or the reactor and a `Progress`; answers as `Listener.hear`.
        every: environment steps between two calls; 0: after each round.
    """
    if function is None:
        return lambda one: listener(one, every=every)
    if not callable(function):
        raise TypeError(f"listener takes a function, not {function!r:.80}.")
    return Made(function, every)


def made_listener(callback: Any) -> Listener:
    """The reactor of an entry of `callbacks`.

    Raises:
        ConfigError: if it makes no `Listener`.
    """
    made: Any = None
    try:
        made = callback()
    except TypeError as error:
        why = f": {error}"
    else:
        why = f", but a {type(made).__name__}"
    if not isinstance(made, Listener):
        raise ConfigError(
            f"callbacks: {name_of(callback)} makes no Listener{why}. Write a class that derives from Listener, or put @listener in front of a function that takes the progress.",
            fields=("callbacks",),
        )
    return made
