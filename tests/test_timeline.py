"""Timelines: read back by another hand, with every clip, rate, marker and dissolve, their media where they say."""

from __future__ import annotations

import os
import re
import shutil
import sys
import wave
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import av
import numpy as np
import opentimelineio as otio
import pytest
import skimage.data
import typer
from PIL import Image
from typer.testing import CliRunner

from post.sound import RATE
from post.suite import Suite
from post.transition import Dissolve, mixed
from scenes.files import read_video
from scenes.footage import Frame
from scenes.shot import MachineLacks
from storyboard.cli import app
from storyboard.conforming import conformed
from storyboard.export import export, finishes_of
from storyboard.options import Options
from storyboard.rehearsal import Rehearsed, rehearse
from storyboard.store import Store
from storyboard.story import read_story
from storyboard.targets import TIMELINES, Export, export_path
from storyboard.timeline import START, Timeline, said, timecode, timeline_of
from tests.playing import played, probe
from tests.stories import render, scene, write_story
from tests.test_export import FINISH, decoded, drawn, silent, tone, write_sound

SIZE = (192, 128)
PROMPT = 'A dock, "misty"\nat dawn & <cold>, 朝'
RATES = [None, Fraction(24), Fraction(25), Fraction(30)]
FOLDERS = ("otio", "fcpxml", "edl")
# The adapter for Final Cut asks elements for their truth, of which Python 3.12 and later warn.
QUIET = pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")


def lighthouse(folder: Path, finish: str = FINISH, sound: bool = True) -> Path:
    """dock -> boat, then an inn it dissolves into, and the sea out of black."""
    for name, picture in (("dock", "astronaut"), ("inn", "coffee"), ("sea", "chelsea")):
        Image.fromarray(getattr(skimage.data, picture)()).resize((96, 64)).save(folder / f"{name}.png")
    if sound:
        write_sound(folder / "sea.wav", tone(0.9), "pcm_s16le")
        finish += 'soundtrack = "sea.wav"\n'
    scenes = [
        scene("dock", image="dock.png", camera="push in", prompt=PROMPT, seed=7),
        scene("boat", camera="pan left"),
        scene("inn", image="inn.png", camera="hold", seam="dissolve 0.25s"),
        scene("open_sea-2", image="sea.png", camera="pan right", seam="fade black 0.5s"),
    ]
    return write_story(folder, *scenes, look='size = "96x64"\nframes = 13\n', finish=finish)


def rehearsed(story: Path) -> tuple[Rehearsed, Store]:
    store = Store(story.parent / ".storyboard")
    return rehearse(read_story(story), store, Options(True)), store


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered story that tests only read."""
    story = lighthouse(tmp_path_factory.mktemp("rendered"))
    assert render(story).outcome.film is not None
    return story


@dataclass(frozen=True)
class Made:
    """A timeline on disk: `path` is the file that is opened."""

    path: Path
    frames: int
    said: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.path.parent


def written(story: Path, target: str, place: Path, fps: Fraction | None = None, media: str = "prores") -> Made:
    ready, store = rehearsed(story)
    wanted = Export(target, place, fps=fps, media=media)
    heard: list[str] = []
    frames = export(ready, store, wanted, silent, heard.append)
    return Made(wanted.opens, frames, tuple(heard))


Once = Callable[..., Made]


@pytest.fixture(scope="module")
def once(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A timeline of the rendered story that tests only read: each is written once."""

    @cache
    def make(target: str, fps: Fraction | None, media: str = "prores") -> Made:
        return written(rendered, target, tmp_path_factory.mktemp("once") / "cut", fps, media)

    return make


def expected(story: Path, fps: Fraction, suffix: str = ".mov") -> Timeline:
    """The timeline as data, at a rate."""
    ready, _ = rehearsed(story)
    return timeline_of(ready.story, conformed(finishes_of(ready), fps), suffix)


# Each format, read by OpenTimelineIO and its adapters


