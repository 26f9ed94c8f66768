"""Topology, limits and placement on recorded machines (tests/topologies); how threads are pinned is in test_cpu_pinning."""

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactornb import cpu
from reactornb.cpu import _kinds
from reactornb.errors import PlacementError, ReactorError

RECORDED = Path(__file__).parent / "topologies"
MACHINES = sorted(path.stem for path in RECORDED.glob("*.json"))
FREE = cpu.Limits()  # no mask, no quota

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's files")


def write_machine(name: str, root: Path) -> Path:
    """Lay a recorded machine out as files below `root`.

    In a path, `cpu{0-7}` stands for eight files; their contents are one text for all, or a list of eight.
    """
    record = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    for pattern, content in record["files"].items():
        found = re.search(r"\{(\d+)-(\d+)\}", pattern)
        paths = [pattern]
        if found:
            paths = [pattern.replace(found[0], str(n)) for n in range(int(found[1]), int(found[2]) + 1)]
        texts = content if isinstance(content, list) else [content] * len(paths)
        for path, text in zip(paths, texts, strict=True):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
            if path.endswith(("_list", "/cpulist")):  # the kernel writes each set as a mask, too, and hwloc reads those
                mask = f"{sum(1 << one for one in cpu.parse_ids(text)):032x}"
                words = ",".join(mask[start : start + 8] for start in range(0, 32, 8))
                (root / path.replace("cpulist", "cpumap").removesuffix("_list")).write_text(words, encoding="utf-8")
    if "cpu_sets" in record:
        rows = zip(*record["cpu_sets"].values(), strict=True)
        (root / "cpu-sets.bin").write_bytes(
            b"".join(struct.pack("<IIIHBBBBB13x", 32, 0, 256 + n, 0, n, core, 0, 0, strong) for n, core, strong in rows)
        )
    return root


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    roots: dict[str, Path] = {}

    def root(name: str) -> Path:
        if name not in roots:
            roots[name] = write_machine(name, tmp_path_factory.mktemp(name))
        return roots[name]

    return root


@pytest.fixture(scope="module")
def recorded(machine: Callable[[str], Path]) -> Callable[[str], cpu.Topology]:
    return lambda name: cpu.topology(machine(name))


# Topology


@pytest.mark.parametrize("name", MACHINES)
def test_every_record_says_which_machine_it_is_and_where_its_figures_come_from(name):
    record = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    assert record["machine"]
    assert len(record["source"]) > 10


@pytest.mark.parametrize(
    ("name", "described", "kinds"),
    [
        (
            "i9-13900k",
            "8 performance cores (16 threads), 16 efficiency cores",
            {"performance": "0-15", "efficiency": "16-31"},
        ),
        (
            "i7-1370p",
            "6 performance cores (12 threads), 8 efficiency cores",
            {"performance": "0-11", "efficiency": "12-19"},
        ),
        (
            "ultra9-185h",
            "6 performance cores (12 threads), 8 efficiency cores, 2 low-power cores",
            {"performance": "0-11", "efficiency": "12-19", "low-power": "20-21"},
        ),
        (
            "ryzen-ai-9-hx-370",
            "4 performance cores (8 threads), 8 efficiency cores (16 threads)",
            {"performance": "0-3,12-15", "efficiency": "4-11,16-23"},
        ),
        ("rk3588", "4 performance cores, 4 efficiency cores", {"performance": "4-7", "efficiency": "0-3"}),
        (
            "nvidia-gb10",
            "10 performance cores, 10 efficiency cores",
            {"performance": "5-9,15-19", "efficiency": "0-4,10-14"},
        ),
        ("2x-xeon-4108", "16 cores (32 threads), 2 sockets, 2 NUMA nodes", {"performance": "0-31"}),
        ("2x-kunpeng-920", "128 cores, 2 sockets, 4 NUMA nodes", {"performance": "0-127"}),
        ("vm-2-cores", "2 cores", {"performance": "0-1"}),
        ("apple-m1-pro", "8 performance cores, 2 efficiency cores", {"performance": "0-7", "efficiency": "8-9"}),
        ("apple-m3-max", "12 performance cores, 4 efficiency cores", {"performance": "0-11", "efficiency": "12-15"}),
        ("apple-m5-max", "18 cores", {"performance": "0-17"}),
        ("intel-mac", "6 cores (12 threads)", {"performance": "0-11"}),
        (
            "windows-i5-14600k",
            "6 performance cores (12 threads), 8 efficiency cores",
            {"performance": "0-11", "efficiency": "12-19"},
        ),
    ],
)
def test_the_kinds_of_core_of_recorded_machines(recorded, name, described, kinds):
    found = recorded(name)
    assert found.describe() == described
    assert {kind: cpu.format_ids(one.id for one in cpus) for kind, cpus in found.by_kind().items()} == kinds


