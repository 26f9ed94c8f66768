#!/usr/bin/env python3
"""Set the project up: Debian packages, free-threaded CPython 3.14, the environment `.venv`, the Jupyter kernel.

    python3 .ci/setup.py          what `make demo` and `make lab` need
    python3 .ci/setup.py --fast   the same on a CPython compiled with a profile, kept beside the plain one and used from then on
    python3 .ci/setup.py --atari  also ALE, built from source once per machine, which takes four minutes or more
    python3 .ci/setup.py --tests  also what the browser tests need, and ALE
    python3 .ci/setup.py --lean   only what runs the notebooks, and torch's CPU build where uv is there to find it: for an image
    python3 .ci/setup.py --gil    `.venv-gil`: an ordinary CPython 3.12 or 3.13, if there is one, for the suite's second run

It runs on any Python >= 3.9 with the standard library alone, and knows nothing of the package it sets up. Each step looks
whether its work is done already, so a second run takes a second. Nothing is written outside the repository and the cache
folder, apart from the Debian packages named in binder/apt.txt and, for the browser tests, .ci/apt.txt.

Environment:
    REACTORNB_PYTHON      a free-threaded CPython 3.14 to use instead of looking for one
    REACTORNB_GIL_PYTHON  an ordinary CPython 3.12 or 3.13 for --gil
    REACTORNB_CACHE       the cache folder; default $XDG_CACHE_HOME/reactornb or ~/.cache/reactornb
"""

import argparse
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
XDG_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
CACHE = Path(os.environ.get("REACTORNB_CACHE") or os.path.join(XDG_CACHE, "reactornb")).expanduser().absolute()

CPYTHON = "3.14.7"
SOURCE = "pool/main/p/python3.14/python3.14_3.14.7.orig.tar.xz"  # below the archive's base
SOURCE_SHA256 = "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81"
# The archive keeps what one of its suites has. When another 3.14.x takes this one's place, what these suites list is taken instead.
SOURCE_PACKAGE, SUITES = "python3.14", ["testing", "unstable"]
# -O3 is CPython's own default. With a profile a step of CartPole takes a quarter less time, and a loop of integers 43 % less. CPython's
# own choice of tests to be watched, and link-time optimisation, take half an hour for no more than these tests give in nine minutes.
CONFIGURE = ["--disable-gil", "--disable-test-modules"]
PLAIN = ["--without-static-libpython", "CFLAGS=-g0"]  # without what nobody here links with, and what debuggers read
WATCHED = (
    "-m test --pgo test_array test_bisect test_collections test_dataclasses test_float test_functools test_generators "
    "test_heapq test_json test_operator test_ordered_dict test_patma test_re test_struct"
)
PROFILED = ["--enable-optimizations", "PROFILE_TASK=" + WATCHED]
OBJECT_FILES = 300  # what a build compiles, for the progress line

UV = "0.13.9"  # from PyPI, where there is none
# A closed network refuses at once, or drops what is sent: then it is given up after four seconds, twice.
UV_PATIENCE = {"UV_HTTP_CONNECT_TIMEOUT": "4", "UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "1"}

VENV, VENV_EXTRAS, LEAN_EXTRAS = REPO / ".venv", "notebook,rl,test,dev", "notebook,rl"
GIL_VENV, GIL_VENV_EXTRAS = REPO / ".venv-gil", "notebook,test,atari"
CONSTRAINTS = REPO / ".ci" / "constraints.txt"
KERNEL = "reactornb"

# ALE has no wheel for free-threaded builds; its source distribution needs no change to build there.
ALE = "0.12.1"
ALE_SHA256 = "c503d574c5983e1063b451201ccb779d935919c0f6bf116fb0f4f8aa4c86d249"
# Installed by us: build isolation would also bring jax, which the source distribution names for its XLA interface.
ALE_BUILD_TOOLS = ["scikit-build-core==1.1.2", "nanobind==3.1.0", "cmake==4.4.4", "ninja==1.13.2"]
ALE_CMAKE = ["-DSDL_SUPPORT=OFF", "-DSDL_DYNLOAD=OFF", "-DBUILD_VECTOR_XLA_LIB=OFF"]  # no window, no jax
# GCC is shown how ALE is used, and then compiles it again: a step of Pong takes an eighth less time, with the same observations to
# the byte. What the games below do not touch is compiled as ever.
ALE_PROFILE = [
    "-fprofile-generate={0}",
    "-fprofile-use={0} -fprofile-partial-training -fprofile-correction -Wno-missing-profile",
]
ALE_TRAINING = """
import ale_py, numpy
from ale_py import roms
for game in ("pong", "breakout", "space_invaders", "ms_pacman", "seaquest", "qbert", "beam_rider", "montezuma_revenge"):
    draw = numpy.random.default_rng(0)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 1)
    ale.loadROM(roms.get_rom_path(game))
    actions = ale.getMinimalActionSet()
    for step in range(400):
        ale.act(actions[draw.integers(len(actions))])
        step % 4 or (ale.getScreenRGB(), ale.getScreenGrayscale(), ale.getRAM())
        ale.game_over() and ale.reset_game()
    try:
        from ale_py.vector_env import AtariVectorEnv
    except ImportError:
        continue
    envs = AtariVectorEnv(game, num_envs=1, num_threads=1)
    envs.reset(seed=1)
    for step in range(100):
        envs.step(draw.integers(0, envs.single_action_space.n, 1).astype(numpy.int32))
    envs.close()
"""
# ALE asks for OpenCV as a CMake package and includes all of it. It uses core and imgproc, and all of it is 400 Debian packages.
OPENCV_SHIM = {
    "OpenCVConfig.cmake": """set(OpenCV_FOUND TRUE)
set(OpenCV_INCLUDE_DIRS "${CMAKE_CURRENT_LIST_DIR}" /usr/include/opencv4)
set(OpenCV_LIBS opencv_imgproc opencv_core)
""",
    "opencv2/opencv.hpp": "#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n",
}

GB = 1e9
# measured, and rounded up
BUILD_BYTES, VENV_BYTES, GIL_VENV_BYTES, ALE_BYTES = 1.0 * GB, 7.0 * GB, 1.0 * GB, 1.0 * GB
LEAN_BYTES = 3.0 * GB

# Variables that would make an interpreter find another one's modules, or an ordinary one refuse to start.
ENV = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "PYTHON_GIL", "VIRTUAL_ENV")}


