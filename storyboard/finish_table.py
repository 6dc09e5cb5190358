"""[finish] in a story: how clips are enlarged, interpolated and encoded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from post.encode import Preset
from storyboard.table import Table, Text


class UpscaleTable(Table):
    """How large the film is, and how clips get there."""

    model: Text = Field(default="realesrgan-x4plus", description="an upscaler, lanczos, none, or a weights file")
    size: str | None = Field(default=None, description="width x height of the film; crops, never stretches")
    scale: Annotated[float, Field(gt=0, le=8, allow_inf_nan=False)] | None = Field(
        default=None, description="default 2"
    )
    short_side: Annotated[int, Field(ge=16, le=8192)] | None = Field(default=None, description="as in 1080 for 1080p")


class InterpolateTable(Table):
    """Frames between frames."""

    model: Literal["rife", "rife-4.6", "rife-4.7", "rife-4.26", "flow", "none"] = Field(
        default="rife",
        description="rife: the newest present; rife-4.7: 4.8 and 4.9 too; rife-4.26: 4.25 too; flow needs no weights",
    )
    factor: Annotated[int, Field(ge=1, le=8)] = Field(default=2, description="the film's rate is this times fps")
    backend: Literal["torch", "ncnn"] = Field(
        default="torch", description="what runs RIFE; ncnn: by Vulkan, on AMD's and Intel's GPUs too, 4.6 only"
    )


class EncodeTable(Table):
    """How the film is encoded."""

    codec: Literal["h264", "hevc", "h264_nvenc", "hevc_nvenc"] = Field(
        default="h264", description="hevc: 10-bit; with _nvenc: by the GPU's own encoder, faster and larger"
    )
    # crf 0 is lossless in another profile, High 4:4:4 Predictive, which few players take.
    crf: Annotated[float, Field(ge=1, le=51, allow_inf_nan=False)] = Field(
        default=16, description="less is better and larger; 16 looks like its source; NVENC takes it as its cq"
    )
    preset: Preset = Field(default="medium", description="slower is smaller")


class FinishTable(Table):
    """What every clip goes through on its way into the film."""

    upscale: UpscaleTable = UpscaleTable()
    interpolate: InterpolateTable = InterpolateTable()
    encode: EncodeTable = EncodeTable()
    soundtrack: Text | None = Field(default=None, description="wav, mp3, flac: trimmed to the film, faded at its end")
    film: Text | None = Field(default=None, description="the film's file; default out/<story file's name>.mp4")
