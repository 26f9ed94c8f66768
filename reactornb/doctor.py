"""`reactornb doctor`: checks of this machine and environment, and how to fix what is wrong.

A check returns findings and changes nothing. What could change this process (importing an extension that turns the GIL on) is done in
a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

__all__ = ["Build", "Finding", "build", "examine", "main"]

State = Literal["ok", "note", "warning", "broken"]
MARKS: dict[State, str] = {"ok": "ok", "note": "--", "warning": "!!", "broken": "XX"}
KERNEL = "reactornb"

# Distribution -> the extra that needs it; "" is the core, without which nothing runs.
WANTED = {
    "numpy": "",
    "lark": "",
    "pyhwloc": "",
    "ipykernel": "notebook",
    "jupyterlab": "notebook",
    "ipywidgets": "notebook",
    "anywidget": "notebook",
    "matplotlib": "notebook",
    "nbclient": "notebook",
    "nbconvert": "notebook",
    "gymnasium": "rl",
    "torch": "rl",
    "pytest": "test",
    "playwright": "test",
}

# Import -> a statement that loads its compiled parts. torch loads triton's when the first optimizer is made.
COMPILED = {
    "numpy": "import numpy.random, numpy.linalg",
    "torch": "import torch; torch.optim.Adam([torch.zeros(1, requires_grad=True)])",
    "gymnasium": "import gymnasium; gymnasium.make('CartPole-v1')",
    "ale_py": "import ale_py",
    "pyhwloc": "import pyhwloc",
    "matplotlib": "from matplotlib.backends import backend_agg",
    "pandas": "import pandas",
    "pyarrow": "import pyarrow",
    "h5py": "import h5py",
    "zmq": "import zmq",
    "tornado": "import tornado.speedups",
    "psutil": "import psutil",
    "playwright": "import playwright.sync_api",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    Attributes:
        name: of what was checked.
        state: "ok"; "note" for information; "warning" for what costs speed or comfort; "broken".
        words: the result, one sentence.
        fix: what to do about it; "" if nothing has to be done.
        facts: the same as data.
    """

    name: str
    state: State
    words: str
    fix: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def examine() -> list[Finding]:
    """Run all checks; takes a few seconds, most of them for imports in other processes."""
    findings: list[Finding] = []
    for check in (_interpreter, _gil, _cores, _packages, _atari, _graphviz, _chromium, _kernel):
        try:
            findings += check()
        except Exception as error:  # noqa: BLE001 - a check that fails is a finding, too
            findings.append(Finding(check.__name__.strip("_"), "warning", f"could not be checked: {error!r}"))
    return findings


def main(*, as_json: bool = False) -> int:
    """Print the findings.

    Returns:
        1 if something is broken, else 0.
    """
    findings = examine()
    broken = any(f.state == "broken" for f in findings)
    if as_json:
        print(json.dumps({"ok": not broken, "findings": [dataclasses.asdict(f) for f in findings]}, indent=2))
        return int(broken)
    width = max(len(f.name) for f in findings)
    for f in findings:
        print(f"{MARKS[f.state]}  {f.name:<{width}}  {f.words}")
        if f.fix:
            print(f"    {'':<{width}}  -> {f.fix}")
    count = sum(f.state in ("warning", "broken") for f in findings)
    print(f"\n{'Nothing to mend.' if not count else f'{count} to mend.'}")
    return int(broken)


# -- the interpreter and its GIL ------------------------------------------------------------------------------------------


def _free_threaded() -> bool:
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


Build = Literal["plain", "profiled", "uv", "system", "unknown"]


def build() -> Build:
    """How this interpreter was compiled, as its own record of the options has it.

    Returns:
        "plain": from source, as it comes; "profiled": from source, with a profile (`--enable-optimizations`); "uv": the one that uv
        downloads, profiled by who makes it; "system": one of the operating system's packages; "unknown": it keeps no record.
    """
    options = sysconfig.get_config_var("CONFIG_ARGS")
    if not isinstance(options, str):
        return "unknown"
    # What uv downloads is made with its dependencies below /tools/deps; newer ones say so themselves.
    if sysconfig.get_config_var("PYTHON_BUILD_STANDALONE") or "/tools/deps" in options:
        return "uv"
    if re.search(r"--prefix=/usr['\s]", options + " "):
        return "system"
    return "profiled" if "--enable-optimizations" in options else "plain"


def _interpreter() -> list[Finding]:
    kind = "free-threaded" if _free_threaded() else "with a GIL"
    words = f"{platform.python_implementation()} {platform.python_version()}, {kind}, {sys.executable}"
    made = build()
    facts = {
        "version": platform.python_version(), "free_threaded": _free_threaded(), "executable": sys.executable, "build": made,
    }  # fmt: skip
    if not _free_threaded():
        fix = "results are the same, but Python bodies do not run in parallel: use CPython 3.14t (make setup brings it)"
        return [Finding("interpreter", "warning", words, fix, facts)]
    if made == "plain":
        fix = "make fast-python compiles one with a profile, in ten minutes or more: a step of CartPole takes a quarter less time"
        return [Finding("interpreter", "note", f"{words}, compiled without a profile", fix, facts)]
    return [Finding("interpreter", "ok", words, "", facts)]


