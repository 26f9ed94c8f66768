"""Which reaction a stack is in: the only answer for `Run.busy`, `Run.printed`, crash reports and warnings.

A stack says which code runs, and `self` in a frame says for which instance. The outermost frame that is a reaction's body is the
reaction: a reaction may call another's body as a plain function.
"""

from __future__ import annotations

import inspect
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from reactornb.errors import Source
from reactornb.model import Reactor

if TYPE_CHECKING:
    from reactornb.runtime.reactions import RunningReaction

__all__ = ["Place", "ReactionFinder", "finder_of"]


class Place(NamedTuple):
    """What a stack is in.

    Attributes:
        reaction: the reaction; None if there is none, or if it is one of several.
        candidates: the reactions that it may be, in the graph's order; empty if the stack is in none.
        source: the line at which the reaction's body is; None if there is none.
        reactor: the innermost instance of which a method is on the stack, if that was asked for.
    """

    reaction: RunningReaction | None = None
    candidates: tuple[RunningReaction, ...] = ()
    source: Source | None = None
    reactor: Reactor | None = None

    @property
    def name(self) -> str:
        """The reaction's full name; "one of ..." where members of a bank cannot be told apart; "" if there is none."""
        if len(self.candidates) > 1:
            return f"one of {self.candidates[0].name} to {self.candidates[-1].name}"
        return self.candidates[0].name if self.candidates else ""


class ReactionFinder:
    """Tells the reactions of one run from stacks.

    # Everything is written by the constructor and then only read: any thread may ask.

    Args:
        schedule: the compiled schedule of the run; None finds nothing.

    Attributes:
        numbers: the index of each instance, by its `id`.
    """

    __slots__ = ("_by_code", "numbers")

    def __init__(self, schedule: Any) -> None:
        instances: Any = () if schedule is None else schedule.instances
        self.numbers: dict[int, int] = {id(instance): index for index, instance in enumerate(instances)}
        # By the `id` of a body's code, and by that of the instance: its reactions. Several, if one decorator made the functions of them all.
        self._by_code: dict[int, dict[int, tuple[RunningReaction, ...]]] = {}
        for r in () if schedule is None else schedule.reactions:
            declared: list[Any] = [getattr(r.node.declaration, kind, None) for kind in ("fn", "handler")]
            functions = [function for function in declared if function is not None]
            # A decorator's function and the one below it are both the body.
            for function in dict.fromkeys([*functions, *map(inspect.unwrap, functions)]):
                code = getattr(function, "__code__", None)
                if code is not None:
                    of_code = self._by_code.setdefault(id(code), {})
                    instance = id(instances[r.node.reactor])
                    of_code[instance] = (*of_code.get(instance, ()), r)

    def find(self, frame: FrameType | None, *, with_reactor: bool = False) -> Place:
        """Look at a frame and those that called it.

        Args:
            frame: the innermost frame, of this or of another thread.
            with_reactor: find the innermost instance too. This reads the variables of every frame, so it is for the own thread
                only: of another thread they are read only where instances share a body.
        """
        body: FrameType | None = None
        candidates: tuple[RunningReaction, ...] = ()
        reactor: Reactor | None = None
        while frame is not None:
            code = frame.f_code
            of_code = self._by_code.get(id(code))
            if code.co_argcount and (of_code is not None or (with_reactor and reactor is None)):
                alone = of_code is not None and len(of_code) == 1 and not with_reactor
                first = None if alone else frame.f_locals.get(code.co_varnames[0])
                if with_reactor and reactor is None and isinstance(first, Reactor) and first._running:
                    reactor = first
                if of_code is not None:
                    own = next(iter(of_code.values())) if alone else of_code.get(id(first), ())
                    if not own and not with_reactor:
                        own = tuple(r for reactions in of_code.values() for r in reactions)
                    # A certain match replaces an uncertain one, and of two equal ones the outer frame counts.
                    if own and not (len(own) > 1 and len(candidates) == 1):
                        body, candidates = frame, own
            frame = frame.f_back
        if body is None:
            return Place(reactor=reactor)
        source = Source(body.f_code.co_filename, body.f_lineno or 0)
        return Place(candidates[0] if len(candidates) == 1 else None, candidates, source, reactor)


_NOTHING = ReactionFinder(None)


def finder_of(scheduler: Any) -> ReactionFinder:
    """That of the run of a scheduler; one that finds nothing before the run has a schedule, or without a scheduler."""
    schedule = getattr(scheduler, "schedule", None)
    finder: ReactionFinder = _NOTHING if schedule is None else schedule.finder
    return finder
