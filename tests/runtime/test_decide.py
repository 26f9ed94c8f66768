"""`decide(costs, history) -> Plan` as tables: what is shared, in which parts, and for how many rounds."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from reactornb.runtime.sharing import UNKNOWN, History, Plan, Policy, decide

US = 1000


def reactions(*costs):
    return [SimpleNamespace(cost_ns=cost, size=1, name=i) for i, cost in enumerate(costs)]


def group(*costs, total=None):
    members = reactions(*costs)
    return SimpleNamespace(cost_ns=sum(costs) if total is None else total, size=len(members), reactions=members)


def known(policy=None, **fields):
    """A history with these fields."""
    history = History(policy or Policy())
    for name, value in fields.items():
        setattr(history, name, value)
    return history


def names(plan):
    """The names of what each worker gets, piece by piece."""
    return None if plan.parts is None else [[[r.name for r in piece] for piece in part] for part in plan.parts]


ALWAYS = Policy(share_above_ns=0)


@pytest.mark.parametrize(
    ("costs", "history", "shared"),
    [
        pytest.param(reactions(), known(), False, id="nothing"),
        pytest.param(reactions(10**9), known(), False, id="one reaction"),
        pytest.param(reactions(10**9), known(ALWAYS), False, id="one reaction, share all"),
        pytest.param(reactions(19 * US, 20 * US), known(), False, id="below the threshold"),
        pytest.param(reactions(20 * US, 20 * US), known(), True, id="at the threshold"),
        pytest.param(reactions(1, 1), known(ALWAYS), True, id="share all"),
        pytest.param(reactions(-1, 1), known(), True, id="a cost is not known"),
        pytest.param([group(-1, -1, total=UNKNOWN)], known(), True, id="a group that was not measured"),
        pytest.param([group(*[US] * 100)], known(), True, id="a trial: shared first"),
        pytest.param([group(*[US] * 100)], known(shared_ns=600), False, id="then alone"),
        pytest.param([group(*[US] * 100)], known(shared_ns=600, alone_ns=1000), True, id="then the faster way"),
        pytest.param([group(*[US] * 100)], known(shared_ns=1600, alone_ns=1000), False, id="alone was faster"),
        pytest.param(
            [group(*[US] * 100)], known(shared_ns=1600, alone_ns=1000, retry_in=0), True, id="the slower way is due"
        ),
        pytest.param(
            [group(*[US] * 100)], known(shared_ns=600, alone_ns=1000, retry_in=0), False, id="alone is due"
        ),
        pytest.param(
            reactions(*[60 * US] * 4), known(shared_ns=1600, alone_ns=1000), True, id="surely worth it: no trial"
        ),
        pytest.param(
            [group(*[US] * 100)],
            known(Policy(trials=False), shared_ns=1600, alone_ns=1000),
            True,
            id="trials are off",
        ),
    ],
)  # fmt: skip
def test_what_is_shared(costs, history, shared):
    assert (decide(costs, history, 2).parts is not None) == shared


@pytest.mark.parametrize(
    ("costs", "width", "policy", "parts"),
    [
        pytest.param(reactions(5, 9, 7), 2, ALWAYS, [[[2], [0]], [[1]]], id="in turn, the longest first"),
        pytest.param(reactions(9, 2, 9, 1), 2, ALWAYS, [[[0], [1]], [[2], [3]]], id="by cost where in turn takes longer"),
        pytest.param(
            reactions(5, 9, 7), 2, replace(ALWAYS, in_turn=False), [[[1]], [[2], [0]]], id="by cost in any case"
        ),
        pytest.param(reactions(1, 1, 1, 1, 8), 2, ALWAYS, [[[4]], [[0], [1], [2], [3]]], id="one long reaction"),
        pytest.param(reactions(6, 6, 6), 4, ALWAYS, [[[0]], [[1]], [[2]], []], id="more workers than reactions"),
        pytest.param([group(*[4 * US] * 16)], 2, Policy(), [[[0, 2, 4, 6], [8, 10, 12], [14]], [[1, 3, 5, 7], [9, 11, 13], [15]]],
            id="cheap reactions, in pieces of 12 µs and more",
        ),
        pytest.param([group(*[US] * 4)], 2, ALWAYS, [[[0, 2]], [[1, 3]]], id="very cheap reactions, one piece each"),
        pytest.param(
            [group(*[US] * 4)], 2, replace(ALWAYS, pieces=False), [[[0], [2]], [[1], [3]]], id="pieces are off"
        ),
        pytest.param([group(*[60 * US] * 4)], 2, Policy(), [[[0], [2]], [[1], [3]]], id="costly reactions, one by one"),
        pytest.param(
            reactions(*[4 * US] * 4), 2, ALWAYS, [[[0], [2]], [[1], [3]]], id="no groups: reactions that may be inactive"
        ),
        pytest.param(
            [group(*[30 * US] * 2), group(*[30 * US] * 2)], 2, Policy(), [[[0], [0]], [[1], [1]]], id="two groups on a level"
        ),
    ],
)  # fmt: skip
def test_who_gets_what(costs, width, policy, parts):
    assert names(decide(costs, known(policy), width)) == parts


@pytest.mark.parametrize(
    ("cost_ns", "profiled", "policy", "unmeasured"),
    [
        (15 * US, 0, Policy(), 1),
        (15 * US, 4, Policy(), 5),
        (15 * US, 100, Policy(), 64),
        (15 * US, 100, Policy(most_rounds=7), 7),
        (60 * US, 100, Policy(), 25),  # 30 µs are a hundredth of 25 rounds of 240 µs on two workers
        (60 * US, 100, Policy(profile_ns=3_000), 2),
        (60 * US, 100, Policy(overhead=1), 0),
        (10**9, 100, Policy(), 0),
        (-1, 100, Policy(), 0),  # no cost is known
    ],
)
def test_how_many_rounds_pass_until_times_are_taken_again(cost_ns, profiled, policy, unmeasured):
    history = known(replace(policy, trials=False), profiled=profiled)
    assert decide(reactions(*[cost_ns] * 4), history, 2).unmeasured == unmeasured


def test_a_round_of_a_trial_is_measured():
    costs = [group(*[US] * 100)]
    assert decide(costs, known(profiled=9), 2).unmeasured == 0
    assert decide(costs, known(profiled=9, shared_ns=900, alone_ns=800, retry_in=0), 2).unmeasured == 0
    assert decide(costs, known(profiled=9, shared_ns=800, alone_ns=900), 2).unmeasured == 10


KEPT = Plan((((1,),), ((2,),)))
IN_PIECES = Plan((((1, 2),), ((3, 4),)), in_pieces=True)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, True),
        ({"cost_changed": True}, False),
        ({"cost_changed": True, "now_ns": 5, "replan_not_before_ns": 6}, True),
        ({"cost_changed": True, "now_ns": 6, "replan_not_before_ns": 6}, False),
        ({"plan_rounds": 15}, True),
        ({"plan_rounds": 16}, False),
        ({"plan_rounds": 16, "replan_after": 32}, True),
        ({"profiled": 30, "outlier_rounds": 10}, True),
        ({"profiled": 30, "outlier_rounds": 10, "plan": IN_PIECES}, False),  # times vary: no more pieces
        ({"profiled": 40, "outlier_rounds": 5, "plan": IN_PIECES}, True),
        ({"profiled": 20, "outlier_rounds": 3, "plan": IN_PIECES}, True),  # too few to tell
        ({"cost_changed": True, "policy": Policy(replanning=False)}, False),  # the first plan knew no cost
        ({"cost_changed": True, "policy": Policy(replanning=False), "replan_after": 32}, True),
        ({"plan_rounds": 16, "policy": Policy(replanning=False)}, True),
    ],
)
def test_when_a_plan_is_made_anew(fields, kept):
    history = known(**({"plan": KEPT} | fields))
    plan = decide(reactions(*[60 * US] * 4), history, 2)
    assert (plan.parts is history.plan.parts) == kept


def test_a_level_whose_times_vary_is_not_handed_out_in_pieces():
    costs = [group(*[4 * US] * 16)]
    assert decide(costs, known(profiled=16, outlier_rounds=2), 2).in_pieces
    assert not decide(costs, known(profiled=16, outlier_rounds=3), 2).in_pieces


def test_a_history_that_forgets_its_plan_keeps_what_trials_have_shown():
    history = known(
        plan=KEPT, shared_ns=5, alone_ns=6, profiled=9, outlier_rounds=9, cost_changed=True, replan_after=64
    )
    history.forget_plan()
    assert history == known(shared_ns=5, alone_ns=6)


def test_a_new_plan_halves_what_is_known_of_outliers_and_drops_it_if_a_cost_has_changed():
    history = known(plan=KEPT, profiled=9, outlier_rounds=4, now_ns=7)
    history.planned(KEPT, 3)
    assert (history.profiled, history.outlier_rounds, history.replan_after) == (4, 2, 32)
    assert history.replan_not_before_ns == 307
    history.cost_changed = True
    history.planned(KEPT, 3)
    assert (history.profiled, history.outlier_rounds, history.replan_after, history.cost_changed) == (0, 0, 64, False)


def test_decide_changes_nothing():
    history = known(plan=KEPT, cost_changed=True, profiled=3)
    costs = reactions(9 * US, 90 * US, 45 * US)
    before, costs_before = replace(history), [vars(item).copy() for item in costs]
    first, second = decide(costs, history, 2), decide(costs, history, 2)
    assert history == before
    assert [vars(item) for item in costs] == costs_before
    assert names(first) == names(second)
