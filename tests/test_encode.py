"""Encoders: what they are told, and what is said of those that are not here. What they make: test_colour, test_join."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from post.encode import FORMATS, Encode, EncoderMissing, Preset, SegmentFile, encoder_problem, options, works
from post.nvenc import PRESETS

NVENC = [name for name in FORMATS if name.endswith("_nvenc")]
NOWHERE = not works("h264_nvenc")


@pytest.mark.parametrize("name", NVENC)
def test_nvenc_is_told_a_quality_and_closed_groups(name: str):
    told = options(Encode(name, 19.5, "slow"), Fraction(32))
    assert told == {
        "preset": "p6",
        "tune": "hq",
        "g": "64",
        "strict_gop": "1",
        "rc": "vbr",
        "cq": "19.5",
        "b": "0",  # FFmpeg's own default would hold it to 2 Mbit/s
    }
    assert "cq" not in options(Encode(name), Fraction(32))


def test_slower_presets_are_slower_ones_of_nvenc():
    presets = [PRESETS[preset] for preset in get_args(Preset)]
    assert presets == sorted(presets)
    assert (presets[0], presets[-1]) == ("p1", "p7")


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in NVENC])
def test_what_works_has_no_problem(name: str):
    assert encoder_problem(name) is None


@pytest.mark.skipif(not NOWHERE, reason="a GPU with a video encoder is here")
@pytest.mark.parametrize(("name", "instead"), [("h264_nvenc", "h264"), ("hevc_nvenc", "hevc")])
def test_without_the_hardware_the_remedy_is_named(name: str, instead: str, tmp_path: Path):
    assert not works(name)
    said = encoder_problem(name) or ""
    assert name in said
    assert f'codec = "{instead}"' in said
    file = SegmentFile(tmp_path / "film.mp4", Encode(name, 20.0, "medium"), (256, 144), Fraction(16))
    with pytest.raises(EncoderMissing, match=f'take {instead} instead \\(codec = "{instead}"\\)'), file:
        file.encoder.write(np.zeros((144, 256, 3), np.uint8))


@pytest.mark.skipif(NOWHERE, reason="no GPU with a video encoder is here")
@pytest.mark.parametrize("name", NVENC)
def test_nvenc_encodes(name: str, tmp_path: Path):
    with SegmentFile(tmp_path / "film.mp4", Encode(name, 20.0, "medium"), (256, 144), Fraction(16)) as file:
        for level in range(100):
            file.encoder.write(np.full((144, 256, 3), level, np.uint8))
    assert file.encoder.frames == 100
