"""The seam contract, proved on kept work: what a scene opens and ends on is what it should be, pixel for pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from scenes.files import read_facts, read_span, read_still
from scenes.footage import Clip, DamagedFile, Frame, Frames, PixelDigest, Span, frame_digest
from storyboard.handed import Handed
from storyboard.identity import digest
from storyboard.rehearsal import Rehearsed
from storyboard.store import CLIPS, Store
from storyboard.story import After, Opening, Scene


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing checked. `holds` is None where there was nothing to check: not rendered, or out of date."""

    scene: str
    what: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Ends:
    """Digests of a clip's first frame and of the one it hands on, as they decode."""

    first: str
    handed: str


def verify(rehearsed: Rehearsed, store: Store) -> Iterator[Finding]:
    """Every clip of the story as it stands against its digests, every seam against both of its sides."""
    ends: dict[str, Ends] = {}
    for scene in rehearsed.story.scenes:
        if scene.name in rehearsed.crew.missing_clips or scene.name not in rehearsed.reel.clips:
            yield Finding(scene.name, "is not rendered, or out of date", None)
            continue
        clip = rehearsed.reel.clips[scene.name]
        try:
            store.check(clip.path, thorough=True)
            ends[scene.name], finding = _decoded(scene.name, rehearsed.reel.handed[scene.name])
            yield finding
        except DamagedFile as error:
            yield Finding(scene.name, f"damaged: {error}", False)
    for scene in rehearsed.story.scenes:
        if scene.name in ends:
            yield from _seams(scene, rehearsed, store, ends)
            if scene.held:
                yield _held(scene.name, rehearsed, ends[scene.name])


def _decoded(name: str, handed: Handed) -> tuple[Ends, Finding]:
    """The clip's frames, decoded, against what was written; its last against the still beside it, and the one handed
    on against its own."""
    clip = handed.clip
    pixels, first, last, end = PixelDigest(), None, None, None
    for index, frame in enumerate(_frames(clip)):
        first = frame if first is None else first
        last = frame
        end = frame if index == handed.stop - 1 else end
        pixels.add(frame)
    ends = Ends(frame_digest(cast(Frame, first)), frame_digest(cast(Frame, end)))
    read_still(clip.last)
    exact = pixels.hex() == clip.digest and frame_digest(cast(Frame, last)) == clip.last.digest
    exact = exact and ends.handed == handed.still.digest
    said = (
        f"{clip.frames} frames decode to what was drawn, bit for bit" if exact else "its frames are not what was drawn"
    )
    return ends, Finding(name, said, exact)


def _held(name: str, rehearsed: Rehearsed, ends: Ends) -> Finding:
    """A scene that holds its end, against the picture held; what was mended, against what was drawn."""
    target, mend = rehearsed.crew.shots[name].last, rehearsed.crew.mends.get(name)
    if target is None or ends.handed != target.digest:
        return Finding(name, "is broken: it ends on other pixels than it holds", False)
    said = "ends on the frame it holds, pixel for pixel"
    if mend is None:
        return Finding(name, said, True)
    before = mend.clip.frames - mend.frames
    try:
        pairs = enumerate(zip(_frames(mend.clip), _frames(rehearsed.reel.clips[name]), strict=True))
        same = [np.array_equal(one, other) for index, (one, other) in pairs if index < before]
    except DamagedFile as error:
        return Finding(name, f"damaged: {error}", False)
    first = "its first frame is" if before == 1 else f"its first {before} frames are"
    drawn = f"{first} as drawn" if all(same) else "what is not mended is other than drawn"
    return Finding(name, f"{said}; {drawn}", all(same))


def _frames(clip: Clip) -> Frames:
    return read_span(Span(clip, 0, clip.frames))


def _seams(scene: Scene, rehearsed: Rehearsed, store: Store, ends: dict[str, Ends]) -> Iterator[Finding]:
    """What the clip says it was drawn from, against the pixels of the scenes it names."""
    try:
        home = store.home(CLIPS, digest(rehearsed.crew.shots[scene.name]))
        recipe: dict[str, Any] = read_facts(home / "recipe.json")["recipe"]
        opening, ending = recipe["opening"][-1]["digest"], recipe.get("last", {}).get("digest")
    except (DamagedFile, KeyError, IndexError, TypeError, AttributeError) as error:
        yield Finding(scene.name, f"its recipe cannot be read ({error})", False)
        return
    if isinstance(scene.opens_on, After):
        before = scene.opens_on.scene
        if before in ends:
            yield _same(
                scene.name, "opens on", _of(before, rehearsed.reel.handed[before]), opening == ends[before].handed
            )
    if isinstance(scene.ends_on, Opening):
        other = scene.ends_on.scene
        if other in rehearsed.crew.shots:
            same = ending == rehearsed.crew.shots[other].opening[-1].digest
            yield _same(scene.name, "was drawn to end on", f"{other}'s opening", same)


def _of(scene: str, handed: Handed) -> str:
    if handed.stop == handed.clip.frames:
        return f"{scene}'s last frame"
    return f"frame {handed.stop} of {scene}'s {handed.clip.frames}, the last that is shown of it"


def _same(scene: str, verb: str, what: str, exact: bool) -> Finding:
    said = f"{verb} {what}, pixel for pixel" if exact else f"is broken: it {verb} other pixels than {what}"
    return Finding(scene, said, exact)
