"""`save_policy`: the policy that a run has learnt, as a file.

    run = Program(PPO(env="CartPole-v1")).start(seed=1)
    save_policy(run, "p.safetensors")                   # also while it goes on: the newest weights that the learner has published

What plays is asked what it plays with: the policy of a `Rollout` or an `Evaluator`, the spaces of its environments, and the weights that were sent to it.
So programs of one's own that are built of these reactors can be saved, too.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from reactornb.files import write
from reactornb.rl.action_mask import MaskedForward
from reactornb.rl.bounded import NoisyPolicy, SquashedGaussianPolicy
from reactornb.rl.checks import name_of
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import PolicyNotSavableError
from reactornb.rl.normalization import normalization_of
from reactornb.rl.policies import (
    CategoricalPolicy,
    EpsilonGreedyPolicy,
    GaussianPolicy,
    Mlp,
    MultiCategoricalPolicy,
    TorchForward,
)
from reactornb.rl.policy_blueprint import NO_ACTOR, Blueprint
from reactornb.rl.policy_file import ContainerError, pack
from reactornb.rl.policy_reading import check_blueprint
from reactornb.rl.policy_spaces import Space, space_from_gymnasium
from reactornb.rl.rollout import Evaluator, Rollout
from reactornb.rl.statistics import NormalForward, parts
from reactornb.runtime import Program, Run

__all__ = ["blueprint_of", "newest", "run_of", "save_policy"]


def save_policy(run: Run | Program, path: str | Path, *, reactor: str | None = None, agent: str | None = None) -> Path:
    """Write the policy that a run has learnt: network, spaces, normalisation, how it chooses, where it comes from.

    Args:
        run: a run, or a program, of which the last one counts. While it goes on, the newest weights that its learner has published are taken.
        path: the file; `.safetensors` is what others expect.
        reactor: name of the `Rollout` or `Evaluator` whose policy is meant; needed only where several learners teach different ones.
        agent: of a program with several agents, whose policy is meant: its name, or its group's; needed only where they choose differently.

    Returns:
        The path. The same run at the same tag gives the same bytes.

    Raises:
        PolicyNotSavableError: if there is no policy, no weights yet, or a network that a file cannot describe.
        UnknownNameError: if there is no such reactor.
        FileError: if the file cannot be written.
    """
    run = run_of(run)
    player, weights, rollouts = newest(run, reactor)
    made = blueprint_of(run, player, weights, rollouts, agent)
    return write(path, pack(made.tensors, made.text))


def run_of(run: Any) -> Run:
    """The run that is meant: a program's last one.

    Raises:
        PolicyNotSavableError: if there is none.
    """
    if isinstance(run, Program):
        found = run.last_run
        if found is None:
            raise PolicyNotSavableError(
                f"{run.name} has not been started: there is no run to take a policy of.", program=run.name
            )
        return found
    if not isinstance(run, Run):
        raise PolicyNotSavableError(
            f"a policy is taken from a run or a program, not {type(run).__name__}: a result has metrics and no weights. Keep the program: program = Program(…); "
            f"program.run(seed=1); save_policy(program, path). A run on disk is brought back first: rewind(name, tag)."
        )
    return run


def newest(run: Run, reactor: str | None) -> tuple[Any, np.ndarray, list[Any]]:
    """Who plays, the weights that were published last, and the rollouts that the same learner teaches; see `save_policy`."""
    player, channels = _player(run, reactor)
    return player, _newest(run, player, channels), _others(run, channels)


def _player(run: Run, name: str | None) -> tuple[Any, list[int]]:
    """Who plays with the weights, and the channels on which the learner sends them."""
    graph = run.program.graph
    chosen = None if name is None else run.instance(name)
    players = [
        node.index
        for node in graph.reactors
        if issubclass(node.cls, (Rollout, Evaluator)) and (chosen is None or node.name == chosen.full_name)
    ]
    if not players:
        who = f"{run.program.name} has no reactor" if name is None else f"{name} is no reactor"
        raise PolicyNotSavableError(
            f"{who} that plays with what a learner sends: no Rollout, no Evaluator. There is no policy to save.",
            program=run.program.name,
        )
    teachers: dict[int, set[int]] = {}
    first: dict[int, int] = {}
    for index in players:
        for channel in _sources(graph, index):
            teacher = graph.ports[channel].reactor
            teachers.setdefault(teacher, set()).add(channel)
            first.setdefault(teacher, index)
    if len(teachers) > 1:
        words = ", ".join(graph.reactors[first[teacher]].name for teacher in teachers)
        raise PolicyNotSavableError(
            f"{run.program.name} has {len(teachers)} learners: say whose policy is meant, reactor= one of {words}.",
            program=run.program.name,
        )
    if not teachers:
        raise PolicyNotSavableError(
            f"nobody sends weights to {graph.reactors[players[0]].name}: there is no policy to save.",
            program=run.program.name, reactor=graph.reactors[players[0]].name,
        )  # fmt: skip
    # A rollout rather than an evaluator: it knows how often it acts at random.
    players.sort(key=lambda index: not issubclass(graph.reactors[index].cls, Rollout))
    player = run.instance(graph.reactors[players[0]].name)
    if getattr(player, "actor", None) is None:
        raise PolicyNotSavableError(
            f"{player.full_name} has not begun: there is no policy yet.",
            program=run.program.name,
            reactor=player.full_name,
        )
    (channels,) = teachers.values()
    return player, sorted(channels)


def _sources(graph: Any, player: int) -> Iterable[int]:
    """The channels, written by a reaction, that lead to a player's `weights` or `final`."""
    into: dict[int, list[int]] = {}
    for edge in graph.edges:
        into.setdefault(edge.destination, []).append(edge.source)
    found: list[int] = []
    stack = [port.index for port in graph.ports if port.reactor == player and _last(port.name) in ("weights", "final")]
    seen = set(stack)
    while stack:
        channel = stack.pop()
        before = [c for c in into.get(channel, ()) if c not in seen]
        if channel not in into and graph.ports[channel].reactor != player:
            found.append(channel)
        seen.update(before)
        stack += before
    return sorted(found)


