"""Deterministic, parallel reinforcement learning in a notebook: reactors, their graph, their scheduler.

Importing this package imports the declarations only; running, drawing and the notebook load on first use.
"""

# ruff: noqa: E402 - of a command Ctrl-C is settled before the rest is imported

import _signal  # type: ignore[import-not-found]  # built in, and there already: `signal` itself takes milliseconds
import sys

_name = sys.orig_argv[sys.orig_argv.index("-m") :][1:2] if "-m" in sys.orig_argv else sys.argv[:1]
_is_command = "".join(_name).endswith(("reactornb", "reactornb.exe", "reactornb.rl"))
if _is_command and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # Until a command handles signals, Ctrl-C ends it without a traceback, as the other signals do.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reactornb.errors import ReactorError
from reactornb.lazy import importer
from reactornb.model import (
    Bank,
    Fixed,
    Input,
    LogicalAction,
    Mode,
    Output,
    PhysicalAction,
    Reactor,
    Shared,
    State,
    Timer,
    Watchdog,
    connect,
    enclave,
    per_member,
    reaction,
    reset,
    shutdown,
    startup,
)
from reactornb.model.decorator import reactor
from reactornb.tags import Duration, Tag, days, forever, hours, minutes, ms, ns, sec, us, weeks

if TYPE_CHECKING:
    from reactornb.cluster import Hosts
    from reactornb.durable.resume import resume
    from reactornb.durable.rewind import rewind
    from reactornb.durable.runs import Runs
    from reactornb.graph import Graph, assemble
    from reactornb.options import RunOptions
    from reactornb.rl import load_policy, save_policy
    from reactornb.runtime import Program, Result, Run
    from reactornb.runtime.verifying import verify
    from reactornb.sweeps import between, optimize, sweep

__version__ = "0.1.0"

__all__ = [
    "Bank",
    "Duration",
    "Fixed",
    "Graph",
    "Hosts",
    "Input",
    "LogicalAction",
    "Mode",
    "Output",
    "PhysicalAction",
    "Program",
    "Reactor",
    "ReactorError",
    "Result",
    "Run",
    "RunOptions",
    "Runs",
    "Shared",
    "State",
    "Tag",
    "Timer",
    "Watchdog",
    "assemble",
    "between",
    "connect",
    "days",
    "enclave",
    "forever",
    "hours",
    "load_policy",
    "minutes",
    "ms",
    "ns",
    "optimize",
    "per_member",
    "reaction",
    "reactor",
    "reset",
    "resume",
    "rewind",
    "save_policy",
    "sec",
    "shutdown",
    "startup",
    "sweep",
    "us",
    "verify",
    "weeks",
]

_LAZY = {
    "Graph": "graph",
    "Hosts": "cluster",
    "assemble": "graph",
    "between": "sweeps",
    "Program": "runtime",
    "Result": "runtime",
    "Run": "runtime",
    "RunOptions": "options",
    "Runs": "durable.runs",
    "load_policy": "rl",
    "optimize": "sweeps",
    "save_policy": "rl",
    "sweep": "sweeps",
    "verify": "runtime.verifying",
    "resume": "durable.resume",
    "rewind": "durable.rewind",
}

__getattr__ = importer(__name__, _LAZY)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext reactornb`: register the magics."""
    import_module("reactornb_magics").load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext reactornb`: take the magics back; runs go on."""
    import_module("reactornb_magics").unload_ipython_extension(shell)
