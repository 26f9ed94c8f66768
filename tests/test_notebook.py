"""Magics, cells and sessions on a real shell, in this process. The bad-input tests are the promises of issue 2."""

import inspect
import pickle
import re

import pytest

pytest.importorskip("IPython")

from IPython.core.completer import provisionalcompleter, rectify_completions
from IPython.core.error import UsageError
from reactornb_magics.line import COMMANDS
from shells import loaded_shell

from reactornb.errors import (
    CausalityError,
    DeclarationError,
    ReactionError,
    RunError,
    UnknownNameError,
    WidthMismatchError,
)
from reactornb.loading.cell_magics import source_of_class
from reactornb.notebook import current_session
from reactornb.runtime import Program

ROLLOUT = """%%reactor Rollout
\"\"\"Play an episode.\"\"\"
import math

HELP = '''two
lines'''
weights = Input[float]()
episode = Output[float]()
fail_at: int = -1

@reaction(weights)
def on_weights(self, weights, episode):
    if weights.value == self.fail_at:
        raise ValueError("bad weights")
    episode.set(math.pi)
"""
LEARNER = """%%reactor Learner
episodes = Input[float](width=2)
weights = Output[int]()

@reaction(startup, episodes)
def on_episodes(self, episodes, weights):
    self.count = getattr(self, "count", 0) + 1
    self.log(loss=1 / self.count)
    weights.set(self.count)
"""
MAIN = """%%reactor Main
rollouts = Bank(Rollout, 2)
learner = Learner()
connect(rollouts.episode, learner.episodes)
connect(learner.weights, rollouts.weights, after=0)
"""


@pytest.fixture
def cells():
    with loaded_shell() as cells:
        yield cells


@pytest.fixture
def program(cells):
    """Cells 2, 3 and 4 declare a program that never ends by itself."""
    for cell in (ROLLOUT, LEARNER, MAIN):
        assert cells.ok(cell) == ""
    return cells


# -- declaring ----------------------------------------------------------------------------------------------------------


def test_a_cell_declares_a_class_in_the_users_namespace(program):
    cls = program.shell.user_ns["Rollout"]
    assert cls.__module__ == "__main__"
    assert cls.__doc__ == "Play an episode."
    assert str(cls._definition) == "cell 2, line 1"
    assert str(cls._spec.reactions[0].source) == "cell 2, line 11"
    assert cls.HELP == "two\nlines", "what is inside a string must not be moved"


def test_only_the_names_that_cells_use_are_put_into_the_namespace(program):
    names = program.shell.user_ns
    assert {"Input", "Output", "reaction", "startup", "Bank", "connect"} <= set(names)
    assert "Timer" not in names
    assert "shutdown" not in names


def test_a_users_own_name_wins_over_the_packages(cells):
    cells.ok("from reactornb import sec\nms = lambda n: sec(7)")
    cells.ok("%%reactor Clock\nt = Timer(0, ms(5))")
    assert cells.shell.user_ns["Clock"]._spec.timers["t"].period == 7_000_000_000


def test_source_of_a_class_and_of_its_reactions_is_the_cells(program):
    cls = program.shell.user_ns["Learner"]
    source = source_of_class(cls)
    assert source.startswith("class Learner(Reactor):\n    episodes = Input[float](width=2)\n")
    assert source.endswith("weights.set(self.count)\n")
    assert "episodes = Input[float](width=2)" in program.shell.object_inspect_text("Learner", detail_level=1)
    assert inspect.getsource(cls._spec.reactions[0].fn).startswith("    @reaction(startup, episodes)\n")


def test_a_class_of_a_cell_can_be_pickled_by_name(program, monkeypatch):
    import __main__

    cls = program.shell.user_ns["Rollout"]
    monkeypatch.setattr(__main__, "Rollout", cls, raising=False)
    assert pickle.loads(pickle.dumps(cls)) is cls


def test_lines_count_from_the_top_of_the_cell_even_below_blank_lines(cells):
    cells.ok("\n\n%%reactor Late\nx = Input()\n\n@reaction(x)\ndef on_x(self, x): ...")
    cls = cells.shell.user_ns["Late"]
    assert cls._definition.line == 3
    assert cls._spec.reactions[0].source.line == 6


