"""When an episode of many agents is over, who acts in it, and whose rewards count, for environments that keep PettingZoo's contract in their own ways."""

from functools import partial

import pytest

pytest.importorskip("pettingzoo")

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from reactornb import Program
from reactornb.errors import ReactionError
from reactornb.rl.errors import ContractError, UnknownEnvironmentError
from reactornb.rl.marl import MultiAgent


class Crowd(ParallelEnv):
    """Agent k is there from its first step until its last; every agent gets a reward of 1 a step. What it is told is written down.

    Args:
        told: gets the actions of every step, and "reset".
        spans: for each agent its first and its last step.
        keeps: leave those that have ended in `agents`.
        extra: further rewards and terminations, for words that are no agents.
    """

    metadata = {"name": "crowd"}  # noqa: RUF012 - as PettingZoo has it

    def __init__(self, told, spans, keeps=False, extra=None, cut=False):
        self.told, self.spans, self.keeps, self.extra, self.cut = told, spans, keeps, extra or {}, cut
        self.possible_agents = list(spans)

    def observation_space(self, agent):
        return spaces.Box(-9, 99, (1,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def there(self):
        return [a for a, (first, last) in self.spans.items() if first <= self.now < last]

    def seen(self, agents):
        return {a: np.full(1, self.now + 1, np.float32) for a in agents}

    def reset(self, seed=None, options=None):
        self.told.append("reset")
        self.now = 0
        self.agents = self.there()
        return self.seen(self.agents), {a: {} for a in self.agents}

    def step(self, actions):
        self.told.append("".join(actions))
        before = self.agents
        self.now += 1
        now = [*before, *(a for a in self.there() if a not in before)]
        over = {a: self.now >= self.spans[a][1] for a in now}
        none = dict.fromkeys(now, False)
        self.agents = now if self.keeps else [a for a in now if not over[a]]
        ended, cut = (none, over) if self.cut else (over, none)
        everybody = all(self.now >= last for _, last in self.spans.values())
        if "__all__" in self.extra:
            ended = {**ended, "__all__": everybody}
        return self.seen(now), {**dict.fromkeys(now, 1.0), **self.extra}, ended, cut, {a: {} for a in now}


def said(steps=7, **how):
    told = []
    result = Program(MultiAgent, env=lambda: Crowd(told, **how), total_timesteps=steps).run(
        workers=1, seed=1, fast=True
    )
    return told, list(result.metrics.get("episode_return", ()))


WHOLE = {"a": (0, 3), "b": (0, 3)}
EARLY = {"a": (0, 1), "b": (0, 3)}
LATE = {"a": (0, 4), "b": (2, 3)}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize(
    ("spans", "acts", "returns"),
    [
        (WHOLE, ["ab", "ab", "ab"], 6.0),
        (EARLY, ["ab", "b", "b"], 4.0),
        (LATE, ["a", "a", "ab", "a"], 6.0),  # b is rewarded at step 2, when it comes, and at step 3
    ],
)
def test_an_episode_is_over_when_all_have_ended_whether_or_not_agents_is_emptied(spans, acts, returns, keeps, cut):
    told, found = said(spans=spans, keeps=keeps, cut=cut)
    expected = ["reset", *acts] * 3
    assert told == expected[: len(told)]
    assert len(found) >= 1
    assert set(found) == {returns}


def test_rewards_of_words_that_are_no_agents_are_not_summed_and_all_ends_an_episode():
    told, found = said(spans=WHOLE, keeps=True, extra={"__all__": 400.0, "__common__": 7.0})
    assert told[:5] == ["reset", "ab", "ab", "ab", "reset"]
    assert found == [6.0, 6.0]


def test_the_end_of_all_counts_even_where_no_agent_says_it():
    class Whole(Crowd):
        def step(self, actions):
            seen, rewards, ended, cut, infos = super().step(actions)
            return seen, rewards, {**dict.fromkeys(ended, False), "__all__": self.now == 2}, cut, infos

    told = []
    Program(MultiAgent, env=lambda: Whole(told, {"a": (0, 9)}, True), total_timesteps=5).run(workers=1, fast=True)
    assert told[:4] == ["reset", "a", "a", "reset"]


def test_one_that_has_ended_is_seen_as_zeros_though_the_environment_goes_on_showing_it():
    seen = []

    def written(inputs, actions, rng):
        return lambda joint: seen.append(joint.tolist()) or 0

    program = Program(
        MultiAgent, env=partial(Crowd, [], EARLY, True), total_timesteps=4, policies=[written, lambda *_: lambda j: 0]
    )
    program.run(workers=1, fast=True)
    assert seen == [[1, 1], [0, 2], [0, 3], [1, 1]]


class Stranger(Crowd):
    def step(self, actions):
        seen, rewards, *rest = super().step(actions)
        return seen, {**rewards, "c": 1.0}, *rest


class Four(Crowd):
    def step(self, actions):
        return super().step(actions)[:4]


class Alone(Crowd):
    def reset(self, seed=None, options=None):
        return super().reset()[0]


class Nobody(Crowd):
    def reset(self, seed=None, options=None):
        found = super().reset()
        self.agents = []
        return found


class Poor(Crowd):
    def step(self, actions):
        seen, rewards, *rest = super().step(actions)
        return seen, {**rewards, "b": float("nan")}, *rest


class Blind(Crowd):
    def seen(self, agents):
        return {**super().seen(agents), "b": np.full(1, np.nan)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Stranger, "rewards are for 'c', who is not among its possible_agents: a, b"),
        (Four, r"terminations, truncations, infos\); it returned 4 values"),
        (Alone, r"returns \(observations, infos\), a dict each; it returned a dict"),
        (Nobody, "its `agents` is empty"),
        (Poor, "the reward of b after 0 steps is nan"),
        (Blind, "the observation of b holds nan after 0 steps"),
    ],
)
def test_what_breaks_pettingzoo_s_contract_is_named_with_the_environment(kind, words):
    with pytest.raises(ReactionError) as raised:
        Program(MultiAgent, env=partial(kind, [], WHOLE), total_timesteps=5).run(workers=1, fast=True)
    cause = raised.value.__cause__
    assert isinstance(cause, ContractError)
    with pytest.raises(ContractError, match=words):
        raise cause
    assert kind.__name__ in str(cause)


@pytest.mark.parametrize("make", [Crowd([], WHOLE), 3])
def test_an_environment_in_place_of_a_function_is_refused_at_assembly(make):
    with pytest.raises(UnknownEnvironmentError, match="env is a function that makes a parallel environment"):
        Program(MultiAgent, env=make)


def test_a_function_that_returns_nothing_is_named_at_assembly():
    with pytest.raises(UnknownEnvironmentError, match=r"<lambda> \(.*line \d+\) made None \(does it lack its return"):
        Program(MultiAgent, env=lambda: None)
