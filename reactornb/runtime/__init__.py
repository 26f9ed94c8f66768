"""Running a graph: schedule, scheduler, workers, clocks, traces, and the `Program` and `Run` that users hold."""

from reactornb.runtime.clock import Clock, FakeClock, RealClock
from reactornb.runtime.run import Program, Result, Run, live_runs
from reactornb.runtime.trace import Trace

__all__ = ["Clock", "FakeClock", "Program", "RealClock", "Result", "Run", "Trace", "live_runs"]