def test_a_cell_may_extend_a_reactor_and_hold_modes(program):
    program.ok(
        "%%reactor Modal Rollout\na = Mode(initial=True)\nwith a:\n    t = Timer()\n    @reaction(t)\n    def on_t(self): ..."
    )
    cls = program.shell.user_ns["Modal"]
    assert issubclass(cls, program.shell.user_ns["Rollout"])
    assert cls._spec.reactions[1].mode is cls.a


def test_an_empty_cell_declares_an_empty_reactor(cells):
    cells.ok("%%reactor Empty\n# nothing yet\n")
    assert cells.shell.user_ns["Empty"]._spec.reactions == ()


def test_a_decorated_plain_class_is_the_same_as_a_derived_one(cells):
    cells.ok(
        "from reactornb import *\n@reactor\nclass Plain:\n    x = Input()\n    @reaction(x)\n    def on_x(self, x): self.hear()\n"
        "    def hear(self): return super().__repr__()"
    )
    cls = cells.shell.user_ns["Plain"]
    assert [r.name for r in cls._spec.reactions] == ["on_x"]
    assert "Plain" in cls().hear()


def test_running_a_cell_again_renews_what_contains_it_and_a_live_run_keeps_the_old(program):
    old = program.shell.user_ns["Rollout"]
    program.ok("run = %reactor start -w 1")
    said = program.ok(ROLLOUT)
    assert (
        said
        == "Rollout replaced, and Main declared again with it; run 1 of main keeps the old one until it is started again.\n".replace(
            "run 1", f"run {program.shell.user_ns['run'].number}"
        )
    )
    new = program.shell.user_ns["Rollout"]
    assert old in {node.cls for node in program.shell.user_ns["run"].program.graph.reactors}
    program.ok("%reactor stop")
    program.ok("run = %reactor start -w 1")
    assert new in {node.cls for node in program.shell.user_ns["run"].program.graph.reactors}


# -- bad input: what, which cell, which line, what to do; and the shell goes on ------------------------------------------


def lives(cells):
    return cells.ok("6 * 7") is not None and cells.result.result == 42


def test_a_misspelt_port_in_a_signature_names_cell_line_and_the_nearest_name(cells):
    said = cells(ROLLOUT.replace("self, weights, episode", "self, wieghts, episode"))
    assert isinstance(cells.error, UnknownNameError)
    assert f"cell {cells.number}, line 11: reaction Rollout.on_weights names 'wieghts' in its signature" in said
    assert "Did you mean 'weights'?" in said
    assert "def on_weights(self, wieghts, episode):" in said
    assert "Traceback" not in said
    assert lives(cells)


def test_a_loop_without_delay_names_its_reactions_and_proposes_the_delay(program):
    program.ok(MAIN.replace(", after=0", ""))
    said = program("%reactor start")
    assert isinstance(program.error, CausalityError)
    assert re.search(r"learner\.on_episodes +cell 3, line 5", said)
    assert re.search(r"rollouts\[\d\]\.on_weights +cell 2, line 11", said)
    assert "Break the loop with a delay: connect(" in said
    assert "after=ms(0))" in said
    assert "Traceback" not in said
    assert lives(program)


def test_a_reaction_that_raises_shows_its_line_reactor_reaction_and_tag(program):
    program.ok("run = %reactor start -w 2")
    program.ok("%reactor stop")
    program.ok("from reactornb import Program")
    program.ok(MAIN.replace("Bank(Rollout, 2)", "Bank(Rollout, 2, fail_at=3)"))
    said = program("run = %reactor start -w 2\nrun.result(20)")
    assert isinstance(program.error, ReactionError)
    assert 'raise ValueError("bad weights")' in said
    assert re.search(r"Cell In\[2\], line 14", said)
    assert "reaction main.rollouts[0].on_weights raised at tag (0, 3), cell 2, line 14: ValueError: bad weights" in said
    assert "scheduler.py" not in said
    assert "workers.py" not in said
    assert program.shell.user_ns["run"].state == "failed"
    assert "cell 2, line 14, in on_weights" in program.ok("%reactor status")
    assert lives(program)


