"""The best policy of a training, in hand and in the folder of a kept run; and what `evaluate` takes."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import gymnasium
import numpy as np
from keeping_runs import kept_until
from steered_programs import made, ppo, run_of, weights

from reactornb import Tag, resume, rewind, sec
from reactornb.rl import best_policy, evaluate, listener, load_policy, save_policy
from reactornb.rl.errors import PolicyNotSavableError, SpaceError
from reactornb.rl.trained import BEST
from reactornb.testing import FakeClock

pytestmark = pytest.mark.timeout(300)

SEEN = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)


def test_the_best_policy_is_that_of_the_best_evaluation():
    run = ppo(eval_every=60, keep_best=True, learning_rate=0.05)
    judge = run.instance("evaluator")
    judge.actor.load(judge.best)
    assert np.array_equal(best_policy(run)(SEEN), judge.actor.greedy(SEEN))
    assert not np.array_equal(judge.best, weights(run))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({}, "give it keep_best=True"), ({"keep_best": True}, "has not evaluated anything yet: it does so at its end")],
)
def test_where_there_is_none_it_is_said_what_to_do(settings, words):
    program = made("ppo", total_timesteps=10**7, **settings)
    run = program.start(workers=1, seed=1)
    try:
        with pytest.raises(PolicyNotSavableError, match=words):
            best_policy(run)
    finally:
        run.stop()
    with pytest.raises(PolicyNotSavableError, match="has not been started"):
        best_policy(made("ppo", keep_best=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "dqn", "a3c"])
def test_a_kept_run_has_its_best_policy_in_its_folder_also_when_it_was_interrupted(name, tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    settings = {"eval_every": 60, "keep_best": True}
    whole = best_policy(run_of(made(name, **settings)))
    run = made(name, **settings).start(seed=1, keep="whole", workers=2)
    run.result()
    assert np.array_equal(load_policy(tmp_path / "whole" / BEST).scores(SEEN), whole.scores(SEEN))
    first = made(name, **settings).start(seed=1, keep="parts", workers=1)
    first.wait(0.05)
    first.stop()
    again = resume("parts", program=made(name, **settings))
    again.result()
    assert np.array_equal(load_policy(tmp_path / "parts" / BEST).scores(SEEN), whole.scores(SEEN))
    assert not run.warnings


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [False, True])
def test_a_kept_run_whose_time_was_up_ends_there_again_when_it_is_gone_through_again(overlap, tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    clock = FakeClock()

    @listener
    def slow(progress):
        clock.advance(sec(1))

    settings = {"max_seconds": 2.5, "callbacks": (slow,), "overlap": overlap}
    run = made("ppo", **settings).start(seed=1, workers=1, keep="timed", clock=clock, fingerprint=True)
    run.result()
    assert 4 <= run.instance("learner").round < 10
    for workers in (1, 2, 8):
        there = rewind("timed", run.tag, program=made("ppo", **settings), workers=workers)
        there.resume()
        assert there.result(60).fingerprint == run.fingerprint
        assert np.array_equal(weights(there), weights(run))


@pytest.mark.slow
def test_a_resumed_training_whose_time_is_not_up_counts_on_from_where_it_was_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    clock = FakeClock()

    @listener
    def slow(progress):
        clock.advance(sec(1))

    settings = {"max_seconds": 5.5, "callbacks": (slow,)}
    whole = run_of(made("ppo", **settings), clock=clock)
    for cut in (1, 3, 5):
        clock = FakeClock()
        run = kept_until(made("ppo", **settings), Tag(0, cut), f"cut{cut}", seed=1, clock=clock)
        run.stop()
        clock = FakeClock()  # of another process, at another hour
        again = resume(f"cut{cut}", program=made("ppo", **settings), clock=clock)
        again.result(60)
        assert again.instance("learner").round == whole.instance("learner").round < 10
        assert np.array_equal(weights(again), weights(whole))


def test_a_policy_a_file_a_run_and_a_function_are_evaluated(tmp_path):
    run = ppo()
    path = save_policy(run, tmp_path / "p.safetensors")
    policy = load_policy(path)
    returns = evaluate(policy, "CartPole-v1", episodes=3, seed=5)
    assert returns.shape == (3,)
    assert returns.dtype == np.float64
    for same in (path, str(path), run, run.program, policy.__call__):
        assert np.array_equal(evaluate(same, "CartPole-v1", 3, 5), returns)
    drawn = evaluate(policy, "CartPole-v1", 3, 5, rng=np.random.default_rng(1))
    assert np.array_equal(drawn, evaluate(policy, "CartPole-v1", 3, 5, rng=np.random.default_rng(1)))


def test_what_does_not_fit_is_refused():
    run = ppo()
    with pytest.raises(SpaceError):
        evaluate(run, "Pendulum-v1")
    with pytest.raises(TypeError, match="a policy is asked for"):
        evaluate(7, "CartPole-v1")
    with pytest.raises(TypeError, match="no distribution"):
        evaluate(lambda seen: 0, "CartPole-v1", rng=np.random.default_rng(1))


def test_an_environment_that_is_given_stays_open():
    env = gymnasium.make("CartPole-v1")
    assert len(evaluate(lambda seen: 0, env, episodes=2)) == 2
    env.reset()
    env.close()
