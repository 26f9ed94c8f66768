"""The paper's own figures, for its machine: Kwok, Lohstroh, Lee 2023, arXiv:2312.04704, section 5.

They stand beside ours as a group of their own. Machines and programs differ, so nothing is divided by them but each other.
"""

from __future__ import annotations

__all__ = ["PUBLISHED", "SOURCE", "ratio"]

SOURCE = (
    "Kwok, Lohstroh, Lee, Efficient Parallel Reinforcement Learning Framework using the Reactor Model, arXiv:2312.04704"
)

# Experiment -> system -> group -> figure, in the unit of our chart of that experiment.
PUBLISHED: dict[int, dict[str, dict[str, float]]] = {
    1: {  # ms per round over the sleep, by the number of clients
        "Ray": {"2": 11.7, "4": 13.0, "8": 16.5, "16": 24.3},
        "Lingua Franca": {"2": 4.9, "4": 5.2, "8": 5.2, "16": 7.1},
    },
    2: {  # ms per round over the sleep, by the size of an object
        "Ray": {"10 MB": 24.0, "100 MB": 204.0, "300 MB": 478.0, "500 MB": 869.0},
        "Lingua Franca": {"10 MB": 7.0, "100 MB": 146.0, "300 MB": 307.0, "500 MB": 511.0},
    },
    3: {  # observations per second
        "Ray": {"Blackjack-v1": 5511.0, "CartPole-v1": 3277.0, "Pendulum-v1": 3224.0},
        "Lingua Franca": {"Blackjack-v1": 7466.0, "CartPole-v1": 3814.0, "Pendulum-v1": 3646.0},
    },
    4: {  # observations per second; the paper gives ranges over the three games: 75 to 76, and 860 to 884
        "Ray": {"three games": 75.5},
        "Lingua Franca": {"three games": 872.0},
    },
    5: {  # seconds for 500 rounds
        "Ray": {"K = 500": 137.0, "K = 1000": 149.0, "K = 2000": 192.0},
        "Lingua Franca": {"K = 500": 94.0, "K = 1000": 95.0, "K = 2000": 96.0},
    },
    6: {  # seconds for 100,000 steps of the environment
        "Ray": {"4 agents": 169.5, "10 agents": 917.0},
        "Lingua Franca": {"4 agents": 71.6, "10 agents": 179.1},
    },
}


def ratio(number: int, group: str) -> float | None:
    """How many times as fast Lingua Franca was as Ray, or None where the paper does not say."""
    systems = PUBLISHED.get(number, {})
    group = "three games" if number == 4 else group
    ray, ours = (systems.get(name, {}).get(group) for name in ("Ray", "Lingua Franca"))
    if ray is None or ours is None:
        return None
    return ours / ray if number in (3, 4) else ray / ours  # observations per second, or times
