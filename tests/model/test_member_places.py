"""Where the members of a bank say they are declared, and what a member's own `__init__` makes."""

from pathlib import Path

import pytest

from reactornb import Bank, Input, Program, Reactor, reaction
from reactornb.errors import ReactorError


def line_of(words):
    return next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if words in line)


class Leaf(Reactor):
    inp = Input()
    n: int = 3

    @reaction(inp)
    def on_inp(self):
        pass


made = []


class Makes(Reactor):
    inp = Input()

    def __init__(self, **parameters):
        super().__init__(**parameters)
        made.append(Leaf())  # a template of a member's own

    @reaction(inp)
    def on_inp(self):
        pass


class Main(Reactor):
    leaves = Bank(Leaf, 3)  # the bank
    makers = Bank(Makes, 2)


def test_members_are_where_their_bank_is():
    graph = Program(Main).graph
    lines = {node.name: node.source.line for node in graph.reactors}
    assert [lines[f"main.leaves[{i}]"] for i in range(3)] == [line_of("# the bank")] * 3


def test_what_a_members_init_makes_is_where_it_is_made():
    made.clear()
    Program(Main)
    assert {leaf.__dict__["_source"].line for leaf in made} == {line_of("# a template of a member's own")}


def test_after_a_member_that_could_not_be_made_the_next_reactor_is_where_it_is_made():
    with pytest.raises(ReactorError):
        Program(Bank(Leaf, 2, missing=1).template(0))
    leaf = Leaf()  # after the failure
    assert leaf.__dict__["_source"].line == line_of("# after the failure")