@pytest.mark.parametrize("fps", RATES)
def test_otio(fps: Fraction | None, rendered: Path, tmp_path: Path):
    made = written(rendered, "otio", tmp_path / "cut", fps)
    assert made.path == tmp_path / "cut" / "cut.otio"
    assert any("few editors play: --fps 24 conforms it" in text for text in made.said) == (fps is None)
    read: Any = otio.adapters.read_from_file(str(made.path))
    _check_otio(read, expected(rendered, fps or Fraction(32)), made.frames)
    _check_media(made.folder, expected(rendered, fps or Fraction(32)))


def _check_otio(read: Any, wanted: Timeline, frames: int) -> None:
    rate = float(wanted.fps)
    assert (read.name, read.duration()) == ("story", otio.opentime.RationalTime(frames, rate))
    assert read.global_start_time == otio.opentime.RationalTime(START * rate, rate)
    video, audio = read.tracks
    assert (video.kind, audio.kind) == ("Video", "Audio")
    clips = list(video.find_clips())
    assert [clip.name for clip in clips] == ["dock", "boat", "inn", "open_sea-2"]
    for clip, shown in zip(clips, wanted.clips, strict=True):
        source, media = clip.source_range, clip.media_reference
        assert source.start_time.rate == source.duration.rate == rate
        assert media.target_url == f"media/{shown.file}"
        assert media.available_range.start_time.value == shown.starts
        assert media.available_range.duration.value == shown.frames
        assert source.start_time.value == shown.starts + shown.opens // 2
        assert _within(source, media.available_range)
        assert _markers(clip) == [(m.name, m.colour, shown.starts + m.frame, m.text) for m in shown.markers]
        assert all(_within(marker.marked_range, source) for marker in clip.markers)
    assert dict(clips[0].metadata["storyboard"])["prompt"] == PROMPT
    (dissolve,) = [item for item in video if isinstance(item, otio.schema.Transition)]
    inn = wanted.clips[2]
    assert dissolve.transition_type == "SMPTE_Dissolve"
    assert (dissolve.in_offset + dissolve.out_offset).value == inn.opens
    # It begins where the incoming scene begins: before the cut by as much as its media reach before it.
    assert video.range_of_child(clips[2]).start_time.value - dissolve.in_offset.value == inn.at
    (sound,) = audio
    assert (sound.media_reference.target_url, sound.source_range.duration.value) == ("media/sound.wav", frames)


def _within(inner: Any, outer: Any) -> bool:
    ends = inner.end_time_exclusive() <= outer.end_time_exclusive()
    return inner.start_time >= outer.start_time and ends


def _markers(clip: Any) -> list[tuple[str, str, int, str]]:
    return [(m.name, m.color, int(m.marked_range.start_time.value), m.comment) for m in clip.markers]


def test_the_markers_say_what_each_scene_and_seam_is(rendered: Path):
    clips = expected(rendered, Fraction(24)).clips
    assert [(m.name, m.text) for clip in clips[:2] for m in clip.markers] == [
        ("dock", 'seed 7: A dock, "misty" at dawn & <cold>, 朝'),
        ("seam to boat", "boat opens on dock's last frame, pixel for pixel"),
        ("boat", f"seed {clips[1].scene.seed}: a boat"),
    ]
    assert clips[0].markers[1].frame == clips[0].frames - 1
    assert clips[2].markers[0].frame == clips[2].opens // 2  # where it begins to be seen more than the one before


@pytest.mark.parametrize("fps", [None, Fraction(25)])
def test_otioz(fps: Fraction | None, rendered: Path, tmp_path: Path):
    made = written(rendered, "otioz", tmp_path / "cut.otioz", fps, "h264")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.otioz"]
    with zipfile.ZipFile(made.path) as bundle:
        assert bundle.testzip() is None
        stored = {info.filename for info in bundle.infolist() if info.compress_type == zipfile.ZIP_STORED}
        assert stored == {name for name in bundle.namelist() if name.startswith("media/")}
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    adapter = otio.adapters.from_name("otioz")
    read: Any = adapter.read_from_file(str(made.path), extract_to_directory=str(unpacked))
    wanted = expected(rendered, fps or Fraction(32), ".mp4")
    _check_otio(read, wanted, made.frames)
    _check_media(unpacked, wanted, "h264")


