"""Episodes in JupyterLab: a video that plays and is gone to any step of, a grid, single pictures where there is no encoder, films of a training."""

import re

import pytest
from screen import OUT, marks, open_and_run, theme

from reactornb.rl import video

pytestmark = [*marks(600), pytest.mark.skipif(video.encoder() is None, reason="no ffmpeg: pip install imageio-ffmpeg")]

# Its picture at step t is a gray of 2 t + 20, so that a picture says which step it is of.
EPISODES = [
    "%load_ext reactornb",
    """import gymnasium, numpy as np
from reactornb.rl import video, watch

class Gray(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(100)
    action_space = gymnasium.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, render_mode=None, steps=100):
        self.render_mode, self.steps = render_mode, steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.end = 0, self.steps - 20 * (seed or 0)
        return 0, {}

    def step(self, action):
        self.t += 1
        return self.t, 1.0, self.t == self.end, False, {}

    def render(self):
        return np.full((200, 300, 3), 2 * self.t + 20, np.uint8)""",
    "watch(lambda seen: seen % 2, Gray)",
    "watch(lambda seen: 0, Gray, episodes=3)",
    """found, video.encoder = video.encoder, lambda: None
stills = watch(lambda seen: 0, Gray)
display(stills)
video.encoder = found""",
    "%reactor watch nobody",
]

FILMS = [
    "%load_ext reactornb",
    """from reactornb.rl import PPO
run = %reactor start PPO total_timesteps=40000 video_every=8000 --seed 1""",
    "%reactor watch --films",
    "run.wait(); 6 * 7",
    "%reactor watch --episodes 2",
]

# The gray in the middle of what a player shows.
LEVEL = """player => {
    const picture = player.querySelector("video, img");
    const canvas = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    canvas.getContext("2d").drawImage(picture, 0, 0, 8, 8);
    return canvas.getContext("2d").getImageData(4, 4, 1, 1).data[0];
}"""


def step_of(player):
    return int(re.match(r"step (\d+) / \d+", player.locator(".rnb-where").text_content())[1])


def settled(page, player):
    """Wait until the picture is the one that was asked for."""
    page.wait_for_function(
        "p => [...p.querySelectorAll('video')].every(v => !v.seeking && v.readyState >= 2)", arg=player.element_handle()
    )
    page.wait_for_timeout(100)  # it is drawn


def near(level, step):
    return abs(level - (2 * step + 20)) <= 5


def test_an_episode_plays_and_is_gone_to_any_step_of(page):
    open_and_run(page, "player", EPISODES)
    players = page.locator(".rnb-player")
    players.nth(2).wait_for()
    one, grid, stills = (players.nth(place) for place in range(3))
    assert (one.locator("video").count(), grid.locator("video").count(), stills.locator("img").count()) == (1, 3, 1)

    one.scroll_into_view_if_needed()
    settled(page, one)
    assert one.locator(".rnb-where").text_content() == "step 0 / 100"
    assert near(one.evaluate(LEVEL), 0)
    one.get_by_role("button", name="play", exact=True).click()
    page.wait_for_function("p => Number(p.querySelector('.rnb-seek').value) >= 10", arg=one.element_handle())
    one.get_by_role("button", name="pause").click()
    settled(page, one)
    there = step_of(one)
    assert 10 <= there < 100
    assert near(one.evaluate(LEVEL), there)
    assert one.locator(".rnb-over").text_content() == f"return {there}  ·  reward 1  ·  action {there % 2}"

    for step in (70, 3, 100):
        one.locator(".rnb-seek").fill(str(step))
        settled(page, one)
        assert step_of(one) == step
        assert near(one.evaluate(LEVEL), step), step
    assert one.locator(".rnb-over").text_content() == "return 100  ·  reward 1  ·  end"
    one.get_by_role("button", name="a step back").click()
    one.locator(".rnb-seek").press("ArrowLeft")
    settled(page, one)
    assert step_of(one) == 98
    assert near(one.evaluate(LEVEL), 98)
    one.get_by_role("combobox", name="speed").select_option("4")
    one.get_by_role("button", name="play", exact=True).click()
    page.wait_for_function(
        "p => p.querySelector('.rnb-where').textContent === 'step 100 / 100' && p.querySelector('.rnb-go').textContent === '▶'",
        arg=one.element_handle(),
    )
    one.locator(".rnb-seek").fill("60")
    settled(page, one)
    page.screenshot(path=OUT / "lab-player.png")

    grid.scroll_into_view_if_needed()
    grid.locator(".rnb-seek").fill("70")
    settled(page, grid)
    assert [words.text_content().partition("  ")[0] for words in grid.locator(".rnb-over").all()] == [
        "return 70",
        "return 70",
        "return 60",
    ]
    grid.get_by_role("button", name="play", exact=True).click()
    page.wait_for_function(
        "p => p.querySelector('.rnb-where').textContent === 'step 100 / 100'", arg=grid.element_handle()
    )
    assert [words.text_content().partition("  ")[0] for words in grid.locator(".rnb-over").all()] == [
        "return 100",
        "return 80",
        "return 60",
    ]
    page.screenshot(path=OUT / "lab-player-grid.png")

    stills.scroll_into_view_if_needed()
    stills.locator(".rnb-seek").fill("50")
    page.wait_for_function("p => p.querySelector('img').complete", arg=stills.element_handle())
    assert near(stills.evaluate(LEVEL), 50)
    stills.get_by_role("button", name="play", exact=True).click()
    page.wait_for_function("p => Number(p.querySelector('.rnb-seek').value) >= 60", arg=stills.element_handle())
    stills.get_by_role("button", name="pause").click()
    page.wait_for_function("p => p.querySelector('img').complete", arg=stills.element_handle())
    assert near(stills.evaluate(LEVEL), step_of(stills))

    page.get_by_text("UsageError: %reactor: ").wait_for()
    theme(page, "JupyterLab Dark")
    page.screenshot(path=OUT / "lab-player-dark.png")
    assert not page.complaints


def test_a_training_films_itself_and_what_it_has_learnt_is_watched(page):
    open_and_run(page, "films", FILMS)
    films = page.locator(".rnb-films")
    choice = films.get_by_role("combobox", name="film")
    page.wait_for_function("() => document.querySelectorAll('.rnb-films-choice option').length === 5", timeout=120_000)
    lines = choice.locator("option").all_text_contents()
    assert [line.partition(":")[0] for line in lines] == [
        *(f"after {n} steps" for n in ("8,192", "16,128", "24,064", "32,000")),  # rounds of 256
        "at the end",
    ]
    settled(page, films)
    newest = films.locator(".rnb-where").text_content()
    choice.select_option("0")
    page.wait_for_function(
        "() => document.querySelector('.rnb-films figcaption').textContent.startsWith('after 8,192 steps')"
    )
    settled(page, films)
    assert films.locator(".rnb-where").text_content() != newest
    films.get_by_role("button", name="play", exact=True).click()
    page.wait_for_function("() => Number(document.querySelector('.rnb-films .rnb-seek').value) >= 5")
    page.screenshot(path=OUT / "lab-films.png")
    last = page.locator(".jp-CodeCell").last.locator(".rnb-player")
    last.wait_for(timeout=60_000)
    assert last.locator("video").count() == 2
    page.screenshot(path=OUT / "lab-films-watched.png")
    assert not page.complaints
