"""Evaluation while training, ends before the last round, callbacks, and hyper-parameters that change while a program learns: the same for any number of workers."""

import math
from functools import partial

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

import numpy as np
from steered_programs import ALL, made, ppo, run_of, weights

from reactornb import Tag, ms, sec
from reactornb.errors import ParameterError, ReactionError
from reactornb.rl import STOP, Listener, PPOConfig, listener
from reactornb.rl.errors import ConfigError
from reactornb.rl.steering import Returns
from reactornb.rl.storage import Trajectory
from reactornb.testing import FakeClock

# The first optimizer of a process imports most of torch, which takes a busy machine a minute.
pytestmark = pytest.mark.timeout(300)


def report(progress):
    return {"learning_rate": 1e-4} if progress.round == 2 else None


@listener(every=40)
def heard(self, progress):
    self.log(heard=progress.steps, mean=progress.mean_return, drawn=self.rng.random())


CALLBACKS = (listener(report), heard)


# -- evaluation -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_training_goes_the_same_way_with_evaluations_and_callbacks_and_without(name):
    @listener
    def looks(self, progress):
        self.log(seen=self.rng.random())

    plain = run_of(made(name))
    watched = run_of(made(name, eval_every=100, keep_best=True, callbacks=(looks,)))
    assert np.array_equal(weights(plain), weights(watched))
    ends = name not in ("sac", "td3", "ddpg")  # an episode of Pendulum is longer than these trainings
    for metric in ("loss", "episode_return") if ends else ("loss",):
        assert list(plain.metrics[metric]) == list(watched.metrics[metric])
    assert len(watched.metrics["eval_mean"]) > len(plain.metrics["eval_mean"]) == 1
    assert len(watched.metrics["seen"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_all_of_it_has_the_same_fingerprint_on_1_2_and_8_workers(name):
    program = made(name, eval_every=60, keep_best=True, stop_at_return=1e9, callbacks=CALLBACKS)
    first, *others = [run_of(program, workers, fingerprint=True) for workers in (1, 2, 8)]
    for other in others:
        assert other.fingerprint == first.fingerprint
        assert other.metrics == first.metrics
        assert np.array_equal(other.instance("evaluator").best, first.instance("evaluator").best)


def test_weights_are_evaluated_after_the_round_that_reaches_each_eval_every_steps():
    run = ppo(eval_every=100, options={"trace": True})
    # Rounds of 40 steps: 120, 200, 320, 400; the weights of the last round come as the final ones.
    evaluated = run.result().trace.values("evaluator.mean")
    assert [tag.microstep for tag, _ in evaluated] == [4, 6, 9]
    assert len(run.metrics["eval_mean"]) == 4
    assert [value for _, value in evaluated] == list(run.metrics["eval_mean"])[:3]
    assert len(run.metrics["eval_return"]) == 8


def test_final_weights_that_were_evaluated_just_before_are_not_evaluated_again():
    run = ppo(eval_every=100, stop_at_return=-1.0)
    assert len(run.metrics["eval_mean"]) == 1


def test_the_best_weights_are_those_of_the_highest_mean_and_the_first_of_equals():
    run = ppo(eval_every=40, keep_best=True, options={"trace": True})
    judge = run.instance("evaluator")
    means = list(run.metrics["eval_mean"])
    assert judge.best_mean == max(means)
    sent = [value for _, value in run.result().trace.values("learner.weights")][1:]
    sent += [value for _, value in run.result().trace.values("learner.final")]
    assert len(sent) == len(means) == 10
    assert np.array_equal(judge.best, sent[means.index(max(means))])


def test_without_keep_best_nothing_is_kept():
    assert ppo(eval_every=40).instance("evaluator").best is None


# -- ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
def test_a_training_ends_with_the_weights_whose_evaluation_reaches_the_return(overlap):
    run = ppo(workers=2, eval_every=100, stop_at_return=1.0, keep_best=True, overlap=overlap)
    learner, judge = run.instance("learner"), run.instance("evaluator")
    assert learner.round == (3 if not overlap else 4)  # with the overlap a round was learnt from meanwhile
    assert learner.over
    if not overlap:
        assert np.array_equal(weights(run), judge.best)


@pytest.mark.slow
def test_a_training_ends_when_the_last_hundred_episodes_reach_the_return():
    settings = {"total_timesteps": 40_000, "n_envs": 8, "n_steps": 50}
    run = ppo(stop_at_return=15.0, options={"trace": True}, **settings)
    returns = list(run.metrics["episode_return"])
    assert run.instance("learner").round < 50
    assert len(returns) >= 100
    assert np.mean(run.instance("monitor").last) >= 15.0
    assert len(run.metrics["eval_mean"]) == 1
    first = ppo(workers=2, stop_at_return=15.0, options={"fingerprint": True}, **settings)
    assert (
        ppo(workers=8, stop_at_return=15.0, options={"fingerprint": True}, **settings).fingerprint == first.fingerprint
    )


def test_returns_of_episodes_are_counted_over_trajectories():
    def played(rewards, ends):
        rewards, ends = np.array(rewards, np.float32), np.array(ends, bool)
        zeros = np.zeros(rewards.shape, bool)
        return Trajectory(np.zeros((len(rewards) + 1, 2, 1)), zeros, rewards, ends, zeros, ~zeros, rewards)

    counted = Returns()
    assert counted.add(0, played([[1, 10], [2, 20], [3, 30]], [[0, 0], [1, 0], [0, 0]])) == [3.0]
    assert counted.add(1, played([[7, 7]], [[1, 1]])) == [7.0, 7.0]
    assert counted.add(0, played([[1, 1], [1, 1]], [[1, 1], [1, 0]])) == [4.0, 61.0, 1.0]
    assert counted.add(0, played([[0, 0]], [[1, 1]])) == [0.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [False, True])
def test_time_that_is_up_ends_a_training_and_a_replay_ends_there_again(overlap):
    clock = FakeClock()

    @listener
    def slow(progress):
        clock.advance(sec(1))

    program = made("ppo", max_seconds=2.5, callbacks=(slow,), overlap=overlap)
    first = run_of(program, clock=clock, record_outside=True, fingerprint=True)
    assert first.instance("learner").round < 10
    assert first.instance("learner").round == 4 or overlap
    assert len(first.metrics["eval_mean"]) == 1
    for workers in (1, 2, 8):
        again = run_of(program, workers, clock=FakeClock(), replay=first.outside, fingerprint=True)
        assert again.fingerprint == first.fingerprint
        assert np.array_equal(weights(again), weights(first))


def test_an_a3c_ends_when_its_time_is_up():
    clock = FakeClock()

    @listener
    def slow(progress):
        clock.advance(sec(1))

    run = run_of(made("a3c", max_seconds=2.5, callbacks=(slow,)), clock=clock)
    assert 3 <= run.instance("shared").version < 12
    assert len(run.metrics["eval_mean"]) == 1


def test_without_a_limit_no_clock_is_read():
    run = ppo(options={"record_outside": True})
    assert not [row for row in run.outside if row[0] == "clock"]


# -- callbacks ------------------------------------------------------------------------------------------------------------


def test_a_callback_hears_each_round_what_was_played_and_learnt():
    told = []

    @listener
    def keeps(progress):
        told.append(progress)

    run = ppo(callbacks=(keeps,), eval_every=100)
    assert [p.round for p in told] == list(range(1, 11))
    assert [p.steps for p in told] == np.cumsum(run.metrics["steps"].values).tolist()
    assert sorted(r for p in told for r in p.returns) == sorted(run.metrics["episode_return"])
    assert [p.metrics["loss"] for p in told] == list(run.metrics["loss"])
    assert [p.evaluation for p in told if p.evaluation is not None] == list(run.metrics["eval_mean"])[:3]
    assert np.array_equal(told[-1].weights, weights(run))
    assert math.isnan(told[0].mean_return) or told[0].returns
    assert told[-1].fraction == pytest.approx(1.0, abs=0.1)


def test_a_class_that_listens_has_parameters_and_a_state_of_its_own():
    class Third(Listener):
        after: int = 3

        def hear(self, progress):
            self.log(count=progress.round)
            return STOP if progress.round == self.after else None

    assert len(ppo(callbacks=(Third,)).metrics["count"]) == 3
    run = ppo(callbacks=(partial(Third, after=2, every=80),))
    reached = [0, *(run.metrics["steps"].values.cumsum() // 80).tolist()]
    assert list(run.metrics["count"]) == [n for n in range(1, 11) if reached[n] > reached[n - 1]]
    assert run.instance("listeners[0]").after == 2


@pytest.mark.parametrize("overlap", [False, True])
def test_stop_ends_the_training_with_the_weights_that_were_heard_of(overlap):
    told = []

    @listener
    def stops(progress):
        told.append(progress.weights)
        return STOP if progress.round == 4 else None

    run = ppo(workers=2, callbacks=(stops,), overlap=overlap)
    assert run.instance("learner").over
    assert run.instance("learner").round < 10
    assert np.array_equal(told[-1], weights(run)) or overlap


def test_an_answer_changes_the_learner_before_the_next_round_as_a_set_at_that_tag_does():
    @listener
    def calmer(progress):
        return (
            {"learning_rate": 1e-5, "ent_coef": 0.5, "gamma": 0.5, "clip_range": 0.01} if progress.round == 3 else None
        )

    answered = ppo(callbacks=(calmer,), anneal_lr=False)
    # Round n is learnt at microstep n; before the fourth the change is there.
    changes = [
        (Tag(0, 4), f"learner.{name}", None, value)
        for name, value in {"learning_rate": 1e-5, "ent_coef": 0.5, "gamma": 0.5, "clip_range": 0.01}.items()
    ]
    changed = ppo(anneal_lr=False, options={"replay": changes})
    assert np.array_equal(weights(answered), weights(changed))
    assert not np.array_equal(weights(answered), weights(ppo(anneal_lr=False)))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"learning_rat": 1.0}, "it has .*learning_rate"),
        ({"learning_rate": -1.0}, "a learning rate is finite"),
        ({"ent_coef": "much"}, "ent_coef='much'"),
        ({"staleness": 3}, "asked for staleness=3"),
        (17, "answered 17; an answer is None, STOP"),
    ],
)
def test_an_answer_that_means_nothing_ends_the_run_and_says_what_would(answer, words):
    @listener
    def wrong(progress):
        return answer

    with pytest.raises(ReactionError, match=words) as caught:
        ppo(callbacks=(wrong,))
    assert isinstance(caught.value.__cause__, ConfigError)


