"""The Lingua Franca parser: errors, files, the cache of its tables, and any text whatever."""

import os
import subprocess
import sys
import traceback

import pytest
from fuzz_parse import check, check_damaged, check_round_trip, layouts, seeds, texts
from hypothesis import HealthCheck, given, settings
from lf_programs import programs

from reactornb.errors import LFSyntaxError, ReactorError
from reactornb.lf.parse import _cache_folder, parse, parse_file


def error(text):
    """The error of a text that is no program."""
    with pytest.raises(LFSyntaxError) as caught:
        parse(text, file="f.lf")
    return caught.value


M = "main reactor {{ {} }}".format

ERRORS = [
    # text, words of the message
    ("", ("the end of the program", "expected a reactor", "main reactor")),
    ("target Python", ("main reactor",)),
    ("main {}", ("found '{'", "expected a reactor", "main reactor {")),
    ("main reactor {\n timer t\n", ("the end of the program", "The { on line 1 is not closed.")),
    ("main reactor {}\n}", ("There is no { that this } closes.",)),
    ("timer t(0)", ("found the keyword 'timer'", "inside it: main reactor")),
    ("main reactor {} target Python", ("The order in a file is",)),
    ("reactor {}", ("has no name",)),
    ("main federated reactor {}", ("cannot be main and federated",)),
    ("reaktor A {}", ("found the name reaktor", "expected a reactor")),
    (M("timer t(0, 10 milliseconds)"), ("found the name milliseconds", "Did you mean 10 msec?")),
    (M("timer t(0, 10 MSEC)"), ("Did you mean 10 msec?",)),
    (M("timer t(0, 10 hrs)"), ("Did you mean 10 hours?",)),
    (M("timer t(0, 10 parsecs)"), ("The units of time are nsec",)),
    ("target Python { timeout: 10 millis } main reactor {}", ("found the word millis", "Did you mean 10 msec?")),
    (M("state x = 1e5"), ("1.0e5",)),
    (M("state x = 2 * y"), ("found '*'", "{= … =}")),
    (M("state x = y + 1"), ("{= … =}",)),
    (M("state x = -y"), ("found '-'", "{= … =}")),
    (M("state timer = 0"), ("the keyword 'timer'", "expected a name", "is a keyword")),
    (M("input int x"), ("A type follows the name", "x: int")),
    (M("a.b => c.d"), ("expected an arrow", "a.out -> b.in")),
    (M("a.b <- c.d"), ("a.out -> b.in",)),
    (M("a[0].b -> c.d"), ("connected whole",)),
    (M("a.b -> "), ("found '}'", "the name of a port")),
    (M("a = new A"), ("new A()",)),
    (M("a = new A(x)"), ("given by name: x = …",)),
    (M("reaction startup {= x =}"), ("reaction(startup)",)),
    (M("reaction(startup) { x }"), ("found '{'", "a body {= … =}", "between {= and =}")),
    (M("reaction(5) {= x =}"), ("found the number 5", "expected a trigger")),
    (M("reaction(t) print() =}"), ("closes no body", "is its {= missing")),
    (M("reaction(t) {= x"), ("this {= is never closed", "Close it with =}.")),
    (M("reaction(t) {= x\nreaction(u) {= y =}"), ("never closed", "another {= begins on line 2")),
    (M("reaction(t) {= x # =}"), ("never closed", "inside a string or a comment")),
    (M("timer t(0, 1 ms"), ("expected ')'",)),
    (M('state s = "abc'), ("this string is never closed",)),
    (M("/* abc"), ("this comment is never closed",)),
    (M('state s = "\\x4"'), ("escape sequence \\x",)),
    (M('state s = "\\ud800"'), ("stands for no character",)),
    (M('state s = "\\U80000000"'), ("stands for no character",)),
    (M('state s = "\\U00110000"'), ("stands for no character",)),
    (M('state s = "\\N{no such}"'), ("stands for no character",)),
    (M("state s = " + "9" * 9999), ("more than 1000 digits",)),
    (M("state s = 1" + "0" * 30 + " s"), ("292 years",)),
    (M("state s = " + "[" * 5000), ("nest more than 64 deep",)),
    (M("mode A { input x }"), ("found the keyword 'input'",)),
    (M('@label("x") method f() {==}'), ("found the keyword 'method'",)),
    (M("logical action a(0, 0, drop)"), ("expected a string",)),
    (M("x $ y"), ("found '$'", "no meaning here")),
    ("import A from b.lf main reactor {}", ("expected a string or '<'",)),
    ("target Python { a.b: 1 } main reactor {}", ("a.b is not the name of a target property",)),
    ("main reactor {}\0", ("found '\\x00'",)),
    ("main reactor {}\ud800", ("found '\\ud800'",)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), ERRORS, ids=[text[:40] for text, _ in ERRORS])
def test_errors_say_what_was_found_what_was_expected_and_what_to_do(text, words):
    message = str(error(text))
    assert [word for word in words if word not in message] == []
    assert "ANON" not in message


def test_errors_name_file_line_and_column():
    found = error("main reactor {\n  state x = @\n}")
    assert (found.file, found.line, found.column) == ("f.lf", 2, 13)
    assert (found.found, found.expected) == ("'@'", ("a value",))
    assert str(found).startswith("f.lf:2:13: found '@', expected a value")


def test_errors_are_python_syntax_errors_that_show_the_line():
    found = error("main reactor {\n  state x = @\n}")
    assert isinstance(found, SyntaxError)
    assert isinstance(found, ReactorError)
    shown = "".join(traceback.format_exception_only(found))
    assert 'File "f.lf", line 2' in shown
    assert "state x = @" in shown


def test_files_are_read_as_utf8(tmp_path):
    file = tmp_path / "a.lf"
    file.write_bytes("main reactor { state s = 'ü' }".encode())
    assert parse_file(file).file == str(file)
    file.write_bytes(b"main reactor {\n state s = '\xff' }")
    with pytest.raises(LFSyntaxError, match="0xff") as caught:
        parse_file(file)
    assert (caught.value.line, caught.value.column) == (2, 13)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        parse_file(tmp_path / "none.lf")


# ---------------------------------------------------------------- the cache of the parser's tables


@pytest.mark.slow
def test_tables_are_kept_for_the_next_process_and_made_anew_when_damaged(tmp_path):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    program = "from reactornb.lf.parse import parse; parse('main reactor {}', file='f.lf'); print('parsed')"

    def run():
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)

    assert run().stdout == "parsed\n"
    (file,) = (tmp_path / "reactornb" / "lf").iterdir()
    tables = file.read_bytes()
    file.write_bytes(tables[: len(tables) // 2])
    damaged = run()
    assert (damaged.stdout, damaged.stderr) == ("parsed\n", "")
    made_anew = file.read_bytes()
    assert len(made_anew) > len(tables) // 2
    assert run().stdout == "parsed\n"
    assert file.read_bytes() == made_anew
    assert list(file.parent.iterdir()) == [file]


def test_a_cache_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = _cache_folder()
    assert folder == tmp_path / "reactornb" / "lf"
    folder.chmod(0o777)
    assert _cache_folder() is None


# ---------------------------------------------------------------- any text

quick = settings(
    max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@quick
@given(programs(), layouts, seeds)
def test_legal_programs_come_back_as_written_and_damaged_ones_are_programs_or_errors(tree, layout, seed):
    check_round_trip(tree, layout)
    check_damaged(tree, layout, seed, 2)


@pytest.mark.slow
@quick
@given(texts)
def test_any_text_is_a_program_or_a_syntax_error(text):
    check(text)
