"""A `Series` on its way to a page, where `decode` of `curves.js` unpacks it: facts that JSON can represent, and its points as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reactornb.viz.labels import number
from reactornb.viz.series import COLUMNS, Series

__all__ = ["pack"]


def pack(series: Series, sent: Mapping[str, str]) -> tuple[dict[str, Any], bytes]:
    """One curve.

    Args:
        series: the curve, with at least one value.
        sent: what the page calls each axis that it may draw over, and which of `series.COLUMNS` that is.

    Returns:
        Facts: the last value as text, all in words, the number of points, how many values each is of and all together, whether each is
        of an episode, and where the curve begins on each axis. And float32, little-endian: how far each point is from that beginning,
        an axis after the other, then mean, least and greatest of each point.
    """
    buckets, weight = series.buckets()
    rows = {name: COLUMNS.index(axis) for name, axis in sent.items()}
    # A tag that is read while it changes can be off by one; that is fine for a display, but x must not decrease.
    rising = [np.maximum.accumulate(buckets[row]) - buckets[row, 0] for row in rows.values()]
    data = b"".join(values.astype("<f4").tobytes() for values in (*rising, *buckets[len(COLUMNS) :]))
    said = f"{number(series.last)}, {series.count:,} values, {number(series.least)} to {number(series.greatest)}"
    facts = {
        "last": number(series.last),
        "words": said,
        "points": len(weight),
        "per_bucket": series.per_bucket,
        "count": series.count,
        "of_episodes": series.is_of_episodes,
        "begin": {name: float(buckets[row, 0]) for name, row in rows.items()},
    }
    return facts, data
