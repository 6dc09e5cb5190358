"""Where people keep weights: ComfyUI's folders, extra_model_paths.yaml, the hub's cache. Free of torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from scenes.access import is_folder, open_to_us, probe, refusal
from scenes.wan.checkpoint import PICKLES

Kind = Literal["experts", "vae", "text_encoder", "loras"]

# ComfyUI's folders within `models`, and the keys of extra_model_paths.yaml. Source: folder_paths.py; ComfyUI-GGUF.
KINDS: dict[Kind, tuple[str, ...]] = {
    "experts": ("diffusion_models", "unet", "unet_gguf", "checkpoints", "diffusers"),
    "vae": ("vae",),
    "text_encoder": ("text_encoders", "clip", "clip_gguf"),
    "loras": ("loras",),
}
EXTRA_PATHS = "extra_model_paths.yaml"
SUFFIXES = (".safetensors", ".sft", ".gguf", *PICKLES)
SHARD = re.compile(r"-\d+-of-\d+(\.\w+)?\.safetensors$")
INDEX = re.compile(r"\.safetensors\.index(\.\w+)?\.json$")
MODEL_INDEX = "model_index.json"
DEEPEST = 6
MOST = 20_000
"""Files and folders that are looked at below one folder: a whole disk must not be searched through."""


@dataclass(frozen=True, slots=True)
class Places:
    """Folders that weights are looked for in, in this order. `troubles`: what could not be used, in whole sentences."""

    folders: Mapping[Kind, tuple[Path, ...]]
    troubles: tuple[str, ...]


def weights_folders(roots: Sequence[Path]) -> Places:
    """The folders that roots stand for: ComfyUI's `models`, a folder above it, or any folder of files."""
    folders: dict[Kind, list[Path]] = {kind: [] for kind in KINDS}
    troubles: list[str] = []
    for root in open_to_us(roots, troubles):
        if not root.is_dir():
            troubles.append(f"{root} is no folder")
            continue
        for kind, paths in _within(root, troubles).items():
            folders[kind] += open_to_us(paths, troubles)
    return Places({kind: tuple(dict.fromkeys(paths)) for kind, paths in folders.items()}, tuple(troubles))


def _within(root: Path, troubles: list[str]) -> dict[Kind, list[Path]]:
    """The folders of each kind in a root."""
    found: dict[Kind, list[Path]] = {kind: [] for kind in KINDS}
    if not (root / MODEL_INDEX).is_file():  # whose vae and text_encoder are its own
        # split_files: as Comfy-Org's repositories lie on the hub.
        bases = (root, root / "models", root / "ComfyUI" / "models", root / "split_files")
        for base in open_to_us(bases, troubles):
            for kind, names in KINDS.items():
                found[kind] += [base / name for name in names if (base / name).is_dir()]
        for extra in (root / EXTRA_PATHS, *([root.parent / EXTRA_PATHS] if root.name == "models" else [])):
            if extra.is_file():
                _add_extra(extra, found, troubles)
    if not any(found.values()):
        return {kind: [root] for kind in KINDS}
    found["experts"] += [path.parent for path in sorted(root.glob(f"*/{MODEL_INDEX}"))]
    # Where files lie beside folders. Not for LoRAs: what lies around is an expert rather.
    return {kind: paths if paths or kind == "loras" else [root] for kind, paths in found.items()}


def _add_extra(path: Path, found: dict[Kind, list[Path]], troubles: list[str]) -> None:
    """Add the folders that an extra_model_paths.yaml names."""
    try:
        import yaml
    except ImportError:
        troubles.append(f'{path} cannot be read without PyYAML: pip install "storyboard[wan]"')
        return
    try:
        told: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        sections = [cast("dict[str, Any]", each) for each in dict(told or {}).values() if isinstance(each, dict)]
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        troubles.append(f"{path} cannot be read ({_in_one_line(error)})")
        return
    for section in sections:
        base = path.parent / _expanded(str(section.get("base_path") or ""))
        for kind, names in KINDS.items():
            for line in "\n".join(str(section.get(name) or "") for name in names).splitlines():
                if line.strip() and is_folder(folder := _line(base, line)):
                    found[kind].append(folder)