# What turns the GIL on is not the import itself.
LATER = {"torch": "the import does not, but the first optimizer (or torch.compile) loads triton, which turns"}

_ASK_GIL = """
import sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {statement}
print("\\nGIL", sys._is_gil_enabled(), "|".join(str(w.message) for w in caught if "global interpreter lock" in str(w.message)))
"""


def _gil() -> list[Finding]:
    if not _free_threaded():
        return [Finding("GIL", "note", "on, as this interpreter has no other mode")]
    setting = os.environ.get("PYTHON_GIL")
    here = f"off in this process{'' if setting is None else f' (PYTHON_GIL={setting})'}"
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        fix = "unset PYTHON_GIL, or set it to 0, and drop -X gil=1"
        return [Finding("GIL", "broken", f"on in this process (PYTHON_GIL={setting})", fix, {"enabled": True})]
    findings = [Finding("GIL", "ok", here, "", {"enabled": False})]
    installed = [name for name in COMPILED if util.find_spec(name) is not None]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: _turns_gil_on(COMPILED[name]), installed))
    culprits = {}
    for name, (culprit, failure) in zip(installed, answers, strict=True):
        if failure:
            findings.append(
                Finding(f"import {name}", "broken", failure, f"reinstall it: pip install --force-reinstall {name}")
            )
        elif culprit:
            culprits[name] = culprit
            when = LATER.get(name, "turns")
            words = f"{when} the GIL on for the whole process: {culprit} is not marked as safe without it"
            if setting is None:
                fix = "start Python with PYTHON_GIL=0 (the kernel, reactornb run and reactornb bench do)"
                findings.append(Finding(f"import {name}", "note", words, fix, {"module": culprit}))
            else:
                findings.append(
                    Finding(
                        f"import {name}",
                        "note",
                        f"{words}, but PYTHON_GIL={setting} keeps it off",
                        "",
                        {"module": culprit},
                    )
                )
    kept = [name for name in installed if name not in culprits]
    findings.append(
        Finding(
            "extensions", "ok", f"leave the GIL off: {', '.join(kept) or 'none'}", "", {"on": culprits, "off": kept}
        )
    )
    return findings


