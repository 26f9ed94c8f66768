"""Episodes as HTML: what the page's script is told, and that nothing in it can leave its place."""

import base64
import json
import re

import numpy as np
import pytest

from reactornb.rl import video
from reactornb.rl.episodes import Gallery, Watched
from reactornb.viz import player


def episode(count=4, label="ppo#1"):
    frames = [np.full((20, 30, 3), 10 * t, np.uint8) for t in range(count)]
    return Watched(frames, [np.float32(0.5)] * (count - 1), [1.5] * (count - 1), 25, label)


@pytest.fixture
def without_ffmpeg(monkeypatch):
    monkeypatch.setattr(video, "encoder", lambda: None)


def test_the_page_is_told_each_step(without_ffmpeg):
    assert player.player_data([episode()]) == [
        {"rate": 25.0, "label": "ppo#1", "rewards": [1.5] * 3, "actions": ["0.50"] * 3, "frames": 4}
    ]


def test_a_reward_that_is_no_number_does_not_break_the_page(without_ffmpeg):
    watched = episode()
    watched.rewards[1] = float("nan")
    assert player.player_data([watched])[0]["rewards"] == [1.5, 0.0, 1.5]
    assert "NaN" not in watched._repr_html_()


def test_without_an_encoder_the_page_has_each_picture(without_ffmpeg):
    html = episode()._repr_html_()
    stills = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])
    assert stills["every"] == 1
    assert base64.b64decode(stills["stills"][2]) == video.png(np.full((20, 30, 3), 20, np.uint8))
    assert "<video" not in html


def test_too_many_pictures_for_a_page_are_thinned(without_ffmpeg, monkeypatch):
    watched = episode(9)
    monkeypatch.setattr(player, "MOST_BYTES", 5 * len(watched.still(0)))
    stills = json.loads(re.search(r'<script type="application/json">(.*?)</script>', watched._repr_html_())[1])
    assert (stills["every"], len(stills["stills"])) == (2, 5)


@pytest.mark.slow
@pytest.mark.skipif(video.encoder() is None, reason="no ffmpeg: pip install imageio-ffmpeg")
def test_with_an_encoder_it_is_a_video_that_plays_without_scripts_too():
    html = Gallery([episode(), episode(3)])._repr_html_()
    assert html.count("<video") == html.count(" controls ") == 2
    first = re.search(r'src="data:video/mp4;base64,([^"]*)"', html)[1]
    assert base64.b64decode(first)[4:8] == b"ftyp"


def test_a_label_stays_a_label(without_ffmpeg):
    html = episode(label='</script><img src=x onerror="alert(1)">')._repr_html_()
    assert "<img src=x" not in html.replace("&lt;", "")
    assert html.count("</script>") == 2, "of the stills, and of the player"
    assert "&lt;/script&gt;&lt;img src=x" in html


def test_nothing_is_asked_for_from_elsewhere(without_ffmpeg):
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", episode()._repr_html_())
