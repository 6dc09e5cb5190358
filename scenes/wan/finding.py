"""The search for a model's parts: what the story names, the weights folders, the hub's cache. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scenes.access import denied
from scenes.wan.anatomy import ExpertShape
from scenes.wan.candidates import Candidate, Shelf, best, best_pair, look
from scenes.wan.checkpoint import CheckpointError
from scenes.wan.file_names import family
from scenes.wan.fitting import VAES, check_pair, check_part, check_width, wanted
from scenes.wan.identify import width
from scenes.wan.lookup import WeightsMissing, named_file, searched
from scenes.wan.models import MODELS, WanModel
from scenes.wan.refusals import I2V_FILES, ONE_FILE, REPO, UMT5_FILES
from scenes.wan.tokenizer_files import find_tokenizer
from scenes.wan.weights_folders import (
    KINDS,
    MODEL_INDEX,
    Kind,
    Places,
    has_part,
    hub_cache,
    hub_snapshot,
    hub_snapshots,
    model_index,
    weights_folders,
)

T = TypeVar("T")

SLOTS: dict[str, Kind] = {"high": "experts", "low": "experts", "vae": "vae", "text_encoder": "text_encoder"}
TOLD = 4
"""Files at most that a message says are of no use: folders may hold hundreds."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where a model's parts lie, files or components' folders. `tokenizer`: None where the encoder's file holds it."""

    high: Path
    low: Path | None
    vae: Path
    text_encoder: Path
    tokenizer: Path | None


def search_tiers(folders: Sequence[Path]) -> tuple[Places, ...]:
    """Where to look, in turn: what was named comes before what happens to be in the hub's cache."""
    snapshots = hub_snapshots()
    return (weights_folders(folders), *([weights_folders(snapshots)] if snapshots else []))


