"""Action masks: what is not possible is never done, in training, evaluation and afterwards; its logits count as if they were minus infinity."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from ticks import Ticks

from reactornb import Program, Reactor, connect, ms
from reactornb.errors import ReactionError
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DQN,
    IMPALA,
    PPO,
    ReactorVectorEnv,
    Rollout,
    evaluate,
    load_policy,
    masked,
    save_policy,
    spec_of,
)
from reactornb.rl.action_mask import FORBIDDEN, ActionMask
from reactornb.rl.analytic import ActorCriticPass
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ContractError, ObservationError, SpaceError
from reactornb.rl.networks import ActorCritic, Flat, QNetwork
from reactornb.rl.policies import EpsilonGreedyPolicy
from reactornb.rl.ppo import actor_policy
from reactornb.rl.saving_policies import blueprint_of, newest

CHOICES = {"discrete": (5,), "several": (3, 2, 4)}


class Strict(gymnasium.Env):
    """Lets a random part of its actions be possible at each step and raises for others; at an episode's end nothing is. Says so in info, or by a method."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, space=None, by="info", length=6):
        self.action_space = space or spaces.Discrete(5, start=2)
        self.by, self.length = by, length
        if by == "method":
            self.action_masks = self.said

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.seen()

    def seen(self):
        over = self.at == self.length
        nvec = self.action_space.nvec if hasattr(self.action_space, "nvec") else [self.action_space.n]
        self.parts = [self.np_random.random(n) < 0.4 for n in nvec]
        for part in self.parts:
            part[self.np_random.integers(len(part))] = True
            part[:] &= not over
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {
            "action_mask": self.said()
        } if self.by == "info" else {}

    def said(self):
        assert self.at < self.length or self.by == "info", "nobody acts after the end"
        return self.parts if self.by == "info" and len(self.parts) > 1 else np.concatenate(self.parts).astype(np.int8)

    def step(self, action):
        assert self.action_space.contains(action), action
        numbers = np.ravel(np.asarray(action) - getattr(self.action_space, "start", 0))
        assert all(part[number] for part, number in zip(self.parts, numbers, strict=True)), "an impossible action"
        self.at += 1
        seen, info = self.seen()
        over = self.at == self.length
        return seen, float(numbers.sum()), over, False, info


class Own(Strict):
    """Says it in its observations, between other parts."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict(
            a=Strict.observation_space, action_mask=spaces.Box(0, 1, (5,), np.int8), z=spaces.Discrete(3)
        )

    def seen(self):
        seen, info = super().seen()
        return {"a": seen, "action_mask": info["action_mask"], "z": self.at % 3}, {}


several = partial(Strict, spaces.MultiDiscrete([3, 2, 4]))
ENVS = {
    "info": masked(Strict),
    "method": masked(partial(Strict, by="method")),
    "several": masked(several),
    "several by a method": masked(partial(Strict, spaces.MultiDiscrete([3, 2, 4]), "method")),
    "own": Own,
    "a SyncVectorEnv": lambda: SyncVectorEnv([masked(Strict)] * 3),
    "a ReactorVectorEnv": lambda: ReactorVectorEnv([masked(Strict)] * 3, workers=1, autoreset_mode="SameStep"),
}
SHORT = {"hidden": (8,), "eval_episodes": 2}
PROGRAMS = {
    "PPO": lambda env, **more: PPO(env=env, total_timesteps=64, n_envs=2, n_steps=8, batch_size=16, n_epochs=1, **SHORT, **more),
    "A2C": lambda env, **more: A2C(env=env, total_timesteps=40, n_envs=2, **SHORT, **more),
    "A3C": lambda env, **more: A3C(env=env, total_timesteps=40, n_actors=2, n_steps=5, **SHORT, **more),
    "IMPALA": lambda env, **more: IMPALA(env=env, total_timesteps=40, n_envs=2, n_steps=5, **SHORT, **more),
    "APPO": lambda env, **more: APPO(env=env, total_timesteps=64, n_envs=2, n_steps=8, batch_size=16, n_epochs=1, **SHORT, **more),
    "DQN": lambda env, **more: DQN(
        env=env, total_timesteps=120, learning_starts=20, batch_size=16, buffer_size=100, exploration_initial_eps=0.8, **SHORT, **more
    ),
}  # fmt: skip


def spec_with_mask(choices, begin=1):
    """Of 3 numbers with a mask among them."""
    n = sum(choices)
    one = len(choices) == 1
    return EnvSpec(
        "test", (3 + n,), np.dtype(np.float32), n if one else None, () if one else (len(choices),), None, None, None,
        choices=() if one else choices, mask=ActionMask(begin, choices),
    )  # fmt: skip


def rows_of(spec, count, seed=0):
    """Observations with random masks, in which something is always possible; and these, bool."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, *spec.observation_shape)).astype(np.float32)
    allowed = rng.random((count, spec.mask.size)) < 0.5
    ends = np.cumsum((0, *spec.mask.choices))
    for row in allowed:
        for a, b in pairwise(ends):
            row[rng.integers(a, b)] = True
    spec.mask.of(rows)[:] = allowed
    return rows, allowed


