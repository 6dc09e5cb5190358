"""The seam contract, proved on kept work: what a scene opens and ends on is what it should be, pixel for pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from scenes.files import read_facts, read_span, read_still
from scenes.footage import Clip, DamagedFile, Frame, PixelDigest, Span, frame_digest
from storyboard.rehearsal import Rehearsed
from storyboard.store import Store
from storyboard.story import After, Opening, Scene


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing checked. `holds` is None where there was nothing to check: not rendered, or out of date."""

    scene: str
    what: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Ends:
    """Digests of a clip's first and last frame, as they decode."""

    first: str
    last: str


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
            ends[scene.name], finding = _decoded(scene.name, clip)
            yield finding
        except DamagedFile as error:
            yield Finding(scene.name, f"damaged: {error}", False)
    for scene in rehearsed.story.scenes:
        if scene.name in ends:
            yield from _seams(scene, rehearsed, ends)


def _decoded(name: str, clip: Clip) -> tuple[Ends, Finding]:
    """The clip's frames, decoded, against what was written; its last against the still handed on."""
    pixels, first, last = PixelDigest(), None, None
    for frame in read_span(Span(clip, 0, clip.frames)):
        first = frame if first is None else first
        last = frame
        pixels.add(frame)
    ends = Ends(frame_digest(cast(Frame, first)), frame_digest(cast(Frame, last)))
    read_still(clip.last)
    exact = pixels.hex() == clip.digest and ends.last == clip.last.digest
    said = (
        f"{clip.frames} frames decode to what was drawn, bit for bit" if exact else "its frames are not what was drawn"
    )
    return ends, Finding(name, said, exact)


def _seams(scene: Scene, rehearsed: Rehearsed, ends: dict[str, Ends]) -> Iterator[Finding]:
    """What the clip says it was drawn from, against the pixels of the scenes it names."""
    try:
        recipe: dict[str, Any] = read_facts(rehearsed.reel.clips[scene.name].path / "recipe.json")["recipe"]
        opening, ending = recipe["opening"][-1]["digest"], recipe.get("last", {}).get("digest")
    except (DamagedFile, KeyError, IndexError, TypeError, AttributeError) as error:
        yield Finding(scene.name, f"its recipe cannot be read ({error})", False)
        return
    if isinstance(scene.opens_on, After):
        before = scene.opens_on.scene
        if before in ends:
            yield _same(scene.name, "opens on", f"{before}'s last frame", opening == ends[before].last)
    if isinstance(scene.ends_on, Opening):
        other = scene.ends_on.scene
        if other in rehearsed.crew.shots:
            same = ending == rehearsed.crew.shots[other].opening[-1].digest
            yield _same(scene.name, "was drawn to end on", f"{other}'s opening", same)


def _same(scene: str, verb: str, what: str, exact: bool) -> Finding:
    said = f"{verb} {what}, pixel for pixel" if exact else f"is broken: it {verb} other pixels than {what}"
    return Finding(scene, said, exact)
