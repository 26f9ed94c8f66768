"""Pinning: for real on this machine's threads (Linux), and on stand-ins for the calls of macOS and Windows."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reactornb import LogicalAction, Program, Reactor, cpu, ms, reaction, startup
from reactornb.cpu import _pinning, _placement
from reactornb.errors import RunError

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads are pinned by mask on Linux only")
two_cpus = pytest.mark.skipif(len(cpu.usable_cpus()) == 1, reason="needs two CPUs")


@pytest.fixture(autouse=True)
def alone_on_the_machine(monkeypatch):
    """Other tests' runs have pins of their own."""
    monkeypatch.setattr(_pinning, "pinned_elsewhere", frozenset)
    monkeypatch.setattr(_placement, "pinned_elsewhere", frozenset)


pinned_elsewhere = _pinning.pinned_elsewhere  # the real one


def a_cpu(number: int, kind: cpu.Kind) -> cpu.Cpu:
    return cpu.Cpu(number, core=number, package=0, node=0, kind=kind, index=0, smt_rank=0, native_id=256 + number)


def in_thread[T](work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own, whose mask no other test can have changed, and return what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=30)


@linux
@two_cpus
def test_a_pinned_thread_runs_on_its_cpu_and_gets_its_mask_back():
    everywhere = os.sched_getaffinity(0)

    def work():
        for number in sorted(everywhere):
            with cpu.pin_current_thread(number) as pin:
                assert os.sched_getaffinity(0) == {number}
                assert (pin.cpu, pin.reason) == (number, "")
                assert number in cpu.pinned_cpus()
                assert cpu.limits().affinity == everywhere  # a run started from here is not confined to this CPU
            assert os.sched_getaffinity(0) == everywhere
        pin.release()  # again: nothing happens
        return os.sched_getaffinity(0)

    assert in_thread(work) == everywhere
    assert os.sched_getaffinity(0) == everywhere
    assert not cpu.pinned_cpus()


@linux
@two_cpus
def test_pins_nest():
    everywhere = os.sched_getaffinity(0)
    a, b = sorted(everywhere)[:2]

    def work():
        with cpu.pin_current_thread(a):
            with cpu.pin_current_thread(b):
                assert os.sched_getaffinity(0) == {b}
                assert cpu.limits().affinity == everywhere
            assert os.sched_getaffinity(0) == {a}
            assert a in cpu.pinned_cpus()
            assert cpu.limits().affinity == everywhere
        return os.sched_getaffinity(0)

    assert in_thread(work) == everywhere


@linux
@two_cpus
def test_workers_of_a_placement_each_sit_on_their_cpu_and_all_are_released():
    found, limits = cpu.topology(), cpu.limits()
    placed = cpu.place(len(limits.affinity) + 1, limits=cpu.Limits(affinity=limits.affinity), topology=found)
    assert placed.reason.startswith("more workers")
    inside, leave = threading.Barrier(len(placed.cpus) + 1, timeout=30), threading.Event()
    masks: dict[int, set[int]] = {}
    after: dict[int, set[int]] = {}

    def work(number: int) -> None:
        with placed.pin(number):
            masks[number] = os.sched_getaffinity(0)
            inside.wait()
            leave.wait(30)
        after[number] = os.sched_getaffinity(0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(placed.cpus))]
    for thread in threads:
        thread.start()
    inside.wait()
    assert cpu.pinned_cpus() == limits.affinity
    second = cpu.place(1, topology=found, limits=cpu.Limits(affinity=limits.affinity))
    leave.set()
    for thread in threads:
        thread.join(30)
    assert second.describe() == "1 worker: unpinned"
    assert masks == {n: {one.id} if one else set(limits.affinity) for n, one in enumerate(placed.cpus)}
    assert set(map(frozenset, after.values())) == {limits.affinity}
    assert not cpu.pinned_cpus()


@linux
@two_cpus
def test_an_unpinned_worker_that_a_pinned_thread_starts_may_run_everywhere():
    everywhere = os.sched_getaffinity(0)
    placed = cpu.place(1, "none")

    def worker():
        with placed.pin(0) as pin:
            assert pin.cpu is None
            return os.sched_getaffinity(0)

    def work():
        with cpu.pin_current_thread(min(everywhere)):
            return in_thread(worker)

    assert in_thread(work) == everywhere


