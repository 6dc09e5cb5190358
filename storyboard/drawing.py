"""How WAN draws a story's scenes on this machine: its weights, recipes and LoRAs, found and known by their digests."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenes.shot import Lora
from scenes.wan.families import LoraFamily, family_of
from scenes.wan.models import RECIPES
from scenes.wan.named import NamedRecipe, find_loras, named_recipe
from scenes.wan.recipes import Nag, Recipe, RecipeError, divided, nag_for, recipe
from scenes.wan.renderer import Wan
from scenes.wan.weights import Located, Weights
from storyboard.memory import Memory
from storyboard.model_files import ModelFiles, missing_lora
from storyboard.sampling import spec_of
from storyboard.story import LoraUse, Sampling, Scene, Story, Tuned

NOISE = re.compile(r"(high|low)[-_. ]?noise", re.IGNORECASE)
"""In a LoRA's name: the expert it was made for. Plain "high" and "low" may be of other things."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How one scene is drawn. `negative_prompt`: None where it would not act. `notes`: what a person should know."""

    renderer: Wan
    negative_prompt: str | None
    loras: tuple[Lora, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawings:
    """`located`: the files that serve the model, None where some are missing. `lacks`: what is, with the remedies."""

    scenes: Mapping[str, Drawing]
    located: Located | None
    lacks: tuple[str, ...]


def drawings_of(
    story: Story, names: Collection[str], folders: Sequence[Path], memory: Memory, say: Callable[[str], None]
) -> Drawings:
    """Of the named scenes; nothing is raised for what is missing, whose digests then match nothing that is kept."""
    files = ModelFiles(story, folders, memory, say)
    weights = files.weights()
    scenes = [scene for scene in story.scenes if scene.name in names]
    drawn = {scene.name: Draughtsman(story, scene, files, weights).drawing() for scene in scenes}
    return Drawings(drawn, files.located, files.lacks())


class Draughtsman:
    """Works out one scene's drawing."""

    def __init__(self, story: Story, scene: Scene, files: ModelFiles, weights: Weights) -> None:
        self._story, self._scene, self._files, self._weights = story, scene, files, weights
        self._notes: list[str] = []

    def drawing(self) -> Drawing:
        story, scene = self._story, self._scene
        sampled = self._recipe()
        loras = tuple(lora for use in scene.loras for lora in self._loras(use))
        if sampled.loras:
            self._note_second_acceleration(loras)
        if scene.negative_prompt and not sampled.negative_acts:
            self._notes.append(self._no_effect())
        if sampled.end > 0:
            self._notes.append(f"the sigmas of {scene.recipe} end at {sampled.end:g}, not 0: noise is left in the clip")
        renderer = Wan(story.fps, story.model.name, self._weights, sampled, story.precision, story.vae)
        negative = scene.negative_prompt if scene.negative_prompt and sampled.negative_acts else None
        return Drawing(renderer, negative, loras, tuple(self._notes))

    def _recipe(self) -> Recipe:
        """Checked as the story was read: only what is missing on this machine can be wrong."""
        scene, model = self._scene, self._story.model
        own: Sampling | None = dict(self._story.recipes).get(scene.recipe)
        if own is not None:
            loras = tuple(lora for use in own.loras for lora in self._loras(use))
            found = recipe(spec_of(own), loras, model, nag_for(own.nag, False, scene.negative_prompt))
            self._note_idle_nag(own.nag, found)
            return found
        named = named_recipe(scene.recipe, model)
        tuned = dict(self._story.tuned).get(scene.recipe, Tuned())
        nag = nag_for(tuned.nag, named.nag, scene.negative_prompt)
        found = recipe(named.spec, self._its_loras(named, tuned), model, nag)
        self._note_idle_nag(tuned.nag, found)
        return found

    def _its_loras(self, named: NamedRecipe, tuned: Tuned) -> tuple[Lora, ...]:
        """The acceleration LoRA of a recipe of ours: as the story names it, else as the weights folders hold it."""
        family = named.family
        if family is None:
            return ()
        if tuned.loras:
            return tuple(lora for use in tuned.loras for lora in self._made_for(named, family, use))
        there = self._files.lora_files
        try:
            found = find_loras(named, there)
        except RecipeError as error:
            remedy = f"or name it: [recipe.{named.name}] loras = [{{ {_asked(family)} }}]"
            troubles = self._files.lora_troubles
            useless = f". Of no use: {'; '.join(troubles)}" if troubles else ""
            self._files.lack(f"{error}, {remedy}{useless}", self._scene.name)
            missing = missing_lora(family.name)
            return divided(missing, missing, named.strengths)
        assert found is not None  # it has a family
        if found.warning is not None:
            self._notes.append(found.warning)
        high, low = (self._files.lora_at(there[name], self._scene.name) for name in (found.high, found.low))
        return self._checked(divided(high, low, named.strengths))

    def _made_for(self, named: NamedRecipe, family: LoraFamily, use: LoraUse) -> tuple[Lora, ...]:
        for name in dict.fromkeys(filter(None, (use.high_file, use.low_file))):
            other = family_of(name)
            if other is not None and other is not family:
                self._notes.append(
                    f"recipe {named.name} was made for {family.title}: with {Path(name).name} ({other.title}) "
                    "motion and colours come out differently"
                )
        return self._loras(use)

    def _loras(self, use: LoraUse) -> tuple[Lora, ...]:
        """A LoRA's one file for both experts, or one for each; at strength 0 it is not there."""
        high, low = use.high, use.low if self._story.model.experts > 1 else 0.0
        self._note_other_expert(use, high, low)
        if use.high_file == use.low_file:
            strengths = [(use.high_file, high, low)] if high or low else []
        else:
            each = ((use.high_file, high, 0.0), (use.low_file, 0.0, low))
            strengths = [(name, high, low) for name, high, low in each if name and (high or low)]
        files = [(self._files.lora(name, self._scene.name), high, low) for name, high, low in strengths]
        return self._checked(tuple(Lora(file.digest, high, low, file.path) for file, high, low in files))

    def _checked(self, loras: tuple[Lora, ...]) -> tuple[Lora, ...]:
        for lora in loras:
            self._files.check(lora, self._scene.name)
        return loras

    def _note_other_expert(self, use: LoraUse, high: float, low: float) -> None:
        for side, other, name, strength in (("high", "low", use.high_file, high), ("low", "high", use.low_file, low)):
            said = NOISE.search(Path(name).name)
            if self._story.model.experts > 1 and strength and said is not None and said[1].lower() == other:
                self._notes.append(
                    f"{Path(name).name} is for the {other}-noise expert by its name and works on the {side}-noise one: "
                    f"write {other}_file for it, or {side} = 0"
                )

    def _note_idle_nag(self, asked: bool | Nag | None, sampled: Recipe) -> None:
        if asked and self._scene.negative_prompt and all(step.cfg != 1 for step in sampled.steps):
            self._notes.append(f"nag has no effect in {self._scene.recipe}: no step of it is at cfg 1")

    def _note_second_acceleration(self, loras: Sequence[Lora]) -> None:
        for name in dict.fromkeys(lora.path.name for lora in loras if family_of(lora.path.name) is not None):
            self._notes.append(f"{name} accelerates, and recipe {self._scene.recipe} brings a LoRA that does: drop one")

    def _no_effect(self) -> str:
        name = self._scene.recipe
        remedy = "drop nag = false" if name in RECIPES else "write nag = true, or a cfg above 1,"
        return f"the negative prompt has no effect at cfg 1: {remedy} in [recipe.{name}]"


def _asked(family: LoraFamily) -> str:
    return 'high_file = "...", low_file = "..."' if family.divided else 'file = "..."'
