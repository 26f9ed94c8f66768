"""Policies: NumPy's networks compute what their torch twins do, and actions come as often as their probabilities say."""

import numpy as np
import pytest
import torch

from reactornb.rl.dqn import value_policy
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.layers import mlp
from reactornb.rl.networks import ActorCritic, Flat, QNetwork
from reactornb.rl.policies import EpsilonGreedyPolicy, LinearSchedule, Mlp, RandomPolicy
from reactornb.rl.ppo import actor_policy

DISCRETE = EnvSpec("test", (4,), np.dtype(np.float32), 3, (), None, None, None)
BOX = EnvSpec("test", (4,), np.dtype(np.float32), None, (2,), -np.ones(2, np.float32), np.ones(2, np.float32), None)
IMAGE = EnvSpec("test", (4, 84, 84), np.dtype(np.uint8), 3, (), None, None, None)


def seen(rows=6, shape=(4,)):
    return np.random.default_rng(0).standard_normal((rows, *shape)).astype(np.float32)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_perceptron_in_numpy_is_its_torch_twin(activation):
    net = mlp((4, 8, 5, 3), activation, torch.Generator().manual_seed(1))
    twin = Mlp((4, 8, 5, 3), activation, offset=2)
    assert twin.size == sum(p.numel() for p in net.parameters())
    twin.load(np.concatenate([np.zeros(2, np.float32), Flat(net).publish()]))
    assert np.allclose(twin(seen()), net(torch.from_numpy(seen())).detach().numpy(), atol=1e-5)


def test_a_perceptron_in_numpy_takes_any_number_of_rows_in_turn_and_whole_numbers():
    net = mlp((4, 8, 3), "tanh", torch.Generator().manual_seed(1))
    twin = Mlp((4, 8, 3), "tanh")
    twin.load(Flat(net).publish())
    for rows in (3, 6, 1, 3):
        expected = net(torch.from_numpy(seen(rows))).detach().numpy()
        assert np.allclose(twin(seen(rows)), expected, atol=1e-5)
    whole = np.arange(8).reshape(2, 4)
    assert np.allclose(twin(whole), net(torch.from_numpy(whole)).detach().numpy(), atol=1e-5)


def test_too_few_weights_for_a_perceptron_in_numpy_are_refused():
    with pytest.raises(ValueError, match="needs 22 weights, not 21: they are of another network"):
        Mlp((4, 3, 1), "tanh", offset=3).load(np.zeros(21, np.float32))


@pytest.mark.parametrize("duelling", [False, True])
def test_greedy_actions_are_those_of_the_network(duelling):
    net = QNetwork(DISCRETE, (16,), duelling, torch.Generator().manual_seed(2))
    policy = value_policy((16,), duelling, LinearSchedule(0, 0, 0), DISCRETE)
    policy.load(Flat(net).publish())
    best = net(torch.from_numpy(seen(50))).argmax(1).numpy()
    assert len(set(best.tolist())) > 1
    assert policy.greedy(seen(50)).tolist() == best.tolist()
    actions, log_probs = policy.act(seen(50), np.random.default_rng(0))
    assert actions.tolist() == best.tolist()
    assert log_probs is None


def test_duelling_values_have_the_mean_that_the_value_head_says():
    net = QNetwork(DISCRETE, (16,), True, torch.Generator().manual_seed(2))
    observations = torch.from_numpy(seen())
    assert torch.allclose(net(observations).mean(1), net.value(net.body(observations))[:, 0], atol=1e-6)


def test_images_go_through_the_torch_module_with_the_same_result():
    frames = np.random.default_rng(0).integers(256, size=(3, 4, 84, 84), dtype=np.uint8)
    net = ActorCritic(IMAGE, (), torch.Generator().manual_seed(1))
    policy = actor_policy((), IMAGE)
    policy.load(Flat(net).publish())
    expected = net.logits(torch.from_numpy(frames)).argmax(1).numpy()
    assert policy.greedy(frames).tolist() == expected.tolist()
    _, log_probs = policy.act(frames, np.random.default_rng(0))
    assert log_probs.shape == (3,)


