"""`RunOptions`: what a run can be asked for, defined once for `Program.start`, `%reactor start`, `reactornb run` and the panel's button.

A field says in its metadata how it is given as text, so that the two command lines are made of it (`add_arguments`).
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, dataclass, field, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from reactornb.errors import PlacementError, RunOptionError, suggestion
from reactornb.limits import MOST_WORKERS
from reactornb.tags import DurationLike, as_duration, no_duration, parse_duration

if TYPE_CHECKING:
    import argparse

__all__ = [
    "RunOptions",
    "add_arguments",
    "add_hosts",
    "add_verify_arguments",
    "given_options",
    "option_names",
    "option_table",
    "options_of",
    "parameter_value",
    "with_options",
]  # fmt: skip

# Old name of an option -> the new one, and what it takes.
RENAMED = {"timeout": ("until", "the end in logical time, with a unit, such as until=sec(10) or --until 10s")}

# An option that is gone -> what to use instead.
REMOVED = {
    "driven": "a run has threads of its own; run.pause() holds it, run.step() executes one tag, and in tests a FakeClock never sleeps",
}


def _as_number(text: str) -> int | str:
    """A whole number, or the text, which the field refuses with its own words."""
    try:
        return int(text)
    except ValueError:
        return text


def _as_placement(text: str) -> str | list[int]:
    """The name of a policy, or the ids of CPUs: `0,2,4`."""
    words = text.split(",")
    return [int(word) for word in words] if all(word.strip().isdigit() for word in words) else text


def _as_places(text: str) -> dict[str, str | None]:
    """`rollouts=4,learner=tcp://10.0.0.1:8786`: where each enclave is executed; None: the name stands alone."""
    places = {}
    for word in filter(None, text.split(",")):
        name, equals, where = word.partition("=")
        places[name.strip()] = where.strip() if equals else None
    return places


def _text(
    about: str,
    read: Callable[[str], Any] | None = None,
    metavar: str = "",
    *,
    short: str = "",
    python_only: bool = False,
    needs_process: bool = False,
) -> dict[str, Any]:
    """How a field is given on a command line.

    Args:
        about: what it does, for help.
        read: how its value is read; None: it is a flag.
        metavar: what stands for the value in help.
        short: a letter, such as "w" for `-w`.
        python_only: it takes an object, and cannot be given as text.
        needs_process: of use only where the process goes on after the run, so that `reactornb run` does not offer it.
    """
    return {
        "about": about, "read": read, "metavar": metavar, "short": short, "python_only": python_only, "needs_process": needs_process,
    }  # fmt: skip


def _answers_unknown_names[T](cls: type[T]) -> type[T]:
    """Refuse names that are no fields, with the new name of an old one or the nearest there is, wherever an object of the class is made."""
    made: Callable[..., None] = cls.__init__
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # a dataclass

    @wraps(made)
    def answering(self: T, **given: Any) -> None:
        for name in given:
            if name in RENAMED:
                new, words = RENAMED[name]
                raise RunOptionError(f"{name}= is called {new}= now: {words}.")
            if name in REMOVED:
                raise RunOptionError(f"{name}= is gone: {REMOVED[name]}.")
            if name not in known:
                raise RunOptionError(f"a run has no option {name!r}. {suggestion(name, known)}")
        made(self, **given)

    cls.__init__ = answering  # type: ignore[assignment]
    return cls


@_answers_unknown_names
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a program is run. Every option has the same name, help and errors in Python, in a notebook and on the command line.

    Attributes:
        workers: threads, from 1; None: as many as there are usable cores.
        seed: all reactors' seeds derive from it; a whole number.
        until: logical time at which the run ends, such as sec(10); None: when no event is left, or a reaction asks for it.
        fast: do not wait for physical time; None: exactly when the root reactor's class says `needs_physical_time = False`, as the
            programs of `reactornb.rl` do.
        keepalive: go on when no event is left; None: exactly when the program has physical actions.
        fingerprint: keep a hash over tag, port and value of all that is sent; see `reactornb.runtime.fingerprint`. A value that cannot
            be judged, such as a lock or a lambda, ends the run.
        fingerprint_log: keep a hash of each single write, too, for `Run.fingerprint_log` and `reactornb diff`; 32 bytes a write.
        check_values: find a reaction that changes a value it was given; runs one reaction at a time, slowly.
        profile: measure each reaction, for `Run.profile` and `Run.timeline`.
        trace: keep what ran, and copies of what was written, for `Run.trace`.
        placement: which cores the workers run on; see `reactornb.cpu.place`.
        nice: at how much lower a priority the workers run, in levels of niceness (Linux); None: 5 in a Jupyter kernel, so that cells
            and panels come first, and 0 elsewhere.
        record_outside: keep what comes from outside, for `Run.outside`: physical actions, changes of parameters, expired watchdogs, missed
            deadlines, what reactions read off the clock, times of physical connections, the stop.
        keep: keep the run on disk, in a folder of this name in `runs` (or `$REACTORNB_RUNS`), so that `resume` can go on with it; True: under
            the program's name, or the first free one of NAME-2, NAME-3, …
        checkpoint: physical time between two checkpoints of a kept run; None: five minutes.
        replay: `Run.outside` of another run, to be repeated bit for bit; or `Run.changes`, the changes of its parameters alone, to be made
            again at the same tags, with all else from outside as it comes.
        place: enclaves that are executed on other hosts, by the name that their container has for them: `{"rollouts": Hosts.local(4)}`; "*" stands for
            all banks of enclaves, or for all enclaves where there are none. Instead of `Hosts`: a `distributed.Client`, how many subprocesses, or
            the address of a Dask scheduler. The result is the same. See `reactornb.cluster`. None: all is executed in this process.
        clock: physical time, from `reactornb.runtime.clock`; a `FakeClock` in tests. None: the machine's.

    Raises:
        RunOptionError: for an unknown or an old name, or a value that does not fit.
    """

    workers: int | None = field(
        default=None,
        metadata=_text("threads; as many as there are usable cores unless given", _as_number, "N", short="w"),
    )
    seed: int = field(default=0, metadata=_text("all reactors' seeds derive from it; 0 unless given", _as_number, "S"))
    until: DurationLike | None = field(
        default=None, metadata=_text("logical time at which it ends: 10s, 500ms, 2min", parse_duration, "T")
    )
    fast: bool | None = field(
        default=None, metadata=_text("do not wait for physical time; unless given, the program decides")
    )
    keepalive: bool | None = field(
        default=None, metadata=_text("go on when no event is left; unless given, if there are physical actions")
    )
    fingerprint: bool = field(default=False, metadata=_text("keep a hash over tag, port and value of everything sent"))
    fingerprint_log: bool = field(
        default=False,
        metadata=_text("keep a hash of each single write, for run.fingerprint_log", needs_process=True),
    )
    check_values: bool = field(default=False, metadata=_text("find a reaction that changes a value it was given"))
    profile: bool = field(default=False, metadata=_text("measure each reaction, for profile and timeline"))
    trace: bool = field(
        default=False, metadata=_text("keep what ran and what was written, for run.trace", needs_process=True)
    )
    placement: Any = field(
        default="performance",
        metadata=_text("which cores: performance, spread, none, or ids such as 0,2,4", _as_placement, "CORES"),
    )
    nice: int | None = field(
        default=None, metadata=_text("run the workers at a lower priority, by N levels (Linux)", _as_number, "N")
    )
    record_outside: bool = field(
        default=False, metadata=_text("keep what comes from outside, for run.outside", needs_process=True)
    )
    keep: str | bool | None = field(
        default=None, metadata=_text("keep the run on disk under that name, to be resumed", str, "NAME")
    )
    checkpoint: DurationLike | None = field(
        default=None,
        metadata=_text("time between two checkpoints of a kept run; 5min unless given", parse_duration, "T"),
    )
    replay: Iterable[Any] = field(
        default=(),
        metadata=_text(
            "repeat what came to another run from outside, or only its changes of parameters",
            str,
            "RUN",
            needs_process=True,
        ),
    )
    place: Mapping[str, Any] | None = field(
        default=None,
        metadata=_text(
            "enclaves that hosts execute: a number of subprocesses, or a Dask scheduler's address",
            _as_places,
            "NAME=WHERE",
        ),
    )
    clock: Any = field(default=None, metadata=_text("physical time", python_only=True))

    def __post_init__(self) -> None:
        for name in ("workers", "seed", "nice"):
            if _is_whole(getattr(self, name)):
                object.__setattr__(self, name, int(getattr(self, name)))  # NumPy's, too
        if self.workers is not None and not (_is_whole(self.workers) and 1 <= self.workers <= MOST_WORKERS):
            raise RunOptionError(
                f"workers must be a whole number of at least 1 and at most {MOST_WORKERS:,}, not {self.workers!r}: one thread for each core "
                f"that is to be used."
            )
        if not _is_whole(self.seed):
            raise RunOptionError(f"seed must be a whole number, not {self.seed!r}.")
        if self.until is not None:
            end = as_duration(self.until)
            if end is None:
                raise RunOptionError(f"until: {no_duration(self.until)}.")
            if end < 0:
                raise RunOptionError(f"until is a logical time of at least 0, not {end}.")
            object.__setattr__(self, "until", end)
        if self.checkpoint is not None:
            every = as_duration(self.checkpoint)
            if every is None:
                raise RunOptionError(f"checkpoint: {no_duration(self.checkpoint)}.")
            if every <= 0:
                raise RunOptionError(
                    f"checkpoint is the physical time between two checkpoints, such as minutes(5), not {every}."
                )
            object.__setattr__(self, "checkpoint", every)
        if self.keep is False or self.keep == "":
            object.__setattr__(self, "keep", None)
        if not (self.keep is None or self.keep is True or isinstance(self.keep, str)):
            raise RunOptionError(f"keep is the name under which a run is kept, or True, not {self.keep!r}.")
        place: Any = self.place
        if place is not None and not (isinstance(place, Mapping) and place):
            raise RunOptionError(
                f'place names enclaves and their hosts, such as place={{"rollouts": Hosts.local(4)}}, not {place!r:.80}.'
            )
        if self.nice is not None and not (_is_whole(self.nice) and self.nice >= 0):
            raise RunOptionError(f"nice must be a whole number of at least 0, not {self.nice!r}.")
        flags = ("fast", "keepalive", "fingerprint", "fingerprint_log", "check_values", "profile", "trace")
        for name in (*flags, "record_outside"):
            value = getattr(self, name)
            may_be_none = name in ("fast", "keepalive")
            if not (isinstance(value, bool) or (may_be_none and value is None)):
                words = "True, False or None" if may_be_none else "True or False"
                raise RunOptionError(f"{name} must be {words}, not {value!r}.")

    @property
    def until_ns(self) -> int | None:
        """`until` in ns of logical time; None: no end is given."""
        end = as_duration(self.until)
        return None if end is None else int(end)


