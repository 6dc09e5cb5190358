"""`storyboard seams` on a film with known faults: the document, the table, the page, limits and exit codes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from post.limits import Limits
from post.look import look_at
from post.preview import BITS_A_SECOND, h264, jpeg, small
from post.seams import measured_seam
from post.viewing import WINDOW, Part, view
from scenes.files import load_clip, read_frames, read_span
from scenes.footage import Clip, Frame, Span
from scenes.shot import Shot
from storyboard.cli import main
from storyboard.limits_table import SeamsTable
from storyboard.options import Options
from storyboard.rehearsal import rehearse
from storyboard.report.table import clock, shortened
from storyboard.store import Store
from storyboard.story import read_story
from tests.browser import FOUND, browser
from tests.kept_films import keep_film
from tests.test_seams import grained, photo, shifted
from tests.test_seams import shot as camera_shot

FRAMES = 17
TITLE = 'A "film" & <script>alert(1)</script>'
STORY = f"""title = '{TITLE}'
[look]
size = "208x128"
frames = {FRAMES}
[[scene]]
name = "dock"
image = "dock.png"
prompt = "a dock"
[[scene]]
name = "boat"
prompt = "a boat"
[[scene]]
name = "sea"
prompt = "a sea"
[[scene]]
name = "storm"
image = "dock.png"
seam = "dissolve 0.25s"
prompt = "a storm"
[[scene]]
name = "calm"
prompt = "a calm"
[[scene]]
name = "night"
image = "dock.png"
prompt = "a night"
[[scene]]
name = "dawn"
prompt = "a dawn"
"""
RENDERED = frozenset({"sea", "calm"})


def drawn(scene: str, shot: Shot) -> Iterator[Frame]:
    """One camera; the boat is brighter than the dock, and the storm stands still at its end."""
    rng = np.random.default_rng(list(scene.encode()))
    camera = camera_shot(np.random.default_rng(3), "coffee")._replace(pace=(1.5, 0.5), zoom=1.0, turn=0.0)
    start = {"boat": 1, "sea": 2, "calm": 1}.get(scene, 0) * (FRAMES - 1)
    for index in range(shot.frames):
        moment = min(index, FRAMES - 4) if scene == "storm" else index
        frame = np.pad(camera.frame(float(start + moment)), ((4, 4), (0, 0), (0, 0)), mode="reflect")
        yield grained(shifted(frame, np.array([4.0, 0, 0])) if scene in ("boat", "sea") else frame, rng)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Night and dawn are not rendered."""
    path = tmp_path_factory.mktemp("film") / "story.toml"
    Image.fromarray(photo("coffee")).save(path.parent / "dock.png")
    path.write_text(STORY, encoding="utf-8")
    keep_film(path, drawn, RENDERED)
    return path


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads(self.out)

    def seam(self, after: str) -> dict[str, Any]:
        return next(seam for seam in self.facts["seams"] if seam["after"] == after)


Command = Callable[..., Said]


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["storyboard", "seams", *map(str, arguments), "--draft"])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        return Said(int(exit_.value.code or 0), said.out, said.err)

    return run


def faults(seam: dict[str, Any]) -> dict[str, str]:
    return {finding["fault"]: finding["severity"] for finding in seam["findings"]}


def test_the_document(seams: Command, story: Path):
    said = seams(story, "--json", "--no-page")
    facts = said.facts
    assert said.code == 1
    assert (facts["version"], facts["mode"], facts["title"], facts["fps"]) == (1, "draft", TITLE, "16")
    assert [(seam["before"], seam["after"], seam["state"]) for seam in facts["seams"]] == [
        ("dock", "boat", "measured"),
        ("boat", "sea", "measured"),
        ("sea", "storm", "cut"),
        ("storm", "calm", "measured"),
        ("calm", "night", "cut"),
        ("night", "dawn", "not rendered"),
    ]
    assert faults(said.seam("boat")) == {"colour step": "error", "luma step": "error"}
    assert faults(said.seam("sea")) == {}
    assert "frozen tail" in faults(said.seam("calm"))
    assert not facts["passes"]
    assert facts["errors"] >= 3
    assert facts["not_rendered"] == ["night", "dawn"]
    assert facts["limits"] == {each.name: getattr(Limits(), each.name) for each in fields(Limits)}
    assert not (story.parent / "out").exists()


