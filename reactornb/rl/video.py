"""Moving pictures as files: MP4 (H.264, by an ffmpeg in a process of its own), GIF (by Pillow), and PNG, which is written here and needs nothing.

ffmpeg is the one that `imageio-ffmpeg` brings, else the system's. A process of its own: an encoder's library would have to be free of the GIL, and what
goes wrong in it would go wrong here. One thread, so that the same frames give the same bytes on any machine with the same ffmpeg.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from reactornb.errors import MissingPackageError
from reactornb.files import write
from reactornb.rl.errors import VideoError

__all__ = ["encode", "encoder", "frames_of", "moving_png", "mp4", "png", "save"]

_INSTALL = "pip install 'reactornb[video]' (or, for MP4, the system's package ffmpeg)"


def save(frames: Iterable[np.ndarray], rate: float, path: str | Path) -> Path:
    """Write a moving picture; the file's ending says as what: .mp4, .gif, .png.

    Args:
        frames: uint8 [height, width, 3] each, of one size.
        rate: how many are shown in a second.
        path: the file.

    Raises:
        MissingPackageError: without what it needs.
        VideoError: for another ending, or if an encoder fails.
        FileError: if it cannot be written.
    """
    return write(path, encode(frames, rate, Path(path).suffix.lower() or ".mp4"))


def encode(frames: Iterable[np.ndarray], rate: float, kind: str) -> bytes:
    """The bytes of such a file; see `save`.

    Args:
        frames, rate: likewise.
        kind: ".mp4", ".gif", ".png" or ".apng".
    """
    match kind:
        case ".mp4":
            return mp4(frames, rate)
        case ".gif":
            return gif(frames, rate)
        case ".png" | ".apng":
            return moving_png(frames, rate)
    raise VideoError(f"a moving picture is saved as .mp4, .gif or .png, not {kind!r}.")


# -- MP4 -------------------------------------------------------------------------------------------------------------------


@cache
def encoder() -> str | None:
    """Where an ffmpeg is; None if there is none."""
    if find_spec("imageio_ffmpeg") is not None:
        imageio_ffmpeg: Any = import_module("imageio_ffmpeg")
        try:
            return str(imageio_ffmpeg.get_ffmpeg_exe())
        except RuntimeError:  # a package without a binary for this platform
            pass
    return shutil.which("ffmpeg")


def mp4(frames: Iterable[np.ndarray], rate: float) -> bytes:
    """H.264, which every browser plays; small pictures are enlarged, since colour has half the resolution.

    Raises:
        MissingPackageError: without ffmpeg.
        VideoError: if it fails.
    """
    program = encoder()
    if program is None:
        raise MissingPackageError(f"there is no ffmpeg here to write MP4: {_INSTALL}. A .png that moves needs none.")
    first, every = _looked_at(frames)
    height, width, _ = first.shape
    times = max(1, -(-240 // height))
    shape = f"scale=w={times * width}:h={times * height}:flags=neighbor:out_color_matrix=bt709"
    with tempfile.TemporaryDirectory(prefix="reactornb-video-") as folder, tempfile.TemporaryFile() as said:
        out = Path(folder) / "out.mp4"
        command = [
            program, "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:.6g}", "-i", "pipe:0",
            "-vf", f"{shape},pad=ceil(iw/2)*2:ceil(ih/2)*2", "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "veryfast", "-crf", "20",
            # A page seeks to a frame, and finds it at number / rate: a key frame now and then, and none that are reordered.
            "-g", "15", "-bf", "0", "-threads", "1", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
            "-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-y", str(out),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)  # noqa: S603
        pipe = process.stdin
        assert pipe is not None
        try:
            for frame in every:
                if frame.shape != first.shape:
                    raise _uneven(first, frame)
                pipe.write(np.ascontiguousarray(frame))
            pipe.close()
        except BrokenPipeError:  # it has said why
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            status = process.wait()
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        if status or not out.is_file():
            said.seek(0)
            words = said.read().decode(errors="replace").strip().replace("\n", "; ")
            raise VideoError(f"{program} wrote no MP4 (status {status}): {words[-500:] or 'it did not say why'}.")
        return out.read_bytes()


def frames_of(content: bytes, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of what `mp4` wrote, nearly as they were.

    Args:
        content: the file.
        size: (height, width) that they had.

    Raises:
        MissingPackageError, VideoError: as `mp4`.
    """
    program = encoder()
    if program is None:
        raise MissingPackageError(f"there is no ffmpeg here to read MP4: {_INSTALL}.")
    height, width = size
    with tempfile.TemporaryDirectory(prefix="reactornb-video-") as folder:
        into = Path(folder) / "in.mp4"
        into.write_bytes(content)
        times = max(1, -(-240 // height))
        shape = f"crop={times * width}:{times * height}:0:0,scale={width}:{height}:flags=area:in_color_matrix=bt709"
        command = [
            program,
            "-v",
            "error",
            "-i",
            str(into),
            "-vf",
            shape,
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "pipe:1",
        ]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise VideoError(f"{program} could not read an MP4: {done.stderr.decode(errors='replace').strip()[-500:]}.")
    return iter(np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3))


def _looked_at(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first frame, and all of them."""
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise VideoError("there is no frame: a moving picture has at least one.")
    return first, itertools.chain([first], rest)


def _uneven(first: np.ndarray, other: np.ndarray) -> ValueError:
    return ValueError(f"pictures of {first.shape} and of {other.shape} are no moving picture.")


# -- GIF -------------------------------------------------------------------------------------------------------------------


def gif(frames: Iterable[np.ndarray], rate: float) -> bytes:
    """A GIF that repeats, of 256 colours. At most 50 frames a second, which is all that browsers show: of faster ones some are left out.

    Raises:
        MissingPackageError: without Pillow.
    """
    if find_spec("PIL") is None:
        raise MissingPackageError(f"there is no Pillow here to write GIF: {_INSTALL}. A .png that moves needs none.")
    image: Any = import_module("PIL.Image")
    every = [np.asarray(frame) for frame in frames]
    if not every:
        raise VideoError("there is no frame: a moving picture has at least one.")
    hundredths = max(2, round(100 / rate))
    count = max(1, round(len(every) * (100 / rate) / hundredths))
    chosen = [every[min(len(every) - 1, round(i * len(every) / count))] for i in range(count)]
    some = [
        chosen[round(i * (count - 1) / 7)] for i in range(8)
    ]  # one palette, of eight pictures: colours do not flicker
    palette = image.fromarray(np.concatenate(some)).quantize(256)
    drawn = [image.fromarray(frame).quantize(palette=palette, dither=0) for frame in chosen]
    out = io.BytesIO()
    drawn[0].save(out, "GIF", save_all=True, append_images=drawn[1:], duration=10 * hundredths, loop=0)
    return out.getvalue()


# -- PNG -------------------------------------------------------------------------------------------------------------------


def png(frame: np.ndarray) -> bytes:
    """One picture."""
    height, width, _ = frame.shape
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join([_SIGNATURE, header, _chunk(b"IDAT", _rows(frame)), _chunk(b"IEND", b"")])


def moving_png(frames: Iterable[np.ndarray], rate: float) -> bytes:
    """Pictures of one size as an animated PNG. Of each after the first only the rectangle that changed is kept.

    Source: the PNG specification, third edition (W3C 2025), sections 5, 9 and 11.3.4.
    """
    first, every = _looked_at(frames)
    height, width, _ = first.shape
    pieces: list[bytes] = []
    number = count = 0
    before: np.ndarray | None = None
    for frame in every:
        if frame.shape != first.shape:
            raise _uneven(first, frame)
        y0, y1, x0, x1 = (0, height, 0, width) if before is None else _changed(before, frame)
        control = struct.pack(
            ">IIIIIHHBB", number, x1 - x0, y1 - y0, x0, y0, 100, max(1, min(65535, round(100 * rate))), 0, 0
        )
        pieces.append(_chunk(b"fcTL", control))
        number += 1
        data = _rows(frame[y0:y1, x0:x1])
        if before is None:
            pieces.append(_chunk(b"IDAT", data))
        else:
            pieces.append(_chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
        before = frame
        count += 1
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"".join([_SIGNATURE, header, _chunk(b"acTL", struct.pack(">II", count, 0)), *pieces, _chunk(b"IEND", b"")])


_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _rows(frame: np.ndarray) -> bytes:
    """A picture's rows, packed; each begins with the number of its filter, none."""
    height, width, _ = frame.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = frame.reshape(height, -1)
    return zlib.compress(rows.tobytes(), 4)


def _changed(before: np.ndarray, now: np.ndarray) -> tuple[int, int, int, int]:
    """The rectangle in which two pictures differ, y0, y1, x0, x1; one pixel if they do not."""
    differs = (before != now).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 1, 0, 1
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