class SetupError(Exception):
    """One line: what is wrong, and what to do."""


# ---- saying and running -------------------------------------------------------------------------------------------------


def say(text):
    print("setup: " + text, flush=True)


def minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def output_of(command):
    """The command's standard output, or None when it cannot be run or fails."""
    try:
        done = subprocess.run(command, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def run(what, command, log, *, cwd=None, env=None, progress=None, fix="see the log", quiet=False):
    """Run a long command with its output in `log`, and a line on the screen every ten seconds.

    Args:
        progress: a function whose text ends each of these lines; the log's last line without it.
        fix: what to do when the command fails; said after the log's tail.
        quiet: there is another way when it fails: do not show the log's tail.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with open(log, "ab") as out:
        out.write(("\n$ " + " ".join(map(str, command)) + "\n").encode())
        out.flush()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env={**ENV, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=10)
                    break
                except subprocess.TimeoutExpired:
                    note = progress() if progress else last_line(log)
                    say(f"  {minutes(time.monotonic() - start)}  {what}, {note}")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if status:
        if not quiet:
            tail = log.read_text(errors="replace").splitlines()[-25:]
            print("\n".join("    " + line for line in tail), flush=True)
        raise SetupError(f"{what} failed with status {status} (log: {log}); {fix}")


def last_line(log):
    lines = log.read_text(errors="replace").split("\n")
    # Package indexes differ from place to place, so only a file's name is of use here.
    words = next((line for line in reversed(lines) if line.strip()), "").split()
    return " ".join(word.rsplit("/", 1)[-1] for word in words)[:80]


def files_below(folder):
    """Every file below a folder that another program is filling: what vanishes meanwhile is left out."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry


@contextlib.contextmanager
def locked(name):
    """Hold the machine-wide lock `name`; the kernel drops it when the process ends, however it ends."""
    path = CACHE / "locks" / (name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another set-up holds {path}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def need_disk(folder, size, what):
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise SetupError(
            f"{what} needs {size / GB:.0f} GB of disk at {folder}, which has {free / GB:.1f} free; make room"
            " (REACTORNB_CACHE moves the cache)"
        )


# ---- Debian packages ----------------------------------------------------------------------------------------------------


def debian_packages(section):
    """The packages under a heading of binder/apt.txt, or of .ci/apt.txt."""
    found, current = [], None
    lists = [REPO / folder / "apt.txt" for folder in ("binder", ".ci")]
    for line in "\n".join(path.read_text() for path in lists).splitlines():
        heading = re.match(r"#\s*\[(\w+)\]", line)
        if heading:
            current = heading.group(1)
        elif line.strip() and not line.startswith("#") and current == section:
            found.append(line.strip())
    return found


def install_debian_packages(section, why):
    """Install what is missing of a section; does nothing on a machine without dpkg."""
    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        return
    wanted = debian_packages(section)
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted], env=ENV, capture_output=True, text=True
    ).stdout.splitlines()
    missing = [package for package in wanted if package + " installed" not in status]
    if not missing:
        return
    by_hand = "apt-get install " + " ".join(missing)
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and output_of(["sudo", "-n", "true"]) is None:
        raise SetupError(f"{why} needs Debian packages; run: sudo {by_hand}")
    say("installing Debian packages for {}: {}".format(why, " ".join(missing)))
    # One apt at a time: a second set-up on this machine waits here, anyone else's apt gets two minutes.
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "DPkg::Lock::Timeout=120"]
    log = CACHE / "logs" / "apt.log"
    with locked("apt"):
        # A failing update is not the end: the lists that are there may do, and one broken third-party source fails it.
        with contextlib.suppress(SetupError):
            run("apt-get update", [*apt, "update"], log)
        run("apt-get install", [*apt, "install", "--no-install-recommends", *missing], log, fix="try: " + by_hand)


