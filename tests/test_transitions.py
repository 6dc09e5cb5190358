"""Transitions: what a story may say, what that comes to in frames, how it is drawn, and what is made again for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import post.transition
from post.finish import Finish
from post.interpolate import Flow, Interpolate, interpolated
from post.transition import (
    Dissolve,
    FadeIn,
    FadeOut,
    Shortened,
    applied,
    mixed,
    share,
    tail_of,
    tinted,
)
from scenes.files import load_clip, read_span
from scenes.footage import Clip, Frame, Span, Still
from storyboard import cutting_room, seams
from storyboard.graph import graph_mermaid, graph_svg, graph_text
from storyboard.identity import digest
from storyboard.manifest import Manifest
from storyboard.mistakes import StoryError
from storyboard.options import Options
from storyboard.plan import plan_of
from storyboard.plan_text import plan_lines
from storyboard.rehearsal import rehearse
from storyboard.schema import json_schema
from storyboard.seams import Cut, Fade, Seam, SeamError, parse_seam
from storyboard.store import CLIPS, Store
from storyboard.story import read_story
from storyboard.transitions import closes_over, opens_over
from storyboard.verify import verify
from tests.stories import PLAIN, Run, chart, render, scene, write_picture, write_story

ROOT = Path(__file__).parents[1]

# What a story may say


@pytest.mark.parametrize(
    ("text", "seam"),
    [
        ("cut", Cut()),
        ("dissolve", seams.Dissolve(Fraction(1, 2))),
        ("dissolve 0.5s", seams.Dissolve(Fraction(1, 2))),
        ("dissolve 2", seams.Dissolve(Fraction(2))),
        (" dissolve  .25 s ", seams.Dissolve(Fraction(1, 4))),
        ("fade", Fade(Fraction(1), (0, 0, 0))),
        ("fade 2s", Fade(Fraction(2), (0, 0, 0))),
        ("fade black 1s", Fade(Fraction(1), (0, 0, 0))),
        ("fade black", Fade(Fraction(1), (0, 0, 0))),
        ("fade white 0.75", Fade(Fraction(3, 4), (255, 255, 255))),
        ("fade #102030 1s", Fade(Fraction(1), (16, 32, 48))),
    ],
)
def test_forms(text: str, seam: Seam):
    assert parse_seam(text) == seam
    assert parse_seam(str(seam)) == seam


@given(st.fractions(0, 60, max_denominator=1000).filter(bool), st.sampled_from(["dissolve", "fade black", "fade"]))
def test_times_are_exact(seconds: Fraction, kind: str):
    text = f"{float(seconds):.9f}".rstrip("0").rstrip(".")
    assert parse_seam(f"{kind} {text}s").seconds == Fraction(text)


@given(st.text(max_size=20) | st.from_regex(r"(fade|dissolve|cut) \S{0,6} ?[0-9.]{0,4}s?", fullmatch=True))
def test_what_is_read_the_schema_accepts(text: str):
    try:
        parse_seam(text)
    except SeamError:
        pass
    else:
        data = {"scene": [{"name": "a", "prompt": "a", "seam": text}]}
        jsonschema.Draft202012Validator(SCHEMA).validate(data)


SCHEMA = json_schema()


@pytest.mark.parametrize("text", ["disolve 1s", "dissolve 1 frame", "cut 1s", "fade 1s black", "", "dissolve,1s"])
def test_the_schema_rejects_in_an_editor(text: str):
    with pytest.raises(jsonschema.ValidationError, match="does not match"):
        jsonschema.Draft202012Validator(SCHEMA).validate({"scene": [{"name": "a", "prompt": "a", "seam": text}]})


# How it is drawn


def light(level: np.ndarray) -> np.ndarray:
    """sRGB's transfer function, IEC 61966-2-1, in float64."""
    value = level / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def level(light: np.ndarray) -> np.ndarray:
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


RAMP = np.arange(256, dtype=np.uint8)
PAIRS = np.broadcast_to(RAMP[:, None, None], (256, 256, 3)), np.broadcast_to(RAMP[None, :, None], (256, 256, 3))


