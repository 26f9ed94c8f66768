"""Runs that are kept in a folder of a test's, held at tags, and compared with ones that nobody interrupted."""

import contextlib
from unittest.mock import patch

from reactornb import Program, resume
from reactornb.durable.keeping import Keeping

__all__ = ["ended", "held", "kept_until", "outcome", "whole"]


@contextlib.contextmanager
def held(tag):
    """Kept runs that begin meanwhile are held before the first tag that is later than this one."""
    begin = Keeping.begin

    def begin_and_hold(self, run):
        begin(self, run)
        self.held = run._engine.run_to(tag)

    with patch.object(Keeping, "begin", begin_and_hold):
        yield


def kept_until(program, tag, name="r", **options):
    """A new kept run, held at a tag."""
    with held(tag):
        run = program.start(keep=name, **options)
    assert run._kept.held.wait(20.0)
    return run


def whole(root, **options):
    """What the program does if nobody interrupts it."""
    return Program(root).run(workers=1, fingerprint=True, **options)


def ended(name="r", **options):
    """The rest of a kept run."""
    return resume(name, **options).result(20.0)


def outcome(run):
    """Fingerprint and metrics of a run, as JSON has them."""
    result = run.result(120)
    logged = {
        name: [metric.values.tolist(), metric.time_ns.tolist(), metric.microstep.tolist()]
        for name, metric in result.metrics.items()
    }
    return {"fingerprint": result.fingerprint, "metrics": logged}