@pytest.mark.parametrize("wrong", [print, int, lambda: 3])
def test_a_callback_that_is_no_listener_is_refused_at_assembly(wrong):
    with pytest.raises(ConfigError, match="makes no Listener"):
        made("ppo", callbacks=(wrong,))


def test_a_listener_that_was_made_already_is_refused_with_what_to_write():
    with pytest.raises(ConfigError, match=r"functools\.partial"):
        PPOConfig(callbacks=(Listener(),))
    with pytest.raises(ConfigError, match=r"\(report,\)"):
        PPOConfig(callbacks=heard)


def test_a_function_under_listener_is_a_function_still():
    assert heard.__name__ == "heard"
    assert listener(report)(type("P", (), {"round": 2})) == {"learning_rate": 1e-4}


# -- live hyper-parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ent_coef", "vf_coef", "gamma", "gae_lambda", "clip_range", "learning_rate"])
@pytest.mark.parametrize("kind", ["ppo", "ppo, two shards"])
def test_a_hyper_parameter_that_is_set_counts_from_the_next_round_on(kind, name):
    settings = {"total_timesteps": 160, "anneal_lr": False}
    at = {"ppo": Tag(0, 1), "ppo, two shards": Tag(0, 1)}[kind]
    program = made(kind, **settings)
    plain = weights(run_of(program))
    changed = run_of(program, replay=[(at, f"learner.{name}", None, 1e-4)])
    from_the_start = weights(run_of(made(kind, **settings, **{name: 1e-4})))
    assert np.array_equal(weights(changed), from_the_start)
    assert not np.array_equal(plain, from_the_start)


