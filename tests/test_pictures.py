"""Pictures of every kind people have become the frame they should: upright, sRGB, on their background, undistorted."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.color
import skimage.data
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageOps, features

from scenes.footage import Frame, Size
from scenes.picture import PictureError, cover_box, fit_picture, parse_colour, picture_size

SIZE = (128, 96)
GREEN = (0, 128, 0)
PHOTO = Image.fromarray(skimage.data.astronaut()[:192, 100:356])  # 256x192
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How upright pixels are stored for an orientation: each is its own way back, but for 6 and 8."""


def fitted(path: Path, size: Size = SIZE, fit: str = "cover", background: tuple[int, int, int] = GREEN) -> Frame:
    frame = fit_picture(path, size, fit, background)
    assert frame.dtype == np.uint8
    assert frame.shape == (size[1], size[0], 3)
    return frame


def saved(folder: Path, picture: Image.Image, name: str = "picture.png", **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of levels, leaving out the 0.1% of pixels that resampling rings on."""
    return float(np.percentile(np.abs(one.astype(float) - other.astype(float)), 99.9))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    return fitted(saved(tmp_path_factory.mktemp("plain"), PHOTO))


class TestKinds:
    """The photograph, stored in every way, against the plain PNG."""

    @pytest.mark.parametrize(
        ("name", "options", "near"),
        [
            ("p.jpg", {"quality": 95}, 12),
            ("p.jpg", {"quality": 95, "progressive": True, "subsampling": 0}, 8),
            ("p.webp", {"lossless": True}, 0),
            ("p.webp", {"quality": 95}, 12),
            ("p.bmp", {}, 0),
            ("p.tga", {}, 0),
            ("p.ppm", {}, 0),
            ("p.tif", {}, 0),
            ("p.tif", {"compression": "tiff_lzw"}, 0),
            ("p.jp2", {"irreversible": False}, 0),
            ("p.png", {"interlace": 1}, 0),
            ("p.gif", {}, 40),
        ],
        ids=str,
    )
    def test_formats(self, name: str, options: dict[str, Any], near: float, tmp_path: Path, expected: Frame):
        path = saved(tmp_path, PHOTO, name, **options)
        assert picture_size(path) == PHOTO.size
        assert apart(fitted(path), expected) <= near

    @pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
    def test_avif(self, tmp_path: Path, expected: Frame):
        assert apart(fitted(saved(tmp_path, PHOTO, "p.avif", quality=95)), expected) <= 16

    def test_an_ending_that_lies(self, tmp_path: Path, expected: Frame):
        """A browser's .jpg is often a WebP."""
        assert apart(fitted(saved(tmp_path, PHOTO, "p.jpg", format="WEBP", lossless=True)), expected) == 0

    @pytest.mark.parametrize("mode", ["L", "1", "P"])
    def test_modes_without_transparency(self, mode: str, tmp_path: Path):
        picture = PHOTO.quantize(64) if mode == "P" else PHOTO.convert(mode)
        plain = fitted(saved(tmp_path, picture.convert("RGB"), "plain.png"))
        assert apart(fitted(saved(tmp_path, picture, "p.png")), plain) == 0

    @pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
    def test_cmyk_tiff(self, compression: str, tmp_path: Path, expected: Frame):
        assert apart(fitted(saved(tmp_path, PHOTO.convert("CMYK"), "p.tif", compression=compression)), expected) <= 2

    def test_cmyk_jpeg(self, tmp_path: Path, expected: Frame):
        """As printers have them: four channels, inverted by Adobe's habit."""
        assert apart(fitted(saved(tmp_path, PHOTO.convert("CMYK"), "p.jpg", quality=95)), expected) <= 16

    def test_mpo_gives_its_first_picture(self, tmp_path: Path, expected: Frame):
        """Phones write a JPEG with a second picture (depth, gain map) behind it."""
        second = [ImageOps.invert(PHOTO)]
        path = saved(tmp_path, PHOTO, "p.jpg", format="MPO", save_all=True, append_images=second, quality=95)
        with Image.open(path) as opened:
            assert opened.format == "MPO"
        assert picture_size(path) == PHOTO.size
        assert apart(fitted(path), expected) <= 12

    @pytest.mark.parametrize(
        ("name", "options", "near"), [("p.gif", {}, 40), ("p.webp", {"lossless": True}, 0), ("p.png", {}, 0)]
    )
    def test_animated_pictures_give_their_first_frame(
        self, name: str, options: dict[str, Any], near: float, tmp_path: Path, expected: Frame
    ):
        others = [ImageOps.invert(PHOTO), ImageOps.mirror(PHOTO)]
        path = saved(tmp_path, PHOTO, name, save_all=True, append_images=others, duration=80, **options)
        assert apart(fitted(path), expected) <= near

    def test_icon(self, tmp_path: Path):
        path = saved(tmp_path, PHOTO.resize((64, 64)), "p.ico", sizes=[(16, 16), (64, 64)])
        assert picture_size(path) == (64, 64)
        assert apart(fitted(path, (64, 64)), np.asarray(PHOTO.resize((64, 64)))) <= 1


class TestDeep:
    """More than eight bits a channel."""

    levels = skimage.data.camera()[:192, 128:384]
    plain = np.repeat(levels[..., None], 3, axis=2)

    def same(self, path: Path) -> None:
        assert picture_size(path) == (256, 192)
        assert apart(fitted(path, (256, 192)), self.plain) <= 1

    def test_16_bit_grey_png(self, tmp_path: Path):
        self.same(saved(tmp_path, Image.fromarray(self.levels.astype(np.uint16) * 257)))

    def test_16_bit_grey_png_with_a_clear_level(self, tmp_path: Path):
        """A tRNS chunk names one level as transparent."""
        levels = np.full((8, 8), 40000, np.uint16)
        levels[:, :4] = 1234
        path = tmp_path / "p.png"
        path.write_bytes(png(8, 8, 16, 0, levels.astype(">u2"), [(b"tRNS", struct.pack(">H", 1234))]))
        frame = fitted(path, (8, 8))
        assert np.all(frame[:, :4] == GREEN)
        assert np.all(frame[:, 4:] == 156)

    def test_16_bit_rgb_png(self, tmp_path: Path):
        colours = np.asarray(PHOTO).astype(np.uint16) * 257
        path = tmp_path / "p.png"
        path.write_bytes(png(256, 192, 16, 2, colours.astype(">u2"), []))
        assert apart(fitted(path, (256, 192)), np.asarray(PHOTO)) <= 1

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_16_bit_grey_tiff(self, order: Any, tmp_path: Path):
        path = tmp_path / "p.tif"
        tifffile.imwrite(path, self.levels.astype(np.uint16) * 257, byteorder=order)
        self.same(path)

    def test_16_bit_rgb_tiff(self, tmp_path: Path):
        path = tmp_path / "p.tif"
        tifffile.imwrite(path, np.asarray(PHOTO).astype(np.uint16) * 257, photometric="rgb")
        assert apart(fitted(path, (256, 192)), np.asarray(PHOTO)) <= 1

    @pytest.mark.parametrize("top", [1.0, 255.0, 65535.0, 2e6])
    def test_float_tiff(self, top: float, tmp_path: Path):
        """No range is agreed on: 0 to 1 is usual, others are told by their largest value."""
        levels = self.levels / np.float32(self.levels.max()) * np.float32(top)
        tifffile.imwrite(tmp_path / "p.tif", levels.astype(np.float32))
        plain = np.rint(levels / top * 255)
        assert apart(fitted(tmp_path / "p.tif", (256, 192)), np.repeat(plain[..., None], 3, axis=2)) <= 1

    def test_float_tiff_with_highlights_and_holes(self, tmp_path: Path):
        levels = np.full((16, 16), 0.5, np.float32)
        levels[0, :3] = np.nan, np.inf, -np.inf
        levels[1, 0] = 3.0
        tifffile.imwrite(tmp_path / "p.tif", levels)
        frame = fitted(tmp_path / "p.tif", (16, 16))[..., 0]
        assert frame[0, :3].tolist() == [0, 255, 0]
        assert frame[1, 0] == 255
        assert frame[8, 8] == 128

    def test_32_bit_tiff(self, tmp_path: Path):
        tifffile.imwrite(tmp_path / "p.tif", self.levels.astype(np.int32) * 8_000_000)
        plain = np.rint(self.levels / self.levels.max() * 255)
        assert apart(fitted(tmp_path / "p.tif", (256, 192)), np.repeat(plain[..., None], 3, axis=2)) <= 1


def png(width: int, height: int, bits: int, kind: int, rows: NDArray[Any], chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG written by hand: depths and chunks that Pillow does not write."""
    flat = np.frombuffer(rows.tobytes(), np.uint8).reshape(height, -1)
    packed = zlib.compress(np.pad(flat, ((0, 0), (1, 0))).tobytes())
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    parts = [head, *chunks, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, content) for name, content in parts)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


class TestTransparency:
    """What is clear shows the background, in every way of saying so."""

    mask = Image.new("L", PHOTO.size, 0)
    ImageDraw.Draw(mask).rectangle((0, 0, 127, 191), fill=255)  # the left half is opaque

    def halves(self, path: Path, left: Image.Image, near: float = 1, **how: Any) -> None:
        frame = fitted(path, PHOTO.size, **how)
        assert apart(frame[:, :126], np.asarray(left.convert("RGB"))[:, :126]) <= near
        assert np.all(frame[:, 130:] == how.get("background", GREEN))

    @pytest.mark.parametrize("background", [GREEN, (255, 255, 255), (0, 0, 0), (1, 2, 3)])
    def test_rgba(self, background: tuple[int, int, int], tmp_path: Path):
        picture = PHOTO.copy()
        picture.putalpha(self.mask)
        self.halves(saved(tmp_path, picture), PHOTO, background=background)

    @pytest.mark.parametrize("name", ["p.webp", "p.tif", "p.tga", "p.jp2"])
    def test_rgba_in_other_formats(self, name: str, tmp_path: Path):
        picture = PHOTO.copy()
        picture.putalpha(self.mask)
        options: dict[str, Any] = {"lossless": True, "exact": True} if name == "p.webp" else {}
        self.halves(saved(tmp_path, picture, name, **options), PHOTO)

    def test_grey_with_alpha(self, tmp_path: Path):
        picture = PHOTO.convert("L")
        picture.putalpha(self.mask)
        assert picture.mode == "LA"
        self.halves(saved(tmp_path, picture), PHOTO.convert("L"))

    @pytest.mark.parametrize("name", ["p.png", "p.gif"])
    def test_palette_with_a_clear_colour(self, name: str, tmp_path: Path):
        palette = PHOTO.quantize(63)
        indexes = np.asarray(palette).copy()
        indexes[:, 128:] = 63
        picture = Image.fromarray(indexes, "P")
        picture.putpalette([*(palette.getpalette() or [])[:189], 255, 0, 255])
        self.halves(saved(tmp_path, picture, name, transparency=63), palette.convert("RGB"))

    def test_palette_with_alpha_for_each_colour(self, tmp_path: Path):
        picture = Image.new("P", PHOTO.size, 1)
        picture.putpalette([255, 0, 0, 0, 0, 255])
        picture.paste(0, (128, 0, 256, 192))
        self.halves(saved(tmp_path, picture, transparency=b"\x00\xff"), Image.new("RGB", PHOTO.size, "blue"))

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_one_clear_colour_without_alpha(self, mode: str, tmp_path: Path):
        ink, clear = {"RGB": ((9, 9, 9), (255, 0, 255)), "L": (9, 200)}[mode]
        picture = Image.new(mode, PHOTO.size, ink)
        picture.paste(clear, (128, 0, 256, 192))
        self.halves(saved(tmp_path, picture, transparency=clear), Image.new("RGB", PHOTO.size, (9, 9, 9)))

    def test_half_clear_is_half_background(self, tmp_path: Path):
        frame = fitted(saved(tmp_path, Image.new("RGBA", SIZE, (200, 0, 100, 128))), background=(0, 100, 0))
        assert np.abs(frame.astype(int) - (100, 50, 50)).max() <= 1

    def test_no_fringe_of_the_hidden_colour(self, tmp_path: Path):
        """Clear pixels often hide black or white, which must not show where the picture is scaled."""
        picture = Image.new("RGBA", (512, 384), (255, 0, 0, 0))
        ImageDraw.Draw(picture).ellipse((100, 60, 400, 330), fill=(255, 255, 255, 255))
        frame = fitted(saved(tmp_path, picture), background=(255, 255, 255))
        assert frame.min() == 255


class TestOrientation:
    """A picture lies in its file as the camera was held; EXIF says how."""

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("name", ["p.png", "p.tif", "p.webp"])
    def test_all_orientations_give_the_same_frame(self, name: str, orientation: int, tmp_path: Path, expected: Frame):
        picture = PHOTO.transpose(TURNS[orientation]) if orientation > 1 else PHOTO
        exif = Image.Exif()
        exif[0x0112] = orientation
        options: dict[str, Any] = {"lossless": True} if name == "p.webp" else {}
        path = saved(tmp_path, picture, name, exif=exif, **options)
        assert picture_size(path) == PHOTO.size
        assert apart(fitted(path), expected) <= 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_of_a_phones_jpeg(self, orientation: int, tmp_path: Path, expected: Frame):
        picture = PHOTO.transpose(TURNS[orientation]) if orientation > 1 else PHOTO
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path, picture, "p.jpg", exif=exif, quality=95)
        assert picture_size(path) == PHOTO.size
        assert apart(fitted(path), expected) <= 14

    @pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_of_avif(self, orientation: int, tmp_path: Path, expected: Frame):
        picture = PHOTO.transpose(TURNS[orientation]) if orientation > 1 else PHOTO
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path, picture, "p.avif", exif=exif, quality=95, speed=10)
        assert picture_size(path) == PHOTO.size
        assert apart(fitted(path), expected) <= 16

    def test_exif_behind_the_pixels_of_a_png(self, tmp_path: Path):
        """Editors append it there; the size must be known without decoding the pixels."""
        exif = Image.Exif()
        exif[0x0112] = 6
        plain = saved(tmp_path, PHOTO.transpose(TURNS[6])).read_bytes()
        path = tmp_path / "late.png"
        path.write_bytes(plain[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:])
        assert picture_size(path) == PHOTO.size
        assert apart(fitted(path), fitted(saved(tmp_path, PHOTO))) == 0

    def test_broken_exif_leaves_the_picture_as_it_lies(self, tmp_path: Path, expected: Frame):
        for broken in (
            b"",
            b"Exif\0\0",
            b"Exif\0\0II*\0\xff\xff\xff\xff",
            b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(9),
        ):
            path = saved(tmp_path, PHOTO, "p.jpg", exif=broken, quality=95)
            assert picture_size(path) == PHOTO.size
            assert apart(fitted(path), expected) <= 12


class TestFit:
    def circle(self, folder: Path, width: int, height: int, radius: int) -> Path:
        picture = Image.new("RGB", (width, height), "black")
        across, down = width / 2, height / 2
        box = (across - radius, down - radius, across + radius, down + radius)
        ImageDraw.Draw(picture).ellipse(box, fill="white")
        return saved(folder, picture)

    @pytest.mark.parametrize("fit", ["cover", "contain"])
    @pytest.mark.parametrize("shape", [(1000, 300), (300, 1000), (640, 480), (417, 333), (3000, 2000)])
    def test_a_circle_stays_a_circle(self, fit: str, shape: Size, tmp_path: Path):
        path = self.circle(tmp_path, *shape, min(shape) // 4)
        lit = fitted(path, (320, 240), fit, (0, 0, 0))[..., 0] / 255
        across, down = lit.sum(axis=1).max(), lit.sum(axis=0).max()  # diameters
        assert across == pytest.approx(down, abs=1)
        assert lit.sum() == pytest.approx(np.pi / 4 * across * down, rel=0.02)

    @pytest.mark.parametrize("fit", ["cover", "contain"])
    def test_the_middle_stays_in_the_middle(self, fit: str, tmp_path: Path):
        lit = fitted(self.circle(tmp_path, 1000, 300, 60), (320, 240), fit, (0, 0, 0))[..., 0].astype(float)
        rows, columns = np.indices(lit.shape)
        assert (rows * lit).sum() / lit.sum() == pytest.approx(119.5, abs=0.5)
        assert (columns * lit).sum() / lit.sum() == pytest.approx(159.5, abs=0.5)

    def test_cover_crops_both_sides_alike(self, tmp_path: Path):
        picture = Image.new("RGB", (400, 100), "black")
        picture.paste("white", (150, 0, 250, 100))
        assert fitted(saved(tmp_path, picture), (100, 100)).min() >= 240
        assert fitted(saved(tmp_path, picture.transpose(TURNS[6])), (100, 100)).min() >= 240

    def test_contain_shows_all_and_pads(self, tmp_path: Path):
        frame = fitted(saved(tmp_path, Image.new("RGB", (400, 100), "red")), (100, 100), "contain", (1, 2, 3))
        assert np.all(frame[:37] == (1, 2, 3))
        assert np.all(frame[38:62] == (255, 0, 0))
        assert np.all(frame[63:] == (1, 2, 3))

    def test_a_picture_of_the_right_size_is_untouched(self, tmp_path: Path):
        for fit in ("cover", "contain"):
            assert np.array_equal(fitted(saved(tmp_path, PHOTO), PHOTO.size, fit), np.asarray(PHOTO))

    @pytest.mark.parametrize("fit", ["cover", "contain"])
    @pytest.mark.parametrize("shape", [(12000, 100), (100, 12000), (1, 1), (1, 5000), (5000, 1), (2, 3)])
    def test_extreme_shapes(self, shape: Size, fit: str, tmp_path: Path):
        path = saved(tmp_path, Image.new("RGB", shape, (10, 200, 30)))
        assert picture_size(path) == shape
        frame = fitted(path, (64, 48), fit, (10, 200, 30))
        assert np.all(frame == (10, 200, 30))

    def test_large_pictures_are_taken_without_a_warning(self, tmp_path: Path):
        """Pillow warns of bombs from 89 megapixels on, where panoramas begin."""
        path = saved(tmp_path, Image.new("1", (30_000, 3_100), 1), "wide.png")
        assert picture_size(path) == (30_000, 3_100)
        assert fitted(path, (32, 32)).min() == 255

    @given(
        source=st.tuples(st.integers(1, 30_000), st.integers(1, 30_000)),
        size=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    )
    def test_cover_box_lies_in_the_picture_and_has_the_aspect(self, source: Size, size: Size):
        left, top, right, bottom = cover_box(source, size)
        assert 0 <= left < right <= source[0]
        assert 0 <= top < bottom <= source[1]
        assert (right - left) * size[1] == pytest.approx((bottom - top) * size[0], rel=1e-9)
        assert left + right == pytest.approx(source[0])
        assert top + bottom == pytest.approx(source[1])


def profile(red: tuple[float, float], green: tuple[float, float], blue: tuple[float, float], gamma: float) -> bytes:
    """An ICC v2 display profile with these primaries (CIE xy), white D65 and a gamma curve."""
    to_xyz = rgb_to_xyz(red, green, blue)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    white, d50 = to_xyz.sum(axis=1), np.array([0.9642, 1.0, 0.8249])
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford
    columns = (adapt @ to_xyz).T
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))
    tags: dict[bytes, bytes] = {
        b"desc": b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz(d50),
        **{name: xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, content, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", offset + len(content), len(value))
        content += value
    head = struct.pack(">I4sI4s4s4s", 0, bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head = head + bytes(28) + xyz(d50)[8:] + bytes(48)
    whole = head + struct.pack(">I", len(tags)) + table + content
    return struct.pack(">I", len(whole)) + whole[4:]


def rgb_to_xyz(red: tuple[float, float], green: tuple[float, float], blue: tuple[float, float]) -> NDArray[np.float64]:
    """Linear RGB to XYZ, where full red, green and blue make D65."""
    primaries = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return primaries * np.linalg.solve(primaries, white)


def xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def srgb_of(levels: NDArray[Any], primaries: Any, gamma: float) -> NDArray[np.float64]:
    """What a profile's levels are in sRGB, by arithmetic."""
    linear = (levels / 255) ** gamma @ (np.linalg.inv(rgb_to_xyz(*SRGB)) @ rgb_to_xyz(*primaries)).T
    clipped = np.clip(linear, 0, 1)
    return 255 * np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


class TestColour:
    """Profiles convert to sRGB; what cannot be understood is ignored, as viewers do."""

    patches = np.random.default_rng(5).integers(40, 216, (12, 16, 3), dtype=np.uint8)

    def picture(self) -> Image.Image:
        return Image.fromarray(self.patches.repeat(8, 0).repeat(8, 1))

    @pytest.mark.parametrize(("primaries", "gamma"), [(P3, 2.2), (SRGB, 1.0), (P3, 1.8)])
    @pytest.mark.parametrize("name", ["p.png", "p.tif", "p.webp"])
    def test_profiles_convert(self, primaries: Any, gamma: float, name: str, tmp_path: Path):
        options: dict[str, Any] = {"lossless": True} if name == "p.webp" else {}
        path = saved(tmp_path, self.picture(), name, icc_profile=profile(*primaries, gamma), **options)
        found = fitted(path, (128, 96))[4::8, 4::8].astype(float)
        wanted = srgb_of(self.patches, primaries, gamma)
        assert np.abs(found - wanted).max() <= 2
        assert np.abs(wanted - self.patches).max() > 15  # the profile does say something

    def test_display_p3_red_is_not_srgb_red(self, tmp_path: Path):
        picture = Image.new("RGB", SIZE, (200, 60, 60))
        frame = fitted(saved(tmp_path, picture, icc_profile=profile(*P3, 2.2)))
        assert frame[0, 0, 0] > 205
        assert frame[0, 0, 1] < 50

    def test_srgbs_own_profile_changes_nothing(self, tmp_path: Path, expected: Frame):
        own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert apart(fitted(saved(tmp_path, PHOTO, icc_profile=own)), expected) <= 1

    def test_alpha_is_kept(self, tmp_path: Path):
        picture = Image.new("RGBA", SIZE, (200, 60, 60, 255))
        picture.paste((0, 0, 0, 0), (64, 0, 128, 96))
        frame = fitted(saved(tmp_path, picture, icc_profile=profile(*P3, 2.2)))
        assert frame[0, 0, 0] > 205
        assert np.all(frame[:, 66:] == GREEN)

    def test_palettes_convert_too(self, tmp_path: Path):
        picture = Image.new("P", SIZE, 1)
        picture.putpalette([0, 0, 0, 200, 60, 60])
        picture.paste(0, (64, 0, 128, 96))
        frame = fitted(saved(tmp_path, picture, icc_profile=profile(*P3, 2.2), transparency=0))
        assert frame[0, 0, 0] > 205
        assert np.all(frame[:, 66:] == GREEN)

    def test_a_clear_colour_stays_clear(self, tmp_path: Path):
        picture = Image.new("RGB", SIZE, (200, 60, 60))
        picture.paste((9, 99, 199), (64, 0, 128, 96))
        frame = fitted(saved(tmp_path, picture, icc_profile=profile(*P3, 2.2), transparency=(9, 99, 199)))
        assert frame[0, 0, 0] > 205
        assert np.all(frame[:, 66:] == GREEN)

    @pytest.mark.parametrize("broken", [b"no profile", bytes(200), profile(*P3, 2.2)[:200]])
    def test_broken_profiles_are_ignored(self, broken: bytes, tmp_path: Path, expected: Frame):
        assert apart(fitted(saved(tmp_path, PHOTO, icc_profile=broken)), expected) == 0

    @pytest.mark.parametrize("mode", ["L", "CMYK", "LA", "I;16"])
    def test_profiles_of_another_kind_are_ignored(self, mode: str, tmp_path: Path):
        levels = np.full((96, 128), 30000, np.uint16)
        picture = Image.fromarray(levels) if mode == "I;16" else PHOTO.convert("L" if mode == "LA" else mode)
        if mode == "LA":
            picture.putalpha(255)
        plain = fitted(saved(tmp_path, picture, "plain.tif"))
        assert apart(fitted(saved(tmp_path, picture, "p.tif", icc_profile=profile(*P3, 2.2))), plain) == 0


class TestBroken:
    def test_the_error_says_what_to_do(self, tmp_path: Path):
        path = saved(tmp_path, PHOTO)
        path.write_bytes(path.read_bytes()[:5000])
        assert picture_size(path) == PHOTO.size  # headers only
        with pytest.raises(PictureError, match=r"^cannot be decoded \(.*\): is the file whole\?$"):
            fitted(path)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "TGA", "PPM", "JPEG2000", "ICO"])
    def test_no_damage_gives_another_error(self, kind: str, tmp_path: Path):
        """Bytes flipped and ends cut: a frame or a PictureError, nothing else."""
        rng = np.random.default_rng(7)
        file = io.BytesIO()
        PHOTO.resize((64, 48)).save(file, kind)
        whole = np.frombuffer(file.getvalue(), np.uint8)
        path = tmp_path / "p"
        for _ in range(60):
            damaged = whole[: rng.integers(1, len(whole) + 1)].copy() if rng.random() < 0.3 else whole.copy()
            where = np.minimum(rng.geometric(0.02, 4), len(damaged)) - 1  # mostly in the head
            damaged[where] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            for read in (picture_size, fitted):
                with contextlib.suppress(PictureError):
                    read(path)

    def test_a_picture_that_has_gone(self, tmp_path: Path):
        with pytest.raises(PictureError, match=r"^cannot be opened \(No such file or directory\)$"):
            fitted(tmp_path / "gone.png")

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
    def test_files_are_closed(self, tmp_path: Path):
        path = saved(tmp_path, PHOTO)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            picture_size(path)
            fitted(path)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("name", "colour"),
    [("white", (255, 255, 255)), (" Black ", (0, 0, 0)), ("#102030", (16, 32, 48)), ("rgb(1, 2, 3)", (1, 2, 3))],
)
def test_colours(name: str, colour: tuple[int, int, int]):
    assert parse_colour(name) == colour


@pytest.mark.parametrize("name", ["", "whitish", "#12345", "rgb(256, 0, 0)", "#10203040", "rgba(0, 0, 0, 0)", "1,2,3"])
def test_no_colours(name: str):
    with pytest.raises(ValueError, match="colo"):
        parse_colour(name)


def test_a_photograph_keeps_its_colours_in_all_sizes(tmp_path: Path):
    """Scaled down and up, the mean colour of the picture stays (in Lab, to half a unit)."""
    path = saved(tmp_path, PHOTO)
    whole = skimage.color.rgb2lab(np.asarray(PHOTO)).mean(axis=(0, 1))
    for size in ((64, 48), (512, 384), (832, 624)):
        assert np.abs(skimage.color.rgb2lab(fitted(path, size)).mean(axis=(0, 1)) - whole).max() < 0.5
