"""Clips and stills on disk: bit-exact, streamed, and damage found."""

from __future__ import annotations

import inspect
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scenes.files import (
    CLIP_FILE,
    FACTS_FILE,
    file_digest,
    load_clip,
    read_facts,
    read_span,
    read_still,
    read_video,
    settle,
    write_clip,
    write_ffv1,
    write_still,
)
from scenes.footage import Clip, DamagedFile, Frame, PixelDigest, Span, frame_digest
from tests.playing import FFMPEG, probe

FPS = Fraction(16)


def noise(frames: int, width: int, height: int, seed: int = 0) -> list[Frame]:
    return list(np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


def photographs() -> list[Frame]:
    whole = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]
    return [np.ascontiguousarray(photo[:201, :333]) for photo in whole]


def kept(folder: Path, frames: list[Frame], fps: Fraction = FPS) -> Clip:
    folder.mkdir(exist_ok=True)
    write_clip(frames, folder, fps, len(frames), {"device": "cpu"})
    return load_clip(folder)


def read(clip: Clip, start: int = 0, stop: int | None = None) -> list[Frame]:
    return list(read_span(Span(clip, start, clip.frames if stop is None else stop)))


# Exactness


@pytest.mark.parametrize("size", [(64, 48), (2, 2), (3, 5), (17, 33), (2, 300), (301, 2), (255, 129)])
@pytest.mark.parametrize("count", [1, 5])
def test_noise_of_any_size_comes_back_bit_for_bit(size: tuple[int, int], count: int, tmp_path: Path):
    frames = noise(count, *size)
    clip = kept(tmp_path, frames)
    assert (clip.frames, clip.size, clip.fps) == (count, size, FPS)
    np.testing.assert_array_equal(read(clip), frames)
    np.testing.assert_array_equal(read_still(clip.last), frames[-1])


def test_photographs_come_back_bit_for_bit(tmp_path: Path):
    frames = photographs()
    np.testing.assert_array_equal(read(kept(tmp_path, frames)), frames)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=12), st.integers(2, 9), st.integers(2, 9))
def test_every_colour_comes_back(colours: list[int], width: int, height: int):
    with tempfile.TemporaryDirectory() as folder:
        rgb = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in colours], np.uint8)
        frames = [np.broadcast_to(colour, (height, width, 3)) for colour in rgb]
        np.testing.assert_array_equal(read(kept(Path(folder), frames)), frames)