def _last(name: str) -> str:
    """The name of a port in its reactor, without its channel."""
    return name.rpartition(".")[2].partition("[")[0]


def _newest(run: Run, player: Any, channels: list[int]) -> np.ndarray:
    """The weights that were published last, float32 [P].

    # A port keeps what was set last, an array that nobody changes any more, in one slot: written by the worker that runs the learner, read
    # here by any thread. Whichever of two arrays is found, it is one that was published whole.
    """
    graph, writers = run.program.graph, run._engine.schedule.writers
    teacher = graph.ports[channels[0]].reactor
    run.instance(graph.reactors[teacher].name)  # raises if what it did depends on how many workers there were
    last = [p.index for p in graph.ports if p.reactor == teacher and _last(p.name) == "final" and p.index in writers]
    for group in (last, channels):
        values = [writers[c].value for c in group if c in writers and writers[c].value is not None]
        # A3C numbers its weights: (version, weights) for each actor.
        values.sort(key=lambda value: value[0] if isinstance(value, tuple) else 0)
        if values:
            newest = values[-1][1] if isinstance(values[-1], tuple) else values[-1]
            return np.asarray(newest, np.float32)
    raise PolicyNotSavableError(
        f"{graph.reactors[teacher].name} has not published any weights yet.",
        program=run.program.name,
        reactor=player.full_name,
    )


def _others(run: Run, channels: list[int]) -> list[Any]:
    """All rollouts that the same learner teaches: each has seen observations of its own."""
    graph = run.program.graph
    return [
        run.instance(node.name)
        for node in graph.reactors
        if issubclass(node.cls, Rollout) and set(_sources(graph, node.index)) & set(channels)
    ]


# -- the blueprint ---------------------------------------------------------------------------------------------------------


