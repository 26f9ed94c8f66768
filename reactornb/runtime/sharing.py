"""How a level's reactions, or a team's calls, are shared among workers: `decide(costs, history) -> Plan`.

Pure: nothing here calls a reaction, knows a thread, or reads a clock. `level_runner.py` and `team.py` run what is decided, and write what
they measured into a `History`. Every threshold, and a switch for every heuristic, is a field of `Policy`;
`reactornb bench ablate` measures what each heuristic gives.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ALONE", "UNKNOWN", "History", "Plan", "Policy", "assign", "decide", "estimate", "pieces"]

UNKNOWN = 1 << 62
"""The cost of a group that was not measured yet, in ns: above every threshold, so it is shared once, and measured."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The thresholds of sharing, and which heuristics are on.

    Attributes:
        share_above_ns: estimated work of a level above which it is shared; handing over and waiting cost about this much. 0: share all.
        surely_worth_ns: average cost of a reaction above which sharing is not compared with running alone. Below it sharing may
            lose: workers contend for lists, reference counts, a library's lock, a core that is one of two threads of a real one.
        smallest_item_ns: cheaper reactions are handed out several at a time.
        profile_ns: what one profile round costs: taking times, and planning.
        overhead: profile rounds and planning may each take one part in so many of the time.
        most_rounds: rounds without a profile round, at most; a reaction that took microseconds may take seconds from now on.
        outlier_factor: a time is an outlier if it is so many times longer or shorter than the estimate.
        cost_weight: a new time is one part in so many of the new estimate.
        uneven_above: a level is uneven if more than one in so many profile rounds saw an outlier, as with environments that reset.
        uneven_rounds: outlier rounds, at least, before a plan with pieces is replaced because its level turned out to be uneven.
        retry_after: measured rounds after which the slower of sharing and running alone is tried again, for the first time.
        retry_most: and at most; doubled in between.
        trial_rounds: how many rounds a trial takes. In the first the other workers wake up, and find no code in their caches nor any of it specialised
            for their threads: it took 10 µs per reaction where the fourth took 5.
        clear_win: if running alone took so many times as long as sharing, it is tried again after `retry_most` rounds only.
        long_time_weight: a round that took longer than expected moves the estimate of a trial by one part in so many.
        replan_after: profile rounds after which a new plan is made, for the first time.
        replan_most: and at most; doubled in between, because estimates settle.
        even_within: items are dealt out by their costs if in turn takes more than so many times as long, by the estimates.
        alike: and if one of them takes more than so many times as long as the median one, which is not by chance.
        pieces: hand out cheap reactions several at a time.
        trials: compare sharing with running alone where reactions are cheap.
        replanning: make a new plan when costs have changed, or after `replan_after` profile rounds.
        outliers: ignore a time that is far off once, and believe it the second time.
        in_turn: deal out in turn what costs about the same; else always by the estimates.
    """

    share_above_ns: int = 40_000
    surely_worth_ns: int = 50_000
    smallest_item_ns: int = 10_000
    profile_ns: int = 30_000
    overhead: int = 100
    most_rounds: int = 64
    outlier_factor: int = 4
    cost_weight: int = 4
    uneven_above: int = 8
    uneven_rounds: int = 4
    retry_after: int = 8
    retry_most: int = 256
    trial_rounds: int = 4
    clear_win: float = 1.2
    long_time_weight: int = 8
    replan_after: int = 16
    replan_most: int = 4096
    even_within: float = 1.1
    alike: int = 3
    pieces: bool = True
    trials: bool = True
    replanning: bool = True
    outliers: bool = True
    in_turn: bool = True


class Costed(Protocol):
    """What can be shared: a reaction, a group of them (which has `reactions`, too), or a call."""

    @property
    def cost_ns(self) -> int:
        """Estimated cost; negative or `UNKNOWN` if it was not measured."""
        ...

    @property
    def size(self) -> int:
        """The number of reactions."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a level from the next round on.

    Attributes:
        parts: for each worker the pieces it gets, each a tuple of reactions; None: the leader runs the next round alone.
        in_pieces: cheap reactions are handed out several at a time.
        unmeasured: so many rounds may follow the next, a profile round, before the next decision.
    """

    parts: tuple[tuple[tuple[Any, ...], ...], ...] | None
    in_pieces: bool = False
    unmeasured: int = 0


ALONE = Plan(None)


@dataclass(slots=True)
class History:
    """What was measured of a level; written by its leader between rounds, read by `decide`.

    Attributes:
        policy: that of `decide`.
        alone_ns: time per reaction where the leader ran the level alone; 0: not tried.
        shared_ns: likewise where it was shared.
        retry_in: measured rounds until the slower of the two is tried again; `retry_after`: what that was set to last.
        plan: the plan in force, or None.
        plan_rounds: profile rounds of this plan; `replan_after`: how many it gets.
        profiled: profile rounds; `outlier_rounds`: those in which something took an unusual time. Halved with each new plan.
        saw_outlier: the last profile round was one of these.
        cost_changed: a reaction's cost has changed for good since the plan was made.
        now_ns: when the round that is to be decided began; no new plan is made before `replan_not_before_ns`.
    """

    policy: Policy
    alone_ns: int = 0
    shared_ns: int = 0
    retry_in: int = 0
    retry_after: int = 0
    plan: Plan | None = None
    plan_rounds: int = 0
    replan_after: int = 0
    profiled: int = 0
    outlier_rounds: int = 0
    saw_outlier: bool = False
    cost_changed: bool = False
    now_ns: int = 0
    replan_not_before_ns: int = 0

    def __post_init__(self) -> None:
        self.retry_in = self.retry_after = self.policy.retry_after
        self.replan_after = self.policy.replan_after

    @property
    def sharing_pays(self) -> bool:
        """Whether sharing was faster than running alone."""
        return self.shared_ns < self.alone_ns

    @property
    def share_next(self) -> bool:
        """Whether a level of cheap reactions is shared next: each way is tried once, then the faster one is used, and the other tried now and then."""
        if not self.shared_ns or not self.alone_ns:
            return not self.shared_ns
        return self.sharing_pays != (self.retry_in <= 0)

    @property
    def is_uneven(self) -> bool:
        """Whether outliers are frequent."""
        return self.policy.uneven_above * self.outlier_rounds > self.profiled

    @property
    def measure_again(self) -> bool:
        """Whether the last times were unexpected, so the next round is a profile round again: was it an outlier, or did a cost change?"""
        return self.saw_outlier and not self.is_uneven

    @property
    def is_stale(self) -> bool:
        """Whether a new plan should be made."""
        if not self.policy.replanning:
            # The first plan is made without knowing any cost: it is replaced once.
            return self.cost_changed and self.replan_after == self.policy.replan_after
        plan = self.plan
        uneven = self.is_uneven and self.outlier_rounds >= self.policy.uneven_rounds
        became_uneven = plan is not None and plan.in_pieces and uneven
        due = self.cost_changed or became_uneven or self.plan_rounds >= self.replan_after
        return due and self.now_ns >= self.replan_not_before_ns

    def ran(self, *, shared: bool, each_ns: int) -> None:
        """A measured round took that long per reaction.

        Another program may have had the core during a long round, so a long time moves the estimate a little; a short one replaces it. The
        slower of the two ways is tried again ever more rarely. If that is running alone, and sharing was a clear win, it is tried rarely from the
        beginning: single-threaded timing is less noisy, so the comparison can be trusted.
        """
        policy = self.policy
        both_known, paid = bool(self.shared_ns and self.alone_ns), self.sharing_pays
        known = self.shared_ns if shared else self.alone_ns
        new = max(each_ns, 1)
        if new > known > 0:
            new = known + min(new - known, known) // policy.long_time_weight
        if shared:
            self.shared_ns = new
        else:
            self.alone_ns = new
        if both_known:
            self.retry_in -= 1
        changed = paid != self.sharing_pays
        if self.retry_in <= -policy.trial_rounds or changed:
            if changed:
                after = policy.retry_after
            elif self.alone_ns > policy.clear_win * self.shared_ns:
                after = policy.retry_most
            else:
                after = min(2 * self.retry_after, policy.retry_most)
            self.retry_in = self.retry_after = after

    def profile_round(self, each_ns: int, *, saw_outlier: bool, cost_changed: bool) -> None:
        """A profile round took that long per reaction."""
        self.ran(shared=True, each_ns=each_ns)
        self.profiled += 1
        self.plan_rounds += 1
        self.saw_outlier = saw_outlier
        self.outlier_rounds += saw_outlier
        self.cost_changed = self.cost_changed or cost_changed

    def planned(self, plan: Plan, planning_ns: int) -> None:
        """A new plan is in force, which took that long to make: the next is made after `overhead` times as long at the earliest."""
        if self.plan is not None:
            self.replan_after = min(2 * self.replan_after, self.policy.replan_most)
            keep = 0 if self.cost_changed else 1
            self.profiled = keep * self.profiled // 2
            self.outlier_rounds = keep * self.outlier_rounds // 2
        self.plan = plan
        self.plan_rounds = 0
        self.cost_changed = False
        self.replan_not_before_ns = self.now_ns + self.policy.overhead * planning_ns

    def forget_plan(self) -> None:
        """Other reactions are ready than those that the plan was made for."""
        self.plan = None
        self.replan_after = self.policy.replan_after
        self.plan_rounds = self.profiled = self.outlier_rounds = self.replan_not_before_ns = 0
        self.saw_outlier = self.cost_changed = False


def decide(costs: Sequence[Costed], history: History, width: int) -> Plan:
    """How to run a level in the next rounds.

    Args:
        costs: what is ready: groups, reactions or calls.
        history: what was measured so far.
        width: the number of workers.

    Returns:
        `ALONE`, or a plan whose `parts` are those of `history.plan` as long as that is not stale.
    """
    policy = history.policy
    count = sum(item.size for item in costs)
    total_ns = sum(UNKNOWN if item.cost_ns < 0 else item.cost_ns for item in costs)
    if count < 2 or total_ns < policy.share_above_ns:
        return ALONE
    cheap = total_ns < policy.surely_worth_ns * count
    if cheap and policy.trials and policy.share_above_ns and not history.share_next:
        return ALONE
    if cheap and policy.trials and policy.share_above_ns and not history.sharing_pays:
        unmeasured = 0  # a trial
    else:
        affordable = policy.overhead * policy.profile_ns * width // max(total_ns, 1)
        unmeasured = min(history.profiled + 1, policy.most_rounds, affordable)
    plan = history.plan
    if plan is not None and not history.is_stale:
        return Plan(plan.parts, plan.in_pieces, unmeasured)
    lists = assign([r for item in costs for r in getattr(item, "reactions", (item,))], width, policy)
    # Not where times vary: in a piece, a cheap reaction may have to wait for one that takes unusually long.
    in_pieces = policy.pieces and hasattr(costs[0], "reactions") and cheap and not history.is_uneven
    least = policy.smallest_item_ns // max(total_ns // count, 1) + 1
    parts = tuple(tuple(pieces(part, least)) if in_pieces else tuple((r,) for r in part) for part in lists)
    return Plan(parts, in_pieces, unmeasured)


def assign(items: Sequence[Any], width: int, policy: Policy) -> list[list[Any]]:
    """A list of items per worker: about the same work for each, the costliest first.

    Estimates differ by chance, above all the first ones, and items that cost the same would be dealt out otherwise each time. So they are dealt
    out in turn, whatever they seem to cost, unless one of them is far longer than most, or that would take much longer: sixteen
    CartPoles with one step a round take 4.3 µs a step so, and 4.8 by their costs, where both workers get as many.

    Else the longest first (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969): a worker that is done takes
    over what the others have not begun, so all finish within one of the shortest items of each other. Which worker ran an item last is
    not looked at: plans change ever more rarely, and keeping items where their objects were made gained less than 3 % in its best cases
    (`bench/ablate.py`).

    Args:
        items: in the level's order.
        width: the number of workers.
        policy: says what is about the same.
    """
    by_cost = sorted(items, key=_cost, reverse=True)
    lists: list[list[Any]] = [[] for _ in range(width)]
    loads = [0] * width
    for item in by_cost:
        worker = loads.index(min(loads))
        loads[worker] += max(item.cost_ns, 1)
        lists[worker].append(item)
    if not (policy.in_turn and items) or by_cost[0].cost_ns > policy.alike * max(by_cost[len(items) // 2].cost_ns, 1):
        return lists
    in_turn = [sorted(items[worker::width], key=_cost, reverse=True) for worker in range(width)]
    longest = max(sum(max(item.cost_ns, 1) for item in part) for part in in_turn)
    return in_turn if longest <= policy.even_within * max(loads) else lists


def pieces(part: Sequence[Any], least: int) -> Iterator[tuple[Any, ...]]:
    """Cut one worker's reactions: half of those that are left, then half of the rest, and so on, but at least `least`.

    The first piece costs one hand-over, and the last, which another worker may take over, ends the level evenly: guided
    self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers, 1987).
    """
    at = 0
    while at < len(part):
        size = max((len(part) - at) // 2, least)
        yield tuple(part[at : at + size])
        at += size


def estimate(known_ns: int, took_ns: int, was_outlier: bool, policy: Policy) -> tuple[int, bool, bool]:
    """The new estimate of an item's cost.

    Args:
        known_ns: the estimate so far; negative: none.
        took_ns: the new time.
        was_outlier: the time before this one was an outlier.
        policy: says what an outlier is.

    Returns:
        The estimate in ns, whether the new time is an outlier (then the estimate stays), whether the cost has changed for good.
    """
    factor = policy.outlier_factor
    if known_ns < took_ns * factor and took_ns < known_ns * factor:
        return known_ns + (took_ns - known_ns) // policy.cost_weight, False, False
    if was_outlier or known_ns < 0 or not policy.outliers:
        return took_ns, False, True
    return known_ns, True, False


_cost = operator.attrgetter("cost_ns")
