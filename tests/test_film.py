"""The walk: what is made, in which order, and what is not made again."""

from __future__ import annotations

import json
import random
import shutil
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import storyboard.cutting_room
from post.encode import Encode
from post.finish import Finish, Segment
from post.interpolate import Flow, Interpolate
from post.join import About, Join
from post.transition import Dissolve, FadeOut
from post.upscale import Lanczos, Upscale
from scenes.animatic import Animatic
from scenes.files import load_clip, read_span, read_still
from scenes.footage import Clip, Span, Still
from scenes.shot import Shot
from storyboard.film import SceneFailed
from storyboard.identity import changes, digest, recipe
from storyboard.manifest import Manifest
from storyboard.options import Options
from storyboard.order import closure, followers
from storyboard.rehearsal import rehearse
from storyboard.store import CLIPS
from storyboard.story import After, read_story
from storyboard.takes import Takes
from storyboard.verify import Finding
from storyboard.verify import verify as verify_kept
from tests.stories import Run, chart, missing, render, scene, write_picture, write_story


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """dock -> boat -> sea, and an inn after a cut."""
    write_picture(tmp_path, "dock.png", 1)
    write_picture(tmp_path, "inn.png", 2)
    return write_story(
        tmp_path, scene("dock", image="dock.png"), scene("boat"), scene("sea"), scene("inn", image="inn.png")
    )


def verify(run: Run) -> list[Finding]:
    rehearsed = rehearse(run.story, run.store, Options(True))
    return list(verify_kept(rehearsed, run.store))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def frames_of(run, name: str) -> list[np.ndarray]:
    key = Manifest(run.store, run.story.path).scene("draft", name)["shot"]
    clip = load_clip(run.store.home(CLIPS, key))
    return list(read_span(Span(clip, 0, clip.frames)))


def test_a_second_run_makes_nothing(four: Path):
    first = render(four)
    assert sorted(first.rendered) == ["boat", "dock", "inn", "sea"]
    second = render(four)
    assert second.rendered == second.finished == []
    assert not second.outcome.joined
    assert second.outcome.film == first.outcome.film


def test_an_edit_makes_the_scene_and_what_follows(four: Path):
    render(four)
    edit(four, "a boat", "a camera pan left over a boat")
    assert missing(four) == ({"boat", "sea"}, {"boat", "sea"})
    assert render(four).rendered == ["boat", "sea"]


def test_the_same_last_frame_stops_the_ripple(tmp_path: Path):
    write_picture(tmp_path, "a.png")
    names = [f"s{i}" for i in range(6)]
    scenes = [scene(names[0], image="a.png", camera="hold"), *(scene(n, camera="hold") for n in names[1:])]
    path = write_story(tmp_path, *scenes)
    render(path)
    edit(path, "a s2", "another s2")  # a held camera hands on the same frame
    again = render(path)
    assert again.rendered == ["s2"]
    assert again.finished == [], "its pixels are the same, so no segment is touched"


def test_one_edit_of_twenty_touches_only_its_segments(tmp_path: Path):
    write_picture(tmp_path, "a.png")
    scenes = [scene("s0", image="a.png"), *(scene(f"s{i}", camera="hold") for i in range(1, 20))]
    path = write_story(tmp_path, *scenes)
    render(path)
    edit(path, 'prompt = "a s7"\ncamera = "hold"', 'prompt = "a s7"\ncamera = "pan left"\nend_on = "s7"')
    again = render(path)
    assert again.rendered == ["s7"], "it ends on its own opening: what it hands on is unchanged"
    assert again.finished == ["s7"]
    assert again.outcome.joined


def test_an_edit_of_finish_renders_no_clip(four: Path):
    render(four)
    edit(four, 'model = "none" }\ninterpolate', 'model = "lanczos", scale = 2 }\ninterpolate')
    again = render(four)
    assert again.rendered == []
    assert sorted(again.finished) == ["boat", "dock", "inn", "sea"]


