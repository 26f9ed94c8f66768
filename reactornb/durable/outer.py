"""What a program's reactors change outside of themselves: module-level names, attributes of classes, default values. No checkpoint holds these.

Found are the places that their code names, and whether one of them has changed between two tags: values are compared, so that a constant, or
what startup alone changes, is no matter. What code reaches in other ways (another module's state, a parameter's class) is not seen.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from reactornb.durable.code import classes_of, functions_of, names_in
from reactornb.durable.objects import Known, NotSavableError, Tree, capture, differences, transient_names
from reactornb.errors import ReactorError, Source
from reactornb.graph import Graph
from reactornb.model import Reactor

__all__ = ["Outer"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_HOLDS = (
    list, dict, set, bytearray, collections.deque, collections.defaultdict, collections.OrderedDict, collections.Counter,
    numpy.ndarray, numpy.random.Generator,
)  # fmt: skip
_LOOKS = 2
_MOST = 1 << 20  # bytes of an array, or items: larger ones are data, and looking at them costs


class _Place:
    """Somewhere that a function of the program names."""

    def __init__(
        self, words: str, name: str, read: Callable[[], Any], code: types.CodeType, before: Tree | None
    ) -> None:
        self.words, self.name, self.read, self.code, self.before = words, name, read, code, before


class Outer:
    """The places of one run's program; belongs to whoever completes a cut, one at a time.

    Args:
        known: of the program.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._graph: Graph | None = None
        self._places: list[_Place] = []
        self._looks = 0  # so many cuts more are taken to look, and for nothing else

    def look(self, run: Any, request_cut: Callable[[], None], *, before_stop: bool) -> bool:
        """Look, between two tags, whether something is not what it was; true if this cut was for that alone.

        Args:
            run: told of it, after its first tags.
            request_cut: asks for another cut.
            before_stop: the run ends here.

        Raises:
            NotSavableError: if something changes in the first tags.
        """
        looks = self._looks
        if self._graph is None:
            self._begin(run.program.graph)
        elif (error := self._changed()) is not None:
            if looks:
                raise error
            run.notices.add("outer", str(error))
        self._looks = max(looks - 1, 0) if looks else self._looks
        if self._looks and not before_stop:
            request_cut()
        return looks > 0 and not before_stop

    def _begin(self, graph: Graph) -> None:
        self._graph = graph
        left_out = {name for node in graph.reactors for name in transient_names(node.cls)}
        found: dict[str, _Place] = {}
        for words, name, read, code in _places(graph):
            if name not in left_out and words not in found:
                place = found[words] = _Place(words, name, read, code, None)
                place.before = self._seen(place)
        self._places = list(found.values())
        self._looks = _LOOKS if found else 0

    def _changed(self) -> NotSavableError | None:
        for place in self._places:
            now = self._seen(place)
            if now is not None and place.before is not None and differences(place.before, now, 1):
                return self._refused(place)
        return None

    def _seen(self, place: _Place) -> Tree | None:
        try:
            value = place.read()
            if not isinstance(value, (*_PLAIN, *_HOLDS)) or _size(value) > _MOST:
                return None
            return capture((), self._known, values=[value], strict=False)
        except (ReactorError, LookupError, AttributeError, RuntimeError):  # it is gone, or somebody changes it just now
            return None

    def _refused(self, place: _Place) -> NotSavableError:
        source = Source(place.code.co_filename, place.code.co_firstlineno)
        assert self._graph is not None
        users = [node for node in self._graph.reactors if _uses(node.cls, place.code)]
        reactor, cls = (
            (users[0].name, users[0].cls) if users else (self._graph.reactors[0].name, self._graph.reactors[0].cls)
        )
        fix = (
            f"Keep it in an attribute of the reactor, which is saved. If what it holds makes no difference, as a cache of what can be computed again, "
            f'say so: transient = ("{place.name}",) in {cls.__name__}.'
        )
        return NotSavableError(
            f"{reactor}: {place.words} changes while the run goes on, and belongs to no reactor, so the run could not be resumed ({place.code.co_name} "
            f"uses it, {source}). {fix}",
            reactor=reactor, attribute=place.words, kind=type(place.read()), source=source, fix=fix,
        )  # fmt: skip


def _size(value: Any) -> int:
    return int(getattr(value, "nbytes", 0)) or (len(value) if hasattr(value, "__len__") else 0)


def _uses(cls: type, code: types.CodeType) -> bool:
    return any(function.__code__ is code for _, function in functions_of([cls]))


def _is_theirs(module: str) -> bool:
    return module.partition(".")[0] != "reactornb"


def _places(graph: Graph) -> Iterator[tuple[str, str, Callable[[], Any], types.CodeType]]:
    classes = [cls for cls in classes_of(graph) if _is_theirs(cls.__module__)]
    for _, function in functions_of(classes):
        if not _is_theirs(function.__module__ or ""):
            continue
        names, code = function.__globals__, function.__code__
        for word in dict.fromkeys(names_in(code)):
            value = names.get(word, names)
            if isinstance(value, type):
                if value.__module__ == function.__module__ and not issubclass(value, Reactor):
                    yield from _of_class(value, code)
            elif value is not names and isinstance(value, (*_PLAIN, *_HOLDS)):
                yield f"{word}, a name of its module,", word, _item(names, word), code
            elif isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
                yield f"{word}.__dict__", word, _attribute(value, "__dict__"), code
        for at, default in enumerate(function.__defaults__ or ()):
            if isinstance(default, _HOLDS):
                yield (
                    f"the default of a parameter of {function.__name__}",
                    function.__name__,
                    _default(function, at),
                    code,
                )
    for cls in classes:
        first = next((function.__code__ for _, function in functions_of([cls])), None)
        if first is not None:
            yield from _of_class(cls, first)


def _of_class(cls: type, code: types.CodeType) -> Iterator[tuple[str, str, Callable[[], Any], types.CodeType]]:
    for name, value in list(vars(cls).items()):
        if not name.startswith("__") and isinstance(value, (*_PLAIN, *_HOLDS)):
            yield f"{cls.__name__}.{name}", name, _attribute(cls, name), code


def _item(names: Any, word: str) -> Callable[[], Any]:
    return lambda: names[word]


def _attribute(owner: Any, name: str) -> Callable[[], Any]:
    return lambda: vars(owner)[name] if name != "__dict__" else dict(vars(owner))


def _default(function: Any, at: int) -> Callable[[], Any]:
    return lambda: function.__defaults__[at]
