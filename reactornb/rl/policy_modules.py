"""The networks of saved policies that are torch's: made as a blueprint describes them, with its weights. Nothing here knows of runs or files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from reactornb.rl.bodies import actor_critic, q_network
from reactornb.rl.continuous_networks import ActorAndCritics
from reactornb.rl.policies import own_draws
from reactornb.rl.policy_file import ContainerError
from reactornb.rl.recurrent_networks import RecurrentActorCritic

__all__ = ["loaded_module"]


def loaded_module(blueprint: Any, saved: Mapping[str, np.ndarray], left_out: tuple[str, ...]) -> torch.nn.Module:
    """A module that computes what the policy chooses by.

    Args:
        blueprint: a `Blueprint` of a network on frames, of several parts, of the user's own, or that remembers.
        saved: its weights, by the names of the module's parameters.
        left_out: how the names of parameters begin that no action depends on; they are 0.

    Raises:
        ContainerError: if the weights are those of another network, as where a function makes another one than in training.
    """
    with own_draws(0):
        network = _empty(blueprint)
    here = {name: parameter for name, parameter in network.named_parameters() if not name.startswith(left_out)}
    wrong = sorted(
        name
        for name in here.keys() | saved.keys()
        if name not in here or name not in saved or tuple(here[name].shape) != saved[name].shape
    )
    if wrong:
        raise ContainerError(f"its weights are of another network: {', '.join(wrong)[:120]}")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in here:
                parameter.copy_(torch.tensor(saved[name]))
            else:
                parameter.zero_()
    return network


def _empty(blueprint: Any) -> torch.nn.Module:
    """One without weights."""
    spec, network, make = blueprint.spec, blueprint.network, blueprint.make
    hidden = tuple(network.get("hidden", ()))
    if blueprint.remembers:
        return RecurrentActorCritic(spec, network["size"], hidden, True, None, network=make)
    if network["head"] == "bounded":
        outputs = blueprint.outputs // blueprint.action.size
        return ActorAndCritics(spec, (), None, outputs=outputs, critics=0, network=make)
    if network["head"] == "actor":
        return actor_critic(spec, hidden, None, network=make)
    return q_network(spec, hidden, network["head"] == "duelling", None, make)
