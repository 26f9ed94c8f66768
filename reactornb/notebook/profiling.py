"""`Profiling`: where the time of runs goes, as `%reactor profile` and `%reactor timeline` show it. A part of `Session`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from reactornb.runtime import Run
from reactornb.runtime.profile import Profile
from reactornb.runtime.timeline import Timeline
from reactornb.viz.timeline_file import save_timeline

if TYPE_CHECKING:
    from reactornb.notebook.displays import Displays

__all__ = ["Profiling"]


class Profiling:
    """Profiles and timelines of a notebook's runs."""

    if TYPE_CHECKING:
        displays: Displays

        def run(self, name: str = "", *, alive: bool = True, command: str = "stop") -> Run:
            """See `Session`."""

        def say(self, words: str) -> None:
            """See `Declarations`."""

    def profile(self, name: str = "", *, banks: bool = False) -> Profile:
        """Where a run's time goes, as a table that displays itself; see `Run.profile`.

        Args:
            name: see `run`; the last run when none lives.
            banks: one row for all members of a bank.

        Raises:
            UsageError: if there is no such run, or it takes no times.
        """
        profile_of_run = self._profiled(name, "profile").profile()
        return profile_of_run.by_bank() if banks else profile_of_run

    def timeline(self, name: str = "") -> Timeline:
        """Who ran what, when, on which worker, as a panel that displays itself; see `Run.timeline`.

        Args:
            name: see `run`; the last run when none lives.

        Raises:
            UsageError: if there is no such run, or it takes no times.
        """
        return self._profiled(name, "timeline").timeline()

    def show_timeline(self, name: str = "", *, last: int | None = None, save: str | None = None) -> None:
        """Show the timeline's panel, or write it to a file; see `timeline`.

        Args:
            name: see `timeline`.
            last: how many ns of physical time are shown, up to the end.
            save: the file; its ending says as what, see `reactornb.viz.save_timeline`.
        """
        of_run = self.timeline(name)
        if save is None:
            self.displays.show_timeline(of_run, last)
        else:
            self.say(f"saved {save_timeline(of_run, save, last)}")

    def _profiled(self, name: str, command: str) -> Run:
        run = self.run(name, alive=False)
        if not run.options.profile:
            again = f"%reactor start{f' {name}' if name else ''} --profile"
            raise UsageError(
                f"%reactor {command}: run {run.number} of {run.program.name} takes no times; start it with {again}"
            )
        return run
