"""`Watching`: episodes of what runs have learnt, as `%reactor watch` shows them. A part of `Session`; `reactornb.rl` is imported when it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from reactornb.errors import ReactorError
from reactornb.runtime import Run

if TYPE_CHECKING:
    from reactornb.notebook.displays import Displays
    from reactornb.rl.episodes import Gallery

__all__ = ["Watching"]


class Watching:
    """Who can be watched in one notebook."""

    if TYPE_CHECKING:
        shell: Any
        displays: Displays

        def run(self, name: str = "", *, alive: bool = True, command: str = "stop") -> Run:
            """See `Session`."""

    def watch(
        self,
        *names: str,
        env: str | None = None,
        episodes: int = 1,
        seed: int = 0,
        steps: int = 1000,
        sample: bool = False,
    ) -> Gallery:
        """Play episodes, and show them as a player; see `reactornb.rl.watch`.

        Args:
            names: of runs, programs, classes (their last run), policies in variables, lists of these, files; the last run if none.
            env: a Gymnasium id, or the name of a variable that holds an environment or a function that makes one; what was trained on unless given.
            episodes, seed, steps: see there.
            sample: draw the actions as in training, by a generator of that seed.

        Raises:
            UsageError: if a name means nothing that can play, or that cannot be played.
        """
        __tracebackhide__ = True
        import numpy as np

        from reactornb.rl.showing import watch

        played = [self._player(name) for name in names] or [self.run(alive=False, command="watch")]
        own = self.shell.user_ns.get(env, env) if env is not None else None
        rng = np.random.default_rng(seed) if sample else None
        try:
            return watch(
                played if len(played) > 1 else played[0], own, episodes=episodes, seed=seed, steps=steps, rng=rng
            )
        except (ReactorError, ValueError, OSError) as error:
            raise UsageError(f"%reactor watch: {error}") from None

    def films(self, name: str = "") -> Gallery | None:
        """Show what a run films while it trains, each new film as it comes; where there are no widgets, return those that there are.

        Args:
            name: of the run; the last one unless given.

        Raises:
            UsageError: if there is no such run, or it films nothing.
        """
        __tracebackhide__ = True
        from reactornb.rl.camera import has_camera, videos
        from reactornb.rl.episodes import Gallery

        run = self.run(name, alive=False, command="watch")
        if not has_camera(run):
            raise UsageError(
                f"%reactor watch: {run.name} films nothing; start it with video_every=20000: %reactor start PPO video_every=20000"
            )
        if self.displays.show_films(run, lambda: videos(run)):
            return None
        films = videos(run)
        if not films:
            raise UsageError(f"%reactor watch: {run.name} has filmed nothing yet")
        return Gallery(films)

    def _player(self, name: str) -> Any:
        """What a name means: a variable's policy, list or dict; a policy's file; else a run."""
        value = self.shell.user_ns.get(name)
        if isinstance(value, (list, tuple, dict)) or (callable(value) and not isinstance(value, type)):
            return value
        if name.endswith(".safetensors"):
            return name
        return self.run(name, alive=False, command="watch")
