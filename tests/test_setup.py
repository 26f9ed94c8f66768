"""The set-up script: what it takes for an interpreter, what it calls finished, what it says when it cannot go on."""

import hashlib
import json
import tarfile
import threading
from pathlib import Path

import pytest
import setup_script

FIT = {"version": [3, 14, 7], "free_threaded": True, "missing": []}


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The script as a module, with a cache folder of its own and no interpreter named or on the PATH."""
    monkeypatch.setenv("REACTORNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REACTORNB_PYTHON", raising=False)
    module = setup_script.load()
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return module


def pretend_built(setup, *, marker=True, profiled=False):
    folder = setup.build_folder(profiled=profiled)
    python = folder / "bin" / "python3.14t"
    python.parent.mkdir(parents=True)
    python.touch()
    if marker:
        (folder / "build.json").write_text("{}")
    return python


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (FIT, None),
        (None, "does not run"),
        (FIT | {"version": [3, 13, 1]}, "free-threaded CPython 3.13.1, not"),
        (FIT | {"free_threaded": False}, "GIL CPython 3.14.7, not"),
        (FIT | {"missing": ["ssl", "lzma"]}, "ssl, lzma"),
    ],
)
def test_an_interpreter_is_judged_by_version_threading_and_modules(setup, facts, reason):
    verdict = setup.unfit(facts)
    assert verdict is None if reason is None else reason in verdict


def test_a_named_interpreter_that_does_not_fit_is_an_error_and_not_passed_over(setup, monkeypatch):
    monkeypatch.setenv("REACTORNB_PYTHON", "/nowhere/python3.14t")
    with pytest.raises(setup.SetupError, match=r"REACTORNB_PYTHON=/nowhere/python3.14t .* no such program; unset it"):
        setup.interpreter()


def test_a_finished_build_is_used_again(setup, monkeypatch):
    monkeypatch.setattr(setup, "probe", lambda python: FIT)
    python = pretend_built(setup)
    assert setup.interpreter() == python


def test_a_build_cut_short_is_not_taken_for_one(setup, monkeypatch):
    monkeypatch.setattr(setup, "probe", lambda python: FIT)
    pretend_built(setup, marker=False)
    assert setup.built_interpreter() is None


def test_a_build_that_no_longer_runs_is_not_used(setup, monkeypatch):
    monkeypatch.setattr(setup, "probe", lambda python: None)
    pretend_built(setup)
    assert setup.built_interpreter() is None


def test_other_options_are_kept_in_another_folder(setup, monkeypatch):
    plain = setup.build_folder()
    monkeypatch.setattr(setup, "CONFIGURE", [*setup.CONFIGURE, "--with-lto"])
    assert setup.build_folder() != plain


def test_a_profiled_build_is_kept_beside_the_plain_one_and_preferred_to_it(setup, monkeypatch):
    monkeypatch.setattr(setup, "probe", lambda python: FIT)
    plain = pretend_built(setup)
    assert setup.interpreter() == plain
    profiled = pretend_built(setup, profiled=True)
    assert plain.parent != profiled.parent
    assert setup.interpreter() == setup.interpreter(fast=True) == profiled


def test_a_fast_python_is_built_where_there_is_only_a_plain_one(setup, monkeypatch):
    monkeypatch.setattr(setup, "probe", lambda python: FIT)
    monkeypatch.setattr(setup, "uv_program", lambda *_: None)
    asked = []
    monkeypatch.setattr(setup, "build_interpreter", lambda *, profiled: asked.append(profiled))
    pretend_built(setup)
    setup.interpreter(fast=True)
    assert asked == [True]


def test_two_set_ups_at_once_build_once(setup, monkeypatch):
    # The second starts while the first is building, and must find its result instead of starting over.
    building, builds = threading.Event(), []

    def fetch():
        builds.append(1)
        building.set()
        pretend_built(setup)
        raise setup.SetupError("stop here")

    monkeypatch.setattr(setup, "probe", lambda python: FIT)
    monkeypatch.setattr(setup, "install_debian_packages", lambda *_: None)
    monkeypatch.setattr(setup, "fetch_source", fetch)
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/usr/bin/" + name)

    def first():
        with pytest.raises(setup.SetupError):
            setup.build_interpreter()

    thread = threading.Thread(target=first)
    thread.start()
    building.wait()
    assert setup.build_interpreter() == setup.build_folder() / "bin" / "python3.14t"
    thread.join()
    assert builds == [1]


@pytest.fixture
def compiler(setup, monkeypatch, tmp_path):
    """The script with CPython's source and a compiler; `commands` is what it runs, of which none is run."""
    setup.commands, setup.fails = [], None
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(setup, "install_debian_packages", lambda *_: None)
    monkeypatch.setattr(setup, "fetch_source", lambda: (tmp_path / "source.tar.xz", "3.14.7"))
    with tarfile.open(tmp_path / "source.tar.xz", "w:xz") as tar:
        tar.add(__file__, "Python-3.14.7/configure")

    def run(what, command, log, *, cwd, **_):
        command = [str(word) for word in command]
        setup.commands.append((what, command))
        if what == "configuring":
            assert [file.name for file in cwd.iterdir()] == ["configure"]  # nothing is left of another try
            setup.prefix = Path(command[1].partition("=")[2])
        (cwd / "made").touch()
        if what == setup.fails:
            raise setup.SetupError(f"{what} failed with status 1")
        if what == "installing":
            (setup.prefix / "bin").mkdir(parents=True)

    monkeypatch.setattr(setup, "run", run)
    monkeypatch.setattr(setup, "probe", lambda python: FIT | {"compiler": "GCC"})
    return setup