# ---- the interpreter ----------------------------------------------------------------------------------------------------

PROBE = """
import importlib.util, json, sys, sysconfig
wanted = "ssl ctypes sqlite3 zlib bz2 lzma venv ensurepip".split()
def missing(name):
    try: __import__(name)
    except ImportError: return True
print(json.dumps(dict(
    executable=sys.executable, version=list(sys.version_info[:3]), compiler=sys.version.split("[")[-1].rstrip("]"),
    free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")), missing=[n for n in wanted if missing(n)])))
"""


def probe(python):
    """What an interpreter says of itself, or None when it does not run."""
    text = output_of([str(python), "-I", "-c", PROBE])
    try:
        return json.loads(text.splitlines()[-1]) if text else None
    except ValueError:
        return None


def unfit(facts):
    """Why an interpreter cannot be ours, or None when it can."""
    if facts is None:
        return "it does not run"
    if facts["version"][:2] != [3, 14] or not facts["free_threaded"]:
        kind = "free-threaded" if facts["free_threaded"] else "GIL"
        return "it is a {} CPython {}, not a free-threaded 3.14".format(kind, ".".join(map(str, facts["version"])))
    if facts["missing"]:
        return "it lacks the modules " + ", ".join(facts["missing"])
    return None


def interpreter(*, fast=False):
    """A free-threaded CPython 3.14: named by the environment, found, built before, downloaded, or built from source.

    Args:
        fast: build one with a profile unless the environment names one or the PATH has one, which are taken as they are.
    """
    named = os.environ.get("REACTORNB_PYTHON")
    if named:
        python = shutil.which(named)
        reason = unfit(probe(python)) if python else "there is no such program"
        if reason:
            raise SetupError(f"REACTORNB_PYTHON={named} cannot be used: {reason}; unset it, or name a python3.14t")
        return Path(python)
    on_path = shutil.which("python3.14t")
    if on_path:
        reason = unfit(probe(on_path))
        if not reason:
            return Path(on_path)
        say(f"passing over {on_path}: {reason}")
    built = built_interpreter(profiled=True) or (None if fast else built_interpreter())
    if built:
        return built
    return interpreter_from_uv() or build_interpreter(profiled=fast)


def uv_program(*pythons):
    """uv: the one on the PATH, or one that pip brings from PyPI into the cache folder; None where it cannot be had.

    Args:
        pythons: interpreters whose pip may be asked, in order; one may have no pip.
    """
    on_path = shutil.which("uv")
    if on_path:
        return Path(on_path)
    folder = CACHE / "uv" / UV
    program = folder / "bin" / "uv"
    with locked("uv-" + UV):
        for python in pythons:
            if program.exists():
                break
            if output_of([python, "-m", "pip", "--version"]) is None:
                continue
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            pip = [
                "timeout",
                "60",
                python,
                "-m",
                "pip",
                "--disable-pip-version-check",
                "--retries",
                "1",
                "--timeout",
                "8",
            ]
            try:
                run(
                    "uv",
                    [*pip, "install", "--no-deps", "--target", partial, "uv==" + UV],
                    CACHE / "logs" / "uv.log",
                    quiet=True,
                )
            except SetupError:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    return program if program.exists() and output_of([program, "--version"]) is not None else None


def interpreter_from_uv():
    """CPython as uv downloads it, in the cache folder; None without uv, or where downloads are closed."""
    home = CACHE / "uv"
    pattern = str(home / "python" / "cpython-3.14.*freethreaded*" / "bin" / "python3.14t")
    if not glob.glob(pattern):
        uv = uv_program(sys.executable)
        if uv is None:
            return None
        env = {"UV_PYTHON_INSTALL_DIR": str(home / "python"), "UV_CACHE_DIR": str(home / "cache"), **UV_PATIENCE}
        env["UV_PYTHON_INSTALL_BIN"] = "0"  # no link in ~/.local/bin
        with locked("uv"):
            say("asking uv for CPython 3.14t")
            command = ["timeout", "300", uv, "python", "install", "3.14t"]
            try:
                run("uv", command, CACHE / "logs" / "uv.log", env=env, quiet=True)
            except SetupError:
                say("uv cannot download it here; building it from source")
                return None
    return next((Path(p) for p in sorted(glob.glob(pattern)) if not unfit(probe(p))), None)


