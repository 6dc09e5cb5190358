"""Second opinions on what we write: ffprobe, and another FFmpeg than the one that wrote it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

FFMPEG: str = imageio_ffmpeg.get_ffmpeg_exe()


@dataclass(frozen=True)
class Facts:
    """A file's video as a player sees it. `colour`: range, matrix, primaries, transfer. `pts`: of every packet, in
    seconds and in play order. Chapters: title, start and end in seconds."""

    codec: str
    pixels: str
    colour: tuple[str, str, str, str]
    size: tuple[int, int]
    rate: Fraction
    pts: tuple[Fraction, ...]
    chapters: tuple[tuple[str, Fraction, Fraction], ...]


def probe(path: Path) -> Facts:
    """By ffprobe where there is one, else by what ffmpeg prints."""
    return by_ffprobe(path) if shutil.which("ffprobe") else by_ffmpeg(path)


def by_ffprobe(path: Path) -> Facts:
    asked = ["-select_streams", "v:0", "-show_streams", "-show_packets", "-show_chapters", "-of", "json"]
    facts: dict[str, Any] = json.loads(_run("ffprobe", "-v", "error", *asked, str(path)))
    video = facts["streams"][0]
    tags = ("color_range", "color_space", "color_primaries", "color_transfer")
    base = Fraction(video["time_base"])
    return Facts(
        video["codec_name"],
        video["pix_fmt"],
        tuple(video.get(tag, "unknown") for tag in tags),  # type: ignore[arg-type]
        (video["width"], video["height"]),
        Fraction(video["r_frame_rate"]),
        tuple(sorted(packet["pts"] * base for packet in facts["packets"])),
        tuple(
            (c["tags"]["title"], c["start"] * Fraction(c["time_base"]), c["end"] * Fraction(c["time_base"]))
            for c in facts["chapters"]
        ),
    )


def by_ffmpeg(path: Path) -> Facts:
    told = subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr
    video = re.search(r"Video: (\w+).*?, (\w+)(?:\(([^)]*)\))?.*?, (\d+)x(\d+).*? ([\d.]+) tbr", told)
    assert video is not None, told
    span, matrix, primaries, transfer = _colour(video[3] or "unknown")
    base, pts = _pts(path)
    chapters = re.findall(r"Chapter #0:\d+: start ([\d.]+), end ([\d.]+)\s+Metadata:\s+title +: (.*)", told)
    return Facts(
        video[1],
        video[2],
        (span, matrix, primaries, transfer),
        (int(video[4]), int(video[5])),
        Fraction(video[6]),
        tuple(sorted(p * base for p in pts)),
        tuple((title, Fraction(start), Fraction(end)) for start, end, title in chapters),
    )


def _colour(said: str) -> tuple[str, str, str, str]:
    """ "tv, bt709, progressive" or "pc, gbr/bt709/bt709": matrix, primaries and transfer are one word where equal."""
    parts = [*said.split(", "), "unknown"]
    three = parts[1].split("/") if "/" in parts[1] else [parts[1]] * 3
    return parts[0], three[0], three[1], three[2]


def _pts(path: Path) -> tuple[Fraction, list[int]]:
    """Time base and times of all video packets."""
    told = _run(FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-").decode()
    base = re.search(r"#tb 0: (\S+)", told)
    assert base is not None, told
    return Fraction(base[1]), [int(line.split(",")[2]) for line in told.splitlines() if not line.startswith("#")]


def played(path: Path, size: tuple[int, int], matrix: str = "auto", sited: str = "") -> np.ndarray:
    """RGB frames, (frames, height, width, 3), as a player shows them that heeds the tags or takes another matrix.

    sited: a key of LEFT, for chroma where it lies in streams that say nothing of it; swscale by itself looks for it in
        the middle of two pixels.
    """
    accurate = f"scale=in_color_matrix={matrix}:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp{LEFT[sited]}"
    raw = _run(FFMPEG, "-v", "error", "-i", str(path), "-vf", accurate, *_raw("rgb24"))
    return np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0], 3)


# In 256ths of a pixel.
LEFT = {"": "", "4:2:0": ":in_h_chr_pos=0:in_v_chr_pos=128", "4:2:2": ":in_h_chr_pos=0"}


def planes(path: Path, pixels: str, mode: str = "passthrough") -> bytes:
    """The decoder's own planes, one frame after another. mode "cfr" drops or repeats frames whose times are wrong."""
    return _run(FFMPEG, "-v", "error", "-i", str(path), "-fps_mode", mode, *_raw(pixels))


def _raw(pixels: str) -> list[str]:
    return ["-map", "0:v:0", "-f", "rawvideo", "-pix_fmt", pixels, "-"]


def _run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b"", done.stderr.decode()  # a decoder that conceals says so here
    return done.stdout