@pytest.mark.parametrize("fps", RATES)
def test_edl(fps: Fraction | None, rendered: Path, once: Once):
    made = once("edl", fps)
    rate = fps or Fraction(24)
    assert any("conformed to 24 (--fps names another)" in text for text in made.said) == (fps is None)
    wanted = expected(rendered, rate)
    read: Any = otio.adapters.read_from_file(str(made.path), rate=float(rate))
    video = read.tracks[0]
    clips = list(video.find_clips())
    assert [clip.name for clip in clips] == [shown.file for shown in wanted.clips]
    for clip, shown in zip(clips, wanted.clips, strict=True):
        assert clip.metadata["cmx_3600"]["reel"] == shown.reel
        assert clip.source_range.start_time.value == shown.starts
        assert clip.source_range.duration.value == shown.frames - shown.closes
        found = [(m.color, int(m.marked_range.start_time.value), m.name) for m in clip.markers]
        assert found == [(m.colour, shown.starts + m.frame, f"{m.name}: {m.text}") for m in shown.markers]
        media = getattr(clip.media_reference, "target_url", None) or f"{clip.metadata['cmx_3600']['comments']}"
        assert f"media/{shown.file}" in media
    (dissolve,) = [item for item in video if isinstance(item, otio.schema.Transition)]
    assert (dissolve.in_offset.value, dissolve.out_offset.value) == (0, wanted.clips[2].opens)
    assert video.duration().value == made.frames == wanted.frames
    assert [track.name for track in read.tracks[1:]] == ["A1", "A2"]
    assert all(track.duration().value == made.frames for track in read.tracks)
    _check_media(made.folder, wanted)


def test_an_edl_counts_on_from_one_oclock(once: Once):
    """Columns as CMX had them; record times follow each other without a gap, frame by frame."""
    lines = once("edl", Fraction(25)).path.read_bytes().decode().split("\r\n")
    assert lines[:3] == ["TITLE: story", "FCM: NON-DROP FRAME", ""]
    clock = r"\d\d:\d\d:\d\d:\d\d"
    form = rf"(\d{{3}})  (\S{{1,8}}) *(V|AA) +(C|D    \d{{3}}) +({clock}) ({clock}) ({clock}) ({clock})"
    events = [re.fullmatch(form, line) for line in lines if line[:3].isdigit()]
    assert all(events)
    assert {len(line) for line in lines if line[:3].isdigit()} == {76}
    found = [event.groups() for event in events if event is not None]
    assert [(number, reel, track, edit[0]) for number, reel, track, edit, *_ in found] == [
        ("001", "01DOCK", "V", "C"),
        ("002", "02BOAT", "V", "C"),
        ("003", "02BOAT", "V", "C"),
        ("003", "03INN", "V", "D"),
        ("004", "04OPENSE", "V", "C"),
        ("005", "SOUND", "AA", "C"),
    ]
    assert found[0][6] == "01:00:00:00"
    assert all(before[7] == after[6] for before, after in pairwise(found[:5]))
    assert found[2][4:6] == (found[1][5], found[1][5])  # nothing long, where the one before left off
    assert found[3][3] == "D    006"


@QUIET
@pytest.mark.parametrize("fps", RATES)
def test_fcpxml(fps: Fraction | None, rendered: Path, once: Once):
    made = once("fcpxml", fps)
    rate = fps or Fraction(24)
    assert any("conformed to 24 (--fps names another)" in text for text in made.said) == (fps is None)
    wanted = expected(rendered, rate)
    (read,) = otio.adapters.read_from_file(str(made.path), "fcpx_xml")
    by_lane = {track.name: track for track in read.tracks}
    clips = list(by_lane["0"].find_clips())
    assert [clip.name for clip in clips] == [shown.file for shown in wanted.clips]
    for clip, shown in zip(clips, wanted.clips, strict=True):
        assert clip.media_reference.target_url == f"./media/{shown.file}"
        assert clip.media_reference.available_range.start_time.value == shown.starts
        assert clip.media_reference.available_range.duration == otio.opentime.RationalTime(shown.frames, float(rate))
        assert clip.source_range.start_time.value == shown.starts + shown.head
        assert clip.source_range.duration.value == shown.shown
        found = [(m.name, int(m.marked_range.start_time.value)) for m in clip.markers]
        assert found == [(m.name, shown.starts + m.frame) for m in shown.markers]
        place = by_lane["0"].range_of_child(clip).start_time.value
        assert place == START * rate + shown.at + shown.head
    (sound,) = by_lane["-1"].find_clips()
    assert (sound.source_range.duration.value, sound.name) == (made.frames, "sound.wav")
    assert by_lane["-1"].range_of_child(sound).start_time.value == START * rate
    _check_media(made.folder, wanted)


