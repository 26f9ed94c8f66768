"""TrafficJunction: cars that must cross without colliding, each driven by an agent that sees only its neighbourhood.

Written from the descriptions in
    Sukhbaatar, Szlam, Fergus 2016, "Learning Multiagent Communication with Backpropagation", arXiv:1605.07736, section 4.2
    Singh, Jain, Sukhbaatar 2019, "Learning when to Communicate at Scale in Multiagent Cooperative and Competitive Tasks"
    (IC3Net), arXiv:1812.09755, section 4.1.2: the three levels of difficulty, and cars that return with another route.

A PettingZoo parallel environment; it knows nothing of reactors.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv

from reactornb.errors import ReactorError, suggestion

__all__ = ["BRAKE", "GAS", "LEVELS", "Level", "TrafficJunction", "TrafficJunctionError"]

GAS, BRAKE = 0, 1
COLLISION_REWARD = -10.0  # r_coll
TIME_REWARD = -0.01  # r_time, times the steps since the car arrived

Cell = tuple[int, int]  # row, column
Lane = tuple[Cell, ...]  # the cells of one direction of a road, from where cars arrive to where they leave


class TrafficJunctionError(ReactorError, ValueError):
    """A level, a number of cars or an action that does not exist."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of difficulty.

    Attributes:
        size: rows and columns of the grid.
        roads: where roads run, the same from north to south as from west to east: the first row or column of each.
        two_way: two lanes, one for each direction, on neighbouring rows or columns; traffic keeps to the right.
        cars: most cars on the grid at once (N_max), hence agents.
        arrival: probability per step and entrance that a car arrives (p_arrive).
        steps: length of an episode.
    """

    size: int
    roads: tuple[int, ...]
    two_way: bool
    cars: int
    arrival: float
    steps: int

    def lanes(self) -> list[Lane]:
        """The lanes of all roads; a junction's cells lie on two of them."""
        line = range(self.size)
        lanes: list[Lane] = []
        for at in self.roads:
            east, south = (at + 1 if self.two_way else at), at
            lanes += [tuple((east, i) for i in line), tuple((i, south) for i in line)]
            if self.two_way:
                lanes += [tuple((at, i) for i in reversed(line)), tuple((i, at + 1) for i in reversed(line))]
        return lanes

    def routes(self) -> list[list[Lane]]:
        """For each entrance the shortest route to every exit but the one beside it, clockwise; the fewest turns among equals."""
        lanes = self.lanes()
        routes = []
        for lane in lanes:
            start = self._around(lane[0])
            exits = sorted(((self._around(other[-1]) - start) % (4 * self.size), other[-1]) for other in lanes)
            ways = [_shortest(lanes, lane, last) for _, last in exits if _apart(lane[0], last) > 1]
            routes.append([way for way in ways if way])
        return routes

    def _around(self, cell: Cell) -> int:
        """Where a cell of the border lies, counted clockwise from the top left corner."""
        row, column = cell
        if row == 0:
            return column
        if column == self.size - 1:
            return self.size + row
        return 3 * self.size - column if row == self.size - 1 else 4 * self.size - row


LEVELS = {
    "easy": Level(size=7, roads=(3,), two_way=False, cars=5, arrival=0.3, steps=20),
    "medium": Level(size=14, roads=(6,), two_way=True, cars=10, arrival=0.2, steps=40),
    "hard": Level(size=18, roads=(5, 11), two_way=True, cars=20, arrival=0.05, steps=80),
}


def _apart(a: Cell, b: Cell) -> int:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _shortest(lanes: list[Lane], start: Lane, last: Cell) -> Lane:
    """Cells from the beginning of `start` to `last` along lanes, by Dijkstra's algorithm over (steps, turns); empty if there are none."""
    order = count()  # among equals the first found
    queue: list[tuple[int, int, int, Lane, int, Lane]] = [(0, 0, next(order), start, 0, (start[0],))]
    done = set()
    while queue:
        steps, turns, _, lane, at, way = heapq.heappop(queue)
        if way[-1] == last:
            return way
        if (way[-1], lane) in done:
            continue
        done.add((way[-1], lane))
        for other in lanes:
            if way[-1] in other:
                here = at if other is lane else other.index(way[-1])
                if here + 1 < len(other):
                    turned = turns + (other is not lane)
                    ahead = other[here + 1]
                    heapq.heappush(queue, (steps + 1, turned, next(order), other, here + 1, (*way, ahead)))
    return ()


