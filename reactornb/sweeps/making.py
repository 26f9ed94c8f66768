"""`sweep`: a grid of parameters and seeds, as trials, and where they are performed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from reactornb import cpu
from reactornb.model import Reactor
from reactornb.options import RunOptions
from reactornb.runtime import Program
from reactornb.sweeps.errors import SweepOptionError
from reactornb.sweeps.running import Slot, Sweep
from reactornb.sweeps.scores import Score, score_of
from reactornb.sweeps.space import axes_of, configurations
from reactornb.sweeps.trial import Take, Trial

if TYPE_CHECKING:
    from reactornb.sweeps.store import Store

__all__ = ["divided", "programs_of", "seeds_of", "slots_of", "store_of", "sweep"]

_REFUSED = {
    "seed": "seeds=5 or seeds=[1, 2, 3] says which seeds there are",
    "trace": "a sweep does not hold its runs: run one trial alone, trial.make().run(seed=trial.seed, trace=True)",
    "profile": "a sweep does not hold its runs: run one trial alone, trial.make().start(seed=trial.seed, profile=True)",
    "fingerprint_log": "a sweep does not hold its runs: run one trial alone, trial.make().start(seed=trial.seed, fingerprint_log=True)",
    "record_outside": "a sweep does not hold its runs: run one trial alone, or keep them all, keep=…",
    "replay": "what came to one run from outside fits no other one",
    "clock": "each run has a clock of its own",
}


def sweep(
    program: type[Reactor] | Sequence[type[Reactor]],
    /,
    *,
    seeds: int | Iterable[int] = 1,
    samples: int | None = None,
    at_once: int | None = None,
    score: str | Score | None = None,
    maximize: bool = True,
    keep: str | None = None,
    retry: bool = False,
    take: Take | None = None,
    sample_seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    **given: Any,
) -> Sweep:
    """Run a program with all combinations of parameters and seeds, in the background, as many runs at once as there are cores.

        runs = sweep(PPO, env="CartPole-v1", learning_rate=[1e-3, 3e-4], seeds=5, total_timesteps=50_000)
        runs.wait()
        print(runs.summary)

    Each run is that of `Program(PPO, env="CartPole-v1", learning_rate=1e-3, …).run(seed=0)`, bit for bit.

    Args:
        program: a reactor class, or several of them.
        seeds: how many, 0, 1, 2, …; or which.
        samples: draw so many configurations at random instead of taking all; needed where an axis is a `between(low, high)`.
        at_once: how many runs at the same time; the cores divided by `workers` unless given. More trials than that wait their turn.
        score: how good a trial was: the name of a metric (the mean of its last 100 values), or a function of a run's metrics. Unless given, the
            mean return of its last evaluation, or else of its last 100 episodes.
        maximize: whether a greater score is better.
        keep: keep each run on disk, named after this and what it is made of. Started again, with the same name, a sweep runs only
            what is not there yet, and goes on with what was stopped.
        retry: of a kept sweep that is started again, try again what failed.
        take: a function of a run, called when it is over and before it is let go; `trial.taken` is what it returns: `take=best_policy`. Rows that were
            run before have none: their runs are gone.
        sample_seed: of what `samples` draws.
        parameters: more parameters, for those whose names mean something here.
        **given: parameters of the program: a list, a range or an array is swept, anything else (a tuple, too) is the same in all trials. And
            options of the runs: `workers` (1 unless given), `fingerprint`, `until`, `fast`, `checkpoint`, `placement`, `nice`, ….

    Returns:
        The sweep, which goes on in the background; in a notebook it shows its panel.

    Raises:
        SweepOptionError: for what no sweep can be.
        UnknownNameError: for a parameter that the program does not have.
    """
    classes = programs_of(program)
    options, own = divided(given, parameters)
    axes, fixed = axes_of(own)
    drawn = configurations(axes, samples, sample_seed)
    several = len(classes) > 1
    trials: list[Trial] = []
    known: set[str] = set()
    for seed in seeds_of(seeds):
        for cls in classes:
            for values in drawn:
                all_of_it = {name: values.get(name, fixed.get(name)) for name in own}
                swept = {**({"program": cls} if several else {}), **values}
                trial = Trial(len(trials) + 1, cls, all_of_it, swept, seed, options)
                if trial.key not in known:
                    known.add(trial.key)
                    trials.append(trial)
    for trial in trials:
        trial.cls(**trial.given)  # a wrong name, or a text for a number, is said here and now
    slots = slots_of(options, at_once, len(trials))
    return Sweep(
        trials, slots, score=score_of(score), maximize=maximize, store=store_of(keep, retry=retry), take=take
    ).begin()


def programs_of(program: Any) -> list[type[Reactor]]:
    """The classes that were asked for.

    Raises:
        SweepOptionError: for anything else.
    """
    listed = list(program) if isinstance(program, (list, tuple)) else [program]
    for cls in listed:
        if isinstance(cls, (Program, Reactor)):
            made = cls.root if isinstance(cls, Program) else cls
            name = type(made).__name__
            raise SweepOptionError(
                f"a sweep makes its programs itself, so it takes the class: sweep({name}, …), not {cls!r:.80}."
            )
        if not (isinstance(cls, type) and issubclass(cls, Reactor)):
            raise SweepOptionError(f"a sweep takes a reactor class, or a list of them, not {cls!r:.80}.")
    if not listed:
        raise SweepOptionError("a sweep takes at least one reactor class.")
    return listed


def divided(given: Mapping[str, Any], parameters: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was given by name: options of runs, and parameters.

    Raises:
        SweepOptionError: for an option that the runs of a sweep cannot have.
        RunOptionError: for a value that an option cannot have.
    """
    names = {field.name for field in fields(RunOptions)} - {"keep"}
    options = {name: value for name, value in given.items() if name in names}
    for name in options:
        if name in _REFUSED:
            raise SweepOptionError(f"{name}= is no option of a sweep: {_REFUSED[name]}.")
    options = {"workers": 1, **options}
    RunOptions(**options)
    own = {name: value for name, value in given.items() if name not in names}
    twice = sorted(set(own) & set(parameters or {}))
    if twice:
        raise SweepOptionError(f"{twice[0]} is given twice, by its name and in parameters=.")
    return options, {**own, **(parameters or {})}


