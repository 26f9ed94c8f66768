"""Shards: each minibatch is cut into pieces whose gradients are computed at the same time; the result depends on their number alone."""

from dataclasses import dataclass, replace
from functools import partial

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import numpy as np
import torch
from learner_feed import Feed
from torch import nn

from reactornb import Input, LogicalAction, Output, Program, Reactor, Shared, Tag, connect, ms, reaction, startup
from reactornb.errors import ReactionError
from reactornb.rl import A2C, DQN, PPO, A2CConfig, DQNConfig, Learner, PPOConfig
from reactornb.rl.a2c import A2CAlgorithm
from reactornb.rl.dqn import DQNAlgorithm
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.errors import ConfigError, DivergenceError
from reactornb.rl.gradients import LossGradient
from reactornb.rl.layers import linear
from reactornb.rl.networks import Flat
from reactornb.rl.ppo import PPOAlgorithm
from reactornb.rl.shards import cut, multiply_adds, shards_of
from reactornb.rl.storage import Batch, Trajectory

pytestmark = pytest.mark.timeout(300)  # the first optimizer of a process imports most of torch


# -- cutting --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    x: np.ndarray
    y: torch.Tensor
    clip: float = 0.2


class Sliced:
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        return Sliced(self.rows[at])


def test_a_minibatch_is_cut_into_blocks_of_nearly_equal_size():
    pieces = cut(np.arange(10), 3, "learner")
    assert [list(piece) for piece, _ in pieces] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert [share for _, share in pieces] == [0.3, 0.3, 0.4]


def test_fewer_rows_than_shards_make_fewer_pieces():
    assert [(list(piece), share) for piece, share in cut(np.arange(2), 8, "learner")] == [([0], 0.5), ([1], 0.5)]


def test_fields_of_a_tuple_or_a_dataclass_are_cut_and_numbers_go_into_every_piece():
    x, y = np.arange(8.0).reshape(4, 2), torch.arange(4)
    for minibatch in ((x, y, 0.2), [x, y, 0.2], Rows(x, y)):
        (first, _), (second, _) = cut(minibatch, 2, "learner")
        assert type(first) is type(minibatch)
        fields = [tuple(p) if isinstance(p, (tuple, list)) else (p.x, p.y, p.clip) for p in (first, second)]
        assert np.array_equal(np.concatenate([fields[0][0], fields[1][0]]), x)
        assert torch.equal(torch.cat([fields[0][1], fields[1][1]]), y)
        assert fields[0][2] == fields[1][2] == 0.2


def test_whatever_has_a_length_and_slices_cuts_itself():
    pieces = cut(Sliced([1, 2, 3]), 2, "learner")
    assert [piece.rows for piece, _ in pieces] == [[1], [2, 3]]


@pytest.mark.parametrize("minibatch", [3.0, (1.0, 2), {"x": np.zeros(3)}, "abc", np.zeros((0, 2))])
def test_a_minibatch_without_rows_is_refused_with_what_to_do(minibatch):
    with pytest.raises(ConfigError, match=r"main\.learner: a minibatch that is a .* has no rows .*shards=1"):
        cut(minibatch, 2, "main.learner")


# -- gradients of pieces --------------------------------------------------------------------------------------------------


def spec_of(shape, dtype, n_actions):
    return EnvSpec("Made", shape, np.dtype(dtype), n_actions, (), None, None, None)


VECTOR = spec_of((4,), np.float32, 2)
FRAMES = spec_of((2, 40, 40), np.uint8, 6)
BOX = EnvSpec("Made", (3,), np.dtype(np.float32), None, (2,), -np.ones(2, np.float32), np.ones(2, np.float32), None)


