"""Joining: the film decodes to exactly its segments' frames, at exact times, by two decoders."""

from __future__ import annotations

import functools
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from post.encode import Encode, SegmentFile
from post.finish import Segment
from post.join import About, Join, UnlikeSegments, write_film
from scenes.files import file_digest
from scenes.footage import DamagedFile, Size
from tests.playing import by_ffmpeg, by_ffprobe, planes, probe

SIZE = (64, 48)
FPS = Fraction(32)
H264, HEVC = Encode("h264", 16.0, "medium"), Encode("hevc", 20.0, "medium")
PIXELS = {"h264": "yuv420p", "hevc": "yuv420p10le"}
LENGTHS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 33, 63, 64, 65, 66, 129, 300)


@pytest.fixture(scope="module")
def shelf() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
    segment.cache_clear()


@functools.cache
def segment(folder: Path, frames: int, encode: Encode = H264, size: Size = SIZE, fps: Fraction = FPS) -> Segment:
    """Pictures in motion, so that the encoder finds use for B-frames; others for each length."""
    path = folder / f"{len(list(folder.iterdir()))}.mp4"
    rng = np.random.default_rng(frames)
    width, height = size
    ground = rng.integers(0, 256, (height // 4 + 100, width // 4 + 100, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with SegmentFile(path, encode, size, fps) as file:
        for index in range(frames):
            x, y = index % 150, index // 3 % 150
            file.encoder.write(np.ascontiguousarray(ground[y : y + height, x : x + width]))
    return Segment(file_digest(path), frames, fps, size, file.fingerprint, path)


def about(segments: Sequence[Segment]) -> About:
    return About("A film", tuple((f"scene {i}", s.frames) for i, s in enumerate(segments)), (("comment", "test"),))


def joined(segments: Sequence[Segment], path: Path) -> Path:
    write_film(Join(tuple(segments), about(segments), None), path)
    return path


@functools.cache
def frames_of(path: Path) -> list[bytes]:
    with av.open(path) as source:
        return [frame.to_ndarray().tobytes() for frame in source.decode(video=0)]


def random_order(rng: random.Random) -> list[int]:
    """Up to 24 segments, the short ones crowded together."""
    return [rng.choice(LENGTHS if rng.random() < 0.4 else LENGTHS[:6]) for _ in range(rng.randint(2, 24))]


ORDERS = [
    list(LENGTHS),
    list(reversed(LENGTHS)),
    [1] * 9,
    [300, 1],
    *(random_order(random.Random(i)) for i in range(5)),
]


@pytest.mark.parametrize("encode", [H264, HEVC], ids=["h264", "hevc"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(map(str, order))[:40])
def test_a_film_is_exactly_its_segments_frames(order: list[int], encode: Encode, shelf: Path, tmp_path: Path):
    segments = [segment(shelf, frames, encode) for frames in order]
    film = joined(segments, tmp_path / "film.mp4")
    wanted = [frame for each in segments for frame in frames_of(each.path)]
    assert len(wanted) == sum(order)
    assert frames_of(film) == wanted
    assert planes(film, PIXELS[encode.format]) == b"".join(wanted)
    assert planes(film, PIXELS[encode.format], "cfr") == b"".join(wanted)  # no player drops or repeats one
    _times_are_exact(film, sum(order))


def _times_are_exact(film: Path, frames: int) -> None:
    with av.open(film) as source:
        video = source.streams.video[0]
        packets = [packet for packet in source.demux(video) if packet.size]
        base = video.time_base or Fraction(0)
        decoded = [packet.dts for packet in packets]
        assert sorted(packet.pts * base for packet in packets) == [i / FPS for i in range(frames)]
        assert all(packet.duration * base == 1 / FPS for packet in packets)
        assert all(packet.dts <= packet.pts for packet in packets)
        assert [b - a for a, b in pairwise(decoded)] == [1 / FPS / base] * (frames - 1)
        assert (video.start_time, video.duration * base, video.frames) == (0, frames / FPS, frames)
        assert (video.average_rate, video.base_rate) == (FPS, FPS)
        assert (source.start_time, source.duration) == (0, round(frames / FPS * 1_000_000))
    with av.open(film) as source:
        shown = [frame.pts * base for frame in source.decode(video=0)]
    assert shown == [i / FPS for i in range(frames)]


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(50), Fraction(120), Fraction(30000, 1001)], ids=str)
def test_any_rate_is_exact(fps: Fraction, shelf: Path, tmp_path: Path):
    order = [5, 1, 9, 1, 1, 4]
    film = joined([segment(shelf, n, fps=fps) for n in order], tmp_path / "film.mp4")
    with av.open(film) as source:
        video = source.streams.video[0]
        assert video.average_rate == fps
        shown = [frame.pts * frame.time_base * fps for frame in source.decode(video)]
    assert shown == list(range(sum(order)))


def test_the_head_comes_first_and_the_chapters_are_exact(shelf: Path, tmp_path: Path):
    order = [9, 1, 33, 5]
    film = joined([segment(shelf, frames) for frames in order], tmp_path / "film.mp4")
    assert top_boxes(film)[:2] == ["ftyp", "moov"]
    assert "mdat" in top_boxes(film)
    ends = np.cumsum(order)
    wanted = tuple(
        (f"scene {i}", (e - n) / FPS, e / FPS) for i, (n, e) in enumerate(zip(order, map(int, ends), strict=True))
    )
    assert probe(film).chapters == wanted
    with av.open(film) as source:
        assert source.metadata["title"] == "A film"
        assert source.metadata["comment"] == "test"


def top_boxes(path: Path) -> list[str]:
    """The kinds of an MP4's outermost boxes, in order."""
    data, at, kinds = path.read_bytes(), 0, list[str]()
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.append(data[at + 4 : at + 8].decode("ascii"))
        at += size
    return kinds


def test_ffprobe_and_ffmpeg_agree_on_a_film(shelf: Path, tmp_path: Path):
    film = joined([segment(shelf, 9), segment(shelf, 5)], tmp_path / "film.mp4")
    told = by_ffmpeg(film)
    assert told.pts == tuple(i / FPS for i in range(14))
    if shutil.which("ffprobe"):
        assert by_ffprobe(film) == replace(told, chapters=by_ffprobe(film).chapters)  # ffmpeg prints rounded times


def test_one_segment_is_a_film(shelf: Path, tmp_path: Path):
    only = segment(shelf, 33)
    assert frames_of(joined([only], tmp_path / "film.mp4")) == frames_of(only.path)


@pytest.mark.parametrize(
    "other",
    [
        {"encode": HEVC},
        {"encode": replace(H264, crf=30.0)},
        {"encode": replace(H264, preset="ultrafast")},
        {"size": (64, 64)},
        {"fps": Fraction(16)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_unlike_segments_are_refused_before_a_film_is_begun(other: dict[str, object], shelf: Path, tmp_path: Path):
    segments = [segment(shelf, 5), segment(shelf, 9), segment(shelf, 5, **other)]  # type: ignore[arg-type]
    film = tmp_path / "film.mp4"
    with pytest.raises(UnlikeSegments, match="unlike encoders"):
        joined(segments, film)
    assert not film.exists()


def test_segments_of_other_rates_of_bits_join_where_their_heads_are_equal(shelf: Path, tmp_path: Path):
    """The fingerprint is of what a decoder is told, not of the settings."""
    segments = [segment(shelf, 9), segment(shelf, 9, replace(H264, threads=1)), segment(shelf, 5)]
    film = joined(segments, tmp_path / "film.mp4")
    assert frames_of(film) == [frame for each in segments for frame in frames_of(each.path)]


def copied(whole: Segment, path: Path, data: bytes) -> Segment:
    path.write_bytes(data)
    return replace(whole, path=path)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_segment_is_named(kept: float, shelf: Path, tmp_path: Path):
    whole = segment(shelf, 33)
    data = whole.path.read_bytes()
    torn = copied(whole, tmp_path / "torn.mp4", data[: int(len(data) * kept)])
    with pytest.raises(DamagedFile, match=r"torn\.mp4"):
        joined([whole, torn], tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


def test_a_segment_that_is_another_file_is_named(shelf: Path, tmp_path: Path):
    whole = segment(shelf, 33)
    others = {
        "holds 12 frames where 33 were written": segment(shelf, 12),
        "not at the times": segment(shelf, 33, fps=Fraction(24)),
        "is 64x64 where 64x48 was written": segment(shelf, 33, size=(64, 64)),
        "from another encoder": segment(shelf, 33, replace(H264, preset="ultrafast")),
    }
    for what, other in others.items():
        wrong = copied(whole, tmp_path / "wrong.mp4", other.path.read_bytes())
        with pytest.raises(DamagedFile, match=what):
            joined([whole, wrong], tmp_path / "film.mp4")
    gone = replace(whole, path=tmp_path / "gone.mp4")
    with pytest.raises(DamagedFile, match="No such file"):
        joined([whole, gone], tmp_path / "film.mp4")


def test_very_short_segments_have_decode_times(tmp_path: Path):
    """x265 leaves the times of one to five frames unset, or gives what was in its memory: about one file in 200."""
    for attempt in range(40):
        frames = 1 + attempt % 5
        path = tmp_path / f"{attempt}.mp4"
        with SegmentFile(path, HEVC, SIZE, FPS) as file:
            for level in range(frames):
                file.encoder.write(np.full((SIZE[1], SIZE[0], 3), 40 * level, np.uint8))
        with av.open(path) as source:
            packets = [packet for packet in source.demux(video=0) if packet.size]
        times = [packet.dts for packet in packets]
        assert all(b - a == times[1] - times[0] for a, b in pairwise(times))
        assert all(packet.dts <= packet.pts for packet in packets)