def _is_whole(value: Any) -> bool:
    return hasattr(type(value), "__index__") and not isinstance(value, bool)


def options_of(options: RunOptions | None, changes: Mapping[str, Any]) -> RunOptions:
    """The options of a call: those of an object, and those given by name, which win.

    Raises:
        RunOptionError: for an unknown or an old name, or a value that does not fit.
    """
    if options is None:
        return RunOptions(**changes)
    if not isinstance(options, RunOptions):
        raise RunOptionError(
            f"options of a run are given by name, start(workers=2), or as RunOptions, not as {options!r}."
        )
    return replace(options, **changes)


def option_names() -> list[str]:
    """The options of a run, in their order."""
    return [f.name for f in fields(RunOptions)]


def with_options[F: Callable[..., Any]](method: F) -> F:
    """Give a method that takes `**changes` the signature and the documentation of the options, for help and completion."""
    signature = inspect.signature(method)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    options = [p for name, p in inspect.signature(RunOptions).parameters.items() if name in option_names()]
    method.__signature__ = signature.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
    about = inspect.getdoc(RunOptions) or ""
    listed = about.partition("Attributes:\n")[2].partition("\n\nRaises")[0]
    method.__doc__ = (inspect.getdoc(method) or "").replace("    {options}", listed)
    return method


