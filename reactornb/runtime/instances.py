"""The instances of a running program: one object of the reactor's class per node of the graph."""

from __future__ import annotations

import functools
from typing import Any

from reactornb.model import Reactor
from reactornb.model.context import Context
from reactornb.model.ownership import attribute_refusal, guarded, needs_guard, owned, parameter_words
from reactornb.runtime.handles import Hidden
from reactornb.runtime.logs import Log

__all__ = ["first_value", "make_instance"]


def make_instance(node: Any, context: Context, seed: int, *, has_state: bool = True) -> Reactor:
    """The instance of a node of the graph.

    Args:
        node: the graph's `ReactorNode`.
        context: what its methods ask of the running program; see `Context`.
        seed: the run's.
        has_state: give it its state variables; not where another process runs it.
    """
    cls: type[Reactor] = node.cls
    instance = object.__new__(cls)
    # By attribute, never through `__dict__`: while nobody asks for an object's dictionary CPython keeps none, and reading and writing
    # an attribute of `self` is one step instead of a look-up.
    put = functools.partial(object.__setattr__, instance)
    put("_running", True)
    put("_context", context)
    put("_name", node.name)
    put("_run_seed", seed)
    put("_log", Log())
    put("bank_index", node.bank_index)
    put("bank_width", node.bank_width)
    spec = cls._spec
    for name, value in node.parameters.items():
        put(name, value if name in spec.shared else owned(value, functools.partial(parameter_words, node, name)))
    if not cls.__dict__.get("_translated"):  # what a preamble of Lingua Franca text binds is meant to be one for all
        for name, (value, _) in spec.attributes.items():
            if needs_guard(value):
                put(name, guarded(value, attribute_refusal(cls, name)))
    for name in spec.children:
        put(name, Hidden(name))
    for state in spec.states.values() if has_state else ():
        put(state.name, first_value(instance, state))
    return instance


def first_value(instance: Reactor, state: Any) -> Any:
    """The first value of a state variable, made anew."""
    if state.factory is not None:
        return state.factory(instance)
    return owned(state.initial, lambda: f"{state.source}: the first value of state {instance.full_name}.{state.name}")
