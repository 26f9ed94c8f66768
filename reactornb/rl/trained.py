"""What a training has led to, in hand: its best policy, and how good a policy is.

    run = Program(PPO(env="CartPole-v1", eval_every=10_000, keep_best=True)).start(seed=1)
    policy = best_policy(run)                            # also while it goes on
    evaluate(policy, "CartPole-v1", episodes=100).mean()

At its end a kept run has that policy in its folder, as `best.safetensors`. Nothing here trains, and nothing of a run is changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reactornb.errors import ReactorError
from reactornb.files import write
from reactornb.model import reaction, shutdown
from reactornb.rl.errors import PolicyNotSavableError
from reactornb.rl.policy_file import pack
from reactornb.rl.rollout import Evaluator
from reactornb.rl.saved_policy import SavedPolicy, load_policy, policy_from_blueprint
from reactornb.rl.saving_policies import blueprint_of, newest, run_of
from reactornb.rl.shared import is_kept
from reactornb.rl.watching import evaluate as play
from reactornb.runtime import Program, Run, live_runs
from reactornb.runtime.workers import current_scheduler

__all__ = ["BEST", "KeepingEvaluator", "best_policy", "evaluate", "policy_of", "write_best"]

BEST = "best.safetensors"
"""The file in a kept run's folder."""


class KeepingEvaluator(Evaluator):
    """An evaluator that writes the best policy into the folder of its run, if that is kept, when the run ends or is stopped."""

    @reaction(shutdown)
    def on_best(self) -> None:
        """Write it; what does not work out is a warning, since the weights are in the run's checkpoints, too."""
        write_best(self)


def write_best(evaluator: Evaluator, agents: tuple[str, ...] = ()) -> None:
    """Write the best policy of an evaluator that keeps it into its run's folder; what does not work out is a warning.

    Args:
        evaluator: whose run ends.
        agents: whose policies there are, if they are several: each is a file of its own, `best-NAME.safetensors`.
    """
    scheduler = current_scheduler()
    if scheduler is None or evaluator.__dict__.get("best") is None or not is_kept():
        return
    run = next((run for run in live_runs() if run._recorder is scheduler.recorder), None)
    if run is None or run.kept is None:
        return
    for agent in agents if len(agents) > 1 else (None,):
        path = run.kept / (BEST if agent is None else f"best-{_for_path(agent)}.safetensors")
        try:
            made = best_policy(run, agent=agent).blueprint
            write(path, pack(made.tensors, made.text))
        except (ReactorError, OSError) as error:
            scheduler.notices.add("best", f"the best policy could not be written to {path}: {error}")


def _for_path(name: str) -> str:
    """A name as part of a file's."""
    return re.sub(r"[^\w.-]", "_", str(name))


def best_policy(run: Run | Program, *, agent: str | None = None) -> SavedPolicy:
    """The policy with the best evaluation of a training so far.

    Args:
        run: of a program with `keep_best=True`; it may go on. Of a kept run, after `resume` or `rewind`, the best up to there.
        agent: of several agents, whose policy; see `save_policy`.

    Raises:
        PolicyNotSavableError: if nothing is kept, or nothing was evaluated yet.
    """
    found = run_of(run)
    judges = [node.name for node in found.program.graph.reactors if issubclass(node.cls, Evaluator)]
    instances: list[Any] = [found.instance(judge) for judge in judges]
    keeping = [judge for judge in instances if judge.keep_best]
    if not keeping:
        raise PolicyNotSavableError(
            f"{found.program.name} does not keep its best weights: give it keep_best=True, and eval_every=10_000 or so.",
            program=found.program.name,
        )
    # Several evaluators of one learner play a part of the episodes each.
    best = max(keeping, key=lambda judge: judge.__dict__.get("best_mean", -np.inf))
    weights = best.__dict__.get("best")
    if weights is None:
        raise PolicyNotSavableError(
            f"{found.program.name} has not evaluated anything yet: the first evaluation comes after {best.eval_every:,} environment steps."
            if best.eval_every
            else f"{found.program.name} has not evaluated anything yet: it does so at its end. Give it eval_every=10_000 or so.",
            program=found.program.name,
        )
    player, _, rollouts = newest(found, None)
    return policy_from_blueprint(blueprint_of(found, player, weights, rollouts, agent))


def evaluate(
    policy: Any, env: Any, episodes: int = 10, seed: int = 0, *, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Play whole episodes with a policy.

    Args:
        policy: a `SavedPolicy`, the file of one, a run or program (its newest weights), or a function from an observation to an action.
        env: a Gymnasium id, a function that makes an environment or a vector environment, or one of these (which stays open).
        episodes: how many.
        seed: of the first reset; the others go on from it.
        rng: sample the actions with it; None: the best ones.

    Returns:
        The episodes' returns, float64 [episodes].

    Raises:
        SpaceError: if the environment's spaces are not the policy's.
        TypeError: for an `rng` with a function, which draws by itself.
    """
    return play(policy_of(policy, rng), env, episodes, seed, rng)


def policy_of(policy: Any, rng: np.random.Generator | None) -> SavedPolicy | Callable[[Any], Any]:
    """What is meant by a policy: a saved one, the file of one, a run or program, or a function.

    Raises:
        TypeError: for anything else, and for an `rng` with a function, which draws by itself.
    """
    if isinstance(policy, (str, Path)):
        return load_policy(policy)
    if isinstance(policy, (Run, Program)):
        run = run_of(policy)
        return policy_from_blueprint(blueprint_of(run, *newest(run, None)))
    if not callable(policy):
        raise TypeError(
            f"a policy is asked for: a saved one, its file, a run, or a function from an observation to an action, not {policy!r:.80}."
        )
    if rng is not None and not hasattr(policy, "sample"):
        raise TypeError("a function has no distribution to sample from: leave rng out.")
    return policy  # type: ignore[no-any-return]
