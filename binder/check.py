#!/usr/bin/env python3
"""Walk the steps of repo2docker and of a Binder without a container: in a clean folder, with 2 GB of memory and one core.

    python3 binder/check.py              what repo2docker reads here, judged in a second (a test does the same)
    python3 binder/check.py --walk       and: a clone, a Jupyter server of its own, postBuild, then through `start` the server
                                         and each tutorial, in the limits; minutes, and 8 GB of disk where torch's CPU build is
                                         not to be had

It runs on any Python >= 3.9 with the standard library alone, and stands in for three things of repo2docker's: the packages
of apt.txt (those of this machine do), conda's environment for the server (a venv with the same programs), and the image.

The limits are a cgroup's, as in a container, where this process may make one (as root). A limit on addresses (ulimit -v) would
not do: free-threaded Python, torch and threads' stacks reserve gigabytes that they never touch, and what a Binder ends is who
touches them. Where there is no cgroup to be had, the processes' proportional set sizes are added up five times a second, and
all of them ended above the limit: a peak between two looks is missed, and what they share is counted once, as a cgroup does.
"""

import argparse
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
LIMIT = 2 << 30
NOT_IN_UBUNTU = {"chromium"}
# What repo2docker prefers to an environment.yml: with one of these it would do something else.
OTHERS = ("Dockerfile", "default.nix", "REQUIRE", "Project.toml", "install.R", "DESCRIPTION", "runtime.txt")


def problems(repo=REPO):
    """What repo2docker would stumble over, or do otherwise than meant, in words; empty if there is nothing."""
    found, binder = [], repo / "binder"
    if (repo / ".binder").exists():
        found.append(".binder is there as well as binder: repo2docker accepts one of them")
    found += [
        f"binder/{name} makes repo2docker pass over environment.yml" for name in OTHERS if (binder / name).exists()
    ]
    for name in ("postBuild", "start"):
        script = binder / name
        if not script.exists() or not os.access(script, os.X_OK) or not script.read_text().startswith("#!/bin/bash\n"):
            found.append(f"binder/{name} is no executable bash script")
    if (binder / "start").exists() and (binder / "start").read_text().rstrip().splitlines()[-1:] != ['exec "$@"']:
        found.append('binder/start does not end with exec "$@": no server would start')
    if (binder / "postBuild").exists() and "\nset -e" not in (binder / "postBuild").read_text():
        found.append("binder/postBuild goes on after a failure: repo2docker would not notice it (set -e)")
    packages = [line.partition("#")[0].strip() for line in (binder / "apt.txt").read_text().splitlines()]
    for package in filter(None, packages):
        if not re.fullmatch(r"[a-z0-9.+-]+", package):
            found.append(f"binder/apt.txt: {package!r} is no package's name")
        elif package in NOT_IN_UBUNTU:
            found.append(f"binder/apt.txt: Ubuntu, on which repo2docker builds, has no package {package}")
    environment = (binder / "environment.yml").read_text()
    for wanted in (r"\n  - python=3\.\d+\b", r"\n  - uv\b"):
        if not re.search(wanted, environment):
            found.append(f"binder/environment.yml has no line like {wanted[2:]!r}")
    for path in sorted((repo / "notebooks").glob("*.ipynb")):
        kernel = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("kernelspec", {}).get("name")
        if kernel != "reactornb":
            found.append(f"notebooks/{path.name} asks for the kernel {kernel!r}, not 'reactornb'")
    return found


# ---- the limits -----------------------------------------------------------------------------------------------------------


