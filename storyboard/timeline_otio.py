"""A timeline as OpenTimelineIO holds it."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from typing import Any

from scenes.shot import MachineLacks
from storyboard.timeline import Clip, Timeline

MEDIA = "media"
VERSION = "1.0.0"
"""Of the layout of an .otioz: version.txt, content.otio and the folder of media."""


def opentimelineio() -> Any:
    """The package. Raises MachineLacks where it is not installed."""
    try:
        return import_module("opentimelineio")
    except ImportError as error:
        lacks = "otio and otioz are written by OpenTimelineIO, which is not installed"
        raise MachineLacks(f'{lacks}: pip install "storyboard[timeline]"; fcpxml and edl need no package') from error


def otio(timeline: Timeline) -> str:
    """The text of the .otio, for media in the folder media/ beside it, which it names relative to itself."""
    schema: Any = opentimelineio().schema
    moment = _Moments(timeline.fps)
    film = schema.Timeline(name=timeline.title, global_start_time=moment.at(timeline.origin))
    video = schema.Track(name="V1", kind=schema.TrackKind.Video)
    for clip in timeline.clips:
        if clip.opens:
            video.append(_dissolve(schema, clip, moment))
        video.append(_clip(schema, clip, moment))
    film.tracks.append(video)
    if timeline.sound is not None:
        audio = schema.Track(name="A1", kind=schema.TrackKind.Audio)
        whole = moment.span(0, timeline.frames)
        media = schema.ExternalReference(target_url=f"{MEDIA}/{timeline.sound}", available_range=whole)
        audio.append(schema.Clip(name="sound", media_reference=media, source_range=whole))
        film.tracks.append(audio)
    return str(film.to_json_string(indent=2)) + "\n"


class _Moments:
    """Frames as OpenTimelineIO writes moments and spans."""

    def __init__(self, fps: Fraction) -> None:
        self._time: Any = opentimelineio().opentime
        self._rate = float(fps)

    def at(self, frame: int) -> Any:
        return self._time.RationalTime(frame, self._rate)

    def span(self, first: int, frames: int) -> Any:
        return self._time.TimeRange(self.at(first), self.at(frames))


def _clip(schema: Any, clip: Clip, moment: _Moments) -> Any:
    scene = clip.scene
    media = schema.ExternalReference(
        target_url=f"{MEDIA}/{clip.file}", available_range=moment.span(clip.starts, clip.frames)
    )
    media.name = clip.file
    facts = {"prompt": scene.prompt, "seed": scene.seed, "frames": scene.frames, "recipe": scene.recipe}
    shown = moment.span(clip.starts + clip.head, clip.shown)
    made = schema.Clip(name=scene.name, media_reference=media, source_range=shown, metadata={"storyboard": facts})
    for marker in clip.markers:
        where = moment.span(clip.starts + marker.frame, 1)
        note = schema.Marker(name=marker.name, marked_range=where, color=marker.colour)
        note.comment = marker.text
        made.markers.append(note)
    return made


def _dissolve(schema: Any, clip: Clip, moment: _Moments) -> Any:
    """Over the cut before a clip: the frames of both that lie under it are the media's own."""
    return schema.Transition(
        name="dissolve",
        transition_type=schema.TransitionTypes.SMPTE_Dissolve,
        in_offset=moment.at(clip.head),
        out_offset=moment.at(clip.opens - clip.head),
    )
