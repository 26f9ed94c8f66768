"""What can be wrong with an environment, a policy or an update, each with the facts as attributes.

Raised inside a reaction they stop the run, which adds the reaction's name and the tag (`ReactionError`) and keeps the
metrics logged so far.
"""

from __future__ import annotations

from typing import Any

from reactornb.errors import ReactorError

__all__ = [
    "ConfigError",
    "ContractError",
    "DamagedPolicyError",
    "DivergenceError",
    "EnvironmentCrashError",
    "EnvironmentHangError",
    "EnvironmentStateError",
    "ObservationError",
    "PolicyNotSavableError",
    "ReproducibilityWarning",
    "SpaceError",
    "UnknownEnvironmentError",
    "VideoError",
]


class ConfigError(ReactorError, ValueError):
    """A hyper-parameter has a value that no run can use.

    Attributes:
        fields: the names of all that are wrong, in the order of their declaration.
    """

    def __init__(self, message: str, *, fields: tuple[str, ...]) -> None:
        super().__init__(message)
        self.fields = fields


class UnknownEnvironmentError(ReactorError, ValueError):
    """There is no environment of that name, or it cannot be made here.

    Attributes:
        env: what was asked for.
    """

    def __init__(self, message: str, *, env: Any) -> None:
        super().__init__(message)
        self.env = env


class SpaceError(ReactorError, TypeError):
    """An algorithm cannot work with an environment's observations or actions.

    Attributes:
        space: the space.
    """

    def __init__(self, message: str, *, space: Any) -> None:
        super().__init__(message)
        self.space = space


class ContractError(ReactorError, ValueError):
    """An environment does not keep to Gymnasium's (or PettingZoo's) interface: a return value is not what its callers rely on.

    Attributes:
        env: index of the environment within its rollout or vector environment; -1 where all are meant.
        call: what was called: "make", "reset" or "step".
    """

    def __init__(self, message: str, *, env: int = -1, call: str = "") -> None:
        super().__init__(message)
        self.env = env
        self.call = call


class ObservationError(ContractError):
    """An environment returned an observation that its space does not hold: another type, shape or dtype, or values out of bounds.

    Attributes:
        env: index of the environment within its rollout.
        step: steps that the rollout's environments had taken; in their first call 0 for reset and 1 for step.
        shape: what came.
        expected: what the space says.
    """

    def __init__(self, message: str, *, env: int, step: int, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        super().__init__(message, env=env, call="step" if step else "reset")
        self.step = step
        self.shape = shape
        self.expected = expected


class SharedEnvironmentError(ContractError):
    """One environment object stands in several places, each of which steps it.

    Attributes:
        places: which: entries of a list such as "env_fns[1]", or full names of reactors.
    """

    def __init__(self, message: str, *, places: tuple[str, ...]) -> None:
        super().__init__(message, call="make")
        self.places = places


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


class EnvironmentStateError(ReactorError, ValueError):
    """The state of an environment cannot be saved, or what was saved does not lead back to it.

    Attributes:
        env: the environment, in words.
    """

    def __init__(self, message: str, *, env: str) -> None:
        super().__init__(message)
        self.env = env


class EnvironmentCrashError(ReactorError, RuntimeError):
    """The process of an isolated environment is gone.

    Attributes:
        signal: the number of the signal that it died of; None: it ended by itself, or was ended before.
    """

    def __init__(self, message: str, *, signal: int | None) -> None:
        super().__init__(message)
        self.signal = signal


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


class DamagedPolicyError(ReactorError, ValueError):
    """A file is no saved policy, or its bytes are not those that were written.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is no policy that can be loaded: {reason}. Take another copy of it, or save it again: save_policy(run, path)."
        )
        self.path = path
        self.reason = reason


class PolicyNotSavableError(ReactorError, TypeError):
    """There is no policy to save, or it is made of something that a file cannot describe.

    Attributes:
        program: the program's name; "" where none was given.
        reactor: full name of the reactor that has the policy; "" where no reactor has one.
    """

    def __init__(self, message: str, *, program: str = "", reactor: str = "") -> None:
        super().__init__(message)
        self.program = program
        self.reactor = reactor


class VideoError(ReactorError, RuntimeError):
    """A moving picture cannot be written: there is no such format, no frame, or the encoder failed."""


class ReproducibilityWarning(UserWarning):
    """An environment cannot be repeated: it draws from generators that threads share, or ignores the seed of its reset."""