def played(spec, steps, n):
    rng = np.random.default_rng(1)
    t = Trajectory.empty(spec, steps, n)
    frames = spec.observation_dtype == np.uint8
    shape = t.observations.shape
    t.observations[:] = rng.integers(0, 255, shape) if frames else rng.standard_normal(shape)
    t.actions[:] = (
        rng.integers(0, spec.n_actions, t.actions.shape) if spec.n_actions else rng.standard_normal(t.actions.shape)
    )
    t.rewards[:] = rng.standard_normal(t.rewards.shape)
    t.terminated[:] = rng.random(t.rewards.shape) < 0.1
    t.log_probs[:] = np.log(0.5)
    return t.freeze()


def drawn(rows):
    rng = np.random.default_rng(2)
    return Batch(
        rng.standard_normal((rows, 4)).astype(np.float32),
        rng.integers(0, 2, rows),
        rng.standard_normal(rows).astype(np.float32),
        rng.standard_normal((rows, 4)).astype(np.float32),
        np.full(rows, 0.99, np.float32),
        rng.random(rows).astype(np.float32),
        np.arange(rows),
    )


class Own:
    """A module of one's own, with autograd."""

    target = None

    def __init__(self, generator, device):
        self.network = nn.Sequential(linear(4, 16, generator), nn.LayerNorm(16), nn.GELU(), linear(16, 1, generator))

    def minibatches(self, received, rng, progress):
        for batch in received:
            x = rng.standard_normal((batch, 4)).astype(np.float32)
            yield x, x.sum(1), x

    def loss(self, minibatch):
        x, y, _ = minibatch
        values = self.network(torch.from_numpy(x)).squeeze(1)
        return ((values - torch.from_numpy(y)) ** 2).mean(), {"value": values.mean()}

    def feedback(self):
        """Nothing goes back."""


_PPO = PPOConfig(n_epochs=1, batch_size=64, hidden=(16, 16))
MADE = {
    "ppo": (partial(PPOAlgorithm, VECTOR, _PPO), [played(VECTOR, 20, 2)]),
    "ppo, a box": (partial(PPOAlgorithm, BOX, _PPO), [played(BOX, 20, 2)]),
    "ppo, frames": (partial(PPOAlgorithm, FRAMES, _PPO), [played(FRAMES, 4, 2)]),
    "a2c": (partial(A2CAlgorithm, VECTOR, A2CConfig(hidden=(16,))), [played(VECTOR, 20, 2)]),
    "dqn": (partial(DQNAlgorithm, VECTOR, DQNConfig(hidden=(16,))), [[drawn(33)]]),
    "dqn, all variants": (
        partial(
            DQNAlgorithm, VECTOR, DQNConfig(hidden=(16,), double=True, duelling=True, prioritised=True, huber=True)
        ),
        [[drawn(33)]],
    ),
    "a module of one's own": (Own, [37]),
}


def gradients_of(make, received, pieces):
    """The gradient of the first minibatch, in so many pieces, and the loss."""
    torch.manual_seed(0)
    algorithm = make(torch.Generator().manual_seed(3), torch.device("cpu"))
    flat = Flat(algorithm.network, gradients=True)
    target = None
    if algorithm.target is not None:
        target = Flat(algorithm.target)
        target.load(np.random.default_rng(4).standard_normal(target.parameter.numel()).astype(np.float32) / 4)
    gradient = LossGradient(algorithm, flat, target)
    minibatch = next(iter(algorithm.minibatches(received, np.random.default_rng(5), 0.5)))
    parts, loss = [], 0.0
    for rows, share in cut(minibatch, pieces, "learner"):
        loss += share * gradient.compute(rows)["loss"]
        parts.append(gradient.times(share))
    gradient.add(parts)
    return gradient.times(1.0), loss


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "frames" in name else ()) for name in MADE]
)
@pytest.mark.parametrize("pieces", [2, 3])
def test_the_gradients_of_all_pieces_add_up_to_that_of_the_minibatch(name, pieces):
    whole, loss = gradients_of(*MADE[name], 1)
    added, added_loss = gradients_of(*MADE[name], pieces)
    assert np.linalg.norm(whole) > 1e-3
    assert np.linalg.norm(added - whole) < 1e-5 * np.linalg.norm(whole) + 1e-7
    assert added_loss == pytest.approx(loss, rel=1e-4, abs=1e-6)


