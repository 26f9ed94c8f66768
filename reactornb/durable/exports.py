"""Runs for other programs: CSV, Parquet, pandas, TensorBoard's event files, MLflow, W&B (offline).

CSV and TensorBoard need no package; the others import theirs when they are asked for. All of them take stored runs and live ones, as
they are now. Tables have every value with its tag, its environment steps, and its physical time. Programs that draw curves get them over environment
steps, with one point where several values have the same number, such as the episodes that ended in a round: their mean; `every=True` gives them each value.
"""

from __future__ import annotations

import csv
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy

from reactornb import files
from reactornb.durable.comparison import Described, described, words_of
from reactornb.durable.tensorboard import EventFile
from reactornb.errors import MissingPackageError, ReactorError, suggestion
from reactornb.runtime.metrics import Metric

__all__ = [
    "COLUMNS",
    "KINDS",
    "export",
    "frame",
    "table_frame",
    "to_csv",
    "to_mlflow",
    "to_parquet",
    "to_tensorboard",
    "to_wandb",
]

COLUMNS = ("run", "metric", "time_ns", "microstep", "wall_s", "steps", "value")
_LAST_STEP = 1 << 62


def export(runs: Iterable[Any], to: str, path: Path | str, **options: Any) -> Path:
    """Write runs in one of the `KINDS`.

    Raises:
        ReactorError: for another one.
        MissingPackageError: if it needs a package that is not installed.
        FileError: if it cannot be written.
    """
    if to not in KINDS:
        raise ReactorError(f"runs cannot be exported to {to!r}. {suggestion(to, KINDS)}")
    return KINDS[to](list(runs), Path(path), **options)


