"""How far a run is and how long it takes yet."""

from types import SimpleNamespace

import pytest

from reactornb.runtime.outlook import Outlook, Pace, clock
from reactornb.tags import Tag, sec


class Running:
    """A run whose clock a test moves."""

    def __init__(self, until_ns=None, **limits):
        self.is_alive = True
        self.seconds = 0.0
        self.tag = Tag(0, 0)
        self.options = SimpleNamespace(until_ns=until_ns)
        self.program = SimpleNamespace(root=SimpleNamespace(settings=SimpleNamespace(**limits)))


def test_steps_are_counted_against_total_timesteps():
    run = Running(total_timesteps=4000)
    outlook = Outlook(run)
    run.seconds = 10.0
    ahead = outlook.look(1000)
    assert (ahead.share, ahead.left_s) == (0.25, 30.0)
    assert ahead.words == ["steps 1,000 of 4,000 (25 %, 30 s left)"]


def test_what_is_left_follows_the_last_minute_and_not_a_slow_beginning():
    run = Running(total_timesteps=10_000)
    outlook = Outlook(run)
    for second in range(300):
        run.seconds = float(second)
        done = second if second < 100 else 100 + 10 * (second - 100)  # ten times as fast from 100 s on
        ahead = outlook.look(done)
    assert ahead.left_s == pytest.approx((10_000 - done) / 10)


def test_of_several_limits_the_nearest_one_is_what_counts():
    run = Running(until_ns=sec(100), total_timesteps=1000, max_seconds=60.0)
    outlook = Outlook(run)
    run.seconds, run.tag = 30.0, Tag(sec(10), 0)
    ahead = outlook.look(100)
    assert (ahead.share, ahead.left_s) == (0.5, 30.0)
    assert ahead.words == ["10 s of 100 s (10 %, 4:30 min left)", "steps 100 of 1,000 (10 %, 4:30 min left)", "30 s of 1:00 min (50 %, 30 s left)"]  # fmt: skip


@pytest.mark.parametrize(
    "limits", [{}, {"total_timesteps": "<preset>"}, {"total_timesteps": True, "max_seconds": None}]
)
def test_a_run_without_an_end_is_nowhere(limits):
    assert Outlook(Running(**limits)).look(1000) is None


def test_a_program_says_its_limits_in_its_settings_its_config_or_itself():
    for root in (
        SimpleNamespace(settings=SimpleNamespace(total_timesteps=5)),
        SimpleNamespace(config=SimpleNamespace(total_timesteps=5)),
        SimpleNamespace(config=None, total_timesteps=5),
    ):
        run = Running()
        run.program = SimpleNamespace(root=root)
        assert Outlook(run).total_steps == 5


def test_nothing_is_left_of_a_run_that_is_over():
    run = Running(total_timesteps=100)
    run.seconds, run.is_alive = 5.0, False
    ahead = Outlook(run).look(40)
    assert (ahead.share, ahead.left_s, ahead.words) == (0.4, None, ["steps 40 of 100 (40 %)"])


def test_nothing_is_said_before_a_hundredth_is_done_or_a_second_has_passed():
    pace = Pace()
    assert pace.left_s(0.1, 1, 1000) is None
    assert pace.left_s(0.2, 20, 1000) == pytest.approx(9.8)
    assert pace.left_s(0.3, 1000, 1000) == 0.0


@pytest.mark.parametrize(("seconds", "words"), [(12.4, "12 s"), (250, "4:10 min"), (7450, "2:04:10")])
def test_durations_are_short(seconds, words):
    assert clock(seconds) == words
