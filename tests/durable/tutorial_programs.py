"""The programs of the tutorials, small: kept, cut at tags that are drawn from a seed, and resumed in another process.

python tutorial_programs.py keep TUTORIAL FOLDER        # writes FOLDER/PROGRAM/CUT/runs/...; prints what the whole runs gave, as JSON
python tutorial_programs.py crash TUTORIAL FOLDER       # the same for programs to which something comes from outside
python tutorial_programs.py resume TUTORIAL FOLDER      # goes on with each run there by 1, 2 and 8 workers; prints what these gave
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from keeping_runs import kept_until, outcome

from reactornb import Bank, Program, Reactor, connect, ms, resume, us
from reactornb.durable import storage
from reactornb.durable.keeping import Keeping
from reactornb.loading import load
from reactornb.rl import Evaluator
from reactornb.tags import Tag

__all__ = ["ATARI", "NOTEBOOKS", "OUTSIDE", "PROGRAMS", "WORKERS"]

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"
README = Path(__file__).parent.parent.parent / "README.md"
WORKERS = (1, 2, 8)
CUTS = 3
FAST = {"fast": True}

_DQN = {
    "total_timesteps": 400, "learning_starts": 100, "hidden": (8,), "batch_size": 16, "buffer_size": 150, "gradient_steps": 2, "eval_episodes": 2,
}  # fmt: skip
_BOXED = {
    "total_timesteps": 300, "learning_starts": 50, "hidden": (8,), "batch_size": 16, "n_rollouts": 2, "gradient_steps": 2, "eval_episodes": 2,
}  # fmt: skip
_PPO = {"total_timesteps": 1_000, "hidden": (8,), "eval_episodes": 2}


def _dqn(name="DQN", **more):
    return lambda names: Program(names[name], config=replace(names["DQNConfig"].for_env("CartPole-v1"), **_DQN, **more))


def _ppo(env="CartPole-v1", **more):
    def made(names):
        config = names["PPOConfig"].for_env("CartPole-v1") if "PPOConfig" in names else None
        if config is None:
            return Program(names["PPO"], env=env, **_PPO, **more)
        return Program(names["PPO"], env=names.get(env, env), config=replace(config, **_PPO, **more))

    return made


def _a3c(**more):
    def made(names):
        config = names["A3CConfig"](
            total_timesteps=300, n_actors=4, n_steps=20, learning_rate=3e-3, hidden=(8,), eval_episodes=2, **more
        )
        return Program(names["A3C"](env="CartPole-v1", config=config))

    return made


def _apart(**more):
    def made(names):
        config = names["PPOConfig"](
            total_timesteps=10**9, n_rollouts=2, n_envs=2, n_steps=16, n_epochs=2, batch_size=16, hidden=(8,), staleness=1, eval_episodes=0, **more
        )  # fmt: skip
        return Program(names["PPO"](config=config))

    return made


def _junction(policy=None):
    def made(names):
        junction = functools.partial(names["TrafficJunction"], "medium", cars=6, render_mode="ansi")
        policies = None
        if policy == "careful":
            policies = [functools.partial(names["careful"], number) for number in range(6)]
        elif policy:
            policies = [names[policy]] * 6
        return Program(names["MultiAgent"], env=junction, total_timesteps=55, policies=policies)

    return made


def _game(names):
    policies = [functools.partial(names["giver"], number, least) for number, least in enumerate((0, 2, 3, 4, 5, 99))]
    env = functools.partial(names["PublicGood"], rounds=5)
    return Program(names["MultiAgent"], env=env, total_timesteps=12, policies=policies)


def _reinforce(names):
    """The tutorial's own program, done as soon as it plays a little better than chance."""

    class Short(Reactor):
        learner, players = names["Learner"](target=25.0), Bank(names["Player"], 8)
        evaluator = Evaluator(env="CartPole-v1", policy=names["policy"], episodes=2)
        connect(learner.weights, players.weights, after=ms(0))
        connect(players.episode, learner.episodes)
        connect(learner.final, evaluator.final)

    return Program(Short)


def _of(name, **parameters):
    return lambda names: Program(names[name], **parameters)