def _line(base: Path, line: str) -> Path:
    """A folder named on a line of its own, behind which the published example has remarks."""
    whole = base / _expanded(line.strip())
    return whole if is_folder(whole) else base / _expanded(line.partition(" #")[0].strip())


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def hub_snapshots() -> list[Path]:
    """The repositories in the hub's cache whose names speak of WAN or UMT5, each at its newest revision."""
    cache = next(open_to_us([hub_cache()], []), None)  # who looks for weights tells of one that is closed
    if cache is None or not cache.is_dir():
        return []
    named = [path for path in sorted(cache.glob("models--*")) if re.search(r"wan|umt5", path.name, re.IGNORECASE)]
    return [snapshot for path in named if (snapshot := _newest(path)) is not None]


def hub_snapshot(repo: str) -> Path | None:
    """A repository of the hub, such as Wan-AI/Wan2.2-I2V-A14B-Diffusers, where it is in the cache."""
    return _newest(hub_cache() / f"models--{repo.replace('/', '--')}")


def hub_cache() -> Path:
    """Source: huggingface_hub's constants.py."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(variable):
            return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _newest(repo: Path) -> Path | None:
    try:
        named = repo / "snapshots" / (repo / "refs" / "main").read_text(encoding="utf-8").strip()
        if named.is_dir():
            return named
    except (OSError, ValueError):
        pass  # fetched by its revision: there is no main
    return max((path for path in repo.glob("snapshots/*") if path.is_dir()), default=None)


def walk(folder: Path, troubles: list[str]) -> Iterator[Path]:
    """What may be weights below a folder, sorted: files, folders of shards, and whole models as diffusers keeps them.

    Links are followed, but no folder is entered twice. `troubles` takes what could not be looked at.
    """
    walker = _Walker(troubles)
    yield from walker.below(folder, DEEPEST)
    if walker.left < 0:
        troubles.append(
            f"{folder} holds more than {MOST} files: only some were looked at, name the folder of the weights"
        )


class _Walker:
    def __init__(self, troubles: list[str]) -> None:
        self._troubles = troubles
        self._seen: set[tuple[int, int]] = set()
        self.left = MOST

    def below(self, folder: Path, deeper: int) -> Iterator[Path]:
        try:
            probe(folder)
            facts = folder.stat()
            entries = [] if (facts.st_dev, facts.st_ino) in self._seen else sorted(folder.iterdir())
        except OSError as error:
            self._troubles.append(refusal(folder, error))
            return
        self._seen.add((facts.st_dev, facts.st_ino))
        names = {entry.name for entry in entries}
        if MODEL_INDEX in names:
            yield folder
            return
        sharded = any(INDEX.search(name) for name in names)
        if sharded:
            yield folder
        for entry in entries:
            self.left -= 1
            if entry.name.startswith(".") or self.left < 0:
                continue
            if is_folder(entry):
                if deeper:
                    yield from self.below(entry, deeper - 1)
            elif entry.name.lower().endswith(SUFFIXES) and not (sharded and SHARD.search(entry.name)):
                yield entry


def components(model: Path, kind: Kind) -> list[tuple[Path, str | None]]:
    """The parts of a kind in a diffusers folder of WAN, and whether each is the high or the low expert."""
    index = model_index(model)
    if "Wan" not in str(index.get("_class_name", "")):
        return []
    if kind == "experts":
        two = has_part(index, "transformer_2")
        return [(model / "transformer", "high" if two else None), *([(model / "transformer_2", "low")] if two else [])]
    return [(model / kind, None)] if kind in ("vae", "text_encoder") else []


def model_index(model: Path) -> dict[str, Any]:
    """What a diffusers folder says of itself; empty where it cannot be read."""
    try:
        told = json.loads((model / MODEL_INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}


def has_part(index: Mapping[str, Any], name: str) -> bool:
    part: Any = index.get(name)
    return isinstance(part, list) and all(each is not None for each in cast("list[Any]", part))
