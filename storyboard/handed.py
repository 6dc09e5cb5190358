"""What a kept clip hands on: the frame that the scene after opens on, and where its own part of the film ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from post.look import sharpness
from scenes.files import CLIP_FILE, read_span
from scenes.footage import Clip, Frame, Span, Still, frame_digest
from storyboard.hand_on import LAST, HandOn
from storyboard.identity import UNMADE
from storyboard.store import Store
from storyboard.story import Scene


@dataclass(frozen=True, slots=True)
class Handed:
    """`still` is frame `stop` - 1 of the clip, the last that is shown of it. Of a clip that is not made yet `stop` is
    the most that it can be."""

    clip: Clip
    stop: int
    still: Still


def handed(store: Store, clip: Clip, how: HandOn, *, keep: bool) -> Handed:
    """What a clip hands on; which frame that is is found once and remembered with the file.

    keep: see to it that the still lies in the store.

    Raises:
        DamagedFile: the clip's frames are not those that were drawn.
    """
    if how == LAST:
        return Handed(clip, clip.frames, clip.last)
    if clip.digest.startswith(UNMADE):
        return Handed(clip, how.most(clip.frames), clip.last)
    path, asked = clip.path / CLIP_FILE, f"hand on {how.trim} {how.among}"
    known = store.memory.recall(path, asked)
    if known is not None:
        stop, _, digest = known.partition(" ")
        found = Handed(clip, int(stop), store.still(digest))
        if not keep or store.whole(found.still):
            return found
    index, frame = _chosen(clip, how)
    still = store.keep_still(frame) if keep else store.still(frame_digest(frame))
    store.memory.note(path, f"{index + 1} {still.digest}", asked)
    return Handed(clip, index + 1, still)


def _chosen(clip: Clip, how: HandOn) -> tuple[int, Frame]:
    """The sharpest of the frames that may be handed on, the later of two that are equally sharp.

    Of all decoders' and OpenCV's versions alike: what rounding may change does not count.
    """
    first, stop = how.least(clip.frames) - 1, how.most(clip.frames)
    frames = enumerate(read_span(Span(clip, 0, clip.frames)))  # to its end: only there it is known to be whole
    there = [(index, frame) for index, frame in frames if first <= index < stop]
    return max(there, key=lambda each: (round(sharpness(each[1]), 5), each[0]) if how.among > 1 else (0.0, each[0]))


def hands_on(scene: Scene, found: Handed | None, *, opened_on: bool) -> str | None:
    """Which frame of how many, in words, or what is held; None where it is simply the last.

    opened_on: whether a scene opens on it.
    """
    if scene.held and isinstance(scene.ends_on, Path):
        return f"ends on the frame it holds, {scene.ends_on.name}"
    how, frames = scene.hand_on, scene.frames
    if how == LAST:
        return None
    if how.among == 1:
        verb = "hands on" if opened_on else "ends on"
        return f"{verb} frame {how.most(frames)} of {frames}: {how.trim} left out at the end"
    if found is None or found.clip.digest.startswith(UNMADE):
        least, most = frames - how.most(frames), frames - how.least(frames)
        return f"hands on the sharpest of {how.among}: {least} to {most} of {frames} frames left out at the end"
    left = f"{frames - found.stop} left out at the end"
    return f"hands on frame {found.stop} of {frames}, the sharpest of {how.among}: {left}"
