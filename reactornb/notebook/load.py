"""Starting and ending the session of a shell."""

from __future__ import annotations

import sys
from typing import Any

from reactornb.durable.code import set_cell_reader
from reactornb.errors import ReactorError, set_source_describer
from reactornb.notebook import help_pages, preload, tracebacks
from reactornb.notebook.declaring import cell_reader, describer
from reactornb.notebook.session import Session
from reactornb.runtime import crashes

__all__ = ["current_session", "load", "unload"]

# Written by `load` and `unload`, on the thread that runs cells; one shell a process, as IPython has it.
_session: Session | None = None


def load(shell: Any) -> Session:
    """Make this shell's session, or return the existing one."""
    global _session  # noqa: PLW0603 - see above
    if _session is not None and _session.shell is shell:
        return _session
    if _session is not None:
        unload()
    _session = Session(shell)
    set_source_describer(describer(shell))
    set_cell_reader(cell_reader(shell))
    tracebacks.install(shell)
    _session.displays.install()
    help_pages.install(shell)
    preload.start(shell)
    if getattr(shell, "kernel", None) is not None:
        # The process's own stderr: ipykernel's replacement needs a thread of the process, which may have crashed.
        crashes.install(getattr(sys.stderr, "_original_stdstream_copy", 2))
    return _session


def unload() -> None:
    """Undo `load`; runs go on."""
    global _session  # noqa: PLW0603
    if _session is not None:
        _session.close()
        _session.displays.uninstall()
        help_pages.uninstall(_session.shell)
        tracebacks.uninstall()
        set_source_describer(None)
        set_cell_reader(None)
        _session = None


def current_session() -> Session:
    """The session behind the magics.

    Raises:
        ReactorError: before `%load_ext reactornb`.
    """
    if _session is None:
        raise ReactorError("there is no notebook session yet: run %load_ext reactornb first.")
    return _session
