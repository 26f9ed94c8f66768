"""Warnings about reactions that draw from a generator of the whole process: `random`, `numpy.random`, torch's own.

Reactions on several threads draw from it in an order that no program fixes, so two runs of one seed differ. The search has three stages:

1. In a run's first tags (in all of them under `check_values`) each reaction's call is replaced by one that compares the states of the
   generators before and after.
2. Then the leader compares them between tags, which costs 2 µs a tag. If one has changed, stage 1 begins again for some tags, to name the
   reaction.
3. Then the calls are put back, and the run executes no instruction more than without the search.

# _active     the reactions that run, each with those that ran at the same time; read and written under _lock by the workers
# _unsure     generators that were drawn from, with all reactions that ran then; likewise
# _named      (generator, body) of the warnings; likewise
# _innocent   bodies that ran without a draw; added to by any worker (set.add is atomic), read at the end
# _calls, _groups, _drawn, _last, _until, is_open
#             the leader of the enclave only, between tags
"""

from __future__ import annotations

import ctypes
import dis
import random  # noqa: TID251 - to see who draws from it
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from reactornb.errors import Source
from reactornb.runtime.context import ReactionContext
from reactornb.runtime.groups import Group, one_by_one
from reactornb.runtime.imports import is_under_way
from reactornb.runtime.reactions import RunningReaction

__all__ = ["GENERATORS", "Generators", "states"]

# What to draw from instead.
_INSTEAD = {
    "random": "self.rng, this reactor's own numpy.random.Generator, or random.Random(self.seed)",
    "numpy.random": "self.rng, this reactor's own numpy.random.Generator",
    "torch's global generator": "torch.Generator().manual_seed(self.seed), given as generator=",
}

GENERATORS = tuple(_INSTEAD)
"""The generators of the process, in words."""


def states() -> tuple[Any, Any, Any]:
    """The states of the process's generators, in the order of `_INSTEAD`; None for one that is not loaded.

    Of a Mersenne Twister only its position and first word: the position changes at each draw, the word at the 624th.
    """
    modules = sys.modules
    mtrand = modules.get("numpy.random.mtrand")
    torch = getattr(modules.get("torch"), "default_generator", None)
    if torch is not None and is_under_way("torch"):
        torch = None  # while another thread imports it, asking crashes the process
    return (
        _of_random(),
        None if mtrand is None else _of_numpy(mtrand._rand._bit_generator),
        None if torch is None else torch.get_state().numpy().tobytes(),
    )


def _words(position_at: int, first_at: int) -> Callable[[], tuple[int, int]]:
    """Reads two words in memory; 0.1 µs."""
    position, first = ctypes.c_int.from_address(position_at), ctypes.c_uint32.from_address(first_at)
    return lambda: (position.value, first.value)


def _python_random() -> Callable[[], Any]:
    """Reads the two words of `random`'s object, or its whole state if they are not where CPython has them, which takes 50 times as long."""
    this = random._inst
    at = id(this) + object.__basicsize__
    look = _words(at, at + 4)

    def look_at_all() -> Any:
        return this.getstate()

    if sys.implementation.name != "cpython":
        return look_at_all
    for _ in range(2):
        state = this.getstate()[1]
        if look() != (state[-1], state[0]):
            return look_at_all
    return look


_of_random = _python_random()
# NumPy's generator, kept so that its memory is not freed, and the function that reads its state. Replaced as a whole by any worker that
# finds another one (`np.random.set_bit_generator`).
_numpy: tuple[Any, Callable[[], Any]] = (None, _of_random)


def _of_numpy(generator: Any) -> Any:
    global _numpy  # noqa: PLW0603 - a process has one
    known, look = _numpy
    if known is not generator:
        if type(generator).__name__ == "MT19937":
            at = generator.ctypes.state_address
            look = _words(at + 4 * 624, at)
        else:
            look = lambda: repr(generator.state)  # noqa: E731
        _numpy = (generator, look)
    return look()


