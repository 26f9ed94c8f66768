"""Moving pictures as files: what is in them is what was put in."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from reactornb.errors import MissingPackageError
from reactornb.files import FileError
from reactornb.rl import video
from reactornb.rl.episodes import Gallery, Watched
from reactornb.rl.errors import VideoError
from reactornb.rl.frames import Frames, tiled

needs_ffmpeg = pytest.mark.skipif(video.encoder() is None, reason="no ffmpeg: pip install imageio-ffmpeg")


def moving(count=20, height=60, width=81, shade=0):
    """A square that goes to the right over a background that brightens."""
    frames = []
    for t in range(count):
        frame = np.full((height, width, 3), shade + 4 * t, np.uint8)
        frame[20:40, 2 * t : 2 * t + 16] = (220, 60, 30)
        frames.append(frame)
    return frames


def episode(count=20, label="", **more):
    return Watched(moving(count, **more), [0] * (count - 1), [1.0] * (count - 1), 10, label)


def test_frames_are_as_they_were_and_take_little_memory():
    frames = moving()
    packed = Frames(frames)
    assert np.array_equal(list(packed), frames)
    assert np.array_equal(packed[-1], frames[-1])
    assert np.array_equal(packed[3:5], frames[3:5])
    assert packed.nbytes < sum(frame.nbytes for frame in frames) / 20
    assert repr(packed) == "<20 frames of 81 × 60>"
    with pytest.raises(ValueError, match=r"pictures of \(60, 81, 3\) and of \(5, 5, 3\)"):
        packed.append(np.zeros((5, 5, 3), np.uint8))


@needs_ffmpeg
@pytest.mark.slow
def test_an_mp4_gives_its_frames_back_nearly_as_they_were():
    frames = moving()
    made = video.mp4(frames, 10)
    assert made[4:8] == b"ftyp"
    back = list(video.frames_of(made, (60, 81)))
    assert len(back) == 20
    for frame, seen in zip(frames, back, strict=True):
        assert np.abs(frame.astype(int) - seen).mean() < 6
    assert video.mp4(frames, 10) == made, "the same frames, the same bytes"


@needs_ffmpeg
@pytest.mark.slow
def test_an_episode_kept_as_mp4_alone_has_frames_all_the_same(tmp_path):
    watched, before = episode(), list(moving())
    size = watched.nbytes
    packed = watched.packed()
    assert packed is watched
    assert packed.nbytes == len(packed.mp4)
    assert size > 0
    assert packed.count == len(packed.frames) == 20
    assert np.abs(packed.frames[7].astype(int) - before[7]).mean() < 6
    assert packed.save(tmp_path / "a.mp4").read_bytes() == packed.mp4
    assert packed.save(tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_gif_has_its_frames_and_its_pace(tmp_path):
    image = pytest.importorskip("PIL.Image")
    frames = moving()
    with image.open(video.save(frames, 10, tmp_path / "a.gif")) as opened:
        assert opened.n_frames == 20
        for t in (0, 9, 19):
            opened.seek(t)
            assert opened.info["duration"] == 100
            assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - frames[t]).mean() < 8
    with image.open(video.save(frames, 100, tmp_path / "b.gif")) as opened:
        assert opened.n_frames == 10, "a browser shows 50 a second at most"


def test_several_episodes_are_side_by_side_and_stay_as_they_ended():
    sheets = list(tiled([Frames(moving(5)), Frames(moving(3, height=40)), Frames(moving(2))]))
    assert len(sheets) == 5
    assert {sheet.shape for sheet in sheets} == {(126, 168, 3)}
    assert np.array_equal(sheets[4][:60, :81], moving(5)[4])
    assert np.array_equal(sheets[4][10:50, 87:], moving(3, height=40)[2])
    assert np.array_equal(sheets[4][66:, :81], moving(2)[1])
    assert (sheets[0][60:66] == 255).all()


def test_a_gallery_is_saved_as_one_picture(tmp_path):
    some = Gallery([episode(5), episode(3)])
    assert some.returns.tolist() == [4.0, 2.0]
    png = some.save(tmp_path / "both.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert Gallery([episode(5)]).save(tmp_path / "one.png").read_bytes() == video.moving_png(moving(5), 10)
    with pytest.raises(ValueError, match="at least one"):
        Gallery([])


def test_an_unknown_ending_no_frames_and_a_folder_that_is_none_are_refused(tmp_path):
    with pytest.raises(VideoError, match=r"saved as \.mp4, \.gif or \.png, not '\.avi'"):
        episode().save(tmp_path / "a.avi")
    with pytest.raises(VideoError, match="no frame"):
        video.save([], 10, tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        episode().save(tmp_path / "file" / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_without_an_encoder_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "encoder", lambda: None)
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    assert episode().mp4 is None
    watched = episode()
    assert watched.packed().nbytes == watched.frames.nbytes, "then its frames stay"
    for ending in (".mp4", ".gif"):
        with pytest.raises(MissingPackageError, match=r"pip install 'reactornb\[video\]'"):
            episode().save(tmp_path / f"a{ending}")
    with pytest.raises(MissingPackageError, match="no ffmpeg here to read"):
        video.frames_of(b"", (2, 2))


def test_an_encoder_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!{shutil.which('sh')}\necho 'Unknown encoder libx264' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(video, "encoder", lambda: str(script))
    with pytest.raises(VideoError, match=r"status 3\): Unknown encoder libx264"):
        video.mp4(moving(3), 10)
    with pytest.raises(VideoError, match="could not read an MP4: Unknown encoder"):
        video.frames_of(b"no video", (60, 81))


@needs_ffmpeg
def test_frames_of_other_sizes_end_the_encoder():
    with pytest.raises(ValueError, match="are no moving picture"):
        video.mp4([moving(1)[0], np.zeros((4, 4, 3), np.uint8)], 10)


@pytest.mark.slow
def test_reading_the_module_imports_no_encoder():
    words = "import sys, reactornb.rl.video; print([n for n in ('imageio_ffmpeg', 'PIL', 'torch', 'gymnasium') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
