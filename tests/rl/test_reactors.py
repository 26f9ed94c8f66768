"""The learner, the evaluator, and the algorithms built from them: what they send, when, and that threads leave no mark."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from learner_feed import Feed

from reactornb import Output, Program, Reactor, Shared, Tag, connect, ms, reaction, sec, startup
from reactornb.errors import ReactionError
from reactornb.rl import (
    A2C,
    A3C,
    APPO,
    DQN,
    IMPALA,
    PPO,
    A2CConfig,
    A3CConfig,
    APPOConfig,
    DQNConfig,
    Evaluator,
    IMPALAConfig,
    Learner,
    PPOConfig,
    RandomPolicy,
)
from reactornb.rl.errors import DivergenceError, SpaceError, UnknownEnvironmentError
from reactornb.rl.layers import linear

# -- the learner ----------------------------------------------------------------------------------------------------------


class Fit:
    """The smallest algorithm: one weight matrix, the mean of what arrives is its target."""

    def __init__(self, with_target, generator, device):
        self.network = linear(2, 3, generator)
        self.target = linear(2, 3, None) if with_target else None

    def minibatches(self, received, rng, progress):
        yield from received

    def loss(self, minibatch):
        loss = ((self.network.weight - torch.tensor(minibatch)) ** 2).sum()
        return loss, {"largest": float(np.max(minibatch))}

    def feedback(self):
        return "back"


class Main(Reactor):
    send: Shared[list]
    keep: Shared[list]
    learner_options: dict
    with_target: bool = False
    after: int = 0

    def compose(self):
        self.learner = Learner(algorithm=partial(Fit, self.with_target), learning_rate=0.1, **self.learner_options)
        self.feed = Feed(send=self.send, keep=self.keep)
        connect(self.learner.weights, self.feed.weights, after=self.after)
        connect(self.feed.values, self.learner.batches)


def learn(send, *, with_target=False, after=0, workers=1, **options):
    """(tag, weights) as they arrived, and the run."""
    keep = []
    run = Program(Main(send=send, keep=keep, learner_options=options, with_target=with_target, after=after)).start(
        fast=True, workers=workers
    )
    return keep, run


def test_weights_are_one_flat_read_only_array_that_later_updates_do_not_touch():
    keep, run = learn([1.0, 1.0, 1.0], optimizer_class=torch.optim.SGD)
    run.result()
    arrays = [weights for _, weights in keep]
    assert len(arrays) == 4
    assert all(w.shape == (9,) and w.dtype == np.float32 and not w.flags.writeable for w in arrays)
    # SGD on a squared distance: the matrix goes a fifth of the way, the bias stays.
    for before, after in pairwise(arrays):
        assert np.allclose(after[:6], before[:6] + 0.2 * (1 - before[:6]), atol=1e-6)
        assert np.array_equal(after[6:], before[6:])
    assert list(run.metrics["largest"]) == [1.0] * 3


def test_the_gradient_is_cut_to_its_norm():
    keep, run = learn([100.0], optimizer_class=torch.optim.SGD, max_grad_norm=0.5)
    run.result()
    (_, before), (_, after) = keep
    assert np.linalg.norm(after - before) == pytest.approx(0.1 * 0.5, rel=1e-3)
    assert run.metrics["gradient_norm"][0] > 100


def test_the_target_network_follows():
    for every, tau, moved in ((2, 1.0, [0, 1, 1]), (0, 1.0, [1, 1, 1]), (1, 0.5, None)):
        _, run = learn([1.0] * 3, with_target=True, target_every=every, tau=tau, optimizer_class=torch.optim.SGD)
        run.result()
        learner = run.instance("learner")
        now, slow = learner.flat.publish(), learner.target.publish()
        if moved is not None:
            assert np.array_equal(now, slow) == (every == 0)
        else:
            assert 0 < np.abs(now - slow).max() < 0.5


def test_after_the_last_round_only_final_is_sent_and_the_run_ends():
    keep, run = learn([1.0] * 9, rounds=2)
    run.result()
    assert len(keep) == 2
    assert run.instance("learner").round == 2


def test_with_staleness_so_many_rounds_are_played_with_the_first_weights():
    keep, run = learn([1.0] * 4, staleness=2, after=ms(3))
    run.result()
    tags, arrays = zip(*keep, strict=True)
    assert [tag.time_ns for tag in tags[:6]] == [ms(k) for k in (3, 4, 5, 6, 7, 8)]
    assert np.array_equal(arrays[0], arrays[1])
    assert np.array_equal(arrays[0], arrays[2])
    assert not np.array_equal(arrays[2], arrays[3])
    assert not np.array_equal(arrays[3], arrays[4])


def test_the_learning_rate_falls_to_0():
    keep, run = learn([1e6] * 5, rounds=4, anneal_lr=True, optimizer_class=torch.optim.SGD, max_grad_norm=1.0)
    run.result()
    sizes = [np.linalg.norm(b - a) for (_, a), (_, b) in pairwise(keep)]
    assert np.allclose(sizes, [0.1, 0.075, 0.05], rtol=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_with_reactor_and_tag_and_keeps_the_metrics(bad):
    _, run = learn([1.0, 1.0, bad], after=ms(1))
    with pytest.raises(
        ReactionError, match=r"main\.learner.*update 3 has the loss (nan|inf).*lower learning_rate"
    ) as caught:
        run.result()
    assert isinstance(caught.value.__cause__, DivergenceError)
    assert caught.value.__cause__.update == 3
    assert caught.value.tag == Tag(ms(3), 0)
    assert list(run.metrics["loss"].time_ns) == [ms(1), ms(2)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_asking_for_cuda_where_there_is_none_is_an_error():
    _, run = learn([1.0], device="cuda")
    with pytest.raises(ReactionError, match=r"main\.learner"):
        run.result()


def test_no_global_generator_is_touched_and_torchs_threads_are_as_before():
    torch.set_num_threads(2)
    try:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002 - the global one is what this is about
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
        for root in (PPO(config=TINY["ppo"][1]), DQN(config=TINY["dqn"][1])):
            Program(root).run(workers=2)
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_importing_the_package_imports_neither_torch_nor_gymnasium():
    code = (
        "import sys, json; import reactornb.rl; from reactornb.rl import Rollout, ReplayBuffer, Evaluator; "
        "print(json.dumps([m for m in ('torch', 'gymnasium') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


# -- the evaluator --------------------------------------------------------------------------------------------------------


def test_the_evaluator_plays_as_many_episodes_in_each_environment(scripted):
    """Counting the first episodes that end would prefer the short ones."""

    class Send(Reactor):
        weights = Output[np.ndarray]()

        @reaction(startup)
        def on_startup(self, weights):
            weights.set(np.zeros(1, np.float32))

    class Both(Reactor):
        def compose(self):
            self.send = Send()
            lengths = iter([(1,), (6,)] * 2)  # the first is made to look at
            self.evaluator = Evaluator(env=lambda: scripted(next(lengths)), policy=RandomPolicy, n_envs=2, episodes=5)
            connect(self.send.weights, self.evaluator.final)

    result = Program(Both()).run()
    returns = list(result.metrics["eval_return"])
    assert len(returns) == 5
    short, long = [1.0, 101.0, 201.0], [sum(range(1, 7)) + 600.0 * e for e in range(2)]
    assert sorted(returns) == sorted(short + long)
    assert result.metrics["eval_mean"][0] == pytest.approx(np.mean(short + long))


# -- the algorithms -------------------------------------------------------------------------------------------------------

_PPO = PPOConfig(total_timesteps=256, n_steps=16, n_epochs=2, batch_size=32, eval_episodes=2)
_DQN = DQNConfig(
    total_timesteps=256,
    n_envs=2,
    train_freq=8,
    gradient_steps=4,
    batch_size=16,
    buffer_size=100,
    learning_starts=64,
    eval_episodes=2,
)
TINY = {
    "ppo": (PPO, _PPO, "CartPole-v1"),
    "ppo, continuous": (PPO, _PPO, "Pendulum-v1"),
    "ppo, stale": (PPO, replace(_PPO, staleness=1), "CartPole-v1"),
    "a2c": (A2C, A2CConfig(total_timesteps=200, eval_episodes=2), "CartPole-v1"),
    "a3c": (A3C, A3CConfig(total_timesteps=300, n_actors=4, n_steps=5, eval_episodes=2), "CartPole-v1"),
    "a3c, uneven": (
        A3C,
        A3CConfig(total_timesteps=300, n_actors=3, n_steps=5, delays=(ms(1), ms(2), ms(5)), eval_episodes=2),
        "CartPole-v1",
    ),
    "dqn": (DQN, _DQN, "CartPole-v1"),
    "dqn, all variants": (DQN, replace(_DQN, double=True, duelling=True, prioritised=True, n_steps=3), "CartPole-v1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_the_same_weights_and_fingerprint_on_1_2_and_8_workers(name):
    cls, config, env = TINY[name]
    program = Program(cls(env=env, config=config))

    def outcome(workers, seed):
        run = program.start(workers=workers, seed=seed, fingerprint=True)
        result = run.result()
        holder = run.instance("shared" if cls is A3C else "learner")
        return result.fingerprint, holder.flat.publish().tobytes(), result.metrics

    first, *others = [outcome(workers, 1) for workers in (1, 2, 8)]
    for other in others:
        assert other == first
    assert first[2]["eval_mean"]
    # Logged as they are taken, as the panel's rate has it: they add up. A step that only resets is none.
    assert 0.9 * config.total_timesteps <= sum(first[2]["steps"]) <= 1.1 * config.total_timesteps
    another = outcome(2, 2)
    assert another[0] != first[0]
    assert another[1] != first[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (PPO, PPOConfig(total_timesteps=4000, n_steps=50, batch_size=50, learning_rate=5e-3, eval_episodes=40)),
        (PPO, PPOConfig(total_timesteps=4000, n_steps=50, batch_size=50, learning_rate=5e-3, staleness=1, eval_episodes=40)),
        (A2C, A2CConfig(total_timesteps=8000, learning_rate=5e-3, eval_episodes=40)),
        (IMPALA, IMPALAConfig(total_timesteps=8000, n_steps=5, learning_rate=5e-3, rms_prop_eps=1e-5, eval_episodes=40)),
        (APPO, APPOConfig(total_timesteps=4000, n_steps=50, batch_size=50, learning_rate=5e-3, eval_episodes=40)),
        pytest.param(
            A3C, A3CConfig(total_timesteps=8000, n_actors=4, n_steps=8, learning_rate=5e-3, ent_coef=0.03, eval_episodes=40), marks=pytest.mark.soak
        ),
        *(
            (
                DQN,
                DQNConfig(
                    total_timesteps=2000, n_envs=2, gradient_steps=8, batch_size=32, learning_starts=100, learning_rate=3e-3, hidden=(32,),
                    eval_episodes=40, **variant,
                ),
            )
            for variant in ({}, {"double": True}, {"duelling": True}, {"prioritised": True}, {"n_steps": 3})
        ),
    ],
)  # fmt: skip
def test_it_learns_to_match_what_it_sees(cls, config, matching):
    """Chance earns a third; what learns earns 1. A wrong sign anywhere earns nothing."""
    metrics = Program(cls(env=matching, config=config)).run(seed=3, workers=2).metrics
    returns = list(metrics["episode_return"])
    assert np.mean(returns[:50]) < 0.6
    assert metrics["eval_mean"][-1] == 1.0


def test_a_box_of_actions_is_refused_by_dqn_before_anything_runs():
    with pytest.raises(SpaceError, match=r"DQN.*Pendulum-v1.*Box.*Use PPO"):
        Program(DQN(env="Pendulum-v1"))


@pytest.mark.parametrize("cls", [PPO, DQN, A2C, A3C])
def test_an_unknown_environment_is_an_error_at_assembly(cls):
    with pytest.raises(UnknownEnvironmentError, match="CartPoll"):
        Program(cls(env="CartPoll-v1"))


def test_a_reward_that_is_not_a_number_stops_the_run_and_names_its_environment(matching):
    class Broken(matching):
        count = 0

        def step(self, action):
            seen, reward, *rest = super().step(action)
            self.count += 1
            return seen, (float("nan") if self.count > 40 else reward), *rest

    run = Program(PPO(env=Broken, config=replace(_PPO, total_timesteps=10_000))).start(workers=2)
    with pytest.raises(
        ReactionError, match=r"ppo\.rollouts\[0\]\.on_weights.*Broken.*environment 0: the reward is nan at step"
    ):
        run.result()
    assert run.metrics["loss"]


def test_as_many_delays_as_actors():
    with pytest.raises(ValueError, match="2 delays for 3 actors"):
        Program(A3C(config=A3CConfig(n_actors=3, delays=(1, 2))))


@pytest.mark.slow
def test_a3c_gradients_arrive_in_the_declared_order_and_are_as_stale_as_that_says():
    result = Program(A3C(config=TINY["a3c"][1])).run(workers=2)
    stale = list(result.metrics["staleness"])
    assert stale[:4] == [0, 1, 2, 3]
    assert set(stale[4:]) == {3}
    times = list(result.metrics["staleness"].time_ns)
    assert times[:5] == [ms(1) + k * ms(1) // 4 for k in (1, 2, 3, 4, 5)]


@pytest.mark.slow
def test_from_the_command_line():
    words = [
        sys.executable,
        "-m",
        "reactornb.rl",
        "a2c",
        "CartPole-v1",
        "total_timesteps=400",
        "--seed",
        "1",
        "--fingerprint",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "greedy episodes" in said
    here = Program(A2C(config=A2CConfig(total_timesteps=400))).run(seed=1, fingerprint=True).fingerprint
    assert said.strip().endswith(f"fingerprint {here}")


def test_programs_of_this_package_do_not_wait_for_physical_time_unless_asked(matching):
    hours = sec(3600)
    late = A3CConfig(total_timesteps=40, n_actors=2, n_steps=10, delays=(hours, 2 * hours), eval_episodes=0)
    run = Program(A3C(env=matching, config=late)).start(workers=1, seed=1)
    assert run.result().tag.time_ns >= hours  # of logical time, in a moment
    ahead = PPOConfig(total_timesteps=400, n_rollouts=1, n_envs=1, n_steps=10, staleness=1, eval_episodes=0)
    paced = Program(PPO(env=matching, config=ahead)).run(workers=1, seed=1, fast=False)
    assert paced.seconds >= 1e-9 * paced.tag.time_ns > 0.03


@pytest.mark.parametrize(
    "name", ["A2C", "A3C", "APPO", "DQN", "IMPALA", "PPO", "QLearning", "Experiment5", "MultiAgent"]
)
def test_each_program_of_this_package_says_that_it_needs_no_physical_time(name):
    if name == "MultiAgent":
        pytest.importorskip("pettingzoo")
    import reactornb.rl

    assert getattr(reactornb.rl, name).needs_physical_time is False
