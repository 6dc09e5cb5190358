"""Kept work: published whole, checked before use, shared by runs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scenes import files
from scenes.footage import DamagedFile
from scenes.shot import MachineLacks
from storyboard.film import SceneFailed
from storyboard.manifest import Manifest
from storyboard.options import Options
from storyboard.publish import STALE_SECONDS, published
from storyboard.rehearsal import rehearse
from storyboard.store import CLIPS, SEGMENTS, Store
from storyboard.story import read_story
from storyboard.sweep import resolved, sweep
from tests.stories import missing, render, scene, write_picture, write_story

ROOT = Path(__file__).parents[1]


@pytest.fixture
def story(tmp_path: Path) -> Path:
    write_picture(tmp_path, "a.png", 1)
    scenes = (scene("a", image="a.png", camera="push in"), scene("b", camera="pan left"), scene("c", camera="hold"))
    return write_story(tmp_path, *scenes)


def home_of(store: Store, story: Path, name: str, shelf: str = CLIPS) -> Path:
    part = "shot" if shelf == CLIPS else "segment"
    return store.home(shelf, Manifest(store, story).scene("draft", name)[part])


@pytest.mark.parametrize(
    ("shelf", "file", "harm"),
    [
        (CLIPS, "clip.mkv", "flip"),
        (CLIPS, "clip.mkv", "cut"),
        (CLIPS, "clip.mkv", "remove"),
        (CLIPS, "last.png", "flip"),
        (CLIPS, "last.png", "remove"),
        (CLIPS, "clip.json", "cut"),
        (CLIPS, "clip.json", "remove"),
        (CLIPS, "recipe.json", "remove"),
        (SEGMENTS, "segment.mp4", "flip"),
        (SEGMENTS, "segment.json", "remove"),
    ],
)
def test_damage_is_found_named_set_aside_and_made_again(story: Path, shelf: str, file: str, harm: str):
    run = render(story)
    path = home_of(run.store, story, "b", shelf) / file
    data = path.read_bytes() if harm != "remove" else b""
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])
    assert "b" in missing(story)[0 if shelf == CLIPS else 1], "plan sees it and moves nothing"
    again = render(story)
    damaged = [event for event in again.events if event["event"] == "damaged"]
    assert [event["scene"] for event in damaged] == ["b"]
    assert path.parent.name in damaged[0]["path"]
    assert (again.rendered if shelf == CLIPS else again.finished) == ["b"]
    assert len(list((run.store.root / "damaged").iterdir())) == 1
    assert render(story).rendered == []


def test_damage_behind_a_files_back_is_found_by_verify(story: Path):
    """Bytes that rot without a change of size or time are not re-read at each run, but verify reads them."""
    import os

    from storyboard.verify import verify

    run = render(story)
    path = home_of(run.store, story, "a") / "clip.mkv"
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    rehearsed = rehearse(run.story, run.store, Options(True))
    findings = [finding for finding in verify(rehearsed, run.store) if finding.holds is False]
    assert findings
    assert "its bytes have changed" in findings[0].what


def test_a_damaged_still_is_made_again_from_its_picture(story: Path):
    run = render(story)
    for still in (run.store.root / "stills").glob("*/*.png"):
        still.write_bytes(still.read_bytes()[:60])
    story.write_text(story.read_text().replace("push in", "tilt up"))
    again = render(story)
    assert again.rendered[0] == "a"
    assert render(story).rendered == []


def test_segments_of_another_encoder_are_finished_again(story: Path):
    run = render(story)
    facts_path = home_of(run.store, story, "b", SEGMENTS) / "segment.json"
    facts = json.loads(facts_path.read_text())
    facts_path.write_text(json.dumps(facts | {"fingerprint": "0" * 64}))
    again = render(story)
    assert again.rendered == []
    assert again.finished == ["b"]
    assert "another version of the encoder" in next(e["what"] for e in again.events if e["event"] == "damaged")
    assert render(story).finished == []


def test_an_error_of_the_disk_condemns_no_work(story: Path, monkeypatch: pytest.MonkeyPatch):
    run = render(story)
    stat = Path.stat

    def fails(path: Path, **keys: bool):
        if path.name == "clip.mkv":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return stat(path, **keys)

    monkeypatch.setattr(Path, "stat", fails)
    with pytest.raises(OSError, match="Input/output error"):
        render(story)
    monkeypatch.undo()
    assert not (run.store.root / "damaged").exists()
    assert render(story).rendered == []


@pytest.mark.parametrize("text", ["", "[]", '{"modes": '])
def test_gc_drops_nothing_where_a_manifest_cannot_be_read(story: Path, text: str):
    run = render(story)
    next((run.store.root / "stories").glob("*.json")).write_text(text)
    before = sorted(run.store.root.glob("clips/??/*"))
    with pytest.raises(DamagedFile):
        sweep(run.store, "draft", dry_run=False)
    assert sorted(run.store.root.glob("clips/??/*")) == before


def test_gc_of_one_mode_leaves_the_other(story: Path):
    run = render(story)
    next((run.store.root / "stories").glob("*.json")).unlink()
    assert sweep(run.store, "real", dry_run=True).clips == 0
    assert sweep(run.store, "draft", dry_run=True).clips == 3


def test_two_renders_at_once_make_each_clip_once(story: Path):
    command = [sys.executable, "-m", "storyboard", "render", str(story), "--draft", "--json"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], told
    store = Store(story.parent / ".storyboard")
    made = list((store.root / "clips").glob("??/*"))
    assert len(made) == 3
    events = [json.loads(line) for out, _ in told for line in out.splitlines() if line.startswith("{")]
    drawn = [event["scene"] for event in events if event["event"] == "scene.progress" and event["done"] == 1]
    assert sorted(drawn) == ["a", "b", "c"], "the others waited for the lock and found it made"


def test_work_made_by_another_machine_meanwhile_stands(story: Path, tmp_path: Path):
    """Without working locks two machines may make the same clip: the rename of the second finds the first's."""
    store = Store(tmp_path / "s")

    def make(into: Path) -> None:
        if not store.home(CLIPS, key).exists():
            shutil.copytree(source, store.home(CLIPS, key))  # the other machine is a little faster
        for path in source.iterdir():
            shutil.copy(path, into)

    run = render(story)
    source = home_of(run.store, story, "a")
    key = source.name
    assert store._publish(CLIPS, key, {}, make) == store.home(CLIPS, key)
    assert not list((tmp_path / "s" / "making").iterdir())


