"""Running a graph: schedule, scheduler, workers, clocks, traces, and the `Program` and `Run` that users hold."""

from reactornb.options import RunOptions
from reactornb.runtime.clock import Clock, FakeClock, RealClock
from reactornb.runtime.metrics import Metric
from reactornb.runtime.program import Program
from reactornb.runtime.result import Result
from reactornb.runtime.run import Run, known_runs, live_runs
from reactornb.runtime.trace import Trace
from reactornb.runtime.tuning import Change

__all__ = [
    "Change",
    "Clock",
    "FakeClock",
    "Metric",
    "Program",
    "RealClock",
    "Result",
    "Run",
    "RunOptions",
    "Trace",
    "known_runs",
    "live_runs",
]
