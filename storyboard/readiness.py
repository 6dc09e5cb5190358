"""What is looked at before a run begins, so that nothing fails at its end that could be told now."""

from __future__ import annotations

import os
from collections.abc import Iterable

from scenes.shot import MachineLacks, Shot
from storyboard.delivery import out_path
from storyboard.film import SceneFailed
from storyboard.rehearsal import Rehearsed
from storyboard.room import existing, free_bytes, gigabytes
from storyboard.store import Store

# Lossless video of real pictures comes to about 0.6 of its raw size (FFV1 at 832x480: 0.7 MB of 1.2); noise to all.
CLIP_BYTES_PER_PIXEL = 2.0
SEGMENT_BYTES_PER_PIXEL = 0.12


def check_ready(rehearsed: Rehearsed, store: Store) -> None:
    """Find before the start what would fail at its end. Raises MachineLacks and SceneFailed."""
    story, options = rehearsed.story, rehearsed.options
    if rehearsed.lacks:
        raise MachineLacks("\n".join(rehearsed.lacks))
    for name, error in rehearsed.reel.failed.items():
        if not options.keep_going:
            raise SceneFailed(name, error)
    scenes = [out_path(story, "scene", options.draft)] if options.deliver else []
    for target in (*scenes, options.film or story.film, store.root / "clips"):
        folder = existing(target.parent)
        if not os.access(folder, os.W_OK):
            raise MachineLacks(f"{folder} cannot be written to, and {target.parent.name}/ belongs in it")
    check_disk(bytes_needed(rehearsed), store)


def check_disk(needed: int, store: Store) -> None:
    """Raises MachineLacks where so many bytes are not free."""
    free = free_bytes(store.root)
    if needed > free:
        raise MachineLacks(
            f"about {gigabytes(needed)} of disk are needed and {gigabytes(free)} are free in {store.root}: "
            "free some space (`storyboard gc` drops unused work), or use --store on another disk"
        )


def bytes_needed(rehearsed: Rehearsed) -> int:
    """Disk for what would be made, at the most."""
    crew = rehearsed.crew
    clips = clip_bytes(shot for name, shot in crew.shots.items() if name in crew.missing_clips)
    finishes = [finish for name, finish in crew.finishes.items() if name in crew.missing_segments]
    segments = sum(_pixels(finish.size) * finish.frames for finish in finishes)
    # A segment lies in the store, in out/ and in the film.
    return int(clips + 3 * segments * SEGMENT_BYTES_PER_PIXEL)


def clip_bytes(shots: Iterable[Shot]) -> float:
    """Disk that the clips of shots take, at the most."""
    return sum(_pixels(shot.size) * shot.frames for shot in shots) * CLIP_BYTES_PER_PIXEL


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