@pytest.mark.parametrize("weight", [0.0, 1 / 17, 0.25, 0.5, 2 / 3, 0.99, 1.0])
def test_every_pair_of_levels_is_mixed_in_linear_light(weight: float):
    exact = level((1 - weight) * light(PAIRS[0].astype(float)) + weight * light(PAIRS[1].astype(float)))
    made = mixed(*PAIRS, weight)
    assert made.dtype == np.uint8
    assert np.abs(made - exact).max() <= 0.501  # rounded once
    assert np.mean(made != np.rint(exact)) < 1e-3  # some lie on a half


def test_nothing_is_lost_where_nothing_is_mixed():
    frame = chart()
    assert np.array_equal(mixed(frame, frame, 0.37), frame)
    assert np.array_equal(mixed(frame, chart(seed=1), 0.0), frame)
    assert np.array_equal(tinted(frame, (1, 2, 3), 1.0), np.broadcast_to(np.uint8([1, 2, 3]), frame.shape))


def flat(*colour: int) -> Frame:
    return np.full((4, 6, 3), colour, np.uint8)


def test_a_dissolve_of_two_colours_is_their_mix():
    red, blue = flat(200, 30, 0), flat(10, 60, 250)
    made = list(applied(iter([blue] * 5), 5, Dissolve(3, SPAN), None, iter([red] * 3)))
    for index, frame in enumerate(made[:3]):
        weight = (index + 1) / 4
        exact = level((1 - weight) * light(red.astype(float)) + weight * light(blue.astype(float)))
        assert np.abs(frame - exact).max() <= 0.501
        assert not np.array_equal(frame, red)
        assert not np.array_equal(frame, blue)
    assert all(np.array_equal(frame, blue) for frame in made[3:])


CLIP = Clip("1" * 64, 81, Fraction(16), (6, 4), Still("2" * 64, Path("s")), Path("c"))
SPAN = Span(CLIP, 78, 81)


@pytest.mark.parametrize(("colour", "from_"), [((0, 0, 0), 255), ((255, 255, 255), 0)])
@pytest.mark.parametrize("over", [1, 2, 7, 16])
def test_a_fade_reaches_its_colour_at_the_seam_by_even_steps(colour: tuple[int, int, int], from_: int, over: int):
    frames = [flat(from_, from_, from_)] * (over + 3)
    out = list(applied(iter(frames), len(frames), None, FadeOut(over, colour)))
    in_ = list(applied(iter(frames), len(frames), FadeIn(over, colour), None))
    assert np.array_equal(out[-1], flat(*colour))
    assert np.array_equal(in_[0], flat(*colour))
    for made in (out, in_[::-1]):
        assert all(np.array_equal(frame, frames[0]) for frame in made[:3])
        steps = [int(frame[0, 0, 0]) for frame in made[2:]]
        even = np.linspace(from_, colour[0], over + 1)
        assert np.abs(steps - even).max() <= 0.501


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0)])
def test_a_fade_only_ever_goes_on(colour: tuple[int, int, int]):
    weights = [share(step / 16, colour) for step in range(17)]
    assert (weights[0], weights[-1]) == (0, pytest.approx(1))
    assert all(a < b for a, b in pairwise(weights))


def test_what_is_left_to_the_next_segment_is_not_drawn():
    asked: list[int] = []

    def source() -> Iterator[Frame]:
        for index in range(9):
            asked.append(index)
            yield flat(index, 0, 0)

    assert len(list(applied(source(), 6, None, Shortened(3)))) == 6
    assert asked == list(range(6))


def test_missing_frames_of_the_scene_before_are_an_error():
    for tail in (None, iter([flat(1, 1, 1)])):
        with pytest.raises(RuntimeError):
            list(applied(iter([flat(9, 9, 9)] * 5), 5, Dissolve(3, SPAN), None, tail))


