"""Small programs on which the scheduler and the interpreter once differed; `tests/runtime` has their exact traces."""

__all__ = ["PROGRAMS"]

SINK = """
class Sink(Reactor):
    inp = Input()
    out = Output()
    @reaction(inp)
    def on_inp(self, inp, out):
        out.set((self.tag, inp.value))
"""

BURST = """
class Burst(Reactor):
    out = Output()
    act = LogicalAction()
    @reaction(startup, act)
    def on_act(self, out, act):
        out.set(self.tag.microstep)
        if self.tag.microstep < 3:
            act.schedule()
"""

# name: (source, timeout in ns)
PROGRAMS = {
    "a mode entry is no value": (
        """
class Main(Reactor):
    one, two = Mode(initial=True), Mode()
    with one:
        t = Timer(0)
        @reaction(t)
        def leave(self, two):
            two.set()
    with two:
        @reaction(reset)
        def on_reset(self):
            pass
""",
        5,
    ),
    "shutdown and an event at the last tag": (
        """
class Main(Reactor):
    one = Mode(initial=True)
    with one:
        t = Timer(ns(3))
        @reaction(t, shutdown)
        def on_end(self):
            pass
""",
        3,
    ),
    "an event that was moved leaves no tag": (
        """
class Main(Reactor):
    act = LogicalAction(ns(0), ns(9), "update")
    @reaction(startup)
    def on_startup(self, act):
        act.schedule(ns(8), 1)
        act.schedule(ns(4), 2)
    @reaction(act, shutdown)
    def on_act(self):
        pass
""",
        20,
    ),
    "a microstep left with its mode": (
        """
class Main(Reactor):
    kept = LogicalAction()
    one, two = Mode(initial=True), Mode()
    with one:
        t = Timer(ns(1))
        gone = LogicalAction()
        @reaction(startup)
        def on_startup(self, gone):
            gone.schedule(ns(1))
            gone.schedule(ns(1))
        @reaction(t)
        def on_t(self, kept, two):
            kept.schedule(0)
            two.set()
    @reaction(kept)
    def on_kept(self):
        pass
""",
        5,
    ),
    "values that a delay brings to one time": (
        BURST
        + SINK
        + """
class Main(Reactor):
    burst = Burst()
    sink = Sink()
    connect(burst.out, sink.inp, after=ns(2))
""",
        5,
    ),
    "a delayed connection of an inactive mode": (
        BURST
        + SINK
        + """
class Gate(Reactor):
    inp = Input()
    out = Output()
    t = Timer(0)
    one, two = Mode(initial=True), Mode()
    with one:
        connect(inp, out, after=ns(2))
        @reaction(t)
        def leave(self, two):
            two.set()
    with two:
        connect(inp, out, after=ns(1))
class Main(Reactor):
    burst = Burst()
    gate = Gate()
    sink = Sink()
    connect(burst.out, gate.inp)
    connect(gate.out, sink.inp)
""",
        9,
    ),
    "spacing in a mode's local time": (
        """
class Main(Reactor):
    away = Timer(ns(2), ns(8))
    one, two = Mode(initial=True), Mode()
    with one:
        t = Timer(ns(1), ns(1))
        act = LogicalAction(ns(0), ns(4))
        @reaction(t)
        def on_t(self, act):
            act.schedule(ns(1), self.tag)
        @reaction(act)
        def on_act(self):
            pass
        @reaction(away)
        def leave(self, two):
            two.set()
    with two:
        back = Timer(ns(3))
        @reaction(back)
        def on_back(self, one):
            one.set(history=self.tag.time_ns < 10)
""",
        30,
    ),
    "two events of an action at one tag": (
        """
class Main(Reactor):
    zero = LogicalAction(ns(0), ns(0))
    moved = LogicalAction(ns(0), ns(2), "update")
    @reaction(startup)
    def on_startup(self, zero, moved):
        for i, delay in enumerate((5, 5, 7, 5)):
            zero.schedule(ns(delay), i)
            moved.schedule(ns(delay), i)
    @reaction(zero, moved)
    def on_either(self, zero, moved):
        if self.tag.microstep < 3:
            moved.schedule(0, 9)
""",
        12,
    ),
    "a connection in a mode and the reactions around it": (
        SINK
        + """
class Modal(Reactor):
    inp = Input()
    one = Mode(initial=True)
    with one:
        sink = Sink()
        connect(inp, sink.inp)
        @reaction(sink.out)
        def on_out(self, sink):
            pass
class Main(Reactor):
    modal = Modal()
    @reaction(startup, effects=modal.inp)
    def on_startup(self, modal):
        modal.inp.set(1)
""",
        5,
    ),
    "a reaction in a hurry that reads a port": (
        BURST
        + """
class Hurry(Reactor):
    inp = Input()
    out = Output()
    t = Timer(0)
    @reaction(t, deadline=ns(1))
    def on_t(self, inp, out):
        out.set(inp.value)
class Main(Reactor):
    burst = Burst()
    hurry = Hurry()
    connect(burst.out, hurry.inp)
""",
        5,
    ),
    "shutdown reactions of two modes that write one port": (
        SINK
        + """
class Parting(Reactor):
    word: int = 0
    out = Output()
    @reaction(shutdown)
    def on_shutdown(self, out):
        out.set(self.word)
class Partings(Reactor):
    out = Output()
    t = Timer(ns(1))
    one, two = Mode(initial=True), Mode()
    with one:
        first = Parting(word=1)
        connect(first.out, out)
        @reaction(t)
        def leave(self, two):
            two.set()
    with two:
        second = Parting(word=2)
        connect(second.out, out)
class Main(Reactor):
    partings = Bank(Partings, 4)
    sinks = Bank(Sink, 4)
    connect(partings.out, sinks.inp)
""",
        3,
    ),
    "a delayed connection that two modes feed": (
        """
class Say(Reactor):
    out = Output()
    w: int = 0
    t = Timer(0)
    @reaction(t)
    def on_t(self, out):
        out.set(self.w)
class M(Reactor):
    out = Output()
    out2 = Output()
    t = Timer(0)
    one, two = Mode(initial=True), Mode()
    with one:
        a = Say(w=1)
        connect(a.out, out)
        connect(a.out, out2)
        @reaction(t)
        def leave(self, two):
            two.set()
    with two:
        b = Say(w=2)
        connect(b.out, out)
class Reader(Reactor):
    i = Input()
    o = Output()
    @reaction(i)
    def on_i(self, i, o):
        o.set(i.value)
class Main(Reactor):
    m = M()
    s = Reader()
    connect(m.out, s.i, after=ns(3))
    s2 = Reader()
    connect(m.out2, s2.i, after=ns(3))
""",
        9,
    ),
}
