"""A timeline as an edit decision list, CMX 3600: one event a clip, a dissolve from its first frame on.

Written here since the adapter of OpenTimelineIO (1.0.0) counts from zero whatever the start timecode is, leaves the
sound out and repeats markers. Columns and dissolves after CMX's own: https://xmil.biz/EDL-X/CMX3600.pdf
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from storyboard.timeline import Clip, Timeline, timecode


def edl(timeline: Timeline) -> str:
    """The text of the list, for media in the folder media/ beside it."""
    return "\r\n".join([f"TITLE: {timeline.title}", "FCM: NON-DROP FRAME", "", *_events(timeline), ""])


def _events(timeline: Timeline) -> Iterator[str]:
    before: Clip | None = None
    number = 0
    for number, clip in enumerate(timeline.clips, start=1):
        yield from _picture(number, clip, before, timeline)
        before = clip
    if timeline.sound is not None:
        span = (0, timeline.frames, timeline.origin, timeline.origin + timeline.frames)
        yield _line(number + 1, "SOUND", "AA", "C", span, timeline.fps)
        yield f"* FROM CLIP NAME: {timeline.sound}"
        yield f"* FROM FILE: media/{timeline.sound}"


def _picture(number: int, clip: Clip, before: Clip | None, timeline: Timeline) -> Iterator[str]:
    first, at = clip.starts, timeline.origin + clip.at
    shown = clip.frames - clip.closes
    span = (first, first + shown, at, at + shown)
    if clip.opens and before is not None:  # what is dissolved from goes on where its own event ended
        left = before.starts + before.frames - before.closes
        yield _line(number, before.reel, "V", "C", (left, left, at, at), timeline.fps)
        yield _line(number, clip.reel, "V", f"D    {clip.opens:03d}", span, timeline.fps)
        yield f"* FROM CLIP NAME: {before.file}"
        yield f"* TO CLIP NAME: {clip.file}"
        yield f"* TO FILE: media/{clip.file}"
    else:
        yield _line(number, clip.reel, "V", "C", span, timeline.fps)
        yield f"* FROM CLIP NAME: {clip.file}"
        yield f"* FROM FILE: media/{clip.file}"
    for marker in clip.markers:
        place = timecode(clip.starts + marker.frame, timeline.fps)
        yield f"* LOC: {place} {marker.colour:<7} {marker.name}: {marker.text}"


def _line(number: int, reel: str, track: str, edit: str, span: tuple[int, int, int, int], fps: Fraction) -> str:
    """span: source in and out, record in and out."""
    return f"{number:03d}  {reel:<8} {track:<5} {edit:<8} {' '.join(timecode(frame, fps) for frame in span)}"
