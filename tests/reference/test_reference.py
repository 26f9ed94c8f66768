"""Random programs leave the trace that the rules ask for, whatever the number of workers.

For longer, with other programs each time: python tests/reference/soak.py --minutes 10
"""

from collections import Counter

import pytest
from compare import check
from hypothesis import HealthCheck, Phase, given, settings
from interpreter import EndlessError, interpret
from programs import Drawn, make, programs
from regressions import PROGRAMS

from reactornb import Program, Tag, ns
from reactornb.errors import AssemblyError
from reactornb.testing import run_to_end

EXAMPLES = 250


@pytest.mark.parametrize(("source", "timeout"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs_that_once_differed_no_longer_do(source, timeout):
    assert check(Drawn(source, timeout, fast=False)) > 0


LOCAL_TIME = """
class Modal(Reactor):
    next = Input()
    out1 = Output()
    out2 = Output()
    one, two = Mode(initial=True), Mode()
    with one:
        t1 = Timer(ns(100), ns(750))
        a1 = LogicalAction(ns(500))
        @reaction(t1)
        def on_t1(self, a1):
            a1.schedule()
        @reaction(a1)
        def on_a1(self, out1):
            out1.set(1)
        @reaction(next)
        def to_two(self, two):
            two.set()
    with two:
        t2 = Timer(ns(100), ns(750))
        a2 = LogicalAction(ns(500))
        @reaction(t2)
        def on_t2(self, a2):
            a2.schedule()
        @reaction(a2)
        def on_a2(self, out2):
            out2.set(2)
        @reaction(next)
        def to_one(self, one):
            one.set(history=True)
class Main(Reactor):
    t = Timer(ns(1000), ns(1000))
    modal = Modal()
    @reaction(t, effects=modal.next)
    def on_t(self, modal):
        modal.next.set(0)
"""


def test_the_handbooks_example_of_local_time_in_both():
    # "Modal Reactors", figure "Illustration of local time (trace)": milliseconds there, nanoseconds here.
    expected = {
        "t1": [100, 850, 2600, 4350],
        "a1": [600, 2350, 4100],
        "t2": [1100, 1850, 3100, 3850],
        "a2": [1600, 3600],
    }
    program = Program(make(LOCAL_TIME))
    _, interpreted = interpret(program.graph, timeout=4350)
    ran = run_to_end(program.root, until=ns(4350)).writes
    for name, times in expected.items():
        for writes in (interpreted, ran):
            assert [tag for tag, n, _ in writes if n == f"main.modal.{name}"] == [Tag(t) for t in times]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("examples", [EXAMPLES // 4, pytest.param(EXAMPLES, marks=pytest.mark.soak)])
def test_random_programs_leave_the_same_trace_for_1_2_and_4_workers_and_in_the_interpreter(examples):
    seen = Counter()

    # Not shrunk: hypothesis takes minutes for programs of this size, soak.py seconds.
    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(programs())
    def each(drawn):
        try:
            seen["busy" if check(drawn) > 30 else "quiet"] += 1
        except (AssemblyError, EndlessError) as error:
            seen[type(error).__name__] += 1

    each()
    # How many programs are large varies with what else is imported: hypothesis draws constants from the modules it finds.
    # 28 to 60 of 250 were seen; far fewer would mean that the strategy has decayed.
    assert seen["busy"] > examples / 20, seen
    assert seen["busy"] + seen["quiet"] > examples * 3 / 4, seen
