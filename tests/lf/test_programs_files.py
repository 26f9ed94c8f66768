"""Lingua Franca programs in files: imports, packages, target properties, federations, options."""

import sys
import warnings

import pytest
from lf_running import happened, loaded, run

from reactornb import Tag, ms, sec
from reactornb.errors import AssemblyError, LFSyntaxError, UnknownNameError
from reactornb.lf import load


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("LF_PACKAGES", raising=False)
    return tmp_path


def write(folder, **texts):
    """Files by path, dots for slashes: `src_lib_A="…"` is src/lib/A.lf."""
    for name, text in texts.items():
        path = folder.joinpath(*name.split("_")).with_suffix(".lf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


A = "reactor A { reaction(startup) {= see('A') =} }"
B = "reactor B { reaction(startup) {= see('B') =} }"


# ---------------------------------------------------------------- imports


def test_reactors_are_imported_from_a_file_beside_and_renamed(folder):
    write(
        folder,
        lib_two=f"{A} {B}",
        main='import A, B as Other from "lib/two.lf" main reactor { a = new A(); b = new Other() }',
    )
    assert happened(load(folder / "main.lf")).seen == ["A", "B"]


def test_an_import_brings_its_preamble_and_its_own_imports(folder):
    write(
        folder,
        a=A,
        b='import A from "a.lf" preamble {= WORD = "from b" =} reactor B { a = new A(); reaction(startup) {= see(WORD) =} }',
        main='import B from "b.lf" main reactor { b = new B() }',
    )
    assert sorted(happened(load(folder / "main.lf")).seen) == ["A", "from b"]


def test_a_file_is_read_once_and_files_may_import_each_other(folder):
    main = 'import A from "two.lf" import B from "two.lf" reactor X { a = new A() } main reactor { x = new X(); b = new B() }'
    write(folder, two=f'import X from "main.lf" preamble {{= N = globals().get("N", 0) + 1 =}} {A} {B}', main=main)
    program = load(folder / "main.lf")
    assert sorted(happened(program).seen) == ["A", "B"]
    assert program.namespace["N"] == 1


def test_an_imported_reactor_is_extended(folder):
    write(folder, a=A, main='import A from "a.lf" reactor C extends A { } main reactor { c = new C() }')
    assert happened(load(folder / "main.lf")).seen == ["A"]


@pytest.mark.parametrize("place", ["build/lfc_include", "lf-packages", "elsewhere"])
def test_packages_are_searched_where_the_handbook_says(folder, place, monkeypatch):
    library = folder / place / "greet" / "src" / "lib"
    library.mkdir(parents=True)
    (library / "A.lf").write_text(A)
    (library / "Both.lf").write_text(f"{A} {B}")
    if place == "elsewhere":
        monkeypatch.setenv("LF_PACKAGES", str(folder / place))
    write(
        folder, src_main="import A from <greet> import B from <greet/Both.lf> main reactor { a = new A(); b = new B() }"
    )
    assert happened(load(folder / "src" / "main.lf")).seen == ["A", "B"]


def test_what_cannot_be_imported_is_named_with_the_line(folder):
    write(
        folder, a=A, gone='import A\nfrom "none.lf" main reactor { }', wrong='\nimport AA from "a.lf" main reactor { }'
    )
    write(folder, package="import A from <nowhere> main reactor { }", broken='import A from "bad.lf" main reactor { }')
    write(folder, bad="reactor A {\n  timer }")
    with pytest.raises(UnknownNameError, match=r"gone.lf, line 1: cannot import .*none.lf"):
        load(folder / "gone.lf")
    with pytest.raises(UnknownNameError, match=r"wrong.lf, line 2: .*a.lf has no reactor 'AA'. Did you mean 'A'\?"):
        load(folder / "wrong.lf")
    with pytest.raises(UnknownNameError, match=r"package.lf, line 1: no package <nowhere> .*lf-packages"):
        load(folder / "package.lf")
    with pytest.raises(LFSyntaxError, match=r"bad.lf:2:\d+"):
        load(folder / "broken.lf")


def test_target_code_imports_modules_beside_the_program(folder):
    (folder / "lf_test_helper.py").write_text("ANSWER = 42")
    write(
        folder,
        main="preamble {= import lf_test_helper =} main reactor { reaction(startup) {= see(lf_test_helper.ANSWER) =} }",
    )
    assert happened(load(folder / "main.lf")).seen == [42]


def test_code_knows_where_its_program_lies(folder):
    write(
        folder, src_main="main reactor { reaction(startup) {= see(lf.source_directory(), lf.package_directory()) =} }"
    )
    assert happened(load(folder / "src" / "main.lf")).seen == [(str(folder / "src"), str(folder))]


def test_a_file_that_is_no_text_is_refused_with_its_place(folder):
    (folder / "main.lf").write_bytes(b"main reactor {\n\xff }")
    with pytest.raises(LFSyntaxError, match="UTF-8") as caught:
        load(folder / "main.lf")
    assert caught.value.line == 2


# ---------------------------------------------------------------- target properties


def test_the_target_says_when_to_stop():
    tale = run("target Python { timeout: 20 msec } main reactor { timer t(0, 10 ms); reaction(t) {= see(1) =} }")
    assert tale.seen == [1, 1, 1]
    assert tale.run.tag == Tag(ms(20))


def test_options_are_keywords_of_a_run():
    options = loaded(
        "target Python { timeout: 2 s, fast: true, keepalive: false, workers: 3 } main reactor { }"
    ).options
    assert options == {"until": sec(2), "fast": True, "keepalive": False, "workers": 3}
    assert loaded("target Python { single-threaded: true } main reactor { }").options == {"workers": 1}
    assert loaded("target Python { workers: 0 } main reactor { }").options == {}


def test_properties_about_compiling_are_passed_over():
    loaded(
        "target Python { build-type: Debug, cmake-include: [a, b], logging: debug, no-compile: true } main reactor { }"
    )


def test_properties_without_a_meaning_get_one_warning():
    with pytest.warns(UserWarning, match="'auth' has no meaning here") as caught:
        loaded("target Python { auth: true } main reactor { }")
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timeout: soon", "timeout takes a time of at least 0, such as 10 sec, not 'soon'"),
        ("timeout: [1 s]", "timeout takes a time"),
        ("timeout: true", "timeout takes a time"),
        ("fast: maybe", "fast takes true or false, not 'maybe'"),
        ("keepalive: 1", "keepalive takes true or false, not 1"),
        ("workers: many", "workers takes a whole number"),
        ("workers: {a: 1}", "workers takes a whole number"),
        ("timeout: -1", "timeout takes a time of at least 0"),
        ("workers: -2", "workers takes a whole number of at least 0"),
    ],
)
def test_properties_of_the_wrong_kind_are_refused_with_their_line(text, words):
    with pytest.raises(LFSyntaxError, match=words) as caught:
        loaded(f"target Python {{\n  {text} }} main reactor {{ }}")
    assert caught.value.line == 2


