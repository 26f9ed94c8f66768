"""Where things may be taken from: tests share helpers of their own, and nothing takes any from the benchmarks. And how long modules may be."""

import ast
from pathlib import Path
from statistics import median

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "reactornb"
MOST_LINES, MEDIAN_BELOW = 500, 250
# Tests of benchmarks outside their folder: what they test needs torch or ALE, and how those are loaded is said there.
OF_BENCHMARKS = {
    "rl/test_coming_from.py",
    "rl/test_bench_learning.py",
    "rl/test_bench_shards.py",
    "rl/test_bench_train.py",
    "rl/test_atari.py",
}


def imported(path):
    """The modules that a file imports, at its top or anywhere else."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of_bench(folder):
    files = (path for path in folder.rglob("*.py") if "bench" not in path.relative_to(folder).parts)
    return {
        path.relative_to(folder).as_posix()
        for path in files
        if any(name == "reactornb.bench" or name.startswith("reactornb.bench.") for name in imported(path))
    }


def test_nothing_of_the_package_imports_a_benchmark():
    assert importers_of_bench(PACKAGE) == set()


def test_only_tests_of_benchmarks_import_them():
    assert importers_of_bench(TESTS) == OF_BENCHMARKS


def test_a_module_fits_one_sitting():
    lengths = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}, "split it along its purposes"
    assert median(lengths.values()) < MEDIAN_BELOW
