"""Whole trainings, ours beside other libraries': how fast they are, how soon they are good, how good they end.

Same algorithm, hyper-parameters (`train_cases.py`) and number of environments on every side; each peer in an environment of its own.
All variants take turns, one seed a turn. Off the clock: imports, a short training that warms up, making environments of peers, and the
evaluation, 20 greedy episodes with the last weights (none where no return is stated). A peer whose library computes with threads of its own is tried with one and
with as many as there are cores, in each of its variants, and measured with what was faster.

The return is reached at the first moment at which the mean of the last 20 episodes of the training is as high. Learner and rollouts are the shares
of the time in which a reaction of the one or the other kind ran; on two workers both can, so that the sum may exceed 1. "cores" is how busy each
core of the machine was, "processor" how many cores the training itself used.

    reactornb bench train --peers sb3 --case ppo-cartpole --seeds 5
    reactornb bench train --ours default --ours n_steps=64,n_envs=2 --steps 20000 --seeds 1
"""

from __future__ import annotations

import argparse
import ast
import os
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from reactornb import Output, Program, Reactor, connect, reaction, startup
from reactornb.bench.measure import Report, numbers, options, positive, workers_word
from reactornb.bench.peers import PeerError, PeerProcess
from reactornb.bench.peers.usage import Usage, versions
from reactornb.bench.train_cases import CASES, Case
from reactornb.errors import ReactorError
from reactornb.rl.rollout import Evaluator

__all__ = ["interquartile_mean", "main", "ours", "parse_fields", "seconds_to"]

WINDOW = 20  # episodes whose mean has to reach the stated return
EPISODES = 20  # of the evaluation
WARM_ROUNDS = 4  # of the training that warms up, at most
TIMEOUT_S = 3600.0

# What the issue asks of two workers, of one, and of two against one; by case, over a peer's variant that is its best.
BARS: dict[tuple[str, str, str], float] = {
    ("ppo-cartpole", "2 workers", "sb3"): 2.5,
    ("ppo-cartpole", "1 worker", "sb3"): 1.6,
    ("ppo-cartpole", "2 workers", "1 worker"): 1.5,
    ("ppo-acrobot", "2 workers", "sb3"): 2.0,
    ("ppo-acrobot", "2 workers", "cleanrl"): 2.0,
    ("dqn-cartpole", "2 workers", "sb3"): 1.5,
    ("sac-pendulum", "2 workers", "sb3"): 1.5,
    ("ppo-slow", "2 workers", "sb3 dummy"): 1.9,
    ("ppo-slow", "2 workers", "sb3 subproc"): 1.0,
    ("ppo-slow", "2 workers", "cleanrl async"): 1.0,
    ("ppo-slow", "2 workers", "rllib"): 1.0,
}

type Measured = dict[str, Any]
type Variant = Callable[..., Measured]
"""Of a case, a seed and `episodes` of the evaluation."""


