"""Threads that reactions of an LF program start: `lf.…` is their run's, and their end is told."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import pytest
from lf_running import loaded

from reactornb.__main__ import main
from reactornb.errors import RunOverError
from reactornb.testing import FakeClock

# `begin(work)` starts a thread that calls `work`, and returns what waits for it.
PROGRAM = """
    target Python
    main reactor {
      logical action go
      reaction(startup) -> go {=
        self.wait = begin(lambda: see(lf.time.start(), lf.tag().microstep, lf.request_stop()))
        go.schedule(SEC(1))
      =}
      reaction(shutdown) {= self.wait() =}
      reaction(go) {= see("went on") =}
    }
"""


def clock_from(epoch_ns):
    clock = FakeClock()
    clock.epoch_ns = epoch_ns
    return clock


def as_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread.join


def as_timer(work):
    timer = threading.Timer(0.0, work)
    timer.start()
    return timer.join


def as_executor(work):
    pool = ThreadPoolExecutor(1)
    waiting = pool.submit(work)

    def wait():
        waiting.result()
        pool.shutdown()

    return wait


def as_asyncio(work):
    async def outer():
        await asyncio.to_thread(work)

    return as_thread(lambda: asyncio.run(outer()))


def as_thread_of_a_thread(work):
    def outer():
        as_thread(work)()

    return as_thread(outer)


ALL = [as_thread, as_timer, as_executor, as_asyncio, as_thread_of_a_thread]


def started(program, seen, begin, **options):
    program.namespace.update(see=lambda *values: seen.append(values), begin=begin)
    return program.program().start(workers=1, keepalive=True, **options)


@pytest.mark.parametrize("begin", ALL)
def test_a_thread_sees_and_ends_its_own_run_also_in_a_second_one(begin):
    program = loaded(PROGRAM)
    for _ in range(2):
        seen = []
        run = started(program, seen, begin)
        assert run.wait(30)
        run.result()
        assert seen == [(run.schedulers[0].start_time_ns, 0, None)]  # not "went on": the thread's stop came first


def test_threads_of_two_runs_at_once_each_see_their_own():
    program = loaded(PROGRAM)
    begun = threading.Barrier(3)

    def begin(work):
        def later():
            begun.wait(30)
            work()

        return as_thread(later)

    seen = []
    first = started(program, seen, begin, clock=clock_from(100))
    second = started(program, seen, begin, clock=clock_from(200))
    begun.wait(30)
    assert first.wait(30)
    assert second.wait(30)
    assert sorted(values[0] for values in seen if values != ("went on",)) == [100, 200]


def test_a_thread_that_outlives_its_run_is_told_so_and_does_not_touch_the_next():
    program = loaded(
        """
        target Python
        main reactor {
          reaction(startup) {= keep(lambda: lf.request_stop()) =}
        }
        """
    )
    over, said = threading.Event(), []

    def keep(work):
        def later():
            over.wait(30)
            try:
                work()
            except RunOverError as error:
                said.append(str(error))

        threads.append(threading.Thread(target=later, name="tardy"))
        threads[-1].start()

    threads = []
    program.namespace["keep"] = keep
    first = program.program().start(workers=1)
    first.result()
    program.namespace["keep"] = lambda work: None
    second = program.program().start(workers=1, keepalive=True)
    over.set()
    threads[0].join(30)
    assert f"run {first.number} of" in said[0]
    assert "has ended" in said[0]
    assert "'tardy'" in said[0]
    assert not second.wait(0.05)
    second.stop()


def test_a_thread_that_no_reaction_started_has_the_only_run_of_its_program():
    text = """
        target Python
        preamble {=
          import threading
          ask = threading.Event()
          def _work():
              ask.wait(30)
              see(lf.time.start())
              lf.request_stop()
          thread = threading.Thread(target=_work)
          thread.start()
        =}
        main reactor {
          reaction(startup) {= ask.set() =}
          reaction(shutdown) {= thread.join() =}
        }
    """
    seen = []
    other = loaded(PROGRAM)
    aside = started(other, [], lambda work: lambda: None)
    program = loaded(text)
    run = started(program, seen, None)
    assert run.wait(30)
    assert seen == [(run.schedulers[0].start_time_ns,)]
    assert aside.is_alive
    aside.stop()


DYING = """
target Python
preamble {{=
  import threading, time
  def work():
      {work}
=}}
main reactor {{
  reaction(startup) {{=
    self.thread = threading.Thread(target=work, name="worker bee")
    self.thread.start()
  =}}
  reaction(shutdown) {{= print("went on") =}}
}}
"""


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ('raise ValueError("boom")', 1),
        ('time.sleep(0.05); raise ValueError("boom")', 1),  # after the run has ended
        ("sys.exit(3)", 0),  # Python's own meaning: it ends the thread
        ("lf.time.logical()", 0),
    ],
)
def test_run_exits_with_1_if_a_thread_died_and_says_which(work, status, tmp_path, capfd, caplog, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # pytest's would warn
    file = tmp_path / "p.lf"
    file.write_text(dedent(DYING).format(work=work), encoding="utf-8")
    assert main(["run", str(file), "--workers", "1"]) == status
    assert "went on" in capfd.readouterr().out
    said = " ".join(caplog.messages)  # which Python prints on stderr where nobody set up logging
    assert ("thread 'worker bee', which a reaction started, died: ValueError: boom" in said) == bool(status)
    assert not status or "p.lf, line 6" in said


def test_a_thread_that_died_is_among_the_warnings_of_its_run_and_the_run_goes_on(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    program = loaded(
        """
        target Python
        main reactor {
          logical action go
          reaction(startup) -> go {= begin(lambda: 1 / 0)(); go.schedule(0) =}
          reaction(go) {= see("went on") =}
        }
        """
    )
    for begin in (as_thread, as_timer):
        seen = []
        run = started(program, seen, begin, clock=FakeClock())
        while not seen:
            assert not run.wait(0.001)
        run.stop()
        assert seen == [("went on",)]
        assert run.state == "stopped"
        assert run.exit_status() == 1
        assert [line for line in run.warnings if "died: ZeroDivisionError" in line]


def test_an_exception_that_an_executor_keeps_kills_no_thread():
    program = loaded("target Python\nmain reactor {\n  reaction(startup) {= begin(lambda: 1 / 0) =}\n}")
    waiting = []

    def begin(work):
        with ThreadPoolExecutor(1) as pool:
            waiting.append(pool.submit(work))

    program.namespace["begin"] = begin
    run = program.program().start(workers=1)
    run.result()
    assert isinstance(waiting[0].exception(), ZeroDivisionError)
    assert run.exit_status() == 0


def test_a_started_thread_is_as_it_was_and_other_threads_are_untouched():
    plain = threading.Thread(target=list)
    plain.start()
    plain.join()
    assert "run" not in vars(plain)
    program = loaded("target Python\nmain reactor {\n  reaction(startup) {= keep() =}\n}")
    made = []

    def keep():
        made.append(threading.Thread(target=list))
        made[0].start()
        with pytest.raises(RuntimeError, match="once"):
            made[0].start()
        made[0].join()

    program.namespace["keep"] = keep
    program.program().run(workers=1)
    assert "run" not in vars(made[0])
    assert sys.getrefcount(made[0]) < 6
