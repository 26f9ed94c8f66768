"""Enclaves on hosts of this process: the same results, logs, lines and errors as without; steered like any run; lost hosts are replaced."""

import contextlib
import gc
import os
import platform
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from trainings import OPTIONS, Chain, Count, Counting, Train, alone

from reactornb import Input, PhysicalAction, Program, Reactor, connect, enclave, ms, reaction
from reactornb.cluster import past
from reactornb.cluster.errors import (
    HostLostError,
    NotAnEnclaveError,
    RemoteError,
    RemotePhysicalError,
    ReplayMismatchError,
)
from reactornb.cluster.loopback import LoopbackConnections, LoopbackHosts
from reactornb.errors import ReactionError, RunOptionError
from reactornb.runtime.placing import HostTable
from reactornb.viz.hosts_table import hosts_html
from reactornb.viz.run_view import RunView

WAIT = 60.0  # seconds; only ever reached when something is broken


def start(root, hosts=2, workers=1, name="play", **options):
    return Program(root).start(workers=workers, place={name: LoopbackHosts(hosts)}, **OPTIONS, **options)


def ended(run):
    try:
        return run.result(WAIT)
    finally:
        run.stop()


def wait_until(condition):
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def host_threads():
    return [t.name for t in threading.enumerate() if "reactornb" in t.name]


@pytest.mark.parametrize(("hosts", "workers"), [(1, 1), (2, 2), pytest.param(4, 1, marks=pytest.mark.slow)])
def test_a_training_on_hosts_is_the_one_without(hosts, workers):
    expected = alone(Train(), until=ms(6))
    found = ended(start(Train(), hosts, workers, until=ms(6)))
    assert found.fingerprint == expected.fingerprint
    assert found.tag == expected.tag
    assert found.reactions == expected.reactions
    assert found.metrics == expected.metrics


def test_hosts_may_be_as_many_as_members_and_no_thread_is_left():
    run = start(Train(n=3), 7, until=ms(3))
    assert len(run._engine._placed.members) == 3
    ended(run)
    assert host_threads() == []


def test_the_hosts_of_a_run_are_a_table_and_rows_of_its_panel():
    run = start(Train(n=3), 2, until=ms(3))
    ended(run)
    first, second = run.hosts
    assert (first.share, first.reactors, second.reactors) == (0, ("train.play[0]",), ("train.play[1]", "train.play[2]"))
    assert first.machine == second.machine == f"{platform.node()}, {os.getpid()}"
    assert first.tag == second.tag == run.tag
    assert (first.lag, first.restarts) == (0.0, 0)
    assert (first.tags, first.reactions, second.reactions) == (4, 4 + 1 + 2, 2 * (4 + 1 + 2))
    assert min(first.bytes_sent, first.bytes_received) > 100
    title, one, other = str(run.hosts).splitlines()
    assert title.split()[:4] == ["host", "machine", "share", "tag"]
    assert "play[0] " in one
    assert "play[1…2] " in other
    view = RunView(run)
    view.refresh()
    assert view.status()["hosts"] == [[*HostTable.TITLES], *map(list, run.hosts.cells())]
    assert "2 hosts" in view.heading()
    assert other in view.text()
    assert "<td>play[1…2]</td>" in hosts_html(run.hosts)
    assert run.status()["hosts"][1]["reactors"] == second.reactors
    without = Program(Train()).start(workers=1, until=ms(1), **OPTIONS)
    ended(without)
    assert without.hosts == ()
    assert RunView(without).status()["hosts"] == []


def pipes():
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(str(one.readlink()))
    return {link for link in found if link.startswith("pipe:")}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_a_run_on_hosts_that_is_over_holds_no_descriptor_however_long_it_is_kept():
    gc.collect()
    before, runs = pipes(), []
    gc.disable()
    try:
        for _ in range(3):
            runs.append(start(Train(n=2), 2, until=ms(2)))
            ended(runs[-1])
        assert pipes() <= before
    finally:
        gc.enable()


def test_a_star_places_banks_of_enclaves_or_else_all_enclaves():
    run = start(Train(n=2), 2, name="*", until=ms(2))
    ended(run)
    assert [row.reactors for row in run.hosts] == [("train.play[0]",), ("train.play[1]",)]
    run = start(Chain(), 2, name="*", until=ms(2))
    ended(run)
    assert [row.reactors for row in run.hosts] == [("chain.first",), ("chain.second",)]
    with pytest.raises(NotAnEnclaveError, match=r"'\*' is no enclave of count: it declares no enclave"):
        Program(Count(most=1)).start(place={"*": LoopbackHosts(2)})


