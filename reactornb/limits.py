"""Upper limits: a larger number is refused, since it would only fill memory or keep a notebook busy for minutes.

Each is about a hundred times the largest useful number that was measured (`reactornb bench scale` stops at 10,000 reactors).
"""

from __future__ import annotations

__all__ = ["MOST_CHANNELS", "MOST_ENVS", "MOST_REACTORS", "MOST_STEPS", "MOST_WORKERS"]

MOST_REACTORS = 100_000
"""Instances in one program, the members of all banks among them."""

MOST_CHANNELS = 1_000_000
"""Ports of one program, each channel of a multiport counted."""

MOST_WORKERS = 1024
"""Threads of one run."""

MOST_ENVS = 100_000
"""Environments of one rollout."""

MOST_STEPS = 100_000_000
"""Steps of one trajectory: its horizon times its environments."""