# -- the learner ----------------------------------------------------------------------------------------------------------


class Main(Reactor):
    send: Shared[list]
    keep: Shared[list]
    options: dict

    def compose(self):
        self.learner = Learner(
            **{"algorithm": Own, "optimizer_class": torch.optim.SGD, "learning_rate": 0.1, **self.options}
        )
        self.feed = Feed(send=self.send, keep=self.keep)
        connect(self.learner.weights, self.feed.weights, after=ms(1))
        connect(self.feed.values, self.learner.batches)


def learn(send, *, workers=1, replay=(), **options):
    """(tag, weights) as they arrived, and the run."""
    keep = []
    program = Program(Main(send=send, keep=keep, options=options))
    run = program.start(fast=True, workers=workers, seed=1, fingerprint=True, replay=replay)
    run.result()
    return keep, run


def test_one_shard_is_no_shard():
    keep, run = learn([8, 8], shards=1)
    assert [r.name for r in Program(Main(send=[], keep=[], options={})).graph.reactors] == [
        "main",
        "main.learner",
        "main.feed",
    ]
    assert [tag for tag, _ in keep] == [Tag(1_000_000), Tag(2_000_000), Tag(3_000_000)]
    assert len(run.metrics["loss"]) == 2


def test_shards_learn_what_one_learns_up_to_rounding():
    one, run = learn([32] * 5, shards=1, max_grad_norm=0.5)
    for shards in (2, 3):
        several, other = learn([32] * 5, shards=shards, max_grad_norm=0.5)
        for (_, a), (_, b) in zip(one, several, strict=True):
            assert np.allclose(a, b, atol=1e-6)
        for name in ("loss", "gradient_norm", "value"):
            assert list(run.metrics[name]) == pytest.approx(list(other.metrics[name]), rel=1e-4, abs=1e-6)
    assert max(run.metrics["gradient_norm"]) > 0.5


def test_more_shards_than_rows_leave_some_without_work():
    one, _ = learn([2] * 3, shards=1)
    several, _ = learn([2] * 3, shards=5)
    assert np.allclose(one[-1][1], several[-1][1], atol=1e-6)


def test_a_round_without_minibatches_publishes_all_the_same():
    class Nothing(Own):
        def minibatches(self, received, rng, progress):
            return iter(())

    keep, _ = learn([8, 8], shards=2, algorithm=Nothing)
    assert [tag for tag, _ in keep] == [Tag(1_000_000), Tag(2_000_000), Tag(3_000_000)]
    assert np.array_equal(keep[0][1], keep[-1][1])


def test_a_generator_of_minibatches_is_refused_where_a_checkpoint_may_fall_between_two(monkeypatch):
    monkeypatch.setattr("reactornb.rl.learner.is_kept", lambda: True)
    with pytest.raises(ReactionError, match=r"Own\.minibatches is a generator.*return a list"):
        learn([8], shards=2)
    learn([8], shards=1)


def test_a_list_of_minibatches_is_as_good_as_a_generator(monkeypatch):
    class Listed(Own):
        def minibatches(self, received, rng, progress):
            return list(super().minibatches(received, rng, progress))

    monkeypatch.setattr("reactornb.rl.learner.is_kept", lambda: True)
    listed, _ = learn([8, 8], shards=2, algorithm=Listed)
    monkeypatch.undo()
    generated, _ = learn([8, 8], shards=2)
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(listed, generated, strict=True))