def test_a_reaction_that_uses_a_port_its_signature_leaves_out_is_told_how_to_name_it(cells):
    cells.ok("%%reactor Quiet\nsaid = Output[int]()\n@reaction(startup)\ndef begin(self):\n    said.set(1)")
    said = cells("run = %reactor start Quiet -w 1\nrun.result(20)")
    assert isinstance(cells.error, ReactionError)
    assert (
        "line 5: NameError: name 'said' is not defined. Quiet declares said; a reaction names what it touches: " in said
    )
    assert "def begin(self, said)" in said


def test_a_misspelt_parameter_of_start_is_located_in_the_cell(program):
    program.ok(MAIN.replace("learner = Learner()", "learner = Learner()\nseeds: int = 3"))
    said = program("%reactor start Main sedes=4")
    assert isinstance(program.error, UnknownNameError)
    assert f"cell {program.number}, line 1: Main has no parameter 'sedes'. Did you mean 'seeds'?" in said


def test_a_reactor_that_the_program_does_not_have_is_told_what_is_near(program):
    program.ok("run = %reactor start -w 1")
    said = program("run.instance('lerner')")
    assert isinstance(program.error, UnknownNameError)
    assert "main has no reactor 'lerner'. Did you mean 'learner'?" in said
    program.ok("assert run.instance('learner') is run.instance('main.learner')")


@pytest.mark.parametrize("name", ["2fast", "a-b", "class", "Rollout!"])
def test_a_class_name_that_is_no_identifier_is_a_usage_error(cells, name):
    said = cells(f"%%reactor {name}\nx = Input()")
    assert type(cells.error) is UsageError
    assert said.startswith(f"UsageError: %%reactor (cell {cells.number}, line 1): {name!r} is not a valid class name")
    assert ": %%reactor " in said
    assert said.count("\n") == 1
    assert lives(cells)


def test_starting_twice_names_the_fix_and_the_cell(program):
    program.ok("run = %reactor start -w 1")
    said = program("%reactor start -w 1")
    assert isinstance(program.error, RunError)
    assert "main is running already" in said
    assert "Stop it first with run.stop() or %reactor stop" in said
    assert f"(run by cell {program.number}, line 1)" in said
    assert "Traceback" not in said
    assert program.shell.user_ns["run"].is_alive
    assert lives(program)


def test_a_width_mismatch_names_both_sides_both_widths_and_the_line(program):
    program.ok(MAIN.replace("Bank(Rollout, 2)", "Bank(Rollout, 3)"))
    said = program("%reactor graph")
    assert isinstance(program.error, WidthMismatchError)
    number = program.number - 1
    assert f"cell {number}, line 4: the two sides have different widths:" in said
    assert "rollouts.episode (width 3) -> learner.episodes (width 2)" in said
    assert "connect(…, broadcast=True)" in said
    assert "Traceback" not in said
    assert lives(program)


def test_a_body_that_is_not_python_names_its_line_and_keeps_the_old_class(program):
    old = program.shell.user_ns["Rollout"]
    said = program("%%reactor Rollout\nweights = Input()\nepisode = Output(")
    assert isinstance(program.error, DeclarationError)
    assert f"cell {program.number}, line 3: '(' was never closed." in said
    assert "episode = Output(" in said
    assert "Traceback" not in said
    assert program.shell.user_ns["Rollout"] is old


def test_an_ordinary_mistake_in_a_body_points_at_its_line(cells):
    said = cells("%%reactor Broken\nx = Input()\ny = undefined")
    assert isinstance(cells.error, NameError)
    assert re.search(rf"Cell In\[{cells.number}\], line 3", said)
    assert "session.py" not in said
    assert "cells.py" not in said


