"""In whatever order hub, hosts and links move, the run ends, with one fingerprint; also where hosts are lost in between."""

import pytest
from stepped import Stepped
from trainings import Chain, Counting, Pipe, Train, alone

from reactornb import ms
from reactornb.cluster import past

PROGRAMS = {
    "train": (Train, ["play"], {"n": 2}, {"until": ms(3)}),
    "whole": (Train, ["play", "learn"], {"n": 2}, {"until": ms(3)}),
    "stop": (Train, ["play"], {"n": 2, "stop_at": 2}, {}),
    "chain": (Chain, ["first", "second"], {}, {"until": ms(4)}),
    "pipe": (Pipe, ["first"], {}, {"until": ms(12)}),
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


MANY = pytest.mark.parametrize(
    "schedules", [12, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)


def losing(stepped, do_at, lost_at):
    """What is done before each move: something once, and hosts are lost."""

    def each(moves, draw):
        if moves == do_at[0]:
            do_at[1]()
        if moves in lost_at:
            stepped.kill(draw.randrange(len(stepped.hub.members)))

    return each


@MANY
@pytest.mark.parametrize("saved_after", [10_000, 2])
def test_a_changed_parameter_stays_changed_where_it_was_whoever_is_lost(schedules, saved_after, monkeypatch):
    monkeypatch.setattr(past, "_MOST_BATCHES", saved_after)
    for seed in range(schedules):
        stepped = Stepped(Train(n=2), ["play"], 1 + seed % 2, until=ms(6))
        run = stepped.run
        change = lambda run=run, seed=seed: run.set("play[*].gain", 3.0 + seed)  # noqa: E731
        at = 20 + 7 * seed % 120
        run = stepped.go(seed, each=losing(stepped, (at, change), {at + seed % 31, at + seed % 83, at + seed % 199}))
        assert run.failure is None, seed
        expected = alone(Train(n=2), until=ms(6), replay=run.changes)
        assert (run.fingerprint, run.tag) == (expected.fingerprint, expected.tag), seed
        assert run.metrics == expected.metrics, seed


@MANY
@pytest.mark.parametrize("saved_after", [10_000, 2])
def test_a_stop_from_outside_comes_whoever_is_lost(schedules, saved_after, monkeypatch):
    monkeypatch.setattr(past, "_MOST_BATCHES", saved_after)
    expected = alone(Train(n=2), until=ms(200)).metrics["w"].values
    for seed in range(schedules):
        stepped = Stepped(Train(n=2), ["play"], 1 + seed % 2)
        at = 20 + 7 * seed % 120
        lost_at = {at - seed % 17, at + seed % 13, at + seed % 31}
        run = stepped.go(seed, each=losing(stepped, (at, stepped.run.request_stop), lost_at), most=20_000)
        assert run.state == "stopped", seed
        assert {s.current_tag() for s in run.schedulers if s.tags_done} == {run.tag}, seed
        found = run.metrics["w"].values
        assert found.tolist() == expected[: len(found)].tolist(), seed


def with_batches_on_their_way():
    """The pipe, whose middle has three batches that it has not taken in, with a message each; and what leads the hub's side of it."""
    stepped = Stepped(Pipe(), ["count", "first"], 2, until=ms(12))
    drivers = list(zip(stepped.hub.members, stepped.hub._drivers, strict=True))

    def lead():
        while any(stepped._lead(member, driver) for member, driver in drivers):
            pass

    for share in (0, 1):  # what is to be executed; what they say at first
        host = stepped.hosts_by_share[share]
        assert host.receive()
        host.move()
        stepped._deliver(share)
    lead()
    count, first = (stepped.hosts_by_share[share] for share in (0, 1))
    while count.receive():
        pass
    count.move()
    while first.pair.host.waiting < 3:
        assert stepped._deliver(0)
        lead()
    return stepped, lead


def lose_and_replay_one_batch(stepped, lead):
    stepped.kill(1)
    lead()
    again = stepped.hosts_by_share[1]
    for _ in ("program", "batch"):
        assert again.receive()
    again.move()
    while stepped._deliver(1):
        pass
    lead()


def test_a_message_that_a_replacement_has_not_taken_in_again_holds_others_up():
    expected = alone(Pipe(), until=ms(12))
    stepped, lead = with_batches_on_their_way()
    first = stepped.hosts_by_share[1]
    while first.receive():
        pass
    first.move()
    stepped._deliver(1)  # the first tag is executed, and the hub knows that another one comes
    lead()
    machine = stepped.hub.members[1].machine
    before = machine.earliest()
    assert before > machine.queue.now == (0, 0)
    lose_and_replay_one_batch(stepped, lead)
    assert machine.earliest() == before
    run = stepped.go(0)
    assert (run.fingerprint, run.tag) == (expected.fingerprint, expected.tag)


def test_a_replacement_stands_where_the_lost_one_was_halted_however_it_takes_its_batches_in():
    stepped, lead = with_batches_on_their_way()
    run, first = stepped.run, stepped.hosts_by_share[1]
    run.set("first.gain", 7)
    lead()
    while first.receive():  # also that it is to halt
        pass
    first.move()
    while stepped._deliver(1):
        pass
    lead()
    assert first.pair.host.waiting  # the change
    lose_and_replay_one_batch(stepped, lead)
    run = stepped.go(0)
    assert run.failure is None
    expected = alone(Pipe(), until=ms(12), replay=run.changes)
    assert (run.fingerprint, run.tag) == (expected.fingerprint, expected.tag)
