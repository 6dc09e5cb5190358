"""Where the weights of RIFE lie. Loads neither torch nor numpy, so that planning and `doctor` may ask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from post.rife_ncnn_model import BUILT, DATA, MODULE, PACKAGE, PARAM, model_problem
from post.rife_versions import family_in
from post.weights import WeightsMissing
from scenes.access import is_folder, open_to_us, probe, refusal

NAMES = {
    "rife": ("4.26", "4.25", "4.9", "4.8", "4.7", "4.6", "4.5"),
    "rife-4.6": ("4.6",),
    "rife-4.7": ("4.7", "4.9", "4.8"),
    "rife-4.26": ("4.26", "4.25"),
}
"""What a story may name, and the versions that serve it, the first that is here. `rife` is the newest; 4.7 to 4.9 are
one net, and so are 4.25 and 4.26: the version that is named comes first, then the newest of its net."""

PULLED = {"rife": "rife-4.26", "rife-4.7": "rife-4.7", "rife-4.26": "rife-4.26"}
FILES = {
    "rife": "rife_v4.26.safetensors, rife49.pth, rife46.pth and the like",
    "rife-4.6": "rife46.pth, flownet_v4.6.pkl or an ncnn folder rife-v4.6",
    "rife-4.7": "rife47.pth, rife49.pth or the like",
    "rife-4.26": "rife_v4.26.safetensors, rife426.pth, rife425.pth or the like",
}

# Within a folder of models. Source: ComfyUI's folder_paths.py (frame_interpolation) and what its packages of nodes
# for RIFE look in (ckpts/rife of ComfyUI-Frame-Interpolation; models/rife; vfi_models).
SUBFOLDERS = (
    *("frame_interpolation", "frame_interpolation/rife", "rife", "rife_models", "ckpts/rife", "vfi_models"),
    *("vfi_models/rife", "interpolation", "upscale_models", "train_log"),
)
NODES = ("ComfyUI-Frame-Interpolation", "comfyui-frame-interpolation")

SUFFIXES = (".safetensors", ".pth", ".pkl", ".pt")
NAMED = re.compile(r"rife|flownet|ifnet", re.IGNORECASE)
VERSION = re.compile(r"(?<!\d)4[._]?(\d{1,2})(?!\d)")
VARIANTS = ("", "heavy", "large", "lite")
"""The plain one is taken first; a file says the others in its name."""


@dataclass(frozen=True, slots=True)
class RifeWeights:
    """`name`: as asked for. `path`: a file of torch's or safetensors', or an ncnn model's `.bin`, its `.param` beside
    it. `version`: as its name tells, else what its net is called by: 4.6, 4.7 or 4.26."""

    name: str
    version: str
    path: Path
    format: Literal["torch", "ncnn"]


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    version: str
    variant: str


def find_rife(name: str, folders: Sequence[Path]) -> RifeWeights:
    """The weights that a name means, of all that lies in the folders of models and in the ncnn package.

    Raises:
        WeightsMissing: with what was looked for, where, and what to do.
    """
    return _first(name, *_search(folders), folders)


def known_rife(folders: Sequence[Path]) -> dict[str, RifeWeights | WeightsMissing]:
    """Every name that a story may use, with what serves it or why nothing does."""
    found, refused = _search(folders)
    served: dict[str, RifeWeights | WeightsMissing] = {}
    for name in NAMES:
        try:
            served[name] = _first(name, found, refused, folders)
        except WeightsMissing as missing:
            served[name] = missing
    return served


def find_ncnn_model(name: str, folders: Sequence[Path]) -> RifeWeights:
    """The ncnn model that a name means, for what runs it by Vulkan: `path` is its `.bin`. One that is damaged is none.

    Raises:
        WeightsMissing: with what was looked for, where, and what to do.
    """
    found, refused = _search(folders)
    models = [each for each in found if _is_ncnn(each.path) and each.version in NAMES[name]]
    for each in sorted(models, key=lambda model: NAMES[name].index(model.version)):
        problem = model_problem(each.path.parent)
        if problem is None:
            return RifeWeights(name, each.version, each.path, "ncnn")
        refused.append(problem)
    said = f"{name} on ncnn: no folder rife-v4.6 with {PARAM} and {DATA} is in {_places_said(folders)}"
    remedy = f"put it into a folder named by STORYBOARD_MODELS, or take {PACKAGE} with its own models: {BUILT}"
    raise WeightsMissing(". ".join([f"{said}: {remedy}", *refused]))


def _first(name: str, found: Sequence[_Found], refused: Sequence[str], folders: Sequence[Path]) -> RifeWeights:
    versions = NAMES[name]
    able = [each for each in found if each.version in versions]
    if not able:
        raise WeightsMissing(_missing(name, refused, folders))
    best = min(able, key=lambda each: (versions.index(each.version), VARIANTS.index(each.variant), _is_ncnn(each.path)))
    return RifeWeights(name, best.version, best.path, "ncnn" if _is_ncnn(best.path) else "torch")


def _is_ncnn(path: Path) -> bool:
    return path.suffix == ".bin"


def _search(folders: Sequence[Path]) -> tuple[list[_Found], list[str]]:
    """What there is, in the order of the folders; and of each file that is of no use, why."""
    found: list[_Found] = []
    refused: list[str] = []
    for path in dict.fromkeys(_candidates(folders, refused)):
        try:
            family = family_in(path)
        except (ValueError, OSError) as error:
            refused.append(f"{path} is of no use: {error}")
        else:
            found.append(_Found(path, _version(path, family), _variant(path)))
    return found, refused


def _candidates(folders: Sequence[Path], refused: list[str]) -> Iterator[Path]:
    for place in [place for folder in open_to_us(folders, refused) for place in _places(folder, refused)]:
        yield from _in(place, refused)
    models = _package_models()
    if models is not None:
        yield from _in(models, refused)


def _places(folder: Path, refused: list[str]) -> Iterator[Path]:
    """A folder of models may be named by itself, by ComfyUI, or by what that lies in."""
    for base in open_to_us((folder, folder / "models", folder / "ComfyUI" / "models"), refused):
        yield from (place for place in (base, *(base / name for name in SUBFOLDERS)) if is_folder(place))
    for home in (folder.parent, folder, folder / "ComfyUI"):
        yield from (place for node in NODES if is_folder(place := home / "custom_nodes" / node / "ckpts" / "rife"))


def _in(place: Path, refused: list[str]) -> Iterator[Path]:
    """Files that are named as RIFE's in a folder, and in those within that are: `flownet` and no version, mostly."""
    entries = _listed(place, refused)
    within = [entry for entry in entries if NAMED.search(entry.name) and is_folder(entry)]
    deeper = [path for folder in within for path in (*_listed(folder, refused), *sorted(folder.glob("train_log/*")))]
    for path in (*entries, *deeper):
        named = path.name == "flownet.bin" or (path.suffix.lower() in SUFFIXES and NAMED.search(path.name) is not None)
        if named and path.is_file():
            yield path


