"""From live objects to a tree: a loop over what reactors refer to, each object once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reactornb.durable.objects.errors import NotSavableError
from reactornb.durable.objects.known import Known, full_name, transients
from reactornb.durable.objects.refusals import Refused, not_savable, reason_for
from reactornb.durable.objects.take_objects import own_way
from reactornb.durable.objects.take_types import find_writer, refuse
from reactornb.durable.objects.tree import FORMAT, LEAVES, Node, Path, Tree, are_leaves, is_leaf, path_to, paths
from reactornb.durable.objects.windows import Windows
from reactornb.model import Reactor
from reactornb.model.ownership import Guarded, is_frozen
from reactornb.runtime.handles import Hidden

__all__ = ["RUNTIMES_OWN", "Taking", "attributes_to_save"]

RUNTIMES_OWN = frozenset(
    {"_running", "_context", "_name", "_run_seed", "_log", "_deadline", "bank_index", "bank_width"}
)
"""Attributes of an instance that the runtime sets, and the graph says."""

Write = Callable[["Taking", Node, Any], None]


def attributes_to_save(instance: Reactor, known: Known) -> dict[str, Any]:
    """The attributes of a reactor that are its state."""
    cls = type(instance)
    spec, left_out = cls._spec, transients(cls)
    found = {
        name: value
        for name, value in known.layouts.of(instance).items()
        if name not in RUNTIMES_OWN
        and name not in left_out
        and type(value) is not Hidden
        and not (name in spec.attributes and isinstance(value, Guarded))
    }
    if own_way(cls) is not None:
        found = {name: value for name, value in found.items() if name == "_rng" or name in spec.parameters}
    return found


class Taking:
    """One capture; all of it belongs to the thread that captures.

    Args:
        known: of the program.
        anchors: see `capture`.
        strict: see `capture`.
        learn: only look: note in `known` what startup makes, copy nothing, refuse nothing.
    """

    def __init__(self, known: Known, anchors: Mapping[str, Any] | None, *, strict: bool, learn: bool = False) -> None:
        self.known = known
        self.strict = strict and not learn
        self.learn = learn
        self.windows = Windows()
        self.kept: dict[str, list[Any]] = {}  # words -> the things of that name that are not data
        self.counts: dict[str, int] = {}  # of those of which startup makes several, how many were met
        self._nodes: dict[int, Node] = {}
        self._alive: list[Any] = []  # whatever has a node, so that no id is given twice
        self._todo: list[tuple[Node, Any]] = []
        self._writers: dict[type, Write] = {}
        self._leaves: dict[
            type, bool | None
        ] = {}  # whether all values of a type are leaves, or none; None: it depends on the value
        self._names: dict[type, str] = {}
        self._noted: set[type] = set()
        self._reactors: list[Any] = []
        self._at: Node = []
        for name, value in (anchors or {}).items():
            self._anchor(f"anchor {name}", value)

    def _anchor(self, name: str, value: Any) -> None:
        self._nodes[id(value)] = ["anchor", name, ()]
        self._alive.append(value)

    def take(self, instances: Sequence[Reactor], values: Sequence[Any] = ()) -> Tree:
        """The tree.

        Args:
            instances, values: see `capture`.

        Raises:
            NotSavableError: for something that cannot be saved.
        """
        by_name = {instance.full_name: instance for instance in instances}
        for name, instance in by_name.items():
            self._anchor(f"reactor {name}", instance)
        for name, instance in by_name.items():
            for parameter in type(instance)._spec.parameters:
                value = _READ(instance, parameter)
                if type(value).__name__ == "ndarray" and is_frozen(value) and not value.dtype.hasobject:
                    # The program's own data: the process that resumes has it, too.
                    self._nodes.setdefault(id(value), ["parameter", (name, parameter, value.dtype, value.shape), ()])
                    self._alive.append(value)
        tree: Tree = {"format": FORMAT, "reactors": self._reactors}
        found = {name: attributes_to_save(instance, self.known) for name, instance in by_name.items()}
        for name, instance in by_name.items():
            for parameter in found[name].keys() & type(instance)._spec.parameters.keys():
                self.refer(found[name][parameter], given=True)
        for name, instance in by_name.items():
            names, parts = list(found[name]), [self.refer(value) for value in found[name].values()]
            way = own_way(type(instance))
            if way is not None:
                names.append(f"{way[0]}()")
                parts.append(self.refer(getattr(instance, way[0])()))
            self._reactors.append((name, full_name(type(instance)), tuple(names), parts))
        if values:
            tree["values"] = [self.refer(value) for value in values]
        while self._todo:
            try:
                self._write_all()
            except Refused as refused:
                if not self.learn:
                    raise self._error(tree, by_name, self._at, refused) from refused.__cause__
        if not self.learn:
            self.windows.settle()
        return tree

    def _write_all(self) -> None:
        """Fill the nodes that wait for it, until none is left.

        Raises:
            Refused: for a value that cannot be saved; `_at` is its node.
        """
        todo, writers = self._todo, self._writers
        value: Any = None
        try:
            while todo:
                self._at, value = todo.pop()
                cls = type(value)
                write = writers.get(cls)
                if write is None:
                    write = writers[cls] = find_writer(cls)
                write(self, self._at, value)
        except (Refused, NotSavableError):
            raise
        except Exception as error:
            raise Refused(value, f"which could not be taken apart ({type(error).__name__}: {error})") from error

    def name_of(self, cls: type) -> str:
        """What the data call a class."""
        name = self._names.get(cls)
        if name is None:
            name = self._names[cls] = full_name(cls)
        return name

    def refer(self, value: Any, *, given: bool = False) -> Any:
        """A part: the value, if it is a leaf, or its node, to be filled later.

        Args:
            value: any.
            given: it is a parameter, which the process that resumes is given, too, so it may be what cannot be saved.
        """
        cls = type(value)
        if cls in LEAVES:
            return value
        leaf = self._leaves.get(cls, self)
        if leaf is self:
            leaf = self._leaves[cls] = are_leaves(cls)
        if leaf:
            return value
        me = id(value)
        node = self._nodes.get(me)
        if node is not None:
            return node
        if leaf is None and is_leaf(value):
            return value
        node = ["", None, ()]
        self._nodes[me] = node
        self._alive.append(value)
        if given and find_writer(cls) is refuse:
            self.keep(node, value, f"parameter {full_name(cls)}")
        else:
            self._todo.append((node, value))
        return node

    def refer_all(self, values: Iterable[Any]) -> Sequence[Any]:
        """Parts, in order."""
        items = list(values)
        if LEAVES.issuperset(map(type, items)):
            return tuple(items)
        return [self.refer(item) for item in items]

    def keep(self, node: Node, value: Any, words: str) -> None:
        """Note something that is no data and that the process that resumes has, too: startup makes it there."""
        node[0], node[1], node[2] = "kept", words, ()
        self.note(value, words)

    def note(self, value: Any, words: str) -> None:
        """Note what only startup can make.

        Raises:
            Refused: if it did not make such a thing.
        """
        if self.learn:
            self.known.kept.add(words)
            self.kept.setdefault(words, []).append(value)
        elif self.strict and words not in self.known.kept:
            raise Refused(
                value,
                "which is no data, and was made after startup",
                "Make it in startup, or name a function or class of the module instead",
            )

    def note_class(self, value: Any) -> None:
        """Note the class of an object that is saved by its attributes.

        Raises:
            Refused: if objects of it could not be made in the process that resumes.
        """
        cls = type(value)
        if cls in self._noted:
            return
        if self.learn:
            self.known.saw(cls)
        elif self.strict and not self.known.can_make(cls) and not self.known.is_live(cls):
            if hasattr(cls, "__del__"):
                raise Refused(value, "whose class has a __del__, so none is made from data", "Make it in startup")
            raise Refused(
                value,
                "of a class that the program's modules do not contain and startup makes no object of",
                f"Declare it: reactornb.durable.savable({cls.__qualname__})",
            )
        self._noted.add(cls)

    def _error(self, tree: Tree, by_name: Mapping[str, Reactor], node: Node, refused: Refused) -> NotSavableError:
        path = path_to(tree, node)
        instance = by_name.get(path.reactor)
        fix = reason_for(refused.value)[1] if refused.fix is None else refused.fix
        return not_savable(instance, path, self._class_of(path), refused.value, refused.reason, fix)

    def refused(
        self, tree: Tree, by_name: Mapping[str, Reactor], reactor: str, words: str, reason: str, fix: str
    ) -> NotSavableError:
        """The error for what has this path.

        Args:
            tree: which `take` made.
            by_name: the instances.
            reactor: full name of one of them.
            words: the path from there.
            reason: see `Refused`.
            fix: likewise.
        """
        instance = by_name.get(reactor)
        # Words may lead to a part that stands for itself: what contains it is named.
        nearest = [
            (path, node) for path, node in paths(tree) if path.reactor == reactor and words.startswith(path.words)
        ]
        if not nearest:
            attribute = words.removeprefix("self.").partition(".")[0].partition("[")[0]
            path = Path(reactor, words, None, attribute)
            value = None if instance is None else self.known.layouts.of(instance).get(attribute)
            return not_savable(instance, path, None, value, reason, fix)
        path, node = max(nearest, key=lambda one: len(one[0].words))
        if path.words != words:
            reason = f"of which {words[len(path.words) :].lstrip('.')} {reason.removeprefix('which ')}"
        return not_savable(instance, path, self._class_of(path), self._value(node), reason, fix)

    def _class_of(self, path: Path) -> type | None:
        holder = self._value(path.holder)
        return None if holder is None else type(holder)

    def _value(self, node: Node | None) -> Any:
        """The object of a node; None if it has none."""
        return None if node is None else next((one for one in self._alive if self._nodes.get(id(one)) is node), None)


_READ: Any = object.__getattribute__