def test_a_port_of_the_base_used_by_its_bare_name_is_told_how_to_be_named(program):
    said = program("%%reactor Watched Rollout\n@reaction(weights)\ndef also(self, weights): ...")
    assert isinstance(program.error, NameError)
    assert "weights is declared by Rollout: write Rollout.weights" in said
    program.ok("%%reactor Watched Rollout\n@reaction(Rollout.weights)\ndef also(self, weights): ...")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("strat", "there is no command 'strat'. Did you mean 'start'?"),
        ("start --wrokers 2", "unrecognized arguments: --wrokers"),
        ("start -w many", "workers must be a whole number of at least 1 and at most 1,024, not 'many'"),
        ("start --until 10", "'10' is not a duration; write 10s, 500ms or 2min"),
        ("start Mian", "there is no reactor or program 'Mian'. Did you mean 'Main'?"),
        ("start Main Main", "'Main' is neither one Name nor parameter=value"),
        ("stop", "nothing is running"),
        ("stop Main", "'Main' has no run yet"),
        ("curves Main", "'Main' has no run yet"),
        ("curves", "nothing is running"),
        ("inspect", "the following arguments are required: Name; see %reactor inspect --help"),
        ("inspect Rolout", "there is no reactor class or reactor 'Rolout'. Did you mean 'Rollout'?"),
        ("inspect Rollout.wieghts", "Rollout has no 'wieghts'. Did you mean 'weights'?"),
        ("graph --dept 2", "unrecognized arguments: --dept"),
        ("sett learner.lr 1", "there is no command 'sett'. Did you mean 'set'?"),
        ("profile", "nothing is running"),
        ("timeline Main", "'Main' has no run yet"),
        ("timeline --last 3", "'3' is not a duration; write 10s, 500ms or 2min"),
        ("profile --bank", "unrecognized arguments: --bank"),
    ],
)
def test_a_wrong_line_is_a_usage_error_of_one_line(program, line, words):
    said = program(f"%reactor {line}")
    assert type(program.error) is UsageError
    assert words in said
    assert said.count("\n") == 1


# -- running ------------------------------------------------------------------------------------------------------------


def test_a_program_starts_pauses_steps_resumes_and_stops(program):
    program.ok("run = %reactor start -w 1 --seed 3 --fingerprint")
    run = program.shell.user_ns["run"]
    assert (run.seed, run.workers, run.fingerprint is None) == (3, 1, False)
    assert "paused" in program.ok("%reactor pause")
    assert "paused" in program.ok("%reactor step 2")
    assert "running" in program.ok("%reactor resume")
    assert "run 1 of main" in program.ok("%reactor status").replace(f"run {run.number}", "run 1")
    assert "stopped" in program.ok("%reactor stop")
    assert not run.is_alive
    assert (
        "Main  (0 ports, 0 reactions, contains rollouts: Rollout ×2, learner: Learner)  cell 4, line 1"
        in program.ok("%reactor list")
    )


def test_parameters_are_literals_variables_or_text(cells):
    cells.ok(
        '%%reactor Main\nn: int = 1\nname: str = ""\nlr: float = 0.0\nt = Timer()\n@reaction(t)\ndef on_t(self): ...'
    )
    cells.ok("rate = 0.5")
    cells.ok("run = %reactor start n=3 name=CartPole-v1 lr=rate --until 1ms --fast")
    run = cells.shell.user_ns["run"]
    assert run.wait(10)
    assert dict(run.program.graph.reactors[0].parameters) == {"n": 3, "name": "CartPole-v1", "lr": 0.5}


def test_programs_and_runs_of_the_namespace_are_known_by_their_names(program):
    program.ok("from reactornb import Program\np = Program(Main)\nr = p.start(workers=1)")
    session = current_session()
    assert session.run("p") is session.run("r") is session.run() is program.shell.user_ns["r"]
    program.ok("%reactor stop p")
    assert program.shell.user_ns["r"].state == "stopped"


def test_help_shows_every_command(cells):
    said = cells.ok("%reactor help")
    for command in COMMANDS:
        assert f"%reactor {command}" in said
    assert "--workers" in cells.ok("%reactor start --help")
    assert "Declare a reactor class" in cells.shell.find_cell_magic("reactor").__doc__


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "help"])
def test_every_commands_help_shows_its_options_and_its_plain_python_twin(cells, command):
    said = cells.ok(f"%reactor {command} --help")
    assert said.startswith(f"usage: %reactor {command}")
    code = said.partition("In plain Python:\n")[2]
    compile(inspect.cleandoc(code), "twin", "exec")
    assert code.strip()