@pytest.mark.parametrize("half", [False, True])
def test_tensors_are_drawn_alike(half: bool):
    torch = pytest.importorskip("torch")
    one, other = chart(seed=1), chart(seed=2)

    def tensor(frame: Frame):
        return torch.from_numpy(frame).permute(2, 0, 1).to(torch.float16 if half else torch.float32) / 255

    def levels(made) -> np.ndarray:
        assert made.dtype == (torch.float16 if half else torch.float32)
        return made.permute(1, 2, 0).double().numpy() * 255

    opens, closes = Dissolve(2, SPAN), FadeOut(2, (10, 200, 90))
    numpy = list(applied(iter([other] * 5), 5, opens, closes, iter([one] * 2)))
    made = list(applied(iter([tensor(other)] * 5), 5, opens, closes, iter([tensor(one)] * 2)))
    most = 0.7 if half else 0.502
    assert all(np.abs(levels(a) - b).max() <= most for a, b in zip(made, numpy, strict=True))
    white = next(applied(iter([tensor(other)]), 1, FadeIn(1, (255, 255, 255)), None))
    assert np.abs(levels(white) - 255).max() < 1e-3


# What it comes to


@given(st.integers(1, 8), st.integers(2, 12), st.data())
def test_the_tail_draws_exactly_the_last_frames(factor: int, source: int, data: st.DataObject):
    """As they would have been drawn in the scene itself, and from no frame more than is needed."""
    rule = Interpolate(Flow(), factor) if factor > 1 else None
    count = data.draw(st.integers(1, factor * source - 1))

    def drawn(numbers: range) -> Iterator[object]:
        if rule is None:
            return iter(numbers)
        return interpolated(iter(numbers), None, rule, lambda pairs: [*pairs], 1, numbers.start)

    clip = Clip("1" * 64, source, Fraction(16), (6, 4), CLIP.last, CLIP.path)
    tail = tail_of(clip, count, rule)
    last = list(drawn(range(-tail.frames, 0)))[-count:]
    assert last == list(drawn(range(-source, 0)))[-count:]
    used = {n for each in last for n in (each[:2] if isinstance(each, tuple) else [each])}
    assert used == set(range(-tail.frames, 0))


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[str], list[Seam], int]:
    """Scene tables, the seams named in them, and a factor; some have no room for their seams."""
    count = draw(st.integers(1, 5))
    said: list[Seam] = []
    tables: list[str] = []
    for number in range(count):
        cut = number == 0 or draw(st.booleans())
        seconds = draw(st.sampled_from(["0.03", "0.07", "0.1", "0.125", "0.2", "0.25", "0.333", "0.5", "0.9"]))
        kinds = ["cut", f"fade white {seconds}s", *([f"dissolve {seconds}s"] * 2 if number else [])]
        text = draw(st.sampled_from(kinds)) if cut else "cut"
        said.append(parse_seam(text))
        keys = {"image": "p.png"} if cut else {}
        tables.append(scene(f"s{number}", frames=draw(st.sampled_from([5, 9, 13])), seam=text, **keys))
    return tables, said, draw(st.integers(1, 4))


def finish_by(factor: int) -> str:
    return PLAIN.replace('interpolate = { model = "none" }', f'interpolate = {{ model = "flow", factor = {factor} }}')


def half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


