"""What importing and running changes in other packages: no more than CONTRIBUTING.md lists."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LISTED = {"threading.Thread.start"}

# Every attribute of every module and class that is loaded before, and afterwards what is another object.
PROBE = """
import sys
{imports}

def attributes():
    kept = {{}}
    for name, module in list(sys.modules.items()):
        if module is None or name.partition(".")[0] in ("reactornb", "reactornb_magics", "__main__"):
            continue
        for key, value in list(vars(module).items()):
            kept[name, key] = value
            if isinstance(value, type) and value.__module__ == name:
                for inner, part in list(vars(value).items()):
                    if inner not in ("__abstractmethods__", "_abc_impl", "__doc__", "__annotations_cache__", "__annotations__", "__weakref__"):
                        kept[name, key + "." + inner] = part
    return kept

before = attributes()
{work}
after = attributes()
import json, types
changed = []
for at, value in before.items():
    now = after.get(at, value)
    # Counters, caches and flags are state; functions and classes are what a patch changes.
    if now is not value and (callable(now) or callable(value) or isinstance(now, property)):
        changed.append(".".join(at))
print(json.dumps(changed))
"""

CASES = {
    "the declarations": ("import threading, inspect, contextlib, linecache, traceback, logging", "import reactornb", set()),
    "a run": (
        "import threading, inspect, contextlib, linecache, traceback, logging, random, numpy, warnings, copy, io",
        ("from reactornb import *\n"
        "class Main(Reactor):\n    @reaction(startup)\n    def on_startup(self): self.log(x=1)\n"
        "result = Program(Main).run(workers=2)\nimport reactornb.viz.dot, reactornb.loading, reactornb.testing"),
        LISTED,
    ),
    "the magics, loaded and unloaded": (
        ("import threading, inspect, contextlib, linecache, traceback, logging, numpy\n"
        "import IPython.core.interactiveshell, IPython.core.oinspect, IPython.core.ultratb, IPython.utils.capture\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from traitlets.config import Config\nconfig = Config()\nconfig.HistoryManager.enabled = False\n"
        "shell = InteractiveShell.instance(config=config)"),
        ("shell.run_line_magic('load_ext', 'reactornb')\n"
        "shell.run_cell('%%reactor Main\\n@reaction(startup)\\ndef go(self): ...')\n"
        "shell.run_cell('run = %reactor start Main -w 1\\nrun.result()')\n"
        "shell.run_line_magic('unload_ext', 'reactornb')"),
        LISTED,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_patched_but_what_is_listed(case):
    imports, work, allowed = CASES[case]
    if "IPython" in imports:
        pytest.importorskip("IPython")
    ran = subprocess.run(
        [sys.executable, "-c", PROBE.format(imports=imports, work=work)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    changed = set(json.loads(ran.stdout.splitlines()[-1]))
    assert {name for name in changed if not name.startswith("_")} == allowed


def test_the_list_names_the_modules_that_do_it():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("## Changes of other packages")[1].split("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    for row in rows:
        where = row.split("|")[2].strip().strip("`")
        assert (ROOT / "reactornb" / where).is_file(), row
    assert {"threading.Thread.start"} <= {part for row in rows for part in row.split("`")}
