"""One thread an operation: BLAS and torch in reactions, whenever torch arrives and whoever made the thread.

BLAS is NumPy's own. Torch is a stand-in here, with torch's rules for its numbers and an import that takes its time; the real one is
tested in tests/rl/test_one_thread.py. Each program runs in a process of its own: there is one torch, and one BLAS, in a process.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

TORCH = """
    import threading, time
    _default, _mine = [3], threading.local()
    time.sleep(0.1)

    class _C:
        pass

    def get_num_threads():
        if not hasattr(_mine, "number"):
            _mine.number = _default[0]
        return _mine.number

    time.sleep(0.1)

    def set_num_threads(number):
        _mine.number = _default[0] = number

    def set_num_interop_threads(number):
        _C.interop = number

    _C.set_num_threads = staticmethod(set_num_threads)
"""

HEAD = """
    import json, sys, threading
    import numpy as np, threadpoolctl
    from reactornb import Bank, Input, Output, Program, Reactor, Timer, connect, enclave, ms, reaction, startup

    def blas():
        return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]

    def in_a_thread(ask):
        found = []
        thread = threading.Thread(target=lambda: found.append(ask()))
        thread.start()
        thread.join()
        return found[0]

    class Member(Reactor):
        t = Timer(0, ms(1))
        inp = Input()
        out = Output()

        @reaction(startup)
        def on_startup(self):
            import torch
            self.seen = [torch.get_num_threads()]
            self.nested = in_a_thread(torch.get_num_threads)

        @reaction(t)
        def on_t(self, out):
            import torch
            self.seen.append(torch.get_num_threads())
            self.blas = blas()
            out.set(1)

        @reaction(inp)
        def on_inp(self):
            import torch
            self.seen.append(torch.get_num_threads())

    class Main(Reactor):
        members = Bank(Member, 4)
        apart = Member()
        def compose(self):
            enclave(self.apart)
            connect(self.members[0].out, self.apart.inp, after=ms(1))

    def every(run):
        return [run.instance(name) for name in ("apart", *(f"members[{i}]" for i in range(4)))]
