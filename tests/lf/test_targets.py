"""Programs of Lingua Franca's other targets, and texts that begin with a byte order mark."""

import pytest
from lf_running import happened, loaded

from reactornb.errors import LFSyntaxError, UnknownNameError
from reactornb.lf import load, loads


@pytest.mark.parametrize(
    ("target", "body", "language"),
    [
        ("C", 'printf("hi\\n");', "C"),  # Python takes it for a call
        ("C { timeout: 1 sec }", "lf_set(out, 42);", "C"),
        ("CCpp", "x = 3", "C++"),
        ("Cpp", 'std::cout << "hi" << std::endl;', "C++"),
        ("TypeScript", "console.log('hi');", "TypeScript"),
        ("Rust", 'println!("hi");', "Rust"),
    ],
)
def test_a_body_of_another_target_is_refused_with_its_line(target, body, language):
    with pytest.raises(LFSyntaxError, match=rf"this body is {language.replace('+', '[+]')}, since") as caught:
        loaded(f"target {target}\nmain reactor {{\n  output out\n  reaction(startup) -> out {{=\n    {body}\n  =}}\n}}")
    assert caught.value.line == 5


@pytest.mark.parametrize(
    "member",
    ["preamble {=\n#include <x.h>\n=}", "state n = {=\n 0; =}", "method f() {=\n return 1; =}"],
)
def test_preambles_methods_and_expressions_of_another_target_are_code_too(member):
    with pytest.raises(LFSyntaxError, match="is C,") as caught:
        loaded(f"target C\nreactor A {{\n{member}\n}}\nmain reactor {{ a = new A() }}")
    assert caught.value.line == 4


def test_an_imported_file_of_another_target_is_refused_under_its_own_name(tmp_path):
    (tmp_path / "lib.lf").write_text("target Cpp\nreactor A {\n  reaction(startup) {= int x = 1; =}\n}\n")
    main = tmp_path / "main.lf"
    main.write_text('target Python\nimport A from "lib.lf"\nmain reactor { a = new A() }\n')
    with pytest.raises(LFSyntaxError, match=r"lib[.]lf:3:.*C\+\+"):
        load(main)


def test_a_target_that_there_is_not_is_named_with_the_nearest():
    with pytest.raises(LFSyntaxError, match=r"no target 'Pyton'[.] Did you mean 'Python'"):
        loaded("target Pyton\nmain reactor { reaction(startup) {= pass =} }")


def test_a_program_without_target_code_is_assembled_whatever_its_target():
    with pytest.warns(UserWarning, match="target C; nothing in this file is target code"):
        program = loaded("target C\nreactor A { output o }\nmain reactor { a = new A() }")
    assert len(program.program().graph.reactors) == 2


@pytest.mark.parametrize("above", ["", "\n", "\n\n", "\r\n"])
def test_a_byte_order_mark_is_read_over(above):
    program = loads(f"{above}\ufefftarget Python main reactor {{\n reaction(startup) {{= see(1) =}} }}", file="p.lf")
    assert happened(program).seen == [1]


def test_a_byte_order_mark_in_files_and_what_they_import_is_read_over(tmp_path):
    (tmp_path / "lib.lf").write_text("target Python\nreactor A { }\n", encoding="utf-8-sig")
    main = tmp_path / "main.lf"
    main.write_text('target Python\nimport A, B from "lib.lf"\nmain reactor { a = new A() }\n', encoding="utf-8-sig")
    with pytest.raises(UnknownNameError, match="has no reactor 'B'"):
        load(main)


def test_elsewhere_a_byte_order_mark_is_an_error_with_its_line():
    with pytest.raises(LFSyntaxError) as caught:
        loads("target Python\n\ufeffmain reactor { }", file="p.lf")
    assert caught.value.line == 2
