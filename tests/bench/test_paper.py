"""`reactornb paper`: what is measured and what is not again, charts and ratios from JSON, the page; with benchmarks that only answer."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reactornb.__main__ import main
from reactornb.bench.paper import command, figures, page, published, results
from reactornb.bench.paper.experiments import PARTS, Settings, part, worker_counts
from reactornb.bench.paper.running import is_there, run_parts
from reactornb.cli.console import Console

# Names of figures as the benchmarks give them: test_what_the_parts_measure_is_drawn holds them against the benchmarks themselves.
WORKERS = ("1 worker", "2 workers")
ENVS = ("Blackjack-v1, 1 step", "CartPole-v1, 1 step")
GAMES = ("Pong", "MsPacman")
SENT = ("threads, by reference", "reactors, by reference", "threads, copied", "reactors, copied", "ray")
LOOPS = ("plain loop", "2 free threads", *WORKERS, "ray")
Q = ("plain loop, same bodies", *(f"same bodies, {w}" for w in WORKERS), *(f"ours, {w}" for w in WORKERS), "ray")
MARL = ("plain loop, same bodies", *(f"same bodies, {w}" for w in WORKERS), *(f"NumPy, {w}" for w in WORKERS), "ray")
FIGURES = {
    1: {f"{n} clients, {what}": 100.0 if what == "ray" else 2.0 for n in (2, 16) for what in SENT},
    2: {f"{size}, {what}": 90.0 if what == "ray" else 3.0 for size in ("1 KB", "10 MB", "500 MB") for what in SENT},
    3: {f"{env}, {what}": 50.0 if what == "ray" else 5.0 for env in ENVS for what in LOOPS},
    4: {f"{game}, {what}": 500.0 if what == "ray" else 100.0 for game in GAMES for what in LOOPS},
    5: {f"K = {k}, {what}": 300.0 if what == "ray" else 50.0 for k in (500, 2000) for what in Q},
    6: {f"{n} agents, {what}": 6000.0 if what == "ray" else 300.0 for n in (4, 10) for what in MARL},
    7: {f"64x64, 256 rows, {s} shards, {w}": 40.0 + s for s in (1, 2) for w in WORKERS},
    8: {f"heavy, {what}": 170.0 for what in ("1 host", "2 hosts", "1 worker", "2 workers", "2 threads")},
}
FASTER = {"2 hosts": 0.5, "2 threads": 0.5, "2 workers": 0.5, "same bodies, 2 workers": 0.5, "2 free threads": 0.5}


def found(number, settings=None):
    """The JSON of a part: each figure in three turns, with two workers in half of the time of one."""
    figures = {}
    for name, single in FIGURES[number].items():
        value = single * next((share for ending, share in FASTER.items() if name.endswith(f", {ending}")), 1.0)
        figures[name] = {"unit": "", "median": value, "values": [value * turn for turn in (1.0, 1.1, 0.9)]}
    peers = {"ray": {"python": "3.13", "gil": True}} if number < 7 else {}
    return {
        "benchmark": part(number).benchmark,
        "parameters": {"workers": [1, 2] if number > 2 else [], "repeats": 3},
        "machine": {
            "python": "3.14", "build": "plain", "gil": False, "cores": 2, "usable_cores": 2, "processor": "abacus",
            "system": "Linux", "load_average": 0.25, "peers": peers,
        },
        "figures": figures, "ratios": [], "missing": [], "notes": ["a note <of> it"],
        "paper": {
            "words": part(number).words(settings or Settings()), "command": f"reactornb bench {part(number).benchmark} --made-up",
            "began": "2026-11-29T01:00:00+00:00", "seconds": 1.0, "versions": {"numpy": "2.4"},
        },
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder with the results of all parts."""
    for one in PARTS:
        (tmp_path / f"{one.stem}.json").write_text(json.dumps(found(one.number)), encoding="utf-8")
    return tmp_path


# -- what is measured -----------------------------------------------------------------------------------------------------


def test_there_is_one_part_for_each_experiment_and_each_is_a_benchmark():
    there = {path.stem for path in Path(command.__file__).parent.parent.glob("*.py")}
    assert [one.number for one in PARTS] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {one.benchmark for one in PARTS} <= there
    assert set(published.PUBLISHED) == {1, 2, 3, 4, 5, 6}


def test_a_part_takes_the_peers_that_it_has_and_variants_where_there_are_some():
    settings = Settings(peers=("ray", "xronos"), as_published=True)
    assert part(3).words(settings)[-3:] == ["--peers", "ray,xronos", "--as-published"]
    assert part(6).words(settings)[-2:] == ["--peers", "ray"]
    assert not {"--peers", "--as-published"} & {*part(7).words(settings), *part(8).words(settings)}
    assert "--as-published" not in part(5).words(
        settings
    )  # there it would draw no batches at random, instead of as well
    assert "--workers" not in part(1).words(settings)