def _as_text(*, process_goes_on: bool, only: Collection[str] = ()) -> Iterator[tuple[Field[Any], list[str]]]:
    """The fields that a command line offers, each with its words: `-w`, `--workers`."""
    for f in fields(RunOptions):
        about = f.metadata
        if only and f.name not in only:
            continue
        if not about["python_only"] and (process_goes_on or not about["needs_process"]):
            short = [f"-{about['short']}"] if about["short"] else []
            yield f, [*short, f"--{f.name.replace('_', '-')}"]


# -- as text --------------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, *, process_goes_on: bool, only: Collection[str] = ()) -> None:
    """Give a command line the options of a run. What was not given is absent from its namespace; see `given_options`.

    Args:
        parser: to which they are added.
        process_goes_on: whether the process goes on after the run, as a notebook's does.
        only: names of those that are meant; all unless given.
    """
    import argparse

    for f, names in _as_text(process_goes_on=process_goes_on, only=only):
        about = f.metadata
        shared: dict[str, Any] = {"default": argparse.SUPPRESS, "help": about["about"]}
        if about["read"] is not None:
            parser.add_argument(*names, type=_reader(f), metavar=about["metavar"], **shared)
        elif f.default is None:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, **shared)
        else:
            parser.add_argument(*names, action="store_true", **shared)
    for old in () if only else RENAMED:
        parser.add_argument(f"--{old}", type=_renamed(old), default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Give a command line hosts for what `--place` names without saying where, or for all banks of enclaves; see `given_options`."""
    import argparse

    parser.add_argument(
        "--hosts", type=int, metavar="N", default=argparse.SUPPRESS,
        help="execute all banks of enclaves, or what --place names, in N subprocesses; with --scheduler on N hosts of that cluster",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", default=argparse.SUPPRESS, help="or on a Dask cluster, tcp://HOST:PORT"
    )


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command line what `runtime.verifying.verify` takes; what was not given is absent from its namespace."""
    import argparse

    def counts(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(",")))

    counts.__name__ = "numbers between commas"
    missing: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "-w", "--workers", type=counts, metavar="1,2", **missing,
        help="with how many workers each of the runs is made; 1 and all usable cores, at least 2, unless given",
    )  # fmt: skip
    parser.add_argument("--tags", type=int, metavar="N", help="after so many the runs end; 100 unless given", **missing)
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="or after so many seconds of the first run; 10 unless given", **missing
    )  # fmt: skip
    add_arguments(parser, process_goes_on=False, only=("seed", "until", "fast"))