class Cgroup:
    """2 GB and one core's worth of time, in a cgroup of either version."""

    def __init__(self, limit):
        name = f"reactornb-binder-{os.getpid()}"
        self.v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        if self.v2:
            self.folders = [Path("/sys/fs/cgroup") / name]
            settings = {"memory.max": limit, "memory.swap.max": 0, "cpu.max": "100000 100000"}
        else:
            self.folders = [Path("/sys/fs/cgroup") / controller / name for controller in ("memory", "cpu")]
            settings = {"memory.limit_in_bytes": limit, "cpu.cfs_period_us": 100000, "cpu.cfs_quota_us": 100000}
        made = []
        try:
            for folder in self.folders:
                folder.mkdir()
                made.append(folder)
            for setting, value in settings.items():
                for folder in self.folders:
                    if (folder / setting).exists():
                        (folder / setting).write_text(str(value))
        except OSError:
            for folder in made:
                folder.rmdir()
            raise
        self.memory = self.folders[0]
        self.words = f"cgroup v{2 if self.v2 else 1}"

    def enter(self):
        """Called in a child before it becomes a program."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def used(self):
        """Bytes that cannot be given back: not the page cache, which a cgroup counts and drops when it has to."""
        wanted = ("anon", "shmem") if self.v2 else ("total_rss", "total_shmem")
        rows = (line.split() for line in (self.memory / "memory.stat").read_text().splitlines())
        return sum(int(value) for key, value in rows if key in wanted)

    def killed(self):
        """How many processes the limit has ended."""
        file = self.memory / ("memory.events" if self.v2 else "memory.oom_control")
        return sum(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("oom_kill "))

    def close(self):
        """End what is left in it, which can be a kernel whose server was killed, and remove it."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            left = (self.memory / "cgroup.procs").read_text().split()
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.1)
        for folder in self.folders:
            folder.rmdir()


