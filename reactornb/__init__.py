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
    from reactornb.graph import Graph, assemble
    from reactornb.options import RunOptions
    from reactornb.runtime import Program, Result, Run

__version__ = "0.1.0"

__all__ = [
    "Bank",
    "Duration",
    "Fixed",
    "Graph",
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
    "Shared",
    "State",
    "Tag",
    "Timer",
    "Watchdog",
    "assemble",
    "connect",
    "days",
    "enclave",
    "forever",
    "hours",
    "minutes",
    "ms",
    "ns",
    "per_member",
    "reaction",
    "reactor",
    "reset",
    "sec",
    "shutdown",
    "startup",
    "us",
    "weeks",
]

_LAZY = {
    "Graph": "reactornb.graph",
    "assemble": "reactornb.graph",
    "Program": "reactornb.runtime",
    "Result": "reactornb.runtime",
    "Run": "reactornb.runtime",
    "RunOptions": "reactornb.options",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext reactornb`: register the magics."""
    import_module("reactornb_magics").load_ipython_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext reactornb`: take the magics back; runs go on."""
    import_module("reactornb_magics").unload_ipython_extension(shell)
