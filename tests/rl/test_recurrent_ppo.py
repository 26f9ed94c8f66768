"""Recurrent PPO: memories begin with episodes, the learner remembers as rollouts do, and a saved policy as in training."""

import copy
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from reactornb import Program
from reactornb.rl import (
    ReactorVectorEnv,
    RecurrentPPO,
    RecurrentPPOConfig,
    best_policy,
    evaluate,
    load_policy,
    masked,
    save_policy,
    spec_of,
    videos,
    watch,
)
from reactornb.rl.envs import make_envs
from reactornb.rl.errors import ConfigError, DamagedPolicyError, ObservationError
from reactornb.rl.networks import Flat
from reactornb.rl.policies import StepByStep
from reactornb.rl.recurrent_ppo import RecurrentPPOAlgorithm, Sequences, recurrent_policy
from reactornb.rl.shards import cut
from reactornb.rl.storage import Trajectory
from reactornb.rl.watchdog import Watch

NO_VELOCITY = "reactornb.rl.no_velocity:CartPoleNoVel-v1"
SMALL = {"lstm_hidden_size": 6, "hidden": (5,)}
SHORT = {
    "total_timesteps": 192,
    "n_envs": 2,
    "n_steps": 16,
    "n_epochs": 2,
    "batch_size": 32,
    "eval_episodes": 3,
    **SMALL,
}


class Recall(gymnasium.Env):
    """Shows a bit in the first observation alone; who repeats it at the end, 3 steps later, is right. Every other episode is cut, not ended."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length=4):
        self.length, self.episode = length, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.bit = 0, int(self.np_random.integers(2))
        self.episode += 1
        return np.array([2 * self.bit - 1, 0], np.float32), self.told()

    def told(self):
        return {"action_mask": np.array([1, 1 - self.at % 2], np.int8)}

    def step(self, action):
        self.at += 1
        last = self.at == self.length
        seen = np.array([0, self.at / self.length], np.float32)
        right = float(last and action == self.bit)
        return seen, right, last and self.episode % 2 == 1, last and self.episode % 2 == 0, self.told()


class Pictures(Recall):
    """The same as pictures."""

    observation_space = spaces.Box(0, 255, (36, 36), np.uint8)

    def reset(self, *, seed=None, options=None):
        seen, info = super().reset(seed=seed)
        return np.full((36, 36), 128 + int(100 * seen[0]), np.uint8), info

    def step(self, action):
        seen, *rest = super().step(action)
        return np.full((36, 36), 128 + int(50 * seen[1]), np.uint8), *rest


def own(spec):
    return torch.nn.Sequential(torch.nn.Linear(*spec.observation_shape, 4), torch.nn.Tanh())


def together(mode):
    return ReactorVectorEnv([Recall] * 2, workers=1, autoreset_mode=mode)


KINDS = {
    "a number of environments": (Recall, {}),
    "continuous, normalised": ("reactornb.rl.no_velocity:PendulumNoVel-v1", {"normalize_observations": True, "normalize_rewards": True}),
    "one LSTM": (Recall, {"shared_lstm": True}),
    "pictures": (Pictures, {"total_timesteps": 64}),
    "a network of one's own": (Recall, {"network": own}),
    "masks": (masked(Recall), {}),
    "same step": (partial(together, "SameStep"), {}),
    "disabled": (lambda: SyncVectorEnv([Recall] * 2, autoreset_mode="Disabled"), {}),
    "uneven": (Recall, {"n_steps": (16, 5)}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_workers_and_the_policy_is_saved(kind, tmp_path):
    env, more = KINDS[kind]
    found = set()
    for workers in (1, 2, 8):
        program = Program(RecurrentPPO(env=env, **{**SHORT, **more}))
        result = program.run(seed=2, workers=workers, fingerprint=True)
        found.add(result.fingerprint)
    assert len(found) == 1
    assert np.isfinite(result.metrics["loss"].values).all()
    assert len(result.metrics["eval_return"]) == 3
    path = save_policy(program, tmp_path / "p.safetensors")
    policy = load_policy(path, network=more.get("network"))
    remembers_as(program, policy, env)
    if "network" in more:
        with pytest.raises(ConfigError, match="network="):
            load_policy(path)


def remembers_as(program, policy, env):
    """A policy answers an environment as the evaluator's does, whose memory is its own."""
    evaluator = program.last_run.instance("evaluator")
    actor, spec = evaluator.actor, evaluator.envs.spec
    actor.load(program.last_run.instance("learner").published())
    actor.memory.forget()
    made = env() if callable(env) else gymnasium.make(env)
    if hasattr(made, "num_envs"):
        made = Recall()
    seen, _ = made.reset(seed=4)
    for again in range(2):
        policy.reset()
        actor.memory.forget()
        for _ in range(3):
            row = np.asarray(seen if spec.encode is None else spec.encode(seen), spec.observation_dtype)[None]
            expected = actor._forward(row).copy()
            np.testing.assert_array_equal(policy.scores(seen), expected[0])
            seen, *_ = made.step(
                made.action_space.sample() if again else np.ravel(expected).argmax() if spec.n_actions else expected[0]
            )
        seen, _ = made.reset()


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{"shards": 2}, {"overlap": True}, {"overlap": True, "staleness": 2, "shards": 3}], ids=str
)
def test_with_shards_and_ahead_of_the_learner_it_is_the_same_for_any_workers(more):
    results = [
        Program(RecurrentPPO(env=NO_VELOCITY, **SHORT, **more)).run(seed=2, workers=n, fingerprint=True)
        for n in (1, 2, 8)
    ]
    assert len({result.fingerprint for result in results}) == 1
    if more == {"shards": 2}:
        alone = Program(RecurrentPPO(env=NO_VELOCITY, **SHORT)).run(seed=2, workers=1).metrics
        for name in ("loss", "kl", "entropy", "value_loss"):
            np.testing.assert_allclose(results[0].metrics[name].values, alone[name].values, rtol=1e-2, atol=1e-5)