def seeds_of(seeds: int | Iterable[int]) -> list[int]:
    """The seeds that were asked for, each once.

    Raises:
        SweepOptionError: if there is none, or one is no whole number.
    """
    if isinstance(seeds, (bool, str)):
        raise SweepOptionError(f"seeds is a number of seeds, or a list of them, not {seeds!r}.")
    listed = list(range(int(seeds))) if hasattr(type(seeds), "__index__") else list(seeds)  # type: ignore[arg-type]
    if not listed:
        raise SweepOptionError(f"seeds={seeds!r}: a sweep needs at least one seed.")
    for seed in listed:
        RunOptions(seed=seed)
    return list(dict.fromkeys(map(int, listed)))


def slots_of(options: Mapping[str, Any], at_once: int | None, trials: int) -> list[Slot]:
    """Where runs are performed: of each place the options that put a run on CPUs that no other place has.

    Args:
        options: of the runs, with `workers`.
        at_once: how many places; None: as many as cores allow.
        trials: how many there are: more places are of no use.

    Raises:
        SweepOptionError: for a number of places that is none.
        PlacementError: for CPUs that cannot be used.
    """
    workers = int(options["workers"] or cpu.default_workers())
    if at_once is None:
        at_once = max(cpu.default_workers() // workers, 1)
    elif isinstance(at_once, bool) or not hasattr(type(at_once), "__index__") or at_once < 1:
        raise SweepOptionError(f"at_once must be a whole number of at least 1, not {at_once!r}.")
    count = min(int(at_once), max(trials, 1))
    placed = cpu.place(count * workers, options.get("placement", "performance")).cpus
    slots: list[Slot] = []
    for place in range(count):
        own = placed[place * workers : (place + 1) * workers]
        # Runs that begin at one moment do not see each other's CPUs, so they are told apart here; see `cpu._pinning`.
        ids = [one.id for one in own if one is not None]
        slots.append({"workers": workers, "placement": ids if len(ids) == workers else "none"})
    return slots


def store_of(keep: Any, *, retry: bool) -> Store | None:
    """Where trials are kept.

    Raises:
        SweepOptionError: for a name that is none.
    """
    if keep is None or keep is False:
        return None
    if not isinstance(keep, str) or not keep:
        raise SweepOptionError(f"keep is the name under which a sweep's runs are kept, not {keep!r}.")
    from reactornb.sweeps.store import Store

    return Store(keep, retry=retry)
