"""Copies of a parallel environment as a rollout steps them: who is there, what their rows hold, and what of them is learnt from."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pettingzoo")
sys.path.insert(0, str(Path(__file__).parent))

from gymnasium import spaces
from teams import Pushers, Reach, Shift

from reactornb.rl.envs import spec_of
from reactornb.rl.errors import (
    ConfigError,
    ContractError,
    ObservationError,
    SpaceError,
    UnknownEnvironmentError,
)
from reactornb.rl.multi_agent_envs import TeamEnvs, check_team_finite
from reactornb.rl.multi_agent_groups import team_of
from reactornb.rl.multi_agent_storage import TeamTrajectory
from reactornb.rl.parallel_envs import make_parallel
from reactornb.rl.watchdog import Watch


def played(make, steps, copies=1, *, share=True, critic="own", agent_ids=False, action=0):
    """A trajectory in which everybody always does the same."""
    team = team_of(make, share, critic, agent_ids)
    envs = TeamEnvs(make, copies, team, Watch("test", "it", 0))
    taken = TeamTrajectory.empty(team.groups, steps, copies)
    envs.reset(7, [group.observations[0] for group in taken.groups])
    for t in range(steps):
        for group in taken.groups:
            group.actions[t] = action
        envs.step(t, taken)
    return team, taken


def test_agents_leave_early_and_join_late_and_only_those_there_act_and_are_learnt_from():
    log = []
    _, taken = played(lambda: Shift(log), 6, action=2)
    (rows,) = taken.groups
    #              early  late   all
    assert rows.valid.tolist() == [
        [True, False, True],
        [True, True, True],
        [False, True, True],
        [False, True, True],
        [True, False, True],  # the next episode
        [True, True, True],
    ]
    assert rows.rewards.tolist() == [
        [1, 0, 201],
        [2, 102, 202],
        [0, 103, 203],
        [0, 104, 204],
        [1, 0, 201],
        [2, 102, 202],
    ]
    assert np.argwhere(rows.terminated).tolist() == [[1, 0], [5, 0]]
    assert np.argwhere(rows.truncated).tolist() == [[3, 1], [3, 2]]
    assert [set(acted) for acted in log[:3]] == [{"early", "all"}, {"early", "late", "all"}, {"late", "all"}]
    assert log[0] == {"early": 3, "all": 3}  # their spaces begin with 1
    assert taken.ended[:, 0].tolist() == [False, False, False, True, False, False]
    assert taken.rewards[:, 0].tolist() == [202, 306, 306, 308, 202, 306]
    assert taken.steps == 6


def test_who_is_gone_sees_zeros_and_what_a_cut_episode_led_to_is_kept_beside():
    _, taken = played(Shift, 5)
    (rows,) = taken.groups
    assert rows.observations[2].tolist() == [[0, 0, 0], [0, 2, 1], [0, 2, 2]]
    assert rows.observations[4].tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 2]]  # the next episode's first
    assert [(t, n, seen.tolist()) for t, n, seen in rows.finals] == [(3, 1, [0, 4, 1]), (3, 2, [0, 4, 2])]


def test_a_row_holds_the_observation_the_number_in_the_group_and_the_state():
    team, taken = played(Shift, 4, share={"two": ["all", "early"], "late": ["late"]}, critic="central")
    two, late = taken.groups
    assert [group.agents for group in team.groups] == [("early", "all"), ("late",)]
    assert two.observations[1].tolist() == [[0, 1, 0, 1, 0, 1, 3], [0, 1, 2, 0, 1, 1, 3]]
    assert late.observations[1].tolist() == [[0, 1, 1, 1, 3]]  # alone: no number
    assert [(n, seen.tolist()) for _, n, seen in two.finals] == [(1, [0, 4, 2, 0, 1, 4, 0])]
    assert [group.critic for group in team.groups] == [3, 3]
    assert [group.width for group in team.groups] == [3, 3]
    seen = played(Shift, 1, critic="central", agent_ids=True)[0].groups[0]
    assert (seen.width, seen.critic) == (6, 3)


def test_without_a_state_of_its_own_value_functions_see_what_all_agents_see():
    team, taken = played(Reach, 1, share=False, critic="central")
    wolf, sheep = (group.observations[0, 0] for group in taken.groups)
    assert team.state == "joined"
    assert wolf.tolist() == [*wolf[:2], *wolf[:2], *sheep[:3]]
    assert sheep.tolist() == [*sheep[:3], *wolf[:2], *sheep[:3]]


def test_copies_lie_side_by_side_and_each_has_a_seed_of_its_own():
    _, one = played(lambda: Reach(alike=True), 7, copies=2)
    (rows,) = one.groups
    assert rows.observations.shape == (8, 4, 3)
    assert one.rewards.shape == (7, 2)
    assert not np.array_equal(rows.observations[:, :2], rows.observations[:, 2:])
    alone = make_parallel(lambda: Reach(alike=True))
    seen, _ = alone.reset(seed=8)  # 7 + 1
    assert np.array_equal(rows.observations[0, 2:], [seen["wolf"], seen["sheep"]])


def test_actions_of_a_box_are_cut_to_its_bounds():
    _, taken = played(Pushers, 3, critic="central", action=5.0)
    assert taken.rewards.tolist() == [[-4.0]] * 3


class Silent(Shift):
    """`all` leaves without a word at step 3; nothing is truncated."""

    def step(self, actions):
        seen, rewards, terminated, truncated, infos = super().step(actions)
        self.agents = [a for a in self.agents if a != "all" or self.now < 3]
        return seen, rewards, terminated, dict.fromkeys(truncated, False), infos


def test_who_leaves_without_a_word_has_terminated():
    _, taken = played(Silent, 4)
    (rows,) = taken.groups
    assert np.argwhere(rows.terminated).tolist() == [[1, 0], [2, 2], [3, 1]]


class Everyone(Shift):
    """Says that all are truncated in one word, and leaves its `agents` as they are."""

    def step(self, actions):
        seen, rewards, terminated, _, infos = super().step(actions)
        return seen, rewards, terminated, {"__all__": self.now == 2}, infos


def test_a_word_for_all_ends_the_episode_of_all():
    _, taken = played(Everyone, 3)
    (rows,) = taken.groups
    assert np.argwhere(rows.truncated).tolist() == [[1, 0], [1, 1], [1, 2]]
    assert taken.ended[:, 0].tolist() == [False, True, False]


def test_groups_that_are_none_are_refused_by_name():
    for share, words in (
        ({"a": ["early", "lat"], "b": ["all", "late"]}, "there is no agent 'lat'. Did you mean 'late'?"),
        ({"a": ["early"], "b": ["all"]}, "late is in no group"),
        ({"a": ["early", "late"], "b": ["late", "all"]}, "late is in several groups"),
        ({"a": ["early", "late", "all"], "b": []}, "a group has no agents"),
    ):
        with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
            team_of(Shift, share, "own", False)


def test_agents_of_one_group_have_the_same_spaces():
    with pytest.raises(
        SpaceError,
        match=r"the observations of wolf are .*, those of sheep .*share=\{'wolf': \['wolf'\], 'sheep': \['sheep'\]\}",
    ):
        team_of(Reach, True, "central", False)


class Pictured(Shift):
    def observation_space(self, agent):
        return spaces.Box(0, 255, (40, 40, 3), np.uint8)


def test_frames_are_not_put_into_a_row():
    with pytest.raises(SpaceError, match="critic='own' and agent_ids=False"):
        team_of(Pictured, True, "central", False)
    assert team_of(Pictured, True, "own", False).groups[0].is_plain


def test_what_is_no_parallel_environment_is_refused():
    with pytest.raises(UnknownEnvironmentError, match="a module with a function parallel_env"):
        make_parallel("simple_sprd_v3")
    with pytest.raises(UnknownEnvironmentError, match="has no function parallel_env"):
        make_parallel("json.decoder")
    with pytest.raises(UnknownEnvironmentError, match="no package 'nowhere'"):
        make_parallel("nowhere.spread_v3")
    with pytest.raises(UnknownEnvironmentError, match="a function that makes a parallel environment"):
        make_parallel(Shift())
    with pytest.raises(UnknownEnvironmentError, match=r"MultiAgentPPO\(env=…\) trains in it"):
        spec_of(Shift)


class Wide(Shift):
    def seen(self, agents):
        return {a: np.zeros(4 if self.now == 1 else 3, np.float32) for a in agents}


class Mute(Shift):
    def seen(self, agents):
        return {a: s for a, s in super().seen(agents).items() if a != "all" or self.now != 1}


class Broken(Shift):
    def seen(self, agents):
        return {a: s / (0 if a == "late" else 1) for a, s in super().seen(agents).items()}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_what_an_environment_does_wrong_is_said_with_the_agents_name():
    with pytest.raises(ObservationError, match=r"early observed an array \(4,\) after 0 steps; its space says \(3,\)"):
        played(Wide, 1)
    with pytest.raises(ContractError, match="all is in its `agents` after 0 steps and has no observation"):
        played(Mute, 1)
    team, taken = played(Broken, 1, copies=2)
    with pytest.raises(ContractError, match="environment 0: its observation for late holds"):
        check_team_finite(team, taken)
