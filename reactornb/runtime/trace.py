"""What a run records: trace, fingerprint and value checks; and the error of a failed reaction.

A `Recorder` needs no lock. The leader calls it between levels and at the end of tags. With several enclaves each leader calls `level`
(which only appends, and that is atomic) and `written` (which changes nothing), and `end_of_tag` is called under the gate's lock. `Trace`
is read after the run, `fingerprint` at any time.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from reactornb.errors import ReactionError, Source, UnrecordableValueError
from reactornb.graph import Graph, ReactionNode
from reactornb.model import Reactor
from reactornb.runtime.checking import ValueChecks
from reactornb.runtime.fingerprint import Fingerprint, RefusedValueError, term, term_and_hash, type_refusal
from reactornb.runtime.fingerprint_log import FingerprintLog
from reactornb.runtime.hints import carried, hint, said
from reactornb.runtime.reactions import RunningReaction
from reactornb.runtime.signals import Port, Signal
from reactornb.tags import Tag

__all__ = [
    "Recorder",
    "Trace",
    "UnrecordableSignal",
    "Written",
    "failure",
    "refuse_types",
    "unrecordable",
    "users_traceback",
]


@dataclasses.dataclass
class Trace:
    """What ran and what was written, in order.

    Attributes:
        executions: (tag, full name of the reaction); within a level in the order of the reactions' numbers.
        writes: (tag, full name of the port, action or timer, value), ordered by tag and number. Of a value that can be changed
            it is a copy, made when the tag ended; a value that cannot be copied is kept itself.
    """

    executions: list[tuple[Tag, str]] = dataclasses.field(default_factory=list)
    writes: list[tuple[Tag, str, Any]] = dataclasses.field(default_factory=list)

    def tags(self, name: str) -> list[Tag]:
        """The tags at which the reactions whose full name is `name`, or ends in `.name`, ran."""
        return [tag for tag, n in self.executions if n == name or n.endswith("." + name)]

    def values(self, name: str) -> list[tuple[Tag, Any]]:
        """(tag, value) of everything written to the ports of that name."""
        return [(tag, v) for tag, n, v in self.writes if n == name or n.endswith("." + name)]

    def reactions(self) -> list[str]:
        """Names of the reactions, in the order they ran."""
        return [n for _, n in self.executions]


class Recorder:
    """Records what was asked for of a run."""

    def __init__(
        self,
        *,
        trace: bool = False,
        fingerprint: bool = False,
        fingerprint_log: FingerprintLog | None = None,
        check_values: bool = False,
    ) -> None:
        self.trace = Trace() if trace else None
        self.fingerprint_log = fingerprint_log  # only with `fingerprint`
        self._sum = Fingerprint() if fingerprint else None
        self.checks = ValueChecks() if check_values else None
        self.serial = check_values  # finding the culprit needs one reaction at a time
        self.records_values = trace or fingerprint
        self.records_reactions = trace or check_values
        self.apart = False  # several enclaves report: levels come in any order and are sorted at the end
        self.changes: list[tuple[Tag, int, Any]] = []  # (tag, number of the parameter, `tuning.Change`)
        self._ran: list[tuple[Tag, int, int, str, int]] = []  # tag, level, number, name, enclave
        self._numbers: list[int] = []  # of the signals in the trace's writes, where several enclaves report
        self._undone: set[tuple[Tag, int]] = set()

    @property
    def keeps_fingerprint(self) -> bool:
        """Whether a fingerprint was asked for."""
        return self._sum is not None

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the tags that are done, 64 hexadecimal digits; None where none is kept."""
        return None if self._sum is None else self._sum.hexdigest()

    @property
    def state(self) -> bytes | None:
        """The fingerprint's sum, for a cut; None where none is kept."""
        return None if self._sum is None else self._sum.state

    def load(self, state: bytes | None) -> None:
        """Begin with that sum."""
        if self._sum is not None and state is not None:
            self._sum = Fingerprint(state)

    def level(self, tag: Tag, ready: Sequence[RunningReaction]) -> Callable[[RunningReaction], None] | None:
        """Record a level that is about to run. A function that is returned must be called after each of its reactions."""
        if self.trace is not None:
            if self.apart:
                self._ran += [(tag, r.level, r.index, r.name, r.enclave) for r in ready]
            else:
                self.trace.executions += [(tag, r.name) for r in sorted(ready, key=lambda r: r.index)]
        return None

    def written(self, tag: tuple[int, int], present: Sequence[Signal]) -> Written | None:
        """Record what one enclave wrote at a tag that ends: hashes and copies, since the sender may go on changing the value.

        Raises:
            UnrecordableSignal: for a value that cannot be part of a fingerprint.
        """
        # A delayed connection repeats what its port wrote.
        signals = [s for s in set(present) if s.recorded]
        if not signals:
            return None
        terms, copies, logged = 0, [], []
        if self._sum is not None:
            for s in signals:
                try:
                    if self.fingerprint_log is None:
                        terms += term(tag, s.order, s.state.value)
                    else:
                        added, hashed = term_and_hash(tag, s.order, s.state.value)
                        terms += added
                        logged.append((s.order, s.name, hashed))
                        self.fingerprint_log.look(tag, s.name, s.state.value)
                except RefusedValueError as error:
                    raise UnrecordableSignal(s, error) from error
        if self.trace is not None:
            copies = [(s.order, s.name, _copy(s.state.value)) for s in signals]
        return Written(terms, copies, logged)

    def end_of_tag(self, tag: tuple[int, int], written: Sequence[Written]) -> None:
        """Add what was written at a tag; a trace is sorted by the signals' numbers, so that it is the same for any number of threads."""
        if self._sum is not None:
            self._sum.add(sum(w.terms for w in written))
        if self.fingerprint_log is not None:
            self.fingerprint_log.add(tag, [row for w in written for row in w.logged])
        if self.trace is not None:
            copies = sorted((c for w in written for c in w.copies), key=_order)
            self.trace.writes += [(Tag(*tag), name, value) for _, name, value in copies]
            if self.apart:
                self._numbers += [number for number, _, _ in copies]

    def failed(self, tag: Tag, undone: Sequence[RunningReaction]) -> None:
        """Remove these reactions of the level that has just run, the last of its enclave: they count as not run."""
        if self.trace is None or not undone:
            return
        if self.apart:
            self._undone |= {(tag, r.index) for r in undone}
        else:
            del self.trace.executions[-len(undone) :]

    def finish(self, failed: tuple[Tag, int] | None = None) -> None:
        """The run is over: sort what several enclaves executed and wrote by tag. An enclave into which something came from outside may
        have gone back behind others.

        Args:
            failed: the tag at which an enclave failed, and its number: what others executed from that tag on is removed.
        """
        if self.trace is not None and self._ran:
            ran = sorted(r for r in self._ran if (r[0], r[2]) not in self._undone)
            if failed is not None:
                ran = [r for r in ran if r[0] < failed[0] or (r[0] == failed[0] and r[4] == failed[1])]
            self.trace.executions[:] = [(tag, name) for tag, _, _, name, _ in ran]
        if self.trace is not None and self._numbers:
            wrote = sorted(zip(self._numbers, self.trace.writes, strict=True), key=lambda row: (row[1][0], row[0]))
            self.trace.writes[:] = [row for _, row in wrote]