# -- statistics -----------------------------------------------------------------------------------------------------------


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean without the lowest and the highest quarter of the values, each rounded down to whole values.

    Args:
        values: at least one.

    Source: Agarwal et al. 2021, arXiv:2108.13264.
    """
    cut = len(values) // 4
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def seconds_to(target: float, episodes: Sequence[tuple[float, float]]) -> float | None:
    """When the mean of the last `WINDOW` episodes first is at least `target`; None if it never is.

    Args:
        target: a return.
        episodes: (seconds, return) of each, in the order in which they ended.
    """
    if len(episodes) < WINDOW:
        return None
    sums = np.cumsum([0.0, *(score for _, score in episodes)])
    means = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    there = np.flatnonzero(means >= target)
    return float(episodes[there[0] + WINDOW - 1][0]) if len(there) else None


def covered(spans: Sequence[tuple[np.ndarray, np.ndarray]]) -> int:
    """Nanoseconds in which at least one of these spans goes on.

    Args:
        spans: begins and ends in ns, int64 [n] each, of each worker.
    """
    begins = np.concatenate([b for b, _ in spans]) if spans else np.empty(0, np.int64)
    if not len(begins):
        return 0
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.concatenate([e for _, e in spans])[order]
    reached = np.maximum.accumulate(ends)
    before = np.concatenate(([begins[0]], reached[:-1]))
    return int(np.maximum(0, ends - np.maximum(begins, before)).sum())


# -- ours -----------------------------------------------------------------------------------------------------------------


class Weights(Reactor):
    """Sends `weights` once."""

    out = Output[Any]()
    weights: Any = None

    @reaction(startup)
    def on_startup(self, out):  # type: ignore[no-untyped-def]
        """Send them."""
        out.set(self.weights)


class Judge(Reactor):
    """Evaluates weights once.

    Parameters:
        weights: float32 [P], of a network of `policy`.
        env, policy, episodes: as for `Evaluator`.
    """

    needs_physical_time = False
    weights: Any = None
    env: Any = "CartPole-v1"
    policy: Any = None
    episodes: int = EPISODES

    def compose(self) -> None:
        """Weights to an evaluator."""
        self.source = Weights(weights=self.weights)
        self.evaluator = Evaluator(env=self.env, policy=self.policy, episodes=self.episodes)
        connect(self.source.out, self.evaluator.final)


def ours(case: Case, seed: int, *, workers: int, changes: Mapping[str, Any] | None = None, episodes: int = EPISODES) -> Measured:  # fmt: skip
    """One training of ours, then an evaluation off the clock.

    Args:
        case: what is trained.
        seed: of the run.
        workers: of the run.
        changes: fields of its configuration.
        episodes: of the evaluation; 0: none.

    Returns:
        `seconds`, `steps`, `episodes`, `final`, `processor` and `cores` as `peers/sb3_peer.py` has them; `learner` and `rollouts`: seconds
        in which at least one of their reactions ran; `busy`: share of the time in which each worker ran a reaction.
    """
    program = Program(case.program(**(changes or {})))
    usage = Usage()
    run = program.start(workers=workers, seed=seed, profile=True)
    result = run.result()
    used = usage.until_now()
    timeline = run.timeline()
    plays = np.array(["rollouts" in r.name for r in program.graph.reactions])
    spans: dict[bool, list[tuple[np.ndarray, np.ndarray]]] = {True: [], False: []}
    for lane in timeline.lanes:
        for kind, group in spans.items():
            chosen = plays[lane.reaction] == kind
            group.append((lane.begin[chosen], lane.end[chosen]))
    metrics = result.metrics
    returns = metrics.get("episode_return")
    final = None
    if episodes:
        rollout: Any = run.instance("rollouts[0]")
        learner: Any = run.instance("learner")
        judge = Program(Judge, weights=learner.flat.publish(), env=rollout.env, policy=rollout.policy, episodes=episodes)  # fmt: skip
        final = float(judge.run(seed=seed + 1000, workers=1).metrics["eval_mean"][-1])
    return {
        **used,
        "seconds": result.seconds,
        "learner": covered(spans[False]) / 1e9,
        "rollouts": covered(spans[True]) / 1e9,
        "busy": [round(float((lane.end - lane.begin).sum()) / 1e9 / result.seconds, 3) for lane in timeline.lanes],
        "steps": int(sum(metrics["steps"])),
        "episodes": [] if returns is None else list(zip(returns.wall_s.tolist(), returns, strict=True)),
        "final": final,
    }


def parse_fields(text: str) -> dict[str, Any]:
    """`shards=2,overlap=True` as fields of a configuration; `default`: none.

    Raises:
        argparse.ArgumentTypeError: for what is no such list.
    """
    if text == "default":
        return {}
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args or not call.keywords:
            raise ValueError
        return {str(k.arg): _value(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of fields such as shards=2,overlap=True") from None


def _value(node: ast.expr) -> Any:
    """A literal, or a word without quotes."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "none": None}.get(node.id.lower(), node.id)
    return ast.literal_eval(node)


# -- measuring ------------------------------------------------------------------------------------------------------------


@dataclass
class Measurement:
    """The variants of one case, and what they gave, turn by turn; `best` names each peer's fastest variant."""

    case: Case
    variants: dict[str, Variant]
    trials: dict[str, dict[str, float]]
    runs: dict[str, list[Measured]]

    def speed(self, name: str) -> float:
        """Median steps per second."""
        return float(statistics.median(r["steps"] / r["seconds"] for r in self.runs[name]))