# By tutorial and name: how the program is made of what the notebook declares, and options of its run.
PROGRAMS = {
    "00_quickstart": {
        "Main": (_of("Main", n=4, rounds=12, n_steps=32, gradient_steps=4), FAST),
        "endless": (_of("Main", n=2, target=501, n_steps=16, gradient_steps=2), {**FAST, "until": ms(9)}),
    },
    "01_reactors": {
        "Diamond": (_of("Diamond"), {**FAST, "until": ms(600)}),
        "Kite": (_of("Kite"), {**FAST, "until": ms(400)}),
        "Casino": (_of("Casino"), {}),
    },
    "02_graph": {
        "Expedition": (_of("Expedition", scouts=8), {}),
        "Thermostat": (_of("Thermostat"), {**FAST, "until": ms(4000)}),
        "Patient": (_of("Patient"), {**FAST, "until": ms(290)}),
    },
    "03_qlearning": {
        "QLearning": (
            lambda names: Program(names["QLearning"], config=replace(names["QLearningConfig"](), total_timesteps=8_000, n_steps=50, eval_episodes=60)),
            {},
        ),
    },
    "04_dqn": {
        "Parts": (_dqn("Parts"), {}),
        "plain": (_dqn(double=False), {}),
        "double": (_dqn(double=True), {}),
        "duelling": (_dqn(double=False, duelling=True), {}),
        "prioritised": (_dqn(double=False, prioritised=True), {}),
    },
    "05_ppo": {
        "CartPole": (_ppo(), {}),
        "Pendulum": (_ppo("Pendulum-v1"), {}),
        "Catch": (_ppo("Catch", n_envs=4, n_steps=16, batch_size=64), {}),
    },
    "06_asynchrony": {
        "asynchronous": (_a3c(), {}),
        "one is slow": (_a3c(delays=(us(100), us(101), us(102), us(1000))), {}),
        "together": (_apart(), {**FAST, "until": ms(6)}),
        "apart": (_apart(overlap=True), {**FAST, "until": ms(6)}),
    },
    "07_multi_agent": {
        "strangers": (_junction(), {}),
        "full speed": (_junction("full_speed"), {}),
        "coin": (_junction("coin"), {}),
        "careful": (_junction("careful"), {}),
        "game": (_game, {}),
    },
    "08_atari": {
        "Arcade": (_of("Arcade", game="SpaceInvaders", rollouts=2, games=2, n_steps=8), {**FAST, "until": ms(4)}),
        "one": (_of("Arcade", rollouts=1, games=1, n_steps=8), {**FAST, "until": ms(4)}),
    },
    "09_lingua_franca": {
        "Hello": (_of("Hello"), {**FAST, "until": ms(2000)}),
        "Ball": (_of("Ball"), {**FAST, "until": ms(2000)}),
        "Light": (_of("Light"), {**FAST, "until": ms(20_000)}),
        "Casino": (_of("Casino"), {**FAST, "until": ms(400)}),
        "Night": (_of("Night"), {**FAST, "until": ms(400)}),
    },
    "10_fast": {
        "InTurns": (_of("InTurns", rounds=8), FAST),
        "coach": (_of("Team", n=4, rounds=8), FAST),
        "players": (_of("Team", n=4, rounds=8, players_discount=True), FAST),
        "shared": (_of("Sharing"), {**FAST, "until": ms(6)}),
        "copied": (_of("Sharing", copies=True), {**FAST, "until": ms(6)}),
        "shards": (_ppo(n_rollouts=4, n_envs=2, n_steps=16, batch_size=64, n_epochs=2, shards=2), FAST),
        "overlap": (_ppo(n_rollouts=4, n_envs=2, n_steps=16, batch_size=64, n_epochs=2, overlap=True), FAST),
    },
    "11_tuning": {
        "Casino": (_of("Casino", n=8), {**FAST, "until": ms(400)}),
        "PPO": (_ppo(), {}),
    },
    "12_runs": {
        "steep": (_of("PPO", total_timesteps=1_000, learning_rate=0.02, n_rollouts=2, eval_episodes=0), {}),
    },
    "13_continuous": {
        "SAC": (_of("SAC", **_BOXED), {}),
        "TD3": (_of("TD3", **_BOXED, gamma=0.98), {}),
        "DDPG": (_of("DDPG", **_BOXED), {}),
        "tiny": (_of("SAC", **_BOXED, shards=2), {}),
    },
    "14_sweeps": {
        "program": (_of("PPO", total_timesteps=1_000, learning_rate=0.003, n_rollouts=2, eval_episodes=0), {}),
    },
    "15_own_algorithm": {"Reinforce": (_reinforce, {})},
    "16_cluster": {
        "Search": (_of("Search", players=3, rounds=5), {}),
        "PPO": (_of("PPO", total_timesteps=1_500, n_rollouts=4, eval_episodes=0, overlap=True, placeable=True), {}),
    },
    "17_paper": {
        "Blackjack": (_of("Blackjack", batch_size=100, rounds=6, rollouts=3), {}),
        "Junction": (_of("Junction", steps=55), {}),
    },
    "18_population": {
        "PPO": (_of("PPO", total_timesteps=1_000, learning_rate=0.03, n_rollouts=2, anneal_lr=False, eval_episodes=0), {}),
    },
    "README": {"Main": (_of("Main"), {})},
}  # fmt: skip
ATARI = {"08_atari"}
# Those that wait for physical time, or to which something comes from outside; and what else of an instance counts.
OUTSIDE = {
    "09_lingua_franca": {
        "Button": (_of("Button"), {}, ("times",)),
        "Late": (_of("Late"), {"until": ms(100)}, ("missed", "kept")),
    },
    # Their server asks what time it is.
    "17_paper": {
        "Actors": (_of("Actors", clients=3, mb=0.01, pause_ms=2.0, rounds=8), {}, ("clients",)),
        "Players": (_of("Players", players=3, rounds=40), {}, ("players",)),
    },
}
# Parameters that a reader of the tutorial changes while the run is on: set where the run is cut.
CHANGED = {
    ("11_tuning", "Casino"): ("gamblers.epsilon", 0.1),
    ("11_tuning", "PPO"): ("learner.learning_rate", 1e-4),
}


