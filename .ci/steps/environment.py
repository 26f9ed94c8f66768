"""The environments `.venv` and `.venv-gil`, with this project in them, and the Jupyter kernel."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time

from steps.tools import CACHE, GB, REPO, SetupError, files_below, last_line, locked, minutes, need_disk, run, say
from steps.uv import uv_program

VENV, VENV_EXTRAS, LEAN_EXTRAS = REPO / ".venv", "notebook,rl,test,dev", "notebook,rl"
GIL_VENV, GIL_VENV_EXTRAS = REPO / ".venv-gil", "notebook,test,atari"
CONSTRAINTS = REPO / ".ci" / "constraints.txt"
KERNEL = "reactornb"
# measured, and rounded up
VENV_BYTES, GIL_VENV_BYTES, LEAN_BYTES = 7.0 * GB, 1.0 * GB, 3.0 * GB


def name_of(venv):
    """The name of an environment's lock and log."""
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
        # Same interpreter, other requirements: pip changes what differs. Otherwise start with an empty environment.
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

    It ignores pip's configuration and cache. Where it fails, pip may still succeed.

    Args:
        lean: take torch's CPU build, which uv knows where to find. The build for graphics cards, which PyPI has, works on a machine
            without one, but is 5 GB where the other is 1.

    Returns:
        False without uv, or if uv cannot get the packages here.
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
