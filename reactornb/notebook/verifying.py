"""`Verifying`: whether a program does the same with any number of workers, as `%reactor verify` shows it. A part of `Session`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from reactornb.errors import ReactorError, suggestion
from reactornb.model import Reactor, from_text
from reactornb.runtime import Program, Run
from reactornb.runtime.verifying import Verification, verify

__all__ = ["Verifying"]


class Verifying:
    """Programs of a notebook, run twice for a moment."""

    if TYPE_CHECKING:
        shell: Any

        def reactors(self) -> dict[str, type[Reactor]]:
            """See `Declarations`."""

        def _default(self) -> str:
            """See `Session`."""

    def verify(self, name: str = "", *, parameters: Mapping[str, Any] | None = None, **how: Any) -> Verification:
        """Run the beginning of a program with several numbers of workers; the same as `reactornb.verify(Main, …)`.

        A run that is under way goes on undisturbed, and stays the one that is meant where no name is given.

        Args:
            name: of a reactor class, a reactor, a program or a run; the one used last unless given.
            parameters: of a class.
            how: see `reactornb.verify`.

        Raises:
            UsageError: if there is no such thing, or it cannot be run.
        """
        __tracebackhide__ = True
        name = name or self._default()
        value = self.shell.user_ns.get(name)
        given: dict[str, Any] = dict(parameters or {})
        if isinstance(value, Run):
            value = value.program
        if isinstance(value, type) and issubclass(value, Reactor):
            given = from_text(value, given)
        elif not isinstance(value, (Program, Reactor)):
            known = [*self.reactors(), *(n for n, v in self.shell.user_ns.items() if isinstance(v, Program))]
            raise UsageError(f"%reactor verify: there is no reactor or program {name!r}. {suggestion(name, known)}")
        elif given:
            raise UsageError(f"%reactor verify: {name} is made already; parameters go to a class")
        try:
            return verify(value, **how, **given)
        except ReactorError as error:
            raise UsageError(f"%reactor verify: {error}") from None
