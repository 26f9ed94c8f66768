"""Declarations: what a reactor class says of itself, recorded and checked, not yet judged as a graph.

A class body declares ports, actions, timers, modes, state, children and reactions; a reaction's parameters name what it
touches, so the signature is the graph. An instance made by a user is a *template*: its class, its parameters and the
connections made at it. `graph.assemble` instantiates templates; `runtime` makes the objects that run. Nothing
here knows of tags in progress, threads or notebooks.
"""

from reactornb.model.bank import Bank, BankMember, per_member
from reactornb.model.connections import Connection, connect, enclave
from reactornb.model.declarations import (
    Action,
    Builtin,
    Declaration,
    Input,
    LogicalAction,
    Mode,
    Output,
    PhysicalAction,
    Port,
    PortRef,
    Reaction,
    State,
    Timer,
    Watchdog,
    reaction,
    reset,
    shutdown,
    startup,
)
from reactornb.model.port_path import PortPath
from reactornb.model.reactor import Reactor, composing
from reactornb.model.spec import ClassSpec
from reactornb.model.values import Fixed, Shared, choices_of, fits, fitting, from_text, kind_of

__all__ = [
    "Action",
    "Bank",
    "BankMember",
    "Builtin",
    "ClassSpec",
    "Connection",
    "Declaration",
    "Fixed",
    "Input",
    "LogicalAction",
    "Mode",
    "Output",
    "PhysicalAction",
    "Port",
    "PortPath",
    "PortRef",
    "Reaction",
    "Reactor",
    "Shared",
    "State",
    "Timer",
    "Watchdog",
    "choices_of",
    "composing",
    "connect",
    "enclave",
    "fits",
    "fitting",
    "from_text",
    "kind_of",
    "per_member",
    "reaction",
    "reset",
    "shutdown",
    "startup",
]