def algorithm_of(spec, **more):
    config = RecurrentPPOConfig(**{"n_epochs": 1, "clip_vloss": False, **SMALL, **more})
    algorithm = RecurrentPPOAlgorithm(spec, config, torch.Generator().manual_seed(0), torch.device("cpu"))
    flat = Flat(algorithm.network, gradients=True)
    flat.load(flat.publish() + np.random.default_rng(0).normal(0, 0.3, len(flat.publish())).astype(np.float32))
    return algorithm, flat


def played_by(env, spec, config, weights, steps, count, n=2, autoreset="next_step"):
    """Trajectories that a policy plays, one after the other."""
    watch = Watch("test", "test", 0.0)
    envs = make_envs(env, n, autoreset=autoreset, watch=watch)
    policy = recurrent_policy(config, spec)
    policy.load(weights)
    now = np.empty((envs.n, *spec.observation_shape), spec.observation_dtype)
    envs.reset(0, now)
    rng = np.random.default_rng(1)
    for _ in range(count):
        played = Trajectory.empty(spec, steps, envs.n)
        played.observations[0] = now
        chosen = StepByStep(policy)
        chosen.begin(steps, envs.n, rng)
        for t in range(steps):
            chosen.choose(t, played.observations[t], played.actions[t])
            envs.step(t, played)
            policy.memory.forget(played.begun(t))
        played.log_probs[:] = chosen.log_probs(played.actions)
        now = played.observations[steps].copy()
        yield played.freeze()


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("env", [Recall, masked(Recall)], ids=["plain", "masked"])
def test_the_learner_remembers_what_the_rollouts_did(env, autoreset):
    """Its log-probabilities of what was done are theirs, over episodes' ends and trajectories'."""
    spec = spec_of(env)
    algorithm, flat = algorithm_of(spec)
    for played in played_by(env, spec, algorithm.config, flat.publish(), 7, 3, autoreset=autoreset):
        minibatches = list(algorithm.minibatches([played], np.random.default_rng(0), 0.0))
        (minibatch,) = minibatches
        sequences, share = minibatch.gathered()
        assert share == 1.0
        assert isinstance(sequences, Sequences)

        def by_step(array):
            return array.transpose(0, 1)

        found, _, values = algorithm.network.evaluate(
            by_step(sequences.observations), by_step(sequences.actions), sequences.memory, by_step(sequences.begins)
        )
        torch.testing.assert_close(by_step(found), sequences.log_probs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(by_step(values), sequences.values, rtol=1e-4, atol=1e-5)
        _, metrics = algorithm.loss((sequences, share))
        assert float(metrics["kl"].detach()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_an_episode_that_was_cut_is_worth_what_its_memory_makes_of_its_end(autoreset):
    """Values do not depend on where trajectories begin, nor on when environments are reset."""
    spec = spec_of(Recall)
    algorithm, flat = algorithm_of(spec)
    (played,) = played_by(Recall, spec, algorithm.config, flat.publish(), 12, 1, n=1, autoreset=autoreset)
    begun = np.stack([played.begun(t) for t in range(12)])
    begins = np.concatenate([np.zeros((1, 1), bool), begun[:-1]])
    values, following, after = algorithm.judge(
        played, np.zeros((1, algorithm.network.memory_size), np.float32), begins, begun
    )
    (cut_at,) = np.flatnonzero(played.truncated[:, 0])[:1]
    first = cut_at - 4 + 1  # of the episode
    seen = [
        *played.observations[first : cut_at + 1, 0],
        played.finals[1][2] if autoreset == "same_step" else played.observations[cut_at + 1, 0],
    ]
    rows = torch.from_numpy(np.stack(seen))[:, None]
    with torch.no_grad():
        outputs, _ = algorithm.network.unroll(
            rows, torch.zeros(1, algorithm.network.memory_size), torch.zeros(5, 1, dtype=torch.bool)
        )
        expected = algorithm.network.values(outputs).numpy()[:, 0]
    np.testing.assert_allclose(values[first : cut_at + 1, 0], expected[:4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(following[first : cut_at + 1, 0], expected[1:], rtol=1e-4, atol=1e-5)
    assert not after.any() if begun[-1, 0] else after.any()


def test_pieces_of_a_minibatch_add_up_to_it_though_environments_took_different_numbers_of_steps():
    spec = spec_of(Recall)
    algorithm, flat = algorithm_of(spec, clip_vloss=True, ent_coef=0.1)
    first, second = played_by(Recall, spec, algorithm.config, flat.publish(), 9, 2)
    short = Trajectory(
        second.observations[:4], second.actions[:3], second.rewards[:3], second.terminated[:3], second.truncated[:3], second.valid[:3], second.log_probs[:3],
    )  # fmt: skip
    (minibatch,) = algorithm.minibatches([first, short], np.random.default_rng(0), 0.0)
    assert len(minibatch) == 4

    def gradient(rows):
        flat.parameter.grad.zero_()
        loss, metrics = algorithm.loss(rows.gathered())
        loss.backward()
        return flat.parameter.grad.numpy().copy(), {name: float(metric.detach()) for name, metric in metrics.items()}

    whole, metrics = gradient(minibatch)
    pieces = [(*gradient(rows), share) for rows, share in cut(minibatch, 3, "test")]
    assert len({rows.gathered()[1] for rows, _ in cut(minibatch, 3, "test")}) > 1
    np.testing.assert_allclose(sum(found * share for found, _, share in pieces), whole, rtol=1e-3, atol=1e-6)
    for name, metric in metrics.items():
        assert sum(found[name] * share for _, found, share in pieces) == pytest.approx(metric, rel=1e-4, abs=1e-6)


def test_minibatches_are_all_steps_of_some_environments_and_all_of_them_once_an_epoch():
    spec = spec_of(Recall)
    algorithm, flat = algorithm_of(spec, n_epochs=3, batch_size=16)
    (played,) = played_by(Recall, spec, algorithm.config, flat.publish(), 8, 1, n=5)
    minibatches = list(algorithm.minibatches([played], np.random.default_rng(0), 0.5))
    assert [len(m) for m in minibatches] == 3 * [3, 2]
    for epoch in range(3):
        assert sorted(np.concatenate([m.rows for m in minibatches[2 * epoch : 2 * epoch + 2]])) == list(range(5))
    for m in minibatches:
        sequences, _ = m.gathered()
        assert sequences.valid.shape == (len(m), 8)
        normalised = sequences.advantages[sequences.valid]
        assert float(normalised.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(normalised.std()) == pytest.approx(1.0, abs=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A policy that has learnt what needs a memory, and its file."""
    program = Program(
        RecurrentPPO(
            env=Recall, total_timesteps=2048, n_envs=16, n_steps=8, n_epochs=4, batch_size=128, learning_rate=1e-2, lstm_hidden_size=16, hidden=(16,),
            eval_every=1024, keep_best=True, eval_episodes=20,
        )
    )  # fmt: skip
    result = program.run(seed=1, workers=1)
    return program, result, save_policy(program, tmp_path_factory.mktemp("policy") / "p.safetensors")


@pytest.mark.slow
def test_it_learns_what_only_a_memory_can_tell(trained):
    program, result, path = trained
    assert result.metrics["eval_mean"][-1] == 1.0  # by chance 0.5
    policy = load_policy(path)
    assert "recurrent" in repr(policy)
    assert evaluate(policy, Recall, 30).mean() == 1.0
    assert evaluate(program, Recall, 30).mean() == 1.0
    assert evaluate(best_policy(program), Recall, 30).mean() == 1.0
    for mode in ("NextStep", "SameStep", "Disabled"):
        envs = SyncVectorEnv([Recall] * 3, autoreset_mode=mode)
        assert evaluate(policy, envs, 30).mean() == 1.0
        envs.close()
    assert evaluate(policy, Recall, 30, rng=np.random.default_rng(0)).mean() > 0.8


@pytest.mark.slow
def test_a_policy_remembers_from_call_to_call_until_its_reset(trained):
    policy = load_policy(trained[2])
    bits = [np.array([bit, 0], np.float32) for bit in (-1.0, 1.0)]
    rest = [np.array([0, t / 4], np.float32) for t in (1, 2, 3)]
    for bit in (1, 0, 1):
        policy.reset()
        policy(bits[bit])
        policy(rest[0])
        policy.sample(rest[1], np.random.default_rng(0))
        assert policy(rest[2]) == bit
    other = copy.copy(policy)  # with a memory of its own
    both = copy.deepcopy(policy)
    for seen in (np.stack(bits), *(np.stack([one, one]) for one in rest)):
        found = both(seen)
    assert found.tolist() == [0, 1]
    policy.reset()
    policy(bits[1])
    other(bits[0])
    for seen in rest:
        answers = policy(seen), other(seen)
    assert answers == (1, 0)
    with pytest.raises(ObservationError, match=r"policy.reset\(\)"):
        policy(np.stack(bits))
    policy.reset()
    policy(np.stack(bits))
    policy.reset(np.array([True, False]))
    for seen in (np.stack([bits[0], rest[0]]), *(np.stack([one, one]) for one in rest[1:])):
        found = policy(seen)
    assert found[1] == 1
    with pytest.raises(ConfigError, match="remembers"):
        policy.to_onnx("never.onnx")


@pytest.mark.slow
def test_it_is_filmed_and_watched_and_a_new_episode_remembers_nothing_of_the_last(tmp_path):
    program = Program(RecurrentPPO(env=NO_VELOCITY, **{**SHORT, "total_timesteps": 128}, video_every=64))
    program.run(seed=1, workers=1)
    films = videos(program)
    assert len(films) >= 2
    again = [watch(program, NO_VELOCITY, seed=3)[0] for _ in range(2)]
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"))
    policy(np.ones(2, np.float32))
    assert again[0].actions == again[1].actions == watch(policy, NO_VELOCITY, seed=3)[0].actions
    assert films[-1].count > 2


@pytest.mark.slow
def test_a_damaged_file_is_no_policy(trained, tmp_path):
    from reactornb.rl.policy_file import pack, unpack

    tensors, text = unpack(trained[2].read_bytes())
    for name, change in (
        ("lstm.weight_hh", lambda a: a[:, :-4]), ("lstm.bias", lambda a: a[0]), ("actor.1.weight", lambda a: a.T[:5]), ("lstm.weight_ih", lambda a: a[..., :1]),
    ):  # fmt: skip
        path = tmp_path / "d.safetensors"
        path.write_bytes(pack({**tensors, name: np.ascontiguousarray(change(tensors[name]))}, text))
        with pytest.raises(DamagedPolicyError):
            load_policy(path)
    path.write_bytes(pack(tensors, text.replace('"size":16', '"size":100000')))
    with pytest.raises(DamagedPolicyError):
        load_policy(path)


def test_settings_have_the_names_of_sb3_contrib_and_are_checked():
    assert RecurrentPPO(env=NO_VELOCITY).settings.lstm_hidden_size == 64
    with pytest.raises(ConfigError, match="lstm_hidden_size=0 must be"):
        RecurrentPPOConfig(lstm_hidden_size=0)
    assert spec_of(NO_VELOCITY).observation_shape == (2,)