# Elements that are used, with the children they may have in their order and the attributes they may have:
# Apple, FCPXML 1.8 document type definition.
SHAPES = {
    "fcpxml": (r"resources library", {"version"}),
    "resources": (r"format( effect)?( asset)+", set[str]()),
    "format": ("", {"id", "frameDuration", "width", "height", "colorSpace"}),
    "effect": ("", {"id", "name", "uid"}),
    "asset": ("", {"id", "name", "src", "start", "duration", "hasVideo", "format", "hasAudio", "audioSources"}
              | {"audioChannels", "audioRate"}),
    "library": ("event", set[str]()),
    "event": ("project", {"name"}),
    "project": ("sequence", {"name"}),
    "sequence": ("spine", {"format", "duration", "tcStart", "tcFormat", "audioLayout", "audioRate"}),
    "spine": (r"asset-clip( transition asset-clip| asset-clip)*", set[str]()),
    "transition": ("filter-video", {"name", "offset", "duration"}),
    "filter-video": ("", {"ref", "name"}),
    "asset-clip": (r"(note)?( asset-clip)?( ?marker)*", {"ref", "lane", "offset", "name", "start", "duration"}
                   | {"format", "tcFormat", "audioRole"}),
    "note": ("", set[str]()),
    "marker": ("", {"start", "duration", "value", "note"}),
}  # fmt: skip


@pytest.mark.parametrize("fps", RATES[1:])
def test_an_fcpxml_is_as_its_definition_has_it(fps: Fraction, once: Once):
    made = once("fcpxml", fps)
    text = made.path.read_text(encoding="utf-8")
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n<fcpxml version="1.8">')
    root = ElementTree.fromstring(text)
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    for element in root.iter():
        children, attributes = SHAPES[element.tag]
        assert re.fullmatch(children, " ".join(child.tag for child in element)), element.tag
        assert set(element.attrib) <= attributes
        for name in ("ref", "format"):
            assert element.get(name, "r1") in ids
        for name in ("offset", "start", "duration", "tcStart", "frameDuration"):
            if name in element.attrib:
                assert (seconds(element.attrib[name]) * fps).denominator == 1, "off the frame grid"
    assert seconds(root[0][0].attrib["frameDuration"]) == 1 / fps


def test_final_cut_finds_the_clips_end_to_end_and_media_under_each_dissolve(once: Once):
    made = once("fcpxml", Fraction(24))
    root = ElementTree.parse(made.path).getroot()
    sequence, spine = root.find(".//sequence"), root.find(".//spine")
    assert sequence is not None
    assert spine is not None
    assets = {asset.attrib["id"]: asset for asset in root.iter("asset")}
    at = seconds(sequence.attrib["tcStart"])
    for element in spine.findall("asset-clip"):
        assert seconds(element.attrib["offset"]) == at
        at += seconds(element.attrib["duration"])
    assert at - START == seconds(sequence.attrib["duration"]) == made.frames / Fraction(24)
    for index, element in enumerate(spine):
        if element.tag == "transition":
            before, after = spine[index - 1], spine[index + 1]
            begins, lasts = (seconds(element.attrib[name]) for name in ("offset", "duration"))
            cut = seconds(after.attrib["offset"])
            assert abs(begins + lasts / 2 - cut) <= Fraction(1, 48)  # in the middle, or half a frame beside it
            media = seconds(assets[before.attrib["ref"]].attrib["start"]) + seconds(
                assets[before.attrib["ref"]].attrib["duration"]
            )
            left = media - seconds(before.attrib["start"]) - seconds(before.attrib["duration"])
            assert left == begins + lasts - cut  # to the last frame of the scene before
            spare = seconds(after.attrib["start"]) - seconds(assets[after.attrib["ref"]].attrib["start"])
            assert spare == cut - begins  # from the first frame of the one that comes