def test_quick_takes_five_minutes_at_most_and_twenty_with_peers():
    assert sum(one.expected_seconds(Settings(quick=True)) for one in PARTS) < 300
    assert sum(one.expected_seconds(Settings(quick=True, peers=("ray", "xronos"))) for one in PARTS) < 1200


@pytest.mark.parametrize(("cores", "counts"), [(1, [1, 2]), (2, [1, 2]), (3, [1, 2]), (8, [1, 2, 4, 8])])
def test_workers_double_up_to_the_cores(cores, counts):
    assert worker_counts(cores) == counts


# -- running --------------------------------------------------------------------------------------------------------------

# Stands for `reactornb bench`: writes the JSON it is told to write, fails, or hangs.
BENCH = """
import json, sys, time
words = sys.argv[1:]
print("measuring", words[0])
if words[0] == "atari":
    sys.exit("no Atari here")
json.dump({"figures": {}, "parameters": {}, "machine": {}, "notes": [], "missing": []}, open(words[words.index("--json") + 1], "w"))
if words[0] == "marl":
    open(words[words.index("--json") + 1] + ".hangs", "w").close()
    time.sleep(60)
"""


def call(words):
    return [sys.executable, "-c", BENCH, *words]


@pytest.mark.slow
def test_a_part_leaves_its_result_with_its_command_and_is_not_measured_again(tmp_path, capsys):
    settings = Settings(quick=True)
    assert not is_there(part(1), settings, tmp_path)
    assert run_parts([part(1), part(2)], settings, tmp_path, Console(), call=call) == []
    assert is_there(part(1), settings, tmp_path)
    assert not is_there(part(1), Settings(), tmp_path)  # other sizes
    assert not is_there(part(1), Settings(quick=True, peers=("ray",)), tmp_path)
    how = json.loads((tmp_path / "1-actors.json").read_text())["paper"]
    assert how["command"] == f"reactornb bench {' '.join(part(1).words(settings))}"
    assert how["versions"]["numpy"]
    said = capsys.readouterr().err
    assert "[1/2] Actors: done in" in said
    assert "[2/2] Object size: done in" in said
    assert {path.name for path in tmp_path.iterdir()} == {
        "1-actors.json", "1-actors.txt", "2-objects.json", "2-objects.txt"
    }  # fmt: skip


@pytest.mark.slow
def test_a_part_that_fails_is_named_with_its_last_words_and_the_others_go_on(tmp_path):
    (failure,) = run_parts([part(4), part(1)], Settings(), tmp_path, Console(), call=call)
    assert failure.part.number == 4
    assert failure.why.startswith("no Atari here (exit status 1")
    assert is_there(part(1), Settings(), tmp_path)


@pytest.mark.slow
def test_an_interrupt_ends_the_benchmark_and_leaves_no_half_result(tmp_path):
    class Interrupting(Console):
        is_terminal = True

        def show(self, words):
            assert re.search(r"Multi-agent inference .*░.* left of all", words)
            if list(tmp_path.glob("*.hangs")):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_parts([part(6)], Settings(), tmp_path, Interrupting(), call=call)
    assert not list(tmp_path.glob("*.json"))
    assert not is_there(part(6), Settings(), tmp_path)


def test_a_result_without_a_peer_that_was_asked_for_is_measured_again(tmp_path):
    settings = Settings(peers=("ray",))
    data = found(1, settings)
    (tmp_path / "1-actors.json").write_text(json.dumps(data))
    assert is_there(part(1), settings, tmp_path)
    (tmp_path / "1-actors.json").write_text(json.dumps(data | {"missing": ["ray"]}))
    assert not is_there(part(1), settings, tmp_path)
    (tmp_path / "1-actors.json").write_text("{half")
    assert not is_there(part(1), settings, tmp_path)


# -- charts and ratios ----------------------------------------------------------------------------------------------------


def test_there_is_a_chart_for_each_experiment_in_the_units_of_the_paper(folder):
    charts = {chart.title: chart for chart in results.charts(results.read(folder))}
    assert [chart.number for chart in charts.values()] == [1, 2, 3, 4, 5, 6, 7, 7, 8]

    def median(title, system, group):
        return next(series for series in charts[title].series if series.name == system).points[group][0]

    assert median("Actors", "Ray", "16") == 100.0
    assert median("Object size", "reactornb, by reference", "500 MB") == 3.0
    assert median("Gymnasium", "reactornb, 2 workers", "CartPole-v1") == 400_000.0  # 2.5 µs a step
    assert median("Parallel Q-learning", "Ray", "K = 500") == 150.0  # 300 ms a round
    assert median("Multi-agent inference", "Ray", "4 agents") == 600.0  # 6 ms a step
    assert median("More workers", "Pong", "2") == 2.0
    assert median("A learner in shards", "reactornb, 2 workers", "64x64, 256 rows, 2 shards") == 21.0
    assert charts["Actors"].published["Ray"]["16"] == 24.3
    assert charts["More workers"].published == {}
    # The same groups stand on both sides, so that a reader finds one at the other.
    for title in ("Actors", "Gymnasium", "Parallel Q-learning", "Multi-agent inference"):
        assert set(charts[title].groups) <= set(charts[title].published["Ray"])