class Finder:
    """Finds one model's parts, and collects what is missing, so that all of it is said at once."""

    def __init__(self, model: WanModel, beside: Path, folders: Sequence[Path]) -> None:
        self._model, self._beside, self._folders = model, beside, tuple(folders)
        self._tiers = search_tiers(folders)
        self._own = len(self._tiers)  # how many tiers experts may come from
        self._shelves: dict[tuple[int, Kind], Shelf] = {}
        self._lacks: list[str] = []
        self._wanted: list[str] = []

    def find(self, named: str | Mapping[str, str]) -> Located:
        """Raises WeightsMissing and CheckpointError."""
        if not isinstance(named, str):
            return self._gathered({part: self._named(part, name) for part, name in named.items()})
        if named in MODELS:
            return self._gathered({})
        path = self._place(named)
        if path.is_file():
            candidate = look(path)
            check_part("high", candidate, self._model)
            if self._model.experts > 1:
                raise CheckpointError(
                    f'model = "{named}" is one file, and {self._model.name} has two experts: '
                    'write model = { high = "...", low = "..." }'
                )
            return self._gathered({"high": candidate})
        if (path / MODEL_INDEX).is_file():
            return self._gathered(self._whole(path))
        self._tiers, self._own = (weights_folders([path]), *self._tiers), 1
        return self._gathered({})

    def _named(self, part: str, name: str) -> Candidate:
        return look(named_file(name, self._beside, SLOTS[part], self._tiers[0], f'{part} = "{name}"'))

    def _place(self, named: str) -> Path:
        """The folder or file that stands for the whole model."""
        for folder in (self._beside, *self._folders):
            if (folder / named).exists():
                return folder / named
        snapshot = hub_snapshot(named)
        if snapshot is not None:
            return snapshot
        try:
            return named_file(named, self._beside, "experts", self._tiers[0], f'model = "{named}"')
        except WeightsMissing as error:
            raise WeightsMissing(f"{error}; models have the names {' and '.join(MODELS)}") from None

    def _whole(self, folder: Path) -> dict[str, Candidate]:
        """The parts of a folder as diffusers writes it."""
        index = model_index(folder)
        if has_part(index, "image_encoder"):
            raise CheckpointError(
                f"{folder} is WAN 2.1's image-to-video model (it has an image_encoder), and WAN 2.2 is wanted: "
                "take Wan-AI/Wan2.2-I2V-A14B-Diffusers or Wan-AI/Wan2.2-TI2V-5B-Diffusers"
            )
        made = str(index.get("_class_name", "a damaged model"))
        if "Wan" not in made:
            raise CheckpointError(f"{folder} is {made}, no model of WAN: take Wan-AI/Wan2.2-I2V-A14B-Diffusers")
        parts = {"high": look(folder / "transformer", "high"), "vae": look(folder / "vae")}
        if self._model.experts > 1:
            if parts["high"].refusal is None and not has_part(index, "transformer_2"):
                raise CheckpointError(f"{folder} lacks transformer_2, the low-noise expert: download it again")
            parts["low"] = look(folder / "transformer_2", "low")
        return parts | {"text_encoder": look(folder / "text_encoder")}

    def _gathered(self, given: dict[str, Candidate]) -> Located:
        for part, candidate in given.items():
            check_part(part, candidate, self._model)
        high, low = self._experts(given)
        vae = given.get("vae") or self._search("vae", self._best("vae"))
        shape = high.shape if high else None
        encoder = given.get("text_encoder") or self._search("text_encoder", self._best("text_encoder", shape))
        if encoder is not None and shape is not None:
            check_width(encoder, shape)
        self._lack(vae, "vae", f"its VAE, {VAES[self._model.name]}")
        self._lack(encoder, "text_encoder", f"its text encoder, {UMT5_FILES}")
        if high is None or vae is None or encoder is None or self._lacks:
            raise WeightsMissing(self._says())
        tokenizer = find_tokenizer(encoder, self._tiers)
        return Located(high.path, low.path if low else None, vae.path, encoder.path, tokenizer)

    def _experts(self, given: dict[str, Candidate]) -> tuple[Candidate | None, Candidate | None]:
        high, low = given.get("high"), given.get("low")
        if self._model.experts == 1:
            high = high or self._search("experts", self._best("high"))
            self._lack(high, "experts", f"its weights, {ONE_FILE}")
            return high, None
        if high is not None and low is not None:
            check_pair(high, low)
            return high, low
        known = high or low
        if known is not None:
            return self._with_partner(known, "low" if high else "high")
        pair = self._search("experts", lambda seen: best_pair(seen, self._fits("high")), self._own)
        self._lack(pair, "experts", f"a high and a low-noise expert that belong together, {I2V_FILES}")
        return (pair.high, pair.low) if pair else (None, None)

    def _with_partner(self, known: Candidate, side: str) -> tuple[Candidate | None, Candidate | None]:
        """An expert that is named alone, with the other of its family."""

        def partner(each: Candidate) -> bool:
            same = family(each.path) == family(known.path) and each.shape == known.shape
            return same and each.side == side and self._fits(side)(each)

        near = [look(path) for path in sorted(known.path.parent.glob(f"*{known.path.suffix}")) if path != known.path]
        found = best(near, partner) or self._search("experts", lambda seen: best(seen, partner))
        self._lack(found, "experts", f'the {side}-noise expert that belongs to {known.path}: name it, {side} = "..."')
        return (known, found) if side == "low" else (found, known)

    def _best(self, part: str, shape: ExpertShape | None = None) -> Callable[[Sequence[Candidate]], Candidate | None]:
        fits = self._fits(part)

        def choose(seen: Sequence[Candidate]) -> Candidate | None:
            return best(seen, lambda each: fits(each) and (shape is None or _width(each) == shape.text_dim))

        return choose

    def _fits(self, part: str) -> Callable[[Candidate], bool]:
        return lambda each: each.refusal is None and wanted(part, each, self._model) is None

    def _search(
        self, kind: Kind, choose: Callable[[Sequence[Candidate]], T | None], tiers: int | None = None
    ) -> T | None:
        """What is chosen from the first tier that has it: from its likely names, else from all of it."""
        for index in range(len(self._tiers) if tiers is None else tiers):
            shelf = self._shelves.get((index, kind)) or Shelf(kind, self._tiers[index])
            self._shelves[index, kind] = shelf
            found = choose(shelf.seen)
            if found is None:
                found = choose(shelf.all())
            if found is not None:
                return found
        return None

    def _lack(self, found: object, kind: Kind, what: str) -> None:
        if found is None:
            self._lacks.append(what)
            self._wanted.append(kind)

    def _says(self) -> str:
        tier = self._tiers[0]
        folders = dict.fromkeys(folder for kind in KINDS if kind in self._wanted for folder in tier.folders[kind])
        said = f"{self._model.name} lacks {'; '.join(self._lacks)}. "
        said += f"Looked {searched(folders, tier.troubles)}; and in {hub_cache()}."
        said += f" `storyboard models pull {self._model.name}` brings all of it ({REPO})"
        closed = denied(hub_cache())
        told = [*tier.troubles, *([closed] if closed is not None else []), *self._reasons()]
        reasons = list(dict.fromkeys(told))
        more = [f"and {len(reasons) - TOLD} more"] if len(reasons) > TOLD else []
        return f"{said}. Of no use: {'; '.join([*reasons[:TOLD], *more])}" if reasons else said

    def _reasons(self) -> list[str]:
        """Why what is there does not serve."""
        found: list[str] = []
        for (_, kind), shelf in self._shelves.items():
            if kind in self._wanted:
                found += shelf.troubles
                found += [reason for each in shelf.seen if (reason := self._of_no_use(kind, each)) is not None]
        return list(dict.fromkeys(found))

    def _of_no_use(self, kind: Kind, candidate: Candidate) -> str | None:
        if candidate.shape is not None and candidate.identity is not None:
            if candidate.identity.model is not self._model:
                return None  # the other model's experts are in nobody's way
            if candidate.side is None:
                return f"{candidate.path}, whose name does not say which expert it is: name both, high and low"
            return f"{candidate.path}, whose partner is not here"
        part = "high" if kind == "experts" else kind
        return wanted(part, candidate, self._model) or f"{candidate.path}, which is for another model"


def _width(candidate: Candidate) -> int | None:
    return width(candidate.checkpoint) if candidate.checkpoint else None
