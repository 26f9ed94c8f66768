"""From a tree back into live objects: first it is found which live object each node stands for, then what is missing is made, then all is filled.

Nothing that data name is called: no constructor, no `__setattr__`, no import. Objects are made by `object.__new__` of known classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from reactornb.durable.objects import put_arrays, put_named, put_objects, put_plain
from reactornb.durable.objects.errors import CannotRestoreError
from reactornb.durable.objects.known import Known, full_name
from reactornb.durable.objects.placing import Places
from reactornb.durable.objects.putting import MISSING, PENDING, Fill, Make, Match, set_attributes
from reactornb.durable.objects.take import Taking, attributes_to_save
from reactornb.durable.objects.take_objects import own_way
from reactornb.durable.objects.tree import FORMAT, Node, Tree, Unfit, path_to, walk
from reactornb.model import Reactor

__all__ = ["Putting"]


_MODULES = (put_plain, put_named, put_arrays, put_objects)
_MATCHES: dict[str, Match] = {tag: one for module in _MODULES for tag, one in module.MATCHES.items()}
_MAKES: dict[str, Make] = {tag: one for module in _MODULES for tag, one in module.MAKES.items()}
_FILLS: dict[str, Fill] = {tag: one for module in _MODULES for tag, one in module.FILLS.items()}


class Putting:
    """One restoration; all of it belongs to the thread that restores.

    Args:
        trees: what was captured.
        instances: into which it goes.
        known: of the program; learns what `instances` hold.
        anchors: see `capture`.

    Attributes:
        live: the live object that a node stands for, by the node's id.
    """

    def __init__(
        self, trees: Sequence[Tree], instances: Sequence[Reactor], known: Known, anchors: Mapping[str, Any] | None
    ) -> None:
        self.known = known
        self.live: dict[int, Any] = {}
        self.places = Places(self)
        self._trees = trees
        self._instances = {instance.full_name: instance for instance in instances}
        self._anchors = {f"anchor {name}": value for name, value in (anchors or {}).items()}
        self._anchors.update((f"reactor {name}", instance) for name, instance in self._instances.items())
        self._taken: dict[int, Node] = {}
        self._made: dict[int, Any] = {}
        self._later: list[Node] = []
        looking = Taking(known, anchors, strict=False, learn=True)
        looking.take(instances)
        self._kept = looking.kept

    def put(self) -> list[list[Any]]:
        """Do it; gives the values of each tree.

        Raises:
            CannotRestoreError: if data and program do not fit, or the data are damaged.
        """
        at: Node | None = None
        try:
            reactors = [self._reactor(row) for tree in self._trees for row in _rows(tree)]
            if len({name for name, _ in reactors}) != len(reactors) or len(reactors) != len(self._instances):
                missing = sorted(self._instances.keys() - {name for name, _ in reactors})
                raise CannotRestoreError(
                    f"the saved state has {len(reactors)} reactors, the program {len(self._instances)}"
                    + (f"; it has none of {missing[0]}." if missing else ".")
                )
            self._match(reactors)
            self.places.settle(walk(self._trees))
            values = [_values(tree) for tree in self._trees]
            for parts in [*(row.values() for _, row in reactors), *values]:
                for part in parts:
                    if type(part) is list:
                        at = part
                        self._build(part)
            at = None
            for node in self._later:
                at = node
                self._fill(node)
            at = None
            for name, row in reactors:
                self._finish(self._instances[name], row)
            return [[self.value(part) for part in parts] for parts in values]
        except CannotRestoreError:
            raise
        except Unfit as unfit:
            raise self._error(unfit.node, str(unfit)) from unfit.__cause__
        except Exception as error:
            raise self._error(at, f"is damaged ({type(error).__name__}: {str(error)[:200]})") from error

    def _reactor(self, row: Any) -> tuple[str, dict[str, Any]]:
        name, cls, names, parts = row
        instance = self._instances.get(name)
        if instance is None:
            raise CannotRestoreError(f"the saved state has a reactor {name!r:.100}, which the program does not have.")
        if full_name(type(instance)) != cls:
            raise CannotRestoreError(
                f"{name} is a {full_name(type(instance))} in the program, and was a {cls!s:.100} in the saved state.",
                reactor=name,
            )
        if len(names) != len(parts) or not all(type(one) is str for one in names):
            raise CannotRestoreError(f"the saved state of {name} is damaged.", reactor=name)
        return name, dict(zip(names, parts, strict=True))

    # -- which live object a node stands for

    def _match(self, reactors: list[tuple[str, dict[str, Any]]]) -> None:
        todo: deque[tuple[Any, Any]] = deque()
        for name, row in reactors:
            instance = self._instances[name]
            found = attributes_to_save(instance, self.known)
            todo.extend((part, found.get(one, MISSING)) for one, part in row.items())
        while todo:
            node, live = todo.popleft()
            if type(node) is not list or live is MISSING or id(node) in self.live or id(live) in self._taken:
                continue
            matches = _MATCHES.get(node[0])
            children = matches(self, node, live) if matches is not None else None
            if children is None:
                continue
            self.live[id(node)] = live
            self._taken[id(live)] = node
            todo.extend(zip(node[2], children, strict=False))

    # -- making and filling

    def _build(self, root: Node) -> None:
        """Make everything that a node refers to, and it: a loop, so that no depth is too large."""
        if id(root) in self._made:
            return
        stack = [(root, iter(root[2]))]
        opened = {id(root)}
        self._begin(root)
        while stack:
            node, left = stack[-1]
            for part in left:
                if type(part) is list and id(part) not in self._made and id(part) not in opened:
                    self._begin(part)
                    opened.add(id(part))
                    stack.append((part, iter(part[2])))
                    break
            else:
                stack.pop()
                self._end(node)

    def _begin(self, node: Node) -> None:
        make = _MAKES.get(node[0])
        if make is None or len(node) != 3:
            raise Unfit(node, "is damaged (a node of no kind)")
        made = make(self, node, self.live.get(id(node), MISSING))
        if made is not PENDING:
            self._made[id(node)] = made

    def _end(self, node: Node) -> None:
        if any(type(part) is list and id(part) not in self._made for part in node[2]):
            if id(node) not in self._made:
                raise Unfit(node, "is damaged (it contains itself)")
            self._later.append(node)
        else:
            self._fill(node)

    def _fill(self, node: Node) -> None:
        fill = _FILLS.get(node[0])
        if fill is not None:
            parts = [self.value(part) for part in node[2]]
            made = fill(self, node, self._made.get(id(node), MISSING), parts)
            if id(node) not in self._made:
                self._made[id(node)] = made

    def value(self, part: Any) -> Any:
        """What a part stands for, made by now."""
        return self._made[id(part)] if type(part) is list else part

    def anchor(self, name: Any) -> Any:
        """What has a name in both processes."""
        return self._anchors.get(name, MISSING)

    def parameter(self, node: Node) -> Any:
        """The program's own array that is a parameter of a reactor."""
        reactor, name, dtype, shape = node[1]
        found = getattr(self._instances.get(reactor), str(name), None)
        if getattr(found, "dtype", None) != dtype or getattr(found, "shape", None) != shape:
            raise Unfit(node, f"is the parameter {name} of {reactor}, an array of another size in this program")
        return found

    def kept(self, node: Node) -> Any:
        """What startup made under the same words, if there is one such thing only."""
        found = {id(one): one for one in self._kept.get(node[1] if type(node[1]) is str else node[1][0], ())}
        return next(iter(found.values())) if len(found) == 1 else MISSING

    def _finish(self, instance: Reactor, row: dict[str, Any]) -> None:
        """Set a reactor's attributes."""
        before = attributes_to_save(instance, self.known)
        way = own_way(type(instance))
        call = f"{way[0]}()" if way is not None else None
        set_attributes(instance, before, {name: self.value(part) for name, part in row.items() if name != call})
        if way is not None:
            if call not in row:
                raise CannotRestoreError(
                    f"{instance.full_name} saved nothing by {way[0]}().", reactor=instance.full_name
                )
            getattr(instance, way[1])(self.value(row[call]))

    def _error(self, node: Node | None, words: str) -> CannotRestoreError:
        for tree in self._trees if node is not None else ():
            path = path_to(tree, node) if node is not None else None
            if path is not None and path.words and not path.reactor:
                return CannotRestoreError(f"{path.words} of those that were sent {words}.", attribute=path.words)
            if path is not None and path.reactor:
                return CannotRestoreError(
                    f"{path.reactor}: {path.words} {words}.", reactor=path.reactor, attribute=path.words
                )
        return CannotRestoreError(f"the saved state {words}.")


def _values(tree: Tree) -> list[Any]:
    values = tree.get("values", [])
    if type(values) is not list:
        raise CannotRestoreError("the saved state is damaged.")
    return values


def _rows(tree: Any) -> Any:
    if type(tree) is not dict or tree.get("format") != FORMAT:
        raise CannotRestoreError("the saved state is of another version of reactornb, or damaged.")
    return tree["reactors"]