def test_times_are_those_of_the_film(seams: Command, story: Path):
    """Chained scenes lose a frame; a dissolve of four frames makes the film shorter by as much."""
    said = seams(story, "--json", "--no-page")
    at = {seam["after"]: seam["at"] for seam in said.facts["seams"]}
    assert at == {"boat": 17 / 16, "sea": 33 / 16, "storm": 45 / 16, "calm": 62 / 16, "night": 78 / 16, "dawn": 95 / 16}
    assert said.facts["seconds"] == 111 / 16


def test_what_is_measured_is_what_the_film_plays(seams: Command, story: Path):
    """A chained clip's frame 0 redraws the frame before it, and is not among the frames of its seam."""
    clips = rehearse(read_story(story), Store(story.parent / ".storyboard"), Options(True)).reel.clips
    tail = list(read_span(Span(clips["dock"], 0, FRAMES)))[-WINDOW:]
    head = list(read_span(Span(clips["boat"], 0, FRAMES)))[1 : 1 + WINDOW]
    seam = measured_seam([look_at(frame) for frame in tail], [look_at(frame) for frame in head])
    found = seams(story, "--json", "--no-page").seam("boat")["numbers"]
    assert found["delta_e"] == round(seam.drift.delta_e, 4)
    assert found["flow_across"] == round(seam.across, 4)
    assert found["mismatch"] == round(seam.mismatch, 4)


def test_a_span_that_stops_before_its_clip_ends_there(seams: Command, story: Path, monkeypatch: pytest.MonkeyPatch):
    """The last three steps of the storm stand still: without its last three frames it does not."""
    from storyboard.report import survey as surveying

    spans = surveying._spans  # pyright: ignore[reportPrivateUsage]

    def shorter(rehearsed: Any) -> list[Span | None]:
        return [
            Span(s.clip, s.start, s.stop - 3) if s is not None and index == 3 else s
            for index, s in enumerate(spans(rehearsed))
        ]

    monkeypatch.setattr(surveying, "_spans", shorter)
    said = seams(story, "--json", "--no-page").seam("calm")
    assert "frozen tail" not in faults(said)


