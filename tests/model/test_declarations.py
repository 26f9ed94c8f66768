"""Declarations: the signature is the graph, and what it names wrongly is an error with a place and a fix."""

import pytest

from reactornb import Bank, Input, LogicalAction, Mode, Output, Reactor, State, Timer, connect, ns, reaction, startup
from reactornb.errors import DeclarationError, UnknownNameError


class Gain(Reactor):
    x = Input[float]()
    y = Output[float]()
    factor: float = 2.0

    @reaction(x)
    def on_x(self, x, y):
        y.set(x.value * self.factor)


def test_parameters_ports_and_reactions_are_found_by_name():
    spec = Gain._spec
    assert list(spec.ports) == ["x", "y"]
    assert dict(spec.parameters) == {"factor": 2.0}
    assert [r.name for r in spec.reactions] == ["on_x"]
    assert Gain.x.type_name == "float"


def test_a_misspelt_port_in_a_signature_names_line_and_nearest_name():
    with pytest.raises(UnknownNameError, match=r"test_declarations.py, line \d+.*'epsiode'.*Did you mean 'episode'\?"):

        class Wrong(Reactor):
            episode = Output()

            @reaction(startup)
            def on_startup(self, epsiode):
                pass


def test_a_misspelt_parameter_is_found_when_the_reactor_is_made():
    with pytest.raises(UnknownNameError, match=r"Gain has no parameter 'facter'\. Did you mean 'factor'\?"):
        Gain(facter=3)


def test_a_bank_checks_its_members_parameters_at_once():
    with pytest.raises(UnknownNameError, match="no parameter 'facter'"):
        Bank(Gain, 4, facter=3)


def test_a_parameter_without_default_is_required():
    class Needs(Reactor):
        n: int

    assert Needs(n=3).n == 3
    with pytest.raises(DeclarationError, match="Needs needs its parameter 'n'"):
        Needs()


def test_a_reaction_needs_a_trigger():
    with pytest.raises(DeclarationError, match="@reaction needs its triggers"):

        class Wrong(Reactor):
            @reaction
            def on_nothing(self):
                pass


@pytest.mark.parametrize("signature", ["self, *ports", "self, **ports", "self, *, x"])
def test_a_signature_lists_names_only(signature):
    with pytest.raises(DeclarationError, match="only the names of what it touches"):
        exec(
            f"class Wrong(Reactor):\n  x = Input()\n  @reaction(x)\n  def on_x({signature}): pass",
            {"Reactor": Reactor, "Input": Input, "reaction": reaction},
        )


def test_an_output_cannot_trigger_its_own_reactor():
    with pytest.raises(DeclarationError, match="output 'y' cannot trigger"):

        class Wrong(Reactor):
            y = Output()

            @reaction(y)
            def on_y(self):
                pass


def test_subclasses_inherit_declarations_and_put_theirs_after():
    class More(Gain):
        z = Output()
        offset: float = 1.0

        @reaction(Gain.x)
        def on_x_too(self, x, z):
            z.set(x.value + self.offset)

    assert list(More._spec.ports) == ["x", "y", "z"]
    assert [r.name for r in More._spec.reactions] == ["on_x", "on_x_too"]
    assert dict(More(factor=5)._spec.parameters) == {"factor": 2.0, "offset": 1.0}


def test_a_subclass_replaces_a_default_and_a_reaction_in_place():
    class Half(Gain):
        factor = 0.5

        @reaction(Gain.x)
        def on_x(self, x, y):
            y.set(0)

    assert Half().factor == 0.5
    assert [r.name for r in Half._spec.reactions] == ["on_x"]
    assert Half._spec.reactions[0] is not Gain._spec.reactions[0]


def test_a_modal_reactor_has_exactly_one_initial_mode():
    with pytest.raises(DeclarationError, match="0 initial modes among one, two"):

        class Wrong(Reactor):
            one, two = Mode(), Mode()


def test_what_stands_in_a_mode_block_belongs_to_the_mode():
    class Modal(Reactor):
        tick = Timer(0, ns(1))
        one, two = Mode(initial=True), Mode()
        with one:
            inner = LogicalAction()
            count = State(0, reset=True)

            @reaction(tick)
            def on_tick(self, two):
                two.set()

    assert Modal._spec.actions["inner"].mode is Modal.one
    assert Modal._spec.states["count"].mode is Modal.one
    assert Modal._spec.reactions[0].mode is Modal.one
    assert Modal._spec.timers["tick"].mode is None


def test_modes_do_not_nest():
    with pytest.raises(DeclarationError, match="modes do not nest"):

        class Wrong(Reactor):
            one, two = Mode(initial=True), Mode()
            with one, two:
                pass

    assert Timer().mode is None, "the failed block left its mode behind"


def test_connect_takes_ports_only():
    gain = Gain()
    with pytest.raises(DeclarationError, match="connect takes ports"):
        connect(gain, gain.x)


@pytest.mark.parametrize(("policy", "ok"), [("defer", True), ("drop", True), ("later", False)])
def test_an_action_knows_four_policies(policy, ok):
    if ok:
        assert LogicalAction(policy=policy).policy == policy
    else:
        with pytest.raises(DeclarationError, match="is none of defer, drop, replace, update"):
            LogicalAction(policy=policy)


def test_a_bank_has_members_and_ports_of_all_of_them():
    bank = Bank(Gain, 3)
    assert len(bank) == 3
    assert str(bank.x).endswith(".x")
    assert str(bank[2].y).endswith("[2].y")
    with pytest.raises(IndexError, match="3 members, 0 to 2"):
        bank[3]
    with pytest.raises(UnknownNameError, match="Gain has no port 'z'"):
        _ = bank.z


def test_a_bank_of_something_else_says_what_it_takes():
    with pytest.raises(DeclarationError, match="Bank takes a reactor class"):
        Bank(Gain(), 3)
    with pytest.raises(DeclarationError, match="whole number of at least 0"):
        Bank(Gain, -1)
