"""A timeline as FCPXML 1.8, which Final Cut Pro 10.4 and later and DaVinci Resolve read.

Written here since the adapter of OpenTimelineIO (1.0.0) drops transitions and timecode, and gives 24 frames a second
the frame duration of no camera. Elements and their order after Apple's document type definition of FCPXML 1.8.
"""

from __future__ import annotations

from fractions import Fraction
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from storyboard.timeline import SOUND, Clip, Timeline

VERSION = "1.8"
DISSOLVE = "FxPlug:4731E73A-8DAC-4113-9A30-AE85B1761265"
"""Final Cut Pro's own cross dissolve: a transition without an effect that it knows is imported as a plain cut."""

FORMAT, EFFECT, SOUND_ASSET = "r1", "r2", "r3"
FIRST_ASSET = 4


def fcpxml(timeline: Timeline) -> str:
    """The document, for media in the folder media/ beside it, which it names relative to itself."""
    root = Element("fcpxml", version=VERSION)
    _resources(SubElement(root, "resources"), timeline)
    event = SubElement(SubElement(root, "library"), "event", name=timeline.title)
    project = SubElement(event, "project", name=timeline.title)
    time = _Time(timeline.fps)
    sequence = SubElement(
        project,
        "sequence",
        format=FORMAT,
        duration=time.of(timeline.frames),
        tcStart=time.of(timeline.origin),
        tcFormat="NDF",
        audioLayout="stereo",
        audioRate="48k",
    )
    spine = SubElement(sequence, "spine")
    for number, clip in enumerate(timeline.clips):
        _clip(spine, clip, number, timeline, time)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{tostring(root, encoding="unicode")}\n'


class _Time:
    """Moments and durations in seconds, as whole frames of a rate."""

    def __init__(self, fps: Fraction) -> None:
        self._fps = fps

    def of(self, frames: int) -> str:
        # Final Cut Pro writes hundredths of a frame's ticks, 100/2400s.
        seconds = frames / self._fps
        return f"{seconds}s" if seconds.denominator == 1 else f"{frames * 100}/{self._fps * 100}s"


def _resources(resources: Element, timeline: Timeline) -> None:
    time = _Time(timeline.fps)
    width, height = timeline.size
    SubElement(
        resources,
        "format",
        id=FORMAT,
        frameDuration=time.of(1),
        width=str(width),
        height=str(height),
        colorSpace="1-1-1 (Rec. 709)",
    )
    if any(clip.opens for clip in timeline.clips):
        SubElement(resources, "effect", id=EFFECT, name="Cross Dissolve", uid=DISSOLVE)
    if timeline.sound is not None:
        sound = _asset(resources, SOUND_ASSET, timeline.sound, "0s", time.of(timeline.frames))
        sound.attrib |= {"hasAudio": "1", "audioSources": "1", "audioChannels": "2", "audioRate": "48000"}
    for number, clip in enumerate(timeline.clips, start=FIRST_ASSET):
        asset = _asset(resources, f"r{number}", clip.file, time.of(clip.starts), time.of(clip.frames))
        asset.attrib |= {"hasVideo": "1", "format": FORMAT}


def _asset(resources: Element, key: str, file: str, start: str, duration: str) -> Element:
    # Resolve looks for missing media by this name, so it is the file's, with its ending.
    return SubElement(
        resources, "asset", id=key, name=file, src=f"./media/{quote(file)}", start=start, duration=duration
    )


def _clip(spine: Element, clip: Clip, number: int, timeline: Timeline, time: _Time) -> None:
    """A clip from cut to cut, after the dissolve that lies over its first cut."""
    cut = timeline.origin + clip.at + clip.head
    if clip.opens:
        begins, lasts = time.of(timeline.origin + clip.at), time.of(clip.opens)
        transition = SubElement(spine, "transition", name="Cross Dissolve", offset=begins, duration=lasts)
        SubElement(transition, "filter-video", ref=EFFECT, name="Cross Dissolve")
    start = clip.starts + clip.head
    element = SubElement(
        spine,
        "asset-clip",
        ref=f"r{FIRST_ASSET + number}",
        name=clip.file,
        offset=time.of(cut),
        start=time.of(start),
        duration=time.of(clip.shown),
        tcFormat="NDF",
        format=FORMAT,
    )
    SubElement(element, "note").text = clip.markers[0].text
    if number == 0 and timeline.sound is not None:
        _sound(element, time.of(start), time.of(timeline.frames))
    for marker in clip.markers:
        at = time.of(clip.starts + marker.frame)
        SubElement(element, "marker", start=at, duration=time.of(1), value=marker.name, note=marker.text)


def _sound(first: Element, offset: str, duration: str) -> None:
    """The soundtrack, connected to the first clip at its first frame."""
    SubElement(
        first,
        "asset-clip",
        ref=SOUND_ASSET,
        name=SOUND,
        lane="-1",
        offset=offset,
        start="0s",
        duration=duration,
        audioRole="music",
    )