def test_a_new_learning_rate_counts_from_the_next_update_of_a_round():
    class Slope(Own):
        """The gradient is 1 everywhere: an update goes the learning rate far."""

        def minibatches(self, received, rng, progress):
            yield from [np.ones((4, 1), np.float32)] * 4

        def loss(self, minibatch):
            total = sum(p.sum() for p in self.network.parameters())
            return total * torch.from_numpy(minibatch).mean(), {}

    # The round begins at (1 ms, 0); its updates are at microsteps 1 to 4.
    change = [(Tag(1_000_000, 3), "learner.learning_rate", 0.1, 0.5)]
    keep, _ = learn([1], algorithm=Slope, shards=2, replay=change)
    moved = keep[0][1] - keep[1][1]
    assert np.allclose(moved, 0.1 + 0.1 + 0.5 + 0.5, atol=1e-5)


class Hasty(Reactor):
    """Sends two batches, the second while the learner is at work on the first."""

    values = Output[int]()
    weights = Input[np.ndarray]()
    again = LogicalAction()
    keep: Shared[list]

    @reaction(startup)
    def on_startup(self, values, again):
        values.set(6)
        again.schedule(0)

    @reaction(again)
    def on_again(self, values):
        values.set(7)

    @reaction(weights)
    def on_weights(self, weights):
        self.keep.append((self.tag, weights.value))


class Twice(Reactor):
    keep: Shared[list]

    def compose(self):
        self.learner = Learner(algorithm=Own, shards=2)
        self.feed = Hasty(keep=self.keep)
        connect(self.feed.values, self.learner.batches)
        connect(self.learner.weights, self.feed.weights)


def test_what_arrives_during_a_round_is_the_next_one():
    keep = []
    run = Program(Twice(keep=keep)).start(fast=True)
    run.result()
    assert [tag for tag, _ in keep] == [Tag(0), Tag(0, 1), Tag(0, 2)]
    assert len(run.metrics["loss"]) == 2
    assert not np.array_equal(keep[1][1], keep[2][1])


def test_a_loss_that_is_not_finite_names_the_learner_and_the_update():
    class Broken(Own):
        updates = 0

        def minibatches(self, received, rng, progress):
            for x, y, z in super().minibatches(received, rng, progress):
                self.updates += 1
                yield x, np.full_like(y, np.nan) if self.updates == 3 else y, z

    with pytest.raises(
        ReactionError, match=r"main\.learner\.on_gradients .*update 3 has the loss nan.*lower learning_rate"
    ) as caught:
        learn([8] * 5, algorithm=Broken, shards=2)
    assert isinstance(caught.value.__cause__, DivergenceError)
    assert caught.value.__cause__.update == 3


def test_an_error_in_the_loss_names_the_shard():
    class Broken(Own):
        def loss(self, minibatch):
            raise RuntimeError("no loss today")

    with pytest.raises(ReactionError, match=r"main\.learner\.shard\[0\]\.on_piece .*no loss today"):
        learn([8], algorithm=Broken, shards=2)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(16), nn.Dropout(0.5)])
def test_layers_that_mean_something_else_in_a_shard_are_refused(layer):
    class Layered(Own):
        def __init__(self, generator, device):
            self.network = nn.Sequential(linear(4, 16, generator), layer, linear(16, 1, generator))

    with pytest.raises(ReactionError, match=rf"main\.learner\.shard\[0\]: {type(layer).__name__} .*shards=1"):
        learn([8], algorithm=Layered, shards=2)


def test_noise_from_the_algorithm_s_generator_is_the_same_in_every_run():
    class Noisy(Own):
        def __init__(self, generator, device):
            super().__init__(generator, device)
            self.generator = generator

        def loss(self, minibatch):
            loss, metrics = super().loss(minibatch)
            noise = torch.randn(1, generator=self.generator)
            return loss * (1 + 0.1 * noise.sum()), {**metrics, "noise": noise.sum()}

    (_, first), (_, second) = (learn([8] * 4, algorithm=Noisy, shards=2, workers=n) for n in (1, 2))
    assert first.result().fingerprint == second.result().fingerprint
    assert list(first.metrics["noise"]) == list(second.metrics["noise"])