def _turns_gil_on(statement: str) -> tuple[str, str]:
    """(the extension that turned the GIL on or "", why the import failed or ""), tried with PYTHON_GIL unset."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHON_GIL"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_GIL.replace("{statement}", statement)],
            env=env, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "", "is not imported after two minutes"
    answer = [line for line in done.stdout.splitlines() if line.startswith("GIL ")]
    if done.returncode or not answer:
        said = done.stderr.strip().splitlines()
        return "", f"cannot be imported: {said[-1] if said else f'status {done.returncode}'}"
    if answer[-1].startswith("GIL False"):
        return "", ""
    named = re.search(r"module '([^']+)'", answer[-1])
    return (named[1] if named else "an extension"), ""


# -- the machine ----------------------------------------------------------------------------------------------------------


def _cores() -> list[Finding]:
    from reactornb import cpu

    topology, limits = cpu.topology(), cpu.limits()
    usable = cpu.usable_cpus(topology, limits)
    workers = cpu.default_workers(topology, limits)
    kinds: dict[str, str] = {kind: cpu.format_ids(c.id for c in cpus) for kind, cpus in topology.by_kind().items()}
    facts = {"kinds": kinds, "usable": list(usable), "default_workers": workers, "source": topology.source}
    cores = Finding(
        "cores", "ok", f"{topology.describe()} (from {topology.source}); a run gets {workers} workers unless told otherwise", "", facts
    )  # fmt: skip
    facts = {"affinity": sorted(limits.affinity or ()), "quota": limits.quota, "quota_from": limits.quota_from}
    if limits.quota is not None and limits.quota < len(usable):
        fix = "the kernel stops every thread when the quota is used up: raise it, or ask for fewer workers"
        return [cores, Finding("limits", "note", limits.describe(), fix, facts)]
    return [cores, Finding("limits", "ok", limits.describe(), "", facts)]


def _packages() -> Iterator[Finding]:
    versions: dict[str, str] = {}
    missing: dict[str, list[str]] = {}
    for name, extra in WANTED.items():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name != "pyhwloc" or sys.platform == "linux":
                missing.setdefault(extra, []).append(name)
    yield Finding("packages", "ok", ", ".join(f"{n} {v}" for n, v in versions.items()), "", versions)
    for extra, names in missing.items():
        if not extra and names != ["pyhwloc"]:
            yield Finding("packages", "broken", f"missing: {', '.join(names)}", f"pip install {' '.join(names)}")
        else:
            fix = f"pip install reactornb[{extra}]" if extra else f"pip install {' '.join(names)}"
            yield Finding("packages", "note", f"not installed: {', '.join(names)}", f"if you want them: {fix}")


def _atari() -> list[Finding]:
    try:
        version = metadata.version("ale-py")
    except metadata.PackageNotFoundError:
        how = "make atari (builds it, in two minutes or more)" if _free_threaded() else "pip install reactornb[atari]"
        return [Finding("Atari", "note", "no ale-py: no Atari games", f"if you want them: {how}")]
    # In a process of its own: the import loads the libraries it was built with, which may have gone.
    ask = "import ale_py; print(hasattr(ale_py, 'ALEVectorInterface'), len(ale_py.roms.get_all_rom_ids()))"
    answer = _version_of([sys.executable, "-c", f"import ale_py.roms; {ask}"])
    words = re.fullmatch(r"(True|False) (\d+)", answer)
    if words is None:
        return [Finding("Atari", "broken", f"ale-py {version} cannot be imported", "make atari")]
    facts = {"version": version, "preprocessed": words[1] == "True", "games": int(words[2])}
    if not facts["preprocessed"]:
        fix = "apt-get install libopencv-core-dev libopencv-imgproc-dev, then make atari"
        return [Finding("Atari", "note", f"ale-py {version}, {words[2]} games, raw frames only", fix, facts)]
    return [Finding("Atari", "ok", f"ale-py {version}, {words[2]} games, raw and preprocessed", "", facts)]


def _version_of(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]


def _graphviz() -> list[Finding]:
    dot = shutil.which("dot")
    if dot is None:
        fix = "apt-get install graphviz (make setup does it)"
        return [Finding("graphviz", "warning", "no dot on the PATH: graphs are shown as text", fix)]
    version = _version_of([dot, "-V"])
    if "graphviz" not in version:
        return [Finding("graphviz", "broken", f"{dot} does not run: {version or 'no answer'}", "reinstall graphviz")]
    return [Finding("graphviz", "ok", f"{version.removeprefix('dot - ')}, {dot}", "", {"path": dot})]


def _chromium() -> list[Finding]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        return [
            Finding(
                "chromium", "note", "none: the browser tests are skipped", "if you run them: apt-get install chromium"
            )
        ]
    return [Finding("chromium", "ok", f"{path}, for the browser tests", "", {"path": path})]


# -- Jupyter --------------------------------------------------------------------------------------------------------------


def _kernel() -> list[Finding]:
    if util.find_spec("ipykernel") is None:
        return [Finding("kernel", "note", "ipykernel is not installed: no notebook", "pip install reactornb[notebook]")]
    file = Path(sys.prefix) / "share" / "jupyter" / "kernels" / KERNEL / "kernel.json"
    register = (
        f"{sys.executable} -m ipykernel install --sys-prefix --name {KERNEL} --env PYTHON_GIL 0 --env PYTHONHASHSEED 0"
    )
    if not file.is_file():
        return [
            Finding(
                "kernel", "broken" if _free_threaded() else "note", f"no kernel {KERNEL!r} in {sys.prefix}", register
            )
        ]
    try:
        spec = json.loads(file.read_text(encoding="utf-8"))
        command = str(spec["argv"][0])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return [Finding("kernel", "broken", f"{file} cannot be read: {error!r}", register)]
    facts = {"file": str(file), "python": command}
    program = shutil.which(command)
    # A venv's python is a link to a shared one: the folders tell the environments apart, not what the links point to.
    if program is None or Path(program).parent.resolve() != Path(sys.executable).parent.resolve():
        return [Finding("kernel", "broken", f"{file} starts {command}, not {sys.executable}", register, facts)]
    if _free_threaded() and str(spec.get("env", {}).get("PYTHON_GIL")) != "0":
        fix = f"an extension such as torch's triton would turn the GIL on in it: {register}"
        return [Finding("kernel", "warning", f"{file} does not set PYTHON_GIL=0", fix, facts)]
    return [Finding("kernel", "ok", f"{spec.get('display_name', KERNEL)}, {file}", "", facts), *_other_kernel()]


def _other_kernel() -> Iterator[Finding]:
    """Ipykernel's own kernel of this environment, which a new notebook preselects."""
    file = Path(sys.prefix) / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    if not _free_threaded() or not file.is_file():
        return
    try:
        spec = json.loads(file.read_text(encoding="utf-8"))
        kept = str(spec.get("env", {}).get("PYTHON_GIL")) == "0"
    except (ValueError, AttributeError):
        return
    if not kept:
        words = f"{file}, which a new notebook preselects, does not set PYTHON_GIL=0: torch's first optimizer turns the GIL on in it"
        fix = f"{sys.executable} -m ipykernel install --sys-prefix --env PYTHON_GIL 0 --env PYTHONHASHSEED 0"
        yield Finding("other kernel", "warning", words, fix, {"file": str(file)})