@linux
@two_cpus
def test_what_is_started_while_a_pin_is_loose_is_not_tied_and_the_cpu_stays_taken():
    limits = cpu.limits()
    placed = cpu.place(1, limits=cpu.Limits(affinity=limits.affinity))

    def mask():
        return frozenset(os.sched_getaffinity(0))

    def work():
        with placed.pin(0) as pin:
            own = frozenset({pin.cpu})
            seen = [mask(), in_thread(mask)]
            assert pin.loosen()
            assert cpu.pinned_cpus() == own
            seen += [mask(), in_thread(mask)]
            pin.tighten()
            return [m == own for m in seen] + [m == limits.affinity for m in seen] + [mask() == own]

    assert in_thread(work) == [True, True, False, False, False, False, True, True, True]
    assert not cpu.pinned_cpus()
    unpinned = cpu.Pin(None, "not placed", None)
    assert not unpinned.loosen()
    unpinned.tighten()


@linux
@two_cpus
@pytest.mark.parametrize("delay", [ms(0), ms(1)])
def test_threads_that_startup_starts_may_run_everywhere_and_the_worker_then_sits_on_its_cpu(delay):
    class Starter(Reactor):
        again = LogicalAction()

        @reaction(startup)
        def on_startup(self, again):
            self.masks = [in_thread(lambda: frozenset(os.sched_getaffinity(0)))]
            again.schedule(delay)

        @reaction(again)
        def on_again(self):
            self.masks.append(frozenset(os.sched_getaffinity(0)))

    allowed = frozenset(os.sched_getaffinity(0))
    run = Program(Starter()).start(workers=1, placement=[min(allowed)], fast=True)
    run.result()
    assert run.instance("starter").masks == [allowed, frozenset({min(allowed)})]


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux only")
@pytest.mark.parametrize("nice", [None, 0, 3])
def test_workers_stand_back_as_far_as_asked_and_nobody_else_does(nice):
    class Look(Reactor):
        @reaction(startup)
        def on_startup(self):
            self.seen = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    program = Program(Look)
    program.run(workers=1, nice=nice)
    assert program.last_run.instance("look").seen == min(mine + (nice or 0), 19)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


@pytest.mark.parametrize("nice", [-1, True, "5"])
def test_a_niceness_that_is_none_is_an_error(nice):
    class Nothing(Reactor):
        pass

    with pytest.raises(RunError, match="nice must be a whole number of at least 0"):
        Program(Nothing).start(nice=nice)


@linux
def test_a_refused_cpu_is_a_reason_and_no_error():
    before = os.sched_getaffinity(0)
    for number in (100_000, -1):
        pin = cpu.pin_current_thread(number)
        assert pin.cpu is None
        assert pin.reason.startswith("the system refused CPU")
        pin.release()
    assert os.sched_getaffinity(0) == before
    assert not cpu.pinned_cpus()


@linux
def test_a_forked_child_of_a_pinned_thread_is_free():
    code = """if 1:
        import os
        from reactornb import cpu
        everywhere = os.sched_getaffinity(0)
        with cpu.pin_current_thread(min(everywhere)):
            child = os.fork()
            free = os.sched_getaffinity(0) == everywhere and not cpu.pinned_cpus()
            if not child:
                os._exit(0 if free else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert len(os.sched_getaffinity(0)) == 1
        assert os.sched_getaffinity(0) == everywhere
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30, check=True)


HOLDS = """if 1:
    import sys, threading
    from reactornb import cpu

    def work(number):
        with cpu.pin_current_thread(number):
            ready.wait()
            sys.stdin.read()

    numbers = [int(word) for word in sys.argv[2:]]
    ready = threading.Barrier(len(numbers) + 1)
    for number in numbers:
        threading.Thread(target=work, args=(number,), name=f"{sys.argv[1]}-{number}").start()
    ready.wait()
    print("ready", flush=True)
