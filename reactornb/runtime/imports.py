"""Which heavy packages this process is importing, and whether a run waits for that.

The first reaction that needs torch waits seconds for its import; a panel that says so does not look hung. This module knows names of
packages, and imports none of them.

No lock: `sys.modules` is only read, and the flag read there is the one by which the import system itself marks a module whose
import is in progress. It is set before the module's first line runs, and cleared after its last.
"""

from __future__ import annotations

import sys
import time

__all__ = ["HEAVY", "Progress", "in_progress", "is_under_way"]

HEAVY = ("matplotlib", "gymnasium", "torch", "torch._dynamo")
STANDS_STILL = 0.2  # seconds without a reaction that ends


def in_progress() -> tuple[str, ...]:
    """The heavy packages that some thread of this process is importing now: `("torch",)`; empty for almost all of its life."""
    return tuple(name for name in HEAVY if is_under_way(name))


def is_under_way(name: str) -> bool:
    """Whether a thread is importing that module now, so that its contents may be incomplete."""
    module = sys.modules.get(name)
    if module is None:
        return False
    # Not getattr(module, ...): a module that is under way, or stands for another, may have a __getattr__ that imports.
    spec = getattr(module, "__dict__", {}).get("__spec__")
    return bool(getattr(spec, "_initializing", False))


class Progress:
    """Distinguishes a run that waits for an import from one that goes on during it, such as while a cell imports torch.

    It does not read the threads' stacks: without a GIL those change while they are read.

    # _last   one tuple, replaced as a whole by each caller, usually a panel's pump; two simultaneous callers see one tuple or the other
    """

    def __init__(self) -> None:
        self._last = (
            -1,
            0.0,
        )  # how many reactions had ended, and when that was first seen, in seconds of `time.monotonic`

    def waiting_for(self, reactions: int) -> str:
        """Returns "importing torch" while a heavy package is imported and no reaction of a live run ends; "" otherwise.

        Args:
            reactions: how many of the run's reactions have ended.
        """
        names = in_progress()
        if not names:
            return ""
        count, since = self._last
        now = time.monotonic()
        if count != reactions:
            self._last = (reactions, now)
        # Before a run's first reaction has ended, there is no progress to compare, so one call is enough.
        stands = reactions == 0 or (count == reactions and now - since >= STANDS_STILL)
        return f"importing {names[-1]}" if stands else ""
