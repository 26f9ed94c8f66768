"""Set-up's source of CPython where the one it names has left the archive, and its uv: a made-up archive with a key of its own."""

import hashlib
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setup_script


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The script as a module, with a cache folder of its own."""
    monkeypatch.setenv("REACTORNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REACTORNB_PYTHON", raising=False)
    return setup_script.load()


# -- the archive ----------------------------------------------------------------------------------------------------------

ARCHIVE_TOOLS = all(map(shutil.which, ("apt-get", "gpg", "gpgv")))
needs_apt = pytest.mark.skipif(not ARCHIVE_TOOLS, reason="apt-get, gpg and gpgv make and read the archive")


class Archive:
    """A Debian archive in a folder: one suite a call of `publish`, signed with a key made for it."""

    def __init__(self, folder):
        self.base, self.keys = folder / "archive", folder / "keys"
        self.base.mkdir()
        self.keys.mkdir(mode=0o700)
        self.keyring = self.new_key("archive")

    def gpg(self, *words):
        env = os.environ | {"GNUPGHOME": str(self.keys)}
        return subprocess.run(["gpg", "--batch", *map(str, words)], env=env, capture_output=True, check=True).stdout

    def new_key(self, name):
        self.gpg(
            "--passphrase", "", "--quick-generate-key", f"{name} <{name}@example.invalid>", "ed25519", "sign", "never"
        )
        keyring = self.keys / f"{name}.gpg"
        keyring.write_bytes(self.gpg("--export", f"{name}@example.invalid"))
        return keyring

    def publish(self, suite, versions, *, key="archive", content=b"CPython "):
        """Put versions of CPython's source into the pool and into the index of a suite: "3.14.9" -> python3.14 3.14.9-1."""
        entries = []
        for version in versions:
            package = "python" + ".".join(version.split(".")[:2])
            folder = self.base / "pool" / "main" / "p" / package
            folder.mkdir(parents=True, exist_ok=True)
            files = {
                f"{package}_{version}.orig.tar.xz": content + version.encode(),
                f"{package}_{version}-1.dsc": b"dsc",
            }
            for name, data in files.items():
                (folder / name).write_bytes(data)
            listed = "".join(f"\n {hashlib.sha256(d).hexdigest()} {len(d)} {n}" for n, d in files.items())
            md5 = "".join(f"\n {hashlib.md5(d).hexdigest()} {len(d)} {n}" for n, d in files.items())
            entries.append(
                f"Package: {package}\nBinary: {package}\nVersion: {version}-1\nArchitecture: any\nFormat: 3.0 (quilt)\n"
                f"Directory: pool/main/p/{package}\nFiles:{md5}\nChecksums-Sha256:{listed}\n"
            )
        index = self.base / "dists" / suite / "main" / "source" / "Sources.xz"
        index.parent.mkdir(parents=True, exist_ok=True)
        plain = "\n".join(entries).encode()
        index.write_bytes(lzma.compress(plain))
        hashes = "".join(
            f"\n {hashlib.sha256(data).hexdigest()} {len(data)} main/source/{name}"
            for name, data in (("Sources", plain), ("Sources.xz", index.read_bytes()))
        )
        release = index.parents[2] / "Release"
        release.write_text(
            f"Origin: Made\nSuite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
            f"Date: Sat, 28 Nov 2026 00:00:00 UTC\nSHA256:{hashes}\n"
        )
        self.gpg(
            "--yes",
            "--local-user",
            f"{key}@example.invalid",
            "--clearsign",
            "-o",
            release.with_name("InRelease"),
            release,
        )
        return index


@pytest.fixture
def archive(setup, tmp_path, monkeypatch):
    """The archive as the only one that apt knows of; its key is the one that counts, in place of Debian's."""
    made = Archive(tmp_path)
    asked, ask = setup.newest_source, setup.output_of
    monkeypatch.setattr(setup, "newest_source", lambda base: asked(base, made.keyring))
    listed = f"file://{made.base}\n"
    monkeypatch.setattr(setup, "output_of", lambda command: listed if "indextargets" in command else ask(command))
    yield made
    made_env = os.environ | {"GNUPGHOME": str(made.keys)}
    subprocess.run(["gpgconf", "--kill", "all"], env=made_env, check=False, capture_output=True)


@needs_apt
@pytest.mark.slow
def test_where_the_source_has_left_the_archive_the_newest_of_its_series_is_taken_and_said(setup, archive, capsys):
    archive.publish("testing", ["3.14.8", "3.13.9"])
    archive.publish("unstable", ["3.14.9", "3.14.8", "3.15.0"])
    target, version = setup.fetch_source()
    assert (target.name, version) == ("python3.14_3.14.9.orig.tar.xz", "3.14.9")
    assert target.read_bytes() == b"CPython 3.14.9"
    assert (
        "CPython 3.14.7 has left the Debian archive; taking 3.14.9, which its signed index lists"
        in capsys.readouterr().out
    )
    assert setup.fetch_source() == (target, version)  # kept: the second time only the index is fetched


