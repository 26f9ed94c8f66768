"""Hyper-parameters by the names of Stable-Baselines3 and CleanRL, given in every way; each old name is answered with the new one."""

import dataclasses
import re
import subprocess
import sys

import pytest
import torch

from reactornb import Program
from reactornb.errors import DeclarationError, UnknownNameError
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DDPG,
    DQN,
    IMPALA,
    PPO,
    SAC,
    TD3,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    DDPGConfig,
    DQNConfig,
    Evaluator,
    Experiment5,
    IMPALAConfig,
    Learner,
    MultiAgent,
    PPOConfig,
    QLearning,
    QLearningConfig,
    RecurrentPPO,
    RecurrentPPOConfig,
    ReplayBuffer,
    Rollout,
    SACConfig,
    TD3Config,
    spec_of,
)
from reactornb.rl.__main__ import main
from reactornb.rl.a3c import SharedWeights
from reactornb.rl.errors import ConfigError
from reactornb.rl.losses import gae
from reactornb.rl.marl import World
from reactornb.rl.names import RENAMED

PROGRAMS = {
    A2C: A2CConfig, A3C: A3CConfig, APPO: APPOConfig, DQN: DQNConfig, IMPALA: IMPALAConfig, PPO: PPOConfig, QLearning: QLearningConfig,
    SAC: SACConfig, TD3: TD3Config, DDPG: DDPGConfig, RecurrentPPO: RecurrentPPOConfig,
}  # fmt: skip
REACTORS = (*PROGRAMS, Evaluator, Experiment5, Learner, MultiAgent, ReplayBuffer, Rollout, SharedWeights, World)


def _new(renamed, old):
    return renamed[old].partition(" ")[0]


def _pairs(holders, names_of, renamed_of):
    """(holder, old name, new name) for every old name whose new one the holder has."""
    return [
        (holder, old, _new(renamed_of(holder), old))
        for holder in holders
        for old in renamed_of(holder)
        if _new(renamed_of(holder), old) in names_of(holder) and old not in names_of(holder)
    ]


OLD_FIELDS = _pairs(PROGRAMS.values(), lambda c: c.names(), lambda c: c.renamed)
OLD_PARAMETERS = _pairs(REACTORS, lambda c: c._spec.parameters, lambda c: c._renamed)


def test_the_table_has_no_dead_entry():
    used = {old for _, old, _ in OLD_FIELDS} | {old for _, old, _ in OLD_PARAMETERS}
    assert used - {"alpha"} == set(RENAMED)  # which is a name of today, but for SAC


@pytest.mark.parametrize(("config", "old", "new"), OLD_FIELDS, ids=lambda v: getattr(v, "__name__", v))
def test_an_old_name_of_a_field_is_answered_with_the_new_one(config, old, new):
    said = rf"{config.__name__} has no '{old}': It is called '{new}' now"
    with pytest.raises(ConfigError, match=rf"test_names\.py, line \d+: {said}") as caught:
        config(**{old: 1})
    assert caught.value.fields == (old,)
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(config(), **{old: 1})
    if old not in {"rounds", "target_every"}:  # which are derived
        with pytest.raises(AttributeError, match=f"has no attribute '{old}'. It is called '{new}' now"):
            getattr(config(), old)