def test_a_full_disk_is_told_and_nothing_is_lost(story: Path, monkeypatch: pytest.MonkeyPatch):
    settled = files.settle
    calls: list[Path] = []

    def full(folder: Path) -> None:
        calls.append(folder)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        settled(folder)

    monkeypatch.setattr("storyboard.store.settle", full)
    with pytest.raises(SceneFailed, match="the disk is full; what was finished is kept"):
        render(story)
    monkeypatch.undo()
    kept = len(list((story.parent / ".storyboard" / "clips").glob("??/*")))
    assert kept >= 1
    again = render(story)
    assert len(again.rendered) == 3 - kept


def test_too_little_room_is_told_before_the_start(story: Path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(story.parent)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(MachineLacks, match=r"of disk are needed and 0.1 MB are free .*storyboard gc"):
        render(story)
    assert not (story.parent / ".storyboard" / "clips").exists()


def test_gc_drops_only_what_nothing_needs(story: Path):
    run = render(story)
    kept = sweep(run.store, "draft", dry_run=False)
    assert (kept.clips, kept.segments) == (0, 0)
    story.write_text(story.read_text().replace("a b", "another b"))
    render(story)
    would = sweep(run.store, "draft", dry_run=True)
    assert would.clips == 1, (
        "b's old clip; it hands on another frame now, so c's went with it" if would.clips == 1 else would
    )
    swept = sweep(run.store, "draft", dry_run=False)
    assert (swept.clips, swept.segments) == (would.clips, would.segments)
    assert render(story).rendered == []
    assert all(
        run.store.still(json.loads(p.read_text())["last"]).path.is_file()
        for p in run.store.root.glob("clips/??/*/clip.json")
    )


def test_gc_keeps_what_a_story_is_again(story: Path):
    """An author who goes back to what was rendered before, and sweeps, renders nothing anew."""
    run = render(story)
    first = story.read_text()
    story.write_text(first.replace("a b", "another b"))
    render(story)
    story.write_text(first)
    again = rehearse(read_story(story), run.store, Options(True))
    assert again.crew.missing_clips == set()
    assert sweep(run.store, "draft", resolved(again), dry_run=False).clips == 0
    assert render(story).rendered == render(story).finished == []


def test_gc_keeps_takes_and_other_stories(story: Path):
    render(story)
    forced = render(story, anew=frozenset({"a"}))
    other = story.with_name("other.toml")
    other.write_text(story.read_text().replace("a b", "something else"))
    render(other)
    before = sorted(path.name for path in forced.store.root.glob("clips/??/*"))
    sweep(forced.store, "draft", dry_run=False)
    assert sorted(path.name for path in forced.store.root.glob("clips/??/*")) == before
    assert len(list((forced.store.root / "takes").iterdir())) == 1
    assert render(other).rendered == []
    assert render(story).rendered == []


def test_gc_refuses_while_a_run_uses_the_store(story: Path):
    run = render(story)
    with run.store.in_use(), pytest.raises(MachineLacks, match="a render is using"):
        sweep(Store(run.store.root), "draft", dry_run=False)
    sweep(run.store, "draft", dry_run=False)


def test_a_run_sweeps_what_a_dead_run_left(tmp_path: Path):
    store = Store(tmp_path / "s")
    with store.in_use():
        mine = store._aside("live")
        with mine as folder:
            dead = store.root / "making" / "key~0123456789abcdef~1234"
            dead.mkdir()
            with Store(tmp_path / "s").in_use():
                assert folder.is_dir(), "a live run's work stays"
                assert not dead.exists()


def test_locks_make_others_wait(tmp_path: Path):
    order: list[str] = []

    def second() -> None:
        with Store(tmp_path).locked("key"):
            order.append("second")

    with Store(tmp_path).locked("key"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]


def test_a_moved_project_keeps_its_work(story: Path, tmp_path: Path):
    render(story)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for part in ("story.toml", "a.png", ".storyboard"):
        shutil.move(story.parent / part, moved / part)
    run = render(moved / "story.toml")
    assert run.rendered == run.finished == []
    assert sweep(run.store, "draft", dry_run=True).clips == 0


def test_a_still_with_other_pixels_is_refused(story: Path):
    run = render(story)
    clip = files.load_clip(home_of(run.store, story, "a"))
    write_picture(clip.path, "last.png", 9)
    with pytest.raises(DamagedFile, match="pixels have changed"):
        files.read_still(clip.last)


def test_rot_met_while_reading_does_not_come_back(story: Path):
    """A last frame that rots without a change of size or time is believed by the check, and found by the reader."""
    import os

    run = render(story)
    path = home_of(run.store, story, "a") / "last.png"
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    story.write_text(story.read_text().replace("a b", "another b"))
    with pytest.raises(SceneFailed, match="set aside: run `storyboard render`"):
        render(story)
    assert "a" in render(story).rendered


def test_a_folder_that_another_run_is_still_filling_is_let_be(tmp_path: Path):
    """Its own time is that of the last file begun in it, which may be an hour ago."""
    running, left = tmp_path / ".stills.a.tmp", tmp_path / ".stills.b.tmp"
    old = time.time() - STALE_SECONDS - 60
    for folder in (running, left):
        (folder / "media").mkdir(parents=True)
        (folder / "media" / "film.mov").write_bytes(b"film")
        os.utime(folder / "media" / "film.mov", (old, old))
        os.utime(folder / "media", (old, old))
    (running / "media" / "film.mov").write_bytes(b"more of the film")
    os.utime(running / "media", (old, old))
    for folder in (running, left):
        os.utime(folder, (old, old))
    with published(tmp_path / "stills") as aside:
        aside.mkdir()
    assert running.is_dir()
    assert not left.exists()
