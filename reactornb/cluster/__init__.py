"""A program on several machines: hosts that execute its enclaves, and the links to them. See README.md there.

Importing this package imports none of its modules; `import reactornb` does not import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reactornb.lazy import importer

if TYPE_CHECKING:
    from reactornb.cluster.hosts import Hosts

__all__ = ["Hosts"]

__getattr__ = importer(__name__, {"Hosts": "hosts"})
