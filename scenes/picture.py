"""A picture as people have it becomes a frame of the right size: upright, sRGB, on its background, never stretched."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms, ImageColor

from scenes.footage import Frame, Size

Colour = tuple[int, int, int]
# MPO comes with JPEG; a name Pillow has no opener for, as "MPO", makes it fail on all that follow.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "TGA", "PPM", "JPEG2000", "ICO")
NAMES = "PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, TGA, PPM, JPEG 2000 or ICO"
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIF = {
    b"heic": "a HEIC",
    b"heix": "a HEIC",
    b"mif1": "a HEIC",
    b"msf1": "a HEIC",
    b"avif": "an AVIF",
    b"avis": "an AVIF",
}
FLOAT_TOPS = ((16, 1.0), (255, 255.0), (65535, 65535.0))  # largest value, white; past 1 lie highlights
CLEAR = ("RGBA", "LA", "PA", "RGBa", "La")


class PictureError(ValueError):
    """The file is no picture that can be used; the message completes a sentence that names it."""


def parse_colour(name: str) -> Colour:
    """Raises ValueError when it is neither a CSS colour name nor #rrggbb."""
    red, green, blue, *alpha = ImageColor.getrgb(name.strip())
    if max(red, green, blue) > 255 or alpha not in ([], [255]):
        raise ValueError(f"{name} is no opaque colour")
    return red, green, blue


def picture_size(path: Path) -> Size:
    """Width and height as the picture is seen (EXIF orientation applied). Raises PictureError.

    Reads no pixels: a picture cut short passes here and fails where it is fitted.
    """
    with _complaining("cannot be opened"), _opened(path) as picture:
        width, height = picture.size
        if picture.format == "PNG":
            _read_png_exif(picture, path)
        turned = picture.format != "TIFF" and _orientation(picture) in (5, 6, 7, 8)  # Pillow turns TIFFs itself
    return (height, width) if turned else (width, height)


def fit_picture(path: Path, size: Size, fit: str, background: Colour) -> Frame:
    """The picture as a frame of `size`: "cover" crops the middle, "contain" pads with the background.

    Raises:
        PictureError: the file cannot be decoded.
    """
    with _complaining("cannot be opened"), _opened(path) as opened:
        with _complaining("cannot be decoded"):
            opened.load()
        picture = _flat(_srgb(_upright(opened)), background)
    if fit == "contain":
        return np.asarray(_contained(picture, size, background))
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box=cover_box(picture.size, size)))


def cover_box(source: Size, size: Size) -> tuple[float, float, float, float]:
    """The middle of `source`, as left, top, right, bottom, that has the aspect of `size`."""
    width, height = source
    scale = min(width / size[0], height / size[1])
    across, down = min(width, size[0] * scale), min(height, size[1] * scale)  # Pillow takes no box a rounding too large
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, min(width, left + across), min(height, top + down)


def _contained(picture: Image.Image, size: Size, background: Colour) -> Image.Image:
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    ground = Image.new("RGB", size, background)
    ground.paste(
        picture.resize(inner, Image.Resampling.LANCZOS), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
    )
    return ground


@contextlib.contextmanager
def _complaining(trouble: str) -> Generator[None]:
    """Whatever Pillow and its decoders raise over a file, as a PictureError; what they warn of goes unheard."""
    try:
        with warnings.catch_warnings():
            # Viewers show pictures with broken EXIF too; and Pillow warns from 89 megapixels on, where people's
            # panoramas begin, and refuses from twice that.
            warnings.simplefilter("ignore")
            yield
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError("has more than 178 megapixels: scale it down first") from None
    except MemoryError as error:
        raise PictureError(f"{trouble}: it is too large for this machine's memory") from error
    except Exception as error:  # from broken files, decoders raise nearly anything
        if isinstance(error, OSError) and error.strerror:
            raise PictureError(f"{trouble} ({error.strerror})") from error
        raise PictureError(f"{trouble} ({error or type(error).__name__}): is the file whole?") from error


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise PictureError(_other_kind(path)) from None


def _other_kind(path: Path) -> str:
    """What a file is that is no picture we open, and what to do with it."""
    with path.open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "is an empty file"
    if head[4:8] == b"ftyp" and head[8:12] in HEIF:
        return f"is {HEIF[head[8:12]]} picture, which cannot be opened: export it as JPEG or PNG"
    if text.startswith((b"<svg", b"<?xml", b"<!DOCTYPE svg")) and b"<svg" in head:
        return "is an SVG drawing: export it as PNG"
    if head.startswith(b"%PDF"):
        return "is a PDF: export the page as PNG"
    if head.startswith(b"8BPS"):
        return "is a Photoshop file: export it as PNG"
    if head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3") or head[8:12] in (b"AVI ", b"WAVE"):
        return "is a film or a sound, not a picture: export a frame of it as PNG"
    return f"is not a picture that can be opened ({NAMES})"


def _read_png_exif(picture: Image.Image, path: Path) -> None:
    """A PNG's EXIF may stand after its pixels, and Pillow decodes them all to find it; this skips them."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and "exif" not in picture.info:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                picture.info["exif"] = file.read(length)
            file.seek(length + 4 if head[4:] != b"eXIf" else 4, io.SEEK_CUR)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(Image.Image.getexif(picture).get(ORIENTATION, 1))  # PNG's own decodes the pixels
    except Exception:  # broken EXIF says nothing, and leaves the pixels as they are
        return 1


def _upright(picture: Image.Image) -> Image.Image:
    turn = UPRIGHT.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _srgb(picture: Image.Image) -> Image.Image:
    """The picture in sRGB: phones write Display P3, cameras Adobe RGB, printers CMYK."""
    profile = cast("bytes | None", picture.info.get("icc_profile"))
    if not profile:
        return picture
    if picture.mode in ("P", "PA") or "transparency" in picture.info:  # colours by number, or one that is clear
        picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
    alpha = picture.getchannel("A") if picture.mode == "LA" else None
    colours = picture.getchannel("L") if alpha else picture
    if colours.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(cast(Any, ImageCms).createProfile("sRGB"))  # Pillow leaves it untyped
        mode = "RGBA" if colours.mode == "RGBA" else "RGB"
        turned = ImageCms.profileToProfile(colours, source, srgb, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return picture  # a broken profile, or one for another mode, is what viewers ignore too
    if turned is not None and alpha is not None:
        turned.putalpha(alpha)
    return turned or picture


def _flat(picture: Image.Image, background: Colour) -> Image.Image:
    """Any mode as RGB, transparency filled with the background."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _deep(picture, background)
    if picture.mode not in CLEAR and "transparency" not in picture.info:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, (*background, 255))
    return Image.alpha_composite(ground, layer).convert("RGB")


def _deep(picture: Image.Image, background: Colour) -> Image.Image:
    """16 and 32-bit greyscale: Pillow's own conversion clips at 255 and gives white."""
    levels = np.asarray(picture, dtype=np.float64)
    known = levels[np.isfinite(levels)]
    largest = known.max(initial=0)
    tops = FLOAT_TOPS if picture.mode == "F" else FLOAT_TOPS[-1:]  # TIFFs of floats have no agreed range
    top = next((top for limit, top in tops if largest <= limit), largest)
    grey = np.rint(np.clip(np.nan_to_num(levels, posinf=top, neginf=0), 0, top) / top * 255).astype(np.uint8)
    frame = np.repeat(grey[..., None], 3, axis=2)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        frame[levels == clear] = background
    return Image.fromarray(frame)
