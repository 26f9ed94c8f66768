"""What reactors logged, through the bytes of a journal and back."""

import random  # noqa: TID251 - makes rows and damages bytes, no reactor

import pytest

from reactornb.durable.metric_rows import MetricRows, pack, unpack
from reactornb.errors import MalformedDataError
from reactornb.runtime.logs import Log
from reactornb.runtime.metrics import metrics_of


def logs_of_three():
    """Three reactors that log two kinds of rows, some of them at one tag."""
    draw = random.Random(3)
    logs = [Log() for _ in range(3)]
    for step in range(400):
        tag = (step // 3 * 1_000, step % 3)
        for log in logs:
            if draw.random() < 0.8:
                log.add(tag, {"loss": draw.random(), "kl": draw.random()})
            if draw.random() < 0.3:
                log.add(tag, {"steps": draw.randrange(9)})
    return logs


def bodies_of(logs, batch):
    """What a writer makes of them that looks every `batch` rows."""
    at = [0] * len(logs)
    while any(at[i] < len(log) for i, log in enumerate(logs)):
        for i, log in enumerate(logs):
            columns = log.columns(at[i], at[i] + batch)
            at[i] = min(at[i] + batch, len(log))
            if columns:
                yield pack(i, columns)


@pytest.mark.parametrize("batch", [3, 7, 1000])
def test_metrics_of_the_records_are_those_of_the_logs_however_they_were_cut(batch):
    logs = logs_of_three()
    read = MetricRows(map(unpack, bodies_of(logs, batch))).metrics()
    whole = metrics_of(logs, 0.0)
    assert read == whole
    assert list(read) == ["kl", "loss", "steps"]
    assert (read["loss"].steps == whole["loss"].steps).all()
    assert (read["loss"].wall_s == whole["loss"].wall_s).all()


def test_rows_after_a_tag_are_forgotten_and_logged_again():
    logs = logs_of_three()
    rows = MetricRows(map(unpack, bodies_of(logs, 50)))
    cut = (60_000, 1)
    rows.forget_after(cut)
    for i, log in enumerate(logs):
        start = next(row for row in range(len(log)) if log.tag(row) > cut)
        rows.add(unpack(pack(i, log.columns(start))))
    assert rows.metrics() == metrics_of(logs, 0.0)
    rows.forget_after((-1, 0))
    assert rows.metrics() == {}
    assert rows.rows == 0


def test_physical_time_is_stored_from_the_beginning_of_the_run():
    log = Log()
    log.add((0, 0), {"loss": 1.0})
    began = float(log.columns()["loss"].wall_s[0]) - 2.5
    assert unpack(pack(0, log.columns(), began)).columns["loss"].wall_s.tolist() == [2.5]


def test_no_damage_to_a_record_gives_anything_but_rows_or_the_named_error():
    draw = random.Random(11)
    whole = pack(2, logs_of_three()[0].columns(0, 40))
    refused = 0
    for _ in range(2_000):
        damaged = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(60)] = draw.randrange(256)
        if draw.random() < 0.3:
            del damaged[draw.randrange(len(damaged)) :]
        try:
            MetricRows([unpack(damaged)]).metrics()
        except MalformedDataError:
            refused += 1
    assert refused > 1_000


def test_what_is_no_record_is_refused_with_its_reason():
    with pytest.raises(MalformedDataError, match="these 3 bytes are no rows of metrics"):
        unpack(b"abc")