def test_ratios_are_medians_over_turns_with_the_bars_of_the_issue(folder):
    rows = {row.what: row for row in results.rows(results.read(folder))}
    row = rows["16 clients, by reference: Ray's overhead, times ours"]
    assert (row.median, row.at_least, row.met) == (50.0, 20.0, True)
    assert row.paper == pytest.approx(24.3 / 7.1)
    assert rows["2 clients, by reference: Ray's overhead, times ours"].met is None
    assert rows["by reference: overhead of 500 MB, times that of 1 KB"].at_most == 2.0
    assert rows["10 MB, copied: overhead, times that of threads that copy"].at_most == 1.2
    assert rows["1 KB, copied: overhead, times that of threads that copy"].at_most is None
    assert rows["CartPole-v1, 2 workers: times the plain loop's speed"].at_least == 1.5
    assert rows["Pong, 2 workers: of the speed of threads that never wait"].at_least == 0.97
    assert rows["Pong, 2 workers: times Ray's speed"].paper == pytest.approx(872 / 75.5)
    assert rows["K = 500, 2 workers: times Ray's speed"].met is True  # 12 times; 5 are wanted
    assert rows["10 agents, 2 workers: times Ray's speed"].median == pytest.approx(40.0)


def test_what_is_as_published_is_beside_what_is_not(folder):
    published_figures = {
        "CartPole-v1, 1 step, as published, 2 workers": 25.0,
        "CartPole-v1, 1 step, as published, ray": 75.0,
    }
    data = found(3)
    data["figures"] |= {name: {"values": [value] * 3} for name, value in published_figures.items()}
    data["figures"]["CartPole-v1, 1 step, 2 workers"]["values"] = [2.5] * 3
    data["figures"]["CartPole-v1, 1 step, ray"]["values"] = [50.0] * 3
    (folder / "3-gym.json").write_text(json.dumps(data))
    there = results.read(folder)
    rows = {row.what: row for row in results.rows(there)}
    assert rows["CartPole-v1, as published, 2 workers: a step's time, times that without printing"].median == 10.0
    assert rows["CartPole-v1, as published, Ray: a step's time, times that without printing"].median == 1.5
    assert rows["CartPole-v1, as published, 2 workers: times Ray's speed"].median == 3.0
    chart = next(chart for chart in results.charts(there) if chart.number == 3)
    assert chart.groups == ["Blackjack-v1", "CartPole-v1"]


def test_a_ratio_is_taken_turn_by_turn(folder):
    data = found(6)
    data["figures"]["4 agents, ray"]["values"] = [300.0, 3000.0, 900.0]
    data["figures"]["4 agents, same bodies, 2 workers"]["values"] = [150.0, 100.0, 90.0]
    (folder / "6-marl.json").write_text(json.dumps(data))
    (row,) = [r for r in results.rows(results.read(folder)) if r.what == "4 agents, 2 workers: times Ray's speed"]
    assert (row.median, row.lowest, row.highest, row.met) == (10.0, 2.0, 30.0, True)


def test_what_was_not_measured_gives_no_row_and_no_line(folder):
    data = found(2)
    data["figures"] = {name: figure for name, figure in data["figures"].items() if name != "500 MB, reactors, copied"}
    (folder / "2-objects.json").write_text(json.dumps(data))
    (folder / "7-shards.json").unlink()
    there = results.read(folder)
    assert not [row for row in results.rows(there) if row.what.startswith("500 MB, copied")]
    chart = next(chart for chart in results.charts(there) if chart.number == 2)
    copied = next(series for series in chart.series if series.name == "reactornb, copied")
    assert list(copied.points) == ["1 KB", "10 MB"]
    assert [chart.title for chart in results.charts(there) if chart.number == 7] == ["More workers"]


# -- page -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_needs_no_other_file_and_each_figure_has_its_points_beside_it(folder, capsys):
    pytest.importorskip("matplotlib")
    for one in PARTS[1:5]:  # a chart of lines and one of bars with the paper's, those of ours
        (folder / f"{one.stem}.json").unlink()
    assert main(["paper", "--draw", "--out", str(folder)]) == 0
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert text.count('src="data:image/svg+xml;base64,') == 5
    assert not re.search(r'(src|href)="?(https?:)?//', text)
    assert "a note &lt;of&gt; it" in text
    assert "reactornb bench marl --made-up" in text
    assert "abacus" in text
    for ending in ("svg", "png", "json"):
        assert len(list(folder.glob(f"figure-*.{ending}"))) == 5
    points = json.loads((folder / "figure-6-multi-agent-inference.json").read_text())
    assert points["published"]["Ray"]["10 agents"] == 917.0
    for name in re.findall(r"href='([^']+)'", text):
        assert (folder / name).exists() or name.endswith(".txt"), name
    assert "written:" in capsys.readouterr().err


