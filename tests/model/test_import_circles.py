"""No module imports another one in a circle, and the contract in pyproject.toml notices a new circle of each kind."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp")  # import-linter brings it

ROOT = Path(__file__).parents[2]
CONTRACT = "No module or package imports another one in a circle"


def contract() -> dict:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(c for c in contracts if c["name"] == CONTRACT)


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others (Tarjan)."""
    number: dict[str, int] = {}
    least: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = least[module] = len(number)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in number:
                visit(other)
                least[module] = min(least[module], least[other])
            elif other in stack:
                least[module] = min(least[module], number[other])
        if least[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for module in sorted(imports):
        if module not in number:
            visit(module)
    return groups


def imports_of(*packages: str) -> dict[str, set[str]]:
    graph = grimp.build_graph(*packages, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


@pytest.mark.slow  # it parses the whole package
def test_no_module_of_the_package_imports_another_in_a_circle_not_even_through_an_init():
    assert circles(imports_of("reactornb", "reactornb_magics")) == []


PLANTED = {
    "at the top": {"a.py": "import planted.b", "b.py": "import planted.a"},
    "for type checkers": {
        "a.py": "from planted.b import x",
        "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from planted.a import y\nx = 1",
    },
    "in a function": {"a.py": "from planted.b import x", "b.py": "def x():\n    from planted.a import y"},
    "of three": {"a.py": "import planted.b", "b.py": "import planted.c", "c.py": "import planted.a"},
    "of packages": {
        "one/__init__.py": "",
        "one/a.py": "import planted.two.a",
        "one/b.py": "",
        "two/__init__.py": "",
        "two/a.py": "",
        "two/b.py": "import planted.one.b",
    },
}


@pytest.mark.slow  # a process of import-linter for each
@pytest.mark.parametrize("files", [*PLANTED.values(), None], ids=[*PLANTED, "none"])
def test_the_contract_notices_a_circle(files, tmp_path):
    package = tmp_path / "planted"
    for name, text in {"__init__.py": "", "d.py": "", "e.py": "import planted.d", **(files or {})}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    kept = {k: v for k, v in contract().items() if k in ("name", "type", "depth")}
    lines = [f"{key} = {value!r}" for key, value in kept.items()] + ['ancestors = ["planted"]']
    (tmp_path / "config.toml").write_text(
        '[tool.importlinter]\nroot_package = "planted"\n[[tool.importlinter.contracts]]\n' + "\n".join(lines)
    )
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    command = [sys.executable, "-c", lint, "--config", "config.toml", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (files is None), done.stdout + done.stderr


def test_a_circle_through_an_init_is_found(tmp_path, monkeypatch):
    package = tmp_path / "through_an_init"
    package.mkdir()
    (package / "__init__.py").write_text("from through_an_init.a import x")
    (package / "a.py").write_text("def x():\n    from through_an_init import y")
    (package / "b.py").write_text("import through_an_init.a")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert circles(imports_of("through_an_init")) == [["through_an_init", "through_an_init.a"]]