def _listed(folder: Path, refused: list[str]) -> list[Path]:
    try:
        probe(folder)
        return sorted(folder.iterdir())
    except OSError as error:
        refused += [said for said in [refusal(folder, error)] if said not in refused]
        return []


def _package_models() -> Path | None:
    """The ncnn package's folder of models, found without importing it: that would need Vulkan's libraries."""
    try:
        spec = find_spec(MODULE)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent / "models" if spec is not None and spec.origin is not None else None


def _version(path: Path, family: str) -> str:
    """By its name or its folder's, where that is a version of the net that it holds."""
    of_net = next(
        versions for versions in (NAMES["rife-4.7"], NAMES["rife-4.26"], ("4.6", "4.5")) if family in versions
    )
    for name in (path.stem, path.parent.name, path.parent.parent.name):
        told = VERSION.search(name)
        if told is not None:
            version = f"4.{told[1]}"
            return version if version in of_net else family
    return family


def _variant(path: Path) -> str:
    said = f"{path.parent.name}/{path.stem}".lower()
    return next((variant for variant in VARIANTS if variant and variant in said), "")


def _missing(name: str, refused: Sequence[str], folders: Sequence[Path]) -> str:
    pulled = PULLED.get(name)
    remedy = f"put {FILES[name]} into a folder named by STORYBOARD_MODELS"
    if pulled is not None:
        remedy = f"storyboard models pull {pulled}, or {remedy}"
    said = f"{name}: its weights are not in {_places_said(folders)}: {remedy}"
    return ". ".join([said, *refused])


def _places_said(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders)) or "any folder of models, for none is named"
