"""How a program travels: its outermost reactor, as cloudpickle writes it, with the texts of the cells and files that declare it.

Reactors declared in a notebook's cells, in `__main__` or in a file that was loaded as a program travel with their code; those of modules that a host
can import travel by name, so that module must be there. A host assembles the program anew and compares the digest of its graph: every number that
hub and host exchange refers to it.

Only hosts unpickle, and only what the hub sent.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import io
import linecache
import pickle
import sys
import sysconfig
import types
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from reactornb.cluster.errors import ShipError
from reactornb.durable.code import classes_of, functions_of, graph_digest, names_in
from reactornb.errors import MissingPackageError, Source, is_library
from reactornb.model import Bank, BankMember, Reactor
from reactornb.runtime import Program

__all__ = ["pack_program", "unpack_program"]

_FORM = 1
_DEEPEST = 30


def pack_program(program: Program, by_value: Iterable[str] = ()) -> bytes:
    """A program for the way to a host.

    Args:
        program: the program; it may be running.
        by_value: names of modules whose code travels, too, because hosts cannot import them.

    Raises:
        ShipError: if something in it cannot travel: it names the parameter or closure variable, its place and what to do.
        MissingPackageError: without cloudpickle.
    """
    root: Any = program.root
    with _by_value(by_value):
        try:
            packed = _dumps(root)
        except Exception as error:
            raise _explained(program, error) from error
    texts = _texts(program)
    return pickle.dumps((_FORM, packed, graph_digest(program.graph), texts), 5)


def unpack_program(data: bytes) -> Program:
    """The program that `pack_program` packed, assembled in this process. It executes what the data say: they come from the hub, which has proved itself.

    Raises:
        ShipError: if a module is missing here, or the graph is another one here.
    """
    form, packed, digest, texts = pickle.loads(data)  # noqa: S301 - from the hub, see above
    if form != _FORM:
        raise ShipError(
            f"the program was packed in form {form}, and this reactornb reads {_FORM}. Install the same one on both sides.",
            path="", kind="", source=None,
        )  # fmt: skip
    for file, text in texts.items():
        if not Path(file).exists():  # so that errors here have the line
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    try:
        root = pickle.loads(packed)  # noqa: S301 - see above
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise ShipError(
            f"the program needs the module {error.name}, which this host cannot import. Install it there, or let its code travel: "
            f'Hosts(…, ship=["{name}"]).',
            path=name, kind="module", source=None,
        ) from error  # fmt: skip
    program = Program(root)
    if graph_digest(program.graph) != digest:
        raise ShipError(
            f"{program.name} has another graph on this host than on the hub, so its parts could not be told apart. compose must give the same "
            f"reactors and connections everywhere: it may depend on parameters, not on the machine, the time or files.",
            path=program.name, kind="graph", source=program.graph.reactors[0].source,
        )  # fmt: skip
    return program


# -- packing --------------------------------------------------------------------------------------------------------------


class _RefusedError(Exception):
    """Something that cloudpickle would send, and that would not be the same there."""


def _cloudpickle() -> Any:
    try:
        import cloudpickle
    except ImportError as error:
        raise MissingPackageError(
            "programs travel to hosts by cloudpickle, which is not installed: pip install 'reactornb[cluster]'."
        ) from error
    return cloudpickle


@functools.cache
def _packer() -> Any:
    base: Any = _cloudpickle().Pickler

    class Packer(base):  # type: ignore[misc]
        """cloudpickle's, without files: it would send what is left to read of one that is open."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, io.IOBase) and not isinstance(obj, (io.BytesIO, io.StringIO)):
                raise _RefusedError
            if isinstance(obj, types.FrameType | types.TracebackType):
                raise _RefusedError
            if isinstance(
                obj, (Bank, BankMember)
            ):  # whose attributes are ports: pickle would ask them for __setstate__
                return object.__new__, (type(obj),), dict(vars(obj)), None, None, _put_back
            return super().reducer_override(obj)

    return Packer


def _put_back(value: Any, state: dict[str, Any]) -> None:
    vars(value).update(state)


def _dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    _packer()(buffer, protocol=5).dump(value)
    return buffer.getvalue()


@contextlib.contextmanager
def _by_value(names: Iterable[str]) -> Generator[None]:
    """While a program is packed, the code of modules that no other process can import travels by value."""
    cloudpickle = _cloudpickle()
    wanted = [module for name in names if (module := sys.modules.get(name)) is not None]
    wanted += [module for module in list(sys.modules.values()) if _only_here(module)]
    registered = []
    known = cloudpickle.list_registry_pickle_by_value()
    try:
        for module in {id(module): module for module in wanted}.values():
            if module.__name__ not in known:
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _only_here(module: Any) -> bool:
    """Whether another process with the same path could not import a module: it was made at run time, or loaded from a file by other means."""
    if not isinstance(module, types.ModuleType) or module.__name__ in ("__main__", "__mp_main__"):  # cloudpickle knows
        return False
    if sys.modules.get(module.__name__) is not module:
        return False
    spec = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    if spec is None:
        return type(module) is types.ModuleType and "reactornb." not in module.__name__
    if file is None or file.startswith(_installed()) or is_library(file):
        return False
    found = _found(module.__name__)
    return found is None or found.origin is None or not _is_same(found.origin, file)


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _found(name: str) -> Any:
    path: Any = None
    spec = None
    first, *rest = name.split(".")
    for at, part in enumerate((first, *rest)):
        try:
            spec = importlib.machinery.PathFinder.find_spec(part if at == 0 else ".".join((first, *rest[:at])), path)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _texts(program: Program) -> dict[str, str]:
    """By file name, the cells and files that declare the program, but for those of this package and of installed ones."""
    made: dict[str, str] = {}
    for _, function in functions_of(classes_of(program.graph)):
        file = function.__code__.co_filename
        if file not in made and not is_library(file) and not file.startswith(_installed()):
            lines = linecache.getlines(file)
            if lines:
                made[file] = "".join(lines)
    return made


