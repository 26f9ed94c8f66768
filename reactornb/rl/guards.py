"""Environments that cannot be repeated are found and named: those that draw from a generator of the whole process, and those whose `reset` ignores its seed.

Both are warned of, not refused: such an environment trains as well as another, only its runs cannot be repeated, and Gymnasium's own checker warns, too. What is
found in a run is among `run.warnings`, in its panel and in the log; what is found while a program is assembled is a `ReproducibilityWarning`
of Python's, and among the warnings of its runs.

**Draws.** `random`, `np.random` and torch's global generator are one for all threads: what an environment draws there depends on who else draws (processes
would each have their own, which is why this goes unnoticed elsewhere: github.com/thu-ml/tianshou/issues/604). In its first episode the states of the
three are compared before and after each call. If one has changed, another thread may have drawn; so that nobody is accused falsely, a process of its own
makes the environment anew, asks it the same, and looks again: nothing else runs there. Only what has drawn there is named, with the line. After the first
episode nothing is compared any more.

**Seeds.** The environment that is made to look at its spaces is reset twice with one seed, where it is not one of Gymnasium's or ALE's own.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

from reactornb.errors import Source
from reactornb.rl.checks import name_of
from reactornb.rl.errors import ReproducibilityWarning
from reactornb.rl.storage import own
from reactornb.rl.watchdog import Watch
from reactornb.runtime.generators import GENERATORS, states
from reactornb.runtime.reaction_finder import finder_of
from reactornb.runtime.workers import current_scheduler

__all__ = ["FirstEpisode", "Looked", "check_seed", "tell_seed"]

_LONGEST = 1000
"""Calls of a first episode that are compared; a longer one is not looked at to its end."""

_PACKAGE = str(Path(__file__).parents[1])
_TIMES = 3
"""So often a kind of environment is asked in a process of its own, if nothing is found."""
_INSTEAD = "self.np_random, the environment's own generator, which super().reset(seed=seed) seeds"
_ISOLATE = "Or play it in a process of its own, whose generators each reset seeds: isolate=True."


# -- draws ------------------------------------------------------------------------------------------------------------------


class FirstEpisode:
    """The calls of one environment's first episode.

    # Belongs to the thread that steps the environment.

    Args:
        source: what made it: an id or a function.
        name: its, in words.
        watch: of the rollout, which is not to take a look for a call that hangs.

    Attributes:
        is_over: nothing is to be compared any more.
    """

    def __init__(self, source: Any, name: str, watch: Watch) -> None:
        self._source, self._name, self._watch = source, name, watch
        self._seed: Any = None
        self._actions: list[Any] = []
        self._before: Any = None
        self.is_over = False

    def begins(self, seed: Any) -> None:
        """Its first reset comes now."""
        self._seed = seed
        self._before = states()

    def steps(self, action: Any) -> None:
        """A step comes now."""
        self._actions.append(own(action))
        self._before = states()

    def came(self, *, ended: bool) -> None:
        """The call has returned."""
        drawn = [
            name for name, a, b in zip(GENERATORS, self._before, states(), strict=True) if a != b and a is not None
        ]
        if drawn:
            self._watch.since = math.inf
            self.is_over = _confirm(self._source, self._name, self._seed, self._actions, drawn)
            self._watch.beat(self._watch.env)
        if ended or len(self._actions) >= _LONGEST:
            self.is_over = True
        if self.is_over:
            self._actions = []


class Looked:
    """An environment in its first episode, as `Singles` calls it."""

    def __init__(self, env: Any, look: FirstEpisode) -> None:
        self._env, self._look = env, look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, action: Any) -> Any:
        """See `gymnasium.Env`."""
        self._look.steps(action)
        returned = self._env.step(action)
        over = isinstance(returned, tuple) and len(returned) == 5 and bool(returned[2] or returned[3])
        self._look.came(ended=over)
        return returned


class _Known[T]:
    """What is known of sources: of ids for ever, of functions while they are there; of what is neither hashable nor to be referred to weakly, nothing.

    # Read and written under _lock, by any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, T] = {}
        self._functions: weakref.WeakKeyDictionary[Any, T] = weakref.WeakKeyDictionary()

    def get(self, source: Any) -> T | None:
        with self._lock, contextlib.suppress(TypeError):
            return self._ids.get(source) if isinstance(source, str) else self._functions.get(source)
        return None

    def put(self, source: Any, found: T) -> None:
        with self._lock, contextlib.suppress(TypeError):
            if isinstance(source, str):
                self._ids[source] = found
            else:
                self._functions[source] = found