def option_table(*, process_goes_on: bool) -> str:
    """The options with their help, a line each."""
    rows = [
        (f"{', '.join(names)} {f.metadata['metavar']}".rstrip(), f.metadata["about"])
        for f, names in _as_text(process_goes_on=process_goes_on)
    ]
    width = max(len(words) for words, _ in rows)
    return "\n".join(f"        {words:{width}}  {about}" for words, about in rows)


def given_options(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a parsed command line's values that are options of a run; hosts, see `add_hosts`, become part of `place`."""
    given = {name: namespace[name] for name in option_names() if name in namespace}
    address, count = namespace.get("scheduler"), namespace.get("hosts")
    where: Any = count if address is None else address if count is None else (address, count)
    if where is not None:
        given["place"] = {name: to or where for name, to in (given.get("place") or {"*": None}).items()}
    return given


def parameter_value(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """The value of a program's parameter that is given as text, in a magic or on a command line.

    Args:
        text: what stands behind the `=`: `learning_rate=1e-4 n_steps=n env=CartPole-v1`.
        names: variables of the user's, where there are any.

    Returns:
        A Python literal, else the variable of that name, else the text itself.
    """
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text if names is None else names.get(text, text)


@contextmanager
def _as_argument_error() -> Iterator[None]:
    import argparse

    try:
        yield
    except (RunOptionError, PlacementError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def _reader(f: Field[Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        with _as_argument_error():
            value = f.metadata["read"](text)
            RunOptions(**{f.name: value})
            return value

    return read


def _renamed(old: str) -> Callable[[str], Any]:
    def refuse(_: str) -> Any:
        new, words = RENAMED[old]
        with _as_argument_error():
            raise RunOptionError(f"it is called --{new} now: {words}")

    return refuse
