"""Whether a program waits for physical time: its root reactor's class says so, and `fast=` overrules it."""

import pytest

from reactornb import Program, Reactor, Timer, ms, reaction, sec
from reactornb.__main__ import main


class Hours(Reactor):
    """Ticks each hour, three times."""

    needs_physical_time = False

    tick = Timer(0, sec(3600))

    @reaction(tick)
    def on_tick(self):
        if self.tag.time_ns == sec(7200):
            self.request_stop()


class Derived(Hours):
    """Inherits it."""


class Holder(Reactor):
    """Holds one, and does not say so itself: what counts is the root."""

    hours = Hours()


class Soon(Reactor):
    """Ends after 30 ms."""

    tick = Timer(ms(30), ms(30))

    @reaction(tick)
    def on_tick(self):
        self.request_stop()


class SoonUntimed(Soon):
    needs_physical_time = False


@pytest.mark.parametrize("root", [Hours, Derived])
def test_a_program_whose_class_needs_no_physical_time_does_not_wait_for_it(root):
    result = Program(root).run(workers=1)
    assert result.tag.time_ns == sec(7200)
    assert result.seconds < 30
    assert Program(root).start(workers=1).options.fast is True


def test_what_a_contained_reactor_says_does_not_count():
    run = Program(Holder).start(workers=1)
    try:
        assert run.options.fast is False
    finally:
        run.stop()
    assert Program(Holder).run(workers=1, fast=True).tag.time_ns == sec(7200)


@pytest.mark.parametrize(("root", "options", "waits"), [
    (Soon, {}, True),
    (Soon, {"fast": None}, True),
    (Soon, {"fast": True}, False),
    (SoonUntimed, {}, False),
    (SoonUntimed, {"fast": False}, True),
])  # fmt: skip
def test_a_run_is_asked_to_wait_or_not_to_wait_by_fast(root, options, waits):
    run = Program(root).start(workers=1, **options)
    seconds = run.result().seconds
    assert run.options.fast is not waits
    assert not waits or seconds >= 0.03


SCRIPT = """
from reactornb import *

class Main(Reactor):
    needs_physical_time = False
    period: int = 60_000
    tick = Timer(0, lambda self: ms(self.period))

    @reaction(tick)
    def on_tick(self):
        if self.tag.time_ns:
            print("waited" if self.physical_time_ns >= self.tag.time_ns else "did not wait")
            self.request_stop()
"""


@pytest.mark.parametrize(
    ("words", "said"), [([], "did not wait"), (["--fast"], "did not wait"), (["--no-fast", "period=240"], "waited")]
)
def test_the_command_line_asks_with_fast_and_no_fast(tmp_path, capsys, words, said):
    file = tmp_path / "program.py"
    file.write_text(SCRIPT)
    assert main(["run", str(file), "--workers", "1", "-q", *words]) == 0
    assert capsys.readouterr().out.splitlines() == [said]
