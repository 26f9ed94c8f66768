"""Answers to names and values that another library, or an earlier version, would take: physical waits are `timeout=` in seconds, ends in logical time `until=` with a unit: who gives the one for the other is told what to write."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from reactornb import Program, Reactor, RunOptions, Timer, days, forever, hours, ms, ns, reaction, sec, us, weeks
from reactornb.errors import RunOptionError, UnknownMetricError
from reactornb.tags import seconds_of


class Ticking(Reactor):
    tick = Timer(0, ms(1))

    @reaction(tick)
    def on_tick(self):
        pass


@pytest.mark.parametrize("method", ["stop", "wait", "result"])
@pytest.mark.parametrize(
    ("timeout", "instead"),
    [(ms(3), "0.003"), (sec(1.5), "1.5"), (timedelta(minutes=2), "120"), (ns(0), "0")],
)
def test_a_logical_duration_is_no_physical_wait(method, timeout, instead):
    run = Program(Ticking).start(workers=1, until=ms(2))
    try:
        with pytest.raises(TypeError, match=rf"a number of seconds: write timeout={instead}, not "):
            getattr(run, method)(timeout=timeout)
    finally:
        assert run.wait(30)
    assert not run._stop_asked  # what was refused did nothing


@pytest.mark.parametrize("timeout", ["3", "3s", True, [3]])
def test_what_is_no_number_is_no_physical_wait(timeout):
    with pytest.raises(TypeError, match="a number of seconds or None"):
        seconds_of(timeout)


@pytest.mark.parametrize("timeout", [3, 3.0, np.float32(3), np.int64(3)])
def test_a_physical_wait_is_any_number_of_seconds(timeout):
    assert seconds_of(timeout) == 3.0
    assert seconds_of(None) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"timeout": sec(1)}, "timeout= is called until= now"),
        ({"n_workers": 2}, "no option 'n_workers'. Did you mean 'workers'"),
        ({"finger": True}, "no option 'finger'. Did you mean 'fingerprint'"),
    ],
)
def test_options_answer_an_old_or_unknown_name_wherever_they_are_made(given, words):
    makers = (
        lambda: RunOptions(**given),
        lambda: replace(RunOptions(workers=1), **given),
        lambda: Program(Ticking).run(**given),
        lambda: Program(Ticking).start(RunOptions(workers=1), **given),
    )
    for make in makers:
        with pytest.raises(RunOptionError, match=words):
            make()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ms("3"), TypeError, r"ms takes a number, as in ms\(10\), not '3'"),
        (lambda: weeks("3"), TypeError, "weeks takes a number"),  # and does not repeat it 604,800,000,000,000 times
        (lambda: us(None), TypeError, "us takes a number"),
        (lambda: days([1]), TypeError, "days takes a number"),
        (lambda: sec(ms(3)), TypeError, r"ms\(3\) is a duration already"),
        (lambda: sec(float("inf")), ValueError, "sec takes a finite number"),
        (lambda: hours(float("nan")), ValueError, "hours takes a finite number"),
    ],
)
def test_a_duration_is_made_of_a_finite_number(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_duration_is_made_of_a_number_of_any_kind():
    assert ms(np.float32(2.5)) == ms(np.array(2.5)) == us(np.int64(2500)) == ns(ms(2.5)) == ms(2.5)
    assert seconds_of(2) == 2 != forever


class Logging(Ticking):
    @reaction(Ticking.tick)
    def on_log(self):
        self.log(loss=1.0, episode_return=2.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("episode_retrn", "Did you mean 'episode_return'"),
        ("los", "Did you mean 'loss'"),
        ("reward", "Known here: episode_return, loss"),
    ],
)
def test_a_metric_that_was_not_logged_is_answered_with_those_that_were(name, words):
    result = Program(Logging).run(workers=1, until=ms(2), fast=True)
    with pytest.raises(UnknownMetricError, match=f"no metric '{name}' so far. .*{words}") as caught:
        result.metrics[name]
    assert isinstance(caught.value, KeyError)  # as of any dict
    assert caught.value.metric == name
    assert result.metrics.get(name) is None
    assert name not in result.metrics


def test_a_run_that_logged_nothing_says_so():
    with pytest.raises(UnknownMetricError, match=r"^the run has no metric 'loss' so far. Nothing was logged yet.$"):
        Program(Ticking).run(workers=1, until=ms(1), fast=True).metrics["loss"]
