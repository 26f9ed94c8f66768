"""`Sweeps`: what the magics do with sweeps. A part of `Session`; `reactornb.sweeps` is imported when it is first needed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from reactornb.errors import ReactorError, suggestion
from reactornb.model import Reactor
from reactornb.runtime import live_runs

if TYPE_CHECKING:
    from reactornb.sweeps.running import Sweep

__all__ = ["Sweeps"]


class Sweeps:
    """The sweeps of one notebook."""

    if TYPE_CHECKING:
        shell: Any

        def reactors(self) -> dict[str, type[Reactor]]:
            """See `Declarations`."""

        def _default(self) -> str:
            """See `Session`."""

    def sweep(self, name: str = "", *, parameters: Mapping[str, Any] | None = None, **given: Any) -> Sweep:
        """Start a sweep in the background; the same as `reactornb.sweep(Main, …)`, or with `trials` as `reactornb.optimize(Main, …)`.

        Args:
            name: of a reactor class; the one used last unless given.
            parameters: lists and ranges are swept.
            given: see `sweeps.asked`.

        Raises:
            UsageError: if there is no such class.
        """
        __tracebackhide__ = True
        from reactornb.sweeps import asked

        name = name or self._default()
        cls = self.shell.user_ns.get(name)
        if not (isinstance(cls, type) and issubclass(cls, Reactor)):
            raise UsageError(f"%reactor sweep: there is no reactor class {name!r}. {suggestion(name, self.reactors())}")
        try:
            return asked.begin(cls, parameters or {}, given)  # type: ignore[no-any-return]
        except ReactorError as error:
            raise UsageError(f"%reactor sweep: {error}") from None

    def sweep_named(self, name: str) -> Sweep | None:
        """The sweep that a variable holds, or that is called so; None: there is none."""
        module = sys.modules.get("reactornb.sweeps.running")
        if module is None or not name:
            return None
        value = self.shell.user_ns.get(name)
        if isinstance(value, module.Sweep):
            named: Sweep = value
            return named
        for sweep in self.live_sweeps():
            if name in (sweep.name, sweep.name.replace(" ", "#")):
                return sweep
        return None

    def _stop_sweeps(self, name: str, *, every: bool) -> bool:
        """Stop the sweep of that name, or with `every` all of them, whose runs end with them; returns whether that was all."""
        named = self.sweep_named(name)
        sweeps = [named] if named is not None else self.live_sweeps() if every and not name else []
        for sweep in sweeps:
            sweep.request_stop()
        for sweep in sweeps:
            sweep.stop()
        return named is not None or (bool(sweeps) and not live_runs())

    @staticmethod
    def live_sweeps() -> list[Sweep]:
        """Those that go on."""
        module = sys.modules.get("reactornb.sweeps.running")
        return [] if module is None else module.live_sweeps()