@needs_apt
@pytest.mark.slow
def test_versions_are_compared_as_numbers(setup, archive):
    archive.publish("testing", ["3.14.10"])
    archive.publish("unstable", ["3.14.9"])
    assert setup.fetch_source()[1] == "3.14.10"


@needs_apt
@pytest.mark.slow
def test_a_series_that_is_not_listed_is_not_replaced_by_the_next(setup, archive):
    archive.publish("testing", ["3.13.9"])
    archive.publish("unstable", ["3.15.0"])
    with pytest.raises(setup.SetupError, match=r"index lists no source of CPython 3\.14; check the network, or set"):
        setup.fetch_source()


@needs_apt
@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["another's key", "a changed release", "a changed index", "no signature"])
def test_an_index_that_is_not_rightly_signed_is_not_believed(setup, archive, wrong):
    archive.publish("testing", ["3.14.8"])
    index = archive.publish("unstable", ["3.14.9"])
    signed = index.parents[2] / "InRelease"
    if wrong == "another's key":
        archive.new_key("stranger")
        archive.publish("unstable", ["3.14.9"], key="stranger")
    elif wrong == "a changed release":
        signed.write_bytes(signed.read_bytes().replace(b"Origin: Made", b"Origin: Evil"))
    elif wrong == "a changed index":
        index.write_bytes(lzma.compress(lzma.decompress(index.read_bytes()).replace(b"3.14.9", b"3.14.6")))
    else:
        signed.unlink()
    with pytest.raises(setup.SetupError, match=r"could not be fetched: .*apt-get update failed"):
        setup.fetch_source()
    assert not list((setup.CACHE / "sources").glob("*.xz"))


@needs_apt
@pytest.mark.slow
def test_a_source_that_is_not_the_one_the_index_lists_is_not_kept(setup, archive):
    for suite in ("testing", "unstable"):
        archive.publish(suite, ["3.14.9"])
    (archive.base / "pool/main/p/python3.14/python3.14_3.14.9.orig.tar.xz").write_bytes(b"something else")
    with pytest.raises(setup.SetupError, match="damaged or changed"):
        setup.fetch_source()
    assert list((setup.CACHE / "sources").iterdir()) == []


@needs_apt
@pytest.mark.slow
def test_the_source_that_is_named_is_taken_while_the_archive_has_it(setup, archive, monkeypatch, capsys):
    archive.publish("testing", ["3.14.7"])
    archive.publish("unstable", ["3.14.9"])
    monkeypatch.setattr(setup, "SOURCE_SHA256", hashlib.sha256(b"CPython 3.14.7").hexdigest())
    assert setup.fetch_source()[1] == "3.14.7"
    assert "has left" not in capsys.readouterr().out


# -- uv -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(setup, monkeypatch):
    """No uv on the PATH; `ran` is what the script runs. pip brings a uv unless `refused`; downloads by uv itself are closed."""
    setup.ran, setup.refused = [], False
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)

    def run(what, command, log, **_):
        command = [str(word) for word in command]
        setup.ran.append(command)
        if "--target" in command and not setup.refused:
            program = Path(command[command.index("--target") + 1]) / "bin" / "uv"
            program.parent.mkdir(parents=True)
            program.write_text("#!/bin/sh\necho uv 1\n")
            program.chmod(0o755)
            return
        raise setup.SetupError("no way out")

    monkeypatch.setattr(setup, "run", run)
    return setup


def test_uv_comes_from_pip_once_and_is_kept_in_the_cache(closed):
    uv = closed.uv_program(sys.executable)
    assert uv.is_relative_to(closed.CACHE)
    assert closed.uv_program(sys.executable) == uv
    (command,) = closed.ran
    assert command[-1] == "uv==" + closed.UV
    assert not list((closed.CACHE / "uv").glob("*.partial"))


def test_a_python_without_pip_is_passed_over_for_the_next(closed):
    assert closed.uv_program("/bin/false", sys.executable) is not None
    assert closed.uv_program() is not None  # there by now
    assert [command[2] for command in closed.ran] == [sys.executable]


def test_where_neither_pip_nor_uv_gets_out_the_build_is_what_is_left(closed, capsys):
    assert closed.interpreter_from_uv() is None
    assert "uv cannot download it here; building it from source" in capsys.readouterr().out
    assert [command[2:] for command in closed.ran][-1][1:] == ["python", "install", "3.14t"]
    shutil.rmtree(closed.CACHE / "uv")
    closed.refused = True
    assert closed.interpreter_from_uv() is None


def test_packages_are_installed_by_pip_where_uv_cannot(closed, tmp_path, capsys):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    assert closed.install_with_uv(tmp_path / "venv", ["numpy"], tmp_path / "log", None, lean=False) is False
    assert "uv cannot install them here; pip does" in capsys.readouterr().out
    assert closed.ran[-1][1:3] == ["pip", "install"]
    assert "--torch-backend" not in closed.ran[-1]
