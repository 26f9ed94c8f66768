"""Assembly as tables: reactors, connections, expected levels or error."""

import pytest

from reactornb import (
    Bank,
    Input,
    LogicalAction,
    Mode,
    Output,
    Reactor,
    Timer,
    assemble,
    connect,
    ms,
    ns,
    reaction,
    shutdown,
    startup,
)
from reactornb.errors import (
    AssemblyError,
    CausalityError,
    MultipleWritersError,
    UnknownNameError,
    WidthMismatchError,
)


class Source(Reactor):
    out = Output()

    @reaction(startup)
    def on_startup(self, out):
        out.set(1)


class Pass(Reactor):
    inp = Input()
    out = Output()

    @reaction(inp)
    def on_inp(self, inp, out):
        out.set(inp.value)


class Wide(Reactor):
    inp = Input(width="n")
    out = Output(width="n")
    n: int = 2

    @reaction(inp)
    def on_inp(self, inp, out):
        pass


class Sink(Reactor):
    inp = Input()

    @reaction(inp)
    def on_inp(self, inp):
        pass


def top(**children):
    """A reactor whose compose makes these children and then runs `wire(self)`."""
    wire = children.pop("wire", lambda self: None)

    class Top(Reactor):
        def compose(self):
            for name, make in children.items():
                setattr(self, name, make())
            wire(self)

    return Top()