class Written(NamedTuple):
    """What one enclave wrote at one tag.

    Attributes:
        terms: what it adds to the fingerprint.
        copies: (number, name, value) of each signal, for the trace.
        logged: (number, name, hash of the value) of each signal, for the log.
    """

    terms: int
    copies: list[tuple[int, str, Any]]
    logged: list[tuple[int, str, int]]


class UnrecordableSignal(Exception):  # noqa: N818 - caught by the scheduler, which knows who wrote it
    """A signal's value cannot be part of a fingerprint."""

    def __init__(self, signal: Signal, error: RefusedValueError) -> None:
        super().__init__(signal.name)
        self.signal = signal
        self.error = error


def _order(copied: tuple[int, str, Any]) -> int:
    return copied[0]


_UNCHANGING = frozenset({int, float, complex, bool, str, bytes, type(None)})


def _copy(value: Any) -> Any:
    """A copy of a value; the value itself if it cannot be copied."""
    if type(value) in _UNCHANGING:
        return value
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().clone()
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - a lock or a generator, for example, is kept itself
        return _copy_parts(value)


def _copy_parts(value: Any) -> Any:
    """Copies the parts of a plain container that can be copied, if some cannot."""
    try:
        if type(value) in (list, tuple):
            return type(value)(_copy(part) for part in value)
        if type(value) is dict:
            return {key: _copy(part) for key, part in value.items()}
    except RecursionError:  # it contains itself
        pass
    return value