@pytest.mark.parametrize(("reactor", "old", "new"), OLD_PARAMETERS, ids=lambda v: getattr(v, "__name__", v))
def test_an_old_name_of_a_parameter_is_answered_with_the_new_one(reactor, old, new):
    with pytest.raises(UnknownNameError, match=rf"has no parameter '{old}'\. It is called '{new}' now"):
        reactor(**{old: 1})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spec_of(env_id="CartPole-v1"), r"spec_of\(\) has no argument 'env_id'. It is called 'env' now"),
        (
            lambda: PPOConfig.for_env(env_id="CartPole-v1"),
            r"for_env\(\) has no argument 'env_id'. It is called 'env' now",
        ),
        (lambda: gae(0, 0, 0, 0, 0, gamma=1, lam=1), r"gae\(\) has no argument 'lam'. It is called 'gae_lambda' now"),
    ],
)
def test_an_old_name_of_an_argument_is_answered_with_the_new_one(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: DQNConfig(target_every=50),
            r"'target_update_interval' now \(in environment steps, instead of updates\)",
        ),
        (
            lambda: QLearningConfig(rounds=12),
            r"'total_timesteps' now \(steps of all environments together, instead of rounds\)",
        ),
        (lambda: DQNConfig(horizon=5), "'train_freq' now"),
        (lambda: PPOConfig(horizon=5), "'n_steps' now"),
        (lambda: PPOConfig(learning_rat=5), "Did you mean 'learning_rate'"),
        (lambda: PPOConfig(lr=1, epochs=2), "'learning_rate' now.*'n_epochs' now"),
    ],
)
def test_what_else_changed_with_a_name_is_said(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_an_old_name_in_a_path_and_as_a_trigger_is_answered_with_the_new_one():
    run = Program(PPO(total_timesteps=10**6, hidden=(8,))).start(workers=1, seed=1)
    try:
        with pytest.raises(UnknownNameError, match=r"has no parameter 'lr'\. It is called 'learning_rate' now"):
            run.set("learner.lr", 1e-4)
        assert run.set("learner.learning_rate", 1e-4) == ["ppo.learner.learning_rate"]
    finally:
        run.stop()


# -- given to the program ------------------------------------------------------------------------------------------------


def test_a_program_takes_each_hyper_parameter_beside_or_instead_of_a_configuration():
    preset = PPOConfig.for_env("CartPole-v1")
    assert PPO().settings == preset
    assert PPO(learning_rate=3e-3).settings == dataclasses.replace(preset, learning_rate=3e-3)
    assert PPO(env="Acrobot-v1", n_envs=1).settings == dataclasses.replace(PPOConfig.for_env("Acrobot-v1"), n_envs=1)
    config = PPOConfig(n_steps=7, max_grad_norm=None)
    assert PPO(config=config).settings == config
    assert PPO(config=config, gae_lambda=0.5).settings == dataclasses.replace(config, gae_lambda=0.5)
    assert A2C(max_grad_norm=None).settings.max_grad_norm is None
    for program, kind in PROGRAMS.items():
        assert set(kind.names()) < set(program._spec.parameters)


def test_what_a_program_is_given_reaches_its_reactors():
    graph = Program(PPO, learning_rate=3e-3, n_rollouts=3, n_envs=1, n_steps=5, max_grad_norm=0.25).graph
    parameters = {reactor.name: reactor.parameters for reactor in graph.reactors}
    assert parameters["ppo.learner"]["learning_rate"] == 3e-3
    assert parameters["ppo.learner"]["max_grad_norm"] == 0.25
    assert [parameters[f"ppo.rollouts[{i}]"]["n_steps"] for i in range(3)] == [5, 5, 5]
    graph = Program(DQN, buffer_size=99, train_freq=3, gradient_steps=2, exploration_initial_eps=0.5).graph
    parameters = {reactor.name: reactor.parameters for reactor in graph.reactors}
    assert (parameters["dqn.replay"]["buffer_size"], parameters["dqn.replay"]["gradient_steps"]) == (99, 2)
    assert parameters["dqn.rollouts[0]"]["n_steps"] == 3
    graph = Program(A3C, n_actors=3).graph
    assert [r.name for r in graph.reactors if r.label.startswith("actors")] == [f"a3c.actors[{i}]" for i in range(3)]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: PPO(learning_rate="fast"), DeclarationError, "takes learning_rate as a float, not 'fast'"),
        (lambda: PPO(n_envs=2.5), DeclarationError, "takes n_envs as an int"),
        (lambda: PPO(n_envs=0), ConfigError, "n_envs=0 must be a whole number of at least 1"),
        (lambda: DQN(gamma=2), ConfigError, "gamma=2 must be"),
        (lambda: DQN(learning_starts=10**9), ConfigError, "there would be no update"),
        (lambda: A3C(delays=(1, 2), n_actors=3), ConfigError, "2 delays for 3 actors"),
        (lambda: PPO(learning_rat=1), UnknownNameError, "Did you mean 'learning_rate'"),
    ],
)
def test_a_hyper_parameter_that_does_not_fit_is_refused_at_assembly(make, error, words):
    with pytest.raises(error, match=words):
        Program(make())


