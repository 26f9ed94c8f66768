"""Parameters: how they are annotated, and whether a value fits one, judged by its annotation, or by its default where the annotation says nothing.

Used where a value comes from outside while a program runs; values that a program itself passes are not checked.
"""

from __future__ import annotations

import enum
import numbers
import sys
import types
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

from reactornb.model.spec import REQUIRED, ReactorBase
from reactornb.tags import Duration, as_duration, no_duration, parse_duration

__all__ = ["UNFIT", "Fixed", "Shared", "choices_of", "fit", "fits", "fitting", "from_text", "kind_of"]

type Fixed[T] = Annotated[T, "decided when the program starts"]
"""A parameter that a running program cannot change, because it is only looked at when it starts: `env: Fixed[str] = "CartPole-v1"`.

What decides the graph (a width, a delay, whatever `compose` reads) need not say so: assembly sees it.
"""


type Shared[T] = Annotated[T, "one object for all"]
"""A parameter whose value is passed on as it is, instead of copied for each instance: `stop: Shared[threading.Event]`.

For what cannot be copied, or reaches out of the program: queues, locks, connections, lists in which a test collects. The program then
answers for it that its result does not depend on which reactor touches the object first.
"""


UNFIT = object()
"""What `fit` returns for a value that does not fit."""


def kind_of(cls: type[ReactorBase], parameter: str) -> Any:
    """The type that a parameter is declared with; that of its default if it has no other, `Any` if nothing is known.

    A parameter whose default is a duration takes durations, also where it is declared as an int.
    """
    for base in cls.__mro__:
        annotation = _annotation(base, parameter)
        if annotation is not None:
            kind = _plain(annotation)
            break
    else:
        kind = annotation = Any
    default = cls._spec.parameters.get(parameter, REQUIRED)
    if kind is Any and isinstance(annotation, str) and type(default) in (bool, int, float, str):
        return type(default)
    return Duration if type(default) is Duration and kind in (int, Any) else kind


def _annotation(cls: type, name: str) -> Any:
    """The annotation in the class's own body: evaluated, or as text where a name in it is not known."""
    if sys.version_info >= (3, 14):
        import annotationlib

        annotation = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF).get(name)
        text = getattr(annotation, "__forward_arg__", annotation)
    else:
        annotation = text = vars(cls).get("__annotations__", {}).get(name)
    if isinstance(text, str):
        try:
            return eval(text, vars(sys.modules[cls.__module__]), dict(vars(cls)))  # noqa: S307 - the class's own text
        except Exception:  # noqa: BLE001 - imported for type checkers only, or not at all
            return text
    return annotation


def _plain(kind: Any) -> Any:
    """The type without `Fixed`, `Annotated` and names of types."""
    if isinstance(kind, str):
        return Any
    if isinstance(kind, TypeAliasType):
        return _plain(kind.__value__)
    origin = get_origin(kind)
    if origin is Annotated or origin is Fixed:
        return _plain(get_args(kind)[0])
    return Any if isinstance(origin, TypeAliasType) else kind


def fit(value: Any, kind: Any) -> Any:
    """The value as that type has it (1 is 1.0 where a float is declared), or `UNFIT`."""
    kind = _plain(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if any(type(value) is a for a in args):
            return value
        return next((found for a in args if (found := fit(value, a)) is not UNFIT), UNFIT)
    if origin is Literal:
        return value if any(value == a and type(value) is type(a) for a in args) else UNFIT
    if kind is None or kind is types.NoneType:
        return None if value is None else UNFIT
    if kind is bool:
        return bool(value) if _is_bool(value) else UNFIT
    if kind is Duration:
        found = _read_duration(value)
        return UNFIT if found is None else found
    if kind is int:
        whole = isinstance(value, numbers.Integral) or (isinstance(value, numbers.Real) and value == value // 1)
        return int(value) if whole and not _is_bool(value) else UNFIT
    if kind is float:
        return float(value) if isinstance(value, numbers.Real) and not _is_bool(value) else UNFIT
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value if isinstance(value, kind) else kind.__members__.get(str(value), UNFIT)
    wanted = origin or kind
    try:
        return value if not isinstance(wanted, type) or isinstance(value, wanted) else UNFIT
    except TypeError:  # a protocol that cannot be looked for
        return value


def _read_duration(value: Any) -> Duration | None:
    """A duration, also as text: `10ms`."""
    try:
        return parse_duration(value) if isinstance(value, str) else as_duration(value)
    except ValueError:
        return None


def from_text(cls: type[ReactorBase], parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as a command line gives them: text is a duration where one is declared, `period=10ms`."""
    return {
        name: fit(value, Duration)
        if isinstance(value, str) and kind_of(cls, name) is Duration and fits(value, Duration)
        else value
        for name, value in parameters.items()
    }


def _is_bool(value: object) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # NumPy's too, without importing it


def fitting(cls: type[ReactorBase], parameter: str, value: Any) -> Any:
    """The value as the parameter's type has it.

    Raises:
        TypeError: if it does not fit, with what would.
    """
    kind = kind_of(cls, parameter)
    fitted = fit(value, kind)
    if fitted is UNFIT:
        if kind is Duration:
            raise TypeError(f"{cls.__name__} declares it as a duration: {no_duration(value)}.")
        choices = choices_of(kind)
        words = f"one of {', '.join(map(repr, choices))}" if choices else words_for(kind)
        raise TypeError(f"{cls.__name__} declares it as {words}.")
    return fitted


def fits(value: Any, kind: Any) -> bool:
    """Whether a value has that type, or can be made to have it."""
    return fit(value, kind) is not UNFIT


def choices_of(kind: Any) -> tuple[Any, ...] | None:
    """The values of a `Literal` or an `Enum`; None for any other type."""
    kind = _plain(kind)
    if get_origin(kind) is Literal:
        return get_args(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return tuple(kind)
    return None


def words_for(kind: Any) -> str:
    """A type as one writes it."""
    kind = _plain(kind)
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")
