"""Pictures of Gymnasium's toy-text environments, drawn from their state: FrozenLake, CliffWalking, Taxi, Blackjack.

Gymnasium draws them with pygame, too; see `drawing`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reactornb.rl.drawing import BLUE, GRAY, GREEN, INK, RED, WOOD, Canvas, Colour, Point

__all__ = ["picture_of"]

CELL = 40  # pixels, of boards with up to 20 squares a side
ICE, WATER, ROCK, SAND, FELT, CARD = (
    (226, 240, 250),
    (58, 96, 150),
    (96, 84, 78),
    (240, 232, 214),
    (38, 110, 84),
    (250, 250, 246),
)


def picture_of(env: Any) -> np.ndarray | None:
    """The present picture of a toy-text environment, uint8 [height, width, 3]; None for any other one."""
    inner = env.unwrapped
    draw = _DRAWN.get(type(inner).__name__)
    if draw is None or not type(inner).__module__.startswith("gymnasium.envs.toy_text"):
        return None
    return draw(inner).pixels


def _board(rows: int, columns: int) -> Canvas:
    """Squares of one unit; the one in row r and column c has its middle at (c, -r)."""
    cell = max(4, min(CELL, 800 // max(rows, columns)))
    return Canvas(((columns - 1) / 2, -(rows - 1) / 2), rows, (rows * cell, columns * cell))


def _square(canvas: Canvas, row: int, column: int, colour: Colour) -> None:
    canvas.box((column, -row), 0.96, 0.96, colour)


def _player(canvas: Canvas, row: int, column: int) -> None:
    canvas.line((column, -row - 0.22), (column, -row - 0.02), 0.3, BLUE)
    canvas.line((column, -row + 0.2), (column, -row + 0.2), 0.28, WOOD)


def _flag(canvas: Canvas, row: int, column: int) -> None:
    canvas.line((column - 0.2, -row - 0.3), (column - 0.2, -row + 0.3), 0.06, INK)
    canvas.box((column + 0.05, -row + 0.17), 0.44, 0.26, GREEN)


def _frozen_lake(env: Any) -> Canvas:
    letters = env.desc
    canvas = _board(*letters.shape)
    for (row, column), letter in np.ndenumerate(letters):
        _square(canvas, row, column, SAND if letter == b"S" else ICE)
        if letter == b"H":
            canvas.line((column, -row), (column, -row), 0.7, WATER)
        elif letter == b"G":
            _flag(canvas, row, column)
    _player(canvas, *divmod(int(env.s), letters.shape[1]))
    return canvas


def _cliff_walking(env: Any) -> Canvas:
    rows, columns = env.shape
    canvas = _board(rows, columns)
    for (row, column), is_cliff in np.ndenumerate(env._cliff):
        _square(canvas, row, column, ROCK if is_cliff else SAND)
    _flag(canvas, rows - 1, columns - 1)
    _player(canvas, *divmod(int(env.s), columns))
    return canvas


STATIONS: tuple[Colour, ...] = (RED, GREEN, (225, 190, 60), BLUE)  # in the order of `locs`: R, G, Y, B


def _taxi(env: Any) -> Canvas:
    row, column, passenger, goal = env.decode(int(env.s))
    letters = env.desc[1:-1]  # of the map: a row of squares between walls, "|", and passages, ":"
    canvas = _board(5, 5)
    for r in range(5):
        for c in range(5):
            _square(canvas, r, c, SAND)
    for (r, c), colour in zip(env.locs, STATIONS, strict=True):
        canvas.box((c, -r), 0.6, 0.6, colour)
    for r in range(5):
        for c in range(4):
            if letters[r, 2 * c + 2] == b"|":
                canvas.line((c + 0.5, -r - 0.5), (c + 0.5, -r + 0.5), 0.1, INK)
    r, c = env.locs[goal]
    _flag(canvas, r, c)
    canvas.box((column, -row - 0.05), 0.7, 0.34, (250, 200, 40))
    canvas.box((column, -row + 0.15), 0.4, 0.2, GRAY)
    for side in (-0.2, 0.2):
        canvas.line((column + side, -row - 0.22), (column + side, -row - 0.22), 0.16, INK)
    at: Point = (
        (column, -row + 0.17) if passenger == 4 else (env.locs[passenger][1] + 0.28, -env.locs[passenger][0] - 0.2)
    )
    canvas.line((at[0], at[1] - 0.1), at, 0.12, INK)
    canvas.line((at[0], at[1] + 0.12), (at[0], at[1] + 0.12), 0.16, WOOD)
    return canvas


# Rows of a glyph, three columns each.
_GLYPHS = {
    "0": "###|#.#|#.#|#.#|###", "1": ".#.|##.|.#.|.#.|###", "2": "###|..#|###|#..|###", "3": "###|..#|###|..#|###",
    "4": "#.#|#.#|###|..#|..#", "5": "###|#..|###|..#|###", "6": "###|#..|###|#.#|###", "7": "###|..#|..#|..#|..#",
    "8": "###|#.#|###|#.#|###", "9": "###|#.#|###|..#|###", "A": ".#.|#.#|###|#.#|#.#",
}  # fmt: skip


def _word(canvas: Canvas, middle: Point, height: float, word: str, colour: Colour) -> None:
    unit = height / 5
    left = middle[0] - (4 * len(word) - 1) * unit / 2
    for place, letter in enumerate(word):
        for y, line in enumerate(_GLYPHS[letter].split("|")):
            for x, dot in enumerate(line):
                if dot == "#":
                    at = (left + (4 * place + x + 0.5) * unit, middle[1] + (2 - y) * unit)
                    canvas.box(at, unit * 1.15, unit * 1.15, colour)


def _blackjack(env: Any) -> Canvas:
    """The dealer's cards above, the player's below, each row with its sum; the dealer's second card is seen once he has drawn a third."""
    canvas = Canvas((0.0, 0.0), 4.0)
    canvas.box((0.0, 0.0), 9.0, 9.0, FELT)
    for y, hand, hidden in ((1.0, env.dealer, len(env.dealer) == 2), (-1.0, env.player, False)):
        shown = hand[:1] if hidden else hand
        step = min(0.95, 4.2 / len(hand))
        for place in range(len(hand)):
            at = (-2.2 + step * place, y)
            canvas.box(at, 0.86, 1.4, INK)
            canvas.box(at, 0.82, 1.36, CARD if place < len(shown) else GRAY)
            if place < len(shown):
                _word(canvas, (at[0], y), 0.5, "A" if shown[place] == 1 else str(shown[place]), INK)
        total = sum(shown) + (10 if 1 in shown and sum(shown) + 10 <= 21 else 0)
        _word(canvas, (2.35, y), 0.7, str(total), CARD)
    return canvas


_DRAWN: dict[str, Callable[[Any], Canvas]] = {
    "FrozenLakeEnv": _frozen_lake,
    "CliffWalkingEnv": _cliff_walking,
    "TaxiEnv": _taxi,
    "BlackjackEnv": _blackjack,
}