def test_messages_go_from_host_to_host():
    expected = alone(Chain())
    hosts = LoopbackHosts(1)
    for place in (
        {"first": hosts},
        {"first": LoopbackHosts(1), "second": LoopbackHosts(1)},
        {"first": hosts, "second": hosts},
    ):
        run = Program(Chain()).start(workers=1, place=place, **OPTIONS)
        found = ended(run)
        assert (found.fingerprint, found.tag) == (expected.fingerprint, expected.tag)


def test_a_program_ends_when_nothing_is_left_on_any_host():
    expected = alone(Counting(most=40))
    found = ended(start(Counting(most=40), 1, name="count"))
    assert (found.fingerprint, found.tag) == (expected.fingerprint, expected.tag)


def test_an_end_that_a_reaction_on_a_host_asks_for_comes_when_it_does_without_hosts():
    expected = alone(Train(stop_at=3))
    for hosts in (1, 2):
        found = ended(start(Train(stop_at=3), hosts))
        assert (found.fingerprint, found.tag) == (expected.fingerprint, expected.tag)
        assert found.metrics == expected.metrics


def test_a_reaction_that_raises_on_a_host_is_named_with_its_line():
    with pytest.raises(ReactionError) as here:
        alone(Train(fail_at=4))
    run = start(Train(fail_at=4))
    with pytest.raises(ReactionError) as there:
        ended(run)
    assert str(there.value).partition("raised at")[0] == str(here.value).partition("raised at")[0]
    assert (there.value.reaction, there.value.tag, there.value.source) == (
        here.value.reaction,
        here.value.tag,
        here.value.source,
    )
    assert isinstance(there.value.__cause__, RemoteError)
    assert there.value.__cause__.kind == "ValueError"
    assert "round 4" in there.value.__cause__.traceback
    before = alone(Train(), until=ms(3)).metrics["w"].values
    assert run.metrics["w"].values.tolist() == before.tolist()


