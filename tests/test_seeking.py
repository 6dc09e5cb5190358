"""Frames read from the nearest key frame are those of reading on, bit for bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from scenes.files import CLIP_FILE, KEY_EVERY, load_clip, read_frames, read_span, write_clip
from scenes.footage import Clip, DamagedFile, Frame, Span

FRAMES = 45


def noise(frames: int = FRAMES) -> list[Frame]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (32, 48, 3), dtype=np.uint8) for _ in range(frames)]


def kept(folder: Path, fps: Fraction) -> Clip:
    folder.mkdir()
    write_clip(noise(), folder, fps, FRAMES, {})
    return load_clip(folder)


def key_frames(clip: Clip) -> list[int]:
    with av.open(clip.path / CLIP_FILE) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    return [number for number, packet in enumerate(packets) if packet.is_keyframe]


# Matroska rounds times to milliseconds, so rates that milliseconds do not divide matter.
@pytest.mark.parametrize("fps", [Fraction(16), Fraction(24), Fraction(30000, 1001), Fraction(7), Fraction(120)])
def test_each_frame_by_seeking_is_that_of_reading_on(tmp_path: Path, fps: Fraction):
    clip = kept(tmp_path / "clip", fps)
    assert key_frames(clip) == list(range(0, FRAMES, KEY_EVERY))
    read_on = list(read_span(Span(clip, 0, FRAMES)))
    for number in range(FRAMES):
        ((found, frame),) = read_frames(clip, [number])
        assert found == number
        assert np.array_equal(frame, read_on[number])
    some = [1, 2, 9, 16, 17, 30, 31, 32, 44]
    found = dict(read_frames(clip, some))
    assert list(found) == some
    assert all(np.array_equal(frame, read_on[number]) for number, frame in found.items())


def test_clips_whose_key_frames_lie_elsewhere(tmp_path: Path):
    """Those kept by earlier versions have one every twelfth frame."""
    clip, frames = kept(tmp_path / "clip", Fraction(16)), noise()
    with av.open(clip.path / CLIP_FILE, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=16, options={"level": "3", "slicecrc": "1", "slices": "4"})
        stream.pix_fmt, stream.width, stream.height = "bgr0", 48, 32
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base = index, Fraction(1, 16)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert key_frames(clip) == [0, 12, 24, 36]
    for number, frame in read_frames(clip, [0, 1, 8, 16, 24, 32, 40, 43, 44]):
        assert np.array_equal(frame, frames[number])


def test_a_clip_that_is_cut_off_is_told(tmp_path: Path):
    clip = kept(tmp_path / "clip", Fraction(16))
    path = clip.path / CLIP_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [number for number, _ in read_frames(clip, [0, 8])] == [0, 8]
    with pytest.raises(DamagedFile, match=r"clip\.mkv"):
        list(read_frames(clip, [FRAMES - 1]))
    path.write_bytes(b"")
    with pytest.raises(DamagedFile, match=r"clip\.mkv"):
        list(read_frames(clip, [0]))