def seconds(text: str) -> Fraction:
    return Fraction(text.removesuffix("s"))


# The media


def _check_media(folder: Path, wanted: Timeline, codec: str = "prores") -> None:
    """ffprobe finds in each file what the timeline says of it."""
    assert {path.name for path in (folder / "media").iterdir()} == {"sound.wav", *(c.file for c in wanted.clips)}
    for clip in wanted.clips:
        path = folder / "media" / clip.file
        facts = probe(path)
        assert (facts.codec, facts.size, facts.rate) == (codec, SIZE, wanted.fps)
        assert facts.pts == tuple(index / wanted.fps for index in range(clip.frames))
        assert facts.colour == ("tv", "bt709", "bt709", "bt709")
        with av.open(path) as film:
            counted = {stream.metadata.get("timecode") for stream in film.streams} - {None}
        assert counted == ({timecode(clip.starts, wanted.fps)} if clip.starts else set())
    with wave.open(str(folder / "media" / "sound.wav")) as sound:
        assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (RATE, 3, 2)
        assert sound.getnframes() == wanted.frames * RATE / wanted.fps


def test_the_media_are_the_film_with_its_dissolves_left_to_draw(rendered: Path, tmp_path: Path):
    """Put together as the timeline says, lossless media are the film to the last bit, at its own rate and another."""
    ready, _ = rehearsed(rendered)
    for fps in (Fraction(32), Fraction(25)):
        made = written(rendered, "otio", tmp_path / f"cut{fps}", fps if fps != 32 else None, "ffv1")
        finishes = conformed(finishes_of(ready), fps)
        clips = timeline_of(ready.story, finishes, ".mkv").clips
        shown: list[Frame] = []
        for clip in clips:
            media = list(read_video(made.folder / "media" / clip.file, 0, clip.frames))
            left = shown[len(shown) - clip.opens :] if clip.opens else []
            shown = shown[: len(shown) - len(left)]
            pairs = enumerate(zip(left, media[: clip.opens], strict=True), start=1)
            shown += [mixed(old, new, number / (clip.opens + 1)) for number, (old, new) in pairs]
            shown += media[clip.opens :]
        np.testing.assert_array_equal(shown, drawn(finishes))
        assert len(shown) == made.frames
        assert any(isinstance(finish.opens, Dissolve) for finish in finishes)


def test_a_moved_folder_still_finds_its_media(rendered: Path, tmp_path: Path):
    for target in FOLDERS:
        made = written(rendered, target, tmp_path / "made" / target, media="h264")
        moved = tmp_path / "elsewhere" / f"{target} with spaces"
        shutil.move(made.folder, moved)
        listed = moved / made.path.name
        text = listed.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        found = set(re.findall(r'(?:"|FILE: )((?:\./)?media/[^"\r\n]+)', text))
        assert len(found) == 5
        assert all((moved / unquote(urlparse(each).path)).is_file() for each in found)


def test_media_in_every_format(rendered: Path, tmp_path: Path):
    for media, suffix in (("hevc", ".mp4"), ("av1", ".mp4"), ("prores-4444", ".mov"), ("ffv1", ".mkv")):
        made = written(rendered, "edl", tmp_path / media, Fraction(24), media)
        path = made.folder / "media" / f"01-dock{suffix}"
        clip = expected(rendered, Fraction(24)).clips[0]
        assert len(played(path, SIZE)) == clip.frames == len(probe(path).pts)
        assert path.name in made.path.read_text(encoding="utf-8")


