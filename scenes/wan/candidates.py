"""Files that may be weights: what each is, which of them belong together, and which one is taken. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from scenes.wan.anatomy import ExpertShape
from scenes.wan.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from scenes.wan.expert_names import expert_names, expert_shape
from scenes.wan.file_names import Side, family, is_plain, side_of
from scenes.wan.identify import Identity, identify
from scenes.wan.weights_folders import MODEL_INDEX, Kind, Places, components, has_part, model_index, walk

# Names that a file of the kind has as a rule: these are read first, the others only where these do not serve.
LIKELY: dict[Kind, re.Pattern[str]] = {
    "experts": re.compile(r"wan|i2v|noise|high|low", re.IGNORECASE),
    "vae": re.compile(r"wan", re.IGNORECASE),
    "text_encoder": re.compile(r"t5", re.IGNORECASE),
    "loras": re.compile(r""),
}
# What a head must hold to be one, which is looked for before a file of an unlikely name is read in earnest.
MARKS: dict[Kind, tuple[bytes, ...]] = {
    "experts": (b"patch_embedding.weight",),
    "vae": (b"decoder.",),
    "text_encoder": (b"relative_attention_bias", b"pos_embedding.embedding"),
    "loras": (b"",),
}
LONGEST = 4_000_000
"""Bytes of a head that are searched for marks; a WAN expert's has some 150 kB."""
BEST_FIRST = ("bf16", "fp16", "fp32", "fp8 scaled", "fp8 scaled (e5m2)", "fp8", "fp8 (e5m2)", "GGUF BF16", "GGUF F16")
GGUF_BEST_FIRST = (
    "F32",
    "Q8_0",
    "Q6_K",
    "Q5_1",
    "Q5_K",
    "Q5_0",
    "Q4_1",
    "Q4_K",
    "IQ4_NL",
    "Q4_0",
    "IQ4_XS",
    "Q3_K",
    "Q2_K",
)


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """A file, or a component's folder: what it is, or why it does not serve. `side`: of an expert, told by its name."""

    path: Path
    identity: Identity | None
    refusal: str | None
    side: Side | None = None
    checkpoint: Checkpoint | None = None
    shape: ExpertShape | None = None

    @property
    def plain(self) -> bool:
        return is_plain(self.path)


@dataclass(frozen=True, slots=True)
class Pair:
    high: Candidate
    low: Candidate


def look(path: Path, side: str | None = None) -> Candidate:
    """What lies at a path, read from its head."""
    told: Side | None = "high" if side == "high" else "low" if side == "low" else side_of(path)
    try:
        checkpoint = read_checkpoint(path)
        identity = identify(checkpoint)
        shape = None
        match identity.part:
            case "expert":
                expert_names(checkpoint)
                shape = expert_shape(checkpoint)
            case "text-encoder":
                from scenes.wan.umt5 import encoder_parts

                encoder_parts(checkpoint)
            case "vae" | "lora":
                pass
    except CheckpointError as error:
        return Candidate(path, None, str(error), told)
    return Candidate(path, identity, None, told, checkpoint, shape)


class Shelf:
    """What is kept of one kind in some folders: likely files are read at once, the others when they are asked for."""

    def __init__(self, kind: Kind, places: Places) -> None:
        self.troubles: list[str] = []
        paths = list(dict.fromkeys(_paths(kind, places.folders[kind], self.troubles)))
        self._kind: Kind = kind
        self._others = [(path, side) for path, side in paths if not _likely(kind, path, side)]
        self.seen = [_looked(path, side) for path, side in paths if _likely(kind, path, side)]

    def all(self) -> list[Candidate]:
        """Of everything: files of unlikely names too."""
        others, self._others = self._others, []
        looked = [look(path, side) for path, side in others if _may_be(self._kind, path)]
        # Weights of other models are nobody's mistake; what could be WAN's and is damaged is told of.
        self.seen += [each for each in looked if each.identity is not None]
        return self.seen


def _paths(kind: Kind, folders: Sequence[Path], troubles: list[str]) -> Iterator[tuple[Path, str | None]]:
    for folder in folders:
        for path in walk(folder, troubles):
            if (path / MODEL_INDEX).is_file():
                yield from components(path, kind)
            else:
                yield path, None


def _likely(kind: Kind, path: Path, side: str | None) -> bool:
    within = side is not None or (path.parent / MODEL_INDEX).is_file()
    return within or LIKELY[kind].search(f"{path.parent.name}/{path.name}" if path.is_dir() else path.name) is not None


def _looked(path: Path, side: str | None) -> Candidate:
    index = model_index(path.parent)
    if has_part(index, "image_encoder"):
        refusal = f"{path.parent} is WAN 2.1's image-to-video model (it has an image_encoder): take Wan2.2-I2V-A14B"
        return Candidate(path, None, refusal)
    return look(path, side)


def _may_be(kind: Kind, path: Path) -> bool:
    """Whether it is worth to be read: a folder may hold hundreds of other models."""
    if path.is_dir() or path.suffix.lower() == ".gguf":
        return True
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            begin = file.read(min(length, LONGEST))
    except OSError:
        return False
    return any(mark in begin for mark in MARKS[kind])


def best(candidates: Sequence[Candidate], fits: Callable[[Candidate], bool]) -> Candidate | None:
    """The plainest name, then the most exact format, then the first that was found.

    Raises:
        CheckpointError: there are but merges or finetunes, and several of them: nobody can tell which is meant.
    """
    fitting = [each for each in candidates if fits(each)]
    chosen = min(fitting, key=lambda each: (not each.plain, _format_rank(each)), default=None)
    if chosen is not None and not chosen.plain:
        _check_sole(fitting)
    return chosen


def best_pair(candidates: Sequence[Candidate], fits: Callable[[Candidate], bool]) -> Pair | None:
    """A high-noise and a low-noise expert of one family and shape; of two families only if both names are plain.

    Raises:
        CheckpointError: as `best` does.
    """
    fitting = [each for each in candidates if fits(each)]
    pairs = [
        Pair(high, low)
        for high, low in product(fitting, fitting)
        if (high.side, low.side) == ("high", "low")
        and high.shape == low.shape
        and (_related(high, low) or (high.plain and low.plain))
    ]
    chosen = min(pairs, key=_pair_rank, default=None)
    if chosen is not None and not chosen.high.plain:
        _check_sole([pair.high for pair in pairs])
    return chosen


def _check_sole(candidates: Sequence[Candidate]) -> None:
    models = {family(each.path): each for each in reversed(candidates)}
    if len(models) > 1:
        names = ", ".join(str(each.path) for each in reversed(models.values()))
        raise CheckpointError(f"{names} could each be meant: name the one to use in [look] model")


def _related(high: Candidate, low: Candidate) -> bool:
    whole = (high.path.name, low.path.name) == ("transformer", "transformer_2")
    return (whole and high.path.parent == low.path.parent) or family(high.path) == family(low.path)


def _pair_rank(pair: Pair) -> tuple[bool, bool, int, int, bool]:
    high, low = pair.high, pair.low
    return (
        not _related(high, low),
        not (high.plain and low.plain),
        _format_rank(high),
        _format_rank(low),
        family(high.path.parent) != family(low.path.parent),
    )


def _format_rank(candidate: Candidate) -> int:
    form = candidate.identity.format if candidate.identity else ""
    ranks = [*BEST_FIRST, *(f"GGUF {name}" for name in GGUF_BEST_FIRST)]
    return ranks.index(form) if form in ranks else len(ranks)