def test_cpython_is_compiled_once_and_without_a_profile(compiler, tmp_path):
    python = compiler.build_interpreter()
    assert [what for what, _ in compiler.commands] == ["configuring", "compiling CPython", "installing"]
    assert compiler.build_interpreter() == python
    assert len(compiler.commands) == 3  # not again
    marker = json.loads((python.parent.parent / "build.json").read_text())
    assert "--disable-gil" in marker["configure"]
    assert "--enable-optimizations" not in marker["configure"]
    assert marker["version"] == "3.14.7"
    assert list((tmp_path / "cache").glob("build-*")) == []


def test_a_fast_cpython_is_compiled_anew_with_what_was_seen_of_it(compiler, tmp_path):
    python = compiler.build_interpreter(profiled=True)
    assert [what for what, _ in compiler.commands] == [
        "configuring", "compiling CPython to watch it", "watching CPython", "compiling CPython", "installing",
    ]  # fmt: skip
    marker = json.loads((python.parent.parent / "build.json").read_text())
    assert {"--disable-gil", "--enable-optimizations"} <= set(marker["configure"])
    assert list((tmp_path / "cache").glob("build-*")) == []


@pytest.mark.parametrize("fails", ["configuring", "compiling CPython to watch it", "watching CPython", "installing"])
def test_a_fast_build_that_fails_leaves_the_plain_one_in_use(fails, compiler):
    plain = compiler.build_interpreter()
    compiler.fails = fails
    with pytest.raises(compiler.SetupError, match=f"{fails} failed"):
        compiler.build_interpreter(profiled=True)
    assert compiler.built_interpreter(profiled=True) is None
    assert compiler.built_interpreter() == plain


def test_no_archive_says_what_to_do(setup, monkeypatch):
    monkeypatch.setattr(setup, "output_of", lambda command: None)
    with pytest.raises(setup.SetupError, match=r"no Debian archive is configured.*REACTORNB_PYTHON"):
        setup.fetch_source()


def test_an_archive_out_of_reach_says_so(setup, monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "output_of", lambda command: "http://127.0.0.1:9/\n")
    with pytest.raises(setup.SetupError, match=r"an archive was not reached.*check the network"):
        setup.fetch_source()


def archive(setup, monkeypatch, tmp_path, content):
    source = tmp_path / "archive" / setup.SOURCE
    source.parent.mkdir(parents=True)
    source.write_bytes(content)
    monkeypatch.setattr(setup, "output_of", lambda command: f"file://{tmp_path}/nothing/\nfile://{tmp_path}/archive/\n")


