"""What can be wrong with an environment, a policy or an update, each with the facts as attributes.

Raised inside a reaction they stop the run, which adds the reaction's name and the tag (`ReactionError`) and keeps the
metrics logged so far.
"""

from __future__ import annotations

from typing import Any

from reactornb.errors import ReactorError

__all__ = ["DivergenceError", "EnvironmentHangError", "ObservationError", "SpaceError", "UnknownEnvironmentError"]


class UnknownEnvironmentError(ReactorError, ValueError):
    """There is no environment of that name, or it cannot be made here.

    Attributes:
        env_id: what was asked for.
    """

    def __init__(self, message: str, *, env_id: Any) -> None:
        super().__init__(message)
        self.env_id = env_id


class SpaceError(ReactorError, TypeError):
    """An algorithm cannot work with an environment's observations or actions.

    Attributes:
        space: the space.
    """

    def __init__(self, message: str, *, space: Any) -> None:
        super().__init__(message)
        self.space = space


class ObservationError(ReactorError, ValueError):
    """An environment returned an observation of another shape than its space says.

    Attributes:
        env: index of the environment within its rollout.
        step: steps that the rollout's environments had taken.
        shape: what came.
        expected: what the space says.
    """

    def __init__(self, message: str, *, env: int, step: int, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        super().__init__(message)
        self.env = env
        self.step = step
        self.shape = shape
        self.expected = expected


class EnvironmentHangError(ReactorError, TimeoutError):
    """An environment did not return in time.

    Attributes:
        reactor: full name of the reactor that waits for it.
        env: index of the environment within its rollout; None where all are stepped by one call.
        seconds: how long it had.
    """

    def __init__(self, message: str, *, reactor: str, env: int | None, seconds: float) -> None:
        super().__init__(message)
        self.reactor = reactor
        self.env = env
        self.seconds = seconds


class DivergenceError(ReactorError, ArithmeticError):
    """A loss or a gradient is not a finite number.

    Attributes:
        update: number of the update, from 1.
        loss: its loss.
    """

    def __init__(self, message: str, *, update: int, loss: float) -> None:
        super().__init__(message)
        self.update = update
        self.loss = loss