def main(argv: Sequence[str]) -> int:
    """Measure and print.

    Args:
        argv: words of the command line.
    """
    parser = options("train", __doc__, repeats=1)
    parser.add_argument("--case", action="append", choices=list(CASES), help="may be repeated (ppo-cartpole)")
    parser.add_argument(
        "--seeds", type=positive, default=5, help="one turn each (%(default)s); --repeats N plays all of them N times"
    )
    parser.add_argument(
        "--steps", type=int, help="of all environments, instead of the case's own number; annealed over these"
    )
    parser.add_argument("--threads", type=numbers, metavar="N,N", help="of peers, to be tried (1 and all cores)")
    parser.add_argument(
        "--ours", action="append", type=parse_fields, metavar="FIELD=VALUE,…",
        help="measure us with these fields of the configuration; may be repeated; `default`: with the case's alone",
    )  # fmt: skip
    chosen = parser.parse_args(argv)
    cases = [CASES[name].lasting(chosen.steps) for name in chosen.case or ("ppo-cartpole",)]
    command = shlex.join(["reactornb", "bench", "train", *argv])
    report = Report("train", {"command": command, "cases": [c.name for c in cases], "seeds": chosen.seeds})
    report.machine["packages"] = versions("reactornb", "torch", "numpy", "gymnasium", "ale-py")
    try:
        for case in cases:
            for changes in chosen.ours or ():
                Program(case.program(**changes))
    except ReactorError as error:
        parser.error(str(error))
    with report.opened(chosen) as opened:
        for case in cases:
            _measure(report, case, chosen, opened)
    return report.finish(chosen)


def _measure(report: Report, case: Case, chosen: Any, opened: Mapping[str, PeerProcess]) -> None:
    """One case: all variants in turns."""
    this = Measurement(case, {}, {}, {})
    for changes in chosen.ours or [{}]:
        label = "".join(f", {name}={value}" for name, value in changes.items())
        for workers in chosen.workers:
            this.variants[workers_word(workers) + label] = partial(ours, workers=workers, changes=changes)
    for name, variant in this.variants.items():
        _progress(case, f"warming up {name}")
        variant(_brief(case), 0, episodes=0)
    for name, peer in opened.items():
        try:
            _prepare(report, this, name, peer, chosen.threads)
        except PeerError as error:
            report.missing.append(name)
            report.notes.append(f"not measured: {case.name}, {name}: {error}")
    episodes = EPISODES if case.target is not None else 0
    names = list(this.variants)
    this.runs = {name: [] for name in names}
    for turn in range(chosen.seeds * chosen.repeats):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            _progress(case, f"turn {turn + 1}, {name}")
            if name in this.runs:
                try:
                    this.runs[name].append(this.variants[name](case, 1 + turn % chosen.seeds, episodes=episodes))
                except PeerError as error:
                    del this.runs[name]
                    report.missing.append(name)
                    report.notes.append(f"not measured: {case.name}, {name}: {error}")
    _tell(report, this, list(opened))


