"""Debian packages: those of binder/apt.txt and .ci/apt.txt that are missing."""

import contextlib
import os
import re
import shutil
import subprocess

from steps.tools import CACHE, ENV, REPO, SetupError, locked, output_of, run, say


def debian_packages(section):
    """The packages under a heading of binder/apt.txt, or of .ci/apt.txt."""
    packages, current = [], None
    lists = [REPO / folder / "apt.txt" for folder in ("binder", ".ci")]
    for line in "\n".join(path.read_text() for path in lists).splitlines():
        heading = re.match(r"#\s*\[(\w+)\]", line)
        if heading:
            current = heading.group(1)
        elif line.strip() and not line.startswith("#") and current == section:
            packages.append(line.strip())
    return packages


def install_debian_packages(section, why):
    """Install the missing packages of a section; does nothing on a machine without dpkg."""
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
    # One apt at a time: a second set-up on this machine waits for the lock; another apt is waited for up to two minutes.
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "DPkg::Lock::Timeout=120"]
    log = CACHE / "logs" / "apt.log"
    with locked("apt"):
        # A failing update is ignored: one broken third-party source makes it fail, and the old lists may suffice.
        with contextlib.suppress(SetupError):
            run("apt-get update", [*apt, "update"], log)
        run("apt-get install", [*apt, "install", "--no-install-recommends", *missing], log, fix="try: " + by_hand)