def test_the_same_hyper_parameters_give_the_same_run_however_they_are_given():
    small = {"total_timesteps": 200, "n_steps": 10, "hidden": (8,), "eval_episodes": 0, "learning_rate": 1e-2}
    preset = PPOConfig.for_env("CartPole-v1")
    first = Program(PPO(config=dataclasses.replace(preset, **small))).run(workers=1, seed=1, fingerprint=True)
    second = Program(PPO, **small).run(workers=2, seed=1, fingerprint=True)
    assert first.fingerprint == second.fingerprint
    other = Program(PPO, **{**small, "learning_rate": 1e-3}).run(workers=1, seed=1, fingerprint=True)
    assert other.fingerprint != first.fingerprint


# -- the command lines ---------------------------------------------------------------------------------------------------


def test_the_module_s_command_line_takes_new_names_and_answers_old_ones(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["ppo", "CartPole-v1", "lr=1e-3"])
    assert caught.value.code == 2
    assert "PPO has no 'lr'. It is called 'learning_rate' now." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["dqn", "CartPole-v1", "horizon=3"])
    assert "It is called 'train_freq' now." in capsys.readouterr().err


@pytest.mark.slow
def test_reactornb_run_gives_hyper_parameters_to_a_program_of_a_file(tmp_path):
    file = tmp_path / "train.py"
    file.write_text("from reactornb.rl import PPO\n\n\nclass Train(PPO):\n    pass\n")
    command = [
        sys.executable,
        "-m",
        "reactornb",
        "run",
        str(file),
        "total_timesteps=200",
        "n_steps=10",
        "hidden=(8,)",
        "eval_episodes=0",
    ]
    prints = [
        subprocess.run(
            [*command, *more, "--fingerprint", "-w", "1"], capture_output=True, text=True, timeout=120, check=False
        )
        for more in (["learning_rate=1e-2"], ["learning_rate=1e-2"], ["learning_rate=1e-3"])
    ]
    found = [re.search(r"[0-9a-f]{32,}", done.stdout + done.stderr) for done in prints]
    assert all(found), prints
    assert found[0][0] == found[1][0] != found[2][0]
    refused = subprocess.run([*command, "lr=1e-3"], capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode != 0
    assert "It is called 'learning_rate' now" in refused.stderr


SHELL = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for line in (
    "%load_ext reactornb",
    "from reactornb.rl import DQN, PPO",
    "run = %reactor start PPO env=CartPole-v1 learning_rate=1e-2 hidden=(8,) total_timesteps=200 n_steps=10 eval_episodes=0 --seed 1",
    "result = run.result()",
    "print('rate', run.instance('learner').learning_rate, 'rounds', run.instance('learner').round)",
    "%reactor start PPO lr=1e-2",
    "%reactor start DQN horizon=3",
    "print(*get_ipython().complete('%reactor start PPO gae')[1])",
):
    shell.run_cell(line)
"""


@pytest.mark.slow
def test_reactor_start_takes_hyper_parameters_completes_them_and_answers_old_names():
    done = subprocess.run([sys.executable, "-c", SHELL], capture_output=True, text=True, timeout=150, check=False)
    said = done.stdout + done.stderr
    assert "rate 0.01 rounds 2" in said, said
    assert "PPO has no parameter 'lr'. It is called 'learning_rate' now." in said
    assert "DQN has no parameter 'horizon'. It is called 'train_freq' now." in said
    assert "gae_lambda=" in said


# -- what the defaults are -------------------------------------------------------------------------------------------------

CLEANRL_PPO = {  # cleanrl/ppo.py, Args
    "total_timesteps": 500_000, "learning_rate": 2.5e-4, "n_steps": 128, "anneal_lr": True, "gamma": 0.99, "gae_lambda": 0.95,
    "n_epochs": 4, "normalize_advantage": True, "clip_range": 0.2, "clip_vloss": True, "ent_coef": 0.01, "vf_coef": 0.5, "max_grad_norm": 0.5,
}  # fmt: skip
CLEANRL_DQN = {  # cleanrl/dqn.py, Args
    "total_timesteps": 500_000, "learning_rate": 2.5e-4, "buffer_size": 10_000, "gamma": 0.99, "tau": 1.0, "target_update_interval": 500,
    "batch_size": 128, "exploration_initial_eps": 1.0, "exploration_final_eps": 0.05, "exploration_fraction": 0.5,
    "learning_starts": 10_000, "max_grad_norm": None, "huber": False, "hidden": (120, 84),
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "theirs"), [(PPOConfig(), CLEANRL_PPO), (DQNConfig(), CLEANRL_DQN)], ids=["ppo", "dqn"]
)
def test_the_defaults_are_cleanrl_s(config, theirs):
    assert {name: getattr(config, name) for name in theirs} == theirs
    if isinstance(config, PPOConfig):
        assert (config.n_rollouts * config.n_envs, config.batch_size) == (4, 4 * 128 // 4)
    else:
        assert (config.steps_per_round, config.gradient_steps) == (10, 1)  # train_frequency
        assert config.target_every == 50  # updates: 500 steps


@pytest.mark.parametrize("clip_vloss", [True, False])
@pytest.mark.parametrize("vf_coef", [0.0, 0.5, 1.0])
def test_the_value_loss_weighs_as_in_cleanrl(clip_vloss, vf_coef):
    from reactornb.rl.ppo import Minibatch, PPOAlgorithm

    spec = spec_of("CartPole-v1")
    config = PPOConfig(ent_coef=0.0, vf_coef=vf_coef, clip_vloss=clip_vloss, hidden=(8,), normalize_advantage=False)
    algorithm = PPOAlgorithm(spec, config, torch.Generator().manual_seed(1), torch.device("cpu"))
    draw = torch.Generator().manual_seed(2)
    observations = torch.randn(16, 4, generator=draw)
    actions = torch.randint(2, (16,), generator=draw)
    with torch.no_grad():
        log_probs, _, values = algorithm.network.evaluate(observations, actions)
    returns = torch.randn(16, generator=draw)
    nothing = torch.zeros(16)
    loss, metrics = algorithm.loss(Minibatch(observations, actions, log_probs, nothing, values, returns, 0.2))
    mean_squared_error = ((values - returns) ** 2).mean()
    assert metrics["value_loss"].item() == pytest.approx(0.5 * float(mean_squared_error), rel=1e-5)
    assert loss.item() == pytest.approx(vf_coef * 0.5 * float(mean_squared_error), rel=1e-5, abs=1e-7)


def test_presets_of_the_zoo_weigh_the_value_loss_as_stable_baselines3_does():
    # Its value loss is the whole mean squared error, and its vf_coef 0.5.
    assert PPOConfig.for_env("CartPole-v1").vf_coef == PPOConfig.for_env("Pendulum-v1").vf_coef == 1.0


@pytest.mark.parametrize(
    ("interval", "gradient_steps", "train_freq", "every"),
    [(500, 1, 5, 50), (1, 16, 10, 1), (40, 4, 10, 8), (7, 1, 5, 1)],
)
def test_the_target_network_follows_after_environment_steps(interval, gradient_steps, train_freq, every):
    config = DQNConfig(target_update_interval=interval, gradient_steps=gradient_steps, train_freq=train_freq)
    assert config.target_every == every