def test_rehearsal_touches_nothing(four: Path):
    assert missing(four)[0] == {"dock", "boat", "sea", "inn"}
    assert not (four.parent / ".storyboard").exists()


def test_only_the_named_scene_and_what_it_needs(four: Path):
    run = render(four, scenes=frozenset({"boat"}))
    assert run.rendered == ["dock", "boat"]
    assert run.outcome.film is None
    assert run.outcome.missing == ("sea", "inn")
    rest = render(four, scenes=frozenset({"sea", "inn"}))
    assert sorted(rest.rendered) == ["inn", "sea"]
    assert rest.outcome.film is not None, "every clip is there now, so the film is made"


def test_forced_scenes_are_made_anew_and_the_old_kept_as_takes(four: Path):
    render(four)
    forced = render(four, anew=frozenset({"inn"}))
    assert forced.rendered == ["inn"]
    older, newer = Takes(forced.store, Manifest(forced.store, four), "draft", "inn").all()
    assert (older.number, newer.number, older.key == newer.key) == (1, 2, True)
    assert older.folder is not None
    assert load_clip(forced.store.root / "takes" / older.folder).frames == 5
    assert newer.folder is None


def test_a_failing_scene_skips_what_waits_for_it(four: Path):
    (four.parent / "dock.png").write_bytes((four.parent / "dock.png").read_bytes()[:150])
    with pytest.raises(SceneFailed, match=r'scene "dock": .*dock.png cannot be decoded'):
        render(four)


def test_keep_going_goes_past_a_broken_picture(four: Path):
    (four.parent / "inn.png").write_bytes((four.parent / "inn.png").read_bytes()[:150])
    run = render(four, keep_going=True)
    assert sorted(run.rendered) == ["boat", "dock", "sea"]
    assert "inn.png cannot be decoded" in run.outcome.failed["inn"]
    assert run.outcome.missing == ("inn",)


def test_a_failed_finish_keeps_no_other_scene_from_being_shot(four: Path, monkeypatch: pytest.MonkeyPatch):
    from storyboard import cutting_room

    write = cutting_room.write_segment

    def fails_on_the_dock(finish, frames, into, made):
        if finish.lead is None and finish.span.start == 0 and "dock" not in failed:
            failed.append("dock")
            raise RuntimeError("no dock today")
        write(finish, frames, into, made)

    failed: list[str] = []
    monkeypatch.setattr(cutting_room, "write_segment", fails_on_the_dock)
    run = render(four, keep_going=True)
    assert sorted(run.rendered) == ["boat", "dock", "inn", "sea"]
    assert len(run.outcome.failed) == 1
    assert not run.outcome.skipped


