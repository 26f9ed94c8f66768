"""PPO of several agents: what its networks compute, what groups have to do with each other, and whole trainings."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

for package in ("torch", "gymnasium", "pettingzoo"):
    pytest.importorskip(package)
sys.path.insert(0, str(Path(__file__).parent))

import torch  # noqa: E402
from teams import Allowed, Pushers, Reach, Shift  # noqa: E402

from reactornb import Program  # noqa: E402
from reactornb.rl import MultiAgentPPO, MultiAgentPPOConfig, evaluate_agents, load_policy, save_policy, watch  # noqa: E402
from reactornb.rl.errors import ConfigError, PolicyNotSavableError, SpaceError  # noqa: E402
from reactornb.rl.learner import adam  # noqa: E402
from reactornb.rl.minibatches import Minibatch  # noqa: E402
from reactornb.rl.multi_agent_groups import team_of  # noqa: E402
from reactornb.rl.multi_agent_learning import EachClipped, TeamMinibatch, TeamPPO, make_algorithm  # noqa: E402
from reactornb.rl.networks import Flat  # noqa: E402
from reactornb.rl.trained import best_policy  # noqa: E402

SMALL = {
    "total_timesteps": 480,
    "n_envs": 2,
    "n_steps": 30,
    "n_epochs": 2,
    "batch_size": 40,
    "hidden": (8,),
    "eval_episodes": 3,
}
ALIKE = partial(Reach, alike=True)


def rows_for(group, count, rng):
    """A minibatch of random rows."""
    spec = group.spec
    observations = rng.normal(size=(count, *spec.observation_shape)).astype(np.float32)
    if spec.mask is not None:
        observations[:, spec.mask.begin : spec.mask.begin + spec.mask.size] = rng.permuted(
            np.tile([1, 1, 0], (count, 1)), axis=1
        )
    if spec.is_box:
        actions = rng.normal(size=(count, *spec.action_shape)).astype(np.float32)
    else:
        actions = rng.integers(spec.n_actions, size=count)
        if spec.mask is not None:
            actions = spec.mask.of(observations).argmax(axis=1)
    numbers = [rng.normal(size=count).astype(np.float32) for _ in range(4)]
    return Minibatch(observations, actions, numbers[0] - 1.5, *numbers[1:], 0.2)


def algorithm(make, config, **how):
    """The algorithm of a team, its flat weights, and the team."""
    team = team_of(
        make,
        *(how.get(name, default) for name, default in (("share", True), ("critic", "central"), ("agent_ids", False))),
    )
    made = make_algorithm(team.groups, config, torch.Generator().manual_seed(3), torch.device("cpu"))
    return made, Flat(made.network, gradients=True), team


@pytest.mark.parametrize(
    ("make", "agent_ids"), [(ALIKE, True), (Shift, False), (Pushers, False), (Pushers, True), (Allowed, False)]
)
def test_the_gradient_of_a_centralised_critic_is_autograds(make, agent_ids):
    config = MultiAgentPPOConfig(hidden=(8, 8))
    made, flat, team = algorithm(make, config, agent_ids=agent_ids)
    assert made.analytic
    rows = rows_for(team.groups[0], 23, np.random.default_rng(1))
    out = np.empty(flat.parameter.numel(), np.float32)
    written = made.gradient(rows, flat.parameter.data.numpy(), out)
    loss, metrics = made.loss(rows.on(torch.device("cpu")))
    flat.parameter.grad.zero_()
    loss.backward()
    np.testing.assert_allclose(out, flat.parameter.grad.numpy(), rtol=2e-3, atol=2e-6)
    assert written["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert written["entropy"] == pytest.approx(metrics["entropy"].item(), rel=1e-5)
    values = made.network.value(torch.from_numpy(rows.observations)).detach().numpy()
    np.testing.assert_allclose(made.value(rows.observations), values, rtol=1e-4, atol=1e-6)


def test_a_policy_does_not_see_the_state_and_the_value_does_not_see_the_observation():
    made, _, team = algorithm(Shift, MultiAgentPPOConfig(hidden=(8,)))
    rows = torch.from_numpy(rows_for(team.groups[0], 5, np.random.default_rng(1)).observations)
    other = rows.clone()
    other[:, 3:] += 1.0  # the number in the group, and the state
    assert torch.equal(made.network.logits(rows), made.network.logits(other))
    assert not torch.equal(made.network.value(rows), made.network.value(other))
    other = rows.clone()
    other[:, :3] += 1.0
    assert torch.equal(made.network.value(rows), made.network.value(other))


@pytest.mark.parametrize("critic", ["central", "own"])
def test_groups_do_not_meet_in_a_gradient_and_pieces_add_up_to_the_whole(critic):
    made, flat, team = algorithm(Reach, MultiAgentPPOConfig(hidden=(8,)), share=False, critic=critic)
    assert isinstance(made, TeamPPO)
    rng = np.random.default_rng(2)
    wolf, sheep = (rows_for(group, count, rng) for group, count in zip(team.groups, (17, 5), strict=True))
    weights = flat.parameter.data.numpy()
    whole, other, alone = (np.empty_like(weights) for _ in range(3))
    metrics = made.gradient(TeamMinibatch([wolf, sheep], [1.0, 1.0]), weights, whole)
    made.gradient(TeamMinibatch([wolf, sheep[:2]], [1.0, 1.0]), weights, other)
    (_, end), (begin, _) = made._blocks
    assert end == begin
    assert np.array_equal(whole[:end], other[:end])
    assert not np.array_equal(whole[end:], other[end:])
    made.parts[0].gradient(wolf, weights[:end].copy(), alone[:end])
    assert np.array_equal(whole[:end], alone[:end])
    assert {"policy_loss/wolf", "entropy/sheep"} < set(metrics)
    made.gradient(TeamMinibatch([wolf, sheep[:0]], [1.0, 1.0]), weights, other)
    assert not other[end:].any()  # a group of which nobody was there

    both = TeamMinibatch([wolf, sheep], [1.0, 1.0])
    total, losses = np.zeros_like(weights), 0.0
    for a, b in ((0, 6), (6, 7), (7, 17)):  # in the second piece there is no sheep, or hardly one
        losses += (b - a) / 17 * made.gradient(both[a:b], weights, other)["loss"]
        total += other * np.float32((b - a) / 17)
    np.testing.assert_allclose(total, whole, rtol=1e-3, atol=1e-6)
    assert losses == pytest.approx(metrics["loss"], rel=1e-5)

    flat.parameter.grad.zero_()
    loss, _ = made.loss(TeamMinibatch([m.on(torch.device("cpu")) for m in (wolf, sheep)], [1.0, 1.0]))
    loss.backward()
    np.testing.assert_allclose(whole, flat.parameter.grad.numpy(), rtol=2e-3, atol=2e-6)


def test_a_gradient_is_cut_for_each_group_by_itself():
    _, flat, _ = algorithm(Reach, MultiAgentPPOConfig(hidden=(8,)), share=False)
    half = flat.parameter.numel() // 2
    flat.parameter.grad[:half] = 3.0
    flat.parameter.grad[half:] = 1e-4
    blocks = [(0, half), (half, flat.parameter.numel())]
    EachClipped([flat.parameter], lr=0.0, optimizer_class=adam("cpu"), blocks=blocks, max_norm=0.5).step()
    assert float(flat.parameter.grad[:half].norm()) == pytest.approx(0.5, rel=1e-4)
    assert flat.parameter.grad[half:].tolist() == [pytest.approx(1e-4)] * (len(flat.parameter) - half)


# -- trainings -------------------------------------------------------------------------------------------------------------

NORMAL = {"normalize_observations": True, "normalize_rewards": True}
TRAININGS = {
    "shared, a centralised critic": (ALIKE, {}),
    "shared, its own critic, two shards": (ALIKE, {"critic": "own", "shards": 2, "n_steps": (30, 15)}),
    "each its own, normalised, overlap": (Reach, {"share": False, "overlap": True, **NORMAL}),
    "each its own, three shards": (Reach, {"share": False, "shards": 3}),
    "groups, numbers, who leaves and joins": (
        Shift,
        {"share": {"a": ["late"], "b": ["early", "all"]}, "agent_ids": True, **NORMAL},
    ),
    "continuous": (Pushers, {"agent_ids": True, **NORMAL}),
    "masks": (Allowed, dict(NORMAL)),
    "an own network": (ALIKE, {"critic": "own", "network": lambda spec: torch.nn.Linear(3, 5)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_the_same_for_any_number_of_workers(name):
    make, how = TRAININGS[name]
    prints = {
        Program(MultiAgentPPO(env=make, **{**SMALL, **how})).run(seed=5, workers=w).fingerprint for w in (1, 2, 8)
    }
    assert len(prints) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"share": False, "critic": "own"}])
def test_agents_learn_and_returns_are_told_of_the_team_and_of_each(how):
    make = ALIKE if not how else Reach
    training = MultiAgentPPO(env=make, **{**SMALL, "total_timesteps": 6000, "learning_rate": 5e-3}, **how)
    metrics = Program(training).run(seed=1).metrics
    team, wolf, sheep = (metrics[name].values for name in ("episode_return", "return/wolf", "return/sheep"))
    assert np.array_equal(team, wolf + sheep)
    assert team[:20].mean() < 6.5
    assert metrics["eval_mean"][-1] == 10.0  # all that there is
    assert list(metrics["eval_return/wolf"]) == [5.0] * 3
    assert set(metrics["episode_length"]) == {5.0}
    assert metrics["steps"].values.sum() == 6000


@pytest.mark.slow
def test_it_stops_at_a_return_that_its_evaluations_reach_and_keeps_the_best_weights():
    training = MultiAgentPPO(
        env=ALIKE, **{**SMALL, "total_timesteps": 60_000, "learning_rate": 3e-4}, eval_every=240, stop_at_return=9.5, keep_best=True,
    )  # fmt: skip
    program = Program(training)
    metrics = program.run(seed=1).metrics
    told = metrics["eval_mean"].values
    assert told[-1] >= 9.5
    assert (told[:-1] < 9.5).all()
    assert metrics["steps"].values.sum() < 60_000
    returns = evaluate_agents(best_policy(program), ALIKE, episodes=4)
    assert sum(returns.values()).mean() >= 9.0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "an own network"])
def test_a_saved_policy_chooses_as_its_agent_did(name, tmp_path):
    make, how = TRAININGS[name]
    program = Program(MultiAgentPPO(env=make, **{**SMALL, **how}))
    program.run(seed=5)
    evaluator = program.last_run.instance("evaluator")
    team, actor = evaluator.team, evaluator.actor
    rng = np.random.default_rng(0)
    for g, group in enumerate(team.groups):
        rows = rows_for(group, 50, rng).observations
        width = int(np.prod(group.own.observation_shape))
        several = len(group.agents) > 1 and not group.is_plain
        for j, agent in enumerate(group.agents):
            if several:
                rows[:, width : width + len(group.agents)] = np.eye(len(group.agents))[j]
            everyone = [np.zeros((1, *other.spec.observation_shape), np.float32) for other in team.groups]
            everyone[g] = rows
            played = actor.greedy(everyone)[g]
            policy = load_policy(save_policy(program, tmp_path / f"{agent}.safetensors", agent=agent))
            seen = rows[:, :width].reshape(50, *group.own.observation_shape)
            if group.own.mask is not None:
                seen = {"action_mask": seen[:, :3].astype(np.int8), "observation": seen[:, 3:]}
            if group.own.is_box:
                np.testing.assert_allclose(policy(seen), np.clip(played, -1, 1), rtol=1e-4, atol=1e-5)
            else:
                assert np.array_equal(policy(seen), played + group.own.action_start)
    files = {agent: tmp_path / f"{agent}.safetensors" for agent in team.agents}
    once, again = (evaluate_agents(files, make, episodes=3, seed=4) for _ in range(2))
    assert set(once) == set(team.agents)
    assert all(np.array_equal(once[agent], again[agent]) for agent in once)


@pytest.mark.slow
def test_it_stops_at_a_mean_return_of_the_whole_teams_episodes():
    training = MultiAgentPPO(
        env=ALIKE, **{**SMALL, "total_timesteps": 60_000, "learning_rate": 5e-3}, stop_at_return=8.0
    )
    metrics = Program(training).run(seed=1).metrics
    returns = metrics["episode_return"].values
    means = np.convolve(returns, np.full(100, 0.01), "valid")
    assert means[-1] >= 8.0  # of the last 100, of both agents together
    assert means[:-24].max() < 8.0  # a round has 24 episodes
    assert metrics["steps"].values.sum() < 60_000


@pytest.mark.slow
def test_a_kept_run_has_the_best_policy_of_each_agent_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REACTORNB_RUNS", str(tmp_path))
    training = MultiAgentPPO(
        env=Reach, **{**SMALL, "total_timesteps": 240}, share=False, eval_every=120, keep_best=True
    )
    program = Program(training)
    run = program.start(seed=1, keep="team")
    run.result()
    files = {agent: run.kept / f"best-{agent}.safetensors" for agent in ("wolf", "sheep")}
    seen = np.eye(2, dtype=np.float32)
    assert np.array_equal(load_policy(files["wolf"])(seen), best_policy(program, agent="wolf")(seen))
    assert set(evaluate_agents(files, Reach, episodes=1)) == {"wolf", "sheep"}
    with pytest.raises(PolicyNotSavableError, match="trains several agents: its environment cannot be watched"):
        watch(program)


@pytest.mark.slow
def test_whose_policy_is_meant_has_to_be_said_where_there_are_several(tmp_path):
    program = Program(MultiAgentPPO(env=Reach, **{**SMALL, "total_timesteps": 120}, share=False))
    program.run(seed=1)
    with pytest.raises(PolicyNotSavableError, match="has 2 policies: say whose is meant, agent= one of wolf, sheep"):
        save_policy(program, tmp_path / "p.safetensors")
    with pytest.raises(PolicyNotSavableError, match=r"no agent .shep.\. Did you mean .sheep."):
        save_policy(program, tmp_path / "p.safetensors", agent="shep")
    wolf = load_policy(save_policy(program, tmp_path / "wolf.safetensors", agent="wolf"))
    with pytest.raises(SpaceError, match="sheep has observations"):
        evaluate_agents(wolf, Reach)
    with pytest.raises(ConfigError, match="policies name wolf; sheep has none"):
        evaluate_agents({"wolf": wolf}, Reach)
    with pytest.raises(ConfigError, match="there is no agent 'goat'"):
        evaluate_agents({"wolf": wolf, "sheep": wolf, "goat": wolf}, Reach)


def test_what_does_not_go_together_is_refused_before_anything_runs():
    for how, words in (
        ({"critic": "centre"}, 'critic=\'centre\' must be "central" or "own"'),
        ({"share": "wolf"}, "share='wolf' must be True, False, or a dict of groups"),
        ({"video_every": 100}, "video_every films one agent's environment"),
        ({"network": lambda spec: torch.nn.Linear(3, 5)}, "Write critic='own', and leave agent_ids out"),
    ):
        with pytest.raises(ConfigError, match=words):
            Program(MultiAgentPPO(env=ALIKE, **how))


def test_functions_play_beside_each_other_without_a_program():
    def follow(observation):
        return int(np.argmax(observation))

    returns = evaluate_agents({"all": follow}, Reach, episodes=2, seed=3, groups={"all": ["wolf", "sheep"]})
    assert {agent: values.tolist() for agent, values in returns.items()} == {"wolf": [5, 5], "sheep": [5, 5]}
    returns = evaluate_agents(lambda _: 1, Shift, episodes=2)
    assert returns["early"].tolist() == [3, 3]
    assert returns["late"].tolist() == [309, 309]
    assert returns["all"].tolist() == [810, 810]


def test_settings_name_each_hyper_parameter_of_ppo_too():
    settings = MultiAgentPPO(env=ALIKE, share=False, learning_rate=0.5).settings
    assert (settings.share, settings.learning_rate) == (False, 0.5)
    assert replace(settings, critic="own").critic == "own"
