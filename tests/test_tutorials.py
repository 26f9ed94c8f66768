"""The tutorials: each is executed in a kernel, headless, shows something at its end, and what it says is so.

`make test` executes each once, with a cell of its own after the one that is tagged `parameters`: `SHRUNK`. As a reader runs them,
`make test-all` does, here and in JupyterLab.
"""

import json
import re
from functools import cache
from importlib import util
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
# The quick start is `make demo`'s, which executes it, and its exercises are its last words.
TUTORIALS = [path for path in NOTEBOOKS if not path.name.startswith("00")]
CELL_SECONDS = 300
SHOWN = {
    "image/png",
    "image/svg+xml",
    "text/html",
    "application/vnd.jupyter.widget-view+json",
}
# What a notebook imports, and what to say where it is missing.
NEEDS = {
    "torch": "reactornb.rl",
    "gymnasium": "reactornb.rl",
    "ale_py": "ale_py|make_atari|make_frames|ALE/",
    "distributed": "distributed",
}  # 13_continuous says itself that MuJoCo is missing
# What a notebook need not do to be tested. What it asserts must still hold: those that learn keep the steps that takes.
SHRUNK = {
    "03_qlearning": "config = replace(config, eval_episodes=4_000)",
    "04_dqn": "config, compared = replace(config, eval_episodes=10), 2_000",
    "05_ppo": "config = replace(config, total_timesteps=30_000, eval_episodes=10)",
    "06_asynchrony": "STEPS, ROUNDS = 8_000, 3",
    "07_multi_agent": "EPISODES, LEARNING = 8, 2_000",
    "08_atari": "GAMES, SHAPES, ROUNDS = ('Breakout', 'SpaceInvaders'), ((1, 2), (2, 1)), 2",
    "10_fast": "REPEATS, ROUNDS = 1, 10",
    "11_tuning": "GAMBLERS, SECONDS = 16, 4",
    "12_runs": "STEPS = 10_000",
    "13_continuous": "COMPARED, TASK_STEPS = 1_500, 1_000",
    "14_sweeps": "STEPS, RATES, TRIALS = 1_000, [0.01, 0.003], 3",
    "16_cluster": "ROUNDS, STEPS = 20, 4_000",
    "17_paper": "PAUSE_MS, ROUNDS, CLIENTS, SIZES_MB, STEPS, UPDATES = 5.0, 4, (2, 4), (0.001, 1), 80, 20",
    "18_population": "RATES, GENERATIONS, ROUNDS = (0.03, 0.003), 2, 15",
}

each = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


@cache
def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sources(path, kind):
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == kind]


def missing(path):
    """Why it cannot run here, or nothing."""
    code = "\n".join(sources(path, "code"))
    return [
        name for name, used in NEEDS.items() if re.search(rf"\b{name}\b|{used}", code) and util.find_spec(name) is None
    ]


@each
def test_a_tutorial_is_committed_without_outputs_and_for_our_kernel(path):
    book = read(path)
    assert book["metadata"]["kernelspec"]["name"] == "reactornb"
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "".join(cell["source"])
    ids = [cell["id"] for cell in book["cells"]]
    assert len(ids) == len(set(ids))


@each
def test_a_tutorial_has_exercises_whose_solutions_are_folded(path):
    words = "\n".join(sources(path, "markdown"))
    exercises = words.partition("## Exercises")[2]
    assert exercises, "it has no exercises"
    assert exercises.count("<details><summary>") >= 1
    assert exercises.count("<details>") == exercises.count("</details>")
    assert "<details open" not in exercises


@each
def test_a_tutorial_draws_from_no_global_generator_and_loads_nothing_from_the_net(path):
    code = "\n".join(sources(path, "code"))
    assert not re.search(
        r"^\s*(import random|from random)|np\.random\.(?!default_rng|Generator|SeedSequence)", code, re.MULTILINE
    )
    assert not re.search(r"torch\.manual_seed|urllib|requests|!pip|%pip|https?://(?!127)", code)


def tagged(path, tag):
    """The sources of the code cells with a tag."""
    return ["".join(cell["source"]) for cell in read(path)["cells"] if tag in cell["metadata"].get("tags", ())]


@each
def test_one_cell_is_tagged_parameters_and_assigns_what_the_tests_assign_anew(path):
    shrunk, cells = SHRUNK.get(path.stem), tagged(path, "parameters")
    assert len(cells) == ("FULL = False" in "\n".join(sources(path, "code")))
    if shrunk:
        names = [word.strip() for word in shrunk.partition("=")[0].split(",")]
        assert all(re.search(rf"^{name}\s+= ", cells[0], re.MULTILINE) for name in names)


def test_reinforce_from_nothing_takes_sixty_lines_besides_imports_and_magics():
    (path,) = [path for path in TUTORIALS if path.stem == "15_own_algorithm"]
    lines = "\n".join(sources(path, "code")).splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith(("import ", "from ", "%"))]) <= 60
    assert "60 lines of code" in sources(path, "markdown")[0]