def test_where_there_are_cores_two_clips_are_finished_at_once(
    four: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each waits for another to be under way; what comes of them is what one hand makes."""
    alone = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-alone"))
    monkeypatch.setattr("storyboard.cutting_room.hands", lambda: 1)
    one = render(alone / "story.toml")
    met, true = threading.Barrier(2), storyboard.cutting_room.write_segment

    def together(*given: Any) -> None:
        met.wait(10)
        true(*given)

    monkeypatch.setattr("storyboard.cutting_room.write_segment", together)
    monkeypatch.setattr("storyboard.cutting_room.hands", lambda: 2)
    two = render(four)
    assert one.outcome.film is not None
    assert two.outcome.film is not None
    assert sorted(two.finished) == sorted(one.finished)
    assert two.outcome.film.read_bytes() == one.outcome.film.read_bytes()


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (4, 1), (7, 1), (8, 2), (64, 2)])
def test_a_clip_finished_at_once_keeps_four_cores_busy(cores: int, expected: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert storyboard.cutting_room.hands() == expected


def test_films_are_known_by_their_path(four: Path):
    first, other = render(four), four.parent / "elsewhere" / "cut.mp4"
    assert render(four, film=other).outcome.joined
    assert not render(four).outcome.joined, "the first film is still as the story says"
    assert not render(four, film=other).outcome.joined
    other.write_bytes(b"spoiled")
    assert render(four, film=other).outcome.joined
    assert first.outcome.film is not None


def test_verify_says_out_of_date_and_not_broken(four: Path):
    render(four)
    edit(four, "a dock", "the camera pulls out from a dock")
    run = render(four, scenes=frozenset({"dock"}))
    found = {finding.scene: finding.holds for finding in verify(run)}
    assert found == {"dock": True, "boat": None, "sea": None, "inn": True}


def test_keep_going_makes_what_it_can(four: Path, monkeypatch: pytest.MonkeyPatch):
    from scenes import animatic

    draw = animatic.AnimaticStudio.render

    def fails_on_the_boat(self, shot, tell):
        if "boat" in shot.prompt:
            raise RuntimeError("no boat today")
        return draw(self, shot, tell)

    monkeypatch.setattr(animatic.AnimaticStudio, "render", fails_on_the_boat)
    run = render(four, keep_going=True)
    assert run.rendered == ["dock", "inn"]
    assert run.outcome.failed == {"boat": "no boat today"}
    assert run.outcome.skipped == {"sea"}
    with pytest.raises(SceneFailed, match='scene "boat": no boat today'):
        render(four)
    monkeypatch.undo()
    assert render(four).rendered == ["boat", "sea"], "nothing finished was lost"


def test_eight_hops_change_no_pixel(tmp_path: Path):
    write_picture(tmp_path, "chart.png", 5)
    scenes = [scene("h0", image="chart.png", camera="hold"), *(scene(f"h{i}", camera="hold") for i in range(1, 9))]
    run = render(write_story(tmp_path, *scenes))
    for hop in range(9):
        for frame in frames_of(run, f"h{hop}"):
            assert np.array_equal(frame, chart(seed=5)), f"hop {hop}"


def test_frame_zero_redraws_the_opening_and_ends_are_exact(tmp_path: Path):
    write_picture(tmp_path, "a.png", 1)
    write_picture(tmp_path, "b.png", 2)
    cameras = ["push in", "pull out", "pan left", "tilt up", "roll left", "handheld", "hold"]
    scenes = [scene("s0", image="a.png", end_image="b.png", camera="push in", caption=True)]
    scenes += [scene(f"s{i}", camera=camera, caption=True) for i, camera in enumerate(cameras, start=1)]
    scenes.append(scene("loop", after="s2", end_on="s0", camera="pan right"))
    run = render(write_story(tmp_path, *scenes, look='size = "64x48"\nframes = 9\n'))
    assert np.array_equal(frames_of(run, "s0")[0], chart(seed=1))
    assert np.array_equal(frames_of(run, "s0")[-1], chart(seed=2))
    assert np.array_equal(frames_of(run, "loop")[-1], chart(seed=1))
    for before, after in [*((f"s{i}", f"s{i + 1}") for i in range(7)), ("s2", "loop")]:
        assert np.array_equal(frames_of(run, before)[-1], frames_of(run, after)[0]), f"{before} -> {after}"
    assert all(finding.holds for finding in verify(run))


def test_verify_finds_a_broken_seam(four: Path):
    run = render(four)
    manifest = Manifest(run.store, four)
    boat = run.store.home(CLIPS, manifest.scene("draft", "boat")["shot"])
    facts = json.loads((boat / "recipe.json").read_text())
    facts["recipe"]["opening"][0]["digest"] = "0" * 64
    (boat / "recipe.json").write_text(json.dumps(facts))
    broken = [finding for finding in verify(run) if finding.holds is False]
    assert [finding.scene for finding in broken] == ["boat"]
    assert "opens on other pixels than dock's last frame" in broken[0].what


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, str | None, str | None]]:
    """Scenes as (name, after or None for a picture, end_on or None), without rings, in any play order."""
    count = draw(st.integers(1, 7))
    order = draw(st.permutations(range(count)))
    scenes: dict[int, tuple[str, str | None, str | None]] = {}
    for place, number in enumerate(order):
        earlier = [f"s{n}" for n in order[:place]]
        after = draw(st.sampled_from([None, *earlier])) if earlier else None
        end = draw(st.sampled_from([None, None, *earlier])) if earlier else None
        scenes[number] = (f"s{number}", after, end)
    return [scenes[n] for n in range(count)]


@given(graphs(), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_random_graphs_keep_the_contract_and_the_count(tmp_path_factory, graph, factor: int, seed: int):
    """Exactly factor x N frames, one dropped a chained seam, every seam exact."""
    folder = tmp_path_factory.mktemp("graph")
    write_picture(folder, "p.png", seed)
    lengths = random.Random(seed)
    scenes = []
    for name, after, end in graph:
        keys = {"after": after} if after else {"image": "p.png"}
        keys |= {"end_on": end} if end else {}
        scenes.append(scene(name, frames=lengths.choice([5, 9, 13]), **keys))
    finish = '[finish]\nupscale = { model = "none" }\nencode = { preset = "ultrafast" }\n'
    path = write_story(folder, *scenes, finish=f'{finish}interpolate = {{ model = "flow", factor = {factor} }}\n')
    run = render(path)
    story = read_story(path)
    total = 0
    for index, (name, after, _) in enumerate(graph):
        chained = index > 0 and after == graph[index - 1][0]
        assert (story.lead(index) is not None) == chained
        total += story.scenes[index].frames - chained
        if after:
            assert np.array_equal(frames_of(run, after)[-1], frames_of(run, name)[0])
    assert next(e for e in run.events if e["event"] == "film.done")["frames"] == factor * total
    assert all(finding.holds for finding in verify(run))


def test_closure_and_followers(four: Path):
    story = read_story(four)
    assert closure(story, frozenset({"sea"})) == {"dock", "boat", "sea"}
    assert followers(story, "boat") == {"boat", "sea"}
    assert story.scenes[1].opens_on == After("dock")


def test_recipes_are_pinned():
    """Fails when keys change, so that nobody re-renders a film by renaming a field unawares.

    A change that is meant goes into CHANGELOG with "re-renders: yes".
    """
    still = Still("0" * 64, Path("anywhere.png"))
    shot = Shot("a dock", None, 7, 81, (832, 480), (still,), None, (), Animatic(Fraction(16), "push in"))
    assert digest(shot)[:16] == "50caddf057af5efa"
    assert digest(replace(shot, opening=(replace(still, path=Path("moved.png")),))) == digest(shot)
    clip = Clip("1" * 64, 81, Fraction(16), (832, 480), still, Path("clip"))
    finish = Finish(
        Span(clip, 1, 81), still, Upscale(Lanczos(), (1664, 960)), Interpolate(Flow(), 2), Encode("h264", 16.0)
    )
    assert digest(finish)[:16] == "e9423de85d8dcfc3"
    dissolving = replace(finish, opens=Dissolve(16, Span(clip, 72, 81)), closes=FadeOut(16))
    assert digest(dissolving)[:16] == "ddfefe28bd39aecb"
    join = Join(
        (Segment("2" * 64, 160, Fraction(32), (1664, 960), "3" * 64, Path("s")),), About("t", (("a", 160),), ()), None
    )
    assert digest(join)[:16] == "5643aeb6ff92c515"


def test_changes_between_recipes(four: Path):
    render(four)
    run = render(four)
    key = Manifest(run.store, four).scene("draft", "dock")["shot"]
    kept = json.loads((run.store.home(CLIPS, key) / "recipe.json").read_text())["recipe"]
    assert changes(kept, {**kept, "prompt": "new"}) == [(("prompt",), "a dock", "new")]
    assert changes(kept, kept) == []
    with pytest.raises(TypeError, match="no place in a recipe"):
        recipe(Path("x"))


def test_stills_are_kept_by_their_digest(four: Path):
    run = render(four)
    for name in ("dock", "boat"):
        last = load_clip(run.store.home(CLIPS, Manifest(run.store, four).scene("draft", name)["shot"])).last
        still = run.store.still(last.digest)
        assert np.array_equal(read_still(still), read_still(last))
