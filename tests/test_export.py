"""Exports: every format, from lossless frames and never from the film; soundtracks cut to the film."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
import torch
import typer
from av.error import FFmpegError
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import post.encode
import storyboard.targets
from post.encode import FORMATS, MASTER, Encode, Encoder, EncoderMissing, SegmentFile, works
from post.finish import Finish
from post.interpolate import Flow, Interpolate
from post.picture import Picture, Planes
from post.sound import RATE, samples, soundtrack_seconds
from post.suite import Place, Suite
from post.transition import Dissolve, FadeIn, FadeOut, Shortened, tail_of
from post.upscale import RealESRGAN, Upscale
from scenes.files import CLIP_FILE, read_video
from scenes.footage import Clip, DamagedFile, Frame, Span, Still
from scenes.shot import MachineLacks
from storyboard.cli import app
from storyboard.conforming import conformed
from storyboard.export import NotRendered, export, finishes_of, keep_master
from storyboard.film import SceneFailed
from storyboard.options import Options
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.store import Store
from storyboard.story import read_story
from storyboard.sweep import sweep
from storyboard.targets import TARGETS, Export, export_path
from tests.playing import FFMPEG, planes, played, probe
from tests.stories import render, scene, write_picture, write_story
from tests.test_colour import TAGS, block_difference

SIZE = (192, 128)
FPS = Fraction(32)
FRAMES = 28  # of five, four (one dropped at the seam) and five, twice
FINISH = """[finish]
upscale = { model = "lanczos", size = "192x128" }
interpolate = { model = "flow" }
encode = { preset = "ultrafast" }
"""
LOSSLESS = ("ffv1", "png")
HERE = [name for name in FORMATS if not name.endswith("_nvenc") or works(name)]


def silent(scene: str, done: float) -> None:
    """Progress nobody watches."""


def lighthouse(folder: Path, finish: str = FINISH) -> Path:
    """dock -> boat, and an inn after a cut."""
    photo = Image.fromarray(skimage.data.astronaut()).resize((192, 128))
    photo.save(folder / "dock.png")
    write_picture(folder, "inn.png", 2)
    scenes = [scene("dock", image="dock.png", camera="push in"), scene("boat", camera="pan left")]
    inn = scene("inn", image="inn.png", camera="hold")
    return write_story(folder, *scenes, inn, look='size = "96x64"\nframes = 5\n', finish=finish)


def rehearsed(story: Path) -> tuple[Rehearsed, Store]:
    store = Store(story.parent / ".storyboard")
    return rehearse(read_story(story), store, Options(True)), store


def drawn(finishes: Sequence[Finish]) -> list[Frame]:
    """Their finished frames, one finish after another."""
    with closing(Suite(Place("cpu"))) as suite:
        return [frame for finish in finishes for frame in suite.frames(finish, lambda done: None)]


def wrote(ready: Rehearsed, store: Store, target: str, path: Path) -> int:
    """An export of any target; what it made, in its own unit."""
    if target == "master":
        return keep_master(ready, store, silent)
    return export(ready, store, Export(target, path), silent)


def written(story: Path, target: str, path: Path | None = None) -> tuple[Path, int]:
    ready, store = rehearsed(story)
    place = path or export_path(ready, target)
    return place, export(ready, store, Export(target, place), silent)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered story that tests only read; its film and segments are gone from out/."""
    story = lighthouse(tmp_path_factory.mktemp("rendered"))
    assert render(story).outcome.film is not None
    for path in (story.parent / "out").iterdir():
        path.unlink()
    return story


