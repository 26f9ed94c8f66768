"""Lingua Franca programs on the fake clock: reactions and their order, methods, preambles, deadlines, watchdogs, tracebacks."""

import pytest
from lf_running import happened, loaded, run

from reactornb import ms, ns
from reactornb.errors import ReactionError, UnknownNameError
from reactornb.testing import FakeClock

# ---------------------------------------------------------------- reactions


def test_reactions_of_one_reactor_run_in_the_order_they_are_written():
    text = """
      main reactor { timer t; timer u
                     reaction(u) {= see(1) =}
                     reaction(t) {= see(2) =}
                     reaction second(t, u) {= see(3) =} }
    """
    tale = run(text)
    assert tale.seen == [1, 2, 3]
    assert tale.ran == ["0 reaction_1", "0 reaction_2", "0 second"]


def test_startup_is_first_and_shutdown_last():
    text = """
      main reactor { timer t(0, 5 ms)
                     reaction(shutdown) {= see("shutdown") =}
                     reaction(t) {= see("t") =}
                     reaction(startup) {= see("startup") =} }
    """
    assert run(text, until=ms(5)).ran == ["0 reaction_2", "0 reaction_3", "5 reaction_1", "5 reaction_2"]


def test_request_stop_ends_at_the_next_microstep():
    text = """
      main reactor { timer t(0, 5 ms)
                     reaction(t) {= if lf.time.logical_elapsed() == MSEC(10): lf.request_stop() =}
                     reaction(shutdown) {= see(lf.time.logical_elapsed() // MSEC(1), lf.tag().microstep) =} }
    """
    assert run(text).seen == [(10, 1)]


def test_methods_are_called_through_self():
    text = """
      main reactor {
        state n = 1
        method add(x: int, y): int {=
          self.n += x + y
          return self.n
        =}
        const method get() {= return self.n =}
        reaction(startup) {= self.add(2, 3); see(self.get(), self.add(1, 1)) =}
      }
    """
    assert run(text).seen == [(6, 8)]


def test_preambles_are_shared_by_all_reactors():
    text = """
      preamble {=
        import math
        table = {"answer": 42}
        def double(x): return 2 * x
      =}
      reactor Inner {
        preamble {=
          OFFSET = 5
          def shifted(self, x): return x + self.OFFSET
        =}
        reaction(startup) {= see(double(table["answer"]), self.shifted(1)) =}
      }
      main reactor { i = new Inner(); reaction(startup) {= see(math.pi > 3) =} }
    """
    assert sorted(map(str, run(text).seen)) == ["(84, 6)", "True"]


def test_bodies_change_a_global_of_the_preamble():
    text = """
      preamble {= count = 0 =}
      main reactor { timer t(0, 1 ms)
                     reaction(t) {=
                       global count
                       count += 1
                       see(count)
                     =} }
    """
    assert run(text, until=ms(2)).seen == [1, 2, 3]


# ---------------------------------------------------------------- deadlines and watchdogs


def test_a_missed_deadline_runs_its_handler_instead():
    clock = FakeClock()
    program = loaded("""
      reactor Late { input inp
                     reaction(inp) {= see("in time") =} deadline(10 ms) {= see("late", inp.value) =} }
      main reactor {
        l = new Late()
        timer t(0, 100 ms)
        state n = 0
        reaction(t) -> l.inp {=
          self.n += 1
          if self.n == 2: advance(MSEC(20))
          l.inp.set(self.n)
        =}
      }
    """)
    program.namespace["advance"] = lambda by_ns: clock.advance(ns(by_ns))
    assert happened(program, clock=clock, until=ms(200)).seen == ["in time", ("late", 2), "in time"]