class Generators:
    """The search in one enclave.

    Args:
        context: of the enclave.
        always: compare at all tags, and for every member of a bank; reactions run one at a time.

    Attributes:
        is_open: whether calls are replaced.
    """

    tags = 32
    """For so many tags the search goes on."""
    close = 3
    """For so many of them, and for as many more after each draw that was found between tags, each reaction is compared."""
    members = 3
    """So many members of a bank are compared; the others are only noted as running."""

    def __init__(self, context: ReactionContext, *, always: bool) -> None:
        self._context = context
        self.always = always
        self._lock = threading.Lock()
        self._active: dict[RunningReaction, set[RunningReaction]] = {}
        self._unsure: list[tuple[str, set[RunningReaction]]] = []
        self._named: set[tuple[str, Any]] = set()
        self._innocent: set[Any] = set()
        self._calls: list[tuple[RunningReaction, Callable[[], None], Callable[..., None] | None]] = []
        self._groups: dict[Group, tuple[Any, Any]] = {}
        self._last: tuple[Any, Any, Any] | None = None
        self._drawn: set[str] = set()
        self._until = 0
        self.is_open = False

    def turn(self, *, wanted: bool = False) -> bool:
        """Go on with the search. Called between two tags, on the leader's thread.

        Args:
            wanted: another part of the runtime wants to replace the calls: end the search.

        Returns:
            Whether the search is over.
        """
        done = self._context.tags_done
        if self.always:
            if not self.is_open:
                self._begin()
        elif wanted or done >= max(self.tags, self._until):
            if self.is_open:
                self._end()
            self.finish()
            return True
        elif self.is_open:
            if done >= self._until:
                self._end()
                self._last = states()
        elif self._last is None:
            self._begin()
            self._until = done + self.close
        elif (now := states()) != self._last:
            pairs = zip(_INSTEAD, self._last, now, strict=True)
            self._drawn.update(name for name, a, b in pairs if a != b and a is not None)
            self._begin()
            self._until = max(self.tags, done + self.close)
        return False

    def explained(self, generator: str, reaction: RunningReaction) -> None:
        """Somebody has said more exactly who draws while reactions of this one's reactor run; any worker."""
        of_reactor = [r for r in self._context.reactions if r.node.reactor == reaction.node.reactor]
        with self._lock:
            self._named.update((generator, _body(r)) for r in of_reactor)

    def _begin(self) -> None:
        context = self._context
        seen: Counter[Any] = Counter()
        for r in context.reactions:
            if r.enclave != context.enclave:
                continue
            body = None if r.node.declaration is None else r.node.declaration.fn
            seen[body] += 1
            compared = self.always or seen[body] <= self.members
            if compared or context.width > 1:  # beside one worker nothing runs
                self._calls.append((r, r.call, r.body))
                r.call, r.body = self._watched(r, r.call, compared), None
        for group in context.groups():
            self._groups[group] = group.caller
            group.caller = one_by_one(group.reactions)
        self.is_open = True

    def _end(self) -> None:
        for r, call, body in self._calls:
            r.call, r.body = call, body
        for group, caller in self._groups.items():
            group.caller = caller
        self._calls.clear()
        self._groups.clear()
        self._context.forget_shares()
        self.is_open = False

    def finish(self) -> None:
        """Warn about draws for which several reactions may be responsible; the run or the search is over."""
        with self._lock:
            unsure, self._unsure = sorted(self._unsure, key=lambda draw: len(draw[1])), []
        for generator, reactions in unsure:
            if any((generator, _body(r)) in self._named for r in reactions):
                continue  # the warning about that reaction explains the draw
            ordered = sorted(reactions, key=lambda r: r.index)
            naming = [r for r in ordered if _line(r, generator) is not None]
            never = [r for r in ordered if _body(r) not in self._innocent]
            self._warn(generator, _one_each(naming or never or ordered))
        for generator in self._drawn - {name for name, _ in self._named}:
            # Drawn between two tags that were not compared, and never again; a cell may have done it.
            naming = [r for r in self._context.reactions if _line(r, generator) is not None]
            if naming:
                self._warn(generator, _one_each(naming))

    def _watched(self, r: RunningReaction, call: Callable[[], None], compared: bool) -> Callable[[], None]:
        def watched() -> None:
            with self._lock:
                beside = set(self._active)
                for others in self._active.values():
                    others.add(r)
                self._active[r] = beside
            before = states() if compared else None
            try:
                call()
            finally:
                after = states() if compared else None
                with self._lock:
                    del self._active[r]
                if before is not None and after is not None:
                    if before == after:
                        self._innocent.add(_body(r))
                    else:
                        # What was not loaded before has only been imported.
                        pairs = zip(_INSTEAD, before, after, strict=True)
                        self._found([name for name, a, b in pairs if a != b and a is not None], {r, *beside})

        return watched

    def _found(self, drew: list[str], reactions: set[RunningReaction]) -> None:
        """At least one of these drew. It is certain which if only one ran, or if all have one body."""
        for name in drew:
            if len({_body(r) for r in reactions}) == 1:
                self._warn(name, [min(reactions, key=lambda r: r.index)])
            else:
                with self._lock:
                    self._unsure.append((name, reactions))

    def _warn(self, generator: str, reactions: list[RunningReaction]) -> None:
        """Warn that one of these drew."""
        with self._lock:
            if len(reactions) == 1 and (generator, _body(reactions[0])) in self._named:
                return
            self._named.update((generator, _body(r)) for r in reactions)
        names = " or ".join(f"{r.name} ({_source(r, generator)})" for r in reactions[:3])
        self._context.notices.add(
            ("generator", generator, _body(reactions[0])),
            f"{names} drew from {generator}, which all threads share: in which order they come to it is not fixed, so two runs of one seed "
            f"differ. Draw from {_INSTEAD[generator]}.",
        )