@pytest.mark.slow
def test_a_tuned_ppo_with_shards_is_repeated_bit_for_bit_on_any_number_of_workers():
    program = made("ppo, two shards")
    changes = [(Tag(0, 9), "learner.ent_coef", None, 0.3), (Tag(0, 30), "learner.gamma", None, 0.5)]
    first = run_of(program, fingerprint=True, replay=changes)
    assert [c.new for c in first.changes] == [0.3, 0.5]
    for workers in (2, 8):
        assert run_of(program, workers, fingerprint=True, replay=first.changes).fingerprint == first.fingerprint


@pytest.mark.slow
def test_an_a3c_sends_its_hyper_parameters_with_the_weights():
    program = made("a3c", anneal_lr=False)
    changed = run_of(program, replay=[(Tag(0), "shared.ent_coef", None, 0.5), (Tag(0), "shared.gamma", None, 0.5)])
    assert np.array_equal(weights(changed), weights(run_of(made("a3c", anneal_lr=False, ent_coef=0.5, gamma=0.5))))
    assert not np.array_equal(weights(changed), weights(run_of(program)))


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        ("ppo", "learner.gamma", 1.5, "it must be a number from 0 to 1"),
        ("ppo", "learner.ent_coef", -0.1, "it must be a finite number of at least 0"),
        ("ppo", "learner.clip_range", 0.0, "it must be a finite number above 0"),
        ("a2c", "learner.clip_range", 0.2, "this algorithm clips nothing"),
        ("ppo", "learner.max_seconds", -1.0, "it must be above 0"),
        ("dqn", "replay.gamma", 2.0, r"a discount is in \[0, 1\]"),
        ("ppo", "evaluator.eval_every", -1, "it is at least 0"),
    ],
)
def test_values_that_would_end_the_run_are_refused(name, path, value, words):
    program = made(name, total_timesteps=10**7, eval_every=10**6)
    run = program.start(workers=1, seed=1)
    try:
        with pytest.raises(ParameterError, match=words):
            run.set(path, value)
    finally:
        run.stop()


# -- the fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["eval_every", "keep_best"])
def test_what_needs_an_evaluation_is_refused_without_one(field):
    with pytest.raises(ConfigError, match="there would be no evaluation") as caught:
        PPOConfig(eval_episodes=0, **{field: True if field == "keep_best" else 100})
    assert caught.value.fields == (field, "eval_episodes")


def test_nothing_more_is_in_the_graph_than_what_was_asked_for():
    plain = [node.name for node in made("ppo").graph.reactors]
    assert plain == ["ppo", "ppo.learner", "ppo.rollouts[0]", "ppo.rollouts[1]", "ppo.evaluator"]
    assert "monitor" in str({node.name for node in made("ppo", stop_at_return=3.0).graph.reactors})
    assert "monitor" not in str({node.name for node in made("ppo", stop_at_return=3.0, eval_every=40).graph.reactors})


def test_the_overlapping_learner_starts_no_later_for_its_listeners():
    run = ppo(overlap=True, callbacks=CALLBACKS, options={"trace": True})
    played = run.result().trace.tags("rollouts[0].on_weights")
    assert [tag.time_ns for tag in played] == [ms(2 + k) for k in range(10)]