def options_of(profiled):
    return [*CONFIGURE, *(PROFILED if profiled else PLAIN)]


def build_folder(*, profiled=False):
    """Where this configuration's build is kept; other options, or another source named above, get another folder.

    Its build.json says which source it was made from: where the one named above has left the archive, a later one.
    """
    key = hashlib.sha256("\n".join([SOURCE_SHA256, platform.machine(), *options_of(profiled)]).encode()).hexdigest()[:8]
    return CACHE / f"cpython-{CPYTHON}t-{key}"


def built_interpreter(*, profiled=False):
    # The marker is written last, so a folder without one is a build that was cut short.
    prefix = build_folder(profiled=profiled)
    python = prefix / "bin" / "python3.14t"
    return python if (prefix / "build.json").exists() and not unfit(probe(python)) else None


def build_interpreter(*, profiled=False):
    """Build CPython from the Debian archive's source, once per machine; with a profile it takes three times as long."""
    prefix = build_folder(profiled=profiled)
    with locked(prefix.name):
        built = built_interpreter(profiled=profiled)  # by whoever held the lock before
        if built:
            return built
        need_disk(CACHE, BUILD_BYTES, "building CPython")
        install_debian_packages("build", "building CPython")
        absent = [tool for tool in ("gcc", "make") if not shutil.which(tool)]
        if absent:
            raise SetupError(
                f"no {absent[0]}, so CPython cannot be built; apt-get install gcc make, or set REACTORNB_PYTHON"
            )
        work = CACHE / ("build-" + prefix.name)
        for folder in (work, prefix):
            shutil.rmtree(folder, ignore_errors=True)
        work.mkdir(parents=True)
        archive, version = fetch_source()
        start = time.monotonic()
        say(f"building free-threaded CPython {version}{' with a profile' if profiled else ''}, once on this machine")
        log = CACHE / "logs" / (prefix.name + ".log")
        with contextlib.suppress(OSError):
            log.unlink()
        make = ["make", f"-j{len(os.sched_getaffinity(0))}"]
        source = unpacked(archive, work)  # its sha256 was checked: the content is what was named

        def compiled():
            count = sum(entry.name.endswith(".o") for entry in files_below(source))
            return f"{count} of about {OBJECT_FILES} object files"

        run("configuring", ["./configure", f"--prefix={prefix}", *options_of(profiled)], log, cwd=source)
        if profiled:
            run("compiling CPython to watch it", [*make, "profile-gen-stamp"], log, cwd=source, progress=compiled)
            run("watching CPython", ["timeout", "900", *make, "profile-run-stamp"], log, cwd=source)
        run("compiling CPython", make, log, cwd=source, progress=compiled)
        # Without pip, which environments bring; and packages of the standard library are compiled to bytecode when they are imported, not
        # all of them three times over now.
        install = ["make", "install", "ENSUREPIP=no", "COMPILEALL_OPTS=-j0 -l"]
        run("installing", install, log, cwd=source)
        python = prefix / "bin" / "python3.14t"
        facts = probe(python)
        reason = unfit(facts)
        if reason:
            raise SetupError(f"the CPython just built cannot be used: {reason} (log: {log})")
        marker = {
            "version": version,
            "source_sha256": sha256(archive),
            "configure": options_of(profiled),
            "compiler": facts["compiler"],
            "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "minutes": round((time.monotonic() - start) / 60, 1),
        }
        partial = prefix / "build.json.partial"
        partial.write_text(json.dumps(marker, indent=2) + "\n")
        partial.rename(prefix / "build.json")
        shutil.rmtree(work)
        say(f"built in {minutes(time.monotonic() - start)} minutes: {python}")
        return python


# ---- its source ---------------------------------------------------------------------------------------------------------