def _brief(case: Case) -> Case:
    """The case for warming up: a tenth of it, of a few rounds at most."""
    return case.lasting(min(WARM_ROUNDS * case.round_steps, max(case.round_steps, case.steps // 10)))


def _progress(case: Case, what: str) -> None:
    sys.stderr.write(f"{case.name}: {what}\n")


def _prepare(report: Report, this: Measurement, name: str, peer: PeerProcess, threads: Sequence[int] | None) -> None:
    """Add a peer's variants, each with the number of threads that is faster in a short training."""
    case = this.case
    told = case.request()
    del told["steps"]
    offer = peer.measure("offers", timeout=TIMEOUT_S, **told)
    report.machine["peers"][name] |= {"packages": offer["versions"]}
    if offer["refused"] is not None:
        report.notes.append(f"{case.name}: {name} is left out: {offer['refused']}")
        return
    if offer["differs"]:
        report.notes.append(f"{case.name}: with {name}, {'; '.join(offer['differs'])}")
    counts = sorted(set(threads or (1, len(os.sched_getaffinity(0))))) if offer["threads"] else [1]
    for kind in offer["variants"]:
        word = f"{name} {kind}".rstrip()
        brief = _brief(case)
        speeds = {}
        for count in counts:
            _progress(case, f"trying {word} with {count} thread{'s' if count > 1 else ''}")
            call = partial(_peer, peer, kind, count)
            call(brief, 0, episodes=0)
            if len(counts) > 1:
                trial = call(case.lasting(max(case.steps // 10, brief.steps)), 0, episodes=0)
                speeds[count] = trial["steps"] / trial["seconds"]
        best = max(counts, key=lambda count: speeds.get(count, 0.0))
        this.trials[word] = {f"steps/s with {count} threads": round(speed, 1) for count, speed in speeds.items()}
        this.variants[word] = partial(_peer, peer, kind, best)


def _peer(peer: PeerProcess, kind: str, threads: int, case: Case, seed: int, episodes: int = EPISODES) -> Measured:
    found = peer.measure(
        "train", timeout=TIMEOUT_S, **case.request(), seed=seed, variant=kind, threads=threads, episodes=episodes
    )
    return {**found, "threads": threads}


# -- telling --------------------------------------------------------------------------------------------------------------


def _tell(report: Report, this: Measurement, peers: Sequence[str]) -> None:
    """Add a case's figures, ratios, table and details to the report."""
    case, label = this.case, f"{this.case.name}, "
    report.add({label + n: [r["steps"] / r["seconds"] for r in runs] for n, runs in this.runs.items()}, "steps/s")
    own = [name for name in this.runs if name.partition(" ")[0] not in peers]
    others = [name for name in this.runs if name not in own]
    for name in own:
        plain = name.partition(",")[0]
        one = name.replace(plain, workers_word(1))
        if name != one:
            _speed(report, case, name, one, BARS.get((case.name, plain, workers_word(1))))
        for other in others:
            _speed(report, case, name, other, BARS.get((case.name, plain, other)))
        for peer in peers:
            rows = [other for other in others if other.partition(" ")[0] == peer]
            bar = BARS.get((case.name, plain, peer))
            if rows and bar is not None:
                _speed(report, case, name, max(rows, key=this.speed), bar, f"{peer}'s best")
    report.tables.append(_table(this))
    report.details[case.name] = {
        "source": case.source,
        "settings": dict(case.settings),
        "steps": case.steps,
        "target": case.target,
        "trials": this.trials,
        "runs": this.runs,
        "interquartile_means": {name: iqm for name, runs in this.runs.items() if (iqm := _iqm(runs)) is not None},
    }


def _speed(report: Report, case: Case, fast: str, slow: str, bar: float | None, word: str = "") -> None:
    name = f"{fast}: speed over {f'{word}, ' if word else ''}{slow}"
    report.ratio(fast, slow, f"{case.name}, ", name, at_least=bar)


def _reached(target: float, run: Measured) -> float | None:
    """When a run reached a return; of RLlib's there are means of episodes, not episodes."""
    if "means" in run:
        return next((seconds for seconds, mean in run["means"] if mean >= target), None)
    return seconds_to(target, run["episodes"])


def _iqm(runs: Sequence[Measured]) -> float | None:
    finals = [r["final"] for r in runs if r["final"] is not None]
    return interquartile_mean(finals) if finals else None


def _table(this: Measurement) -> str:
    """What the figures do not have: one line a variant."""
    case = this.case
    goal = f"s to {case.target:g}" if case.target is not None else ""
    head = ["", "seconds", goal, "final return (IQM, range)", "learner", "rollouts", "processor", "cores", "workers", "threads"]  # fmt: skip
    rows = [head] + [[name, *_cells(case, runs)] for name, runs in this.runs.items()]
    kept = [i for i in range(len(head)) if any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in kept}
    lines = [
        "  ".join(row[i].ljust(widths[i]) if i == 0 else row[i].rjust(widths[i]) for i in kept).rstrip() for row in rows
    ]
    return "\n".join([f"{case.name}: {case.steps:,} steps, {case.settings['n_envs']} environments ({case.source})", *lines])  # fmt: skip


def _cells(case: Case, runs: Sequence[Measured]) -> list[str]:
    def middle(values: Sequence[float]) -> str:
        return f"{statistics.median(values):.2f}"

    def each(key: str) -> str:
        found = [r[key] for r in runs if r.get(key)]
        return " ".join(middle(column) for column in zip(*found, strict=True)) if found else ""

    reached = [] if case.target is None else [_reached(case.target, r) for r in runs]
    times = [t for t in reached if t is not None]
    goal = f"{statistics.median(times):.1f} ({len(times)} of {len(reached)})" if times else f"none of {len(reached)}"
    finals = [r["final"] for r in runs if r["final"] is not None]
    iqm = _iqm(runs)
    shares = [
        middle([r[key] / r["seconds"] for r in runs]) if all(r.get(key) is not None for r in runs) else ""
        for key in ("learner", "rollouts", "processor")
    ]
    threads = {r["threads"] for r in runs if "threads" in r}
    return [
        middle([r["seconds"] for r in runs]),
        goal if case.target is not None else "",
        "" if iqm is None else f"{iqm:.1f} ({min(finals):.1f} to {max(finals):.1f})",
        *shares,
        each("cores"),
        each("busy"),
        "/".join(map(str, sorted(threads))),
    ]
