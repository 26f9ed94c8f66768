"""Running a graph: schedule, scheduler, workers, clocks, traces, and the `Program` and `Run` that users hold."""

from reactornb.runtime.clock import Clock, FakeClock, RealClock
from reactornb.runtime.run import Program, Result, Run, known_runs, live_runs
from reactornb.runtime.trace import Trace
from reactornb.runtime.tuning import Change

__all__ = [
    "Change",
    "Clock",
    "FakeClock",
    "Program",
    "RealClock",
    "Result",
    "Run",
    "Trace",
    "known_runs",
    "live_runs",
]