def fetch_source():
    """CPython's source from whichever Debian archive apt is configured with, its sha256 checked: the file, and its version.

    The one named above, or, where no archive has it any more, the newest 3.14 that an archive's signed index lists.
    """
    folder = CACHE / "sources"
    target = folder / Path(SOURCE).name
    if target.exists() and sha256(target) == SOURCE_SHA256:
        return target, CPYTHON
    folder.mkdir(parents=True, exist_ok=True)
    listed = output_of(["apt-get", "indextargets", "--format", "$(REPO_URI)"]) or ""
    bases = sorted(set(listed.split()), key=listed.split().index)
    if not bases:
        raise SetupError(
            "no Debian archive is configured to fetch CPython's source from; install a python3.14t and set REACTORNB_PYTHON"
        )
    reasons, gone = [], []
    for base in bases:
        reason = download(base.rstrip("/") + "/" + SOURCE, target, SOURCE_SHA256)
        if reason is None:
            return target, CPYTHON
        reasons.append(reason)
        if reason.endswith(GONE):
            gone.append(base)
    for base in gone:
        try:
            uri, version, expected = newest_source(base)
        except SetupError as error:
            reasons.append(str(error))
            continue
        say(f"CPython {CPYTHON} has left the Debian archive; taking {version}, which its signed index lists")
        later = folder / uri.rsplit("/", 1)[-1]
        if later.exists() and sha256(later) == expected:
            return later, version
        reason = download(uri, later, expected)
        if reason is None:
            return later, version
        reasons.append(reason)
    fix = "check the network, or set REACTORNB_PYTHON to a python3.14t"
    raise SetupError("CPython's source could not be fetched: {}; {}".format("; ".join(dict.fromkeys(reasons)), fix))


GONE = "does not have it"


def download(uri, target, expected):
    """Fetch a file; why it could not be, or None when it is there.

    Raises:
        SetupError: if it is not what its sha256 says; then nothing is kept.
    """
    partial = target.with_suffix(".partial")
    try:
        with urllib.request.urlopen(uri, timeout=60) as response, open(partial, "wb") as out:
            say("fetching CPython's source from the Debian archive")
            shutil.copyfileobj(response, out, 1 << 20)
    except urllib.error.HTTPError as error:
        return f"an archive answered {error.code}" if error.code != 404 else f"an archive {GONE}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, FileNotFoundError) or "No such file" in str(reason):
            return f"an archive {GONE}"
        return f"an archive was not reached ({reason})"
    found = sha256(partial)
    if found != expected:
        partial.unlink()
        raise SetupError(
            f"CPython's source has sha256 {found}, not {expected}: the download was damaged or changed; try again"
        )
    partial.rename(target)
    return None


