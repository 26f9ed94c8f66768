"""Modal reactors in the corners: entry, local time, shutdown, connections; as exact traces on the fake clock."""

from reactornb import LogicalAction, Mode, Reactor, Tag, Timer, ms, reaction, reset, shutdown
from reactornb.testing import run_to_end


def test_entering_a_mode_leaves_no_mark_in_values_and_fingerprint():
    class Modal(Reactor):
        act = LogicalAction()
        one, two = Mode(initial=True), Mode()
        with one:
            tick = Timer(0)

            @reaction(tick)
            def leave(self, act, two):
                act.schedule(0, 1)
                two.set()

        with two:

            @reaction(reset)
            def on_reset(self):
                pass

        @reaction(act)
        def on_act(self):
            pass

    trace = run_to_end(Modal())
    assert trace.executions[1:] == [(Tag(0, 1), "modal.on_reset"), (Tag(0, 1), "modal.on_act")]
    assert trace.writes == [(Tag(0), "modal.tick", None), (Tag(0, 1), "modal.act", 1)]


def test_a_shutdown_reaction_in_a_mode_runs_once_when_something_else_triggers_it_too():
    class Modal(Reactor):
        one = Mode(initial=True)
        with one:
            tick = Timer(ms(1))

            @reaction(tick, shutdown)
            def on_end(self):
                pass

    assert run_to_end(Modal(), timeout=ms(1)).tags("on_end") == [Tag(ms(1))]
    assert run_to_end(Modal(), timeout=ms(2)).tags("on_end") == [Tag(ms(1)), Tag(ms(1), 1)]
