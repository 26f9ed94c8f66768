"""A program's parameter given as text means the same in a magic, on the command line, and in a notebook that is loaded."""

import json

import pytest

from reactornb.__main__ import main
from reactornb.loading import load
from reactornb.options import parameter_value

SAID = (
    "%%reactor Main\ntext: object = None\n@reaction(startup)\ndef on_startup(self):\n    print('got', repr(self.text))"
)
TEXTS = {
    "3": 3,
    "1e-3": 1e-3,
    "-2": -2,
    "[1, 2]": [1, 2],
    "'a b'": "a b",
    "None": None,
    "CartPole-v1": "CartPole-v1",
    "1 +": "1 +",
    "[" * 5000: "[" * 5000,
    "": "",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12] or "nothing")
def test_a_literal_is_its_value_and_anything_else_is_text(text):
    assert parameter_value(text) == TEXTS[text]
    assert parameter_value(text, {text: "a variable"}) == ("a variable" if TEXTS[text] == text else TEXTS[text])


@pytest.mark.parametrize("text", ["3", "[1, 2]", "'a b'", "a b", "n"])
def test_the_command_line_and_a_notebooks_magic_agree(text, tmp_path, capfd):
    path = tmp_path / "book.ipynb"
    cells = [SAID, f'%reactor start Main "text={text}"']
    made = [{"cell_type": "code", "metadata": {}, "source": cell} for cell in cells]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}), "utf-8")
    ((name, parameters),) = load(path).started
    assert (name, parameters) == ("Main", {"text": parameter_value(text)})
    assert main(["run", str(path), f"text={text}", "-w", "1", "-q"]) == 0
    assert f"got {parameter_value(text)!r}" in capfd.readouterr().out


def test_the_magic_agrees():
    pytest.importorskip("IPython")
    from reactornb_magics.line import parse

    asked = parse("start Main \"a='x y'\" b=n c=free", {"n": 7})
    assert asked.parameters == {"a": "x y", "b": 7, "c": "free"}