def declared(tutorial, folder):
    """What the cells of a tutorial declare."""
    if tutorial == "README":
        file = folder / "readme_example.py"
        code = README.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
        file.write_text("\n".join(line for line in code.splitlines() if not line.startswith("print(")))
        return load(file).names
    return load(NOTEBOOKS / f"{tutorial}.ipynb").names


def drawn_tags(tags, seed):
    """Three of a run's tags but the last, which ends it; all, where there are fewer."""
    n = max(len(tags) - 1, 1)
    drawn = np.random.default_rng(seed).choice(n, size=min(CUTS, n), replace=False)
    return [tags[int(i)] for i in sorted(drawn)]


def keep(tutorial, folder):
    """Run each program whole, and cut it: by name, tag and outcome of each cut's whole run."""
    names, found = declared(tutorial, folder), {}
    for number, (name, (make, options)) in enumerate(PROGRAMS[tutorial].items()):
        options = {"seed": 1, "fingerprint": True, **options}  # noqa: PLW2901
        program = make(names)
        run = program.start(workers=2, trace=True, **options)
        whole = outcome(run)
        tags = sorted({tuple(tag) for tag, _ in run.result().trace.executions})
        change = CHANGED.get((tutorial, name))
        for cut, tag in enumerate(drawn_tags(tags, [int(tutorial[:2]) if tutorial[:2].isdigit() else 99, number])):
            run = kept_until(make(names), Tag(*tag), f"{number}-{cut}", workers=2, **options)
            if change is not None:
                run.set(*change)
            run.stop()
            place = f"{name}/{cut}"
            found[place] = {"tag": list(tag), "whole": whole}
            for workers in WORKERS:
                shutil.copytree(run.kept, folder / "copies" / place / f"{workers}")
    return found


@contextlib.contextmanager
def copied_before_the_end(places):
    """What the folders of kept runs hold when all but their end is written: as a process leaves them that is killed then."""
    write_end = Keeping._write_end

    def copy_first(self, *arguments):
        for place in places:
            shutil.copytree(self.path, place)
        write_end(self, *arguments)

    with patch.object(Keeping, "_write_end", copy_first):
        yield


def crash(tutorial, folder):
    """Keep each program to which something comes from outside, to its end; gives what each gave."""
    names, found = declared(tutorial, folder), {}
    for name, (make, options, attributes) in OUTSIDE[tutorial].items():
        places = [folder / "copies" / name / "0" / f"{workers}" for workers in WORKERS]
        with copied_before_the_end(places):
            run = make(names).start(keep=name, workers=2, fingerprint=True, **options)
            whole = outcome(run)
        found[f"{name}/0"] = {"whole": {**whole, "attributes": attributes_of(run, attributes)}}
    return found


def attributes_of(run, names):
    """Of the outermost reactor."""
    root = run.instance(run.program.name)
    return {name: getattr(root, name) for name in names}


def go_on(tutorial, folder):
    """Go on with each copy: by name, cut and number of workers, the outcome, or what went wrong."""
    names, found = declared(tutorial, folder), {}
    for path in sorted((folder / "copies").glob("*/*/*")):
        name, cut, workers = path.parts[-3:]
        make, options, *attributes = {**PROGRAMS[tutorial], **OUTSIDE.get(tutorial, {})}[name]
        try:
            run = resume(path, program=make(names), workers=int(workers))
            found[f"{name}/{cut}/{workers}"] = {"resumed": outcome(run)}
            if attributes:
                found[f"{name}/{cut}/{workers}"]["resumed"]["attributes"] = attributes_of(run, *attributes)
            if run.changes:
                options = {"seed": 1, "fingerprint": True, **options}
                found[f"{name}/{cut}/{workers}"]["whole"] = outcome(make(names).start(replay=run.changes, **options))
        except Exception as error:  # noqa: BLE001 - told by the test, with the others
            found[f"{name}/{cut}/{workers}"] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    storage._fsync = lambda *_: None  # no test here takes the power away
    with contextlib.redirect_stdout(sys.stderr):
        done = {"keep": keep, "crash": crash, "resume": go_on}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
    sys.stdout.write(json.dumps(done))
