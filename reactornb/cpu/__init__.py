"""The machine's CPUs: which exist, which of them this process may use, which worker gets which, and how a thread is pinned to one.

Imports only the standard library and `reactornb.errors`; hwloc and ctypes are loaded when they are first needed.
"""

from reactornb.cpu._detect import topology
from reactornb.cpu._limits import Limits, default_nice, default_workers, limits, usable_cpus
from reactornb.cpu._pinning import Pin, pin_current_thread, pinned_cpus
from reactornb.cpu._placement import Placement, Policy, place
from reactornb.cpu._records import Cpu, Kind, Topology, format_ids, parse_ids

__all__ = [
    "Cpu",
    "Kind",
    "Limits",
    "Pin",
    "Placement",
    "Policy",
    "Topology",
    "default_nice",
    "default_workers",
    "format_ids",
    "limits",
    "parse_ids",
    "pin_current_thread",
    "pinned_cpus",
    "place",
    "topology",
    "usable_cpus",
]