CHAINS = [
    ("one reaction", {"a": Source}, lambda s: None, {"a.on_startup": 0}),
    ("a chain", {"a": Source, "b": Pass, "c": Sink},
     lambda s: (connect(s.a.out, s.b.inp), connect(s.b.out, s.c.inp)), {"a.on_startup": 0, "b.on_inp": 1, "c.on_inp": 2}),
    ("a delay cuts", {"a": Source, "b": Pass, "c": Sink},
     lambda s: (connect(s.a.out, s.b.inp), connect(s.b.out, s.c.inp, after=0)), {"b.on_inp": 1, "c.on_inp": 0}),
    ("a loop with a delay", {"a": Pass, "b": Pass},
     lambda s: (connect(s.a.out, s.b.inp), connect(s.b.out, s.a.inp, after=ms(0))), {"a.on_inp": 0, "b.on_inp": 1}),
    ("a bank is one level", {"a": Source, "b": lambda: Bank(Pass, 3), "c": lambda: Wide(n=3)},
     lambda s: (connect(s.a.out, s.b.inp), connect(s.b.out, s.c.inp)),
     {"b[0].on_inp": 1, "b[1].on_inp": 1, "b[2].on_inp": 1, "c.on_inp": 2}),
    ("a physical connection cuts", {"a": Pass, "b": Pass},
     lambda s: (connect(s.a.out, s.b.inp), connect(s.b.out, s.a.inp, physical=True)), {"a.on_inp": 0, "b.on_inp": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "children", "wire", "levels"), CHAINS, ids=[c[0] for c in CHAINS])
def test_levels(name, children, wire, levels):
    graph = assemble(top(**children, wire=wire))
    found = {r.name.removeprefix("top."): r.level for r in graph.reactions}
    assert {k: found[k] for k in levels} == levels


def test_reactions_of_one_reactor_are_ordered_as_written():
    class Three(Reactor):
        @reaction(startup)
        def a(self):
            pass

        @reaction(shutdown)
        def b(self):
            pass

        @reaction(startup)
        def c(self):
            pass

    assert [r.level for r in assemble(Three()).reactions] == [0, 1, 2]


def test_a_loop_names_reactions_connections_and_the_fix():
    with pytest.raises(CausalityError) as caught:
        assemble(top(a=Pass, b=Pass, wire=lambda s: (connect(s.a.out, s.b.inp), connect(s.b.out, s.a.inp))))
    error = caught.value
    assert set(error.reactions) == {"top.a.on_inp", "top.b.on_inp"}
    assert set(error.connections) == {"a.out -> b.inp", "b.out -> a.inp"}
    assert "these reactions wait for each other at one tag:" in str(error)
    assert "test_graph.py, line" in str(error)
    assert "Break the loop with a delay: connect(" in str(error)
    assert "after=ms(0))" in str(error)


def test_a_loop_through_the_order_of_reactions_is_found():
    class Asker(Reactor):
        ask = Output()
        answer = Input()

        @reaction(answer)
        def on_answer(self):
            pass

        @reaction(startup)
        def on_startup(self, ask):
            ask.set(1)

    with pytest.raises(CausalityError, match="written before"):
        assemble(top(a=Asker, b=Pass, wire=lambda s: (connect(s.a.ask, s.b.inp), connect(s.b.out, s.a.answer))))


def test_a_reactor_connected_to_itself_is_a_loop():
    with pytest.raises(CausalityError, match=r"a\.out -> a\.inp"):
        assemble(top(a=Pass, wire=lambda s: connect(s.a.out, s.a.inp)))


def test_two_connections_to_one_input_are_two_writers():
    with pytest.raises(MultipleWritersError, match=r"top\.c\.inp has two writers") as caught:
        assemble(top(a=Source, b=Source, c=Sink, wire=lambda s: (connect(s.a.out, s.c.inp), connect(s.b.out, s.c.inp))))
    assert caught.value.port == "top.c.inp"


def test_a_connected_input_cannot_be_written_by_a_reaction_too():
    class Top(Reactor):
        a = Source()
        c = Sink()
        connect(a.out, c.inp)

        @reaction(startup, effects=c.inp)
        def on_startup(self, c):
            c.inp.set(1)

    with pytest.raises(MultipleWritersError):
        assemble(Top())


@pytest.mark.parametrize(("left", "right", "broadcast", "ok"), [
    (2, 2, None, True), (1, 3, None, True), (1, 3, False, False), (2, 3, None, False), (3, 2, None, False),
    (2, 4, True, True), (2, 3, True, True), (4, 2, True, True),
])  # fmt: skip
def test_widths(left, right, broadcast, ok):
    program = top(
        a=lambda: Bank(Source, left),
        b=lambda: Bank(Sink, right),
        wire=lambda s: connect(s.a.out, s.b.inp, broadcast=broadcast),
    )
    if ok:
        edges = assemble(program).edges
        assert len(edges) == right
        assert [e.source % left for e in edges] == [i % left for i in range(right)]
    else:
        with pytest.raises(WidthMismatchError, match=rf"a\.out \(width {left}\) -> b\.inp \(width {right}\)") as caught:
            assemble(program)
        assert (caught.value.left, caught.value.right) == (left, right)


def test_a_bank_of_multiports_is_joined_member_by_member_or_interleaved():
    def pairs(interleave):
        def wire(s):
            connect(s.a.out.interleaved if interleave else s.a.out, s.b.inp)

        graph = assemble(top(a=lambda: Bank(Wide, 2, n=3), b=lambda: Bank(Sink, 6), wire=wire))
        return [graph.ports[e.source].name.removeprefix("top.") for e in graph.edges]

    assert pairs(False) == ["a[0].out[0]", "a[0].out[1]", "a[0].out[2]", "a[1].out[0]", "a[1].out[1]", "a[1].out[2]"]
    assert pairs(True) == ["a[0].out[0]", "a[1].out[0]", "a[0].out[1]", "a[1].out[1]", "a[0].out[2]", "a[1].out[2]"]


def test_a_connection_goes_from_output_to_input():
    with pytest.raises(AssemblyError, match="the wrong way round"):
        assemble(top(a=Source, b=Sink, wire=lambda s: connect(s.b.inp, s.a.out)))


def test_negative_delays_and_widths_are_refused():
    with pytest.raises(AssemblyError, match="cannot be negative"):
        assemble(top(a=Source, b=Sink, wire=lambda s: connect(s.a.out, s.b.inp, after=ms(-1))))

    class Early(Reactor):
        tick = Timer("start", ns(10))
        start: int = ns(-5)

        @reaction(tick)
        def on_tick(self):
            pass

    with pytest.raises(AssemblyError, match="the offset of timer 'tick' of early is -5"):
        assemble(Early())


def test_a_width_from_an_unknown_parameter_names_it():
    class Wrong(Reactor):
        inp = Input(width="m")
        n: int = 3

    with pytest.raises(UnknownNameError, match="is the parameter 'm'"):
        assemble(Wrong())


def test_hierarchy_passes_values_through_ports_of_the_container():
    class Inner(Reactor):
        inp = Input()
        out = Output()
        a = Pass()
        b = Pass()
        connect(inp, a.inp)
        connect(a.out, b.inp)
        connect(b.out, out)

    graph = assemble(
        top(s=Source, i=Inner, k=Sink, wire=lambda s: (connect(s.s.out, s.i.inp), connect(s.i.out, s.k.inp)))
    )
    levels = {r.name: r.level for r in graph.reactions}
    assert levels == {"top.s.on_startup": 0, "top.i.a.on_inp": 1, "top.i.b.on_inp": 2, "top.k.on_inp": 3}


def test_assembling_twice_gives_the_same_graph():
    program = top(a=Source, b=lambda: Bank(Sink, 3), wire=lambda s: connect(s.a.out, s.b.inp))
    one, two = assemble(program), assemble(program)
    assert [r.name for r in one.reactors] == [r.name for r in two.reactors]
    assert one.edges == two.edges


def test_a_reaction_on_a_contained_port_must_declare_it():
    class Top(Reactor):
        a = Source()

        @reaction(startup)
        def on_startup(self, a):
            pass

    with pytest.raises(AssemblyError, match="declares no port of it"):
        assemble(Top())


def test_paths_reach_children_made_in_compose():
    class Top(Reactor):
        n: int = 2

        def compose(self):
            self.sources = Bank(Source, self.n)

        @reaction("sources.out")
        def on_out(self, sources):
            pass

    graph = assemble(Top(n=3))
    assert [graph.ports[i].name for _, i in graph.reaction("top.on_out").triggers] == [
        f"top.sources[{i}].out" for i in range(3)
    ]


def test_a_class_instead_of_an_instance_says_so():
    with pytest.raises(AssemblyError, match=r"Make an instance: Source\(\)"):
        assemble(Source)


def test_actions_do_not_order_reactions():
    class Self(Reactor):
        act = LogicalAction()

        @reaction(act)
        def on_act(self, act):
            act.schedule(0)

    assert assemble(Self()).levels == 1


def test_a_thousand_reactors_in_a_chain_do_not_recurse():
    def wire(s):
        for i in range(999):
            connect(s.a[i].out, s.a[i + 1].inp)

    assert assemble(top(a=lambda: Bank(Pass, 1000), wire=wire)).levels == 1000


def test_a_mode_that_nothing_enters_is_refused():
    class Modal(Reactor):
        tick = Timer(0, ns(1))
        one, two, three = Mode(initial=True), Mode(), Mode()
        with one:

            @reaction(tick)
            def in_one(self, two):
                two.set()

    with pytest.raises(AssemblyError, match=r"test_graph\.py, line \d+: mode 'three' of modal cannot be reached"):
        assemble(Modal())


def test_a_mode_entered_only_from_a_mode_that_nothing_enters_is_refused():
    class Modal(Reactor):
        tick = Timer(0, ns(1))
        one, two, three = Mode(initial=True), Mode(), Mode()
        with two:

            @reaction(tick)
            def in_two(self, three):
                three.set()

    with pytest.raises(AssemblyError, match="mode 'two' of modal cannot be reached"):
        assemble(Modal())


def test_a_declared_effect_that_the_signature_cannot_touch_is_refused():
    class Top(Reactor):
        sink = Sink()

        @reaction(startup, effects=sink.inp)
        def on_startup(self):
            pass

    with pytest.raises(AssemblyError, match=r"declares sink\.inp but cannot touch it: its signature lacks 'sink'"):
        assemble(Top())