def unrecordable(graph: Graph, signal: Signal, tag: Tag, error: RefusedValueError) -> UnrecordableValueError:
    """The error that ends a run with a value that cannot be part of its fingerprint; it names the reaction that wrote it."""
    action = ("action", next((a.index for a in graph.actions if a.name == signal.name), -1))
    writer = next(
        (
            r
            for r in graph.reactions
            if (isinstance(signal, Port) and signal.channel in r.effects)
            or (action not in r.triggers and any(tuple(a[:2]) == action for a in r.arguments))
        ),
        None,
    )
    return _unrecordable(f"{signal.name} was given a value", f"at tag {tag}, ", signal.name, writer, tag, error)


def refuse_types(graph: Graph) -> None:
    """Look at what ports declare that they carry, before a run that keeps a fingerprint begins.

    Raises:
        UnrecordableValueError: for a type of which no value can be judged.
    """
    looked_at: set[int] = set()
    for node in graph.ports:
        alias = getattr(node.port, "__orig_class__", None)
        if alias is None or id(node.port) in looked_at:
            continue
        looked_at.add(id(node.port))
        refused = type_refusal(alias.__args__[0])
        writer = next((r for r in graph.reactions if node.index in r.effects), None)
        if refused is not None and writer is not None:
            raise _unrecordable(f"{node.name} carries {node.port.type_name}", "", node.name, writer, None, refused)


def _unrecordable(
    what: str, when: str, port: str, writer: ReactionNode | None, tag: Tag | None, error: RefusedValueError
) -> UnrecordableValueError:
    who = f" by {writer.name}, {writer.source}, " if writer is not None else ", "
    return UnrecordableValueError(
        f"{what}{who}{when}that a fingerprint cannot take in: {error}. Send plain data, arrays, tensors, dataclasses or objects that copy "
        f"and pickle can take apart, or start without a fingerprint.",
        reaction=writer.name if writer is not None else "",
        tag=tag,
        source=writer.source if writer is not None else None,
        port=port,
        kind=error.kind,
        path=error.path,
    )


def failure(r: RunningReaction, cls: type[Reactor], tag: Tag, error: BaseException) -> ReactionError:
    """The error that ends a run, pointing at the deepest line of the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    body = r.node.declaration.fn.__code__.co_filename if r.node.declaration is not None else None
    source: Source | None = r.node.source
    for frame in frames:
        if frame.filename == body:
            source = Source(frame.filename, frame.lineno or 0)
    fix = _forgotten(r, cls, error) or hint(error)
    failed = ReactionError(
        f"reaction {r.name} raised at tag {tag}, {source}: {said(error)}{fix}{carried(error)}",
        reaction=r.name,
        tag=tag,
        source=source,
    )
    failed.__cause__ = error.with_traceback(users_traceback(error.__traceback__))
    return failed


_RUNTIME = str(Path(__file__).parent) + os.sep


def users_traceback(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of the scheduler and of generated code at its beginning; all of it if nothing else is in it."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        inner = inner.tb_next
    return inner or trace


def _forgotten(r: RunningReaction, cls: type[Reactor], error: BaseException) -> str:
    """What to do where a body uses a port or action by a bare name that its signature leaves out; "" otherwise."""
    declaration, name = r.node.declaration, getattr(error, "name", None)
    if declaration is None or not isinstance(error, NameError) or name not in cls._spec.touchable:
        return ""
    signature = ", ".join(("self", *declaration.parameters, name))
    return f". {cls.__name__} declares {name}; a reaction names what it touches: def {declaration.fn.__name__}({signature})"
