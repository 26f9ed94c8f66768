"""`Trial`: one run of a sweep, before, while and after it runs; a row of the sweep's table.

# _state        written by the thread that performs the trial, last of all, so who sees "finished" finds the rest written; read by any thread
# run           set by that thread when the run has begun, and None again when what is to be known of it is here: a run keeps its networks and its
#               replay buffer alive, and a sweep has many
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reactornb.errors import ReactionError, ReactorError
from reactornb.model import Reactor
from reactornb.runtime import Program, Run
from reactornb.runtime.metrics import Metric, Metrics
from reactornb.runtime.result import Plotted
from reactornb.sweeps.scores import Score
from reactornb.sweeps.space import spelled

if TYPE_CHECKING:
    from reactornb.durable.stored import StoredRun

__all__ = ["OVER", "Take", "Trial", "worded"]

OVER = ("finished", "failed", "stopped", "pruned")
"""The states of a trial that is over; before, it is "waiting", then "running"."""
Take = Callable[[Run], Any]
_FRAMES = 8  # of a traceback
_OUR_THREAD = re.compile(
    r"^\S*threading(\.py)?, line \d+: "
)  # where an error says that the program was made: by a slot


class Trial(Plotted):
    """One run of a sweep.

    Attributes:
        number: its place in the sweep, from 1.
        cls: the class of its outermost reactor.
        given: all parameters that it is made with.
        swept: those of them that the sweep goes through, and the program's class where that differs, as "program".
        seed: of the run.
        options: of the run, by name.
        run: the run while it is alive, else None.
        kept: the name under which it is kept; "" if it is not.
        total: environment steps of the whole run, where its configuration says so; 0 elsewhere.
        score: how good it was; None if that is not known, or not yet.
        seconds: physical duration.
        was_there: whether it had been run before the sweep was started, and its result was kept.
        fingerprint: if it was asked for.
        failure: what ended it, in words; "" if nothing did. `traceback` has the last lines of code that led there.
        taken: what the sweep's `take` made of the run when it was over; None without one.
        note: what its user should know of the row.
    """

    def __init__(
        self,
        number: int,
        cls: type[Reactor],
        given: Mapping[str, Any],
        swept: Mapping[str, Any],
        seed: int,
        options: Mapping[str, Any],
    ) -> None:
        self.number = number
        self.cls = cls
        self.given = dict(given)
        self.swept = dict(swept)
        self.seed = seed
        self.options = dict(options)
        self.run: Run | None = None
        self.kept = ""
        self.total = 0
        self.score: float | None = None
        self.seconds = 0.0
        self.was_there = False
        self.fingerprint: str | None = None
        self.failure = self.traceback = self.note = ""
        self.taken: Any = None
        self._metrics: Metrics | Callable[[], Mapping[str, Metric]] = Metrics()
        self._state = "waiting"

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of "waiting", "running", "finished", "failed", "stopped" and "pruned"."""
        return self._state

    @property
    def is_alive(self) -> bool:
        """Whether it is running."""
        return self._state == "running"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change."""
        return self._state in OVER

    @property
    def id(self) -> str:
        """What its curve is called."""
        return self.kept or f"trial {self.number}"

    @property
    def program(self) -> str:
        """The name of its program's class."""
        return self.cls.__name__

    @property
    def parameters(self) -> dict[str, Any]:
        """What tells it from the other trials, besides the seed."""
        return {name: value for name, value in self.swept.items() if name != "program"}

    @property
    def group(self) -> str:
        """The same in words, such as "learning_rate=0.001"; trials of one configuration have the same."""
        return ", ".join(
            worded(value) if name == "program" else f"{name}={worded(value)}" for name, value in self.swept.items()
        )

    @property
    def key(self) -> str:
        """Text that is the same in another process for a trial that gives the same values: program, parameters, seed, what decides the end."""
        decisive = {name: value for name, value in self.options.items() if name in ("until", "fast", "keepalive")}
        return f"{self.cls.__qualname__} {spelled(dict(sorted(self.given.items())))} {self.seed} {spelled(decisive)}"

    def make(self) -> Program:
        """A program like its own, to be run alone: with `seed=trial.seed` it sends the same values.

        Raises:
            ReactorError: if it cannot be assembled.
        """
        return Program(self.cls, **self.given)

    @property
    def code(self) -> str:
        """How to run it alone, as a line of Python."""
        given = "".join(f", {name}={worded(value, quoted=True)}" for name, value in self.given.items())
        options = "".join(f", {name}={value!r}" for name, value in self.options.items() if name in _TOLD)
        return f"Program({self.cls.__name__}{given}).run(seed={self.seed}{options})"

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What it logged, as `Run.metrics`."""
        run = self.run
        if run is not None:
            return run.metrics
        known = self._metrics
        if callable(known):  # of a stored run: read when asked for
            known = self._metrics = Metrics(known())
        return known

    @property
    def changes(self) -> list[Any]:
        """Changes of parameters while it ran, as `Run.changes`; nobody makes any."""
        run = self.run
        return [] if run is None else run.changes

    def __repr__(self) -> str:
        group = f", {self.group}" if self.group else ""
        score = "" if self.score is None else f", score {self.score:.6g}"
        failure = f": {self.failure}" if self.failure else ""
        return f"<trial {self.number} of {self.program}{group}, seed {self.seed}: {self.state}{score}, {self.seconds:.1f} s{failure}>"

    # -- written by who performs it -----------------------------------------------------------------------------------

    def begins(self) -> None:
        """It is being assembled, and then runs."""
        self._state = "running"

    def has_begun(self, run: Run) -> None:
        """Its run is there."""
        root = run.program.root
        total = getattr(getattr(root, "settings", None), "total_timesteps", 0)
        self.total = total if isinstance(total, int) else 0
        self.run = run

    def ended(self, run: Run, score: Score, state: str | None = None, take: Take | None = None) -> None:
        """Its run is over, and need not be held any longer.

        Args:
            run: the run.
            score: what it is measured by.
            state: "pruned", if it was ended for that reason; None: that of the run.
            take: what is made of the run before it is let go.
        """
        self._metrics = Metrics(run.metrics)
        self.seconds, self.fingerprint = run.seconds, run.fingerprint
        failure = run.failure
        if failure is not None:
            self._tell(failure)
        elif take is not None:
            try:
                self.taken = take(run)
            except Exception as error:  # noqa: BLE001 - the user's function; the row is there nevertheless
                self.note = f"take raised {type(error).__name__}: {error}"
        self._close(score, state or {"abandoned": "failed"}.get(run.state, run.state))

    def settle(self, stored: StoredRun, score: Score, state: str) -> None:
        """It was run before, and kept."""
        self.kept, self.was_there = stored.id, True
        self.seconds, self.fingerprint = stored.seconds, stored.fingerprint
        self.failure = stored.failure or ""
        self._metrics = lambda: stored.metrics
        self._close(score, state)

    def failed(self, error: BaseException) -> None:
        """It could not be run."""
        self._tell(error)
        self._close(None, "failed")

    def waits(self) -> None:
        """It was not begun after all."""
        self._state = "waiting"

    def _tell(self, error: BaseException) -> None:
        said = str(error) if isinstance(error, ReactorError) else f"{type(error).__name__}: {error}"
        self.failure = _OUR_THREAD.sub("", said)
        cause = error.__cause__ if isinstance(error, ReactionError) and error.__cause__ is not None else error
        self.traceback = "".join(traceback.format_tb(cause.__traceback__)[-_FRAMES:])

    def _close(self, score: Score | None, state: str) -> None:
        self.run = None
        if score is not None:
            try:
                self.score = score(self.metrics)
            except Exception as error:  # noqa: BLE001 - the user's function; the run is there nevertheless
                self.note = f"its score could not be computed: {type(error).__name__}: {error}"
        self._state = state


_TOLD = ("until", "fast", "keepalive", "fingerprint")
_LONGEST = 60  # characters of a value


def worded(value: Any, *, quoted: bool = False) -> str:
    """A parameter's value as a table shows it, or with `quoted` as one would write it, where it can be written."""
    if isinstance(value, float):
        return repr(value) if quoted else f"{value:.4g}"
    if isinstance(value, str):
        return repr(value) if quoted else value
    name = getattr(value, "__qualname__", None)
    shown = name if isinstance(name, str) else repr(value)
    if " at 0x" in shown:
        shown = type(value).__name__
    return shown if quoted or len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