def test_wrong_numbers_of_shards_are_refused_at_assembly():
    for shards in (0, 2.0, "2", True):
        with pytest.raises(Exception, match="shards"):
            Program(Main(send=[], keep=[], options={"shards": shards}))
    with pytest.raises(ConfigError, match=r"shards=2 on device='cuda'.*shards=1"):
        Program(Main(send=[], keep=[], options={"shards": 2, "device": "cuda"}))


# -- the number of workers leaves no mark ---------------------------------------------------------------------------------

_SMALL = replace(_PPO, total_timesteps=256, n_steps=16, n_epochs=2, batch_size=32, eval_episodes=0)
_DQN = DQNConfig(
    total_timesteps=256, n_envs=2, train_freq=8, gradient_steps=4, batch_size=16, buffer_size=100, learning_starts=64, eval_episodes=0, hidden=(16,),
)  # fmt: skip


@pytest.mark.parametrize("shards", [2, 3])
def test_the_same_fingerprint_on_1_2_and_8_workers(shards):
    (_, first), *others = (learn([32] * 4, shards=shards, workers=n) for n in (1, 2, 8))
    assert len({run.result().fingerprint for run in (first, *(run for _, run in others))}) == 1


def test_the_number_of_shards_is_part_of_the_program():
    fingerprints = {learn([32] * 4, shards=shards)[1].result().fingerprint for shards in (1, 2, 3)}
    assert len(fingerprints) == 3


PROGRAMS = {
    "ppo": (PPO, _SMALL),
    "ppo, overlap": (PPO, replace(_SMALL, overlap=True)),
    "a2c": (A2C, A2CConfig(total_timesteps=200, hidden=(16,), eval_episodes=0)),
    "dqn, by priority": (DQN, replace(_DQN, prioritised=True, double=True, tau=0.1, target_update_interval=1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_algorithm_s_fingerprint_depends_on_its_shards_and_not_on_the_workers(name):
    cls, config = PROGRAMS[name]

    def outcome(shards, workers):
        run = Program(cls(config=replace(config, shards=shards))).start(workers=workers, seed=1, fingerprint=True)
        result = run.result()
        return result.fingerprint, run.instance("learner").flat.publish(), result.metrics

    (fingerprint, weights, metrics), *others = (outcome(2, workers) for workers in (1, 2, 8))
    for other in others:
        assert other[0] == fingerprint
        assert np.array_equal(other[1], weights)
        assert other[2] == metrics
    assert list(metrics["shards"]) == [2]
    single, unsharded, _ = outcome(1, 2)
    assert single != fingerprint
    assert np.allclose(unsharded, weights, atol=0.05)


def test_the_number_of_shards_follows_from_network_and_minibatch():
    assert [r.name for r in Program(PPO(shards=3)).graph.reactors if ".shard[" in r.name] == [
        f"ppo.learner.shard[{i}]" for i in range(3)
    ]
    frames = spec_of((4, 84, 84), np.uint8, 6)
    # Mnih et al. 2015: 32 filters of 8 x 8 on 20 x 20, 64 of 4 x 4 on 9 x 9, 64 of 3 x 3 on 7 x 7, 512 units.
    assert multiply_adds(frames, ()) == 20 * 20 * 32 * 256 + 81 * 64 * 512 + 49 * 64 * 576 + 3136 * 512
    assert multiply_adds(VECTOR, (64, 64)) == 4 * 64 + 64 * 64
    assert shards_of(PPOConfig(), frames, 256, networks=2) == 2
    assert shards_of(PPOConfig(), frames, 512, networks=2) == 4
    assert shards_of(PPOConfig(), frames, 32, networks=2) == 1
    assert shards_of(PPOConfig(), VECTOR, 256, networks=2) == 1
    assert shards_of(PPOConfig(device="cuda"), frames, 256, networks=2) == 1
    assert shards_of(PPOConfig(shards=5), frames, 256, networks=2) == 5