def execute(path, cell=None):
    """The outputs of each code cell, in order; with `cell` executed after the one that is tagged `parameters`."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    absent = missing(path)
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")
    try:
        KernelSpecManager().get_kernel_spec("reactornb")
    except NoSuchKernel:
        pytest.skip("no Jupyter kernel 'reactornb' here: make setup registers it")
    book = nbformat.read(path, as_version=4)
    if cell:
        (at,) = [i for i, c in enumerate(book.cells) if "parameters" in c.metadata.get("tags", ())]
        book.cells.insert(at + 1, nbformat.v4.new_code_cell(cell))
    client = nbclient.NotebookClient(
        book,
        kernel_name="reactornb",
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    client.execute()
    return [cell.outputs for cell in book.cells if cell.cell_type == "code"]


def printed(outputs):
    return "".join(o["text"] for cell in outputs for o in cell if o["output_type"] == "stream")


@each
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # nbclient's own, about its event loop
def test_a_tutorial_runs_from_top_to_bottom_and_ends_in_something_to_look_at(path):
    check_outputs(path, execute(path, SHRUNK.get(path.stem)))


@pytest.mark.parametrize("path", [path for path in TUTORIALS if path.stem in SHRUNK], ids=lambda path: path.stem)
@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_tutorial_runs_as_its_readers_run_it(path):
    check_outputs(path, execute(path))


def check_outputs(path, outputs):
    assert not [o for cell in outputs for o in cell if o["output_type"] == "error"]
    assert not [o for cell in outputs for o in cell if o["output_type"] == "stream" and o["name"] == "stderr"]
    assert any(SHOWN & set(o.get("data", ())) for o in outputs[-1]), "its last cell shows nothing"
    check = FACTS.get(path.stem)
    if check is not None:
        check(outputs, printed(outputs))


# -- what single tutorials say -----------------------------------------------------------------------------------------------


def reactors(_outputs, text):
    assert "(0, 0)   plain: 1   doubled: 2" in text, "both ways of the diamond arrive at one tag"
    assert "(0, 1)   plain: -   doubled: 2" in text, "after=ms(0) is one microstep"
    assert "\n1 result\n" in text
    # That actors differ is chance, and no test's business; the two orders by hand are not.
    assert "[-0.0004] [0.0004]" in text


def graph(outputs, text):
    assert "CausalityError: these reactions wait for each other" in text
    assert "after=ms(0)" in text
    drawn = [o["data"]["image/svg+xml"] for cell in outputs for o in cell if "image/svg+xml" in o.get("data", ())]
    if drawn:  # Graphviz is installed
        assert "scout[2]" in "".join(drawn), "the unfolded bank"
        assert "×2000" in drawn[-1]
        assert "2003 reactors, 2003 reactions on 3 levels, 4001 connections" in drawn[-1]


def lingua_franca(_outputs, text):
    lines = [line.strip() for line in text.splitlines()]
    assert lines.count("too late: 3, in time: 3") == 1
    assert [line for line in lines if line.endswith((" red", " green", " yellow"))] == [
        "0.0 s  red",
        "3.0 s  green",
        "5.0 s  yellow",
        "5.5 s  red",
        "8.5 s  green",
    ]
    assert "never printed" not in text
    assert "mistake.lf:3:18: found the name msek" in text


def same_on_any_number_of_workers(_outputs, text):
    found = re.findall(r"^[128] workers\s+([0-9a-f]{64})$", text, re.MULTILINE)
    assert len(found) == 3
    assert len(set(found)) == 1


def same_after_a_kill(_outputs, text):
    found = re.findall(r"^(?:killed and resumed|never interrupted)\s+([0-9a-f]{64})$", text, re.MULTILINE)
    assert len(found) == 2
    assert len(set(found)) == 1


def same_on_hosts(outputs, text):
    found = re.findall(r"^(?:here|two processes|a machine was lost|cluster)\s+([0-9a-f]{64})$", text, re.MULTILINE)
    assert len(found) == 6
    assert len(set(found)) == 2
    assert "NotAnEnclaveError: " in text
    restarts = [int(line.split()[-1]) for line in outputs[-1][-1]["data"]["text/plain"].splitlines()[1:]]
    assert sum(restarts) >= 1


def learns(_outputs, text):
    points = int(re.search(r"^(\d+) of at most 500 points", text, re.MULTILINE)[1])
    assert points >= 400


FACTS = {
    "01_reactors": reactors,
    "02_graph": graph,
    "03_qlearning": same_on_any_number_of_workers,
    "04_dqn": same_on_any_number_of_workers,
    "05_ppo": same_on_any_number_of_workers,
    "09_lingua_franca": lingua_franca,
    "12_runs": same_after_a_kill,
    "16_cluster": same_on_hosts,
    "15_own_algorithm": learns,
}