def newest_source(base, keyring=None):
    """The newest 3.14 in an archive's index of sources: (its address, its version, its sha256).

    apt does it, with lists of its own in the cache folder: it fetches the index, checks its signature and its checksums, and compares
    versions. The machine's own lists and sources stay as they are.

    Args:
        base: the archive's.
        keyring: whose signatures count; Debian's keyring where it is installed, and otherwise the keys that apt trusts.

    Raises:
        SetupError: if the index cannot be had or is not rightly signed, or lists no 3.14.
    """
    home = CACHE / "apt"
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("lists/partial", "archives/partial"):
        (home / folder).mkdir(parents=True)
    if keyring is None:
        usual = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        keyring = usual if usual.exists() else None
    signed_by = f"[signed-by={keyring}] " if keyring else ""
    (home / "sources.list").write_text("".join(f"deb-src {signed_by}{base} {suite} main\n" for suite in SUITES))
    (home / "status").touch()
    settings = {
        "Dir::State": home, "Dir::State::Lists": home / "lists", "Dir::State::status": home / "status", "Dir::Cache": home,
        "Dir::Etc::SourceList": home / "sources.list", "Dir::Etc::SourceParts": "/dev/null", "Acquire::Languages": "none",
        "APT::Update::Error-Mode": "any", "APT::Get::AllowUnauthenticated": "false", "Acquire::AllowInsecureRepositories": "false",
        "Acquire::http::Timeout": "20", "Acquire::Retries": "1", "APT::Update::Post-Invoke-Success": "",
    }  # fmt: skip
    if os.geteuid() == 0:
        settings["APT::Sandbox::User"] = "root"  # whose folders these are
    # The machine's hooks, such as one that cleans its cache after an update, are none of ours.
    (home / "apt.conf").write_text("#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n")
    apt = ["apt-get", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    run(
        "apt-get update",
        [*apt, "update"],
        CACHE / "logs" / "apt-sources.log",
        env={"APT_CONFIG": str(home / "apt.conf")},
        quiet=True,
    )
    listed = output_of([*apt, "source", "--print-uris", "--only-source", SOURCE_PACKAGE]) or ""
    pattern = r"'(\S+)' \S*_(3\.14\.\d+)\.orig\.tar\.xz \d+ SHA256:([0-9a-f]{64})$"
    found = re.search(pattern, listed, re.MULTILINE)
    if found is None:
        raise SetupError("an archive's index lists no source of CPython 3.14")
    return found.groups()


def unpacked(archive, folder):
    """The folder that an archive holds, below an empty one."""
    with tarfile.open(archive) as tar:
        # Python 3.14's default, for which 3.12 and 3.13 want to be asked and which a 3.9 may not know.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)
    return next(folder.iterdir())


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# ---- the environment ----------------------------------------------------------------------------------------------------


def name_of(venv):
    """What an environment's lock and log are called."""
    return "venv-" + hashlib.sha256(str(venv).encode()).hexdigest()[:12]


def make_venv(venv, python, extras, size, *, kernel, lean=False):
    """Make or refresh an environment with this project in it; a stamp tells whether there is anything to do.

    Args:
        lean: for an image: torch's CPU build if uv can bring it, and compiled here instead of at each start of a container.
    """
    inputs = [(REPO / "pyproject.toml").read_bytes(), CONSTRAINTS.read_bytes(), extras.encode()]
    stamp = {"inputs": hashlib.sha256(b"\0".join(inputs)).hexdigest(), "python": os.path.realpath(python)}
    stamp_file = venv / "reactornb-setup.json"

    def stamped():
        with contextlib.suppress(OSError, ValueError):
            return json.loads(stamp_file.read_text())
        return {}

    if stamped() == stamp:
        return
    name = name_of(venv)
    with locked(name):
        before = stamped()
        if before == stamp:
            return
        log = CACHE / "logs" / (name + ".log")
        with contextlib.suppress(OSError):
            log.unlink()
        start = time.monotonic()
        # Same interpreter, other requirements: pip changes what differs. Otherwise from nothing.
        if before.get("python") == stamp["python"]:
            stamp_file.unlink()
        else:
            shutil.rmtree(venv, ignore_errors=True)
            need_disk(venv, size, venv.name)
            run("making " + venv.name, [python, "-m", "venv", "--prompt", "reactornb", venv], log)
        say(f"installing Python packages into {venv.name}")
        pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
        scratch = CACHE / "tmp"  # pip unpacks gigabytes, more than a small /tmp holds
        scratch.mkdir(parents=True, exist_ok=True)

        def unpacked():
            size = sum(entry.stat().st_size for entry in files_below(venv))
            return f"{last_line(log)[:60]} ({size / GB:.1f} GB unpacked)"

        # --no-compile: Python compiles what is imported as it goes, in 3 s; compiling all of it here takes a minute.
        wanted = ["-c", CONSTRAINTS, "-e", f"{REPO}[{extras}]"]
        if not install_with_uv(venv, wanted, log, unpacked, lean=lean):
            run(
                "pip",
                [*pip, "install", *([] if lean else ["--no-compile"]), *wanted],
                log,
                env={"PIP_CACHE_DIR": str(CACHE / "pip"), "TMPDIR": str(scratch), "PIP_ROOT_USER_ACTION": "ignore"},
                progress=unpacked,
                fix="check the network and the disk, then run this again",
            )
        if kernel:
            register_kernel(venv, log)
        stamp_file.write_text(json.dumps(stamp, indent=2) + "\n")
        say(f"{venv.name} is ready, after {minutes(time.monotonic() - start)} minutes")


def install_with_uv(venv, wanted, log, progress, *, lean):
    """Install with uv, which unpacks several packages at once, and keeps them unpacked: the second time takes seconds.

    It looks neither at pip's configuration nor at its cache. Where it fails, pip may still do.

    Args:
        lean: take torch's CPU build, which uv knows where to find. The build for graphics cards, which PyPI has, works on a machine
            without one, but is 5 GB where the other is 1.

    Returns:
        False without uv, or where what is wanted is out of its reach.
    """
    uv = uv_program(venv / "bin" / "python", sys.executable)
    if uv is None:
        return False
    command = [uv, "pip", "install", "--python", venv / "bin" / "python"]
    command += ["--torch-backend", "cpu", "--compile-bytecode"] if lean else []
    env = {"UV_CACHE_DIR": str(CACHE / "uv" / "cache"), "UV_HTTP_CONNECT_TIMEOUT": "4"}
    try:
        run("uv", [*command, *wanted], log, env=env, progress=progress, quiet=True)
    except SetupError:
        what = "torch's CPU build is not to be had from here; the one for graphics cards does as well, and is larger"
        say(what if lean else "uv cannot install them here; pip does")
        return False
    return True


def register_kernel(venv, log):
    # PYTHON_GIL=0: an extension not yet marked as safe without the GIL would otherwise turn it back on for the whole
    # process when it is first imported, and every worker would run one at a time from then on. PYTHONHASHSEED=0: sets of strings have
    # the same order in each kernel. ipykernel's own spec gets both, too: a new notebook preselects it.
    settings = ["--env", "PYTHON_GIL", "0", "--env", "PYTHONHASHSEED", "0"]
    for name in (["--name", KERNEL, "--display-name", "reactornb (Python 3.14t)"], []):
        run(
            "ipykernel", [venv / "bin" / "python", "-m", "ipykernel", "install", "--sys-prefix", *name, *settings], log,
        )  # fmt: skip


# ---- Atari --------------------------------------------------------------------------------------------------------------


def ale_folder(python, opencv):
    """Where the wheel for an interpreter is kept: another interpreter, ALE, OpenCV or set of options gets another folder."""
    facts = probe(python) or {}
    parts = [ALE_SHA256, json.dumps([facts.get(k) for k in ("version", "free_threaded", "compiler")]), opencv or ""]
    key = hashlib.sha256(
        "\n".join([*parts, platform.machine(), *ALE_BUILD_TOOLS, *ALE_CMAKE, *ALE_PROFILE, ALE_TRAINING]).encode()
    ).hexdigest()[:8]
    return CACHE / "ale-py-{}-{}-{}".format(ALE, "vector" if opencv else "single", key)


def opencv_version():
    """The version of Debian's OpenCV, whose libraries the wheel loads; None without it."""
    found = output_of(["dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}\n", "libopencv-imgproc-dev"]) or ""
    return found.split()[0] if found.strip().endswith(" installed") else None


def ale_wheel(folder):
    # The wheel is moved there when it is finished, so a folder without one is a build that was cut short.
    return next(iter(sorted(folder.glob("ale_py-*.whl"))), None)


def install_ale(venv, *, build):
    """ALE into an environment: from the cache folder, or built there first if that is wanted.

    Whatever goes wrong here is said in one line: everything but Atari works without it.
    """
    try:
        if build:
            try:
                install_debian_packages("atari", "ALE")
            except SetupError as error:
                say(f"without ALE's vector environment: {error}")
        python = venv / "bin" / "python"
        folder = ale_folder(python, opencv_version())
        stamp = venv / "reactornb-ale.txt"
        if stamp.exists() and stamp.read_text() == folder.name:
            return
        wheel = ale_wheel(folder) or (build_ale(python, folder) if build else None)
        if wheel is None:
            return
        log = CACHE / "logs" / (folder.name + ".log")
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        with locked(name_of(venv)):
            # --no-deps: numpy is there already; --force-reinstall: the version may be, from another build.
            run("pip", [*pip, "install", "--no-deps", "--no-index", "--force-reinstall", wheel], log)
            if output_of([python, "-c", "import ale_py"]) is None:
                # A library it was linked with has gone: better no Atari than one that fails when it is used.
                run("pip", [*pip, "uninstall", "-y", "ale-py"], log)
                raise SetupError(f"the ALE built in {folder} cannot be imported; remove that folder to build it again")
            stamp.write_text(folder.name)
        say(f"ALE {ALE} is in {venv.name}" + ("" if "vector" in folder.name else ", without its vector environment"))
    except SetupError as error:
        say(f"without Atari: {error}")


def build_ale(python, folder):
    """Build ALE's wheel from its source distribution, once per machine."""
    with locked(folder.name):
        wheel = ale_wheel(folder)  # by whoever held the lock before
        if wheel:
            return wheel
        need_disk(CACHE, ALE_BYTES, "building ALE")
        absent = [tool for tool in ("gcc", "g++") if not shutil.which(tool)]
        if absent:
            raise SetupError(f"no {absent[0]}, so ALE cannot be built; apt-get install gcc g++, then set up again")
        start = time.monotonic()
        say(f"building ALE {ALE}, once on this machine")
        work, log = CACHE / ("build-" + folder.name), CACHE / "logs" / (folder.name + ".log")
        shutil.rmtree(work, ignore_errors=True)
        with contextlib.suppress(OSError):
            log.unlink()
        for name, text in OPENCV_SHIM.items():
            (work / "shim" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "shim" / name).write_text(text)
        (work / "requirements.txt").write_text(f"ale-py=={ALE} --hash=sha256:{ALE_SHA256}\n")
        run("making an environment", [python, "-m", "venv", work / "venv"], log)
        bin_folder = work / "venv" / "bin"
        pip = [bin_folder / "python", "-m", "pip", "--disable-pip-version-check"]
        vector = "ON" if "vector" in folder.name else "OFF"
        options = [*ALE_CMAKE, f"-DBUILD_VECTOR_LIB={vector}", f"-DOpenCV_DIR={work / 'shim'}"]
        env = {"PIP_CACHE_DIR": str(CACHE / "pip"), "TMPDIR": str(work), "PIP_ROOT_USER_ACTION": "ignore"}
        run("pip", [*pip, "install", *ALE_BUILD_TOOLS], log, env=env, fix="check the network, then run this again")
        env.update(CMAKE_ARGS=" ".join(options), PATH=f"{bin_folder}{os.pathsep}{ENV.get('PATH', os.defpath)}")
        # A profile is found by the names of object files and sources, so both builds take place in the same folders.
        env["SKBUILD_BUILD_DIR"] = str(work / "objects")
        wanted = ["--no-deps", "--no-build-isolation"]
        hashed = ["--no-binary", "ale-py", "--require-hashes", "-r", work / "requirements.txt", "-d", work / "archive"]
        run("fetching ALE", [*pip, "download", *wanted, *hashed], log, env=env)
        source = unpacked(next((work / "archive").glob("ale_py-*.tar.gz")), work / "source")

        def compiled(what, wheels, flags):
            shutil.rmtree(work / "objects", ignore_errors=True)
            # --no-cache-dir: pip's cache of wheels takes no notice of CMAKE_ARGS.
            build = ["wheel", "--no-cache-dir", *wanted, source, "-w", work / wheels]
            run(what, [*pip, *build], log, env={**env, "CXXFLAGS": flags, "LDFLAGS": flags})
            return next((work / wheels).glob("ale_py-*.whl"))

        try:
            watching, knowing = (flags.format(work / "profile") for flags in ALE_PROFILE)
            watched = compiled("compiling ALE to watch it", "watched", watching)
            run("pip", [*pip, "install", "--no-deps", "--no-index", "--target", work / "site", watched], log, env=env)
            seen = {"PYTHONPATH": str(work / "site"), "PYTHON_GIL": "0"}
            run("watching ALE", ["timeout", "300", python, "-W", "ignore", "-c", ALE_TRAINING], log, env=seen)
            built = compiled("compiling ALE", "wheels", knowing)
        except SetupError as error:
            say(f"ALE is compiled without a profile: {str(error).splitlines()[0]}")
            shutil.rmtree(work / "wheels", ignore_errors=True)
            built = compiled("compiling ALE", "wheels", "")
        folder.mkdir(parents=True, exist_ok=True)
        wheel = built.rename(folder / built.name)
        shutil.rmtree(work)
        say(f"built in {minutes(time.monotonic() - start)} minutes: {wheel}")
        return wheel


def ordinary_interpreter():
    """A GIL-build CPython 3.13 or 3.12, or None."""
    versions = ["3.13", "3.12"]
    candidates = [os.environ["REACTORNB_GIL_PYTHON"]] if os.environ.get("REACTORNB_GIL_PYTHON") else []
    for version in versions:
        candidates += [
            "python" + version,
            *sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python"))),
        ]
    for candidate in candidates:
        path = shutil.which(candidate)
        facts = probe(path) if path else None
        # sys.executable, since a pyenv shim runs another version when the folder's setting changes
        if facts and facts["version"][:2] in ([3, 12], [3, 13]) and not facts["free_threaded"] and not facts["missing"]:
            return Path(facts["executable"])
    return None


def main():
    parser = argparse.ArgumentParser(description="Set the project up; see the top of this file.")
    parser.add_argument("--tests", action="store_true", help="also what the browser tests need, and ALE")
    parser.add_argument("--atari", action="store_true", help="also ALE, built from source")
    parser.add_argument(
        "--fast", action="store_true", help="on a CPython compiled with a profile, built once per machine"
    )
    parser.add_argument("--lean", action="store_true", help="only what runs the notebooks, as small as can be had")
    parser.add_argument("--gil", action="store_true", help="only .venv-gil, on an ordinary CPython")
    chosen = parser.parse_args()
    # A set-up that is told to stop takes its compiler with it: `run` ends its command on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if sys.platform != "linux":
            raise SetupError(
                "this script knows Linux only; elsewhere: pip install reactornb[all] in a python3.14t environment"
            )
        if re.search(r"\s", str(CACHE)):
            raise SetupError(
                f"CPython cannot be built below a folder with a space in its name, {CACHE}; set REACTORNB_CACHE"
            )
        if chosen.gil:
            python = ordinary_interpreter()
            if python:
                make_venv(GIL_VENV, python, GIL_VENV_EXTRAS, GIL_VENV_BYTES, kernel=False)
            else:
                shutil.rmtree(GIL_VENV, ignore_errors=True)
                say(
                    "no ordinary CPython 3.12 or 3.13 here: the suite's run with a GIL is left out (REACTORNB_GIL_PYTHON names one)"
                )
            return 0
        install_debian_packages("run", "the demo")
        if chosen.tests:
            try:
                install_debian_packages("test", "the browser tests")
            except SetupError as error:
                say(f"without the browser tests: {error}")
        extras, size = (LEAN_EXTRAS, LEAN_BYTES) if chosen.lean else (VENV_EXTRAS, VENV_BYTES)
        if not VENV.exists():  # said now, not after the build
            need_disk(REPO, BUILD_BYTES + size, "set-up")
        make_venv(VENV, interpreter(fast=chosen.fast), extras, size, kernel=True, lean=chosen.lean)
        # Not built for `make demo`, which needs none of it and would be delayed by minutes; once built, it is installed there too.
        install_ale(VENV, build=chosen.tests or chosen.atari)
    except SetupError as error:
        print(f"setup: error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on", file=sys.stderr, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