def test_cell_magics_have_options_and_help(cells):
    assert "--doc" in cells.ok("%%reactor --help\n# nothing")
    assert "class Rollout(Reactor)" in cells.ok("%%reactor -h\n# nothing")
    assert "lf.loads" in cells.ok("%%lf --help\n# nothing")
    said = cells.ok(ROLLOUT.replace("%%reactor Rollout", "%%reactor Rollout --doc"))
    assert "weights: float" in said
    assert "1 on_weights(weights) -> episode  cell" in said
    said = cells("%%reactor A B C\nx = Input()")
    assert type(cells.error) is UsageError
    assert (
        said
        == f"UsageError: %%reactor (cell {cells.number}, line 1): unrecognized arguments: C; see %%reactor --help\n"
    )


def test_inspect_shows_a_class_a_member_and_a_reactor_with_its_state_once_it_stands_still(program):
    said = program.ok("%reactor inspect Rollout")
    assert "Rollout: reactor class, cell 2, line 1\n  Play an episode.\ninputs\n  weights: float\n" in said
    assert "parameters\n  fail_at = -1" in said
    assert "touched by on_weights" in program.ok("%reactor inspect Rollout.weights")
    assert "fail_at = -1" in program.ok("%reactor inspect Rollout.fail_at")
    assert "1 on_episodes(startup, episodes) -> weights  cell 3, line 5" in program.ok(
        "%reactor inspect Learner.on_episodes"
    )
    program.ok("run = %reactor start -w 1")
    assert "state: shown once run" in program.ok("%reactor inspect learner")
    program.ok("%reactor stop")
    count = program.shell.user_ns["run"].instance("learner").count
    for name in ("learner", "main.learner", "run.learner"):
        assert f"  count = {count}\n" in program.ok(f"%reactor inspect {name}")


def test_curves_of_several_runs_are_laid_over_each_other(program, tmp_path):
    pytest.importorskip("matplotlib")
    program.ok("from reactornb import Program\nruns = []")
    for seed in (1, 2):
        program.ok(f"run = %reactor start -w 1 --seed {seed}")
        program.ok("while not run.metrics.get('loss'): pass")
        program.ok("%reactor step 3\n%reactor stop")
        program.ok("runs.append(run)")
    file = tmp_path / "curves.png"
    assert program.ok(f"%reactor curves runs -m loss --save {file}") == f"saved {file}\n"
    assert file.read_bytes().startswith(b"\x89PNG")
    assert [a.get_title(loc="left") for a in program.shell.user_ns["run"].plot(title="one").figure.axes] == ["loss"]
    assert current_session().runs("runs") == program.shell.user_ns["runs"]
    assert current_session().runs("run", "Main") == [program.shell.user_ns["run"]] * 2
    said = program("%reactor curves runs -m los")
    assert "no metric 'los' was logged" in said


def test_a_profile_and_a_timeline_of_a_run_whose_times_are_taken(program, tmp_path):
    program.ok("run = %reactor start -w 2 --profile")
    program.ok("while not run.metrics.get('loss'): pass")
    live = program.ok("%reactor timeline Main")
    assert re.search(r"timeline of run \d+ of main: [\d,]+ reactions", live)
    assert "worker 1" in live
    program.ok("%reactor stop")
    table = program.ok("table = %reactor profile\ntable")
    assert "main.rollouts[1].on_weights" in table
    assert "worker:count" in table
    bundle, _ = program.shell.display_formatter.format(program.shell.user_ns["table"])
    assert "<table" in bundle["text/html"]
    assert bundle["text/plain"] == str(program.shell.user_ns["table"])
    assert "main.rollouts[*].on_weights" in program.ok("%reactor profile run --banks")
    assert "timeline of run" in program.ok("run.timeline()")
    for name, start in (("t.json", "{"), ("t.svg", "<svg")):
        file = tmp_path / name
        assert program.ok(f"%reactor timeline --last 100ms --save {file}") == f"saved {file}\n"
        assert file.read_text().startswith(start)
    said = program("%reactor timeline --save t.gif")
    assert "a timeline is saved as .json" in said
    assert "Traceback" not in said


