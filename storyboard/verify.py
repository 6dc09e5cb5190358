"""The seam contract, proved on kept work: what a scene opens on is what its parent ended on, pixel for pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from scenes.files import load_clip, read_facts, read_span, read_still
from scenes.footage import Clip, DamagedFile, Frame, PixelDigest, Span, frame_digest
from storyboard.manifest import Manifest
from storyboard.store import CLIPS, Store
from storyboard.story import After, Scene, Story


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing checked. `holds` is None where there was nothing to check (not rendered)."""

    scene: str
    what: str
    holds: bool | None


def verify(story: Story, store: Store, mode: str) -> Iterator[Finding]:
    """Every clip against its digests, every seam against both of its sides."""
    manifest = Manifest(store, story.path)
    clips: dict[str, Clip] = {}
    for scene in story.scenes:
        key = manifest.scene(mode, scene.name).get("shot")
        home = store.home(CLIPS, key) if key else None
        if home is None or not home.is_dir():
            yield Finding(scene.name, "is not rendered", None)
            continue
        try:
            clips[scene.name] = load_clip(home)
            store.check(home, thorough=True)
            yield _decoded(scene.name, clips[scene.name])
        except DamagedFile as error:
            yield Finding(scene.name, f"damaged: {error}", False)
    for scene in story.scenes:
        if isinstance(scene.opens_on, After):
            yield _seam(scene, scene.opens_on.scene, clips)


def _decoded(name: str, clip: Clip) -> Finding:
    """The clip's frames, decoded, against what was written; its last against the still handed on."""
    pixels, last = PixelDigest(), None
    for frame in read_span(Span(clip, 0, clip.frames)):
        pixels.add(frame)
        last = frame
    exact = pixels.hex() == clip.digest and frame_digest(cast(Frame, last)) == clip.last.digest
    read_still(clip.last)
    what = (
        f"{clip.frames} frames decode to what was drawn, bit for bit" if exact else "its frames are not what was drawn"
    )
    return Finding(name, what, exact)


def _seam(scene: Scene, before: str, clips: dict[str, Clip]) -> Finding:
    if scene.name not in clips or before not in clips:
        return Finding(scene.name, f"seam after {before} cannot be checked: both clips are needed", None)
    try:
        recipe: dict[str, Any] = read_facts(clips[scene.name].path / "recipe.json")["recipe"]
        opened = recipe["opening"][-1]["digest"]
    except (DamagedFile, KeyError, IndexError, TypeError) as error:
        return Finding(scene.name, f"its recipe cannot be read ({error})", False)
    exact = opened == clips[before].last.digest
    what = f"opens on {before}'s last frame, pixel for pixel" if exact else f"does not open on {before}'s last frame"
    return Finding(scene.name, what, exact)
