"""Whether a reaction draws from a generator of the whole process: `random`, `numpy.random`, torch's own.

Reactions on several threads draw from it in an order that no program fixes, so two runs of one seed differ. In a run's first tags
(in all of them under `check_values`) each reaction's call is replaced by one that compares the generators before and after;
then everything is as before, as with a window of `sampling`, and the run executes not one instruction more.

# _active     the reactions that run, each with those that ran beside it; read and written under _lock by the workers
# _unsure     generators that were drawn from, with all reactions that ran then; likewise
# _named      (generator, body) of the warnings; likewise
# _innocent   bodies that ran without a draw; added to by any worker (set.add is atomic), read at the end
# _calls, _groups, is_open
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
from typing import TYPE_CHECKING, Any

from reactornb.errors import Source
from reactornb.runtime.groups import Group, one_by_one
from reactornb.runtime.signals import RunningReaction

if TYPE_CHECKING:
    from reactornb.runtime.scheduler import Scheduler

__all__ = ["Generators", "states"]

# What to draw from instead.
_INSTEAD = {
    "random": "self.rng, this reactor's own numpy.random.Generator, or random.Random(self.seed)",
    "numpy.random": "self.rng, this reactor's own numpy.random.Generator",
    "torch's global generator": "torch.Generator().manual_seed(self.seed), given as generator=",
}


def states() -> dict[str, Any]:
    """What tells whether one of the process's generators was drawn from; of those that are loaded.

    Of a Mersenne Twister its position and first word: the position changes at each draw, the word at the 624th.
    """
    found: dict[str, Any] = {"random": _of_random()}
    numpy_random = sys.modules.get("numpy.random.mtrand")
    if numpy_random is not None:
        found["numpy.random"] = _of_numpy(numpy_random._rand._bit_generator)
    torch = sys.modules.get("torch")
    generator = getattr(torch, "default_generator", None)
    if generator is not None:
        found["torch's global generator"] = generator.get_state().numpy().tobytes()
    return found


def _python_random() -> Callable[[], Any]:
    """A look at the two words in the object of `random`; where they are not where CPython has them, the whole state: 50 times as long."""
    this = random._inst
    at = id(this) + object.__basicsize__
    position, first = ctypes.c_int.from_address(at), ctypes.c_uint32.from_address(at + 4)

    def look() -> Any:
        return position.value, first.value

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


def _of_numpy(generator: Any) -> Any:
    if type(generator).__name__ != "MT19937":
        return repr(generator.state)
    address = generator.ctypes.state_address
    return ctypes.c_uint32.from_address(address).value, ctypes.c_int.from_address(address + 4 * 624).value


class Generators:
    """A look at one enclave's first tags.

    Args:
        scheduler: of the enclave.
        always: look at all tags, and at every member of a bank; reactions run one at a time.

    Attributes:
        is_open: calls are replaced.
    """

    tags = 32
    # So many members of a bank are compared; the others only say that they run.
    members = 3

    def __init__(self, scheduler: Scheduler, *, always: bool) -> None:
        self._scheduler = scheduler
        self.always = always
        self._lock = threading.Lock()
        self._active: dict[RunningReaction, set[RunningReaction]] = {}
        self._unsure: list[tuple[str, set[RunningReaction]]] = []
        self._named: set[tuple[str, Any]] = set()
        self._innocent: set[Any] = set()
        self._calls: list[tuple[RunningReaction, Callable[[], None], Callable[..., None] | None]] = []
        self._groups: dict[Group, tuple[Any, Any]] = {}
        self.is_open = False

    def turn(self, *, wanted: bool = False) -> bool:
        """Between two tags, on the leader's thread: begin, go on, or end.

        Args:
            wanted: somebody else would like to replace what is called.

        Returns:
            Whether it is over.
        """
        if not self.is_open:
            if (wanted or not self.tags) and not self.always:
                return True
            self._begin()
            self.is_open = True
        elif not self.always and (wanted or self._scheduler.tags_done >= self.tags):
            self._end()
            return True
        return False

    def _begin(self) -> None:
        scheduler = self._scheduler
        seen: Counter[Any] = Counter()
        for r in scheduler.schedule.reactions:
            if r.enclave != scheduler.enclave:
                continue
            body = None if r.node.declaration is None else r.node.declaration.fn
            seen[body] += 1
            self._calls.append((r, r.call, r.body))
            r.call, r.body = self._watched(r, r.call, self.always or seen[body] <= self.members), None
        for group in scheduler.schedule.groups_in(scheduler.enclave):
            self._groups[group] = group.caller
            group.caller = one_by_one(group.reactions)

    def _end(self) -> None:
        for r, call, body in self._calls:
            r.call, r.body = call, body
        for group, caller in self._groups.items():
            group.caller = caller
        self._scheduler.forget_shares()
        self.finish()

    def finish(self) -> None:
        """Name those of whom it is not sure which drew; the run is over, or the look is."""
        with self._lock:
            unsure, self._unsure = sorted(self._unsure, key=lambda found: len(found[1])), []
        for generator, reactions in unsure:
            if any((generator, _body(r)) in self._named for r in reactions):
                continue  # that one explains it
            ordered = sorted(reactions, key=lambda r: r.index)
            speak = [r for r in ordered if _line(r, generator) is not None]
            never = [r for r in ordered if _body(r) not in self._innocent]
            one_each = {_body(r): r for r in reversed(speak or never or ordered)}
            self._warn(generator, sorted(one_each.values(), key=lambda r: r.index))

    def _watched(self, r: RunningReaction, call: Callable[[], None], compared: bool) -> Callable[[], None]:
        def watched() -> None:
            with self._lock:
                beside = set(self._active)
                for others in self._active.values():
                    others.add(r)
                self._active[r] = beside
            before = states() if compared else {}
            try:
                call()
            finally:
                after = states() if compared else {}
                with self._lock:
                    del self._active[r]
                drew = [name for name, state in after.items() if name in before and before[name] != state]
                if drew:
                    self._found(drew, {r, *beside})
                elif compared:
                    self._innocent.add(_body(r))

        return watched

    def _found(self, drew: list[str], reactions: set[RunningReaction]) -> None:
        """One of these drew, at least; it is sure which where only one ran, or all have one body."""
        for name in drew:
            if len({_body(r) for r in reactions}) == 1:
                self._warn(name, [min(reactions, key=lambda r: r.index)])
            else:
                with self._lock:
                    self._unsure.append((name, reactions))

    def _warn(self, generator: str, reactions: list[RunningReaction]) -> None:
        """One of these drew, or the only one did."""
        with self._lock:
            self._named.update((generator, _body(r)) for r in reactions)
        names = " or ".join(f"{r.name} ({_source(r, generator)})" for r in reactions[:3])
        self._scheduler.notices.add(
            ("generator", generator, _body(reactions[0])),
            f"{names} drew from {generator}, which all threads share: in which order they come to it is not fixed, so two runs of one seed "
            f"differ. Draw from {_INSTEAD[generator]}.",
        )


def _body(r: RunningReaction) -> Any:
    """What all members of a bank have in common."""
    return r.name if r.node.declaration is None else r.node.declaration.fn.__code__


def _source(r: RunningReaction, generator: str) -> Source:
    line = _line(r, generator)
    source: Source = r.node.source
    return source if line is None else Source(r.node.declaration.fn.__code__.co_filename, line)


def _line(r: RunningReaction, generator: str) -> int | None:
    """The first line of the body that speaks of the generator; None where it draws somewhere deeper."""
    if r.node.declaration is None:
        return None
    fn = r.node.declaration.fn
    held: Any = None
    for step in dis.get_instructions(fn):
        name, line = step.argval, step.positions.lineno if step.positions is not None else None
        if step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            held = fn.__globals__.get(name)
        elif step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD")) and held is not None:
            held = getattr(held, name, None) if type(held) is type(sys) else None
        elif step.opname == "IMPORT_NAME":
            held = sys.modules.get(name)
        elif step.opname not in ("PUSH_NULL", "CACHE"):
            held = None
        if held is not None and _speaks_of(held, generator):
            return line
    return None


def _speaks_of(value: Any, generator: str) -> bool:
    owner = getattr(value, "__self__", None)
    if generator == "random":
        return value is random or owner is random._inst
    if generator == "numpy.random":
        mtrand = sys.modules.get("numpy.random.mtrand")
        if mtrand is None or isinstance(value, type):
            return False
        return owner is mtrand._rand or getattr(value, "__module__", "") in ("numpy.random", "numpy.random.mtrand")
    name = getattr(value, "__name__", "")
    return str(getattr(value, "__module__", "") or "").startswith("torch") or (
        name in _TORCH and type(value).__name__ == "builtin_function_or_method"
    )


_TORCH = frozenset(
    ("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli", "multinomial", "manual_seed",
     "poisson", "dropout", "seed"),
)  # fmt: skip