def test_a_run_whose_times_are_not_taken_says_how_to_start_it_in_one_line(program):
    program.ok("run = %reactor start -w 1")
    for command in ("profile", "timeline"):
        said = program(f"%reactor {command} Main")
        assert type(program.error) is UsageError
        assert said.endswith("takes no times; start it with %reactor start Main --profile\n")
        assert said.count("\n") == 1


# -- completion ---------------------------------------------------------------------------------------------------------


def completed(cells, text):
    """What is offered at the end of a text, as a kernel asks for it."""
    with provisionalcompleter():
        made = list(rectify_completions(text, cells.shell.Completer.completions(text, len(text))))
    return {text[: c.start] + c.text for c in made}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%reactor st", {"%reactor start", "%reactor stop", "%reactor step", "%reactor status"}),
        ("run = %reactor sta", {"run = %reactor start", "run = %reactor status"}),
        ("%reactor start --w", {"%reactor start --workers"}),
        (
            "%reactor start -w 2 --f",
            {"%reactor start -w 2 --fast", "%reactor start -w 2 --fingerprint", "%reactor start -w 2 --fingerprint-log"},
        ),
        ("%reactor start R", {"%reactor start Rollout"}),
        ("%reactor start Rollout ", {"%reactor start Rollout fail_at="}),
        ("%reactor graph Ma", {"%reactor graph Main"}),
        ("%reactor graph Rollout f", {"%reactor graph Rollout fail_at="}),
        ("%reactor inspect Rollout.", {f"%reactor inspect Rollout.{n}" for n in ("weights", "episode", "fail_at", "on_weights")}),
        ("%reactor inspect roll", {"%reactor inspect rollouts[0]", "%reactor inspect rollouts[1]"}),
        ("%reactor stop ", {"%reactor stop Main"}),
        ("%reactor curves -m ", {"%reactor curves -m loss"}),
        ("%reactor start -w 2 --p", {f"%reactor start -w 2 --{p}" for p in ("place", "placement", "profile")}),
        ("%reactor profile M", {"%reactor profile Main"}),
        ("%reactor timeline --", {f"%reactor timeline --{o}" for o in ("help", "last", "save")}),
        ("%%reactor --d", {"%%reactor --doc"}),
        ("%%reactor Other Rol", {"%%reactor Other Rollout"}),
        ("%%reactor Other\na = Bank(Rollout, 3)\nconnect(a.e", {"%%reactor Other\na = Bank(Rollout, 3)\nconnect(a.episode"}),
        ("%%reactor Other\na = Rollout(", {"%%reactor Other\na = Rollout(fail_at="}),
        ("%%reactor Other\na = Bank(Roll", {"%%reactor Other\na = Bank(Rollout"}),
        ("%%reactor Other\na = Bank(Rollout, 3, f", {"%%reactor Other\na = Bank(Rollout, 3, fail_at="}),
        ("%%reactor O\nxin = Input()\n@reaction(xi", {"%%reactor O\nxin = Input()\n@reaction(xin"}),
        ("%%reactor O\nxin = Input()\nn: int = 1\ndef f(self, ", {"%%reactor O\nxin = Input()\nn: int = 1\ndef f(self, xin"}),
    ],
)  # fmt: skip
def test_tab_offers_commands_options_reactors_ports_and_parameters(running, typed, offered):
    assert completed(running, typed) == offered


@pytest.fixture
def running(program):
    program.ok("%reactor start Main -w 1")
    run = current_session().last_run
    while not run.metrics:
        run.wait(0.01)
    return program


def test_completion_of_ordinary_code_is_left_alone(program):
    assert "import" in {text.strip() for text in completed(program, "impor")}
    program.ok("reactorial = 1")
    assert "reactorial" in completed(program, "reactoria")
    assert not any("start" in text for text in completed(program, "x = '%reactor st"))


