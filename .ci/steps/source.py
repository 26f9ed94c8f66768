"""CPython's source, from whichever Debian archive apt is configured with."""

import os
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from steps.tools import CACHE, SetupError, output_of, run, say, sha256

CPYTHON = "3.14.7"
SOURCE = "pool/main/p/python3.14/python3.14_3.14.7.orig.tar.xz"  # below the archive's base
SOURCE_SHA256 = "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81"
# The archive keeps only versions that one of its suites has. Once another 3.14.x replaces this one, the newest one that these suites list is used.
SOURCE_PACKAGE, SUITES = "python3.14", ["testing", "unstable"]

GONE = "does not have it"


def fetch_source():
    """CPython's source from the Debian archive that apt is configured with, its sha256 checked: (file, version).

    The version named above, or, if no archive has it any more, the newest 3.14 that an archive's signed index lists.
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


def download(uri, target, expected):
    """Fetch a file; returns why that failed, or None.

    Raises:
        SetupError: if its sha256 is another one; then nothing is kept.
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

    apt does the work, with lists of its own in the cache folder: it fetches the index, checks signature and checksums, and compares
    versions. The machine's lists and sources are not touched.

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
        settings["APT::Sandbox::User"] = "root"  # the owner of these folders
    # Without the machine's hooks, such as one that cleans its cache after an update.
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
