"""A folder with interpreter, packages and code that measures on a machine which has nothing: `reactornb bench scaling --pack FOLDER`.

Linux only. The folder holds this interpreter without symbols, the modules of the standard library that matter, NumPy, Gymnasium's classic
environments, reactornb, and the shared libraries of all of them, the C library included, so that the other machine needs a kernel of the
same architecture and /bin/sh, no network and no installation:

    reactornb bench scaling --pack /tmp/scaling
    tar -C /tmp -czf scaling.tar.gz scaling        # and on the other machine:
    tar -xzf scaling.tar.gz && scaling/measure --workers 1,2,4,8,16 --json table.json

torch alone is ten times the folder's limit, so what trains is left out.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

from reactornb.errors import ReactorError

__all__ = ["LIMIT_BYTES", "pack", "size_of"]

LIMIT_BYTES = 60_000_000

# Of the standard library: what no reactor needs. `encodings` stays a folder, since an archive cannot be read without it.
_LEFT_OUT = {
    "__pycache__", "_pyrepl", "config", "ensurepip", "idlelib", "lib2to3", "lib-dynload", "pydoc_data", "site-packages", "test", "tkinter",
    "turtledemo", "venv", "xmlrpc", "wsgiref", "encodings",
}  # fmt: skip
_EXTENSIONS_LEFT_OUT = ("_test", "_tkinter", "_curses", "readline", "_sqlite3", "_ssl", "_hashlib", "_dbm", "_gdbm", "xx", "_codecs_", "_ctypes_test", "_lzma", "_bz2", "_uuid", "_hmac", "_remote_debugging", "_elementtree", "pyexpat")  # fmt: skip
_ENCODINGS = ("__init__", "aliases", "ascii", "idna", "latin_1", "utf_8", "utf_16", "utf_32", "unicode_escape", "raw_unicode_escape")  # fmt: skip

# Packages as folders, and what of them is not imported here: parts of names, below the package.
_FOLDERS = {
    "numpy": (
        "f2py", "include", "_pyinstaller", "pkgconfig", "_core/_simd.", "_core/_multiarray_tests.", "_core/_rational_tests.",
        "_core/_umath_tests.", "_core/_struct_ufunc_tests.", "_core/_operand_flag_tests.", "_core/lib", "doc", "fft", "ma/", "polynomial",
    ),
    "reactornb": ("viz", "notebook", "durable", "cluster"),
}  # fmt: skip
# Pure Python without data: in the archive of the standard library.
_ARCHIVED = {
    "gymnasium": ("envs/mujoco", "envs/box2d", "envs/phys2d", "envs/tabular"),
    "farama_notifications": (),
    "cloudpickle": (),
    "lark": ("tools", "grammars", "__pyinstaller"),
}
_MODULES = ("typing_extensions",)

_LAUNCHER = """#!/bin/sh
# Measure on this machine; made by `reactornb bench scaling --pack`. Options as of `reactornb bench scaling`.
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONHOME="$here" PYTHONHASHSEED=0 PYTHON_GIL=0 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
exec "$here/lib/{loader}" --library-path "$here/lib" --argv0 "$here/bin/python" "$here/bin/python" -m reactornb bench scaling "$@"
"""


def pack(folder: Path) -> int:
    """Write the folder.

    Args:
        folder: it must not exist, or be empty.

    Returns:
        The bytes of all its files.

    Raises:
        ReactorError: if it is there already, if this is no Linux, or if a tool is missing or fails.
    """
    if sys.platform != "linux":
        raise ReactorError("--pack copies shared libraries as Linux links them; make the folder on Linux.")
    missing = [tool for tool in ("strip", "ldd") if shutil.which(tool) is None]
    if missing:
        raise ReactorError(f"--pack needs {' and '.join(missing)}: apt-get install binutils libc-bin.")
    if folder.exists() and any(folder.iterdir()):
        raise ReactorError(f"--pack: {folder} is not empty. Name a new folder.")
    version = "{}.{}{}".format(*sys.version_info[:2], sysconfig.get_config_var("ABIFLAGS") or "")
    standard = folder / "lib" / f"python{version}"
    modules = standard / "lib-dynload"
    packages = standard / "site-packages"
    for made in (folder / "bin", modules, packages):
        made.mkdir(parents=True)
    interpreter = folder / "bin" / "python"
    shutil.copyfile(Path(sys.executable).resolve(), interpreter)
    interpreter.chmod(0o755)
    _standard_library(Path(sysconfig.get_path("stdlib")), standard)
    _archive(folder / "lib" / f"python{version.replace('.', '')}.zip")
    for name, left_out in _FOLDERS.items():
        _package(name, packages, left_out)
    binaries = [interpreter, *folder.rglob("*.so*")]
    for binary in binaries:
        _run(["strip", "--strip-unneeded", binary])
    loader = _libraries(binaries, folder / "lib")
    launcher = folder / "measure"
    launcher.write_text(_LAUNCHER.format(loader=loader), encoding="utf-8")
    launcher.chmod(0o755)
    return size_of(folder)


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _origin(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ReactorError(f"--pack needs {name}, which is not installed: pip install reactornb[rl].")
    return Path(spec.origin)


def _standard_library(source: Path, target: Path) -> None:
    """What cannot be in an archive: the extensions, the codecs by which an archive is read, and the module by which Python knows its folder."""
    (target / "encodings").mkdir()
    for name in _ENCODINGS:
        shutil.copy(source / "encodings" / f"{name}.py", target / "encodings")
    shutil.copy(source / "os.py", target)
    for path in sorted((source / "lib-dynload").glob("*.so")):
        if not path.name.startswith(_EXTENSIONS_LEFT_OUT):
            shutil.copy(path, target / "lib-dynload")


def _archive(archive: Path) -> None:
    """Modules in pure Python, in one file that Python looks into before its folder."""
    standard = Path(sysconfig.get_path("stdlib"))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for path in _sources(standard):
            below = path.relative_to(standard)
            if below.parts[0].partition("-")[0] not in _LEFT_OUT and below.parts[0] not in _LEFT_OUT:
                out.write(path, below)
        for name in _MODULES:
            out.write(_origin(name), f"{name}.py")
        for name, left_out in _ARCHIVED.items():
            source = _origin(name).parent
            for path in _sources(source):
                if not path.relative_to(source).as_posix().startswith(left_out):
                    out.write(path, Path(name) / path.relative_to(source))


def _sources(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def _package(name: str, target: Path, left_out: tuple[str, ...]) -> None:
    """A package without what is left out, and the libraries that its wheel has beside it."""
    source = _origin(name).parent

    def ignore(folder: str, names: list[str]) -> set[str]:
        below = Path(folder).relative_to(source).as_posix()
        prefix = "" if below == "." else f"{below}/"
        return {
            n for n in names
            if n in ("__pycache__", "tests") or f"{prefix}{n}".startswith(left_out) or n.endswith((".pyi", ".pxd", ".a", ".pyc"))
        }  # fmt: skip

    shutil.copytree(source, target / name, ignore=ignore)
    libraries = source.with_name(f"{name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)


def _libraries(binaries: list[Path], target: Path) -> str:
    """Copy the shared libraries that the binaries are linked with; returns the name of the dynamic loader."""
    loader = None
    for binary in binaries:
        for line in _run(["ldd", binary]).splitlines():
            words = line.split()
            paths = [word for word in words if word.startswith("/")]
            if not paths or Path(paths[0]).is_relative_to(target.parent):
                continue
            path = Path(paths[0])
            if not (target / path.name).exists():
                shutil.copyfile(path.resolve(), target / path.name)
                (target / path.name).chmod(0o755)
            if path.name.startswith("ld-"):
                loader = path.name
    if loader is None:
        raise ReactorError("--pack: this interpreter is linked statically, which was never tried.")
    return loader


def _run(command: list[str | Path]) -> str:
    done = subprocess.run(  # noqa: S603 - commands of our own making
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode and "not a dynamic executable" not in done.stderr + done.stdout:
        raise ReactorError(f"--pack: {' '.join(map(str, command))} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
