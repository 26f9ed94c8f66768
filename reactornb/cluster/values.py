"""How the values of one program travel between hub and hosts.

What `packing` knows, with the program's own classes declared, travels as it is. What else a program may send, such as an object of another
package, goes the way of checkpoints (`durable.objects`), behind a head of its own. Nothing that comes is unpickled, and nothing that data name is
executed.

# _lock   around `durable.objects.restore`, which notes what it has seen; held by any thread that receives such a value
"""

from __future__ import annotations

import threading
from typing import Any

from reactornb.cluster.packing import Packed, checked, pack
from reactornb.durable.objects import Known, capture, restore
from reactornb.errors import UnencodableValueError
from reactornb.runtime.codec import Classes

__all__ = ["Values"]


class Values:
    """The values of one program, in one process.

    Args:
        known: the classes of the program.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._classes = Classes()
        for cls in known.classes():
            if self._classes.name(cls) is None:
                try:
                    self._classes.add(cls)
                except ValueError:  # two classes of one name: neither travels by it
                    continue

    def pack(self, value: Any, name: str) -> Packed:
        """A value for the way.

        Args:
            value: what was sent; nobody changes it any more.
            name: on what.

        Raises:
            UnencodableValueError: if it cannot travel.
        """
        try:
            return pack(value, self._classes)
        except UnencodableValueError as plain:
            try:
                captured = pack(capture((), self._known, values=[value]))
            except Exception as error:
                raise UnencodableValueError(
                    f"{name}: a value cannot travel to another host: {plain} Send plain data, arrays, tensors or dataclasses, or leave "
                    f"both ends on one host.",
                    path=plain.path,
                    kind=plain.kind,
                ) from error
            return Packed((_CAPTURED, *captured.pieces), len(_CAPTURED) + captured.nbytes)

    def value(self, packed: Packed, field: str) -> Any:
        """What arrives.

        Args:
            packed: as it came.
            field: what it is called in an error.

        Raises:
            WireError: if it is none of `pack`'s.
        """
        captured = packed.behind(_CAPTURED)
        if captured is None:
            return checked(field, packed, self._classes)
        value = checked(field, captured, self._classes)
        with self._lock:
            return restore([value], (), self._known)[0][0]


_CAPTURED = b"\x93RNO" + bytes(60)  # as long as arrays behind it need to begin at a multiple of 64
