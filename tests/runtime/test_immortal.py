"""What all workers touch is not counted: made immortal where that is safe, and nothing that may be large."""

import os
import subprocess
import sys
import sysconfig
import textwrap

import pytest

from reactornb.runtime.immortal import immortalize

FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
free_threaded = pytest.mark.skipif(not FREE, reason="with a GIL nobody waits for a reference count")


def said(code, *words, immortal="1"):
    """What a fresh interpreter prints: whatever is immortal stays so, here too."""
    made = subprocess.run(
        [sys.executable, "-X", "gil=0", "-c", textwrap.dedent(code), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "REACTORNB_IMMORTAL": immortal},
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.split()


PROGRAM = '''
import sys
import numpy
from reactornb import Program, Reactor, reaction, startup

LIMIT = 4711.5
ROWS = [numpy.zeros(3)]
CELL = """
class Counts(Reactor):
    @reaction(startup)
    def on_startup(self):
        import colorsys  # nobody has by now
        self.made = colorsys.rgb_to_hls(0.1234, 5000, self.number()[1])

    def number(self):
        return ("a tuple", 77_777)

class Guarded:
    def __getattr__(self, name):
        raise RuntimeError("nobody is to ask")

Counts.guarded = guarded = Guarded()
"""
exec(compile(CELL, "cell", "exec"))  # as a cell is: its constants are counted
Program(Counts).run(workers=int(sys.argv[1]))
constants = [
    value
    for function in (vars(Counts)["on_startup"].fn, Counts.number)
    for value in function.__code__.co_consts
    if value in (0.1234, 5000, ("a tuple", 77_777))
]
immortal = sys._is_immortal
print(len(constants), sum(map(immortal, constants)))
print(immortal(numpy.cos), immortal(vars(numpy)), immortal(sys.modules["colorsys"]))
print(immortal(ROWS), immortal(ROWS[0]), immortal(Counts))
'''


@free_threaded
@pytest.mark.parametrize("workers", ["1", "2"])
def test_before_workers_begin_modules_and_constants_are_made_immortal_and_data_is_not(workers):
    # One worker, too: it is another thread than the one that imported the modules.
    assert said(PROGRAM, workers) == ["3", "3", "True", "True", "True", "False", "False", "False"]


@free_threaded
def test_it_can_be_turned_off():
    on, off = said(PROGRAM, "2"), said(PROGRAM, "2", immortal="0")
    assert (on[:3], off[:3]) == (["3", "3", "True"], ["3", "0", "False"])
    assert off[3:] == ["False"] * 5


@free_threaded
def test_what_another_living_thread_owns_is_left_to_it():
    assert said(
        """
        import sys, threading, types
        from reactornb.runtime.immortal import immortalize

        made, looked = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)

        def make():
            module = sys.modules["theirs"] = types.ModuleType("theirs")
            module.value = float("1.5")
            made.wait()
            looked.wait()
            print(sys._is_immortal(module.value))
            immortalize()
            print(sys._is_immortal(module.value))

        thread = threading.Thread(target=make)
        thread.start()
        made.wait()
        immortalize()
        looked.wait()
        thread.join()
        """
    ) == ["False", "True"]


@free_threaded
def test_threads_that_count_the_same_objects_meanwhile_do_no_harm():
    assert said(
        """
        import sys, threading, types
        from reactornb.runtime.immortal import immortalize

        begin, over = threading.Barrier(4, timeout=20), threading.Event()
        modules = [types.ModuleType(f"made{i}") for i in range(2000)]
        for i, module in enumerate(modules):
            module.value, module.number = float(i) + 0.5, 10**6 + i
            sys.modules[module.__name__] = module

        def count():
            begin.wait()
            while not over.is_set():
                for module in modules:
                    held = [module.value, module.number, module] * 3
                    del held

        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        begin.wait()
        immortalize()
        over.set()
        for thread in threads:
            thread.join()
        print(all(sys._is_immortal(m.value) and m.value == i + 0.5 for i, m in enumerate(modules)))
        print(all(m.number == 10**6 + i for i, m in enumerate(modules)))
        """
    ) == ["True", "True"]


@pytest.mark.skipif(FREE, reason="of the GIL build")
def test_with_a_gil_nothing_happens():
    before = sys.getrefcount(pytest)
    immortalize()
    assert sys.getrefcount(pytest) == before