def test_another_ffmpeg_reads_the_same_frames(tmp_path: Path):
    frames = noise(4, 66, 46)
    clip = kept(tmp_path, frames, Fraction(24))
    facts = probe(clip.path / CLIP_FILE)
    assert (facts.codec, facts.pixels, facts.rate, len(facts.pts)) == ("ffv1", "bgr0", 24, 4)
    command = [FFMPEG, "-v", "error", "-i", str(clip.path / CLIP_FILE), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    assert raw == b"".join(frame.tobytes() for frame in frames)


def test_frames_that_are_views_are_written_as_they_are_seen(tmp_path: Path):
    large = noise(1, 90, 70)[0]
    views = [large[::2, ::3], large[35:, :30], large[::-2, 60:], np.asfortranarray(large[:35, :30])]
    np.testing.assert_array_equal(read(kept(tmp_path, views)), views)
    still = write_still(large[::-1, ::2], tmp_path / "view.png")
    np.testing.assert_array_equal(read_still(still), large[::-1, ::2])


# Spans and streaming


def test_spans(tmp_path: Path):
    frames = noise(30, 32, 24)
    clip = kept(tmp_path, frames)
    for start, stop in ((0, 30), (1, 30), (29, 30), (0, 1), (7, 19), (12, 12), (0, 0)):
        assert len(frames[start:stop]) == Span(clip, start, stop).frames
        made = read(clip, start, stop)
        assert len(made) == stop - start
        assert all(np.array_equal(a, b) for a, b in zip(made, frames[start:stop], strict=True))


def test_writing_takes_one_frame_at_a_time(tmp_path: Path):
    """No list is made of what a renderer draws: each frame is let go before the next is asked for."""
    alive: list[weakref.ref[Frame]] = []

    def drawn() -> Iterator[Frame]:
        for index in range(12):
            frame = np.full((24, 32, 3), index, np.uint8)
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(ref() is not None for ref in alive) <= 2  # this one and the last

    write_clip(drawn(), tmp_path, FPS, 12, {})
    assert len(alive) == 12


def test_reading_gives_frames_before_the_whole_is_decoded(tmp_path: Path):
    clip = kept(tmp_path, noise(6, 32, 24))
    frames = read_span(Span(clip, 1, 6))
    assert inspect.isgenerator(frames)
    next(frames)
    frames.close()
    (clip.path / CLIP_FILE).unlink()  # closed: on Windows an open file could not go


# Facts


def test_the_last_frame_lies_beside_its_clip(tmp_path: Path):
    frames = noise(3, 33, 21)
    clip = kept(tmp_path, frames)
    with Image.open(tmp_path / "last.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (33, 21))
        np.testing.assert_array_equal(np.asarray(picture), frames[-1])
    assert clip.last.digest == frame_digest(frames[-1]) == frame_digest(read(clip)[-1])


def test_facts_beside_a_clip(tmp_path: Path):
    frames = noise(3, 33, 21)
    clip = kept(tmp_path, frames)
    facts = read_facts(tmp_path / FACTS_FILE)
    assert facts["made"] == {"device": "cpu"}
    assert (facts["sha256"], facts["bytes"]) == (
        file_digest(tmp_path / CLIP_FILE),
        (tmp_path / CLIP_FILE).stat().st_size,
    )
    digest = PixelDigest()
    for frame in frames:
        digest.add(frame)
    assert clip.digest == facts["digest"] == digest.hex()
    settle(tmp_path)


def test_digests_are_of_pixels_and_never_change(tmp_path: Path):
    """Every key holds these: another number here re-renders every film there is."""
    frame = (np.arange(4 * 6 * 3, dtype=np.uint8) * 3).reshape(4, 6, 3)
    pinned = "c921df1ddebacc87b435148c5dd3f5e03e04cc4b23de497c8fe8481e351970c1"
    assert frame_digest(frame) == pinned
    assert write_still(frame, tmp_path / "still.png").digest == pinned
    clip = kept(tmp_path / "clip", [frame, frame[::-1]])
    assert clip.digest == "936ce9f11d92bb03c7572bd154251395ec1e2c77795e6b0f6e98095a0c2accaf"
    assert kept(tmp_path / "again", [frame, frame[::-1]], Fraction(24)).digest == clip.digest


def test_digests_tell_shapes_and_orders_apart():
    frames = noise(2, 6, 4)
    turned = frames[0].reshape(6, 4, 3)
    assert len({frame_digest(frames[0]), frame_digest(turned), frame_digest(frames[1])}) == 3
    digests = set[str]()
    for order in ((0, 1), (1, 0), (0,), (0, 0)):
        digest = PixelDigest()
        for index in order:
            digest.add(frames[index])
        digests.add(digest.hex())
    assert len(digests) == 4


# What is refused


def test_no_frames_and_unlike_frames_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no frames were made"):
        write_ffv1([], tmp_path / "none.mkv", FPS)
    with pytest.raises(ValueError, match=r"frame 1 is \(24, 30, 3\), those before it \(24, 32, 3\)"):
        write_ffv1([*noise(1, 32, 24), *noise(1, 30, 24)], tmp_path / "unlike.mkv", FPS)


@pytest.mark.parametrize("promised", [4, 6])
def test_another_number_of_frames_is_refused(promised: int, tmp_path: Path):
    with pytest.raises(ValueError, match=f"{promised} frames were promised and 5 made"):
        write_clip(noise(5, 16, 16), tmp_path, FPS, promised, {})
    assert not (tmp_path / FACTS_FILE).exists()


# Damage


def test_a_clip_cut_anywhere_is_found(tmp_path: Path):
    clip = kept(tmp_path, noise(5, 24, 16))
    path = tmp_path / CLIP_FILE
    data = path.read_bytes()
    for length in [*range(0, len(data) - 200, 97), 1, 5, 100]:
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFile, match=r"clip\.mkv"):
            read(clip)


def test_a_flipped_byte_is_found_or_harmless(tmp_path: Path):
    """A decoder conceals a broken slice without a word: the frames' own digest tells."""
    frames = noise(5, 24, 16)
    clip = kept(tmp_path, frames)
    path = tmp_path / CLIP_FILE
    data = path.read_bytes()
    rng = np.random.default_rng(3)
    found = 0
    for at in rng.integers(0, len(data), 80):
        torn = bytearray(data)
        torn[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(torn)
        try:
            made = read(clip)
        except DamagedFile:
            found += 1
        else:  # a byte of a tag, or of the index
            np.testing.assert_array_equal(made, frames)
    assert found > 50


def test_a_clip_that_is_gone_or_another_is_found(tmp_path: Path):
    clip = kept(tmp_path / "one", noise(5, 24, 16))
    other = kept(tmp_path / "two", noise(5, 24, 16, seed=1))
    with pytest.raises(DamagedFile, match="not those that were drawn"):
        read(replace(clip, path=other.path))
    with pytest.raises(DamagedFile, match="5 frames decode where 6 were written"):
        read(replace(clip, frames=6))
    for text in (b"", b"no video", (tmp_path / "one" / "last.png").read_bytes()):
        (clip.path / CLIP_FILE).write_bytes(text)
        with pytest.raises(DamagedFile, match=r"clip\.mkv"):
            read(clip)
    (clip.path / CLIP_FILE).unlink()
    with pytest.raises(DamagedFile, match=r"clip\.mkv"):
        read(clip)
    with pytest.raises(DamagedFile, match=r"nowhere\.mkv"):
        list(read_video(tmp_path / "nowhere.mkv", 0, 1))


def test_a_still_that_is_damaged_is_found(tmp_path: Path):
    frame, other = noise(2, 24, 16)
    still = write_still(frame, tmp_path / "still.png")
    whole = still.path.read_bytes()
    write_still(other, still.path)
    with pytest.raises(DamagedFile, match="pixels have changed"):
        read_still(still)
    for data in (b"", b"no picture", whole[:50], whole[: len(whole) // 2]):
        still.path.write_bytes(data)
        with pytest.raises(DamagedFile, match=r"still\.png"):
            read_still(still)
    still.path.unlink()
    with pytest.raises(DamagedFile, match=r"still\.png"):
        read_still(still)


def test_a_still_with_any_flipped_bit_is_found_or_harmless(tmp_path: Path):
    frame = noise(1, 12, 8)[0]
    still = write_still(frame, tmp_path / "still.png")
    whole = still.path.read_bytes()
    for at in range(len(whole)):
        torn = bytearray(whole)
        torn[at] ^= 1 << at % 8
        still.path.write_bytes(torn)
        with suppress(DamagedFile):
            np.testing.assert_array_equal(read_still(still), frame)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"size": [1]}', '{"frames": "x", "size": 5}', "\x00"])
def test_facts_that_are_none_are_named(text: str, tmp_path: Path):
    (tmp_path / FACTS_FILE).write_text(text)
    with pytest.raises(DamagedFile, match=r"clip\.json"):
        load_clip(tmp_path)


def test_facts_that_are_gone_are_named(tmp_path: Path):
    with pytest.raises(DamagedFile, match=r"clip\.json"):
        load_clip(tmp_path)
    (tmp_path / FACTS_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedFile, match=r"clip\.json"):
        load_clip(tmp_path)
