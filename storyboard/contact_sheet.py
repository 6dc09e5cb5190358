"""What takes are chosen by: a contact sheet, a row a take, and a small preview of each that plays anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from post.encode import Encode, SegmentFile
from scenes.files import CLIP_FILE, read_span
from scenes.footage import Clip, Frame, Size, Span
from storyboard.publish import published
from storyboard.story import Story

SHOWN = 5
"""Frames of a take on the sheet, from its first to its last, evenly."""
LONGEST = 400
"""Characters of a heading that are measured at all."""
PREVIEW_WIDTH, THUMB_WIDTH, LABEL_WIDTH, GAP = 480, 300, 150, 8
QUICK = Encode("h264", 26.0, "veryfast")
PAPER, INK, PALE = (24, 24, 24), (236, 236, 236), (150, 150, 150)


@dataclass(frozen=True, slots=True)
class Row:
    """A take on the sheet: its label's lines, and some of its frames."""

    label: tuple[str, ...]
    frames: tuple[Frame, ...]


def sheet_path(story: Story, scene: str, draft: bool) -> Path:
    return story.folder / "out" / "takes" / f"{scene}{_ending(draft)}.png"


def preview_path(story: Story, scene: str, number: int, draft: bool) -> Path:
    return story.folder / "out" / "takes" / f"{scene}.{number}{_ending(draft)}.mp4"


def _ending(draft: bool) -> str:
    return ".draft" if draft else ""


def shown(frames: int) -> list[int]:
    """Which frames of so many are on the sheet."""
    return [round(step * (frames - 1) / (SHOWN - 1)) for step in range(SHOWN)]


def write_preview(clip: Clip, target: Path) -> tuple[Frame, ...]:
    """The clip as a small H.264 file, unless that lies there already; gives its frames for the sheet. One decode.

    Raises:
        DamagedFile.
    """
    stamp = (clip.path / CLIP_FILE).stat().st_mtime_ns
    if target.exists() and target.stat().st_mtime_ns == stamp:
        return _thumbs(clip, None)
    with published(target) as aside:
        size = _within(clip.size, PREVIEW_WIDTH)
        with SegmentFile(aside, QUICK, size, clip.fps) as file:
            thumbs = _thumbs(clip, (file, size))
        os.utime(aside, ns=(stamp, stamp))  # by which it is known again
    return thumbs


def _thumbs(clip: Clip, preview: tuple[SegmentFile, Size] | None) -> tuple[Frame, ...]:
    thumb, wanted = _within(clip.size, THUMB_WIDTH), shown(clip.frames)
    found: dict[int, Frame] = {}
    for index, frame in enumerate(read_span(Span(clip, 0, clip.frames))):
        if preview is not None:
            preview[0].encoder.write(_small(frame, preview[1]))
        if index in wanted:
            found[index] = _small(frame, thumb)
    return tuple(found[index] for index in wanted)


def _within(size: Size, width: int) -> Size:
    """A size of at most this width, its sides even as 4:2:0 wants them."""
    scale = min(1.0, width / size[0])
    return max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2)


def _small(frame: Frame, size: Size) -> Frame:
    if frame.shape[1::-1] == size:
        return frame
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def write_sheet(title: str, rows: Sequence[Row], frames: int, target: Path) -> None:
    """A picture with a row for each take, under a heading and the numbers of the frames shown. rows: at least one."""
    height, width = rows[0].frames[0].shape[:2]
    font = ImageFont.load_default(16)
    top = 3 * GAP + 40
    label = max(LABEL_WIDTH, *(round(font.getlength(text)) + 2 * GAP for row in rows for text in row.label))
    size = (label + SHOWN * (width + GAP) + GAP, top + len(rows) * (max(height, 66) + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _cut(title, font, size[0] - 2 * GAP), font=font, fill=INK)
    left = [label + column * (width + GAP) for column in range(SHOWN)]
    for x, number in zip(left, shown(frames), strict=True):
        draw.text((x, 2 * GAP + 20), f"frame {number}", font=font, fill=PALE)
    for index, row in enumerate(rows):
        y = top + index * (max(height, 66) + GAP)
        for line, text in enumerate(row.label):
            draw.text((GAP, y + 22 * line), text, font=font, fill=PALE if line else INK)
        for x, frame in zip(left, row.frames, strict=True):
            sheet.paste(Image.fromarray(frame), (x, y))
    with published(target) as aside:
        sheet.save(aside, format="PNG", compress_level=6)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """As much of a text as fits into a line."""
    text, whole = " ".join(text.split())[:LONGEST], text
    if font.getlength(text) <= width and len(whole) <= LONGEST:
        return text
    while text and font.getlength(f"{text} ...") > width:
        text = text[:-1]
    return f"{text.rstrip()} ..."
