"""Which takes of a scene are to be there: their numbers, their seeds, and the shots that these come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scenes.shot import Shot
from storyboard.gear import Gear
from storyboard.identity import digest
from storyboard.resolve import derived_seed
from storyboard.story import Scene, Story
from storyboard.takes import Take


@dataclass(frozen=True, slots=True)
class Candidate:
    """A take that is to be there: `number` is the one it has, or is to have."""

    number: int
    shot: Shot


@dataclass(frozen=True, slots=True)
class Part:
    """A scene and its shot as the story stands: what another seed would make of it."""

    scene: Scene
    shot: Shot
    gear: Gear
    story: Story

    def with_seed(self, seed: int) -> Shot:
        """A draft's camera move may be chosen by the seed, too."""
        return replace(self.shot, seed=seed, renderer=self.gear.renderer(replace(self.scene, seed=seed), self.story))

    def fits(self, take: Take) -> bool:
        """Whether a take is what the scene would be with its seed."""
        return take.seed is not None and digest(self.with_seed(take.seed)) == take.key

    def chosen(self, take: Take) -> bool:
        """Whether it is the one that the story names."""
        return take.seed == self.scene.seed and take.folder is None and self.fits(take)


def seed_of(scene_seed: int, number: int) -> int:
    """The seed of a scene's new take: derived from the scene's as that is from its story's."""
    return derived_seed(scene_seed, f"take {number}")


def candidates(part: Part, takes: Sequence[Take], kept: Callable[[Take], bool], count: int) -> list[Candidate]:
    """The scene's own seed, those that are kept and still fit, then so many more as the count wants.

    takes: all that the scene ever had; their numbers are taken. What is gone and was not dropped comes before new ones.
    """
    fitting = [take for take in takes if take.folder is None and part.fits(take)]
    there = sorted((take for take in fitting if not take.dropped), key=lambda take: (not kept(take), take.number))
    used = {take.number for take in takes}
    own = next((take.number for take in fitting if take.seed == part.scene.seed), None) or _unused(used, 1)
    numbers = {part.scene.seed: own}
    for take in there:
        if take.seed is not None and (kept(take) or len(numbers) < count):
            numbers.setdefault(take.seed, take.number)
    while len(numbers) < count:
        number = _unused({*used, *numbers.values()}, 2)
        used.add(number)
        numbers.setdefault(seed_of(part.scene.seed, number), number)
    return [Candidate(number, part.with_seed(seed)) for seed, number in sorted(numbers.items(), key=lambda n: n[1])]


def _unused(used: set[int], first: int) -> int:
    return next(number for number in range(first, first + len(used) + 1) if number not in used)


def alike(takes: Sequence[Take], draft: bool) -> list[str]:
    """A note for takes whose pixels are the same."""
    same: dict[str, list[str]] = {}
    for take in takes:
        same.setdefault(take.digest, []).append(str(take.number))
    why = ": a draft's seed moves its camera at most, and a move that the scene or its prompt names stays"
    groups = [numbers for numbers in same.values() if len(numbers) > 1]
    return [f"takes {', '.join(numbers)} are alike, pixel for pixel{why if draft else ''}" for numbers in groups]
