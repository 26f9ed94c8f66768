"""Ways to save objects of other packages whose content C keeps; found by the names of their classes, so that none of the packages is imported."""

from __future__ import annotations

from reactornb.durable import emulators
from reactornb.durable.objects.known import Way
from reactornb.durable.objects.take_threads import WAYS

__all__ = ["FORGOTTEN", "adapter_of"]

FORGOTTEN = frozenset({"pygame.surface.Surface", "pygame.Surface", "pygame.time.Clock"})
"""What an environment draws on: it makes another where it finds None."""

_ADAPTERS: dict[str, Way] = {
    "ale_py._ale_py.ALEInterface": Way(emulators.save, emulators.load),
}


def adapter_of(cls: type) -> Way | None:
    """How objects of a class are saved; None if there is no way here. They are put back only into one that startup made."""
    if cls in WAYS:  # not those derived from them, which may hold more
        return WAYS[cls]
    for base in cls.__mro__:
        way = _ADAPTERS.get(f"{base.__module__}.{base.__qualname__}")
        if way is not None:
            return way
    return None