def test_where_there_is_no_seam_only_every_eighth_frame_is_read(story: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[list[int]] = []

    def counted(clip: Clip, numbers: Iterable[int]) -> Iterator[tuple[int, Frame]]:
        wanted = list(numbers)
        read.append(wanted)
        return read_frames(clip, wanted)

    monkeypatch.setattr("post.viewing.read_frames", counted)
    clip = rehearse(read_story(story), Store(story.parent / ".storyboard"), Options(True)).reel.clips["dock"]
    span = Span(clip, 0, FRAMES)
    nowhere = view(Part(span, begins=False, ends=False), 4)
    assert (nowhere.head, nowhere.tail, nowhere.opening, nowhere.ending) == ((), (), (), ())
    assert [number for number, _ in nowhere.along] == [0, 8, 16]
    ends = view(Part(span, begins=False), 4)
    assert (len(ends.head), len(ends.tail), len(ends.opening), len(ends.ending)) == (0, WINDOW, 0, 4)
    assert read == [[0, 8, 16], [0, 8, 11, 12, 13, 14, 15, 16]]


def test_frames_are_measured_as_they_are_graded(seams: Command, tmp_path: Path):
    """A chain that drifts by some per cent of red a clip: its seams are found without the anchor, and closed by it."""
    Image.fromarray(photo("coffee")).save(tmp_path / "dock.png")
    tables = "".join(f'[[scene]]\nname = "s{hop}"\nprompt = "on"\n' for hop in range(4))
    path = tmp_path / "story.toml"
    text = f'[look]\nsize = "208x128"\nframes = {FRAMES}\n{tables}'.replace('"s0"\n', '"s0"\nimage = "dock.png"\n')
    path.write_text(text)

    def redder(scene: str, shot: Shot) -> Iterator[Frame]:
        """Frame 0, too: it redraws what was handed on."""
        rng, hop = np.random.default_rng(int(scene[1:])), int(scene[1:])
        camera = camera_shot(np.random.default_rng(3), "coffee")._replace(pace=(1.5, 0.5), zoom=1.0, turn=0.0)
        for index in range(shot.frames):
            frame = np.pad(camera.frame(float(hop * (FRAMES - 1) + index)), ((4, 4), (0, 0), (0, 0)), mode="reflect")
            yield grained(np.rint(frame * [0.95**hop, 1, 1]).astype(np.uint8), rng)

    keep_film(path, redder)
    drifting = seams(path, "--json", "--no-page")
    path.write_text(text.replace("frames", 'colour = "anchor"\nframes', 1))
    held = seams(path, "--json", "--no-page")
    limit = drifting.facts["limits"]["delta_e"]
    assert all(seam["numbers"]["delta_e"] > limit for seam in drifting.facts["seams"])
    assert all(seam["numbers"]["delta_e"] < 0.4 for seam in held.facts["seams"])
    assert (drifting.code, held.code) == (1, 0)
    far, near = (max(p["delta_e"] for p in said.facts["runs"][0]["points"]) for said in (drifting, held))
    assert near < far / 2


def test_runs_end_at_cuts_and_are_measured_against_their_first_frame(seams: Command, story: Path):
    runs = seams(story, "--json", "--no-page").facts["runs"]
    assert [run["scenes"] for run in runs] == [["dock", "boat", "sea"], ["storm", "calm"]]
    dock, *_ = runs[0]["points"]
    assert (dock["frame"], dock["delta_e"], dock["contrast"]) == (0, 0, 1)
    assert [(p["scene"], p["frame"]) for p in runs[0]["points"]] == [
        *(("dock", n) for n in (0, 8, 16)),
        *(("boat", n) for n in (1, 8, 16)),
        *(("sea", n) for n in (1, 8, 16)),
    ]
    assert max(p["luma"] for p in runs[0]["points"] if p["scene"] == "boat") > 3


def test_advice_names_what_is_there_to_do(seams: Command, story: Path):
    said = seams(story, "--json", "--no-page")
    frozen = next(f for f in said.seam("calm")["findings"] if f["fault"] == "frozen tail")
    assert frozen["says"] == "the last 3 steps of storm stand still"
    assert frozen["do"] == ["`trim_end = 3` in scene storm"]
    stepped = said.seam("boat")["findings"][0]
    assert stepped["do"][0].startswith('`colour = "anchor"` in [look]')
    assert stepped["do"][1] == f"`storyboard render {story} --draft --scene boat --reroll --hold`"


def test_the_table_is_worst_first_and_80_columns_wide(seams: Command, story: Path):
    said = seams(story, "--no-page")
    lines = said.out.splitlines()
    assert all(len(line) <= 80 for line in lines if not line.startswith("  -> "))
    rows = [line.split()[:4] for line in lines if re.match(r"(error|warning|ok) ", line)]
    assert [row[0] for row in rows] == ["error", "error", "ok"]
    assert rows[-1][1:] == ["boat", "->", "sea"]
    assert "cuts, not judged: sea -> storm, calm -> night" in lines
    assert "not rendered: night, dawn" in lines
    assert lines[-1].startswith("3 seams measured: ")


def test_on_a_terminal_it_is_as_wide_as_that(seams: Command, story: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    said = seams(story, "--no-page")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said.out).splitlines()
    assert all(len(line.rstrip()) <= 80 for line in plain if not line.startswith("  -> "))
    assert any(line.split()[1:4] == ["dock", "->", "boat"] for line in plain)
    assert plain[-1].startswith("3 seams measured: ")


def test_limits_by_flag_and_by_the_story(seams: Command, story: Path):
    text = story.read_text()
    deaf = "delta_e=50", "luma=50", "flash=50", "cells_max=99", "still=90", "mismatch=2", "contrast=9"
    calm = [part for name in deaf for part in ("--limit", name)]
    try:
        assert seams(story, "--no-page", *calm).code == 0
        own = "\n".join(["[seams]", *(name.replace("=", " = ") for name in deaf)])
        story.write_text(f"{text}{own}\n")
        quiet = seams(story, "--no-page", "--json")
        assert (quiet.code, quiet.facts["limits"]["luma"], quiet.facts["passes"]) == (0, 50, True)
        loud = seams(story, "--no-page", "--json", "--limit", "luma=1", "--limit", "frozen_steps=3")
        assert (loud.code, loud.facts["limits"]["luma"], loud.facts["limits"]["frozen_steps"]) == (1, 1, 3)
    finally:
        story.write_text(text)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--limit", "delta=2"], 'there is no limit "delta" (did you mean "delta_e"?)'),
        (["--limit", "delta_e"], "write a name and a number, as in --limit delta_e=2"),
        (["--limit", "delta_e=much"], "much is not a number"),
        (["--limit", "delta_e=nan"], "delta_e runs from 0.01 to 100"),
        (["--limit", "contrast=1"], "contrast runs from 1.001 to 100"),
        (["--limit", "frozen_steps=2.5"], "2.5 is not a whole number"),
        (["--page", "page.txt"], "must end in .html"),
        (["--page", "page.html", "--no-page"], "one of --page and --no-page"),
    ],
)
def test_usage(seams: Command, story: Path, flags: list[str], says: str):
    said = seams(story, *flags)
    assert said.code == 2
    assert says in " ".join(re.sub("[│╭╮╰╯─]", " ", said.err).split())