def test_a_failure_here_ends_the_hosts():
    class Fragile(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            if inp.value == 5:
                raise ZeroDivisionError

    class Simple(Reactor):
        def compose(self):
            self.count = enclave(Count())
            self.fragile = Fragile()
            connect(self.count.out, self.fragile.inp)

    run = start(Simple(), 1, name="count")
    with pytest.raises(ReactionError):
        ended(run)
    assert host_threads() == []


def test_a_run_on_hosts_is_stopped_where_they_are():
    run = start(Train(), 2)
    wait_until(lambda: run.tag.time_ns >= ms(4))
    run.stop(WAIT)
    assert run.state == "stopped"
    again = alone(Train(), until=ms(run.tag.time_ns // 1_000_000))
    assert run.metrics["w"].values[:4].tolist() == again.metrics["w"].values[:4].tolist()
    assert len(run.metrics["at_end"].values) == 1


def test_a_host_that_waits_for_nobody_is_stopped():
    run = start(Counting(), 1, name="count")
    wait_until(lambda: run.tag.time_ns >= ms(10))
    run.stop(WAIT)
    assert run.state == "stopped"
    schedulers = run.schedulers
    assert {s.current_tag() for s in schedulers} == {run.tag}


def test_a_paused_run_on_hosts_stands_still_and_goes_on_by_steps():
    run = start(Counting(), 1, name="count")
    try:
        wait_until(lambda: run.tag.time_ns >= ms(3))
        run.pause()
        member = run._engine._placed.members[0]
        wait_until(lambda: run._engine.paused and member._idle and not member.halting)
        time.sleep(0.05)  # it may have been idle between two batches
        wait_until(lambda: member._idle and not member.halting)
        before = member.tags_done
        time.sleep(0.15)
        assert member.tags_done == before
        run.step(2)
        wait_until(lambda: member.tags_done == before + 2)
        run.resume()
        wait_until(lambda: member.tags_done > before + 10)
    finally:
        run.stop(WAIT)


def test_a_parameter_on_a_host_is_changed_and_the_change_can_be_replayed():
    run = start(Train(), 2)
    try:
        wait_until(lambda: run.tag.time_ns >= ms(3))
        run.set("play[*].gain", 3.0)
        wait_until(lambda: len(run.changes) == 4)
        assert set(run.parameters("play[*].gain").values()) == {3.0}
        at = max(change.tag for change in run.changes)
        wait_until(lambda: run.tag > at)
    finally:
        run.stop(WAIT)
    end = run.tag
    replayed = Program(Train()).start(
        workers=1, replay=run.changes, until=end.time_ns and ms(end.time_ns // 1_000_000), **OPTIONS
    )
    ended(replayed)
    count = len(replayed.metrics["w"].values) - 1
    assert run.metrics["w"].values[:count].tolist() == replayed.metrics["w"].values[:count].tolist()
    assert replayed.changes == run.changes
    placed = ended(start(Train(), 2, replay=run.changes, until=ms(end.time_ns // 1_000_000)))
    assert placed.fingerprint == replayed.fingerprint


def test_what_is_printed_on_hosts_comes_with_reactor_and_tag():
    run = start(Train(n=2, say=True), 2, until=ms(2))
    ended(run)
    assert [(line.reactor, line.time_ns, line.text) for line in run.printed._lines] == [
        (f"play[{i}]", ms(k), f"round {k}") for k in range(3) for i in range(2)
    ]


@pytest.mark.parametrize("saved_after", [10_000, 3])
def test_a_lost_host_is_replaced_and_nobody_notices(saved_after, monkeypatch):
    monkeypatch.setattr(past, "_MOST_BATCHES", saved_after)
    expected = alone(Train(), until=ms(12))
    hosts = LoopbackHosts(2)
    connections = LoopbackConnections(hosts.unpack)
    monkeypatch.setattr(hosts, "open", lambda _: connections)
    kills = deque([2, 5, 8])
    take = past.Past.take

    def take_and_kill(self, report):
        if kills and report.done[0] >= ms(kills[0]):
            connections.kill(kills.popleft() % 2)
        return take(self, report)

    monkeypatch.setattr(past.Past, "take", take_and_kill)
    run = Program(Train()).start(workers=1, place={"play": hosts}, until=ms(12), **OPTIONS)
    hub = run._engine._placed
    found = ended(run)
    assert found.fingerprint == expected.fingerprint
    assert found.metrics == expected.metrics
    assert sum(row.restarts for row in run.hosts) == 3
    assert any(member._past.seq for member in hub.members) == (saved_after == 3)


def test_a_body_that_is_not_deterministic_is_found_when_its_host_is_replaced():
    calls = iter(range(1 << 30))
    run = start(Train(n=1, outer=lambda *_: next(calls)), 1)
    (connections,) = run._engine._placed.connections.values()
    wait_until(lambda: run.tag.time_ns >= ms(4))
    connections.kill(0)
    with pytest.raises(ReplayMismatchError, match=r"train\.play\[0\].*not deterministic"):
        ended(run)


def test_a_host_that_is_lost_again_and_again_ends_the_run(monkeypatch):
    run = start(Train(), 2)
    hub = run._engine._placed
    (connections,) = hub.connections.values()
    made = connections.link

    def dead(*args):
        link = made(*args)
        link.cut()
        return link

    monkeypatch.setattr(connections, "link", dead)
    connections.kill(1)
    with pytest.raises(HostLostError, match="host 1 was lost 11 times"):
        ended(run)


def test_what_cannot_be_placed_is_refused_before_anything_runs():
    hosts = LoopbackHosts(2)

    class Watched(Reactor):
        outside = PhysicalAction()

        @reaction(outside)
        def on_outside(self):
            pass

    class Main(Reactor):
        def compose(self):
            self.watched = enclave(Watched())
            self.plain = Watched()

    with pytest.raises(NotAnEnclaveError, match=r"'plain' is no enclave of main: its enclaves are watched"):
        Program(Main()).start(place={"plain": hosts})
    with pytest.raises(RemotePhysicalError, match=r"physical action main\.watched\.outside depends on physical time"):
        Program(Main()).start(place={"watched": hosts})
    with pytest.raises(RunOptionError, match="trace and place cannot be combined"):
        Program(Train()).start(place={"play": hosts}, trace=True)
    with pytest.raises(RunOptionError, match=r"not 'four'"):
        Program(Train()).start(place={"play": "four"})
    assert host_threads() == []


def test_a_host_on_which_the_program_cannot_be_made_says_why():
    class Broken(LoopbackHosts):
        def unpack(self, name):
            raise ModuleNotFoundError("no module named things")

    with pytest.raises(RemoteError, match="no module named things"):
        Program(Train()).start(workers=1, place={"play": Broken(2)}, **OPTIONS)
    assert host_threads() == []
