"""A timeline beside its media: a file for each scene, the soundtrack, and the list that puts them together."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from post.encode import FORMATS, Encode, Encoder
from post.finish import Finish
from post.join import About, FilmFile
from post.sound import RATE, write_wav
from storyboard.finished import Finished
from storyboard.timeline import Clip, Timeline, counts_timecode, media_of, timecode
from storyboard.timeline_edl import edl
from storyboard.timeline_fcpxml import fcpxml
from storyboard.timeline_otio import VERSION, otio

WRITERS: dict[str, Callable[[Timeline], str]] = {".otio": otio, ".fcpxml": fcpxml, ".edl": edl}


@dataclass(frozen=True, slots=True)
class Media:
    """What a timeline's media are made from, and how. `finishes` are the film's, in play order."""

    finishes: Sequence[Finish]
    encode: Encode
    soundtrack: Path | None


def write_folder(timeline: Timeline, media: Media, finished: Finished, path: Path) -> None:
    """A timeline to a path that ends in .otio, .fcpxml or .edl, its media to the folder media/ beside it."""
    home = path.parent / "media"
    home.mkdir(parents=True)
    path.write_text(WRITERS[path.suffix](timeline), encoding="utf-8", newline="")
    for clip, finish in zip(timeline.clips, media.finishes, strict=True):
        _picture(clip, finish, media.encode, timeline, finished, home / clip.file)
    if timeline.sound is not None and media.soundtrack is not None:
        _sound(media.soundtrack, timeline, home / timeline.sound)


def write_otioz(timeline: Timeline, media: Media, finished: Finished, path: Path) -> None:
    """Everything in one file, as OpenTimelineIO lays it out. On the disk there is never more than it and one scene."""
    packed = {"compress_type": zipfile.ZIP_DEFLATED}
    # Named as `published` names what it writes aside, which the next export removes where a killed one left it.
    beside = tempfile.TemporaryDirectory(prefix=f"{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    with beside as folder, zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("version.txt", VERSION, **packed)
        bundle.writestr("content.otio", otio(timeline), **packed)
        for clip, finish in zip(timeline.clips, media.finishes, strict=True):
            part = Path(folder) / clip.file
            _picture(clip, finish, media.encode, timeline, finished, part)
            bundle.write(part, f"media/{clip.file}")
            part.unlink()
        if timeline.sound is not None and media.soundtrack is not None:
            part = Path(folder) / timeline.sound
            _sound(media.soundtrack, timeline, part)
            bundle.write(part, f"media/{timeline.sound}")


def _picture(clip: Clip, film: Finish, encode: Encode, timeline: Timeline, finished: Finished, path: Path) -> None:
    """One scene's media, with the timecode and the reel by which a list finds it."""
    scene, finish = clip.scene, media_of(film)
    facts = {"prompt": scene.prompt, "seed": scene.seed, "frames": scene.frames, "recipe": scene.recipe}
    tags = [("comment", scene.prompt), ("storyboard", json.dumps(facts, ensure_ascii=False))]
    if counts_timecode(timeline.fps):
        tags.append(("timecode", timecode(clip.starts, timeline.fps)))
    about = About(scene.name, (), tuple(tags))
    pictures = finished.pictures(scene.name, finish, encode.format)
    with closing(pictures), FilmFile(path, FORMATS[encode.format].container, about, timeline.fps, None) as file:
        encoder = Encoder(file.container, encode, timeline.size, timeline.fps)
        file.container.streams.video[0].metadata["reel_name"] = clip.reel
        for picture in pictures:
            encoder.write(picture)
        encoder.finish()
    if encoder.frames != clip.frames:
        raise ValueError(f"{clip.frames} frames were promised and {encoder.frames} made")


def _sound(soundtrack: Path, timeline: Timeline, path: Path) -> None:
    write_wav(soundtrack, int(timeline.frames * RATE / timeline.fps), path)