def test_displays_are_text_where_there_is_no_page(program):
    assert "rollouts ×2: Rollout" in program.ok("%reactor graph")
    assert "rollouts ×2: Rollout" in program.ok("Program = __import__('reactornb').Program\nProgram(Main)")
    assert re.search(r"run \d+ of main: running", program.ok("%reactor start -w 1"))
    assert isinstance(current_session().program("Main"), Program)


def test_a_graph_takes_parameters_also_while_another_program_of_the_class_runs(program):
    program.ok("%%reactor Wide\nn: int = 2\ndef compose(self):\n    self.bank = Bank(Learner, self.n)")
    program.ok("%reactor start Wide")
    assert "bank ×7: Learner" in program.ok("%reactor graph Wide n=7")
    assert "bank ×2: Learner" in program.ok("%reactor graph Wide")
    program.ok("made = __import__('reactornb').Program(Wide)")
    assert "parameters go to a class" in program("%reactor graph made n=7")


def test_unloading_leaves_nothing_behind(cells):
    inspector = cells.shell.inspector
    cells.ok("%unload_ext reactornb")
    assert cells.shell.inspector is not inspector
    assert not hasattr(DeclarationError("x"), "_render_traceback_")
    assert "reactor" not in cells.shell.magics_manager.magics["cell"]
    cells.ok("%load_ext reactornb")


# -- Lingua Franca --------------------------------------------------------------------------------------------------------

LF = """%%lf
target Python { fast: true, timeout: 20 msec }

reactor Ramp(step = 1) {
  timer t(0, 10 msec)
  state s = 0
  output out
  reaction(t) -> out {=
    self.s += self.step
    out.set(self.s)
  =}
}

main reactor {
  ramp = new Ramp(step = 3)
  probe = new Probe()
  ramp.out -> probe.inp
}
"""
PROBE = """%%reactor Probe
inp = Input()
seen = State([])

@reaction(inp)
def on_inp(self, inp):
    self.seen.append(inp.value)
"""


def test_a_lingua_franca_cell_and_python_cells_use_each_others_reactors(cells):
    cells.ok(PROBE)
    assert cells.ok(LF).strip() == "declared Ramp, Main"
    cells.ok("%reactor start --workers 1")
    run = current_session().last_run
    run.result(20)
    assert run.instance("probe").seen == [3, 6, 9]
    cells.ok("%%reactor Top\nramp = Ramp(step=5)\nprobe = Probe()\nconnect(ramp.out, probe.inp)")
    cells.ok(
        "from reactornb import Program, ms\nprogram = Program(Top)\nresult = program.run(fast=True, until=ms(10), workers=1)"
    )
    assert cells.shell.user_ns["program"].last_run.instance("probe").seen == [5, 10]


def test_a_mistake_in_a_lingua_franca_cell_names_cell_and_line(cells):
    out = cells("%%lf\ntarget Python\nmain reactor {\n  timer t(0, 10 milliseconds)\n}")
    assert f"cell {cells.number}" in out
    assert "line 4" in out
    out = cells("%%lf\ntarget Python\nmain reactor {\n  a = new Nobody()\n}\n")
    assert f"cell {cells.number}, line 4" in out
    assert "no reactor 'Nobody'" in out


def test_a_lingua_franca_body_that_raises_names_its_line(cells):
    cells.ok("%%lf Bad\ntarget Python\nmain reactor {\n  reaction(startup) {=\n    1 / 0\n  =}\n}")
    number = cells.number
    cells("%reactor start --workers 1\n")
    out = cells("import reactornb; reactornb.notebook.current_session().last_run.result(20)")
    assert f"cell {number}, line 5" in out
    assert "ZeroDivisionError" in out


@pytest.mark.parametrize(
    ("line", "meant"), [("@reaction(starttup)\ndef f(self): ...", "startup"), ("xs = Inptu()", "Input")]
)
def test_an_unknown_name_in_a_body_is_shown_once_with_what_was_meant(cells, line, meant):
    said = cells(f"%%reactor Broken\nx = Input()\n{line}")
    assert isinstance(cells.error, NameError)
    assert said.count("x = Input()") <= 1
    assert f"Did you mean {meant!r}?" in said