@pytest.fixture(scope="module")
def frames(rendered: Path) -> list[Frame]:
    """What every export shows."""
    ready, _ = rehearsed(rendered)
    return drawn(finishes_of(ready))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A rendered story to change."""
    story = lighthouse(tmp_path)
    render(story)
    return story


# Formats


@pytest.mark.parametrize("target", HERE)
def test_every_format(target: str, rendered: Path, frames: list[Frame], capfd: pytest.CaptureFixture[str]):
    path, count = written(rendered, target)
    assert path == rendered.parent / "out" / f"story.draft.{target}{FORMATS[target].suffix}"
    assert count == len(frames) == FRAMES
    facts = probe(path)
    assert (facts.codec, facts.pixels, facts.colour) == TAGS[target]
    assert (facts.size, facts.rate) == (SIZE, FPS)
    tick = Fraction(1, 1000) if path.suffix == ".mkv" else 0  # Matroska counts milliseconds
    assert len(facts.pts) == FRAMES
    assert all(abs(time - index / FPS) <= tick for index, time in enumerate(facts.pts))
    assert [title for title, _, _ in facts.chapters] == ["dock", "boat", "inn"]
    assert [(start, end) for _, start, end in facts.chapters] == [
        (0, 10 / FPS),
        (10 / FPS, 18 / FPS),
        (18 / FPS, 28 / FPS),
    ]
    shown = played(path, SIZE)
    if target in LOSSLESS:
        np.testing.assert_array_equal(shown, frames)
    assert max(map(block_difference, shown, frames)) < 1.2
    with av.open(path) as film:
        tags = {key.lower(): value for key, value in film.metadata.items()}
        assert tags["title"] == "story"
        assert "animatic" in tags["comment"]
    assert "".join(capfd.readouterr()) == ""  # x265 and SVT-AV1 print unless told not to


def test_a_sequence_of_pictures(rendered: Path, frames: list[Frame]):
    folder, count = written(rendered, "png")
    assert (folder.name, count) == ("story.draft.png", FRAMES)
    assert sorted(path.name for path in folder.iterdir()) == [f"{n:06d}.png" for n in range(1, FRAMES + 1)]
    for number, frame in enumerate(frames, start=1):
        with Image.open(folder / f"{number:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), frame)
    again = [FFMPEG, "-v", "error", "-i", str(folder / "%06d.png"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(again, capture_output=True, check=True).stdout
    assert raw == b"".join(frame.tobytes() for frame in frames)


def test_quality_is_the_formats_own_or_what_was_asked(rendered: Path, tmp_path: Path):
    ready, store = rehearsed(rendered)
    sizes: list[int] = []
    for crf in (None, 12.0, 40.0):
        export(ready, store, Export("h264", tmp_path / "film.mp4", crf), silent)
        sizes.append((tmp_path / "film.mp4").stat().st_size)
    assert sizes[0] == sizes[1] > 2 * sizes[2]


@pytest.mark.parametrize(
    ("target", "crf", "says"),
    [
        ("hevc", 52, "takes 0 to 51"),
        ("av1", 64, "takes 0 to 63"),
        ("prores", 10, "has no such"),
        ("png", 1, "has no such"),
    ],
)
def test_a_quality_that_is_none_is_a_mistake(target: str, crf: float, says: str, rendered: Path, tmp_path: Path):
    ready, store = rehearsed(rendered)
    with pytest.raises(typer.BadParameter, match=f"--crf {crf}: {target} {says}"):
        export(ready, store, Export(target, tmp_path / "film", crf), silent)
    assert list(tmp_path.iterdir()) == []


def test_every_encoder_works_and_says_nothing(capfd: pytest.CaptureFixture[str]):
    assert [name for name in HERE if not works(name)] == []
    assert "".join(capfd.readouterr()) == ""


def test_an_encoder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(post.encode.FORMATS, "none", replace(FORMATS["h264"], encoder="libnone"))
    assert not works("none")
    with pytest.raises(EncoderMissing, match="no libnone"):
        SegmentFile(tmp_path / "film.mp4", Encode("none"), SIZE, FPS)


def test_the_command(rendered: Path, tmp_path: Path):
    run = CliRunner().invoke(app, ["export", str(rendered), "--to", "prores", "-o", str(tmp_path / "film.mov")])
    assert (run.exit_code, run.stdout) == (0, f"{tmp_path / 'film.mov'}\n")
    assert len(probe(tmp_path / "film.mov").pts) == FRAMES
    wrong = CliRunner().invoke(app, ["export", str(rendered), "--to", "hevc", "--crf", "60"])
    assert (wrong.exit_code, "takes 0 to 51" in wrong.output) == (2, True)
    asked = CliRunner().invoke(app, ["export", str(rendered), "--to", "prores", "-o", str(tmp_path)])
    assert asked.exit_code == 2
    assert "is a folder: name a file with --output" in asked.output


# Other rates


@pytest.mark.parametrize("fps", [24, 25, 30])
@pytest.mark.parametrize("target", [*HERE, "png"])
def test_a_conformed_film_is_as_long_as_the_film(target: str, fps: int, rendered: Path, tmp_path: Path):
    """28 frames at 32: 0.875 s, to a frame of the rate asked for; 5, 4 and 5 source frames at 16."""
    ready, store = rehearsed(rendered)
    place = export_path(ready, target, Fraction(fps))
    suffix = FORMATS[target].suffix if target in FORMATS else ""
    assert place.name == f"story.draft.{fps}fps.{target}{suffix}"
    path = tmp_path / place.name
    count = export(ready, store, Export(target, path, fps=Fraction(fps)), silent)
    assert count == 14 * fps // 16
    assert 0 <= FRAMES / FPS - Fraction(count, fps) < Fraction(1, fps)
    if target == "png":
        assert len(list(path.iterdir())) == count
        return
    facts = probe(path)
    assert (facts.codec, facts.pixels, facts.colour) == TAGS[target]
    assert (facts.size, facts.rate, len(facts.pts)) == (SIZE, fps, count)
    tick = Fraction(1, 1000) if path.suffix == ".mkv" else 0
    assert all(abs(time - Fraction(index, fps)) <= tick for index, time in enumerate(facts.pts))
    assert [title for title, _, _ in facts.chapters] == ["dock", "boat", "inn"]
    seams = [Fraction(frame, fps) for frame in (5 * fps // 16, 9 * fps // 16, count)]
    assert all(abs(end - seam) <= tick for (_, _, end), seam in zip(facts.chapters, seams, strict=True))
    assert len(played(path, SIZE)) == count


def test_a_conformed_film_shows_the_clips_own_frames_and_draws_the_rest(rendered: Path, frames: list[Frame]):
    """At 24 of 16 every third frame lies on one of a clip's: it is that, to the bit. None is shown twice."""
    ready, store = rehearsed(rendered)
    path = rendered.parent / "out" / "own.mkv"
    count = export(ready, store, Export("ffv1", path, fps=Fraction(24)), silent)
    shown = list(read_video(path, 0, count))
    for number in range(3, count + 1, 3):
        np.testing.assert_array_equal(shown[number - 1], frames[number * 4 // 3 - 1])
    moving = shown[: 9 * 24 // 16]  # the inn holds still
    assert all((before != after).any() for before, after in pairwise(moving))
    with av.open(path) as film:
        tags = {key.lower(): value for key, value in film.metadata.items()}
        assert tags["comment"].endswith("; conformed from 32 to 24 fps by flow")


def test_the_films_own_rate_is_the_film(rendered: Path, tmp_path: Path, frames: list[Frame]):
    """A rate of the film's own draws nothing anew."""
    ready, _ = rehearsed(rendered)
    finishes = finishes_of(ready)
    assert conformed(finishes, FPS) == finishes
    assert conformed(finishes, Fraction(48))[0].interpolate == Interpolate(Flow(), 3)  # three for one is interpolation
    assert conformed(finishes, Fraction(16))[0].interpolate is None


def test_a_fade_lasts_as_long_at_another_rate():
    """To a frame, and one at least: here half a second and a thirty-second of one, at 32 a second."""
    film = dissolving([(16, 0), (16, 0)], 16, 2)
    white = (255, 255, 255)
    for frames, wanted in ((16, {24: 12, 25: 12, 30: 15, 48: 24}), (1, {24: 1, 25: 1, 30: 1, 48: 2})):
        fades = [replace(film[0], closes=FadeOut(frames, white)), replace(film[1], opens=FadeIn(frames, white))]
        for fps, count in wanted.items():
            out, in_ = conformed(fades, Fraction(fps))
            assert (out.opens, out.closes) == (None, FadeOut(count, white))
            assert (in_.opens, in_.closes) == (FadeIn(count, white), None)
            assert out.frames + in_.frames == fps * 2


def test_a_rate_that_leaves_nothing_of_a_scene_is_refused(own: Path):
    own.write_text(own.read_text().replace("frames = 5\n", "frames = 5\nfps = 120\n"))
    render(own)
    ready, store = rehearsed(own)
    with pytest.raises(typer.BadParameter, match=r"--fps 24: nothing is left of boat: take a higher rate"):
        export(ready, store, Export("h264", own.parent / "film.mp4", fps=Fraction(24)), silent)


Plays = list[tuple[int, int]]
"""Scenes: source frames, and over how many each dissolves from the one before."""


def dissolving(scenes: Plays, source: int, factor: int) -> list[Finish]:
    """The finishes of a film of scenes, none of them chained."""
    folder = Path("kept")
    clips = [Clip("0", frames, Fraction(source), (64, 48), Still("1", folder), folder) for frames, _ in scenes]
    over = [0, *(dissolves * factor for _, dissolves in scenes[1:]), 0]
    rule = Interpolate(Flow(), factor) if factor > 1 else None
    return [
        Finish(
            Span(clip, 0, clip.frames),
            None,
            None,
            rule,
            MASTER,
            Dissolve(over[index], tail_of(clips[index - 1], over[index], rule)) if over[index] else None,
            Shortened(over[index + 1]) if over[index + 1] else None,
        )
        for index, clip in enumerate(clips)
    ]


roomy = st.tuples(st.integers(10, 60), st.integers(0, 3))
# One half of each lies under the dissolve before it, the other under the one after; then two with room.
all_dissolves = st.tuples(st.integers(2, 6), st.integers(0, 8)).map(
    lambda of: [*[(2 * of[0], of[0])] * of[1], (40, of[0]), (40, 8)]
)


@given(
    st.lists(roomy, min_size=1, max_size=6),
    all_dissolves,
    st.lists(roomy, max_size=6),
    st.sampled_from([16, 24, 10, 30]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([24, 25, 30]),
)
def test_a_film_of_many_dissolves_keeps_its_duration(
    first: Plays, middle: Plays, last: Plays, source: int, factor: int, fps: int
):
    """However their roundings fall, and though a scene that is all dissolves may have no room for one."""
    film = dissolving([*first, *middle, *last], source, factor)
    made = conformed(film, Fraction(fps))
    lasts, wanted = sum(f.frames for f in made) / Fraction(fps), sum(f.frames for f in film) / film[0].fps
    assert abs(lasts - wanted) < Fraction(1, fps)
    for before, after in pairwise(made):  # what one gives up the next draws, from as many frames as that takes
        given_up = before.closes.frames if before.closes else 0
        assert given_up == (after.opens.frames if isinstance(after.opens, Dissolve) else 0)
    assert all(f.frames >= (f.opens.frames if isinstance(f.opens, Dissolve) else 1) for f in made)


# More than eight bits


@pytest.fixture
def ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A net that draws a ramp of 13 levels of 8 bits, a fraction of one from pixel to pixel, whatever it is given."""

    def opened(*_: object) -> Callable[[torch.Tensor], torch.Tensor]:
        levels = torch.linspace(0.4, 0.45, SIZE[0]).expand(3, SIZE[1], SIZE[0])
        return lambda images: levels.expand(len(images), *levels.shape)

    monkeypatch.setattr("post.upscale.open_enlarger", opened, raising=False)


def by_a_net(story: Path) -> tuple[Rehearsed, Store]:
    ready, store = rehearsed(story)
    net = Upscale(RealESRGAN("a net", Path("net.pth")), SIZE)
    for name, finish in ready.crew.finishes.items():
        ready.crew.finishes[name] = replace(finish, upscale=net, interpolate=None)
    return ready, store


@pytest.mark.usefixtures("ramp")
@pytest.mark.parametrize("target", [name for name in HERE if FORMATS[name].bits == 10])
def test_ten_bits_are_ten_bits_all_the_way(target: str, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Though a master is kept, which has eight."""
    ready, store = by_a_net(own)
    keep_master(ready, store, silent)
    written: list[Picture] = []
    write = Encoder.write
    monkeypatch.setattr(Encoder, "write", lambda self, picture: (written.append(picture), write(self, picture)))
    path = tmp_path / f"film{FORMATS[target].suffix}"
    export(ready, store, Export(target, path, 0.0 if FORMATS[target].crf_most else None), silent)
    assert all(isinstance(picture, Planes) and picture.y.dtype == np.uint16 for picture in written)
    pixels = TAGS[target][1]
    frame = np.frombuffer(planes(path, pixels), "<u2").reshape(14, -1)[3]
    luma = frame[: SIZE[0] * SIZE[1]].reshape(SIZE[1], SIZE[0]).mean(axis=0) / (4 if "12" in pixels else 1)
    exact = np.linspace(0.4, 0.45, SIZE[0]) * 876 + 64
    assert np.abs(luma - exact).max() < 2  # SVT-AV1 alone is off by more than one
    assert len(np.unique(luma.round())) > 40  # of eight bits there are 13


@pytest.mark.usefixtures("ramp")
def test_what_holds_eight_bits_is_read_from_the_master(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ready, store = by_a_net(own)
    keep_master(ready, store, silent)
    exact = np.rint(np.linspace(0.4, 0.45, SIZE[0]) * 255)

    def never(*_: object) -> Iterator[Frame]:
        raise AssertionError("frames were finished again")

    monkeypatch.setattr(Suite, "pictures", never)
    assert export(ready, store, Export("h264", tmp_path / "film.mp4"), silent) == 14
    assert export(ready, store, Export("ffv1", tmp_path / "film.mkv"), silent) == 14
    for frame in read_video(tmp_path / "film.mkv", 0, 14):
        assert np.abs(frame[0, :, 0] - exact).max() <= 1  # half a level may fall either way
        assert (frame == frame[:1, :, :1]).all()
    with pytest.raises(AssertionError, match="finished again"):
        export(ready, store, Export("hevc", tmp_path / "deep.mp4"), silent)


# Stills


def test_a_still_of_each_scene(rendered: Path, tmp_path: Path):
    ready, store = rehearsed(rendered)
    folder = export_path(ready, "stills")
    assert folder.name == "story.draft-stills"
    assert export(ready, store, Export("stills", folder), silent) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["01-dock.png", "02-boat.png", "03-inn.png"]
    for number, (finish, middle) in enumerate(zip(finishes_of(ready), (2, 3, 2), strict=True), start=1):
        clip = list(read_video(finish.span.clip.path / CLIP_FILE, 0, finish.span.clip.frames))
        (path,) = folder.glob(f"{number:02d}-*.png")
        with Image.open(path) as picture:
            np.testing.assert_array_equal(np.asarray(picture), clip[middle])
            assert picture.text["Title"] == ready.story.scenes[number - 1].name
            assert picture.text["Description"].startswith("a ")
            assert picture.text["Comment"] == f"seed {ready.story.scenes[number - 1].seed}, frame {middle} of 5"
    run = CliRunner().invoke(app, ["export", str(rendered), "--to", "stills", "-o", str(tmp_path / "stills")])
    assert (run.exit_code, run.stdout) == (0, f"{tmp_path / 'stills'}\n")
    assert "3 stills" in run.stderr
    (tmp_path / "stills" / "beach.png").write_bytes(b"mine")
    with pytest.raises(typer.BadParameter, match="is there and is no folder of stills"):
        export(ready, store, Export("stills", tmp_path / "stills"), silent)


def test_a_still_of_a_damaged_clip_is_none(own: Path):
    ready, store = rehearsed(own)
    clip = finishes_of(ready)[1].span.clip.path / CLIP_FILE
    facts = clip.stat()
    data = bytearray(clip.read_bytes())
    data[len(data) * 9 // 10] ^= 1  # past the middle frame
    clip.write_bytes(data)
    os.utime(clip, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(DamagedFile, match="set aside: run `storyboard render`"):
        export(ready, store, Export("stills", own.parent / "stills"), silent)
    assert not (own.parent / "stills").exists()


# The master


def test_a_master_is_kept_once_and_read_by_later_exports(own: Path, monkeypatch: pytest.MonkeyPatch):
    ready, store = rehearsed(own)
    exact = drawn(finishes_of(ready))
    told: list[str] = []
    size = keep_master(ready, store, lambda scene, done: told.append(scene))
    assert list(dict.fromkeys(told)) == ["dock", "boat", "inn"]

    def never(*_: object) -> Iterator[Frame]:
        raise AssertionError("frames were finished again")

    monkeypatch.setattr(Suite, "pictures", never)
    told.clear()
    assert keep_master(ready, store, lambda scene, done: told.append(scene)) == size
    assert told == []
    path, count = written(own, "ffv1")
    assert count == FRAMES
    np.testing.assert_array_equal(list(read_video(path, 0, count)), exact)
    folder, _ = written(own, "png")
    assert len(list(folder.iterdir())) == FRAMES


def test_gc_keeps_the_master(own: Path):
    ready, store = rehearsed(own)
    size = keep_master(ready, store, silent)
    sweep(store, "draft", dry_run=False)
    ready, store = rehearsed(own)
    told: list[str] = []
    assert keep_master(ready, store, lambda scene, done: told.append(scene)) == size
    assert told == []


# What is refused, and what is left


def test_an_export_before_a_render_is_refused_with_the_remedy(tmp_path: Path):
    story = lighthouse(tmp_path)
    ready, store = rehearsed(story)
    for target in TARGETS:
        with pytest.raises(NotRendered, match=r"not rendered yet: dock, boat, inn\. .* run `storyboard render` first"):
            wrote(ready, store, target, tmp_path / "out" / "film")
    assert not (tmp_path / "out").exists()


def test_an_export_of_a_film_that_lacks_one_scene_names_it(own: Path):
    own.write_text(
        own.read_text()
        .replace('prompt = "a inn"', 'prompt = "an old inn"\ncamera = "roll left"', 1)
        .replace('camera = "hold"\n', "", 1)
    )
    with pytest.raises(NotRendered, match="not rendered yet: inn"):
        written(own, "h264")


def test_a_damaged_picture_is_named(own: Path):
    """Which clip is the scene's cannot be told without it."""
    picture = own.parent / "dock.png"
    picture.write_bytes(picture.read_bytes()[:150])
    ready, store = rehearsed(own)
    for target in TARGETS:
        with pytest.raises(SceneFailed, match=r'scene "dock": .*dock.png cannot be decoded'):
            wrote(ready, store, target, own.parent / "film")
    run = CliRunner().invoke(app, ["export", str(own), "--to", "h264"])
    assert (run.exit_code, "dock.png cannot be decoded" in run.output) == (3, True)


def failing(frames: int) -> object:
    def finished(*_: object) -> Iterator[Frame]:
        for _ in range(frames):
            yield np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        raise RuntimeError("the device is gone")

    return finished


@pytest.mark.parametrize("target", [*HERE, "png"])
@pytest.mark.parametrize("before", [0, 7])
def test_a_failure_leaves_what_was_there(
    target: str, before: int, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ready, store = rehearsed(rendered)
    monkeypatch.setattr(Suite, "pictures", failing(before))
    place = tmp_path / f"film{FORMATS[target].suffix if target in FORMATS else ''}"
    with pytest.raises(RuntimeError, match="the device is gone"):
        export(ready, store, Export(target, place), silent)
    assert list(tmp_path.iterdir()) == []
    if target == "png":
        place.mkdir()
        (place / "000001.png").write_bytes(b"old")
    else:
        place.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="the device is gone"):
        export(ready, store, Export(target, place), silent)
    assert list(tmp_path.iterdir()) == [place]
    assert (place / "000001.png" if target == "png" else place).read_bytes() == b"old"


def test_only_a_sequence_is_replaced_by_a_sequence(rendered: Path, tmp_path: Path):
    ready, store = rehearsed(rendered)
    holiday = tmp_path / "pictures"
    holiday.mkdir()
    (holiday / "beach.png").write_bytes(b"mine")
    for target in ("png", "h264"):
        with pytest.raises(typer.BadParameter, match="--output"):
            export(ready, store, Export(target, holiday), silent)
    with pytest.raises(typer.BadParameter, match="no PNG sequence"):
        export(ready, store, Export("png", holiday / "beach.png"), silent)
    assert (holiday / "beach.png").read_bytes() == b"mine"
    longer = tmp_path / "sequence"
    longer.mkdir()
    for number in (1, 500, 1_000_000):
        (longer / f"{number:06d}.png").write_bytes(b"old")
    assert export(ready, store, Export("png", longer), silent) == FRAMES
    assert len(list(longer.iterdir())) == FRAMES


@pytest.mark.parametrize(
    ("target", "name", "says"),
    [
        ("h264", "out/{film}", "own file"),
        ("h264", "out/{scene}.draft.mp4", "own file"),
        ("h264", "out/../out/{film}", "own file"),
        ("ffv1", "story.toml", "goes into a .mkv file"),
        ("prores", "film.mp4", "goes into a .mov file"),
    ],
)
def test_nothing_but_an_export_is_overwritten(rendered: Path, target: str, name: str, says: str):
    ready, store = rehearsed(rendered)
    names = {"film": ready.story.film.name, "scene": ready.story.scenes[0].name}
    place = rendered.parent / name.format(**names)
    before = place.read_bytes() if place.exists() else None
    with pytest.raises(typer.BadParameter, match=says):
        export(ready, store, Export(target, place), silent)
    assert (place.read_bytes() if place.exists() else None) == before


def test_no_link_and_no_folder_that_one_is_in_is_replaced(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ready, store = rehearsed(rendered)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "empty")
    for target, place in product(("png", "stills", "edl"), (Path("."), tmp_path / "link")):  # noqa: PTH201 (as typed)
        with pytest.raises(typer.BadParameter, match=f"--output {place}: name a folder of its own"):
            export(ready, store, Export(target, place), silent)
    assert (tmp_path / "link").is_symlink()


def test_the_folder_before_is_gone_once_the_new_one_is_there(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that cannot be removed costs nothing but its room, until the next export removes it."""
    ready, store = rehearsed(rendered)
    place = tmp_path / "stills"
    export(ready, store, Export("stills", place), silent)
    (place / ".DS_Store").write_bytes(b"of the first")
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(ready, store, Export("stills", place), silent)
    monkeypatch.undo()
    assert len(list(place.iterdir())) == 3
    (left,) = set(tmp_path.iterdir()) - {place}
    for path in (*left.iterdir(), left):
        os.utime(path, (0, 0))
    export(ready, store, Export("stills", place), silent)
    assert list(tmp_path.iterdir()) == [place]


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_stills_take_the_room_of_stills(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ready, store = rehearsed(rendered)
    monkeypatch.setattr(storyboard.targets, "free_bytes", lambda path: 3 * 96 * 64 * 2)
    assert export(ready, store, Export("stills", tmp_path / "stills"), silent) == 3
    with pytest.raises(MachineLacks, match="of disk are needed"):
        export(ready, store, Export("h264", tmp_path / "film.mp4"), silent)


@pytest.mark.parametrize("target", ["png", "master"])
def test_a_disk_without_room_is_found_before(
    target: str, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ready, store = rehearsed(rendered)
    monkeypatch.setattr(storyboard.targets, "free_bytes", lambda path: 1000)
    with pytest.raises(MachineLacks, match=r"about 1\.\d MB of disk are needed and 0\.1 MB are free"):
        wrote(ready, store, target, tmp_path / "film")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> Iterator[Frame]:
        raise OSError(28, "No space left on device")
        yield  # pragma: no cover

    ready, store = rehearsed(rendered)
    monkeypatch.setattr(Suite, "pictures", full)
    with pytest.raises(MachineLacks, match="the disk is full"):
        export(ready, store, Export("h264", tmp_path / "film.mp4"), silent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["h264", "png", "master"])
def test_a_damaged_clip_is_set_aside_and_made_anew(target: str, own: Path):
    ready, store = rehearsed(own)
    clip = finishes_of(ready)[1].span.clip.path / CLIP_FILE
    facts = clip.stat()
    data = bytearray(clip.read_bytes())
    data[len(data) // 2] ^= 1
    clip.write_bytes(data)
    os.utime(clip, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # bad memory or a bad disk changes no date
    place = own.parent / "film.mp4"
    with pytest.raises(DamagedFile, match="set aside: run `storyboard render`"):
        wrote(ready, store, target, place)
    assert not clip.exists()
    assert not place.exists()
    assert render(own).rendered == ["boat"]
    assert written(own, "h264")[1] == FRAMES


def test_a_damaged_master_is_made_again_from_the_clip(own: Path):
    ready, store = rehearsed(own)
    keep_master(ready, store, silent)
    for path in (store.root / "segments").rglob("segment.mkv"):
        path.write_bytes(path.read_bytes()[:-300])
    path, count = written(own, "ffv1")
    exact = drawn(finishes_of(ready))
    np.testing.assert_array_equal(list(read_video(path, 0, count)), exact)


def test_a_master_that_proves_damaged_only_when_read(own: Path):
    """`render` makes none: the remedy is what does."""
    ready, store = rehearsed(own)
    keep_master(ready, store, silent)
    path = next((store.root / "segments").rglob("segment.mkv"))
    said = r"set aside: run `storyboard export --to master`, which"
    with pytest.raises(DamagedFile, match=said), store.damage_set_aside():
        raise DamagedFile(path, "does not decode")
    assert not path.exists()


# Soundtracks


def tone(seconds: float, rate: int = RATE, channels: int = 2) -> np.ndarray:
    """A sine a channel, at half of full scale; it rises, so that each moment has its own pitch."""
    times = np.arange(round(seconds * rate)) / rate
    turns = 200 * times + 150 * times**2
    return np.stack([np.sin(2 * np.pi * (1 + c) * turns) / 2 for c in range(channels)]).astype(np.float32)


def write_sound(path: Path, sound: np.ndarray, codec: str, rate: int = RATE) -> Path:
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
    with av.open(path, "w") as container:
        try:
            stream = container.add_stream(codec, rate=rate, layout=layout)
        except (FFmpegError, ValueError) as error:
            pytest.skip(f"this build of FFmpeg writes no {codec} ({error})")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_all(path: Path, length: int) -> np.ndarray:
    return np.concatenate([np.zeros((2, 0), np.float32), *samples(path, length)], axis=1)


def decoded(path: Path) -> np.ndarray:
    """Stereo floats as another FFmpeg decodes them."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:a", "-f", "f32le", "-ac", "2", "-ar", str(RATE), "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, 2).T


SOUNDS = [("wav", "pcm_s16le"), ("wav", "pcm_s24le"), ("wav", "pcm_f32le"), ("flac", "flac"), ("mp3", "libmp3lame")]


@pytest.mark.parametrize(("suffix", "codec"), SOUNDS)
@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 2), (44100, 1), (22050, 1)])
def test_any_sound_is_read_whole(suffix: str, codec: str, rate: int, channels: int, tmp_path: Path):
    path = write_sound(tmp_path / f"sea.{suffix}", tone(1.3, rate, channels), codec, rate)
    assert soundtrack_seconds(path) == pytest.approx(1.3, abs=0.06)
    made = read_all(path, 10 * RATE)
    assert made.shape == (2, pytest.approx(1.3 * RATE, abs=2))
    if channels == 1:
        np.testing.assert_array_equal(made[0], made[1])
    if channels == 2:
        wanted = tone(1.3)[:, : made.shape[1]]
        inner = np.s_[:, 2000 : wanted.shape[1] - 2000]
        assert np.abs(made[inner] - wanted[inner]).max() < 0.05


@pytest.mark.parametrize(("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac")])
def test_surround_sound_is_mixed_down(suffix: str, codec: str, tmp_path: Path):
    path = write_sound(tmp_path / f"sea.{suffix}", tone(1.3, channels=6), codec)
    assert read_all(path, 10 * RATE).shape == (2, round(1.3 * RATE))


def test_a_longer_sound_is_cut_and_faded(tmp_path: Path):
    sound = tone(5)
    path = write_sound(tmp_path / "sea.wav", sound, "pcm_f32le")
    made = read_all(path, 3 * RATE)
    assert made.shape == (2, 3 * RATE)
    np.testing.assert_array_equal(made[:, : 2 * RATE], sound[:, : 2 * RATE])
    loud = np.abs(sound[0, 2 * RATE : 3 * RATE]) > 0.3
    envelope = (made[0, 2 * RATE :] / sound[0, 2 * RATE : 3 * RATE])[loud]
    assert envelope[0] > 0.98
    assert envelope[-1] < 0.02
    assert (np.diff(envelope) < 0).all()


def test_a_shorter_sound_is_left_as_it_is(tmp_path: Path):
    for seconds in (2.4, 3.0):  # it ends in the film's last second, or with it: nothing is cut
        sound = tone(seconds)
        path = write_sound(tmp_path / "sea.wav", sound, "pcm_f32le")
        np.testing.assert_array_equal(read_all(path, 3 * RATE), sound)


def test_a_little_too_long_fades_only_as_long_as_it_is_too_long(tmp_path: Path):
    sound = tone(3.01)
    path = write_sound(tmp_path / "sea.wav", sound, "pcm_f32le")
    made = read_all(path, 3 * RATE)
    assert made.shape == (2, 3 * RATE)
    np.testing.assert_array_equal(made[:, :-480], sound[:, : 3 * RATE - 480])
    assert np.abs(made[:, -1]).max() < 0.01


def test_a_film_shorter_than_the_fade(tmp_path: Path):
    path = write_sound(tmp_path / "sea.wav", tone(2), "pcm_f32le")
    for length in (1, 100, RATE // 2):
        assert read_all(path, length).shape == (2, length)


def test_sound_that_cannot_be_decoded_is_named(tmp_path: Path):
    path = tmp_path / "sea.flac"
    assert soundtrack_seconds(path) is None
    with pytest.raises(DamagedFile, match=r"sea\.flac: its sound cannot be decoded"):
        read_all(path, RATE)
    for data in (b"", b"no sound", b"RIFF\x10\0\0\0WAVEfmt "):
        path.write_bytes(data)
        assert soundtrack_seconds(path) is None
        with pytest.raises(DamagedFile, match=r"sea\.flac: "):
            read_all(path, RATE)


def test_tags_in_an_old_encoding_are_no_matter(tmp_path: Path):
    """WAV files from Windows carry Latin-1; read strictly, they could not be opened."""
    path = write_sound(tmp_path / "sea.wav", tone(1), "pcm_s16le")
    info = b"INFOIART\x06\0\0\0Bj\xf6rk\0"
    data = bytearray(path.read_bytes() + b"LIST" + len(info).to_bytes(4, "little") + info)
    data[4:8] = (len(data) - 8).to_bytes(4, "little")
    path.write_bytes(data)
    assert soundtrack_seconds(path) == pytest.approx(1)
    assert read_all(path, 2 * RATE).shape == (2, RATE)


@pytest.mark.parametrize(("suffix", "codec"), [("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("flac", "flac")])
@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_film_with_a_soundtrack(suffix: str, codec: str, seconds: float, tmp_path: Path):
    """The sound lies where it should, to the sample, and is as long as the film, within one AAC frame."""
    story = lighthouse(tmp_path, f'{FINISH}soundtrack = "sea.{suffix}"\n')
    sound = tone(seconds, 44100)
    write_sound(tmp_path / f"sea.{suffix}", sound, codec, 44100)
    film = render(story).outcome.film
    assert film is not None
    with av.open(film) as container:
        audio, video = container.streams.audio[0], container.streams.video[0]
        assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", RATE, "stereo")
        assert video.duration * video.time_base == FRAMES / FPS
        lasts = min(Fraction(seconds), FRAMES / FPS)
        assert abs(audio.duration * audio.time_base - lasts) <= Fraction(1024, RATE)
        assert container.duration / 1e6 == pytest.approx(FRAMES / FPS, abs=1024 / RATE)
    assert probe(film).pts == tuple(index / FPS for index in range(FRAMES))
    made, wanted = decoded(film), read_all(tmp_path / f"sea.{suffix}", round(FRAMES / FPS * RATE))
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() < 0.08  # not a sample late, and no click where it begins


@pytest.mark.parametrize(("target", "codec"), [("prores", "pcm_s16le"), ("ffv1", "flac"), ("av1", "aac")])
def test_exports_carry_the_sound(target: str, codec: str, tmp_path: Path):
    story = lighthouse(tmp_path, f'{FINISH}soundtrack = "sea.wav"\n')
    write_sound(tmp_path / "sea.wav", tone(3, channels=1), "pcm_s16le")
    render(story)
    path, _ = written(story, target)
    wanted = read_all(tmp_path / "sea.wav", round(FRAMES / FPS * RATE))
    with av.open(path) as container:
        assert container.streams.audio[0].codec_context.name == codec
    made = decoded(path)
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() < (0.08 if codec == "aac" else 1 / 32000)


def test_interleaving_keeps_sound_beside_its_pictures(tmp_path: Path):
    """A player that streams finds the sound of a moment near its picture, not after the last one."""
    story = lighthouse(tmp_path, f'{FINISH}soundtrack = "sea.wav"\n')
    write_sound(tmp_path / "sea.wav", tone(3), "pcm_s16le")
    film = render(story).outcome.film
    assert film is not None
    assert _worst_lead(film) < 0.25


def _worst_lead(film: Path) -> float:
    """How far, in seconds, one stream's packets run ahead of the other's in the file."""
    at: dict[str, float] = {"video": 0.0, "audio": 0.0}
    worst = 0.0
    with av.open(film) as container:
        streams: Sequence[object] = [container.streams.video[0], container.streams.audio[0]]
        for packet in container.demux(*streams):
            if packet.size:
                at[packet.stream.type] = float(packet.dts * packet.time_base)
                worst = max(worst, abs(at["video"] - at["audio"]))
    return worst


def test_a_playlist_is_no_soundtrack(tmp_path: Path):
    """It would name other files, which a story given as data may not reach."""
    playlist = tmp_path / "sea.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    assert soundtrack_seconds(playlist) is None