def test_the_sound_is_the_films_with_silence_after_it(rendered: Path, tmp_path: Path):
    made = written(rendered, "edl", tmp_path / "cut", Fraction(24), "h264")
    heard = decoded(made.folder / "media" / "sound.wav")
    assert heard.shape == (2, made.frames * RATE // 24)
    lasts = round(0.9 * RATE)
    assert np.abs(heard[:, :lasts] - tone(0.9)).max() < 1 / 16384
    assert not heard[:, lasts:].any()


def test_without_a_soundtrack_there_is_no_track_for_it(tmp_path: Path):
    story = lighthouse(tmp_path, sound=False)
    render(story)
    for target in FOLDERS:
        made = written(story, target, tmp_path / target, media="h264")
        assert "sound" not in made.path.read_text(encoding="utf-8").lower()
        assert not (made.folder / "media" / "sound.wav").exists()


# The command, and what it refuses


def test_the_command(rendered: Path, tmp_path: Path):
    where = str(tmp_path / "cut")
    run = CliRunner().invoke(app, ["export", str(rendered), "--to", "edl", "--media", "h264", "-o", where])
    assert (run.exit_code, run.stdout) == (0, f"{tmp_path / 'cut' / 'cut.edl'}\n")
    assert "conformed to 24" in run.stderr
    again = CliRunner().invoke(app, ["export", str(rendered), "--to", "edl", "--media", "h264", "-o", where])
    assert again.exit_code == 0  # an earlier export gives way


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--to", "otoi"], 'did you mean "otio"?'),
        (["--to", "fcpxlm"], 'did you mean "fcpxml"?'),
        (["--to", "edl", "--media", "prorse"], 'did you mean "prores"?'),
        (["--to", "hevc", "--media", "h264"], "hevc is no timeline"),
        (["--to", "edl", "--fps", "23.976"], "name 24, 25 or 30 (a timeline of 23.976 plays 24"),
        (["--to", "edl", "--fps", "film"], "--fps film: name 24, 25 or 30"),
        (["--to", "edl", "--fps", "1/0"], "name 24, 25 or 30"),
        (["--to", "master", "--fps", "24"], "a master keeps the film's own frames"),
        (["--to", "stills", "--fps", "24"], "stills are frames of the clips"),
        (["--to", "edl", "--crf", "12"], "prores has no such setting"),
        (["--to", "edl", "-o", "cut.edl"], "as in --output cut"),
        (["--to", "otioz", "-o", "cut.zip"], "goes into a .otioz file"),
    ],
)
def test_mistakes_are_told_with_the_remedy(asked: list[str], says: str, rendered: Path):
    run = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["export", str(rendered), *asked])
    assert run.exit_code == 2
    assert says in " ".join(run.output.split())


