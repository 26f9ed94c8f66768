"""A run's warnings: each said once, in the list and to the logger."""

import logging
import threading

import pytest

from reactornb import Program, Reactor, reaction, startup
from reactornb.runtime.notices import Notices


class Quiet(Reactor):
    @reaction(startup)
    def on_startup(self):
        pass


@pytest.mark.thread_unsafe(reason="counts the records of one logger")
def test_a_warning_is_said_once_whoever_finds_it_again(caplog):
    notices, said = Notices("run 1 of main"), []
    with caplog.at_level(logging.WARNING, logger="reactornb"):
        threads = [threading.Thread(target=lambda: said.append(notices.add("gil", "takes turns"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(said) == [False] * 7 + [True]
    assert notices.words == ["takes turns"]
    assert caplog.messages == ["run 1 of main: takes turns"]


def test_a_runs_warnings_are_its_own_and_a_copy(caplog):
    first, second = Program(Quiet).start(), Program(Quiet).start()
    first.notices.add("b", "the second letter")
    first.notices.add("a", "the first letter")
    first.warnings.append("mine")
    first.wait()
    second.wait()
    assert first.warnings == first.status()["warnings"] == ["the second letter", "the first letter"], "as found"
    assert second.warnings == []


def test_a_run_without_a_warning_says_nothing(caplog):
    Program(Quiet).run()
    assert caplog.messages == []