def blueprint_of(
    run: Run, player: Any, weights: np.ndarray, rollouts: list[Any], agent: str | None = None
) -> Blueprint:
    """A policy as data; the arguments are what `newest` gives, and of several agents the name of one.

    Raises:
        PolicyNotSavableError: if it is none that a file can describe.
    """
    if hasattr(player, "one_agent"):
        player, weights = player.one_agent(agent, weights)
        rollouts = []
    elif agent is not None:
        raise PolicyNotSavableError(
            f"{player.full_name} plays for one agent alone: leave agent={agent!r} out.",
            program=run.program.name,
            reactor=player.full_name,
        )
    envs, actor = player.envs, player.actor
    spec = envs.spec
    env = _first(envs)
    tensors: dict[str, np.ndarray] = {}
    observed = getattr(env, "single_observation_space", None) or env.observation_space
    inner, statistics, epsilon = normalization_of(
        [e for r in (rollouts or [player]) for e in _all(r.envs)], player.full_name
    )
    if statistics:
        tensors |= statistics
        observed = inner
    forward: Any = getattr(actor, "_forward", None)
    clip = None
    if type(forward) is NormalForward:  # statistics of the learner's, at the end of its weights
        weights, mean, deviation = parts(weights, spec.observation_shape)
        tensors |= {"offset": mean.ravel().copy(), "span": deviation.ravel().copy()}
        forward, clip = forward.forward, float(forward.clip)
    if type(forward) is MaskedForward:
        forward = forward.forward
    network = _network(actor, forward, spec, weights, tensors, player.full_name)
    if spec.mask is not None:
        network["mask"] = spec.mask.begin
    choice: dict[str, Any] = {"kind": "categorical"}
    if isinstance(actor, MultiCategoricalPolicy):
        choice = {"kind": "multi_categorical"}
    elif isinstance(actor, GaussianPolicy):
        choice = {"kind": "gaussian"}
        tensors["log_std"] = weights[actor._at].copy()
    elif isinstance(actor, SquashedGaussianPolicy):
        choice = {"kind": "squashed_gaussian"}
    elif isinstance(actor, NoisyPolicy):
        choice = {
            "kind": "noisy",
            "noise": list(actor.noise) if isinstance(actor.noise, Sequence) else float(actor.noise),
        }
    elif isinstance(actor, EpsilonGreedyPolicy):
        choice = {"kind": "epsilon_greedy", "epsilon": float(actor.epsilon)}
    if clip is not None:
        network["clip"] = clip
    elif spec.scaling is not None and network["kind"] != "table":
        tensors["offset"], tensors["span"] = (np.array(a, np.float32) for a in spec.scaling)
    encoded = space_from_gymnasium(observed, (spec.observation_shape, spec.observation_dtype))
    if (encoded.encoded_shape, encoded.encoded_dtype) != (
        spec.observation_shape,
        spec.observation_dtype,
    ) and not statistics:
        encoded = Space("Encoded", spec.observation_shape, spec.observation_dtype.name)
    acted = getattr(env, "single_action_space", None) or env.action_space
    action = (
        space_from_gymnasium(acted)
        if spec.n_actions is None
        else Space("Discrete", (), "int64", (spec.action_start,), (spec.n_actions,))
    )
    make = _body(forward._module).make if "made_by" in network else None
    described = Blueprint(encoded, action, network, choice, tensors, epsilon, _about(run, player, env), make)
    try:
        check_blueprint(described)
    except ContainerError as error:
        raise PolicyNotSavableError(
            f"the policy of {player.full_name} is none that a file can describe: {error}.",
            program=run.program.name,
            reactor=player.full_name,
        ) from error
    return described


def _network(
    actor: Any, forward: Any, spec: EnvSpec, weights: np.ndarray, tensors: dict[str, np.ndarray], name: str
) -> dict[str, Any]:
    """The description of a policy's network; its weights are added to the arrays."""
    known = (
        CategoricalPolicy,
        EpsilonGreedyPolicy,
        GaussianPolicy,
        MultiCategoricalPolicy,
        NoisyPolicy,
        SquashedGaussianPolicy,
    )
    if type(actor) not in known:
        raise _foreign(f"a {type(actor).__name__}", name)
    if type(forward) is Mlp:
        at = forward.offset
        for i, (n, m) in enumerate(pairwise(forward.sizes)):
            tensors[f"layers.{i}.weight"] = weights[at : at + n * m].reshape(m, n).copy()
            tensors[f"layers.{i}.bias"] = weights[at + n * m : at + n * m + m].copy()
            at += n * m + m
        return {"kind": "mlp", "sizes": list(forward.sizes), "activation": "relu" if forward._relu else "tanh"}
    if type(forward).__name__ == "Table" and hasattr(forward, "_strides"):
        strides = np.ravel(forward._strides).astype(np.float32)
        table = weights.reshape(-1, actor._n_actions)
        tensors |= {"table": table.copy(), "strides": strides}
        return {"kind": "table", "states": len(table)}
    if type(forward).__name__ == "RecurrentForward":
        return _recurrent_network(forward._module, weights, tensors)
    if type(forward) is TorchForward:
        return _torch_network(forward, spec, weights, tensors, name)
    raise _foreign(f"a {type(forward).__name__}", name)


