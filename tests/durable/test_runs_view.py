"""The table of runs, and comparisons of them, as text and as a page that stands on its own."""

import json
import random  # noqa: TID251 - makes files, no reactor
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kept_runs import append, keep, unsynced

from reactornb import Program, Reactor, Timer, ms, reaction
from reactornb.durable.folder import RunFolder
from reactornb.durable.runs import Runs
from reactornb.durable.summary import MetricSummary
from reactornb.errors import ReactorError
from reactornb.testing import FakeClock
from reactornb.viz.curves import plot
from reactornb.viz.runs_view import duration, run_text, runs_html, spark_svg

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    keep(root, "pong", seed=1, lr=0.01)
    keep(root, "fork", seed=1, lr=0.001, scale=2.0, parent={"run": "pong", "tag": [5_000_000, 1]})
    keep(root, "third", seed=3, lr=0.001, scale=3.0, state="failed", versions={"python": "3.13"})
    return root


class Page(HTMLParser):
    """The cells of all rows, and what is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.loaded, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        facts = dict(attrs)
        self.loaded += [facts[name] for name in ("src", "href") if name in facts]
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if ({"th", "td"} & set(self.open)) and "title" not in self.open:
            self.rows[-1][-1] += data


class Learns(Reactor):
    tick = Timer(0, ms(1))
    lr: float = 0.5

    @reaction(tick)
    def on_tick(self):
        self.log(episode_return=7.0, loss=self.lr)


def test_the_table_says_of_each_run_what_it_was_and_came_to(root):
    page = Page(Runs(root)._repr_html_())
    heads, *rows = page.rows
    assert heads == ["run", "state", "began", "duration", "seed", "lr", "episode_return", "eval_return", "loss"]
    by_name = {row[0].split(" ")[0]: row for row in rows}
    assert by_name["pong"][5:] == ["0.01", "39", "31", "0.025"]
    assert by_name["third"][1] == "failed"
    assert by_name["fork"][0] == "fork ↳ pong"
    assert page.loaded == []


def test_text_has_the_same_table(root):
    lines = repr(Runs(root)).splitlines()
    assert lines[0].split() == [
        "run",
        "program",
        "state",
        "began",
        "duration",
        "seed",
        "lr",
        "episode_return",
        "eval_return",
        "loss",
    ]
    assert re.search(r"^pong +ppo +finished .* 12\.5 s +1 +0\.01 +39 +31 +0\.025$", repr(Runs(root)), re.MULTILINE)


def test_nothing_that_a_run_says_is_markup(tmp_path):
    evil = "<script>alert(1)</script>\"'&"
    keep(
        tmp_path,
        "a",
        program=evil,
        root=evil,
        commit=evil,
        parameters={evil: evil},
        parent={"run": evil, "tag": [0, 0]},
    )
    path = keep(tmp_path, "b", seed=2, ended=False, parameters={evil: 1.0})
    append(path, ("ended", (0, 0), {"state": evil, "failure": evil}))
    runs = Runs(tmp_path)
    runs.tag("a", evil)
    for text in (runs._repr_html_(), runs.compare()._repr_html_()):
        assert "<script>alert" not in text
        assert "alert(1)" in text
        assert text.count("<script>") == ("rnbRunsTable(document" in text)


JUNK = [
    None, True, -1, 10**400, 1e308, -1e308, float("nan"), float("inf"), "", "<b>", "\ud800", "a" * 5000, [], [1, [2]], {}, {"words": 3},
    {"run": 1, "tag": "x"}, {"hash": None, "dirty": []}, {"a.b": {"words": []}}, {"": 10**400, "x": float("inf")},
]  # fmt: skip


@pytest.mark.slow
def test_whatever_stands_in_a_runs_files_it_is_listed_shown_and_compared(tmp_path):
    draw = random.Random(2)
    plain = [value for value in JUNK if "nan" not in repr(value) and "inf" not in repr(value)]  # JSON has no others
    keys = [
        "program",
        "root",
        "seed",
        "workers",
        "options",
        "parameters",
        "versions",
        "commit",
        "graph",
        "parent",
        "began",
    ]
    for number in range(12):
        path = keep(
            tmp_path, f"r{number}", ended=False, steps=4, batches=1, said={key: draw.choice(plain) for key in keys}
        )
        append(
            path,
            (
                "ended",
                (0, 0),
                {key: draw.choice(JUNK) for key in ("state", "failure", "seconds", "wall", "fingerprint")},
            ),
        )
        with unsynced(), RunFolder.open(path) as folder:
            folder.set_notes({"labels": draw.choice([*plain, ["good", 3, None]])})
    runs = Runs(tmp_path)
    assert len(runs) == 12
    assert not any(run.problem for run in runs)
    for name in ("seconds", "began", "state", "program", "seed", "commit"):
        assert len(runs.sort(name)) == 12
    assert len(runs.where("seconds >= 0 or seconds < 0")) == 12
    assert Page(runs._repr_html_()).loaded == []
    assert all(run_text(run).encode() for run in runs)
    assert repr(runs.compare()).encode()
    assert repr(runs).encode()
    assert Page(runs.compare()._repr_html_()).loaded == []
    assert len(Runs(tmp_path)) == 12
    for kind in ("csv", "tensorboard"):
        runs.export(kind, tmp_path / "out" / kind)


def test_a_long_table_is_cut_and_says_so(root, monkeypatch):
    monkeypatch.setattr("reactornb.viz.runs_view._MOST", 2)
    runs = Runs(root)
    assert len(Page(runs_html(runs)).rows) == 3
    assert "the newest 2 of 3 runs" in runs_html(runs)
    assert repr(runs).endswith("and 1 more")


def test_without_runs_it_says_how_to_keep_some(tmp_path):
    assert "keep=NAME" in Runs(tmp_path)._repr_html_()


def test_a_comparison_shows_what_differs_and_nothing_else(root):
    compared = Runs(root).compare("pong", "third")
    assert compared.parameters == {"main.lr": ["0.01", "0.001"], "main.learner.lr": ["0.01", "0.001"]}
    assert compared.facts == {"seed": ["1", "3"], "state": ["finished", "failed"]}
    assert compared.versions == {"python": ["3.14t", "3.13"], "numpy": ["2.5", ""]}
    assert compared.same_fingerprint is False
    assert compared.sources.splitlines()[-2:] == ["-    lr = 0.01", "+    lr = 0.001"]
    assert {name: [one.last for one in both] for name, both in compared.metrics.items()}["episode_return"] == [
        39.0,
        117.0,
    ]
    page = Page(compared._repr_html_())
    cells = {row[0]: row[1:] for row in page.rows}
    assert cells["main.lr"] == ["0.01", "0.001"]
    assert "main.learner.lr" not in cells
    assert cells["episode_return"] == ["39", "117"]
    assert page.loaded == []
    assert "-    lr = 0.01" in repr(compared)


def test_runs_of_one_fingerprint_are_said_to_be_one(root):
    compared = Runs(root).compare("pong", "fork")
    assert compared.same_fingerprint is True
    assert repr(compared).startswith("one fingerprint")
    assert Runs(root).where("seed == 1").compare().names == ["fork", "pong"]
    with pytest.raises(ReactorError, match="no runs to compare"):
        Runs(root)[:0].compare()


def test_a_live_run_is_compared_with_stored_ones_and_drawn_over_them(root):
    run = Program(Learns(lr=0.001)).start(workers=1, clock=FakeClock(), until=ms(30))
    run.wait()
    compared = Runs(root).compare("pong", run)
    assert compared.names == ["pong", run.name]
    assert compared.parameters["main.lr"][0] == "0.01"
    assert compared.same_fingerprint is None
    assert compared.metrics["episode_return"][1].count == 31
    html = compared._repr_html_()
    assert html.count("<polyline") >= 4
    assert run.name in html


@pytest.mark.slow  # Matplotlib alone takes longer than a fast test may
def test_stored_runs_have_curves_as_live_ones_do(root):
    runs = Runs(root)
    figure = runs["pong"].plot(["loss"]).figure
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss"]
    overlaid = runs.compare("pong", "third").plot(["episode_return"]).figure.axes[0]
    assert [line.get_label() for line in overlaid.lines] == ["pong, lr=0.01, seed 1", "third, lr=0.001, seed 3"]
    grouped = plot(list(runs), ["loss"]).figure.axes[0]
    assert any("learner.lr" in (label := line.get_label()) or "lr=0.01" in label for line in grouped.lines)


def test_all_that_is_known_of_a_run_is_text(root, tmp_path):
    path = keep(tmp_path, "pong", ended=False)
    append(
        path,
        ("change", (ms(3), 0), {"path": "main.lr", "old": 0.01, "new": 0.1}),
        ("note", (ms(4), 0), {"text": "slow"}),
    )
    append(path, ("resumed", (ms(20), 0), {}))
    text = run_text(Runs(tmp_path)["pong"])
    for line in (
        "state       interrupted", "main.network = a function", "(3 ms, 0): main.lr 0.01 -> 0.1", "(4 ms, 0): slow", "cell_1.py",
        "loss: 21 values, last 0.04762 (0.04762 to 1)", "resumed at", "(20 ms, 0)",
    ):  # fmt: skip
        assert line in text
    assert "parent      pong at (5 ms, 1)" in run_text(Runs(root)["fork"])


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([1.0], False),
        ([], False),
        ([1, 1, 1], True),
        ([1, float("nan"), 2], True),
        ([float("inf")] * 3, False),
        ([-1.7e308, 1.7e308, 0], True),
    ],
)
def test_a_sparkline_draws_any_numbers(values, drawn):
    summary = MetricSummary()
    if values:
        import numpy

        summary.extend(numpy.array(values, float))
    svg = spark_svg(summary)
    assert bool(svg) is drawn
    for point in re.findall(r'points="([^"]*)"', svg):
        assert all(0 <= float(v) <= 84 for place in point.split() for v in place.split(","))


def test_durations_are_said_in_the_units_that_fit():
    assert [duration(s) for s in (0.25, 59.94, 61, 3600, 86400 * 3 + 7200)] == [
        "0.2 s",
        "59.9 s",
        "1 min 1 s",
        "1 h 0 min",
        "3 d 2 h",
    ]


# -- the command line -------------------------------------------------------------------------------------------------------


def reactornb(*words, root):
    done = subprocess.run(
        [sys.executable, "-m", "reactornb", "runs", *words, "--root", str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def command(capsys, *words, root):
    """The same in this process."""
    from reactornb.cli.command_line import main

    status = main(["runs", *words, "--root", str(root)])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_the_command_lists_filters_and_sorts(root, capsys):
    status, out, _ = command(
        capsys, "list", "--where", "learner.lr < 0.005", "--sort", "episode_return", "--reverse", root=root
    )
    assert (status, [line.split()[0] for line in out.splitlines()]) == (0, ["run", "third", "fork"])
    status, out, _ = command(capsys, "list", "--json", root=root)
    assert {run["id"]: run["last"]["episode_return"] for run in json.loads(out)} == {
        "pong": 39.0,
        "fork": 78.0,
        "third": 117.0,
    }
    assert command(capsys, "list", "--label", "none", root=root) == (0, "", "reactornb: none of 3 runs is like that.\n")
    assert command(capsys, "list", "--where", "sed == 1", root=root)[0] == 2
    assert command(capsys, root=root)[1].startswith("run ")


def test_the_command_shows_and_compares(root, capsys):
    assert "main.learner.lr = 0.01" in command(capsys, "show", "pong", root=root)[1]
    assert command(capsys, "show", "pong", "--source", "cell_1.py", root=root)[1] == "class PPO:\n    lr = 0.01\n"
    assert command(capsys, "show", "pong", "--source", "cell_2.py", root=root)[0] == 2
    status, _, err = command(capsys, "show", "pnog", root=root)
    assert (status, "Did you mean 'pong'" in err) == (1, True)
    assert "main.lr" in command(capsys, "compare", "pong", "third", root=root)[1]


def test_the_command_tags_exports_and_removes(tmp_path, capsys):
    root = tmp_path / "runs"
    keep(root, "pong")
    keep(root, "other", seed=2)
    assert command(capsys, "tag", "pong", "good", root=root)[:2] == (0, "pong: good\n")
    assert command(capsys, "list", "--label", "good", root=root)[1].splitlines()[1].startswith("pong [good]")
    assert command(capsys, "untag", "pong", root=root)[:2] == (0, "pong: no labels\n")
    status, _, err = command(capsys, "export", "pong", "--to", "csv", "-o", str(tmp_path / "a.csv"), root=root)
    assert (status, "wrote 1 run to" in err) == (0, True)
    assert (tmp_path / "a.csv").read_text().count("pong") == 4 * 40 - 36
    status, _, err = command(capsys, "remove", "pong", "--confirm", "other", root=root)
    assert (status, err) == (2, "reactornb: run pong stays: --confirm pong deletes it.\n")
    assert command(capsys, "remove", "pong", "--confirm", "pong", root=root)[0] == 0
    assert [run.id for run in Runs(root)] == ["other"]


@pytest.mark.slow
def test_the_command_asks_nobody_where_there_is_no_terminal(tmp_path):
    keep(tmp_path, "pong")
    assert reactornb("remove", "pong", root=tmp_path)[0] == 2
    assert reactornb("list", root=tmp_path)[1].splitlines()[1].startswith("pong")
    assert reactornb("remove", "pong", "--confirm", "pong", root=tmp_path)[0] == 0
    assert "There are no runs" in reactornb("list", root=tmp_path)[1]


@pytest.mark.slow
@pytest.mark.e2e
def test_a_click_on_a_head_sorts_and_a_word_finds(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    for number, value in enumerate((3.0, 1.0, 20.0, 4.0, 5.0, 6.0, 7.0)):
        keep(tmp_path / "runs", f"r{number}", seed=number, scale=value, program="ppo" if number % 2 else "dqn")
    page_file = tmp_path / "page.html"
    page_file.write_text(
        f"<!doctype html><meta charset=utf-8>{Runs(tmp_path / 'runs')._repr_html_()}", encoding="utf-8"
    )
    names = "rows => rows.filter(row => !row.hidden).map(row => row.cells[0].dataset.v)"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - which it puts attributes on
        page.goto(page_file.as_uri())
        rows = ".rnb-runs tbody tr"
        page.get_by_role("button", name="episode_return").click()
        assert page.eval_on_selector_all(rows, names) == ["r2", "r6", "r5", "r4", "r3", "r0", "r1"]
        page.get_by_role("button", name="episode_return").click()
        assert page.eval_on_selector_all(rows, names) == ["r1", "r0", "r3", "r4", "r5", "r6", "r2"]
        assert page.locator('th[aria-sort="ascending"]').inner_text().startswith("episode_return")
        page.get_by_role("button", name="run", exact=True).click()
        assert page.eval_on_selector_all(rows, names) == [f"r{n}" for n in range(7)]
        page.get_by_label("show rows that contain").fill("dqn")
        assert page.eval_on_selector_all(rows, names) == ["r0", "r2", "r4", "r6"]
        assert errors == []
        browser.close()
