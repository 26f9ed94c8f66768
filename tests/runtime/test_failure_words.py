"""What a failed reaction says: all that the exception carries, and what to do about the commonest mistakes with ports."""

import numpy as np
import pytest

from reactornb import Bank, Input, LogicalAction, Output, Program, Reactor, connect, ms, reaction, startup
from reactornb.errors import ReactionError, RunError
from reactornb.testing import run_to_end


def raised(body):
    class Main(Reactor):
        out = Output()
        outs = Output(width=2)
        act = LogicalAction()

        @reaction(startup)
        def on_startup(self, out, outs, act):
            body(self, out, outs, act)

    with pytest.raises(ReactionError) as info:
        Program(Main).run(workers=1, fast=True)
    return str(info.value)


class UnsayableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def fail(error, *, cause=None, notes=()):
    def body(self, out, outs, act):
        for note in notes:
            error.add_note(note)
        raise error from cause

    return body


def in_handler(self, out, outs, act):
    try:
        {}["key"]
    except KeyError:
        raise ValueError("later")  # noqa: B904 - what is tested


def test_pythons_suggestion_is_kept():
    assert "Did you mean: 'split'?" in raised(lambda self, *_: "text".splt())  # codespell:ignore
    assert "Did you mean: 'startup'?" in raised(lambda self, *_: starttup)  # noqa: F821 - what is tested


def test_causes_contexts_notes_and_members_are_kept():
    said = raised(fail(ValueError("outer"), cause=KeyError("inner"), notes=["a note", "another"]))
    assert "ValueError: outer" in said
    assert "caused by KeyError: 'inner'" in said
    assert "a note" in said
    assert "another" in said
    assert "while KeyError: 'key' was handled" in raised(in_handler)
    group = ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [TypeError("two")])])
    said = raised(fail(group))
    assert "- ValueError: one" in said
    assert "- TypeError: two" in said


def test_an_exception_that_cannot_be_worded_keeps_reaction_tag_and_line():
    said = raised(fail(UnsayableError()))
    assert "main.on_startup raised at tag (0 s, 0)" in said or "main.on_startup raised at tag (0" in said
    assert "test_failure_words.py, line" in said
    assert "UnsayableError: <exception str() failed>" in said


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda self, out, outs, act: out + 1, "That is the port or action itself: its value is inp.value"),
        (lambda self, out, outs, act: act > 1, "its value is inp.value"),
        (lambda self, out, outs, act: float(out), "its value is inp.value"),
        (lambda self, out, outs, act: out[0], "its value is inp.value"),
        (lambda self, out, outs, act: out.shape, "its value is inp.value"),
        (lambda self, out, outs, act: outs.set(1), r"reached by number: [0].set"),
        (lambda self, out, outs, act: setattr(out, "value", 3), "out.set("),
    ],
)
def test_a_forgotten_value_is_told(body, words):
    assert words in raised(body)


def test_a_read_only_array_is_told_what_to_do():
    class Sender(Reactor):
        out = Output()

        @reaction(startup)
        def on_startup(self, out):
            out.set(np.zeros(2))

    class Reader(Reactor):
        inp = Input()

        @reaction(inp)
        def on_inp(self, inp):
            inp.value[0] = 1

    class Main(Reactor):
        a = Sender()
        b = Bank(Reader, 2)
        connect(a.out, b.inp)

    with pytest.raises(ReactionError, match=r"read-only\. An array .*copy\(\).*Input\(mutable=True\)"):
        run_to_end(Main())


class A2C(Reactor):
    out = Output()

    @reaction(startup)
    def on_startup(self, out):
        out.set(1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A2C", "a2c"),
        ("TreeLearner", "tree_learner"),
        ("TD3Agent", "td3_agent"),
        ("DQN", "dqn"),
        ("Main", "main"),
        ("Conv2D", "conv2d"),
    ],
)
def test_names_with_digits_are_one_word(name, expected):
    cls = type(name, (A2C,), {})
    assert Program(cls).name == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *(({"seed": seed}, "must be a whole number") for seed in ("x", 1.5, True)),
        ({"until": "1s"}, r"until: '1s' is text; write sec\(1\)"),
        ({"until": -1}, "until: -1 is a bare number"),
        ({"until": ms(-1)}, "at least 0"),
        ({"until": 0.5}, "until: 0.5 is a bare number"),
    ],
)
def test_options_that_are_no_numbers_are_refused_before_anything_begins(options, words):
    program = Program(A2C)
    with pytest.raises(RunError, match=words):
        program.start(**options)
    program.run(workers=1, fast=True)


@pytest.mark.parametrize("tags", [-3, 0, "2", 1.5])
def test_a_step_is_a_whole_number_of_tags(tags):
    program = Program(A2C)
    program.run(workers=1, fast=True)
    with pytest.raises(RunError, match="step must be a whole number of at least 1"):
        program.last_run.step(tags)