@pytest.mark.parametrize("kind", CHOICES)
@pytest.mark.parametrize("begin", [0, 1, 3])
def test_probabilities_and_entropies_are_those_of_logits_of_minus_infinity(kind, begin):
    spec = spec_with_mask(CHOICES[kind], begin)
    rows, allowed = rows_of(spec, 50)
    network = ActorCritic(spec, (8,), torch.Generator().manual_seed(1), 0.0)
    weights = Flat(network).publish() * 3
    Flat(network).load(weights)
    plain = ActorCritic(spec.unmasked, (8,), None)
    Flat(plain).load(weights)
    seen = torch.from_numpy(spec.mask.rest(rows).copy())
    logits = plain.logits(seen).masked_fill(~torch.from_numpy(allowed), -torch.inf)
    parts = [
        torch.distributions.Categorical(logits=part) for part in torch.split(logits, list(spec.mask.choices), dim=1)
    ]
    actions = torch.stack([part.sample() for part in parts], dim=1)
    log_probs = sum(part.log_prob(actions[:, i]) for i, part in enumerate(parts))
    entropies = -sum(torch.special.xlogy(part.probs, part.probs).sum(1) for part in parts)
    given = actions if spec.choices else actions[:, 0]

    found = network.evaluate(torch.from_numpy(rows), given)
    for one, other in zip(found, (log_probs, entropies, plain.value(seen)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    written = ActorCriticPass(spec, (8,)).forward(weights, rows, given.numpy())
    np.testing.assert_allclose(written[0], log_probs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(written[1], entropies.mean(), rtol=1e-4)

    policy = actor_policy((8,), spec)
    policy.load(weights)
    rng = np.random.default_rng(0)
    ends = np.cumsum((0, *spec.mask.choices))[:-1]
    for _ in range(40):
        drawn, judged = policy.act(rows, rng)
        places = drawn.reshape(len(rows), -1) + ends
        assert allowed[np.arange(len(rows))[:, None], places].all()
        np.testing.assert_allclose(
            judged, network.evaluate(torch.from_numpy(rows), torch.from_numpy(drawn))[0], rtol=1e-4, atol=1e-5
        )
    best = torch.stack([part.logits.argmax(1) for part in parts], dim=1).numpy()
    assert (policy.greedy(rows).reshape(len(rows), -1) == best).all()


def test_a_q_network_bootstraps_from_what_is_possible():
    spec = spec_with_mask((5,))
    rows, allowed = rows_of(spec, 20)
    for duelling in (False, True):
        network = QNetwork(spec, (8,), duelling, torch.Generator().manual_seed(0))
        values = network(torch.from_numpy(rows)).detach().numpy()
        assert (values[~allowed] == FORBIDDEN).all()
        assert (values[allowed] > -100).all()


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("env", ENVS)
def test_no_program_ever_does_what_is_not_possible(program, env):
    if program == "DQN" and env.startswith("several"):
        pytest.skip("it takes Discrete actions")
    result = Program(PROGRAMS[program](ENVS[env])).run(seed=1, workers=1)
    assert len(result.metrics["eval_return"]) == 2


@pytest.mark.slow
def test_results_do_not_depend_on_workers():
    for make in (
        partial(PROGRAMS["PPO"], ENVS["several"], normalize_observations=True),
        partial(PROGRAMS["DQN"], Own, double=True, duelling=True),
    ):
        found = {Program(make()).run(seed=3, workers=n, fingerprint=True).fingerprint for n in (1, 2, 8)}
        assert len(found) == 1


def test_a_network_of_ones_own_does_not_see_the_mask():
    shapes = []

    def own(spec):
        shapes.append(spec.observation_shape)
        return torch.nn.Linear(*spec.observation_shape, 4)

    Program(PROGRAMS["A2C"](Own, network=own)).run(seed=1, workers=1)
    assert set(shapes) == {(5,)}  # a, and z as one of three


class Playing(Reactor):
    """A rollout that plays at random."""

    needs_physical_time = False
    env: object = None
    autoreset: str = "next_step"

    def compose(self):
        self.ticks = Ticks()
        self.rollout = Rollout(env=self.env, n_envs=2, n_steps=9, autoreset=self.autoreset)
        connect(self.ticks.weights, self.rollout.weights)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("env", ["info", "several", "own"])
def test_who_plays_at_random_does_what_is_possible(env, autoreset):
    result = Program(Playing(env=ENVS[env], autoreset=autoreset)).run(seed=1, workers=1, until=ms(20))
    assert set(result.metrics["episode_length"]) == {6}


def test_exploration_draws_each_possible_action_equally_often():
    spec = spec_with_mask((5,))
    rows, allowed = rows_of(spec, 4)
    policy = EpsilonGreedyPolicy(lambda x: np.zeros((len(x), 5), np.float32), 5, lambda _: 1.0, spec.mask)
    rng = np.random.default_rng(0)
    counts = np.zeros((4, 5))
    for _ in range(3000):
        counts[np.arange(4), policy.act(rows, rng)[0]] += 1
    np.testing.assert_allclose(counts / 3000, allowed / allowed.sum(1, keepdims=True), atol=0.04)


class Wrong(Strict):
    """Says something else."""

    def __init__(self, said):
        super().__init__()
        self.wrong = said

    def seen(self):
        seen, _ = super().seen()
        self.parts = [np.ones(5, bool)]
        return seen, {"action_mask": self.wrong if self.at else self.parts[0]}


def refused(make):
    with pytest.raises(ReactionError) as caught:
        Program(Playing(env=make)).run(seed=1, workers=1, until=ms(1))
    assert isinstance(caught.value.__cause__, ContractError)
    return str(caught.value)


def test_a_mask_that_lets_nothing_be_done_is_refused_by_name():
    assert "Wrong(" in (said := refused(masked(partial(Wrong, np.zeros(5, np.int8)))))
    assert "lets no action be taken" in said

    class Stuck(Own):
        def seen(self):
            seen, info = super().seen()
            seen["action_mask"] = seen["action_mask"] * 0 if self.at == 2 else seen["action_mask"]
            return seen, info

    assert "environment 0: its action mask lets no action be taken" in refused(Stuck)


@pytest.mark.parametrize(
    "said", [np.ones(4, np.int8), np.full(5, 2), np.ones(5), [np.ones(3, bool), np.ones(2, bool)], "no"]
)
def test_what_is_no_mask_is_refused(said):
    assert 'its info["action_mask"] is' in refused(masked(partial(Wrong, said)))


def test_environments_that_say_nothing_and_actions_that_cannot_be_forbidden_are_refused():
    assert "action_masks()" in refused(masked("CartPole-v1"))
    with pytest.raises(SpaceError, match="a mask is for Discrete"):
        spec_of(masked("Pendulum-v1"))
    with pytest.raises(SpaceError, match="one of masked environments"):
        spec_of(masked(lambda: SyncVectorEnv([Strict])))

    class Other(Strict):
        observation_space = spaces.Dict(a=Strict.observation_space, action_mask=spaces.MultiBinary(4))

    with pytest.raises(SpaceError, match=r"spaces.MultiBinary\(5\)"):
        spec_of(Other)


@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("env", ["info", "several", "own"])
def test_a_saved_policy_heeds_masks(env, normal, tmp_path):
    program = Program(PROGRAMS["PPO"](ENVS[env], normalize_observations=normal))
    program.run(seed=1, workers=1)
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"))
    plain = {"info": Strict, "several": several, "own": Own}[env]
    assert len(evaluate(policy, ENVS[env], 3)) == 3
    assert len(evaluate(policy, plain, 3, rng=np.random.default_rng(0))) == 3  # the mask is put beside what it shows
    if env != "own":
        played = plain()
        observation, _ = played.reset(seed=0)
        for _ in range(6):
            mask = np.concatenate(played.parts)
            action = policy(observation, action_mask=mask)
            assert np.array_equal(action, policy({"action_mask": mask, "observation": observation}))
            drawn = policy.sample(observation, np.random.default_rng(1), action_mask=mask)
            observation, *_ = played.step(action if played.at % 2 else drawn)
        with pytest.raises(ObservationError, match="give it one beside the observation"):
            policy(observation)
        with pytest.raises(ObservationError, match="lets no action be taken"):
            policy(observation, action_mask=np.zeros(len(mask)))
    both = ENVS[env]()
    seen, _ = both.reset(seed=5)
    player, weights, rollouts = newest(program.last_run, None)
    made = blueprint_of(program.last_run, player, weights, rollouts)
    rows, _ = made.rows(seen)
    player.actor.load(weights)
    raw = spec_of(ENVS[env]).encode(seen)[None].astype(np.float32)
    assert np.array_equal(made.scores(rows), player.actor._forward(raw))


def test_a_policy_without_masks_takes_none(tmp_path):
    program = Program(PROGRAMS["A2C"]("CartPole-v1"))
    program.run(seed=1, workers=1)
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"))
    with pytest.raises(TypeError, match="leave action_mask out"):
        policy(np.zeros(4, np.float32), action_mask=np.ones(2))


class Levers(gymnasium.Env):
    """Of 30 levers one is right at each step, and the observation says which; a wrong one that works gives nothing. Only those near it work."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(30)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.seen()

    def seen(self):
        self.right = int(self.np_random.integers(30))
        mask = np.zeros(30, np.int8)
        mask[max(0, self.right - 1) : self.right + 2] = 1
        return np.array([self.right / 30], np.float32), {"action_mask": mask}

    def step(self, action):
        self.at += 1
        right = float(action == self.right)
        seen, info = self.seen()
        return seen, right, self.at == 20, False, info


@pytest.mark.slow
def test_masks_help():
    found = {}
    for name, env in (("masked", masked(Levers)), ("plain", Levers)):
        program = Program(
            PPO(env=env, total_timesteps=16_000, n_envs=4, learning_rate=1e-3, ent_coef=0.0, eval_episodes=20)
        )
        found[name] = float(np.mean(program.run(seed=1, workers=1).metrics["eval_return"]))
    assert found["masked"] > 2 * found["plain"], found
    assert found["masked"] > 5, found


def test_the_mask_is_no_number_that_running_statistics_change():
    spec = spec_of(Own)
    assert spec.mask == ActionMask(2, (5,))
    assert spec.numbers.tolist() == [True, True, *[False] * 8]
    assert spec.unmasked.numbers.tolist() == [True, True, False, False, False]
    assert spec.unmasked.mask is None
    assert replace(spec, mask=None).unmasked.observation_shape == (10,)
