"""The interpreters: a free-threaded CPython 3.14, found, downloaded or built; an ordinary one for the suite's second run."""

import contextlib
import glob
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path

from steps.debian import install_debian_packages
from steps.source import CPYTHON, SOURCE_SHA256, fetch_source
from steps.tools import (
    CACHE,
    GB,
    SetupError,
    files_below,
    locked,
    minutes,
    need_disk,
    output_of,
    run,
    say,
    sha256,
    unpacked,
)
from steps.uv import uv_program

# -O3 is CPython's own default. With a profile a step of CartPole takes a quarter less time, and a loop of integers 43 % less. CPython's
# own choice of training tests, and link-time optimisation, take half an hour, and gain no more than these tests in nine minutes.
CONFIGURE = ["--disable-gil", "--disable-test-modules"]
PLAIN = ["--without-static-libpython", "CFLAGS=-g0"]  # no static library, no debug information
TRAINING = (
    "-m test --pgo test_array test_bisect test_collections test_dataclasses test_float test_functools test_generators "
    "test_heapq test_json test_operator test_ordered_dict test_patma test_re test_struct"
)
PROFILED = ["--enable-optimizations", "PROFILE_TASK=" + TRAINING]
OBJECT_FILES = 300  # of a build, for the progress line
BUILD_BYTES = 1.0 * GB  # measured, and rounded up

# A closed network refuses at once, or drops packets: then uv gives up after four seconds, twice.
UV_PATIENCE = {"UV_HTTP_CONNECT_TIMEOUT": "4", "UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "1"}

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
    """Version, build and missing modules of an interpreter, or None when it does not run."""
    text = output_of([str(python), "-I", "-c", PROBE])
    try:
        return json.loads(text.splitlines()[-1]) if text else None
    except ValueError:
        return None


def unfit(facts):
    """Why an interpreter cannot be used, or None when it can."""
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
        fast: build one with a profile unless the environment or the PATH has one, which is used as it is.
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
        built = built_interpreter(profiled=profiled)  # by another set-up, while this one waited for the lock
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
        # Without pip, which environments bring. The standard library is compiled to bytecode on import, not all of it, three times, now.
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