def test_keepalive_goes_on_until_the_timeout():
    assert run("target Python { keepalive: true, timeout: 30 ms } main reactor { }").run.tag == Tag(ms(30))


# ---------------------------------------------------------------- what has a meaning in other places


def test_a_federation_runs_as_one_program_with_one_warning():
    text = f"""
      {A}
      federated reactor at localhost {{ a = new A() at host.example:1234; b = new A() }}
    """
    with pytest.warns(UserWarning, match="one process") as caught:
        tale = run(text)
    assert tale.seen == ["A", "A"]
    assert sorted(str(w.message).partition(": ")[2] for w in caught) == [
        "`at …` has no meaning in one process; everything runs here.",
        "the federation runs as one ordinary program, in one process.",
    ]


def test_messages_are_never_late_in_one_process():
    text = """
      reactor R { input inp
        reaction(inp) {= see(inp.intended_tag == lf.tag(), inp.physical_time_of_arrival >= lf.time.start()) =} STP(1 ms) {= see("late") =} }
      main reactor { r = new R()
                     reaction(startup) -> r.inp {= r.inp.set(1) =} }
    """
    with pytest.warns(UserWarning, match="STP has no meaning in one process"):
        assert run(text).seen == [(True, True)]


def test_what_only_a_federation_can_do_says_so():
    text = "main reactor { reaction(startup) {= lf.stop() =} }"
    failure = happened(loaded(text)).run.failure
    assert "lf.request_stop() ends the program" in str(failure)


def test_a_reaction_without_a_body_and_attributes_are_warnings():
    with pytest.warns(UserWarning, match="declared without a body"):
        run("main reactor { reaction(startup); }")
    with pytest.warns(UserWarning, match="@maxwait has no meaning here"):
        run("main reactor { @maxwait(1 s)\n timer t }")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run('@label("x") main reactor { @side("west") timer t }')


# ---------------------------------------------------------------- the program


def test_a_library_has_reactors_and_no_program():
    program = loaded(f"{A} {B}")
    assert list(program.reactors) == ["A", "B"]
    assert program.main is None
    with pytest.raises(AssemblyError, match=r"p\.lf has no main reactor: it is a library"):
        program.program()


def test_the_main_reactor_is_named_after_the_file_or_itself():
    assert loaded("main reactor { }", file="some-file.lf").program().name == "some_file"
    assert loaded("main reactor Top { }").program().name == "top"


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("3", 3), ("", 0), ("'no'", 1)])
def test_exit_ends_the_run_with_that_status(code, status):
    from reactornb.runtime.result import exit_code

    tale = happened(loaded(f"main reactor {{ reaction(startup) {{= exit({code}) =}} }}"))
    assert exit_code(tale.run.failure) == status