def test_the_source_comes_from_the_first_archive_that_has_it(setup, monkeypatch, tmp_path):
    archive(setup, monkeypatch, tmp_path, b"source")
    monkeypatch.setattr(setup, "SOURCE_SHA256", hashlib.sha256(b"source").hexdigest())
    target, version = setup.fetch_source()
    assert (target.read_bytes(), version) == (b"source", "3.14.7")


def test_a_source_that_is_not_the_one_named_is_not_kept(setup, monkeypatch, tmp_path):
    archive(setup, monkeypatch, tmp_path, b"something else")
    with pytest.raises(setup.SetupError, match="damaged or changed"):
        setup.fetch_source()
    assert list((tmp_path / "cache" / "sources").iterdir()) == []


def test_no_compiler_says_what_to_do(setup):
    with pytest.raises(setup.SetupError, match=r"no gcc.*apt-get install gcc make, or set REACTORNB_PYTHON"):
        setup.build_interpreter()


def test_too_small_a_disk_is_said_before_anything_is_built(setup, tmp_path):
    with pytest.raises(setup.SetupError, match=r"set-up needs 1000000 GB of disk at .* make room"):
        setup.need_disk(tmp_path / "not yet there", 1e15, "set-up")


def test_a_failing_step_shows_the_end_of_its_log(setup, tmp_path, capsys):
    with pytest.raises(setup.SetupError, match=r"compiling failed with status 3 \(log: .*\); mend it"):
        setup.run("compiling", ["sh", "-c", "echo no such header; exit 3"], tmp_path / "log", fix="mend it")
    assert "no such header" in capsys.readouterr().out


def test_an_environment_with_a_current_stamp_is_left_alone(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "uv_program", lambda *_: None)
    monkeypatch.setattr(setup, "run", lambda what, *_, **__: (tmp_path / "venv").mkdir(exist_ok=True))
    setup.make_venv(tmp_path / "venv", "/bin/true", "test", 0, kernel=False)
    assert json.loads((tmp_path / "venv" / "reactornb-setup.json").read_text())["python"]
    monkeypatch.setattr(setup, "run", None)
    setup.make_venv(tmp_path / "venv", "/bin/true", "test", 0, kernel=False)


def test_every_section_of_the_debian_packages_is_read(setup):
    assert [("graphviz" in setup.debian_packages("run")), ("libssl-dev" in setup.debian_packages("build"))] == [
        True,
        True,
    ]
    assert setup.debian_packages("test") == ["chromium"]  # in .ci/apt.txt: Ubuntu has none, so binder/apt.txt must not


