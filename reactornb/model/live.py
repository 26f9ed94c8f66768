"""What `self` offers in a reaction while the program runs: random numbers, time, deadlines, metrics, and how to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reactornb.model.context import Context
from reactornb.model.durations import duration_ns
from reactornb.model.spec import ReactorBase
from reactornb.tags import DurationLike

if TYPE_CHECKING:
    import numpy

__all__ = ["LiveReactor"]


class LiveReactor(ReactorBase):
    """The part of `Reactor` for running instances.

    When a run begins, the runtime sets on each instance `_context` (the scheduler that runs it), `_name`, `_log` and `_run_seed`.
    """

    _rng: numpy.random.Generator | None = None
    _deadline: Any = (
        None  # the deadline of the reaction that runs, or None; written by the runtime before it calls the reaction
    )

    if TYPE_CHECKING:
        _name: str
        _context: Context
        _log: Any
        _run_seed: int

    @property
    def seed(self) -> int:
        """An int below 2**63 derived from the run's seed and the reactor's full name (BLAKE2b)."""
        return _derived(self._run_seed, self._name)

    @property
    def bank_seed(self) -> int:
        """The same, but one for all members of its bank: of the full name without the last index. Outside banks that is `seed`."""
        name = self._name
        return _derived(self._run_seed, name[: name.rindex("[")] if name.endswith("]") else name)

    @property
    def rng(self) -> numpy.random.Generator:
        """This reactor's own random generator (NumPy's PCG64), made on first use."""
        generator = self._rng
        if generator is None:
            import numpy

            generator = numpy.random.default_rng(self.seed)
            object.__setattr__(self, "_rng", generator)
        return generator

    @property
    def full_name(self) -> str:
        """The path from the top, such as `main.rollouts[3]`."""
        return self._name

    @property
    def tag(self) -> Any:
        """The current `Tag`."""
        return self._context.current_tag()

    @property
    def time_ns(self) -> int:
        """Logical time since the start of the run, in ns."""
        return self._context.current_tag().time_ns

    @property
    def physical_time_ns(self) -> int:
        """Physical time since the start of the run, in ns."""
        return self._context.physical_elapsed_ns(self)

    @property
    def lag_ns(self) -> int:
        """How far physical time is ahead of logical time, in ns."""
        return self.physical_time_ns - self.time_ns

    @property
    def start_time_ns(self) -> int:
        """Physical time at which the run began, in ns since the epoch."""
        return self._context.start_time_ns

    def check_deadline(self, invoke_handler: bool = True) -> bool:
        """True if the deadline of the reaction that runs has passed by now; false if it has none.

        Args:
            invoke_handler: also call the deadline's handler in that case, if it has one.
        """
        limit = self._deadline
        if limit is None or not limit.is_missed():
            return False
        if invoke_handler and limit.late is not None:
            limit.late()
        return True

    def update_deadline(self, deadline: DurationLike) -> None:
        """Give the reaction that runs another deadline, such as ms(10), from now on; nothing happens if it has none.

        Raises:
            SendingError: for a bare number.
        """
        limit = self._deadline
        if limit is not None:
            limit.limit_ns = duration_ns(deadline, f"{self.full_name}: update_deadline", bare=self._translated)

    def request_stop(self) -> None:
        """End the run at the next microstep, with its shutdown reactions."""
        self._context.request_stop()

    def log(self, **metrics: float) -> None:
        """Record metrics at the current tag; a run's `metrics` merges them by tag, whatever thread wrote them.

        Raises:
            TypeError: for a metric that is no number.
        """
        if metrics:
            self._log.add(self._context.current_tag(), metrics)


def _derived(run_seed: int, name: str) -> int:
    from hashlib import blake2b

    digest = blake2b(f"{run_seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