def test_a_note_alone_passes(seams: Command, story: Path):
    """Drift along a run is worth a look and no failure."""
    said = seams(story, "--no-page", "--json", *["--limit", "delta_e=50", "--limit", "luma=50", "--limit", "flash=50"],
                 *["--limit", "still=90", "--limit", "cells_max=99", "--limit", "run_luma=1"])  # fmt: skip
    assert any(run["findings"] for run in said.facts["runs"])
    assert said.facts["notes"] > 0
    assert said.code == 0


def test_nothing_rendered(seams: Command, tmp_path: Path):
    Image.fromarray(photo("coffee")).save(tmp_path / "dock.png")
    path = tmp_path / "story.toml"
    path.write_text(STORY)
    said = seams(path)
    assert (said.code, said.out) == (4, "")
    assert (
        f"nothing is rendered yet, so there is no seam to measure: run `storyboard render {path} --draft`" in said.err
    )
    assert not (tmp_path / "out").exists()


def test_without_the_extra(seams: Command, story: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storyboard.report.limits.installed", lambda package, module: "")
    said = seams(story)
    assert (said.code, said.out) == (4, "")
    assert "pip install 'storyboard[seams]'" in said.err


def test_a_damaged_clip_is_named_and_set_aside(seams: Command, tmp_path: Path):
    """Its bytes are what was written, as far as size and time tell; it does not decode."""
    Image.fromarray(photo("coffee")).save(tmp_path / "dock.png")
    path = tmp_path / "story.toml"
    path.write_text(STORY)
    keep_film(path, drawn, frozenset({"boat"}))
    for kept in (tmp_path / ".storyboard" / "clips").glob("*/*/clip.mkv"):
        facts = kept.stat()
        kept.write_bytes(bytes(facts.st_size))
        os.utime(kept, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    said = seams(path, "--no-page")
    assert said.code == 1
    assert "clip.mkv" in said.err
    assert "Traceback" not in said.err
    assert list((tmp_path / ".storyboard" / "damaged").iterdir())


def test_the_table_of_the_story_names_every_limit():
    assert list(SeamsTable.model_fields) == [each.name for each in fields(Limits)]
    assert SeamsTable().limits() == Limits()
    assert SeamsTable(luma=3).limits() == Limits(luma=3)


def test_clock_and_names():
    assert [clock(seconds) for seconds in (0, 59.96, 65.43, 600)] == ["0:00.0", "1:00.0", "1:05.4", "10:00.0"]
    assert shortened("dock -> boat", 30) == "dock -> boat"
    assert len(shortened("d" * 80, 30)) <= 30


class TestPage:
    @pytest.fixture
    def page(self, seams: Command, story: Path, tmp_path: Path) -> Path:
        path = tmp_path / "pages" / "seams.html"
        said = seams(story, "--page", path)
        assert said.code == 1
        assert f"the seams to look at: {path}" in said.err
        return path

    def test_it_lies_beside_the_film_unless_it_is_named(self, seams: Command, story: Path):
        seams(story)
        there = story.parent / "out" / "story.draft.seams.html"
        assert there.is_file()
        there.unlink()
        there.parent.rmdir()

    def test_a_page_that_cannot_be_written_hides_no_number(self, seams: Command, story: Path, tmp_path: Path):
        (tmp_path / "file").write_text("")
        said = seams(story, "--page", tmp_path / "file" / "seams.html")
        assert said.code == 4
        assert "3 seams measured: " in said.out
        assert f"{tmp_path}/file/seams.html: the page cannot be written (" in said.err

    def test_it_holds_all_it_shows(self, page: Path):
        text = page.read_text("utf-8")
        sources = re.findall(r'(?:src|href|poster)="([^"]*)"', text)
        assert {source.split(":")[0].split("-")[0] for source in sources} == {"data", "#seam", "#seams"}
        assert not re.search(r"https?://|url\(|@import|fetch|XMLHttp", text)
        assert "default-src 'none'" in text
        assert len(re.findall("<article", text)) == 3
        assert text.count("<svg") == 4

    def test_texts_of_the_story_are_escaped(self, page: Path):
        text = page.read_text("utf-8")
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert text.count("<script") == 1

    def test_videos_play_half_a_second_of_either_side(self, page: Path):
        text = page.read_text("utf-8")
        videos = re.findall(r'<video[^>]* src="data:video/mp4;base64,([^"]*)"', text)
        assert len(videos) == 3
        for video in videos:
            with av.open(io.BytesIO(base64.b64decode(video))) as container:
                frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert len(frames) == 16
            assert frames[0].shape == (128, 208, 3)

    def test_a_screen_reader_can_read_it(self, page: Path):
        text = page.read_text("utf-8")
        images = re.findall(r"<img[^>]*>", text)
        assert len(images) == 18
        assert all(re.search(r'alt="Frame [123] (before|after) the seam, of \w+"', image) for image in images)
        assert all('role="img" aria-labelledby="plot-' in svg for svg in re.findall(r"<svg[^>]*>", text))
        assert all("controls" in video and "playsinline" in video for video in re.findall(r"<video[^>]*>", text))
        levels = [int(level) for level in re.findall(r"<h(\d)", text)]
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert all('scope="' in head for head in re.findall(r"<th[ >][^>]*>", text))

    @pytest.mark.skipif(FOUND is None, reason="no Chromium here")
    @pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
    def test_in_a_browser(self, page: Path, tmp_path: Path, width: int, height: int, dark: bool):
        """Videos decode, plots are there, nothing is asked for, nothing is wider than the screen."""
        with browser(tmp_path / "profile") as driven:
            driven.open(page, width, height, dark=dark)
            driven.wait("[...document.querySelectorAll('video')].every((v) => v.readyState >= 2)")
            size = "[...document.querySelectorAll('video')].map((v) => [v.videoWidth, v.videoHeight, v.duration])"
            assert driven.value(size) == [[208, 128, 1]] * 3
            driven.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            assert driven.value("document.documentElement.scrollWidth") <= width
            assert driven.value("[...document.images].every((i) => i.naturalWidth > 0)") is True
            lines = "[...document.querySelectorAll('polyline.run')].every((l) => l.getBBox().width > 0)"
            assert driven.value(lines) is True
            button = (
                "[...document.querySelectorAll('.steps button')].find((b) => b.textContent === 'First frame after')"
            )
            driven.value(f"{button}.click()")
            driven.wait("!document.querySelector('video').seeking")
            assert driven.value("document.querySelector('video').currentTime") == pytest.approx(8.5 / 16)
            driven.value("document.querySelector('video').play().then(() => true)")
            driven.wait("document.querySelector('video').currentTime > 0.7")
            assert driven.asked() == [page.as_uri()]
            assert driven.complaints() == []

    @pytest.mark.skipif(FOUND is None, reason="no Chromium here")
    def test_without_scripts_it_is_whole(self, page: Path, tmp_path: Path):
        with browser(tmp_path / "profile") as driven:
            driven.call("Emulation.setScriptExecutionDisabled", value=True)
            driven.open(page, 1280, 900)
            driven.wait("[...document.querySelectorAll('video')].every((v) => v.readyState >= 2)")
            assert driven.value("document.querySelectorAll('.steps').length") == 0


def test_fifty_seams_are_sent_by_mail():
    """A page of fifty seams comes to some 25 MB at most, whatever they show: here noise, which nothing compresses."""
    rng = np.random.default_rng(1)
    frames = [small(rng.integers(0, 256, (480, 832, 3), dtype=np.uint8)) for _ in range(16)]
    assert frames[0].shape == (276, 480, 3)
    video, still = h264(frames, Fraction(16)), jpeg(frames[0])
    assert len(video) < 1.4 * BITS_A_SECOND / 8
    assert 50 * (len(video) + 7 * len(still)) * 4 / 3 < 26e6
    with Image.open(io.BytesIO(still)) as picture:
        assert picture.size == (320, 184)


def test_previews_are_true_to_colour():
    frame = np.full((128, 208, 3), (200, 40, 90), np.uint8)
    with av.open(io.BytesIO(h264([frame] * 4, Fraction(16)))) as container:
        found = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(found.astype(int) - frame).max() <= 4


def test_a_kept_clip_is_found_by_the_survey_as_it_was_written(story: Path):
    """Key frames lie where every eighth frame does: reading one of those reads no other."""
    clip = next((story.parent / ".storyboard" / "clips").glob("*/*"))
    assert load_clip(clip).frames == FRAMES
    with av.open(clip / "clip.mkv") as container:
        keys = [n for n, p in enumerate(p for p in container.demux(video=0) if p.size) if p.is_keyframe]
    assert keys == [0, 8, 16]
