"""Parses the rest of a `%reactor`, `%%reactor` or `%%lf` line: commands and options, as IPython's own magics do."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from IPython.core.error import UsageError

from reactornb.errors import suggestion
from reactornb.loading.cell_magics import add_lf_options, add_reactor_options
from reactornb.notebook.kept_runs import place_of
from reactornb.options import add_arguments, add_verify_arguments, option_table, parameter_value
from reactornb.sweeps.asked import add_sweep_arguments, axis_value
from reactornb.tags import parse_duration

__all__ = ["CELLS", "COMMANDS", "HELP", "Asked", "Parser", "duration", "parse", "parse_cell", "words_of"]

HELP = """Start, stop and look at reactor programs. Each line has its plain Python twin.

    %reactor start [Name] [options] [parameter=value ...]   run = Program(Name, parameter=value).start(...)
{options}
    %reactor stop [Name] [--all] [--abandon]   run.stop(); run.abandon() gives up one that hangs
    %reactor pause [Name] [--all]           run.pause()
    %reactor resume [Name] [--all]          run.resume(); of a kept run that ended or whose kernel is gone: reactornb.resume("pong")
    %reactor resume Name --at TAG [--set PATH=VALUE]    reactornb.resume("pong", at=tag, set={...}): a branch of a kept run
    %reactor rewind TAG [Name]              reactornb.rewind("pong", tag): paused as it stood there
    %reactor keep on|off                    keep each run that is started; one alone: program.start(keep="pong"), start --keep pong
    %reactor checkpoint [LABEL] [Name]      run.checkpoint("before lr"): write one now
    %reactor runs [CONDITION] [--sort X [--reverse]]    reactornb.Runs(): the runs on this disk
    %reactor runs --tree [Name]             reactornb.Runs().tree("pong"): with their branches
    %reactor sweep Name parameter=[…] [--seeds N] [--keep NAME]    reactornb.sweep(Name, parameter=[…], seeds=N): many runs, on all cores
    %reactor sweep Name parameter=between(A,B,log) --trials N      reactornb.optimize(Name, …, trials=N): Optuna chooses
    %reactor verify [Name] [parameter=value ...] [--workers 1,2] [--tags N]        reactornb.verify(Name, …): the same with any number of workers?
    %reactor step [N] [Name]                run.step(N): execute N tags
    %reactor set PATH VALUE [Name]          run.set("learner.learning_rate", 1e-4): change a parameter while it runs
    %reactor set [PATH] [--widget]          run.parameters(PATH): what it is now; --widget: a slider for it
    %reactor run [Name]                     run = reactornb.notebook.current_session().run("ppo#3")
    %reactor status [Name]                  run.status()
    %reactor graph [Name] [parameter=value ...] [--levels] [--depth N] [--save FILE]    Program(Name).graph
    %reactor curves [Name ...] [-m METRICS] [-x AXIS] [--save FILE]       reactornb.viz.plot(run)
    %reactor watch [Name ...] [--episodes N] [--save FILE]                reactornb.rl.watch(run): an episode as it looks
    %reactor watch [Name] --films                                         reactornb.rl.videos(run): what it has filmed, video_every=
    %reactor profile [Name] [--banks]       run.profile(), of a run started with --profile
    %reactor timeline [Name] [--last T] [--save FILE]                     run.timeline()
    %reactor list                           reactornb.notebook.current_session().list()
    %reactor inspect Name                   reactornb.notebook.current_session().inspect("Name")
    %reactor help                           this text; %reactor COMMAND --help says more

