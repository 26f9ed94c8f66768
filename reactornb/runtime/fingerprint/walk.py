"""A walk through a value: its bytes, part by part, whatever contains what.

The walk is a loop, not a recursion: depth has no limit. What contains itself is walked twice, the first time to find which parts lie on
cycles together.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

from reactornb.runtime.arrays import Node
from reactornb.runtime.fingerprint.values import (
    ENCODERS,
    HASH_BYTES,
    LEAVES,
    LIMIT,
    MODULUS,
    RefusedValueError,
    encoder,
)

__all__ = ["Walk"]

_count = struct.Struct("<Q").pack


class Walk:
    """One walk over a value.

    # Everything here belongs to the thread that walks.

    Args:
        strict: refuse what cannot be compared.
    """

    __slots__ = ("_component", "_known", "_laid", "_path", "_stack", "strict")

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self._stack: list[Node] = []
        self._path: set[int] = set()  # ids of what contains the part that is walked
        self._known: dict[
            int, tuple[Any, bytes]
        ] = {}  # what took more than LIMIT bytes; with the object, so that its id stays its own
        # Of a value that contains itself, by id: the object, its bytes or its node, and its children; and which parts lie on cycles together.
        self._laid: dict[int, tuple[Any, Any, list[Any]]]
        self._component: dict[int, int] | None = None

    def encode(self, value: Any) -> bytes:
        """The value as bytes.

        Raises:
            RefusedValueError: if it cannot be compared.
        """
        leaf = LEAVES.get(type(value))
        if leaf is not None:
            return leaf(value)
        try:
            try:
                return self._loop(value)
            except _CycleError:
                self._stack.clear()
                self._known.clear()
                self._find_components(value)
                return self._loop(value)
        except RefusedValueError as error:
            raise RefusedValueError(error.reason, error.kind, self._where()) from error.__cause__

    def _loop(self, value: Any) -> bytes:
        entered = self._enter(value, None)
        if type(entered) is bytes:
            return entered
        stack = self._stack
        stack.append(entered)
        while True:
            node = stack[-1]
            append = node.parts.append
            try:
                for child in node.children:
                    leaf = LEAVES.get(type(child))
                    if leaf is not None:
                        append(leaf(child))
                        continue
                    entered = self._enter(child, node)
                    if type(entered) is bytes:
                        append(entered)
                        continue
                    stack.append(entered)
                    break
                else:
                    encoded = self._close(stack.pop())
                    if not stack:
                        return encoded
                    stack[-1].parts.append(encoded)
            except (RefusedValueError, _CycleError):
                raise
            except Exception as error:
                raise _unwalkable(type(node.value), error) from error

    def _enter(self, value: Any, around: Node | None) -> Any:
        """The bytes of a value, or a node whose children are to be walked first."""
        me = id(value)
        known = self._known.get(me)
        if known is not None:
            return known[1]
        if self._component is not None:
            return self._enter_laid(me, around)
        if me in self._path:
            raise _CycleError
        entered = self._open(value)
        if type(entered) is Node:
            if type(value) is not Node:
                entered.value = value  # not a copy that was laid out in its place
            self._path.add(id(entered.value))
        return entered

    def _open(self, value: Any) -> Any:
        cls = type(value)
        if cls is Node:  # content that another node has laid out
            return value
        try:
            return (ENCODERS.get(cls) or encoder(cls))(self, value)
        except RefusedValueError as error:
            return self._refused(error, value)
        except Exception as error:  # noqa: BLE001 - an object's own code may raise anything
            return self._refused(_unwalkable(cls, error), value)

    def _refused(self, error: RefusedValueError, value: Any) -> bytes:
        if self.strict:
            raise error
        return b"?" + _count(id(value))

    def _close(self, node: Node) -> bytes:
        """All children are walked."""
        me = id(node.value)
        self._path.discard(me)
        parts = node.parts
        if node.unordered:
            total = sum(int.from_bytes(sha256(part).digest(), "little") for part in parts)
            encoded = node.head + _count(len(parts)) + (total % MODULUS).to_bytes(HASH_BYTES, "little")
        else:
            encoded = b"".join((node.head, _count(len(parts)), *parts))
        if len(encoded) > LIMIT:
            encoded = b"#" + sha256(encoded).digest()
            if node.closed:
                self._known[me] = (node.value, encoded)
        return encoded

    # -- what contains itself ---------------------------------------------------------------------------------------------

    def _enter_laid(self, me: int, around: Node | None) -> Any:
        component = self._component
        assert component is not None
        value, laid, children = self._laid[me]
        if type(laid) is bytes:
            return laid
        together = around is not None and component[me] == component[id(around.value)]
        numbers = around.numbers if together and around is not None else {}
        if me in numbers:
            return b"^" + _count(numbers[me])
        numbers[me] = len(numbers)
        if around is not None and around.unordered and together:
            raise RefusedValueError("it contains itself by way of a set, which has no order", type(value))
        # Positions are counted from the nearest mark.
        head = laid.head if together else b"@" + laid.head
        node = Node(value, head, iter(children), laid.labels, unordered=laid.unordered)
        node.numbers, node.closed = numbers, not together
        return node

    def _find_components(self, value: Any) -> None:
        """Which parts lie on cycles together: strongly connected components (Tarjan 1972), each object looked at once."""
        stack = self._stack
        laid: dict[int, tuple[Any, Any, list[Any]]] = {}
        component: dict[int, int] = {}
        first_visit: dict[int, int] = {}  # positions
        lowest: dict[int, int] = {}
        open_: list[int] = []

        def visit(value: Any) -> None:
            me = id(value)
            entered = self._open(value)
            children = list(entered.children) if type(entered) is Node else []
            laid[me] = (value, entered, children)
            first_visit[me] = lowest[me] = len(first_visit)
            open_.append(me)
            stack.append(Node(value, b"", iter(children), entered.labels if type(entered) is Node else None))

        visit(value)
        while stack:
            node = stack[-1]
            me = id(node.value)
            for child in node.children:
                if type(child) in LEAVES:
                    node.parts.append(b"")
                elif id(child) not in first_visit:
                    visit(child)
                    break
                else:
                    node.parts.append(b"")
                    if id(child) not in component:
                        lowest[me] = min(lowest[me], first_visit[id(child)])
            else:
                stack.pop()
                if stack:
                    stack[-1].parts.append(b"")
                    around = id(stack[-1].value)
                    lowest[around] = min(lowest[around], lowest[me])
                if lowest[me] == first_visit[me]:
                    while True:
                        member = open_.pop()
                        component[member] = first_visit[me]
                        if member == me:
                            break
        self._laid, self._component = laid, component

    def _where(self) -> str:
        """The part that is walked, as one would write it in Python."""
        words = ["value"]
        for node in self._stack:
            done = len(node.parts)
            value = node.value
            if node.labels is not None:
                label = node.labels[done] if done < len(node.labels) else "?"
                words.append(f".{label}" if label.isidentifier() else f"[{label}]")
            elif isinstance(value, dict):
                keys = list(value)
                key = keys[done // 2] if done // 2 < len(keys) else "?"
                words.append(f"[{key!r:.40}]" if done % 2 else f".keys()[{done // 2}]")
            elif isinstance(value, (set, frozenset)):
                words.append(".member")
            else:
                words.append(f"[{done}]")
        return "".join(words if len(words) < 12 else [*words[:6], " … ", *words[-5:]])


def _unwalkable(cls: type, error: BaseException) -> RefusedValueError:
    refused = RefusedValueError(f"it cannot be walked ({type(error).__name__}: {error})", cls)
    refused.__cause__ = error
    return refused


class _CycleError(Exception):
    """A value contains itself."""