def _recurrent_network(module: Any, weights: np.ndarray, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Of a `RecurrentActorCritic`: the policy's part."""
    from torch import nn

    from reactornb.rl.bodies import Body

    at = 0
    for part, parameter in module.named_parameters():
        count = parameter.numel()
        own = weights[at : at + count].reshape(tuple(parameter.shape))
        if part.startswith("lstm."):
            own = own[:1]  # the other one is the value function's
        if not part.startswith(("critic.", "log_std")):
            tensors[part] = own.copy()
        at += count
    hidden = [layer.out_features for layer in module.actor if isinstance(layer, nn.Linear)][:-1]
    network: dict[str, Any] = {"kind": "recurrent", "size": module.lstm.size, "hidden": hidden}
    if type(module.features) is Body:
        network["made_by"] = _named(module.features.make)
    return network


def _torch_network(
    forward: TorchForward, spec: EnvSpec, weights: np.ndarray, tensors: dict[str, np.ndarray], name: str
) -> dict[str, Any]:
    from torch import nn

    from reactornb.rl.bodies import Body
    from reactornb.rl.continuous_networks import ActorAndCritics
    from reactornb.rl.layers import has_frames, is_image
    from reactornb.rl.networks import ActorCritic, QNetwork

    module: Any = forward._module
    is_bounded = isinstance(module, ActorAndCritics)
    if type(module) not in (ActorCritic, QNetwork) and not is_bounded:
        raise _foreign(f"a network of its own, {type(module).__name__}", name)
    at = 0
    for part, parameter in module.named_parameters():
        count = parameter.numel()
        if not part.startswith(NO_ACTOR):
            tensors[part] = weights[at : at + count].reshape(tuple(parameter.shape)).copy()
        at += count
    own = _body(module)
    is_own = type(own) is Body
    if at != len(weights) or not (is_own or (has_frames(spec) and not is_bounded)):
        raise _foreign(f"a network of {at} weights, of which it was sent {len(weights)}", name)
    is_actor = type(module) is ActorCritic
    if is_actor or is_bounded:
        head = "actor" if is_actor else "bounded"
    else:
        head = "values" if module.value is None else "duelling"
    if is_own:
        return {"kind": "own", "head": head, "made_by": _named(own.make)}
    if is_image(spec):
        return {"kind": "frames", "head": head}
    layers = [layer for layer in (module.actor if is_actor else module.body) if isinstance(layer, nn.Linear)]
    hidden = [layer.out_features for layer in (layers[:-1] if is_actor else layers)]
    return {"kind": "parts", "head": head, "hidden": hidden}


def _body(module: Any) -> Any:
    """What of an `ActorCritic`, a `QNetwork` or an `ActorAndCritics` comes before its last layers."""
    if hasattr(module, "critics"):
        return module.actor[0]
    return getattr(module, "features", None) or module.body


def _foreign(what: str, name: str) -> PolicyNotSavableError:
    return PolicyNotSavableError(
        f"{name} plays with {what}, which a file cannot describe: saved are perceptrons (policies.Mlp), tables, and the networks that reactornb.rl makes for "
        f"frames, in a CategoricalPolicy, MultiCategoricalPolicy, GaussianPolicy, SquashedGaussianPolicy, NoisyPolicy or EpsilonGreedyPolicy. Save its weights yourself: they are what the learner sends, "
        f"in the order of its module's parameters.",
        reactor=name,
    )


def _first(envs: Any) -> Any:
    return _all(envs)[0]


def _all(envs: Any) -> list[Any]:
    """A rollout's environments, or its vector environment."""
    return list(envs.envs) if isinstance(getattr(envs, "envs", None), list) else [envs.env]


# -- where it comes from ---------------------------------------------------------------------------------------------------


def _about(run: Run, player: Any, env: Any) -> dict[str, Any]:
    """Program, hyper-parameters, run, versions, metrics; plain data, the same whenever it is saved."""
    root = run.program.root
    config = getattr(root, "settings", None)
    chosen: dict[str, Any]
    if dataclasses.is_dataclass(config):
        chosen = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    else:
        chosen = dict(run.program.graph.reactors[0].parameters)
    facts = {name: value for name, value in run.environment.items() if name not in ("hash_seed", "gil")}
    metrics = run.metrics
    steps = metrics["steps"].values.sum() if "steps" in metrics else None
    return {
        "env": _named(player.env),
        "env_id": getattr(getattr(env, "spec", None), "id", None),
        "program": {
            "class": type(root).__qualname__,
            "module": type(root).__module__,
            "hyper_parameters": _plain(chosen),
        },
        "run": {
            "seed": run.seed,
            "state": run.state,
            "tag": [run.tag.time_ns, run.tag.microstep],
            "fingerprint": run.fingerprint,
            "steps": None if steps is None else int(steps),
            "changes": [
                {"tag": [c.tag.time_ns, c.tag.microstep], "path": c.path, "new": _plain(c.new)} for c in run.changes
            ],
        },
        "versions": facts,
        "metrics": {
            name: {
                "last": _plain(float(m[-1])),
                "mean_of_last_100": _plain(float(np.mean(m.values[-100:]))),
                "values": len(m),
            }
            for name, m in metrics.items()
        },
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it; in words where it has none."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return _named(value) if callable(value) else f"a {type(value).__name__}"


def _named(value: Any) -> str:
    """What messages call a function or an environment, without the folders of this machine: a policy's file is given to others."""
    return re.sub(r"[^\s(]*[/\\](?=[^/\\\s]+\.(py|ipynb)\b)", "", name_of(value))
