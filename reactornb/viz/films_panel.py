"""What a run has filmed so far, in a notebook: an anywidget with a player and a list, to which each new film is added. Its page side is `films_panel.js`.

Only the thread of the kernel's loop sets traits; a message from the page may arrive on another thread and is passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from reactornb.runtime import Run
from reactornb.viz.assets import asset
from reactornb.viz.panel import Panel
from reactornb.viz.player import Episode, player_cells, player_data, player_html

__all__ = ["FilmsPanel"]


class FilmsPanel(Panel):
    """The films of one run; the newest is shown until another one is chosen.

    Args:
        run: whose they are.
        films: gives those that there are, the newest last.
        later: calls a function on the thread of the kernel's loop.

    Attributes:
        title: whose they are, and how the run is.
        names: a line for each film.
        chosen: the place of the one that is shown, -1 where there is none.
        cells, data: its pictures as HTML, and what the page's script is told of it.
    """

    _esm = asset("page.js", "player.js", "films_panel.js")
    _css = asset("player.css")

    title = traitlets.Unicode("").tag(sync=True)
    names: traitlets.List[Any] = traitlets.List().tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)
    cells = traitlets.Unicode("").tag(sync=True)
    data: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        run: Run,
        films: Callable[[], Sequence[Episode]],
        later: Callable[[Callable[[], None]], None] = lambda fn: fn(),
        **options: Any,
    ) -> None:
        self._run, self._films, self._later = run, films, later
        self._known: list[Episode] = []
        self._follows = True
        self._over = False
        self.is_new = False  # whether there is a film that the static player does not show yet
        super().__init__(title=self._title(), **options)
        self._look()
        self.on_msg(self._on_message)

    def _title(self) -> str:
        return f"{self._run.name}: {self._run.state}"

    def _look(self) -> None:
        """Take in what is new."""
        films = list(self._films())
        if len(films) == len(self._known) and (not films or films[-1] is self._known[-1]):
            return
        shown = self._known[self.chosen] if self.chosen >= 0 else None
        self._known = films
        self.is_new = True
        with self.hold_sync():
            self.names = [f"{film.label}: return {sum(film.rewards):g}" for film in films]
            places = [place for place, film in enumerate(films) if film is shown]
            if self._follows or not places:
                self._show(len(films) - 1)
            else:
                self.chosen = places[0]

    def _show(self, place: int) -> None:
        film = self._known[place]
        with self.hold_sync():
            self.data = player_data([film])
            self.cells = player_cells([film])
            self.chosen = place
        self.sent_bytes += len(self.cells)

    def refresh(self) -> bool:
        """Send what is new to the page; returns false once the run is over and everything has been sent."""
        if self._over:
            return False
        alive = (
            self.run_is_alive
        )  # read first: what is filmed between this and the next line is sent by one more refresh
        self.sent_bytes = 300
        self.title = self._title()
        self._look()
        self._over = not alive
        return alive

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict) and message.get("do") == "show" and isinstance(message.get("film"), int):
            place = int(message["film"])
            self._later(lambda: self._choose(place))

    def _choose(self, place: int) -> None:
        if 0 <= place < len(self._known):
            self._follows = place == len(self._known) - 1
            self._show(place)

    def static(self) -> dict[str, str]:
        """The panel's static fallback: MIME type to content; the film that is shown."""
        self.is_new = False
        if self.chosen < 0:
            words = f"{self.title}; nothing has been filmed yet."
            return {"text/plain": words, "text/html": self.below(words)}
        player = player_html([self._known[self.chosen]])
        return {
            "text/plain": f"{self.title}; {self.names[self.chosen]}",
            "text/html": self.below(player),
        }

    @property
    def run_is_alive(self) -> bool:
        """True until the last tag of the run is done."""
        return self._run.is_alive