def test_softmax_actions_come_as_often_as_they_should_and_say_how_likely_they_were():
    net = ActorCritic(DISCRETE, (8,), torch.Generator().manual_seed(1))
    with torch.no_grad():
        net.actor[-1].bias[:] = torch.tensor([0.0, 1.0, -1.0])
    policy = actor_policy((8,), DISCRETE)
    policy.load(Flat(net).publish())
    rows = np.repeat(seen(1), 60_000, axis=0)
    actions, log_probs = policy.act(rows, np.random.default_rng(1))
    chances = net.logits(torch.from_numpy(rows[:1])).softmax(1).detach().numpy()[0]
    assert np.allclose(np.bincount(actions, minlength=3) / 60_000, chances, atol=0.01)
    evaluated, entropy, _ = net.evaluate(torch.from_numpy(rows[:100]), torch.from_numpy(actions[:100]))
    assert np.allclose(log_probs[:100], evaluated.detach().numpy(), atol=1e-5)
    assert entropy[0].item() == pytest.approx(-(chances * np.log(chances)).sum(), abs=1e-5)


def test_gaussian_actions_have_the_density_that_torch_says():
    net = ActorCritic(BOX, (8,), torch.Generator().manual_seed(1), log_std_init=-0.5)
    policy = actor_policy((8,), BOX)
    policy.load(Flat(net).publish())
    rows = np.repeat(seen(1), 40_000, axis=0)
    actions, log_probs = policy.act(rows, np.random.default_rng(1))
    mean = net.logits(torch.from_numpy(rows[:1])).detach()
    normal = torch.distributions.Normal(mean, torch.full((2,), -0.5).exp())
    assert np.allclose(actions.mean(0), mean.numpy()[0], atol=0.02)
    assert np.allclose(actions.std(0), np.exp(-0.5), atol=0.02)
    assert np.allclose(log_probs[:50], normal.log_prob(torch.from_numpy(actions[:50])).sum(1).numpy(), atol=1e-4)
    evaluated, entropy, _ = net.evaluate(torch.from_numpy(rows[:50]), torch.from_numpy(actions[:50]))
    assert np.allclose(log_probs[:50], evaluated.detach().numpy(), atol=1e-4)
    assert entropy[0].item() == pytest.approx(normal.entropy().sum().item(), abs=1e-5)
    assert np.allclose(policy.greedy(rows[:1]), mean.numpy(), atol=1e-5)


def test_epsilon_falls_with_the_steps_taken_and_is_how_often_any_action_is_taken():
    class Zero:
        def load(self, weights): ...

        def __call__(self, x):
            return np.tile([1.0, 0.0, 0.0], (len(x), 1))

    policy = EpsilonGreedyPolicy(Zero(), 3, LinearSchedule(1.0, 0.1, 1000))
    rng = np.random.default_rng(0)
    assert policy.epsilon == 1.0
    policy.act(seen(500), rng)
    assert policy.epsilon == pytest.approx(0.55)
    policy.act(seen(600), rng)
    assert policy.epsilon == 0.1
    actions, _ = policy.act(seen(30_000), rng)
    assert (actions != 0).mean() == pytest.approx(0.1 * 2 / 3, abs=0.01)


def test_random_actions_lie_in_their_space():
    rng = np.random.default_rng(0)
    assert set(RandomPolicy(DISCRETE).act(seen(100), rng)[0].tolist()) == {0, 1, 2}
    actions, _ = RandomPolicy(BOX).act(seen(100), rng)
    assert actions.shape == (100, 2)
    assert np.abs(actions).max() <= 1


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="another network"):
        Flat(mlp((2, 2), "relu", None)).load(np.zeros(5, np.float32))
