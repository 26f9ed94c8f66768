"""Code that the runtime generates can be read in a debugger, and neither it nor the scheduler stands in a user's traceback."""

import linecache
import subprocess
import sys
import traceback
from types import SimpleNamespace

import pytest

from reactornb import Bank, Program, Reactor, reaction, startup
from reactornb.errors import ReactionError
from reactornb.lf import loads
from reactornb.runtime.groups import Group
from reactornb.runtime.trace import users_traceback


def helper():
    raise ValueError("from a helper")


class Member(Reactor):
    failing: int = 0

    @reaction(startup)
    def on_startup(self):
        if self.bank_index == self.failing:
            helper()


class Top(Reactor):
    n: int = 3
    failing: int = 1

    def compose(self):
        self.members = Bank(Member, self.n, failing=self.failing)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [1, 3, 64, 65])  # a plain call, a line for each, and a loop
def test_a_traceback_begins_in_the_reaction(n, workers):
    with pytest.raises(ReactionError) as caught:
        Program(Top(n=n, failing=n - 1)).run(workers=workers, fast=True)
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert [frame.name for frame in frames] == ["on_startup", "helper"]
    assert {frame.filename for frame in frames} == {__file__}


def test_a_traceback_of_lingua_franca_text_begins_in_its_body():
    text = (
        "target Python\nreactor A {\n  reaction(startup) {=\n    1 / 0\n  =}\n}\nmain reactor {\n  a = new[3] A()\n}\n"
    )
    with pytest.raises(ReactionError) as caught:
        loads(text, file="zero.lf").program().run(workers=1, fast=True)
    (frame,) = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert (frame.filename, frame.lineno, frame.line) == ("zero.lf", 4, "1 / 0")


@pytest.mark.slow  # a process
def test_a_script_s_traceback_shows_its_own_lines_only(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(
        "from reactornb import *\n"
        "class Main(Reactor):\n"
        "    @reaction(startup)\n"
        "    def on_startup(self):\n"
        "        self.missing()\n"
        "Program(Main()).run(workers=1)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    cause, _, rest = done.stderr.partition("The above exception was the direct cause")
    assert rest, done.stderr
    assert "self.missing()" in cause
    assert "reactornb" not in cause.replace(str(tmp_path), ""), cause


@pytest.mark.parametrize(("n", "line"), [(3, "body(a0, a1)"), (65, "for row in rows:")])
def test_lines_of_generated_code_can_be_shown(n, line):
    def body(me, port):
        raise AssertionError("is never called")

    members = [
        SimpleNamespace(body=body, row=(object(), object()), index=i, level=0, clears=(), call=body) for i in range(n)
    ]
    _, code = Group(members).caller
    lines = linecache.getlines(code.co_filename)
    assert lines[0].startswith("def call(body")
    assert lines[1].strip() == line
    linecache.checkcache()
    assert linecache.getlines(code.co_filename) == lines, "and are not dropped as a file that is gone"


def test_a_traceback_with_nothing_but_the_runtime_s_own_frames_stays_whole():
    with pytest.raises(AttributeError) as caught:
        users_traceback(object())  # what is no traceback
    inner = caught.value.__traceback__.tb_next
    assert users_traceback(inner) is inner
