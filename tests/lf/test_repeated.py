"""Lingua Franca text that reads the clock is told the same when its run is repeated."""

from lf_running import happened, loaded

from reactornb import ms
from reactornb.testing import FakeClock

ASKS = """
target Python
reactor Asks {
  output out
  timer t(0, 10 ms)
  reaction(t) -> out {= out.set(lf.time.physical_elapsed()) =}
}
reactor Hears {
  input inp
  reaction(inp) {= see(lf.time.physical() - lf.time.start(), inp.physical_time_of_arrival - lf.time.start()) =}
}
main reactor {
  a = new Asks()
  b = new Hears()
  a.out -> b.inp
}
"""


class Drifting(FakeClock):
    """Each look takes a millisecond."""

    def elapsed_ns(self):
        self.advance(ms(1))
        return super().elapsed_ns()


def test_text_is_told_the_time_that_it_was_told():
    first = happened(loaded(ASKS), until=ms(30), clock=Drifting(), record_outside=True, fingerprint=True)
    rows = first.run.outside
    assert {row[4][0].partition(".")[2] for row in rows if row[0] == "clock"} == {"a", "b"}
    for workers in (1, 2):
        again = happened(
            loaded(ASKS), until=ms(30), workers=workers, replay=rows, record_outside=True, fingerprint=True
        )
        assert (again.sent, again.seen) == (first.sent, first.seen)
        assert again.run.fingerprint == first.run.fingerprint
        assert again.run.outside == rows