def _one_each(reactions: list[RunningReaction]) -> list[RunningReaction]:
    """The first reaction of each body, in the graph's order."""
    first = {_body(r): r for r in sorted(reactions, key=lambda r: r.index, reverse=True)}
    return sorted(first.values(), key=lambda r: r.index)


def _body(r: RunningReaction) -> Any:
    """Identifies the body, which all members of a bank share."""
    return r.name if r.node.declaration is None else r.node.declaration.fn.__code__


def _source(r: RunningReaction, generator: str) -> Source:
    line = _line(r, generator)
    source: Source = r.node.source
    return source if line is None else Source(r.node.declaration.fn.__code__.co_filename, line)


def _line(r: RunningReaction, generator: str) -> int | None:
    """The first line of the body that names the generator; None if the body calls something that draws."""
    if r.node.declaration is None:
        return None
    fn = r.node.declaration.fn
    held, line = None, None  # the global, or the attribute reached from one, that is on the stack, and its line
    for step in dis.get_instructions(fn):
        name = step.argval
        if step.opname in ("PUSH_NULL", "CACHE"):
            continue
        if step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")):
            held = getattr(held, name, None) if type(held) is type(sys) else None
        else:
            if held is not None and _is_of(held, generator):
                return line
            if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
                held = fn.__globals__.get(name)
            else:
                held = sys.modules.get(name) if step.opname == "IMPORT_NAME" else None
        line = step.positions.lineno if step.positions is not None else None
    return None


def _is_of(value: Any, generator: str) -> bool:
    owner = getattr(value, "__self__", None)
    if generator == "random":
        return value is random or owner is random._inst
    if generator == "numpy.random":
        mtrand = sys.modules.get("numpy.random.mtrand")
        if mtrand is None or isinstance(value, type):
            return False
        return owner is mtrand._rand or any(value is getattr(mtrand, name, None) for name in ("seed", "ranf", "sample"))
    name = getattr(value, "__name__", "")
    return str(getattr(value, "__module__", "") or "").startswith("torch") or (
        name in _TORCH and type(value).__name__ == "builtin_function_or_method"
    )


_TORCH = frozenset(
    ("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli", "multinomial", "manual_seed",
     "poisson", "dropout", "seed"),
)  # fmt: skip