def test_siblings_are_those_the_system_names_and_not_neighbouring_numbers(recorded):
    found = recorded("ultra9-185h")
    assert found.cpu(0).core == found.cpu(5).core
    assert (found.cpu(0).smt_rank, found.cpu(5).smt_rank) == (0, 1)
    assert found.cpu(1).core == found.cpu(2).core != found.cpu(0).core
    assert [found.cpu(number).label for number in (0, 1, 3, 6, 12, 20)] == ["P0", "P1", "P2", "P3", "E0", "LP0"]


def test_windows_cpus_carry_the_id_of_their_cpu_set(recorded):
    assert recorded("windows-i5-14600k").cpu(13).native_id == 269


@pytest.mark.parametrize(
    ("strengths", "groups"),
    [
        ([5_800, 5_500, 5_800], [0, 0, 0]),  # favoured cores
        ([5_250, 5_750], [0, 0]),  # Ryzen 9 7950X3D: two sizes of cache
        ([231, 226, 221, 216, 211, 206, 196, 186, 176, 166], [0] * 10),  # a ladder of AMD's preferred cores
        ([4_900, 3_500], [0, 1]),  # Ryzen 5 7545U
        ([1024, 900, 280], [0, 0, 1]),  # three clusters of a telephone, of which two are big
        ([4_800, 3_800, 2_500], [0, 1, 2]),
    ],
)
def test_a_kind_ends_at_a_gap_in_strength(strengths, groups):
    assert _kinds._split(strengths) == groups


def test_without_system_files_the_cpus_are_counted(tmp_path):
    found = cpu.topology(tmp_path)
    assert found.source == "count"
    assert len(found.cpus) >= 1
    assert {one.kind for one in found.cpus} == {"performance"}


def test_offline_cpus_are_left_out(tmp_path):
    root = write_machine("rk3588", tmp_path)
    (root / "sys/devices/system/cpu/online").write_text("0-5,7")
    assert cpu.format_ids(cpu.topology(root).ids) == "0-5,7"


HWLOC_SEES = [
    "i9-13900k",
    "i7-1370p",
    "ultra9-185h",
    "ryzen-ai-9-hx-370",
    "nvidia-gb10",
    "2x-xeon-4108",
    "2x-kunpeng-920",
]


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", HWLOC_SEES)
def test_hwloc_and_the_systems_files_agree(machine, recorded, name):
    pytest.importorskip("pyhwloc")
    # In a process of its own: hwloc reads another root only if the environment says so when its library is first used.
    code = """if 1:
        from reactornb import cpu
        found = cpu.topology(reader="hwloc")
        print(found.source, [(c.id, c.core, c.package, c.node, c.kind, c.index, c.smt_rank) for c in found.cpus])
    """
    root = machine(name)
    (root / "proc").mkdir(exist_ok=True)
    env = {**os.environ, "HWLOC_FSROOT": str(root), "HWLOC_COMPONENTS": "linux,stop", "HWLOC_THISSYSTEM": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)
    expected = [(c.id, c.core, c.package, c.node, c.kind, c.index, c.smt_rank) for c in recorded(name).cpus]
    assert done.stdout.strip() == f"hwloc {expected}"


def test_hwloc_tells_the_kinds_that_the_processor_states_itself():
    pyhwloc = pytest.importorskip("pyhwloc")
    from reactornb.cpu._hwloc import read_loaded

    with pyhwloc.Topology.from_synthetic("core:3 pu:2") as found:
        from pyhwloc.bitmap import Bitmap

        for ids, kind in (([0, 1], "IntelCore"), ([2, 3], "IntelAtom"), ([4, 5], "IntelLowPower")):
            found.get_cpukinds().register(Bitmap.from_pyseq(ids), -1, {"CoreType": kind})
        read = read_loaded(found)
    assert read is not None
    assert [one.kind for one in read.cpus] == ["performance"] * 2 + ["efficiency"] * 2 + ["low-power"] * 2