# -- ALE ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def atari(setup, monkeypatch, tmp_path):
    """The script with an interpreter that answers, OpenCV and a compiler; `commands` is what it runs, of which none is run."""
    setup.commands, setup.opencv, setup.imports, setup.fails = [], "4.6.0+dfsg-12 installed\n", True, None
    monkeypatch.setattr(setup, "probe", lambda python: FIT | {"compiler": "GCC"})
    monkeypatch.setattr(setup.shutil, "which", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(setup, "install_debian_packages", lambda *_: None)

    def output_of(command):
        return setup.opencv if command[0] == "dpkg-query" else "" if setup.imports else None

    def run(what, command, log, *, env=None, **_):
        command = [str(word) for word in command]
        setup.commands.append((what, command, env or {}))
        if "-d" in command:
            archive = Path(command[command.index("-d") + 1])
            archive.mkdir()
            with tarfile.open(archive / "ale_py-0.12.1.tar.gz", "w:gz") as tar:
                tar.add(__file__, "ale_py-0.12.1/pyproject.toml")
            setup.requirements = Path(command[command.index("-r") + 1]).read_text()
        if "-w" in command:
            assert command[command.index("-w") - 1].endswith("/source/ale_py-0.12.1")
            wheels = Path(command[command.index("-w") + 1])
            wheels.mkdir()
            (wheels / "ale_py-0.12.1-cp314-cp314t-linux_x86_64.whl").touch()
        if what == setup.fails:
            raise setup.SetupError(f"{what} failed with status 1")

    monkeypatch.setattr(setup, "output_of", output_of)
    monkeypatch.setattr(setup, "run", run)
    (tmp_path / "venv").mkdir()
    return setup


def ran(setup, word):
    return [command for _, command, _ in setup.commands if word in command]


def test_ale_is_built_once_and_installed_wherever_it_is_missing(atari, tmp_path):
    atari.install_ale(tmp_path / "venv", build=True)
    assert len(ran(atari, "wheel")) == 2  # to be watched, and then for good
    assert len(ran(atari, "--force-reinstall")) == 1
    atari.commands.clear()
    atari.install_ale(tmp_path / "venv", build=True)
    assert atari.commands == []
    (tmp_path / "another").mkdir()
    atari.install_ale(tmp_path / "another", build=False)
    assert len(ran(atari, "--force-reinstall")) == 1
    assert not ran(atari, "wheel")


def test_ale_is_built_from_the_source_that_was_looked_at_with_its_vector_environment(atari, tmp_path):
    atari.install_ale(tmp_path / "venv", build=True)
    assert atari.requirements == f"ale-py==0.12.1 --hash=sha256:{atari.ALE_SHA256}\n"
    (options,) = (env["CMAKE_ARGS"] for what, _, env in atari.commands if what == "compiling ALE")
    assert "-DBUILD_VECTOR_LIB=ON" in options
    assert "-DBUILD_VECTOR_XLA_LIB=OFF" in options
    assert list((tmp_path / "cache").glob("build-*")) == []


def test_ale_without_opencv_is_built_without_its_vector_environment(atari, tmp_path, capsys):
    with_it = atari.ale_folder("python", atari.opencv_version())
    atari.opencv = None
    assert atari.ale_folder("python", atari.opencv_version()) != with_it
    atari.install_ale(tmp_path / "venv", build=True)
    (options,) = (env["CMAKE_ARGS"] for what, _, env in atari.commands if what == "compiling ALE")
    assert "-DBUILD_VECTOR_LIB=OFF" in options
    assert "without its vector environment" in capsys.readouterr().out


def test_ale_is_compiled_anew_with_what_was_seen_of_it(atari, tmp_path):
    atari.install_ale(tmp_path / "venv", build=True)
    flags = [env["CXXFLAGS"] for _, command, env in atari.commands if "wheel" in command]
    assert [flag.partition("=")[0] for flag in flags] == ["-fprofile-generate", "-fprofile-use"]
    folders = {env["SKBUILD_BUILD_DIR"] for _, command, env in atari.commands if "wheel" in command}
    assert len(folders) == 1
    order = [what for what, _, _ in atari.commands]
    assert order.index("compiling ALE to watch it") < order.index("watching ALE") < order.index("compiling ALE")


@pytest.mark.parametrize("fails", ["compiling ALE to watch it", "watching ALE"])
def test_ale_is_compiled_all_the_same_where_it_cannot_be_watched(fails, atari, tmp_path, capsys):
    atari.fails = fails
    atari.install_ale(tmp_path / "venv", build=True)
    what, _, env = [c for c in atari.commands if "wheel" in c[1]][-1]
    assert (what, env["CXXFLAGS"]) == ("compiling ALE", "")
    assert f"without a profile: {fails} failed" in capsys.readouterr().out
    assert len(ran(atari, "--force-reinstall")) == 1


def test_ale_is_not_built_for_the_demo(atari, tmp_path):
    atari.install_ale(tmp_path / "venv", build=False)
    assert atari.commands == []


def test_ale_that_cannot_be_built_is_one_line_and_no_error(atari, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(atari.shutil, "which", lambda name: None)
    atari.install_ale(tmp_path / "venv", build=True)
    assert capsys.readouterr().out.splitlines() == [
        "setup: without Atari: no gcc, so ALE cannot be built; apt-get install gcc g++, then set up again"
    ]


def test_ale_that_cannot_be_imported_is_taken_out_again(atari, tmp_path, capsys):
    atari.imports = False
    atari.install_ale(tmp_path / "venv", build=True)
    assert ran(atari, "uninstall")
    assert "cannot be imported; remove that folder" in capsys.readouterr().out
    assert list((tmp_path / "venv").iterdir()) == []


def test_a_build_of_ale_cut_short_is_not_taken_for_one(atari):
    folder = atari.ale_folder("python", atari.opencv_version())
    folder.mkdir(parents=True)
    assert atari.ale_wheel(folder) is None