def to_csv(runs: Iterable[Any], path: Path) -> Path:
    """A line for each value: run, metric, time_ns, microstep, wall_s, steps, value. Floats are written so that reading gives the same ones."""
    with files.whole(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for run in runs:
            for name, metric in run.metrics.items():
                columns = (metric.time_ns, metric.microstep, metric.wall_s, metric.steps, metric.values)
                writer.writerows((run.name, name, *row) for row in zip(*(c.tolist() for c in columns), strict=True))
    return path


def to_parquet(runs: Iterable[Any], path: Path) -> Path:
    """The same table as `to_csv` writes, as Parquet with dictionaries of names, and each run's facts in the file's metadata.

    Raises:
        MissingPackageError: without pyarrow.
    """
    import json

    arrow = _package("pyarrow", "Parquet", "CSV needs no package: export('csv', path).")
    parquet = import_module("pyarrow.parquet")
    listed = list(runs)
    facts = {
        one.name: {**one.facts, "parameters": {name: words_of(value) for name, value in one.parameters.items()}}
        for one in map(described, listed)
    }
    columns = _columns(listed)
    texts = {name: arrow.array(columns.pop(name), arrow.string()).dictionary_encode() for name in ("run", "metric")}
    table = arrow.table({**texts, **columns}).replace_schema_metadata({"reactornb": json.dumps(facts)})
    with files.whole(path) as file:
        parquet.write_table(table, file)
    return path


def frame(runs: Iterable[Any]) -> Any:
    """The same table as a `pandas.DataFrame`.

    Raises:
        MissingPackageError: without pandas.
    """
    return _package("pandas", "a DataFrame", "run.metrics has arrays.").DataFrame(_columns(list(runs)))


def table_frame(runs: Iterable[Any]) -> Any:
    """A `pandas.DataFrame` with a row for each run: facts, parameters, and the last value of each metric.

    Raises:
        MissingPackageError: without pandas.
    """
    pandas = _package("pandas", "a DataFrame", "runs can be iterated, and export('csv', path) needs no package.")
    rows = []
    for one in map(described, runs):
        last = {f"last.{name}": metric.last for name, metric in one.metrics.items()}
        rows.append({"run": one.name, **one.facts, **{name: _plain(v) for name, v in one.parameters.items()}, **last})
    return pandas.DataFrame(rows)


def _columns(runs: list[Any]) -> dict[str, Any]:
    """The table as columns of NumPy, the names as lists."""
    names: list[str] = []
    metrics: list[str] = []
    parts: dict[str, list[Any]] = {name: [] for name in COLUMNS[2:]}
    for run in runs:
        for name, metric in run.metrics.items():
            names += [run.name] * len(metric)
            metrics += [name] * len(metric)
            for column in COLUMNS[2:]:
                parts[column].append(metric.values if column == "value" else getattr(metric, column))
    kinds = {"wall_s": float, "value": float}
    empty = {column: numpy.empty(0, kinds.get(column, numpy.int64)) for column in parts}
    arrays = {column: numpy.concatenate([empty[column], *own]) for column, own in parts.items()}
    return {"run": names, "metric": metrics, **arrays}


def to_tensorboard(runs: Iterable[Any], path: Path, *, every: bool = False) -> Path:
    """A folder for `tensorboard --logdir`: one below it for each run, with its curves, its parameters, and their page ("HPARAMS").

    The step of a value is the number of environment steps, or where none were logged, which value of its metric it is.
    """
    for run in runs:
        one = described(run)
        began = _began(run)
        folder = files.make_folder(path / _file_name(one.name))
        for former in folder.glob("events.out.tfevents.*.reactornb"):
            former.unlink()  # or its curves would be there twice
        with files.whole(folder / f"events.out.tfevents.{int(began):010d}.reactornb") as file:
            events = EventFile(file, began)
            ended = None if run.is_alive else began + run.seconds
            values = {name: _plain(value) for name, value in one.parameters.items()}
            seed = one.facts.get("seed", "")
            events.parameters(
                {"seed": int(seed) if seed.isdecimal() else seed, **values},
                one.name,
                began,
                ended,
                good=run.state != "failed",
            )
            events.text("run", _markdown(one), began)
            for name, metric in run.metrics.items():
                steps, wall_s, means = _curve(metric, every)
                events.scalars(name, steps, (wall_s + began).tolist(), means.tolist())
    return path


def to_mlflow(
    runs: Iterable[Any], path: Path, *, experiment: str = "reactornb", uri: str | None = None, every: bool = False
) -> Path:
    """Runs of MLflow, in a folder (`mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db`), or wherever `uri` leads.

    Raises:
        MissingPackageError: without mlflow, or what its database takes.
    """
    hint = "pip install mlflow, or mlflow-skinny sqlalchemy alembic."
    _package("mlflow", "MLflow", hint)
    tracking, entities = import_module("mlflow.tracking"), import_module("mlflow.entities")
    if uri is None:
        for package in ("sqlalchemy", "alembic"):  # MLflow has given up folders of files
            _package(package, "a database of MLflow", hint)
        files.make_folder(path)
        uri = f"sqlite:///{path.resolve() / 'mlflow.db'}"
    client = tracking.MlflowClient(tracking_uri=uri)
    there = client.get_experiment_by_name(experiment)
    where = client.create_experiment(experiment) if there is None else there.experiment_id
    for run in runs:
        one = described(run)
        began_ms = int(_began(run) * 1000)
        made = client.create_run(
            where, start_time=began_ms, run_name=one.name, tags={f"reactornb.{k}": v for k, v in one.facts.items()}
        )
        number = made.info.run_id
        for name, value in one.parameters.items():
            client.log_param(number, _mlflow_name(name), words_of(value))
        for batch in _batches(run, began_ms, entities.Metric, every):
            client.log_batch(number, metrics=batch)
        status = (
            "FAILED" if run.state in ("failed", "interrupted", "damaged") else "RUNNING" if run.is_alive else "FINISHED"
        )
        if status != "RUNNING":
            client.set_terminated(number, status, end_time=began_ms + int(run.seconds * 1000))
    return path


def _batches(run: Any, began_ms: int, make: Callable[..., Any], every: bool, size: int = 1000) -> Iterator[list[Any]]:
    """The curves of a run, in lists that MLflow takes at once."""
    batch = []
    for name, metric in run.metrics.items():
        steps, wall_s, values = _curve(metric, every)
        times = (wall_s * 1000).astype(numpy.int64).tolist()
        for value, step, time_ms in zip(values.tolist(), steps, times, strict=True):
            batch.append(make(_mlflow_name(name), value, began_ms + time_ms, step))
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


def to_wandb(
    runs: Iterable[Any], path: Path, *, project: str = "reactornb", mode: str = "offline", every: bool = False
) -> Path:
    """Runs of W&B below a folder, offline: `wandb sync FOLDER/wandb/offline-run-*` uploads them when you say so.

    Raises:
        MissingPackageError: without wandb.
    """
    wandb = _package("wandb", "W&B", "")
    files.make_folder(path)
    settings = wandb.Settings(
        console="off",
        quiet=True,
        silent=True,
        disable_git=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
    )
    for run in runs:
        one = described(run)
        config = {
            **{k: v for k, v in one.facts.items() if v},
            **{name: _plain(v) for name, v in one.parameters.items()},
        }
        own = wandb.init(
            project=project, name=one.name, id=_wandb_id(run, one), dir=str(path), mode=mode, config=config, settings=settings, reinit="create_new"
        )  # fmt: skip
        try:
            own.define_metric("*", step_metric="steps")
            for row in _by_tag(run.metrics, every):
                own.log(row)
        finally:
            own.finish(1 if run.state == "failed" else 0)
    return path


def _by_tag(metrics: Mapping[str, Metric], every: bool) -> Iterator[dict[str, float]]:
    """Rows of what was logged at one tag; of what was logged several times at a tag the mean, or `every` value in a row of its own."""
    rows: dict[tuple[int, int, int], dict[str, float]] = {}
    for name, metric in metrics.items():
        seen: dict[tuple[int, int], int] = {}
        columns = (metric.time_ns, metric.microstep, metric.wall_s, metric.steps, metric.values)
        if not every:
            changed = (metric.time_ns[1:] != metric.time_ns[:-1]) | (metric.microstep[1:] != metric.microstep[:-1])
            columns = _last_and_mean(changed, columns)
        for time_ns, microstep, wall_s, steps, value in zip(*(column.tolist() for column in columns), strict=True):
            number = seen[time_ns, microstep] = seen.get((time_ns, microstep), -1) + 1
            row = rows.setdefault(
                (time_ns, microstep, number),
                {"steps": steps, "time_s": time_ns / 1e9, "microstep": microstep, "wall_s": wall_s},
            )
            if name != "steps":
                row[name] = value
    for key in sorted(rows):
        yield rows[key]


def _curve(metric: Metric, every: bool) -> tuple[list[int], Any, Any]:
    """A metric as a curve: environment steps, or where none were logged, which value it is; the physical time and the value, of several at one
    number of steps their mean, or `every` one.
    """
    steps, wall_s, values = metric.steps, metric.wall_s, metric.values
    if not len(steps) or steps[-1] <= 0:
        return list(range(len(metric))), wall_s, values
    if not every:
        steps, wall_s, values = _last_and_mean(steps[1:] != steps[:-1], (steps, wall_s, values))
    return [min(step, _LAST_STEP) for step in steps.tolist()], wall_s, values


def _last_and_mean(changed: Any, columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """Rows of which neighbours are one where nothing `changed` between them: the last of each column, but of the last column the mean of those that
    are numbers.
    """
    if not len(columns[0]):
        return columns
    first = numpy.flatnonzero(numpy.concatenate(([True], changed)))
    last = numpy.append(first[1:], len(columns[0])) - 1
    *others, values = columns
    there = ~numpy.isnan(values)
    with numpy.errstate(invalid="ignore", divide="ignore", over="ignore"):
        means = numpy.add.reduceat(numpy.where(there, values, 0.0), first) / numpy.add.reduceat(
            there.astype(float), first
        )
    means = numpy.where(last == first, values[first], means)  # one value stays what it is, also -0.0 and NaN
    return (*(column[last] for column in others), means)


def _began(run: Any) -> float:
    """When a run began, in seconds since 1970."""
    began = getattr(run, "began", None)
    if began is not None:
        return float(began.timestamp())
    counted = getattr(run, "_began", None)  # a live run's, by another clock
    return 0.0 if counted is None else time.time() - (time.perf_counter() - counted)


def _plain(value: Any) -> Any:
    """A parameter as every tracker takes it."""
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return words_of(value)


def _markdown(one: Described) -> str:
    rows = [*one.facts.items(), *((name, words_of(value)) for name, value in one.parameters.items())]
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows if value]
    return "\n".join([f"**{_cell(one.name)}**", "", "| | |", "|---|---|", *lines])


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


def _file_name(name: str) -> str:
    """A run's name as a folder's: a live one is called ppo#3."""
    return re.sub(r"[^\w.+-]", "-", name).lstrip(".-") or "run"


def _mlflow_name(name: str) -> str:
    """MLflow has no brackets in names."""
    return re.sub(r"[^\w.\-/ ]", "_", name)[:250]


def _wandb_id(run: Any, one: Described) -> str:
    """The same for the same run: exported twice, it is one run there."""
    from hashlib import blake2b

    key = f"{getattr(run, 'path', '')}|{one.name}|{_began(run)}"
    return blake2b(key.encode(), digest_size=8).hexdigest()


def _package(name: str, what: str, without: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or name).partition(".")[0] != name and name in sys.modules:
            raise
        raise MissingPackageError(f"{what} needs the package {name}: pip install {name}. {without}".rstrip()) from error


KINDS: dict[str, Callable[..., Path]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "tensorboard": to_tensorboard,
    "mlflow": to_mlflow,
    "wandb": to_wandb,
}
