"""ALE, which has no wheel for free-threaded builds: built from its source distribution, once per machine."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time

from steps.debian import install_debian_packages
from steps.environment import name_of
from steps.interpreter import probe
from steps.tools import CACHE, ENV, GB, SetupError, locked, minutes, need_disk, output_of, run, say, unpacked

# ALE has no wheel for free-threaded builds; its source distribution needs no change to build there.
ALE = "0.12.1"
ALE_SHA256 = "c503d574c5983e1063b451201ccb779d935919c0f6bf116fb0f4f8aa4c86d249"
# Installed by us: build isolation would also bring jax, which the source distribution names for its XLA interface.
ALE_BUILD_TOOLS = ["scikit-build-core==1.1.2", "nanobind==3.1.0", "cmake==4.4.4", "ninja==1.13.2"]
ALE_CMAKE = ["-DSDL_SUPPORT=OFF", "-DSDL_DYNLOAD=OFF", "-DBUILD_VECTOR_XLA_LIB=OFF"]  # no window, no jax
# Profile-guided optimisation: a step of Pong takes an eighth less time, with the same observations to
# the byte. Code that the games below do not reach is compiled as without a profile.
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
ALE_BYTES = 1.0 * GB  # measured, and rounded up


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
    """Install ALE into an environment: from the cache folder, or, with `build`, built there first.

    An error here is one line and no failure: everything but Atari works without ALE.
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
                # A library it was linked with is gone: no ALE is better than one that fails when it is used.
                run("pip", [*pip, "uninstall", "-y", "ale-py"], log)
                raise SetupError(f"the ALE built in {folder} cannot be imported; remove that folder to build it again")
            stamp.write_text(folder.name)
        say(f"ALE {ALE} is in {venv.name}" + ("" if "vector" in folder.name else ", without its vector environment"))
    except SetupError as error:
        say(f"without Atari: {error}")


def build_ale(python, folder):
    """Build ALE's wheel from its source distribution, once per machine."""
    with locked(folder.name):
        wheel = ale_wheel(folder)  # built by another set-up, while this one waited for the lock
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
        # GCC finds a profile by the names of object files and sources, so both builds use the same folders.
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
