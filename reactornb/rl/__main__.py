"""`python -m reactornb.rl ppo Acrobot-v1 --seed 1 total_timesteps=200_000`: train without a notebook and say how it went."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from reactornb.cli.console import Console
from reactornb.cli.restart import settle_interpreter
from reactornb.cli.signals import SignalHandler
from reactornb.errors import suggestion
from reactornb.options import add_arguments, add_hosts, given_options, parameter_value

ALGORITHMS = ("a2c", "a3c", "appo", "ddpg", "dqn", "impala", "ppo", "recurrent_ppo", "sac", "td3")


def main(argv: Sequence[str] | None = None) -> int:
    """Run an algorithm; on a terminal a line says how far it is.

    Returns:
        The exit status: 0, 1 if the run failed, 2 for a mistake in the command line; after a signal 128 and its number.
    """
    with SignalHandler() as signals:
        if argv is None:
            settle_interpreter()
        try:
            status = _train(argv, signals)
        except KeyboardInterrupt:  # a signal's, which has been said
            status = 1
        return status if signals.status is None else signals.status


def _train(argv: Sequence[str] | None, signals: SignalHandler) -> int:
    parser = argparse.ArgumentParser(prog="python -m reactornb.rl", description=__doc__)
    parser.add_argument("algorithm", choices=ALGORITHMS)
    parser.add_argument("env", nargs="?", default="CartPole-v1")
    parser.add_argument(
        "settings", nargs="*", metavar="NAME=VALUE", help="hyper-parameters, such as learning_rate=3e-4"
    )
    add_arguments(parser, process_goes_on=False)
    add_hosts(parser)
    chosen = parser.parse_args(argv)

    from reactornb import Program, ReactorError, rl
    from reactornb.cli.progress import begin, follow

    console = Console("reactornb.rl")
    name = "RecurrentPPO" if chosen.algorithm == "recurrent_ppo" else chosen.algorithm.upper()
    program_type = getattr(rl, name)
    config_type = program_type.config_type
    known = (*config_type.names(), "env")
    given = [f"env={chosen.env}", *chosen.settings]
    if "=" in chosen.env:  # the first hyper-parameter: the environment was left out
        given[0] = chosen.env
    settings: dict[str, Any] = {"env": "CartPole-v1"}
    for word in given:
        key, _, text = word.partition("=")
        if key not in known:
            parser.error(f"{name} has no {key!r}. {suggestion(key, known, config_type.renamed)}")
        settings[key] = text if key == "env" else parameter_value(text)
    try:
        program = Program(program_type(**settings))
        run = begin(program, **given_options(vars(chosen)))
        follow(run, signals, console)
        if not signals.count:
            run.result()
    except ReactorError as error:
        console.say(str(error))
        return 1
    if run.state == "abandoned":
        console.say(str(run.failure))
    print(summary(f"{name} {settings['env']}", run), flush=True)
    return 0


def summary(what: str, result: Any) -> str:
    """One line."""
    metrics = result.metrics
    words = [f"{what}: {result.seconds:.1f} s, {result.workers} workers"]
    if metrics.get("steps"):
        steps = sum(metrics["steps"])
        words.append(f"{steps:,.0f} steps, {steps / result.seconds:,.0f} steps/s")
    returns = list(metrics.get("episode_return", ()))[-100:]
    if returns:
        words.append(f"mean return of the last {len(returns)} training episodes {sum(returns) / len(returns):.1f}")
    if "eval_mean" in metrics:
        count = len(metrics["eval_return"]) // len(metrics["eval_mean"])
        words.append(f"of {count} greedy episodes at the end {metrics['eval_mean'][-1]:.1f}")
    if result.fingerprint:
        words.append(f"fingerprint {result.fingerprint}")
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