@linux
@pytest.mark.slow
def test_reading_this_machine_leaves_the_thread_where_it_was_and_the_gil_as_it_was():
    code = """if 1:
        import os, sys
        gil = getattr(sys, "_is_gil_enabled", lambda: True)
        before = gil(), os.sched_getaffinity(0)
        from reactornb import cpu
        lean = {"ctypes", "pyhwloc", "subprocess"}.isdisjoint(sys.modules)
        found = cpu.topology()
        assert set(os.sched_getaffinity(0)) <= found.ids, found
        assert (gil(), os.sched_getaffinity(0)) == before
        assert lean, sorted(sys.modules)
        system = cpu.topology(reader="system")
        print([(c.id, c.core, c.node, c.smt_rank) for c in found.cpus] == [(c.id, c.core, c.node, c.smt_rank) for c in system.cpus])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


@pytest.mark.parametrize("text", ["", "0", "0-2,5", "1,3,5-6"])
def test_lists_of_ids_are_read_and_written_alike(text):
    assert cpu.format_ids(cpu.parse_ids(text)) == text


# Limits


@pytest.mark.parametrize(
    ("name", "described", "usable", "workers"),
    [
        ("vm-2-cores", "affinity 0-1; no cgroup quota", "0-1", 2),
        ("container-v2", "affinity 0-31; cgroup quota 1.5 CPUs (/sys/fs/cgroup/cpu.max)", "0-31", 2),
        (
            "container-v1",
            "affinity 4-7; cgroup quota 1.5 CPUs (/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us)",
            "4-7",
            2,
        ),
        (
            "pod-v2-nested",
            "affinity 0-7; cgroup quota 3 CPUs (/sys/fs/cgroup/user.slice/cpu.max)",
            "0-7",
            3,
        ),
        ("2x-xeon-4108", "no affinity mask; no cgroup quota", "0-31", 16),
    ],
)
def test_limits_of_recorded_processes(machine, name, described, usable, workers):
    found, machine_ = cpu.limits(machine(name)), cpu.topology(machine(name))
    assert found.describe() == described
    assert cpu.format_ids(cpu.usable_cpus(machine_, found)) == usable
    assert cpu.default_workers(machine_, found) == workers


@pytest.mark.parametrize(
    ("quota", "workers"), [(None, 8), (0.5, 1), (1.0, 1), (1.5, 2), (1.01, 2), (7.9, 8), (30.0, 8)]
)
def test_the_default_is_one_worker_a_performance_core_and_a_quota_is_rounded_up(recorded, quota, workers):
    assert cpu.default_workers(recorded("i9-13900k"), cpu.Limits(quota=quota)) == workers


@pytest.mark.parametrize(
    ("workers", "quota", "placement", "roomy"),
    [
        (2, None, "performance", True),
        (2, None, "none", True),
        (3, None, "performance", False),
        (2, 1.5, "performance", False),
        (2, 1.5, "none", False),
        (2, 1.5, [0, 1], False),
        (2, 2.0, [0, 1], True),
    ],
)
def test_there_is_room_where_each_worker_has_a_cpu_all_of_the_time(recorded, workers, quota, placement, roomy):
    machine = recorded("vm-2-cores")
    assert cpu.place(workers, placement, topology=machine, limits=cpu.Limits(quota=quota)).is_roomy == roomy


def test_a_mask_without_performance_cores_counts_the_best_there_are(recorded):
    assert cpu.default_workers(recorded("i9-13900k"), cpu.Limits(affinity=frozenset(range(20, 24)))) == 4


@pytest.mark.parametrize("content", ["", "max", "max 100000", "150000 0", "nonsense", "-1 100000"])
def test_a_quota_that_says_nothing_is_none(tmp_path, content):
    root = write_machine("container-v2", tmp_path)
    (root / "sys/fs/cgroup/cpu.max").write_text(content)
    assert cpu.limits(root).quota is None


def test_limits_that_cannot_be_read_count_as_none(tmp_path):
    assert cpu.limits(tmp_path) == FREE


def test_a_cgroup_outside_what_is_mounted_ends_at_the_mount_point(tmp_path):
    root = write_machine("container-v2", tmp_path)
    (root / "proc/self/cgroup").write_text("0::/../../elsewhere\n")
    assert cpu.limits(root).quota == 1.5


# Placement


def ids(placed: cpu.Placement) -> list[int | None]:
    return [one.id if one else None for one in placed.cpus]


@pytest.mark.parametrize(
    ("name", "workers", "placement", "described", "first"),
    [
        ("i9-13900k", 1, "performance", "1 worker: P0", [0]),
        ("i9-13900k", 8, "performance", "8 workers: P0-P7", [0, 2, 4, 6, 8, 10, 12, 14]),
        ("i9-13900k", 12, "performance", "12 workers: P0-P7, P0-P3 (SMT)", None),
        ("i9-13900k", 20, "performance", "20 workers: P0-P7, P0-P7 (SMT), E0-E3", None),
        ("i9-13900k", 40, "performance", "40 workers: P0-P7, P0-P7 (SMT), E0-E15, 8 unpinned", None),
        ("ultra9-185h", 6, "performance", "6 workers: P0-P5", [0, 1, 3, 6, 8, 10]),
        ("ultra9-185h", 22, "performance", "22 workers: P0-P5, P0-P5 (SMT), E0-E7, LP0-LP1", None),
        ("ryzen-ai-9-hx-370", 12, "performance", "12 workers: P0-P3, P0-P3 (SMT), E0-E3", None),
        ("rk3588", 6, "performance", "6 workers: P0-P3, E0-E1", [4, 5, 6, 7, 0, 1]),
        ("apple-m3-max", 14, "performance", "14 workers: P0-P11, E0-E1", None),
        ("2x-xeon-4108", 8, "performance", "8 workers: P0-P7, on node 0", list(range(8))),
        ("2x-xeon-4108", 10, "performance", "10 workers: P0-P9, on nodes 0-1", list(range(10))),
        ("2x-xeon-4108", 17, "performance", "17 workers: P0-P15, P0 (SMT), on nodes 0-1", None),
        ("2x-xeon-4108", 4, "spread", "4 workers: P0-P1, P8-P9, on nodes 0-1", [0, 8, 1, 9]),
        ("2x-kunpeng-920", 5, "spread", "5 workers: P0-P1, P32, P64, P96, on nodes 0-3", [0, 64, 32, 96, 1]),
        ("2x-kunpeng-920", 33, "performance", "33 workers: P0-P32, on nodes 0-1", None),
        ("vm-2-cores", 2, "performance", "2 workers: P0-P1", [0, 1]),
        ("vm-2-cores", 3, "performance", "3 workers: P0-P1, 1 unpinned", [0, 1, None]),
        ("vm-2-cores", 2, "none", "2 workers: unpinned", [None, None]),
        ("vm-2-cores", 2, [1, 0], "2 workers: P0-P1", [1, 0]),
        ("i9-13900k", 2, [17, 1, 3], "2 workers: P0, E1", [17, 1]),
    ],
)
def test_workers_are_placed_best_cores_first(recorded, name, workers, placement, described, first):
    placed = cpu.place(workers, placement, topology=recorded(name), limits=FREE, taken=())
    assert placed.describe() == described
    assert first is None or ids(placed) == first


def test_a_quota_leaves_workers_unpinned_and_says_why_and_what_to_do(machine):
    root = machine("container-v1")
    placed = cpu.place(2, topology=cpu.topology(root), limits=cpu.limits(root))
    assert placed.describe() == "2 workers: unpinned"
    assert placed.reason == (
        "a cgroup quota grants 1.5 of 4 CPUs (/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us), so the cores are shared with "
        "other groups; to pin all the same, list the CPUs: placement=[4, 5]"
    )
    assert ids(cpu.place(2, [4, 5], topology=cpu.topology(root), limits=cpu.limits(root))) == [4, 5]


def test_a_quota_of_all_usable_cpus_is_no_reason_not_to_pin(recorded):
    limits = cpu.Limits(affinity=frozenset({2, 3}), quota=2.0)
    assert ids(cpu.place(2, topology=recorded("2x-xeon-4108"), limits=limits, taken=())) == [2, 3]


def test_a_node_with_room_for_all_workers_comes_before_one_without(recorded):
    limits = cpu.Limits(affinity=frozenset({0, 1, 8, 9, 10, 11}))
    assert ids(cpu.place(4, topology=recorded("2x-xeon-4108"), limits=limits, taken=())) == [8, 9, 10, 11]


def test_a_core_of_which_only_the_second_thread_may_be_used_is_a_whole_core(recorded):
    limits = cpu.Limits(affinity=frozenset({0, 1, 3, 16}))
    assert ids(cpu.place(3, topology=recorded("i9-13900k"), limits=limits, taken=())) == [0, 3, 1]


def test_a_second_run_stays_clear_of_the_first_ones_cpus(recorded):
    found = recorded("i9-13900k")
    held = ids(cpu.place(6, topology=found, limits=FREE, taken=()))
    assert ids(cpu.place(3, topology=found, limits=FREE, taken=held)) == [12, 14, 1]
    assert ids(cpu.place(1, topology=found, limits=FREE, taken=range(32))) == [None]


@pytest.mark.parametrize(
    ("placement", "workers", "message"),
    [
        (
            [9],
            1,
            (
                "placement names CPU 9, which this process may not use: its affinity mask is 0-3. Choose among those, or "
                "widen the mask (taskset, the container's cpuset) and restart"
            ),
        ),
        ([0, 40, 41], 3, "placement names CPU 40-41, but this machine has 0-31 online"),
        (
            [1, 1],
            2,
            "placement names CPU 1 more than once; two workers on one CPU take turns, so give each its own",
        ),
        ([0, 1], 4, "placement lists 2 CPUs for 4 workers; list one for each, or ask for workers=2"),
        ([0.5], 1, "placement=[0.5] must list CPU ids, which are whole numbers"),
        ([True], 1, "placement=[True] must list CPU ids, which are whole numbers"),
        (
            "fast",
            1,
            'placement=\'fast\' is unknown; use "performance", "spread", "none", or a list of CPU ids such as [0, 1]',
        ),
        ("none", 0, "workers=0 is not a number of workers; use 1 or more"),
    ],
)
def test_a_placement_that_cannot_be_says_what_is_wrong_and_what_to_do(recorded, placement, workers, message):
    limits = cpu.Limits(affinity=frozenset(range(4)))
    with pytest.raises(PlacementError) as caught:
        cpu.place(workers, placement, topology=recorded("i9-13900k"), limits=limits)
    assert str(caught.value) == message
    assert isinstance(caught.value, (ReactorError, ValueError))


def test_a_placement_error_carries_its_facts(recorded):
    with pytest.raises(PlacementError) as caught:
        cpu.place(1, [9], topology=recorded("i9-13900k"), limits=cpu.Limits(affinity=frozenset({2, 3})))
    assert (caught.value.cpus, caught.value.allowed) == ((9,), (2, 3))


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_placing_stays_inside_the_mask_and_never_doubles_a_cpu_and_takes_better_kinds_first(recorded, data):
    found = recorded(data.draw(st.sampled_from(MACHINES)))
    every = sorted(found.ids)
    mask = data.draw(st.frozensets(st.sampled_from(every), min_size=1))
    taken = data.draw(st.frozensets(st.sampled_from(every), max_size=len(every) // 2))
    workers = data.draw(st.integers(1, 2 * len(every)))
    policy = data.draw(st.sampled_from(["performance", "spread"]))
    placed = cpu.place(workers, policy, topology=found, limits=cpu.Limits(affinity=mask), taken=taken)
    chosen = [one for one in placed.cpus if one is not None]
    free = mask - taken
    assert len(placed.cpus) == workers
    assert len(chosen) == min(workers, len(free))  # unpinned only when no CPU is free
    assert len({one.id for one in chosen}) == len(chosen)
    assert {one.id for one in chosen} <= free
    assert placed.cpus[: len(chosen)] == tuple(chosen)
    ranks = [("performance", "efficiency", "low-power").index(one.kind) for one in chosen]
    assert ranks == sorted(ranks)
    for kind in ("performance", "efficiency", "low-power"):  # a core's second thread only when every core has one
        cores = {one.core for one in found.cpus if one.kind == kind and one.id in free}
        kinds = [one.core for one in chosen if one.kind == kind]
        assert len(set(kinds)) == min(len(kinds), len(cores)) or taken
    assert placed == cpu.place(workers, policy, topology=found, limits=cpu.Limits(affinity=mask), taken=taken)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_performance_fills_one_node_before_the_next(recorded, data):
    found = recorded(data.draw(st.sampled_from(["2x-xeon-4108", "2x-kunpeng-920"])))
    mask = data.draw(st.frozensets(st.sampled_from(sorted(found.ids)), min_size=1))
    workers = data.draw(st.integers(1, 40))
    placed = cpu.place(workers, topology=found, limits=cpu.Limits(affinity=mask), taken=())
    nodes = [one.node for one in placed.cpus if one is not None]
    if len(set(nodes)) > 1:  # then no node had a whole core for each worker
        cores = {
            node: len({one.core for one in found.cpus if one.node == node and one.id in mask}) for node in found.nodes
        }
        assert max(cores.values()) < workers
    if max(one.smt_rank for one in found.cpus) == 0:
        changes = sum(a != b for a, b in pairwise(nodes))
        assert changes == len(set(nodes)) - 1