class TrafficJunction(ParallelEnv):  # type: ignore[misc]  # PettingZoo has no types of its own
    """Cars on crossing roads; each agent drives the car of its number while there is one.

    At each step a car may arrive at each entrance, as long as fewer than `cars` are on the grid; it gets an agent without a
    car and a route, both drawn at random. With GAS it advances by one cell of its route, with BRAKE it stays; past the last cell it
    is gone and its agent may get another one later. Cars on one cell have collided, which changes nothing but the reward: −10 for
    each of them, and −0.01 τ for every car, τ being the steps since it arrived. (CommNet adds all agents' rewards up.) An episode
    is truncated after `steps` steps, and was a success if nothing collided: the last infos say so under "success".

    An agent observes the cells around its car, (2 vision + 1)² of them, row by row. Of each: which car is there (one-hot, `cars` long), its
    row and column (each divided by the largest), its route (one-hot over the routes from one entrance); where several
    cars collided, all of theirs. An agent without a car sees zeros, and what it does changes nothing. With level "medium"
    and vision 1 that is 81 numbers for 4 cars and 135 for 10, together 324 and 1350: the sizes of the paper's experiment 6.

    What the descriptions leave open: no car arrives on an occupied cell, where a collision could not be avoided.

    Args:
        level: "easy", "medium", "hard", or a `Level`.
        cars: how many agents; the level's unless given.
        arrival: probability of an arrival per step and entrance; the level's unless given (the papers raise it while they train).
        steps: length of an episode; the level's unless given.
        vision: how many cells a car sees in each direction; 1 in CommNet, 0 or 1 in IC3Net.
        render_mode: "ansi" makes `render` return a picture in characters.

    Raises:
        TrafficJunctionError: for an unknown level, or numbers that make no sense.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["ansi"],
        "name": "traffic_junction_v0",
        "is_parallelizable": True,
    }

    def __init__(
        self,
        level: str | Level = "medium",
        *,
        cars: int | None = None,
        arrival: float | None = None,
        steps: int | None = None,
        vision: int = 1,
        render_mode: str | None = None,
    ) -> None:
        if isinstance(level, str):
            if level not in LEVELS:
                raise TrafficJunctionError(f"TrafficJunction has no level {level!r}. {suggestion(level, LEVELS)}")
            level = LEVELS[level]
        self.level = level
        self.cars = level.cars if cars is None else cars
        self.arrival = level.arrival if arrival is None else arrival
        self.steps = level.steps if steps is None else steps
        self.vision = vision
        self.render_mode = render_mode
        if self.cars < 1 or self.steps < 1 or vision < 0 or not 0 <= self.arrival <= 1:
            raise TrafficJunctionError(
                f"TrafficJunction needs at least 1 car and 1 step, a vision of at least 0 and a probability of arrival in [0, 1], "
                f"not {self.cars}, {self.steps}, {vision} and {self.arrival}."
            )
        self._routes = level.routes()
        kinds = max(len(ways) for ways in self._routes)
        self._features = self.cars + 2 + kinds
        around = 2 * vision + 1
        width = around**2 * self._features

        self.possible_agents = [f"car_{i}" for i in range(self.cars)]
        self.agents: list[str] = []
        # One object per agent: PettingZoo asks for the same space each time, and for spaces that are seeded apart.
        self.observation_spaces = {a: spaces.Box(0.0, 1.0, (width,), np.float32) for a in self.possible_agents}
        self.action_spaces = {a: spaces.Discrete(2) for a in self.possible_agents}
        self.state_space = spaces.Box(0.0, 1.0, (self.cars * width,), np.float32)
        self.np_random: np.random.Generator | None = None

        self._edge = edge = level.size + 2 * vision  # a margin, so that every car has all its neighbours
        self._grid = np.zeros((edge, edge, self._features), np.float32)
        shift = np.arange(around) - vision
        self._window = (shift[:, None] * edge + shift).reshape(-1)  # from a cell to those around it
        self._seen = np.zeros((self.cars, width), np.float32)
        self._way: list[Lane | None] = [None] * self.cars  # each car's route; None: no car
        self._kind = [0] * self.cars
        self._at = [0] * self.cars  # how far it is on its route
        self._age = [0] * self.cars  # τ

    def observation_space(self, agent: str) -> spaces.Box:
        """Box [0, 1], float32, (2 vision + 1)² × (cars + 2 + routes) numbers."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Discrete(2): GAS, BRAKE."""
        return self.action_spaces[agent]

    def state(self) -> np.ndarray:
        """All agents' observations, one after the other: float32 [cars × one observation]."""
        return self._seen.reshape(-1).copy()

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - there are none
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Begin an episode on an empty grid; cars may arrive at once.

        Args:
            seed: of the environment's own generator; without it the one there is goes on.
            options: none so far.
        """
        if seed is not None or self.np_random is None:
            self.np_random, _ = seeding.np_random(seed)
        self.agents = self.possible_agents[:]
        self._way = [None] * self.cars
        self._now = 0
        self._collided = False
        self._arrive()
        return self._observe(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Move the cars, let others arrive, judge.

        Args:
            actions: GAS or BRAKE for each agent.

        Returns:
            Observations, rewards, terminations (none), truncations, infos; each a dictionary with an entry per agent.

        Raises:
            TrafficJunctionError: for an action that is neither, or before `reset`.
        """
        agents = self.agents
        if not agents:
            raise TrafficJunctionError("TrafficJunction: the episode is over, or has not begun: call reset() first.")
        self._now += 1
        for i, agent in enumerate(agents):
            action = actions[agent]
            if action not in (GAS, BRAKE):
                raise TrafficJunctionError(
                    f"TrafficJunction: {agent}'s action is {action!r}; it is 0 (gas) or 1 (brake)."
                )
            way = self._way[i]
            if way is not None:
                self._age[i] += 1
                if action == GAS:
                    self._at[i] += 1
                    if self._at[i] == len(way):
                        self._way[i] = None
        self._arrive()
        rewards = dict.fromkeys(agents, 0.0)
        there: dict[Cell, int] = {}
        for _, cell in self._cars():
            there[cell] = there.get(cell, 0) + 1
        for i, cell in self._cars():
            reward = TIME_REWARD * self._age[i]
            if there[cell] > 1:
                self._collided = True
                reward += COLLISION_REWARD
            rewards[agents[i]] = reward
        over = self._now >= self.steps
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in agents}
        if over:
            self.agents = []
            infos = {agent: {"success": not self._collided} for agent in agents}
        return self._observe(), rewards, dict.fromkeys(agents, False), dict.fromkeys(agents, over), infos

    def _cars(self) -> Iterator[tuple[int, Cell]]:
        """Number and cell of each car on the grid."""
        for i, way in enumerate(self._way):
            if way is not None:
                yield i, way[self._at[i]]

    def _arrive(self) -> None:
        """Let a car arrive at each entrance with the probability of arrival."""
        rng = self.np_random
        assert rng is not None  # reset made it
        arrives = (rng.random(len(self._routes)) < self.arrival).tolist()
        if not any(arrives):
            return
        taken = {cell for _, cell in self._cars()}
        for ways, comes in zip(self._routes, arrives, strict=True):
            free = [i for i, way in enumerate(self._way) if way is None]
            if comes and free and ways[0][0] not in taken:
                i = free[int(rng.integers(len(free)))]
                self._kind[i] = int(rng.integers(len(ways)))
                self._way[i] = ways[self._kind[i]]
                self._at[i] = self._age[i] = 0

    def _observe(self) -> dict[str, np.ndarray]:
        """Every agent's observation: a row of one new array."""
        features, edge, margin = self._features, self._edge, self.vision
        largest = self.level.size - 1
        who: list[int] = []
        cells: list[int] = []
        at: list[int] = []
        values: list[float] = []
        for i, (row, column) in self._cars():
            cell = (row + margin) * edge + column + margin
            who.append(i)
            cells.append(cell)
            first = cell * features
            place = first + self.cars
            at += (first + i, place, place + 1, place + 2 + self._kind[i])
            values += (1.0, row / largest, column / largest, 1.0)
        seen = np.zeros_like(self._seen)
        if who:
            flat = self._grid.reshape(-1)
            flat[at] = values
            window = np.array(cells)[:, None] + self._window
            seen[who] = self._grid.reshape(-1, features)[window].reshape(len(who), -1)
            flat[at] = 0.0
        self._seen = seen
        return dict(zip(self.possible_agents, seen, strict=True))

    def render(self) -> str | None:
        """With render_mode "ansi": the grid, "." road, a digit or letter for each car, "*" for a collision."""
        if self.render_mode != "ansi":
            return None
        size = self.level.size
        road = {cell for lane in self.level.lanes() for cell in lane}
        picture = [["." if (r, c) in road else " " for c in range(size)] for r in range(size)]
        for i, (row, column) in self._cars():
            empty = picture[row][column] == "."
            picture[row][column] = "0123456789abcdefghijklmnopqrstuvwxyz"[i % 36] if empty else "*"
        return "\n".join("".join(line).rstrip() for line in picture)

    def close(self) -> None:
        """Nothing is held."""