def test_a_body_asks_and_changes_its_deadline():
    clock = FakeClock()
    program = loaded("""
      main reactor {
        reaction(startup) {=
          see(self.check_deadline())
          advance(MSEC(20))
          see(lf_check(self))
          self.update_deadline(MSEC(50))
          see(self.check_deadline())
        =} deadline(10 ms) {= see("handler") =}
      }
    """)
    program.namespace.update(
        advance=lambda by_ns: clock.advance(ns(by_ns)), lf_check=lambda self: self.check_deadline(False)
    )
    assert happened(program, clock=clock).seen == [False, True, False]


def test_of_what_is_ready_the_earliest_deadline_goes_first():
    text = """
      reactor Worker(d = 1 s) { input inp
                                reaction(inp) {= see(self.d // MSEC(1)) =} deadline(d) {= see("late") =} }
      main reactor {
        a = new Worker(d = 30 ms); b = new Worker(d = 10 ms); c = new Worker(d = 20 ms)
        reaction(startup) -> a.inp, b.inp, c.inp {= a.inp.set(1); b.inp.set(1); c.inp.set(1) =}
      }
    """
    assert run(text).seen == [10, 20, 30]


def test_a_deadline_passes_its_urgency_upstream():
    text = """
      reactor Pass(name = "") { input inp; output out
                                reaction(inp) -> out {= see(self.name); out.set(1) =} }
      reactor End(d = 1 s) { input inp; reaction(inp) {= =} deadline(d) {= =} }
      main reactor {
        slow = new Pass(name = "slow"); quick = new Pass(name = "quick")
        x = new End(d = 50 ms); y = new End(d = 5 ms)
        slow.out -> x.inp
        quick.out -> y.inp
        reaction(startup) -> slow.inp, quick.inp {= slow.inp.set(1); quick.inp.set(1) =}
      }
    """
    assert run(text).seen == ["quick", "slow"]


def test_a_watchdog_that_is_not_stopped_barks():
    text = """
      target Python { keepalive: true }
      main reactor {
        logical action done
        watchdog dog(10 ms) -> done {= see("barked"); done.schedule(0) =}
        reaction(startup) -> dog {= dog.start(0) =}
        reaction(dog) {= see("reaction") =}
        reaction(done) {= see("done"); lf.request_stop() =}
      }
    """
    assert run(text).seen == ["barked", "reaction", "done"]


def test_a_stopped_watchdog_stays_silent():
    text = """
      target Python { keepalive: true }
      main reactor {
        watchdog dog(500 ms) {= see("barked") =}
        watchdog later(510 ms) {= lf.request_stop() =}
        timer t(5 ms)  // on the fake clock, so at once
        reaction(startup) -> dog, later {= dog.start(0); later.start(0) =}
        reaction(t) -> dog {= dog.stop() =}
      }
    """
    assert run(text).seen == []


# ---------------------------------------------------------------- failures


def test_a_traceback_points_at_the_line_of_the_text():
    program = loaded("""
      main reactor {
        state n = 0
        reaction(startup) {=
          a = 1
          b = a / self.n
        =}
      }
    """)
    failure = happened(program).run.failure
    assert isinstance(failure, ReactionError)
    assert (failure.source.file, failure.source.line) == ("p.lf", 5)
    assert "p.lf, line 5" in str(failure)
    assert isinstance(failure.__cause__, ZeroDivisionError)


def test_a_traceback_goes_through_methods_and_preambles():
    program = loaded("""
      preamble {=
        def fail():
          raise KeyError("no")
      =}
      main reactor { method go() {=
        fail() =}
        reaction(startup) {= self.go() =} }
    """)
    frames = []
    at = happened(program).run.failure.__cause__.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == "p.lf":
            frames.append(at.tb_lineno)
        at = at.tb_next
    assert frames == [7, 6, 3]


def test_an_unknown_parameter_is_named_with_its_line():
    with pytest.raises(UnknownNameError, match=r"p.lf, line 2: no parameter 'perod'. Did you mean 'period'\?"):
        loaded("""
          main reactor(period = 1 ms) {
            timer t(0, perod)
          }
        """).program()
