"""A `Keeper` that copies states and parameters in memory, for tests of cuts: what is saved of objects has tests of its own."""

from __future__ import annotations

import contextlib
import copy
import threading
from unittest.mock import patch

from reactornb.runtime import codec
from reactornb.runtime import run as run_module
from reactornb.runtime.cut import CUT_CLASSES
from reactornb.runtime.engine import Engine
from reactornb.runtime.outside import Replay

__all__ = ["Copies", "kept", "through_codec"]

CLASSES = codec.Classes(CUT_CLASSES)


class Copies:
    """A `Keeper` that copies the states and parameters of instances; it has the cuts, and may ask for the next one at once.

    Args:
        most: how many cuts to take one after the other, from before the first tag on.
        tags: at which to take one, with the run held there.
    """

    def __init__(self, most=0, tags=()):
        self.cuts = []
        self.most = most
        self.tags = tags
        self.held = None
        self.engine = None  # of the run that is kept; set by `kept`
        self._taken = threading.Condition()

    def capture(self, enclave, instances, values):
        border = instances[0]._context.border
        position = 0 if border is None else border.position
        return copy.deepcopy(([[getattr(i, name) for name in _names(i)] for i in instances], list(values), position))

    def taken(self, cut):
        with self._taken:
            self.cuts.append(cut)
            self._taken.notify_all()
        if len(self.cuts) < self.most:
            self.engine.request_cut()

    def restore(self, objects, instances):
        by_enclave = {}
        for instance in instances:
            by_enclave.setdefault(instance._context.enclave, []).append(instance)
        restored = []
        for enclave, (states, values, _) in enumerate(copy.deepcopy(objects)):
            for instance, state in zip(by_enclave[enclave], states, strict=True):
                for name, value in zip(_names(instance), state, strict=True):
                    object.__setattr__(instance, name, value)
            restored.append(values)
        return restored

    def begin(self, engine):
        """The run that is kept; it has not begun."""
        self.engine = engine
        if self.most:
            engine.request_cut()
        elif self.tags:
            self.held = engine.run_to(self.tags[0])

    def cut_at_tags(self, running):
        """Cut the run whenever it is held; it has begun."""
        for count, tag in enumerate(self.tags, 1):
            assert (self.held if count == 1 else self.engine.run_to(tag)).wait(20.0)
            if not self.engine.paused:  # it is over
                return
            self.engine.request_cut()
            self.wait(count)
        running.resume()

    def wait(self, count):
        with self._taken:
            assert self._taken.wait_for(lambda: len(self.cuts) >= count, 20.0)


def _names(instance):
    return [*type(instance)._spec.states, *type(instance)._spec.parameters]


@contextlib.contextmanager
def kept(keeper, cut=None, rows=None):
    """Runs that begin meanwhile are kept, start from a cut, and replay those of the rows from outside that came after it."""

    def make_engine(*args, **options):
        if rows is not None:
            since = [(part.objects[2], part.tag) for part in cut.enclaves]
            options["outside_replay"] = Replay(rows, since=since)
        engine = Engine(*args, **{**options, "keeper": keeper, "start_from": cut})
        keeper.begin(engine)
        return engine

    with patch.object(run_module, "Engine", make_engine):
        yield


def through_codec(cut):
    """The same cut, written and read."""
    return codec.decode(codec.encode(cut, CLASSES), CLASSES)