# -- what cannot travel -----------------------------------------------------------------------------------------------------


def _explained(program: Program, error: Exception) -> ShipError:
    """Name the part that cannot be packed: looked for only now."""
    for node in program.graph.reactors:
        for name, value in node.parameters.items():
            found = _culprit(value)
            if found is not None:
                return _refusal(f"parameter {name} of {node.name}", name, *found, node.source)
    for name, function in functions_of(classes_of(program.graph)):
        found = _culprit(function)
        if found is not None:
            code = function.__code__
            what = name.removeprefix("__main__").removeprefix(".")
            return _refusal(what, code.co_name, *found, Source(code.co_filename, code.co_firstlineno))
    for cls in classes_of(program.graph):
        for name, value in list(vars(cls).items()):
            found = None if isinstance(value, types.FunctionType) else _culprit(value)
            if found is not None:
                return _refusal(f"{cls.__qualname__}.{name}", name, *found, getattr(cls, "_definition", None))
    root: Any = program.root
    found = _culprit(root)
    if found is not None:
        return _refusal(program.name, program.name, *found, program.graph.reactors[0].source)
    return ShipError(
        f"{program.name} cannot travel to another process: {type(error).__name__}: {str(error)[:300]}",
        path=program.name, kind=type(error).__name__, source=program.graph.reactors[0].source,
    )  # fmt: skip


def _refusal(what: str, name: str, path: str, value: Any, source: Source | None) -> ShipError:
    kind, fix = _words(value)
    where = f"{source}: " if source is not None else ""
    if path:
        what += path if path.startswith(",") else f", {name}{path}"
    return ShipError(
        f"{where}{what} is {kind}, which cannot travel to another process. {fix}", path=what, kind=kind, source=source
    )


def _words(value: Any) -> tuple[str, str]:
    """What something is, and what to do instead."""
    cls = type(value)
    name = f"a {cls.__module__}.{cls.__qualname__}" if cls.__module__ != "builtins" else f"a {cls.__qualname__}"
    if isinstance(value, io.IOBase):
        return f"an open file ({getattr(value, 'name', name)})", "Give its name, and open it in a reaction to startup."
    if isinstance(value, types.GeneratorType | types.AsyncGeneratorType | types.CoroutineType):
        return (
            f"a generator ({value.__name__})",
            "Give the function that makes it, and call it in a reaction to startup.",
        )
    if cls.__module__ in ("_thread", "threading", "queue", "_queue", "asyncio", "concurrent.futures"):
        return (
            f"{name} (made for threads of one process)",
            "Make it in a reaction to startup: self.lock = threading.Lock().",
        )
    if isinstance(value, types.ModuleType):
        return f"the module {value.__name__}, which was made at run time", "Import it in the reaction that uses it."
    return name, "Make it in a reaction to startup, or give a function that makes it."


def _culprit(value: Any, seen: set[int] | None = None, depth: int = 0) -> tuple[str, Any] | None:
    """The innermost part that cannot be packed, and the way to it; None if all can."""
    seen = set() if seen is None else seen
    if id(value) in seen or depth > _DEEPEST or _packs(value):
        return None
    seen.add(id(value))
    for label, part in _parts(value):
        found = _culprit(part, seen, depth + 1)
        if found is not None:
            return f"{label}{found[0]}", found[1]
    return "", value


def _packs(value: Any) -> bool:
    try:
        _dumps(value)
    except Exception:  # noqa: BLE001 - whatever the value's own code raises
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value is made of, each part with its name."""
    if isinstance(value, io.IOBase):
        return
    if isinstance(value, types.FunctionType):
        names = value.__code__.co_freevars
        for name, cell in zip(names, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # empty
                yield f", closure variable {name}", cell.cell_contents
        for name in dict.fromkeys(names_in(value.__code__)):
            if name in value.__globals__:
                yield f", global {name}", value.__globals__[name]
        for at, default in enumerate(value.__defaults__ or ()):
            yield f", default {at}", default
        yield from ((f", default of {name}", one) for name, one in (value.__kwdefaults__ or {}).items())
    elif isinstance(value, functools.partial):
        yield ", function", value.func
        yield from ((f", argument {at}", one) for at, one in enumerate(value.args))
        yield from ((f", argument {name}", one) for name, one in value.keywords.items())
    elif isinstance(value, types.MethodType):
        yield ", object", value.__self__
    elif isinstance(value, dict):
        yield from ((f"[{key!r:.40}]", one) for key, one in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{at}]", one) for at, one in enumerate(value))
    elif isinstance(value, type):
        yield from ((f".{name}", one) for name, one in list(vars(value).items()) if name != "__dict__")
        yield from ((f", base {base.__name__}", base) for base in value.__bases__)
    elif isinstance(value, (staticmethod, classmethod)):
        yield "", value.__func__
    else:
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict):
            hidden = {"_connections", "_source"} if isinstance(value, Reactor) else set()
            yield from ((f".{name}", one) for name, one in list(state.items()) if name not in hidden)
        for cls in type(value).__mro__:
            slots = [name for name, one in vars(cls).items() if isinstance(one, types.MemberDescriptorType)]
            yield from ((f".{name}", getattr(value, name)) for name in slots if hasattr(value, name))
