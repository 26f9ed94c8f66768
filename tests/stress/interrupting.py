"""Interrupts at random moments of `start` and `run`: a run is there whole, or not at all. Run as `interrupting.py COUNT SEED`.

They come from another thread, at moments that no line decides: as signals to the process or to the main thread, as what a debugger or
`interrupt_main` sends, and as an exception that Python raises between two bytecodes; some of them twice.
"""

import _thread
import ctypes
import os
import random as at_random  # noqa: TID251 - moments of signals, no results
import signal
import sys
import threading
import time
from collections import Counter

from small_programs import Pair, Source, own_threads

from reactornb import Program, ms
from reactornb.runtime import live_runs

MAIN = threading.main_thread().ident


def async_exception():
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(MAIN), ctypes.py_object(KeyboardInterrupt))


SENDERS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGINT),
    "pthread_kill": lambda: signal.pthread_kill(MAIN, signal.SIGINT),
    "raise_signal": lambda: signal.raise_signal(signal.SIGINT),
    "interrupt_main": _thread.interrupt_main,
    "async": async_exception,
}

PROGRAMS = [(Program(Source), 1), (Program(Source), 2), (Program(Pair), 3), (Program(Pair, apart=True), 2)]


def spin(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def attempt(draw, number):
    """One start, interrupted; in which way, and what came of it."""
    program, workers = PROGRAMS[number % len(PROGRAMS)]
    kind = list(SENDERS)[number % len(SENDERS)]
    how = ("start", "run")[(number // 3) % 2]
    delays = [draw.random() * 0.006] + ([draw.random() * 0.001] if number % 4 == 0 else [])
    begun, sent = threading.Event(), threading.Event()

    def send():
        begun.wait()
        for delay in delays:
            spin(delay)
            SENDERS[kind]()
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    tried, runs, interrupts = [], [], 0

    def act():
        if not tried:
            tried.append(True)
            begun.set()
            if how == "run":
                program.run(workers=workers)
            else:
                runs.append(program.start(workers=workers))
        sender.join()
        for _ in range(1000):  # an asynchronous exception comes with some bytecode after it was sent
            pass
        tried.append(True)

    def persist():
        nonlocal interrupts
        while len(tried) < 2:
            try:
                act()
            except KeyboardInterrupt:
                interrupts += 1

    while len(tried) < 2:  # one that comes late, or while another is dealt with, must not end this script
        try:
            persist()
        except KeyboardInterrupt:
            interrupts += 1
    check(program, how)
    return kind, "interrupted" if interrupts and not runs else "started"


def check(program, how):
    """A whole run or none, no thread beyond it, and a program that can be started."""
    until = time.monotonic() + 20
    # After a second interrupt nobody waits for the helper thread that undoes the start.
    while own_threads() and not live_runs() and time.monotonic() < until:
        time.sleep(0.001)
    alive = live_runs()
    assert len(alive) <= 1, alive
    if alive:
        assert alive == [program.last_run], (how, alive, program.last_run)
        reactions = alive[0].reactions
        while alive[0].reactions <= reactions and alive[0].is_alive:
            assert time.monotonic() < until, f"a run that does nothing: {alive[0]}"
            time.sleep(0.001)
        alive[0].stop()
    while (own_threads() or program._lock.locked()) and time.monotonic() < until:
        time.sleep(0.001)
    assert not own_threads(), (how, own_threads())
    assert not program._lock.locked()
    program.run(workers=2, until=ms(2), fast=True)


def main(count, seed):
    draw = at_random.Random(seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for program, _ in PROGRAMS:
        program.run(workers=2, until=ms(2), fast=True)
    found = Counter()
    for number in range(count):
        kind, what = attempt(draw, number)
        found[kind, what] += 1
    for (kind, what), times in sorted(found.items()):
        print(kind, what, times)  # noqa: T201
    print("hit", sum(n for (_, what), n in found.items() if what == "interrupted"))  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
