"""uv: the one on the PATH, or one from PyPI in the cache folder."""

import shutil
from pathlib import Path

from steps.tools import CACHE, SetupError, locked, output_of, run

UV = "0.13.9"  # from PyPI, where there is none


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
