"""In whatever order hub, hosts and links move, the run ends, with one fingerprint; also where hosts are lost in between."""

import pytest
from stepped import Stepped
from trainings import Chain, Counting, Train, alone

from reactornb import ms

PROGRAMS = {
    "train": (Train, ["play"], {"n": 2}, {"until": ms(3)}),
    "whole": (Train, ["play", "learn"], {"n": 2}, {"until": ms(3)}),
    "stop": (Train, ["play"], {"n": 2, "stop_at": 2}, {}),
    "chain": (Chain, ["first", "second"], {}, {"until": ms(4)}),
    "count": (Counting, ["count"], {"most": 6}, {}),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("schedules", [8, pytest.param(2_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_no_schedule_hangs_or_changes_the_result(name, schedules):
    root, place, parameters, options = PROGRAMS[name]
    expected = alone(root(**parameters), **options)
    for seed in range(schedules):
        stepped = Stepped(root(**parameters), place, 1 + seed % 3, **options)
        lost_at = {seed % 41 + 3, seed % 97 + 30} if seed % 2 else ()

        def lose(moves, draw, stepped=stepped, lost_at=lost_at):
            if moves in lost_at:
                stepped.kill(draw.randrange(len(stepped.hub.members)))

        run = stepped.go(seed, each=lose)
        assert run.failure is None, seed
        assert (run.fingerprint, run.tag) == (expected.fingerprint, expected.tag), seed
        assert run.metrics == expected.metrics, seed


def test_a_stop_from_outside_comes_in_every_schedule():
    for seed in range(10):
        stepped = Stepped(Train(n=2), ["play"], 1 + seed % 2)

        def stop(moves, _, stepped=stepped):
            if moves == 60:
                stepped.run.request_stop()

        run = stepped.go(seed, each=stop, most=20_000)
        assert run.state == "stopped"
        assert {s.current_tag() for s in run.schedulers if s.tags_done} == {run.tag}, seed
