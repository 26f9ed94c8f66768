"""Read the topology from Windows's CPU sets, live through ctypes or from the recorded bytes of the same call.

The records are SYSTEM_CPU_SET_INFORMATION: size, type, then id, group, and one byte each for the logical processor, core,
last-level cache, NUMA node and efficiency class. A higher efficiency class is a *stronger* core.
"""

import struct
from typing import Any

from reactornb.cpu._kinds import Seen, assemble
from reactornb.cpu._records import Topology

_RECORD = struct.Struct("<IIIHBBBBB")
_CPU_SET = 0  # the only type of record so far
_GROUP_SIZE = 64  # Windows numbers logical processors within groups of at most 64; our ids count on


def read_cpu_sets(data: bytes | None = None) -> Topology | None:
    """The topology that GetSystemCpuSetInformation tells.

    Args:
        data: the recorded bytes of the call's buffer; None asks this machine.

    Returns:
        The topology, or None where the call does not exist.
    """
    if data is None:
        data = _ask()
    seen = []
    offset = 0
    while data and offset + _RECORD.size <= len(data):
        size, what, cpu_set, group, logical, core, _cache, node, strength = _RECORD.unpack_from(data, offset)
        if size <= 0:
            break
        if what == _CPU_SET:
            seen.append(
                Seen(
                    id=group * _GROUP_SIZE + logical,
                    core=(group, core),
                    node=node,
                    rank=strength,
                    native_id=cpu_set,
                )
            )
        offset += size
    return assemble(seen, "windows") if seen else None


def _ask() -> bytes:  # pragma: no cover - Windows only
    kernel32 = load_kernel32()
    if kernel32 is None:
        return b""
    import ctypes

    needed = ctypes.c_ulong()
    kernel32.GetSystemCpuSetInformation(None, 0, ctypes.byref(needed), None, 0)
    buffer = ctypes.create_string_buffer(needed.value)
    if not kernel32.GetSystemCpuSetInformation(buffer, needed.value, ctypes.byref(needed), None, 0):
        return b""
    return buffer.raw[: needed.value]


def load_kernel32() -> Any | None:
    """Windows's kernel32 through ctypes, with the types that pseudo-handles need; None elsewhere."""
    import ctypes

    loader = getattr(ctypes, "WinDLL", None)
    if loader is None:
        return None
    kernel32 = loader("kernel32", use_last_error=True)  # pragma: no cover - Windows only
    kernel32.GetCurrentThread.restype = ctypes.c_void_p  # pragma: no cover
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p  # pragma: no cover
    return kernel32  # pragma: no cover
