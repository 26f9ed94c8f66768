"""Programs that learn from recorded episodes: the same for any number of workers, saved and resumed without their data, and they learn."""

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

pytest.importorskip("torch")

from gymnasium import spaces
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from keeping_runs import kept_until
from recorded_episodes import made_up

from reactornb import Program, resume
from reactornb.rl import (
    IQL,
    STOP,
    BehaviorCloning,
    IQLConfig,
    best_policy,
    evaluate,
    listener,
    load_policy,
    save_policy,
)
from reactornb.rl.bc import BCConfig
from reactornb.rl.datasets import DatasetChangedError, DatasetError, OfflineDataset
from reactornb.rl.errors import ConfigError, SpaceError
from reactornb.rl.iql import Cosine
from reactornb.tags import Tag

HANDS = spaces.Box(np.array([-2, 0], "f"), np.array([1, 4], "f"))
PICTURES = spaces.Box(0, 255, (40, 40), np.uint8)
SHORT = {"total_timesteps": 60, "gradient_steps": 10, "batch_size": 16, "hidden": (8, 8)}

NO_EVALUATION = {**SHORT, "eval_episodes": 0}


class Aim(gymnasium.Env):
    """One step: the observation shows where to aim; the closer, the better."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = HANDS

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(-0.8, 0.8, 2).astype(np.float32)
        return self.shown, {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.zeros(2, np.float32), aimed(self.shown, action), True, False, {}


def aimed(shown, action):
    return 1.0 - float(np.abs((action - [-0.5, 2]) / [1.5, 2] - shown).sum())


def aims(spread, count=2000, seed=0):
    """Episodes of `Aim` in which the aim is missed by normal numbers with this deviation, where actions are in [-1, 1]."""
    rng = np.random.default_rng(seed)
    shown = rng.uniform(-0.8, 0.8, (count, 2)).astype(np.float32)
    actions = (np.clip(shown + spread * rng.standard_normal((count, 2)), -1, 1) * [1.5, 2] + [-0.5, 2]).astype(
        np.float32
    )
    episodes = [
        {
            "observations": np.stack([s, np.zeros(2, "f")]),
            "actions": a[None],
            "rewards": [aimed(s, a)],
            "terminations": [True],
            "truncations": [False],
        }
        for s, a in zip(shown, actions, strict=True)
    ]
    return OfflineDataset.from_episodes(Aim.observation_space, HANDS, episodes, env=Aim, source="aims")


PROGRAMS = {
    "bc": lambda: BehaviorCloning(dataset=aims(0.1, 50), **SHORT),
    "bc, choices, a network of one's own": lambda: BehaviorCloning(
        dataset=made_up(spaces.MultiDiscrete([3, 2])), eval_episodes=0, network=lambda _: nn.Linear(3, 4), **SHORT
    ),
    "iql": lambda: IQL(dataset=aims(0.5, 50), **SHORT, normalize_observations=True, normalize_rewards=True),
    "iql, two shards, steered": lambda: IQL(
        dataset=aims(0.5, 50), **SHORT, shards=2, eval_every=20, keep_best=True, stop_at_return=100.0, callbacks=(told,)
    ),
}


@listener
def told(self, progress):
    self.log(heard=progress.steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_weights_and_fingerprint_on_1_2_and_8_workers(name):
    program = Program(PROGRAMS[name]())

    def outcome(workers, seed):
        run = program.start(workers=workers, seed=seed, fingerprint=True)
        result = run.result()
        return result.fingerprint, run.instance("learner").flat.publish().tobytes(), result.metrics

    first, *others = [outcome(workers, 1) for workers in (1, 2, 8)]
    for other in others:
        assert other == first
    assert sum(first[2]["steps"]) == 60
    another = outcome(2, 2)
    assert another[0] != first[0]
    assert another[1] != first[1]


def test_every_step_is_drawn_and_minibatches_are_those_of_the_dataset():
    data = aims(0.1, 20)
    run = Program(BehaviorCloning(dataset=data, **SHORT, normalize_observations=True)).start(seed=1, workers=1)
    run.result()
    sampler, learner = run.instance("sampler"), run.instance("learner")
    assert sampler.dataset is data  # none of its copies
    assert learner.updates == 60
    moves = np.ones(2, bool)
    assert learner.normal.statistics.mean == pytest.approx(data.moments(moves).mean, abs=1e-6)
    assert learner.normal.statistics.deviation == pytest.approx(np.sqrt(data.moments(moves).variance), abs=1e-4)


def test_it_ends_and_evaluates_by_updates():
    @listener(every=20)
    def early(progress):
        return STOP if progress.steps >= 40 else None

    program = Program(
        BehaviorCloning(
            dataset=aims(0.1, 20), **SHORT, eval_every=20, eval_episodes=2, callbacks=(early,), keep_best=True
        )
    )
    run = program.start(seed=1, workers=1)
    metrics = run.result().metrics
    assert run.instance("learner").updates == 40
    assert metrics["eval_mean"].steps.tolist() == [
        30,
        50,
    ]  # each beside the round after it, whose minibatches had been drawn
    assert best_policy(program)(np.zeros(2, "f")).shape == (2,)


@pytest.mark.slow
def test_cloning_does_what_was_done_and_iql_does_better(tmp_path):
    """The aim is missed by 0.8 on the mean of two absolute numbers; what is cloned misses it by less, since errors even out, and both learn where to aim."""
    tuned = {
        "total_timesteps": 3000,
        "gradient_steps": 50,
        "batch_size": 128,
        "hidden": (64, 64),
        "learning_rate": 1e-3,
        "eval_episodes": 100,
    }
    shifted = aims(0.5, 4000)
    # Half of the time the aim is missed to one side: the mean of what was done is wrong, and what was good is right.
    actions = shifted.actions.copy()
    actions[::2] = HANDS.high
    rewards = [aimed(s, a) for s, a in zip(shifted.observations[::2], actions, strict=True)]
    episodes = [
        {
            "observations": shifted.observations[2 * i : 2 * i + 2],
            "actions": a[None],
            "rewards": [r],
            "terminations": [True],
            "truncations": [False],
        }
        for i, (a, r) in enumerate(zip(actions, rewards, strict=True))
    ]
    data = OfflineDataset.from_episodes(Aim.observation_space, HANDS, episodes, env=Aim)
    cloned, better = (Program(cls(dataset=data, **tuned)) for cls in (BehaviorCloning, IQL))
    of_clone = cloned.run(seed=1).metrics["eval_mean"][-1]
    of_iql = better.run(seed=1).metrics["eval_mean"][-1]
    assert data.returns.mean() < of_clone < 0.5
    assert of_iql > max(0.6, of_clone + 0.2)
    path = save_policy(better, tmp_path / "p.safetensors")
    policy = load_policy(path)
    assert evaluate(policy, Aim, 100).mean() > 0.6
    noise = policy.blueprint.choice["noise"]
    assert len(noise) == 2
    drawn = np.stack([policy.sample(np.zeros(2, "f"), np.random.default_rng(i)) for i in range(200)])
    assert drawn.std(0) / [1.5, 2] == pytest.approx(noise, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("space", [spaces.Discrete(3, start=2), spaces.MultiDiscrete([3, 2]), HANDS], ids=str)
def test_what_is_cloned_without_an_environment_is_saved_and_knows_its_spaces(space, tmp_path):
    data = made_up(space)
    program = Program(
        BehaviorCloning(dataset=data, eval_episodes=0, total_timesteps=1000, hidden=(64, 64), learning_rate=3e-3)
    )
    program.run(seed=1)
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"))
    assert policy.action_space == space
    assert policy.observation_space == data.observation_space
    done = policy(data.observations[data._rows])
    assert all(space.contains(action) for action in done)
    taken = data.actions + data.spec.action_start
    right = np.mean(done == taken) if data.spec.n_actions or data.spec.choices else 1 - np.mean((done - taken) ** 2)
    assert right > 0.95


@pytest.mark.slow
def test_frames_are_cloned_by_convolutions(tmp_path):
    data = made_up(spaces.Discrete(2), PICTURES, lengths=(10, 6))
    program = Program(
        BehaviorCloning(dataset=data, eval_episodes=0, total_timesteps=10, gradient_steps=5, batch_size=8)
    )
    assert np.isfinite(program.run(seed=1).metrics["loss"][-1])
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"))
    assert policy(data.observations[0]) in (0, 1)


def linear(spec):
    return nn.Linear(int(np.prod(spec.observation_shape)), 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: BehaviorCloning(dataset=made_up(HANDS), network=linear, **NO_EVALUATION),
        lambda: BehaviorCloning(dataset=made_up(spaces.Discrete(3)), network=linear, **NO_EVALUATION),
        lambda: IQL(dataset=made_up(HANDS), network=linear, **NO_EVALUATION),
        lambda: IQL(dataset=made_up(HANDS), network=linear, normalize_observations=True, **NO_EVALUATION),
    ],
)
def test_networks_of_ones_own_are_learnt_and_saved(make, tmp_path):
    program = Program(make())
    program.run(seed=1)
    actor = program.last_run.instance("evaluator").actor
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"), network=linear)
    seen = made_up(HANDS).observations[:9]
    assert np.allclose(policy(seen), actor.greedy(seen), atol=1e-5)
    assert policy.action_space.contains(policy(seen[0]))


@pytest.mark.slow
def test_what_is_not_possible_is_not_done(tmp_path):
    rng = np.random.default_rng(1)
    observed = spaces.Dict(action_mask=spaces.MultiBinary(3), seen=spaces.Box(-1, 1, (2,), np.float32))
    # Action 2 is always the best that is possible, else 1, else 0.
    masks = np.where(rng.random((401, 3)) < 0.5, 1, 0).astype(np.int8)
    masks[:, 0] = 1
    episode = {
        "observations": {"action_mask": masks, "seen": rng.uniform(-1, 1, (401, 2)).astype(np.float32)},
        "actions": np.where(masks[:-1, 2], 2, masks[:-1, 1]),
        "rewards": np.zeros(400),
        "terminations": np.zeros(400, bool),
        "truncations": np.arange(400) == 399,
    }
    data = OfflineDataset.from_episodes(observed, spaces.Discrete(3), [episode])
    program = Program(
        BehaviorCloning(dataset=data, eval_episodes=0, total_timesteps=500, hidden=(16,), learning_rate=3e-3)
    )
    assert (
        program.run(seed=1).metrics["accuracy"][-1] > 0.99
    )  # which nobody could who does not heed the mask: networks do not see it
    policy = load_policy(save_policy(program, tmp_path / "p.safetensors"))
    for mask in ([1, 0, 0], [1, 1, 0], [0, 1, 1]):
        assert policy({"action_mask": np.array(mask, np.int8), "seen": np.zeros(2, "f")}) == max(np.flatnonzero(mask))


# -- kept runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.thread_unsafe(reason="changes the environment")
def test_a_checkpoint_holds_which_dataset_it_is_and_not_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path / "runs"))
    settings = {**SHORT, "eval_episodes": 0}

    def large():
        return OfflineDataset.joined([made_up(HANDS)] * 2000)  # 2.4 MB of observations alone

    data, other = large(), made_up(HANDS, seed=1)
    whole = Program(IQL(dataset=data, **settings)).run(seed=1, workers=1, fingerprint=True)
    run = kept_until(Program(IQL(dataset=data, **settings)), Tag(0, 4), seed=1, workers=1, fingerprint=True)
    run.stop()
    size = sum(file.stat().st_size for file in run.kept.rglob("*") if file.is_file())
    assert size < data.observations.nbytes / 3
    with pytest.raises(DatasetChangedError, match=r"made up, 1 .*made up, 0"):
        resume(run.kept, program=Program(IQL(dataset=other, **settings)))
    rest = resume(run.kept, program=Program(IQL(dataset=large(), **settings)), workers=2)
    assert rest.result(60).fingerprint == whole.fingerprint


# -- what is refused ------------------------------------------------------------------------------------------------------


def test_what_fits_no_dataset_is_refused_before_anything_runs():
    data = made_up(HANDS)
    with pytest.raises(
        ConfigError, match=r"eval_episodes=20, and made up, 0 does not say what it was recorded in.*eval_episodes=0"
    ):
        Program(IQL(dataset=data))
    with pytest.raises(SpaceError, match="the dataset made up, 0 cannot be judged in Pendulum-v1: its action shape is"):
        Program(IQL(dataset=data, env="Pendulum-v1"))
    with pytest.raises(SpaceError, match="its action low is"):
        Program(
            IQL(
                dataset=made_up(spaces.Box(-1, 1, (1,), np.float32), spaces.Box(-8, 8, (3,), np.float32)),
                env="Pendulum-v1",
            )
        )
    with pytest.raises(SpaceError, match="IQL chooses numbers"):
        Program(IQL(dataset=made_up(spaces.Discrete(2)), eval_episodes=0))
    with pytest.raises(SpaceError, match=r"IQL has perceptrons.*\(40, 40\)"):
        Program(IQL(dataset=made_up(HANDS, PICTURES, lengths=(2,)), eval_episodes=0))
    with pytest.raises(SpaceError, match="BehaviorCloning needs actions with bounds"):
        Program(BehaviorCloning(dataset=made_up(spaces.Box(-np.inf, np.inf, (1,))), eval_episodes=0))
    with pytest.raises(DatasetError, match="there is no dataset of Minari"):
        Program(BehaviorCloning(dataset="/nowhere/at/all"))
    with pytest.raises(ConfigError, match="dataset=7 is none"):
        Program(BehaviorCloning(dataset=7))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BCConfig(normalize_rewards=True), "does not look at rewards"),
        (lambda: IQLConfig(stop_at_return=1.0), "stop_at_return=1.0 and no eval_every"),
        (lambda: IQLConfig(expectile=0.0), "expectile=0.0 must be a number above 0"),
        (lambda: IQLConfig(temperature=3.0), "beta"),
        (lambda: BCConfig(max_timesteps=10), "total_timesteps"),
    ],
)
def test_values_that_no_run_can_use_are_refused_with_what_to_write(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_actors_learning_rate_falls_along_half_a_cosine():
    falling = Cosine(10)
    assert [falling(step) for step in (0, 5, 10, 20)] == pytest.approx([1, 0.5, 0, 0])
