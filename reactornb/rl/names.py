"""What hyper-parameters, and parameters of the reactors here, were called before: the one table from which old names are answered with new ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

__all__ = ["RENAMED", "renamed_arguments"]

# Those of CleanRL's names that differ from Stable-Baselines3's, which are used here (of SAC's learning rates SBX's).
_CLEANRL = {
    "clip_coef": "clip_range",
    "end_e": "exploration_final_eps",
    "noise_clip": "target_noise_clip",
    "norm_adv": "normalize_advantage",
    "num_envs": "n_envs",
    "num_steps": "n_steps",
    "policy_frequency": "policy_delay",
    "policy_lr": "learning_rate",
    "policy_noise": "target_policy_noise",
    "q_lr": "qf_learning_rate",
    "start_e": "exploration_initial_eps",
    "target_network_frequency": "target_update_interval",
    "train_frequency": "train_freq",
    "update_epochs": "n_epochs",
}

# Those of IMPALA's code, and of Sample Factory's APPO.
_ASYNCHRONOUS = {
    "baseline_cost": "vf_coef",
    "discounting": "gamma",
    "entropy_cost": "ent_coef",
    "vtrace_c": "c_bar",
    "vtrace_rho": "rho_bar",
}

RENAMED: Mapping[str, str] = {
    "anneal_clip": "anneal_clip_range",
    "capacity": "buffer_size",
    "clip": "clip_range",
    "clip_value": "clip_vloss",
    "entropy": "ent_coef",
    "env_id": "env",
    "epochs": "n_epochs",
    "epsilon": "exploration_final_eps",
    "horizon": "n_steps",
    "lam": "gae_lambda",
    "log_deviation": "log_std_init",
    "lr": "learning_rate",
    "make": "env",
    "minibatch_size": "batch_size",
    "n_step": "n_steps",
    "n_workers": "n_actors",
    "normalize_advantages": "normalize_advantage",
    "optimizer": "optimizer_class",
    "rms_alpha": "rms_prop_alpha",
    "rms_eps": "rms_prop_eps",
    "rollouts": "n_rollouts",
    "rounds": "total_timesteps (steps of all environments together, instead of rounds)",
    "steps": "total_timesteps",
    "target_every": "target_update_interval (in environment steps, instead of updates)",
    "total_steps": "total_timesteps",
    "updates": "gradient_steps",
    "value": "vf_coef",
    "workers": "n_actors",
    **_ASYNCHRONOUS,
    **{theirs: f"{ours} (as in Stable-Baselines3)" for theirs, ours in _CLEANRL.items()},
}
"""Old names of hyper-parameters and of parameters of the reactors here -> new ones; a remark in parentheses where the unit is another.

Who uses an old one, in Python, in a notebook or on a command line, gets an error with the new one."""


def renamed_arguments[**P, R](**new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function whose arguments got other names: `@renamed_arguments(lam="gae_lambda")` answers an old one with a TypeError that says so."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **options: P.kwargs) -> R:
            for name in options:
                if name in new:
                    raise TypeError(f"{function.__name__}() has no argument {name!r}. It is called {new[name]!r} now.")
            return function(*args, **options)

        return call

    return decorate
