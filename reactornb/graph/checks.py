"""What a class declares and cannot use: modes that nothing enters, contained ports that no parameter reaches."""

from __future__ import annotations

import warnings

from reactornb.errors import AssemblyError
from reactornb.model import Mode, PortRef, Reactor

__all__ = ["check_class"]


def check_class(cls: type[Reactor], name: str, children: dict[int, str]) -> None:
    """Refuse what can only be a mistake.

    Args:
        cls: a reactor's class.
        name: the instance's full name.
        children: id of a contained template -> its name.

    Raises:
        AssemblyError: for a mode that no transition reaches; for a port of a contained reactor that a reaction declares and
            cannot touch, because its signature lacks the reactor. In Lingua Franca text, where both are legal, the first is
            a warning.
    """
    _modes(cls, name)
    for item in cls._spec.reactions:
        for declared in (*item.uses, *item.effects):
            child = _child(declared, children)
            if child and child not in item.parameters and not any(p.startswith(f"{child}.") for p in item.parameters):
                words = declared if isinstance(declared, str) else f"{child}.{declared.port.name}"
                raise AssemblyError(
                    f"{item.source}: reaction {name}.{item.name} declares {words} but cannot touch it: its signature lacks "
                    f"{child!r}. Write def {item.name}(self, …, {child}), or drop the declaration."
                )


def _child(declared: object, children: dict[int, str]) -> str:
    if isinstance(declared, str):
        return declared.removeprefix("interleaved(").partition(".")[0].partition("[")[0]
    if isinstance(declared, PortRef):
        return children.get(id(declared.owner), "")
    return ""


def _modes(cls: type[Reactor], name: str) -> None:
    modes = cls._spec.modes
    reached = {m.name for m in modes.values() if m.initial}
    pending = [r for r in cls._spec.reactions if r.mode is None or r.mode.name in reached]
    while pending:
        new = {p for r in pending for p in r.parameters if p in modes} - reached
        reached |= new
        pending = [r for r in cls._spec.reactions if r.mode is not None and r.mode.name in new]
    for mode in modes.values():
        if mode.name not in reached:
            _unreachable(cls, name, mode)


def _unreachable(cls: type[Reactor], name: str, mode: Mode) -> None:
    words = (
        f"{mode.source}: mode {mode.name!r} of {name} cannot be reached: no reaction that can run takes it as a parameter. "
        f"Name it in the signature of one that should enter it."
    )
    if getattr(cls, "_lf_defaults", None) is not None:
        warnings.warn(words, stacklevel=2)
    else:
        raise AssemblyError(words)
