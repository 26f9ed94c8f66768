"""The options of a run are defined once: Python, notebook, command line and panel offer the same names, help and errors."""

import argparse
import dataclasses
import inspect
from datetime import timedelta

import numpy as np
import pytest

from reactornb import Program, Reactor, RunOptions, Timer, minutes, ms, reaction, sec
from reactornb.__main__ import main
from reactornb.errors import RunOptionError
from reactornb.options import add_arguments, given_options, option_names, option_table
from reactornb.testing import FakeClock

PYTHON_ONLY = {"clock"}
OF_A_PROCESS_THAT_GOES_ON = {"trace", "fingerprint_log", "record_outside", "replay"}
VALUES = {
    "workers": ("2", 2),
    "seed": ("7", 7),
    "until": ("10ms", ms(10)),
    "fast": (None, True),
    "keepalive": (None, True),
    "fingerprint": (None, True),
    "fingerprint_log": (None, True),
    "check_values": (None, True),
    "profile": (None, True),
    "trace": (None, True),
    "placement": ("none", "none"),
    "nice": ("3", 3),
    "record_outside": (None, True),
    "keep": ("pong", "pong"),
    "checkpoint": ("5min", minutes(5)),
    "replay": ("ppo#3", "ppo#3"),
    "place": ("rollouts=4,learner", {"rollouts": "4", "learner": None}),
}


class Ticks(Reactor):
    tick = Timer(0, ms(1))
    scale: float = 1.0

    @reaction(tick)
    def on_tick(self):
        self.log(at=self.scale * self.time_ns)


def parser(*, process_goes_on):
    made = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(made, process_goes_on=process_goes_on)
    return made


def offered(made):
    """Name -> help of the options that a parser shows."""
    return {a.dest: a.help for a in made._actions if a.help != argparse.SUPPRESS and a.dest != "help"}


def words(name):
    flag = f"--{name.replace('_', '-')}"
    text = VALUES[name][0]
    return [flag] if text is None else [flag, text]


def test_every_option_can_be_given_in_python_and_each_has_its_documentation():
    assert option_names() == [f.name for f in dataclasses.fields(RunOptions)]
    for method in (Program.start, Program.run):
        parameters = inspect.signature(method).parameters
        assert list(parameters)[2:] == option_names()
        for f in dataclasses.fields(RunOptions):
            assert parameters[f.name].default == f.default
            assert f"\n    {f.name}: " in inspect.getdoc(method)


def test_a_notebook_offers_all_that_can_be_written_and_the_command_line_all_but_what_needs_a_process_that_goes_on():
    cell, command = offered(parser(process_goes_on=True)), offered(parser(process_goes_on=False))
    assert set(cell) == set(option_names()) - PYTHON_ONLY == set(VALUES)
    assert set(command) == set(cell) - OF_A_PROCESS_THAT_GOES_ON
    assert all(command[name] == cell[name] for name in command)
    assert all(about in option_table(process_goes_on=True) for about in cell.values())


def test_the_magic_and_the_command_offer_these_options_with_this_help():
    line = pytest.importorskip("reactornb_magics.line")
    from reactornb.cli.command_line import _parser

    (commands,) = (a.choices for a in _parser()._actions if a.choices)
    cell, command = offered(parser(process_goes_on=True)), offered(parser(process_goes_on=False))
    assert offered(line.COMMANDS["start"]).items() >= cell.items()
    assert offered(commands["run"]).items() >= command.items()
    assert option_table(process_goes_on=True) in line.HELP


@pytest.mark.parametrize("name", VALUES)
def test_an_option_means_the_same_as_text_and_as_a_value(name):
    namespace = vars(parser(process_goes_on=True).parse_args(words(name)))
    given = given_options(namespace)
    assert given == {name: VALUES[name][1]}
    assert RunOptions(**given) == RunOptions(**{name: VALUES[name][1]})


def test_what_was_not_given_as_text_is_absent_and_leaves_the_program_to_decide():
    assert given_options(vars(parser(process_goes_on=True).parse_args([]))) == {}
    assert given_options(vars(parser(process_goes_on=True).parse_args(["--no-fast"]))) == {"fast": False}