def has_room(tables: list[str], said: list[Seam], factor: int) -> bool:
    """Laid out on a line, does every scene's start come after the end of what is drawn over it before?"""
    for number, table in enumerate(tables):
        frames = factor * (int(re.findall(r"frames = (\d+)", table)[0]) - (number > 0 and "image" not in table))
        own, after = (max(1, half_up(s.seconds * 16 * factor)) for s in (said[number], (*said, Cut())[number + 1]))
        start = own if isinstance(said[number], seams.Dissolve) or number == 0 else max(1, own - own // 2)
        start = 0 if isinstance(said[number], Cut) else start
        stop, last = frames, number + 1 == len(said)
        if not last and not isinstance(said[number + 1], Cut):
            into = isinstance(said[number + 1], seams.Dissolve)
            stop -= after if into else max(1, after // 2)
            if into and stop < 1:
                return False
        if start > stop:
            return False
    return True


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage")
    write_picture(folder, "p.png")
    return folder


@given(stories())
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_frame_is_shown_once(stage: Path, story: tuple[list[str], list[Seam], int]):
    """Drawn with frames that only say where they come from: (scene, slot), or what was mixed."""
    tables, said, factor = story
    path = write_story(stage, *tables, finish=finish_by(factor))
    if not has_room(tables, said, factor):
        with pytest.raises(StoryError, match="is shown for"):
            read_story(path)
        return
    read = read_story(path)
    rehearsed = rehearse(read, Store(stage / ".storyboard"), Options(True))
    finishes = [rehearsed.crew.finishes[each.name] for each in read.scenes]
    slots = [finish.interpolate.frames(finish.span.frames) if factor > 1 else finish.span.frames for finish in finishes]
    film: list[object] = []
    for number, finish in enumerate(finishes):
        assert finish.frames >= 1
        own = iter([(number, slot) for slot in range(slots[number])])
        tail = None
        if isinstance(finish.opens, Dissolve):
            before = slots[number - 1]
            tail = iter([(number - 1, slot) for slot in range(before - finish.opens.frames, before)])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(post.transition, "mixed", lambda one, other, weight: ("mixed", one, other))
            patched.setattr(post.transition, "tinted", lambda one, colour, weight: ("tinted", one))
            drawn = list(applied(own, finish.frames, finish.opens, finish.closes, tail))
        assert len(drawn) == finish.frames
        film += drawn
    shown = [each for frame in film for each in (frame[1:] if frame[0] in ("mixed", "tinted") else [frame])]
    assert sorted(shown) == [(n, slot) for n, count in enumerate(slots) for slot in range(count)]
    dissolved = sum(max(1, half_up(s.seconds * 16 * factor)) for s in said if isinstance(s, seams.Dissolve))
    assert len(film) == sum(slots) - dissolved
    plan = plan_of(rehearsed, Store(stage / ".storyboard"))
    assert (plan.film_frames, plan.dissolves) == (len(film), dissolved)
    assert plan.film_seconds == pytest.approx(len(film) / (16 * factor), abs=1e-3)
    for index, seam in enumerate(said):
        drawn_over = opens_over(read.scenes, index, Fraction(16 * factor))
        if isinstance(seam, Fade) and index:
            drawn_over += closes_over(read.scenes, index - 1, Fraction(16 * factor))
            assert drawn_over == max(2, half_up(seam.seconds * 16 * factor))
        planned = plan.scenes[index].seam
        assert (planned.frames if planned else 0) == drawn_over
        assert planned is None or planned.seconds == round(drawn_over / (16 * factor), 3)


# What is made, and made again


@pytest.fixture
def cuts(tmp_path: Path) -> Path:
    """dock -> boat, then inn, which dissolves from boat, then hill, which fades in; 9 frames each."""
    for seed, name in enumerate(("dock", "inn", "hill"), start=1):
        write_picture(tmp_path, f"{name}.png", seed)
    return write_story(
        tmp_path,
        scene("dock", image="dock.png", camera="push in"),
        scene("boat", camera="pan left"),
        scene("inn", image="inn.png", seam="dissolve 0.25s", camera="pan right"),
        scene("hill", image="hill.png", seam="fade black 0.3s", camera="tilt up"),
        look='size = "64x48"\nframes = 9\n',
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def frames_of(run: Run, name: str) -> list[Frame]:
    key = Manifest(run.store, run.story.path).scene("draft", name)["shot"]
    clip = load_clip(run.store.home(CLIPS, key))
    return list(read_span(Span(clip, 0, clip.frames)))


def planned(path: Path, **options):
    rehearsed = rehearse(read_story(path), Store(path.parent / ".storyboard"), Options(True, **options))
    return plan_of(rehearsed, rehearsed.crew.store)


def exported(path: Path) -> list[Frame]:
    """The film's frames, lossless."""
    folder = path.parent / "frames"
    command = ["export", str(path), "--to", "png", "--draft", "--output", str(folder)]
    subprocess.run([sys.executable, "-m", "storyboard", *command], check=True, capture_output=True, cwd=ROOT)
    return [np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.iterdir())]


def test_the_film_frame_by_frame(cuts: Path):
    run = render(cuts)
    dock, boat, inn, hill = (frames_of(run, name) for name in ("dock", "boat", "inn", "hill"))
    before = [*dock, *boat[1:]]
    over = 4  # a quarter of a second at 16 a second
    mix = [mixed(a, b, (n + 1) / 5) for n, (a, b) in enumerate(zip(before[-over:], inn[:over], strict=True))]
    out = [tinted(frame, (0, 0, 0), share(1 - n / 2, (0, 0, 0))) for n, frame in zip((1, 0), inn[-2:], strict=True)]
    in_ = [tinted(frame, (0, 0, 0), share(1 - n / 3, (0, 0, 0))) for n, frame in enumerate(hill[:3])]
    expected = [*before[:-over], *mix, *inn[over:-2], *out, *in_, *hill[3:]]
    made = exported(cuts)
    assert len(made) == len(expected) == 9 + 8 + 9 + 9 - 4
    for number, (one, other) in enumerate(zip(made, expected, strict=True)):
        assert np.array_equal(one, other), f"frame {number}"
    assert not made[9 + 8 + 9 - 4 - 1].any()
    assert not made[9 + 8 + 9 - 4].any()


def test_the_film_is_as_long_as_planned_and_its_chapters_start_with_the_segments(cuts: Path):
    edit(cuts, 'interpolate = { model = "none" }', 'interpolate = { model = "flow", factor = 2 }')
    before = planned(cuts)
    run = render(cuts)
    assert before.film_frames == planned(cuts).film_frames == 2 * (9 + 8 + 9 + 9) - 8
    assert run.outcome.film is not None
    with av.open(run.outcome.film) as film:
        assert sum(1 for _ in film.decode(video=0)) == before.film_frames
        assert film.duration == before.film_frames * 1_000_000 // 32
        starts = [round(c["start"] * c["time_base"] * 32) for c in film.chapters()]
        said = json.loads(film.metadata["storyboard"])
    lengths = [18, 16 - 8, 18, 18]
    assert starts == [sum(lengths[:n]) for n in range(4)]
    assert [each.get("seam") for each in said["scenes"]] == [None, None, "dissolve 0.25s", "fade black 0.3s"]
    for name, length in zip(("dock", "boat", "inn", "hill"), lengths, strict=True):
        with av.open(cuts.parent / "out" / f"{name}.draft.mp4") as segment:
            assert sum(1 for _ in segment.decode(video=0)) == length


def test_a_second_run_makes_nothing(cuts: Path):
    render(cuts)
    again = render(cuts)
    assert (again.rendered, again.finished, again.outcome.joined) == ([], [], False)


@pytest.mark.parametrize(
    ("old", "new", "finished"),
    [
        ("dissolve 0.25s", "dissolve 0.4s", ["boat", "inn"]),
        ("dissolve 0.25s", "cut", ["boat", "inn"]),
        ("dissolve 0.25s", "fade white 0.5s", ["boat", "inn"]),
        ("fade black 0.3s", "fade white 0.3s", ["hill", "inn"]),
        ("fade black 0.3s", "dissolve 0.1s", ["hill", "inn"]),
        ("dissolve 0.25s", "dissolve 0.24s", []),  # the same frames
        ("dissolve 0.25s", "dissolve .25", []),
    ],
)
def test_another_seam_makes_only_the_segments_on_its_sides(cuts: Path, old: str, new: str, finished: list[str]):
    render(cuts)
    edit(cuts, old, new)
    again = render(cuts)
    assert again.rendered == []
    assert sorted(again.finished) == finished


def test_another_clip_makes_the_segment_that_dissolves_from_it(cuts: Path):
    render(cuts)
    edit(cuts, 'camera = "pan left"', 'camera = "roll left"')
    again = render(cuts)
    assert again.rendered == ["boat"]
    assert sorted(again.finished) == ["boat", "inn"]
    edit(cuts, 'camera = "pan right"', 'camera = "hold"')
    again = render(cuts)
    assert (again.rendered, again.finished) == (["inn"], ["inn"])


def test_the_same_pixels_make_nothing_again(tmp_path: Path):
    write_picture(tmp_path, "a.png", 1)
    write_picture(tmp_path, "b.png", 2)
    path = write_story(
        tmp_path,
        scene("a", image="a.png", camera="hold"),
        scene("b", image="b.png", camera="hold", seam="dissolve 0.2s"),
    )
    render(path)
    edit(path, "a a", "another a")  # a held camera draws the same
    again = render(path)
    assert (again.rendered, again.finished) == (["a"], [])


def test_a_scene_waits_for_the_one_played_before_though_that_is_drawn_later(tmp_path: Path):
    write_picture(tmp_path, "a.png", 1)
    path = write_story(
        tmp_path,
        scene("first", image="a.png"),
        scene("late", after="source"),
        scene("source", image="a.png", seam="dissolve 0.2s", camera="pan left"),
    )
    run = render(path)
    told = [(event["event"], event.get("scene")) for event in run.events]
    drawn = [told.index(("scene.done", name)) for name in ("source", "late")]
    assert drawn[0] < drawn[1] < told.index(("segment.started", "source"))
    assert sorted(run.finished) == ["first", "late", "source"]
    assert run.outcome.film is not None
    assert planned(path).film_frames == 5 + 5 + 5 - 3


def test_a_scene_alone_is_finished_from_the_kept_clip_before_it(cuts: Path):
    render(cuts, scenes=frozenset({"boat"}))
    run = render(cuts, scenes=frozenset({"inn"}))
    assert (run.rendered, run.finished) == (["inn"], ["inn"])
    assert (cuts.parent / "out" / "inn.draft.mp4").exists()
    assert run.outcome.missing == ("hill",)


def test_a_scene_alone_waits_for_what_it_dissolves_from(cuts: Path):
    plan = planned(cuts, scenes=frozenset({"inn"}))
    assert [(each.name, each.state, each.segment) for each in plan.scenes] == [("inn", "render", "waits")]
    assert any("finished once the scene before it is there" in line for line in plan_lines(plan))
    run = render(cuts, scenes=frozenset({"inn", "hill"}))
    assert sorted(run.rendered) == ["hill", "inn"]
    assert run.finished == ["hill"]
    notes = [event["text"] for event in run.events if event["event"] == "note"]
    assert notes == ["inn: its clip is kept; it is finished once boat is there, which it dissolves from"]
    assert run.outcome.missing == ("dock", "boat", "inn")
    rest = render(cuts, scenes=frozenset({"boat"}))
    assert rest.rendered == ["dock", "boat"]
    assert sorted(rest.finished) == ["boat", "dock", "inn"], "every clip is there now"
    assert rest.outcome.joined


def test_a_scene_made_anew_alone_brings_the_film_up_to_date(cuts: Path):
    render(cuts)
    edit(cuts, 'camera = "pan left"', 'camera = "roll left"')
    run = render(cuts, scenes=frozenset({"boat"}))
    assert run.rendered == ["boat"]
    assert sorted(run.finished) == ["boat", "inn"]
    assert run.outcome.joined
    assert render(cuts).finished == []


@pytest.mark.parametrize(("old", "new"), [("dissolve 0.25s", "cut"), ("fade black 0.3s", "dissolve 0.2s")])
def test_the_scene_before_a_changed_seam_is_finished_too(cuts: Path, old: str, new: str):
    """Though only the one after it was asked for: every clip is there, and so the film is made."""
    render(cuts)
    edit(cuts, old, new)
    before, after = ("boat", "inn") if old == "dissolve 0.25s" else ("inn", "hill")
    run = render(cuts, scenes=frozenset({after}))
    assert (run.rendered, sorted(run.finished)) == ([], sorted([before, after]))
    assert run.outcome.joined
    assert render(cuts).finished == []


def test_an_edit_of_finish_finishes_no_scene_that_was_not_asked_for(cuts: Path):
    render(cuts)
    edit(cuts, 'model = "none" }\ninterpolate', 'model = "lanczos", scale = 2 }\ninterpolate')
    run = render(cuts, scenes=frozenset({"hill"}))
    assert run.finished == ["hill"]
    assert run.outcome.missing == ("dock", "boat", "inn")


def test_a_broken_picture_elsewhere_fails_no_scene_that_was_asked_for(cuts: Path):
    render(cuts)
    edit(cuts, 'camera = "pan left"', 'camera = "roll left"')
    (cuts.parent / "hill.png").write_bytes((cuts.parent / "hill.png").read_bytes()[:150])
    run = render(cuts, scenes=frozenset({"boat"}))
    assert (run.rendered, run.finished, run.outcome.failed) == (["boat"], ["boat"], {})
    assert run.outcome.missing == ("inn", "hill")


def test_what_fails_last_is_told(cuts: Path, monkeypatch: pytest.MonkeyPatch):
    """The inn, not asked for, dissolves from the boat made now."""
    render(cuts)
    edit(cuts, 'camera = "pan left"', 'camera = "roll left"')
    write = cutting_room.write_segment

    def fails(finish: Finish, *rest: Any) -> None:
        if isinstance(finish.opens, Dissolve):
            raise RuntimeError("no inn today")
        write(finish, *rest)

    monkeypatch.setattr(cutting_room, "write_segment", fails)
    run = render(cuts, scenes=frozenset({"boat"}), keep_going=True)
    assert run.finished == ["boat"]
    assert (run.outcome.failed, run.outcome.missing) == ({"inn": "no inn today"}, ("inn",))
    assert run.outcome.film is None
    assert run.events[-1]["failed"] == {"inn": "no inn today"}


def test_keep_going_finishes_what_it_can(cuts: Path):
    (cuts.parent / "dock.png").write_bytes((cuts.parent / "dock.png").read_bytes()[:150])
    run = render(cuts, keep_going=True)
    assert sorted(run.rendered) == ["hill", "inn"]
    assert run.finished == ["hill"]
    assert run.outcome.missing == ("dock", "boat", "inn")
    assert run.outcome.film is None


def test_the_seam_contract_is_untouched(cuts: Path):
    run = render(cuts)
    findings = list(verify(rehearse(run.story, run.store, Options(True)), run.store))
    assert all(finding.holds for finding in findings)
    assert [finding.scene for finding in findings if "opens on" in finding.what] == ["boat"]


# What is said of it


def test_the_plan(cuts: Path):
    plan = planned(cuts)
    text = "\n".join(plan_lines(plan))
    assert "- dissolve 0.25s: 4 frames, 0.25 s, of boat and of it at once: the film is shorter by them" in text
    assert "- fade black 0.3s: 5 frames, 0.312 s, 2 of inn and 3 of it" in text
    assert "film: 31 frames at 16/s, 1.94 s (4 frames less by dissolves), 64x48" in text
    seams = [each["seam"] for each in plan.json()["scenes"]]
    assert seams[:2] == [None, None]
    assert [(seam["kind"], seam["frames"], seam["seconds"]) for seam in seams[2:]] == [
        ("dissolve", 4, 0.25),
        ("fade", 5, 0.312),
    ]
    assert planned(cuts, scenes=frozenset({"hill"})).film_frames == 31, "of the whole film, whatever is asked for"


def test_a_first_scene_fades_in_over_all_of_it(cuts: Path):
    edit(cuts, 'camera = "push in"', 'camera = "push in"\nseam = "fade black 0.5s"')
    finish = rehearse(read_story(cuts), Store(cuts.parent / ".storyboard"), Options(True)).crew.finishes["dock"]
    assert finish.opens == FadeIn(8, (0, 0, 0))
    assert "- fade black 0.5s: 8 frames, 0.5 s, the film's first" in "\n".join(plan_lines(planned(cuts)))


def test_the_graph(cuts: Path):
    story = read_story(cuts)
    assert graph_text(story).split("\n") == [
        "                 dock  opens on dock.png",
        "chain            boat  after dock",
        "dissolve 0.25s   inn   opens on inn.png",
        "fade black 0.3s  hill  opens on hill.png",
    ]
    assert '  s2["3. inn<br>dissolve 0.25s"]' in graph_mermaid(story).split("\n")
    assert re.search(">fade black 0.3s</text>", graph_svg(story))


def test_keys_are_pinned():
    """As in test_film: other keys would make segments again."""
    works = (Dissolve(16, SPAN), FadeIn(16), FadeOut(16, (255, 255, 255)), Shortened(16))
    assert [digest(work)[:16] for work in works] == PINNED


PINNED = ["a6bf0262db041c61", "7a8da73e323209ab", "0dc2ab344ec38f74", "f0e8e22e0b3afb1a"]