"""


@pytest.fixture
def told(tmp_path):
    """Runs a program beside the stand-in for torch, on two BLAS threads, and returns what its last line says."""
    (tmp_path / "torch.py").write_text(textwrap.dedent(TORCH))

    def run(body, **env):
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(HEAD) + textwrap.dedent(body))
        done = subprocess.run(
            [sys.executable, str(file)], env={**os.environ, "OPENBLAS_NUM_THREADS": "2", **env},
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 8])
def test_torch_that_arrives_in_several_reactions_at_once_has_one_thread_in_all_of_them(told, workers):
    found = told(f"""
        run = Program(Main).start(workers={workers}, until=ms(5), fast=True)
        run.result()
        import torch
        print(json.dumps([
            [set(m.seen) == {{1}} and len(m.seen) > 6 for m in every(run)], [m.nested for m in every(run)],
            [m.blas for m in every(run)], run.warnings, torch.get_num_threads(), in_a_thread(torch.get_num_threads), blas()
        ]))
    """)
    in_reactions, nested, in_run, warnings, caller, default, after = found
    assert in_reactions == [True] * 5
    assert nested == [1] * 5, "threads that a reaction makes compute for it"
    assert in_run == [[1]] * 5
    assert warnings == []
    assert (caller, default, after) == (3, 3, [2]), "as before, once nothing runs"


@pytest.mark.slow
def test_a_reaction_that_asks_for_more_threads_is_told_where_and_does_not_get_them(told, tmp_path):
    words, numbers, after = told("""
        import torch
        class Greedy(Reactor):
            t = Timer(0, ms(1))
            @reaction(t)
            def on_t(self):
                torch.set_num_threads(1)  # what it has
                torch.set_num_threads(2)
                torch._C.set_num_threads(2)
                torch.set_num_interop_threads(5)
                with threadpoolctl.threadpool_limits(2):
                    self.numbers = [torch.get_num_threads(), *blas()]
        class Both(Reactor):
            greedy = Bank(Greedy, 2)
        run = Program(Both).start(workers=2, until=ms(3), fast=True)
        run.result()
        print(json.dumps([run.warnings, run.instance("greedy[1]").numbers, [torch.get_num_threads(), *blas()]]))
    """)
    assert numbers == [1, 1]
    assert after == [3, 2]
    assert len(words) == 4, "once for each line, however often it runs and whichever member comes first"
    lines = (tmp_path / "program.py").read_text().splitlines()
    first = next(i for i, line in enumerate(lines, 1) if "set_num_threads(2)" in line)
    for said, line, asked in zip(
        words, range(first, first + 4), ("threads(2)", "threads(2)", "interop_threads(5)", "limit of 2"), strict=True
    ):
        assert f"program.py, line {line})" in said
        assert "greedy[" in said
        assert ".on_t " in said
        assert asked in said


@pytest.mark.slow
def test_what_a_cell_asks_of_blas_during_a_run_holds_after_it(told):
    during, within, left, hidden, after = told("""
        class Steady(Reactor):
            t = Timer(0, ms(1))
            @reaction(t)
            def on_t(self):
                self.blas = blas()
        from reactornb.runtime import intraop
        run = Program(Steady).start(workers=2)
        during = blas()
        with threadpoolctl.threadpool_limits(1):
            within = blas()
        left = blas()
        threadpoolctl.threadpool_limits(3)
        hidden = [library.get() for library in intraop._process]
        run.stop()
        print(json.dumps([during, within, left, hidden, blas()]))
    """)
    assert (during, within, left) == ([2], [1], [2]), "a cell sees its own number, and its block ends as it began"
    assert hidden == [1], "the run's reactions go on with one"
    assert after == [3]


def matrices(**options):
    return f"""
        class Multiply(Reactor):
            t = Timer(0, ms(1))
            out = Output()
            @reaction(t)
            def on_t(self, out):
                a = self.rng.standard_normal((300, 300))
                out.set(np.linalg.inv(a @ a.T + np.eye(300)))
        class Several(Reactor):
            of = Bank(Multiply, 4)
        def alone():
            a = np.random.default_rng(0).standard_normal((300, 300))
            return float((a @ np.linalg.inv(a @ a.T + np.eye(300))).sum())
        run = Program(Several).start(until=ms(3), fast=True, fingerprint=True, **{options!r})
        print(json.dumps([run.result().fingerprint, alone()]))
    """


@pytest.mark.slow
def test_products_of_matrices_are_the_same_on_one_core_and_on_two(told):
    """300 times 300 is shared out by OpenBLAS, with other sums for each number of threads."""
    found = [
        told(matrices(workers=workers), OPENBLAS_NUM_THREADS=threads)
        for workers, threads in [(1, "1"), (1, "2"), (2, "2")]
    ]
    assert len({fingerprint for fingerprint, _ in found}) == 1


@pytest.mark.slow
def test_a_team_computes_alone_and_its_caller_as_before(told):
    inside, outside = told("""
        from reactornb.runtime.team import Call, Team
        import torch
        torch.set_num_threads(4)
        inside, outside = [], []
        team = Team(2, "test")
        barrier = threading.Barrier(2)
        def call():
            barrier.wait(20)
            inside.append([torch.get_num_threads(), *blas()])
        job = team.job([Call(call), Call(call)])
        for _ in range(2):
            job()
            outside.append([torch.get_num_threads(), *blas()])
        team.close()
        print(json.dumps([inside, outside]))
    """)
    assert inside == [[1, 1]] * 4
    assert outside == [[4, 2]] * 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_team_holds_blas_at_one_until_it_is_closed_or_forgotten_also_in_a_forked_child(told, workers):
    numbers, child = told(f"""
        import gc, os, warnings
        from reactornb.runtime import intraop
        from reactornb.runtime.team import Call, Team
        warnings.simplefilter("ignore")  # of a fork beside threads
        def plain():
            return [library.get() for library in intraop._process]
        first, second = Team({workers}, "first"), Team({workers}, "second")
        second.job([Call(lambda: None)])()
        numbers = [plain(), blas()]
        reading, writing = os.pipe()
        if not os.fork():
            seen = [plain()]
            first.close()
            seen.append(plain())
            second.close()
            os.write(writing, json.dumps([*seen, plain()]).encode())
            os._exit(0)
        child = json.loads(os.read(reading, 1000))
        os.wait()
        first.close()
        first.close()
        numbers.append(plain())
        del second
        gc.collect()
        numbers.append(plain())
        print(json.dumps([numbers, child]))
    """)
    assert numbers == [[1], [2], [1], [2]], "limited, reported as the caller's own, still limited, given back"
    assert child == [[1], [1], [2]]


@pytest.mark.slow
def test_a_hold_that_ends_while_the_count_is_locked_is_taken_off_by_who_holds_the_lock(told):
    assert told("""
        from reactornb.runtime import intraop
        intraop.hold()
        with intraop._lock:
            intraop.release()  # as a finalizer does that the garbage collector calls here
            counts = [intraop._holds]
        intraop.enter()
        intraop.end_thread()
        print(json.dumps([*counts, intraop._holds, blas()]))
    """) == [1, 0, [2]]


@pytest.mark.slow
def test_runs_that_overlap_give_blas_back_when_the_last_one_ends(told):
    assert told("""
        class Idle(Reactor):
            t = Timer(0, ms(1))
            @reaction(t)
            def on_t(self):
                pass
        import torch
        first, second = Program(Idle).start(workers=2), Program(Idle).start(workers=1)
        from reactornb.runtime import intraop
        plain = [library.get for library in intraop._process]
        numbers = [[get() for get in plain]]
        first.stop()
        numbers.append([get() for get in plain])
        second.stop()
        numbers.append([get() for get in plain])
        print(json.dumps([numbers, in_a_thread(torch.get_num_threads)]))
    """) == [[[1], [1], [2]], 3]
