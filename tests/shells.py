"""A real IPython shell in this process with the magics loaded, for tests of cells."""

import contextlib
import re

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from reactornb.runtime import live_runs

__all__ = ["Cells", "loaded_shell"]


class Cells:
    """Runs cells and keeps what they print.

    Attributes:
        shell: the shell.
        result: what the shell says of the cell that ran last.
        error: the exception with which that cell ended, or None.
    """

    def __init__(self, shell):
        self.shell = shell
        self.result = self.error = None

    def __call__(self, text):
        """Run a cell; its output as text, errors among it."""
        with capture_output() as captured:
            self.result = self.shell.run_cell(text, store_history=True)
        self.error = self.result.error_before_exec or self.result.error_in_exec
        return re.sub(r"\x1b\[[\d;]*m", "", captured.stdout + captured.stderr)

    def ok(self, text):
        """Run a cell that must not fail."""
        out = self(text)
        assert self.error is None, out
        return out

    @property
    def names(self):
        """The user's namespace."""
        return self.shell.user_ns

    @property
    def number(self):
        """The number of the cell that ran last."""
        return self.result.execution_count


@contextlib.contextmanager
def loaded_shell():
    """The one shell of this process; runs that are left are stopped, and `reactornb` is unloaded at the end."""
    config = Config()
    config.HistoryManager.enabled = False
    cells = Cells(InteractiveShell.instance(config=config, colors="nocolor"))
    cells.ok("%load_ext reactornb")
    try:
        yield cells
    finally:
        for run in live_runs():
            run.stop()
        cells.ok("%unload_ext reactornb")
        InteractiveShell.clear_instance()