class Watch:
    """The same by looking: one core by affinity, memory by adding up."""

    def __init__(self, limit):
        self.limit, self.ended, self.words = limit, 0, "proportional set sizes, looked at five times a second"
        self.core = min(os.sched_getaffinity(0))
        self.roots = []  # appended to by the main thread, read by the looking one

    def enter(self):
        os.sched_setaffinity(0, {self.core})

    def tree(self):
        """The processes started here, and those below them."""
        parents = {}
        for path in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                text = Path(path).read_text()
                parents[int(text.split()[0])] = int(text.rpartition(")")[2].split()[1])
        found, more = set(), parents.keys() & set(self.roots)
        while more:
            found |= more
            more = {pid for pid, parent in parents.items() if parent in more} - found
        return found

    def used(self):
        total, tree = 0, self.tree()
        for pid in tree:
            with contextlib.suppress(OSError):
                total += int(re.search(r"\nPss:\s*(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text()).group(1)) << 10
        if total > self.limit:
            self.ended += 1
            for pid in tree:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return total

    def killed(self):
        return self.ended

    def close(self):
        pass


class Box:
    """Runs programs in the limits and keeps the most that they used. A context manager."""

    def __init__(self, limit):
        try:
            self.limits = Cgroup(limit)
        except OSError:
            self.limits = Watch(limit)
        self.peak = 0  # written by the looking thread, read and reset by the main one between programs: a few bytes late at worst
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.limits.close()

    def _look(self):
        while not self._over.wait(0.2):
            self.peak = max(self.peak, self.limits.used())

    def start(self, command, env, **options):
        """Start a program in the limits."""
        process = subprocess.Popen(
            [str(word) for word in command], env=env, stdin=subprocess.DEVNULL, preexec_fn=self.limits.enter, **options
        )
        if isinstance(self.limits, Watch):
            self.limits.roots.append(process.pid)
        return process


# ---- the steps ------------------------------------------------------------------------------------------------------------


def say(text):
    print("binder: " + text, flush=True)


def run(command, **options):
    """Run a step; its failure ends the check."""
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, **options)


def build(work, environment):
    """What repo2docker does, up to and including postBuild; the folder that would be the user's home."""
    home, server = work / "home", work / "server"
    say(f"a clone of {REPO} at HEAD, in {home}")
    run(["git", "clone", "--quiet", "--no-hardlinks", REPO, home])
    say("a Jupyter server in an environment of its own")
    run([sys.executable, "-m", "venv", server])
    programs = ["jupyterlab", "notebook", "ipywidgets", "nbconvert", "ipykernel"]
    pip = [server / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    with open(work / "server-pip.log", "wb") as log:
        run([*pip, "-c", home / ".ci" / "constraints.txt", *programs], stdout=log, stderr=log)
    say("binder/postBuild")
    run([home / "binder" / "postBuild"], cwd=home, env=environment)
    return home


def serve(box, home, environment, log):
    """Start JupyterLab as a Binder does; the process and what it says of its kernels."""
    start = [home / "binder" / "start", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    with open(log, "wb") as out:
        server = box.start(
            [*start, "--ServerApp.token=", "--ServerApp.password="], environment, cwd=home, stdout=out, stderr=out
        )
    until = time.monotonic() + 120
    while True:
        said = re.search(r"http://127\.0\.0\.1:\d+/", Path(log).read_text(errors="replace"))
        with contextlib.suppress(OSError):
            if said:
                with urllib.request.urlopen(said.group() + "api/kernelspecs", timeout=10) as answer:
                    return server, json.load(answer)
        if server.poll() is not None or time.monotonic() > until:
            server.kill()
            server.wait()
            sys.exit(f"binder: JupyterLab did not come up (log: {log})")
        time.sleep(0.2)


def execute(box, home, environment, notebook, seconds):
    """Execute a tutorial in the limits; what it took."""
    log = home.parent / (notebook.stem + ".log")
    command = ["jupyter", "nbconvert", "--to", "notebook", "--execute", f"--output-dir={home.parent / 'executed'}"]
    box.peak, killed, began = 0, box.limits.killed(), time.monotonic()
    with open(log, "wb") as out:
        process = box.start(
            [home / "binder" / "start", *command, f"--ExecutePreprocessor.timeout={seconds}", notebook],
            environment, cwd=home, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            status = process.wait(seconds * 3)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    took, killed = time.monotonic() - began, box.limits.killed() - killed
    words = "ok" if status == 0 else "ended by the memory limit" if killed else f"FAILED (log: {log})"
    say(f"{notebook.name:28} {took:6.0f} s   {box.peak / 2**20:6.0f} MB   {words}")
    return {"notebook": notebook.name, "seconds": round(took, 1), "peak_mb": box.peak >> 20, "result": words}


def walk(chosen):
    """All steps; the exit status."""
    work = Path(chosen.folder or tempfile.mkdtemp(prefix="reactornb-binder-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    home, server = work / "home", work / "server"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JUPYTER", "VIRTUAL_ENV", "XDG_"))}
    environment = {
        **kept,
        "HOME": str(home),
        "REPO_DIR": str(home),
        "NB_PYTHON_PREFIX": str(server),
        "PATH": f"{home}/.local/bin:{server}/bin:{os.environ['PATH']}",
    }
    if home.exists():
        say(f"{home} is there: its build is used")
    else:
        build(work, environment)
    notebooks = [
        p for p in sorted((home / "notebooks").glob("*.ipynb")) if not chosen.only or p.name[:2] in chosen.only
    ]
    with Box(LIMIT) as box:
        say(f"limits: {LIMIT >> 20} MB and one core, by {box.limits.words}")
        process, kernels = serve(box, home, environment, work / "server.log")
        try:
            wrong = [] if kernels["default"] == "reactornb" else [f"the default kernel is {kernels['default']}"]
            labs = [server / "bin" / "jupyter", "labextension", "list"]
            listed = subprocess.run(
                [str(word) for word in (home / "binder" / "start", *labs)],
                env=environment,
                capture_output=True,
                text=True,
            )
            wrong += [
                f"JupyterLab does not find {name}"
                for name in ("anywidget", "@jupyter-widgets/jupyterlab-manager")
                if name not in listed.stdout + listed.stderr
            ]
            say(f"JupyterLab is up, with {box.limits.used() >> 20} MB; default kernel {kernels['default']}")
            done = [execute(box, home, environment, notebook, chosen.seconds) for notebook in notebooks]
        finally:
            process.terminate()
            process.wait()
    wrong += [f"{d['notebook']}: {d['result']}" for d in done if d["result"] != "ok"]
    if chosen.json:
        Path(chosen.json).write_text(
            json.dumps({"limits": box.limits.words, "notebooks": done, "wrong": wrong}, indent=2)
        )
    if not chosen.folder:
        shutil.rmtree(work)
    return report(wrong)


def report(wrong):
    for words in wrong:
        print(f"binder: wrong: {words}", file=sys.stderr)
    return int(bool(wrong))


def main():
    parser = argparse.ArgumentParser(description="Check the folder binder/; see the top of this file.")
    parser.add_argument(
        "--walk", action="store_true", help="build in a clean folder, and execute the tutorials in the limits"
    )
    parser.add_argument("--folder", help="where to; kept, and its build used again if there is one (a temporary one)")
    parser.add_argument("--only", nargs="+", metavar="NN", help="only tutorials with these numbers")
    parser.add_argument("--seconds", type=int, default=600, help="what one cell may take (%(default)s)")
    parser.add_argument("--json", help="write what each tutorial took to this file")
    chosen = parser.parse_args()
    wrong = problems()
    if wrong or not chosen.walk:
        return report(wrong)
    return walk(chosen)


if __name__ == "__main__":
    sys.exit(main())