@pytest.mark.slow
def test_a_figure_is_the_same_file_each_time(folder, tmp_path):
    pytest.importorskip("matplotlib")
    (chart,) = [chart for chart in results.charts(results.read(folder)) if chart.number == 1]
    once, again = (figures.save(chart, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_check_names_the_bars_that_are_missed(folder, capsys, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda chart, out: None)
    monkeypatch.setattr(page, "_image", lambda out, chart: chart.title)
    assert main(["paper", "--draw", "--check", "--out", str(folder)]) == 0
    data = found(1)
    data["figures"]["16 clients, ray"]["values"] = [4.0, 4.0, 4.0]
    (folder / "1-actors.json").write_text(json.dumps(data))
    assert main(["paper", "--draw", "--check", "--out", str(folder)]) == 1
    assert "missed: 1. 16 clients, by reference: Ray's overhead, times ours: 2, at least 20 was wanted" in (
        capsys.readouterr().err
    )
    assert "<span class=missed>missed</span>" in (folder / "index.html").read_text()
    assert main(["paper", "--draw", "--out", str(folder)]) == 0


def written(folder, path):
    there = results.read(folder)
    return page.write_markdown(path, results.rows(there), results.charts(there), there).read_text(encoding="utf-8")


def test_markdown_replaces_what_stands_between_its_marks(folder, tmp_path):
    path = tmp_path / "M.md"
    path.write_text(f"# Before\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter, by hand.\n", encoding="utf-8")
    text = written(folder, path)
    assert text.startswith("# Before\n")
    assert text.endswith("\n\nAfter, by hand.\n")
    assert "old" not in text
    assert (
        "| 1 | 16 clients, by reference: Ray's overhead, times ours | 50 | 50 to 50 | at least 20: met | 3.42 |" in text
    )
    assert written(folder, path) == text
    assert page.BEGIN in written(folder, tmp_path / "new.md")


def test_markdown_without_marks_is_left_as_it_is(folder, tmp_path):
    path = tmp_path / "M.md"
    path.write_text("mine\n")
    with pytest.raises(page.MarkdownError, match="Put two lines where it belongs"):
        written(folder, path)
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("words", [["--peers", "dask"], ["--only", "9"], ["--only", "a"], ["--nothing"]])
def test_mistakes_in_the_command_line_are_named(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["paper", *words])
    assert ended.value.code == 2
    assert words[-1] in capsys.readouterr().err


# -- the benchmarks themselves ------------------------------------------------------------------------------------------------

TINY = {
    1: "--clients 2 --size 800 --sleep 0.001 --rounds 2",
    2: "--clients 2 --sizes 1KB,10KB --sleep 0.001 --rounds 2",
    3: "--env Blackjack-v1 --envs 2 --steps 1 --rounds 3",
    4: "--game Pong --envs 2 --rounds 2",
    5: "--batch 20 --rollouts 2 --steps 10 --rounds 1",
    6: "--cars 4 --rounds 2",
    7: "--networks 8x8 --rows 16 --shards 1,2 --updates 3",
    8: "--only heavy --hosts 1,2 --heavy-rounds 1 --body 1",
}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", TINY)
def test_what_the_parts_measure_is_drawn(number, tmp_path):
    for name in {4: ("ale_py", "gymnasium"), 7: ("torch",)}.get(number, ("torch", "gymnasium", "pettingzoo")):
        pytest.importorskip(name)
    tiny = replace(part(number), quick=f"{TINY[number]} --repeats 1")
    settings = Settings(quick=True, as_published=True)
    assert run_parts([tiny], settings, tmp_path, Console()) == []
    there = results.read(tmp_path)
    drawn = results.charts(there)
    expected = results.charts({number: results.Result(number, found(number))})
    assert [chart.title for chart in drawn] == [chart.title for chart in expected]
    for chart, other in zip(drawn, expected, strict=True):
        if chart.title != "More workers":  # whose lines are named after environments
            names = [series.name for series in other.series if series.name != "Ray"]
            assert [series.name for series in chart.series] == names
        assert all(abs(value) > 0 for series in chart.series for point in series.points.values() for value in point)
    if number != 7:
        assert results.rows(there)
    if number == 3:
        assert "Blackjack-v1, as published, 2 workers: times the plain loop's speed" in {
            row.what for row in results.rows(there)
        }
