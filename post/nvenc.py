"""NVENC, the video encoder of most NVIDIA GPUs: how it is told a quality, and what to say where it is not."""

from __future__ import annotations

PRESETS = {
    "ultrafast": "p1",
    "superfast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
}
"""x264's names for NVENC's own, p1 being the fastest."""

NEEDS = {
    f"{family}_nvenc": f"{family}_nvenc needs an NVIDIA GPU with a video encoder, which H100, H200 and A100 are "
    f'without, and its driver: take {family} instead (codec = "{family}")'
    for family in ("h264", "hevc")
}
"""What to say of each of its encoders that does not start: FFmpeg lists them everywhere."""


def nvenc_options(crf: float | None, preset: str | None, keyint: int) -> dict[str, str]:
    """A constant quality, as CRF is elsewhere; without `b` FFmpeg would hold it to 2 Mbit/s.

    Source: FFmpeg's libavcodec/nvenc.c. Every I-frame of its groups is an IDR frame, so they are closed.
    """
    quality = {"rc": "vbr", "cq": f"{crf:g}", "b": "0"} if crf is not None else {}
    return {"preset": PRESETS[preset or "medium"], "tune": "hq", "g": str(keyint), "strict_gop": "1", **quality}