def test_without_opentimelineio_the_other_two_still_work(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    for target, place in (("otio", tmp_path / "cut"), ("otioz", tmp_path / "cut.otioz")):
        with pytest.raises(MachineLacks, match=r'pip install "storyboard\[timeline\]"; fcpxml and edl need no package'):
            written(rendered, target, place)
        assert list(tmp_path.iterdir()) == []
    for target in ("fcpxml", "edl"):
        assert written(rendered, target, tmp_path / target, media="h264").path.is_file()


def test_only_an_earlier_timeline_is_overwritten(rendered: Path, tmp_path: Path):
    place = tmp_path / "cut"
    written(rendered, "edl", place, media="h264")
    (place / ".DS_Store").write_bytes(b"")
    written(rendered, "edl", place, media="prores")  # its media of another format are gone
    assert {path.suffix for path in (place / "media").iterdir()} == {".mov", ".wav"}
    for name in ("notes.txt", "cut 2.edl", "media/mine.mov", "media/01-notes.txt"):
        left = place / name
        left.write_bytes(b"mine")
        with pytest.raises(typer.BadParameter, match="is there and is no edl with its media"):
            written(rendered, "edl", place)
        left.unlink()
    with pytest.raises(typer.BadParameter, match="no otio with its media"):
        written(rendered, "otio", place)
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(typer.BadParameter, match="is there and is no otio"):
        written(rendered, "otio", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_what_a_killed_export_left_is_removed(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / "cut.otioz"
    under_way: set[Path] = set()
    pictures = Suite.pictures

    def seen(*asked: Any) -> Any:
        under_way.update(tmp_path.iterdir())
        return pictures(*asked)

    monkeypatch.setattr(Suite, "pictures", seen)
    written(rendered, "otioz", place, media="h264")
    assert len(under_way) == 2  # the bundle, and a folder for what goes into it
    for left in under_way:
        left.mkdir()
        os.utime(left, (0, 0))
    written(rendered, "otioz", place, media="h264")
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("target", TIMELINES)
def test_a_failure_leaves_what_was_there(target: str, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / ("cut.otioz" if target == "otioz" else "cut")
    made = written(rendered, target, place, media="h264")
    before = made.path.read_bytes()

    def failing(*_: object) -> Iterator[Frame]:
        yield np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Suite, "pictures", failing)
    with pytest.raises(RuntimeError, match="the device is gone"):
        written(rendered, target, place)
    assert list(tmp_path.iterdir()) == [place]
    assert made.path.read_bytes() == before


def test_one_suite_serves_the_whole_export(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[Suite] = []
    closed: list[Suite] = []
    make, close = Suite.__init__, Suite.close

    def counted(self: Suite, place: Any) -> None:
        opened.append(self)
        make(self, place)

    monkeypatch.setattr(Suite, "__init__", counted)
    monkeypatch.setattr(Suite, "close", lambda self: (closed.append(self), close(self)))
    written(rendered, "otio", tmp_path / "cut", media="h264")
    assert len(opened) == 1
    assert closed == opened


def test_where_they_go(rendered: Path):
    ready, _ = rehearsed(rendered)
    out = rendered.parent / "out"
    places = {target: Export(target, export_path(ready, target)).opens for target in TIMELINES}
    assert places == {
        "otio": out / "story.draft-otio" / "story.draft.otio",
        "otioz": out / "story.draft.otioz",
        "fcpxml": out / "story.draft-fcpxml" / "story.draft.fcpxml",
        "edl": out / "story.draft-edl" / "story.draft.edl",
    }
    assert Export("edl", export_path(ready, "edl", Fraction(25))).opens.name == "story.draft.25fps.edl"


# As data


def test_timecode():
    assert timecode(0, Fraction(24)) == "00:00:00:00"
    assert timecode(90000 + 25 * 61 + 24, Fraction(25)) == "01:01:01:24"
    assert timecode(24 * 3600 * 23 - 1, Fraction(24)) == "22:59:59:23"


def test_a_text_in_one_line_that_every_format_holds():
    assert said(' a\n\tdock\x08, "朝"\u2028\ud800 ') == 'a dock , "朝"'


def test_a_film_that_plays_at_an_editors_rate_is_left_as_it_is(tmp_path: Path):
    """24 frames a second and no interpolation: nothing is drawn between frames, and nothing needs to be said."""
    finish = FINISH.replace('model = "flow"', 'model = "none"')
    story = lighthouse(tmp_path, finish)
    story.write_text(
        story.read_text(encoding="utf-8").replace("frames = 13", "frames = 13\nfps = 24"), encoding="utf-8"
    )
    render(story)
    for target in ("edl", "otio"):
        made = written(story, target, tmp_path / target, media="h264")
        assert made.said == ()
    assert made.frames == 13 + 12 + 13 - 6 + 13
    assert written(story, "edl", tmp_path / "thirty", Fraction(30), "h264").said == (
        "the story interpolates with none: frames between frames are drawn by flow (name another in [finish])",
    )


def test_encode_takes_the_quality_asked_for(rendered: Path, tmp_path: Path):
    sizes: list[int] = []
    for crf in (None, 40.0):
        ready, store = rehearsed(rendered)
        export(ready, store, Export("edl", tmp_path / "cut", crf, media="h264"), silent)
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "cut" / "media").glob("*.mp4")))
    assert sizes[0] > 2 * sizes[1]
