"""A picture as people have it becomes a frame of the right size: upright, sRGB, on its background, never stretched."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from scenes.footage import Frame, Size

Colour = tuple[int, int, int]
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "TGA", "PPM", "JPEG2000", "ICO")
NAMES = "PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, TGA, PPM, JPEG 2000 or ICO"


class PictureError(ValueError):
    """The file is no picture that can be used; the message completes a sentence that names it."""


def parse_colour(name: str) -> Colour:
    """Raises ValueError when it is neither a CSS colour name nor #rrggbb."""
    rgb = ImageColor.getrgb(name)
    return rgb[0], rgb[1], rgb[2]


def picture_size(path: Path) -> Size:
    """Width and height as the picture is seen (EXIF orientation applied). Raises PictureError."""
    with _opened(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def fit_picture(path: Path, size: Size, fit: str, background: Colour) -> Frame:
    """The picture as a frame of `size`: "cover" crops the middle, "contain" pads with the background.

    Raises:
        PictureError: the file cannot be decoded.
    """
    with _opened(path) as opened:
        try:
            opened.load()
            picture = _flat(_srgb(ImageOps.exif_transpose(opened)), background)
        except (OSError, SyntaxError, ValueError, MemoryError) as error:
            raise PictureError(f"cannot be decoded ({error}): is the file whole?") from error
    if fit == "contain":
        return np.asarray(_contained(picture, size, background))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box=cover_box(picture.size, size)))


def cover_box(source: Size, size: Size) -> tuple[float, float, float, float]:
    """The middle of `source`, as left, top, right, bottom, that has the aspect of `size`."""
    width, height = source
    scale = min(width / size[0], height / size[1])
    across, down = size[0] * scale, size[1] * scale
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def _contained(picture: Image.Image, size: Size, background: Colour) -> Image.Image:
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    ground = Image.new("RGB", size, background)
    ground.paste(
        picture.resize(inner, Image.Resampling.LANCZOS), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
    )
    return ground


def _opened(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on, where people's panoramas begin, and refuses from twice that.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise PictureError("has more than 178 megapixels: scale it down first") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        what = "is an empty file" if empty else f"is not a picture that can be opened ({NAMES})"
        raise PictureError(what) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"cannot be opened ({error})") from error


def _srgb(picture: Image.Image) -> Image.Image:
    """The picture in sRGB: phones write Display P3, cameras Adobe RGB, printers CMYK."""
    profile = cast("bytes | None", picture.info.get("icc_profile"))
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(cast(Any, ImageCms).createProfile("sRGB"))  # Pillow leaves it untyped
        turned = ImageCms.profileToProfile(picture, source, srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return picture  # a broken profile, or one for another mode, is what viewers ignore too
    return turned or picture


def _flat(picture: Image.Image, background: Colour) -> Image.Image:
    """Any mode as RGB, transparency filled with the background."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep(picture)
    clear = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    if not clear:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(ground, layer).convert("RGB")


def _deep(picture: Image.Image) -> Image.Image:
    """16 and 32-bit greyscale: Pillow's own conversion clips at 255 and gives white."""
    levels = np.nan_to_num(np.asarray(picture, dtype=np.float64))
    floats = 1.0 if levels.max(initial=0) <= 1 else 255.0  # TIFFs of floats have no agreed range
    top = floats if picture.mode == "F" else 65535.0
    grey = np.clip(np.rint(levels / top * 255), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