BAD = {
    "workers": (0, "workers must be a whole number of at least 1"),
    "seed": ("x", "seed must be a whole number, not 'x'"),
    "nice": (-1, "nice must be a whole number of at least 0"),
    "until": (ms(-1), "until is a logical time of at least 0"),
    "fingerprint": ("yes", "fingerprint must be True or False, not 'yes'"),
    "fast": (1, "fast must be True, False or None, not 1"),
    "wrokers": (2, "a run has no option 'wrokers'. Did you mean 'workers'?"),
    "timeout": (sec(10), "timeout= is called until= now: the end in logical time"),
    "driven": (False, "driven= is gone: a run has threads of its own; run.pause"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_option_that_does_not_fit_is_refused_by_start_and_run_before_anything_begins(name):
    value, why = BAD[name]
    program = Program(Ticks)
    for begin in (program.start, program.run):
        with pytest.raises(RunOptionError, match="^" + why.replace("?", r"\?")):
            begin(**{name: value})
    assert program.last_run is None


@pytest.mark.parametrize(("words", "why"), [
    (["--workers", "0"], "workers must be a whole number of at least 1"),
    (["--workers", "many"], "workers must be a whole number of at least 1"),
    (["--seed", "x"], "seed must be a whole number, not 'x'"),
    (["--nice", "-1"], "nice must be a whole number of at least 0"),
    (["--until", "10"], "'10' is not a duration; write 10s, 500ms or 2min"),
    (["--timeout", "10s"], "it is called --until now: the end in logical time"),
])  # fmt: skip
def test_text_that_does_not_fit_is_refused_in_the_same_words_by_the_command_and_by_the_magic(words, why, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "nothing.py", *words])
    assert caught.value.code == 2
    assert why in capsys.readouterr().err
    line = pytest.importorskip("reactornb_magics.line")
    with pytest.raises(line.UsageError, match=why):
        line.parse(f"start {' '.join(words)}", {})


def test_options_of_one_run_start_another_one_alike_and_names_win():
    program = Program(Ticks, scale=2.0)
    first = program.start(workers=2, seed=3, until=timedelta(milliseconds=5), fast=True, fingerprint=True, nice=0)
    print_of_first = first.result().fingerprint
    assert first.options == RunOptions(workers=2, seed=3, until=ms(5), fast=True, fingerprint=True, nice=0)
    second = program.start(first.options, workers=1)
    assert second.result().fingerprint == print_of_first
    assert second.options == dataclasses.replace(first.options, workers=1)
    with pytest.raises(RunOptionError, match="by name"):
        program.start({"workers": 2})


def test_what_is_left_open_is_decided_for_the_machine_and_the_program():
    class Quick(Ticks):
        needs_physical_time = False

    for root, fast in ((Ticks, False), (Quick, True)):
        options = Program(root).start(until=0, clock=FakeClock()).options
        assert options.fast is fast
        assert options.workers >= 1
        assert options.nice == 0


def test_options_are_frozen_and_hold_plain_numbers():
    options = RunOptions(workers=np.int64(2), seed=np.uint8(3), until=timedelta(seconds=1))
    assert type(options.workers) is type(options.seed) is int
    assert options.until_ns == 10**9
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.seed = 4


def test_the_panel_starts_a_run_again_with_all_the_options_it_had(monkeypatch):
    session = pytest.importorskip("reactornb.notebook.session")
    begun = []
    made = object.__new__(session.Session)
    made._began = {}
    monkeypatch.setattr(made, "_begin", lambda program, options: begun.append((program, options)), raising=False)
    program = Program(Ticks)
    run = program.start(workers=1, seed=5, until=ms(3), fast=True, fingerprint=True, profile=True, check_values=True)
    run.result()
    made.start_again(run)
    assert begun == [(program, run.options)]
    assert run.options.fingerprint
    assert run.options.profile
    assert run.options.check_values


@pytest.mark.parametrize("place", [{}, [], 4, "rollouts"])
def test_place_names_enclaves_and_their_hosts(place):
    with pytest.raises(RunOptionError, match=r'such as place=\{"rollouts": Hosts\.local\(4\)\}, not '):
        RunOptions(place=place)
