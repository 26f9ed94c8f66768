"""Load of the parts of a picture while a run is alive: time per reaction and values per line, from `Run.sample`.

One thread calls `look` from time to time; the run pays for the windows in which it is watched (see `runtime/sampling.py`), and for
nothing else. It knows nothing of widgets.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy

from reactornb.graph import Graph
from reactornb.runtime import Run
from reactornb.runtime.sampling import Sample
from reactornb.viz.fold import Picture

__all__ = ["Heat"]

_KEPT = 8  # samples; loads are averages since the oldest one, over a few seconds


class Heat:
    """Load of a run, by the parts of a picture.

    Args:
        run: the run; its graph is that of the picture.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        graph = run.program.graph
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._enclave = numpy.array([graph.reactors[r.reactor].enclave for r in graph.reactions], int)
        self._home = numpy.zeros(len(graph.ports), int)  # the enclave of who writes a channel
        for node in graph.reactions:
            self._home[list(node.effects)] = self._enclave[node.index]
        self._written = _written(graph)

    def look(self) -> bool:
        """Add the sample since the last call, and start the next one; true if there is anything new."""
        sample = self.run.sample()
        if not sample.watched.any():
            return False
        last = self._samples[-1] if self._samples else None
        if last is not None and numpy.array_equal(sample.watched, last.watched):
            return False
        self._samples.append(sample)
        return True

    def of(self, picture: Picture) -> dict[str, list[Any]]:
        """What the picture's parts do, as JSON can carry it; empty before the first sample.

        Returns:
            `reactions` and `boxes`, in the picture's order: [share of the time of all reactions, runs a second, µs each], for
            boxes of what inside them is not drawn; `lines`: values a second, None where a line carries none.
        """
        if not self._samples:
            return {}
        last = self._samples[-1]
        zero = Sample(*(numpy.zeros_like(part) for part in (last.counts, last.busy, last.values, last.watched)))
        first = self._samples[0] if len(self._samples) > 1 else zero
        # Each enclave is sampled in its own windows, so loads are shares of the time in which its enclave was watched.
        watched = numpy.maximum(last.watched - first.watched, 1e-9)
        runs = (last.counts - first.counts) / watched[self._enclave]
        load = (last.busy - first.busy) / watched[self._enclave]
        values = (last.values - first.values) / watched[self._home]
        whole = load.sum() or 1.0

        def row(reactions: list[int]) -> list[float]:
            rate, busy = float(runs[reactions].sum()), float(load[reactions].sum())
            return [_short(busy / whole), _short(rate), _short(busy / rate * 1e6 if rate else 0.0)]

        of_reactor: dict[int, list[int]] = {}
        for node in self.run.program.graph.reactions:
            of_reactor.setdefault(node.reactor, []).append(node.index)
        return {
            "reactions": [row(s.reactions) for s in picture.symbols.values() if s.kind == "reaction"],
            "boxes": [row([i for r in box.within for i in of_reactor.get(r, ())]) for box in picture.boxes.values()],
            "lines": [
                _short(float(values[self._written[line.channels]].sum())) if line.channels else None
                for line in picture.lines
            ],
        }


def _written(graph: Graph) -> Any:
    """Per channel the channel that a reaction writes: itself, or the first one of the connections that lead to it."""
    source = {edge.destination: edge.source for edge in graph.edges}
    origins = []
    for port in graph.ports:
        at = port.index
        seen = {at}
        while at in source and source[at] not in seen:
            at = source[at]
            seen.add(at)
        origins.append(at)
    return numpy.array(origins, int)


def _short(value: float) -> float:
    """Round to three digits, to keep messages short."""
    return float(f"{value:.3g}") if math.isfinite(value) else 0.0
