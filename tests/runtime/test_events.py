"""The event queue in the corners: events taken back, events that meet, spacing; as exact traces on the fake clock."""

from reactornb import LogicalAction, Mode, Reactor, Tag, Timer, ms, reaction, shutdown, startup
from reactornb.testing import run_to_end


def test_a_tag_whose_events_were_taken_back_does_not_happen():
    class Sooner(Reactor):
        act = LogicalAction(0, ms(10), "update")

        @reaction(startup)
        def on_startup(self, act):
            act.schedule(ms(9), "late")
            act.schedule(ms(5), "early")

        @reaction(act)
        def on_act(self):
            pass

        @reaction(shutdown)
        def on_shutdown(self):
            pass

    trace = run_to_end(Sooner())
    assert trace.values("act") == [(Tag(ms(5)), "early")]
    assert trace.tags("on_shutdown") == [Tag(ms(5), 1)]


def test_a_microstep_whose_events_went_with_their_mode_does_not_come_back():
    class Modal(Reactor):
        kept = LogicalAction()
        one, two = Mode(initial=True), Mode()
        with one:
            tick = Timer(ms(1))
            gone = LogicalAction()

            @reaction(startup)
            def on_startup(self, gone):
                gone.schedule(ms(1))
                gone.schedule(ms(1))

            @reaction(tick)
            def on_tick(self, kept, two):
                kept.schedule(0)
                two.set()

        @reaction(kept)
        def on_kept(self):
            pass

        @reaction(shutdown)
        def on_shutdown(self):
            pass

    trace = run_to_end(Modal())
    assert trace.executions[-2:] == [(Tag(ms(1), 1), "modal.on_kept"), (Tag(ms(1), 2), "modal.on_shutdown")]
