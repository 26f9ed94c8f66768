"""Running Lingua Franca text on the fake clock, and telling what happened in lines that fit a test."""

from dataclasses import dataclass, field
from textwrap import dedent

from reactornb.lf import loads
from reactornb.testing import FakeClock

# Senders and readers of ports, for programs about connections.
PORTS = """
reactor Send(n = 1, base = 0) {
  output[n] out
  reaction(startup) -> out {=
    for i, port in enumerate(out): port.set(self.base + i)
  =}
}
reactor Get(bank_index = 0, n = 1) {
  input[n] inp
  reaction(inp) {= see(self.bank_index, [(i, p.value) for i, p in enumerate(inp) if p.is_present]) =}
}
reactor One(bank_index = 0, base = 0) {
  output out
  reaction(startup) -> out {= out.set(self.base + self.bank_index) =}
}
"""


@dataclass
class Happened:
    """What a run did.

    Attributes:
        ran: "time reaction" of each execution; the time in ms, `+n` for a microstep; names without the root's.
        sent: "time port=value" of everything written to a port.
        seen: what bodies passed to `see(…)`.
        run: the run.
    """

    ran: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    seen: list[object] = field(default_factory=list)
    run: object = None


def loaded(text, file="p.lf", **options):
    """A program from text; lines count from the first one that is written."""
    return loads(dedent(text).lstrip("\n"), file=file, **options)


def happened(program, *, parameters=None, workers=1, clock=None, **options):
    """Run a loaded program to its end, whatever that is."""
    tale = Happened()
    program.namespace["see"] = lambda *values: tale.seen.append(values[0] if len(values) == 1 else values)
    tale.run = program.program(**parameters or {}).start(
        **{**program.options, "workers": workers, "clock": clock or FakeClock(), "trace": True, **options}
    )
    assert tale.run.wait(30)
    trace = tale.run.trace
    tale.ran = [f"{_time(tag)} {_short(name)}" for tag, name in trace.executions]
    ports = {port.name for port in tale.run.program.graph.ports}
    tale.sent = [f"{_time(tag)} {_short(name)}={value!r}" for tag, name, value in trace.writes if name in ports]
    return tale


def run(text, *, file="p.lf", outside=None, **options):
    """Load and run text to its end; a reaction that raises fails the test."""
    tale = happened(loaded(text, file, outside=outside), **options)
    if tale.run.failure is not None:
        raise tale.run.failure
    return tale


def _time(tag):
    whole, rest = divmod(tag.time_ns, 1_000_000)
    text = str(whole) if not rest else str(tag.time_ns / 1_000_000)
    return f"{text}+{tag.microstep}" if tag.microstep else text


def _short(name):
    return name.partition(".")[2] or name
