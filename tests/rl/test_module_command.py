"""`python -m reactornb.rl` takes the options of every run, and answers as the other command lines do."""

import re

import pytest

from reactornb.rl.__main__ import main

SMALL = ["total_timesteps=40", "n_steps=10", "hidden=(8,)", "eval_episodes=0"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ppo CartPole-v1 --timeout 3s", "it is called --until now"),
        ("dqn CartPole-v1 --until 3", "'3' is not a duration; write 10s"),
        ("a2c CartPole-v1 --workers 0", "workers must be a whole number of at least 1"),
        ("ppo env_id=CartPole-v1", "PPO has no 'env_id'. It is called 'env' now."),
        ("a3c n_workers=3", "A3C has no 'n_workers'. It is called 'n_actors' now."),
        ("dqn CartPole-v1 train_frequency=3", "It is called 'train_freq' now"),
    ],
)
def test_old_names_and_bare_numbers_are_answered(line, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_the_environment_may_be_left_out_and_the_options_are_those_of_every_run(capsys):
    prints = []
    for line in (["ppo", *SMALL], ["ppo", "env=CartPole-v1", *SMALL], ["ppo", "CartPole-v1", *SMALL, "--no-fast"]):
        assert main([*line, "-w", "1", "--seed", "3", "--fingerprint"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("PPO CartPole-v1: ")
        prints.append(re.search(r"fingerprint ([0-9a-f]{64})", said)[1])
    assert len(set(prints)) == 1