"""


@contextlib.contextmanager
def another_process(name: str, *cpus: int) -> Iterator[set[int]]:
    """A process whose threads of that name are pinned to these CPUs; gives what others see of it."""
    command = [sys.executable, "-c", HOLDS, name, *map(str, cpus)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield _pinning._pins_of(str(process.pid), os.getuid())


named = pytest.mark.skipif(sys.version_info < (3, 14), reason="threads have no names that the system knows")


@linux
@two_cpus
@named
def test_two_processes_do_not_share_a_cpu_while_another_is_free(monkeypatch):
    mine = sorted(os.sched_getaffinity(0))
    with another_process("somebody", mine[0]) as seen:
        assert seen == set()
    with another_process("reactornb-run", mine[0]) as seen:
        assert seen == {mine[0]}
        assert seen <= pinned_elsewhere()
        monkeypatch.setattr(_placement, "pinned_elsewhere", lambda: frozenset(seen))
        (chosen,) = cpu.place(1).cpus
        assert chosen is not None
        assert chosen.id != mine[0]
        assert cpu.place(1).is_roomy
        assert not cpu.place(len(mine)).is_roomy


@linux
@named
def test_where_another_process_has_all_cpus_workers_are_left_to_the_system(monkeypatch):
    mine = sorted(os.sched_getaffinity(0))
    with another_process("reactornb-run", *mine):
        monkeypatch.setattr(_placement, "pinned_elsewhere", pinned_elsewhere)
        placed = cpu.place(1)
    assert placed.describe() == "1 worker: unpinned"
    assert not placed.is_roomy


@linux
@two_cpus
@pytest.mark.parametrize("listed", [False, True])
def test_a_worker_whose_cpu_was_taken_during_its_startup_stays_loose_unless_it_was_asked_for(listed, monkeypatch):
    own = min(os.sched_getaffinity(0))
    placed = cpu.place(1, [own] if listed else "performance")

    def work():
        with placed.pin(0) as pin:
            pin.loosen()
            monkeypatch.setattr(_pinning, "pinned_elsewhere", lambda: frozenset({pin.cpu}))
            pin.tighten()
            return os.sched_getaffinity(0)

    assert in_thread(work) == ({own} if listed else placed.allowed)


class FakeLibSystem:
    """What macOS keeps for a thread."""

    def __init__(self, refuse: bool = False) -> None:
        self.qos, self.refuse = 0x15, refuse

    def qos_class_self(self) -> int:
        return self.qos

    def pthread_set_qos_class_self_np(self, qos: int, priority: int) -> int:
        if self.refuse:
            return 1
        self.qos = qos
        return 0


def test_macos_gets_a_quality_of_service_class_and_its_own_back(monkeypatch):
    system = FakeLibSystem()
    monkeypatch.setattr(_pinning, "_load_libsystem", lambda: system)
    performance, efficiency = a_cpu(0, "performance"), a_cpu(15, "efficiency")
    for one, qos in ((performance, 0x19), (efficiency, 0x11)):
        with _pinning._pin_macos(one) as pin:
            assert system.qos == qos
            assert pin.cpu is None
            assert pin.reason == f"macOS chooses the core; quality of service set for {one.kind} cores"
        assert system.qos == 0x15


@pytest.mark.parametrize("system", [None, FakeLibSystem(refuse=True)])
def test_macos_without_the_call_or_the_permission_goes_on_unpinned(monkeypatch, system):
    monkeypatch.setattr(_pinning, "_load_libsystem", lambda: system)
    assert _pinning._pin_macos(a_cpu(0, "performance")).cpu is None


class FakeKernel32:
    """What Windows keeps for a thread: the ids of its selected CPU sets."""

    def __init__(self, selected: tuple[int, ...] = ()) -> None:
        self.selected = selected

    def GetCurrentThread(self) -> int:  # noqa: N802 - Windows's name
        return -2

    def GetThreadSelectedCpuSets(self, thread, held, room, count) -> int:  # noqa: N802
        for place, number in enumerate(self.selected):
            held[place] = number
        count._obj.value = len(self.selected)
        return 1

    def SetThreadSelectedCpuSets(self, thread, chosen, count) -> int:  # noqa: N802
        self.selected = tuple(chosen[:count]) if count else ()
        return 1


@pytest.mark.parametrize("before", [(), (256, 258)])
def test_windows_gets_the_cpu_set_and_its_own_back(monkeypatch, before):
    kernel32 = FakeKernel32(before)
    monkeypatch.setattr("reactornb.cpu._windows.load_kernel32", lambda: kernel32)
    with _pinning._pin_windows(a_cpu(13, "efficiency")) as pin:
        assert kernel32.selected == (269,)
        assert pin.cpu == 13
    assert kernel32.selected == before