_draws: _Known[tuple[int, dict[str, Any]]] = _Known()  # how often it was asked, and what was found
_one = threading.Lock()  # of several environments of one kind one asks, and the others wait for what it finds


def _confirm(source: Any, name: str, seed: Any, actions: list[Any], drawn: list[str]) -> bool:
    """Let an environment of the same source do the same where nothing else runs; warn if it is what draws.

    Returns:
        Whether there is nothing more to be found out.
    """
    with _one:
        times, found = _draws.get(source) or (0, {})
        if not found and times < _TIMES:
            found = _look(source, seed, actions)
            _draws.put(source, (times + 1, found))
    for generator in drawn:
        if generator in found:
            _warn_of_draw(name, generator, found[generator])
    return bool(found) or times + 1 >= _TIMES


def _look(source: Any, seed: Any, actions: list[Any]) -> dict[str, Any]:
    """By generator, where the environment draws from it: a file and a line, or None where that is not known; empty if it cannot be found out."""
    from reactornb.rl.isolation import isolated

    try:
        env = isolated(source)()
        try:
            found: dict[str, Any] = env.draws(seed, actions)
        finally:
            env.close()
    except Exception:  # noqa: BLE001 - it cannot be sent, or fails there: without proof nobody is accused, and the search for reactions goes on
        return {}
    return found


def _warn_of_draw(name: str, generator: str, place: tuple[str, int] | None) -> None:
    at = f" ({Source(*place)})" if place is not None else ""
    words = (
        f"{name} draws from {generator}{at}, which all threads of this process share: in which order environments and reactions come to it is not "
        f"fixed, so two runs of one seed differ. Draw from {_INSTEAD}. {_ISOLATE}"
    )
    scheduler: Any = current_scheduler()
    if scheduler is None:
        _warn(words)
        return
    reaction = finder_of(scheduler).find(sys._getframe(1)).reaction
    if reaction is not None and scheduler.early is not None:
        scheduler.early.explained(generator, reaction)
    scheduler.notices.add(("env draws", name, generator), words)


def _warn(words: str) -> None:
    """Warn at the nearest line that is not of this package."""
    warnings.warn(words, ReproducibilityWarning, skip_file_prefixes=(_PACKAGE,))


# -- seeds ------------------------------------------------------------------------------------------------------------------

_TRUSTED = ("gymnasium.", "ale_py", "reactornb.")
_SLOW_S, _HANGS_S = 1.0, 20.0

_ignored: _Known[str] = _Known()


def check_seed(env: Any, source: Any) -> None:
    """Reset a new environment twice with one seed, and warn if that gives two observations. Once for each source; an environment that raises says so in the
    run, where it is named.

    Args:
        env: a `gymnasium.Env` or a vector environment that nobody uses yet.
        source: what made it.
    """
    from reactornb.rl.recorded import same

    inner = getattr(env, "unwrapped", env)
    if type(inner).__module__.startswith(_TRUSTED) or _ignored.get(source) is not None:
        return
    words = ""
    try:
        with Watch("the first look at it", name_of(source), _HANGS_S):
            began = time.monotonic()
            first = own(env.reset(seed=20)[0])
            if time.monotonic() - began < _SLOW_S:  # else it would be felt
                second = env.reset(seed=20)[0]
                if not same(first, second):
                    words = (
                        f"{name_of(source)}: two resets with the same seed give different observations, so its episodes cannot be repeated. Call "
                        f"super().reset(seed=seed) in its reset, and draw from {_INSTEAD.partition(',')[0]}."
                    )
    except Exception:  # noqa: BLE001 - see above
        return
    _ignored.put(source, words)
    if words:
        _warn(words)


def tell_seed(source: Any) -> None:
    """Tell the run for which this thread works what was found of a source by `check_seed`."""
    words, scheduler = _ignored.get(source), current_scheduler()
    if words and scheduler is not None:
        scheduler.notices.add(("env seed", words), words)