Name is a reactor class, a reactor, a Program or a Run in your namespace, or a run's own name, ppo#3 or 3 (see %reactor list); it may
be left out where only one is meant.
`run = %reactor start Main` keeps the run; as the last line of a cell it shows its panel.
""".replace("{options}", option_table(process_goes_on=True))


@dataclass
class Asked:
    """A parsed line. `help` is the text to show instead of doing anything."""

    command: str
    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    help: str | None = None


class Parser(argparse.ArgumentParser):
    """One command's parser.

    Args:
        command: as it is typed, such as `%reactor start`.
        about: what it does.
        twin: the same in plain Python.

    Attributes:
        known: its options and positional arguments, for completion.
    """

    def __init__(self, command: str, about: str, twin: str) -> None:
        self.known: list[argparse.Action] = []
        super().__init__(
            prog=command,
            description=about,
            epilog=f"In plain Python:\n{twin}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        # A value such as -1e-3 is no option; argparse before 3.14 knows no exponents.
        self._negative_number_matcher = re.compile(r"-\d*\.?\d+(e[+-]?\d+)?$", re.IGNORECASE)
        self.add_argument("-h", "--help", action="store_true", help="show this text")

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Like argparse's method; also records the action in `known`."""
        action = super().add_argument(*names, **options)
        self.known.append(action)
        return action

    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError`, which IPython shows as one line."""
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def duration(text: str) -> int:
    """`10s`, `500ms`, `2min`, `1.5 h`: nanoseconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def words_of(text: str) -> list[str]:
    """`loss,mean_return`: the names between commas."""
    return [word for word in text.split(",") if word]


_SESSION = "  from reactornb.notebook import current_session\n  "

_SET = """\
Change a parameter while a program runs: learner.learning_rate, rollouts.epsilon (every member of a bank), rollouts[3].epsilon.
It is an event with a tag: recorded in run.changes, and part of the fingerprint. Without VALUE it shows what the
parameter is; without PATH, all that can be changed."""
_SET_TWIN = f"""\
run.set("learner.learning_rate", 1e-4)
  run.parameters("learner.learning_rate"), run.changes
  Program(Main).start(replay=run.changes)
{_SESSION}current_session().control("learner.learning_rate", low=1e-5, high=1e-2, log=True)"""


def _commands() -> dict[str, Parser]:
    run = "  run = Program(Main).start()\n  "
    profiled = "  run = Program(Main).start(profile=True)\n  "
    about = {
        "start": (
            "Start a program in the background.",
            "  from reactornb import Program\n  from reactornb.rl import PPO\n  run = Program(PPO, learning_rate=1e-4).start(workers=2, seed=1, until=sec(10))",
        ),
        "stop": (
            "End a run at its next microstep, with its shutdown reactions.",
            f"{run}run.stop()\n  run.abandon()                     # gives up a run of which a reaction never returns",
        ),
        "run": (
            "The run itself, to keep in a variable: one that the panel's button started, or that no variable holds.",
            f'{_SESSION}run = current_session().run("ppo#3")',
        ),
        "pause": ("Hold a run before its next tag.", f"{run}run.pause()"),
        "resume": (
            "Let a paused run go on, or a kept run that was stopped, failed, or whose kernel is gone. With --at or --set it is a\nbranch, a run of its own.",
            f'{run}run.resume()\n  from reactornb import resume, sec\n  run = resume("pong")\n  branch = resume("pong", at=sec(3), set={{"learner.learning_rate": 1e-4}})',
        ),
        "rewind": (
            "A kept run as it stood at a tag, paused there: to look at, to step, to go on. TAG is a time (1.5s), a time and a\nmicrostep (1.5s,3), or the name of a checkpoint. The run itself stays as it is.",
            '  from reactornb import rewind, sec\n  there = rewind("pong", sec(1.5))\n  there.instance("learner")            # as it was then',
        ),
        "keep": (
            "Keep each run that is started from now on, under its program's name and a number; without a word: say what holds.",
            f'  run = Program(Main).start(keep="pong", checkpoint=minutes(5))\n{_SESSION}current_session().keep(True)',
        ),
        "checkpoint": (
            "Write a checkpoint of a kept run now. With a LABEL it stays when newer ones come.",
            '  run = Program(Main).start(keep="pong")\n  run.checkpoint("before lr")',
        ),
        "runs": (
            'The runs on this disk, as a table. CONDITION chooses: "lr < 1e-3", "state == \'failed\'".',
            '  from reactornb import Runs\n  Runs().where("lr < 1e-3").sort("mean_return", reverse=True)',
        ),
        "sweep": (
            "Run a program with all combinations of parameters and seeds, as many runs at once as there are cores. A list is swept,\n[1e-3,3e-4] without blanks; between(1e-5,1e-2,log) is a range, for --samples N or, chosen by Optuna, --trials N.",
            '  from reactornb import sweep, optimize, between\n  found = sweep(PPO, env="CartPole-v1", learning_rate=[1e-3, 3e-4], seeds=5)\n  found.wait(), found.summary, found.stop()\n  optimize(PPO, learning_rate=between(1e-5, 1e-2, log=True), trials=50)',
        ),
        "verify": (
            "Run the beginning of a program twice, with one worker and with several, and name the first value that differs. What comes from\noutside is replayed. A run that is under way is not touched.",
            "  from reactornb import verify\n  print(verify(Main, n=16, workers=(1, 2, 8), tags=500))",
        ),
        "step": ("Execute so many tags of a run, and hold it.", f"{run}run.pause().step(3)"),
        "set": (_SET, f"{run}{_SET_TWIN}"),
        "status": ("State, tag, rates and metrics of the runs.", f"{run}run.status(), run.metrics"),
        "graph": (
            "Show the graph of a program.",
            "  from reactornb.viz import GraphView\n  GraphView(Program(Main, n=16).graph, levels=True)",
        ),
        "curves": (
            "Show the learning curves of runs: one panel, each metric's curves overlaid.",
            f'  from reactornb.viz import plot\n  plot([run, other])          # a figure for a paper\n  plot({{"lr 1e-3": runs, "lr 1e-4": others}}, iqm=True)\n{_SESSION}current_session().curves("run", "other")',
        ),
        "watch": (
            "Play episodes with what runs have learnt so far, or with a saved policy, and show them as a player; several side by side.\nNames are those of runs, policies, lists of them, or files; the last run if none.",
            f'{run}from reactornb.rl import watch\n  watch(run, episodes=4)\n  watch("policy.safetensors", "CartPole-v1").save("episode.mp4")',
        ),
        "profile": (
            "How often and how long each reaction ran, how long it waited for a worker, and on which it ran.",
            f"{profiled}run.profile()                     # .by_bank() folds banks",
        ),
        "timeline": (
            "Show who ran what, when, on which worker and core.",
            (
                f'{profiled}run.timeline()\n  run.timeline().save("trace.json")  # Chrome trace format, for Perfetto\n'
                f'  from reactornb.viz import save_timeline\n  save_timeline(run.timeline(), "timeline.svg", last_ns=ms(100))'
            ),
        ),
        "list": ("Reactor classes and runs.", f"{_SESSION}print(current_session().list())"),
        "inspect": (
            "Ports, parameters, state and reactions of a class, a port, or a reactor of a run.",
            f'{_SESSION}print(current_session().inspect("Rollout"))\n  run.instance("rollouts[0]")       # the running reactor itself',
        ),
        "help": ("Show all commands.", "  help(run), help(Program)"),
    }
    return {name: Parser(f"%reactor {name}", *words) for name, words in about.items()}


def _with_arguments(commands: dict[str, Parser]) -> dict[str, Parser]:
    start = commands["start"]
    add_arguments(start, process_goes_on=True)
    start.add_argument("words", nargs="*", metavar="Name | parameter=value")
    add_sweep_arguments(commands["sweep"])
    commands["sweep"].add_argument("words", nargs="*", metavar="Name | parameter=values")
    add_verify_arguments(commands["verify"])
    commands["verify"].add_argument("words", nargs="*", metavar="Name | parameter=value")
    commands["step"].add_argument("tags", nargs="?", type=int, default=1, metavar="N")
    graph = commands["graph"]
    graph.add_argument("--levels", action="store_true", help="write each reaction's level beside it")
    graph.add_argument("--depth", type=int, metavar="N", help="levels of the hierarchy below the root")
    graph.add_argument("--save", metavar="FILE", help="write it to a .svg, .png, .dot or .txt file")
    graph.add_argument("words", nargs="*", metavar="Name | parameter=value")
    curves = commands["curves"]
    curves.add_argument(
        "names",
        nargs="*",
        metavar="Name",
        help="runs, lists of runs, a dict of such lists by the names of groups, or programs; the last run if none",
    )
    curves.add_argument("-m", "--metrics", type=words_of, metavar="A,B", help="which metrics; all unless given")
    curves.add_argument(
        "-x",
        "--axis",
        choices=("steps", "wall", "episodes", "tag"),
        metavar="AXIS",
        help="the x axis: steps (of environments; the default where any were logged), wall (clock), episodes or tag",
    )
    curves.add_argument("--iqm", action="store_true", help="in a figure: interquartile mean and bootstrap interval")
    curves.add_argument("--save", metavar="FILE", help="write a figure to a .png, .svg or .pdf file")
    _with_watched(commands["watch"])
    _with_kept(commands)
    setting = commands["set"]
    setting.add_argument(
        "path",
        nargs="?",
        default="",
        metavar="PATH",
        help="contained reactors and at last a parameter: learner.learning_rate",
    )
    setting.add_argument(
        "value", nargs="?", default=None, metavar="VALUE", help="a Python literal, a variable, or text"
    )
    setting.add_argument("name", nargs="?", default="", metavar="Name")
    setting.add_argument("--widget", action="store_true", help="show a slider, a box or a list that changes it")
    setting.add_argument("--min", type=float, dest="low", metavar="A", help="the slider's least value")
    setting.add_argument("--max", type=float, dest="high", metavar="B", help="the slider's greatest value")
    setting.add_argument("--log", action="store_true", default=None, help="a slider by orders of magnitude")
    setting.add_argument("--step", type=float, metavar="S", help="the slider's step (with --log: of the exponent)")
    commands["profile"].add_argument("--banks", action="store_true", help="one row for all members of a bank")
    timeline = commands["timeline"]
    timeline.add_argument(
        "--last", type=duration, metavar="T", help="how much physical time is shown, up to the end: 2s, 100ms"
    )
    timeline.add_argument("--save", metavar="FILE", help="write a .json (Chrome trace format), .svg, .png or .pdf file")
    commands["inspect"].add_argument("name", metavar="Name", help="such as Rollout, Rollout.weights, rollouts[0]")
    for name in ("stop", "pause", "resume"):
        commands[name].add_argument("--all", action="store_true", dest="every", help="all runs (of that name)")
    commands["stop"].add_argument(
        "--abandon", action="store_true", help="give up a run of which a reaction does not return"
    )
    for name in ("stop", "pause", "resume", "step", "run", "status", "profile", "timeline", "rewind", "checkpoint"):
        commands[name].add_argument("name", nargs="?", default="", metavar="Name")
    return commands


def _with_watched(watch: Parser) -> None:
    watch.add_argument(
        "names", nargs="*", metavar="Name", help="runs, programs, policies, or files of policies; the last run if none"
    )
    watch.add_argument("--env", metavar="ID", help="another environment than was trained on: an id, or a variable")
    watch.add_argument("--episodes", type=int, default=1, metavar="N", help="so many of each, side by side")
    watch.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the first episode; the next one has the next"
    )
    watch.add_argument(
        "--steps", type=int, default=1000, metavar="N", help="after so many an episode is over in any case"
    )
    watch.add_argument(
        "--sample", action="store_true", help="draw the actions as in training; the best ones unless given"
    )
    watch.add_argument("--save", metavar="FILE", help="write a .mp4, .gif or .png that moves")
    watch.add_argument(
        "--films", action="store_true", help="instead, what a run films while it trains: started with video_every="
    )


def _with_kept(commands: dict[str, Parser]) -> None:
    """The arguments of what concerns kept runs."""
    resume = commands["resume"]
    resume.add_argument(
        "--at", type=place_of, metavar="TAG", help="from where: 1.5s, 1.5s,3 or a checkpoint's name; makes it a branch"
    )
    resume.add_argument(
        "--set",
        action="append",
        dest="changes",
        metavar="PATH=VALUE",
        help="a parameter that is changed there; makes it a branch; more than once for more",
    )
    resume.add_argument("--keep", metavar="NAME", help="name of the branch")
    resume.add_argument("--workers", type=int, metavar="N", help="other than it had")
    resume.add_argument("--until", type=duration, metavar="T", help="logical time at which it ends, other than it had")
    resume.add_argument("--changed", choices=["error", "allow"], help="allow: go on with changed code, as a branch")
    for command in (resume, commands["rewind"]):
        command.add_argument(
            "--exact", choices=["error", "warn"], help="warn: go on though this machine rounds otherwise"
        )
    rewind = commands["rewind"]
    rewind.add_argument("place", type=place_of, metavar="TAG", help="1.5s, 1.5s,3 or a checkpoint's name")
    rewind.add_argument("--keep", metavar="NAME", help="keep what goes on from there, under this name")
    commands["keep"].add_argument("on", nargs="?", type=_switch, metavar="on | off")
    commands["checkpoint"].add_argument("label", nargs="?", metavar="LABEL", help="what it is called")
    runs = commands["runs"]
    runs.add_argument("condition", nargs="?", default="", metavar="CONDITION", help='in quotes: "lr < 1e-3"')
    runs.add_argument("--sort", default="", metavar="X", help="by a fact, a parameter or a metric, the least first")
    runs.add_argument(
        "--tree",
        action="store_true",
        help="with their branches as a tree; instead of CONDITION the name of one of a family",
    )
    runs.add_argument("--reverse", action="store_true", help="the greatest first")


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"on or off, not {text!r}")
    return text == "on"


def _cells() -> dict[str, Parser]:
    reactor = Parser(
        "%%reactor",
        "Declare a reactor class: the cell is the class's body.",
        "  class Rollout(Reactor):\n      weights = Input()\n      ...",
    )
    add_reactor_options(reactor)
    lf = Parser(
        "%%lf",
        "Declare the reactors of a Lingua Franca program (Python target).",
        '  from reactornb import lf\n  program = lf.loads(text, file="example.lf")',
    )
    add_lf_options(lf)
    return {"reactor": reactor, "lf": lf}


COMMANDS = _with_arguments(_commands())
CELLS = _cells()


def parse(line: str, namespace: Mapping[str, Any]) -> Asked:
    """Parse what follows `%reactor`.

    Args:
        line: the line.
        namespace: the user's; a parameter's value may be the name of a variable.

    Raises:
        UsageError: for anything that is no command, option or parameter.
    """
    command, *words = _split("%reactor", line) or ["help"]
    if command in ("-h", "--help"):
        command = "help"
    parser = COMMANDS.get(command)
    if parser is None:
        raise UsageError(f"%reactor: there is no command {command!r}. {suggestion(command, COMMANDS)}")
    if command == "help" or "--help" in words or "-h" in words:
        return Asked(command, help=HELP if command == "help" else parser.format_help())
    given = _given(parser, words)
    asked = Asked(command, given.pop("name", ""), given)
    if command == "set":
        _set(asked, namespace)
    for word in given.pop("changes", None) or ():
        path, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f"%reactor resume: --set {word}: it takes PATH=VALUE, such as --set learner.learning_rate=1e-4"
            )
        asked.parameters[path] = parameter_value(value, namespace)
    for word in given.pop("words", ()):
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            asked.parameters[name] = _value(command, value, namespace)
        elif equals or asked.name:
            raise UsageError(f"%reactor {command}: {word!r} is neither one Name nor parameter=value; see %reactor help")
        else:
            asked.name = word
    return asked


def _value(command: str, text: str, namespace: Mapping[str, Any]) -> Any:
    """What stands behind a parameter's `=`."""
    if command != "sweep":
        return parameter_value(text, namespace)
    try:
        return axis_value(text, namespace)
    except ValueError as error:
        raise UsageError(f"%reactor sweep: {error}") from None


def _set(asked: Asked, namespace: Mapping[str, Any]) -> None:
    """`VALUE`, parsed into `parameters` under its path; `PATH --widget Name` has none."""
    given = asked.options
    text = given.pop("value")
    if not given["widget"]:
        sliders = [
            f"--{word}"
            for word, key in (("min", "low"), ("max", "high"), ("log", "log"), ("step", "step"))
            if given[key] is not None
        ]
        if sliders:
            raise UsageError(
                f"%reactor set: {', '.join(sliders)} belongs to a slider: %reactor set {given['path']} --widget {' '.join(sliders)}"
            )
        if text is not None:
            asked.parameters[given["path"]] = parameter_value(text, namespace)
        elif "=" in given["path"]:
            path, _, value = given["path"].partition("=")
            raise UsageError(f"%reactor set: no = between the two: %reactor set {path} {value}")
    elif not given["path"]:
        raise UsageError("%reactor set: a slider needs to know for what: %reactor set learner.learning_rate --widget")
    elif asked.name:
        raise UsageError(f"%reactor set: a slider begins where the parameter is; leave out {text!r}")
    else:
        asked.name = text or ""


def parse_cell(magic: str, line: str) -> Asked:
    """Parse what follows `%%reactor` or `%%lf` on its line.

    Raises:
        UsageError: for an option or a word too many.
    """
    parser = CELLS[magic]
    words = _split(f"%%{magic}", line)
    if "--help" in words or "-h" in words:
        return Asked(magic, help=parser.format_help())
    given = _given(parser, words)
    return Asked(magic, given.pop("name"), given)


def _given(parser: Parser, words: list[str]) -> dict[str, Any]:
    given = vars(parser.parse_intermixed_args(words))
    del given["help"]
    return given


def _split(magic: str, line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{magic}: {error} in {line.strip()!r}") from None
