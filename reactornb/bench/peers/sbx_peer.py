"""SBX 0.28: Stable-Baselines3's algorithms in JAX. Runs in its own environment; its interface is Stable-Baselines3's."""

from __future__ import annotations

from typing import Any

import sb3_peer
from serve import serve
from usage import versions

__all__ = ["offers", "train"]

# It clips no values (its PPO has that part commented out), and its DQN no gradients.
LACKS = {"PPO": "clip_range_vf", "DQN": "max_grad_norm"}


def offers(*, algorithm: str, env: str, settings: dict[str, Any]) -> dict[str, Any]:
    """As Stable-Baselines3's, in JAX, whose compiler sets its threads itself."""
    there = sb3_peer.offers(algorithm=algorithm, env=env, settings=settings)
    lacks = LACKS.get(algorithm, "")
    return {
        **there,
        "threads": False,
        "differs": [f"{lacks} is not in its {algorithm}"] if settings.get(lacks) is not None else [],
        "versions": there["versions"] | versions("sbx-rl", "jax", "jaxlib"),
    }


def train(*, algorithm: str, settings: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """See `sb3_peer.train`."""
    return sb3_peer.train(algorithm=algorithm, settings=settings, without=(LACKS.get(algorithm, ""),), **rest)


if __name__ == "__main__":
    sb3_peer.LIBRARY = "sbx"
    serve(train=train, offers=offers)
