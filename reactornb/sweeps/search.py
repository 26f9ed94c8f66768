"""`optimize`: Optuna chooses the configurations of a sweep, from what came of those before.

    found = optimize(PPO, env="CartPole-v1", learning_rate=between(1e-5, 1e-2, log=True), hidden=[(64, 64), (256,)], trials=50)
    found.wait()
    print(found.best.code)

Optuna is an extra (`pip install 'reactornb[sweeps]'`), imported when it is first needed. Studies are in memory, or, of a kept search, in a journal beside
the runs: no database, and none of the packages that one needs is imported.

# _study    every call of Optuna is made under _studying: its samplers have state, and nobody promises that it works without a GIL
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from reactornb.errors import MissingPackageError
from reactornb.model import Reactor
from reactornb.sweeps.errors import SweepOptionError
from reactornb.sweeps.making import divided, programs_of, seeds_of, slots_of, store_of
from reactornb.sweeps.progress import Steps
from reactornb.sweeps.running import Slot, Sweep
from reactornb.sweeps.scores import Score, score_of, up_to
from reactornb.sweeps.space import Between, axes_of, spelled
from reactornb.sweeps.trial import Take, Trial, worded

__all__ = ["Search", "optimize"]

_PRIME = 7919
_MARKS = 20  # of a trial, at each of which it may be pruned
Space = Callable[[Any], Mapping[str, Any]]


def optimize(
    program: type[Reactor],
    /,
    *,
    trials: int = 50,
    seeds: int | Iterable[int] = 1,
    at_once: int | None = None,
    score: str | Score | None = None,
    maximize: bool = True,
    prune: bool | Any = False,
    prune_every: int | None = None,
    sampler: Any = None,
    search_seed: int = 0,
    space: Space | None = None,
    keep: str | None = None,
    take: Take | None = None,
    parameters: Mapping[str, Any] | None = None,
    **given: Any,
) -> Search:
    """Search for the parameters with the best score, by Optuna, in the background, as many runs at once as there are cores.

    Each run is one that can be repeated alone, from its row, bit for bit. Which configurations are tried depends on what had ended when each was
    chosen, so it may differ from one search to the next, unless `at_once=1`.

    Args:
        program: a reactor class.
        trials: how many configurations are tried.
        seeds: with how many seeds each of them, or which; its score is the mean over them.
        at_once, score, maximize, take: as of `sweep`.
        prune: end trials early that are worse than others were after as many steps: True (worse than the median), or an Optuna pruner.
        prune_every: environment steps after which that is judged; a twentieth of the run unless given.
        sampler: an Optuna sampler; tree-structured Parzen estimators unless given.
        search_seed: of the sampler that is made here.
        space: a function of Optuna's trial that returns parameters, for spaces where one depends on another; besides those given by name.
        keep: keep each run, and the study beside them. Started again with the same name it goes on.
        parameters: more parameters, for those whose names mean something here.
        **given: parameters of the program: a list is a choice, a `between(low, high)` a range, anything else is the same in all trials. And options of the
            runs, as for `sweep`.

    Returns:
        A sweep, whose trials are added as they are chosen.

    Raises:
        MissingPackageError: without Optuna.
        SweepOptionError: for what no search can be.
    """
    classes = programs_of(program)
    if len(classes) > 1:
        raise SweepOptionError("a search takes one reactor class; sweep([A, B], …) compares several.")
    cls = classes[0]
    options, own = divided(given, parameters)
    axes, fixed = axes_of(own)
    if not axes and space is None:
        raise SweepOptionError(
            "there is nothing to search for: give a parameter a list of values, or a range, between(low, high)."
        )
    if isinstance(trials, bool) or not hasattr(type(trials), "__index__") or trials < 1:
        raise SweepOptionError(f"trials must be a whole number of at least 1, not {trials!r}.")
    listed = seeds_of(seeds)
    cls(**fixed, **{name: axis[0] if isinstance(axis, list) else axis.low for name, axis in axes.items()})
    store = store_of(keep, retry=False)
    optuna = _optuna()
    study = _study(
        optuna,
        None if store is None else store.root / f"{store.name}.optuna",
        sampler,
        _pruner(optuna, prune),
        "maximize" if maximize else "minimize",
    )
    if sampler is None:
        # A sampler's generator is not kept: with the seed of before it would draw what it drew before.
        drawn = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=search_seed + _PRIME * drawn, constant_liar=True)
    made = Search(
        slots_of(options, at_once, int(trials)),
        study=study,
        cls=cls,
        axes=axes,
        fixed=fixed,
        space=space,
        seeds=listed,
        count=int(trials),
        prune_every=prune_every if prune else 0,
        options=options,
        score=score_of(score),
        maximize=maximize,
        store=store,
        take=take,
    )
    made.begin()
    return made


def _optuna() -> Any:
    try:
        optuna = import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "optimize needs Optuna: pip install 'reactornb[sweeps]'. sweep(…, samples=20) needs nothing."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else a line on stderr for each trial
    return optuna


def _pruner(optuna: Any, prune: Any) -> Any:
    if prune is True:
        return optuna.pruners.MedianPruner()
    return optuna.pruners.NopPruner() if prune is False or prune is None else prune


def _study(optuna: Any, path: Path | None, sampler: Any, pruner: Any, direction: str) -> Any:
    storage = None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = import_module("optuna.storages.journal")
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
    return optuna.create_study(
        storage=storage, study_name="search", sampler=sampler, pruner=pruner, direction=direction, load_if_exists=True
    )


class Search(Sweep):
    """A sweep whose configurations Optuna chooses; see `optimize`.

    Attributes:
        study: Optuna's, for its own tables and pictures. While the search goes on, only look.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        study: Any,
        cls: type[Reactor],
        axes: Mapping[str, list[Any] | Between],
        fixed: Mapping[str, Any],
        space: Space | None,
        seeds: Sequence[int],
        count: int,
        prune_every: int | None,
        options: Mapping[str, Any],
        **of_sweep: Any,
    ) -> None:
        super().__init__([], slots, **of_sweep)
        self.study = study
        self._cls, self._axes, self._fixed, self._space = cls, axes, fixed, space
        self._seeds, self._count, self._prune_every, self._options = list(seeds), count, prune_every, options
        self._studying = threading.Lock()
        self._chosen = 0  # configurations, under _studying
        self._known: list[Any] = list(study.get_trials(deepcopy=False))  # of an earlier process, under _studying
        self._watched: dict[int, _Watched] = {}  # by number of the trial; each entry is its slot's

    @property
    def total(self) -> int:
        """How many trials there will be, if none is pruned from now on."""
        left = 0 if not self.is_alive else max(self._count - self._chosen, 0)
        return len(self._all) + left * len(self._seeds)

    # -- choosing -----------------------------------------------------------------------------------------------------

    def _take(self) -> Iterator[Trial] | None:
        """See `Sweep`; what an earlier process tried comes first."""
        with self._studying:
            if self._stopping.is_set() or (self._chosen >= self._count and not self._known):
                return None
            self._chosen += 1
            before = self._known.pop(0) if self._known else None
            chosen, values = self._ask(before)
        return self._seeded(chosen, values, None if before is None else before.state.name)

    def _ask(self, before: Any) -> tuple[Any, dict[str, Any]]:
        """A configuration, as Optuna's trial and as parameters; of one that an earlier process chose, the same."""
        optuna = import_module("optuna")
        chosen = self.study.ask() if before is None else optuna.trial.Trial(self.study, before._trial_id)
        if before is not None and before.state.is_finished():
            chosen = optuna.trial.FixedTrial(before.params)  # nothing can be asked of it any more
        values: dict[str, Any] = {}
        for name, axis in self._axes.items():
            values[name] = _suggested(chosen, name, axis)
        if self._space is not None:
            values.update(self._space(chosen))
        return chosen, values

    def _seeded(self, chosen: Any, values: Mapping[str, Any], before: str | None) -> Iterator[Trial]:
        """The trials of a configuration, one for each seed; each is asked for when the one before it is over. Then Optuna is told."""
        own: list[Trial] = []
        history = before if before in ("COMPLETE", "PRUNED", "FAIL") else None
        for place, seed in enumerate(self._seeds):
            with self._lock:
                trial = Trial(len(self._all) + 1, self._cls, {**self._fixed, **values}, values, seed, self._options)
                self._all.append(trial)
            own.append(trial)
            if history is not None:
                self._remember(trial, history)
                if trial.state != "finished":
                    return
                continue
            self._watched[trial.number] = _Watched(chosen, place)
            yield trial
            self._watched.pop(trial.number, None)
            if trial.state != "finished":
                break
        if history is None:
            self._tell(chosen, own)

    def _remember(self, trial: Trial, history: str) -> None:
        """A row of a trial that an earlier process told Optuna of; it is not run again."""
        stored = None if self._store is None else self._store.found(trial)
        if stored is None:
            trial.failed(LookupError("its run is gone"))
        else:
            ended = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}[history]
            trial.settle(stored, self._score, "finished" if stored.state == "finished" else ended)

    def _tell(self, chosen: Any, own: Sequence[Trial]) -> None:
        states = import_module("optuna").trial.TrialState
        last = own[-1].state
        if last in ("waiting", "running", "stopped") or (self._stopping.is_set() and last != "finished"):
            return  # it goes on when the search does
        scores = [trial.score for trial in own if trial.score is not None]
        with self._studying:
            if last == "pruned":
                self.study.tell(chosen, state=states.PRUNED)
            elif last == "failed" or len(scores) < len(own):
                self.study.tell(chosen, state=states.FAIL)
            else:
                self.study.tell(chosen, sum(scores) / len(scores))

    # -- pruning ------------------------------------------------------------------------------------------------------

    def _is_hopeless(self, trial: Trial) -> bool:
        """See `Sweep`: asks the pruner each time that the run has passed a mark."""
        watched = self._watched.get(trial.number)
        run = trial.run
        if watched is None or run is None or self._prune_every == 0:
            return False
        every = self._prune_every or trial.total // _MARKS
        if every < 1:
            self._warn(
                "nothing is pruned: the program does not say how many environment steps it takes; prune_every=N judges it each N of them."
            )
            return False
        if watched.steps is None or watched.steps.run is not run:
            watched.steps = Steps(run)
        # A mark is judged when the run is past it: what was logged up to there is complete, so its value does not depend on when one looks.
        while (watched.mark + 1) * every < watched.steps.look():
            watched.mark += 1
            score = self._score(up_to(run.metrics, watched.mark * every))
            if score is None:
                continue
            with self._studying:
                watched.chosen.report(score, watched.mark + watched.place * 10 * _MARKS)
                if watched.chosen.should_prune():
                    return True
        return False


class _Watched:
    """What a slot knows of the trial that it performs.

    Attributes:
        chosen: Optuna's trial.
        place: of its seed.
        mark: how many marks it has passed.
        steps: counts the steps of its run.
    """

    def __init__(self, chosen: Any, place: int) -> None:
        self.chosen, self.place = chosen, place
        self.mark = 0
        self.steps: Steps | None = None


def _suggested(chosen: Any, name: str, axis: list[Any] | Between) -> Any:
    """A value of an axis, as Optuna chooses it."""
    if isinstance(axis, Between):
        if axis.whole:
            step = 1 if axis.step is None else int(axis.step)
            return chosen.suggest_int(name, int(axis.low), int(axis.high), step=step, log=axis.log)
        return chosen.suggest_float(name, axis.low, axis.high, step=axis.step, log=axis.log)
    if all(value is None or isinstance(value, (bool, int, float, str)) for value in axis):
        return chosen.suggest_categorical(name, axis)
    # What no file of Optuna's can hold stands there in words.
    by_words = {worded(value): value for value in axis}
    if len(by_words) < len(axis):
        by_words = {spelled(value): value for value in axis}
    return by_words[chosen.suggest_categorical(name, list(by_words))]
